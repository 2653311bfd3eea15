//! What is in an event, by subject.

use crate::error::Errno;
use crate::nv::{NvMap, Value};
use crate::pool::{PoolState, VdevState};
use std::ffi::OsStr;
use std::fmt;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// A number that cannot be negative, of whatever type: some fields changed theirs.
pub(super) fn unsigned(value: &Value) -> Option<u64> {
    match *value {
        Value::Byte(n) | Value::Uint8(n) => Some(u64::from(n)),
        Value::Uint16(n) => Some(u64::from(n)),
        Value::Uint32(n) => Some(u64::from(n)),
        Value::Uint64(n) => Some(n),
        Value::Int8(n) => u64::try_from(n).ok(),
        Value::Int16(n) => u64::try_from(n).ok(),
        Value::Int32(n) => u64::try_from(n).ok(),
        Value::Int64(n) => u64::try_from(n).ok(),
        _ => None,
    }
}

fn number(list: &NvMap, key: &str) -> Option<u64> {
    list.get(key).and_then(unsigned)
}

fn text(list: &NvMap, key: &str) -> Option<String> {
    let text = list.get(key)?.as_cstr()?;
    Some(text.to_string_lossy().into_owned())
}

fn path(list: &NvMap, key: &str) -> Option<PathBuf> {
    let path = list.get(key)?.as_cstr()?;
    Some(OsStr::from_bytes(path.to_bytes()).into())
}

fn state(list: &NvMap, key: &str) -> Option<VdevState> {
    number(list, key).map(VdevState::from_raw)
}

/// The pool that an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventPool {
    /// Its name at that time.
    pub name: String,
    /// Its identity.
    pub guid: u64,
    /// Whether it was open.
    pub state: PoolState,
    /// Whether it was being opened, and how (a `spa_load_state_t`): 0 for a pool in use, 1 to 6
    /// for one that is opened, imported, tried, recovered, in error, or created.
    pub context: i32,
}

impl EventPool {
    pub(super) fn read(list: &NvMap) -> Option<Self> {
        Some(Self {
            name: text(list, "pool")?,
            guid: number(list, "pool_guid")?,
            state: PoolState::from_raw(number(list, "pool_state").unwrap_or(0)),
            context: list.i32("pool_context").unwrap_or(0),
        })
    }
}

/// The vdev that an event is about. Which fields are there depends on the class.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventVdev {
    /// Its identity.
    pub guid: u64,
    /// The kernel's word for its kind: `disk`, `file`, `mirror`. In reports.
    pub kind: Option<String>,
    /// Its device or file.
    pub path: Option<PathBuf>,
    /// Where the device is plugged in.
    pub physical_path: Option<PathBuf>,
    /// The device's own identity.
    pub devid: Option<String>,
    /// Where its enclosure is in sysfs.
    pub enclosure: Option<PathBuf>,
    /// The state that it is in now.
    pub state: Option<VdevState>,
    /// The state that it was in before.
    pub last_state: Option<VdevState>,
    /// Its sectors are of 2 to this power bytes.
    pub ashift: Option<u64>,
    /// Failed reads so far.
    pub read_errors: Option<u64>,
    /// Failed writes so far.
    pub write_errors: Option<u64>,
    /// Blocks without their checksum so far.
    pub checksum_errors: Option<u64>,
    /// Slow I/Os so far.
    pub slow_ios: Option<u64>,
    /// Identity of the vdev above it.
    pub parent: Option<u64>,
    /// Whether the kernel itself found that the device is gone. In
    /// [`DeviceRemoved`](super::EventClass::DeviceRemoved), since 2.2.
    pub by_kernel: bool,
}

impl EventVdev {
    pub(super) fn read(list: &NvMap) -> Option<Self> {
        Some(Self {
            guid: number(list, "vdev_guid")?,
            kind: text(list, "vdev_type"),
            path: path(list, "vdev_path"),
            physical_path: path(list, "vdev_physpath"),
            devid: text(list, "vdev_devid"),
            enclosure: path(list, "vdev_enc_sysfs_path"),
            state: state(list, "vdev_state"),
            last_state: state(list, "vdev_laststate").or_else(|| state(list, "prev_state")),
            ashift: number(list, "vdev_ashift"),
            read_errors: number(list, "vdev_read_errors"),
            write_errors: number(list, "vdev_write_errors"),
            checksum_errors: number(list, "vdev_cksum_errors"),
            slow_ios: number(list, "vdev_delays"),
            parent: number(list, "parent_guid"),
            by_kernel: list.flag("by_kernel"),
        })
    }
}

