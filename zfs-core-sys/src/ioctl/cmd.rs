//! `zfs_cmd`, the one structure that every request passes, and what it embeds.

use core::ffi::c_char;
use core::fmt;
use core::ptr;

use super::inject::zinject_record;
use super::replay::drr_begin;

/// Length of `zc_name`.
pub const ZC_NAME_LEN: usize = 4096;
/// Length of `zc_value`.
pub const ZC_VALUE_LEN: usize = 8192;
/// Length of `zc_string`, and of every buffer for one dataset name.
pub const ZC_STRING_LEN: usize = 256;

/// The argument of every request to `/dev/zfs`.
///
/// It is the same in every version: 13744 bytes, which the kernel copies in and, even when the
/// request fails, out again. Which fields a request reads and writes is its own affair; the others
/// must be zero. Pointers are `u64`, so the structure is the same for 32-bit callers.
#[repr(C)]
#[doc(alias = "zfs_cmd_t")]
pub struct zfs_cmd {
    /// The object: a NUL-terminated name. List requests write the next name here.
    pub zc_name: [c_char; ZC_NAME_LEN],
    /// Address of the packed input nvlist.
    pub zc_nvlist_src: u64,
    /// Its size in bytes; 0 stands for no input.
    pub zc_nvlist_src_size: u64,
    /// Address of the buffer for the answer.
    pub zc_nvlist_dst: u64,
    /// Its size in bytes. With `ENOMEM` the kernel writes the size that it needs.
    pub zc_nvlist_dst_size: u64,
    /// Whether the kernel wrote an answer (a C `boolean_t`).
    pub zc_nvlist_dst_filled: i32,
    /// Unused.
    pub zc_pad2: i32,
    /// Address of a string for the pool history, or of the buffer when the history is read.
    pub zc_history: u64,
    /// A second name or value; its meaning is the request's.
    pub zc_value: [c_char; ZC_VALUE_LEN],
    /// A short name that the kernel returns or receives.
    pub zc_string: [c_char; ZC_STRING_LEN],
    /// A GUID, a flag word or a cursor; its meaning is the request's.
    pub zc_guid: u64,
    /// Address of a second packed input nvlist: a pool configuration.
    pub zc_nvlist_conf: u64,
    /// Its size in bytes.
    pub zc_nvlist_conf_size: u64,
    /// A cursor, a descriptor or a flag word; its meaning is the request's.
    pub zc_cookie: u64,
    /// An objset type, a quota type or a count; its meaning is the request's.
    pub zc_objset_type: u64,
    /// A permission action or a count; its meaning is the request's.
    pub zc_perm_action: u64,
    /// Size in bytes of what `zc_history` points to.
    pub zc_history_len: u64,
    /// Where in the history to read, in bytes.
    pub zc_history_offset: u64,
    /// An object number or a flag word; its meaning is the request's.
    pub zc_obj: u64,
    /// Internal flags; zero from here.
    pub zc_iflags: u64,
    /// For the sharing request, which Linux does not use.
    pub zc_share: zfs_share,
    /// What the kernel knows of a dataset without reading its properties.
    pub zc_objset_stats: dmu_objset_stats,
    /// The header of the stream that is to be received.
    pub zc_begin_record: drr_begin,
    /// Fault injection, or the three fields that share its last bytes since 2.4.
    pub zc_tail: zfs_cmd_tail,
    /// A descriptor of `/dev/zfs` that the kernel ties something's lifetime to.
    pub zc_cleanup_fd: i32,
    /// A switch; its meaning is the request's.
    pub zc_simple: u8,
    /// Unused.
    pub zc_pad: [u8; 3],
    /// The object that a stream is made from.
    pub zc_sendobj: u64,
    /// The object that an incremental stream starts from.
    pub zc_fromobj: u64,
    /// A transaction group.
    pub zc_createtxg: u64,
    /// What the kernel knows of a file.
    pub zc_stat: zfs_stat,
    /// The zone; zero on Linux.
    pub zc_zoneid: u64,
}

