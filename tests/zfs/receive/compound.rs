//! Streams of several snapshots: `zfs send -R`, `-I` and `-p`.

use super::{Source, assert_same, child, files, kind, options, snap, snapshots, zfs_send};
use crate::support::{Mounted, Scratch, noise, run, zfs_get};
use helix_zfs::zfs_core::key::{Encryption, WrappingKey};
use helix_zfs::zfs_core::props::{Compression, RecordSize};
use helix_zfs::zfs_core::receive::ReceivedAll;
use helix_zfs::zfs_core::{CreateOptions, Dataset, ErrorKind};

fn received(all: &ReceivedAll, below: &Dataset) -> Vec<String> {
    relative(all.received.iter().map(|one| &one.snapshot), below)
}

fn skipped(all: &ReceivedAll, below: &Dataset) -> Vec<String> {
    relative(all.skipped.iter(), below)
}

fn relative<'a>(
    snapshots: impl Iterator<Item = &'a helix_zfs::zfs_core::Snapshot>,
    below: &Dataset,
) -> Vec<String> {
    snapshots
        .map(|snapshot| {
            let name = snapshot.name().as_str();
            name.strip_prefix(below.name().as_str()).unwrap().to_owned()
        })
        .collect()
}

#[test]
fn a_tree() {
    let scratch = Scratch::new("recv-tree");
    let source = Source::new(&scratch);
    let name = source.dataset.name().as_str();
    let below = child(&source.dataset, "below");
    below
        .create(&CreateOptions::filesystem().set(RecordSize::new(16 << 10).unwrap()))
        .unwrap();
    let volume = child(&below, "volume");
    volume.create(&CreateOptions::volume(1 << 20)).unwrap();
    run(
        "zfs",
        &["clone", &source.name("one"), &format!("{name}/clone")],
    );
    let mounted = Mounted::new(&below);
    mounted.write("file", noise(30_000, 5));
    drop(mounted);
    run("zfs", &["set", "compression=zle", "helix:kept=yes", name]);
    run("zfs", &["snapshot", "-r", &format!("{name}@three")]);
    run(
        "zfs",
        &["set", "helix:mark=third", &format!("{name}@three")],
    );
    let stream = zfs_send(&["-R", &format!("{name}@three")]);

    let target = child(&scratch, "target");
    for wrong in [
        options().snapshot_name("x"),
        options().expect_guid(1),
        options().expect_from(0),
        options().heal(),
    ] {
        assert_eq!(
            kind(target.receive_compound(&stream[..], &wrong)),
            ErrorKind::InvalidArgument
        );
    }
    // Ends early: what came before is there, and is passed over the next time.
    let error = target
        .receive_compound(&stream[..stream.len() / 4 * 3], &options())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Truncated, "{error}");
    let there = snapshots(&target);
    assert!(!there.is_empty());
    let set = options().set(Compression::Lz4).exclude("helix:kept");
    let all = target.receive_compound(&stream[..], &set).unwrap();
    assert_eq!(skipped(&all, &target).len(), there.len());
    let mut names = [skipped(&all, &target), received(&all, &target)].concat();
    names.sort();
    assert_eq!(
        names,
        [
            "/below/volume@three",
            "/below@three",
            "/clone@three",
            "@one",
            "@three",
            "@two",
        ]
    );
    assert!(
        all.received
            .iter()
            .all(|one| one.property_errors.is_empty())
    );
    for dataset in ["", "/below", "/clone"] {
        assert_same(
            &format!("{name}{dataset}@three"),
            &format!("{}{dataset}@three", target.name()),
        );
    }
    assert_eq!(
        zfs_get("volsize", child(&target, "below/volume").name()),
        "1048576"
    );
    assert_eq!(
        zfs_get("origin", child(&target, "clone").name()),
        format!("{}@one", target.name())
    );
    // The properties of the source, and ours above them.
    assert_eq!(zfs_get("compression", target.name()), "lz4");
    assert_eq!(
        zfs_get("compression", child(&target, "below").name()),
        "lz4"
    );
    assert_eq!(
        zfs_get("recordsize", child(&target, "below").name()),
        "16384"
    );
    assert_eq!(zfs_get("helix:kept", target.name()), "-");
    assert_eq!(
        zfs_get("helix:mark", target.snapshot("three").unwrap().name()),
        "third"
    );

    // A plain stream is one, too.
    let plain = child(&scratch, "plain");
    let all = plain
        .receive_compound(&source.full("one")[..], &options())
        .unwrap();
    assert_eq!(received(&all, &plain), ["@one"]);
}

