use crate::batch::{build_list, check_batch, finish_atomic, names, repeated};
use crate::bookmark::{Bookmark, NewBookmark};
use crate::dataset::Dataset;
use crate::error::{Error, ErrorKind, Operation, Result, describe_batch};
use crate::ffi::nvlist::NvList;
use crate::history::Line;
use crate::list::SnapshotEntry;
use crate::name::{DatasetName, SnapshotName};
use crate::props::{PropertySet, UserProps};
use crate::zfs::Zfs;
use std::fmt;
use zfs_core_sys::ioctl::ZFS_IOC_RENAME;

/// A snapshot, by name.
///
/// The handle is a checked name and a [`Zfs`]: it promises nothing about whether the snapshot
/// exists.
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) zfs: Zfs,
    pub(crate) name: SnapshotName,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({:?})", self.name.as_str())
    }
}

impl AsRef<SnapshotName> for Snapshot {
    fn as_ref(&self) -> &SnapshotName {
        &self.name
    }
}

impl Zfs {
    /// A handle of the snapshot with the full name `name`. Does not call the kernel.
    ///
    /// # Errors
    ///
    /// [`InvalidName`](ErrorKind::InvalidName), [`NameTooLong`](ErrorKind::NameTooLong).
    pub fn snapshot(&self, name: &str) -> Result<Snapshot> {
        Ok(Snapshot {
            zfs: self.clone(),
            name: SnapshotName::new(name)?,
        })
    }

    /// Handles of several snapshots, for a batch. Does not call the kernel.
    ///
    /// # Errors
    ///
    /// [`InvalidName`](ErrorKind::InvalidName), [`NameTooLong`](ErrorKind::NameTooLong).
    pub fn snapshots<N: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = N>,
    ) -> Result<Vec<Snapshot>> {
        names
            .into_iter()
            .map(|name| self.snapshot(name.as_ref()))
            .collect()
    }

    /// Creates snapshots of many datasets of one pool, all in one transaction group or none.
    ///
    /// Every snapshot gets the user properties `props`.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `InvalidArgument` | the batch is empty, or has two snapshots of one dataset |
    /// | `CrossPool` | the batch spans pools |
    /// | `NotFound` | a dataset does not exist |
    /// | `AlreadyExists` | a snapshot exists |
    /// | `QuotaExceeded` | a snapshot limit is reached |
    /// | `NoSpace` | a dataset's reservation does not leave the room |
    /// | `Busy` | a dataset is being received into |
    /// | `TooBig` | a property's value is too long |
    /// | `PermissionDenied` | neither root nor delegated |
    /// | `ReadOnlyPool`, `PoolSuspended` | as they say |
    ///
    /// [`Error::failures`] names the snapshots (or, for a limit, the dataset) at fault.
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permission `snapshot` on each dataset, and `userprop` for properties.
    ///
    /// `lzc_snapshot`, `zfs-snapshot(8)`.
    #[doc(alias = "lzc_snapshot")]
    pub fn create_snapshots<S: AsRef<SnapshotName>>(
        &self,
        snapshots: &[S],
        props: &UserProps,
    ) -> Result<()> {
        const OPERATION: Operation = Operation::CreateSnapshots;
        let names = names(snapshots);
        check_batch(OPERATION, &names, |name| name.pool())?;
        if let Some(dataset) = repeated(names.iter().map(|name| name.dataset_str())) {
            return Err(Error::refused(
                OPERATION,
                describe_batch(&names),
                ErrorKind::InvalidArgument,
                format!("two snapshots of {dataset}"),
            ));
        }
        let list = build_list(OPERATION, &names, &names, |list, name| {
            list.add_flag(name.as_c_str())
        })?;
        let values = match props.is_empty() {
            true => None,
            false => Some(
                NvList::try_from(&props.to_nvmap())
                    .map_err(|error| Error::protocol(OPERATION, describe_batch(&names), error))?,
            ),
        };
        let batch = self.lzc().snapshot(&list, values.as_ref());
        finish_atomic(OPERATION, &names, batch)?;
        self.record(|| {
            Line::new("zfs snapshot")
                .properties(Some("-o"), &props.to_nvmap())
                .args(&names)
        });
        Ok(())
    }

    /// Destroys snapshots of one pool, all in one transaction group or none. Those that do not
    /// exist count as destroyed; an empty batch is done at once.
    ///
    /// # Errors
    ///
    /// `Held` when one has a hold; `HasClones`; `Busy` when one is in use in another way, for a
    /// send for example; `CrossPool`; `PermissionDenied`; `ReadOnlyPool`, `PoolSuspended`.
    /// [`Error::failures`] names the snapshots at fault.
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permissions `destroy` and `mount` on each dataset.
    ///
    /// `lzc_destroy_snaps`, `zfs-destroy(8)`.
    #[doc(alias = "lzc_destroy_snaps")]
    pub fn destroy_snapshots<S: AsRef<SnapshotName>>(&self, snapshots: &[S]) -> Result<()> {
        self.destroy_snapshot_batch(snapshots, false)
    }

    /// As [`destroy_snapshots`](Self::destroy_snapshots), but a snapshot that has holds or clones
    /// is only marked, and goes when the last of them is gone.
    ///
    /// # Errors
    ///
    /// As [`destroy_snapshots`](Self::destroy_snapshots), without `Held` and `HasClones`.
    ///
    /// # Privileges
    ///
    /// As [`destroy_snapshots`](Self::destroy_snapshots).
    #[doc(alias = "lzc_destroy_snaps")]
    pub fn destroy_snapshots_deferred<S: AsRef<SnapshotName>>(
        &self,
        snapshots: &[S],
    ) -> Result<()> {
        self.destroy_snapshot_batch(snapshots, true)
    }

    fn destroy_snapshot_batch<S: AsRef<SnapshotName>>(
        &self,
        snapshots: &[S],
        defer: bool,
    ) -> Result<()> {
        const OPERATION: Operation = Operation::DestroySnapshots;
        let names = names(snapshots);
        if names.is_empty() {
            return Ok(());
        }
        check_batch(OPERATION, &names, |name| name.pool())?;
        let list = build_list(OPERATION, &names, &names, |list, name| {
            list.add_flag(name.as_c_str())
        })?;
        let batch = self.lzc().destroy_snaps(&list, defer);
        finish_atomic(OPERATION, &names, batch).map_err(|error| self.tell_held(error))?;
        self.record(|| Line::new("zfs destroy").flag("-d", defer).args(&names));
        Ok(())
    }

    /// The kernel says "busy" of a held snapshot as of one in use.
    fn tell_held(&self, error: Error) -> Error {
        error.refine(ErrorKind::Busy, |name| {
            let snapshot = self.snapshot(name).ok()?;
            (!snapshot.holds().ok()?.is_empty()).then_some(ErrorKind::Held)
        })
    }
}

