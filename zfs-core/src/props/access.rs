//! Reading and setting the properties of a handle.

use super::index::{CaseSensitivity, Normalization, Toggle};
use super::setting::Setting;
use super::table::{Form, Kinds, Prop};
use super::value::{PropValue, shown_value};
use super::{Properties, PropertySet, UserProps};
use crate::dataset::Dataset;
use crate::error::{Errno, Error, ErrorKind, Operation, Result};
use crate::history::Line;
use crate::list::DatasetKind;
use crate::nv::{NvMap, Value};
use crate::snapshot::Snapshot;
use crate::zfs::Zfs;
use std::ffi::{CStr, CString, c_ulong};
use zfs_core_sys::ioctl::{
    ZFS_IOC_INHERIT_PROP, ZFS_IOC_OBJSET_RECVD_PROPS, ZFS_IOC_OBJSET_STATS,
    ZFS_IOC_OBJSET_ZPLPROPS, ZFS_IOC_SET_PROP,
};

/// What belongs to the files of a filesystem rather than to the dataset: the on-disk format, the
/// rules of file names, and from ZFS 2.4 on the default quotas of users, groups and projects.
///
/// `ZFS_IOC_OBJSET_ZPLPROPS`.
#[derive(Clone, Debug, PartialEq)]
pub struct FileProperties(NvMap);

impl FileProperties {
    pub(crate) fn from_nvmap(list: NvMap) -> Self {
        Self(list)
    }

    /// The version of the on-disk format.
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        self.0.u64(Prop::Version.name())
    }

    /// The Unicode normalization by which file names are compared.
    #[must_use]
    pub fn normalization(&self) -> Option<Normalization> {
        self.value()
    }

    /// Whether file names must be UTF-8.
    #[must_use]
    pub fn utf8_only(&self) -> bool {
        self.0.u64(Prop::Utf8Only.name()) == Some(Toggle::On.raw())
    }

    /// Whether file names that differ in case are different.
    #[must_use]
    pub fn case_sensitivity(&self) -> Option<CaseSensitivity> {
        self.value()
    }

    /// Any of them as its type: `file_properties.value::<DefaultUserQuota>()`.
    #[must_use]
    pub fn value<S: Setting>(&self) -> Option<S> {
        S::from_value(self.0.get(S::PROP.name())?)
    }

    /// Any of them.
    #[must_use]
    pub fn get(&self, prop: Prop) -> Option<PropValue> {
        let raw = self.0.u64(prop.name())?;
        Some(match prop.entry().form {
            Form::Index(..) => PropValue::Index { prop, raw },
            _ => PropValue::Number(raw),
        })
    }
}

/// A dataset or a snapshot, of which properties are read and set alike.
struct Target<'a> {
    zfs: &'a Zfs,
    name: &'a CStr,
}

