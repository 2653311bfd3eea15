//! The kernel's statistics: figures that cost nothing to read, and need no privileges.
//!
//! They come from the files below `/proc/spl/kstat/zfs`, which the module writes when they are read.
//! None waits for a disk, so that they can be read of a pool that is suspended too.
//!
//! ```no_run
//! use zfs_core::Zfs;
//!
//! let zfs = Zfs::open()?;
//! let arc = zfs.arc_stats()?;
//! println!("{} of {} bytes", arc.size, arc.max_size);
//! for dataset in zfs.pool("tank")?.dataset_stats()? {
//!     println!("{}: {} written", dataset.name, dataset.written);
//! }
//! # Ok::<(), zfs_core::Error>(())
//! ```
//!
//! Figures that this crate has no field for are kept in a field `other`, and what it has no type for
//! is read by [`Zfs::statistics`] and [`Pool::statistics`](crate::Pool::statistics). Errors of all
//! these methods are `NotFound` when there is no such file: the pool is not imported, the dataset is
//! not mounted, or the module does not have it; and `Protocol` when a file is not as 2.1 to 2.4 write
//! it.
//!
//! Counters begin at 0 and only grow, unless somebody writes to their file, which sets them to 0.

mod arc;
mod counters;
mod file;
mod named;
mod table;

pub use arc::ArcStats;
pub use counters::{DatasetStats, DmuTxStats, PoolIoStats, PrefetchStats, ReportStats, ZilStats};
pub use named::{NamedStats, StatValue};
pub use table::{DebugMessage, ImportProgress, MultihostWrite, TxgState, TxgStats};

use crate::dataset::Dataset;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::pool::Pool;
use crate::props::Prop;
use crate::zfs::Zfs;

const OPERATION: Operation = Operation::ReadStatistics;

impl Zfs {
    /// The statistics of the cache.
    ///
    /// # Errors
    ///
    /// See [the module](crate::kstat).
    ///
    /// # Privileges
    ///
    /// None. `/proc/spl/kstat/zfs/arcstats`.
    #[doc(alias = "arcstats")]
    pub fn arc_stats(&self) -> Result<ArcStats> {
        ArcStats::read("arcstats")
    }

    /// The statistics of the intent logs of all pools.
    ///
    /// # Errors
    ///
    /// See [the module](crate::kstat).
    ///
    /// # Privileges
    ///
    /// None. `/proc/spl/kstat/zfs/zil`.
    pub fn zil_stats(&self) -> Result<ZilStats> {
        ZilStats::read("zil")
    }

    /// How changes got into transaction groups, of all pools.
    ///
    /// # Errors
    ///
    /// See [the module](crate::kstat).
    ///
    /// # Privileges
    ///
    /// None. `/proc/spl/kstat/zfs/dmu_tx`.
    pub fn dmu_tx_stats(&self) -> Result<DmuTxStats> {
        DmuTxStats::read("dmu_tx")
    }

    /// The statistics of reading ahead, of all pools.
    ///
    /// # Errors
    ///
    /// See [the module](crate::kstat).
    ///
    /// # Privileges
    ///
    /// None. `/proc/spl/kstat/zfs/zfetchstats`.
    #[doc(alias = "zfetchstats")]
    pub fn prefetch_stats(&self) -> Result<PrefetchStats> {
        PrefetchStats::read("zfetchstats")
    }

    /// How many reports were not posted as [events](crate::events).
    ///
    /// # Errors
    ///
    /// See [the module](crate::kstat).
    ///
    /// # Privileges
    ///
    /// None. `/proc/spl/kstat/zfs/fm`.
    pub fn report_stats(&self) -> Result<ReportStats> {
        ReportStats::read("fm")
    }

    /// The imports that are under way.
    ///
    /// # Errors
    ///
    /// See [the module](crate::kstat).
    ///
    /// # Privileges
    ///
    /// None. `/proc/spl/kstat/zfs/import_progress`.
    pub fn import_progress(&self) -> Result<Vec<ImportProgress>> {
        ImportProgress::read_all("import_progress")
    }

    /// The module's own log, the oldest message first. What it has is in the words of its authors.
    ///
    /// # Errors
    ///
    /// `PermissionDenied`; and see [the module](crate::kstat).
    ///
    /// # Privileges
    ///
    /// Root. `/proc/spl/kstat/zfs/dbgmsg`.
    #[doc(alias = "dbgmsg")]
    pub fn debug_messages(&self) -> Result<Vec<DebugMessage>> {
        DebugMessage::read_all("dbgmsg")
    }

    /// The statistics in the file `name`, such as `abdstats`.
    ///
    /// # Errors
    ///
    /// `Protocol` for a file that has no names in it; `InvalidArgument` when `name` is no name; and
    /// see [the module](crate::kstat).
    ///
    /// # Privileges
    ///
    /// None for most. `/proc/spl/kstat/zfs`.
    pub fn statistics(&self, name: &str) -> Result<NamedStats> {
        NamedStats::read(name)
    }

    /// The names of all files of statistics that are not a pool's, in order.
    ///
    /// # Errors
    ///
    /// See [the module](crate::kstat).
    ///
    /// # Privileges
    ///
    /// None. `/proc/spl/kstat/zfs`.
    pub fn statistics_names(&self) -> Result<Vec<String>> {
        file::names("")
    }
}

