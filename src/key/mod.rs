//! Keys of tenants, from where they are kept.
//!
//! A [`KeyProvider`] has keys by name, each in numbered versions; a [`KeyStore`] takes new ones too.
//! Keys are 32 bytes ([`KeyMaterial`]), which is what ZFS wraps a dataset's own key with.
//!
//! # What is not in the memory after use
//!
//! Key material is wiped when dropped, here and in [`zfs_core::key`], and so are the buffers that it
//! passes through. What other libraries free is theirs: a service that has keys should set an
//! allocator that wipes all that is freed, as `helixctl` does (the crate `zeroizing-alloc`).

mod environment;
mod error;
mod file;
mod id;
mod material;
mod park;
mod provider;
mod record;
mod rotate;
mod search;
mod tenant_error;
mod unlock;
#[cfg(feature = "vault")]
pub mod vault;

pub use environment::EnvironmentKeys;
pub use error::{KeyError, KeyProblem};
pub use file::FileKeys;
pub use id::{InvalidKeyId, KeyId, KeyVersion};
pub use material::KeyMaterial;
pub use park::{ParkOptions, Parked, park, park_all};
pub use provider::{KeyProvider, KeyStore, ProvidedKey};
pub use record::KeyRecord;
pub use rotate::{Rotated, RotationChange, RotationOptions, rotate};
pub use tenant_error::TenantKeyError;
pub use unlock::{Unlocked, unlock, unlock_all};

use serde::Serializer;
use zfs_core::DatasetName;

fn text<S: Serializer>(name: &DatasetName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name.as_str())
}

fn texts<S: Serializer>(names: &[DatasetName], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(names.iter().map(DatasetName::as_str))
}
