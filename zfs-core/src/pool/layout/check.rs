//! A layout whose devices were looked at.

use super::redundancy::Redundancy;
use super::{Arrangement, Device, Layout, VdevSpec};
use crate::error::{Errno, Error, ErrorKind, Operation, Result};
use crate::nv::{NvMap, Value};
use crate::pool::vdev::VdevClass;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

const MIN_ASHIFT: u8 = 9;
const MAX_ASHIFT: u8 = 16;
const MAX_PARITY: u8 = 3;
const MAX_CHILDREN: usize = 255;
const MAX_DRAID_SPARES: u8 = 100;
/// The smallest device that ZFS takes.
const MIN_SIZE: u64 = 64 << 20;
/// How much the devices of a group may differ in size.
const SIZE_TOLERANCE: u64 = 16 << 20;

/// A layout that keeps the rules, and what its devices are.
#[derive(Debug)]
pub(crate) struct Checked {
    vdevs: Vec<CheckedVdev>,
    spares: Vec<Leaf>,
    caches: Vec<Leaf>,
}

#[derive(Debug)]
struct CheckedVdev {
    group: Option<Group>,
    class: VdevClass,
    ashift: Option<u8>,
    leaves: Vec<Leaf>,
}

#[derive(Clone, Copy, Debug)]
enum Group {
    Mirror,
    Raidz {
        parity: u8,
    },
    Draid {
        parity: u8,
        data: u64,
        spares: u8,
        groups: u64,
    },
}

/// A file or a block device, as it was found.
#[derive(Debug)]
pub(crate) struct Leaf {
    path: CString,
    kind: &'static CStr,
    ashift: Option<u8>,
    size: u64,
}

impl Leaf {
    pub(crate) fn path(&self) -> &Path {
        Path::new(std::ffi::OsStr::from_bytes(self.path.to_bytes()))
    }

    /// Its size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn is_disk(&self) -> bool {
        self.kind == c"disk"
    }

    fn to_nvmap(&self) -> NvMap {
        let mut leaf = NvMap::new();
        leaf.insert(c"path", self.path.as_c_str());
        leaf.insert(c"type", self.kind);
        if self.is_disk() {
            leaf.insert(c"whole_disk", 0_u64);
        }
        if let Some(ashift) = self.ashift {
            leaf.insert(c"ashift", u64::from(ashift));
        }
        leaf
    }
}

impl Layout {
    /// Looks at the devices, and checks the rules that [`Layout`] names. Errors are those of
    /// `operation` on `object`.
    pub(crate) fn check(&self, operation: Operation, object: &str) -> Result<Checked> {
        Checker {
            operation,
            object,
            ashift: self.ashift,
            seen: HashMap::new(),
        }
        .check(self)
    }
}

struct Checker<'a> {
    operation: Operation,
    object: &'a str,
    ashift: Option<u8>,
    /// The devices so far, by what they are whatever they are called.
    seen: HashMap<(bool, u64, u64), &'a Path>,
}

impl<'a> Checker<'a> {
    fn refuse(&self, why: impl Into<String>) -> Error {
        Error::refused(self.operation, self.object, ErrorKind::InvalidArgument, why)
    }

    fn check(mut self, layout: &'a Layout) -> Result<Checked> {
        let checked = Checked {
            vdevs: layout
                .vdevs
                .iter()
                .map(|vdev| self.vdev(vdev))
                .collect::<Result<_>>()?,
            spares: self.leaves(&layout.spares)?,
            caches: self.leaves(&layout.caches)?,
        };
        if !layout.allow_mixed {
            for vdev in &checked.vdevs {
                vdev.uniform().map_err(|why| self.refuse(why))?;
            }
            checked.redundancy().map_err(|why| self.refuse(why))?;
        }
        Ok(checked)
    }

    fn vdev(&mut self, vdev: &'a VdevSpec) -> Result<CheckedVdev> {
        let group = group(vdev).map_err(|why| self.refuse(why))?;
        Ok(CheckedVdev {
            group,
            class: vdev.class,
            ashift: self.ashift,
            leaves: self.leaves(&vdev.devices)?,
        })
    }

    fn leaves(&mut self, devices: &'a [Device]) -> Result<Vec<Leaf>> {
        devices.iter().map(|device| self.leaf(device)).collect()
    }

