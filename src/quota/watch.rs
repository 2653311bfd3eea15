use serde::Serialize;
use zfs_core::{Dataset, DatasetName, Error};

use super::forecast::{Forecast, History, Sample};
use super::room::Room;

/// Percentages at which somebody wants to be told.
///
/// A threshold is passed when a dataset's limit is that full, and left again only when it has
/// emptied by so many percent more as the hysteresis says: a figure that wavers about a threshold is
/// one event, and not many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// In ascending order; the last is 100.
    percents: Vec<u8>,
    hysteresis: u8,
}

/// Why thresholds were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no threshold: 1 to 100 percent")]
pub struct ThresholdError(u8);

impl Thresholds {
    /// These percentages, of 1 to 100, and 100. The hysteresis is 5 percent.
    ///
    /// # Errors
    ///
    /// [`ThresholdError`] for any other number.
    pub fn new(percents: &[u8]) -> Result<Self, ThresholdError> {
        if let Some(&wrong) = percents
            .iter()
            .find(|percent| !(1..=100).contains(*percent))
        {
            return Err(ThresholdError(wrong));
        }
        let mut percents: Vec<u8> = percents.iter().copied().chain([100]).collect();
        percents.sort_unstable();
        percents.dedup();
        Ok(Self {
            percents,
            hysteresis: 5,
        })
    }

    /// By how many percent a dataset must fall below a threshold to have left it.
    #[must_use]
    pub fn hysteresis(mut self, percent: u8) -> Self {
        self.hysteresis = percent;
        self
    }

    fn left(&self, threshold: u8, percent: u8) -> bool {
        percent < threshold && percent.saturating_add(self.hysteresis) <= threshold
    }
}

/// A change of the highest threshold that is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Crossing {
    /// The highest that was passed before; `None` is none.
    pub from: Option<u8>,
    /// The highest that is passed now.
    pub to: Option<u8>,
}

impl Crossing {
    /// Whether there is less room than before.
    #[must_use]
    pub fn is_worse(&self) -> bool {
        self.to > self.from
    }
}

/// Thresholds, and the highest of them that is passed. Pure: it is told the figures.
///
/// ```
/// use helix_zfs::quota::{Alarm, Thresholds};
///
/// let mut alarm = Alarm::new(Thresholds::new(&[80])?.hysteresis(10));
/// assert_eq!(alarm.observe(80).map(|crossing| crossing.to), Some(Some(80)));
/// assert_eq!(alarm.observe(71), None);
/// assert_eq!(alarm.observe(70).map(|crossing| crossing.to), Some(None));
/// # Ok::<(), helix_zfs::quota::ThresholdError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Alarm {
    thresholds: Thresholds,
    passed: Option<u8>,
}

impl Alarm {
    /// An alarm that has passed no threshold yet.
    #[must_use]
    pub fn new(thresholds: Thresholds) -> Self {
        Self {
            thresholds,
            passed: None,
        }
    }

    /// The highest threshold that is passed.
    #[must_use]
    pub fn passed(&self) -> Option<u8> {
        self.passed
    }

    /// Takes a figure in percent, and tells what it changes.
    pub fn observe(&mut self, percent: u8) -> Option<Crossing> {
        let thresholds = &self.thresholds;
        let is_passed = |threshold: u8| {
            let still = self.passed.is_some_and(|passed| threshold <= passed)
                && !thresholds.left(threshold, percent);
            percent >= threshold || still
        };
        let highest = thresholds.percents.iter().rev().copied();
        let to = highest.into_iter().find(|&threshold| is_passed(threshold));
        let from = std::mem::replace(&mut self.passed, to);
        (from != to).then_some(Crossing { from, to })
    }
}

/// What a [`Watcher`] found.
#[derive(Debug)]
#[non_exhaustive]
pub enum WatchEvent {
    /// A dataset passed a threshold, or has left it.
    Crossed {
        /// Which ones.
        crossing: Crossing,
        /// Its room now.
        room: Box<Room>,
    },
    /// A dataset cannot be asked any more. It is told once, and it stays watched.
    Lost {
        /// The dataset.
        dataset: DatasetName,
        /// Why.
        error: Error,
    },
    /// A dataset that was lost can be asked again.
    Found {
        /// The dataset.
        dataset: DatasetName,
    },
}

#[derive(Debug)]
struct Watched {
    dataset: Dataset,
    alarm: Alarm,
    history: History,
    /// What it could still write when it was last asked.
    available: u64,
    lost: bool,
}

/// Watches datasets, and tells when they pass thresholds.
///
/// It has no thread and no clock: who calls [`poll`](Self::poll) says how often the kernel is asked,
/// from a timer for example.
///
/// ```no_run
/// use helix_zfs::quota::{Thresholds, WatchEvent, Watcher};
/// use helix_zfs::zfs_core::Zfs;
///
/// let mut watcher = Watcher::new(Thresholds::new(&[80, 90])?);
/// watcher.watch(Zfs::open()?.dataset("tank/tenants/acme")?);
/// loop {
///     for event in watcher.poll() {
///         if let WatchEvent::Crossed { room, .. } = event {
///             println!("{}: {} % of the {}", room.dataset(), room.percent(), room.limit());
///         }
///     }
///     std::thread::sleep(std::time::Duration::from_secs(10));
/// }
/// # #[allow(unreachable_code)]
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Watcher {
    thresholds: Thresholds,
    watched: Vec<Watched>,
}

