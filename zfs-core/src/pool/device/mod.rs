//! What is done to the devices of a pool.

mod add;
mod attach;
mod copies;
mod properties;
mod remove;
mod split;
mod state;
mod survey;

pub use add::AddOptions;
pub use attach::{AttachOptions, Resilver};
pub use properties::{VdevProperties, VdevPropertySet};
pub use split::SplitOptions;
pub use state::{OfflineMode, OnlineMode};

use super::Pool;
use super::vdev::Vdev;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::ffi::device::Request;
use std::ffi::{CString, c_ulong};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use zfs_core_sys::ioctl::ZFS_IOC_VDEV_SETPATH;

/// Which vdev of a pool is meant.
///
/// Everything that takes one takes a `&Vdev`, a guid, or a path as well:
///
/// ```no_run
/// # use zfs_core::pool::OfflineMode;
/// # let zfs = zfs_core::Zfs::open()?;
/// let tank = zfs.pool("tank")?;
/// tank.offline("/dev/disk/by-id/ata-disk-7", OfflineMode::Persistent)?;
/// # Ok::<(), zfs_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VdevId {
    /// Its identity, which no other vdev has.
    Guid(u64),
    /// The path of a device, as the pool has it or by links that lead to the same file. Or the
    /// name of a group or of a distributed spare, as [`Vdev`] prints it: `mirror-0`, `raidz2-1`,
    /// `draid1-0-0`.
    ///
    /// For a disk on which ZFS made partitions it is that of the partition with the data.
    Path(PathBuf),
}

impl fmt::Display for VdevId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guid(guid) => write!(f, "{guid}"),
            Self::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

impl From<u64> for VdevId {
    fn from(guid: u64) -> Self {
        Self::Guid(guid)
    }
}

impl From<&Vdev> for VdevId {
    fn from(vdev: &Vdev) -> Self {
        Self::Guid(vdev.guid)
    }
}

impl From<&VdevId> for VdevId {
    fn from(id: &VdevId) -> Self {
        id.clone()
    }
}

impl From<PathBuf> for VdevId {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

macro_rules! from_path {
    ($($from:ty),*) => {$(
        impl From<$from> for VdevId {
            fn from(path: $from) -> Self {
                Self::Path(path.into())
            }
        }
    )*};
}

from_path!(&Path, &PathBuf, &str, &String, String);

impl Pool {
    /// Tells the pool where a device is by now. The device is not opened anew: the path is that of
    /// the next time.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `NotFound` | no pool of that name is imported, or it has no such vdev |
    /// | `WrongKind` | the vdev is a group, or a distributed spare |
    /// | `InvalidArgument` | the path is not absolute, or has a NUL character |
    /// | `NameTooLong` | the path is |
    /// | `ReadOnlyPool`, `PoolSuspended` | as they say |
    ///
    /// # Privileges
    ///
    /// root. Request `ZFS_IOC_VDEV_SETPATH`; since 2.2 the command has it as the property `path`
    /// of `zpool set`.
    #[doc(alias = "ZFS_IOC_VDEV_SETPATH")]
    #[doc(alias = "zpool_vdev_setpath")]
    pub fn set_vdev_path(&self, vdev: impl Into<VdevId>, path: impl AsRef<Path>) -> Result<()> {
        const OPERATION: Operation = Operation::SetVdevPath;
        let (_, target) = self.target(OPERATION, &vdev.into())?;
        let path = path.as_ref();
        target.with_file()?;
        if !path.is_absolute() {
            return Err(target.refuse(ErrorKind::InvalidArgument, "a path is absolute"));
        }
        let new = CString::new(path.as_os_str().as_bytes()).map_err(|_| {
            target.refuse(ErrorKind::InvalidArgument, "the path has a NUL character")
        })?;
        let mut request = self.vdev_request(ZFS_IOC_VDEV_SETPATH, target.guid);
        if !request.set_value(&new) {
            return Err(target.refuse(ErrorKind::NameTooLong, "the path is too long"));
        }
        request.run().map_err(|errno| target.failed(errno))?;
        self.zfs.record(|| {
            let (old, new) = (&target.name, path.display());
            format!("zpool set path={new} {} {old}", self.name.as_str())
        });
        Ok(())
    }

    /// A request about one vdev.
    fn vdev_request(&self, number: c_ulong, guid: u64) -> Request<'_> {
        let mut request = self.zfs.request(number, self.name.as_c_str());
        request.cmd().zc_guid = guid;
        request
    }

    /// Refuses an `operation` on the pool as a whole.
    fn refuse(&self, operation: Operation, kind: ErrorKind, why: impl Into<String>) -> Error {
        Error::refused(operation, self.name.as_str(), kind, why)
    }
}
