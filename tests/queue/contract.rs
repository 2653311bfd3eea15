//! What every job queue does. Each test gets what opens the same store again.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, SystemTime};

use helix_zfs::gate::queue::LeaseLoss;
use helix_zfs::gate::{
    AfterFailure, JobFilter, JobId, JobQueue, JobSpec, JobState, Lease, Operation, QueueError,
    Scope,
};

/// What opens a store once more, as another process would.
pub(crate) type Open<'a> = &'a (dyn Fn() -> Box<dyn JobQueue> + Sync);

/// Longer than any test.
pub(crate) const LONG: Duration = Duration::from_secs(3600);
/// Over by the time that a test looks.
const SHORT: Duration = Duration::from_millis(20);

pub(crate) fn scope() -> Scope {
    Scope::below(&"tank/tenants/acme".parse().unwrap())
}

pub(crate) fn spec() -> JobSpec {
    JobSpec::new(Operation::Snapshot, scope(), "ada").backoff(Duration::ZERO, Duration::ZERO)
}

fn lease(queue: &dyn JobQueue) -> Lease {
    queue.lease("worker", LONG, &[]).unwrap().expect("a job")
}

/// Waits until the lease has ended by the store's clock, which is this machine's.
fn let_end(queue: &dyn JobQueue, lease: &Lease) {
    while let Some(until) = queue.job(lease.id()).unwrap().leased_until {
        if until < SystemTime::now() {
            break;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn loss<T: std::fmt::Debug>(result: Result<T, QueueError>) -> LeaseLoss {
    match result {
        Err(QueueError::LeaseLost { why, .. }) => why,
        other => panic!("not a lost lease: {other:?}"),
    }
}

/// Calls this with each test of the contract, to make tests of a store of it.
macro_rules! for_each_test {
    ($store:path) => {
        $crate::contract::tests_of!(
            $store,
            a_job_goes_from_submit_to_done,
            a_leased_job_is_nobody_elses,
            an_ended_lease_is_refused,
            a_lease_that_ended_gives_the_job_to_another,
            a_renewed_lease_goes_on,
            a_failed_job_is_tried_again_and_dies,
            a_failed_job_waits_for_its_backoff,
            a_dead_job_is_revived,
            dead_workers_use_attempts_up,
            a_job_waits_for_its_time,
            a_job_dies_at_its_deadline,
            what_was_not_heard_is_said_again,
            a_key_makes_one_job,
            a_key_makes_one_job_of_many_at_once,
            a_worker_gets_only_its_operations,
            the_oldest_is_first,
            a_cancelled_job_is_nobodys,
            jobs_are_listed,
            old_jobs_are_forgotten,
            an_unknown_job_is_not_found,
            what_no_queue_can_hold_is_refused,
            many_workers_do_each_job_once,
            another_process_sees_the_same,
            any_text_comes_back,
        );
    };
}
pub(crate) use for_each_test;

macro_rules! tests_of {
    ($store:path, $($test:ident,)*) => {
        $(
            #[test]
            fn $test() {
                $store($crate::contract::$test);
            }
        )*
    };
}
pub(crate) use tests_of;

pub(crate) fn a_job_goes_from_submit_to_done(open: Open<'_>) {
    let queue = open();
    assert!(queue.lease("worker", LONG, &[]).unwrap().is_none());
    let spec = spec()
        .reason("before the upgrade")
        .payload(serde_json::json!({ "snapshot": "before-17", "tenants": [1, 2] }))
        .deadline(SystemTime::now() + LONG)
        .key("release-17");
    let id = queue.submit(&spec).unwrap();
    let job = queue.job(&id).unwrap();
    assert_eq!(
        (job.state, job.attempts, job.token),
        (JobState::Queued, 0, 0)
    );
    assert_eq!(job.spec.data(), spec.data());
    assert_eq!(job.spec.why(), "before the upgrade");
    assert_eq!(job.spec.scope(), spec.scope());
    assert_eq!(job.spec.idempotency_key(), Some("release-17"));

    let lease = queue.lease("worker-1", LONG, &[]).unwrap().unwrap();
    assert_eq!((lease.id(), lease.worker()), (&id, "worker-1"));
    assert_eq!(lease.spec().operation(), Operation::Snapshot);
    assert!(lease.token() > 0);
    let job = queue.job(&id).unwrap();
    assert_eq!(job.state, JobState::Leased);
    assert_eq!(job.worker.as_deref(), Some("worker-1"));
    // What its holder believes is never more than what the store has written down.
    assert!(lease.until() <= job.leased_until.unwrap() + Duration::from_millis(1));

    queue.complete(&lease, "3 snapshots").unwrap();
    let job = queue.job(&id).unwrap();
    assert_eq!(job.state, JobState::Done);
    assert_eq!(job.result.as_deref(), Some("3 snapshots"));
    assert!(job.ended.is_some() && job.leased_until.is_none());
    assert!(queue.lease("worker", LONG, &[]).unwrap().is_none());
    assert!(queue.lease_job(&id, "worker", LONG).unwrap().is_none());
}

pub(crate) fn a_leased_job_is_nobody_elses(open: Open<'_>) {
    let (one, other) = (open(), open());
    let id = one.submit(&spec()).unwrap();
    let lease = one.lease_job(&id, "one", LONG).unwrap().unwrap();
    assert!(other.lease("other", LONG, &[]).unwrap().is_none());
    assert!(other.lease_job(&id, "other", LONG).unwrap().is_none());
    // Nor for the same worker: it may be two processes.
    assert!(one.lease_job(&id, "one", LONG).unwrap().is_none());
    one.complete(&lease, "").unwrap();
}

pub(crate) fn an_ended_lease_is_refused(open: Open<'_>) {
    let queue = open();
    let id = queue.submit(&spec()).unwrap();
    let lease = queue.lease_job(&id, "worker", SHORT).unwrap().unwrap();
    let_end(&*queue, &lease);
    assert_eq!(loss(queue.complete(&lease, "late")), LeaseLoss::Expired);
    assert_eq!(loss(queue.fail(&lease, "late")), LeaseLoss::Expired);
    assert_eq!(loss(queue.renew(&lease, LONG)), LeaseLoss::Expired);
    let job = queue.job(&id).unwrap();
    assert_eq!((job.state, job.result), (JobState::Leased, None));
}

pub(crate) fn a_lease_that_ended_gives_the_job_to_another(open: Open<'_>) {
    let (one, other) = (open(), open());
    let id = one.submit(&spec()).unwrap();
    let old = one.lease_job(&id, "one", SHORT).unwrap().unwrap();
    let_end(&*one, &old);
    let new = lease(&*other);
    assert_eq!(new.id(), &id);
    assert!(new.token() > old.token());
    assert_eq!(new.job().attempts, 2);
    assert!(new.job().failure.as_deref().unwrap().contains("one"));
    assert_eq!(loss(one.complete(&old, "late")), LeaseLoss::Superseded);
    assert_eq!(loss(one.fail(&old, "late")), LeaseLoss::Superseded);
    assert_eq!(loss(one.renew(&old, LONG)), LeaseLoss::Superseded);
    other.complete(&new, "by the other").unwrap();
    assert_eq!(loss(one.complete(&old, "late")), LeaseLoss::Superseded);
    let job = one.job(&id).unwrap();
    assert_eq!(job.result.as_deref(), Some("by the other"));
}

pub(crate) fn a_renewed_lease_goes_on(open: Open<'_>) {
    let queue = open();
    queue.submit(&spec()).unwrap();
    let before = queue.lease("worker", LONG, &[]).unwrap().unwrap();
    let renewed = queue.renew(&before, 2 * LONG).unwrap();
    assert_eq!(renewed.token(), before.token());
    assert!(renewed.until() > before.until());
    let job = queue.job(before.id()).unwrap();
    assert_eq!(job.attempts, 1);
    assert!(job.leased_until.unwrap() > before.job().leased_until.unwrap());
    // It is shortened too, and then over.
    let renewed = queue.renew(&renewed, SHORT).unwrap();
    let_end(&*queue, &renewed);
    assert_eq!(loss(queue.complete(&renewed, "")), LeaseLoss::Expired);
}

pub(crate) fn a_failed_job_is_tried_again_and_dies(open: Open<'_>) {
    let queue = open();
    let id = queue.submit(&spec().max_attempts(3)).unwrap();
    for attempt in 1..=3 {
        let lease = lease(&*queue);
        assert_eq!(lease.job().attempts, attempt);
        let after = queue.fail(&lease, &format!("no room, {attempt}")).unwrap();
        assert_eq!(after == AfterFailure::Dead, attempt == 3);
        let job = queue.job(&id).unwrap();
        assert_eq!(job.failure, Some(format!("no room, {attempt}")));
    }
    assert!(queue.lease("worker", LONG, &[]).unwrap().is_none());
    let dead = queue.dead_letters().unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!((&dead[0].id, dead[0].state), (&id, JobState::Dead));
    assert!(dead[0].ended.is_some());
}

pub(crate) fn a_failed_job_waits_for_its_backoff(open: Open<'_>) {
    let queue = open();
    let id = queue.submit(&spec().backoff(LONG, 2 * LONG)).unwrap();
    let before = SystemTime::now();
    let failed = lease(&*queue);
    let AfterFailure::RetryAt(at) = queue.fail(&failed, "later").unwrap() else {
        panic!("it has more attempts");
    };
    // A store keeps milliseconds.
    assert!(at >= before + LONG - Duration::from_millis(1));
    assert_eq!(queue.job(&id).unwrap().due, at);
    assert!(queue.lease("worker", LONG, &[]).unwrap().is_none());
    assert!(queue.lease_job(&id, "worker", LONG).unwrap().is_none());
    // Others are not kept waiting by it.
    let other = queue.submit(&spec()).unwrap();
    assert_eq!(lease(&*queue).id(), &other);
}

pub(crate) fn a_dead_job_is_revived(open: Open<'_>) {
    let queue = open();
    let id = queue.submit(&spec().max_attempts(1)).unwrap();
    let old = lease(&*queue);
    assert_eq!(queue.fail(&old, "no").unwrap(), AfterFailure::Dead);
    queue.revive(&id).unwrap();
    let job = queue.job(&id).unwrap();
    assert_eq!((job.state, job.attempts), (JobState::Queued, 0));
    assert_eq!(job.ended, None);
    assert_eq!(loss(queue.fail(&old, "no")), LeaseLoss::Superseded);
    let new = lease(&*queue);
    assert!(new.token() > old.token());
    let revived = queue.revive(&id);
    assert!(
        matches!(
            &revived,
            Err(QueueError::State {
                state: JobState::Leased,
                ..
            })
        ),
        "{revived:?}"
    );
    queue.complete(&new, "").unwrap();
    assert!(matches!(
        queue.revive(&id),
        Err(QueueError::State {
            state: JobState::Done,
            ..
        })
    ));
    assert_eq!(queue.job(&id).unwrap().state, JobState::Done);
}

pub(crate) fn dead_workers_use_attempts_up(open: Open<'_>) {
    let queue = open();
    let id = queue.submit(&spec().max_attempts(2)).unwrap();
    for _ in 0..2 {
        let lease = queue.lease("gone", SHORT, &[]).unwrap().unwrap();
        let_end(&*queue, &lease);
    }
    assert!(queue.lease("worker", LONG, &[]).unwrap().is_none());
    let job = queue.job(&id).unwrap();
    assert_eq!((job.state, job.attempts), (JobState::Dead, 2));
    assert!(job.failure.unwrap().contains("gone"));
    // The same without anybody who leases: whoever looks finds it dead.
    let id = queue.submit(&spec().max_attempts(1)).unwrap();
    let lease = queue.lease_job(&id, "gone", SHORT).unwrap().unwrap();
    let_end(&*queue, &lease);
    assert_eq!(queue.dead_letters().unwrap().len(), 2);
}

pub(crate) fn a_job_waits_for_its_time(open: Open<'_>) {
    let queue = open();
    let later = queue
        .submit(&spec().not_before(SystemTime::now() + LONG))
        .unwrap();
    assert!(queue.lease("worker", LONG, &[]).unwrap().is_none());
    assert!(queue.lease_job(&later, "worker", LONG).unwrap().is_none());
    let past = SystemTime::now() - LONG;
    let now = queue.submit(&spec().not_before(past)).unwrap();
    assert_eq!(lease(&*queue).id(), &now);
    let soon = queue
        .submit(&spec().not_before(SystemTime::now() + SHORT))
        .unwrap();
    let lease = loop {
        match queue.lease("worker", LONG, &[]).unwrap() {
            Some(lease) => break lease,
            None => thread::sleep(Duration::from_millis(5)),
        }
    };
    assert_eq!(lease.id(), &soon);
}

pub(crate) fn a_job_dies_at_its_deadline(open: Open<'_>) {
    let queue = open();
    let past = SystemTime::now() - Duration::from_secs(1);
    let id = queue.submit(&spec().deadline(past)).unwrap();
    assert!(queue.lease("worker", LONG, &[]).unwrap().is_none());
    assert!(queue.lease_job(&id, "worker", LONG).unwrap().is_none());
    let job = queue.job(&id).unwrap();
    assert_eq!(job.state, JobState::Dead);
    assert_eq!(job.failure.as_deref(), Some("its deadline passed"));
    // It would be dead again at once.
    assert!(matches!(
        queue.revive(&id),
        Err(QueueError::Invalid {
            what: "deadline",
            ..
        })
    ));
    // The next attempt would come too late.
    let spec = spec()
        .deadline(SystemTime::now() + LONG)
        .backoff(2 * LONG, 2 * LONG);
    queue.submit(&spec).unwrap();
    let failed = lease(&*queue);
    assert_eq!(queue.fail(&failed, "").unwrap(), AfterFailure::Dead);
}

pub(crate) fn what_was_not_heard_is_said_again(open: Open<'_>) {
    let queue = open();
    let id = queue.submit(&spec().backoff(LONG, LONG)).unwrap();
    let done = lease(&*queue);
    let after = queue.fail(&done, "first").unwrap();
    assert_eq!(queue.fail(&done, "again").unwrap(), after);
    assert_eq!(queue.job(&id).unwrap().failure.as_deref(), Some("first"));
    // But it is not completed after it was given back.
    assert_eq!(loss(queue.complete(&done, "")), LeaseLoss::Superseded);

    let id = queue.submit(&spec()).unwrap();
    let done = lease(&*queue);
    queue.complete(&done, "first").unwrap();
    queue.complete(&done, "again").unwrap();
    assert_eq!(queue.job(&id).unwrap().result.as_deref(), Some("first"));
    assert_eq!(
        loss(queue.fail(&done, "")),
        LeaseLoss::Ended(JobState::Done)
    );

    let id = queue.submit(&spec()).unwrap();
    queue.cancel(&id).unwrap();
    queue.cancel(&id).unwrap();
}

pub(crate) fn a_key_makes_one_job(open: Open<'_>) {
    let queue = open();
    let spec = spec().key("deploy-42");
    let id = queue.submit(&spec).unwrap();
    assert_eq!(queue.submit(&spec).unwrap(), id);
    // Times that were reckoned again do not make it another.
    let later = spec.clone().deadline(SystemTime::now() + LONG);
    assert_eq!(queue.submit(&later).unwrap(), id);
    for other in [
        JobSpec::new(Operation::Destroy, scope(), "ada"),
        JobSpec::new(Operation::Snapshot, scope(), "eve"),
        JobSpec::new(
            Operation::Snapshot,
            Scope::below(&"tank".parse().unwrap()),
            "ada",
        ),
        spec.clone().payload(serde_json::json!(1)),
    ] {
        match queue.submit(&other.key("deploy-42")) {
            Err(QueueError::KeyTaken { key, job, .. }) => {
                assert_eq!((key.as_str(), &job), ("deploy-42", &id));
            }
            other => panic!("{other:?}"),
        }
    }
    let lease = lease(&*queue);
    queue.complete(&lease, "").unwrap();
    // It does not come back when it is done.
    assert_eq!(queue.submit(&spec).unwrap(), id);
    assert_eq!(queue.list(&JobFilter::new()).unwrap().len(), 1);
    assert_ne!(queue.submit(&spec.key("deploy-43")).unwrap(), id);
}

pub(crate) fn a_key_makes_one_job_of_many_at_once(open: Open<'_>) {
    let ids: BTreeSet<JobId> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| open().submit(&spec().key("once")).unwrap()))
            .collect();
        threads.into_iter().map(|it| it.join().unwrap()).collect()
    });
    assert_eq!(ids.len(), 1);
    assert_eq!(open().list(&JobFilter::new()).unwrap().len(), 1);
}

