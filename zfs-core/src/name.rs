//! Names, checked once by ZFS's own rules.
//!
//! C copies names into fixed buffers and cuts what does not fit, so a long name would hit another
//! object. A name of one of these types has passed the kernel's rules: it is shorter than 256
//! bytes, its components have only letters, digits and `-_.: ` (and `%`, which ZFS keeps for its
//! hidden datasets), none is empty, `.` or `..`, there are at most 50 of them, and the first names
//! a pool.

use std::ffi::{CStr, CString};
use std::fmt;
use std::str::FromStr;

/// The longest name, in bytes.
pub const MAX_LEN: usize = 255;

/// The most components of a dataset's name.
pub const MAX_DEPTH: usize = 50;

/// The longest name of a pool: its hidden origin snapshot has to fit as well.
pub const MAX_POOL_LEN: usize = 239;

/// Which rule a name breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameRule {
    /// Over the length that ZFS allows.
    #[error("longer than ZFS allows")]
    TooLong,
    /// Nothing, or nothing between two separators.
    #[error("empty, or with an empty component")]
    Empty,
    /// A character that ZFS does not allow.
    #[error("character {0:?} is not allowed")]
    Character(char),
    /// A component `.` or `..`.
    #[error("a component is '.' or '..'")]
    Relative,
    /// More than 50 components.
    #[error("nested too deep")]
    TooDeep,
    /// A pool's name must start with a letter.
    #[error("a pool's name starts with a letter")]
    FirstLetter,
    /// A word that ZFS keeps for itself: `mirror`, `raidz`, `draid`. For new pools also `log`, and
    /// what begins with one of the others or with `spare`.
    #[error("a reserved word")]
    Reserved,
    /// A snapshot's name has exactly one `@`, and a bookmark's exactly one `#`, after the dataset.
    #[error("exactly one {0:?} must separate the dataset from the rest")]
    Separator(char),
}

/// A name that ZFS would not accept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid name {name:?}: {rule}")]
pub struct NameError {
    name: String,
    rule: NameRule,
}

impl NameError {
    fn new(name: &str, rule: NameRule) -> Self {
        Self {
            name: name.to_owned(),
            rule,
        }
    }

    /// The name as it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The rule it breaks.
    #[must_use]
    pub fn rule(&self) -> NameRule {
        self.rule
    }
}

fn check_characters(component: &str, hidden: bool) -> Result<(), NameRule> {
    if component.is_empty() {
        return Err(NameRule::Empty);
    }
    let allowed = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | ' ') || hidden && c == '%'
    };
    match component.chars().find(|&c| !allowed(c)) {
        Some(c) => Err(NameRule::Character(c)),
        None => Ok(()),
    }
}

fn check_pool(name: &str) -> Result<(), NameRule> {
    if name.len() > MAX_POOL_LEN {
        return Err(NameRule::TooLong);
    }
    check_characters(name, false)?;
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(NameRule::FirstLetter);
    }
    if matches!(name, "mirror" | "raidz" | "draid") {
        return Err(NameRule::Reserved);
    }
    Ok(())
}

fn check_dataset(name: &str) -> Result<(), NameRule> {
    if name.len() > MAX_LEN {
        return Err(NameRule::TooLong);
    }
    let mut components = name.split('/');
    check_pool(components.next().unwrap_or_default())?;
    for component in components {
        check_characters(component, true)?;
        if matches!(component, "." | "..") {
            return Err(NameRule::Relative);
        }
    }
    if name.split('/').count() > MAX_DEPTH {
        return Err(NameRule::TooDeep);
    }
    Ok(())
}

/// Where the separator stands in a name that has passed `check_part_of_dataset`.
fn check_part_of_dataset(name: &str, separator: char) -> Result<usize, NameRule> {
    if name.len() > MAX_LEN {
        return Err(NameRule::TooLong);
    }
    let (dataset, part) = name
        .split_once(separator)
        .ok_or(NameRule::Separator(separator))?;
    if part.contains(separator) {
        return Err(NameRule::Separator(separator));
    }
    check_dataset(dataset)?;
    check_characters(part, true)?;
    Ok(dataset.len())
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(CString);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                // The checked characters are all ASCII.
                self.0.to_str().unwrap_or_default()
            }

            /// The name as a C string.
            #[must_use]
            pub fn as_c_str(&self) -> &CStr {
                &self.0
            }

            fn checked(name: &str) -> Result<Self, NameError> {
                CString::new(name)
                    .map(Self)
                    .map_err(|_| NameError::new(name, NameRule::Character('\0')))
            }
        }

        #[cfg(feature = "serde")]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::new(&name).map_err(serde::de::Error::custom)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($name), self.as_str())
            }
        }

        impl AsRef<$name> for $name {
            fn as_ref(&self) -> &$name {
                self
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = NameError;

            fn try_from(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }
    };
}

