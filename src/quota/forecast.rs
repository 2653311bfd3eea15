use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};
use zfs_core::{Dataset, Result, SnapshotFilter};

use super::room::Room;

/// What was used at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Sample {
    /// When.
    #[serde(serialize_with = "as_time")]
    pub at: SystemTime,
    /// How many bytes.
    pub used: u64,
}

fn as_time<S: Serializer>(
    time: &SystemTime,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_seconds(*time))
}

fn as_maybe_time<S: Serializer>(
    time: &Option<SystemTime>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    match time {
        Some(time) => as_time(time, serializer),
        None => serializer.serialize_none(),
    }
}

impl Sample {
    /// So many bytes were used at this time.
    #[must_use]
    pub fn new(at: SystemTime, used: u64) -> Self {
        Self { at, used }
    }

    /// What is used now of the limit that binds.
    #[must_use]
    pub fn now(room: &Room) -> Self {
        Self::new(SystemTime::now(), room.used())
    }
}

/// The recent samples of a dataset: the oldest go when there are too many, or when they are older
/// than the span that counts as recent.
#[derive(Clone, Debug)]
pub struct History {
    span: Duration,
    most: usize,
    samples: VecDeque<Sample>,
}

impl Default for History {
    /// At most 1024 samples of the last day.
    fn default() -> Self {
        Self::new(Duration::from_secs(24 * 60 * 60), 1024)
    }
}

impl History {
    /// At most `most` samples, none of them older than `span` when the newest was taken.
    #[must_use]
    pub fn new(span: Duration, most: usize) -> Self {
        Self {
            span,
            most,
            samples: VecDeque::new(),
        }
    }

    /// Adds a sample. One that is older than the newest is dropped: a clock was set back.
    pub fn push(&mut self, sample: Sample) {
        if self.samples.back().is_some_and(|last| last.at > sample.at) {
            return;
        }
        self.samples.push_back(sample);
        let too_old = |first: &Sample| {
            let age = sample.at.duration_since(first.at);
            age.is_ok_and(|age| age > self.span)
        };
        while self.samples.len() > self.most || self.samples.front().is_some_and(too_old) {
            self.samples.pop_front();
        }
    }

    /// The samples, oldest first.
    pub fn samples(&self) -> impl Iterator<Item = Sample> {
        self.samples.iter().copied()
    }
}

/// How far a forecast can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Few samples, or they go up and down.
    Low,
    /// At least 5 samples, of whose changes steady growth explains half.
    Medium,
    /// At least 10 samples, of whose changes steady growth explains nine tenths.
    High,
}

/// When a dataset will be full, if it goes on growing as it did: a straight line through samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Forecast {
    /// The growth in bytes a second; what shrinks has a negative one.
    pub rate: f64,
    /// When nothing will be left. `None` when it does not grow, or not within a thousand years.
    #[serde(serialize_with = "as_maybe_time")]
    pub fills_at: Option<SystemTime>,
    /// When it is full at the earliest, if it grows by two standard errors of the rate faster.
    #[serde(serialize_with = "as_maybe_time")]
    pub earliest: Option<SystemTime>,
    /// How many samples there were.
    pub samples: usize,
    /// How far it can be believed.
    pub confidence: Confidence,
}

impl Forecast {
    /// A forecast from samples in the order of their times, of which the newest has `available`
    /// bytes left. `None` for fewer than three samples, or when no time passed between them.
    #[must_use]
    pub fn of(samples: impl IntoIterator<Item = Sample>, available: u64) -> Option<Self> {
        let samples: Vec<Sample> = samples.into_iter().collect();
        let (first, last) = (samples.first()?, samples.last()?);
        let line = Line::through(&samples, first)?;
        let confidence = match samples.len() {
            10.. if line.explained >= 0.9 => Confidence::High,
            5.. if line.explained >= 0.5 => Confidence::Medium,
            _ => Confidence::Low,
        };
        Some(Self {
            rate: line.rate,
            fills_at: full_at(last.at, available, line.rate),
            earliest: full_at(last.at, available, line.rate + 2.0 * line.rate_error),
            samples: samples.len(),
            confidence,
        })
    }

    /// A forecast from what the dataset's snapshots referenced, and from what it does now.
    ///
    /// It needs no samples taken beforehand. It sees the growth of the data alone: not what its
    /// snapshots keep, nor what other datasets under the same limit write.
    ///
    /// # Errors
    ///
    /// As [`Room::of`].
    pub fn from_snapshots(dataset: &Dataset) -> Result<Option<Self>> {
        let room = Room::of(dataset)?;
        let snapshots = dataset.snapshots_with_properties(&SnapshotFilter::new())?;
        let now = Sample::new(
            SystemTime::now(),
            room.path().first().map_or(0, |own| own.referenced),
        );
        let samples = snapshots.iter().filter_map(|(_, props)| {
            let since = Duration::from_secs(props.creation());
            let at = SystemTime::UNIX_EPOCH.checked_add(since)?;
            Some(Sample::new(at, props.referenced()))
        });
        // A clock that was set back leaves snapshots of the future.
        let past = samples.filter(|sample| sample.at <= now.at);
        Ok(Self::of(past.chain([now]), room.available()))
    }
}

const LONGEST: f64 = 1000.0 * 365.25 * 24.0 * 3600.0;

fn full_at(now: SystemTime, available: u64, rate: f64) -> Option<SystemTime> {
    let seconds = available as f64 / rate;
    if !(rate > 0.0 && seconds <= LONGEST) {
        return None;
    }
    now.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
}

