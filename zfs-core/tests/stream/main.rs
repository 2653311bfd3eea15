//! Send streams: real ones of every version, the same in the other byte order, and streams that are
//! not what they seem.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code outside of test functions"
)]

#[path = "../corpus/mod.rs"]
mod corpus;

mod build;
mod fields;
mod hostile;
mod passing;
mod reading;
mod real;
mod swap;
mod swapped;

use std::io::Read;

use zfs_core::stream::{ReadOptions, Record, SliceReader, StreamError, StreamReader};

/// What a reader gave out: the bytes of every record, and the error at the end if there was one.
type Seen = (Vec<Vec<u8>>, Option<StreamError>);

fn collect(input: impl Read, options: ReadOptions) -> Seen {
    let mut reader = StreamReader::with_options(input, options);
    let mut records = Vec::new();
    loop {
        match reader.next_record() {
            Ok(Some(record)) => records.push(record.bytes().to_vec()),
            Ok(None) => return (records, None),
            Err(error) => return (records, Some(error)),
        }
    }
}

/// Reads `bytes` in both ways, which must agree on every record and on the error.
fn read(bytes: &[u8], options: ReadOptions) -> Seen {
    let (records, error) = collect(bytes, options);
    let mut slices = SliceReader::with_options(bytes, options);
    for record in &records {
        assert_eq!(slices.next().unwrap().unwrap().bytes(), record);
    }
    let same = slices.next().transpose().err();
    assert_eq!(format!("{error:?}"), format!("{same:?}"));
    (records, error)
}

/// The records of a stream that is whole.
fn records(bytes: &[u8]) -> Vec<Record<'_>> {
    SliceReader::new(bytes).map(Result::unwrap).collect()
}
