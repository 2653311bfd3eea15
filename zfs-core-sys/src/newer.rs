//! Constants that came after 2.1, with the version that added them.
//!
//! The build compares each with the installed headers where these are new enough.

use core::ffi::{CStr, c_uint};

/// What 2.2 added.
pub mod since_2_2 {
    use super::{CStr, c_uint};

    /// The vdev does not support the operation.
    pub const ZFS_ERR_VDEV_NOTSUP: c_uint = 1045;
    /// The descriptor is not that of a user namespace.
    pub const ZFS_ERR_NOT_USER_NAMESPACE: c_uint = 1046;
    /// A receive that can be resumed is in the way.
    pub const ZFS_ERR_RESUME_EXISTS: c_uint = 1047;
    /// The pool's encryption is not supported.
    pub const ZFS_ERR_CRYPTO_NOTSUP: c_uint = 1048;

    /// Of `pool_scan_func_t`: only blocks that are known to be damaged.
    pub const POOL_SCAN_ERRORSCRUB: c_uint = 3;
    /// Of `dsl_scan_state_t`: such a scrub is running.
    pub const DSS_ERRORSCRUBBING: c_uint = 4;
    /// Of `pool_initialize_func_t`: forget that the vdev was initialized.
    pub const POOL_INITIALIZE_UNINIT: c_uint = 3;

    /// Input of `lzc_get_vdev_prop`: the vdev's GUID.
    pub const ZPOOL_VDEV_PROPS_GET_VDEV: &CStr = c"vdevprops_get_vdev";
    /// Input of `lzc_get_vdev_prop`: the names that are wanted.
    pub const ZPOOL_VDEV_PROPS_GET_PROPS: &CStr = c"vdevprops_get_props";
    /// Input of `lzc_set_vdev_prop`: the vdev's GUID.
    pub const ZPOOL_VDEV_PROPS_SET_VDEV: &CStr = c"vdevprops_set_vdev";
    /// Input of `lzc_set_vdev_prop`: the names and their values.
    pub const ZPOOL_VDEV_PROPS_SET_PROPS: &CStr = c"vdevprops_set_props";
}

/// What 2.3 added.
pub mod since_2_3 {
    use super::{CStr, c_uint};

    /// A RAID-Z expansion is running.
    pub const ZFS_ERR_RAIDZ_EXPAND_IN_PROGRESS: c_uint = 1049;
    /// The new vdev's sectors do not fit the pool's.
    pub const ZFS_ERR_ASHIFT_MISMATCH: c_uint = 1050;
    /// The stream has large microzaps and the pool does not support them.
    pub const ZFS_ERR_STREAM_LARGE_MICROZAP: c_uint = 1051;

    /// Of `pool_scrub_cmd_t`: only what was written since the last scrub.
    pub const POOL_SCRUB_FROM_LAST_TXG: c_uint = 2;
    /// Of `zpool_wait_activity_t`: a RAID-Z expansion.
    pub const ZPOOL_WAIT_RAIDZ_EXPAND: c_uint = 8;

    /// For `lzc_pool_prefetch`: the deduplication table.
    pub const ZPOOL_PREFETCH_DDT: c_uint = 1;
    /// For `lzc_ddt_prune`: entries older than a number of seconds.
    pub const ZPOOL_DDT_PRUNE_AGE: c_uint = 1;
    /// For `lzc_ddt_prune`: a percentage of the entries, 1 to 100.
    pub const ZPOOL_DDT_PRUNE_PERCENTAGE: c_uint = 2;

    /// Input of `ZFS_IOC_POOL_GET_PROPS`: names that are not read unless asked for.
    pub const ZPOOL_GET_PROPS_NAMES: &CStr = c"get_props_names";
    /// Input of `ZFS_IOC_POOL_REGUID`: the new GUID.
    pub const ZPOOL_REGUID_GUID: &CStr = c"guid";
    /// Input of `ZFS_IOC_POOL_PREFETCH`: what to load.
    pub const ZPOOL_PREFETCH_TYPE: &CStr = c"prefetch_type";
    /// Input of `ZFS_IOC_DDT_PRUNE`: the unit.
    pub const DDT_PRUNE_UNIT: &CStr = c"ddt_prune_unit";
    /// Input of `ZFS_IOC_DDT_PRUNE`: how much.
    pub const DDT_PRUNE_AMOUNT: &CStr = c"ddt_prune_amount";
}

/// What 2.4 added.
pub mod since_2_4 {
    use super::c_uint;

    /// Too many vdevs sit out already.
    pub const ZFS_ERR_TOO_MANY_SITOUTS: c_uint = 1052;
    /// For `lzc_pool_prefetch`: the block reference table.
    pub const ZPOOL_PREFETCH_BRT: c_uint = 2;
}
