//! Name-value lists as plain Rust values, and their two packed forms.
//!
//! ZFS passes almost everything as *nvlists*: requests and replies of ioctls, pool
//! configurations, on-disk labels, history records and stream headers. [`NvMap`] owns such a
//! list, [`Value`] is one of its values, [`decode`] reads a packed list in either encoding and
//! [`encode_native`] packs one the way the kernel module wants it.
//!
//! Nothing in this module calls C, so a packed list from an untrusted place (a received stream,
//! a disk label) can be read here: decoding never panics, reserves no more memory than a small
//! multiple of the input's size, takes time linear in it and nests at most [`MAX_DEPTH`] deep.
//!
//! For the calls of libzfs_core, which want a C `nvlist_t`, there is
//! [`NvList`](crate::NvList); the two convert into each other.
//!
//! ```
//! use zfs_core::nv::{self, NvMap, Value};
//!
//! let mut props = NvMap::new();
//! props.insert(c"quota", 10_u64 << 30);
//! props.insert(c"helix:git_sha", c"4be1f2c");
//! props.insert(c"defer", Value::Boolean);
//!
//! let packed = nv::encode_native(&props)?;
//! let back = nv::decode(&packed)?;
//! assert_eq!(back.u64("quota"), Some(10 << 30));
//! assert_eq!(back.str("helix:git_sha"), Some("4be1f2c"));
//! assert!(back.flag("defer"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

#[cfg(feature = "serde")]
mod de;
mod decode;
mod encode;
mod error;
mod map;
#[cfg(feature = "serde")]
mod ser;
mod value;
mod xdr;

#[cfg(feature = "serde")]
pub use de::{from_map, from_value};
pub use encode::{encode_native, encode_native_into, encoded_len};
pub use error::{DecodeError, DecodeErrorKind, EncodeError};
pub use map::{Iter, NvMap, Uniqueness};
#[cfg(feature = "serde")]
pub use ser::{ConvertError, to_map};
pub use value::{DataType, Value};

use std::ffi::CStr;

/// How many lists may be nested below the outermost one, when decoding, encoding and converting
/// to or from an [`NvList`](crate::NvList).
///
/// It is the limit of libnvpair. The kernel module's own is 20, so a list that nests deeper is
/// refused there (`EINVAL`) even though it can be packed here.
pub const MAX_DEPTH: usize = 100;

/// The two packed forms of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// In the byte order of the machine. All ioctls use it.
    #[doc(alias = "NV_ENCODE_NATIVE")]
    Native,
    /// In network byte order. Disk labels, boot environments and the pool cache file use it.
    #[doc(alias = "NV_ENCODE_XDR")]
    Xdr,
}

/// The length of the header that both encodings begin with: encoding, endianness, two zero bytes.
const HEADER_LEN: usize = 4;
const ENCODING_NATIVE: u8 = 0;
const ENCODING_XDR: u8 = 1;
/// How the header writes down the byte order of this machine.
const HOST_ENDIAN: u8 = if cfg!(target_endian = "little") { 1 } else { 0 };
/// The only version of the list format there has ever been.
const NV_VERSION: i32 = 0;

/// Rounds up to a multiple of eight, as every part of a native pair is.
fn align8(len: usize) -> Option<usize> {
    len.checked_next_multiple_of(8)
}

/// Reads a packed list in either encoding, which the header tells.
///
/// Bytes after the end of the list are ignored, as ZFS itself ignores them: reply buffers of
/// ioctls and label areas are larger than what is in them. [`decode_prefix`] tells where the
/// list ended.
///
/// # Errors
///
/// [`DecodeError`] says what is wrong and at which byte. The native encoding is only read in
/// this machine's byte order; ZFS refuses the foreign one as well (`ENOTSUP`).
#[doc(alias = "nvlist_unpack")]
pub fn decode(bytes: &[u8]) -> Result<NvMap, DecodeError> {
    decode_prefix(bytes).map(|(map, _)| map)
}

/// Reads of a list of the native encoding only the pairs that `keep` wants by their names.
pub(crate) fn decode_some(
    bytes: &[u8],
    keep: impl Fn(&CStr) -> bool,
) -> Result<NvMap, DecodeError> {
    check_native(bytes)?;
    decode::native_some(bytes, keep)
}

/// Reads of a list of the native encoding all but the pairs of this name, in it and in the lists
/// that it holds.
pub(crate) fn decode_without(bytes: &[u8], name: &CStr) -> Result<NvMap, DecodeError> {
    check_native(bytes)?;
    decode::native_without(bytes, name)
}

fn check_native(bytes: &[u8]) -> Result<(), DecodeError> {
    match bytes.get(..HEADER_LEN) {
        Some(&[ENCODING_NATIVE, HOST_ENDIAN, ..]) => Ok(()),
        Some(&[ENCODING_NATIVE, ..]) => Err(DecodeErrorKind::ForeignEndianness.at(1)),
        Some(&[other, ..]) => Err(DecodeErrorKind::UnknownEncoding(other).at(0)),
        _ => Err(DecodeErrorKind::Truncated.at(bytes.len())),
    }
}

/// Reads a packed list from the front of `bytes` and also returns how many bytes it takes up.
///
/// An XDR list that holds an empty numeric array was packed by C into a buffer with a few zero
/// bytes more than the list has; they count as following the list.
///
/// # Errors
///
/// As [`decode`].
#[doc(alias = "nvlist_unpack")]
pub fn decode_prefix(bytes: &[u8]) -> Result<(NvMap, usize), DecodeError> {
    match bytes.get(..HEADER_LEN) {
        Some(&[ENCODING_NATIVE, HOST_ENDIAN, ..]) => decode::native(bytes),
        Some(&[ENCODING_NATIVE, ..]) => Err(DecodeErrorKind::ForeignEndianness.at(1)),
        Some(&[ENCODING_XDR, ..]) => xdr::xdr(bytes),
        Some(&[other, ..]) => Err(DecodeErrorKind::UnknownEncoding(other).at(0)),
        _ => Err(DecodeErrorKind::Truncated.at(bytes.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_wanted_is_passed_over_at_any_depth() {
        let list = |extra: bool| {
            let mut inner = NvMap::new();
            inner.insert(c"a", 1_u64);
            if extra {
                let mut much = NvMap::new();
                much.insert(c"histogram", vec![7_u64; 40]);
                inner.insert(c"much", Value::List(much));
            }
            inner.insert(c"z", c"end");
            let mut outer = inner.clone();
            outer.insert(c"children", Value::ListArray(vec![inner.clone(), inner]));
            outer
        };
        let packed = encode_native(&list(true)).unwrap();
        assert_eq!(decode_without(&packed, c"much").unwrap(), list(false));
        assert_eq!(decode_without(&packed, c"none").unwrap(), list(true));
        for len in 0..packed.len() {
            assert!(decode_without(&packed[..len], c"much").is_err(), "{len}");
        }
    }
}
