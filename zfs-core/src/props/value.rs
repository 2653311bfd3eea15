//! Values and their sources as they are read.

use super::table::Prop;
use crate::name::DatasetName;
use crate::nv::Value;
use std::fmt;

/// Where a property's value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// From nowhere: it is computed, or fixed when the dataset is created.
    None,
    /// It was never set, here or above.
    Default,
    /// It was set on the dataset itself.
    Local,
    /// It was set on, or received by, this dataset above. For a snapshot, that includes the dataset
    /// that it is a snapshot of.
    Inherited(DatasetName),
    /// It came with a stream that was received.
    Received,
    /// Something that this crate does not know, as the kernel has it.
    Unknown(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("-"),
            Self::Default => f.write_str("default"),
            Self::Local => f.write_str("local"),
            Self::Inherited(from) => write!(f, "inherited from {from}"),
            Self::Received => f.write_str("received"),
            Self::Unknown(text) => f.write_str(text),
        }
    }
}

impl Source {
    /// Reads what the kernel says. `this` is the full name of the dataset or snapshot.
    pub(super) fn read(text: &str, this: &str) -> Self {
        match text {
            "" => Self::Default,
            "$recvd" => Self::Received,
            _ if text == this => Self::Local,
            _ => match DatasetName::new(text) {
                Ok(name) => Self::Inherited(name),
                Err(_) => Self::Unknown(text.to_owned()),
            },
        }
    }
}

/// The ratio of two sizes, in hundredths, as ZFS computes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ratio(u64);

impl Ratio {
    pub(super) const fn new(hundredths: u64) -> Self {
        Self(hundredths)
    }

    /// A hundred times the ratio.
    #[must_use]
    pub const fn hundredths(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Ratio {
    /// `1.35`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

/// A property's value, by the form that it has.
///
/// `Display` writes it as `zfs get -p` does.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum PropValue {
    /// A number: bytes, seconds or a count.
    Number(u64),
    /// A number that stands for a word. [`Properties::value`](super::Properties::value) gives it
    /// as a type of its own.
    Index {
        /// The property.
        prop: Prop,
        /// The kernel's number.
        raw: u64,
    },
    /// The ratio of two sizes.
    Ratio(Ratio),
    /// A text, with other bytes than UTF-8 replaced.
    Text(String),
    /// Names: the clones of a snapshot.
    Names(Vec<String>),
    /// GUIDs of snapshots.
    Guids(Vec<u64>),
    /// A value of a type that the property should not have.
    Other(Value),
}

impl PropValue {
    /// The number, if it is one, or stands for a word.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(number) | Self::Index { raw: number, .. } => Some(*number),
            _ => None,
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
}

fn list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
    for (position, item) in items.iter().enumerate() {
        let separator = if position == 0 { "" } else { "," };
        write!(f, "{separator}{item}")?;
    }
    Ok(())
}

impl fmt::Display for PropValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Index { prop, raw } => match prop.index_name(*raw) {
                Some(name) => f.write_str(&name),
                None => write!(f, "{raw}"),
            },
            Self::Ratio(ratio) => write!(f, "{ratio}"),
            Self::Text(text) => f.write_str(text),
            Self::Names(names) => list(f, names),
            Self::Guids(guids) => list(f, guids),
            Self::Other(value) => write!(f, "{value:?}"),
        }
    }
}

/// A value that is to be set, as a command would be told it.
pub(crate) fn shown_value(name: &str, value: &Value) -> String {
    match value {
        Value::Uint64(raw) => Prop::from_name(name)
            .and_then(|prop| prop.index_name(*raw))
            .map_or_else(|| raw.to_string(), Into::into),
        Value::String(text) => text.to_string_lossy().into_owned(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources() {
        let read = |text| Source::read(text, "tank/a@s");
        assert_eq!(read(""), Source::Default);
        assert_eq!(read("tank/a@s"), Source::Local);
        assert_eq!(read("$recvd"), Source::Received);
        assert_eq!(
            read("tank/a"),
            Source::Inherited(DatasetName::new("tank/a").unwrap())
        );
        assert_eq!(read("$new"), Source::Unknown("$new".into()));
        assert_eq!(read("tank/a").to_string(), "inherited from tank/a");
    }

    #[test]
    fn values_are_written_as_the_command_does() {
        let sync = |raw| {
            PropValue::Index {
                prop: Prop::Sync,
                raw,
            }
            .to_string()
        };
        assert_eq!((sync(2).as_str(), sync(7).as_str()), ("disabled", "7"));
        assert_eq!(PropValue::Ratio(Ratio::new(305)).to_string(), "3.05");
        assert_eq!(
            PropValue::Names(vec!["a/b".into(), "a/c".into()]).to_string(),
            "a/b,a/c"
        );
        assert_eq!(PropValue::Guids(Vec::new()).to_string(), "");
    }
}
