//! The properties of pools, compared with `zpool get`.

use super::{made, path, pool};
use crate::support::{Mounted, TestPool, noise, run};
use helix_zfs::zfs_core::pool::{FailMode, PoolPropertySource, PoolPropertyValue};
use helix_zfs::zfs_core::{Pool, SyncMode};

/// A property as `zpool get -p` prints it.
fn printed(name: &str, pool: &Pool) -> String {
    let properties = pool.properties().unwrap();
    let onoff = |flag: bool| if flag { "on" } else { "off" }.to_owned();
    let ratio = |hundredths: u64| format!("{}.{:02}", hundredths / 100, hundredths % 100);
    let some = |bytes: u64| {
        if bytes == 0 {
            "-".to_owned()
        } else {
            bytes.to_string()
        }
    };
    if let Some(feature) = name.strip_prefix("feature@") {
        let status = pool.status().unwrap();
        return match status.feature(feature) {
            None => "disabled",
            Some(feature) if feature.is_active() => "active",
            Some(_) => "enabled",
        }
        .to_owned();
    }
    match name {
        "health" => pool.status().unwrap().health.to_string(),
        "size" => properties.size().unwrap().to_string(),
        "allocated" => properties.allocated().unwrap().to_string(),
        "free" => properties.free().unwrap().to_string(),
        "freeing" => properties.freeing().unwrap().to_string(),
        "leaked" => properties.leaked().unwrap().to_string(),
        "capacity" => properties.capacity().unwrap().to_string(),
        "guid" => properties.guid().unwrap().to_string(),
        "load_guid" => properties.load_guid().unwrap().to_string(),
        "fragmentation" => properties
            .fragmentation()
            .map_or("-".into(), |n| n.to_string()),
        "expandsize" => some(properties.expandsize()),
        "checkpoint" => some(properties.checkpoint()),
        "dedupratio" => ratio(properties.dedupratio().unwrap()),
        "version" if properties.version() == Some(5000) => "-".to_owned(),
        "readonly" => onoff(properties.readonly()),
        "autotrim" => onoff(properties.autotrim()),
        "autoexpand" => onoff(properties.autoexpand()),
        "autoreplace" => onoff(properties.autoreplace()),
        "delegation" => onoff(properties.delegation()),
        "listsnapshots" => onoff(properties.listsnapshots()),
        "multihost" => onoff(properties.multihost()),
        "ashift" => properties.ashift().unwrap_or(0).to_string(),
        "failmode" => format!("{:?}", properties.failmode()).to_lowercase(),
        "comment" => properties.comment().unwrap_or("-").to_owned(),
        "cachefile" => properties.cachefile().unwrap_or("-").to_owned(),
        "bootfs" => properties.bootfs().unwrap_or("-").to_owned(),
        "altroot" => properties.altroot().map_or("-", path).to_owned(),
        "compatibility" => properties.compatibility().unwrap_or("off").to_owned(),
        // Since 2.2 or 2.3.
        "bcloneratio" => ratio(properties.number(name).unwrap()),
        "dedup_table_quota" => match properties.number(name) {
            None | Some(u64::MAX) => "auto".to_owned(),
            Some(quota) => quota.to_string(),
        },
        _ => match &properties.get(name).unwrap().value {
            PoolPropertyValue::Number(number) => number.to_string(),
            PoolPropertyValue::Text(text) => text.clone(),
            other => panic!("{name}: {other:?}"),
        },
    }
}

fn compare_properties(of: &TestPool) {
    let pool = pool(of);
    pool.sync(SyncMode::Pending).unwrap();
    let text = run(
        "zpool",
        &["get", "-Hpo", "property,value,source", "all", of.name()],
    );
    assert!(text.lines().count() > 50, "{text}");
    let properties = pool.properties().unwrap();
    for line in text.lines() {
        let [name, value, source] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        assert_eq!(printed(name, &pool), value, "{name}");
        if !name.starts_with("feature@") {
            let ours = match properties.source(name) {
                PoolPropertySource::Computed => "-",
                PoolPropertySource::Default => "default",
                PoolPropertySource::Local => "local",
                other => panic!("{name}: {other:?}"),
            };
            assert_eq!(ours, source, "{name}");
        }
    }
}

#[test]
fn properties_are_as_zpool_shows_them() {
    let of = made("props", &["mirror", "0", "1"]);
    compare_properties(&of);
    for set in [
        "comment=of the tests",
        "failmode=continue",
        "autotrim=on",
        "autoexpand=on",
        "autoreplace=on",
        "listsnapshots=on",
        "delegation=off",
        "ashift=12",
        &format!("bootfs={}", of.name()),
        "compatibility=legacy",
    ] {
        run("zpool", &["set", set, of.name()]);
    }
    run("zpool", &["checkpoint", of.name()]);
    Mounted::new(&of.root()).write("data", noise(4 << 20, 5));
    compare_properties(&of);

    let properties = pool(&of).properties().unwrap();
    assert_eq!(properties.comment(), Some("of the tests"));
    assert_eq!(properties.failmode(), FailMode::Continue);
    assert_eq!(properties.bootfs(), Some(of.name()));
    assert_eq!(properties.ashift(), Some(12));
    assert!(properties.autotrim() && !properties.delegation());
    assert!(properties.allocated().unwrap() > 4 << 20);
    assert!(properties.iter().any(|(name, _)| name == "size"));
}
