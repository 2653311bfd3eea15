//! `dmu_replay_record`, the 312-byte header of every record of a send stream.

use core::ffi::c_char;
use core::fmt;

super::constants! {
    /// The magic number of a stream that was written with this machine's byte order.
    DMU_BACKUP_MAGIC: u64 = 0x2_f5ba_cbac;

    /// `drr_type`: begins a stream.
    DRR_BEGIN: u32 = 0;

    /// `drr_type`: an object.
    DRR_OBJECT: u32 = 1;

    /// `drr_type`: a range of objects that are free.
    DRR_FREEOBJECTS: u32 = 2;

    /// `drr_type`: a block of data.
    DRR_WRITE: u32 = 3;

    /// `drr_type`: a range of an object that is free.
    DRR_FREE: u32 = 4;

    /// `drr_type`: ends a stream.
    DRR_END: u32 = 5;

    /// `drr_type`: a block that an earlier one is a copy of; kernels refuse it since 2.0.
    DRR_WRITE_BYREF: u32 = 6;

    /// `drr_type`: an object's spill block.
    DRR_SPILL: u32 = 7;

    /// `drr_type`: a block that is stored in its pointer.
    DRR_WRITE_EMBEDDED: u32 = 8;

    /// `drr_type`: a range of encrypted objects.
    DRR_OBJECT_RANGE: u32 = 9;

    /// `drr_type`: a range that was left out.
    DRR_REDACT: u32 = 10;

    /// Bits 0 and 1 of `drr_versioninfo`: one stream.
    DMU_SUBSTREAM: u64 = 0x1;

    /// Bits 0 and 1 of `drr_versioninfo`: several streams, which only user space can take apart.
    DMU_COMPOUNDSTREAM: u64 = 0x2;

    /// Feature, from bit 2 of `drr_versioninfo`: has [`DRR_WRITE_BYREF`] records.
    DMU_BACKUP_FEATURE_DEDUP: u64 = 0x1;

    /// Feature: the keys for deduplication are valid.
    DMU_BACKUP_FEATURE_DEDUPPROPS: u64 = 0x2;

    /// Feature: has spill blocks of attributes.
    DMU_BACKUP_FEATURE_SA_SPILL: u64 = 0x4;

    /// Feature: has [`DRR_WRITE_EMBEDDED`] records.
    DMU_BACKUP_FEATURE_EMBED_DATA: u64 = 0x1_0000;

    /// Feature: has blocks compressed with LZ4.
    DMU_BACKUP_FEATURE_LZ4: u64 = 0x2_0000;

    /// Feature: has blocks larger than 128 KiB.
    DMU_BACKUP_FEATURE_LARGE_BLOCKS: u64 = 0x8_0000;

    /// Feature: continues a stream that was cut.
    DMU_BACKUP_FEATURE_RESUMING: u64 = 0x10_0000;

    /// Feature: has [`DRR_REDACT`] records.
    DMU_BACKUP_FEATURE_REDACTED: u64 = 0x20_0000;

    /// Feature: blocks are compressed as they are stored.
    DMU_BACKUP_FEATURE_COMPRESSED: u64 = 0x40_0000;

    /// Feature: has dnodes larger than 512 bytes.
    DMU_BACKUP_FEATURE_LARGE_DNODE: u64 = 0x80_0000;

    /// Feature: blocks are encrypted as they are stored.
    DMU_BACKUP_FEATURE_RAW: u64 = 0x100_0000;

    /// Feature: has blocks compressed with Zstandard.
    DMU_BACKUP_FEATURE_ZSTD: u64 = 0x200_0000;

    /// Feature: names the holds of the snapshots.
    DMU_BACKUP_FEATURE_HOLDS: u64 = 0x400_0000;

    /// Feature: an incremental stream with large blocks on one without.
    DMU_BACKUP_FEATURE_SWITCH_TO_LARGE_BLOCKS: u64 = 0x800_0000;

    /// Feature, since 2.3: has file names longer than 255 bytes.
    DMU_BACKUP_FEATURE_LONGNAME: u64 = 0x1000_0000 since "2.3";

    /// Feature, since 2.3: has directories in large blocks.
    DMU_BACKUP_FEATURE_LARGE_MICROZAP: u64 = 0x2000_0000 since "2.3";

    /// In `drr_flags` of [`DRR_BEGIN`]: the dataset is a clone.
    DRR_FLAG_CLONE: u32 = 0x1;

    /// In `drr_flags` of [`DRR_BEGIN`]: names ignore case.
    DRR_FLAG_CI_DATA: u32 = 0x2;

    /// In `drr_flags` of [`DRR_BEGIN`]: free ranges are complete.
    DRR_FLAG_FREERECORDS: u32 = 0x4;

    /// In `drr_flags` of [`DRR_BEGIN`]: [`DRR_OBJECT_SPILL`] is set where it holds.
    DRR_FLAG_SPILL_BLOCK: u32 = 0x8;

    /// In a record's flags: the checksum is strong enough for deduplication.
    DRR_CHECKSUM_DEDUP: u8 = 0x1;

    /// In a record's flags: the raw data has the other byte order.
    DRR_RAW_BYTESWAP: u8 = 0x2;

    /// In the flags of [`DRR_OBJECT`]: a spill block follows.
    DRR_OBJECT_SPILL: u8 = 0x4;

    /// In the flags of [`DRR_SPILL`]: the block has not changed.
    DRR_SPILL_UNMODIFIED: u8 = 0x4;
}

