use std::path::{Path, PathBuf};
use std::time::SystemTime;

use zfs_core::props::{CanMount, Mountpoint, PropertySet, ReadOnly};
use zfs_core::{DatasetKind, DatasetName, Snapshot};

use super::found::{EXPIRES, MARK, MOUNTED_AT, OWNER, PURPOSE};
use super::{EphemeralError, Expiry};

/// Where an ephemeral clone is mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EphemeralMount {
    /// Nowhere.
    #[default]
    No,
    /// On this folder, which must exist, in the mount namespace of the thread that makes it.
    At(PathBuf),
    /// On this folder, which must exist, in a mount namespace of its own: only what runs through
    /// [`Ephemeral::run`](super::Ephemeral::run) and [`Ephemeral::spawn`](super::Ephemeral::spawn)
    /// sees it.
    Private(PathBuf),
}

impl EphemeralMount {
    pub(super) fn folder(&self) -> Option<&Path> {
        match self {
            Self::No => None,
            Self::At(path) | Self::Private(path) => Some(path),
        }
    }
}

/// What an ephemeral clone shall be like.
///
/// It is read-only and not mounted unless something else is said.
#[derive(Clone, Debug)]
pub struct EphemeralSpec {
    area: DatasetName,
    name: Option<String>,
    owner: String,
    purpose: String,
    expires: Expiry,
    writable: bool,
    mount: EphemeralMount,
    props: PropertySet,
}

impl EphemeralSpec {
    /// A clone immediately below the dataset `area`, for `owner` and `purpose`, which are words for
    /// people, until it expires.
    ///
    /// The area is a filesystem of the same pool, with nothing but ephemeral clones in it. Its
    /// quota is theirs.
    #[must_use]
    pub fn new(
        area: impl AsRef<DatasetName>,
        owner: impl Into<String>,
        purpose: impl Into<String>,
        expires: impl Into<Expiry>,
    ) -> Self {
        Self {
            area: area.as_ref().clone(),
            name: None,
            owner: owner.into(),
            purpose: purpose.into(),
            expires: expires.into(),
            writable: false,
            mount: EphemeralMount::No,
            props: PropertySet::new(),
        }
    }

    /// Gives it this name, of one part. Otherwise it gets one that no other has: that of the
    /// dataset which it is a clone of, and a number.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Lets it be written to. What is written takes space as everywhere.
    #[must_use]
    pub fn writable(mut self) -> Self {
        self.writable = true;
        self
    }

    /// Mounts it.
    #[must_use]
    pub fn mount(mut self, mount: EphemeralMount) -> Self {
        self.mount = mount;
        self
    }

    /// Further properties, such as a [`RefQuota`](zfs_core::props::RefQuota). Those that this
    /// module writes itself stay what they are.
    #[must_use]
    pub fn properties(mut self, props: &PropertySet) -> Self {
        self.props = self.props.merge(props);
        self
    }

    /// What the kernel is asked for.
    pub(super) fn prepare(&self, snapshot: &Snapshot) -> Result<Prepared, EphemeralError> {
        let name = self.area.child(&match &self.name {
            Some(name) => name.clone(),
            None => unused(snapshot),
        });
        let target = name.map_err(zfs_core::Error::from)?;
        if target.parent().as_ref() != Some(&self.area) {
            return Err(EphemeralError::Name {
                name: target.to_string(),
            });
        }
        let expires = self.expires.time(SystemTime::now())?;
        let origin = snapshot.stat()?;
        let is_volume = origin.kind == DatasetKind::Volume;
        let mount = match &self.mount {
            EphemeralMount::No => EphemeralMount::No,
            _ if is_volume => {
                return Err(EphemeralError::Volume {
                    dataset: snapshot.name().dataset(),
                });
            }
            EphemeralMount::At(path) => EphemeralMount::At(folder(path)?),
            EphemeralMount::Private(path) => EphemeralMount::Private(folder(path)?),
        };
        let mut props = self.props.clone().set(ReadOnly(!self.writable));
        if !is_volume {
            // Nothing mounts it by itself, not even when the machine starts.
            props = props.set(CanMount::NoAuto).set(Mountpoint::new("none")?);
        }
        if let EphemeralMount::At(path) = &mount {
            props = props.user(MOUNTED_AT, &path.to_string_lossy())?;
        }
        let props = props
            .user(MARK, &origin.guid.to_string())?
            .user(OWNER, &self.owner)?
            .user(PURPOSE, &self.purpose)?
            .user(
                EXPIRES,
                &humantime::format_rfc3339_seconds(expires).to_string(),
            )?;
        Ok(Prepared {
            target,
            props,
            mount,
        })
    }
}

/// A clone that can be made.
pub(super) struct Prepared {
    pub(super) target: DatasetName,
    pub(super) props: PropertySet,
    pub(super) mount: EphemeralMount,
}

/// The folder as the table of mounts will have it.
fn folder(path: &Path) -> Result<PathBuf, EphemeralError> {
    let refused = || EphemeralError::Folder {
        path: path.to_owned(),
    };
    let found = path.canonicalize().map_err(|_| refused())?;
    let is_text = found.to_str().is_some();
    match path.is_absolute() && found.is_dir() && is_text {
        true => Ok(found),
        false => Err(refused()),
    }
}

/// A name that no other clone has: the time is this process's alone in the nanosecond.
fn unused(snapshot: &Snapshot) -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let nanos = since.map_or(0, |since| since.as_nanos());
    let id = std::process::id();
    format!("{}-{nanos:x}-{id:x}", snapshot.name().dataset().base())
}
