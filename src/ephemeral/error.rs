use std::path::PathBuf;
use std::time::SystemTime;

use zfs_core::{DatasetName, Errno, ErrorKind};

use crate::gate::Refusal;

/// Why something was not done with an ephemeral clone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EphemeralError {
    /// The capability does not cover it. The kernel was not called.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// ZFS, or the system, refused it.
    #[error(transparent)]
    Zfs(#[from] zfs_core::Error),
    /// The clone's name has several parts, and it would not lie immediately below the area.
    #[error("{name}: the name of an ephemeral clone has one part, below its area")]
    Name {
        /// The name that was asked for.
        name: String,
    },
    /// The time has passed already, or is one that cannot be written down.
    #[error("an ephemeral clone cannot expire {when}")]
    Expiry {
        /// What is wrong with it, to be read after "cannot expire".
        when: &'static str,
    },
    /// Volumes are not mounted.
    #[error("{dataset}: a volume is not mounted")]
    Volume {
        /// What was to be cloned.
        dataset: DatasetName,
    },
    /// The folder's name cannot be written down in a property.
    #[error("{}: a folder is needed, with a name in UTF-8", path.display())]
    Folder {
        /// The folder that was asked for.
        path: PathBuf,
    },
    /// It is no clone that this module made, or it no longer is as it was made.
    #[error("{dataset} is no ephemeral clone: {reason}")]
    NotEphemeral {
        /// The dataset.
        dataset: DatasetName,
        /// What it lacks.
        reason: super::NotEphemeral,
    },
    /// The clone was removed, changed or replaced by another since it was looked at.
    #[error("{dataset} has changed: it was {was}")]
    Changed {
        /// The clone's name.
        dataset: DatasetName,
        /// What happened, to be read after "it was".
        was: &'static str,
    },
    /// Somebody uses it, or something hangs on it.
    #[error("{dataset} is in use: {by}")]
    InUse {
        /// The clone.
        dataset: DatasetName,
        /// By what.
        by: super::InUse,
    },
    /// The kernel refused to destroy it, for a reason that is none of the others.
    #[error("destroying {dataset}: {errno}")]
    NotDestroyed {
        /// The clone.
        dataset: DatasetName,
        /// What the kernel said.
        errno: Errno,
    },
    /// The thread of a private mount namespace cannot be started.
    #[error("a thread for a private mount namespace: {source}")]
    Thread {
        /// Why.
        source: std::io::Error,
    },
    /// A process cannot be started.
    #[error("{program}: {source}")]
    Spawn {
        /// The program.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// It expired, and the thread that kept it mounted is gone.
    #[error("{dataset} expired at {}", humantime::format_rfc3339_seconds(*expired))]
    Expired {
        /// The clone.
        dataset: DatasetName,
        /// When that was.
        expired: SystemTime,
    },
}

impl EphemeralError {
    /// The kind of the error of ZFS that it is, if it is one.
    #[must_use]
    pub fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Zfs(error) => Some(error.kind()),
            _ => None,
        }
    }
}
