use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::client::Ask;
use super::error::VaultError;
use super::kv::{Field, Kv};
use super::template::Template;
use super::wiped::{Text, json};
use super::{Vault, keys};
use crate::key::{
    KeyError, KeyId, KeyMaterial, KeyProblem, KeyProvider, KeyStore, KeyVersion, ProvidedKey,
};

/// Keys that Vault's Transit engine wraps, with the wrapped ones in a KV engine, version 2.
///
/// What the KV engine holds, in the field `ciphertext`, is of no use without the Transit key, which
/// never leaves the server: who may read the one alone has nothing, and the use of the other is one
/// line in the server's own audit log for each key that is opened. A wrapped key is bound to its name
/// (as `associated_data`), so that one tenant's cannot be put in the place of another's.
///
/// The Transit key must be of an authenticated cipher, which `aes256-gcm96`, the default, is. When it
/// is rotated, what was wrapped before is still opened, down to its `min_decryption_version`.
///
/// # What the token must be allowed
///
/// On the KV engine what [`VaultKeys`](super::VaultKeys) says, and for a mount `transit` and a
/// Transit key `helix`: `update` on `transit/decrypt/helix` to read, and on `transit/encrypt/helix` to
/// store. With `create` on the latter the engine would make a key that is missing.
#[derive(Clone, Debug)]
pub struct VaultTransit {
    kv: Kv,
    mount: Template,
    key: Template,
}

#[derive(Serialize)]
struct Encrypt<'a> {
    plaintext: &'a str,
    associated_data: &'a str,
}

#[derive(Deserialize)]
struct Encrypted<'a> {
    #[serde(borrow)]
    data: Ciphertext<'a>,
}

#[derive(Deserialize)]
struct Ciphertext<'a> {
    #[serde(borrow)]
    ciphertext: Text<'a>,
}

#[derive(Serialize)]
struct Decrypt<'a> {
    ciphertext: &'a str,
    associated_data: &'a str,
}

#[derive(Deserialize)]
struct Decrypted<'a> {
    #[serde(borrow)]
    data: Plaintext<'a>,
}

#[derive(Deserialize)]
struct Plaintext<'a> {
    #[serde(borrow)]
    plaintext: Text<'a>,
}

impl VaultTransit {
    /// Keys wrapped by the Transit key `key` of the engine at `mount`, at `kv_path` of the KV engine
    /// at `kv_mount`. In all of them, `{key}` stands for the key's name: one Transit key may serve
    /// all tenants, or each has its own.
    ///
    /// # Errors
    ///
    /// As [`VaultKeys::new`](super::VaultKeys::new).
    pub fn new(
        vault: &Vault,
        mount: &str,
        key: &str,
        kv_mount: &str,
        kv_path: &str,
    ) -> Result<Self, VaultError> {
        let template = |text| {
            Template::new(text).map_err(|why| VaultError::new(KeyProblem::Unsupported, text, why))
        };
        Ok(Self {
            kv: Kv::new(vault, kv_mount, kv_path)?,
            mount: template(mount)?,
            key: template(key)?,
        })
    }

    fn path(&self, action: &str, id: &KeyId) -> String {
        format!("{}/{action}/{}", self.mount.path(id), self.key.path(id))
    }

    fn wrap(&self, id: &KeyId, key: &KeyMaterial) -> Result<Zeroizing<String>, VaultError> {
        let path = self.path("encrypt", id);
        let body = json(&Encrypt {
            plaintext: &encode(key.bytes()),
            associated_data: &bound_to(id),
        });
        let ask = Ask::post(&path, &body);
        let answer = self.kv.vault.call(&ask)?.found(&ask)?;
        let Encrypted { data } = ask.parse(&answer)?;
        Ok(Zeroizing::new(data.ciphertext.to_owned()))
    }

    fn unwrap(
        &self,
        id: &KeyId,
        version: KeyVersion,
        ciphertext: &str,
    ) -> Result<KeyMaterial, KeyError> {
        let path = self.path("decrypt", id);
        let body = json(&Decrypt {
            ciphertext,
            associated_data: &bound_to(id),
        });
        let ask = Ask::post(&path, &body);
        let failed = |error: VaultError| {
            let error = match error.problem() {
                // It does not take it for a wrapped key.
                KeyProblem::Unsupported => error.with_problem(KeyProblem::Malformed),
                _ => error,
            };
            error.of(id).with_version(version)
        };
        let answer = self
            .kv
            .vault
            .call(&ask)
            .and_then(|reply| reply.found(&ask))
            .map_err(failed)?;
        let Decrypted { data } = ask.parse(&answer).map_err(failed)?;
        keys::decode(id, version, &data.plaintext)
    }
}

impl KeyProvider for VaultTransit {
    fn current(&self, id: &KeyId) -> Result<ProvidedKey, KeyError> {
        let current = self.kv.current(id, Field::Ciphertext);
        let (version, ciphertext) = current.map_err(|error| error.of(id))?;
        let key = self.unwrap(id, version, &ciphertext)?;
        Ok(ProvidedKey::new(key, version))
    }

    fn version(&self, id: &KeyId, version: KeyVersion) -> Result<KeyMaterial, KeyError> {
        let ciphertext = self.kv.version(id, version, Field::Ciphertext);
        let ciphertext = ciphertext.map_err(|error| error.of(id).with_version(version))?;
        self.unwrap(id, version, &ciphertext)
    }

    fn versions(&self, id: &KeyId) -> Result<Vec<KeyVersion>, KeyError> {
        self.kv.versions(id).map_err(|error| error.of(id))
    }
}

impl KeyStore for VaultTransit {
    fn store(
        &self,
        id: &KeyId,
        after: KeyVersion,
        key: &KeyMaterial,
    ) -> Result<KeyVersion, KeyError> {
        let wrapped = self.wrap(id, key).map_err(|error| error.of(id))?;
        let stored = self.kv.store(id, after, Field::Ciphertext, &wrapped);
        stored.map_err(|error| error.of(id))
    }

    fn retire(&self, id: &KeyId, version: KeyVersion) -> Result<(), KeyError> {
        let retired = self.kv.retire(id, version);
        retired.map_err(|error| error.of(id).with_version(version))
    }
}

/// What a wrapped key is bound to.
fn bound_to(id: &KeyId) -> String {
    STANDARD.encode(format!("helix-zfs key {id}"))
}

/// Bytes in Base64.
pub(super) fn encode(bytes: &[u8]) -> Zeroizing<String> {
    // With room for all of it, so that no copy is left behind.
    let mut text = Zeroizing::new(String::with_capacity(bytes.len().div_ceil(3) * 4));
    STANDARD.encode_string(bytes, &mut text);
    text
}
