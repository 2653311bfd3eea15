use super::health::{Health, VdevAux, VdevState};
use super::progress::{Rebuild, RebuildState};
use super::scan::{ScanFunction, ScanState, ScanStatus};
use super::stats::VdevStats;
use crate::nv::{NvMap, Value};
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use zfs_core_sys::ioctl::{VS_AUX, VS_STATE};

/// How a vdev stores data, or what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VdevKind {
    /// The root of the tree, over which the pool spreads its data.
    Root,
    /// Children that each hold everything.
    Mirror,
    /// Children with parity.
    Raidz {
        /// How many children may be lost: 1 to 3.
        parity: u64,
    },
    /// Children with parity and distributed spares.
    Draid {
        /// How many children may be lost: 1 to 3.
        parity: u64,
        /// How many children of a stripe hold data.
        data: u64,
        /// How many distributed spares there are.
        spares: u64,
    },
    /// A distributed spare of a draid.
    DraidSpare,
    /// A block device.
    Disk,
    /// A file.
    File,
    /// A hot spare in use, with the device it stands in for.
    Spare,
    /// A device on its way out, with the one that replaces it.
    Replacing,
    /// The place of a removed log device.
    Hole,
    /// A device that the pool was imported without.
    Missing,
    /// A removed device, whose data others hold.
    Indirect,
    /// A type that this crate does not know.
    Unknown(String),
}

impl VdevKind {
    fn read(vdev: &NvMap, name: &str) -> Result<Self, String> {
        let number = |key: &str| {
            vdev.u64(key)
                .ok_or_else(|| format!("a {name} without {key}"))
        };
        Ok(match name {
            "root" => Self::Root,
            "mirror" => Self::Mirror,
            "raidz" => Self::Raidz {
                parity: number("nparity")?,
            },
            "draid" => Self::Draid {
                parity: number("nparity")?,
                data: number("draid_ndata")?,
                spares: number("draid_nspares")?,
            },
            "dspare" => Self::DraidSpare,
            "disk" => Self::Disk,
            "file" => Self::File,
            "spare" => Self::Spare,
            "replacing" => Self::Replacing,
            "hole" => Self::Hole,
            "missing" => Self::Missing,
            "indirect" => Self::Indirect,
            other => Self::Unknown(other.to_owned()),
        })
    }

    /// The kernel's word for it, without the figures.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Root => "root",
            Self::Mirror => "mirror",
            Self::Raidz { .. } => "raidz",
            Self::Draid { .. } => "draid",
            Self::DraidSpare => "dspare",
            Self::Disk => "disk",
            Self::File => "file",
            Self::Spare => "spare",
            Self::Replacing => "replacing",
            Self::Hole => "hole",
            Self::Missing => "missing",
            Self::Indirect => "indirect",
            Self::Unknown(name) => name,
        }
    }

    /// Whether it is one device rather than a group of them.
    #[must_use]
    pub fn is_device(&self) -> bool {
        matches!(self, Self::Disk | Self::File | Self::DraidSpare)
    }
}

/// What a vdev is used for. Those below a vdev of the top have its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum VdevClass {
    /// Data and metadata.
    Data,
    /// The intent log.
    Log,
    /// Metadata and small blocks.
    Special,
    /// Deduplication tables.
    Dedup,
    /// A hot spare that waits, or the entry of one that is in use.
    Spare,
    /// A read cache (L2ARC).
    Cache,
}