/// Offset of the checksum in every record but [`DRR_BEGIN`].
pub const DRR_CHECKSUM_OFFSET: usize = 280;

/// The header of a record.
///
/// `drr_type` says which member of the union is valid.
#[repr(C)]
#[derive(Clone, Copy)]
#[doc(alias = "dmu_replay_record_t")]
pub struct dmu_replay_record {
    /// One of the `DRR_…` types.
    pub drr_type: u32,
    /// Bytes that follow a [`DRR_BEGIN`] header; 0 in every other one.
    pub drr_payloadlen: u32,
    /// What the type asks for.
    pub drr_u: drr_union,
}

impl fmt::Debug for dmu_replay_record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("dmu_replay_record")
            .field("drr_type", &self.drr_type)
            .field("drr_payloadlen", &self.drr_payloadlen)
            .finish_non_exhaustive()
    }
}

/// The part of a [`dmu_replay_record`] that depends on its type.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(missing_docs, reason = "each member is named after its structure")]
pub union drr_union {
    pub drr_begin: drr_begin,
    pub drr_end: drr_end,
    pub drr_object: drr_object,
    pub drr_freeobjects: drr_freeobjects,
    pub drr_write: drr_write,
    pub drr_free: drr_free,
    pub drr_write_byref: drr_write_byref,
    pub drr_spill: drr_spill,
    pub drr_write_embedded: drr_write_embedded,
    pub drr_object_range: drr_object_range,
    pub drr_redact: drr_redact,
    pub drr_checksum: drr_checksum,
}

impl fmt::Debug for drr_union {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("drr_union").finish_non_exhaustive()
    }
}

/// A checksum of 256 bits.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[doc(alias = "zio_cksum_t")]
pub struct zio_cksum {
    /// Its four words.
    pub zc_word: [u64; 4],
}

/// The key of a block in the deduplication table.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[doc(alias = "ddt_key_t")]
pub struct ddt_key {
    /// The block's checksum.
    pub ddk_cksum: zio_cksum,
    /// Its sizes, compression and encryption.
    pub ddk_prop: u64,
}

/// [`DRR_BEGIN`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct drr_begin {
    /// [`DMU_BACKUP_MAGIC`].
    pub drr_magic: u64,
    /// The kind of stream in bits 0 and 1, the features that it uses above.
    pub drr_versioninfo: u64,
    /// When the snapshot was made, in seconds since 1970.
    pub drr_creation_time: u64,
    /// A `dmu_objset_type_t`.
    pub drr_type: u32,
    /// The `DRR_FLAG_…` bits.
    pub drr_flags: u32,
    /// GUID of the snapshot.
    pub drr_toguid: u64,
    /// GUID of the one that it is relative to; 0 in a full stream.
    pub drr_fromguid: u64,
    /// Name of the snapshot.
    pub drr_toname: [c_char; 256],
}

