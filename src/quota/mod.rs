//! How much can be written, and which limit binds.
//!
//! What can be written into a dataset depends on its own quotas, on those of all datasets above it,
//! on what was reserved elsewhere, on the pool, and on the quotas of who writes. [`Room`] has all of
//! it as one answer. [`Watcher`] tells when datasets pass thresholds, and [`Forecast`] when one will
//! be full.
//!
//! ```no_run
//! use helix_zfs::quota::Room;
//! use helix_zfs::zfs_core::Zfs;
//!
//! let acme = Zfs::open()?.dataset("tank/tenants/acme")?;
//! let room = Room::of(&acme)?;
//! println!("{} bytes, then the {}", room.available(), room.limit());
//! // A job that must not fail half-way is refused before it starts:
//! room.require(10 << 30)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Figures
//!
//! Sizes are bytes as ZFS counts them: after compression, with the copies of metadata, without the
//! parity of the pool's vdevs. They are those of the last transaction group that was synced: what
//! was written in the last seconds is not in them ([`Pool::sync`](zfs_core::Pool::sync) changes
//! that), nor is what was deleted a moment ago and is still being freed. The datasets of a path are
//! read one after the other, so that on a busy pool their figures are some milliseconds apart.

mod fit;
mod forecast;
mod level;
mod limit;
mod room;
mod set;
mod watch;

pub use fit::{Fit, NoRoom};
pub use forecast::{Confidence, Forecast, History, Sample};
pub use level::{Count, Level};
pub use limit::{Bound, Limit};
pub use room::{QuotaState, Room};
pub use set::{set_owner_object_quota, set_owner_quota, set_properties};
pub use watch::{Alarm, Crossing, ThresholdError, Thresholds, WatchEvent, Watcher};
