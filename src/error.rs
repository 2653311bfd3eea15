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

/// What an operation that needs a [`Capability`](crate::gate::Capability) comes to.
pub type Result<T> = std::result::Result<T, Error>;
