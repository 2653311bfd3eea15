//! The queue in SQL that both stores understand. What becomes of a job is [`Job`]'s to say; here it
//! is read, changed and written back within one transaction.

use std::time::{Duration, SystemTime};

use super::transition::check_lease;
use super::{AfterFailure, Job, JobFilter, JobId, JobSpec, Lease, QueueError, moment};
use crate::gate::Operation;

/// The version of the tables below.
pub(super) const VERSION: i64 = 1;

/// What a store holds in a column.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Number(Option<i64>),
    Text(Option<String>),
}

impl Value {
    pub(super) fn number(number: impl Into<i64>) -> Self {
        Self::Number(Some(number.into()))
    }

    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(Some(text.into()))
    }

    fn moment(at: SystemTime) -> Self {
        Self::number(moment::to_number(at))
    }
}

/// One transaction of a store. It is undone unless all of it is done.
pub(super) trait Transaction {
    /// The time by the store's clock.
    fn now(&mut self) -> Result<SystemTime, QueueError>;
    /// Runs a statement, whose arguments are `$1` and so on, and returns its rows.
    fn run(&mut self, statement: &str, arguments: &[Value]) -> Result<Vec<Row>, QueueError>;
    /// What a `SELECT` ends with to keep its row from others, who wait.
    fn locked(&self) -> &'static str;
    /// What a `SELECT` ends with to keep its rows from others, who take other rows.
    fn unlocked_only(&self) -> &'static str;
    /// What is in the store cannot be read.
    fn corrupt(&self, why: String) -> QueueError;
}

/// What keeps the tables.
pub(super) trait Store {
    /// Does `work` in one transaction that is on stable storage when this returns.
    ///
    /// `twice`: it does no harm to do it again when it is not known whether it was done.
    fn transaction<T>(
        &self,
        action: &'static str,
        twice: bool,
        work: &mut dyn FnMut(&mut dyn Transaction) -> Result<T, QueueError>,
    ) -> Result<T, QueueError>;
}

/// The tables, for a store that has none.
pub(super) const TABLES: [&str; 3] = [
    // SQLite gives numbers of its own to this kind of key, PostgreSQL has its word put in.
    "CREATE TABLE helix_jobs (
        seq {SERIAL} PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        idempotency_key TEXT UNIQUE,
        operation TEXT NOT NULL,
        actor TEXT NOT NULL,
        spec TEXT NOT NULL,
        max_attempts BIGINT NOT NULL CHECK (max_attempts > 0),
        deadline BIGINT,
        submitted BIGINT NOT NULL,
        state TEXT NOT NULL
            CHECK (state IN ('queued', 'leased', 'done', 'dead', 'cancelled')),
        due BIGINT NOT NULL,
        attempts BIGINT NOT NULL CHECK (attempts >= 0),
        token BIGINT NOT NULL CHECK (token >= 0),
        worker TEXT,
        leased_until BIGINT,
        ended BIGINT,
        result TEXT,
        failure TEXT
    )",
    "CREATE INDEX helix_jobs_open ON helix_jobs (due, seq) WHERE state IN ('queued', 'leased')",
    "CREATE INDEX helix_jobs_state ON helix_jobs (state, seq)",
];

const COLUMNS: &str = "seq, id, spec, submitted, state, due, attempts, token, worker, \
                       leased_until, ended, result, failure";

/// A row of a store's answer, read from its left.
pub(super) struct Row(std::vec::IntoIter<Value>);

impl Row {
    pub(super) fn new(values: Vec<Value>) -> Self {
        Self(values.into_iter())
    }

    pub(super) fn number(&mut self) -> Option<i64> {
        self.number_or_null().flatten()
    }

    fn text(&mut self) -> Option<String> {
        self.text_or_null().flatten()
    }

    /// The outer `None`: it is neither a number nor nothing.
    fn number_or_null(&mut self) -> Option<Option<i64>> {
        match self.0.next()? {
            Value::Number(number) => Some(number),
            Value::Text(text) => text.is_none().then_some(None),
        }
    }

