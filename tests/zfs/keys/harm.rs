//! A server that does harm, or has it done to it on the way, whenever it is asked.

use super::vault::Server;
use super::vault::proxy::{Fault, Proxy};
use super::{name, opens, quiet, tenant};
use crate::support::{Scratch, may};
use helix_zfs::Tenant;
use helix_zfs::gate::Operation;
use helix_zfs::key::vault::Vault;
use helix_zfs::key::{
    KeyError, KeyProblem, KeyRecord, KeyStore, ParkOptions, RotationOptions, TenantKeyError,
    park_all, rotate, unlock_all,
};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn through(server: &Server, proxy: &Proxy) -> Vault {
    let builder = Vault::builder(proxy.address()).attempts(1);
    server.client(builder, proxy.authority_pem())
}

#[test]
fn what_keeps_a_key_from_coming_is_typed_and_unlocks_nobody() {
    let server = Server::new();
    let scratch = Scratch::new("bao-harm");
    let direct = server.keys(&server.vault());
    let tenants: Vec<Tenant> = (0..2)
        .map(|_| tenant(&scratch, &name("harm"), &direct))
        .collect();
    let parked = park_all(
        may(Operation::UnloadKey, &*scratch),
        &tenants,
        &ParkOptions::new(),
        2,
    );
    for (_, parked) in parked {
        parked.unwrap();
    }
    let proxy = Proxy::before(server.upstream());
    let provider = server.keys(&through(&server, &proxy));
    let harmed = tenants[0].dataset().name().base().to_owned();
    let answer = |status, body: &str| Fault::Answer(status, body.to_owned());
    let forged = json!({"data": {"data": {"key": "77".repeat(32)}, "metadata": {"version": 1}}});
    for (fault, expected) in [
        (
            answer(503, r#"{"errors":["Vault is sealed"]}"#),
            Some(KeyProblem::Sealed),
        ),
        (
            answer(403, r#"{"errors":["permission denied"]}"#),
            Some(KeyProblem::Denied),
        ),
        (Fault::Drop, Some(KeyProblem::Unreachable)),
        (Fault::Cut(150), Some(KeyProblem::Unreachable)),
        (answer(200, "{}"), Some(KeyProblem::Malformed)),
        // The kernel knows that it is another key.
        (answer(200, &forged.to_string()), None),
    ] {
        let (name, what) = (harmed.clone(), format!("{fault:?}"));
        proxy.set(
            move |seen| match seen.path.contains("/data/") && seen.path.contains(&name) {
                true => fault.clone(),
                false => Fault::None,
            },
        );
        let unlocked = unlock_all(may(Operation::LoadKey, &*scratch), &tenants, &provider, 2);
        let error = unlocked[0].1.as_ref().unwrap_err();
        let problem = error.key_error().map(KeyError::problem);
        assert_eq!(problem, expected, "{what}: {error}");
        assert!(!tenants[0].is_unlocked().unwrap());
        unlocked[1].1.as_ref().unwrap();
    }
    proxy.set(|_| Fault::None);
    for (_, outcome) in unlock_all(may(Operation::LoadKey, &*scratch), &tenants, &provider, 2) {
        outcome.unwrap();
    }
}

/// What the server, or the way to it, does at a request of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Harm {
    /// It is down from then on.
    Down,
    /// It gives another key, loses the answer to a store, or answers nonsense, as the request is.
    Lies,
}

impl Harm {
    /// From now on this is done to the request of this number; how many have come.
    fn set(self, proxy: &Proxy, at: usize) -> Arc<AtomicUsize> {
        let come = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&come);
        proxy.set(move |seen| {
            let number = counter.fetch_add(1, Ordering::SeqCst);
            match self {
                Self::Down if number >= at => Fault::Drop,
                Self::Lies if number == at => match seen.path.split_once("?version=") {
                    Some((_, version)) => Fault::Answer(200, another_key(version)),
                    None if seen.method == "POST" => Fault::LoseAnswer,
                    None => Fault::Answer(200, String::from("{}")),
                },
                _ => Fault::None,
            }
        });
        come
    }
}

fn another_key(version: &str) -> String {
    let version: u64 = version.parse().unwrap();
    let data = json!({"key": "77".repeat(32)});
    json!({"data": {"data": data, "metadata": {"version": version}}}).to_string()
}

/// Whatever happens at whichever request: the dataset opens with a key that the server has, and the
/// next rotation succeeds.
fn a_rotation_with(harm: Harm, store: fn(&Server, &Vault) -> Box<dyn KeyStore>) {
    let server = Server::new();
    let config = format!("{}/config", server.mount);
    server.ask("POST", &config, &json!({"max_versions": 100}));
    let scratch = Scratch::new("bao-rotate");
    let direct = store(&server, &server.vault());
    let tenant = tenant(&scratch, &name("rotate"), &*direct);
    let proxy = Proxy::before(server.upstream());
    let capability = may(Operation::RotateKey, &tenant);
    let options = RotationOptions::new();
    let mut failed = 0;
    for at in 0.. {
        let come = harm.set(&proxy, at);
        let harmed = store(&server, &through(&server, &proxy));
        let outcome = rotate(capability, &tenant, &*harmed, &options, &mut quiet);
        let version = opens(&tenant, &*direct);
        let rotated = match outcome {
            Ok(rotated) => rotated,
            Err(error) => {
                failed += 1;
                assert!(
                    error.key_error().is_some()
                        || matches!(
                            error,
                            TenantKeyError::ReadBack { .. } | TenantKeyError::NoKeyOpens { .. }
                        ),
                    "{harm:?} {at}: {error}"
                );
                rotate(capability, &tenant, &*direct, &options, &mut quiet)
                    .unwrap_or_else(|error| panic!("{harm:?} {at}: {error}"))
            }
        };
        assert!(rotated.to >= version, "{harm:?} {at}");
        let record = KeyRecord::of(&tenant).unwrap();
        assert_eq!(record.version, Some(rotated.to));
        assert_eq!(record.pending(), None);
        if come.load(Ordering::SeqCst) <= at {
            break;
        }
    }
    assert!(failed >= 5, "{harm:?}: only {failed} failed");
    opens(&tenant, &*direct);
}

#[test]
fn a_rotation_while_the_server_goes_down() {
    a_rotation_with(Harm::Down, |server, vault| Box::new(server.transit(vault)));
}

#[test]
fn a_rotation_while_the_server_lies() {
    a_rotation_with(Harm::Lies, |server, vault| Box::new(server.keys(vault)));
}
