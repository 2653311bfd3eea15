//! The layout of the example, on loopback devices instead of a machine's disks.

use super::{apply, apply_all, key, lines, planned};
use crate::support::{DISK_SIZE, Loop, may_in, output, run, zfs, zfs_get};
use helix_zfs::gate::Operation;
use helix_zfs::layout::{Action, Allow, ApplyOptions, Danger, DeviceMap, Layout, LayoutError};
use helix_zfs::{Tenant, layout};
use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use tempfile::TempDir;

const CLUSTER: &str = include_str!("../../../examples/layout/cluster.toml");
const LOOPBACK: &str = include_str!("../../../examples/layout/devices-loopback.toml");

/// The devices of the map for loopback devices, which are gone when this is dropped, with the pool.
struct Devices {
    links: Vec<PathBuf>,
    _devices: Vec<Loop>,
    _dir: TempDir,
}

impl Devices {
    fn new(map: &DeviceMap) -> Self {
        let dir = TempDir::with_prefix("helix-zfs-").unwrap();
        let (mut links, mut devices) = (Vec::new(), Vec::new());
        for (name, link) in map.iter() {
            let file = dir.path().join(name);
            File::create(&file).unwrap().set_len(DISK_SIZE).unwrap();
            let device = Loop::new(&file);
            std::fs::create_dir_all(link.parent().unwrap()).unwrap();
            symlink(device.path(), link).unwrap();
            links.push(link.to_owned());
            devices.push(device);
        }
        Self {
            links,
            _devices: devices,
            _dir: dir,
        }
    }
}

impl Drop for Devices {
    fn drop(&mut self) {
        let _ = output("zpool", &["destroy", "-f", "helix"]);
        for link in &self.links {
            let _ = std::fs::remove_file(link);
        }
    }
}

#[test]
fn the_cluster_of_the_example_on_loopback_devices() {
    let mut cluster = Layout::from_toml(CLUSTER).unwrap();
    let map = DeviceMap::from_toml(LOOPBACK).unwrap();
    let _devices = Devices::new(&map);

    let plan = planned(&cluster, &map);
    assert_eq!(
        lines(&plan),
        [
            "create pool helix: mirror data-1 data-2, mirror data-3 data-4, log mirror log-1 log-2, \
             special mirror meta-1 meta-2, spare device spare-1, cache device cache-1",
            "create volume helix/scratch",
            "create filesystem helix/staging",
            "create filesystem helix/tenants",
            "create tenant helix/tenants/acme with key acme",
            "create filesystem helix/tenants/acme/metadata",
            "create filesystem helix/tenants/acme/wal",
            "create tenant helix/tenants/beta with key beta",
            "create filesystem helix/tenants/beta/metadata",
        ]
    );
    assert_eq!(plan.danger(), Danger::Safe);
    // Safe changes need nobody's consent.
    let mut told = Vec::new();
    let options = ApplyOptions::new().keys(&key);
    let applied = plan.apply(
        may_in(Operation::ApplyLayout, "helix"),
        &zfs(),
        &options,
        &mut |step| told.push(step.to_string()),
    );
    let applied = applied.unwrap();
    assert!(applied.is_complete(), "{applied:?}");
    assert_eq!(told.len(), 2 * plan.changes().len());
    assert_eq!(told[3], "create volume helix/scratch: done");
    assert!(planned(&cluster, &map).is_empty());

    as_the_commands_see_it();
    // Applied once more it does nothing.
    apply_all(&cluster, &map);

    // Somebody changes things by hand, and the layout changes too.
    run(
        "zfs",
        &["set", "sync=disabled", "helix/tenants/acme/metadata"],
    );
    run("zfs", &["inherit", "recordsize", "helix/tenants/acme/wal"]);
    run("zfs", &["create", "helix/tenants/acme/by-hand"]);
    run("zpool", &["set", "autotrim=off", "helix"]);
    run(
        "zpool",
        &[
            "remove",
            "helix",
            map.path("cache-1").unwrap().to_str().unwrap(),
        ],
    );
    let beta = cluster.tenants.get_mut("helix/tenants/beta").unwrap();
    beta.properties.insert("quota".into(), "2M".into());
    let scratch = cluster.datasets.get_mut("helix/scratch").unwrap();
    scratch.volume = Some("80M".into());
    let plan = planned(&cluster, &map);
    assert_eq!(
        lines(&plan),
        [
            "add to pool helix: cache device cache-1",
            "set autotrim=on on pool helix (is off)",
            "set volsize=83886080 on helix/scratch (is 67108864)",
            "set sync=always on helix/tenants/acme/metadata (is disabled)",
            "set recordsize=131072 on helix/tenants/acme/wal (inherited so far)",
            "set quota=2097152 on helix/tenants/beta (is 5368709120)",
        ]
    );
    let unmanaged: Vec<String> = plan.unmanaged().iter().map(ToString::to_string).collect();
    assert_eq!(unmanaged.len(), 1, "{unmanaged:?}");
    assert!(unmanaged[0].starts_with("helix/tenants/acme/by-hand: "));
    apply_all(&cluster, &map);
    assert_eq!(zfs_get("sync", "helix/tenants/acme/metadata"), "always");
    assert_eq!(zfs_get("quota", "helix/tenants/beta"), "2097152");
    assert_eq!(zfs_get("type", "helix/tenants/acme/by-hand"), "filesystem");

    destroyed_only_when_named(&cluster, &map);
}

