//! How a client gets, keeps and replaces its token.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use helix_zfs::key::vault::{Login, LoginSecret, Vault};
use helix_zfs::key::{KeyProblem, KeyProvider, KeyStore, KeyVersion};
use serde_json::{Value, json};

use crate::support::https::{Authority, Https, answer};
use crate::support::{Fault, Place, bao, id, key, poll, problem, through};

fn store_one(place: &Place<'_>, tenant: &str) {
    let keys = place.keys(&place.root());
    keys.store(&id(tenant), KeyVersion::NONE, &key(7)).unwrap();
}

fn count(seen: &[String], request: &str) -> usize {
    seen.iter().filter(|seen| *seen == request).count()
}

fn write_secret(path: &Path, secret: &str) {
    let next = path.with_extension("next");
    fs::write(&next, format!("{secret}\n")).unwrap();
    fs::set_permissions(&next, Permissions::from_mode(0o600)).unwrap();
    fs::rename(&next, path).unwrap();
}

fn app_role(role: &(String, String, String)) -> Login {
    let (mount, role_id, secret_id) = role;
    Login::app_role(role_id, LoginSecret::text(secret_id.clone())).mount(mount)
}

#[test]
fn a_token_reads_the_keys_of_its_tenant_and_no_others() {
    let place = Place::new();
    store_one(&place, "acme");
    store_one(&place, "other");
    let token = place.token("acme", json!({"no_default_policy": true}));
    let vault = place.client(Login::token(LoginSecret::text(token)));
    let keys = place.keys(&vault);
    assert!(keys.current(&id("acme")).unwrap().key.is_same(&key(7)));
    let other = id("other");
    assert_eq!(problem(keys.current(&other)), KeyProblem::Denied);
    assert_eq!(
        problem(keys.version(&other, KeyVersion(1))),
        KeyProblem::Denied
    );
    assert_eq!(problem(keys.versions(&other)), KeyProblem::Denied);
    assert_eq!(
        problem(keys.store(&other, KeyVersion(1), &key(8))),
        KeyProblem::Denied
    );
    assert_eq!(
        problem(keys.retire(&other, KeyVersion(1))),
        KeyProblem::Denied
    );
    keys.store(&id("acme"), KeyVersion(1), &key(8)).unwrap();
    keys.retire(&id("acme"), KeyVersion(1)).unwrap();
}

#[test]
fn an_app_role_logs_in_once_for_many_calls() {
    let place = Place::new();
    store_one(&place, "acme");
    let proxy = place.proxy();
    let role = place.app_role("acme", json!({}));
    let vault = through(&proxy, app_role(&role)).build().unwrap();
    let keys = place.keys(&vault);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| keys.current(&id("acme")).unwrap());
        }
    });
    let seen = proxy.take_seen();
    assert_eq!(count(&seen, &format!("POST auth/{}/login", role.0)), 1);
    assert_eq!(seen.len(), 9, "{seen:?}");
}

#[test]
fn a_login_that_is_not_accepted_is_denied() {
    let place = Place::new();
    let (mount, role_id, _) = place.app_role("acme", json!({}));
    let wrong = LoginSecret::text(String::from("c0ffee00-dead-beef-0000-000000000000"));
    for login in [
        Login::app_role(&role_id, wrong.clone()).mount(&mount),
        Login::app_role("nobody", wrong).mount(&mount),
        Login::token(LoginSecret::text(String::from("s.nonsense"))),
    ] {
        let error = place
            .keys(&place.client(login))
            .current(&id("acme"))
            .unwrap_err();
        assert_eq!(error.problem(), KeyProblem::Denied, "{error}");
        assert!(!error.to_string().contains("c0ffee00"), "{error}");
    }
}

