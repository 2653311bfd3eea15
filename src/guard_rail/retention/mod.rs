//! Which guard rails stay, and the removal of the others.

mod plan;
mod policy;

pub use plan::{Kept, KeptBecause, RailInfo, RetentionPlan};
pub use policy::{Keep, KeepOverride, Retention};
