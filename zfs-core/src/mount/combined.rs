//! Operations that need what they work on to be unmounted.

use super::table::Table;
use super::{Flags, Mount, MountOptions, UnmountMode, mount, unmount};
use crate::dataset::Dataset;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::name::DatasetName;
use crate::props::{Prop, Properties, Source};
use crate::zfs::Zfs;
use std::path::{Path, PathBuf};

/// Mounts that were taken away, to be put back if what follows fails.
struct TakenAway<'z> {
    zfs: &'z Zfs,
    /// In the order in which they were unmounted.
    mounts: Vec<Mount>,
}

impl<'z> TakenAway<'z> {
    /// Unmounts the mounts of the table that are `wanted`, the last one first. If one of them cannot
    /// be, the others are put back.
    fn take(zfs: &'z Zfs, table: &Table, wanted: impl Fn(&Mount) -> bool) -> Result<Self> {
        let mut taken = Self {
            zfs,
            mounts: Vec::new(),
        };
        let whole = |mount: &&Mount| mount.part.is_none() && mount.snapshot.is_none();
        for mount in table.zfs.iter().rev().filter(whole) {
            if wanted(mount) {
                if let Err(error) = unmount(table, mount, UnmountMode::Unused) {
                    return Err(taken.put_back(error));
                }
                taken.mounts.push(mount.clone());
            }
        }
        Ok(taken)
    }

    /// Mounts again what was unmounted, as it was, and returns the error that made it necessary.
    fn put_back(self, error: Error) -> Error {
        let mut failed = Vec::new();
        for taken in self.mounts.iter().rev() {
            if self.mount(taken, &taken.dataset, &taken.path).is_err() {
                failed.push(taken.path.to_string_lossy());
            }
        }
        match failed.is_empty() {
            true => error,
            false => error.with_detail(format!("not mounted any more: {}", failed.join(", "))),
        }
    }

    /// Mounts what was `taken` as it was, under another name or elsewhere.
    fn mount(&self, taken: &Mount, name: &DatasetName, path: &Path) -> Result<()> {
        let dataset = Dataset {
            zfs: self.zfs.clone(),
            name: name.clone(),
        };
        let properties = dataset.properties()?;
        let mut flags = Flags::from_properties(&properties);
        flags.continue_as(&taken.flags);
        mount(name.as_c_str(), path, &flags)
    }
}

impl Dataset {
    /// Unmounts the filesystem wherever it is mounted in the mount namespace of the calling thread,
    /// and destroys it. If it cannot be destroyed it is mounted again, as and where it was.
    ///
    /// Neither children nor snapshots are destroyed; if there are any, nothing is unmounted. Works
    /// on volumes too, which are not mounted.
    ///
    /// # Errors
    ///
    /// As [`unmount`](Self::unmount) and [`destroy`](Self::destroy); `Forbidden` when a
    /// [guard](crate::Zfs::with_guard) forbids to mount it again. [`Error::detail`] tells if
    /// it could not be mounted again.
    ///
    /// # Privileges
    ///
    /// Those of both.
    ///
    /// `zfs-destroy(8)`.
    pub fn destroy_unmounting(&self) -> Result<()> {
        const OPERATION: Operation = Operation::DestroyDataset;
        self.zfs.guards.mount(self, &self.name)?;
        let refuse = |kind, why| Err(Error::refused(OPERATION, self.name.as_str(), kind, why));
        let during = |error: Error| error.during(OPERATION);
        if !self.children().map_err(during)?.is_empty() {
            return refuse(ErrorKind::HasChildren, "nothing is unmounted");
        }
        if self.has_snapshots().map_err(during)? {
            return refuse(ErrorKind::HasSnapshots, "nothing is unmounted");
        }
        let table = Table::read(OPERATION)?;
        let taken = TakenAway::take(&self.zfs, &table, |mount| mount.dataset == self.name)?;
        self.destroy().map_err(|error| taken.put_back(error))
    }