/// [`DRR_END`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct drr_end {
    /// Checksum of everything before this header.
    pub drr_checksum: zio_cksum,
    /// GUID of the snapshot.
    pub drr_toguid: u64,
}

/// [`DRR_OBJECT`]; the bonus buffer follows.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct drr_object {
    /// Number of the object.
    pub drr_object: u64,
    /// Its type.
    pub drr_type: u32,
    /// Type of its bonus buffer.
    pub drr_bonustype: u32,
    /// Size of its blocks, in bytes.
    pub drr_blksz: u32,
    /// Size of its bonus buffer, in bytes.
    pub drr_bonuslen: u32,
    /// Kind of its checksums.
    pub drr_checksumtype: u8,
    /// Kind of its compression.
    pub drr_compress: u8,
    /// Slots that its dnode takes.
    pub drr_dn_slots: u8,
    /// The record's flags.
    pub drr_flags: u8,
    /// Size in bytes of the bonus buffer as it is stored, in a raw stream.
    pub drr_raw_bonuslen: u32,
    /// GUID of the snapshot.
    pub drr_toguid: u64,
    /// Logarithm of the size of its indirect blocks, in a raw stream.
    pub drr_indblkshift: u8,
    /// Its levels of indirection, in a raw stream.
    pub drr_nlevels: u8,
    /// Block pointers in its dnode, in a raw stream.
    pub drr_nblkptr: u8,
    /// Unused.
    pub drr_pad: [u8; 5],
    /// Number of its last block, in a raw stream.
    pub drr_maxblkid: u64,
}

/// [`DRR_FREEOBJECTS`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct drr_freeobjects {
    /// First object of the range.
    pub drr_firstobj: u64,
    /// How many there are.
    pub drr_numobjs: u64,
    /// GUID of the snapshot.
    pub drr_toguid: u64,
}

/// [`DRR_WRITE`]; the data follows.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct drr_write {
    /// Number of the object.
    pub drr_object: u64,
    /// Its type.
    pub drr_type: u32,
    /// Unused.
    pub drr_pad: u32,
    /// Where in the object, in bytes.
    pub drr_offset: u64,
    /// Bytes before compression.
    pub drr_logical_size: u64,
    /// GUID of the snapshot.
    pub drr_toguid: u64,
    /// Kind of the block's checksum.
    pub drr_checksumtype: u8,
    /// The record's flags.
    pub drr_flags: u8,
    /// Kind of compression; 0 when the data that follows is not compressed.
    pub drr_compressiontype: u8,
    /// Unused.
    pub drr_pad2: [u8; 5],
    /// The block's key for deduplication.
    pub drr_key: ddt_key,
    /// Bytes that follow when they are compressed.
    pub drr_compressed_size: u64,
    /// Salt, in a raw stream.
    pub drr_salt: [u8; 8],
    /// Initialisation vector, in a raw stream.
    pub drr_iv: [u8; 12],
    /// Authentication code, in a raw stream.
    pub drr_mac: [u8; 16],
}

/// [`DRR_FREE`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct drr_free {
    /// Number of the object.
    pub drr_object: u64,
    /// Where in the object, in bytes.
    pub drr_offset: u64,
    /// How many bytes; `u64::MAX` is to the end.
    pub drr_length: u64,
    /// GUID of the snapshot.
    pub drr_toguid: u64,
}

/// [`DRR_WRITE_BYREF`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct drr_write_byref {
    /// Number of the object.
    pub drr_object: u64,
    /// Where in the object, in bytes.
    pub drr_offset: u64,
    /// How many bytes.
    pub drr_length: u64,
    /// GUID of the snapshot.
    pub drr_toguid: u64,
    /// GUID of the snapshot that has the copy.
    pub drr_refguid: u64,
    /// Number of the object that has it.
    pub drr_refobject: u64,
    /// Where in that object, in bytes.
    pub drr_refoffset: u64,
    /// Kind of the block's checksum.
    pub drr_checksumtype: u8,
    /// The record's flags.
    pub drr_flags: u8,
    /// Unused.
    pub drr_pad2: [u8; 6],
    /// The block's key for deduplication.
    pub drr_key: ddt_key,
}

