//! What can be wrong with a packed list, or with a list to be packed.

use std::ffi::CString;

use super::MAX_DEPTH;

/// A packed list that cannot be read: what is wrong with it, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad nvlist: {kind} (at byte {offset})")]
pub struct DecodeError {
    kind: DecodeErrorKind,
    offset: usize,
}

impl DecodeError {
    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> &DecodeErrorKind {
        &self.kind
    }

    /// The byte, counted from the start of the packed list, at which the fault was noticed.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }
}

/// The faults of a packed list.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeErrorKind {
    /// The bytes end before the list does.
    #[error("it ends early")]
    Truncated,
    /// The header's first byte is neither 0 (native) nor 1 (XDR).
    #[error("unknown encoding {0}")]
    UnknownEncoding(u8),
    /// The native encoding in the byte order of another kind of machine.
    #[error("native encoding in foreign byte order")]
    ForeignEndianness,
    /// A list's version is not 0.
    #[error("unknown list version {0}")]
    UnknownVersion(i32),
    /// A pair's size is too small for a pair, larger than what is left, or not what its name,
    /// type and element count come to.
    #[error("a pair of {0} bytes does not hold its name and value")]
    PairSize(i32),
    /// A pair's name has no end, or a NUL in the middle.
    #[error("a name is not terminated where it ends")]
    Name,
    /// A type number that ZFS does not define.
    #[error("unknown value type {0}")]
    UnknownType(i32),
    /// An element count that the type cannot have.
    #[error("wrong element count {0}")]
    ElementCount(i32),
    /// A string without an end, or with a NUL in the middle.
    #[error("a string is not terminated where it ends")]
    String,
    /// A number that does not fit its type (a boolean other than 0 and 1, a 16-bit number above
    /// 65535).
    #[error("{0} is outside the range of its type")]
    Range(u32),
    /// XDR padding that is not zero.
    #[error("padding is not zero")]
    Padding,
    /// Two pairs of one name in a list that declares its names unique.
    #[error("a second pair is named {0:?} in a list of unique names")]
    Duplicate(CString),
    /// More than [`MAX_DEPTH`] lists inside each other.
    #[error("lists nest more than {MAX_DEPTH} deep")]
    TooDeep,
}

impl DecodeErrorKind {
    pub(super) fn at(self, offset: usize) -> DecodeError {
        DecodeError { kind: self, offset }
    }
}

/// A list that has no packed form.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// More than [`MAX_DEPTH`] lists inside each other.
    #[error("lists nest more than {MAX_DEPTH} deep")]
    TooDeep,
    /// A name longer than 32766 bytes.
    #[error("a name is longer than 32766 bytes")]
    NameTooLong,
    /// A value, or the whole list, larger than 2 GiB - 1, the largest size that the format can
    /// write down.
    #[error("larger than 2 GiB")]
    TooLarge,
}
