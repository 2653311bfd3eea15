use std::fmt;
use std::path::PathBuf;

use super::{JobId, JobState};

/// Why a [`JobQueue`](super::JobQueue) did not do what it was asked to.
///
/// | Variant | When |
/// |---|---|
/// | `NotFound` | no job has this id |
/// | `LeaseLost` | the lease has ended, or the job is somebody else's by now |
/// | `State` | the job's state does not let this be done |
/// | `KeyTaken` | another job was submitted with this idempotency key |
/// | `Invalid` | what was given cannot be in a queue |
/// | `Unavailable` | the store cannot be reached, is locked, or has no room: later it may work |
/// | `Corrupt` | what is in the store cannot be read |
/// | `Version` | the store was made by another version of this crate |
/// | `Permissions` | others may write to the store, who could then have any job done |
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// No job has this id.
    #[error("there is no job {job}")]
    #[non_exhaustive]
    NotFound {
        /// The id.
        job: JobId,
    },
    /// The lease is no longer one: what its holder did may be done again by another.
    #[error("lease {token} of job {job} is lost: {why}")]
    #[non_exhaustive]
    LeaseLost {
        /// The job.
        job: JobId,
        /// The lease's number.
        token: u64,
        /// What took it.
        why: LeaseLoss,
    },
    /// The job's state does not let this be done.
    #[error("job {job} cannot be {action}: it is {state}")]
    #[non_exhaustive]
    State {
        /// The job.
        job: JobId,
        /// What was to be done to it.
        action: &'static str,
        /// The state it is in.
        state: JobState,
    },
    /// Another job was submitted with this idempotency key.
    #[error("the key {key:?} is that of job {job}, which is another")]
    #[non_exhaustive]
    KeyTaken {
        /// The key.
        key: String,
        /// The job that has it.
        job: JobId,
    },
    /// What was given cannot be in a queue.
    #[error("{what}: {why}")]
    #[non_exhaustive]
    Invalid {
        /// Which part of it.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The store cannot be reached, is locked by another for too long, or has no room.
    #[error("cannot {action} in {store}: {why}")]
    #[non_exhaustive]
    Unavailable {
        /// The queue's store.
        store: String,
        /// What was to be done.
        action: &'static str,
        /// What kept it from being done.
        why: String,
    },
    /// What is in the store cannot be read.
    #[error("cannot {action} in {store}: it is damaged: {why}")]
    #[non_exhaustive]
    Corrupt {
        /// The queue's store.
        store: String,
        /// What was to be done.
        action: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The store is no queue's, or was made by another version of this crate.
    #[error("{store} has version {found} of a job queue: this program knows version {known}")]
    #[non_exhaustive]
    Version {
        /// The queue's store.
        store: String,
        /// The version it has.
        found: i64,
        /// The version that this program knows.
        known: i64,
    },
    /// Others than its owner may write to the queue's file.
    #[error(
        "the job queue {} may be written by others than its owner (mode {mode:04o})",
        path.display()
    )]
    #[non_exhaustive]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
}

/// What took a lease from its holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeaseLoss {
    /// Its time is over.
    Expired,
    /// The job was leased again, or revived, since.
    Superseded,
    /// The job has ended.
    Ended(JobState),
}

impl fmt::Display for LeaseLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("its time is over"),
            Self::Superseded => f.write_str("the job was leased again or revived since"),
            Self::Ended(state) => write!(f, "the job is {state}"),
        }
    }
}
