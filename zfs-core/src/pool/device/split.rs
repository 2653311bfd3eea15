//! A pool of mirrors made into two.

use super::VdevId;
use super::survey::Survey;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::name::PoolName;
use crate::nv::{NvMap, Value};
use crate::pool::Pool;
use crate::pool::health::VdevState;
use crate::pool::vdev::{Vdev, VdevClass, VdevKind};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use zfs_core_sys::ioctl::ZFS_IOC_VDEV_SPLIT;

/// How a pool is split.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SplitOptions {
    take: Vec<VdevId>,
    import: bool,
    altroot: Option<PathBuf>,
}

/// The new pool is exported at the end.
const EXPORT: u64 = 1;

impl SplitOptions {
    /// The last device of each mirror, and the new pool is left exported.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes this device of its mirror, and not the last.
    #[must_use]
    pub fn take(mut self, device: impl Into<VdevId>) -> Self {
        self.take.push(device.into());
        self
    }

    /// Leaves the new pool imported, without an entry in the cache file. Nothing in it is mounted;
    /// its filesystems have the mount points of the old one's.
    #[must_use]
    pub fn import(mut self) -> Self {
        self.import = true;
        self
    }

    /// Leaves the new pool imported, with `altroot` before its mount points.
    #[must_use]
    pub fn altroot(mut self, altroot: impl Into<PathBuf>) -> Self {
        self.altroot = Some(altroot.into());
        self.import()
    }
}

impl Pool {
    /// Splits one device off each mirror, and makes a pool named `name` of them with the same
    /// contents. The devices of the log, spares and caches stay with this one.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `InvalidName`, `NameTooLong` | of the new pool |
    /// | `NotFound` | no pool of that name is imported, or it has no such vdev |
    /// | `AlreadyExists` | there is a pool of the new name |
    /// | `WrongKind` | a vdev with data is not a mirror, or a device to take is in none |
    /// | `InvalidArgument` | two devices of one mirror are to be taken, or the altroot is not absolute |
    /// | `LastCopy` | the rest of a mirror does not have all that the device has |
    /// | `Busy` | a device to take is not healthy, or is being resilvered |
    /// | `InProgress` | the pool has a checkpoint |
    /// | `ReadOnlyPool`, `PoolSuspended` | as they say |
    ///
    /// # Privileges
    ///
    /// root. `zpool-split(8)`, request `ZFS_IOC_VDEV_SPLIT`.
    #[doc(alias = "ZFS_IOC_VDEV_SPLIT")]
    #[doc(alias = "zpool_vdev_split")]
    pub fn split(&self, name: &str, options: &SplitOptions) -> Result<Pool> {
        const OPERATION: Operation = Operation::SplitPool;
        let old = self.name.as_str();
        let new = PoolName::of_new_pool(name)?;
        let survey = self.survey(OPERATION)?;
        let (children, chosen) = self.split_children(&survey, options)?;

        let mut tree = NvMap::new();
        tree.insert(c"type", c"root");
        tree.insert(c"children", Value::ListArray(children));
        let mut config = NvMap::new();
        config.insert(c"vdev_tree", tree);
        config.insert(c"name", new.as_c_str());
        config.insert(c"version", survey.status.version);
        let mut properties = NvMap::new();
        if options.import {
            properties.insert(c"cachefile", c"none");
        }
        if let Some(altroot) = &options.altroot {
            let path = CString::new(altroot.as_os_str().as_bytes()).ok();
            let path = path.filter(|_| altroot.is_absolute());
            properties.insert(
                c"altroot",
                path.ok_or_else(|| {
                    let why = format!("{} is no absolute path", altroot.display());
                    self.refuse(OPERATION, ErrorKind::InvalidArgument, why)
                })?,
            );
        }
        let mut request = self
            .zfs
            .request(ZFS_IOC_VDEV_SPLIT, self.name.as_c_str())
            .configuration(&config)
            .and_then(|request| request.input(&properties))
            .map_err(|refusal| refusal.into_error(OPERATION, old))?;
        request.set_string(new.as_c_str());
        request.cmd().zc_cookie = if options.import { 0 } else { EXPORT };
        request
            .run()
            .map_err(|errno| Error::new(OPERATION, old, errno))?;
        self.zfs.record(|| {
            let chosen: Vec<String> = chosen.iter().map(Vdev::to_string).collect();
            format!("zpool split {old} {} {}", new.as_str(), chosen.join(" "))
        });
        Ok(Pool {
            zfs: self.zfs.clone(),
            name: new,
        })
    }

