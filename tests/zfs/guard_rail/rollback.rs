use super::{Data, Way, filesystems, sync};
use crate::support::{Mounted, Scratch, TENANT, allowed, as_user, noise, run, zfs, zfs_get};
use helix_zfs::gate::Operation;
use helix_zfs::zfs_core::props::UserProps;
use helix_zfs::zfs_core::{self, Dataset, ErrorKind};
use helix_zfs::{
    Change, GuardRail, Obstacle, RollbackError, RollbackOptions, RollbackPlan, RollbackReport,
    UnfinishedRollback,
};

fn back(plan: &RollbackPlan, options: &RollbackOptions) -> Result<RollbackReport, RollbackError> {
    plan.carry_out(allowed(Operation::RollBack), options, &mut |_| {})
}

fn complete(plan: &RollbackPlan, options: &RollbackOptions) -> RollbackReport {
    let report = back(plan, options).unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(report.advice(), None);
    report
}

fn obstructed(result: Result<RollbackReport, RollbackError>) -> Vec<Obstacle> {
    match result {
        Err(RollbackError::Obstructed(obstacles)) => obstacles,
        other => panic!("{other:?}"),
    }
}

fn snapshot(dataset: &Dataset, short: &str) {
    let snapshot = dataset.snapshot(short).unwrap();
    snapshot.create(&UserProps::new()).unwrap();
}

fn unfinished(parent: &Dataset) -> usize {
    UnfinishedRollback::list(parent).unwrap().len()
}

#[test]
fn what_a_rollback_would_lose_is_told_first() {
    let scratch = Scratch::new("back-plan");
    let made = filesystems(&scratch, &["acme", "birch"]);
    let rail = GuardRail::take(
        allowed(Operation::TakeGuardRail),
        &zfs(),
        &made,
        "r",
        &Change::new(),
    )
    .unwrap();
    let none = rail.rollback_plan().unwrap();
    assert!(none.losses().iter().all(|loss| loss.newer.is_empty()));

    let mounted = Mounted::new(&made[1]);
    mounted.write("data", noise(300_000, 1));
    snapshot(&made[1], "hourly");
    std::fs::remove_file(mounted.path("data")).unwrap();
    mounted.write("more", noise(200_000, 2));
    let hourly = made[1].snapshot("hourly").unwrap();
    hourly.bookmark("mark").unwrap();
    hourly.hold("backup").unwrap();
    let clone = scratch.child("clone").unwrap();
    hourly.clone_to(clone.name(), &Default::default()).unwrap();
    let later = GuardRail::take(
        allowed(Operation::TakeGuardRail),
        &zfs(),
        &made,
        "later",
        &Change::new(),
    )
    .unwrap();
    sync(&scratch);

    let plan = rail.rollback_plan().unwrap();
    assert_eq!((plan.point(), plan.txg()), ("r", rail.txg()));
    assert_eq!(
        plan.newer_guard_rails().into_iter().collect::<Vec<_>>(),
        ["later"]
    );
    assert!(!plan.is_atomic());
    let [acme, birch] = plan.losses() else {
        panic!("{plan:?}")
    };
    assert_eq!(&acme.dataset, made[0].name());
    assert!(!acme.mounted && birch.mounted);
    let written = zfs_get("written@r", made[1].name());
    assert_eq!(birch.written.to_string(), written);
    assert!(
        birch.written >= 200_000 && birch.snapshots_used >= 300_000,
        "{birch:?}"
    );
    assert_eq!(plan.written(), acme.written + birch.written);
    let names: Vec<&str> = birch.newer.iter().map(|newer| newer.name.short()).collect();
    assert_eq!(names, ["hourly", "later"]);
    assert_eq!(birch.newer[0].holds, ["backup"]);
    assert_eq!(birch.newer[0].clones, [clone.name().clone()]);
    assert_eq!(
        birch.newer[0].guid.to_string(),
        zfs_get("guid", hourly.name())
    );
    assert_eq!(birch.newer[1].guard_rail.as_deref(), Some("later"));
    assert_eq!(birch.bookmarks[0].short(), "mark");

    // All of it stands in the way, and is named.
    let txg = zfs_get("createtxg", hourly.name());
    let in_the_way = obstructed(back(&plan, &RollbackOptions::new()));
    let newer = hourly.name().clone();
    let expected = [
        Obstacle::NewerSnapshot {
            snapshot: newer.clone(),
        },
        Obstacle::Held {
            snapshot: newer.clone(),
            tags: vec!["backup".into()],
        },
        Obstacle::Cloned {
            snapshot: newer.clone(),
            clones: vec![clone.name().clone()],
        },
        Obstacle::NewerBookmark {
            bookmark: made[1].bookmark("mark").unwrap().name().clone(),
        },
        Obstacle::GuardRail {
            name: "later".into(),
            snapshots: later
                .snapshots()
                .iter()
                .map(|it| it.name().clone())
                .collect(),
        },
    ];
    assert_eq!(in_the_way, expected);
    // What is destroyed wholesale is not what others hold and clone, nor guard rails.
    let wholesale = RollbackOptions::new().destroy_newer();
    let in_the_way = obstructed(back(&plan, &wholesale));
    assert_eq!(in_the_way, [&expected[1..3], &expected[4..]].concat());
    let named = wholesale.destroy_guard_rail("later");
    assert_eq!(obstructed(back(&plan, &named)), expected[1..3]);
    assert_eq!(zfs_get("createtxg", hourly.name()), txg);
    assert_eq!(later.snapshots()[1].holds().unwrap().len(), 1);
    assert_eq!(unfinished(&scratch), 0);

    clone.destroy().unwrap();
    hourly.release("backup").unwrap();
    let plan = rail.rollback_plan().unwrap();
    let listed = RollbackOptions::new()
        .destroy(newer.as_str())
        .destroy(expected_bookmark(&made[1]))
        .destroy_guard_rail("later");
    let report = complete(&plan, &listed);
    assert!(!report.atomic);
    assert_eq!(report.destroyed.len(), 3);
    assert_eq!(report.destroyed_bookmarks.len(), 1);
    assert!(!mounted.path("data").exists() && !mounted.path("more").exists());
    assert!(GuardRail::find(&scratch, "later").unwrap().is_none());
    assert!(made[1].bookmarks().unwrap().is_empty());
    assert_eq!(unfinished(&scratch), 0);
}

