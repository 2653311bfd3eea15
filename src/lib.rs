//! Operations.
#![forbid(unsafe_code)]
pub use zfs_core;
