//! Permissions that are delegated to users.

mod permission;

pub use permission::Permission;
use permission::check_set;

use crate::dataset::Dataset;
use crate::error::{Errno, Error, ErrorKind, Operation, Result};
use crate::history::Line;
use crate::name::DatasetName;
use crate::nv::{NvMap, Value};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::fmt;
use zfs_core_sys::ioctl::{ZFS_IOC_GET_FSACL, ZFS_IOC_SET_FSACL};

/// Where a delegated permission holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Reach {
    /// On the dataset itself.
    Local,
    /// On all datasets below it.
    Descendants,
    /// On both.
    All,
}

impl Reach {
    fn keys(self) -> &'static str {
        match self {
            Self::Local => "l",
            Self::Descendants => "d",
            Self::All => "ld",
        }
    }
}

/// To whom permissions are delegated.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Grantee {
    /// The user of this number.
    User(u32, Reach),
    /// The group of this number.
    Group(u32, Reach),
    /// Everyone.
    Everyone(Reach),
    /// Whoever creates a dataset below this one: they are given the permissions on what they
    /// create, once and locally.
    Creator,
    /// Nobody: a set of permissions of this name, with its `@`, is defined. Whoever is delegated
    /// the set, here or below, has what is in it at the time.
    Set(String),
    /// Something that this crate does not know, as the kernel has it. It can be read, and not
    /// delegated to.
    Unknown(String),
}

/// Permissions of one grantee.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Grant {
    /// Whose they are.
    pub grantee: Grantee,
    /// In the order of their names.
    pub permissions: Vec<Permission>,
}

/// What is delegated on one dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Delegation {
    /// The dataset.
    pub dataset: DatasetName,
    /// What is delegated there, with a grant for each reach: what somebody has both locally and on
    /// the descendants is in one grant of [`Reach::All`], and not in the others.
    pub grants: Vec<Grant>,
}

/// The beginnings of the kernel's keys. A key with the letter in upper case has sets.
const USER: u8 = b'u';
const GROUP: u8 = b'g';
const EVERYONE: u8 = b'e';
const CREATOR: u8 = b'c';
const SET: u8 = b's';

impl Grantee {
    /// Reads a key of the kernel's. Whether it is one of sets makes no difference to whose it is.
    fn read(key: &str) -> Self {
        let unknown = || Self::Unknown(key.to_owned());
        let (Some((who, rest)), Some((_, name))) =
            (key.as_bytes().split_first(), key.split_once('$'))
        else {
            return unknown();
        };
        let reach = match rest.first() {
            Some(b'l') => Some(Reach::Local),
            Some(b'd') => Some(Reach::Descendants),
            _ => None,
        };
        match (who.to_ascii_lowercase(), reach, name.parse()) {
            (USER, Some(reach), Ok(id)) => Self::User(id, reach),
            (GROUP, Some(reach), Ok(id)) => Self::Group(id, reach),
            (EVERYONE, Some(reach), _) if name.is_empty() => Self::Everyone(reach),
            (CREATOR, None, _) if name.is_empty() => Self::Creator,
            (SET, None, _) if name.starts_with('@') => Self::Set(name.to_owned()),
            _ => unknown(),
        }
    }

    /// The kernel's keys for permissions, or for sets.
    fn keys(&self, sets: bool) -> Result<Vec<CString>> {
        let (who, reach, name) = match self {
            Self::User(id, reach) => (USER, reach.keys(), id.to_string()),
            Self::Group(id, reach) => (GROUP, reach.keys(), id.to_string()),
            Self::Everyone(reach) => (EVERYONE, reach.keys(), String::new()),
            Self::Creator => (CREATOR, "-", String::new()),
            Self::Set(name) => {
                check_set(name)?;
                (SET, "-", name.clone())
            }
            Self::Unknown(key) => {
                return Err(Error::refused(
                    Operation::SetPermissions,
                    key.as_str(),
                    ErrorKind::InvalidArgument,
                    "nothing can be delegated to what is not known",
                ));
            }
        };
        let who = char::from(if sets { who.to_ascii_uppercase() } else { who });
        // Nothing of it has a NUL.
        let key = |reach| CString::new(format!("{who}{reach}${name}")).unwrap_or_default();
        Ok(reach.chars().map(key).collect())
    }

