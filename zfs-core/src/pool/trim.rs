use super::targets::{Command, can_be_stopped};
use super::{ActivityState, Pool, Targets, Vdev};
use crate::error::{ErrorKind, Operation, Outcome, Result};
use std::num::NonZeroU64;
use zfs_core_sys as sys;

/// How to trim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrimOptions {
    rate: Option<NonZeroU64>,
    secure: bool,
}

impl TrimOptions {
    /// As fast as the devices are.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Trims this many bytes of each device in a second.
    ///
    /// The kernel counts anew for each metaslab, and waits between extents of up to 128 MiB: free
    /// space that is in one piece is trimmed at any rate.
    #[must_use]
    pub fn rate(mut self, bytes: NonZeroU64) -> Self {
        self.rate = Some(bytes);
        self
    }

    /// Has the devices erase every copy of what they free, which few can.
    #[must_use]
    pub fn secure(mut self) -> Self {
        self.secure = true;
        self
    }
}

fn state(vdev: &Vdev) -> ActivityState {
    vdev.stats
        .as_ref()
        .map_or(ActivityState::None, |stats| stats.trim.state)
}

impl Pool {
    /// Starts to tell devices which space is free, or goes on where it was suspended.
    ///
    /// This returns when it has started. [`wait_for`](crate::Pool::wait_for) and
    /// [`wait_for_device`](crate::Pool::wait_for_device) wait for it, and [`VdevStats::trim`]
    /// tells how far it is. One that was suspended keeps its rate, unless another is given, and
    /// stays secure. [`Targets::All`] are those that can trim.
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
    /// | `Unsupported` | of a device, or of all: it cannot trim, or not securely |
    /// | `InProgress` | of a device: it is being trimmed, or removed |
    /// | `InvalidArgument` | there are no devices, or one is named twice |
    /// | `NotFound` | no pool of that name is imported |
    /// | `PermissionDenied` | not root |
    /// | `ReadOnlyPool`, `PoolSuspended` | as they say |
    ///
    /// # Privileges
    ///
    /// Root. `lzc_trim`, `zpool-trim(8)`.
    ///
    /// [`VdevStats::trim`]: super::VdevStats::trim
    #[doc(alias = "lzc_trim")]
    pub fn trim(&self, targets: Targets<'_>, options: &TrimOptions) -> Result<Outcome> {
        let mut flags = String::new();
        if options.secure {
            flags.push_str(" -d");
        }
        if let Some(rate) = options.rate {
            flags.push_str(&format!(" -r {rate}"));
        }
        self.trim_command(
            targets,
            (sys::POOL_TRIM_START, options),
            (&flags, ErrorKind::Unsupported),
            |vdev| {
                vdev.stats
                    .as_ref()
                    .is_some_and(|stats| stats.trim_supported)
            },
        )
    }

    /// Suspends the trim of devices: [`trim`](Self::trim) goes on with it. It stays suspended when
    /// the pool is exported and imported.
    ///
    /// # Errors
    ///
    /// `NotInProgress` of a device, or of the pool for [`Targets::All`], that is not being trimmed;
    /// otherwise as [`trim`](Self::trim).
    ///
    /// # Privileges
    ///
    /// Root. `lzc_trim`, `zpool-trim(8)` with `-s`.
    #[doc(alias = "lzc_trim")]
    pub fn suspend_trim(&self, targets: Targets<'_>) -> Result<Outcome> {
        self.trim_command(
            targets,
            (sys::POOL_TRIM_SUSPEND, &TrimOptions::new()),
            (" -s", ErrorKind::NotInProgress),
            |vdev| state(vdev) == ActivityState::Active,
        )
    }

    /// Stops the trim of devices for good.
    ///
    /// # Errors
    ///
    /// `NotInProgress` of a device, or of the pool for [`Targets::All`], whose trim is neither
    /// under way nor suspended; otherwise as [`trim`](Self::trim).
    ///
    /// # Privileges
    ///
    /// Root. `lzc_trim`, `zpool-trim(8)` with `-c`.
    #[doc(alias = "lzc_trim")]
    pub fn cancel_trim(&self, targets: Targets<'_>) -> Result<Outcome> {
        self.trim_command(
            targets,
            (sys::POOL_TRIM_CANCEL, &TrimOptions::new()),
            (" -c", ErrorKind::NotInProgress),
            |vdev| can_be_stopped(state(vdev)),
        )
    }

    fn trim_command(
        &self,
        targets: Targets<'_>,
        (function, options): (sys::pool_trim_func_t, &TrimOptions),
        (flags, otherwise): (&str, ErrorKind),
        applies: impl Fn(&Vdev) -> bool,
    ) -> Result<Outcome> {
        let command = Command {
            operation: Operation::Trim,
            failures: sys::ZPOOL_TRIM_VDEVS,
            otherwise,
            line: format!("zpool trim{flags}"),
        };
        let rate = options.rate.map_or(0, NonZeroU64::get);
        self.command(targets, &command, applies, |vdevs| {
            self.zfs
                .lzc()
                .trim(self.name.as_c_str(), function, rate, options.secure, vdevs)
        })
    }
}
