//! What a plan may take away.

use std::collections::BTreeSet;

use super::observed::{ObservedDevice, ObservedVdev};

/// What may be destroyed or overwritten: each thing by its name, and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    datasets: BTreeSet<String>,
    vdevs: BTreeSet<(String, String)>,
    overwritten: BTreeSet<String>,
}

impl Allow {
    /// Nothing.
    #[must_use]
    pub fn nothing() -> Self {
        Self::default()
    }

    /// That the dataset `name` is destroyed with its snapshots, if the layout does not name it.
    ///
    /// What is below it has to be named too, and no snapshot of it may be held or have a clone. A dataset that does not exist any more is no mistake.
    #[must_use]
    pub fn destroy(mut self, name: impl Into<String>) -> Self {
        self.datasets.insert(name.into());
        self
    }

    /// That the vdev, cache or spare of `pool` that has the device `device` is removed, if the layout
    /// does not name it. The device is its logical name, or what the pool shows: a path.
    #[must_use]
    pub fn remove(mut self, pool: impl Into<String>, device: impl Into<String>) -> Self {
        self.vdevs.insert((pool.into(), device.into()));
        self
    }

    /// That the device of this logical name is taken although something is on it: a filesystem, a
    /// partition table, an exported pool. What is in use is never taken.
    ///
    /// It has an effect when all devices that are to be taken in one change are named.
    #[must_use]
    pub fn overwrite(mut self, device: impl Into<String>) -> Self {
        self.overwritten.insert(device.into());
        self
    }

    pub(super) fn destroys(&self, dataset: &str) -> bool {
        self.datasets.contains(dataset)
    }

    pub(super) fn removes(&self, pool: &str, vdev: &ObservedVdev) -> bool {
        vdev.devices.iter().any(|device| {
            let (ObservedDevice::Named(name) | ObservedDevice::Other(name)) = device;
            self.vdevs.contains(&(pool.to_owned(), name.clone()))
        })
    }

    /// Whether all of these devices may be overwritten.
    pub(super) fn overwrites<'a>(&self, mut devices: impl Iterator<Item = &'a str>) -> bool {
        devices.all(|device| self.overwritten.contains(device))
    }
}
