use serde::Serialize;
use zfs_core::DatasetName;

use super::limit::Limit;
use super::room::Room;

/// Whether something would fit into a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "fit", rename_all = "snake_case")]
#[must_use]
pub enum Fit {
    /// It fits, with what ZFS needs to keep it.
    Yes,
    /// It fits by itself. With what ZFS needs to keep it, it may not.
    Tight {
        /// What would stop it.
        limit: Limit,
    },
    /// It does not fit.
    No {
        /// What stops it.
        limit: Limit,
        /// How many bytes are missing.
        missing: u64,
    },
}

/// Why something was refused before it was begun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{dataset} has room for {available} bytes, not for {wanted} and what keeps them: {limit}")]
#[non_exhaustive]
pub struct NoRoom {
    /// The dataset.
    pub dataset: DatasetName,
    /// What it can still write, in bytes.
    pub available: u64,
    /// What was to be written, in bytes.
    pub wanted: u64,
    /// What stops it.
    pub limit: Limit,
}

impl Room {
    /// What ZFS may need beside `bytes` of data: a 64th for block pointers, and 1 MiB for
    /// directories, for the changes that transaction groups make everywhere, and for the last
    /// block of each file.
    ///
    /// It is meant for files that are larger than a few records. Thousands of small files need more:
    /// each takes at least a sector, and half a KiB for itself.
    #[must_use]
    pub fn overhead(bytes: u64) -> u64 {
        (bytes / 64).saturating_add(1 << 20)
    }

    /// Whether `bytes` more can be written, as they come to lie on disk: after compression. Of data
    /// that may not compress, ask with its length.
    ///
    /// The kernel stops writers between transaction groups, so that by its own reckoning a little
    /// more than this can be written to a quota.
    pub fn would_fit(&self, bytes: u64) -> Fit {
        let available = self.available();
        let limit = || self.limit().clone();
        if bytes > available {
            let missing = bytes - available;
            Fit::No {
                limit: limit(),
                missing,
            }
        } else if bytes.saturating_add(Self::overhead(bytes)) > available {
            Fit::Tight { limit: limit() }
        } else {
            Fit::Yes
        }
    }

    /// Refuses what does not surely fit: for jobs that must not fail half-way.
    ///
    /// # Errors
    ///
    /// [`NoRoom`], unless [`would_fit`](Self::would_fit) says [`Yes`](Fit::Yes).
    pub fn require(&self, bytes: u64) -> Result<(), NoRoom> {
        match self.would_fit(bytes) {
            Fit::Yes => Ok(()),
            Fit::Tight { limit } | Fit::No { limit, .. } => Err(NoRoom {
                dataset: self.dataset().clone(),
                available: self.available(),
                wanted: bytes,
                limit,
            }),
        }
    }
}
