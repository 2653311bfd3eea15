//! What exists: datasets, snapshots, and what the kernel knows of each without its properties.

use crate::dataset::Dataset;
use crate::error::{Errno, Error, ErrorKind, Operation, Result};
use crate::ffi::device::{Refusal, Request, read_str};
use crate::name::{DatasetName, SnapshotName};
use crate::nv::NvMap;
use crate::props::Properties;
use crate::zfs::Zfs;
use std::ffi::CStr;
use std::fmt;
use zfs_core_sys::ioctl::{
    ZFS_IOC_DATASET_LIST_NEXT, ZFS_IOC_OBJSET_STATS, ZFS_IOC_SNAPSHOT_LIST_NEXT, dmu_objset_stats,
};

/// What a dataset is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DatasetKind {
    /// A filesystem.
    Filesystem,
    /// A volume: a block device.
    Volume,
    /// A kind that this crate does not know, as the kernel's `dmu_objset_type_t`.
    Unknown(u32),
}

impl DatasetKind {
    pub(crate) fn from_raw(raw: u32) -> Self {
        match raw {
            2 => Self::Filesystem,
            3 => Self::Volume,
            other => Self::Unknown(other),
        }
    }
}

impl fmt::Display for DatasetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filesystem => f.write_str("filesystem"),
            Self::Volume => f.write_str("volume"),
            Self::Unknown(raw) => write!(f, "unknown kind {raw}"),
        }
    }
}

/// A filesystem or a volume, as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DatasetEntry {
    /// Its full name.
    pub name: DatasetName,
    /// Filesystem or volume.
    pub kind: DatasetKind,
    /// Its GUID, which a rename does not change.
    pub guid: u64,
    /// The transaction group it was created in.
    pub create_txg: u64,
    /// The snapshot it is a clone of.
    pub origin: Option<SnapshotName>,
    /// Whether it is being received into, or destroyed.
    pub inconsistent: bool,
    /// Whether it was received from a redacted stream.
    pub redacted: bool,
}

/// A snapshot, as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotEntry {
    /// Its full name.
    pub name: SnapshotName,
    /// Whether of a filesystem or of a volume.
    pub kind: DatasetKind,
    /// Its GUID, which it keeps when it is renamed, sent or received.
    pub guid: u64,
    /// The transaction group it was created in: the order of a dataset's snapshots.
    pub create_txg: u64,
    /// How many clones it has.
    pub clones: u64,
    /// Whether it was received from a redacted stream.
    pub redacted: bool,
}

/// Which snapshots of a dataset to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotFilter {
    min_txg: Option<u64>,
    max_txg: Option<u64>,
}

impl SnapshotFilter {
    /// All of them.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            min_txg: None,
            max_txg: None,
        }
    }

    /// Those created in the transaction group `txg` or later.
    #[must_use]
    pub const fn min_txg(mut self, txg: u64) -> Self {
        self.min_txg = Some(txg);
        self
    }

    /// Those created in the transaction group `txg` or earlier.
    #[must_use]
    pub const fn max_txg(mut self, txg: u64) -> Self {
        self.max_txg = Some(txg);
        self
    }

    fn to_nvmap(self) -> NvMap {
        let mut map = NvMap::new();
        if let Some(txg) = self.min_txg {
            map.insert(c"snap_iter_min_txg", txg);
        }
        if let Some(txg) = self.max_txg {
            map.insert(c"snap_iter_max_txg", txg);
        }
        map
    }

    /// The request that lists the snapshots of a dataset that pass.
    pub(crate) fn request<'z>(self, zfs: &'z Zfs, of: &CStr) -> Result<Request<'z>, Refusal> {
        let request = zfs.request(ZFS_IOC_SNAPSHOT_LIST_NEXT, of);
        let limits = self.to_nvmap();
        // The kernel would unpack an empty list for each entry.
        match limits.is_empty() {
            true => Ok(request),
            false => request.input(&limits),
        }
    }

    pub(crate) fn matches(self, txg: u64) -> bool {
        self.min_txg.is_none_or(|min| txg >= min) && self.max_txg.is_none_or(|max| txg <= max)
    }

    /// The kernel reads 0 as "no limit".
    pub(crate) fn matches_nothing(self) -> bool {
        self.max_txg == Some(0)
            || matches!((self.min_txg, self.max_txg), (Some(a), Some(b)) if a > b)
    }
}

