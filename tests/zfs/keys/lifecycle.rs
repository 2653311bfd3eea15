//! Tenants unlocked and parked.

use super::{One, encrypted, folder, id, lock, name, tenant};
use crate::support::{Mounted, Scratch};
use crate::support::{may, open_gate};
use helix_zfs::Tenant;
use helix_zfs::gate::{Operation, RefusalReason, Scope};
use helix_zfs::key::{
    FileKeys, KeyError, KeyId, KeyMaterial, KeyProblem, KeyProvider, KeyStore, KeyVersion,
    ParkOptions, ProvidedKey, TenantKeyError, park, park_all, unlock, unlock_all,
};
use helix_zfs::zfs_core::key::WrappingKey;
use helix_zfs::zfs_core::mount::MountOptions;
use helix_zfs::zfs_core::props::{PropertySet, UserProps};
use helix_zfs::zfs_core::{CreateOptions, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[test]
fn many_are_unlocked_at_once_and_the_bad_keep_nobody() {
    let scratch = Scratch::new("keys-many");
    let folder = folder();
    let keys = FileKeys::new(folder.path());
    let tenants: Vec<Tenant> = (0..10)
        .map(|_| tenant(&scratch, &name("many"), &keys))
        .collect();
    let name_of = |at: usize| tenants[at].dataset().name().base();
    let parked = park_all(
        may(Operation::UnloadKey, &*scratch),
        &tenants,
        &ParkOptions::new(),
        4,
    );
    for (tenant, parked) in &parked {
        assert!(parked.as_ref().unwrap().was_loaded);
        assert!(!tenant.is_unlocked().unwrap());
    }

    let file = |at: usize| folder.path().join(name_of(at)).join("1");
    std::fs::remove_dir_all(folder.path().join(name_of(1))).unwrap();
    std::fs::write(file(3), [0; 32]).unwrap();
    std::fs::write(file(5), "no key").unwrap();
    std::fs::set_permissions(file(7), std::fs::Permissions::from_mode(0o604)).unwrap();
    let unlocked = unlock_all(may(Operation::LoadKey, &*scratch), &tenants, &keys, 4);
    let problem = |at: usize| {
        let error = unlocked[at].1.as_ref().unwrap_err();
        assert!(error.to_string().contains(name_of(at)), "{error}");
        error.key_error().map(KeyError::problem)
    };
    assert_eq!(problem(1), Some(KeyProblem::NotFound));
    assert_eq!(problem(3), None);
    assert!(matches!(
        &unlocked[3].1,
        Err(TenantKeyError::NoKeyOpens { tried, .. }) if *tried == [KeyVersion(1)]
    ));
    assert_eq!(problem(5), Some(KeyProblem::Malformed));
    assert_eq!(problem(7), Some(KeyProblem::Permissions));
    for (at, (tenant, outcome)) in unlocked.iter().enumerate() {
        assert_eq!(tenant.dataset().name(), tenants[at].dataset().name());
        let is_bad = [1, 3, 5, 7].contains(&at);
        assert_eq!(outcome.is_err(), is_bad, "{outcome:?}");
        assert_eq!(tenant.is_unlocked().unwrap(), !is_bad);
    }
}

#[test]
fn what_is_unlocked_or_parked_already_stays_so() {
    let one = One::new("keys-twice");
    let load = may(Operation::LoadKey, &one.tenant);
    let unlocked = unlock(load, &one.tenant, &one.keys).unwrap();
    assert!(unlocked.was_loaded);
    assert_eq!(unlocked.version, KeyVersion(1));
    lock(&one.tenant);
    let capability = may(Operation::UnloadKey, &one.tenant);
    let parked = park(capability, &one.tenant, &ParkOptions::new()).unwrap();
    assert!(!parked.was_loaded);

    // A loaded key that the provider does not have is found out.
    unlock(load, &one.tenant, &one.keys).unwrap();
    let other = WrappingKey::raw(&[9; 32]);
    one.tenant.dataset().change_key(&other).unwrap();
    let error = unlock(load, &one.tenant, &one.keys).unwrap_err();
    assert!(
        matches!(error, TenantKeyError::NoKeyOpens { .. }),
        "{error}"
    );
}

#[test]
fn what_is_in_use_is_not_parked() {
    let one = One::new("keys-busy");
    let dataset = one.tenant.dataset();
    let child = dataset.child("child").unwrap();
    child.create(&CreateOptions::filesystem()).unwrap();
    let park = |options: ParkOptions| {
        park(
            may(Operation::UnloadKey, &one.tenant),
            &one.tenant,
            &options,
        )
    };
    let in_use = |options: ParkOptions| match park(options).unwrap_err() {
        TenantKeyError::InUse { mounted, .. } => mounted,
        error => panic!("{error}"),
    };

    let mounted = Mounted::new(&child);
    assert_eq!(in_use(ParkOptions::new()), [child.name().clone()]);
    let open = std::fs::File::create(mounted.path("open")).unwrap();
    assert_eq!(in_use(ParkOptions::new().unmount()), [child.name().clone()]);
    drop(open);
    assert!(one.tenant.is_unlocked().unwrap());
    // A process that another test has just started has a copy of the descriptor.
    let parked = (0..1000)
        .find_map(|_| match park(ParkOptions::new().unmount()) {
            Err(TenantKeyError::InUse { .. }) => {
                std::thread::sleep(Duration::from_millis(10));
                None
            }
            parked => Some(parked.unwrap()),
        })
        .expect("parked in the end");
    assert_eq!(parked.unmounted, [child.name().clone()]);
    assert!(!one.tenant.is_unlocked().unwrap());

    // A clone elsewhere has the tenant's data, and so its key.
    unlock(may(Operation::LoadKey, &one.tenant), &one.tenant, &one.keys).unwrap();
    let snapshot = dataset.snapshot("s").unwrap();
    snapshot.create(&UserProps::new()).unwrap();
    let clone = one.scratch.child("clone").unwrap();
    snapshot
        .clone_to(clone.name(), &PropertySet::new())
        .unwrap();
    let mounted = Mounted::new(&clone);
    assert_eq!(in_use(ParkOptions::new().unmount()), []);
    drop(mounted);
    lock(&one.tenant);
    let error = clone.mount(&MountOptions::new().at("/mnt")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::KeyNotLoaded);
}

#[test]
fn only_what_has_a_key_of_its_own_is_unlocked() {
    let one = One::new("keys-root");
    let refused =
        |tenant: &Tenant| unlock(may(Operation::LoadKey, tenant), tenant, &one.keys).unwrap_err();
    let child = one.tenant.dataset().child("child").unwrap();
    child.create(&CreateOptions::filesystem()).unwrap();
    assert!(matches!(
        refused(&child.into()),
        TenantKeyError::NotRoot { root: Some(root), .. } if root == *one.tenant.dataset().name()
    ));
    assert!(matches!(
        refused(&one.scratch.clone().into()),
        TenantKeyError::NotRoot { root: None, .. }
    ));
    let nameless = encrypted(&one.scratch, "no:name", &WrappingKey::raw(&[1; 32]));
    assert!(matches!(
        refused(&nameless),
        TenantKeyError::NoName { name: Some(name), .. } if name == "no:name"
    ));
}

/// Counts how often it is asked.
#[derive(Debug)]
struct Counted<'a>(&'a FileKeys, AtomicUsize);

