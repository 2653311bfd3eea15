//! Mounting and unmounting filesystems and snapshots.
//!
//! The kernel's ZFS calls neither `mount(2)` nor `umount(2)`, and nor does anything else in this
//! crate: only what is in this module does, and only when it is called. It acts in the mount
//! namespace of the calling thread, and sees no other: what is mounted in another namespace is
//! [busy](crate::ErrorKind::Busy) for reasons that cannot be seen here.
//!
//! A [guard](crate::Zfs::with_guard) forbids mounting what must not be mounted.

mod combined;
mod namespace;
mod options;
mod table;

pub use options::MountOptions;
pub use table::Mount;

use crate::dataset::Dataset;
use crate::error::{Errno, Error, ErrorKind, Operation, Result};
use crate::props::{CanMount, KeyStatus, Overlay, Prop, Properties};
use crate::snapshot::Snapshot;
use crate::zfs::Zfs;
use options::Flags;
use rustix::mount::UnmountFlags;
use std::ffi::CStr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use table::Table;

const MOUNT: Operation = Operation::Mount;
const UNMOUNT: Operation = Operation::Unmount;

/// How something is unmounted.
///
/// There is no "force": Linux does nothing about it for ZFS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UnmountMode {
    /// Only if nobody uses it.
    #[default]
    Unused,
    /// It is out of sight at once, and goes when nobody uses it any more. Until then it stays busy
    /// for ZFS: it can be neither destroyed nor locked.
    Lazy,
}

impl Zfs {
    /// All mounts of filesystems and snapshots in the mount namespace of the calling thread, in
    /// the order in which they were mounted.
    ///
    /// # Errors
    ///
    /// `Transport` when `/proc` cannot be read.
    ///
    /// # Privileges
    ///
    /// None. `/proc/thread-self/mountinfo`, `proc(5)`.
    pub fn mounts(&self) -> Result<Vec<Mount>> {
        Ok(Table::read(MOUNT)?.zfs)
    }
}

impl Dataset {
    /// Where it is mounted in the mount namespace of the calling thread, in the order in which that
    /// was done; nowhere else is empty. Folders of it that are mounted elsewhere are among them.
    ///
    /// # Errors
    ///
    /// As [`Zfs::mounts`].
    ///
    /// # Privileges
    ///
    /// None.
    #[doc(alias = "is_mounted")]
    pub fn mounts(&self) -> Result<Vec<Mount>> {
        let mut mounts = Table::read(MOUNT)?.zfs;
        mounts.retain(|mount| mount.dataset == self.name && mount.snapshot.is_none());
        Ok(mounts)
    }

    /// Mounts the filesystem in the mount namespace of the calling thread, and returns where.
    ///
    /// Unless `options` say otherwise that is at its property `mountpoint`, behind the pool's
    /// `altroot`, where folders that are missing are made. What the properties `readonly`, `atime`,
    /// `relatime`, `devices`, `exec`, `setuid` and those of SELinux say holds for the mount, as it
    /// does when the `zfs` command mounts. Whoever may set `mountpoint` decides where it is mounted;
    /// [`MountOptions::at`] leaves that to the caller.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `Forbidden` | a [guard](crate::Zfs::with_guard) forbids it |
    /// | `NotFound` | the filesystem does not exist, or the folder that was asked for |
    /// | `WrongKind` | it is a volume |
    /// | `InvalidArgument` | no path was asked for, and `canmount` is `off` or `mountpoint` no path; the path that was asked for is not absolute, or no folder |
    /// | `KeyNotLoaded` | its encryption key is not loaded |
    /// | `Busy` | it is mounted there already; it is mounted for writing and this is to be read-only, or the other way round; the folder has something in it and `overlay` is `off` |
    /// | `PermissionDenied` | the caller may not mount |
    /// | `Transport` | a folder that is missing cannot be made |
    /// | `PoolSuspended` | as it says |
    ///
    /// # Privileges
    ///
    /// Root in its mount namespace. A delegated permission to mount does not suffice on Linux.
    ///
    /// `mount(2)`, `zfs-mount(8)`.
    #[doc(alias = "zfs_mount")]
    pub fn mount(&self, options: &MountOptions) -> Result<PathBuf> {
        self.zfs.guards.mount(self, &self.name)?;
        let properties = self.properties().map_err(|error| error.during(MOUNT))?;
        self.mount_as(&properties, options, None)
    }

