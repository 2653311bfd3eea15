//! Who may write: one record per group, in a store that changes it by compare-and-set.
//!
//! The [`Fence`] of a group names the one node that may write, and until when. Each change of it has
//! the next [`revision`](Fence::revision), and a change that expects an older one is refused. So of a
//! holder that renews and a replica that takes over at the same moment, one is told that it was too
//! late.

mod name;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::error::Error as StdError;
use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

pub use name::{GroupName, NameError, NodeName};
#[cfg(feature = "postgres")]
pub use postgres::PostgresFences;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteFences;

/// A snapshot, by what is the same on every node that has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SnapshotMark {
    /// Its GUID, which a receive keeps.
    pub guid: u64,
    /// Its short name where it was taken, without the dataset.
    pub name: String,
}

impl fmt::Display for SnapshotMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{} (GUID {})", self.name, self.guid)
    }
}

/// Who may write to a group's data.
///
/// Its times are of the clock of the node that wrote them, in whole milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fence {
    /// How many holders there have been. A node that knows a lower one has been replaced.
    pub epoch: u64,
    /// How often the record was written.
    pub revision: u64,
    /// The node that may write.
    pub holder: NodeName,
    /// Until when, unless it renews.
    #[serde(with = "rfc3339")]
    pub until: SystemTime,
    /// The holder before, to whom an undo gives the fence back.
    pub previous: Option<NodeName>,
    /// The newest snapshot that as many replicas have as the policy asks for. Who takes over has it.
    pub acknowledged: Option<SnapshotMark>,
}

impl Fence {
    /// The first record of a group.
    #[must_use]
    pub fn first(holder: &NodeName, until: SystemTime) -> Self {
        Self {
            epoch: 1,
            revision: 1,
            holder: holder.clone(),
            until: in_range(until),
            previous: None,
            acknowledged: None,
        }
    }

    /// As it is when the holder may write until `until`. One that has passed gives it back early.
    #[must_use]
    pub fn renewed(&self, until: SystemTime) -> Self {
        Self {
            revision: self.revision.saturating_add(1),
            until: in_range(until),
            ..self.clone()
        }
    }

    /// As it is when `mark` is the newest acknowledged snapshot.
    #[must_use]
    pub fn acknowledging(&self, mark: &SnapshotMark) -> Self {
        Self {
            revision: self.revision.saturating_add(1),
            acknowledged: Some(mark.clone()),
            ..self.clone()
        }
    }

    /// As it is when `holder` has taken over.
    #[must_use]
    pub fn advanced(&self, holder: &NodeName, until: SystemTime) -> Self {
        Self {
            epoch: self.epoch.saturating_add(1),
            revision: self.revision.saturating_add(1),
            holder: holder.clone(),
            until: in_range(until),
            previous: Some(self.holder.clone()),
            acknowledged: self.acknowledged.clone(),
        }
    }
}

/// Why a store did not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FenceError {
    /// The group has no record.
    #[error("group {0} has no fence")]
    NotFound(GroupName),
    /// The record was written meanwhile, be it by the holder or by who took over.
    #[error(
        "the fence of group {group} is at revision {}, epoch {}, held by {}, and not at revision \
         {expected}",
        now.revision, now.epoch, now.holder
    )]
    Moved {
        /// Whose record.
        group: GroupName,
        /// The revision that was expected; 0 for no record.
        expected: u64,
        /// The record as it is.
        now: Box<Fence>,
    },
    /// The store cannot be reached, or failed. The change may have been made: read.
    #[error("the fencing store cannot be used for group {group}: {source}")]
    Unavailable {
        /// Whose record.
        group: GroupName,
        /// What its library says.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The record is not one of this version, or was damaged.
    #[error("the fence of group {group} cannot be read: {reason}")]
    Corrupt {
        /// Whose record.
        group: GroupName,
        /// What is wrong with it.
        reason: String,
    },
}

impl FenceError {
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    fn unavailable(group: &GroupName, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Unavailable {
            group: group.clone(),
            source: source.into(),
        }
    }
}

/// Where the [`Fence`] of each group is, for all its nodes.
///
/// An implementation has [`read`](Self::read) and [`swap`](Self::swap); the rest is written on them.
/// What a call has changed is on stable storage when it returns. Every call ends within a bounded
/// time, well below the length of a lease.
pub trait FencingStore: fmt::Debug + Send + Sync {
    /// The record of `group`, if there is one.
    ///
    /// # Errors
    ///
    /// [`FenceError::Unavailable`] and [`FenceError::Corrupt`].
    fn read(&self, group: &GroupName) -> Result<Option<Fence>, FenceError>;

    /// Writes `new` when the record has the revision `expected`, or when there is none for `None`.
    ///
    /// When the record is `new` already, because an answer got lost, it is done.
    ///
    /// # Errors
    ///
    /// [`FenceError::Moved`] when it has another, [`FenceError::NotFound`] when there is none, and as
    /// [`read`](Self::read).
    fn swap(&self, group: &GroupName, expected: Option<u64>, new: &Fence)
    -> Result<(), FenceError>;

