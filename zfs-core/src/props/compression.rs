use super::index::IndexValue;
use super::setting::Setting;
use super::table::Prop;
use crate::nv::Value;
use std::borrow::Cow;
use std::fmt;

/// The compression of blocks.
///
/// Setting it changes what is written from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// The one that ZFS recommends: LZ4, if the pool has the feature.
    On,
    /// None.
    Off,
    /// LZJB: outdated.
    Lzjb,
    /// gzip.
    Gzip(GzipLevel),
    /// Only runs of zeros.
    Zle,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd(ZstdLevel),
    /// A value that this crate does not know.
    Unknown(u64),
}

/// A level of gzip: 1 is fastest, 9 is smallest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GzipLevel(u8);

impl GzipLevel {
    /// What `gzip` without a level stands for: 6.
    pub const DEFAULT: Self = Self(6);

    /// A level from 1 to 9.
    #[must_use]
    pub const fn new(level: u8) -> Option<Self> {
        match level {
            1..=9 => Some(Self(level)),
            _ => None,
        }
    }

    /// The level.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// A level of Zstandard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ZstdLevel(Zstd);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Zstd {
    Default,
    Level(u8),
    Fast(u16),
}

/// The fast levels from the eleventh on.
const FAST: [u16; 11] = [20, 30, 40, 50, 60, 70, 80, 90, 100, 500, 1000];

const ON: u64 = 1;
const OFF: u64 = 2;
const LZJB: u64 = 3;
const GZIP_1: u64 = 5;
const GZIP_9: u64 = 13;
const ZLE: u64 = 14;
const LZ4: u64 = 15;
const ZSTD: u64 = 16;
/// Above the algorithm stands its level.
const LEVEL_SHIFT: u32 = 7;
const ZSTD_19: u64 = 19;
/// The fast levels are numbered in their order from here.
const ZSTD_FAST_1: u64 = 103;

impl ZstdLevel {
    /// What `zstd` without a level stands for: 3, and what later versions may make of it.
    pub const DEFAULT: Self = Self(Zstd::Default);

    /// A level from 1, fastest, to 19, smallest.
    #[must_use]
    pub const fn new(level: u8) -> Option<Self> {
        match level {
            1..=19 => Some(Self(Zstd::Level(level))),
            _ => None,
        }
    }

    /// A fast level: 1 to 10, 20 to 100 in tens, 500 or 1000. The larger the faster.
    #[must_use]
    pub const fn fast(level: u16) -> Option<Self> {
        match level {
            1..=10 | 20 | 30 | 40 | 50 | 60 | 70 | 80 | 90 | 100 | 500 | 1000 => {
                Some(Self(Zstd::Fast(level)))
            }
            _ => None,
        }
    }

    fn raw(self) -> u64 {
        let number = match self.0 {
            Zstd::Default => 0,
            Zstd::Level(level) => u64::from(level),
            Zstd::Fast(level @ 1..=10) => ZSTD_FAST_1 - 1 + u64::from(level),
            Zstd::Fast(level) => {
                let later = FAST.iter().take_while(|&&fast| fast != level).count();
                ZSTD_FAST_1 + 10 + later as u64
            }
        };
        ZSTD | number << LEVEL_SHIFT
    }

    fn from_raw(number: u64) -> Option<Self> {
        let level = match number {
            0 => Zstd::Default,
            1..=ZSTD_19 => Zstd::Level(u8::try_from(number).ok()?),
            _ => {
                let order = usize::try_from(number.checked_sub(ZSTD_FAST_1)?).ok()?;
                Zstd::Fast(match order {
                    0..10 => u16::try_from(order).ok()? + 1,
                    _ => *FAST.get(order - 10)?,
                })
            }
        };
        Some(Self(level))
    }
}

impl Compression {
    /// The meaning of the kernel's number.
    #[must_use]
    pub fn from_raw(raw: u64) -> Self {
        match raw {
            ON => Self::On,
            OFF => Self::Off,
            LZJB => Self::Lzjb,
            GZIP_1..=GZIP_9 => match u8::try_from(raw - GZIP_1 + 1) {
                Ok(level) => Self::Gzip(GzipLevel(level)),
                Err(_) => Self::Unknown(raw),
            },
            ZLE => Self::Zle,
            LZ4 => Self::Lz4,
            _ if raw & ((1 << LEVEL_SHIFT) - 1) == ZSTD => {
                ZstdLevel::from_raw(raw >> LEVEL_SHIFT).map_or(Self::Unknown(raw), Self::Zstd)
            }
            _ => Self::Unknown(raw),
        }
    }

