//! The storage of a cluster as a file: pools, tenants, datasets.
//!
//! A [`Layout`] says how things are to be. [`Layout::plan`] compares that with what is there and
//! gives a [`Plan`]: the [changes](Plan::changes) with the dangerous ones marked, the
//! [conflicts](Plan::conflicts) that no change takes away, and what is there beside the layout.
//! [`Plan::apply`] makes the changes.
//!
//! ```no_run
//! use helix_zfs::gate::{JobSpec, Operation, Scope};
//! use helix_zfs::layout::{ApplyOptions, DeviceMap, KeyError, Layout};
//! use helix_zfs::zfs_core::{DatasetName, Zfs};
//! use helix_zfs::zfs_core::key::WrappingKey;
//!
//! # fn apply(gate: &helix_zfs::gate::Gate) -> Result<(), Box<dyn std::error::Error>> {
//! let layout = Layout::from_json(&std::fs::read_to_string("cluster.json")?)?;
//! let devices = DeviceMap::from_json(&std::fs::read_to_string("devices.json")?)?;
//! let zfs = Zfs::open()?;
//! let plan = layout.plan(&zfs, &devices)?;
//! for change in plan.changes() {
//!     println!("{change} ({})", change.danger());
//! }
//! let keys = |name: &str| -> Result<WrappingKey, KeyError> {
//!     Ok(WrappingKey::passphrase(&std::env::var(format!("KEY_{name}"))?)?)
//! };
//! let scope = Scope::below(&DatasetName::new("tank")?);
//! let job = JobSpec::new(Operation::ApplyLayout, scope, "operator");
//! let options = ApplyOptions::new().keys(&keys);
//! let applied = gate.run(&job, |may| plan.apply(may, &zfs, &options, &mut |step| println!("{step}")))?;
//! assert!(applied.is_complete());
//! # Ok(())
//! # }
//! ```
//!
//! # The file
//!
//! In TOML (the feature `toml`), and with the same structure in JSON:
//!
//! ```toml
//! version = 1
//!
//! [pools.tank]
//! ashift = 12
//! data = [{ mirror = ["data-1", "data-2"] }, { mirror = ["data-3", "data-4"] }]
//! log = [{ mirror = ["log-1", "log-2"] }]
//! special = [{ mirror = ["meta-1", "meta-2"] }]
//! cache = ["cache-1"]
//! spares = ["spare-1"]
//! properties = { autotrim = true }
//! root.properties = { mountpoint = "none", compression = "lz4" }
//!
//! [datasets."tank/tenants"]
//!
//! [tenants."tank/tenants/acme"]
//! key = "acme"
//! properties.quota = "10G"
//!
//! [datasets."tank/tenants/acme/orders"]
//! policy = "transactional"
//! properties.recordsize = "16K"
//!
//! [datasets."tank/tenants/acme/wal"]
//! policy = "log"
//! ```
//!
//! A field that is not known is an error, and so is a name that occurs twice. Devices are logical
//! names, which a [`DeviceMap`] gives paths: the layout that production has on disks is tried on
//! loopback devices with another map. Keys are names, for which a [`KeySource`] has the material.
//!
//! # What is compared
//!
//! - **Pools.** A pool that is not imported is created. Vdevs are added to one that is. A vdev of which
//!   the layout has other devices, or another kind, is a conflict: devices are attached, detached and
//!   replaced by hand.
//! - **Datasets.** One that is missing is created with all its properties. What cannot be changed (kind,
//!   encryption, what is set once) is a conflict. Keys of datasets that are there are not compared: see
//!   [`Dataset::verify_key`](zfs_core::Dataset::verify_key).
//! - **Properties.** Only those that the layout names. A property that is inherited by those below has to
//!   be set on the dataset itself. A quota below what is in use is a conflict: the kernel refuses it.
//! - **What the layout does not name** is [`Unmanaged`], and left alone: clones, staging areas, another's
//!   datasets. It is destroyed only when an [`Allow`] names it.

mod allow;
mod apply;
mod change;
mod check;
mod danger;
mod devices;
mod error;
mod keys;
mod model;
mod observed;
mod plan;
mod read;
#[cfg(test)]
mod tests;

pub use allow::Allow;
pub use apply::{Applied, ApplyOptions, Outcome};
pub use change::{Action, Change, Conflict, Danger, Unmanaged};
pub use devices::DeviceMap;
pub use error::{LayoutError, Problem};
pub use keys::{KeyError, KeySource, NoKeys, ProvidedKeys};
pub use model::{DatasetLayout, Layout, Policy, PoolLayout, PropertyValue, VdevLayout};
pub use observed::Observed;
pub use plan::Plan;