/// A device, or a group of them. Prints as `zpool status -P` names it, but for the root.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Vdev {
    /// How it stores data.
    pub kind: VdevKind,
    /// What it is used for.
    pub class: VdevClass,
    /// Its place among the children of the vdev above. Spares and caches have none.
    pub id: Option<u64>,
    /// Its identity.
    pub guid: u64,
    /// The device or the file.
    pub path: Option<PathBuf>,
    /// The device's identity for the operating system.
    pub devid: Option<String>,
    /// Where in the machine the device is.
    pub phys_path: Option<String>,
    /// Whether ZFS was given the whole disk and made partitions on it.
    pub whole_disk: bool,
    /// Whether the device was not there when the pool was imported, so that the path may be of
    /// another by now.
    pub not_present: bool,
    /// The base-2 logarithm of the sector size, of a vdev of the top.
    pub ashift: Option<u64>,
    /// Bytes that can be allocated, of a vdev of the top.
    pub asize: Option<u64>,
    /// Whether it works.
    pub state: VdevState,
    /// Why it does not.
    pub aux: VdevAux,
    /// Its counters, if the kernel has them.
    pub stats: Option<VdevStats>,
    /// Its sequential resilver, of a vdev of the top: the one under way, or else the last one.
    pub rebuild: Option<Rebuild>,
    /// Whether it is a raidz that is being expanded by a device. Since 2.3.
    pub expanding: bool,
    /// What is being done to this device right now.
    pub repair: Option<Repair>,
    /// The vdevs that it is made of.
    pub children: Vec<Vdev>,
}

/// What is being done to a device, as `zpool status` says behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Repair {
    /// What it has missed is written to it: `(resilvering)`.
    Resilvering,
    /// A scrub has found damage on it and wrote it anew: `(repairing)`.
    Repairing,
    /// It waits until the resilver of others is done: `(awaiting resilver)`.
    AwaitingResilver,
}

impl Vdev {
    /// Reads a vdev and those below it. `class` is that of the vdev above.
    pub(super) fn read(vdev: &NvMap, class: VdevClass) -> Result<Self, String> {
        let name = text(vdev, "type").ok_or("a vdev without a type")?;
        let kind = VdevKind::read(vdev, &name)?;
        let class = match (class, vdev.str("alloc_bias")) {
            (VdevClass::Data, _) if vdev.u64("is_log") == Some(1) => VdevClass::Log,
            (VdevClass::Data, Some("log")) => VdevClass::Log,
            (VdevClass::Data, Some("special")) => VdevClass::Special,
            (VdevClass::Data, Some("dedup")) => VdevClass::Dedup,
            _ => class,
        };
        let words = vdev.u64s("vdev_stats");
        let word = |index: usize| words.and_then(|words| words.get(index)).copied();
        Ok(Self {
            class,
            id: vdev.u64("id"),
            guid: vdev
                .u64("guid")
                .ok_or_else(|| format!("a {name} without a guid"))?,
            path: vdev
                .get("path")
                .and_then(Value::as_cstr)
                .map(|path| PathBuf::from(OsStr::from_bytes(path.to_bytes()))),
            devid: text(vdev, "devid"),
            phys_path: text(vdev, "phys_path"),
            whole_disk: vdev.u64("whole_disk").is_some_and(|flag| flag != 0),
            not_present: vdev.get("not_present").is_some(),
            ashift: vdev.u64("ashift"),
            asize: vdev.u64("asize"),
            state: VdevState::from_raw(word(VS_STATE).unwrap_or_default()),
            aux: VdevAux::from_raw(word(VS_AUX).unwrap_or_default()),
            stats: words.map(VdevStats::read).transpose()?,
            rebuild: vdev
                .u64s("org.openzfs:rebuild_stats")
                .map(Rebuild::read)
                .transpose()?
                .flatten(),
            expanding: vdev.get("raidz_expanding").is_some(),
            repair: None,
            children: Self::read_all(vdev, "children", class)?,
            kind,
        })
    }

    /// Says of each device what is being done to it. What is under way is told by the root, and
    /// by the vdev of the top.
    pub(super) fn tell_repair(&mut self, scan: Option<&ScanStatus>, rebuilding: bool) {
        let rebuilding = rebuilding
            || self
                .rebuild
                .as_ref()
                .is_some_and(|rebuild| rebuild.state == RebuildState::Active);
        for child in &mut self.children {
            child.tell_repair(scan, rebuilding);
        }
        let Some(stats) = &self.stats else {
            return;
        };
        // The counters of a device that was faulted meanwhile stand still.
        if !self.children.is_empty() || self.state != VdevState::Healthy {
            return;
        }
        let scan = scan.filter(|scan| scan.state == ScanState::Scanning);
        self.repair = match scan.map(|scan| scan.function) {
            Some(ScanFunction::Resilver) if stats.scan_processed > 0 => Some(Repair::Resilvering),
            Some(_) if stats.scan_processed > 0 => Some(Repair::Repairing),
            Some(_) if stats.resilver_deferred => Some(Repair::AwaitingResilver),
            _ if rebuilding && stats.rebuild_processed > 0 => Some(Repair::Resilvering),
            _ => None,
        };
    }

