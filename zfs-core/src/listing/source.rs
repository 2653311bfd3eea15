//! What the kernel is asked about one dataset.

use super::options::{Listed, Listing, Order};
use super::row::{Row, RowName, Stats, Values};
use crate::dataset::Dataset;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::ffi::device::Request;
use crate::list::{DatasetEntry, DatasetKind, Lister, SnapshotFilter};
use crate::name::{DatasetName, SnapshotName};
use crate::props::{FileProperties, Prop, Properties};
use crate::zfs::Zfs;
use std::collections::BTreeSet;
use std::ffi::CStr;
use std::sync::Arc;
use zfs_core_sys::ioctl::{
    ZFS_IOC_DATASET_LIST_NEXT, ZFS_IOC_OBJSET_STATS, ZFS_IOC_OBJSET_ZPLPROPS,
};

/// How many entries are read in one go where the order is the kernel's.
const BATCH: usize = 16;

/// What is asked for beside names.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) all: bool,
    stats: bool,
    native: BTreeSet<Prop>,
    pub(super) user: BTreeSet<String>,
    files: bool,
}

impl Columns {
    fn new(listing: &Listing) -> Self {
        Self {
            all: listing.all,
            stats: listing.stats,
            native: listing.native.clone(),
            user: listing.user.clone(),
            files: listing.native.iter().any(|prop| prop.is_of_files()),
        }
    }

    /// The native properties of each row.
    #[cfg(feature = "serde")]
    pub(super) fn native(&self) -> impl Iterator<Item = Prop> + '_ {
        Prop::ALL.iter().copied().filter(|prop| self.has(*prop))
    }

    pub(super) fn has(&self, prop: Prop) -> bool {
        self.native.contains(&prop) || self.all && !prop.is_of_files()
    }

    /// Whether stats do not tell all that is wanted.
    fn needs_properties(&self) -> bool {
        let told_by_stats = |prop: &Prop| {
            matches!(
                prop,
                Prop::Type | Prop::Guid | Prop::CreateTxg | Prop::Origin
            )
        };
        let others = |prop: &&Prop| !prop.is_of_files() && !told_by_stats(prop);
        self.all || !self.user.is_empty() || self.native.iter().any(|prop| others(&prop))
    }

    fn wants(&self, name: &CStr) -> bool {
        self.all
            || name.to_str().is_ok_and(|name| {
                self.user.contains(name) || self.native.iter().any(|prop| prop.name() == name)
            })
    }
}

/// How a listing is carried out.
#[derive(Debug)]
pub(super) struct Plan {
    zfs: Zfs,
    listing: Listing,
    columns: Arc<Columns>,
    properties: bool,
    stats: bool,
}

/// Where the list of a dataset is to be continued.
pub(super) type Cursor = u64;

/// Some entries of a list, and where it goes on if it does.
pub(super) struct Part {
    pub(super) rows: Vec<Row>,
    pub(super) rest: Option<Cursor>,
}

impl Plan {
    pub(super) fn new(zfs: &Zfs, listing: &Listing) -> Self {
        let columns = Columns::new(listing);
        let properties = columns.needs_properties();
        let stats = columns.stats || !columns.native.is_empty() || listing.order == Order::Age;
        Self {
            zfs: zfs.clone(),
            listing: listing.clone(),
            columns: Arc::new(columns),
            properties,
            stats,
        }
    }

    pub(super) fn threads(&self) -> usize {
        self.listing.threads.get()
    }

    pub(super) fn is_ordered(&self) -> bool {
        self.listing.order != Order::Any
    }

    /// Whether a row is wanted, and not only what is below it.
    pub(super) fn shows(&self, row: &Row) -> bool {
        self.listing
            .listed
            .contains(match (row.name(), row.kind()) {
                (RowName::Snapshot(_), _) => Listed::SNAPSHOTS,
                (RowName::Bookmark(_), _) => Listed::BOOKMARKS,
                (RowName::Dataset(_), DatasetKind::Filesystem) => Listed::FILESYSTEMS,
                (RowName::Dataset(_), DatasetKind::Volume) => Listed::VOLUMES,
                (RowName::Dataset(_), DatasetKind::Unknown(_)) => Listed::DATASETS,
            })
    }

    pub(super) fn has_snapshots(&self) -> bool {
        self.listing.listed.contains(Listed::SNAPSHOTS) && !self.listing.created.matches_nothing()
    }

    pub(super) fn has_bookmarks(&self) -> bool {
        self.listing.listed.contains(Listed::BOOKMARKS) && !self.listing.created.matches_nothing()
    }

    /// Whether to look below a dataset of this kind and depth.
    pub(super) fn goes_below(&self, kind: DatasetKind, depth: usize) -> bool {
        kind != DatasetKind::Volume && self.listing.depth.is_none_or(|most| depth < most)
    }

    /// The row of the dataset that a list begins with.
    pub(super) fn root(&self, entry: DatasetEntry) -> Result<Row> {
        let mut values = Values::default();
        if self.properties {
            let name = entry.name.as_c_str();
            let mut request = self.zfs.request(ZFS_IOC_OBJSET_STATS, name).answered();
            request.read().map_err(|errno| {
                Error::new(Operation::GetProperties, entry.name.as_str(), errno)
            })?;
            values.properties = self.chosen(entry.name.as_str(), &request)?;
        }
        values.files = self.files(entry.name.as_c_str(), entry.kind)?;
        Ok(Row::of_dataset(entry, values, &self.columns))
    }

