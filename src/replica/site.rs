use zfs_core::props::{PropertySet, ReadOnly, UserProps};
use zfs_core::{Dataset, DatasetName, ErrorKind, Snapshot, SnapshotEntry, SnapshotFilter, Zfs};

use crate::Step;
use crate::gate::{Capability, Operation};
use crate::replicate::target::Target;

use super::change::Steps;
use super::fence::SnapshotMark;
use super::role::{BASE, EPOCH, ROLE, own};
use super::{ReplicaChange, ReplicaError, Role, SiteRole, Standing};

/// What the names of datasets begin with that were kept of a former source.
pub(super) const KEPT: &str = "diverged-";

/// One copy of a group's data, on one pool: the place where it is written to while this is the
/// source, and the target of replication while it is not.
///
/// Both are one dataset, which is renamed: the chain of the target becomes the data, and goes back.
/// What it is at a moment is its [`SiteState`].
#[derive(Clone, Debug)]
pub struct Site {
    pub(super) zfs: Zfs,
    pub(super) data: Dataset,
    pub(super) target: Dataset,
    pub(super) chain: Dataset,
}

/// What a [`Site`] is at a moment.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct SiteState {
    /// What the data is.
    pub role: SiteRole,
    /// The dataset that has it; that of a source when there is none.
    pub dataset: DatasetName,
    /// The newest epoch that it has seen; 0 when it was never part of a group.
    pub epoch: u64,
    /// The GUID of the snapshot that it was promoted at, or is being rebuilt from.
    pub base: Option<u64>,
    /// Whether it is read-only.
    pub read_only: bool,
}

impl SiteState {
    /// What the state machine knows of it; `None` for data that has no part in a group. What is not
    /// there yet is a replica, and an undo that is not done is the promotion that it takes back.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        let role = match self.role {
            SiteRole::Unmarked | SiteRole::Diverged => return None,
            SiteRole::Absent | SiteRole::Replica => Role::Replica,
            SiteRole::Promoting => Role::Promoting,
            SiteRole::Promoted | SiteRole::Undoing => Role::Promoted,
            SiteRole::Source => Role::Source,
            SiteRole::Fenced => Role::Fenced,
            SiteRole::Rebuilding => Role::Rebuilding,
        };
        Some(Standing {
            role,
            epoch: self.epoch,
        })
    }

    pub(super) fn not_after(&self, epoch: u64) -> Result<(), ReplicaError> {
        match self.epoch > epoch {
            true => Err(ReplicaError::Superseded {
                dataset: self.dataset.clone(),
                seen: self.epoch,
                epoch,
            }),
            false => Ok(()),
        }
    }

    pub(super) fn cannot(&self, wanted: &'static str) -> ReplicaError {
        ReplicaError::Role {
            dataset: self.dataset.clone(),
            role: self.role,
            wanted,
        }
    }
}

impl Site {
    /// The site that has its data at `data` while it is the source, and is replicated to `target`
    /// while it is not. They are of the same pool. If `data` is the dataset `chain` below the target,
    /// it stays where it is.
    ///
    /// # Errors
    ///
    /// `InvalidName` when `target` leaves no room for names below it.
    pub fn new(zfs: &Zfs, data: &DatasetName, target: &DatasetName) -> zfs_core::Result<Self> {
        let target = zfs.dataset(target.as_str())?;
        Ok(Self {
            zfs: zfs.clone(),
            data: zfs.dataset(data.as_str())?,
            chain: target.child("chain")?,
            target,
        })
    }

    /// Where it is written to while this is the source.
    #[must_use]
    pub fn data(&self) -> &DatasetName {
        self.data.name()
    }

    /// The target of replication.
    #[must_use]
    pub fn target(&self) -> &DatasetName {
        self.target.name()
    }

    /// What it is. Changes nothing.
    ///
    /// # Errors
    ///
    /// [`Ambiguous`](ReplicaError::Ambiguous) when two datasets claim to be it;
    /// [`Foreign`](ReplicaError::Foreign) when a property has a value that is not ours.
    ///
    /// # Privileges
    ///
    /// None.
    pub fn state(&self) -> Result<SiteState, ReplicaError> {
        let data = match self.is_renamed() {
            true => look(&self.data, SiteRole::Unmarked)?,
            false => None,
        };
        let chain = look(&self.chain, SiteRole::Replica)?;
        match (data, chain) {
            (Some(data), Some(chain)) => match data.role {
                // Somebody else's dataset has the name: there is no promotion before it is gone.
                SiteRole::Unmarked => Ok(chain),
                _ => Err(ReplicaError::Ambiguous {
                    data: data.dataset,
                    chain: chain.dataset,
                }),
            },
            (Some(one), None) | (None, Some(one)) => Ok(one),
            (None, None) => Ok(self.unfinished()?.unwrap_or_else(|| SiteState {
                role: SiteRole::Absent,
                dataset: self.data().clone(),
                epoch: 0,
                base: None,
                read_only: false,
            })),
        }
    }

