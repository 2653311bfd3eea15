//! `helixctl quota`.

use super::{command, done, ended, fails, json};
use crate::support::{Mounted, Scratch, noise, zfs, zfs_get};
use helix_zfs::zfs_core::{CreateOptions, SyncMode};

#[test]
fn limits_are_set_shown_and_watched() {
    let scratch = Scratch::new("ctl-quota");
    let data = scratch.child("data").unwrap();
    data.create(&CreateOptions::filesystem()).unwrap();
    let name = data.name().as_str();
    let set = [
        "quota",
        "set",
        name,
        "--refquota=8M",
        "--snapshot-limit=3",
        "--reservation=1M",
    ];
    done(&[&set[..], &["--dry-run"]].concat());
    assert_eq!(zfs_get("refquota", name), "0");
    done(&set);
    assert_eq!(zfs_get("refquota", name), (8 << 20).to_string());
    assert_eq!(zfs_get("snapshot_limit", name), "3");
    done(&["quota", "set", scratch.name(), "--quota=64M"]);
    done(&["quota", "set", name, "--reservation=none"]);
    assert_eq!(zfs_get("reservation", name), "0");
    // More than the pool has.
    fails(8, &["quota", "set", name, "--reservation=1P"]);

    let (status, told) = json(&["quota", "show", "-r", scratch.name()]);
    assert_eq!(status, 0, "{told}");
    assert_eq!(told[1]["limit"], "refquota");
    assert_eq!(told[1]["room"]["path"].as_array().unwrap().len(), 3);
    let told = done(&["quota", "show", "--all", name]);
    assert!(
        told.contains(&format!("quota of {}", scratch.name())),
        "{told}"
    );
    assert!(told.contains("0 of 3 snapshots"), "{told}");

    assert!(done(&["quota", "show", name, "--fits=1M"]).contains("fit"));
    let (status, told) = json(&["quota", "show", name, "--fits=1G"]);
    assert_eq!((status, &told[0]["fits"]["fit"]), (9, &"no".into()));
    let (status, told) = json(&["quota", "show", name, "--fits=8000K"]);
    assert_eq!((status, &told[0]["fits"]["fit"]), (9, &"tight".into()));

    let (status, told) = json(&["quota", "watch", name, "--looks=2", "--every=1ms"]);
    assert_eq!((status, &told["looks"]), (0, &2.into()));
    Mounted::new(&data).write("file", noise(7 << 20, 1));
    let pool = zfs().pool(data.name().pool()).unwrap();
    pool.sync(SyncMode::Pending).unwrap();
    let watched = ended(command(&["quota", "watch", name, "--looks=1"]));
    assert_eq!(watched.status, 9, "{}", watched.stdout);
    assert!(
        watched.stdout.contains(&format!("{name} passed 80%")),
        "{}",
        watched.stdout
    );
    let (status, told) = json(&["quota", "watch", name, "--looks=1"]);
    assert_eq!((status, &told["passed"][name]), (9, &80.into()));
    let (status, told) = json(&["quota", "show", name]);
    assert_eq!((status, &told[0]["state"]), (9, &"near".into()));

    let (_, told) = json(&["quota", "forecast", name]);
    assert!(told[0]["forecast"].is_null(), "{told}");
    let (_, told) = json(&["quota", "forecast", name, "--looks=3", "--every=10ms"]);
    assert_eq!(told[0]["forecast"]["samples"], 3);
    assert!(told[0]["forecast"]["fills_at"].is_null(), "{told}");
    assert!(done(&["quota", "forecast", name]).contains(name));
}

#[test]
fn owners_have_quotas() {
    let scratch = Scratch::new("ctl-owner");
    let name = scratch.name();
    let (_, told) = json(&[
        "quota",
        "owner",
        name,
        "--user=1000",
        "--bytes=4M",
        "--objects=10",
    ]);
    assert_eq!(told["quota"], 4 << 20);
    assert_eq!(zfs_get("userquota@1000", name), (4 << 20).to_string());
    let (_, told) = json(&["quota", "show", name, "--user=1000"]);
    assert!(
        told[0]["limit"].as_str().unwrap().starts_with("quota of "),
        "{told}"
    );
    assert_eq!(told[0]["files_left"], 10);
    done(&["quota", "owner", name, "--user=1000", "--bytes=none"]);
    let (_, told) = json(&["quota", "show", name, "--user=1000"]);
    assert_eq!(told[0]["limit"], "pool");
}
