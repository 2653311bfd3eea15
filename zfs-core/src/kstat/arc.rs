use super::named::stats;

stats! {
    /// The cache in memory (ARC) and on cache devices (L2ARC).
    ///
    /// Counts are since the module was loaded, sizes are bytes.
    ArcStats {
        /// Blocks that were found in memory.
        hits = "hits",
        /// Blocks that were not.
        misses = "misses",
        /// Hits of data that somebody waited for.
        demand_data_hits = "demand_data_hits",
        /// Misses of data that somebody waited for.
        demand_data_misses = "demand_data_misses",
        /// Hits of metadata that somebody waited for.
        demand_metadata_hits = "demand_metadata_hits",
        /// Misses of metadata that somebody waited for.
        demand_metadata_misses = "demand_metadata_misses",
        /// Hits of data that were read ahead.
        prefetch_data_hits = "prefetch_data_hits",
        /// Misses of data that were read ahead.
        prefetch_data_misses = "prefetch_data_misses",
        /// Hits of metadata that were read ahead.
        prefetch_metadata_hits = "prefetch_metadata_hits",
        /// Misses of metadata that were read ahead.
        prefetch_metadata_misses = "prefetch_metadata_misses",
        /// Hits among what was used once lately.
        mru_hits = "mru_hits",
        /// Misses of what was evicted from there lately.
        mru_ghost_hits = "mru_ghost_hits",
        /// Hits among what is used often.
        mfu_hits = "mfu_hits",
        /// Misses of what was evicted from there lately.
        mfu_ghost_hits = "mfu_ghost_hits",
        /// Blocks that were evicted.
        deleted = "deleted",
        /// How often less was evicted than was wanted.
        evict_not_enough = "evict_not_enough",
        /// Blocks in the table.
        hash_elements = "hash_elements",
        /// The size that it aims for.
        target_size = "c",
        /// The smallest size to aim for.
        min_size = "c_min",
        /// The largest size to aim for.
        max_size = "c_max",
        /// The size that it has.
        size = "size",
        /// Size of the blocks as they are stored, compressed.
        compressed_size = "compressed_size",
        /// Size of the same blocks without compression.
        uncompressed_size = "uncompressed_size",
        /// Size of what is kept uncompressed beside it.
        overhead_size = "overhead_size",
        /// Size of the headers.
        header_size = "hdr_size",
        /// Size of the data.
        data_size = "data_size",
        /// Size of the metadata.
        metadata_size = "metadata_size",
        /// Size of the buffers' structures.
        dbuf_size = "dbuf_size",
        /// Size of the files' structures.
        dnode_size = "dnode_size",
        /// Size of the files' attributes.
        bonus_size = "bonus_size",
        /// Size of what is being written.
        anonymous_size = "anon_size",
        /// Size of what was used once lately.
        mru_size = "mru_size",
        /// Size that the blocks had which were evicted from there lately.
        mru_ghost_size = "mru_ghost_size",
        /// Size of what is used often.
        mfu_size = "mfu_size",
        /// Size that the blocks had which were evicted from there lately.
        mfu_ghost_size = "mfu_ghost_size",
        /// Blocks that were found on a cache device.
        l2_hits = "l2_hits",
        /// Blocks that were not, and were asked for there.
        l2_misses = "l2_misses",
        /// Bytes that were read from cache devices.
        l2_read_bytes = "l2_read_bytes",
        /// Bytes that were written to cache devices.
        l2_write_bytes = "l2_write_bytes",
        /// Writes to cache devices that failed.
        l2_write_errors = "l2_writes_error",
        /// Blocks from a cache device that did not have their checksum.
        l2_checksum_errors = "l2_cksum_bad",
        /// Reads from cache devices that failed.
        l2_io_errors = "l2_io_error",
        /// Size of what is on cache devices, uncompressed.
        l2_size = "l2_size",
        /// The room it takes there.
        l2_allocated_size = "l2_asize",
        /// The memory it takes.
        l2_header_size = "l2_hdr_size",
        /// How often memory was so short that writes had to wait.
        memory_throttle_count = "memory_throttle_count",
        /// Memory of the machine.
        memory_total = "memory_all_bytes",
        /// Memory that is free.
        memory_free = "memory_free_bytes",
        /// Memory that Linux wants back.
        memory_wanted = "arc_need_free",
        /// Memory that is always left free.
        memory_reserved = "arc_sys_free",
        /// Size of the metadata, with all structures.
        metadata_used = "arc_meta_used",
        /// The size of files' structures over which some are dropped.
        dnode_limit = "arc_dnode_limit",
    }
    sometimes {
        /// Blocks that were being read already. Since 2.2.
        io_hits = "iohits",
        /// Size of what is not kept after it was used. Since 2.2.
        uncached_size = "uncached_size",
        /// How many cache devices there are. Since 2.2.
        l2_devices = "l2_ndev",
        /// The size that metadata may take. Only 2.1.
        metadata_limit = "arc_meta_limit",
        /// The most that metadata took. Only 2.1.
        metadata_max = "arc_meta_max",
        /// The size that what was used once lately aims for. Only 2.1.
        mru_target_size = "p",
    }
}

impl ArcStats {
    /// The part of blocks that were found in memory, from 0 to 1, since the module was loaded.
    /// `None` when there was no request.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a ratio need not be exact")]
    pub fn hit_ratio(&self) -> Option<f64> {
        let hits = self.hits.saturating_add(self.io_hits.unwrap_or(0));
        let all = hits.saturating_add(self.misses);
        (all > 0).then(|| hits as f64 / all as f64)
    }
}
