use std::os::unix::ffi::OsStringExt;

use zeroize::Zeroizing;

use super::{KeyError, KeyId, KeyMaterial, KeyProblem, KeyProvider, KeyVersion, ProvidedKey};

/// Keys in environment variables: `HELIX_KEY_ACME_EU` has the key `acme-eu`.
///
/// Its value is 64 hexadecimal digits, or `VERSION:` and these; without a version it is the first.
/// Only names of small letters, digits and `-` can be had, so that no two have the same variable. It
/// is no [`KeyStore`](super::KeyStore).
///
/// The environment is where the system put it at the start of the process, is inherited by each
/// process that this one starts, and can be read in `/proc` by root and the process's own user. It is
/// not wiped: a program in Rust cannot do that soundly. So this is for tests and for one key at the
/// start of a machine, and files or a server are for services.
///
/// ```
/// use helix_zfs::key::{EnvironmentKeys, KeyId, KeyProblem, KeyProvider};
///
/// let none = EnvironmentKeys.current(&KeyId::new("no-such-tenant")?).unwrap_err();
/// assert_eq!(none.problem(), KeyProblem::NotFound);
/// # Ok::<(), helix_zfs::key::InvalidKeyId>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct EnvironmentKeys;

impl EnvironmentKeys {
    /// What the names of the variables begin with.
    pub const PREFIX: &'static str = "HELIX_KEY_";

    /// The variable that has the key.
    ///
    /// # Errors
    ///
    /// `Unsupported` for a name that no variable can have.
    pub fn variable(id: &KeyId) -> Result<String, KeyError> {
        let has_one = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !id.as_str().bytes().all(has_one) {
            return Err(KeyError::new(
                id,
                KeyProblem::Unsupported,
                "a key in the environment has a name of small letters, digits and '-'",
            ));
        }
        let name = id.as_str().to_ascii_uppercase().replace('-', "_");
        Ok(format!("{}{name}", Self::PREFIX))
    }
}

fn parse(value: &[u8]) -> Option<ProvidedKey> {
    let mut parts = value.splitn(2, |&byte| byte == b':');
    let first = parts.next()?;
    let (version, digits) = match parts.next() {
        Some(digits) => (std::str::from_utf8(first).ok()?.parse().ok()?, digits),
        None => (KeyVersion(1), first),
    };
    let key = KeyMaterial::from_hex(digits)?;
    (version != KeyVersion::NONE).then(|| ProvidedKey::new(key, version))
}

impl KeyProvider for EnvironmentKeys {
    fn current(&self, id: &KeyId) -> Result<ProvidedKey, KeyError> {
        let variable = Self::variable(id)?;
        let value = std::env::var_os(&variable)
            .ok_or_else(|| KeyError::new(id, KeyProblem::NotFound, format!("no {variable}")))?;
        parse(&Zeroizing::new(value.into_vec())).ok_or_else(|| {
            KeyError::new(
                id,
                KeyProblem::Malformed,
                format!("{variable} is not 64 hexadecimal digits, or a version, ':' and these"),
            )
        })
    }

    fn version(&self, id: &KeyId, version: KeyVersion) -> Result<KeyMaterial, KeyError> {
        let current = self.current(id)?;
        if current.version == version {
            return Ok(current.key);
        }
        let detail = format!("the environment has version {}", current.version);
        Err(KeyError::new(id, KeyProblem::NotFound, detail).with_version(version))
    }

    fn versions(&self, id: &KeyId) -> Result<Vec<KeyVersion>, KeyError> {
        match self.current(id) {
            Err(error) if error.problem() == KeyProblem::NotFound => Ok(Vec::new()),
            current => Ok(vec![current?.version]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_names_have_one_variable() {
        let variable = |id| EnvironmentKeys::variable(&KeyId::new(id).unwrap());
        assert_eq!(variable("acme-eu-2").unwrap(), "HELIX_KEY_ACME_EU_2");
        for other in ["acme_eu_2", "Acme-eu-2", "acme.eu"] {
            assert_eq!(
                variable(other).unwrap_err().problem(),
                KeyProblem::Unsupported
            );
        }
    }

    #[test]
    fn values_are_checked() {
        let digits = "0aF1".repeat(16);
        let version = |value: &str| parse(value.as_bytes()).map(|key| key.version.0);
        assert_eq!(version(&digits), Some(1));
        assert_eq!(version(&format!("7:{digits}")), Some(7));
        for bad in [
            String::new(),
            digits.replace('0', "g"),
            format!("{digits}\n"),
            format!("0:{digits}"),
            format!(":{digits}"),
            format!("x:{digits}"),
            format!("1:2:{digits}"),
        ] {
            assert_eq!(version(&bad), None, "{bad:?}");
        }
    }
}
