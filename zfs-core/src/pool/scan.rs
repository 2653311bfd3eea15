use super::progress::{Progress, elapsed, time};
use zfs_core_sys::ioctl as word;

/// What goes through a pool's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ScanFunction {
    /// Nothing.
    None,
    /// A scrub: reads and checks everything.
    Scrub,
    /// A resilver: rewrites what a device has missed.
    Resilver,
    /// A scrub of the blocks that are known to be damaged. Since 2.2.
    ErrorScrub,
    /// A number that this crate does not know.
    Unknown(u64),
}

impl ScanFunction {
    /// Gives the kernel's number its meaning.
    #[must_use]
    #[doc(alias = "pool_scan_func_t")]
    pub const fn from_raw(raw: u64) -> Self {
        match raw {
            0 => Self::None,
            1 => Self::Scrub,
            2 => Self::Resilver,
            3 => Self::ErrorScrub,
            _ => Self::Unknown(raw),
        }
    }
}

/// How far a scan has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ScanState {
    /// There was none.
    None,
    /// Under way, or paused: see [`ScanStatus::paused`].
    Scanning,
    /// At its end.
    Finished,
    /// Stopped before its end.
    Canceled,
    /// A scrub of damaged blocks is under way. Since 2.2.
    ErrorScrubbing,
    /// A number that this crate does not know.
    Unknown(u64),
}

impl ScanState {
    /// Gives the kernel's number its meaning.
    #[must_use]
    #[doc(alias = "dsl_scan_state_t")]
    pub const fn from_raw(raw: u64) -> Self {
        match raw {
            0 => Self::None,
            1 => Self::Scanning,
            2 => Self::Finished,
            3 => Self::Canceled,
            4 => Self::ErrorScrubbing,
            _ => Self::Unknown(raw),
        }
    }
}

/// The scrub or resilver that is under way, or else the last one.
///
/// Times are seconds since 1970, sizes bytes. The figures of "this pass" start anew when the pool is
/// imported, and when a paused scan goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[doc(alias = "pool_scan_stat_t")]
#[non_exhaustive]
pub struct ScanStatus {
    /// What it is.
    pub function: ScanFunction,
    /// How far it is.
    pub state: ScanState,
    /// When it began.
    pub start: u64,
    /// When it ended: `None` while it has not.
    pub end: Option<u64>,
    /// How much there is to go through.
    pub to_examine: u64,
    /// How much was gone through: found, and queued to be read.
    pub examined: u64,
    /// How much was read.
    pub issued: u64,
    /// How much was repaired or rewritten.
    pub processed: u64,
    /// How many errors could not be repaired.
    pub errors: u64,
    /// How much there is to rewrite. Only 2.1 tells.
    pub to_process: Option<u64>,
    /// How much needed no check. Since 2.2.
    pub skipped: Option<u64>,
    /// How much was gone through in this pass.
    pub pass_examined: u64,
    /// How much was read in this pass.
    pub pass_issued: u64,
    /// When this pass began.
    pub pass_start: u64,
    /// Since when it is paused: `None` when it is not.
    pub paused: Option<u64>,
    /// How many seconds of this pass it was paused for.
    pub pass_spent_paused: u64,
    /// How many bytes a second this pass goes through, while it does.
    pub scan_rate: Option<u64>,
    /// How much was read and how fast, while it is under way.
    ///
    /// A scrub or resilver first goes through the pool's trees and then reads what it found in the
    /// order of the disks; the total is what there is to read.
    pub progress: Option<Progress>,
    /// The scrub of damaged blocks, which can be of another time. Since 2.2.
    pub error_scrub: Option<ErrorScrub>,
}

/// A scrub of the blocks that are known to be damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ErrorScrub {
    /// [`ScanFunction::ErrorScrub`], or none.
    pub function: ScanFunction,
    /// How far it is.
    pub state: ScanState,
    /// When it began, in seconds since 1970.
    pub start: u64,
    /// When it ended: `None` while it has not.
    pub end: Option<u64>,
    /// How many blocks it went through.
    pub examined: u64,
    /// How many blocks are left.
    pub to_be_examined: u64,
    /// Since when it is paused: `None` when it is not.
    pub paused: Option<u64>,
}

/// Words that there are in each version.
const COMMON: usize = word::PSS_ISSUED + 1;

