//! The record of damaged blocks.

use super::Pool;
use crate::error::{Errno, Error, Operation, Result};
use crate::ffi::device::{ERROR_LOG_RECORD, read_bytes};
use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use zfs_core_sys::ioctl::{ZFS_IOC_DSOBJ_TO_DSNAME, ZFS_IOC_ERROR_LOG, ZFS_IOC_OBJ_TO_PATH};

/// A block that is damaged, as a place in its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct DamagedBlock {
    /// How far above the data it is: 0 for data, 1 and more for blocks of pointers, below 0 for
    /// what is beside an object's data.
    pub level: i64,
    /// Its number among those of its level.
    pub id: u64,
}

/// A file, or another object, with damaged blocks.
///
/// Prints as the `zpool` command prints it for a dataset that is not mounted: `tank/home:/file`,
/// `tank/home:<0x2a>`, `<metadata>:<0x2a>`, `<0x10f>:<0x2a>`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DamagedObject {
    /// The number of the dataset or the snapshot; 0 for the pool's own metadata.
    pub dataset_id: u64,
    /// Its name. `None` when it is gone, and for the pool's metadata.
    pub dataset: Option<String>,
    /// The number of the object.
    pub object: u64,
    /// The file, from the root of its dataset on. `None` when it is gone, and for what is no
    /// file.
    pub path: Option<PathBuf>,
    /// The blocks, in order and each once.
    pub blocks: Vec<DamagedBlock>,
}

impl fmt::Display for DamagedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.dataset, self.dataset_id) {
            (Some(name), _) => f.write_str(name)?,
            (None, 0) => f.write_str("<metadata>")?,
            (None, id) => write!(f, "<{id:#x}>")?,
        }
        match &self.path {
            Some(path) => write!(f, ":{}", path.display()),
            None => write!(f, ":<{:#x}>", self.object),
        }
    }
}

impl DamagedObject {
    /// The file as it is reached below `mount_point`, where its dataset is mounted.
    #[must_use]
    pub fn path_below(&self, mount_point: impl AsRef<Path>) -> Option<PathBuf> {
        let path = self.path.as_deref()?;
        let path = path.strip_prefix("/").unwrap_or(path);
        Some(mount_point.as_ref().join(path))
    }
}

/// Room for this many blocks at first, and at most.
const FIRST_ROOM: usize = 1024;
const MOST_ROOM: usize = 1 << 24;

impl Pool {
    /// The files and other objects with damaged blocks, in the order of their datasets and their
    /// numbers: what `zpool status -v` lists.
    ///
    /// A block comes onto the record when a read of it failed and no good copy was found, and goes
    /// from there when two scrubs in a row have not found it damaged, or its file is gone. The
    /// feature `head_errlog` (since 2.2) lists each snapshot and clone that has the block.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `NotFound` | no pool of that name is imported |
    /// | `PermissionDenied` | without privileges |
    /// | `PoolSuspended` | as it says |
    /// | `Io` | the pool cannot be opened |
    ///
    /// # Privileges
    ///
    /// Root (`CAP_SYS_ADMIN`). `zpool-status(8)`, requests `ZFS_IOC_ERROR_LOG`,
    /// `ZFS_IOC_DSOBJ_TO_DSNAME` and `ZFS_IOC_OBJ_TO_PATH`.
    #[doc(alias = "ZFS_IOC_ERROR_LOG")]
    #[doc(alias = "zpool_get_errlog")]
    #[doc(alias = "zpool_obj_to_path")]
    pub fn error_log(&self) -> Result<Vec<DamagedObject>> {
        let mut found: BTreeMap<(u64, u64), Vec<DamagedBlock>> = BTreeMap::new();
        for record in self.damaged_blocks()?.chunks_exact(ERROR_LOG_RECORD) {
            let bytes = |index: usize| record.get(8 * index..)?.first_chunk().copied();
            let word = |index: usize| bytes(index).map(u64::from_ne_bytes);
            let (Some(dataset), Some(object), Some(level), Some(id)) =
                (word(0), word(1), bytes(2).map(i64::from_ne_bytes), word(3))
            else {
                continue;
            };
            let blocks = found.entry((dataset, object)).or_default();
            blocks.push(DamagedBlock { level, id });
        }
        let mut names: BTreeMap<u64, Option<CString>> = BTreeMap::new();
        found
            .into_iter()
            .map(|((dataset_id, object), mut blocks)| {
                blocks.sort_unstable();
                blocks.dedup();
                let name = match names.get(&dataset_id) {
                    Some(name) => name.clone(),
                    None => {
                        let name = self.dataset_of(dataset_id)?;
                        names.insert(dataset_id, name.clone());
                        name
                    }
                };
                let path = match &name {
                    Some(name) => self.path_of(name, object)?,
                    None => None,
                };
                Ok(DamagedObject {
                    dataset_id,
                    dataset: name.map(|name| name.to_string_lossy().into_owned()),
                    object,
                    path,
                    blocks,
                })
            })
            .collect()
    }

