mod change;
mod find;
mod retention;
mod rollback;

use std::fmt;
use std::time::SystemTime;

use zfs_core::{DatasetName, ErrorKind, Failure, Snapshot, SnapshotName, Zfs};

use crate::gate::{Capability, Operation};
use crate::{Result, Step};
pub use change::Change;
pub use find::RailFilter;
use find::Written;
pub use retention::{
    Keep, KeepOverride, Kept, KeptBecause, RailInfo, Retention, RetentionChange, RetentionOptions,
    RetentionPlan, RetentionReport, Spared,
};
pub use rollback::{
    DatasetOutcome, Loss, NewerSnapshot, Obstacle, RollbackChange, RollbackError, RollbackOptions,
    RollbackPlan, RollbackReport, UnfinishedRollback,
};

/// The user property that marks a guard rail's snapshots. Its value is the guard rail's name.
const GUARD_RAIL: &str = "helix:guard_rail";
/// When it was taken.
const TAKEN: &str = "helix:taken";
/// How many snapshots it had when it was taken.
const MEMBERS: &str = "helix:members";

/// The tag of a guard rail's holds.
const HOLD_TAG: &str = "helix-guard-rail";

/// A change that taking a guard rail makes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TakeChange {
    /// All its snapshots are taken, in one transaction group.
    Snapshot {
        /// The guard rail's name.
        name: String,
        /// How many datasets it is of.
        datasets: usize,
    },
    /// All its snapshots are held that are not held yet.
    Hold {
        /// The guard rail's name.
        name: String,
    },
}

impl fmt::Display for TakeChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snapshot { name, datasets } => write!(f, "take {name} of {datasets} datasets"),
            Self::Hold { name } => write!(f, "hold {name}"),
        }
    }
}

/// Snapshots of many datasets, taken in one transaction before a change and held, and the way back.
///
/// A guard rail is kept nowhere but in ZFS: it is the snapshots of one name and one transaction
/// group that carry its mark, and [`find`](Self::find), [`list`](Self::list) and
/// [`matching`](Self::matching) read it back. All its datasets are of one pool, for no transaction
/// spans two: of datasets in several pools, take one guard rail per pool. Copies that were sent
/// elsewhere belong to no transaction of their source: on the pool that received them, each is a
/// guard rail of its own.
#[derive(Clone, Debug)]
pub struct GuardRail {
    zfs: Zfs,
    name: String,
    txg: u64,
    change: Change,
    taken: SystemTime,
    members: Option<usize>,
    snapshots: Vec<Snapshot>,
}

impl GuardRail {
    /// Takes the guard rail `name`: a snapshot of that name of each of `datasets`, all in one
    /// transaction group or none, with `change` and the time written on them; and holds them, so
    /// that nothing destroys them before [`remove`](Self::remove) does. The hold outlives the
    /// process and the machine's next start.
    ///
    /// Taken again, with the same name, datasets and change, it is the one that is there. So a
    /// process that dies between the snapshots and the hold is made up for by the next one.
    ///
    /// The capability has to be for [`TakeGuardRail`](Operation::TakeGuardRail) of each of the
    /// datasets. It is asked before each of the two changes.
    ///
    /// # Errors
    ///
    /// [`Refused`](crate::Error::Refused); `AlreadyExists` when a snapshot of that name is there that is not this guard rail's;
    /// `CrossPool` for datasets of several pools; otherwise as [`Zfs::create_snapshots`] and
    /// [`hold`](Self::hold); `InvalidProperty` and `TooBig` for a text in `change` that ZFS does not
    /// take. An error of the operations [`Stat`](zfs_core::Operation::Stat) and
    /// [`Hold`](zfs_core::Operation::Hold) comes after the snapshots were taken: take it again.
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permissions `snapshot`, `userprop` and `hold` on each dataset.
    ///
    /// `lzc_snapshot`, `zfs-snapshot(8)`; `lzc_hold`, `zfs-hold(8)`.
    pub fn take<D: AsRef<DatasetName>>(
        capability: &Capability,
        zfs: &Zfs,
        datasets: &[D],
        name: &str,
        change: &Change,
    ) -> Result<Self> {
        Self::take_observed(capability, zfs, datasets, name, change, &mut |_| {})
    }