/// The straight line of which the samples are off least.
struct Line {
    rate: f64,
    /// The standard error of the rate.
    rate_error: f64,
    /// The part of the samples' variance that the line explains.
    explained: f64,
}

impl Line {
    fn through(samples: &[Sample], first: &Sample) -> Option<Self> {
        if samples.len() < 3 {
            return None;
        }
        // Differences from the first, for whole figures have more digits than an f64.
        let points = || {
            samples.iter().map(|sample| {
                let at = sample.at.duration_since(first.at).unwrap_or_default();
                let used = sample.used as f64 - first.used as f64;
                (at.as_secs_f64(), used)
            })
        };
        let count = samples.len() as f64;
        let (sum_x, sum_y) =
            points().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        let (mean_x, mean_y) = (sum_x / count, sum_y / count);
        let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
        for (x, y) in points() {
            let (x, y) = (x - mean_x, y - mean_y);
            xx += x * x;
            xy += x * y;
            yy += y * y;
        }
        if xx <= 0.0 {
            return None;
        }
        let rate = xy / xx;
        let off = (yy - rate * xy).max(0.0);
        Some(Self {
            rate,
            rate_error: (off / (count - 2.0) / xx).sqrt(),
            // What never changes is explained by not growing.
            explained: if yy > 0.0 { 1.0 - off / yy } else { 1.0 },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
    }

    fn samples(used: impl IntoIterator<Item = u64>) -> impl Iterator<Item = Sample> {
        let numbered = used.into_iter().enumerate();
        numbered.map(|(n, used)| Sample::new(at(60 * n as u64), used))
    }

    #[test]
    fn steady_growth_is_foretold_to_the_second() {
        let used = (0..10).map(|n| (5 << 30) + 6000 * n);
        let forecast = Forecast::of(samples(used), 36_000).unwrap();
        assert!((forecast.rate - 100.0).abs() < 1e-6, "{forecast:?}");
        let fills = forecast.fills_at.unwrap();
        let off = fills.duration_since(at(540 + 359)).unwrap();
        assert!(off < Duration::from_secs(2), "{forecast:?}");
        assert_eq!(forecast.confidence, Confidence::High);
        let json = serde_json::to_value(forecast).unwrap();
        assert!(json["fills_at"].as_str().unwrap().ends_with('Z'), "{json}");
    }

    #[test]
    fn what_does_not_grow_never_fills() {
        for used in [vec![7, 7, 7], vec![900, 500, 100]] {
            let forecast = Forecast::of(samples(used), 1).unwrap();
            assert_eq!(forecast.fills_at, None);
        }
        assert_eq!(Forecast::of(samples([1, 2]), 1), None);
        let same_time = [Sample::new(at(0), 1); 5];
        assert_eq!(Forecast::of(same_time, 1), None);
        let slow = Forecast::of(samples([0, 0, 0, 1]), u64::MAX).unwrap();
        assert_eq!(slow.fills_at, None);
    }

    #[test]
    fn what_wavers_is_believed_less() {
        let used = [0, 100, 20, 90, 10, 80, 30, 100, 0, 95, 15];
        let forecast = Forecast::of(samples(used), 1000).unwrap();
        assert_eq!(forecast.confidence, Confidence::Low);
        let earliest = forecast.earliest.unwrap();
        assert!(forecast.fills_at.is_none_or(|fills| earliest < fills));
        let few = Forecast::of(samples([0, 10, 20]), 1000).unwrap();
        assert_eq!(few.confidence, Confidence::Low);
        let some = Forecast::of(samples([0, 10, 20, 30, 40]), 1000).unwrap();
        assert_eq!(some.confidence, Confidence::Medium);
    }

    #[test]
    fn history_is_of_late() {
        let mut history = History::new(Duration::from_secs(120), 4);
        for sample in samples(0..4) {
            history.push(sample);
        }
        let used = |history: &History| history.samples().map(|s| s.used).collect::<Vec<_>>();
        assert_eq!(used(&history), [1, 2, 3]);
        history.push(Sample::new(at(0), 9));
        assert_eq!(used(&history), [1, 2, 3]);
        for n in 0..9 {
            history.push(Sample::new(at(181), n));
        }
        assert_eq!(used(&history), [5, 6, 7, 8]);
    }

    proptest! {
        #[test]
        fn any_samples_have_a_forecast(
            points in proptest::collection::vec((0u64..1 << 40, any::<u64>()), 0..40),
            available in any::<u64>(),
        ) {
            let mut points = points;
            points.sort_unstable();
            let samples = points.iter().map(|&(seconds, used)| Sample::new(at(seconds), used));
            let last = points.last().map(|&(seconds, _)| at(seconds));
            let Some(forecast) = Forecast::of(samples, available) else {
                let distinct = points.first().map(|p| p.0) != points.last().map(|p| p.0);
                prop_assert!(points.len() < 3 || !distinct);
                return Ok(());
            };
            prop_assert!(forecast.rate.is_finite());
            if let Some(fills) = forecast.fills_at {
                prop_assert!(forecast.rate > 0.0 && Some(fills) >= last);
                prop_assert!(forecast.earliest.is_some_and(|earliest| earliest <= fills));
            }
        }

        #[test]
        fn a_line_is_found_under_any_start(
            start in 0u64..1 << 50, step in 1u64..1 << 30, count in 3u64..50,
        ) {
            let used = (0..count).map(|n| start + n * step);
            let forecast = Forecast::of(samples(used), 0).unwrap();
            let rate = step as f64 / 60.0;
            prop_assert!((forecast.rate / rate - 1.0).abs() < 1e-6);
            prop_assert_eq!(forecast.fills_at, Some(at(60 * (count - 1))));
        }
    }
}
