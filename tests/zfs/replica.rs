//! Replicas that follow, take over and come back.

#![allow(clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod follow;
mod kill;
mod node;
mod promote;
mod rebuild;
mod refuse;
mod retention;
mod sites;
mod undo;

use sites::{Sites, quiet};
