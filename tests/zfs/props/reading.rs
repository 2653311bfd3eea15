//! Sources, user properties, clones, and what was written.

use super::{MIB, assert_same_dataset};
use crate::support::{Mounted, Scratch, TENANT, as_user, noise, run, zfs_get};
use helix_zfs::zfs_core::nv::Value;
use helix_zfs::zfs_core::props::*;
use helix_zfs::zfs_core::{CreateOptions, Dataset, DatasetKind, ErrorKind};

#[test]
fn inheritance() {
    let scratch = Scratch::new("props-inherit");
    let child = scratch.child("a").unwrap();
    let grandchild = child.child("b/c").unwrap();
    child.create(&CreateOptions::filesystem()).unwrap();
    child
        .child("b")
        .unwrap()
        .create(&CreateOptions::filesystem())
        .unwrap();
    grandchild.create(&CreateOptions::filesystem()).unwrap();

    scratch
        .set_all(
            &PropertySet::new()
                .set(Sync::Always)
                .set(Mountpoint::new("/srv").unwrap())
                .set(Quota(100 * MIB))
                .user("helix:owner", "ops")
                .unwrap(),
        )
        .unwrap();
    let from = || Some(Source::Inherited(Dataset::name(&scratch).clone()));
    let properties = grandchild.properties().unwrap();
    assert_eq!(properties.sync(), Some(Sync::Always));
    assert_eq!(properties.source(Prop::Sync), from());
    assert_eq!(properties.mountpoint().as_deref(), Some("/srv/a/b/c"));
    assert_eq!(properties.user("helix:owner"), Some("ops"));
    assert_eq!(properties.source("helix:owner"), from());
    assert_eq!(properties.quota(), None);
    assert_eq!(properties.source("helix:none"), None);

    grandchild.set(Sync::Disabled).unwrap();
    grandchild
        .set_user(&UserProps::new().set("helix:owner", "dev").unwrap())
        .unwrap();
    assert_eq!(
        grandchild.properties().unwrap().source("helix:owner"),
        Some(Source::Local)
    );
    grandchild.inherit(Prop::Sync).unwrap();
    grandchild.inherit("helix:owner").unwrap();
    let properties = grandchild.properties().unwrap();
    assert_eq!(properties.sync(), Some(Sync::Always));
    assert_eq!(properties.user("helix:owner"), Some("ops"));
    // Once more is no error.
    grandchild.inherit(Prop::Sync).unwrap();

    scratch.inherit(Prop::Sync).unwrap();
    let properties = grandchild.properties().unwrap();
    assert_eq!(properties.sync(), Some(Sync::Standard));
    assert_eq!(properties.source(Prop::Sync), Some(Source::Default));

    for property in [
        "quota",
        "used",
        "volblocksize",
        "nosuch",
        "Not:valid",
        "a\0:b",
    ] {
        let error = grandchild.inherit(property).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidProperty, "{error}");
    }
}

#[test]
fn user_properties() {
    let scratch = Scratch::new("props-user");
    let long_name = format!("helix:{}", "n".repeat(249));
    let long_value = "v".repeat(8191);
    let mut props = UserProps::new().set(&long_name, &long_value).unwrap();
    for n in 0..200 {
        props = props
            .set(
                &format!("helix:n{n}"),
                &format!("a value, number {n} \u{e9}\n"),
            )
            .unwrap();
    }
    props = props.set("helix:empty", "").unwrap();
    scratch.set_user(&props).unwrap();
    // This answer is larger than the first buffer.
    for n in 0..8 {
        let more = UserProps::new()
            .set(&format!("helix:long{n}"), &long_value)
            .unwrap();
        scratch.set_user(&more).unwrap();
    }
    let properties = scratch.properties().unwrap();
    assert_eq!(properties.user(&long_name), Some(long_value.as_str()));
    assert_eq!(properties.user("helix:long7"), Some(long_value.as_str()));
    assert_eq!(
        properties.user("helix:n199"),
        Some("a value, number 199 \u{e9}\n")
    );
    assert_eq!(properties.user("helix:empty"), Some(""));
    assert_eq!(properties.user("quota"), None);
    assert_eq!(properties.user_properties().count(), 210);
    assert!(
        properties
            .user_properties()
            .all(|property| property.source == Source::Local)
    );
    assert_eq!(zfs_get(&long_name, scratch.name()), long_value);
}

