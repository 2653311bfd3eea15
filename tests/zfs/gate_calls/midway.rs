//! Capabilities that end in the middle of an operation of several steps: it stops there, says so, and
//! the next run goes on.

use super::{HOUR, laid_out, spec};
use crate::support::{self, Mounted, Scratch, allowed, zfs, zfs_get};
use helix_zfs::ephemeral::{Ephemeral, EphemeralError, EphemeralSpec, Reap, Reaper};
use helix_zfs::gate::{Capability, Operation, Refusal, RefusalReason, Scope};
use helix_zfs::layout::{ApplyOptions, LayoutError, Outcome};
use helix_zfs::scope::{ScopeError, StagingChange};
use helix_zfs::zfs_core::props::{PropertySet, UserProps};
use helix_zfs::zfs_core::{CreateOptions, Dataset};
use helix_zfs::{
    Change, Error, GuardRail, RailInfo, Retention, RetentionChange, RetentionOptions,
    RollbackChange, RollbackOptions, Step, TakeChange, UnfinishedRollback,
};
use std::time::SystemTime;

fn capability(operation: Operation, scratch: &Scratch) -> Capability {
    let scope = Scope::below(Dataset::name(scratch));
    support::grant(operation, scope, HOUR)
}

fn filesystems(scratch: &Scratch, names: [&str; 2]) -> Vec<Dataset> {
    let make = |name| {
        let dataset = scratch.child(name).unwrap();
        dataset.create(&CreateOptions::filesystem()).unwrap();
        dataset
    };
    names.map(make).into()
}

#[track_caller]
fn was_revoked(refusal: &Refusal) {
    let why = String::from("enough");
    assert_eq!(refusal.reason, RefusalReason::Revoked { why });
}

#[test]
fn a_guard_rail_that_is_not_held_yet() {
    let scratch = Scratch::new("midway-take");
    let made = filesystems(&scratch, ["a", "b"]);
    let may = capability(Operation::TakeGuardRail, &scratch);
    let change = Change::new();
    let taken = GuardRail::take_observed(&may, &zfs(), &made, "r", &change, &mut |step| {
        if matches!(step, Step::Done(TakeChange::Snapshot { .. })) {
            may.revoke("enough");
        }
    });
    was_revoked(taken.unwrap_err().refusal().unwrap());
    let snapshot = made[1].snapshot("r").unwrap();
    assert_eq!(snapshot.holds().unwrap().len(), 0);
    let take = allowed(Operation::TakeGuardRail);
    let rail = GuardRail::take(take, &zfs(), &made, "r", &change).unwrap();
    assert_eq!(snapshot.holds().unwrap().len(), 1);

    // The newest one is always kept.
    let newest = GuardRail::take(take, &zfs(), &made, "newest", &change).unwrap();
    let may = capability(Operation::Retain, &scratch);
    let later = SystemTime::now() + HOUR;
    let plan = Retention::default().plan(&[RailInfo::from(&rail), RailInfo::from(&newest)], later);
    let options = RetentionOptions::new();
    let report = plan.carry_out(&may, &scratch, &options, &mut |step| {
        if matches!(step, Step::Done(RetentionChange::Release(_))) {
            may.revoke("enough");
        }
    });
    let report = report.unwrap();
    assert!(report.removed.is_empty() && !report.is_complete());
    was_revoked(report.stopped.unwrap().refusal().unwrap());
    // It is not left without its hold.
    assert_eq!(snapshot.holds().unwrap().len(), 1);
}

#[test]
fn a_rollback_of_one_of_two() {
    let scratch = Scratch::new("midway-back");
    let made = filesystems(&scratch, ["a", "b"]);
    let mounts = [Mounted::new(&made[0]), Mounted::new(&made[1])];
    let take = allowed(Operation::TakeGuardRail);
    let rail = GuardRail::take(take, &zfs(), &made, "r", &Change::new()).unwrap();
    for mount in &mounts {
        mount.write("new", "new");
    }
    let may = capability(Operation::RollBack, &scratch);
    let options = RollbackOptions::new();
    let report = rail
        .rollback_plan()
        .unwrap()
        .carry_out(&may, &options, &mut |step| {
            if matches!(step, Step::Done(RollbackChange::RollBack(_))) {
                may.revoke("enough");
            }
        });
    let report = report.unwrap();
    let [back, left] = &report.datasets[..] else {
        panic!("{report:?}")
    };
    assert!(back.result.is_ok() && !report.is_complete());
    was_revoked(left.result.as_ref().unwrap_err().refusal().unwrap());
    assert!(report.advice().unwrap().contains("ask the gate"));
    assert!(mounts[1].path("new").exists());

    let unfinished = UnfinishedRollback::list(&scratch).unwrap();
    assert_eq!(unfinished.len(), 1);
    let refused = unfinished[0].abandon(&may).unwrap_err();
    assert!(refused.to_string().contains("enough"), "{refused}");
    let report = unfinished[0].plan().unwrap();
    let report = report.carry_out(allowed(Operation::RollBack), &options, &mut |_| {});
    assert!(report.unwrap().is_complete());
    assert!(!mounts[1].path("new").exists());
}

