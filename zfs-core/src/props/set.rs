//! Properties to be set.

use super::setting::Setting;
use super::table::Prop;
use super::{MAX_NAME_LEN, MAX_VALUE_LEN, is_user_property};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::nv::{NvMap, Value};
use std::ffi::CString;

fn refuse<T>(name: &str, kind: ErrorKind, detail: impl Into<String>) -> Result<T> {
    Err(Error::refused(Operation::SetProperties, name, kind, detail))
}

/// A user property, checked by ZFS's rules.
pub(crate) fn check_user(name: &str, value: &str) -> Result<(CString, CString)> {
    if !is_user_property(name) {
        return refuse(
            name,
            ErrorKind::InvalidProperty,
            "a user property's name has a colon, and otherwise only lower-case letters, digits \
             and -_.",
        );
    }
    if name.len() >= MAX_NAME_LEN {
        return refuse(
            name,
            ErrorKind::NameTooLong,
            "255 bytes is the longest name",
        );
    }
    if value.len() >= MAX_VALUE_LEN {
        return refuse(name, ErrorKind::TooBig, "8191 bytes is the longest value");
    }
    match (CString::new(name), CString::new(value)) {
        (Ok(name), Ok(value)) => Ok((name, value)),
        _ => refuse(
            name,
            ErrorKind::InvalidProperty,
            "the value contains a NUL character",
        ),
    }
}

/// User properties: texts that ZFS keeps and passes on, and gives no meaning to.
///
/// A name has a colon, by custom after the owner's domain or product: `helix:git_sha`.
///
/// ```
/// use zfs_core::props::UserProps;
///
/// let props = UserProps::new().set("helix:git_sha", "4be1f2c")?.set("helix:revision", "17")?;
/// # assert_eq!(props.len(), 2);
/// # Ok::<(), zfs_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UserProps(NvMap);

impl UserProps {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a property, or gives it another value.
    ///
    /// # Errors
    ///
    /// `InvalidProperty` for a name without a colon or with characters other than lower-case
    /// letters, digits and `-_.:`, or for a NUL in the value; `NameTooLong` for a name of more than
    /// 255 bytes; `TooBig` for a value of more than 8191.
    pub fn set(mut self, name: &str, value: &str) -> Result<Self> {
        let (name, value) = check_user(name, value)?;
        self.0.insert(name, value);
        Ok(self)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Their names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        // Both were made from texts.
        let pairs = self.0.iter();
        pairs.filter_map(|(name, value)| Some((name.to_str().ok()?, value.as_str()?)))
    }

    pub(crate) fn to_nvmap(&self) -> NvMap {
        self.0.clone()
    }
}

/// Properties to be set on a dataset, or to create one with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PropertySet(NvMap);

impl PropertySet {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a native property, or gives it another value.
    #[must_use]
    pub fn set<S: Setting>(mut self, setting: S) -> Self {
        self.0.insert(S::PROP.entry().name, setting.to_value());
        self
    }

    /// Adds a user property, or gives it another value.
    ///
    /// # Errors
    ///
    /// As [`UserProps::set`].
    pub fn user(mut self, name: &str, value: &str) -> Result<Self> {
        let (name, value) = check_user(name, value)?;
        self.0.insert(name, value);
        Ok(self)
    }

    /// Adds a property of any name, for those that this crate does not know. The kernel wants a
    /// `uint64` for numbers and words, and a string for texts.
    ///
    /// # Errors
    ///
    /// `InvalidProperty` for a property that is read-only: the kernel would write the value down
    /// and never show it.
    pub fn raw(mut self, name: &str, value: Value) -> Result<Self> {
        if Prop::from_name(name).is_some_and(Prop::is_read_only) {
            return refuse(
                name,
                ErrorKind::InvalidProperty,
                "the property is read-only",
            );
        }
        match CString::new(name) {
            Ok(name) => self.0.insert(name, value),
            Err(_) => {
                return refuse(
                    name,
                    ErrorKind::InvalidProperty,
                    "the name contains a NUL character",
                );
            }
        }
        Ok(self)
    }

    /// Adds those of `other`, which replace those of the same name.
    #[must_use]
    pub fn merge(mut self, other: &Self) -> Self {
        for (name, value) in other.0.iter() {
            self.0.insert(name.to_owned(), value.clone());
        }
        self
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// What the kernel is to set, in this order.
    pub(crate) fn to_nvmap(&self) -> NvMap {
        let mut values = self.0.clone();
        // With `volmode=none` the kernel takes the block device away on another thread, and ZFS 2.4
        // crashes when it meanwhile makes that device read-only.
        if let Some(mode) = values.remove(Prop::VolMode.name()) {
            values.insert(Prop::VolMode.entry().name, mode);
        }
        values
    }

    /// The value of a property.
    #[must_use]
    pub fn get(&self, property: impl AsRef<str>) -> Option<&Value> {
        self.0.get(property.as_ref())
    }

    pub(super) fn from_values(values: NvMap) -> Self {
        Self(values)
    }

    /// The native properties that are set.
    pub(super) fn natives(&self) -> impl Iterator<Item = Prop> {
        self.0
            .iter()
            .filter_map(|(name, _)| Prop::from_name(name.to_str().ok()?))
    }
}

impl From<UserProps> for PropertySet {
    fn from(props: UserProps) -> Self {
        Self(props.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Quota, Sync};
    use super::*;

    #[test]
    fn values_have_the_kernels_types() {
        let set = PropertySet::new()
            .set(Quota(1 << 30))
            .set(Sync::Always)
            .set(Quota(2 << 30))
            .user("helix:a", "b")
            .unwrap();
        let map = set.to_nvmap();
        assert_eq!(map.len(), 3);
        assert_eq!(map.u64("quota"), Some(2 << 30));
        assert_eq!(map.u64("sync"), Some(1));
        assert_eq!(map.str("helix:a"), Some("b"));
        assert_eq!(set.natives().collect::<Vec<_>>(), [Prop::Sync, Prop::Quota]);
    }

    #[test]
    fn merging_replaces() {
        let set = PropertySet::new().set(Quota(1)).set(Sync::Always);
        let merged = set.merge(&PropertySet::new().set(Quota(2)));
        assert_eq!(merged.to_nvmap().u64("quota"), Some(2));
        assert_eq!(merged.len(), 2);
    }

    #[test]
    fn the_rules_of_user_properties() {
        let kind = |name: &str, value: &str| UserProps::new().set(name, value).unwrap_err().kind();
        for name in [
            "nocolon",
            "Upper:case",
            "sp ace:x",
            "a@b:c",
            "quota",
            "",
            "a:b\0",
        ] {
            assert_eq!(kind(name, "v"), ErrorKind::InvalidProperty, "{name:?}");
        }
        assert_eq!(kind("a:b", "a\0b"), ErrorKind::InvalidProperty);
        assert_eq!(
            kind(&format!("a:{}", "b".repeat(254)), "v"),
            ErrorKind::NameTooLong
        );
        assert_eq!(kind("a:b", &"v".repeat(8192)), ErrorKind::TooBig);
        assert!(
            UserProps::new()
                .set(&format!("a:{}", "b".repeat(253)), "v")
                .is_ok()
        );
        assert!(UserProps::new().set("a:b", &"v".repeat(8191)).is_ok());
        assert!(UserProps::new().set(":", "").is_ok());
    }

    #[test]
    fn read_only_properties_are_not_set() {
        let error = PropertySet::new()
            .raw("used", Value::Uint64(5))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidProperty);
        assert!(
            PropertySet::new()
                .raw("of_the_future", Value::Uint64(5))
                .is_ok()
        );
    }
}
