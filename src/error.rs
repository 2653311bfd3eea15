use zfs_core::ErrorKind;

use crate::gate::Refusal;

/// Why an operation that needs a [`Capability`](crate::gate::Capability) was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The capability does not cover it. The kernel was not called.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// ZFS refused it, or could not do it.
    #[error(transparent)]
    Zfs(#[from] zfs_core::Error),
}

impl Error {
    /// What the error of ZFS means; [`ErrorKind::Forbidden`] for a refusal.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused(_) => ErrorKind::Forbidden,
            Self::Zfs(error) => error.kind(),
        }
    }
}

impl Error {
    /// The refusal of the gate, if it is one.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Zfs(_) => None,
        }
    }

    /// The error of ZFS, if it is one.
    #[must_use]
    pub fn zfs_error(&self) -> Option<&zfs_core::Error> {
        match self {
            Self::Refused(_) => None,
            Self::Zfs(error) => Some(error),
        }
    }
}

/// What an operation that needs a [`Capability`](crate::gate::Capability) comes to.
pub type Result<T, E = Error> = std::result::Result<T, E>;
