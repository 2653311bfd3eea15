use crate::create::CreateOptions;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::history::Line;
use crate::list::{DatasetEntry, DatasetKind, SnapshotFilter};
use crate::name::{DatasetName, SnapshotName};
use crate::nv::{NvMap, Value};
use crate::snapshot::Snapshot;
use crate::zfs::Zfs;
use crate::{bookmark::Bookmark, key};
use std::ffi::c_ulong;
use std::fmt;
use zfs_core_sys::ioctl::{ZFS_IOC_CLONE, ZFS_IOC_CREATE};

/// A filesystem or a volume, by name.
///
/// The handle is a checked name and a [`Zfs`]: it promises nothing about whether the dataset
/// exists, and every method asks the kernel anew.
#[derive(Clone)]
pub struct Dataset {
    pub(crate) zfs: Zfs,
    pub(crate) name: DatasetName,
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dataset({:?})", self.name.as_str())
    }
}

impl AsRef<DatasetName> for Dataset {
    fn as_ref(&self) -> &DatasetName {
        &self.name
    }
}

impl Zfs {
    /// A handle of the filesystem or volume `name`. Does not call the kernel.
    ///
    /// # Errors
    ///
    /// [`InvalidName`](ErrorKind::InvalidName), [`NameTooLong`](ErrorKind::NameTooLong).
    pub fn dataset(&self, name: &str) -> Result<Dataset> {
        Ok(Dataset {
            zfs: self.clone(),
            name: DatasetName::new(name)?,
        })
    }
}

impl Dataset {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &DatasetName {
        &self.name
    }

    /// The ZFS it belongs to.
    #[must_use]
    pub fn zfs(&self) -> &Zfs {
        &self.zfs
    }

    /// A handle of the dataset `child` below this one; `child` may have several components.
    ///
    /// # Errors
    ///
    /// [`InvalidName`](ErrorKind::InvalidName), [`NameTooLong`](ErrorKind::NameTooLong).
    pub fn child(&self, child: &str) -> Result<Self> {
        Ok(Self {
            zfs: self.zfs.clone(),
            name: self.name.child(child)?,
        })
    }

    /// A handle of the snapshot `short` of this dataset (`deploy-42`, without the `@`).
    ///
    /// # Errors
    ///
    /// [`InvalidName`](ErrorKind::InvalidName), [`NameTooLong`](ErrorKind::NameTooLong).
    pub fn snapshot(&self, short: &str) -> Result<Snapshot> {
        Ok(Snapshot {
            zfs: self.zfs.clone(),
            name: self.name.snapshot(short)?,
        })
    }

    /// A handle of the bookmark `short` of this dataset, without the `#`.
    ///
    /// # Errors
    ///
    /// [`InvalidName`](ErrorKind::InvalidName), [`NameTooLong`](ErrorKind::NameTooLong).
    pub fn bookmark(&self, short: &str) -> Result<Bookmark> {
        Ok(Bookmark {
            zfs: self.zfs.clone(),
            name: self.name.bookmark(short)?,
        })
    }

    /// Creates the dataset. It is not mounted, and a volume's device node appears a moment later.
    ///
    /// The kernel creates the dataset and then sets its properties. When a property is refused it
    /// destroys the dataset again, so that a failed call leaves nothing behind.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `NotFound` | the parent does not exist |
    /// | `AlreadyExists` | the dataset exists |
    /// | `WrongKind` | the parent is a volume |
    /// | `InvalidProperty` | a property is not valid here: see [`Error::failures`] |
    /// | `InvalidArgument` | a volume's size is no multiple of its block size; encryption and its parent do not fit |
    /// | `QuotaExceeded` | a filesystem limit above is reached |
    /// | `NoSpace` | a reservation does not fit |
    /// | `KeyNotLoaded` | the key that it would inherit is not loaded |
    /// | `PermissionDenied` | neither root nor delegated |
    /// | `ReadOnlyPool`, `PoolSuspended` | as they say |
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permissions `create` and `mount` on the parent, and one for each
    /// property.
    ///
    /// `zfs-create(8)`. Uses the request behind `lzc_create` itself, for that function keeps the
    /// errors of single properties for itself, and copies of the key.
    #[doc(alias = "lzc_create")]
    pub fn create(&self, options: &CreateOptions) -> Result<()> {
        let mut args = NvMap::new();
        args.insert(c"type", options.objset_type());
        args.insert(c"props", options.to_nvmap()?);
        let key = options.encryption_key();
        self.make(Operation::CreateDataset, ZFS_IOC_CREATE, args, key)?;
        self.zfs.record(|| {
            let line = Line::new("zfs create").arg("-u");
            options.describe(line).arg(&self.name)
        });
        Ok(())
    }

    pub(crate) fn make_clone(&self, origin: &SnapshotName, props: NvMap) -> Result<()> {
        let line = Line::new("zfs clone").properties(Some("-o"), &props);
        let mut args = NvMap::new();
        args.insert(c"origin", Value::from(origin.as_c_str()));
        args.insert(c"props", props);
        self.make(Operation::CloneSnapshot, ZFS_IOC_CLONE, args, None)?;
        self.zfs.record(|| line.arg(origin).arg(&self.name));
        Ok(())
    }

