use super::record::Record;
use super::walk::{Step, Walk, Window};
use super::{Begin, ReadOptions, StreamError};
use std::fmt;
use std::io::{self, Read};

/// Reads the records of a stream from any [`Read`], and verifies every checksum.
///
/// It holds one record at a time, in a buffer that is used again and grows only as data arrives:
/// its memory is that of the longest record, whatever the length of the stream.
///
/// No byte after the END of a stream, or after the last END of a compound one, is ever read: several
/// streams can follow each other on one descriptor, with a reader made for each. For the same reason
/// it reads a record at a time; where what is read holds nothing else and its records are small, a
/// [`BufReader`](std::io::BufReader) around it saves system calls.
pub struct StreamReader<R> {
    walk: Walk,
    input: Input<R>,
    current: Option<Step>,
}

impl<R: Read> StreamReader<R> {
    /// Reads one complete stream, which may be a compound one.
    pub fn new(reader: R) -> Self {
        Self::with_options(reader, ReadOptions::new())
    }

    /// Reads a stream by other rules.
    pub fn with_options(reader: R, options: ReadOptions) -> Self {
        Self {
            walk: Walk::new(options),
            input: Input {
                reader,
                buffer: Vec::new(),
                filled: 0,
            },
            current: None,
        }
    }

    /// The next record, proven by its checksums. `None` after the END of the stream.
    ///
    /// Before a record with a payload is given out, the header after it is read, for nothing else
    /// proves the payload.
    ///
    /// # Errors
    ///
    /// [`StreamError`] names the record, its offset and the [`Problem`](super::Problem). There are
    /// no records after an error.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, StreamError> {
        self.advance()?;
        Ok(self.record())
    }

    /// The BEGIN of the stream that the last record belongs to.
    pub fn begin(&self) -> Option<&Begin> {
        self.walk.begin().map(AsRef::as_ref)
    }

    /// How many bytes the records so far take up.
    pub fn offset(&self) -> u64 {
        self.walk.offset()
    }

    /// Whether the last record was the END of all: `false` as well where
    /// [`allow_missing_end`](ReadOptions::allow_missing_end) let a stream without END pass.
    pub fn is_complete(&self) -> bool {
        self.walk.is_complete()
    }

    /// What was read from. Before the END, up to [`HEADER_LEN`](super::HEADER_LEN) bytes of the next record may have
    /// been read from it.
    pub fn into_inner(self) -> R {
        self.input.reader
    }

    /// Goes to the next record. Returns whether there is one.
    pub(super) fn advance(&mut self) -> Result<bool, StreamError> {
        if let Some(done) = self.current.take() {
            self.input.discard(done.len);
        }
        self.current = self.walk.step(&mut self.input)?;
        Ok(self.current.is_some())
    }

    /// The record that [`advance`](Self::advance) went to.
    pub(super) fn record(&self) -> Option<Record<'_>> {
        let step = self.current.as_ref()?;
        Record::new(
            step.number,
            step.offset,
            step.order,
            step.body.clone(),
            self.bytes(),
        )
    }

    /// The bytes of the record that [`advance`](Self::advance) went to.
    pub(super) fn bytes(&self) -> &[u8] {
        let len = self.current.as_ref().map_or(0, |step| step.len);
        self.input.buffer.get(..len).unwrap_or_default()
    }
}

impl<R> fmt::Debug for StreamReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamReader")
            .field("walk", &self.walk)
            .finish_non_exhaustive()
    }
}

/// A reader and the bytes that were read from it.
struct Input<R> {
    reader: R,
    /// Zeros, or what was read earlier, from `filled` on.
    buffer: Vec<u8>,
    filled: usize,
}

/// How much the buffer grows before anything has been read into what there is.
const FIRST: usize = 64 << 10;

impl<R> Input<R> {
    /// Drops bytes from the front. What is left is never more than a header.
    fn discard(&mut self, len: usize) {
        let len = len.min(self.filled);
        self.buffer.copy_within(len..self.filled, 0);
        self.filled -= len;
    }
}

impl<R: Read> Window for Input<R> {
    fn want(&mut self, len: usize) -> io::Result<()> {
        while self.filled < len {
            // A length that no data follows must not take memory.
            let room = len.min(self.filled.max(FIRST).saturating_mul(2));
            if self.buffer.len() < room {
                self.buffer.reserve_exact(room - self.buffer.len());
                self.buffer.resize(room, 0);
            }
            let end = len.min(self.buffer.len());
            let free = self.buffer.get_mut(self.filled..end).unwrap_or_default();
            match self.reader.read(free) {
                Ok(0) => break,
                Ok(read) if read <= free.len() => self.filled += read,
                Ok(_) => return Err(io::Error::other("a reader claims more than it was given")),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.filled).unwrap_or_default()
    }
}
