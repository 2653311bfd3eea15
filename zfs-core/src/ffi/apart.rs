//! Calls of the kernel that outlive a killed process.

use std::os::fd::RawFd;
use std::thread;

/// The kernel must not hold what its own end waits for: runs `call` on a thread with a table of
/// descriptors of its own, in which there is nothing but `kept`.
///
/// When a process is killed while the kernel makes a thread for a send or a receive, OpenZFS forgets
/// the signal, and goes on. All other threads of the process end, and what the call writes to or
/// reads from would close with them, were it not in the table that the call shares: it would wait for
/// ever. With a table of its own it finds the pipe broken, or at its end.
///
/// `None` when no thread can be started, or when it ended abnormally.
pub(crate) fn run_apart<T: Send>(kept: &[RawFd], call: impl FnOnce() -> T + Send) -> Option<T> {
    let mut numbers: Vec<u32> = kept
        .iter()
        .filter_map(|number| u32::try_from(*number).ok())
        .collect();
    numbers.sort_unstable();
    thread::scope(|scope| {
        let kernel = thread::Builder::new()
            .name(String::from("zfs-kernel"))
            .spawn_scoped(scope, move || {
                close_all_but(&numbers);
                call()
            })
            .ok()?;
        kernel.join().ok()
    })
}

/// Closes all descriptors of the calling thread but `kept`, which are in ascending order, and none
/// of the process.
///
/// Where the system does not offer that (Linux before 5.9), the thread goes on with the table of the
/// process: a copy of the table with everything in it would keep both ends of a pipe open.
fn close_all_but(kept: &[u32]) {
    let mut end = u32::MAX;
    let mut flags = libc::CLOSE_RANGE_UNSHARE;
    for number in kept.iter().rev().copied().map(Some).chain([None]) {
        let first = number.map_or(0, |number| number.saturating_add(1));
        if first <= end {
            // SAFETY: the call takes three integers. The first one gives this thread a table of its
            // own, which is shared until then because another thread waits for this one; if it
            // fails, there is no second. So what is closed are copies that only this thread has,
            // and the caller runs nothing here that uses another descriptor than those kept.
            if unsafe { libc::syscall(libc::SYS_close_range, first, end, flags) } != 0 {
                return;
            }
            flags = 0;
        }
        match number.and_then(|number| number.checked_sub(1)) {
            Some(below) => end = below,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::pipe::{Pipe, pipe};
    use crate::ffi::signal::PipeIgnored;
    use std::io::{ErrorKind, Write};
    use std::os::fd::AsRawFd;
    use std::sync::Barrier;

    fn is_open(number: RawFd) -> bool {
        // SAFETY: the request takes no argument.
        unsafe { libc::fcntl(number, libc::F_GETFD) != -1 }
    }

    #[test]
    fn only_what_is_kept_is_there() {
        let (pipe, other) = (pipe().unwrap(), pipe().unwrap());
        let ends = [&pipe.reader, &pipe.writer, &other.reader, &other.writer];
        let [_, second, third, _] = ends.map(AsRawFd::as_raw_fd);
        let numbers = ends.map(AsRawFd::as_raw_fd);
        let there = run_apart(&[third, second], || numbers.map(is_open)).unwrap();
        assert_eq!(there, [false, true, true, false]);
        assert_eq!(run_apart(&[], || numbers.map(is_open)), Some([false; 4]));
        assert_eq!(numbers.map(is_open), [true; 4]);
    }

    #[test]
    fn a_pipe_breaks_when_the_other_end_closes_in_the_process() {
        let Pipe { reader, writer } = pipe().unwrap();
        let step = Barrier::new(2);
        let broken = thread::scope(|scope| {
            let writing = scope.spawn(|| {
                run_apart(&[writer.as_raw_fd()], || {
                    step.wait();
                    step.wait();
                    let _ignored = PipeIgnored::new();
                    (&writer).write(b"x").map_err(|error| error.kind())
                })
            });
            step.wait();
            drop(reader);
            step.wait();
            writing.join().unwrap()
        });
        assert_eq!(broken, Some(Err(ErrorKind::BrokenPipe)));
    }
}
