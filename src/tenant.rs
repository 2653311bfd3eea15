use zfs_core::key::{Encryption, WrappingKey};
use zfs_core::props::{FilesystemLimit, KeyStatus, PropertySet, Quota, Reservation};
use zfs_core::props::{SnapshotLimit, Source, Sync};
use zfs_core::{CreateOptions, Dataset, DatasetName, ErrorKind};

use crate::gate::{Capability, Operation};
use crate::{Result, Room};

/// What a tenant's filesystem shall be like.
#[derive(Debug)]
pub struct TenantSpec {
    name: String,
    encryption: Encryption,
    props: PropertySet,
}

impl TenantSpec {
    /// The tenant `name`, whose data is encrypted with a key of its own.
    #[must_use]
    pub fn new(name: impl Into<String>, encryption: Encryption) -> Self {
        Self {
            name: name.into(),
            encryption,
            props: PropertySet::new(),
        }
    }

    /// The most bytes that the tenant may use, with all its snapshots and clones.
    #[must_use]
    pub fn quota(mut self, bytes: u64) -> Self {
        self.props = self.props.set(Quota(bytes));
        self
    }

    /// The bytes that the tenant is sure to get, with all its snapshots and clones.
    #[must_use]
    pub fn reservation(mut self, bytes: u64) -> Self {
        self.props = self.props.set(Reservation(bytes));
        self
    }

    /// The most filesystems and volumes below the tenant's own, stagings included.
    ///
    /// The kernel holds nobody to it who may change it, and so never root;
    /// [`Staging::create`](crate::scope::Staging::create) holds everybody to it.
    #[must_use]
    pub fn filesystem_limit(mut self, most: u64) -> Self {
        self.props = self.props.set(FilesystemLimit(most));
        self
    }

    /// The most snapshots of all that the tenant has.
    ///
    /// The kernel holds nobody to it who may change it, and so never root;
    /// [`Tenant::snapshot`] holds everybody to it.
    #[must_use]
    pub fn snapshot_limit(mut self, most: u64) -> Self {
        self.props = self.props.set(SnapshotLimit(most));
        self
    }

    /// When the tenant's synchronous writes count as done.
    #[must_use]
    pub fn sync(mut self, policy: Sync) -> Self {
        self.props = self.props.set(policy);
        self
    }

    /// Further properties, which replace those of the same name.
    #[must_use]
    pub fn properties(mut self, props: &PropertySet) -> Self {
        self.props = self.props.merge(props);
        self
    }

    /// Creates the tenant's filesystem below `parent`. Its key is loaded, and it is not mounted.
    ///
    /// The capability has to be for [`CreateTenant`](Operation::CreateTenant) of the new filesystem.
    ///
    /// # Errors
    ///
    /// [`Refused`](crate::Error::Refused); otherwise as [`Dataset::create`]; nothing is left behind
    /// then.
    ///
    /// # Privileges
    ///
    /// As [`Dataset::create`], with `userprop`.
    pub fn create(self, capability: &Capability, parent: &Dataset) -> Result<Tenant> {
        let dataset = parent.child(&self.name)?;
        capability.allow(Operation::CreateTenant, dataset.name())?;
        Ok(self.create_allowed(parent)?)
    }

    /// As [`create`](Self::create), once it was allowed.
    pub(crate) fn create_allowed(self, parent: &Dataset) -> zfs_core::Result<Tenant> {
        let dataset = parent.child(&self.name)?;
        let options = CreateOptions::filesystem()
            .properties(&self.props)
            .user(Tenant::PROPERTY, &self.name)?
            .encryption(self.encryption);
        dataset.create(&options)?;
        Ok(Tenant { dataset })
    }
}

/// A tenant's filesystem.
///
/// Like a [`Dataset`], this is a name, and promises nothing about whether the filesystem exists.
#[derive(Clone, Debug)]
pub struct Tenant {
    dataset: Dataset,
}

impl AsRef<DatasetName> for Tenant {
    fn as_ref(&self) -> &DatasetName {
        self.dataset.name()
    }
}

impl From<Dataset> for Tenant {
    /// The tenant whose filesystem this is.
    fn from(dataset: Dataset) -> Self {
        Self { dataset }
    }
}

impl Tenant {
    /// The user property that marks a tenant's filesystem and names the tenant.
    ///
    /// Like all that was set on a dataset itself, a clone does not have it.
    pub const PROPERTY: &'static str = "helix:tenant";

    /// The tenants immediately below `parent`, by name: the filesystems that
    /// [`TenantSpec::create`] marked, and others that have [`PROPERTY`](Self::PROPERTY) set on them.
    ///
    /// # Errors
    ///
    /// `NotFound`, `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// None.
    pub fn list(parent: &Dataset) -> zfs_core::Result<Vec<Self>> {
        parent
            .children_with_properties()?
            .into_iter()
            // What lies below a tenant, or below a parent that has the mark, only inherits it.
            .filter(|(_, props)| {
                matches!(
                    props.source(Self::PROPERTY),
                    Some(Source::Local | Source::Received)
                )
            })
            .map(|(entry, _)| parent.zfs().dataset(entry.name.as_str()).map(Self::from))
            .collect()
    }

    /// Its filesystem.
    #[must_use]
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Whether its key is loaded, so that its data can be reached.
    ///
    /// # Errors
    ///
    /// `NotFound`, `PoolSuspended`.
    pub fn is_unlocked(&self) -> zfs_core::Result<bool> {
        let encryption = self.dataset.encryption()?;
        Ok(encryption.is_none_or(|encryption| encryption.key == KeyStatus::Available))
    }

    /// Loads the tenant's key. A tenant that is unlocked already stays so if the key is its own.
    ///
    /// The capability has to be for [`LoadKey`](Operation::LoadKey) of the tenant.
    ///
    /// # Errors
    ///
    /// [`Refused`](crate::Error::Refused); `WrongKey`, whether or not a key is loaded; otherwise as [`Dataset::load_key`].
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permission `load-key`.
    pub fn unlock(&self, capability: &Capability, key: &WrappingKey) -> Result<()> {
        capability.allow(Operation::LoadKey, self.dataset.name())?;
        match self.dataset.load_key(key) {
            Err(error) if error.kind() == ErrorKind::KeyLoaded => {
                Ok(self.dataset.verify_key(key)?)
            }
            result => Ok(result?),
        }
    }

    /// Unloads the tenant's key, so that nobody reaches its data. A tenant that is locked already
    /// stays so.
    ///
    /// The capability has to be for [`UnloadKey`](Operation::UnloadKey) of the tenant.
    ///
    /// # Errors
    ///
    /// [`Refused`](crate::Error::Refused); `Busy` while its filesystem, or one below that shares the key, is mounted; otherwise as
    /// [`Dataset::unload_key`].
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permission `load-key`.
    pub fn lock(&self, capability: &Capability) -> Result<()> {
        capability.allow(Operation::UnloadKey, self.dataset.name())?;
        match self.dataset.unload_key() {
            Err(error) if error.kind() == ErrorKind::KeyNotLoaded => Ok(()),
            result => Ok(result?),
        }
    }

    /// How far the tenant is from the point where its writes fail.
    ///
    /// # Errors
    ///
    /// As [`Room::of`].
    pub fn headroom(&self) -> zfs_core::Result<Room> {
        Room::of(&self.dataset)
    }
}
