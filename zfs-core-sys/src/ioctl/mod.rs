//! The requests of `/dev/zfs` and the structures that they pass.
//!
//! No packaged header has these, so they are written by hand. Sizes and offsets are asserted at
//! compile time, and `cargo xtask abi` compares the same numbers with the source of every supported
//! version's kernel module.
//!
//! Only Linux is covered: FreeBSD wraps the structure and numbers the requests differently, which
//! [`crate::weak::lzc_ioctl_fd`] hides.

mod cmd;
mod inject;
mod numbers;
mod replay;
mod stats;

use core::ffi::{c_int, c_ulong};
use std::io;

pub use cmd::*;
pub use inject::*;
pub use numbers::*;
pub use replay::*;
pub use stats::*;

/// Asserts a structure's size, alignment and offsets.
///
/// `since` marks what only that version and later ones have. The compiler has no use for it:
/// `cargo xtask abi` reads these tables too, and leaves such lines out for older versions.
macro_rules! layout {
    (
        $name:ident: $size:literal $(since $grown:literal)?, align $align:literal;
        $($($field:ident).+ = $offset:literal $(since $since:literal)?,)*
    ) => {
        const _: () = assert!(size_of::<$name>() == $size);
        const _: () = assert!(align_of::<$name>() == $align);
        $(const _: () = assert!(core::mem::offset_of!($name, $($field).+) == $offset);)*
    };
}
use layout;

/// Defines constants of the C headers; `since` is for `cargo xtask abi`, as in [`layout!`].
macro_rules! constants {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $value:literal $(since $since:literal)?;)*) => {
        $(
            $(#[$doc])*
            pub const $name: $type = $value;
        )*
    };
}
use constants;

/// Sends a request to the kernel and returns 0 or an errno, which may be a `ZFS_ERR_…` value.
///
/// The kernel writes `cmd` back even when it fails.
///
/// # Safety
///
/// - `cmd` must be valid for reads and writes for the whole call.
/// - Every address in `cmd` that the request uses must be that of memory as long as the size beside
///   it says, readable for a source and writable for a destination, for the whole call.
/// - A descriptor number in `cmd` must be open, and the caller must be entitled to use it.
///
/// `fd` need not be one of `/dev/zfs`: another one only makes the request fail, unless that
/// descriptor's driver gives the same number another meaning.
#[doc(alias = "zfs_ioctl_fd")]
#[doc(alias = "lzc_ioctl_fd")]
pub unsafe fn zfs_ioctl(fd: c_int, request: c_ulong, cmd: *mut zfs_cmd) -> c_int {
    // musl takes the request as an int; the numbers fit both.
    // SAFETY: the caller vouches for `cmd` and for what it points to; `fd` is only a number.
    let result = unsafe { libc::ioctl(fd, request as _, cmd) };
    if result == 0 {
        return 0;
    }
    io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EIO)
}
