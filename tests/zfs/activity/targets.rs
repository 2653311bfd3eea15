//! What is done to devices: trims and initialisations.

use super::{assert_history, pool, while_waiting};
use crate::support::{DISK_SIZE, Loop, Parameter, TENANT, TestPool, as_user, module, run, unmount};
use helix_zfs::zfs_core::pool::{Activity, ActivityState, Targets, TrimOptions, VdevId, VdevStats};
use helix_zfs::zfs_core::{
    DeviceActivity, ErrorKind, Failure, Outcome, Pool, PoolActivity, PoolStatus, Result, Waited,
};
use std::fs::File;
use std::num::NonZeroU64;
use std::time::Duration;
use tempfile::TempDir;

fn guid(status: &PoolStatus, of: &TestPool, n: usize) -> u64 {
    status.vdevs().with_path(of.file(n)).unwrap().guid
}

fn activity(pool: &Pool, device: u64, of: fn(&VdevStats) -> Activity) -> Activity {
    let status = pool.status().unwrap();
    of(status
        .vdevs()
        .with_guid(device)
        .unwrap()
        .stats
        .as_ref()
        .unwrap())
}

/// Done to all that it was asked for.
fn done(result: Result<Outcome>) {
    result.unwrap().complete().unwrap();
}

/// Whoever waits is told of the end a moment before the kernel lets go of the device.
fn done_in_a_moment(mut action: impl FnMut() -> Result<Outcome>) {
    for _ in 0..500 {
        let outcome = action().unwrap();
        let busy = |failure: &Failure| failure.kind == ErrorKind::InProgress;
        if !outcome.failures().iter().any(busy) {
            return outcome.complete().unwrap();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it is still in progress");
}

/// What failed, by name.
fn failed(result: Result<Outcome>) -> Vec<(String, ErrorKind)> {
    let outcome = result.unwrap();
    assert_eq!(outcome.suppressed(), 0);
    let mut failures: Vec<_> = outcome
        .failures()
        .iter()
        .map(|failure| (failure.name.clone(), failure.kind))
        .collect();
    failures.sort_by(|(a, _), (b, _)| a.cmp(b));
    failures
}

fn kind(result: Result<Outcome>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn a_trim_from_its_start_to_its_end() {
    let of = TestPool::with_layout("trim", 2, &["mirror"]);
    let pool = pool(&of);
    let status = pool.status().unwrap();
    let (first, second) = (guid(&status, &of, 0), guid(&status, &of, 1));
    let path = |n| of.file(n).to_str().unwrap().to_owned();
    let state = |device| activity(&pool, device, |stats| stats.trim).state;
    // The kernel keeps to a rate between extents, and these are usually larger than the pool.
    let small = Parameter::set("zfs_trim_extent_bytes_max", "1048576");
    let slow = TrimOptions::new().rate(NonZeroU64::new(1 << 10).unwrap());

    assert_eq!(
        kind(pool.trim(Targets::These(&[]), &slow)),
        ErrorKind::InvalidArgument
    );
    // By its identity and by its path.
    let twice = [first.into(), of.file(0).into()];
    assert_eq!(
        kind(pool.trim(Targets::These(&twice), &slow)),
        ErrorKind::InvalidArgument
    );
    for result in [
        pool.suspend_trim(Targets::All),
        pool.cancel_trim(Targets::All),
    ] {
        assert_eq!(kind(result), ErrorKind::NotInProgress);
    }
    let denied = as_user(TENANT, || pool.trim(Targets::All, &slow));
    assert_eq!(kind(denied), ErrorKind::PermissionDenied);
    let waited = pool.wait_for(PoolActivity::Trim).unwrap();
    assert_eq!(waited, Waited::NotRunning);

    // Some of them can be.
    let mirror = &status.root.children[0];
    let some = [of.file(0).into(), VdevId::from(mirror), 42.into()];
    let outcome = pool.trim(Targets::These(&some), &slow);
    assert_eq!(outcome.as_ref().unwrap().succeeded(), 1);
    assert_eq!(
        failed(outcome),
        [
            ("42".to_owned(), ErrorKind::NotFound),
            (mirror.to_string(), ErrorKind::WrongKind)
        ]
    );
    assert_eq!(
        (state(first), state(second)),
        (ActivityState::Active, ActivityState::None)
    );
    assert_eq!(
        failed(pool.trim(Targets::These(&[first.into()]), &slow)),
        [(path(0), ErrorKind::InProgress)]
    );
    let secure = pool.trim(
        Targets::These(&[second.into()]),
        &TrimOptions::new().secure(),
    );
    assert_eq!(failed(secure), [(path(1), ErrorKind::Unsupported)]);
    assert_eq!(
        failed(pool.suspend_trim(Targets::These(&[second.into()]))),
        [(path(1), ErrorKind::NotInProgress)]
    );

    done(pool.suspend_trim(Targets::All));
    assert_eq!(state(first), ActivityState::Suspended);
    let shown = run("zpool", &["status", "-t", of.name()]);
    assert!(shown.contains("trimmed, suspended"), "{shown}");
    assert_eq!(pool.wait_for(PoolActivity::Trim).unwrap(), Waited::Paused);
    let wait = |device| pool.wait_for_device(DeviceActivity::Trim, device).unwrap();
    assert_eq!(
        (wait(first), wait(second)),
        (Waited::Paused, Waited::NotRunning)
    );
    for stranger in [VdevId::from(42), "/nowhere".into()] {
        let result = pool.wait_for_device(DeviceActivity::Trim, &stranger);
        assert_eq!(result.unwrap_err().kind(), ErrorKind::NotFound);
    }
    assert_eq!(
        kind(pool.trim(Targets::These(&["/nowhere".into()]), &slow)),
        ErrorKind::NotFound
    );

    done(pool.trim(
        Targets::These(&[first.into()]),
        &TrimOptions::new().rate(NonZeroU64::MIN),
    ));
    assert_eq!(state(first), ActivityState::Active);
    let waited = while_waiting(
        || pool.wait_for_device(DeviceActivity::Trim, first),
        || done(pool.cancel_trim(Targets::These(&[first.into()]))),
    );
    assert_eq!(waited.unwrap(), Waited::Over);
    assert_eq!(state(first), ActivityState::Canceled);
    drop(small);

    run("zpool", &["offline", of.name(), &path(1)]);
    assert_eq!(
        failed(pool.trim(Targets::All, &TrimOptions::new())),
        [(path(1), ErrorKind::DeviceUnavailable)]
    );
    pool.wait_for(PoolActivity::Trim).unwrap();
    assert_eq!(state(first), ActivityState::Complete);
    assert_history(&of, &["zpool trim -s"]);
    let history = run("zpool", &["history", of.name()]);
    let line = format!("zpool trim -r 1 {} {first}", of.name());
    assert!(history.contains(&line), "{history}");
}

/// A filesystem of files without holes, so that what is on them cannot be trimmed.
struct Solid(TempDir);

impl Solid {
    fn new() -> Self {
        let dir = TempDir::with_prefix("helix-zfs-").unwrap();
        let path = dir.path().to_str().unwrap().to_owned();
        run("mount", &["-t", "ramfs", "none", &path]);
        Self(dir)
    }
}

impl Drop for Solid {
    fn drop(&mut self) {
        let _ = unmount(self.0.path());
    }
}

#[test]
fn disks_that_cannot_trim() {
    let solid = Solid::new();
    let file = solid.0.path().join("disk");
    File::create(&file).unwrap().set_len(DISK_SIZE).unwrap();
    let block = Loop::new(&file);
    let of = TestPool::files("no-trim", 0);
    of.create(&[block.path()]);
    let pool = pool(&of);
    let options = TrimOptions::new();
    assert_eq!(
        kind(pool.trim(Targets::All, &options)),
        ErrorKind::Unsupported
    );
    assert_eq!(
        failed(pool.trim(Targets::These(&[block.path().into()]), &options)),
        [(block.path().to_owned(), ErrorKind::Unsupported)]
    );
    run("zpool", &["destroy", of.name()]);
}

#[test]
fn an_initialisation_from_its_start_to_its_end() {
    // The first is large enough not to be through before it is looked at.
    let of = TestPool::files("initialize", 2);
    let large = File::options().write(true).open(of.file(0)).unwrap();
    large.set_len(DISK_SIZE * 16).unwrap();
    let path = |n| of.file(n).to_str().unwrap().to_owned();
    of.create(&[&path(0), &path(1)]);
    let pool = pool(&of);
    let status = pool.status().unwrap();
    let (first, second) = (guid(&status, &of, 0), guid(&status, &of, 1));
    let now = |device| activity(&pool, device, |stats| stats.initialize);
    let one = [first.into()];
    let first_alone = Targets::These(&one);

    for result in [
        pool.suspend_initialize(Targets::All),
        pool.cancel_initialize(Targets::All),
    ] {
        assert_eq!(kind(result), ErrorKind::NotInProgress);
    }
    let denied = as_user(TENANT, || pool.initialize(Targets::All));
    assert_eq!(kind(denied), ErrorKind::PermissionDenied);

    done(pool.initialize(first_alone));
    let again = [first, 42, status.root.guid].map(VdevId::from);
    let outcome = pool.initialize(Targets::These(&again));
    assert_eq!(outcome.as_ref().unwrap().succeeded(), 0);
    assert_eq!(
        failed(outcome),
        [
            (path(0), ErrorKind::InProgress),
            ("42".to_owned(), ErrorKind::NotFound),
            ("root".to_owned(), ErrorKind::WrongKind)
        ]
    );
    done(pool.suspend_initialize(first_alone));
    let suspended = now(first);
    assert_eq!(suspended.state, ActivityState::Suspended);
    assert_eq!(
        failed(pool.suspend_initialize(first_alone)),
        [(path(0), ErrorKind::NotInProgress)]
    );
    let waited = pool.wait_for(PoolActivity::Initialize).unwrap();
    assert_eq!(waited, Waited::Paused);
    let wait = |device| {
        pool.wait_for_device(DeviceActivity::Initialize, device)
            .unwrap()
    };
    assert_eq!(
        (wait(first), wait(second)),
        (Waited::Paused, Waited::NotRunning)
    );

    done(pool.initialize(first_alone));
    assert_eq!(now(first).state, ActivityState::Active);
    let waited = while_waiting(
        || pool.wait_for(PoolActivity::Initialize),
        || done(pool.cancel_initialize(Targets::All)),
    );
    assert_eq!(waited.unwrap(), Waited::Over);
    assert_eq!(now(first).state, ActivityState::Canceled);
    assert_eq!(
        failed(pool.cancel_initialize(first_alone)),
        [(path(0), ErrorKind::NotInProgress)]
    );

    let two = [second.into()];
    let second_alone = Targets::These(&two);
    done(pool.initialize(second_alone));
    wait(second);
    let complete = now(second);
    assert_eq!(complete.state, ActivityState::Complete);
    assert!(
        complete.done > 0 && complete.done <= complete.estimate,
        "{complete:?}"
    );
    let shown = run("zpool", &["status", "-i", of.name()]);
    assert!(shown.contains("100% initialized, completed"), "{shown}");

    if module() < (2, 2) {
        let unsupported = pool.uninitialize(second_alone);
        assert_eq!(kind(unsupported), ErrorKind::Unsupported);
    } else {
        done_in_a_moment(|| pool.uninitialize(second_alone));
        assert_eq!(now(second).state, ActivityState::None);
        done_in_a_moment(|| pool.initialize(second_alone));
        wait(second);
        assert_eq!(now(second).state, ActivityState::Complete);
    }
    assert_history(&of, &["zpool initialize -c"]);
}