    /// What was kept of the data when a rebuild put it aside: the datasets, whose snapshots are all
    /// there. Nobody but an operator destroys them.
    ///
    /// # Errors
    ///
    /// `PoolSuspended`, `PermissionDenied`.
    pub fn diverged(&self) -> Result<Vec<DatasetName>, ReplicaError> {
        Ok(self.kept()?.into_iter().map(|kept| kept.dataset).collect())
    }

    /// What a rebuild that is not done has put aside.
    pub(super) fn unfinished(&self) -> Result<Option<SiteState>, ReplicaError> {
        let kept = self.kept()?;
        Ok(kept
            .into_iter()
            .find(|kept| kept.role == SiteRole::Rebuilding))
    }

    fn kept(&self) -> Result<Vec<SiteState>, ReplicaError> {
        let children = match self.target.children() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            children => children?,
        };
        let mut kept = Vec::new();
        for child in children {
            if child.name.base().starts_with(KEPT) {
                kept.extend(look(
                    &self.zfs.dataset(child.name.as_str())?,
                    SiteRole::Unmarked,
                )?);
            }
        }
        Ok(kept)
    }

    /// Whether data and chain have names of their own.
    pub(super) fn is_renamed(&self) -> bool {
        self.data.name() != self.chain.name()
    }

    /// Makes the data the source of its group in `epoch`, writable. A former source becomes one again
    /// in this way, when its lease is its own again, or a promotion was taken back. What was promoted
    /// in that epoch stays promoted.
    ///
    /// Whoever calls this holds the fence of the group in that epoch.
    ///
    /// # Errors
    ///
    /// [`Superseded`](ReplicaError::Superseded); [`Role`](ReplicaError::Role) when it is neither a
    /// source, nor fenced, nor unmarked.
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permissions `readonly` and `userprop`.
    pub fn open(
        &self,
        capability: &Capability,
        epoch: u64,
        observe: &mut dyn FnMut(Step<'_, ReplicaChange>),
    ) -> Result<(), ReplicaError> {
        let state = self.state()?;
        state.not_after(epoch)?;
        match state.role {
            SiteRole::Source | SiteRole::Promoted if state.epoch == epoch && !state.read_only => {
                return Ok(());
            }
            SiteRole::Source | SiteRole::Promoted | SiteRole::Fenced | SiteRole::Unmarked => {}
            _ => return Err(state.cannot("opened as the source")),
        }
        let mut steps = Steps {
            capability,
            operation: Operation::PromoteReplica,
            observe,
        };
        let role = match state.role {
            SiteRole::Promoted if state.epoch == epoch => SiteRole::Promoted,
            _ => SiteRole::Source,
        };
        self.open_for_writing(&mut steps, &state.dataset, role, epoch)
    }

    /// Makes a source read-only to us: nothing is written to it through this machine's ZFS until it
    /// is [opened](Self::open) again or [rebuilt](Self::rebuild). What it is, and that it is
    /// read-only, is one change. What is mounted stays mounted.
    ///
    /// A fence is what a source does to itself when its lease ends, and the first thing that is done
    /// with a source that returns.
    ///
    /// # Errors
    ///
    /// [`Role`](ReplicaError::Role) when it is neither a source, nor fenced, nor unmarked. Of those,
    /// none but a source can be written to.
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permissions `readonly` and `userprop`.
    pub fn fence(
        &self,
        capability: &Capability,
        observe: &mut dyn FnMut(Step<'_, ReplicaChange>),
    ) -> Result<(), ReplicaError> {
        let state = self.state()?;
        match state.role {
            SiteRole::Fenced if state.read_only => return Ok(()),
            SiteRole::Source | SiteRole::Promoted | SiteRole::Fenced | SiteRole::Unmarked => {}
            _ => return Err(state.cannot("fenced")),
        }
        let mut steps = Steps {
            capability,
            operation: Operation::RebuildReplica,
            observe,
        };
        self.close(
            &mut steps,
            &state.dataset,
            SiteRole::Fenced,
            UserProps::new(),
        )
    }

    /// Takes a snapshot of a source when there is something in it that no snapshot has; that is the
    /// snapshot. `None` when there is not.
    ///
    /// # Errors
    ///
    /// [`Role`](ReplicaError::Role) when it is no source; `AlreadyExists` and others of
    /// [`Snapshot::create`].
    pub fn snapshot_if_changed(
        &self,
        capability: &Capability,
        short: &str,
    ) -> Result<Option<SnapshotMark>, ReplicaError> {
        let state = self.state()?;
        if !matches!(state.role, SiteRole::Source | SiteRole::Promoted) {
            return Err(state.cannot("snapshotted as the source"));
        }
        let dataset = self.zfs.dataset(state.dataset.as_str())?;
        if let Some(newest) = newest(&dataset)? {
            if dataset.written_since(&newest.name)?.used == 0 {
                return Ok(None);
            }
        }
        capability.allow(Operation::Snapshot, dataset.name())?;
        let snapshot = dataset.snapshot(short)?;
        snapshot.create(&UserProps::new())?;
        Ok(Some(SnapshotMark {
            guid: snapshot.stat()?.guid,
            name: short.to_owned(),
        }))
    }

    pub(super) fn close(
        &self,
        steps: &mut Steps<'_>,
        dataset: &DatasetName,
        role: SiteRole,
        more: UserProps,
    ) -> Result<(), ReplicaError> {
        let change = ReplicaChange::Close {
            dataset: dataset.clone(),
            role,
        };
        steps.take(change, || {
            let mut props = PropertySet::new()
                .set(ReadOnly(true))
                .user(ROLE, role.name())?;
            for (name, value) in more.iter() {
                props = props.user(name, value)?;
            }
            self.zfs.dataset(dataset.as_str())?.set_all(&props)
        })
    }

    pub(super) fn open_for_writing(
        &self,
        steps: &mut Steps<'_>,
        dataset: &DatasetName,
        role: SiteRole,
        epoch: u64,
    ) -> Result<(), ReplicaError> {
        let change = ReplicaChange::Open {
            dataset: dataset.clone(),
        };
        steps.take(change, || {
            let props = PropertySet::new()
                .set(ReadOnly(false))
                .user(ROLE, role.name())?
                .user(EPOCH, &epoch.to_string())?;
            self.zfs.dataset(dataset.as_str())?.set_all(&props)
        })
    }

    /// Renames the data between its two places.
    pub(super) fn rename(
        &self,
        steps: &mut Steps<'_>,
        from: &Dataset,
        to: &DatasetName,
    ) -> Result<(), ReplicaError> {
        if from.name() == to {
            return Ok(());
        }
        let change = ReplicaChange::Rename {
            from: from.name().clone(),
            to: to.clone(),
        };
        steps.take(change, || from.rename(to).map(drop))
    }

    /// Keeps replications away from the target, or lets them come again.
    pub(super) fn bar(&self, steps: &mut Steps<'_>, barred: bool) -> Result<(), ReplicaError> {
        let change = ReplicaChange::Bar {
            target: self.target().clone(),
            barred,
        };
        steps.take(change, || match barred {
            true => Target::bar(&self.target, self.data()),
            false => Target::unbar(&self.target),
        })
    }
}

/// What a dataset says that it is, `otherwise` if it says nothing. `None` when it does not exist.
fn look(dataset: &Dataset, otherwise: SiteRole) -> Result<Option<SiteState>, ReplicaError> {
    let props = match dataset.properties() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        props => props?,
    };
    let number = |property: &'static str| {
        let value = own(&props, property);
        value
            .map(|value| {
                value
                    .parse::<u64>()
                    .map_err(|_| foreign(dataset, property, value))
            })
            .transpose()
    };
    let role = match own(&props, ROLE) {
        None => otherwise,
        Some(name) => name.parse().map_err(|()| foreign(dataset, ROLE, name))?,
    };
    Ok(Some(SiteState {
        role,
        dataset: dataset.name().clone(),
        epoch: number(EPOCH)?.unwrap_or(0),
        base: number(BASE)?.filter(|_| role != SiteRole::Replica),
        read_only: props.read_only(),
    }))
}

fn foreign(dataset: &Dataset, property: &'static str, value: &str) -> ReplicaError {
    ReplicaError::Foreign {
        dataset: dataset.name().clone(),
        property,
        value: value.to_owned(),
    }
}

/// The newest snapshot of a dataset.
pub(super) fn newest(dataset: &Dataset) -> zfs_core::Result<Option<SnapshotEntry>> {
    let snapshots = dataset.snapshots(&SnapshotFilter::new())?;
    Ok(snapshots.into_iter().max_by_key(|entry| entry.create_txg))
}

/// The snapshot of a dataset with this GUID.
pub(super) fn by_guid(dataset: &Dataset, guid: u64) -> zfs_core::Result<Option<Snapshot>> {
    let snapshots = dataset.snapshots(&SnapshotFilter::new())?;
    let found = snapshots.into_iter().find(|entry| entry.guid == guid);
    found
        .map(|entry| dataset.snapshot(entry.name.short()))
        .transpose()
}