    fn leaf(&mut self, device: &'a Device) -> Result<Leaf> {
        let path = device.path.as_path();
        let shown = path.display();
        let failed = |error: std::io::Error| {
            Error::new(self.operation, self.object, Errno::from_io(&error))
                .with_detail(shown.to_string())
        };
        if !path.is_absolute() {
            return Err(self.refuse(format!("{shown} is not an absolute path")));
        }
        let ashift = device.ashift.or(self.ashift);
        if ashift.is_some_and(|ashift| !(MIN_ASHIFT..=MAX_ASHIFT).contains(&ashift)) {
            return Err(self.refuse(format!(
                "an ashift is between {MIN_ASHIFT} and {MAX_ASHIFT}"
            )));
        }
        let metadata = std::fs::metadata(path).map_err(failed)?;
        let is_disk = metadata.file_type().is_block_device();
        let (kind, size, identity) = if is_disk {
            // Only an open device tells its size.
            let size = File::open(path)
                .and_then(|mut disk| disk.seek(SeekFrom::End(0)))
                .map_err(failed)?;
            (c"disk", size, (true, metadata.rdev(), 0))
        } else if metadata.is_file() {
            let identity = (false, metadata.dev(), metadata.ino());
            (c"file", metadata.len(), identity)
        } else {
            return Err(self.refuse(format!("{shown} is neither a file nor a block device")));
        };
        if let Some(other) = self.seen.insert(identity, path) {
            let other = other.display();
            return Err(self.refuse(format!("{other} and {shown} are one device")));
        }
        if size < MIN_SIZE {
            let detail = format!("{shown} has {size} bytes, and {MIN_SIZE} are the least");
            return Err(Error::refused(
                self.operation,
                self.object,
                ErrorKind::DeviceTooSmall,
                detail,
            ));
        }
        let path = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| self.refuse("a path contains a NUL character"))?;
        Ok(Leaf {
            path,
            kind,
            ashift,
            size,
        })
    }
}

/// The group that a specification asks for, if it is possible.
fn group(vdev: &VdevSpec) -> Result<Option<Group>, String> {
    let count = vdev.devices.len();
    let needs = |least: usize, what: &str| {
        if count < least {
            return Err(format!("a {what} needs at least {least} devices"));
        }
        Ok(())
    };
    let has_parity = |parity: u8, what: &str| {
        if !(1..=MAX_PARITY).contains(&parity) {
            return Err(format!(
                "the parity of a {what} is between 1 and {MAX_PARITY}"
            ));
        }
        if vdev.class != VdevClass::Data {
            return Err(format!(
                "a {what} holds data: a log, special or dedup vdev is a device or a mirror"
            ));
        }
        if count > MAX_CHILDREN {
            return Err(format!("a {what} has at most {MAX_CHILDREN} devices"));
        }
        needs(usize::from(parity) + 1, what)
    };
    match vdev.arrangement {
        Arrangement::Single => Ok(None),
        Arrangement::Mirror => {
            needs(2, "mirror")?;
            Ok(Some(Group::Mirror))
        }
        Arrangement::Raidz { parity } => {
            has_parity(parity, "raidz")?;
            Ok(Some(Group::Raidz { parity }))
        }
        Arrangement::Draid {
            parity,
            data,
            spares,
        } => {
            has_parity(parity, "draid")?;
            if spares > MAX_DRAID_SPARES {
                return Err(format!("a draid has at most {MAX_DRAID_SPARES} spares"));
            }
            let count = count as u64;
            let usable = count.saturating_sub(u64::from(spares));
            let room = usable.saturating_sub(u64::from(parity));
            let data = data.map_or(room.min(8), u64::from);
            if data == 0 || data > room {
                return Err(format!(
                    "{count} devices are too few for a draid with {parity} of parity, {} of data \
                     and {spares} of spares",
                    data.max(1)
                ));
            }
            Ok(Some(Group::Draid {
                parity,
                data,
                spares,
                groups: groups(data + u64::from(parity), usable),
            }))
        }
    }
}

/// How many stripes of `width` fill whole rows of `usable` devices.
fn groups(width: u64, usable: u64) -> u64 {
    let (mut a, mut b) = (width, usable);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    usable.checked_div(a).unwrap_or(1)
}

impl CheckedVdev {
    /// That the devices of a group are of one kind and of about one size.
    fn uniform(&self) -> Result<(), String> {
        for pair in self.leaves.windows(2) {
            let [one, other] = pair else { continue };
            let (first, second) = (one.path().display(), other.path().display());
            if one.kind != other.kind {
                return Err(format!(
                    "of {first} and {second} in one group, one is a file and one a device"
                ));
            }
            if one.size.abs_diff(other.size) > SIZE_TOLERANCE {
                return Err(format!(
                    "{first} and {second} in one group differ in size: {} and {} bytes",
                    one.size, other.size
                ));
            }
        }
        Ok(())
    }

