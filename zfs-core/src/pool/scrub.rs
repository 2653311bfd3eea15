use super::{Pool, ScanFunction, ScanState, ScanStatus};
use crate::error::{Errno, Error, ErrorKind, Operation, Result};
use crate::nv::NvMap;
use zfs_core_sys::ioctl::{ZFS_IOC_POOL_SCAN, ZFS_IOC_POOL_SCRUB};
use zfs_core_sys::newer::{since_2_2, since_2_3};
use zfs_core_sys::{
    POOL_SCAN_NONE, POOL_SCAN_RESILVER, POOL_SCAN_SCRUB, POOL_SCRUB_NORMAL, POOL_SCRUB_PAUSE,
};

/// What a scrub goes through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Scrub {
    /// Everything.
    #[default]
    Everything,
    /// The blocks in which the last scrub found errors. Since 2.2.
    KnownErrors,
    /// What was written after the last scrub that came to its end: everything, if there was none.
    /// Since 2.3.
    SinceLast,
    /// What was written in a span of time, in seconds since 1970. Since 2.4.
    ///
    /// The kernel notes every ten minutes which transaction group it is at, later on only one a
    /// day and one a month. It rounds the span up to what it has noted, and so to everything for a
    /// pool that has no notes yet.
    Written {
        /// From when on: `None` for the beginning.
        from: Option<u64>,
        /// Until when: `None` for now.
        until: Option<u64>,
    },
}

impl Scrub {
    /// What the command takes for it.
    fn flags(self) -> String {
        match self {
            Self::Everything => String::new(),
            Self::KnownErrors => String::from(" -e"),
            Self::SinceLast => String::from(" -C"),
            Self::Written { from, until } => [(" -S ", from), (" -E ", until)]
                .into_iter()
                .filter_map(|(flag, time)| Some(format!("{flag}{}", time?)))
                .collect(),
        }
    }
}

/// What the kernel is doing of what excludes each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Running {
    Nothing,
    Resilver,
    Scrub { paused: bool },
    ErrorScrub { paused: bool },
}

impl Running {
    fn of(scan: Option<&ScanStatus>) -> Self {
        let Some(scan) = scan else {
            return Self::Nothing;
        };
        match (scan.function, scan.state, &scan.error_scrub) {
            (ScanFunction::Scrub, ScanState::Scanning, _) => Self::Scrub {
                paused: scan.paused.is_some(),
            },
            (_, ScanState::Scanning, _) => Self::Resilver,
            (_, _, Some(errors)) if errors.state == ScanState::ErrorScrubbing => Self::ErrorScrub {
                paused: errors.paused.is_some(),
            },
            _ => Self::Nothing,
        }
    }

    fn description(self) -> &'static str {
        match self {
            // The rebuild of a sequential resilver is none of the scans.
            Self::Nothing | Self::Resilver => "a resilver is in progress",
            Self::Scrub { paused: false } => "a scrub is in progress",
            Self::Scrub { paused: true } => "a scrub is paused",
            Self::ErrorScrub { paused: false } => "a scrub of known errors is in progress",
            Self::ErrorScrub { paused: true } => "a scrub of known errors is paused",
        }
    }
}