fn expected_bookmark(dataset: &Dataset) -> String {
    format!("{}#mark", dataset.name())
}

#[test]
fn a_set_that_is_not_one_is_refused() {
    let scratch = Scratch::new("back-set");
    let made = filesystems(&scratch, &["acme", "birch", "cedar"]);
    let plan =
        |datasets: &[Dataset], point: &str| RollbackPlan::of(&zfs(), datasets, point).unwrap_err();
    assert!(matches!(plan(&[], "r"), RollbackError::Empty));
    let twice = [made[0].clone(), made[0].clone()];
    assert!(matches!(plan(&twice, "r"), RollbackError::Repeated(_)));
    GuardRail::take(
        allowed(Operation::TakeGuardRail),
        &zfs(),
        &made[..1],
        "r",
        &Change::new(),
    )
    .unwrap();
    let error = plan(&made, "r");
    let RollbackError::NoSuchPoint(missing) = &error else {
        panic!("{error:?}")
    };
    assert_eq!(missing.len(), 2);
    assert!(error.to_string().contains("cedar@r"), "{error}");
    GuardRail::take(
        allowed(Operation::TakeGuardRail),
        &zfs(),
        &made[1..],
        "r",
        &Change::new(),
    )
    .unwrap();
    assert!(matches!(
        plan(&made, "r"),
        RollbackError::SeveralMoments(_, _)
    ));
    let elsewhere = [made[0].clone(), zfs().dataset("hz-elsewhere/a").unwrap()];
    assert!(matches!(
        plan(&elsewhere, "r"),
        RollbackError::SeveralPools(_, _)
    ));
    let bad = plan(&made, "r/s");
    assert!(matches!(bad, RollbackError::Zfs(error) if error.kind() == ErrorKind::InvalidName));
}

#[test]
fn unmounted_datasets_go_back_in_one_transaction() {
    let scratch = Scratch::new("back-atomic");
    let mut made = filesystems(&scratch, &["acme", "birch"]);
    let volume = format!("{}/volume", scratch.name());
    run(
        "zfs",
        &["create", "-s", "-V", "1M", "-o", "volmode=none", &volume],
    );
    made.push(zfs().dataset(&volume).unwrap());
    let data = Data::write(&made[..2], 1);
    let rail = GuardRail::take(
        allowed(Operation::TakeGuardRail),
        &zfs(),
        &made,
        "r",
        &Change::new(),
    )
    .unwrap();
    Data::write(&made[..2], 2);
    let neighbour = filesystems(&scratch, &["neighbour"]).remove(0);
    for dataset in made.iter().chain([&neighbour]) {
        snapshot(dataset, "hourly");
    }
    Data::write(&made[..2], 3);

    let plan = rail.rollback_plan().unwrap();
    assert!(plan.is_atomic());
    let mut steps = Vec::new();
    let report = plan
        .carry_out(
            allowed(Operation::RollBack),
            &RollbackOptions::new().destroy_newer(),
            &mut |step| {
                steps.push(step.to_string());
            },
        )
        .unwrap();
    assert!(report.is_complete() && report.atomic, "{report:?}");
    assert_eq!(
        steps,
        [
            "roll 3 datasets back together ...",
            "roll 3 datasets back together: done"
        ]
    );
    assert_eq!(report.destroyed.len(), 3);
    for dataset in &made {
        assert!(!dataset.snapshot("hourly").unwrap().exists().unwrap());
    }
    data.is_in(&made[..2]);
    assert!(neighbour.snapshot("hourly").unwrap().exists().unwrap());

    // With bookmarks and a guard rail in the way there is more than one step, and a mark.
    let later = GuardRail::take(
        allowed(Operation::TakeGuardRail),
        &zfs(),
        &made,
        "later",
        &Change::new(),
    )
    .unwrap();
    later.snapshots()[0].bookmark("mark").unwrap();
    Data::write(&made[..2], 4);
    let options = RollbackOptions::new()
        .destroy_newer()
        .destroy_guard_rail("later");
    let report = complete(&rail.rollback_plan().unwrap(), &options);
    assert!(report.atomic);
    data.is_in(&made[..2]);
    assert_eq!(unfinished(&scratch), 0);
    assert_eq!(zfs_get("helix:rollback", made[0].name()), "-");
}

