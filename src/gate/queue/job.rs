use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::moment;
use super::{JobSpec, QueueError};
use crate::gate::Operation;

/// The name of a job: unique in all queues, and later ones sort after earlier ones.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(String);

impl JobId {
    /// One that no job has.
    ///
    /// # Errors
    ///
    /// [`QueueError::Unavailable`]: the kernel has no randomness.
    pub fn generate() -> Result<Self, QueueError> {
        let mut random = [0_u8; 8];
        getrandom::fill(&mut random).map_err(|error| QueueError::Unavailable {
            store: "the kernel's randomness".to_owned(),
            action: "name a job",
            why: error.to_string(),
        })?;
        let now = moment::to_number(SystemTime::now());
        let random = u64::from_ne_bytes(random);
        Ok(Self(format!("{now:012x}-{random:016x}")))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for JobId {
    type Err = QueueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for JobId {
    type Error = QueueError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let fits = (1..=64).contains(&text.len());
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if fits && text.bytes().all(plain) {
            return Ok(Self(text));
        }
        Err(QueueError::Invalid {
            what: "job id",
            why: format!("{text:?} is none: it has 1 to 64 small letters, digits and dashes"),
        })
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.0
    }
}

/// Where a job is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum JobState {
    /// It waits for a worker, or for its time.
    Queued,
    /// A worker has it. When the lease is over, another gets it.
    Leased,
    /// It was completed.
    Done,
    /// A dead letter: it failed, or its workers died, as often as it may be tried, or its deadline
    /// passed.
    Dead,
    /// An operator took it out.
    Cancelled,
}

impl JobState {
    /// All states.
    pub const ALL: [Self; 5] = [
        Self::Queued,
        Self::Leased,
        Self::Done,
        Self::Dead,
        Self::Cancelled,
    ];

    /// Its name in stores and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Leased => "leased",
            Self::Done => "done",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for JobState {
    type Err = QueueError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|state| state.name() == name)
            .ok_or_else(|| QueueError::Invalid {
                what: "state",
                why: format!("no job is ever {name:?}"),
            })
    }
}

/// A job, as its queue has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// What is to be done.
    pub spec: JobSpec,
    /// When it was submitted.
    #[serde(with = "moment::text")]
    pub submitted: SystemTime,
    /// Where it is on its way.
    pub state: JobState,
    /// From when on it may be leased.
    #[serde(with = "moment::text")]
    pub due: SystemTime,
    /// How often it was leased since it was submitted or revived.
    pub attempts: u32,
    /// The number of its newest lease, which grows with each; 0 before the first.
    pub token: u64,
    /// Who has it, or had it last.
    pub worker: Option<String>,
    /// When its lease ends, by the store's clock.
    #[serde(with = "moment::optional")]
    pub leased_until: Option<SystemTime>,
    /// When it was done, died or was cancelled.
    #[serde(with = "moment::optional")]
    pub ended: Option<SystemTime>,
    /// What it came to.
    pub result: Option<String>,
    /// Why its last attempt failed.
    pub failure: Option<String>,
}

impl Job {
    /// A job that was just submitted: for stores.
    #[must_use]
    pub fn new(id: JobId, spec: JobSpec, now: SystemTime) -> Self {
        Self {
            id,
            due: spec.starts().map_or(now, |start| start.max(now)),
            spec,
            submitted: now,
            state: JobState::Queued,
            attempts: 0,
            token: 0,
            worker: None,
            leased_until: None,
            ended: None,
            result: None,
            failure: None,
        }
    }
}

/// A job that a worker has for a time.
///
/// Only while it lasts, the worker may say what became of the job. What it changes elsewhere may
/// carry [`token`](Self::token): a later lease of the same job has a greater one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lease {
    job: Job,
    token: u64,
    worker: String,
    #[serde(with = "moment::text")]
    until: SystemTime,
}

impl Lease {
    /// For those who write a queue: the lease of `job`, which `worker` has until `until`, by this
    /// machine's clock.
    ///
    /// It gives no right by itself: what counts is what the queue has written down.
    #[must_use]
    pub fn new(job: Job, worker: impl Into<String>, until: SystemTime) -> Self {
        Self {
            token: job.token,
            job,
            worker: worker.into(),
            until,
        }
    }

    /// The job, as it was when it was leased.
    #[must_use]
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// The job's name.
    #[must_use]
    pub fn id(&self) -> &JobId {
        &self.job.id
    }

    /// What is to be done.
    #[must_use]
    pub fn spec(&self) -> &JobSpec {
        &self.job.spec
    }

    /// The lease's number: it grows with each lease of the job.
    #[must_use]
    pub fn token(&self) -> u64 {
        self.token
    }

    /// Who has it.
    #[must_use]
    pub fn worker(&self) -> &str {
        &self.worker
    }

    /// When it ends, by this machine's clock, reckoned from before the store was asked: as long as
    /// both clocks run alike, it is not over in the store before.
    #[must_use]
    pub fn until(&self) -> SystemTime {
        self.until
    }
}

/// What becomes of a job that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AfterFailure {
    /// It is tried again, from then on by the store's clock.
    RetryAt(#[serde(with = "moment::text")] SystemTime),
    /// It is a dead letter.
    Dead,
}

/// Which jobs are listed: all that nothing says against, the newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFilter {
    pub(super) states: Vec<JobState>,
    pub(super) operation: Option<Operation>,
    pub(super) actor: Option<String>,
    pub(super) limit: u32,
}

impl Default for JobFilter {
    fn default() -> Self {
        Self {
            states: Vec::new(),
            operation: None,
            actor: None,
            limit: u32::MAX,
        }
    }
}

impl JobFilter {
    /// All jobs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only those in this state, or in one that was named before.
    #[must_use]
    pub fn state(mut self, state: JobState) -> Self {
        self.states.push(state);
        self
    }

    /// Only those of this operation.
    #[must_use]
    pub fn operation(mut self, operation: Operation) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Only those of this actor.
    #[must_use]
    pub fn actor(mut self, actor: impl Into<String>) -> Self {
        self.actor = Some(actor.into());
        self
    }

    /// No more than the newest `limit`.
    #[must_use]
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = limit;
        self
    }

    /// Whether it lists `job`. The limit aside.
    #[must_use]
    pub fn matches(&self, job: &Job) -> bool {
        (self.states.is_empty() || self.states.contains(&job.state))
            && self.operation.is_none_or(|it| it == job.spec.operation())
            && self.actor.as_ref().is_none_or(|it| it == job.spec.actor())
    }
}