    /// Renames the dataset and all below it, as [`rename`](Self::rename) does, and mounts anew those
    /// of them whose mountpoint changes with the name, as the command does.
    ///
    /// These are the filesystems that are mounted, in the mount namespace of the calling thread,
    /// where their property `mountpoint` says, and inherit that from above the renamed dataset. They
    /// are mounted where it says then, with the options that they had. If it says `none` or `legacy`
    /// then, they are not. All other mounts stay.
    ///
    /// If it cannot be renamed, everything is mounted again as and where it was.
    ///
    /// # Errors
    ///
    /// As [`unmount`](Self::unmount) and [`rename`](Self::rename), with nothing changed; `Forbidden`
    /// when a [guard](crate::Zfs::with_guard) forbids to mount one of them under either name.
    /// An error whose [operation](Error::operation) is [`Operation::Mount`] and whose kind is
    /// another means that all is renamed, and that what it names and what would have been mounted
    /// after it is not mounted.
    ///
    /// # Privileges
    ///
    /// Those of all three.
    ///
    /// `zfs-rename(8)`.
    pub fn rename_remounting(&self, to: &DatasetName) -> Result<Self> {
        const OPERATION: Operation = Operation::RenameDataset;
        let table = Table::read(OPERATION)?;
        let mut moving = Vec::new();
        for mount in &table.zfs {
            let here = mount.dataset == self.name || self.name.is_ancestor_of(&mount.dataset);
            if !here || mount.snapshot.is_some() || mount.part.is_some() {
                continue;
            }
            let dataset = Self {
                zfs: self.zfs.clone(),
                name: mount.dataset.clone(),
            };
            let properties = dataset.properties().map_err(|e| e.during(OPERATION))?;
            if self.hands_down_to(&properties) || !dataset.is_at_mountpoint(&properties, mount) {
                continue;
            }
            self.zfs.guards.mount(&dataset, &mount.dataset)?;
            self.zfs
                .guards
                .mount(&dataset, &self.renamed(to, &mount.dataset)?)?;
            moving.push(mount.id);
        }
        let taken = TakenAway::take(&self.zfs, &table, |mount| moving.contains(&mount.id))?;
        let renamed = match self.rename(to) {
            Ok(renamed) => renamed,
            Err(error) => return Err(taken.put_back(error)),
        };
        for was in taken.mounts.iter().rev() {
            let dataset = Self {
                zfs: self.zfs.clone(),
                name: self.renamed(to, &was.dataset)?,
            };
            let properties = dataset
                .properties()
                .map_err(|error| error.during(Operation::Mount))?;
            if !properties
                .mountpoint()
                .is_some_and(|path| path.starts_with('/'))
            {
                continue;
            }
            dataset.mount_as(&properties, &MountOptions::new(), Some(&was.flags))?;
        }
        Ok(renamed)
    }

    /// Whether the mountpoint comes from this dataset or one below it, and so stays what it is when
    /// this one is renamed.
    fn hands_down_to(&self, properties: &Properties) -> bool {
        match properties.source(Prop::Mountpoint) {
            Some(Source::Inherited(from)) => from == self.name || self.name.is_ancestor_of(&from),
            Some(Source::Default) | None => false,
            Some(_) => true,
        }
    }

    fn is_at_mountpoint(&self, properties: &Properties, mount: &Mount) -> bool {
        let at = |path: PathBuf| {
            // What is mounted behind a symbolic link is listed where that leads.
            path == mount.path || path.canonicalize().is_ok_and(|path| path == mount.path)
        };
        self.mountpoint(properties).is_ok_and(at)
    }

    /// The name of a dataset, this one or below it, after this one is renamed.
    fn renamed(&self, to: &DatasetName, dataset: &DatasetName) -> Result<DatasetName> {
        let rest = dataset
            .as_str()
            .strip_prefix(self.name.as_str())
            .unwrap_or_default();
        DatasetName::new(&format!("{to}{rest}")).map_err(Error::from)
    }
}
