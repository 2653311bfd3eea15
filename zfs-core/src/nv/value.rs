//! One value of a list, and the numbers of the types.

use std::ffi::{CStr, CString, NulError};
use std::fmt;

use super::NvMap;

/// The type of a value as ZFS numbers it. An open type: a number that is not one of the
/// constants can be held and shown, though no [`Value`] has it.
#[doc(alias = "data_type_t")]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataType(pub i32);

impl DataType {
    /// The type of [`Value::Boolean`].
    #[doc(alias = "DATA_TYPE_BOOLEAN")]
    pub const BOOLEAN: Self = Self(1);
    /// The type of [`Value::Byte`].
    #[doc(alias = "DATA_TYPE_BYTE")]
    pub const BYTE: Self = Self(2);
    /// The type of [`Value::Int16`].
    #[doc(alias = "DATA_TYPE_INT16")]
    pub const INT16: Self = Self(3);
    /// The type of [`Value::Uint16`].
    #[doc(alias = "DATA_TYPE_UINT16")]
    pub const UINT16: Self = Self(4);
    /// The type of [`Value::Int32`].
    #[doc(alias = "DATA_TYPE_INT32")]
    pub const INT32: Self = Self(5);
    /// The type of [`Value::Uint32`].
    #[doc(alias = "DATA_TYPE_UINT32")]
    pub const UINT32: Self = Self(6);
    /// The type of [`Value::Int64`].
    #[doc(alias = "DATA_TYPE_INT64")]
    pub const INT64: Self = Self(7);
    /// The type of [`Value::Uint64`].
    #[doc(alias = "DATA_TYPE_UINT64")]
    pub const UINT64: Self = Self(8);
    /// The type of [`Value::String`].
    #[doc(alias = "DATA_TYPE_STRING")]
    pub const STRING: Self = Self(9);
    /// The type of [`Value::ByteArray`].
    #[doc(alias = "DATA_TYPE_BYTE_ARRAY")]
    pub const BYTE_ARRAY: Self = Self(10);
    /// The type of [`Value::Int16Array`].
    #[doc(alias = "DATA_TYPE_INT16_ARRAY")]
    pub const INT16_ARRAY: Self = Self(11);
    /// The type of [`Value::Uint16Array`].
    #[doc(alias = "DATA_TYPE_UINT16_ARRAY")]
    pub const UINT16_ARRAY: Self = Self(12);
    /// The type of [`Value::Int32Array`].
    #[doc(alias = "DATA_TYPE_INT32_ARRAY")]
    pub const INT32_ARRAY: Self = Self(13);
    /// The type of [`Value::Uint32Array`].
    #[doc(alias = "DATA_TYPE_UINT32_ARRAY")]
    pub const UINT32_ARRAY: Self = Self(14);
    /// The type of [`Value::Int64Array`].
    #[doc(alias = "DATA_TYPE_INT64_ARRAY")]
    pub const INT64_ARRAY: Self = Self(15);
    /// The type of [`Value::Uint64Array`].
    #[doc(alias = "DATA_TYPE_UINT64_ARRAY")]
    pub const UINT64_ARRAY: Self = Self(16);
    /// The type of [`Value::StringArray`].
    #[doc(alias = "DATA_TYPE_STRING_ARRAY")]
    pub const STRING_ARRAY: Self = Self(17);
    /// The type of [`Value::Hrtime`].
    #[doc(alias = "DATA_TYPE_HRTIME")]
    pub const HRTIME: Self = Self(18);
    /// The type of [`Value::List`].
    #[doc(alias = "DATA_TYPE_NVLIST")]
    pub const NVLIST: Self = Self(19);
    /// The type of [`Value::ListArray`].
    #[doc(alias = "DATA_TYPE_NVLIST_ARRAY")]
    pub const NVLIST_ARRAY: Self = Self(20);
    /// The type of [`Value::BooleanValue`].
    #[doc(alias = "DATA_TYPE_BOOLEAN_VALUE")]
    pub const BOOLEAN_VALUE: Self = Self(21);
    /// The type of [`Value::Int8`].
    #[doc(alias = "DATA_TYPE_INT8")]
    pub const INT8: Self = Self(22);
    /// The type of [`Value::Uint8`].
    #[doc(alias = "DATA_TYPE_UINT8")]
    pub const UINT8: Self = Self(23);
    /// The type of [`Value::BooleanArray`].
    #[doc(alias = "DATA_TYPE_BOOLEAN_ARRAY")]
    pub const BOOLEAN_ARRAY: Self = Self(24);
    /// The type of [`Value::Int8Array`].
    #[doc(alias = "DATA_TYPE_INT8_ARRAY")]
    pub const INT8_ARRAY: Self = Self(25);
    /// The type of [`Value::Uint8Array`].
    #[doc(alias = "DATA_TYPE_UINT8_ARRAY")]
    pub const UINT8_ARRAY: Self = Self(26);
    /// The type of [`Value::Double`].
    #[doc(alias = "DATA_TYPE_DOUBLE")]
    pub const DOUBLE: Self = Self(27);

