use super::{Errno, Operation};
use std::fmt;

/// What went wrong, in terms a program can act on.
///
/// The kind is derived from the operation and the error number together, because one number
/// means different things to different operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The ZFS module is not loaded, or `/dev/zfs` does not exist.
    ModuleMissing,
    /// The dataset, snapshot, bookmark, tag, property or pool does not exist.
    NotFound,
    /// Something of that name exists already.
    AlreadyExists,
    /// The name breaks ZFS's rules.
    InvalidName,
    /// The name, or one it leads to (a snapshot of a renamed dataset), is too long.
    NameTooLong,
    /// An argument is not valid, or the batch has a shape that the kernel refuses.
    InvalidArgument,
    /// The object is of another kind than the operation needs: not a filesystem, not a clone,
    /// not an encryption root.
    WrongKind,
    /// Mounted, open, being sent or received, or otherwise in use.
    Busy,
    /// A snapshot has a user hold.
    Held,
    /// A snapshot has clones.
    HasClones,
    /// A dataset has children.
    HasChildren,
    /// A dataset has snapshots.
    HasSnapshots,
    /// Snapshots or bookmarks newer than the target exist.
    NewerSnapshotsExist,
    /// The objects are not all in one pool, or not of one filesystem.
    CrossPool,
    /// The caller lacks the privilege, or the delegated permission.
    PermissionDenied,
    /// A guard of the caller's own forbids it.
    Forbidden,
    /// A quota, a snapshot limit or a filesystem limit is reached.
    QuotaExceeded,
    /// The pool is full, or a quota or reservation does not fit what is used.
    NoSpace,
    /// The encryption key is not loaded.
    KeyNotLoaded,
    /// The encryption key is loaded already.
    KeyLoaded,
    /// The key is not the one of this dataset.
    WrongKey,
    /// The pool was imported read-only.
    ReadOnlyPool,
    /// The pool is suspended after I/O failures.
    PoolSuspended,
    /// The loaded module, the pool's features or the dataset do not support this.
    Unsupported,
    /// A value is longer or larger than allowed.
    TooBig,
    /// A property or its value is not valid here.
    InvalidProperty,
    /// Some items of a batch failed and the rest succeeded.
    Partial,
    /// A device or the pool returned an I/O error.
    Io,
    /// Data or metadata failed its checksum.
    Corrupt,
    /// A signal interrupted the call.
    Interrupted,
    /// Out of memory.
    OutOfMemory,
    /// The kernel's answer could not be understood.
    Protocol,
    /// Another operation that excludes this one is in progress.
    InProgress,
    /// There is nothing in progress that could be paused, resumed or stopped.
    NotInProgress,
    /// A device is offline, faulted or missing.
    DeviceUnavailable,
    /// A device is too small for a pool, or for its place in it.
    DeviceTooSmall,
    /// A device is in use: mounted, part of a pool, or with data of something else on it.
    DeviceInUse,
    /// A pool is in use by another host, or was when it was last used.
    OtherHost,
    /// What an incremental stream is to build on is not in the past of the snapshot.
    NotAncestor,
    /// The dataset does not have the snapshot that an incremental stream builds on.
    NoBase,
    /// The dataset was modified, or has newer snapshots, since the snapshot that an incremental
    /// stream builds on.
    Modified,
    /// The dataset holds the state of a receive that was interrupted or still runs.
    PartialReceive,
    /// The stream ends early.
    Truncated,
    /// What was read is not a valid stream, or not of the kind that is taken here.
    InvalidStream,
    /// The stream is valid, and not the one that was expected.
    UnexpectedStream,
    /// The snapshot that a raw incremental stream builds on was not itself received raw, or from
    /// elsewhere.
    IvsetMismatch,
    /// The dataset has large blocks and the incremental stream was sent without them.
    LargeBlockMismatch,
    /// What a stream is read from, or written to, failed.
    Transport,
    /// A device has the only good copy of some data.
    LastCopy,
    /// The sectors of a device are larger than the vdev is made for, or differ from those of the
    /// pool.
    SectorSizeMismatch,
    /// A vdev can lose more devices than those of the pool, or fewer.
    RedundancyMismatch,
    /// A channel program is no valid Lua.
    InvalidProgram,
    /// A channel program ended with an error.
    ProgramFailed,
    /// A channel program executed more instructions than it may.
    InstructionLimit,
    /// A channel program used more memory than it may.
    MemoryLimit,
    /// Not all devices of the pool are healthy.
    Unhealthy,
    /// None of the above: see the error number.
    Other,
}