    fn text_or_null(&mut self) -> Option<Option<String>> {
        match self.0.next()? {
            Value::Text(text) => Some(text),
            Value::Number(number) => number.is_none().then_some(None),
        }
    }

    fn moment(&mut self) -> Option<SystemTime> {
        self.moment_or_null().flatten()
    }

    fn moment_or_null(&mut self) -> Option<Option<SystemTime>> {
        match self.number_or_null()? {
            Some(number) => moment::from_number(number).map(Some),
            None => Some(None),
        }
    }
}

/// A job, and the number of its row.
struct Found {
    seq: i64,
    job: Result<Job, String>,
}

impl Found {
    fn read(mut row: Row) -> Option<Self> {
        let seq = row.number()?;
        let id = row.text()?;
        let job = Self::job(&id, &mut row).map_err(|why| format!("job {id}: {why}"));
        Some(Self { seq, job })
    }

    fn job(id: &str, row: &mut Row) -> Result<Job, String> {
        let no = |what: &'static str| move || format!("its {what} cannot be read");
        let spec = row.text().ok_or_else(no("description"))?;
        let spec: JobSpec = serde_json::from_str(&spec)
            .map_err(|error| format!("its description cannot be read: {error}"))?;
        let submitted = row.moment().ok_or_else(no("time"))?;
        let id = id.parse::<JobId>().map_err(|error| error.to_string())?;
        let mut job = Job::new(id, spec, submitted);
        job.state = row
            .text()
            .and_then(|state| state.parse().ok())
            .ok_or_else(no("state"))?;
        job.due = row.moment().ok_or_else(no("next attempt"))?;
        job.attempts = row
            .number()
            .and_then(|attempts| u32::try_from(attempts).ok())
            .ok_or_else(no("attempts"))?;
        job.token = row
            .number()
            .and_then(|token| u64::try_from(token).ok())
            .ok_or_else(no("token"))?;
        job.worker = row.text_or_null().ok_or_else(no("worker"))?;
        job.leased_until = row.moment_or_null().ok_or_else(no("lease"))?;
        job.ended = row.moment_or_null().ok_or_else(no("end"))?;
        job.result = row.text_or_null().ok_or_else(no("result"))?;
        job.failure = row.text_or_null().ok_or_else(no("failure"))?;
        Ok(job)
    }
}

fn optional_text(text: Option<&str>) -> Value {
    Value::Text(text.map(str::to_owned))
}

fn optional_moment(at: Option<SystemTime>) -> Value {
    Value::Number(at.map(moment::to_number))
}

fn select(
    transaction: &mut dyn Transaction,
    rest: &str,
    arguments: &[Value],
) -> Result<Vec<Found>, QueueError> {
    let statement = format!("SELECT {COLUMNS} FROM helix_jobs {rest}");
    transaction
        .run(&statement, arguments)?
        .into_iter()
        .map(|row| {
            Found::read(row)
                .ok_or_else(|| transaction.corrupt("a job without number or name".to_owned()))
        })
        .collect()
}

fn find(
    transaction: &mut dyn Transaction,
    id: &JobId,
) -> Result<(i64, Result<Job, QueueError>), QueueError> {
    let rest = format!("WHERE id = $1{}", transaction.locked());
    let found = select(transaction, &rest, &[Value::text(id.as_str())])?
        .pop()
        .ok_or_else(|| QueueError::NotFound { job: id.clone() })?;
    let job = found.job.map_err(|why| transaction.corrupt(why));
    Ok((found.seq, job))
}

fn write(transaction: &mut dyn Transaction, seq: i64, job: &Job) -> Result<(), QueueError> {
    let token = i64::try_from(job.token)
        .map_err(|_| transaction.corrupt(format!("job {} was leased too often", job.id)))?;
    transaction.run(
        "UPDATE helix_jobs SET state = $2, due = $3, attempts = $4, token = $5, worker = $6,
            leased_until = $7, ended = $8, result = $9, failure = $10
         WHERE seq = $1",
        &[
            Value::number(seq),
            Value::text(job.state.name()),
            Value::moment(job.due),
            Value::number(job.attempts),
            Value::number(token),
            optional_text(job.worker.as_deref()),
            optional_moment(job.leased_until),
            optional_moment(job.ended),
            optional_text(job.result.as_deref()),
            optional_text(job.failure.as_deref()),
        ],
    )?;
    Ok(())
}

