//! The configuration of a pool, put together from the labels of its devices.

use super::search::Seen;
use crate::nv::{NvMap, Value};
use crate::pool::label::Label;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// How many vdevs of the top are believed. Labels are from anybody, and each that is missing takes
/// some memory.
const MAX_TOPS: u64 = 4096;

/// A pool as its labels describe it.
#[derive(Clone, Debug)]
pub(super) struct Assembled {
    /// The newest label.
    pub(super) label: Label,
    pub(super) guid: u64,
    pub(super) name: String,
    pub(super) config: NvMap,
}

/// Where the devices are, by the identity of the vdev.
pub(super) struct Places<'a>(BTreeMap<u64, &'a Seen>);

impl<'a> Places<'a> {
    pub(super) fn new(seen: &'a [Seen]) -> Self {
        let mut places = BTreeMap::new();
        for seen in seen {
            let best = places.entry(seen.label.guid()).or_insert(seen);
            // A copy of a disk is older or as new. A partition that ends where its disk does
            // shares half of its labels with it.
            let rank = |seen: &Seen| (seen.label.txg(), seen.label.copies());
            if rank(seen) > rank(best) {
                *best = seen;
            }
        }
        Self(places)
    }

    /// Writes the paths where the devices were found into a vdev and those below it.
    pub(super) fn fix(&self, vdev: &mut NvMap) {
        for key in ["children", "spares", "l2cache"] {
            if let Some(Value::ListArray(vdevs)) = vdev.get_mut(key) {
                vdevs.iter_mut().for_each(|vdev| self.fix(vdev));
            }
        }
        let seen = vdev.u64("guid").and_then(|guid| self.0.get(&guid));
        let Some(seen) = seen.filter(|_| vdev.get("children").is_none()) else {
            return;
        };
        let old = vdev.get("path").and_then(Value::as_cstr);
        let is_old =
            |name: &&PathBuf| old.is_some_and(|old| old.to_bytes() == name.as_os_str().as_bytes());
        let name = seen.names.iter().find(is_old).or(seen.names.first());
        if let Some(Ok(path)) = name.map(|name| CString::new(name.as_os_str().as_bytes())) {
            vdev.insert(c"path", path);
        }
    }
}

/// The pools that `seen` are devices of.
pub(super) fn assemble(seen: &[Seen]) -> Vec<Assembled> {
    let places = Places::new(seen);
    let mut pools: BTreeMap<u64, BTreeMap<u64, &Label>> = BTreeMap::new();
    for label in seen.iter().map(|seen| &seen.label) {
        let (Some(pool), Some(top), Some(_)) = (
            label.pool_guid(),
            label.top_guid(),
            label.state().pool_state(),
        ) else {
            continue;
        };
        let newest = pools.entry(pool).or_default().entry(top).or_insert(label);
        if label.txg() > newest.txg() {
            *newest = label;
        }
    }
    pools
        .into_iter()
        .filter_map(|(guid, tops)| put_together(guid, &tops, &places))
        .collect()
}

