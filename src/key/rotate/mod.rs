//! Another key for a tenant.

mod change;
mod retire;

pub use change::RotationChange;

use serde::Serialize;
use zfs_core::props::UserProps;
use zfs_core::{Dataset, DatasetName, ErrorKind};

use self::retire::{Needed, old};
use super::record::{ID, NEXT, VERSION};
use super::search::{NotFound, search};
use super::{KeyError, KeyId, KeyMaterial, KeyProblem, KeyRecord, KeyStore, KeyVersion};
use super::{ProvidedKey, TenantKeyError};
use crate::gate::{Capability, Operation};
use crate::{Step, Tenant};

/// How a key is rotated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RotationOptions {
    keep_old: Option<usize>,
    adopt: bool,
}

impl RotationOptions {
    /// All old versions stay, and a key of the provider must open the dataset before.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Retires the old versions but for the newest `versions` of them.
    ///
    /// Versions that another dataset of this machine names are spared, and all are if another of the
    /// same key's name notes no version. **Replicas on other machines are not known here**: one opens
    /// with the version that its source had when it last received, so keep as many as rotations can
    /// come between two receives.
    #[must_use]
    pub fn keep_old(mut self, versions: usize) -> Self {
        self.keep_old = Some(versions);
        self
    }

    /// Rotates a dataset too that no key of the provider opens, and whose key is loaded: one whose key
    /// was a passphrase, for example, or one whose key was lost while it is loaded.
    #[must_use]
    pub fn adopt(mut self) -> Self {
        self.adopt = true;
        self
    }
}

/// A tenant with another key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Rotated {
    /// Its filesystem.
    #[serde(serialize_with = "super::text")]
    pub dataset: DatasetName,
    /// The key.
    pub id: KeyId,
    /// The version that opened it before. `None` if the provider had none that did, or the rotation
    /// that was finished had changed the key already.
    pub from: Option<KeyVersion>,
    /// The version that opens it now.
    pub to: KeyVersion,
    /// Whether a rotation was finished that had been begun before.
    pub was_pending: bool,
    /// The versions that were retired.
    pub retired: Vec<KeyVersion>,
    /// Why others were not that should have been. The next rotation tries again.
    pub not_retired: Vec<String>,
}

/// Gives a tenant a new key, or finishes that where it was begun.
///
/// 1. The dataset notes the version that is to come, `helix:key_next`.
/// 2. A new key of the kernel's randomness is stored, as that version, if no other was stored in the
///    meantime; and read back, and compared.
/// 3. ZFS wraps the dataset's own key with it. No data is encrypted anew.
/// 4. The key is read from the store once more, and the kernel is asked whether it opens the dataset.
///    If it does not, ZFS goes back to the old one.
/// 5. The dataset notes the version, `helix:key_version`, and no longer that it is to come.
/// 6. Old versions are retired, if the options say so.
///
/// At each moment the store has the key that opens the dataset: a process that dies, a store that
/// fails, or one that gives another key than it took, leaves a dataset that [`unlock`](super::unlock())
/// opens. The next call finishes what was begun, with the version that is noted. Two at once do no
/// harm: one of them fails.
///
/// What inherits the key, below the tenant, and clones of its data go along. A dataset below with a
/// key of its own does not. A replica goes along when it receives next, and not before.
///
/// # Errors
///
/// | variant | when |
/// |---|---|
/// | `Refused` | the capability does not cover [`Operation::RotateKey`] of it |
/// | `NotRoot`, `NoName` | as [`KeyRecord::of`] |
/// | `NoKeyOpens` | the provider's keys do not, and [`RotationOptions::adopt`] was not said |
/// | `Locked` | the key is not loaded. To finish a rotation that had changed it, it need not be |
/// | `Key` | the store fails, or denies; [`Conflict`](KeyProblem::Conflict) when somebody else stored a version |
/// | `ReadBack` | the store gives another key than it took |
/// | `Random` | the system has no random bytes |
/// | `Zfs` | `NotFound`, `PermissionDenied`, `ReadOnlyPool`, `PoolSuspended` |
///
/// What could not be retired is no error: [`Rotated::not_retired`].
///
/// # Privileges
///
/// Root, or the delegated permissions `change-key`, `load-key` and `userprop`.
#[doc(alias = "lzc_change_key")]
pub fn rotate(
    capability: &Capability,
    tenant: &Tenant,
    store: &dyn KeyStore,
    options: &RotationOptions,
    observe: &mut dyn FnMut(Step<'_, RotationChange>),
) -> Result<Rotated, TenantKeyError> {
    let dataset = tenant.dataset();
    capability.allow(Operation::RotateKey, dataset.name())?;
    let mut rotation = Rotation {
        capability,
        dataset,
        record: KeyRecord::of(tenant)?,
        store,
        observe,
    };
    rotation.run(options)
}

struct Rotation<'a> {
    capability: &'a Capability,
    dataset: &'a Dataset,
    record: KeyRecord,
    store: &'a dyn KeyStore,
    observe: &'a mut dyn FnMut(Step<'_, RotationChange>),
}

