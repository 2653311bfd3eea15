//! A store that fails in the middle of a rotation.

use super::{One, is_right, quiet};
use crate::support::may;
use helix_zfs::gate::Operation;
use helix_zfs::key::{
    FileKeys, KeyError, KeyId, KeyMaterial, KeyProblem, KeyProvider, KeyStore, KeyVersion,
    ProvidedKey, RotationOptions, TenantKeyError, rotate,
};
use std::sync::atomic::{AtomicU32, Ordering};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Nothing is answered, then or later.
    Down,
    /// It was done, and the answer is lost.
    AnswerLost,
    /// Another key is answered.
    WrongKey,
    /// Something is answered that is no key.
    Malformed,
}

/// Keys in files, behind a line that breaks at a call.
#[derive(Debug)]
struct Faulty<'a> {
    keys: &'a FileKeys,
    fault: Fault,
    at: u32,
    calls: AtomicU32,
}

impl<'a> Faulty<'a> {
    fn new(keys: &'a FileKeys, fault: Fault, at: u32) -> Self {
        let calls = AtomicU32::new(0);
        Self {
            keys,
            fault,
            at,
            calls,
        }
    }

    /// Whether it has come to the fault.
    fn came_to_it(&self) -> bool {
        self.calls.load(Ordering::Relaxed) > self.at
    }

    fn call<T>(
        &self,
        id: &KeyId,
        call: impl FnOnce() -> Result<T, KeyError>,
        wrong: impl FnOnce(T) -> T,
    ) -> Result<T, KeyError> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let error = |problem| Err(KeyError::new(id, problem, "injected"));
        match self.fault {
            Fault::Down if number >= self.at => error(KeyProblem::Unreachable),
            Fault::AnswerLost if number == self.at => {
                call()?;
                error(KeyProblem::TimedOut)
            }
            Fault::WrongKey if number == self.at => call().map(wrong),
            Fault::Malformed if number == self.at => error(KeyProblem::Malformed),
            _ => call(),
        }
    }
}

fn another(_: KeyMaterial) -> KeyMaterial {
    KeyMaterial::generate().unwrap()
}

impl KeyProvider for Faulty<'_> {
    fn current(&self, id: &KeyId) -> Result<ProvidedKey, KeyError> {
        let wrong = |current: ProvidedKey| ProvidedKey::new(another(current.key), current.version);
        self.call(id, || self.keys.current(id), wrong)
    }

    fn version(&self, id: &KeyId, version: KeyVersion) -> Result<KeyMaterial, KeyError> {
        self.call(id, || self.keys.version(id, version), another)
    }

    fn versions(&self, id: &KeyId) -> Result<Vec<KeyVersion>, KeyError> {
        self.call(id, || self.keys.versions(id), |versions| versions)
    }
}

impl KeyStore for Faulty<'_> {
    fn store(
        &self,
        id: &KeyId,
        after: KeyVersion,
        key: &KeyMaterial,
    ) -> Result<KeyVersion, KeyError> {
        self.call(id, || self.keys.store(id, after, key), |version| version)
    }

    fn retire(&self, id: &KeyId, version: KeyVersion) -> Result<(), KeyError> {
        self.call(id, || self.keys.retire(id, version), |()| ())
    }
}

/// Whatever fails whenever: the store has the key that opens the dataset, and the next rotation
/// succeeds.
fn a_store_with(fault: Fault) {
    let one = One::new("rotate-fault");
    let capability = may(Operation::RotateKey, &one.tenant);
    let options = RotationOptions::new();
    let mut failed = 0;
    for at in 0.. {
        let store = Faulty::new(&one.keys, fault, at);
        let outcome = rotate(capability, &one.tenant, &store, &options, &mut quiet);
        if let Err(error) = &outcome {
            failed += 1;
            assert!(
                error.key_error().is_some()
                    || matches!(
                        error,
                        TenantKeyError::ReadBack { .. } | TenantKeyError::NoKeyOpens { .. }
                    ),
                "{fault:?} {at}: {error}"
            );
        }
        let opens = is_right(&one.tenant, &one.keys);
        if outcome.is_err() {
            rotate(capability, &one.tenant, &one.keys, &options, &mut quiet)
                .unwrap_or_else(|error| panic!("{fault:?} {at}: {error}"));
            assert_eq!(Some(is_right(&one.tenant, &one.keys)), one.record().version);
        }
        if !store.came_to_it() {
            assert_eq!(outcome.unwrap().to, opens);
            assert_eq!(one.version(), opens);
            break;
        }
    }
    // What opens it, what is there, the answer to the new key, what is read back, and once more.
    let expected = match fault {
        Fault::Down | Fault::AnswerLost => 5,
        // What the other calls answer is no key.
        Fault::WrongKey => 3,
        // What opens it is found all the same.
        Fault::Malformed => 4,
    };
    assert!(failed >= expected, "{fault:?}: only {failed} failed");
}

#[test]
fn a_store_that_goes_down() {
    a_store_with(Fault::Down);
}

#[test]
fn a_store_whose_answers_are_lost() {
    a_store_with(Fault::AnswerLost);
}

#[test]
fn a_store_that_gives_another_key() {
    a_store_with(Fault::WrongKey);
}

#[test]
fn a_store_that_gives_no_key() {
    a_store_with(Fault::Malformed);
}
