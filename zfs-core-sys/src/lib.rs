//! Raw bindings of libzfs_core and libnvpair, and the structures of `/dev/zfs`.

#![allow(
    non_camel_case_types,
    reason = "names are those of the C headers, so that what is known of one is known of the other"
)]

#[cfg(not(feature = "bindgen"))]
#[rustfmt::skip]
#[allow(missing_docs, reason = "generated; the module's documentation says where to look")]
mod bindings;
#[cfg(feature = "bindgen")]
#[allow(
    missing_docs,
    reason = "generated; the module's documentation says where to look"
)]
mod bindings {
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}
pub mod ioctl;
pub mod newer;
pub mod weak;

pub use bindings::*;
pub use nvpair_sys as nvpair;