    /// Reads the list of vdevs under `key`, which is not there when it would be empty.
    pub(super) fn read_all(
        parent: &NvMap,
        key: &str,
        class: VdevClass,
    ) -> Result<Vec<Self>, String> {
        parent
            .lists(key)
            .unwrap_or_default()
            .iter()
            .map(|vdev| Self::read(vdev, class))
            .collect()
    }

    /// Its state in the words of the `zpool` command.
    #[must_use]
    pub fn health(&self) -> Health {
        match (self.class, self.state, self.aux) {
            (VdevClass::Spare, _, VdevAux::Spared) => Health::InUse,
            (VdevClass::Spare, VdevState::Healthy, _) => Health::Available,
            (_, state, aux) => Health::of(state, aux),
        }
    }

    /// It and all vdevs below it, each before its children.
    pub fn walk(&self) -> Vdevs<'_> {
        Vdevs(vec![self])
    }
}

fn text(vdev: &NvMap, key: &str) -> Option<String> {
    Some(vdev.get(key)?.as_cstr()?.to_string_lossy().into_owned())
}

impl fmt::Display for Vdev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            _ if self.not_present => return write!(f, "{}", self.guid),
            Some(path) => return write!(f, "{}", path.display()),
            None => f.write_str(self.kind.as_str())?,
        }
        match self.kind {
            VdevKind::Raidz { parity } => write!(f, "{parity}")?,
            VdevKind::Draid {
                parity,
                data,
                spares,
            } => {
                write!(f, "{parity}:{data}d:{}c:{spares}s", self.children.len())?;
            }
            _ => {}
        }
        match self.id {
            Some(id) if self.kind != VdevKind::Root => write!(f, "-{id}"),
            _ => Ok(()),
        }
    }
}

/// Iterates over vdevs, each before its children.
#[derive(Clone, Debug)]
pub struct Vdevs<'a>(Vec<&'a Vdev>);

impl<'a> Vdevs<'a> {
    pub(super) fn new(vdevs: impl DoubleEndedIterator<Item = &'a Vdev>) -> Self {
        Self(vdevs.rev().collect())
    }

    /// The first of this identity.
    #[must_use]
    pub fn with_guid(mut self, guid: u64) -> Option<&'a Vdev> {
        self.find(|vdev| vdev.guid == guid)
    }

    /// The first of this path.
    #[must_use]
    pub fn with_path(mut self, path: impl AsRef<Path>) -> Option<&'a Vdev> {
        let path = path.as_ref();
        self.find(|vdev| vdev.path.as_deref() == Some(path))
    }
}

impl<'a> Iterator for Vdevs<'a> {
    type Item = &'a Vdev;

    fn next(&mut self) -> Option<&'a Vdev> {
        let vdev = self.0.pop()?;
        self.0.extend(vdev.children.iter().rev());
        Some(vdev)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(path: &str, guid: u64) -> NvMap {
        let mut leaf = NvMap::new();
        leaf.insert(c"type", c"file");
        leaf.insert(c"guid", guid);
        leaf.insert(c"path", Value::string(path).unwrap());
        leaf
    }

    fn group(kind: &str, id: u64, guid: u64, children: Vec<NvMap>) -> NvMap {
        let mut group = NvMap::new();
        group.insert(c"type", Value::string(kind).unwrap());
        group.insert(c"id", id);
        group.insert(c"guid", guid);
        group.insert(c"children", Value::ListArray(children));
        group
    }

