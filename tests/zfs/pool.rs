//! Pools, compared with what the `zpool` command says of them.

mod properties;

use crate::support::{
    DISK_SIZE, Loop, Mounted, TENANT, TestPool, as_user, noise, output, run, zfs,
};
use helix_zfs::zfs_core::pool::{
    PoolState, ScanFunction, ScanState, VdevAux, VdevClass, VdevKind, VdevState,
};
use helix_zfs::zfs_core::{CreateOptions, ErrorKind, Health, Pool, PoolStatus, SyncMode, Vdev};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

fn pool(of: &TestPool) -> Pool {
    zfs().pool(of.name()).unwrap()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The file of a disk, as an argument.
fn disk(pool: &TestPool, n: usize) -> String {
    path(&pool.file(n)).to_owned()
}

/// A pool on files, where `layout` has a number for each file.
fn made(topic: &str, layout: &[&str]) -> TestPool {
    let number = |word: &&str| word.parse::<usize>().ok();
    let pool = TestPool::files(topic, layout.iter().filter_map(number).count());
    let words: Vec<String> = layout
        .iter()
        .map(|word| number(word).map_or_else(|| (*word).to_owned(), |n| disk(&pool, n)))
        .collect();
    pool.create(&words.iter().map(String::as_str).collect::<Vec<_>>());
    pool
}

/// What `zpool status` has in the columns of a vdev: its state and, except of a spare, its errors.
pub(crate) type Row = (String, Option<[u64; 3]>);

/// The vdevs in `zpool status`, by the name that `flag` selects: `-P` for paths, `-g` for guids.
pub(crate) fn shown(pool: &TestPool, flag: &str) -> BTreeMap<String, Row> {
    let text = run("zpool", &["status", "-p", flag, pool.name()]);
    let table = text
        .split_once("NAME ")
        .unwrap()
        .1
        .split("\nerrors:")
        .next()
        .unwrap();
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let (name, state) = (columns.first()?, columns.get(1)?);
            let number = |column: usize| columns.get(column)?.parse::<u64>().ok();
            let errors = (|| Some([number(2)?, number(3)?, number(4)?]))();
            Some(((*name).to_owned(), ((*state).to_owned(), errors)))
        })
        .collect()
}

/// The same from a status, by the name that `name` gives.
pub(crate) fn seen(status: &PoolStatus, name: impl Fn(&Vdev) -> String) -> BTreeMap<String, Row> {
    let hidden = [VdevKind::Hole, VdevKind::Indirect];
    status
        .vdevs()
        .filter(|vdev| !hidden.contains(&vdev.kind))
        .map(|vdev| {
            let root = vdev.kind == VdevKind::Root;
            let name = if root {
                status.name.clone()
            } else {
                name(vdev)
            };
            let health = if root { status.health } else { vdev.health() };
            let errors = vdev
                .stats
                .as_ref()
                .filter(|_| vdev.class != VdevClass::Spare)
                .map(|stats| [stats.read_errors, stats.write_errors, stats.checksum_errors]);
            (name, (health.to_string(), errors))
        })
        .collect()
}

/// Compares everything that `zpool` also tells, and returns the status.
fn compared(of: &TestPool) -> PoolStatus {
    let status = pool(of).status().unwrap();
    assert_eq!(seen(&status, Vdev::to_string), shown(of, "-P"));
    assert_eq!(seen(&status, |vdev| vdev.guid.to_string()), shown(of, "-g"));
    let line = run(
        "zpool",
        &["list", "-Hpo", "name,guid,health,altroot", of.name()],
    );
    let altroot = status.altroot.as_deref().map_or("-", path);
    let ours = format!(
        "{}\t{}\t{}\t{altroot}",
        status.name, status.guid, status.health
    );
    assert_eq!(ours, line.trim_end());
    status
}

fn vdev<'a>(status: &'a PoolStatus, of: &TestPool, n: usize) -> &'a Vdev {
    status.vdevs().with_path(of.file(n)).unwrap()
}

