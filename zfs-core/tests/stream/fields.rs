//! Every field of every record, against the structures of zfs-core-sys, whose offsets are those of
//! the kernel's sources.

use std::mem::offset_of;

use zfs_core::stream::{Body, ByteOrder, HEADER_LEN, RecordType, SliceReader};
use zfs_core::sys::ioctl::{self, dmu_replay_record};

use crate::build::Build;

/// A record in whose header every byte differs from its neighbours, but for the sizes of payloads.
fn patterned(record: RecordType, order: ByteOrder) -> (Vec<u8>, Body) {
    let mut stream = Build::new(order);
    stream.begin(1, &[]);
    let mut header = [0; HEADER_LEN];
    for (at, byte) in header.iter_mut().enumerate() {
        *byte = u8::try_from(at % 251).unwrap();
    }
    stream.put(&mut header, 0, 4, record.raw().into());
    stream.put(&mut header, 4, 4, 0);
    let mut len = 0;
    for (at, bytes, value) in sizes(record) {
        stream.put(&mut header, at, bytes, value);
        len = 48;
    }
    stream.record(header, &vec![7; len]);
    stream.end();
    let body = SliceReader::new(&stream.bytes)
        .nth(1)
        .unwrap()
        .unwrap()
        .body;
    (header.to_vec(), body)
}

/// Where the length of a payload is written, and what gives 48 bytes.
fn sizes(record: RecordType) -> Vec<(usize, usize, u64)> {
    let union = offset_of!(dmu_replay_record, drr_u);
    match record {
        RecordType::Object => vec![(
            union + offset_of!(ioctl::drr_object, drr_raw_bonuslen),
            4,
            48,
        )],
        RecordType::Write => {
            vec![(
                union + offset_of!(ioctl::drr_write, drr_compressed_size),
                8,
                48,
            )]
        }
        RecordType::Spill => {
            vec![(
                union + offset_of!(ioctl::drr_spill, drr_compressed_size),
                8,
                48,
            )]
        }
        RecordType::WriteEmbedded => {
            vec![(
                union + offset_of!(ioctl::drr_write_embedded, drr_psize),
                4,
                41,
            )]
        }
        _ => vec![],
    }
}

struct Header {
    bytes: Vec<u8>,
    order: ByteOrder,
}

impl Header {
    fn number(&self, offset: usize, len: usize) -> u64 {
        let at = offset_of!(dmu_replay_record, drr_u) + offset;
        let mut bytes = self.bytes[at..at + len].to_vec();
        if self.order == ByteOrder::Big {
            bytes.reverse();
        }
        bytes.resize(8, 0);
        u64::from_le_bytes(bytes.try_into().unwrap())
    }

    fn raw(&self, offset: usize, len: usize) -> &[u8] {
        let at = offset_of!(dmu_replay_record, drr_u) + offset;
        &self.bytes[at..at + len]
    }
}

/// Compares fields of a record, given as numbers, with those of a structure.
macro_rules! same {
    ($header:ident, $record:ident: $of:ident; $($ours:expr => $theirs:ident $(.$inner:ident)?,)*) => {{
        $({
            let ours = $ours;
            let offset = offset_of!(ioctl::$of, $theirs $(.$inner)?);
            let theirs = $header.number(offset, size_of_val(&ours));
            assert_eq!(u64::from(ours), theirs, "{} of {:?}", stringify!($ours), $record);
        })*
    }};
}

/// The same for what is bytes.
macro_rules! same_bytes {
    ($header:ident, $of:ident; $($ours:expr => $theirs:ident,)*) => {{
        $({
            let ours = $ours;
            let offset = offset_of!(ioctl::$of, $theirs);
            assert_eq!(ours, $header.raw(offset, ours.len()), "{}", stringify!($ours));
        })*
    }};
}

#[test]
fn every_field_is_read_from_its_place() {
    for order in [ByteOrder::Little, ByteOrder::Big] {
        for record in RecordType::ALL.iter().copied() {
            if matches!(record, RecordType::Begin | RecordType::End) {
                continue;
            }
            let (bytes, body) = patterned(record, order);
            assert_eq!(body.record_type(), record);
            check(&Header { bytes, order }, body);
        }
    }
}

