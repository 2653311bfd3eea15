//! A node of a group of replicas: its file, its process, and how that process is spoken to.

pub(crate) mod control;
pub(crate) mod file;
mod notice;
pub(crate) mod process;

use helix_zfs::replica::{FenceError, NameError, ReplicaError};

pub(crate) use notice::behind;

use crate::failure::{Exit, Failure};

impl From<ReplicaError> for Failure {
    fn from(error: ReplicaError) -> Self {
        let exit = match error {
            ReplicaError::Refused(refusal) => return refusal.into(),
            ReplicaError::Replicate(error) => return error.into(),
            ReplicaError::Zfs(ref error) => Exit::of(error.kind()),
            ReplicaError::Connect { .. } => Exit::Failed,
            // All others are refusals.
            _ => Exit::Refused,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<FenceError> for Failure {
    fn from(error: FenceError) -> Self {
        let exit = match error {
            FenceError::NotFound(_) => Exit::NotFound,
            FenceError::Moved { .. } => Exit::Busy,
            _ => Exit::Failed,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<NameError> for Failure {
    fn from(error: NameError) -> Self {
        Self::usage(error.to_string())
    }
}
