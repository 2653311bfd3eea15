//! A call of the kernel that writes into a pipe: on a thread of its own, read from another.

use crate::error::{Errno, Error, ErrorKind, Operation, Result};
use crate::ffi::device::{Refusal, Request};
use crate::ffi::pipe::{self, Event, Interest, Pipe};
use crate::ffi::signal::AllBlocked;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long a reader that goes waits for the kernel to notice. It does so at its next write; only a
/// pool that does not answer keeps it from that.
const PATIENCE: Duration = Duration::from_secs(10);

/// The thread calls the kernel and does nothing else.
const STACK_SIZE: usize = 128 << 10;

/// What the reader and the thread share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Closed by the thread when the kernel is done, after the outcome is known.
    writer: Mutex<Option<File>>,
    outcome: OnceLock<Result<(), Refusal>>,
    /// Set at the very end. A pipe's end of file alone does not tell, while a child process that
    /// was forked meanwhile has a copy of the writing end.
    done: Event,
}

impl Shared {
    pub(crate) fn with_writer<T>(&self, action: impl FnOnce(&mut Option<File>) -> T) -> T {
        action(&mut self.writer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether nobody reads any more.
    pub(crate) fn is_broken(&self) -> bool {
        self.with_writer(|writer| writer.as_ref().is_some_and(pipe::is_broken))
    }

    /// Why the kernel's call failed. Of a write that failed in the middle of a stream it says no
    /// more than that it was interrupted.
    pub(crate) fn cause(&self, request: &Request<'_>, errno: Errno) -> Errno {
        if !request.was_interrupted(errno) {
            return errno;
        }
        match self.is_broken() {
            true => Errno::EPIPE,
            false => Errno::EINTR,
        }
    }
}

/// The end of the thread's work, however it comes.
struct Finish<'s>(&'s Shared);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.with_writer(Option::take);
        self.0.done.set();
    }
}

/// The pipe's reading end.
#[derive(Debug)]
pub(crate) struct ReadEnd {
    pub(crate) file: File,
    shared: Arc<Shared>,
    /// Whether closing it is to end the writing even if somebody else has a copy of it.
    pub(crate) ends_writing: bool,
}

impl Drop for ReadEnd {
    fn drop(&mut self) {
        if !self.ends_writing {
            return;
        }
        let still_open = self.shared.with_writer(|writer| match writer {
            Some(writer) => pipe::set_nonblocking(writer).is_ok(),
            None => false,
        });
        // A writer that sleeps because the pipe is full has to be woken once to find that it may
        // not sleep any more. Where nobody has a copy of this end, closing it does the same.
        if still_open {
            pipe::wake_writer(&self.file);
        }
    }
}

/// The thread that is in the kernel. Dropping it waits for the end of that; the reading end is
/// closed before.
#[derive(Debug)]
pub(crate) struct Writing {
    pub(crate) shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Writing {
    /// How the kernel's call ended, which it has when there is nothing more to read.
    pub(crate) fn outcome(
        &self,
        operation: Operation,
        object: impl FnOnce() -> String,
    ) -> Result<()> {
        match self.shared.outcome.get() {
            Some(Ok(())) => Ok(()),
            Some(Err(refusal)) => Err(refusal.clone().into_error(operation, object())),
            None => Err(Error::protocol(
                operation,
                object(),
                "the writing thread ended without a result",
            )),
        }
    }

    /// Becomes ready to be read when the kernel is done.
    pub(crate) fn done(&self) -> BorrowedFd<'_> {
        self.shared.done.as_fd()
    }

    /// Waits until there is something to read, or nothing any more.
    pub(crate) fn next(&self, end: &ReadEnd) -> io::Result<Next> {
        let (pipe, done) = (end.file.as_fd(), self.done());
        let poll = |timeout| pipe::wait([(pipe, Interest::Read), (done, Interest::Read)], timeout);
        match poll(None)? {
            [true, _] => Ok(Next::Data),
            // The last bytes may have come after the pipe was looked at.
            [false, _] => match poll(Some(Duration::ZERO))? {
                [true, _] => Ok(Next::Data),
                [false, _] => Ok(Next::End),
            },
        }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let done = pipe::wait([(self.done(), Interest::Read)], Some(PATIENCE));
        if let (Ok([true]), Some(thread)) = (done, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

/// What a reader can do next.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Data,
    End,
}

/// Starts a thread, under this name, that calls the kernel with the number of a pipe's writing end.
/// The pipe is closed when the call is over.
pub(crate) fn start(
    name: &str,
    error: impl Fn(Errno) -> Error,
    call: impl FnOnce(RawFd, &Shared) -> Result<(), Refusal> + Send + 'static,
) -> Result<(ReadEnd, Writing)> {
    let Pipe { reader, writer } = pipe::pipe().map_err(&error)?;
    let number = writer.as_raw_fd();
    let shared = Arc::new(Shared {
        writer: Mutex::new(Some(writer)),
        outcome: OnceLock::new(),
        done: Event::new().map_err(&error)?,
    });
    let work = {
        let shared = Arc::clone(&shared);
        move || {
            let finish = Finish(&shared);
            // The only place where it is set.
            let _ = shared.outcome.set(call(number, &shared));
            drop(finish);
        }
    };
    let thread = {
        let _blocked = AllBlocked::new();
        thread::Builder::new()
            .name(String::from(name))
            .stack_size(STACK_SIZE)
            .spawn(work)
            .map_err(|cause| error(Errno::from_io(&cause)).with_kind(ErrorKind::OutOfMemory))?
    };
    let end = ReadEnd {
        file: reader,
        shared: Arc::clone(&shared),
        ends_writing: true,
    };
    let writing = Writing {
        shared,
        thread: Some(thread),
    };
    Ok((end, writing))
}
