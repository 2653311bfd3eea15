use super::header::{ByteOrder, Fields, HEADER_LEN};
use super::{Problem, RecordType, StreamError};
use crate::list::DatasetKind;
use crate::nv::{self, NvMap};
use std::fmt;
use zfs_core_sys::ioctl;

bitflags::bitflags! {
    /// What a stream makes use of, and a receiver must know therefore. Bits that this crate does
    /// not know stay.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    #[doc(alias = "DMU_GET_FEATUREFLAGS")]
    pub struct StreamFeatures: u64 {
        /// Has [`WriteByRef`](super::WriteByRef) records. Kernels refuse it since 2.0.
        const DEDUP = ioctl::DMU_BACKUP_FEATURE_DEDUP;
        /// The keys for deduplication are filled in.
        const DEDUPPROPS = ioctl::DMU_BACKUP_FEATURE_DEDUPPROPS;
        /// Has spill blocks of attributes.
        const SA_SPILL = ioctl::DMU_BACKUP_FEATURE_SA_SPILL;
        /// Has [`WriteEmbedded`](super::WriteEmbedded) records.
        const EMBED_DATA = ioctl::DMU_BACKUP_FEATURE_EMBED_DATA;
        /// Has blocks compressed with LZ4.
        const LZ4 = ioctl::DMU_BACKUP_FEATURE_LZ4;
        /// Has blocks larger than 128 KiB.
        const LARGE_BLOCKS = ioctl::DMU_BACKUP_FEATURE_LARGE_BLOCKS;
        /// Goes on where another stream was cut.
        const RESUMING = ioctl::DMU_BACKUP_FEATURE_RESUMING;
        /// Has [`Redact`](super::Redact) records.
        const REDACTED = ioctl::DMU_BACKUP_FEATURE_REDACTED;
        /// Blocks are compressed as they are stored.
        const COMPRESSED = ioctl::DMU_BACKUP_FEATURE_COMPRESSED;
        /// Has dnodes larger than 512 bytes.
        const LARGE_DNODE = ioctl::DMU_BACKUP_FEATURE_LARGE_DNODE;
        /// Blocks are encrypted as they are stored.
        const RAW = ioctl::DMU_BACKUP_FEATURE_RAW;
        /// Has blocks compressed with Zstandard.
        const ZSTD = ioctl::DMU_BACKUP_FEATURE_ZSTD;
        /// Names the holds of the snapshots.
        const HOLDS = ioctl::DMU_BACKUP_FEATURE_HOLDS;
        /// An incremental stream with large blocks, on a stream without.
        const SWITCH_TO_LARGE_BLOCKS = ioctl::DMU_BACKUP_FEATURE_SWITCH_TO_LARGE_BLOCKS;
        /// Has file names longer than 255 bytes. Since 2.3.
        const LONGNAME = ioctl::DMU_BACKUP_FEATURE_LONGNAME;
        /// Has directories in large blocks. Since 2.3.
        const LARGE_MICROZAP = ioctl::DMU_BACKUP_FEATURE_LARGE_MICROZAP;
        const _ = !0;
    }
}

bitflags::bitflags! {
    /// What a BEGIN says of the stream. Bits that this crate does not know stay.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct BeginFlags: u32 {
        /// The dataset is a clone.
        const CLONE = ioctl::DRR_FLAG_CLONE;
        /// File names ignore case.
        const CI_DATA = ioctl::DRR_FLAG_CI_DATA;
        /// What is free is stated completely, so that a full stream can be received as a clone.
        const FREERECORDS = ioctl::DRR_FLAG_FREERECORDS;
        /// [`RecordFlags::OBJECT_SPILL`](super::RecordFlags::OBJECT_SPILL) and
        /// [`SPILL_UNMODIFIED`](super::RecordFlags::SPILL_UNMODIFIED) are set where they hold.
        const SPILL_BLOCK = ioctl::DRR_FLAG_SPILL_BLOCK;
        const _ = !0;
    }
}

/// The names of the flags that are set, and what has no name as a number: `RAW | 0x40`.
impl fmt::Display for StreamFeatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bitflags::parser::to_writer(self, f)
    }
}

/// The names of the flags that are set, and what has no name as a number.
impl fmt::Display for BeginFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bitflags::parser::to_writer(self, f)
    }
}

/// What a BEGIN begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HeaderKind {
    /// A stream of one snapshot.
    #[doc(alias = "DMU_SUBSTREAM")]
    Substream,
    /// A compound stream: an END, then any number of streams, then another END. The kernel does
    /// not receive it; what reads it takes it apart.
    #[doc(alias = "DMU_COMPOUNDSTREAM")]
    Compound,
}

