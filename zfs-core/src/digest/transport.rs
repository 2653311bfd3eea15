use super::Digest;
use super::trie::Trie;
use crate::stream::HEADER_LEN;
use std::ops::Range;

const CHUNK_DOMAIN: &[u8] = b"zfs-core transport chunk 1";
const ROOT_DOMAIN: &[u8] = b"zfs-core transport root 1";

/// Records that begin in the same so many bytes of a stream are in one chunk.
const CHUNK_SHIFT: u32 = 20;

/// How many chunks are kept before neighbours are folded into one.
const KEPT: usize = 16384;

/// The digest of the bytes of a stream, in chunks.
///
/// A chunk is a run of whole records, of a MiB or a little more. Of long streams neighbouring
/// chunks are kept as one, so that at most 16384 remain and memory is bounded; the root does not
/// depend on it.
///
/// # What it proves
///
/// Equal roots: the two streams are the same, byte for byte, headers and checksums included. It
/// says nothing about a stream of the same snapshot that was made at another time or place: such
/// streams differ in bytes even where the snapshot is the same. [`ContentTree`](super::ContentTree)
/// is for that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportTree {
    trie: Trie,
    len: u64,
    records: u64,
    root: Digest,
}

/// A run of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Chunk {
    /// Where its first byte is in the stream.
    pub offset: u64,
    /// How many bytes it has.
    pub len: u64,
    /// The digest of the records in it.
    pub digest: Digest,
}

impl TransportTree {
    fn new(trie: Trie, len: u64, records: u64) -> Self {
        let mut text = ROOT_DOMAIN.to_vec();
        text.extend_from_slice(&len.to_le_bytes());
        text.extend_from_slice(&records.to_le_bytes());
        text.extend_from_slice(trie.root().as_bytes());
        Self {
            root: Digest::of(&text),
            trie,
            len,
            records,
        }
    }

    /// A tree from its chunks, if they are ones.
    #[cfg(feature = "serde")]
    pub(super) fn from_chunks(
        chunks: Vec<(u64, Digest)>,
        fold: u32,
        len: u64,
        records: u64,
    ) -> Option<Self> {
        let within = |(offset, _): &(u64, Digest)| *offset < len;
        let node = |(offset, digest)| super::trie::Node {
            key: u128::from(offset),
            digest,
        };
        if !chunks.iter().all(within) {
            return None;
        }
        let trie = Trie::from_nodes(chunks.into_iter().map(node).collect(), fold)?;
        Some(Self::new(trie, len, records))
    }

    /// In how many low bits the offsets of what is folded into one chunk differ.
    #[cfg(feature = "serde")]
    pub(super) fn fold(&self) -> u32 {
        self.trie.keep()
    }

    /// The same tree with at most about `most` chunks.
    pub(super) fn coarsened(&self, most: usize) -> Self {
        let mut tree = self.clone();
        tree.trie.coarsen(most);
        tree
    }

    /// The digest of the whole.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.root
    }

    /// The length of the stream in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.len
    }

    /// How many records the stream has.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The chunks, in order and without gaps.
    pub fn chunks(&self) -> impl Iterator<Item = Chunk> {
        let nodes = self.trie.nodes();
        let starts = nodes.iter().map(|node| narrow(node.key));
        let ends = starts.clone().skip(1).chain([self.len]);
        let places = starts.zip(ends);
        places.zip(nodes).map(|((offset, end), node)| Chunk {
            offset,
            len: end.saturating_sub(offset),
            digest: node.digest,
        })
    }

    /// The ranges of this stream's bytes that are not as in the other, in ascending order and
    /// without overlaps; what the other has beyond this one's end included.
    ///
    /// Empty if and only if the roots are equal. A range is as fine as the coarser of the two
    /// trees has chunks.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        let len = self.len.max(other.len);
        for (first, last) in self.trie.differences(&other.trie) {
            let (first, last) = (narrow(first), narrow(last));
            let of = |tree: &Self| tree.range(first, last);
            let range = match (of(self), of(other)) {
                (Some(a), Some(b)) => a.start.min(b.start)..a.end.max(b.end),
                (Some(one), None) | (None, Some(one)) => one,
                (None, None) => continue,
            };
            match ranges.last_mut() {
                Some(before) if range.start <= before.end => before.end = before.end.max(range.end),
                _ => ranges.push(range),
            }
        }
        if ranges.is_empty() && self.root != other.root {
            // The counts differ and the chunks do not: not the trees of two streams.
            ranges.push(0..len);
        }
        ranges
    }

    /// From the first byte of the first chunk that begins in these places to the last of the last.
    fn range(&self, first: u64, last: u64) -> Option<Range<u64>> {
        let nodes = self.trie.nodes();
        let from = nodes.partition_point(|node| narrow(node.key) < first);
        let to = nodes.partition_point(|node| narrow(node.key) <= last);
        let start = nodes.get(from..to)?.first()?;
        let end = nodes.get(to).map_or(self.len, |node| narrow(node.key));
        Some(narrow(start.key)..end)
    }
}

/// Makes a [`TransportTree`] record by record.
#[derive(Debug)]
pub(super) struct TransportBuilder {
    trie: Trie,
    /// What the open chunk's digest is made of: each header, and its payload's digest if it has a
    /// payload. Hashed at once, which is several times faster than piece by piece.
    chunk: Vec<u8>,
    chunk_start: u64,
    len: u64,
    records: u64,
}

impl TransportBuilder {
    pub(super) fn new() -> Self {
        Self {
            trie: Trie::new(KEPT),
            chunk: Vec::new(),
            chunk_start: 0,
            len: 0,
            records: 0,
        }
    }

    /// Takes the next record, whose payload, if it is not empty, has the digest `payload`.
    pub(super) fn record(
        &mut self,
        header: &[u8; HEADER_LEN],
        payload: Option<&Digest>,
        payload_len: usize,
    ) {
        if self.len >> CHUNK_SHIFT != self.chunk_start >> CHUNK_SHIFT {
            self.close_chunk();
        }
        if self.chunk.is_empty() {
            self.chunk_start = self.len;
            self.chunk.extend_from_slice(CHUNK_DOMAIN);
            self.chunk.extend_from_slice(&self.len.to_le_bytes());
        }
        self.chunk.extend_from_slice(header);
        if let Some(digest) = payload {
            self.chunk.extend_from_slice(digest.as_bytes());
        }
        self.len += (HEADER_LEN + payload_len) as u64;
        self.records += 1;
    }

    fn close_chunk(&mut self) {
        if !self.chunk.is_empty() {
            let ordered = self
                .trie
                .push(self.chunk_start.into(), Digest::of(&self.chunk));
            debug_assert!(ordered, "a stream's offsets ascend");
            self.chunk.clear();
        }
    }

    pub(super) fn finish(mut self) -> TransportTree {
        self.close_chunk();
        self.trie.finish();
        TransportTree::new(self.trie, self.len, self.records)
    }
}

fn narrow(key: u128) -> u64 {
    u64::try_from(key).unwrap_or(u64::MAX)
}
