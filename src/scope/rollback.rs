use zfs_core::DatasetName;

use super::snapshot::check_foreign_clones;
use super::{ScopeError, TenantDataset, TenantSnapshot};
use crate::gate::Capability;
use crate::{RollbackChange, RollbackOptions, RollbackPlan, RollbackReport, Step, Tenant};

/// What a rollback of a tenant, or of one of its datasets, would lose: a [`RollbackPlan`] that needs
/// nothing of another tenant to go.
#[derive(Clone, Debug)]
pub struct TenantRollback {
    tenant: Tenant,
    plan: RollbackPlan,
    without: Vec<DatasetName>,
}

impl Tenant {
    /// Finds out what rolling everything that the tenant has back to its snapshot `name` would lose.
    ///
    /// # Errors
    ///
    /// As [`find_snapshot`](Self::find_snapshot) and
    /// [`TenantSnapshot::rollback_plan`].
    ///
    /// # Privileges
    ///
    /// None.
    pub fn rollback_plan(&self, name: &str) -> Result<TenantRollback, ScopeError> {
        self.find_snapshot(name)?.rollback_plan()
    }
}

impl TenantSnapshot {
    /// Finds out what rolling the tenant back to this moment would lose. Datasets of the tenant that
    /// have no such snapshot, because they were made later or because a promotion moved it to another
    /// dataset, stay as they are: [`without`](TenantRollback::without) names them.
    ///
    /// # Errors
    ///
    /// [`ForeignClones`](ScopeError::ForeignClones) when a snapshot that would have to go has a clone
    /// that is not the tenant's; [`AnotherTenant`](ScopeError::AnotherTenant);
    /// [`Rollback`](ScopeError::Rollback) as [`RollbackPlan::of`].
    ///
    /// # Privileges
    ///
    /// None.
    pub fn rollback_plan(&self) -> Result<TenantRollback, ScopeError> {
        let has_none = |name: &DatasetName| self.datasets().iter().all(|one| one.name() != name);
        let all = self.tenant.datasets()?.into_iter();
        let names = all.map(|dataset| dataset.name().clone());
        let without = names.filter(has_none).collect();
        TenantRollback::of(&self.tenant, self.datasets(), self.name(), without)
    }
}

impl TenantDataset {
    /// Finds out what rolling this dataset alone back to its snapshot `name` would lose.
    ///
    /// # Errors
    ///
    /// As [`TenantSnapshot::rollback_plan`].
    ///
    /// # Privileges
    ///
    /// None.
    pub fn rollback_plan(&self, name: &str) -> Result<TenantRollback, ScopeError> {
        self.line()?;
        TenantRollback::of(self.tenant(), std::slice::from_ref(self), name, Vec::new())
    }
}

impl TenantRollback {
    fn of(
        tenant: &Tenant,
        datasets: &[TenantDataset],
        name: &str,
        without: Vec<DatasetName>,
    ) -> Result<Self, ScopeError> {
        let plan = RollbackPlan::of(tenant.dataset().zfs(), datasets, name)?;
        let newer = plan.losses().iter().flat_map(|loss| &loss.newer);
        for newer in newer {
            check_foreign_clones(tenant, &newer.name, &newer.clones)?;
        }
        Ok(Self {
            tenant: tenant.clone(),
            plan,
            without,
        })
    }

    /// The tenant.
    #[must_use]
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// What it would lose, and what stands in its way.
    #[must_use]
    pub fn plan(&self) -> &RollbackPlan {
        &self.plan
    }

    /// The tenant's datasets that have no such snapshot, and stay as they are.
    #[must_use]
    pub fn without(&self) -> &[DatasetName] {
        &self.without
    }

    /// Carries it out, as [`RollbackPlan::carry_out`], which looks at everything again: what is kept of
    /// the discarded state is kept within the tenant.
    ///
    /// # Errors
    ///
    /// [`Rollback`](ScopeError::Rollback) as [`RollbackPlan::carry_out`]. A clone that somebody made
    /// since the plan is an [`Obstacle`](crate::Obstacle).
    ///
    /// # Privileges
    ///
    /// As [`RollbackPlan::carry_out`].
    pub fn carry_out(
        &self,
        capability: &Capability,
        options: &RollbackOptions,
        observe: &mut dyn FnMut(Step<'_, RollbackChange>),
    ) -> Result<RollbackReport, ScopeError> {
        Ok(self.plan.carry_out(capability, options, observe)?)
    }
}
