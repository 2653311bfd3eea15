//! The owned list.

use std::collections::HashSet;
use std::ffi::{CStr, CString, NulError};
use std::fmt;

use super::Value;

/// Pairs of this name are shown as `<hidden>`: ZFS passes wrapping keys in them.
const HIDDEN: &[u8] = b"hidden_args";

/// Whether the value of the pair of this name is not for anybody's eyes.
pub(super) fn is_hidden(name: &CStr) -> bool {
    name.to_bytes() == HIDDEN
}

/// Which pairs of a list replace each other when one more is inserted.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Uniqueness {
    /// One pair a name, which is what nearly every list of ZFS is.
    #[default]
    #[doc(alias = "NV_UNIQUE_NAME")]
    Name,
    /// One pair a name and type.
    #[doc(alias = "NV_UNIQUE_NAME_TYPE")]
    NameAndType,
    /// Any number of pairs of one name.
    None,
}

impl Uniqueness {
    /// The `nvl_nvflag` word for this.
    pub(crate) fn to_flags(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Name => 1,
            Self::NameAndType => 2,
        }
    }

    /// The meaning of an `nvl_nvflag` word; bits without a meaning are ignored, as ZFS does.
    pub(crate) fn from_flags(flags: u32) -> Self {
        match flags & 3 {
            0 => Self::None,
            2 => Self::NameAndType,
            _ => Self::Name,
        }
    }
}

/// A name-value list that owns everything in it: ordered pairs of a name and a [`Value`].
///
/// Names are C strings and need not be UTF-8. Two maps are equal when they have equal pairs in
/// the same order and the same [`Uniqueness`].
///
/// The `Debug` form shows everything except the values of pairs named `hidden_args`.
#[doc(alias = "nvlist_t")]
#[derive(Clone, PartialEq, Default)]
pub struct NvMap {
    pairs: Vec<(CString, Value)>,
    uniqueness: Uniqueness,
}

impl NvMap {
    /// An empty list of unique names.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty list with the given rule about equal names.
    #[must_use]
    pub fn with_uniqueness(uniqueness: Uniqueness) -> Self {
        Self {
            pairs: Vec::new(),
            uniqueness,
        }
    }

    /// The rule about equal names.
    #[must_use]
    #[doc(alias = "nvlist_nvflag")]
    pub fn uniqueness(&self) -> Uniqueness {
        self.uniqueness
    }

    /// How many pairs there are, not counting those of nested lists.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there are no pairs.
    #[must_use]
    #[doc(alias = "nvlist_empty")]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Appends a pair, after removing those that it replaces by the list's [`Uniqueness`].
    ///
    /// It looks at every pair there is; collect an iterator into a list where there are many.
    pub fn insert(&mut self, name: impl Into<CString>, value: impl Into<Value>) {
        let name = name.into();
        let value = value.into();
        match self.uniqueness {
            Uniqueness::Name => self.pairs.retain(|(n, _)| *n != name),
            Uniqueness::NameAndType => {
                let data_type = value.data_type();
                self.pairs
                    .retain(|(n, v)| *n != name || v.data_type() != data_type);
            }
            Uniqueness::None => {}
        }
        self.pairs.push((name, value));
    }

    /// [`insert`](Self::insert) with a Rust string as name.
    ///
    /// # Errors
    ///
    /// [`NulError`] when the name contains a NUL; nothing is inserted then.
    pub fn try_insert(&mut self, name: &str, value: impl Into<Value>) -> Result<(), NulError> {
        self.insert(CString::new(name)?, value);
        Ok(())
    }

    /// Appends a pair without looking for equal names. The caller has made sure, or makes sure
    /// afterwards, that the list keeps its rule.
    pub(crate) fn push(&mut self, name: CString, value: Value) {
        self.pairs.push((name, value));
    }

