use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use zfs_core_sys::ioctl::zfs_stat;

/// One change of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Change {
    /// What happened, and where.
    pub kind: ChangeKind,
    /// What the object is; of what was removed, what it was.
    pub file: FileKind,
    /// The object's number: its inode.
    pub object: u64,
    /// When the object was last changed, by its own record; of what was removed, before that.
    pub changed: SystemTime,
}

/// What happened to an object. A letter of the command's stands for each.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum ChangeKind {
    /// It is new (`+`).
    Added(ObjectPath),
    /// It is gone (`-`).
    Removed(ObjectPath),
    /// Its contents, its attributes, or a directory's entries changed (`M`).
    Modified(ObjectPath),
    /// It has another path (`R`). Its contents may have changed too.
    Renamed {
        /// The path in the earlier snapshot.
        from: ObjectPath,
        /// The path in the later one.
        to: ObjectPath,
    },
    /// A file that is no directory has more or fewer hard links (`M` with a number). Its contents
    /// may have changed too.
    Links {
        /// The path that is in both snapshots, as far as ZFS knows.
        path: ObjectPath,
        /// How many links there are more, or fewer.
        by: i64,
    },
}

impl ChangeKind {
    /// The letter by which `zfs diff` shows it.
    #[must_use]
    pub fn letter(&self) -> char {
        match self {
            Self::Added(_) => '+',
            Self::Removed(_) => '-',
            Self::Modified(_) | Self::Links { .. } => 'M',
            Self::Renamed { .. } => 'R',
        }
    }
}

/// Where an object is, from the root of its filesystem on: `/etc/passwd`.
///
/// What an extended attribute is kept in has the path of its file, `<xattrdir>`, and its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum ObjectPath {
    /// A path. ZFS remembers of a file with several hard links where it was linked last.
    Path(PathBuf),
    /// Nowhere: it was removed, and is still open.
    Unlinked,
}

impl ObjectPath {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self::Path(PathBuf::from(OsString::from_vec(bytes)))
    }
}

impl fmt::Display for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Unlinked => f.write_str("(on_delete_queue)"),
        }
    }
}

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A block device.
    BlockDevice,
    /// A character device.
    CharDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// None of these, as the type bits of its mode.
    Unknown(u32),
}

impl FileKind {
    pub(super) fn of(stat: &zfs_stat) -> Self {
        // The type's bits fit.
        let bits = u32::try_from(stat.zs_mode & u64::from(libc::S_IFMT)).unwrap_or(u32::MAX);
        match bits {
            libc::S_IFREG => Self::File,
            libc::S_IFDIR => Self::Directory,
            libc::S_IFLNK => Self::Symlink,
            libc::S_IFBLK => Self::BlockDevice,
            libc::S_IFCHR => Self::CharDevice,
            libc::S_IFIFO => Self::Fifo,
            libc::S_IFSOCK => Self::Socket,
            other => Self::Unknown(other),
        }
    }

    /// The letter by which `zfs diff -F` shows it.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::File => 'F',
            Self::Directory => '/',
            Self::Symlink => '@',
            Self::BlockDevice => 'B',
            Self::CharDevice => 'C',
            Self::Fifo => '|',
            Self::Socket => '=',
            Self::Unknown(_) => '?',
        }
    }
}

/// The time of the last change, which can be before 1970.
pub(super) fn changed(stat: &zfs_stat) -> SystemTime {
    let [seconds, nanoseconds] = stat.zs_ctime;
    let seconds = i64::from_ne_bytes(seconds.to_ne_bytes());
    let since = Duration::from_secs(seconds.unsigned_abs());
    let whole = match seconds >= 0 {
        true => SystemTime::UNIX_EPOCH.checked_add(since),
        false => SystemTime::UNIX_EPOCH.checked_sub(since),
    };
    whole
        .and_then(|time| time.checked_add(Duration::from_nanos(nanoseconds)))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}
