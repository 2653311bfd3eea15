use std::fmt;

use zfs_core::{Dataset, Result};

/// Which limit a dataset reaches first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Its `quota`: for it, its snapshots and all below it.
    Quota,
    /// Its `refquota`: for what it references itself.
    RefQuota,
    /// A quota or a reservation elsewhere in the pool, or the pool's size.
    Pool,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Quota => "quota",
            Self::RefQuota => "refquota",
            Self::Pool => "pool",
        })
    }
}

/// How a dataset stands to its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QuotaState {
    /// There is room.
    Ok,
    /// The threshold is passed: writes will fail soon.
    Near,
    /// The limit is reached: writes fail, or will within a few transaction groups.
    Exceeded,
}

impl fmt::Display for QuotaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Near => "near its limit",
            Self::Exceeded => "at its limit",
        })
    }
}

/// How much a dataset can still write, and what will stop it.
///
/// The figures are those of the last transaction group that was synced: what was written in the
/// last seconds is not in them ([`Pool::sync`](zfs_core::Pool::sync) changes that).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headroom {
    limit: Limit,
    used: u64,
    available: u64,
}

impl Headroom {
    /// Asks the kernel.
    ///
    /// # Errors
    ///
    /// `NotFound`, `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// None.
    ///
    /// The properties `used`, `referenced`, `available`, `quota` and `refquota`, `zfsprops(7)`.
    pub fn of(dataset: &Dataset) -> Result<Self> {
        let props = dataset.properties()?;
        Ok(Self::tightest(
            [
                (Limit::Quota, props.used(), props.quota()),
                (Limit::RefQuota, props.referenced(), props.ref_quota()),
            ],
            props.used(),
            // Every filesystem and volume has this property.
            props.available().unwrap_or_default(),
        ))
    }

    fn tightest(own: [(Limit, u64, Option<u64>); 2], used: u64, available: u64) -> Self {
        let pool = Self {
            limit: Limit::Pool,
            used,
            available,
        };
        own.into_iter()
            .filter_map(|(limit, used, most)| {
                let available = most?.saturating_sub(used);
                Some(Self {
                    limit,
                    used,
                    available,
                })
            })
            // The kernel's figure has all limits in it. One's own explains more when it is as tight.
            .chain([pool])
            .min_by_key(|headroom| headroom.available)
            .unwrap_or(pool)
    }

    /// What it reaches first.
    #[must_use]
    pub fn limit(&self) -> Limit {
        self.limit
    }

    /// What it uses of that, in bytes.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used
    }

    /// What it can still write, in bytes.
    #[must_use]
    pub fn available(&self) -> u64 {
        self.available
    }

    /// How full it is, in percent, rounded down: 100 when nothing is available.
    #[must_use]
    pub fn percent(&self) -> u8 {
        if self.available == 0 {
            return 100;
        }
        let (used, available) = (u128::from(self.used), u128::from(self.available));
        u8::try_from(used * 100 / (used + available)).unwrap_or(100)
    }

    /// Its state, which is [`Near`](QuotaState::Near) from `threshold` percent on.
    #[must_use]
    pub fn state(&self, threshold: u8) -> QuotaState {
        if self.available == 0 {
            QuotaState::Exceeded
        } else if self.percent() >= threshold {
            QuotaState::Near
        } else {
            QuotaState::Ok
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headroom(quota: Option<u64>, ref_quota: Option<u64>, available: u64) -> Headroom {
        let own = [(Limit::Quota, 80, quota), (Limit::RefQuota, 50, ref_quota)];
        Headroom::tightest(own, 80, available)
    }

    #[test]
    fn the_tightest_limit_counts() {
        let tightest = |quota, ref_quota, available| {
            let headroom = headroom(quota, ref_quota, available);
            (headroom.limit(), headroom.used(), headroom.available())
        };
        assert_eq!(tightest(Some(100), None, 20), (Limit::Quota, 80, 20));
        assert_eq!(tightest(None, Some(60), 10), (Limit::RefQuota, 50, 10));
        assert_eq!(tightest(Some(100), Some(60), 10), (Limit::RefQuota, 50, 10));
        assert_eq!(tightest(Some(100), Some(90), 20), (Limit::Quota, 80, 20));
        assert_eq!(tightest(Some(100), Some(90), 7), (Limit::Pool, 80, 7));
        assert_eq!(tightest(None, None, 7), (Limit::Pool, 80, 7));
        assert_eq!(tightest(Some(70), None, 0), (Limit::Quota, 80, 0));
    }

    #[test]
    fn states() {
        let state = |available, threshold| headroom(None, None, available).state(threshold);
        assert_eq!(state(20, 81), QuotaState::Ok);
        assert_eq!(state(20, 80), QuotaState::Near);
        assert_eq!(state(0, 100), QuotaState::Exceeded);
        assert_eq!(state(1, 99), QuotaState::Ok);
        let huge = headroom(None, None, u64::MAX);
        assert_eq!((huge.percent(), huge.state(1)), (0, QuotaState::Ok));
        let full = Headroom::tightest([(Limit::Quota, u64::MAX, None); 2], u64::MAX, 1);
        assert_eq!(full.percent(), 99);
    }
}