    /// The vdevs of the new pool as the kernel wants them, in the places that they have in this
    /// one, and the devices among them.
    fn split_children(
        &self,
        survey: &Survey,
        options: &SplitOptions,
    ) -> Result<(Vec<NvMap>, Vec<Vdev>)> {
        const OPERATION: Operation = Operation::SplitPool;
        let mut wanted = options
            .take
            .iter()
            .map(|id| {
                self.target_in(survey, OPERATION, id)
                    .map(|target| target.guid)
            })
            .collect::<Result<Vec<u64>>>()?;
        wanted.sort_unstable();
        wanted.dedup();

        let raw = survey.config.list("vdev_tree");
        let raw = raw
            .and_then(|tree| tree.lists("children"))
            .unwrap_or_default();
        let mut children = Vec::new();
        let mut chosen: Vec<Vdev> = Vec::new();
        // Places of the log at the end are left out.
        let mut len = 0;
        for (top, raw) in survey.status.root.children.iter().zip(raw) {
            if top.class == VdevClass::Log || top.kind == VdevKind::Hole {
                children.push(hole());
                continue;
            }
            if top.kind == VdevKind::Indirect {
                children.push(raw.clone());
                len = children.len();
                continue;
            }
            let device = self.split_off(survey, top, &wanted)?;
            let raw = raw.lists("children").unwrap_or_default();
            let raw = raw.iter().find(|raw| raw.u64("guid") == Some(device.guid));
            children.push(raw.cloned().unwrap_or_default());
            chosen.push(device.clone());
            len = children.len();
        }
        children.truncate(len);
        match wanted
            .iter()
            .find(|guid| chosen.iter().all(|device| device.guid != **guid))
        {
            Some(other) => Err(self
                .target_in(survey, OPERATION, &VdevId::Guid(*other))?
                .refuse(
                    ErrorKind::WrongKind,
                    "it is not a device of a mirror with data",
                )),
            None => Ok((children, chosen)),
        }
    }

    /// The device to take of one vdev of the top.
    fn split_off<'s>(&self, survey: &Survey, top: &'s Vdev, wanted: &[u64]) -> Result<&'s Vdev> {
        const OPERATION: Operation = Operation::SplitPool;
        let refuse = |vdev: &Vdev, kind, why: &str| {
            let pool = self.name.as_str();
            Err(Error::refused(
                OPERATION,
                format!("{pool}: {vdev}"),
                kind,
                why,
            ))
        };
        let mut named = top
            .children
            .iter()
            .filter(|vdev| wanted.contains(&vdev.guid));
        let device = match (&top.kind, named.next(), named.next()) {
            (VdevKind::Mirror, Some(_), Some(second)) => {
                return refuse(
                    second,
                    ErrorKind::InvalidArgument,
                    "another device of its mirror is to be taken",
                );
            }
            (VdevKind::Mirror, Some(device), None) => Some(device),
            (VdevKind::Mirror, None, _) => top.children.last(),
            _ => None,
        };
        let Some(device) = device else {
            return refuse(top, ErrorKind::WrongKind, "it is not a mirror");
        };
        if !device.kind.is_device() {
            return refuse(device, ErrorKind::Busy, "its device is being replaced");
        }
        if device.state != VdevState::Healthy || survey.is_incomplete(device) {
            return refuse(device, ErrorKind::Busy, "it does not have all the data");
        }
        if !survey.can_do_without(top, device.guid) {
            return refuse(
                device,
                ErrorKind::LastCopy,
                "the rest of its mirror does not have all the data",
            );
        }
        Ok(device)
    }
}

/// What stands in the place of a vdev of the log.
fn hole() -> NvMap {
    let mut hole = NvMap::new();
    hole.insert(c"type", c"hole");
    hole.insert(c"is_hole", 1_u64);
    hole
}
