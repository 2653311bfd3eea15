//! Send streams as data: records, checksums and resume tokens, without a kernel.
//!
//! A stream is a sequence of records. Each is a header of [`HEADER_LEN`] bytes, and for some types
//! a payload. It begins with BEGIN and ends with END; a compound stream (`zfs send -R`, `-I`, `-p`)
//! is a BEGIN and an END of its own, whole streams, and one more END.
//!
//! - [`StreamReader`] reads from any [`Read`](std::io::Read), through one buffer.
//! - [`SliceReader`] goes through bytes in memory without copying them.
//! - [`PassThrough`] is a `Read` that gives out what it reads, and shows each record to an
//!   [`Observer`] on the way.
//!
//! ```no_run
//! use zfs_core::stream::{Body, StreamReader};
//!
//! let mut reader = StreamReader::new(std::fs::File::open("acme.zstream")?);
//! while let Some(record) = reader.next_record()? {
//!     if let Body::Write(write) = record.body {
//!         println!("{} {} {}", write.object, write.offset, record.payload.len());
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is verified
//!
//! A running Fletcher-4 sum goes through a stream, and every header states it as it was before
//! that header's own last 32 bytes. So the payload of a record is proven by the header that comes
//! after it. The readers here look at that header first: **a record that they give out is proven**,
//! header and payload, by a checksum that follows its last byte. [`ReadOptions`] name the two
//! exceptions that can be allowed. What ZFS leaves open stays open:
//!
//! - The sum is no protection against intent: who can change a stream can make its checksums right.
//!   The digests of the module `digest` are for that.
//! - `zfs send -R` closes a compound stream even when one of the streams in it could not be made.
//!   What should be in it is in the list that its BEGIN carries.
//!
//! Nothing is trusted before that: lengths are bounded by [`ReadOptions`], buffers grow only as
//! data arrives, and no input makes these types panic.
#![forbid(unsafe_code)]

mod begin;
mod error;
mod fletcher;
mod header;
mod pass;
mod reader;
mod record;
mod slice;
mod token;
mod walk;

pub use begin::{Begin, BeginFlags, HeaderKind, StreamFeatures};
pub use error::{Problem, StreamError};
pub use fletcher::Fletcher4;
pub(crate) use fletcher::lanes;
pub use header::{ByteOrder, HEADER_LEN};
pub use pass::{Observer, PassThrough};
pub use reader::StreamReader;
pub use record::{
    Body, Cipher, DedupKey, End, Free, FreeObjects, Object, ObjectRange, Record, RecordFlags,
    RecordType, Redact, Spill, Write, WriteByRef, WriteEmbedded,
};
pub use slice::SliceReader;
pub use token::{MAX_TOKEN_LEN, ResumeToken, TokenError};
pub use walk::ReadOptions;