impl Watcher {
    /// A watcher of nothing yet.
    #[must_use]
    pub fn new(thresholds: Thresholds) -> Self {
        Self {
            thresholds,
            watched: Vec::new(),
        }
    }

    /// Watches a dataset too. One that is watched already stays as it is.
    pub fn watch(&mut self, dataset: Dataset) {
        if self.watched(dataset.name()).is_none() {
            self.watched.push(Watched {
                dataset,
                alarm: Alarm::new(self.thresholds.clone()),
                history: History::default(),
                available: 0,
                lost: false,
            });
        }
    }

    /// Watches a dataset no longer.
    pub fn forget(&mut self, dataset: &DatasetName) {
        self.watched
            .retain(|watched| watched.dataset.name() != dataset);
    }

    fn watched(&self, dataset: &DatasetName) -> Option<&Watched> {
        let mut all = self.watched.iter();
        all.find(|watched| watched.dataset.name() == dataset)
    }

    /// Asks the kernel about each dataset as the iterator goes on, and tells what changed. The first
    /// time, that is every threshold that is passed.
    pub fn poll(&mut self) -> impl Iterator<Item = WatchEvent> {
        self.watched.iter_mut().flat_map(Watched::poll)
    }

    /// When a dataset will be full, by what was seen of it so far: see [`Forecast`].
    #[must_use]
    pub fn forecast(&self, dataset: &DatasetName) -> Option<Forecast> {
        let watched = self.watched(dataset)?;
        Forecast::of(watched.history.samples(), watched.available)
    }
}

impl Watched {
    fn poll(&mut self) -> Vec<WatchEvent> {
        let dataset = self.dataset.name();
        let room = match Room::of(&self.dataset) {
            Ok(room) => room,
            Err(_) if self.lost => return Vec::new(),
            Err(error) => {
                self.lost = true;
                let dataset = dataset.clone();
                return vec![WatchEvent::Lost { dataset, error }];
            }
        };
        let mut events = Vec::new();
        if std::mem::take(&mut self.lost) {
            let dataset = dataset.clone();
            events.push(WatchEvent::Found { dataset });
        }
        self.history.push(Sample::now(&room));
        self.available = room.available();
        if let Some(crossing) = self.alarm.observe(room.percent()) {
            let room = Box::new(room);
            events.push(WatchEvent::Crossed { crossing, room });
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn figures_that_waver_are_one_event() {
        let mut alarm = Alarm::new(Thresholds::new(&[80, 90]).unwrap());
        let told: Vec<_> = [79, 80, 79, 81, 76, 80, 91, 86, 90, 85, 75, 100, 96, 95]
            .into_iter()
            .filter_map(|percent| {
                alarm
                    .observe(percent)
                    .map(|crossing| (percent, crossing.to))
            })
            .collect();
        assert_eq!(
            told,
            [
                (80, Some(80)),
                (91, Some(90)),
                (85, Some(80)),
                (75, None),
                (100, Some(100)),
                (95, Some(90)),
            ]
        );
    }

    #[test]
    fn thresholds_are_percentages() {
        assert_eq!(Thresholds::new(&[80, 0]), Err(ThresholdError(0)));
        assert_eq!(Thresholds::new(&[101]), Err(ThresholdError(101)));
        let none = Thresholds::new(&[]).unwrap().hysteresis(0);
        let mut alarm = Alarm::new(none);
        assert_eq!(alarm.observe(99), None);
        assert!(alarm.observe(100).unwrap().is_worse());
        assert!(!alarm.observe(99).unwrap().is_worse());
    }

    proptest! {
        #[test]
        fn alarms_keep_their_word(
            percents in proptest::collection::vec(1u8..=100, 0..5),
            hysteresis in 0u8..=30,
            figures in proptest::collection::vec(0u8..=100, 1..60),
        ) {
            let thresholds = Thresholds::new(&percents).unwrap().hysteresis(hysteresis);
            let all = thresholds.percents.clone();
            let mut alarm = Alarm::new(thresholds);
            let mut before = None;
            for figure in figures {
                let crossing = alarm.observe(figure);
                let passed = alarm.passed();
                // What is told is what changed.
                prop_assert_eq!(crossing.map(|c| (c.from, c.to)), (before != passed).then_some((before, passed)));
                // Never quiet over a threshold.
                let reached = all.iter().copied().filter(|&t| t <= figure).max();
                prop_assert!(passed >= reached);
                // Never louder than what was reached, or held.
                prop_assert!(passed <= reached.max(before));
                // What is held is within the hysteresis.
                if let Some(threshold) = passed.filter(|&t| t > figure) {
                    prop_assert!(figure + hysteresis > threshold);
                }
                // The same again tells nothing.
                prop_assert_eq!(alarm.observe(figure), None);
                before = passed;
            }
        }
    }
}
