//! The owned list by itself.

use zfs_core::nv::{self, NvMap, Uniqueness, Value};

use super::every_type;

#[test]
fn inserting_replaces_by_the_rule() {
    for (uniqueness, left) in [
        (Uniqueness::Name, vec![Value::Uint64(3)]),
        (
            Uniqueness::NameAndType,
            vec![Value::from(c"two"), Value::Uint64(3)],
        ),
        (
            Uniqueness::None,
            vec![Value::Uint64(1), Value::from(c"two"), Value::Uint64(3)],
        ),
    ] {
        let mut map = NvMap::with_uniqueness(uniqueness);
        map.insert(c"n", 1_u64);
        map.insert(c"other", Value::Boolean);
        map.insert(c"n", c"two");
        map.insert(c"n", 3_u64);
        let of_n: Vec<Value> = map
            .iter()
            .filter(|(name, _)| *name == c"n")
            .map(|(_, value)| value.clone())
            .collect();
        assert_eq!(of_n, left);
        assert_eq!(map.u64("n"), Some(3));
        assert_eq!(map.remove("n"), Some(Value::Uint64(3)));
        assert_eq!(map.len(), 1);
        assert_eq!(map.remove("n"), None);
    }
}

#[test]
fn collecting_keeps_the_last_of_a_name() {
    let map: NvMap = [(c"a", 1_u64), (c"b", 2), (c"a", 3), (c"c", 4), (c"b", 5)]
        .into_iter()
        .collect();
    let mut inserted = NvMap::new();
    for (name, value) in [(c"a", 1_u64), (c"b", 2), (c"a", 3), (c"c", 4), (c"b", 5)] {
        inserted.insert(name, value);
    }
    assert_eq!(map, inserted);
    assert_eq!(map.len(), 3);
}

#[test]
fn values_are_found_by_type() {
    let mut map = NvMap::new();
    map.insert(c"u64", 1_u64);
    map.insert(c"i64", -1_i64);
    map.insert(c"i32", -2_i32);
    map.insert(c"str", c"text");
    map.insert(c"latin", c"\xe9");
    map.insert(c"u64s", vec![1_u64, 2]);
    map.insert(c"strs", vec![c"a".to_owned()]);
    map.insert(c"bytes", Value::ByteArray(vec![1]));
    map.insert(c"uint8s", Value::Uint8Array(vec![2]));
    map.insert(c"list", NvMap::new());
    map.insert(c"lists", vec![NvMap::new()]);
    map.insert(c"flag", Value::Boolean);
    map.insert(c"true", true);
    map.insert(c"false", false);

    assert_eq!(map.u64("u64"), Some(1));
    assert_eq!(map.u64("i64"), None);
    assert_eq!(map.i64("i64"), Some(-1));
    assert_eq!(map.i32("i32"), Some(-2));
    assert_eq!(map.str("str"), Some("text"));
    assert_eq!(map.str("latin"), None);
    assert_eq!(map.get("latin").and_then(Value::as_cstr), Some(c"\xe9"));
    assert_eq!(map.u64s("u64s"), Some(&[1, 2][..]));
    assert_eq!(map.strs("strs"), Some(&[c"a".to_owned()][..]));
    assert_eq!(map.bytes("bytes"), Some(&[1][..]));
    assert_eq!(map.bytes("uint8s"), Some(&[2][..]));
    assert_eq!(map.list("list"), Some(&NvMap::new()));
    assert_eq!(map.lists("lists"), Some(&[NvMap::new()][..]));
    assert_eq!(map.list("missing"), None);
    assert!(map.flag("flag") && map.flag("true"));
    assert!(!map.flag("false") && !map.flag("u64") && !map.flag("missing"));
}

#[test]
fn a_name_with_a_nul_is_refused() {
    let mut map = NvMap::new();
    assert!(map.try_insert("a\0b", 1_u64).is_err());
    assert!(map.is_empty());
    assert!(Value::string("a\0b").is_err());
}

/// Nothing is written before there is room for all of it, so that no copy stays behind.
#[test]
fn the_room_is_reserved_at_once() {
    let map = every_type();
    let mut out = Vec::with_capacity(nv::encoded_len(&map).unwrap());
    let at = out.as_ptr();
    nv::encode_native_into(&map, &mut out).unwrap();
    assert_eq!(out.as_ptr(), at);
    assert_eq!(out.capacity(), out.len());

    let mut empty = Vec::new();
    nv::encode_native_into(&map, &mut empty).unwrap();
    assert_eq!(empty.capacity(), empty.len());
}
