use std::fmt;

use zfs_core::{BookmarkName, DatasetName, ErrorKind, SnapshotName};

use super::RollbackError;
use crate::Error;

/// A change that a rollback makes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RollbackChange {
    /// What an earlier run that died had begun to keep is destroyed.
    DropLeftover(DatasetName),
    /// The present states are snapshotted, to be kept.
    Snapshot(Vec<SnapshotName>),
    /// A present state is copied.
    Keep {
        /// The dataset whose state it is.
        dataset: DatasetName,
        /// The clone that it is kept as.
        clone: DatasetName,
    },
    /// The datasets are marked: from now on this rollback is unfinished.
    Mark(Vec<DatasetName>),
    /// Holds of newer guard rails are released.
    Release(Vec<SnapshotName>),
    /// Newer bookmarks are destroyed.
    DestroyBookmarks(Vec<BookmarkName>),
    /// Newer snapshots are destroyed.
    DestroySnapshots(Vec<SnapshotName>),
    /// Newer snapshots are destroyed, the datasets rolled back and their marks taken off, in one
    /// transaction group.
    RollBackTogether(Vec<DatasetName>),
    /// One dataset is rolled back.
    RollBack(DatasetName),
    /// The marks are taken off.
    Unmark(Vec<DatasetName>),
}

impl fmt::Display for RollbackChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DropLeftover(dataset) => write!(f, "destroy {dataset}, a copy cut short"),
            Self::Snapshot(names) => write!(f, "snapshot the states of {} datasets", names.len()),
            Self::Keep { dataset, clone } => write!(f, "keep the state of {dataset} as {clone}"),
            Self::Mark(names) => write!(f, "mark {} datasets", names.len()),
            Self::Release(names) => write!(f, "release {} snapshots", names.len()),
            Self::DestroyBookmarks(names) => write!(f, "destroy {} bookmarks", names.len()),
            Self::DestroySnapshots(names) => write!(f, "destroy {} snapshots", names.len()),
            Self::RollBackTogether(names) => {
                write!(f, "roll {} datasets back together", names.len())
            }
            Self::RollBack(dataset) => write!(f, "roll {dataset} back"),
            Self::Unmark(names) => write!(f, "unmark {} datasets", names.len()),
        }
    }
}

/// How the rollback of one dataset ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct DatasetOutcome {
    /// The dataset.
    pub dataset: DatasetName,
    /// Whether it is at the point, or why not.
    pub result: Result<(), Error>,
}

/// How a rollback ended.
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "some datasets may not have been rolled back"]
pub struct RollbackReport {
    /// The short name of the snapshots that were rolled back to.
    pub point: String,
    /// Whether it was one transaction group.
    pub atomic: bool,
    /// Each dataset of the set.
    pub datasets: Vec<DatasetOutcome>,
    /// The newer snapshots that were destroyed.
    pub destroyed: Vec<SnapshotName>,
    /// The newer bookmarks that were destroyed.
    pub destroyed_bookmarks: Vec<BookmarkName>,
    /// The clones that keep the discarded states.
    pub kept: Vec<DatasetName>,
    /// Why the marks could not be taken off, if so. All datasets are at the point nevertheless.
    pub unmarked: Result<(), RollbackError>,
}

impl RollbackReport {
    /// Whether every dataset is at the point, and nothing is left to do.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failed().next().is_none() && self.unmarked.is_ok()
    }

    /// The datasets that are not at the point, with the reasons.
    pub fn failed(&self) -> impl Iterator<Item = (&DatasetName, &Error)> {
        self.datasets.iter().filter_map(|outcome| {
            let error = outcome.result.as_ref().err()?;
            Some((&outcome.dataset, error))
        })
    }

    /// How to go on, when it is not complete.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        let failed: Vec<(&DatasetName, &Error)> = self.failed().collect();
        if failed.is_empty() {
            let error = self.unmarked.as_ref().err()?;
            return Some(format!(
                "every dataset is at {}, but still marked ({error}): abandon the unfinished \
                 rollback before anything is written",
                self.point
            ));
        }
        let causes: Vec<String> = failed
            .iter()
            .map(|(dataset, error)| format!("{dataset}: {}", cure(error.kind())))
            .collect();
        Some(format!(
            "{} of {} datasets are not at {}. {}. Then plan the unfinished rollback and carry it \
             out; until then, write to none of them",
            failed.len(),
            self.datasets.len(),
            self.point,
            causes.join("; ")
        ))
    }
}

fn cure(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Busy => "end what uses it: an open volume, a receive, a send",
        ErrorKind::NewerSnapshotsExist => "look who takes snapshots of it, and pause that",
        ErrorKind::NotFound => "it or its snapshot is gone: restore it from a replica",
        ErrorKind::NoSpace | ErrorKind::QuotaExceeded => "make room, or raise its quota",
        ErrorKind::Forbidden => "ask the gate for a capability that covers it",
        ErrorKind::PermissionDenied => "run as root, or delegate what is missing",
        ErrorKind::PoolSuspended => "bring the pool's devices back",
        _ => "see what ZFS says of it",
    }
}
