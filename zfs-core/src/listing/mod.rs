//! Listing many datasets, snapshots and bookmarks.
//!
//! [`Dataset::list`] goes through a dataset and everything below it, a whole pool if the dataset is
//! the pool's root, and gives one [`Row`] after the other. A [`Listing`] says what is wanted: which
//! [kinds](Listed), how deep, which columns, in which order, by how many threads.
//!
//! ```no_run
//! use zfs_core::Zfs;
//! use zfs_core::listing::{Listed, Listing};
//! use zfs_core::props::Prop;
//!
//! let tank = Zfs::open()?.dataset("tank")?;
//! let wanted = Listing::new(Listed::SNAPSHOTS).property(Prop::Creation).property(Prop::Used);
//! for row in tank.list(&wanted)? {
//!     let row = row?;
//!     if let Some(used) = row.number(Prop::Used) {
//!         println!("{} {used}", row.name());
//!     }
//! }
//! # Ok::<(), zfs_core::Error>(())
//! ```
//!
//! # What it costs
//!
//! The kernel tells of one object a call. How long a call takes depends on what is asked, so that a
//! listing takes the cheapest of these sources that has its columns:
//!
//! | source | columns | what the kernel does for each |
//! |---|---|---|
//! | names | the name, the kind | reads a directory entry |
//! | [`stats`](Listing::stats) | `guid`, `createtxg`, `origin`, number of clones | reads one record of a snapshot; on 2.1, and of datasets on all versions, opens it |
//! | properties | all others | collects all properties, inherited ones too, and packs them |
//! | properties of files | `utf8only`, `normalization`, `casesensitivity`, `version`, `default…quota` | a second call |
//!
//! There is no call for a part of the properties: one costs the kernel as much as all of them. What
//! is not wanted of them is not decoded here and not kept.
//!
//! # Memory
//!
//! Rows are made as they are taken. In [`Order::Any`] what is held does not grow with the number of
//! datasets or snapshots; in the other orders the rows of one dataset's snapshots, and of its
//! children, are held at once, because they are sorted.
//!
//! # What a list is
//!
//! It is no picture of one moment. What is created or destroyed while the list is made may be in it
//! or not, and what is renamed may be there twice or not at all.

mod options;
mod parallel;
mod row;
#[cfg(feature = "serde")]
mod serialize;
mod source;
mod walk;

pub use options::{Listed, Listing, Order};
pub use row::{Row, RowName, Stats};

use crate::dataset::Dataset;
use crate::error::{Operation, Result};
use crate::list::DatasetEntry;
use parallel::Parallel;
use source::Plan;
use std::collections::VecDeque;
use std::fmt;
use std::iter::FusedIterator;
use walk::{Todo, Walk};

/// The rows of a [`Listing`], made as they are taken: from [`Dataset::list`].
///
/// The first error ends it. A listing by several threads that is dropped before its end leaves
/// them to end by themselves, each after the call of the kernel that it is in.
pub struct Rows {
    ready: VecDeque<Result<Row>>,
    source: Option<Source>,
}

enum Source {
    Walk(Walk),
    Parallel(Parallel),
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows")
            .field("ready", &self.ready.len())
            .field("ended", &self.source.is_none())
            .finish_non_exhaustive()
    }
}

impl Iterator for Rows {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.ready.pop_front() {
                if row.is_err() {
                    self.ready.clear();
                    self.source = None;
                }
                return Some(row);
            }
            let more = match self.source.as_mut()? {
                Source::Walk(walk) => walk.step(&mut self.ready),
                Source::Parallel(parallel) => parallel.take(&mut self.ready),
            };
            if !more {
                self.source = None;
            }
        }
    }
}

impl FusedIterator for Rows {}

impl Dataset {
    /// Lists this dataset and what is below it, or of all that what `listing` selects.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such dataset; `PoolSuspended`; `Io` when the pool's metadata
    /// cannot be read; `OutOfMemory` when a thread cannot be started. What is destroyed while the
    /// list is made is left out. The rows can end with an error of the same kinds.
    ///
    /// # Privileges
    ///
    /// None.
    ///
    /// `ZFS_IOC_DATASET_LIST_NEXT`, `ZFS_IOC_SNAPSHOT_LIST_NEXT`, `ZFS_IOC_OBJSET_STATS`,
    /// `lzc_get_bookmarks`, `zfs-list(8)`.
    #[doc(alias = "ZFS_IOC_DATASET_LIST_NEXT")]
    #[doc(alias = "ZFS_IOC_SNAPSHOT_LIST_NEXT")]
    pub fn list(&self, listing: &Listing) -> Result<Rows> {
        let plan = Plan::new(&self.zfs, listing);
        let entry = DatasetEntry::stat(&self.zfs, &self.name)
            .map_err(|error| error.during(Operation::ListDatasets))?;
        let row = plan.root(entry)?;
        let first = Todo::start(row, 0);
        let source = match plan.threads() {
            0 | 1 => Source::Walk(Walk::new(plan, first)),
            threads => Source::Parallel(Parallel::start(plan, first, threads)?),
        };
        Ok(Rows {
            ready: VecDeque::new(),
            source: Some(source),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_can_be_taken_elsewhere() {
        fn is_send<T: Send + 'static>() {}
        is_send::<Rows>();
        is_send::<Row>();
    }
}
