//! Which guard rails stay.

use crate::support::killed::{self, Ended};
use crate::support::{Mounted, Scratch, TENANT, allowed, as_user, may, noise, zfs};
use helix_zfs::gate::Operation;
use helix_zfs::zfs_core::props::{PropertySet, UserProps};
use helix_zfs::zfs_core::send::SendOptions;
use helix_zfs::zfs_core::{CreateOptions, Dataset, ErrorKind, Snapshot};
use helix_zfs::{
    Change, GuardRail, Keep, KeepOverride, RailInfo, Retention, RetentionChange, RetentionOptions,
    RetentionPlan, RetentionReport, Spared, Step,
};
use std::io::Read;
use std::time::SystemTime;

const TAG: &str = "helix-guard-rail";

fn datasets(scratch: &Scratch) -> Vec<Dataset> {
    let names = ["acme", "birch"];
    let datasets = names.map(|name| scratch.child(name).unwrap());
    for dataset in &datasets {
        dataset.create(&CreateOptions::filesystem()).unwrap();
    }
    datasets.into()
}

fn take(scratch: &Scratch, name: &str) -> GuardRail {
    let datasets = ["acme", "birch"].map(|name| scratch.child(name).unwrap());
    GuardRail::take(
        allowed(Operation::TakeGuardRail),
        &zfs(),
        &datasets,
        name,
        &Change::new(),
    )
    .unwrap()
}

/// The names of the guard rails that are there, oldest first.
fn names(parent: &Dataset) -> Vec<String> {
    let rails = GuardRail::list(parent).unwrap();
    rails.iter().map(|rail| rail.name().to_owned()).collect()
}

/// How often the snapshots of a guard rail are held by itself.
fn holds(rail: &GuardRail) -> usize {
    let ours = |snapshot: &Snapshot| {
        let holds = snapshot.holds().unwrap();
        holds
            .iter()
            .any(|hold| hold.tag.to_bytes() == TAG.as_bytes())
    };
    rail.snapshots()
        .iter()
        .filter(|snapshot| ours(snapshot))
        .count()
}

/// What a policy that keeps the last `n` says.
fn plan(parent: &Dataset, n: u32) -> RetentionPlan {
    let rails = GuardRail::list(parent).unwrap();
    let rails: Vec<RailInfo> = rails.iter().map(RailInfo::from).collect();
    Retention::new(Keep::new().last(n)).plan(&rails, SystemTime::now())
}

fn carry_out(plan: &RetentionPlan, parent: &Dataset) -> RetentionReport {
    let report = plan.carry_out(
        allowed(Operation::Retain),
        parent,
        &RetentionOptions::new(),
        &mut |_| {},
    );
    let report = report.unwrap();
    assert!(report.stopped.is_none(), "{report:?}");
    report
}

fn removed(report: &RetentionReport) -> Vec<&str> {
    report.removed.iter().map(|rail| &*rail.name).collect()
}