#[test]
fn a_secret_in_a_file_is_read_at_each_login_and_must_be_ours_alone() {
    let place = Place::new();
    store_one(&place, "acme");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret-id");
    let (mount, role_id, secret_id) = place.app_role("acme", json!({"secret_id_num_uses": 1}));
    let login = Login::app_role(&role_id, LoginSecret::file(&file)).mount(&mount);
    let vault = place.client(login);
    let keys = place.keys(&vault);
    assert_eq!(problem(keys.current(&id("acme"))), KeyProblem::Io);
    write_secret(&file, &secret_id);
    for mode in [0o604, 0o640, 0o620, 0o602] {
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        assert_eq!(problem(keys.current(&id("acme"))), KeyProblem::Permissions);
    }
    fs::set_permissions(&file, Permissions::from_mode(0o400)).unwrap();
    keys.current(&id("acme")).unwrap();

    vault.log_out().unwrap();
    assert_eq!(problem(keys.current(&id("acme"))), KeyProblem::Denied);
    let role = format!("auth/{mount}/role/helix/secret-id");
    let next = place.ask("POST", &role, &json!({}));
    write_secret(&file, next["data"]["secret_id"].as_str().unwrap());
    keys.current(&id("acme")).unwrap();

    for (text, expected) in [
        (String::new(), KeyProblem::Malformed),
        (String::from("two words"), KeyProblem::Malformed),
        ("x".repeat(1 << 20), KeyProblem::Malformed),
    ] {
        vault.log_out().unwrap();
        write_secret(&file, &text);
        assert_eq!(problem(keys.current(&id("acme"))), expected);
    }
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert_eq!(problem(keys.current(&id("acme"))), KeyProblem::Permissions);
}

#[test]
fn a_token_is_renewed_before_its_lease_ends() {
    let place = Place::new();
    store_one(&place, "acme");
    let proxy = place.proxy();
    let role = place.app_role("acme", json!({"token_ttl": "9s", "token_max_ttl": "1h"}));
    let vault = through(&proxy, app_role(&role)).build().unwrap();
    let keys = place.keys(&vault);
    let login = format!("POST auth/{}/login", role.0);
    // A machine that stalls past the end of a lease sees a login instead; the next lease is another
    // chance.
    poll("a renewal", || {
        keys.current(&id("acme")).unwrap();
        let seen = proxy.take_seen();
        let renewed = count(&seen, "POST auth/token/renew-self") == 1;
        assert!(!renewed || count(&seen, &login) == 0, "{seen:?}");
        renewed.then_some(())
    });
}

#[test]
fn a_token_that_cannot_be_renewed_any_more_is_replaced() {
    let place = Place::new();
    store_one(&place, "acme");
    for options in [
        json!({"token_type": "batch", "token_ttl": "4s"}),
        json!({"token_ttl": "5s", "token_max_ttl": "6s"}),
    ] {
        let proxy = place.proxy();
        let tenant = if options["token_type"] == "batch" {
            "batch"
        } else {
            "acme"
        };
        store_or_not(&place, tenant);
        let role = place.app_role(tenant, options);
        let vault = through(&proxy, app_role(&role)).build().unwrap();
        let keys = place.keys(&vault);
        let mut logins = 0;
        poll("two more logins", || {
            keys.current(&id(tenant)).unwrap();
            let seen = proxy.take_seen();
            logins += count(&seen, &format!("POST auth/{}/login", role.0));
            (logins == 3).then_some(())
        });
    }
}

fn store_or_not(place: &Place<'_>, tenant: &str) {
    if place
        .keys(&place.root())
        .versions(&id(tenant))
        .unwrap()
        .is_empty()
    {
        store_one(place, tenant);
    }
}

#[test]
fn a_token_that_has_ended_is_denied() {
    let place = Place::new();
    store_one(&place, "acme");
    for options in [
        json!({"ttl": "2s", "renewable": false}),
        json!({"ttl": "2s", "explicit_max_ttl": "3s"}),
    ] {
        let token = place.token("acme", options);
        let keys = place.keys(&place.client(Login::token(LoginSecret::text(token))));
        let error = poll("the end of a token", || keys.current(&id("acme")).err());
        assert_eq!(error.problem(), KeyProblem::Denied, "{error}");
    }
}