#[test]
fn every_class_of_vdev_is_as_zpool_shows_it() {
    let layout = [
        "mirror", "0", "1", "mirror", "2", "3", "special", "mirror", "4", "5", "dedup", "6", "log",
        "mirror", "7", "8", "cache", "9", "spare", "10", "11",
    ];
    let of = made("classes", &layout);
    let status = compared(&of);
    assert_eq!(
        (status.state, status.health),
        (PoolState::Active, Health::Online)
    );
    assert_eq!((status.version, status.error_count), (5000, Some(0)));
    assert_eq!((status.fault, status.suspended), (None, None));
    assert_eq!(status.scan, None);
    assert_eq!(
        status.hostname.as_deref(),
        Some(run("uname", &["-n"]).trim_end())
    );
    assert_eq!((status.spares.len(), status.caches.len()), (2, 1));

    let classes: Vec<VdevClass> = (0..12).map(|n| vdev(&status, &of, n).class).collect();
    use VdevClass::{Cache, Data, Dedup, Log, Spare, Special};
    assert_eq!(
        classes,
        [
            Data, Data, Data, Data, Special, Special, Dedup, Log, Log, Cache, Spare, Spare
        ]
    );
    for vdev in status.root.walk() {
        assert_eq!((vdev.state, vdev.aux), (VdevState::Healthy, VdevAux::None));
        assert_eq!(status.vdevs().with_guid(vdev.guid), Some(vdev));
    }
    for (id, top) in (0..).zip(&status.root.children) {
        assert_eq!(top.id, Some(id));
        let ashift = top.ashift.unwrap();
        assert!((9..=16).contains(&ashift), "{ashift}");
        assert!(top.asize.unwrap() > 0);
    }
}

#[test]
fn raidz_and_draid_tell_their_shape() {
    let of = made("raidz", &["raidz2", "0", "1", "2", "3"]);
    let status = compared(&of);
    assert_eq!(status.root.children[0].kind, VdevKind::Raidz { parity: 2 });
    assert_eq!(status.root.children[0].to_string(), "raidz2-0");

    let of = made("draid", &["draid1:2d:4c:1s", "0", "1", "2", "3"]);
    let status = compared(&of);
    let kind = VdevKind::Draid {
        parity: 1,
        data: 2,
        spares: 1,
    };
    assert_eq!(status.root.children[0].kind, kind);
    assert_eq!(status.spares[0].kind, VdevKind::DraidSpare);
    assert_eq!(status.spares[0].health(), Health::Available);
}

