//! Name-value lists: our own encoder and decoders against libnvpair's, and both against bytes
//! that are not what they seem.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code outside of test functions"
)]

mod agreement;
mod borrowed;
mod hostile;
mod maps;

use std::ffi::CString;

use proptest::prelude::*;
use zfs_core::nv::{NvMap, Uniqueness, Value};

/// A list with a pair of each of the 27 types, of each array type an empty one as well, and
/// numbers at the ends of their ranges.
fn every_type() -> NvMap {
    let child: NvMap = [(c"name", Value::from(c"child")), (c"flag", Value::Boolean)]
        .into_iter()
        .collect();
    let mut untyped = NvMap::with_uniqueness(Uniqueness::None);
    untyped.insert(c"twice", 1_u64);
    untyped.insert(c"twice", 2_u64);
    let mut typed = NvMap::with_uniqueness(Uniqueness::NameAndType);
    typed.insert(c"typed", 1_u64);
    typed.insert(c"typed", c"one");
    let strings = vec![
        c"".to_owned(),
        c"a".to_owned(),
        c"\xff not UTF-8".to_owned(),
    ];

    let values = [
        Value::Boolean,
        Value::BooleanValue(false),
        Value::BooleanValue(true),
        Value::Byte(0xff),
        Value::Int8(i8::MIN),
        Value::Int8(i8::MAX),
        Value::Uint8(u8::MAX),
        Value::Int16(i16::MIN),
        Value::Int16(i16::MAX),
        Value::Uint16(u16::MAX),
        Value::Int32(i32::MIN),
        Value::Uint32(u32::MAX),
        Value::Int64(i64::MIN),
        Value::Uint64(u64::MAX),
        Value::Hrtime(-1),
        Value::Double(-0.1),
        Value::String(c"".to_owned()),
        Value::String(c"seven b".to_owned()),
        Value::String(c"eight by".to_owned()),
        Value::List(NvMap::new()),
        Value::List(child.clone()),
        Value::BooleanArray(vec![]),
        Value::BooleanArray(vec![true, false, true]),
        Value::ByteArray(vec![]),
        Value::ByteArray(vec![0, 1, 0xff, 3, 4]),
        Value::Int8Array(vec![]),
        Value::Int8Array(vec![-1, 0, 1]),
        Value::Uint8Array(vec![]),
        Value::Uint8Array(vec![7; 9]),
        Value::Int16Array(vec![]),
        Value::Int16Array(vec![-1, i16::MIN, i16::MAX]),
        Value::Uint16Array(vec![]),
        Value::Uint16Array(vec![u16::MAX]),
        Value::Int32Array(vec![]),
        Value::Int32Array(vec![-1, 1, 2]),
        Value::Uint32Array(vec![]),
        Value::Uint32Array(vec![u32::MAX, 0]),
        Value::Int64Array(vec![]),
        Value::Int64Array(vec![i64::MIN, 0, i64::MAX]),
        Value::Uint64Array(vec![]),
        Value::Uint64Array(vec![u64::MAX, 0]),
        Value::StringArray(vec![]),
        Value::StringArray(strings),
        Value::ListArray(vec![]),
        Value::ListArray(vec![child, NvMap::new(), untyped, typed]),
    ];
    values
        .into_iter()
        .enumerate()
        .map(|(i, value)| {
            (
                CString::new(format!("{i} {}", value.data_type())).unwrap(),
                value,
            )
        })
        .collect()
}

fn any_cstring() -> impl Strategy<Value = CString> {
    prop::collection::vec(1..=u8::MAX, 0..20).prop_map(|bytes| CString::new(bytes).unwrap())
}

/// Few names, so that equal ones come up.
fn any_name() -> impl Strategy<Value = CString> {
    prop_oneof![
        prop::sample::select(vec![c"a", c"b", c"quota", c"a[0]"]).prop_map(ToOwned::to_owned),
        any_cstring(),
    ]
}

fn any_uniqueness() -> impl Strategy<Value = Uniqueness> {
    prop::sample::select(vec![
        Uniqueness::Name,
        Uniqueness::NameAndType,
        Uniqueness::None,
    ])
}

fn any_map_of(value: impl Strategy<Value = Value>) -> impl Strategy<Value = NvMap> {
    let pairs = prop::collection::vec((any_name(), value), 0..12);
    (any_uniqueness(), pairs).prop_map(|(uniqueness, pairs)| {
        let mut map = NvMap::with_uniqueness(uniqueness);
        for (name, value) in pairs {
            map.insert(name, value);
        }
        map
    })
}

/// Any value but one that is not equal to itself (a NaN).
fn any_value() -> impl Strategy<Value = Value> {
    fn array<T: std::fmt::Debug>(
        element: impl Strategy<Value = T>,
    ) -> impl Strategy<Value = Vec<T>> {
        prop::collection::vec(element, 0..6)
    }
    let flat = prop_oneof![
        prop_oneof![
            Just(Value::Boolean),
            any::<bool>().prop_map(Value::BooleanValue),
            any::<u8>().prop_map(Value::Byte),
            any::<i8>().prop_map(Value::Int8),
            any::<u8>().prop_map(Value::Uint8),
            any::<i16>().prop_map(Value::Int16),
            any::<u16>().prop_map(Value::Uint16),
            any::<i32>().prop_map(Value::Int32),
        ],
        prop_oneof![
            any::<u32>().prop_map(Value::Uint32),
            any::<i64>().prop_map(Value::Int64),
            any::<u64>().prop_map(Value::Uint64),
            any::<i64>().prop_map(Value::Hrtime),
            any::<f64>().prop_map(Value::Double),
            any_cstring().prop_map(Value::String),
        ],
        prop_oneof![
            array(any::<bool>()).prop_map(Value::BooleanArray),
            array(any::<u8>()).prop_map(Value::ByteArray),
            array(any::<i8>()).prop_map(Value::Int8Array),
            array(any::<u8>()).prop_map(Value::Uint8Array),
            array(any::<i16>()).prop_map(Value::Int16Array),
            array(any::<u16>()).prop_map(Value::Uint16Array),
        ],
        prop_oneof![
            array(any::<i32>()).prop_map(Value::Int32Array),
            array(any::<u32>()).prop_map(Value::Uint32Array),
            array(any::<i64>()).prop_map(Value::Int64Array),
            array(any::<u64>()).prop_map(Value::Uint64Array),
            array(any_cstring()).prop_map(Value::StringArray),
        ],
    ];
    flat.prop_recursive(4, 64, 6, |inner| {
        let map = any_map_of(inner).boxed();
        prop_oneof![
            map.clone().prop_map(Value::List),
            prop::collection::vec(map, 0..4).prop_map(Value::ListArray),
        ]
    })
}

fn any_map() -> impl Strategy<Value = NvMap> {
    any_map_of(any_value())
}

/// `depth` lists inside each other below an outermost one.
fn nested(depth: usize) -> NvMap {
    let mut map = NvMap::new();
    for level in 0..depth {
        let mut outer = NvMap::new();
        // Both kinds of nesting in turns.
        if level % 2 == 0 {
            outer.insert(c"list", map);
        } else {
            outer.insert(c"lists", vec![map]);
        }
        map = outer;
    }
    map
}