#[test]
fn nothing_is_rolled_back_when_something_has_changed() {
    let scratch = Scratch::new("back-stale");
    let made = filesystems(&scratch, &["acme", "birch"]);
    let rail = GuardRail::take(
        allowed(Operation::TakeGuardRail),
        &zfs(),
        &made,
        "r",
        &Change::new(),
    )
    .unwrap();
    let data = Data::write(&made, 2);
    let options = RollbackOptions::new().destroy_newer();
    let plan = rail.rollback_plan().unwrap();
    snapshot(&made[1], "new");
    let changed = |plan: &RollbackPlan| {
        let error = back(plan, &options).unwrap_err();
        let name = made[1].name().as_str();
        assert!(
            matches!(&error, RollbackError::Changed(what) if what.starts_with(name)),
            "{error:?}"
        );
    };
    changed(&plan);

    // Even when it comes up in the middle: the transaction looks again.
    let plan = rail.rollback_plan().unwrap();
    let newest = made[1].snapshot("newest").unwrap();
    let raced = plan.carry_out(allowed(Operation::RollBack), &options, &mut |_| {
        if !newest.exists().unwrap() {
            newest.create(&UserProps::new()).unwrap();
        }
    });
    let error = raced.unwrap_err();
    assert!(
        matches!(&error, RollbackError::Changed(what) if *what == newest.name().to_string()),
        "{error:?}"
    );
    data.is_in(&made);
    assert!(made[1].snapshot("new").unwrap().exists().unwrap());
    // The same snapshot by name only.
    let plan = rail.rollback_plan().unwrap();
    newest.destroy().unwrap();
    newest.create(&UserProps::new()).unwrap();
    changed(&plan);
    data.is_in(&made);
    assert_eq!(unfinished(&scratch), 0);
}

#[test]
fn what_could_not_be_rolled_back_is_told_and_finished() {
    let scratch = Scratch::new("back-part");
    let mut made = filesystems(&scratch, &["acme", "birch"]);
    let data = Data::write(&made, 1);
    let volume = format!("{}/volume", scratch.name());
    run("zfs", &["create", "-s", "-V", "1M", &volume]);
    made.insert(1, zfs().dataset(&volume).unwrap());
    let rail = GuardRail::take(
        allowed(Operation::TakeGuardRail),
        &zfs(),
        &made,
        "r",
        &Change::new(),
    )
    .unwrap();
    let filesystems = [made[0].clone(), made[2].clone()];
    Data::write(&filesystems, 2);
    let mounts = [Mounted::new(&made[0]), Mounted::new(&made[2])];
    // A snapshot that appears in between keeps one of them from being rolled back.
    let plan = rail.rollback_plan().unwrap();
    let newest = made[1].snapshot("newest").unwrap();
    let report = plan
        .carry_out(
            allowed(Operation::RollBack),
            &RollbackOptions::new(),
            &mut |step| {
                if step.to_string().contains("acme back") && !newest.exists().unwrap() {
                    newest.create(&UserProps::new()).unwrap();
                }
            },
        )
        .unwrap();
    assert!(!report.is_complete() && !report.atomic);
    let failed: Vec<_> = report.failed().collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].0, made[1].name());
    assert_eq!(failed[0].1.kind(), ErrorKind::NewerSnapshotsExist);
    let advice = report.advice().unwrap();
    assert!(
        advice.starts_with("1 of 3 datasets are not at r"),
        "{advice}"
    );
    for mount in &mounts {
        assert!(mount.read("data") == data.contents);
    }

    // It is found, a rollback to elsewhere is refused, and the next run finishes it.
    let left = UnfinishedRollback::list(&scratch).unwrap();
    assert_eq!((left.len(), left[0].point()), (1, "r"));
    assert_eq!(left[0].datasets().len(), 3);
    let other = RollbackPlan::of(&zfs(), &made[1..2], "newest").unwrap();
    let obstacles = obstructed(back(&other, &RollbackOptions::new()));
    assert!(
        matches!(&obstacles[..], [Obstacle::Unfinished { point, .. }] if point == "r"),
        "{obstacles:?}"
    );
    let plan = left[0].plan().unwrap();
    assert!(plan.losses().iter().all(|loss| loss.unfinished));
    let obstacles = obstructed(back(&plan, &left[0].options()));
    assert!(matches!(&obstacles[..], [Obstacle::NewerSnapshot { .. }]));
    let _ = complete(&plan, &left[0].options().destroy(newest.name().as_str()));
    assert_eq!(unfinished(&scratch), 0);
    for mount in &mounts {
        assert!(mount.read("data") == data.contents);
    }
}

