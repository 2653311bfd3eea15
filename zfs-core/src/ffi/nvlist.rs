//! The C library's name-value lists, owned and borrowed.
//!
//! Lists are only ever reached through raw pointers, never through references to the C structure,
//! because libnvpair writes to a list even where it only reads pairs.

mod read;

use std::ffi::{CStr, c_char, c_int};
use std::fmt;
use std::ptr::{self, NonNull};

use zfs_core_sys::nvpair as c;

pub use read::{NvListRef, NvPair, ValueRef};

use crate::error::Errno;
use crate::nv::{self, DataType, DecodeError, Encoding, MAX_DEPTH, NvMap, Uniqueness, Value};

/// Allocation flags, which libnvpair ignores outside the kernel.
const NO_FLAGS: c_int = 0;

/// What can go wrong with a C name-value list.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NvError {
    /// A function of libnvpair failed: `ENOMEM`, or `EINVAL` for a name longer than 32766 bytes
    /// or a value larger than 2 GiB.
    #[error("{call}: {errno}")]
    Refused {
        /// The function.
        call: &'static str,
        /// What it returned.
        errno: Errno,
    },
    /// A pair has a type that ZFS did not define when this crate was written.
    #[error("unknown value type {}", .0.0)]
    UnknownType(DataType),
    /// A list holds a pointer that cannot be one.
    #[error("the list is damaged in memory")]
    Damaged,
    /// More than [`MAX_DEPTH`] lists would be inside each other.
    #[error("lists nest more than {MAX_DEPTH} deep")]
    TooDeep,
    /// An array has 2³² elements or more.
    #[error("an array has too many elements")]
    TooManyElements,
    /// Packed bytes that are not a list.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

fn check(call: &'static str, status: c_int) -> Result<(), NvError> {
    match status {
        0 => Ok(()),
        errno => Err(NvError::Refused {
            call,
            errno: Errno::from_raw(errno),
        }),
    }
}

/// A name-value list of the C library, for handing to it: it owns its pairs and everything in
/// them, and frees them when dropped.
///
/// Most code wants an [`NvMap`], a plain Rust value; `NvList::try_from(&map)` and
/// [`to_map`](Self::to_map) convert.
///
/// A list can be sent to another thread but not shared between threads, since libnvpair moves a
/// cursor inside the list even when it is only read:
///
/// ```compile_fail,E0277
/// fn shared<T: Sync>() {}
/// shared::<zfs_core::NvList>();
/// ```
///
/// Memory freed with a list is not wiped. Do not put key material into one.
#[doc(alias = "nvlist_t")]
pub struct NvList {
    ptr: NonNull<c::nvlist_t>,
}

// SAFETY: the list is owned, nothing else points into it (`NvListRef` and `NvPair` borrow the
// owner, which then cannot be sent), and its memory comes from malloc, which any thread may free.
unsafe impl Send for NvList {}

impl Drop for NvList {
    fn drop(&mut self) {
        // SAFETY: the list is live and owned, and no borrow of it is left.
        unsafe { c::nvlist_free(self.as_ptr()) }
    }
}

impl fmt::Debug for NvList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_list().fmt(f)
    }
}

impl NvList {
    /// An empty list of unique names.
    ///
    /// # Errors
    ///
    /// [`NvError::Refused`] with `ENOMEM`.
    #[doc(alias = "nvlist_alloc")]
    pub fn new() -> Result<Self, NvError> {
        Self::with_uniqueness(Uniqueness::Name)
    }

    /// An empty list with the given rule about equal names.
    ///
    /// # Errors
    ///
    /// [`NvError::Refused`] with `ENOMEM`.
    #[doc(alias = "nvlist_alloc")]
    pub fn with_uniqueness(uniqueness: Uniqueness) -> Result<Self, NvError> {
        let mut out = NvOut::new();
        // SAFETY: `out` is writable, and the list written there is ours to free.
        let status = unsafe { c::nvlist_alloc(out.as_mut_ptr(), uniqueness.to_flags(), NO_FLAGS) };
        out.finish_checked("nvlist_alloc", status)
    }

    /// Takes a list over from C.
    ///
    /// # Safety
    ///
    /// The pointer is to a live list whose caller has to free it, and nobody else will use it.
    pub(crate) unsafe fn from_raw(ptr: NonNull<c::nvlist_t>) -> Self {
        Self { ptr }
    }

    /// The list for a C function that reads it, or that adds copies of pairs to it. It stays
    /// owned by `self`, and must not be used by two threads at once.
    pub(crate) fn as_ptr(&self) -> *mut c::nvlist_t {
        self.ptr.as_ptr()
    }

