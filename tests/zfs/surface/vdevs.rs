//! The properties of vdevs, compared with `zpool get`.

use super::{capabilities, pool};
use crate::support::{TENANT, TestPool, as_user, output, run, zfs};
use helix_zfs::zfs_core::pool::{
    PoolPropertySource, PoolPropertyValue, VdevClass, VdevKind, VdevPropertySet,
};
use helix_zfs::zfs_core::{ErrorKind, Pool};

/// Every property of a vdev as the command prints it.
fn compare(pool: &Pool, guid: u64, kind: &VdevKind) {
    let properties = pool.vdev_properties(guid).unwrap();
    let text = run(
        "zpool",
        &[
            "get",
            "-Hpo",
            "property,value,source",
            "all",
            pool.name().as_str(),
            &guid.to_string(),
        ],
    );
    let mut compared = 0;
    for line in text.lines() {
        let [name, value, source] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let value = value.trim_end_matches('%');
        // `bootsize` has no value, and the command has words of its own for these.
        if ["state", "children", "parent", "name", "bootsize", "parity"].contains(&name) {
            continue;
        }
        // What counts goes on between the two.
        if name.ends_with("_ops") || name.ends_with("_bytes") {
            assert!(properties.get(name).is_some(), "{name}");
            continue;
        }
        let ours = properties.get(name);
        let Some(property) = ours else {
            assert!(
                ["-", "none", "0"].contains(&value),
                "{kind:?} {name} is {value}"
            );
            continue;
        };
        let printed = match (&property.value, name) {
            (PoolPropertyValue::Text(text), _) => text.clone(),
            (PoolPropertyValue::Number(u64::MAX), _) => value.to_owned(),
            (PoolPropertyValue::Number(number), _) => match (value, number) {
                ("on", 1) | ("off", 0) | ("-", 0 | 2) => value.to_owned(),
                _ => number.to_string(),
            },
            (other, _) => panic!("{name}: {other:?}"),
        };
        assert_eq!(printed, value, "{kind:?} {name}");
        if property.source == PoolPropertySource::Local {
            assert_eq!(source, "local", "{name}");
        }
        compared += 1;
    }
    assert!(compared > 15, "{text}");
}