    /// Makes the record of a new group, held by `holder` until `until`.
    ///
    /// # Errors
    ///
    /// [`FenceError::Moved`] when there is one, and as [`read`](Self::read).
    fn create(
        &self,
        group: &GroupName,
        holder: &NodeName,
        until: SystemTime,
    ) -> Result<Fence, FenceError> {
        let new = Fence::first(holder, until);
        self.swap(group, None, &new)?;
        Ok(new)
    }

    /// Lets the holder write until `until`; one that has passed gives the fence back early.
    ///
    /// # Errors
    ///
    /// As [`swap`](Self::swap).
    fn renew(
        &self,
        group: &GroupName,
        expected: &Fence,
        until: SystemTime,
    ) -> Result<Fence, FenceError> {
        let new = expected.renewed(until);
        self.swap(group, Some(expected.revision), &new)?;
        Ok(new)
    }

    /// Notes `mark` as the newest snapshot that whoever takes over must have.
    ///
    /// # Errors
    ///
    /// As [`swap`](Self::swap).
    fn acknowledge(
        &self,
        group: &GroupName,
        expected: &Fence,
        mark: &SnapshotMark,
    ) -> Result<Fence, FenceError> {
        let new = expected.acknowledging(mark);
        self.swap(group, Some(expected.revision), &new)?;
        Ok(new)
    }

    /// Makes `holder` the node that may write.
    ///
    /// # Errors
    ///
    /// As [`swap`](Self::swap).
    fn advance(
        &self,
        group: &GroupName,
        expected: &Fence,
        holder: &NodeName,
        until: SystemTime,
    ) -> Result<Fence, FenceError> {
        let new = expected.advanced(holder, until);
        self.swap(group, Some(expected.revision), &new)?;
        Ok(new)
    }
}

/// What it means that a swap changed nothing, when the record is `now`.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
fn unchanged(
    group: &GroupName,
    expected: Option<u64>,
    new: &Fence,
    now: Option<Fence>,
) -> Result<(), FenceError> {
    match now {
        None => Err(FenceError::NotFound(group.clone())),
        Some(now) if now == *new => Ok(()),
        Some(now) => Err(FenceError::Moved {
            group: group.clone(),
            expected: expected.unwrap_or(0),
            now: Box::new(now),
        }),
    }
}

/// The last second that RFC 3339 has a name for.
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// The time as a record can have it.
fn in_range(time: SystemTime) -> SystemTime {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .min(LAST);
    let whole = Duration::new(since.as_secs(), since.subsec_millis() * 1_000_000);
    SystemTime::UNIX_EPOCH + whole
}

mod rfc3339 {
    use std::time::SystemTime;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        time: &SystemTime,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let text = humantime::format_rfc3339_millis(super::in_range(*time));
        serializer.collect_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = humantime::parse_rfc3339(&text).map_err(D::Error::custom)?;
        Ok(super::in_range(time))
    }
}

/// A record as a store keeps it.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod record {
    use serde::{Deserialize, Serialize};

    use super::{Fence, FenceError, GroupName};

    /// What is increased when a [`Fence`] gets a field that older programs must not overlook.
    const FORMAT: u32 = 1;

    #[derive(Serialize, Deserialize)]
    struct Record<F> {
        format: u32,
        fence: F,
    }

    /// The revision as a column, and the record as text.
    pub(super) fn write(group: &GroupName, fence: &Fence) -> Result<(i64, String), FenceError> {
        let corrupt = |reason: String| FenceError::Corrupt {
            group: group.clone(),
            reason,
        };
        let revision = i64::try_from(fence.revision)
            .map_err(|_| corrupt("there are no more revisions".to_owned()))?;
        let record = Record {
            format: FORMAT,
            fence,
        };
        let text = serde_json::to_string(&record).map_err(|error| corrupt(error.to_string()))?;
        Ok((revision, text))
    }

    pub(super) fn read(group: &GroupName, revision: i64, text: &str) -> Result<Fence, FenceError> {
        let corrupt = |reason: String| FenceError::Corrupt {
            group: group.clone(),
            reason,
        };
        let record: Record<serde_json::Value> =
            serde_json::from_str(text).map_err(|error| corrupt(error.to_string()))?;
        if record.format != FORMAT {
            return Err(corrupt(format!(
                "it has format {}, and this version knows {FORMAT}",
                record.format
            )));
        }
        let fence: Fence =
            serde_json::from_value(record.fence).map_err(|error| corrupt(error.to_string()))?;
        if i64::try_from(fence.revision) != Ok(revision) {
            return Err(corrupt(format!(
                "it says revision {}, and its row {revision}",
                fence.revision
            )));
        }
        Ok(fence)
    }
}
