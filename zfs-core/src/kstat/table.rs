//! Statistics that are a list of what happened.

use super::file;
use crate::error::{Errno, Result};
use std::path::PathBuf;
use std::str::SplitWhitespace;

/// The next word, as a number.
fn number<T: std::str::FromStr>(words: &mut SplitWhitespace<'_>) -> Option<T> {
    words.next()?.parse().ok()
}

/// What is left of the line when `columns` words are taken off it.
fn rest(line: &str, columns: usize) -> &str {
    (0..columns).fold(line.trim_start(), |line, _| {
        line.split_once(char::is_whitespace)
            .map_or("", |(_, rest)| rest.trim_start())
    })
}

/// How far a transaction group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
#[doc(alias = "txg_state_t")]
pub enum TxgState {
    /// Was just made.
    Birth,
    /// Takes changes.
    Open,
    /// Takes no more changes; those under way are waited for.
    Quiescing,
    /// Waits to be written.
    Waiting,
    /// Is being written.
    Syncing,
    /// Was written.
    Committed,
    /// A letter that this crate does not know.
    Unknown(char),
}

impl TxgState {
    /// The letter of the stage that is under way.
    fn read(word: &str) -> Option<Self> {
        let mut letters = word.chars();
        let letter = letters.next()?;
        letters.next().is_none().then_some(match letter {
            'B' => Self::Birth,
            'O' => Self::Open,
            'Q' => Self::Quiescing,
            'W' => Self::Waiting,
            'S' => Self::Syncing,
            'C' => Self::Committed,
            other => Self::Unknown(other),
        })
    }
}

/// A transaction group: what it wrote, and how long each of its stages took.
///
/// Sizes are bytes and times nanoseconds. What a stage that has not ended took is 0, and what was
/// written is known when the group was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TxgStats {
    /// Its number.
    pub txg: u64,
    /// When it was opened, since the machine was started.
    pub birth: u64,
    /// How far it is.
    pub state: TxgState,
    /// How much there was to write.
    pub dirty: u64,
    /// How much was read meanwhile, from all vdevs of the pool.
    pub read: u64,
    /// How much was written meanwhile, to all vdevs of the pool.
    pub written: u64,
    /// How many reads there were meanwhile.
    pub reads: u64,
    /// How many writes there were meanwhile.
    pub writes: u64,
    /// How long it was open.
    pub open_time: u64,
    /// How long it quiesced.
    pub quiesce_time: u64,
    /// How long it waited to be written.
    pub wait_time: u64,
    /// How long writing it took.
    pub sync_time: u64,
}

impl TxgStats {
    const COLUMNS: [&'static str; 12] = [
        "txg", "birth", "state", "ndirty", "nread", "nwritten", "reads", "writes", "otime",
        "qtime", "wtime", "stime",
    ];

    pub(super) fn read_all(object: &str) -> Result<Vec<Self>> {
        file::table(object, &Self::COLUMNS, Self::parse)
    }

    fn parse(line: &str) -> Option<Self> {
        let words = &mut line.split_whitespace();
        Some(Self {
            txg: number(words)?,
            birth: number(words)?,
            state: TxgState::read(words.next()?)?,
            dirty: number(words)?,
            read: number(words)?,
            written: number(words)?,
            reads: number(words)?,
            writes: number(words)?,
            open_time: number(words)?,
            quiesce_time: number(words)?,
            wait_time: number(words)?,
            sync_time: number(words)?,
        })
    }
}

/// A write by which a pool with `multihost` tells other machines that it is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MultihostWrite {
    /// Its number.
    pub id: u64,
    /// The last transaction group that was written.
    pub txg: u64,
    /// When, in seconds since 1970.
    pub time: u64,
    /// Why it failed. With [`vdev_guid`](Self::vdev_guid) 0 or a small number, none was made: the
    /// number counts how many were left out in a row.
    pub error: Option<Errno>,
    /// How long it took, in nanoseconds, or how long none could be made.
    pub duration: i64,
    /// How long other machines must wait until they may think that the pool is not in use, in
    /// nanoseconds.
    pub delay: u64,
    /// Identity of the device.
    pub vdev_guid: u64,
    /// Which of the device's labels.
    pub label: i64,
    /// The device.
    pub path: Option<PathBuf>,
}

impl MultihostWrite {
    const COLUMNS: [&'static str; 9] = [
        "id",
        "txg",
        "timestamp",
        "error",
        "duration",
        "mmp_delay",
        "vdev_guid",
        "vdev_label",
        "vdev_path",
    ];

    pub(super) fn read_all(object: &str) -> Result<Vec<Self>> {
        file::table(object, &Self::COLUMNS, Self::parse)
    }

