//! Creating, destroying, renaming, cloning, promoting, rolling back and listing datasets.

use crate::support::{Mounted, Scratch, TestPool, noise, run, zfs, zfs_get};
use helix_zfs::zfs_core::nv::Value;
use helix_zfs::zfs_core::props::{
    Compression, FilesystemLimit, PropertySet, Quota, ReadOnly, RefReservation, UserProps,
};
use helix_zfs::zfs_core::{
    CreateOptions, DatasetKind, DatasetName, Errno, ErrorKind, SnapshotFilter,
};

#[test]
fn create_filesystem_with_properties() {
    let scratch = Scratch::new("create-fs");
    let acme = scratch.child("acme").unwrap();
    assert!(!acme.exists().unwrap());
    acme.create(
        &CreateOptions::filesystem()
            .set(Quota(64 << 20))
            .set(Compression::Off)
            .user("helix:tenant", "acme")
            .unwrap(),
    )
    .unwrap();
    assert!(acme.exists().unwrap());
    assert_eq!(acme.kind().unwrap(), DatasetKind::Filesystem);
    assert_eq!(zfs_get("quota", acme.name()), (64 << 20).to_string());
    assert_eq!(zfs_get("compression", acme.name()), "off");
    assert_eq!(zfs_get("helix:tenant", acme.name()), "acme");
    assert_eq!(
        zfs_get("guid", acme.name()),
        acme.stat().unwrap().guid.to_string()
    );
    assert_eq!(
        zfs_get("createtxg", acme.name()),
        acme.stat().unwrap().create_txg.to_string()
    );

    let again = acme.create(&CreateOptions::filesystem()).unwrap_err();
    assert_eq!(
        (again.kind(), again.errno()),
        (ErrorKind::AlreadyExists, Some(Errno::EEXIST))
    );
    assert_eq!(again.object(), acme.name().as_str());
}

#[test]
fn create_volume() {
    let scratch = Scratch::new("create-vol");
    let volume = scratch.child("vol").unwrap();
    volume.create(&CreateOptions::volume(8 << 20)).unwrap();
    assert_eq!(volume.kind().unwrap(), DatasetKind::Volume);
    assert_eq!(zfs_get("volsize", volume.name()), (8 << 20).to_string());
    assert_eq!(zfs_get("refreservation", volume.name()), "0");

    let reserved = scratch.child("reserved").unwrap();
    reserved
        .create(&CreateOptions::volume(8 << 20).set(RefReservation(8 << 20)))
        .unwrap();
    assert_eq!(
        zfs_get("refreservation", reserved.name()),
        (8 << 20).to_string()
    );

    let odd = scratch
        .child("odd")
        .unwrap()
        .create(&CreateOptions::volume(1000))
        .unwrap_err();
    assert_eq!(odd.kind(), ErrorKind::InvalidArgument, "{odd}");
    // Nothing can live below a volume.
    let below = volume
        .child("x")
        .unwrap()
        .create(&CreateOptions::filesystem())
        .unwrap_err();
    assert_eq!(below.kind(), ErrorKind::WrongKind, "{below}");
}

