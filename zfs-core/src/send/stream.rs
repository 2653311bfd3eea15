use super::plan::Plan;
use super::{SendProgress, Sent};
use crate::error::{Errno, Error, Operation, Result};
use crate::ffi::pipe::{self, Interest};
use crate::outflow::{self, Next, ReadEnd, Shared, Writing};
use crate::zfs::Zfs;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use zfs_core_sys::ioctl::{ZFS_IOC_SEND_NEW, ZFS_IOC_SEND_PROGRESS};

/// A stream that is being sent, to be read like a file: by [`Read`], by the descriptor that
/// [`AsFd`] lends, or, with the feature `tokio`, as `AsyncRead` (`into_async`).
///
/// The kernel makes the stream no faster than it is read: the pipe between holds one MiB, or what
/// the system allows (`/proc/sys/fs/pipe-max-size`).
///
/// [`Read`] gives the kernel's error where a complete stream ends, an [`io::Error`] around an
/// [`Error`]. A reader of the descriptor sees an end of file in both cases, and has to call
/// [`finish`](Self::finish) to learn which it is.
///
/// Dropping the stream ends the sending, and waits for that: the snapshot is free afterwards. A
/// pool that does not answer is waited for ten seconds.
#[derive(Debug)]
pub struct SendStream {
    // In this order: the kernel does not notice before the pipe is closed.
    pipe: ReadEnd,
    sending: Writing,
    zfs: Zfs,
    plan: Plan,
    estimate: Option<u64>,
    /// How much was read by way of `Read`.
    read: u64,
    /// The most that the kernel said it has made.
    made: AtomicU64,
    /// Somebody else may be reading.
    lent: AtomicBool,
    ended: bool,
}

impl SendStream {
    /// Starts the kernel on a plan, and returns when the stream has begun or could not.
    pub(super) fn start(zfs: &Zfs, plan: Plan) -> Result<Self> {
        let error = |errno| Error::new(Operation::Send, plan.object(), errno);
        let estimate = match plan.estimated {
            true => Some(plan.estimate(zfs)?),
            false => None,
        };
        let call = {
            let (zfs, plan) = (zfs.clone(), plan.clone());
            move |number, shared: &Shared| {
                let mut request = zfs
                    .request(ZFS_IOC_SEND_NEW, &plan.name)
                    .input(&plan.send_args(number))?
                    .answered_over_input();
                let outcome = request.run_apart(number, None);
                Ok(outcome.map_err(|errno| shared.cause(&request, errno))?)
            }
        };
        let (pipe, sending) = outflow::start("zfs-send", error, call)?;
        let stream = Self {
            pipe,
            sending,
            zfs: zfs.clone(),
            plan,
            estimate,
            read: 0,
            made: AtomicU64::new(0),
            lent: AtomicBool::new(false),
            ended: false,
        };
        // What was refused has closed the pipe without a byte in it.
        stream.wait()?;
        if matches!(pipe::unread(stream.pipe()), Ok(0)) {
            stream.outcome()?;
        }
        Ok(stream)
    }

    fn outcome(&self) -> Result<()> {
        self.sending.outcome(Operation::Send, || self.plan.object())
    }

    /// Waits until there is something to read, or nothing any more.
    pub(super) fn wait(&self) -> Result<Next> {
        self.sending
            .next(&self.pipe)
            .map_err(|error| Error::transport(Operation::Send, self.plan.object(), error))
    }

    pub(super) fn object(&self) -> String {
        self.plan.object()
    }

