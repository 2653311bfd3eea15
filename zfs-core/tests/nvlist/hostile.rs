//! Bytes that are no list, or not quite.

use proptest::prelude::*;
use zfs_core::nv::{self, DecodeErrorKind, EncodeError, Encoding, NvMap, Uniqueness, Value};
use zfs_core::{Errno, NvError, NvList};

use super::{any_map, every_type, nested};

const HOST_ENDIAN: u8 = cfg!(target_endian = "little") as u8;

fn packed(map: &NvMap) -> [Vec<u8>; 2] {
    let list = NvList::try_from(map).unwrap();
    [Encoding::Native, Encoding::Xdr].map(|encoding| list.pack(encoding).unwrap())
}

/// Short lists, of one value each and another after it.
fn each_value_packed() -> impl Iterator<Item = Vec<u8>> {
    every_type().into_iter().flat_map(|pair| {
        let after = (c"after".to_owned(), Value::Uint64(1));
        packed(&[pair, after].into_iter().collect())
    })
}

/// Whatever the bytes are: no panic, and what is read is a list that can be written and goes
/// through C unchanged.
fn decode_anything(bytes: &[u8]) {
    let Ok((map, len)) = nv::decode_prefix(bytes) else {
        assert!(matches!(NvList::unpack(bytes), Err(NvError::Decode(_))));
        return;
    };
    assert!(len <= bytes.len());
    let encoded = nv::encode_native(&map).unwrap();
    let list = NvList::unpack(bytes).unwrap();
    assert_eq!(list.pack(Encoding::Native).unwrap(), encoded);
}

fn kind(bytes: &[u8]) -> DecodeErrorKind {
    nv::decode(bytes).unwrap_err().kind().clone()
}

#[test]
fn every_truncation_is_an_error() {
    for bytes in packed(&every_type()) {
        let (_, len) = nv::decode_prefix(&bytes).unwrap();
        for end in 0..len {
            let error = nv::decode(&bytes[..end]).unwrap_err();
            assert!(error.offset() <= end, "{error}");
        }
        assert!(nv::decode(&bytes[..len]).is_ok());
    }
}

#[test]
fn bytes_after_the_end_are_ignored() {
    let map = every_type();
    for mut bytes in packed(&map) {
        let (_, len) = nv::decode_prefix(&bytes).unwrap();
        bytes.extend([0xa5; 100]);
        assert_eq!(nv::decode_prefix(&bytes).unwrap(), (map.clone(), len));
    }
}