    /// The name that ZFS gives the type, such as `uint64_array`; `None` for a number that ZFS
    /// does not define.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::BOOLEAN => "boolean",
            Self::BYTE => "byte",
            Self::INT16 => "int16",
            Self::UINT16 => "uint16",
            Self::INT32 => "int32",
            Self::UINT32 => "uint32",
            Self::INT64 => "int64",
            Self::UINT64 => "uint64",
            Self::STRING => "string",
            Self::BYTE_ARRAY => "byte_array",
            Self::INT16_ARRAY => "int16_array",
            Self::UINT16_ARRAY => "uint16_array",
            Self::INT32_ARRAY => "int32_array",
            Self::UINT32_ARRAY => "uint32_array",
            Self::INT64_ARRAY => "int64_array",
            Self::UINT64_ARRAY => "uint64_array",
            Self::STRING_ARRAY => "string_array",
            Self::HRTIME => "hrtime",
            Self::NVLIST => "nvlist",
            Self::NVLIST_ARRAY => "nvlist_array",
            Self::BOOLEAN_VALUE => "boolean_value",
            Self::INT8 => "int8",
            Self::UINT8 => "uint8",
            Self::BOOLEAN_ARRAY => "boolean_array",
            Self::INT8_ARRAY => "int8_array",
            Self::UINT8_ARRAY => "uint8_array",
            Self::DOUBLE => "double",
            _ => return None,
        })
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "type {}", self.0),
        }
    }
}

impl fmt::Debug for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataType({self})")
    }
}