impl zfs_cmd {
    /// A command whose every byte is zero, which is where every request starts.
    ///
    /// It is boxed because 13 KiB is much for the stack of a small thread.
    #[must_use]
    pub fn zeroed() -> Box<Self> {
        let mut cmd = Box::<Self>::new_uninit();
        // SAFETY: the pointer is that of a live allocation of exactly one `zfs_cmd`.
        unsafe { ptr::write_bytes(cmd.as_mut_ptr(), 0, 1) };
        // SAFETY: all bytes were written, and the structure holds only integers, arrays of them and
        // unions of such structures, for all of which zero is a value.
        unsafe { cmd.assume_init() }
    }
}

impl fmt::Debug for zfs_cmd {
    // The name and the addresses are what a reader of a log can use of 13 KiB.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("zfs_cmd")
            .field("zc_nvlist_src_size", &self.zc_nvlist_src_size)
            .field("zc_nvlist_dst_size", &self.zc_nvlist_dst_size)
            .field("zc_nvlist_dst_filled", &self.zc_nvlist_dst_filled)
            .field("zc_cookie", &self.zc_cookie)
            .field("zc_guid", &self.zc_guid)
            .finish_non_exhaustive()
    }
}

/// The part of [`zfs_cmd`] that 2.4 made a union, because its fault injection record grew into the
/// fields behind it. No request uses both.
#[repr(C)]
#[derive(Clone, Copy)]
pub union zfs_cmd_tail {
    /// For the fault injection requests.
    pub zc_inject_record: zinject_record,
    /// For all other requests.
    pub fields: zfs_cmd_tail_fields,
}

impl fmt::Debug for zfs_cmd_tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("zfs_cmd_tail").finish_non_exhaustive()
    }
}

/// The fields behind the fault injection record of 2.1.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct zfs_cmd_tail_fields {
    /// The record of 2.1 and 2.3.
    pub zc_pad: [u8; 352],
    /// Whether destroying waits for the last hold (a C `boolean_t`).
    pub zc_defer_destroy: u32,
    /// A flag word; its meaning is the request's.
    pub zc_flags: u32,
    /// Unused by the supported versions.
    pub zc_action_handle: u64,
}

/// The argument of `ZFS_IOC_SHARE`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[doc(alias = "zfs_share_t")]
pub struct zfs_share {
    /// Address of the export data.
    pub z_exportdata: u64,
    /// Address of the share data.
    pub z_sharedata: u64,
    /// Kind of sharing.
    pub z_sharetype: u64,
    /// Size in bytes of the share data.
    pub z_sharemax: u64,
}

/// What the kernel tells of a dataset beside its properties.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[doc(alias = "dmu_objset_stats_t")]
pub struct dmu_objset_stats {
    /// Number of clones of this snapshot.
    pub dds_num_clones: u64,
    /// Transaction group in which it was made.
    pub dds_creation_txg: u64,
    /// Its GUID.
    pub dds_guid: u64,
    /// A `dmu_objset_type_t`.
    pub dds_type: u32,
    /// 1 for a snapshot.
    pub dds_is_snapshot: u8,
    /// 1 while it is received into or destroyed.
    pub dds_inconsistent: u8,
    /// 1 when it was received from a redacted stream.
    pub dds_redacted: u8,
    /// The snapshot that it is a clone of, or an empty string.
    pub dds_origin: [c_char; ZC_STRING_LEN],
    /// Since 2.3: [`DDS_FLAG_ENCRYPTED`] when [`DDS_FLAG_HAS_ENCRYPTED`] is set. Padding before.
    pub dds_flags: u8,
}

super::constants! {
    /// In `dds_flags`: the dataset is encrypted.
    DDS_FLAG_ENCRYPTED: u8 = 0x01 since "2.3";

    /// In `dds_flags`: the kernel fills in [`DDS_FLAG_ENCRYPTED`].
    DDS_FLAG_HAS_ENCRYPTED: u8 = 0x80 since "2.3";
}

/// What the kernel tells of a file.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[doc(alias = "zfs_stat_t")]
pub struct zfs_stat {
    /// Transaction group in which the object was made.
    pub zs_gen: u64,
    /// Type and permission bits.
    pub zs_mode: u64,
    /// Number of links.
    pub zs_links: u64,
    /// Time of the last change: seconds, nanoseconds.
    pub zs_ctime: [u64; 2],
}