    /// The value of the last pair of this name. Takes time linear in the number of pairs.
    #[must_use]
    #[doc(alias = "nvlist_lookup_nvpair")]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.pairs
            .iter()
            .rev()
            .find(|(n, _)| n.as_bytes() == name.as_bytes())
            .map(|(_, v)| v)
    }

    /// The value of the last pair of this name, to be changed in place.
    ///
    /// A list of [`Uniqueness::NameAndType`] is only kept in order by a new value of the old
    /// type.
    #[must_use]
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.pairs
            .iter_mut()
            .rev()
            .find(|(n, _)| n.as_bytes() == name.as_bytes())
            .map(|(_, v)| v)
    }

    /// Removes every pair of this name and returns the value of the last of them. Takes time
    /// linear in the number of pairs.
    #[doc(alias = "nvlist_remove_all")]
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let last = self
            .pairs
            .iter()
            .rposition(|(n, _)| n.as_bytes() == name.as_bytes())?;
        let (_, value) = self.pairs.remove(last);
        self.pairs.retain(|(n, _)| n.as_bytes() != name.as_bytes());
        Some(value)
    }

    /// Removes every pair whose name `keep` does not want.
    pub(crate) fn retain(&mut self, keep: impl Fn(&CStr) -> bool) {
        self.pairs.retain(|(name, _)| keep(name));
        self.pairs.shrink_to_fit();
    }

    /// The pairs in order.
    pub fn iter(&self) -> Iter<'_> {
        Iter(self.pairs.iter())
    }

    /// The number under this name, if it is a `uint64`.
    #[must_use]
    #[doc(alias = "nvlist_lookup_uint64")]
    pub fn u64(&self, name: &str) -> Option<u64> {
        self.get(name)?.as_u64()
    }

    /// The number under this name, if it is an `int64`.
    #[must_use]
    #[doc(alias = "nvlist_lookup_int64")]
    pub fn i64(&self, name: &str) -> Option<i64> {
        self.get(name)?.as_i64()
    }

    /// The number under this name, if it is an `int32`.
    #[must_use]
    #[doc(alias = "nvlist_lookup_int32")]
    pub fn i32(&self, name: &str) -> Option<i32> {
        self.get(name)?.as_i32()
    }

    /// The string under this name, if it is a string and valid UTF-8.
    #[must_use]
    #[doc(alias = "nvlist_lookup_string")]
    pub fn str(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// The list under this name.
    #[must_use]
    #[doc(alias = "nvlist_lookup_nvlist")]
    pub fn list(&self, name: &str) -> Option<&NvMap> {
        self.get(name)?.as_list()
    }

    /// The array of lists under this name.
    #[must_use]
    #[doc(alias = "nvlist_lookup_nvlist_array")]
    pub fn lists(&self, name: &str) -> Option<&[NvMap]> {
        self.get(name)?.as_lists()
    }

    /// The array of `uint64` under this name.
    #[must_use]
    #[doc(alias = "nvlist_lookup_uint64_array")]
    pub fn u64s(&self, name: &str) -> Option<&[u64]> {
        self.get(name)?.as_u64s()
    }

    /// The array of strings under this name.
    #[must_use]
    #[doc(alias = "nvlist_lookup_string_array")]
    pub fn strs(&self, name: &str) -> Option<&[CString]> {
        self.get(name)?.as_cstrings()
    }

    /// The bytes under this name, if it is a byte array or an array of `uint8`.
    #[must_use]
    #[doc(alias = "nvlist_lookup_byte_array")]
    #[doc(alias = "nvlist_lookup_uint8_array")]
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.get(name)?.as_bytes()
    }

    /// Whether this name is there as a flag ([`Value::Boolean`]) or as a true
    /// [`Value::BooleanValue`].
    #[must_use]
    #[doc(alias = "nvlist_lookup_boolean")]
    #[doc(alias = "nvlist_lookup_boolean_value")]
    pub fn flag(&self, name: &str) -> bool {
        matches!(
            self.get(name),
            Some(Value::Boolean | Value::BooleanValue(true))
        )
    }

    /// A name that occurs twice although the list's rule forbids it.
    pub(super) fn duplicate(&self) -> Option<&CStr> {
        // Up to about this many pairs comparing all of them is faster than hashing.
        const FEW: usize = 8;
        let typed = match self.uniqueness {
            Uniqueness::None => return None,
            Uniqueness::Name => false,
            Uniqueness::NameAndType => true,
        };
        let mut keys = self
            .iter()
            .map(|(name, value)| (name, typed.then(|| value.data_type())));
        let duplicate = if self.len() <= FEW {
            keys.clone()
                .enumerate()
                .find(|(i, key)| keys.clone().take(*i).any(|earlier| earlier == *key))
                .map(|(_, key)| key)
        } else {
            let mut seen = HashSet::with_capacity(self.len());
            keys.find(|key| !seen.insert(*key))
        };
        duplicate.map(|(name, _)| name)
    }
}

impl fmt::Debug for NvMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (name, value) in self {
            if is_hidden(name) {
                map.entry(&name, &format_args!("<hidden>"));
            } else {
                map.entry(&name, value);
            }
        }
        map.finish()
    }
}

/// Collects into a list of unique names: of pairs with one name the last stays, as with
/// [`insert`](NvMap::insert), but in time linear in the number of pairs.
impl<N: Into<CString>, V: Into<Value>> FromIterator<(N, V)> for NvMap {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(iter: I) -> Self {
        let mut pairs: Vec<(CString, Value)> = iter
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        let mut seen = HashSet::with_capacity(pairs.len());
        let last_first: Vec<bool> = pairs
            .iter()
            .rev()
            .map(|(name, _)| seen.insert(name.as_c_str()))
            .collect();
        drop(seen);
        let mut is_last = last_first.into_iter().rev();
        pairs.retain(|_| is_last.next().unwrap_or(true));
        Self {
            pairs,
            uniqueness: Uniqueness::Name,
        }
    }
}

impl IntoIterator for NvMap {
    type Item = (CString, Value);
    type IntoIter = std::vec::IntoIter<(CString, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.pairs.into_iter()
    }
}

impl<'a> IntoIterator for &'a NvMap {
    type Item = (&'a CStr, &'a Value);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The pairs of an [`NvMap`] in order, from [`NvMap::iter`].
#[derive(Clone)]
pub struct Iter<'a>(std::slice::Iter<'a, (CString, Value)>);

impl fmt::Debug for Iter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").field("left", &self.len()).finish()
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a CStr, &'a Value);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(name, value)| (name.as_c_str(), value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0
            .next_back()
            .map(|(name, value)| (name.as_c_str(), value))
    }
}

impl ExactSizeIterator for Iter<'_> {}