    fn make(
        &self,
        operation: Operation,
        number: c_ulong,
        args: NvMap,
        key: Option<&[u8; key::KEY_LEN]>,
    ) -> Result<()> {
        let object = || self.name.to_string();
        let request = self.zfs.request(number, self.name.as_c_str());
        let request = match key {
            Some(key) => key::input_with_key(request, args, key),
            None => request.input(&args),
        };
        let mut request = request
            .map_err(|refusal| refusal.into_error(operation, object()))?
            .answered();
        match request.run() {
            Ok(()) => Ok(()),
            Err(errno) => {
                Err(Error::new(operation, object(), errno)
                    .with_failures(request.failures(operation)))
            }
        }
    }

    /// Destroys the dataset, which must have neither children nor snapshots and not be mounted.
    ///
    /// # Errors
    ///
    /// `NotFound`; `HasChildren`; `HasSnapshots`; `Busy` while it is mounted, open, or being
    /// received into; `PermissionDenied`; `ReadOnlyPool`, `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permissions `destroy` and `mount`.
    ///
    /// `lzc_destroy`, `zfs-destroy(8)`. This neither unmounts nor recurses.
    #[doc(alias = "lzc_destroy")]
    pub fn destroy(&self) -> Result<()> {
        self.zfs
            .lzc()
            .destroy(self.name.as_c_str())
            .map_err(|errno| {
                let error = Error::new(Operation::DestroyDataset, self.name.as_str(), errno);
                // The kernel says "busy" of a dataset with snapshots too. Which it is decides what an
                // operator does next, so it is worth another look.
                if error.kind() == ErrorKind::Busy && self.has_snapshots().unwrap_or(false) {
                    return error.with_kind(ErrorKind::HasSnapshots);
                }
                error
            })?;
        self.zfs.record(|| Line::new("zfs destroy").arg(&self.name));
        Ok(())
    }

    /// Renames the dataset, and all below it, within its pool.
    ///
    /// A mounted filesystem stays mounted where it was; if its mountpoint is inherited, unmount it
    /// first and mount it afterwards.
    ///
    /// # Errors
    ///
    /// `NotFound` (also the new parent); `AlreadyExists`; `CrossPool`; `InvalidArgument` for a
    /// new name below the old one; `WrongKind` when the new parent is a volume, or when the move
    /// leaves its encryption root; `Forbidden` when a [guard](crate::Zfs::with_guard) forbids it; `NameTooLong` when a descendant's or snapshot's name would be;
    /// `QuotaExceeded` for the new parents' limits; `PermissionDenied`; `ReadOnlyPool`,
    /// `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permissions `rename` and `mount`, and `create` and `mount` on the new
    /// parent.
    ///
    /// `lzc_rename`, `zfs-rename(8)`.
    #[doc(alias = "lzc_rename")]
    pub fn rename(&self, to: &DatasetName) -> Result<Self> {
        self.zfs.guards.rename(self, to)?;
        self.zfs
            .lzc()
            .rename(self.name.as_c_str(), to.as_c_str())
            .map_err(|errno| {
                Error::new(
                    Operation::RenameDataset,
                    format!("{} to {to}", self.name),
                    errno,
                )
            })?;
        self.zfs
            .record(|| Line::new("zfs rename").arg("-u").arg(&self.name).arg(to));
        Ok(Self {
            zfs: self.zfs.clone(),
            name: to.clone(),
        })
    }

    /// Whether the dataset exists. Unlike `lzc_exists`, an error is not a "no".
    ///
    /// # Errors
    ///
    /// `PoolSuspended`, `PermissionDenied` and whatever else keeps the kernel from knowing.
    #[doc(alias = "lzc_exists")]
    pub fn exists(&self) -> Result<bool> {
        self.zfs.exists(self.name.as_c_str())
    }

    /// What the dataset is: its kind, GUID, origin.
    ///
    /// # Errors
    ///
    /// `NotFound`, `PoolSuspended`.
    #[doc(alias = "ZFS_IOC_OBJSET_STATS")]
    pub fn stat(&self) -> Result<DatasetEntry> {
        DatasetEntry::stat(&self.zfs, &self.name)
    }

