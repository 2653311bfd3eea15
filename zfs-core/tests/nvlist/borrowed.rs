//! Reading and changing C lists.

use std::ffi::{CStr, CString};

use proptest::prelude::*;
use zfs_core::nv::{self, DataType, NvMap, Uniqueness, Value};
use zfs_core::{NvError, NvList, NvPair, ValueRef};

use super::{any_name, any_uniqueness, any_value, every_type};

fn list(map: &NvMap) -> NvList {
    NvList::try_from(map).unwrap()
}

#[test]
fn each_value_is_read_where_it_lies() {
    let map = every_type();
    let list = list(&map);
    for (pair, (name, value)) in list.iter().zip(&map) {
        assert_eq!(pair.name(), name);
        assert_eq!(pair.data_type(), value.data_type());
        assert_eq!(pair.value().unwrap().to_value().unwrap(), *value);
        let found = list.get(name).unwrap();
        assert_eq!(found.value().unwrap().to_value().unwrap(), *value);
    }
    assert!(list.get(c"no such name").is_none());
}

#[test]
fn children_are_read_in_place() {
    let mut inner = NvMap::new();
    inner.insert(c"guid", 7_u64);
    let mut map = NvMap::new();
    map.insert(c"one", inner.clone());
    map.insert(c"many", vec![NvMap::new(), inner]);
    let list = list(&map);

    let Ok(ValueRef::List(one)) = list.get(c"one").unwrap().value() else {
        panic!("{list:?}");
    };
    let Ok(ValueRef::ListArray(many)) = list.get(c"many").unwrap().value() else {
        panic!("{list:?}");
    };
    assert!(many[0].is_empty());
    for child in [one, many[1]] {
        assert_eq!(child.len(), 1);
        assert!(matches!(
            child.get(c"guid").unwrap().value(),
            Ok(ValueRef::Uint64(7))
        ));
    }
    // A copy of a child outlives the parent.
    let copy = many[1].try_to_owned().unwrap();
    drop(list);
    assert_eq!(copy.to_map().unwrap().u64("guid"), Some(7));
}

#[test]
fn iterators_of_one_list_do_not_disturb_each_other() {
    let map: NvMap = (0..50_u64)
        .map(|i| (CString::new(i.to_string()).unwrap(), i))
        .collect();
    let list = list(&map);
    let names: Vec<&CStr> = map.iter().map(|(name, _)| name).collect();

    let mut slow = list.iter();
    let mut fast = list.iter();
    let mut seen = Vec::new();
    for pair in slow.by_ref() {
        seen.push(pair.name());
        // Moves the cursor that libnvpair keeps in the list to other places.
        fast.next();
        fast.next();
        assert_eq!(list.iter().map(NvPair::name).collect::<Vec<_>>(), names);
        assert!(list.get(c"7").is_some());
    }
    assert_eq!(seen, names);
    // At the end it stays at the end.
    assert!(slow.next().is_none());
    assert!(slow.next().is_none());
    assert!(fast.next().is_none());
}

#[test]
fn names_are_bytes_without_syntax() {
    let mut list = NvList::new().unwrap();
    for name in [c"a", c"a[0]", c" a", c"a ", c"", c"\xff\xfe"] {
        list.add_str(name, name).unwrap();
    }
    assert_eq!(list.len(), 6);
    for name in [c"a", c"a[0]", c" a", c"a ", c"", c"\xff\xfe"] {
        assert!(matches!(
            list.get(name).unwrap().value(),
            Ok(ValueRef::String(value)) if value == name
        ));
    }
    assert!(list.remove(c"a[0]").unwrap());
    assert!(!list.remove(c"a[0]").unwrap());
    assert_eq!(list.len(), 5);
}

#[test]
fn the_typed_ways_to_add_are_those_of_the_general_one() {
    let mut child = NvList::new().unwrap();
    child.add_flag(c"flag").unwrap();
    let mut list = NvList::new().unwrap();
    list.add_flag(c"flag").unwrap();
    list.add_u64(c"u64", u64::MAX).unwrap();
    list.add_i32(c"i32", i32::MIN).unwrap();
    list.add_str(c"str", c"value").unwrap();
    list.add_list(c"list", &child).unwrap();

    let mut map = NvMap::new();
    map.insert(c"flag", Value::Boolean);
    map.insert(c"u64", u64::MAX);
    map.insert(c"i32", i32::MIN);
    map.insert(c"str", c"value");
    map.insert(c"list", child.to_map().unwrap());
    assert_eq!(list.to_map().unwrap(), map);

    // What was added is a copy.
    child.add_flag(c"another").unwrap();
    assert_eq!(list.to_map().unwrap(), map);
}

