use std::time::SystemTime;

use super::audit::AuditError;
use super::{JobId, QueueError, Refusal};

/// Why a [`Gate`](super::Gate) did not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GateError {
    /// The rules do not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The job queue could not do its part.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The audit log could not be opened or written.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// What was done could not be put on record.
    #[error("it cannot be put on record: {0}")]
    Record(String),
    /// The job was submitted, and is not to be done now: it is not due, somebody else has it, or, its
    /// idempotency key being known, it has ended.
    #[error("job {job} is not to be done now")]
    NotDue {
        /// The job.
        job: JobId,
    },
    /// The lease is not that of the job, or no longer.
    #[error("job {job} is not leased by {worker} any more")]
    NotLeased {
        /// The job.
        job: JobId,
        /// Whose lease it would be.
        worker: String,
    },
    /// The job's deadline, or the lease's end, has passed.
    #[error("job {job} was to be done until {}", humantime::format_rfc3339_seconds(*until))]
    TooLate {
        /// The job.
        job: JobId,
        /// Until when.
        until: SystemTime,
    },
}

/// Why [`Gate::run`](super::Gate::run) did not return what the work came to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GateRunError<E> {
    /// The gate did not open. Nothing was done.
    #[error(transparent)]
    Gate(GateError),
    /// The work failed.
    #[error(transparent)]
    Work(E),
    /// The work was done, but that could not be noted: in the queue, or in the audit log.
    #[error("it was done, and that could not be noted: {0}")]
    NotNoted(GateError),
}
