//! `helixctl gate`.

use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use helix_zfs::gate::{
    Job, JobFilter, JobId, JobQueue, JobSpec, JobState, Operation, Rules, Scope, Select,
};
use helix_zfs::zfs_core::DatasetName;
use serde_json::json;

use crate::answer::{Answer, Rows, or_dash};
use crate::console::{Console, Intent};
use crate::failure::{Exit, Failure};
use crate::gate::GateFolder;
use crate::quantity::{self, show_moment};

/// `helixctl gate`.
#[derive(Debug, Subcommand)]
pub(crate) enum Gate {
    /// Submits a job for a worker: a service that leases jobs from this queue.
    Submit(Submit),
    /// Jobs, the newest first.
    Jobs(Jobs),
    /// All that is known of a job.
    Show {
        /// Its id.
        job: JobId,
    },
    /// Takes a job out. A worker that has it loses it.
    Cancel {
        /// Its id.
        job: JobId,
    },
    /// Puts a dead or cancelled job back, with all its attempts.
    Revive {
        /// Its id.
        job: JobId,
    },
    /// Removes jobs that ended long ago from the queue. The audit log keeps what they did.
    Forget {
        /// How long ago: 90d.
        #[arg(long, value_name = "TIME", value_parser = quantity::duration)]
        older_than: Duration,
    },
    /// What was granted, used and refused; or, with --verify, whether that is all.
    Audit(super::audit::Audit),
    /// Who may do what with which datasets.
    Rules,
    /// Whether the actor may do something. Nothing is done, and nothing put on record.
    May {
        /// What.
        operation: Operation,
        /// With which datasets, and all below them.
        #[arg(required = true)]
        datasets: Vec<String>,
    },
}

/// `helixctl gate submit`.
#[derive(Debug, Args)]
pub(crate) struct Submit {
    /// What is to be done.
    operation: Operation,
    /// With which datasets, and all below them.
    #[arg(required = true)]
    datasets: Vec<String>,
    /// Why, in words.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// What the worker needs to know besides, in JSON. Never a key: it is kept in the open.
    #[arg(long, value_name = "JSON", value_parser = payload)]
    payload: Option<serde_json::Value>,
    /// Submitting the same work again with this key makes no second job.
    #[arg(long, value_name = "TEXT")]
    key: Option<String>,
    /// Nobody gets it before that time has passed: 2h.
    #[arg(long = "in", value_name = "TIME", value_parser = quantity::duration)]
    delay: Option<Duration>,
    /// It is done within that time from now on, or not at all.
    #[arg(long, value_name = "TIME", value_parser = quantity::duration)]
    within: Option<Duration>,
    /// How often it is tried.
    #[arg(long, default_value_t = 5, value_name = "NUMBER")]
    attempts: u32,
    /// How long after the first failure it is tried again. Each further time is twice as long.
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = quantity::duration)]
    backoff: Duration,
    /// The longest such time.
    #[arg(long, default_value = "5m", value_name = "TIME", value_parser = quantity::duration)]
    longest_backoff: Duration,
}

/// `helixctl gate jobs`.
#[derive(Debug, Args)]
pub(crate) struct Jobs {
    /// Only those that are queued, leased, done, dead or cancelled. It can be said several times.
    #[arg(long = "state", value_name = "STATE")]
    states: Vec<JobState>,
    /// Only those of this operation.
    #[arg(long, value_name = "OPERATION")]
    operation: Option<Operation>,
    /// Only those of this actor.
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// No more than the newest so many.
    #[arg(long, default_value_t = 100, value_name = "NUMBER")]
    last: u32,
}

/// A text that is JSON: `clap` would take any text for a JSON string.
fn payload(text: &str) -> Result<serde_json::Value, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn scope(datasets: &[String]) -> Result<Scope, Failure> {
    let names: Result<Vec<DatasetName>, _> = datasets
        .iter()
        .map(|name| DatasetName::new(name.as_str()))
        .collect();
    Ok(Scope::of(&names?))
}

