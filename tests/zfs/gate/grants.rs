//! Who gets a capability, what for, and how long.

use super::{HOUR, Place, not_run, refused};
use crate::support::zfs;
use helix_zfs::gate::audit::{AuditKind, AuditLog};
use helix_zfs::gate::{
    GateError, GateRunError, JobFilter, JobQueue, JobState, Operation, Refusal, RefusalReason,
    Rule, Rules, Scope, Select,
};
use helix_zfs::zfs_core::Dataset;
use std::time::{Duration, SystemTime};

#[test]
fn a_job_is_run_with_its_capability_and_on_record() {
    let place = Place::open("gate-run");
    let (a, b) = (place.name("a"), place.name("b"));
    let job = place.job(Operation::Snapshot).reason("before the release");
    let kept = place
        .gate
        .run(&job, |capability| {
            assert_eq!(capability.operation(), Operation::Snapshot);
            assert_eq!(
                (capability.actor(), capability.scope()),
                ("alice", job.scope())
            );
            capability.allow_all(Operation::Snapshot, [&a, &b])?;
            Ok::<_, Refusal>(capability.clone())
        })
        .unwrap();
    // When the job is over, so is what it was given.
    let refusal = kept.allow(Operation::Snapshot, &a).unwrap_err();
    assert!(
        matches!(refusal.reason, RefusalReason::Revoked { .. }),
        "{refusal}"
    );
    let jobs = place.queue.list(&JobFilter::new()).unwrap();
    assert_eq!(jobs.len(), 1);
    assert_eq!(jobs[0].state, JobState::Done);
    use AuditKind::{Begin, End, Grant, Refusal as Refused, Use};
    assert_eq!(place.kinds(), [Begin, Grant, Use, Use, End, Refused]);
    let records = place.records();
    let id = jobs[0].id.as_str();
    for record in &records[1..] {
        assert_eq!(record.operation, Some(Operation::Snapshot));
        assert_eq!(record.actor.as_deref(), Some("alice"));
        assert_eq!(record.job.as_deref(), Some(id));
    }
    assert_eq!(records[1].reason.as_deref(), Some("before the release"));
    assert_eq!(records[3].object.as_deref(), Some(b.as_str()));
    assert!(AuditLog::verify(place.log(), &[]).unwrap().is_whole());
}

#[test]
fn a_job_whose_work_fails_is_a_dead_letter() {
    let place = Place::open("gate-fail");
    let failed = place
        .gate
        .run(&place.job(Operation::Snapshot), |_| Err::<(), _>("no luck"));
    assert!(matches!(failed, Err(GateRunError::Work("no luck"))));
    let dead = place.queue.dead_letters().unwrap();
    assert_eq!(dead[0].failure.as_deref(), Some("no luck"));
    let last = place.records().pop().unwrap();
    assert_eq!(last.kind, AuditKind::End);
    assert_eq!(last.reason.as_deref(), Some("failed: no luck"));
}

#[test]
fn what_a_capability_does_not_cover_is_refused_and_on_record() {
    let place = Place::open("gate-cover");
    let inside = place.name("a");
    let capability = place.grant(&place.job(Operation::Snapshot));
    let outside = zfs().dataset("hz-shared/another").unwrap().name().clone();
    let reason = |operation, object| capability.allow(operation, object).unwrap_err().reason;
    let granted = Operation::Snapshot;
    for operation in Operation::ALL {
        match operation == granted {
            true => capability.allow(operation, &inside).unwrap(),
            false => {
                assert_eq!(
                    reason(operation, &inside),
                    RefusalReason::Operation { granted }
                );
            }
        }
    }
    assert_eq!(reason(granted, &outside), RefusalReason::Scope);
    // All, or none.
    let used = |place: &Place| {
        let uses = |kind: &AuditKind| *kind == AuditKind::Use;
        place.kinds().into_iter().filter(uses).count()
    };
    let before = used(&place);
    let both = capability.allow_all(granted, [&inside, &outside]);
    assert_eq!(both.unwrap_err().object, outside);
    assert_eq!(used(&place), before);
    let refusals = place.kinds();
    let refusals = refusals.iter().filter(|kind| **kind == AuditKind::Refusal);
    assert_eq!(refusals.count(), Operation::ALL.len() - 1 + 2);
}

