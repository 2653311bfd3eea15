use std::collections::BTreeMap;

use zfs_core::{BookmarkName, DatasetName, Errno, Error, ErrorKind, Operation, SnapshotName};

use super::intent::{self, Intent};
use super::together::{self, Together};
use super::{DatasetOutcome, RollbackChange, RollbackError, RollbackOptions};
use super::{RollbackPlan, RollbackReport, keep};
use crate::Step;
use crate::gate::{Capability, Operation as Gated, Refusal, Scope};
use crate::guard_rail::{release, told};

type Observer<'o> = &'o mut dyn FnMut(Step<'_, RollbackChange>);

impl RollbackPlan {
    /// Rolls all datasets of the plan back.
    ///
    /// First it looks again: what is not as it was when it was planned is an error, and so is
    /// [what stands in the way](Self::obstacles), before anything is changed. Then, each step
    /// before the next:
    ///
    /// 1. The present states are [kept](RollbackOptions::keep), if that is wanted.
    /// 2. If more than the last step is to do, all datasets are marked as being rolled back, in one
    ///    transaction group.
    /// 3. Holds of newer guard rails are released, and newer bookmarks destroyed.
    /// 4. If [none is mounted](Self::is_atomic), one transaction group checks that nothing has come
    ///    up meanwhile, destroys the newer snapshots, rolls all datasets back and takes the marks
    ///    off. Otherwise newer snapshots are destroyed in one transaction group, the datasets are
    ///    rolled back one after the other, and the marks are taken off when all of them are at the
    ///    point. A failure stops none of the others.
    ///
    /// `observer` is told before and after each change.
    ///
    /// The capability has to be for [`RollBack`](Gated::RollBack) of all datasets of the plan, and of
    /// the clones that keep their present states. It is asked before each change: one that ends on the
    /// way ends the run as any other failure does.
    ///
    /// A run that dies leaves all datasets as they were, or all at the point, or all marked:
    /// [`UnfinishedRollback::list`](super::UnfinishedRollback::list) finds those, and carrying out a
    /// new plan with the same options finishes the rollback. So does a run after a report that is
    /// not complete. Stop what writes to the datasets before, and start it again when all are at the
    /// point: what is written meanwhile is lost.
    ///
    /// A filesystem that is mounted stays mounted; files that are open may turn stale.
    ///
    /// # Errors
    ///
    /// [`Refused`](RollbackError::Refused), [`Changed`](RollbackError::Changed), [`Obstructed`](RollbackError::Obstructed);
    /// [`Zfs`](RollbackError::Zfs) with the error of the step that failed: no dataset was rolled
    /// back then, and none is marked, unless taking the marks off failed too. Clones that keep
    /// states of a run that failed later stay. If the program of the last step was stopped in the
    /// middle, which takes a pool that is out of memory, all are marked, and the next run finishes
    /// it. Whatever a single dataset fails with is in the report.
    ///
    /// # Privileges
    ///
    /// Root. With delegated permissions `rollback`, `mount`, `destroy`, `release`, `userprop`
    /// a single dataset that is mounted can be rolled back.
    ///
    /// `zfs.sync.rollback` of `zfs-program(8)`; `lzc_rollback_to`, `zfs-rollback(8)`.
    #[doc(alias = "lzc_rollback_to")]
    pub fn carry_out(
        &self,
        capability: &Capability,
        options: &RollbackOptions,
        observer: &mut dyn FnMut(Step<'_, RollbackChange>),
    ) -> Result<RollbackReport, RollbackError> {
        let now = self.again()?;
        let obstacles = now.obstacles(options)?;
        if !obstacles.is_empty() {
            return Err(RollbackError::Obstructed(obstacles));
        }
        let mut newer: Vec<SnapshotName> = now.newer().map(|newer| newer.name.clone()).collect();
        let mut kept = keep::kept_before(&now)?;
        if let (Some(name), false) = (&options.keep, now.is_kept()) {
            let (clones, states) = keep::keep(capability, &now, name, observer)?;
            kept = clones;
            newer.retain(|newer| !states.contains(newer));
            newer.extend(states);
        }
        let rails = now.newer().filter(|newer| newer.guard_rail.is_some());
        let held: Vec<SnapshotName> = rails.map(|newer| newer.name.clone()).collect();
        let bookmarks: Vec<BookmarkName> = now.bookmarks().cloned().collect();
        let begun = now.losses.iter().any(|loss| loss.intent.is_some());
        let atomic = now.is_atomic();
        let alone = held.is_empty() && bookmarks.is_empty() && options.keep.is_none();
        let marked = begun || !(alone && (atomic || (newer.is_empty() && now.losses.len() == 1)));
        let mut run = Run {
            capability,
            plan: &now,
            options,
            newer,
            marked: begun,
            observer,
            report: RollbackReport {
                point: now.point.clone(),
                atomic: false,
                datasets: Vec::new(),
                destroyed: Vec::new(),
                destroyed_bookmarks: Vec::new(),
                kept,
                unmarked: Ok(()),
            },
        };
        if marked {
            run.mark()?;
        }
        match run.go(&held, &bookmarks, atomic) {
            Ok(()) => Ok(run.report),
            Err(error) => {
                // Nothing is rolled back, so that there is nothing to finish, unless an earlier run
                // rolled some of them back, or the program was stopped in the middle.
                if was_stopped(&error) {
                    let _ = run.mark();
                } else if run.marked && !begun {
                    let _ = intent::unmark(&now.zfs, &now.datasets());
                }
                Err(error)
            }
        }
    }

    /// What a capability has to cover to [carry this out](Self::carry_out): the datasets, and the
    /// clones that keep their present states.
    ///
    /// # Errors
    ///
    /// `InvalidName`, `NameTooLong` of a clone that would be kept.
    pub fn scope(&self, options: &RollbackOptions) -> Result<Scope, RollbackError> {
        let mut names: Vec<DatasetName> = self.datasets().into_iter().cloned().collect();
        if let Some(keep) = &options.keep {
            for loss in &self.losses {
                names.push(keep::clone_of(loss, keep)?);
            }
        }
        Ok(Scope::of(&names))
    }

    /// The same plan as of now, if it is the same.
    fn again(&self) -> Result<Self, RollbackError> {
        let now = Self::of(&self.zfs, &self.datasets(), &self.point)?;
        let changed = now
            .losses
            .iter()
            .zip(&self.losses)
            .find(|(now, planned)| !now.destroys_as(planned));
        match changed {
            Some((now, _)) => Err(RollbackError::Changed(now.dataset.to_string())),
            None if now.txg != self.txg => Err(RollbackError::Changed(self.point.clone())),
            None => Ok(now),
        }
    }
}

/// Whether a program was begun, and it is not known how far it came.
fn was_stopped(error: &RollbackError) -> bool {
    let RollbackError::Zfs(error) = error else {
        return false;
    };
    error.operation() == Operation::RunProgram
        && matches!(
            error.kind(),
            ErrorKind::ProgramFailed
                | ErrorKind::InstructionLimit
                | ErrorKind::MemoryLimit
                | ErrorKind::TooBig
                | ErrorKind::Interrupted
                | ErrorKind::Protocol
        )
}

/// A rollback that is under way.
struct Run<'r> {
    capability: &'r Capability,
    plan: &'r RollbackPlan,
    options: &'r RollbackOptions,
    newer: Vec<SnapshotName>,
    marked: bool,
    observer: Observer<'r>,
    report: RollbackReport,
}

impl<'r> Run<'r> {
    fn mark(&mut self) -> Result<(), RollbackError> {
        let before = self.plan.losses.iter().find_map(|loss| loss.intent.clone());
        let intent = before.unwrap_or_else(|| Intent {
            txg: self.plan.txg,
            point: self.plan.point.clone(),
            keep: self.options.keep.clone(),
        });
        let datasets = self.plan.datasets();
        let change = RollbackChange::Mark(self.names());
        let allow = self.allow();
        told(self.observer, &change, || {
            allow(&datasets)?;
            intent.mark(&self.plan.zfs, &datasets)
        })?;
        self.marked = true;
        Ok(())
    }

    fn go(
        &mut self,
        held: &[SnapshotName],
        bookmarks: &[BookmarkName],
        atomic: bool,
    ) -> Result<(), RollbackError> {
        let zfs = &self.plan.zfs;
        let allow = self.allow();
        if !held.is_empty() {
            let change = RollbackChange::Release(held.to_vec());
            let datasets: Vec<DatasetName> = held.iter().map(SnapshotName::dataset).collect();
            told(self.observer, &change, || -> Result<(), RollbackError> {
                allow(&datasets.iter().collect::<Vec<_>>())?;
                Ok(release(zfs, held)?)
            })?;
        }
        if !bookmarks.is_empty() {
            let change = RollbackChange::DestroyBookmarks(bookmarks.to_vec());
            let datasets: Vec<DatasetName> = bookmarks.iter().map(BookmarkName::dataset).collect();
            told(self.observer, &change, || -> Result<(), RollbackError> {
                allow(&datasets.iter().collect::<Vec<_>>())?;
                Ok(zfs.destroy_bookmarks(bookmarks)?)
            })?;
            self.report.destroyed_bookmarks = bookmarks.to_vec();
        }
        if atomic && self.together()? {
            return Ok(());
        }
        if !self.marked && (self.plan.losses.len() > 1 || !self.newer.is_empty()) {
            self.mark()?;
        }
        self.one_by_one()
    }

    /// Whether they could be rolled back in one transaction group.
    fn together(&mut self) -> Result<bool, RollbackError> {
        let change = RollbackChange::RollBackTogether(self.names());
        let (plan, newer, marked) = (self.plan, &self.newer, self.marked);
        let allow = self.allow();
        let outcome = told(self.observer, &change, || {
            allow(&plan.datasets())?;
            together::roll_back(plan, newer, marked)
        })?;
        let failures = match outcome {
            Together::Busy => return Ok(false),
            Together::Refused(name, errno) => {
                let operation = match name.contains('@') {
                    true => Operation::DestroySnapshots,
                    false => Operation::Rollback,
                };
                return Err(Error::in_program(operation, name, errno).into());
            }
            Together::Done => BTreeMap::new(),
            Together::Failed(failures) => failures,
        };
        let destroyed = failures.keys().all(|name| !name.contains('@'));
        if destroyed {
            self.report.destroyed.clone_from(&self.newer);
        }
        if !failures.is_empty() && !self.marked {
            self.mark()?;
        }
        self.report.atomic = true;
        self.report.datasets = plan
            .datasets()
            .into_iter()
            .map(|dataset| DatasetOutcome {
                dataset: dataset.clone(),
                result: failure_of(dataset, &failures, destroyed),
            })
            .collect();
        Ok(true)
    }

    fn one_by_one(&mut self) -> Result<(), RollbackError> {
        let zfs = &self.plan.zfs;
        let allow = self.allow();
        if !self.newer.is_empty() {
            let change = RollbackChange::DestroySnapshots(self.newer.clone());
            let newer = zfs.snapshots(self.newer.iter().map(SnapshotName::as_str))?;
            let datasets: Vec<DatasetName> = self.newer.iter().map(SnapshotName::dataset).collect();
            told(self.observer, &change, || -> Result<(), RollbackError> {
                allow(&datasets.iter().collect::<Vec<_>>())?;
                Ok(zfs.destroy_snapshots(&newer)?)
            })?;
            self.report.destroyed.clone_from(&self.newer);
        }
        for loss in &self.plan.losses {
            let dataset = zfs.dataset(loss.dataset.as_str())?;
            let change = RollbackChange::RollBack(loss.dataset.clone());
            let result = told(self.observer, &change, || {
                allow(&[&loss.dataset])?;
                Ok(dataset.rollback_to(&self.plan.point)?)
            });
            self.report.datasets.push(DatasetOutcome {
                dataset: loss.dataset.clone(),
                result,
            });
        }
        if self.marked && self.report.failed().next().is_none() {
            let change = RollbackChange::Unmark(self.names());
            let datasets = self.plan.datasets();
            self.report.unmarked = told(self.observer, &change, || {
                allow(&datasets)?;
                intent::unmark(zfs, &datasets)
            });
        }
        Ok(())
    }

    /// Asks the capability, of datasets that are about to be changed.
    fn allow(&self) -> impl Fn(&[&DatasetName]) -> Result<(), Refusal> + use<'r> {
        let capability = self.capability;
        move |datasets| capability.allow_all(Gated::RollBack, datasets.iter().copied())
    }

    fn names(&self) -> Vec<DatasetName> {
        self.plan.datasets().into_iter().cloned().collect()
    }
}

fn failure_of(
    dataset: &DatasetName,
    failures: &BTreeMap<String, Errno>,
    destroyed: bool,
) -> crate::Result<()> {
    let failed = match destroyed {
        true => failures.get_key_value(dataset.as_str()),
        // Where a snapshot could not be destroyed, no dataset was rolled back.
        false => failures.first_key_value(),
    };
    match failed {
        Some((name, errno)) => Err(Error::in_program(Operation::Rollback, name, *errno).into()),
        None => Ok(()),
    }
}
