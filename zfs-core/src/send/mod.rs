//! Sending snapshots as streams.
//!
//! [`Snapshot::send`] gives a [`SendStream`], which reads like a file; [`Snapshot::send_to`] moves
//! the stream into a descriptor without taking it through this process. What stream it is to be
//! is said by [`SendOptions`].
//!
//! ```no_run
//! use std::io;
//! use zfs_core::Zfs;
//! use zfs_core::send::SendOptions;
//!
//! let zfs = Zfs::open()?;
//! let snapshot = zfs.snapshot("tank/tenants/acme@deploy-42")?;
//! let base = zfs.snapshot("tank/tenants/acme@deploy-41")?;
//! let mut stream = snapshot.send(&SendOptions::incremental(&base).raw())?;
//! io::copy(&mut stream, &mut io::sink())?;
//! stream.finish()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is sent, and by whom
//!
//! The kernel makes the stream in a call that lasts until its end and writes it into a pipe of
//! this crate's. That call has a thread of its own with all signals blocked: a signal in the middle
//! would end the stream, and a reader that goes away ends it without a `SIGPIPE` for the process.
//!
//! A stream that ends early never looks complete. Whoever reads a [`SendStream`] gets the kernel's
//! error where a complete stream has its end of file; [`SendStream::finish`] returns it to those
//! who read the descriptor by other means, and must be asked by them.
//!
//! A `SIGSTOP`, a debugger or the freezer of a control group can interrupt the kernel's call, which
//! no thread can prevent. The stream then ends with an error of the kind
//! [`Interrupted`](crate::ErrorKind::Interrupted).

#[cfg(feature = "tokio")]
mod asynchronous;
mod direct;
mod find;
mod options;
mod plan;
mod stream;

#[cfg(feature = "tokio")]
pub use asynchronous::AsyncSendStream;
pub use options::{SendBase, SendOptions};
pub use stream::SendStream;

use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::snapshot::Snapshot;
use crate::stream::ResumeToken;
use crate::zfs::Zfs;
use plan::Plan;
use std::os::fd::AsFd;

/// How a send ended that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// The stream's length in bytes, as far as it was read by way of this crate.
    pub bytes: u64,
}

/// How far a send is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SendProgress {
    /// How many bytes of the stream the kernel has made. A pipe's content, up to one MiB of it,
    /// may not have been read yet.
    pub bytes: u64,
    /// How many bytes the stream will have, if that [was estimated](SendOptions::estimated). An
    /// estimate is often a few percent off, either way.
    pub estimate: Option<u64>,
}

impl Snapshot {
    /// Sends the snapshot: starts the kernel on it and returns once the stream has begun.
    ///
    /// The snapshot cannot be destroyed while the stream is open, nor can its dataset.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `Forbidden` | a [guard](crate::Zfs::with_guard) forbids it |
    /// | `NotFound` | the snapshot, the base or the redaction bookmark does not exist; a resumed stream's base is nowhere to be found |
    /// | `NotAncestor` | the base is not in the snapshot's past |
    /// | `KeyNotLoaded` | the dataset is encrypted, its key not loaded, and the stream not raw |
    /// | `InvalidArgument` | the redaction bookmark is of another dataset, or an ordinary bookmark; the resume point does not exist |
    /// | `UnexpectedStream` | a resume token is for another snapshot |
    /// | `PermissionDenied` | neither root nor delegated |
    /// | `PoolSuspended` | as it says |
    ///
    /// Later, in reading the stream: `Io` and `Corrupt` when data cannot be read from the pool;
    /// `Interrupted`.
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permission `send`; for a raw stream, since 2.4, `send:raw` or
    /// `send:encrypted` is enough.
    ///
    /// `zfs-send(8)`. Uses the request behind `lzc_send_resume_redacted` itself, so that it is the
    /// same in all versions: that of 2.1 writes to any descriptor, later ones to a pipe of theirs
    /// which loses errors.
    #[doc(alias = "lzc_send")]
    #[doc(alias = "lzc_send_resume")]
    #[doc(alias = "lzc_send_redacted")]
    #[doc(alias = "lzc_send_resume_redacted")]
    pub fn send(&self, options: &SendOptions) -> Result<SendStream> {
        let plan = Plan::of_snapshot(self, options)?;
        self.zfs.guards.send(&self.dataset(), plan.is_raw())?;
        SendStream::start(&self.zfs, plan)
    }

    /// Sends the snapshot into a descriptor, from where it stands, and returns when all is written.
    ///
    /// The bytes do not pass through this process where the kernel can `splice` them: into files,
    /// pipes, sockets and most devices. Where it cannot, into a file opened to append for example,
    /// they are copied. A descriptor that does not block is waited for.
    ///
    /// When it fails, what was written is the beginning of a stream, and worthless except to a
    /// resumable receive.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), for all of the stream; `Transport` when the descriptor cannot be
    /// written to: the error's [source](std::error::Error::source) is that of the write. A reader
    /// that goes away is such an error, and no `SIGPIPE`.
    ///
    /// # Privileges
    ///
    /// As [`send`](Self::send).
    #[doc(alias = "lzc_send")]
    #[doc(alias = "lzc_send_wrapper")]
    pub fn send_to(&self, to: impl AsFd, options: &SendOptions) -> Result<Sent> {
        direct::write(self.send(options)?, to.as_fd())
    }