#[test]
fn a_token_that_was_revoked_is_replaced_once() {
    let place = Place::new();
    store_one(&place, "acme");
    let proxy = place.proxy();
    let role = place.app_role("acme", json!({}));
    let vault = through(&proxy, app_role(&role)).build().unwrap();
    let keys = place.keys(&vault);
    keys.current(&id("acme")).unwrap();
    let revoke = format!("sys/leases/revoke-prefix/auth/{}/login", role.0);
    place.ask("PUT", &revoke, &Value::Null);
    proxy.take_seen();
    keys.current(&id("acme")).unwrap();
    let login = format!("POST auth/{}/login", role.0);
    assert_eq!(count(&proxy.take_seen(), &login), 1);
    // What the policy does not allow is no reason to log in again.
    assert_eq!(problem(keys.current(&id("other"))), KeyProblem::Denied);
    let seen = proxy.take_seen();
    assert_eq!(count(&seen, &login), 0, "{seen:?}");
    assert_eq!(seen.len(), 2, "{seen:?}");
}

#[test]
fn a_token_that_is_given_back_is_good_no_more() {
    let place = Place::new();
    store_one(&place, "acme");
    let proxy = place.proxy();
    let role = place.app_role("acme", json!({}));
    let vault = through(&proxy, app_role(&role)).build().unwrap();
    vault.log_out().unwrap();
    let keys = place.keys(&vault);
    keys.current(&id("acme")).unwrap();
    // It is the token of the client that is revoked, not another one.
    let token = Arc::new(Mutex::new(String::new()));
    let caught = Arc::clone(&token);
    proxy.set(move |seen| {
        let request = String::from_utf8(seen.bytes.clone()).unwrap();
        let header = request
            .lines()
            .find_map(|line| line.strip_prefix("X-Vault-Token: "));
        *caught.lock().unwrap() = header.unwrap().to_owned();
        Fault::None
    });
    vault.log_out().unwrap();
    let token = Login::token(LoginSecret::text(token.lock().unwrap().clone()));
    let with_it = place.keys(&place.client(token));
    assert_eq!(problem(with_it.current(&id("acme"))), KeyProblem::Denied);
    proxy.set(|_| Fault::None);
    keys.current(&id("acme")).unwrap();
    let login = format!("POST auth/{}/login", role.0);
    assert_eq!(count(&proxy.take_seen(), &login), 1);
}

#[test]
fn a_token_in_a_file_may_be_replaced() {
    let place = Place::new();
    store_one(&place, "acme");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    write_secret(&file, &place.token("acme", json!({})));
    let proxy = place.proxy();
    let vault = through(&proxy, Login::token(LoginSecret::file(&file)))
        .build()
        .unwrap();
    let keys = place.keys(&vault);
    keys.current(&id("acme")).unwrap();
    let old = fs::read_to_string(&file).unwrap();
    place.ask("POST", "auth/token/revoke", &json!({"token": old.trim()}));
    assert_eq!(problem(keys.current(&id("acme"))), KeyProblem::Denied);
    write_secret(&file, &place.token("acme", json!({})));
    keys.current(&id("acme")).unwrap();
    // A token that is not the client's own is not revoked by it.
    vault.log_out().unwrap();
    keys.current(&id("acme")).unwrap();
}

/// A service account's token, as Kubernetes makes them; nobody checks the signature but Kubernetes.
fn jwt(account: &str) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = part(json!({"alg": "RS256", "kid": "helix"}));
    let claims = part(json!({
        "aud": ["https://kubernetes.default.svc"],
        "exp": 4_102_444_800_u64,
        "iat": 1_700_000_000,
        "nbf": 1_700_000_000,
        "iss": "https://kubernetes.default.svc",
        "sub": format!("system:serviceaccount:storage:{account}"),
        "kubernetes.io": {
            "namespace": "storage",
            "serviceaccount": {"name": account, "uid": format!("uid-of-{account}")},
        },
    }));
    format!("{head}.{claims}.{}", URL_SAFE_NO_PAD.encode([7; 256]))
}

