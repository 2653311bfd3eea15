//! `helixctl guard`.

use std::time::SystemTime;

use clap::{Args, Subcommand};
use helix_zfs::gate::{Operation, Scope};
use helix_zfs::zfs_core::{Dataset, DatasetName, Zfs};
use helix_zfs::{
    Change, GuardRail, RailFilter, RollbackOptions, RollbackPlan, RollbackReport,
    UnfinishedRollback,
};
use serde::Serialize;
use serde_json::json;

use crate::answer::{Answer, Rows, or_dash};
use crate::console::{Console, Intent, user};
use crate::failure::{Exit, Failure};
use crate::progress::Bar;
use crate::quantity::{self, show_bytes, show_moment};

/// `helixctl guard`.
#[derive(Debug, Subcommand)]
pub(crate) enum Guard {
    /// Takes a guard rail: a snapshot of each dataset, all in one transaction, tagged and held.
    Take(Take),
    /// The guard rails of a dataset and all below it, oldest first.
    List {
        /// The dataset.
        parent: String,
    },
    /// The guard rails that fit all that is said of them, oldest first.
    Find {
        /// The dataset that they are of, with all below it.
        parent: String,
        #[command(flatten)]
        filter: Filter,
    },
    /// Rolls every dataset of a guard rail back to it. What was written since is lost. With
    /// --dry-run it tells what that is, and what is in the way.
    Rollback(Rollback),
    /// Finishes a rollback that was interrupted.
    Resume {
        /// The dataset that it was of, with all below it.
        parent: String,
        /// Leaves the datasets as they are instead, and forgets the rollback.
        #[arg(long)]
        abandon: bool,
    },
    /// Removes the guard rails that a policy does not keep. Those that somebody holds, cloned, sends
    /// or rolls back to stay.
    Retain(super::retain::Retain),
    /// Releases a guard rail and destroys its snapshots.
    Remove {
        /// The dataset that it is of, with all below it.
        parent: String,
        /// Its name.
        name: String,
    },
}

/// `helixctl guard take`.
#[derive(Debug, Args)]
pub(crate) struct Take {
    /// Its name: the name of its snapshots.
    name: String,
    /// The datasets, of one pool.
    #[arg(required = true)]
    datasets: Vec<String>,
    /// All below them too.
    #[arg(long, short)]
    recursive: bool,
    /// The commit that is deployed.
    #[arg(long, value_name = "SHA")]
    git_sha: Option<String>,
    /// The revision of the Helm release that is replaced.
    #[arg(long, value_name = "NUMBER")]
    helm_revision: Option<u64>,
    /// Who makes the change, rather than whoever runs this.
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Why, in words.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// A word to find it by. It can be said several times.
    #[arg(long = "tag", value_name = "WORD")]
    tags: Vec<String>,
}

/// What a guard rail is found by.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Filter {
    /// Its name.
    #[arg(long)]
    name: Option<String>,
    /// The commit, or the beginning of it.
    #[arg(long, value_name = "SHA")]
    git_sha: Option<String>,
    /// The revision of the Helm release.
    #[arg(long, value_name = "NUMBER")]
    helm_revision: Option<u64>,
    /// Who made the change.
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// One of its tags. It can be said several times: all must be there.
    #[arg(long = "tag", value_name = "WORD")]
    tags: Vec<String>,
    /// Taken then or later: 2026-01-31T12:00:00Z, or 2h for two hours ago.
    #[arg(long, value_name = "MOMENT", value_parser = quantity::moment)]
    since: Option<SystemTime>,
    /// Taken then or earlier.
    #[arg(long, value_name = "MOMENT", value_parser = quantity::moment)]
    until: Option<SystemTime>,
}

/// `helixctl guard rollback`.
#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// The dataset that the guard rail is of, with all below it.
    parent: String,
    /// The guard rail's name.
    name: String,
    #[command(flatten)]
    options: Options,
}

/// What a rollback may destroy.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Destroys the snapshots and bookmarks that were made since, but for those of guard rails.
    #[arg(long)]
    destroy_newer: bool,
    /// Destroys this newer snapshot or bookmark. It can be said several times.
    #[arg(long = "destroy", value_name = "SNAPSHOT")]
    destroy: Vec<String>,
    /// Destroys this newer guard rail. It can be said several times.
    #[arg(long = "destroy-guard", value_name = "NAME")]
    destroy_guard: Vec<String>,
    /// Keeps the state that is discarded as clones of this name.
    #[arg(long, value_name = "NAME")]
    keep: Option<String>,
}

