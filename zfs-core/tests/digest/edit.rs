//! Streams made of others, with right checksums.

use zfs_core::stream::{Fletcher4, HEADER_LEN, RecordType, SliceReader};

/// A record taken apart.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) record_type: RecordType,
    pub(crate) header: [u8; HEADER_LEN],
    pub(crate) payload: Vec<u8>,
}

/// The records of a stream.
pub(crate) fn parts(bytes: &[u8]) -> Vec<Part> {
    let mut reader = SliceReader::new(bytes);
    let mut parts = Vec::new();
    while let Some(record) = reader.next_record().expect("a good stream") {
        parts.push(Part {
            record_type: record.record_type(),
            header: *record.header,
            payload: record.payload.to_vec(),
        });
    }
    parts
}

/// The stream that these records make.
pub(crate) fn stream(parts: &[Part]) -> Vec<u8> {
    const CHECKSUM_AT: usize = HEADER_LEN - 32;
    let words = |sum: &Fletcher4| sum.words().map(u64::to_le_bytes).concat();
    let mut sum = Fletcher4::new();
    let mut bytes = Vec::new();
    for part in parts {
        let mut header = part.header;
        if part.record_type == RecordType::Begin {
            sum = Fletcher4::new();
        }
        if part.record_type == RecordType::End {
            header[8..40].copy_from_slice(&words(&sum));
        }
        sum.update(&header[..CHECKSUM_AT]);
        if part.record_type != RecordType::Begin {
            header[CHECKSUM_AT..].copy_from_slice(&words(&sum));
        }
        sum.update(&header[CHECKSUM_AT..]);
        sum.update(&part.payload);
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(&part.payload);
    }
    bytes
}

/// Four bytes of a header, as ZFS on a little-endian machine writes them.
pub(crate) fn u64_at(header: &[u8; HEADER_LEN], at: usize) -> u64 {
    u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"))
}
