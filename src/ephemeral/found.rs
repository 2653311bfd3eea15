use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};
use zfs_core::mount::{Mount, UnmountMode};
use zfs_core::props::{Properties, Source, UserProps};
use zfs_core::{Dataset, DatasetEntry, DatasetName, ErrorKind, SnapshotFilter, SnapshotName, Zfs};

use super::remove::{Removed, remove};
use super::{EphemeralError, Expiry, InUse};
use crate::gate::{Capability, Operation};

/// Marks an ephemeral clone. Its value is the GUID of the snapshot that it is a clone of.
pub(super) const MARK: &str = "helix:ephemeral";
pub(super) const OWNER: &str = "helix:owner";
pub(super) const PURPOSE: &str = "helix:purpose";
pub(super) const EXPIRES: &str = "helix:expires";
/// Where it was mounted for everybody to see, if it was.
pub(super) const MOUNTED_AT: &str = "helix:mounted_at";

const REPLACED: &str = "replaced, promoted, or marked anew";
const EXTENDED: &str = "given another time to expire";

/// What a dataset lacks to be an ephemeral clone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NotEphemeral {
    /// It has no mark of its own. It may be somebody else's, or one that was being made when the
    /// machine went down: the kernel makes a clone first and writes its properties then.
    Unmarked,
    /// It has the mark, and is no clone: it was promoted, or somebody else wrote it there.
    NoClone,
    /// It has the mark, and is a clone of another snapshot than the mark says.
    OtherOrigin,
    /// It has the mark, and one of the other properties is missing or unreadable.
    Malformed,
}

impl fmt::Display for NotEphemeral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unmarked => "it has no mark of its own",
            Self::NoClone => "it has the mark, and is no clone",
            Self::OtherOrigin => "its mark is that of another snapshot",
            Self::Malformed => "its properties cannot be read",
        })
    }
}

/// An ephemeral clone, as ZFS has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EphemeralClone {
    /// Its name.
    #[serde(serialize_with = "text")]
    pub dataset: DatasetName,
    /// The snapshot that it is a clone of.
    #[serde(serialize_with = "text")]
    pub origin: SnapshotName,
    /// The GUID of that snapshot.
    pub origin_guid: u64,
    /// Its own GUID.
    pub guid: u64,
    /// The transaction group that it was made in.
    pub create_txg: u64,
    /// When it was made.
    #[serde(serialize_with = "time")]
    pub created: SystemTime,
    /// Who it is for.
    pub owner: String,
    /// What it is for.
    pub purpose: String,
    /// When it expires.
    #[serde(serialize_with = "time")]
    pub expires: SystemTime,
    /// Whether nothing can be written to it.
    pub read_only: bool,
    /// The folder that it was mounted on for everybody to see. One that is in a private namespace has
    /// none.
    pub mounted_at: Option<PathBuf>,
    /// The space that it takes, in bytes: what was written to it, and its own metadata.
    pub used: u64,
}

pub(super) fn text<T: fmt::Display, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn time<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_seconds(*time))
}

/// A property that was set on the clone itself. One that was received is a copy's, which is for
/// nobody here to remove.
pub(super) fn local<'p>(properties: &'p Properties, name: &str) -> Option<&'p str> {
    match properties.source(name) {
        Some(Source::Local) => properties.user(name),
        _ => None,
    }
}

impl EphemeralClone {
    /// The ephemeral clones of `area`, those that expire first first. Other datasets that are there
    /// are passed over; [`Reaper::plan`](super::Reaper::plan) tells of them.
    ///
    /// # Errors
    ///
    /// `NotFound`, `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// None.
    pub fn list(area: &Dataset) -> zfs_core::Result<Vec<Self>> {
        let mut found = Vec::new();
        for (entry, properties) in area.children_with_properties()? {
            if let Ok(clone) = Self::read(area.zfs(), &entry, &properties)? {
                found.push(clone);
            }
        }
        found.sort_by(|a, b| (a.expires, &a.dataset).cmp(&(b.expires, &b.dataset)));
        Ok(found)
    }

    /// The ephemeral clone that `dataset` is.
    ///
    /// # Errors
    ///
    /// [`NotEphemeral`](EphemeralError::NotEphemeral); `NotFound`, `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// None.
    pub fn of(dataset: &Dataset) -> Result<Self, EphemeralError> {
        let entry = dataset.stat()?;
        let properties = dataset.properties()?;
        Self::read(dataset.zfs(), &entry, &properties)?.map_err(|reason| {
            EphemeralError::NotEphemeral {
                dataset: dataset.name().clone(),
                reason,
            }
        })
    }

