//! What is refused, how the refusal is called, and that it changes nothing.

use super::{Source, child, files, guid, kind, options, snap, snapshots, zfs_send};
use crate::support::{Scratch, TestPool, noise, run, zfs};
use helix_zfs::zfs_core::props::{Quota, Reservation, SnapshotLimit};
use helix_zfs::zfs_core::{CreateOptions, Dataset, Error, ErrorKind};
use std::io::Cursor;

/// Flips a bit.
fn flipped(stream: &[u8], at: usize) -> Vec<u8> {
    let mut stream = stream.to_vec();
    stream[at] ^= 1;
    stream
}

#[test]
fn what_is_no_stream_never_reaches_the_kernel() {
    let scratch = Scratch::new("recv-garbage");
    let source = Source::new(&scratch);
    let target = child(&scratch, "target");
    let stream = source.full("one");
    let refused = |stream: &[u8], expected: ErrorKind| {
        for result in [
            target.receive(stream, &options()),
            target.receive_from(file(stream), &options()),
        ] {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), expected, "{error}");
            assert_eq!(error.errno(), None, "{error}");
            assert!(!target.exists().unwrap());
        }
    };
    refused(b"", ErrorKind::Truncated);
    refused(&stream[..311], ErrorKind::Truncated);
    refused(&noise(1000, 1), ErrorKind::InvalidStream);
    // Not a BEGIN, no magic number, a feature that nobody knows.
    refused(&flipped(&stream, 0), ErrorKind::InvalidStream);
    refused(&flipped(&stream, 9), ErrorKind::InvalidStream);
    // The checksum of the first record is in the second; on the way through a descriptor nobody
    // but the kernel sees it.
    let error = target
        .receive_from(file(&flipped(&stream, 21)), &options())
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.errno()),
        (ErrorKind::Unsupported, None)
    );
    let package = zfs_send(&["-p", &source.name("one")]);
    refused(&package, ErrorKind::InvalidStream);
    let error = target.receive(&package[..], &options()).unwrap_err();
    assert!(error.to_string().contains("several streams"), "{error}");
}

fn file(contents: &[u8]) -> std::fs::File {
    use std::io::{Seek, Write};
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(contents).unwrap();
    file.rewind().unwrap();
    file
}

#[test]
fn another_stream_than_expected() {
    let scratch = Scratch::new("recv-expect");
    let source = Source::new(&scratch);
    let target = child(&scratch, "target");
    let (one, two) = (guid(&source.name("one")), guid(&source.name("two")));
    let full = source.full("one");
    for wrong in [
        options().expect_guid(two),
        options().expect_from(one),
        options().expect_guid(two).expect_from(0),
    ] {
        let error = target.receive(&full[..], &wrong).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedStream);
        assert_eq!(error.errno(), None);
        assert!(error.to_string().contains("expected"), "{error}");
    }
    assert!(!target.exists().unwrap());
    target
        .receive(&full[..], &options().expect_guid(one).expect_from(0))
        .unwrap();
    let stream = source.incremental();
    assert_eq!(
        kind(target.receive(&stream[..], &options().expect_from(0))),
        ErrorKind::UnexpectedStream
    );
    target
        .receive(&stream[..], &options().expect_guid(two).expect_from(one))
        .unwrap();
}

#[test]
fn what_does_not_fit_the_target() {
    let scratch = Scratch::new("recv-misfit");
    let source = Source::new(&scratch);
    let (full, incremental) = (source.full("one"), source.incremental());
    let target = child(&scratch, "target");
    // The dataset of an incremental stream, a parent, a pool that are not there.
    let missing: Dataset = zfs().dataset("hz-no-such-pool").unwrap();
    for (dataset, stream) in [
        (&target, &incremental),
        (&child(&target, "below"), &full),
        (&missing, &full),
        (&child(&missing, "below"), &full),
    ] {
        let error = dataset.receive(&stream[..], &options()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.object().contains(dataset.name().as_str()));
    }
    // Nothing in common.
    target.create(&CreateOptions::filesystem()).unwrap();
    assert_eq!(
        kind(target.receive(&incremental[..], &options())),
        ErrorKind::NoBase
    );
    assert_eq!(
        kind(target.receive(&incremental[..], &options().force())),
        ErrorKind::NoBase
    );
    assert!(snapshots(&target).is_empty());
    // There already.
    let there = child(&scratch, "there");
    there.receive(&full[..], &options()).unwrap();
    there.receive(&incremental[..], &options()).unwrap();
    assert_eq!(
        kind(there.receive(&full[..], &options())),
        ErrorKind::AlreadyExists
    );
    assert_eq!(
        kind(there.receive(&incremental[..], &options())),
        ErrorKind::AlreadyExists
    );
    // The same snapshot under another name builds on what is no longer the latest.
    assert_eq!(
        kind(there.receive(&incremental[..], &options().snapshot_name("three"))),
        ErrorKind::Modified
    );
    // An origin for what exists.
    let origin = source.dataset.snapshot("one").unwrap();
    assert_eq!(
        kind(there.receive(&full[..], &options().origin(origin.name()))),
        ErrorKind::InvalidArgument
    );
    assert_eq!(snapshots(&there), ["one", "two"]);
}

