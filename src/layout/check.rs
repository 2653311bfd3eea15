//! Whether a layout makes sense, and what it amounts to.

use std::collections::{BTreeMap, BTreeSet};

use zfs_core::pool::{FailMode, PoolPropertySet, VdevClass};
use zfs_core::props::{EncryptionAlgorithm, Prop, PropertySet};
use zfs_core::{DatasetKind, DatasetName, PoolName};

use super::LayoutError;
use super::error::Problems;
use super::model::{DatasetLayout, Layout, Policy, PoolLayout, PropertyValue, VdevLayout};
use crate::Tenant;

/// What a layout that makes sense amounts to.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) pools: BTreeMap<&'a str, WantedPool<'a>>,
    /// Parents come before what is below them.
    pub(super) datasets: BTreeMap<&'a str, WantedDataset<'a>>,
}

#[derive(Debug)]
pub(super) struct WantedPool<'a> {
    pub(super) ashift: Option<u8>,
    /// Caches and spares are devices.
    pub(super) vdevs: Vec<(VdevClass, VdevLayout)>,
    pub(super) properties: BTreeMap<&'a str, String>,
}

#[derive(Debug)]
pub(super) struct WantedDataset<'a> {
    pub(super) tenant: bool,
    pub(super) volume: Option<u64>,
    pub(super) encryption: Option<(&'a str, EncryptionAlgorithm)>,
    pub(super) properties: BTreeMap<&'a str, Want>,
}

/// What a property is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// This value, as it is shown.
    Value(String),
    /// Not set on the dataset.
    Inherit,
}

impl WantedDataset<'_> {
    /// The properties that are to have values.
    pub(super) fn values(&self) -> BTreeMap<String, String> {
        self.properties
            .iter()
            .filter_map(|(name, want)| match want {
                Want::Value(value) => Some(((*name).to_owned(), value.clone())),
                Want::Inherit => None,
            })
            .collect()
    }
}

impl Layout {
    /// Checks that the layout keeps to its own rules and to those of ZFS, as far as they can be
    /// known without asking the kernel.
    ///
    /// # Errors
    ///
    /// [`Version`](LayoutError::Version), or [`Invalid`](LayoutError::Invalid) with everything that
    /// was found and where it is.
    pub fn check(&self) -> Result<(), LayoutError> {
        self.wanted().map(drop)
    }

    pub(super) fn wanted(&self) -> Result<Wanted<'_>, LayoutError> {
        if self.version != Self::VERSION {
            return Err(LayoutError::Version {
                found: Some(self.version),
            });
        }
        let mut checker = Checker {
            layout: self,
            problems: Problems::default(),
            devices: BTreeMap::new(),
        };
        let mut wanted = Wanted {
            pools: BTreeMap::new(),
            datasets: BTreeMap::new(),
        };
        for (name, pool) in &self.pools {
            let path = format!("pools.{name}");
            wanted.pools.insert(name, checker.pool(&path, name, pool));
            let root = checker.dataset(&format!("{path}.root"), name, &pool.root, false);
            wanted.datasets.insert(name, root);
        }
        for (map, all, tenant) in [
            ("tenants", &self.tenants, true),
            ("datasets", &self.datasets, false),
        ] {
            for (name, dataset) in all {
                let path = format!("{map}.{name}");
                checker.place(&path, name, tenant);
                let dataset = checker.dataset(&path, name, dataset, tenant);
                wanted.datasets.insert(name, dataset);
            }
        }
        checker.problems.into_result()?;
        Ok(wanted)
    }
}

/// The part of a name before its last `/`.
pub(super) fn parent(name: &str) -> Option<&str> {
    name.rsplit_once('/').map(|(parent, _)| parent)
}

/// The part of a name before its first `/`.
pub(super) fn pool_of(name: &str) -> &str {
    name.split('/').next().unwrap_or_default()
}

struct Checker<'a> {
    layout: &'a Layout,
    problems: Problems,
    /// Where each device was named first. A hot spare may be one of several pools.
    devices: BTreeMap<&'a str, String>,
}

