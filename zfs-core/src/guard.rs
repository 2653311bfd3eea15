//! What forbids what the kernel would allow.

use crate::dataset::Dataset;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::name::DatasetName;
use crate::snapshot::Snapshot;
use crate::zfs::Zfs;
use std::fmt;
use std::sync::Arc;

/// What a guard says: nothing, or why something must not be done.
pub type Verdict = std::result::Result<(), String>;

/// Decides what may be done through a [`Zfs`]: see [`Zfs::with_guard`].
///
/// It is asked before the kernel is. What a guard has no method for it does not forbid. One that
/// cannot find out should say no.
///
/// It is not asked about what other programs do, nor about what a [channel
/// program](crate::program::ChannelProgram) does: whoever runs one that clones calls
/// [`Snapshot::check_clone_to`] first, and one that promotes [`Dataset::check_promote`].
pub trait Guard: fmt::Debug + Send + Sync {
    /// Whether `dataset` may be mounted under the name `name`, which is its own but when it is about
    /// to be renamed. Asked before everything that mounts or may mount: [`Dataset::mount`], the
    /// mount of a snapshot of the dataset, and the calls that unmount and mount again.
    fn mount(&self, dataset: &Dataset, name: &DatasetName) -> Verdict {
        let _ = (dataset, name);
        Ok(())
    }

    /// Whether `snapshot` may be cloned to `target`, be it by [`Snapshot::clone_to`] or by a receive
    /// that has it as its [origin](crate::receive::ReceiveOptions::origin).
    fn clone_to(&self, snapshot: &Snapshot, target: &DatasetName) -> Verdict {
        let _ = (snapshot, target);
        Ok(())
    }

    /// Whether snapshots of `dataset`, or what was received into it in part, may be sent, in a raw
    /// stream or not. A raw stream of a dataset that is not encrypted is as readable as any.
    fn send(&self, dataset: &Dataset, raw: bool) -> Verdict {
        let _ = (dataset, raw);
        Ok(())
    }

    /// Whether the clone `dataset` may be promoted. What it was cloned from is its clone then.
    fn promote(&self, dataset: &Dataset) -> Verdict {
        let _ = dataset;
        Ok(())
    }

    /// Whether `dataset` may be renamed to `to`, where it inherits from another parent.
    fn rename(&self, dataset: &Dataset, to: &DatasetName) -> Verdict {
        let _ = (dataset, to);
        Ok(())
    }

    /// Whether the property `name` of the dataset or snapshot `object` may be set to `value`, as a
    /// command takes it; without one, whether it may be inherited or take its received value.
    fn set(&self, object: &str, name: &str, value: Option<&str>) -> Verdict {
        let _ = (object, name, value);
        Ok(())
    }
}

/// The guards of a [`Zfs`], all of which must agree.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guards(Option<Arc<Link>>);

#[derive(Debug)]
struct Link {
    guard: Arc<dyn Guard>,
    next: Guards,
}

impl Guards {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn ask(
        &self,
        operation: Operation,
        object: &str,
        ask: impl Fn(&dyn Guard) -> Verdict,
    ) -> Result<()> {
        let mut link = &self.0;
        while let Some(Link { guard, next }) = link.as_deref() {
            ask(&**guard)
                .map_err(|why| Error::refused(operation, object, ErrorKind::Forbidden, why))?;
            link = &next.0;
        }
        Ok(())
    }

    pub(crate) fn mount(&self, dataset: &Dataset, name: &DatasetName) -> Result<()> {
        self.ask(Operation::Mount, name.as_str(), |guard| {
            guard.mount(dataset, name)
        })
    }

    pub(crate) fn clone_to(&self, snapshot: &Snapshot, target: &DatasetName) -> Result<()> {
        let object = snapshot.name().as_str();
        self.ask(Operation::CloneSnapshot, object, |guard| {
            guard.clone_to(snapshot, target)
        })
    }

    pub(crate) fn send(&self, dataset: &Dataset, raw: bool) -> Result<()> {
        self.ask(Operation::Send, dataset.name().as_str(), |guard| {
            guard.send(dataset, raw)
        })
    }

    pub(crate) fn promote(&self, dataset: &Dataset) -> Result<()> {
        let object = dataset.name().as_str();
        self.ask(Operation::PromoteDataset, object, |guard| {
            guard.promote(dataset)
        })
    }

    pub(crate) fn rename(&self, dataset: &Dataset, to: &DatasetName) -> Result<()> {
        let object = dataset.name().as_str();
        self.ask(Operation::RenameDataset, object, |guard| {
            guard.rename(dataset, to)
        })
    }

    pub(crate) fn set(
        &self,
        operation: Operation,
        object: &str,
        name: &str,
        value: Option<&str>,
    ) -> Result<()> {
        self.ask(operation, object, |guard| guard.set(object, name, value))
    }
}

impl Zfs {
    /// The same ZFS, which does only what `guard` lets it do. Everything that is made from it is
    /// bound by it as well. There is no way to take a guard off: a second one is asked besides the
    /// first.
    ///
    /// What a guard forbids is refused with an error of the kind [`Forbidden`](ErrorKind::Forbidden).
    ///
    /// This keeps a program from doing by mistake what it was told not to do. It is no protection from
    /// a program that opens ZFS anew, or calls the kernel itself.
    #[must_use]
    pub fn with_guard(mut self, guard: Arc<dyn Guard>) -> Self {
        let next = self.guards;
        self.guards = Guards(Some(Arc::new(Link { guard, next })));
        self
    }
}

impl Snapshot {
    /// Whether the [guards](Zfs::with_guard) let it be cloned to `target`: for those who clone in a
    /// channel program. [`clone_to`](Self::clone_to) asks by itself.
    ///
    /// # Errors
    ///
    /// `Forbidden`.
    pub fn check_clone_to(&self, target: &DatasetName) -> Result<()> {
        self.zfs().guards.clone_to(self, target)
    }
}

impl Dataset {
    /// Whether the [guards](Zfs::with_guard) let it be promoted: for those who promote in a channel
    /// program. [`promote`](Self::promote) asks by itself.
    ///
    /// # Errors
    ///
    /// `Forbidden`.
    pub fn check_promote(&self) -> Result<()> {
        self.zfs().guards.promote(self)
    }
}
