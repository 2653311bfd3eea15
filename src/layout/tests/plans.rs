//! What is planned, case by case.

use zfs_core::pool::VdevClass;

use crate::layout::observed::{
    Dependents, ObservedDataset, ObservedDevice, ObservedEncryption, ObservedPool,
    ObservedProperty, ObservedVdev,
};
use crate::layout::{Allow, Danger, DatasetLayout, DeviceMap, Layout, LayoutError, Observed, Plan};

const GIB: u64 = 1 << 30;

/// A layout of the pool `p` with a dataset `p/x` of these properties.
fn layout(properties: &[(&str, &str)]) -> Layout {
    let text =
        r#"{"version": 1, "pools": {"p": {"ashift": 12, "data": [{"mirror": ["a", "b"]}]}}}"#;
    let mut layout = Layout::from_json(text).unwrap();
    let dataset = DatasetLayout {
        properties: properties
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).into()))
            .collect(),
        ..DatasetLayout::default()
    };
    layout.datasets.insert("p/x".into(), dataset);
    layout
}

fn map() -> DeviceMap {
    ["a", "b", "c", "d"]
        .iter()
        .fold(DeviceMap::new(), |map, name| {
            map.device(*name, format!("/dev/{name}"))
        })
}

fn vdev(class: VdevClass, kind: &str, guid: u64, devices: &[&str]) -> ObservedVdev {
    ObservedVdev {
        class,
        kind: kind.into(),
        guid,
        ashift: Some(12),
        devices: devices
            .iter()
            .map(|name| ObservedDevice::Named((*name).into()))
            .collect(),
    }
}

/// The same pool as it is, with `p/x` of these properties set on it.
fn observed(properties: &[(&str, &str)]) -> Observed {
    let mut observed = Observed::default();
    let pool = ObservedPool {
        vdevs: vec![vdev(VdevClass::Data, "mirror", 1, &["b", "a"])],
        ..ObservedPool::default()
    };
    observed.pools.insert("p".into(), pool);
    observed
        .datasets
        .insert("p".into(), ObservedDataset::default());
    let dataset = ObservedDataset {
        used: GIB,
        referenced: GIB / 2,
        snapshots: Some(7),
        properties: properties
            .iter()
            .map(|(name, value)| {
                let value = (*value).to_owned();
                ((*name).to_owned(), ObservedProperty { value, own: true })
            })
            .collect(),
        ..ObservedDataset::default()
    };
    observed.datasets.insert("p/x".into(), dataset);
    observed
}

fn plan(layout: &Layout, observed: &Observed) -> Plan {
    Plan::compute(layout, &map(), observed, &Allow::nothing()).unwrap()
}