impl<'a> Checker<'a> {
    fn pool(&mut self, path: &str, name: &str, pool: &'a PoolLayout) -> WantedPool<'a> {
        if let Err(error) = PoolName::new(name) {
            self.problems.add(path, error.to_string());
        }
        if pool
            .ashift
            .is_some_and(|ashift| !(9..=16).contains(&ashift))
        {
            self.problems.add(format!("{path}.ashift"), "it is 9 to 16");
        }
        if pool.data.is_empty() {
            self.problems.add(
                format!("{path}.data"),
                "a pool has at least one vdev for data",
            );
        }
        if pool.root.volume.is_some() {
            self.problems
                .add(format!("{path}.root.volume"), "the root is a filesystem");
        }
        let mut vdevs = Vec::new();
        let mut first: Option<(String, &VdevLayout)> = None;
        for (key, class, all) in [
            ("data", VdevClass::Data, &pool.data),
            ("log", VdevClass::Log, &pool.log),
            ("special", VdevClass::Special, &pool.special),
            ("dedup", VdevClass::Dedup, &pool.dedup),
        ] {
            for (number, vdev) in all.iter().enumerate() {
                let path = format!("{path}.{key}[{number}]");
                self.vdev(&path, class, vdev);
                vdevs.push((class, vdev.clone()));
                if class == VdevClass::Log {
                    continue;
                }
                match &first {
                    Some((other, least)) if !is_alike(least, vdev) => self.problems.add(
                        &path,
                        format!("it can lose other numbers of devices than {other}"),
                    ),
                    Some(_) => {}
                    None => first = Some((path, vdev)),
                }
            }
        }
        let mut spares = BTreeSet::new();
        for (number, device) in pool.spares.iter().enumerate() {
            let path = format!("{path}.spares[{number}]");
            if !spares.insert(device) {
                self.problems.add(&path, format!("{device} occurs twice"));
            }
            self.device(&path, device, true);
            vdevs.push((VdevClass::Spare, VdevLayout::Device(device.clone())));
        }
        for (number, device) in pool.cache.iter().enumerate() {
            self.device(&format!("{path}.cache[{number}]"), device, false);
            vdevs.push((VdevClass::Cache, VdevLayout::Device(device.clone())));
        }
        let mut properties = BTreeMap::new();
        for (property, value) in &pool.properties {
            let value = value.to_string();
            if let Err(why) = pool_property(PoolPropertySet::new(), property, &value) {
                self.problems
                    .add(format!("{path}.properties.{property}"), why);
            }
            properties.insert(property.as_str(), value);
        }
        WantedPool {
            ashift: pool.ashift,
            vdevs,
            properties,
        }
    }

    fn vdev(&mut self, path: &str, class: VdevClass, vdev: &'a VdevLayout) {
        let least = match vdev {
            VdevLayout::Device(_) => 1,
            VdevLayout::Mirror(_) | VdevLayout::Raidz1(_) => 2,
            VdevLayout::Raidz2(_) => 3,
            VdevLayout::Raidz3(_) => 4,
        };
        if vdev.devices().len() < least {
            let message = format!("a {} needs at least {least} devices", vdev.kind());
            self.problems.add(path, message);
        }
        let is_mirror = matches!(vdev, VdevLayout::Device(_) | VdevLayout::Mirror(_));
        if class != VdevClass::Data && !is_mirror {
            self.problems.add(path, "only vdevs for data can be raidz");
        }
        for device in vdev.devices() {
            self.device(path, device, false);
        }
    }

    fn device(&mut self, path: &str, device: &'a str, is_spare: bool) {
        if device.is_empty() {
            self.problems.add(path, "a device without a name");
        }
        if let Some(other) = self.devices.get(device) {
            if !(is_spare && other.contains(".spares[")) {
                self.problems
                    .add(path, format!("{device} is used by {other} already"));
            }
            return;
        }
        self.devices.insert(device, path.to_owned());
    }

    /// Whether a dataset can be where it is to be.
    fn place(&mut self, path: &str, name: &str, tenant: bool) {
        if let Err(error) = DatasetName::new(name) {
            return self.problems.add(path, error.to_string());
        }
        let Some(parent) = parent(name) else {
            return self
                .problems
                .add(path, "the root of a pool is told of with the pool");
        };
        if !tenant && self.layout.tenants.contains_key(name) {
            self.problems.add(path, "it is a tenant too");
        }
        let above = self
            .layout
            .datasets
            .get(parent)
            .or_else(|| self.layout.tenants.get(parent))
            .or_else(|| Some(&self.layout.pools.get(parent)?.root));
        match above {
            None => self
                .problems
                .add(path, format!("{parent} above it is not in the layout")),
            Some(above) if above.volume.is_some() => self
                .problems
                .add(path, format!("{parent} above it is a volume")),
            Some(_) => {}
        }
        let mut tenants = self.layout.tenants.keys();
        let is_above = |other: &&String| {
            name.strip_prefix(other.as_str())
                .is_some_and(|rest| rest.starts_with('/'))
        };
        if let Some(other) = tenants.find(is_above).filter(|_| tenant) {
            self.problems
                .add(path, format!("it is below another tenant, {other}"));
        }
    }

    fn dataset(
        &mut self,
        path: &str,
        name: &str,
        dataset: &'a DatasetLayout,
        tenant: bool,
    ) -> WantedDataset<'a> {
        if tenant && dataset.key.is_none() {
            self.problems.add(path, "a tenant has a key of its own");
        }
        if tenant && dataset.volume.is_some() {
            self.problems
                .add(format!("{path}.volume"), "a tenant is a filesystem");
        }
        let volume = dataset.volume.as_ref().and_then(|size| {
            let set = PropertySet::new().parse(Prop::VolSize.name(), &size.to_string());
            let bytes = set.ok()?.get(Prop::VolSize)?.as_u64()?;
            (bytes > 0).then_some(bytes)
        });
        if dataset.volume.is_some() && volume.is_none() {
            self.problems
                .add(format!("{path}.volume"), "no size of a volume");
        }
        WantedDataset {
            tenant,
            volume,
            encryption: self.encryption(path, dataset),
            properties: self.properties(path, name, dataset, tenant),
        }
    }

