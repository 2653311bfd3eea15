//! Snapshots of many callers in one transaction.

use crate::support::{Scratch, TENANT, TestPool, allowed, as_user, may, run, zfs, zfs_get};
use helix_zfs::Result;
use helix_zfs::gate::Operation;
use helix_zfs::group_commit::{Committed, GroupCommit, GroupCommitOptions};
use helix_zfs::zfs_core::props::{SnapshotLimit, UserProps};
use helix_zfs::zfs_core::{CreateOptions, Dataset, ErrorKind, SnapshotFilter, SnapshotName};
use std::collections::BTreeSet;
use std::sync::Barrier;
use std::time::Duration;

/// Waits until all callers of a test are there, so that they are one batch on any machine.
fn patient(callers: usize) -> GroupCommit {
    let long = Duration::from_secs(60);
    let options = GroupCommitOptions::new()
        .gather(long)
        .max_wait(long)
        .max_batch(callers);
    GroupCommit::new(&zfs(), options)
}

fn hasty() -> GroupCommit {
    GroupCommit::new(&zfs(), GroupCommitOptions::new())
}

fn filesystems(parent: &Dataset, count: usize) -> Vec<Dataset> {
    let filesystem = |n| {
        let dataset = parent.child(&format!("fs{n}")).unwrap();
        dataset.create(&CreateOptions::filesystem()).unwrap();
        dataset
    };
    (0..count).map(filesystem).collect()
}

fn name(dataset: &Dataset, short: &str) -> SnapshotName {
    dataset.name().snapshot(short).unwrap()
}

fn by(who: impl ToString) -> UserProps {
    UserProps::new().set("helix:by", &who.to_string()).unwrap()
}

/// All requests at the same moment, each from a thread of its own.
fn at_once(
    commits: &GroupCommit,
    requests: impl IntoIterator<Item = (SnapshotName, UserProps)>,
) -> Vec<Result<Committed>> {
    let requests: Vec<_> = requests.into_iter().collect();
    let start = Barrier::new(requests.len());
    std::thread::scope(|scope| {
        let ask = |(name, props): (SnapshotName, UserProps)| {
            let start = &start;
            scope.spawn(move || {
                let capability = may(Operation::Snapshot, &name.dataset());
                start.wait();
                commits.snapshot(capability, name, props)
            })
        };
        let threads: Vec<_> = requests.into_iter().map(ask).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| thread.join().unwrap();
        threads.into_iter().map(join).collect()
    })
}

/// What the kernel says of this snapshot when it is alone.
fn alone(name: &SnapshotName) -> String {
    let error = zfs().create_snapshots(&[name], &UserProps::new());
    error.unwrap_err().to_string()
}

#[test]
fn callers_share_a_transaction_group() {
    let scratch = Scratch::new("shared");
    let datasets = filesystems(&scratch, 12);
    let commits = patient(12);
    // With the same properties, and with different ones.
    for differ in [false, true] {
        let short = format!("s{differ}");
        let value = |n: usize| if differ { n.to_string() } else { "all".into() };
        let requests = datasets.iter().enumerate();
        let requests = requests.map(|(n, dataset)| (name(dataset, &short), by(value(n))));
        let answers = at_once(&commits, requests);
        let mut txgs = BTreeSet::new();
        for (n, (answer, dataset)) in answers.into_iter().zip(&datasets).enumerate() {
            let committed = answer.unwrap();
            assert_eq!(committed.snapshot, name(dataset, &short));
            assert_eq!(committed.batch, 12);
            let full = committed.snapshot.as_str();
            let txg = committed.txg.unwrap();
            assert_eq!(txg.to_string(), zfs_get("createtxg", full));
            assert_eq!(value(n), zfs_get("helix:by", full));
            txgs.insert(txg);
        }
        assert_eq!(txgs.len(), 1, "{txgs:?}");
    }
}

#[test]
fn a_bad_request_fails_alone() {
    let scratch = Scratch::new("alone");
    let datasets = filesystems(&scratch, 6);
    let missing = name(&scratch.child("missing").unwrap(), "s");
    let gone = zfs().dataset("hz-no-such-pool/a").unwrap();
    for differ in [false, true] {
        let short = format!("s{differ}");
        let there = name(&datasets[0], &short);
        zfs().create_snapshots(&[&there], &by("before")).unwrap();
        let props = |n: usize| if differ { by(n) } else { by("all") };
        let mut names: Vec<_> = datasets.iter().map(|d| name(d, &short)).collect();
        names.push(missing.clone());
        let requests = names.iter().cloned().enumerate();
        let answers = at_once(&patient(7), requests.map(|(n, name)| (name, props(n))));
        for (n, (answer, name)) in answers.into_iter().zip(&names).enumerate() {
            let kind = match n {
                0 => ErrorKind::AlreadyExists,
                6 => ErrorKind::NotFound,
                _ => {
                    assert_eq!(&answer.unwrap().snapshot, name);
                    continue;
                }
            };
            let error = answer.unwrap_err();
            assert_eq!(error.kind(), kind);
            assert_eq!(error.zfs_error().unwrap().object(), name.as_str());
            let first = alone(name).split(';').next().unwrap().to_owned();
            assert_eq!(error.to_string().split(';').next().unwrap(), first);
        }
        assert_eq!(zfs_get("helix:by", there.as_str()), "before");
    }
    let error = hasty()
        .snapshot(may(Operation::Snapshot, &gone), name(&gone, "s"), by("me"))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error = error.zfs_error().unwrap();
    assert_eq!(error.object(), "hz-no-such-pool/a@s");
}

