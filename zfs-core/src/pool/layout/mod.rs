//! What a pool is to be made of.

mod check;
mod in_use;
mod redundancy;

pub(crate) use check::Checked;
pub(crate) use redundancy::Redundancy;

use super::vdev::VdevClass;
use std::fmt;
use std::path::{Path, PathBuf};

/// A file or a block device that a pool is to use.
///
/// The path is absolute. The kernel opens it itself, and not in the caller's container or changed
/// root: it must lead to the same device there. Which of the two it is, is looked at when it is
/// used. A block device is used as it is, from its first sector to its last: no partitions are made
/// on it, as the `zpool` command does with a whole disk.
///
/// Paths under `/dev/disk/by-id` stay right when the machine finds its disks in another order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    pub(crate) path: PathBuf,
    pub(crate) ashift: Option<u8>,
}

impl Device {
    /// The file or block device at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            ashift: None,
        }
    }

    /// The base-2 logarithm of the sector size to use, 9 to 16, whatever the device says its own
    /// is. 12, which is 4 KiB, is right for nearly all of today's disks.
    #[must_use]
    pub fn ashift(mut self, ashift: u8) -> Self {
        self.ashift = Some(ashift);
        self
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl<P: Into<PathBuf>> From<P> for Device {
    fn from(path: P) -> Self {
        Self::new(path)
    }
}

/// How the devices of a vdev share the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Arrangement {
    Single,
    Mirror,
    Raidz {
        parity: u8,
    },
    Draid {
        parity: u8,
        data: Option<u8>,
        spares: u8,
    },
}

/// A vdev that a pool is to have: a device, or a group of them.
///
/// It holds data unless [`log`](Self::log), [`special`](Self::special) or [`dedup`](Self::dedup)
/// says otherwise.
///
/// ```
/// use zfs_core::pool::VdevSpec;
///
/// let data = VdevSpec::mirror(["/dev/disk/by-id/a", "/dev/disk/by-id/b"]);
/// let log = VdevSpec::device("/dev/disk/by-id/c").log();
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VdevSpec {
    pub(crate) arrangement: Arrangement,
    pub(crate) class: VdevClass,
    pub(crate) devices: Vec<Device>,
}

impl VdevSpec {
    /// A device on its own, without redundancy.
    pub fn device(device: impl Into<Device>) -> Self {
        Self::new(Arrangement::Single, [device])
    }

    /// Two or more devices that each hold everything.
    pub fn mirror<D: Into<Device>>(devices: impl IntoIterator<Item = D>) -> Self {
        Self::new(Arrangement::Mirror, devices)
    }

    /// Devices with parity, of which as many can be lost: 1 to 3. There are more devices than
    /// that, and 255 at most.
    pub fn raidz<D: Into<Device>>(parity: u8, devices: impl IntoIterator<Item = D>) -> Self {
        Self::new(Arrangement::Raidz { parity }, devices)
    }

    /// Devices with parity, of which as many can be lost, 1 to 3, and with the space of `spares`
    /// devices set aside and spread over all of them.
    ///
    /// `data` is how many devices of a stripe hold data; without it, 8 or as many as there are.
    #[doc(alias = "zpoolconcepts")]
    pub fn draid<D: Into<Device>>(
        parity: u8,
        data: Option<u8>,
        spares: u8,
        devices: impl IntoIterator<Item = D>,
    ) -> Self {
        let arrangement = Arrangement::Draid {
            parity,
            data,
            spares,
        };
        Self::new(arrangement, devices)
    }

    fn new<D: Into<Device>>(
        arrangement: Arrangement,
        devices: impl IntoIterator<Item = D>,
    ) -> Self {
        Self {
            arrangement,
            class: VdevClass::Data,
            devices: devices.into_iter().map(Into::into).collect(),
        }
    }

    /// For the intent log. A device or a mirror.
    #[must_use]
    pub fn log(mut self) -> Self {
        self.class = VdevClass::Log;
        self
    }

    /// For metadata and small blocks. A device or a mirror. The pool is lost with it.
    #[must_use]
    pub fn special(mut self) -> Self {
        self.class = VdevClass::Special;
        self
    }

    /// For deduplication tables. A device or a mirror. The pool is lost with it.
    #[must_use]
    pub fn dedup(mut self) -> Self {
        self.class = VdevClass::Dedup;
        self
    }

    /// What it is for.
    #[must_use]
    pub fn class(&self) -> VdevClass {
        self.class
    }

    /// Its devices.
    #[must_use]
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }
}