    /// The same, reaching further. `None` when there is no reach, or another.
    fn with_reach(&self, from: Reach, to: Reach) -> Option<Self> {
        match *self {
            Self::User(id, reach) if reach == from => Some(Self::User(id, to)),
            Self::Group(id, reach) if reach == from => Some(Self::Group(id, to)),
            Self::Everyone(reach) if reach == from => Some(Self::Everyone(to)),
            _ => None,
        }
    }

    /// As the command is told.
    fn describe(&self, line: Line) -> Line {
        let (line, reach) = match self {
            Self::User(id, reach) => (line.arg("-u").arg(id), *reach),
            Self::Group(id, reach) => (line.arg("-g").arg(id), *reach),
            Self::Everyone(reach) => (line.arg("-e"), *reach),
            Self::Creator => (line.arg("-c"), Reach::All),
            Self::Set(name) | Self::Unknown(name) => (line.arg("-s").arg(name), Reach::All),
        };
        match reach {
            Reach::Local => line.arg("-l"),
            Reach::Descendants => line.arg("-d"),
            Reach::All => line,
        }
    }
}

impl Delegation {
    fn read(dataset: DatasetName, list: &NvMap) -> Result<Self, String> {
        let mut found: BTreeMap<Grantee, BTreeSet<Permission>> = BTreeMap::new();
        for (key, value) in list.iter() {
            let names = value.as_list().ok_or("not a list")?;
            let of = found
                .entry(Grantee::read(&key.to_string_lossy()))
                .or_default();
            of.extend(
                names
                    .iter()
                    .map(|(name, _)| Permission(Cow::Owned(name.to_string_lossy().into_owned()))),
            );
        }
        let here: Vec<Grantee> = found.keys().cloned().collect();
        for local in here {
            let (Some(below), Some(both)) = (
                local.with_reach(Reach::Local, Reach::Descendants),
                local.with_reach(Reach::Local, Reach::All),
            ) else {
                continue;
            };
            let shared: BTreeSet<Permission> = match (found.get(&local), found.get(&below)) {
                (Some(local), Some(below)) => local.intersection(below).cloned().collect(),
                _ => continue,
            };
            for grantee in [&local, &below] {
                if let Some(of) = found.get_mut(grantee) {
                    of.retain(|permission| !shared.contains(permission));
                }
            }
            found.insert(both, shared);
        }
        Ok(Self {
            dataset,
            grants: found
                .into_iter()
                .filter(|(_, permissions)| !permissions.is_empty())
                .map(|(grantee, permissions)| Grant {
                    grantee,
                    permissions: permissions.into_iter().collect(),
                })
                .collect(),
        })
    }
}

impl Dataset {
    /// What is delegated on this dataset and on those above it, from here upwards. Datasets on which
    /// nothing is delegated are not among them.
    ///
    /// # Errors
    ///
    /// `NotFound`, `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// None.
    ///
    /// `zfs-allow(8)`, request `ZFS_IOC_GET_FSACL`.
    #[doc(alias = "ZFS_IOC_GET_FSACL")]
    #[doc(alias = "zfs_get_fsacl")]
    pub fn permissions(&self) -> Result<Vec<Delegation>> {
        const OPERATION: Operation = Operation::GetPermissions;
        let object = self.name.as_str();
        let mut request = self
            .zfs
            .request(ZFS_IOC_GET_FSACL, self.name.as_c_str())
            .answered();
        request
            .read()
            .map_err(|errno| Error::new(OPERATION, object, errno))?;
        let answer = request
            .answer()
            .map_err(|refusal| refusal.into_error(OPERATION, object))?;
        let protocol = |detail: &dyn fmt::Display| Error::protocol(OPERATION, object, detail);
        let mut found = Vec::with_capacity(answer.len());
        for (source, list) in answer.iter() {
            let dataset =
                DatasetName::new(&source.to_string_lossy()).map_err(|error| protocol(&error))?;
            let list = list.as_list().ok_or_else(|| protocol(&"not a list"))?;
            found.push(Delegation::read(dataset, list).map_err(|detail| protocol(&detail))?);
        }
        Ok(found)
    }

