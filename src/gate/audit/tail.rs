use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::record::{self, MAX_LINE};
use super::{AuditHash, AuditMark};

/// How much of the end is read at first.
const WINDOW: u64 = 4 * MAX_LINE as u64;

/// How a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    /// The length of the file.
    pub(super) len: u64,
    /// The last record.
    pub(super) last: AuditMark,
    pub(super) rest: Rest,
}

/// What comes after the last record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    Nothing,
    /// The last record has no newline.
    NoNewline,
    /// So many bytes of what was not written to its end.
    Torn {
        len: u64,
        hash: AuditHash,
    },
}

/// How the file of length `len` ends, or what is wrong with it.
pub(super) fn read(file: &File, len: u64) -> io::Result<Result<Tail, String>> {
    let mut window = WINDOW;
    loop {
        let from = len.saturating_sub(window);
        let room = usize::try_from(len - from).map_err(io::Error::other)?;
        let mut bytes = vec![0; room];
        file.read_exact_at(&mut bytes, from)?;
        if let Some((last, rest)) = last_record(&bytes, from == 0) {
            return Ok(rest_of(rest).map(|rest| Tail { len, last, rest }));
        }
        if from == 0 {
            return Ok(beginning(&bytes).map(|rest| Tail {
                len,
                last: AuditMark::NONE,
                rest,
            }));
        }
        window = window.saturating_mul(4);
    }
}

/// The last record, and what comes after it.
fn last_record(bytes: &[u8], whole: bool) -> Option<(AuditMark, &[u8])> {
    let mut end = bytes.len();
    loop {
        let head = bytes.get(..end)?;
        let start = match head.iter().rposition(|byte| *byte == b'\n') {
            Some(newline) => newline + 1,
            None if whole => 0,
            None => return None,
        };
        if let Some(record) = head.get(start..).and_then(record::read) {
            return Some((record.mark(), bytes.get(end..)?));
        }
        end = start.checked_sub(1)?;
    }
}

fn rest_of(rest: &[u8]) -> Result<Rest, String> {
    match rest {
        [] => Ok(Rest::NoNewline),
        [b'\n'] => Ok(Rest::Nothing),
        [b'\n', torn @ ..] => torn_rest(torn),
        _ => Err("the last record is followed by something else".to_owned()),
    }
}

/// Of bytes that belong to no record: what is left of a write that did not end, or damage.
///
/// What was not written to its end has no newline there, or is in part the zeros of a block that never
/// came to the disk.
fn torn_rest(torn: &[u8]) -> Result<Rest, String> {
    match torn.ends_with(b"\n") && !torn.contains(&0) {
        true => Err("the last line is no record".to_owned()),
        false => Ok(Rest::Torn {
            len: torn.len() as u64,
            hash: AuditHash::of(torn),
        }),
    }
}

/// Of a file without any record.
fn beginning(bytes: &[u8]) -> Result<Rest, String> {
    const FIRST: &[u8] = b"{\"seq\":1,";
    let end = bytes.iter().rposition(|byte| *byte != 0);
    let written = bytes
        .get(..end.map_or(0, |end| end + 1))
        .unwrap_or_default();
    let begins = written.iter().zip(FIRST).all(|(byte, first)| byte == first);
    match bytes {
        [] => Ok(Rest::Nothing),
        _ if begins && bytes.len() <= MAX_LINE => torn_rest(bytes),
        _ => Err("it is no audit log".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::audit::{AuditEvent, AuditKind};
    use std::time::SystemTime;

    fn lines(count: u64) -> (Vec<u8>, AuditMark) {
        let mut bytes = Vec::new();
        let mut mark = AuditMark::NONE;
        for _ in 0..count {
            let event = AuditEvent::new(AuditKind::Use);
            mark = record::write(&event, mark, SystemTime::UNIX_EPOCH, &mut bytes).unwrap();
        }
        (bytes, mark)
    }

    fn tail(bytes: &[u8]) -> Result<Tail, String> {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        read(&file, bytes.len() as u64).unwrap()
    }

    #[test]
    fn every_cut_of_a_log_is_continued_and_no_record_is_lost() {
        let (bytes, _) = lines(3);
        let ends: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] == b'\n').collect();
        for cut in 0..=bytes.len() {
            let tail = tail(&bytes[..cut]).unwrap_or_else(|why| panic!("{cut}: {why}"));
            // A record is there when all but its newline is.
            let records = ends.iter().filter(|end| cut >= **end).count();
            assert_eq!(tail.last.seq, records as u64, "{cut}");
            let rest = match ends.iter().find(|end| cut == **end) {
                Some(_) => Rest::NoNewline,
                None => {
                    let start = ends
                        .iter()
                        .rfind(|end| cut > **end)
                        .map_or(0, |end| end + 1);
                    match &bytes[start..cut] {
                        [] => Rest::Nothing,
                        torn => Rest::Torn {
                            len: torn.len() as u64,
                            hash: AuditHash::of(torn),
                        },
                    }
                }
            };
            assert_eq!(tail.rest, rest, "{cut}");
        }
    }

    #[test]
    fn a_changed_last_line_is_damage_and_zeros_are_torn() {
        let (bytes, mark) = lines(2);
        let mut changed = bytes.clone();
        let at = changed.len() - 100;
        changed[at] ^= 1;
        assert!(tail(&changed).is_err());
        let mut zeros = bytes.clone();
        zeros.extend_from_slice(&[0; 4096]);
        let tail = tail(&zeros).unwrap();
        assert_eq!(tail.last, mark);
        assert!(matches!(tail.rest, Rest::Torn { len: 4096, .. }));
    }

    #[test]
    fn other_files_are_not_logs() {
        for bytes in [
            b"root:x:0:0::/root:/bin/sh\n".as_slice(),
            b"no newline",
            b"\x7fELF\0\0",
            b"{\"seq\":2,",
            b"\n",
        ] {
            assert!(tail(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_long_tail_is_read_in_parts() {
        let (mut bytes, mark) = lines(4);
        bytes.extend(std::iter::repeat_n(b'x', 3 * 4 * MAX_LINE));
        let tail = tail(&bytes).unwrap();
        assert_eq!(tail.last, mark);
    }
}
