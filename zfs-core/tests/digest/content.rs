//! The content digest: what is in it and what is not.

use crate::edit::{Part, parts, stream, u64_at};
use crate::{corpus, digest, try_digest};
use std::collections::BTreeSet;
use std::ops::Range;
use zfs_core::digest::{ContentDifference, ContentTree, DigestProblem, Digester};
use zfs_core::stream::{HEADER_LEN, Observer, RecordType, SliceReader, StreamFeatures};

fn content(bytes: &[u8]) -> ContentTree {
    digest(bytes).content().expect("one snapshot").clone()
}

#[test]
fn every_real_stream_has_one() {
    for real in corpus::streams() {
        let digests = digest(&real.bytes());
        let at = format!("{} {}", real.version, real.name);
        let snapshots: Vec<_> = real.begins.iter().filter(|b| b.kind == 1).collect();
        assert_eq!(digests.contents().len(), snapshots.len(), "{at}");
        assert_eq!(
            digests.is_complete(),
            !real.name.starts_with("saved"),
            "{at}"
        );
        assert_eq!(digests.transport().bytes(), real.length, "{at}");
        let records: u64 = real.records.iter().sum();
        assert_eq!(digests.transport().records(), records, "{at}");
        for (content, begin) in digests.contents().iter().zip(snapshots) {
            assert_eq!(content.begin().to_guid, begin.to_guid, "{at}");
            assert_eq!(content.begin().from_guid, begin.from_guid, "{at}");
            assert_eq!(content.is_partial(), real.name == "resumed", "{at}");
            assert_eq!(content.differences(content), []);
        }
        let objects: u64 = digests.contents().iter().map(|c| c.counts().objects).sum();
        assert_eq!(objects, real.records[1], "{at}");
    }
}

/// The digests are compared with ones that were computed elsewhere, by other releases: they may not
/// change without a new version of the manifest.
#[test]
fn the_digests_stay_what_they_are() {
    let expect = |name, transport: &str, content: &str| {
        let digests = digest(&corpus::stream("2.1", name).bytes());
        let found = digests.content().expect("one").root();
        assert_eq!(found.to_string(), content, "content of {name}");
        let found = digests.transport().root();
        assert_eq!(found.to_string(), transport, "transport of {name}");
    };
    expect(
        "full",
        "ab08586a09b4b3a7b184c5ed46dbe277a46991dc73c6c85952eca8e7d040e97a",
        "5e474ccf4be5d2974b221b2b638172c3a4772a1d232ce2763d9d5c4591e60413",
    );
    expect(
        "raw-incremental",
        "2d3acf5b3bb20b7a4d2b3777000591dcfff0de11bd8728d161c88edf2a1b200b",
        "21f2ff10e593b79fff067c448e7df413e5fb31097698a770383b0059a082773c",
    );
    expect(
        "spill",
        "0398cbc26feacc106455a14537d74f631ce53f01690e622b2aa3742c034d33ca",
        "832d4908e7c809f648b17f9bd99239b0dfeb7474df6bba442df164c4072d4be3",
    );
    expect(
        "compressed-embedded",
        "b84e37850a99527d6d45a4e752a577e3c5b72b50d7e29d943ba96d7568c31af3",
        "259421bd18b075da263abe30239bb22cf8920637afa48eaff63519fa30533391",
    );
    expect(
        "redacted",
        "5cae48aa17122bbeb3996de246c5a4d1f6b1b95e4aee6e476bd0cb2581144ef4",
        "9dd76c089a5b83cc87685817ece92ced1e152ab18d44e698cb7725b547d9c57e",
    );
}

#[test]
fn what_is_free_is_not_in_it() {
    for name in ["full", "incremental", "raw", "raw-incremental"] {
        let bytes = corpus::stream("2.1", name).bytes();
        let free = [RecordType::Free, RecordType::FreeObjects];
        let mut kept = parts(&bytes);
        kept.retain(|part| !free.contains(&part.record_type));
        let without = stream(&kept);
        assert!(without.len() < bytes.len());
        assert_eq!(content(&bytes).root(), content(&without).root(), "{name}");
        assert_ne!(
            digest(&bytes).transport().root(),
            digest(&without).transport().root()
        );
    }
}

