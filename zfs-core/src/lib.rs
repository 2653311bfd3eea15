//! A safe, typed interface to OpenZFS.

mod batch;
mod bookmark;
mod capabilities;
mod create;
mod dataset;
pub mod error;
mod ffi;
mod hold;
pub mod key;
mod list;
pub mod name;
pub mod nv;
pub mod pool;
pub mod props;
mod snapshot;
mod userspace;
mod zfs;

pub use bookmark::{Bookmark, BookmarkEntry, BookmarkSource, NewBookmark};
pub use capabilities::{Capabilities, LibraryLevel, ModuleVersion, Requests};
pub use create::CreateOptions;
pub use dataset::Dataset;
pub use error::{Errno, Error, ErrorKind, Failure, Operation, Outcome, Result};
pub use ffi::nvlist::{NvError, NvList, NvListRef, NvPair, ValueRef};
pub use hold::{Hold, HoldGuard};
pub use list::{DatasetEntry, DatasetKind, SnapshotEntry, SnapshotFilter};
pub use name::{BookmarkName, DatasetName, PoolName, SnapshotName};
pub use pool::{Health, Pool, PoolEntry, PoolProperties, PoolStatus, SyncMode, Vdev};
pub use snapshot::{Snapshot, SpaceRange};
pub use userspace::{Measure, Owner, OwnerKind, OwnerSpace, Sid};
pub use zfs::Zfs;
/// The raw bindings, for what this crate has no call for.
pub use zfs_core_sys as sys;
