//! Counters of the module, of pools and of datasets.

use super::named::{NamedStats, stats};

stats! {
    /// The intent log: of all pools, or of one dataset.
    ///
    /// An entry is a change that somebody wants on stable storage before its transaction group is.
    ZilStats {
        /// How often it was written on demand: `fsync(2)`, synchronous writes.
        commits = "zil_commit_count",
        /// How often that led to a write, rather than finding one under way.
        commit_writers = "zil_commit_writer_count",
        /// Entries that were made.
        entries = "zil_itx_count",
        /// Entries whose data were written in their final place.
        indirect_entries = "zil_itx_indirect_count",
        /// Bytes of those.
        indirect_bytes = "zil_itx_indirect_bytes",
        /// Entries whose data were copied at once.
        copied_entries = "zil_itx_copied_count",
        /// Bytes of those.
        copied_bytes = "zil_itx_copied_bytes",
        /// Entries whose data were copied when the log was written.
        late_copied_entries = "zil_itx_needcopy_count",
        /// Bytes of those.
        late_copied_bytes = "zil_itx_needcopy_bytes",
        /// Writes to the vdevs for data.
        normal_writes = "zil_itx_metaslab_normal_count",
        /// Bytes of those.
        normal_bytes = "zil_itx_metaslab_normal_bytes",
        /// Writes to log vdevs.
        log_vdev_writes = "zil_itx_metaslab_slog_count",
        /// Bytes of those.
        log_vdev_bytes = "zil_itx_metaslab_slog_bytes",
    }
    sometimes {
        /// How often it could not be written. Since 2.3.
        commit_errors = "zil_commit_error_count",
        /// How often there was no room, and the transaction group was waited for. Since 2.3.
        commit_stalls = "zil_commit_stall_count",
        /// How often it was suspended, and the transaction group was waited for. Since 2.3.
        commit_suspends = "zil_commit_suspend_count",
        /// How often it failed for good. Since 2.4.
        commit_crashes = "zil_commit_crash_count",
    }
}

stats! {
    /// Changes that were let into a transaction group, and why some had to wait.
    DmuTxStats {
        /// How many were let in.
        assigned = "dmu_tx_assigned",
        /// How many waited after they had been refused once.
        delay = "dmu_tx_delay",
        /// How many failed.
        error = "dmu_tx_error",
        /// How many met a suspended pool.
        suspended = "dmu_tx_suspended",
        /// How many waited for the next transaction group.
        group = "dmu_tx_group",
        /// How many waited for memory.
        memory_reserve = "dmu_tx_memory_reserve",
        /// How many waited while memory was reclaimed.
        memory_reclaim = "dmu_tx_memory_reclaim",
        /// How many waited because too much was to be written.
        dirty_throttle = "dmu_tx_dirty_throttle",
        /// How many were slowed down because much was to be written.
        dirty_delay = "dmu_tx_dirty_delay",
        /// How many met more to be written than there may be.
        dirty_over_max = "dmu_tx_dirty_over_max",
        /// How many waited because too much was to be freed.
        dirty_frees_delay = "dmu_tx_dirty_frees_delay",
        /// How many waited because too much was in the intent log.
        intent_log_delay = "dmu_tx_wrlog_delay",
        /// How many met a quota.
        quota = "dmu_tx_quota",
    }
    sometimes {}
}

stats! {
    /// Reading ahead.
    PrefetchStats {
        /// Reads that a stream had foreseen.
        hits = "hits",
        /// Reads that none had.
        misses = "misses",
        /// How often there were too many streams for another.
        max_streams = "max_streams",
        /// Blocks that were read ahead.
        issued = "io_issued",
    }
    sometimes {
        /// Reads a little ahead of their stream. Since 2.3.
        future = "future",
        /// Reads at a distance that was found to repeat. Since 2.3.
        stride = "stride",
        /// Reads of what the stream had passed. Since 2.3.
        past = "past",
        /// Blocks that are being read ahead. A state rather than a count.
        active = "io_active",
    }
}

stats! {
    /// What became of reports: the events whose class begins with `ereport.`.
    ReportStats {
        /// Not posted: too many of their class, too large, or no memory.
        dropped = "erpt-dropped",
        /// Could not be filled in.
        set_failed = "erpt-set-failed",
        /// Not posted, because the same had been posted lately.
        duplicates = "erpt-duplicates",
    }
    sometimes {}
}