    /// Delegates permissions to `grantee`, who keeps what they have.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `NotFound` | the dataset does not exist |
    /// | `InvalidArgument` | no permissions are named; the name of a set is not valid |
    /// | `Unsupported` | the module does not know one of the permissions; the pool's version is too old |
    /// | `PermissionDenied` | the caller may not delegate, or lacks one of the permissions |
    /// | `ReadOnlyPool`, `PoolSuspended` | as they say |
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permission `allow` and each of `permissions`, which must not have
    /// `allow` among them.
    ///
    /// `zfs-allow(8)`, request `ZFS_IOC_SET_FSACL`.
    #[doc(alias = "ZFS_IOC_SET_FSACL")]
    #[doc(alias = "zfs_set_fsacl")]
    pub fn allow(&self, grantee: &Grantee, permissions: &[Permission]) -> Result<()> {
        self.set_permissions(Change::Allow, grantee, permissions)
    }

    /// Takes delegated permissions back from `grantee`. Those that they do not have count as taken
    /// back; what others delegate to them above stays.
    ///
    /// # Errors
    ///
    /// As [`allow`](Self::allow).
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permission `allow`, which lets a user take back only their own.
    ///
    /// `zfs-unallow(8)`, request `ZFS_IOC_SET_FSACL`.
    #[doc(alias = "ZFS_IOC_SET_FSACL")]
    pub fn unallow(&self, grantee: &Grantee, permissions: &[Permission]) -> Result<()> {
        self.set_permissions(Change::Unallow, grantee, permissions)
    }

    /// Takes back all permissions that are delegated to `grantee` on this dataset.
    ///
    /// # Errors
    ///
    /// As [`allow`](Self::allow).
    ///
    /// # Privileges
    ///
    /// As [`unallow`](Self::unallow).
    ///
    /// `zfs-unallow(8)`, request `ZFS_IOC_SET_FSACL`.
    #[doc(alias = "ZFS_IOC_SET_FSACL")]
    pub fn unallow_all(&self, grantee: &Grantee) -> Result<()> {
        let mut list = NvMap::new();
        for sets in [false, true] {
            for key in grantee.keys(sets)? {
                list.insert(key, Value::Boolean);
            }
        }
        self.request_permissions(Change::Unallow, &list)?;
        self.zfs
            .record(|| grantee.describe(Line::new("zfs unallow")).arg(&self.name));
        Ok(())
    }

    fn set_permissions(
        &self,
        change: Change,
        grantee: &Grantee,
        permissions: &[Permission],
    ) -> Result<()> {
        if permissions.is_empty() {
            return Err(Error::refused(
                Operation::SetPermissions,
                self.name.as_str(),
                ErrorKind::InvalidArgument,
                "no permissions are named",
            ));
        }
        let mut list = NvMap::new();
        for sets in [false, true] {
            let mut names = NvMap::new();
            for permission in permissions.iter().filter(|p| p.is_set() == sets) {
                // Names are checked when they are made.
                names.insert(
                    CString::new(permission.name()).unwrap_or_default(),
                    Value::Boolean,
                );
            }
            if names.is_empty() {
                continue;
            }
            for key in grantee.keys(sets)? {
                list.insert(key, names.clone());
            }
        }
        self.request_permissions(change, &list)?;
        self.zfs.record(|| {
            let names: Vec<&str> = permissions.iter().map(Permission::name).collect();
            grantee
                .describe(Line::new(change.command()))
                .arg(names.join(","))
                .arg(&self.name)
        });
        Ok(())
    }