    fn refuse<T>(&self, kind: ErrorKind, why: impl Into<String>) -> Result<T> {
        Err(Error::refused(MOUNT, self.name.as_str(), kind, why))
    }

    /// Mounts it, with the flags that it had before if it had any.
    fn mount_as(
        &self,
        properties: &Properties,
        options: &MountOptions,
        before: Option<&Flags>,
    ) -> Result<PathBuf> {
        let mut flags = Flags::from_properties(properties);
        flags.read_only |= options.read_only;
        if let Some(before) = before {
            flags.continue_as(before);
        }
        if properties.mountpoint().is_none() {
            return self.refuse(ErrorKind::WrongKind, "only filesystems are mounted");
        }
        let (path, make) = match &options.path {
            Some(path) => (path.clone(), false),
            None => (self.mountpoint(properties)?, true),
        };
        if !path.is_absolute() {
            return self.refuse(ErrorKind::InvalidArgument, "the path is not absolute");
        }
        if properties.key_status() == Some(KeyStatus::Unavailable) {
            return self.refuse(ErrorKind::KeyNotLoaded, "its key is not loaded");
        }
        let missing = make && path.symlink_metadata().is_err();
        if missing {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(&path)
                .map_err(|error| Error::transport(MOUNT, path.to_string_lossy(), error))?;
        }
        let covers = properties
            .value::<Overlay>()
            .is_none_or(|overlay| overlay.0);
        if !covers && !missing && has_entries(&path) {
            let why = format!("{} is not empty, and overlay is off", path.display());
            return self.refuse(ErrorKind::Busy, why);
        }
        mount(self.name.as_c_str(), &path, &flags).inspect_err(|_| {
            if missing {
                // It was not there, and has nothing in it.
                let _ = std::fs::remove_dir(&path);
            }
        })?;
        Ok(path)
    }

    /// Where its properties say that it is mounted.
    fn mountpoint(&self, properties: &Properties) -> Result<PathBuf> {
        if properties.value::<CanMount>() == Some(CanMount::Off) {
            return self.refuse(ErrorKind::InvalidArgument, "canmount is off");
        }
        let path = properties.mountpoint().unwrap_or_default();
        if !path.starts_with('/') {
            let why = format!("mountpoint is {path}");
            return self.refuse(ErrorKind::InvalidArgument, why);
        }
        let pool = self.zfs.pool(self.name.pool())?;
        let status = pool.status().map_err(|error| error.during(MOUNT))?;
        Ok(match status.altroot {
            Some(altroot) => altroot.join(path.trim_start_matches('/')),
            None => path.into(),
        })
    }

    /// Unmounts the filesystem wherever it is mounted in the mount namespace of the calling thread,
    /// and returns where that was; nowhere is no error. Folders of it that are mounted elsewhere
    /// stay.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `Busy` | somebody uses it; something else is mounted in it or over it |
    /// | `PermissionDenied` | the caller may not unmount |
    /// | `PoolSuspended` | the pool is suspended, and unmounting would wait for it |
    ///
    /// If it is mounted in several places, those that come before the one that the error names are
    /// unmounted.
    ///
    /// # Privileges
    ///
    /// Root in its mount namespace.
    ///
    /// `umount(2)`, `zfs-unmount(8)`.
    #[doc(alias = "zfs_unmount")]
    pub fn unmount(&self, mode: UnmountMode) -> Result<Vec<PathBuf>> {
        let is_this = |mount: &Mount| mount.dataset == self.name && mount.snapshot.is_none();
        unmount_all(self, mode, is_this)
    }
}

impl Snapshot {
    /// Where it is mounted in the mount namespace of the calling thread: by
    /// [`mount`](Self::mount), or by the kernel, because somebody looked into `.zfs/snapshot`.
    ///
    /// # Errors
    ///
    /// As [`Zfs::mounts`].
    ///
    /// # Privileges
    ///
    /// None.
    pub fn mounts(&self) -> Result<Vec<Mount>> {
        let mut mounts = Table::read(MOUNT)?.zfs;
        mounts.retain(|mount| mount.is_of(self));
        Ok(mounts)
    }