impl DatasetEntry {
    pub(crate) fn new(name: DatasetName, stats: &dmu_objset_stats) -> Self {
        Self {
            name,
            kind: DatasetKind::from_raw(stats.dds_type),
            guid: stats.dds_guid,
            create_txg: stats.dds_creation_txg,
            origin: SnapshotName::new(&read_str(&stats.dds_origin)).ok(),
            inconsistent: stats.dds_inconsistent != 0,
            redacted: stats.dds_redacted != 0,
        }
    }

    pub(crate) fn stat(zfs: &Zfs, name: &DatasetName) -> Result<Self> {
        let mut request = zfs.request(ZFS_IOC_OBJSET_STATS, name.as_c_str());
        request
            .read()
            .map_err(|errno| Error::new(Operation::Stat, name.as_str(), errno))?;
        Ok(Self::new(name.clone(), request.stats()))
    }
}

impl SnapshotEntry {
    fn new(name: SnapshotName, kind: DatasetKind, stats: &dmu_objset_stats) -> Self {
        Self {
            name,
            kind,
            guid: stats.dds_guid,
            create_txg: stats.dds_creation_txg,
            clones: stats.dds_num_clones,
            redacted: stats.dds_redacted != 0,
        }
    }

    #[cfg(test)]
    pub(crate) fn for_test(name: SnapshotName, kind: DatasetKind, create_txg: u64) -> Self {
        let mut stats = zfs_core_sys::ioctl::zfs_cmd::zeroed().zc_objset_stats;
        stats.dds_creation_txg = create_txg;
        Self::new(name, kind, &stats)
    }

    pub(crate) fn stat(zfs: &Zfs, name: &SnapshotName) -> Result<Self> {
        let mut request = zfs.request(ZFS_IOC_OBJSET_STATS, name.as_c_str());
        request
            .read()
            .map_err(|errno| Error::new(Operation::Stat, name.as_str(), errno))?;
        let stats = request.stats();
        let kind = DatasetKind::from_raw(stats.dds_type);
        Ok(Self::new(name.clone(), kind, stats))
    }
}

/// A list request, stepped from entry to entry.
pub(crate) struct Lister<'r> {
    request: Request<'r>,
    of: &'r CStr,
    simple: Simple,
}

/// What `zc_simple` is good for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Simple {
    /// Everything is wanted.
    No,
    /// Names are enough.
    Names,
    /// Stats are enough, which the kernel tells from 2.2 on.
    Stats,
}

impl<'r> Lister<'r> {
    /// Lists by a request about `of`, from a cursor on; 0 is the beginning.
    pub(crate) fn new(mut request: Request<'r>, of: &'r CStr, from: u64) -> Self {
        request.cmd().zc_cookie = from;
        Self {
            request,
            of,
            simple: Simple::No,
        }
    }

    /// Of snapshots, only names are needed.
    pub(crate) fn names_only(mut self) -> Self {
        self.simple = Simple::Names;
        self
    }

    /// Of snapshots, only stats are needed; without their kind.
    pub(crate) fn with_stats(mut self) -> Self {
        self.simple = Simple::Stats;
        self
    }

