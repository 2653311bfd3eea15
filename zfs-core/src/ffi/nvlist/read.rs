//! Borrowed lists, their pairs and the values of those.

use std::ffi::{CStr, c_char, c_void};
use std::fmt;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::slice;

use zfs_core_sys::nvpair as c;

use super::{NO_FLAGS, NvError, NvList, NvOut, check};
use crate::nv::{DataType, Encoding, MAX_DEPTH, NvMap, Uniqueness, Value};

/// A borrowed name-value list of the C library: a whole [`NvList`], or a list nested in one.
///
/// A nested list is a part of the list around it and cannot outlive it:
///
/// ```compile_fail,E0597
/// use zfs_core::{NvList, NvListRef};
///
/// fn child(list: &NvList) -> NvListRef<'_> {
///     list.as_list()
/// }
///
/// let child = {
///     let parent = NvList::new().unwrap();
///     child(&parent)
/// };
/// println!("{}", child.len());
/// ```
///
/// Nor can the list around it change meanwhile:
///
/// ```compile_fail,E0502
/// use zfs_core::NvList;
///
/// let mut parent = NvList::new().unwrap();
/// let pair = parent.get(c"child");
/// parent.add_flag(c"other").unwrap();
/// println!("{}", pair.is_some());
/// ```
///
/// It stays in the thread that its owner is in:
///
/// ```compile_fail,E0277
/// fn sent<T: Send>() {}
/// sent::<zfs_core::NvListRef<'static>>();
/// ```
#[derive(Clone, Copy)]
pub struct NvListRef<'a> {
    ptr: NonNull<c::nvlist_t>,
    owner: PhantomData<&'a NvList>,
}

impl fmt::Debug for NvListRef<'_> {
    /// The pairs, as [`NvMap`] shows them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_map() {
            Ok(map) => map.fmt(f),
            Err(error) => write!(f, "<{error}>"),
        }
    }
}

impl<'a> NvListRef<'a> {
    pub(super) fn of(list: &'a NvList) -> Self {
        Self {
            ptr: list.ptr,
            owner: PhantomData,
        }
    }

    fn as_ptr(self) -> *mut c::nvlist_t {
        self.ptr.as_ptr()
    }

    /// The rule about equal names.
    #[must_use]
    #[doc(alias = "nvlist_nvflag")]
    pub fn uniqueness(self) -> Uniqueness {
        // SAFETY: the list is live as long as its owner is borrowed.
        Uniqueness::from_flags(unsafe { c::nvlist_nvflag(self.as_ptr()) })
    }

    /// How many pairs there are, not counting those of nested lists. Walks the list.
    #[must_use]
    pub fn len(self) -> usize {
        self.iter().count()
    }

    /// Whether there are no pairs.
    #[must_use]
    #[doc(alias = "nvlist_empty")]
    pub fn is_empty(self) -> bool {
        // SAFETY: the list is live as long as its owner is borrowed.
        let empty = unsafe { c::nvlist_empty(self.as_ptr()) };
        empty != c::boolean_t::B_FALSE
    }