/// An I/O that failed or was slow.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "zio_t")]
pub struct EventIo {
    /// How it failed; `None` for one that was only slow.
    pub error: Option<Errno>,
    /// Where on the device, in bytes.
    pub offset: Option<u64>,
    /// How many bytes.
    pub size: Option<u64>,
    /// How long it took to be queued, in nanoseconds, and to be done by the device.
    pub delay: Option<u64>,
    /// How long the device took, in nanoseconds.
    pub delta: Option<u64>,
    /// When it was given to the device, in nanoseconds since the machine was started.
    pub timestamp: Option<u64>,
    /// How urgent it was (a `zio_priority_t`).
    pub priority: Option<u64>,
    /// How it was done (`ZIO_FLAG_*`, which differ between versions).
    pub flags: Option<u64>,
    /// Which block of which file or of what else it was about.
    pub block: Option<EventBlock>,
}

impl EventIo {
    pub(super) fn read(list: &NvMap) -> Option<Self> {
        let error = list.i32("zio_err")?;
        Some(Self {
            error: (error != 0).then(|| Errno::from_raw(error)),
            offset: number(list, "zio_offset"),
            size: number(list, "zio_size"),
            delay: number(list, "zio_delay"),
            delta: number(list, "zio_delta"),
            timestamp: number(list, "zio_timestamp"),
            priority: number(list, "zio_priority"),
            flags: number(list, "zio_flags"),
            block: EventBlock::read(list),
        })
    }
}

/// A block, by what it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[doc(alias = "zbookmark_phys_t")]
pub struct EventBlock {
    /// The dataset's object; 0 for the pool's own metadata.
    pub objset: u64,
    /// The object in it: a file's inode number.
    pub object: u64,
    /// Level of indirection; negative for what is no block of an object.
    pub level: i64,
    /// Number of the block at that level.
    pub block: u64,
}

impl EventBlock {
    fn read(list: &NvMap) -> Option<Self> {
        Some(Self {
            objset: number(list, "zio_objset")?,
            object: number(list, "zio_object")?,
            level: list.i64("zio_level")?,
            block: number(list, "zio_blkid")?,
        })
    }
}

/// What is wrong with a block that does not have its checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChecksumDamage {
    /// The checksum's algorithm.
    pub algorithm: Option<String>,
    /// Where the block differs from what it should be, in bytes from its beginning, with the number
    /// of bits that were set and cleared there. Empty when the right data could not be found.
    pub ranges: Vec<DamagedRange>,
}

/// A part of a block that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DamagedRange {
    /// Where, in bytes from the beginning of the block.
    pub bytes: Range<u32>,
    /// How many bits are 1 that should be 0.
    pub set: u32,
    /// How many bits are 0 that should be 1.
    pub cleared: u32,
}

impl ChecksumDamage {
    pub(super) fn read(list: &NvMap) -> Option<Self> {
        let words = |key| match list.get(key) {
            Some(Value::Uint32Array(words)) => Some(words.as_slice()),
            _ => None,
        };
        let algorithm = text(list, "cksum_algorithm");
        let ranges = words("bad_ranges");
        if algorithm.is_none() && ranges.is_none() {
            return None;
        }
        let count = |key, n: usize| {
            words(key)
                .and_then(|counts: &[u32]| counts.get(n).copied())
                .unwrap_or(0)
        };
        let ranges = ranges
            .unwrap_or_default()
            .chunks_exact(2)
            .enumerate()
            .filter_map(|(n, range)| match *range {
                [start, end] => Some(DamagedRange {
                    bytes: start..end,
                    set: count("bad_range_sets", n),
                    cleared: count("bad_range_clears", n),
                }),
                _ => None,
            })
            .collect();
        Some(Self { algorithm, ranges })
    }
}

/// What the kernel did, as it wrote it into the pool's history. Prints as one line.
///
/// Only such records are told by events. The lines that commands and this crate write are not: those
/// are read from the pool's history itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventHistory {
    /// What was done, in the kernel's words: `create`, `snapshot`, `set`.
    pub operation: String,
    /// The dataset that it was done to; none for the pool itself.
    pub dataset: Option<String>,
    /// The dataset's object.
    pub dataset_id: Option<u64>,
    /// More about what was done.
    pub message: String,
    /// The transaction group.
    pub txg: Option<u64>,
    /// When, in seconds since 1970.
    pub time: Option<u64>,
    /// The machine that did it.
    pub host: Option<String>,
}

impl EventHistory {
    pub(super) fn read(list: &NvMap) -> Option<Self> {
        Some(Self {
            operation: text(list, "history_internal_name")?,
            dataset: text(list, "history_dsname"),
            dataset_id: number(list, "history_dsid"),
            message: text(list, "history_internal_str").unwrap_or_default(),
            txg: number(list, "history_txg"),
            time: number(list, "history_time"),
            host: text(list, "history_hostname"),
        })
    }
}

impl fmt::Display for EventHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.operation)?;
        if let Some(dataset) = &self.dataset {
            write!(f, " {dataset}")?;
        }
        if !self.message.is_empty() {
            write!(f, " {}", self.message)?;
        }
        Ok(())
    }
}