    #[test]
    fn a_tree_is_walked_in_order() {
        let mut log = group("mirror", 1, 5, vec![leaf("/c", 6), leaf("/d", 7)]);
        log.insert(c"is_log", 1_u64);
        let data = group("mirror", 0, 2, vec![leaf("/a", 3), leaf("/b", 4)]);
        let root = Vdev::read(&group("root", 0, 1, vec![data, log]), VdevClass::Data).unwrap();
        assert_eq!(
            root.walk().map(|vdev| vdev.guid).collect::<Vec<_>>(),
            [1, 2, 3, 4, 5, 6, 7]
        );
        assert_eq!(root.walk().with_path("/d").unwrap().class, VdevClass::Log);
        assert_eq!(root.walk().with_path("/b").unwrap().class, VdevClass::Data);
        assert_eq!(root.to_string(), "root");
        assert_eq!(root.walk().with_guid(5).unwrap().to_string(), "mirror-1");
        assert_eq!(root.walk().with_guid(6).unwrap().to_string(), "/c");
        assert_eq!(root.walk().with_guid(8), None);
    }

    #[test]
    fn groups_print_their_parity() {
        let mut raidz = group("raidz", 3, 1, vec![]);
        raidz.insert(c"nparity", 2_u64);
        assert_eq!(
            Vdev::read(&raidz, VdevClass::Data).unwrap().to_string(),
            "raidz2-3"
        );
        let mut draid = group(
            "draid",
            0,
            1,
            vec![leaf("/a", 2), leaf("/b", 3), leaf("/c", 4)],
        );
        draid.insert(c"nparity", 1_u64);
        draid.insert(c"draid_ndata", 1_u64);
        draid.insert(c"draid_nspares", 1_u64);
        let draid = Vdev::read(&draid, VdevClass::Data).unwrap();
        assert_eq!(draid.to_string(), "draid1:1d:3c:1s-0");
    }

    #[test]
    fn what_is_unknown_stays_visible() {
        let strange = group("cloud", 0, 1, vec![]);
        let vdev = Vdev::read(&strange, VdevClass::Data).unwrap();
        assert_eq!(vdev.kind, VdevKind::Unknown("cloud".into()));
        assert_eq!(
            (vdev.state, vdev.health()),
            (VdevState::Unknown(0), Health::Unknown)
        );

        let mut strange = leaf("/a", 1);
        let mut words = vec![0_u64; 48];
        (words[VS_STATE], words[VS_AUX]) = (99, u64::MAX);
        strange.insert(c"vdev_stats", words);
        let vdev = Vdev::read(&strange, VdevClass::Data).unwrap();
        assert_eq!(vdev.state, VdevState::Unknown(99));
        assert_eq!(vdev.aux, VdevAux::Unknown(u64::MAX));
    }

    #[test]
    fn what_is_missing_is_an_error() {
        let read = |vdev: &NvMap| Vdev::read(vdev, VdevClass::Data);
        assert!(read(&NvMap::new()).is_err());
        assert!(read(&group("raidz", 0, 1, vec![])).is_err());
        assert!(read(&group("root", 0, 1, vec![NvMap::new()])).is_err());
        let mut short = leaf("/a", 1);
        short.insert(c"vdev_stats", vec![1_u64, 2]);
        assert!(read(&short).is_err());
        let mut untyped = leaf("/a", 1);
        untyped.insert(c"guid", c"1");
        assert!(read(&untyped).is_err());
    }

    #[test]
    fn a_spare_waits_or_is_in_use() {
        let spare = |state: u64, aux: u64| {
            let mut words = vec![0_u64; 46];
            (words[VS_STATE], words[VS_AUX]) = (state, aux);
            let mut spare = leaf("/s", 1);
            spare.insert(c"vdev_stats", words);
            Vdev::read(&spare, VdevClass::Spare).unwrap().health()
        };
        assert_eq!(spare(7, 0), Health::Available);
        assert_eq!(spare(4, 10), Health::InUse);
        assert_eq!(spare(4, 1), Health::Unavail);
    }

    #[test]
    fn a_path_need_not_be_utf_8() {
        let mut vdev = leaf("/a", 1);
        vdev.insert(c"path", Value::String(c"/a\xff".into()));
        let vdev = Vdev::read(&vdev, VdevClass::Data).unwrap();
        assert_eq!(vdev.path.unwrap().as_os_str().as_bytes(), b"/a\xff");
    }
}