/// The only change for a property, or the only conflict.
#[track_caller]
fn change(property: &str, from: &str, to: &str) -> Result<(Danger, String), String> {
    let plan = plan(&layout(&[(property, to)]), &observed(&[(property, from)]));
    match (plan.changes(), plan.conflicts()) {
        ([change], []) => Ok((
            change.danger(),
            change.reason().unwrap_or_default().to_owned(),
        )),
        ([], [conflict]) => Err(conflict.to_string()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn quotas_leave_room_or_are_refused() {
    let gib = |n: u64| (n * GIB).to_string();
    let reason = change("quota", "0", "1023M").unwrap_err();
    assert_eq!(
        reason,
        "p/x: a quota of 1072693248 bytes is less than the 1073741824 bytes in use"
    );
    // The quota of what it references itself looks at other figures.
    let (danger, _) = change("refquota", "0", "1023M").unwrap();
    assert_eq!(danger, Danger::Safe);
    let (danger, reason) = change("quota", &gib(2), "1100M").unwrap();
    assert_eq!(danger, Danger::Disruptive);
    assert_eq!(reason, "only 79691776 bytes are left then");
    // As little is left, but it is more than before.
    let (danger, _) = change("quota", &gib(1), "1100M").unwrap();
    assert_eq!(danger, Danger::Safe);
    assert_eq!(change("quota", &gib(2), "none").unwrap().0, Danger::Safe);
    assert_eq!(change("quota", "0", "5G").unwrap().0, Danger::Safe);
}

#[test]
fn what_weakens_or_disturbs_is_marked() {
    for (property, from, to, danger) in [
        ("sync", "standard", "always", Danger::Safe),
        ("sync", "always", "standard", Danger::Disruptive),
        ("sync", "standard", "disabled", Danger::Disruptive),
        ("readonly", "off", "on", Danger::Disruptive),
        ("readonly", "on", "off", Danger::Safe),
        ("mountpoint", "/a", "/b", Danger::Disruptive),
        ("checksum", "on", "off", Danger::Disruptive),
        ("snapshot_limit", "100", "7", Danger::Disruptive),
        ("snapshot_limit", "100", "8", Danger::Safe),
        ("compression", "off", "zstd", Danger::Safe),
        ("sync", "always", "inherit", Danger::Disruptive),
        ("compression", "zstd", "inherit", Danger::Safe),
        ("helix:tier", "gold", "tin", Danger::Safe),
    ] {
        let (found, reason) = change(property, from, to).unwrap();
        assert_eq!(found, danger, "{property} {from} {to}");
        assert_eq!(reason.is_empty(), danger == Danger::Safe, "{property}");
    }
}

#[test]
fn what_is_inherited_is_set_where_the_layout_says_so() {
    let layout = layout(&[("compression", "zstd"), ("quota", "none")]);
    let mut observed = observed(&[("compression", "zstd"), ("quota", "0")]);
    assert!(plan(&layout, &observed).is_empty());
    let dataset = observed.datasets.get_mut("p/x").unwrap();
    for property in dataset.properties.values_mut() {
        property.own = false;
    }
    // A quota is not inherited, so that its value is all there is to it.
    let plan = plan(&layout, &observed);
    let lines: Vec<String> = plan.changes().iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["set compression=zstd on p/x (inherited so far)"]);
}

#[test]
fn what_is_for_good_is_a_conflict() {
    let conflicts = |layout: &Layout, observed: &Observed| -> Vec<String> {
        let plan = plan(layout, observed);
        assert!(plan.is_empty(), "{:?}", plan.changes());
        plan.conflicts().iter().map(ToString::to_string).collect()
    };
    let reason = change("utf8only", "off", "on").unwrap_err();
    assert_eq!(reason, "p/x: utf8only is off for good, not on");

    let mut volume = layout(&[]);
    volume.datasets.get_mut("p/x").unwrap().volume = Some("1G".into());
    let found = conflicts(&volume, &observed(&[]));
    assert_eq!(found, ["p/x: it is a filesystem, not a volume"]);
    let mut larger = observed(&[]);
    larger.datasets.get_mut("p/x").unwrap().volume = Some(2 * GIB);
    let found = conflicts(&volume, &larger);
    assert!(found[0].contains("is not made smaller"), "{found:?}");
    let found = conflicts(&layout(&[]), &larger);
    assert_eq!(found, ["p/x: it is a volume, not a filesystem"]);

    let mut encrypted = layout(&[]);
    encrypted.datasets.get_mut("p/x").unwrap().key = Some("k".into());
    let found = conflicts(&encrypted, &observed(&[]));
    assert_eq!(found, ["p/x: it is not encrypted, but should be as p/x is"]);
    let mut own = observed(&[]);
    own.datasets.get_mut("p/x").unwrap().encryption = Some(ObservedEncryption {
        root: "p/x".into(),
        cipher: Some(zfs_core::props::EncryptionAlgorithm::Aes128Ccm),
        unlocked: true,
    });
    let found = conflicts(&encrypted, &own);
    assert_eq!(
        found,
        ["p/x: its cipher is aes-128-ccm for good, not aes-256-gcm"]
    );
    let found = conflicts(&layout(&[]), &own);
    assert_eq!(found, ["p/x: it is encrypted as p/x is"]);
}

#[test]
fn vdevs_are_added_and_not_changed() {
    let mut layout = layout(&[]);
    let pool = layout.pools.get_mut("p").unwrap();
    pool.log = vec![crate::layout::VdevLayout::Device("c".into())];
    pool.spares = vec!["d".into()];
    let found = plan(&layout, &observed(&[]));
    let lines: Vec<String> = found.changes().iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "add to pool p: log device c",
            "add to pool p: spare device d"
        ]
    );
    assert_eq!(found.danger(), Danger::Safe);

    // The log's device is a spare, and of the mirror one device is another.
    let mut other = observed(&[]);
    other.pools.get_mut("p").unwrap().vdevs = vec![
        vdev(VdevClass::Data, "mirror", 1, &["a", "z"]),
        vdev(VdevClass::Spare, "device", 2, &["c"]),
        vdev(VdevClass::Cache, "device", 3, &["y"]),
    ];
    let found = plan(&layout, &other);
    let lines: Vec<String> = found.conflicts().iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "p: there is data mirror a z instead of data mirror a b: attach, detach or replace \
             devices by hand",
            "p: there is spare device c instead of log device c: attach, detach or replace \
             devices by hand",
        ]
    );
    let lines: Vec<String> = found.unmanaged().iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["p: cache device y is not in the layout"]);

    let allow = Allow::nothing()
        .remove("p", "y")
        .remove("p", "a")
        .remove("q", "c");
    let found = Plan::compute(&layout, &map(), &other, &allow).unwrap();
    let lines: Vec<String> = found.changes().iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "add to pool p: spare device d",
            "remove from pool p: cache device y"
        ]
    );

    let mut sectors = observed(&[]);
    sectors.pools.get_mut("p").unwrap().vdevs[0].ashift = Some(9);
    let found = plan(&layout, &sectors);
    assert!(
        found.conflicts()[0]
            .to_string()
            .contains("ashift of 9 for good")
    );
}