impl Target<'_> {
    fn error(&self, operation: Operation, errno: Errno) -> Error {
        Error::new(operation, self.name.to_string_lossy(), errno)
    }

    fn refuse<T>(&self, operation: Operation, kind: ErrorKind, detail: String) -> Result<T> {
        Err(Error::refused(
            operation,
            self.name.to_string_lossy(),
            kind,
            detail,
        ))
    }

    /// The list that a request answers with.
    fn read(&self, number: c_ulong) -> Result<NvMap> {
        const OPERATION: Operation = Operation::GetProperties;
        let mut request = self.zfs.request(number, self.name).answered();
        request.read().map_err(|errno| {
            let error = self.error(OPERATION, errno);
            // Also after an error the kernel tells what it found under the name.
            let kind = DatasetKind::from_raw(request.stats().dds_type);
            match number == ZFS_IOC_OBJSET_ZPLPROPS && kind == DatasetKind::Volume {
                true => error.with_kind(ErrorKind::WrongKind),
                false => error,
            }
        })?;
        request
            .answer()
            .map_err(|refusal| refusal.into_error(OPERATION, self.name.to_string_lossy()))
    }

    fn properties(&self) -> Result<Properties> {
        Properties::from_nvmap(
            &self.name.to_string_lossy(),
            self.read(ZFS_IOC_OBJSET_STATS)?,
        )
    }

    fn file_properties(&self) -> Result<FileProperties> {
        self.read(ZFS_IOC_OBJSET_ZPLPROPS).map(FileProperties)
    }

    fn property(&self, prop: Prop) -> Result<Option<PropValue>> {
        if prop.is_of_files() {
            return match self.file_properties() {
                Ok(properties) => Ok(properties.get(prop)),
                Err(error) if error.kind() == ErrorKind::WrongKind => Ok(None),
                Err(error) => Err(error),
            };
        }
        Ok(self.properties()?.get(prop))
    }

    fn set(&self, values: &NvMap) -> Result<()> {
        const OPERATION: Operation = Operation::SetProperties;
        if values.is_empty() {
            return Ok(());
        }
        if !self.zfs.guards.is_empty() {
            let object = self.name.to_string_lossy();
            for (name, value) in values.iter() {
                let name = name.to_string_lossy();
                let value = shown_value(&name, value);
                self.zfs
                    .guards
                    .set(OPERATION, &object, &name, Some(&value))?;
            }
        }
        let mut request = self
            .zfs
            .request(ZFS_IOC_SET_PROP, self.name)
            .input(values)
            .map_err(|refusal| refusal.into_error(OPERATION, self.name.to_string_lossy()))?
            .answered();
        let Err(errno) = request.run() else {
            self.zfs.record(|| {
                Line::new("zfs set")
                    .properties(None, values)
                    .arg(self.name.to_string_lossy())
            });
            return Ok(());
        };
        let failures = request.failures(OPERATION);
        let failed = failures.failures.len() + failures.suppressed as usize;
        let error = self.error(OPERATION, errno).with_failures(failures);
        Err(match values.len().saturating_sub(failed) {
            0 => error,
            // An error of the request as a whole names no property, and none is set.
            _ if failed == 0 => error,
            set => error.with_detail(format!("{set} of {} are set", values.len())),
        })
    }

    fn inherit(&self, property: &str, received: bool) -> Result<()> {
        const OPERATION: Operation = Operation::InheritProperty;
        let refuse = |why: &str| {
            self.refuse(
                OPERATION,
                ErrorKind::InvalidProperty,
                format!("{property}: {why}"),
            )
        };
        if Prop::from_name(property).is_some_and(|prop| prop.is_read_only() || prop.is_set_once()) {
            return refuse("the property cannot be changed");
        }
        let mut request = self.zfs.request(ZFS_IOC_INHERIT_PROP, self.name);
        let fits = CString::new(property).is_ok_and(|property| request.set_value(&property));
        if !fits {
            return refuse("not the name of a property");
        }
        self.zfs
            .guards
            .set(OPERATION, &self.name.to_string_lossy(), property, None)?;
        request.cmd().zc_cookie = received.into();
        request
            .run()
            .map_err(|errno| self.error(OPERATION, errno).with_detail(property))?;
        self.zfs.record(|| {
            Line::new("zfs inherit")
                .flag("-S", received)
                .arg(property)
                .arg(self.name.to_string_lossy())
        });
        Ok(())
    }
}

