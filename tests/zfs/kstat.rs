//! The kernel's statistics, against what was done and against their files.

use crate::support::{Mounted, Scratch, TENANT, TestPool, as_user, noise, run, zfs};
use helix_zfs::zfs_core::kstat::{NamedStats, TxgState};
use helix_zfs::zfs_core::{CreateOptions, ErrorKind, Pool, Result, SyncMode};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::process::Command;

const ROOT: &str = "/proc/spl/kstat/zfs";

fn pool(of: &TestPool) -> Pool {
    zfs().pool(of.name()).unwrap()
}

fn kind<T>(result: Result<T>) -> ErrorKind {
    match result {
        Ok(_) => panic!("succeeded"),
        Err(error) => error.kind(),
    }
}

#[test]
fn a_pools_statistics_are_those_of_what_was_done() {
    let of = TestPool::new("kstat");
    let pool = pool(&of);
    let child = of.root().child("child").unwrap();
    child.create(&CreateOptions::filesystem()).unwrap();
    assert_eq!(kind(child.io_stats()), ErrorKind::NotFound);
    let volume = of.root().child("volume").unwrap();
    volume.create(&CreateOptions::volume(8 << 20)).unwrap();
    let mounted = Mounted::new(&child);
    let data = noise(1 << 20, 5);
    mounted.write("data", &data);
    assert!(mounted.read("data") == data);
    std::fs::remove_file(mounted.path("data")).unwrap();
    pool.sync(SyncMode::Pending).unwrap();

    let stats = child.io_stats().unwrap();
    assert_eq!(stats.name, child.name().as_str());
    assert_eq!((stats.written, stats.read), (1 << 20, 1 << 20));
    assert!(stats.writes > 0 && stats.reads > 0);
    assert_eq!(stats.unlinks, 1);
    assert!(stats.unlinked <= 1, "{stats:?}");
    assert!(stats.other.is_empty(), "{:?}", stats.other);
    let file = format!("{}/{}/objset-{:#x}", ROOT, of.name(), stats.objset);
    let text = std::fs::read_to_string(file).unwrap();
    // What newer modules have beside them.
    assert_eq!(stats.zil.is_some(), text.contains("zil_commit_count"));
    let mut file = File::create(mounted.path("synced")).unwrap();
    file.write_all(b"x").unwrap();
    file.sync_all().unwrap();
    drop(file);
    if let Some(zil) = child.io_stats().unwrap().zil {
        assert!(zil.commits > stats.zil.unwrap().commits, "{zil:?}");
    }

    // The kernel keeps the name that a filesystem was mounted under.
    let renamed = of.root().child("renamed").unwrap();
    child.rename(renamed.name()).unwrap();
    assert_eq!(renamed.io_stats().unwrap().name, renamed.name().as_str());
    let all = pool.dataset_stats().unwrap();
    let mut objsets: Vec<u64> = all.iter().map(|stats| stats.objset).collect();
    assert!(objsets.is_sorted() && objsets.contains(&stats.objset));
    objsets.dedup();
    assert_eq!(objsets.len(), all.len());
    let old = all
        .iter()
        .find(|other| other.objset == stats.objset)
        .unwrap();
    assert_eq!(old.name, child.name().as_str());
    if std::path::Path::new("/dev/zvol").exists() || all.len() > 1 {
        assert!(all.iter().any(|stats| stats.name == volume.name().as_str()));
    }
    drop(mounted);
    // A process that another test is just starting can keep it mounted for a moment.
    while renamed.io_stats().is_ok() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(kind(renamed.io_stats()), ErrorKind::NotFound);

    run("zpool", &["trim", "-w", of.name()]);
    let io = pool.io_stats().unwrap();
    assert!(io.trim_extents > 0 && io.trim_bytes > 32 << 20, "{io:?}");
    assert_eq!((io.trim_extents_failed, io.autotrim_bytes), (0, 0));
    assert_eq!(io.cached_writes.is_some(), io.direct_writes.is_some());
    if let Some(written) = io.cached_write_bytes {
        assert!(written >= 1 << 20, "{io:?}");
    }

    let txgs = pool.txg_stats().unwrap();
    assert!(txgs.windows(2).all(|pair| pair[0].txg < pair[1].txg));
    let last = txgs.last().unwrap();
    assert!(
        matches!(last.state, TxgState::Open | TxgState::Birth),
        "{last:?}"
    );
    let written = txgs.iter().filter(|txg| txg.state == TxgState::Committed);
    let written: Vec<_> = written.filter(|txg| txg.dirty > 0).collect();
    assert!(!written.is_empty());
    for txg in written {
        assert!(txg.sync_time > 0 && txg.open_time > 0, "{txg:?}");
        assert!(
            txg.birth > 0 && txg.writes > 0 && txg.written > 0,
            "{txg:?}"
        );
    }
    let waits = pool.tx_assign_times().unwrap();
    assert!(
        waits.windows(2).all(|pair| pair[1].0 == pair[0].0 * 2),
        "{waits:?}"
    );
    assert!(waits.iter().all(|(time, _)| time.is_power_of_two()));
    assert_eq!(pool.multihost_writes().unwrap(), []);

    run("zpool", &["export", of.name()]);
    assert_eq!(kind(pool.io_stats()), ErrorKind::NotFound);
    assert_eq!(kind(pool.dataset_stats()), ErrorKind::NotFound);
    assert_eq!(kind(pool.txg_stats()), ErrorKind::NotFound);

    let dir = of.dir().to_str().unwrap();
    let import = ["import", "-N", "-o", "cachefile=none", "-d", dir, of.name()];
    let mut import = Command::new("zpool").args(import).spawn().unwrap();
    let progress = loop {
        let imports = zfs().import_progress().unwrap();
        if let Some(ours) = imports.into_iter().find(|ours| ours.name == of.name()) {
            break ours;
        }
        assert!(import.try_wait().unwrap().is_none(), "was not seen");
    };
    assert!(import.wait().unwrap().success());
    assert_eq!(progress.pool_guid, pool.status().unwrap().guid);
    assert!((1..=6).contains(&progress.load_state), "{progress:?}");
}

