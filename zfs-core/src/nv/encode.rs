//! The native encoding, written.

use std::ffi::CStr;

use super::{ENCODING_NATIVE, EncodeError, HEADER_LEN, HOST_ENDIAN, MAX_DEPTH, NV_VERSION};
use super::{NvMap, Value, align8};

/// What a pair has before its name: size, name length, reserved, element count, type.
pub(super) const PAIR_HEADER_LEN: usize = 16;
/// What stands for a nested list inside its pair: version, flags and two fields of the C
/// structure that mean nothing outside a process.
pub(super) const LIST_HEADER_LEN: usize = 24;
/// The room of the C pointer that an array has for each string or list.
pub(super) const SLOT_LEN: usize = 8;
const VERSION_AND_FLAGS_LEN: usize = 8;
const TERMINATOR_LEN: usize = 4;
const NAME_LEN_MAX: usize = i16::MAX as usize - 1;

/// Packs a list in the native encoding, the form that ioctls take.
///
/// The bytes are those that libnvpair's `nvlist_pack` writes for the same pairs.
///
/// # Errors
///
/// [`EncodeError`] when the format cannot express the list: it nests too deep or is too large.
#[doc(alias = "nvlist_pack")]
pub fn encode_native(map: &NvMap) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    encode_native_into(map, &mut out)?;
    Ok(out)
}

/// Packs a list in the native encoding at the end of `out`.
///
/// It reserves exactly what is needed before it writes the first byte, so that when `out` comes
/// empty no other copy of the packed bytes is left behind in freed memory. Whoever packs key
/// material can then wipe `out` afterwards.
///
/// # Errors
///
/// As [`encode_native`]; `out` is unchanged then.
#[doc(alias = "nvlist_pack")]
pub fn encode_native_into(map: &NvMap, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    // Everything that can fail does so while measuring.
    out.reserve_exact(encoded_len(map)?);
    out.extend_from_slice(&[ENCODING_NATIVE, HOST_ENDIAN, 0, 0]);
    out.extend_from_slice(&NV_VERSION.to_ne_bytes());
    out.extend_from_slice(&map.uniqueness().to_flags().to_ne_bytes());
    write_pairs(map, out)
}

/// How many bytes [`encode_native`] makes of a list.
///
/// # Errors
///
/// As [`encode_native`].
#[doc(alias = "nvlist_size")]
pub fn encoded_len(map: &NvMap) -> Result<usize, EncodeError> {
    let pairs = pairs_len(map, 0)?;
    size_of_i32(HEADER_LEN + VERSION_AND_FLAGS_LEN + pairs)
}

fn size_of_i32(len: usize) -> Result<usize, EncodeError> {
    match i32::try_from(len) {
        Ok(_) => Ok(len),
        Err(_) => Err(EncodeError::TooLarge),
    }
}

/// The length of a list's pairs and terminator, nested lists included.
fn pairs_len(map: &NvMap, depth: usize) -> Result<usize, EncodeError> {
    if depth > MAX_DEPTH {
        return Err(EncodeError::TooDeep);
    }
    let mut len = TERMINATOR_LEN;
    for (name, value) in map {
        if name.count_bytes() > NAME_LEN_MAX {
            return Err(EncodeError::NameTooLong);
        }
        len += pair_len(name, value).ok_or(EncodeError::TooLarge)?;
        for nested in nested_lists(value) {
            len += pairs_len(nested, depth + 1)?;
        }
        size_of_i32(len)?;
    }
    Ok(len)
}

/// The length of a pair without the pairs of lists nested in it; `None` if it does not fit an
/// `i32`. XDR calls it the decoded size.
pub(super) fn pair_len(name: &CStr, value: &Value) -> Option<usize> {
    let len = value_offset(name)?.checked_add(align8(value_len(value)?)?)?;
    i32::try_from(len).ok()?;
    Some(len)
}

/// Where in a pair the value begins.
fn value_offset(name: &CStr) -> Option<usize> {
    align8(PAIR_HEADER_LEN + name.count_bytes() + 1)
}

fn value_len(value: &Value) -> Option<usize> {
    match value {
        Value::Boolean => Some(0),
        Value::Byte(_) | Value::Int8(_) | Value::Uint8(_) => Some(1),
        Value::Int16(_) | Value::Uint16(_) => Some(2),
        Value::BooleanValue(_) | Value::Int32(_) | Value::Uint32(_) => Some(4),
        Value::Int64(_) | Value::Uint64(_) | Value::Hrtime(_) | Value::Double(_) => Some(8),
        Value::String(v) => Some(v.count_bytes() + 1),
        Value::ByteArray(v) | Value::Uint8Array(v) => Some(v.len()),
        Value::Int8Array(v) => Some(v.len()),
        Value::Int16Array(v) => v.len().checked_mul(2),
        Value::Uint16Array(v) => v.len().checked_mul(2),
        Value::BooleanArray(v) => v.len().checked_mul(4),
        Value::Int32Array(v) => v.len().checked_mul(4),
        Value::Uint32Array(v) => v.len().checked_mul(4),
        Value::Int64Array(v) => v.len().checked_mul(8),
        Value::Uint64Array(v) => v.len().checked_mul(8),
        Value::StringArray(v) => v.iter().try_fold(0_usize, |len, s| {
            len.checked_add(SLOT_LEN + s.count_bytes() + 1)
        }),
        Value::List(_) => Some(LIST_HEADER_LEN),
        Value::ListArray(v) => v.len().checked_mul(SLOT_LEN + LIST_HEADER_LEN),
    }
}

