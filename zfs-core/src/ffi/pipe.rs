//! Pipes, and what goes with them: waiting, an event to wait for, moving bytes without a copy.

use crate::error::Errno;
use std::ffi::{c_int, c_uint};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

/// What a pipe is asked to hold. The limit for users without privileges is the same by default.
const CAPACITY: c_int = 1 << 20;

/// Enough for a writer to notice: room for a page.
const WAKING: usize = 64 << 10;

/// The two ends of a pipe, closed on `exec`.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) reader: File,
    pub(crate) writer: File,
}

fn check(status: c_int) -> io::Result<c_int> {
    if status < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(status)
}

/// Makes a blocking pipe, as large as the system lets it be up to one MiB.
pub(crate) fn pipe() -> Result<Pipe, Errno> {
    let mut ends = [-1; 2];
    // SAFETY: `ends` has room for the two numbers that the call writes.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })
        .map_err(|error| Errno::from_io(&error))?;
    // SAFETY: the call succeeded, so the number is that of a descriptor that nothing else owns.
    let reader = unsafe { OwnedFd::from_raw_fd(ends[0]) };
    // SAFETY: as above.
    let writer = unsafe { OwnedFd::from_raw_fd(ends[1]) };
    // SAFETY: the request takes an integer. A refusal leaves the pipe smaller, which is as good.
    unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, CAPACITY) };
    Ok(Pipe {
        reader: reader.into(),
        writer: writer.into(),
    })
}

/// Makes reads and writes through this descriptor, and every copy of it, fail with `EAGAIN` rather
/// than wait.
pub(crate) fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: the request takes no argument.
    let flags = check(unsafe { libc::fcntl(fd, libc::F_GETFL) })?;
    // SAFETY: the request takes an integer.
    check(unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) })?;
    Ok(())
}

/// Whether reads and writes through this descriptor wait.
pub(crate) fn is_blocking(fd: impl AsFd) -> io::Result<bool> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: the request takes no argument.
    let flags = check(unsafe { libc::fcntl(fd, libc::F_GETFL) })?;
    Ok(flags & libc::O_NONBLOCK == 0)
}

/// How many bytes are in a pipe.
pub(crate) fn unread(fd: impl AsFd) -> io::Result<usize> {
    let mut count: c_int = 0;
    // SAFETY: the request writes one int, and `count` is one.
    check(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::FIONREAD, &raw mut count) })?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Whether nobody has a pipe's reading end any more.
pub(crate) fn is_broken(writer: impl AsFd) -> bool {
    let mut polled = [libc::pollfd {
        fd: writer.as_fd().as_raw_fd(),
        events: 0,
        revents: 0,
    }];
    // SAFETY: one entry is given, in an exclusively borrowed array, and its descriptor is borrowed.
    let status = unsafe { libc::poll(polled.as_mut_ptr(), 1, 0) };
    status > 0
        && polled
            .iter()
            .all(|entry| entry.revents & libc::POLLERR != 0)
}

/// What a descriptor is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    Read,
    Write,
}

