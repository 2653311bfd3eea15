use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::error::VaultError;
use super::kv::{Field, Kv};
use super::{Vault, transit};
use crate::key::{
    KeyError, KeyId, KeyMaterial, KeyProblem, KeyProvider, KeyStore, KeyVersion, ProvidedKey,
};

/// Keys in Vault's KV engine, version 2.
///
/// A key is a secret with the field `key`: its 32 bytes in Base64, which is what is stored, or in 64
/// hexadecimal digits, as somebody may have written it by hand. Its versions are those of the engine,
/// which count from 1, and a store is a write with check-and-set.
///
/// # What the token must be allowed
///
/// For a mount `secret` and a path `helix/acme`:
///
/// | To | Path | Capabilities |
/// |---|---|---|
/// | read | `secret/data/helix/acme` | `read` |
/// | read when the newest was deleted; list versions; all below | `secret/metadata/helix/acme` | `read` |
/// | store | `secret/data/helix/acme` | `create`, `update`, `read` |
/// | store | `secret/config` | `read` |
/// | retire | `secret/destroy/helix/acme` | `update` |
///
/// # What is refused
///
/// A key is not stored where a key would vanish by that: a store fails with
/// [`Unsupported`](KeyProblem::Unsupported) when versions are deleted after a time
/// (`delete_version_after`), or when the engine would drop an old one to keep no more than
/// `max_versions`, which are 10 unless the engine or the secret says otherwise. Retire old ones, or
/// have more kept.
#[derive(Clone, Debug)]
pub struct VaultKeys {
    kv: Kv,
}

impl VaultKeys {
    /// Keys at `path` of the engine at `mount`. In both, `{key}` stands for the key's name: so each
    /// tenant has a path, or a mount, of its own, with a policy of its own.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](KeyProblem::Unsupported) when one of them is no path of letters, digits, `-`,
    /// `_`, `.` and `~`, or neither has `{key}`.
    pub fn new(vault: &Vault, mount: &str, path: &str) -> Result<Self, VaultError> {
        Ok(Self {
            kv: Kv::new(vault, mount, path)?,
        })
    }
}

impl KeyProvider for VaultKeys {
    fn current(&self, id: &KeyId) -> Result<ProvidedKey, KeyError> {
        let (version, text) = self
            .kv
            .current(id, Field::Key)
            .map_err(|error| error.of(id))?;
        Ok(ProvidedKey::new(decode(id, version, &text)?, version))
    }

    fn version(&self, id: &KeyId, version: KeyVersion) -> Result<KeyMaterial, KeyError> {
        let text = self.kv.version(id, version, Field::Key);
        let text = text.map_err(|error| error.of(id).with_version(version))?;
        decode(id, version, &text)
    }

    fn versions(&self, id: &KeyId) -> Result<Vec<KeyVersion>, KeyError> {
        self.kv.versions(id).map_err(|error| error.of(id))
    }
}

impl KeyStore for VaultKeys {
    fn store(
        &self,
        id: &KeyId,
        after: KeyVersion,
        key: &KeyMaterial,
    ) -> Result<KeyVersion, KeyError> {
        let text = transit::encode(key.bytes());
        let stored = self.kv.store(id, after, Field::Key, &text);
        stored.map_err(|error| error.of(id))
    }

    fn retire(&self, id: &KeyId, version: KeyVersion) -> Result<(), KeyError> {
        let retired = self.kv.retire(id, version);
        retired.map_err(|error| error.of(id).with_version(version))
    }
}

/// The key of 44 characters of Base64 or of 64 hexadecimal digits.
pub(super) fn decode(id: &KeyId, version: KeyVersion, text: &str) -> Result<KeyMaterial, KeyError> {
    let text = text.trim();
    // What 44 characters may come to, by the reckoning of the decoder.
    let mut bytes = Zeroizing::new([0; 33]);
    let key = KeyMaterial::from_hex(text.as_bytes()).or_else(|| {
        let len = STANDARD.decode_slice(text, &mut *bytes).ok()?;
        KeyMaterial::from_bytes(bytes.get(..len)?)
    });
    key.ok_or_else(|| {
        let why = "it is not 32 bytes in Base64, nor 64 hexadecimal digits";
        KeyError::new(id, KeyProblem::Malformed, why).with_version(version)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_base64_and_in_digits() {
        let id = KeyId::new("acme").unwrap();
        let decode = |text: &str| decode(&id, KeyVersion(1), text);
        let key = KeyMaterial::from_bytes(&[0xa5; 32]).unwrap();
        let text = transit::encode(key.bytes());
        assert!(decode(&text).unwrap().is_same(&key));
        assert!(decode(&format!("{}\n", *text)).unwrap().is_same(&key));
        assert!(decode(&"a5".repeat(32)).unwrap().is_same(&key));
        for bytes in [0, 16, 31, 33, 34, 64] {
            let text = STANDARD.encode(vec![0xa5; bytes]);
            let error = decode(&text).unwrap_err();
            assert_eq!(error.problem(), KeyProblem::Malformed, "{bytes}");
            assert!(bytes == 0 || !error.to_string().contains(&text));
        }
        for text in ["", "a5", "not a key", &"g5".repeat(32), &"é".repeat(22)] {
            assert!(decode(text).is_err(), "{text:?}");
        }
    }
}
