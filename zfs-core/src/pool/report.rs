use super::Pool;
use super::advice::Advice;
use super::errors::DamagedObject;
use super::status::PoolStatus;
use crate::error::{ErrorKind, Result};

/// All that `zpool status -v` tells of a pool.
///
/// With the feature `serde` it is written as JSON, in a form that [is described](super#json) and
/// stays.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PoolReport {
    /// Its state.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub status: PoolStatus,
    /// What is the matter with it.
    pub advice: Advice,
    /// The files and other objects with damaged blocks. `None` when they cannot be told: they are
    /// for root only, and not to be had while the pool is suspended.
    pub error_log: Option<Vec<DamagedObject>>,
}

impl Pool {
    /// [Status](Self::status), [advice](Self::advice) and [error log](Self::error_log), as
    /// `zpool status -v` shows them.
    ///
    /// # Errors
    ///
    /// As [`status`](Self::status) and [`advice`](Self::advice). That the error log cannot be read
    /// is none.
    ///
    /// # Privileges
    ///
    /// None, but the error log is for root only. `zpool-status(8)`.
    pub fn report(&self) -> Result<PoolReport> {
        let status = self.status()?;
        let advice = self.advice(&status)?;
        let error_log = match status.error_count {
            Some(0) => Some(Vec::new()),
            None => None,
            Some(_) => match self.error_log() {
                Ok(log) => Some(log),
                Err(error) => match error.kind() {
                    ErrorKind::PermissionDenied | ErrorKind::PoolSuspended => None,
                    _ => return Err(error),
                },
            },
        };
        Ok(PoolReport {
            status,
            advice,
            error_log,
        })
    }
}
