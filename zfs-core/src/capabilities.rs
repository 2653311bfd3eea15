//! What the library and the module at hand can do.

use crate::error::{Errno, Error, Operation, Result};
use crate::zfs::Zfs;
use std::collections::BTreeSet;
use std::ffi::c_ulong;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use zfs_core_sys::{ioctl, weak};

bitflags::bitflags! {
    /// Requests of the module that came after 2.1.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Requests: u32 {
        /// Properties of vdevs: `ZFS_IOC_VDEV_GET_PROPS` and `ZFS_IOC_VDEV_SET_PROPS` (2.2).
        const VDEV_PROPERTIES = 1;
        /// Scrubs with options: `ZFS_IOC_POOL_SCRUB` (2.2).
        const POOL_SCRUB = 1 << 1;
        /// Filesystems for user namespaces: `ZFS_IOC_USERNS_ATTACH` and `_DETACH` (2.2).
        const USER_NAMESPACES = 1 << 2;
        /// Loading of tables ahead of need: `ZFS_IOC_POOL_PREFETCH` (2.3).
        const POOL_PREFETCH = 1 << 3;
        /// Removal of entries from the deduplication table: `ZFS_IOC_DDT_PRUNE` (2.3).
        const DDT_PRUNE = 1 << 4;
    }
}

/// Which request shows that the module has what a flag stands for.
const PROBES: [(Requests, c_ulong); 5] = [
    (Requests::VDEV_PROPERTIES, ioctl::ZFS_IOC_VDEV_GET_PROPS),
    (Requests::POOL_SCRUB, ioctl::ZFS_IOC_POOL_SCRUB),
    (Requests::USER_NAMESPACES, ioctl::ZFS_IOC_USERNS_ATTACH),
    (Requests::POOL_PREFETCH, ioctl::ZFS_IOC_POOL_PREFETCH),
    (Requests::DDT_PRUNE, ioctl::ZFS_IOC_DDT_PRUNE),
];

/// The version of the loaded module.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModuleVersion {
    /// As the module states it: `2.1.11-1+deb12u1`.
    pub text: String,
    /// Major, minor and patch, as far as the text begins with them.
    pub numbers: Option<(u32, u32, u32)>,
}

impl ModuleVersion {
    fn read(text: &str) -> Self {
        let mut parts = text
            .split(|c: char| !c.is_ascii_digit() && c != '.')
            .next()
            .unwrap_or_default()
            .splitn(3, '.')
            .map(str::parse);
        let mut number = || parts.next()?.ok();
        let numbers = (|| Some((number()?, number()?, number()?)))();
        Self {
            text: text.to_owned(),
            numbers,
        }
    }
}

impl fmt::Display for ModuleVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// How new the loaded libzfs_core is. The library has no version to ask for, but each of these
/// brought functions that the one before lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LibraryLevel {
    /// Has what 2.1 has.
    V2_1,
    /// Has what 2.2 added.
    V2_2,
    /// Has what 2.3 added; 2.4 added nothing.
    V2_3,
}

/// What the loaded library and module can do, found by asking them.
///
/// Names are the kernel's. What is not in a list does not exist for the module: setting such a
/// property, or enabling such a feature, fails.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// How new the library is.
    pub library: LibraryLevel,
    /// The version of the module.
    pub module: ModuleVersion,
    /// The requests newer than 2.1 that the module answers.
    pub requests: Requests,
    /// The identities of the pool features that the module knows: `com.delphix:async_destroy`.
    pub pool_features: BTreeSet<String>,
    /// What the module can do beside pool features: `org.openzfs:l2arc_persistent`.
    pub kernel_features: BTreeSet<String>,
    /// The native properties of datasets.
    pub dataset_properties: BTreeSet<String>,
    /// The native properties of pools, without `feature@…`.
    pub pool_properties: BTreeSet<String>,
    /// The native properties of vdevs. Empty before 2.2.
    pub vdev_properties: BTreeSet<String>,
}

impl Capabilities {
    /// Whether the module knows the pool feature of this identity or short name
    /// (`async_destroy`).
    #[must_use]
    pub fn has_pool_feature(&self, name: &str) -> bool {
        self.pool_features.iter().any(|guid| {
            guid == name
                || guid
                    .rsplit_once(':')
                    .is_some_and(|(_, short)| short == name)
        })
    }
}

