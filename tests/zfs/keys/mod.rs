//! Keys of tenants from their providers.

mod faults;
mod harm;
mod killed;
mod lifecycle;
mod memory;
mod replica;
mod rotation;
mod vault;

use crate::support::may;
use crate::support::{Scratch, unique};
use helix_zfs::gate::Operation;
use helix_zfs::key::{
    FileKeys, KeyId, KeyMaterial, KeyProvider, KeyRecord, KeyStore, KeyVersion, ParkOptions, park,
    unlock,
};
use helix_zfs::zfs_core::key::{Encryption, WrappingKey};
use helix_zfs::zfs_core::{CreateOptions, Dataset};
use helix_zfs::{Step, Tenant};
use std::path::Path;
use tempfile::TempDir;

/// A folder that only root can reach, as keys want it.
fn folder() -> TempDir {
    let folder = TempDir::with_prefix("helix-zfs-").unwrap();
    use_only_by_root(folder.path());
    folder
}

fn use_only_by_root(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).unwrap();
}

/// The name of a key that no other test has.
fn name(topic: &str) -> String {
    format!("{topic}-{}-{}", std::process::id(), unique())
}

fn id(name: &str) -> KeyId {
    KeyId::new(name).unwrap()
}

/// A filesystem with this key.
fn encrypted(parent: &Dataset, name: &str, key: &WrappingKey) -> Tenant {
    let dataset = parent.child(name).unwrap();
    let options = CreateOptions::filesystem()
        .user(Tenant::PROPERTY, name)
        .unwrap()
        .encryption(Encryption::aes_256_gcm(key).unwrap());
    dataset.create(&options).unwrap();
    dataset.into()
}

/// A tenant whose first key is in `keys`. The key is loaded.
fn tenant(parent: &Dataset, name: &str, keys: &dyn KeyStore) -> Tenant {
    let key = KeyMaterial::generate().unwrap();
    keys.store(&id(name), KeyVersion::NONE, &key).unwrap();
    encrypted(parent, name, &key.wrapping_key())
}

/// A tenant with its keys in a folder.
struct One {
    scratch: Scratch,
    folder: TempDir,
    keys: FileKeys,
    tenant: Tenant,
}

impl One {
    fn new(topic: &str) -> Self {
        let scratch = Scratch::new(topic);
        let folder = folder();
        let keys = FileKeys::new(folder.path());
        let tenant = tenant(&scratch, &name(topic), &keys);
        Self {
            scratch,
            folder,
            keys,
            tenant,
        }
    }

    fn id(&self) -> KeyId {
        self.record().id
    }

    fn record(&self) -> KeyRecord {
        KeyRecord::of(&self.tenant).unwrap()
    }

    fn version(&self) -> KeyVersion {
        opens(&self.tenant, &self.keys)
    }
}

/// Locks the tenant and unlocks it again; which version did that?
fn opens(tenant: &Tenant, keys: &dyn KeyProvider) -> KeyVersion {
    lock(tenant);
    let unlocked = unlock(may(Operation::LoadKey, tenant), tenant, keys).unwrap();
    assert!(!unlocked.was_loaded);
    assert!(tenant.is_unlocked().unwrap());
    unlocked.version
}

/// Which version opens a tenant whose key is loaded, by the kernel's word?
fn is_right(tenant: &Tenant, keys: &dyn KeyProvider) -> KeyVersion {
    let unlocked = unlock(may(Operation::LoadKey, tenant), tenant, keys).unwrap();
    assert!(unlocked.was_loaded);
    unlocked.version
}

fn lock(tenant: &Tenant) {
    let capability = may(Operation::UnloadKey, tenant);
    park(capability, tenant, &ParkOptions::new()).unwrap();
    assert!(!tenant.is_unlocked().unwrap());
}

fn quiet<T>(_: Step<'_, T>) {}