impl ErrorKind {
    pub(crate) fn of(operation: Operation, errno: Errno) -> Self {
        use Operation as Op;
        match (operation, errno) {
            (Op::Open, Errno::ENOENT | Errno::ENXIO | Errno::ENODEV) => Self::ModuleMissing,

            (Op::LoadKey | Op::VerifyKey, Errno::EACCES) => Self::WrongKey,
            (Op::LoadKey, Errno::EEXIST) => Self::KeyLoaded,
            (
                Op::UnloadKey
                | Op::ChangeKey
                | Op::InheritKey
                | Op::CreateDataset
                | Op::CloneSnapshot
                | Op::PromoteDataset
                | Op::Rollback
                | Op::CreateSnapshots
                | Op::GetUserSpace
                | Op::SetUserQuota,
                Errno::EACCES,
            ) => Self::KeyNotLoaded,
            // The kernel refuses to move a dataset out of, or into, an encryption hierarchy.
            (Op::RenameDataset, Errno::EACCES) => Self::WrongKind,

            (Op::DestroyDataset, Errno::EEXIST) => Self::HasChildren,
            (Op::DestroySnapshots, Errno::EEXIST) => Self::HasClones,
            (Op::Rollback, Errno::EEXIST) => Self::NewerSnapshotsExist,
            (Op::PromoteDataset, Errno::EINVAL) => Self::WrongKind,
            // The kernel denies access to a `keylocation` of what is no encryption root.
            (Op::SetProperties, Errno::EACCES | Errno::ERANGE | Errno::EDOM) => {
                Self::InvalidProperty
            }
            (Op::SetProperties | Op::InheritProperty, Errno::EINVAL) => Self::InvalidProperty,
            (_, Errno::ZFS_ERR_BADPROP) => Self::InvalidProperty,

            (Op::Send | Op::EstimateSend | Op::Diff, Errno::EACCES) => Self::KeyNotLoaded,
            (Op::Send | Op::EstimateSend | Op::Diff, Errno::EXDEV) => Self::NotAncestor,
            (Op::Send, Errno::EPIPE) => Self::Transport,

            (Op::Receive, Errno::ENODEV) => Self::NoBase,
            (Op::Receive, Errno::ETXTBSY) => Self::Modified,
            (Op::Receive, Errno::EACCES) => Self::KeyNotLoaded,
            (Op::Receive, Errno::ERANGE) => Self::InvalidStream,
            (_, Errno::ZFS_ERR_RESUME_EXISTS) => Self::PartialReceive,
            (_, Errno::ZFS_ERR_STREAM_TRUNCATED) => Self::Truncated,
            (
                _,
                Errno::ZFS_ERR_FROM_IVSET_GUID_MISSING | Errno::ZFS_ERR_FROM_IVSET_GUID_MISMATCH,
            ) => Self::IvsetMismatch,
            (_, Errno::ZFS_ERR_STREAM_LARGE_BLOCK_MISMATCH) => Self::LargeBlockMismatch,

            (Op::Scrub | Op::Trim | Op::Initialize, Errno::EBUSY) => Self::InProgress,
            (Op::Trim | Op::Initialize, Errno::ESRCH) => Self::NotInProgress,
            (Op::TakeCheckpoint, Errno::ZFS_ERR_CHECKPOINT_EXISTS) => Self::AlreadyExists,
            (_, Errno::ZFS_ERR_NO_CHECKPOINT) => Self::NotFound,
            (_, Errno::ZFS_ERR_VDEV_TOO_BIG) => Self::TooBig,
            (
                Op::CreatePool | Op::AddVdevs | Op::AttachVdev | Op::ReplaceVdev,
                Errno::EOVERFLOW,
            ) => Self::DeviceTooSmall,
            (Op::CreatePool | Op::AddVdevs, Errno::EBUSY) => Self::DeviceInUse,
            (Op::ImportPool, Errno::EREMOTEIO | Errno::EBADF) => Self::OtherHost,
            (Op::ImportPool, Errno::ENXIO) => Self::DeviceUnavailable,

            // Of these, only a device that has the only good copy is refused so.
            (Op::OfflineVdev | Op::DetachVdev, Errno::EBUSY) => Self::LastCopy,
            // The log has records of a dataset that was not mounted since they were written.
            (Op::OfflineVdev | Op::RemoveVdev, Errno::EEXIST | Errno::EACCES) => Self::Busy,
            (Op::AttachVdev | Op::ReplaceVdev, Errno::EBUSY) => Self::DeviceInUse,
            (Op::AttachVdev | Op::ReplaceVdev | Op::AddVdevs, Errno::EDOM)
            | (_, Errno::ZFS_ERR_ASHIFT_MISMATCH) => Self::SectorSizeMismatch,
            (Op::RemoveVdev, Errno::EINVAL) => Self::Unsupported,
            (Op::RemoveVdev, Errno::ENOTACTIVE) => Self::NotInProgress,
            (Op::ClearErrors, Errno::EINVAL | Errno::EREMOTEIO) => Self::OtherHost,
            (Op::RunProgram, Errno::ECHRNG) => Self::ProgramFailed,
            (Op::RunProgram, Errno::ETIME) => Self::InstructionLimit,
            (Op::RunProgram, Errno::ENOSPC) => Self::MemoryLimit,
            (Op::SetPoolProperties | Op::SetVdevProperties, Errno::EINVAL) => Self::InvalidProperty,
            (_, Errno::ZFS_ERR_TOO_MANY_SITOUTS) => Self::Busy,
            (Op::ReguidPool, Errno::ENXIO) => Self::Unhealthy,
            (Op::BootEnvironment, Errno::ENXIO) => Self::Io,
            (Op::Redact, Errno::EALREADY) => Self::WrongKind,
            (Op::Redact, Errno::EACCES) => Self::KeyNotLoaded,
            // A bookmark for other snapshots.
            (Op::Redact, Errno::ESRCH) => Self::AlreadyExists,

            (_, Errno::ENOENT | Errno::ESRCH | Errno::ENXIO | Errno::ENODEV) => Self::NotFound,
            (_, Errno::EEXIST) => Self::AlreadyExists,
            (_, Errno::EBUSY | Errno::ETXTBSY) => Self::Busy,
            (_, Errno::EPERM | Errno::EACCES) => Self::PermissionDenied,
            (_, Errno::EROFS) => Self::ReadOnlyPool,
            (_, Errno::EAGAIN) => Self::PoolSuspended,
            (_, Errno::ENOSPC) => Self::NoSpace,
            (_, Errno::EDQUOT) => Self::QuotaExceeded,
            (_, Errno::EINVAL | Errno::EDOM | Errno::ERANGE | Errno::EBADF) => {
                Self::InvalidArgument
            }
            (_, Errno::ENAMETOOLONG) => Self::NameTooLong,
            (_, Errno::EXDEV | Errno::ZFS_ERR_BOOKMARK_SOURCE_NOT_ANCESTOR) => Self::CrossPool,
            (
                _,
                Errno::ENOTSUP
                | Errno::ZFS_ERR_IOC_CMD_UNAVAIL
                | Errno::ZFS_ERR_IOC_ARG_UNAVAIL
                | Errno::ZFS_ERR_CRYPTO_NOTSUP
                | Errno::ZFS_ERR_VDEV_NOTSUP
                | Errno::ZFS_ERR_SPILL_BLOCK_FLAG_MISSING
                | Errno::ZFS_ERR_UNKNOWN_SEND_STREAM_FEATURE,
            ) => Self::Unsupported,
            (_, Errno::E2BIG | Errno::EFBIG | Errno::EOVERFLOW) => Self::TooBig,
            (_, Errno::ZFS_ERR_WRONG_PARENT) => Self::WrongKind,
            (_, Errno::EIO) => Self::Io,
            (_, Errno::ECKSUM) => Self::Corrupt,
            (_, Errno::EINTR | Errno::ERESTARTSYS) => Self::Interrupted,
            (_, Errno::ENOMEM) => Self::OutOfMemory,
            (
                _,
                Errno::ZFS_ERR_EXPORT_IN_PROGRESS
                | Errno::ZFS_ERR_RESILVER_IN_PROGRESS
                | Errno::ZFS_ERR_REBUILD_IN_PROGRESS
                | Errno::ZFS_ERR_DEVRM_IN_PROGRESS
                | Errno::ZFS_ERR_DISCARDING_CHECKPOINT
                | Errno::ZFS_ERR_CHECKPOINT_EXISTS
                | Errno::ZFS_ERR_RAIDZ_EXPAND_IN_PROGRESS
                | Errno::EALREADY,
            ) => Self::InProgress,
            _ => Self::Other,
        }
    }

