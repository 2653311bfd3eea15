//! Which devices the logical names stand for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::Problems;
use super::{Layout, LayoutError, read};

/// The devices of one machine, or of one kind of machine, by the logical names that layouts have.
///
/// ```
/// # fn main() -> Result<(), helix_zfs::layout::LayoutError> {
/// use helix_zfs::layout::DeviceMap;
///
/// let devices = DeviceMap::from_json(
///     r#"{"version": 1, "devices": {"data-1": "/dev/disk/by-id/nvme-a", "data-2": "/dev/disk/by-id/nvme-b"}}"#,
/// )?;
/// assert!(devices.path("data-1").is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceMap {
    version: u32,
    #[serde(deserialize_with = "read::unique")]
    devices: BTreeMap<String, PathBuf>,
}

impl Default for DeviceMap {
    fn default() -> Self {
        Self {
            version: Layout::VERSION,
            devices: BTreeMap::new(),
        }
    }
}

impl DeviceMap {
    /// No device.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a device, or gives it another path: the absolute one of a block device or a file.
    #[must_use]
    pub fn device(mut self, name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        self.devices.insert(name.into(), path.into());
        self
    }

    /// Reads a map in JSON: an object with `version`, 1, and `devices`, an object of paths by name.
    ///
    /// # Errors
    ///
    /// As [`Layout::from_json`].
    pub fn from_json(text: &str) -> Result<Self, LayoutError> {
        let map: Self = read::json(text)?;
        map.check()?;
        Ok(map)
    }

    /// Reads a map in TOML: as in JSON, in a table `[devices]`.
    ///
    /// # Errors
    ///
    /// As [`Layout::from_json`].
    #[cfg(feature = "toml")]
    pub fn from_toml(text: &str) -> Result<Self, LayoutError> {
        let map: Self = read::toml(text)?;
        map.check()?;
        Ok(map)
    }

    /// The path of a device.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<&Path> {
        self.devices.get(name).map(PathBuf::as_path)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.devices
            .iter()
            .map(|(name, path)| (name.as_str(), path.as_path()))
    }

    /// Checks that paths are absolute, and that no two names have the same. Whether there are such
    /// devices is not looked at.
    ///
    /// # Errors
    ///
    /// [`Version`](LayoutError::Version), [`Invalid`](LayoutError::Invalid).
    pub fn check(&self) -> Result<(), LayoutError> {
        if self.version != Layout::VERSION {
            return Err(LayoutError::Version {
                found: Some(self.version),
            });
        }
        let mut problems = Problems::default();
        let mut seen: BTreeMap<&Path, &str> = BTreeMap::new();
        for (name, path) in self.iter() {
            let shown = path.display();
            if !path.is_absolute() {
                problems.add(
                    format!("devices.{name}"),
                    format!("{shown} is not an absolute path"),
                );
            }
            if let Some(other) = seen.insert(path, name) {
                problems.add(
                    format!("devices.{name}"),
                    format!("{shown} is {other} already"),
                );
            }
        }
        problems.into_result()
    }
}
