//! Taking devices offline, and back.

use super::VdevId;
use super::survey::{Survey, Target};
use crate::error::{Errno, Error, ErrorKind, Operation, Result};
use crate::pool::Pool;
use crate::pool::health::VdevState;
use crate::pool::vdev::{VdevClass, VdevKind};
use zfs_core_sys::ioctl::{ZFS_IOC_CLEAR, ZFS_IOC_VDEV_SET_STATE};

/// How long a device stays out of use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OfflineMode {
    /// Until it is brought back, also when the pool is imported anew.
    #[default]
    Persistent,
    /// Until it is brought back or the pool is imported anew.
    Temporary,
}

/// What bringing a device online does beside that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnlineMode {
    /// Nothing.
    #[default]
    Plain,
    /// Uses the space that the device has grown by.
    Expand,
    /// Lets go of the hot spare that stands in for the device, when the device has all its data.
    Unspare,
}

/// States, as requests name them.
const STATE_OFFLINE: u64 = 2;
const STATE_FAULTED: u64 = 5;
const STATE_ONLINE: u64 = 7;

const OFFLINE_TEMPORARY: u64 = 1;
const ONLINE_UNSPARE: u64 = 2;
const ONLINE_EXPAND: u64 = 8;

/// Why a device is faulted: from outside, until the next import or beyond it.
const FAULT_TEMPORARY: u64 = 14;
const FAULT_PERSISTENT: u64 = 17;

/// Errors are cleared as the pool is, without going back in time.
const NO_REWIND: u64 = 1;

impl Pool {
    /// Takes a device offline: nothing is read from it or written to it any more.
    ///
    /// What the pool writes meanwhile is resilvered when it is [brought back](Self::online). The
    /// log on a device of the intent log is written to the pool first.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `NotFound` | no pool of that name is imported, or it has no such vdev |
    /// | `LastCopy` | the rest of the pool does not have all that the device has |
    /// | `WrongKind` | the vdev is a group, a hot spare that waits, or a distributed spare |
    /// | `Busy` | a device of the intent log has records of a dataset that was not mounted since |
    /// | `InProgress` | the pool's checkpoint needs what is on a device of the intent log |
    /// | `ReadOnlyPool`, `PoolSuspended` | as they say |
    ///
    /// # Privileges
    ///
    /// root. `zpool-offline(8)`, request `ZFS_IOC_VDEV_SET_STATE`.
    #[doc(alias = "ZFS_IOC_VDEV_SET_STATE")]
    #[doc(alias = "zpool_vdev_offline")]
    pub fn offline(&self, vdev: impl Into<VdevId>, mode: OfflineMode) -> Result<()> {
        let (survey, target) = self.target(Operation::OfflineVdev, &vdev.into())?;
        target.device_in_use()?;
        if target.kind == VdevKind::DraidSpare {
            return Err(target.refuse(ErrorKind::WrongKind, "it is a distributed spare"));
        }
        let is_offline = survey
            .find(&VdevId::Guid(target.guid))
            .is_some_and(|vdev| vdev.state == VdevState::Offline);
        // The kernel writes the log to the pool before it does without its device.
        if target.class != VdevClass::Log && !is_offline {
            target.keep_last_copy(&survey)?;
        }
        let (flags, option) = match mode {
            OfflineMode::Persistent => (0, ""),
            OfflineMode::Temporary => (OFFLINE_TEMPORARY, "-t "),
        };
        self.set_state(&target, STATE_OFFLINE, flags)
            .map_err(|error| match error.kind() {
                ErrorKind::LastCopy if target.class == VdevClass::Log => error
                    .with_kind(ErrorKind::Busy)
                    .with_detail("its records were not replayed: mount what they are of"),
                _ => error,
            })?;
        self.record_vdev("offline", option, &target);
        Ok(())
    }

