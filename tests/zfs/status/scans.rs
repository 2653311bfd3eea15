//! What goes through a pool, while it does and afterwards.

use super::agreement::{agrees, well};
use super::{Fault, disk, made, pool, until};
use crate::support::{Mounted, Parameter, TestPool, noise, run};
use helix_zfs::zfs_core::SyncMode;
use helix_zfs::zfs_core::pool::{
    PoolReport, Progress, RebuildState, ScanFunction, ScanState, StatusCode, VdevKind,
};
use std::fs::OpenOptions;

/// Many small files far from each other, so that reading what is there takes many reads.
fn fill(of: &TestPool) -> Mounted {
    run("zfs", &["set", "recordsize=8k", of.name()]);
    let mounted = Mounted::new(&of.root());
    let data = noise(16 << 10, 1);
    for n in 0..320 {
        mounted.write(&format!("file-{n}"), &data);
    }
    pool(of).sync(SyncMode::Pending).unwrap();
    for n in (0..320).filter(|n| n % 4 > 0) {
        std::fs::remove_file(mounted.path(&format!("file-{n}"))).unwrap();
    }
    pool(of).sync(SyncMode::Pending).unwrap();
    mounted
}

fn scan(report: &PoolReport) -> (ScanFunction, ScanState) {
    let scan = report.status.scan.as_ref().unwrap();
    (scan.function, scan.state)
}

fn is_sane(progress: Progress) {
    assert!(progress.total > 0, "{progress:?}");
    assert!((0.0..=1.0).contains(&progress.fraction()), "{progress:?}");
    if let (Some(rate @ 1..), Some(left)) = (progress.rate, progress.time_left) {
        assert_eq!(left, progress.total.saturating_sub(progress.done) / rate);
    }
}

#[test]
fn a_scrub_runs_pauses_ends_and_a_resilver() {
    let of = made("st-scrub", &["mirror", "0", "1"]);
    let name = of.name();
    let _mounted = fill(&of);
    let still = Parameter::scans_stand_still();
    run("zpool", &["scrub", name]);
    let running = agrees(&of);
    assert_eq!(scan(&running), (ScanFunction::Scrub, ScanState::Scanning));
    let status = running.status.scan.as_ref().unwrap();
    assert!(status.paused.is_none());
    is_sane(status.progress.unwrap());
    well(&running);

    run("zpool", &["scrub", "-p", name]);
    let paused = agrees(&of);
    let status = paused.status.scan.as_ref().unwrap();
    assert!(status.paused >= Some(status.start));
    let progress = status.progress.unwrap();
    is_sane(progress);
    assert_eq!((progress.rate, progress.time_left), (None, None));
    drop(still);
    run("zpool", &["scrub", name]);
    run("zpool", &["wait", "-t", "scrub", name]);
    let ended = agrees(&of);
    assert_eq!(scan(&ended), (ScanFunction::Scrub, ScanState::Finished));
    assert_eq!(ended.status.scan.as_ref().unwrap().progress, None);

    run("zpool", &["offline", name, &disk(&of, 1)]);
    run("zfs", &["set", "helix:mark=1", name]);
    let still = Parameter::scans_stand_still();
    run("zpool", &["detach", name, &disk(&of, 1)]);
    run(
        "zpool",
        &["attach", "-f", name, &disk(&of, 0), &disk(&of, 1)],
    );
    let resilvering = agrees(&of);
    assert_eq!(resilvering.advice.code, StatusCode::Resilvering);
    assert_eq!(
        scan(&resilvering),
        (ScanFunction::Resilver, ScanState::Scanning)
    );
    is_sane(resilvering.status.scan.as_ref().unwrap().progress.unwrap());
    drop(still);
    run("zpool", &["wait", "-t", "resilver", name]);
    let ended = agrees(&of);
    assert_eq!(scan(&ended), (ScanFunction::Resilver, ScanState::Finished));
    well(&ended);
}

#[test]
fn a_rebuild_and_the_scrub_that_it_calls_for() {
    let of = TestPool::files("st-rebuild", 2);
    of.create(&[&disk(&of, 0)]);
    let name = of.name();
    let _mounted = fill(&of);
    let slow = Fault::slow(&of, 0);
    run(
        "zpool",
        &["attach", "-s", name, &disk(&of, 0), &disk(&of, 1)],
    );
    let running = agrees(&of);
    let rebuild = running.status.root.children[0].rebuild.as_ref().unwrap();
    // Nothing holds it but the slow device, and it can be done before it is looked at.
    if rebuild.state == RebuildState::Active {
        assert_eq!(running.advice.code, StatusCode::Rebuilding);
        assert_eq!(rebuild.end, None);
        is_sane(rebuild.progress.unwrap());
    }
    drop(slow);
    run("zpool", &["wait", "-t", "resilver", name]);
    // By itself the kernel scrubs when a rebuild is done, unless it is told not to.
    let ended = until(&of, |report| {
        let rebuild = report.status.root.children[0].rebuild.as_ref().unwrap();
        rebuild.state == RebuildState::Complete
    });
    let rebuild = ended.status.root.children[0].rebuild.as_ref().unwrap();
    assert!(rebuild.rebuilt > 0 && rebuild.progress.is_none());
    run("zpool", &["wait", "-t", "scrub", name]);
    run("zpool", &["scrub", "-w", name]);
    well(&agrees(&of));
}

#[test]
fn a_removal() {
    let of = TestPool::files("st-removal", 3);
    let disks = [0, 1, 2].map(|n| disk(&of, n));
    // What is removed has to fit into what is left.
    let first = OpenOptions::new().write(true).open(of.file(0)).unwrap();
    first.set_len(1 << 30).unwrap();
    of.create(&[&disks[0], &disks[1], "log", &disks[2]]);
    let name = of.name();
    let _mounted = fill(&of);
    run("zpool", &["remove", name, &disks[2]]);
    let held = Parameter::set("zfs_removal_suspend_progress", "1");
    run("zpool", &["remove", name, &disks[1]]);
    let running = agrees(&of);
    let removal = running.status.removal.as_ref().unwrap();
    assert_eq!((removal.state, removal.vdev), (ScanState::Scanning, 1));
    is_sane(removal.progress.unwrap());
    let leaving = &running.status.root.children[1];
    assert!(leaving.stats.as_ref().unwrap().removing);
    drop(held);
    run("zpool", &["wait", "-t", "remove", name]);
    let ended = agrees(&of);
    let removal = ended.status.removal.as_ref().unwrap();
    assert_eq!(
        (removal.state, removal.progress),
        (ScanState::Finished, None)
    );
    assert!(removal.copied > 0 && removal.end >= Some(removal.start));
    let kinds: Vec<&VdevKind> = ended
        .status
        .root
        .children
        .iter()
        .map(|top| &top.kind)
        // What is left of the log.
        .filter(|kind| **kind != VdevKind::Hole)
        .collect();
    assert_eq!(kinds, [&VdevKind::File, &VdevKind::Indirect]);
    well(&ended);
}