/// Makes dead letters of what nobody may have any more.
fn bury(transaction: &mut dyn Transaction, now: SystemTime) -> Result<(), QueueError> {
    let rest = format!(
        "WHERE (state = 'queued' OR state = 'leased' AND leased_until <= $1)
            AND (deadline <= $1 OR attempts >= max_attempts)
         ORDER BY seq{}",
        transaction.unlocked_only()
    );
    let now_number = Value::moment(now);
    for found in select(transaction, &rest, &[now_number])? {
        match found.job {
            Ok(mut job) => {
                if job.bury(now) {
                    write(transaction, found.seq, &job)?;
                }
            }
            Err(why) => set_aside(transaction, found.seq, &why, now)?,
        }
    }
    Ok(())
}

/// A job that cannot be read must not stand in the way of others.
fn set_aside(
    transaction: &mut dyn Transaction,
    seq: i64,
    why: &str,
    now: SystemTime,
) -> Result<(), QueueError> {
    transaction.run(
        "UPDATE helix_jobs
         SET state = 'dead', leased_until = NULL, ended = $2, failure = $3 WHERE seq = $1",
        &[Value::number(seq), Value::moment(now), Value::text(why)],
    )?;
    Ok(())
}

pub(super) fn submit(store: &impl Store, spec: &JobSpec) -> Result<JobId, QueueError> {
    spec.check()?;
    // Here, not in the store: so it can be put in twice and is there once.
    let id = JobId::generate()?;
    let text = serde_json::to_string(spec).map_err(|error| QueueError::Invalid {
        what: "job",
        why: error.to_string(),
    })?;
    store.transaction("submit a job", true, &mut |transaction| {
        let now = transaction.now()?;
        let job = Job::new(id.clone(), spec.clone(), now);
        let key = optional_text(spec.idempotency_key());
        transaction.run(
            "INSERT INTO helix_jobs (id, idempotency_key, operation, actor, spec, max_attempts,
                deadline, submitted, state, due, attempts, token)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'queued', $9, 0, 0)
             ON CONFLICT DO NOTHING",
            &[
                Value::text(id.as_str()),
                key.clone(),
                Value::text(spec.operation().name()),
                Value::text(spec.actor()),
                Value::text(text.as_str()),
                Value::number(spec.attempts()),
                optional_moment(spec.ends()),
                Value::moment(now),
                Value::moment(job.due),
            ],
        )?;
        let own = Value::text(id.as_str());
        let rest = "WHERE id = $1 OR idempotency_key = $2";
        let there = select(transaction, rest, &[own, key])?
            .pop()
            .ok_or_else(|| transaction.corrupt(format!("job {id} is not there")))?
            .job
            .map_err(|why| transaction.corrupt(why))?;
        match spec.idempotency_key() {
            Some(key) if !there.spec.is_same_work(spec) => Err(QueueError::KeyTaken {
                key: key.to_owned(),
                job: there.id,
            }),
            _ => Ok(there.id),
        }
    })
}

