use std::fmt;

use serde::Serialize;
use zfs_core::name::{NameError, NameRule};
use zfs_core::{DatasetName, SnapshotName};

use crate::RollbackError;
use crate::gate::Refusal;

/// How a name would leave a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Escape {
    /// It starts with a `/`, as if it began at the top.
    Absolute,
    /// A component is `.` or `..`.
    Relative,
    /// It has an `@` or a `#`, and names a snapshot or a bookmark.
    NoDataset,
    /// A component has a `%`: ZFS keeps such datasets for itself.
    Hidden,
    /// It is the full name of something that is neither the tenant's filesystem nor below it.
    Elsewhere,
    /// It is no name that ZFS allows, for another reason: one that is too long, for example.
    Invalid,
}

impl Escape {
    pub(super) fn of(error: &NameError) -> Self {
        match error.rule() {
            NameRule::Relative => Self::Relative,
            _ => Self::Invalid,
        }
    }
}

impl fmt::Display for Escape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Absolute => "it begins with a '/'",
            Self::Relative => "a component is '.' or '..'",
            Self::NoDataset => "it names a snapshot or a bookmark",
            Self::Hidden => "ZFS keeps names with a '%' for itself",
            Self::Elsewhere => "it lies elsewhere",
            Self::Invalid => "ZFS does not allow such a name",
        })
    }
}

/// Which limit of a tenant would be passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CountLimit {
    /// `filesystem_limit`: filesystems and volumes below.
    Filesystems,
    /// `snapshot_limit`: snapshots, of it and of all below.
    Snapshots,
}

impl fmt::Display for CountLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Filesystems => "filesystem_limit",
            Self::Snapshots => "snapshot_limit",
        })
    }
}

/// Why an operation on a tenant was not done.
///
/// Every variant but [`Rollback`](Self::Rollback) and [`Zfs`](Self::Zfs) is a refusal: nothing was
/// changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScopeError {
    /// The capability does not cover it. The kernel was not called for it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A name leaves the tenant.
    #[error("{name:?} is not within the tenant {tenant}: {escape}")]
    Outside {
        /// The tenant's filesystem.
        tenant: DatasetName,
        /// The name as it was given.
        name: String,
        /// How it leaves.
        escape: Escape,
    },
    /// A dataset below the tenant's filesystem has the mark of a tenant itself.
    #[error("{dataset} is another tenant's, although it is below {tenant}")]
    AnotherTenant {
        /// The tenant's filesystem.
        tenant: DatasetName,
        /// The dataset of the other one.
        dataset: DatasetName,
    },
    /// A clone's origin lies outside of the tenant, so that a promotion would take snapshots from
    /// somebody else.
    #[error("{dataset} is a clone of {origin}, which is not the tenant's ({tenant})")]
    ForeignOrigin {
        /// The tenant's filesystem.
        tenant: DatasetName,
        /// The clone.
        dataset: DatasetName,
        /// What it is a clone of.
        origin: SnapshotName,
    },
    /// A snapshot that would move or go has clones outside of the tenant.
    #[error("{snapshot} has clones that are not the tenant's ({tenant}): {}", join(.clones))]
    ForeignClones {
        /// The tenant's filesystem.
        tenant: DatasetName,
        /// The snapshot.
        snapshot: SnapshotName,
        /// Its clones outside.
        clones: Vec<DatasetName>,
    },
    /// A snapshot that would go has clones within the tenant.
    #[error("{snapshot} has clones: {}", join(.clones))]
    HasClones {
        /// The snapshot.
        snapshot: SnapshotName,
        /// Its clones.
        clones: Vec<DatasetName>,
    },
    /// A promotion would move the tenant's key: the origin is an encryption root, and its clone
    /// would become one in its stead.
    #[error(
        "{dataset} is a clone of the encryption root {root}: promoted, it would take the key along"
    )]
    TakesKey {
        /// The clone.
        dataset: DatasetName,
        /// The encryption root.
        root: DatasetName,
    },
    /// What is to be promoted is no clone.
    #[error("{dataset} is no clone")]
    NoClone {
        /// The dataset.
        dataset: DatasetName,
    },
    /// A snapshot that a promotion would move has the name of one of the clone's.
    #[error("{dataset} has a snapshot of its own that is called {snapshot}, and would get another")]
    NameTaken {
        /// The clone.
        dataset: DatasetName,
        /// The name after the `@`.
        snapshot: String,
    },
    /// No dataset of the tenant has the snapshot.
    #[error("nothing of {tenant} has a snapshot {snapshot}")]
    NoSnapshot {
        /// The tenant's filesystem, or the dataset that should have it.
        tenant: DatasetName,
        /// The name after the `@`.
        snapshot: String,
    },
    /// The snapshots of that name were not taken at one moment.
    #[error("{a} and {b} were taken at different moments")]
    NotTogether {
        /// One of them.
        a: SnapshotName,
        /// Another one.
        b: SnapshotName,
    },
    /// A limit does not leave the room. The kernel itself never holds root to it.
    #[error("{dataset}: its {limit} is {most}, and {wanted} were wanted")]
    LimitReached {
        /// The dataset whose limit it is.
        dataset: DatasetName,
        /// Which one.
        limit: CountLimit,
        /// Its value.
        most: u64,
        /// How many there would be.
        wanted: u64,
    },
    /// Something that should not be there yet is there, and is something else.
    #[error("{dataset} is there already, and is not a clone of {origin}")]
    InTheWay {
        /// What is there.
        dataset: DatasetName,
        /// What it would have been a clone of.
        origin: SnapshotName,
    },
    /// There is no such staging.
    #[error("{staging} is no staging of the tenant {tenant}")]
    NoStaging {
        /// The tenant's filesystem.
        tenant: DatasetName,
        /// Its root.
        staging: DatasetName,
    },
    /// Something changed between the look and the change, and nothing was done.
    #[error("{object} changed while it was looked at: {what}")]
    Changed {
        /// What it is about.
        object: String,
        /// What the kernel found.
        what: String,
    },
    /// A rollback could not be planned, or was not begun.
    #[error(transparent)]
    Rollback(#[from] RollbackError),
    /// ZFS failed, or refused.
    #[error(transparent)]
    Zfs(#[from] zfs_core::Error),
}

fn join(names: &[DatasetName]) -> String {
    let names: Vec<&str> = names.iter().map(DatasetName::as_str).collect();
    names.join(", ")
}