    fn parse(line: &str) -> Option<Self> {
        let words = &mut line.split_whitespace();
        Some(Self {
            id: number(words)?,
            txg: number(words)?,
            time: number(words)?,
            error: match words.next()? {
                "0" => None,
                word => Some(Errno::from_raw(match word.strip_prefix("0x") {
                    Some(hex) => i32::from_str_radix(hex, 16).ok()?,
                    None => word.parse().ok()?,
                })),
            },
            duration: number(words)?,
            delay: number(words)?,
            vdev_guid: number(words)?,
            label: number(words)?,
            path: Some(rest(line, 8).trim_end())
                .filter(|path| !matches!(*path, "" | "-"))
                .map(PathBuf::from),
        })
    }
}

/// An import that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ImportProgress {
    /// Identity of the pool.
    pub pool_guid: u64,
    /// What is being done (a `spa_load_state_t`): 1 open, 2 import, 3 try, 4 recover, 5 error,
    /// 6 create.
    pub load_state: u64,
    /// For how many seconds it is still watched whether another machine uses the pool.
    pub multihost_seconds: u64,
    /// The transaction group that the pool is rewound to, or 0.
    pub max_txg: u64,
    /// Name of the pool.
    pub name: String,
    /// What the import does now. Since 2.3.
    pub notes: Option<String>,
}

impl ImportProgress {
    const COLUMNS: [&'static str; 5] = [
        "pool_guid",
        "load_state",
        "multihost_secs",
        "max_txg",
        "pool_name",
    ];

    pub(super) fn read_all(object: &str) -> Result<Vec<Self>> {
        file::table(object, &Self::COLUMNS, Self::parse)
    }

    fn parse(line: &str) -> Option<Self> {
        let words = &mut line.split_whitespace();
        Some(Self {
            pool_guid: number(words)?,
            load_state: number(words)?,
            multihost_seconds: number(words)?,
            max_txg: number(words)?,
            name: words.next()?.to_owned(),
            notes: Some(rest(line, 5).trim_end())
                .filter(|notes| !matches!(*notes, "" | "-"))
                .map(str::to_owned),
        })
    }
}

/// A line of the module's own log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct DebugMessage {
    /// When, in seconds since 1970.
    pub time: u64,
    /// What.
    pub text: String,
}

impl DebugMessage {
    pub(super) fn read_all(object: &str) -> Result<Vec<Self>> {
        // A message can have several lines.
        let text = file::read(object)?;
        let mut messages: Vec<Self> = Vec::new();
        for line in text.lines().skip(1) {
            match (Self::parse(line), messages.last_mut()) {
                (Some(message), _) => messages.push(message),
                (None, Some(last)) => {
                    last.text.push('\n');
                    last.text.push_str(line);
                }
                (None, None) => {}
            }
        }
        Ok(messages)
    }

    fn parse(line: &str) -> Option<Self> {
        Some(Self {
            time: number(&mut line.split_whitespace())?,
            text: rest(line, 1).trim_end().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read_line_by_line() {
        let title = TxgStats::COLUMNS.join("  ");
        let good = format!("{title}\n7  36  C     0  1  2  3  4   5 6 7 8   \n");
        let txgs = file::parse(&good, &TxgStats::COLUMNS, TxgStats::parse).unwrap();
        assert_eq!(txgs.len(), 1);
        assert_eq!((txgs[0].txg, txgs[0].sync_time), (7, 8));
        assert_eq!(txgs[0].state, TxgState::Committed);
        let later = format!("{title} new\n7  36  ?     0  1  2  3  4   5 6 7 8 9\n");
        let txgs = file::parse(&later, &TxgStats::COLUMNS, TxgStats::parse).unwrap();
        assert_eq!(txgs[0].state, TxgState::Unknown('?'));
        let empty = file::parse("", &TxgStats::COLUMNS, TxgStats::parse);
        assert_eq!(empty.unwrap(), []);
        for bad in [
            "txg\n".to_owned(),
            format!("{title}\n7 36 C 0 1 2 3 4 5 6 7\n"),
            format!("{title}\n7 36 CC 0 1 2 3 4 5 6 7 8\n"),
            format!("{title}\nx 36 C 0 1 2 3 4 5 6 7 8\n"),
        ] {
            assert!(file::parse(&bad, &TxgStats::COLUMNS, TxgStats::parse).is_err());
        }
    }

    #[test]
    fn what_stands_last_may_have_spaces() {
        let write = MultihostWrite::parse("3 4 5      0  6  7 8 1          /dev/a b").unwrap();
        assert_eq!(write.path, Some(PathBuf::from("/dev/a b")));
        assert_eq!((write.error, write.duration), (None, 6));
        let skipped = MultihostWrite::parse("3 4 5 0x5 -6  7 1 0 -").unwrap();
        assert_eq!((skipped.error, skipped.path), (Some(Errno::EIO), None));
        let import = ImportProgress::parse("1 2 0 0 tank  Loading the checkpoint").unwrap();
        assert_eq!(import.notes.as_deref(), Some("Loading the checkpoint"));
        let old = ImportProgress::parse("1 2 0 0 tank            ").unwrap();
        assert_eq!(old.notes, None);
        let message = DebugMessage::parse("12   a  b ").unwrap();
        assert_eq!(message.text, "a  b");
    }
}
