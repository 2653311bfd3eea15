//! A safe, typed interface to OpenZFS.
//!
//! Everything starts from [`Zfs::open`]. From there come handles, which are a checked name and a
//! [`Zfs`] and promise nothing about existence: [`Dataset`] for filesystems and volumes,
//! [`Snapshot`], [`Bookmark`], [`Pool`]. They are cheap to make, owned, and can be sent to and
//! shared between threads.
//!
//! ```no_run
//! use zfs_core::props::{Quota, Sync, UserProps};
//! use zfs_core::{CreateOptions, Zfs};
//!
//! let zfs = Zfs::open()?;
//! let acme = zfs.dataset("tank/tenants/acme")?;
//! acme.create(&CreateOptions::filesystem().set(Quota(10 << 30)).set(Sync::Always))?;
//!
//! let snapshots = zfs.snapshots(["tank/tenants/acme@deploy-42", "tank/tenants/beta@deploy-42"])?;
//! zfs.create_snapshots(&snapshots, &UserProps::new().set("helix:git_sha", "4be1f2c")?)?;
//! let guard = zfs.hold_until_drop(&snapshots, "rollout")?;
//! acme.rollback_to("deploy-42")?;
//! guard.release()?;
//! # Ok::<(), zfs_core::Error>(())
//! ```
//!
//! # Batches
//!
//! The kernel creates and destroys many snapshots or bookmarks of a pool in one transaction group,
//! all or none: [`Zfs::create_snapshots`] and its neighbours take slices. Holds and releases can
//! succeed in part, and return an [`Outcome`] that says for which items they did not.
//!
//! # Errors
//!
//! [`Error`] names the operation, the object, the error number and each item that failed. Its
//! [`kind`](Error::kind) is what a program matches. What the kernel may answer and this crate does
//! not know is kept: as an `Unknown(n)`, as a number, or as an error of the kind
//! [`Protocol`](ErrorKind::Protocol). The crate does not panic, abort or print.
//!
//! # Calls
//!
//! All calls block until the kernel answers, most of those that change something until a
//! transaction group is on disk, which takes milliseconds to seconds. Only sending and receiving
//! start threads, and say so. Nothing is mounted or unmounted but by the calls of [`mount`].
//!
//! # Streams
//!
//! [`Snapshot::send`] gives a stream that is read like a file, and [`Dataset::receive`] takes one from
//! any reader: see [`send`] and [`receive`]. [`stream`] reads streams as data, without a kernel.
//!
//! # Programs
//!
//! [`Pool::run_program`] runs Lua inside the kernel, over many datasets at one moment: see
//! [`program`]. What this crate has for each function of the C library is in [`functions`].
//!
//! # Features
//!
//! None is on by default.
//!
//! | feature | what it adds |
//! |---|---|
//! | `digest` | the module `digest`: Merkle digests of streams and of what they carry |
//! | `serde` | tokens, manifests of `digest`, and the [state of pools](pool#json) as serde's types; lists from and to Rust values (`nv::to_map`), and so arguments and results of programs |
//! | `tokio` | `SendStream::into_async`, `Events::into_stream` |
//!
//! # Versions
//!
//! OpenZFS 2.1, 2.3 and 2.4 on Linux, whichever of them a program was built against. Where nothing
//! else is said, an operation exists since 2.1. [`Zfs::capabilities`] tells what a kernel has.

mod batch;
mod bookmark;
mod capabilities;
mod create;
mod dataset;
pub mod diff;
#[cfg(feature = "digest")]
pub mod digest;
pub mod error;
pub mod events;
mod ffi;
#[doc = include_str!("functions.md")]
pub mod functions {}
mod guard;
pub mod history;
mod hold;
pub mod key;
pub mod kstat;
mod list;
pub mod listing;
pub mod mount;
pub mod name;
pub mod nv;
mod outflow;
mod permissions;
pub mod pool;
pub mod program;
pub mod props;
pub mod receive;
mod redact;
pub mod send;
mod snapshot;
mod space;
pub mod stream;
mod userspace;
mod wait;
mod zfs;

pub use bookmark::{Bookmark, BookmarkEntry, BookmarkSource, NewBookmark};
pub use capabilities::{Capabilities, LibraryLevel, ModuleVersion, Requests};
pub use create::CreateOptions;
pub use dataset::Dataset;
pub use error::{Errno, Error, ErrorKind, Failure, Operation, Outcome, Result};
pub use ffi::nvlist::{NvError, NvList, NvListRef, NvPair, ValueRef};
pub use guard::{Guard, Verdict};
pub use hold::{Hold, HoldGuard};
pub use list::{DatasetEntry, DatasetKind, SnapshotEntry, SnapshotFilter};
pub use name::{BookmarkName, DatasetName, PoolName, SnapshotName};
pub use permissions::{Delegation, Grant, Grantee, Permission, Reach};
pub use pool::{Health, Pool, PoolEntry, PoolProperties, PoolStatus, SyncMode, Vdev};
pub use redact::Redaction;
pub use snapshot::Snapshot;
pub use space::{SpaceRange, Written};
pub use userspace::{Measure, Owner, OwnerKind, OwnerSpace, Sid};
pub use wait::{DeviceActivity, PoolActivity, Waited};
pub use zfs::Zfs;
/// The raw bindings, for what this crate has no call for.
pub use zfs_core_sys as sys;
