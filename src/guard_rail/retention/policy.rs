use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::RailInfo;

/// Which guard rails of a kind stay. One that any of these wants stays; when nothing is said, none
/// does.
///
/// Hours, days and weeks are those of UTC, and weeks begin on Monday. Of an hour, a day or a week
/// the newest guard rail stays, and those are counted that have one: where no guard rails are taken
/// for a while, none goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Keep {
    /// The newest, so many of them.
    pub last: u32,
    /// One an hour, of so many hours.
    pub hourly: u32,
    /// One a day, of so many days.
    pub daily: u32,
    /// One a week, of so many weeks.
    pub weekly: u32,
    /// All that are not older than this. As a text `36h`, `7days` and so on.
    #[serde(
        rename = "for",
        with = "length",
        skip_serializing_if = "Option::is_none"
    )]
    pub within: Option<Duration>,
}

impl Keep {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            last: 0,
            hourly: 0,
            daily: 0,
            weekly: 0,
            within: None,
        }
    }

    /// Keeps the newest, so many of them.
    #[must_use]
    pub const fn last(mut self, n: u32) -> Self {
        self.last = n;
        self
    }

    /// Keeps one an hour, of so many hours.
    #[must_use]
    pub const fn hourly(mut self, n: u32) -> Self {
        self.hourly = n;
        self
    }

    /// Keeps one a day, of so many days.
    #[must_use]
    pub const fn daily(mut self, n: u32) -> Self {
        self.daily = n;
        self
    }

    /// Keeps one a week, of so many weeks.
    #[must_use]
    pub const fn weekly(mut self, n: u32) -> Self {
        self.weekly = n;
        self
    }

    /// Keeps all that are not older than this.
    #[must_use]
    pub const fn within(mut self, length: Duration) -> Self {
        self.within = Some(length);
        self
    }
}

/// What holds for the guard rails of one reason or tag, instead of the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct KeepOverride {
    /// Those that were taken for this reason, to the letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Those that have this tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Which of them stay.
    pub keep: Keep,
}

impl KeepOverride {
    /// For those that were taken for this reason, to the letter.
    #[must_use]
    pub fn reason(reason: impl Into<String>, keep: Keep) -> Self {
        Self {
            reason: Some(reason.into()),
            tag: None,
            keep,
        }
    }

    /// For those that have this tag.
    #[must_use]
    pub fn tag(tag: impl Into<String>, keep: Keep) -> Self {
        Self {
            reason: None,
            tag: Some(tag.into()),
            keep,
        }
    }

    fn matches(&self, rail: &RailInfo) -> bool {
        let reason = self.reason.as_ref();
        let tag = self.tag.as_ref();
        reason.is_none_or(|reason| rail.reason.as_ref() == Some(reason))
            && tag.is_none_or(|tag| rail.tags.contains(tag))
    }
}

/// Which guard rails stay: a policy.
///
/// A guard rail belongs to the first of the overrides that matches it, and to the default where none
/// does; those that belong together are counted together. As JSON:
///
/// ```
/// use helix_zfs::Retention;
///
/// let policy: Retention = serde_json::from_str(r#"{
///     "default": { "last": 3, "daily": 7, "for": "36h" },
///     "overrides": [
///         { "reason": "migration", "keep": { "weekly": 8 } },
///         { "tag": "audit", "keep": { "for": "1y" } }
///     ]
/// }"#)?;
/// assert_eq!(policy.default.daily, 7);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Retention {
    /// For all that no override is for.
    pub default: Keep,
    /// For those of a reason or tag. The first that matches counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<KeepOverride>,
}

impl Retention {
    /// A policy without overrides.
    #[must_use]
    pub const fn new(default: Keep) -> Self {
        Self {
            default,
            overrides: Vec::new(),
        }
    }

    /// Adds an override, after those that there are.
    #[must_use]
    pub fn and(mut self, other: KeepOverride) -> Self {
        self.overrides.push(other);
        self
    }

    /// What holds for a guard rail, with a number that those which belong together have in common.
    pub(super) fn rule(&self, rail: &RailInfo) -> (usize, &Keep) {
        let found = self.overrides.iter().enumerate();
        let mut found = found.filter(|(_, other)| other.matches(rail));
        match found.next() {
            Some((n, other)) => (n, &other.keep),
            None => (self.overrides.len(), &self.default),
        }
    }
}

/// A length of time as people write it.
mod length {
    use super::{Deserialize, Deserializer, Duration, Serializer};
    use serde::de::Error;

    #[allow(clippy::ref_option, reason = "serde's signature")]
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
        let Some(text) = Option::<String>::deserialize(deserializer)? else {
            return Ok(None);
        };
        match humantime::parse_duration(&text) {
            Ok(length) => Ok(Some(length)),
            Err(error) => Err(D::Error::custom(format_args!("{text:?}: {error}"))),
        }
    }
}
