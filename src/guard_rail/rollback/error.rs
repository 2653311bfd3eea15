use std::fmt;

use serde::Serialize;
use zfs_core::{BookmarkName, DatasetName, SnapshotName};

use crate::gate::Refusal;

/// What stands in the way of a rollback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "obstacle", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Obstacle {
    /// A newer snapshot that the [options](super::RollbackOptions) do not let go.
    NewerSnapshot {
        /// The snapshot.
        snapshot: SnapshotName,
    },
    /// A newer bookmark that the options do not let go.
    NewerBookmark {
        /// The bookmark.
        bookmark: BookmarkName,
    },
    /// A newer guard rail that the options do not name.
    GuardRail {
        /// Its name.
        name: String,
        /// Its snapshots of the datasets of the set.
        snapshots: Vec<SnapshotName>,
    },
    /// A newer snapshot that somebody else holds.
    Held {
        /// The snapshot.
        snapshot: SnapshotName,
        /// The tags of the holds.
        tags: Vec<String>,
    },
    /// A newer snapshot that has clones.
    Cloned {
        /// The snapshot.
        snapshot: SnapshotName,
        /// The clones.
        clones: Vec<DatasetName>,
    },
    /// What the discarded state would be kept as is there already.
    NameTaken {
        /// The name of the dataset or snapshot.
        name: String,
    },
    /// A rollback of the dataset to another point is not finished.
    Unfinished {
        /// The dataset.
        dataset: DatasetName,
        /// The short name of the snapshot that it is being rolled back to.
        point: String,
    },
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewerSnapshot { snapshot } => write!(f, "{snapshot} is newer"),
            Self::NewerBookmark { bookmark } => write!(f, "{bookmark} is newer"),
            Self::GuardRail { name, snapshots } => write!(
                f,
                "the guard rail {name} is newer, of {} of the datasets",
                snapshots.len()
            ),
            Self::Held { snapshot, tags } => {
                write!(f, "{snapshot} is newer and held by {}", tags.join(", "))
            }
            Self::Cloned { snapshot, clones } => {
                let clones: Vec<&str> = clones.iter().map(DatasetName::as_str).collect();
                write!(f, "{snapshot} is newer and cloned as {}", clones.join(", "))
            }
            Self::NameTaken { name } => write!(f, "{name} exists already"),
            Self::Unfinished { dataset, point } => {
                write!(f, "a rollback of {dataset} to {point} is not finished")
            }
        }
    }
}

/// Why a rollback could not be planned, or was not begun: no dataset was rolled back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RollbackError {
    /// The capability does not cover it. The kernel was not called for it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No dataset was named.
    #[error("no dataset to roll back")]
    Empty,
    /// A dataset was named twice.
    #[error("{0} is named twice")]
    Repeated(DatasetName),
    /// The datasets are not of one pool.
    #[error("{0} and {1} are in different pools")]
    SeveralPools(DatasetName, DatasetName),
    /// Datasets without a snapshot of that name.
    #[error("no {}", join(.0))]
    NoSuchPoint(Vec<SnapshotName>),
    /// The snapshots were not taken in one transaction group.
    #[error("{0} and {1} are not of one moment")]
    SeveralMoments(SnapshotName, SnapshotName),
    /// What stands in the way, all of it. Nothing was changed.
    #[error("{}", join(.0))]
    Obstructed(Vec<Obstacle>),
    /// Something is not as it was when the rollback was planned. Nothing was destroyed or rolled
    /// back.
    #[error("{0} is not as it was when the rollback was planned")]
    Changed(String),
    /// ZFS failed.
    #[error(transparent)]
    Zfs(#[from] zfs_core::Error),
}

impl From<zfs_core::name::NameError> for RollbackError {
    fn from(error: zfs_core::name::NameError) -> Self {
        Self::Zfs(error.into())
    }
}

fn join(items: &[impl fmt::Display]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join("; ")
}
