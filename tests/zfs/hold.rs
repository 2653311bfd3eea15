//! Holds, and the guard whose holds end with its process.

use crate::support::{Scratch, TestPool, zfs};
use helix_zfs::zfs_core::props::UserProps;
use helix_zfs::zfs_core::{CreateOptions, ErrorKind, Snapshot};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

fn snapshots(scratch: &Scratch) -> Vec<Snapshot> {
    let child = scratch.child("child").unwrap();
    child.create(&CreateOptions::filesystem()).unwrap();
    let snaps = vec![scratch.snapshot("s").unwrap(), child.snapshot("s").unwrap()];
    zfs().create_snapshots(&snaps, &UserProps::new()).unwrap();
    snaps
}

fn tags(snapshot: &Snapshot) -> Vec<String> {
    snapshot
        .holds()
        .unwrap()
        .iter()
        .map(|hold| hold.tag.to_str().unwrap().to_owned())
        .collect()
}

#[test]
fn hold_and_release() {
    let scratch = Scratch::new("hold");
    let snaps = snapshots(&scratch);
    let zfs = zfs();
    assert!(zfs.hold(&snaps, "helix").unwrap().is_complete());
    assert_eq!(tags(&snaps[1]), ["helix"]);
    let age = SystemTime::now().duration_since(snaps[0].holds().unwrap()[0].created);
    assert!(age.unwrap_or_default() < Duration::from_secs(3600));
    snaps[0].hold("another").unwrap();
    assert_eq!(tags(&snaps[0]), ["another", "helix"]);

    let error = zfs.hold(&snaps, "helix").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    // The kernel stops at the first.
    assert_eq!(error.failures()[0].kind, ErrorKind::AlreadyExists);
    assert_eq!(
        zfs.hold(&snaps, "").unwrap_err().kind(),
        ErrorKind::InvalidArgument
    );
    assert_eq!(
        zfs.hold(&snaps, "a\0b").unwrap_err().kind(),
        ErrorKind::InvalidArgument
    );
    assert_eq!(
        zfs.hold::<Snapshot>(&[], "x").unwrap_err().kind(),
        ErrorKind::InvalidArgument
    );
    // The kernel would let this one through and panic.
    let error = zfs.hold(&snaps, &"x".repeat(256)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooBig, "{error}");
    let longest = "x".repeat(255);
    snaps[1].hold(&longest).unwrap();
    snaps[1].release(&longest).unwrap();

    assert!(zfs.release(&snaps, "helix").unwrap().is_complete());
    assert_eq!(tags(&snaps[0]), ["another"]);
    assert_eq!(
        snaps[1].release("helix").unwrap_err().kind(),
        ErrorKind::NotFound
    );
    snaps[0].release("another").unwrap();
    let missing = scratch.snapshot("missing").unwrap();
    assert_eq!(missing.hold("x").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(missing.holds().unwrap_err().kind(), ErrorKind::NotFound);
    let other = TestPool::new("hold");
    let pair = [snaps[0].clone(), other.root().snapshot("s").unwrap()];
    assert_eq!(
        zfs.hold(&pair, "x").unwrap_err().kind(),
        ErrorKind::CrossPool
    );
}

#[test]
fn partial_success_is_visible() {
    let scratch = Scratch::new("hold-partial");
    let mut snaps = snapshots(&scratch);
    let missing = scratch.snapshot("missing").unwrap();
    snaps.push(missing.clone());
    let zfs = zfs();
    let outcome = zfs.hold(&snaps, "helix").unwrap();
    assert_eq!(outcome.succeeded(), 2);
    assert_eq!(outcome.failures().len(), 1);
    assert_eq!(outcome.failures()[0].name, missing.name().as_str());
    assert_eq!(outcome.failures()[0].kind, ErrorKind::NotFound);
    assert_eq!(outcome.complete().unwrap_err().kind(), ErrorKind::Partial);
    assert_eq!(tags(&snaps[0]), ["helix"]);

    snaps[1].release("helix").unwrap();
    let outcome = zfs.release(&snaps, "helix").unwrap();
    assert_eq!(outcome.succeeded(), 1);
    let mut names: Vec<&str> = outcome.failures().iter().map(|f| f.name.as_str()).collect();
    names.sort_unstable();
    let without_tag = format!("{}#helix", snaps[1].name());
    let mut expected = [missing.name().as_str(), &without_tag];
    expected.sort_unstable();
    assert_eq!(names, expected);

    // A guard holds all or nothing.
    let error = zfs.hold_until_drop(&snaps, "guard").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Partial, "{error}");
    wait_until_released(&snaps[0]);
}

/// A program that another test starts at this moment has a copy of the guard's descriptor until
/// its `exec`, and the kernel releases at the close of the last copy.
fn wait_until_released(snapshot: &Snapshot) {
    for _ in 0..1000 {
        if tags(snapshot).is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{snapshot:?} is still held: {:?}", tags(snapshot));
}

#[test]
fn a_guard_releases_when_dropped() {
    let scratch = Scratch::new("guard");
    let snaps = snapshots(&scratch);
    let zfs = zfs();
    let guard = zfs.hold_until_drop(&snaps, "guard").unwrap();
    assert_eq!(tags(&snaps[0]), ["guard"]);
    assert_eq!(snaps[0].destroy().unwrap_err().kind(), ErrorKind::Held);
    drop(guard);
    wait_until_released(&snaps[0]);
    wait_until_released(&snaps[1]);
    let guard = zfs.hold_until_drop(&snaps, "second").unwrap();
    guard.release().unwrap();
    assert!(tags(&snaps[0]).is_empty());
    let guard = zfs.hold_until_drop(&snaps, "third").unwrap();
    snaps[0].release("third").unwrap();
    assert_eq!(guard.release().unwrap_err().kind(), ErrorKind::Partial);
    assert!(tags(&snaps[1]).is_empty());
}

const CHILD: &str = "HELIX_ZFS_TEST_HOLD";

/// The other process of the next test: this same program, told by its environment to hold a
/// snapshot until it is killed.
fn hold_until_killed(name: &str) -> ! {
    let snapshot = zfs().snapshot(name).unwrap();
    let guard = zfs().hold_until_drop(&[snapshot], "guard").unwrap();
    let mut stderr = std::io::stderr();
    writeln!(stderr, "held {:?}", guard.snapshots()).unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn a_guard_releases_when_its_process_is_killed() {
    if let Ok(name) = std::env::var(CHILD) {
        hold_until_killed(&name);
    }
    let scratch = Scratch::new("guard-kill");
    let snap = snapshots(&scratch).remove(0);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "hold::a_guard_releases_when_its_process_is_killed",
            "--nocapture",
        ])
        .env(CHILD, snap.name().as_str())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let held = lines
        .find(|line| line.as_ref().unwrap().contains("held"))
        .unwrap()
        .unwrap();
    assert!(held.contains(snap.name().as_str()));
    assert_eq!(tags(&snap), ["guard"]);
    child.kill().unwrap();
    child.wait().unwrap();
    // The kernel closes the descriptor after it has told the parent.
    wait_until_released(&snap);
}