#[test]
fn properties_of_vdevs_are_read_and_set() {
    let of = TestPool::files("vdevprops", 9);
    let file = |n| of.file(n).to_str().unwrap().to_owned();
    let files: Vec<String> = (0..9).map(file).collect();
    let f = |n: usize| files[n].as_str();
    let layout = [
        "mirror",
        f(0),
        f(1),
        "raidz1",
        f(2),
        f(3),
        f(8),
        "log",
        f(4),
        "spare",
        f(5),
        "cache",
        f(6),
        "special",
        f(7),
    ];
    of.create(&layout);
    let pool = pool(&of);
    let status = pool.status().unwrap();
    let find = |class, kind: &VdevKind| {
        let vdev = status
            .vdevs()
            .find(|vdev| vdev.class == class && vdev.kind == *kind);
        vdev.unwrap().guid
    };
    let mirror = find(VdevClass::Data, &VdevKind::Mirror);
    let device = find(VdevClass::Data, &VdevKind::File);
    let raidz = find(VdevClass::Data, &VdevKind::Raidz { parity: 1 });
    let log = find(VdevClass::Log, &VdevKind::File);
    let spare = find(VdevClass::Spare, &VdevKind::File);
    let cache = find(VdevClass::Cache, &VdevKind::File);
    let special = find(VdevClass::Special, &VdevKind::File);

    let known = capabilities().vdev_properties;
    let some = VdevPropertySet::new().failfast(false);
    if known.is_empty() {
        for error in [
            pool.vdev_properties(mirror).map(|_| ()).unwrap_err(),
            pool.set_vdev_properties(mirror, &some).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        }
        return;
    }

    for (guid, kind) in [
        (mirror, VdevKind::Mirror),
        (raidz, VdevKind::Raidz { parity: 1 }),
        (device, VdevKind::File),
        (log, VdevKind::File),
        (special, VdevKind::File),
    ] {
        compare(&pool, guid, &kind);
    }
    let properties = pool.vdev_properties(mirror).unwrap();
    assert_eq!(properties.number("guid"), Some(mirror));
    assert_eq!(properties.name(), Some("mirror-0"));
    assert_eq!(properties.allocating(), Some(true));
    assert_eq!(properties.removing(), Some(false));
    assert_eq!(properties.comment(), None);
    let properties = pool.vdev_properties(f(0)).unwrap();
    assert_eq!(properties.text("path"), Some(f(0)));
    assert_eq!(
        (properties.checksum_n(), properties.failfast()),
        (None, Some(true))
    );
    assert_eq!(
        properties.trim_support().is_some(),
        known.contains("trim_support")
    );
    assert_eq!(properties.allocating(), None, "it is a matter of the group");
    let read = as_user(TENANT, || pool.vdev_properties(mirror).unwrap());
    assert_eq!(read.number("guid"), Some(mirror));

    let set = VdevPropertySet::new()
        .checksum_n(Some(20))
        .checksum_t(Some(600))
        .io_n(Some(5))
        .io_t(None)
        .failfast(false)
        .comment("slot 7")
        .unwrap()
        .user("helix:slot", "7")
        .unwrap();
    pool.set_vdev_properties(f(0), &set).unwrap();
    let properties = pool.vdev_properties(f(0)).unwrap();
    assert_eq!(properties.checksum_n(), Some(20));
    assert_eq!((properties.io_n(), properties.io_t()), (Some(5), None));
    assert_eq!(properties.failfast(), Some(false));
    assert_eq!(properties.comment(), Some("slot 7"));
    assert_eq!(properties.text("helix:slot"), Some("7"));
    compare(&pool, properties.number("guid").unwrap(), &VdevKind::File);
    let get = |property: &str, vdev: &str| {
        let args = ["get", "-Hpo", "value", property, of.name(), vdev];
        run("zpool", &args).trim_end().to_owned()
    };
    assert_eq!(get("helix:slot", f(0)), "7");
    assert_eq!(get("checksum_t", f(0)), "600");
    let long = VdevPropertySet::new()
        .user(&format!("helix:{}", "n".repeat(249)), &"v".repeat(8191))
        .unwrap();
    pool.set_vdev_properties(device, &long).unwrap();
    let away = VdevPropertySet::new().user("helix:slot", "").unwrap();
    pool.set_vdev_properties(f(0), &away).unwrap();
    assert_eq!(pool.vdev_properties(f(0)).unwrap().text("helix:slot"), None);

    // Only one of the groups can be left out of what is written.
    let off = VdevPropertySet::new().allocating(false);
    pool.set_vdev_properties("mirror-0", &off).unwrap();
    assert_eq!(get("allocating", "mirror-0"), "off");
    let error = pool.set_vdev_properties("raidz1-1", &off).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidProperty, "{error}");
    assert_eq!(error.failures()[0].name, "allocating");
    let on = VdevPropertySet::new().allocating(true);
    pool.set_vdev_properties(mirror, &on).unwrap();
    assert_eq!(
        pool.vdev_properties(mirror).unwrap().allocating(),
        Some(true)
    );

    let unsupported = |guid, set: &VdevPropertySet| {
        let error = pool.set_vdev_properties(guid, set).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    };
    unsupported(device, &off);
    // The module would not survive this.
    unsupported(log, &off);
    unsupported(spare, &some);
    unsupported(cache, &some);
    for guid in [spare, cache] {
        let error = pool.vdev_properties(guid).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
    let newer = VdevPropertySet::new().slow_io_n(Some(9));
    match known.contains("slow_io_n") {
        true => pool.set_vdev_properties(device, &newer).unwrap(),
        false => unsupported(device, &newer),
    }
    // Never for a device of a mirror.
    unsupported(device, &VdevPropertySet::new().sit_out(true));
    let events = VdevPropertySet::new().slow_io_events(false);
    match known.contains("slow_io_events") {
        true => {
            pool.set_vdev_properties(device, &events).unwrap();
            let properties = pool.vdev_properties(device).unwrap();
            assert_eq!(properties.slow_io_events(), Some(false));
        }
        false => unsupported(device, &events),
    }

    // Devices of a raidz sit out, as many as it can do without.
    let sit_out = VdevPropertySet::new().sit_out(true);
    let automatic = VdevPropertySet::new().autosit(true);
    if known.contains("sit_out") {
        pool.set_vdev_properties(f(2), &sit_out).unwrap();
        assert_eq!(pool.vdev_properties(f(2)).unwrap().sit_out(), Some(true));
        let error = pool.set_vdev_properties(f(3), &sit_out).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
        pool.set_vdev_properties(raidz, &automatic).unwrap();
        assert_eq!(pool.vdev_properties(raidz).unwrap().autosit(), Some(true));
        unsupported(mirror, &automatic);
    } else {
        let error = pool.set_vdev_properties(f(2), &sit_out).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        unsupported(raidz, &automatic);
    }

    // The root has some of its own since 2.3.
    let root = status.root.guid;
    let tier = VdevPropertySet::new().user("helix:tier", "gold").unwrap();
    match pool.vdev_properties(root) {
        Ok(properties) => {
            assert_eq!(properties.number("guid"), Some(root));
            pool.set_vdev_properties(root, &tier).unwrap();
            let properties = pool.vdev_properties(root).unwrap();
            assert_eq!(properties.text("helix:tier"), Some("gold"));
        }
        Err(error) => {
            assert!(!capabilities().has_pool_feature("vdev_zaps_v2"), "{error}");
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            unsupported(root, &tier);
        }
    }

    let error = pool.vdev_properties(1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let error = pool.set_vdev_properties(1, &some).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let error = as_user(TENANT, || {
        pool.set_vdev_properties(device, &some).unwrap_err()
    });
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    let absent = zfs().pool("hz-no-such-pool").unwrap();
    let error = absent.vdev_properties(mirror).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(output("zpool", &["sync", of.name()]).status.success());
}
