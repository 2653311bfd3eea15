//! Processes that die while they apply a layout.

use super::{dataset, key, lines, mirror, on_files, tenant};
use crate::support::killed::{self, Ended};
use crate::support::{TestPool, may_in, run, zfs, zfs_get};
use helix_zfs::gate::Operation;
use helix_zfs::layout::{
    Allow, ApplyOptions, Danger, DatasetLayout, DeviceMap, Layout, Plan, PoolLayout,
};
use std::path::Path;

const NAME: &str = "layout::killed::apply_is_finished_by_the_next_run";

fn read(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).unwrap()
}

/// The plan of the files in `dir`, which the process that dies reads too.
fn plan(dir: &Path) -> Plan {
    let layout = Layout::from_json(&read(dir, "layout.json")).unwrap();
    let map = DeviceMap::from_json(&read(dir, "devices.json")).unwrap();
    let allow = read(dir, "allow")
        .lines()
        .fold(Allow::nothing(), |allow, line| match line.split_once(' ') {
            Some((pool, device)) => allow.remove(pool, device),
            None => allow.destroy(line),
        });
    layout.plan_allowing(&zfs(), &map, &allow).unwrap()
}

fn write(dir: &Path, layout: &Layout, map: &DeviceMap, allow: &str) {
    let layout = serde_json::to_string(layout).unwrap();
    std::fs::write(dir.join("layout.json"), layout).unwrap();
    let map = serde_json::to_string(map).unwrap();
    std::fs::write(dir.join("devices.json"), map).unwrap();
    std::fs::write(dir.join("allow"), allow).unwrap();
}

/// Kills one process after the other, each after it has made one change, until nothing is left to do.
/// Each leaves exactly the rest.
#[track_caller]
fn die_after_each(dir: &Path) {
    let whole = lines(&plan(dir));
    let argument = dir.to_str().unwrap();
    // Before the first change nothing has happened.
    assert_eq!(killed::run(NAME, 0, argument), Ended::Killed);
    assert_eq!(lines(&plan(dir)), whole);
    for made in 1..=whole.len() {
        assert_eq!(killed::run(NAME, 1, argument), Ended::Killed);
        let rest = plan(dir);
        assert_eq!(lines(&rest), whole[made..], "after {}", whole[made - 1]);
        assert_eq!(rest.conflicts(), []);
    }
    assert_eq!(killed::run(NAME, 0, argument), Ended::Finished);
}

#[test]
fn apply_is_finished_by_the_next_run() {
    if let Some(mut countdown) = killed::in_the_process() {
        let argument = killed::argument();
        let dir = Path::new(&argument);
        let layout = Layout::from_json(&read(dir, "layout.json")).unwrap();
        let pool = layout.pools.keys().next().unwrap();
        let capability = may_in(Operation::ApplyLayout, pool);
        let plan = plan(dir);
        let options = ApplyOptions::new().keys(&key).accept(Danger::Destructive);
        let applied = plan
            .apply(capability, &zfs(), &options, &mut |_| countdown.tick())
            .unwrap();
        assert!(applied.is_complete(), "{applied:?}");
        return;
    }
    let of = TestPool::files("layout-killed", 5);
    let name = |child: &str| format!("{}/{child}", of.name());
    let pool = PoolLayout {
        ashift: Some(12),
        data: vec![mirror(&["0", "1"])],
        spares: vec!["2".into()],
        root: dataset(&[("mountpoint", "none")]),
        ..PoolLayout::default()
    };
    let (mut layout, map) = on_files(&of, 5, pool);
    layout
        .tenants
        .insert(name("acme"), tenant("a", &[("quota", "32M")]));
    layout
        .datasets
        .insert(name("acme/x"), dataset(&[("compression", "lz4")]));
    write(of.dir(), &layout, &map, "");
    die_after_each(of.dir());

    // Of somebody else, with a snapshot that nobody may lose.
    run("zfs", &["create", &name("other")]);
    run("zfs", &["snapshot", &name("other@kept")]);
    let guid = zfs_get("guid", name("other@kept"));
    // Nobody wants this any more.
    run("zfs", &["create", &name("old")]);
    run("zfs", &["snapshot", &name("old@a")]);
    run("zfs", &["unload-key", &name("acme")]);
    let pool = layout.pools.get_mut(of.name()).unwrap();
    pool.spares.clear();
    pool.log = vec![mirror(&["3", "4"])];
    pool.properties.insert("comment".into(), "killed".into());
    layout
        .tenants
        .insert(name("acme"), tenant("a", &[("quota", "16M")]));
    layout
        .datasets
        .insert(name("acme/x"), dataset(&[("compression", "inherit")]));
    layout
        .datasets
        .insert(name("acme/y"), dataset(&[("sync", "always")]));
    let volume = DatasetLayout {
        volume: Some("8M".into()),
        ..dataset(&[])
    };
    layout.datasets.insert(name("v"), volume);
    let allow = format!("{}\n{} 2\n", name("old"), of.name());
    write(of.dir(), &layout, &map, &allow);
    assert_eq!(
        lines(&plan(of.dir())),
        [
            format!("add to pool {}: log mirror 3 4", of.name()),
            format!("set comment=killed on pool {} (is )", of.name()),
            format!("load key a of {}", name("acme")),
            format!("create filesystem {}", name("acme/y")),
            format!("create volume {}", name("v")),
            format!("inherit compression on {} (is lz4)", name("acme/x")),
            format!("set quota=16777216 on {} (is 33554432)", name("acme")),
            format!("destroy {} with 1 snapshots", name("old")),
            format!("remove from pool {}: spare device 2", of.name()),
        ]
    );
    die_after_each(of.dir());
    assert_eq!(zfs_get("guid", name("other@kept")), guid);
    assert_eq!(zfs_get("sync", name("acme/y")), "always");
    assert_eq!(zfs_get("keystatus", name("acme")), "available");
    assert_eq!(zfs_get("quota", name("acme")), "16777216");
    let unmanaged: Vec<String> = plan(of.dir())
        .unmanaged()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(
        unmanaged.len() == 1 && unmanaged[0].starts_with(&name("other")),
        "{unmanaged:?}"
    );
}
