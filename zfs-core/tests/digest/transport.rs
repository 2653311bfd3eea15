//! The transport digest.

use crate::edit::{Part, parts, stream};
use crate::{corpus, digest};
use zfs_core::digest::TransportTree;
use zfs_core::stream::RecordType;

fn transport(bytes: &[u8]) -> TransportTree {
    digest(bytes).transport().clone()
}

/// A stream of some MiB: the blocks of a real one, many times over.
fn long() -> Vec<Part> {
    let mut parts = parts(&corpus::stream("2.1", "full").bytes());
    let at = parts
        .iter()
        .rposition(|p| p.record_type == RecordType::Write)
        .expect("a block");
    let mut block = parts[at].clone();
    block.payload.resize(100_000, 7);
    block.header[32..40].copy_from_slice(&100_000_u64.to_le_bytes());
    let blocks = (1..=80_u64).map(|n| {
        let mut block = block.clone();
        block.header[24..32].copy_from_slice(&(n << 20).to_le_bytes());
        block.payload[..8].copy_from_slice(&n.to_le_bytes());
        block
    });
    parts.splice(at + 1..at + 1, blocks.collect::<Vec<_>>());
    parts
}

#[test]
fn chunks_are_whole_records_without_gaps() {
    let bytes = stream(&long());
    let tree = transport(&bytes);
    let mut end = 0;
    for chunk in tree.chunks() {
        assert_eq!(chunk.offset, end);
        end += chunk.len;
    }
    assert_eq!(end, bytes.len() as u64);
    assert_eq!(tree.chunks().count(), bytes.len().div_ceil(1 << 20));
}

#[test]
fn a_changed_record_is_in_the_range_that_is_named() {
    let records = long();
    let bytes = stream(&records);
    let tree = transport(&bytes);
    assert_eq!(tree.differences(&tree), []);
    // Changed with the checksums of all that follows: only the last chunks differ from there on.
    let mut edited = records.clone();
    let at = edited.len() - 10;
    edited[at].payload[5] ^= 1;
    let edited = stream(&edited);
    let first = bytes
        .iter()
        .zip(&edited)
        .position(|(a, b)| a != b)
        .expect("a difference");
    let ranges = tree.differences(&transport(&edited));
    let [range] = &ranges[..] else {
        panic!("{ranges:?}");
    };
    assert!(range.contains(&(first as u64)), "{range:?} {first}");
    assert!(range.end == bytes.len() as u64 && range.end - range.start < 4 << 20);
}

#[test]
fn the_part_that_is_missing_is_named() {
    let mut records = long();
    let whole = transport(&stream(&records));
    records.pop();
    let cut = transport(&stream(&records));
    let [range] = &whole.differences(&cut)[..] else {
        panic!("one range");
    };
    assert_eq!(range.end, whole.bytes());
    records.truncate(records.len() - 40);
    let shorter = transport(&stream(&records));
    let [range] = &shorter.differences(&whole)[..] else {
        panic!("one range");
    };
    assert!(range.start <= shorter.bytes() && range.end == whole.bytes());
}

#[test]
fn each_byte_is_in_it() {
    let bytes = corpus::stream("2.1", "raw").bytes();
    let root = transport(&bytes).root();
    let records = parts(&bytes);
    assert_eq!(stream(&records), bytes);
    for (at, record) in records.iter().enumerate() {
        let mut edited = records.clone();
        match record.payload.len() {
            // A letter of the name.
            _ if at == 0 => edited[at].header[60] ^= 1,
            // A byte that nothing is read from.
            0 => edited[at].header[279] ^= 1,
            len => edited[at].payload[len - 1] ^= 1,
        }
        assert_ne!(transport(&stream(&edited)).root(), root, "record {at}");
    }
}
