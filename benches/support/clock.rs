//! Whether this machine's clock can be believed.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Result;

/// The real-time clock counts whole seconds. A hypervisor answers it from the host's clock, while
/// the monotonic clock is the guest's own and can run ahead when the host is busy.
const RTC: &str = "/sys/class/rtc/rtc0/since_epoch";

/// More than reading the two at slightly different times can explain.
const TOLERANCE: Duration = Duration::from_millis(100);

/// The monotonic clock against the real-time clock, between two ticks of the latter.
pub(crate) struct ClockCheck(Option<(u64, Instant)>);

impl ClockCheck {
    pub(crate) fn start() -> Result<Self> {
        let exists = fs::exists(RTC)?;
        Ok(Self(if exists { Some(tick()?) } else { None }))
    }

    /// What was found, in words; an error when the clocks disagree.
    pub(crate) fn finish(self) -> Result<String> {
        let Some((start, monotonic_start)) = self.0 else {
            return Ok(format!("clock: not checked, this machine has no {RTC}"));
        };
        let (end, monotonic_end) = tick()?;
        let real = Duration::from_secs(end.saturating_sub(start));
        let monotonic = monotonic_end - monotonic_start;
        let outcome = format!(
            "clock: {:.3} s by the monotonic clock while the real-time clock counted {} s",
            monotonic.as_secs_f64(),
            real.as_secs()
        );
        if monotonic.abs_diff(real) > TOLERANCE + real / 1000 {
            return Err(format!("{outcome}: the times above are not to be believed").into());
        }
        Ok(format!("{outcome}: they agree"))
    }
}

/// Waits until the real-time clock has just counted a second.
fn tick() -> Result<(u64, Instant)> {
    let first = seconds()?;
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        sleep(Duration::from_millis(2));
        let now = seconds()?;
        if now != first {
            return Ok((now, Instant::now()));
        }
        if Instant::now() > deadline {
            return Err(format!("{RTC} stands still").into());
        }
    }
}

fn seconds() -> Result<u64> {
    Ok(fs::read_to_string(RTC)?.trim().parse()?)
}