/// What was made, and nothing is mounted.
fn as_the_commands_see_it() {
    let status = run("zpool", &["status", "-P", "helix"]);
    let vdevs: Vec<&str> = status
        .lines()
        .skip_while(|line| !line.contains("NAME"))
        .filter_map(|line| line.split_whitespace().next())
        .take_while(|word| !word.starts_with("errors"))
        .map(|word| word.rsplit('/').next().unwrap())
        .collect();
    assert_eq!(
        vdevs,
        [
            "NAME", "helix", "mirror-0", "data-1", "data-2", "mirror-1", "data-3", "data-4",
            "special", "mirror-3", "meta-1", "meta-2", "logs", "mirror-2", "log-1", "log-2",
            "cache", "cache-1", "spares", "spare-1",
        ]
    );
    let wanted = [
        ("helix", "compression", "lz4"),
        ("helix", "mountpoint", "none"),
        ("helix/tenants", "atime", "off"),
        ("helix/staging", "helix:automount", "never"),
        ("helix/tenants/acme", "encryptionroot", "helix/tenants/acme"),
        ("helix/tenants/acme", "helix:tenant", "acme"),
        ("helix/tenants/acme", "filesystem_limit", "100"),
        ("helix/tenants/acme", "quota", "10737418240"),
        ("helix/tenants/acme/metadata", "sync", "always"),
        ("helix/tenants/acme/metadata", "recordsize", "16384"),
        (
            "helix/tenants/acme/metadata",
            "encryptionroot",
            "helix/tenants/acme",
        ),
        ("helix/tenants/acme/wal", "sync", "standard"),
        ("helix/tenants/acme/wal", "logbias", "latency"),
        ("helix/tenants/beta/metadata", "keystatus", "available"),
        ("helix/tenants/beta/metadata", "mounted", "no"),
        ("helix/scratch", "volblocksize", "16384"),
    ];
    let mut properties: Vec<&str> = wanted.iter().map(|(_, property, _)| *property).collect();
    properties.sort_unstable();
    properties.dedup();
    let columns = ["get", "-Hpr", "-o", "name,property,value"];
    let shown = run(
        "zfs",
        &[&columns[..], &[&properties.join(","), "helix"]].concat(),
    );
    for (name, property, value) in wanted {
        let line = format!("{name}\t{property}\t{value}");
        assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
    }
    let ashift = run(
        "zpool",
        &["get", "-Hpo", "value", "ashift,comment,autotrim", "helix"],
    );
    assert_eq!(ashift, "12\nHelix\non\n");
    let tenants = Tenant::list(&zfs().dataset("helix/tenants").unwrap()).unwrap();
    assert_eq!(tenants.len(), 2);
}

fn destroyed_only_when_named(cluster: &Layout, map: &DeviceMap) {
    let by_hand = "helix/tenants/acme/by-hand";
    let allow = Allow::nothing().destroy(by_hand);
    run("zfs", &["create", "helix/other"]);
    run("zfs", &["snapshot", &format!("{by_hand}@a")]);
    run("zfs", &["snapshot", &format!("{by_hand}@b")]);
    run("zfs", &["hold", "keep", &format!("{by_hand}@b")]);
    let plan = || cluster.plan_allowing(&zfs(), map, &allow).unwrap();
    let held = plan();
    assert!(held.is_empty());
    assert_eq!(
        held.conflicts()[0].to_string(),
        format!("{by_hand}: its snapshot b is held")
    );
    let options = ApplyOptions::new().keys(&key);
    let refused = held
        .apply(
            may_in(Operation::ApplyLayout, "helix"),
            &zfs(),
            &options,
            &mut |_| {},
        )
        .unwrap_err();
    assert!(matches!(refused, LayoutError::Conflicts(_)), "{refused}");
    run("zfs", &["release", "keep", &format!("{by_hand}@b")]);

    let plan = plan();
    assert_eq!(
        lines(&plan),
        [format!("destroy {by_hand} with 2 snapshots")]
    );
    // It is not enough that it is named: somebody has to accept that data is lost.
    let refused = plan
        .apply(
            may_in(Operation::ApplyLayout, "helix"),
            &zfs(),
            &options.accept(Danger::Disruptive),
            &mut |_| {},
        )
        .unwrap_err();
    let message = refused.to_string();
    assert!(
        message.contains("destructive was not accepted: destroy"),
        "{message}"
    );
    // Meanwhile another takes its name.
    run("zfs", &["destroy", "-r", by_hand]);
    run("zfs", &["create", by_hand]);
    let all = options.accept(Danger::Destructive);
    let stale = plan
        .apply(
            may_in(Operation::ApplyLayout, "helix"),
            &zfs(),
            &all,
            &mut |_| {},
        )
        .unwrap_err();
    assert!(matches!(stale, LayoutError::Stale(1)), "{stale}");
    assert_eq!(zfs_get("type", by_hand), "filesystem");

    let applied = apply(cluster, map, &allow);
    let actions: Vec<_> = applied.iter().map(|(change, _)| change.action()).collect();
    assert!(
        matches!(actions[..], [Action::DestroyDataset { .. }]),
        "{actions:?}"
    );
    assert!(!zfs().dataset(by_hand).unwrap().exists().unwrap());
    assert!(zfs().dataset("helix/other").unwrap().exists().unwrap());
    // It is no mistake that it is gone.
    let again = cluster.plan_allowing(&zfs(), map, &allow).unwrap();
    assert!(again.is_empty() && again.conflicts().is_empty());
    let left = again.unmanaged();
    let is_other = |unmanaged: &layout::Unmanaged| matches!(unmanaged, layout::Unmanaged::Dataset { dataset, .. } if dataset == "helix/other");
    assert!(left.len() == 1 && is_other(&left[0]), "{left:?}");
}
