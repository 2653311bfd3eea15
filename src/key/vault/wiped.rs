//! Buffers for secrets, which leave no copies behind.

use std::fmt;
use std::ops::Deref;

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Visitor};
use zeroize::Zeroizing;

/// Bytes that are wiped when dropped, and when they grow out of their place.
#[derive(Default)]
pub(super) struct Wiped(Zeroizing<Vec<u8>>);

impl fmt::Debug for Wiped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wiped({} bytes)", self.0.len())
    }
}

impl Wiped {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self(Zeroizing::new(Vec::with_capacity(capacity)))
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let len = self.0.len().saturating_add(bytes.len());
        if len > self.0.capacity() {
            // `Vec` would free the old place as it is.
            let mut larger = Zeroizing::new(Vec::with_capacity(len.saturating_mul(2)));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
    }

    /// As text, if it is UTF-8, without what is blank at its ends.
    pub(super) fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok().map(str::trim)
    }
}

impl Deref for Wiped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl std::io::Write for Wiped {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// `value` as JSON.
pub(super) fn json<T: Serialize>(value: &T) -> Wiped {
    let mut body = Wiped::with_capacity(1024);
    // The values are structs of strings and numbers, and memory takes them.
    if serde_json::to_writer(&mut body, value).is_err() {
        return Wiped::default();
    }
    body
}

/// A string of an answer: where it lies, or, when it has to be unescaped, a copy that is wiped.
pub(super) enum Text<'a> {
    Borrowed(&'a str),
    Owned(Zeroizing<String>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Owned(text) => text,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text::Borrowed(text))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text::Owned(Zeroizing::new(text.to_owned())))
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_stays_whole() {
        let mut wiped = Wiped::default();
        let mut expected = Vec::new();
        for n in 0..200_u8 {
            wiped.push(&[n; 7]);
            expected.extend([n; 7]);
        }
        assert_eq!(&wiped[..], &expected[..]);
        assert_eq!(format!("{wiped:?}"), "Wiped(1400 bytes)");
    }

    #[test]
    fn strings_with_and_without_escapes() {
        let plain: Text<'_> = serde_json::from_slice(b"\"QUJD/w==\"").unwrap();
        assert!(matches!(plain, Text::Borrowed("QUJD/w==")));
        let escaped: Text<'_> = serde_json::from_slice(b"\"QUJD\\/w==\"").unwrap();
        assert_eq!(&*escaped, "QUJD/w==");
        assert!(serde_json::from_slice::<Text<'_>>(b"17").is_err());
    }
}
