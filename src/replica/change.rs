use std::fmt;

use serde::Serialize;
use zfs_core::{DatasetName, SnapshotName};

use crate::Step;
use crate::gate::{Capability, Operation};

use super::{ReplicaError, SiteRole};

/// A change that an operation of a [`Site`](super::Site) makes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ReplicaChange {
    /// Finishes what a replication left, and destroys what is not verified.
    Settle {
        /// The target.
        target: DatasetName,
    },
    /// Loads a key.
    LoadKey {
        /// The encryption root.
        root: DatasetName,
    },
    /// Writes down what a dataset is from now on.
    Note {
        /// The dataset.
        dataset: DatasetName,
        /// What it is.
        role: SiteRole,
    },
    /// Makes a dataset read-only, and writes down what it is.
    Close {
        /// The dataset.
        dataset: DatasetName,
        /// What it is.
        role: SiteRole,
    },
    /// Makes a dataset the source, which may be written to.
    Open {
        /// The dataset.
        dataset: DatasetName,
    },
    /// Sets how a chain or a source stores what is written.
    Adapt {
        /// The dataset.
        dataset: DatasetName,
    },
    /// Keeps replications away from a target, or lets them come again.
    Bar {
        /// The target.
        target: DatasetName,
        /// Whether they are kept away.
        barred: bool,
    },
    /// Renames a dataset.
    Rename {
        /// Its name.
        from: DatasetName,
        /// Its new name.
        to: DatasetName,
    },
    /// Takes a snapshot.
    Snapshot {
        /// The snapshot.
        snapshot: SnapshotName,
    },
    /// Destroys a snapshot of this module.
    DestroySnapshot {
        /// The snapshot.
        snapshot: SnapshotName,
    },
    /// Destroys snapshots that a retention does not keep.
    Prune {
        /// The dataset.
        dataset: DatasetName,
        /// The snapshots.
        snapshots: Vec<SnapshotName>,
    },
    /// Rolls a dataset back, when nothing was written since.
    RollBack {
        /// To which snapshot.
        snapshot: SnapshotName,
    },
    /// Clones a snapshot.
    Clone {
        /// The snapshot.
        snapshot: SnapshotName,
        /// The clone.
        to: DatasetName,
    },
    /// Promotes a clone.
    Promote {
        /// The clone.
        dataset: DatasetName,
    },
    /// Writes down that a snapshot is the one that the new source has.
    Verified {
        /// The snapshot.
        snapshot: SnapshotName,
    },
}

impl ReplicaChange {
    /// What a capability must cover for it.
    fn objects(&self) -> [Option<DatasetName>; 2] {
        match self {
            Self::Settle { target } | Self::Bar { target, .. } => [Some(target.clone()), None],
            Self::LoadKey { root } => [Some(root.clone()), None],
            Self::Note { dataset, .. }
            | Self::Close { dataset, .. }
            | Self::Open { dataset }
            | Self::Adapt { dataset }
            | Self::Prune { dataset, .. }
            | Self::Promote { dataset } => [Some(dataset.clone()), None],
            Self::Rename { from, to } => [Some(from.clone()), Some(to.clone())],
            Self::Snapshot { snapshot }
            | Self::DestroySnapshot { snapshot }
            | Self::RollBack { snapshot }
            | Self::Verified { snapshot } => [Some(snapshot.dataset()), None],
            Self::Clone { snapshot, to } => [Some(snapshot.dataset()), Some(to.clone())],
        }
    }
}

impl fmt::Display for ReplicaChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settle { target } => write!(f, "settle {target}"),
            Self::LoadKey { root } => write!(f, "load the key of {root}"),
            Self::Note { dataset, role } => write!(f, "note that {dataset} is {role}"),
            Self::Close { dataset, role } => {
                write!(f, "make {dataset} read-only, and note that it is {role}")
            }
            Self::Open { dataset } => write!(f, "open {dataset} for writing"),
            Self::Adapt { dataset } => write!(f, "set the properties of {dataset}"),
            Self::Bar { target, barred } => match barred {
                true => write!(f, "keep replications away from {target}"),
                false => write!(f, "let replications into {target}"),
            },
            Self::Rename { from, to } => write!(f, "rename {from} to {to}"),
            Self::Snapshot { snapshot } => write!(f, "take {snapshot}"),
            Self::DestroySnapshot { snapshot } => write!(f, "destroy {snapshot}"),
            Self::Prune { snapshots, .. } => {
                let names: Vec<&str> = snapshots.iter().map(SnapshotName::as_str).collect();
                write!(f, "destroy {}", names.join(", "))
            }
            Self::RollBack { snapshot } => write!(f, "roll back to {snapshot}"),
            Self::Clone { snapshot, to } => write!(f, "clone {snapshot} as {to}"),
            Self::Promote { dataset } => write!(f, "promote {dataset}"),
            Self::Verified { snapshot } => write!(f, "note that {snapshot} is verified"),
        }
    }
}

/// Makes changes: each is covered by the capability, and its observer hears of it.
pub(super) struct Steps<'s> {
    pub(super) capability: &'s Capability,
    pub(super) operation: Operation,
    pub(super) observe: &'s mut dyn FnMut(Step<'_, ReplicaChange>),
}

impl Steps<'_> {
    pub(super) fn take<T, E: Into<ReplicaError>>(
        &mut self,
        change: ReplicaChange,
        act: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, ReplicaError> {
        for object in change.objects().into_iter().flatten() {
            self.capability.allow(self.operation, &object)?;
        }
        (self.observe)(Step::Starting(&change));
        let outcome = act().map_err(Into::into);
        (self.observe)(match outcome {
            Ok(_) => Step::Done(&change),
            Err(_) => Step::Failed(&change),
        });
        outcome
    }
}
