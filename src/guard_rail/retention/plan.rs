use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use super::{Keep, Retention};
use crate::guard_rail::GuardRail;

/// What a policy goes by: a guard rail's name, time, reason and tags.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RailInfo {
    /// Its name.
    pub name: String,
    /// The transaction group that it was taken in. The newest is the one with the highest.
    pub txg: u64,
    /// When it was taken.
    #[serde(serialize_with = "time")]
    pub taken: SystemTime,
    /// Why it was taken.
    pub reason: Option<String>,
    /// Its tags.
    pub tags: BTreeSet<String>,
}

impl From<&GuardRail> for RailInfo {
    fn from(rail: &GuardRail) -> Self {
        Self {
            name: rail.name().to_owned(),
            txg: rail.txg(),
            taken: rail.taken(),
            reason: rail.change().reason.clone(),
            tags: rail.change().tags.clone(),
        }
    }
}

fn time<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    // A time that has no text would be a panic.
    let text = seconds(*time)
        .filter(|seconds| *seconds <= 253_402_300_799)
        .map(|_| humantime::format_rfc3339_millis(*time).to_string());
    serializer.serialize_some(&text)
}

fn seconds(time: SystemTime) -> Option<u64> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(since.as_secs())
}

/// Why a guard rail stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum KeptBecause {
    /// It is the newest of all. That one stays whatever the policy says.
    Newest,
    /// It is one of the newest of its kind.
    Last,
    /// It is the newest of its hour.
    Hourly,
    /// It is the newest of its day.
    Daily,
    /// It is the newest of its week.
    Weekly,
    /// It is not old enough to go.
    Within,
}

impl fmt::Display for KeptBecause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Newest => "newest",
            Self::Last => "last",
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Within => "not old enough",
        })
    }
}

/// A guard rail that stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Kept {
    /// The guard rail.
    pub rail: RailInfo,
    /// Why: all that applies.
    pub because: Vec<KeptBecause>,
}

/// Which guard rails stay and which go, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RetentionPlan {
    /// Those that stay.
    pub keep: Vec<Kept>,
    /// Those that go.
    pub remove: Vec<RailInfo>,
}

impl Retention {
    /// What the policy says of these guard rails, if it is `now`.
    ///
    /// This is arithmetic: nothing is asked of the kernel. The order of the guard rails does not
    /// matter. The newest of all stays, whatever the policy says; and what a plan keeps, the same
    /// policy keeps again when the rest is gone.
    #[must_use]
    pub fn plan(&self, rails: &[RailInfo], now: SystemTime) -> RetentionPlan {
        let mut newest_first: Vec<&RailInfo> = rails.iter().collect();
        newest_first.sort_by(|a, b| (b.txg, &b.name, b.taken).cmp(&(a.txg, &a.name, a.taken)));
        let mut kinds: BTreeMap<usize, Kind> = BTreeMap::new();
        let mut plan = RetentionPlan::default();
        for (n, rail) in newest_first.into_iter().enumerate() {
            let (kind, keep) = self.rule(rail);
            let mut because = kinds.entry(kind).or_default().keeps(rail, keep, now);
            if n == 0 {
                because.insert(0, KeptBecause::Newest);
            }
            let rail = rail.clone();
            match because.is_empty() {
                true => plan.remove.push(rail),
                false => plan.keep.push(Kept { rail, because }),
            }
        }
        plan.keep.reverse();
        plan.remove.reverse();
        plan
    }
}

/// What was kept of the guard rails that belong together, from the newest on.
#[derive(Default)]
struct Kind {
    last: u32,
    hours: BTreeSet<u64>,
    days: BTreeSet<u64>,
    weeks: BTreeSet<u64>,
}

impl Kind {
    fn keeps(&mut self, rail: &RailInfo, keep: &Keep, now: SystemTime) -> Vec<KeptBecause> {
        const HOUR: u64 = 3600;
        const DAY: u64 = 24 * HOUR;
        let mut because = Vec::new();
        if self.last < keep.last {
            self.last = self.last.saturating_add(1);
            because.push(KeptBecause::Last);
        }
        // What was before 1970 was in its first hour.
        let taken = seconds(rail.taken).unwrap_or_default();
        // The epoch was a Thursday.
        let monday = taken.saturating_add(3 * DAY);
        for (periods, period, most, why) in [
            (
                &mut self.hours,
                taken / HOUR,
                keep.hourly,
                KeptBecause::Hourly,
            ),
            (&mut self.days, taken / DAY, keep.daily, KeptBecause::Daily),
            (
                &mut self.weeks,
                monday / (7 * DAY),
                keep.weekly,
                KeptBecause::Weekly,
            ),
        ] {
            let is_full = u32::try_from(periods.len()).is_ok_and(|n| n >= most);
            if !is_full && periods.insert(period) {
                because.push(why);
            }
        }
        // One from the future has no age.
        let age = now.duration_since(rail.taken).unwrap_or(Duration::ZERO);
        if keep.within.is_some_and(|within| age <= within) {
            because.push(KeptBecause::Within);
        }
        because
    }
}

#[cfg(test)]
mod tests;
