//! Real streams as a machine of the other byte order would have sent them.

use std::sync::Arc;

use zfs_core::stream::{Body, ByteOrder};

use crate::build::Build;
use crate::swap::swap;
use crate::{corpus, records};

#[test]
fn every_stream_is_the_same_in_the_other_byte_order() {
    for stream in corpus::streams().filter(|stream| stream.records[5] != 0) {
        let bytes = stream.bytes();
        let swapped = swap(&bytes);
        assert_eq!(swapped.len(), bytes.len());
        for (ours, theirs) in records(&swapped).iter().zip(&records(&bytes)) {
            assert_eq!(ours.order, ByteOrder::Big);
            match (&ours.body, &theirs.body) {
                (Body::Begin(ours), Body::Begin(theirs)) => {
                    let mut expected = (**theirs).clone();
                    expected.order = ByteOrder::Big;
                    // The lists of compound streams have one byte order everywhere.
                    if !is_compound(theirs) {
                        expected.list = None;
                    }
                    assert_eq!(**ours, expected);
                }
                (Body::End(ours), Body::End(theirs)) => assert_eq!(ours.to_guid, theirs.to_guid),
                (ours, theirs) => assert_eq!(ours, theirs),
            }
        }
    }
}

fn is_compound(begin: &Arc<zfs_core::stream::Begin>) -> bool {
    begin.kind == zfs_core::stream::HeaderKind::Compound
}

#[test]
fn a_compound_stream_can_mix_both() {
    let mut mixed = Build::new(ByteOrder::Little);
    mixed.begin(2, &[]).header_end();
    mixed.begin(1, &[]).write(&[1; 64]).end();
    let mut other = Build::new(ByteOrder::Big);
    other.begin(1, &[]).write(&[2; 64]).end();
    mixed.bytes.extend_from_slice(&other.bytes);
    other.bytes.clear();
    other.closing_end();
    mixed.bytes.extend_from_slice(&other.bytes);
    assert_eq!(records(&mixed.bytes).len(), 9);
}
