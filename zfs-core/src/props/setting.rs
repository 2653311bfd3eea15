//! Values that can be set, each a type of its own.

use super::index::CacheMode;
use super::table::Prop;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::nv::Value;
use std::ffi::{CStr, CString};
use std::fmt;

/// A typed value of a native property.
///
/// The types of this module implement it, and both directions use it:
/// [`Dataset::set`](crate::Dataset::set) and [`PropertySet::set`](super::PropertySet::set) take
/// one, [`Properties::value`](super::Properties::value) gives one.
///
/// ```
/// use zfs_core::props::{Compression, PropertySet, Quota, Sync};
///
/// let props = PropertySet::new().set(Quota(10 << 30)).set(Sync::Always).set(Compression::Lz4);
/// # assert_eq!(props.len(), 3);
/// ```
pub trait Setting: Sized {
    /// The property that it is a value of.
    const PROP: Prop;

    /// The value as the kernel wants it: `uint64` for numbers and words, a string for texts.
    fn to_value(&self) -> Value;

    /// Reads the kernel's value; `None` when it has another type.
    fn from_value(value: &Value) -> Option<Self>;
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident = $prop:ident $(, none = $none:expr)?;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        $(
            impl $name {
                /// No limit, or nothing reserved.
                pub const NONE: Self = Self($none);
            }

            impl From<Option<u64>> for $name {
                fn from(value: Option<u64>) -> Self {
                    value.map_or(Self::NONE, Self)
                }
            }
        )?

        impl Setting for $name {
            const PROP: Prop = Prop::$prop;

            fn to_value(&self) -> Value {
                Value::Uint64(self.0)
            }

            fn from_value(value: &Value) -> Option<Self> {
                value.as_u64().map(Self)
            }
        }
    )*};
}

numbers! {
    /// The limit of what a filesystem and all below it may use, in bytes.
    ///
    /// `NoSpace` when more is in use already.
    Quota = Quota, none = 0;
    /// The limit of what a filesystem may reference, without what is below it, in bytes.
    ///
    /// `NoSpace` when more is referenced already.
    RefQuota = RefQuota, none = 0;
    /// The space that a dataset and all below it are sure to get, in bytes.
    ///
    /// `NoSpace` when the pool has less.
    Reservation = Reservation, none = 0;
    /// The space that a dataset is sure to get, without what is below it, in bytes.
    ///
    /// `NoSpace` when the pool has less. The `zfs` command computes one for a volume that is not
    /// sparse; it depends on the layout of the pool's devices, and is not computed here.
    RefReservation = RefReservation, none = 0;
    /// The most filesystems and volumes below a filesystem.
    FilesystemLimit = FilesystemLimit, none = u64::MAX;
    /// The most snapshots of a dataset and of all below it.
    SnapshotLimit = SnapshotLimit, none = u64::MAX;
    /// A volume's size in bytes, a multiple of its block size. Making it smaller loses data.
    VolSize = VolSize;
    /// The version of a filesystem's on-disk format. It can only grow.
    Version = Version;
    /// The quota in bytes of users that have none of their own. Since ZFS 2.4.
    DefaultUserQuota = DefaultUserQuota, none = 0;
    /// The quota in bytes of groups that have none of their own. Since ZFS 2.4.
    DefaultGroupQuota = DefaultGroupQuota, none = 0;
    /// The quota in bytes of projects that have none of their own. Since ZFS 2.4.
    DefaultProjectQuota = DefaultProjectQuota, none = 0;
    /// The most objects of users that have no limit of their own. Since ZFS 2.4.
    DefaultUserObjQuota = DefaultUserObjQuota, none = 0;
    /// The most objects of groups that have no limit of their own. Since ZFS 2.4.
    DefaultGroupObjQuota = DefaultGroupObjQuota, none = 0;
    /// The most objects of projects that have no limit of their own. Since ZFS 2.4.
    DefaultProjectObjQuota = DefaultProjectObjQuota, none = 0;
}

/// The largest block of ZFS: 16 MiB.
const MAX_BLOCK: u64 = 16 << 20;

fn refuse<T>(prop: Prop, value: impl fmt::Display, rule: &str) -> Result<T> {
    Err(Error::refused(
        Operation::SetProperties,
        prop.name(),
        ErrorKind::InvalidProperty,
        format!("{value:?}: {rule}", value = value.to_string()),
    ))
}