    pub(super) fn read(
        zfs: &Zfs,
        entry: &DatasetEntry,
        properties: &Properties,
    ) -> zfs_core::Result<Result<Self, NotEphemeral>> {
        let Some(mark) = local(properties, MARK) else {
            return Ok(Err(NotEphemeral::Unmarked));
        };
        let Some(origin) = entry.origin.clone() else {
            return Ok(Err(NotEphemeral::NoClone));
        };
        let origin_guid = match zfs.snapshot(origin.as_str())?.stat() {
            Ok(origin) => origin.guid,
            // The origin was renamed, or the clone promoted or destroyed, just now.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Err(NotEphemeral::OtherOrigin));
            }
            Err(error) => return Err(error),
        };
        if mark.parse() != Ok(origin_guid) {
            return Ok(Err(NotEphemeral::OtherOrigin));
        }
        let (Some(owner), Some(purpose), Some(expires), Some(created)) = (
            local(properties, OWNER),
            local(properties, PURPOSE),
            local(properties, EXPIRES).and_then(Expiry::parse),
            SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(properties.creation())),
        ) else {
            return Ok(Err(NotEphemeral::Malformed));
        };
        Ok(Ok(Self {
            dataset: entry.name.clone(),
            origin,
            origin_guid,
            guid: entry.guid,
            create_txg: entry.create_txg,
            created,
            owner: owner.to_owned(),
            purpose: purpose.to_owned(),
            expires,
            read_only: properties.read_only(),
            mounted_at: local(properties, MOUNTED_AT).map(PathBuf::from),
            used: properties.used(),
        }))
    }

    /// Whether its time has come.
    #[must_use]
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.expires <= now
    }

    /// Gives it another time to expire, later or earlier.
    ///
    /// The capability has to be for [`ChangeEphemeral`](Operation::ChangeEphemeral) of the clone.
    ///
    /// # Errors
    ///
    /// [`Refused`](EphemeralError::Refused); [`Expiry`](EphemeralError::Expiry); [`Changed`](EphemeralError::Changed) when it is not the
    /// clone that this is; otherwise as [`Dataset::set_user`].
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permission `userprop`.
    pub fn extend(
        &mut self,
        capability: &Capability,
        zfs: &Zfs,
        expiry: impl Into<Expiry>,
    ) -> Result<SystemTime, EphemeralError> {
        capability.allow(Operation::ChangeEphemeral, &self.dataset)?;
        self.extend_allowed(zfs, expiry)
    }

    /// As [`extend`](Self::extend), once it was allowed.
    pub(super) fn extend_allowed(
        &mut self,
        zfs: &Zfs,
        expiry: impl Into<Expiry>,
    ) -> Result<SystemTime, EphemeralError> {
        let expires = expiry.into().time(SystemTime::now())?;
        let dataset = zfs.dataset(self.dataset.as_str())?;
        if dataset.stat()?.guid != self.guid {
            return Err(self.changed(REPLACED));
        }
        let text = humantime::format_rfc3339_seconds(expires).to_string();
        dataset.set_user(&UserProps::new().set(EXPIRES, &text)?)?;
        self.expires = expires;
        Ok(expires)
    }

    /// Removes it, expired or not. It is unmounted where it was mounted for everybody to see, and
    /// destroyed if it is still the clone that it was when it was looked at. One that is gone
    /// already is no error.
    ///
    /// The capability has to be for [`ChangeEphemeral`](Operation::ChangeEphemeral) of the clone.
    ///
    /// # Errors
    ///
    /// [`Refused`](EphemeralError::Refused); [`InUse`](EphemeralError::InUse) with nothing destroyed; [`Changed`](EphemeralError::Changed);
    /// otherwise as [`Pool::run_program`](zfs_core::Pool::run_program).
    ///
    /// # Privileges
    ///
    /// Root.
    ///
    /// `zfs.sync.destroy` of `zfs-program(8)`: what is checked and what is done is one transaction.
    pub fn remove(&self, capability: &Capability, zfs: &Zfs) -> Result<(), EphemeralError> {
        capability.allow(Operation::ChangeEphemeral, &self.dataset)?;
        self.remove_allowed(zfs)
    }

    /// As [`remove`](Self::remove), once it was allowed.
    pub(super) fn remove_allowed(&self, zfs: &Zfs) -> Result<(), EphemeralError> {
        self.unmount(zfs)?;
        self.destroy(zfs)
    }

    pub(super) fn is_mounted(&self, zfs: &Zfs) -> zfs_core::Result<bool> {
        let mounts = zfs.dataset(self.dataset.as_str())?.mounts()?;
        Ok(!mounts.is_empty())
    }

    /// Unmounts it, if it is mounted where it was when it was made and nothing hangs on it.
    pub(super) fn unmount(&self, zfs: &Zfs) -> Result<(), EphemeralError> {
        let dataset = zfs.dataset(self.dataset.as_str())?;
        let mounts = dataset.mounts()?;
        if mounts.is_empty() {
            return Ok(());
        }
        let is_own =
            |mount: &Mount| mount.part.is_none() && self.mounted_at.as_ref() == Some(&mount.path);
        if let Some(other) = mounts.iter().find(|mount| !is_own(mount)) {
            return Err(self.in_use(InUse::Mounted(other.path.clone())));
        }
        let current = Self::of(&dataset)?;
        if current.guid != self.guid {
            return Err(self.changed(REPLACED));
        }
        if current.expires != self.expires {
            return Err(self.changed(EXTENDED));
        }
        if !dataset.children()?.is_empty() {
            return Err(self.in_use(InUse::Children));
        }
        if !dataset.snapshots(&SnapshotFilter::new())?.is_empty() {
            return Err(self.in_use(InUse::Snapshots));
        }
        match dataset.unmount(UnmountMode::Unused) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::Busy => Err(self.in_use(InUse::Busy)),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn destroy(&self, zfs: &Zfs) -> Result<(), EphemeralError> {
        match remove(zfs, self)? {
            Removed::Done | Removed::Gone => Ok(()),
            Removed::Replaced => Err(self.changed(REPLACED)),
            Removed::Extended => Err(self.changed(EXTENDED)),
            Removed::InUse(by) => Err(self.in_use(by)),
            Removed::Refused(errno) => Err(EphemeralError::NotDestroyed {
                dataset: self.dataset.clone(),
                errno,
            }),
        }
    }

    fn in_use(&self, by: InUse) -> EphemeralError {
        EphemeralError::InUse {
            dataset: self.dataset.clone(),
            by,
        }
    }

    fn changed(&self, was: &'static str) -> EphemeralError {
        EphemeralError::Changed {
            dataset: self.dataset.clone(),
            was,
        }
    }
}
