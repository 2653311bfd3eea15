//! Access to datasets by capability.
//!
//! Every operation of this crate that changes something takes a [`Capability`]: for one
//! [`Operation`], with the datasets of a [`Scope`], for a job, by an actor, until a moment. What it
//! does not cover is refused before the kernel is called.

pub mod audit;
mod capability;
mod error;
mod grant;
mod ledger;
mod operation;
mod production;
pub mod queue;
mod refusal;
mod rfc3339;
mod rules;
mod scope;

pub use capability::Capability;
pub use error::{GateError, GateRunError};
pub use grant::Gate;
pub use operation::{Operation, UnknownOperation};
#[cfg(feature = "postgres")]
pub use queue::PostgresQueue;
#[cfg(feature = "sqlite")]
pub use queue::SqliteQueue;
pub use queue::{
    AfterFailure, Job, JobFilter, JobId, JobQueue, JobSpec, JobState, Lease, QueueError,
};
pub use refusal::{Refusal, RefusalReason};
pub use rules::{ProductionRules, Rule, Rules, RulesError, Select};
pub use scope::Scope;
