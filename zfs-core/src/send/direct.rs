//! Moving a stream into a descriptor.

use super::Sent;
use super::stream::SendStream;
use crate::error::{Error, Operation, Result};
use crate::ffi::pipe::{self, Interest};
use crate::ffi::signal::PipeIgnored;
use crate::outflow::Next;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;

/// How much is moved at a time, at most: as much as a pipe holds.
const CHUNK: usize = 1 << 20;

/// What is copied at a time where the kernel does not move it.
const COPY: usize = 128 << 10;

pub(super) fn write(mut stream: SendStream, to: BorrowedFd<'_>) -> Result<Sent> {
    let _ignored = PipeIgnored::new();
    let mut target = Target::Moved(to);
    while stream.wait()? == Next::Data {
        match target.take_from(stream.pipe()) {
            Ok(0) => break,
            Ok(bytes) => stream.advance(bytes),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(Error::transport(Operation::Send, stream.object(), error));
            }
        }
    }
    stream.end()?;
    stream.finish()
}

enum Target<'fd> {
    Moved(BorrowedFd<'fd>),
    Copied {
        fd: BorrowedFd<'fd>,
        file: File,
        buffer: Vec<u8>,
    },
}

impl Target<'_> {
    /// Takes some of what is in the pipe. 0 is the pipe's end.
    fn take_from(&mut self, mut pipe: &File) -> io::Result<usize> {
        match self {
            Self::Moved(to) => match pipe::splice(pipe, &to, CHUNK) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    pipe::wait([(*to, Interest::Write)], None)?;
                    Err(io::ErrorKind::Interrupted.into())
                }
                // Not into this one: a file that is appended to, a device without `splice`.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                    *self = Self::Copied {
                        fd: *to,
                        file: to.try_clone_to_owned()?.into(),
                        buffer: vec![0; COPY],
                    };
                    self.take_from(pipe)
                }
                outcome => outcome,
            },
            Self::Copied { fd, file, buffer } => {
                let bytes = pipe.read(buffer)?;
                let mut rest = buffer.get(..bytes).unwrap_or_default();
                while !rest.is_empty() {
                    match file.write(rest) {
                        Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                        Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            pipe::wait([(*fd, Interest::Write)], None)?;
                        }
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(bytes)
            }
        }
    }
}
