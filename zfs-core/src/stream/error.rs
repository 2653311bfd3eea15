use super::RecordType;
use crate::error::{Error, ErrorKind, Operation};
use crate::nv;
use std::fmt;
use std::io;

/// A stream that cannot be read on: what is wrong with it, and where.
///
/// It turns into an [`io::Error`] of the kind `UnexpectedEof` (truncated), `InvalidData`, or that
/// of the reader's own failure; and into an [`Error`] of the operation [`Operation::ReadStream`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub struct StreamError {
    /// The record, counted from 0 at the start of the input.
    pub number: u64,
    /// The type of the record, as far as its header could be read.
    pub record: Option<RecordType>,
    /// The byte at which the record's header begins, counted from the start of the input.
    pub offset: u64,
    /// What is wrong.
    #[source]
    pub problem: Problem,
}

/// The faults of a stream.
///
/// | problem | [`Error::kind`] |
/// |---|---|
/// | [`Truncated`](Self::Truncated) | [`ErrorKind::Truncated`] |
/// | [`Checksum`](Self::Checksum), [`NoChecksum`](Self::NoChecksum), [`ClosingBytes`](Self::ClosingBytes) | [`ErrorKind::Corrupt`] |
/// | [`TooLong`](Self::TooLong) | [`ErrorKind::TooBig`] |
/// | [`Io`](Self::Io) | [`ErrorKind::Transport`] |
/// | all others | [`ErrorKind::InvalidStream`] |
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The input ends inside the record, or before the END that should come next.
    #[error("the stream ends after {got} of {wanted} bytes")]
    Truncated {
        /// How many bytes of this record, and of the header that proves it, there should be.
        wanted: u64,
        /// How many there are.
        got: u64,
    },
    /// The checksum differs. The damage is in this record, or in the header after it where this
    /// record has a payload or is a BEGIN: only that header can prove it.
    #[error(
        "checksum mismatch: stated {}, computed {}",
        Sum(stated),
        Sum(computed)
    )]
    Checksum {
        /// What the stream states.
        stated: [u64; 4],
        /// What its bytes come to.
        computed: [u64; 4],
    },
    /// The checksum that should prove this record is not filled in. Senders before 0.7 left them
    /// out, and [`allow_missing_checksums`](super::ReadOptions::allow_missing_checksums) accepts
    /// that; in a newer stream the lengths do not lead to a header.
    #[error("no checksum proves it")]
    NoChecksum,
    /// The stream does not begin with the magic number, in either byte order.
    #[error("not a send stream: magic number {0:#x}")]
    BadMagic(u64),
    /// A BEGIN of neither a stream nor a compound stream.
    #[error("unknown kind of stream {0}")]
    UnknownKind(u8),
    /// A type of record that ZFS does not define.
    #[error("unknown record type {0}")]
    UnknownType(u32),
    /// A record that may not come here: anything before BEGIN, a second BEGIN before END, a
    /// compound stream inside another.
    #[error("{0} may not come here")]
    OutOfPlace(RecordType),
    /// A payload longer than [`ReadOptions`](super::ReadOptions) allow.
    #[error("a payload of {len} bytes is longer than {limit}")]
    TooLong {
        /// What the header states.
        len: u64,
        /// What is allowed.
        limit: u64,
    },
    /// A payload that does not consist of whole words, which the checksum could not cover.
    #[error("a payload of {0} bytes is not a multiple of four")]
    Unaligned(u64),
    /// The name of the snapshot has no end or is no UTF-8.
    #[error("the snapshot's name cannot be read")]
    Name,
    /// The list that a BEGIN carries cannot be read.
    #[error(transparent)]
    Payload(#[from] nv::DecodeError),
    /// An END without a checksum of its own has bytes set that are zero in every stream.
    #[error("an END without checksum has bytes that should be zero")]
    ClosingBytes,
    /// Reading failed.
    #[error("reading failed: {0}")]
    Io(#[from] io::Error),
    /// The reader was used again after an error.
    #[error("an earlier record could not be read")]
    Failed,
}

struct Sum<'a>(&'a [u64; 4]);

impl fmt::Display for Sum<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.0;
        write!(f, "{a:x}/{b:x}/{c:x}/{d:x}")
    }
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            number,
            record,
            offset,
            problem,
        } = self;
        write!(f, "record {number} (")?;
        if let Some(record) = record {
            write!(f, "{record} ")?;
        }
        write!(f, "at byte {offset}): {problem}")
    }
}

impl StreamError {
    /// What this is as the kind of an [`Error`].
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match &self.problem {
            Problem::Truncated { .. } => ErrorKind::Truncated,
            Problem::Checksum { .. } | Problem::NoChecksum | Problem::ClosingBytes => {
                ErrorKind::Corrupt
            }
            Problem::TooLong { .. } => ErrorKind::TooBig,
            Problem::Io(_) => ErrorKind::Transport,
            _ => ErrorKind::InvalidStream,
        }
    }
}

impl From<StreamError> for io::Error {
    fn from(error: StreamError) -> Self {
        let kind = match &error.problem {
            Problem::Truncated { .. } => io::ErrorKind::UnexpectedEof,
            Problem::Io(error) => error.kind(),
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

impl From<StreamError> for Error {
    fn from(error: StreamError) -> Self {
        Self::refused(
            Operation::ReadStream,
            String::new(),
            error.kind(),
            error.to_string(),
        )
    }
}