#[test]
fn snapshots_have_user_properties() {
    let scratch = Scratch::new("props-snap");
    scratch
        .set_user(&UserProps::new().set("helix:a", "dataset").unwrap())
        .unwrap();
    let snapshot = scratch.snapshot("s").unwrap();
    snapshot
        .create(&UserProps::new().set("helix:sha", "abc").unwrap())
        .unwrap();
    let properties = snapshot.properties().unwrap();
    assert!(properties.is_snapshot() && properties.read_only());
    assert_eq!(properties.kind(), DatasetKind::Filesystem);
    assert_eq!(properties.user("helix:sha"), Some("abc"));
    assert_eq!(properties.source("helix:sha"), Some(Source::Local));
    assert_eq!(
        properties.source("helix:a"),
        Some(Source::Inherited(Dataset::name(&scratch).clone()))
    );
    assert_eq!(properties.sync(), None);
    assert_eq!(properties.available(), None);

    snapshot
        .set_user(&UserProps::new().set("helix:a", "snapshot").unwrap())
        .unwrap();
    assert_eq!(
        snapshot.properties().unwrap().user("helix:a"),
        Some("snapshot")
    );
    snapshot.inherit_user("helix:a").unwrap();
    assert_eq!(
        snapshot.properties().unwrap().user("helix:a"),
        Some("dataset")
    );
    assert_eq!(
        snapshot.inherit_user("exec").unwrap_err().kind(),
        ErrorKind::InvalidProperty
    );

    snapshot.hold("keep").unwrap();
    snapshot.destroy_deferred().unwrap();
    let properties = snapshot.properties().unwrap();
    assert_eq!(
        (properties.user_refs(), properties.defer_destroy()),
        (Some(1), true)
    );
    snapshot.release("keep").unwrap();
}

#[test]
fn clones_and_origins() {
    let scratch = Scratch::new("props-clone");
    let source = scratch.child("source").unwrap();
    source.create(&CreateOptions::filesystem()).unwrap();
    let snapshot = source.snapshot("s").unwrap();
    snapshot.create(&UserProps::new()).unwrap();
    assert_eq!(snapshot.properties().unwrap().clones(), []);
    let names = ["one", "two"].map(|name| scratch.child(name).unwrap().name().clone());
    for name in &names {
        snapshot.clone_to(name, &PropertySet::new()).unwrap();
    }
    let mut clones = snapshot.properties().unwrap().clones();
    clones.sort();
    assert_eq!(clones, names);
    let clone = scratch.child("one").unwrap().properties().unwrap();
    assert_eq!(clone.origin().as_ref(), Some(snapshot.name()));
    assert_eq!(source.properties().unwrap().origin(), None);
}

