//! Which guard rails stay, and the removal of the others.

mod carry_out;
mod plan;
mod policy;

pub use carry_out::{RetentionChange, RetentionOptions, RetentionReport, Spared};
pub use plan::{Kept, KeptBecause, RailInfo, RetentionPlan};
pub use policy::{Keep, KeepOverride, Retention};
