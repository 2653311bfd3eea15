//! Pools that were found, and whether they can be imported.

use super::assemble::Assembled;
use crate::error::Errno;
use crate::nv::{NvMap, Value};
use crate::pool::health::{Health, VdevAux, VdevState};
use crate::pool::status::PoolState;
use crate::pool::vdev::{Vdev, VdevClass, VdevKind, Vdevs};
use crate::zfs::Zfs;
use std::fmt;
use std::path::Path;

/// Why a pool cannot be imported just so.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(tag = "kind", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ImportObstacle {
    /// A pool of its name is imported. It can be imported under
    /// [another](super::ImportOptions::name).
    NameTaken,
    /// It was not exported by the host that used it last, which may still do.
    /// [`any_host`](super::ImportOptions::any_host) imports it nevertheless.
    OtherHost {
        /// The number of that host.
        hostid: u64,
        /// Its name.
        hostname: Option<String>,
    },
    /// It guards itself against being imported twice (the property `multihost`), and another host
    /// was seen to use it.
    InUse {
        /// The number of that host.
        hostid: Option<u64>,
        /// Its name.
        hostname: Option<String>,
    },
    /// It guards itself against being imported twice, and this host has no number: see
    /// `zgenhostid(8)`.
    NoHostId,
    /// Log devices are missing. [`without_log`](super::ImportOptions::without_log) imports it
    /// nevertheless, and loses what was last written to it. Since 2.3; older modules cannot tell
    /// it from `MissingDevices`.
    MissingLog,
    /// Devices are missing or damaged, and too few are left.
    MissingDevices,
    /// The module lacks features that the pool uses.
    UnsupportedFeatures {
        /// Their identities.
        features: Vec<String>,
        /// Whether it can be imported [read-only](super::ImportOptions::read_only) nevertheless.
        read_only: bool,
    },
    /// It is of a version that the module does not know.
    UnsupportedVersion,
    /// Its data are damaged, or it is what is left of a pool that is no more.
    Damaged,
    /// The kernel cannot make anything of its labels.
    Refused {
        /// The number that it answered with.
        #[cfg_attr(feature = "serde", serde(serialize_with = "as_text"))]
        errno: Errno,
    },
    /// The kernel gives another reason.
    Other {
        /// What it says of the pool's root.
        aux: VdevAux,
    },
}

#[cfg(feature = "serde")]
fn as_text<T: fmt::Display, S: serde::Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

impl fmt::Display for ImportObstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = |f: &mut fmt::Formatter<'_>, id: &Option<u64>, name: &Option<String>| {
            match name {
                Some(name) => write!(f, " {name}")?,
                None => f.write_str(" of unknown name")?,
            }
            match id {
                Some(id) => write!(f, " ({id:08x})"),
                None => Ok(()),
            }
        };
        match self {
            Self::NameTaken => f.write_str("a pool of its name is imported"),
            Self::OtherHost { hostid, hostname } => {
                f.write_str("it was last used, and not exported, by the host")?;
                host(f, &Some(*hostid), hostname)
            }
            Self::InUse { hostid, hostname } => {
                f.write_str("it is in use by the host")?;
                host(f, hostid, hostname)
            }
            Self::NoHostId => f.write_str("it is for several hosts, and this one has no number"),
            Self::MissingLog => f.write_str("log devices are missing"),
            Self::MissingDevices => f.write_str("too many devices are missing or damaged"),
            Self::UnsupportedFeatures {
                features,
                read_only,
            } => {
                write!(f, "the module lacks {}", features.join(", "))?;
                match read_only {
                    true => f.write_str("; it can be imported read-only"),
                    false => Ok(()),
                }
            }
            Self::UnsupportedVersion => f.write_str("the module does not know its version"),
            Self::Damaged => f.write_str("it is damaged"),
            Self::Refused { errno } => write!(f, "the kernel refuses its labels ({errno})"),
            Self::Other { aux } => write!(f, "the kernel refuses it: {aux:?}"),
        }
    }
}

