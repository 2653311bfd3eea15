use crate::bookmark::Bookmark;
use crate::name::{BookmarkName, SnapshotName};
use crate::snapshot::Snapshot;
use crate::stream::ResumeToken;
use std::ffi::CStr;
use std::fmt;

/// What an incremental stream builds on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendBase {
    /// A snapshot in the past of the one that is sent: of the same dataset, or of one that it is a
    /// clone of.
    Snapshot(SnapshotName),
    /// A bookmark of such a snapshot, which may be gone.
    Bookmark(BookmarkName),
}

impl SendBase {
    pub(super) fn as_c_str(&self) -> &CStr {
        match self {
            Self::Snapshot(name) => name.as_c_str(),
            Self::Bookmark(name) => name.as_c_str(),
        }
    }
}

impl fmt::Display for SendBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snapshot(name) => name.fmt(f),
            Self::Bookmark(name) => name.fmt(f),
        }
    }
}

impl From<SnapshotName> for SendBase {
    fn from(name: SnapshotName) -> Self {
        Self::Snapshot(name)
    }
}

impl From<BookmarkName> for SendBase {
    fn from(name: BookmarkName) -> Self {
        Self::Bookmark(name)
    }
}

impl From<&Snapshot> for SendBase {
    fn from(snapshot: &Snapshot) -> Self {
        Self::Snapshot(snapshot.name().clone())
    }
}

impl From<&Bookmark> for SendBase {
    fn from(bookmark: &Bookmark) -> Self {
        Self::Bookmark(bookmark.name().clone())
    }
}

/// What kind of stream to send.
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use]
pub struct SendOptions {
    pub(super) start: Start,
    pub(super) raw: bool,
    pub(super) compressed: bool,
    pub(super) embedded: bool,
    pub(super) large_blocks: bool,
    pub(super) redaction: Option<BookmarkName>,
    pub(super) estimated: bool,
}

/// Where a stream begins.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Start {
    #[default]
    Full,
    Incremental(SendBase),
    Resumed(Box<ResumeToken>),
}

impl SendOptions {
    /// All of the snapshot.
    pub fn full() -> Self {
        Self::default()
    }

    /// What has changed since `base`, which the receiver must have.
    #[doc(alias = "fromsnap")]
    pub fn incremental(base: impl Into<SendBase>) -> Self {
        Self {
            start: Start::Incremental(base.into()),
            ..Self::default()
        }
    }

    /// The rest of a stream of which the receiver has the beginning.
    ///
    /// Everything about the stream is in the token; switching more on here changes nothing that
    /// the receiver would take. The base of an incremental stream is found by its GUID.
    pub fn resume(token: ResumeToken) -> Self {
        Self {
            raw: token.raw,
            compressed: token.compressed,
            embedded: token.embedded,
            large_blocks: token.large_blocks,
            start: Start::Resumed(Box::new(token)),
            ..Self::default()
        }
    }

    /// An encrypted dataset's blocks as they are on disk, with its wrapped key: neither side needs
    /// the key to be loaded, and the receiver cannot read what it gets.
    ///
    /// It includes [`compressed`](Self::compressed) and [`large_blocks`](Self::large_blocks). Of a
    /// dataset that is not encrypted the stream is those, and [`embedded`](Self::embedded) with its
    /// fault.
    #[doc(alias = "LZC_SEND_FLAG_RAW")]
    pub fn raw(mut self) -> Self {
        self.raw = true;
        self
    }

    /// Compressed blocks as they are on disk, rather than unfolded.
    #[doc(alias = "LZC_SEND_FLAG_COMPRESS")]
    pub fn compressed(mut self) -> Self {
        self.compressed = true;
        self
    }

    /// Tiny blocks as they are embedded in their block pointers on disk. The receiving pool needs
    /// the feature `embedded_data`.
    ///
    /// OpenZFS 2.3 and 2.4 send a spill block that compresses into its block pointer as if it were
    /// data. The receiver takes that and loses what was in it: extended attributes, or the target of
    /// a long symbolic link. `digest::Digester` refuses such a stream.
    /// [`compressed`](Self::compressed) with [`large_blocks`](Self::large_blocks) has no such fault.
    #[doc(alias = "LZC_SEND_FLAG_EMBED_DATA")]
    pub fn embedded(mut self) -> Self {
        self.embedded = true;
        self
    }

    /// Blocks over 128 KiB whole rather than cut. The receiving pool needs the feature
    /// `large_blocks`. An incremental stream must be as its predecessors in this.
    #[doc(alias = "LZC_SEND_FLAG_LARGE_BLOCK")]
    pub fn large_blocks(mut self) -> Self {
        self.large_blocks = true;
        self
    }

    /// Without the blocks that `bookmark`, a redaction bookmark of the same dataset, leaves out.
    #[doc(alias = "lzc_send_redacted")]
    #[doc(alias = "redactbook")]
    pub fn redacted(mut self, bookmark: &BookmarkName) -> Self {
        self.redaction = Some(bookmark.clone());
        self
    }

    /// Estimate the size before sending, for [`SendStream::progress`](super::SendStream::progress):
    /// see [`Snapshot::send_size`](crate::Snapshot::send_size) for what that takes.
    pub fn estimated(mut self) -> Self {
        self.estimated = true;
        self
    }
}
