//! A stream for tokio.

use super::stream::SendStream;
use super::{SendProgress, Sent};
use crate::error::Result;
use crate::ffi::pipe;
use crate::ffi::readiness::Readiness;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};

/// A [`SendStream`] that is read without blocking.
///
/// It ends as that does: with the kernel's error in place of the end of file when the stream is
/// not complete. Dropping it waits for the kernel to notice, which takes milliseconds.
#[derive(Debug)]
pub struct AsyncSendStream {
    // A copy of the stream's reading end, which has to be closed before the stream is.
    data: Readiness,
    /// The kernel is done, whoever else has the pipe's writing end.
    done: Readiness,
    stream: SendStream,
}

impl SendStream {
    /// Turns the stream into one for tokio. Copies of its descriptor that were made before do not
    /// block either from now on.
    ///
    /// # Errors
    ///
    /// Those of registering descriptors.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with I/O enabled, as everything that registers there does.
    pub fn into_async(self) -> io::Result<AsyncSendStream> {
        pipe::set_nonblocking(self.pipe())?;
        Ok(AsyncSendStream {
            data: Readiness::new(self.pipe().as_fd().try_clone_to_owned()?)?,
            done: Readiness::new(self.done().try_clone_to_owned()?)?,
            stream: self,
        })
    }
}

impl AsyncSendStream {
    /// As [`SendStream::progress`], a request of microseconds.
    ///
    /// # Errors
    ///
    /// As [`SendStream::progress`].
    pub fn progress(&self) -> Result<SendProgress> {
        self.stream.progress()
    }

    /// As [`SendStream::finish`]. Does not block once the end was read.
    ///
    /// # Errors
    ///
    /// As [`SendStream::finish`].
    pub fn finish(self) -> Result<Sent> {
        let Self { data, stream, .. } = self;
        drop(data);
        stream.finish()
    }
}

impl AsyncRead for AsyncSendStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { data, done, stream } = self.get_mut();
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            // In this order: what the pipe has when the kernel is done is the rest.
            let done = done.poll(cx)?.is_ready();
            let ready = match data.poll(cx)? {
                Poll::Ready(guard) => Some(guard),
                Poll::Pending if done => None,
                Poll::Pending => return Poll::Pending,
            };
            match stream.pipe().read(buffer.initialize_unfilled()) {
                Ok(0) => {}
                Ok(bytes) => {
                    buffer.advance(bytes);
                    stream.advance(bytes);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Some(mut guard) = ready {
                        guard.clear_ready();
                    }
                    if !done {
                        continue;
                    }
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
            return Poll::Ready(stream.end().map_err(io::Error::from));
        }
    }
}
