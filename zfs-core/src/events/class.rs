use std::fmt;

macro_rules! classes {
    ($($(#[$doc:meta])* $name:ident = $text:literal since $since:literal;)*) => {
        /// What an event is about.
        ///
        /// The table has every class that OpenZFS 2.1 to 2.4 names. A class that it does not have is
        /// kept as it is, in [`Unknown`](Self::Unknown).
        ///
        /// Classes that begin with `ereport.` report that something went wrong, those with
        /// `resource.` the state of a device, those with `sysevent.` what was done.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum EventClass {
            $(
                $(#[$doc])*
                #[doc = concat!("\n\n`", $text, "`, since ", $since, ".")]
                $name,
            )*
            /// A class that this crate does not know, in the kernel's words.
            Unknown(String),
        }

        impl EventClass {
            /// Every class but the unknown ones.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The class that the kernel calls `text`.
            #[must_use]
            pub fn from_name(text: &str) -> Self {
                match text {
                    $($text => Self::$name,)*
                    _ => Self::Unknown(text.to_owned()),
                }
            }

            /// The kernel's word for it, as `zpool events` prints it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Unknown(text) => text,
                }
            }

            /// The first of the supported versions that posts it: `2.1`, `2.3` (which stands for
            /// 2.2 too) or `2.4`. `None` for an unknown one.
            #[must_use]
            pub fn since(&self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some($since),)*
                    Self::Unknown(_) => None,
                }
            }
        }
    };
}

