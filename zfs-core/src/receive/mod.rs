//! Receiving streams.
//!
//! [`Dataset::receive`] takes any reader, [`Dataset::receive_from`] a descriptor from which the
//! kernel reads by itself, and [`Dataset::receive_compound`] the streams of several snapshots that
//! `zfs send -R`, `-I` and `-p` write.
//!
//! The first record of a stream is always read and checked here, before the kernel is asked: a
//! stream of another kind, or not of the expected snapshot, changes nothing.
//!
//! Nothing is mounted or unmounted. A new filesystem is not mounted; one that is mounted and
//! receives an incremental stream stays so, and shows the new contents when the receive is done.

mod compound;
mod options;
mod partial;
mod request;
mod source;

pub use compound::ReceivedAll;
pub use options::ReceiveOptions;

use crate::dataset::Dataset;
use crate::error::{Error, ErrorKind, Failure, Result};
use crate::snapshot::Snapshot;
use crate::stream::{Begin, HEADER_LEN};
use request::{Answer, OPERATION, Receive};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;

/// A stream that was received.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Received {
    /// The snapshot that now exists, or that was healed.
    pub snapshot: Snapshot,
    /// The stream's first record.
    pub begin: Begin,
    /// The GUID of the snapshot, here and where it was sent.
    pub to_guid: u64,
    /// The length of the stream, in bytes.
    pub bytes: u64,
    /// Properties that could not be set. The snapshot is complete nevertheless.
    pub property_errors: Vec<Failure>,
    /// Whether some of the properties that the dataset had received before, and that are not among
    /// the new ones, could not be cleared.
    pub kept_properties: bool,
}

impl Received {
    fn new(receive: Receive<'_>, answer: Answer) -> Self {
        Self {
            snapshot: Snapshot {
                zfs: receive.dataset.zfs.clone(),
                name: receive.snapshot,
            },
            to_guid: receive.begin.to_guid,
            begin: receive.begin,
            bytes: answer.bytes.saturating_add(HEADER_LEN as u64),
            property_errors: answer.property_errors,
            kept_properties: answer.kept_properties,
        }
    }
}

impl Dataset {
    /// Receives the stream of one snapshot, full, incremental or resumed, into this dataset.
    ///
    /// A full stream makes the dataset, whose parent must exist; an incremental one adds to what
    /// exists. Every record is checked on its way to the kernel, and a stream that is damaged or
    /// ends early is never received as if it were complete. Nothing behind the end of the stream is
    /// read, so that the next one can follow.
    ///
    /// The calling thread reads the stream; the kernel works on another one, where no signal but
    /// `SIGKILL` and `SIGSTOP` reaches it. The call ends when the kernel is done, or has refused *and* the reader gave
    /// more to write or ended. What the reader has left then is not defined. Wrap readers that are
    /// slow at small reads in a [`BufReader`](std::io::BufReader), unless something else follows the
    /// stream.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `InvalidStream` | it is no stream, is malformed, or has several substreams |
    /// | `Truncated` | the stream ends early |
    /// | `Corrupt` | a checksum of the stream does not match |
    /// | `Transport` | the reader failed: the [source](std::error::Error::source) tells how |
    /// | `UnexpectedStream` | not the expected GUIDs |
    /// | `Unsupported` | a feature of the stream is unknown, or missing in the module or the pool |
    /// | `AlreadyExists` | the snapshot exists, or a full stream's dataset does; with [`force`](ReceiveOptions::force), it has snapshots or is a clone |
    /// | `NotFound` | the parent of a new dataset, or the dataset of an incremental stream, does not exist |
    /// | `Forbidden` | a [guard](crate::Zfs::with_guard) forbids to clone the origin |
    /// | `NoBase` | the dataset, or the origin, is not the snapshot that the stream builds on |
    /// | `Modified` | it was modified since, or has newer snapshots: see [`ReceiveOptions::force`] |
    /// | `PartialReceive` | an interrupted receive waits to be resumed or [aborted](Self::abort_receive), or runs |
    /// | `IvsetMismatch` | the base of a raw incremental stream was not received raw from the same source |
    /// | `LargeBlockMismatch` | the incremental stream must be sent with large blocks, as one before it was |
    /// | `KeyNotLoaded`, `WrongKey` | the key that the new data would be encrypted with is not loaded; a raw stream's key is not that of the dataset |
    /// | `WrongKind` | the parent is a volume; a volume replaces a filesystem, or the reverse |
    /// | `InvalidArgument` | a clone's stream has no [origin](ReceiveOptions::origin); encryption and the stream do not fit; a resumed stream does not continue what is there |
    /// | `QuotaExceeded`, `NoSpace` | a quota or limit is reached; the pool is full |
    /// | `Interrupted` | the process was stopped (`SIGSTOP`) while the kernel waited for the stream |
    /// | `PermissionDenied` | neither root nor delegated |
    /// | `ReadOnlyPool`, `PoolSuspended` | as they say |
    ///
    /// After an error the dataset is as before, and a new one does not exist, unless the receive is
    /// [resumable](ReceiveOptions::resumable) and at least one record was applied.
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permissions `receive`, `create` and `mount` on the dataset, or on its
    /// parent if it is new, and one for each property. From 2.3.2 on `receive:append` is enough
    /// instead of `receive` unless the receive is [forced](ReceiveOptions::force).
    ///
    /// `zfs-receive(8)`. Uses the request behind `lzc_receive_with_cmdprops` itself, for that
    /// function loses the outputs of a receive that failed, and the payload of the first record.
    #[doc(alias = "lzc_receive")]
    #[doc(alias = "lzc_receive_one")]
    #[doc(alias = "lzc_receive_with_header")]
    #[doc(alias = "lzc_receive_with_cmdprops")]
    #[doc(alias = "lzc_receive_with_heal")]
    #[doc(alias = "lzc_receive_resumable")]
    pub fn receive(&self, stream: impl Read, options: &ReceiveOptions) -> Result<Received> {
        let mut stream = source::checked(stream);
        let header = source::read_header(self.name.as_str(), &mut stream)?;
        let receive = Receive::new(self, &header, options)?;
        let answer = receive.feed(&mut stream)?;
        Ok(Received::new(receive, answer))
    }

    /// As [`receive`](Self::receive), with the kernel reading from the descriptor: a pipe, a file or
    /// a socket, which must block. No byte but those of the first header passes through this
    /// process.
    ///
    /// The kernel alone checks the records, so that a bad stream is an error without the record's
    /// number. It stops reading at the end of the stream: several streams one after another on one
    /// descriptor can be received by as many calls.
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive); `InvalidArgument` for a descriptor that does not block or
    /// cannot be read.
    ///
    /// # Privileges
    ///
    /// As [`receive`](Self::receive).
    #[doc(alias = "lzc_receive")]
    pub fn receive_from(&self, input: impl AsFd, options: &ReceiveOptions) -> Result<Received> {
        let input = input.as_fd();
        let object = self.name.as_str();
        let error = |error| Error::transport(OPERATION, object, error);
        if !crate::ffi::pipe::is_blocking(input).map_err(error)? {
            return Err(Error::refused(
                OPERATION,
                object,
                ErrorKind::InvalidArgument,
                "the descriptor does not block",
            ));
        }
        let mut file = File::from(input.try_clone_to_owned().map_err(error)?);
        let header = source::read_header(object, &mut file)?;
        let receive = Receive::new(self, &header, options)?;
        let answer = receive.read_from(input)?;
        Ok(Received::new(receive, answer))
    }
}