#[test]
fn received_values() {
    let scratch = Scratch::new("props-recv");
    let source = scratch.child("source").unwrap();
    source
        .create(
            &CreateOptions::filesystem()
                .set(Sync::Always)
                .set(Quota(77 * MIB))
                .user("helix:a", "sent")
                .unwrap(),
        )
        .unwrap();
    source
        .snapshot("s")
        .unwrap()
        .create(&UserProps::new())
        .unwrap();
    let target = scratch.child("target").unwrap();
    let pipe = format!(
        "zfs send -p {0}@s | zfs receive -u {1}",
        source.name(),
        target.name()
    );
    run("sh", &["-ec", &pipe]);

    let properties = target.properties().unwrap();
    assert_eq!(properties.sync(), Some(Sync::Always));
    for property in ["sync", "helix:a", "quota"] {
        assert_eq!(
            properties.source(property),
            Some(Source::Received),
            "{property}"
        );
    }
    assert_same_dataset(&target);

    target
        .set_all(&PropertySet::new().set(Sync::Disabled).set(Quota(88 * MIB)))
        .unwrap();
    target.inherit("helix:a").unwrap();
    let properties = target.properties().unwrap();
    assert_eq!(properties.source(Prop::Sync), Some(Source::Local));
    assert_eq!(properties.user("helix:a"), None);
    let received = target.received_properties().unwrap();
    assert_eq!(
        received.get(Prop::Sync),
        Some(&Value::Uint64(Sync::Always.raw()))
    );
    assert_eq!(
        received.get("helix:a"),
        Some(&Value::String(c"sent".to_owned()))
    );
    assert!(source.received_properties().unwrap().is_empty());

    for property in ["sync", "helix:a", "quota"] {
        target.revert_to_received(property).unwrap();
    }
    let properties = target.properties().unwrap();
    assert_eq!(properties.sync(), Some(Sync::Always));
    assert_eq!(properties.user("helix:a"), Some("sent"));
    assert_eq!(properties.quota(), Some(77 * MIB));
    assert_eq!(
        target.revert_to_received(Prop::Used).unwrap_err().kind(),
        ErrorKind::InvalidProperty
    );
}

#[test]
fn what_was_written_since() {
    let scratch = Scratch::new("props-written");
    let mounted = Mounted::new(&scratch);
    let snapshots: Vec<_> = (0u8..3)
        .map(|n| {
            mounted.write(&format!("data{n}"), noise(1 << 20, n.into()));
            run("zpool", &["sync", Dataset::name(&scratch).pool()]);
            let snapshot = scratch.snapshot(&format!("s{n}")).unwrap();
            snapshot.create(&UserProps::new()).unwrap();
            snapshot
        })
        .collect();
    let first = snapshots[0].name();
    let written = scratch.written_since(first).unwrap();
    let property = format!("written@{}", first.short());
    assert_eq!(written.used.to_string(), zfs_get(&property, scratch.name()));
    assert!(written.used >= 2 * MIB && written.uncompressed >= 2 * MIB);
    let between = snapshots[1].written_since(first).unwrap();
    assert!(between.used >= MIB && between.used < written.used);

    let bookmark = snapshots[0].bookmark("b").unwrap();
    let since = scratch.written_since_bookmark(bookmark.name()).unwrap();
    assert_eq!(since, written);

    let newer = snapshots[0].written_since(snapshots[2].name()).unwrap_err();
    assert_eq!(newer.kind(), ErrorKind::InvalidArgument, "{newer}");
    let missing = Dataset::name(&scratch).snapshot("none").unwrap();
    assert_eq!(
        scratch.written_since(&missing).unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn without_a_dataset_or_a_privilege() {
    let scratch = Scratch::new("props-priv");
    let missing = scratch.child("none").unwrap();
    let kinds = [
        missing.properties().map(drop),
        missing.property(Prop::Sync).map(drop),
        missing.file_properties().map(drop),
        missing.received_properties().map(drop),
        missing.set(Sync::Always),
        missing.set(Quota(MIB)),
        missing.inherit(Prop::Sync),
        missing.snapshot("s").unwrap().properties().map(drop),
    ]
    .map(|result| result.unwrap_err().kind());
    assert_eq!(kinds, [ErrorKind::NotFound; 8]);

    as_user(TENANT, || {
        let ours = crate::support::zfs().dataset(scratch.name()).unwrap();
        assert!(ours.properties().unwrap().used() > 0);
        for result in [
            ours.set(Sync::Always),
            ours.set(Quota(MIB)),
            ours.inherit(Prop::Sync),
        ] {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        }
    });
    assert_eq!(
        scratch.properties().unwrap().source(Prop::Sync),
        Some(Source::Default)
    );
}
