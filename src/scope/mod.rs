//! What belongs to a tenant, and what can be done to it without touching another's.
//!
//! A [`Tenant`](crate::Tenant) is a subtree. [`Tenant::at`](crate::Tenant::at) gives the datasets in it as [`TenantDataset`]s, which can
//! be made in no other way: whoever has one has something of this tenant and of no other. On them,
//! and on the tenant as a whole, are the operations that an engineer needs: snapshots of everything
//! at one moment ([`TenantSnapshot`]), clones in the tenant's own staging area ([`Staging`]),
//! promotion, rollback.
//!
//! What would leave the tenant is refused before anything is changed, with a [`ScopeError`] that
//! names it: a name outside the subtree, a clone of somebody else's snapshot, a promotion that would
//! take somebody else's snapshots or move those that somebody else's clones depend on, a rollback or
//! a destruction that would need somebody else's clone to go. A tenant within a tenant is another one.
//!
//! ```no_run
//! use helix_zfs::Tenant;
//! use helix_zfs::zfs_core::Zfs;
//! use helix_zfs::zfs_core::props::{PropertySet, UserProps};
//!
//! # use helix_zfs::gate::Capability;
//! # use helix_zfs::scope::ScopeError;
//! # fn stage(snapshot: &Capability, clone: &Capability) -> Result<(), ScopeError> {
//! let acme = Tenant::from(Zfs::open()?.dataset("tank/tenants/acme")?);
//! let before = acme.snapshot(snapshot, "schema-9", &UserProps::new())?;
//! let staging = acme.staging("schema-9")?;
//! staging.create(clone, &before, &PropertySet::new(), &mut |step| println!("{step}"))?;
//! assert!(acme.at("../beta").is_err());
//! let back = before.rollback_plan()?;
//! println!("{} bytes would be lost", back.plan().written());
//! # Ok(())
//! # }
//! ```
//!
//! # What is atomic
//!
//! A snapshot of everything is one transaction. Promotion and destruction of a staging are one
//! program in the kernel, which looks at everything before it changes anything. Clones are made by
//! one such program where the kernel has that (2.4) and no properties are to be set, and otherwise
//! one after the other: a process that dies in between leaves what the next run finishes, or
//! [`Staging::destroy`] removes. A process that is killed in the very moment in which the kernel runs
//! its program can leave a part of it done; the same call then does the rest. A rollback is what [`RollbackPlan`](crate::RollbackPlan) makes of it.

mod clone;
mod error;
mod name;
mod program;
mod rollback;
mod snapshot;
mod staging;
mod tree;

pub use error::{CountLimit, Escape, ScopeError};
pub use name::TenantDataset;
pub use rollback::TenantRollback;
pub use snapshot::TenantSnapshot;
pub use staging::{Staging, StagingChange, StagingStatus};