impl Zfs {
    /// What the loaded library and module can do.
    ///
    /// Asks anew each time. New requests are probed with an empty name, which the module refuses
    /// before it does anything, so that nothing can change.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where the module describes itself in no
    /// place that this crate knows (`/sys/module/zfs` and `/sys/fs/zfs`).
    ///
    /// # Privileges
    ///
    /// None.
    #[doc(alias = "zfs_version_kernel")]
    pub fn capabilities(&self) -> Result<Capabilities> {
        let sysfs = Sysfs::find()?;
        Ok(Capabilities {
            library: library(),
            module: ModuleVersion::read(sysfs.version()?.trim()),
            requests: self.requests()?,
            pool_features: sysfs.list("features.pool")?,
            kernel_features: sysfs.list("features.kernel")?,
            dataset_properties: sysfs.list("properties.dataset")?,
            pool_properties: sysfs.list("properties.pool")?,
            vdev_properties: sysfs.list("properties.vdev")?,
        })
    }

    fn requests(&self) -> Result<Requests> {
        let mut found = Requests::empty();
        for (request, number) in PROBES {
            if self.answers(number)? {
                found |= request;
            }
        }
        Ok(found)
    }

    /// Whether the module answers a request.
    pub(crate) fn answers(&self, number: c_ulong) -> Result<bool> {
        let name = || ioctl::request_name(number).unwrap_or("a request");
        match self.request(number, c"").run() {
            Err(Errno::ZFS_ERR_IOC_CMD_UNAVAIL) => Ok(false),
            // The empty name.
            Err(Errno::EINVAL) => Ok(true),
            Err(errno) => Err(Error::new(Operation::ReadCapabilities, name(), errno)),
            Ok(()) => Err(Error::protocol(
                Operation::ReadCapabilities,
                name(),
                "an empty name was accepted",
            )),
        }
    }
}

/// The identities of the pool features that the module knows.
pub(crate) fn pool_features() -> Result<BTreeSet<String>> {
    Sysfs::find()?.list("features.pool")
}

fn library() -> LibraryLevel {
    if weak::lzc_get_props().is_some() {
        LibraryLevel::V2_3
    } else if weak::lzc_scrub().is_some() {
        LibraryLevel::V2_2
    } else {
        LibraryLevel::V2_1
    }
}

/// Where the module describes itself.
struct Sysfs(PathBuf);

impl Sysfs {
    fn find() -> Result<Self> {
        // The second is that of a kernel with ZFS built in.
        const PLACES: [&str; 2] = ["/sys/module/zfs", "/sys/fs/zfs"];
        PLACES
            .into_iter()
            .map(PathBuf::from)
            .find(|place| place.join("features.pool").is_dir())
            .map(Self)
            .ok_or_else(|| {
                Error::refused(
                    Operation::ReadCapabilities,
                    PLACES.join(", "),
                    crate::ErrorKind::Unsupported,
                    "the module's description is not there",
                )
            })
    }

    fn version(&self) -> Result<String> {
        // A kernel with ZFS built in has the version among the modules nevertheless.
        let path = Path::new("/sys/module/zfs/version");
        std::fs::read_to_string(path).map_err(|error| failed(path, &error))
    }

    /// The entries of a directory, of which older modules lack some.
    fn list(&self, name: &str) -> Result<BTreeSet<String>> {
        let path = self.0.join(name);
        let entries = match std::fs::read_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            entries => entries.map_err(|error| failed(&path, &error))?,
        };
        entries
            .map(|entry| {
                let entry = entry.map_err(|error| failed(&path, &error))?;
                Ok(entry.file_name().to_string_lossy().into_owned())
            })
            .collect()
    }
}

fn failed(path: &Path, error: &io::Error) -> Error {
    let errno = Errno::from_io(error);
    Error::new(
        Operation::ReadCapabilities,
        path.display().to_string(),
        errno,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_far_as_they_go() {
        let numbers = |text| ModuleVersion::read(text).numbers;
        assert_eq!(numbers("2.1.11-1+deb12u1"), Some((2, 1, 11)));
        assert_eq!(numbers("2.4.0-rc1"), Some((2, 4, 0)));
        assert_eq!(numbers("2.3.99-123_gabcdef"), Some((2, 3, 99)));
        for absurd in ["", "two", "2.1", "2..1", "99999999999.0.0", "2.1.11.5"] {
            assert_eq!(numbers(absurd), None, "{absurd}");
        }
        assert_eq!(ModuleVersion::read("two").to_string(), "two");
    }
}