    /// The pairs in order.
    ///
    /// Several iterators of one list can be used in turns, but then each step searches the list
    /// for its place.
    #[doc(alias = "nvlist_next_nvpair")]
    pub fn iter(self) -> impl Iterator<Item = NvPair<'a>> {
        let mut last = Some(ptr::null_mut());
        std::iter::from_fn(move || {
            let previous = last?;
            // SAFETY: the list is live as long as its owner is borrowed, and no other thread uses
            // it; the previous pair is NULL, for the first one, or a pair of this list, which
            // has not changed since.
            let next = unsafe { c::nvlist_next_nvpair(self.as_ptr(), previous) };
            let pair = NonNull::new(next);
            last = pair.map(NonNull::as_ptr);
            pair.map(|ptr| NvPair {
                ptr,
                owner: PhantomData,
            })
        })
    }

    /// The last pair of this name. Walks the list.
    ///
    /// `nvlist_lookup_nvpair` is not used, since it takes brackets and blanks in a name for
    /// syntax.
    #[must_use]
    pub fn get(self, name: &CStr) -> Option<NvPair<'a>> {
        self.iter().filter(|pair| pair.name() == name).last()
    }

    /// A deep copy that is independent of the owner of this list.
    ///
    /// # Errors
    ///
    /// [`NvError::Refused`] with `ENOMEM`.
    #[doc(alias = "nvlist_dup")]
    pub fn try_to_owned(self) -> Result<NvList, NvError> {
        let mut out = NvOut::new();
        // SAFETY: the list is live as long as its owner is borrowed; `out` is writable, and the
        // list written there is ours to free.
        let status = unsafe { c::nvlist_dup(self.as_ptr(), out.as_mut_ptr(), NO_FLAGS) };
        out.finish_checked("nvlist_dup", status)
    }

    /// The list as a Rust value.
    ///
    /// # Errors
    ///
    /// [`NvError::UnknownType`], [`NvError::TooDeep`], [`NvError::Damaged`].
    pub fn to_map(self) -> Result<NvMap, NvError> {
        self.to_map_at(0)
    }

    fn to_map_at(self, depth: usize) -> Result<NvMap, NvError> {
        if depth > MAX_DEPTH {
            return Err(NvError::TooDeep);
        }
        let mut map = NvMap::with_uniqueness(self.uniqueness());
        for pair in self.iter() {
            // C keeps to the same rule about equal names.
            map.push(pair.name().to_owned(), pair.value()?.to_value_at(depth)?);
        }
        Ok(map)
    }

    /// Packs the list.
    ///
    /// # Errors
    ///
    /// [`NvError::Refused`] with `ENOMEM`, or `EINVAL` when it would be larger than 2 GiB.
    #[doc(alias = "nvlist_pack")]
    pub fn pack(self, encoding: Encoding) -> Result<Vec<u8>, NvError> {
        let encoding = match encoding {
            Encoding::Native => c::NV_ENCODE_NATIVE,
            Encoding::Xdr => c::NV_ENCODE_XDR,
        };
        let mut packed = Packed(ptr::null_mut());
        let mut len: c::size_t = 0;
        // SAFETY: the list is live as long as its owner is borrowed; the buffer is NULL, so that
        // one is allocated, and its address and length are written to places of ours.
        let status = unsafe {
            c::nvlist_pack(
                self.as_ptr(),
                &raw mut packed.0,
                &raw mut len,
                encoding,
                NO_FLAGS,
            )
        };
        check("nvlist_pack", status)?;
        let len = usize::try_from(len).map_err(|_| NvError::Damaged)?;
        if packed.0.is_null() {
            return Err(NvError::Damaged);
        }
        // SAFETY: on success the buffer has `len` initialised bytes, less than 2 GiB, and lives
        // until `packed` is dropped.
        let bytes = unsafe { slice::from_raw_parts(packed.0.cast::<u8>(), len) };
        Ok(bytes.to_vec())
    }

    /// Whether at most `limit` lists are inside each other below this one.
    pub(super) fn nests_at_most(self, limit: usize) -> Result<bool, NvError> {
        for pair in self.iter() {
            let children = match pair.data_type() {
                DataType::NVLIST | DataType::NVLIST_ARRAY => pair.value()?.into_lists(),
                _ => continue,
            };
            for child in children {
                let Some(below) = limit.checked_sub(1) else {
                    return Ok(false);
                };
                if !child.nests_at_most(below)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

/// A buffer that libnvpair allocated.
struct Packed(*mut c_char);

impl Drop for Packed {
    fn drop(&mut self) {
        // SAFETY: the buffer is NULL or comes from libnvpair, which allocates by malloc and whose
        // callers free by free.
        unsafe { libc::free(self.0.cast::<c_void>()) }
    }
}

/// One pair of a borrowed list.
#[doc(alias = "nvpair_t")]
#[derive(Clone, Copy)]
pub struct NvPair<'a> {
    ptr: NonNull<c::nvpair_t>,
    owner: PhantomData<&'a NvList>,
}

impl fmt::Debug for NvPair<'_> {
    /// The name and the type. The value can be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NvPair")
            .field("name", &self.name())
            .field("data_type", &self.data_type())
            .finish_non_exhaustive()
    }
}

