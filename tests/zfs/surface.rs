//! Pools beyond their state: properties that are set, properties of vdevs, features, identities,
//! boot environments, and tables in memory.

mod properties;
mod vdevs;

use crate::support::{DISK_SIZE, Mounted, Parameter, TENANT, TestPool, as_user, noise, run, zfs};
use helix_zfs::zfs_core::nv::NvMap;
use helix_zfs::zfs_core::pool::{
    BootEnvironment, CacheFile, DdtPrune, PoolPropertySet, PoolTable, ReopenScrub,
};
use helix_zfs::zfs_core::program::ChannelProgram;
use helix_zfs::zfs_core::props::Dedup;
use helix_zfs::zfs_core::{Capabilities, ErrorKind, Pool, Requests, SyncMode};
use std::num::NonZeroU64;
use std::time::Duration;

fn pool(of: &TestPool) -> Pool {
    zfs().pool(of.name()).unwrap()
}

fn capabilities() -> Capabilities {
    zfs().capabilities().unwrap()
}

/// A property of a pool as the command sees it.
fn zpool_get(property: &str, pool: &str) -> String {
    run("zpool", &["get", "-Hpo", "value", property, pool])
        .trim_end()
        .to_owned()
}

/// The line that the last change has left in the history.
fn last_line(pool: &Pool) -> String {
    let history = run("zpool", &["history", pool.name().as_str()]);
    let line = history.trim_end().lines().last().unwrap_or_default();
    line.split_once(": ")
        .map_or(line, |(_, line)| line)
        .to_owned()
}