    /// As [`take`](Self::take), and tells `observer` of its two changes.
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take).
    ///
    /// # Privileges
    ///
    /// As [`take`](Self::take).
    pub fn take_observed<D: AsRef<DatasetName>>(
        capability: &Capability,
        zfs: &Zfs,
        datasets: &[D],
        name: &str,
        change: &Change,
        observer: &mut dyn FnMut(Step<'_, TakeChange>),
    ) -> Result<Self> {
        let snapshots = datasets
            .iter()
            .map(|dataset| zfs.snapshot(dataset.as_ref().snapshot(name)?.as_str()))
            .collect::<zfs_core::Result<Vec<_>>>()?;
        let allow = || {
            let objects = datasets.iter().map(AsRef::as_ref);
            capability.allow_all(Operation::TakeGuardRail, objects)
        };
        let now = SystemTime::now();
        let props = change
            .to_props()?
            .set(GUARD_RAIL, name)?
            .set(TAKEN, &humantime::format_rfc3339_millis(now).to_string())?
            .set(MEMBERS, &snapshots.len().to_string())?;
        let take = TakeChange::Snapshot {
            name: name.to_owned(),
            datasets: snapshots.len(),
        };
        let there = told(observer, &take, || -> Result<_> {
            allow()?;
            let error = match zfs.create_snapshots(&snapshots, &props) {
                Ok(()) => return Ok(None),
                Err(error) => error,
            };
            match error.kind() {
                ErrorKind::AlreadyExists => {
                    match Self::taken_before(zfs, &snapshots, name, change)? {
                        Some(there) => Ok(Some(there)),
                        None => Err(error.into()),
                    }
                }
                _ => Err(error.into()),
            }
        })?;
        let hold = TakeChange::Hold {
            name: name.to_owned(),
        };
        told(observer, &hold, || -> Result<()> {
            allow()?;
            Ok(hold_where_not_held(zfs, &snapshots)?)
        })?;
        if let Some(there) = there {
            return Ok(there);
        }
        // The kernel takes no empty batch, so there is a first one.
        let txg = match snapshots.first() {
            Some(snapshot) => snapshot.stat()?.create_txg,
            None => 0,
        };
        let written = Written {
            change: change.clone(),
            taken: now,
            members: Some(snapshots.len()),
        };
        Ok(Self::new(zfs, name.to_owned(), txg, written, snapshots))
    }

    fn new(zfs: &Zfs, name: String, txg: u64, written: Written, snapshots: Vec<Snapshot>) -> Self {
        Self {
            zfs: zfs.clone(),
            name,
            txg,
            change: written.change,
            taken: written.taken,
            members: written.members,
            snapshots,
        }
    }

    /// The guard rail that these snapshots are, if they are one and were taken before this change.
    fn taken_before(
        zfs: &Zfs,
        snapshots: &[Snapshot],
        name: &str,
        change: &Change,
    ) -> zfs_core::Result<Option<Self>> {
        let mut rail: Option<Self> = None;
        for snapshot in snapshots {
            let props = match snapshot.properties() {
                Ok(props) => props,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            let txg = props.create_txg();
            let written = match Written::read(name, &props) {
                Some(written)
                    if written.change == *change && written.members == Some(snapshots.len()) =>
                {
                    written
                }
                _ => return Ok(None),
            };
            if rail.as_ref().is_some_and(|rail| rail.txg != txg) {
                return Ok(None);
            }
            rail.get_or_insert_with(|| {
                Self::new(zfs, name.to_owned(), txg, written, snapshots.to_vec())
            });
        }
        Ok(rail)
    }

    /// Its name, which is that of its snapshots.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The transaction group that all its snapshots were taken in.
    #[must_use]
    pub fn txg(&self) -> u64 {
        self.txg
    }

    /// The change that it was taken before.
    #[must_use]
    pub fn change(&self) -> &Change {
        &self.change
    }

    /// When it was taken, to the millisecond, by the clock of the machine that took it.
    #[must_use]
    pub fn taken(&self) -> SystemTime {
        self.taken
    }

    /// Its snapshots.
    #[must_use]
    pub fn snapshots(&self) -> &[Snapshot] {
        &self.snapshots
    }

    /// Whether all snapshots that it was taken with are here. Some are not when they were destroyed
    /// or renamed, or when it was looked for below a dataset that does not have all of them.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.members.is_none_or(|n| n == self.snapshots.len())
    }

    /// Holds its snapshots again, where they are not held any more. [`take`](Self::take) does it.
    ///
    /// The capability has to be for [`TakeGuardRail`](Operation::TakeGuardRail) of each dataset.
    ///
    /// # Errors
    ///
    /// [`Refused`](crate::Error::Refused); `NotFound` and `Partial` when snapshots are gone; otherwise as [`Zfs::hold`] and
    /// [`Outcome::complete`](zfs_core::Outcome::complete).
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permission `hold` on each dataset.
    pub fn hold(&self, capability: &Capability) -> Result<()> {
        capability.allow_all(Operation::TakeGuardRail, &self.datasets())?;
        Ok(hold_where_not_held(&self.zfs, &self.snapshots)?)
    }

    fn datasets(&self) -> Vec<DatasetName> {
        let names = self.snapshots.iter().map(Snapshot::name);
        names.map(SnapshotName::dataset).collect()
    }

    /// What rolling every dataset of it back to it would lose. See [`RollbackPlan`].
    ///
    /// # Errors
    ///
    /// As [`RollbackPlan::of`].
    pub fn rollback_plan(&self) -> Result<RollbackPlan, RollbackError> {
        RollbackPlan::of(&self.zfs, &self.datasets(), &self.name)
    }

    /// Releases the guard rail's own hold, if it has one, and destroys its snapshots, all in one
    /// transaction group or none. Those that are gone already count as destroyed.
    ///
    /// When they cannot be destroyed they are held again. A process that dies in between leaves them
    /// without a hold: [`hold`](Self::hold) and the next [retention](Retention) put it back.
    ///
    /// The capability has to be for [`RemoveGuardRail`](Operation::RemoveGuardRail) of each dataset. It
    /// is asked before each of the two changes; holding them again is none of its own.
    ///
    /// # Errors
    ///
    /// [`Refused`](crate::Error::Refused); `Held` when somebody else holds one, and otherwise as [`Zfs::destroy_snapshots`]; as
    /// [`Zfs::release`].
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permissions `release`, `destroy` and `mount` on each dataset.
    pub fn remove(&self, capability: &Capability) -> Result<()> {
        let datasets = self.datasets();
        let allow = || capability.allow_all(Operation::RemoveGuardRail, &datasets);
        allow()?;
        release(&self.zfs, &self.snapshots)?;
        let destroyed = match allow() {
            Ok(()) => self
                .zfs
                .destroy_snapshots(&self.snapshots)
                .map_err(Into::into),
            Err(refusal) => Err(refusal.into()),
        };
        if destroyed.is_err() {
            for snapshot in &self.snapshots {
                // The caller has to know why they stay. One that is gone cannot be held.
                let _ = hold_where_not_held(&self.zfs, std::slice::from_ref(snapshot));
            }
        }
        destroyed
    }
}

