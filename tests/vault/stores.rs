//! What both kinds of stores have to do, against the engines themselves.

use helix_zfs::key::vault::{VaultKeys, VaultTransit};
use helix_zfs::key::{KeyMaterial, KeyProblem, KeyProvider, KeyStore, KeyVersion};
use serde_json::{Value, json};

use crate::support::{Place, id, key, problem};

/// Runs `test` with each kind of store, and the path of what it has of `acme` below the engine.
fn with_each(test: impl Fn(&Place<'_>, &dyn KeyStore, &str)) {
    let place = Place::new();
    let vault = place.root();
    test(&place, &place.keys(&vault), "helix/acme");
    test(&place, &place.transit(&vault), "wrapped/acme");
}

fn kv(place: &Place<'_>, what: &str, path: &str) -> String {
    format!("{}/{what}/{path}", place.mount)
}

#[test]
fn what_is_stored_is_there() {
    with_each(|_, keys, _| {
        let acme = id("acme");
        assert_eq!(problem(keys.current(&acme)), KeyProblem::NotFound);
        assert_eq!(
            problem(keys.version(&acme, KeyVersion(1))),
            KeyProblem::NotFound
        );
        assert_eq!(keys.versions(&acme).unwrap(), []);
        keys.retire(&acme, KeyVersion(1)).unwrap();
        let made: Vec<KeyMaterial> = (0..3).map(|_| KeyMaterial::generate().unwrap()).collect();
        for (after, key) in made.iter().enumerate() {
            let stored = keys.store(&acme, KeyVersion(after as u64), key).unwrap();
            assert_eq!(stored, KeyVersion(after as u64 + 1));
            let current = keys.current(&acme).unwrap();
            assert_eq!(current.version, stored);
            assert!(current.key.is_same(key));
        }
        for (before, key) in made.iter().enumerate() {
            let version = KeyVersion(before as u64 + 1);
            assert!(keys.version(&acme, version).unwrap().is_same(key));
        }
        let versions: Vec<KeyVersion> = (1..=3).map(KeyVersion).collect();
        assert_eq!(keys.versions(&acme).unwrap(), versions);
        for absent in [0, 4, u64::MAX] {
            let error = keys.version(&acme, KeyVersion(absent)).unwrap_err();
            assert_ne!(error.problem(), KeyProblem::Malformed, "{error}");
            assert_eq!(error.version(), Some(KeyVersion(absent)));
        }
        assert_eq!(
            problem(keys.version(&acme, KeyVersion::NONE)),
            KeyProblem::NotFound
        );
        assert_eq!(problem(keys.current(&id("other"))), KeyProblem::NotFound);
    });
}

#[test]
fn only_what_follows_the_newest_is_stored() {
    with_each(|_, keys, _| {
        let acme = id("acme");
        assert_eq!(
            problem(keys.store(&acme, KeyVersion(1), &key(1))),
            KeyProblem::Conflict
        );
        keys.store(&acme, KeyVersion::NONE, &key(1)).unwrap();
        for after in [0, 2, u64::MAX] {
            let stored = keys.store(&acme, KeyVersion(after), &key(2));
            assert_eq!(problem(stored), KeyProblem::Conflict);
        }
        assert_eq!(keys.versions(&acme).unwrap(), [KeyVersion(1)]);
        let stored: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..6)
                .map(|number| {
                    let acme = &acme;
                    scope.spawn(
                        move || match keys.store(acme, KeyVersion(1), &key(number)) {
                            Ok(version) => {
                                assert_eq!(version, KeyVersion(2));
                                1
                            }
                            Err(error) => {
                                assert_eq!(error.problem(), KeyProblem::Conflict, "{error}");
                                0
                            }
                        },
                    )
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(stored, 1);
        assert_eq!(keys.versions(&acme).unwrap().len(), 2);
    });
}

#[test]
fn a_retired_version_is_gone_for_good() {
    with_each(|place, keys, path| {
        let acme = id("acme");
        for after in 0..3_u8 {
            keys.store(&acme, KeyVersion(after.into()), &key(after))
                .unwrap();
        }
        assert_eq!(
            problem(keys.retire(&acme, KeyVersion(3))),
            KeyProblem::Conflict
        );
        for _ in 0..2 {
            keys.retire(&acme, KeyVersion(1)).unwrap();
            assert_eq!(
                problem(keys.version(&acme, KeyVersion(1))),
                KeyProblem::NotFound
            );
            assert_eq!(
                keys.versions(&acme).unwrap(),
                [KeyVersion(2), KeyVersion(3)]
            );
        }
        // Not even the server can bring it back.
        place.ask(
            "POST",
            &kv(place, "undelete", path),
            &json!({"versions": [1]}),
        );
        assert_eq!(
            problem(keys.version(&acme, KeyVersion(1))),
            KeyProblem::NotFound
        );
        // One that was deleted by hand could come back, until it is retired.
        place.ask(
            "POST",
            &kv(place, "delete", path),
            &json!({"versions": [2]}),
        );
        keys.retire(&acme, KeyVersion(2)).unwrap();
        place.ask(
            "POST",
            &kv(place, "undelete", path),
            &json!({"versions": [2]}),
        );
        assert_eq!(
            problem(keys.version(&acme, KeyVersion(2))),
            KeyProblem::NotFound
        );
        assert_eq!(
            keys.store(&acme, KeyVersion(3), &key(4)).unwrap(),
            KeyVersion(4)
        );
    });
}

#[test]
fn when_the_newest_was_deleted_by_hand_the_one_before_is_current() {
    with_each(|place, keys, path| {
        let acme = id("acme");
        for after in 0..3_u8 {
            keys.store(&acme, KeyVersion(after.into()), &key(after))
                .unwrap();
        }
        place.ask(
            "POST",
            &kv(place, "delete", path),
            &json!({"versions": [2, 3]}),
        );
        let current = keys.current(&acme).unwrap();
        assert_eq!(current.version, KeyVersion(1));
        assert!(current.key.is_same(&key(0)));
        assert_eq!(
            problem(keys.retire(&acme, KeyVersion(1))),
            KeyProblem::Conflict
        );
        assert_eq!(
            problem(keys.store(&acme, KeyVersion(3), &key(9))),
            KeyProblem::Conflict
        );
        // A number is never used again.
        assert_eq!(
            keys.store(&acme, KeyVersion(1), &key(9)).unwrap(),
            KeyVersion(4)
        );

        place.ask(
            "PUT",
            &kv(place, "destroy", path),
            &json!({"versions": [1, 2, 3, 4]}),
        );
        let error = keys.current(&acme).unwrap_err();
        assert_eq!(error.problem(), KeyProblem::NotFound, "{error}");
        assert_eq!(
            problem(keys.store(&acme, KeyVersion::NONE, &key(9))),
            KeyProblem::Conflict
        );
    });
}

#[test]
fn a_key_that_would_vanish_is_not_stored() {
    with_each(|place, keys, path| {
        let acme = id("acme");
        let engine = format!("{}/config", place.mount);
        let refused = |after| {
            let error = keys.store(&acme, KeyVersion(after), &key(5)).unwrap_err();
            assert_eq!(error.problem(), KeyProblem::Unsupported, "{error}");
        };
        place.ask("POST", &engine, &json!({"delete_version_after": "768h"}));
        refused(0);
        place.ask("POST", &engine, &json!({"delete_version_after": "0s"}));
        keys.store(&acme, KeyVersion::NONE, &key(1)).unwrap();

        place.ask("POST", &engine, &json!({"max_versions": 1}));
        refused(1);
        // The engine takes the larger of its own and the secret's.
        place.ask(
            "POST",
            &kv(place, "metadata", path),
            &json!({"max_versions": 2}),
        );
        keys.store(&acme, KeyVersion(1), &key(2)).unwrap();
        assert!(keys.version(&acme, KeyVersion(1)).unwrap().is_same(&key(1)));
        place.ask(
            "POST",
            &kv(place, "metadata", path),
            &json!({"delete_version_after": "1h"}),
        );
        refused(2);
        place.ask(
            "POST",
            &kv(place, "metadata", path),
            &json!({"delete_version_after": "0s"}),
        );
        // The third would be one too many, until the first is retired.
        refused(2);
        assert_eq!(
            keys.versions(&acme).unwrap(),
            [KeyVersion(1), KeyVersion(2)]
        );
        keys.retire(&acme, KeyVersion(1)).unwrap();
        keys.store(&acme, KeyVersion(2), &key(3)).unwrap();
        assert!(keys.version(&acme, KeyVersion(2)).unwrap().is_same(&key(2)));
        place.ask("POST", &engine, &json!({"max_versions": 0}));
    });
}

#[test]
fn what_is_no_key_is_malformed() {
    with_each(|place, keys, path| {
        let acme = id("acme");
        for data in [
            json!({}),
            json!({"password": "hunter2-hunter2"}),
            json!({"key": "", "ciphertext": ""}),
            json!({"key": "aHVudGVyMg==", "ciphertext": "vault:v1:aHVudGVyMg=="}),
            json!({"key": "hunter2-hunter2", "ciphertext": "hunter2-hunter2"}),
            json!({"key": 17, "ciphertext": 17}),
            json!({"key": ["hunter2"], "ciphertext": {"a": "hunter2"}}),
            json!({"key": null, "ciphertext": null}),
            json!({"key": "x".repeat(200_000), "ciphertext": "x".repeat(200_000)}),
            json!({"key": "x".repeat(400_000), "ciphertext": "x".repeat(400_000)}),
        ] {
            place.ask("POST", &kv(place, "data", path), &json!({"data": data}));
            let error = keys.current(&acme).unwrap_err();
            assert_eq!(error.problem(), KeyProblem::Malformed, "{error}");
            let text = format!("{error} {error:?}");
            assert!(
                !text.contains("hunter2") && !text.contains("aHVudGVy"),
                "{text}"
            );
        }
    });
}

#[test]
fn a_key_that_was_written_by_hand_is_read() {
    let place = Place::new();
    let keys = place.keys(&place.root());
    let digits = json!({"data": {"key": "A5".repeat(32), "note": "made by openssl"}});
    place.ask("POST", &kv(&place, "data", "helix/acme"), &digits);
    assert!(keys.current(&id("acme")).unwrap().key.is_same(&key(0xa5)));
}

#[test]
fn an_engine_that_is_not_there_is_not_a_key_that_is_not_there() {
    let place = Place::new();
    let vault = place.root();
    let keys = VaultKeys::new(&vault, "nothing-is-here", "helix/{key}").unwrap();
    let acme = id("acme");
    assert_eq!(problem(keys.current(&acme)), KeyProblem::NotFound);
    assert_eq!(problem(keys.versions(&acme)), KeyProblem::NotFound);
    assert_eq!(
        problem(keys.store(&acme, KeyVersion::NONE, &key(1))),
        KeyProblem::NotFound
    );
    let transit = place.transit_mount();
    let absent = VaultTransit::new(&vault, &transit, "absent", &place.mount, "wrapped/{key}");
    let wrapped = place.transit(&vault);
    wrapped.store(&acme, KeyVersion::NONE, &key(1)).unwrap();
    let error = absent.unwrap().current(&acme).unwrap_err();
    assert_eq!(error.problem(), KeyProblem::NotFound, "{error}");
}

#[test]
fn what_transit_wraps_is_of_no_use_without_it() {
    let place = Place::new();
    let vault = place.root();
    let keys = place.transit(&vault);
    let (acme, other) = (id("acme"), id("other"));
    keys.store(&acme, KeyVersion::NONE, &key(0x5a)).unwrap();
    keys.store(&other, KeyVersion::NONE, &key(0x77)).unwrap();
    let read = |name: &str| {
        place.ask(
            "GET",
            &kv(&place, "data", &format!("wrapped/{name}")),
            &Value::Null,
        )
    };
    let kept = read("acme")["data"]["data"].clone();
    assert_eq!(kept.as_object().unwrap().len(), 1);
    assert!(
        kept["ciphertext"]
            .as_str()
            .unwrap()
            .starts_with("vault:v1:")
    );
    assert!(!kept.to_string().contains("WlpaWlpa"));

    // One tenant's in the place of another's is not opened.
    place.ask(
        "POST",
        &kv(&place, "data", "wrapped/other"),
        &json!({"data": kept}),
    );
    assert_eq!(problem(keys.current(&other)), KeyProblem::Malformed);
    assert!(
        keys.version(&other, KeyVersion(1))
            .unwrap()
            .is_same(&key(0x77))
    );

    // A new Transit key opens what the old one wrapped, until that is not allowed any more.
    let transit = place.transit_mount();
    place.ask("POST", &format!("{transit}/keys/helix/rotate"), &json!({}));
    assert!(keys.current(&acme).unwrap().key.is_same(&key(0x5a)));
    keys.store(&acme, KeyVersion(1), &key(0x5b)).unwrap();
    assert!(keys.current(&acme).unwrap().key.is_same(&key(0x5b)));
    let config = format!("{transit}/keys/helix/config");
    place.ask("POST", &config, &json!({"min_decryption_version": 2}));
    assert!(keys.current(&acme).unwrap().key.is_same(&key(0x5b)));
    assert_eq!(
        problem(keys.version(&acme, KeyVersion(1))),
        KeyProblem::Denied
    );
}

#[test]
fn each_tenant_has_a_place_of_its_own() {
    let place = Place::new();
    let vault = place.root();
    for (mount, path) in [
        ("secret", "helix"),
        ("", "{key}"),
        ("secret", "../{key}"),
        ("secret", "{key}?version=1"),
        ("secret/", "{key}"),
    ] {
        let error = VaultKeys::new(&vault, mount, path).unwrap_err();
        assert_eq!(error.problem(), KeyProblem::Unsupported, "{error}");
    }
    let per_mount = VaultKeys::new(&vault, "{key}", "zfs").unwrap();
    let acme = id(&place.mount);
    per_mount.store(&acme, KeyVersion::NONE, &key(3)).unwrap();
    place.ask("GET", &kv(&place, "data", "zfs"), &Value::Null);
    assert!(per_mount.current(&acme).unwrap().key.is_same(&key(3)));
}
