//! Files on a mounted dataset, and what identifies them.

use std::fmt;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use helix_zfs::zfs_core::DatasetName;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use sha2::{Digest, Sha256};

use crate::story::Result;

/// A folder that a dataset is mounted on, unmounted with this value.
pub(crate) struct Mounted {
    path: PathBuf,
    is_mounted: bool,
}

impl Mounted {
    pub(crate) fn new(dataset: &DatasetName, path: PathBuf) -> Result<Self> {
        let mut mounted = Self {
            path,
            is_mounted: false,
        };
        mounted.mount(dataset)?;
        Ok(mounted)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn mount(&mut self, dataset: &DatasetName) -> Result {
        let name = dataset.as_c_str();
        mount(name, &self.path, c"zfs", MountFlags::empty(), None)
            .map_err(|error| format!("cannot mount {dataset}: {error}"))?;
        self.is_mounted = true;
        Ok(())
    }

    pub(crate) fn unmount(&mut self) -> Result {
        unmount(&self.path, UnmountFlags::empty())
            .map_err(|error| format!("cannot unmount {}: {error}", self.path.display()))?;
        self.is_mounted = false;
        Ok(())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.is_mounted {
            if let Err(error) = self.unmount() {
                eprintln!("tour: {error}");
            }
        }
    }
}

/// The SHA-256 of all files below a folder, with their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checksum([u8; 32]);

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The beginning is enough to tell them apart by eye.
        for byte in self.0.iter().take(6) {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("...")
    }
}

/// What is below a folder: its checksum, how many files there are, and their bytes.
pub(crate) struct Contents {
    pub(crate) checksum: Checksum,
    pub(crate) files: usize,
    pub(crate) bytes: u64,
}

impl Contents {
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let mut paths = Vec::new();
        collect(folder, &mut paths)?;
        paths.sort();
        let mut hash = Sha256::new();
        let mut bytes = 0;
        for path in &paths {
            let name = path.strip_prefix(folder)?.as_os_str().as_encoded_bytes();
            let data = fs::read(path)?;
            for part in [name, &data] {
                let length = u64::try_from(part.len())?;
                hash.update(length.to_le_bytes());
                hash.update(part);
            }
            bytes += u64::try_from(data.len())?;
        }
        Ok(Self {
            checksum: Checksum(hash.finalize().into()),
            files: paths.len(),
            bytes,
        })
    }
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> Result {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), paths)?;
        } else {
            paths.push(entry.path());
        }
    }
    Ok(())
}

/// Writes a file and has it on stable storage, as far as the dataset's policy goes.
pub(crate) fn write(path: &Path, data: &[u8]) -> std::io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(data)?;
    file.sync_all()
}

/// Random bytes, which neither compress nor repeat.
pub(crate) fn random(len: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}