/// Every file is read, and has the names that are in it.
#[test]
fn every_file_of_statistics_is_understood() {
    let scratch = Scratch::new("files");
    let pool = zfs()
        .pool(scratch.name().split('/').next().unwrap())
        .unwrap();
    // Others come and go meanwhile, and may have more to say the second time.
    let check = |path: &str, stats: &dyn Fn() -> Result<NamedStats>| {
        let text = std::fs::read(path).unwrap();
        let text = String::from_utf8_lossy(&text);
        let mut lines = text.lines();
        // One without any has not even a head.
        let Some(head) = lines.next() else {
            return 0;
        };
        if head.split(' ').count() != 7 || head.split(' ').nth(1) != Some("1") {
            assert_eq!(kind(stats()), ErrorKind::Protocol, "{path}");
            return 0;
        }
        let stats = stats().unwrap();
        let names: BTreeSet<&str> = lines
            .skip(1)
            .map(|line| line[..31.min(line.len())].trim_end())
            .collect();
        for name in &names {
            assert!(
                stats.values.keys().any(|key| key.starts_with(name)),
                "{path}: {name}"
            );
        }
        assert!(stats.taken >= stats.created);
        1
    };
    let mut named = 0;
    for name in zfs().statistics_names().unwrap() {
        named += check(&format!("{ROOT}/{name}"), &|| zfs().statistics(&name));
    }
    assert!(named > 8, "{named}");
    let mut named = 0;
    let names = pool.statistics_names().unwrap();
    for name in names.iter().filter(|name| !name.starts_with("objset-")) {
        let path = format!("{ROOT}/{}/{name}", pool.name());
        named += check(&path, &|| pool.statistics(name));
    }
    assert!(named >= 1, "{named}");
    for name in ["", "..", "../zfs", "/proc/self/stat", "a/../b"] {
        let kind = kind(zfs().statistics(name));
        assert!(
            matches!(kind, ErrorKind::InvalidArgument | ErrorKind::Other),
            "{name}: {kind:?}"
        );
    }
    assert_eq!(kind(zfs().statistics("nonesuch")), ErrorKind::NotFound);
}

#[test]
fn statistics_need_no_privileges() {
    let scratch = Scratch::new("unprivileged");
    let mounted = Mounted::new(&scratch);
    mounted.write("data", noise(256 << 10, 8));
    assert!(!zfs().debug_messages().unwrap().is_empty());
    as_user(TENANT, || {
        let zfs = zfs();
        let pool = zfs.pool(scratch.name().split('/').next().unwrap()).unwrap();
        let before = zfs.arc_stats().unwrap();
        assert_eq!(mounted.read("data").len(), 256 << 10);
        let arc = zfs.arc_stats().unwrap();
        assert!(arc.hits >= before.hits && arc.taken > before.taken);
        assert!(
            arc.hit_ratio()
                .is_some_and(|ratio| ratio > 0.0 && ratio <= 1.0)
        );
        assert!(arc.size > 0 && arc.min_size <= arc.max_size && arc.memory_total > arc.size);
        assert_eq!(arc.io_hits.is_some(), arc.metadata_limit.is_none());
        assert!(arc.other.contains_key("memory_available_bytes"));
        assert!(arc.data_size + arc.metadata_size <= arc.size + (64 << 20));
        assert!(zfs.dmu_tx_stats().unwrap().assigned > 0);
        zfs.zil_stats().unwrap();
        zfs.prefetch_stats().unwrap();
        zfs.report_stats().unwrap();
        zfs.import_progress().unwrap();
        assert_eq!(kind(zfs.debug_messages()), ErrorKind::PermissionDenied);
        assert_eq!(scratch.io_stats().unwrap().written, 256 << 10);
        assert!(!pool.dataset_stats().unwrap().is_empty());
        pool.io_stats().unwrap();
        pool.txg_stats().unwrap();
    });
}
