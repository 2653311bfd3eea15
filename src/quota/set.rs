use zfs_core::props::PropertySet;
use zfs_core::{Dataset, Owner};

use crate::Result;
use crate::gate::{Capability, Operation};

/// Sets properties of `dataset`: its quotas and limits, and any others.
///
/// The capability has to be for [`SetProperties`](Operation::SetProperties) of the dataset.
///
/// # Errors
///
/// [`Refused`](crate::Error::Refused); otherwise as [`Dataset::set_all`].
///
/// # Privileges
///
/// As [`Dataset::set_all`].
pub fn set_properties(
    capability: &Capability,
    dataset: &Dataset,
    props: &PropertySet,
) -> Result<()> {
    capability.allow(Operation::SetProperties, dataset.name())?;
    Ok(dataset.set_all(props)?)
}

/// Sets how many bytes an owner may use in `dataset`; `None` takes the limit away.
///
/// The capability has to be for [`SetProperties`](Operation::SetProperties) of the dataset.
///
/// # Errors
///
/// [`Refused`](crate::Error::Refused); otherwise as [`Dataset::set_owner_quota`].
///
/// # Privileges
///
/// As [`Dataset::set_owner_quota`].
pub fn set_owner_quota(
    capability: &Capability,
    dataset: &Dataset,
    owner: &Owner,
    bytes: Option<u64>,
) -> Result<()> {
    capability.allow(Operation::SetProperties, dataset.name())?;
    Ok(dataset.set_owner_quota(owner, bytes)?)
}

/// Sets how many files an owner may have in `dataset`; `None` takes the limit away.
///
/// The capability has to be for [`SetProperties`](Operation::SetProperties) of the dataset.
///
/// # Errors
///
/// [`Refused`](crate::Error::Refused); otherwise as [`Dataset::set_owner_object_quota`].
///
/// # Privileges
///
/// As [`Dataset::set_owner_object_quota`].
pub fn set_owner_object_quota(
    capability: &Capability,
    dataset: &Dataset,
    owner: &Owner,
    objects: Option<u64>,
) -> Result<()> {
    capability.allow(Operation::SetProperties, dataset.name())?;
    Ok(dataset.set_owner_object_quota(owner, objects)?)
}
