//! What differs between two snapshots of a filesystem, or between a snapshot and the filesystem
//! itself: file by file, with paths, as `zfs diff` tells it.
//!
//! ```no_run
//! use zfs_core::Zfs;
//! use zfs_core::diff::ChangeKind;
//!
//! let zfs = Zfs::open()?;
//! let (monday, tuesday) = (zfs.snapshot("tank/a@monday")?, zfs.snapshot("tank/a@tuesday")?);
//! for change in monday.diff(&tuesday)? {
//!     match change?.kind {
//!         ChangeKind::Added(path) => println!("+ {path}"),
//!         ChangeKind::Renamed { from, to } => println!("R {from} -> {to}"),
//!         _ => {}
//!     }
//! }
//! # Ok::<(), zfs_core::Error>(())
//! ```
//!
//! The kernel compares the tables of objects, and tells which objects were written; whatever
//! differs in one is a change of it. So a file that was rewritten with the same contents has
//! changed, and a directory has when an entry came or went. Each object is then looked up in both
//! snapshots. Nothing has to be mounted, unlike with the command.

mod change;
mod compare;

pub use change::{Change, ChangeKind, FileKind, ObjectPath};

use crate::dataset::Dataset;
use crate::error::{Errno, Error, ErrorKind, Operation, Result};
use crate::ffi::device::{Device, Refusal, read_str};
use crate::ffi::pipe;
use crate::list::{DatasetKind, SnapshotEntry};
use crate::name::SnapshotName;
use crate::outflow::{self, Next, ReadEnd, Shared, Writing};
use crate::snapshot::Snapshot;
use crate::zfs::Zfs;
use compare::Comparison;
use std::collections::VecDeque;
use std::ffi::CString;
use std::fmt;
use std::io::{self, Read};
use std::iter::FusedIterator;
use std::os::fd::RawFd;
use zfs_core_sys::ioctl::{
    DDR_FREE, DDR_INUSE, DDR_NONE, ZFS_IOC_DIFF, ZFS_IOC_TMP_SNAPSHOT, dmu_diff_record,
};

const OPERATION: Operation = Operation::Diff;

/// How many objects are looked up before changes are given out.
const BATCH: usize = 64;

/// The length of a record as the kernel writes it.
const RECORD_LEN: usize = size_of::<dmu_diff_record>();

/// The changes between two snapshots, in the order of object numbers: from [`Snapshot::diff`].
///
/// An error that names an object is about that object alone: nothing could be learned of it, and
/// the next item is about another. Every other error is the last item.
///
/// Dropping it ends the kernel's work, and waits for that: the snapshots are free afterwards. A
/// pool that does not answer is waited for ten seconds.
pub struct Diff {
    // In this order: the kernel does not notice before the pipe is closed, and the snapshot for the
    // occasion goes when the kernel is done with it.
    pipe: ReadEnd,
    writing: Writing,
    _occasion: Option<Device>,
    comparison: Comparison,
    records: Records,
    ready: VecDeque<Result<Change>>,
    ended: bool,
}

impl fmt::Debug for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Diff")
            .field("from", self.comparison.from())
            .field("to", self.comparison.to())
            .finish_non_exhaustive()
    }
}

/// Objects one after the other.
#[derive(Clone, Copy, Debug)]
struct Range {
    first: u64,
    last: u64,
    in_use: bool,
}

/// The records that came through the pipe.
#[derive(Debug, Default)]
struct Records {
    bytes: Vec<u8>,
    /// The range that is being looked up.
    current: Option<Range>,
    /// The last object that a record was about.
    covered: Option<u64>,
}

impl Records {
    /// The next range that the bytes have.
    ///
    /// Records come by ascending objects. When a stop signal ends a write in the middle, the kernel
    /// begins anew, with the same records: what was seen is passed over.
    fn take(&mut self) -> Result<Option<Range>, String> {
        while let Some(record) = self.bytes.first_chunk::<RECORD_LEN>() {
            let word = |n: usize| {
                let word = record.get(n * 8..).and_then(|rest| rest.first_chunk());
                word.map_or(0, |word| u64::from_ne_bytes(*word))
            };
            let (kind, first, last) = (word(0), word(1), word(2));
            self.bytes.drain(..RECORD_LEN);
            let in_use = match kind {
                DDR_INUSE => true,
                DDR_FREE => false,
                DDR_NONE => continue,
                other => return Err(format!("a record of the unknown type {other}")),
            };
            if first > last {
                return Err(format!("a record of objects {first} to {last}"));
            }
            let first = match self.covered {
                Some(covered) if last <= covered => continue,
                Some(covered) => first.max(covered.saturating_add(1)),
                None => first,
            };
            self.covered = Some(last);
            return Ok(Some(Range {
                first,
                last,
                in_use,
            }));
        }
        Ok(None)
    }
}

