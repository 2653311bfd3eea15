use super::record::Record;
use super::walk::{Walk, Window};
use super::{Begin, ReadOptions, StreamError};
use std::io;

/// Goes through the records of a stream in memory without copying them, and verifies every
/// checksum.
///
/// As an iterator it ends after the END of the stream, or after the first error.
///
/// ```
/// use zfs_core::stream::SliceReader;
///
/// let mut records = SliceReader::new(b"no stream");
/// assert!(records.next().is_some_and(|record| record.is_err()));
/// assert!(records.next().is_none());
/// ```
#[derive(Debug)]
pub struct SliceReader<'a> {
    walk: Walk,
    rest: Rest<'a>,
    failed: bool,
}

impl<'a> SliceReader<'a> {
    /// Goes through one complete stream at the front of `bytes`, which may be a compound one.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self::with_options(bytes, ReadOptions::new())
    }

    /// Goes through a stream by other rules.
    #[must_use]
    pub fn with_options(bytes: &'a [u8], options: ReadOptions) -> Self {
        Self {
            walk: Walk::new(options),
            rest: Rest(bytes),
            failed: false,
        }
    }

    /// The next record, proven by its checksums. `None` after the END of the stream.
    ///
    /// # Errors
    ///
    /// As [`StreamReader::next_record`](super::StreamReader::next_record).
    pub fn next_record(&mut self) -> Result<Option<Record<'a>>, StreamError> {
        let Some(step) = self.walk.step(&mut self.rest)? else {
            return Ok(None);
        };
        let Some((bytes, rest)) = self.rest.0.split_at_checked(step.len) else {
            return Ok(None);
        };
        self.rest = Rest(rest);
        Ok(Record::new(
            step.number,
            step.offset,
            step.order,
            step.body,
            bytes,
        ))
    }

    /// The BEGIN of the stream that the last record belongs to.
    #[must_use]
    pub fn begin(&self) -> Option<&Begin> {
        self.walk.begin().map(AsRef::as_ref)
    }

    /// How many bytes the records so far take up.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.walk.offset()
    }

    /// Whether the last record was the END of all.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.walk.is_complete()
    }

    /// The bytes after the last record.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest.0
    }
}

impl<'a> Iterator for SliceReader<'a> {
    type Item = Result<Record<'a>, StreamError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.next_record();
        self.failed = next.is_err();
        next.transpose()
    }
}

#[derive(Debug)]
struct Rest<'a>(&'a [u8]);

impl Window for Rest<'_> {
    fn want(&mut self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn bytes(&self) -> &[u8] {
        self.0
    }
}
