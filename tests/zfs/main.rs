//! What the crates do on a real ZFS. `cargo xtask test` runs this in guests.

#![allow(missing_docs, reason = "tests")]

mod capabilities;
mod dataset;
mod endurance;
mod hold;
mod key;
mod pool;
mod privilege;
mod props;
mod snapshot;
mod support;
mod trouble;
mod userspace;
