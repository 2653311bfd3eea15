//! Keys that are rotated.

use super::{One, encrypted, folder, id, lock, name, opens, quiet};
use crate::support::{Mounted, Scratch, zfs_get};
use crate::support::{may, open_gate};
use helix_zfs::gate::{Operation, RefusalReason, Scope};
use helix_zfs::key::{
    FileKeys, KeyMaterial, KeyProvider, KeyRecord, KeyStore, KeyVersion, Rotated, RotationChange,
    RotationOptions, TenantKeyError, rotate,
};
use helix_zfs::zfs_core::key::WrappingKey;
use helix_zfs::zfs_core::props::{PropertySet, UserProps};
use helix_zfs::zfs_core::{CreateOptions, ErrorKind};
use helix_zfs::{Step, Tenant};
use std::time::Duration;

fn rotate_with(one: &One, options: &RotationOptions) -> Result<Rotated, TenantKeyError> {
    let capability = may(Operation::RotateKey, &one.tenant);
    rotate(capability, &one.tenant, &one.keys, options, &mut quiet)
}

fn versions(one: &One) -> Vec<u64> {
    let versions = one.keys.versions(&one.id()).unwrap();
    versions.into_iter().map(|version| version.0).collect()
}

#[test]
fn the_new_key_opens_it_and_the_old_one_stays_until_it_is_retired() {
    let one = One::new("rotate");
    let dataset = one.tenant.dataset();
    let child = dataset.child("child").unwrap();
    child.create(&CreateOptions::filesystem()).unwrap();
    Mounted::new(&child).write("file", "contents");
    let old = one.keys.current(&one.id()).unwrap().key;

    let mut steps = Vec::new();
    let capability = may(Operation::RotateKey, &one.tenant);
    let options = RotationOptions::new();
    let rotated = rotate(capability, &one.tenant, &one.keys, &options, &mut |step| {
        if let Step::Done(change) = step {
            steps.push(change.clone());
        }
    })
    .unwrap();
    assert_eq!(
        (rotated.from, rotated.to),
        (Some(KeyVersion(1)), KeyVersion(2))
    );
    assert!(!rotated.was_pending);
    let name = dataset.name().clone();
    let version = KeyVersion(2);
    assert_eq!(
        steps,
        [
            RotationChange::Intend {
                dataset: name.clone(),
                version
            },
            RotationChange::Store {
                id: one.id(),
                version
            },
            RotationChange::ChangeKey {
                dataset: name.clone(),
                version
            },
            RotationChange::Note {
                dataset: name.clone(),
                version
            },
        ]
    );
    assert_eq!(zfs_get("helix:key_version", &name), "2");
    assert_eq!(zfs_get("helix:key_id", &name), one.id().as_str());
    assert_eq!(one.record().pending(), None);
    assert_eq!(zfs_get("helix:key_next", &name), "-");
    assert_eq!(versions(&one), [1, 2]);
    assert_eq!(one.version(), KeyVersion(2));
    assert_eq!(Mounted::new(&child).read("file"), b"contents");
    let refused = dataset.verify_key(&old.wrapping_key()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::WrongKey);

    for to in [3, 4] {
        let rotated = rotate_with(&one, &RotationOptions::new().keep_old(2)).unwrap();
        assert_eq!(rotated.to, KeyVersion(to));
    }
    // Another test's pool that hangs keeps versions from being retired: the next rotation does it.
    for _ in 0..20 {
        if versions(&one).len() == 3 {
            break;
        }
        rotate_with(&one, &RotationOptions::new().keep_old(2)).unwrap();
    }
    let newest = one.record().version.unwrap();
    assert_eq!(versions(&one), [newest.0 - 2, newest.0 - 1, newest.0]);
    assert_eq!(one.version(), newest);
}

#[test]
fn what_another_dataset_needs_is_not_retired() {
    let one = One::new("rotate-needed");
    let dataset = one.scratch.child("other").unwrap();
    let props = UserProps::new()
        .set("helix:key_id", one.id().as_str())
        .unwrap();
    dataset.create(&CreateOptions::filesystem()).unwrap();
    dataset.set_user(&props).unwrap();
    let retire_all = RotationOptions::new().keep_old(0);
    assert_eq!(rotate_with(&one, &retire_all).unwrap().retired, []);
    assert_eq!(versions(&one), [1, 2]);
    // It says which one it needs.
    let props = UserProps::new().set("helix:key_version", "1").unwrap();
    dataset.set_user(&props).unwrap();
    for _ in 0..20 {
        rotate_with(&one, &retire_all).unwrap();
        if versions(&one).len() == 2 {
            break;
        }
    }
    let newest = one.record().version.unwrap();
    assert_eq!(versions(&one), [1, newest.0]);
}