/// Waits until one of the descriptors is ready or at its end, and tells which are. None is when
/// the time is over.
///
/// A signal handler that ran does not end the wait; it does begin its time anew.
pub(crate) fn wait<const N: usize>(
    fds: [(BorrowedFd<'_>, Interest); N],
    timeout: Option<Duration>,
) -> io::Result<[bool; N]> {
    let mut polled = fds.map(|(fd, interest)| libc::pollfd {
        fd: fd.as_raw_fd(),
        events: match interest {
            Interest::Read => libc::POLLIN,
            Interest::Write => libc::POLLOUT,
        },
        revents: 0,
    });
    let timeout = timeout.map_or(-1, |time| {
        c_int::try_from(time.as_millis()).unwrap_or(c_int::MAX)
    });
    loop {
        // SAFETY: `polled` is an exclusively borrowed array of as many entries as it is said to
        // have, and the descriptors in it are borrowed and so stay open.
        let status = check(unsafe { libc::poll(polled.as_mut_ptr(), N as libc::nfds_t, timeout) });
        match status {
            Ok(_) => return Ok(polled.map(|entry| entry.revents != 0)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Moves up to `len` bytes from a pipe to another descriptor without taking them into this
/// process. Returns 0 at the end of a pipe that has no writer any more.
pub(crate) fn splice(pipe: impl AsFd, to: impl AsFd, len: usize) -> io::Result<usize> {
    let flags = libc::SPLICE_F_MOVE | libc::SPLICE_F_MORE;
    splice_with(pipe.as_fd(), to.as_fd(), len, flags)
}

fn splice_with(
    pipe: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    len: usize,
    flags: c_uint,
) -> io::Result<usize> {
    let (from, to) = (pipe.as_raw_fd(), to.as_raw_fd());
    let none = ptr::null_mut();
    // SAFETY: both descriptors are borrowed and so stay open; no offsets are given.
    let moved = unsafe { libc::splice(from, none, to, none, len, flags) };
    usize::try_from(moved).map_err(|_| io::Error::last_os_error())
}

/// Wakes a writer that sleeps because the pipe is full, by throwing away some of what is in it.
/// Never waits, whoever else reads the pipe.
pub(crate) fn wake_writer(reader: impl AsFd) {
    if let Ok(bin) = pipe() {
        let flags = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK;
        // With an error there is nothing in the pipe.
        let _ = splice_with(reader.as_fd(), bin.writer.as_fd(), WAKING, flags);
    }
}

/// Something that happens once, and that can be waited for beside descriptors.
#[derive(Debug)]
pub(crate) struct Event(File);

impl Event {
    pub(crate) fn new() -> Result<Self, Errno> {
        // SAFETY: the call takes two integers.
        let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })
            .map_err(|error| Errno::from_io(&error))?;
        // SAFETY: the call succeeded, so the number is that of a descriptor that nothing else owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }.into()))
    }

    /// Makes it happen. It stays so.
    pub(crate) fn set(&self) {
        // It fails only when the counter is at its end, which is as good as set.
        let _ = (&self.0).write(&1_u64.to_ne_bytes());
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn bytes_go_through_and_the_end_is_seen() {
        let Pipe {
            mut reader,
            mut writer,
        } = pipe().unwrap();
        writer.write_all(b"abc").unwrap();
        assert_eq!(unread(&reader).unwrap(), 3);
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "abc");
    }

    #[test]
    fn an_event_is_waited_for_beside_a_pipe() {
        let pipe = pipe().unwrap();
        let event = Event::new().unwrap();
        let both = || {
            wait(
                [
                    (pipe.reader.as_fd(), Interest::Read),
                    (event.as_fd(), Interest::Read),
                ],
                Some(Duration::ZERO),
            )
            .unwrap()
        };
        assert_eq!(both(), [false, false]);
        event.set();
        assert_eq!(both(), [false, true]);
        (&pipe.writer).write_all(b"x").unwrap();
        assert_eq!(both(), [true, true]);
    }

    #[test]
    fn a_full_pipe_that_does_not_block_says_so() {
        let mut pipe = pipe().unwrap();
        set_nonblocking(&pipe.writer).unwrap();
        let chunk = [0; 4096];
        let error = loop {
            if let Err(error) = pipe.writer.write(&chunk) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_sleeping_writer_is_woken_and_may_not_sleep_again() {
        let pipe = pipe().unwrap();
        let copy = pipe.writer.try_clone().unwrap();
        let writer = std::thread::spawn(move || (&pipe.writer).write_all(&[0; 4 << 20]));
        // Once it is full the writer sleeps, or is about to.
        while unread(&pipe.reader).unwrap() < WAKING {
            std::thread::yield_now();
        }
        set_nonblocking(&copy).unwrap();
        // Once is enough, and more could be room for all that the writer has.
        wake_writer(&pipe.reader);
        let error = writer.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn splice_moves_from_pipe_to_pipe() {
        let (mut from, mut to) = (pipe().unwrap(), pipe().unwrap());
        from.writer.write_all(b"abc").unwrap();
        assert_eq!(splice(&from.reader, &to.writer, 100).unwrap(), 3);
        drop(from.writer);
        assert_eq!(splice(&from.reader, &to.writer, 100).unwrap(), 0);
        let mut text = [0; 3];
        to.reader.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"abc");
        assert!(!is_broken(&to.writer));
        drop(to.reader);
        assert!(is_broken(&to.writer));
    }
}
