//! Functions that came after 2.1, looked up in the loaded library at run time.
//!
//! A program that is built against 2.1 calls them where the library has them, and starts where it
//! does not. Each function here returns the function of the same name, or `None`; the look-up is
//! done once. A function that exists in the library says nothing of the kernel module, which may be
//! older and then answers `ZFS_ERR_IOC_CMD_UNAVAIL` or `ZFS_ERR_IOC_ARG_UNAVAIL`.
//!
//! A function with a C `enum` parameter takes the 32-bit integer that C passes.

use core::ffi::{CStr, c_char, c_int, c_uint, c_ulong, c_void};
use core::ptr::NonNull;

use once_cell::sync::OnceCell;

use crate::ioctl::{dmu_replay_record, zfs_cmd};
use crate::{boolean_t, nvpair::nvlist_t, uint_t};

/// The address of a symbol in the program and what it has loaded.
fn symbol(name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: the name is NUL-terminated, and `RTLD_DEFAULT` needs no handle to be alive.
    NonNull::new(unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) })
}

macro_rules! weak {
    ($($(#[$doc:meta])* $name:ident = $symbol:literal: fn($($argument:ty),*);)*) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub fn $name() -> Option<unsafe extern "C" fn($($argument),*) -> c_int> {
                static FOUND: OnceCell<Option<unsafe extern "C" fn($($argument),*) -> c_int>> =
                    OnceCell::new();
                *FOUND.get_or_init(|| {
                    symbol($symbol).map(|address| {
                        // SAFETY: the address is that of the function of this name, whose prototype
                        // abi/functions.c compares with the headers of every version that has it.
                        // Libraries that are linked with are never unloaded.
                        unsafe {
                            core::mem::transmute::<
                                NonNull<c_void>,
                                unsafe extern "C" fn($($argument),*) -> c_int,
                            >(address)
                        }
                    })
                })
            }
        )*

        /// The names of all functions of this module.
        pub const NAMES: &[&CStr] = &[$($symbol,)*];
    };
}

weak! {
    /// Sends a request with a descriptor of the caller's: `(fd, request, cmd)`; −1 and `errno` on
    /// failure. Since 2.2.
    lzc_ioctl_fd = c"lzc_ioctl_fd": fn(c_int, c_ulong, *mut zfs_cmd);

    /// Calls a function with a pipe in place of a descriptor that the kernel cannot write a stream
    /// to: `(function, fd, data)`. Since 2.2.
    lzc_send_wrapper = c"lzc_send_wrapper":
        fn(Option<unsafe extern "C" fn(c_int, *mut c_void) -> c_int>, c_int, *mut c_void);

    /// Receives, or repairs a snapshot from its stream: `(snapname, props, cmdprops, wkeydata,
    /// wkeylen, origin, force, heal, resumable, raw, input_fd, begin_record, cleanup_fd,
    /// read_bytes, errflags, action_handle, errors)`. Since 2.2.
    lzc_receive_with_heal = c"lzc_receive_with_heal": fn(
        *const c_char, *mut nvlist_t, *mut nvlist_t, *mut u8, uint_t, *const c_char, boolean_t,
        boolean_t, boolean_t, boolean_t, c_int, *const dmu_replay_record, c_int, *mut u64,
        *mut u64, *mut u64, *mut *mut nvlist_t
    );

    /// Sends any new-style request: `(request, name, innvl, outnvl)`. Since 2.2.
    lzc_scrub = c"lzc_scrub":
        fn(c_uint, *const c_char, *mut nvlist_t, *mut *mut nvlist_t);

    /// Reads properties of a vdev: `(pool, innvl, outnvl)`. Since 2.2.
    lzc_get_vdev_prop = c"lzc_get_vdev_prop":
        fn(*const c_char, *mut nvlist_t, *mut *mut nvlist_t);

    /// Sets properties of a vdev: `(pool, innvl, outnvl)`. Since 2.2.
    lzc_set_vdev_prop = c"lzc_set_vdev_prop":
        fn(*const c_char, *mut nvlist_t, *mut *mut nvlist_t);

    /// Reads the properties of a pool: `(pool, props)`. Since 2.3.
    lzc_get_props = c"lzc_get_props": fn(*const c_char, *mut *mut nvlist_t);

    /// Loads a pool's tables into memory: `(pool, type)`. Since 2.3.
    lzc_pool_prefetch = c"lzc_pool_prefetch": fn(*const c_char, c_uint);

    /// Removes unique entries from the deduplication table: `(pool, unit, amount)`. Since 2.3.
    lzc_ddt_prune = c"lzc_ddt_prune": fn(*const c_char, c_uint, u64);
}
