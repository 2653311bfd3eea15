use super::health::Health;
use super::progress::{Checkpoint, RaidzExpansion, Removal};
use super::scan::ScanStatus;
use super::vdev::{Vdev, VdevClass, Vdevs};
use crate::error::Errno;
use crate::nv::{NvMap, Value};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// Whether a pool is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum PoolState {
    /// Open.
    Active,
    /// Exported.
    Exported,
    /// Destroyed.
    Destroyed,
    /// Known, but not opened yet, or not to be opened.
    Uninitialized,
    /// A number that this crate does not know, or that no pool has which is imported.
    Unknown(u64),
}

impl PoolState {
    /// Gives the kernel's number its meaning.
    #[must_use]
    #[doc(alias = "pool_state_t")]
    pub const fn from_raw(raw: u64) -> Self {
        match raw {
            0 => Self::Active,
            1 => Self::Exported,
            2 => Self::Destroyed,
            5 => Self::Uninitialized,
            _ => Self::Unknown(raw),
        }
    }
}

/// Why a pool is suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum SuspendReason {
    /// The kernel gives no reason.
    None,
    /// I/O failed beyond what the pool's redundancy makes up for.
    IoError,
    /// It could not be shown in time that no other host uses the pool.
    Multihost,
    /// A number that this crate does not know.
    Unknown(u64),
}

impl SuspendReason {
    /// Gives the kernel's number its meaning.
    #[must_use]
    #[doc(alias = "zio_suspend_reason_t")]
    pub const fn from_raw(raw: u64) -> Self {
        match raw {
            0 => Self::None,
            1 => Self::IoError,
            2 => Self::Multihost,
            _ => Self::Unknown(raw),
        }
    }
}

/// A feature of a pool that is enabled in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PoolFeature {
    /// Its identity: `com.delphix:async_destroy`.
    pub guid: String,
    /// How many things in the pool need it. It is active when there are any, and then a module
    /// without the feature cannot write to the pool.
    pub references: u64,
}

impl PoolFeature {
    /// The name in `feature@name` properties: what follows the colon.
    #[must_use]
    pub fn name(&self) -> &str {
        self.guid
            .rsplit_once(':')
            .map_or(&self.guid, |(_, name)| name)
    }

    /// Whether something in the pool needs it.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.references > 0
    }
}

/// The state of a pool at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStatus {
    /// Its name on the devices, which is another than that of the handle after an import under a
    /// temporary name.
    pub name: String,
    /// Its identity.
    pub guid: u64,
    /// Whether it is open.
    pub state: PoolState,
    /// How well it is, in the words of the `zpool` command.
    ///
    /// The command prints the state of the vdevs and not `SUSPENDED` in some cases: while a
    /// resilver is under way, and before 2.2 with `failmode=continue`. Here a suspended pool always
    /// is [`Suspended`](Health::Suspended).
    pub health: Health,
    /// Why it cannot be opened. The vdevs then are those of the last attempt.
    pub fault: Option<Errno>,
    /// Why its I/O is stopped, until the fault is repaired and the pool cleared.
    pub suspended: Option<SuspendReason>,
    /// The version of the format: 5000 for pools with features.
    pub version: u64,
    /// The transaction group of the last change of the configuration.
    pub txg: u64,
    /// The host that has it imported.
    pub hostid: Option<u64>,
    /// The name of that host.
    pub hostname: Option<String>,
    /// What is put before its mount points, for this import only.
    pub altroot: Option<PathBuf>,
    /// How many damaged blocks are on record. `None` when it cannot be opened.
    pub error_count: Option<u64>,
    /// The scrub or resilver that is under way, or else the last one.
    pub scan: Option<ScanStatus>,
    /// The checkpoint, or what is left of one that is being discarded.
    pub checkpoint: Option<Checkpoint>,
    /// The removal of a vdev that is under way, or else the last one.
    pub removal: Option<Removal>,
    /// The expansion of a raidz that is under way, or else the last one. Since 2.3.
    pub expansion: Option<RaidzExpansion>,
    /// The number of a known defect of older software that the pool shows.
    pub errata: Option<u64>,
    /// The features that the pool has in use and the module lacks, of a pool that cannot be opened
    /// for that.
    pub unsupported_features: Vec<String>,
    /// When this was read, in seconds since 1970: rates are as of then.
    pub read_at: u64,
    /// The features that are enabled. A feature that is not here is disabled.
    pub features: Vec<PoolFeature>,
    /// The tree of vdevs.
    pub root: Vdev,
    /// The hot spares.
    pub spares: Vec<Vdev>,
    /// The read caches.
    pub caches: Vec<Vdev>,
    pub(super) circumstances: Circumstances,
}

