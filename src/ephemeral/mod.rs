//! Clones that live for a while: for load tests, and for whoever wants to try something on real data.
//!
//! An [`Ephemeral`] is a clone of a snapshot in an area of its own, a filesystem that has nothing else
//! in it. Making one takes the same time and space whatever the size of the data. It is removed when
//! the value is dropped; a [`Reaper`] removes what a process that died left behind, once it has
//! expired.
//!
//! ```no_run
//! use helix_zfs::ephemeral::{Ephemeral, EphemeralMount, EphemeralSpec};
//! use helix_zfs::zfs_core::Zfs;
//! use std::process::Command;
//! use std::time::Duration;
//!
//! # fn load_test(capability: &helix_zfs::gate::Capability) -> Result<(), Box<dyn std::error::Error>> {
//! let zfs = Zfs::open()?;
//! let snapshot = zfs.snapshot("tank/tenants/acme@deploy-42")?;
//! let area = zfs.dataset("tank/ephemeral")?;
//! let spec = EphemeralSpec::new(&area, "anna", "load test of #1180", Duration::from_secs(3600))
//!     .writable()
//!     .mount(EphemeralMount::Private("/mnt".into()));
//! let clone = Ephemeral::create(capability, &snapshot, &spec)?;
//! let mut load_test = Command::new("load-test");
//! load_test.arg("/mnt");
//! let status = clone.spawn(load_test)?.wait();
//! clone.remove()?;
//! # Ok(())
//! # }
//! ```
//!
//! # What a clone has
//!
//! It is told from everything else by user properties of its own, which the kernel writes before
//! the call that makes the clone returns:
//!
//! | property | what it is |
//! |---|---|
//! | `helix:ephemeral` | the GUID of the snapshot that it is a clone of |
//! | `helix:owner`, `helix:purpose` | words for people |
//! | `helix:expires` | a time in UTC, `2026-11-22T21:05:00Z` |
//! | `helix:mounted_at` | the folder that it was mounted on for everybody to see |
//!
//! It has `canmount=noauto` and `mountpoint=none`, so that nothing mounts it by itself. What mounts
//! it here is [`Dataset::mount`], so that the [`MountPolicy`](crate::MountPolicy) of the snapshot's
//! [`Zfs`](zfs_core::Zfs) binds it.
//!
//! The kernel makes a clone in one transaction group and writes its properties in another. No end of
//! a process comes in between, but the end of the machine can: a clone without properties is left
//! then. The reaper reports it and leaves it alone.
//!
//! # When it goes
//!
//! | what | when |
//! |---|---|
//! | [`Ephemeral::remove`], its drop | the process says so, or ends in order |
//! | the thread of a private namespace | the clone has expired, while the process lives |
//! | [`Reaper`] | it has expired |
//!
//! None of them removes what is in use, or a clone that has snapshots or datasets of its own.

mod error;
mod expiry;
mod found;
mod private;
mod reaper;
mod remove;
mod spec;

pub use error::EphemeralError;
pub use expiry::Expiry;
pub use found::{EphemeralClone, NotEphemeral};
pub use reaper::{Ignored, Reap, ReapPlan, Reaped, Reaper};
pub use remove::InUse;
pub use spec::{EphemeralMount, EphemeralSpec};

use private::Private;
use std::path::Path;
use std::process::{Child, Command};
use std::time::SystemTime;
use zfs_core::mount::MountOptions;
use zfs_core::{Dataset, Snapshot};

use crate::gate::{Capability, Operation};

/// An ephemeral clone that is removed when this is dropped.
#[derive(Debug)]
#[must_use = "the clone is removed as soon as this is dropped"]
pub struct Ephemeral {
    dataset: Dataset,
    clone: EphemeralClone,
    mount: EphemeralMount,
    private: Option<Private>,
    keep: bool,
}