    /// The kernel's number for it.
    #[must_use]
    pub fn raw(self) -> u64 {
        match self {
            Self::On => ON,
            Self::Off => OFF,
            Self::Lzjb => LZJB,
            Self::Gzip(level) => GZIP_1 - 1 + u64::from(level.0),
            Self::Zle => ZLE,
            Self::Lz4 => LZ4,
            Self::Zstd(level) => level.raw(),
            Self::Unknown(raw) => raw,
        }
    }

    /// Its name, as the `zfs` command has it.
    #[must_use]
    pub fn name(self) -> Option<Cow<'static, str>> {
        Some(Cow::Borrowed(match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Lzjb => "lzjb",
            Self::Gzip(GzipLevel::DEFAULT) => "gzip",
            Self::Gzip(level) => return Some(Cow::Owned(format!("gzip-{}", level.0))),
            Self::Zle => "zle",
            Self::Lz4 => "lz4",
            Self::Zstd(ZstdLevel(level)) => match level {
                Zstd::Default => "zstd",
                Zstd::Level(level) => return Some(Cow::Owned(format!("zstd-{level}"))),
                Zstd::Fast(1) => "zstd-fast",
                Zstd::Fast(level) => return Some(Cow::Owned(format!("zstd-fast-{level}"))),
            },
            Self::Unknown(_) => return None,
        }))
    }

    /// The compression of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "on" => Self::On,
            "off" => Self::Off,
            "lzjb" => Self::Lzjb,
            "gzip" => Self::Gzip(GzipLevel::DEFAULT),
            "zle" => Self::Zle,
            "lz4" => Self::Lz4,
            "zstd" => Self::Zstd(ZstdLevel::DEFAULT),
            "zstd-fast" => Self::Zstd(ZstdLevel(Zstd::Fast(1))),
            _ => {
                if let Some(level) = name.strip_prefix("gzip-") {
                    Self::Gzip(GzipLevel::new(level.parse().ok()?)?)
                } else if let Some(level) = name.strip_prefix("zstd-fast-") {
                    Self::Zstd(ZstdLevel::fast(level.parse().ok()?)?)
                } else {
                    Self::Zstd(ZstdLevel::new(name.strip_prefix("zstd-")?.parse().ok()?)?)
                }
            }
        })
    }
}

impl IndexValue for Compression {
    fn raw_name(raw: u64) -> Option<Cow<'static, str>> {
        Self::from_raw(raw).name()
    }

    fn raw_from_name(name: &str) -> Option<u64> {
        Self::from_name(name).map(Self::raw)
    }
}

impl Setting for Compression {
    const PROP: Prop = Prop::Compression;

    fn to_value(&self) -> Value {
        Value::Uint64(self.raw())
    }

    fn from_value(value: &Value) -> Option<Self> {
        value.as_u64().map(Self::from_raw)
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(&name),
            None => write!(f, "{}", self.raw()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_lead_back() {
        let mut named = 0;
        for raw in 0..0x8000 {
            let compression = Compression::from_raw(raw);
            assert_eq!(compression.raw(), raw);
            if let Some(name) = compression.name() {
                assert_eq!(Compression::from_name(&name), Some(compression), "{name}");
                named += 1;
            }
        }
        // on, off, lzjb, zle, lz4, gzip 1-9, zstd, zstd 1-19, 21 fast levels
        assert_eq!(named, 5 + 9 + 1 + 19 + 21);
    }

    #[test]
    fn numbers_of_the_kernel() {
        for (name, raw) in [
            ("gzip", 10),
            ("gzip-9", 13),
            ("zstd", 16),
            ("zstd-3", 16 | 3 << 7),
            ("zstd-19", 16 | 19 << 7),
            ("zstd-fast", 16 | 103 << 7),
            ("zstd-fast-10", 16 | 112 << 7),
            ("zstd-fast-20", 16 | 113 << 7),
            ("zstd-fast-1000", 16 | 123 << 7),
        ] {
            assert_eq!(
                Compression::from_name(name).map(Compression::raw),
                Some(raw),
                "{name}"
            );
        }
        for name in [
            "gzip-0",
            "gzip-10",
            "zstd-20",
            "zstd-fast-11",
            "zstd-",
            "lz5",
        ] {
            assert_eq!(Compression::from_name(name), None, "{name}");
        }
    }
}