name_type! {
    /// The name of a pool: `tank`.
    PoolName
}

name_type! {
    /// The name of a filesystem or a volume: `tank/tenants/acme`. A pool's name is that of its root
    /// filesystem too.
    DatasetName
}

name_type! {
    /// The full name of a snapshot: `tank/tenants/acme@deploy-42`.
    SnapshotName
}

name_type! {
    /// The full name of a bookmark: `tank/tenants/acme#deploy-42`.
    BookmarkName
}

impl PoolName {
    /// Checks a pool's name.
    pub fn new(name: &str) -> Result<Self, NameError> {
        check_pool(name).map_err(|rule| NameError::new(name, rule))?;
        Self::checked(name)
    }

    /// Checks the name of a pool that is yet to be. As `zpool` does, takes none that would be read
    /// as a kind of vdev; the kernel takes most of them.
    pub(crate) fn of_new_pool(name: &str) -> Result<Self, NameError> {
        const KINDS: [&str; 4] = ["mirror", "raidz", "draid", "spare"];
        if name == "log" || KINDS.iter().any(|kind| name.starts_with(kind)) {
            return Err(NameError::new(name, NameRule::Reserved));
        }
        Self::new(name)
    }

    /// The pool's root filesystem.
    #[must_use]
    pub fn root(&self) -> DatasetName {
        DatasetName(self.0.clone())
    }
}

impl DatasetName {
    /// Checks the name of a filesystem or a volume.
    pub fn new(name: &str) -> Result<Self, NameError> {
        check_dataset(name).map_err(|rule| NameError::new(name, rule))?;
        Self::checked(name)
    }

    /// The name of its pool.
    #[must_use]
    pub fn pool(&self) -> &str {
        self.as_str().split('/').next().unwrap_or_default()
    }

    /// The dataset above this one, or `None` for a pool's root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (parent, _) = self.as_str().rsplit_once('/')?;
        Self::new(parent).ok()
    }

    /// The last component.
    #[must_use]
    pub fn base(&self) -> &str {
        self.as_str().rsplit('/').next().unwrap_or_default()
    }

    /// The name of a dataset below this one: `child` may have several components.
    pub fn child(&self, child: &str) -> Result<Self, NameError> {
        Self::new(&format!("{self}/{child}"))
    }

    /// The name of a snapshot of this dataset.
    pub fn snapshot(&self, snapshot: &str) -> Result<SnapshotName, NameError> {
        SnapshotName::new(&format!("{self}@{snapshot}"))
    }

    /// The name of a bookmark of this dataset.
    pub fn bookmark(&self, bookmark: &str) -> Result<BookmarkName, NameError> {
        BookmarkName::new(&format!("{self}#{bookmark}"))
    }

    /// Whether `other` lies below this dataset.
    #[must_use]
    pub fn is_ancestor_of(&self, other: &Self) -> bool {
        other
            .as_str()
            .strip_prefix(self.as_str())
            .is_some_and(|rest| rest.starts_with('/'))
    }
}

macro_rules! part_of_dataset {
    ($name:ident, $separator:literal, $what:literal) => {
        impl $name {
            #[doc = concat!("Checks the full name of a ", $what, ".")]
            pub fn new(name: &str) -> Result<Self, NameError> {
                check_part_of_dataset(name, $separator)
                    .map_err(|rule| NameError::new(name, rule))?;
                Self::checked(name)
            }

            fn split(&self) -> (&str, &str) {
                self.as_str().split_once($separator).unwrap_or_default()
            }

            /// The dataset it belongs to.
            #[must_use]
            pub fn dataset(&self) -> DatasetName {
                // A prefix of an ASCII C string has no NUL either.
                DatasetName(CString::new(self.split().0).unwrap_or_default())
            }

            /// The dataset it belongs to, as text.
            #[must_use]
            pub fn dataset_str(&self) -> &str {
                self.split().0
            }

            #[doc = concat!("The name after the `", $separator, "`.")]
            #[must_use]
            pub fn short(&self) -> &str {
                self.split().1
            }

            /// The name of its pool.
            #[must_use]
            pub fn pool(&self) -> &str {
                self.as_str()
                    .split(['/', $separator])
                    .next()
                    .unwrap_or_default()
            }
        }
    };
}