#[test]
fn an_unfinished_rollback_can_be_abandoned() {
    let scratch = Scratch::new("back-abandon");
    let made = filesystems(&scratch, &["acme", "birch"]);
    let rail = GuardRail::take(
        allowed(Operation::TakeGuardRail),
        &zfs(),
        &made,
        "r",
        &Change::new(),
    )
    .unwrap();
    // On the parent it says nothing about those below.
    let mark = format!("{}@r", rail.txg());
    scratch
        .set_user(&UserProps::new().set("helix:rollback", &mark).unwrap())
        .unwrap();
    let left = UnfinishedRollback::list(&scratch).unwrap();
    assert_eq!(left[0].datasets(), [Dataset::name(&scratch).clone()]);
    assert!(!rail.rollback_plan().unwrap().losses()[0].unfinished);
    left[0].abandon(allowed(Operation::RollBack)).unwrap();
    assert_eq!(unfinished(&scratch), 0);
    // What is no mark of ours is none.
    scratch
        .set_user(&UserProps::new().set("helix:rollback", "soon").unwrap())
        .unwrap();
    assert_eq!(unfinished(&scratch), 0);
}

#[test]
fn a_rollback_needs_privileges() {
    let scratch = Scratch::new("back-user");
    let made = filesystems(&scratch, &["acme", "birch"]);
    let rail = GuardRail::take(
        allowed(Operation::TakeGuardRail),
        &zfs(),
        &made,
        "r",
        &Change::new(),
    )
    .unwrap();
    let data = Data::write(&made, 2);
    let refused = |datasets: &[Dataset]| {
        let capability = allowed(Operation::RollBack);
        as_user(TENANT, || {
            let plan = RollbackPlan::of(&zfs(), datasets, "r").unwrap();
            match plan.carry_out(capability, &RollbackOptions::new(), &mut |_| {}) {
                Err(RollbackError::Zfs(error)) => {
                    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
                }
                Ok(report) => {
                    let (_, error) = report.failed().next().expect("not rolled back");
                    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
                    let failed = error.zfs_error().unwrap().operation();
                    assert_eq!(failed, zfs_core::Operation::Rollback);
                }
                other => panic!("{other:?}"),
            }
        });
    };
    refused(&made);
    refused(&made[..1]);
    data.is_in(&made);
    assert_eq!(unfinished(&scratch), 0);

    // A single dataset that is mounted takes no more than what it takes alone.
    let mounted = Mounted::new(&made[0]);
    let name = made[0].name().as_str();
    run("zfs", &["allow", "tenant", "rollback,mount", name]);
    as_user(TENANT, || {
        let plan = RollbackPlan::of(&zfs(), &made[..1], "r").unwrap();
        let _ = complete(&plan, &RollbackOptions::new());
    });
    assert!(!mounted.path("data").exists());
    drop(mounted);
    data.is_in(&made[1..]);
    drop(rail);
}

#[test]
fn mounted_and_unmounted_datasets_go_back_the_same() {
    for way in [Way::Mounted, Way::Unmounted] {
        let scratch = Scratch::new("back-way");
        let made = filesystems(&scratch, &["acme", "acme/db", "birch"]);
        let data = Data::write(&made, 1);
        let rail = GuardRail::take(
            allowed(Operation::TakeGuardRail),
            &zfs(),
            &made,
            "r",
            &Change::new(),
        )
        .unwrap();
        Data::write(&made, 2);
        snapshot(&made[1], "newer");
        let mounts = way.mount(&made);
        let options = RollbackOptions::new().destroy_newer();
        let report = complete(&rail.rollback_plan().unwrap(), &options);
        assert_eq!(report.atomic, way == Way::Unmounted);
        assert_eq!(report.destroyed.len(), 1);
        drop(mounts);
        data.is_in(&made);
    }
}
