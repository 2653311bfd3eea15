use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::QueueError;
use super::moment;
use crate::gate::{Operation, Scope};

/// What is to be done, with what, by whom, and how often it is tried.
///
/// The payload is what the worker needs besides. It is kept in the open, in the store and its
/// backups: keys do not belong there. The types that hold keys cannot be put into one:
///
/// ```compile_fail,E0277
/// use helix_zfs::gate::{JobSpec, Operation, Scope};
/// use helix_zfs::key::KeyMaterial;
///
/// fn leaks(spec: JobSpec, key: &KeyMaterial) -> Result<JobSpec, serde_json::Error> {
///     Ok(spec.payload(serde_json::to_value(key)?))
/// }
/// ```
///
/// ```
/// use helix_zfs::gate::{JobSpec, Operation, Scope};
/// use helix_zfs::zfs_core::DatasetName;
/// use std::time::Duration;
///
/// let acme: DatasetName = "tank/tenants/acme".parse()?;
/// let spec = JobSpec::new(Operation::Snapshot, Scope::below(&acme), "ada")
///     .reason("before the upgrade to 17")
///     .payload(serde_json::json!({ "snapshot": "before-17" }))
///     .max_attempts(3)
///     .backoff(Duration::from_secs(2), Duration::from_secs(60))
///     .key("release-17/acme");
/// # let _ = spec;
/// # Ok::<(), helix_zfs::zfs_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    operation: Operation,
    scope: Scope,
    actor: String,
    reason: String,
    payload: serde_json::Value,
    #[serde(with = "moment::optional")]
    not_before: Option<SystemTime>,
    #[serde(with = "moment::optional")]
    deadline: Option<SystemTime>,
    max_attempts: u32,
    #[serde(with = "moment::length")]
    first_delay: Duration,
    #[serde(with = "moment::length")]
    longest_delay: Duration,
    key: Option<String>,
}

impl JobSpec {
    /// `operation` with the datasets of `scope`, for `actor`: at once, up to five times, with no
    /// deadline. The second attempt is a second after the first, and each further one twice as long
    /// after the one before, but no more than five minutes.
    #[must_use]
    pub fn new(operation: Operation, scope: Scope, actor: impl Into<String>) -> Self {
        Self {
            operation,
            scope,
            actor: actor.into(),
            reason: String::new(),
            payload: serde_json::Value::Null,
            not_before: None,
            deadline: None,
            max_attempts: 5,
            first_delay: Duration::from_secs(1),
            longest_delay: Duration::from_secs(300),
            key: None,
        }
    }

    /// Why, in words: it is put on record with the job's grant.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }

    /// What its worker needs to know. Never a key.
    #[must_use]
    pub fn payload(mut self, payload: serde_json::Value) -> Self {
        self.payload = payload;
        self
    }

    /// Nobody gets it before `at`.
    #[must_use]
    pub fn not_before(mut self, at: SystemTime) -> Self {
        self.not_before = Some(at);
        self
    }

    /// Nobody gets it from `at` on, and no capability for it lasts longer. What is not done by then
    /// becomes a dead letter.
    #[must_use]
    pub fn deadline(mut self, at: SystemTime) -> Self {
        self.deadline = Some(at);
        self
    }

    /// How often it is tried before it becomes a dead letter. A worker that dies has tried.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// How long after the first failure it is tried again: `first`, then twice that, and so on, but
    /// no more than `longest`.
    #[must_use]
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.first_delay = first;
        self.longest_delay = longest;
        self
    }

    /// Its idempotency key: submitting the same work again with it makes no second job.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// What is to be done.
    #[must_use]
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// With which datasets.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// For whom.
    #[must_use]
    pub fn actor(&self) -> &str {
        &self.actor
    }

    /// Why; empty if nothing was said.
    #[must_use]
    pub fn why(&self) -> &str {
        &self.reason
    }

    /// What its worker needs to know.
    #[must_use]
    pub fn data(&self) -> &serde_json::Value {
        &self.payload
    }

    /// Before when nobody gets it.
    #[must_use]
    pub fn starts(&self) -> Option<SystemTime> {
        self.not_before
    }

    /// From when on nobody gets it.
    #[must_use]
    pub fn ends(&self) -> Option<SystemTime> {
        self.deadline
    }

    /// How often it is tried.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.max_attempts
    }

    /// Its idempotency key.
    #[must_use]
    pub fn idempotency_key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// How long after its failed attempt number `attempt`, counted from 1, the next one is.
    #[must_use]
    pub fn delay_after(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1);
        1_u32
            .checked_shl(doublings)
            .and_then(|factor| self.first_delay.checked_mul(factor))
            .map_or(self.longest_delay, |delay| delay.min(self.longest_delay))
    }

    /// Whether the queue can hold it. Every store asks before it takes a job.
    ///
    /// # Errors
    ///
    /// [`QueueError::Invalid`]: a text is empty, too long or has control characters; the scope is
    /// empty; it is never tried; it ends before it starts; the payload is longer than 64 KiB.
    pub fn check(&self) -> Result<(), QueueError> {
        one_line("actor", &self.actor, 1..=255)?;
        one_line("reason", &self.reason, 0..=1024)?;
        if let Some(key) = &self.key {
            one_line("idempotency key", key, 1..=255)?;
        }
        if self.scope.tops().is_empty() {
            return Err(invalid("scope", "it has no datasets"));
        }
        if self.max_attempts == 0 {
            return Err(invalid("attempts", "it would never be tried"));
        }
        if let (Some(start), Some(end)) = (self.not_before, self.deadline) {
            if end <= start {
                return Err(invalid("deadline", "it ends before it starts"));
            }
        }
        let length = self.payload.to_string().len();
        if length > MAX_PAYLOAD {
            let why = format!("it has {length} bytes, more than {MAX_PAYLOAD}");
            return Err(invalid("payload", why));
        }
        Ok(())
    }

    /// Whether it asks for the same as `other`: times and attempts aside, which a caller that
    /// submits again reckons again.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(super) fn is_same_work(&self, other: &Self) -> bool {
        self.operation == other.operation
            && self.scope == other.scope
            && self.actor == other.actor
            && self.payload == other.payload
    }
}

const MAX_PAYLOAD: usize = 64 * 1024;

fn invalid(what: &'static str, why: impl Into<String>) -> QueueError {
    let why = why.into();
    QueueError::Invalid { what, why }
}

/// Records and the pool's history are lines.
pub(super) fn one_line(
    what: &'static str,
    text: &str,
    length: std::ops::RangeInclusive<usize>,
) -> Result<(), QueueError> {
    if !length.contains(&text.len()) {
        let (least, most) = length.into_inner();
        let why = format!("it has {} bytes, not {least} to {most}", text.len());
        return Err(invalid(what, why));
    }
    if text.chars().any(char::is_control) {
        return Err(invalid(what, "it has control characters"));
    }
    Ok(())
}