/// A pool that is not imported, as the kernel would see it if it were.
///
/// With the feature `serde` it is written as JSON with the fields below, all but the configuration.
/// Identities are texts there, for not every reader of JSON has numbers that large, and vdevs are
/// as in [`PoolStatus`](crate::PoolStatus).
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FoundPool {
    /// Its name on its devices.
    pub name: String,
    /// Its identity.
    #[cfg_attr(feature = "serde", serde(serialize_with = "as_text"))]
    pub guid: u64,
    /// Whether it was exported, destroyed, or neither.
    pub state: PoolState,
    /// How well it would be.
    pub health: Health,
    /// The host that had it imported last.
    pub hostid: Option<u64>,
    /// The name of that host.
    pub hostname: Option<String>,
    /// Its comment.
    pub comment: Option<String>,
    /// Its vdevs.
    pub root: Vdev,
    /// Its hot spares.
    pub spares: Vec<Vdev>,
    /// Its read caches.
    pub caches: Vec<Vdev>,
    /// What is in the way of importing it.
    pub obstacles: Vec<ImportObstacle>,
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(super) zfs: Zfs,
    /// What the kernel wants to import it.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(super) config: NvMap,
}

impl FoundPool {
    /// Whether nothing is in the way of importing it.
    #[must_use]
    pub fn is_importable(&self) -> bool {
        self.obstacles.is_empty()
    }

    /// All vdevs, each before its children: the tree from its root, the spares, the caches.
    pub fn vdevs(&self) -> Vdevs<'_> {
        Vdevs::new(
            std::iter::once(&self.root)
                .chain(&self.spares)
                .chain(&self.caches),
        )
    }

    /// Where its devices were found, or where its labels say that they are.
    pub fn devices(&self) -> impl Iterator<Item = &Path> {
        self.vdevs().filter_map(|vdev| vdev.path.as_deref())
    }

    /// Its configuration: what its labels say, or what the kernel makes of it.
    #[must_use]
    pub fn config(&self) -> &NvMap {
        &self.config
    }

    /// A pool as the kernel sees it in `config`, or as its labels have it if `refused`.
    pub(super) fn read(
        zfs: &Zfs,
        assembled: Assembled,
        config: NvMap,
        refused: Option<Errno>,
        own_hostid: u64,
        name_taken: bool,
    ) -> Result<Self, String> {
        let tree = config.list("vdev_tree").ok_or("no vdev_tree")?;
        let root = Vdev::read(tree, VdevClass::Data)?;
        let spares = Vdev::read_all(tree, "spares", VdevClass::Spare)?;
        let caches = Vdev::read_all(tree, "l2cache", VdevClass::Cache)?;
        let label = &assembled.label;
        let state = label.state().pool_state().ok_or("no state")?;
        let mut obstacles = Vec::new();
        if name_taken {
            obstacles.push(ImportObstacle::NameTaken);
        }
        match refused {
            Some(errno) => obstacles.push(ImportObstacle::Refused { errno }),
            None => obstacles.extend(reasons(&config, &root)),
        }
        let is_guarded = obstacles.iter().any(|obstacle| {
            matches!(
                obstacle,
                ImportObstacle::InUse { .. } | ImportObstacle::NoHostId
            )
        });
        // What the pool itself says counts for more than what a label says.
        let load_info = config.list("load_info");
        let hostid = load_info
            .and_then(|info| info.u64("hostid"))
            .or(label.hostid());
        let hostname = load_info
            .and_then(|info| text(info, "hostname"))
            .or_else(|| label.hostname());
        let last = hostid.unwrap_or_default();
        if state != PoolState::Exported && last != own_hostid && !is_guarded {
            obstacles.push(ImportObstacle::OtherHost {
                hostid: last,
                hostname: hostname.clone(),
            });
        }
        Ok(Self {
            health: match refused {
                Some(_) => Health::Faulted,
                None => Health::of(root.state, root.aux),
            },
            hostid,
            hostname,
            comment: text(label.config(), "comment"),
            name: assembled.name,
            guid: assembled.guid,
            state,
            root,
            spares,
            caches,
            obstacles,
            zfs: zfs.clone(),
            config,
        })
    }
}

fn text(list: &NvMap, key: &str) -> Option<String> {
    let text = list.get(key).and_then(Value::as_cstr)?;
    Some(text.to_string_lossy().into_owned())
}

