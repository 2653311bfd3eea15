use std::fmt;

use super::{KeyError, KeyId, KeyMaterial, KeyVersion};

/// A key, and which version it is.
#[derive(Debug)]
#[non_exhaustive]
pub struct ProvidedKey {
    /// The key.
    pub key: KeyMaterial,
    /// Its version.
    pub version: KeyVersion,
}

impl ProvidedKey {
    /// The key of this version.
    #[must_use]
    pub fn new(key: KeyMaterial, version: KeyVersion) -> Self {
        Self { key, version }
    }
}

/// Where keys can be had.
///
/// Every call asks anew: nothing is kept, so that what was dropped is gone. All can be called from
/// several threads at once.
pub trait KeyProvider: fmt::Debug + Send + Sync {
    /// The newest key of this name.
    ///
    /// # Errors
    ///
    /// [`NotFound`](super::KeyProblem::NotFound) when there is none; otherwise what kept it from being
    /// had. What comes is either 32 bytes or an error.
    fn current(&self, id: &KeyId) -> Result<ProvidedKey, KeyError>;

    /// One version of the key.
    ///
    /// # Errors
    ///
    /// [`NotFound`](super::KeyProblem::NotFound) when there is none or it was
    /// [retired](KeyStore::retire); otherwise as [`current`](Self::current).
    fn version(&self, id: &KeyId, version: KeyVersion) -> Result<KeyMaterial, KeyError>;

    /// The versions that can be had, oldest first; none is no error.
    ///
    /// # Errors
    ///
    /// What kept them from being listed.
    fn versions(&self, id: &KeyId) -> Result<Vec<KeyVersion>, KeyError>;
}

/// Where keys are kept: a provider that takes new ones.
pub trait KeyStore: KeyProvider {
    /// Stores a new version of the key, the first one too, if the newest is `after` at that moment
    /// ([`KeyVersion::NONE`]: if none was ever stored). When it returns, the key is durable, and it is
    /// the current one.
    ///
    /// A call that failed with anything but [`Conflict`](super::KeyProblem::Conflict) may have stored
    /// it all the same, as when the answer was lost.
    ///
    /// # Errors
    ///
    /// [`Conflict`](super::KeyProblem::Conflict) when the newest is another, and nothing is stored
    /// then; otherwise what kept it from being stored.
    fn store(
        &self,
        id: &KeyId,
        after: KeyVersion,
        key: &KeyMaterial,
    ) -> Result<KeyVersion, KeyError>;

    /// Removes one version for good, which must not be the current one. A version that is not there
    /// is no error. Its number is never used again.
    ///
    /// # Errors
    ///
    /// [`Conflict`](super::KeyProblem::Conflict) for the current version; otherwise what kept it from
    /// being removed.
    fn retire(&self, id: &KeyId, version: KeyVersion) -> Result<(), KeyError>;
}
