//! Redaction bookmarks, and streams without what they leave out.

use crate::support::{Mounted, Parameter, Scratch, TENANT, as_user, noise, zfs, zfs_get};
use helix_zfs::zfs_core::props::{PropertySet, UserProps};
use helix_zfs::zfs_core::receive::ReceiveOptions;
use helix_zfs::zfs_core::send::SendOptions;
use helix_zfs::zfs_core::{CreateOptions, Dataset, ErrorKind, Snapshot};

/// A filesystem with a public and a secret file, and a clone in which the secret is overwritten.
struct Redacted {
    scratch: Scratch,
    source: Snapshot,
    without: Snapshot,
}

fn child(scratch: &Scratch, name: &str) -> Dataset {
    zfs()
        .dataset(&format!("{}/{name}", scratch.name()))
        .unwrap()
}

fn snapshot(dataset: &Dataset, name: &str) -> Snapshot {
    let snapshot = dataset.snapshot(name).unwrap();
    snapshot.create(&UserProps::new()).unwrap();
    snapshot
}

fn redacted() -> Redacted {
    let scratch = Scratch::new("redact");
    let dataset = child(&scratch, "source");
    dataset.create(&CreateOptions::filesystem()).unwrap();
    {
        let mounted = Mounted::new(&dataset);
        mounted.write("public", noise(300_000, 1));
        mounted.write("secret", noise(300_000, 2));
    }
    let source = snapshot(&dataset, "source");
    let clone = source
        .clone_to(child(&scratch, "clone").name(), &PropertySet::new())
        .unwrap();
    {
        let mounted = Mounted::new(&clone);
        mounted.write("secret", noise(300_000, 3));
    }
    let without = snapshot(&clone, "without");
    Redacted {
        scratch,
        source,
        without,
    }
}

#[test]
fn what_a_clone_has_overwritten_is_not_sent() {
    let Redacted {
        scratch,
        source,
        without,
    } = redacted();
    let name = source.dataset().name().bookmark("public").unwrap();
    let bookmark = source.redact(&name, &[&without]).unwrap();
    let redaction = bookmark.redaction().unwrap().unwrap();
    assert!(redaction.is_complete);
    assert_eq!(redaction.snapshots, [without.stat().unwrap().guid]);
    assert_eq!(
        zfs_get("redact_snaps", name.as_str()),
        without.stat().unwrap().guid.to_string()
    );
    let plain = source.bookmark("plain").unwrap();
    assert_eq!(plain.redaction().unwrap(), None);
    let absent = zfs().bookmark(&format!("{}#absent", source.dataset().name()));
    let error = absent.unwrap().redaction().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);

    let options = SendOptions::full().redacted(&name);
    let size = source.send_size(&options).unwrap();
    assert!(size < source.send_size(&SendOptions::full()).unwrap() - 250_000);
    let target = child(&scratch, "target");
    let stream = source.send(&options).unwrap();
    let received = target.receive(stream, &ReceiveOptions::new()).unwrap();
    assert!(received.snapshot.stat().unwrap().redacted);

    // A redacted dataset is only mounted on demand, by the module's parameter.
    let mounted = {
        let _allowed = Parameter::set("zfs_allow_redacted_dataset_mount", "1");
        Mounted::new(&target)
    };
    assert!(mounted.read("public") == noise(300_000, 1));
    assert!(mounted.read("secret") == vec![0; 300_000]);
    drop(mounted);

    // What is itself redacted cannot be redacted again.
    let clone = received
        .snapshot
        .clone_to(child(&scratch, "again").name(), &PropertySet::new())
        .unwrap();
    let of_clone = snapshot(&clone, "x");
    let again = target.name().bookmark("again").unwrap();
    let error = received.snapshot.redact(&again, &[&of_clone]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongKind, "{error}");
}

#[test]
fn what_cannot_be_redacted_is_refused() {
    let Redacted {
        scratch,
        source,
        without,
    } = redacted();
    let dataset = source.dataset();
    let name = dataset.name().bookmark("public").unwrap();
    let kind = |error: helix_zfs::zfs_core::Error| {
        assert!(error.to_string().starts_with("cannot redact "), "{error}");
        error.kind()
    };

    let nothing: [&Snapshot; 0] = [];
    let error = source.redact(&name, &nothing).unwrap_err();
    assert_eq!(kind(error), ErrorKind::InvalidArgument);
    let elsewhere = without.dataset().name().bookmark("public").unwrap();
    let error = source.redact(&elsewhere, &[&without]).unwrap_err();
    assert_eq!(kind(error), ErrorKind::InvalidArgument);
    // Not of a clone: its own past.
    let unrelated = snapshot(&scratch, "unrelated");
    let error = source.redact(&name, &[&unrelated]).unwrap_err();
    assert_eq!(kind(error), ErrorKind::InvalidArgument);
    let absent = dataset.snapshot("absent").unwrap();
    let error = source.redact(&name, &[&absent]).unwrap_err();
    assert_eq!(kind(error), ErrorKind::NotFound);
    let error = absent.redact(&name, &[&without]).unwrap_err();
    assert_eq!(kind(error), ErrorKind::NotFound);
    let other_pool = zfs().snapshot("hz-elsewhere/a@b").unwrap();
    let error = source.redact(&name, &[&other_pool]).unwrap_err();
    assert_eq!(kind(error), ErrorKind::CrossPool);
    let error = as_user(TENANT, || source.redact(&name, &[&without]).unwrap_err());
    assert_eq!(kind(error), ErrorKind::PermissionDenied);

    let plain = source.bookmark("plain").unwrap();
    let error = source.redact(plain.name(), &[&without]).unwrap_err();
    assert_eq!(kind(error), ErrorKind::AlreadyExists);
    source.redact(&name, &[&without]).unwrap();
    let error = source.redact(&name, &[&without]).unwrap_err();
    assert_eq!(kind(error), ErrorKind::AlreadyExists);
    // There already, for others.
    let clone = snapshot(&without.dataset(), "later");
    let error = source.redact(&name, &[&clone]).unwrap_err();
    assert_eq!(kind(error), ErrorKind::AlreadyExists);

    // Too many for a bookmark that has to fit its bonus buffer, unless the pool has the feature.
    let many: Vec<Snapshot> = (0..40)
        .map(|n| without.dataset().snapshot(&format!("many-{n}")).unwrap())
        .collect();
    for snapshot in &many {
        snapshot.create(&UserProps::new()).unwrap();
    }
    let name = dataset.name().bookmark("many").unwrap();
    let spill = zfs()
        .capabilities()
        .unwrap()
        .has_pool_feature("redaction_list_spill");
    match source.redact(&name, &many) {
        Ok(bookmark) => {
            assert!(spill);
            assert_eq!(bookmark.redaction().unwrap().unwrap().snapshots.len(), 40);
        }
        Err(error) => {
            assert!(!spill, "{error}");
            assert_eq!(kind(error), ErrorKind::TooBig);
        }
    }
}
