//! What is posted, and what is in it.

use super::Watch;
use crate::support::{DISK_SIZE, Mounted, Parameter, TestPool, noise, output, run, zfs};
use helix_zfs::zfs_core::events::{Event, EventClass};
use helix_zfs::zfs_core::pool::{PoolState, VdevState};
use helix_zfs::zfs_core::props::UserProps;
use helix_zfs::zfs_core::{CreateOptions, Errno, Requests};
use std::os::unix::fs::{FileExt, MetadataExt};

fn disk(of: &TestPool, n: usize) -> String {
    of.file(n).to_str().unwrap().to_owned()
}

fn zpool(args: &[&str]) {
    run("zpool", args);
}

/// The event's vdev is the file `n`.
fn is_about(event: &Event, of: &TestPool, n: usize) {
    let vdev = event.vdev().unwrap_or_else(|| panic!("{event}"));
    assert_eq!(vdev.path.as_deref(), Some(of.file(n).as_path()), "{event}");
    assert_ne!(vdev.guid, 0);
}

#[test]
fn a_pools_life_is_told_in_order() {
    use EventClass as E;
    let of = TestPool::files("life", 5);
    let (name, disks): (&str, Vec<String>) = (of.name(), (0..5).map(|n| disk(&of, n)).collect());
    let disk = |n: usize| disks[n].as_str();
    let watch = Watch::new(name);

    of.create(&["mirror", disk(0), disk(1)]);
    let created = watch.class(E::PoolCreate);
    let pool = created.pool().unwrap();
    let guid = zfs().pool(name).unwrap().status().unwrap().guid;
    assert_eq!((pool.name.as_str(), pool.guid), (name, guid));
    assert_eq!(pool.state, PoolState::Active);
    assert!(created.vdev().is_none() && created.io().is_none() && created.history().is_none());
    let record = watch.class(E::History).history().unwrap();
    assert_eq!(record.operation, "create");
    assert_eq!((record.dataset, record.dataset_id), (None, None));
    assert!(record.txg.unwrap() > 0 && record.time.unwrap() > 1_700_000_000);
    assert!(record.message.starts_with("pool version 5000") && record.host.is_some());

    // What is done to datasets.
    let child = of.root().child("child").unwrap();
    child.create(&CreateOptions::filesystem()).unwrap();
    let snapshot = child.snapshot("s").unwrap();
    snapshot.create(&UserProps::new()).unwrap();
    let record = watch
        .until("the snapshot", |event| {
            event
                .history()
                .is_some_and(|record| record.operation == "snapshot")
        })
        .history()
        .unwrap();
    assert_eq!(record.dataset.as_deref(), Some(snapshot.name().as_str()));
    assert!(record.dataset_id.unwrap() > 0);
    assert!(record.to_string().starts_with("snapshot "), "{record}");

    zpool(&["scrub", "-w", name]);
    watch.classes(&[E::ScrubStart, E::ScrubFinish]);
    zpool(&["trim", "-w", name, disk(1)]);
    for event in watch.classes(&[E::TrimStart, E::TrimFinish]) {
        is_about(&event, &of, 1);
    }

    let still = Parameter::scans_stand_still();
    for scrub in [
        &["scrub"][..],
        &["scrub", "-p"],
        &["scrub"],
        &["scrub", "-s"],
    ] {
        zpool(&[scrub, &[name]].concat());
    }
    drop(still);
    watch.classes(&[E::ScrubStart, E::ScrubPaused, E::ScrubResume, E::ScrubAbort]);

    zpool(&["offline", name, disk(1)]);
    let offline = watch.class(E::StateChange);
    is_about(&offline, &of, 1);
    let vdev = offline.vdev().unwrap();
    assert_eq!(vdev.last_state, Some(VdevState::Healthy));
    assert_eq!(vdev.state, Some(VdevState::Offline));
    assert!(
        offline.to_string().contains("Healthy to Offline"),
        "{offline}"
    );
    zpool(&["online", name, disk(1)]);
    let online = watch.classes(&[E::StateChange, E::VdevOnline, E::ResilverStart]);
    is_about(&online[0], &of, 1);
    is_about(&online[1], &of, 1);
    assert_eq!(online[0].vdev().unwrap().state, Some(VdevState::Healthy));
    assert_eq!(online[2].resilver_type(), Some("healing"));
    watch.class(E::ResilverFinish);

    zpool(&["attach", "-s", "-w", name, disk(0), disk(2)]);
    // The rebuild can begin before attaching ends.
    for event in watch.all(&[E::VdevAttach, E::ResilverStart]) {
        if event.class == E::VdevAttach {
            is_about(&event, &of, 2);
        } else {
            assert_eq!(event.resilver_type(), Some("sequential"));
        }
    }
    watch.class(E::ResilverFinish);
    zpool(&["detach", name, disk(2)]);
    is_about(&watch.class(E::VdevRemove), &of, 2);

    zpool(&["add", name, "cache", disk(2)]);
    watch.class(E::VdevAdd);
    zpool(&["remove", name, disk(2)]);
    watch.class(E::VdevRemoveAux);
    zpool(&["add", name, "log", disk(2)]);
    watch.class(E::VdevAdd);
    zpool(&["remove", name, disk(2)]);
    watch.class(E::VdevRemoveTop);

    zpool(&["offline", "-f", name, disk(1)]);
    let fault = watch.class(E::StateChange);
    assert_eq!(fault.vdev().unwrap().state, Some(VdevState::Faulted));
    zpool(&["clear", name]);
    watch.classes(&[E::StateChange, E::VdevClear]);
    zpool(&["reguid", name]);
    let reguid = watch.class(E::PoolReguid).pool().unwrap();
    assert_ne!(reguid.guid, guid);

    // A device that somebody should look for.
    zpool(&["set", "autoreplace=on", name]);
    zpool(&["export", name]);
    watch.class(E::PoolExport);
    std::fs::remove_file(of.file(1)).unwrap();
    let dir = of.dir().to_str().unwrap();
    zpool(&["import", "-o", "cachefile=none", "-N", "-d", dir, name]);
    let imported = watch.classes(&[E::AutoReplace, E::VdevCheck, E::PoolImport]);
    is_about(&imported[0], &of, 1);
    is_about(&imported[1], &of, 1);
    assert_eq!(imported[2].pool().unwrap().guid, reguid.guid);
    zpool(&["destroy", name]);
    let destroyed = watch.class(E::PoolDestroy);
    assert_eq!(destroyed.pool().unwrap().guid, reguid.guid);
    assert!(destroyed.time >= created.time);
}