    pub(super) fn children(&self, of: &DatasetName, from: Cursor) -> Result<Part> {
        const OPERATION: Operation = Operation::ListDatasets;
        let mut request = self.zfs.request(ZFS_IOC_DATASET_LIST_NEXT, of.as_c_str());
        if self.properties {
            request = request.answered();
        }
        let mut lister = Lister::new(request, of.as_c_str(), from);
        let mut rows = Vec::new();
        let rest = loop {
            if self.is_full(&rows) {
                break Some(lister.cursor());
            }
            let found = lister
                .next()
                .map_err(|errno| Error::new(OPERATION, of.as_str(), errno))?;
            let Some(name) = found else { break None };
            // Internal datasets, which have a '$' in their names, are listed without stats.
            let Ok(name) = DatasetName::new(&name) else {
                continue;
            };
            let entry = DatasetEntry::new(name, lister.request().stats());
            let mut values = Values::default();
            if self.properties {
                values.properties = self.chosen(entry.name.as_str(), lister.request())?;
            }
            values.files = match self.files(entry.name.as_c_str(), entry.kind) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                files => files?,
            };
            rows.push(Row::of_dataset(entry, values, &self.columns));
        };
        if self.is_ordered() {
            // Below one parent the order of full names is that of the last components.
            rows.sort_by(|a, b| a.name().as_str().cmp(b.name().as_str()));
        }
        Ok(Part { rows, rest })
    }

    pub(super) fn snapshots(
        &self,
        of: &DatasetName,
        kind: DatasetKind,
        from: Cursor,
    ) -> Result<Part> {
        const OPERATION: Operation = Operation::ListSnapshots;
        let filter: &SnapshotFilter = &self.listing.created;
        let request = filter
            .request(&self.zfs, of.as_c_str())
            .map_err(|refusal| refusal.into_error(OPERATION, of.as_str()))?;
        let mut lister = match (self.properties, self.stats) {
            (true, _) => Lister::new(request.answered(), of.as_c_str(), from),
            (false, true) => Lister::new(request, of.as_c_str(), from).with_stats(),
            (false, false) => Lister::new(request, of.as_c_str(), from).names_only(),
        };
        let mut rows = Vec::new();
        let rest = loop {
            if self.is_full(&rows) {
                break Some(lister.cursor());
            }
            let found = lister
                .next()
                .map_err(|errno| Error::new(OPERATION, of.as_str(), errno))?;
            let Some(name) = found else { break None };
            let name = SnapshotName::new(&name)
                .map_err(|error| Error::protocol(OPERATION, of.as_str(), error))?;
            let stats = lister
                .has_stats()
                .then(|| Stats::of_snapshot(lister.request().stats()));
            let mut values = Values::default();
            if self.properties {
                values.properties = self.chosen(name.as_str(), lister.request())?;
            }
            values.files = match self.files(name.as_c_str(), kind) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                files => files?,
            };
            rows.push(Row::of_snapshot(name, kind, stats, values, &self.columns));
        };
        self.sort(&mut rows);
        Ok(Part { rows, rest })
    }

    pub(super) fn bookmarks(&self, of: &DatasetName, kind: DatasetKind) -> Result<Vec<Row>> {
        let dataset = Dataset {
            zfs: self.zfs.clone(),
            name: of.clone(),
        };
        let mut rows: Vec<Row> = dataset
            .bookmarks()?
            .into_iter()
            .filter(|entry| self.listing.created.matches(entry.create_txg))
            .map(|entry| Row::of_bookmark(entry, kind, &self.columns))
            .collect();
        self.sort(&mut rows);
        Ok(rows)
    }

    fn is_full(&self, rows: &[Row]) -> bool {
        !self.is_ordered() && rows.len() >= BATCH
    }

    fn sort(&self, rows: &mut [Row]) {
        let txg = |row: &Row| row.stats().map(|stats| stats.create_txg);
        match self.listing.order {
            Order::Age => rows.sort_by(|a, b| {
                let by_name = || a.name().as_str().cmp(b.name().as_str());
                txg(a).cmp(&txg(b)).then_with(by_name)
            }),
            Order::Name => rows.sort_by(|a, b| a.name().as_str().cmp(b.name().as_str())),
            Order::Any => {}
        }
    }

    /// The properties that are wanted of an answer.
    fn chosen(&self, name: &str, request: &Request<'_>) -> Result<Option<Box<Properties>>> {
        let properties = match self.columns.all {
            true => Properties::from_nvmap(
                name,
                request
                    .answer()
                    .map_err(|refusal| refusal.into_error(Operation::GetProperties, name))?,
            ),
            false => Properties::some_of(name, request.answer_bytes(), |name| {
                self.columns.wants(name)
            }),
        };
        properties.map(Box::new).map(Some)
    }

    fn files(&self, name: &CStr, kind: DatasetKind) -> Result<Option<Box<FileProperties>>> {
        if !self.columns.files || kind == DatasetKind::Volume {
            return Ok(None);
        }
        let object = || name.to_string_lossy();
        let mut request = self.zfs.request(ZFS_IOC_OBJSET_ZPLPROPS, name).answered();
        request
            .read()
            .map_err(|errno| Error::new(Operation::GetProperties, object(), errno))?;
        let answer = request
            .answer()
            .map_err(|refusal| refusal.into_error(Operation::GetProperties, object()))?;
        Ok(Some(Box::new(FileProperties::from_nvmap(answer))))
    }
}
