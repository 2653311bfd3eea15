//! Pools: their list, state, vdevs and properties.
//!
//! # JSON
//!
//! With the feature `serde`, [`PoolStatus`] and [`PoolReport`] are written as JSON (or what else
//! serde has a format for). The names of its keys are those of the fields in Rust, with the
//! differences below. `"schema": 1` is raised when a key changes its meaning or goes; keys and words
//! can come any time.
//!
//! - What may be missing is `null`.
//! - Sizes are bytes, times seconds since 1970, as numbers. Identities (`guid`) are text, for they
//!   need all 64 bits, which many readers of JSON do not have.
//! - Words are in small letters: `"cant_open"`, `"scanning"`. A number that this crate has no word
//!   for is `{"unknown": 9}`. `health` is the word that `zpool` prints: `"DEGRADED"`.
//! - Paths are text; what is not UTF-8 in them is replaced.
//! - `fault` is the name of an error number: `"ENXIO"`.
//! - A vdev has its `name` and `health` beside its fields, and its `kind` is `"mirror"`, `"raidz"`,
//!   `"draid"`, `"disk"` and so on; with it go `parity` (of raidz and draid), `data` and `spares` (of
//!   draid).
//! - A report is a status with two more keys. `advice` has `code` (a word), `problem` (whether `zpool
//!   status -x` shows the pool), `message_id` (`"ZFS-8000-2Q"`), `status` and `action` (text for
//!   people, which can change), `errata` and `features`. `error_log` is a list of `dataset_id`,
//!   `dataset`, `object`, `path` and `blocks`, or `null` when it cannot be told.
//!
//! ```json
//! {
//!   "schema": 1, "name": "tank", "guid": "1234567890123456789", "state": "active",
//!   "health": "DEGRADED", "error_count": 0, "scan": null,
//!   "root": {
//!     "name": "root", "kind": "root", "health": "DEGRADED", "state": "degraded", "aux": "none",
//!     "children": [{ "name": "raidz1-0", "kind": "raidz", "parity": 1, "children": [] }]
//!   },
//!   "advice": { "code": "missing_device", "problem": true, "message_id": "ZFS-8000-2Q" },
//!   "error_log": []
//! }
//! ```
//!
//! (Much is left out here.)

mod advice;
mod bootenv;
mod checkpoint;
mod compatibility;
mod create;
mod device;
mod errors;
mod export;
mod health;
mod import;
mod initialize;
#[cfg(feature = "serde")]
mod json;
mod label;
mod layout;
mod prefetch;
mod progress;
mod properties;
mod reopen;
mod report;
mod scan;
mod scrub;
mod set_properties;
mod stats;
mod status;
mod targets;
mod trim;
mod upgrade;
mod vdev;

pub use advice::{Advice, StatusCode};
pub use bootenv::BootEnvironment;
pub use create::{CacheFile, CreatePool, PoolFeatures};
pub use device::{
    AddOptions, AttachOptions, OfflineMode, OnlineMode, Resilver, SplitOptions, VdevId,
    VdevProperties, VdevPropertySet,
};
pub use errors::{DamagedBlock, DamagedObject};
pub use export::ExportOptions;
pub use health::{Health, VdevAux, VdevState};
pub use import::{FoundPool, ImportObstacle, ImportOptions, PoolId, Search};
pub use label::{Label, LabelState};
pub use layout::{Device, Layout, VdevSpec};
pub use prefetch::{DdtPrune, PoolTable};
pub use progress::{
    Checkpoint, CheckpointState, Progress, RaidzExpansion, Rebuild, RebuildState, Removal,
};
pub use properties::{
    FailMode, PoolProperties, PoolProperty, PoolPropertySource, PoolPropertyValue,
};
pub use reopen::ReopenScrub;
pub use report::PoolReport;
pub use scan::{ErrorScrub, ScanFunction, ScanState, ScanStatus};
pub use scrub::Scrub;
pub use set_properties::{DedupTableQuota, PoolPropertySet};
pub use stats::{Activity, ActivityState, IoCounts, VdevStats};
pub use status::{PoolFeature, PoolState, PoolStatus, SuspendReason};
pub use targets::Targets;
pub use trim::TrimOptions;
pub use vdev::{Repair, Vdev, VdevClass, VdevKind, Vdevs};

use crate::dataset::Dataset;
use crate::error::{Errno, Error, ErrorKind, Operation, Result};
use crate::ffi::device::Request;
use crate::ffi::nvlist::NvList;
use crate::name::PoolName;
use crate::nv::{self, NvMap};
use crate::zfs::Zfs;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use zfs_core_sys::ioctl::{ZFS_IOC_POOL_CONFIGS, ZFS_IOC_POOL_GET_PROPS, ZFS_IOC_POOL_STATS};

/// A pool, by name.
///
/// The handle is a checked name and a [`Zfs`]: it promises nothing about whether the pool is
/// imported, and every method asks the kernel anew.
#[derive(Clone)]
pub struct Pool {
    zfs: Zfs,
    name: PoolName,
}