#[test]
fn create_fails_as_a_whole() {
    let scratch = Scratch::new("create-fail");
    let orphan = scratch.child("none/child").unwrap();
    assert_eq!(
        orphan
            .create(&CreateOptions::filesystem())
            .unwrap_err()
            .kind(),
        ErrorKind::NotFound
    );

    let refused = scratch.child("refused").unwrap();
    let props = PropertySet::new()
        .raw("compression", Value::Uint64(250))
        .unwrap()
        .raw("atime", Value::Uint64(0))
        .unwrap();
    let error = refused
        .create(&CreateOptions::filesystem().properties(&props))
        .unwrap_err();
    assert_eq!(error.failures().len(), 1, "{error}");
    assert_eq!(error.failures()[0].name, "compression");
    assert!(!refused.exists().unwrap());

    let missing = zfs().dataset("hz-no-such-pool/a").unwrap();
    let error = missing.create(&CreateOptions::filesystem()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(!missing.exists().unwrap());
}

#[test]
fn filesystem_limit() {
    let scratch = Scratch::new("fs-limit");
    scratch.set(FilesystemLimit(1)).unwrap();
    scratch
        .child("one")
        .unwrap()
        .create(&CreateOptions::filesystem())
        .unwrap();
    // The limit is not for those who may lift it, so root has to be someone else.
    let two = scratch.child("two").unwrap();
    run(
        "zfs",
        &["allow", "everyone", "create,mount", scratch.name()],
    );
    let error = crate::support::as_user(crate::support::TENANT, || {
        two.create(&CreateOptions::filesystem()).unwrap_err()
    });
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{error}");
}

#[test]
fn destroy() {
    let scratch = Scratch::new("destroy");
    let parent = scratch.child("parent").unwrap();
    let child = parent.child("child").unwrap();
    assert_eq!(parent.destroy().unwrap_err().kind(), ErrorKind::NotFound);
    parent.create(&CreateOptions::filesystem()).unwrap();
    child.create(&CreateOptions::filesystem()).unwrap();
    assert_eq!(parent.destroy().unwrap_err().kind(), ErrorKind::HasChildren);

    let snapshot = child.snapshot("s").unwrap();
    snapshot.create(&UserProps::new()).unwrap();
    let error = child.destroy().unwrap_err();
    assert_eq!(
        (error.kind(), error.errno()),
        (ErrorKind::HasSnapshots, Some(Errno::EBUSY))
    );
    snapshot.destroy().unwrap();

    let mounted = Mounted::new(&child);
    assert_eq!(child.destroy().unwrap_err().kind(), ErrorKind::Busy);
    drop(mounted);
    child.destroy().unwrap();
    parent.destroy().unwrap();
    assert!(!parent.exists().unwrap());
}

#[test]
fn rename() {
    let scratch = Scratch::new("rename");
    let (a, b) = (scratch.child("a").unwrap(), scratch.child("b").unwrap());
    a.create(&CreateOptions::filesystem()).unwrap();
    let guid = a.stat().unwrap().guid;
    let b = a.rename(b.name()).unwrap();
    assert_eq!(b.stat().unwrap().guid, guid);
    assert_eq!(a.rename(b.name()).unwrap_err().kind(), ErrorKind::NotFound);

    a.create(&CreateOptions::filesystem()).unwrap();
    assert_eq!(
        a.rename(b.name()).unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
    let inside = a.name().child("inside").unwrap();
    assert_eq!(
        a.rename(&inside).unwrap_err().kind(),
        ErrorKind::InvalidArgument
    );
    let other = TestPool::new("rename");
    let error = a
        .rename(&other.root().name().child("a").unwrap())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CrossPool, "{error}");

    // The new name is fine, but not that of the snapshot below it.
    a.snapshot("a-long-name")
        .unwrap()
        .create(&UserProps::new())
        .unwrap();
    let room = 255 - scratch.name().len() - 1;
    let long = scratch.name().to_owned() + "/" + &"x".repeat(room);
    let error = a.rename(&DatasetName::new(&long).unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NameTooLong, "{error}");
}

#[test]
fn clone_and_promote() {
    let scratch = Scratch::new("clone");
    let origin = scratch.child("origin").unwrap();
    origin.create(&CreateOptions::filesystem()).unwrap();
    let snapshot = origin.snapshot("base").unwrap();
    let target = scratch.name().to_owned() + "/clone";
    let target = DatasetName::new(&target).unwrap();
    let missing = snapshot.clone_to(&target, &PropertySet::new()).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);

    snapshot.create(&UserProps::new()).unwrap();
    let clone = snapshot
        .clone_to(&target, &PropertySet::new().set(ReadOnly(true)))
        .unwrap();
    assert_eq!(clone.stat().unwrap().origin.as_ref(), Some(snapshot.name()));
    assert_eq!(zfs_get("readonly", clone.name()), "on");
    assert_eq!(snapshot.stat().unwrap().clones, 1);
    let again = snapshot.clone_to(&target, &PropertySet::new()).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    let other = TestPool::new("clone");
    let error = snapshot
        .clone_to(
            &other.root().name().child("c").unwrap(),
            &PropertySet::new(),
        )
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CrossPool, "{error}");
    let bad = PropertySet::new()
        .raw("compression", Value::Uint64(250))
        .unwrap();
    let refused = scratch.name().to_owned() + "/refused";
    let error = snapshot
        .clone_to(&DatasetName::new(&refused).unwrap(), &bad)
        .unwrap_err();
    assert_eq!(
        error.failures().first().map(|f| f.name.as_str()),
        Some("compression")
    );
    assert!(!zfs().dataset(&refused).unwrap().exists().unwrap());

    assert_eq!(snapshot.destroy().unwrap_err().kind(), ErrorKind::HasClones);
    assert_eq!(origin.promote().unwrap_err().kind(), ErrorKind::WrongKind);

    // A snapshot of the same name on both sides stands in the way.
    clone
        .snapshot("base")
        .unwrap()
        .create(&UserProps::new())
        .unwrap();
    let error = clone.promote().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(error.detail(), Some(format!("{target}@base").as_str()));
    clone.snapshot("base").unwrap().destroy().unwrap();
    clone.promote().unwrap();
    assert_eq!(clone.stat().unwrap().origin, None);
    assert!(clone.snapshot("base").unwrap().exists().unwrap());
    assert_eq!(
        origin.stat().unwrap().origin.unwrap().as_str(),
        format!("{target}@base")
    );
}

