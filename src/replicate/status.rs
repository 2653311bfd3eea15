//! How a target is, for whoever wants to know without a run.

use zfs_core::{DatasetName, Zfs};

use super::error::ReplicateError;
use super::target::Target;

/// A snapshot that a target has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplicaSnapshot {
    /// Its short name.
    pub name: String,
    /// Its GUID, which is that of the source's snapshot.
    pub guid: u64,
    /// Whether it was verified, so that readers may see it.
    pub verified: bool,
}

/// A target of replication, as it is at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplicaStatus {
    /// The target.
    pub target: DatasetName,
    /// What readers see, if there is anything yet: the dataset, and the GUID of the snapshot that it
    /// is a clone of.
    pub current: Option<(DatasetName, u64)>,
    /// Its snapshots, oldest first.
    pub snapshots: Vec<ReplicaSnapshot>,
    /// Whether a receive was cut, or is under way. The next run goes on from there.
    pub partial: bool,
    /// Whether a run is at work.
    pub running: bool,
    /// How many datasets that readers saw before wait until nobody uses them any more.
    pub retired: usize,
}

impl ReplicaStatus {
    /// The short name of the snapshot that readers see, if there is anything yet.
    #[must_use]
    pub fn readers_see(&self) -> Option<&str> {
        let (_, guid) = self.current.as_ref()?;
        let snapshot = self.snapshots.iter().find(|one| one.guid == *guid)?;
        Some(&snapshot.name)
    }

    /// Looks at the target `name`, and changes nothing. `None` when it is no target.
    ///
    /// # Errors
    ///
    /// [`Problem::Zfs`](super::Problem::Zfs) when it does not exist;
    /// [`Problem::TargetModified`](super::Problem::TargetModified) when a run changed it meanwhile,
    /// or somebody else did.
    ///
    /// # Privileges
    ///
    /// None.
    pub fn of(zfs: &Zfs, name: &DatasetName) -> Result<Option<Self>, ReplicateError> {
        let Some(target) = Target::look(zfs, name)? else {
            return Ok(None);
        };
        let running = target.is_locked()?;
        let observed = target.observe()?;
        let current = observed
            .current
            .map(|guid| (target.current().clone(), guid));
        let (snapshots, partial) = match observed.chain {
            None => (Vec::new(), false),
            Some(chain) => {
                let snapshots = chain.snapshots.into_iter().map(|kept| ReplicaSnapshot {
                    name: kept.short,
                    guid: kept.guid,
                    verified: kept.verified,
                });
                (snapshots.collect(), chain.token.is_some())
            }
        };
        Ok(Some(Self {
            target: name.clone(),
            current,
            snapshots,
            partial,
            running,
            retired: observed.retired.len(),
        }))
    }
}
