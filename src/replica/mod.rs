//! Read replicas that follow their source, and take its place.
//!
//! A group is some data, written to at one [`Site`], its source, and followed by replicas. A
//! [`Follower`] brings each new snapshot to a replica, and readers see only what was verified. When
//! the source is to be somewhere else, be it that it failed, a replica is [promoted](Site::promote):
//! its chain becomes the data, and can be written to. The former source is [fenced](Site::fence)
//! before anything else is done with it, and becomes a replica by a [rebuild](Site::rebuild), from
//! the newest snapshot that both have; what only it had is kept beside. A promotion can be
//! [undone](Site::undo) until somebody has written.
//!
//! Who may be the source is decided by a [`Fence`] in a [`FencingStore`] outside of the nodes, and by
//! leases. Every operation here says in which epoch of the fence it is done, and data that has seen a
//! later one refuses.
//!
//! # What is kept where
//!
//! | where | what |
//! |---|---|
//! | `helix:replica_role` on the data | its [`SiteRole`] |
//! | `helix:replica_epoch` on the data | the newest epoch that it has seen |
//! | `helix:replica_base` on the data | the GUID of the snapshot that it was promoted at, or is rebuilt from |
//! | `helix:replica_promoted` on a target | where its chain was taken to; nothing is received meanwhile |
//! | `helix:replica_diverged` on a dataset `diverged-GUID` | since when it is kept |
//!
//! The data is one dataset, which is renamed between the chain of the target, where it is while it is
//! a replica, and where it is written to. Its properties go with it.
//!
//! # Read-only
//!
//! A source that is not to be written to any more is set `readonly=on`, which the kernel honours for
//! what is mounted too, from the moment that the property is set. It says nothing to a root user who
//! sets it off again, and nothing to a program that has the pool's disks: those are not stopped here.

mod change;
mod error;
mod fence;
mod follow;
mod machine;
mod node;
mod policy;
mod promote;
mod rebuild;
mod retention;
pub(crate) mod role;
mod site;
mod standing;
mod written;

pub use change::ReplicaChange;
pub use error::ReplicaError;
#[cfg(feature = "postgres")]
pub use fence::PostgresFences;
#[cfg(feature = "sqlite")]
pub use fence::SqliteFences;
pub use fence::{Fence, FenceError, FencingStore, GroupName, NameError, NodeName, SnapshotMark};
pub use follow::{Followed, Follower, Stop};
pub use machine::{
    Action, Candidate, Command, Declined, Event, Machine, Role, Standing, State, UnknownRole,
};
pub use node::{Channel, Inbox, Node, NodeServer, Notice};
pub use policy::{Acknowledge, Automatic, Follow, Lag, LagLimit, Policy, PolicyError};
pub use promote::Promotion;
pub use rebuild::Rebuilt;
pub use role::SiteRole;
pub use site::{Site, SiteState};
pub use standing::Grants;
