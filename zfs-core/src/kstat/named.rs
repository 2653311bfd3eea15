use super::file;
use crate::error::{Error, Operation, Result};
use std::collections::BTreeMap;

/// A figure or a text of the kernel's statistics.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(untagged))]
#[non_exhaustive]
pub enum StatValue {
    /// A count or a size.
    Unsigned(u64),
    /// A figure that can be negative.
    Signed(i64),
    /// A text.
    Text(String),
}

impl StatValue {
    /// The figure, if it is not negative.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Self::Unsigned(value) => Some(value),
            Self::Signed(value) => u64::try_from(value).ok(),
            Self::Text(_) => None,
        }
    }

    /// The figure, if it fits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Self::Unsigned(value) => i64::try_from(value).ok(),
            Self::Signed(value) => Some(value),
            Self::Text(_) => None,
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// `kind` is the kernel's `KSTAT_DATA_*`.
    fn read(kind: &str, value: &str) -> Option<Self> {
        match kind {
            "0" | "7" => Some(Self::Text(value.trim_end().to_owned())),
            "1" | "3" | "5" => value.trim().parse().ok().map(Self::Signed),
            "2" | "4" | "6" => value.trim().parse().ok().map(Self::Unsigned),
            _ => None,
        }
    }
}

/// Statistics that have names, as the kernel gives them. Where there are none, the times are 0.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
#[doc(alias = "kstat_named_t")]
pub struct NamedStats {
    /// Since when they are counted, in nanoseconds since the machine was started.
    pub created: u64,
    /// When they were read, in nanoseconds since the machine was started. The difference between
    /// two readings is what a rate is divided by.
    pub taken: u64,
    /// The statistics.
    pub values: BTreeMap<String, StatValue>,
}

impl NamedStats {
    /// The figure of this name.
    #[must_use]
    pub fn u64(&self, name: &str) -> Option<u64> {
        self.values.get(name)?.as_u64()
    }

    pub(super) fn read(object: &str) -> Result<Self> {
        let text = file::read(object)?;
        Self::parse(&text).map_err(|what| Error::protocol(Operation::ReadStatistics, object, what))
    }

    /// Reads `kid type flags ndata data_size created taken`, the title line, and a line each:
    /// a name in at least 31 columns, a type in 4, and the value. Linux drops the first two lines
    /// when no other follows.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        const NAMED: &str = "1";
        const NAME_WIDTH: usize = 31;
        const KIND_WIDTH: usize = 4;
        if text.is_empty() {
            return Ok(Self {
                created: 0,
                taken: 0,
                values: BTreeMap::new(),
            });
        }
        let mut lines = text.lines();
        let head: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
        let &[_, NAMED, _, _, _, created, taken] = head.as_slice() else {
            return Err("no head of named statistics".to_owned());
        };
        let time = |text: &str| {
            text.parse()
                .map_err(|_| format!("a head with the time {text:?}"))
        };
        let (created, taken) = (time(created)?, time(taken)?);
        let mut values = BTreeMap::new();
        for line in lines.skip(1) {
            let bad = || format!("the line {line:?}");
            let (name, rest) = column(line, NAME_WIDTH).ok_or_else(bad)?;
            let (kind, value) = column(rest, KIND_WIDTH).ok_or_else(bad)?;
            let value = StatValue::read(kind, value).ok_or_else(bad)?;
            values.insert(name.to_owned(), value);
        }
        Ok(Self {
            created,
            taken,
            values,
        })
    }

    /// Takes the figure of this name out.
    pub(super) fn take(&mut self, name: &str) -> Option<u64> {
        let value = self.u64(name)?;
        self.values.remove(name);
        Some(value)
    }
}

/// Splits a column of at least `width` off, and the space behind it.
fn column(line: &str, width: usize) -> Option<(&str, &str)> {
    let tail = line.get(width..)?;
    let end = width + tail.find(' ')?;
    Some((line.get(..end)?.trim_end(), line.get(end + 1..)?))
}

/// A structure of figures that are read by name; what it has no field for is kept.
macro_rules! stats {
    (
        $(#[$doc:meta])*
        $name:ident {
            $($(#[$field_doc:meta])* $field:ident = $key:literal,)*
        }
        sometimes {
            $($(#[$option_doc:meta])* $option:ident = $option_key:literal,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize))]
        #[non_exhaustive]
        pub struct $name {
            /// When they were read, in nanoseconds since the machine was started.
            pub taken: u64,
            $($(#[$field_doc])* pub $field: u64,)*
            $($(#[$option_doc])* pub $option: Option<u64>,)*
            /// What there is besides, under the kernel's names.
            pub other: std::collections::BTreeMap<String, super::StatValue>,
        }

        impl $name {
            pub(super) fn from_named(mut stats: super::NamedStats) -> Result<Self, String> {
                Ok(Self {
                    taken: stats.taken,
                    $($field: stats.take($key).ok_or(concat!("no ", $key))?,)*
                    $($option: stats.take($option_key),)*
                    other: stats.values,
                })
            }

            pub(super) fn read(object: &str) -> crate::error::Result<Self> {
                Self::from_named(super::NamedStats::read(object)?).map_err(|what| {
                    crate::error::Error::protocol(
                        crate::error::Operation::ReadStatistics,
                        object,
                        what,
                    )
                })
            }
        }
    };
}
pub(super) use stats;

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
22 1 0x01 7 2160 3676386414 5761584963
name                            type data
dataset_name                    7    tank/a b
writes                          4    18446744073709551615
memory_available_bytes          3    -5
4096 ns                         2    1
a_name_that_is_longer_than_31_columns_is 4    6
small                           0    text            \n";

    #[test]
    fn every_kind_of_value_is_read() {
        let stats = NamedStats::parse(TEXT).unwrap();
        assert_eq!((stats.created, stats.taken), (3_676_386_414, 5_761_584_963));
        let text = |text: &str| StatValue::Text(text.to_owned());
        let expected = [
            ("dataset_name", text("tank/a b")),
            ("writes", StatValue::Unsigned(u64::MAX)),
            ("memory_available_bytes", StatValue::Signed(-5)),
            ("4096 ns", StatValue::Unsigned(1)),
            (
                "a_name_that_is_longer_than_31_columns_is",
                StatValue::Unsigned(6),
            ),
            ("small", text("text")),
        ];
        for (name, value) in &expected {
            assert_eq!(stats.values.get(*name), Some(value), "{name}");
        }
        assert_eq!(stats.values.len(), expected.len());
        assert_eq!(stats.u64("memory_available_bytes"), None);
    }

    #[test]
    fn what_is_something_else_is_an_error() {
        for text in [
            "raw data\n",
            "8 0 0x01 21 5712 1 2\nname\n",
            "8 1 0x01 21 5712 x 2\nname\n",
            "8 1 0x01 21 5712 1 2\nname type data\nshort 4 1\n",
            "8 1 0x01 21 5712 1 2\nname type data\nhits                            4    x\n",
            "8 1 0x01 21 5712 1 2\nname type data\nhits                            9    1\n",
            "8 1 0x01 21 5712 1 2\nname type data\nhh\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4} 4    1\n",
        ] {
            assert!(NamedStats::parse(text).is_err(), "{text:?}");
        }
        let empty = NamedStats::parse("8 1 0x01 0 0 1 2\nname type data\n").unwrap();
        assert!(empty.values.is_empty());
        assert!(NamedStats::parse("").unwrap().values.is_empty());
    }
}