classes! {
    /// A block did not have its checksum. Has an [I/O](super::EventIo), and the
    /// [damage](super::ChecksumDamage) where the right data could be found.
    Checksum = "ereport.fs.zfs.checksum" since "2.1";
    /// An encrypted block could not be authenticated.
    Authentication = "ereport.fs.zfs.authentication" since "2.1";
    /// A device failed to read or write.
    Io = "ereport.fs.zfs.io" since "2.1";
    /// Data were lost: no copy of a block could be read.
    Data = "ereport.fs.zfs.data" since "2.1";
    /// An I/O took longer than `zio_slow_io_ms`.
    Delay = "ereport.fs.zfs.delay" since "2.1";
    /// An I/O did not end for minutes.
    Deadman = "ereport.fs.zfs.deadman" since "2.1";
    /// A direct write whose buffer was changed while it was written.
    DirectWriteChanged = "ereport.fs.zfs.dio_verify_wr" since "2.3";
    /// A direct read whose buffer was changed while it was read.
    DirectReadChanged = "ereport.fs.zfs.dio_verify_rd" since "2.3";
    /// A pool could not be opened.
    PoolFailed = "ereport.fs.zfs.zpool" since "2.1";
    /// A vdev could not be opened, for a reason of no other class.
    VdevUnknown = "ereport.fs.zfs.vdev.unknown" since "2.1";
    /// A device could not be opened.
    VdevOpenFailed = "ereport.fs.zfs.vdev.open_failed" since "2.1";
    /// A device's label is damaged, or not that of the vdev.
    VdevCorruptData = "ereport.fs.zfs.vdev.corrupt_data" since "2.1";
    /// A vdev lost more of its children than it can do without.
    VdevNoReplicas = "ereport.fs.zfs.vdev.no_replicas" since "2.1";
    /// The pool's vdevs are not all there.
    VdevBadGuidSum = "ereport.fs.zfs.vdev.bad_guid_sum" since "2.1";
    /// A device is smaller than it was.
    VdevTooSmall = "ereport.fs.zfs.vdev.too_small" since "2.1";
    /// A device's label is of another vdev.
    VdevBadLabel = "ereport.fs.zfs.vdev.bad_label" since "2.1";
    /// A device wants larger sectors than its vdev has.
    VdevBadAshift = "ereport.fs.zfs.vdev.bad_ashift" since "2.1";
    /// The pool was suspended, or went on after an error (`failmode`).
    IoFailure = "ereport.fs.zfs.io_failure" since "2.1";
    /// A device did not answer a probe, and is not used any longer.
    ProbeFailure = "ereport.fs.zfs.probe_failure" since "2.1";
    /// The intent log could not be read.
    LogReplay = "ereport.fs.zfs.log_replay" since "2.1";
    /// The cache file could not be written.
    ConfigCacheWrite = "ereport.fs.zfs.config_cache_write" since "2.1";
    /// A device of a raidz is much slower than the others, and is not read from for a while.
    SitOut = "ereport.fs.zfs.sitout" since "2.4";

    /// A device was removed from the machine.
    DeviceRemoved = "resource.fs.zfs.removed" since "2.1";
    /// A device of a pool with `autoreplace` could not be opened.
    AutoReplace = "resource.fs.zfs.autoreplace" since "2.1";
    /// A vdev is in another state. [`EventVdev`](super::EventVdev) has both.
    StateChange = "resource.fs.zfs.statechange" since "2.1";
    /// A snapshot is to be mounted. Not posted on Linux.
    SnapshotMount = "resource.fs.zfs.snapshot_mount" since "2.1";
    /// A snapshot is to be unmounted. Not posted on Linux.
    SnapshotUnmount = "resource.fs.zfs.snapshot_unmount" since "2.1";
    /// A volume was created. Not posted on Linux.
    VolumeCreate = "resource.fs.zfs.zvol_create" since "2.1";
    /// A volume was destroyed. Not posted on Linux.
    VolumeRemove = "resource.fs.zfs.zvol_remove" since "2.1";

    /// A pool was created.
    PoolCreate = "sysevent.fs.zfs.pool_create" since "2.1";
    /// A pool was destroyed.
    PoolDestroy = "sysevent.fs.zfs.pool_destroy" since "2.1";
    /// A pool was imported.
    PoolImport = "sysevent.fs.zfs.pool_import" since "2.1";
    /// A pool was exported.
    PoolExport = "sysevent.fs.zfs.pool_export" since "2.1";
    /// A pool has a new identity.
    PoolReguid = "sysevent.fs.zfs.pool_reguid" since "2.1";
    /// A pool's configuration was written.
    ConfigSync = "sysevent.fs.zfs.config_sync" since "2.1";
    /// The kernel wrote into a pool's history [what it did](super::EventHistory).
    History = "sysevent.fs.zfs.history_event" since "2.1";
    /// A resilver or a rebuild began.
    ResilverStart = "sysevent.fs.zfs.resilver_start" since "2.1";
    /// A resilver or a rebuild ended.
    ResilverFinish = "sysevent.fs.zfs.resilver_finish" since "2.1";
    /// A scrub began.
    ScrubStart = "sysevent.fs.zfs.scrub_start" since "2.1";
    /// A scrub ended.
    ScrubFinish = "sysevent.fs.zfs.scrub_finish" since "2.1";
    /// A scrub was stopped.
    ScrubAbort = "sysevent.fs.zfs.scrub_abort" since "2.1";
    /// A paused scrub goes on.
    ScrubResume = "sysevent.fs.zfs.scrub_resume" since "2.1";
    /// A scrub was paused.
    ScrubPaused = "sysevent.fs.zfs.scrub_paused" since "2.1";
    /// A scrub of damaged blocks began.
    ErrorScrubStart = "sysevent.fs.zfs.errorscrub_start" since "2.3";
    /// A scrub of damaged blocks ended.
    ErrorScrubFinish = "sysevent.fs.zfs.errorscrub_finish" since "2.3";
    /// A scrub of damaged blocks was stopped.
    ErrorScrubAbort = "sysevent.fs.zfs.errorscrub_abort" since "2.3";
    /// A paused scrub of damaged blocks goes on.
    ErrorScrubResume = "sysevent.fs.zfs.errorscrub_resume" since "2.3";
    /// A scrub of damaged blocks was paused.
    ErrorScrubPaused = "sysevent.fs.zfs.errorscrub_paused" since "2.3";
    /// The trim of a device began.
    TrimStart = "sysevent.fs.zfs.trim_start" since "2.1";
    /// The trim of a device ended.
    TrimFinish = "sysevent.fs.zfs.trim_finish" since "2.1";
    /// The trim of a device was stopped.
    TrimCancel = "sysevent.fs.zfs.trim_cancel" since "2.1";
    /// The suspended trim of a device goes on.
    TrimResume = "sysevent.fs.zfs.trim_resume" since "2.1";
    /// The trim of a device was suspended.
    TrimSuspend = "sysevent.fs.zfs.trim_suspend" since "2.1";
    /// Vdevs were added. One event, whatever their number.
    VdevAdd = "sysevent.fs.zfs.vdev_add" since "2.1";
    /// A device was attached, or replaces another.
    VdevAttach = "sysevent.fs.zfs.vdev_attach" since "2.1";
    /// A device was attached to a pool that the machine boots from.
    BootVdevAttach = "sysevent.fs.zfs.bootfs_vdev_attach" since "2.1";
    /// A hot spare takes the place of a device.
    VdevSpare = "sysevent.fs.zfs.vdev_spare" since "2.1";
    /// A device was detached.
    VdevRemove = "sysevent.fs.zfs.vdev_remove" since "2.1";
    /// A spare or a cache device was removed.
    VdevRemoveAux = "sysevent.fs.zfs.vdev_remove_aux" since "2.1";
    /// A vdev of the top was removed.
    VdevRemoveTop = "sysevent.fs.zfs.vdev_remove_dev" since "2.1";
    /// A vdev's errors were cleared.
    VdevClear = "sysevent.fs.zfs.vdev_clear" since "2.1";
    /// A device that is missing should be looked for.
    VdevCheck = "sysevent.fs.zfs.vdev_check" since "2.1";
    /// A device was brought online.
    VdevOnline = "sysevent.fs.zfs.vdev_online" since "2.1";
    /// A device has become larger, and is to be expanded.
    VdevAutoExpand = "sysevent.fs.zfs.vdev_autoexpand" since "2.1";
}

impl EventClass {
    /// Whether it reports that something went wrong.
    #[must_use]
    pub fn is_report(&self) -> bool {
        self.as_str().starts_with("ereport.")
    }
}

impl From<&str> for EventClass {
    fn from(text: &str) -> Self {
        Self::from_name(text)
    }
}

impl fmt::Display for EventClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for EventClass {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_read_as_they_are_written() {
        let names: HashSet<&str> = EventClass::ALL.iter().map(EventClass::as_str).collect();
        assert_eq!(names.len(), EventClass::ALL.len());
        for class in EventClass::ALL {
            assert_eq!(EventClass::from_name(class.as_str()), *class);
            assert!(class.since().is_some());
        }
        let new = EventClass::from_name("ereport.fs.zfs.new");
        assert_eq!(new, EventClass::Unknown("ereport.fs.zfs.new".into()));
        assert!(new.is_report() && new.since().is_none());
        assert!(!EventClass::PoolCreate.is_report());
    }
}
