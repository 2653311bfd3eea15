//! Scrubs.

use super::{assert_history, new_disk, pool, while_waiting};
use crate::support::{Mounted, Parameter, TENANT, TestPool, as_user, module, noise, run};
use helix_zfs::zfs_core::pool::{ScanFunction, ScanState, ScanStatus, Scrub, VdevKind};
use helix_zfs::zfs_core::{ErrorKind, Pool, PoolActivity, Result, SyncMode, Waited};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::time::Duration;

const SPAN: Scrub = Scrub::Written {
    from: None,
    until: Some(4_000_000_000),
};

fn scan(pool: &Pool) -> ScanStatus {
    pool.status().unwrap().scan.unwrap()
}

fn shown(of: &TestPool) -> String {
    run("zpool", &["status", of.name()])
}

/// Refused for this, and as the detail tells.
fn refused(result: Result<()>, kind: ErrorKind, detail: Option<&str>) {
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.detail()), (kind, detail), "{error}");
}

fn assert_scrubs<'a>(of: &TestPool, flags: impl IntoIterator<Item = &'a str>) {
    let commands: Vec<String> = flags
        .into_iter()
        .map(|flag| format!("zpool scrub{flag}"))
        .collect();
    assert_history(of, &commands.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_scrub_from_its_start_to_its_end() {
    let of = TestPool::new("scrub");
    let pool = pool(&of);
    let idle = ErrorKind::NotInProgress;
    refused(pool.pause_scrub(), idle, None);
    refused(pool.stop_scrub(), idle, None);
    refused(pool.resume_scrub(), idle, Some("no scrub is paused"));
    let waited = pool.wait_for(PoolActivity::Scrub).unwrap();
    assert_eq!(waited, Waited::NotRunning);
    let denied = as_user(TENANT, || pool.scrub(Scrub::Everything)).unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::PermissionDenied);

    let still = Parameter::scans_stand_still();
    pool.scrub(Scrub::Everything).unwrap();
    assert_eq!(
        (scan(&pool).function, scan(&pool).state),
        (ScanFunction::Scrub, ScanState::Scanning)
    );
    assert!(shown(&of).contains("scrub in progress"), "{}", shown(&of));
    let running = Some("a scrub is in progress");
    refused(
        pool.scrub(Scrub::Everything),
        ErrorKind::InProgress,
        running,
    );
    refused(pool.resume_scrub(), idle, Some("no scrub is paused"));

    pool.pause_scrub().unwrap();
    assert!(scan(&pool).paused.is_some());
    assert!(shown(&of).contains("scrub paused"), "{}", shown(&of));
    let paused = Some("a scrub is paused");
    refused(pool.pause_scrub(), ErrorKind::InProgress, paused);
    let all = [
        Scrub::Everything,
        Scrub::KnownErrors,
        Scrub::SinceLast,
        SPAN,
    ];
    for what in all {
        refused(pool.scrub(what), ErrorKind::InProgress, paused);
    }
    assert!(scan(&pool).paused.is_some());
    let waited = pool.wait_for(PoolActivity::Scrub).unwrap();
    assert_eq!(waited, Waited::Paused);

    pool.resume_scrub().unwrap();
    assert_eq!(scan(&pool).paused, None);
    assert_eq!(scan(&pool).state, ScanState::Scanning);
    pool.stop_scrub().unwrap();
    assert_eq!(scan(&pool).state, ScanState::Canceled);
    assert!(shown(&of).contains("scrub canceled"), "{}", shown(&of));

    pool.scrub(Scrub::Everything).unwrap();
    let waited = while_waiting(|| pool.wait_for(PoolActivity::Scrub), || drop(still));
    assert_eq!(waited.unwrap(), Waited::Over);
    assert_eq!(scan(&pool).state, ScanState::Finished);
    assert!(shown(&of).contains("scrub repaired 0B"), "{}", shown(&of));
    // 2.1 has no line of a resumed scrub: it says that with an error.
    let resumed = if module() < (2, 2) { None } else { Some("") };
    let flags = [Some(""), Some(" -p"), resumed, Some(" -s"), Some("")];
    assert_scrubs(&of, flags.into_iter().flatten());
}

#[test]
fn a_resilver_cannot_be_paused() {
    let of = TestPool::with_layout("resilver", 2, &["mirror"]);
    let pool = pool(&of);
    Mounted::new(&of.root()).write("data", noise(1 << 20, 1));
    // There is nothing to resilver yet.
    pool.restart_resilver().unwrap();
    let (old, new) = (of.file(1), new_disk(&of));
    let still = Parameter::scans_stand_still();
    run(
        "zpool",
        &[
            "replace",
            of.name(),
            old.to_str().unwrap(),
            new.to_str().unwrap(),
        ],
    );
    let busy = Some("a resilver is in progress");
    for result in [
        pool.scrub(Scrub::Everything),
        pool.pause_scrub(),
        pool.stop_scrub(),
    ] {
        refused(result, ErrorKind::InProgress, busy);
    }
    pool.restart_resilver().unwrap();
    let mut replaced = None;
    let resilvered = while_waiting(
        || pool.wait_for(PoolActivity::Resilver),
        || {
            let wait = || pool.wait_for(PoolActivity::Replace);
            replaced = Some(while_waiting(wait, || drop(still)));
        },
    );
    assert_eq!(resilvered.unwrap(), Waited::Over);
    assert_eq!(replaced.unwrap().unwrap(), Waited::Over);
    let status = pool.status().unwrap();
    assert!(status.vdevs().with_path(&new).is_some());
    assert!(status.vdevs().all(|vdev| vdev.kind != VdevKind::Replacing));
    let scan = scan(&pool);
    assert_eq!(
        (scan.function, scan.state, scan.errors),
        (ScanFunction::Resilver, ScanState::Finished, 0)
    );
}

/// From which transaction group on the scrubs of a pool went.
fn beginnings(of: &TestPool) -> Vec<u64> {
    run("zpool", &["history", "-i", of.name()])
        .lines()
        .filter(|line| line.contains(" scan setup "))
        .map(|line| {
            let text = line.split_once("mintxg=").unwrap().1;
            text.split_whitespace().next().unwrap().parse().unwrap()
        })
        .collect()
}

#[test]
fn parts_of_a_pool() {
    let of = TestPool::new("parts");
    let pool = pool(&of);
    let mounted = Mounted::new(&of.root());
    let data = noise(128 << 10, 2);
    mounted.write("data", &data);
    pool.sync(SyncMode::Pending).unwrap();
    let finish = |what| {
        pool.scrub(what).unwrap();
        pool.wait_for(PoolActivity::Scrub).unwrap();
        while scan(&pool).state != ScanState::Finished {
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    finish(Scrub::Everything);
    let backwards = Scrub::Written {
        from: Some(2),
        until: Some(1),
    };
    let span = Some("the span of time ends before it begins");
    refused(pool.scrub(backwards), ErrorKind::InvalidArgument, span);

    if module() < (2, 3) {
        for what in [Scrub::KnownErrors, Scrub::SinceLast, SPAN] {
            refused(pool.scrub(what), ErrorKind::Unsupported, None);
        }
        assert_eq!(beginnings(&of), [0]);
        return;
    }
    finish(Scrub::SinceLast);
    assert!(beginnings(&of)[1] > 0, "{:?}", beginnings(&of));
    if module() < (2, 4) {
        refused(pool.scrub(SPAN), ErrorKind::Unsupported, None);
    } else {
        finish(SPAN);
        assert_eq!(beginnings(&of).len(), 3);
    }

    let none = Some("the last scrub found no errors");
    refused(pool.scrub(Scrub::KnownErrors), ErrorKind::NotFound, none);
    let disk = std::fs::read(of.file(0)).unwrap();
    let sector = disk
        .chunks_exact(512)
        .position(|sector| sector == &data[..512]);
    let file = OpenOptions::new().write(true).open(of.file(0)).unwrap();
    let at = sector.unwrap() as u64 * 512;
    file.write_all_at(&[0; 512], at).unwrap();
    file.sync_all().unwrap();
    finish(Scrub::Everything);
    assert_eq!(pool.status().unwrap().error_count, Some(1));

    let still = Parameter::scans_stand_still();
    pool.scrub(Scrub::KnownErrors).unwrap();
    let errors = || scan(&pool).error_scrub.unwrap();
    assert_eq!(errors().state, ScanState::ErrorScrubbing);
    let running = Some("a scrub of known errors is in progress");
    refused(
        pool.scrub(Scrub::Everything),
        ErrorKind::InProgress,
        running,
    );
    pool.pause_scrub().unwrap();
    assert!(errors().paused.is_some());
    let paused = Some("a scrub of known errors is paused");
    refused(pool.pause_scrub(), ErrorKind::InProgress, paused);
    refused(
        pool.scrub(Scrub::KnownErrors),
        ErrorKind::InProgress,
        paused,
    );
    // The kernel does not wait for this kind.
    let waited = pool.wait_for(PoolActivity::Scrub).unwrap();
    assert_eq!(waited, Waited::NotRunning);
    pool.resume_scrub().unwrap();
    assert_eq!(errors().paused, None);
    pool.stop_scrub().unwrap();
    assert_eq!(errors().state, ScanState::Canceled);
    // Stopped, it has forgotten what it was about.
    refused(pool.scrub(Scrub::KnownErrors), ErrorKind::NotFound, none);
    drop(still);

    finish(Scrub::Everything);
    file.write_all_at(&data[..512], at).unwrap();
    file.sync_all().unwrap();
    pool.scrub(Scrub::KnownErrors).unwrap();
    while errors().state != ScanState::Finished {
        std::thread::sleep(Duration::from_millis(20));
    }
    pool.sync(SyncMode::Force).unwrap();
    assert_eq!(pool.status().unwrap().error_count, Some(0));
    assert_scrubs(&of, [" -C", "", " -e", " -p", " -e", " -s", "", " -e"]);
}
