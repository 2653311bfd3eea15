//! What a layout file says.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The storage of a cluster as it is to be: pools, tenants, datasets.
///
/// It says what there must be and not what there must not be: see [`Unmanaged`](super::Unmanaged).
/// Devices are logical names, which a [`DeviceMap`](super::DeviceMap) gives paths, and keys are names,
/// which a [`KeySource`](super::KeySource) gives material. So one layout serves machines that differ in
/// both.
///
/// Whoever puts one together in Rust is free to make mistakes: what is [read](Self::from_json) is
/// [checked](Self::check), and what is [planned](Self::plan) is checked again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// The version of this format: 1.
    pub version: u32,
    /// The pools, by name.
    #[serde(default, deserialize_with = "super::read::unique")]
    pub pools: BTreeMap<String, PoolLayout>,
    /// The filesystems that are [tenants](crate::Tenant), by their full names.
    #[serde(
        default,
        deserialize_with = "super::read::unique",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub tenants: BTreeMap<String, DatasetLayout>,
    /// All other filesystems and volumes, by their full names.
    #[serde(
        default,
        deserialize_with = "super::read::unique",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub datasets: BTreeMap<String, DatasetLayout>,
}

impl Layout {
    /// The version of the format that this library reads.
    pub const VERSION: u32 = 1;

    /// An empty layout.
    #[must_use]
    pub fn new() -> Self {
        Self {
            version: Self::VERSION,
            ..Self::default()
        }
    }
}

/// A pool as it is to be.
///
/// All vdevs of a pool are checked to lose the same number of devices, as `zpool create` does it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolLayout {
    /// The base-2 logarithm of the sector size of all its devices, 9 to 16. 12, which is 4 KiB, is
    /// right for nearly all of today's disks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ashift: Option<u8>,
    /// The vdevs for data: one at least.
    pub data: Vec<VdevLayout>,
    /// The vdevs for the intent log (SLOG): devices or mirrors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<VdevLayout>,
    /// The vdevs for metadata and small blocks: devices or mirrors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub special: Vec<VdevLayout>,
    /// The vdevs for deduplication tables: devices or mirrors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dedup: Vec<VdevLayout>,
    /// The read caches (L2ARC).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cache: Vec<String>,
    /// The hot spares.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spares: Vec<String>,
    /// Properties of the pool, `zpoolprops(7)`: `autotrim`, `autoexpand`, `autoreplace`,
    /// `delegation`, `listsnapshots`, `multihost` (true or false), `failmode` (`wait`, `continue`,
    /// `panic`) and `comment`.
    #[serde(
        default,
        deserialize_with = "super::read::unique",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub properties: BTreeMap<String, PropertyValue>,
    /// Its root filesystem, from which the others inherit.
    #[serde(default)]
    pub root: DatasetLayout,
}

/// A vdev as it is to be: of logical names of devices.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum VdevLayout {
    /// A device on its own, without redundancy.
    Device(String),
    /// Two or more devices that each hold everything.
    Mirror(Vec<String>),
    /// Devices of which one may be lost.
    Raidz1(Vec<String>),
    /// Devices of which two may be lost.
    Raidz2(Vec<String>),
    /// Devices of which three may be lost.
    Raidz3(Vec<String>),
}

impl VdevLayout {
    /// The logical names of its devices.
    #[must_use]
    pub fn devices(&self) -> &[String] {
        match self {
            Self::Device(device) => std::slice::from_ref(device),
            Self::Mirror(devices)
            | Self::Raidz1(devices)
            | Self::Raidz2(devices)
            | Self::Raidz3(devices) => devices,
        }
    }

    /// What `zpool status` calls it, without a number: `mirror`, `raidz2`; `device` for one alone.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Device(_) => "device",
            Self::Mirror(_) => "mirror",
            Self::Raidz1(_) => "raidz1",
            Self::Raidz2(_) => "raidz2",
            Self::Raidz3(_) => "raidz3",
        }
    }
}

impl fmt::Display for VdevLayout {
    /// `mirror a b`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.devices().join(" "))
    }
}

/// A filesystem or a volume as it is to be.
///
/// Only what is named in [`properties`](Self::properties) is compared and set; others stay as they
/// are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetLayout {
    /// A volume of this size instead of a filesystem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<PropertyValue>,
    /// The name of the key that it is encrypted with. A tenant must have one; a dataset without
    /// inherits the encryption of what is above it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The cipher that goes with [`key`](Self::key): `aes-256-gcm` unless something else is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cipher: Option<String>,
    /// What it is for, which decides over its synchronous writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    /// Its properties, `zfsprops(7)`, user properties among them. A value is what `zfs set` takes
    /// (`"10G"`, `"zstd"`, `"none"`), a number, or `true` and `false` for `on` and `off`; `"inherit"`
    /// says that it is not to be set on this dataset.
    #[serde(
        default,
        deserialize_with = "super::read::unique",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub properties: BTreeMap<String, PropertyValue>,
}

/// What a dataset is for, as far as its synchronous writes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Policy {
    /// Transactional metadata: no write is acknowledged before it is on stable storage
    /// (`sync=always`).
    Transactional,
    /// Logs, whose writers say themselves when a record must be on stable storage
    /// (`sync=standard`), and whose synchronous writes the pool's log devices absorb: the pool must
    /// have some, and they are used (`logbias=latency`).
    Log,
}

impl Policy {
    /// The properties that it stands for.
    #[must_use]
    pub const fn properties(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Transactional => &[("sync", "always")],
            Self::Log => &[("sync", "standard"), ("logbias", "latency")],
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Transactional => "transactional",
            Self::Log => "log",
        })
    }
}

/// The value of a property in a layout.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PropertyValue {
    /// `on` or `off`.
    Switch(bool),
    /// A number: of bytes, where the property is a size.
    Number(u64),
    /// What `zfs set` takes.
    Text(String),
}

impl PropertyValue {
    /// That the property is not to be set on the dataset.
    pub const INHERIT: &'static str = "inherit";
}

impl From<&str> for PropertyValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<bool> for PropertyValue {
    fn from(on: bool) -> Self {
        Self::Switch(on)
    }
}

impl From<u64> for PropertyValue {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl fmt::Display for PropertyValue {
    /// As `zfs set` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch(true) => f.write_str("on"),
            Self::Switch(false) => f.write_str("off"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}