pub(crate) fn a_worker_gets_only_its_operations(open: Open<'_>) {
    let queue = open();
    queue.submit(&spec()).unwrap();
    let destroy = queue
        .submit(&JobSpec::new(Operation::Destroy, scope(), "ada"))
        .unwrap();
    let wanted = [Operation::Destroy, Operation::Promote];
    let lease = queue.lease("worker", LONG, &wanted).unwrap().unwrap();
    assert_eq!(lease.id(), &destroy);
    assert!(queue.lease("worker", LONG, &wanted).unwrap().is_none());
}

pub(crate) fn the_oldest_is_first(open: Open<'_>) {
    let queue = open();
    let ids: Vec<JobId> = (0..5).map(|_| queue.submit(&spec()).unwrap()).collect();
    let leased: Vec<JobId> = (0..5).map(|_| lease(&*queue).id().clone()).collect();
    assert_eq!(leased, ids);
}

pub(crate) fn a_cancelled_job_is_nobodys(open: Open<'_>) {
    let queue = open();
    let id = queue.submit(&spec()).unwrap();
    queue.cancel(&id).unwrap();
    assert!(queue.lease("worker", LONG, &[]).unwrap().is_none());
    assert!(queue.lease_job(&id, "worker", LONG).unwrap().is_none());

    queue.revive(&id).unwrap();
    let held = lease(&*queue);
    queue.cancel(&id).unwrap();
    let cancelled = LeaseLoss::Ended(JobState::Cancelled);
    assert_eq!(loss(queue.renew(&held, LONG)), cancelled);
    assert_eq!(loss(queue.complete(&held, "")), cancelled);
    assert_eq!(loss(queue.fail(&held, "")), cancelled);
    assert_eq!(queue.job(&id).unwrap().state, JobState::Cancelled);

    let done = queue.submit(&spec()).unwrap();
    queue.complete(&lease(&*queue), "").unwrap();
    assert!(matches!(
        queue.cancel(&done),
        Err(QueueError::State {
            state: JobState::Done,
            ..
        })
    ));
}

