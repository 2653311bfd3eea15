//! Digests of streams and of what they carry.
//!
//! [`Digester`] computes two BLAKE3 digests of a send stream in one pass, each payload hashed once:
//!
//! - [`TransportTree`], of the bytes as they were sent. Equal: the same stream. Different: which
//!   ranges of bytes.
//! - [`ContentTree`], of the snapshot. Equal for streams of the same snapshot that were made at
//!   different times and places, as after a receive from the other side. Different: which objects
//!   and blocks.
//!
//! A [`Manifest`] travels beside a stream and has what a receiver compares.
//!
//! # What equality proves
//!
//! BLAKE3 is collision-resistant: nobody, with whatever intent, can make other bytes with the same
//! digest. Who can replace the digest as well is not stopped by it: what a digest proves, it proves
//! as far as the way is trusted on which it came. The checksums of ZFS in a stream and on disk are
//! against accidents only, except those of encrypted data.
//!
//! **Transport.** The bytes are the same, all of them. Nothing about what a kernel made of them.
//!
//! **Content, of two streams.** Both say the same of one snapshot (its guid) from one base:
//! the objects that they carry are the same, with type, block size, bonus buffer (owner, mode,
//! times, size and small attributes of a file) and spill block (other attributes); so are the blocks, by
//! object and offset, byte for byte as they are in the stream; raw, also how each is encrypted and
//! the authentication code over the whole dataset.
//! So equal file contents, if the base is equal and what was freed was freed.
//!
//! **Content, of what a source sent and of what the target sends again** (same base, same flags)
//! after it was received. That the target has stored all this, and can read it from its disks.
//!
//! | stream | equal after a receive |
//! |---|---|
//! | raw of an encrypted dataset, full or incremental | always |
//! | plain | blocks of at most 128 KiB, or large blocks allowed (`-L`) |
//! | embedded, compressed (`-e`, `-c`), raw of what is not encrypted | as plain, and the target stores what came uncompressed as it came: the source compresses, or the target does not (`compression=off`) |
//!
//! Without `-L` the kernel cuts large blocks, and the target pads the last piece. A plain stream is
//! also not the same again where the target leaves out a write that changes nothing (its checksum
//! is a cryptographic one: *nopwrite*).
//!
//! # What is not in the content digest
//!
//! - **What is free.** A stream also says which ranges and objects are holes, many of which the
//!   target has never had; what the target says again is another selection of it. In a
//!   full stream a hole is what no block is for, so that nothing is missing. Of an incremental
//!   one it is not proven that the target has freed what it should: a hole that was punched, or a file that was
//!   removed, between the two snapshots. (A file that was cut is told by its size; a file whose neighbours changed by its
//!   absence among them.) The content of a full stream of the target proves it. So does mounting an encrypted dataset:
//!   its authentication codes cover the holes.
//! - **Blocks of zeros** that are neither compressed nor encrypted: a target that compresses makes
//!   holes of them, which read the same.
//! - How the source has stored it: checksums on disk, feature flags, the dataset's name.
//! - Properties of the dataset, holds, and the wrapping of keys.
#![forbid(unsafe_code)]

mod builder;
mod content;
mod digester;
mod error;
mod manifest;
mod root;
mod transport;
mod trie;

pub use content::{ContentDifference, ContentTree, Counts};
pub use digester::{Digester, Digests};
pub use error::{DigestError, DigestProblem};
pub use manifest::{Difference, Manifest, Mismatch, SnapshotManifest};
pub use root::{Digest, ParseDigestError};
pub use transport::{Chunk, TransportTree};