/// A pool in the list of all pools.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoolEntry {
    /// The pool.
    pub pool: Pool,
    /// Its identity, which stays the same when it is renamed.
    pub guid: u64,
    /// Whether it is open. How well it is, only [`Pool::status`] tells.
    pub state: PoolState,
}

/// Whether a sync goes through with nothing to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SyncMode {
    /// Waits for what is being written; a pool without changes writes nothing.
    #[default]
    Pending,
    /// Writes a transaction group even if it is empty, so that all vdevs are written to.
    Force,
}

/// How much room the state of a pool is given: what the largest needed so far, and some more. A
/// pool of 60 devices takes about a megabyte, and asking twice would cost twice as much.
static STATS_ROOM: AtomicUsize = AtomicUsize::new(64 * 1024);
/// Those that need more are asked for twice.
const MOST_STATS_ROOM: usize = 16 << 20;

/// What the kernel answers about a pool, and beside it.
struct Stats {
    config: NvMap,
    altroot: PathBuf,
    fault: Option<Errno>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({:?})", self.name.as_str())
    }
}

impl AsRef<PoolName> for Pool {
    fn as_ref(&self) -> &PoolName {
        &self.name
    }
}

impl Zfs {
    /// A handle of the pool `name`. Does not call the kernel.
    ///
    /// # Errors
    ///
    /// [`InvalidName`](ErrorKind::InvalidName), [`NameTooLong`](ErrorKind::NameTooLong).
    pub fn pool(&self, name: &str) -> Result<Pool> {
        Ok(Pool {
            zfs: self.clone(),
            name: PoolName::new(name)?,
        })
    }

    /// The imported pools, in the order of their names. In a zone (a container with datasets of
    /// its own), those that it can see.
    ///
    /// # Errors
    ///
    /// None is usual. A pool that another process exports meanwhile is simply missing.
    ///
    /// # Privileges
    ///
    /// None. `zpool-list(8)`, request `ZFS_IOC_POOL_CONFIGS`.
    #[doc(alias = "ZFS_IOC_POOL_CONFIGS")]
    #[doc(alias = "zpool_iter")]
    pub fn pools(&self) -> Result<Vec<PoolEntry>> {
        const OPERATION: Operation = Operation::ListPools;
        let configs = answer(
            &mut self.request(ZFS_IOC_POOL_CONFIGS, c"").answered(),
            OPERATION,
            "",
        )?;
        configs
            .iter()
            // While a pool is looked at before it is imported, it is listed as `$import-…`.
            .filter(|(name, _)| !name.to_bytes().starts_with(b"$"))
            .map(|(name, value)| {
                let name = name.to_string_lossy();
                let protocol = |what: &str| Error::protocol(OPERATION, &*name, what);
                let config = value
                    .as_list()
                    .ok_or_else(|| protocol("no configuration"))?;
                Ok(PoolEntry {
                    pool: self
                        .pool(&name)
                        .map_err(|error| protocol(&error.to_string()))?,
                    guid: config
                        .u64("pool_guid")
                        .ok_or_else(|| protocol("no pool_guid"))?,
                    state: config
                        .u64("state")
                        .map(PoolState::from_raw)
                        .ok_or_else(|| protocol("no state"))?,
                })
            })
            .collect()
    }
}

impl Pool {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &PoolName {
        &self.name
    }

    /// The ZFS it belongs to.
    #[must_use]
    pub fn zfs(&self) -> &Zfs {
        &self.zfs
    }

    /// Its root filesystem.
    #[must_use]
    pub fn root(&self) -> Dataset {
        Dataset {
            zfs: self.zfs.clone(),
            name: self.name.root(),
        }
    }