impl Snapshot {
    /// Its full name.
    #[must_use]
    pub fn name(&self) -> &SnapshotName {
        &self.name
    }

    /// The ZFS it belongs to.
    #[must_use]
    pub fn zfs(&self) -> &Zfs {
        &self.zfs
    }

    /// A handle of the dataset that it is a snapshot of.
    #[must_use]
    pub fn dataset(&self) -> Dataset {
        Dataset {
            zfs: self.zfs.clone(),
            name: self.name.dataset(),
        }
    }

    /// Creates this snapshot: a batch of one.
    ///
    /// # Errors
    ///
    /// As [`Zfs::create_snapshots`].
    #[doc(alias = "lzc_snapshot")]
    pub fn create(&self, props: &UserProps) -> Result<()> {
        self.zfs.create_snapshots(std::slice::from_ref(self), props)
    }

    /// Whether the snapshot exists. Unlike `lzc_exists`, an error is not a "no".
    ///
    /// # Errors
    ///
    /// `PoolSuspended`, and whatever else keeps the kernel from knowing.
    #[doc(alias = "lzc_exists")]
    pub fn exists(&self) -> Result<bool> {
        self.zfs.exists(self.name.as_c_str())
    }

    /// What the snapshot is: its GUID, transaction group, number of clones.
    ///
    /// # Errors
    ///
    /// `NotFound`, `PoolSuspended`.
    #[doc(alias = "ZFS_IOC_OBJSET_STATS")]
    pub fn stat(&self) -> Result<SnapshotEntry> {
        SnapshotEntry::stat(&self.zfs, &self.name)
    }

    /// Destroys the snapshot.
    ///
    /// # Errors
    ///
    /// `NotFound`, unlike the batch; otherwise as [`Zfs::destroy_snapshots`].
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permissions `destroy` and `mount`.
    ///
    /// `lzc_destroy`, `zfs-destroy(8)`.
    #[doc(alias = "lzc_destroy")]
    pub fn destroy(&self) -> Result<()> {
        const OPERATION: Operation = Operation::DestroySnapshots;
        self.zfs
            .lzc()
            .destroy(self.name.as_c_str())
            .map_err(|errno| {
                let error = Error::new(OPERATION, self.name.as_str(), errno);
                let held = || self.holds().is_ok_and(|holds| !holds.is_empty());
                if error.kind() == ErrorKind::Busy && held() {
                    return error.with_kind(ErrorKind::Held);
                }
                error
            })?;
        self.zfs.record(|| Line::new("zfs destroy").arg(&self.name));
        Ok(())
    }