#[test]
fn a_capability_ends_with_its_lease_its_deadline_and_when_it_is_taken_back() {
    let place = Place::open("gate-end");
    let name = place.name("a");
    let job = place.job(Operation::Snapshot);
    // The guest may take its time between the lease and the grant.
    let (lease, capability) = [200, 2_000, 20_000, 200_000]
        .into_iter()
        .find_map(|millis| {
            let lease = place.lease(&job, Duration::from_millis(millis));
            let capability = place.gate.grant(&lease).ok()?;
            Some((lease, capability))
        })
        .unwrap();
    let refusal = loop {
        if let Err(refusal) = capability.allow(Operation::Snapshot, &name) {
            break refusal;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(
        matches!(refusal.reason, RefusalReason::Expired { .. }),
        "{refusal}"
    );
    // A lease that is over gives no other capability, and cannot be renewed.
    assert!(place.gate.grant(&lease).is_err());
    assert!(place.gate.renew(&lease, &capability, HOUR).is_err());
    assert!(capability.allow(Operation::Snapshot, &name).is_err());

    let soon = SystemTime::now() + Duration::from_secs(1800);
    let lease = place.lease(&job.clone().deadline(soon), HOUR);
    let capability = place.gate.grant(&lease).unwrap();
    let until = |time: SystemTime| {
        let time = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        time.as_secs()
    };
    assert_eq!(until(capability.expires()), until(soon));
    let lease = place.gate.renew(&lease, &capability, 10 * HOUR).unwrap();
    assert_eq!(until(capability.expires()), until(soon));

    // An operator takes the job out: the next renewal hears of it.
    place.queue.cancel(lease.id()).unwrap();
    capability.allow(Operation::Snapshot, &name).unwrap();
    assert!(place.gate.renew(&lease, &capability, HOUR).is_err());
    let refusal = capability.allow(Operation::Snapshot, &name).unwrap_err();
    assert!(
        matches!(refusal.reason, RefusalReason::Revoked { .. }),
        "{refusal}"
    );

    let lease = place.lease(&job, HOUR);
    let capability = place.gate.grant(&lease).unwrap();
    place.gate.complete(&lease, &capability, "done").unwrap();
    assert!(capability.allow(Operation::Snapshot, &name).is_err());
    // Nor does a lease of a job that is done give one.
    let error = place.gate.grant(&lease).unwrap_err();
    assert!(matches!(error, GateError::NotLeased { .. }), "{error}");
}

#[test]
fn a_lease_that_somebody_else_has_by_now_gives_nothing() {
    let place = Place::open("gate-stale");
    let job = place.job(Operation::Snapshot).max_attempts(5);
    let id = place.queue.submit(&job).unwrap();
    let lease = |worker: &str, time| place.queue.lease_job(&id, worker, time).unwrap();
    let old = lease("first", Duration::from_millis(100)).unwrap();
    let new = loop {
        if let Some(new) = lease("second", HOUR) {
            break new;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let error = place.gate.grant(&old).unwrap_err();
    assert!(matches!(error, GateError::NotLeased { .. }), "{error}");
    place.gate.grant(&new).unwrap();
}

#[test]
fn what_no_rule_allows_is_not_granted() {
    let nobody = Place::new("gate-nobody", |_| Rules::new());
    let refusal = match not_run(
        nobody
            .gate
            .run(&nobody.job(Operation::Snapshot), |_| Ok::<_, String>(())),
    ) {
        GateError::Refused(refusal) => refusal,
        other => panic!("{other}"),
    };
    assert_eq!(refusal.reason, RefusalReason::Rules);
    assert_eq!(nobody.kinds(), [AuditKind::Begin, AuditKind::Refusal]);
    assert_eq!(nobody.queue.dead_letters().unwrap().len(), 1);

    let place = Place::new("gate-rules", |top| {
        Rules::new().allow(Rule::new(
            Select::These(vec!["alice".to_owned()]),
            Select::These(vec![Operation::Snapshot, Operation::Send]),
            Select::These(vec![top.clone()]),
        ))
    });
    let job = place.job(Operation::Snapshot);
    place.grant(&job);
    place.grant(&place.job(Operation::Send));
    let ask = |operation, scope: Scope, actor: &str| {
        let job = helix_zfs::gate::JobSpec::new(operation, scope, actor);
        place.gate.grant(&place.lease(&job, HOUR))
    };
    let scope = || Scope::below(Dataset::name(&place.scratch));
    let wider = Dataset::name(&place.scratch).parent().unwrap();
    refused(ask(Operation::Snapshot, scope(), "mallory"));
    refused(ask(Operation::Destroy, scope(), "alice"));
    let refusal = refused(ask(Operation::Snapshot, Scope::below(&wider), "alice"));
    assert_eq!(refusal.object, wider);
    let both = Scope::of(&[Dataset::name(&place.scratch).clone(), wider]);
    refused(ask(Operation::Snapshot, both, "alice"));
}
