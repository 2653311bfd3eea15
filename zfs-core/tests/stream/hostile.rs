//! Streams that are cut, damaged, or made to be wrong.

use proptest::prelude::*;
use zfs_core::nv::{self, DecodeErrorKind, NvMap};
use zfs_core::stream::{
    Begin, ByteOrder, HEADER_LEN, Problem, ReadOptions, RecordType, SliceReader, StreamError,
};
use zfs_core::{Error, ErrorKind, Operation};

use crate::build::{Build, small};
use crate::{corpus, read, records};

/// The error that a stream ends with.
fn error(bytes: &[u8]) -> StreamError {
    read(bytes, ReadOptions::new()).1.unwrap()
}

/// Where each record begins.
fn starts(bytes: &[u8]) -> Vec<usize> {
    records(bytes)
        .iter()
        .map(|record| usize::try_from(record.offset).unwrap())
        .collect()
}

#[test]
fn a_cut_at_every_byte_is_seen() {
    for (version, name) in [
        ("2.4", "spill-incremental"),
        ("2.1", "replicate-incremental"),
    ] {
        let bytes = corpus::stream(version, name).bytes();
        let starts = starts(&bytes);
        for len in 0..bytes.len() {
            let (seen, error) = read(&bytes[..len], ReadOptions::new());
            let error = error.expect("a cut stream is not whole");
            assert_eq!(error.kind(), ErrorKind::Truncated, "cut at {len}: {error}");
            // The cut is in the record that the error names, or at its beginning.
            let number = starts.partition_point(|start| *start <= len) - 1;
            assert_eq!(error.number, number as u64, "cut at {len}: {error}");
            assert_eq!(error.offset, starts[number] as u64);
            let seen = seen.concat();
            assert!(seen.len() <= len);
            assert_eq!(seen, bytes[..seen.len()]);
        }
    }
}

#[test]
fn a_cut_between_records_may_be_allowed() {
    let bytes = corpus::stream("2.4", "spill-incremental").bytes();
    let starts = starts(&bytes);
    let options = ReadOptions::new().allow_missing_end(true);
    for len in 0..bytes.len() {
        let (seen, error) = read(&bytes[..len], options);
        let between = len > 0 && starts.contains(&len);
        assert_eq!(error.is_none(), between, "cut at {len}: {error:?}");
        if between {
            assert_eq!(seen.concat(), bytes[..len]);
            let mut reader = SliceReader::with_options(&bytes[..len], options);
            assert!(reader.by_ref().all(|record| record.is_ok()));
            assert!(!reader.is_complete());
        }
    }
}

/// Every byte of a header and every 13th of a payload, one bit at a time: what is given out before
/// the error is what was sent.
#[test]
fn a_flipped_bit_is_seen_and_never_given_out() {
    let names = [
        "replicate-incremental",
        "spill-incremental",
        "raw-incremental",
        "resumed",
    ];
    for name in names {
        let bytes = corpus::stream("2.4", name).bytes();
        let mut flipped = bytes.clone();
        let mut at = 0;
        for record in records(&bytes) {
            let end = at + record.bytes().len();
            // Later records take longer, and are no different.
            while at < end && record.offset < 12_000 {
                flipped[at] ^= 1 << (at % 8);
                let (seen, error) = read(&flipped, ReadOptions::new());
                let error = error.unwrap_or_else(|| panic!("{name}: flip at {at} not seen"));
                assert!(error.offset <= at as u64, "{name}: flip at {at}: {error}");
                let seen = seen.concat();
                assert_eq!(seen, bytes[..seen.len()], "{name}: flip at {at}: {error}");
                flipped[at] = bytes[at];
                at += if at < end - record.payload.len() {
                    1
                } else {
                    13
                };
            }
            at = end;
        }
    }
}

/// Without the checksums of the records, END proves that the stream is what was sent.
#[test]
fn checksums_may_be_missing_but_for_the_last() {
    let mut stream = Build::new(ByteOrder::Little);
    stream.fill = false;
    stream.begin(1, &[]).write(&[1; 64]).write(&[2; 64]).end();
    let first = error(&stream.bytes);
    assert!(matches!(first.problem, Problem::NoChecksum), "{first}");
    assert_eq!((first.number, first.kind()), (0, ErrorKind::Corrupt));

    let options = ReadOptions::new().allow_missing_checksums(true);
    assert_eq!(read(&stream.bytes, options).0.len(), 4);
    for at in 0..stream.bytes.len() {
        let mut flipped = stream.bytes.clone();
        flipped[at] ^= 0x10;
        read(&flipped, options).1.unwrap();
    }
}

#[test]
fn the_error_names_the_record() {
    let mut bytes = small().bytes;
    bytes[2 * HEADER_LEN + 5] ^= 1;
    let error = error(&bytes);
    assert_eq!(error.number, 1);
    assert_eq!(error.record, Some(RecordType::Write));
    assert_eq!(error.offset, 312);
    assert!(matches!(error.problem, Problem::Checksum { .. }));
    let text = error.to_string();
    assert!(text.starts_with("record 1 (WRITE at byte 312): checksum mismatch: stated "));
    let error = Error::from(error);
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(error.operation(), Operation::ReadStream);
    assert!(error.to_string().contains(&text), "{error}");
}