#[test]
fn a_block_of_zeros_is_a_hole() {
    let bytes = corpus::stream("2.1", "full").bytes();
    let mut with = parts(&bytes);
    let at = with
        .iter()
        .position(|part| part.record_type == RecordType::Write)
        .expect("a block");
    let before = content(&bytes);
    with[at].payload.fill(0);
    let zeroed = content(&stream(&with));
    assert_eq!(zeroed.counts().blocks + 1, before.counts().blocks);
    with.remove(at);
    assert_eq!(content(&stream(&with)), zeroed);
}

/// The bytes of each type's header that the content digest is of, or that nothing can be read
/// without. What else is in a header says how the source has stored it, repeats the snapshot's guid,
/// or is not used.
fn covered(record_type: RecordType, raw: bool) -> &'static [Range<usize>] {
    match record_type {
        RecordType::Object => &[8..40, 48..51, 56..64],
        RecordType::Write if raw => &[8..20, 24..40, 49..51, 96..140],
        RecordType::Write => &[8..20, 24..40, 49..51, 104..140],
        RecordType::Spill => &[8..24, 32..34, 40..88],
        RecordType::WriteEmbedded => &[8..32, 40..42, 48..56],
        RecordType::ObjectRange => &[8..24, 32..69],
        RecordType::Redact => &[8..24, 24..32],
        _ => &[],
    }
}

/// What a stream with one bit changed in its headers, and right checksums, is taken for.
fn changed(original: &ContentTree, parts: &[Part]) -> bool {
    let bytes = stream(parts);
    let mut reader = SliceReader::new(&bytes);
    let mut digester = Digester::new();
    loop {
        match reader.next_record() {
            Ok(Some(record)) => digester.record(&record),
            Ok(None) => break,
            Err(_) => return true,
        }
    }
    match digester.finish() {
        Ok(digests) => digests.content().map(ContentTree::root) != Some(original.root()),
        Err(_) => true,
    }
}

#[test]
fn each_field_of_each_record_is_in_it_or_is_known_not_to_be() {
    let mut seen = BTreeSet::new();
    for (name, types) in [
        ("full", &RecordType::ALL[1..]),
        ("raw", RecordType::ALL),
        ("spill", &[RecordType::Spill]),
        ("compressed-embedded", &[RecordType::WriteEmbedded]),
        ("redacted", &[RecordType::Redact]),
    ] {
        let bytes = corpus::stream("2.1", name).bytes();
        let original = content(&bytes);
        let raw = original.begin().features.contains(StreamFeatures::RAW);
        let records = parts(&bytes);
        for record_type in types {
            let record = records.iter().position(|p| p.record_type == *record_type);
            let (Some(record), true) = (record, *record_type != RecordType::Begin) else {
                continue;
            };
            seen.insert(*record_type);
            for at in 8..HEADER_LEN - 32 {
                let expected = covered(*record_type, raw)
                    .iter()
                    .any(|range| range.contains(&at));
                let mut edited = records.clone();
                edited[record].header[at] ^= 2;
                let found = changed(&original, &edited);
                assert_eq!(found, expected, "{name}: byte {at} of {record_type}");
            }
        }
    }
    let all = RecordType::ALL.iter().copied();
    let without = [RecordType::Begin, RecordType::WriteByRef];
    let all: BTreeSet<_> = all.filter(|t| !without.contains(t)).collect();
    assert_eq!(seen, all);
}

#[test]
fn each_payload_is_in_it() {
    for name in ["full", "raw", "spill", "compressed-embedded"] {
        let bytes = corpus::stream("2.1", name).bytes();
        let original = content(&bytes);
        let records = parts(&bytes);
        for at in 1..records.len() {
            let len = records[at].payload.len();
            for byte in [0, len / 2, len.saturating_sub(1)] {
                if len > 0 {
                    let mut edited = records.clone();
                    edited[at].payload[byte] ^= 0x10;
                    assert!(changed(&original, &edited), "{name}: record {at}");
                }
            }
        }
    }
}