impl KeyProvider for Counted<'_> {
    fn current(&self, id: &KeyId) -> Result<ProvidedKey, KeyError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.current(id)
    }

    fn version(&self, id: &KeyId, version: KeyVersion) -> Result<KeyMaterial, KeyError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.version(id, version)
    }

    fn versions(&self, id: &KeyId) -> Result<Vec<KeyVersion>, KeyError> {
        self.0.versions(id)
    }
}

#[test]
fn what_the_capability_does_not_cover_is_not_done() {
    let one = One::new("keys-gate");
    let other = One::new("keys-gate-other");
    let gate = open_gate();
    let scope = |one: &One| Scope::below(one.tenant.dataset().name());
    let day = Duration::from_secs(24 * 3600);
    let refused = |error: TenantKeyError| match error {
        TenantKeyError::Refused(refusal) => refusal.reason,
        error => panic!("{error}"),
    };

    let wrong = gate.grant(Operation::LoadKey, scope(&one), day);
    let error = park(&wrong, &one.tenant, &ParkOptions::new()).unwrap_err();
    assert!(matches!(refused(error), RefusalReason::Operation { .. }));
    assert!(one.tenant.is_unlocked().unwrap());
    lock(&one.tenant);

    let wrong = gate.grant(Operation::UnloadKey, scope(&one), day);
    let error = unlock(&wrong, &one.tenant, &one.keys).unwrap_err();
    assert!(matches!(refused(error), RefusalReason::Operation { .. }));
    let elsewhere = gate.grant(Operation::LoadKey, scope(&other), day);
    let asked = Counted(&one.keys, AtomicUsize::new(0));
    let error = unlock(&elsewhere, &one.tenant, &asked).unwrap_err();
    assert_eq!(refused(error), RefusalReason::Scope);
    assert!(!one.tenant.is_unlocked().unwrap());
    assert_eq!(asked.1.into_inner(), 0);
}

#[test]
fn a_key_that_is_named_is_the_one() {
    let one = One::new("keys-named");
    let shared = id(&name("shared"));
    let key = one.keys.current(&one.id()).unwrap().key;
    one.keys.store(&shared, KeyVersion::NONE, &key).unwrap();
    let folder = one.folder.path().join(one.id().as_str());
    std::fs::remove_dir_all(folder).unwrap();
    let props = UserProps::new();
    let props = props.set("helix:key_id", shared.as_str()).unwrap();
    one.tenant.dataset().set_user(&props).unwrap();
    assert_eq!(one.id(), shared);
    assert_eq!(one.version(), KeyVersion(1));
}
