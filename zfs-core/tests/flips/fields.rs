//! What is where in a record's header.

use std::ops::Range;

/// The names of the types, by number.
pub(crate) const TYPES: [&str; 11] = [
    "BEGIN",
    "OBJECT",
    "FREEOBJECTS",
    "WRITE",
    "FREE",
    "END",
    "WRITE_BYREF",
    "SPILL",
    "WRITE_EMBEDDED",
    "OBJECT_RANGE",
    "REDACT",
];

type Fields = &'static [(&'static str, Range<usize>)];

/// The fields of a header of this type that come after those of every type, in their order. What is
/// between them is padding.
const BY_TYPE: [Fields; 11] = [
    &[
        ("magic", 8..16),
        ("version and features", 16..24),
        ("creation time", 24..32),
        ("kind of dataset", 32..36),
        ("flags", 36..40),
        ("to guid", 40..48),
        ("from guid", 48..56),
        ("name", 56..312),
    ],
    &[
        ("object", 8..16),
        ("object type", 16..20),
        ("bonus type", 20..24),
        ("block size", 24..28),
        ("bonus length", 28..32),
        ("checksum type", 32..33),
        ("compression", 33..34),
        ("dnode slots", 34..35),
        ("flags", 35..36),
        ("raw bonus length", 36..40),
        ("to guid", 40..48),
        ("raw: indirect shift", 48..49),
        ("raw: levels", 49..50),
        ("raw: block pointers", 50..51),
        ("raw: last block", 56..64),
        ("checksum", 280..312),
    ],
    &[
        ("first object", 8..16),
        ("count", 16..24),
        ("to guid", 24..32),
        ("checksum", 280..312),
    ],
    &[
        ("object", 8..16),
        ("object type", 16..20),
        ("offset", 24..32),
        ("logical size", 32..40),
        ("to guid", 40..48),
        ("checksum type", 48..49),
        ("flags", 49..50),
        ("compression", 50..51),
        ("deduplication key", 56..96),
        ("compressed size", 96..104),
        ("raw: salt", 104..112),
        ("raw: iv", 112..124),
        ("raw: mac", 124..140),
        ("checksum", 280..312),
    ],
    &[
        ("object", 8..16),
        ("offset", 16..24),
        ("length", 24..32),
        ("to guid", 32..40),
        ("checksum", 280..312),
    ],
    &[
        ("closing checksum", 8..40),
        ("to guid", 40..48),
        ("checksum", 280..312),
    ],
    &[],
    &[
        ("object", 8..16),
        ("length", 16..24),
        ("to guid", 24..32),
        ("flags", 32..33),
        ("compression", 33..34),
        ("compressed size", 40..48),
        ("raw: salt", 48..56),
        ("raw: iv", 56..68),
        ("raw: mac", 68..84),
        ("raw: object type", 84..88),
        ("checksum", 280..312),
    ],
    &[
        ("object", 8..16),
        ("offset", 16..24),
        ("length", 24..32),
        ("to guid", 32..40),
        ("compression", 40..41),
        ("embedded type", 41..42),
        ("logical size", 48..52),
        ("physical size", 52..56),
        ("checksum", 280..312),
    ],
    &[
        ("first object", 8..16),
        ("slots", 16..24),
        ("to guid", 24..32),
        ("raw: salt", 32..40),
        ("raw: iv", 40..52),
        ("raw: mac", 52..68),
        ("flags", 68..69),
        ("checksum", 280..312),
    ],
    &[
        ("object", 8..16),
        ("offset", 16..24),
        ("length", 24..32),
        ("to guid", 32..40),
        ("checksum", 280..312),
    ],
];

/// The field that a byte of a header belongs to.
pub(crate) fn field(kind: u32, at: usize) -> &'static str {
    match at {
        0..4 => "record type",
        4..8 => "payload length",
        _ => BY_TYPE[kind as usize]
            .iter()
            .find(|(_, range)| range.contains(&at))
            .map_or("padding", |(name, _)| name),
    }
}

/// Every field of a header of this type.
pub(crate) fn fields(kind: u32) -> impl Iterator<Item = &'static str> {
    ["record type", "payload length"]
        .into_iter()
        .chain(BY_TYPE[kind as usize].iter().map(|(name, _)| *name))
}

/// The length of a field in bytes.
pub(crate) fn width(kind: u32, field: &str) -> usize {
    BY_TYPE[kind as usize]
        .iter()
        .find(|(name, _)| *name == field)
        .map_or(4, |(_, range)| range.len())
}