/// Kubernetes' side: the review of tokens, which knows these accounts.
fn kubernetes(authority: &Authority, accounts: &'static [&'static str]) -> Https {
    use std::io::Write;
    Https::start(authority.server("127.0.0.1"), move |seen, stream| {
        assert!(
            seen.is("POST", "/apis/authentication.k8s.io/v1/tokenreviews"),
            "{}",
            seen.path
        );
        let review: Value = serde_json::from_slice(seen.body()).unwrap();
        let token = review["spec"]["token"].as_str().unwrap();
        let account = accounts.iter().find(|account| jwt(account) == token);
        let status = match account {
            Some(account) => {
                json!({"authenticated": true, "audiences": review["spec"]["audiences"], "user": {
                    "username": format!("system:serviceaccount:storage:{account}"),
                    "uid": format!("uid-of-{account}"),
                    "groups": ["system:serviceaccounts", "system:serviceaccounts:storage"],
                }})
            }
            None => json!({"authenticated": false, "error": "no such token"}),
        };
        let answered = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status,
        });
        stream
            .write_all(&answer(201, &answered.to_string()))
            .unwrap();
    })
}

#[test]
fn a_service_account_of_kubernetes_logs_in() {
    let place = Place::new();
    store_one(&place, "acme");
    let authority = Authority::new();
    let kubernetes = kubernetes(&authority, &["helix", "stranger"]);
    let mount = format!("{}-kubernetes", place.mount);
    place.ask(
        "POST",
        &format!("sys/auth/{mount}"),
        &json!({"type": "kubernetes"}),
    );
    place.ask(
        "POST",
        &format!("auth/{mount}/config"),
        &json!({
            "kubernetes_host": kubernetes.address(),
            "kubernetes_ca_cert": authority.pem(),
            "token_reviewer_jwt": jwt("reviewer"),
            "disable_local_ca_jwt": true,
        }),
    );
    place.ask(
        "POST",
        &format!("auth/{mount}/role/storage"),
        &json!({
            "bound_service_account_names": ["helix"],
            "bound_service_account_namespaces": ["storage"],
            "audience": "https://kubernetes.default.svc",
            "token_policies": [place.policy("acme")],
        }),
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let client = |role: &str| -> Vault {
        place.client(Login::kubernetes(role).mount(&mount).jwt_file(&file))
    };

    fs::write(&file, jwt("helix")).unwrap();
    let vault = client("storage");
    let keys = place.keys(&vault);
    assert!(keys.current(&id("acme")).unwrap().key.is_same(&key(7)));
    assert_eq!(kubernetes.take_seen().len(), 1);

    let denied = |vault: &Vault, why: &str| {
        let error = place.keys(vault).current(&id("acme")).unwrap_err();
        assert_eq!(error.problem(), KeyProblem::Denied, "{why}: {error}");
        assert!(!error.to_string().contains("eyJ"), "{error}");
    };
    denied(&client("nothing"), "no such role");
    // The file is read at each login.
    vault.log_out().unwrap();
    fs::write(&file, jwt("stranger")).unwrap();
    denied(&vault, "an account without the role");
    fs::write(&file, jwt("forged")).unwrap();
    denied(&vault, "an account that Kubernetes does not know");
    fs::write(&file, jwt("helix")).unwrap();
    keys.current(&id("acme")).unwrap();
}

#[test]
fn a_namespace_has_keys_of_its_own() {
    let server = bao();
    let place = Place::new();
    let namespace = format!("{}-team", place.mount);
    place.ask("POST", &format!("sys/namespaces/{namespace}"), &json!({}));
    let mount = format!("{namespace}/sys/mounts/{}", place.mount);
    place.ask("POST", &mount, &json!({"type": "kv-v2"}));
    let client = |namespace: &str| {
        Vault::builder(server.address())
            .authority_pem(server.authority_pem())
            .login(place.root_login())
            .namespace(namespace)
            .build()
            .unwrap()
    };
    let keys = place.keys(&client(&namespace));
    // The engine prepares itself first, which the client waits for.
    poll("a store in the namespace", || {
        keys.store(&id("acme"), KeyVersion::NONE, &key(9)).ok()
    });
    assert!(keys.current(&id("acme")).unwrap().key.is_same(&key(9)));
    let outside = place.keys(&place.root());
    assert_eq!(problem(outside.current(&id("acme"))), KeyProblem::NotFound);
    let nowhere = place.keys(&client("nowhere"));
    let error = nowhere.current(&id("acme")).unwrap_err();
    assert!(
        [KeyProblem::NotFound, KeyProblem::Denied].contains(&error.problem()),
        "{error}"
    );
}
