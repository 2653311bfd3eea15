use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why an [`AuditLog`](super::AuditLog) could not be opened, written or read.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The file could not be opened, written or read.
    #[error("cannot {what} the audit log {}: {source}", path.display())]
    Io {
        /// What could not be done.
        what: &'static str,
        /// The log.
        path: PathBuf,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// Others could read or change it, or it is not a regular file.
    #[error("the audit log {} is not safe: {why}", path.display())]
    Unsafe {
        /// The log.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Its end is no record, nor the beginning of one.
    #[error("the audit log {} is damaged: {why}", path.display())]
    Damaged {
        /// The log.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The file was moved, removed or shortened while it was open.
    #[error("the audit log {} is no longer what was opened: {why}", path.display())]
    Gone {
        /// The log.
        path: PathBuf,
        /// What happened to it.
        why: &'static str,
    },
    /// A record could not be written to the disk before, and what is there is not known. The log must
    /// be opened again.
    #[error("the audit log {} failed before: {why}", path.display())]
    Failed {
        /// The log.
        path: PathBuf,
        /// What failed.
        why: String,
    },
    /// A record cannot be written as JSON.
    #[error("a record for the audit log {} cannot be written: {why}", path.display())]
    Record {
        /// The log.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A pool's history could not be read or written.
    #[error("audit: {0}")]
    Zfs(Arc<zfs_core::Error>),
}

impl From<zfs_core::Error> for AuditError {
    fn from(error: zfs_core::Error) -> Self {
        Self::Zfs(Arc::new(error))
    }
}
