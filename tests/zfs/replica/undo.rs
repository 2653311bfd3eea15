use super::Sites;
use super::sites::{dataset, fence, files, follow, names, open, promote, seen, undo};
use crate::support::{Mounted, zfs_get};
use helix_zfs::replica::{ReplicaError, SiteRole};
use helix_zfs::zfs_core::CreateOptions;
use helix_zfs::zfs_core::props::UserProps;

fn written(outcome: Result<(), ReplicaError>) -> String {
    match outcome.unwrap_err() {
        ReplicaError::Written { change, .. } => change,
        other => panic!("{other}"),
    }
}

#[test]
fn a_promotion_is_undone_until_the_first_write() {
    let sites = Sites::encrypted("rp-undo");
    let Sites { a, b, .. } = &sites;
    sites.one_behind_the_other();
    fence(a);
    promote(b, 2).unwrap();
    // Mounted, with times of access, and read.
    crate::support::run(
        "zfs",
        &["set", "atime=on", "relatime=off", b.data().as_str()],
    );
    assert_eq!(names(&files(b.data())), ["first"]);
    undo(b, 2).unwrap();
    let state = b.state().unwrap();
    assert_eq!((state.role, state.read_only), (SiteRole::Replica, true));
    assert!(!dataset(b.data()).exists().unwrap());

    // The former source goes on, and is followed.
    open(a, 3);
    let mark = Sites::write(a, "second", "second");
    assert_eq!(follow(b, a).unwrap().snapshot, Some(mark.clone()));
    assert_eq!(names(&seen(b)), ["first", "second"]);

    // Now somebody writes: a time of modification set back does not hide it.
    fence(a);
    assert_eq!(promote(b, 4).unwrap(), mark);
    let mount = Mounted::new(&dataset(b.data()));
    let times = std::fs::metadata(mount.path("first")).unwrap();
    mount.write("first", "changed");
    let file = std::fs::File::options()
        .write(true)
        .open(mount.path("first"))
        .unwrap();
    file.set_modified(times.modified().unwrap()).unwrap();
    drop(file);
    assert_eq!(written(undo(b, 4)), "/first was modified");
    let state = b.state().unwrap();
    assert_eq!((state.role, state.read_only), (SiteRole::Source, false));
    mount.write("goes", "on");
    assert_eq!(mount.read("first"), b"changed");
}

#[test]
fn a_snapshot_is_a_write() {
    let sites = Sites::plain("rp-undo-snap");
    let Sites { a, b, .. } = &sites;
    sites.one_behind_the_other();
    fence(a);
    promote(b, 2).unwrap();
    let snapshot = dataset(b.data()).snapshot("mine").unwrap();
    snapshot.create(&UserProps::new()).unwrap();
    assert!(written(undo(b, 2)).contains("@mine"));
    assert!(snapshot.exists().unwrap());
    assert_eq!(zfs_get("readonly", b.data().as_str()), "off");
}

#[test]
fn an_untouched_volume_is_undone() {
    let sites = Sites::new("rp-undo-vol", &CreateOptions::volume(8 << 20));
    let Sites { a, b, .. } = &sites;
    let snapshot = dataset(a.data()).snapshot("first").unwrap();
    snapshot.create(&UserProps::new()).unwrap();
    follow(b, a).unwrap();
    fence(a);
    promote(b, 2).unwrap();
    undo(b, 2).unwrap();
    assert_eq!(b.state().unwrap().role, SiteRole::Replica);
}