pub(crate) fn jobs_are_listed(open: Open<'_>) {
    let queue = open();
    let first = queue.submit(&spec()).unwrap();
    let second = queue
        .submit(&JobSpec::new(Operation::Destroy, scope(), "eve"))
        .unwrap();
    let third = queue.submit(&spec()).unwrap();
    queue.cancel(&first).unwrap();
    let names = |filter: JobFilter| -> Vec<JobId> {
        let jobs = queue.list(&filter).unwrap();
        assert!(jobs.iter().all(|job| filter.matches(job)));
        jobs.into_iter().map(|job| job.id).collect()
    };
    let all = [third.clone(), second.clone(), first.clone()];
    assert_eq!(names(JobFilter::new()), all);
    assert_eq!(names(JobFilter::new().limit(2)), all[..2]);
    assert_eq!(names(JobFilter::new().state(JobState::Cancelled)), all[2..]);
    let open_ones = JobFilter::new()
        .state(JobState::Queued)
        .state(JobState::Leased);
    assert_eq!(names(open_ones), all[..2]);
    assert_eq!(names(JobFilter::new().actor("eve")), all[1..2]);
    assert_eq!(names(JobFilter::new().actor("' OR 1 = 1")), []);
    assert_eq!(
        names(JobFilter::new().operation(Operation::Destroy).actor("eve")),
        all[1..2]
    );
    assert_eq!(
        names(JobFilter::new().operation(Operation::Destroy).actor("ada")),
        []
    );
}

