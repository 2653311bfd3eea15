//! What both halves do in the same way: digests of streams, and words out of turn.

use std::error::Error;
use std::io;

use zfs_core::digest::{Digester, Digests, Manifest};
use zfs_core::send::{SendOptions, SendStream};
use zfs_core::stream::{Observer, PassThrough, Record};

use super::error::{Problem, ReplicateError, Side};
use super::frame::Frame;
use super::message::{Message, PROTOCOL};

/// The chunks of a stream that a manifest tells apart: a difference has a place.
const CHUNKS: usize = 256;

/// The message in a frame that is to be one.
pub(super) fn message(side: Side, frame: Frame) -> Result<Message, ReplicateError> {
    match frame {
        Frame::Message(Message::Failed { problem, detail }) => {
            let other = match side {
                Side::Source => Side::Target,
                Side::Target => Side::Source,
            };
            Err(ReplicateError::new(problem, other, detail))
        }
        Frame::Message(message) => Ok(message),
        Frame::Data { number, .. } | Frame::Damaged { number } => Err(ReplicateError::new(
            Problem::Protocol,
            side,
            format!("data frame {number} has no place here"),
        )),
    }
}

/// A message that may not come now.
pub(super) fn out_of_turn(side: Side, message: &Message) -> ReplicateError {
    ReplicateError::new(
        Problem::Protocol,
        side,
        format!("the message {message:.40?} has no place here"),
    )
}

/// The other side speaks another version.
pub(super) fn version(side: Side, theirs: u32) -> ReplicateError {
    ReplicateError::new(
        Problem::Protocol,
        side,
        format!("the other side has version {theirs} of the protocol, and this one {PROTOCOL}"),
    )
}

/// A stream could not be read: what ZFS says, if it is ZFS that says something.
pub(super) fn stream(side: Side, error: io::Error) -> ReplicateError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        if let Some(zfs) = error.downcast_ref::<zfs_core::Error>() {
            return ReplicateError::told(side, zfs);
        }
        cause = match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    ReplicateError::io(side, error)
}

/// Blocks as they are stored: of an encrypted dataset without its key, of another one without the
/// embedded blocks of a raw stream, of which OpenZFS 2.3 and 2.4 send some wrongly.
pub(super) fn as_stored(options: SendOptions, encrypted: bool) -> SendOptions {
    match encrypted {
        true => options.raw(),
        false => options.compressed().large_blocks(),
    }
}

/// The digests of a stream that `digester` has seen all of.
pub(super) fn finish(side: Side, digester: Digester) -> Result<Digests, ReplicateError> {
    digester
        .finish()
        .map_err(|error| ReplicateError::new(Problem::Zfs, side, error.to_string()))
}

/// The manifest of a stream with these digests.
pub(super) fn manifest(side: Side, digests: &Digests) -> Result<Manifest, ReplicateError> {
    let manifest = Manifest::new(digests)
        .map_err(|error| ReplicateError::new(Problem::Zfs, side, error.to_string()))?;
    Ok(manifest.with_chunks(digests, CHUNKS))
}

/// Reads a stream to its end for its digests. `seen` learns the length of each record.
pub(super) fn digest(
    side: Side,
    source: SendStream,
    seen: impl FnMut(usize),
) -> Result<Digests, ReplicateError> {
    let counting = Counting {
        digester: Digester::new(),
        seen,
    };
    let mut pass = PassThrough::new(source, counting);
    io::copy(&mut pass, &mut io::sink()).map_err(|error| stream(side, error))?;
    finish(side, pass.into_parts().1.digester)
}

struct Counting<F> {
    digester: Digester,
    seen: F,
}

impl<F: FnMut(usize)> Observer for Counting<F> {
    fn record(&mut self, record: &Record<'_>) {
        self.digester.record(record);
        (self.seen)(record.header.len() + record.payload.len());
    }
}