#[test]
fn what_is_no_stream_is_refused() {
    assert!(matches!(
        error(&[0; HEADER_LEN]).problem,
        Problem::BadMagic(0)
    ));
    let no_begin = {
        let mut stream = Build::new(ByteOrder::Little);
        let magic = (8, 8, 0x2_f5ba_cbac);
        stream.fields(RecordType::Write.raw(), &[magic], &[]);
        stream.bytes
    };
    let error = error(&no_begin);
    assert!(matches!(
        error.problem,
        Problem::OutOfPlace(RecordType::Write)
    ));
    assert_eq!(error.kind(), ErrorKind::InvalidStream);
}

#[test]
fn a_begin_must_make_sense() {
    let problem = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = small().bytes;
        change(&mut bytes);
        let header = bytes.first_chunk().unwrap();
        let parsed = Begin::parse(header).map(|_| ()).unwrap_err();
        let seen = error(&bytes);
        assert_eq!(
            format!("{:?}", seen.problem),
            format!("{:?}", parsed.problem)
        );
        assert_eq!((seen.number, seen.offset), (0, 0));
        seen.problem
    };
    assert!(matches!(
        problem(&|bytes| bytes[16] = 0),
        Problem::UnknownKind(0)
    ));
    assert!(matches!(
        problem(&|bytes| bytes[16] = 3),
        Problem::UnknownKind(3)
    ));
    assert!(matches!(
        problem(&|bytes| bytes[56..HEADER_LEN].fill(b'a')),
        Problem::Name
    ));
    assert!(matches!(problem(&|bytes| bytes[57] = 0xff), Problem::Name));
    assert!(matches!(
        problem(&|bytes| bytes[0] = 77),
        Problem::UnknownType(77)
    ));
}

#[test]
fn unknown_features_and_flags_stay() {
    let stream = Build::new(ByteOrder::Little);
    let mut header = [0; HEADER_LEN];
    header.copy_from_slice(&small().bytes[..HEADER_LEN]);
    stream.put(&mut header, 16, 8, u64::MAX - 2);
    stream.put(&mut header, 36, 4, u64::MAX);
    let begin = Begin::parse(&header).unwrap();
    assert_eq!(begin.features.bits(), u64::MAX >> 2);
    assert_eq!(begin.flags.bits(), u32::MAX);
    let features = begin.features.to_string();
    assert!(
        features.starts_with("DEDUP | DEDUPPROPS | SA_SPILL | "),
        "{features}"
    );
    assert!(features.ends_with(" | 0x3fffffffc004fff8"), "{features}");
}

#[test]
fn records_must_be_in_their_places() {
    let out_of_place = |build: &dyn Fn(&mut Build), number: u64, record: RecordType| {
        let mut stream = Build::new(ByteOrder::Little);
        build(&mut stream);
        let options = ReadOptions::new().allow_missing_checksums(true);
        let error = read(&stream.bytes, options).1.unwrap();
        assert_eq!(error.number, number, "{error}");
        assert_eq!(error.record, Some(record), "{error}");
        assert!(
            matches!(error.problem, Problem::OutOfPlace(found) if found == record),
            "{error}"
        );
    };
    let begin = RecordType::Begin;
    let write = RecordType::Write;
    out_of_place(
        &|s| {
            s.begin(1, &[]).write(&[1; 8]).fields(begin.raw(), &[], &[]);
        },
        2,
        begin,
    );
    out_of_place(
        &|s| {
            s.begin(2, &[]).header_end().begin(2, &[]).header_end();
        },
        2,
        begin,
    );
    out_of_place(
        &|s| {
            s.begin(2, &[]).write(&[1; 8]).end();
        },
        1,
        write,
    );
    out_of_place(
        &|s| {
            s.begin(2, &[]).header_end().write(&[1; 8]);
        },
        2,
        write,
    );

    let mut stream = Build::new(ByteOrder::Little);
    stream.begin(1, &[]).fields(11, &[], &[]).end();
    let error = error(&stream.bytes);
    assert!(matches!(error.problem, Problem::UnknownType(11)), "{error}");
    assert_eq!((error.number, error.offset), (1, 312));
}

#[test]
fn an_end_without_checksum_is_empty() {
    let mut compound = Build::new(ByteOrder::Little);
    compound.begin(2, &[]).header_end();
    compound.begin(1, &[]).write(&[1; 64]).end().closing_end();
    assert_eq!(records(&compound.bytes).len(), 6);
    let closing = compound.bytes.len() - HEADER_LEN;
    for at in [4, 8, 40, 48, 100, 279].map(|at| closing + at) {
        let mut dirty = compound.bytes.clone();
        dirty[at] = 1;
        let error = error(&dirty);
        assert!(
            matches!(error.problem, Problem::ClosingBytes),
            "{at}: {error}"
        );
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_eq!(error.number, 5);
    }
}

