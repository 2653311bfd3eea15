//! The value that every digest of this module is.

use std::fmt;
use std::str::FromStr;

/// A BLAKE3 hash of 32 bytes; prints as 64 hexadecimal digits, and parses from them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; Self::LEN]);

impl Digest {
    /// The length in bytes.
    pub const LEN: usize = 32;

    /// Takes the bytes of a digest that was computed elsewhere.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// A text is not the 64 hexadecimal digits of a [`Digest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 hexadecimal digits")]
pub struct ParseDigestError(());

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        let mut bytes = [0; Self::LEN];
        let digits = text.as_bytes().chunks_exact(2);
        if text.len() != 2 * Self::LEN {
            return Err(ParseDigestError(()));
        }
        for (byte, pair) in bytes.iter_mut().zip(digits) {
            let digit = |at: usize| pair.get(at).and_then(|&c| char::from(c).to_digit(16));
            let (Some(high), Some(low)) = (digit(0), digit(1)) else {
                return Err(ParseDigestError(()));
            };
            *byte = u8::try_from(16 * high + low).map_err(|_| ParseDigestError(()))?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_what_it_prints() {
        let digest = Digest::of(b"abc");
        let text = digest.to_string();
        assert!(text.starts_with("6437b3ac38465133ffb63b75273a8db5"));
        assert_eq!(text.parse(), Ok(digest));
        assert_eq!(text.to_uppercase().parse(), Ok(digest));
        for bad in ["", &text[1..], &format!("{text}0"), &text.replace('a', "é")] {
            assert_eq!(bad.parse::<Digest>(), Err(ParseDigestError(())), "{bad}");
        }
    }
}
