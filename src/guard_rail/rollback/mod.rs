//! Point-in-time rollback of a set of datasets.
//!
//! What it would lose is found first ([`RollbackPlan`]), and what stands in the way has to be named
//! ([`RollbackOptions`]). Then either one transaction rolls all of them back, or each is rolled back
//! in turn under a mark that is on all of them, which tells a killed rollback from a finished one.

mod carry_out;
mod error;
mod intent;
mod keep;
mod options;
mod plan;
mod report;
mod together;

pub use error::{Obstacle, RollbackError};
pub use intent::UnfinishedRollback;
pub use options::RollbackOptions;
pub use plan::{Loss, NewerSnapshot, RollbackPlan};
pub use report::{DatasetOutcome, RollbackChange, RollbackReport};