#[test]
fn an_offline_half_degrades_the_pool() {
    use ScanFunction::Resilver;
    use ScanState::Finished;
    let of = made("offline", &["mirror", "0", "1"]);
    run("zpool", &["offline", of.name(), &disk(&of, 1)]);
    let status = compared(&of);
    assert_eq!(status.health, Health::Degraded);
    assert_eq!(status.root.children[0].state, VdevState::Degraded);
    assert_eq!(vdev(&status, &of, 0).health(), Health::Online);
    assert_eq!(vdev(&status, &of, 1).health(), Health::Offline);

    run("zpool", &["online", of.name(), &disk(&of, 1)]);
    // The resilver begins a moment later.
    let resilvered = |status: &PoolStatus| {
        let scan = status.scan.as_ref();
        scan.is_some_and(|scan| (scan.function, scan.state) == (Resilver, Finished))
    };
    while !resilvered(&pool(&of).status().unwrap()) {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(compared(&of).health, Health::Online);
}

#[test]
fn a_faulted_and_a_missing_device_tell_why() {
    let of = made("faulted", &["mirror", "0", "1", "2"]);
    run("zpool", &["offline", "-f", of.name(), &disk(&of, 1)]);
    let status = compared(&of);
    assert_eq!(vdev(&status, &of, 1).health(), Health::Faulted);
    assert_eq!(vdev(&status, &of, 1).aux, VdevAux::External);

    run("zpool", &["export", of.name()]);
    std::fs::remove_file(of.file(2)).unwrap();
    run(
        "zpool",
        &[
            "import",
            "-o",
            "cachefile=none",
            "-d",
            path(of.dir()),
            of.name(),
        ],
    );
    let status = compared(&of);
    let missing = vdev(&status, &of, 2);
    assert!(missing.not_present);
    assert_eq!(
        (missing.health(), missing.aux),
        (Health::Unavail, VdevAux::OpenFailed)
    );
    assert_eq!(missing.to_string(), missing.guid.to_string());
}

#[test]
fn a_spare_steps_in() {
    let of = TestPool::files("spare", 3);
    // With a file on a filesystem that lacks direct I/O, `zpool replace` of 2.1 does not see that
    // the spare is one of this pool.
    let device = Loop::new(&of.file(2));
    of.create(&[
        "mirror",
        &disk(&of, 0),
        &disk(&of, 1),
        "spare",
        device.path(),
    ]);
    run("zpool", &["offline", of.name(), &disk(&of, 0)]);
    run(
        "zpool",
        &["replace", "-w", of.name(), &disk(&of, 0), device.path()],
    );
    let status = compared(&of);
    assert_eq!(status.spares[0].health(), Health::InUse);
    assert_eq!(status.root.children[0].children[0].kind, VdevKind::Spare);
    // It is there twice, and the first is the one in the tree.
    let spare = status.vdevs().with_path(device.path()).unwrap();
    assert_eq!(
        (spare.class, &spare.kind),
        (VdevClass::Data, &VdevKind::Disk)
    );
    assert_eq!(spare.guid, status.spares[0].guid);
    run("zpool", &["detach", of.name(), device.path()]);
    assert_eq!(compared(&of).spares[0].health(), Health::Available);
    run("zpool", &["destroy", of.name()]);
}

#[test]
fn removed_vdevs_leave_their_place() {
    let of = TestPool::files("removal", 3);
    // What is removed has to fit into what is left.
    let first = OpenOptions::new().write(true).open(of.file(0)).unwrap();
    first.set_len(1 << 30).unwrap();
    of.create(&[&disk(&of, 0), "log", &disk(&of, 1)]);
    run("zpool", &["add", "-f", of.name(), &disk(&of, 2)]);
    run("zpool", &["remove", of.name(), &disk(&of, 1)]);
    run("zpool", &["remove", "-w", of.name(), &disk(&of, 2)]);
    let status = pool(&of).status().unwrap();
    let kinds: Vec<&VdevKind> = status.root.children.iter().map(|vdev| &vdev.kind).collect();
    assert_eq!(
        kinds,
        [&VdevKind::File, &VdevKind::Hole, &VdevKind::Indirect]
    );
    assert_eq!(status.health, Health::Online);
}

#[test]
fn a_scrub_counts_what_it_repairs() {
    let of = made("repair", &["mirror", "0", "1"]);
    let mounted = Mounted::new(&of.root());
    mounted.write("data", noise(2 << 20, 1));
    pool(&of).sync(SyncMode::Pending).unwrap();
    let file = OpenOptions::new().write(true).open(of.file(1)).unwrap();
    // Between the labels at both ends.
    let damage = noise(1 << 20, 2);
    for mib in 5..DISK_SIZE >> 20 {
        file.write_all_at(&damage, (mib - 1) << 20).unwrap();
    }
    file.sync_all().unwrap();
    run("zpool", &["scrub", "-w", of.name()]);

    let status = compared(&of);
    let scan = status.scan.as_ref().unwrap();
    assert_eq!(
        (scan.function, scan.state),
        (ScanFunction::Scrub, ScanState::Finished)
    );
    assert_eq!((scan.errors, status.error_count), (0, Some(0)));
    assert!(
        scan.processed > 0 && scan.examined > 2 << 20 && scan.issued > 2 << 20,
        "{scan:?}"
    );
    assert!(
        scan.end.unwrap() >= scan.start && scan.start > 1_700_000_000,
        "{scan:?}"
    );
    assert_eq!(
        vdev(&status, &of, 0)
            .stats
            .as_ref()
            .unwrap()
            .checksum_errors,
        0
    );
    let stats = vdev(&status, &of, 1).stats.as_ref().unwrap();
    assert!(stats.checksum_errors > 0, "{stats:?}");
    assert!(stats.scan_processed > 0, "{stats:?}");

    run("zpool", &["clear", of.name()]);
    let status = compared(&of);
    assert_eq!(
        vdev(&status, &of, 1)
            .stats
            .as_ref()
            .unwrap()
            .checksum_errors,
        0
    );
}

#[test]
fn damage_without_a_second_copy_is_counted() {
    let of = TestPool::new("damage");
    let mounted = Mounted::new(&of.root());
    let data = noise(128 << 10, 3);
    mounted.write("data", &data);
    pool(&of).sync(SyncMode::Pending).unwrap();
    let disk = std::fs::read(of.file(0)).unwrap();
    let start = &data[..512];
    let at = disk
        .chunks_exact(512)
        .position(|sector| sector == start)
        .unwrap() as u64
        * 512;
    let file = OpenOptions::new().write(true).open(of.file(0)).unwrap();
    file.write_all_at(&[0; 4096], at).unwrap();
    file.sync_all().unwrap();
    run("zpool", &["scrub", "-w", of.name()]);

    let status = compared(&of);
    assert_eq!(status.scan.as_ref().unwrap().errors, 1);
    assert_eq!(status.error_count, Some(1));
    assert_eq!(status.health, Health::Online);
}

/// A fault that `zinject` makes, gone when dropped.
struct Fault(String);

impl Fault {
    fn new(pool: &TestPool, n: usize, kind: &str) -> Self {
        let text = run(
            "zinject",
            &["-d", &disk(pool, n), "-e", "io", "-T", kind, pool.name()],
        );
        let id = text
            .split_once("handler ")
            .unwrap()
            .1
            .split_whitespace()
            .next()
            .unwrap();
        Self(id.to_owned())
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        let _ = output("zinject", &["-c", &self.0]);
    }
}

#[test]
fn failed_reads_are_counted() {
    let of = made("reads", &["mirror", "0", "1"]);
    let mounted = Mounted::new(&of.root());
    mounted.write("data", noise(1 << 20, 4));
    pool(&of).sync(SyncMode::Pending).unwrap();
    let fault = Fault::new(&of, 1, "read");
    run("zpool", &["scrub", "-w", of.name()]);
    drop(fault);
    let status = compared(&of);
    assert_eq!(vdev(&status, &of, 0).stats.as_ref().unwrap().read_errors, 0);
    assert!(vdev(&status, &of, 1).stats.as_ref().unwrap().read_errors > 0);
}

#[test]
fn a_read_only_pool_refuses_writes() {
    let of = TestPool::new("readonly");
    run("zpool", &["export", of.name()]);
    let dir = path(of.dir());
    let import = [
        "import",
        "-o",
        "readonly=on",
        "-N",
        "-R",
        "/mnt",
        "-d",
        dir,
        of.name(),
    ];
    run("zpool", &import);
    let status = compared(&of);
    assert_eq!(status.altroot.as_deref(), Some(Path::new("/mnt")));
    let properties = pool(&of).properties().unwrap();
    assert!(properties.readonly());
    assert_eq!(properties.altroot(), Some(Path::new("/mnt")));
    let child = of.root().child("child").unwrap();
    let refused = child.create(&CreateOptions::filesystem()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ReadOnlyPool);
    let refused = pool(&of).sync(SyncMode::Pending).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ReadOnlyPool);
}

