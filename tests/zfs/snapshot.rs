//! Snapshots, bookmarks and what they hold.

use crate::support::{Mounted, Scratch, TestPool, noise, run, zfs, zfs_get};
use helix_zfs::zfs_core::props::{PropertySet, SnapshotLimit, UserProps};
use helix_zfs::zfs_core::{
    BookmarkName, CreateOptions, Errno, ErrorKind, NewBookmark, Snapshot, SnapshotFilter,
};

fn tenants(scratch: &Scratch, count: usize, snapshot: &str) -> Vec<Snapshot> {
    (0..count)
        .map(|n| {
            let tenant = scratch.child(&format!("t{n:03}")).unwrap();
            tenant.create(&CreateOptions::filesystem()).unwrap();
            tenant.snapshot(snapshot).unwrap()
        })
        .collect()
}

#[test]
fn a_batch_is_one_transaction() {
    let scratch = Scratch::new("batch");
    let snaps = tenants(&scratch, 20, "deploy-42");
    let props = UserProps::new()
        .set("helix:git_sha", "4be1f2c")
        .and_then(|props| props.set("helix:helm_revision", "17"))
        .unwrap();
    zfs().create_snapshots(&snaps, &props).unwrap();
    let txg = snaps[0].stat().unwrap().create_txg;
    for snap in &snaps {
        assert_eq!(snap.stat().unwrap().create_txg, txg);
        assert_eq!(
            snap.properties().unwrap().user("helix:git_sha"),
            Some("4be1f2c")
        );
    }
    assert_eq!(zfs_get("helix:helm_revision", snaps[7].name()), "17");

    // One that exists spoils the batch, and is named.
    let mut again: Vec<Snapshot> = snaps
        .iter()
        .map(|snap| snap.dataset().snapshot("deploy-43").unwrap())
        .collect();
    again[5] = snaps[5].clone();
    let error = zfs().create_snapshots(&again, &props).unwrap_err();
    assert_eq!(
        (error.kind(), error.errno()),
        (ErrorKind::AlreadyExists, Some(Errno::EEXIST))
    );
    assert_eq!(error.failures().len(), 1, "{error}");
    assert_eq!(error.failures()[0].name, snaps[5].name().as_str());
    assert!(!again[0].exists().unwrap());

    zfs().destroy_snapshots(&snaps).unwrap();
    assert!(snaps.iter().all(|snap| !snap.exists().unwrap()));
    // Those that are gone count as destroyed, in a batch.
    zfs().destroy_snapshots(&snaps).unwrap();
    assert_eq!(snaps[0].destroy().unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(
        snaps[0].destroy_deferred().unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn shapes_that_are_refused() {
    let scratch = Scratch::new("shape");
    let other = TestPool::new("shape");
    let none = UserProps::new();
    let zfs = zfs();
    let (a, b) = (
        scratch.snapshot("a").unwrap(),
        scratch.snapshot("b").unwrap(),
    );
    let kind = |snaps: &[Snapshot]| zfs.create_snapshots(snaps, &none).unwrap_err().kind();
    assert_eq!(kind(&[]), ErrorKind::InvalidArgument);
    assert_eq!(kind(&[a.clone(), b.clone()]), ErrorKind::InvalidArgument);
    assert_eq!(kind(&[a.clone(), a.clone()]), ErrorKind::InvalidArgument);
    assert_eq!(
        kind(&[a.clone(), other.root().snapshot("a").unwrap()]),
        ErrorKind::CrossPool
    );
    assert_eq!(
        kind(&[scratch.child("none").unwrap().snapshot("a").unwrap()]),
        ErrorKind::NotFound
    );
    assert!(!a.exists().unwrap());
    zfs.destroy_snapshots::<Snapshot>(&[]).unwrap();
    assert_eq!(
        zfs.destroy_snapshots(&[a, other.root().snapshot("a").unwrap()])
            .unwrap_err()
            .kind(),
        ErrorKind::CrossPool
    );
}

#[test]
fn snapshot_limit() {
    let scratch = Scratch::new("snap-limit");
    scratch.set(SnapshotLimit(1)).unwrap();
    run(
        "zfs",
        &["allow", "everyone", "snapshot,mount", scratch.name()],
    );
    let (one, two) = (
        scratch.snapshot("one").unwrap(),
        scratch.snapshot("two").unwrap(),
    );
    crate::support::as_user(crate::support::TENANT, || {
        one.create(&UserProps::new()).unwrap();
        let error = two.create(&UserProps::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{error}");
    });
}

#[test]
fn destroy_held_cloned_and_deferred() {
    let scratch = Scratch::new("snap-destroy");
    let zfs = zfs();
    let snaps = tenants(&scratch, 3, "s");
    zfs.create_snapshots(&snaps, &UserProps::new()).unwrap();
    snaps[0].hold("keep").unwrap();
    let clone = scratch.name().to_owned() + "/clone";
    let clone = snaps[1]
        .clone_to(zfs.dataset(&clone).unwrap().name(), &PropertySet::new())
        .unwrap();

    let error = zfs.destroy_snapshots(&snaps).unwrap_err();
    let mut failures: Vec<_> = error
        .failures()
        .iter()
        .map(|f| (f.name.as_str(), f.kind, f.errno))
        .collect();
    failures.sort_by_key(|f| f.0.to_owned());
    assert_eq!(
        failures,
        [
            (snaps[0].name().as_str(), ErrorKind::Held, Errno::EBUSY),
            (
                snaps[1].name().as_str(),
                ErrorKind::HasClones,
                Errno::EEXIST
            )
        ],
        "{error}"
    );
    assert!(snaps[2].exists().unwrap(), "all or nothing");
    assert_eq!(snaps[0].destroy().unwrap_err().kind(), ErrorKind::Held);
    assert_eq!(snaps[1].destroy().unwrap_err().kind(), ErrorKind::HasClones);

    zfs.destroy_snapshots_deferred(&snaps).unwrap();
    assert!(snaps[0].exists().unwrap() && snaps[1].exists().unwrap());
    assert!(!snaps[2].exists().unwrap());
    assert_eq!(zfs_get("defer_destroy", snaps[0].name()), "on");
    snaps[0].release("keep").unwrap();
    assert!(!snaps[0].exists().unwrap());
    clone.destroy().unwrap();
    assert!(!snaps[1].exists().unwrap());
}

#[test]
fn busy_snapshot() {
    // A send in progress keeps its snapshot busy without a hold that a user could see.
    let scratch = Scratch::new("snap-busy");
    let mounted = Mounted::new(&scratch);
    mounted.write("data", noise(4 << 20, 3));
    let snap = scratch.snapshot("s").unwrap();
    snap.create(&UserProps::new()).unwrap();
    let mut send = std::process::Command::new("zfs")
        .args(["send", snap.name().as_str()])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // The pipe holds less than the stream, so once there is a byte the send is stuck on us.
    let mut byte = [0];
    let mut out = send.stdout.take().unwrap();
    std::io::Read::read_exact(&mut out, &mut byte).unwrap();
    let error = snap.destroy().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    let error = zfs()
        .destroy_snapshots(std::slice::from_ref(&snap))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    drop(out);
    send.wait().unwrap();
    snap.destroy().unwrap();
}

#[test]
fn rename_one_and_recursively() {
    let scratch = Scratch::new("snap-rename");
    let child = scratch.child("child").unwrap();
    child.create(&CreateOptions::filesystem()).unwrap();
    let zfs = zfs();
    let pair = [
        scratch.snapshot("old").unwrap(),
        child.snapshot("old").unwrap(),
    ];
    assert_eq!(
        pair[0].rename("new").unwrap_err().kind(),
        ErrorKind::NotFound
    );
    zfs.create_snapshots(&pair, &UserProps::new()).unwrap();
    let one = pair[0].rename("one").unwrap();
    assert!(one.exists().unwrap() && pair[1].exists().unwrap() && !pair[0].exists().unwrap());
    let back = one.rename("old").unwrap();
    let new = back.rename_recursive("new").unwrap();
    assert!(new.exists().unwrap() && child.snapshot("new").unwrap().exists().unwrap());

    child
        .snapshot("taken")
        .unwrap()
        .create(&UserProps::new())
        .unwrap();
    let error = new.rename_recursive("taken").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert!(new.exists().unwrap(), "all or nothing");
    assert!(new.rename("a/b").is_err());
}

#[test]
fn list_with_filters() {
    let scratch = Scratch::new("snap-list");
    assert!(
        scratch
            .snapshots(&SnapshotFilter::new())
            .unwrap()
            .is_empty()
    );
    for name in ["c", "a", "b"] {
        scratch
            .snapshot(name)
            .unwrap()
            .create(&UserProps::new())
            .unwrap();
    }
    let all = scratch.snapshots(&SnapshotFilter::new()).unwrap();
    let order: Vec<&str> = all.iter().map(|entry| entry.name.short()).collect();
    assert_eq!(order, ["c", "a", "b"], "oldest first");
    for entry in &all {
        assert_eq!(zfs_get("guid", &entry.name), entry.guid.to_string());
        assert_eq!(
            zfs_get("createtxg", &entry.name),
            entry.create_txg.to_string()
        );
    }
    let short = |filter: SnapshotFilter| -> Vec<String> {
        scratch
            .snapshots(&filter)
            .unwrap()
            .iter()
            .map(|e| e.name.short().to_owned())
            .collect()
    };
    let middle = all[1].create_txg;
    assert_eq!(short(SnapshotFilter::new().min_txg(middle)), ["a", "b"]);
    assert_eq!(short(SnapshotFilter::new().max_txg(middle)), ["c", "a"]);
    assert_eq!(
        short(SnapshotFilter::new().min_txg(middle).max_txg(middle)),
        ["a"]
    );
    assert!(short(SnapshotFilter::new().max_txg(0)).is_empty());
    let missing = scratch.child("missing").unwrap();
    let error = missing.snapshots(&SnapshotFilter::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let with = scratch
        .snapshots_with_properties(&SnapshotFilter::new())
        .unwrap();
    assert_eq!(with[0].1.guid(), with[0].0.guid);
}

#[test]
fn space_of_a_range() {
    let scratch = Scratch::new("snap-space");
    let mounted = Mounted::new(&scratch);
    let snap = |name: &str| {
        run("sync", &[]);
        let snap = scratch.snapshot(name).unwrap();
        snap.create(&UserProps::new()).unwrap();
        snap
    };
    let a = snap("a");
    mounted.write("data", noise(2 << 20, 4));
    let b = snap("b");
    std::fs::remove_file(mounted.path("data")).unwrap();
    let c = snap("c");
    let range = a.space_to(&b).unwrap();
    assert!(
        range.used >= 2 << 20 && range.uncompressed >= 2 << 20,
        "{range:?}"
    );
    assert!(range.compressed <= range.used, "{range:?}");
    assert!(c.space_to(&c).unwrap().used < 1 << 20);
    assert_eq!(
        b.space_to(&a).unwrap_err().kind(),
        ErrorKind::InvalidArgument
    );
    let missing = scratch.snapshot("missing").unwrap();
    assert_eq!(
        a.space_to(&missing).unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn bookmarks() {
    let scratch = Scratch::new("bookmark");
    let zfs = zfs();
    assert!(scratch.bookmarks().unwrap().is_empty());
    let snap = scratch.snapshot("s").unwrap();
    assert_eq!(snap.bookmark("m").unwrap_err().kind(), ErrorKind::NotFound);
    snap.create(&UserProps::new()).unwrap();
    let mark = snap.bookmark("m").unwrap();
    assert_eq!(
        snap.bookmark("m").unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
    let entry = mark.stat().unwrap();
    let snap_entry = snap.stat().unwrap();
    assert_eq!(
        (entry.guid, entry.create_txg),
        (snap_entry.guid, snap_entry.create_txg)
    );
    assert_eq!(zfs_get("creation", mark.name()), entry.creation.to_string());
    assert_eq!(scratch.bookmarks().unwrap(), std::slice::from_ref(&entry));

    // A bookmark outlives its snapshot, and can be copied.
    snap.destroy().unwrap();
    let copy = BookmarkName::new(&format!("{}#copy", scratch.name())).unwrap();
    zfs.create_bookmarks(&[NewBookmark::new(copy.clone(), mark.name().clone())])
        .unwrap();
    assert_eq!(scratch.bookmarks().unwrap().len(), 2);
    assert_eq!(
        zfs.bookmark(copy.as_str()).unwrap().stat().unwrap().guid,
        entry.guid
    );

    let other = TestPool::new("bookmark");
    let stray = BookmarkName::new(&format!("{}#x", other.name())).unwrap();
    let error = zfs
        .create_bookmarks(&[NewBookmark::new(stray, copy.clone())])
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CrossPool);
    let child = scratch.child("child").unwrap();
    child.create(&CreateOptions::filesystem()).unwrap();
    let foreign = child.name().bookmark("x").unwrap();
    let error = zfs
        .create_bookmarks(&[NewBookmark::new(foreign, copy.clone())])
        .unwrap_err();
    assert!(
        matches!(
            error.kind(),
            ErrorKind::InvalidArgument | ErrorKind::CrossPool
        ),
        "{error}"
    );

    mark.destroy().unwrap();
    assert_eq!(mark.destroy().unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!mark.exists().unwrap());
    zfs.destroy_bookmarks(&[mark.name(), &copy]).unwrap();
    assert!(scratch.bookmarks().unwrap().is_empty());
    let missing = scratch.child("missing").unwrap();
    assert_eq!(missing.bookmarks().unwrap_err().kind(), ErrorKind::NotFound);
}
