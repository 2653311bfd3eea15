//! Sizes and times, as they are typed and shown.

use std::time::{Duration, SystemTime};

const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// A number of bytes: `4096`, `10G`, `1.5TiB`. Units are powers of 1024, as in ZFS.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size: say 4096, 512M, 10G or 1.5T");
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim().to_ascii_uppercase();
    let unit = unit
        .strip_suffix("IB")
        .or(unit.strip_suffix('B'))
        .unwrap_or(&unit);
    let shift = match unit {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        "P" => 50,
        "E" => 60,
        _ => return Err(wrong()),
    };
    let too_big = || format!("{text:?} is more than 16 EiB");
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || part.contains('.') || part.len() > 9 {
        return Err(wrong());
    }
    let whole: u128 = whole.parse().map_err(|_| wrong())?;
    let scale = 10_u128.pow(u32::try_from(part.len()).map_err(|_| wrong())?);
    let part: u128 = match part {
        "" => 0,
        digits => digits.parse().map_err(|_| wrong())?,
    };
    let bytes = whole
        .checked_mul(scale)
        .and_then(|whole| whole.checked_add(part)?.checked_mul(1 << shift))
        .ok_or_else(too_big)?;
    u64::try_from(bytes / scale).map_err(|_| too_big())
}

/// A limit, or none. A type of its own: of an `Option` in an `Option` clap sees only the outer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit(pub(crate) Option<u64>);

/// A limit: a size, or `none`.
pub(crate) fn limit(text: &str) -> Result<Limit, String> {
    match text {
        "none" => Ok(Limit(None)),
        size => bytes(size).map(|bytes| Limit(Some(bytes))),
    }
}

/// A limit of a count: a number, or `none`.
pub(crate) fn count(text: &str) -> Result<Limit, String> {
    match text {
        "none" => Ok(Limit(None)),
        number => number
            .parse()
            .map(|number| Limit(Some(number)))
            .map_err(|_| format!("{number:?} is no number, nor `none`")),
    }
}

/// A time from now on or ago: `90m`, `2h`, `7d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| error.to_string())
}

/// A moment: RFC 3339, or a time ago such as `2h`.
pub(crate) fn moment(text: &str) -> Result<SystemTime, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        return SystemTime::now()
            .checked_sub(ago)
            .ok_or_else(|| format!("{text:?} is before all time"));
    }
    humantime::parse_rfc3339_weak(text).map_err(|_| {
        format!("{text:?} is no moment: say 2026-01-31T12:00:00Z, or 2h for two hours ago")
    })
}

/// A moment in text.
pub(crate) fn show_moment(moment: SystemTime) -> String {
    humantime::format_rfc3339_seconds(moment).to_string()
}

/// A size with three digits and a unit.
#[allow(clippy::cast_precision_loss, reason = "for people")]
pub(crate) fn show_bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 999.5 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    match unit {
        "B" => format!("{bytes} B"),
        _ if value < 9.95 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, expected) in [
            ("0", 0),
            ("4096", 4096),
            ("10G", 10 << 30),
            ("10g", 10 << 30),
            ("10GiB", 10 << 30),
            ("10GB", 10 << 30),
            ("1.5T", 3 << 39),
            ("0.5K", 512),
            ("15E", 15 << 60),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "G",
            "-1",
            "1.2.3",
            "10X",
            "1 0",
            ".5G",
            "16E",
            "99999999999999999999E",
        ] {
            assert!(bytes(text).is_err(), "{text}");
        }
        assert_eq!(limit("none"), Ok(Limit(None)));
        assert_eq!(limit("1K"), Ok(Limit(Some(1024))));
        assert_eq!(count("12"), Ok(Limit(Some(12))));
        assert!(count("many").is_err());
    }

    #[test]
    fn sizes_are_shown() {
        assert_eq!(show_bytes(0), "0 B");
        assert_eq!(show_bytes(1024), "1.0 KiB");
        assert_eq!(show_bytes(10 << 30), "10 GiB");
        assert_eq!(show_bytes(u64::MAX), "16 EiB");
    }

    #[test]
    fn moments_are_read() {
        let moment_of = |text| moment(text).map(show_moment);
        assert_eq!(
            moment_of("2026-01-31T12:00:00Z"),
            Ok(String::from("2026-01-31T12:00:00Z"))
        );
        assert!(moment("2h").unwrap() < SystemTime::now());
        assert!(moment("yesterday").is_err());
    }
}