impl<'a> NvPair<'a> {
    pub(super) fn as_ptr(self) -> *mut c::nvpair_t {
        self.ptr.as_ptr()
    }

    /// The name.
    #[must_use]
    #[doc(alias = "nvpair_name")]
    pub fn name(self) -> &'a CStr {
        // SAFETY: the pair is live as long as the owner of its list is borrowed.
        let name = unsafe { c::nvpair_name(self.as_ptr()) };
        // SAFETY: the name is stored in the pair, right after its header, and ends in NUL: both
        // ways to make a pair, adding and decoding, see to that.
        unsafe { CStr::from_ptr(name) }
    }

    /// The type of the value.
    #[must_use]
    #[doc(alias = "nvpair_type")]
    pub fn data_type(self) -> DataType {
        // SAFETY: the pair is live as long as the owner of its list is borrowed.
        DataType(unsafe { c::nvpair_type(self.as_ptr()) })
    }

    /// The value.
    ///
    /// # Errors
    ///
    /// [`NvError::UnknownType`]; [`NvError::Damaged`] where a pointer to an element is none.
    #[doc(alias = "nvpair_value_nvlist")]
    pub fn value(self) -> Result<ValueRef<'a>, NvError> {
        macro_rules! scalar {
            ($get:ident, $zero:expr) => {{
                let mut value = $zero;
                // SAFETY: the pair is live as long as the owner of its list is borrowed; the
                // function checks the pair's type and copies the value to a place of that type.
                let status = unsafe { c::$get(self.as_ptr(), &raw mut value) };
                check(stringify!($get), status)?;
                value
            }};
        }
        macro_rules! array {
            ($get:ident) => {{
                let mut elements = ptr::null_mut();
                let mut count: c::uint_t = 0;
                let (at, len) = (&raw mut elements, &raw mut count);
                // SAFETY: as for scalars; what is written is the address of the elements inside
                // the pair, or NULL when there are none, and their number.
                let status = unsafe { c::$get(self.as_ptr(), at, len) };
                check(stringify!($get), status)?;
                // SAFETY: the elements are part of the pair, which is live and does not change as
                // long as the owner of its list is borrowed.
                unsafe { elements_of(elements, count) }?
            }};
        }
        Ok(match self.data_type() {
            DataType::BOOLEAN => ValueRef::Boolean,
            DataType::BOOLEAN_VALUE => {
                let value = scalar!(nvpair_value_boolean_value, c::boolean_t::B_FALSE);
                ValueRef::BooleanValue(value != c::boolean_t::B_FALSE)
            }
            DataType::BYTE => ValueRef::Byte(scalar!(nvpair_value_byte, 0)),
            DataType::INT8 => ValueRef::Int8(scalar!(nvpair_value_int8, 0)),
            DataType::UINT8 => ValueRef::Uint8(scalar!(nvpair_value_uint8, 0)),
            DataType::INT16 => ValueRef::Int16(scalar!(nvpair_value_int16, 0)),
            DataType::UINT16 => ValueRef::Uint16(scalar!(nvpair_value_uint16, 0)),
            DataType::INT32 => ValueRef::Int32(scalar!(nvpair_value_int32, 0)),
            DataType::UINT32 => ValueRef::Uint32(scalar!(nvpair_value_uint32, 0)),
            DataType::INT64 => ValueRef::Int64(scalar!(nvpair_value_int64, 0)),
            DataType::UINT64 => ValueRef::Uint64(scalar!(nvpair_value_uint64, 0)),
            DataType::HRTIME => ValueRef::Hrtime(scalar!(nvpair_value_hrtime, 0)),
            DataType::DOUBLE => ValueRef::Double(scalar!(nvpair_value_double, 0.0)),
            DataType::STRING => {
                let value = scalar!(nvpair_value_string, ptr::null_mut());
                // SAFETY: it is the address of the string inside the pair.
                ValueRef::String(unsafe { string(value) }?)
            }
            DataType::BOOLEAN_ARRAY => ValueRef::BooleanArray(
                array!(nvpair_value_boolean_array)
                    .iter()
                    .map(|word| *word != c::boolean_t::B_FALSE)
                    .collect(),
            ),
            DataType::BYTE_ARRAY => ValueRef::ByteArray(array!(nvpair_value_byte_array)),
            DataType::INT8_ARRAY => ValueRef::Int8Array(array!(nvpair_value_int8_array)),
            DataType::UINT8_ARRAY => ValueRef::Uint8Array(array!(nvpair_value_uint8_array)),
            DataType::INT16_ARRAY => ValueRef::Int16Array(array!(nvpair_value_int16_array)),
            DataType::UINT16_ARRAY => ValueRef::Uint16Array(array!(nvpair_value_uint16_array)),
            DataType::INT32_ARRAY => ValueRef::Int32Array(array!(nvpair_value_int32_array)),
            DataType::UINT32_ARRAY => ValueRef::Uint32Array(array!(nvpair_value_uint32_array)),
            DataType::INT64_ARRAY => ValueRef::Int64Array(array!(nvpair_value_int64_array)),
            DataType::UINT64_ARRAY => ValueRef::Uint64Array(array!(nvpair_value_uint64_array)),
            DataType::STRING_ARRAY => ValueRef::StringArray(
                array!(nvpair_value_string_array)
                    .iter()
                    // SAFETY: each element is the address of a string inside the pair.
                    .map(|element| unsafe { string(*element) })
                    .collect::<Result<_, _>>()?,
            ),
            DataType::NVLIST => {
                ValueRef::List(self.child(scalar!(nvpair_value_nvlist, ptr::null_mut()))?)
            }
            DataType::NVLIST_ARRAY => ValueRef::ListArray(
                array!(nvpair_value_nvlist_array)
                    .iter()
                    .map(|element| self.child(*element))
                    .collect::<Result<_, _>>()?,
            ),
            unknown => return Err(NvError::UnknownType(unknown)),
        })
    }

    /// A list that is part of this pair, whose owner is therefore the pair's.
    fn child(self, list: *mut c::nvlist_t) -> Result<NvListRef<'a>, NvError> {
        let ptr = NonNull::new(list).ok_or(NvError::Damaged)?;
        Ok(NvListRef {
            ptr,
            owner: PhantomData,
        })
    }
}

