//! Read replicas that follow their source, and take its place.

mod fence;
mod machine;
mod policy;

#[cfg(feature = "postgres")]
pub use fence::PostgresFences;
#[cfg(feature = "sqlite")]
pub use fence::SqliteFences;
pub use fence::{Fence, FenceError, FencingStore, GroupName, NameError, NodeName, SnapshotMark};
pub use machine::{
    Action, Candidate, Command, Declined, Event, Machine, Role, Standing, State, UnknownRole,
};
pub use policy::{Acknowledge, Automatic, Follow, Lag, LagLimit, Policy, PolicyError};
