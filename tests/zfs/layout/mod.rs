//! Layouts, planned and applied, and looked at with the commands.

mod example;
mod killed;
mod refused;

use crate::support::{Scratch, TestPool, may_in, zfs};
use helix_zfs::gate::Operation;
use helix_zfs::layout::{
    Allow, Applied, ApplyOptions, Danger, DatasetLayout, DeviceMap, KeyError, Layout, LayoutError,
    Plan, PoolLayout, PropertyValue, VdevLayout,
};
use helix_zfs::zfs_core::Dataset;
use helix_zfs::zfs_core::key::WrappingKey;

/// A key that is the first letter of its name.
fn key(name: &str) -> Result<WrappingKey, KeyError> {
    let letter = name.bytes().next().ok_or("a key without a name")?;
    Ok(WrappingKey::raw(&[letter; 32]))
}

fn dataset(properties: &[(&str, &str)]) -> DatasetLayout {
    DatasetLayout {
        properties: properties
            .iter()
            .map(|(name, value)| ((*name).to_owned(), PropertyValue::from(*value)))
            .collect(),
        ..DatasetLayout::default()
    }
}

/// A tenant whose key has its name.
fn tenant(key: &str, properties: &[(&str, &str)]) -> DatasetLayout {
    DatasetLayout {
        key: Some(key.to_owned()),
        ..dataset(properties)
    }
}

/// The pool that tests share, and in it a filesystem of the test's own.
pub(crate) fn shared(scratch: &Scratch) -> (Layout, DeviceMap) {
    let pool = zfs().pool(Dataset::name(scratch).pool()).unwrap();
    let status = pool.status().unwrap();
    let device = status.root.children[0].path.clone().unwrap();
    let mut layout = Layout::new();
    let data = vec![VdevLayout::Device("disk".into())];
    layout.pools.insert(
        pool.name().to_string(),
        PoolLayout {
            data,
            ..PoolLayout::default()
        },
    );
    layout.datasets.insert(scratch.name().into(), dataset(&[]));
    (layout, DeviceMap::new().device("disk", device))
}

/// A pool on files, which is yet to be created: disk `n` is `n` in the layout.
fn on_files(of: &TestPool, disks: usize, pool: PoolLayout) -> (Layout, DeviceMap) {
    let mut layout = Layout::new();
    layout.pools.insert(of.name().into(), pool);
    let map = (0..disks).fold(DeviceMap::new(), |map, n| {
        map.device(n.to_string(), of.file(n))
    });
    (layout, map)
}

fn mirror(devices: &[&str]) -> VdevLayout {
    VdevLayout::Mirror(devices.iter().map(|name| (*name).to_owned()).collect())
}

fn planned(layout: &Layout, map: &DeviceMap) -> Plan {
    layout.plan(&zfs(), map).unwrap()
}

/// What a plan is going to do.
fn lines(plan: &Plan) -> Vec<String> {
    plan.changes().iter().map(ToString::to_string).collect()
}

/// Plans and applies.
#[track_caller]
fn apply(layout: &Layout, map: &DeviceMap, allow: &Allow) -> Applied {
    let plan = layout.plan_allowing(&zfs(), map, allow).unwrap();
    let options = ApplyOptions::new().keys(&key).accept(Danger::Destructive);
    let pool = layout.pools.keys().next().expect("a pool");
    let capability = may_in(Operation::ApplyLayout, pool);
    plan.apply(capability, &zfs(), &options, &mut |_| {})
        .unwrap()
}

/// Plans and applies, and nothing is left to do afterwards.
#[track_caller]
fn apply_all(layout: &Layout, map: &DeviceMap) {
    let applied = apply(layout, map, &Allow::nothing());
    assert!(applied.is_complete(), "{applied:?}");
    let again = planned(layout, map);
    assert!(again.is_empty(), "{:?}", lines(&again));
    assert_eq!(again.conflicts(), []);
}

/// That a pool cannot be compared with any layout, because it is suspended.
pub(crate) fn is_not_planned(pool: &str) {
    let mut layout = Layout::new();
    let data = vec![VdevLayout::Device("disk".into())];
    let wanted = PoolLayout {
        data,
        ..PoolLayout::default()
    };
    layout.pools.insert(pool.into(), wanted);
    let map = DeviceMap::new().device("disk", "/dev/null");
    let refused = layout.plan(&zfs(), &map).unwrap_err();
    assert_eq!(refused.to_string(), format!("pool {pool} is SUSPENDED"));
    assert!(matches!(refused, LayoutError::Unusable { .. }));
}
