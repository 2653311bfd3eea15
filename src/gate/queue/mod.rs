//! The queue of jobs for whose sake the gate opens.
//!
//! A job is submitted, leased by a worker, and completed or failed by it. The worker may die at any
//! moment: when its lease is over, another gets the job. So a job is done **at least once**, and its
//! worker has to bear that somebody did a part of it before. The operations of this crate do: each
//! finishes what the one before it left.
//!
//! ```text
//!            lease                     complete
//!  queued ----------> leased -----------------------> done
//!    ^  ^               | | \
//!    |  +-- fail, or ---+ |  +-- attempts used up,
//!    |      lease over    |      or past its deadline --> dead
//!    |                    |                               |
//!    |                    +-- cancel --> cancelled        |
//!    |                                      |             |
//!    +---------------- revive --------------+-------------+
//! ```
//!
//! Times are the store's: with SQLite those of this machine, with PostgreSQL those of its server. A
//! clock that is set forward ends leases early; the fencing number ([`Lease::token`]) then still
//! refuses the old holder.

#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod engine;
mod error;
mod job;
mod moment;
#[cfg(feature = "postgres")]
mod postgres;
mod spec;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod transition;

use std::fmt::Debug;
use std::time::{Duration, SystemTime};

use super::Operation;

#[cfg(feature = "postgres")]
pub use self::postgres::PostgresQueue;
pub use error::{LeaseLoss, QueueError};
pub use job::{AfterFailure, Job, JobFilter, JobId, JobState, Lease};
pub use spec::JobSpec;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteQueue;

/// A queue of jobs.
///
/// What a method returned `Ok` for is on stable storage, and survives the end of every process. A
/// method that fails with [`QueueError::Unavailable`] may have been done or not; each but
/// [`revive`](Self::revive) and the two that lease can be called again with the same arguments and comes to the same.
///
/// Any method can fail with `Unavailable`, `Corrupt`, `Version` and, for those who give texts,
/// `Invalid`; below is what else.
pub trait JobQueue: Debug + Send + Sync {
    /// Puts a job in.
    ///
    /// With an [idempotency key](JobSpec::key) that a job for the same operation, scope, actor and
    /// payload has, it is that job's id that comes back, whatever state it is in by now.
    ///
    /// # Errors
    ///
    /// [`QueueError::KeyTaken`]: the key is that of another job.
    fn submit(&self, spec: &JobSpec) -> Result<JobId, QueueError>;

    /// Gives `worker` the job that has been due longest, for `duration`; `None` if none is due.
    ///
    /// Only a job of one of `operations`, or of any if there are none. A job whose lease is over
    /// counts as due.
    ///
    /// # Errors
    ///
    /// As for all.
    fn lease(
        &self,
        worker: &str,
        duration: Duration,
        operations: &[Operation],
    ) -> Result<Option<Lease>, QueueError>;

    /// Gives `worker` this very job, for `duration`; `None` if it is not due, somebody has it, or it
    /// has ended.
    ///
    /// # Errors
    ///
    /// [`QueueError::NotFound`].
    fn lease_job(
        &self,
        job: &JobId,
        worker: &str,
        duration: Duration,
    ) -> Result<Option<Lease>, QueueError>;

    /// Makes a lease last `duration` from now on.
    ///
    /// # Errors
    ///
    /// [`QueueError::LeaseLost`], [`QueueError::NotFound`].
    fn renew(&self, lease: &Lease, duration: Duration) -> Result<Lease, QueueError>;

    /// The job is done, and came to `result`. It never comes back.
    ///
    /// `result` is kept in the open, as is the payload; what is longer than 16 KiB is cut.
    ///
    /// # Errors
    ///
    /// [`QueueError::LeaseLost`]: nothing was changed, another does it or did it.
    /// [`QueueError::NotFound`].
    fn complete(&self, lease: &Lease, result: &str) -> Result<(), QueueError>;

    /// This attempt failed: the job is tried again after its backoff, or is a dead letter.
    ///
    /// # Errors
    ///
    /// As [`complete`](Self::complete).
    fn fail(&self, lease: &Lease, why: &str) -> Result<AfterFailure, QueueError>;

    /// A job as it is now.
    ///
    /// # Errors
    ///
    /// [`QueueError::NotFound`].
    fn job(&self, job: &JobId) -> Result<Job, QueueError>;

    /// Jobs, the newest first.
    ///
    /// # Errors
    ///
    /// As for all.
    fn list(&self, filter: &JobFilter) -> Result<Vec<Job>, QueueError>;

    /// The dead letters, the newest first.
    ///
    /// # Errors
    ///
    /// As for all.
    fn dead_letters(&self) -> Result<Vec<Job>, QueueError> {
        self.list(&JobFilter::new().state(JobState::Dead))
    }

    /// Puts a dead or cancelled job back, with all its attempts.
    ///
    /// # Errors
    ///
    /// [`QueueError::State`]: it has not ended, or is done. [`QueueError::Invalid`]: its deadline has
    /// passed. [`QueueError::NotFound`].
    fn revive(&self, job: &JobId) -> Result<(), QueueError>;

    /// Takes a job out. If a worker has it, its lease is lost, which it hears when it next renews or
    /// ends it; a capability that it holds lasts until then.
    ///
    /// # Errors
    ///
    /// [`QueueError::State`]: it is done, or dead. [`QueueError::NotFound`].
    fn cancel(&self, job: &JobId) -> Result<(), QueueError>;

    /// Removes the jobs that were done, died or were cancelled before `moment`, and says how many
    /// there were. Their idempotency keys are free then.
    ///
    /// # Errors
    ///
    /// As for all.
    fn forget(&self, moment: SystemTime) -> Result<u64, QueueError>;
}
