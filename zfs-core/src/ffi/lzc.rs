//! The functions of libzfs_core, each as a safe one.

use super::nvlist::{NvList, NvOut};
use crate::error::Errno;
use once_cell::sync::OnceCell;
use std::ffi::{CStr, c_char, c_int};
use std::ptr;
use zfs_core_sys as sys;

/// Proof that libzfs_core is initialised, without which each of its functions aborts the process.
///
/// It stays initialised until the process ends: its own count of users is wrong from 2.2 on after
/// one call too many of `libzfs_core_fini`, which any other user in the process could make.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lzc(());

static INITIALISED: OnceCell<Lzc> = OnceCell::new();

/// The result of a call with a list of per-item errors, which can be filled on success too.
pub(crate) struct Batch {
    pub(crate) status: Result<(), Errno>,
    pub(crate) failures: Option<NvList>,
}

/// Room for the name that promote and rollback return.
type NameBuffer = [c_char; sys::ioctl::ZC_STRING_LEN];

fn check(status: c_int) -> Result<(), Errno> {
    match status {
        0 => Ok(()),
        errno => Err(Errno::from_raw(errno)),
    }
}

impl Lzc {
    /// Initialises the library once; a failure is not remembered, since the module can be loaded
    /// later.
    pub(crate) fn get() -> Result<Self, Errno> {
        INITIALISED
            .get_or_try_init(|| {
                // SAFETY: the function has no precondition, and the cell lets one thread in.
                let status = unsafe { sys::libzfs_core_init() };
                check(status).map(|()| Self(()))
            })
            .copied()
    }

    pub(crate) fn snapshot(self, snaps: &NvList, props: Option<&NvList>) -> Batch {
        let props = props.map_or(ptr::null_mut(), NvList::as_ptr);
        batch(|errors| {
            // SAFETY: the library is initialised; the lists are borrowed and so live during the
            // call, which only reads them; `errors` is writable.
            unsafe { sys::lzc_snapshot(snaps.as_ptr(), props, errors) }
        })
    }

    pub(crate) fn destroy_snaps(self, snaps: &NvList, defer: bool) -> Batch {
        batch(|errors| {
            // SAFETY: as for `snapshot`.
            unsafe { sys::lzc_destroy_snaps(snaps.as_ptr(), defer.into(), errors) }
        })
    }

    pub(crate) fn bookmark(self, bookmarks: &NvList) -> Batch {
        batch(|errors| {
            // SAFETY: as for `snapshot`.
            unsafe { sys::lzc_bookmark(bookmarks.as_ptr(), errors) }
        })
    }

    pub(crate) fn destroy_bookmarks(self, bookmarks: &NvList) -> Batch {
        batch(|errors| {
            // SAFETY: as for `snapshot`.
            unsafe { sys::lzc_destroy_bookmarks(bookmarks.as_ptr(), errors) }
        })
    }

    /// `cleanup` is the number of a descriptor of `/dev/zfs` that the kernel looks up during the
    /// call, or -1. A wrong number is an error of the kernel's (`EBADF`).
    pub(crate) fn hold(self, holds: &NvList, cleanup: c_int) -> Batch {
        batch(|errors| {
            // SAFETY: as for `snapshot`.
            unsafe { sys::lzc_hold(holds.as_ptr(), cleanup, errors) }
        })
    }

    pub(crate) fn release(self, holds: &NvList) -> Batch {
        batch(|errors| {
            // SAFETY: as for `snapshot`.
            unsafe { sys::lzc_release(holds.as_ptr(), errors) }
        })
    }

    pub(crate) fn get_holds(self, snapshot: &CStr) -> Result<Option<NvList>, Errno> {
        listing(|out| {
            // SAFETY: the library is initialised, the name is borrowed, `out` is writable.
            unsafe { sys::lzc_get_holds(snapshot.as_ptr(), out) }
        })
    }

    /// No `props` stands for all of them but the redaction lists.
    pub(crate) fn get_bookmarks(
        self,
        dataset: &CStr,
        props: Option<&NvList>,
    ) -> Result<Option<NvList>, Errno> {
        let props = props.map_or(ptr::null_mut(), NvList::as_ptr);
        listing(|out| {
            // SAFETY: the library is initialised; the name and the list are borrowed and so live
            // during the call, which only reads them; `out` is writable.
            unsafe { sys::lzc_get_bookmarks(dataset.as_ptr(), props, out) }
        })
    }

    /// The error comes with the name of the snapshot in the way, if there is one.
    pub(crate) fn promote(self, dataset: &CStr) -> Result<(), (Errno, String)> {
        let (status, name) = named(|buffer, len| {
            // SAFETY: the library is initialised, the name is borrowed, and the buffer has `len`
            // bytes, which the function never exceeds.
            unsafe { sys::lzc_promote(dataset.as_ptr(), buffer, len) }
        });
        status.map_err(|errno| (errno, name))
    }

    /// Returns the full name of the snapshot that it went back to.
    pub(crate) fn rollback(self, dataset: &CStr) -> Result<String, Errno> {
        let (status, name) = named(|buffer, len| {
            // SAFETY: as for `promote`.
            unsafe { sys::lzc_rollback(dataset.as_ptr(), buffer, len) }
        });
        status.map(|()| name)
    }