/// What only [`Pool::advice`](super::Pool::advice) looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Circumstances {
    /// Whether new writes fail while it is suspended, rather than wait.
    pub(super) continues: bool,
    /// An `mmp_state_t`: whether another host may have the pool imported.
    pub(super) multihost: Option<u64>,
    /// Whether it could be opened if it were not written to.
    pub(super) can_read: bool,
}

impl PoolStatus {
    pub(super) fn read(
        config: &NvMap,
        altroot: PathBuf,
        fault: Option<Errno>,
    ) -> Result<Self, String> {
        // Before 1970 nothing is under way.
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let number = |key: &str| config.u64(key).ok_or_else(|| format!("no {key}"));
        let text = |key: &str| Some(config.get(key)?.as_cstr()?.to_string_lossy().into_owned());
        let tree = config.list("vdev_tree").ok_or("no vdev_tree")?;
        let words = |key: &str| tree.u64s(key);
        let scan = words("scan_stats")
            .map(|words| ScanStatus::read(words, now))
            .transpose()?;
        let mut root = Vdev::read(tree, VdevClass::Data)?;
        root.tell_repair(scan.as_ref(), false);
        let load = config.list("load_info");
        let suspended = config
            .get("suspended")
            .map(|_| SuspendReason::from_raw(config.u64("suspended_reason").unwrap_or_default()));
        Ok(Self {
            name: text("name").ok_or("no name")?,
            guid: number("pool_guid")?,
            state: PoolState::from_raw(number("state")?),
            health: match (fault, suspended) {
                (Some(_), _) => Health::Faulted,
                (None, Some(_)) => Health::Suspended,
                (None, None) => Health::of(root.state, root.aux),
            },
            fault,
            suspended,
            version: number("version")?,
            txg: number("txg")?,
            hostid: config.u64("hostid"),
            hostname: text("hostname"),
            altroot: Some(altroot).filter(|path| !path.as_os_str().is_empty()),
            error_count: config.u64("error_count"),
            scan,
            checkpoint: words("checkpoint_stats")
                .map(Checkpoint::read)
                .transpose()?
                .flatten(),
            removal: words("removal_stats")
                .map(|words| Removal::read(words, now))
                .transpose()?
                .flatten(),
            expansion: words("raidz_expand_stats")
                .map(|words| RaidzExpansion::read(words, now))
                .transpose()?
                .flatten(),
            errata: config.u64("errata").filter(|&number| number != 0),
            unsupported_features: load
                .and_then(|load| load.list("unsup_feat"))
                .into_iter()
                .flat_map(NvMap::iter)
                .map(|(guid, _)| guid.to_string_lossy().into_owned())
                .collect(),
            read_at: now,
            features: features(config.list("feature_stats"))?,
            spares: Vdev::read_all(tree, "spares", VdevClass::Spare)?,
            caches: Vdev::read_all(tree, "l2cache", VdevClass::Cache)?,
            root,
            circumstances: Circumstances {
                // The pool's `failmode`.
                continues: config.u64("suspended") == Some(1),
                multihost: load.and_then(|load| load.u64("mmp_state")),
                can_read: load.is_some_and(|load| load.get("can_rdonly").is_some()),
            },
        })
    }

