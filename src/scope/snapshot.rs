use std::collections::BTreeMap;

use zfs_core::props::UserProps;
use zfs_core::{DatasetName, ErrorKind, Snapshot, SnapshotFilter, SnapshotName};

use super::tree::check_limit;
use super::{CountLimit, ScopeError, TenantDataset};
use crate::Tenant;
use crate::gate::{Capability, Operation};

/// Snapshots of a tenant's datasets that have one name and were taken in one transaction.
///
/// Nothing is kept of it but the snapshots: the name and the transaction group make it one.
#[derive(Clone, Debug)]
pub struct TenantSnapshot {
    pub(super) tenant: Tenant,
    name: String,
    txg: u64,
    datasets: Vec<TenantDataset>,
}

impl TenantSnapshot {
    /// Its name, after the `@`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The transaction group that it was taken in.
    #[must_use]
    pub fn txg(&self) -> u64 {
        self.txg
    }

    /// The tenant.
    #[must_use]
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// The datasets that it is of, parents first.
    #[must_use]
    pub fn datasets(&self) -> &[TenantDataset] {
        &self.datasets
    }

    /// Its snapshots, one of each dataset.
    ///
    /// # Errors
    ///
    /// None that is expected: the names are those of snapshots that were seen.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>, ScopeError> {
        let snapshot = |dataset: &TenantDataset| dataset.dataset().snapshot(&self.name);
        let snapshots: zfs_core::Result<_> = self.datasets.iter().map(snapshot).collect();
        Ok(snapshots?)
    }
}

impl Tenant {
    /// Everything that the tenant has: its filesystem and all below it, parents first, the staging
    /// area included.
    ///
    /// # Errors
    ///
    /// [`AnotherTenant`](ScopeError::AnotherTenant) when a dataset below has the mark of a tenant;
    /// `NotFound`, `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// None.
    pub fn datasets(&self) -> Result<Vec<TenantDataset>, ScopeError> {
        let members = self.members(&self.root())?;
        Ok(members.into_iter().map(|member| member.dataset).collect())
    }

    /// Takes the snapshot `name` of everything that the tenant has, the staging area included, in one
    /// transaction or not at all. A dataset that is created at the same moment may be left out.
    ///
    /// The capability has to be for [`Snapshot`](Operation::Snapshot) of each of its datasets.
    ///
    /// # Errors
    ///
    /// [`Refused`](ScopeError::Refused); [`AnotherTenant`](ScopeError::AnotherTenant); [`LimitReached`](ScopeError::LimitReached) for a
    /// `snapshot_limit` of the tenant or within it, to which the kernel does not hold root; otherwise
    /// as [`Zfs::create_snapshots`](zfs_core::Zfs::create_snapshots).
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permissions `snapshot` and, for properties, `userprop`.
    ///
    /// `lzc_snapshot`, `zfs-snapshot(8)` with `-r`.
    pub fn snapshot(
        &self,
        capability: &Capability,
        name: &str,
        props: &UserProps,
    ) -> Result<TenantSnapshot, ScopeError> {
        let members = self.members(&self.root())?;
        let names: Vec<_> = members.iter().map(|member| member.name()).collect();
        check_limit(&members, CountLimit::Snapshots, &names)?;
        let zfs = self.dataset().zfs();
        let snapshots: Result<Vec<SnapshotName>, _> =
            names.iter().map(|dataset| dataset.snapshot(name)).collect();
        let snapshots = snapshots.map_err(zfs_core::Error::from)?;
        capability.allow_all(Operation::Snapshot, names.iter().copied())?;
        zfs.create_snapshots(&snapshots, props)?;
        let txg = self.dataset().snapshot(name)?.stat()?.create_txg;
        Ok(TenantSnapshot {
            tenant: self.clone(),
            name: name.to_owned(),
            txg,
            datasets: members.into_iter().map(|member| member.dataset).collect(),
        })
    }

