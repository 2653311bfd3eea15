use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;
use zfs_core::{DatasetName, ErrorKind};

use super::search::search;
use super::{KeyProvider, KeyRecord, KeyVersion, TenantKeyError};
use crate::Tenant;
use crate::gate::{Capability, Operation};

/// A tenant whose key is loaded now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Unlocked {
    /// Its filesystem.
    #[serde(serialize_with = "super::text")]
    pub dataset: DatasetName,
    /// The version of its key that opens it.
    pub version: KeyVersion,
    /// Whether that was loaded before: then it was checked, and is the provider's.
    pub was_loaded: bool,
    /// Whether a rotation is to be finished, which [`rotate`](super::rotate()) does.
    pub is_pending: bool,
}

/// Loads the key of a tenant. One that is loaded already is checked to be the provider's.
///
/// The version that opens it is the one that the tenant's filesystem names. Where that is not so, as
/// with a rotation that died in the middle, with a replica that received the new key of its source, or
/// with a dataset that names none, each version that the provider has is tried: the kernel knows the
/// right one.
///
/// Only the tenant's own key is loaded. A filesystem below that has another key of its own is a tenant
/// in this: `Tenant::from(dataset)`.
///
/// # Errors
///
/// | variant | when |
/// |---|---|
/// | `Refused` | the capability does not cover [`Operation::LoadKey`] of it |
/// | `NotRoot`, `NoName` | as [`KeyRecord::of`] |
/// | `Key` | the provider does not answer, or has no key of this name |
/// | `NoKeyOpens` | it has, and none is right |
/// | `Zfs` | `NotFound`, `PermissionDenied`, `PoolSuspended` |
///
/// # Privileges
///
/// Root, or the delegated permission `load-key`.
#[doc(alias = "lzc_load_key")]
pub fn unlock(
    capability: &Capability,
    tenant: &Tenant,
    provider: &dyn KeyProvider,
) -> Result<Unlocked, TenantKeyError> {
    let dataset = tenant.dataset();
    // The provider is not asked for what must not be loaded; and it may take its time.
    capability.allow(Operation::LoadKey, dataset.name())?;
    let record = KeyRecord::of(tenant)?;
    let mut was_loaded = false;
    let found = search(dataset, &record, provider, &mut |key| {
        capability.allow(Operation::LoadKey, dataset.name())?;
        was_loaded = false;
        match dataset.load_key(key) {
            Err(error) if error.kind() == ErrorKind::KeyLoaded => {
                was_loaded = true;
                Ok(dataset.verify_key(key)?)
            }
            outcome => Ok(outcome?),
        }
    })?;
    let found = found.map_err(|none| none.into_error(dataset, &record))?;
    Ok(Unlocked {
        dataset: dataset.name().clone(),
        version: found.version,
        was_loaded,
        is_pending: record.pending().is_some(),
    })
}

/// Loads the keys of many tenants, `workers` at a time: at the start of a machine, for example.
///
/// Each has its own outcome, in the order of `tenants`; none keeps another from being unlocked.
///
/// # Errors
///
/// Of each tenant those of [`unlock`].
///
/// # Privileges
///
/// As [`unlock`].
#[must_use = "the outcomes say which tenants are locked"]
pub fn unlock_all(
    capability: &Capability,
    tenants: &[Tenant],
    provider: &dyn KeyProvider,
    workers: usize,
) -> Vec<(Tenant, Result<Unlocked, TenantKeyError>)> {
    at_once(tenants, workers, &|tenant| {
        unlock(capability, tenant, provider)
    })
}

/// Does `action` with all tenants, some at a time.
pub(super) fn at_once<T: Send>(
    tenants: &[Tenant],
    workers: usize,
    action: &(dyn Fn(&Tenant) -> T + std::marker::Sync),
) -> Vec<(Tenant, T)> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::with_capacity(tenants.len()));
    std::thread::scope(|scope| {
        for _ in 0..workers.clamp(1, tenants.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(tenant) = tenants.get(at) else { break };
                    let outcome = action(tenant);
                    let mut outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
                    outcomes.push((at, tenant.clone(), outcome));
                }
            });
        }
    });
    let mut outcomes = outcomes
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    outcomes.sort_unstable_by_key(|&(at, ..)| at);
    outcomes
        .into_iter()
        .map(|(_, tenant, outcome)| (tenant, outcome))
        .collect()
}