    /// The name of the next entry; `None` is the end, and what a dataset has that does not exist.
    ///
    /// The request names the listed dataset again in each round, since the kernel wrote the previous
    /// entry's name over it.
    pub(crate) fn next(&mut self) -> Result<Option<String>, Errno> {
        let cursor = self.cursor();
        self.request.set_name(self.of);
        self.request.cmd().zc_simple = (self.simple != Simple::No).into();
        match self.request.read() {
            Ok(()) if self.simple == Simple::Stats && !self.has_stats() => {
                // Before 2.2 it was names and nothing else.
                self.simple = Simple::No;
                self.request.cmd().zc_cookie = cursor;
                self.next()
            }
            Ok(()) => Ok(Some(self.request.name())),
            Err(Errno::ESRCH) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Whether the kernel told stats of the last entry. No GUID is 0.
    pub(crate) fn has_stats(&self) -> bool {
        self.request.stats().dds_guid != 0
    }

    /// Where the list goes on.
    pub(crate) fn cursor(&self) -> u64 {
        self.request.cookie()
    }

    /// The request, with what the kernel told of the last entry.
    pub(crate) fn request(&self) -> &Request<'r> {
        &self.request
    }
}

impl Zfs {
    /// Whether the kernel knows a dataset or a snapshot of that name.
    pub(crate) fn exists(&self, name: &CStr) -> Result<bool> {
        match self.request(ZFS_IOC_OBJSET_STATS, name).read() {
            Ok(()) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(Error::new(Operation::Stat, name.to_string_lossy(), errno)),
        }
    }
}

impl Dataset {
    /// The datasets immediately below this one, by name. Hidden ones (of a receive in progress) are
    /// not listed.
    ///
    /// # Errors
    ///
    /// `NotFound`, `PoolSuspended`. A dataset that is destroyed while the list is made may be in
    /// it or not.
    ///
    /// # Privileges
    ///
    /// None.
    ///
    /// `ZFS_IOC_DATASET_LIST_NEXT`, `zfs-list(8)`.
    #[doc(alias = "ZFS_IOC_DATASET_LIST_NEXT")]
    pub fn children(&self) -> Result<Vec<DatasetEntry>> {
        self.list_children(Detail::Stats, |entry, _| Ok(entry))
    }

    /// As [`children`](Self::children), with each one's properties.
    ///
    /// # Errors
    ///
    /// As [`children`](Self::children).
    pub fn children_with_properties(&self) -> Result<Vec<(DatasetEntry, Properties)>> {
        self.list_children(Detail::Properties, |entry, request| {
            let properties = self.listed_properties(entry.name.as_str(), request)?;
            Ok((entry, properties))
        })
    }