#[test]
fn damaged_streams() {
    let scratch = Scratch::new("recv-damage");
    let source = Source::new(&scratch);
    let (full, incremental) = (source.full("one"), source.incremental());
    let target = child(&scratch, "target");
    target.receive(&full[..], &options()).unwrap();
    let before = files(&format!("{}@one", target.name()));
    let new = child(&scratch, "new");
    let parts = 4;
    for (dataset, stream) in [(&new, &full), (&target, &incremental)] {
        for part in 0..parts {
            // Behind the first record's header, whose damage can be seen at once.
            let at = 312 + (stream.len() - 312) * part / parts + 1;
            let damaged = flipped(stream, at);
            let error = dataset.receive(&damaged[..], &options()).unwrap_err();
            assert!(
                matches!(
                    error.kind(),
                    ErrorKind::Corrupt
                        | ErrorKind::InvalidStream
                        | ErrorKind::Truncated
                        | ErrorKind::TooBig
                ),
                "{at}: {error}"
            );
            // Found before the kernel could see it: the record is named.
            assert_eq!(error.errno(), None, "{error}");
            assert!(error.to_string().contains("record "), "{error}");
            let error = dataset.receive(&stream[..at], &options()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Truncated, "{at}: {error}");

            // The kernel finds it, too.
            if part % 2 == 0 {
                continue;
            }
            let error = dataset
                .receive_from(file(&damaged), &options())
                .unwrap_err();
            assert!(error.errno().is_some(), "{at}: {error}");

            let error = dataset
                .receive_from(file(&stream[..at]), &options())
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Truncated, "{at}: {error}");
        }
    }
    assert!(!new.exists().unwrap());
    assert_eq!(snapshots(&target), ["one"]);
    assert!(files(&format!("{}@one", target.name())) == before);
    target.receive(&incremental[..], &options()).unwrap();
}

#[test]
fn quotas_and_limits() {
    let scratch = Scratch::new("recv-quota");
    let source = Source::new(&scratch);
    let (full, incremental) = (source.full("one"), source.incremental());
    let parent = child(&scratch, "parent");
    parent
        .create(&CreateOptions::filesystem().set(Quota(300_000)))
        .unwrap();
    let target = child(&parent, "target");
    let reached = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{error}");
        assert!(error.errno().is_some());
    };
    reached(target.receive(&full[..], &options()).unwrap_err());
    assert!(!target.exists().unwrap());
    parent.set(Quota(0)).unwrap();
    target.receive(&full[..], &options()).unwrap();
    target.set(SnapshotLimit(1)).unwrap();
    // Limits are not for root.
    let error = crate::support::as_user(crate::support::TENANT, || {
        target.receive(&incremental[..], &options()).unwrap_err()
    });
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    let name = parent.name().as_str();
    run(
        "zfs",
        &["allow", "-u", "tenant", "receive,create,mount", name],
    );
    let error = crate::support::as_user(crate::support::TENANT, || {
        target.receive(&incremental[..], &options()).unwrap_err()
    });
    reached(error);
    target.set(SnapshotLimit(u64::MAX)).unwrap();
    crate::support::as_user(crate::support::TENANT, || {
        target.receive(&incremental[..], &options()).unwrap()
    });
    assert_eq!(snapshots(&target), ["one", "two"]);

    if run("zfs", &["version"]).contains("zfs-kmod-2.1") {
        return;
    }
    run("zfs", &["unallow", "-u", "tenant", "receive", name]);
    run("zfs", &["allow", "-u", "tenant", "receive:append", name]);
    target.rollback_to_discarding_newer("one").unwrap();
    crate::support::as_user(crate::support::TENANT, || {
        assert_eq!(
            kind(target.receive(&incremental[..], &options().force())),
            ErrorKind::PermissionDenied
        );
        target.receive(&incremental[..], &options()).unwrap()
    });
}

#[test]
fn full_pool() {
    let scratch = Scratch::new("recv-full");
    let source = Source::new(&scratch);
    let big = child(&scratch, "big");
    big.create(&CreateOptions::filesystem()).unwrap();
    let mounted = crate::support::Mounted::new(&big);
    mounted.write("noise", noise(4 << 20, 7));
    drop(mounted);
    let stream = zfs_send(&[&snap(&big, "one")]);
    let pool = TestPool::new("recv-full");
    let root = pool.root();
    let held = child(&root, "held");
    held.create(&CreateOptions::filesystem()).unwrap();
    let available = root.properties().unwrap().available().unwrap();
    held.set(Reservation(available - (1 << 20))).unwrap();
    let target = child(&root, "target");
    let error = target.receive(&stream[..], &options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    assert!(!target.exists().unwrap());
    // As soon as there is room it works.
    held.set(Reservation(0)).unwrap();
    target.receive(Cursor::new(&stream), &options()).unwrap();
    drop(source);
}
