//! The native properties: what ZFS itself gives a meaning to.

use super::compression::Compression;
use super::index::{
    AclInherit, AclMode, AclType, CacheMode, CanMount, CaseSensitivity, Checksum, Copies, Dedup,
    Direct, DnodeSize, EncryptionAlgorithm, IndexValue, KeyFormat, KeyStatus, LogBias,
    Normalization, Prefetch, RedundantMetadata, SnapDev, SnapDir, Sync, Toggle, VolMode, Xattr,
};
use crate::list::DatasetKind;
use std::borrow::Cow;
use std::ffi::CStr;
use std::fmt;

/// Who decides a property's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// ZFS.
    ReadOnly,
    /// Whoever creates the dataset, for good.
    Once,
    /// Can be set on each dataset, and its descendants do not inherit it.
    Local,
    /// Can be set, and is inherited.
    Inherited,
}

/// How a property's value is written, and the value of a dataset that it was never set on.
#[derive(Clone, Copy)]
pub(super) enum Form {
    Number(u64),
    /// A number that ZFS has names for.
    Index(&'static IndexNames, u64),
    /// Text. `None` is a text that has no default.
    Text(Option<&'static str>),
    /// The ratio of two sizes in hundredths.
    Ratio,
    /// Several names or numbers.
    List,
}

/// The two directions of an index property's table.
pub(super) struct IndexNames {
    pub(super) name: fn(u64) -> Option<Cow<'static, str>>,
    pub(super) raw: fn(&str) -> Option<u64>,
}

const fn names<T: IndexValue>() -> &'static IndexNames {
    &IndexNames {
        name: T::raw_name,
        raw: T::raw_from_name,
    }
}

/// Which datasets a property applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kinds(u8);

impl Kinds {
    pub(super) const NONE: Self = Self(0);
    pub(super) const FILESYSTEM: Self = Self(1);
    pub(super) const VOLUME: Self = Self(2);
    pub(super) const SNAPSHOT: Self = Self(4);

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

const F: Kinds = Kinds::FILESYSTEM;
const V: Kinds = Kinds::VOLUME;
const S: Kinds = Kinds::SNAPSHOT;
const FV: Kinds = F.and(V);
const FS: Kinds = F.and(S);
const VS: Kinds = V.and(S);
const ALL: Kinds = FV.and(S);

/// Whether the supported versions agree about a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Agreement {
    /// All of them have it, with one default and for the same kinds of datasets.
    Same,
    /// The loaded module has to be asked.
    Differs,
}

pub(super) struct Entry {
    pub(super) name: &'static CStr,
    pub(super) access: Access,
    pub(super) kinds: Kinds,
    pub(super) form: Form,
    pub(super) agreement: Agreement,
}

macro_rules! properties {
    ($(
        $(#[$doc:meta])*
        $variant:ident = $name:literal, $access:ident, $kinds:expr, $form:expr $(, $agreement:ident)?;
    )*) => {
        /// A native property of a dataset.
        ///
        /// Every version has the properties that the documentation does not say otherwise of.
        /// Properties of later versions of ZFS are reached by name.
        ///
        /// `zfsprops(7)`.
        #[doc(alias = "zfs_prop_t")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Prop {
            $($(#[$doc])* $variant,)*
        }

        impl Prop {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            pub(super) const fn entry(self) -> &'static Entry {
                match self {
                    $(Self::$variant => const {
                        #[allow(unused_mut, unused_assignments)]
                        let mut agreement = Agreement::Same;
                        $(agreement = Agreement::$agreement;)?
                        &Entry {
                            name: $name,
                            access: Access::$access,
                            kinds: $kinds,
                            form: $form,
                            agreement,
                        }
                    },)*
                }
            }
        }
    };
}

const NONE: Form = Form::Number(0);
const UNLIMITED: Form = Form::Number(u64::MAX);
const NO_TEXT: Form = Form::Text(None);

const fn index<T: IndexValue>(default: u64) -> Form {
    Form::Index(names::<T>(), default)
}

const ON: Form = index::<Toggle>(1);
const OFF: Form = index::<Toggle>(0);

properties! {
    /// Filesystem, volume or snapshot.
    Type = c"type", ReadOnly, ALL, NO_TEXT;
    /// When it was created, in seconds since 1970.
    Creation = c"creation", ReadOnly, ALL, NONE;
    /// The space that it and all below it take, in bytes.
    Used = c"used", ReadOnly, ALL, NONE;
    /// The space that it and all below it can still take, in bytes.
    Available = c"available", ReadOnly, FV, NONE;
    /// The space of the data that it gives access to, in bytes.
    Referenced = c"referenced", ReadOnly, ALL, NONE;
    /// How far compression shrank what it and all below it use.
    CompressRatio = c"compressratio", ReadOnly, ALL, Form::Ratio;
    /// Whether it is mounted. The kernel does not say, so that this is always `off`: see
    /// [`Dataset::mounts`](crate::Dataset::mounts).
    Mounted = c"mounted", ReadOnly, F, OFF;
    /// The snapshot that a clone was made from.
    Origin = c"origin", ReadOnly, FV, NO_TEXT;
    /// The limit of what it and all below it may use, in bytes; 0 is none.
    Quota = c"quota", Local, F, NONE;
    /// The space that it and all below it are sure to get, in bytes; 0 is none.
    Reservation = c"reservation", Local, FV, NONE;
    /// A volume's size in bytes.
    VolSize = c"volsize", Local, VS, NONE;
    /// A volume's block size in bytes.
    VolBlockSize = c"volblocksize", Once, V, NONE;
    /// The largest block of a file, in bytes.
    RecordSize = c"recordsize", Inherited, F, Form::Number(128 * 1024);
    /// Where it is mounted: a path, `legacy` or `none`.
    Mountpoint = c"mountpoint", Inherited, F, Form::Text(Some("/"));
    /// Whether and how it is shared over NFS.
    ShareNfs = c"sharenfs", Inherited, F, Form::Text(Some("off"));
    /// The checksum of its blocks.
    Checksum = c"checksum", Inherited, FV, index::<Checksum>(1);
    /// The compression of its blocks.
    Compression = c"compression", Inherited, FV, index::<Compression>(1), Differs;
    /// Whether the access times of files are updated.
    Atime = c"atime", Inherited, F, ON;
    /// Whether device nodes can be opened.
    Devices = c"devices", Inherited, FS, ON;
    /// Whether programs can be executed.
    Exec = c"exec", Inherited, FS, ON;
    /// Whether the set-user-ID bit is respected.
    Setuid = c"setuid", Inherited, FS, ON;
    /// Whether it can be modified.
    ReadOnly = c"readonly", Inherited, FV, OFF;
    /// Whether it is managed from another namespace.
    Zoned = c"zoned", Inherited, F, OFF;
    /// Whether `.zfs` is hidden in the root directory.
    SnapDir = c"snapdir", Inherited, F, index::<SnapDir>(0);
    /// What `chmod` does to an ACL.
    AclMode = c"aclmode", Inherited, F, index::<AclMode>(0);
    /// What files inherit of their directory's ACL.
    AclInherit = c"aclinherit", Inherited, F, index::<AclInherit>(4);
    /// The transaction group that it was created in.
    CreateTxg = c"createtxg", ReadOnly, ALL, NONE;
    /// Whether it can be mounted, and is by itself.
    CanMount = c"canmount", Local, F, index::<CanMount>(1);
    /// How extended attributes are stored.
    Xattr = c"xattr", Inherited, FS, index::<Xattr>(2), Differs;
    /// How many copies of each block there are.
    Copies = c"copies", Inherited, FV, index::<Copies>(1);
    /// The version of the filesystem's on-disk format.
    Version = c"version", Local, FS, NONE;
    /// Whether file names must be UTF-8.
    Utf8Only = c"utf8only", Once, FS, OFF;
    /// The Unicode normalization by which file names are compared.
    Normalization = c"normalization", Once, FS, index::<Normalization>(0);
    /// Whether file names that differ in case are different.
    CaseSensitivity = c"casesensitivity", Once, FS, index::<CaseSensitivity>(0);
    /// Not used on Linux.
    Vscan = c"vscan", Inherited, F, OFF;
    /// Whether it is mounted with non-blocking mandatory locks.
    Nbmand = c"nbmand", Inherited, FS, OFF;
    /// Whether and how it is shared over SMB.
    ShareSmb = c"sharesmb", Inherited, F, Form::Text(Some("off"));
    /// The limit of what it may reference, without what is below it, in bytes; 0 is none.
    RefQuota = c"refquota", Local, F, NONE;
    /// The space that it is sure to get, without what is below it, in bytes; 0 is none.
    RefReservation = c"refreservation", Local, FV, NONE;
    /// A number that no other dataset has, and that a rename does not change.
    Guid = c"guid", ReadOnly, ALL, NONE;
    /// What is cached in memory.
    PrimaryCache = c"primarycache", Inherited, ALL, index::<CacheMode>(2);
    /// What is cached on the pool's cache devices.
    SecondaryCache = c"secondarycache", Inherited, ALL, index::<CacheMode>(2);
    /// The part of `used` that destroying all snapshots would free, in bytes.
    UsedBySnapshots = c"usedbysnapshots", ReadOnly, FV, NONE;
    /// The part of `used` that the dataset itself takes, in bytes.
    UsedByDataset = c"usedbydataset", ReadOnly, FV, NONE;
    /// The part of `used` that what is below it takes, in bytes.
    UsedByChildren = c"usedbychildren", ReadOnly, FV, NONE;
    /// The part of `used` that only its `refreservation` takes, in bytes.
    UsedByRefReservation = c"usedbyrefreservation", ReadOnly, FV, NONE;
    /// Whether a snapshot goes as soon as its last hold or clone is gone.
    DeferDestroy = c"defer_destroy", ReadOnly, S, OFF;
    /// How many user holds a snapshot has.
    UserRefs = c"userrefs", ReadOnly, S, NONE;
    /// Whether synchronous writes go to log devices.
    LogBias = c"logbias", Inherited, FV, index::<LogBias>(0);
    /// The number of its object set.
    ObjsetId = c"objsetid", ReadOnly, ALL, NONE;
    /// Whether equal blocks are stored once.
    Dedup = c"dedup", Inherited, FV, index::<Dedup>(2);
    /// Not used on Linux.
    MlsLabel = c"mlslabel", Inherited, ALL, Form::Text(Some("none"));
    /// What becomes of synchronous writes.
    Sync = c"sync", Inherited, FV, index::<Sync>(0);
    /// The size of the on-disk descriptors of files.
    DnodeSize = c"dnodesize", Inherited, F, index::<DnodeSize>(0);
    /// How far compression shrank what it references.
    RefCompressRatio = c"refcompressratio", ReadOnly, ALL, Form::Ratio;
    /// The space referenced that was written since the previous snapshot, in bytes.
    Written = c"written", ReadOnly, ALL, NONE;
    /// The clones of a snapshot.
    Clones = c"clones", ReadOnly, S, Form::List;
    /// What `used` would be without compression, in bytes.
    LogicalUsed = c"logicalused", ReadOnly, FV, NONE;
    /// What `referenced` would be without compression, in bytes.
    LogicalReferenced = c"logicalreferenced", ReadOnly, ALL, NONE;
    /// What a volume shows of itself to the system.
    VolMode = c"volmode", Inherited, FV, index::<VolMode>(0);
    /// The most filesystems and volumes below it; `u64::MAX` is no limit.
    FilesystemLimit = c"filesystem_limit", Local, F, UNLIMITED;
    /// The most snapshots of it and of all below it; `u64::MAX` is no limit.
    SnapshotLimit = c"snapshot_limit", Local, FV, UNLIMITED;
    /// How many filesystems and volumes are below it; only counted below a limit.
    FilesystemCount = c"filesystem_count", ReadOnly, F, UNLIMITED;
    /// How many snapshots it and all below it have; only counted below a limit.
    SnapshotCount = c"snapshot_count", ReadOnly, FV, UNLIMITED;
    /// Whether the device nodes of a volume's snapshots are shown.
    SnapDev = c"snapdev", Inherited, FV, index::<SnapDev>(0);
    /// The kind of ACLs.
    AclType = c"acltype", Inherited, FS, index::<AclType>(0);
    /// The SELinux context of all files.
    SelinuxContext = c"context", Local, ALL, Form::Text(Some("none"));
    /// The SELinux context of the filesystem.
    SelinuxFsContext = c"fscontext", Local, ALL, Form::Text(Some("none"));
    /// The SELinux context of files without one.
    SelinuxDefContext = c"defcontext", Local, ALL, Form::Text(Some("none"));
    /// The SELinux context of the root directory.
    SelinuxRootContext = c"rootcontext", Local, ALL, Form::Text(Some("none"));
    /// Whether access times are only updated when they would mislead, or once a day.
    Relatime = c"relatime", Inherited, F, ON, Differs;
    /// How many copies of metadata there are.
    RedundantMetadata = c"redundant_metadata", Inherited, FV, index::<RedundantMetadata>(0);
    /// Whether it may be mounted over a directory that is not empty.
    Overlay = c"overlay", Inherited, F, ON;
    /// What continues an interrupted receive.
    ReceiveResumeToken = c"receive_resume_token", ReadOnly, FV, NO_TEXT;
    /// The encryption of its blocks.
    Encryption = c"encryption", Once, ALL, index::<EncryptionAlgorithm>(2);
    /// Where the `zfs` command finds its key.
    KeyLocation = c"keylocation", Local, FV, Form::Text(Some("none"));
    /// What its key is made from.
    KeyFormat = c"keyformat", Once, FV, index::<KeyFormat>(0);
    /// The salt of a key made from a passphrase.
    Pbkdf2Salt = c"pbkdf2salt", Once, FV, NONE;
    /// The rounds of a key made from a passphrase.
    Pbkdf2Iters = c"pbkdf2iters", Once, FV, NONE;
    /// The dataset whose key it is encrypted with.
    EncryptionRoot = c"encryptionroot", ReadOnly, ALL, NO_TEXT;
    /// Whether its key is loaded.
    KeyStatus = c"keystatus", ReadOnly, ALL, index::<KeyStatus>(0);
    /// The largest block that goes to the special devices, in bytes; 0 is none. Applies to volumes
    /// from ZFS 2.4 on.
    SpecialSmallBlocks = c"special_small_blocks", Inherited, FV, NONE, Differs;
    /// The GUIDs of the snapshots that it was redacted for.
    RedactSnaps = c"redact_snaps", ReadOnly, ALL, Form::List;
    /// When its list of snapshots changed last, in seconds since 1970. Since ZFS 2.2.
    SnapshotsChanged = c"snapshots_changed", ReadOnly, FV, NONE;
    /// What is read ahead. Since ZFS 2.2.4.
    Prefetch = c"prefetch", Inherited, ALL, index::<Prefetch>(2), Differs;
    /// Whether a volume uses several threads. Since ZFS 2.2.
    VolThreading = c"volthreading", Local, V, ON, Differs;
    /// Whether direct I/O passes by the cache. Since ZFS 2.3.
    Direct = c"direct", Inherited, F, index::<Direct>(1), Differs;
    /// Whether file names may have up to 1023 bytes. Since ZFS 2.3.
    LongName = c"longname", Inherited, F, OFF, Differs;
    /// The quota in bytes of users that have none of their own; 0 is none. Since ZFS 2.4.
    DefaultUserQuota = c"defaultuserquota", Local, FS, NONE, Differs;
    /// The quota in bytes of groups that have none of their own; 0 is none. Since ZFS 2.4.
    DefaultGroupQuota = c"defaultgroupquota", Local, FS, NONE, Differs;
    /// The quota in bytes of projects that have none of their own; 0 is none. Since ZFS 2.4.
    DefaultProjectQuota = c"defaultprojectquota", Local, FS, NONE, Differs;
    /// The most objects of users that have no limit of their own; 0 is none. Since ZFS 2.4.
    DefaultUserObjQuota = c"defaultuserobjquota", Local, FS, NONE, Differs;
    /// The most objects of groups that have no limit of their own; 0 is none. Since ZFS 2.4.
    DefaultGroupObjQuota = c"defaultgroupobjquota", Local, FS, NONE, Differs;
    /// The most objects of projects that have no limit of their own; 0 is none. Since ZFS 2.4.
    DefaultProjectObjQuota = c"defaultprojectobjquota", Local, FS, NONE, Differs;
}

impl Prop {
    /// The property of this name, if it is a known one.
    #[must_use]
    #[doc(alias = "zfs_name_to_prop")]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|prop| prop.name() == name)
    }

    /// Its name, as the `zfs` command has it.
    #[must_use]
    #[doc(alias = "zfs_prop_to_name")]
    pub fn name(self) -> &'static str {
        // The names above are ASCII.
        self.entry().name.to_str().unwrap_or_default()
    }