    /// All datasets below this one, each after its parent, siblings by name.
    ///
    /// # Errors
    ///
    /// As [`children`](Self::children). A dataset that is destroyed meanwhile is left out.
    pub fn descendants(&self) -> Result<Vec<DatasetEntry>> {
        let mut all = Vec::new();
        let mut to_visit = self.children()?;
        to_visit.reverse();
        while let Some(entry) = to_visit.pop() {
            let dataset = Self {
                zfs: self.zfs.clone(),
                name: entry.name.clone(),
            };
            all.push(entry);
            match dataset.children() {
                Ok(children) => to_visit.extend(children.into_iter().rev()),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    all.pop();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// The snapshots of this dataset that pass the filter, oldest first.
    ///
    /// # Errors
    ///
    /// `NotFound`, `PoolSuspended`, and `Interrupted` never: the call starts the entry again.
    ///
    /// # Privileges
    ///
    /// None.
    ///
    /// `ZFS_IOC_SNAPSHOT_LIST_NEXT`, `zfs-list(8)`.
    #[doc(alias = "ZFS_IOC_SNAPSHOT_LIST_NEXT")]
    pub fn snapshots(&self, filter: &SnapshotFilter) -> Result<Vec<SnapshotEntry>> {
        self.list_snapshots(filter, Detail::Stats, |entry, _| Ok(entry))
    }

    /// As [`snapshots`](Self::snapshots), with each one's properties.
    ///
    /// # Errors
    ///
    /// As [`snapshots`](Self::snapshots).
    pub fn snapshots_with_properties(
        &self,
        filter: &SnapshotFilter,
    ) -> Result<Vec<(SnapshotEntry, Properties)>> {
        self.list_snapshots(filter, Detail::Properties, |entry, request| {
            let properties = self.listed_properties(entry.name.as_str(), request)?;
            Ok((entry, properties))
        })
    }

    /// Whether there is a snapshot at all.
    pub(crate) fn has_snapshots(&self) -> Result<bool> {
        let request = self
            .zfs
            .request(ZFS_IOC_SNAPSHOT_LIST_NEXT, self.name.as_c_str());
        let found = Lister::new(request, self.name.as_c_str(), 0)
            .names_only()
            .next();
        found
            .map(|found| found.is_some())
            .map_err(|errno| Error::new(Operation::ListSnapshots, self.name.as_str(), errno))
    }

    fn listed_properties(&self, name: &str, request: &Request<'_>) -> Result<Properties> {
        let answer = request
            .answer()
            .map_err(|refusal| refusal.into_error(Operation::GetProperties, name))?;
        Properties::from_nvmap(name, answer)
    }

    fn list_children<T>(
        &self,
        detail: Detail,
        mut read: impl FnMut(DatasetEntry, &Request<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        const OPERATION: Operation = Operation::ListDatasets;
        let error = |errno| Error::new(OPERATION, self.name.as_str(), errno);
        let of = self.name.as_c_str();
        let mut request = self.zfs.request(ZFS_IOC_DATASET_LIST_NEXT, of);
        if detail == Detail::Properties {
            request = request.answered();
        }
        let mut lister = Lister::new(request, of, 0);
        let mut found = Vec::new();
        while let Some(name) = lister.next().map_err(error)? {
            // Internal datasets, which have a '$' in their names, are listed without stats.
            let Ok(name) = DatasetName::new(&name) else {
                continue;
            };
            let entry = DatasetEntry::new(name.clone(), lister.request().stats());
            found.push((name, read(entry, lister.request())?));
        }
        // The end of a list and a dataset that does not exist look the same.
        if found.is_empty() && !self.exists()? {
            return Err(error(Errno::ENOENT));
        }
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(found.into_iter().map(|(_, entry)| entry).collect())
    }

    fn list_snapshots<T>(
        &self,
        filter: &SnapshotFilter,
        detail: Detail,
        mut read: impl FnMut(SnapshotEntry, &Request<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        const OPERATION: Operation = Operation::ListSnapshots;
        let kind = self.stat().map_err(|error| error.during(OPERATION))?.kind;
        if filter.matches_nothing() {
            return Ok(Vec::new());
        }
        let of = self.name.as_c_str();
        let request = filter
            .request(&self.zfs, of)
            .map_err(|refusal| refusal.into_error(OPERATION, self.name.as_str()))?;
        let mut lister = match detail {
            Detail::Stats => Lister::new(request, of, 0).with_stats(),
            Detail::Properties => Lister::new(request.answered(), of, 0),
        };
        let mut found = Vec::new();
        let error = |errno| Error::new(OPERATION, self.name.as_str(), errno);
        while let Some(name) = lister.next().map_err(error)? {
            let name = SnapshotName::new(&name)
                .map_err(|error| Error::protocol(OPERATION, self.name.as_str(), error))?;
            let entry = SnapshotEntry::new(name.clone(), kind, lister.request().stats());
            found.push(((entry.create_txg, name), read(entry, lister.request())?));
        }
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(found.into_iter().map(|(_, entry)| entry).collect())
    }
}

/// How much the kernel is asked to tell of each entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    Stats,
    Properties,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_the_kernel_would_misread() {
        assert!(SnapshotFilter::new().max_txg(0).matches_nothing());
        assert!(
            SnapshotFilter::new()
                .min_txg(5)
                .max_txg(4)
                .matches_nothing()
        );
        assert!(
            !SnapshotFilter::new()
                .min_txg(5)
                .max_txg(5)
                .matches_nothing()
        );
        assert!(!SnapshotFilter::new().min_txg(0).matches_nothing());
    }
}
