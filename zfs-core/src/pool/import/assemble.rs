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