/// One value of a name-value list. The variants are the 27 types of ZFS.
///
/// `From` exists for the Rust types that only one variant can mean. Bytes and `u8` have no
/// `From`, because [`ByteArray`](Self::ByteArray) and [`Uint8Array`](Self::Uint8Array) are
/// different types to the kernel module, which refuses the wrong one.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A flag: that the name is there is all it says.
    #[doc(alias = "DATA_TYPE_BOOLEAN")]
    Boolean,
    /// One byte.
    #[doc(alias = "DATA_TYPE_BYTE")]
    Byte(u8),
    /// A signed 16-bit number.
    #[doc(alias = "DATA_TYPE_INT16")]
    Int16(i16),
    /// An unsigned 16-bit number.
    #[doc(alias = "DATA_TYPE_UINT16")]
    Uint16(u16),
    /// A signed 32-bit number.
    #[doc(alias = "DATA_TYPE_INT32")]
    Int32(i32),
    /// An unsigned 32-bit number.
    #[doc(alias = "DATA_TYPE_UINT32")]
    Uint32(u32),
    /// A signed 64-bit number.
    #[doc(alias = "DATA_TYPE_INT64")]
    Int64(i64),
    /// An unsigned 64-bit number, by far the most common type.
    #[doc(alias = "DATA_TYPE_UINT64")]
    Uint64(u64),
    /// A string, not necessarily UTF-8.
    #[doc(alias = "DATA_TYPE_STRING")]
    String(CString),
    /// Bytes.
    #[doc(alias = "DATA_TYPE_BYTE_ARRAY")]
    ByteArray(Vec<u8>),
    /// Signed 16-bit numbers.
    #[doc(alias = "DATA_TYPE_INT16_ARRAY")]
    Int16Array(Vec<i16>),
    /// Unsigned 16-bit numbers.
    #[doc(alias = "DATA_TYPE_UINT16_ARRAY")]
    Uint16Array(Vec<u16>),
    /// Signed 32-bit numbers.
    #[doc(alias = "DATA_TYPE_INT32_ARRAY")]
    Int32Array(Vec<i32>),
    /// Unsigned 32-bit numbers.
    #[doc(alias = "DATA_TYPE_UINT32_ARRAY")]
    Uint32Array(Vec<u32>),
    /// Signed 64-bit numbers.
    #[doc(alias = "DATA_TYPE_INT64_ARRAY")]
    Int64Array(Vec<i64>),
    /// Unsigned 64-bit numbers.
    #[doc(alias = "DATA_TYPE_UINT64_ARRAY")]
    Uint64Array(Vec<u64>),
    /// Strings.
    #[doc(alias = "DATA_TYPE_STRING_ARRAY")]
    StringArray(Vec<CString>),
    /// A time in nanoseconds since some arbitrary point.
    #[doc(alias = "DATA_TYPE_HRTIME")]
    Hrtime(i64),
    /// A nested list.
    #[doc(alias = "DATA_TYPE_NVLIST")]
    List(NvMap),
    /// Nested lists.
    #[doc(alias = "DATA_TYPE_NVLIST_ARRAY")]
    ListArray(Vec<NvMap>),
    /// True or false.
    #[doc(alias = "DATA_TYPE_BOOLEAN_VALUE")]
    BooleanValue(bool),
    /// A signed 8-bit number.
    #[doc(alias = "DATA_TYPE_INT8")]
    Int8(i8),
    /// An unsigned 8-bit number.
    #[doc(alias = "DATA_TYPE_UINT8")]
    Uint8(u8),
    /// Truth values.
    #[doc(alias = "DATA_TYPE_BOOLEAN_ARRAY")]
    BooleanArray(Vec<bool>),
    /// Signed 8-bit numbers.
    #[doc(alias = "DATA_TYPE_INT8_ARRAY")]
    Int8Array(Vec<i8>),
    /// Unsigned 8-bit numbers.
    #[doc(alias = "DATA_TYPE_UINT8_ARRAY")]
    Uint8Array(Vec<u8>),
    /// A floating-point number. Only in userland: the kernel module refuses the type.
    #[doc(alias = "DATA_TYPE_DOUBLE")]
    Double(f64),
}

impl Value {
    /// A [`Value::String`] of a Rust string.
    ///
    /// # Errors
    ///
    /// [`NulError`] when it contains a NUL.
    pub fn string(text: &str) -> Result<Self, NulError> {
        CString::new(text).map(Self::String)
    }

