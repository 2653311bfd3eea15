//! Our encoder and decoders and libnvpair's agree on every byte.

use proptest::prelude::*;
use zfs_core::NvList;
use zfs_core::nv::{self, Encoding, NvMap, Uniqueness, Value};

use super::{any_map, every_type, nested};

/// Packs by C, in both encodings, what was added by C; unpacks and packs by ourselves.
fn assert_agreement(map: &NvMap) {
    let list = NvList::try_from(map).unwrap();
    assert_eq!(list.to_map().unwrap(), *map);
    assert_eq!(list.len(), map.len());
    assert_eq!(list.is_empty(), map.is_empty());

    let native = list.pack(Encoding::Native).unwrap();
    assert_eq!(nv::encode_native(map).unwrap(), native);
    assert_eq!(nv::encoded_len(map).unwrap(), native.len());
    assert_eq!(
        nv::decode_prefix(&native).unwrap(),
        (map.clone(), native.len())
    );

    let xdr = list.pack(Encoding::Xdr).unwrap();
    let (decoded, len) = nv::decode_prefix(&xdr).unwrap();
    assert_eq!(decoded, *map);
    // C allows for a word that it does not write, where a numeric array is empty.
    assert!(xdr[len..].iter().all(|byte| *byte == 0));

    for packed in [native, xdr] {
        let unpacked = NvList::unpack(&packed).unwrap();
        assert_eq!(unpacked.to_map().unwrap(), *map);
        assert_eq!(unpacked.try_clone().unwrap().to_map().unwrap(), *map);
    }
}

#[test]
fn every_type_survives_both_encodings() {
    let map = every_type();
    let mut types: Vec<i32> = map.iter().map(|(_, value)| value.data_type().0).collect();
    types.sort_unstable();
    types.dedup();
    assert_eq!(types, (1..=27).collect::<Vec<_>>());
    assert_agreement(&map);
}

#[test]
fn each_value_alone_survives_both_encodings() {
    for (name, value) in every_type() {
        let mut map = NvMap::new();
        map.insert(name, value);
        map.insert(c"after", 1_u64);
        assert_agreement(&map);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_list_survives_both_encodings(map in any_map()) {
        assert_agreement(&map);
    }
}

#[test]
fn lists_nest_as_deep_as_c_packs_them() {
    assert_agreement(&nested(nv::MAX_DEPTH));
}

#[test]
fn many_pairs_survive() {
    let map: NvMap = (0..20_000_u64)
        .map(|i| (std::ffi::CString::new(format!("snapshot-{i}")).unwrap(), i))
        .collect();
    assert_agreement(&map);
}

#[test]
fn names_of_any_length_survive() {
    for len in (0..40).chain([255, 256, 32_766]) {
        let mut map = NvMap::new();
        map.try_insert(&"n".repeat(len), c"value").unwrap();
        assert_agreement(&map);
    }
}

#[test]
fn a_nan_keeps_its_bits() {
    let bits = 0x7ff8_dead_beef_0001;
    let mut map = NvMap::new();
    map.insert(c"nan", f64::from_bits(bits));
    let list = NvList::try_from(&map).unwrap();
    for encoding in [Encoding::Native, Encoding::Xdr] {
        let back = nv::decode(&list.pack(encoding).unwrap()).unwrap();
        let Some(Value::Double(nan)) = back.get("nan") else {
            panic!("{back:?}");
        };
        assert_eq!(nan.to_bits(), bits);
    }
}

#[test]
fn the_list_kind_survives() {
    for uniqueness in [Uniqueness::Name, Uniqueness::NameAndType, Uniqueness::None] {
        let map = NvMap::with_uniqueness(uniqueness);
        assert_agreement(&map);
        let list = NvList::with_uniqueness(uniqueness).unwrap();
        assert_eq!(list.as_list().uniqueness(), uniqueness);
    }
}

/// Bytes written down by hand from the description of the format.
#[test]
#[cfg(target_endian = "little")]
fn the_native_bytes_are_these() {
    assert_eq!(
        nv::encode_native(&NvMap::new()).unwrap(),
        [0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]
    );

    let mut map = NvMap::new();
    map.insert(c"quota", 0x0102_0304_0506_0708_u64);
    map.insert(c"s", vec![c"ab".to_owned(), c"".to_owned()]);
    #[rustfmt::skip]
    let expected = [
        0, 1, 0, 0,  0, 0, 0, 0,  1, 0, 0, 0,
        // size 32, name size 6, one element, type 8
        32, 0, 0, 0,  6, 0, 0, 0,  1, 0, 0, 0,  8, 0, 0, 0,
        b'q', b'u', b'o', b't', b'a', 0, 0, 0,
        8, 7, 6, 5, 4, 3, 2, 1,
        // size 48, name size 2, two elements, type 17
        48, 0, 0, 0,  2, 0, 0, 0,  2, 0, 0, 0,  17, 0, 0, 0,
        b's', 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 0,
        b'a', b'b', 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0,
    ];
    assert_eq!(nv::encode_native(&map).unwrap(), expected);
    assert_eq!(nv::decode(&expected).unwrap(), map);
}

/// Likewise; and the kernel module's way to write small numbers, without sign extension.
#[test]
fn these_xdr_bytes_are_read() {
    #[rustfmt::skip]
    let packed = [
        1, 1, 0, 0,  0, 0, 0, 0,  0, 0, 0, 1,
        // 32 bytes here, 32 in native form; name; type 8, one element
        0, 0, 0, 36,  0, 0, 0, 32,  0, 0, 0, 5, b'q', b'u', b'o', b't', b'a', 0, 0, 0,
        0, 0, 0, 8,  0, 0, 0, 1,  1, 2, 3, 4, 5, 6, 7, 8,
        // an int8 of -1, zero-extended
        0, 0, 0, 28,  0, 0, 0, 32,  0, 0, 0, 1, b'i', 0, 0, 0,
        0, 0, 0, 22,  0, 0, 0, 1,  0, 0, 0, 0xff,
        // an int16 of -2, zero-extended
        0, 0, 0, 28,  0, 0, 0, 32,  0, 0, 0, 1, b'j', 0, 0, 0,
        0, 0, 0, 3,  0, 0, 0, 1,  0, 0, 0xff, 0xfe,
        0, 0, 0, 0,  0, 0, 0, 0,
        b't', b'a', b'i', b'l',
    ];
    let mut map = NvMap::new();
    map.insert(c"quota", 0x0102_0304_0506_0708_u64);
    map.insert(c"i", -1_i8);
    map.insert(c"j", -2_i16);
    assert_eq!(nv::decode_prefix(&packed).unwrap(), (map, packed.len() - 4));
}
