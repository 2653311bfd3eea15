//! The requests that `/dev/zfs` answers.

use core::ffi::c_ulong;

/// What every request starts from; Linux uses none of the size and direction bits of `_IOC`.
const FIRST: c_ulong = 0x5a00;

macro_rules! requests {
    ($($(#[$doc:meta])* $name:ident = $offset:literal $(since $since:literal)?;)*) => {
        $(
            $(#[$doc])*
            pub const $name: c_ulong = FIRST + $offset;
        )*

        /// The name of a request, as the C headers spell it.
        #[must_use]
        pub const fn request_name(request: c_ulong) -> Option<&'static str> {
            match request {
                $($name => Some(stringify!($name)),)*
                _ => None,
            }
        }

        /// Every request and its name, in the order of the numbers.
        pub const REQUESTS: &[(c_ulong, &str)] = &[$(($name, stringify!($name)),)*];
    };
}

// No version has renumbered a request, so one table serves all. *Old-style* requests read and write
// the fields of `zfs_cmd`; *new-style* ones take one nvlist in `zc_nvlist_src`, whose keys the kernel
// checks before anything else, and answer with one in `zc_nvlist_dst`. `cargo xtask abi` reads this
// table and compares it with the headers of every version.
requests! {
    /// Old-style; `zc_name` names a pool.
    ZFS_IOC_POOL_CREATE = 0x00;
    /// Old-style; `zc_name` names a pool.
    ZFS_IOC_POOL_DESTROY = 0x01;
    /// Old-style; `zc_name` names a pool.
    ZFS_IOC_POOL_IMPORT = 0x02;
    /// Old-style; `zc_name` names a pool.
    ZFS_IOC_POOL_EXPORT = 0x03;
    /// Old-style; `zc_name` names nothing.
    ZFS_IOC_POOL_CONFIGS = 0x04;
    /// Old-style; `zc_name` names a pool.
    ZFS_IOC_POOL_STATS = 0x05;
    /// Old-style; `zc_name` names nothing.
    ZFS_IOC_POOL_TRYIMPORT = 0x06;
    /// Old-style; `zc_name` names a pool.
    ZFS_IOC_POOL_SCAN = 0x07;
    /// Old-style; `zc_name` names nothing.
    ZFS_IOC_POOL_FREEZE = 0x08;
    /// Old-style; `zc_name` names a pool.
    ZFS_IOC_POOL_UPGRADE = 0x09;
    /// Old-style; `zc_name` names a pool.
    ZFS_IOC_POOL_GET_HISTORY = 0x0a;
    /// Old-style; `zc_name` names a pool.
    ZFS_IOC_VDEV_ADD = 0x0b;
    /// Old-style; `zc_name` names a pool.
    ZFS_IOC_VDEV_REMOVE = 0x0c;
    /// Old-style; `zc_name` names a pool.
    ZFS_IOC_VDEV_SET_STATE = 0x0d;
    /// Old-style; `zc_name` names a pool.
    ZFS_IOC_VDEV_ATTACH = 0x0e;
    /// Old-style; `zc_name` names a pool.
    ZFS_IOC_VDEV_DETACH = 0x0f;
    /// Old-style; `zc_name` names a pool.
    ZFS_IOC_VDEV_SETPATH = 0x10;
    /// Old-style; `zc_name` names a pool.
    ZFS_IOC_VDEV_SETFRU = 0x11;
    /// Old-style; `zc_name` names a dataset.
    ZFS_IOC_OBJSET_STATS = 0x12;
    /// Old-style; `zc_name` names a dataset.
    ZFS_IOC_OBJSET_ZPLPROPS = 0x13;
    /// Old-style; `zc_name` names a dataset.
    ZFS_IOC_DATASET_LIST_NEXT = 0x14;
    /// Old-style; `zc_name` names a dataset.
    ZFS_IOC_SNAPSHOT_LIST_NEXT = 0x15;
    /// Old-style; `zc_name` names a dataset.
    ZFS_IOC_SET_PROP = 0x16;
    /// New-style; `zc_name` names a dataset.
    ZFS_IOC_CREATE = 0x17;
    /// Old-style; `zc_name` names a dataset.
    ZFS_IOC_DESTROY = 0x18;
    /// New-style; `zc_name` names a dataset.
    ZFS_IOC_ROLLBACK = 0x19;
    /// Old-style; `zc_name` names a dataset.
    ZFS_IOC_RENAME = 0x1a;
    /// Old-style; `zc_name` names a dataset.
    ZFS_IOC_RECV = 0x1b;
    /// Old-style; `zc_name` names a dataset.
    ZFS_IOC_SEND = 0x1c;
    /// Old-style; `zc_name` names nothing.
    ZFS_IOC_INJECT_FAULT = 0x1d;
    /// Old-style; `zc_name` names nothing.
    ZFS_IOC_CLEAR_FAULT = 0x1e;
    /// Old-style; `zc_name` names nothing.
    ZFS_IOC_INJECT_LIST_NEXT = 0x1f;
    /// Old-style; `zc_name` names a pool.
    ZFS_IOC_ERROR_LOG = 0x20;
    /// Old-style; `zc_name` names a pool.
    ZFS_IOC_CLEAR = 0x21;
    /// Old-style; `zc_name` names a dataset.
    ZFS_IOC_PROMOTE = 0x22;
    /// New-style; `zc_name` names a pool.
    ZFS_IOC_SNAPSHOT = 0x23;
    /// Old-style; `zc_name` names a pool.
    ZFS_IOC_DSOBJ_TO_DSNAME = 0x24;
    /// Old-style; `zc_name` names a dataset.
    ZFS_IOC_OBJ_TO_PATH = 0x25;
    /// Old-style; `zc_name` names a pool.
    ZFS_IOC_POOL_SET_PROPS = 0x26;
    /// Old-style in 2.1, new-style since 2.3; `zc_name` names a pool.
    ZFS_IOC_POOL_GET_PROPS = 0x27;
    /// Old-style; `zc_name` names a dataset.
    ZFS_IOC_SET_FSACL = 0x28;
    /// Old-style; `zc_name` names a dataset.
    ZFS_IOC_GET_FSACL = 0x29;
    /// Old-style; `zc_name` names a dataset.
    ZFS_IOC_SHARE = 0x2a;
    /// Old-style; `zc_name` names a dataset.
    ZFS_IOC_INHERIT_PROP = 0x2b;
    /// Old-style; `zc_name` names a dataset.
    ZFS_IOC_SMB_ACL = 0x2c;
    /// Old-style; `zc_name` names a dataset.
    ZFS_IOC_USERSPACE_ONE = 0x2d;
    /// Old-style; `zc_name` names a dataset.
    ZFS_IOC_USERSPACE_MANY = 0x2e;
    /// Old-style; `zc_name` names a dataset.
    ZFS_IOC_USERSPACE_UPGRADE = 0x2f;
    /// New-style; `zc_name` names a pool.
    ZFS_IOC_HOLD = 0x30;
    /// New-style; `zc_name` names a pool.
    ZFS_IOC_RELEASE = 0x31;
    /// New-style; `zc_name` names a dataset.
    ZFS_IOC_GET_HOLDS = 0x32;
    /// Old-style; `zc_name` names a dataset.
    ZFS_IOC_OBJSET_RECVD_PROPS = 0x33;
    /// Old-style; `zc_name` names a pool.
    ZFS_IOC_VDEV_SPLIT = 0x34;
    /// Old-style; `zc_name` names a dataset.
    ZFS_IOC_NEXT_OBJ = 0x35;
    /// Old-style; `zc_name` names a dataset.
    ZFS_IOC_DIFF = 0x36;
    /// Old-style; `zc_name` names a dataset.
    ZFS_IOC_TMP_SNAPSHOT = 0x37;
    /// Old-style; `zc_name` names a dataset.
    ZFS_IOC_OBJ_TO_STATS = 0x38;
    /// Old-style; `zc_name` names a dataset.
    ZFS_IOC_SPACE_WRITTEN = 0x39;
    /// New-style; `zc_name` names a dataset.
    ZFS_IOC_SPACE_SNAPS = 0x3a;
    /// New-style; `zc_name` names a pool.
    ZFS_IOC_DESTROY_SNAPS = 0x3b;
    /// Old-style; `zc_name` names a pool.
    ZFS_IOC_POOL_REGUID = 0x3c;
    /// New-style; `zc_name` names a pool.
    ZFS_IOC_POOL_REOPEN = 0x3d;
    /// Old-style; `zc_name` names a dataset.
    ZFS_IOC_SEND_PROGRESS = 0x3e;
    /// New-style; `zc_name` names nothing.
    ZFS_IOC_LOG_HISTORY = 0x3f;
    /// New-style; `zc_name` names a dataset.
    ZFS_IOC_SEND_NEW = 0x40;
    /// New-style; `zc_name` names a dataset.
    ZFS_IOC_SEND_SPACE = 0x41;
    /// New-style; `zc_name` names a dataset.
    ZFS_IOC_CLONE = 0x42;
    /// New-style; `zc_name` names a pool.
    ZFS_IOC_BOOKMARK = 0x43;
    /// New-style; `zc_name` names a dataset.
    ZFS_IOC_GET_BOOKMARKS = 0x44;
    /// New-style; `zc_name` names a pool.
    ZFS_IOC_DESTROY_BOOKMARKS = 0x45;
    /// New-style; `zc_name` names a dataset.
    ZFS_IOC_RECV_NEW = 0x46;
    /// New-style; `zc_name` names a pool.
    ZFS_IOC_POOL_SYNC = 0x47;
    /// New-style; `zc_name` names a pool.
    ZFS_IOC_CHANNEL_PROGRAM = 0x48;
    /// New-style; `zc_name` names a dataset.
    ZFS_IOC_LOAD_KEY = 0x49;
    /// New-style; `zc_name` names a dataset.
    ZFS_IOC_UNLOAD_KEY = 0x4a;
    /// New-style; `zc_name` names a dataset.
    ZFS_IOC_CHANGE_KEY = 0x4b;
    /// New-style; `zc_name` names a dataset.
    ZFS_IOC_REMAP = 0x4c;
    /// New-style; `zc_name` names a pool.
    ZFS_IOC_POOL_CHECKPOINT = 0x4d;
    /// New-style; `zc_name` names a pool.
    ZFS_IOC_POOL_DISCARD_CHECKPOINT = 0x4e;
    /// New-style; `zc_name` names a pool.
    ZFS_IOC_POOL_INITIALIZE = 0x4f;
    /// New-style; `zc_name` names a pool.
    ZFS_IOC_POOL_TRIM = 0x50;
    /// New-style; `zc_name` names a dataset.
    ZFS_IOC_REDACT = 0x51;
    /// New-style; `zc_name` names a dataset or bookmark.
    ZFS_IOC_GET_BOOKMARK_PROPS = 0x52;
    /// New-style; `zc_name` names a pool.
    ZFS_IOC_WAIT = 0x53;
    /// New-style; `zc_name` names a dataset.
    ZFS_IOC_WAIT_FS = 0x54;
    /// New-style; `zc_name` names a pool. Since 2.2.
    ZFS_IOC_VDEV_GET_PROPS = 0x55 since "2.2";
    /// New-style; `zc_name` names a pool. Since 2.2.
    ZFS_IOC_VDEV_SET_PROPS = 0x56 since "2.2";
    /// New-style; `zc_name` names a pool. Since 2.2.
    ZFS_IOC_POOL_SCRUB = 0x57 since "2.2";
    /// New-style; `zc_name` names a pool. Since 2.3.
    ZFS_IOC_POOL_PREFETCH = 0x58 since "2.3";
    /// New-style; `zc_name` names a pool. Since 2.3.
    ZFS_IOC_DDT_PRUNE = 0x59 since "2.3";
    /// Old-style; `zc_name` names nothing.
    ZFS_IOC_EVENTS_NEXT = 0x81;
    /// Old-style; `zc_name` names nothing.
    ZFS_IOC_EVENTS_CLEAR = 0x82;
    /// Old-style; `zc_name` names nothing.
    ZFS_IOC_EVENTS_SEEK = 0x83;
    /// Old-style; `zc_name` names a dataset. Since 2.2.
    ZFS_IOC_USERNS_ATTACH = 0x85 since "2.2";
    /// Old-style; `zc_name` names a dataset. Since 2.2.
    ZFS_IOC_USERNS_DETACH = 0x86 since "2.2";
    /// New-style; `zc_name` names a pool.
    ZFS_IOC_SET_BOOTENV = 0x87;
    /// New-style; `zc_name` names a pool.
    ZFS_IOC_GET_BOOTENV = 0x88;
}