#[test]
fn a_key_that_no_provider_has_is_rotated_only_if_that_is_said() {
    let scratch = Scratch::new("rotate-adopt");
    let folder = folder();
    let keys = FileKeys::new(folder.path());
    let tenant = encrypted(&scratch, &name("adopt"), &WrappingKey::raw(&[3; 32]));
    let capability = may(Operation::RotateKey, &tenant);
    let id = KeyRecord::of(&tenant).unwrap().id;
    let attempt = |options| rotate(capability, &tenant, &keys, &options, &mut quiet);
    let nothing = attempt(RotationOptions::new()).unwrap_err();
    assert!(nothing.key_error().is_some(), "{nothing}");
    let other = KeyMaterial::generate().unwrap();
    keys.store(&id, KeyVersion::NONE, &other).unwrap();
    let wrong = attempt(RotationOptions::new()).unwrap_err();
    assert!(
        matches!(wrong, TenantKeyError::NoKeyOpens { .. }),
        "{wrong}"
    );
    let rotated = attempt(RotationOptions::new().adopt()).unwrap();
    assert_eq!((rotated.from, rotated.to), (None, KeyVersion(2)));
    assert_eq!(opens(&tenant, &keys), KeyVersion(2));
}

#[test]
fn what_cannot_be_rotated_is_as_it_was() {
    let one = One::new("rotate-refused");
    let dataset = one.tenant.dataset();
    let capability = may(Operation::RotateKey, &one.tenant);
    let options = RotationOptions::new();
    let attempt =
        |tenant: &Tenant| rotate(capability, tenant, &one.keys, &options, &mut quiet).unwrap_err();
    let child = dataset.child("child").unwrap();
    child.create(&CreateOptions::filesystem()).unwrap();
    assert!(matches!(
        attempt(&child.into()),
        TenantKeyError::NotRoot { .. }
    ));
    let snapshot = dataset.snapshot("s").unwrap();
    snapshot.create(&UserProps::new()).unwrap();
    let clone = one.scratch.child("clone").unwrap();
    snapshot
        .clone_to(clone.name(), &PropertySet::new())
        .unwrap();
    assert!(matches!(
        attempt(&clone.into()),
        TenantKeyError::NotRoot { .. }
    ));
    lock(&one.tenant);
    assert!(matches!(
        attempt(&one.tenant),
        TenantKeyError::Locked { .. }
    ));

    let gate = open_gate();
    let scope = Scope::below(dataset.name());
    let wrong = gate.grant(Operation::LoadKey, scope, Duration::from_secs(3600));
    let error = rotate(&wrong, &one.tenant, &one.keys, &options, &mut |_| {
        panic!("a step was made")
    });
    let error = error.unwrap_err();
    assert!(
        matches!(&error, TenantKeyError::Refused(refusal)
            if matches!(refusal.reason, RefusalReason::Operation { .. })),
        "{error}"
    );
    assert_eq!(versions(&one), [1]);
    assert_eq!(zfs_get("helix:key_next", dataset.name()), "-");
}

#[test]
fn a_capability_that_ends_in_the_middle_stops_it_and_another_finishes_it() {
    let one = One::new("rotate-expired");
    let gate = open_gate();
    let name = one.tenant.dataset().name().clone();
    let job = gate.grant(
        Operation::RotateKey,
        Scope::below(&name),
        Duration::from_secs(3600),
    );
    let options = RotationOptions::new();
    let mut made = 0;
    let error = rotate(&job, &one.tenant, &one.keys, &options, &mut |step| {
        if matches!(step, Step::Done(_)) {
            made += 1;
            if made == 2 {
                job.revoke("the test says so");
            }
        }
    })
    .unwrap_err();
    assert!(matches!(error, TenantKeyError::Refused(_)), "{error}");
    assert_eq!(made, 2);
    assert_eq!(one.version(), KeyVersion(1));
    let rotated = rotate_with(&one, &options).unwrap();
    assert!(rotated.was_pending);
    assert_eq!(rotated.to, KeyVersion(2));
    assert_eq!(one.version(), KeyVersion(2));
    assert_eq!(versions(&one), [1, 2]);
}

#[test]
fn two_that_share_a_name_of_a_key_do_no_harm() {
    let one = One::new("rotate-shared");
    let key = one.keys.current(&one.id()).unwrap().key;
    let shared = one.id();
    let other = encrypted(&one.scratch, &name("other"), &key.wrapping_key());
    let props = UserProps::new()
        .set("helix:key_id", shared.as_str())
        .unwrap();
    other.dataset().set_user(&props).unwrap();
    assert_eq!(id(shared.as_str()), shared);
    for _ in 0..2 {
        rotate_with(&one, &RotationOptions::new().keep_old(0)).unwrap();
        assert_eq!(opens(&other, &one.keys), KeyVersion(1));
    }
    let capability = may(Operation::RotateKey, &other);
    let rotated = rotate(
        capability,
        &other,
        &one.keys,
        &RotationOptions::new(),
        &mut quiet,
    );
    assert_eq!(rotated.unwrap().to, KeyVersion(4));
    assert_eq!(opens(&other, &one.keys), KeyVersion(4));
    assert_eq!(one.version(), KeyVersion(3));
}