impl Rotation<'_> {
    fn run(&mut self, options: &RotationOptions) -> Result<Rotated, TenantKeyError> {
        let before = match self.opening()? {
            Ok(key) => Some(key),
            Err(_) if options.adopt => None,
            Err(none) => return Err(none.into_error(self.dataset, &self.record)),
        };
        let pending = self.record.pending();
        let from = before.as_ref().map(|key| key.version);
        let (from, to) = match pending {
            // It had come as far as that.
            Some(next) if from == Some(next) => (None, next),
            _ if !self.record.is_loaded => {
                return Err(TenantKeyError::Locked {
                    dataset: self.name(),
                });
            }
            _ => {
                let (version, key) = self.new_key(pending)?;
                self.change(version, &key, before.as_ref())?;
                (from, version)
            }
        };
        drop(before);
        self.note(to)?;
        let (retired, not_retired) = match options.keep_old {
            Some(keep) => self.retire(to, keep),
            None => (Vec::new(), Vec::new()),
        };
        Ok(Rotated {
            dataset: self.name(),
            id: self.record.id.clone(),
            from,
            to,
            was_pending: pending == Some(to),
            retired,
            not_retired,
        })
    }

    fn name(&self) -> DatasetName {
        self.dataset.name().clone()
    }

    fn key_error(&self, error: KeyError) -> TenantKeyError {
        TenantKeyError::Key {
            dataset: self.name(),
            error,
        }
    }

    /// The key that opens the dataset now.
    fn opening(&self) -> Result<Result<ProvidedKey, NotFound>, TenantKeyError> {
        search(self.dataset, &self.record, self.store, &mut |key| {
            Ok(self.dataset.verify_key(key)?)
        })
    }

    /// A change, of which the capability must cover each, and the observer hears.
    fn step<T>(
        &mut self,
        change: &RotationChange,
        make: impl FnOnce(&Self) -> Result<T, TenantKeyError>,
    ) -> Result<T, TenantKeyError> {
        self.capability
            .allow(Operation::RotateKey, self.dataset.name())?;
        self.step_in_any_case(change, make)
    }

    fn step_in_any_case<T>(
        &mut self,
        change: &RotationChange,
        make: impl FnOnce(&Self) -> Result<T, TenantKeyError>,
    ) -> Result<T, TenantKeyError> {
        (self.observe)(Step::Starting(change));
        let made = make(self);
        (self.observe)(match made {
            Ok(_) => Step::Done(change),
            Err(_) => Step::Failed(change),
        });
        made
    }

    /// A key that the store has, and gives back as it is.
    fn new_key(
        &mut self,
        pending: Option<KeyVersion>,
    ) -> Result<(KeyVersion, KeyMaterial), TenantKeyError> {
        if let Some(version) = pending {
            if let Some(key) = self.stored(version)? {
                self.read_back(version, &key)?;
                return Ok((version, key));
            }
        }
        let id = self.record.id.clone();
        let versions = self.store.versions(&id);
        let versions = versions.map_err(|error| self.key_error(error))?;
        let newest = versions.last().copied().unwrap_or(KeyVersion::NONE);
        let Some(version) = newest.0.checked_add(1).map(KeyVersion) else {
            let error = KeyError::new(&id, KeyProblem::Unsupported, "there is no higher version");
            return Err(self.key_error(error));
        };
        if pending != Some(version) {
            self.intend(version)?;
        }
        let key = KeyMaterial::generate().map_err(|error| TenantKeyError::Random {
            dataset: self.name(),
            error,
        })?;
        let change = RotationChange::Store { id, version };
        self.step(&change, |this| {
            let id = &this.record.id;
            let stored = this.store.store(id, newest, &key);
            match stored.map_err(|error| this.key_error(error))? {
                stored if stored == version => Ok(()),
                stored => Err(this.key_error(
                    KeyError::new(id, KeyProblem::Conflict, format!("it became {stored}"))
                        .with_version(version),
                )),
            }
        })?;
        self.read_back(version, &key)?;
        Ok((version, key))
    }

    /// A version, if the store has it and it is a key.
    fn stored(&self, version: KeyVersion) -> Result<Option<KeyMaterial>, TenantKeyError> {
        match self.store.version(&self.record.id, version) {
            Ok(key) => Ok(Some(key)),
            Err(error) => match error.problem() {
                KeyProblem::NotFound | KeyProblem::Malformed => Ok(None),
                _ => Err(self.key_error(error)),
            },
        }
    }

    fn read_back(&self, version: KeyVersion, key: &KeyMaterial) -> Result<(), TenantKeyError> {
        let back = self.store.version(&self.record.id, version);
        let back = back.map_err(|error| self.key_error(error))?;
        if back.is_same(key) {
            return Ok(());
        }
        Err(self.other_key(version))
    }

    fn other_key(&self, version: KeyVersion) -> TenantKeyError {
        TenantKeyError::ReadBack {
            dataset: self.name(),
            id: self.record.id.clone(),
            version,
        }
    }

    fn intend(&mut self, version: KeyVersion) -> Result<(), TenantKeyError> {
        let mut props = UserProps::new().set(NEXT, &version.to_string())?;
        if !self.record.is_named {
            props = props.set(ID, self.record.id.as_str())?;
        }
        let change = RotationChange::Intend {
            dataset: self.name(),
            version,
        };
        self.step(&change, |this| Ok(this.dataset.set_user(&props)?))
    }

    /// Changes the key, and has the kernel verify what the store gives for it.
    fn change(
        &mut self,
        version: KeyVersion,
        key: &KeyMaterial,
        before: Option<&ProvidedKey>,
    ) -> Result<(), TenantKeyError> {
        let change = RotationChange::ChangeKey {
            dataset: self.name(),
            version,
        };
        self.step(&change, |this| {
            Ok(this.dataset.change_key(&key.wrapping_key())?)
        })?;
        let back = match self.store.version(&self.record.id, version) {
            // It was there a moment ago; the next run asks again.
            Err(error) if error.problem() != KeyProblem::Malformed => {
                return Err(self.key_error(error));
            }
            back => back,
        };
        let outcome = match &back {
            Ok(back) => self.dataset.verify_key(&back.wrapping_key()),
            Err(_) => self.dataset.verify_key(&key.wrapping_key()),
        };
        match (outcome, back) {
            (Ok(()), Ok(_)) => return Ok(()),
            (Err(error), _) if error.kind() != ErrorKind::WrongKey => return Err(error.into()),
            _ => {}
        }
        if let Some(before) = before {
            let change = RotationChange::GoBack {
                dataset: self.name(),
                version: before.version,
            };
            // A capability that has ended by now must not leave a key that the store does not have.
            self.step_in_any_case(&change, |this| {
                Ok(this.dataset.change_key(&before.key.wrapping_key())?)
            })?;
        }
        Err(self.other_key(version))
    }

    fn note(&mut self, version: KeyVersion) -> Result<(), TenantKeyError> {
        let props = UserProps::new().set(VERSION, &version.to_string())?;
        let change = RotationChange::Note {
            dataset: self.name(),
            version,
        };
        self.step(&change, |this| {
            this.dataset.set_user(&props)?;
            // A next that is not later than the version means nothing, should this not be reached.
            Ok(this.dataset.inherit(NEXT)?)
        })
    }

    /// Which old versions were retired, and why others were not.
    fn retire(&mut self, current: KeyVersion, keep: usize) -> (Vec<KeyVersion>, Vec<String>) {
        let id = self.record.id.clone();
        let needed = Needed::elsewhere(self.dataset.zfs(), &id, self.dataset.name());
        let versions = match (needed, self.store.versions(&id)) {
            (Ok(needed), Ok(versions)) => old(versions, current, keep, &needed),
            (Err(error), _) => return (Vec::new(), vec![error.to_string()]),
            (_, Err(error)) => return (Vec::new(), vec![error.to_string()]),
        };
        let (mut retired, mut not_retired) = (Vec::new(), Vec::new());
        for version in versions {
            let change = RotationChange::Retire {
                id: id.clone(),
                version,
            };
            let outcome = self.step(&change, |this| {
                let outcome = this.store.retire(&this.record.id, version);
                outcome.map_err(|error| this.key_error(error))
            });
            match outcome {
                Ok(()) => retired.push(version),
                Err(error) => not_retired.push(error.to_string()),
            }
        }
        (retired, not_retired)
    }
}
