//! What forbids mounting.

use crate::dataset::Dataset;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::name::DatasetName;
use crate::zfs::Zfs;
use std::fmt;
use std::sync::Arc;

/// Decides what may be mounted.
///
/// It is asked before everything that mounts or may mount: [`Dataset::mount`], the mount of a
/// snapshot of the dataset, and the calls that unmount and mount again. It is not asked about
/// what other programs do.
pub trait MountGuard: fmt::Debug + Send + Sync {
    /// Lets `dataset` be mounted under the name `name`, which is its own but when it is about to be
    /// renamed.
    ///
    /// # Errors
    ///
    /// Why it must not be mounted. A guard that cannot find out should say no.
    fn check(&self, dataset: &Dataset, name: &DatasetName) -> Result<(), String>;
}

/// The guards of a [`Zfs`], all of which must agree.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guards(Option<Arc<Link>>);

#[derive(Debug)]
struct Link {
    guard: Arc<dyn MountGuard>,
    next: Guards,
}

impl Guards {
    pub(super) fn check(&self, dataset: &Dataset, name: &DatasetName) -> Result<()> {
        let mut link = &self.0;
        while let Some(Link { guard, next }) = link.as_deref() {
            guard.check(dataset, name).map_err(|why| {
                Error::refused(Operation::Mount, name.as_str(), ErrorKind::Forbidden, why)
            })?;
            link = &next.0;
        }
        Ok(())
    }
}

impl Zfs {
    /// The same ZFS, which mounts only what `guard` lets it mount. Everything that is made from it
    /// is bound by it as well. There is no way to take a guard off: a second one is asked besides
    /// the first.
    ///
    /// This keeps a program from mounting by mistake what it was told not to mount. It is no
    /// protection from a program that opens ZFS anew, or calls `mount(2)` itself.
    #[must_use]
    pub fn with_mount_guard(mut self, guard: Arc<dyn MountGuard>) -> Self {
        let next = self.guards;
        self.guards = Guards(Some(Arc::new(Link { guard, next })));
        self
    }
}
