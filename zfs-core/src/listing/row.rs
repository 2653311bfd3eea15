use super::source::Columns;
use crate::bookmark::BookmarkEntry;
use crate::list::{DatasetEntry, DatasetKind};
use crate::name::{BookmarkName, DatasetName, SnapshotName};
use crate::props::{FileProperties, Prop, PropValue, Properties};
use std::fmt;
use std::sync::Arc;
use zfs_core_sys::ioctl::dmu_objset_stats;

/// The name of what a [`Row`] is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RowName {
    /// A filesystem or a volume.
    Dataset(DatasetName),
    /// A snapshot.
    Snapshot(SnapshotName),
    /// A bookmark.
    Bookmark(BookmarkName),
}

impl RowName {
    /// The full name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Dataset(name) => name.as_str(),
            Self::Snapshot(name) => name.as_str(),
            Self::Bookmark(name) => name.as_str(),
        }
    }
}

impl fmt::Display for RowName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the kernel knows of a dataset or a snapshot without its properties.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Its GUID. A bookmark has that of its snapshot.
    pub guid: u64,
    /// The transaction group it was created in; of a bookmark, that of its snapshot.
    pub create_txg: u64,
    /// The snapshot that a dataset is a clone of.
    pub origin: Option<SnapshotName>,
    /// How many clones a snapshot has.
    pub clones: u64,
    /// Whether a dataset is being received into, or destroyed.
    pub inconsistent: bool,
    /// Whether it was received from a redacted stream.
    pub redacted: bool,
}

impl Stats {
    pub(super) fn of_snapshot(stats: &dmu_objset_stats) -> Self {
        Self {
            guid: stats.dds_guid,
            create_txg: stats.dds_creation_txg,
            origin: None,
            clones: stats.dds_num_clones,
            inconsistent: stats.dds_inconsistent != 0,
            redacted: stats.dds_redacted != 0,
        }
    }

    fn of_dataset(entry: &DatasetEntry) -> Self {
        Self {
            guid: entry.guid,
            create_txg: entry.create_txg,
            origin: entry.origin.clone(),
            clones: 0,
            inconsistent: entry.inconsistent,
            redacted: entry.redacted,
        }
    }
}

/// The columns of a row beside name and kind, as far as they were asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    pub(super) properties: Option<Box<Properties>>,
    pub(super) files: Option<Box<FileProperties>>,
}

/// One object of a list.
#[derive(Clone, Debug)]
pub struct Row {
    name: RowName,
    kind: DatasetKind,
    stats: Option<Stats>,
    bookmark: Option<Box<BookmarkEntry>>,
    values: Values,
    columns: Arc<Columns>,
}

impl Row {
    pub(super) fn of_dataset(entry: DatasetEntry, values: Values, columns: &Arc<Columns>) -> Self {
        Self {
            kind: entry.kind,
            stats: Some(Stats::of_dataset(&entry)),
            name: RowName::Dataset(entry.name),
            bookmark: None,
            values,
            columns: Arc::clone(columns),
        }
    }

    pub(super) fn of_snapshot(
        name: SnapshotName,
        kind: DatasetKind,
        stats: Option<Stats>,
        values: Values,
        columns: &Arc<Columns>,
    ) -> Self {
        Self {
            name: RowName::Snapshot(name),
            kind,
            stats,
            bookmark: None,
            values,
            columns: Arc::clone(columns),
        }
    }

    pub(super) fn of_bookmark(
        entry: BookmarkEntry,
        kind: DatasetKind,
        columns: &Arc<Columns>,
    ) -> Self {
        Self {
            name: RowName::Bookmark(entry.name.clone()),
            kind,
            stats: Some(Stats {
                guid: entry.guid,
                create_txg: entry.create_txg,
                origin: None,
                clones: 0,
                inconsistent: false,
                redacted: false,
            }),
            bookmark: Some(Box::new(entry)),
            values: Values::default(),
            columns: Arc::clone(columns),
        }
    }

    #[cfg(feature = "serde")]
    pub(super) fn columns(&self) -> &Columns {
        &self.columns
    }

    /// Its full name.
    #[must_use]
    pub fn name(&self) -> &RowName {
        &self.name
    }

    /// Filesystem or volume; of a snapshot or a bookmark, what its dataset is.
    #[must_use]
    pub fn kind(&self) -> DatasetKind {
        self.kind
    }

    /// GUID, transaction group and what comes with them. `None` where they were not asked for and
    /// the kernel did not tell them anyway: of snapshots, if only names are listed on 2.1.
    #[must_use]
    pub fn stats(&self) -> Option<&Stats> {
        self.stats.as_ref()
    }

    /// All properties, if [all](super::Listing::all_properties) were asked for. A bookmark has
    /// none.
    #[must_use]
    pub fn properties(&self) -> Option<&Properties> {
        self.values
            .properties
            .as_deref()
            .filter(|_| self.columns.all)
    }

    /// What the kernel told of a bookmark.
    #[must_use]
    pub fn bookmark(&self) -> Option<&BookmarkEntry> {
        self.bookmark.as_deref()
    }

    /// A native property that was asked for. `None` when it was not, and when it does not apply to
    /// this object or has no value.
    #[must_use]
    pub fn get(&self, prop: Prop) -> Option<PropValue> {
        if !self.columns.has(prop) {
            return None;
        }
        if prop.is_of_files() {
            return self.values.files.as_ref()?.get(prop);
        }
        if let Some(properties) = &self.values.properties {
            return properties.get(prop);
        }
        if prop == Prop::Type {
            return Some(PropValue::Text(match self.name {
                RowName::Dataset(_) => self.kind.to_string(),
                RowName::Snapshot(_) => String::from("snapshot"),
                RowName::Bookmark(_) => String::from("bookmark"),
            }));
        }
        let stats = self.stats.as_ref()?;
        let bookmark = self.bookmark.as_deref();
        match prop {
            Prop::Guid => Some(PropValue::Number(stats.guid)),
            Prop::CreateTxg => Some(PropValue::Number(stats.create_txg)),
            Prop::Origin => {
                let origin = stats.origin.as_ref()?;
                Some(PropValue::Text(origin.to_string()))
            }
            Prop::Creation => Some(PropValue::Number(bookmark?.creation)),
            Prop::Referenced => Some(PropValue::Number(bookmark?.referenced?)),
            Prop::LogicalReferenced => Some(PropValue::Number(bookmark?.logical_referenced?)),
            _ => None,
        }
    }

    /// As [`get`](Self::get), if the value is a number.
    #[must_use]
    pub fn number(&self, prop: Prop) -> Option<u64> {
        self.get(prop)?.as_u64()
    }

    /// The value of a user property that was asked for.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&str> {
        if !self.columns.all && !self.columns.user.contains(name) {
            return None;
        }
        self.values.properties.as_ref()?.user(name)
    }
}