impl Diff {
    fn start(from: &Snapshot, to: &SnapshotName, occasion: Option<Device>) -> Result<Self> {
        let zfs = &from.zfs;
        let comparison = Comparison::new(zfs, &from.name, to);
        let object = comparison.object();
        let error = |errno| Error::new(OPERATION, object.as_str(), errno);
        for name in [&from.name, to] {
            let entry = SnapshotEntry::stat(zfs, name).map_err(|error| error.during(OPERATION))?;
            if entry.kind == DatasetKind::Volume {
                let detail = format!("{name} is a snapshot of a volume");
                return Err(Error::refused(
                    OPERATION,
                    object.as_str(),
                    ErrorKind::WrongKind,
                    detail,
                ));
            }
        }
        let call = {
            let (zfs, from, to) = (zfs.clone(), from.name.clone(), to.clone());
            move |number, shared: &Shared| compare(&zfs, &from, &to, number, shared)
        };
        let (pipe, writing) = outflow::start("zfs-diff", error, call)?;
        let diff = Self {
            pipe,
            writing,
            _occasion: occasion,
            comparison,
            records: Records::default(),
            ready: VecDeque::new(),
            ended: false,
        };
        // What was refused has closed the pipe without a byte in it.
        diff.wait()?;
        if matches!(pipe::unread(&diff.pipe.file), Ok(0)) {
            diff.outcome()?;
        }
        Ok(diff)
    }

    fn wait(&self) -> Result<Next> {
        self.writing
            .next(&self.pipe)
            .map_err(|error| self.transport(error))
    }

    fn transport(&self, error: io::Error) -> Error {
        Error::transport(OPERATION, self.comparison.object(), error)
    }

    fn outcome(&self) -> Result<()> {
        self.writing.outcome(OPERATION, || self.comparison.object())
    }

    /// Looks up some objects; false at the end.
    fn fill(&mut self) -> Result<bool> {
        let range = match self.records.current.take() {
            Some(range) => range,
            None => match self.next_range()? {
                Some(range) => range,
                None => return Ok(false),
            },
        };
        let first = self.comparison.look_up(
            range.first,
            range.last,
            range.in_use,
            BATCH,
            &mut self.ready,
        )?;
        self.records.current = first.map(|first| Range { first, ..range });
        Ok(true)
    }

    fn next_range(&mut self) -> Result<Option<Range>> {
        loop {
            let range = self
                .records
                .take()
                .map_err(|detail| Error::protocol(OPERATION, self.comparison.object(), detail))?;
            if range.is_some() {
                return Ok(range);
            }
            if self.wait()? == Next::Data {
                let mut bytes = [0; 128 * RECORD_LEN];
                match (&self.pipe.file).read(&mut bytes) {
                    Ok(0) => {}
                    Ok(len) => {
                        let read = bytes.get(..len).unwrap_or_default();
                        self.records.bytes.extend_from_slice(read);
                        continue;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(self.transport(error)),
                }
            }
            // The kernel's call is over as soon as its end of the pipe is closed.
            self.outcome()?;
            return match self.records.bytes.len() {
                0 => Ok(None),
                len => {
                    let detail = format!("{len} bytes that are no record");
                    Err(Error::protocol(OPERATION, self.comparison.object(), detail))
                }
            };
        }
    }
}

/// Lets the kernel write its records into the pipe.
fn compare(
    zfs: &Zfs,
    from: &SnapshotName,
    to: &SnapshotName,
    number: RawFd,
    shared: &Shared,
) -> Result<(), Refusal> {
    loop {
        let mut request = zfs.request(ZFS_IOC_DIFF, to.as_c_str());
        // A checked name always fits.
        let _fits = request.set_value(from.as_c_str());
        request.cmd().zc_cookie = u64::try_from(number).unwrap_or(u64::MAX);
        match request.run_apart(number, None) {
            // A stop signal; the reader knows what it has seen.
            Err(Errno::EINTR | Errno::ERESTARTSYS) if !shared.is_broken() => {}
            outcome => return Ok(outcome?),
        }
    }
}

impl Iterator for Diff {
    type Item = Result<Change>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return Some(change);
            }
            if self.ended {
                return None;
            }
            match self.fill() {
                Ok(more) => self.ended = !more,
                Err(error) => {
                    self.ended = true;
                    self.ready.push_back(Err(error));
                }
            }
        }
    }
}

impl FusedIterator for Diff {}