#[test]
fn lists_cannot_be_added_too_deep() {
    let mut list = NvList::new().unwrap();
    for level in 0..nv::MAX_DEPTH {
        let mut outer = NvList::new().unwrap();
        if level % 2 == 0 {
            outer.add_list(c"list", &list).unwrap();
        } else {
            let map = list.to_map().unwrap();
            outer
                .insert(c"lists", &Value::ListArray(vec![NvMap::new(), map]))
                .unwrap();
        }
        list = outer;
    }
    let mut outer = NvList::new().unwrap();
    outer.add_flag(c"before").unwrap();
    assert_eq!(outer.add_list(c"list", &list), Err(NvError::TooDeep));
    outer.add_flag(c"after").unwrap();
    assert_eq!(outer.len(), 2);
}

/// libnvpair's own removal frees a pair that it keeps in its hash table, when a table of names
/// that repeat shrinks meanwhile.
#[test]
fn pairs_of_a_repeated_name_are_all_removed() {
    let mut map = NvMap::with_uniqueness(Uniqueness::None);
    for i in 0..200_u64 {
        map.try_insert(&format!("other {i}"), i).unwrap();
    }
    for i in 0..200_u64 {
        map.try_insert(&format!("{}", i % 7), i).unwrap();
    }
    let mut list = list(&map);
    // The repeated names go last, when few enough pairs are left for the table to shrink.
    let names: Vec<CString> = map.iter().map(|(name, _)| name.to_owned()).collect();
    for name in names {
        let was_there = map.remove(name.to_str().unwrap()).is_some();
        assert_eq!(list.remove(&name).unwrap(), was_there);
        assert_eq!(list.to_map().unwrap(), map);
    }
    assert!(list.is_empty());
}

#[derive(Debug, Clone)]
enum Step {
    Insert(CString, Value),
    Remove(CString),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (any_name(), any_value()).prop_map(|(name, value)| Step::Insert(name, value)),
        1 => any_name().prop_map(Step::Remove),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    /// The C list and the Rust one are changed alike and stay alike.
    #[test]
    fn changes_have_the_same_effect(
        uniqueness in any_uniqueness(),
        steps in prop::collection::vec(any_step(), 0..40),
    ) {
        let mut map = NvMap::with_uniqueness(uniqueness);
        let mut list = NvList::with_uniqueness(uniqueness).unwrap();
        for step in steps {
            match step {
                Step::Insert(name, value) => {
                    list.insert(&name, &value).unwrap();
                    map.insert(name, value);
                }
                Step::Remove(name) => {
                    let removed = list.remove(&name).unwrap();
                    let before = map.len();
                    map = map.into_iter().filter(|(n, _)| *n != name).fold(
                        NvMap::with_uniqueness(uniqueness),
                        |mut kept, (name, value)| {
                            kept.insert(name, value);
                            kept
                        },
                    );
                    prop_assert_eq!(removed, map.len() < before);
                }
            }
            prop_assert_eq!(&list.to_map().unwrap(), &map);
        }
    }
}

#[test]
fn a_list_can_move_to_another_thread() {
    let map = every_type();
    let list = list(&map);
    let (list, read) = std::thread::spawn(move || {
        let read = list.to_map().unwrap();
        (list, read)
    })
    .join()
    .unwrap();
    assert_eq!(read, map);
    assert_eq!(list.to_map().unwrap(), map);
}

#[test]
fn a_clone_is_independent() {
    let mut list = NvList::new().unwrap();
    list.add_u64(c"n", 1).unwrap();
    let mut clone = list.try_clone().unwrap();
    clone.add_u64(c"n", 2).unwrap();
    drop(list.remove(c"n"));
    assert!(list.is_empty());
    assert_eq!(clone.to_map().unwrap().u64("n"), Some(2));
    assert_eq!(clone.get(c"n").unwrap().data_type(), DataType::UINT64);
}

#[test]
fn keys_are_not_shown() {
    let mut keys = NvMap::new();
    keys.insert(c"wkeydata", Value::Uint8Array(vec![251; 32]));
    let mut inner = NvMap::new();
    inner.insert(c"hidden_args", keys);
    inner.insert(c"crypt_cmd", 1_u64);
    let mut map = NvMap::new();
    map.insert(c"args", inner);
    let list = list(&map);
    for shown in [
        format!("{map:?}"),
        format!("{map:#?}"),
        format!("{list:?}"),
        format!("{:?}", list.as_list()),
        format!("{:?}", list.get(c"args").unwrap()),
        format!("{:?}", list.get(c"args").unwrap().value()),
    ] {
        assert!(!shown.contains("251"), "{shown}");
    }
    assert_eq!(
        format!("{list:?}"),
        r#"{"args": List({"hidden_args": <hidden>, "crypt_cmd": Uint64(1)})}"#
    );
}
