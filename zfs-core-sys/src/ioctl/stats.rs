//! Statistics, which arrive in a pool's configuration as arrays of `u64`.
//!
//! The arrays grow from version to version, and a word changed its meaning once: the length of the
//! array tells which words there are, and nothing else does.

/// Names the words of a statistics array.
///
/// `since` and `before` say which versions' structure has the field at that word; `cargo xtask abi`
/// reads these tables and compares them with the headers of every version.
macro_rules! words {
    ($struct:ident; $($(#[$doc:meta])* $name:ident: $field:ident = $word:literal $($when:ident $version:literal)?;)*) => {
        $(
            $(#[$doc])*
            pub const $name: usize = $word;
        )*
    };
}

/// Kinds of I/O that [`VS_OPS`] and [`VS_BYTES`] count: none, read, write, free, claim, flush.
pub const VS_ZIO_TYPES: usize = 6;
/// Length of `vdev_stats` in 2.1. 2.2 has one word more, 2.3 and 2.4 have two.
pub const VDEV_STAT_WORDS_2_1: usize = 46;
/// Length of `scan_stats` in 2.1. Later versions have 22 words.
pub const POOL_SCAN_STAT_WORDS_2_1: usize = 15;

// The array `vdev_stats` of a vdev.
words! {
    vdev_stat;
    /// Time since the vdev was opened, in nanoseconds.
    VS_TIMESTAMP: vs_timestamp = 0;
    /// A `vdev_state_t`.
    VS_STATE: vs_state = 1;
    /// A `vdev_aux_t`: why the state is what it is.
    VS_AUX: vs_aux = 2;
    /// Bytes allocated.
    VS_ALLOC: vs_alloc = 3;
    /// Bytes of capacity.
    VS_SPACE: vs_space = 4;
    /// Bytes of capacity after parity.
    VS_DSPACE: vs_dspace = 5;
    /// Bytes that a replacement must have.
    VS_RSIZE: vs_rsize = 6;
    /// Bytes that it could grow by.
    VS_ESIZE: vs_esize = 7;
    /// Operations, one word for each of [`VS_ZIO_TYPES`] kinds of I/O.
    VS_OPS: vs_ops = 8;
    /// Bytes, one word for each of [`VS_ZIO_TYPES`] kinds of I/O.
    VS_BYTES: vs_bytes = 14;
    /// Reads that failed.
    VS_READ_ERRORS: vs_read_errors = 20;
    /// Writes that failed.
    VS_WRITE_ERRORS: vs_write_errors = 21;
    /// Blocks whose checksum was wrong.
    VS_CHECKSUM_ERRORS: vs_checksum_errors = 22;
    /// Writes of an initialize that failed.
    VS_INITIALIZE_ERRORS: vs_initialize_errors = 23;
    /// Bytes repaired.
    VS_SELF_HEALED: vs_self_healed = 24;
    /// 1 while the vdev is being removed.
    VS_SCAN_REMOVING: vs_scan_removing = 25;
    /// Bytes that a scan repaired or copied.
    VS_SCAN_PROCESSED: vs_scan_processed = 26;
    /// Fragmentation of the free space, in percent.
    VS_FRAGMENTATION: vs_fragmentation = 27;
    /// Bytes initialized.
    VS_INITIALIZE_BYTES_DONE: vs_initialize_bytes_done = 28;
    /// Bytes to initialize in all.
    VS_INITIALIZE_BYTES_EST: vs_initialize_bytes_est = 29;
    /// A `vdev_initializing_state_t`.
    VS_INITIALIZE_STATE: vs_initialize_state = 30;
    /// When that state was entered, in seconds since 1970.
    VS_INITIALIZE_ACTION_TIME: vs_initialize_action_time = 31;
    /// Bytes that only the checkpoint needs.
    VS_CHECKPOINT_SPACE: vs_checkpoint_space = 32;
    /// 1 when a resilver waits for another one.
    VS_RESILVER_DEFERRED: vs_resilver_deferred = 33;
    /// Operations that took too long.
    VS_SLOW_IOS: vs_slow_ios = 34;
    /// Trims that failed.
    VS_TRIM_ERRORS: vs_trim_errors = 35;
    /// 1 when the device cannot trim.
    VS_TRIM_NOTSUP: vs_trim_notsup = 36;
    /// Bytes trimmed.
    VS_TRIM_BYTES_DONE: vs_trim_bytes_done = 37;
    /// Bytes to trim in all.
    VS_TRIM_BYTES_EST: vs_trim_bytes_est = 38;
    /// A `vdev_trim_state_t`.
    VS_TRIM_STATE: vs_trim_state = 39;
    /// When that state was entered, in seconds since 1970.
    VS_TRIM_ACTION_TIME: vs_trim_action_time = 40;
    /// Bytes rebuilt.
    VS_REBUILD_PROCESSED: vs_rebuild_processed = 41;
    /// Logarithm of the sector size in use.
    VS_CONFIGURED_ASHIFT: vs_configured_ashift = 42;
    /// Logarithm of the logical sector size.
    VS_LOGICAL_ASHIFT: vs_logical_ashift = 43;
    /// Logarithm of the physical sector size.
    VS_PHYSICAL_ASHIFT: vs_physical_ashift = 44;
    /// Bytes of physical capacity, before 2.2: only in an array of [`VDEV_STAT_WORDS_2_1`] words.
    VS_PSPACE_2_1: vs_pspace = 45 before "2.2";
    /// 1 when nothing is allocated from the vdev. Since 2.2.
    VS_NOALLOC: vs_noalloc = 45 since "2.2";
    /// Bytes of physical capacity. Since 2.2.
    VS_PSPACE: vs_pspace = 46 since "2.2";
    /// Direct writes whose data changed meanwhile. Since 2.3.
    VS_DIO_VERIFY_ERRORS: vs_dio_verify_errors = 47 since "2.3";
}

// The array `scan_stats` of the root vdev.
words! {
    pool_scan_stat;
    /// A `pool_scan_func_t`.
    PSS_FUNC: pss_func = 0;
    /// A `dsl_scan_state_t`.
    PSS_STATE: pss_state = 1;
    /// When it began, in seconds since 1970.
    PSS_START_TIME: pss_start_time = 2;
    /// When it ended, in seconds since 1970.
    PSS_END_TIME: pss_end_time = 3;
    /// Bytes to examine in all.
    PSS_TO_EXAMINE: pss_to_examine = 4;
    /// Bytes examined.
    PSS_EXAMINED: pss_examined = 5;
    /// Bytes to process, before 2.2.
    PSS_TO_PROCESS_2_1: pss_to_process = 6 before "2.2";
    /// Bytes skipped. Since 2.2.
    PSS_SKIPPED: pss_skipped = 6 since "2.2";
    /// Bytes repaired or copied.
    PSS_PROCESSED: pss_processed = 7;
    /// Errors met.
    PSS_ERRORS: pss_errors = 8;
    /// Bytes examined in this pass.
    PSS_PASS_EXAM: pss_pass_exam = 9;
    /// When this pass began, in seconds since 1970.
    PSS_PASS_START: pss_pass_start = 10;
    /// When it was paused, in seconds since 1970; 0 when it is not.
    PSS_PASS_SCRUB_PAUSE: pss_pass_scrub_pause = 11;
    /// Seconds that this pass was paused for.
    PSS_PASS_SCRUB_SPENT_PAUSED: pss_pass_scrub_spent_paused = 12;
    /// Bytes issued in this pass.
    PSS_PASS_ISSUED: pss_pass_issued = 13;
    /// Bytes issued.
    PSS_ISSUED: pss_issued = 14;
    /// A `pool_scan_func_t`. Since 2.2.
    PSS_ERROR_SCRUB_FUNC: pss_error_scrub_func = 15 since "2.2";
    /// A `dsl_scan_state_t`. Since 2.2.
    PSS_ERROR_SCRUB_STATE: pss_error_scrub_state = 16 since "2.2";
    /// When it began, in seconds since 1970. Since 2.2.
    PSS_ERROR_SCRUB_START: pss_error_scrub_start = 17 since "2.2";
    /// When it ended, in seconds since 1970. Since 2.2.
    PSS_ERROR_SCRUB_END: pss_error_scrub_end = 18 since "2.2";
    /// Blocks examined. Since 2.2.
    PSS_ERROR_SCRUB_EXAMINED: pss_error_scrub_examined = 19 since "2.2";
    /// Blocks still to examine. Since 2.2.
    PSS_ERROR_SCRUB_TO_BE_EXAMINED: pss_error_scrub_to_be_examined = 20 since "2.2";
    /// When it was paused, in milliseconds. Since 2.2.
    PSS_PASS_ERROR_SCRUB_PAUSE: pss_pass_error_scrub_pause = 21 since "2.2";
}

// The array `org.openzfs:rebuild_stats` of a vdev of the top.
words! {
    vdev_rebuild_stat;
    /// A `vdev_rebuild_state_t`.
    VRS_STATE: vrs_state = 0;
    /// When it began, in seconds since 1970.
    VRS_START_TIME: vrs_start_time = 1;
    /// When it ended, in seconds since 1970.
    VRS_END_TIME: vrs_end_time = 2;
    /// How long it ran in all, in milliseconds.
    VRS_SCAN_TIME_MS: vrs_scan_time_ms = 3;
    /// Bytes scanned.
    VRS_BYTES_SCANNED: vrs_bytes_scanned = 4;
    /// Bytes whose reading was begun.
    VRS_BYTES_ISSUED: vrs_bytes_issued = 5;
    /// Bytes rebuilt.
    VRS_BYTES_REBUILT: vrs_bytes_rebuilt = 6;
    /// Bytes to scan in all.
    VRS_BYTES_EST: vrs_bytes_est = 7;
    /// Errors met.
    VRS_ERRORS: vrs_errors = 8;
    /// How long this pass has run, in milliseconds.
    VRS_PASS_TIME_MS: vrs_pass_time_ms = 9;
    /// Bytes scanned in this pass.
    VRS_PASS_BYTES_SCANNED: vrs_pass_bytes_scanned = 10;
    /// Bytes issued in this pass.
    VRS_PASS_BYTES_ISSUED: vrs_pass_bytes_issued = 11;
    /// Bytes skipped in this pass. Since 2.2.
    VRS_PASS_BYTES_SKIPPED: vrs_pass_bytes_skipped = 12 since "2.2";
}

// The array `removal_stats` of the root vdev.
words! {
    pool_removal_stat;
    /// A `dsl_scan_state_t`.
    PRS_STATE: prs_state = 0;
    /// The place of the vdev among those of the top.
    PRS_REMOVING_VDEV: prs_removing_vdev = 1;
    /// When it began, in seconds since 1970.
    PRS_START_TIME: prs_start_time = 2;
    /// When it ended, in seconds since 1970.
    PRS_END_TIME: prs_end_time = 3;
    /// Bytes to copy in all.
    PRS_TO_COPY: prs_to_copy = 4;
    /// Bytes copied.
    PRS_COPIED: prs_copied = 5;
    /// Bytes of memory that the mappings of all removed vdevs take.
    PRS_MAPPING_MEMORY: prs_mapping_memory = 6;
}

// The array `checkpoint_stats` of the root vdev.
words! {
    pool_checkpoint_stat;
    /// A `checkpoint_state_t`.
    PCS_STATE: pcs_state = 0;
    /// When it was taken, or its discarding began, in seconds since 1970.
    PCS_START_TIME: pcs_start_time = 1;
    /// Bytes that only the checkpoint needs.
    PCS_SPACE: pcs_space = 2;
}

// The array `raidz_expand_stats` of the root vdev. Since 2.3.
words! {
    pool_raidz_expand_stat;
    /// A `dsl_scan_state_t`.
    PRES_STATE: pres_state = 0 since "2.3";
    /// The place of the vdev among those of the top.
    PRES_EXPANDING_VDEV: pres_expanding_vdev = 1 since "2.3";
    /// When it began, in seconds since 1970.
    PRES_START_TIME: pres_start_time = 2 since "2.3";
    /// When it ended, in seconds since 1970.
    PRES_END_TIME: pres_end_time = 3 since "2.3";
    /// Bytes to move in all.
    PRES_TO_REFLOW: pres_to_reflow = 4 since "2.3";
    /// Bytes moved.
    PRES_REFLOWED: pres_reflowed = 5 since "2.3";
    /// 1 while it waits for a resilver.
    PRES_WAITING_FOR_RESILVER: pres_waiting_for_resilver = 6 since "2.3";
}
