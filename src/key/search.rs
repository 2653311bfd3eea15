//! Which of a provider's keys opens a dataset.

use zfs_core::key::WrappingKey;
use zfs_core::{Dataset, ErrorKind};

use super::TenantKeyError;
use super::{KeyError, KeyMaterial, KeyProblem, KeyProvider, KeyRecord, KeyVersion, ProvidedKey};

/// Offers the kernel one key after the other.
struct Search<'a> {
    dataset: &'a Dataset,
    record: &'a KeyRecord,
    provider: &'a dyn KeyProvider,
    attempt: &'a mut dyn FnMut(&WrappingKey) -> Result<(), TenantKeyError>,
    tried: Vec<KeyVersion>,
    /// The first reason for which a version could not be tried.
    missing: Option<KeyError>,
}

/// The key that `attempt` takes: that of the version which is noted, or which a rotation was about to
/// give it; then the provider's current one; then any that it has, newest first. `None` when there is
/// none at all or none is right, with what was tried.
pub(super) fn search(
    dataset: &Dataset,
    record: &KeyRecord,
    provider: &dyn KeyProvider,
    attempt: &mut dyn FnMut(&WrappingKey) -> Result<(), TenantKeyError>,
) -> Result<Result<ProvidedKey, NotFound>, TenantKeyError> {
    let mut search = Search {
        dataset,
        record,
        provider,
        attempt,
        tried: Vec::new(),
        missing: None,
    };
    Ok(match search.run()? {
        Some(key) => Ok(key),
        None => Err(NotFound {
            tried: search.tried,
            missing: search.missing,
        }),
    })
}

/// No key is right.
pub(super) struct NotFound {
    pub(super) tried: Vec<KeyVersion>,
    missing: Option<KeyError>,
}

impl NotFound {
    pub(super) fn into_error(self, dataset: &Dataset, record: &KeyRecord) -> TenantKeyError {
        let name = dataset.name().clone();
        match self.missing {
            Some(error) if self.tried.is_empty() => TenantKeyError::Key {
                dataset: name,
                error,
            },
            _ => TenantKeyError::NoKeyOpens {
                dataset: name,
                id: record.id.clone(),
                tried: self.tried,
            },
        }
    }
}

impl Search<'_> {
    fn run(&mut self) -> Result<Option<ProvidedKey>, TenantKeyError> {
        for version in [self.record.version, self.record.next]
            .into_iter()
            .flatten()
        {
            if let Some(found) = self.try_version(version)? {
                return Ok(Some(found));
            }
        }
        if let Some(found) = self.had(self.provider.current(&self.record.id))? {
            let (key, version) = (found.key, found.version);
            if let Some(found) = self.try_key(key, version)? {
                return Ok(Some(found));
            }
        }
        let versions = self.had(self.provider.versions(&self.record.id))?;
        for version in versions.unwrap_or_default().into_iter().rev() {
            if let Some(found) = self.try_version(version)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn try_version(&mut self, version: KeyVersion) -> Result<Option<ProvidedKey>, TenantKeyError> {
        if self.tried.contains(&version) {
            return Ok(None);
        }
        match self.had(self.provider.version(&self.record.id, version))? {
            Some(key) => self.try_key(key, version),
            None => Ok(None),
        }
    }

    fn try_key(
        &mut self,
        key: KeyMaterial,
        version: KeyVersion,
    ) -> Result<Option<ProvidedKey>, TenantKeyError> {
        if self.tried.contains(&version) {
            return Ok(None);
        }
        match (self.attempt)(&key.wrapping_key()) {
            Err(TenantKeyError::Zfs(error)) if error.kind() == ErrorKind::WrongKey => {
                self.tried.push(version);
                Ok(None)
            }
            outcome => outcome.map(|()| Some(ProvidedKey::new(key, version))),
        }
    }

    /// A version that is not there, or is no key, is passed over: another may be right.
    fn had<T>(&mut self, outcome: Result<T, KeyError>) -> Result<Option<T>, TenantKeyError> {
        match outcome {
            Ok(found) => Ok(Some(found)),
            Err(error)
                if matches!(
                    error.problem(),
                    KeyProblem::NotFound | KeyProblem::Malformed
                ) =>
            {
                self.missing.get_or_insert(error);
                Ok(None)
            }
            Err(error) => Err(TenantKeyError::Key {
                dataset: self.dataset.name().clone(),
                error,
            }),
        }
    }
}