part_of_dataset!(SnapshotName, '@', "snapshot");
part_of_dataset!(BookmarkName, '#', "bookmark");

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "serde")]
    #[test]
    fn names_are_texts_for_serde() {
        let name = DatasetName::new("tank/a").unwrap();
        let json = serde_json::to_string(&name).unwrap();
        assert_eq!(json, "\"tank/a\"");
        assert_eq!(serde_json::from_str::<DatasetName>(&json).unwrap(), name);
        assert!(serde_json::from_str::<DatasetName>("\"tank/\"").is_err());
    }

    fn rule<T: fmt::Debug>(result: Result<T, NameError>) -> NameRule {
        result.unwrap_err().rule()
    }

    #[test]
    fn names_that_zfs_accepts() {
        for name in [
            "tank",
            "tank/a",
            "tank/a b/c:d_e-f.g",
            "t/%recv",
            "tank/1",
            "tank/.hidden",
        ] {
            assert_eq!(DatasetName::new(name).unwrap().as_str(), name);
        }
        for name in [
            "tank@a",
            "tank/a@.",
            "tank/a@2024-01-01T00:00:00",
            "tank@%x",
        ] {
            assert_eq!(SnapshotName::new(name).unwrap().as_str(), name);
        }
        assert_eq!(BookmarkName::new("tank/a#b").unwrap().short(), "b");
    }

    #[test]
    fn names_that_zfs_refuses() {
        assert_eq!(rule(DatasetName::new("")), NameRule::Empty);
        assert_eq!(rule(DatasetName::new("/tank")), NameRule::Empty);
        assert_eq!(rule(DatasetName::new("tank/")), NameRule::Empty);
        assert_eq!(rule(DatasetName::new("tank//a")), NameRule::Empty);
        assert_eq!(rule(DatasetName::new("tank/a@b")), NameRule::Character('@'));
        assert_eq!(rule(DatasetName::new("tank/é")), NameRule::Character('é'));
        assert_eq!(
            rule(DatasetName::new("tank/a\0b")),
            NameRule::Character('\0')
        );
        assert_eq!(rule(DatasetName::new("tank/..")), NameRule::Relative);
        assert_eq!(rule(DatasetName::new("1tank")), NameRule::FirstLetter);
        assert_eq!(rule(PoolName::new("mirror")), NameRule::Reserved);
        for name in ["log", "spare-1", "mirrors", "raidz1", "draid2"] {
            assert_eq!(rule(PoolName::of_new_pool(name)), NameRule::Reserved);
            assert!(PoolName::new(name).is_ok());
        }
        assert!(PoolName::of_new_pool("logs").is_ok());
        assert_eq!(rule(PoolName::new("tank/a")), NameRule::Character('/'));
        assert_eq!(rule(SnapshotName::new("tank/a")), NameRule::Separator('@'));
        assert_eq!(
            rule(SnapshotName::new("tank@a@b")),
            NameRule::Separator('@')
        );
        assert_eq!(
            rule(SnapshotName::new("tank@a/b")),
            NameRule::Character('/')
        );
        assert_eq!(rule(SnapshotName::new("tank@")), NameRule::Empty);
        assert_eq!(
            rule(BookmarkName::new("tank#a@b")),
            NameRule::Character('@')
        );
        assert_eq!(
            rule(DatasetName::new(&format!("tank/{}", "a".repeat(251)))),
            NameRule::TooLong
        );
        assert_eq!(
            rule(DatasetName::new(&format!("t{}", "/a".repeat(50)))),
            NameRule::TooDeep
        );
        assert_eq!(rule(PoolName::new(&"p".repeat(240))), NameRule::TooLong);
    }

    #[test]
    fn the_limits_themselves_are_allowed() {
        assert!(DatasetName::new(&format!("tank/{}", "a".repeat(250))).is_ok());
        assert!(DatasetName::new(&format!("t{}", "/a".repeat(49))).is_ok());
        assert!(PoolName::new(&"p".repeat(239)).is_ok());
    }

    #[test]
    fn parts_of_a_name() {
        let snapshot = SnapshotName::new("tank/a/b@c").unwrap();
        assert_eq!(snapshot.dataset().as_str(), "tank/a/b");
        assert_eq!((snapshot.short(), snapshot.pool()), ("c", "tank"));
        let dataset = snapshot.dataset();
        assert_eq!(dataset.parent().unwrap().as_str(), "tank/a");
        assert_eq!((dataset.base(), dataset.pool()), ("b", "tank"));
        assert_eq!(PoolName::new("tank").unwrap().root().parent(), None);
        assert!(DatasetName::new("tank/a").unwrap().is_ancestor_of(&dataset));
        assert!(
            !DatasetName::new("tank/a")
                .unwrap()
                .is_ancestor_of(&DatasetName::new("tank/ab").unwrap())
        );
        assert_eq!(SnapshotName::new("tank@c").unwrap().pool(), "tank");
    }
}