/// Why the kernel could not open the pool, from what it found.
fn reasons(config: &NvMap, root: &Vdev) -> Option<ImportObstacle> {
    let info = config.list("load_info");
    if root.state != VdevState::CantOpen {
        // Since 2.3 the kernel tries a pool without the log devices that are missing.
        let is_lost = |vdev: &Vdev| {
            vdev.class == VdevClass::Log
                && !matches!(vdev.state, VdevState::Healthy | VdevState::Degraded)
                && vdev.kind != VdevKind::Hole
        };
        let lost = root.children.iter().any(is_lost);
        return lost.then_some(ImportObstacle::MissingLog);
    }
    Some(match root.aux {
        VdevAux::Active => {
            // `mmp_state_t`: 2 is that the host has no number.
            match info.and_then(|info| info.u64("mmp_state")) {
                Some(2) => ImportObstacle::NoHostId,
                _ => ImportObstacle::InUse {
                    hostid: info.and_then(|info| info.u64("mmp_hostid")),
                    hostname: info.and_then(|info| text(info, "mmp_hostname")),
                },
            }
        }
        VdevAux::UnsupportedFeature => ImportObstacle::UnsupportedFeatures {
            features: info
                .and_then(|info| info.list("unsup_feat"))
                .map(|features| {
                    features
                        .iter()
                        .map(|(guid, _)| guid.to_string_lossy().into_owned())
                        .collect()
                })
                .unwrap_or_default(),
            read_only: info.is_some_and(|info| info.get("can_rdonly").is_some()),
        },
        VdevAux::VersionNewer | VdevAux::VersionOlder => ImportObstacle::UnsupportedVersion,
        VdevAux::BadLog => ImportObstacle::MissingLog,
        VdevAux::CorruptData => ImportObstacle::Damaged,
        VdevAux::NoReplicas
        | VdevAux::BadGuidSum
        | VdevAux::OpenFailed
        | VdevAux::BadLabel
        | VdevAux::TooSmall => ImportObstacle::MissingDevices,
        aux => ImportObstacle::Other { aux },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use zfs_core_sys::ioctl::{VS_AUX, VS_STATE};

    fn reason(aux: u64, info: &NvMap) -> Option<ImportObstacle> {
        let mut words = vec![0_u64; 46];
        (words[VS_STATE], words[VS_AUX]) = (4, aux);
        let mut root = NvMap::new();
        root.insert(c"type", c"root");
        root.insert(c"guid", 1_u64);
        root.insert(c"vdev_stats", words);
        let root = Vdev::read(&root, VdevClass::Data).unwrap();
        let mut config = NvMap::new();
        config.insert(c"load_info", info.clone());
        reasons(&config, &root)
    }

    #[test]
    fn reasons_are_those_of_the_kernel() {
        let none = NvMap::new();
        assert_eq!(reason(13, &none), Some(ImportObstacle::MissingLog));
        assert_eq!(reason(3, &none), Some(ImportObstacle::MissingDevices));
        assert_eq!(reason(2, &none), Some(ImportObstacle::Damaged));
        assert_eq!(reason(7, &none), Some(ImportObstacle::UnsupportedVersion));
        assert_eq!(
            reason(99, &none),
            Some(ImportObstacle::Other {
                aux: VdevAux::Unknown(99)
            })
        );
        let mut info = NvMap::new();
        info.insert(c"mmp_state", 0_u64);
        info.insert(c"mmp_hostid", 0xbeef_u64);
        info.insert(c"mmp_hostname", c"other");
        let in_use = ImportObstacle::InUse {
            hostid: Some(0xbeef),
            hostname: Some("other".into()),
        };
        assert_eq!(
            in_use.to_string(),
            "it is in use by the host other (0000beef)"
        );
        assert_eq!(reason(18, &info), Some(in_use));
        info.insert(c"mmp_state", 2_u64);
        assert_eq!(reason(18, &info), Some(ImportObstacle::NoHostId));
        let mut features = NvMap::new();
        features.insert(c"org.example:x", c"");
        info.insert(c"unsup_feat", features);
        info.insert(c"can_rdonly", crate::nv::Value::Boolean);
        let lacks = reason(9, &info).unwrap();
        assert_eq!(
            lacks.to_string(),
            "the module lacks org.example:x; it can be imported read-only"
        );
    }
}