fn later(delay: Duration) -> Result<SystemTime, Failure> {
    SystemTime::now()
        .checked_add(delay)
        .ok_or_else(|| Failure::usage("that is after all time"))
}

impl Submit {
    fn spec(&self, actor: String) -> Result<JobSpec, Failure> {
        let mut spec = JobSpec::new(self.operation, scope(&self.datasets)?, actor)
            .max_attempts(self.attempts)
            .backoff(self.backoff, self.longest_backoff);
        if let Some(reason) = &self.reason {
            spec = spec.reason(reason);
        }
        if let Some(payload) = &self.payload {
            spec = spec.payload(payload.clone());
        }
        if let Some(key) = &self.key {
            spec = spec.key(key);
        }
        if let Some(delay) = self.delay {
            spec = spec.not_before(later(delay)?);
        }
        if let Some(within) = self.within {
            spec = spec.deadline(later(within)?);
        }
        spec.check()?;
        Ok(spec)
    }

    fn run(self, console: &Console, folder: &GateFolder) -> Result<Answer, Failure> {
        let spec = self.spec(console.actor())?;
        // Its grant would be refused. It is kinder to say so now.
        allowed(&folder.rules()?, &spec)?;
        let what = format!("submit a job: {} {}", spec.operation(), spec.scope());
        if let Some(answer) = console.before(&Intent::new().change(what))? {
            return Ok(answer);
        }
        let id = folder.make_queue()?.submit(&spec)?;
        Answer::new(&json!({ "id": id }), format!("{id}\n"))
    }
}

fn allowed(rules: &Rules, spec: &JobSpec) -> Result<(), Failure> {
    match rules.refused(spec.actor(), spec.operation(), spec.scope()) {
        None => Ok(()),
        Some(dataset) => {
            let (actor, operation) = (spec.actor(), spec.operation());
            let message = format!("the rules do not let {actor} do {operation} with {dataset}");
            Err(Failure::new(Exit::Denied, message).advice("see `helixctl gate rules`"))
        }
    }
}

impl Jobs {
    fn run(self, folder: &GateFolder) -> Result<Answer, Failure> {
        let mut filter = JobFilter::new().limit(self.last);
        for state in self.states {
            filter = filter.state(state);
        }
        if let Some(operation) = self.operation {
            filter = filter.operation(operation);
        }
        if let Some(actor) = self.actor {
            filter = filter.actor(actor);
        }
        let jobs = folder.queue()?.list(&filter)?;
        let titles = [
            "JOB",
            "STATE",
            "OPERATION",
            "DATASETS",
            "ACTOR",
            "TRIED>",
            "SUBMITTED",
        ];
        let mut rows = Rows::new(&titles, "no jobs");
        for job in &jobs {
            rows.row([
                job.id.to_string(),
                job.state.to_string(),
                job.spec.operation().to_string(),
                job.spec.scope().to_string(),
                job.spec.actor().to_owned(),
                job.attempts.to_string(),
                show_moment(job.submitted),
            ]);
        }
        Answer::new(&jobs, rows.text())
    }
}

fn show(job: &Job) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| text += &format!("{name:<14}{value}\n");
    let spec = &job.spec;
    line("job", job.id.to_string());
    line("state", job.state.to_string());
    line("operation", spec.operation().to_string());
    line("datasets", spec.scope().to_string());
    line("actor", spec.actor().to_owned());
    line(
        "reason",
        or_dash(Some(spec.why()).filter(|why| !why.is_empty())),
    );
    line("payload", spec.data().to_string());
    line("key", or_dash(spec.idempotency_key()));
    line("submitted", show_moment(job.submitted));
    line("due", show_moment(job.due));
    line("deadline", or_dash(spec.ends().map(show_moment)));
    line("tried", format!("{} of {}", job.attempts, spec.attempts()));
    line("worker", or_dash(job.worker.as_deref()));
    line("leased until", or_dash(job.leased_until.map(show_moment)));
    line("ended", or_dash(job.ended.map(show_moment)));
    line("result", or_dash(job.result.as_deref()));
    line("failure", or_dash(job.failure.as_deref()));
    text
}

