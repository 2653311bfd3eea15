//! The C side, `benches/baseline.c`. All that is `unsafe` about the benchmarks is here.

use std::ffi::{CString, c_char, c_int};
use std::io;
use std::time::Duration;

unsafe extern "C" {
    fn baseline_init() -> c_int;
    fn baseline_snapshot(names: *const *const c_char, count: usize) -> c_int;
    fn baseline_cpu_ns(ns: *mut u64) -> c_int;
    fn baseline_answer_snapshots() -> c_int;
}

fn check(errno: c_int) -> io::Result<()> {
    match errno {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// The calls as C programs make them. It is proof that libzfs_core is initialised.
#[derive(Clone, Copy)]
pub(crate) struct Baseline(());

impl Baseline {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: the function has no precondition. The library counts its users, so that others
        // in this process are not disturbed.
        let errno = unsafe { baseline_init() };
        check(errno).map(|()| Self(()))
    }

    /// Creates snapshots in one transaction group.
    pub(crate) fn snapshot(self, names: &Names) -> io::Result<()> {
        let (names, count) = (names.pointers.as_ptr(), names.pointers.len());
        // SAFETY: libzfs_core is initialised; these are `count` pointers to strings that end in
        // NUL, belong to `names`, and are only read.
        check(unsafe { baseline_snapshot(names, count) })
    }
}

/// Names as C programs have them.
pub(crate) struct Names {
    pointers: Vec<*const c_char>,
    _strings: Vec<CString>,
}

impl From<Vec<CString>> for Names {
    fn from(strings: Vec<CString>) -> Self {
        Self {
            pointers: strings.iter().map(|string| string.as_ptr()).collect(),
            _strings: strings,
        }
    }
}

/// CPU time, user and system, of this thread and of the children that it waited for.
pub(crate) fn cpu_time() -> io::Result<Duration> {
    let mut ns = 0;
    // SAFETY: the pointer is to a live variable of its type.
    check(unsafe { baseline_cpu_ns(&raw mut ns) })?;
    Ok(Duration::from_nanos(ns))
}

/// From here on the kernel answers this thread's snapshot requests with success at its door and
/// without doing anything. The thread must not be used for anything else afterwards.
pub(crate) fn answer_snapshots() -> io::Result<()> {
    // SAFETY: the function has no precondition. A request that is not carried out writes nothing
    // to memory, which is how requests may end anyway.
    check(unsafe { baseline_answer_snapshots() })
}