    fn encryption(
        &mut self,
        path: &str,
        dataset: &'a DatasetLayout,
    ) -> Option<(&'a str, EncryptionAlgorithm)> {
        let path = format!("{path}.cipher");
        let Some(key) = &dataset.key else {
            if dataset.cipher.is_some() {
                self.problems.add(path, "a cipher goes with a key");
            }
            return None;
        };
        let cipher = match dataset.cipher.as_deref() {
            None => EncryptionAlgorithm::Aes256Gcm,
            Some(word) => match EncryptionAlgorithm::from_name(word) {
                None | Some(EncryptionAlgorithm::Off | EncryptionAlgorithm::On) => {
                    self.problems.add(path, format!("{word} is no cipher"));
                    EncryptionAlgorithm::Aes256Gcm
                }
                Some(cipher) => cipher,
            },
        };
        Some((key, cipher))
    }

    fn properties(
        &mut self,
        path: &str,
        name: &str,
        dataset: &'a DatasetLayout,
        tenant: bool,
    ) -> BTreeMap<&'a str, Want> {
        let mut wants = BTreeMap::new();
        if let Some(policy) = dataset.policy {
            let pool = self.layout.pools.get(pool_of(name));
            if policy == Policy::Log && pool.is_some_and(|pool| pool.log.is_empty()) {
                self.problems.add(
                    format!("{path}.policy"),
                    "the pool has no log devices that would absorb synchronous writes",
                );
            }
            for (property, value) in policy.properties() {
                wants.insert(*property, Want::Value((*value).to_owned()));
            }
        }
        let kind = match dataset.volume {
            Some(_) => DatasetKind::Volume,
            None => DatasetKind::Filesystem,
        };
        for (property, value) in &dataset.properties {
            let want = match check_property(kind, property, value) {
                Ok(want) => want,
                Err(why) => {
                    self.problems
                        .add(format!("{path}.properties.{property}"), why);
                    continue;
                }
            };
            match (wants.insert(property, want.clone()), dataset.policy) {
                (Some(other), Some(policy)) if other != want => self.problems.add(
                    format!("{path}.properties.{property}"),
                    format!("it contradicts the policy {policy}"),
                ),
                _ => {}
            }
        }
        if tenant {
            let base = name.rsplit('/').next().unwrap_or_default();
            wants.insert(Tenant::PROPERTY, Want::Value(base.to_owned()));
        }
        wants
    }
}

