use zfs_core::{DatasetName, ErrorKind};

use super::{KeyError, KeyId, KeyVersion};
use crate::gate::Refusal;

/// Why a tenant's key was not loaded, unloaded or rotated. It names keys, and holds none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TenantKeyError {
    /// The capability does not cover it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The filesystem has no key of its own: it is not encrypted, or uses another's.
    #[error("{dataset} has no key of its own{}", root.as_ref().map(|root| format!(": it uses that of {root}")).unwrap_or_default())]
    NotRoot {
        /// The filesystem.
        dataset: DatasetName,
        /// Whose key it uses.
        root: Option<DatasetName>,
    },
    /// Nothing says what its key is called: it has neither `helix:key_id` nor a tenant's name, or
    /// what it has is no [`KeyId`].
    #[error(
        "what the key of {dataset} is called is not known: neither helix:key_id nor helix:tenant names it"
    )]
    NoName {
        /// The filesystem.
        dataset: DatasetName,
        /// What is no name of a key.
        name: Option<String>,
    },
    /// The provider did not give the key, or did not take it.
    #[error("{dataset}: {error}")]
    Key {
        /// The filesystem.
        dataset: DatasetName,
        /// The provider's error.
        #[source]
        error: KeyError,
    },
    /// The provider has keys of this name, and none opens it.
    #[error(
        "{dataset}: no version of the key {id} opens it (tried: {})",
        versions(tried)
    )]
    NoKeyOpens {
        /// The filesystem.
        dataset: DatasetName,
        /// The key.
        id: KeyId,
        /// What the kernel refused.
        tried: Vec<KeyVersion>,
    },
    /// The present key is not loaded, and only who has it loaded can change it.
    #[error("{dataset}: its key is not loaded, and has to be to be changed")]
    Locked {
        /// The filesystem.
        dataset: DatasetName,
    },
    /// What the provider gives for the new version is not what it was given. The dataset opens with
    /// its old key.
    #[error(
        "{dataset}: version {version} of the key {id} reads back as another key: it was not used"
    )]
    ReadBack {
        /// The filesystem.
        dataset: DatasetName,
        /// The key.
        id: KeyId,
        /// The version.
        version: KeyVersion,
    },
    /// It is mounted or open, so that its key cannot be unloaded.
    #[error("{dataset} is in use{}", uses(mounted))]
    InUse {
        /// The filesystem.
        dataset: DatasetName,
        /// What of its data is mounted in this mount namespace.
        mounted: Vec<DatasetName>,
    },
    /// The system has no random bytes for a new key.
    #[error("{dataset}: no new key: {error}")]
    Random {
        /// The filesystem.
        dataset: DatasetName,
        /// What the system said.
        #[source]
        error: std::io::Error,
    },
    /// ZFS refused it, or could not do it.
    #[error(transparent)]
    Zfs(#[from] zfs_core::Error),
}

impl TenantKeyError {
    /// The provider's error, if it is one.
    #[must_use]
    pub fn key_error(&self) -> Option<&KeyError> {
        match self {
            Self::Key { error, .. } => Some(error),
            _ => None,
        }
    }

    /// The kind of the error of ZFS, if it is one.
    #[must_use]
    pub fn zfs_kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Zfs(error) => Some(error.kind()),
            _ => None,
        }
    }
}

fn versions(versions: &[KeyVersion]) -> String {
    let versions: Vec<String> = versions.iter().map(KeyVersion::to_string).collect();
    versions.join(", ")
}

fn uses(mounted: &[DatasetName]) -> String {
    match mounted {
        [] => String::from(": a file of it is open, or it is mounted in another mount namespace"),
        _ => {
            let names: Vec<&str> = mounted.iter().map(DatasetName::as_str).collect();
            format!(", mounted: {}", names.join(", "))
        }
    }
}