#[test]
fn a_staging_of_which_the_root_is_there() {
    let scratch = Scratch::new("midway-stage");
    let create = allowed(Operation::CreateTenant);
    let acme = spec("acme").create(create, &scratch).unwrap();
    let db = acme.at("db").unwrap();
    db.dataset().create(&CreateOptions::filesystem()).unwrap();
    let before = acme.snapshot(allowed(Operation::Snapshot), "before", &UserProps::new());
    let before = before.unwrap();
    let next = acme.staging("next").unwrap();
    // So that they are cloned one by one on every version.
    let props = PropertySet::new().user("helix:test", "1").unwrap();
    let may = capability(Operation::Clone, &scratch);
    let made = next.create(&may, &before, &props, &mut |step| {
        if matches!(step, Step::Done(StagingChange::Clone { .. })) {
            may.revoke("enough");
        }
    });
    match made {
        Err(ScopeError::Refused(refusal)) => was_revoked(&refusal),
        other => panic!("{other:?}"),
    }
    let status = next.status().unwrap();
    assert!(!status.ready && status.datasets.len() == 1);
    next.create(allowed(Operation::Clone), &before, &props, &mut |_| {})
        .unwrap();
    let status = next.status().unwrap();
    assert!(status.ready && status.datasets.len() == 2);
}

#[test]
fn a_layout_of_which_a_part_is_made() {
    let scratch = Scratch::new("midway-layout");
    let may = capability(Operation::ApplyLayout, &scratch);
    let plan = laid_out(&scratch, &zfs());
    let options = ApplyOptions::new();
    let applied = plan.apply(&may, &zfs(), &options, &mut |step| {
        if matches!(step, Step::Done(_)) {
            may.revoke("enough");
        }
    });
    let applied = applied.unwrap();
    let outcomes: Vec<&Outcome> = applied.iter().map(|(_, outcome)| outcome).collect();
    match outcomes[..] {
        [
            Outcome::Done,
            Outcome::Failed(LayoutError::Refused(refusal)),
        ] => was_revoked(refusal),
        _ => panic!("{applied:?}"),
    }
    let rest = laid_out(&scratch, &zfs());
    assert_eq!(rest.changes().len(), 1);
    let applied = rest.apply(
        allowed(Operation::ApplyLayout),
        &zfs(),
        &options,
        &mut |_| {},
    );
    assert!(applied.unwrap().is_complete());
}

#[test]
fn ephemeral_clones_of_which_some_are_gone() {
    let scratch = Scratch::new("midway-reap");
    let made = filesystems(&scratch, ["data", "area"]);
    let snapshot = made[0].snapshot("s").unwrap();
    snapshot.create(&UserProps::new()).unwrap();
    let may = capability(Operation::CloneEphemeral, &scratch);
    let make = |name: &str| {
        let spec = EphemeralSpec::new(&made[1], "me", "a test", HOUR).name(name);
        Ephemeral::create(&may, &snapshot, &spec).unwrap()
    };
    let (mut own, _, _) = (make("own"), make("a").keep(), make("b").keep());
    may.revoke("enough");
    match own.extend(&may, 2 * HOUR) {
        Err(EphemeralError::Refused(refusal)) => was_revoked(&refusal),
        other => panic!("{other:?}"),
    }
    // Whoever made it may end it, and has to.
    let name = own.dataset().clone();
    drop(own);
    assert!(!name.exists().unwrap());

    let may = capability(Operation::Reap, &scratch);
    let plan = Reaper::new(&made[1]).plan_at(SystemTime::now() + 2 * HOUR);
    let reaped = plan.unwrap().carry_out(&may, &mut |step| {
        if matches!(step, Step::Done(Reap::Destroy(_))) {
            may.revoke("enough");
        }
    });
    let [gone, left] = &reaped[..] else {
        panic!("{reaped:?}")
    };
    assert!(gone.result.is_ok());
    match &left.result {
        Err(EphemeralError::Refused(refusal)) => was_revoked(refusal),
        other => panic!("{other:?}"),
    }
    assert_eq!(zfs_get("type", left.clone.dataset.as_str()), "filesystem");
}

#[test]
fn a_refusal_is_an_error_like_others() {
    let scratch = Scratch::new("midway-error");
    let may = capability(Operation::Mount, &scratch);
    let error = spec("new").create(&may, &scratch).unwrap_err();
    let kind = helix_zfs::zfs_core::ErrorKind::Forbidden;
    assert_eq!((error.kind(), error.zfs_error().is_none()), (kind, true));
    assert!(matches!(error, Error::Refused(_)));
    let text = error.to_string();
    assert!(text.contains("the capability is for mount"), "{text}");
}
