//! Everything that a tenant has, as it is now.

use zfs_core::listing::{Listed, Listing, RowName};
use zfs_core::props::{Properties, Source};
use zfs_core::{DatasetName, ErrorKind};

use super::{CountLimit, ScopeError, TenantDataset};
use crate::Tenant;

/// A dataset of a tenant, with its properties.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) dataset: TenantDataset,
    pub(super) props: Properties,
}

impl Member {
    pub(super) fn name(&self) -> &DatasetName {
        self.dataset.name()
    }

    /// A user property that was set on it, and not above.
    pub(super) fn own_property(&self, name: &str) -> Option<&str> {
        match self.props.source(name) {
            Some(Source::Local | Source::Received) => self.props.user(name),
            _ => None,
        }
    }

    /// Refuses the filesystem of a tenant within the tenant.
    fn check_owner(&self) -> Result<(), ScopeError> {
        let own = self.dataset.tenant().dataset().name();
        if self.name() == own || self.own_property(Tenant::PROPERTY).is_none() {
            return Ok(());
        }
        Err(ScopeError::AnotherTenant {
            tenant: own.clone(),
            dataset: self.name().clone(),
        })
    }

    /// How many filesystems or snapshots it may have, and has.
    fn limit(&self, limit: CountLimit) -> Option<(u64, u64)> {
        let props = &self.props;
        let (most, count) = match limit {
            CountLimit::Filesystems => (props.filesystem_limit(), props.filesystem_count()),
            CountLimit::Snapshots => (props.snapshot_limit(), props.snapshot_count()),
        };
        Some((most?, count.unwrap_or(0)))
    }
}

impl Tenant {
    /// `top` and all below it, parents first.
    pub(super) fn members(&self, top: &TenantDataset) -> Result<Vec<Member>, ScopeError> {
        let mut members = Vec::new();
        let all = Listing::new(Listed::DATASETS).all_properties();
        for row in top.dataset().list(&all)? {
            let row = row?;
            let (RowName::Dataset(name), Some(props)) = (row.name(), row.properties()) else {
                continue;
            };
            let member = Member {
                dataset: self.resolve(name)?,
                props: props.clone(),
            };
            member.check_owner()?;
            members.push(member);
        }
        Ok(members)
    }
}

impl TenantDataset {
    /// The tenant's filesystem, what is between it and this dataset, and the dataset itself, as far
    /// as they exist. Refuses what lies within another tenant.
    pub(super) fn line(&self) -> Result<Vec<Member>, ScopeError> {
        let mut line = Vec::new();
        let mut next = Some(self.name().clone());
        while let Some(name) = next.filter(|name| self.tenant().contains(name)) {
            let dataset = self.tenant().resolve(&name)?;
            match dataset.dataset().properties() {
                Ok(props) => line.push(Member { dataset, props }),
                // It is yet to be made.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
            next = name.parent();
        }
        line.reverse();
        line.iter().try_for_each(Member::check_owner)?;
        Ok(line)
    }
}

/// Refuses what would pass a limit that is set within the tenant, when there is one more thing below
/// each of `places`, or for snapshots in each of them.
pub(super) fn check_limit(
    members: &[Member],
    limit: CountLimit,
    places: &[&DatasetName],
) -> Result<(), ScopeError> {
    for member in members {
        let Some((most, count)) = member.limit(limit) else {
            continue;
        };
        let counts = |place: &&&DatasetName| match limit {
            CountLimit::Filesystems => member.name().is_ancestor_of(place),
            CountLimit::Snapshots => {
                member.name() == **place || member.name().is_ancestor_of(place)
            }
        };
        let new = places.iter().filter(counts).count();
        let wanted = count.saturating_add(new.try_into().unwrap_or(u64::MAX));
        if new > 0 && wanted > most {
            return Err(ScopeError::LimitReached {
                dataset: member.name().clone(),
                limit,
                most,
                wanted,
            });
        }
    }
    Ok(())
}