#[test]
fn a_boot_environment_is_kept() {
    let of = TestPool::with_layout("bootenv", 2, &["mirror"]);
    let pool = pool(&of);
    let empty = BootEnvironment::Text(c"".into());
    assert_eq!(pool.boot_environment().unwrap(), empty);

    let mut pairs = NvMap::new();
    pairs.insert(c"freebsd:bootonce", c"zfs:tank/be/next:");
    pairs.insert(c"helix:attempts", 3_u64);
    let pairs = BootEnvironment::Pairs(pairs);
    pool.set_boot_environment(&pairs).unwrap();
    assert_eq!(pool.boot_environment().unwrap(), pairs);
    let text = BootEnvironment::Text(c"saved_entry=linux\n".into());
    pool.set_boot_environment(&text).unwrap();
    assert_eq!(pool.boot_environment().unwrap(), text);
    assert_eq!(as_user(TENANT, || pool.boot_environment().unwrap()), text);

    let error = as_user(TENANT, || pool.set_boot_environment(&pairs).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    let mut large = NvMap::new();
    large.try_insert("helix:large", zeros(9000)).unwrap();
    let error = pool
        .set_boot_environment(&BootEnvironment::Pairs(large))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooBig, "{error}");
    let mut version = NvMap::new();
    version.insert(c"version", 7_u64);
    let error = pool
        .set_boot_environment(&BootEnvironment::Pairs(version))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    let absent = zfs().pool("hz-no-such-pool").unwrap();
    assert_eq!(
        absent.boot_environment().unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(
        pool.boot_environment().unwrap(),
        text,
        "nothing was changed"
    );

    // It is in the labels.
    pool.set_boot_environment(&pairs).unwrap();
    run("zpool", &["export", of.name()]);
    let dir = of.dir().to_str().unwrap();
    run(
        "zpool",
        &[
            "import",
            "-o",
            "cachefile=none",
            "-o",
            "readonly=on",
            "-d",
            dir,
            of.name(),
        ],
    );
    assert_eq!(pool.boot_environment().unwrap(), pairs);

    // What changes a pool, or might, is refused on one that is read-only.
    let read_only = |error: helix_zfs::zfs_core::Error| {
        assert_eq!(error.kind(), ErrorKind::ReadOnlyPool, "{error}");
    };
    read_only(pool.set_boot_environment(&text).unwrap_err());
    read_only(
        pool.set_properties(&PoolPropertySet::new().autotrim(true))
            .unwrap_err(),
    );
    read_only(pool.reguid(None).unwrap_err());
    read_only(
        pool.run_program_read_only(&ChannelProgram::new(""))
            .unwrap_err(),
    );
    let reopened = pool.reopen(ReopenScrub::Restart);
    reopened.unwrap();
}

fn zeros(len: usize) -> Vec<u64> {
    vec![0; len / 8]
}

#[test]
fn devices_are_opened_again_and_identities_changed() {
    let of = TestPool::with_layout("reguid", 2, &["mirror"]);
    let pool = pool(&of);
    let before = pool.status().unwrap().guid;

    pool.reguid(None).unwrap();
    let made_up = pool.status().unwrap().guid;
    assert_ne!(made_up, before);
    assert_eq!(zpool_get("guid", of.name()), made_up.to_string());
    assert_eq!(last_line(&pool), format!("zpool reguid {}", of.name()));

    let wanted = NonZeroU64::new(0x1234_5678_9abc_def0).unwrap();
    let certain = pool.reguid(Some(wanted));
    if capabilities().requests.contains(Requests::POOL_PREFETCH) {
        certain.unwrap();
        assert_eq!(pool.status().unwrap().guid, wanted.get());
        let error = pool.reguid(Some(wanted)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    } else {
        assert_eq!(certain.unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(pool.status().unwrap().guid, made_up, "it is what it was");
    }
    let error = as_user(TENANT, || pool.reguid(None).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");

    run(
        "zpool",
        &["offline", of.name(), of.file(1).to_str().unwrap()],
    );
    let error = pool.reguid(None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unhealthy, "{error}");
    run(
        "zpool",
        &["online", of.name(), of.file(1).to_str().unwrap()],
    );
    run("zpool", &["wait", "-t", "resilver", of.name()]);

    // Devices that have grown are found to have.
    assert_eq!(pool.properties().unwrap().expandsize(), 0);
    for n in 0..2 {
        let file = std::fs::OpenOptions::new().write(true).open(of.file(n));
        file.unwrap().set_len(DISK_SIZE + (64 << 20)).unwrap();
    }
    pool.reopen(ReopenScrub::Restart).unwrap();
    assert!(pool.properties().unwrap().expandsize() > 0);
    pool.reopen(ReopenScrub::Continue).unwrap();
    assert_eq!(last_line(&pool), format!("zpool reopen -n {}", of.name()));

    run("zpool", &["checkpoint", of.name()]);
    let error = pool.reguid(None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InProgress, "{error}");
    let error = as_user(TENANT, || pool.reopen(ReopenScrub::Restart).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    let absent = zfs().pool("hz-no-such-pool").unwrap();
    let error = absent.reopen(ReopenScrub::Restart).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

#[test]
fn tables_are_loaded_and_made_smaller() {
    let of = TestPool::new("tables");
    let pool = pool(&of);
    let root = of.root();
    root.set(Dedup::On).unwrap();
    Mounted::new(&root).write("data", noise(2 << 20, 9));
    pool.sync(SyncMode::Force).unwrap();

    let known = capabilities();
    let since_2_3 = known.requests.contains(Requests::POOL_PREFETCH);
    let kind = |result: helix_zfs::zfs_core::Result<()>| result.err().map(|error| error.kind());
    let unsupported = Some(ErrorKind::Unsupported);
    let expected = |supported| if supported { None } else { unsupported };
    assert_eq!(kind(pool.prefetch(PoolTable::Dedup)), expected(since_2_3));
    let (_, minor, _) = known.module.numbers.unwrap();
    let since_2_4 = minor >= 4;
    assert_eq!(
        kind(pool.prefetch(PoolTable::ClonedBlocks)),
        expected(since_2_4)
    );

    let all = DdtPrune::Percent(100);
    let old = DdtPrune::OlderThan(Duration::from_secs(3600));
    assert_eq!(kind(pool.prune_ddt(old)), expected(since_2_3));
    assert_eq!(kind(pool.prune_ddt(all)), expected(since_2_3));
    if since_2_3 {
        assert_eq!(
            last_line(&pool),
            format!("zpool ddtprune -p 100 {}", of.name())
        );
        // All blocks exist once. What is only in the log of the table is not looked at, and goes to
        // the table with the transaction groups.
        let _soon = Parameter::set("zfs_dedup_log_txg_max", "1");
        let is_empty = || {
            pool.sync(SyncMode::Force).unwrap();
            pool.prune_ddt(all).unwrap();
            pool.sync(SyncMode::Force).unwrap();
            let table = run("zpool", &["status", "-D", of.name()]);
            table.contains("no DDT entries") || table.contains("DDT entries 0")
        };
        assert!((0..50).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            is_empty()
        }));
        let error = as_user(TENANT, || pool.prefetch(PoolTable::Dedup).unwrap_err());
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        let error = as_user(TENANT, || pool.prune_ddt(all).unwrap_err());
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    }
    for absurd in [
        DdtPrune::Percent(0),
        DdtPrune::Percent(101),
        DdtPrune::OlderThan(Duration::from_millis(999)),
        DdtPrune::OlderThan(Duration::MAX),
    ] {
        assert_eq!(
            kind(pool.prune_ddt(absurd)),
            Some(ErrorKind::InvalidArgument)
        );
    }
}

#[test]
fn features_are_enabled_as_the_command_enables_them() {
    let of = TestPool::files("upgrade", 1);
    let file = of.file(0);
    let path = file.to_str().unwrap();
    let create = |options: &[&str]| {
        let mut args = vec![
            "create",
            "-f",
            "-o",
            "cachefile=none",
            "-O",
            "mountpoint=none",
        ];
        args.extend_from_slice(options);
        args.extend_from_slice(&[of.name(), path]);
        run("zpool", &args);
    };
    let pool = pool(&of);
    let allowed = of.dir().join("allowed");
    std::fs::write(
        &allowed,
        "async_destroy lz4_compress\nnever_heard_of # who knows\n",
    )
    .unwrap();

    create(&["-d"]);
    let one = PoolPropertySet::new().feature("async_destroy").unwrap();
    pool.set_properties(&one).unwrap();
    assert_eq!(zpool_get("feature@async_destroy", of.name()), "enabled");
    let unknown = PoolPropertySet::new().feature("never_heard_of").unwrap();
    let error = pool.set_properties(&unknown).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");

    // No more than the pool is to have.
    let files = PoolPropertySet::new()
        .compatibility(allowed.to_str().unwrap())
        .unwrap();
    pool.set_properties(&files).unwrap();
    assert_eq!(pool.upgrade().unwrap(), ["lz4_compress"]);
    assert_eq!(pool.upgrade().unwrap(), [""; 0]);
    assert_eq!(last_line(&pool), format!("zpool upgrade {}", of.name()));
    std::fs::remove_file(&allowed).unwrap();
    let error = pool.upgrade().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidProperty, "{error}");

    let off = PoolPropertySet::new().compatibility("off").unwrap();
    pool.set_properties(&off).unwrap();
    let error = as_user(TENANT, || pool.upgrade().unwrap_err());
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert!(pool.upgrade().unwrap().len() > 20);
    let listed = run("zpool", &["upgrade", of.name()]);
    assert!(listed.contains("already has all"), "{listed}");

    // A pool without features gets them.
    run("zpool", &["destroy", of.name()]);
    create(&["-o", "version=28"]);
    assert_eq!(pool.properties().unwrap().version(), Some(28));
    assert!(pool.upgrade().unwrap().len() > 20);
    assert_eq!(pool.properties().unwrap().version(), Some(5000));
    let listed = run("zpool", &["upgrade", of.name()]);
    assert!(listed.contains("already has all"), "{listed}");
    let cache = CacheFile::At(of.dir().join("cache"));
    let cached = PoolPropertySet::new().cachefile(&cache).unwrap();
    pool.set_properties(&cached).unwrap();
    assert!(of.dir().join("cache").is_file());
}
