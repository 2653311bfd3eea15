//! Where pools are looked for, and the labels found there.

use crate::error::{Errno, Error, ErrorKind, Operation, Result};
use crate::pool::label::Label;
use std::collections::HashMap;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The smallest device of a pool.
const MIN_SIZE: u64 = 64 << 20;
/// Where devices are, the names that stay the same first.
const DEFAULT: [&str; 2] = ["/dev/disk/by-id", "/dev"];

/// Where to look for pools.
///
/// With nothing said, that is `/dev/disk/by-id` and then `/dev`. Of a device that is found under
/// several names, the pool gets the one that it had already, or else the one found first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    places: Vec<Place>,
    destroyed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Dir(PathBuf),
    Device(PathBuf),
}

impl Search {
    /// In the usual places.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at the block devices and the files in the folder `dir`, and not in folders below it.
    /// Volumes of ZFS are left out, for reading one whose pool is suspended would take for ever.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.places.push(Place::Dir(dir.into()));
        self
    }

    /// Looks at the file or block device `device`. One that cannot be read is an error.
    #[must_use]
    pub fn device(mut self, device: impl Into<PathBuf>) -> Self {
        self.places.push(Place::Device(device.into()));
        self
    }

    /// Looks for destroyed pools instead of the others.
    #[must_use]
    pub fn destroyed(mut self) -> Self {
        self.destroyed = true;
        self
    }

    pub(super) fn wants_destroyed(&self) -> bool {
        self.destroyed
    }

    /// The devices with a label, each once.
    pub(super) fn run(&self) -> Result<Vec<Seen>> {
        let mut seen = Scan::default();
        if self.places.is_empty() {
            for dir in DEFAULT {
                match seen.dir(Path::new(dir)) {
                    // Not every system has names by identity.
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    outcome => outcome?,
                }
            }
        }
        for place in &self.places {
            match place {
                Place::Dir(dir) => seen.dir(dir)?,
                Place::Device(device) => seen.device(device)?,
            }
        }
        Ok(seen.found)
    }
}

/// A device with a label.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Its names, in the order in which they were found.
    pub(super) names: Vec<PathBuf>,
    pub(super) label: Label,
}

#[derive(Default)]
struct Scan {
    found: Vec<Seen>,
    /// What was looked at, and where in `found` it is if it has a label.
    known: HashMap<(bool, u64, u64), Option<usize>>,
}

impl Scan {
    fn dir(&mut self, dir: &Path) -> Result<()> {
        let failed = |error: io::Error| find_error(dir, &error);
        let mut paths = std::fs::read_dir(dir)
            .map_err(failed)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<Vec<_>>>()
            .map_err(failed)?;
        paths.sort();
        for path in paths {
            // Whatever cannot be looked at is gone, or no device.
            let Ok(metadata) = std::fs::metadata(&path) else {
                continue;
            };
            let is_disk = metadata.file_type().is_block_device();
            let looks_right = match is_disk {
                true => !is_volume(metadata.rdev()),
                false => metadata.is_file() && metadata.len() >= MIN_SIZE,
            };
            if !looks_right {
                continue;
            }
            match self.look(&path, &metadata) {
                Err(error) if error.kind() == ErrorKind::PermissionDenied => return Err(error),
                // An empty drive, a broken disk.
                Err(_) | Ok(()) => {}
            }
        }
        Ok(())
    }

    fn device(&mut self, path: &Path) -> Result<()> {
        let metadata = std::fs::metadata(path).map_err(|error| find_error(path, &error))?;
        self.look(path, &metadata)
    }

    fn look(&mut self, path: &Path, metadata: &std::fs::Metadata) -> Result<()> {
        let identity = match metadata.file_type().is_block_device() {
            true => (true, metadata.rdev(), 0),
            false => (false, metadata.dev(), metadata.ino()),
        };
        if let Some(known) = self.known.get(&identity) {
            if let Some(seen) = known.and_then(|at| self.found.get_mut(at)) {
                seen.names.push(path.to_owned());
            }
            return Ok(());
        }
        let label = Label::read(path).map_err(|error| error.during(Operation::FindPools))?;
        let place = label.map(|label| {
            self.found.push(Seen {
                names: vec![path.to_owned()],
                label,
            });
            self.found.len() - 1
        });
        self.known.insert(identity, place);
        Ok(())
    }
}

/// Whether a block device is a volume of ZFS.
fn is_volume(device: u64) -> bool {
    let link = format!(
        "/sys/dev/block/{}:{}",
        libc::major(device),
        libc::minor(device)
    );
    std::fs::read_link(link).is_ok_and(|target| {
        target
            .components()
            .any(|part| volume_name(part.as_os_str().as_encoded_bytes()))
    })
}

fn volume_name(name: &[u8]) -> bool {
    name.strip_prefix(b"zd")
        .is_some_and(|number| !number.is_empty() && number.iter().all(u8::is_ascii_digit))
}

fn find_error(place: &Path, error: &io::Error) -> Error {
    Error::new(
        Operation::FindPools,
        place.display().to_string(),
        Errno::from_io(error),
    )
}

#[cfg(test)]
mod tests {
    use super::volume_name;

    #[test]
    fn volumes_are_known_by_their_names() {
        assert!(volume_name(b"zd0") && volume_name(b"zd1024"));
        for other in [&b"zd"[..], b"sda", b"zda", b"zd0p1", b""] {
            assert!(!volume_name(other));
        }
    }
}
