use std::fmt;

/// An error number as the kernel returned it: a POSIX `errno`, or one of ZFS's own
/// `ZFS_ERR_*` numbers, which start at 1024.
///
/// The type is open: a number that this crate does not know is kept as it is and
/// prints as `errno 1234`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errno(i32);

impl Errno {
    /// Wraps a raw number.
    #[must_use]
    pub const fn from_raw(raw: i32) -> Self {
        Self(raw)
    }

    /// The number as the kernel gave it.
    #[must_use]
    pub const fn raw(self) -> i32 {
        self.0
    }

    pub(crate) fn from_io(error: &std::io::Error) -> Self {
        Self(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

macro_rules! errnos {
    ($($name:ident = $value:expr, $text:literal;)*) => {
        impl Errno {
            $(
                #[doc = concat!("`", stringify!($name), "`: ", $text, ".")]
                pub const $name: Self = Self($value);
            )*

            /// The symbolic name, if the number is a known one.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some(stringify!($name)),)*
                    _ => None,
                }
            }

            /// A few words on the general meaning, if the number is a known one.
            ///
            /// What the number means for one operation is told by
            /// [`Error::kind`](crate::Error::kind).
            #[must_use]
            pub const fn description(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

errnos! {
    EPERM = libc::EPERM, "operation not permitted";
    ENOENT = libc::ENOENT, "no such dataset or pool";
    ESRCH = libc::ESRCH, "no such entry";
    EINTR = libc::EINTR, "interrupted by a signal";
    EIO = libc::EIO, "input/output error";
    ENXIO = libc::ENXIO, "no such device";
    E2BIG = libc::E2BIG, "value too long";
    EBADF = libc::EBADF, "bad file descriptor";
    EAGAIN = libc::EAGAIN, "the pool is suspended";
    ENOMEM = libc::ENOMEM, "out of memory";
    EACCES = libc::EACCES, "access denied";
    EFAULT = libc::EFAULT, "bad address";
    EBUSY = libc::EBUSY, "busy";
    EEXIST = libc::EEXIST, "already exists";
    EXDEV = libc::EXDEV, "not on the same pool or filesystem";
    ENODEV = libc::ENODEV, "no such device or module";
    ENOTDIR = libc::ENOTDIR, "not a directory";
    EINVAL = libc::EINVAL, "invalid argument";
    EFBIG = libc::EFBIG, "too large";
    ENOSPC = libc::ENOSPC, "out of space";
    EROFS = libc::EROFS, "read-only";
    EPIPE = libc::EPIPE, "the reader is gone";
    EDOM = libc::EDOM, "out of the allowed range";
    ERANGE = libc::ERANGE, "out of range";
    ESTALE = libc::ESTALE, "stale";
    ENAMETOOLONG = libc::ENAMETOOLONG, "name too long";
    ENOTEMPTY = libc::ENOTEMPTY, "not empty";
    ECHRNG = libc::ECHRNG, "channel program failed";
    ECKSUM = libc::EBADE, "checksum mismatch";
    EFRAGS = libc::EBADR, "fragmented";
    ENOTACTIVE = libc::ENOANO, "not active";
    ETIME = libc::ETIME, "time limit reached";
    EREMOTEIO = libc::EREMOTEIO, "in use by another host";
    EOVERFLOW = libc::EOVERFLOW, "value too large";
    ENOTSUP = libc::ENOTSUP, "not supported";
    EALREADY = libc::EALREADY, "already in progress";
    EDQUOT = libc::EDQUOT, "quota or limit reached";
    ECANCELED = libc::ECANCELED, "canceled";
    ESHUTDOWN = libc::ESHUTDOWN, "shutting down";
    ETXTBSY = libc::ETXTBSY, "modified since the snapshot";
    ERESTARTSYS = 512, "interrupted by a signal";
    ZFS_ERR_CHECKPOINT_EXISTS = 1024, "the pool has a checkpoint";
    ZFS_ERR_DISCARDING_CHECKPOINT = 1025, "a checkpoint is being discarded";
    ZFS_ERR_NO_CHECKPOINT = 1026, "the pool has no checkpoint";
    ZFS_ERR_DEVRM_IN_PROGRESS = 1027, "a device removal is in progress";
    ZFS_ERR_VDEV_TOO_BIG = 1028, "a vdev is too big";
    ZFS_ERR_IOC_CMD_UNAVAIL = 1029, "the loaded module does not know this operation";
    ZFS_ERR_IOC_ARG_UNAVAIL = 1030, "the loaded module does not know this argument";
    ZFS_ERR_IOC_ARG_REQUIRED = 1031, "a required argument is missing";
    ZFS_ERR_IOC_ARG_BADTYPE = 1032, "an argument has the wrong type";
    ZFS_ERR_WRONG_PARENT = 1033, "the parent is not a filesystem";
    ZFS_ERR_FROM_IVSET_GUID_MISSING = 1034, "the source snapshot has no IV set guid";
    ZFS_ERR_FROM_IVSET_GUID_MISMATCH = 1035, "the IV set guids differ";
    ZFS_ERR_SPILL_BLOCK_FLAG_MISSING = 1036, "the stream lacks the spill block flag";
    ZFS_ERR_UNKNOWN_SEND_STREAM_FEATURE = 1037, "unknown stream feature";
    ZFS_ERR_EXPORT_IN_PROGRESS = 1038, "the pool is being exported";
    ZFS_ERR_BOOKMARK_SOURCE_NOT_ANCESTOR = 1039, "the bookmark's source is not an ancestor";
    ZFS_ERR_STREAM_TRUNCATED = 1040, "the stream is truncated";
    ZFS_ERR_STREAM_LARGE_BLOCK_MISMATCH = 1041, "the large-block flags differ";
    ZFS_ERR_RESILVER_IN_PROGRESS = 1042, "a resilver is in progress";
    ZFS_ERR_REBUILD_IN_PROGRESS = 1043, "a rebuild is in progress";
    ZFS_ERR_BADPROP = 1044, "invalid property for this dataset";
    ZFS_ERR_VDEV_NOTSUP = 1045, "the vdev does not support this";
    ZFS_ERR_NOT_USER_NAMESPACE = 1046, "not a user namespace";
    ZFS_ERR_RESUME_EXISTS = 1047, "a resumable receive exists";
    ZFS_ERR_CRYPTO_NOTSUP = 1048, "the cryptographic algorithm is not supported";
    ZFS_ERR_RAIDZ_EXPAND_IN_PROGRESS = 1049, "a raidz expansion is in progress";
    ZFS_ERR_ASHIFT_MISMATCH = 1050, "the sector sizes differ";
    ZFS_ERR_STREAM_LARGE_MICROZAP = 1051, "the stream needs large microzaps";
    ZFS_ERR_TOO_MANY_SITOUTS = 1052, "too many vdevs are sitting out";
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errno({self})")
    }
}