/// The BEGIN of a stream.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[doc(alias = "drr_begin")]
pub struct Begin {
    /// The byte order of all that the sending kernel wrote in the stream.
    pub order: ByteOrder,
    /// A stream of one snapshot, or a compound one.
    pub kind: HeaderKind,
    /// What the stream makes use of.
    pub features: StreamFeatures,
    /// More about the stream.
    pub flags: BeginFlags,
    /// When the snapshot was created, in seconds since 1970.
    pub creation_time: u64,
    /// Whether it is that of a filesystem or of a volume. `Unknown(0)` in a compound stream.
    pub dataset_kind: DatasetKind,
    /// The GUID of the snapshot; 0 in a compound stream.
    pub to_guid: u64,
    /// The GUID of the snapshot that it builds on; 0 when it is full.
    pub from_guid: u64,
    /// The name of the snapshot at the sender: `tank/acme@monday`. It ends in `@--head--` when a
    /// filesystem was sent that is not a snapshot.
    pub to_name: String,
    /// The length of the list that follows the header, in bytes.
    pub payload_len: u32,
    /// The list that follows the header: `resume_object`, `crypt_keydata` and the like; in a
    /// compound stream `fss`, the datasets with their properties.
    ///
    /// `None` when there is none, when the header was read alone, and when the list is in the
    /// byte order of another machine: kernels do not read that either.
    pub list: Option<NvMap>,
}

impl Begin {
    /// Reads the header of a BEGIN. Whether it came over unharmed is only told by the checksum of
    /// the record after it.
    ///
    /// # Errors
    ///
    /// [`Problem::BadMagic`], [`Problem::OutOfPlace`] (not a BEGIN), [`Problem::UnknownKind`] and
    /// [`Problem::Name`].
    pub fn parse(header: &[u8; HEADER_LEN]) -> Result<Self, StreamError> {
        Self::read(header).map_err(|problem| StreamError {
            number: 0,
            record: None,
            offset: 0,
            problem,
        })
    }

    /// Reads the list that follows the header of a BEGIN: native in a stream, XDR in a compound
    /// one, which the list itself says.
    ///
    /// # Errors
    ///
    /// [`nv::DecodeError`] says what is wrong and at which byte of the list.
    pub fn payload(bytes: &[u8]) -> Result<NvMap, nv::DecodeError> {
        nv::decode(bytes)
    }

    /// Whether the stream builds on another snapshot.
    #[must_use]
    pub fn is_incremental(&self) -> bool {
        self.from_guid != 0
    }

    pub(super) fn read(header: &[u8; HEADER_LEN]) -> Result<Self, Problem> {
        const MAGIC: usize = 8;
        let mut fields = Fields::new(header, ByteOrder::Little);
        if fields.u64(MAGIC) == ioctl::DMU_BACKUP_MAGIC.swap_bytes() {
            fields = Fields::new(header, ByteOrder::Big);
        }
        let magic = fields.u64(MAGIC);
        if magic != ioctl::DMU_BACKUP_MAGIC {
            return Err(Problem::BadMagic(magic));
        }
        match RecordType::from_raw(fields.u32(0)) {
            Ok(RecordType::Begin) => {}
            Ok(other) => return Err(Problem::OutOfPlace(other)),
            Err(unknown) => return Err(Problem::UnknownType(unknown)),
        }
        let version = fields.u64(16);
        let kind = match version & 3 {
            ioctl::DMU_SUBSTREAM => HeaderKind::Substream,
            ioctl::DMU_COMPOUNDSTREAM => HeaderKind::Compound,
            0 => return Err(Problem::UnknownKind(0)),
            _ => return Err(Problem::UnknownKind(3)),
        };
        let name: [u8; 256] = fields.bytes(56);
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        if name.len() == 256 {
            return Err(Problem::Name);
        }
        Ok(Self {
            order: fields.order(),
            kind,
            features: StreamFeatures::from_bits_retain(version >> 2),
            flags: BeginFlags::from_bits_retain(fields.u32(36)),
            creation_time: fields.u64(24),
            dataset_kind: DatasetKind::from_raw(fields.u32(32)),
            to_guid: fields.u64(40),
            from_guid: fields.u64(48),
            to_name: String::from_utf8(name.to_vec()).map_err(|_| Problem::Name)?,
            payload_len: fields.u32(4),
            list: None,
        })
    }
}
