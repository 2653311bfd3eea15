//! Rollbacks of a tenant, and of one of its datasets.

use super::{Neighbours, make, snapshot, staging};
use crate::support::{Mounted, allowed, noise};
use helix_zfs::gate::Operation;
use helix_zfs::scope::ScopeError;
use helix_zfs::zfs_core::props::PropertySet;
use helix_zfs::{Obstacle, RollbackError, RollbackOptions};

#[test]
fn a_tenant_goes_back_and_its_neighbour_does_not() {
    let both = Neighbours::new("scope-rollback");
    let (acme, birch) = (&both.acme, &both.birch);
    let data = noise(50_000, 9);
    let datasets = [acme.at("db").unwrap(), acme.at("db/wal").unwrap()];
    let theirs = birch.at("db").unwrap();
    for dataset in [&datasets[0], &datasets[1], &theirs] {
        Mounted::new(dataset.dataset()).write("rows", &data);
    }
    let point = snapshot(acme, "point");
    snapshot(birch, "point");
    for dataset in [&datasets[0], &datasets[1], &theirs] {
        Mounted::new(dataset.dataset()).write("rows", b"changed");
    }
    let newer = snapshot(acme, "newer");
    make(acme, "late");
    let neighbour = |mut lines: Vec<String>| {
        lines.retain(|line| line.starts_with(birch.dataset().name().as_str()));
        lines
    };
    let before = neighbour(both.everything());

    let plan = acme.rollback_plan("point").unwrap();
    assert_eq!(plan.without(), [acme.at("late").unwrap().name().clone()]);
    let plan = plan.plan();
    assert_eq!((plan.losses().len(), plan.is_atomic()), (3, true));
    let refused = point.rollback_plan().unwrap();
    let refused = both.untouched(|| {
        refused.carry_out(
            allowed(Operation::RollBack),
            &RollbackOptions::new(),
            &mut |_| {},
        )
    });
    assert!(matches!(
        refused,
        Err(ScopeError::Rollback(RollbackError::Obstructed(_)))
    ));
    let options = RollbackOptions::new().destroy_newer();
    let back = point.rollback_plan().unwrap();
    let report = back
        .carry_out(allowed(Operation::RollBack), &options, &mut |_| {})
        .unwrap();
    assert!(report.is_complete() && report.atomic, "{report:?}");
    for dataset in &datasets {
        assert!(Mounted::new(dataset.dataset()).read("rows") == data);
    }
    for snapshot in newer.snapshots().unwrap() {
        assert!(!snapshot.exists().unwrap());
    }
    assert!(acme.at("late").unwrap().dataset().exists().unwrap());
    assert_eq!(neighbour(both.everything()), before);
    assert_eq!(Mounted::new(theirs.dataset()).read("rows"), b"changed");

    // One alone, while it is mounted.
    let mounted = Mounted::new(datasets[0].dataset());
    mounted.write("rows", b"again");
    let back = datasets[0].rollback_plan("point").unwrap();
    assert!(!back.plan().is_atomic());
    let report = back
        .carry_out(allowed(Operation::RollBack), &options, &mut |_| {})
        .unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert!(mounted.read("rows") == data);
}

#[test]
fn no_rollback_takes_the_ground_from_a_neighbours_clone() {
    let both = Neighbours::new("scope-ground");
    let (acme, birch) = (&both.acme, &both.birch);
    let point = snapshot(acme, "point");
    let newer = snapshot(acme, "newer");
    let db = acme.at("db").unwrap();
    let theirs = birch.at("theirs").unwrap();
    let ground = newer.snapshots().unwrap()[1].clone();
    ground.clone_to(theirs.name(), &PropertySet::new()).unwrap();
    let options = RollbackOptions::new().destroy_newer();
    both.untouched(|| {
        let refused = [
            point.rollback_plan().unwrap_err(),
            acme.rollback_plan("point").unwrap_err(),
            db.rollback_plan("point").unwrap_err(),
        ];
        for refused in refused {
            let ScopeError::ForeignClones {
                snapshot, clones, ..
            } = &refused
            else {
                panic!("{refused}")
            };
            assert_eq!(snapshot, ground.name());
            assert_eq!(clones[..], [theirs.name().clone()]);
        }
        let missing = db.rollback_plan("missing").unwrap_err();
        assert!(matches!(
            missing,
            ScopeError::Rollback(RollbackError::NoSuchPoint(_))
        ));
    });
    theirs.dataset().destroy().unwrap();

    // One that was made after the plan.
    let plan = db.rollback_plan("point").unwrap();
    ground.clone_to(theirs.name(), &PropertySet::new()).unwrap();
    let refused =
        both.untouched(|| plan.carry_out(allowed(Operation::RollBack), &options, &mut |_| {}));
    let Err(ScopeError::Rollback(RollbackError::Obstructed(obstacles))) = &refused else {
        panic!("{refused:?}")
    };
    assert!(
        matches!(&obstacles[..], [Obstacle::Cloned { .. }]),
        "{obstacles:?}"
    );
    theirs.dataset().destroy().unwrap();

    // The tenant's own staging is in the way too, until it is destroyed.
    let next = staging(acme, "next", &newer);
    let plan = point.rollback_plan().unwrap();
    let refused =
        both.untouched(|| plan.carry_out(allowed(Operation::RollBack), &options, &mut |_| {}));
    assert!(matches!(
        refused,
        Err(ScopeError::Rollback(RollbackError::Obstructed(_)))
    ));
    next.destroy(allowed(Operation::Destroy)).unwrap();
    // A clone of the point itself loses nothing.
    let origin = point.snapshots().unwrap()[1].clone();
    origin.clone_to(theirs.name(), &PropertySet::new()).unwrap();
    let plan = point.rollback_plan().unwrap();
    let report = plan
        .carry_out(allowed(Operation::RollBack), &options, &mut |_| {})
        .unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert!(theirs.dataset().exists().unwrap());
}
