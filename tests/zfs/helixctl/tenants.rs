//! `helixctl tenant`.

use super::{done, fails, json, texts};
use crate::support::{Mounted, Scratch, zfs_get};
use tempfile::TempDir;

#[test]
fn a_tenants_life() {
    let scratch = Scratch::new("ctl-tenant");
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("key");
    std::fs::write(&file, [3; 32]).unwrap();
    let key = format!("--key-file={}", file.display());
    let parent = scratch.name();
    let acme = format!("{parent}/acme");

    // Nothing is done by a rehearsal, and the key is not needed for it.
    let (_, data) = json(&["tenant", "create", parent, "acme", "--dry-run"]);
    assert_eq!(texts(&data["changes"]).len(), 1);
    assert_eq!(done(&["tenant", "list", parent]), "no tenants\n");
    done(&[
        "tenant",
        "create",
        parent,
        "acme",
        &key,
        "--quota=1G",
        "--sync=always",
        "--snapshot-limit=9",
    ]);
    assert_eq!(zfs_get("quota", &acme), (1 << 30).to_string());
    assert_eq!(zfs_get("sync", &acme), "always");
    assert_eq!(zfs_get("snapshot_limit", &acme), "9");
    scratch
        .child("acme/db")
        .unwrap()
        .create(&helix_zfs::zfs_core::CreateOptions::filesystem())
        .unwrap();
    let (_, data) = json(&["tenant", "list", parent]);
    assert_eq!(data[0]["dataset"], acme.as_str());
    assert_eq!(data[0]["unlocked"], true);

    let (_, data) = json(&["tenant", "snapshot", &acme, "s1"]);
    assert_eq!(texts(&data["datasets"]).len(), 2);
    let told = done(&["tenant", "snapshots", &acme]);
    assert!(told.contains("s1"), "{told}");

    // A staging.
    let (_, data) = json(&["tenant", "clone", &acme, "s1", "try"]);
    assert_eq!(texts(&data["datasets"]).len(), 2);
    // Again: it is there.
    done(&["tenant", "clone", &acme, "s1", "try"]);
    let (_, data) = json(&["tenant", "stagings", &acme]);
    assert_eq!(
        (&data[0]["ready"], &data[0]["snapshot"]),
        (&true.into(), &"s1".into())
    );
    done(&["tenant", "promote", &acme, "try", "--dry-run"]);
    let (_, data) = json(&["tenant", "promote", &acme, "try"]);
    assert_eq!(texts(&data["promoted"]).len(), 1);
    // The tenant's dataset depends on it now.
    fails(3, &["tenant", "discard", &acme, "try", "--yes"]);
    done(&["tenant", "clone", &acme, "s1", "other", "--dry-run"]);
    fails(4, &["tenant", "promote", &acme, "other"]);

    // What is elsewhere.
    let told = fails(3, &["tenant", "clone", &acme, "s1", "../../beta"]);
    assert!(told.contains("is not within"), "{told}");
    let told = fails(3, &["tenant", "snapshot", parent, "s1"]);
    assert!(told.contains("is no tenant"), "{told}");
    fails(4, &["tenant", "rollback", &acme, "no-such"]);

    done(&["tenant", "lock", &acme]);
    let (_, data) = json(&["tenant", "list", parent]);
    assert_eq!(data[0]["unlocked"], false);
    done(&["tenant", "unlock", &acme, &key]);
}

#[test]
fn a_tenant_goes_back_and_its_staging_goes() {
    let scratch = Scratch::new("ctl-back");
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("key");
    std::fs::write(&file, [3; 32]).unwrap();
    let key = format!("--key-file={}", file.display());
    let acme = format!("{}/acme", scratch.name());
    done(&["tenant", "create", scratch.name(), "acme", &key]);
    let dataset = scratch.child("acme").unwrap();
    Mounted::new(&dataset).write("file", "before");
    done(&["tenant", "snapshot", &acme, "s1"]);
    done(&["tenant", "clone", &acme, "s1", "try"]);
    Mounted::new(&dataset).write("file", "after");

    let told = fails(3, &["tenant", "discard", &acme, "try"]);
    assert!(told.contains("nobody said yes"), "{told}");
    let (_, data) = json(&["tenant", "discard", &acme, "try", "--yes"]);
    assert_eq!(texts(&data["destroyed"]).len(), 1);

    let (status, data) = json(&["tenant", "rollback", &acme, "s1", "--dry-run"]);
    assert_eq!(status, 0, "{data}");
    assert_eq!(texts(&data["loses"]).len(), 1);
    assert_eq!(texts(&data["details"]["without"]).len(), 1);
    fails(3, &["tenant", "rollback", &acme, "s1"]);
    assert_eq!(Mounted::new(&dataset).read("file"), b"after");
    done(&["tenant", "rollback", &acme, "s1", "--yes"]);
    assert_eq!(Mounted::new(&dataset).read("file"), b"before");
}