    /// Destroys the snapshot now, or as soon as its last hold and clone are gone.
    ///
    /// # Errors
    ///
    /// `NotFound`; otherwise as [`Zfs::destroy_snapshots_deferred`].
    pub fn destroy_deferred(&self) -> Result<()> {
        if !self.exists()? {
            return Err(Error::new(
                Operation::DestroySnapshots,
                self.name.as_str(),
                crate::Errno::ENOENT,
            ));
        }
        self.zfs
            .destroy_snapshots_deferred(std::slice::from_ref(self))
    }

    /// Renames the snapshot to `short`, within its dataset.
    ///
    /// # Errors
    ///
    /// `NotFound`, `AlreadyExists`, `NameTooLong`, `Busy`, `PermissionDenied`, `ReadOnlyPool`,
    /// `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permissions `rename` and `mount`.
    ///
    /// `lzc_rename`, `zfs-rename(8)`.
    #[doc(alias = "lzc_rename")]
    pub fn rename(&self, short: &str) -> Result<Self> {
        let to = self.name.dataset().snapshot(short)?;
        self.zfs
            .lzc()
            .rename(self.name.as_c_str(), to.as_c_str())
            .map_err(|errno| self.rename_error(&to, errno))?;
        self.zfs
            .record(|| Line::new("zfs rename").arg(&self.name).arg(&to));
        Ok(Self {
            zfs: self.zfs.clone(),
            name: to,
        })
    }

    /// Renames the snapshots of this name of the dataset and of all datasets below it to `short`,
    /// in one transaction group. Datasets without such a snapshot are passed over.
    ///
    /// # Errors
    ///
    /// As [`rename`](Self::rename); nothing is renamed then.
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permissions `rename` and `mount`.
    ///
    /// `ZFS_IOC_RENAME`, `zfs-rename(8)` with `-r`.
    #[doc(alias = "ZFS_IOC_RENAME")]
    pub fn rename_recursive(&self, short: &str) -> Result<Self> {
        const RECURSIVE: u64 = 1;
        let to = self.name.dataset().snapshot(short)?;
        let mut request = self.zfs.request(ZFS_IOC_RENAME, self.name.as_c_str());
        request.set_value(to.as_c_str());
        request.cmd().zc_cookie = RECURSIVE;
        request
            .run()
            .map_err(|errno| self.rename_error(&to, errno))?;
        self.zfs
            .record(|| Line::new("zfs rename").arg("-r").arg(&self.name).arg(&to));
        Ok(Self {
            zfs: self.zfs.clone(),
            name: to,
        })
    }

    fn rename_error(&self, to: &SnapshotName, errno: crate::Errno) -> Error {
        Error::new(
            Operation::RenameSnapshots,
            format!("{} to {to}", self.name),
            errno,
        )
    }

    /// Clones the snapshot into the new dataset `target` with the properties `props`.
    ///
    /// The clone is not mounted. It shares the snapshot's blocks, and its key if it is encrypted.
    ///
    /// # Errors
    ///
    /// `Forbidden` when a [guard](crate::Zfs::with_guard) forbids it;
    /// `NotFound` when the snapshot or the target's parent does not exist; `AlreadyExists`;
    /// `CrossPool`; `WrongKind` when the parent is a volume; `InvalidProperty` (the clone is
    /// destroyed again): see [`Error::failures`]; `KeyNotLoaded`; `QuotaExceeded`;
    /// `PermissionDenied`; `ReadOnlyPool`, `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permissions `create` and `mount` on the parent and `clone` on the
    /// snapshot, and one for each property.
    ///
    /// `zfs-clone(8)`. Uses the request behind `lzc_clone` itself, which keeps the errors of single
    /// properties for itself.
    #[doc(alias = "lzc_clone")]
    pub fn clone_to(&self, target: &DatasetName, props: &PropertySet) -> Result<Dataset> {
        let clone = Dataset {
            zfs: self.zfs.clone(),
            name: target.clone(),
        };
        self.check_clone_to(target)?;
        clone.make_clone(&self.name, props.to_nvmap())?;
        Ok(clone)
    }

    /// Creates the bookmark `short` from this snapshot.
    ///
    /// # Errors
    ///
    /// As [`Zfs::create_bookmarks`].
    #[doc(alias = "lzc_bookmark")]
    pub fn bookmark(&self, short: &str) -> Result<Bookmark> {
        let name = self.name.dataset().bookmark(short)?;
        self.zfs
            .create_bookmarks(&[NewBookmark::new(name.clone(), self.name.clone())])?;
        Ok(Bookmark {
            zfs: self.zfs.clone(),
            name,
        })
    }
}
