//! Records as they are read.

use crate::error::Errno;
use crate::nv::NvMap;
use std::fmt;
use std::time::Duration;

/// A record of a pool's history.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct HistoryRecord {
    /// When it was written, in seconds since 1970.
    pub time: Option<u64>,
    /// The user that did it, by number. Internal events have none.
    pub user: Option<u64>,
    /// The name of the host, as it was then.
    pub host: Option<String>,
    /// The zone; on Linux always `linux`.
    pub zone: Option<String>,
    /// What was done.
    pub event: HistoryEvent,
    /// The record as the kernel keeps it. Serde leaves it out.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub raw: NvMap,
}

/// What was done.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum HistoryEvent {
    /// A program did something, and says what in a line like that of the commands.
    Command(String),
    /// Something inside of ZFS that the kernel makes note of.
    Internal {
        /// What, in a word or two: `snapshot`, `scan setup`.
        name: String,
        /// The transaction group in which it happened.
        txg: Option<u64>,
        /// The dataset, and its number, which tells it from others of that name.
        dataset: Option<(String, u64)>,
        /// The rest, as a text that is not made to be parsed.
        message: String,
    },
    /// A request that the kernel carried out.
    Request {
        /// Its name: `snapshot`, `destroy_snaps`.
        name: String,
        /// Its arguments, without keys.
        input: NvMap,
        /// What the kernel answered. Empty when there was nothing, or when it was too long.
        output: NvMap,
        /// The length of an answer that was too long to be kept, in bytes.
        output_size: Option<u64>,
        /// The error of a request that failed after it had changed something.
        #[cfg_attr(feature = "serde", serde(serialize_with = "as_number"))]
        errno: Option<Errno>,
        /// How long it took; for serde `elapsed_ns`, in nanoseconds.
        #[cfg_attr(
            feature = "serde",
            serde(rename = "elapsed_ns", serialize_with = "as_nanoseconds")
        )]
        elapsed: Option<Duration>,
    },
    /// An event as ZFS wrote it before pool version 5000: a number and a text.
    Numbered {
        /// What, as one of the numbers of that time.
        number: u64,
        /// The transaction group in which it happened.
        txg: Option<u64>,
        /// The rest.
        message: String,
    },
    /// Something that this crate does not know: see [`HistoryRecord::raw`].
    Unknown,
}

#[cfg(feature = "serde")]
fn as_number<S: serde::Serializer>(errno: &Option<Errno>, to: S) -> Result<S::Ok, S::Error> {
    serde::Serialize::serialize(&errno.map(Errno::raw), to)
}

#[cfg(feature = "serde")]
fn as_nanoseconds<S: serde::Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    serde::Serialize::serialize(&time.map(|time| time.as_nanos()), to)
}

impl HistoryRecord {
    pub(super) fn read(raw: NvMap) -> Self {
        let text = |key: &str| {
            raw.get(key)
                .and_then(|value| Some(value.as_cstr()?.to_string_lossy().into_owned()))
        };
        let txg = raw.u64("history txg");
        let list = |key: &str| raw.list(key).cloned().unwrap_or_default();
        let natural = |key: &str| raw.i64(key).and_then(|number| u64::try_from(number).ok());
        let event = if let Some(line) = text("history command") {
            HistoryEvent::Command(line)
        } else if let Some(name) = text("internal_name") {
            HistoryEvent::Internal {
                name,
                txg,
                dataset: text("dsname").zip(raw.u64("dsid")),
                message: text("history internal str").unwrap_or_default(),
            }
        } else if let Some(name) = text("ioctl") {
            HistoryEvent::Request {
                name,
                input: list("in_nvl"),
                output: list("out_nvl"),
                output_size: natural("out_size"),
                errno: raw
                    .i64("errno")
                    .and_then(|errno| i32::try_from(errno).ok())
                    .map(Errno::from_raw),
                elapsed: natural("elapsed_ns").map(Duration::from_nanos),
            }
        } else if let Some(number) = raw.u64("history internal event") {
            HistoryEvent::Numbered {
                number,
                txg,
                message: text("history internal str").unwrap_or_default(),
            }
        } else {
            HistoryEvent::Unknown
        };
        Self {
            time: raw.u64("history time"),
            user: raw.u64("history who"),
            host: text("history hostname"),
            zone: text("history zone"),
            event,
            raw,
        }
    }

    /// The line, if it is that of a program.
    #[must_use]
    pub fn command(&self) -> Option<&str> {
        match &self.event {
            HistoryEvent::Command(line) => Some(line),
            _ => None,
        }
    }
}

impl fmt::Display for HistoryEvent {
    /// One line. A request's arguments are not in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(line) => f.write_str(line),
            Self::Internal {
                name,
                txg,
                dataset,
                message,
            } => {
                if let Some(txg) = txg {
                    write!(f, "[txg:{txg}] ")?;
                }
                f.write_str(name)?;
                if let Some((dataset, id)) = dataset {
                    write!(f, " {dataset} ({id})")?;
                }
                write!(f, " {message}")
            }
            Self::Request { name, errno, .. } => {
                write!(f, "request {name}")?;
                match errno {
                    Some(errno) => write!(f, " ({errno})"),
                    None => Ok(()),
                }
            }
            Self::Numbered {
                number,
                txg,
                message,
            } => {
                if let Some(txg) = txg {
                    write!(f, "[txg:{txg}] ")?;
                }
                write!(f, "event {number} {message}")
            }
            Self::Unknown => f.write_str("unknown record"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nv::Value;

    fn read(entries: &[(&std::ffi::CStr, Value)]) -> HistoryRecord {
        let mut raw = NvMap::new();
        for (name, value) in entries {
            raw.insert(*name, value.clone());
        }
        HistoryRecord::read(raw)
    }

    #[test]
    fn kinds_of_records() {
        let record = read(&[
            (c"history command", Value::from(c"zpool create tank a")),
            (c"history who", Value::Uint64(0)),
            (c"history time", Value::Uint64(7)),
            (c"history hostname", Value::from(c"h")),
        ]);
        assert_eq!(record.command(), Some("zpool create tank a"));
        assert_eq!((record.user, record.time), (Some(0), Some(7)));
        let record = read(&[
            (c"internal_name", Value::from(c"snapshot")),
            (c"history internal str", Value::from(c" ")),
            (c"history txg", Value::Uint64(9)),
            (c"dsname", Value::from(c"tank/a@b")),
            (c"dsid", Value::Uint64(54)),
        ]);
        assert_eq!(record.event.to_string(), "[txg:9] snapshot tank/a@b (54)  ");
        let record = read(&[
            (c"history internal event", Value::Uint64(3)),
            (c"history internal str", Value::from(c"x")),
        ]);
        assert_eq!(record.event.to_string(), "event 3 x");
        assert_eq!(read(&[]).event, HistoryEvent::Unknown);
        #[cfg(feature = "serde")]
        {
            let record = read(&[
                (c"ioctl", Value::from(c"x")),
                (c"errno", Value::Int64(5)),
                (c"elapsed_ns", Value::Int64(7)),
            ]);
            let json = serde_json::to_string(&record.event).unwrap();
            assert_eq!(
                json,
                r#"{"request":{"name":"x","input":{},"output":{},"output_size":null,"errno":5,"elapsed_ns":7}}"#
            );
        }
        // Values of another type than they should have are as if they were not there.
        assert_eq!(
            read(&[(c"ioctl", Value::Uint64(1))]).event,
            HistoryEvent::Unknown
        );
    }
}
