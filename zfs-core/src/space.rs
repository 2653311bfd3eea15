//! Space: what was written between two moments, and what destroying snapshots would free.

use crate::dataset::Dataset;
use crate::error::{Errno, Error, Operation, Result};
use crate::list::{SnapshotEntry, SnapshotFilter};
use crate::name::{BookmarkName, DatasetName, SnapshotName};
use crate::nv::{NvMap, Value};
use crate::snapshot::Snapshot;
use crate::zfs::Zfs;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::ops::{Add, AddAssign};
use zfs_core_sys::ioctl::{ZFS_IOC_SPACE_SNAPS, ZFS_IOC_SPACE_WRITTEN};

/// What was written since a snapshot, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Written {
    /// The space that it takes.
    pub used: u64,
    /// Its size after compression, without parity and copies.
    pub compressed: u64,
    /// Its size before compression.
    pub uncompressed: u64,
}

/// What destroying snapshots would free, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct SpaceRange {
    /// Space that the pool would get back.
    pub used: u64,
    /// The same data's size after compression, without parity and copies.
    pub compressed: u64,
    /// The same data's size before compression.
    pub uncompressed: u64,
}

impl Add for SpaceRange {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            used: self.used.saturating_add(other.used),
            compressed: self.compressed.saturating_add(other.compressed),
            uncompressed: self.uncompressed.saturating_add(other.uncompressed),
        }
    }
}

impl AddAssign for SpaceRange {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// What a dataset or a snapshot references that was written after `older`.
fn written_since(zfs: &Zfs, newer: &CStr, older: &CStr) -> Result<Written> {
    let mut request = zfs.request(ZFS_IOC_SPACE_WRITTEN, newer);
    // A checked name always fits.
    let _fits = request.set_value(older);
    request.read().map_err(|errno| {
        let (newer, older) = (newer.to_string_lossy(), older.to_string_lossy());
        Error::new(
            Operation::MeasureSpace,
            format!("{older} to {newer}"),
            errno,
        )
    })?;
    let cmd = request.cmd();
    Ok(Written {
        used: cmd.zc_cookie,
        compressed: cmd.zc_objset_type,
        uncompressed: cmd.zc_perm_action,
    })
}

/// Splits the chosen snapshots of a dataset into runs of neighbours: the first and the last of each.
/// `all` are its snapshots, oldest first; no two of them are of the same transaction group.
fn runs<'a>(
    all: &'a [SnapshotEntry],
    chosen: &BTreeSet<&SnapshotName>,
) -> Vec<(&'a SnapshotName, &'a SnapshotName)> {
    all.chunk_by(|a, b| chosen.contains(&a.name) == chosen.contains(&b.name))
        .filter_map(|run| Some((&run.first()?.name, &run.last()?.name)))
        .filter(|(first, _)| chosen.contains(first))
        .collect()
}

impl Zfs {
    /// What destroying these snapshots together would free, as `zfs destroy -nv` tells it. They may
    /// be of any datasets and pools; one that is named twice counts once.
    ///
    /// It is more than the sum of what each uses: what several of them share, and nobody else, is
    /// free when all of them are gone. Holds and clones that keep a snapshot from being destroyed
    /// are not looked at.
    ///
    /// The snapshots of a dataset are measured one run of neighbours after the other. A snapshot
    /// that is taken or destroyed meanwhile can make the figure that of another moment.
    ///
    /// # Errors
    ///
    /// `NotFound` names a snapshot that does not exist; `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// None.
    ///
    /// The request behind `lzc_snaprange_space`, `zfs-destroy(8)` with `-n`.
    #[doc(alias = "lzc_snaprange_space")]
    pub fn space_freed_by_destroying<S: AsRef<SnapshotName>>(
        &self,
        snapshots: &[S],
    ) -> Result<SpaceRange> {
        let mut datasets: BTreeMap<&str, BTreeSet<&SnapshotName>> = BTreeMap::new();
        for name in snapshots.iter().map(AsRef::as_ref) {
            datasets.entry(name.dataset_str()).or_default().insert(name);
        }
        let mut freed = SpaceRange::default();
        for (dataset, chosen) in datasets {
            freed += self.space_of_chosen(DatasetName::new(dataset)?, &chosen)?;
        }
        Ok(freed)
    }

    fn space_of_chosen(
        &self,
        dataset: DatasetName,
        chosen: &BTreeSet<&SnapshotName>,
    ) -> Result<SpaceRange> {
        const OPERATION: Operation = Operation::MeasureSpace;
        let dataset = Dataset {
            zfs: self.clone(),
            name: dataset,
        };
        let all = dataset
            .snapshots(&SnapshotFilter::new())
            .map_err(|error| error.during(OPERATION))?;
        let there: BTreeSet<&SnapshotName> = all.iter().map(|entry| &entry.name).collect();
        if let Some(missing) = chosen.iter().find(|name| !there.contains(**name)) {
            return Err(Error::new(OPERATION, missing.as_str(), Errno::ENOENT));
        }
        let mut freed = SpaceRange::default();
        for (first, last) in runs(&all, chosen) {
            freed += self.space_between(first, last)?;
        }
        Ok(freed)
    }