fn select<T: ToString>(select: &Select<T>) -> String {
    match select {
        Select::All => String::from("all"),
        Select::These(these) => {
            let these: Vec<String> = these.iter().map(ToString::to_string).collect();
            these.join(", ")
        }
    }
}

fn rules(folder: &GateFolder) -> Result<Answer, Failure> {
    let rules = folder.rules()?;
    let mut rows = Rows::new(
        &["ACTORS", "OPERATIONS", "DATASETS"],
        "nobody may do anything",
    );
    for rule in rules.rules() {
        rows.row([
            select(&rule.actors),
            select(&rule.operations),
            select(&rule.below),
        ]);
    }
    let mut text = rows.text();
    let area = &rules.production().ephemeral_area;
    let shown: Vec<&str> = area.iter().map(DatasetName::as_str).collect();
    text += &match shown.as_slice() {
        [] => String::from("production may be cloned nowhere\n"),
        some => format!("production may be cloned below {}\n", some.join(", ")),
    };
    Answer::new(&rules, text)
}

/// Changes one job and answers with what it is then.
fn change(
    console: &Console,
    folder: &GateFolder,
    intent: &Intent,
    id: &JobId,
    change: impl FnOnce(&dyn JobQueue) -> Result<(), Failure>,
) -> Result<Answer, Failure> {
    let queue = folder.queue()?;
    queue.job(id)?;
    if let Some(answer) = console.before(intent)? {
        return Ok(answer);
    }
    change(&queue)?;
    let job = queue.job(id)?;
    Answer::new(&job, format!("{id}: {}\n", job.state))
}

impl Gate {
    pub(crate) fn run(self, console: &Console) -> Result<Answer, Failure> {
        let folder = GateFolder::of(console.global());
        match self {
            Self::Submit(submit) => submit.run(console, &folder),
            Self::Jobs(jobs) => jobs.run(&folder),
            Self::Show { job } => {
                let job = folder.queue()?.job(&job)?;
                Answer::new(&job, show(&job))
            }
            Self::Cancel { job } => {
                let intent = Intent::new().loses(format!("cancel the job {job}"));
                let cancel = |queue: &dyn JobQueue| Ok(queue.cancel(&job)?);
                change(console, &folder, &intent, &job, cancel)
            }
            Self::Revive { job } => {
                let intent = Intent::new().change(format!("revive the job {job}"));
                let revive = |queue: &dyn JobQueue| Ok(queue.revive(&job)?);
                change(console, &folder, &intent, &job, revive)
            }
            Self::Forget { older_than } => {
                let before = SystemTime::now()
                    .checked_sub(older_than)
                    .ok_or_else(|| Failure::usage("that is before all time"))?;
                let queue = folder.queue()?;
                let what = format!("forget jobs that ended before {}", show_moment(before));
                if let Some(answer) = console.before(&Intent::new().loses(what))? {
                    return Ok(answer);
                }
                let forgotten = queue.forget(before)?;
                let data = json!({ "forgotten": forgotten });
                Answer::new(&data, format!("{forgotten} jobs are forgotten\n"))
            }
            Self::Audit(audit) => audit.run(console, &folder),
            Self::Rules => rules(&folder),
            Self::May {
                operation,
                datasets,
            } => {
                let spec = JobSpec::new(operation, scope(&datasets)?, console.actor());
                allowed(&folder.rules()?, &spec)?;
                let text = format!("{} may do {operation} there\n", spec.actor());
                Answer::new(&json!({ "allowed": true }), text)
            }
        }
    }
}
