use super::Digest;
use super::trie::Trie;
use crate::stream::{Begin, StreamFeatures};
use std::fmt;
use std::sync::Arc;

const ROOT_DOMAIN: &[u8] = b"zfs-core content root 1";

/// The digest of what a stream says about a snapshot, whatever the order and form of its records.
///
/// Two Merkle trees: over the objects (metadata, bonus, spill block) by number, and over the blocks
/// by object and offset. Memory is bounded: at most 16384 hashes of each are kept. The root does not
/// depend on how many.
#[derive(Clone, Debug, PartialEq)]
pub struct ContentTree {
    begin: Arc<Begin>,
    /// The digest of what else than objects and blocks makes the snapshot.
    identity: Digest,
    objects: Trie,
    blocks: Trie,
    counts: Counts,
    root: Digest,
}

/// How much a stream carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Counts {
    /// Objects: files, folders, and what ZFS itself keeps in the dataset.
    pub objects: u64,
    /// Blocks with data; blocks of zeros do not count.
    pub blocks: u64,
    /// Bytes of these blocks as they are in the stream, encrypted or compressed if they are.
    pub payload: u64,
}

/// Something that differs between two [`ContentTree`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ContentDifference {
    /// The snapshot itself: its guid, the guid it is incremental from, its type, or, raw, what
    /// ZFS's encryption says about the whole of it.
    Snapshot,
    /// Objects with numbers in this range: their metadata, or whether they exist.
    Objects {
        /// The lowest number.
        first: u64,
        /// The highest number; not lower.
        last: u64,
    },
    /// Blocks between these places, both included.
    Blocks {
        /// Object and offset in bytes of the first.
        first: (u64, u64),
        /// Object and offset in bytes of the last; not lower.
        last: (u64, u64),
    },
}

impl fmt::Display for ContentDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Snapshot => f.write_str("the snapshot's identity"),
            Self::Objects { first, last } if first == last => write!(f, "object {first}"),
            Self::Objects { first, last } => write!(f, "objects {first} to {last}"),
            Self::Blocks { first, last } if first == last => {
                write!(f, "object {} at offset {}", first.0, first.1)
            }
            Self::Blocks { first, last } if first.0 == last.0 => write!(
                f,
                "object {} between offsets {} and {}",
                first.0, first.1, last.1
            ),
            Self::Blocks { first, last } => write!(
                f,
                "objects {} (from offset {}) to {} (up to offset {})",
                first.0, first.1, last.0, last.1
            ),
        }
    }
}

impl ContentTree {
    pub(super) fn new(
        begin: Arc<Begin>,
        identity: Digest,
        mut objects: Trie,
        mut blocks: Trie,
        counts: Counts,
    ) -> Self {
        objects.finish();
        blocks.finish();
        let mut text = ROOT_DOMAIN.to_vec();
        for part in [identity, objects.root(), blocks.root()] {
            text.extend_from_slice(part.as_bytes());
        }
        Self {
            root: Digest::of(&text),
            begin,
            identity,
            objects,
            blocks,
            counts,
        }
    }

    /// The digest of the whole.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.root
    }

    /// The record that the stream began with: guids, name, features.
    #[must_use]
    pub fn begin(&self) -> &Begin {
        &self.begin
    }

    /// How much the stream carries.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether the stream was the rest of one that had been interrupted. Such a tree covers that
    /// rest only.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.begin.features.contains(StreamFeatures::RESUMING)
    }

    /// What differs, in ascending order. Empty if and only if the roots are equal.
    ///
    /// Up to 16384 objects or blocks each is named exactly; in larger trees ranges are.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<ContentDifference> {
        let mut found = Vec::new();
        if self.identity != other.identity {
            found.push(ContentDifference::Snapshot);
        }
        let objects = self.objects.differences(&other.objects).into_iter();
        found.extend(objects.map(|(first, last)| ContentDifference::Objects {
            first: key::object(first),
            last: key::object(last),
        }));
        let blocks = self.blocks.differences(&other.blocks).into_iter();
        found.extend(blocks.map(|(first, last)| ContentDifference::Blocks {
            first: key::place(first),
            last: key::place(last),
        }));
        found.dedup();
        found
    }

    /// Keeps at most about so many hashes of either tree.
    pub(super) fn coarsen(&mut self, most: usize) {
        self.objects.coarsen(most);
        self.blocks.coarsen(most);
    }

    pub(super) fn kept(&self) -> usize {
        self.objects.nodes().len() + self.blocks.nodes().len()
    }
}

/// The order of the leaves.
pub(super) mod key {
    /// What is known of an object.
    #[derive(Clone, Copy)]
    pub(in crate::digest) enum Part {
        /// Of the block of objects that begins with this one.
        Range = 0,
        Object = 1,
        Spill = 2,
    }

    pub(in crate::digest) fn part(object: u64, part: Part) -> u128 {
        u128::from(object) << 2 | part as u128
    }

    pub(in crate::digest) fn object(key: u128) -> u64 {
        u64::try_from(key >> 2).unwrap_or(u64::MAX)
    }

    pub(in crate::digest) fn block(object: u64, offset: u64) -> u128 {
        u128::from(object) << 64 | u128::from(offset)
    }

    pub(in crate::digest) fn place(key: u128) -> (u64, u64) {
        let low = u64::try_from(key & u128::from(u64::MAX)).unwrap_or(u64::MAX);
        let high = u64::try_from(key >> 64).unwrap_or(u64::MAX);
        (high, low)
    }
}