    /// All vdevs, each before its children: the tree from its root, the spares, the caches.
    ///
    /// A hot spare in use is there twice, in the tree and among the spares, with one identity.
    pub fn vdevs(&self) -> Vdevs<'_> {
        Vdevs::new(
            std::iter::once(&self.root)
                .chain(&self.spares)
                .chain(&self.caches),
        )
    }

    /// The feature of this identity or short name, if it is enabled.
    #[must_use]
    pub fn feature(&self, name: &str) -> Option<&PoolFeature> {
        self.features
            .iter()
            .find(|feature| feature.guid == name || feature.name() == name)
    }
}

fn features(list: Option<&NvMap>) -> Result<Vec<PoolFeature>, String> {
    let Some(list) = list else {
        return Ok(Vec::new());
    };
    list.iter()
        .map(|(guid, value)| {
            let guid = guid.to_string_lossy().into_owned();
            match value {
                Value::Uint64(references) => Ok(PoolFeature {
                    guid,
                    references: *references,
                }),
                other => Err(format!("{guid} is a {}", other.data_type())),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> NvMap {
        let mut words = vec![0_u64; 46];
        words[zfs_core_sys::ioctl::VS_STATE] = 7;
        let mut root = NvMap::new();
        root.insert(c"type", c"root");
        root.insert(c"guid", 1_u64);
        root.insert(c"vdev_stats", words);
        let mut config = NvMap::new();
        config.insert(c"version", 5000_u64);
        config.insert(c"name", c"tank");
        config.insert(c"state", 0_u64);
        config.insert(c"txg", 4_u64);
        config.insert(c"pool_guid", 1_u64);
        config.insert(c"vdev_tree", root);
        config
    }

    fn read(config: &NvMap) -> Result<PoolStatus, String> {
        PoolStatus::read(config, PathBuf::new(), None)
    }

    #[test]
    fn the_least_that_there_is() {
        let status = read(&config()).unwrap();
        assert_eq!(
            (status.name.as_str(), status.health),
            ("tank", Health::Online)
        );
        assert_eq!(
            (status.altroot, status.hostid, status.error_count),
            (None, None, None)
        );
        assert_eq!(status.scan, None);
        assert_eq!(status.root.to_string(), "root");
    }

    #[test]
    fn each_of_it_is_needed() {
        for key in ["version", "name", "state", "txg", "pool_guid", "vdev_tree"] {
            let mut config = config();
            config.remove(key);
            assert_eq!(read(&config).unwrap_err(), format!("no {key}"));
        }
    }

    #[test]
    fn suspended_and_faulted_come_before_the_vdevs() {
        let mut config = config();
        config.insert(c"suspended", 0_u64);
        config.insert(c"suspended_reason", 2_u64);
        let status = read(&config).unwrap();
        assert_eq!(status.health, Health::Suspended);
        assert_eq!(status.suspended, Some(SuspendReason::Multihost));
        let status = PoolStatus::read(&config, "/mnt".into(), Some(Errno::ENXIO)).unwrap();
        assert_eq!(
            (status.health, status.fault),
            (Health::Faulted, Some(Errno::ENXIO))
        );
        assert_eq!(status.altroot, Some("/mnt".into()));
    }

    #[test]
    fn features_have_short_names() {
        let mut features = NvMap::new();
        features.insert(c"com.delphix:async_destroy", 0_u64);
        features.insert(c"org.illumos:lz4_compress", 1_u64);
        let mut config = config();
        config.insert(c"feature_stats", features);
        let status = read(&config).unwrap();
        assert!(status.feature("lz4_compress").unwrap().is_active());
        assert!(
            !status
                .feature("com.delphix:async_destroy")
                .unwrap()
                .is_active()
        );
        assert_eq!(status.feature("draid"), None);

        let mut absurd = NvMap::new();
        absurd.insert(c"a:b", c"text");
        config.insert(c"feature_stats", absurd);
        assert!(read(&config).is_err());
    }

    #[test]
    fn absurd_types_are_no_panic() {
        for key in [c"vdev_tree", c"pool_guid", c"name", c"state"] {
            let mut config = config();
            config.insert(key, Value::Double(0.5));
            assert!(read(&config).is_err());
        }
    }
}