    /// Whether it is imported. A pool that the module knows of but cannot open is.
    ///
    /// # Errors
    ///
    /// As [`status`](Self::status), without `NotFound`.
    pub fn exists(&self) -> Result<bool> {
        match self.stats(Operation::GetPoolStatus) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Its state, its vdevs with their states and counters, and its last scrub or resilver.
    ///
    /// This works on a suspended pool and on one that cannot be opened; the status says so then
    /// ([`PoolStatus::suspended`], [`PoolStatus::fault`]).
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `NotFound` | no pool of that name is imported |
    /// | `Protocol` | the kernel's answer lacks what every version answers with |
    ///
    /// # Privileges
    ///
    /// None. `zpool-status(8)`, request `ZFS_IOC_POOL_STATS`.
    #[doc(alias = "ZFS_IOC_POOL_STATS")]
    #[doc(alias = "zpool_get_config")]
    pub fn status(&self) -> Result<PoolStatus> {
        const OPERATION: Operation = Operation::GetPoolStatus;
        let Stats {
            config,
            altroot,
            fault,
        } = self.stats(OPERATION)?;
        PoolStatus::read(&config, altroot, fault)
            .map_err(|what| Error::protocol(OPERATION, self.name.as_str(), what))
    }

    /// The configuration as the kernel answers it, with all that [`status`](Self::status) has no
    /// field for: histograms of latencies, deduplication tables, the progress of a removal.
    ///
    /// # Errors
    ///
    /// As [`status`](Self::status).
    ///
    /// # Privileges
    ///
    /// None. Request `ZFS_IOC_POOL_STATS`.
    pub fn config(&self) -> Result<NvMap> {
        self.stats_read(Operation::GetPoolStatus, nv::decode)
            .map(|stats| stats.config)
    }

    /// Its properties.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `NotFound` | no pool of that name is imported |
    /// | `Io` | the pool cannot be opened: see [`PoolStatus::fault`] |
    ///
    /// # Privileges
    ///
    /// None. `zpoolprops(7)`, requests `ZFS_IOC_POOL_STATS` and `ZFS_IOC_POOL_GET_PROPS`.
    #[doc(alias = "ZFS_IOC_POOL_GET_PROPS")]
    #[doc(alias = "lzc_get_props")]
    #[doc(alias = "zpool_get_prop")]
    pub fn properties(&self) -> Result<PoolProperties> {
        const OPERATION: Operation = Operation::GetPoolProperties;
        let name = self.name.as_str();
        // Asked for the properties of a pool that it cannot open, the module dereferences a null
        // pointer (seen in 2.1 and 2.3, whose `zpool status` brings the kernel down so).
        if let Some(fault) = self.stats(OPERATION)?.fault {
            return Err(Error::new(OPERATION, name, fault)
                .with_kind(ErrorKind::Io)
                .with_detail("the pool cannot be opened"));
        }
        // Without an input list the request is the same in the old style of 2.1 and the new one.
        let mut request = self
            .zfs
            .request(ZFS_IOC_POOL_GET_PROPS, self.name.as_c_str())
            .answered();
        match answer(&mut request, OPERATION, name) {
            Ok(list) => {
                PoolProperties::read(&list).map_err(|what| Error::protocol(OPERATION, name, what))
            }
            // 2.1 has this number for all failures, among them that the pool is gone by now.
            Err(error) if error.errno() == Some(Errno::EFAULT) => {
                self.stats(OPERATION)?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Waits until everything that was written before the call is on stable storage.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `NotFound` | no pool of that name is imported, or it cannot be opened for lack of a device |
    /// | `ReadOnlyPool`, `PoolSuspended` | as they say |
    ///
    /// # Privileges
    ///
    /// None. `zpool-sync(8)`, `lzc_sync`.
    #[doc(alias = "lzc_sync")]
    pub fn sync(&self, mode: SyncMode) -> Result<()> {
        const OPERATION: Operation = Operation::SyncPool;
        let mut options = NvMap::new();
        options.insert(c"force", mode == SyncMode::Force);
        let options = NvList::try_from(&options)
            .map_err(|error| Error::protocol(OPERATION, self.name.as_str(), error))?;
        self.zfs
            .lzc()
            .sync(self.name.as_c_str(), &options)
            .map_err(|errno| Error::new(OPERATION, self.name.as_str(), errno))
    }

    /// All but the histograms, which are most of what the kernel tells.
    fn stats(&self, operation: Operation) -> Result<Stats> {
        self.stats_read(operation, |list| nv::decode_without(list, c"vdev_stats_ex"))
    }

    fn stats_read(
        &self,
        operation: Operation,
        read: impl Fn(&[u8]) -> std::result::Result<NvMap, nv::DecodeError>,
    ) -> Result<Stats> {
        let room = STATS_ROOM.load(Ordering::Relaxed);
        let mut request = self
            .zfs
            .request(ZFS_IOC_POOL_STATS, self.name.as_c_str())
            .answered_raw(room);
        request
            .read()
            .map_err(|errno| Error::new(operation, self.name.as_str(), errno))?;
        let config = read(request.answer_bytes())
            .map_err(|error| Error::protocol(operation, self.name.as_str(), error))?;
        // The kernel puts everything together before it sees that there is no room.
        let needed = request.answer_bytes().len();
        if (room..MOST_STATS_ROOM).contains(&needed) {
            STATS_ROOM.fetch_max(needed + needed / 4, Ordering::Relaxed);
        }
        let altroot = request
            .cmd()
            .zc_value
            .map(|c| u8::from_ne_bytes(c.to_ne_bytes()));
        let altroot = altroot.split(|&byte| byte == 0).next().unwrap_or_default();
        // The request succeeds for a pool that cannot be opened, and says why here.
        let fault = match i32::try_from(request.cookie()) {
            Ok(0) => None,
            Ok(raw) => Some(Errno::from_raw(raw)),
            Err(_) => Some(Errno::EIO),
        };
        Ok(Stats {
            config,
            altroot: OsStr::from_bytes(altroot).into(),
            fault,
        })
    }
}

fn answer(request: &mut Request<'_>, operation: Operation, object: &str) -> Result<NvMap> {
    request
        .read()
        .map_err(|errno| Error::new(operation, object, errno))?;
    request
        .answer()
        .map_err(|refusal| refusal.into_error(operation, object))
}
