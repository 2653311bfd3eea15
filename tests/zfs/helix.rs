//! Tenants.

use crate::support::{Mounted, Scratch, allowed, may, zfs, zfs_get};
use helix_zfs::gate::Operation;
use helix_zfs::zfs_core::key::{Encryption, WrappingKey};
use helix_zfs::zfs_core::props::{Compression, PropertySet, Sync};
use helix_zfs::zfs_core::{CreateOptions, Dataset, ErrorKind};
use helix_zfs::{Tenant, TenantSpec};

const KEY: [u8; 32] = [0x21; 32];

fn spec(name: &str) -> TenantSpec {
    TenantSpec::new(
        name,
        Encryption::aes_256_gcm(&WrappingKey::raw(&KEY)).unwrap(),
    )
}

fn tenants(scratch: &Scratch, names: &[&str]) -> Vec<Tenant> {
    names
        .iter()
        .map(|name| {
            spec(name)
                .create(allowed(Operation::CreateTenant), scratch)
                .unwrap()
        })
        .collect()
}

#[test]
fn a_tenant_is_as_specified() {
    let scratch = Scratch::new("tenant");
    let tenant = spec("acme")
        .quota(64 << 20)
        .sync(Sync::Always)
        .properties(&PropertySet::new().set(Compression::Lz4))
        .create(allowed(Operation::CreateTenant), &scratch)
        .unwrap();
    let name = format!("{}/acme", scratch.name());
    assert_eq!(tenant.dataset().name().as_str(), name);
    for (property, value) in [
        ("quota", "67108864"),
        ("sync", "always"),
        ("compression", "lz4"),
        ("encryptionroot", name.as_str()),
        ("keyformat", "raw"),
        ("helix:tenant", "acme"),
    ] {
        assert_eq!(zfs_get(property, &name), value, "{property}");
    }
    let again = spec("acme")
        .create(allowed(Operation::CreateTenant), &scratch)
        .unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    let bad = spec("a/../b")
        .create(allowed(Operation::CreateTenant), &scratch)
        .unwrap_err();
    assert_eq!(bad.kind(), ErrorKind::InvalidName);
    let orphan = zfs().dataset("hz-no-such-pool/a").unwrap();
    let orphan = spec("acme")
        .create(may(Operation::CreateTenant, &orphan), &orphan)
        .unwrap_err();
    assert_eq!(orphan.kind(), ErrorKind::NotFound);
}

#[test]
fn only_tenants_are_listed() {
    let scratch = Scratch::new("tenant-list");
    assert!(Tenant::list(&scratch).unwrap().is_empty());
    let made = tenants(&scratch, &["birch", "acme"]);
    let plain = CreateOptions::filesystem();
    scratch.child("infra").unwrap().create(&plain).unwrap();
    made[0]
        .dataset()
        .child("inner")
        .unwrap()
        .create(&plain)
        .unwrap();
    let names = |parent: &Dataset| -> Vec<String> {
        let tenants = Tenant::list(parent).unwrap();
        let name = |tenant: &Tenant| tenant.dataset().name().base().to_owned();
        tenants.iter().map(name).collect()
    };
    assert_eq!(names(&scratch), ["acme", "birch"]);
    assert!(
        names(made[0].dataset()).is_empty(),
        "inherited marks do not count"
    );
    let missing = scratch.child("missing").unwrap();
    assert_eq!(
        Tenant::list(&missing).unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn locking_and_unlocking_can_be_repeated() {
    let scratch = Scratch::new("tenant-lock");
    let tenant = &tenants(&scratch, &["acme"])[0];
    let (key, wrong) = (WrappingKey::raw(&KEY), WrappingKey::raw(&[0; 32]));
    assert!(tenant.is_unlocked().unwrap());
    tenant.unlock(allowed(Operation::LoadKey), &key).unwrap();
    assert_eq!(
        tenant
            .unlock(allowed(Operation::LoadKey), &wrong)
            .unwrap_err()
            .kind(),
        ErrorKind::WrongKey
    );
    let mounted = Mounted::new(tenant.dataset());
    assert_eq!(
        tenant
            .lock(allowed(Operation::UnloadKey))
            .unwrap_err()
            .kind(),
        ErrorKind::Busy
    );
    drop(mounted);
    tenant.lock(allowed(Operation::UnloadKey)).unwrap();
    tenant.lock(allowed(Operation::UnloadKey)).unwrap();
    assert!(!tenant.is_unlocked().unwrap());
    assert_eq!(zfs_get("keystatus", tenant.dataset().name()), "unavailable");
    assert_eq!(
        tenant
            .unlock(allowed(Operation::LoadKey), &wrong)
            .unwrap_err()
            .kind(),
        ErrorKind::WrongKey
    );
    tenant.unlock(allowed(Operation::LoadKey), &key).unwrap();
    assert!(tenant.is_unlocked().unwrap());

    let plain = Tenant::from(scratch.clone());
    assert!(
        plain.is_unlocked().unwrap(),
        "what is not encrypted is open"
    );
    assert_eq!(
        plain
            .lock(allowed(Operation::UnloadKey))
            .unwrap_err()
            .kind(),
        ErrorKind::WrongKind
    );
}