fn check(header: &Header, body: Body) {
    match body {
        Body::Object(o) => same!(header, o: drr_object;
            o.object => drr_object, o.object_type => drr_type, o.bonus_type => drr_bonustype,
            o.block_size => drr_blksz, o.bonus_len => drr_bonuslen,
            o.checksum_type => drr_checksumtype, o.compression => drr_compress,
            o.dnode_slots => drr_dn_slots, o.flags.bits() => drr_flags,
            o.raw_bonus_len => drr_raw_bonuslen, o.to_guid => drr_toguid,
            o.indirect_shift => drr_indblkshift, o.levels => drr_nlevels,
            o.block_pointers => drr_nblkptr, o.max_block => drr_maxblkid,
        ),
        Body::FreeObjects(f) => same!(header, f: drr_freeobjects;
            f.first => drr_firstobj, f.count => drr_numobjs, f.to_guid => drr_toguid,
        ),
        Body::Write(w) => {
            same!(header, w: drr_write;
                w.object => drr_object, w.object_type => drr_type, w.offset => drr_offset,
                w.logical_size => drr_logical_size, w.to_guid => drr_toguid,
                w.checksum_type => drr_checksumtype, w.flags.bits() => drr_flags,
                w.compression => drr_compressiontype, w.key.prop => drr_key.ddk_prop,
                w.compressed_size => drr_compressed_size,
            );
            same_bytes!(header, drr_write;
                w.cipher.salt => drr_salt, w.cipher.iv => drr_iv, w.cipher.mac => drr_mac,
            );
            let offset = offset_of!(ioctl::drr_write, drr_key.ddk_cksum);
            for (n, sum) in w.key.checksum.into_iter().enumerate() {
                assert_eq!(sum, header.number(offset + 8 * n, 8));
            }
        }
        Body::Free(f) => same!(header, f: drr_free;
            f.object => drr_object, f.offset => drr_offset, f.length => drr_length,
            f.to_guid => drr_toguid,
        ),
        Body::WriteByRef(w) => {
            same!(header, w: drr_write_byref;
                w.object => drr_object, w.offset => drr_offset, w.length => drr_length,
                w.to_guid => drr_toguid, w.ref_guid => drr_refguid,
                w.ref_object => drr_refobject, w.ref_offset => drr_refoffset,
                w.checksum_type => drr_checksumtype, w.flags.bits() => drr_flags,
                w.key.prop => drr_key.ddk_prop,
            );
        }
        Body::Spill(s) => {
            same!(header, s: drr_spill;
                s.object => drr_object, s.length => drr_length, s.to_guid => drr_toguid,
                s.flags.bits() => drr_flags, s.compression => drr_compressiontype,
                s.compressed_size => drr_compressed_size, s.object_type => drr_type,
            );
            same_bytes!(header, drr_spill;
                s.cipher.salt => drr_salt, s.cipher.iv => drr_iv, s.cipher.mac => drr_mac,
            );
        }
        Body::WriteEmbedded(w) => same!(header, w: drr_write_embedded;
            w.object => drr_object, w.offset => drr_offset, w.length => drr_length,
            w.to_guid => drr_toguid, w.compression => drr_compression,
            w.embedded_type => drr_etype, w.logical_size => drr_lsize,
            w.physical_size => drr_psize,
        ),
        Body::ObjectRange(r) => {
            same!(header, r: drr_object_range;
                r.first => drr_firstobj, r.slots => drr_numslots, r.to_guid => drr_toguid,
                r.flags.bits() => drr_flags,
            );
            same_bytes!(header, drr_object_range;
                r.cipher.salt => drr_salt, r.cipher.iv => drr_iv, r.cipher.mac => drr_mac,
            );
        }
        Body::Redact(r) => same!(header, r: drr_redact;
            r.object => drr_object, r.offset => drr_offset, r.length => drr_length,
            r.to_guid => drr_toguid,
        ),
        other => panic!("{other:?}"),
    }
}
