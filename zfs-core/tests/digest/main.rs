//! Digests of real streams.
#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

#[path = "../corpus/mod.rs"]
mod corpus;

mod content;
mod edit;
mod manifest;
mod transport;

use zfs_core::digest::{DigestError, Digester, Digests};
use zfs_core::stream::{Observer, ReadOptions, StreamReader};

/// Digests a stream that is whole by itself, or else as far as it goes.
fn try_digest(bytes: &[u8]) -> Result<Digests, DigestError> {
    let options = ReadOptions::new().allow_missing_end(true);
    let mut reader = StreamReader::with_options(bytes, options);
    let mut digester = Digester::new();
    while let Some(record) = reader.next_record().expect("a good stream") {
        digester.record(&record);
    }
    digester.finish()
}

fn digest(bytes: &[u8]) -> Digests {
    try_digest(bytes).expect("in order")
}