/// Makes one change, and tells the observer before and after.
fn told<C, T, E>(
    observer: &mut dyn FnMut(Step<'_, C>),
    change: &C,
    make: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    observer(Step::Starting(change));
    let made = make();
    observer(match made {
        Ok(_) => Step::Done(change),
        Err(_) => Step::Failed(change),
    });
    made
}

/// The kernel refuses the whole batch when one is held already.
fn hold_where_not_held(zfs: &Zfs, snapshots: &[Snapshot]) -> zfs_core::Result<()> {
    let mut wanted = Vec::new();
    for snapshot in snapshots {
        let ours = |hold: &zfs_core::Hold| hold.tag.as_bytes() == HOLD_TAG.as_bytes();
        if !snapshot.holds()?.iter().any(ours) {
            wanted.push(snapshot);
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    zfs.hold(&wanted, HOLD_TAG)?.complete()
}

/// Releases our holds. Those that are not there count as released.
fn release<S: AsRef<SnapshotName>>(zfs: &Zfs, snapshots: &[S]) -> zfs_core::Result<()> {
    let not_held = |failures: &[Failure]| failures.iter().all(|f| f.kind == ErrorKind::NotFound);
    match zfs.release(snapshots, HOLD_TAG) {
        Ok(outcome) if not_held(outcome.failures()) => Ok(()),
        Ok(outcome) => outcome.complete(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
