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
//! BLAKE3 is collision-resistant: nobody can make other bytes with the same digest, whatever the
//! intent. A digest proves as much as the way is trusted on which it came; it is not signed. The
//! checksums of ZFS in a stream and on disk are against accidents only, except the authentication
//! codes of encrypted data.
//!
//! **Transport.** The bytes are the same, all of them. It says nothing about what a kernel made of
//! them.
//!
//! **Content, of two streams.** Both say the same of one snapshot (its guid) from one base (its
//! guid). The objects in them are the same: type, block size, number of slots, bonus buffer (owner,
//! mode, times, size and small attributes of a file) and spill block (other attributes). So are the
//! blocks, by object and offset, byte for byte as they are in the stream. Raw, so is how each is
//! encrypted, and ZFS's authentication code over the whole dataset.
//!
//! **Content, of what a source sent and of what the target sends again** after a receive, with the
//! same base and flags. The target has stored all this and can read it from its disks.
//!
//! | stream | the same again |
//! |---|---|
//! | raw (`-w`) of an encrypted dataset, full or incremental | always |
//! | plain | if blocks are at most 128 KiB, or are sent whole (`-L`) |
//! | compressed or embedded (`-c`, `-e`), raw of what is not encrypted | as plain; and the source compresses, or the target does not (`compression=off`) |
//!
//! OpenZFS 2.3 and 2.4 send some attribute blocks wrongly with `-e`, and with `-w` if the dataset is
//! not encrypted, and the target loses them: [`DigestProblem::SpillAsData`] is the answer to such a
//! stream.
//!
//! Without `-L` the kernel cuts large blocks, and the target pads the last piece. A compressed
//! stream has blocks uncompressed that the source has stored so, and a target that compresses sends
//! them compressed. A block that was rewritten with what it had before is in an incremental stream of
//! the source, and not of a target that noticed (*nopwrite*: it compresses, and its `checksum` is a
//! cryptographic one); raw encrypted data are never noticed so.
//!
//! # What is not in the content digest
//!
//! - **What is free.** A stream also lists ranges and objects that are holes. Many of them the target
//!   never had, so that it lists others, and the lists cannot be compared. In a full stream a hole is
//!   where no block is, and nothing is missing. Of an incremental stream it is *not* proven that the
//!   target freed a hole that was punched between the two snapshots, or a file that was removed
//!   when nothing is left near it (objects come by 32 numbers: a file that should be gone is noticed
//!   among ones that changed). The transport digest proves that the target was told. That it obeyed,
//!   the content of a *full* stream from both sides proves; and raw encrypted data, mounting:
//!   ZFS's authentication codes cover the holes.
//! - **Blocks of zeros** that are neither compressed nor encrypted: a target that compresses makes
//!   holes of them, which read the same.
//! - How the source has stored it: checksums on disk, features, names, the time of the snapshot.
//! - Properties of the dataset, holds, and how the keys are wrapped.
//! - Data in the other byte order, which are compared as they are: of machines of one byte order.
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