    /// Promotes a clone: it takes over its origin and all older snapshots, and the filesystem it
    /// was cloned from becomes its clone.
    ///
    /// A clone of an encryption root becomes the encryption root in its stead. The wrapping key is
    /// the same, but has to be [loaded](Self::load_key) again before either can be mounted.
    ///
    /// # Errors
    ///
    /// `WrongKind` when it is no clone; `AlreadyExists` when a snapshot that would move has the
    /// name of one of the clone's: [`Error::detail`] names one; `NotFound`; `Busy`; `NoSpace`,
    /// `QuotaExceeded` when the moved snapshots do not fit; `KeyNotLoaded`; `PermissionDenied`;
    /// `Forbidden` when a [guard](crate::Zfs::with_guard) forbids it;
    /// `ReadOnlyPool`, `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permissions `promote` and `mount`, and `promote` on the origin's
    /// filesystem.
    ///
    /// `lzc_promote`, `zfs-promote(8)`.
    #[doc(alias = "lzc_promote")]
    pub fn promote(&self) -> Result<()> {
        self.zfs.guards.promote(self)?;
        self.zfs
            .lzc()
            .promote(self.name.as_c_str())
            .map_err(|(errno, conflict)| {
                let error = Error::new(Operation::PromoteDataset, self.name.as_str(), errno);
                if error.kind() == ErrorKind::AlreadyExists && !conflict.is_empty() {
                    return error.with_detail(format!("{}@{conflict}", self.name));
                }
                error
            })?;
        self.zfs.record(|| Line::new("zfs promote").arg(&self.name));
        Ok(())
    }

    /// Rolls back to the latest snapshot and returns it. What was written since is lost.
    ///
    /// A mounted filesystem stays mounted; open files may turn stale.
    ///
    /// # Errors
    ///
    /// `NotFound` when the dataset does not exist or has no snapshot; `NewerSnapshotsExist` when a
    /// bookmark is newer; `Busy`; `NoSpace`, `QuotaExceeded`; `PermissionDenied`; `ReadOnlyPool`,
    /// `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permissions `rollback` and `mount`.
    ///
    /// `lzc_rollback`, `zfs-rollback(8)`. Which snapshot is the latest is decided when it happens:
    /// [`rollback_to`](Self::rollback_to) is safe against one that appears in between.
    #[doc(alias = "lzc_rollback")]
    pub fn rollback(&self) -> Result<Snapshot> {
        let object = self.name.as_str();
        let name = self
            .zfs
            .lzc()
            .rollback(self.name.as_c_str())
            .map_err(|errno| Error::new(Operation::Rollback, object, errno))?;
        self.zfs.record(|| Line::new("zfs rollback").arg(&name));
        let name = SnapshotName::new(&name)
            .map_err(|error| Error::protocol(Operation::Rollback, object, error))?;
        Ok(Snapshot {
            zfs: self.zfs.clone(),
            name,
        })
    }

    /// Rolls back to the snapshot `short` if it is the latest one. What was written since is lost.
    ///
    /// # Errors
    ///
    /// As [`rollback`](Self::rollback); `NewerSnapshotsExist` when it is not the latest.
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permissions `rollback` and `mount`.
    ///
    /// `lzc_rollback_to`, `zfs-rollback(8)`.
    #[doc(alias = "lzc_rollback_to")]
    pub fn rollback_to(&self, short: &str) -> Result<()> {
        let target = self.name.snapshot(short)?;
        self.zfs
            .lzc()
            .rollback_to(self.name.as_c_str(), target.as_c_str())
            .map_err(|errno| Error::new(Operation::Rollback, target.as_str(), errno))?;
        self.zfs.record(|| Line::new("zfs rollback").arg(&target));
        Ok(())
    }

    /// Rolls back to the snapshot `short` and **destroys every snapshot and bookmark that is
    /// newer**, as `zfs rollback -r` does. Returns the snapshots that it destroyed.
    ///
    /// The newer snapshots go in one transaction, all or none; then the newer bookmarks; then the
    /// dataset is rolled back. A crash in between loses none of the older snapshots, and the call
    /// can be made again. A snapshot of the same transaction group as the target may be older than
    /// it and is never destroyed: if it is newer, the call fails with `NewerSnapshotsExist`.
    ///
    /// # Errors
    ///
    /// `NotFound` before anything is destroyed when the target does not exist; `Held` or
    /// `HasClones`, with the snapshots concerned in [`Error::failures`], when a newer snapshot
    /// cannot go; and as [`rollback_to`](Self::rollback_to).
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permissions `rollback`, `destroy` and `mount`.
    pub fn rollback_to_discarding_newer(&self, short: &str) -> Result<Vec<SnapshotName>> {
        let target = self.snapshot(short)?;
        let txg = target
            .stat()
            .map_err(|error| error.during(Operation::Rollback))?
            .create_txg;
        let newer: Vec<SnapshotName> = self
            .snapshots(&SnapshotFilter::new().min_txg(txg.saturating_add(1)))?
            .into_iter()
            .map(|entry| entry.name)
            .collect();
        self.zfs.destroy_snapshots(&newer)?;
        let marks: Vec<_> = self
            .bookmarks()?
            .into_iter()
            .filter(|mark| mark.create_txg > txg)
            .map(|mark| mark.name)
            .collect();
        self.zfs.destroy_bookmarks(&marks)?;
        self.rollback_to(short)?;
        Ok(newer)
    }

    /// Its kind: filesystem or volume.
    ///
    /// # Errors
    ///
    /// `NotFound`, `PoolSuspended`.
    pub fn kind(&self) -> Result<DatasetKind> {
        Ok(self.stat()?.kind)
    }
}
