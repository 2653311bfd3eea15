//! Waiting until something that goes on in a pool has ended.

use crate::dataset::Dataset;
use crate::error::{Errno, Error, ErrorKind, Operation, Result};
use crate::pool::{ActivityState, Pool, ScanFunction, ScanState, Vdev, VdevId};
use std::fmt;
use zfs_core_sys as sys;
use zfs_core_sys::newer::since_2_3::ZPOOL_WAIT_RAIDZ_EXPAND;

/// What can go on in a pool and be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[doc(alias = "zpool_wait_activity_t")]
#[non_exhaustive]
pub enum PoolActivity {
    /// The space of a discarded checkpoint is freed.
    CheckpointDiscard,
    /// The space of destroyed datasets and snapshots is freed.
    Free,
    /// Devices are initialised.
    Initialize,
    /// Devices are replaced. This does not end while what a replacement needs is missing.
    Replace,
    /// A vdev is removed.
    Remove,
    /// Devices are resilvered, sequentially or not.
    Resilver,
    /// A scrub. One of [known errors](crate::pool::Scrub::KnownErrors) is none to the kernel, which
    /// cannot wait for it.
    Scrub,
    /// Devices are trimmed. What the property `autotrim` does is none.
    Trim,
    /// A raidz is expanded. Since 2.3.
    RaidzExpansion,
}

impl PoolActivity {
    fn number(self) -> sys::zpool_wait_activity_t {
        match self {
            Self::CheckpointDiscard => sys::ZPOOL_WAIT_CKPT_DISCARD,
            Self::Free => sys::ZPOOL_WAIT_FREE,
            Self::Initialize => sys::ZPOOL_WAIT_INITIALIZE,
            Self::Replace => sys::ZPOOL_WAIT_REPLACE,
            Self::Remove => sys::ZPOOL_WAIT_REMOVE,
            Self::Resilver => sys::ZPOOL_WAIT_RESILVER,
            Self::Scrub => sys::ZPOOL_WAIT_SCRUB,
            Self::Trim => sys::ZPOOL_WAIT_TRIM,
            Self::RaidzExpansion => ZPOOL_WAIT_RAIDZ_EXPAND,
        }
    }
}

/// The words of `zpool wait -t`.
impl fmt::Display for PoolActivity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CheckpointDiscard => "discard",
            Self::Free => "free",
            Self::Initialize => "initialize",
            Self::Replace => "replace",
            Self::Remove => "remove",
            Self::Resilver => "resilver",
            Self::Scrub => "scrub",
            Self::Trim => "trim",
            Self::RaidzExpansion => "raidz_expand",
        })
    }
}

/// What is done to single devices and can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum DeviceActivity {
    /// It is initialised.
    Initialize,
    /// It is trimmed.
    Trim,
}

impl From<DeviceActivity> for PoolActivity {
    fn from(activity: DeviceActivity) -> Self {
        match activity {
            DeviceActivity::Initialize => Self::Initialize,
            DeviceActivity::Trim => Self::Trim,
        }
    }
}

/// How waiting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Waited {
    /// It was not under way.
    NotRunning,
    /// It was under way and is not any more: it came to its end or was stopped.
    Over,
    /// It is paused or suspended, and has not ended. The kernel does not wait for what is paused.
    Paused,
}

impl Pool {
    /// Waits until nothing of `activity` goes on in the pool.
    ///
    /// How it ended, [`status`](Self::status) tells. What begins after the wait has, is waited for
    /// as well.
    ///
    /// A signal does not end this, and neither does a pool that is suspended meanwhile. There is no
    /// limit of time: the kernel has none, and a thread that waits in the kernel cannot be called
    /// back. Who wants one looks at the [`status`](Self::status) every second, as the example
    /// `scrub_watch` does, or waits for [events](crate::events).
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `Unsupported` | the kernel does not know the activity |
    /// | `NotFound` | no pool of that name is imported, or not any more |
    /// | `ReadOnlyPool`, `PoolSuspended` | as they say, when the wait begins |
    ///
    /// # Privileges
    ///
    /// None. `lzc_wait`, `zpool-wait(8)`.
    #[doc(alias = "lzc_wait")]
    pub fn wait_for(&self, activity: PoolActivity) -> Result<Waited> {
        self.wait(activity, None).map_err(|error| {
            match error.errno() {
                // Nothing else of the request can be invalid.
                Some(Errno::EINVAL) => error.with_kind(ErrorKind::Unsupported),
                _ => error,
            }
        })
    }