#[test]
fn what_came_since() {
    let scratch = Scratch::new("recv-since");
    let source = Source::new(&scratch);
    let name = source.dataset.name().as_str();
    let target = child(&scratch, "target");
    target
        .receive_compound(&zfs_send(&["-R", &source.name("one")])[..], &options())
        .unwrap();
    // A clone of what the target has since the first time.
    let clone = child(&source.dataset, "clone");
    run(
        "zfs",
        &["clone", &source.name("one"), clone.name().as_str()],
    );
    run("zfs", &["snapshot", "-r", &format!("{name}@three")]);
    let stream = zfs_send(&["-R", "-I", "@one", &format!("{name}@three")]);
    let all = target.receive_compound(&stream[..], &options()).unwrap();
    assert_eq!(snapshots(&target), ["one", "two", "three"]);
    assert!(all.skipped.is_empty());
    assert_eq!(
        zfs_get("origin", child(&target, "clone").name()),
        format!("{}@one", target.name())
    );
    let all = target.receive_compound(&stream[..], &options()).unwrap();
    assert!(all.received.is_empty(), "all of it is there");
    // Without -R: intermediate snapshots of one dataset, and one with properties.
    let other = child(&scratch, "other");
    other
        .receive_compound(&zfs_send(&["-p", &source.name("one")])[..], &options())
        .unwrap();
    let stream = zfs_send(&["-I", "@one", &format!("{name}@three")]);
    let all = other.receive_compound(&stream[..], &options()).unwrap();
    assert_eq!(received(&all, &other), ["@two", "@three"]);
    assert_same(&format!("{name}@three"), &format!("{}@three", other.name()));
}

#[test]
fn raw_keys_are_inherited_where_they_were() {
    let scratch = Scratch::new("recv-tree-raw");
    let key = WrappingKey::raw(&[9; 32]);
    let encryption = || Encryption::aes_256_gcm(&key).unwrap();
    let source = Source {
        dataset: child(&scratch, "source"),
    };
    source
        .dataset
        .create(&CreateOptions::filesystem().encryption(encryption()))
        .unwrap();
    source.fill();
    let inherits = child(&source.dataset, "inherits");
    inherits.create(&CreateOptions::filesystem()).unwrap();
    let own = child(&inherits, "own");
    own.create(&CreateOptions::filesystem().encryption(encryption()))
        .unwrap();
    run("zfs", &["snapshot", "-r", &source.name("three")]);
    let stream = zfs_send(&["-R", "-w", &source.name("three")]);
    let target = child(&scratch, "target");
    target.receive_compound(&stream[..], &options()).unwrap();
    for (below, root) in [
        ("", ""),
        ("/inherits", ""),
        ("/inherits/own", "/inherits/own"),
    ] {
        assert_eq!(
            zfs_get("encryptionroot", format!("{}{below}", target.name())),
            format!("{}{root}", target.name())
        );
    }
    target.load_key(&key).unwrap();
    child(&target, "inherits/own").load_key(&key).unwrap();
    assert_same(&source.name("two"), &format!("{}@two", target.name()));
    // A second time it brings nothing new and changes nothing.
    snap(&inherits, "later");
    let all = target.receive_compound(&stream[..], &options()).unwrap();
    assert!(all.received.is_empty());
    assert!(files(&format!("{}/inherits@three", target.name())).is_empty());
}

#[test]
fn damaged() {
    let scratch = Scratch::new("recv-tree-bad");
    let source = Source::new(&scratch);
    let stream = zfs_send(&["-R", &source.name("two")]);
    let target = child(&scratch, "target");
    // In the head.
    let mut bad = stream.clone();
    bad[400] ^= 1;
    let error = target.receive_compound(&bad[..], &options()).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::InvalidStream),
        "{error}"
    );
    assert!(!target.exists().unwrap());
    // In the last stream; without the end of all; with more after it.
    let mut bad = stream.clone();
    let at = bad.len() - 2000;
    bad[at] ^= 1;
    let error = target.receive_compound(&bad[..], &options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(snapshots(&target), ["one"]);
    let error = target
        .receive_compound(&stream[..stream.len() - 312], &options())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Truncated, "{error}");
    let more = [&stream[..], b"rest"].concat();
    let mut more = &more[..];
    let all = target.receive_compound(&mut more, &options()).unwrap();
    assert_eq!(skipped(&all, &target), ["@one", "@two"]);
    assert_eq!(more, b"rest");
}
