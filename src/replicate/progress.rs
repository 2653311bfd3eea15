//! How far a replication is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use zfs_core::DatasetName;

/// What a replication is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Data arrives and is received.
    Receiving,
    /// What was received is read again, and compared with what the source has.
    Verifying,
}

/// How far a replication is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// The target.
    pub target: DatasetName,
    /// The short name of the source's snapshot.
    pub snapshot: String,
    /// What is being done.
    pub phase: Phase,
    /// How many bytes of the stream are done.
    pub bytes: u64,
    /// How many there will be: an estimate.
    pub total: Option<u64>,
    /// The time since this phase began.
    pub elapsed: Duration,
}

impl Progress {
    /// Bytes a second, since this phase began.
    #[must_use]
    pub fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let bytes = self.bytes as f64;
        bytes / self.elapsed.as_secs_f64().max(1e-6)
    }

    /// How long the rest takes if it goes on like this; `None` when that cannot be told yet.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        let rest = self.total?.saturating_sub(self.bytes);
        let rate = self.rate();
        if rate <= 0.0 {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "a time")]
        Duration::try_from_secs_f64(rest as f64 / rate).ok()
    }
}

/// Who wants to know, and how often.
#[derive(Clone)]
pub(super) struct Observer {
    pub(super) interval: Duration,
    pub(super) report: Arc<dyn Fn(&Progress) + Send + Sync>,
}

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observer")
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

/// Counts one phase, and reports.
pub(super) struct Meter<'o> {
    observer: Option<&'o Observer>,
    progress: Progress,
    start: Instant,
    reported: Option<Instant>,
}

impl<'o> Meter<'o> {
    pub(super) fn new(
        observer: Option<&'o Observer>,
        target: &DatasetName,
        snapshot: &str,
        phase: Phase,
        total: Option<u64>,
    ) -> Self {
        Self {
            observer,
            progress: Progress {
                target: target.clone(),
                snapshot: snapshot.to_owned(),
                phase,
                bytes: 0,
                total,
                elapsed: Duration::ZERO,
            },
            start: Instant::now(),
            reported: None,
        }
    }

    /// So many bytes more are done.
    pub(super) fn add(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.progress.bytes = self.progress.bytes.saturating_add(bytes);
        let Some(observer) = self.observer else {
            return;
        };
        let now = Instant::now();
        let due = self
            .reported
            .is_none_or(|last| now.duration_since(last) >= observer.interval);
        if due {
            self.reported = Some(now);
            self.report(observer, now);
        }
    }

    /// The phase is over.
    pub(super) fn end(&mut self) -> u64 {
        if let Some(observer) = self.observer {
            self.report(observer, Instant::now());
        }
        self.progress.bytes
    }

    fn report(&mut self, observer: &Observer, now: Instant) {
        self.progress.elapsed = now.duration_since(self.start);
        (observer.report)(&self.progress);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn the_time_left_follows_from_the_rate() {
        let mut progress = Progress {
            target: DatasetName::new("p/t").unwrap(),
            snapshot: String::from("s"),
            phase: Phase::Receiving,
            bytes: 250,
            total: Some(1000),
            elapsed: Duration::from_secs(5),
        };
        assert!((progress.rate() - 50.0).abs() < 1e-9);
        assert_eq!(progress.remaining(), Some(Duration::from_secs(15)));
        progress.bytes = 1200;
        assert_eq!(progress.remaining(), Some(Duration::ZERO));
        progress.bytes = 0;
        assert_eq!(progress.remaining(), None);
        progress.total = None;
        assert_eq!(progress.remaining(), None);
    }

    #[test]
    fn reports_come_no_more_often_than_asked_and_the_last_is_complete() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        let observer = Observer {
            interval: Duration::from_secs(3600),
            report: Arc::new(move |progress| sink.lock().unwrap().push(progress.bytes)),
        };
        let target = DatasetName::new("p/t").unwrap();
        let mut meter = Meter::new(Some(&observer), &target, "s", Phase::Receiving, None);
        for _ in 0..10 {
            meter.add(100);
        }
        assert_eq!(meter.end(), 1000);
        assert_eq!(*seen.lock().unwrap(), [100, 1000]);
    }
}