/// The element count of the pair: 0 for a flag, 1 for anything else that is no array.
fn element_count(value: &Value) -> usize {
    match value {
        Value::Boolean => 0,
        Value::ByteArray(v) | Value::Uint8Array(v) => v.len(),
        Value::Int8Array(v) => v.len(),
        Value::Int16Array(v) => v.len(),
        Value::Uint16Array(v) => v.len(),
        Value::BooleanArray(v) => v.len(),
        Value::Int32Array(v) => v.len(),
        Value::Uint32Array(v) => v.len(),
        Value::Int64Array(v) => v.len(),
        Value::Uint64Array(v) => v.len(),
        Value::StringArray(v) => v.len(),
        Value::ListArray(v) => v.len(),
        _ => 1,
    }
}

fn nested_lists(value: &Value) -> &[NvMap] {
    match value {
        Value::List(list) => std::slice::from_ref(list),
        Value::ListArray(lists) => lists,
        _ => &[],
    }
}

/// Writes a list whose length has been found good.
fn write_pairs(map: &NvMap, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let too_large = EncodeError::TooLarge;
    for (name, value) in map {
        let start = out.len();
        let len = pair_len(name, value).ok_or(too_large)?;
        let name = name.to_bytes_with_nul();
        let size = i32::try_from(len).map_err(|_| too_large)?;
        let name_size = i16::try_from(name.len()).map_err(|_| EncodeError::NameTooLong)?;
        let count = i32::try_from(element_count(value)).map_err(|_| too_large)?;

        out.extend_from_slice(&size.to_ne_bytes());
        out.extend_from_slice(&name_size.to_ne_bytes());
        out.extend_from_slice(&0_i16.to_ne_bytes());
        out.extend_from_slice(&count.to_ne_bytes());
        out.extend_from_slice(&value.data_type().0.to_ne_bytes());
        out.extend_from_slice(name);
        let value_start = align8(PAIR_HEADER_LEN + name.len()).ok_or(too_large)?;
        out.resize(start + value_start, 0);
        write_value(value, out);
        out.resize(start + len, 0);

        for nested in nested_lists(value) {
            write_pairs(nested, out)?;
        }
    }
    out.extend_from_slice(&0_i32.to_ne_bytes());
    Ok(())
}

fn write_value(value: &Value, out: &mut Vec<u8>) {
    /// Appends each number's bytes.
    macro_rules! numbers {
        ($v:expr) => {
            for number in $v {
                out.extend_from_slice(&number.to_ne_bytes());
            }
        };
    }
    match value {
        Value::Boolean => {}
        Value::BooleanValue(v) => numbers!([i32::from(*v)]),
        Value::Byte(v) | Value::Uint8(v) => out.push(*v),
        Value::Int8(v) => numbers!([v]),
        Value::Int16(v) => numbers!([v]),
        Value::Uint16(v) => numbers!([v]),
        Value::Int32(v) => numbers!([v]),
        Value::Uint32(v) => numbers!([v]),
        Value::Int64(v) | Value::Hrtime(v) => numbers!([v]),
        Value::Uint64(v) => numbers!([v]),
        Value::Double(v) => numbers!([v]),
        Value::String(v) => out.extend_from_slice(v.as_bytes_with_nul()),
        Value::BooleanArray(v) => numbers!(v.iter().map(|b| i32::from(*b))),
        Value::ByteArray(v) | Value::Uint8Array(v) => out.extend_from_slice(v),
        Value::Int8Array(v) => numbers!(v),
        Value::Int16Array(v) => numbers!(v),
        Value::Uint16Array(v) => numbers!(v),
        Value::Int32Array(v) => numbers!(v),
        Value::Uint32Array(v) => numbers!(v),
        Value::Int64Array(v) => numbers!(v),
        Value::Uint64Array(v) => numbers!(v),
        Value::StringArray(v) => {
            out.resize(out.len() + v.len() * SLOT_LEN, 0);
            for string in v {
                out.extend_from_slice(string.as_bytes_with_nul());
            }
        }
        Value::List(v) => write_list_header(v, out),
        Value::ListArray(v) => {
            out.resize(out.len() + v.len() * SLOT_LEN, 0);
            for list in v {
                write_list_header(list, out);
            }
        }
    }
}

fn write_list_header(list: &NvMap, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&NV_VERSION.to_ne_bytes());
    out.extend_from_slice(&list.uniqueness().to_flags().to_ne_bytes());
    out.resize(start + LIST_HEADER_LEN, 0);
}
