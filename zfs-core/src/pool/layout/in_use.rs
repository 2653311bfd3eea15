//! Whether the devices of a layout are free to be used.

use super::check::{Checked, Leaf};
use crate::error::{Errno, Error, ErrorKind, Operation, Result};
use crate::nv::NvMap;
use crate::pool::label::{Label, LabelState};
use crate::zfs::Zfs;
use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// What other software leaves on a device: where, what, and whose it is.
const SIGNATURES: [(u64, &[u8], &str); 13] = [
    (1080, b"\x53\xef", "an ext2, ext3 or ext4 filesystem"),
    (0, b"XFSB", "an XFS filesystem"),
    (0x1_0040, b"_BHRfS_M", "a Btrfs filesystem"),
    (
        0x1018,
        b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca",
        "a bcachefs filesystem",
    ),
    (1024, b"\x10\x20\xf5\xf2", "an F2FS filesystem"),
    (3, b"NTFS    ", "an NTFS filesystem"),
    (0x8001, b"CD001", "an ISO 9660 filesystem"),
    (4086, b"SWAPSPACE2", "a swap area"),
    (0, b"LUKS\xba\xbe", "an encrypted volume (LUKS)"),
    (536, b"LVM2 001", "a physical volume (LVM)"),
    (4096, b"\xfc\x4e\x2b\xa9", "a member of a RAID (md)"),
    (512, b"EFI PART", "a partition table (GPT)"),
    // That of a FAT filesystem is the same.
    (510, b"\x55\xaa", "a partition table or a FAT filesystem"),
];

impl Checked {
    /// Refuses devices that are in use. What only looks as if it were, because nobody cleared it
    /// away, is taken if `force` is set.
    pub(crate) fn refuse_in_use(
        &self,
        zfs: &Zfs,
        operation: Operation,
        object: &str,
        force: bool,
    ) -> Result<()> {
        for leaf in self.leaves() {
            let is_spare = self.spares().iter().any(|spare| std::ptr::eq(spare, leaf));
            if let Some(use_) = leaf.use_of(zfs, is_spare, force)? {
                let detail = format!("{} {use_}", leaf.path().display());
                return Err(Error::refused(
                    operation,
                    object,
                    ErrorKind::DeviceInUse,
                    detail,
                ));
            }
        }
        Ok(())
    }
}

impl Leaf {
    /// What keeps the device from being used, in words.
    fn use_of(&self, zfs: &Zfs, is_spare: bool, force: bool) -> Result<Option<String>> {
        let path = self.path();
        let label = Label::read(path)?;
        if let Some(label) = &label {
            match label_use(zfs, label)? {
                // A hot spare may be one of several pools.
                Some(Use::Spare(_)) if is_spare => return Ok(None),
                Some(Use::Pool(why) | Use::Spare(why)) => return Ok(Some(why)),
                Some(Use::Left(why)) if !force => return Ok(Some(why)),
                _ => {}
            }
        }
        if self.is_disk() && is_held(path)? {
            return Ok(Some(String::from(
                "is mounted, swapped to, or held by something else",
            )));
        }
        if force {
            return Ok(None);
        }
        Ok(signature(path)?.map(|what| format!("holds {what}")))
    }
}

/// Of what a device is a part by its label.
enum Use {
    /// An imported pool.
    Pool(String),
    /// A hot spare of an imported pool.
    Spare(String),
    /// A pool that is not imported here.
    Left(String),
}

fn label_use(zfs: &Zfs, label: &Label) -> Result<Option<Use>> {
    let name = label.pool_name().unwrap_or_default();
    let mut imported = Vec::new();
    for entry in zfs.pools()? {
        match entry.pool.config() {
            Ok(config) => imported.push((entry.pool.name().to_string(), entry.guid, config)),
            // Exported meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let in_tree = |key: &str| {
        imported
            .iter()
            .find(|(_, _, config)| {
                let tree = config.list("vdev_tree");
                tree.and_then(|tree| tree.lists(key))
                    .is_some_and(|vdevs| has(vdevs, label.guid()))
            })
            .map(|(name, _, _)| name)
    };
    Ok(match label.state() {
        LabelState::Spare => {
            in_tree("spares").map(|pool| Use::Spare(format!("is a hot spare of the pool {pool}")))
        }
        LabelState::Cache => {
            in_tree("l2cache").map(|pool| Use::Pool(format!("is a cache of the pool {pool}")))
        }
        LabelState::Destroyed => None,
        state => {
            let pool = imported
                .iter()
                .find(|(_, guid, _)| Some(*guid) == label.pool_guid());
            match pool {
                // What was detached from the pool while it was offline still says it is part of it.
                Some(_) => {
                    in_tree("children").map(|pool| Use::Pool(format!("is part of the pool {pool}")))
                }
                None if state == LabelState::Exported => {
                    Some(Use::Left(format!("is part of the exported pool {name}")))
                }
                None => Some(Use::Left(format!(
                    "is part of the pool {name}, which was not exported and may be in use by \
                     another host"
                ))),
            }
        }
    })
}

/// Whether a vdev of this identity is among `vdevs` or below them.
fn has(vdevs: &[NvMap], guid: u64) -> bool {
    vdevs.iter().any(|vdev| {
        vdev.u64("guid") == Some(guid)
            || vdev
                .lists("children")
                .is_some_and(|children| has(children, guid))
    })
}

/// Whether a block device is held by somebody: mounted, swapped to, in a pool or in a RAID.
fn is_held(path: &Path) -> Result<bool> {
    let opened = File::options()
        .read(true)
        .custom_flags(libc::O_EXCL)
        .open(path);
    match opened {
        Ok(_) => Ok(false),
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Ok(true),
        Err(error) => Err(failed(path, &error)),
    }
}

fn signature(path: &Path) -> Result<Option<&'static str>> {
    let file = File::open(path).map_err(|error| failed(path, &error))?;
    let mut found = [0_u8; 16];
    for (offset, magic, what) in SIGNATURES {
        let Some(found) = found.get_mut(..magic.len()) else {
            continue;
        };
        file.read_exact_at(found, offset)
            .map_err(|error| failed(path, &error))?;
        if found == magic {
            return Ok(Some(what));
        }
    }
    Ok(None)
}

fn failed(path: &Path, error: &std::io::Error) -> Error {
    Error::new(
        Operation::ReadLabel,
        path.display().to_string(),
        Errno::from_io(error),
    )
}