impl Pool {
    /// What was trimmed, and from 2.3 on what was read and written.
    ///
    /// # Errors
    ///
    /// See [the module](crate::kstat).
    ///
    /// # Privileges
    ///
    /// None. `/proc/spl/kstat/zfs/POOL/iostats`.
    pub fn io_stats(&self) -> Result<PoolIoStats> {
        PoolIoStats::read(&self.kstat("iostats"))
    }

    /// The last transaction groups, the oldest first: 100 unless the module's parameter
    /// `zfs_txg_history` says otherwise.
    ///
    /// # Errors
    ///
    /// See [the module](crate::kstat).
    ///
    /// # Privileges
    ///
    /// None. `/proc/spl/kstat/zfs/POOL/txgs`.
    pub fn txg_stats(&self) -> Result<Vec<TxgStats>> {
        TxgStats::read_all(&self.kstat("txgs"))
    }

    /// How long changes waited for a transaction group: pairs of a time in nanoseconds, which
    /// doubles from one to the next, and how many changes waited for so long or less, and longer
    /// than the pair before says.
    ///
    /// # Errors
    ///
    /// See [the module](crate::kstat).
    ///
    /// # Privileges
    ///
    /// None. `/proc/spl/kstat/zfs/POOL/dmu_tx_assign`.
    pub fn tx_assign_times(&self) -> Result<Vec<(u64, u64)>> {
        let object = self.kstat("dmu_tx_assign");
        let stats = NamedStats::read(&object)?;
        let pair = |(name, value): (&String, &StatValue)| {
            let time = name.strip_suffix(" ns")?.parse().ok()?;
            Some((time, value.as_u64()?))
        };
        let mut pairs = stats
            .values
            .iter()
            .map(|entry| {
                pair(entry).ok_or_else(|| {
                    Error::protocol(OPERATION, &object, format!("no time: {entry:?}"))
                })
            })
            .collect::<Result<Vec<(u64, u64)>>>()?;
        pairs.sort_unstable();
        Ok(pairs)
    }

    /// The last writes that tell other machines that the pool is in use. The module keeps none
    /// unless its parameter `zfs_multihost_history` says how many.
    ///
    /// # Errors
    ///
    /// See [the module](crate::kstat).
    ///
    /// # Privileges
    ///
    /// None. `/proc/spl/kstat/zfs/POOL/multihost`.
    pub fn multihost_writes(&self) -> Result<Vec<MultihostWrite>> {
        MultihostWrite::read_all(&self.kstat("multihost"))
    }

    /// What was read from and written to each dataset that is mounted, and each volume, in the order
    /// of their objects.
    ///
    /// A dataset that is unmounted meanwhile is simply missing.
    ///
    /// # Errors
    ///
    /// See [the module](crate::kstat).
    ///
    /// # Privileges
    ///
    /// None. `/proc/spl/kstat/zfs/POOL/objset-*`.
    pub fn dataset_stats(&self) -> Result<Vec<DatasetStats>> {
        let mut all = Vec::new();
        for name in file::names(self.name().as_str())? {
            let Some(objset) = name
                .strip_prefix("objset-0x")
                .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            else {
                continue;
            };
            match self.dataset_stats_of(objset) {
                Ok(stats) => all.push(stats),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        all.sort_unstable_by_key(|stats| stats.objset);
        Ok(all)
    }

    fn dataset_stats_of(&self, objset: u64) -> Result<DatasetStats> {
        let object = self.kstat(&format!("objset-{objset:#x}"));
        DatasetStats::from_named(NamedStats::read(&object)?, objset)
            .map_err(|what| Error::protocol(OPERATION, object, what))
    }

    /// The statistics in the pool's file `name`, such as `ddt_stats_sha256`.
    ///
    /// # Errors
    ///
    /// As [`Zfs::statistics`].
    ///
    /// # Privileges
    ///
    /// None for most. `/proc/spl/kstat/zfs/POOL`.
    pub fn statistics(&self, name: &str) -> Result<NamedStats> {
        NamedStats::read(&self.kstat(name))
    }

    /// The names of all the pool's files of statistics, in order.
    ///
    /// # Errors
    ///
    /// See [the module](crate::kstat).
    ///
    /// # Privileges
    ///
    /// None. `/proc/spl/kstat/zfs/POOL`.
    pub fn statistics_names(&self) -> Result<Vec<String>> {
        file::names(self.name().as_str())
    }

    fn kstat(&self, name: &str) -> String {
        format!("{}/{name}", self.name())
    }
}

impl Dataset {
    /// What was read from and written to the filesystem since it was mounted, or the volume.
    ///
    /// # Errors
    ///
    /// `NotFound` also when the filesystem is not mounted; those of reading properties; and see
    /// [the module](crate::kstat).
    ///
    /// # Privileges
    ///
    /// None. `/proc/spl/kstat/zfs/POOL/objset-*`, found by the property `objsetid`.
    pub fn io_stats(&self) -> Result<DatasetStats> {
        let objset = self
            .property(Prop::ObjsetId)?
            .and_then(|id| id.as_u64())
            .ok_or_else(|| Error::protocol(OPERATION, self.name().as_str(), "no objsetid"))?;
        let pool = self.zfs().pool(self.name().pool())?;
        let mut stats = pool.dataset_stats_of(objset)?;
        // The kernel may have an older one.
        self.name().as_str().clone_into(&mut stats.name);
        Ok(stats)
    }
}
