//! Layouts and device maps from text.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _, MapAccess, Visitor};

use super::{Layout, LayoutError};

/// What every version of a file has.
#[derive(serde::Deserialize)]
struct Header {
    version: Option<u32>,
}

fn check_version(header: &Header) -> Result<(), LayoutError> {
    match header.version {
        Some(Layout::VERSION) => Ok(()),
        found => Err(LayoutError::Version { found }),
    }
}

/// Reads JSON of a version that is known.
pub(super) fn json<T: DeserializeOwned>(text: &str) -> Result<T, LayoutError> {
    let syntax = |error: serde_json::Error| LayoutError::Syntax(error.to_string());
    check_version(&serde_json::from_str(text).map_err(syntax)?)?;
    serde_json::from_str(text).map_err(syntax)
}

/// Reads TOML of a version that is known.
#[cfg(feature = "toml")]
pub(super) fn toml<T: DeserializeOwned>(text: &str) -> Result<T, LayoutError> {
    let syntax = |error: toml::de::Error| {
        let line = error.span().map(|span| {
            let before = text.get(..span.start).unwrap_or_default();
            format!(" at line {}", before.matches('\n').count() + 1)
        });
        LayoutError::Syntax(format!("{}{}", error.message(), line.unwrap_or_default()))
    };
    check_version(&toml::from_str(text).map_err(syntax)?)?;
    toml::from_str(text).map_err(syntax)
}

/// A map, of which a key that occurs twice is an error: otherwise the last one would count, and the
/// others would be as if nobody had written them.
pub(super) fn unique<'de, D, V>(deserializer: D) -> Result<BTreeMap<String, V>, D::Error>
where
    D: Deserializer<'de>,
    V: Deserialize<'de>,
{
    struct Unique<V>(PhantomData<V>);

    impl<'de, V: Deserialize<'de>> Visitor<'de> for Unique<V> {
        type Value = BTreeMap<String, V>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some((key, value)) = access.next_entry::<String, V>()? {
                if map.contains_key(&key) {
                    return Err(A::Error::custom(format!("{key} occurs twice")));
                }
                map.insert(key, value);
            }
            Ok(map)
        }
    }

    deserializer.deserialize_map(Unique(PhantomData))
}

impl Layout {
    /// Reads a layout in JSON, and [checks](Self::check) it.
    ///
    /// # Errors
    ///
    /// [`Syntax`](LayoutError::Syntax), [`Version`](LayoutError::Version),
    /// [`Invalid`](LayoutError::Invalid).
    pub fn from_json(text: &str) -> Result<Self, LayoutError> {
        let layout: Self = json(text)?;
        layout.check()?;
        Ok(layout)
    }

    /// Reads a layout in TOML, and [checks](Self::check) it.
    ///
    /// # Errors
    ///
    /// As [`from_json`](Self::from_json).
    #[cfg(feature = "toml")]
    pub fn from_toml(text: &str) -> Result<Self, LayoutError> {
        let layout: Self = toml(text)?;
        layout.check()?;
        Ok(layout)
    }
}