pub(crate) fn old_jobs_are_forgotten(open: Open<'_>) {
    let queue = open();
    let queued = queue.submit(&spec()).unwrap();
    let leased = queue.submit(&spec()).unwrap();
    queue.lease_job(&leased, "worker", LONG).unwrap().unwrap();
    let done = queue.submit(&spec().key("again")).unwrap();
    let held = queue.lease_job(&done, "worker", LONG).unwrap().unwrap();
    queue.complete(&held, "").unwrap();
    let cancelled = queue.submit(&spec()).unwrap();
    queue.cancel(&cancelled).unwrap();
    let ended = queue.job(&done).unwrap().ended.unwrap();
    // Nothing ended before the first end.
    assert_eq!(queue.forget(ended).unwrap(), 0);
    assert_eq!(queue.forget(SystemTime::now() + LONG).unwrap(), 2);
    assert_eq!(queue.forget(SystemTime::now() + LONG).unwrap(), 0);
    for gone in [&done, &cancelled] {
        assert!(matches!(queue.job(gone), Err(QueueError::NotFound { .. })));
    }
    for stays in [&queued, &leased] {
        queue.job(stays).unwrap();
    }
    assert_ne!(queue.submit(&spec().key("again")).unwrap(), done);
}

pub(crate) fn an_unknown_job_is_not_found(open: Open<'_>) {
    let queue = open();
    let id = JobId::generate().unwrap();
    let missing = |error: QueueError| match error {
        QueueError::NotFound { job, .. } => assert_eq!(job, id),
        other => panic!("{other:?}"),
    };
    missing(queue.job(&id).unwrap_err());
    missing(queue.cancel(&id).unwrap_err());
    missing(queue.revive(&id).unwrap_err());
    missing(queue.lease_job(&id, "worker", LONG).unwrap_err());
    // A lease of another store.
    queue.submit(&spec()).unwrap();
    let mut job = lease(&*queue).job().clone();
    job.id = id.clone();
    let foreign = Lease::new(job, "worker", SystemTime::now() + LONG);
    missing(queue.complete(&foreign, "").unwrap_err());
    missing(queue.fail(&foreign, "").unwrap_err());
    missing(queue.renew(&foreign, LONG).unwrap_err());
}

