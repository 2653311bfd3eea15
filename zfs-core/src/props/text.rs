//! Properties as text, the way the `zfs` command takes and shows them.

use super::set::PropertySet;
use super::setting::{
    KeyLocation, Mountpoint, RecordSize, Setting, SpecialSmallBlocks, VolBlockSize,
};
use super::table::{Form, Prop};
use super::value::shown_value;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::nv::Value;
use std::fmt;

fn refuse<T>(name: &str, text: &str, why: impl fmt::Display) -> Result<T> {
    Err(Error::refused(
        Operation::SetProperties,
        name,
        ErrorKind::InvalidProperty,
        format!("{text:?}: {why}"),
    ))
}

/// A number, and what the letter after it multiplies it by: `10G`, `512`, `1MiB`.
fn size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let unit = unit.to_ascii_uppercase();
    let unit = unit
        .strip_suffix("IB")
        .or_else(|| unit.strip_suffix('B'))
        .unwrap_or(&unit);
    let shift = match unit {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        "P" => 50,
        "E" => 60,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn parse(prop: Prop, text: &str) -> Result<Value> {
    let name = prop.name();
    if prop.is_read_only() {
        return refuse(name, text, "the property is read-only");
    }
    match prop.entry().form {
        Form::Number(default) => {
            let number = match text {
                // The values that say that there is no limit are the defaults.
                "none" if default == 0 || default == u64::MAX => Some(default),
                _ => size(text),
            };
            let Some(number) = number else {
                return refuse(name, text, "not a number, or a size such as 10G");
            };
            match prop {
                Prop::RecordSize => Ok(RecordSize::new(number)?.to_value()),
                Prop::VolBlockSize => Ok(VolBlockSize::new(number)?.to_value()),
                Prop::SpecialSmallBlocks => Ok(SpecialSmallBlocks::new(number)?.to_value()),
                _ => Ok(Value::Uint64(number)),
            }
        }
        Form::Index(names, _) => match (names.raw)(text) {
            Some(raw) => Ok(Value::Uint64(raw)),
            None => refuse(name, text, "the property has no such value"),
        },
        Form::Text(_) => match prop {
            Prop::Mountpoint => Ok(Mountpoint::new(text)?.to_value()),
            Prop::KeyLocation => Ok(KeyLocation::new(text)?.to_value()),
            _ if text.is_empty() || text.len() >= super::MAX_VALUE_LEN => {
                refuse(name, text, "too short or too long")
            }
            _ => match Value::string(text) {
                Ok(value) => Ok(value),
                Err(_) => refuse(name, text, "it contains a NUL character"),
            },
        },
        Form::Ratio | Form::List => refuse(name, text, "the property is read-only"),
    }
}

impl PropertySet {
    /// Adds a property by its name and the text of its value, as `zfs set` takes them: a word, a
    /// path, a number, a size (`10G`, `512`, `1MiB`; powers of 1024, no fractions), `none` for no
    /// limit. A name with a colon is that of a user property.
    ///
    /// ```
    /// use zfs_core::props::PropertySet;
    ///
    /// let props = PropertySet::new().parse("quota", "10G")?.parse("sync", "always")?;
    /// assert_eq!(props.text("quota").as_deref(), Some("10737418240"));
    /// # Ok::<(), zfs_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `InvalidProperty` for a name that is not known, a property that is read-only, and a text
    /// that is no value of it; for user properties as [`UserProps::set`](super::UserProps::set).
    ///
    /// `zfsprops(7)`.
    #[doc(alias = "zprop_parse_value")]
    pub fn parse(self, name: &str, text: &str) -> Result<Self> {
        match Prop::from_name(name) {
            Some(prop) => self.raw(name, parse(prop, text)?),
            None => self.user(name, text),
        }
    }

    /// The value of a property as `zfs get -p` shows it: [`parse`](Self::parse) takes it.
    #[must_use]
    pub fn text(&self, property: impl AsRef<str>) -> Option<String> {
        let name = property.as_ref();
        Some(shown_value(name, self.get(name)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str, text: &str) -> Option<String> {
        PropertySet::new().parse(name, text).ok()?.text(name)
    }

    #[test]
    fn sizes_have_units() {
        for (given, bytes) in [
            ("0", 0),
            ("512", 512),
            ("10G", 10_u64 << 30),
            ("10g", 10 << 30),
            ("1MiB", 1 << 20),
            ("3KB", 3 << 10),
            ("15E", 15_u64 << 60),
        ] {
            assert_eq!(text("quota", given), Some(bytes.to_string()), "{given}");
        }
        for given in [
            "", "G", "-1", "1.5G", "16E", "10 G", "10X", "1iB2", "ten", "1é",
        ] {
            assert_eq!(text("quota", given), None, "{given}");
        }
    }

    #[test]
    fn values_are_those_of_their_property() {
        assert_eq!(text("quota", "none").as_deref(), Some("0"));
        let unlimited = u64::MAX.to_string();
        assert_eq!(text("snapshot_limit", "none"), Some(unlimited));
        assert_eq!(text("recordsize", "none"), None);
        assert_eq!(text("recordsize", "16K").as_deref(), Some("16384"));
        assert_eq!(text("recordsize", "17K"), None);
        assert_eq!(text("sync", "always").as_deref(), Some("always"));
        assert_eq!(text("sync", "sometimes"), None);
        assert_eq!(text("compression", "zstd-3").as_deref(), Some("zstd-3"));
        assert_eq!(text("mountpoint", "relative"), None);
        assert_eq!(text("mountpoint", "/srv").as_deref(), Some("/srv"));
        assert_eq!(text("used", "1"), None);
        assert_eq!(text("of_the_future", "1"), None);
        assert_eq!(text("helix:tier", "gold").as_deref(), Some("gold"));
    }

    #[test]
    fn what_is_shown_can_be_parsed() {
        for (name, given) in [
            ("quota", "5T"),
            ("filesystem_limit", "none"),
            ("atime", "off"),
            ("compression", "gzip-9"),
            ("sharenfs", "rw=@10.0.0.0/8"),
            ("dedup", "sha256,verify"),
        ] {
            let shown = text(name, given);
            assert!(shown.is_some(), "{name}");
            assert_eq!(text(name, shown.as_deref().unwrap()), shown);
        }
    }
}
