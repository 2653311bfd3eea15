//! Times and lengths of time, in JSON as text and in a store as milliseconds.

use std::time::{Duration, SystemTime};

/// Milliseconds since 1970. What lies before it is 0, and what no store can hold its greatest number.
pub(super) fn to_number(at: SystemTime) -> i64 {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(LAST))
        .min(LAST)
}

/// The end of the year 9999: RFC 3339 has no later time.
const LAST: i64 = 253_402_300_799_999;

pub(super) fn from_number(milliseconds: i64) -> Option<SystemTime> {
    let since = u64::try_from(milliseconds.min(LAST)).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_millis(since))
}

/// As a store has it.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(super) fn rounded(at: SystemTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(to_number(at).unsigned_abs())
}

/// `after` later than `at`, or the last moment there is, as a store has it.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(super) fn later(at: SystemTime, after: Duration) -> SystemTime {
    let last = SystemTime::UNIX_EPOCH + Duration::from_millis(LAST.unsigned_abs());
    rounded(at.checked_add(after).unwrap_or(last))
}

pub(super) mod text {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(in super::super) fn serialize<S: Serializer>(
        at: &SystemTime,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        // What RFC 3339 cannot say would panic.
        let at = super::from_number(super::to_number(*at)).unwrap_or(SystemTime::UNIX_EPOCH);
        serializer.collect_str(&humantime::format_rfc3339_millis(at))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_rfc3339(&text).map_err(de::Error::custom)
    }
}

pub(super) mod optional {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    struct Text(#[serde(with = "super::text")] SystemTime);

    pub(in super::super) fn serialize<S: Serializer>(
        at: &Option<SystemTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => super::text::serialize(at, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SystemTime>, D::Error> {
        Ok(Option::<Text>::deserialize(deserializer)?.map(|Text(at)| at))
    }
}

pub(super) mod length {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(in super::super) fn serialize<S: Serializer>(
        length: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*length))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map_err(de::Error::custom)
    }
}
