use std::fmt;
use std::time::SystemTime;

use serde::Serialize;
use zfs_core::{Dataset, DatasetName, Result, Zfs};

use super::{EphemeralClone, EphemeralError, NotEphemeral};
use crate::Step;
use crate::gate::{Capability, Operation};

/// Removes the ephemeral clones of an area that have expired: those of processes that died, and of
/// others that did not remove them in time.
///
/// It removes nothing that is not an expired clone of this module: what it goes by is the clone's own
/// mark, which names the snapshot that it is a clone of. What is in use, or has snapshots or
/// datasets of its own, stays and is reported.
///
/// ```no_run
/// use helix_zfs::ephemeral::Reaper;
/// use helix_zfs::zfs_core::Zfs;
///
/// # fn reap(capability: &helix_zfs::gate::Capability) -> Result<(), Box<dyn std::error::Error>> {
/// let area = Zfs::open()?.dataset("tank/ephemeral")?;
/// let plan = Reaper::new(&area).plan()?;
/// for reaped in plan.carry_out(capability, &mut |step| println!("{step}")) {
///     if let Err(error) = reaped.result {
///         println!("{error}");
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Reaper {
    area: Dataset,
}

/// The removal of an expired clone, as an observer is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reap {
    /// It is unmounted where it was mounted for everybody to see.
    Unmount(DatasetName),
    /// It is destroyed.
    Destroy(DatasetName),
}

impl fmt::Display for Reap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unmount(name) => write!(f, "unmount {name}"),
            Self::Destroy(name) => write!(f, "destroy {name}"),
        }
    }
}

/// A dataset in the area that is left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Ignored {
    /// The dataset.
    #[serde(serialize_with = "super::found::text")]
    pub dataset: DatasetName,
    /// Why it is no ephemeral clone.
    pub reason: NotEphemeral,
}

/// What a [`Reaper`] would do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReapPlan {
    zfs: Zfs,
    /// The clones that have expired, those first that did so first.
    pub expired: Vec<EphemeralClone>,
    /// The clones that have not, those first that will first.
    pub later: Vec<EphemeralClone>,
    /// What else is in the area.
    pub ignored: Vec<Ignored>,
}

/// What became of an expired clone.
#[derive(Debug)]
#[non_exhaustive]
pub struct Reaped {
    /// The clone.
    pub clone: EphemeralClone,
    /// Whether it is gone, or why it stays.
    pub result: std::result::Result<(), EphemeralError>,
}

impl Reaper {
    /// A reaper of the clones immediately below `area`.
    #[must_use]
    pub fn new(area: &Dataset) -> Self {
        Self { area: area.clone() }
    }

    /// Looks at the area and at the clock. Nothing is changed.
    ///
    /// # Errors
    ///
    /// `NotFound` when the area does not exist; `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// None.
    pub fn plan(&self) -> Result<ReapPlan> {
        self.plan_at(SystemTime::now())
    }

    /// As [`plan`](Self::plan), as if it were `now`.
    ///
    /// # Errors
    ///
    /// As [`plan`](Self::plan).
    pub fn plan_at(&self, now: SystemTime) -> Result<ReapPlan> {
        let zfs = self.area.zfs();
        let (mut clones, mut ignored) = (Vec::new(), Vec::new());
        for (entry, properties) in self.area.children_with_properties()? {
            match EphemeralClone::read(zfs, &entry, &properties)? {
                Ok(clone) => clones.push(clone),
                Err(reason) => ignored.push(Ignored {
                    dataset: entry.name,
                    reason,
                }),
            }
        }
        clones.sort_by(|a, b| (a.expires, &a.dataset).cmp(&(b.expires, &b.dataset)));
        let (expired, later) = clones.into_iter().partition(|clone| clone.is_expired(now));
        Ok(ReapPlan {
            zfs: zfs.clone(),
            expired,
            later,
            ignored,
        })
    }
}

impl ReapPlan {
    /// When there will be something to reap, unless there is already.
    #[must_use]
    pub fn next_expiry(&self) -> Option<SystemTime> {
        self.later.first().map(|clone| clone.expires)
    }

    /// Removes the clones that have expired, one after the other, and tells what became of each.
    ///
    /// A clone is gone or as it was: one that is mounted where it was mounted when it was made is
    /// unmounted first, and the next run finds it if this one does not come to destroy it. What
    /// changed since the plan was made is left alone: a clone that was given more time
    /// ([`Changed`](EphemeralError::Changed)), another dataset of its name, one that is in use
    /// ([`InUse`](EphemeralError::InUse)).
    ///
    /// The capability has to be for [`Reap`](Operation::Reap) of the clones. It is asked before each
    /// change.
    ///
    /// The errors are those of [`EphemeralClone::remove`].
    ///
    /// # Privileges
    ///
    /// Root.
    #[must_use = "some clones may be there still"]
    pub fn carry_out(
        &self,
        capability: &Capability,
        observe: &mut dyn FnMut(Step<'_, Reap>),
    ) -> Vec<Reaped> {
        self.expired
            .iter()
            .map(|clone| Reaped {
                clone: clone.clone(),
                result: self.reap(capability, clone, observe),
            })
            .collect()
    }

    fn reap(
        &self,
        capability: &Capability,
        clone: &EphemeralClone,
        observe: &mut dyn FnMut(Step<'_, Reap>),
    ) -> std::result::Result<(), EphemeralError> {
        let mut step = |change: Reap, action: &dyn Fn() -> _| {
            observe(Step::Starting(&change));
            let allowed = capability.allow(Operation::Reap, &clone.dataset);
            let result = allowed
                .map_err(EphemeralError::from)
                .and_then(|()| action());
            observe(match result {
                Ok(()) => Step::Done(&change),
                Err(_) => Step::Failed(&change),
            });
            result
        };
        if clone.is_mounted(&self.zfs)? {
            step(Reap::Unmount(clone.dataset.clone()), &|| {
                clone.unmount(&self.zfs)
            })?;
        }
        step(Reap::Destroy(clone.dataset.clone()), &|| {
            clone.destroy(&self.zfs)
        })
    }
}
