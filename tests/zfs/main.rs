//! What the crates do on a real ZFS. `cargo xtask test` runs this in guests.

#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod activity;
mod capabilities;
mod create;
mod dataset;
mod device;
mod diff;
mod endurance;
mod ephemeral;
mod events;
mod examples;
mod fault;
mod gate;
mod gate_calls;
mod group_commit;
mod guard_rail;
mod helix;
mod helixctl;
mod history;
mod hold;
mod import;
mod key;
mod keys;
mod kstat;
mod layout;
mod listing;
mod mount;
mod permissions;
mod pool;
mod privilege;
mod program;
mod props;
mod quota;
mod receive;
mod redact;
mod replica;
mod replicate;
mod retention;
mod runbook;
mod scope;
mod send;
mod snapshot;
mod space;
mod status;
mod stream;
mod support;
mod surface;
mod suspended;
mod trouble;
mod userspace;