    pub(crate) fn rollback_to(self, dataset: &CStr, snapshot: &CStr) -> Result<(), Errno> {
        // SAFETY: the library is initialised, and both names are borrowed.
        check(unsafe { sys::lzc_rollback_to(dataset.as_ptr(), snapshot.as_ptr()) })
    }

    pub(crate) fn rename(self, from: &CStr, to: &CStr) -> Result<(), Errno> {
        // SAFETY: as for `rollback_to`.
        check(unsafe { sys::lzc_rename(from.as_ptr(), to.as_ptr()) })
    }

    pub(crate) fn destroy(self, dataset: &CStr) -> Result<(), Errno> {
        // SAFETY: the library is initialised, and the name is borrowed.
        check(unsafe { sys::lzc_destroy(dataset.as_ptr()) })
    }

    /// `options` must hold `force`.
    pub(crate) fn sync(self, pool: &CStr, options: &NvList) -> Result<(), Errno> {
        listing(|out| {
            // SAFETY: the library is initialised, the name and the list are borrowed, `out` is
            // writable.
            unsafe { sys::lzc_sync(pool.as_ptr(), options.as_ptr(), out) }
        })
        .map(|_| ())
    }

    pub(crate) fn checkpoint(self, pool: &CStr) -> Result<(), Errno> {
        // SAFETY: the library is initialised, and the name is borrowed.
        check(unsafe { sys::lzc_pool_checkpoint(pool.as_ptr()) })
    }

    pub(crate) fn discard_checkpoint(self, pool: &CStr) -> Result<(), Errno> {
        // SAFETY: as for `checkpoint`.
        check(unsafe { sys::lzc_pool_checkpoint_discard(pool.as_ptr()) })
    }

    /// `vdevs` has the identities of devices, under any names.
    pub(crate) fn initialize(
        self,
        pool: &CStr,
        command: sys::pool_initialize_func_t,
        vdevs: &NvList,
    ) -> Batch {
        batch(|errors| {
            // SAFETY: the library is initialised; the name and the list are borrowed and so live
            // during the call, which only reads them; `errors` is writable; the command is a
            // number for the kernel, which refuses those that it does not know.
            unsafe { sys::lzc_initialize(pool.as_ptr(), command, vdevs.as_ptr(), errors) }
        })
    }

    /// `vdevs` has the identities of devices, under any names. A rate of 0 is none.
    pub(crate) fn trim(
        self,
        pool: &CStr,
        command: sys::pool_trim_func_t,
        rate: u64,
        secure: bool,
        vdevs: &NvList,
    ) -> Batch {
        batch(|errors| {
            // SAFETY: as for `initialize`.
            unsafe {
                sys::lzc_trim(
                    pool.as_ptr(),
                    command,
                    rate,
                    secure.into(),
                    vdevs.as_ptr(),
                    errors,
                )
            }
        })
    }

    /// Returns whether there was anything to wait for.
    pub(crate) fn wait(
        self,
        pool: &CStr,
        activity: sys::zpool_wait_activity_t,
        tag: Option<u64>,
    ) -> Result<bool, Errno> {
        flag(|waited| match tag {
            // SAFETY: the library is initialised, the name is borrowed, `waited` is writable; the
            // activity is a number for the kernel, which refuses those that it does not know.
            None => unsafe { sys::lzc_wait(pool.as_ptr(), activity, waited) },
            // SAFETY: as above.
            Some(tag) => unsafe { sys::lzc_wait_tag(pool.as_ptr(), activity, tag, waited) },
        })
    }

    /// Returns whether there was anything to wait for.
    pub(crate) fn wait_fs(
        self,
        filesystem: &CStr,
        activity: sys::zfs_wait_activity_t,
    ) -> Result<bool, Errno> {
        // SAFETY: as for `wait`.
        flag(|waited| unsafe { sys::lzc_wait_fs(filesystem.as_ptr(), activity, waited) })
    }
}

/// Calls a function that writes a boolean.
fn flag(call: impl FnOnce(*mut sys::boolean_t) -> c_int) -> Result<bool, Errno> {
    let mut flag = sys::B_FALSE;
    check(call(&mut flag))?;
    Ok(flag != sys::B_FALSE)
}

/// Calls a function that reports per-item errors. It may leave the list unwritten, or write one
/// that belongs to the caller, whatever it returns.
fn batch(call: impl FnOnce(*mut *mut sys::nvpair::nvlist_t) -> c_int) -> Batch {
    let mut errors = NvOut::new();
    let status = check(call(errors.as_mut_ptr()));
    Batch {
        status,
        failures: errors.finish(),
    }
}

/// Calls a function that returns a list.
fn listing(
    call: impl FnOnce(*mut *mut sys::nvpair::nvlist_t) -> c_int,
) -> Result<Option<NvList>, Errno> {
    let mut out = NvOut::new();
    check(call(out.as_mut_ptr()))?;
    Ok(out.finish())
}

/// Calls a function that writes a name.
fn named(call: impl FnOnce(*mut c_char, c_int) -> c_int) -> (Result<(), Errno>, String) {
    let mut buffer: NameBuffer = [0; sys::ioctl::ZC_STRING_LEN];
    let len = c_int::try_from(buffer.len()).unwrap_or(0);
    let status = check(call(buffer.as_mut_ptr(), len));
    (status, super::device::read_str(&buffer))
}