impl ScanStatus {
    /// Reads the kernel's array, whose length tells its version.
    pub(super) fn read(words: &[u64], now: u64) -> Result<Self, String> {
        if words.len() < COMMON {
            return Err(format!("scan_stats of {} words", words.len()));
        }
        let at = |index: usize| words.get(index).copied().unwrap_or_default();
        let since_2_2 = words.len() > word::PSS_PASS_ERROR_SCRUB_PAUSE;
        let state = ScanState::from_raw(at(word::PSS_STATE));
        let skipped = since_2_2.then(|| at(word::PSS_SKIPPED));
        let (examined, issued) = (at(word::PSS_PASS_EXAM), at(word::PSS_PASS_ISSUED));
        let paused = time(at(word::PSS_PASS_SCRUB_PAUSE));
        let spent_paused = at(word::PSS_PASS_SCRUB_SPENT_PAUSED);
        let pass_start = at(word::PSS_PASS_START);
        let under_way = state == ScanState::Scanning;
        let moved = |bytes| {
            let start = pass_start.saturating_add(spent_paused);
            paused.is_none().then(|| (bytes, elapsed(start, now)))
        };
        let progress = |done, total, pass| Progress::new(done, total, moved(pass));
        Ok(Self {
            function: ScanFunction::from_raw(at(word::PSS_FUNC)),
            state,
            start: at(word::PSS_START_TIME),
            end: time(at(word::PSS_END_TIME)),
            to_examine: at(word::PSS_TO_EXAMINE),
            examined: at(word::PSS_EXAMINED),
            issued: at(word::PSS_ISSUED),
            processed: at(word::PSS_PROCESSED),
            errors: at(word::PSS_ERRORS),
            to_process: (!since_2_2).then(|| at(word::PSS_TO_PROCESS_2_1)),
            skipped,
            pass_examined: examined,
            pass_issued: issued,
            pass_start,
            paused,
            pass_spent_paused: spent_paused,
            scan_rate: under_way.then(|| progress(0, 0, examined).rate).flatten(),
            progress: under_way.then(|| {
                let total = at(word::PSS_TO_EXAMINE).saturating_sub(skipped.unwrap_or_default());
                progress(at(word::PSS_ISSUED), total, issued)
            }),
            error_scrub: since_2_2.then(|| ErrorScrub {
                function: ScanFunction::from_raw(at(word::PSS_ERROR_SCRUB_FUNC)),
                state: ScanState::from_raw(at(word::PSS_ERROR_SCRUB_STATE)),
                start: at(word::PSS_ERROR_SCRUB_START),
                end: time(at(word::PSS_ERROR_SCRUB_END)),
                examined: at(word::PSS_ERROR_SCRUB_EXAMINED),
                to_be_examined: at(word::PSS_ERROR_SCRUB_TO_BE_EXAMINED),
                paused: time(at(word::PSS_PASS_ERROR_SCRUB_PAUSE)),
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(len: u64) -> Vec<u64> {
        (100..100 + len).collect()
    }

    #[test]
    fn the_length_tells_what_the_seventh_word_is() {
        let old = ScanStatus::read(&words(15), 0).unwrap();
        assert_eq!((old.to_process, old.skipped), (Some(106), None));
        assert_eq!((old.issued, old.pass_issued, old.errors), (114, 113, 108));
        assert_eq!(old.function, ScanFunction::Unknown(100));
        assert_eq!(old.error_scrub, None);

        let new = ScanStatus::read(&words(22), 0).unwrap();
        assert_eq!((new.to_process, new.skipped), (None, Some(106)));
        let errors = new.error_scrub.unwrap();
        assert_eq!(
            (errors.start, errors.end, errors.paused),
            (117, Some(118), Some(121))
        );
        assert_eq!((errors.examined, errors.to_be_examined), (119, 120));
    }

    #[test]
    fn lengths_of_no_version_are_no_panic() {
        for len in 0..15 {
            assert!(ScanStatus::read(&words(len), 0).is_err());
        }
        for len in 15..40 {
            assert!(ScanStatus::read(&words(len), 0).is_ok());
        }
    }

    #[test]
    fn rates_are_those_of_this_pass() {
        let mut words = vec![0; 22];
        words[word::PSS_FUNC] = 1;
        words[word::PSS_STATE] = 1;
        words[word::PSS_TO_EXAMINE] = 1500;
        words[word::PSS_SKIPPED] = 500;
        words[word::PSS_ISSUED] = 400;
        words[word::PSS_PASS_EXAM] = 600;
        words[word::PSS_PASS_ISSUED] = 300;
        words[word::PSS_PASS_START] = 1000;
        words[word::PSS_PASS_SCRUB_SPENT_PAUSED] = 7;
        let scan = ScanStatus::read(&words, 1010).unwrap();
        assert_eq!(scan.scan_rate, Some(200));
        let progress = scan.progress.unwrap();
        assert_eq!((progress.done, progress.total), (400, 1000));
        assert_eq!((progress.rate, progress.time_left), (Some(100), Some(6)));

        words[word::PSS_PASS_SCRUB_PAUSE] = 1009;
        let paused = ScanStatus::read(&words, 1010).unwrap();
        assert_eq!(paused.scan_rate, None);
        assert_eq!(paused.progress.unwrap().rate, None);
        words[word::PSS_STATE] = 2;
        assert_eq!(ScanStatus::read(&words, 1010).unwrap().progress, None);
    }

    #[test]
    fn a_time_of_zero_is_none() {
        let status = ScanStatus::read(&[0; 22], 0).unwrap();
        assert_eq!((status.end, status.paused), (None, None));
        assert_eq!(
            (status.function, status.state),
            (ScanFunction::None, ScanState::None)
        );
    }
}
