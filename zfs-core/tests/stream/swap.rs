//! Turns a stream into what a machine of the other byte order would have sent.

use zfs_core::stream::{Body, ByteOrder, HEADER_LEN, RecordType, SliceReader};

use super::build::Build;

/// The numbers in a header: where they are and how long.
fn numbers(record: RecordType) -> Vec<(usize, usize)> {
    let words = |from: usize, to: usize| (from..to).step_by(8).map(|at| (at, 8));
    let mut numbers = vec![(0, 4), (4, 4)];
    match record {
        RecordType::Begin => {
            numbers.extend(words(8, 32).chain([(32, 4), (36, 4)]).chain(words(40, 56)));
            return numbers;
        }
        RecordType::Object => {
            let short = [16, 20, 24, 28, 36].map(|at| (at, 4));
            numbers.extend(words(8, 16).chain(short).chain([(40, 8), (56, 8)]));
        }
        RecordType::FreeObjects => numbers.extend(words(8, 32)),
        RecordType::Write => {
            numbers.extend([(8, 8), (16, 4)].into_iter().chain(words(24, 48)));
            numbers.extend(words(56, 104));
        }
        RecordType::Free | RecordType::Redact => numbers.extend(words(8, 40)),
        RecordType::End => numbers.extend(words(8, 48)),
        RecordType::WriteByRef => numbers.extend(words(8, 64).chain(words(72, 112))),
        RecordType::Spill => {
            numbers.extend(words(8, 32).chain([(40, 8), (84, 4)]));
        }
        RecordType::WriteEmbedded => {
            numbers.extend(words(8, 40).chain([(48, 4), (52, 4)]));
        }
        RecordType::ObjectRange => numbers.extend(words(8, 32)),
        other => panic!("{other}"),
    }
    numbers.extend(words(280, HEADER_LEN));
    numbers
}

/// The stream in the other byte order, with its checksums as that sender would have computed them.
/// Payloads stay: what is in them is not the stream's own, but for lists, which say their order.
pub(crate) fn swap(bytes: &[u8]) -> Vec<u8> {
    let mut swapped = Build::new(ByteOrder::Big);
    for record in SliceReader::new(bytes) {
        let record = record.unwrap();
        let mut header = *record.header;
        for (at, len) in numbers(record.record_type()) {
            header[at..at + len].reverse();
        }
        let mut payload = record.payload.to_vec();
        if let Body::Begin(begin) = &record.body {
            if payload.first() == Some(&0) {
                assert_eq!(begin.payload_len as usize, payload.len());
                payload[1] = 0;
            }
        }
        let closing = record.checksum().is_none();
        match record.body {
            // Those of user space: the first has the sum of the compound header, the last none.
            Body::End(end) if closing && end.checksum == [0; 4] => swapped.closing_end(),
            Body::End(_) if closing => swapped.header_end(),
            _ => swapped.record(header, &payload),
        };
    }
    swapped.bytes
}