#[test]
fn more_data_vdevs_are_for_long_and_what_is_overwritten_is_lost() {
    let mut layout = layout(&[]);
    let pool = layout.pools.get_mut("p").unwrap();
    let mirror = crate::layout::VdevLayout::Mirror(vec!["c".into(), "d".into()]);
    pool.data.push(mirror);
    let danger = |allow: &Allow| {
        let plan = Plan::compute(&layout, &map(), &observed(&[]), allow).unwrap();
        plan.danger()
    };
    assert_eq!(danger(&Allow::nothing()), Danger::Disruptive);
    // All of them have to be named.
    assert_eq!(danger(&Allow::nothing().overwrite("c")), Danger::Disruptive);
    let both = Allow::nothing().overwrite("c").overwrite("d");
    assert_eq!(danger(&both), Danger::Destructive);
}

#[test]
fn what_is_to_be_destroyed_must_be_free() {
    let layout = layout(&[]);
    let mut there = observed(&[]);
    let with = |dependents: Option<Dependents>| ObservedDataset {
        used: 5,
        guid: 9,
        dependents,
        ..ObservedDataset::default()
    };
    let mut try_it = |dependents: Dependents, allow: &Allow| {
        there.datasets.insert("p/y".into(), with(Some(dependents)));
        let plan = Plan::compute(&layout, &map(), &there, allow).unwrap();
        let told = plan.changes().iter().map(ToString::to_string);
        told.chain(plan.conflicts().iter().map(ToString::to_string))
            .collect::<Vec<_>>()
    };
    let s = || vec![String::from("s")];
    let free = || Dependents {
        snapshots: s(),
        ..Dependents::default()
    };
    let allow = Allow::nothing().destroy("p/y");
    assert_eq!(try_it(free(), &allow), ["destroy p/y with 1 snapshots"]);
    assert_eq!(try_it(free(), &Allow::nothing()), [""; 0]);
    let held = Dependents {
        held: s(),
        ..free()
    };
    assert_eq!(try_it(held, &allow), ["p/y: its snapshot s is held"]);
    let cloned = Dependents {
        cloned: s(),
        ..free()
    };
    assert_eq!(try_it(cloned, &allow), ["p/y: its snapshot s has a clone"]);
    let mounted = Dependents {
        mounted: true,
        ..free()
    };
    assert_eq!(try_it(mounted, &allow), ["p/y: it is mounted"]);
    let gone = allow.clone().destroy("p/gone").destroy("p/x");
    let wanted = "p/x: it is to be destroyed, but the layout names it";
    assert_eq!(
        try_it(free(), &gone),
        ["destroy p/y with 1 snapshots", wanted]
    );

    there.datasets.insert("p/y/z".into(), with(Some(free())));
    let tell = |allow: &Allow| {
        let plan = Plan::compute(&layout, &map(), &there, allow).unwrap();
        (plan.changes().len(), plan.conflicts().to_vec())
    };
    let (changes, conflicts) = tell(&allow);
    assert_eq!(changes, 0);
    assert_eq!(
        conflicts[0].to_string(),
        "p/y: p/y/z is below it and not to be destroyed"
    );
    assert_eq!(tell(&allow.destroy("p/y/z")), (2, vec![]));
}

