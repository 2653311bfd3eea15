use super::plan::Plan;
use super::{SendProgress, Sent};
use crate::error::{Errno, Error, ErrorKind, Operation, Result};
use crate::ffi::device::{Refusal, Request};
use crate::ffi::pipe::{self, Event, Interest, Pipe};
use crate::ffi::signal::AllBlocked;
use crate::zfs::Zfs;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use zfs_core_sys::ioctl::{ZFS_IOC_SEND_NEW, ZFS_IOC_SEND_PROGRESS};

/// How long a dropped stream waits for the kernel to notice. It does so at its next write; only a
/// pool that does not answer keeps it from that.
const PATIENCE: Duration = Duration::from_secs(10);

/// The thread calls the kernel and does nothing else.
const STACK_SIZE: usize = 128 << 10;

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
    sending: Sending,
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

/// What the stream and its thread share.
#[derive(Debug)]
struct Shared {
    /// Closed by the thread when the kernel is done, after the outcome is known.
    writer: Mutex<Option<File>>,
    outcome: OnceLock<Result<(), Refusal>>,
    /// Set at the very end. A pipe's end of file alone does not tell, while a child process that
    /// was forked meanwhile has a copy of the writing end.
    done: Event,
}

impl Shared {
    fn with_writer<T>(&self, action: impl FnOnce(&mut Option<File>) -> T) -> T {
        action(&mut self.writer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Why the kernel's call failed. Of a write that failed in the middle of a stream it says no
    /// more than that it was interrupted.
    fn cause(&self, request: &Request<'_>, errno: Errno) -> Errno {
        if !request.was_interrupted(errno) {
            return errno;
        }
        let broken = |writer: &mut Option<File>| writer.as_ref().is_some_and(pipe::is_broken);
        match self.with_writer(broken) {
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
struct ReadEnd {
    file: File,
    shared: Arc<Shared>,
    /// Whether closing it is to end the sending even if somebody else has a copy of it.
    ends_sending: bool,
}

impl Drop for ReadEnd {
    fn drop(&mut self) {
        if !self.ends_sending {
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

/// The thread that is in the kernel.
#[derive(Debug)]
struct Sending {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Sending {
    /// How the kernel's call ended, which it has when there is nothing more to read.
    fn outcome(&self, plan: &Plan) -> Result<()> {
        match self.shared.outcome.get() {
            Some(Ok(())) => Ok(()),
            Some(Err(refusal)) => Err(refusal.clone().into_error(Operation::Send, plan.object())),
            None => Err(Error::protocol(
                Operation::Send,
                plan.object(),
                "the sending thread ended without a result",
            )),
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let done = pipe::wait([(self.shared.done.as_fd(), Interest::Read)], Some(PATIENCE));
        if let (Ok([true]), Some(thread)) = (done, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

impl SendStream {
    /// Starts the kernel on a plan, and returns when the stream has begun or could not.
    pub(super) fn start(zfs: &Zfs, plan: Plan) -> Result<Self> {
        let error = |errno| Error::new(Operation::Send, plan.object(), errno);
        let estimate = match plan.estimated {
            true => Some(plan.estimate(zfs)?),
            false => None,
        };
        let Pipe { reader, writer } = pipe::pipe().map_err(error)?;
        let number = writer.as_raw_fd();
        let args = plan.send_args(number);
        let shared = Arc::new(Shared {
            writer: Mutex::new(Some(writer)),
            outcome: OnceLock::new(),
            done: Event::new().map_err(error)?,
        });
        let work = {
            let (zfs, name, shared) = (zfs.clone(), plan.name.clone(), Arc::clone(&shared));
            move || {
                let finish = Finish(&shared);
                let send = || {
                    let mut request = zfs
                        .request(ZFS_IOC_SEND_NEW, &name)
                        .input(&args)?
                        .answered_over_input();
                    let outcome = request.run_apart(number, None);
                    Ok(outcome.map_err(|errno| shared.cause(&request, errno))?)
                };
                // The only place where it is set.
                let _ = shared.outcome.set(send());
                drop(finish);
            }
        };
        let thread = {
            let _blocked = AllBlocked::new();
            std::thread::Builder::new()
                .name(String::from("zfs-send"))
                .stack_size(STACK_SIZE)
                .spawn(work)
                .map_err(|cause| error(Errno::from_io(&cause)).with_kind(ErrorKind::OutOfMemory))?
        };
        let stream = Self {
            pipe: ReadEnd {
                file: reader,
                shared: Arc::clone(&shared),
                ends_sending: true,
            },
            sending: Sending {
                shared,
                thread: Some(thread),
            },
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
            stream.sending.outcome(&stream.plan)?;
        }
        Ok(stream)
    }

    /// Waits until there is something to read, or nothing any more.
    pub(super) fn wait(&self) -> Result<Next> {
        next(&self.pipe.file, &self.sending, &self.plan)
    }

    pub(super) fn object(&self) -> String {
        self.plan.object()
    }

    #[cfg(feature = "tokio")]
    pub(super) fn done(&self) -> BorrowedFd<'_> {
        self.sending.shared.done.as_fd()
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
        self.sending.outcome(&self.plan)
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
        let unread = || {
            let error = io::Error::from(io::ErrorKind::BrokenPipe);
            Error::transport(Operation::Send, plan.object(), error)
                .with_detail("the stream was not read to its end")
        };
        if lent.into_inner() {
            pipe.ends_sending = false;
            drop(pipe);
        } else if !ended && next(&pipe.file, &sending, &plan)? == Next::Data {
            // A pipe without a writer is ready to be read too.
            match pipe::unread(&pipe.file) {
                Ok(0) => {}
                _ => return Err(unread()),
            }
        }
        let done = [(sending.shared.done.as_fd(), Interest::Read)];
        pipe::wait(done, None)
            .map_err(|error| Error::transport(Operation::Send, plan.object(), error))?;
        sending
            .outcome(&plan)
            .map_err(|error| match error.errno() {
                Some(Errno::EPIPE) => unread(),
                _ => error,
            })?;
        Ok(Sent { bytes: read })
    }
}

/// Waits until there is something to read, or nothing any more.
fn next(pipe: &File, sending: &Sending, plan: &Plan) -> Result<Next> {
    let (pipe, done) = (pipe.as_fd(), sending.shared.done.as_fd());
    let poll = |timeout| {
        pipe::wait([(pipe, Interest::Read), (done, Interest::Read)], timeout)
            .map_err(|error| Error::transport(Operation::Send, plan.object(), error))
    };
    match poll(None)? {
        [true, _] => Ok(Next::Data),
        // The last bytes may have come after the pipe was looked at.
        [false, _] => match poll(Some(Duration::ZERO))? {
            [true, _] => Ok(Next::Data),
            [false, _] => Ok(Next::End),
        },
    }
}

/// What a reader can do next.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Data,
    End,
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