    /// Waits until a device is not initialised or trimmed any more.
    ///
    /// Otherwise as [`wait_for`](Self::wait_for).
    ///
    /// Whoever waits is told a moment before the kernel lets go of the device. What is begun on it
    /// in that moment fails with `InProgress`, and works when tried again.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `NotFound` | the pool has no such device, or there is no such pool (any more) |
    /// | `ReadOnlyPool`, `PoolSuspended` | as they say, when the wait begins |
    ///
    /// # Privileges
    ///
    /// None. `lzc_wait_tag`.
    #[doc(alias = "lzc_wait_tag")]
    pub fn wait_for_device(
        &self,
        activity: DeviceActivity,
        device: impl Into<VdevId>,
    ) -> Result<Waited> {
        let device = self.vdev_guid(Operation::Wait, &device.into())?;
        self.wait(activity.into(), Some(device))
            .map_err(|error| match error.errno() {
                Some(Errno::EINVAL) => error
                    .with_kind(ErrorKind::NotFound)
                    .with_detail(format!("no device {device}")),
                _ => error,
            })
    }

    fn wait(&self, activity: PoolActivity, device: Option<u64>) -> Result<Waited> {
        let error = |errno| {
            Error::new(
                Operation::Wait,
                format!("{activity} of {}", self.name()),
                errno,
            )
        };
        let name = self.name().as_c_str();
        // A wait returns early when the pool is exported, even if it is not in the end. Only one
        // that finds nothing to wait for tells that there is nothing.
        let waited =
            until_idle(|| self.zfs().lzc().wait(name, activity.number(), device)).map_err(error)?;
        if self.is_paused(activity, device)? {
            return Ok(Waited::Paused);
        }
        Ok(match waited {
            true => Waited::Over,
            false => Waited::NotRunning,
        })
    }

    fn is_paused(&self, activity: PoolActivity, device: Option<u64>) -> Result<bool> {
        let state: fn(&Vdev) -> Option<ActivityState> = match activity {
            PoolActivity::Scrub => |_| None,
            PoolActivity::Initialize => |vdev| Some(vdev.stats.as_ref()?.initialize.state),
            PoolActivity::Trim => |vdev| Some(vdev.stats.as_ref()?.trim.state),
            _ => return Ok(false),
        };
        let status = self
            .status()
            .map_err(|error| error.during(Operation::Wait))?;
        if activity == PoolActivity::Scrub {
            return Ok(status.scan.is_some_and(|scan| {
                scan.function == ScanFunction::Scrub
                    && scan.state == ScanState::Scanning
                    && scan.paused.is_some()
            }));
        }
        Ok(status
            .vdevs()
            .filter(|vdev| vdev.kind.is_device() && device.is_none_or(|guid| guid == vdev.guid))
            .any(|vdev| state(vdev) == Some(ActivityState::Suspended)))
    }
}

impl Dataset {
    /// Waits until the space of the files that were deleted is freed, which is done in the
    /// background for large ones. Returns whether there was anything to wait for.
    ///
    /// Only a mounted filesystem works on that. Of one that is not mounted, is read-only, or is a
    /// volume, this returns at once, and it returns when the filesystem is unmounted meanwhile.
    /// A file that is deleted while it is open counts until it is closed.
    ///
    /// A signal does not end this, and there is no limit of time: see [`Pool::wait_for`].
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `NotFound` | the dataset does not exist, or not any more |
    /// | `ReadOnlyPool`, `PoolSuspended` | as they say, when the wait begins |
    ///
    /// # Privileges
    ///
    /// None. `lzc_wait_fs`, `zfs-wait(8)`.
    #[doc(alias = "lzc_wait_fs")]
    pub fn wait_for_delete_queue(&self) -> Result<bool> {
        let name = self.name.as_c_str();
        until_idle(|| self.zfs.lzc().wait_fs(name, sys::ZFS_WAIT_DELETEQ)).map_err(|errno| {
            Error::new(Operation::Wait, format!("deleteq of {}", self.name), errno)
        })
    }
}

/// Waits until there is nothing to wait for. Returns whether there was.
fn until_idle(mut wait: impl FnMut() -> Result<bool, Errno>) -> Result<bool, Errno> {
    let mut waited = false;
    loop {
        match wait() {
            Ok(false) => return Ok(waited),
            Ok(true) | Err(Errno::EINTR) => waited = true,
            Err(errno) => return Err(errno),
        }
    }
}