/// [`DRR_SPILL`]; the data follows.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct drr_spill {
    /// Number of the object.
    pub drr_object: u64,
    /// Bytes before compression.
    pub drr_length: u64,
    /// GUID of the snapshot.
    pub drr_toguid: u64,
    /// The record's flags.
    pub drr_flags: u8,
    /// Kind of compression, in a raw stream.
    pub drr_compressiontype: u8,
    /// Unused.
    pub drr_pad: [u8; 6],
    /// Bytes that follow when they are compressed.
    pub drr_compressed_size: u64,
    /// Salt, in a raw stream.
    pub drr_salt: [u8; 8],
    /// Initialisation vector, in a raw stream.
    pub drr_iv: [u8; 12],
    /// Authentication code, in a raw stream.
    pub drr_mac: [u8; 16],
    /// The object's type.
    pub drr_type: u32,
}

/// [`DRR_WRITE_EMBEDDED`]; the data follows.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct drr_write_embedded {
    /// Number of the object.
    pub drr_object: u64,
    /// Where in the object, in bytes.
    pub drr_offset: u64,
    /// Bytes of the block.
    pub drr_length: u64,
    /// GUID of the snapshot.
    pub drr_toguid: u64,
    /// Kind of compression.
    pub drr_compression: u8,
    /// Kind of embedding.
    pub drr_etype: u8,
    /// Unused.
    pub drr_pad: [u8; 6],
    /// Bytes before compression.
    pub drr_lsize: u32,
    /// Bytes that follow, before they are padded to a multiple of 8.
    pub drr_psize: u32,
}

/// [`DRR_OBJECT_RANGE`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct drr_object_range {
    /// First object of the range.
    pub drr_firstobj: u64,
    /// Slots that it takes.
    pub drr_numslots: u64,
    /// GUID of the snapshot.
    pub drr_toguid: u64,
    /// Salt of the block of dnodes.
    pub drr_salt: [u8; 8],
    /// Its initialisation vector.
    pub drr_iv: [u8; 12],
    /// Its authentication code.
    pub drr_mac: [u8; 16],
    /// The record's flags.
    pub drr_flags: u8,
    /// Unused.
    pub drr_pad: [u8; 3],
}

/// [`DRR_REDACT`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct drr_redact {
    /// Number of the object.
    pub drr_object: u64,
    /// Where in the object, in bytes.
    pub drr_offset: u64,
    /// How many bytes.
    pub drr_length: u64,
    /// GUID of the snapshot.
    pub drr_toguid: u64,
}

/// Where every record but [`DRR_BEGIN`] has its checksum.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct drr_checksum {
    /// What the record's type asks for.
    pub drr_pad: [u64; 34],
    /// Checksum of everything before it, back to the start of the stream; zero when the sender did
    /// not compute it.
    pub drr_checksum: zio_cksum,
}

super::layout! {
    zio_cksum: 32, align 8;
    zc_word = 0,
}

// Since 2.3 the structure has no tag that C could name it by; `drr_write`'s offsets hold it there.
const _: () = assert!(size_of::<ddt_key>() == 40);

super::layout! {
    drr_begin: 304, align 8;
    drr_toname = 48,
}

const _: () = assert!(
    core::mem::offset_of!(dmu_replay_record, drr_u.drr_checksum.drr_checksum)
        == DRR_CHECKSUM_OFFSET
);

