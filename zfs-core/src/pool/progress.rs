use super::scan::ScanState;
use zfs_core_sys::ioctl as word;

/// How far something is that goes through a pool, and how fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Progress {
    /// Bytes done.
    pub done: u64,
    /// Bytes in all, which is an estimate.
    pub total: u64,
    /// Bytes per second since the pass began. `None` while it is paused or waits.
    pub rate: Option<u64>,
    /// Seconds to go at that rate. `None` when nothing can be said.
    ///
    /// The `zpool` command keeps the estimate of a scan to itself below 10 MiB a second.
    pub time_left: Option<u64>,
}

impl Progress {
    /// `moved` is what was done in `milliseconds`: `None` while it stands still.
    pub(super) fn new(done: u64, total: u64, moved: Option<(u64, u64)>) -> Self {
        let rate = moved.map(|(bytes, milliseconds)| {
            let rate = u128::from(bytes) * 1000 / u128::from(milliseconds.max(1));
            u64::try_from(rate).unwrap_or(u64::MAX)
        });
        Self {
            done,
            total,
            rate,
            time_left: rate.and_then(|rate| total.saturating_sub(done).checked_div(rate)),
        }
    }

    /// How much of it is done: 0 to 1.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a fraction is for people")]
    pub fn fraction(&self) -> f64 {
        match self.total {
            0 => 0.0,
            total => (self.done as f64 / total as f64).min(1.0),
        }
    }
}

/// How far a sequential resilver is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum RebuildState {
    /// There was none.
    None,
    /// Under way.
    Active,
    /// Stopped before its end.
    Canceled,
    /// At its end.
    Complete,
    /// A number that this crate does not know.
    Unknown(u64),
}

impl RebuildState {
    /// Gives the kernel's number its meaning.
    #[must_use]
    #[doc(alias = "vdev_rebuild_state_t")]
    pub const fn from_raw(raw: u64) -> Self {
        match raw {
            0 => Self::None,
            1 => Self::Active,
            2 => Self::Canceled,
            3 => Self::Complete,
            _ => Self::Unknown(raw),
        }
    }
}

/// A sequential resilver of a vdev of the top: the one that is under way, or else the last one.
///
/// It rewrites a device without looking at checksums, which a scrub has to do afterwards. Times are
/// seconds since 1970, sizes bytes. A pass begins with the resilver, and anew when the pool is
/// imported.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[doc(alias = "vdev_rebuild_stat_t")]
#[non_exhaustive]
pub struct Rebuild {
    /// How far it is.
    pub state: RebuildState,
    /// When it began.
    pub start: u64,
    /// When it ended: `None` while it has not.
    pub end: Option<u64>,
    /// How many milliseconds it ran, in all passes.
    pub run_time_ms: u64,
    /// How much was gone through.
    pub scanned: u64,
    /// How much was given out to be rebuilt.
    pub issued: u64,
    /// How much was rebuilt.
    pub rebuilt: u64,
    /// How much there is to go through.
    pub estimate: u64,
    /// How many errors it met.
    pub errors: u64,
    /// How many milliseconds this pass has run.
    pub pass_time_ms: u64,
    /// How much was gone through in this pass.
    pub pass_scanned: u64,
    /// How much was given out in this pass.
    pub pass_issued: u64,
    /// How much was found to need nothing in this pass. Since 2.2.
    pub pass_skipped: Option<u64>,
    /// How much was gone through and how fast, while it is under way.
    pub progress: Option<Progress>,
}

impl Rebuild {
    /// Reads the kernel's array; `None` when there never was one.
    pub(super) fn read(words: &[u64]) -> Result<Option<Self>, String> {
        let at = reader("rebuild_stats", words, word::VRS_PASS_BYTES_ISSUED)?;
        let state = RebuildState::from_raw(at(word::VRS_STATE));
        if state == RebuildState::None {
            return Ok(None);
        }
        let (scanned, estimate) = (at(word::VRS_BYTES_SCANNED), at(word::VRS_BYTES_EST));
        let (pass_scanned, pass_time_ms) =
            (at(word::VRS_PASS_BYTES_SCANNED), at(word::VRS_PASS_TIME_MS));
        Ok(Some(Self {
            state,
            start: at(word::VRS_START_TIME),
            end: time(at(word::VRS_END_TIME)),
            run_time_ms: at(word::VRS_SCAN_TIME_MS),
            scanned,
            issued: at(word::VRS_BYTES_ISSUED),
            rebuilt: at(word::VRS_BYTES_REBUILT),
            estimate,
            errors: at(word::VRS_ERRORS),
            pass_time_ms,
            pass_scanned,
            pass_issued: at(word::VRS_PASS_BYTES_ISSUED),
            pass_skipped: words.get(word::VRS_PASS_BYTES_SKIPPED).copied(),
            progress: (state == RebuildState::Active)
                .then(|| Progress::new(scanned, estimate, Some((pass_scanned, pass_time_ms)))),
        }))
    }
}

