//! The C side, `benches/baseline.c`. All that is `unsafe` about the benchmarks is here.

use helix_zfs::zfs_core::DatasetName;
use std::ffi::{CString, c_char, c_int};
use std::io;
use std::time::Duration;

unsafe extern "C" {
    fn baseline_init() -> c_int;
    fn baseline_snapshot(names: *const *const c_char, count: usize) -> c_int;
    fn baseline_cpu_ns(ns: *mut u64) -> c_int;
    fn baseline_answer_snapshots() -> c_int;
    fn baseline_list(root: *const c_char, what: c_int, count: *mut u64, sum: *mut u64) -> c_int;
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

/// What a list has of each snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Names,
    /// Creation, used and referenced.
    Figures,
    AllProperties,
    /// All properties, which nobody reads: what the kernel takes.
    Unread,
}

/// What a list came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) count: u64,
    /// Of all figures, or of the lengths of all names.
    pub(crate) sum: u64,
}

/// Lists the snapshots of all datasets immediately below `root`.
pub(crate) fn list(root: &DatasetName, wanted: Wanted) -> io::Result<Listed> {
    let what = match wanted {
        Wanted::Names => 0,
        Wanted::Figures => 1,
        Wanted::AllProperties => 2,
        Wanted::Unread => 3,
    };
    let mut listed = Listed { count: 0, sum: 0 };
    let (count, sum) = (&raw mut listed.count, &raw mut listed.sum);
    // SAFETY: the name ends in NUL and is only read; the other pointers are to live variables of
    // their types. A name that was checked fits into the command that it is copied to.
    check(unsafe { baseline_list(root.as_c_str().as_ptr(), what, count, sum) })?;
    Ok(listed)
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
