//! Streams taken apart and their checksums made right again, by code that shares nothing with the
//! parser: for tests that change a stream and want no checksum to tell.
#![allow(dead_code, reason = "no test needs all of it")]

use std::ops::Range;

/// The length of a record's header.
pub(crate) const HEADER: usize = 312;
/// Where the checksum is in a header.
pub(crate) const CHECKSUM: usize = 280;

const MAGIC: u64 = 0x2_F5BA_CBAC;
const BEGIN: u32 = 0;
const END: u32 = 5;

/// Where a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Where its header begins.
    pub(crate) at: usize,
    /// The number of its type.
    pub(crate) kind: u32,
    /// Where its payload is; empty when it has none.
    pub(crate) payload: Range<usize>,
    big: bool,
}

/// The records from the start of the stream, as far as they are whole and of known types.
pub(crate) fn places(bytes: &[u8]) -> Vec<Place> {
    let mut places = Vec::new();
    let mut big = false;
    let mut at = 0;
    while let Some(header) = bytes.get(at..).and_then(|rest| rest.get(..HEADER)) {
        if word8(header, 8, !big) == MAGIC && word4(header, 0, !big) == BEGIN {
            big = !big;
        }
        let kind = word4(header, 0, big);
        let Some(length) = payload(header, kind, big) else {
            break;
        };
        let start = at + HEADER;
        let Some(end) = usize::try_from(length)
            .ok()
            .and_then(|length| start.checked_add(length))
            .filter(|end| *end <= bytes.len())
        else {
            break;
        };
        places.push(Place {
            at,
            kind,
            payload: start..end,
            big,
        });
        at = end;
    }
    places
}

/// Makes every checksum right, except those that the stream leaves empty.
pub(crate) fn seal(bytes: &mut [u8]) {
    let mut sum = Sum::default();
    for place in places(bytes) {
        let Some(record) = bytes.get_mut(place.at..place.payload.end) else {
            return;
        };
        let big = place.big;
        if place.kind == BEGIN {
            sum = Sum::default();
        }
        if place.kind == END && !is_empty(record, 8) {
            sum.write(record, 8, big);
        }
        let (covered, rest) = record.split_at_mut(CHECKSUM);
        sum.add(covered, big);
        if place.kind != BEGIN && !is_empty(rest, 0) {
            sum.write(rest, 0, big);
        }
        sum.add(rest, big);
    }
}

fn is_empty(bytes: &[u8], at: usize) -> bool {
    bytes
        .get(at..at + 32)
        .is_none_or(|sum| sum.iter().all(|byte| *byte == 0))
}

fn word4(bytes: &[u8], at: usize, big: bool) -> u32 {
    let bytes = bytes.get(at..).and_then(<[u8]>::first_chunk);
    let bytes = bytes.copied().unwrap_or_default();
    if big {
        u32::from_be_bytes(bytes)
    } else {
        u32::from_le_bytes(bytes)
    }
}

fn word8(bytes: &[u8], at: usize, big: bool) -> u64 {
    let (low, high) = if big { (at + 4, at) } else { (at, at + 4) };
    u64::from(word4(bytes, high, big)) << 32 | u64::from(word4(bytes, low, big))
}

/// How many bytes follow a header.
fn payload(header: &[u8], kind: u32, big: bool) -> Option<u64> {
    let byte = |at: usize| header.get(at).copied().unwrap_or_default();
    let four = |at| u64::from(word4(header, at, big));
    let eight = |at| word8(header, at, big);
    let padded = |length: u64| length.div_ceil(8) * 8;
    Some(match kind {
        BEGIN => four(4),
        1 if four(36) != 0 => four(36),
        1 => padded(four(28)),
        3 if byte(50) != 0 => eight(96),
        3 => eight(32),
        7 if eight(40) != 0 => eight(40),
        7 => eight(16),
        8 => padded(four(52)),
        2 | 4 | END | 6 | 9 | 10 => 0,
        _ => return None,
    })
}

/// Fletcher-4.
#[derive(Default)]
struct Sum([u64; 4]);

impl Sum {
    fn add(&mut self, bytes: &[u8], big: bool) {
        let [mut a, mut b, mut c, mut d] = self.0;
        for word in bytes.chunks_exact(4) {
            a = a.wrapping_add(u64::from(word4(word, 0, big)));
            b = b.wrapping_add(a);
            c = c.wrapping_add(b);
            d = d.wrapping_add(c);
        }
        self.0 = [a, b, c, d];
    }

    fn write(&self, bytes: &mut [u8], at: usize, big: bool) {
        for (n, sum) in self.0.iter().enumerate() {
            let to = bytes.get_mut(at + n * 8..).unwrap_or_default();
            let sum = if big {
                sum.to_be_bytes()
            } else {
                sum.to_le_bytes()
            };
            for (to, byte) in to.iter_mut().zip(sum) {
                *to = byte;
            }
        }
    }
}