macro_rules! sizes {
    ($($(#[$doc:meta])* $name:ident = $prop:ident, $check:expr, $rule:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            #[doc = concat!("A size in bytes: ", $rule, ".")]
            ///
            /// # Errors
            ///
            /// [`InvalidProperty`](ErrorKind::InvalidProperty) for any other size. The kernel would
            /// take it. The largest one that it takes depends on its version.
            pub fn new(bytes: u64) -> Result<Self> {
                let check: fn(u64) -> bool = $check;
                if check(bytes) { Ok(Self(bytes)) } else { refuse(Prop::$prop, bytes, $rule) }
            }

            /// The size in bytes.
            #[must_use]
            pub const fn bytes(self) -> u64 {
                self.0
            }
        }

        impl Setting for $name {
            const PROP: Prop = Prop::$prop;

            fn to_value(&self) -> Value {
                Value::Uint64(self.0)
            }

            fn from_value(value: &Value) -> Option<Self> {
                value.as_u64().map(Self)
            }
        }
    )*};
}

fn is_block_size(bytes: u64) -> bool {
    (512..=MAX_BLOCK).contains(&bytes) && bytes.is_power_of_two()
}

sizes! {
    /// The largest block of a file. Above 128 KiB it needs the pool's feature `large_blocks`.
    RecordSize = RecordSize, is_block_size, "a power of two from 512 bytes to 16 MiB";
    /// A volume's block size, which it keeps.
    VolBlockSize = VolBlockSize, is_block_size, "a power of two from 512 bytes to 16 MiB";
    /// The largest block that goes to the special devices; 0 for none. Up to ZFS 2.3, only powers
    /// of two make sense.
    SpecialSmallBlocks = SpecialSmallBlocks, |bytes| bytes <= MAX_BLOCK, "at most 16 MiB";
}

macro_rules! switches {
    ($($(#[$doc:meta])* $name:ident = $prop:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct $name(pub bool);

        impl Setting for $name {
            const PROP: Prop = Prop::$prop;

            fn to_value(&self) -> Value {
                Value::Uint64(self.0.into())
            }

            fn from_value(value: &Value) -> Option<Self> {
                match value.as_u64() {
                    Some(0) => Some(Self(false)),
                    Some(1) => Some(Self(true)),
                    _ => None,
                }
            }
        }
    )*};
}

switches! {
    /// Whether the access times of files are updated.
    Atime = Atime;
    /// Whether access times are only updated when they would mislead, or once a day.
    Relatime = Relatime;
    /// Whether device nodes can be opened.
    Devices = Devices;
    /// Whether programs can be executed.
    Exec = Exec;
    /// Whether the set-user-ID bit is respected.
    Setuid = Setuid;
    /// Whether a dataset cannot be modified.
    ReadOnly = ReadOnly;
    /// Whether a filesystem is managed from another namespace.
    Zoned = Zoned;
    /// Not used on Linux.
    Vscan = Vscan;
    /// Whether a filesystem is mounted with non-blocking mandatory locks.
    Nbmand = Nbmand;
    /// Whether a filesystem may be mounted over a directory that is not empty.
    Overlay = Overlay;
    /// Whether a volume uses several threads. Since ZFS 2.2.
    VolThreading = VolThreading;
    /// Whether file names may have up to 1023 bytes. Since ZFS 2.3.
    LongName = LongName;
    /// Whether file names must be UTF-8, for good.
    Utf8Only = Utf8Only;
}

macro_rules! caches {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct $name(pub CacheMode);

        impl Setting for $name {
            const PROP: Prop = Prop::$name;

            fn to_value(&self) -> Value {
                Value::Uint64(self.0.raw())
            }

            fn from_value(value: &Value) -> Option<Self> {
                value.as_u64().map(CacheMode::from_raw).map(Self)
            }
        }
    )*};
}