    /// Whether nobody but ZFS can set it.
    ///
    /// A property that can be set once, when its dataset is created, is not read-only in this
    /// sense: see [`is_set_once`](Self::is_set_once).
    #[must_use]
    pub fn is_read_only(self) -> bool {
        self.entry().access == Access::ReadOnly
    }

    /// Whether it can be set when its dataset is created and never again.
    #[must_use]
    #[doc(alias = "zfs_prop_setonce")]
    pub fn is_set_once(self) -> bool {
        self.entry().access == Access::Once
    }

    /// Whether datasets inherit it from the one above.
    #[must_use]
    #[doc(alias = "zfs_prop_inheritable")]
    pub fn is_inheritable(self) -> bool {
        self.entry().access == Access::Inherited
    }

    /// Whether datasets of this kind can have it, with some version of ZFS at least.
    #[must_use]
    #[doc(alias = "zfs_prop_valid_for_type")]
    pub fn applies_to(self, kind: DatasetKind) -> bool {
        match kind {
            DatasetKind::Filesystem => self.entry().kinds.meets(Kinds::FILESYSTEM),
            DatasetKind::Volume => self.entry().kinds.meets(Kinds::VOLUME),
            DatasetKind::Unknown(_) => false,
        }
    }

    /// Whether the supported versions disagree about it.
    pub(super) fn differs(self) -> bool {
        self.entry().agreement == Agreement::Differs
    }

