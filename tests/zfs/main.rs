//! What the crates do on a real ZFS. `cargo xtask test` runs this in guests.

#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod capabilities;
mod dataset;
mod endurance;
mod examples;
mod helix;
mod hold;
mod key;
mod pool;
mod privilege;
mod props;
mod receive;
mod replicate;
mod send;
mod snapshot;
mod stream;
mod support;
mod suspended;
mod trouble;
mod userspace;