    /// A short description, as [`Error`](crate::Error)'s `Display` uses it.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::ModuleMissing => "the ZFS module is not loaded",
            Self::NotFound => "does not exist",
            Self::AlreadyExists => "already exists",
            Self::InvalidName => "invalid name",
            Self::NameTooLong => "name too long",
            Self::InvalidArgument => "invalid argument",
            Self::WrongKind => "wrong kind of object",
            Self::Busy => "busy",
            Self::Held => "held by a user hold",
            Self::HasClones => "has clones",
            Self::HasChildren => "has children",
            Self::HasSnapshots => "has snapshots",
            Self::NewerSnapshotsExist => "newer snapshots or bookmarks exist",
            Self::CrossPool => "not in one pool or of one filesystem",
            Self::PermissionDenied => "permission denied",
            Self::Forbidden => "forbidden by a guard",
            Self::QuotaExceeded => "quota or limit reached",
            Self::NoSpace => "out of space",
            Self::KeyNotLoaded => "encryption key not loaded",
            Self::KeyLoaded => "encryption key already loaded",
            Self::WrongKey => "wrong encryption key",
            Self::ReadOnlyPool => "the pool is read-only",
            Self::PoolSuspended => "the pool is suspended",
            Self::Unsupported => "not supported here",
            Self::TooBig => "value too large",
            Self::InvalidProperty => "invalid property or value",
            Self::Partial => "failed for some",
            Self::Io => "I/O error",
            Self::Corrupt => "checksum mismatch",
            Self::Interrupted => "interrupted",
            Self::OutOfMemory => "out of memory",
            Self::Protocol => "unintelligible answer of the kernel",
            Self::InProgress => "excluded by an operation in progress",
            Self::NotInProgress => "nothing of the kind is in progress",
            Self::DeviceUnavailable => "the device is not available",
            Self::DeviceTooSmall => "a device is too small",
            Self::DeviceInUse => "a device is in use",
            Self::OtherHost => "in use by another host",
            Self::NotAncestor => "the base is not in the snapshot's past",
            Self::NoBase => "does not have the snapshot that the stream builds on",
            Self::Modified => "modified since the snapshot that the stream builds on",
            Self::PartialReceive => "holds the state of an unfinished receive",
            Self::Truncated => "the stream ends early",
            Self::InvalidStream => "invalid stream",
            Self::UnexpectedStream => "another stream was expected",
            Self::IvsetMismatch => "the base of the raw stream is not the same here",
            Self::LargeBlockMismatch => "has large blocks and the stream does not",
            Self::Transport => "reading or writing the stream failed",
            Self::LastCopy => "the only good copy of some data",
            Self::SectorSizeMismatch => "the sector sizes do not match",
            Self::RedundancyMismatch => "the redundancy does not match",
            Self::InvalidProgram => "invalid program",
            Self::ProgramFailed => "the program failed",
            Self::InstructionLimit => "the program ran for too long",
            Self::MemoryLimit => "the program used too much memory",
            Self::Unhealthy => "not all devices are healthy",
            Self::Other => "failed",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description())
    }
}