/// One entry of the answer to `ZFS_IOC_USERSPACE_MANY`, which is an array and no nvlist.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[doc(alias = "zfs_useracct_t")]
pub struct zfs_useracct {
    /// The SID's domain, or an empty string for a plain id.
    pub zu_domain: [c_char; 256],
    /// User, group or project id, or the SID's last part.
    pub zu_rid: u32,
    /// Unused.
    pub zu_pad: u32,
    /// Bytes or objects, as the request asked.
    pub zu_space: u64,
}

/// One entry of what `ZFS_IOC_DIFF` writes to its descriptor.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[doc(alias = "dmu_diff_record_t")]
pub struct dmu_diff_record {
    /// [`DDR_NONE`], [`DDR_INUSE`] or [`DDR_FREE`].
    pub ddr_type: u64,
    /// First object of the range.
    pub ddr_first: u64,
    /// Last object of the range.
    pub ddr_last: u64,
}

super::constants! {
    /// A record that says nothing.
    DDR_NONE: u64 = 1;

    /// The objects of the range are in use.
    DDR_INUSE: u64 = 2;

    /// The objects of the range are free.
    DDR_FREE: u64 = 4;
}

/// A block's place; an entry of the answer to `ZFS_IOC_ERROR_LOG`, which is an array and no nvlist.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[doc(alias = "zbookmark_phys_t")]
pub struct zbookmark_phys {
    /// The dataset's object.
    pub zb_objset: u64,
    /// The object in it.
    pub zb_object: u64,
    /// Level of indirection; negative for what is no block of an object.
    pub zb_level: i64,
    /// Number of the block at that level.
    pub zb_blkid: u64,
}

super::layout! {
    zfs_cmd: 13744, align 8;
    zc_name = 0,
    zc_nvlist_src = 4096,
    zc_nvlist_src_size = 4104,
    zc_nvlist_dst = 4112,
    zc_nvlist_dst_size = 4120,
    zc_nvlist_dst_filled = 4128,
    zc_pad2 = 4132,
    zc_history = 4136,
    zc_value = 4144,
    zc_string = 12336,
    zc_guid = 12592,
    zc_nvlist_conf = 12600,
    zc_nvlist_conf_size = 12608,
    zc_cookie = 12616,
    zc_objset_type = 12624,
    zc_perm_action = 12632,
    zc_history_len = 12640,
    zc_history_offset = 12648,
    zc_obj = 12656,
    zc_iflags = 12664,
    zc_share = 12672,
    zc_objset_stats = 12704,
    zc_begin_record = 12992,
    zc_tail.zc_inject_record = 13296,
    zc_tail.fields.zc_defer_destroy = 13648,
    zc_tail.fields.zc_flags = 13652,
    zc_tail.fields.zc_action_handle = 13656,
    zc_cleanup_fd = 13664,
    zc_simple = 13668,
    zc_pad = 13669,
    zc_sendobj = 13672,
    zc_fromobj = 13680,
    zc_createtxg = 13688,
    zc_stat = 13696,
    zc_zoneid = 13736,
}

super::layout! {
    zfs_share: 32, align 8;
    z_exportdata = 0,
    z_sharedata = 8,
    z_sharetype = 16,
    z_sharemax = 24,
}

super::layout! {
    dmu_objset_stats: 288, align 8;
    dds_num_clones = 0,
    dds_creation_txg = 8,
    dds_guid = 16,
    dds_type = 24,
    dds_is_snapshot = 28,
    dds_inconsistent = 29,
    dds_redacted = 30,
    dds_origin = 31,
    dds_flags = 287 since "2.3",
}

super::layout! {
    zfs_stat: 40, align 8;
    zs_gen = 0,
    zs_mode = 8,
    zs_links = 16,
    zs_ctime = 24,
}

super::layout! {
    zfs_useracct: 272, align 8;
    zu_domain = 0,
    zu_rid = 256,
    zu_pad = 260,
    zu_space = 264,
}

super::layout! {
    dmu_diff_record: 24, align 8;
    ddr_type = 0,
    ddr_first = 8,
    ddr_last = 16,
}

super::layout! {
    zbookmark_phys: 32, align 8;
    zb_objset = 0,
    zb_object = 8,
    zb_level = 16,
    zb_blkid = 24,
}
