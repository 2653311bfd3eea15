//! The fencing stores, on real stores: the same contract for SQLite and PostgreSQL.

#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::sync::Barrier;
use std::time::{Duration, SystemTime};

use helix_zfs::replica::{
    Fence, FenceError, FencingStore, GroupName, NodeName, PostgresFences, SnapshotMark,
    SqliteFences,
};
use servers::Postgres;

/// Opens another handle of the same store.
type Open<'a> = &'a (dyn Fn() -> Box<dyn FencingStore> + Sync);

fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

fn group(name: &str) -> GroupName {
    GroupName::new(name).unwrap()
}

fn in_seconds(seconds: u64) -> SystemTime {
    SystemTime::now() + Duration::from_secs(seconds)
}

fn moved(outcome: Result<Fence, FenceError>) -> Fence {
    match outcome {
        Err(FenceError::Moved { now, .. }) => *now,
        other => panic!("{other:?}"),
    }
}

fn keeps_its_contract(open: Open<'_>) {
    a_record_is_what_was_written(open);
    a_change_that_comes_late_is_refused(open);
    an_answer_that_got_lost_is_given_again(open);
    of_many_at_once_one_takes_over(open);
}

fn a_record_is_what_was_written(open: Open<'_>) {
    let (store, other) = (open(), open());
    let group = group("written");
    assert_eq!(store.read(&group).unwrap(), None);
    let first = store.create(&group, &node("a"), in_seconds(30)).unwrap();
    assert_eq!((first.epoch, first.previous.as_ref()), (1, None));
    assert_eq!(other.read(&group).unwrap().as_ref(), Some(&first));

    let renewed = store.renew(&group, &first, in_seconds(60)).unwrap();
    assert!(renewed.until > first.until);
    let mark = SnapshotMark {
        guid: u64::MAX,
        name: "hourly".to_owned(),
    };
    let noted = store.acknowledge(&group, &renewed, &mark).unwrap();
    let taken = other
        .advance(&group, &noted, &node("b"), in_seconds(90))
        .unwrap();
    assert_eq!(taken.epoch, 2);
    assert_eq!(taken.holder, node("b"));
    assert_eq!(taken.previous, Some(node("a")));
    assert_eq!(taken.acknowledged, Some(mark));
    assert_eq!(store.read(&group).unwrap(), Some(taken));
}

fn a_change_that_comes_late_is_refused(open: Open<'_>) {
    let (store, other) = (open(), open());
    let group = group("late");
    let fence = Fence::first(&node("a"), in_seconds(30));
    let error = store.renew(&group, &fence, in_seconds(60)).unwrap_err();
    assert!(matches!(error, FenceError::NotFound(_)), "{error:?}");

    let seen = store.create(&group, &node("a"), in_seconds(30)).unwrap();
    assert_eq!(
        moved(other.create(&group, &node("b"), in_seconds(30))),
        seen
    );
    // The replica saw a lease that is over, and the holder renews after all.
    let renewed = store.renew(&group, &seen, in_seconds(60)).unwrap();
    let late = other.advance(&group, &seen, &node("b"), in_seconds(60));
    assert_eq!(moved(late), renewed);
    // And the other way round: nothing of the former holder is written any more.
    let taken = other
        .advance(&group, &renewed, &node("b"), in_seconds(60))
        .unwrap();
    let mark = SnapshotMark {
        guid: 1,
        name: "late".to_owned(),
    };
    assert_eq!(moved(store.acknowledge(&group, &renewed, &mark)), taken);
    assert_eq!(moved(store.renew(&group, &renewed, in_seconds(99))), taken);
    assert_eq!(store.read(&group).unwrap(), Some(taken));
}

fn an_answer_that_got_lost_is_given_again(open: Open<'_>) {
    let store = open();
    let group = group("lost");
    let first = store.create(&group, &node("a"), in_seconds(30)).unwrap();
    let new = first.renewed(in_seconds(60));
    store.swap(&group, Some(first.revision), &new).unwrap();
    store.swap(&group, Some(first.revision), &new).unwrap();
    assert_eq!(store.read(&group).unwrap(), Some(new));
}

fn of_many_at_once_one_takes_over(open: Open<'_>) {
    let group = group("many");
    let store = open();
    let mut fence = store.create(&group, &node("n"), in_seconds(1)).unwrap();
    for _ in 0..10 {
        let barrier = Barrier::new(4);
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let take = |at: usize| {
                let (store, fence, group, barrier) = (open(), &fence, &group, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    store.advance(group, fence, &node(&format!("n{at}")), in_seconds(1))
                })
            };
            let threads: Vec<_> = (0..4).map(take).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let won: Vec<&Fence> = outcomes.iter().flatten().collect();
        assert_eq!(won.len(), 1, "{outcomes:?}");
        let now = store.read(&group).unwrap().unwrap();
        assert_eq!(*won.first().unwrap(), &now);
        assert_eq!(now.epoch, fence.epoch + 1);
        fence = now;
    }
}

#[test]
fn sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fences");
    keeps_its_contract(&|| Box::new(SqliteFences::open(&path).unwrap()));
}

/// Nodes of one machine may all begin at once, when there is no store yet.
#[test]
fn many_make_one_sqlite_store_at_once() {
    for _ in 0..40 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fences");
        let barrier = Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    barrier.wait();
                    SqliteFences::open(&path).unwrap();
                });
            }
        });
    }
}

#[test]
fn postgres() {
    let server = Postgres::start().unwrap();
    let url = server.url();
    keeps_its_contract(&|| Box::new(PostgresFences::connect(&url).unwrap()));

    // A server that dies is an error, and what it had said is there when it is back.
    let store = PostgresFences::connect(&url).unwrap();
    let group = group("server");
    let fence = store.create(&group, &node("a"), in_seconds(30)).unwrap();
    server.kill().unwrap();
    let error = store.renew(&group, &fence, in_seconds(60)).unwrap_err();
    assert!(matches!(error, FenceError::Unavailable { .. }), "{error:?}");
    assert!(!format!("{store:?} {error}").contains(&url));
    server.restart().unwrap();
    assert_eq!(store.read(&group).unwrap().as_ref(), Some(&fence));
    store.renew(&group, &fence, in_seconds(60)).unwrap();
}

#[test]
fn a_record_that_was_damaged_is_told_and_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fences");
    let store = SqliteFences::open(&path).unwrap();
    let group = group("damaged");
    let fence = store.create(&group, &node("a"), in_seconds(30)).unwrap();
    let raw = rusqlite::Connection::open(&path).unwrap();
    for (from, to) in [("\"format\":1", "\"format\":2"), ("\"epoch\"", "\"epoc\"")] {
        let swap = |from: &str, to: &str| {
            let change = "UPDATE helix_fences SET record = replace(record, ?1, ?2)";
            assert_eq!(raw.execute(change, [from, to]).unwrap(), 1);
        };
        swap(from, to);
        let error = store.read(&group).unwrap_err();
        assert!(matches!(error, FenceError::Corrupt { .. }), "{error:?}");
        swap(to, from);
        assert_eq!(store.read(&group).unwrap().as_ref(), Some(&fence));
    }
}