    fn space_between(&self, first: &SnapshotName, last: &SnapshotName) -> Result<SpaceRange> {
        const OPERATION: Operation = Operation::MeasureSpace;
        let object = || format!("{first} to {}", last.short());
        let mut args = NvMap::new();
        args.insert(c"firstsnap", Value::from(first.as_c_str()));
        let mut request = self
            .request(ZFS_IOC_SPACE_SNAPS, last.as_c_str())
            .input(&args)
            .map_err(|refusal| refusal.into_error(OPERATION, object()))?
            .answered();
        request
            .read()
            .map_err(|errno| Error::new(OPERATION, object(), errno))?;
        let answer = request
            .answer()
            .map_err(|refusal| refusal.into_error(OPERATION, object()))?;
        let figure = |key| {
            answer
                .u64(key)
                .ok_or_else(|| Error::protocol(OPERATION, object(), format!("no {key}")))
        };
        Ok(SpaceRange {
            used: figure("used")?,
            compressed: figure("compressed")?,
            uncompressed: figure("uncompressed")?,
        })
    }
}

impl Snapshot {
    /// What destroying the snapshots from this one to `last` would free, both included.
    ///
    /// # Errors
    ///
    /// `NotFound`; `InvalidArgument` when `last` is older, or of another dataset;
    /// `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// None.
    ///
    /// The request behind `lzc_snaprange_space`, which returns only the first of the three figures.
    #[doc(alias = "lzc_snaprange_space")]
    pub fn space_to(&self, last: &Self) -> Result<SpaceRange> {
        self.zfs.space_between(&self.name, &last.name)
    }

    /// How much of what it references was written since the snapshot `since`.
    ///
    /// # Errors
    ///
    /// As [`Dataset::written_since`].
    #[doc(alias = "ZFS_IOC_SPACE_WRITTEN")]
    pub fn written_since(&self, since: &SnapshotName) -> Result<Written> {
        written_since(&self.zfs, self.name.as_c_str(), since.as_c_str())
    }
}

impl Dataset {
    /// How much of what it references was written since the snapshot `since`, which is one of its
    /// own or of the dataset it is a clone of.
    ///
    /// # Errors
    ///
    /// `NotFound`; `InvalidArgument` when the snapshot is not of its past; `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// None.
    ///
    /// `ZFS_IOC_SPACE_WRITTEN`, the property `written@snapshot`.
    #[doc(alias = "ZFS_IOC_SPACE_WRITTEN")]
    pub fn written_since(&self, since: &SnapshotName) -> Result<Written> {
        written_since(&self.zfs, self.name.as_c_str(), since.as_c_str())
    }

    /// As [`written_since`](Self::written_since), since a bookmark. It has to be one that carries
    /// sizes, made while the pool's feature `bookmark_written` is enabled.
    ///
    /// # Errors
    ///
    /// As [`written_since`](Self::written_since).
    #[doc(alias = "ZFS_IOC_SPACE_WRITTEN")]
    pub fn written_since_bookmark(&self, since: &BookmarkName) -> Result<Written> {
        written_since(&self.zfs, self.name.as_c_str(), since.as_c_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::DatasetKind;

    /// The numbers of each run's first and last, of five snapshots.
    fn split(chosen: &[usize]) -> Vec<(String, String)> {
        let entry = |n: u64| {
            let name = SnapshotName::new(&format!("tank/a@{n}")).unwrap();
            SnapshotEntry::for_test(name, DatasetKind::Filesystem, 100 + n)
        };
        let all: Vec<SnapshotEntry> = (0..5).map(entry).collect();
        let chosen = chosen.iter().map(|n| &all[*n].name).collect();
        let short = |name: &SnapshotName| name.short().to_owned();
        let both = |(first, last)| (short(first), short(last));
        runs(&all, &chosen).into_iter().map(both).collect()
    }

    #[test]
    fn neighbours_are_one_run() {
        let run = |first: &str, last: &str| (first.to_owned(), last.to_owned());
        assert_eq!(split(&[]), []);
        assert_eq!(split(&[0, 1, 3]), [run("0", "1"), run("3", "3")]);
        assert_eq!(split(&[4, 3]), [run("3", "4")]);
        assert_eq!(
            split(&[2, 0, 4]),
            [run("0", "0"), run("2", "2"), run("4", "4")]
        );
        assert_eq!(split(&[0, 1, 2, 3, 4]), [run("0", "4")]);
    }
}