#[test]
fn one_dataset_is_asked_for_twice() {
    let scratch = Scratch::new("twice");
    let [dataset, other] = &filesystems(&scratch, 2)[..] else {
        panic!("two");
    };
    let commits = hasty();
    let names = [name(dataset, "a"), name(dataset, "b"), name(other, "a")];
    let answers = at_once(&commits, names.map(|name| (name, UserProps::new())));
    let txgs: Vec<_> = answers.into_iter().map(|a| a.unwrap().txg).collect();
    assert_ne!(txgs[0], txgs[1]);
    let same = [name(dataset, "c"), name(dataset, "c")];
    let answers = at_once(&commits, same.map(|name| (name, UserProps::new())));
    let (taken, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((taken.len(), refused.len()), (1, 1));
    let error = refused.into_iter().next().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
}

#[test]
fn volumes_and_filesystems_go_together() {
    let scratch = Scratch::new("kinds");
    let volume = scratch.child("volume").unwrap();
    run("zfs", &["create", "-sV", "1M", volume.name().as_str()]);
    let requests = [
        (name(&volume, "s"), by("a")),
        (name(&scratch, "s"), by("b")),
    ];
    for answer in at_once(&patient(2), requests) {
        assert_eq!(answer.unwrap().batch, 2);
    }
    assert_eq!(
        zfs_get("volsize", format!("{}@s", volume.name())),
        "1048576"
    );
}

#[test]
fn batches_are_no_larger_than_they_may_be() {
    let scratch = Scratch::new("size");
    let datasets = filesystems(&scratch, 7);
    let long = Duration::from_secs(60);
    let options = GroupCommitOptions::new().gather(long).max_batch(3);
    let commits = GroupCommit::new(&zfs(), options);
    let requests = datasets.iter().map(|d| (name(d, "s"), UserProps::new()));
    for answer in at_once(&commits, requests) {
        assert!(answer.unwrap().batch <= 3);
    }
}

/// Who is not root runs no programs, and is held to limits.
#[test]
fn callers_without_privileges() {
    let scratch = Scratch::new("delegated");
    let datasets = filesystems(&scratch, 5);
    let (forbidden, others) = datasets.split_first().unwrap();
    for dataset in others {
        let name = dataset.name().as_str();
        run("zfs", &["allow", "-u", "tenant", "snapshot,userprop", name]);
    }
    scratch.set(SnapshotLimit(2)).unwrap();
    let commits = patient(5);
    let requests = datasets.iter().map(|d| (name(d, "s"), by("all")));
    let start = Barrier::new(5);
    let capability = allowed(Operation::Snapshot);
    let ask = |request: (SnapshotName, UserProps)| {
        as_user(TENANT, || {
            start.wait();
            commits.snapshot(capability, request.0, request.1)
        })
    };
    let answers: Vec<_> = std::thread::scope(|scope| {
        let ask = &ask;
        let threads: Vec<_> = requests.map(|r| scope.spawn(move || ask(r))).collect();
        let answers = threads.into_iter().map(|thread| thread.join().unwrap());
        answers.collect()
    });
    let mut taken = 0;
    for (answer, dataset) in answers.into_iter().zip(&datasets) {
        let error = match answer {
            Ok(_) => {
                taken += 1;
                continue;
            }
            Err(error) => error,
        };
        let kind = match dataset.name() == forbidden.name() {
            true => ErrorKind::PermissionDenied,
            false => ErrorKind::QuotaExceeded,
        };
        assert_eq!(error.kind(), kind, "{error}");
        let error = error.zfs_error().unwrap();
        assert_eq!(error.object(), name(dataset, "s").as_str());
    }
    // As many as the limit lets through, although all together were too many.
    assert_eq!(taken, 2);
}

#[test]
fn callers_without_privileges_have_properties_of_their_own() {
    let scratch = Scratch::new("own");
    let datasets = filesystems(&scratch, 3);
    let commits = hasty();
    run(
        "zfs",
        &["allow", "-u", "tenant", "snapshot,userprop", scratch.name()],
    );
    for round in ["a", "b"] {
        let answers: Vec<_> = std::thread::scope(|scope| {
            let ask = |(n, dataset): (usize, &Dataset)| {
                let request = (name(dataset, round), by(n));
                let commits = &commits;
                let capability = allowed(Operation::Snapshot);
                scope.spawn(move || {
                    as_user(TENANT, || {
                        commits.snapshot(capability, request.0, request.1)
                    })
                })
            };
            let threads: Vec<_> = datasets.iter().enumerate().map(ask).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        for (n, answer) in answers.into_iter().enumerate() {
            let committed = answer.unwrap();
            assert_eq!(
                zfs_get("helix:by", committed.snapshot.as_str()),
                n.to_string()
            );
        }
    }
}

#[test]
fn pools_do_not_wait_for_each_other() {
    let scratch = Scratch::new("pools");
    let pool = TestPool::new("commit");
    let root = pool.root();
    filesystems(&root, 1);
    let dir = pool.dir().to_str().unwrap();
    run("zpool", &["export", pool.name()]);
    run(
        "zpool",
        &[
            "import",
            "-o",
            "readonly=on",
            "-o",
            "cachefile=none",
            "-d",
            dir,
            pool.name(),
        ],
    );
    let here = filesystems(&scratch, 2);
    let read_only = [root.clone(), root.child("fs0").unwrap()];
    for differ in [false, true] {
        let short = format!("s{differ}");
        let all = here.iter().chain(&read_only).enumerate();
        let props = |n: usize| by(if differ { n } else { 0 });
        let requests = all.map(|(n, dataset)| (name(dataset, &short), props(n)));
        // Two of each pool are a batch.
        let answers = at_once(&patient(2), requests);
        for (n, answer) in answers.into_iter().enumerate() {
            match n {
                0 | 1 => assert_eq!(answer.unwrap().batch, 2),
                _ => {
                    let error = answer.unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::ReadOnlyPool);
                    let wanted = name(&read_only[n - 2], &short);
                    assert_eq!(error.zfs_error().unwrap().object(), wanted.as_str());
                }
            }
        }
    }
}

/// A runtime of two threads for futures, with others for what blocks.
fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_time().build().unwrap()
}

#[test]
fn futures_and_threads_share_batches() {
    let scratch = Scratch::new("futures");
    let datasets = filesystems(&scratch, 6);
    let commits = patient(6);
    let runtime = runtime();
    let (futures, threads) = datasets.split_at(3);
    let spawned: Vec<_> = futures
        .iter()
        .map(|dataset| {
            let (commits, name) = (commits.clone(), name(dataset, "s"));
            runtime.spawn(async move {
                commits
                    .snapshot_async(allowed(Operation::Snapshot), name, by("future"))
                    .await
            })
        })
        .collect();
    let requests = threads.iter().map(|d| (name(d, "s"), by("thread")));
    let mut answers = at_once(&commits, requests);
    for task in spawned {
        answers.push(runtime.block_on(task).unwrap());
    }
    let txgs: BTreeSet<_> = answers
        .into_iter()
        .map(|answer| answer.unwrap())
        .map(|committed| (committed.batch, committed.txg))
        .collect();
    assert_eq!(txgs.len(), 1, "{txgs:?}");
    assert_eq!(txgs.first().unwrap().0, 6);
}

#[test]
fn a_future_that_is_dropped_takes_its_request_back() {
    let scratch = Scratch::new("dropped");
    let datasets = filesystems(&scratch, 3);
    let commits = patient(2);
    let runtime = runtime();
    runtime.block_on(async {
        let first = commits.snapshot_async(
            allowed(Operation::Snapshot),
            name(&datasets[0], "s"),
            by("nobody"),
        );
        let waited = tokio::time::timeout(Duration::from_millis(50), first).await;
        assert!(waited.is_err(), "a batch of one");
        // It would have been the second of the batch.
        let second = commits.snapshot_async(
            allowed(Operation::Snapshot),
            name(&datasets[1], "s"),
            by("a"),
        );
        let third = commits.snapshot_async(
            allowed(Operation::Snapshot),
            name(&datasets[2], "s"),
            by("b"),
        );
        let (second, third) = tokio::join!(second, third);
        assert_eq!((second.unwrap().batch, third.unwrap().batch), (2, 2));
    });
    let all = SnapshotFilter::new();
    assert_eq!(datasets[0].snapshots(&all).unwrap(), []);

    // One that leads is carried out for the others, and may have been for itself.
    let options = GroupCommitOptions::new().gather(Duration::from_millis(300));
    let commits = GroupCommit::new(&zfs(), options.max_batch(2));
    let (one, other) = (name(&datasets[0], "t"), name(&datasets[1], "t"));
    std::thread::scope(|scope| {
        let thread =
            scope.spawn(|| commits.snapshot(allowed(Operation::Snapshot), one, by("thread")));
        runtime.block_on(async {
            let leader = commits.snapshot_async(allowed(Operation::Snapshot), other, by("future"));
            let _dropped = tokio::time::timeout(Duration::from_millis(1), leader).await;
        });
        thread.join().unwrap().unwrap();
    });
    // A runtime that ends with a batch that it did not begin leaves it to the others.
    let (one, other) = (name(&datasets[0], "u"), name(&datasets[1], "u"));
    std::thread::scope(|scope| {
        let thread =
            scope.spawn(|| commits.snapshot(allowed(Operation::Snapshot), one, by("thread")));
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let ending = builder
            .max_blocking_threads(1)
            .enable_time()
            .build()
            .unwrap();
        let (release, released) = std::sync::mpsc::channel::<()>();
        // It has no other thread for what blocks.
        let busy = ending.spawn_blocking(move || released.recv());
        ending.block_on(async {
            let leader = commits.snapshot_async(allowed(Operation::Snapshot), other, by("future"));
            let _dropped = tokio::time::timeout(Duration::from_secs(1), leader).await;
        });
        ending.shutdown_background();
        drop(release);
        drop(busy);
        thread.join().unwrap().unwrap();
    });
}

/// Requests of all sorts at any moment, of which everyone gets what it would get alone.
#[test]
fn everyone_gets_its_own_answer() {
    let scratch = Scratch::new("any");
    let datasets = filesystems(&scratch, 8);
    let missing = scratch.child("missing").unwrap();
    let commits = hasty();
    for round in 0..2 {
        let there = name(&datasets[round], &format!("s{round}"));
        zfs().create_snapshots(&[&there], &by("before")).unwrap();
        let requests: Vec<_> = (0..14)
            .map(|n| {
                let dataset = if n % 7 == 6 {
                    &missing
                } else {
                    &datasets[n % 8]
                };
                // The last ones ask for what the first ones ask for.
                let short = format!("s{}", if n % 12 < 8 { round } else { 10 + round });
                (name(dataset, &short), by(n % 3))
            })
            .collect();
        let answers = at_once(&commits, requests.clone());
        let mut taken = BTreeSet::from([there]);
        let mut exist = Vec::new();
        for (answer, (name, props)) in answers.into_iter().zip(requests) {
            match answer {
                Ok(committed) => {
                    assert_eq!(committed.snapshot, name);
                    let (_, value) = props.iter().next().unwrap();
                    assert_eq!(zfs_get("helix:by", name.as_str()), value);
                    assert!(taken.insert(name), "taken twice");
                }
                Err(error) => {
                    assert_eq!(error.zfs_error().unwrap().object(), name.as_str());
                    match error.kind() {
                        ErrorKind::NotFound => {
                            assert_eq!(name.dataset_str(), missing.name().as_str())
                        }
                        ErrorKind::AlreadyExists => exist.push(name),
                        _ => panic!("{error}"),
                    }
                }
            }
        }
        assert!(exist.iter().all(|name| taken.contains(name)), "{exist:?}");
        assert_eq!(taken.len() + exist.len(), 1 + 14 - 2);
    }
}

#[test]
fn a_program_without_memory_is_made_up_for() {
    let scratch = Scratch::new("memory");
    let datasets = filesystems(&scratch, 6);
    // From one that does not begin to one that comes to its end: what is short of memory is taken
    // without a program.
    for (step, kib) in [8, 32, 1024].iter().enumerate() {
        let long = Duration::from_secs(60);
        let options = GroupCommitOptions::new()
            .gather(long)
            .max_wait(long)
            .max_batch(datasets.len())
            .program_memory(kib << 10);
        let short = format!("s{step}");
        // Half of them fail, which takes memory.
        for dataset in datasets.iter().step_by(2) {
            dataset
                .snapshot(&short)
                .unwrap()
                .create(&UserProps::new())
                .unwrap();
        }
        let requests = datasets
            .iter()
            .enumerate()
            .map(|(n, dataset)| (name(dataset, &short), by(n)));
        let answers = at_once(&GroupCommit::new(&zfs(), options), requests);
        for (n, answer) in answers.iter().enumerate() {
            let kind = answer.as_ref().err().map(helix_zfs::Error::kind);
            let expected: &[Option<ErrorKind>] = match n % 2 {
                0 => &[Some(ErrorKind::AlreadyExists), Some(ErrorKind::MemoryLimit)],
                _ => &[None, Some(ErrorKind::MemoryLimit)],
            };
            assert!(expected.contains(&kind), "{kib} KiB, {n}: {kind:?}");
            if kind.is_none() {
                let snapshot = format!("{}@{short}", datasets[n].name());
                assert_eq!(zfs_get("helix:by", &snapshot), n.to_string());
            }
        }
    }
}