caches! {
    /// What is cached in memory.
    PrimaryCache;
    /// What is cached on the pool's cache devices.
    SecondaryCache;
}

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident = $prop:ident, $check:expr, $rule:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $name(CString);

        impl $name {
            #[doc = concat!("Takes ", $rule, ".")]
            ///
            /// # Errors
            ///
            /// [`InvalidProperty`](ErrorKind::InvalidProperty) for anything else.
            pub fn new(text: &str) -> Result<Self> {
                let check: fn(&str) -> bool = $check;
                match CString::new(text) {
                    Ok(text_c) if text.len() < super::MAX_VALUE_LEN && check(text) => {
                        Ok(Self(text_c))
                    }
                    _ => refuse(Prop::$prop, text, concat!("it takes ", $rule)),
                }
            }

            /// The text as ZFS stores it.
            #[must_use]
            pub fn as_c_str(&self) -> &CStr {
                &self.0
            }
        }

        impl Setting for $name {
            const PROP: Prop = Prop::$prop;

            fn to_value(&self) -> Value {
                Value::String(self.0.clone())
            }

            fn from_value(value: &Value) -> Option<Self> {
                value.as_cstr().map(|text| Self(text.to_owned()))
            }
        }
    )*};
}

/// The longest path of the system, without its terminator.
const MAX_PATH_LEN: usize = 4095;

fn is_mountpoint(text: &str) -> bool {
    matches!(text, "legacy" | "none") || text.starts_with('/') && text.len() <= MAX_PATH_LEN
}

fn is_key_location(text: &str) -> bool {
    matches!(text, "prompt" | "none")
        || text.starts_with("file:///")
        || text.starts_with("https://")
        || text.starts_with("http://")
}

texts! {
    /// Where a filesystem is mounted.
    ///
    /// The kernel only writes it down. What is mounted stays where it is until it is mounted anew.
    Mountpoint = Mountpoint, is_mountpoint, "an absolute path, `legacy` or `none`";
    /// Whether and how a filesystem is shared over NFS: `on`, `off` or options.
    ///
    /// The kernel only writes it down. `zfs share` acts on it.
    ShareNfs = ShareNfs, |text| !text.is_empty(), "`on`, `off` or options";
    /// Whether and how a filesystem is shared over SMB: `on`, `off` or options.
    ///
    /// The kernel only writes it down. `zfs share` acts on it.
    ShareSmb = ShareSmb, |text| !text.is_empty(), "`on`, `off` or options";
    /// Where the `zfs` command finds the key of an encryption root.
    KeyLocation = KeyLocation, is_key_location, "`prompt`, `none` or a file:///, https:// or http:// URL";
    /// The SELinux context of all files.
    SelinuxContext = SelinuxContext, |text| !text.is_empty(), "a context";
    /// The SELinux context of a filesystem.
    SelinuxFsContext = SelinuxFsContext, |text| !text.is_empty(), "a context";
    /// The SELinux context of files without one.
    SelinuxDefContext = SelinuxDefContext, |text| !text.is_empty(), "a context";
    /// The SELinux context of the root directory.
    SelinuxRootContext = SelinuxRootContext, |text| !text.is_empty(), "a context";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_gets_what_it_wants() {
        assert_eq!(Quota(5).to_value(), Value::Uint64(5));
        assert_eq!(Quota::from(None).to_value(), Value::Uint64(0));
        assert_eq!(SnapshotLimit::NONE.to_value(), Value::Uint64(u64::MAX));
        assert_eq!(ReadOnly(true).to_value(), Value::Uint64(1));
        let path = Mountpoint::new("/srv/a").unwrap();
        assert_eq!(path.to_value(), Value::String(c"/srv/a".to_owned()));
        assert_eq!(Mountpoint::from_value(&path.to_value()), Some(path));
        assert_eq!(Atime::from_value(&Value::Uint64(2)), None);
        assert_eq!(Quota::from_value(&Value::Boolean), None);
    }

    #[test]
    fn what_only_the_zfs_command_checks_is_checked() {
        for bytes in [0, 511, 1000, 128 * 1024 + 1, 32 << 20] {
            assert_eq!(
                RecordSize::new(bytes).unwrap_err().kind(),
                ErrorKind::InvalidProperty
            );
        }
        assert_eq!(RecordSize::new(1 << 20).unwrap().bytes(), 1 << 20);
        for text in [
            "",
            "srv",
            "none/",
            "a\0b",
            &format!("/{}", "a".repeat(4095)),
        ] {
            assert!(Mountpoint::new(text).is_err(), "{text:?}");
        }
        assert!(Mountpoint::new("legacy").is_ok());
        for text in ["", "file://relative", "ftp://host/key"] {
            assert!(KeyLocation::new(text).is_err(), "{text:?}");
        }
    }
}
