//! What a rotation means to copies that were sent raw.

use super::{One, lock, opens, quiet};
use crate::support::may;
use crate::support::run;
use helix_zfs::Tenant;
use helix_zfs::gate::Operation;
use helix_zfs::key::{KeyRecord, KeyVersion, RotationOptions, TenantKeyError, rotate, unlock};
use helix_zfs::zfs_core::props::UserProps;

/// Snapshots the source and sends that to the replica.
fn send(one: &One, replica: &str, from: Option<&str>, to: &str) {
    let source = one.tenant.dataset().name();
    one.tenant
        .dataset()
        .snapshot(to)
        .unwrap()
        .create(&UserProps::new())
        .unwrap();
    let from = from.map(|from| format!("-i @{from}")).unwrap_or_default();
    let line = format!("zfs send -w {from} {source}@{to} | zfs receive -u {replica}");
    run("sh", &["-c", &line]);
}

#[test]
fn a_replica_opens_with_the_old_key_until_it_receives_and_with_the_new_one_after() {
    let one = One::new("rotate-replica");
    let replica = one.scratch.child("replica").unwrap();
    send(&one, replica.name().as_str(), None, "a");
    let props = UserProps::new()
        .set("helix:key_id", one.id().as_str())
        .unwrap();
    replica.set_user(&props).unwrap();
    let replica = Tenant::from(replica);
    let load = |tenant: &Tenant| unlock(may(Operation::LoadKey, tenant), tenant, &one.keys);
    // It was never loaded here: a raw stream needs no key.
    assert!(!KeyRecord::of(&replica).unwrap().is_loaded);
    assert_eq!(load(&replica).unwrap().version, KeyVersion(1));

    let capability = may(Operation::RotateKey, &one.tenant);
    let options = RotationOptions::new();
    rotate(capability, &one.tenant, &one.keys, &options, &mut quiet).unwrap();
    assert_eq!(opens(&replica, &one.keys), KeyVersion(1));
    send(&one, replica.dataset().name().as_str(), Some("a"), "b");
    assert_eq!(opens(&replica, &one.keys), KeyVersion(2));

    // What is rotated on the replica itself lasts until it receives.
    let capability = may(Operation::RotateKey, &replica);
    let rotated = rotate(capability, &replica, &one.keys, &options, &mut quiet).unwrap();
    assert_eq!(rotated.to, KeyVersion(3));
    assert_eq!(opens(&replica, &one.keys), KeyVersion(3));
    send(&one, replica.dataset().name().as_str(), Some("b"), "c");
    assert_eq!(
        KeyRecord::of(&replica).unwrap().version,
        Some(KeyVersion(3))
    );
    assert_eq!(opens(&replica, &one.keys), KeyVersion(2));

    // Without the version that it needs it stays locked, and says so.
    lock(&replica);
    let folder = one.folder.path().join(one.id().as_str());
    std::fs::rename(folder.join("2"), folder.join("kept")).unwrap();
    let error = load(&replica).unwrap_err();
    assert!(
        matches!(error, TenantKeyError::NoKeyOpens { .. }),
        "{error}"
    );
    std::fs::rename(folder.join("kept"), folder.join("2")).unwrap();
    assert_eq!(load(&replica).unwrap().version, KeyVersion(2));
}