impl Options {
    pub(crate) fn options(self) -> RollbackOptions {
        let mut options = RollbackOptions::new();
        if self.destroy_newer {
            options = options.destroy_newer();
        }
        for name in self.destroy {
            options = options.destroy(name);
        }
        for name in self.destroy_guard {
            options = options.destroy_guard_rail(name);
        }
        if let Some(name) = self.keep {
            options = options.keep(name);
        }
        options
    }
}

#[derive(Debug, Serialize)]
struct GuardJson {
    name: String,
    txg: u64,
    taken: String,
    whole: bool,
    git_sha: Option<String>,
    helm_revision: Option<u64>,
    actor: Option<String>,
    reason: Option<String>,
    tags: Vec<String>,
    snapshots: Vec<String>,
}

impl GuardJson {
    fn of(rail: &GuardRail) -> Self {
        let change = rail.change();
        let snapshots = rail.snapshots().iter();
        Self {
            name: rail.name().to_owned(),
            txg: rail.txg(),
            taken: show_moment(rail.taken()),
            whole: rail.is_whole(),
            git_sha: change.git_sha.clone(),
            helm_revision: change.helm_revision,
            actor: change.actor.clone(),
            reason: change.reason.clone(),
            tags: change.tags.iter().cloned().collect(),
            snapshots: snapshots.map(|it| it.name().to_string()).collect(),
        }
    }
}

impl Guard {
    pub(crate) fn run(self, console: &Console) -> Result<Answer, Failure> {
        let zfs = console.zfs()?;
        match self {
            Self::Take(take) => take.run(console, &zfs),
            Self::List { parent } => told(&GuardRail::list(&zfs.dataset(&parent)?)?),
            Self::Find { parent, filter } => {
                let rails = GuardRail::matching(&zfs.dataset(&parent)?, &filter.filter())?;
                match rails.is_empty() {
                    true => Err(Failure::not_found(format!(
                        "{parent} has no such guard rail"
                    ))),
                    false => told(&rails),
                }
            }
            Self::Rollback(rollback) => {
                let rail = find(&zfs, &rollback.parent, &rollback.name)?;
                roll_back(
                    console,
                    &zfs,
                    &rail.rollback_plan()?,
                    &[],
                    &rollback.options.options(),
                )
            }
            Self::Resume { parent, abandon } => resume(console, &zfs.dataset(&parent)?, abandon),
            Self::Retain(retain) => retain.run(console, &zfs),
            Self::Remove { parent, name } => {
                let rail = find(&zfs, &parent, &name)?;
                let many = rail.snapshots().len();
                let intent = Intent::new().loses(format!("destroy {many} snapshots {name}"));
                if let Some(answer) = console.before(&intent)? {
                    return Ok(answer);
                }
                let datasets: Vec<DatasetName> = rail
                    .snapshots()
                    .iter()
                    .map(|it| it.name().dataset())
                    .collect();
                let scope = Scope::of(&datasets);
                console.job(&zfs, Operation::RemoveGuardRail, scope, |capability| {
                    rail.remove(capability)
                })?;
                Answer::new(&GuardJson::of(&rail), format!("{name}: removed\n"))
            }
        }
    }
}

impl Filter {
    fn filter(self) -> RailFilter {
        let mut filter = RailFilter::new();
        if let Some(name) = self.name {
            filter = filter.name(name);
        }
        if let Some(sha) = self.git_sha {
            filter = filter.git_sha(sha);
        }
        if let Some(revision) = self.helm_revision {
            filter = filter.helm_revision(revision);
        }
        if let Some(actor) = self.actor {
            filter = filter.actor(actor);
        }
        for tag in self.tags {
            filter = filter.tag(tag);
        }
        if let Some(moment) = self.since {
            filter = filter.since(moment);
        }
        if let Some(moment) = self.until {
            filter = filter.until(moment);
        }
        filter
    }
}

