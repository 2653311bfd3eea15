//! What a node of a group does next: a pure function of what it knows and what happened.

mod types;

pub use types::{Action, Candidate, Command, Event, NotPromoted, Role, Standing, UnknownRole};
