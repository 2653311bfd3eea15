use serde::Serialize;
use zfs_core::mount::UnmountMode;
use zfs_core::{DatasetName, ErrorKind};

use super::unlock::at_once;
use super::{KeyRecord, TenantKeyError};
use crate::Tenant;
use crate::gate::{Capability, Operation};

/// How tenants are parked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParkOptions {
    unmount: bool,
}

impl ParkOptions {
    /// What is mounted stays, and with it the key.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Unmounts first what is mounted of the tenant in this mount namespace. What somebody uses stays
    /// mounted, and the tenant unlocked.
    #[must_use]
    pub fn unmount(mut self) -> Self {
        self.unmount = true;
        self
    }
}

/// A tenant whose key is loaded no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Parked {
    /// Its filesystem.
    #[serde(serialize_with = "super::text")]
    pub dataset: DatasetName,
    /// What was unmounted.
    #[serde(serialize_with = "super::texts")]
    pub unmounted: Vec<DatasetName>,
    /// Whether the key was loaded before.
    pub was_loaded: bool,
}

/// Parks a tenant: unloads its key, so that nobody reaches its data, nor that of clones of it.
///
/// A filesystem below that has another key of its own keeps it.
///
/// # Errors
///
/// | variant | when |
/// |---|---|
/// | `Refused` | the capability does not cover [`Operation::UnloadKey`] of it |
/// | `NotRoot`, `NoName` | as [`KeyRecord::of`] |
/// | `InUse` | some of its data, a clone's perhaps, is mounted or open. With [`ParkOptions::unmount`] what nobody used is unmounted |
/// | `Zfs` | `NotFound`, `PermissionDenied`, `PoolSuspended` |
///
/// # Privileges
///
/// Root, or the delegated permission `load-key`; to unmount, root in its mount namespace.
#[doc(alias = "lzc_unload_key")]
pub fn park(
    capability: &Capability,
    tenant: &Tenant,
    options: &ParkOptions,
) -> Result<Parked, TenantKeyError> {
    let dataset = tenant.dataset();
    let name = dataset.name();
    let record = KeyRecord::of(tenant)?;
    let mut unmounted = Vec::new();
    if options.unmount {
        // The deepest first, for a filesystem can be mounted in that above it.
        for mount in mounts_below(tenant)?.into_iter().rev() {
            capability.allow(Operation::UnloadKey, &mount)?;
            let mounted = dataset.zfs().dataset(mount.as_str())?;
            match mounted.unmount(UnmountMode::Unused) {
                Err(error) if error.kind() == ErrorKind::Busy => {
                    return Err(TenantKeyError::InUse {
                        dataset: name.clone(),
                        mounted: mounts_below(tenant)?,
                    });
                }
                outcome => drop(outcome?),
            }
            unmounted.push(mount);
        }
    }
    capability.allow(Operation::UnloadKey, name)?;
    match dataset.unload_key() {
        Err(error) if error.kind() == ErrorKind::KeyNotLoaded => {}
        Err(error) if error.kind() == ErrorKind::Busy => {
            return Err(TenantKeyError::InUse {
                dataset: name.clone(),
                mounted: mounts_below(tenant)?,
            });
        }
        outcome => outcome?,
    }
    Ok(Parked {
        dataset: name.clone(),
        unmounted,
        was_loaded: record.is_loaded,
    })
}

/// Parks many tenants, `workers` at a time. Each has its own outcome, in the order of `tenants`.
///
/// # Errors
///
/// Of each tenant those of [`park`].
///
/// # Privileges
///
/// As [`park`].
#[must_use = "the outcomes say which tenants are not locked"]
pub fn park_all(
    capability: &Capability,
    tenants: &[Tenant],
    options: &ParkOptions,
    workers: usize,
) -> Vec<(Tenant, Result<Parked, TenantKeyError>)> {
    at_once(tenants, workers, &|tenant| {
        park(capability, tenant, options)
    })
}

/// What is mounted of a tenant, in the order in which it was.
fn mounts_below(tenant: &Tenant) -> Result<Vec<DatasetName>, TenantKeyError> {
    let top = tenant.dataset().name();
    let mut names: Vec<DatasetName> = Vec::new();
    for mount in tenant.dataset().zfs().mounts()? {
        let name = mount.dataset;
        let is_here = name == *top || top.is_ancestor_of(&name);
        if is_here && mount.snapshot.is_none() && !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}