    fn request_permissions(&self, change: Change, list: &NvMap) -> Result<()> {
        const OPERATION: Operation = Operation::SetPermissions;
        let object = self.name.as_str();
        let mut request = self
            .zfs
            .request(ZFS_IOC_SET_FSACL, self.name.as_c_str())
            .input(list)
            .map_err(|refusal| refusal.into_error(OPERATION, object))?;
        request.cmd().zc_perm_action = (change == Change::Unallow).into();
        request.run().map_err(|errno| {
            let error = Error::new(OPERATION, object, errno);
            match errno {
                // All else of the list is as the kernel wants it.
                Errno::EINVAL => error
                    .with_kind(ErrorKind::Unsupported)
                    .with_detail("the module does not know one of the permissions"),
                _ => error,
            }
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Allow,
    Unallow,
}

impl Change {
    fn command(self) -> &'static str {
        match self {
            Self::Allow => "zfs allow",
            Self::Unallow => "zfs unallow",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_both_ways() {
        let all = [
            (Grantee::User(1000, Reach::Local), "ul$1000", "Ul$1000"),
            (Grantee::Group(7, Reach::Descendants), "gd$7", "Gd$7"),
            (Grantee::Everyone(Reach::Local), "el$", "El$"),
            (Grantee::Creator, "c-$", "C-$"),
            (Grantee::Set(String::from("@ops")), "s-$@ops", "S-$@ops"),
        ];
        for (grantee, permissions, sets) in all {
            for (key, is_sets) in [(permissions, false), (sets, true)] {
                assert_eq!(Grantee::read(key), grantee);
                let keys = grantee.keys(is_sets).unwrap();
                assert_eq!(keys, [CString::new(key).unwrap()]);
            }
        }
        let both = Grantee::User(1, Reach::All).keys(false).unwrap();
        assert_eq!(both, [c"ul$1".to_owned(), c"ud$1".to_owned()]);
        for key in [
            "",
            "u",
            "ul",
            "ul$",
            "ul$x",
            "ul$-1",
            "ul$4294967296",
            "x-$",
            "el$1",
            "s-$ops",
        ] {
            assert_eq!(Grantee::read(key), Grantee::Unknown(key.to_owned()));
        }
        assert!(Grantee::Unknown(String::from("x-$")).keys(false).is_err());
    }

    #[test]
    fn what_is_local_and_below_is_said_once() {
        let list = |names: &[&std::ffi::CStr]| {
            let mut list = NvMap::new();
            for name in names {
                list.insert(*name, Value::Boolean);
            }
            list
        };
        let mut raw = NvMap::new();
        raw.insert(c"ul$5", list(&[c"snapshot", c"mount"]));
        raw.insert(c"ud$5", list(&[c"mount", c"hold"]));
        raw.insert(c"Ul$5", list(&[c"@ops"]));
        raw.insert(c"Ud$5", list(&[c"@ops"]));
        let delegation = Delegation::read(DatasetName::new("tank/a").unwrap(), &raw).unwrap();
        let grants: Vec<(Grantee, Vec<&str>)> = delegation
            .grants
            .iter()
            .map(|grant| {
                let names = grant.permissions.iter().map(Permission::name);
                (grant.grantee.clone(), names.collect())
            })
            .collect();
        assert_eq!(
            grants,
            [
                (Grantee::User(5, Reach::Local), vec!["snapshot"]),
                (Grantee::User(5, Reach::Descendants), vec!["hold"]),
                (Grantee::User(5, Reach::All), vec!["@ops", "mount"]),
            ]
        );
        raw.insert(c"el$", 1_u64);
        assert!(Delegation::read(DatasetName::new("tank/a").unwrap(), &raw).is_err());
    }
}