pub(crate) fn what_no_queue_can_hold_is_refused(open: Open<'_>) {
    let queue = open();
    let now = SystemTime::now();
    let wrong = |error: QueueError, part: &str| match error {
        QueueError::Invalid { what, .. } => assert_eq!(what, part),
        other => panic!("{other:?}"),
    };
    let none: [helix_zfs::zfs_core::DatasetName; 0] = [];
    for (spec, part) in [
        (JobSpec::new(Operation::Snapshot, scope(), ""), "actor"),
        (JobSpec::new(Operation::Snapshot, scope(), "a\nb"), "actor"),
        (
            JobSpec::new(Operation::Snapshot, Scope::of(&none), "a"),
            "scope",
        ),
        (spec().reason("x".repeat(2000)), "reason"),
        (spec().reason("two\nlines"), "reason"),
        (spec().key(""), "idempotency key"),
        (spec().max_attempts(0), "attempts"),
        (spec().not_before(now).deadline(now), "deadline"),
        (spec().payload("x".repeat(70_000).into()), "payload"),
    ] {
        wrong(queue.submit(&spec).unwrap_err(), part);
    }
    queue.submit(&spec()).unwrap();
    wrong(queue.lease("", LONG, &[]).unwrap_err(), "worker");
    wrong(queue.lease("w", Duration::ZERO, &[]).unwrap_err(), "lease");
    let held = queue.lease("w", Duration::MAX, &[]).unwrap().unwrap();
    wrong(queue.renew(&held, Duration::ZERO).unwrap_err(), "lease");
    queue.complete(&held, "").unwrap();
}

