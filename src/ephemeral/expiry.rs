use std::time::{Duration, SystemTime};

use super::EphemeralError;

/// Times are texts of four digits for the year.
const LAST: u64 = 253_402_300_799;

/// When an ephemeral clone expires. The clock is that of the system (UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// So long after it is made.
    In(Duration),
    /// At that time.
    At(SystemTime),
}

impl Expiry {
    /// The time, in whole seconds, which is what a property holds.
    pub(super) fn time(self, now: SystemTime) -> Result<SystemTime, EphemeralError> {
        let refuse = |when| Err(EphemeralError::Expiry { when });
        let time = match self {
            Self::In(length) => now.checked_add(length),
            Self::At(time) if time <= now => return refuse("in the past"),
            Self::At(time) => Some(time),
        };
        let seconds = time
            .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok())
            .map(|since| since.as_secs())
            .filter(|seconds| *seconds <= LAST);
        match seconds {
            Some(seconds) => Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)),
            None => refuse("after the year 9999 or before 1970"),
        }
    }

    /// A time as its property has it, and no other text for it.
    pub(super) fn parse(text: &str) -> Option<SystemTime> {
        let time = humantime::parse_rfc3339(text).ok()?;
        let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let is_own =
            since.as_secs() <= LAST && humantime::format_rfc3339_seconds(time).to_string() == text;
        is_own.then_some(time)
    }
}

impl From<Duration> for Expiry {
    fn from(length: Duration) -> Self {
        Self::In(length)
    }
}

impl From<SystemTime> for Expiry {
    fn from(time: SystemTime) -> Self {
        Self::At(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_that_cannot_be_written_down_are_refused() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        for expiry in [
            Expiry::In(Duration::MAX),
            Expiry::In(Duration::from_secs(LAST)),
            Expiry::At(now),
            Expiry::At(SystemTime::UNIX_EPOCH),
            Expiry::At(now + Duration::from_secs(LAST)),
        ] {
            assert!(expiry.time(now).is_err(), "{expiry:?}");
        }
        let early = SystemTime::UNIX_EPOCH - Duration::from_secs(10);
        assert!(Expiry::In(Duration::ZERO).time(early).is_err());
        assert_eq!(Expiry::In(Duration::ZERO).time(now).unwrap(), now);
        assert_eq!(Expiry::parse("yesterday"), None);
        assert_eq!(Expiry::parse("9999-99-99T00:00:00Z"), None);
    }

    proptest! {
        #[test]
        fn a_time_that_is_taken_can_be_read_again(seconds in 0..=LAST, nanos in 0..1_000_000_000_u32) {
            let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
            let now = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
            let taken = Expiry::At(time).time(now).unwrap();
            let text = humantime::format_rfc3339_seconds(taken).to_string();
            prop_assert_eq!(Expiry::parse(&text), Some(taken));
        }

        #[test]
        fn no_text_is_too_much(text in "[0-9TZ:.+-]{0,30}") {
            if let Some(time) = Expiry::parse(&text) {
                prop_assert_eq!(humantime::format_rfc3339_seconds(time).to_string(), text);
            }
        }
    }
}
