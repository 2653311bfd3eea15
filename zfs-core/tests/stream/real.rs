//! Every stream of the corpus, against what `zstream dump` says of it.

use zfs_core::stream::{Body, HEADER_LEN, HeaderKind, ReadOptions, RecordType};

use crate::{corpus, read, records};

/// A saved stream has no END, and every other one has.
fn options(stream: &corpus::Stream) -> ReadOptions {
    ReadOptions::new().allow_missing_end(stream.records[5] == 0)
}

#[test]
fn every_stream_is_read_as_zstream_reads_it() {
    for stream in corpus::streams() {
        let name = format!("{} {}", stream.version, stream.name);
        let bytes = stream.bytes();
        let (seen, error) = read(&bytes, options(stream));
        assert!(error.is_none(), "{name}: {error:?}");
        assert_eq!(seen.concat(), bytes, "{name}");

        let mut counts = [0; 11];
        let mut payload = 0;
        for record in &seen {
            counts[usize::from(record[0])] += 1;
            payload += (record.len() - HEADER_LEN) as u64;
        }
        assert_eq!(counts, stream.records, "{name}");
        assert_eq!(payload, stream.payload, "{name}");
    }
}

#[test]
fn every_begin_says_what_zstream_says() {
    for stream in corpus::streams().filter(|stream| stream.records[5] != 0) {
        let bytes = stream.bytes();
        let begins: Vec<_> = records(&bytes)
            .into_iter()
            .filter_map(|record| match record.body {
                Body::Begin(begin) => Some(begin),
                _ => None,
            })
            .collect();
        assert_eq!(begins.len(), stream.begins.len());
        for (ours, theirs) in begins.iter().zip(stream.begins) {
            let compound = theirs.kind == 2;
            assert_eq!(ours.kind == HeaderKind::Compound, compound);
            assert_eq!(ours.features.bits(), theirs.features);
            assert_eq!(ours.flags.bits(), theirs.flags);
            assert_eq!(ours.creation_time, theirs.creation_time);
            assert_eq!(ours.dataset_kind, kind(theirs.objset));
            assert_eq!(ours.to_guid, theirs.to_guid);
            assert_eq!(ours.from_guid, theirs.from_guid);
            assert_eq!(ours.is_incremental(), theirs.from_guid != 0);
            assert_eq!(ours.to_name, theirs.to_name);
            assert_eq!(ours.payload_len, theirs.payload);
            assert_eq!(ours.list.is_some(), theirs.payload > 0);
            if let (true, Some(list)) = (compound, &ours.list) {
                assert!(list.list("fss").is_some());
            }
        }
    }
}

fn kind(objset: u32) -> zfs_core::DatasetKind {
    match objset {
        2 => zfs_core::DatasetKind::Filesystem,
        3 => zfs_core::DatasetKind::Volume,
        other => zfs_core::DatasetKind::Unknown(other),
    }
}

#[test]
fn records_say_where_they_are() {
    let bytes = corpus::stream("2.1", "replicate").bytes();
    let mut offset = 0;
    for (number, record) in records(&bytes).into_iter().enumerate() {
        assert_eq!(record.number, number as u64);
        assert_eq!(record.offset, offset);
        assert_eq!(record.payload.len() as u64, record.body.payload_len());
        offset += record.bytes().len() as u64;
    }
    assert_eq!(offset, bytes.len() as u64);
}

#[test]
fn a_saved_stream_is_truncated_unless_it_may_be() {
    let bytes = corpus::stream("2.4", "saved").bytes();
    let (seen, error) = read(&bytes, ReadOptions::new());
    let error = error.unwrap();
    assert_eq!(error.kind(), zfs_core::ErrorKind::Truncated);
    assert_eq!(error.offset, bytes.len() as u64);
    // Nothing proves the last record's payload.
    let last = RecordType::from_raw(u32::from(records_of(&bytes).last().unwrap()[0])).unwrap();
    let kept = if last == RecordType::Write { 1 } else { 0 };
    assert_eq!(seen.len() + kept, records_of(&bytes).len());
}

fn records_of(bytes: &[u8]) -> Vec<Vec<u8>> {
    read(bytes, ReadOptions::new().allow_missing_end(true)).0
}
