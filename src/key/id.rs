use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The name of a key: what a provider finds it by.
///
/// 1 to 128 letters and digits of ASCII, `-`, `_` and `.`, of which the first is a letter or a digit.
/// So it is one component of a path or of an address, whatever it is put into.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId(String);

/// What is no name of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no name of a key: 1 to 128 letters, digits, '-', '_' and '.', first a letter or digit"
)]
pub struct InvalidKeyId(String);

impl KeyId {
    /// The most bytes that a name has.
    pub const MAX_LEN: usize = 128;

    /// The name `id`.
    ///
    /// # Errors
    ///
    /// When it is not as [`KeyId`] says.
    pub fn new(id: impl Into<String>) -> Result<Self, InvalidKeyId> {
        let id = id.into();
        let is_allowed =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let begins_well = id.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if begins_well && id.len() <= Self::MAX_LEN && id.bytes().all(is_allowed) {
            Ok(Self(id))
        } else {
            Err(InvalidKeyId(id))
        }
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for KeyId {
    type Err = InvalidKeyId;

    fn from_str(id: &str) -> Result<Self, Self::Err> {
        Self::new(id)
    }
}

impl TryFrom<String> for KeyId {
    type Error = InvalidKeyId;

    fn try_from(id: String) -> Result<Self, Self::Error> {
        Self::new(id)
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.0
    }
}

/// Which of the keys of one name: each that is stored has a higher number than those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyVersion(pub u64);

impl KeyVersion {
    /// Before the first: no key of that name is stored.
    pub const NONE: Self = Self(0);
}

impl fmt::Display for KeyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for KeyVersion {
    type Err = ParseIntError;

    fn from_str(version: &str) -> Result<Self, Self::Err> {
        version.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_component() {
        for good in ["a", "acme", "Acme-2.eu_west", &"x".repeat(128)] {
            assert_eq!(KeyId::new(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            ".a",
            "-a",
            "a/b",
            "a b",
            "ä",
            "a\0",
            "a\n",
            "a%2f",
            &"x".repeat(129),
        ] {
            assert!(KeyId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_is_checked_when_it_is_read() {
        assert!(serde_json::from_str::<KeyId>("\"../acme\"").is_err());
        assert!(serde_json::from_str::<KeyId>("\"acme\"").is_ok());
    }
}