impl Pool {
    /// Starts a scrub: reads what the pool has stored, checks it, and repairs it where there is
    /// another copy.
    ///
    /// This returns when it has started. [`PoolStatus::scan`](super::PoolStatus::scan) tells how far
    /// it is, and [`wait_for`](Self::wait_for) waits for its end. It goes on after an export and an
    /// import.
    ///
    /// The kernel takes the request for a scrub as one to go on with a scrub that is paused,
    /// whatever that goes through. So that nobody is told of a scrub that is another, this one is
    /// refused then: [`resume_scrub`](Self::resume_scrub) says what is meant.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `InProgress` | a scrub is running or paused, or a resilver is running: the detail says which |
    /// | `NotFound` | for [`Scrub::KnownErrors`]: the last scrub found none |
    /// | `Unsupported` | the kernel, or for [`Scrub::KnownErrors`] the pool, which needs the feature `head_errlog`, does not have this kind of scrub |
    /// | `InvalidArgument` | the span of time ends before it begins |
    /// | `NotFound` | no pool of that name is imported |
    /// | `PermissionDenied` | not root |
    /// | `ReadOnlyPool`, `PoolSuspended` | as they say |
    ///
    /// # Privileges
    ///
    /// Root. `zpool-scrub(8)`; request `ZFS_IOC_POOL_SCAN`, which all versions have, or, for what it
    /// has no words for, the request behind `lzc_scrub`.
    #[doc(alias = "lzc_scrub")]
    #[doc(alias = "ZFS_IOC_POOL_SCAN")]
    #[doc(alias = "ZFS_IOC_POOL_SCRUB")]
    #[doc(alias = "zpool_scan")]
    pub fn scrub(&self, what: Scrub) -> Result<()> {
        if let Scrub::Written {
            from: Some(from),
            until: Some(until),
        } = what
        {
            if until < from {
                return Err(self.scrub_refused(
                    ErrorKind::InvalidArgument,
                    "the span of time ends before it begins",
                ));
            }
        }
        let running = self.running()?;
        if let Running::Scrub { paused: true } | Running::ErrorScrub { paused: true } = running {
            return Err(self.scrub_refused(ErrorKind::InProgress, running.description()));
        }
        let outcome = match what {
            Scrub::Everything => self.scan(POOL_SCAN_SCRUB, POOL_SCRUB_NORMAL),
            Scrub::KnownErrors => self.scan(since_2_2::POOL_SCAN_ERRORSCRUB, POOL_SCRUB_NORMAL),
            Scrub::SinceLast => self.scrub_part(since_2_3::POOL_SCRUB_FROM_LAST_TXG, None, None),
            Scrub::Written { from, until } => self.scrub_part(POOL_SCRUB_NORMAL, from, until),
        };
        match outcome {
            Ok(()) => {}
            Err(errno @ Errno::ECANCELED) => {
                let error = self.scrub_error(errno);
                return Err(if what == Scrub::KnownErrors {
                    error
                        .with_kind(ErrorKind::NotFound)
                        .with_detail("the last scrub found no errors")
                } else {
                    // 2.1 says so when it went on with a scrub that was paused a moment ago.
                    error
                        .with_kind(ErrorKind::InProgress)
                        .with_detail("a paused scrub goes on")
                });
            }
            // A module that knows the request and not this use of it.
            Err(errno @ Errno::EINVAL) => {
                return Err(self.scrub_error(errno).with_kind(ErrorKind::Unsupported));
            }
            Err(errno) => return Err(self.scrub_error(errno)),
        }
        self.zfs
            .record(|| format!("zpool scrub{} {}", what.flags(), self.name));
        Ok(())
    }

    /// Pauses the scrub, of whatever kind. It stays paused when the pool is exported and imported.
    ///
    /// # Errors
    ///
    /// `NotInProgress` when no scrub is under way; `InProgress` when it is paused already, or a
    /// resilver is under way, which cannot be; otherwise as [`scrub`](Self::scrub).
    ///
    /// # Privileges
    ///
    /// Root. `zpool-scrub(8)` with `-p`, request `ZFS_IOC_POOL_SCAN`.
    pub fn pause_scrub(&self) -> Result<()> {
        self.scan(POOL_SCAN_SCRUB, POOL_SCRUB_PAUSE)
            .map_err(|errno| self.scrub_error(errno))?;
        self.zfs.record(|| format!("zpool scrub -p {}", self.name));
        Ok(())
    }

    /// Goes on with the scrub that is paused, of whatever kind.
    ///
    /// 2.1 answers this with an error, so that no line of it gets into the history. The kernel has
    /// one request to start and to resume. When somebody stops the paused scrub
    /// between the look at it and the request, this starts a new one.
    ///
    /// # Errors
    ///
    /// `NotInProgress` when no scrub is paused; otherwise as [`scrub`](Self::scrub).
    ///
    /// # Privileges
    ///
    /// Root. `zpool-scrub(8)`, request `ZFS_IOC_POOL_SCAN`.
    pub fn resume_scrub(&self) -> Result<()> {
        let (function, flag) = match self.running()? {
            Running::Scrub { paused: true } => (POOL_SCAN_SCRUB, ""),
            Running::ErrorScrub { paused: true } => (since_2_2::POOL_SCAN_ERRORSCRUB, " -e"),
            _ => {
                return Err(self.scrub_refused(ErrorKind::NotInProgress, "no scrub is paused"));
            }
        };
        match self.scan(function, POOL_SCRUB_NORMAL) {
            // With this number 2.1 says that it did.
            Ok(()) | Err(Errno::ECANCELED) => {}
            Err(errno) => return Err(self.scrub_error(errno)),
        }
        self.zfs
            .record(|| format!("zpool scrub{flag} {}", self.name));
        Ok(())
    }

