//! The only unsafe code of this crate: the C library, its name-value lists, and `ioctl(2)`.
//!
//! What leaves this module is safe to call with any argument.

pub(crate) mod apart;
pub(crate) mod device;
pub(crate) mod lzc;
pub(crate) mod namespace;
pub(crate) mod nvlist;
pub(crate) mod pipe;
#[cfg(feature = "tokio")]
pub(crate) mod readiness;
pub(crate) mod signal;
pub(crate) mod simd;
