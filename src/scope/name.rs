use std::fmt;

use zfs_core::{Dataset, DatasetName, SnapshotName};

use super::{Escape, ScopeError};
use crate::Tenant;

/// A filesystem or a volume of a tenant: its own filesystem, or one below.
///
/// Like a [`Dataset`], this is a name, and promises nothing about existence. It is made by
/// [`Tenant::at`], [`Tenant::resolve`] and what lists a tenant, and so never names anything that is
/// not below the tenant's filesystem.
#[derive(Clone)]
pub struct TenantDataset {
    tenant: Tenant,
    dataset: Dataset,
}

impl fmt::Debug for TenantDataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TenantDataset({:?})", self.name().as_str())
    }
}

impl AsRef<DatasetName> for TenantDataset {
    fn as_ref(&self) -> &DatasetName {
        self.name()
    }
}

/// Which names are a tenant's.
struct Scope<'t> {
    tenant: &'t DatasetName,
}

fn scope(tenant: &Tenant) -> Scope<'_> {
    Scope {
        tenant: tenant.dataset().name(),
    }
}

impl Scope<'_> {
    fn outside(&self, name: &str, escape: Escape) -> ScopeError {
        ScopeError::Outside {
            tenant: self.tenant.clone(),
            name: name.to_owned(),
            escape,
        }
    }

    fn contains(&self, name: &DatasetName) -> bool {
        name == self.tenant || self.tenant.is_ancestor_of(name)
    }

    /// The place of `name` below the tenant's filesystem; `None` for that itself.
    fn path<'n>(&self, name: &'n DatasetName) -> Result<Option<&'n str>, ScopeError> {
        if name == self.tenant {
            return Ok(None);
        }
        name.as_str()
            .strip_prefix(self.tenant.as_str())
            .and_then(|path| path.strip_prefix('/'))
            .map(Some)
            .ok_or_else(|| self.outside(name.as_str(), Escape::Elsewhere))
    }

    /// The name that `path` has below `parent`, which is the tenant's.
    fn child(&self, parent: &DatasetName, path: &str) -> Result<DatasetName, ScopeError> {
        let escape = if path.starts_with('/') {
            Escape::Absolute
        } else if path.contains(['@', '#']) {
            Escape::NoDataset
        } else if path.contains('%') {
            Escape::Hidden
        } else {
            return parent
                .child(path)
                .map_err(|error| self.outside(path, Escape::of(&error)));
        };
        Err(self.outside(path, escape))
    }
}

impl Tenant {
    /// The tenant's own filesystem, in its scope.
    #[must_use]
    pub fn root(&self) -> TenantDataset {
        TenantDataset {
            tenant: self.clone(),
            dataset: self.dataset().clone(),
        }
    }

    /// The dataset at `path` below the tenant's filesystem: `db/wal`. Does not call the kernel.
    ///
    /// # Errors
    ///
    /// [`Outside`](ScopeError::Outside) for a path that is empty, begins with a `/`, has a component
    /// `.` or `..`, an `@`, a `#` or a `%`, or is no name for ZFS.
    pub fn at(&self, path: &str) -> Result<TenantDataset, ScopeError> {
        self.root().child(path)
    }

    /// The dataset with the full name `name`, if it is the tenant's. Does not call the kernel.
    ///
    /// # Errors
    ///
    /// [`Outside`](ScopeError::Outside) when it is neither the tenant's filesystem nor below it, or
    /// a hidden one.
    pub fn resolve(&self, name: &DatasetName) -> Result<TenantDataset, ScopeError> {
        match scope(self).path(name)? {
            Some(path) => self.at(path),
            None => Ok(self.root()),
        }
    }

    /// Whether a dataset is the tenant's filesystem, or below it.
    #[must_use]
    pub fn contains(&self, name: &DatasetName) -> bool {
        scope(self).contains(name)
    }

    /// The snapshot `name` if it is of a dataset of the tenant.
    pub(super) fn own_snapshot(&self, name: &SnapshotName) -> Result<TenantDataset, ScopeError> {
        self.resolve(&name.dataset())
            .map_err(|_| scope(self).outside(name.as_str(), Escape::Elsewhere))
    }
}

impl TenantDataset {
    /// The tenant that it belongs to.
    #[must_use]
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// The dataset without its scope: what is done by this handle, nothing here looks at.
    #[must_use]
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Its full name.
    #[must_use]
    pub fn name(&self) -> &DatasetName {
        self.dataset.name()
    }

    /// Its place below the tenant's filesystem: `db/wal`. `None` for that filesystem itself.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        scope(&self.tenant).path(self.name()).ok().flatten()
    }

    /// The dataset at `path` below this one.
    ///
    /// # Errors
    ///
    /// As [`Tenant::at`].
    pub fn child(&self, path: &str) -> Result<Self, ScopeError> {
        let name = scope(&self.tenant).child(self.name(), path)?;
        Ok(Self {
            tenant: self.tenant.clone(),
            dataset: self.tenant.dataset().zfs().dataset(name.as_str())?,
        })
    }
}

#[cfg(test)]
mod tests;
