//! Properties that come with a stream, are set, or are excluded.

use super::{Source, child, options};
use crate::support::{Scratch, run, zfs_get};
use helix_zfs::zfs_core::nv::Value;
use helix_zfs::zfs_core::props::{
    Atime, CanMount, Compression, Prop, PropertySet, Quota, RecordSize,
};
use helix_zfs::zfs_core::{CreateOptions, ErrorKind};

fn source_of(dataset: &str, property: &str) -> String {
    run("zfs", &["get", "-Ho", "source", property, dataset])
        .trim_end()
        .to_owned()
}

#[test]
fn set_excluded_and_received() {
    let scratch = Scratch::new("recv-props");
    let source = Source::new(&scratch);
    run("zfs", &["set", "compression=zle", scratch.name()]);
    let target = child(&scratch, "target");
    let name = target.name().as_str();
    let brought = PropertySet::new()
        .set(Compression::Lz4)
        .set(RecordSize::new(16 << 10).unwrap())
        .set(Quota(64 << 20))
        .set(Atime(false))
        .user("helix:sent", "yes")
        .unwrap()
        .user("helix:excluded", "yes")
        .unwrap();
    let all = options()
        .received_properties(&brought)
        .set(CanMount::NoAuto)
        .set(RecordSize::new(32 << 10).unwrap())
        .user("helix:own", "mine")
        .unwrap()
        .exclude(Prop::Compression)
        .exclude(Prop::Quota)
        .exclude("helix:excluded");
    let received = target.receive(&source.full("one")[..], &all).unwrap();
    assert!(received.property_errors.is_empty());
    for (property, value, from) in [
        (
            "compression",
            "zle",
            format!("inherited from {}", scratch.name()),
        ),
        ("recordsize", "32768", "local".into()),
        ("canmount", "noauto", "local".into()),
        ("quota", "0", "default".into()),
        ("atime", "off", "received".into()),
        ("helix:sent", "yes", "received".into()),
        ("helix:own", "mine", "local".into()),
        ("helix:excluded", "-", "-".into()),
    ] {
        assert_eq!(zfs_get(property, name), value, "{property}");
        assert_eq!(source_of(name, property), from, "{property}");
    }
    // What comes with the next stream replaces what came with this one.
    let brought = PropertySet::new().user("helix:sent", "again").unwrap();
    let received = target
        .receive(
            &source.incremental()[..],
            &options().received_properties(&brought),
        )
        .unwrap();
    assert!(received.property_errors.is_empty());
    assert_eq!(zfs_get("helix:sent", name), "again");
    assert_ne!(source_of(name, "atime"), "received");
    assert_eq!(zfs_get("helix:own", name), "mine");
}

#[test]
fn what_cannot_be_set_is_told() {
    let scratch = Scratch::new("recv-prop-errors");
    let source = Source::new(&scratch);
    let target = child(&scratch, "target");
    // A volume's property, and a value that is none.
    let bad = PropertySet::new()
        .raw("volsize", Value::from(1_u64 << 20))
        .unwrap()
        .raw("compression", Value::from(12_345_u64))
        .unwrap()
        .user("helix:good", "yes")
        .unwrap();
    for (short, stream) in [("one", source.full("one")), ("two", source.incremental())] {
        let received = target
            .receive(&stream[..], &options().received_properties(&bad))
            .unwrap();
        assert_eq!(received.snapshot.name().short(), short);
        let mut failed: Vec<_> = received
            .property_errors
            .iter()
            .map(|failure| failure.name.as_str())
            .collect();
        failed.sort_unstable();
        assert_eq!(failed, ["compression", "volsize"]);
        for failure in &received.property_errors {
            // Of the volume's property some versions say that it is busy.
            if failure.name == "compression" {
                assert_eq!(failure.kind, ErrorKind::InvalidProperty, "{failure}");
            }
        }
        assert_eq!(zfs_get("helix:good", target.name()), "yes");
    }
}

#[test]
fn a_failure_puts_properties_back() {
    let scratch = Scratch::new("recv-prop-back");
    let source = Source::new(&scratch);
    let target = child(&scratch, "target");
    let name = target.name().as_str();
    let brought = PropertySet::new().user("helix:sent", "first").unwrap();
    target
        .receive(
            &source.full("one")[..],
            &options().received_properties(&brought),
        )
        .unwrap();
    let brought = PropertySet::new().user("helix:sent", "second").unwrap();
    let stream = source.incremental();
    let all = options()
        .received_properties(&brought)
        .set(RecordSize::new(32 << 10).unwrap());
    let error = target
        .receive(&stream[..stream.len() / 2], &all)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Truncated);
    assert_eq!(zfs_get("helix:sent", name), "first");
    assert_eq!(zfs_get("recordsize", name), "131072");
    // Nothing was set on a dataset that no stream came into.
    let other = child(&scratch, "other");
    other.create(&CreateOptions::filesystem()).unwrap();
    other.receive(&stream[..], &all).unwrap_err();
    assert_eq!(zfs_get("recordsize", other.name()), "131072");
}