    fn redundancy(&self) -> Option<Redundancy> {
        if self.class == VdevClass::Log {
            return None;
        }
        let (kind, parity) = match self.group {
            None if self.leaves.iter().any(Leaf::is_disk) => ("disk", 0),
            None => ("file", 0),
            Some(Group::Mirror) => ("mirror", 0),
            Some(Group::Raidz { parity }) => ("raidz", parity.into()),
            Some(Group::Draid { parity, .. }) => ("draid", parity.into()),
        };
        Some(Redundancy {
            kind,
            children: self.leaves.len(),
            parity,
        })
    }

    fn to_nvmap(&self) -> NvMap {
        let leaves: Vec<NvMap> = self.leaves.iter().map(Leaf::to_nvmap).collect();
        let mut vdev = match (self.group, leaves.into_iter()) {
            (None, mut leaves) => leaves.next().unwrap_or_default(),
            (Some(group), leaves) => {
                let mut vdev = group.to_nvmap();
                if let Some(ashift) = self.ashift {
                    vdev.insert(c"ashift", u64::from(ashift));
                }
                vdev.insert(c"children", Value::ListArray(leaves.collect()));
                vdev
            }
        };
        vdev.insert(c"is_log", u64::from(self.class == VdevClass::Log));
        let bias = match self.class {
            VdevClass::Log => Some(c"log"),
            VdevClass::Special => Some(c"special"),
            VdevClass::Dedup => Some(c"dedup"),
            _ => None,
        };
        if let Some(bias) = bias {
            vdev.insert(c"alloc_bias", bias);
        }
        vdev
    }
}

impl Group {
    fn to_nvmap(self) -> NvMap {
        let mut vdev = NvMap::new();
        match self {
            Self::Mirror => vdev.insert(c"type", c"mirror"),
            Self::Raidz { parity } => {
                vdev.insert(c"type", c"raidz");
                vdev.insert(c"nparity", u64::from(parity));
            }
            Self::Draid {
                parity,
                data,
                spares,
                groups,
            } => {
                vdev.insert(c"type", c"draid");
                vdev.insert(c"nparity", u64::from(parity));
                vdev.insert(c"draid_ndata", data);
                vdev.insert(c"draid_nspares", u64::from(spares));
                vdev.insert(c"draid_ngroups", groups);
            }
        }
        vdev
    }
}

impl Checked {
    /// Whether there is a vdev for data, without which there is no pool.
    pub(crate) fn has_data(&self) -> bool {
        self.vdevs.iter().any(|vdev| vdev.class == VdevClass::Data)
    }

    /// Whether there is a draid.
    pub(crate) fn has_draid(&self) -> bool {
        let is_draid = |group| matches!(group, Some(Group::Draid { .. }));
        self.vdevs.iter().any(|vdev| is_draid(vdev.group))
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.leaves().next().is_none()
    }

    /// The redundancy that its vdevs have in common, or how they differ. Those that hold nothing
    /// but the log do not count.
    pub(crate) fn redundancy(&self) -> Result<Option<Redundancy>, String> {
        Redundancy::common(self.vdevs.iter().filter_map(CheckedVdev::redundancy))
    }

    /// Its hot spares.
    pub(crate) fn spares(&self) -> &[Leaf] {
        &self.spares
    }

    /// Its devices.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = &Leaf> {
        self.vdevs
            .iter()
            .flat_map(|vdev| &vdev.leaves)
            .chain(&self.spares)
            .chain(&self.caches)
    }

    /// The tree as the kernel wants it, to create a pool, and to add, attach or replace vdevs.
    pub(crate) fn to_nvmap(&self) -> NvMap {
        let lists = |leaves: &[Leaf]| leaves.iter().map(Leaf::to_nvmap).collect::<Vec<_>>();
        let mut root = NvMap::new();
        root.insert(c"type", c"root");
        let children: Vec<NvMap> = self.vdevs.iter().map(CheckedVdev::to_nvmap).collect();
        root.insert(c"children", Value::ListArray(children));
        if !self.spares.is_empty() {
            root.insert(c"spares", Value::ListArray(lists(&self.spares)));
        }
        if !self.caches.is_empty() {
            root.insert(c"l2cache", Value::ListArray(lists(&self.caches)));
        }
        root
    }
}

#[cfg(test)]
mod tests {
    use super::groups;

    #[test]
    fn stripes_of_a_draid_fill_whole_rows() {
        // As the command has it: the least number of groups whose width the devices divide.
        for width in 2..20 {
            for usable in width..60 {
                let expected = (1..).find(|n| n * width % usable == 0);
                assert_eq!(Some(groups(width, usable)), expected);
            }
        }
        assert_eq!(groups(0, 0), 1);
    }
}