    /// Brings a device back online, and returns what became of it.
    ///
    /// A device that is there again is [`Healthy`](VdevState::Healthy), and what it has missed is
    /// resilvered. One that cannot be opened or was faulted stays in its state: this is no error.
    /// A faulted one is brought back by [`clear_vdev`](Self::clear_vdev), which also lets go of a
    /// hot spare that stands in for it.
    ///
    /// [`OnlineMode::Expand`] does not change partitions: on a disk that ZFS was given whole, which
    /// the `zpool` command partitions anew, that is left to the caller.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `NotFound` | no pool of that name is imported, or it has no such vdev |
    /// | `WrongKind` | the vdev is a group or a hot spare that waits, or a cache that is to expand |
    /// | `ReadOnlyPool`, `PoolSuspended` | as they say |
    ///
    /// # Privileges
    ///
    /// root. `zpool-online(8)`, request `ZFS_IOC_VDEV_SET_STATE`.
    #[doc(alias = "zpool_vdev_online")]
    pub fn online(&self, vdev: impl Into<VdevId>, mode: OnlineMode) -> Result<VdevState> {
        let (_, target) = self.target(Operation::OnlineVdev, &vdev.into())?;
        target.device_in_use()?;
        let (flags, option) = match mode {
            OnlineMode::Plain => (0, ""),
            OnlineMode::Expand if target.class == VdevClass::Cache => {
                return Err(target.refuse(ErrorKind::WrongKind, "a cache cannot expand"));
            }
            OnlineMode::Expand => (ONLINE_EXPAND, "-e "),
            OnlineMode::Unspare => (ONLINE_UNSPARE, ""),
        };
        let state = self.set_state(&target, STATE_ONLINE, flags)?;
        self.record_vdev("online", option, &target);
        Ok(VdevState::from_raw(state))
    }

    /// Marks a device as faulted, as if it had failed: nothing is read from it or written to it
    /// until its errors are [cleared](Self::clear_vdev).
    ///
    /// Unlike [`offline`](Self::offline) this does not write the log on a device of the intent log
    /// to the pool first. So one that has no mirror is refused: take it offline instead.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `NotFound` | no pool of that name is imported, or it has no such vdev |
    /// | `LastCopy` | the rest of the pool does not have all that the device has |
    /// | `WrongKind` | the vdev is a group or a hot spare that waits |
    /// | `ReadOnlyPool`, `PoolSuspended` | as they say |
    ///
    /// The kernel does not refuse the last copy, but marks it as degraded. Should that happen
    /// because of a change at the same time, the mark is cleared, and the error is `LastCopy`.
    ///
    /// # Privileges
    ///
    /// root. `zpool-offline(8)` with `-f`, request `ZFS_IOC_VDEV_SET_STATE`.
    #[doc(alias = "zpool_vdev_fault")]
    pub fn fault(&self, vdev: impl Into<VdevId>, mode: OfflineMode) -> Result<()> {
        const OPERATION: Operation = Operation::FaultVdev;
        let (survey, target) = self.target(OPERATION, &vdev.into())?;
        target.device_in_use()?;
        target.keep_last_copy(&survey)?;
        let (why, option) = match mode {
            OfflineMode::Persistent => (FAULT_PERSISTENT, "-f "),
            OfflineMode::Temporary => (FAULT_TEMPORARY, "-ft "),
        };
        self.set_state(&target, STATE_FAULTED, why)?;
        self.record_vdev("offline", option, &target);

        let survey = self.survey_any(OPERATION)?;
        let state = survey
            .find(&VdevId::Guid(target.guid))
            .map(|vdev| vdev.state);
        if state == Some(VdevState::Degraded) {
            self.clear_guid(&survey, target.guid, |errno| target.failed(errno))?;
            return Err(target.refuse(ErrorKind::LastCopy, "the kernel left it in use"));
        }
        Ok(())
    }

