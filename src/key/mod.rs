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

mod error;
mod id;
mod material;
mod provider;

pub use error::{KeyError, KeyProblem};
pub use id::{InvalidKeyId, KeyId, KeyVersion};
pub use material::KeyMaterial;
pub use provider::{KeyProvider, KeyStore, ProvidedKey};
