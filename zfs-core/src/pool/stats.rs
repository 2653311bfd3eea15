use zfs_core_sys::ioctl as word;

/// A figure for each kind of I/O.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct IoCounts {
    /// Of no kind.
    pub null: u64,
    /// Reads.
    pub read: u64,
    /// Writes.
    pub write: u64,
    /// Frees.
    pub free: u64,
    /// Claims of blocks of the intent log when the pool is imported.
    pub claim: u64,
    /// Flushes of the device's cache and other commands, among them trims.
    pub flush: u64,
}

/// How far an initialisation or a trim has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ActivityState {
    /// There was none.
    None,
    /// Under way.
    Active,
    /// Stopped for good.
    Canceled,
    /// Paused.
    Suspended,
    /// At its end.
    Complete,
    /// A number that this crate does not know.
    Unknown(u64),
}

impl ActivityState {
    /// Gives the kernel's number its meaning.
    #[must_use]
    #[doc(alias = "vdev_initializing_state_t")]
    #[doc(alias = "vdev_trim_state_t")]
    pub const fn from_raw(raw: u64) -> Self {
        match raw {
            0 => Self::None,
            1 => Self::Active,
            2 => Self::Canceled,
            3 => Self::Suspended,
            4 => Self::Complete,
            _ => Self::Unknown(raw),
        }
    }
}

/// An initialisation or a trim of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Activity {
    /// How far it is.
    pub state: ActivityState,
    /// Bytes done.
    pub done: u64,
    /// Bytes in all, as estimated.
    pub estimate: u64,
    /// When the state changed last, in seconds since 1970; 0 for never.
    pub since: u64,
    /// How many of its writes failed.
    pub errors: u64,
}

/// The counters of a vdev. Those of I/O and of errors start at zero when the pool is imported, and
/// `zpool clear` sets those of errors back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[doc(alias = "vdev_stat_t")]
#[non_exhaustive]
pub struct VdevStats {
    /// Nanoseconds since the vdev was opened.
    pub age: u64,
    /// Bytes in use.
    pub allocated: u64,
    /// Bytes in all. Neither is filled in for a device below a mirror or a raidz.
    pub size: u64,
    /// Bytes in all after what raidz needs for parity is taken off.
    pub deflated_size: u64,
    /// Bytes that a device in its place needs to have.
    pub replaceable_size: u64,
    /// Bytes that the device has grown by and that the pool does not use yet.
    pub expandable_size: u64,
    /// Bytes of the device itself. `None` from a kernel that does not tell.
    pub physical_size: Option<u64>,
    /// Operations.
    pub ops: IoCounts,
    /// Bytes read, written and so on.
    pub bytes: IoCounts,
    /// Reads that failed.
    pub read_errors: u64,
    /// Writes that failed.
    pub write_errors: u64,
    /// Blocks that had a wrong checksum.
    pub checksum_errors: u64,
    /// Direct writes whose data changed while they were under way. Since 2.3.
    pub direct_io_errors: Option<u64>,
    /// I/O that took longer than `zio_slow_io_ms`.
    pub slow_ios: u64,
    /// Bytes repaired from a good copy.
    pub self_healed: u64,
    /// Bytes that the scrub or resilver wrote.
    pub scan_processed: u64,
    /// Bytes that the sequential resilver wrote.
    pub rebuild_processed: u64,
    /// Whether a resilver of this device waits for another to end.
    pub resilver_deferred: bool,
    /// Whether the device is being taken out of the pool.
    pub removing: bool,
    /// Whether nothing new is written to it. Since 2.2.
    pub no_alloc: Option<bool>,
    /// How broken up the free space is, in percent. `None` when the kernel does not know.
    pub fragmentation: Option<u64>,
    /// Bytes that only the checkpoint uses.
    pub checkpoint_space: u64,
    /// The initialisation.
    pub initialize: Activity,
    /// The trim.
    pub trim: Activity,
    /// Whether the device can trim.
    pub trim_supported: bool,
    /// The base-2 logarithm of the sector size that it was added with; 0 when there is none.
    pub configured_ashift: u64,
    /// That of the sectors that it presents.
    pub logical_ashift: u64,
    /// That of the sectors that it has.
    pub physical_ashift: u64,
}

/// Words that there are in each version.
const COMMON: usize = word::VS_PHYSICAL_ASHIFT + 1;

