use serde::Serialize;
use zfs_core::DatasetName;
use zfs_core::props::{Prop, PropValue, Properties};

/// A limit of a number of things, and how many there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Count {
    /// The dataset that has the limit, and for which and for all below which it is.
    pub dataset: DatasetName,
    /// The limit.
    pub limit: u64,
    /// How many there are.
    pub count: u64,
}

impl Count {
    /// How many more there can be.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.limit.saturating_sub(self.count)
    }
}

/// A dataset on the way from one to its pool, with its limits. Sizes are bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Level {
    /// Its name.
    pub dataset: DatasetName,
    /// What it and all below it take, with what is reserved for those below.
    pub used: u64,
    /// What it references itself.
    pub referenced: u64,
    /// What it can still write, by the kernel's own reckoning.
    pub available: u64,
    /// The limit of `used`.
    pub quota: Option<u64>,
    /// The limit of `referenced`.
    pub ref_quota: Option<u64>,
    /// What it and all below it are sure to get.
    pub reservation: Option<u64>,
    /// What it is sure to get, without what is below it.
    pub ref_reservation: Option<u64>,
    /// How much of `ref_reservation` is not in use; `used` has it.
    pub used_by_ref_reservation: u64,
    /// The limit of snapshots of it and of all below it.
    pub snapshots: Option<Count>,
    /// The limit of filesystems and volumes below it.
    pub filesystems: Option<Count>,
}

impl Level {
    pub(super) fn new(dataset: DatasetName, props: &Properties) -> Self {
        let count = |limit: Option<u64>, count: Option<u64>| {
            Some(Count {
                dataset: dataset.clone(),
                limit: limit?,
                // The kernel begins to count with the first limit.
                count: count.unwrap_or_default(),
            })
        };
        let unused = match props.get(Prop::UsedByRefReservation) {
            Some(PropValue::Number(bytes)) => bytes,
            _ => 0,
        };
        Self {
            used: props.used(),
            referenced: props.referenced(),
            // Every filesystem and volume has this property.
            available: props.available().unwrap_or_default(),
            quota: props.quota(),
            ref_quota: props.ref_quota(),
            reservation: props.reservation(),
            ref_reservation: props.ref_reservation(),
            used_by_ref_reservation: unused,
            snapshots: count(props.snapshot_limit(), props.snapshot_count()),
            filesystems: count(props.filesystem_limit(), props.filesystem_count()),
            dataset,
        }
    }

    /// What of its reservation nobody uses: it is there even when the parent has nothing left.
    pub(super) fn unused_reservation(&self) -> u64 {
        self.reservation
            .unwrap_or_default()
            .saturating_sub(self.used)
    }
}