pub(super) fn lease(
    store: &impl Store,
    worker: &str,
    duration: Duration,
    operations: &[Operation],
) -> Result<Option<Lease>, QueueError> {
    check_lease(worker, duration)?;
    // What a newer program put in is left to it.
    let wanted = if operations.is_empty() {
        Operation::ALL.as_slice()
    } else {
        operations
    };
    let names: Vec<String> = wanted
        .iter()
        .map(|operation| format!("'{}'", operation.name()))
        .collect();
    let names = names.join(", ");
    let until = moment::later(SystemTime::now(), duration);
    store.transaction("lease a job", false, &mut |transaction| {
        let now = transaction.now()?;
        bury(transaction, now)?;
        let rest = format!(
            "WHERE (state = 'queued' AND due <= $1 OR state = 'leased' AND leased_until <= $1)
                AND attempts < max_attempts AND (deadline IS NULL OR deadline > $1)
                AND operation IN ({names})
             ORDER BY due, seq LIMIT 1{}",
            transaction.unlocked_only()
        );
        loop {
            let now_number = Value::moment(now);
            let Some(found) = select(transaction, &rest, &[now_number])?.pop() else {
                return Ok(None);
            };
            match found.job {
                Ok(mut job) if job.is_free(now) => {
                    job.lease(worker, moment::later(now, duration));
                    write(transaction, found.seq, &job)?;
                    return Ok(Some(Lease::new(job, worker, until)));
                }
                // Its columns say otherwise than its description.
                Ok(job) => {
                    let why = format!("job {}: its limits do not fit its description", job.id);
                    set_aside(transaction, found.seq, &why, now)?;
                }
                Err(why) => set_aside(transaction, found.seq, &why, now)?,
            }
        }
    })
}

pub(super) fn lease_job(
    store: &impl Store,
    id: &JobId,
    worker: &str,
    duration: Duration,
) -> Result<Option<Lease>, QueueError> {
    check_lease(worker, duration)?;
    let until = moment::later(SystemTime::now(), duration);
    store.transaction("lease a job", false, &mut |transaction| {
        let (seq, job) = find(transaction, id)?;
        let mut job = job?;
        let now = transaction.now()?;
        if job.bury(now) {
            write(transaction, seq, &job)?;
        }
        if !job.is_free(now) {
            return Ok(None);
        }
        job.lease(worker, moment::later(now, duration));
        write(transaction, seq, &job)?;
        Ok(Some(Lease::new(job, worker, until)))
    })
}

/// Reads a job, changes it, writes it back.
fn change<T>(
    store: &impl Store,
    action: &'static str,
    id: &JobId,
    change: impl Fn(&mut Job, SystemTime) -> Result<T, QueueError>,
) -> Result<T, QueueError> {
    store.transaction(action, true, &mut |transaction| {
        let (seq, job) = find(transaction, id)?;
        let before = job?;
        // After the row is ours: waiting for it takes time.
        let now = transaction.now()?;
        let mut job = before.clone();
        let result = change(&mut job, now)?;
        if job != before {
            write(transaction, seq, &job)?;
        }
        Ok(result)
    })
}

pub(super) fn renew(
    store: &impl Store,
    lease: &Lease,
    duration: Duration,
) -> Result<Lease, QueueError> {
    check_lease(lease.worker(), duration)?;
    let until = moment::later(SystemTime::now(), duration);
    change(store, "renew a lease", lease.id(), |job, now| {
        job.renew(lease, now, moment::later(now, duration))?;
        Ok(Lease::new(job.clone(), lease.worker(), until))
    })
}

pub(super) fn complete(store: &impl Store, lease: &Lease, result: &str) -> Result<(), QueueError> {
    change(store, "complete a job", lease.id(), |job, now| {
        job.complete(lease, result, now)
    })
}

pub(super) fn fail(
    store: &impl Store,
    lease: &Lease,
    why: &str,
) -> Result<AfterFailure, QueueError> {
    change(store, "note a job's failure", lease.id(), |job, now| {
        job.fail(lease, why, now)
    })
}

pub(super) fn job(store: &impl Store, id: &JobId) -> Result<Job, QueueError> {
    change(store, "read a job", id, |job, now| {
        job.bury(now);
        Ok(job.clone())
    })
}