super::layout! {
    dmu_replay_record: 312, align 8;
    drr_type = 0,
    drr_payloadlen = 4,
    drr_u = 8,
    drr_u.drr_begin.drr_magic = 8,
    drr_u.drr_begin.drr_versioninfo = 16,
    drr_u.drr_begin.drr_creation_time = 24,
    drr_u.drr_begin.drr_type = 32,
    drr_u.drr_begin.drr_flags = 36,
    drr_u.drr_begin.drr_toguid = 40,
    drr_u.drr_begin.drr_fromguid = 48,
    drr_u.drr_begin.drr_toname = 56,
    drr_u.drr_end.drr_checksum = 8,
    drr_u.drr_end.drr_toguid = 40,
    drr_u.drr_object.drr_object = 8,
    drr_u.drr_object.drr_type = 16,
    drr_u.drr_object.drr_bonustype = 20,
    drr_u.drr_object.drr_blksz = 24,
    drr_u.drr_object.drr_bonuslen = 28,
    drr_u.drr_object.drr_checksumtype = 32,
    drr_u.drr_object.drr_compress = 33,
    drr_u.drr_object.drr_dn_slots = 34,
    drr_u.drr_object.drr_flags = 35,
    drr_u.drr_object.drr_raw_bonuslen = 36,
    drr_u.drr_object.drr_toguid = 40,
    drr_u.drr_object.drr_indblkshift = 48,
    drr_u.drr_object.drr_nlevels = 49,
    drr_u.drr_object.drr_nblkptr = 50,
    drr_u.drr_object.drr_maxblkid = 56,
    drr_u.drr_freeobjects.drr_firstobj = 8,
    drr_u.drr_freeobjects.drr_numobjs = 16,
    drr_u.drr_freeobjects.drr_toguid = 24,
    drr_u.drr_write.drr_object = 8,
    drr_u.drr_write.drr_type = 16,
    drr_u.drr_write.drr_offset = 24,
    drr_u.drr_write.drr_logical_size = 32,
    drr_u.drr_write.drr_toguid = 40,
    drr_u.drr_write.drr_checksumtype = 48,
    drr_u.drr_write.drr_flags = 49,
    drr_u.drr_write.drr_compressiontype = 50,
    drr_u.drr_write.drr_key = 56,
    drr_u.drr_write.drr_compressed_size = 96,
    drr_u.drr_write.drr_salt = 104,
    drr_u.drr_write.drr_iv = 112,
    drr_u.drr_write.drr_mac = 124,
    drr_u.drr_free.drr_object = 8,
    drr_u.drr_free.drr_offset = 16,
    drr_u.drr_free.drr_length = 24,
    drr_u.drr_free.drr_toguid = 32,
    drr_u.drr_write_byref.drr_object = 8,
    drr_u.drr_write_byref.drr_offset = 16,
    drr_u.drr_write_byref.drr_length = 24,
    drr_u.drr_write_byref.drr_toguid = 32,
    drr_u.drr_write_byref.drr_refguid = 40,
    drr_u.drr_write_byref.drr_refobject = 48,
    drr_u.drr_write_byref.drr_refoffset = 56,
    drr_u.drr_write_byref.drr_checksumtype = 64,
    drr_u.drr_write_byref.drr_flags = 65,
    drr_u.drr_write_byref.drr_key = 72,
    drr_u.drr_spill.drr_object = 8,
    drr_u.drr_spill.drr_length = 16,
    drr_u.drr_spill.drr_toguid = 24,
    drr_u.drr_spill.drr_flags = 32,
    drr_u.drr_spill.drr_compressiontype = 33,
    drr_u.drr_spill.drr_compressed_size = 40,
    drr_u.drr_spill.drr_salt = 48,
    drr_u.drr_spill.drr_iv = 56,
    drr_u.drr_spill.drr_mac = 68,
    drr_u.drr_spill.drr_type = 84,
    drr_u.drr_write_embedded.drr_object = 8,
    drr_u.drr_write_embedded.drr_offset = 16,
    drr_u.drr_write_embedded.drr_length = 24,
    drr_u.drr_write_embedded.drr_toguid = 32,
    drr_u.drr_write_embedded.drr_compression = 40,
    drr_u.drr_write_embedded.drr_etype = 41,
    drr_u.drr_write_embedded.drr_lsize = 48,
    drr_u.drr_write_embedded.drr_psize = 52,
    drr_u.drr_object_range.drr_firstobj = 8,
    drr_u.drr_object_range.drr_numslots = 16,
    drr_u.drr_object_range.drr_toguid = 24,
    drr_u.drr_object_range.drr_salt = 32,
    drr_u.drr_object_range.drr_iv = 40,
    drr_u.drr_object_range.drr_mac = 52,
    drr_u.drr_object_range.drr_flags = 68,
    drr_u.drr_redact.drr_object = 8,
    drr_u.drr_redact.drr_offset = 16,
    drr_u.drr_redact.drr_length = 24,
    drr_u.drr_redact.drr_toguid = 32,
    drr_u.drr_checksum.drr_checksum = 280,
}
