//! Reading.

use super::record::HistoryRecord;
use crate::error::{Errno, Error, ErrorKind, Operation, Result};
use crate::nv;
use crate::pool::Pool;
use std::iter::FusedIterator;
use zfs_core_sys::ioctl::ZFS_IOC_POOL_GET_HISTORY;

const OPERATION: Operation = Operation::ReadHistory;

/// How much is read at a time.
const ROOM: usize = 128 << 10;

/// A longer record is an error. The kernel cuts what it writes far below that.
const MAX_RECORD: usize = 64 << 20;

/// The records of a pool's history, oldest first: see [`Pool::history`].
#[derive(Debug)]
pub struct History {
    pool: Pool,
    /// Where the next read begins.
    offset: u64,
    buffer: Vec<u8>,
    /// How much of the buffer is given out already.
    taken: usize,
    done: bool,
}

impl Pool {
    /// Its history: how it was created, which is kept for ever, and what was done since, as far back
    /// as it is kept. The kernel overwrites the oldest records when all take a thousandth of the pool.
    ///
    /// Records are read as they are asked for, 128 KiB at a time, so that memory is bounded by the
    /// longest record. Those that are written meanwhile come at the end. If the kernel overwrites
    /// what was not read yet, the records in between are missing.
    ///
    /// Does not call the kernel. The first record waits for the transaction group that is open, so
    /// that what was done before is there.
    ///
    /// # Errors
    ///
    /// The iterator ends after the first error.
    ///
    /// | kind | when |
    /// |---|---|
    /// | `NotFound` | no pool of that name is imported |
    /// | `Unsupported` | the pool's version is too old for a history |
    /// | `PermissionDenied` | the caller is not root |
    /// | `Protocol` | the history is damaged |
    /// | `PoolSuspended` | as it says |
    ///
    /// # Privileges
    ///
    /// Root.
    ///
    /// `zpool-history(8)`, request `ZFS_IOC_POOL_GET_HISTORY`.
    #[doc(alias = "ZFS_IOC_POOL_GET_HISTORY")]
    #[doc(alias = "zpool_get_history")]
    #[must_use]
    pub fn history(&self) -> History {
        History {
            pool: self.clone(),
            offset: 0,
            buffer: Vec::new(),
            taken: 0,
            done: false,
        }
    }
}

/// What the beginning of the buffer is.
enum Front {
    /// A record of so many bytes, with its length in front of it.
    Whole(usize),
    /// Not all of a record. So many bytes are needed to read on.
    Part(usize),
}

/// Looks at the length in front of a record.
fn front(bytes: &[u8]) -> Result<Front, String> {
    let Some((length, _)) = bytes.split_first_chunk() else {
        return Ok(Front::Part(ROOM));
    };
    let length = u64::from_le_bytes(*length);
    match usize::try_from(length) {
        Ok(length) if length <= MAX_RECORD => {
            let whole = size_of::<u64>() + length;
            Ok(match bytes.len() < whole {
                true => Front::Part(whole.max(ROOM)),
                false => Front::Whole(whole),
            })
        }
        _ => Err(format!("a record of {length} bytes")),
    }
}

impl History {
    fn protocol(&self, detail: impl std::fmt::Display) -> Error {
        Error::protocol(OPERATION, self.pool.name().as_str(), detail)
    }

    fn advance(&mut self) -> Result<Option<HistoryRecord>> {
        loop {
            let left = self.buffer.get(self.taken..).unwrap_or_default();
            match front(left).map_err(|detail| self.protocol(detail))? {
                Front::Whole(length) => {
                    let record = left.get(size_of::<u64>()..length).unwrap_or_default();
                    let record = nv::decode(record).map_err(|error| self.protocol(error))?;
                    self.taken += length;
                    return Ok(Some(HistoryRecord::read(record)));
                }
                // What is there of the record is read once more, with its rest.
                Front::Part(room) => {
                    if !self.fill(left.len(), room)? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Reads `room` bytes from the first one that was not given out; `left` of them are in the buffer
    /// already. False at the end.
    fn fill(&mut self, left: usize, room: usize) -> Result<bool> {
        let from = self.offset.saturating_sub(left as u64);
        let zfs = self.pool.zfs().clone();
        let mut request = zfs
            .request(ZFS_IOC_POOL_GET_HISTORY, self.pool.name().as_c_str())
            .history_room(room);
        request.cmd().zc_history_offset = from;
        request.read().map_err(|errno| {
            let error = Error::new(OPERATION, self.pool.name().as_str(), errno);
            match errno {
                // The pool is there, and has none.
                Errno::ENOENT if self.pool.exists().unwrap_or(false) => {
                    error.with_kind(ErrorKind::Unsupported)
                }
                _ => error,
            }
        })?;
        let offset = request.cmd().zc_history_offset;
        let read = request.history();
        let grown = read.len() > left || offset != self.offset;
        self.buffer.clear();
        self.buffer.extend_from_slice(read);
        self.taken = 0;
        self.offset = offset;
        match (grown, self.buffer.is_empty()) {
            (_, true) => Ok(false),
            (true, false) => Ok(true),
            // The same part of a record as before: there is no more of it.
            (false, false) => Err(self.protocol("the last record is cut")),
        }
    }
}

impl Iterator for History {
    type Item = Result<HistoryRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.advance().transpose();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}

impl FusedIterator for History {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_by_their_length() {
        let mut bytes = 3_u64.to_le_bytes().to_vec();
        bytes.extend_from_slice(b"abcd");
        assert!(matches!(front(&bytes), Ok(Front::Whole(11))));
        for len in 0..11 {
            let part = bytes.get(..len).unwrap();
            assert!(matches!(front(part), Ok(Front::Part(ROOM))), "{len}");
        }
        let long = (MAX_RECORD as u64).to_le_bytes();
        assert!(matches!(front(&long), Ok(Front::Part(room)) if room == MAX_RECORD + 8));
        for length in [MAX_RECORD as u64 + 1, u64::MAX] {
            assert!(front(&length.to_le_bytes()).is_err());
        }
    }
}