    /// The list as a borrowed one, the type that children of lists have.
    #[must_use]
    pub fn as_list(&self) -> NvListRef<'_> {
        NvListRef::of(self)
    }

    /// How many pairs there are, not counting those of nested lists. Walks the list.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_list().len()
    }

    /// Whether there are no pairs.
    #[must_use]
    #[doc(alias = "nvlist_empty")]
    pub fn is_empty(&self) -> bool {
        self.as_list().is_empty()
    }

    /// The pairs in order.
    #[doc(alias = "nvlist_next_nvpair")]
    pub fn iter(&self) -> impl Iterator<Item = NvPair<'_>> {
        self.as_list().iter()
    }

    /// The last pair of this name. Walks the list.
    #[must_use]
    pub fn get(&self, name: &CStr) -> Option<NvPair<'_>> {
        self.as_list().get(name)
    }

    /// A deep copy.
    ///
    /// # Errors
    ///
    /// [`NvError::Refused`] with `ENOMEM`.
    #[doc(alias = "nvlist_dup")]
    pub fn try_clone(&self) -> Result<Self, NvError> {
        self.as_list().try_to_owned()
    }

    /// The list as a Rust value.
    ///
    /// # Errors
    ///
    /// [`NvError::UnknownType`], [`NvError::TooDeep`], [`NvError::Damaged`].
    pub fn to_map(&self) -> Result<NvMap, NvError> {
        self.as_list().to_map()
    }

    /// Packs the list.
    ///
    /// # Errors
    ///
    /// [`NvError::Refused`] with `ENOMEM`, or `EINVAL` when it would be larger than 2 GiB.
    #[doc(alias = "nvlist_pack")]
    pub fn pack(&self, encoding: Encoding) -> Result<Vec<u8>, NvError> {
        self.as_list().pack(encoding)
    }

    /// Reads a packed list in either encoding. Bytes after its end are ignored.
    ///
    /// The bytes can come from anywhere, because they are read by [`nv::decode`] and not by the C
    /// library, whose decoder, in most versions, runs past the end of a string that lacks its
    /// terminator.
    ///
    /// # Errors
    ///
    /// [`NvError::Decode`] when the bytes are not a list.
    #[doc(alias = "nvlist_unpack")]
    pub fn unpack(bytes: &[u8]) -> Result<Self, NvError> {
        Self::try_from(&nv::decode(bytes)?)
    }

    /// Appends a flag, a pair whose name is all it says.
    ///
    /// Pairs that it replaces by the list's [`Uniqueness`] are removed, as with every function
    /// here that adds.
    ///
    /// # Errors
    ///
    /// [`NvError::Refused`] with `ENOMEM`, or `EINVAL` when the name is too long. The list is then
    /// as it was before.
    #[doc(alias = "nvlist_add_boolean")]
    pub fn add_flag(&mut self, name: &CStr) -> Result<(), NvError> {
        // SAFETY: the list is live and borrowed for us alone, the name ends in NUL; it is copied.
        let status = unsafe { c::nvlist_add_boolean(self.as_ptr(), name.as_ptr()) };
        check("nvlist_add_boolean", status)
    }

    /// Appends a `uint64`.
    ///
    /// # Errors
    ///
    /// As [`add_flag`](Self::add_flag).
    #[doc(alias = "nvlist_add_uint64")]
    pub fn add_u64(&mut self, name: &CStr, value: u64) -> Result<(), NvError> {
        // SAFETY: as in `add_flag`.
        let status = unsafe { c::nvlist_add_uint64(self.as_ptr(), name.as_ptr(), value) };
        check("nvlist_add_uint64", status)
    }

    /// Appends an `int32`.
    ///
    /// # Errors
    ///
    /// As [`add_flag`](Self::add_flag).
    #[doc(alias = "nvlist_add_int32")]
    pub fn add_i32(&mut self, name: &CStr, value: i32) -> Result<(), NvError> {
        // SAFETY: as in `add_flag`.
        let status = unsafe { c::nvlist_add_int32(self.as_ptr(), name.as_ptr(), value) };
        check("nvlist_add_int32", status)
    }

    /// Appends a string.
    ///
    /// # Errors
    ///
    /// As [`add_flag`](Self::add_flag).
    #[doc(alias = "nvlist_add_string")]
    pub fn add_str(&mut self, name: &CStr, value: &CStr) -> Result<(), NvError> {
        let (list, name) = (self.as_ptr(), name.as_ptr());
        // SAFETY: as in `add_flag`; the value ends in NUL as well and is copied.
        let status = unsafe { c::nvlist_add_string(list, name, value.as_ptr()) };
        check("nvlist_add_string", status)
    }

    /// Appends a deep copy of a list.
    ///
    /// # Errors
    ///
    /// [`NvError::TooDeep`] when lists would then nest more than [`MAX_DEPTH`] deep;
    /// [`NvError::Refused`] as with [`add_flag`](Self::add_flag).
    #[doc(alias = "nvlist_add_nvlist")]
    pub fn add_list(&mut self, name: &CStr, list: &NvList) -> Result<(), NvError> {
        // The C library frees, copies and packs lists by recursion without a limit.
        if !list.as_list().nests_at_most(MAX_DEPTH - 1)? {
            return Err(NvError::TooDeep);
        }
        self.add_shallow_list(name, list)
    }

    /// Appends a deep copy of a list that is known not to nest too deep.
    fn add_shallow_list(&mut self, name: &CStr, list: &NvList) -> Result<(), NvError> {
        // SAFETY: as in `add_flag`; `list` is live, another list than `self`, and is copied.
        let status = unsafe { c::nvlist_add_nvlist(self.as_ptr(), name.as_ptr(), list.as_ptr()) };
        check("nvlist_add_nvlist", status)
    }

    /// Appends a value of any type.
    ///
    /// # Errors
    ///
    /// [`NvError::TooDeep`] when lists would then nest more than [`MAX_DEPTH`] deep;
    /// [`NvError::TooManyElements`]; [`NvError::Refused`] as with [`add_flag`](Self::add_flag).
    #[doc(alias = "nvlist_add_nvpair")]
    pub fn insert(&mut self, name: &CStr, value: &Value) -> Result<(), NvError> {
        self.insert_at(name, value, 0)
    }

    /// [`insert`](Self::insert) into a list that will be `depth` levels below the outermost.
    fn insert_at(&mut self, name: &CStr, value: &Value, depth: usize) -> Result<(), NvError> {
        macro_rules! scalar {
            ($add:ident, $value:expr) => {{
                // SAFETY: as in `add_flag`; the value is passed by value.
                let status = unsafe { c::$add(self.as_ptr(), name.as_ptr(), $value) };
                check(stringify!($add), status)
            }};
        }
        macro_rules! array {
            ($add:ident, $elements:expr) => {{
                let count = count($elements.len())?;
                let elements = $elements.as_ptr().cast_mut();
                // SAFETY: as in `add_flag`; the array has `count` elements, which are copied,
                // and is not written to, though its C type is not const before 2.2. An empty
                // one is not looked at.
                let status = unsafe { c::$add(self.as_ptr(), name.as_ptr(), elements, count) };
                check(stringify!($add), status)
            }};
        }
        match value {
            Value::Boolean => self.add_flag(name),
            Value::BooleanValue(v) => scalar!(nvlist_add_boolean_value, (*v).into()),
            Value::Byte(v) => scalar!(nvlist_add_byte, *v),
            Value::Int8(v) => scalar!(nvlist_add_int8, *v),
            Value::Uint8(v) => scalar!(nvlist_add_uint8, *v),
            Value::Int16(v) => scalar!(nvlist_add_int16, *v),
            Value::Uint16(v) => scalar!(nvlist_add_uint16, *v),
            Value::Int32(v) => self.add_i32(name, *v),
            Value::Uint32(v) => scalar!(nvlist_add_uint32, *v),
            Value::Int64(v) => scalar!(nvlist_add_int64, *v),
            Value::Uint64(v) => self.add_u64(name, *v),
            Value::Hrtime(v) => scalar!(nvlist_add_hrtime, *v),
            Value::Double(v) => scalar!(nvlist_add_double, *v),
            Value::String(v) => self.add_str(name, v),
            Value::BooleanArray(v) => {
                let words: Vec<c::boolean_t::Type> = v.iter().map(|b| (*b).into()).collect();
                array!(nvlist_add_boolean_array, words)
            }
            Value::ByteArray(v) => array!(nvlist_add_byte_array, v),
            Value::Int8Array(v) => array!(nvlist_add_int8_array, v),
            Value::Uint8Array(v) => array!(nvlist_add_uint8_array, v),
            Value::Int16Array(v) => array!(nvlist_add_int16_array, v),
            Value::Uint16Array(v) => array!(nvlist_add_uint16_array, v),
            Value::Int32Array(v) => array!(nvlist_add_int32_array, v),
            Value::Uint32Array(v) => array!(nvlist_add_uint32_array, v),
            Value::Int64Array(v) => array!(nvlist_add_int64_array, v),
            Value::Uint64Array(v) => array!(nvlist_add_uint64_array, v),
            Value::StringArray(v) => {
                let strings: Vec<*mut c_char> = v.iter().map(|s| s.as_ptr().cast_mut()).collect();
                array!(nvlist_add_string_array, strings)
            }
            Value::List(v) => {
                let list = Self::from_map_at(v, depth + 1)?;
                self.add_shallow_list(name, &list)
            }
            Value::ListArray(v) => {
                let lists: Vec<NvList> = v
                    .iter()
                    .map(|map| Self::from_map_at(map, depth + 1))
                    .collect::<Result<_, _>>()?;
                let pointers: Vec<*mut c::nvlist_t> = lists.iter().map(Self::as_ptr).collect();
                array!(nvlist_add_nvlist_array, pointers)
            }
        }
    }

    fn from_map_at(map: &NvMap, depth: usize) -> Result<Self, NvError> {
        if depth > MAX_DEPTH {
            return Err(NvError::TooDeep);
        }
        let mut list = Self::with_uniqueness(map.uniqueness())?;
        for (name, value) in map {
            list.insert_at(name, value, depth)?;
        }
        Ok(list)
    }

    /// Removes every pair of this name; whether there was one.
    ///
    /// # Errors
    ///
    /// [`NvError::Refused`] with `ENOMEM`; the list is left as it was.
    #[doc(alias = "nvlist_remove_all")]
    pub fn remove(&mut self, name: &CStr) -> Result<bool, NvError> {
        if self.as_list().uniqueness() == Uniqueness::None {
            return self.remove_by_copy(name);
        }
        // SAFETY: the list is live and borrowed for us alone, so that nothing points to a pair
        // of it; the name ends in NUL.
        match unsafe { c::nvlist_remove_all(self.as_ptr(), name.as_ptr()) } {
            libc::ENOENT => Ok(false),
            status => check("nvlist_remove_all", status).map(|()| true),
        }
    }

    /// `remove` from a list in which names can repeat. There libnvpair can free one pair while it
    /// takes another one of the same name out of its hash table, so it must not be asked to.
    fn remove_by_copy(&mut self, name: &CStr) -> Result<bool, NvError> {
        let kept = Self::with_uniqueness(Uniqueness::None)?;
        let mut removed = false;
        for pair in self.iter() {
            if pair.name() == name {
                removed = true;
                continue;
            }
            // SAFETY: `kept` is live and nobody else's; the pair is live, and is copied.
            let status = unsafe { c::nvlist_add_nvpair(kept.as_ptr(), pair.as_ptr()) };
            check("nvlist_add_nvpair", status)?;
        }
        if removed {
            *self = kept;
        }
        Ok(removed)
    }
}