/// The removal of a vdev of the top that is under way, or else the last one.
///
/// Times are seconds since 1970, sizes bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[doc(alias = "pool_removal_stat_t")]
#[non_exhaustive]
pub struct Removal {
    /// How far it is: `Scanning` while data are copied.
    pub state: ScanState,
    /// The place of the vdev among those of the top: [`Vdev::id`](super::Vdev::id).
    pub vdev: u64,
    /// When it began.
    pub start: u64,
    /// When it ended: `None` while it has not.
    pub end: Option<u64>,
    /// How much there is to copy.
    pub to_copy: u64,
    /// How much was copied.
    pub copied: u64,
    /// How much memory the tables take that tell where the data of removed vdevs are now: of all
    /// that were ever removed.
    pub mapping_memory: u64,
    /// How much was copied and how fast, while it is under way.
    pub progress: Option<Progress>,
}

impl Removal {
    /// Reads the kernel's array; `None` when nothing was ever removed.
    pub(super) fn read(words: &[u64], now: u64) -> Result<Option<Self>, String> {
        let at = reader("removal_stats", words, word::PRS_MAPPING_MEMORY)?;
        let state = ScanState::from_raw(at(word::PRS_STATE));
        let (start, copied) = (at(word::PRS_START_TIME), at(word::PRS_COPIED));
        let to_copy = at(word::PRS_TO_COPY);
        Ok((state != ScanState::None).then(|| Self {
            state,
            vdev: at(word::PRS_REMOVING_VDEV),
            start,
            end: time(at(word::PRS_END_TIME)),
            to_copy,
            copied,
            mapping_memory: at(word::PRS_MAPPING_MEMORY),
            progress: (state == ScanState::Scanning)
                .then(|| Progress::new(copied, to_copy, Some((copied, elapsed(start, now))))),
        }))
    }
}

/// The expansion of a raidz by a device that is under way, or else the last one. Since 2.3.
///
/// Times are seconds since 1970, sizes bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[doc(alias = "pool_raidz_expand_stat_t")]
#[non_exhaustive]
pub struct RaidzExpansion {
    /// How far it is: `Scanning` while data are moved.
    pub state: ScanState,
    /// The place of the vdev among those of the top: [`Vdev::id`](super::Vdev::id).
    pub vdev: u64,
    /// When it began.
    pub start: u64,
    /// When it ended: `None` while it has not.
    pub end: Option<u64>,
    /// How much there is to move.
    pub to_reflow: u64,
    /// How much was moved.
    pub reflowed: u64,
    /// Whether it waits for a resilver, or for a device that does not work to be cleared.
    pub waiting_for_resilver: bool,
    /// How much was moved and how fast, while it is under way.
    pub progress: Option<Progress>,
}

impl RaidzExpansion {
    /// Reads the kernel's array; `None` when there never was one.
    pub(super) fn read(words: &[u64], now: u64) -> Result<Option<Self>, String> {
        let at = reader("raidz_expand_stats", words, word::PRES_WAITING_FOR_RESILVER)?;
        let state = ScanState::from_raw(at(word::PRES_STATE));
        let (start, reflowed) = (at(word::PRES_START_TIME), at(word::PRES_REFLOWED));
        let to_reflow = at(word::PRES_TO_REFLOW);
        let waiting_for_resilver = at(word::PRES_WAITING_FOR_RESILVER) != 0;
        let moved = (!waiting_for_resilver).then(|| (reflowed, elapsed(start, now)));
        Ok((state != ScanState::None).then(|| Self {
            state,
            vdev: at(word::PRES_EXPANDING_VDEV),
            start,
            end: time(at(word::PRES_END_TIME)),
            to_reflow,
            reflowed,
            waiting_for_resilver,
            progress: (state == ScanState::Scanning)
                .then(|| Progress::new(reflowed, to_reflow, moved)),
        }))
    }
}

/// Whether a pool has a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum CheckpointState {
    /// It has none.
    None,
    /// It has one.
    Exists,
    /// The space of one is being freed.
    Discarding,
    /// A number that this crate does not know.
    Unknown(u64),
}

impl CheckpointState {
    /// Gives the kernel's number its meaning.
    #[must_use]
    #[doc(alias = "checkpoint_state_t")]
    pub const fn from_raw(raw: u64) -> Self {
        match raw {
            0 => Self::None,
            1 => Self::Exists,
            2 => Self::Discarding,
            _ => Self::Unknown(raw),
        }
    }
}

/// The checkpoint of a pool, or what is left of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[doc(alias = "pool_checkpoint_stat_t")]
#[non_exhaustive]
pub struct Checkpoint {
    /// Whether it exists or is being discarded.
    pub state: CheckpointState,
    /// When it was taken, in seconds since 1970.
    pub start: u64,
    /// Bytes that it keeps from being freed, or that are yet to be freed.
    pub space: u64,
}