pub(super) fn list(store: &impl Store, filter: &JobFilter) -> Result<Vec<Job>, QueueError> {
    store.transaction("list jobs", true, &mut |transaction| {
        let now = transaction.now()?;
        bury(transaction, now)?;
        let mut conditions = Vec::new();
        let mut arguments = Vec::new();
        if !filter.states.is_empty() {
            let names: Vec<String> = filter
                .states
                .iter()
                .map(|state| format!("'{}'", state.name()))
                .collect();
            conditions.push(format!("state IN ({})", names.join(", ")));
        }
        if let Some(operation) = filter.operation {
            conditions.push(format!("operation = '{}'", operation.name()));
        }
        if let Some(actor) = &filter.actor {
            arguments.push(Value::text(actor.as_str()));
            conditions.push(format!("actor = ${}", arguments.len()));
        }
        let mut rest = String::new();
        if !conditions.is_empty() {
            rest = format!("WHERE {}", conditions.join(" AND "));
        }
        let rest = format!("{rest} ORDER BY seq DESC LIMIT {}", filter.limit);
        select(transaction, &rest, &arguments)?
            .into_iter()
            .map(|found| found.job.map_err(|why| transaction.corrupt(why)))
            .collect()
    })
}

pub(super) fn revive(store: &impl Store, id: &JobId) -> Result<(), QueueError> {
    store.transaction("revive a job", false, &mut |transaction| {
        let (seq, job) = find(transaction, id)?;
        let mut job = job?;
        let now = transaction.now()?;
        job.bury(now);
        job.revive(now)?;
        write(transaction, seq, &job)
    })
}

pub(super) fn cancel(store: &impl Store, id: &JobId) -> Result<(), QueueError> {
    store.transaction("cancel a job", true, &mut |transaction| {
        let (seq, job) = find(transaction, id)?;
        let now = transaction.now()?;
        match job {
            Ok(mut job) => {
                job.bury(now);
                job.cancel(now)?;
                write(transaction, seq, &job)
            }
            Err(_) => {
                transaction.run(
                    "UPDATE helix_jobs
                     SET state = 'cancelled', leased_until = NULL, ended = $2 WHERE seq = $1",
                    &[Value::number(seq), Value::moment(now)],
                )?;
                Ok(())
            }
        }
    })
}

pub(super) fn forget(store: &impl Store, before: SystemTime) -> Result<u64, QueueError> {
    store.transaction("forget jobs", true, &mut |transaction| {
        let forgotten = transaction.run(
            "DELETE FROM helix_jobs
             WHERE state IN ('done', 'dead', 'cancelled') AND ended < $1 RETURNING seq",
            &[Value::moment(before)],
        )?;
        Ok(forgotten.len() as u64)
    })
}

/// The queue's methods, for a store.
macro_rules! job_queue {
    ($queue:ty) => {
        impl $crate::gate::queue::JobQueue for $queue {
            fn submit(&self, spec: &JobSpec) -> Result<JobId, QueueError> {
                engine::submit(self, spec)
            }

            fn lease(
                &self,
                worker: &str,
                duration: Duration,
                operations: &[Operation],
            ) -> Result<Option<Lease>, QueueError> {
                engine::lease(self, worker, duration, operations)
            }

            fn lease_job(
                &self,
                job: &JobId,
                worker: &str,
                duration: Duration,
            ) -> Result<Option<Lease>, QueueError> {
                engine::lease_job(self, job, worker, duration)
            }

            fn renew(&self, lease: &Lease, duration: Duration) -> Result<Lease, QueueError> {
                engine::renew(self, lease, duration)
            }

            fn complete(&self, lease: &Lease, result: &str) -> Result<(), QueueError> {
                engine::complete(self, lease, result)
            }

            fn fail(&self, lease: &Lease, why: &str) -> Result<AfterFailure, QueueError> {
                engine::fail(self, lease, why)
            }

            fn job(&self, job: &JobId) -> Result<Job, QueueError> {
                engine::job(self, job)
            }

            fn list(&self, filter: &JobFilter) -> Result<Vec<Job>, QueueError> {
                engine::list(self, filter)
            }

            fn revive(&self, job: &JobId) -> Result<(), QueueError> {
                engine::revive(self, job)
            }

            fn cancel(&self, job: &JobId) -> Result<(), QueueError> {
                engine::cancel(self, job)
            }

            fn forget(&self, moment: SystemTime) -> Result<u64, QueueError> {
                engine::forget(self, moment)
            }
        }
    };
}
pub(super) use job_queue;