impl Ephemeral {
    /// Makes a clone of `snapshot`, and mounts it if `spec` says so. If it cannot be mounted it is
    /// removed again.
    ///
    /// The capability has to be for [`CloneEphemeral`](Operation::CloneEphemeral) of the dataset that
    /// the snapshot is of, and of the clone. It covers the clone's end too: whoever made it may
    /// [remove](Self::remove) or drop it, also when the capability has ended by then.
    ///
    /// # Errors
    ///
    /// | error | when |
    /// |---|---|
    /// | [`Refused`](EphemeralError::Refused) | the capability does not cover it; nothing was asked of the kernel |
    /// | [`Name`](EphemeralError::Name), [`Expiry`](EphemeralError::Expiry), [`Folder`](EphemeralError::Folder), [`Volume`](EphemeralError::Volume) | `spec` is not valid here; nothing was asked of the kernel |
    /// | `NotFound` | the snapshot or the area does not exist |
    /// | `AlreadyExists` | a dataset of that name exists |
    /// | `Forbidden` | the [policy](crate::MountPolicy) forbids to mount it |
    /// | `KeyNotLoaded`, `QuotaExceeded`, `CrossPool`, `PermissionDenied`, … | as with [`Snapshot::clone_to`] and [`Dataset::mount`] |
    /// | [`Thread`](EphemeralError::Thread) | the thread of the private namespace cannot be started |
    ///
    /// # Privileges
    ///
    /// Root; without a mount, those of [`Snapshot::clone_to`] with `readonly`, `canmount`,
    /// `mountpoint` and `userprop`, but then only root can remove it.
    ///
    /// `zfs-clone(8)`, `mount(2)`, `unshare(2)`.
    pub fn create(
        capability: &Capability,
        snapshot: &Snapshot,
        spec: &EphemeralSpec,
    ) -> Result<Self, EphemeralError> {
        let prepared = spec.prepare(snapshot)?;
        let objects = [&snapshot.name().dataset(), &prepared.target];
        capability.allow_all(Operation::CloneEphemeral, objects)?;
        let dataset = snapshot.clone_to(&prepared.target, &prepared.props)?;
        let clone = EphemeralClone::of(&dataset)?;
        let mut made = Self {
            dataset,
            clone,
            mount: prepared.mount,
            private: None,
            keep: false,
        };
        match &made.mount {
            EphemeralMount::No => {}
            EphemeralMount::At(path) => {
                capability.allow(Operation::CloneEphemeral, &prepared.target)?;
                made.dataset.mount(&MountOptions::new().at(path))?;
            }
            EphemeralMount::Private(path) => {
                capability.allow(Operation::CloneEphemeral, &prepared.target)?;
                made.private = Some(Private::start(&made.clone, &made.dataset, path)?);
            }
        }
        Ok(made)
    }

    /// Its dataset.
    #[must_use]
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// What it was when it was made, or [extended](Self::extend).
    #[must_use]
    pub fn as_clone(&self) -> &EphemeralClone {
        &self.clone
    }

    /// The folder that it is mounted on, if it is; in its own namespace, if it has one.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.mount.folder()
    }

    /// Runs `action` where the clone is mounted, with its folder if it has one: on the thread of its
    /// private namespace, or on the calling thread. Threads and processes that `action` starts are
    /// there too. While one runs, the next waits. A panic in `action` goes on in the caller.
    ///
    /// # Errors
    ///
    /// [`Expired`](EphemeralError::Expired) when its private namespace is gone.
    pub fn run<T, F>(&self, action: F) -> Result<T, EphemeralError>
    where
        T: Send + 'static,
        F: FnOnce(Option<&Path>) -> T + Send + 'static,
    {
        let Some(private) = &self.private else {
            return Ok(action(self.folder()));
        };
        let folder = self.folder().map(Path::to_owned);
        private
            .run(move || action(folder.as_deref()))
            .ok_or_else(|| EphemeralError::Expired {
                dataset: self.clone.dataset.clone(),
                expired: self.clone.expires,
            })
    }

    /// Starts a process where the clone is mounted. The clone cannot be removed while the process has
    /// its working folder or an open file in it.
    ///
    /// # Errors
    ///
    /// [`Expired`](EphemeralError::Expired); [`Spawn`](EphemeralError::Spawn).
    pub fn spawn(&self, mut command: Command) -> Result<Child, EphemeralError> {
        let program = command.get_program().to_string_lossy().into_owned();
        self.run(move |_| command.spawn())?
            .map_err(|source| EphemeralError::Spawn { program, source })
    }

    /// Gives it another time to expire.
    ///
    /// The capability has to be for [`CloneEphemeral`](Operation::CloneEphemeral) of the clone: it is
    /// as if it were made for longer.
    ///
    /// # Errors
    ///
    /// As [`EphemeralClone::extend`].
    ///
    /// # Privileges
    ///
    /// As [`EphemeralClone::extend`].
    pub fn extend(
        &mut self,
        capability: &Capability,
        expiry: impl Into<Expiry>,
    ) -> Result<SystemTime, EphemeralError> {
        capability.allow(Operation::CloneEphemeral, &self.clone.dataset)?;
        self.clone.extend_allowed(self.dataset.zfs(), expiry)
    }

    /// Removes it now and tells whether that worked. If it did not, the reaper will when it has
    /// expired.
    ///
    /// # Errors
    ///
    /// As [`EphemeralClone::remove`]; [`InUse`](EphemeralError::InUse) also while a process in its
    /// private namespace uses it.
    ///
    /// # Privileges
    ///
    /// Root.
    pub fn remove(mut self) -> Result<(), EphemeralError> {
        self.end()
    }

    /// Leaves it to the reaper, which removes it when it has expired. It stays mounted, but for a
    /// private namespace, which ends here.
    pub fn keep(mut self) -> EphemeralClone {
        self.keep = true;
        self.clone.clone()
    }

    fn end(&mut self) -> Result<(), EphemeralError> {
        // Once is enough, whatever comes of it.
        self.keep = true;
        self.private = None;
        // Its time may have been changed elsewhere: whoever has this value decides.
        match EphemeralClone::of(&self.dataset) {
            Ok(current) if current.guid == self.clone.guid => {
                current.remove_allowed(self.dataset.zfs())
            }
            _ => self.clone.remove_allowed(self.dataset.zfs()),
        }
    }
}

impl Drop for Ephemeral {
    fn drop(&mut self) {
        if !self.keep {
            let _ = self.end();
        }
    }
}