/// # Safety
///
/// `elements` is NULL, or not aligned, or the address of `count` initialised elements that live
/// and do not change for `'a`.
unsafe fn elements_of<'a, T>(elements: *mut T, count: c::uint_t) -> Result<&'a [T], NvError> {
    if count == 0 {
        return Ok(&[]);
    }
    if elements.is_null() || !elements.is_aligned() {
        return Err(NvError::Damaged);
    }
    let count = usize::try_from(count).map_err(|_| NvError::TooManyElements)?;
    // SAFETY: the address is neither NULL nor misaligned, and by the caller's promise that of
    // `count` elements, which, being in one pair, take up less than 2 GiB.
    Ok(unsafe { slice::from_raw_parts(elements, count) })
}

/// # Safety
///
/// `string` is NULL or the address of a string that ends in NUL, lives and does not change for
/// `'a`.
unsafe fn string<'a>(string: *const c_char) -> Result<&'a CStr, NvError> {
    if string.is_null() {
        return Err(NvError::Damaged);
    }
    // SAFETY: it is not NULL, and otherwise by the caller's promise.
    Ok(unsafe { CStr::from_ptr(string) })
}

/// The value of a pair, borrowed from its list. The variants are those of [`Value`].
#[non_exhaustive]
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each variant is that of `Value`")]
pub enum ValueRef<'a> {
    Boolean,
    BooleanValue(bool),
    Byte(u8),
    Int8(i8),
    Uint8(u8),
    Int16(i16),
    Uint16(u16),
    Int32(i32),
    Uint32(u32),
    Int64(i64),
    Uint64(u64),
    Hrtime(i64),
    Double(f64),
    String(&'a CStr),
    List(NvListRef<'a>),
    BooleanArray(Vec<bool>),
    ByteArray(&'a [u8]),
    Int8Array(&'a [i8]),
    Uint8Array(&'a [u8]),
    Int16Array(&'a [i16]),
    Uint16Array(&'a [u16]),
    Int32Array(&'a [i32]),
    Uint32Array(&'a [u32]),
    Int64Array(&'a [i64]),
    Uint64Array(&'a [u64]),
    StringArray(Vec<&'a CStr>),
    ListArray(Vec<NvListRef<'a>>),
}

impl<'a> ValueRef<'a> {
    /// The value as one that owns everything in it.
    ///
    /// # Errors
    ///
    /// [`NvError::UnknownType`] and [`NvError::TooDeep`] for what is in nested lists.
    pub fn to_value(&self) -> Result<Value, NvError> {
        self.to_value_at(0)
    }

    /// The value of a pair whose list is `depth` levels below the outermost.
    fn to_value_at(&self, depth: usize) -> Result<Value, NvError> {
        Ok(match self {
            Self::Boolean => Value::Boolean,
            Self::BooleanValue(v) => Value::BooleanValue(*v),
            Self::Byte(v) => Value::Byte(*v),
            Self::Int8(v) => Value::Int8(*v),
            Self::Uint8(v) => Value::Uint8(*v),
            Self::Int16(v) => Value::Int16(*v),
            Self::Uint16(v) => Value::Uint16(*v),
            Self::Int32(v) => Value::Int32(*v),
            Self::Uint32(v) => Value::Uint32(*v),
            Self::Int64(v) => Value::Int64(*v),
            Self::Uint64(v) => Value::Uint64(*v),
            Self::Hrtime(v) => Value::Hrtime(*v),
            Self::Double(v) => Value::Double(*v),
            Self::String(v) => Value::String((*v).to_owned()),
            Self::List(v) => Value::List(v.to_map_at(depth + 1)?),
            Self::BooleanArray(v) => Value::BooleanArray(v.clone()),
            Self::ByteArray(v) => Value::ByteArray(v.to_vec()),
            Self::Int8Array(v) => Value::Int8Array(v.to_vec()),
            Self::Uint8Array(v) => Value::Uint8Array(v.to_vec()),
            Self::Int16Array(v) => Value::Int16Array(v.to_vec()),
            Self::Uint16Array(v) => Value::Uint16Array(v.to_vec()),
            Self::Int32Array(v) => Value::Int32Array(v.to_vec()),
            Self::Uint32Array(v) => Value::Uint32Array(v.to_vec()),
            Self::Int64Array(v) => Value::Int64Array(v.to_vec()),
            Self::Uint64Array(v) => Value::Uint64Array(v.to_vec()),
            Self::StringArray(v) => Value::StringArray(v.iter().map(|&s| s.to_owned()).collect()),
            Self::ListArray(v) => Value::ListArray(
                v.iter()
                    .map(|list| list.to_map_at(depth + 1))
                    .collect::<Result<_, _>>()?,
            ),
        })
    }

    fn into_lists(self) -> Vec<NvListRef<'a>> {
        match self {
            Self::List(list) => vec![list],
            Self::ListArray(lists) => lists,
            _ => Vec::new(),
        }
    }
}
