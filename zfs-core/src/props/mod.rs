//! Properties of datasets: typed values with their sources, and what sets them.
//!
//! [`Properties`] are all properties of one dataset or snapshot, read in one call.
//! [`Setting`]s are single values to be set, [`PropertySet`] is several of them, and [`UserProps`]
//! are user properties alone. Names, defaults and words are those of `zfsprops(7)`.
//!
//! # What is read
//!
//! Every value has a [`Source`]. The kernel leaves out what was never set; the default is then
//! that of the loaded module, for the versions do not agree on all (`compression`, `relatime` and
//! `xattr` changed). A property that the module does not have is `None`, as is one that does not
//! apply to the kind of dataset. Values that this crate does not know stay visible as `Unknown`,
//! and everything the kernel said is in [`Properties::raw`].
//!
//! # What is set
//!
//! The kernel sets several properties one by one: an error names each that it refused, and the
//! others are set. It trusts the caller more than the `zfs` command does, which checks much
//! itself; what would be written down for nothing, or do harm, is refused here instead
//! (a read-only property, a quota on a volume, an odd record size). It neither mounts nor shares,
//! so that a new mountpoint takes effect with the next mount.
//!
//! ```no_run
//! use zfs_core::{Zfs, props::{Prop, Quota, Source, Sync}};
//!
//! let tenant = Zfs::open()?.dataset("tank/tenants/acme")?;
//! tenant.set(Quota(10 << 30))?;
//! let properties = tenant.properties()?;
//! assert_eq!(properties.quota(), Some(10 << 30));
//! assert_eq!(properties.source(Prop::Quota), Some(Source::Local));
//! if properties.sync() == Some(Sync::Disabled) {
//!     tenant.inherit(Prop::Sync)?;
//! }
//! # Ok::<(), zfs_core::Error>(())
//! ```

mod access;
mod compression;
mod get;
mod index;
mod kernel;
mod set;
mod setting;
mod table;
mod text;
mod value;

pub use access::FileProperties;
pub use compression::{Compression, GzipLevel, ZstdLevel};
pub use get::{Properties, UserProperty};
pub use index::{
    AclInherit, AclMode, AclType, CacheMode, CanMount, CaseSensitivity, Checksum, Copies, Dedup,
    Direct, DnodeSize, EncryptionAlgorithm, KeyFormat, KeyStatus, LogBias, Normalization, Prefetch,
    RedundantMetadata, SnapDev, SnapDir, Sync, Toggle, VolMode, Xattr,
};
pub(crate) use set::check_user;
pub use set::{PropertySet, UserProps};
pub use setting::{
    Atime, DefaultGroupObjQuota, DefaultGroupQuota, DefaultProjectObjQuota, DefaultProjectQuota,
    DefaultUserObjQuota, DefaultUserQuota, Devices, Exec, FilesystemLimit, KeyLocation, LongName,
    Mountpoint, Nbmand, Overlay, PrimaryCache, Quota, ReadOnly, RecordSize, RefQuota,
    RefReservation, Relatime, Reservation, SecondaryCache, SelinuxContext, SelinuxDefContext,
    SelinuxFsContext, SelinuxRootContext, Setting, Setuid, ShareNfs, ShareSmb, SnapshotLimit,
    SpecialSmallBlocks, Utf8Only, Version, VolBlockSize, VolSize, VolThreading, Vscan, Zoned,
};
pub use table::Prop;
pub(crate) use value::shown_value;
pub use value::{PropValue, Ratio, Source};

/// The room that ZFS has for a property's name, with its terminator.
const MAX_NAME_LEN: usize = 256;
/// The room that ZFS has for a property's text, with its terminator.
const MAX_VALUE_LEN: usize = 8192;

/// Whether the name is that of a user property, by its characters.
fn is_user_property(name: &str) -> bool {
    let allowed = |c: u8| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'_' | b'.' | b':')
    };
    name.contains(':') && name.bytes().all(allowed)
}
