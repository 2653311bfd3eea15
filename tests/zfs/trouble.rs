//! Pools in trouble: full, read-only, over quota.

use crate::support::{Mounted, Scratch, TestPool, noise, run, zfs};
use helix_zfs::zfs_core::key::WrappingKey;
use helix_zfs::zfs_core::props::{PropertySet, Quota, RefReservation, Reservation, UserProps};
use helix_zfs::zfs_core::{CreateOptions, ErrorKind, Result, SnapshotFilter};
use std::io::ErrorKind as IoKind;

fn kind<T>(result: Result<T>) -> ErrorKind {
    match result {
        Ok(_) => panic!("succeeded"),
        Err(error) => error.kind(),
    }
}

#[test]
fn quota_reached() {
    let scratch = Scratch::new("quota");
    let tenant = scratch.child("tenant").unwrap();
    tenant
        .create(&CreateOptions::filesystem().set(Quota(4 << 20)))
        .unwrap();
    let mounted = Mounted::new(&tenant);
    let error = std::fs::write(mounted.path("data"), noise(16 << 20, 6)).unwrap_err();
    assert_eq!(error.kind(), IoKind::QuotaExceeded, "{error}");
    run("sync", &[]);
    // A quota below what is used is refused, and a reservation above the quota.
    assert_eq!(kind(tenant.set(Quota(1 << 20))), ErrorKind::NoSpace);
    assert_eq!(kind(tenant.set(Reservation(8 << 20))), ErrorKind::NoSpace);
    let child = tenant.child("child").unwrap();
    let options = CreateOptions::filesystem().set(RefReservation(8 << 20));
    let error = child.create(&options).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::NoSpace | ErrorKind::QuotaExceeded),
        "{error}"
    );
    assert!(!child.exists().unwrap());
}

#[test]
fn pool_full() {
    let pool = TestPool::new("full");
    let root = pool.root();
    let data = root.child("data").unwrap();
    data.create(&CreateOptions::filesystem()).unwrap();
    // A reservation fills a pool as well as data does.
    let available = root.properties().unwrap().available().unwrap();
    data.set(Reservation(available - (1 << 20))).unwrap();
    let options = CreateOptions::filesystem().set(Reservation(64 << 20));
    assert_eq!(
        kind(root.child("more").unwrap().create(&options)),
        ErrorKind::NoSpace
    );
    assert_eq!(
        kind(data.set(Reservation(available * 2))),
        ErrorKind::NoSpace
    );
    let volume = root.child("volume").unwrap();
    let options = CreateOptions::volume(64 << 20).set(RefReservation(64 << 20));
    assert_eq!(kind(volume.create(&options)), ErrorKind::NoSpace);
    assert!(!volume.exists().unwrap());
}

#[test]
fn read_only_pool() {
    let pool = TestPool::new("ro");
    let root = pool.root();
    let child = root.child("child").unwrap();
    child.create(&CreateOptions::filesystem()).unwrap();
    let snap = child.snapshot("s").unwrap();
    snap.create(&UserProps::new()).unwrap();
    run("zpool", &["export", pool.name()]);
    assert_eq!(kind(child.stat()), ErrorKind::NotFound);
    let dir = pool.dir().to_str().unwrap();
    run(
        "zpool",
        &[
            "import",
            "-o",
            "readonly=on",
            "-o",
            "cachefile=none",
            "-d",
            dir,
            pool.name(),
        ],
    );
    let new = root.child("new").unwrap();
    let key = WrappingKey::raw(&[1; 32]);
    assert_eq!(
        kind(new.create(&CreateOptions::filesystem())),
        ErrorKind::ReadOnlyPool
    );
    assert_eq!(kind(child.destroy()), ErrorKind::ReadOnlyPool);
    assert_eq!(kind(child.rename(new.name())), ErrorKind::ReadOnlyPool);
    assert_eq!(
        kind(snap.clone_to(new.name(), &PropertySet::new())),
        ErrorKind::ReadOnlyPool
    );
    assert_eq!(kind(child.promote()), ErrorKind::ReadOnlyPool);
    assert_eq!(kind(child.rollback()), ErrorKind::ReadOnlyPool);
    assert_eq!(
        kind(child.snapshot("t").unwrap().create(&UserProps::new())),
        ErrorKind::ReadOnlyPool
    );
    assert_eq!(kind(snap.destroy()), ErrorKind::ReadOnlyPool);
    assert_eq!(
        kind(zfs().destroy_snapshots(&[&snap.name()])),
        ErrorKind::ReadOnlyPool
    );
    assert_eq!(kind(snap.rename("t")), ErrorKind::ReadOnlyPool);
    assert_eq!(kind(snap.bookmark("m")), ErrorKind::ReadOnlyPool);
    assert_eq!(kind(snap.hold("h")), ErrorKind::ReadOnlyPool);
    assert_eq!(kind(snap.release("h")), ErrorKind::ReadOnlyPool);
    assert_eq!(kind(child.set(Quota(1 << 20))), ErrorKind::ReadOnlyPool);
    assert_eq!(kind(child.change_key(&key)), ErrorKind::ReadOnlyPool);
    // Reading works.
    assert_eq!(child.snapshots(&SnapshotFilter::new()).unwrap().len(), 1);
    assert!(child.properties().unwrap().used() > 0);
}