impl Checkpoint {
    /// Reads the kernel's array; `None` when there is no checkpoint.
    pub(super) fn read(words: &[u64]) -> Result<Option<Self>, String> {
        let at = reader("checkpoint_stats", words, word::PCS_SPACE)?;
        let state = CheckpointState::from_raw(at(word::PCS_STATE));
        Ok((state != CheckpointState::None).then(|| Self {
            state,
            start: at(word::PCS_START_TIME),
            space: at(word::PCS_SPACE),
        }))
    }
}

/// A way to the words of an array that has to have those up to `last`.
fn reader<'a>(
    name: &str,
    words: &'a [u64],
    last: usize,
) -> Result<impl Fn(usize) -> u64 + use<'a>, String> {
    match words.get(last) {
        Some(_) => Ok(|index| words.get(index).copied().unwrap_or_default()),
        None => Err(format!("{name} of {} words", words.len())),
    }
}

/// A time, where 0 stands for none.
pub(super) fn time(seconds: u64) -> Option<u64> {
    Some(seconds).filter(|&seconds| seconds != 0)
}

/// Milliseconds from one second to another, and never none.
pub(super) fn elapsed(start: u64, now: u64) -> u64 {
    now.saturating_sub(start).max(1).saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(state: u64, len: u64) -> Vec<u64> {
        std::iter::once(state).chain(101..100 + len).collect()
    }

    #[test]
    fn what_is_left_is_told_by_the_rate() {
        let progress = Progress::new(300, 900, Some((200, 2000)));
        assert_eq!((progress.rate, progress.time_left), (Some(100), Some(6)));
        assert!((progress.fraction() - 1.0 / 3.0).abs() < 1e-9);
        let paused = Progress::new(300, 900, None);
        assert_eq!((paused.rate, paused.time_left), (None, None));
        let stuck = Progress::new(0, 900, Some((0, 2000)));
        assert_eq!((stuck.rate, stuck.time_left), (Some(0), None));
    }

    #[test]
    fn absurd_figures_are_no_panic() {
        let most = u64::MAX;
        let progress = Progress::new(most, 0, Some((most, 0)));
        assert_eq!((progress.rate, progress.time_left), (Some(most), Some(0)));
        assert_eq!(progress.fraction(), 0.0);
        assert_eq!(Progress::new(most, 1, None).fraction(), 1.0);
        assert_eq!((elapsed(most, 0), elapsed(0, most)), (1000, most));
    }

    #[test]
    fn each_word_has_its_field() {
        let rebuild = Rebuild::read(&words(1, 13)).unwrap().unwrap();
        assert_eq!(rebuild.state, RebuildState::Active);
        assert_eq!((rebuild.start, rebuild.end), (101, Some(102)));
        assert_eq!((rebuild.scanned, rebuild.issued), (104, 105));
        assert_eq!((rebuild.rebuilt, rebuild.estimate), (106, 107));
        assert_eq!((rebuild.errors, rebuild.pass_time_ms), (108, 109));
        assert_eq!((rebuild.pass_scanned, rebuild.pass_issued), (110, 111));
        assert_eq!(rebuild.pass_skipped, Some(112));
        let old = Rebuild::read(&words(3, 12)).unwrap().unwrap();
        assert_eq!((old.state, old.progress), (RebuildState::Complete, None));
        assert_eq!((old.pass_skipped, old.run_time_ms), (None, 103));

        let removal = Removal::read(&words(1, 7), 202).unwrap().unwrap();
        assert_eq!((removal.vdev, removal.to_copy), (101, 104));
        assert_eq!((removal.copied, removal.mapping_memory), (105, 106));
        assert_eq!(removal.progress.unwrap().rate, Some(1));

        let expansion = RaidzExpansion::read(&words(1, 7), 202).unwrap().unwrap();
        assert_eq!((expansion.to_reflow, expansion.reflowed), (104, 105));
        // The last word is not 0: it waits.
        assert_eq!(expansion.progress.unwrap().rate, None);

        let checkpoint = Checkpoint::read(&words(2, 3)).unwrap().unwrap();
        assert_eq!(checkpoint.state, CheckpointState::Discarding);
        assert_eq!((checkpoint.start, checkpoint.space), (101, 102));
    }

    #[test]
    fn nothing_is_none_and_too_little_an_error() {
        for len in 0..30 {
            let zeros = vec![0; len];
            let none = [
                (12, Rebuild::read(&zeros).map(|found| found.is_none())),
                (7, Removal::read(&zeros, 9).map(|found| found.is_none())),
                (
                    7,
                    RaidzExpansion::read(&zeros, 9).map(|found| found.is_none()),
                ),
                (3, Checkpoint::read(&zeros).map(|found| found.is_none())),
            ];
            for (least, outcome) in none {
                assert_eq!(outcome.ok(), (len >= least).then_some(true), "{len}");
            }
        }
    }
}