pub(crate) fn many_workers_do_each_job_once(open: Open<'_>) {
    const WORKERS: usize = 6;
    const JOBS: usize = 40;
    let queue = open();
    let submitted: BTreeSet<JobId> = (0..JOBS).map(|_| queue.submit(&spec()).unwrap()).collect();
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for worker in 0..WORKERS {
            let done = &done;
            scope.spawn(move || {
                let queue = open();
                let name = format!("worker-{worker}");
                while let Some(lease) = queue.lease(&name, LONG, &[]).unwrap() {
                    queue.complete(&lease, &name).unwrap();
                    done.lock().unwrap().push(lease.id().clone());
                }
            });
        }
    });
    let done = done.into_inner().unwrap();
    assert_eq!(done.len(), JOBS);
    assert_eq!(done.into_iter().collect::<BTreeSet<_>>(), submitted);
}

pub(crate) fn another_process_sees_the_same(open: Open<'_>) {
    let queue = open();
    let id = queue.submit(&spec().key("k")).unwrap();
    let held = lease(&*queue);
    drop(queue);
    let queue = open();
    assert_eq!(queue.job(&id).unwrap().token, held.token());
    queue.complete(&held, "kept").unwrap();
    drop(queue);
    assert_eq!(open().job(&id).unwrap().result.as_deref(), Some("kept"));
}

pub(crate) fn any_text_comes_back(open: Open<'_>) {
    let queue = open();
    let odd = "'; DROP TABLE helix_jobs; -- \" \\ $1 ? ü 🦀";
    let spec = JobSpec::new(Operation::Snapshot, scope(), odd)
        .reason(odd)
        .key(odd)
        .payload(serde_json::json!({ odd: "a\u{0}b\nc", "n": 1.5, "nothing": null }))
        .max_attempts(u32::MAX)
        .backoff(Duration::from_nanos(1), Duration::MAX);
    let id = queue.submit(&spec).unwrap();
    let held = queue.lease(odd, LONG, &[]).unwrap().unwrap();
    assert_eq!(held.spec(), &spec);
    queue.complete(&held, "a\u{0}b").unwrap();
    let job = queue.job(&id).unwrap();
    assert_eq!(job.result.as_deref(), Some("a\u{fffd}b"));
    assert_eq!(job.worker.as_deref(), Some(odd));

    queue.submit(&self::spec()).unwrap();
    let held = lease(&*queue);
    queue.complete(&held, &"ü".repeat(20_000)).unwrap();
    let kept = queue.job(held.id()).unwrap().result.unwrap();
    assert!(kept.len() <= 16 * 1024 && kept.chars().all(|letter| letter == 'ü'));
}