/// Where each type has the length of its payload, and how many bytes that is.
const LENGTHS: [(RecordType, usize, usize); 5] = [
    (RecordType::Object, 28, 4),
    (RecordType::Object, 36, 4),
    (RecordType::Write, 32, 8),
    (RecordType::Spill, 16, 8),
    (RecordType::WriteEmbedded, 52, 4),
];

#[test]
fn absurd_lengths_are_refused() {
    for (record, at, bytes) in LENGTHS {
        for len in [(16 << 20) + 8, 1 << 31, 0xffff_fff8, !7] {
            let len = if bytes == 4 { len & 0xffff_ffff } else { len };
            let mut stream = Build::new(ByteOrder::Little);
            stream
                .begin(1, &[])
                .fields(record.raw(), &[(at, bytes, len)], &[]);
            let error = error(&stream.bytes);
            assert_eq!(error.record, Some(record));
            assert_eq!(error.kind(), ErrorKind::TooBig, "{error}");
            match error.problem {
                Problem::TooLong { len: found, limit } => {
                    assert_eq!((found, limit), (len, 16 << 20));
                }
                other => panic!("{other}"),
            }
        }
    }
}

#[test]
fn lengths_that_are_no_words_are_refused() {
    for len in [1, 2, 3, 511, 513] {
        let mut stream = Build::new(ByteOrder::Little);
        stream.begin(1, &[]).write(&vec![0; len]).end();
        let error = error(&stream.bytes);
        assert!(matches!(error.problem, Problem::Unaligned(found) if found == len as u64));
    }
}

#[test]
fn limits_are_those_that_were_asked_for() {
    let mut stream = Build::new(ByteOrder::Little);
    let list = nv::encode_native(&NvMap::new()).unwrap();
    stream.begin(1, &list).write(&[1; 64]).end();
    let read = |options| read(&stream.bytes, options).1;
    assert!(read(ReadOptions::new().max_payload(64)).is_none());
    let error = read(ReadOptions::new().max_payload(60)).unwrap();
    assert!(matches!(
        error.problem,
        Problem::TooLong { len: 64, limit: 60 }
    ));
    let error = read(ReadOptions::new().max_begin_payload(12)).unwrap();
    assert!(matches!(
        error.problem,
        Problem::TooLong { len: 16, limit: 12 }
    ));
}

#[test]
fn lists_that_nest_too_deep_are_refused() {
    let list = |depth: usize| {
        let mut packed = Vec::new();
        packed.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
        for _ in 0..depth {
            // A pair named `n` of the type list, 48 bytes long; its pairs come after it.
            packed.extend_from_slice(&48_i32.to_le_bytes());
            packed.extend_from_slice(&[2, 0, 0, 0, 1, 0, 0, 0, 19, 0, 0, 0]);
            packed.extend_from_slice(b"n\0\0\0\0\0\0\0");
            packed.extend_from_slice(&[0, 0, 0, 0, 1, 0, 0, 0]);
            packed.extend_from_slice(&[0; 16]);
        }
        packed.extend(vec![0; 4 * (depth + 1)]);
        packed
    };
    let stream = |depth| {
        let mut stream = Build::new(ByteOrder::Little);
        stream.begin(1, &list(depth)).write(&[1; 64]).end();
        stream.bytes
    };
    assert_eq!(records(&stream(nv::MAX_DEPTH)).len(), 3);
    for depth in [nv::MAX_DEPTH + 1, 100_000] {
        let error = error(&stream(depth));
        assert_eq!(error.record, Some(RecordType::Begin));
        assert_eq!((error.number, error.offset), (0, 0));
        match error.problem {
            Problem::Payload(error) => assert_eq!(*error.kind(), DecodeErrorKind::TooDeep),
            other => panic!("{other}"),
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        read(&bytes, ReadOptions::new());
    }

    /// With the checksums made right afterwards, so that what is wrong gets further.
    #[test]
    fn any_fields_are_read_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        payload in prop::collection::vec(any::<u8>(), 0..64),
        fill in any::<bool>(),
    ) {
        let mut stream = Build::new(ByteOrder::Little);
        stream.fill = fill;
        stream.begin(1, &[]);
        let mut headers = [[0; HEADER_LEN]; 4];
        for (header, record) in headers.iter_mut().zip(RecordType::ALL.iter().skip(1)) {
            header[0] = u8::try_from(record.raw()).unwrap();
        }
        for (at, value) in changes {
            let at = at.index(4 * 128);
            headers[at / 128][at % 128] = value;
        }
        for header in headers {
            stream.record(header, &payload);
        }
        stream.end();
        for allow in [false, true] {
            let options = ReadOptions::new().allow_missing_end(allow);
            read(&stream.bytes, options.allow_missing_checksums(allow));
        }
    }
}
