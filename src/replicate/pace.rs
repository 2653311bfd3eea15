//! A limit of the bandwidth: a bucket that fills at a steady rate.

use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time that a full bucket lasts.
const BURST: Duration = Duration::from_millis(250);

/// A bandwidth that all who have it share.
#[derive(Debug)]
pub(super) struct Pace(Mutex<Bucket>);

#[derive(Debug)]
struct Bucket {
    bytes_per_second: f64,
    /// When the bucket is full again if nothing more is taken.
    full: Instant,
}

impl Pace {
    pub(super) fn new(bytes_per_second: NonZeroU64) -> Self {
        Self(Mutex::new(Bucket::new(bytes_per_second, Instant::now())))
    }

    /// Waits until `bytes` may go.
    pub(super) fn wait(&self, bytes: usize) {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = bucket.take(bytes, Instant::now());
        drop(bucket);
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
    }
}

impl Bucket {
    fn new(bytes_per_second: NonZeroU64, now: Instant) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let bytes_per_second = bytes_per_second.get() as f64;
        Self {
            bytes_per_second,
            full: now,
        }
    }

    /// Takes `bytes` out, and returns how long to wait before they go.
    fn take(&mut self, bytes: usize, now: Instant) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "a time")]
        let time = bytes as f64 / self.bytes_per_second;
        // A day is as good as for ever, and no sum of times overflows.
        let time = Duration::from_secs_f64(time.min(86_400.0));
        self.full = self.full.max(now) + time;
        self.full
            .saturating_duration_since(now)
            .saturating_sub(BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_a_time_is_what_was_asked_for() {
        let start = Instant::now();
        let mut bucket = Bucket::new(NonZeroU64::new(1_000_000).unwrap(), start);
        let mut now = start;
        for _ in 0..100 {
            now += bucket.take(100_000, now);
        }
        let spent = (now - start) + BURST;
        let wrong = spent.abs_diff(Duration::from_secs(10));
        assert!(wrong < Duration::from_millis(1), "{spent:?}");
    }

    #[test]
    fn a_pause_saves_no_more_than_a_burst() {
        let start = Instant::now();
        let mut bucket = Bucket::new(NonZeroU64::new(1_000_000).unwrap(), start);
        let later = start + Duration::from_secs(3600);
        assert_eq!(bucket.take(250_000, later), Duration::ZERO);
        let wait = bucket.take(1_000_000, later);
        assert!(wait.abs_diff(Duration::from_secs(1)) < Duration::from_millis(1));
    }

    #[test]
    fn the_slowest_rate_does_not_overflow() {
        let mut bucket = Bucket::new(NonZeroU64::MIN, Instant::now());
        for _ in 0..1000 {
            bucket.take(usize::MAX, Instant::now());
        }
    }
}
