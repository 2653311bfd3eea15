//! The job queue, on real stores: the same contract for each, and what each has of its own.

#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod contract;
mod killed;
mod postgres;
mod server;
mod spec;
mod sqlite;
