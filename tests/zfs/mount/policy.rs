//! What a policy forbids.

use super::{Place, filesystem, kind, paths, patiently};
use crate::support::{allowed, zfs};
use helix_zfs::gate::Operation;
use helix_zfs::zfs_core::key::{Encryption, WrappingKey};
use helix_zfs::zfs_core::mount::{MountOptions, UnmountMode};
use helix_zfs::zfs_core::props::{PropertySet, UserProps};
use helix_zfs::zfs_core::{Dataset, DatasetName, ErrorKind, Result, Zfs};
use helix_zfs::{Change, GuardRail, MountPolicy, Tenant, TenantSpec};

fn forbidden<T>(result: Result<T>) {
    let error = result.map(|_| "allowed").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden, "{error}");
}

#[test]
fn a_policy_forbids_mounting() {
    let place = Place::new("mount-policy");
    let production = place.child("production", &filesystem());
    place.child("production/orders", &filesystem());
    place.child("staging", &filesystem());
    let marked = filesystem().user("helix:automount", "never").unwrap();
    place.child("marked", &marked);
    place.child("marked/below", &filesystem());
    let tier = filesystem().user("acme:tier", "gold").unwrap();
    place.child("gold", &tier);

    let policy = MountPolicy::new()
        .forbid_below(production.name().clone())
        .forbid_marked()
        .forbid_property("acme:tier", "gold")
        .unwrap();
    let bad = MountPolicy::new().forbid_property("no colon", "x");
    assert_eq!(kind(bad), ErrorKind::InvalidProperty);
    let helix = policy.clone().apply(zfs());
    let child = |zfs: &Zfs, name: &str| {
        zfs.dataset(&format!("{}/{name}", place.scratch.name()))
            .unwrap()
    };
    let at = MountOptions::new().at(place.folder("at"));
    for name in [
        "production",
        "production/orders",
        "marked",
        "marked/below",
        "gold",
    ] {
        let dataset = child(&helix, name);
        forbidden(dataset.mount(&MountOptions::new()));
        forbidden(dataset.mount(&at));
        forbidden(dataset.destroy_unmounting());
        let snapshot = dataset.snapshot("s").unwrap();
        snapshot.create(&UserProps::new()).unwrap();
        forbidden(snapshot.mount(place.path("at")));
        // Whoever is not bound can.
        let free = child(&zfs(), name);
        free.mount(&MountOptions::new()).unwrap();
        forbidden(dataset.rename_remounting(child(&helix, "elsewhere").name()));
        assert_eq!(paths(&free).len(), 1);
    }
    // Unmounting is not mounting.
    for name in [
        "gold",
        "marked/below",
        "marked",
        "production/orders",
        "production",
    ] {
        patiently(|| child(&helix, name).unmount(UnmountMode::Unused)).unwrap();
    }
    let staging = child(&helix, "staging");
    staging.mount(&MountOptions::new()).unwrap();
    // It must not become production, either.
    forbidden(staging.rename_remounting(child(&helix, "production/staging").name()));
    let moved = child(&helix, "moved");
    let moved = patiently(|| staging.rename_remounting(moved.name())).unwrap();
    patiently(|| moved.unmount(UnmountMode::Unused)).unwrap();
    // A property is looked at when it matters.
    moved
        .set_user(&UserProps::new().set("helix:automount", "never").unwrap())
        .unwrap();
    forbidden(moved.mount(&MountOptions::new()));
    // What cannot be found out is forbidden.
    forbidden(child(&helix, "missing").mount(&MountOptions::new()));

    // A clone has the same data, and another name.
    let clone = child(&helix, "clone");
    let source = child(&helix, "production/orders").snapshot("s").unwrap();
    source.clone_to(clone.name(), &PropertySet::new()).unwrap();
    clone.mount(&MountOptions::new()).unwrap();
    patiently(|| clone.unmount(UnmountMode::Unused)).unwrap();
    let second = clone.snapshot("s").unwrap();
    second.create(&UserProps::new()).unwrap();
    let second = second
        .clone_to(child(&helix, "clone-of-clone").name(), &PropertySet::new())
        .unwrap();
    let strict = policy.forbid_clones().apply(zfs());
    for clone in [clone, second] {
        let clone = strict.dataset(clone.name().as_str()).unwrap();
        forbidden(clone.mount(&MountOptions::new()));
    }
    child(&strict, "moved").inherit("helix:automount").unwrap();
    child(&strict, "moved").mount(&MountOptions::new()).unwrap();

    // A second policy adds to the first, and replaces nothing.
    let looser = MountPolicy::new().forbid_below(DatasetName::new("no/such").unwrap());
    let both = looser.apply(helix);
    forbidden(child(&both, "gold").mount(&MountOptions::new()));
}

#[test]
fn what_helix_makes_is_bound_by_the_policy() {
    let place = Place::new("mount-helix");
    let policy = MountPolicy::new().forbid_below(Dataset::name(&place.scratch).clone());
    let bound = policy.apply(zfs());
    let parent = bound.dataset(place.scratch.name()).unwrap();
    let key = WrappingKey::raw(&[1; 32]);
    let encryption = Encryption::aes_256_gcm(&key).unwrap();
    let tenant = TenantSpec::new("acme", encryption)
        .create(allowed(Operation::CreateTenant), &parent)
        .unwrap();
    forbidden(tenant.dataset().mount(&MountOptions::new()));
    let tenants = Tenant::list(&parent).unwrap();
    for tenant in &tenants {
        forbidden(tenant.dataset().mount(&MountOptions::new()));
    }
    let guard_rail = GuardRail::take(
        allowed(Operation::TakeGuardRail),
        &bound,
        &tenants,
        "deploy",
        &Change::new(),
    )
    .unwrap();
    let found = GuardRail::find(&parent, "deploy").unwrap().unwrap();
    for snapshot in [guard_rail, found].iter().flat_map(GuardRail::snapshots) {
        forbidden(snapshot.mount(place.folder("at")));
    }
    assert!(paths(tenant.dataset()).is_empty());
}