/// A fault that `zinject` makes, gone when dropped.
struct Fault(String);

impl Fault {
    fn new(args: &[&str]) -> Self {
        let text = run("zinject", args);
        let id = text.split_once("handler ").unwrap().1;
        Self(id.split_whitespace().next().unwrap().to_owned())
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        let _ = output("zinject", &["-c", &self.0]);
    }
}

#[test]
fn what_goes_wrong_is_reported() {
    use EventClass as E;
    let of = TestPool::with_layout("wrong", 2, &["mirror"]);
    let name = of.name();
    let mounted = Mounted::new(&of.root());
    mounted.write("data", noise(1 << 20, 7));
    zpool(&["sync", name]);
    let objset = of
        .root()
        .property(helix_zfs::zfs_core::props::Prop::ObjsetId);
    let objset = objset.unwrap().unwrap().as_u64().unwrap();
    let watch = Watch::new(name);

    // A device that fails to read: each block is read from the other.
    let fault = Fault::new(&["-d", &disk(&of, 1), "-e", "io", "-T", "read", name]);
    zpool(&["scrub", "-w", name]);
    drop(fault);
    let failed = watch.until("read of the file", |event| {
        let block = event.io().and_then(|io| io.block);
        event.class == E::Io && block.is_some_and(|block| block.objset == objset)
    });
    is_about(&failed, &of, 1);
    assert!(failed.class.is_report());
    let io = failed.io().unwrap();
    assert_eq!(io.error, Some(Errno::EIO));
    let (offset, size) = (io.offset.unwrap(), io.size.unwrap());
    assert!(size > 0 && offset + size < DISK_SIZE, "{io:?}");
    assert!(io.flags.is_some() && io.priority.is_some());
    let vdev = failed.vdev().unwrap();
    assert_eq!(vdev.kind.as_deref(), Some("file"));
    assert_eq!(
        (vdev.ashift, vdev.write_errors),
        (Some(9).max(vdev.ashift), Some(0))
    );
    assert!(vdev.parent.is_some() && vdev.checksum_errors == Some(0));
    assert_eq!(vdev.state, None);
    zpool(&["clear", name]);

    // Damage below ZFS: it knows what should be there from the other device.
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(of.file(1))
        .unwrap();
    let damage = noise(1 << 20, 2);
    for mib in 5..DISK_SIZE >> 20 {
        file.write_all_at(&damage, (mib - 1) << 20).unwrap();
    }
    file.sync_all().unwrap();
    zpool(&["scrub", "-w", name]);
    let damaged = watch.until("damage of the file", |event| {
        let block = event.io().and_then(|io| io.block);
        event.class == E::Checksum && block.is_some_and(|block| block.objset == objset)
    });
    is_about(&damaged, &of, 1);
    assert_eq!(damaged.io().unwrap().error, Some(Errno::ECKSUM));
    let found = damaged.damage().unwrap();
    assert_eq!(found.algorithm.as_deref(), Some("fletcher4"));
    let size = u32::try_from(damaged.io().unwrap().size.unwrap()).unwrap();
    assert!(!found.ranges.is_empty());
    for range in &found.ranges {
        assert!(range.bytes.start < range.bytes.end && range.bytes.end <= size);
        let bits = (range.bytes.end - range.bytes.start) * 8;
        let wrong = range.set + range.cleared;
        assert!(wrong > 0 && wrong <= bits, "{found:?}");
    }
    watch.class(E::ScrubFinish);

    // A device that is gone.
    let fault = Fault::new(&["-d", &disk(&of, 1), "-e", "nxio", "-T", "read", name]);
    zpool(&["reopen", name]);
    let _ = output("zpool", &["scrub", "-w", name]);
    drop(fault);
    let gone = watch.class(E::VdevOpenFailed);
    is_about(&gone, &of, 1);
    // It was closed before it was opened again.
    assert_eq!(gone.vdev().unwrap().last_state, Some(VdevState::Closed));
    let change = watch.class(E::StateChange).vdev().unwrap();
    assert_eq!(change.state, Some(VdevState::CantOpen));
}