    /// The type that the value has in ZFS.
    #[must_use]
    #[doc(alias = "nvpair_type")]
    pub fn data_type(&self) -> DataType {
        match self {
            Self::Boolean => DataType::BOOLEAN,
            Self::Byte(_) => DataType::BYTE,
            Self::Int16(_) => DataType::INT16,
            Self::Uint16(_) => DataType::UINT16,
            Self::Int32(_) => DataType::INT32,
            Self::Uint32(_) => DataType::UINT32,
            Self::Int64(_) => DataType::INT64,
            Self::Uint64(_) => DataType::UINT64,
            Self::String(_) => DataType::STRING,
            Self::ByteArray(_) => DataType::BYTE_ARRAY,
            Self::Int16Array(_) => DataType::INT16_ARRAY,
            Self::Uint16Array(_) => DataType::UINT16_ARRAY,
            Self::Int32Array(_) => DataType::INT32_ARRAY,
            Self::Uint32Array(_) => DataType::UINT32_ARRAY,
            Self::Int64Array(_) => DataType::INT64_ARRAY,
            Self::Uint64Array(_) => DataType::UINT64_ARRAY,
            Self::StringArray(_) => DataType::STRING_ARRAY,
            Self::Hrtime(_) => DataType::HRTIME,
            Self::List(_) => DataType::NVLIST,
            Self::ListArray(_) => DataType::NVLIST_ARRAY,
            Self::BooleanValue(_) => DataType::BOOLEAN_VALUE,
            Self::Int8(_) => DataType::INT8,
            Self::Uint8(_) => DataType::UINT8,
            Self::BooleanArray(_) => DataType::BOOLEAN_ARRAY,
            Self::Int8Array(_) => DataType::INT8_ARRAY,
            Self::Uint8Array(_) => DataType::UINT8_ARRAY,
            Self::Double(_) => DataType::DOUBLE,
        }
    }

    /// The truth value, if it is a `boolean_value`. A flag is none.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::BooleanValue(value) => Some(*value),
            _ => None,
        }
    }

    /// The number, if it is an `int32`.
    #[must_use]
    pub fn as_i32(&self) -> Option<i32> {
        match self {
            Self::Int32(value) => Some(*value),
            _ => None,
        }
    }

    /// The number, if it is an `int64`.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int64(value) => Some(*value),
            _ => None,
        }
    }

    /// The number, if it is a `uint64`.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Uint64(value) => Some(*value),
            _ => None,
        }
    }

    /// The string, if it is one.
    #[must_use]
    pub fn as_cstr(&self) -> Option<&CStr> {
        match self {
            Self::String(value) => Some(value),
            _ => None,
        }
    }

    /// The strings, if it is an array of strings.
    #[must_use]
    pub fn as_cstrings(&self) -> Option<&[CString]> {
        match self {
            Self::StringArray(value) => Some(value),
            _ => None,
        }
    }

    /// The numbers, if it is an array of `uint64`.
    #[must_use]
    pub fn as_u64s(&self) -> Option<&[u64]> {
        match self {
            Self::Uint64Array(value) => Some(value),
            _ => None,
        }
    }

    /// The nested list, if it is one.
    #[must_use]
    pub fn as_list(&self) -> Option<&NvMap> {
        match self {
            Self::List(value) => Some(value),
            _ => None,
        }
    }

    /// The nested lists, if it is an array of them.
    #[must_use]
    pub fn as_lists(&self) -> Option<&[NvMap]> {
        match self {
            Self::ListArray(value) => Some(value),
            _ => None,
        }
    }

    /// The string, if it is one and valid UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        self.as_cstr()?.to_str().ok()
    }

    /// The bytes, if it is a byte array or an array of `uint8`.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::ByteArray(value) | Self::Uint8Array(value) => Some(value),
            _ => None,
        }
    }
}

macro_rules! value_from {
    ($($from:ty => $variant:ident),* $(,)?) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$variant(value)
            }
        }
    )*};
}

value_from! {
    bool => BooleanValue,
    i8 => Int8,
    i16 => Int16,
    u16 => Uint16,
    i32 => Int32,
    u32 => Uint32,
    i64 => Int64,
    u64 => Uint64,
    f64 => Double,
    CString => String,
    NvMap => List,
    Vec<bool> => BooleanArray,
    Vec<i8> => Int8Array,
    Vec<i16> => Int16Array,
    Vec<u16> => Uint16Array,
    Vec<i32> => Int32Array,
    Vec<u32> => Uint32Array,
    Vec<i64> => Int64Array,
    Vec<u64> => Uint64Array,
    Vec<CString> => StringArray,
    Vec<NvMap> => ListArray,
}

impl From<&CStr> for Value {
    fn from(value: &CStr) -> Self {
        Self::String(value.to_owned())
    }
}
