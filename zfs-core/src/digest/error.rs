use std::fmt;

/// A stream cannot be digested: it is none that ZFS makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestError {
    pub(super) record: u64,
    pub(super) offset: u64,
    pub(super) problem: DigestProblem,
}

/// What is wrong with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DigestProblem {
    /// A record comes before the first BEGIN, or between the streams of a compound one.
    OutsideStream,
    /// A record for something that the stream has gone past, or had already. ZFS sends objects and
    /// blocks in ascending order, and each once.
    OutOfOrder {
        /// The object.
        object: u64,
        /// The offset in bytes, of a block.
        offset: Option<u64>,
    },
    /// A block that repeats another one by reference. No kernel since OpenZFS 2.0 takes such a
    /// stream; `zstream redup` converts it.
    Deduplicated,
    /// A block lies beyond the end of any file: attributes, or the target of a long symbolic link,
    /// that were sent as data. Who receives the stream loses them.
    ///
    /// A fault of OpenZFS 2.3 and 2.4, up to 2.4.4 at least: a spill block that compresses so well
    /// that it is stored in its pointer is sent so with `-e`, and with `-w` if the dataset is not
    /// encrypted. Other streams are right.
    SpillAsData {
        /// The object that the attributes belong to.
        object: u64,
    },
}

impl DigestError {
    /// What is wrong.
    #[must_use]
    pub fn problem(&self) -> DigestProblem {
        self.problem
    }

    /// The number of the record, from 0.
    #[must_use]
    pub fn record(&self) -> u64 {
        self.record
    }

    /// Where the record begins in the stream, in bytes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }
}

impl fmt::Display for DigestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { record, offset, .. } = self;
        write!(f, "cannot digest record {record} at byte {offset}: ")?;
        match self.problem {
            DigestProblem::OutsideStream => f.write_str("it is not between a BEGIN and its END"),
            DigestProblem::OutOfOrder { object, offset } => {
                write!(f, "object {object}")?;
                if let Some(offset) = offset {
                    write!(f, " at offset {offset}")?;
                }
                f.write_str(" is out of order")
            }
            DigestProblem::Deduplicated => f.write_str("it is of a deduplicated stream"),
            DigestProblem::SpillAsData { object } => {
                write!(f, "attributes of object {object} were sent as data")
            }
        }
    }
}

impl std::error::Error for DigestError {}
