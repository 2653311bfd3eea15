//! Vdevs of every kind and class.

use super::agreement::{agrees, well};
use super::{Fault, disk, made, path, pool, reimported, until};
use crate::support::{Mounted, TestPool, noise, output, run};
use helix_zfs::zfs_core::pool::{
    ActivityState, CheckpointState, RebuildState, ScanState, StatusCode, VdevAux, VdevKind,
    VdevState,
};
use helix_zfs::zfs_core::{Health, SyncMode};

#[test]
fn classes_a_checkpoint_and_idle_activities() {
    let layout = [
        "mirror", "0", "1", "special", "mirror", "2", "3", "dedup", "4", "log", "5", "cache", "6",
        "spare", "7",
    ];
    let of = made("st-classes", &layout);
    let healthy = agrees(&of);
    well(&healthy);
    assert_eq!(healthy.status.scan, None);
    assert!(!healthy.advice.code.is_problem());
    let log = &healthy.status.root.children[3];
    let stats = log.stats.as_ref().unwrap();
    assert!(stats.fragmentation.is_some() && stats.size > 0);

    run("zpool", &["checkpoint", of.name()]);
    let kept = agrees(&of);
    let checkpoint = kept.status.checkpoint.as_ref().unwrap();
    assert_eq!(checkpoint.state, CheckpointState::Exists);
    assert!(checkpoint.start >= 1_700_000_000);
    run("zpool", &["checkpoint", "-dw", of.name()]);
    assert_eq!(agrees(&of).status.checkpoint, None);

    run("zpool", &["initialize", "-w", of.name(), &disk(&of, 4)]);
    run("zpool", &["trim", "-w", of.name(), &disk(&of, 5)]);
    let done = agrees(&of);
    let stats = |n| {
        let vdev = done.status.vdevs().with_path(of.file(n)).unwrap();
        vdev.stats.clone().unwrap()
    };
    assert_eq!(stats(4).initialize.state, ActivityState::Complete);
    assert_eq!(stats(5).trim.state, ActivityState::Complete);
    assert_eq!(stats(5).initialize.state, ActivityState::None);
}

#[test]
fn a_raidz_that_lacks_a_device() {
    let of = made("st-raidz", &["raidz1", "0", "1", "2"]);
    well(&agrees(&of));
    reimported(&of, || std::fs::remove_file(of.file(1)).unwrap());
    let report = agrees(&of);
    assert_eq!(report.advice.code, StatusCode::MissingDevice);
    assert_eq!(report.advice.code.message_id(), Some("ZFS-8000-2Q"));
    assert!(report.advice.code.is_problem());
    assert_eq!(report.status.health, Health::Degraded);
}

#[test]
fn a_draid_whose_spare_steps_in() {
    let of = made("st-draid", &["draid1:2d:4c:1s", "0", "1", "2", "3"]);
    well(&agrees(&of));
    run("zpool", &["offline", of.name(), &disk(&of, 2)]);
    assert_eq!(agrees(&of).advice.code, StatusCode::OfflineDevice);
    let replace = ["replace", "-sw", of.name(), &disk(&of, 2), "draid1-0-0"];
    run("zpool", &replace);
    let rebuilt = |report: &helix_zfs::zfs_core::pool::PoolReport| {
        let rebuild = report.status.root.children[0].rebuild.as_ref();
        rebuild.is_some_and(|rebuild| rebuild.state == RebuildState::Complete)
    };
    until(&of, rebuilt);
    let report = agrees(&of);
    // When it is done the kernel scrubs the pool.
    let scrub = [StatusCode::RebuildScrub, StatusCode::OfflineDevice];
    assert!(scrub.contains(&report.advice.code), "{:?}", report.advice);
    assert_eq!(report.status.spares[0].health(), Health::InUse);
    let draid = &report.status.root.children[0];
    assert_eq!(draid.children[2].kind, VdevKind::Spare);
    assert_eq!(draid.children[2].children[1].kind, VdevKind::DraidSpare);
}

#[test]
fn labels_that_are_gone() {
    let of = made("st-labels", &["mirror", "0", "1"]);
    reimported(&of, || {
        // A device without labels: the path is right, and what is there is not the pool's.
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(of.file(1))
            .unwrap();
        let len = file.metadata().unwrap().len();
        file.set_len(0).unwrap();
        file.set_len(len).unwrap();
    });
    let report = agrees(&of);
    assert_eq!(report.advice.code, StatusCode::CorruptLabel);
    let lost = &report.status.root.children[0].children[1];
    assert_eq!(lost.state, VdevState::CantOpen);
    assert!(lost.aux != VdevAux::None && lost.aux != VdevAux::OpenFailed);
}

#[test]
fn a_raidz_is_expanded() {
    let of = TestPool::files("st-expand", 4);
    let (name, disks) = (of.name(), [0, 1, 2, 3].map(|n| disk(&of, n)));
    of.create(&["raidz1", &disks[0], &disks[1], &disks[2]]);
    let mounted = Mounted::new(&of.root());
    mounted.write("data", noise(4 << 20, 1));
    pool(&of).sync(SyncMode::Pending).unwrap();
    let slow = Fault::slow(&of, 0);
    let attached = output("zpool", &["attach", name, "raidz1-0", &disks[3]]);
    if !attached.status.success() {
        // Before 2.3 there is no such thing, and the kernel says so by knowing no feature.
        let features = path(std::path::Path::new("/sys/module/zfs/features.pool")).to_owned();
        let feature = format!("{features}/org.openzfs:raidz_expansion");
        assert!(!std::path::Path::new(&feature).exists(), "{attached:?}");
        return;
    }
    let running = agrees(&of);
    let expansion = running.status.expansion.as_ref().unwrap();
    assert!(expansion.to_reflow > 0);
    if expansion.state == ScanState::Scanning {
        let progress = expansion.progress.unwrap();
        assert_eq!(progress.total, expansion.to_reflow);
        assert!(running.status.root.children[0].expanding);
    }
    drop(slow);
    run("zpool", &["wait", "-t", "raidz_expand", name]);
    let done = agrees(&of);
    let expansion = done.status.expansion.as_ref().unwrap();
    assert_eq!(expansion.state, ScanState::Finished);
    assert_eq!(expansion.progress, None);
    assert!(expansion.reflowed > 0 && expansion.end >= Some(expansion.start));
    assert_eq!(done.status.root.children[0].children.len(), 4);
}