impl Dataset {
    fn target(&self) -> Target<'_> {
        Target {
            zfs: &self.zfs,
            name: self.name.as_c_str(),
        }
    }

    /// All its properties, as they are in one moment.
    ///
    /// # Errors
    ///
    /// `NotFound`, `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// None.
    ///
    /// `ZFS_IOC_OBJSET_STATS`, `zfs-get(8)`.
    #[doc(alias = "ZFS_IOC_OBJSET_STATS")]
    pub fn properties(&self) -> Result<Properties> {
        self.target().properties()
    }

    /// One native property: `None` when it does not apply or has no value. This takes as long as
    /// [`properties`](Self::properties) does.
    ///
    /// # Errors
    ///
    /// `NotFound`, `PoolSuspended`.
    pub fn property(&self, prop: Prop) -> Result<Option<PropValue>> {
        self.target().property(prop)
    }

    /// What belongs to the files of a filesystem rather than to the dataset.
    ///
    /// # Errors
    ///
    /// `NotFound`; `WrongKind` for a volume; `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// None.
    ///
    /// `ZFS_IOC_OBJSET_ZPLPROPS`.
    #[doc(alias = "ZFS_IOC_OBJSET_ZPLPROPS")]
    pub fn file_properties(&self) -> Result<FileProperties> {
        self.target().file_properties()
    }

    /// The values that came with a received stream, whether they are in force or not. Empty when
    /// none ever came.
    ///
    /// # Errors
    ///
    /// `NotFound`, `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// None.
    ///
    /// `ZFS_IOC_OBJSET_RECVD_PROPS`, `zfs-get(8)` with `-o received`.
    #[doc(alias = "ZFS_IOC_OBJSET_RECVD_PROPS")]
    pub fn received_properties(&self) -> Result<PropertySet> {
        let list = match self.target().read(ZFS_IOC_OBJSET_RECVD_PROPS) {
            Ok(list) => list,
            // The kernel's way to say that nothing was ever received, or that there is no dataset.
            Err(error) if error.errno() == Some(Errno::ENOTSUP) => {
                self.stat()?;
                NvMap::new()
            }
            Err(error) => return Err(error),
        };
        let value = |entry: &Value| entry.as_list()?.get("value").cloned();
        Ok(PropertySet::from_values(
            list.iter()
                .filter_map(|(name, entry)| Some((name.to_owned(), value(entry)?)))
                .collect(),
        ))
    }

    /// Sets one native property.
    ///
    /// Most take effect at once, on what is mounted too. The kernel does not mount, share or
    /// format anything because of a property.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `NotFound` | the dataset does not exist |
    /// | `InvalidProperty` | the property does not apply to this kind of dataset, can only be set when one is created, or has no such value |
    /// | `NoSpace` | a quota is below what is in use; a reservation does not fit |
    /// | `Unsupported` | the pool's features do not include the value |
    /// | `PermissionDenied` | neither root nor delegated |
    /// | `ReadOnlyPool`, `PoolSuspended` | as they say |
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permission of the property's name.
    ///
    /// `ZFS_IOC_SET_PROP`, `zfs-set(8)`.
    #[doc(alias = "ZFS_IOC_SET_PROP")]
    pub fn set<S: Setting>(&self, setting: S) -> Result<()> {
        self.set_all(&PropertySet::new().set(setting))
    }

    /// Sets several properties.
    ///
    /// **Not all or nothing**: the kernel sets what it can. [`Error::failures`] names each property
    /// that is not set and says why. When an error names none, nothing is set.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    ///
    /// # Privileges
    ///
    /// As [`set`](Self::set); `userprop` for user properties.
    #[doc(alias = "ZFS_IOC_SET_PROP")]
    pub fn set_all(&self, props: &PropertySet) -> Result<()> {
        self.check_settable(props)?;
        self.target().set(&props.to_nvmap())
    }

    /// What the kernel leaves to the `zfs` command to check: it would write down a value that never
    /// takes effect.
    fn check_settable(&self, props: &PropertySet) -> Result<()> {
        const OPERATION: Operation = Operation::SetProperties;
        let refuse = |prop: Prop, why: &str| {
            self.target().refuse(
                OPERATION,
                ErrorKind::InvalidProperty,
                format!("{prop}: {why}"),
            )
        };
        if let Some(prop) = props.natives().find(|prop| prop.is_set_once()) {
            return refuse(prop, "can only be set when the dataset is created");
        }
        let for_all = |prop: &Prop| {
            prop.kinds().meets(Kinds::FILESYSTEM) && prop.kinds().meets(Kinds::VOLUME)
        };
        if props.natives().all(|prop| for_all(&prop)) {
            return Ok(());
        }
        let entry = self.stat().map_err(|error| error.during(OPERATION))?;
        let kind = match entry.kind {
            DatasetKind::Filesystem => Kinds::FILESYSTEM,
            DatasetKind::Volume => Kinds::VOLUME,
            DatasetKind::Unknown(_) => return Ok(()),
        };
        match props.natives().find(|prop| !prop.kinds().meets(kind)) {
            Some(prop) => refuse(prop, &format!("does not apply to a {}", entry.kind)),
            None => Ok(()),
        }
    }

    /// Sets user properties. Those that are not named stay as they are.
    ///
    /// # Errors
    ///
    /// As [`set_all`](Self::set_all).
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permission `userprop`.
    #[doc(alias = "ZFS_IOC_SET_PROP")]
    pub fn set_user(&self, props: &UserProps) -> Result<()> {
        self.target().set(&props.to_nvmap())
    }

    /// Lets a property be inherited again: a [`Prop`], or the name of a user property. A received
    /// value is passed over too.
    ///
    /// # Errors
    ///
    /// `InvalidProperty` for a property that is not inherited (set `Quota::NONE`, for example,
    /// instead) and for a name that no property has; `NotFound`; `PermissionDenied`;
    /// `ReadOnlyPool`, `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permission of the property's name.
    ///
    /// `ZFS_IOC_INHERIT_PROP`, `zfs-inherit(8)`.
    #[doc(alias = "ZFS_IOC_INHERIT_PROP")]
    pub fn inherit(&self, property: impl AsRef<str>) -> Result<()> {
        self.target().inherit(property.as_ref(), false)
    }

    /// Goes back to the value that was received, or inherits when none was.
    ///
    /// Unlike [`inherit`](Self::inherit), this also takes properties that are not inherited, which
    /// then have the received value or their default.
    ///
    /// # Errors
    ///
    /// As [`inherit`](Self::inherit). `InvalidProperty` for `volsize` and `version`.
    ///
    /// # Privileges
    ///
    /// As [`inherit`](Self::inherit).
    ///
    /// `ZFS_IOC_INHERIT_PROP`, `zfs-inherit(8)` with `-S`.
    #[doc(alias = "ZFS_IOC_INHERIT_PROP")]
    pub fn revert_to_received(&self, property: impl AsRef<str>) -> Result<()> {
        self.target().inherit(property.as_ref(), true)
    }
}

