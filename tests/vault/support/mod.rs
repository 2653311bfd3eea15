//! A server for all tests, and a place of its own in it for each.

pub(crate) mod https;
pub(crate) mod proxy;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use helix_zfs::key::vault::{Login, LoginSecret, Vault, VaultBuilder, VaultKeys, VaultTransit};
use helix_zfs::key::{KeyError, KeyId, KeyMaterial, KeyProblem};
use serde_json::{Value, json};
use servers::{Bao, BaoOptions};

pub(crate) use proxy::{Fault, Proxy, Upstream};

/// The server that the tests share which do it no harm. It ends with this process.
pub(crate) fn bao() -> &'static Bao {
    static BAO: OnceLock<Bao> = OnceLock::new();
    BAO.get_or_init(|| Bao::start(&BaoOptions::default()).unwrap())
}

pub(crate) fn id(name: &str) -> KeyId {
    KeyId::new(name).unwrap()
}

pub(crate) fn key(byte: u8) -> KeyMaterial {
    KeyMaterial::from_bytes(&[byte; 32]).unwrap()
}

pub(crate) fn problem<T: std::fmt::Debug>(outcome: Result<T, KeyError>) -> KeyProblem {
    outcome.unwrap_err().problem()
}

/// Waits for what happens some time.
pub(crate) fn poll<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Engines of a test's own in a server, with a policy and a role for each tenant.
pub(crate) struct Place<'a> {
    pub(crate) bao: &'a Bao,
    pub(crate) mount: String,
}

impl<'a> Place<'a> {
    /// In the server that is shared.
    pub(crate) fn new() -> Place<'static> {
        Place::at(bao())
    }

    /// A KV engine and a Transit engine with a key.
    pub(crate) fn at(bao: &'a Bao) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let place = Self {
            bao,
            mount: format!("place{number}"),
        };
        let kv = place.mount.clone();
        place.ask(
            "POST",
            &format!("sys/mounts/{kv}"),
            &json!({"type": "kv-v2"}),
        );
        let transit = place.transit_mount();
        place.ask(
            "POST",
            &format!("sys/mounts/{transit}"),
            &json!({"type": "transit"}),
        );
        place.ask("POST", &format!("{transit}/keys/helix"), &json!({}));
        // A new KV engine prepares itself first.
        poll("a KV engine", || {
            let (status, _) = bao
                .request("GET", &format!("{kv}/config"), &Value::Null)
                .unwrap();
            (status == 200).then_some(())
        });
        place
    }

    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        self.bao.ask(method, path, body).unwrap()
    }

    pub(crate) fn transit_mount(&self) -> String {
        format!("{}-transit", self.mount)
    }

    /// A policy that lets its holder keep the keys of this name, and no other.
    pub(crate) fn policy(&self, tenant: &str) -> String {
        let (kv, transit) = (&self.mount, self.transit_mount());
        let name = format!("{kv}-{tenant}");
        let rules = format!(
            r#"
            path "{kv}/data/helix/{tenant}" {{ capabilities = ["create", "update", "read"] }}
            path "{kv}/metadata/helix/{tenant}" {{ capabilities = ["read"] }}
            path "{kv}/destroy/helix/{tenant}" {{ capabilities = ["update"] }}
            path "{kv}/config" {{ capabilities = ["read"] }}
            path "{transit}/encrypt/helix" {{ capabilities = ["update"] }}
            path "{transit}/decrypt/helix" {{ capabilities = ["update"] }}
            "#
        );
        self.ask(
            "PUT",
            &format!("sys/policies/acl/{name}"),
            &json!({"policy": rules}),
        );
        name
    }

    /// A token with a tenant's policy.
    pub(crate) fn token(&self, tenant: &str, options: Value) -> String {
        let mut body = json!({"policies": [self.policy(tenant)], "no_parent": true});
        for (name, value) in options.as_object().unwrap() {
            body[name] = value.clone();
        }
        let made = self.ask("POST", "auth/token/create", &body);
        made["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    /// An AppRole with a tenant's policy, at a mount of its own: the login.
    pub(crate) fn app_role(&self, tenant: &str, options: Value) -> (String, String, String) {
        let mount = format!("{}-{tenant}-role", self.mount);
        self.ask(
            "POST",
            &format!("sys/auth/{mount}"),
            &json!({"type": "approle"}),
        );
        let mut body = json!({"token_policies": [self.policy(tenant)]});
        for (name, value) in options.as_object().unwrap() {
            body[name] = value.clone();
        }
        let role = format!("auth/{mount}/role/helix");
        self.ask("POST", &role, &body);
        let text = |answer: Value, name: &str| answer["data"][name].as_str().unwrap().to_owned();
        let role_id = text(
            self.ask("GET", &format!("{role}/role-id"), &Value::Null),
            "role_id",
        );
        let secret_id = text(
            self.ask("POST", &format!("{role}/secret-id"), &json!({})),
            "secret_id",
        );
        (mount, role_id, secret_id)
    }

    /// A client of the server.
    pub(crate) fn client(&self, login: Login) -> Vault {
        patient(Vault::builder(self.bao.address()))
            .authority_pem(self.bao.authority_pem())
            .login(login)
            .build()
            .unwrap()
    }

    /// A client with the root token.
    pub(crate) fn root(&self) -> Vault {
        self.client(self.root_login())
    }

    pub(crate) fn root_login(&self) -> Login {
        Login::token(LoginSecret::text(self.bao.root_token().to_owned()))
    }

    pub(crate) fn proxy(&self) -> Proxy {
        Proxy::before(Upstream::new(&self.bao.address(), self.bao.authority_pem()))
    }

    /// A client that speaks to the proxy, with the root token.
    pub(crate) fn through(&self, proxy: &Proxy) -> VaultBuilder {
        through(proxy, self.root_login())
    }

    pub(crate) fn keys(&self, vault: &Vault) -> VaultKeys {
        VaultKeys::new(vault, &self.mount, "helix/{key}").unwrap()
    }

    pub(crate) fn transit(&self, vault: &Vault) -> VaultTransit {
        let transit = self.transit_mount();
        VaultTransit::new(vault, &transit, "helix", &self.mount, "wrapped/{key}").unwrap()
    }
}

pub(crate) fn through(proxy: &Proxy, login: Login) -> VaultBuilder {
    patient(Vault::builder(proxy.address()))
        .authority_pem(proxy.authority_pem())
        .login(login)
}

/// With limits that a busy machine does not reach.
fn patient(builder: VaultBuilder) -> VaultBuilder {
    builder
        .connect_timeout(Duration::from_secs(60))
        .request_timeout(Duration::from_secs(60))
        .call_timeout(Duration::from_secs(120))
}