#[test]
fn rollback_restores_the_bytes() {
    let scratch = Scratch::new("rollback");
    let data = noise(1 << 20, 1);
    let mounted = Mounted::new(&scratch);
    mounted.write("data", &data);
    assert_eq!(scratch.rollback().unwrap_err().kind(), ErrorKind::NotFound);
    scratch
        .snapshot("one")
        .unwrap()
        .create(&UserProps::new())
        .unwrap();
    mounted.write("data", b"gone");
    mounted.write("more", b"more");
    assert_eq!(scratch.rollback().unwrap().name().short(), "one");
    assert!(mounted.read("data") == data);
    assert!(!mounted.path("more").exists());

    mounted.write("two", b"two");
    scratch
        .snapshot("two")
        .unwrap()
        .create(&UserProps::new())
        .unwrap();
    let error = scratch.rollback_to("one").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NewerSnapshotsExist, "{error}");
    assert!(mounted.path("two").exists());
    scratch.rollback_to("two").unwrap();
    assert_eq!(
        scratch.rollback_to("none").unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let error = scratch.rollback_to_discarding_newer("none").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(scratch.snapshot("two").unwrap().exists().unwrap());
}

#[test]
fn rollback_past_newer_snapshots() {
    let scratch = Scratch::new("rollback-far");
    let mounted = Mounted::new(&scratch);
    for n in 0..4 {
        mounted.write("n", n.to_string());
        scratch
            .snapshot(&format!("s{n}"))
            .unwrap()
            .create(&UserProps::new())
            .unwrap();
    }
    scratch.snapshot("s3").unwrap().bookmark("mark").unwrap();
    let held = scratch.snapshot("s2").unwrap();
    held.hold("keep").unwrap();
    let error = scratch.rollback_to_discarding_newer("s1").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Held, "{error}");
    assert_eq!(error.failures()[0].name, held.name().as_str());
    // All or nothing: the other newer snapshot is still there.
    assert!(scratch.snapshot("s3").unwrap().exists().unwrap());
    held.release("keep").unwrap();

    let gone = scratch.rollback_to_discarding_newer("s1").unwrap();
    let gone: Vec<&str> = gone.iter().map(|name| name.short()).collect();
    assert_eq!(gone, ["s2", "s3"]);
    assert_eq!(mounted.read("n"), b"1");
    assert!(scratch.bookmarks().unwrap().is_empty());
    assert_eq!(scratch.snapshots(&SnapshotFilter::new()).unwrap().len(), 2);
}

#[test]
fn list_children_and_descendants() {
    let scratch = Scratch::new("list");
    assert!(scratch.children().unwrap().is_empty());
    for name in ["b", "a", "a/2", "a/1", "a/1/x"] {
        scratch
            .child(name)
            .unwrap()
            .create(&CreateOptions::filesystem())
            .unwrap();
    }
    scratch
        .child("v")
        .unwrap()
        .create(&CreateOptions::volume(1 << 20))
        .unwrap();
    let short = |name: &DatasetName| name.as_str()[scratch.name().len() + 1..].to_owned();
    let children = scratch.children().unwrap();
    assert_eq!(
        children.iter().map(|e| short(&e.name)).collect::<Vec<_>>(),
        ["a", "b", "v"]
    );
    assert_eq!(children[2].kind, DatasetKind::Volume);
    assert_eq!(children[0], scratch.child("a").unwrap().stat().unwrap());
    let all = scratch.descendants().unwrap();
    assert_eq!(
        all.iter().map(|e| short(&e.name)).collect::<Vec<_>>(),
        ["a", "a/1", "a/1/x", "a/2", "b", "v"]
    );
    let with = scratch.children_with_properties().unwrap();
    assert_eq!(with.len(), 3);
    for (entry, properties) in with {
        assert_eq!(properties.guid(), entry.guid);
    }
    let missing = scratch.child("missing").unwrap();
    assert_eq!(missing.children().unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(
        missing.descendants().unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(missing.stat().unwrap_err().kind(), ErrorKind::NotFound);
}