    /// Stops the scrub, running or paused, of whatever kind.
    ///
    /// One of [known errors](Scrub::KnownErrors) that is stopped has forgotten them: the next needs
    /// a scrub of everything before it.
    ///
    /// # Errors
    ///
    /// `NotInProgress` when there is none; `InProgress` when a resilver is under way, which cannot
    /// be stopped; otherwise as [`scrub`](Self::scrub).
    ///
    /// # Privileges
    ///
    /// Root. `zpool-scrub(8)` with `-s`, request `ZFS_IOC_POOL_SCAN`.
    pub fn stop_scrub(&self) -> Result<()> {
        self.scan(POOL_SCAN_NONE, POOL_SCRUB_NORMAL)
            .map_err(|errno| self.scrub_error(errno))?;
        self.zfs.record(|| format!("zpool scrub -s {}", self.name));
        Ok(())
    }

    /// Starts the resilver anew, with the devices that wait for the end of the one under way.
    /// Without anything to resilver it does nothing.
    ///
    /// # Errors
    ///
    /// `Unsupported` when the feature `resilver_defer` is not enabled; otherwise as
    /// [`scrub`](Self::scrub).
    ///
    /// # Privileges
    ///
    /// Root. `zpool-resilver(8)`, request `ZFS_IOC_POOL_SCAN`.
    pub fn restart_resilver(&self) -> Result<()> {
        self.scan(POOL_SCAN_RESILVER, POOL_SCRUB_NORMAL)
            .map_err(|errno| self.scrub_error(errno))?;
        self.zfs.record(|| format!("zpool resilver {}", self.name));
        Ok(())
    }

    fn scan(&self, function: u32, command: u32) -> Result<(), Errno> {
        let mut request = self.zfs.request(ZFS_IOC_POOL_SCAN, self.name.as_c_str());
        request.cmd().zc_cookie = function.into();
        request.cmd().zc_tail.fields.zc_flags = command;
        request.run()
    }

    /// The newer request, for the arguments that the older one has no place for.
    fn scrub_part(&self, command: u32, from: Option<u64>, until: Option<u64>) -> Result<(), Errno> {
        // 2.3 carries it out on a suspended or read-only pool, and waits for ever. The older request
        // is refused on those, and does nothing with a command that there is not.
        match self.scan(POOL_SCAN_SCRUB, u32::MAX) {
            Err(Errno::EINVAL) | Ok(()) => {}
            Err(errno) => return Err(errno),
        }
        let mut arguments = NvMap::new();
        arguments.insert(c"scan_type", u64::from(POOL_SCAN_SCRUB));
        arguments.insert(c"scan_command", u64::from(command));
        if let Some(from) = from {
            arguments.insert(c"scan_date_start", from);
        }
        if let Some(until) = until {
            arguments.insert(c"scan_date_end", until);
        }
        let Ok(mut request) = self
            .zfs
            .request(ZFS_IOC_POOL_SCRUB, self.name.as_c_str())
            .input(&arguments)
        else {
            return Err(Errno::EINVAL);
        };
        request.run()
    }

    fn running(&self) -> Result<Running> {
        let status = self
            .status()
            .map_err(|error| error.during(Operation::Scrub))?;
        Ok(Running::of(status.scan.as_ref()))
    }

    fn scrub_refused(&self, kind: ErrorKind, detail: &str) -> Error {
        Error::refused(Operation::Scrub, self.name.as_str(), kind, detail)
    }

    /// Says which of the causes of a number it was.
    fn scrub_error(&self, errno: Errno) -> Error {
        let error = Error::new(Operation::Scrub, self.name.as_str(), errno);
        match errno {
            Errno::ENOENT if self.exists().is_ok_and(|exists| exists) => {
                error.with_kind(ErrorKind::NotInProgress)
            }
            Errno::EBUSY => match self.running() {
                Ok(running) => error.with_detail(running.description()),
                Err(_) => error,
            },
            _ => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Scrub;

    #[test]
    fn flags_are_those_of_the_command() {
        let written = |from, until| Scrub::Written { from, until }.flags();
        assert_eq!(Scrub::Everything.flags(), "");
        assert_eq!(Scrub::SinceLast.flags(), " -C");
        assert_eq!(written(None, None), "");
        assert_eq!(written(Some(1), None), " -S 1");
        assert_eq!(written(Some(1), Some(2)), " -S 1 -E 2");
    }
}