#[test]
fn guard_rails_go_in_batches_and_by_reason() {
    let scratch = Scratch::new("retain");
    let datasets = datasets(&scratch);
    for name in ["a", "b", "c", "d", "e"] {
        take(&scratch, name);
    }
    let migration = Change::new().reason("migration").tag("audit");
    GuardRail::take(
        allowed(Operation::TakeGuardRail),
        &zfs(),
        &datasets,
        "m",
        &migration,
    )
    .unwrap();
    take(&scratch, "f");
    // A snapshot of somebody else's is none of the policy's business.
    let other = datasets[0].snapshot("other").unwrap();
    other.create(&UserProps::new()).unwrap();

    let rails = GuardRail::list(&scratch).unwrap();
    let rails: Vec<RailInfo> = rails.iter().map(RailInfo::from).collect();
    assert_eq!(rails[5].reason.as_deref(), Some("migration"));
    let policy =
        Retention::new(Keep::new().last(2)).and(KeepOverride::tag("audit", Keep::new().last(1)));
    let plan = policy.plan(&rails, SystemTime::now());
    let mut steps = Vec::new();
    let options = RetentionOptions::new().batch(5);
    let report = plan
        .carry_out(
            allowed(Operation::Retain),
            &scratch,
            &options,
            &mut |step| {
                if let Step::Done(RetentionChange::Destroy(names)) = step {
                    steps.push(names.join(" "));
                }
            },
        )
        .unwrap();
    // Two snapshots each, and five in a batch at the most.
    assert_eq!(steps, ["a b", "c d"]);
    assert_eq!(removed(&report), ["a", "b", "c", "d"]);
    assert!(report.is_complete());
    assert_eq!(names(&scratch), ["e", "m", "f"]);
    assert!(other.exists().unwrap());

    // The next run has nothing to do; the same plan once more finds everything gone.
    assert!(self::plan(&scratch, 3).remove.is_empty());
    let again = carry_out(&plan, &scratch);
    assert_eq!(removed(&again).len(), 4);
    // A batch is never smaller than a guard rail.
    let all = self::plan(&scratch, 0);
    let report = all
        .carry_out(
            allowed(Operation::Retain),
            &scratch,
            &RetentionOptions::new().batch(0),
            &mut |_| {},
        )
        .unwrap();
    assert_eq!(removed(&report), ["e", "m"]);
    assert_eq!(names(&scratch), ["f"]);
    let missing = scratch.child("missing").unwrap();
    let error = all
        .carry_out(allowed(Operation::Retain), &missing, &options, &mut |_| {})
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn what_is_held_cloned_or_being_sent_stays_and_its_neighbours_go() {
    let scratch = Scratch::new("retain-spared");
    let datasets = datasets(&scratch);
    Mounted::new(&datasets[0]).write("file", noise(4 << 20, 1));
    let rails = [
        "held", "free", "cloned", "sent", "changed", "late", "newest",
    ];
    let rails = rails.map(|name| take(&scratch, name));
    rails[0].snapshots()[1].hold("backup").unwrap();
    let clone = scratch.child("clone").unwrap();
    let none = PropertySet::new();
    rails[2].snapshots()[0]
        .clone_to(clone.name(), &none)
        .unwrap();
    // Nobody reads on, so that the stream goes on.
    let mut stream = rails[3].snapshots()[0].send(&SendOptions::full()).unwrap();
    stream.read_exact(&mut [0; 1000]).unwrap();

    let plan = plan(&scratch, 1);
    assert_eq!(plan.remove.len(), 6);
    // Of these two, one snapshot is another one now, and one is held when its turn has come.
    let changed = rails[4].snapshots()[1].clone();
    changed.release(TAG).unwrap();
    changed.destroy().unwrap();
    changed
        .create(&UserProps::new().set("helix:guard_rail", "changed").unwrap())
        .unwrap();
    let late = rails[5].snapshots()[0].clone();
    let mut steps = Vec::new();
    let report = plan
        .carry_out(
            allowed(Operation::Retain),
            &scratch,
            &RetentionOptions::new(),
            &mut |step| {
                if let Step::Done(RetentionChange::Release(_)) = step {
                    late.hold("late").unwrap();
                }
                steps.push(step.to_string());
            },
        )
        .unwrap();
    assert!(
        report.stopped.is_none() && !report.is_complete(),
        "{report:?}"
    );
    // What is left of the changed one: the snapshot that was not.
    assert_eq!(removed(&report), ["free", "changed"]);
    let name = |n: usize, m: usize| rails[n].snapshots()[m].name().clone();
    let spared: Vec<(&str, &Spared)> = report
        .spared
        .iter()
        .map(|(rail, spared)| (&*rail.name, spared))
        .collect();
    let held = |n, m, tag: &str| Spared::Held {
        snapshot: name(n, m),
        tags: vec![tag.to_owned()],
    };
    assert_eq!(
        spared,
        [
            ("held", &held(0, 1, "backup")),
            ("cloned", &Spared::Cloned(name(2, 0))),
            ("sent", &Spared::InUse(name(3, 0))),
            ("late", &held(5, 0, "late")),
        ]
    );
    assert_eq!(
        steps,
        [
            "release free, sent, changed, late ...",
            "release free, sent, changed, late: done",
            "destroy free, sent, changed, late ...",
            "destroy free, sent, changed, late: done",
            "hold late, sent ...",
            "hold late, sent: done",
        ]
    );
    // The new snapshot of an old name is a guard rail of its own now.
    assert_eq!(
        names(&scratch),
        ["held", "cloned", "sent", "late", "newest", "changed"]
    );
    assert!(changed.exists().unwrap());
    for n in [0, 2, 3, 5, 6] {
        assert_eq!(holds(&rails[n]), 2, "{}", rails[n].name());
    }
    let json = serde_json::to_value(&report.spared[0].1).unwrap();
    assert_eq!(json["held"]["tags"][0], "backup");
    assert_eq!(
        report.spared[2].1.to_string(),
        format!("{} is being sent or mounted", name(3, 0))
    );

    // When nothing is in the way any more they go.
    drop(stream);
    rails[0].snapshots()[1].release("backup").unwrap();
    late.release("late").unwrap();
    clone.destroy().unwrap();
    let plan = self::plan(&scratch, 1);
    let mut left = plan.remove.len();
    for _ in 0..500 {
        // The end of the stream takes its thread a moment.
        left = carry_out(&plan, &scratch).spared.len();
        if left == 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!((left, names(&scratch)), (0, vec!["changed".to_owned()]));
}

#[test]
fn a_guard_rail_that_is_being_rolled_back_to_stays() {
    let scratch = Scratch::new("retain-back");
    let datasets = datasets(&scratch);
    let rail = take(&scratch, "point");
    take(&scratch, "newest");
    // As a rollback that was killed leaves it.
    let intent = UserProps::new()
        .set("helix:rollback", &format!("{}@point", rail.txg()))
        .unwrap();
    datasets[1].set_user(&intent).unwrap();
    let report = carry_out(&plan(&scratch, 1), &scratch);
    let back = Spared::RollingBack(datasets[1].name().clone());
    assert_eq!(report.spared.first().map(|(_, spared)| spared), Some(&back));
    assert_eq!((holds(&rail), names(&scratch).len()), (2, 2));
    datasets[1].inherit("helix:rollback").unwrap();
    assert_eq!(removed(&carry_out(&plan(&scratch, 1), &scratch)), ["point"]);
}

#[test]
fn who_may_not_removes_nothing_and_what_stays_is_held_again() {
    let scratch = Scratch::new("retain-may");
    datasets(&scratch);
    let rails = ["a", "b"].map(|name| take(&scratch, name));
    let plan = plan(&scratch, 1);
    as_user(TENANT, || {
        let report = plan.carry_out(
            allowed(Operation::Retain),
            &scratch,
            &RetentionOptions::new(),
            &mut |_| {},
        );
        let report = report.unwrap();
        let error = report.stopped.unwrap();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(report.removed.is_empty() && report.spared.is_empty());
    });
    assert_eq!((holds(&rails[0]), holds(&rails[1])), (2, 2));
    // The one that stays has lost a hold.
    rails[1].snapshots()[0].release(TAG).unwrap();
    let report = carry_out(&plan, &scratch);
    assert_eq!(removed(&report), ["a"]);
    assert_eq!(holds(&rails[1]), 2);
}

#[test]
fn retention_is_finished_after_a_kill() {
    if let Some(mut countdown) = killed::in_the_process() {
        let parent = zfs().dataset(&killed::argument()).unwrap();
        let options = RetentionOptions::new();
        let report = plan(&parent, 1).carry_out(
            may(Operation::Retain, &parent),
            &parent,
            &options,
            &mut |step| {
                // What is there after a change is what is there before the next.
                if matches!(step, Step::Starting(_)) {
                    countdown.tick();
                }
            },
        );
        assert!(report.unwrap().stopped.is_none());
        return;
    }
    let scratch = Scratch::new("retain-killed");
    let datasets = datasets(&scratch);
    Mounted::new(&datasets[0]).write("file", noise(4 << 20, 1));
    let other = datasets[0].snapshot("other").unwrap();
    other.create(&UserProps::new()).unwrap();
    let argument = scratch.name().to_owned();
    for step in 0.. {
        let rails = ["a", "b", "c"].map(|name| take(&scratch, name));
        // One that cannot go, as its stream is only found out when its hold is gone.
        let mut stream = rails[1].snapshots()[0].send(&SendOptions::full()).unwrap();
        stream.read_exact(&mut [0; 1000]).unwrap();
        let ended = killed::run(
            "retention::retention_is_finished_after_a_kill",
            step,
            &argument,
        );

        // All of a guard rail is there, or nothing.
        for rail in GuardRail::list(&scratch).unwrap() {
            assert!(rail.is_whole(), "{} at step {step}", rail.name());
        }
        let left = names(&scratch);
        assert!(
            left.ends_with(&["b".into(), "c".into()]),
            "{left:?} at step {step}"
        );
        let report = carry_out(&plan(&scratch, 1), &scratch);
        assert_eq!(report.spared.len(), 1);
        assert_eq!(names(&scratch), ["b", "c"]);
        assert_eq!((holds(&rails[1]), holds(&rails[2])), (2, 2), "step {step}");
        assert!(other.exists().unwrap());
        drop(stream);
        for _ in 0..500 {
            if carry_out(&plan(&scratch, 1), &scratch).is_complete() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        rails[2]
            .remove(allowed(Operation::RemoveGuardRail))
            .unwrap();
        assert_eq!(names(&scratch), [""; 0]);
        if ended == Ended::Finished {
            // Released, destroyed, and a hold put back.
            assert_eq!(step, 3);
            break;
        }
    }
}
