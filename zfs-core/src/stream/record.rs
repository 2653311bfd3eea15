use super::Begin;
use super::header::{ByteOrder, CHECKSUM_AT, Fields, HEADER_LEN};
use std::fmt;
use std::sync::Arc;
use zfs_core_sys::ioctl;

macro_rules! record_types {
    ($($(#[$doc:meta])* $name:ident = $raw:ident, $text:literal;)*) => {
        /// The type of a record.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum RecordType {
            $($(#[$doc])* $name,)*
        }

        impl RecordType {
            /// All types, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The type of this number, or the number when ZFS does not define it.
            pub const fn from_raw(raw: u32) -> Result<Self, u32> {
                match raw {
                    $(ioctl::$raw => Ok(Self::$name),)*
                    other => Err(other),
                }
            }

            /// Its number in a stream.
            #[must_use]
            pub const fn raw(self) -> u32 {
                match self {
                    $(Self::$name => ioctl::$raw,)*
                }
            }

            /// Its name as ZFS writes it: `FREEOBJECTS`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

record_types! {
    /// Begins a stream.
    Begin = DRR_BEGIN, "BEGIN";
    /// An object.
    Object = DRR_OBJECT, "OBJECT";
    /// Objects that are free.
    FreeObjects = DRR_FREEOBJECTS, "FREEOBJECTS";
    /// A block.
    Write = DRR_WRITE, "WRITE";
    /// A range of an object that is free.
    Free = DRR_FREE, "FREE";
    /// Ends a stream.
    End = DRR_END, "END";
    /// A block that is equal to an earlier one.
    WriteByRef = DRR_WRITE_BYREF, "WRITE_BYREF";
    /// An object's spill block.
    Spill = DRR_SPILL, "SPILL";
    /// A block that is stored in its pointer.
    WriteEmbedded = DRR_WRITE_EMBEDDED, "WRITE_EMBEDDED";
    /// Objects that are encrypted together.
    ObjectRange = DRR_OBJECT_RANGE, "OBJECT_RANGE";
    /// A range that was left out.
    Redact = DRR_REDACT, "REDACT";
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

bitflags::bitflags! {
    /// The flags of a record. Bits that this crate does not know stay.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct RecordFlags: u8 {
        /// The block's checksum is strong enough for deduplication.
        const CHECKSUM_DEDUP = ioctl::DRR_CHECKSUM_DEDUP;
        /// The encrypted payload is in the other byte order than the stream.
        const RAW_BYTESWAP = ioctl::DRR_RAW_BYTESWAP;
        /// Of an [`Object`]: it has a spill block.
        const OBJECT_SPILL = ioctl::DRR_OBJECT_SPILL;
        /// Of a [`Spill`]: the block is as in the snapshot that the stream builds on.
        const SPILL_UNMODIFIED = ioctl::DRR_SPILL_UNMODIFIED;
        const _ = !0;
    }
}

/// How a payload is encrypted. All zeros in a stream that is not raw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Cipher {
    /// Derives the key from the dataset's.
    pub salt: [u8; 8],
    /// The initialisation vector.
    pub iv: [u8; 12],
    /// The authentication code of the encrypted data.
    pub mac: [u8; 16],
}

/// What a block is known by in a deduplication table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[doc(alias = "ddt_key_t")]
pub struct DedupKey {
    /// The block's checksum.
    pub checksum: [u64; 4],
    /// Its sizes and its compression, as the table packs them.
    pub prop: u64,
}

/// An object. Its payload is the bonus buffer, padded to a multiple of eight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "drr_object")]
pub struct Object {
    /// Its number.
    pub object: u64,
    /// Its type, a `dmu_object_type_t`.
    pub object_type: u32,
    /// The type of its bonus buffer, a `dmu_object_type_t`.
    pub bonus_type: u32,
    /// The size of its blocks, in bytes.
    pub block_size: u32,
    /// The length of the bonus buffer, in bytes, without padding.
    pub bonus_len: u32,
    /// The checksum of its blocks, a `zio_checksum`.
    pub checksum_type: u8,
    /// The compression of its blocks, a `zio_compress`.
    pub compression: u8,
    /// How many slots of 512 bytes its dnode takes up; 0 means 1.
    pub dnode_slots: u8,
    /// Flags.
    pub flags: RecordFlags,
    /// The length of the payload in a raw stream, where the bonus buffer is sent as it is stored.
    pub raw_bonus_len: u32,
    /// The GUID of the snapshot that is sent.
    pub to_guid: u64,
    /// The size of indirect blocks, as a power of two. Raw streams only.
    pub indirect_shift: u8,
    /// The levels of indirection. Raw streams only.
    pub levels: u8,
    /// The block pointers in the dnode. Raw streams only.
    pub block_pointers: u8,
    /// The number of the last block. Raw streams only.
    pub max_block: u64,
}

/// A range of objects that are free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "drr_freeobjects")]
pub struct FreeObjects {
    /// The first of them.
    pub first: u64,
    /// How many there are.
    pub count: u64,
    /// The GUID of the snapshot that is sent.
    pub to_guid: u64,
}

/// A block of data, which is the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "drr_write")]
pub struct Write {
    /// The object.
    pub object: u64,
    /// The object's type, a `dmu_object_type_t`.
    pub object_type: u32,
    /// Where the block is in the object, in bytes.
    pub offset: u64,
    /// Its length in the object, in bytes.
    pub logical_size: u64,
    /// The GUID of the snapshot that is sent.
    pub to_guid: u64,
    /// The checksum it was stored with, a `zio_checksum`.
    pub checksum_type: u8,
    /// Flags.
    pub flags: RecordFlags,
    /// The compression of the payload, a `zio_compress`; 0 when it is as it was written.
    pub compression: u8,
    /// Its key in a deduplication table.
    pub key: DedupKey,
    /// The length of the payload, in bytes, when `compression` is not 0.
    pub compressed_size: u64,
    /// How the payload is encrypted. Raw streams only.
    pub cipher: Cipher,
}

/// A range of an object that is free: it reads as zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "drr_free")]
pub struct Free {
    /// The object.
    pub object: u64,
    /// Where the range begins, in bytes.
    pub offset: u64,
    /// Its length in bytes; `u64::MAX` for all that follows.
    pub length: u64,
    /// The GUID of the snapshot that is sent.
    pub to_guid: u64,
}

/// The end of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "drr_end")]
pub struct End {
    /// The checksum of all bytes before this record.
    pub checksum: [u64; 4],
    /// The GUID of the snapshot that was sent.
    pub to_guid: u64,
}

impl End {
    pub(super) fn read(f: Fields<'_>) -> Self {
        Self {
            checksum: f.sums(8),
            to_guid: f.u64(40),
        }
    }
}

/// A block that is equal to one that came earlier. Kernels refuse it since 2.0; `zstream redup`
/// turns it into a [`Write`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "drr_write_byref")]
pub struct WriteByRef {
    /// The object.
    pub object: u64,
    /// Where the block is in the object, in bytes.
    pub offset: u64,
    /// Its length, in bytes.
    pub length: u64,
    /// The GUID of the snapshot that is sent.
    pub to_guid: u64,
    /// The GUID of the snapshot that the equal block is in.
    pub ref_guid: u64,
    /// The object that the equal block is in.
    pub ref_object: u64,
    /// Where the equal block is in that object, in bytes.
    pub ref_offset: u64,
    /// The checksum it was stored with, a `zio_checksum`.
    pub checksum_type: u8,
    /// Flags.
    pub flags: RecordFlags,
    /// Its key in a deduplication table.
    pub key: DedupKey,
}

/// An object's spill block, which is the payload: attributes that its dnode has no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "drr_spill")]
pub struct Spill {
    /// The object.
    pub object: u64,
    /// The length of the block, in bytes.
    pub length: u64,
    /// The GUID of the snapshot that is sent.
    pub to_guid: u64,
    /// Flags.
    pub flags: RecordFlags,
    /// The compression of the payload, a `zio_compress`.
    pub compression: u8,
    /// The length of the payload, in bytes, when it is not 0. Raw streams only.
    pub compressed_size: u64,
    /// How the payload is encrypted. Raw streams only.
    pub cipher: Cipher,
    /// The type of its content, a `dmu_object_type_t`. Raw streams only.
    pub object_type: u32,
}

/// A block that is so small, compressed, that it is stored in its pointer. The payload is the
/// compressed block, padded to a multiple of eight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "drr_write_embedded")]
pub struct WriteEmbedded {
    /// The object.
    pub object: u64,
    /// Where the block is in the object, in bytes.
    pub offset: u64,
    /// Its length in the object, in bytes.
    pub length: u64,
    /// The GUID of the snapshot that is sent.
    pub to_guid: u64,
    /// The compression of the payload, a `zio_compress`.
    pub compression: u8,
    /// The kind of embedded data, a `bp_embedded_type`.
    pub embedded_type: u8,
    /// The length of the block before compression, in bytes.
    pub logical_size: u32,
    /// The length of the payload, in bytes, without padding.
    pub physical_size: u32,
}

/// Objects whose dnodes are encrypted together. Raw streams only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "drr_object_range")]
pub struct ObjectRange {
    /// The first of them.
    pub first: u64,
    /// How many slots for dnodes there are.
    pub slots: u64,
    /// The GUID of the snapshot that is sent.
    pub to_guid: u64,
    /// How the dnodes are encrypted.
    pub cipher: Cipher,
    /// Flags.
    pub flags: RecordFlags,
}

/// A range of an object that was left out of the stream by redaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "drr_redact")]
pub struct Redact {
    /// The object.
    pub object: u64,
    /// Where the range begins, in bytes.
    pub offset: u64,
    /// Its length, in bytes.
    pub length: u64,
    /// The GUID of the snapshot that is sent.
    pub to_guid: u64,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Body {
    /// Begins a stream.
    Begin(Arc<Begin>),
    /// An object.
    Object(Object),
    /// Objects that are free.
    FreeObjects(FreeObjects),
    /// A block.
    Write(Write),
    /// A range of an object that is free.
    Free(Free),
    /// Ends a stream.
    End(End),
    /// A block that is equal to an earlier one.
    WriteByRef(WriteByRef),
    /// An object's spill block.
    Spill(Spill),
    /// A block that is stored in its pointer.
    WriteEmbedded(WriteEmbedded),
    /// Objects that are encrypted together.
    ObjectRange(ObjectRange),
    /// A range that was left out.
    Redact(Redact),
}

impl Body {
    /// The type of the record.
    #[must_use]
    pub fn record_type(&self) -> RecordType {
        match self {
            Self::Begin(_) => RecordType::Begin,
            Self::Object(_) => RecordType::Object,
            Self::FreeObjects(_) => RecordType::FreeObjects,
            Self::Write(_) => RecordType::Write,
            Self::Free(_) => RecordType::Free,
            Self::End(_) => RecordType::End,
            Self::WriteByRef(_) => RecordType::WriteByRef,
            Self::Spill(_) => RecordType::Spill,
            Self::WriteEmbedded(_) => RecordType::WriteEmbedded,
            Self::ObjectRange(_) => RecordType::ObjectRange,
            Self::Redact(_) => RecordType::Redact,
        }
    }

    /// How many bytes follow the header.
    #[must_use]
    #[doc(alias = "DRR_WRITE_PAYLOAD_SIZE")]
    #[doc(alias = "DRR_SPILL_PAYLOAD_SIZE")]
    #[doc(alias = "DRR_OBJECT_PAYLOAD_SIZE")]
    pub fn payload_len(&self) -> u64 {
        let padded = |len: u32| u64::from(len).next_multiple_of(8);
        match self {
            Self::Begin(begin) => u64::from(begin.payload_len),
            Self::Object(object) if object.raw_bonus_len != 0 => u64::from(object.raw_bonus_len),
            Self::Object(object) => padded(object.bonus_len),
            Self::Write(write) if write.compression != 0 => write.compressed_size,
            Self::Write(write) => write.logical_size,
            Self::Spill(spill) if spill.compressed_size != 0 => spill.compressed_size,
            Self::Spill(spill) => spill.length,
            Self::WriteEmbedded(write) => padded(write.physical_size),
            Self::FreeObjects(_)
            | Self::Free(_)
            | Self::End(_)
            | Self::WriteByRef(_)
            | Self::ObjectRange(_)
            | Self::Redact(_) => 0,
        }
    }

    /// Reads a header of any type but BEGIN.
    pub(super) fn read(record_type: RecordType, f: Fields<'_>) -> Option<Self> {
        Some(match record_type {
            RecordType::Begin => return None,
            RecordType::Object => Self::Object(Object {
                object: f.u64(8),
                object_type: f.u32(16),
                bonus_type: f.u32(20),
                block_size: f.u32(24),
                bonus_len: f.u32(28),
                checksum_type: f.u8(32),
                compression: f.u8(33),
                dnode_slots: f.u8(34),
                flags: f.flags(35),
                raw_bonus_len: f.u32(36),
                to_guid: f.u64(40),
                indirect_shift: f.u8(48),
                levels: f.u8(49),
                block_pointers: f.u8(50),
                max_block: f.u64(56),
            }),
            RecordType::FreeObjects => Self::FreeObjects(FreeObjects {
                first: f.u64(8),
                count: f.u64(16),
                to_guid: f.u64(24),
            }),
            RecordType::Write => Self::Write(Write {
                object: f.u64(8),
                object_type: f.u32(16),
                offset: f.u64(24),
                logical_size: f.u64(32),
                to_guid: f.u64(40),
                checksum_type: f.u8(48),
                flags: f.flags(49),
                compression: f.u8(50),
                key: f.dedup_key(56),
                compressed_size: f.u64(96),
                cipher: f.cipher(104, 112, 124),
            }),
            RecordType::Free => Self::Free(Free {
                object: f.u64(8),
                offset: f.u64(16),
                length: f.u64(24),
                to_guid: f.u64(32),
            }),
            RecordType::End => Self::End(End::read(f)),
            RecordType::WriteByRef => Self::WriteByRef(WriteByRef {
                object: f.u64(8),
                offset: f.u64(16),
                length: f.u64(24),
                to_guid: f.u64(32),
                ref_guid: f.u64(40),
                ref_object: f.u64(48),
                ref_offset: f.u64(56),
                checksum_type: f.u8(64),
                flags: f.flags(65),
                key: f.dedup_key(72),
            }),
            RecordType::Spill => Self::Spill(Spill {
                object: f.u64(8),
                length: f.u64(16),
                to_guid: f.u64(24),
                flags: f.flags(32),
                compression: f.u8(33),
                compressed_size: f.u64(40),
                cipher: f.cipher(48, 56, 68),
                object_type: f.u32(84),
            }),
            RecordType::WriteEmbedded => Self::WriteEmbedded(WriteEmbedded {
                object: f.u64(8),
                offset: f.u64(16),
                length: f.u64(24),
                to_guid: f.u64(32),
                compression: f.u8(40),
                embedded_type: f.u8(41),
                logical_size: f.u32(48),
                physical_size: f.u32(52),
            }),
            RecordType::ObjectRange => Self::ObjectRange(ObjectRange {
                first: f.u64(8),
                slots: f.u64(16),
                to_guid: f.u64(24),
                cipher: f.cipher(32, 40, 52),
                flags: f.flags(68),
            }),
            RecordType::Redact => Self::Redact(Redact {
                object: f.u64(8),
                offset: f.u64(16),
                length: f.u64(24),
                to_guid: f.u64(32),
            }),
        })
    }
}

/// A record of a stream, proven by its checksums.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Record<'a> {
    /// Which record it is, counted from 0 at the start of the input. The counts of the streams in
    /// a compound one go on.
    pub number: u64,
    /// The byte at which its header begins, counted from the start of the input.
    pub offset: u64,
    /// The byte order of the stream.
    pub order: ByteOrder,
    /// The header as it came.
    pub header: &'a [u8; HEADER_LEN],
    /// What follows the header.
    pub payload: &'a [u8],
    /// What the header says.
    pub body: Body,
    bytes: &'a [u8],
}

impl<'a> Record<'a> {
    /// A record whose `bytes` are as long as its body says.
    pub(super) fn new(
        number: u64,
        offset: u64,
        order: ByteOrder,
        body: Body,
        bytes: &'a [u8],
    ) -> Option<Self> {
        let (header, payload) = bytes.split_first_chunk()?;
        Some(Self {
            number,
            offset,
            order,
            header,
            payload,
            body,
            bytes,
        })
    }

    /// Header and payload, as they came.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The type of the record.
    #[must_use]
    pub fn record_type(&self) -> RecordType {
        self.body.record_type()
    }

    /// The checksum that the header states, of all bytes of the stream before itself. `None` for a
    /// BEGIN, which has none, and where the sender did not fill it in.
    #[must_use]
    pub fn checksum(&self) -> Option<[u64; 4]> {
        let stated = Fields::new(self.header, self.order).sums(CHECKSUM_AT);
        let has_one = self.record_type() != RecordType::Begin && stated != [0; 4];
        has_one.then_some(stated)
    }
}