    /// Estimates how many bytes [`send`](Self::send) would give with the same options.
    ///
    /// It takes the kernel a moment, or, from a bookmark without size information and for redacted
    /// streams, a walk through all metadata. A signal handler that runs meanwhile makes it begin
    /// anew.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Privileges
    ///
    /// None.
    ///
    /// `zfs-send(8)` with `-n`. Uses the request behind `lzc_send_space_resume_redacted` itself.
    #[doc(alias = "lzc_send_space")]
    #[doc(alias = "lzc_send_space_resume_redacted")]
    pub fn send_size(&self, options: &SendOptions) -> Result<u64> {
        Plan::of_snapshot(self, options)?.estimate(&self.zfs)
    }
}

impl Dataset {
    /// The state that an interrupted receive into this dataset left behind, if there is any: what
    /// the sender needs to go on.
    ///
    /// # Errors
    ///
    /// `NotFound`, `PoolSuspended`; `InvalidArgument` for a token that this crate cannot read.
    ///
    /// # Privileges
    ///
    /// None.
    ///
    /// The property `receive_resume_token`, `zfsprops(7)`.
    #[doc(alias = "receive_resume_token")]
    pub fn resume_token(&self) -> Result<Option<ResumeToken>> {
        let properties = self.properties()?;
        let token = properties.receive_resume_token().map(ResumeToken::parse);
        Ok(token.transpose()?)
    }

    /// Goes on with an interrupted stream of a snapshot of this dataset, which is found by the
    /// token's GUID whatever its name is now.
    ///
    /// # Errors
    ///
    /// `NotFound` when the dataset has no such snapshot; otherwise as [`Snapshot::send`].
    ///
    /// # Privileges
    ///
    /// As [`Snapshot::send`].
    ///
    /// `zfs-send(8)` with `-t`.
    #[doc(alias = "lzc_send_resume")]
    pub fn resume_send(&self, token: &ResumeToken) -> Result<SendStream> {
        let snapshot = self.snapshot_of_token(token)?;
        let plan = Plan::resumed(&snapshot, token)?;
        self.zfs.guards.send(self, plan.is_raw())?;
        SendStream::start(&self.zfs, plan)
    }

    /// Sends the partial state of a receive into this dataset that was interrupted and is resumable,
    /// so that a third machine can go on from where this one is.
    ///
    /// The stream has no END record. A receiver that is resumable keeps what there is; the source
    /// can then go on with that receiver's token.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such state; `Busy` while it is being received into; otherwise
    /// as [`Snapshot::send`].
    ///
    /// # Privileges
    ///
    /// As [`Snapshot::send`].
    ///
    /// `zfs-send(8)` with `-S`.
    #[doc(alias = "lzc_send")]
    #[doc(alias = "LZC_SEND_FLAG_SAVED")]
    pub fn send_saved(&self) -> Result<SendStream> {
        let plan = Plan::of_partial(self)?;
        self.zfs.guards.send(self, plan.is_raw())?;
        SendStream::start(&self.zfs, plan)
    }

    /// [`send_saved`](Self::send_saved) into a descriptor, as [`Snapshot::send_to`] writes.
    ///
    /// # Errors
    ///
    /// As [`send_saved`](Self::send_saved) and [`Snapshot::send_to`].
    pub fn send_saved_to(&self, to: impl AsFd) -> Result<Sent> {
        direct::write(self.send_saved()?, to.as_fd())
    }

    /// About how many bytes [`send_saved`](Self::send_saved) gives: as many as were received.
    ///
    /// # Errors
    ///
    /// `NotFound`, `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// None.
    pub fn send_saved_size(&self) -> Result<u64> {
        Plan::of_partial(self)?.estimate(&self.zfs)
    }
}

impl Zfs {
    /// Goes on with an interrupted stream of the snapshot that a token names.
    ///
    /// It is looked for by its GUID in the dataset of the token's name;
    /// [`Dataset::resume_send`] looks in another one, if the dataset was renamed.
    ///
    /// # Errors
    ///
    /// As [`Dataset::resume_send`].
    ///
    /// # Privileges
    ///
    /// As [`Snapshot::send`].
    ///
    /// `zfs-send(8)` with `-t`.
    #[doc(alias = "lzc_send_resume")]
    pub fn resume_send(&self, token: &ResumeToken) -> Result<SendStream> {
        let dataset = Dataset {
            zfs: self.clone(),
            name: token.to_name.dataset(),
        };
        dataset.resume_send(token)
    }
}

/// An error for a reader: what [`std::io::Read`] returns wraps the crate's own error.
impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        use crate::ErrorKind as Kind;
        use std::io::ErrorKind as Io;
        let kind = match error.kind() {
            Kind::NotFound => Io::NotFound,
            Kind::PermissionDenied => Io::PermissionDenied,
            Kind::InvalidArgument => Io::InvalidInput,
            Kind::Corrupt | Kind::InvalidStream => Io::InvalidData,
            Kind::Truncated => Io::UnexpectedEof,
            // Not `Interrupted`: readers take that as a request to try again.
            _ => Io::Other,
        };
        Self::new(kind, error)
    }
}
