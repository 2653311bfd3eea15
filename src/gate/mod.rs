//! Access to datasets by capability.
//!
//! Every operation of this crate that changes something takes a [`Capability`]: for one
//! [`Operation`], with the datasets of a [`Scope`], for a job, by an actor, until a moment. What it
//! does not cover is refused before the kernel is called.

mod capability;
mod operation;
pub mod queue;
mod refusal;
mod scope;

pub use capability::Capability;
pub use operation::{Operation, UnknownOperation};
#[cfg(feature = "sqlite")]
pub use queue::SqliteQueue;
pub use queue::{
    AfterFailure, Job, JobFilter, JobId, JobQueue, JobSpec, JobState, Lease, QueueError,
};
pub use refusal::{Refusal, RefusalReason};
pub use scope::Scope;
