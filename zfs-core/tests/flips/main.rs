//! Real streams with one bit changed, in every field of every type of record: all are found, and by
//! what. `cargo test -p zfs-core --features digest --test flips -- --nocapture` prints the table.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests"
)]

#[path = "../corpus/mod.rs"]
mod corpus;
mod fields;
#[path = "../corpus/seal.rs"]
mod seal;

use std::collections::BTreeMap;

use fields::{TYPES, field, fields, width};
use zfs_core::digest::{Difference, Digester, Digests, Manifest};
use zfs_core::stream::{Observer, Problem, ReadOptions, SliceReader, StreamError};

/// Streams that have all types of records between them, and all ways to encode a block.
const STREAMS: [(&str, &str); 7] = [
    ("2.4", "incremental"),
    ("2.1", "compressed-embedded"),
    ("2.4", "raw-incremental"),
    ("2.3", "raw-volume"),
    ("2.1", "redacted"),
    ("2.3", "spill-incremental"),
    ("2.4", "replicate-incremental"),
];

fn digests(bytes: &[u8]) -> Result<Digests, StreamError> {
    let mut reader = SliceReader::new(bytes);
    let mut digester = Digester::new();
    while let Some(record) = reader.next_record()? {
        digester.record(&record);
    }
    // The records come out of a stream that was changed, and their order can be wrong.
    Ok(digester.finish().unwrap_or_else(|_| empty()))
}

/// The digests of nothing, which are no stream's.
fn empty() -> Digests {
    Digester::new().finish().expect("nothing is in order")
}

/// What happened to the flips of one field.
#[derive(Default)]
struct Row {
    flips: u32,
    /// Found by a checksum of the stream.
    checksum: u32,
    /// Found because the stream makes no sense any more.
    structure: u32,
    /// With the checksums made right again: the reader finds no sense in it.
    sealed_structure: u32,
    /// With the checksums made right again: found by the transport digest and not by the content
    /// digest.
    transport: u32,
    /// With the checksums made right again: found by both digests.
    content: u32,
    /// Changed nothing: the checksums were made right again, and the flip was in one.
    undone: u32,
}

/// All bits of the fields of one byte, a bit of each byte of the others, and of some of the padding.
fn header_flips(kind: u32) -> impl Iterator<Item = (usize, u8)> {
    (0..seal::HEADER).flat_map(move |at| {
        let field = field(kind, at);
        let bits = match field {
            "padding" | "name" if at % 5 != 0 => 0..0,
            _ if matches!(width(kind, field), 1) => 0..8,
            _ => at % 8..at % 8 + 1,
        };
        bits.map(move |bit| (at, 1 << bit))
    })
}

/// Bits all over a payload, and those at its ends.
fn payload_flips(length: usize) -> impl Iterator<Item = (usize, u8)> {
    let places = length.min(24);
    (0..places).map(move |n| {
        let at = n * (length - 1) / places.saturating_sub(1).max(1);
        (at, 1 << (n % 8))
    })
}

/// The first and the last record of each type, with a payload and without.
fn chosen(places: &[seal::Place]) -> Vec<&seal::Place> {
    let mut by_type: BTreeMap<(u32, bool), Vec<&seal::Place>> = BTreeMap::new();
    for place in places {
        let key = (place.kind, place.payload.is_empty());
        by_type.entry(key).or_default().push(place);
    }
    by_type
        .into_values()
        .flat_map(|places| {
            let mut some = vec![places[0], places[places.len() - 1]];
            some.dedup();
            some
        })
        .collect()
}

