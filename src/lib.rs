//! Helix's storage operations on OpenZFS.
//!
//! Helix gives each tenant an encrypted filesystem of its own, changes many of them in one
//! deployment, and has to be able to take the deployment back. This crate has the words for that,
//! and [`zfs_core`], on which they are written, has the rest:
//!
//! - [`Tenant`]: a filesystem with its own key, quota and policy, which is unlocked and locked, and
//!   all below it: [`scope`] has what can be done there without touching another tenant;
//! - [`GuardRail`]: a snapshot of many tenants in one transaction, tagged with the change that is
//!   about to happen, and held; and the way back ([`RollbackPlan`]);
//! - [`Retention`]: which guard rails stay, as a plan, and the removal of the others;
//! - [`ephemeral`]: clones for load tests, which are gone when their process or their time is;
//! - [`Room`]: how much can be written somewhere, and which limit binds; see [`quota`];
//! - [`MountPolicy`]: what automation must not mount;
//! - [`layout`]: pools, tenants and datasets as a file, the plan of what is to be changed, and its
//!   execution;
//! - [`replicate`]: copies on another machine, of which readers see nothing but what was verified.
//!
//! ```no_run
//! use helix_zfs::zfs_core::Zfs;
//! use helix_zfs::{Change, GuardRail, RollbackOptions, Tenant};
//!
//! # use helix_zfs::gate::Capability;
//! # fn deploy(take: &Capability, roll_back: &Capability) -> Result<(), Box<dyn std::error::Error>> {
//! let zfs = Zfs::open()?;
//! let tenants = Tenant::list(&zfs.dataset("tank/tenants")?)?;
//! let change = Change::new().git_sha("4be1f2c").helm_revision(17);
//! let guard_rail = GuardRail::take(take, &zfs, &tenants, "deploy-42", &change)?;
//! // The deployment went wrong:
//! let plan = guard_rail.rollback_plan()?;
//! println!("{} bytes would be lost", plan.written());
//! let options = RollbackOptions::new().destroy_newer().keep("failed-deploy-42");
//! let report = plan.carry_out(roll_back, &options, &mut |step| println!("{step}"))?;
//! if let Some(advice) = report.advice() {
//!     println!("{advice}");
//! }
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

pub mod ephemeral;
mod error;
pub mod gate;
pub mod group_commit;
mod guard_rail;
pub mod key;
pub mod layout;
mod mount_policy;
pub mod quota;
pub mod replica;
pub mod replicate;
pub mod scope;
#[cfg(feature = "sqlite")]
mod sqlite;
mod step;
mod tenant;

pub use error::{Error, Result};
pub use guard_rail::{
    Change, DatasetOutcome, GuardRail, Loss, NewerSnapshot, Obstacle, RailFilter, RollbackChange,
    RollbackError, RollbackOptions, RollbackPlan, RollbackReport, TakeChange, UnfinishedRollback,
};
pub use guard_rail::{
    Keep, KeepOverride, Kept, KeptBecause, RailInfo, Retention, RetentionChange, RetentionOptions,
    RetentionPlan, RetentionReport, Spared,
};
pub use mount_policy::MountPolicy;
pub use quota::{QuotaState, Room};
pub use step::Step;
pub use tenant::{Tenant, TenantSpec};
/// OpenZFS itself, safe and typed.
pub use zfs_core;

/// The program in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