    /// The kernel's records, which are many more than the counter says when snapshots share
    /// blocks.
    fn damaged_blocks(&self) -> Result<Vec<u8>> {
        let mut room = FIRST_ROOM;
        loop {
            let mut request = self
                .zfs
                .request(ZFS_IOC_ERROR_LOG, self.name.as_c_str())
                .answered_raw(room * ERROR_LOG_RECORD);
            match request.run() {
                Ok(()) => return Ok(request.error_log().to_vec()),
                Err(Errno::EINTR) => {}
                Err(Errno::ENOMEM) if room < MOST_ROOM => room *= 4,
                Err(errno) => return Err(self.log_error(errno)),
            }
        }
    }

    /// The name of the dataset or the snapshot of this number, if there is one.
    fn dataset_of(&self, number: u64) -> Result<Option<CString>> {
        if number == 0 {
            return Ok(None);
        }
        let mut request = self
            .zfs
            .request(ZFS_IOC_DSOBJ_TO_DSNAME, self.name.as_c_str());
        request.cmd().zc_obj = number;
        match request.read() {
            Ok(()) => Ok(Some(read_bytes(&request.cmd().zc_value))),
            Err(errno) => self.gone(errno),
        }
    }

    /// Where in the dataset an object is, if it is a file that has a name.
    fn path_of(&self, dataset: &CString, object: u64) -> Result<Option<PathBuf>> {
        let mut request = self.zfs.request(ZFS_IOC_OBJ_TO_PATH, dataset);
        request.cmd().zc_obj = object;
        match request.read() {
            Ok(()) => {
                let path = read_bytes(&request.cmd().zc_value);
                Ok(Some(OsStr::from_bytes(path.to_bytes()).into()))
            }
            Err(errno) => self.gone(errno),
        }
    }

    /// What has no name any more is no failure, and is printed as a number.
    fn gone<T>(&self, errno: Errno) -> Result<Option<T>> {
        match errno {
            Errno::EPERM | Errno::EAGAIN => Err(self.log_error(errno)),
            // Among them that the key is not loaded that the names are encrypted with.
            _ => Ok(None),
        }
    }

    fn log_error(&self, errno: Errno) -> Error {
        Error::new(Operation::ReadErrorLog, self.name.as_str(), errno)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_print_as_the_command_prints_them() {
        let mut object = DamagedObject {
            dataset_id: 0,
            dataset: None,
            object: 42,
            path: None,
            blocks: Vec::new(),
        };
        assert_eq!(object.to_string(), "<metadata>:<0x2a>");
        object.dataset_id = 271;
        assert_eq!(object.to_string(), "<0x10f>:<0x2a>");
        object.dataset = Some("tank/home@old".into());
        assert_eq!(object.to_string(), "tank/home@old:<0x2a>");
        assert_eq!(object.path_below("/home"), None);
        object.path = Some("/a/file".into());
        assert_eq!(object.to_string(), "tank/home@old:/a/file");
        assert_eq!(object.path_below("/home"), Some("/home/a/file".into()));
    }
}