    /// Clears the error counts of all devices, brings faulted ones back that work again, and lets a
    /// suspended pool go on.
    ///
    /// A pool that could not be opened is tried again. It is not taken back to an earlier
    /// transaction group. A suspended pool whose devices still fail is suspended again, possibly
    /// after the call is over. That a suspended pool was cleared is not written into its history,
    /// for the line would wait with the pool.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `NotFound` | no pool of that name is imported |
    /// | `Io` | the devices of a suspended pool still fail |
    /// | `OtherHost` | the pool was suspended because another host may use it. 2.1 answers so whenever a pool with `multihost` is suspended, and such a pool cannot be exported any more after that |
    /// | `ReadOnlyPool` | as it says |
    ///
    /// # Privileges
    ///
    /// root. `zpool-clear(8)`, request `ZFS_IOC_CLEAR`.
    #[doc(alias = "ZFS_IOC_CLEAR")]
    #[doc(alias = "zpool_clear")]
    pub fn clear(&self) -> Result<()> {
        const OPERATION: Operation = Operation::ClearErrors;
        let survey = self.survey_any(OPERATION)?;
        let name = self.name.as_str();
        let failed = |errno| Error::new(OPERATION, name, errno);
        if self.clear_guid(&survey, 0, failed)? {
            self.zfs.record(|| format!("zpool clear {name}"));
        }
        Ok(())
    }

    /// Clears the error counts of one device, or of a group and all in it, and brings what was
    /// faulted there back if it works again. A suspended pool goes on, as with
    /// [`clear`](Self::clear).
    ///
    /// # Errors
    ///
    /// As of [`clear`](Self::clear), and
    ///
    /// | kind | when |
    /// |---|---|
    /// | `NotFound` | the pool has no such vdev |
    /// | `WrongKind` | it is a hot spare that waits |
    ///
    /// # Privileges
    ///
    /// root. `zpool-clear(8)`, request `ZFS_IOC_CLEAR`.
    #[doc(alias = "zpool_vdev_clear")]
    pub fn clear_vdev(&self, vdev: impl Into<VdevId>) -> Result<()> {
        const OPERATION: Operation = Operation::ClearErrors;
        let survey = self.survey_any(OPERATION)?;
        let target = self.target_in(&survey, OPERATION, &vdev.into())?;
        if target.class == VdevClass::Spare {
            return Err(target.refuse(ErrorKind::WrongKind, "it is a hot spare that waits"));
        }
        if self.clear_guid(&survey, target.guid, |errno| target.failed(errno))? {
            self.record_vdev("clear", "", &target);
        }
        Ok(())
    }

    /// Clears a vdev, or all of them. Returns whether that goes into the history.
    fn clear_guid(
        &self,
        before: &Survey,
        guid: u64,
        failed: impl Fn(Errno) -> Error,
    ) -> Result<bool> {
        let mut request = self.vdev_request(ZFS_IOC_CLEAR, guid);
        request.cmd().zc_cookie = NO_REWIND;
        request.run().map_err(&failed)?;
        if before.status.suspended.is_none() {
            return Ok(true);
        }
        let after = self.survey_any(Operation::ClearErrors)?;
        if after.status.suspended.is_some() {
            return Err(failed(Errno::EIO).with_detail("the devices still fail"));
        }
        // Writing a line waits until I/O works, and it can be found a moment later that it does
        // not yet.
        Ok(false)
    }

    /// Asks for a state, and returns the one that the kernel answers with.
    fn set_state(&self, target: &Target, state: u64, argument: u64) -> Result<u64> {
        let mut request = self.vdev_request(ZFS_IOC_VDEV_SET_STATE, target.guid);
        request.cmd().zc_cookie = state;
        request.cmd().zc_obj = argument;
        request.run().map_err(|errno| target.failed(errno))?;
        Ok(request.cookie())
    }

    /// Records what was done to one vdev, with `options` of the command that end in a space.
    pub(super) fn record_vdev(&self, command: &str, options: &str, target: &Target) {
        let (pool, vdev) = (self.name.as_str(), &target.name);
        self.zfs
            .record(|| format!("zpool {command} {options}{pool} {vdev}"));
    }
}
