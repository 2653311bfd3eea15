use super::record::{Cipher, DedupKey, RecordFlags};
use zfs_core_sys::ioctl;

/// The length of a record's header, in bytes.
#[doc(alias = "dmu_replay_record_t")]
pub const HEADER_LEN: usize = 312;

/// Where the checksum is in every header but that of a BEGIN.
pub(super) const CHECKSUM_AT: usize = ioctl::DRR_CHECKSUM_OFFSET;

/// The byte order of numbers in a stream: that of the machine that sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// The least significant byte comes first.
    Little,
    /// The most significant byte comes first.
    Big,
}

/// The fields of a header.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    header: &'a [u8; HEADER_LEN],
    order: ByteOrder,
}

impl<'a> Fields<'a> {
    pub(super) fn new(header: &'a [u8; HEADER_LEN], order: ByteOrder) -> Self {
        Self { header, order }
    }

    pub(super) fn order(&self) -> ByteOrder {
        self.order
    }

    /// The bytes from an offset that is a constant inside the header.
    #[inline(always)]
    pub(super) fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        let bytes = self.header.get(at..).and_then(<[u8]>::first_chunk);
        bytes.copied().unwrap_or([0; N])
    }

    #[inline(always)]
    pub(super) fn u8(&self, at: usize) -> u8 {
        let [byte] = self.bytes(at);
        byte
    }

    #[inline(always)]
    pub(super) fn u32(&self, at: usize) -> u32 {
        match self.order {
            ByteOrder::Little => u32::from_le_bytes(self.bytes(at)),
            ByteOrder::Big => u32::from_be_bytes(self.bytes(at)),
        }
    }

    #[inline(always)]
    pub(super) fn u64(&self, at: usize) -> u64 {
        match self.order {
            ByteOrder::Little => u64::from_le_bytes(self.bytes(at)),
            ByteOrder::Big => u64::from_be_bytes(self.bytes(at)),
        }
    }

    pub(super) fn sums(&self, at: usize) -> [u64; 4] {
        [at, at + 8, at + 16, at + 24].map(|at| self.u64(at))
    }

    pub(super) fn flags(&self, at: usize) -> RecordFlags {
        RecordFlags::from_bits_retain(self.u8(at))
    }

    pub(super) fn cipher(&self, salt: usize, iv: usize, mac: usize) -> Cipher {
        Cipher {
            salt: self.bytes(salt),
            iv: self.bytes(iv),
            mac: self.bytes(mac),
        }
    }

    pub(super) fn dedup_key(&self, at: usize) -> DedupKey {
        DedupKey {
            checksum: self.sums(at),
            prop: self.u64(at + 32),
        }
    }
}