#[test]
fn every_flipped_bit_is_survived() {
    for mut bytes in each_value_packed() {
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            decode_anything(&bytes);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn every_word_set_to_an_extreme_is_survived() {
    for mut bytes in each_value_packed() {
        for at in (0..bytes.len() - 4).step_by(4) {
            let original = bytes[at..at + 4].to_vec();
            for extreme in [0, 1, 24, 0x7fff, 0xffff, i32::MAX as u32, 1 << 31, u32::MAX] {
                for word in [extreme.to_be_bytes(), extreme.to_le_bytes()] {
                    bytes[at..at + 4].copy_from_slice(&word);
                    decode_anything(&bytes);
                }
            }
            bytes[at..at + 4].copy_from_slice(&original);
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_are_survived(
        encoding in 0..=1_u8,
        bytes in prop::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..300),
    ) {
        let mut packed = vec![encoding, HOST_ENDIAN, 0, 0];
        packed.extend(bytes);
        decode_anything(&packed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn spliced_lists_are_survived(
        map in any_map(),
        other in any_map(),
        cut in any::<prop::sample::Index>(),
        other_cut in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        for (bytes, other) in packed(&map).into_iter().zip(packed(&other)) {
            let mut spliced = bytes[..cut.index(bytes.len())].to_vec();
            spliced.extend(&other[other_cut.index(other.len())..]);
            for (at, byte) in &edits {
                if !spliced.is_empty() {
                    let at = at.index(spliced.len());
                    spliced[at] = *byte;
                }
            }
            decode_anything(&spliced);
        }
    }
}

#[test]
fn unknown_headers_are_named() {
    assert_eq!(kind(&[]), DecodeErrorKind::Truncated);
    assert_eq!(kind(&[0, HOST_ENDIAN, 0]), DecodeErrorKind::Truncated);
    assert_eq!(kind(&[2, 1, 0, 0]), DecodeErrorKind::UnknownEncoding(2));
    assert_eq!(
        kind(&[0, 1 - HOST_ENDIAN, 0, 0]),
        DecodeErrorKind::ForeignEndianness
    );
    let mut bytes = nv::encode_native(&NvMap::new()).unwrap();
    bytes[4..8].copy_from_slice(&7_i32.to_ne_bytes());
    assert_eq!(kind(&bytes), DecodeErrorKind::UnknownVersion(7));
}

/// A native list of one pair, with what stands in the pair's header in the caller's hand.
fn native_pair(size: i32, name_size: i16, elements: i32, data_type: i32, rest: &[u8]) -> Vec<u8> {
    let mut bytes = nv::encode_native(&NvMap::new()).unwrap();
    bytes.truncate(12);
    bytes.extend(size.to_ne_bytes());
    bytes.extend(name_size.to_ne_bytes());
    bytes.extend([0, 0]);
    bytes.extend(elements.to_ne_bytes());
    bytes.extend(data_type.to_ne_bytes());
    bytes.extend(rest);
    bytes.extend([0; 4]);
    bytes
}

#[test]
fn faults_of_a_native_pair_are_named() {
    let name = *b"n\0\0\0\0\0\0\0";
    let with = |value: &[u8]| [&name, value].concat();
    let word = |n: u32| [n.to_ne_bytes(), [0; 4]].concat();

    assert!(nv::decode(&native_pair(24, 2, 0, 1, &name)).is_ok());
    for (bytes, expected) in [
        (
            native_pair(16, 2, 0, 1, &name),
            DecodeErrorKind::PairSize(16),
        ),
        (
            native_pair(-8, 2, 0, 1, &name),
            DecodeErrorKind::PairSize(-8),
        ),
        (
            native_pair(32, 2, 0, 1, &name),
            DecodeErrorKind::PairSize(32),
        ),
        (native_pair(24, 0, 0, 1, &name), DecodeErrorKind::Name),
        (native_pair(24, -1, 0, 1, &name), DecodeErrorKind::Name),
        (native_pair(24, 1, 0, 1, &name), DecodeErrorKind::Name),
        (native_pair(24, 3, 0, 1, &name), DecodeErrorKind::Name),
        (native_pair(24, 200, 0, 1, &name), DecodeErrorKind::Name),
        (
            native_pair(24, 2, 0, 0, &name),
            DecodeErrorKind::UnknownType(0),
        ),
        (
            native_pair(24, 2, 0, 28, &name),
            DecodeErrorKind::UnknownType(28),
        ),
        (
            native_pair(24, 2, 0, -1, &name),
            DecodeErrorKind::UnknownType(-1),
        ),
        (
            native_pair(24, 2, 1, 1, &name),
            DecodeErrorKind::ElementCount(1),
        ),
        (
            native_pair(24, 2, -1, 16, &name),
            DecodeErrorKind::ElementCount(-1),
        ),
        (
            native_pair(32, 2, 2, 8, &with(&[0; 8])),
            DecodeErrorKind::ElementCount(2),
        ),
        (
            native_pair(24, 2, 1, 8, &name),
            DecodeErrorKind::PairSize(24),
        ),
        (
            native_pair(32, 2, 1, 21, &with(&word(2))),
            DecodeErrorKind::Range(2),
        ),
        (
            native_pair(32, 2, 1, 9, &with(&[b'x'; 8])),
            DecodeErrorKind::String,
        ),
        // Two strings announced, the second without an end.
        (
            native_pair(48, 2, 2, 17, &with(b"................one\0two.")),
            DecodeErrorKind::String,
        ),
        (
            native_pair(24, 2, i32::MAX, 17, &name),
            DecodeErrorKind::PairSize(24),
        ),
        (
            native_pair(24, 2, i32::MAX, 20, &name),
            DecodeErrorKind::PairSize(24),
        ),
    ] {
        assert_eq!(kind(&bytes), expected);
    }
}

#[test]
fn the_offset_is_that_of_the_fault() {
    let mut map = NvMap::new();
    map.insert(c"first", 1_u64);
    map.insert(c"second", true);
    let mut bytes = nv::encode_native(&map).unwrap();
    // header 12, first pair 32; in the second 16 and the name with its padding 8
    let value = 12 + 32 + 24;
    bytes[value..value + 4].copy_from_slice(&2_u32.to_ne_bytes());
    let error = nv::decode(&bytes).unwrap_err();
    assert_eq!(error.offset(), value);
    assert_eq!(
        error.to_string(),
        "bad nvlist: 2 is outside the range of its type (at byte 68)"
    );
}

/// A count larger than what is there must not be believed, in any type of array.
#[test]
fn huge_counts_are_refused() {
    for data_type in (10..=17).chain([20, 24, 25, 26]) {
        for count in [1 << 20, i32::MAX] {
            let name = *b"n\0\0\0\0\0\0\0";
            assert!(nv::decode(&native_pair(24, 2, count, data_type, &name)).is_err());

            let mut xdr = vec![1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
            for word in [0, i32::MAX, 0, data_type, count, count, 0, 0, 0] {
                xdr.extend(word.to_be_bytes());
            }
            assert!(nv::decode(&xdr).is_err());
        }
    }
}

#[test]
fn faults_of_xdr_are_named() {
    let mut map = NvMap::new();
    map.insert(c"n", Value::Byte(1));
    let [_, good] = packed(&map);
    // header 4, version 4, flags 4, sizes 8, name 4 + 4, type 4, count 4, value 4, end 8
    assert_eq!(good.len(), 48);
    let with = |at: usize, word: u32| {
        let mut bytes = good.clone();
        bytes[at..at + 4].copy_from_slice(&word.to_be_bytes());
        kind(&bytes)
    };
    assert_eq!(with(16, 24), DecodeErrorKind::PairSize(24));
    assert_eq!(with(24, 0x6e00_0001), DecodeErrorKind::Padding);
    assert_eq!(with(24, 0), DecodeErrorKind::Name);
    assert_eq!(with(28, 99), DecodeErrorKind::UnknownType(99));
    assert_eq!(with(32, 2), DecodeErrorKind::ElementCount(2));
    assert_eq!(with(36, 0x100), DecodeErrorKind::Range(0x100));
    assert_eq!(with(36, 0xffff_ff01), DecodeErrorKind::Range(0xffff_ff01));
    // What is said to be its size in XDR is not looked at, by C neither.
    assert_eq!(nv::decode(&good).unwrap(), map);
}

#[test]
fn too_deep_is_refused_everywhere() {
    let deep = nested(nv::MAX_DEPTH + 1);
    assert_eq!(nv::encode_native(&deep), Err(EncodeError::TooDeep));
    assert!(matches!(NvList::try_from(&deep), Err(NvError::TooDeep)));
    let mut list = NvList::new().unwrap();
    assert!(
        list.insert(c"x", &Value::List(nested(nv::MAX_DEPTH - 1)))
            .is_ok()
    );
    assert_eq!(
        list.insert(c"x", &Value::List(nested(nv::MAX_DEPTH))),
        Err(NvError::TooDeep)
    );
}

/// Lists nested a hundred thousand deep, which only bytes can be.
#[test]
fn depth_bombs_are_refused() {
    let header = nv::encode_native(&NvMap::new()).unwrap()[4..12].to_vec();
    let mut pair = native_pair(
        48,
        2,
        1,
        19,
        &[b"n\0\0\0\0\0\0\0", &header[..], &[0; 16]].concat(),
    );
    let pair = pair.drain(12..60).collect::<Vec<_>>();
    let mut native = nv::encode_native(&NvMap::new()).unwrap();
    native.truncate(12);

    let mut xdr = vec![1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let xdr_pair: Vec<u8> = [64, 48, 1, 0x6e00_0000, 19, 1, 0, 1_u32]
        .iter()
        .flat_map(|word| word.to_be_bytes())
        .collect();

    for levels in 0..100_000 {
        if levels == nv::MAX_DEPTH {
            // So far it is merely cut off.
            assert_eq!(kind(&native), DecodeErrorKind::Truncated);
            assert_eq!(kind(&xdr), DecodeErrorKind::Truncated);
        }
        native.extend(&pair);
        xdr.extend(&xdr_pair);
    }
    assert_eq!(kind(&native), DecodeErrorKind::TooDeep);
    assert_eq!(kind(&xdr), DecodeErrorKind::TooDeep);
}

#[test]
fn a_unique_list_with_a_name_twice_is_refused() {
    // Below and above the size at which the search changes.
    for others in [0, 50] {
        let mut map = NvMap::with_uniqueness(Uniqueness::None);
        map.insert(c"twice", 1_u64);
        for i in 0..others {
            map.try_insert(&format!("other {i}"), i as u64).unwrap();
        }
        map.insert(c"twice", c"two");
        for (mut bytes, flags) in packed(&map)
            .into_iter()
            .zip([i32::to_ne_bytes, i32::to_be_bytes])
        {
            assert_eq!(nv::decode(&bytes).unwrap(), map);
            bytes[8..12].copy_from_slice(&flags(1));
            assert_eq!(
                kind(&bytes),
                DecodeErrorKind::Duplicate(c"twice".to_owned())
            );
            bytes[8..12].copy_from_slice(&flags(2));
            assert_eq!(nv::decode(&bytes).unwrap().len(), others + 2);
        }
    }
}

#[test]
fn names_too_long_are_refused() {
    let name = "n".repeat(32_767);
    let mut map = NvMap::new();
    map.try_insert(&name, Value::Boolean).unwrap();
    assert_eq!(nv::encode_native(&map), Err(EncodeError::NameTooLong));
    let error = NvList::try_from(&map).unwrap_err();
    let NvError::Refused { call, errno } = error else {
        panic!("{error}");
    };
    assert_eq!((call, errno), ("nvlist_add_boolean", Errno::EINVAL));
}