#[test]
fn room_is_made_before_it_is_taken() {
    let mut layout = layout(&[("quota", "2G"), ("reservation", "1G")]);
    let mut there = observed(&[("quota", "5368709120"), ("reservation", "0")]);
    for (name, reservation) in [("p/a", "none"), ("p/z", "2G")] {
        let mut dataset = layout.datasets["p/x"].clone();
        dataset
            .properties
            .insert("reservation".into(), reservation.into());
        dataset.properties.insert("quota".into(), "9G".into());
        layout.datasets.insert(name.into(), dataset);
    }
    let mut a = there.datasets["p/x"].clone();
    a.properties.get_mut("reservation").unwrap().value = (3 * GIB).to_string();
    there.datasets.insert("p/a".into(), a);
    let plan = plan(&layout, &there);
    let lines: Vec<String> = plan.changes().iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "set quota=9663676416 on p/a (is 5368709120)",
            "set reservation=0 on p/a (is 3221225472)",
            "create filesystem p/z",
            "set quota=2147483648 on p/x (is 5368709120)",
            "set reservation=1073741824 on p/x (is 0)",
        ]
    );
}

#[test]
fn locked_tenants_are_unlocked_for_what_is_new_below() {
    let text = r#"{"version": 1, "pools": {"p": {"data": [{"mirror": ["a", "b"]}]}},
        "tenants": {"p/t": {"key": "k"}}, "datasets": {"p/t/new": {}, "p/t/newer": {}, "p/t/new/er": {}}}"#;
    let layout = Layout::from_json(text).unwrap();
    let mut there = observed(&[]);
    let tenant = ObservedDataset {
        encryption: Some(ObservedEncryption {
            root: "p/t".into(),
            cipher: Some(zfs_core::props::EncryptionAlgorithm::Aes256Gcm),
            unlocked: false,
        }),
        properties: [(
            "helix:tenant".to_owned(),
            ObservedProperty {
                value: "t".into(),
                own: true,
            },
        )]
        .into(),
        ..ObservedDataset::default()
    };
    there.datasets.insert("p/t".into(), tenant);
    let plan = plan(&layout, &there);
    let lines: Vec<String> = plan.changes().iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "load key k of p/t",
            "create filesystem p/t/new",
            "create filesystem p/t/new/er",
            "create filesystem p/t/newer",
        ]
    );
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!(json["changes"][0]["action"], "load_key");
    assert_eq!(json["changes"][0]["danger"], "safe");
    assert_eq!(json["unmanaged"][0]["dataset"], "p/x");
}

#[test]
fn each_device_is_in_the_map() {
    let map = DeviceMap::new().device("a", "/dev/a");
    let plan = Plan::compute(&layout(&[]), &map, &Observed::default(), &Allow::nothing());
    match plan {
        Err(LayoutError::NoDevice { pool, device }) => {
            assert_eq!((pool.as_str(), device.as_str()), ("p", "b"));
        }
        other => panic!("{other:?}"),
    }
}
