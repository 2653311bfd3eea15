use super::{Data, Way, filesystems};
use crate::support::killed::{self, Ended};
use crate::support::{Mounted, Scratch, allowed, may, zfs, zfs_get};
use helix_zfs::gate::Operation;
use helix_zfs::zfs_core::{Dataset, DatasetName};
use helix_zfs::{Change, GuardRail, RollbackOptions, RollbackPlan, Step, UnfinishedRollback};
use std::path::Path;

/// A set of two, with all there is in the way of a rollback, and a neighbour.
struct Case {
    scratch: Scratch,
    made: Vec<Dataset>,
    before: Data,
    after: Data,
}

impl Case {
    fn new() -> Self {
        let scratch = Scratch::new("back-kill");
        let made = filesystems(&scratch, &["acme", "birch"]);
        let before = Data::write(&made, 1);
        GuardRail::take(
            allowed(Operation::TakeGuardRail),
            &zfs(),
            &made,
            "r",
            &Change::new(),
        )
        .unwrap();
        let after = Data::write(&made, 2);
        let neighbour = filesystems(&scratch, &["neighbour"]);
        let all = [&made[..], &neighbour].concat();
        GuardRail::take(
            allowed(Operation::TakeGuardRail),
            &zfs(),
            &all,
            "later",
            &Change::new(),
        )
        .unwrap();
        let later = made[0].snapshot("later").unwrap();
        later.bookmark("mark").unwrap();
        Self {
            scratch,
            made,
            before,
            after,
        }
    }

    fn neighbour_is_untouched(&self) {
        let later = self.scratch.child("neighbour").unwrap();
        let later = later.snapshot("later").unwrap();
        assert_eq!(later.holds().unwrap().len(), 1);
    }

    /// Which of the datasets are at the point.
    fn at_the_point(&self, mounts: &[Mounted]) -> Vec<bool> {
        let mut at = Vec::new();
        for (n, dataset) in self.made.iter().enumerate() {
            let data = match mounts.get(n) {
                Some(mounted) => mounted.read("data"),
                None => Mounted::new(dataset).read("data"),
            };
            assert!(data == self.before.contents || data == self.after.contents);
            at.push(data == self.before.contents);
        }
        at
    }
}

fn options(way: Way) -> RollbackOptions {
    let options = RollbackOptions::new()
        .destroy_newer()
        .destroy_guard_rail("later");
    match way {
        // Copies are made before anything else, in both ways alike.
        Way::Mounted => options,
        Way::Unmounted => options.keep("lost"),
    }
}

fn plan(parent: &Dataset) -> RollbackPlan {
    let rail = GuardRail::find(parent, "r").unwrap().unwrap();
    rail.rollback_plan().unwrap()
}

fn is_mounted_at(path: &Path) -> bool {
    let mounts = zfs().mounts().unwrap();
    mounts.iter().any(|mount| mount.path == path)
}

/// Dies at each step, and looks what is there then, and what the next run makes of it.
fn dies_at_each_step(test: &str, way: Way, steps: u32) {
    if let Some(mut countdown) = killed::in_the_process() {
        let parent = zfs().dataset(&killed::argument()).unwrap();
        let report = plan(&parent)
            .carry_out(
                may(Operation::RollBack, &parent),
                &options(way),
                &mut |step| {
                    // Nothing happens between the end of one change and the start of the next.
                    if matches!(step, Step::Starting(_)) {
                        countdown.tick();
                    }
                },
            )
            .unwrap();
        countdown.tick();
        assert!(report.is_complete());
        return;
    }
    for step in 0..=steps {
        let case = Case::new();
        let mounts = way.mount(&case.made);
        let ended = killed::run(test, step, case.scratch.name());
        let expected = match step == steps {
            true => Ended::Finished,
            false => Ended::Killed,
        };
        assert_eq!(ended, expected, "step {step}");
        case.neighbour_is_untouched();
        let at = case.at_the_point(&mounts);
        let left = UnfinishedRollback::list(&case.scratch).unwrap();
        if let [left] = &left[..] {
            // All of them are marked, or none.
            let names: Vec<DatasetName> = case.made.iter().map(|it| it.name().clone()).collect();
            assert_eq!(left.datasets(), names);
        } else {
            assert!(left.is_empty());
            assert_eq!(at[0], at[1], "step {step}");
        }
        let over = left.is_empty() && at[0];
        if !over {
            let report = plan(&case.scratch)
                .carry_out(allowed(Operation::RollBack), &options(way), &mut |_| {})
                .unwrap();
            assert!(report.is_complete(), "step {step}: {report:?}");
        }

        assert_eq!(case.at_the_point(&mounts), [true, true], "step {step}");
        assert!(
            mounts
                .iter()
                .all(|mounted| is_mounted_at(&mounted.path("")))
        );
        assert!(UnfinishedRollback::list(&case.scratch).unwrap().is_empty());
        for dataset in &case.made {
            let shorts: Vec<String> = dataset
                .snapshots(&Default::default())
                .unwrap()
                .iter()
                .map(|entry| entry.name.short().to_owned())
                .collect();
            assert_eq!(shorts, ["r"], "step {step}");
            let kept = dataset.child("lost").unwrap();
            assert_eq!(kept.exists().unwrap(), way == Way::Unmounted);
            if way == Way::Unmounted {
                let same = Mounted::new(&kept).read("data") == case.after.contents;
                assert!(same, "step {step}");
                let origin = format!("{}@r", dataset.name());
                assert_eq!(zfs_get("origin", kept.name()), origin);
            }
        }
        assert!(case.made[0].bookmarks().unwrap().is_empty());
        case.neighbour_is_untouched();
    }
}

#[test]
fn an_atomic_rollback_is_finished_after_a_kill() {
    let test = "guard_rail::kill::an_atomic_rollback_is_finished_after_a_kill";
    // Snapshots, two copies, marks, holds, bookmarks, all together, and the end.
    dies_at_each_step(test, Way::Unmounted, 8);
}

#[test]
fn a_rollback_one_by_one_is_finished_after_a_kill() {
    let test = "guard_rail::kill::a_rollback_one_by_one_is_finished_after_a_kill";
    // Marks, holds, bookmarks, snapshots, two rollbacks, marks, and the end.
    dies_at_each_step(test, Way::Mounted, 8);
}

#[test]
fn what_was_written_after_a_kill_is_kept_too() {
    let case = Case::new();
    let test = "guard_rail::kill::an_atomic_rollback_is_finished_after_a_kill";
    // Both states were copied, and nothing is marked yet.
    assert_eq!(killed::run(test, 3, case.scratch.name()), Ended::Killed);
    assert!(case.made[1].child("lost").unwrap().exists().unwrap());
    let last = Data::write(&case.made, 3);
    let mut steps = Vec::new();
    let report = plan(&case.scratch)
        .carry_out(
            allowed(Operation::RollBack),
            &options(Way::Unmounted),
            &mut |step| steps.push(step.to_string()),
        )
        .unwrap();
    assert!(report.is_complete());
    let dropped = |step: &&String| step.ends_with("a copy cut short: done");
    assert_eq!(steps.iter().filter(dropped).count(), 2, "{steps:?}");
    let kept: Vec<Dataset> = case
        .made
        .iter()
        .map(|dataset| dataset.child("lost").unwrap())
        .collect();
    last.is_in(&kept);
    case.before.is_in(&case.made);
}