#[test]
fn every_flipped_bit_is_found() {
    let mut rows: BTreeMap<(u32, &'static str), Row> = BTreeMap::new();
    for (version, name) in STREAMS {
        let original = corpus::stream(version, name).bytes();
        let manifest = Manifest::new(&digests(&original).unwrap()).unwrap();
        let mut resealed = original.clone();
        seal::seal(&mut resealed);
        assert!(original == resealed, "{name}: sealing is no change");
        let places = seal::places(&original);
        for place in chosen(&places) {
            let header = header_flips(place.kind)
                .map(|(at, bit)| (field(place.kind, at), place.at + at, bit));
            let payload = payload_flips(place.payload.len())
                .map(|(at, bit)| ("payload", place.payload.start + at, bit));
            for (field, at, bit) in header.chain(payload) {
                let mut bytes = original.clone();
                bytes[at] ^= bit;
                let what = format!("{version} {name}: byte {at}, bit {bit:#x}, {field}");
                let row = rows.entry((place.kind, field)).or_default();
                flipped(&bytes, row, &what);
                sealed(&original, bytes, &manifest, row, &what);
            }
        }
    }
    print(&rows);

    // The kernels of today send no WRITE_BYREF.
    for kind in [0, 1, 2, 3, 4, 5, 7, 8, 9, 10] {
        for field in fields(kind) {
            assert!(
                rows.contains_key(&(kind, field)),
                "{} {field} was not tried",
                TYPES[kind as usize]
            );
        }
    }
    for kind in [0, 1, 3, 7, 8] {
        assert!(rows.contains_key(&(kind, "payload")));
    }
    // What a file holds and what makes it that file, whoever makes the checksums right.
    for (kind, field) in CONTENT {
        let row = &rows[&(kind, field)];
        assert_eq!(
            row.transport, 0,
            "{} {field} is not in the content digest",
            TYPES[kind as usize]
        );
        assert!(row.content > 0);
    }
}

/// What the content digest must find, or the reader before it.
const CONTENT: [(u32, &str); 32] = [
    (1, "object"),
    (1, "object type"),
    (1, "bonus type"),
    (1, "block size"),
    (1, "bonus length"),
    (1, "payload"),
    (1, "raw: indirect shift"),
    (1, "raw: levels"),
    (1, "raw: block pointers"),
    (1, "raw: last block"),
    (3, "object"),
    (3, "object type"),
    (3, "offset"),
    (3, "logical size"),
    (3, "compression"),
    (3, "payload"),
    (3, "raw: salt"),
    (3, "raw: iv"),
    (3, "raw: mac"),
    (7, "object"),
    (7, "compression"),
    (7, "payload"),
    (7, "raw: mac"),
    (8, "object"),
    (8, "offset"),
    (8, "length"),
    (8, "compression"),
    (8, "payload"),
    (9, "first object"),
    (9, "raw: mac"),
    (10, "object"),
    (10, "offset"),
];

/// As it is: the reader must refuse it.
fn flipped(bytes: &[u8], row: &mut Row, what: &str) {
    row.flips += 1;
    let error = match digests(bytes) {
        Ok(_) => panic!("not found: {what}"),
        Err(error) => error,
    };
    match error.problem {
        Problem::Checksum { .. } | Problem::ClosingBytes => row.checksum += 1,
        _ => row.structure += 1,
    }
}

/// By somebody who makes the checksums right: the reader may refuse it; if not, the manifest tells.
fn sealed(original: &[u8], mut bytes: Vec<u8>, manifest: &Manifest, row: &mut Row, what: &str) {
    seal::seal(&mut bytes);
    if bytes == original {
        row.undone += 1;
        return;
    }
    let Ok(digests) = digests(&bytes) else {
        row.sealed_structure += 1;
        return;
    };
    let mismatch = match manifest.verify(&digests) {
        Ok(()) => panic!("not found by the digests: {what}"),
        Err(mismatch) => mismatch,
    };
    assert!(
        mismatch
            .differences()
            .iter()
            .any(|difference| matches!(difference, Difference::Transport { .. })),
        "not found by the transport digest: {what}"
    );
    match manifest.verify_content(&digests) {
        Err(_) => row.content += 1,
        Ok(()) => row.transport += 1,
    }
}

fn print(rows: &BTreeMap<(u32, &'static str), Row>) {
    println!(
        "{:<38}{:>7}{:>10}{:>11} |{:>8}{:>11}{:>11}{:>9}",
        "one bit of",
        "flips",
        "checksum",
        "structure",
        "undone",
        "structure",
        "transport",
        "content"
    );
    for ((kind, field), row) in rows {
        println!(
            "{:<38}{:>7}{:>10}{:>11} |{:>8}{:>11}{:>11}{:>9}",
            format!("{} {field}", TYPES[*kind as usize]),
            row.flips,
            row.checksum,
            row.structure,
            row.undone,
            row.sealed_structure,
            row.transport,
            row.content
        );
    }
}

/// A stream without an END proves nothing of its last payload, as the reader says: the digests do.
#[test]
fn only_the_digests_prove_the_end_of_a_saved_stream() {
    let saved = corpus::stream("2.4", "saved").bytes();
    let options = ReadOptions::new().allow_missing_end(true);
    let transport = |bytes: &[u8]| {
        let mut digester = Digester::new();
        for record in SliceReader::with_options(bytes, options) {
            digester.record(&record?);
        }
        let digests = digester.finish().expect("in order");
        Ok::<_, StreamError>(digests.transport().root())
    };
    let original = transport(&saved).unwrap();
    let places = seal::places(&saved);
    let last = places.last().expect("records");
    let proven = match last.payload.is_empty() {
        true => saved.len(),
        false => last.payload.start,
    };
    for at in (0..saved.len()).step_by(41) {
        let mut bytes = saved.clone();
        bytes[at] ^= 1 << (at % 8);
        match transport(&bytes) {
            Err(_) => assert!(at < proven, "byte {at}"),
            Ok(root) => {
                assert!(at >= proven, "byte {at}");
                assert_ne!(root, original, "byte {at}");
            }
        }
    }
}
