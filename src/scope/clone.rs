//! Clones within a tenant, and their promotion.

use zfs_core::props::{Properties, PropertySet};
use zfs_core::{SnapshotFilter, SnapshotName};

use super::program::{self, PROMOTE};
use super::snapshot::check_foreign_clones;
use super::tree::check_limit;
use super::{CountLimit, ScopeError, TenantDataset};
use crate::Tenant;
use crate::gate::{Capability, Operation};

/// A clone that may be promoted.
struct Promotion {
    clone: TenantDataset,
    origin: SnapshotName,
}

impl TenantDataset {
    /// Makes this dataset a clone of `origin`, which has to be a snapshot of the same tenant, with the
    /// properties `props`.
    ///
    /// The capability has to be for [`Clone`](Operation::Clone) of the dataset that `origin` is of, and
    /// of this one.
    ///
    /// # Errors
    ///
    /// [`Refused`](ScopeError::Refused);
    /// [`Outside`](ScopeError::Outside) for a snapshot that is not the tenant's;
    /// [`AnotherTenant`](ScopeError::AnotherTenant);
    /// [`LimitReached`](ScopeError::LimitReached) for a `filesystem_limit` of the tenant or within it,
    /// to which the kernel does not hold root; otherwise as
    /// [`Snapshot::clone_to`](zfs_core::Snapshot::clone_to).
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permissions `create` and `mount` on the parent and `clone` on the
    /// snapshot, and one for each property.
    ///
    /// `lzc_clone`, `zfs-clone(8)`.
    pub fn clone_from(
        &self,
        capability: &Capability,
        origin: &SnapshotName,
        props: &PropertySet,
    ) -> Result<(), ScopeError> {
        self.tenant().own_snapshot(origin)?.line()?;
        check_limit(&self.line()?, CountLimit::Filesystems, &[self.name()])?;
        let source = origin.dataset();
        capability.allow_all(Operation::Clone, [&source, self.name()])?;
        let zfs = self.dataset().zfs();
        zfs.snapshot(origin.as_str())?
            .clone_to(self.name(), props)?;
        Ok(())
    }

    /// Promotes this clone: it takes over its origin and the older snapshots, and the dataset that it
    /// is a clone of becomes its clone. It is looked at and done in one transaction.
    ///
    /// The capability has to be for [`Promote`](Operation::Promote) of this dataset and of the one that
    /// gives the snapshots.
    ///
    /// # Errors
    ///
    /// Refused before the kernel is asked to change anything:
    ///
    /// | error | when |
    /// |---|---|
    /// | [`Refused`](ScopeError::Refused) | the capability does not cover it |
    /// | [`NoClone`](ScopeError::NoClone) | it is no clone |
    /// | [`ForeignOrigin`](ScopeError::ForeignOrigin) | the snapshots that would move are not the tenant's |
    /// | [`ForeignClones`](ScopeError::ForeignClones) | a snapshot that would move has a clone that is not the tenant's |
    /// | [`TakesKey`](ScopeError::TakesKey) | it is a clone of an encryption root: that would be it in its stead, and the loaded key is not taken along |
    /// | [`NameTaken`](ScopeError::NameTaken) | it has a snapshot of the same name as one that would move |
    /// | [`AnotherTenant`](ScopeError::AnotherTenant) | it or its origin is in a tenant within the tenant |
    ///
    /// [`Changed`](ScopeError::Changed) when it is no more what it was when it was looked at; `Busy` while
    /// a snapshot that would move is mounted; otherwise as
    /// [`Dataset::promote`](zfs_core::Dataset::promote) and
    /// [`Pool::run_program`](zfs_core::Pool::run_program).
    ///
    /// # Privileges
    ///
    /// Root.
    ///
    /// `zfs.sync.promote` of `zfs-program(8)`.
    pub fn promote(&self, capability: &Capability) -> Result<(), ScopeError> {
        promote_together(capability, self.tenant(), std::slice::from_ref(self))
    }

    fn promotion(&self) -> Result<Promotion, ScopeError> {
        let tenant = self.tenant();
        let name = || self.name().clone();
        self.line()?;
        let Some(origin) = self.dataset().stat()?.origin else {
            return Err(ScopeError::NoClone { dataset: name() });
        };
        let Ok(source) = tenant.own_snapshot(&origin) else {
            return Err(ScopeError::ForeignOrigin {
                tenant: tenant.dataset().name().clone(),
                dataset: name(),
                origin,
            });
        };
        source.line()?;
        let props = source.dataset().properties()?;
        if props.origin().is_none() && props.encryption_root().as_ref() == Some(source.name()) {
            return Err(ScopeError::TakesKey {
                dataset: name(),
                root: source.name().clone(),
            });
        }
        for (snapshot, props) in source.up_to(&origin)? {
            check_foreign_clones(tenant, &snapshot, &props.clones())?;
            if self.dataset().snapshot(snapshot.short())?.exists()? {
                return Err(ScopeError::NameTaken {
                    dataset: name(),
                    snapshot: snapshot.short().to_owned(),
                });
            }
        }
        Ok(Promotion {
            clone: self.clone(),
            origin,
        })
    }

    /// The snapshots that go along with `last`.
    fn up_to(&self, last: &SnapshotName) -> Result<Vec<(SnapshotName, Properties)>, ScopeError> {
        let zfs = self.dataset().zfs();
        let txg = zfs.snapshot(last.as_str())?.stat()?.create_txg;
        let filter = SnapshotFilter::new().max_txg(txg);
        let snapshots = self.dataset().snapshots_with_properties(&filter)?;
        let name = |(entry, props): (zfs_core::SnapshotEntry, _)| (entry.name, props);
        Ok(snapshots.into_iter().map(name).collect())
    }
}

/// Promotes all of `clones`, or none.
pub(super) fn promote_together(
    capability: &Capability,
    tenant: &Tenant,
    clones: &[TenantDataset],
) -> Result<(), ScopeError> {
    let promotions: Vec<Promotion> = clones
        .iter()
        .map(TenantDataset::promotion)
        .collect::<Result<_, _>>()?;
    if promotions.is_empty() {
        return Ok(());
    }
    for Promotion { clone, origin } in &promotions {
        capability.allow_all(Operation::Promote, [clone.name(), &origin.dataset()])?;
        // The program asks no guard.
        clone.dataset().check_promote()?;
    }
    let clones = promotions.iter().map(|one| one.clone.name().to_string());
    let origins = promotions.iter().map(|one| one.origin.to_string());
    let (clones, origins): (Vec<String>, Vec<String>) = (clones.collect(), origins.collect());
    program::run(tenant, PROMOTE, |program| {
        program
            .argument("clones", clones)
            .argument("origins", origins)
    })?;
    Ok(())
}