/// Whether two vdevs can lose as many devices.
fn is_alike(one: &VdevLayout, other: &VdevLayout) -> bool {
    let losses = |vdev: &VdevLayout| match vdev {
        VdevLayout::Device(_) => 0,
        VdevLayout::Mirror(devices) => devices.len().saturating_sub(1),
        VdevLayout::Raidz1(_) => 1,
        VdevLayout::Raidz2(_) => 2,
        VdevLayout::Raidz3(_) => 3,
    };
    losses(one) == losses(other)
}

/// A property of a layout, checked.
fn check_property(kind: DatasetKind, name: &str, value: &PropertyValue) -> Result<Want, String> {
    let text = value.to_string();
    let prop = Prop::from_name(name);
    match prop {
        Some(
            Prop::Encryption
            | Prop::KeyFormat
            | Prop::KeyLocation
            | Prop::Pbkdf2Iters
            | Prop::Pbkdf2Salt,
        ) => return Err(String::from("`key` and `cipher` say how it is encrypted")),
        Some(Prop::VolSize) => return Err(String::from("`volume` says how large a volume is")),
        Some(Prop::Version) => return Err(String::from("it is not for layouts")),
        Some(prop) if !prop.applies_to(kind) => {
            return Err(format!("it does not apply to a {kind}"));
        }
        None if name == Tenant::PROPERTY => {
            return Err(String::from("a tenant is told of among the `tenants`"));
        }
        _ => {}
    }
    if text == PropertyValue::INHERIT {
        return match prop {
            Some(prop) if !prop.is_inheritable() => Err(String::from("it is not inherited")),
            _ => Ok(Want::Inherit),
        };
    }
    let refused = |error: zfs_core::Error| error.detail().unwrap_or_default().to_owned();
    let set = PropertySet::new().parse(name, &text).map_err(refused)?;
    Ok(Want::Value(set.text(name).unwrap_or(text)))
}

/// Adds a property of a pool, given in the words of the `zpool` command.
pub(super) fn pool_property(
    set: PoolPropertySet,
    name: &str,
    value: &str,
) -> Result<PoolPropertySet, String> {
    let flag = match value {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    };
    let refused = |error: zfs_core::Error| error.detail().unwrap_or_default().to_owned();
    match (name, flag) {
        ("autotrim", Some(on)) => Ok(set.autotrim(on)),
        ("autoexpand", Some(on)) => Ok(set.autoexpand(on)),
        ("autoreplace", Some(on)) => Ok(set.autoreplace(on)),
        ("delegation", Some(on)) => Ok(set.delegation(on)),
        ("listsnapshots", Some(on)) => Ok(set.listsnapshots(on)),
        ("multihost", Some(on)) => Ok(set.multihost(on)),
        ("failmode", _) => {
            let mode = match value {
                "wait" => FailMode::Wait,
                "continue" => FailMode::Continue,
                "panic" => FailMode::Panic,
                _ => return Err(String::from("it is wait, continue or panic")),
            };
            set.failmode(mode).map_err(refused)
        }
        ("comment", _) => set.comment(value).map_err(refused),
        (
            "autotrim" | "autoexpand" | "autoreplace" | "delegation" | "listsnapshots"
            | "multihost",
            None,
        ) => Err(String::from("it is true or false")),
        _ => Err(String::from("no property of pools that layouts know")),
    }
}
