//! What is there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use zfs_core::listing::{Listed, Listing, Order};
use zfs_core::pool::{FailMode, PoolProperties, PoolState, VdevClass, VdevKind};
use zfs_core::props::{EncryptionAlgorithm, KeyStatus, Prop, Properties, Source};
use zfs_core::{Dataset, DatasetKind, ErrorKind, Pool, PoolStatus, SnapshotFilter, Vdev, Zfs};

use super::check::{Wanted, WantedDataset};
use super::{Allow, DeviceMap, Layout, LayoutError};

/// What there is of the pools that a layout names, as far as a layout can say something of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    pub(super) pools: BTreeMap<String, ObservedPool>,
    /// By full name.
    pub(super) datasets: BTreeMap<String, ObservedDataset>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ObservedPool {
    /// Caches and spares among them.
    pub(super) vdevs: Vec<ObservedVdev>,
    pub(super) properties: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ObservedVdev {
    pub(super) class: VdevClass,
    /// In the words of [`VdevLayout::kind`](super::VdevLayout::kind).
    pub(super) kind: String,
    pub(super) guid: u64,
    pub(super) ashift: Option<u64>,
    pub(super) devices: Vec<ObservedDevice>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ObservedDevice {
    /// One that the device map has, by its logical name.
    Named(String),
    /// Another, as the pool shows it.
    Other(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ObservedDataset {
    pub(super) guid: u64,
    /// The size of a volume.
    pub(super) volume: Option<u64>,
    pub(super) used: u64,
    pub(super) referenced: u64,
    /// How many filesystems, and how many snapshots, where the kernel counts them.
    pub(super) filesystems: Option<u64>,
    pub(super) snapshots: Option<u64>,
    pub(super) encryption: Option<ObservedEncryption>,
    /// Those that the layout names, and those of the tenant.
    pub(super) properties: BTreeMap<String, ObservedProperty>,
    /// Looked at only of those that may be destroyed.
    pub(super) dependents: Option<Dependents>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ObservedProperty {
    pub(super) value: String,
    /// Whether it is set on the dataset itself.
    pub(super) own: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ObservedEncryption {
    pub(super) root: String,
    pub(super) cipher: Option<EncryptionAlgorithm>,
    pub(super) unlocked: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Dependents {
    /// Names without what comes before the `@`.
    pub(super) snapshots: Vec<String>,
    pub(super) held: Vec<String>,
    /// Snapshots with clones.
    pub(super) cloned: Vec<String>,
    pub(super) mounted: bool,
}

impl std::fmt::Display for ObservedVdev {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.kind)?;
        for device in &self.devices {
            match device {
                ObservedDevice::Named(name) | ObservedDevice::Other(name) => write!(f, " {name}")?,
            }
        }
        Ok(())
    }
}

impl ObservedVdev {
    /// Whether the device of this logical name is in it.
    pub(super) fn has(&self, device: &str) -> bool {
        self.devices
            .iter()
            .any(|known| matches!(known, ObservedDevice::Named(name) if name == device))
    }
}

impl Observed {
    /// Looks at the pools that `layout` names. Devices are told by `devices`, by what they are
    /// whatever links lead to them. Of datasets that `allow` names, it also looks at what
    /// depends on them.
    ///
    /// A pool that is not imported is one that is not there.
    ///
    /// # Errors
    ///
    /// [`Invalid`](LayoutError::Invalid) for a layout that makes no sense;
    /// [`Unusable`](LayoutError::Unusable) for a pool that is suspended or cannot be opened;
    /// [`Zfs`](LayoutError::Zfs).
    ///
    /// # Privileges
    ///
    /// None, but for seeing the devices.
    pub fn read(
        zfs: &Zfs,
        layout: &Layout,
        devices: &DeviceMap,
        allow: &Allow,
    ) -> Result<Self, LayoutError> {
        let wanted = layout.wanted()?;
        let names = Names::new(devices);
        let mut observed = Self::default();
        for name in wanted.pools.keys() {
            let pool = zfs.pool(name)?;
            let status = match pool.status() {
                Ok(status) => status,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            };
            let is_usable = status.state == PoolState::Active
                && status.fault.is_none()
                && status.suspended.is_none();
            if !is_usable {
                return Err(LayoutError::Unusable {
                    pool: (*name).to_owned(),
                    health: status.health,
                });
            }
            let properties = pool_properties(&pool.properties()?);
            let vdevs = names.vdevs(&status);
            let pool_observed = ObservedPool { vdevs, properties };
            observed.pools.insert((*name).to_owned(), pool_observed);
            observed.read_datasets(&pool, &wanted, allow)?;
        }
        Ok(observed)
    }

    fn read_datasets(
        &mut self,
        pool: &Pool,
        wanted: &Wanted<'_>,
        allow: &Allow,
    ) -> Result<(), LayoutError> {
        let listing = Listing::new(Listed::DATASETS)
            .all_properties()
            .order(Order::Any);
        for row in pool.root().list(&listing)? {
            let row = row?;
            let name = row.name().as_str();
            let Some(properties) = row.properties() else {
                continue;
            };
            let dataset = pool.zfs().dataset(name)?;
            let mut observed = ObservedDataset::new(properties);
            if let Some(wanted) = wanted.datasets.get(name) {
                observed.read_properties(&dataset, properties, wanted)?;
            }
            if allow.destroys(name) {
                observed.dependents = Some(Dependents::read(&dataset)?);
            }
            self.datasets.insert(name.to_owned(), observed);
        }
        Ok(())
    }
}

impl ObservedDataset {
    fn new(properties: &Properties) -> Self {
        let is_volume = properties.kind() == DatasetKind::Volume;
        Self {
            guid: properties.guid(),
            volume: is_volume.then(|| properties.vol_size().unwrap_or_default()),
            used: properties.used(),
            referenced: properties.referenced(),
            filesystems: properties.filesystem_count(),
            snapshots: properties.snapshot_count(),
            encryption: properties.encryption_root().map(|root| ObservedEncryption {
                root: root.to_string(),
                cipher: properties.encryption(),
                unlocked: properties.key_status() == Some(KeyStatus::Available),
            }),
            properties: BTreeMap::new(),
            dependents: None,
        }
    }

    fn read_properties(
        &mut self,
        dataset: &Dataset,
        properties: &Properties,
        wanted: &WantedDataset<'_>,
    ) -> Result<(), LayoutError> {
        for name in wanted.properties.keys() {
            let value = match Prop::from_name(name) {
                None => properties.user(name).map(str::to_owned),
                Some(prop) => match properties.get(prop) {
                    Some(value) => Some(value.to_string()),
                    // One of its files, or one that this version of ZFS does not know.
                    None => dataset.property(prop)?.map(|value| value.to_string()),
                },
            };
            let own = matches!(
                properties.source(name),
                Some(Source::Local | Source::Received)
            );
            if let Some(value) = value {
                let property = ObservedProperty { value, own };
                self.properties.insert((*name).to_owned(), property);
            }
        }
        Ok(())
    }
}

impl Dependents {
    fn read(dataset: &Dataset) -> Result<Self, LayoutError> {
        let mut dependents = Self {
            mounted: !dataset.mounts()?.is_empty(),
            ..Self::default()
        };
        for (entry, properties) in dataset.snapshots_with_properties(&SnapshotFilter::new())? {
            let short = entry.name.short().to_owned();
            if properties.user_refs().is_some_and(|holds| holds > 0) {
                dependents.held.push(short.clone());
            }
            if entry.clones > 0 {
                dependents.cloned.push(short.clone());
            }
            dependents.snapshots.push(short);
        }
        dependents.snapshots.sort();
        Ok(dependents)
    }
}

/// The properties of a pool that layouts know, in the words of the `zpool` command.
fn pool_properties(properties: &PoolProperties) -> BTreeMap<String, String> {
    let flag = |on: bool| String::from(if on { "on" } else { "off" });
    let failmode = match properties.failmode() {
        FailMode::Wait => "wait",
        FailMode::Continue => "continue",
        FailMode::Panic => "panic",
        _ => "unknown",
    };
    [
        ("autotrim", flag(properties.autotrim())),
        ("autoexpand", flag(properties.autoexpand())),
        ("autoreplace", flag(properties.autoreplace())),
        ("delegation", flag(properties.delegation())),
        ("listsnapshots", flag(properties.listsnapshots())),
        ("multihost", flag(properties.multihost())),
        ("failmode", String::from(failmode)),
        (
            "comment",
            properties.comment().unwrap_or_default().to_owned(),
        ),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// The logical names of devices, by where their paths lead.
struct Names<'a>(BTreeMap<PathBuf, &'a str>);

impl<'a> Names<'a> {
    fn new(devices: &'a DeviceMap) -> Self {
        let mut names = BTreeMap::new();
        for (name, path) in devices.iter() {
            names.insert(real(path), name);
        }
        Self(names)
    }

    fn vdevs(&self, status: &PoolStatus) -> Vec<ObservedVdev> {
        status
            .root
            .children
            .iter()
            // These are only places where a vdev was.
            .filter(|vdev| !matches!(vdev.kind, VdevKind::Hole | VdevKind::Indirect))
            .chain(&status.spares)
            .chain(&status.caches)
            .map(|vdev| self.vdev(vdev))
            .collect()
    }

    fn vdev(&self, vdev: &Vdev) -> ObservedVdev {
        let whole = settled(vdev);
        let kind = match &whole.kind {
            VdevKind::Disk | VdevKind::File => String::from("device"),
            VdevKind::Raidz { parity } => format!("raidz{parity}"),
            other => other.as_str().to_owned(),
        };
        let devices = match whole.children.as_slice() {
            [] => vec![self.device(whole)],
            children => children
                .iter()
                .map(|child| self.device(settled(child)))
                .collect(),
        };
        ObservedVdev {
            class: vdev.class,
            kind,
            guid: vdev.guid,
            ashift: vdev.ashift,
            devices,
        }
    }

    fn device(&self, vdev: &Vdev) -> ObservedDevice {
        let name = vdev.path.as_deref().and_then(|path| {
            let path = real(path);
            self.0.get(&path).copied().or_else(|| {
                // ZFS made partitions on it, of which the first has the data.
                let path = path.to_str().filter(|_| vdev.whole_disk)?;
                ["-part1", "p1", "1"]
                    .iter()
                    .filter_map(|suffix| path.strip_suffix(suffix))
                    .find_map(|disk| self.0.get(Path::new(disk)).copied())
            })
        });
        match name {
            Some(name) => ObservedDevice::Named(name.to_owned()),
            None => ObservedDevice::Other(vdev.to_string()),
        }
    }
}

/// Of a device that is being replaced, the new one; of one that a hot spare stands in for, itself.
fn settled(vdev: &Vdev) -> &Vdev {
    let child = match vdev.kind {
        VdevKind::Replacing => vdev.children.last(),
        VdevKind::Spare => vdev.children.first(),
        _ => None,
    };
    child.map_or(vdev, settled)
}

/// Where a path leads. One that leads nowhere stays as it is: it is no device that is there.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}