    #[cfg(feature = "tokio")]
    pub(super) fn done(&self) -> BorrowedFd<'_> {
        self.sending.done()
    }

    pub(super) fn pipe(&self) -> &File {
        &self.pipe.file
    }

    /// Counts what was taken out of the pipe.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.read = self.read.saturating_add(bytes as u64);
    }

    /// The end of the stream was reached.
    pub(super) fn end(&mut self) -> Result<()> {
        self.ended = true;
        self.outcome()
    }

    /// How far the kernel is.
    ///
    /// # Errors
    ///
    /// `PoolSuspended`, and whatever else keeps the kernel from knowing.
    ///
    /// # Privileges
    ///
    /// None.
    ///
    /// `ZFS_IOC_SEND_PROGRESS`.
    #[doc(alias = "ZFS_IOC_SEND_PROGRESS")]
    #[doc(alias = "lzc_send_progress")]
    pub fn progress(&self) -> Result<SendProgress> {
        // The kernel finds a send by the number of its descriptor: while the lock is held, that
        // cannot become another's.
        self.sending.shared.with_writer(|writer| match writer {
            Some(writer) => self.ask_progress(writer),
            None => Ok(()),
        })?;
        // What a reader of the descriptor has taken is not known here.
        let there = pipe::unread(&self.pipe.file).unwrap_or(0) as u64;
        let made = self.made.load(Ordering::Relaxed);
        Ok(SendProgress {
            bytes: made.max(self.read.saturating_add(there)),
            estimate: self.estimate,
        })
    }

    fn ask_progress(&self, writer: &File) -> Result<()> {
        let mut request = self.zfs.request(ZFS_IOC_SEND_PROGRESS, &self.plan.name);
        request.cmd().zc_cookie = u64::try_from(writer.as_raw_fd()).unwrap_or(u64::MAX);
        match request.read() {
            Ok(()) => {
                self.made.fetch_max(request.cookie(), Ordering::Relaxed);
                Ok(())
            }
            // Not begun, over, or of partial state that has no name to ask by.
            Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(Error::new(
                Operation::GetSendProgress,
                self.plan.object(),
                errno,
            )),
        }
    }

    /// Tells how the send ended.
    ///
    /// It is for those who read the stream by its descriptor: they see the same end of file
    /// whether the stream is complete or not. The stream's own reading end is closed first, so
    /// that the kernel waits for nobody when all copies that were made of it are closed too, and
    /// then the call waits for the kernel.
    ///
    /// After [`Read`] has returned the last byte of the stream, it returns at once.
    ///
    /// # Errors
    ///
    /// The kernel's, as [`Snapshot::send`](crate::Snapshot::send) describes them. `Transport` when
    /// the stream was not read to its end.
    pub fn finish(self) -> Result<Sent> {
        let Self {
            mut pipe,
            sending,
            plan,
            read,
            lent,
            ended,
            ..
        } = self;
        let transport = |error| Error::transport(Operation::Send, plan.object(), error);
        let unread = || {
            transport(io::Error::from(io::ErrorKind::BrokenPipe))
                .with_detail("the stream was not read to its end")
        };
        if lent.into_inner() {
            pipe.ends_writing = false;
            drop(pipe);
        } else if !ended && sending.next(&pipe).map_err(transport)? == Next::Data {
            // A pipe without a writer is ready to be read too.
            match pipe::unread(&pipe.file) {
                Ok(0) => {}
                _ => return Err(unread()),
            }
        }
        let done = [(sending.done(), Interest::Read)];
        pipe::wait(done, None).map_err(transport)?;
        sending
            .outcome(Operation::Send, || plan.object())
            .map_err(|error| match error.errno() {
                Some(Errno::EPIPE) => unread(),
                _ => error,
            })?;
        Ok(Sent { bytes: read })
    }
}

/// Gives the kernel's error, an [`Error`] inside an [`io::Error`], instead of the end of a stream
/// that is not complete.
impl Read for SendStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if !self.ended && self.wait()? == Next::Data {
            let bytes = self.pipe().read(buffer)?;
            if bytes > 0 {
                self.advance(bytes);
                return Ok(bytes);
            }
        }
        self.end()?;
        Ok(0)
    }
}

/// The pipe's reading end. Use either this or [`Read`]: each byte is read once.
///
/// A copy of the descriptor that outlives the stream reads an end of file soon after.
impl AsFd for SendStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.lent.store(true, Ordering::Relaxed);
        self.pipe.file.as_fd()
    }
}