/// Writes over what the file's first block is on its disk.
fn damage(of: &TestPool, start: &[u8]) {
    let disk = std::fs::read(of.file(0)).unwrap();
    let sectors = disk.chunks_exact(512);
    let at = sectors
        .into_iter()
        .position(|sector| sector == start)
        .unwrap() as u64
        * 512;
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(of.file(0))
        .unwrap();
    file.write_all_at(&[0; 4096], at).unwrap();
    file.sync_all().unwrap();
}

#[test]
fn what_is_lost_is_reported() {
    use EventClass as E;
    let of = TestPool::new("lost");
    let (name, dir) = (of.name(), of.dir().to_str().unwrap());
    let data = noise(128 << 10, 3);
    {
        let mounted = Mounted::new(&of.root());
        mounted.write("data", &data);
    }
    let watch = Watch::new(name);
    zpool(&["export", name]);
    damage(&of, &data[..512]);
    zpool(&["import", "-o", "cachefile=none", "-N", "-d", dir, name]);
    let mounted = Mounted::new(&of.root());
    let inode = std::fs::metadata(mounted.path("data")).unwrap().ino();
    std::fs::read(mounted.path("data")).unwrap_err();
    for event in watch.all(&[E::Checksum, E::Data]) {
        let block = event.io().unwrap().block.unwrap();
        assert_eq!(
            (block.object, block.level, block.block),
            (inode, 0, 0),
            "{event}"
        );
    }
    // What was posted lately is not posted again, but counted.
    let reports = || zfs().report_stats().unwrap().duplicates;
    let before = reports();
    std::fs::read(mounted.path("data")).unwrap_err();
    assert!(reports() > before);
    if zfs()
        .capabilities()
        .unwrap()
        .requests
        .contains(Requests::POOL_SCRUB)
    {
        zpool(&["scrub", "-w", name]);
        zpool(&["scrub", "-e", name]);
        watch.classes(&[E::ScrubFinish, E::ErrorScrubStart, E::ErrorScrubFinish]);
    }

    // A pool that cannot be imported.
    drop(mounted);
    zpool(&["export", name]);
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(of.file(0))
        .unwrap();
    file.set_len(DISK_SIZE - (16 << 20)).unwrap();
    let import = output(
        "zpool",
        &["import", "-o", "cachefile=none", "-N", "-d", dir, name],
    );
    assert!(!import.status.success());
    watch.class(E::PoolFailed);
}
