//! Fewer vdevs.

use super::VdevId;
use crate::error::{Errno, Error, ErrorKind, Operation, Result};
use crate::pool::Pool;
use crate::pool::vdev::{VdevClass, VdevKind};
use zfs_core_sys::ioctl::ZFS_IOC_VDEV_REMOVE;

impl Pool {
    /// Removes a vdev: a hot spare, a cache, or one of the top.
    ///
    /// Spares, caches and vdevs of the log are gone when the call is over. From one with data, the
    /// data are first moved to the others, which goes on when the call is over; the memory that it
    /// takes to find them there is used as long as they exist. The vdev counts as removed when
    /// that has ended. It can be [stopped](Self::cancel_removal).
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `NotFound` | no pool of that name is imported, or it has no such vdev |
    /// | `LastCopy` | no other vdev holds data |
    /// | `WrongKind` | the vdev is part of a group, or a distributed spare, or was removed before |
    /// | `Busy` | the spare is in use, or the vdev lacks data, or the log has records of a dataset that was not mounted since |
    /// | `NoSpace` | the data do not fit in the others |
    /// | `InProgress` | a device is being removed, or the pool has a checkpoint |
    /// | `Unsupported` | the pool has a raidz or draid, or vdevs of several sector sizes, or not the feature `device_removal` |
    /// | `Io` | the vdev cannot be read |
    /// | `ReadOnlyPool`, `PoolSuspended` | as they say |
    ///
    /// # Privileges
    ///
    /// root. `zpool-remove(8)`, request `ZFS_IOC_VDEV_REMOVE`.
    #[doc(alias = "ZFS_IOC_VDEV_REMOVE")]
    #[doc(alias = "zpool_vdev_remove")]
    pub fn remove(&self, vdev: impl Into<VdevId>) -> Result<()> {
        let (survey, target) = self.target(Operation::RemoveVdev, &vdev.into())?;
        let wrong = |why: String| Err(target.refuse(ErrorKind::WrongKind, why));
        if survey.spare(target.guid).is_some() && target.class != VdevClass::Spare {
            return Err(target.refuse(ErrorKind::Busy, "the hot spare is in use"));
        }
        match (target.class, &target.kind) {
            (_, VdevKind::DraidSpare) => return wrong("it is a distributed spare".into()),
            (_, VdevKind::Hole | VdevKind::Missing | VdevKind::Indirect) => {
                return wrong("nothing is left of it".into());
            }
            (VdevClass::Spare | VdevClass::Cache, _) => {}
            (class, _) => {
                match survey.top(target.guid) {
                    Some(top) if top.guid != target.guid => {
                        return wrong(format!("it is a part of {top}"));
                    }
                    _ => {}
                }
                if class != VdevClass::Log && survey.is_removing() {
                    return Err(target.refuse(ErrorKind::InProgress, "a device is being removed"));
                }
                let others = survey.status.root.children.iter().any(|top| {
                    top.guid != target.guid
                        && top.class == VdevClass::Data
                        && !matches!(top.kind, VdevKind::Hole | VdevKind::Indirect)
                });
                if class == VdevClass::Data && !others {
                    return Err(target.refuse(ErrorKind::LastCopy, "no other vdev holds data"));
                }
            }
        }
        self.vdev_request(ZFS_IOC_VDEV_REMOVE, target.guid)
            .run()
            .map_err(|errno| {
                let error = target.failed(errno);
                match errno {
                    Errno::EINVAL => error.with_detail(
                        "data are only moved in a pool without raidz and draid, \
                         whose vdevs have one sector size",
                    ),
                    _ => error,
                }
            })?;
        self.record_vdev("remove", "", &target);
        Ok(())
    }

    /// Stops the removal of a vdev. What was moved stays where it is now, and the vdev is used again.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `NotFound` | no pool of that name is imported |
    /// | `NotInProgress` | no removal is under way |
    /// | `ReadOnlyPool`, `PoolSuspended` | as they say |
    ///
    /// # Privileges
    ///
    /// root. `zpool-remove(8)` with `-s`, request `ZFS_IOC_VDEV_REMOVE`.
    #[doc(alias = "zpool_vdev_remove_cancel")]
    pub fn cancel_removal(&self) -> Result<()> {
        const OPERATION: Operation = Operation::RemoveVdev;
        let name = self.name.as_str();
        let mut request = self.vdev_request(ZFS_IOC_VDEV_REMOVE, 0);
        request.cmd().zc_cookie = 1;
        request.run().map_err(|errno| {
            let error = Error::new(OPERATION, name, errno);
            match errno {
                Errno::ENOTACTIVE => error.with_detail("no removal is under way"),
                _ => error,
            }
        })?;
        self.zfs.record(|| format!("zpool remove -s {name}"));
        Ok(())
    }
}
