//! Keys in a real OpenBao server, for real datasets.

// The proxy that does harm, of the tests that need no ZFS.
#[allow(dead_code, reason = "those need more of it")]
#[path = "../../vault/support/https.rs"]
mod https;
#[allow(dead_code, reason = "those need more of it")]
#[path = "../../vault/support/proxy.rs"]
pub(super) mod proxy;

use super::{is_right, name, opens, quiet, tenant};
use crate::support::may;
use crate::support::{Scratch, unique, zfs_get};
use helix_zfs::Tenant;
use helix_zfs::gate::Operation;
use helix_zfs::key::vault::{Login, LoginSecret, Vault, VaultBuilder, VaultKeys, VaultTransit};
use helix_zfs::key::{
    KeyError, KeyMaterial, KeyProblem, KeyStore, KeyVersion, ParkOptions, Rotated, RotationOptions,
    TenantKeyError, park_all, rotate, unlock_all,
};
use proxy::{Fault, Proxy, Upstream};
use serde_json::{Value, json};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The server that the guest can reach, with engines of a test's own.
pub(super) struct Server {
    address: String,
    authority: String,
    token: String,
    pub(super) mount: String,
}

impl Server {
    pub(super) fn new() -> Self {
        let server = Self::with_mount(&format!("guest{}-{}", std::process::id(), unique()));
        let (kv, transit) = (&server.mount, server.transit_mount());
        let mount = |at: &str, kind| {
            let body = json!({ "type": kind });
            assert_eq!(server.ask("POST", &format!("sys/mounts/{at}"), &body), 204);
        };
        mount(kv, "kv-v2");
        mount(&transit, "transit");
        server.ask("POST", &format!("{transit}/keys/helix"), &json!({}));
        // A new engine prepares itself first.
        while server.ask("GET", &format!("{kv}/config"), &Value::Null) != 200 {
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// The one whose engines another process made.
    pub(super) fn with_mount(mount: &str) -> Self {
        let variable = |name| {
            std::env::var(name).unwrap_or_else(|_| {
                panic!("{name} is set where there is a server: cargo xtask test, or vm --bao")
            })
        };
        Self {
            address: variable("HELIX_BAO_ADDRESS"),
            authority: std::fs::read_to_string(variable("HELIX_BAO_AUTHORITY")).unwrap(),
            token: variable("HELIX_BAO_TOKEN"),
            mount: mount.to_owned(),
        }
    }

    /// How `helixctl` is told of [`keys`](Self::keys); its token is put into `folder`.
    pub(super) fn arguments(&self, folder: &Path) -> Vec<String> {
        let token = folder.join("token");
        std::fs::write(&token, &self.token).unwrap();
        std::fs::set_permissions(&token, Permissions::from_mode(0o600)).unwrap();
        let authority = std::env::var("HELIX_BAO_AUTHORITY").unwrap();
        vec![
            format!("--vault={}", self.address),
            format!("--vault-authority={authority}"),
            format!("--vault-token-file={}", token.display()),
            format!("--vault-mount={}", self.mount),
            String::from("--vault-path=helix/{key}"),
        ]
    }

    /// And of [`transit`](Self::transit).
    pub(super) fn transit_arguments(&self, folder: &Path) -> Vec<String> {
        let mut arguments = self.arguments(folder);
        arguments.pop();
        arguments.push(String::from("--vault-path=wrapped/{key}"));
        arguments.push(format!("--vault-transit={}/helix", self.transit_mount()));
        arguments
    }

    fn transit_mount(&self) -> String {
        format!("{}-transit", self.mount)
    }

    pub(super) fn upstream(&self) -> Upstream {
        Upstream::new(&self.address, &self.authority)
    }

    /// The status of the answer.
    pub(super) fn ask(&self, method: &str, path: &str, body: &Value) -> u16 {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let request = format!(
            "{method} /v1/{path} HTTP/1.1\r\nHost: bao\r\nX-Vault-Token: {}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.token,
            body.len()
        );
        let answer = self.upstream().ask(request.as_bytes()).unwrap();
        let status = String::from_utf8_lossy(&answer[..12]).into_owned();
        status.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub(super) fn client(&self, builder: VaultBuilder, authority: &str) -> Vault {
        builder
            .authority_pem(authority)
            .login(Login::token(LoginSecret::text(self.token.clone())))
            // Longer than a busy guest takes.
            .connect_timeout(Duration::from_secs(60))
            .request_timeout(Duration::from_secs(60))
            .call_timeout(Duration::from_secs(120))
            .build()
            .unwrap()
    }

    pub(super) fn vault(&self) -> Vault {
        self.client(Vault::builder(&*self.address), &self.authority)
    }

    pub(super) fn transit(&self, vault: &Vault) -> VaultTransit {
        let mount = self.transit_mount();
        VaultTransit::new(vault, &mount, "helix", &self.mount, "wrapped/{key}").unwrap()
    }

    pub(super) fn keys(&self, vault: &Vault) -> VaultKeys {
        VaultKeys::new(vault, &self.mount, "helix/{key}").unwrap()
    }
}

#[test]
fn many_tenants_are_unlocked_and_parked_with_keys_of_a_server() {
    let server = Server::new();
    let vault = server.vault();
    let scratch = Scratch::new("bao-many");
    let kv = server.keys(&vault);
    let transit = server.transit(&vault);
    let stores: [&dyn KeyStore; 2] = [&kv, &transit];
    for keys in stores {
        let tenants: Vec<Tenant> = (0..3)
            .map(|_| tenant(&scratch, &name("bao"), keys))
            .collect();
        let capability = may(Operation::UnloadKey, &*scratch);
        for (_, parked) in park_all(capability, &tenants, &ParkOptions::new(), 3) {
            parked.unwrap();
        }
        // One is gone from the server.
        let missing = tenants[1].dataset().name().base();
        for path in ["helix", "wrapped"] {
            let path = format!("{}/metadata/{path}/{missing}", server.mount);
            server.ask("DELETE", &path, &Value::Null);
        }
        let unlocked = unlock_all(may(Operation::LoadKey, &*scratch), &tenants, keys, 3);
        for (at, (tenant, outcome)) in unlocked.iter().enumerate() {
            assert_eq!(tenant.is_unlocked().unwrap(), at != 1);
            let problem = outcome.as_ref().err().and_then(TenantKeyError::key_error);
            let expected = (at == 1).then_some(KeyProblem::NotFound);
            assert_eq!(problem.map(KeyError::problem), expected, "{outcome:?}");
        }

        let tenant = &tenants[0];
        let capability = may(Operation::RotateKey, tenant);
        let options = RotationOptions::new().keep_old(1);
        let rotated = rotate(capability, tenant, keys, &options, &mut quiet).unwrap();
        assert_eq!(rotated.to, KeyVersion(2));
        assert_eq!(opens(tenant, keys), KeyVersion(2));
    }
}

#[test]
fn a_server_that_fails_in_the_middle_of_a_rotation_has_the_key_all_the_same() {
    let server = Server::new();
    let direct = server.keys(&server.vault());
    let scratch = Scratch::new("bao-fails");
    let name = name("bao-fails");
    let tenant = tenant(&scratch, &name, &direct);
    let proxy = Proxy::before(server.upstream());
    let vault = server.client(
        Vault::builder(proxy.address()).attempts(1),
        proxy.authority_pem(),
    );
    let through = server.keys(&vault);
    let capability = may(Operation::RotateKey, &tenant);
    let options = RotationOptions::new();
    let mut version = 1;
    let mut fails = |nth: u32, method: &'static str, wanted: String, fault: Fault| {
        let seen = AtomicU32::new(0);
        proxy.set(move |request| {
            let is_it = request.method == method
                && request.path.contains(&wanted)
                && seen.fetch_add(1, Ordering::Relaxed) >= nth;
            if is_it { fault.clone() } else { Fault::None }
        });
        let outcome = rotate(capability, &tenant, &through, &options, &mut quiet);
        // Whatever it was: the server has the key, and the next run comes to its end.
        is_right(&tenant, &direct);
        let rotated = rotate(capability, &tenant, &direct, &options, &mut quiet).unwrap();
        assert_eq!(is_right(&tenant, &direct), rotated.to);
        version = rotated.to.0;
        (outcome, version)
    };
    let problem = |outcome: &Result<Rotated, TenantKeyError>| {
        let error = outcome.as_ref().unwrap_err().key_error();
        error.map(KeyError::problem)
    };
    let of = |version: u64| format!("version={version}");

    let sealed = Fault::Answer(503, r#"{"errors":["Vault is sealed"]}"#.to_owned());
    let (outcome, _) = fails(0, "GET", name.clone(), sealed);
    assert_eq!(problem(&outcome), Some(KeyProblem::Sealed));

    // The store asks whether it was stored.
    let (outcome, version) = fails(0, "POST", name.clone(), Fault::LoseAnswer);
    assert_eq!(outcome.unwrap().to.0 + 1, version);

    let denied = Fault::Answer(403, r#"{"errors":["permission denied"]}"#.to_owned());
    let (outcome, version) = fails(0, "GET", of(version + 1), denied);
    assert_eq!(problem(&outcome), Some(KeyProblem::Denied));

    // Only what is read after the change is another key.
    let other = KeyMaterial::generate().unwrap();
    let answer = json!({"data": {
        "data": {"key": *other.to_hex()},
        "metadata": {
            "created_time": "2026-01-01T00:00:00Z",
            "custom_metadata": null,
            "deletion_time": "",
            "destroyed": false,
            "version": version + 1,
        },
    }});
    let forged = Fault::Answer(200, answer.to_string());
    let (outcome, version) = fails(1, "GET", of(version + 1), forged);
    assert!(
        matches!(outcome, Err(TenantKeyError::ReadBack { .. })),
        "{outcome:?}"
    );

    let (outcome, version) = fails(1, "GET", of(version + 1), Fault::Drop);
    assert_eq!(problem(&outcome), Some(KeyProblem::Unreachable));
    assert_eq!(opens(&tenant, &direct), KeyVersion(version));
    let noted = zfs_get("helix:key_version", tenant.dataset().name());
    assert_eq!(noted, version.to_string());
}