    /// The word that a number stands for.
    pub(super) fn index_name(self, raw: u64) -> Option<Cow<'static, str>> {
        match self.entry().form {
            Form::Index(names, _) => (names.name)(raw),
            _ => None,
        }
    }

    /// Whether it belongs to the files of a filesystem rather than to the dataset, so that another
    /// request reads it.
    pub(crate) fn is_of_files(self) -> bool {
        matches!(
            self,
            Self::Version
                | Self::Utf8Only
                | Self::Normalization
                | Self::CaseSensitivity
                | Self::DefaultUserQuota
                | Self::DefaultGroupQuota
                | Self::DefaultProjectQuota
                | Self::DefaultUserObjQuota
                | Self::DefaultGroupObjQuota
                | Self::DefaultProjectObjQuota
        )
    }
}

impl AsRef<str> for Prop {
    fn as_ref(&self) -> &str {
        self.name()
    }
}

impl fmt::Display for Prop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_lead_back() {
        let names: HashSet<_> = Prop::ALL.iter().map(|prop| prop.name()).collect();
        assert_eq!(names.len(), Prop::ALL.len());
        for &prop in Prop::ALL {
            assert!(!prop.name().is_empty());
            assert_eq!(Prop::from_name(prop.name()), Some(prop));
        }
        assert_eq!(Prop::from_name("no:such"), None);
    }

    #[test]
    fn defaults_of_indexes_have_names() {
        for &prop in Prop::ALL {
            if let Form::Index(names, default) = prop.entry().form {
                assert!((names.name)(default).is_some(), "{prop}");
            }
        }
    }

    #[test]
    fn access() {
        assert!(Prop::Used.is_read_only() && !Prop::Used.is_inheritable());
        assert!(Prop::Sync.is_inheritable() && !Prop::Sync.is_read_only());
        assert!(!Prop::Quota.is_inheritable() && !Prop::Quota.is_read_only());
        assert!(Prop::VolBlockSize.is_set_once() && !Prop::VolBlockSize.is_read_only());
        assert!(Prop::Quota.applies_to(DatasetKind::Filesystem));
        assert!(!Prop::Quota.applies_to(DatasetKind::Volume));
    }
}
