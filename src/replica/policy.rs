//! How a group's replicas follow, and when one of them may take over.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Keep;

/// When a replica asks its source for what is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Follow {
    /// Whenever so much time has passed.
    #[serde(with = "length")]
    Every(Duration),
    /// When the source has something new, but not before so much time has passed.
    #[serde(with = "length")]
    OnChange(Duration),
}

/// How many replicas must have a snapshot, verified, before it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Acknowledge {
    /// One.
    One,
    /// Every replica of the group.
    All,
    /// As many as this, but at least one.
    Count(usize),
}

impl Acknowledge {
    /// How many that are in a group with `replicas`.
    #[must_use]
    pub fn needed(self, replicas: usize) -> usize {
        match self {
            Self::One => 1,
            Self::All => replicas.max(1),
            Self::Count(count) => count.max(1),
        }
    }
}

/// How far a replica is behind its source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lag {
    /// What was written at the source since the newest snapshot that the replica has verified.
    pub bytes: u64,
    /// For how long the replica has been without what the source has: zero when it has all.
    #[serde(with = "length")]
    pub time: Duration,
}

/// How far behind a replica may be that takes over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct LagLimit {
    /// In bytes; any number for `None`.
    pub bytes: Option<u64>,
    /// In time; any for `None`.
    #[serde(with = "optional_length")]
    pub time: Option<Duration>,
}

impl LagLimit {
    /// Whether `lag` is within it.
    #[must_use]
    pub fn allows(&self, lag: &Lag) -> bool {
        self.bytes.is_none_or(|limit| lag.bytes <= limit)
            && self.time.is_none_or(|limit| lag.time <= limit)
    }
}

/// When a replica takes over by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Automatic {
    /// When the source could not be reached for so long; never for `None`.
    #[serde(default, with = "optional_length")]
    pub unreachable_for: Option<Duration>,
    /// When the source's pool says of itself that it is not healthy.
    #[serde(default)]
    pub unhealthy: bool,
}

/// How the nodes of a group treat each other. All nodes need the same one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Policy {
    /// When replicas follow.
    pub follow: Follow,
    /// When a snapshot is acknowledged.
    pub acknowledge: Acknowledge,
    /// How far behind a replica may be that takes over, at the last time that it reached the source.
    pub lag: LagLimit,
    /// When one takes over by itself; only by command for `None`.
    pub automatic: Option<Automatic>,
    /// For how long the source may write without renewing. It renews when half of that is over.
    #[serde(with = "length")]
    pub lease: Duration,
    /// By how much the nodes' clocks may differ, and how long a write that was let through may take.
    /// The source stops so much before its lease ends, and a replica waits so much longer.
    #[serde(with = "length")]
    pub clock_margin: Duration,
    /// Which of the snapshots that the nodes took stay, at each node; all for `None`. Besides those, the
    /// newest stays, the one that was acknowledged last and, at a replica, all newer ones, the one that
    /// a node was promoted at, and what is held or cloned. So replicas destroy nothing while nothing is
    /// acknowledged, as when all of them are to have it and one is away.
    ///
    /// A node that returns after its source has changed, and has no snapshot in common with the new one
    /// any more, receives everything anew. So keep what is taken in the longest time that one is away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    /// Whether a former source becomes a replica of the new one by itself, and a replica that has
    /// what the source does not have, too. What only they have is kept beside.
    pub rebuild: bool,
}

impl Default for Policy {
    /// Every minute, one replica acknowledges, takes over by command only, with any lag; a lease of
    /// 30 s and a margin of 2 s; all snapshots stay; a former source waits for its command.
    fn default() -> Self {
        Self {
            follow: Follow::Every(Duration::from_secs(60)),
            acknowledge: Acknowledge::One,
            lag: LagLimit::default(),
            automatic: None,
            lease: Duration::from_secs(30),
            clock_margin: Duration::from_secs(2),
            keep: None,
            rebuild: false,
        }
    }
}

/// Why a [`Policy`] cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A lease must be longer than four margins, or no time is left to write and to renew.
    #[error(
        "a lease of {} is too short for a clock margin of {}: it must be more than four times as \
         long",
        humantime::format_duration(*lease),
        humantime::format_duration(*margin)
    )]
    LeaseTooShort {
        /// The lease.
        lease: Duration,
        /// The margin.
        margin: Duration,
    },
    /// More replicas are to acknowledge than there are.
    #[error("{needed} replicas are to acknowledge, and there are {replicas}")]
    TooFewReplicas {
        /// How many acknowledge.
        needed: usize,
        /// How many there are.
        replicas: usize,
    },
}

impl Policy {
    /// Whether it can be that of a group with `replicas`.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn check(&self, replicas: usize) -> Result<(), PolicyError> {
        if self.lease <= self.clock_margin.saturating_mul(4) {
            return Err(PolicyError::LeaseTooShort {
                lease: self.lease,
                margin: self.clock_margin,
            });
        }
        let needed = self.acknowledge.needed(replicas);
        if needed > replicas {
            return Err(PolicyError::TooFewReplicas { needed, replicas });
        }
        Ok(())
    }
}

mod length {
    use std::time::Duration;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        length: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*length))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map_err(D::Error::custom)
    }
}

mod optional_length {
    use std::time::Duration;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        length: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match length {
            Some(length) => serializer.collect_str(&humantime::format_duration(*length)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Option::<String>::deserialize(deserializer)?
            .map(|text| humantime::parse_duration(&text).map_err(D::Error::custom))
            .transpose()
    }
}