    /// The tenant's snapshots, oldest first: those of one name and one transaction together.
    ///
    /// # Errors
    ///
    /// As [`datasets`](Self::datasets).
    ///
    /// # Privileges
    ///
    /// None.
    pub fn snapshots(&self) -> Result<Vec<TenantSnapshot>, ScopeError> {
        let mut moments: BTreeMap<(u64, String), Vec<TenantDataset>> = BTreeMap::new();
        for dataset in self.datasets()? {
            let entries = match dataset.dataset().snapshots(&SnapshotFilter::new()) {
                Ok(entries) => entries,
                // It was destroyed meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            };
            for entry in entries {
                let moment = (entry.create_txg, entry.name.short().to_owned());
                moments.entry(moment).or_default().push(dataset.clone());
            }
        }
        let snapshot = |((txg, name), datasets)| TenantSnapshot {
            tenant: self.clone(),
            name,
            txg,
            datasets,
        };
        Ok(moments.into_iter().map(snapshot).collect())
    }

    /// The tenant's snapshot `name`.
    ///
    /// # Errors
    ///
    /// [`NoSnapshot`](ScopeError::NoSnapshot); [`NotTogether`](ScopeError::NotTogether) when datasets
    /// have snapshots of that name from different moments; as [`datasets`](Self::datasets).
    ///
    /// # Privileges
    ///
    /// None.
    pub fn find_snapshot(&self, name: &str) -> Result<TenantSnapshot, ScopeError> {
        // A name that no snapshot can have is an error, and not one that none has.
        self.dataset().snapshot(name)?;
        let mut found: Option<TenantSnapshot> = None;
        for dataset in self.datasets()? {
            let snapshot = dataset.dataset().snapshot(name)?;
            let txg = match snapshot.stat() {
                Ok(entry) => entry.create_txg,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            };
            match &mut found {
                Some(found) if found.txg == txg => found.datasets.push(dataset),
                Some(found) => {
                    let first = found.datasets.first().unwrap_or(&dataset);
                    return Err(ScopeError::NotTogether {
                        a: first.dataset().snapshot(name)?.name().clone(),
                        b: snapshot.name().clone(),
                    });
                }
                None => {
                    found = Some(TenantSnapshot {
                        tenant: self.clone(),
                        name: name.to_owned(),
                        txg,
                        datasets: vec![dataset],
                    });
                }
            }
        }
        found.ok_or_else(|| ScopeError::NoSnapshot {
            tenant: self.dataset().name().clone(),
            snapshot: name.to_owned(),
        })
    }
}

impl TenantDataset {
    /// Takes the snapshot `name` of this dataset alone.
    ///
    /// The capability has to be for [`Snapshot`](Operation::Snapshot) of it.
    ///
    /// # Errors
    ///
    /// [`Refused`](ScopeError::Refused), [`AnotherTenant`](ScopeError::AnotherTenant), [`LimitReached`](ScopeError::LimitReached);
    /// otherwise as [`Snapshot::create`].
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permissions `snapshot` and, for properties, `userprop`.
    ///
    /// `lzc_snapshot`, `zfs-snapshot(8)`.
    pub fn snapshot(
        &self,
        capability: &Capability,
        name: &str,
        props: &UserProps,
    ) -> Result<Snapshot, ScopeError> {
        check_limit(&self.line()?, CountLimit::Snapshots, &[self.name()])?;
        let snapshot = self.dataset().snapshot(name)?;
        capability.allow(Operation::Snapshot, self.name())?;
        snapshot.create(props)?;
        Ok(snapshot)
    }
}

/// Refuses a snapshot that somebody else's clones depend on.
pub(super) fn check_foreign_clones(
    tenant: &Tenant,
    snapshot: &SnapshotName,
    clones: &[DatasetName],
) -> Result<(), ScopeError> {
    let is_foreign = |clone: &&DatasetName| !tenant.contains(clone);
    let clones: Vec<DatasetName> = clones.iter().filter(is_foreign).cloned().collect();
    if clones.is_empty() {
        return Ok(());
    }
    Err(ScopeError::ForeignClones {
        tenant: tenant.dataset().name().clone(),
        snapshot: snapshot.clone(),
        clones,
    })
}
