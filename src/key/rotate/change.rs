use std::fmt;

use zfs_core::DatasetName;

use crate::key::{KeyId, KeyVersion};

/// A change of a rotation, as an observer is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RotationChange {
    /// The dataset notes which version is to open it: `helix:key_next`.
    Intend {
        /// The dataset.
        dataset: DatasetName,
        /// The version.
        version: KeyVersion,
    },
    /// A new key is stored.
    Store {
        /// The key.
        id: KeyId,
        /// The version that it becomes.
        version: KeyVersion,
    },
    /// ZFS wraps the dataset's own key with the new one.
    ChangeKey {
        /// The dataset.
        dataset: DatasetName,
        /// The version of the new key.
        version: KeyVersion,
    },
    /// ZFS wraps it with the old one again, because the store does not give the new one back.
    GoBack {
        /// The dataset.
        dataset: DatasetName,
        /// The version of the old key.
        version: KeyVersion,
    },
    /// The dataset notes that the version opens it: `helix:key_version`.
    Note {
        /// The dataset.
        dataset: DatasetName,
        /// The version.
        version: KeyVersion,
    },
    /// An old version is removed from the store.
    Retire {
        /// The key.
        id: KeyId,
        /// The version.
        version: KeyVersion,
    },
}

impl fmt::Display for RotationChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Intend { dataset, version } => {
                write!(f, "note version {version} as the next of {dataset}")
            }
            Self::Store { id, version } => write!(f, "store version {version} of the key {id}"),
            Self::ChangeKey { dataset, version } => {
                write!(f, "change the key of {dataset} to version {version}")
            }
            Self::GoBack { dataset, version } => {
                write!(f, "change the key of {dataset} back to version {version}")
            }
            Self::Note { dataset, version } => {
                write!(f, "note version {version} as that of {dataset}")
            }
            Self::Retire { id, version } => write!(f, "retire version {version} of the key {id}"),
        }
    }
}
