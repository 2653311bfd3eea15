use serde::Serialize;
use zfs_core::Dataset;
use zfs_core::props::{KeyStatus, Properties, Source};

use super::{KeyId, KeyVersion, TenantKeyError};
use crate::Tenant;

/// The user property that names a dataset's key.
pub(super) const ID: &str = "helix:key_id";
/// The user property that says which version of it opens the dataset.
pub(super) const VERSION: &str = "helix:key_version";
/// The user property of a rotation that was begun: the version that is to open the dataset.
pub(super) const NEXT: &str = "helix:key_next";

/// What a dataset says about its key. The kernel has the last word on which key opens it.
///
/// These are user properties of the encryption root itself; what is inherited says nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KeyRecord {
    /// The key's name: `helix:key_id`, and without that the tenant's own name
    /// ([`Tenant::PROPERTY`]).
    pub id: KeyId,
    /// The version that opens it, as far as is noted: `helix:key_version`.
    pub version: Option<KeyVersion>,
    /// The version that a rotation is about to give it, or has given it: `helix:key_next`.
    pub next: Option<KeyVersion>,
    /// Whether the key is loaded.
    pub is_loaded: bool,
    /// Whether `helix:key_id` is set.
    #[serde(skip)]
    pub(super) is_named: bool,
}

impl KeyRecord {
    /// Of a tenant, whose filesystem must be an encryption root.
    ///
    /// # Errors
    ///
    /// `NotRoot`, `NoName`; `Zfs` when its properties cannot be read.
    ///
    /// # Privileges
    ///
    /// None.
    pub fn of(tenant: &Tenant) -> Result<Self, TenantKeyError> {
        let dataset = tenant.dataset();
        let properties = dataset.properties()?;
        let root = properties.encryption_root();
        if root.as_ref() != Some(dataset.name()) {
            return Err(TenantKeyError::NotRoot {
                dataset: dataset.name().clone(),
                root,
            });
        }
        let name = own(&properties, ID);
        let version = |property| own(&properties, property).and_then(|text| text.parse().ok());
        Ok(Self {
            id: id(dataset, name.or_else(|| own(&properties, Tenant::PROPERTY)))?,
            version: version(VERSION),
            next: version(NEXT),
            is_loaded: properties.key_status() == Some(KeyStatus::Available),
            is_named: name.is_some(),
        })
    }

    /// The version of a rotation that is not finished.
    #[must_use]
    pub fn pending(&self) -> Option<KeyVersion> {
        self.next.filter(|next| Some(*next) > self.version)
    }
}

fn id(dataset: &Dataset, name: Option<&str>) -> Result<KeyId, TenantKeyError> {
    name.and_then(|name| KeyId::new(name).ok())
        .ok_or_else(|| TenantKeyError::NoName {
            dataset: dataset.name().clone(),
            name: name.map(str::to_owned),
        })
}

fn own<'p>(properties: &'p Properties, name: &str) -> Option<&'p str> {
    match properties.source(name) {
        Some(Source::Local | Source::Received) => properties.user(name),
        _ => None,
    }
}
