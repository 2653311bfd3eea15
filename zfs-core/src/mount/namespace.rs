//! Mounts that nobody else sees.

use super::table::Table;
use super::{MOUNT, UNMOUNT};
use crate::error::{Errno, Error, Operation, Result};
use crate::ffi::namespace::unshare_mounts;
use crate::zfs::Zfs;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change};
use std::path::Path;

impl Zfs {
    /// Gives the **calling thread** a mount namespace of its own, for good: what it mounts from now
    /// on is seen by itself, and by the threads and processes that it starts, and by nobody else.
    /// The namespace ends with the last of them, and its mounts with it.
    ///
    /// The other ZFS filesystems are taken out of sight there, so that their datasets are not kept
    /// busy by a copy of their mounts that nobody else can see. Those in which the folder `keep` lies
    /// stay, and those of the pool that the root folder is on. What is mounted or unmounted outside
    /// is so inside too, where mounts are shared (as systemd has them), and never the other way round.
    ///
    /// The thread must not be one that others borrow, such as a worker of an executor.
    ///
    /// # Errors
    ///
    /// `PermissionDenied`; `NoSpace` when the limit of namespaces is reached; `Transport` when
    /// `/proc` cannot be read. The thread may be in its own namespace then, with nothing else done.
    ///
    /// # Privileges
    ///
    /// Root in its user namespace (`CAP_SYS_ADMIN`).
    ///
    /// `unshare(2)`, `mount_namespaces(7)`.
    #[doc(alias = "unshare")]
    pub fn enter_private_namespace(&self, keep: &Path) -> Result<()> {
        let error = |operation: Operation, object: &Path, errno| {
            Error::new(operation, object.to_string_lossy(), errno)
        };
        let raw = |errno: rustix::io::Errno| Errno::from_raw(errno.raw_os_error());
        let root = Path::new("/");
        unshare_mounts().map_err(|errno| error(MOUNT, root, errno))?;
        mount_change(
            root,
            MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
        )
        .map_err(|errno| error(MOUNT, root, raw(errno)))?;
        let table = Table::read(MOUNT)?;
        let system = table.zfs.iter().find(|mount| mount.path == root);
        let system = system.map(|mount| mount.dataset.pool());
        for mount in table.zfs.iter().rev() {
            if keep.starts_with(&mount.path) || system == Some(mount.dataset.pool()) {
                continue;
            }
            match rustix::mount::unmount(&mount.path, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH)
            {
                // It lay in one that went before, or was unmounted outside meanwhile.
                Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
                Err(errno) => return Err(error(UNMOUNT, &mount.path, raw(errno))),
            }
        }
        Ok(())
    }
}
