//! Fault injection: the record, and the commands and flags that go with it.

use core::ffi::c_char;
use core::mem::offset_of;

/// A fault to inject, as 2.4 defines it. Older kernels read the first
/// [`ZINJECT_RECORD_OLD_SIZE`] bytes, which are the same.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[doc(alias = "zinject_record_t")]
pub struct zinject_record {
    /// The dataset's object.
    pub zi_objset: u64,
    /// The object in it.
    pub zi_object: u64,
    /// First byte, or first block once the kernel has computed it.
    pub zi_start: u64,
    /// Last byte or block.
    pub zi_end: u64,
    /// The vdev.
    pub zi_guid: u64,
    /// Level of indirection.
    pub zi_level: u32,
    /// The errno to inject.
    pub zi_error: u32,
    /// An object type, or the command of a label or device fault.
    pub zi_type: u64,
    /// How often, as a part of `u32::MAX`; 0 is always.
    pub zi_freq: u32,
    /// 1 to fail fast.
    pub zi_failfast: u32,
    /// Where to panic.
    pub zi_func: [c_char; 256],
    /// The kind of I/O that fails.
    pub zi_iotype: u32,
    /// In transaction groups when positive, in seconds when negative.
    pub zi_duration: i32,
    /// Delay or time stamp, in nanoseconds where it is a time.
    pub zi_timer: u64,
    /// How many I/Os may be delayed at once.
    pub zi_nlanes: u64,
    /// One of the `ZINJECT_…` commands.
    pub zi_cmd: u32,
    /// Which copies of a block fail, as bits.
    pub zi_dvas: u32,
    /// Since 2.4: how many I/Os matched.
    pub zi_match_count: u64,
    /// Since 2.4: how many faults were injected.
    pub zi_inject_count: u64,
}

/// Size in bytes of [`zinject_record`] before 2.4.
pub const ZINJECT_RECORD_OLD_SIZE: usize = offset_of!(zinject_record, zi_match_count);

super::layout! {
    zinject_record: 368 since "2.4", align 8;
    zi_objset = 0,
    zi_object = 8,
    zi_start = 16,
    zi_end = 24,
    zi_guid = 32,
    zi_level = 40,
    zi_error = 44,
    zi_type = 48,
    zi_freq = 56,
    zi_failfast = 60,
    zi_func = 64,
    zi_iotype = 320,
    zi_duration = 324,
    zi_timer = 328,
    zi_nlanes = 336,
    zi_cmd = 344,
    zi_dvas = 348,
    zi_match_count = 352 since "2.4",
    zi_inject_count = 360 since "2.4",
}
const _: () = assert!(ZINJECT_RECORD_OLD_SIZE == 352);

super::constants! {
    /// In `zc_guid` of `ZFS_IOC_INJECT_FAULT`: register nothing, only carry out the other flags.
    ZINJECT_NULL: u64 = 0x1;

    /// In `zc_guid`: empty the cache of reads first.
    ZINJECT_FLUSH_ARC: u64 = 0x2;

    /// In `zc_guid`: unload the pool first.
    ZINJECT_UNLOAD_SPA: u64 = 0x4;

    /// In `zc_guid`: compute the blocks from the bytes.
    ZINJECT_CALC_RANGE: u64 = 0x8;

    /// In `zi_cmd`: fail reads of data.
    ZINJECT_DATA_FAULT: u32 = 1;

    /// In `zi_cmd`: fail a device.
    ZINJECT_DEVICE_FAULT: u32 = 2;

    /// In `zi_cmd`: fail the labels of a device.
    ZINJECT_LABEL_FAULT: u32 = 3;

    /// In `zi_cmd`: drop writes.
    ZINJECT_IGNORED_WRITES: u32 = 4;

    /// In `zi_cmd`: panic.
    ZINJECT_PANIC: u32 = 5;

    /// In `zi_cmd`: delay I/O.
    ZINJECT_DELAY_IO: u32 = 6;

    /// In `zi_cmd`: fail decryption.
    ZINJECT_DECRYPT_FAULT: u32 = 7;

    /// In `zi_cmd`, since 2.3: delay an import.
    ZINJECT_DELAY_IMPORT: u32 = 8 since "2.3";

    /// In `zi_cmd`, since 2.3: delay an export.
    ZINJECT_DELAY_EXPORT: u32 = 9 since "2.3";

    /// In `zi_cmd`, since 2.4: delay until a number of I/Os is ready.
    ZINJECT_DELAY_READY: u32 = 10 since "2.4";
}