#[test]
fn the_snapshot_is_in_it_and_the_name_is_not() {
    let bytes = corpus::stream("2.1", "incremental").bytes();
    let original = content(&bytes);
    let edit = |at: usize, bit: u8| {
        let mut edited = parts(&bytes);
        edited[0].header[at] ^= bit;
        content(&stream(&edited))
    };
    // guid, the base's guid, filesystem or volume
    for at in [40, 48, 32] {
        let other = edit(at, 1);
        assert_ne!(other.root(), original.root());
        assert_eq!(other.differences(&original), [ContentDifference::Snapshot]);
    }
    // time, flags, a feature (HOLDS), name
    for (at, bit) in [(24, 1), (36, 4), (19, 16), (60, 1)] {
        assert_eq!(edit(at, bit).root(), original.root(), "byte {at}");
    }
}

#[test]
fn a_raw_stream_is_authentic_as_a_whole() {
    let bytes = corpus::stream("2.1", "raw").bytes();
    let original = content(&bytes);
    let records = parts(&bytes);
    let edit = |name: &str| {
        let mut edited = records.clone();
        let payload = &mut edited[0].payload;
        let name = [name.as_bytes(), b"\0"].concat();
        let at = payload
            .windows(name.len())
            .position(|w| w == name)
            .expect("there");
        // The name is 16 bytes from the start of its pair, the value at a multiple of eight.
        let value = at - 16 + (16 + name.len()).next_multiple_of(8);
        payload[value] ^= 1;
        content(&stream(&edited)).root()
    };
    for name in ["portable_mac", "DSL_CRYPTO_GUID", "to_ivset_guid"] {
        assert_ne!(edit(name), original.root(), "{name}");
    }
    for name in ["DSL_CRYPTO_MASTER_KEY_1", "pbkdf2iters"] {
        assert_eq!(edit(name), original.root(), "{name}");
    }
}

#[test]
fn a_difference_is_named() {
    let bytes = corpus::stream("2.1", "full").bytes();
    let original = content(&bytes);
    let mut edited = parts(&bytes);
    let write = edited
        .iter()
        .rposition(|p| p.record_type == RecordType::Write);
    let write = &mut edited[write.expect("a block")];
    write.payload[17] ^= 1;
    let place = (u64_at(&write.header, 8), u64_at(&write.header, 24));
    let block = ContentDifference::Blocks {
        first: place,
        last: place,
    };
    let object = edited
        .iter()
        .position(|p| p.record_type == RecordType::Object);
    let object = edited.remove(object.expect("an object"));
    let number = u64_at(&object.header, 8);
    let gone = ContentDifference::Objects {
        first: number,
        last: number,
    };
    let differences = content(&stream(&edited)).differences(&original);
    assert_eq!(differences, [gone, block]);
    assert_eq!(differences[0].to_string(), format!("object {number}"));
    let text = format!("object {} at offset {}", place.0, place.1);
    assert_eq!(differences[1].to_string(), text);
}

#[test]
fn what_no_kernel_sends_is_refused() {
    let bytes = corpus::stream("2.1", "full").bytes();
    let records = parts(&bytes);
    let first = |wanted: RecordType| {
        let at = records.iter().position(|p| p.record_type == wanted);
        at.expect("there")
    };
    let problem = |edit: &dyn Fn(&mut Vec<Part>)| {
        let mut edited = records.clone();
        edit(&mut edited);
        try_digest(&stream(&edited)).expect_err("refused").problem()
    };
    let write = first(RecordType::Write);
    let (object, offset) = (
        u64_at(&records[write].header, 8),
        u64_at(&records[write].header, 24),
    );
    let twice = problem(&|records| records.insert(write, records[write].clone()));
    let expected = DigestProblem::OutOfOrder {
        object,
        offset: Some(offset),
    };
    assert_eq!(twice, expected);
    let twice = problem(&|records| {
        let at = first(RecordType::Object);
        records.insert(at, records[at].clone());
    });
    assert!(matches!(
        twice,
        DigestProblem::OutOfOrder { offset: None, .. }
    ));
    let by_reference = problem(&|records| {
        records[write].record_type = RecordType::WriteByRef;
        records[write].header[0] = 6;
        records[write].payload.clear();
    });
    assert_eq!(by_reference, DigestProblem::Deduplicated);
    let beyond = problem(&|records| records[write].header[31] |= 0x80);
    assert_eq!(beyond, DigestProblem::SpillAsData { object });
}
