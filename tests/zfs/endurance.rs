//! Many calls, many threads: nothing leaks, and nothing fails that would not fail alone.

use crate::support::{Scratch, unique, zfs};
use helix_zfs::zfs_core::props::{PropertySet, UserProps};
use helix_zfs::zfs_core::{CreateOptions, Dataset, ErrorKind, SnapshotFilter, SnapshotName, Zfs};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Resident memory that is the process's own, in KiB, and the number of open descriptors.
fn footprint() -> (u64, usize) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let rss = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .unwrap();
    let rss = rss.trim().trim_end_matches(" kB").parse().unwrap();
    (rss, std::fs::read_dir("/proc/self/fd").unwrap().count())
}

const CHILD: &str = "HELIX_ZFS_TEST_LEAK";

/// Memory is counted in a process of its own, where no other test runs.
fn alone(test: &str, action: impl FnOnce()) {
    if std::env::var(CHILD).as_deref() == Ok(test) {
        return action();
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, test)
        // The shared pool is the parent's.
        .env_remove("HELIX_ZFS_DISKS")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{test} in a process of its own: {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn stays_where_it_was(rounds: u32, mut round: impl FnMut(u32)) {
    // The first rounds fill caches and the allocator's free lists.
    let warm_up = rounds / 10;
    (0..warm_up).for_each(&mut round);
    let (memory, descriptors) = footprint();
    (warm_up..rounds).for_each(&mut round);
    let (memory_after, descriptors_after) = footprint();
    assert_eq!(descriptors, descriptors_after, "descriptors leaked");
    // A leak of a single 100-byte list a call would show as some 900 KiB.
    assert!(
        memory_after <= memory + 400,
        "{memory} KiB grew to {memory_after} KiB"
    );
}

#[test]
fn ten_thousand_failures() {
    alone("endurance::ten_thousand_failures", || {
        let zfs = zfs();
        let missing = zfs.dataset("hz-no-such-pool/dataset").unwrap();
        let snaps: Vec<SnapshotName> = (0..4)
            .map(|n| SnapshotName::new(&format!("hz-no-such-pool/d{n}@s")).unwrap())
            .collect();
        let target = missing.name().child("target").unwrap();
        stays_where_it_was(1_000, |_| {
            let kinds = [
                missing.stat().unwrap_err().kind(),
                missing
                    .create(&CreateOptions::filesystem())
                    .unwrap_err()
                    .kind(),
                missing.properties().unwrap_err().kind(),
                missing.children().unwrap_err().kind(),
                missing.bookmarks().unwrap_err().kind(),
                missing.rollback().unwrap_err().kind(),
                zfs.create_snapshots(&snaps, &UserProps::new())
                    .unwrap_err()
                    .kind(),
                zfs.hold_until_drop(&snaps, "tag").unwrap_err().kind(),
                zfs.release(&snaps, "tag").unwrap_err().kind(),
                zfs.snapshot("hz-no-such-pool@s")
                    .unwrap()
                    .clone_to(&target, &PropertySet::new())
                    .unwrap_err()
                    .kind(),
            ];
            assert_eq!(kinds, [ErrorKind::NotFound; 10]);
        });
    });
}

#[test]
fn ten_thousand_successes() {
    alone("endurance::ten_thousand_successes", || {
        let scratch = Scratch::new("leak");
        let child = scratch.child("child").unwrap();
        child.create(&CreateOptions::filesystem()).unwrap();
        let snap = child.snapshot("s").unwrap();
        snap.create(&UserProps::new().set("helix:x", "y").unwrap())
            .unwrap();
        snap.hold("tag").unwrap();
        snap.bookmark("mark").unwrap();
        let mark = child.bookmark("mark").unwrap();
        stays_where_it_was(1_000, |_| {
            assert!(child.exists().unwrap());
            assert!(child.stat().unwrap().origin.is_none());
            drop(Zfs::open().unwrap());
            assert_eq!(scratch.children().unwrap().len(), 1);
            assert_eq!(child.snapshots(&SnapshotFilter::new()).unwrap().len(), 1);
            assert_eq!(snap.stat().unwrap().clones, 0);
            assert_eq!(snap.holds().unwrap().len(), 1);
            assert_eq!(child.bookmarks().unwrap().len(), 1);
            assert_eq!(mark.stat().unwrap().name.short(), "mark");
            assert!(snap.space_to(&snap).is_ok());
        });
        // What changes the pool costs a transaction group each, so fewer of those.
        stays_where_it_was(20, |n| {
            let snap = child.snapshot(&format!("n{n}")).unwrap();
            snap.create(&UserProps::new().set("helix:x", "y").unwrap())
                .unwrap();
            assert_eq!(snap.properties().unwrap().user("helix:x"), Some("y"));
            assert!(!zfs().pools().unwrap().is_empty());
            child
                .set_user(&UserProps::new().set("helix:n", &n.to_string()).unwrap())
                .unwrap();
            zfs()
                .hold_until_drop(&[&snap.name()], "guard")
                .unwrap()
                .release()
                .unwrap();
            snap.destroy().unwrap();
        });
    });
}

/// How long the threads run: 20 seconds, or what `HELIX_ZFS_THREAD_SECONDS` says.
fn thread_seconds() -> u64 {
    std::env::var("HELIX_ZFS_THREAD_SECONDS")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(20)
}

fn one_round(dataset: &Dataset, round: u64) {
    let child = dataset.child(&format!("c{}", unique())).unwrap();
    match round % 4 {
        0 => {
            child.create(&CreateOptions::filesystem()).unwrap();
            assert!(child.exists().unwrap());
            child.destroy().unwrap();
        }
        1 => {
            let snap = dataset.snapshot(&format!("s{}", unique())).unwrap();
            snap.create(&UserProps::new().set("helix:x", "y").unwrap())
                .unwrap();
            snap.hold("tag").unwrap();
            assert_eq!(snap.destroy().unwrap_err().kind(), ErrorKind::Held);
            snap.release("tag").unwrap();
            snap.destroy().unwrap();
        }
        2 => {
            let error = child.create(&CreateOptions::volume(1)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            for _ in 0..20 {
                assert!(dataset.properties().unwrap().used() > 0);
                dataset.snapshots(&SnapshotFilter::new()).unwrap();
                assert_eq!(child.stat().unwrap_err().kind(), ErrorKind::NotFound);
            }
        }
        _ => {
            dataset
                .set_user(
                    &UserProps::new()
                        .set("helix:round", &round.to_string())
                        .unwrap(),
                )
                .unwrap();
            let properties = dataset.properties().unwrap();
            assert_eq!(
                properties.user("helix:round"),
                Some(round.to_string().as_str())
            );
        }
    }
}

#[test]
fn sixteen_threads_on_one_zfs() {
    alone("endurance::sixteen_threads_on_one_zfs", || {
        let scratch = Scratch::new("threads");
        let datasets: Vec<Dataset> = (0..16)
            .map(|n| {
                let dataset = scratch.child(&format!("t{n}")).unwrap();
                dataset.create(&CreateOptions::filesystem()).unwrap();
                dataset
            })
            .collect();
        let stop = AtomicBool::new(false);
        let rounds = AtomicU64::new(0);
        let work = |seconds: u64| {
            stop.store(false, Ordering::Relaxed);
            std::thread::scope(|scope| {
                for (n, dataset) in datasets.iter().enumerate() {
                    let (stop, rounds) = (&stop, &rounds);
                    scope.spawn(move || {
                        let mut round = n as u64;
                        while !stop.load(Ordering::Relaxed) {
                            one_round(dataset, round);
                            round += 1;
                            rounds.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
                let start = Instant::now();
                while start.elapsed() < Duration::from_secs(seconds) {
                    std::thread::sleep(Duration::from_millis(100));
                }
                stop.store(true, Ordering::Relaxed);
            });
        };
        work(2);
        let (_, descriptors) = footprint();
        work(thread_seconds());
        let (_, after) = footprint();
        assert_eq!(descriptors, after, "descriptors leaked");
        assert!(
            rounds.load(Ordering::Relaxed) >= 16,
            "every thread did something"
        );
        assert!(datasets.iter().all(|dataset| {
            dataset.children().unwrap().is_empty()
                && dataset
                    .snapshots(&SnapshotFilter::new())
                    .unwrap()
                    .is_empty()
        }));
    });
}
