//! Makes a [`ContentTree`] from records as they come.

use super::content::key::{self, Part};
use super::content::{ContentTree, Counts};
use super::trie::Trie;
use super::{Digest, DigestProblem};
use crate::DatasetKind;
use crate::stream::{
    Begin, Body, Cipher, Object, ObjectRange, RecordFlags, Redact, Spill, StreamFeatures, Write,
    WriteEmbedded,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many hashes of objects, and how many of blocks, are kept.
pub(super) const KEPT: usize = 16384;

/// Objects are numbered by the slots of 512 bytes in blocks of 16 KiB; a stream goes block by block.
const GROUP_SHIFT: u32 = 5;

/// No file is longer. Blocks of attributes are numbered so that their offset would be greater.
const LAST_OFFSET: u64 = i64::MAX.unsigned_abs();

type Result<T> = std::result::Result<T, DigestProblem>;

#[derive(Debug)]
pub(super) struct ContentBuilder {
    begin: Arc<Begin>,
    identity: Digest,
    objects: Trie,
    blocks: Trie,
    counts: Counts,
    /// What is known of the objects of the last group: their spill blocks come out of order.
    open: BTreeMap<u128, Digest>,
    /// The redacted range that the next record may continue.
    redacted: Option<Redact>,
}

impl ContentBuilder {
    pub(super) fn new(begin: &Arc<Begin>) -> Self {
        Self {
            identity: identity(begin),
            begin: Arc::clone(begin),
            objects: Trie::new(KEPT),
            blocks: Trie::new(KEPT),
            counts: Counts::default(),
            open: BTreeMap::new(),
            redacted: None,
        }
    }

    /// Takes the next record, whose payload has the digest `digest`.
    pub(super) fn record(&mut self, body: &Body, payload: &[u8], digest: &Digest) -> Result<()> {
        match body {
            Body::Object(object) => self.object(object, digest),
            Body::ObjectRange(range) => {
                self.part(range.first, Part::Range, object_range_leaf(range))
            }
            Body::Spill(spill) => self.part(spill.object, Part::Spill, spill_leaf(spill, digest)),
            Body::Write(write) => self.write(write, payload, digest),
            Body::WriteEmbedded(write) => {
                let leaf = embedded_leaf(write, digest);
                self.block(write.object, write.offset, leaf, payload)
            }
            Body::Redact(redact) => self.redact(redact),
            Body::WriteByRef(_) => Err(DigestProblem::Deduplicated),
            // What is not there has no leaf; the module's documentation says why.
            Body::Free(_) | Body::FreeObjects(_) => Ok(()),
            Body::Begin(_) | Body::End(_) => Err(DigestProblem::OutsideStream),
        }
    }

    pub(super) fn finish(mut self) -> Result<ContentTree> {
        self.close_objects(u64::MAX)?;
        self.close_redacted()?;
        Ok(ContentTree::new(
            self.begin,
            self.identity,
            self.objects,
            self.blocks,
            self.counts,
        ))
    }

    fn object(&mut self, object: &Object, bonus: &Digest) -> Result<()> {
        self.counts.objects += 1;
        self.part(object.object, Part::Object, object_leaf(object, bonus))
    }

    fn part(&mut self, object: u64, part: Part, leaf: Digest) -> Result<()> {
        self.close_objects(object >> GROUP_SHIFT)?;
        match self.open.insert(key::part(object, part), leaf) {
            None => Ok(()),
            Some(_) => Err(DigestProblem::OutOfOrder {
                object,
                offset: None,
            }),
        }
    }

    /// Makes leaves of what is known of the objects before this group.
    fn close_objects(&mut self, group: u64) -> Result<()> {
        while let Some(entry) = self.open.first_entry() {
            let object = key::object(*entry.key());
            if object >> GROUP_SHIFT >= group {
                break;
            }
            let (key, leaf) = entry.remove_entry();
            if !self.objects.push(key, leaf) {
                return Err(DigestProblem::OutOfOrder {
                    object,
                    offset: None,
                });
            }
        }
        Ok(())
    }

    fn write(&mut self, write: &Write, payload: &[u8], digest: &Digest) -> Result<()> {
        // Where the receiver compresses, a block of zeros becomes a hole: they read the same.
        if write.compression == 0 && write.cipher == Cipher::default() && is_zero(payload) {
            return Ok(());
        }
        let leaf = write_leaf(write, digest);
        self.block(write.object, write.offset, leaf, payload)
    }

    fn block(&mut self, object: u64, offset: u64, leaf: Digest, payload: &[u8]) -> Result<()> {
        if offset > LAST_OFFSET {
            return Err(DigestProblem::SpillAsData { object });
        }
        self.close_redacted()?;
        self.counts.blocks += 1;
        self.counts.payload += payload.len() as u64;
        self.leaf(object, offset, leaf)
    }

    fn leaf(&mut self, object: u64, offset: u64, leaf: Digest) -> Result<()> {
        match self.blocks.push(key::block(object, offset), leaf) {
            true => Ok(()),
            false => Err(DigestProblem::OutOfOrder {
                object,
                offset: Some(offset),
            }),
        }
    }

    /// Neighbouring ranges are one or several records, as it came.
    fn redact(&mut self, next: &Redact) -> Result<()> {
        if let Some(open) = &mut self.redacted {
            if open.object == next.object
                && open.offset.checked_add(open.length) == Some(next.offset)
            {
                open.length = open.length.saturating_add(next.length);
                return Ok(());
            }
        }
        self.close_redacted()?;
        self.redacted = Some(*next);
        Ok(())
    }

    fn close_redacted(&mut self) -> Result<()> {
        match self.redacted.take() {
            Some(range) => self.leaf(range.object, range.offset, redacted_leaf(&range)),
            None => Ok(()),
        }
    }
}

fn is_zero(payload: &[u8]) -> bool {
    payload
        .chunks(128)
        .all(|chunk| chunk.iter().fold(0, |sum, byte| sum | byte) == 0)
}

/// The text that a leaf is the digest of: what it is of, and fields of fixed widths.
struct Leaf(Vec<u8>);

impl Leaf {
    fn new(domain: &str) -> Self {
        let mut text = Vec::with_capacity(256);
        text.extend_from_slice(domain.as_bytes());
        Self(text)
    }

    fn number(mut self, number: impl Into<u64>) -> Self {
        self.0.extend_from_slice(&number.into().to_le_bytes());
        self
    }

    /// Bytes of a length that the domain fixes.
    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn cipher(self, cipher: &Cipher, flags: RecordFlags) -> Self {
        self.bytes(&cipher.salt)
            .bytes(&cipher.iv)
            .bytes(&cipher.mac)
            .number(flags.contains(RecordFlags::RAW_BYTESWAP))
    }

    fn digest(self) -> Digest {
        Digest::of(&self.0)
    }
}

/// What makes the snapshot beside its objects and blocks. The wrapped keys are not in it: a change
/// of the wrapping key alters them, and not the snapshot.
fn identity(begin: &Begin) -> Digest {
    let list = begin.list.as_ref();
    let crypt = list.and_then(|list| list.list("crypt_keydata"));
    let number = |name| crypt.and_then(|keys| keys.u64(name)).unwrap_or(0);
    let mac = crypt.and_then(|keys| keys.bytes("portable_mac"));
    let redacted = list.and_then(|list| list.u64s("redact_snaps"));
    let kind: u64 = match begin.dataset_kind {
        DatasetKind::Filesystem => 2,
        DatasetKind::Volume => 3,
        DatasetKind::Unknown(raw) => raw.into(),
    };
    let mut leaf = Leaf::new("zfs-core snapshot 1")
        .number(kind)
        .number(begin.to_guid)
        .number(begin.from_guid)
        .number(begin.features.contains(StreamFeatures::RAW))
        .number(number("DSL_CRYPTO_SUITE"))
        .number(number("DSL_CRYPTO_GUID"))
        .number(number("to_ivset_guid"))
        .bytes(Digest::of(mac.unwrap_or_default()).as_bytes());
    for guid in redacted.unwrap_or_default() {
        leaf = leaf.number(*guid);
    }
    leaf.digest()
}

fn object_leaf(object: &Object, bonus: &Digest) -> Digest {
    Leaf::new("zfs-core object 1")
        .number(object.object)
        .number(object.object_type)
        .number(object.bonus_type)
        .number(object.block_size)
        .number(object.bonus_len)
        .number(object.checksum_type)
        .number(object.compression)
        // 0 is how releases before large dnodes say 1.
        .number(object.dnode_slots.max(1))
        .number(object.flags.contains(RecordFlags::OBJECT_SPILL))
        .number(object.flags.contains(RecordFlags::RAW_BYTESWAP))
        .number(object.raw_bonus_len)
        .number(object.indirect_shift)
        .number(object.levels)
        .number(object.block_pointers)
        .number(object.max_block)
        .bytes(bonus.as_bytes())
        .digest()
}

fn object_range_leaf(range: &ObjectRange) -> Digest {
    Leaf::new("zfs-core object range 1")
        .number(range.first)
        .number(range.slots)
        .cipher(&range.cipher, range.flags)
        .digest()
}

fn spill_leaf(spill: &Spill, payload: &Digest) -> Digest {
    Leaf::new("zfs-core spill block 1")
        .number(spill.object)
        .number(spill.length)
        .number(spill.compression)
        .number(spill.object_type)
        .cipher(&spill.cipher, spill.flags)
        .bytes(payload.as_bytes())
        .digest()
}

fn write_leaf(write: &Write, payload: &Digest) -> Digest {
    Leaf::new("zfs-core block 1")
        .number(write.object)
        .number(write.offset)
        .number(write.object_type)
        .number(write.logical_size)
        .number(write.compression)
        .cipher(&write.cipher, write.flags)
        .bytes(payload.as_bytes())
        .digest()
}

fn embedded_leaf(write: &WriteEmbedded, payload: &Digest) -> Digest {
    Leaf::new("zfs-core embedded block 1")
        .number(write.object)
        .number(write.offset)
        .number(write.length)
        .number(write.compression)
        .number(write.embedded_type)
        .number(write.logical_size)
        .number(write.physical_size)
        .bytes(payload.as_bytes())
        .digest()
}

fn redacted_leaf(range: &Redact) -> Digest {
    Leaf::new("zfs-core redacted range 1")
        .number(range.object)
        .number(range.offset)
        .number(range.length)
        .digest()
}