fn put_together(guid: u64, tops: &BTreeMap<u64, &Label>, places: &Places<'_>) -> Option<Assembled> {
    // The newest label knows which vdevs of the top there are.
    let newest = tops.values().max_by_key(|label| label.txg())?;
    let config = newest.config();
    let mut pool = NvMap::new();
    for (key, needed) in [
        (c"version", true),
        (c"pool_guid", true),
        (c"name", true),
        (c"state", true),
        (c"comment", false),
        (c"compatibility", false),
        (c"hostid", false),
        (c"hostname", false),
        (c"vdev_children", false),
        (c"hole_array", false),
    ] {
        match config.get(&key.to_string_lossy()) {
            Some(value) => pool.insert(key, value.clone()),
            None if needed => return None,
            None => {}
        }
    }
    let mut vdevs = BTreeMap::new();
    for label in tops.values() {
        let tree = label.config().list("vdev_tree")?;
        vdevs.insert(tree.u64("id")?, tree.clone());
    }
    let known = vdevs
        .last_key_value()
        .map_or(0, |(id, _)| id.saturating_add(1));
    let count = config.u64("vdev_children").unwrap_or(known);
    if count > MAX_TOPS {
        return None;
    }
    let holes = config.u64s("hole_array").unwrap_or_default();
    let children = (0..count).map(|id| {
        vdevs.remove(&id).unwrap_or_else(|| {
            let kind = match holes.contains(&id) {
                true => c"hole",
                false => c"missing",
            };
            let mut vdev = NvMap::new();
            vdev.insert(c"type", kind);
            vdev.insert(c"id", id);
            vdev.insert(c"guid", 0_u64);
            vdev
        })
    });
    let mut root = NvMap::new();
    root.insert(c"type", c"root");
    root.insert(c"id", 0_u64);
    root.insert(c"guid", guid);
    root.insert(c"children", Value::ListArray(children.collect()));
    places.fix(&mut root);
    pool.insert(c"vdev_tree", root);
    Some(Assembled {
        label: (*newest).clone(),
        guid,
        name: newest.pool_name()?,
        config: pool,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::label::tests::{label, list};
    use proptest::prelude::*;

    fn seen(name: &str, list: &NvMap) -> Seen {
        Seen {
            names: vec![name.into()],
            label: label(list).unwrap(),
        }
    }

    /// A label of the vdev of the top `id`, of which there are `count`.
    fn part(id: u64, count: u64, txg: u64) -> NvMap {
        let mut list = list(id.saturating_add(100), txg);
        list.insert(c"vdev_children", count);
        if let Some(Value::List(tree)) = list.get_mut("vdev_tree") {
            tree.insert(c"id", id);
        }
        list
    }

    fn kinds(pool: &Assembled) -> Vec<&str> {
        let tree = pool.config.list("vdev_tree").unwrap();
        let children = tree.lists("children").unwrap();
        children
            .iter()
            .map(|vdev| vdev.str("path").or(vdev.str("type")).unwrap())
            .collect()
    }

    #[test]
    fn what_is_missing_has_a_place() {
        let mut newest = part(3, 5, 20);
        newest.insert(c"hole_array", vec![1_u64]);
        newest.insert(c"name", c"renamed");
        let all = [seen("/d", &newest), seen("/a", &part(0, 4, 10))];
        let [pool] = assemble(&all).try_into().unwrap();
        assert_eq!((pool.name.as_str(), pool.guid), ("renamed", 9));
        assert_eq!(kinds(&pool), ["/a", "hole", "missing", "/d", "missing"]);
        assert_eq!(pool.config.u64("vdev_children"), Some(5));
    }

    #[test]
    fn a_vdev_beyond_the_last_is_left_out() {
        let all = [seen("/b", &part(1, 1, 5)), seen("/a", &part(0, 1, 10))];
        let [pool] = assemble(&all).try_into().unwrap();
        assert_eq!(kinds(&pool), ["/a"]);
    }

    #[test]
    fn the_name_it_had_wins_over_one_found_first() {
        let mut device = seen("/first", &part(0, 1, 5));
        device.names.push("/old".into());
        let [pool] = assemble(&[device.clone()]).try_into().unwrap();
        assert_eq!(kinds(&pool), ["/old"]);
        // A newer copy wins over both.
        let copy = seen("/copy", &part(0, 1, 6));
        let [pool] = assemble(&[device, copy]).try_into().unwrap();
        assert_eq!(kinds(&pool), ["/copy"]);
    }

    #[test]
    fn absurd_numbers_are_not_believed() {
        assert!(assemble(&[seen("/a", &part(0, u64::MAX, 5))]).is_empty());
        let mut endless = part(u64::MAX, 1, 5);
        endless.remove("vdev_children");
        assert!(assemble(&[seen("/a", &endless)]).is_empty());
        for key in ["version", "name", "vdev_tree"] {
            let mut list = part(0, 1, 5);
            list.remove(key);
            assert!(assemble(&[seen("/a", &list)]).is_empty(), "{key}");
        }
    }

    proptest! {
        #[test]
        fn any_labels_are_no_panic(
            parts in prop::collection::vec((0..8_u64, 0..10_u64, 1..5_u64, 1..4_u64), 0..12)
        ) {
            let all: Vec<Seen> = parts
                .into_iter()
                .map(|(id, count, txg, guid)| {
                    let mut list = part(id, count, txg);
                    list.insert(c"pool_guid", guid);
                    list.insert(c"hole_array", vec![count, id]);
                    seen("/x", &list)
                })
                .collect();
            for pool in assemble(&all) {
                let count = pool.config.u64("vdev_children").unwrap();
                prop_assert_eq!(kinds(&pool).len() as u64, count);
            }
        }
    }
}