#[test]
fn a_temporary_name_is_told_from_the_one_on_the_devices() {
    let of = TestPool::new("named");
    run("zpool", &["export", of.name()]);
    let other = format!("{}-t", of.name());
    run(
        "zpool",
        &[
            "import",
            "-N",
            "-t",
            "-d",
            path(of.dir()),
            of.name(),
            &other,
        ],
    );
    let status = zfs().pool(&other).unwrap().status();
    let listed = zfs()
        .pools()
        .unwrap()
        .iter()
        .any(|entry| entry.pool.name().as_str() == other);
    let gone = pool(&of).exists();
    run("zpool", &["destroy", &other]);
    assert_eq!(status.unwrap().name, of.name());
    assert!(listed);
    assert!(!gone.unwrap());
}

#[test]
fn the_list_has_each_pool() {
    let (one, two) = (TestPool::new("list-a"), TestPool::new("list-b"));
    let entries = zfs().pools().unwrap();
    for of in [&one, &two] {
        let entry = entries
            .iter()
            .find(|entry| entry.pool.name().as_str() == of.name())
            .unwrap();
        assert_eq!(entry.state, PoolState::Active);
        let guid = run("zpool", &["get", "-Hpo", "value", "guid", of.name()]);
        assert_eq!(entry.guid.to_string(), guid.trim_end());
        assert_eq!(entry.pool.status().unwrap().guid, entry.guid);
        assert_eq!(entry.pool.root().name().as_str(), of.name());
    }
    assert!(entries.is_sorted_by_key(|entry| entry.pool.name().as_str()));
}