impl Snapshot {
    fn target(&self) -> Target<'_> {
        Target {
            zfs: &self.zfs,
            name: self.name.as_c_str(),
        }
    }

    /// All its properties, as they are in one moment.
    ///
    /// # Errors
    ///
    /// `NotFound`, `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// None.
    ///
    /// `ZFS_IOC_OBJSET_STATS`, `zfs-get(8)`.
    #[doc(alias = "ZFS_IOC_OBJSET_STATS")]
    pub fn properties(&self) -> Result<Properties> {
        self.target().properties()
    }

    /// One native property: `None` when it does not apply or has no value.
    ///
    /// # Errors
    ///
    /// `NotFound`, `PoolSuspended`.
    pub fn property(&self, prop: Prop) -> Result<Option<PropValue>> {
        self.target().property(prop)
    }

    /// What belongs to the files of a filesystem's snapshot.
    ///
    /// # Errors
    ///
    /// As [`Dataset::file_properties`].
    #[doc(alias = "ZFS_IOC_OBJSET_ZPLPROPS")]
    pub fn file_properties(&self) -> Result<FileProperties> {
        self.target().file_properties()
    }

    /// Sets user properties, the only ones that a snapshot can have of its own.
    ///
    /// # Errors
    ///
    /// As [`Dataset::set_user`].
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permission `userprop`.
    #[doc(alias = "ZFS_IOC_SET_PROP")]
    pub fn set_user(&self, props: &UserProps) -> Result<()> {
        self.target().set(&props.to_nvmap())
    }

    /// Lets a user property be inherited from the dataset again.
    ///
    /// # Errors
    ///
    /// As [`Dataset::inherit`].
    #[doc(alias = "ZFS_IOC_INHERIT_PROP")]
    pub fn inherit_user(&self, name: &str) -> Result<()> {
        if Prop::from_name(name).is_some() {
            return self.target().refuse(
                Operation::InheritProperty,
                ErrorKind::InvalidProperty,
                format!("{name}: a snapshot has only user properties of its own"),
            );
        }
        self.target().inherit(name, false)
    }
}
