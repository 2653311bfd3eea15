//! What is read, and what is refused.

use crate::layout::{DeviceMap, Layout, LayoutError, Policy, PropertyValue, VdevLayout};

const CLUSTER: &str = include_str!("../../../examples/layout/cluster.toml");
const LOOPBACK: &str = include_str!("../../../examples/layout/devices-loopback.toml");
const PRODUCTION: &str = include_str!("../../../examples/layout/devices-production.toml");

/// A layout in JSON around what is given of the pool `p` and besides.
fn json(pool: &str, rest: &str) -> String {
    format!(r#"{{"version": 1, "pools": {{"p": {{{pool}}}}}{rest}}}"#)
}

const DATA: &str = r#""data": [{"device": "d"}]"#;

/// The problems that a layout has, one a line.
#[track_caller]
fn problems(text: &str) -> String {
    match Layout::from_json(text) {
        Err(LayoutError::Invalid(problems)) => problems
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_example_is_right_for_both_machines() {
    let layout = Layout::from_toml(CLUSTER).unwrap();
    let json = serde_json::to_string(&layout).unwrap();
    assert_eq!(Layout::from_json(&json).unwrap(), layout);
    let wanted: Vec<&String> = layout
        .pools
        .values()
        .flat_map(|pool| {
            [&pool.data, &pool.log, &pool.special]
                .into_iter()
                .flatten()
                .flat_map(VdevLayout::devices)
                .chain(&pool.cache)
                .chain(&pool.spares)
        })
        .collect();
    for map in [LOOPBACK, PRODUCTION] {
        let map = DeviceMap::from_toml(map).unwrap();
        assert_eq!(map.iter().count(), wanted.len());
        for device in &wanted {
            assert!(map.path(device).is_some(), "{device}");
        }
    }
}

#[test]
fn toml_and_json_say_the_same() {
    let toml = r#"
        version = 1
        [pools.p]
        ashift = 12
        data = [{ mirror = ["a", "b"] }, { raidz1 = ["c", "d", "e"] }]
        properties.autotrim = true
        [datasets."p/x"]
        policy = "transactional"
        properties = { quota = "10G", recordsize = 16384, atime = false }
    "#;
    let json = json(
        r#""ashift": 12, "data": [{"mirror": ["a", "b"]}, {"raidz1": ["c", "d", "e"]}],
           "properties": {"autotrim": true}"#,
        r#", "datasets": {"p/x": {"policy": "transactional",
           "properties": {"quota": "10G", "recordsize": 16384, "atime": false}}}"#,
    );
    let layout = Layout::from_toml(toml).unwrap();
    assert_eq!(Layout::from_json(&json).unwrap(), layout);
    let x = &layout.datasets["p/x"];
    assert_eq!(x.policy, Some(Policy::Transactional));
    assert_eq!(x.properties["quota"], PropertyValue::from("10G"));
}

#[test]
fn what_is_not_understood_is_an_error() {
    let syntax = |text: &str, what: &str| match Layout::from_json(text) {
        Err(LayoutError::Syntax(message)) => assert!(message.contains(what), "{message}"),
        other => panic!("{text}: {other:?}"),
    };
    syntax("{", "EOF");
    syntax(&json(r#""data": [], "vdevs": []"#, ""), "vdevs");
    syntax(&json(DATA, r#", "tenant": {}"#), "tenant");
    syntax(&json(r#""data": [{"stripe": ["a"]}]"#, ""), "stripe");
    let twice = json(DATA, r#", "datasets": {"p/x": {}, "p/x": {}}"#);
    syntax(&twice, "p/x occurs twice");
    let negative = json(
        DATA,
        r#", "datasets": {"p/x": {"properties": {"quota": -1}}}"#,
    );
    syntax(&negative, "PropertyValue");
    match Layout::from_toml("version = 1\n[pools.p]\ndata = []\nash = 1\n") {
        Err(LayoutError::Syntax(message)) => {
            assert!(
                message.contains("ash") && message.contains("line 4"),
                "{message}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn other_versions_are_told_before_their_fields() {
    let version = |text: &str| match Layout::from_json(text) {
        Err(LayoutError::Version { found }) => found,
        other => panic!("{other:?}"),
    };
    assert_eq!(version(r#"{"version": 2, "clusters": []}"#), Some(2));
    assert_eq!(version("{}"), None);
    let map = DeviceMap::from_json(r#"{"version": 7}"#);
    assert!(matches!(map, Err(LayoutError::Version { found: Some(7) })));
    // Put together in Rust.
    let layout = Layout {
        version: 3,
        ..Layout::new()
    };
    let error = layout.check().unwrap_err().to_string();
    assert_eq!(error, "version 3 of layouts is not known here, only 1");
}

#[test]
fn problems_say_where_they_are_and_all_of_them() {
    let text = json(
        r#""data": [{"mirror": ["a"]}, {"mirror": ["a", "b", "c"]}], "ashift": 8,
           "log": [{"raidz1": ["e", "f"]}], "spares": ["g", "g"], "cache": [""],
           "properties": {"failmode": "explode", "autotrim": "maybe", "size": 1}"#,
        "",
    );
    assert_eq!(
        problems(&text),
        "pools.p.ashift: it is 9 to 16\n\
         pools.p.data[0]: a mirror needs at least 2 devices\n\
         pools.p.data[1]: a is used by pools.p.data[0] already\n\
         pools.p.data[1]: it can lose other numbers of devices than pools.p.data[0]\n\
         pools.p.log[0]: only vdevs for data can be raidz\n\
         pools.p.spares[1]: g occurs twice\n\
         pools.p.cache[0]: a device without a name\n\
         pools.p.properties.autotrim: it is true or false\n\
         pools.p.properties.failmode: it is wait, continue or panic\n\
         pools.p.properties.size: no property of pools that layouts know"
    );
    let error = Layout::from_json(&text).unwrap_err().to_string();
    assert_eq!(error, "pools.p.ashift: it is 9 to 16 (and 9 more)");
}

#[test]
fn datasets_have_their_place() {
    let at = |datasets: &str| problems(&json(DATA, datasets));
    for (datasets, what) in [
        (
            r#", "datasets": {"q/x": {}}"#,
            "datasets.q/x: q above it is not in the layout",
        ),
        (
            r#", "datasets": {"p/x/y": {}}"#,
            "datasets.p/x/y: p/x above it is not in the layout",
        ),
        (
            r#", "datasets": {"p": {}}"#,
            "datasets.p: the root of a pool is told of with the pool",
        ),
        (r#", "datasets": {"p/..": {}}"#, "datasets.p/.."),
        (r#", "datasets": {"p/a@b": {}}"#, "datasets.p/a@b"),
        (
            r#", "datasets": {"p/v": {"volume": "1G"}, "p/v/x": {}}"#,
            "datasets.p/v/x: p/v above it is a volume",
        ),
        (
            r#", "tenants": {"p/t": {}}"#,
            "tenants.p/t: a tenant has a key of its own",
        ),
        (
            r#", "tenants": {"p/t": {"key": "k", "volume": "1G"}}"#,
            "tenants.p/t.volume: a tenant is a filesystem",
        ),
        (
            r#", "tenants": {"p/t": {"key": "k"}, "p/t/u": {"key": "k"}}"#,
            "tenants.p/t/u: it is below another tenant, p/t",
        ),
        (
            r#", "tenants": {"p/t": {"key": "k"}}, "datasets": {"p/t": {}}"#,
            "datasets.p/t: it is a tenant too",
        ),
    ] {
        let found = at(datasets);
        assert!(found.starts_with(what), "{found}");
    }
    let root = problems(&json(&format!(r#"{DATA}, "root": {{"volume": "1G"}}"#), ""));
    assert!(root.starts_with("pools.p.root.volume"), "{root}");
}

#[test]
fn properties_are_checked() {
    let with = |dataset: &str| json(DATA, &format!(r#", "datasets": {{"p/x": {{{dataset}}}}}"#));
    for (dataset, what) in [
        (
            r#""properties": {"quota": "much"}"#,
            "properties.quota: \"much\": not a number",
        ),
        (
            r#""properties": {"quota": "inherit"}"#,
            "properties.quota: it is not inherited",
        ),
        (r#""properties": {"colour": "red"}"#, "properties.colour: "),
        (r#""properties": {"used": 5}"#, "properties.used: "),
        (
            r#""properties": {"encryption": "on"}"#,
            "properties.encryption: `key` and `cipher`",
        ),
        (
            r#""properties": {"volsize": "1G"}"#,
            "properties.volsize: `volume`",
        ),
        (
            r#""properties": {"volblocksize": "8K"}"#,
            "does not apply to a filesystem",
        ),
        (
            r#""volume": "1G", "properties": {"quota": "1G"}"#,
            "does not apply to a volume",
        ),
        (
            r#""properties": {"helix:tenant": "x"}"#,
            "properties.helix:tenant: ",
        ),
        (
            r#""properties": {"Bad:name": "x"}"#,
            "properties.Bad:name: ",
        ),
        (r#""volume": "none""#, "volume: no size"),
        (r#""volume": 0"#, "volume: no size"),
        (
            r#""cipher": "aes-128-gcm""#,
            "cipher: a cipher goes with a key",
        ),
        (
            r#""key": "k", "cipher": "rot13""#,
            "cipher: rot13 is no cipher",
        ),
        (r#""policy": "log""#, "policy: the pool has no log devices"),
        (
            r#""policy": "transactional", "properties": {"sync": "standard"}"#,
            "properties.sync: it contradicts the policy transactional",
        ),
    ] {
        let found = problems(&with(dataset));
        assert!(found.contains(what), "{found}");
    }
    for dataset in [
        r#""properties": {"quota": "none", "compression": "inherit", "helix:tier": "inherit"}"#,
        r#""policy": "transactional", "properties": {"sync": "always"}"#,
        r#""volume": 1048576, "properties": {"volblocksize": "8K"}"#,
        r#""key": "k", "cipher": "aes-128-gcm""#,
    ] {
        Layout::from_json(&with(dataset)).unwrap();
    }
}

#[test]
fn device_maps_are_checked() {
    let map = |devices: &str| {
        let text = format!(r#"{{"version": 1, "devices": {{{devices}}}}}"#);
        DeviceMap::from_json(&text).unwrap_err().to_string()
    };
    assert_eq!(
        map(r#""a": "sda""#),
        "devices.a: sda is not an absolute path"
    );
    let twice = map(r#""a": "/dev/sda", "b": "/dev/sda""#);
    assert_eq!(twice, "devices.b: /dev/sda is a already");
    assert!(map(r#""a": "/x", "a": "/y""#).contains("a occurs twice"));
}
