use super::{Begin, ReadOptions, Record, StreamError, StreamReader};
use std::fmt;
use std::io::{self, BufRead, Read};

/// Sees each record that goes through a [`PassThrough`].
///
/// Every `FnMut(&Record)` is one, and so is `()`, which looks at nothing.
pub trait Observer {
    /// A record, proven by its checksums, before any of its bytes is given out.
    fn record(&mut self, record: &Record<'_>);
}

impl<F: FnMut(&Record<'_>)> Observer for F {
    fn record(&mut self, record: &Record<'_>) {
        self(record);
    }
}

impl Observer for () {
    fn record(&mut self, _: &Record<'_>) {}
}

/// Gives out the very bytes of the stream that it reads, verifies them, and shows each record to an
/// [`Observer`].
///
/// A bad record, and a stream that ends early, is an [`io::Error`] with a [`StreamError`] inside,
/// and none of that record's bytes are given out. The end of the file comes only after the END of
/// the stream; nothing after that is read.
///
/// [`BufRead::fill_buf`] shows a record's bytes where they are, without copying them: a whole record
/// when nothing of it has been consumed.
///
/// ```no_run
/// use std::io;
/// use zfs_core::stream::{PassThrough, Record};
///
/// let mut blocks = 0;
/// let count = |record: &Record<'_>| blocks += u64::from(!record.payload.is_empty());
/// let mut verified = PassThrough::new(io::stdin().lock(), count);
/// io::copy(&mut verified, &mut io::stdout().lock())?;
/// # Ok::<(), io::Error>(())
/// ```
pub struct PassThrough<R, O> {
    reader: StreamReader<R>,
    observer: O,
    /// How much of the current record was given out.
    given: usize,
}

impl<R: Read, O: Observer> PassThrough<R, O> {
    /// Passes one complete stream through, which may be a compound one.
    pub fn new(reader: R, observer: O) -> Self {
        Self::with_options(reader, observer, ReadOptions::new())
    }

    /// Passes a stream through by other rules.
    pub fn with_options(reader: R, observer: O, options: ReadOptions) -> Self {
        Self {
            reader: StreamReader::with_options(reader, options),
            observer,
            given: 0,
        }
    }

    /// The BEGIN of the stream that the last record belongs to.
    pub fn begin(&self) -> Option<&Begin> {
        self.reader.begin()
    }

    /// The observer.
    pub fn observer(&self) -> &O {
        &self.observer
    }

    /// Whether the stream was read to its END.
    pub fn is_complete(&self) -> bool {
        self.reader.is_complete()
    }

    /// What was read from, as [`StreamReader::into_inner`] has it, and the observer.
    pub fn into_parts(self) -> (R, O) {
        (self.reader.into_inner(), self.observer)
    }

    /// Goes to the next record, after all of the last was given out.
    fn advance(&mut self) -> Result<(), StreamError> {
        self.given = 0;
        if self.reader.advance()? {
            if let Some(record) = self.reader.record() {
                self.observer.record(&record);
            }
        }
        Ok(())
    }
}

impl<R: Read, O: Observer> BufRead for PassThrough<R, O> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.given >= self.reader.bytes().len() {
            self.advance()?;
        }
        Ok(self.reader.bytes().get(self.given..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.given = self.given.saturating_add(amount);
    }
}

impl<R: Read, O: Observer> Read for PassThrough<R, O> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(out)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R, O> fmt::Debug for PassThrough<R, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PassThrough")
            .field("reader", &self.reader)
            .finish_non_exhaustive()
    }
}