/// The vdevs that a pool is created from, or that are added to one.
///
/// ```
/// use zfs_core::pool::{Layout, VdevSpec};
///
/// let layout = Layout::new()
///     .vdev(VdevSpec::raidz(2, ["/dev/sda", "/dev/sdb", "/dev/sdc", "/dev/sdd"]))
///     .vdev(VdevSpec::mirror(["/dev/sde", "/dev/sdf", "/dev/sdg"]).special())
///     .spare("/dev/sdh")
///     .cache("/dev/nvme0n1")
///     .ashift(12);
/// ```
///
/// # What is refused
///
/// A layout is checked when it is used, and refused as `InvalidArgument` with the reason, when
///
/// - a path is not absolute, or leads to what is neither a file nor a block device;
/// - a device occurs twice, under whatever names;
/// - a group has too few devices or too many, or a parity or a sector size that there is not;
/// - a log, special or dedup vdev is a raidz or a draid;
/// - a device has less than 64 MiB (`DeviceTooSmall`);
/// - unless [`allow_mixed`](Self::allow_mixed) is set, its vdevs (but for logs) can lose different
///   numbers of devices, or a group mixes files and devices, or its devices differ by more than
///   16 MiB in size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Layout {
    pub(crate) vdevs: Vec<VdevSpec>,
    pub(crate) spares: Vec<Device>,
    pub(crate) caches: Vec<Device>,
    pub(crate) ashift: Option<u8>,
    pub(crate) allow_mixed: bool,
}

impl Layout {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a vdev.
    #[must_use]
    pub fn vdev(mut self, vdev: VdevSpec) -> Self {
        self.vdevs.push(vdev);
        self
    }

    /// Adds a hot spare.
    #[must_use]
    pub fn spare(mut self, device: impl Into<Device>) -> Self {
        self.spares.push(device.into());
        self
    }

    /// Adds a read cache (L2ARC).
    #[must_use]
    pub fn cache(mut self, device: impl Into<Device>) -> Self {
        self.caches.push(device.into());
        self
    }

    /// The base-2 logarithm of the sector size, 9 to 16, of all devices that do not say
    /// [their own](Device::ashift).
    #[must_use]
    pub fn ashift(mut self, ashift: u8) -> Self {
        self.ashift = Some(ashift);
        self
    }

    /// Takes a layout whose vdevs differ in redundancy, as `-f` of the `zpool` command does.
    #[must_use]
    pub fn allow_mixed(mut self) -> Self {
        self.allow_mixed = true;
        self
    }

    /// All devices in it.
    pub fn devices(&self) -> impl Iterator<Item = &Device> {
        self.vdevs
            .iter()
            .flat_map(|vdev| &vdev.devices)
            .chain(&self.spares)
            .chain(&self.caches)
    }
}

impl VdevSpec {
    /// As arguments of the `zpool` command.
    fn words(&self) -> impl Iterator<Item = String> {
        let group = match self.arrangement {
            Arrangement::Single => None,
            Arrangement::Mirror => Some(String::from("mirror")),
            Arrangement::Raidz { parity } => Some(format!("raidz{parity}")),
            Arrangement::Draid {
                parity,
                data,
                spares,
            } => {
                let data = data.map_or_else(String::new, |data| format!(":{data}d"));
                let count = self.devices.len();
                Some(format!("draid{parity}{data}:{count}c:{spares}s"))
            }
        };
        group.into_iter().chain(paths(&self.devices))
    }
}

fn paths(devices: &[Device]) -> impl Iterator<Item = String> {
    devices
        .iter()
        .map(|device| device.path.display().to_string())
}

impl Layout {
    /// As arguments of the `zpool` command.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        for (class, word) in [
            (VdevClass::Data, None),
            (VdevClass::Log, Some("log")),
            (VdevClass::Special, Some("special")),
            (VdevClass::Dedup, Some("dedup")),
        ] {
            let vdevs = || self.vdevs.iter().filter(|vdev| vdev.class == class);
            if vdevs().next().is_some() {
                words.extend(word.map(String::from));
            }
            words.extend(vdevs().flat_map(VdevSpec::words));
        }
        for (word, devices) in [("spare", &self.spares), ("cache", &self.caches)] {
            if !devices.is_empty() {
                words.push(String::from(word));
                words.extend(paths(devices));
            }
        }
        words
    }
}

/// As the arguments of the `zpool` command.
impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().join(" "))
    }
}

impl From<VdevSpec> for Layout {
    fn from(vdev: VdevSpec) -> Self {
        Self::new().vdev(vdev)
    }
}

impl FromIterator<VdevSpec> for Layout {
    fn from_iter<I: IntoIterator<Item = VdevSpec>>(vdevs: I) -> Self {
        Self {
            vdevs: vdevs.into_iter().collect(),
            ..Self::default()
        }
    }
}