fn told(rails: &[GuardRail]) -> Result<Answer, Failure> {
    let told: Vec<_> = rails.iter().map(GuardJson::of).collect();
    let mut rows = Rows::new(
        &[
            "GUARD RAIL",
            "TAKEN",
            "DATASETS>",
            "SHA",
            "REVISION>",
            "ACTOR",
            "REASON",
            "TAGS",
        ],
        "no guard rails",
    );
    for rail in &told {
        let gone = if rail.whole { "" } else { " left" };
        rows.row([
            rail.name.clone(),
            rail.taken.clone(),
            format!("{}{gone}", rail.snapshots.len()),
            or_dash(rail.git_sha.as_ref()),
            or_dash(rail.helm_revision),
            or_dash(rail.actor.as_ref()),
            or_dash(rail.reason.as_ref()),
            rail.tags.join(","),
        ]);
    }
    Answer::new(&told, rows.text())
}

fn find(zfs: &Zfs, parent: &str, name: &str) -> Result<GuardRail, Failure> {
    GuardRail::find(&zfs.dataset(parent)?, name)?
        .ok_or_else(|| Failure::not_found(format!("{parent} has no guard rail {name}")))
}

/// The datasets of these names, and all below them if asked for.
pub(crate) fn datasets(
    zfs: &Zfs,
    names: &[String],
    recursive: bool,
) -> Result<Vec<Dataset>, Failure> {
    let mut found: Vec<Dataset> = Vec::new();
    for name in names {
        let dataset = zfs.dataset(name)?;
        if recursive {
            for entry in dataset.descendants()? {
                found.push(zfs.dataset(entry.name.as_str())?);
            }
        }
        found.push(dataset);
    }
    found.sort_by(|a, b| a.name().cmp(b.name()));
    found.dedup_by(|a, b| a.name() == b.name());
    Ok(found)
}

impl Take {
    fn run(self, console: &Console, zfs: &Zfs) -> Result<Answer, Failure> {
        let datasets = datasets(zfs, &self.datasets, self.recursive)?;
        let mut intent = Intent::new();
        for dataset in &datasets {
            let snapshot = dataset.name().snapshot(&self.name)?;
            dataset.stat()?;
            intent = intent.change(format!("snapshot {snapshot}"));
        }
        if let Some(answer) = console.before(&intent)? {
            return Ok(answer);
        }
        let mut change = Change::new().actor(self.actor.unwrap_or_else(user));
        change.git_sha = self.git_sha;
        change.helm_revision = self.helm_revision;
        change.reason = self.reason;
        change.tags = self.tags.into_iter().collect();
        let scope = Scope::of(&datasets);
        let rail = console.job(zfs, Operation::TakeGuardRail, scope, |capability| {
            GuardRail::take(capability, zfs, &datasets, &self.name, &change)
        })?;
        let told = GuardJson::of(&rail);
        let text = format!(
            "{}: {} datasets, held, in transaction group {}\n",
            told.name,
            told.snapshots.len(),
            told.txg
        );
        Answer::new(&told, text)
    }
}

#[derive(Debug, Serialize)]
struct LossJson {
    dataset: String,
    written: u64,
    snapshots_used: u64,
    newer_snapshots: Vec<String>,
    newer_bookmarks: Vec<String>,
    clones: Vec<String>,
    mounted: bool,
}

fn losses(plan: &RollbackPlan) -> Vec<LossJson> {
    let of = |loss: &helix_zfs::Loss| LossJson {
        dataset: loss.dataset.to_string(),
        written: loss.written,
        snapshots_used: loss.snapshots_used,
        newer_snapshots: loss.newer.iter().map(|it| it.name.to_string()).collect(),
        newer_bookmarks: loss.bookmarks.iter().map(ToString::to_string).collect(),
        clones: loss
            .newer
            .iter()
            .flat_map(|newer| newer.clones.iter().map(ToString::to_string))
            .collect(),
        mounted: loss.mounted,
    };
    plan.losses().iter().map(of).collect()
}