#[test]
fn a_pool_that_is_looked_at_for_import_is_not_listed() {
    let of = TestPool::new("looked-at");
    run("zpool", &["export", of.name()]);
    let mut looking = std::process::Command::new("sh")
        .args([
            "-c",
            r#"for i in 1 2 3 4 5; do zpool import -d "$0" || exit; done"#,
        ])
        .arg(of.dir())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let status = loop {
        let listed = zfs().pools().unwrap();
        assert!(
            listed
                .iter()
                .all(|entry| entry.pool.name().as_str() != of.name())
        );
        if let Some(status) = looking.try_wait().unwrap() {
            break status;
        }
    };
    assert!(status.success());
}

#[test]
fn a_missing_pool_is_not_found() {
    let missing = zfs().pool("hz-missing").unwrap();
    assert!(!missing.exists().unwrap());
    for error in [
        missing.status().unwrap_err(),
        missing.config().unwrap_err(),
        missing.properties().unwrap_err(),
        missing.sync(SyncMode::Pending).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert_eq!(error.object(), "hz-missing");
    }
    assert_eq!(
        zfs().pool("no/pool").unwrap_err().kind(),
        ErrorKind::InvalidName
    );
    assert_eq!(zfs().pool("").unwrap_err().kind(), ErrorKind::InvalidName);
}

#[test]
fn a_forced_sync_writes_to_every_device() {
    let of = made("sync", &["0", "1", "mirror", "2", "3"]);
    let writes = || {
        let status = pool(&of).status().unwrap();
        [0, 1, 2, 3].map(|n| vdev(&status, &of, n).stats.as_ref().unwrap().ops.write)
    };
    let before = writes();
    pool(&of).sync(SyncMode::Force).unwrap();
    let after = writes();
    assert!(
        before
            .iter()
            .zip(&after)
            .all(|(before, after)| before < after),
        "{before:?} {after:?}"
    );
}

#[test]
fn a_user_may_look_and_sync() {
    let of = TestPool::new("user");
    let pool = pool(&of);
    let guid = pool.status().unwrap().guid;
    let seen = as_user(TENANT, || {
        pool.sync(SyncMode::Pending).unwrap();
        assert!(zfs_lists(&pool));
        (
            pool.status().unwrap().guid,
            pool.properties().unwrap().guid().unwrap(),
        )
    });
    assert_eq!(seen, (guid, guid));
}

fn zfs_lists(pool: &Pool) -> bool {
    pool.zfs()
        .pools()
        .unwrap()
        .iter()
        .any(|entry| entry.pool.name() == pool.name())
}

#[test]
fn the_configuration_has_the_rest() {
    let of = TestPool::new("config");
    let config = pool(&of).config().unwrap();
    assert_eq!(config.str("name"), Some(of.name()));
    let tree = config.list("vdev_tree").unwrap();
    assert!(
        tree.lists("children").unwrap()[0]
            .list("vdev_stats_ex")
            .is_some()
    );
}
