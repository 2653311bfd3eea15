use super::targets::{Command, can_be_stopped};
use super::{ActivityState, Pool, Targets, Vdev};
use crate::error::{ErrorKind, Operation, Outcome, Result};
use zfs_core_sys as sys;
use zfs_core_sys::newer::since_2_2::POOL_INITIALIZE_UNINIT;

fn state(vdev: &Vdev) -> ActivityState {
    vdev.stats
        .as_ref()
        .map_or(ActivityState::None, |stats| stats.initialize.state)
}

impl Pool {
    /// Starts to write to all free space of devices, so that storage that is given out on first
    /// use is given out, or goes on where it was suspended.
    ///
    /// This returns when it has started. [`wait_for`](crate::Pool::wait_for) and
    /// [`wait_for_device`](crate::Pool::wait_for_device) wait for it, and [`VdevStats::initialize`]
    /// tells how far it is. Of a device that was initialised to the end there is nothing left to
    /// do, until it is [made so again](Self::uninitialize).
    ///
    /// # Errors
    ///
    /// Each device succeeds or fails by itself. The [failures](Outcome::failures) name devices by
    /// their paths, where the pool knows them.
    ///
    /// | kind | when |
    /// |---|---|
    /// | `NotFound` | of a device: the pool has none of that identity. A path that it does not have ends the call |
    /// | `WrongKind` | of a device: it is a group of devices, or a removed one |
    /// | `DeviceUnavailable` | of a device: it is offline, faulted or missing |
    /// | `InProgress` | of a device: it is being initialised, or removed |
    /// | `InvalidArgument` | there are no devices, or one is named twice |
    /// | `NotFound` | no pool of that name is imported |
    /// | `PermissionDenied` | not root |
    /// | `ReadOnlyPool`, `PoolSuspended` | as they say |
    ///
    /// # Privileges
    ///
    /// Root. `lzc_initialize`, `zpool-initialize(8)`.
    ///
    /// [`VdevStats::initialize`]: super::VdevStats::initialize
    #[doc(alias = "lzc_initialize")]
    pub fn initialize(&self, targets: Targets<'_>) -> Result<Outcome> {
        self.initialize_command(
            targets,
            sys::POOL_INITIALIZE_START,
            ("", ErrorKind::NotFound),
            |_| true,
        )
    }

    /// Suspends the initialisation of devices: [`initialize`](Self::initialize) goes on with it.
    /// It stays suspended when the pool is exported and imported.
    ///
    /// # Errors
    ///
    /// `NotInProgress` of a device, or of the pool for [`Targets::All`], that is not being
    /// initialised; otherwise as [`initialize`](Self::initialize).
    ///
    /// # Privileges
    ///
    /// Root. `lzc_initialize`, `zpool-initialize(8)` with `-s`.
    #[doc(alias = "lzc_initialize")]
    pub fn suspend_initialize(&self, targets: Targets<'_>) -> Result<Outcome> {
        self.initialize_command(
            targets,
            sys::POOL_INITIALIZE_SUSPEND,
            (" -s", ErrorKind::NotInProgress),
            |vdev| state(vdev) == ActivityState::Active,
        )
    }

    /// Stops the initialisation of devices for good.
    ///
    /// # Errors
    ///
    /// `NotInProgress` of a device, or of the pool for [`Targets::All`], whose initialisation is
    /// neither under way nor suspended; otherwise as [`initialize`](Self::initialize).
    ///
    /// # Privileges
    ///
    /// Root. `lzc_initialize`, `zpool-initialize(8)` with `-c`.
    #[doc(alias = "lzc_initialize")]
    pub fn cancel_initialize(&self, targets: Targets<'_>) -> Result<Outcome> {
        self.initialize_command(
            targets,
            sys::POOL_INITIALIZE_CANCEL,
            (" -c", ErrorKind::NotInProgress),
            |vdev| can_be_stopped(state(vdev)),
        )
    }

    /// Forgets that devices were initialised, so that they can be again. Since 2.2.
    ///
    /// # Errors
    ///
    /// `Unsupported` from an older kernel; otherwise as [`initialize`](Self::initialize).
    ///
    /// # Privileges
    ///
    /// Root. `lzc_initialize`, `zpool-initialize(8)` with `-u`.
    #[doc(alias = "lzc_initialize")]
    pub fn uninitialize(&self, targets: Targets<'_>) -> Result<Outcome> {
        self.initialize_command(
            targets,
            POOL_INITIALIZE_UNINIT,
            (" -u", ErrorKind::NotFound),
            |_| true,
        )
        .map_err(|error| match error.errno() {
            // Nothing else of the request can be invalid.
            Some(crate::Errno::EINVAL) => error.with_kind(ErrorKind::Unsupported),
            _ => error,
        })
    }

    fn initialize_command(
        &self,
        targets: Targets<'_>,
        function: sys::pool_initialize_func_t,
        (flag, otherwise): (&str, ErrorKind),
        applies: impl Fn(&Vdev) -> bool,
    ) -> Result<Outcome> {
        let command = Command {
            operation: Operation::Initialize,
            failures: sys::ZPOOL_INITIALIZE_VDEVS,
            otherwise,
            line: format!("zpool initialize{flag}"),
        };
        self.command(targets, &command, applies, |vdevs| {
            self.zfs
                .lzc()
                .initialize(self.name.as_c_str(), function, vdevs)
        })
    }
}