impl VdevStats {
    /// Reads the kernel's array, whose length tells its version.
    pub(super) fn read(words: &[u64]) -> Result<Self, String> {
        if words.len() < COMMON {
            return Err(format!("vdev_stats of {} words", words.len()));
        }
        let at = |index: usize| words.get(index).copied().unwrap_or_default();
        let counts = |base: usize| IoCounts {
            null: at(base),
            read: at(base + 1),
            write: at(base + 2),
            free: at(base + 3),
            claim: at(base + 4),
            flush: at(base + 5),
        };
        // The word that ends the array of 2.1 means something else since there is one more.
        let since_2_2 = words.len() > word::VS_PSPACE;
        Ok(Self {
            age: at(word::VS_TIMESTAMP),
            allocated: at(word::VS_ALLOC),
            size: at(word::VS_SPACE),
            deflated_size: at(word::VS_DSPACE),
            replaceable_size: at(word::VS_RSIZE),
            expandable_size: at(word::VS_ESIZE),
            physical_size: if since_2_2 {
                words.get(word::VS_PSPACE).copied()
            } else {
                words.get(word::VS_PSPACE_2_1).copied()
            },
            ops: counts(word::VS_OPS),
            bytes: counts(word::VS_BYTES),
            read_errors: at(word::VS_READ_ERRORS),
            write_errors: at(word::VS_WRITE_ERRORS),
            checksum_errors: at(word::VS_CHECKSUM_ERRORS),
            direct_io_errors: words.get(word::VS_DIO_VERIFY_ERRORS).copied(),
            slow_ios: at(word::VS_SLOW_IOS),
            self_healed: at(word::VS_SELF_HEALED),
            scan_processed: at(word::VS_SCAN_PROCESSED),
            rebuild_processed: at(word::VS_REBUILD_PROCESSED),
            resilver_deferred: at(word::VS_RESILVER_DEFERRED) != 0,
            removing: at(word::VS_SCAN_REMOVING) != 0,
            no_alloc: since_2_2.then(|| at(word::VS_NOALLOC) != 0),
            fragmentation: Some(at(word::VS_FRAGMENTATION)).filter(|&percent| percent != u64::MAX),
            checkpoint_space: at(word::VS_CHECKPOINT_SPACE),
            initialize: Activity {
                state: ActivityState::from_raw(at(word::VS_INITIALIZE_STATE)),
                done: at(word::VS_INITIALIZE_BYTES_DONE),
                estimate: at(word::VS_INITIALIZE_BYTES_EST),
                since: at(word::VS_INITIALIZE_ACTION_TIME),
                errors: at(word::VS_INITIALIZE_ERRORS),
            },
            trim: Activity {
                state: ActivityState::from_raw(at(word::VS_TRIM_STATE)),
                done: at(word::VS_TRIM_BYTES_DONE),
                estimate: at(word::VS_TRIM_BYTES_EST),
                since: at(word::VS_TRIM_ACTION_TIME),
                errors: at(word::VS_TRIM_ERRORS),
            },
            trim_supported: at(word::VS_TRIM_NOTSUP) == 0,
            configured_ashift: at(word::VS_CONFIGURED_ASHIFT),
            logical_ashift: at(word::VS_LOGICAL_ASHIFT),
            physical_ashift: at(word::VS_PHYSICAL_ASHIFT),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(len: u64) -> Vec<u64> {
        (100..100 + len).collect()
    }

    #[test]
    fn the_length_tells_where_the_physical_size_is() {
        let stats = |len| VdevStats::read(&words(len)).unwrap();
        let seen = |len| {
            let stats = stats(len);
            (stats.physical_size, stats.no_alloc, stats.direct_io_errors)
        };
        assert_eq!(seen(45), (None, None, None));
        assert_eq!(seen(46), (Some(145), None, None));
        assert_eq!(seen(47), (Some(146), Some(true), None));
        assert_eq!(seen(48), (Some(146), Some(true), Some(147)));
        assert_eq!(seen(60), seen(48));
    }

    #[test]
    fn each_word_has_its_field() {
        let stats = VdevStats::read(&words(48)).unwrap();
        assert_eq!((stats.age, stats.allocated, stats.size), (100, 103, 104));
        assert_eq!((stats.ops.null, stats.ops.flush), (108, 113));
        assert_eq!((stats.bytes.read, stats.bytes.write), (115, 116));
        let errors = (stats.read_errors, stats.write_errors, stats.checksum_errors);
        assert_eq!(errors, (120, 121, 122));
        assert_eq!(stats.fragmentation, Some(127));
        assert_eq!(stats.initialize.state, ActivityState::Unknown(130));
        assert_eq!(
            (stats.trim.done, stats.trim.estimate, stats.trim.since),
            (137, 138, 140)
        );
        assert_eq!((stats.configured_ashift, stats.physical_ashift), (142, 144));
    }

    #[test]
    fn lengths_of_no_version_are_no_panic() {
        for len in 0..45 {
            assert!(VdevStats::read(&words(len)).is_err());
        }
    }

    #[test]
    fn fragmentation_can_be_unknown() {
        let mut words = words(46);
        words[word::VS_FRAGMENTATION] = u64::MAX;
        assert_eq!(VdevStats::read(&words).unwrap().fragmentation, None);
    }
}