stats! {
    /// What trims did to a pool, and from 2.3 on what was read and written through the cache and past
    /// it.
    ///
    /// What the devices read and wrote is in [`Vdev::stats`](crate::Vdev::stats).
    PoolIoStats {
        /// Extents that a trim by command freed.
        trim_extents = "trim_extents_written",
        /// Bytes of those.
        trim_bytes = "trim_bytes_written",
        /// Extents that were too small for it.
        trim_extents_skipped = "trim_extents_skipped",
        /// Bytes of those.
        trim_bytes_skipped = "trim_bytes_skipped",
        /// Extents that it failed to free.
        trim_extents_failed = "trim_extents_failed",
        /// Bytes of those.
        trim_bytes_failed = "trim_bytes_failed",
        /// Extents that were freed by `autotrim`.
        autotrim_extents = "autotrim_extents_written",
        /// Bytes of those.
        autotrim_bytes = "autotrim_bytes_written",
        /// Extents that were too small for it.
        autotrim_extents_skipped = "autotrim_extents_skipped",
        /// Bytes of those.
        autotrim_bytes_skipped = "autotrim_bytes_skipped",
        /// Extents that it failed to free.
        autotrim_extents_failed = "autotrim_extents_failed",
        /// Bytes of those.
        autotrim_bytes_failed = "autotrim_bytes_failed",
    }
    sometimes {
        /// Reads through the cache. Since 2.3.
        cached_reads = "arc_read_count",
        /// Bytes of those. Since 2.3.
        cached_read_bytes = "arc_read_bytes",
        /// Writes through the cache. Since 2.3.
        cached_writes = "arc_write_count",
        /// Bytes of those. Since 2.3.
        cached_write_bytes = "arc_write_bytes",
        /// Direct reads. Since 2.3.
        direct_reads = "direct_read_count",
        /// Bytes of those. Since 2.3.
        direct_read_bytes = "direct_read_bytes",
        /// Direct writes. Since 2.3.
        direct_writes = "direct_write_count",
        /// Bytes of those. Since 2.3.
        direct_write_bytes = "direct_write_bytes",
    }
}

/// What was read from and written to a dataset, by programs rather than devices.
///
/// Counts are since the filesystem was mounted, or the volume made or the pool imported.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct DatasetStats {
    /// When they were read, in nanoseconds since the machine was started.
    pub taken: u64,
    /// The dataset's name. When a filesystem was renamed since it was mounted (on 2.1 a volume too,
    /// since it was made) the kernel still has the old name.
    pub name: String,
    /// The dataset's object, which is its property `objsetid` and stays the same when it is renamed.
    pub objset: u64,
    /// Writes.
    pub writes: u64,
    /// Bytes of those.
    pub written: u64,
    /// Reads.
    pub reads: u64,
    /// Bytes of those.
    pub read: u64,
    /// Files that were unlinked. With those that were still to be freed when it was mounted.
    pub unlinks: u64,
    /// Unlinked files that were freed.
    pub unlinked: u64,
    /// The dataset's part of the intent log. Since 2.2.
    pub zil: Option<ZilStats>,
    /// What there is besides, under the kernel's names.
    pub other: std::collections::BTreeMap<String, super::StatValue>,
}

impl DatasetStats {
    pub(super) fn from_named(mut stats: NamedStats, objset: u64) -> Result<Self, String> {
        let name = match stats.values.remove("dataset_name") {
            Some(super::StatValue::Text(name)) => name,
            _ => return Err("no dataset_name".to_owned()),
        };
        let mut number = |key| stats.take(key).ok_or_else(|| format!("no {key}"));
        let (writes, written) = (number("writes")?, number("nwritten")?);
        let (reads, read) = (number("reads")?, number("nread")?);
        let (unlinks, unlinked) = (number("nunlinks")?, number("nunlinked")?);
        let taken = stats.taken;
        // In 2.1 the names of the intent log are only those of the module's statistics.
        let (zil, other) = if stats.values.contains_key("zil_commit_count") {
            (Some(ZilStats::from_named(stats)?), Default::default())
        } else {
            (None, stats.values)
        };
        Ok(Self {
            taken,
            name,
            objset,
            writes,
            written,
            reads,
            read,
            unlinks,
            unlinked,
            zil,
            other,
        })
    }
}
