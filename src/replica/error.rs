use zfs_core::{DatasetName, SnapshotName};

use crate::gate::Refusal;
use crate::replicate::ReplicateError;

use super::SiteRole;

/// Why something with a replica was not done, or not to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicaError {
    /// The capability does not cover it. The kernel was not called.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// ZFS refused it, or could not do it.
    #[error(transparent)]
    Zfs(#[from] zfs_core::Error),
    /// The replication failed.
    #[error(transparent)]
    Replicate(#[from] ReplicateError),
    /// It cannot be done with what the site is.
    #[error("{dataset} is {role}: it cannot be {wanted}")]
    Role {
        /// The data.
        dataset: DatasetName,
        /// What it is.
        role: SiteRole,
        /// What was to be done.
        wanted: &'static str,
    },
    /// The data has seen a later epoch than the one that this is to be done in.
    #[error("{dataset} has seen epoch {seen}, and this is epoch {epoch}: there is a newer source")]
    Superseded {
        /// The data.
        dataset: DatasetName,
        /// The epoch that it has seen.
        seen: u64,
        /// The epoch of the caller.
        epoch: u64,
    },
    /// The fencing token was lost before the data was opened for writing. The promotion is taken
    /// back.
    #[error("{dataset} was not opened for writing: the fence is held by somebody else")]
    FenceLost {
        /// The data.
        dataset: DatasetName,
    },
    /// The replica has no verified snapshot.
    #[error("{target} has no verified snapshot")]
    NothingVerified {
        /// The target.
        target: DatasetName,
    },
    /// The replica has received the snapshot that was acknowledged, but neither it nor a later one is
    /// verified.
    #[error("{snapshot} was acknowledged, and is not verified")]
    Unverified {
        /// The snapshot.
        snapshot: SnapshotName,
    },
    /// The replica does not have a snapshot that was acknowledged.
    #[error("{target} does not have the acknowledged snapshot with the GUID {guid}")]
    MissesAcknowledged {
        /// The target.
        target: DatasetName,
        /// The snapshot.
        guid: u64,
    },
    /// Something was written: there is no way back without losing it.
    #[error("{dataset} was written to: {change}")]
    Written {
        /// The data.
        dataset: DatasetName,
        /// The first change that was found.
        change: String,
    },
    /// Its key is not loaded, and none was given.
    #[error("the key of {root} is not loaded, and none was given")]
    KeyNeeded {
        /// The encryption root.
        root: DatasetName,
    },
    /// The data has none of the new source's snapshots.
    #[error("{dataset} has no snapshot in common with the new source")]
    NoCommonBase {
        /// The data.
        dataset: DatasetName,
    },
    /// Two datasets claim to be the site's copy.
    #[error("both {data} and {chain} claim to be the data of one site")]
    Ambiguous {
        /// The dataset that is written to at a source.
        data: DatasetName,
        /// The dataset that is received into at a replica.
        chain: DatasetName,
    },
    /// A property that only this crate sets has a value that it does not.
    #[error("{dataset}: {property} is {value:?}")]
    Foreign {
        /// The dataset.
        dataset: DatasetName,
        /// The user property.
        property: &'static str,
        /// Its value.
        value: String,
    },
    /// The other side is a source of an earlier epoch: what it sends is not followed any more.
    #[error("{source_dataset} is at epoch {theirs}, and {target} has seen epoch {ours}")]
    StaleSource {
        /// The dataset of the other side.
        source_dataset: DatasetName,
        /// The target.
        target: DatasetName,
        /// The other side's epoch.
        theirs: u64,
        /// The target's.
        ours: u64,
    },
    /// The connection could not be made.
    #[error("no connection to the source of {target}: {error}")]
    Connect {
        /// The target.
        target: DatasetName,
        /// Why not.
        error: std::io::Error,
    },
}
