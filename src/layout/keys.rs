//! Where the keys come from.

use zfs_core::key::WrappingKey;

use crate::key::{KeyId, KeyProvider};

/// Why a key could not be had. It must not hold key material.
pub type KeyError = Box<dyn std::error::Error + Send + Sync>;

/// Gives the keys that a layout names their material, when it is applied.
///
/// Neither layouts nor plans hold keys. A closure from the key's name serves:
///
/// ```
/// use helix_zfs::layout::{KeyError, KeySource};
/// use helix_zfs::zfs_core::key::WrappingKey;
///
/// let from_files = |name: &str| -> Result<WrappingKey, KeyError> {
///     let key: [u8; 32] = std::fs::read(format!("/run/keys/{name}"))?
///         .try_into()
///         .map_err(|_| "a key has 32 bytes")?;
///     Ok(WrappingKey::raw(&key))
/// };
/// fn is_a_source(_: &dyn KeySource) {}
/// is_a_source(&from_files);
/// ```
pub trait KeySource {
    /// The key of this name.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from being had.
    fn key(&self, name: &str) -> Result<WrappingKey, KeyError>;
}

impl<F: Fn(&str) -> Result<WrappingKey, KeyError>> KeySource for F {
    fn key(&self, name: &str) -> Result<WrappingKey, KeyError> {
        self(name)
    }
}

/// Has no key: for layouts that name none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoKeys;

impl KeySource for NoKeys {
    fn key(&self, _: &str) -> Result<WrappingKey, KeyError> {
        Err("no source of keys was given".into())
    }
}

/// The current keys of a provider: those that have the layout's names there.
#[derive(Clone, Copy, Debug)]
pub struct ProvidedKeys<'a>(pub &'a dyn KeyProvider);

impl KeySource for ProvidedKeys<'_> {
    fn key(&self, name: &str) -> Result<WrappingKey, KeyError> {
        let current = self.0.current(&KeyId::new(name)?)?;
        Ok(current.key.wrapping_key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{EnvironmentKeys, KeyProblem};

    #[test]
    fn what_the_provider_says_is_what_the_layout_hears() {
        let keys = ProvidedKeys(&EnvironmentKeys);
        let error = keys.key("no-such-tenant").unwrap_err();
        let error: &crate::key::KeyError = error.downcast_ref().unwrap();
        assert_eq!(error.problem(), KeyProblem::NotFound);
        assert!(keys.key("no/name").is_err());
    }
}