impl TryFrom<&NvMap> for NvList {
    type Error = NvError;

    /// A C list with copies of a map's pairs.
    ///
    /// # Errors
    ///
    /// As [`NvList::insert`].
    fn try_from(map: &NvMap) -> Result<Self, NvError> {
        Self::from_map_at(map, 0)
    }
}

fn count(elements: usize) -> Result<c::uint_t, NvError> {
    elements.try_into().map_err(|_| NvError::TooManyElements)
}

/// Where a C function writes a list that its caller has to free: an `nvlist_t **` parameter.
///
/// It starts out as NULL, because some functions return success without writing anything.
pub(crate) struct NvOut(*mut c::nvlist_t);

impl NvOut {
    pub(crate) fn new() -> Self {
        Self(ptr::null_mut())
    }

    /// For one call of a C function, which leaves the place alone or writes NULL or a list that
    /// its caller has to free.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut *mut c::nvlist_t {
        &raw mut self.0
    }

    /// The list, if one was written.
    pub(crate) fn finish(mut self) -> Option<NvList> {
        let ptr = NonNull::new(std::mem::replace(&mut self.0, ptr::null_mut()))?;
        // SAFETY: by the contract of `as_mut_ptr` it is a list to be freed by us, and it has just
        // been taken away from `self`.
        Some(unsafe { NvList::from_raw(ptr) })
    }

    /// The list that a function of libnvpair writes when it succeeds.
    fn finish_checked(self, call: &'static str, status: c_int) -> Result<NvList, NvError> {
        check(call, status)?;
        self.finish().ok_or(NvError::Damaged)
    }
}

impl Drop for NvOut {
    fn drop(&mut self) {
        // SAFETY: by the contract of `as_mut_ptr` it is NULL, which is ignored, or a list to be
        // freed by us.
        unsafe { c::nvlist_free(self.0) }
    }
}