    /// Mounts the snapshot, read-only, on the folder `path` in the mount namespace of the calling
    /// thread.
    ///
    /// # Errors
    ///
    /// As [`Dataset::mount`].
    ///
    /// # Privileges
    ///
    /// As [`Dataset::mount`].
    ///
    /// `mount(2)`.
    pub fn mount(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let dataset = self.dataset();
        self.zfs.guards.mount(&dataset, &dataset.name)?;
        let properties = self.properties().map_err(|error| error.during(MOUNT))?;
        let refuse = |kind, why| Err(Error::refused(MOUNT, self.name.as_str(), kind, why));
        if properties.get(Prop::Exec).is_none() {
            return refuse(ErrorKind::WrongKind, "only filesystems are mounted");
        }
        if !path.is_absolute() {
            return refuse(ErrorKind::InvalidArgument, "the path is not absolute");
        }
        if properties.key_status() == Some(KeyStatus::Unavailable) {
            return refuse(ErrorKind::KeyNotLoaded, "its key is not loaded");
        }
        let mut flags = Flags::from_properties(&properties);
        flags.read_only = true;
        mount(self.name.as_c_str(), path, &flags)
    }

    /// Unmounts the snapshot wherever it is mounted in the mount namespace of the calling thread,
    /// and returns where that was; nowhere is no error.
    ///
    /// # Errors
    ///
    /// As [`Dataset::unmount`].
    ///
    /// # Privileges
    ///
    /// As [`Dataset::unmount`].
    ///
    /// `umount(2)`.
    pub fn unmount(&self, mode: UnmountMode) -> Result<Vec<PathBuf>> {
        unmount_all(&self.dataset(), mode, |mount| mount.is_of(self))
    }
}

/// Whether there is anything in a folder. What cannot be read is for the kernel to say something of.
fn has_entries(path: &Path) -> bool {
    std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some())
}

fn mount(name: &CStr, path: &Path, flags: &Flags) -> Result<()> {
    let error = |errno| {
        let object = format!("{} on {}", name.to_string_lossy(), path.display());
        Error::new(MOUNT, object, errno)
    };
    let data = flags.data(path);
    rustix::mount::mount(name, path, c"zfs", flags.bits(), data.as_c_str()).map_err(|errno| {
        let errno = Errno::from_raw(errno.raw_os_error());
        match errno {
            Errno::ENOTDIR => error(errno).with_kind(ErrorKind::InvalidArgument),
            _ => error(errno),
        }
    })
}

/// Unmounts those of the mounts of `dataset` that are `wanted`, the last one first.
fn unmount_all(
    dataset: &Dataset,
    mode: UnmountMode,
    wanted: impl Fn(&Mount) -> bool,
) -> Result<Vec<PathBuf>> {
    let table = Table::read(UNMOUNT)?;
    let mut paths = Vec::new();
    for mount in table.zfs.iter().rev() {
        if mount.part.is_some() || !wanted(mount) {
            continue;
        }
        // The last unmount writes what is left to write, and would wait for a suspended pool.
        match dataset.stat() {
            Err(error) if error.kind() == ErrorKind::PoolSuspended => {
                return Err(error.during(UNMOUNT));
            }
            _ => {}
        }
        unmount(&table, mount, mode)?;
        paths.push(mount.path.clone());
    }
    Ok(paths)
}

fn unmount(table: &Table, mount: &Mount, mode: UnmountMode) -> Result<()> {
    let object = || format!("{} from {}", mount.name(), mount.path.display());
    // What a path leads to is what was mounted there last.
    if table.covers(mount) {
        let why = "something else is mounted over it";
        return Err(Error::refused(UNMOUNT, object(), ErrorKind::Busy, why));
    }
    let flags = match mode {
        UnmountMode::Unused => UnmountFlags::NOFOLLOW,
        UnmountMode::Lazy => UnmountFlags::NOFOLLOW | UnmountFlags::DETACH,
    };
    rustix::mount::unmount(&mount.path, flags)
        .map_err(|errno| Error::new(UNMOUNT, object(), Errno::from_raw(errno.raw_os_error())))
}