/// Tells what a rollback would lose and what is in the way, and carries it out if nothing is. It
/// leaves datasets `without` the snapshot as they are.
pub(crate) fn roll_back(
    console: &Console,
    zfs: &Zfs,
    plan: &RollbackPlan,
    without: &[DatasetName],
    options: &RollbackOptions,
) -> Result<Answer, Failure> {
    let losses = losses(plan);
    let mut rows = Rows::new(
        &[
            "DATASET",
            "WRITTEN SINCE>",
            "SNAPSHOTS>",
            "BOOKMARKS>",
            "CLONES>",
            "MOUNTED",
        ],
        "no datasets",
    );
    for loss in &losses {
        rows.row([
            loss.dataset.clone(),
            show_bytes(loss.written),
            loss.newer_snapshots.len().to_string(),
            loss.newer_bookmarks.len().to_string(),
            loss.clones.len().to_string(),
            String::from(if loss.mounted { "yes" } else { "no" }),
        ]);
    }
    let mut page = rows.text();
    for dataset in without {
        page += &format!("{dataset} has no {}, and stays as it is\n", plan.point());
    }
    let obstacles = plan.obstacles(options)?;
    let obstacles: Vec<String> = obstacles.iter().map(ToString::to_string).collect();
    let details = json!({
        "point": plan.point(),
        "written": plan.written(),
        "atomic": plan.is_atomic(),
        "newer_guard_rails": plan.newer_guard_rails(),
        "losses": losses,
        "without": without.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "obstacles": obstacles,
    });
    if !obstacles.is_empty() {
        for obstacle in &obstacles {
            page += &format!("in the way: {obstacle}\n");
        }
        let why = format!("{} things are in the way of the rollback", obstacles.len());
        let failure = Failure::refused(why).advice(
            "say --destroy-newer, --destroy or --destroy-guard for what may go; release holds and \
             destroy clones first",
        );
        return Ok(Answer::new(&details, page)?.failed(failure));
    }
    let many = losses.len();
    let written = show_bytes(plan.written());
    let intent = Intent::new().details(&details, page)?.loses(format!(
        "roll {many} datasets back to {}, losing {written}",
        plan.point()
    ));
    if let Some(answer) = console.before(&intent)? {
        return Ok(answer);
    }
    let bar = Bar::new(console);
    let scope = plan.scope(options)?;
    let report = console.job(zfs, Operation::RollBack, scope, |capability| {
        plan.carry_out(capability, options, &mut |step| bar.step(&step))
    })?;
    drop(bar);
    reported(&report)
}

fn reported(report: &RollbackReport) -> Result<Answer, Failure> {
    let mut text = String::new();
    let mut datasets = Vec::new();
    for outcome in &report.datasets {
        let error = outcome.result.as_ref().err().map(ToString::to_string);
        let said = error.clone();
        let said = said.unwrap_or_else(|| format!("at {}", report.point));
        text += &format!("{}: {said}\n", outcome.dataset);
        datasets.push(json!({ "dataset": outcome.dataset.as_str(), "error": error }));
    }
    for kept in &report.kept {
        text += &format!("what was discarded is kept as {kept}\n");
    }
    let names = |names: Vec<String>| names;
    let data = json!({
        "point": report.point,
        "atomic": report.atomic,
        "datasets": datasets,
        "destroyed_snapshots": names(report.destroyed.iter().map(ToString::to_string).collect()),
        "destroyed_bookmarks":
            names(report.destroyed_bookmarks.iter().map(ToString::to_string).collect()),
        "kept": names(report.kept.iter().map(ToString::to_string).collect()),
    });
    let answer = Answer::new(&data, text)?;
    match report.advice() {
        None => Ok(answer),
        Some(advice) => {
            let why = format!(
                "{} of {} datasets are not at {}",
                report.failed().count(),
                report.datasets.len(),
                report.point
            );
            Ok(answer.failed(Failure::new(Exit::Partial, why).advice(advice)))
        }
    }
}

fn resume(console: &Console, parent: &Dataset, abandon: bool) -> Result<Answer, Failure> {
    let unfinished = UnfinishedRollback::list(parent)?;
    let Some(first) = unfinished.first() else {
        let text = format!("{}: no rollback is unfinished\n", parent.name());
        return Answer::new(&json!({ "unfinished": 0 }), text);
    };
    if abandon {
        let intent = Intent::new().loses(format!(
            "forget the rollback of {} datasets to {}; some may be there, and some not",
            first.datasets().len(),
            first.point()
        ));
        if let Some(answer) = console.before(&intent)? {
            return Ok(answer);
        }
        let scope = Scope::of(first.datasets());
        console.job(parent.zfs(), Operation::RollBack, scope, |capability| {
            first.abandon(capability)
        })?;
        let text = format!("the rollback to {} is forgotten\n", first.point());
        return Answer::new(&json!({ "abandoned": first.point() }), text);
    }
    roll_back(console, parent.zfs(), &first.plan()?, &[], &first.options())
}
