//! Raw bindings of libzfs_core and libnvpair, and the structures of `/dev/zfs`.
//!
//! This crate has no logic: it says what the C side looks like, and the build proves it. Programs
//! use `zfs-core`, the safe layer above it.
//!
//! | What | Where |
//! | --- | --- |
//! | every function of libzfs_core 2.1, and the enums and nvlist keys that go with them | the root |
//! | functions that came later, looked up in the loaded library | [`weak`] |
//! | constants that came later | [`newer`] |
//! | `zfs_cmd`, requests, stream records and statistics | [`ioctl`] |
//! | nvlists, from the crate nvpair-sys | [`nvpair`] |
//!
//! # Versions
//!
//! The bindings are those of OpenZFS 2.1, the oldest supported version, and no later version has
//! changed a prototype, a value or a layout in them. A program that is built against 2.1 therefore
//! runs with 2.1 to 2.4 unchanged. One that is built against a newer version needs that version's C
//! library, so build on the oldest system that it shall run on.
//!
//! Enums are integers: a kernel may be newer than the headers, and a value without a name must not
//! be undefined behaviour.
//!
//! # Building
//!
//! `pkg-config` is asked for libzfs_core. `ZFS_CORE_INCLUDE_DIR` (the folder that holds `libzfs/`
//! and `libspl/`) and `ZFS_CORE_LIB_DIR` (the folder that holds `libzfs_core.so`) override it. The
//! C compiler then compares the bindings with the headers. With `DOCS_RS` set neither is done, so
//! that the documentation builds where ZFS is not installed. The feature `bindgen` generates the
//! bindings from the headers that were found; it needs libclang.
//!
//! libzfs, which nvpair-sys names to the linker, ends up in no program, because nothing of it is
//! used and Rust links only with what is.
//!
//! # Safety
//!
//! The headers say nothing of these rules, and most are checked by nobody:
//!
//! - **Start the library first.** [`libzfs_core_init`] opens `/dev/zfs`, or returns an errno. Any
//!   other function of libzfs_core that is called before it succeeded aborts the process.
//! - **Keep it started.** From 2.2 on, one [`libzfs_core_fini`] too many makes the next start
//!   succeed without opening anything.
//! - **Names are cut, not refused.** They are copied into buffers of 4096 bytes, and the kernel
//!   takes 255: check the length first.
//! - **Set error lists to null.** [`lzc_hold`], [`lzc_release`], [`lzc_destroy_snaps`],
//!   [`lzc_bookmark`] and [`lzc_destroy_bookmarks`] return 0 for an empty input without writing it.
//!   Success can come with a list, and failure without one.
//! - **Input nvlists are not optional** where the kernel wants one: [`lzc_channel_program`] aborts
//!   the process when its arguments are null.
//! - **Never call `fnvlist_…`.** These functions of libnvpair abort the process when memory runs
//!   out, a key is missing or a type differs. The others return an errno.
//! - **An nvlist has no lock**, and a pair or a list that was looked up belongs to the list that it
//!   was found in. Neither type is `Send` in earnest, although the fields of the C structures make
//!   it look so.
//! - **Descriptors for streams must block.** The kernel reads and writes them itself.
//!
//! A returned code is 0, an errno, or one of the `ZFS_ERR_…` values.

#![allow(
    non_camel_case_types,
    reason = "names are those of the C headers, so that what is known of one is known of the other"
)]

#[cfg(not(feature = "bindgen"))]
#[rustfmt::skip]
#[allow(missing_docs, reason = "generated; libzfs_core.h and sys/fs/zfs.h are the documentation")]
mod bindings;
#[cfg(feature = "bindgen")]
#[allow(
    missing_docs,
    reason = "generated; libzfs_core.h and sys/fs/zfs.h are the documentation"
)]
mod bindings {
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}
pub mod ioctl;
pub mod newer;
pub mod weak;

pub use bindings::*;
pub use nvpair_sys as nvpair;

/// Every program needs both libraries, whichever of their functions it calls: what is left out when
/// libraries are linked as needed should not depend on that.
#[used]
static NEEDS_LIBZFS_CORE: unsafe extern "C" fn() -> core::ffi::c_int = libzfs_core_init;
#[used]
static NEEDS_LIBNVPAIR: unsafe extern "C" fn(*mut nvpair::nvlist_t) = nvpair::nvlist_free;
