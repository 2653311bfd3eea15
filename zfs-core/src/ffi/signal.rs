//! Keeping signals away from a thread.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr;

/// Keeps every signal from the calling thread, and from the threads that it starts meanwhile,
/// until it is dropped. What arrives for the thread is delivered then.
///
/// A thread that writes to a pipe in the kernel is started under it: a signal in the middle would
/// end the write, and a `SIGPIPE` could end the process. One that is pending when a thread ends
/// goes with it.
pub(crate) struct AllBlocked {
    _mask: Mask,
}

impl AllBlocked {
    pub(crate) fn new() -> Self {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: the call initialises the set that it is given.
        unsafe { libc::sigfillset(all.as_mut_ptr()) };
        // SAFETY: initialised by the call above, which fails only for a bad address.
        let all = unsafe { all.assume_init() };
        Self {
            _mask: Mask::block(&all),
        }
    }
}

/// Keeps `SIGPIPE` from the calling thread until it is dropped, and discards the one that a write
/// raised meanwhile: the write's error says the same.
pub(crate) struct PipeIgnored {
    was_pending: bool,
    _mask: Mask,
}

impl PipeIgnored {
    pub(crate) fn new() -> Self {
        let was_pending = pipe_is_pending();
        Self {
            was_pending,
            _mask: Mask::block(&only_pipe()),
        }
    }
}

impl Drop for PipeIgnored {
    fn drop(&mut self) {
        // One that was there before is somebody else's. The mask is restored after this.
        if self.was_pending || !pipe_is_pending() {
            return;
        }
        let set = only_pipe();
        let now = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the set and the time are live and initialised; no information is asked for.
        unsafe { libc::sigtimedwait(&raw const set, ptr::null_mut(), &raw const now) };
    }
}

fn only_pipe() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the call initialises the set that it is given.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set was initialised by the call above, and the signal exists.
    unsafe { libc::sigaddset(set.as_mut_ptr(), libc::SIGPIPE) };
    // SAFETY: as above.
    unsafe { set.assume_init() }
}

fn contains_pipe(set: &libc::sigset_t) -> bool {
    // SAFETY: the set is borrowed and initialised, and the signal exists.
    unsafe { libc::sigismember(set, libc::SIGPIPE) == 1 }
}

fn pipe_is_pending() -> bool {
    let mut set = only_pipe();
    // SAFETY: the call overwrites the set that it is given.
    let status = unsafe { libc::sigpending(&raw mut set) };
    status == 0 && contains_pipe(&set)
}

/// The calling thread's signal mask as it was, put back on drop.
///
/// Neither `Send` nor `Sync`: it belongs to the thread that made it.
struct Mask {
    before: libc::sigset_t,
    _thread: PhantomData<*const ()>,
}

impl Mask {
    fn block(set: &libc::sigset_t) -> Self {
        let mut before = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: `set` is borrowed and initialised, and the call fills `before`. It fails only
        // for an unknown action, which this is not.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set, before.as_mut_ptr()) };
        Self {
            // SAFETY: filled by the call above.
            before: unsafe { before.assume_init() },
            _thread: PhantomData,
        }
    }
}

impl Drop for Mask {
    fn drop(&mut self) {
        // SAFETY: the mask is live and initialised; the old one is not asked for.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, ptr::null_mut())
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::pipe;
    use std::io::{ErrorKind, Write};

    /// With the default action, the signal would end the test program.
    #[test]
    fn a_broken_pipe_is_only_an_error() {
        std::thread::spawn(|| {
            let pipe = pipe::pipe().unwrap();
            drop(pipe.reader);
            {
                let _ignored = PipeIgnored::new();
                let error = (&pipe.writer).write(b"x").unwrap_err();
                assert_eq!(error.kind(), ErrorKind::BrokenPipe);
                assert!(pipe_is_pending());
            }
            assert!(!pipe_is_pending());
        })
        .join()
        .unwrap();
    }

    #[test]
    fn the_mask_is_put_back_and_threads_inherit_it() {
        let blocked = || contains_pipe(&Mask::block(&only_pipe()).before);
        let before = blocked();
        {
            let _all = AllBlocked::new();
            assert!(blocked());
            assert!(std::thread::spawn(blocked).join().unwrap());
        }
        assert_eq!(blocked(), before);
    }
}