impl Snapshot {
    /// What changed in a filesystem between this snapshot and a later one, of the same filesystem
    /// or of a clone.
    ///
    /// The kernel works on a thread of its own, no faster than the changes are taken.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `NotFound` | one of the snapshots does not exist |
    /// | `NotAncestor` | this one is not in the past of the other |
    /// | `WrongKind` | they are of a volume |
    /// | `KeyNotLoaded` | they are encrypted, and their key is not loaded |
    /// | `PermissionDenied` | neither root nor delegated |
    /// | `Io` | metadata cannot be read |
    /// | `PoolSuspended` | as it says |
    ///
    /// The last four can come as an item too.
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permission `diff` on both.
    ///
    /// # Long paths
    ///
    /// The kernel builds a path in 8192 bytes and does not check that it fits; one of more than
    /// some 12,000 bytes overwrites memory of the kernel. Such a path cannot be given to any system
    /// call and has to be made folder by folder. Where nobody is trusted not to do that, do not
    /// compare, with the command either.
    ///
    /// `ZFS_IOC_DIFF`, `ZFS_IOC_OBJ_TO_STATS`, `zfs-diff(8)`.
    #[doc(alias = "ZFS_IOC_DIFF")]
    #[doc(alias = "ZFS_IOC_OBJ_TO_STATS")]
    #[doc(alias = "ZFS_IOC_NEXT_OBJ")]
    pub fn diff(&self, later: &Self) -> Result<Diff> {
        Diff::start(self, &later.name, None)
    }

    /// What changed since this snapshot in `live`, the filesystem it was taken of or a clone.
    ///
    /// The filesystem as it is now is caught in a snapshot for the occasion, which nobody else
    /// can destroy, and which goes with the [`Diff`], or with the process.
    ///
    /// # Errors
    ///
    /// As [`diff`](Self::diff); `ReadOnlyPool`, `NoSpace` and `QuotaExceeded` when there can be no
    /// snapshot.
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permission `diff`.
    ///
    /// `ZFS_IOC_TMP_SNAPSHOT`, `ZFS_IOC_DIFF`, `zfs-diff(8)`.
    #[doc(alias = "ZFS_IOC_TMP_SNAPSHOT")]
    pub fn diff_to_live(&self, live: &Dataset) -> Result<Diff> {
        let object = || format!("{} to {}", self.name, live.name);
        let error = |errno| Error::new(OPERATION, object(), errno);
        // Before there is a snapshot of what is no filesystem.
        if live.kind().map_err(|error| error.during(OPERATION))? == DatasetKind::Volume {
            let detail = format!("{} is a volume", live.name);
            return Err(Error::refused(
                OPERATION,
                object(),
                ErrorKind::WrongKind,
                detail,
            ));
        }
        let device = Device::open().map_err(error)?;
        let mut request = self.zfs.request(ZFS_IOC_TMP_SNAPSHOT, live.name.as_c_str());
        // Two of one moment would have the same name else: the kernel adds no more than the time.
        let prefix = format!("zfs-diff-{}-{}", std::process::id(), device.number());
        let fits = CString::new(prefix).is_ok_and(|prefix| request.set_value(&prefix));
        if !fits {
            return Err(Error::protocol(
                OPERATION,
                object(),
                "no name for a snapshot",
            ));
        }
        request.cmd().zc_cleanup_fd = device.number();
        request.run().map_err(error)?;
        let short = read_str(&request.cmd().zc_value);
        let to = live
            .name
            .snapshot(&short)
            .map_err(|cause| Error::protocol(OPERATION, object(), cause))?;
        Diff::start(self, &to, Some(device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(words: &[[u64; 3]]) -> Records {
        Records {
            bytes: words
                .iter()
                .flatten()
                .flat_map(|word| word.to_ne_bytes())
                .collect(),
            ..Records::default()
        }
    }

    fn ranges(records: &mut Records) -> Vec<(u64, u64, bool)> {
        std::iter::from_fn(|| records.take().unwrap())
            .map(|range| (range.first, range.last, range.in_use))
            .collect()
    }

    #[test]
    fn what_comes_again_is_passed_over() {
        let mut records = records(&[
            [DDR_INUSE, 2, 5],
            [DDR_FREE, 6, 9],
            [DDR_INUSE, 2, 5],
            [DDR_NONE, 0, 0],
            [DDR_FREE, 6, 20],
            [DDR_INUSE, 21, 21],
        ]);
        let expected = [(2, 5, true), (6, 9, false), (10, 20, false), (21, 21, true)];
        assert_eq!(ranges(&mut records), expected);
        assert!(records.bytes.is_empty());
    }

    #[test]
    fn what_is_no_record_is_an_error() {
        assert!(records(&[[3, 1, 2]]).take().is_err());
        assert!(records(&[[DDR_INUSE, 3, 2]]).take().is_err());
        let mut short = records(&[[DDR_INUSE, 1, 1]]);
        short.bytes.pop();
        assert!(short.take().unwrap().is_none());
    }
}
