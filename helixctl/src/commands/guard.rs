//! `helixctl guard`.

use clap::{Args, Subcommand};
use helix_zfs::zfs_core::{Dataset, Zfs};
use helix_zfs::{Change, GuardRail, RollbackError, RollbackOptions};
use serde::Serialize;

use crate::answer::{Answer, Rows, or_dash};
use crate::console::{Console, Intent};
use crate::failure::{Exit, Failure};

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
    /// Rolls every dataset of a guard rail back to it. What was written since is lost.
    Rollback(Rollback),
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
    /// The datasets.
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
    /// Why, in words.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// `helixctl guard rollback`.
#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// The dataset that it is of, with all below it.
    parent: String,
    /// Its name.
    name: String,
    /// Destroys the snapshots and bookmarks that were made since.
    #[arg(long)]
    destroy_newer: bool,
}

#[derive(Debug, Serialize)]
struct GuardJson {
    name: String,
    txg: u64,
    git_sha: Option<String>,
    helm_revision: Option<u64>,
    reason: Option<String>,
    snapshots: Vec<String>,
}

impl GuardJson {
    fn of(rail: &GuardRail) -> Self {
        let change = rail.change();
        let snapshots = rail.snapshots().iter();
        Self {
            name: rail.name().to_owned(),
            txg: rail.txg(),
            git_sha: change.git_sha.clone(),
            helm_revision: change.helm_revision,
            reason: change.reason.clone(),
            snapshots: snapshots.map(|it| it.name().to_string()).collect(),
        }
    }
}

#[derive(Debug, Serialize)]
struct RolledBackJson {
    dataset: String,
    error: Option<String>,
    destroyed: Vec<String>,
}

impl Guard {
    pub(crate) fn run(self, console: &Console) -> Result<Answer, Failure> {
        let zfs = console.zfs()?;
        match self {
            Self::Take(take) => take.run(console, &zfs),
            Self::List { parent } => {
                let rails = GuardRail::list(&zfs.dataset(&parent)?)?;
                let told: Vec<_> = rails.iter().map(GuardJson::of).collect();
                Answer::new(&told, table(&told))
            }
            Self::Rollback(rollback) => rollback.run(console, &zfs),
            Self::Remove { parent, name } => {
                let rail = find(&zfs, &parent, &name)?;
                let many = rail.snapshots().len();
                let intent = Intent::new().loses(format!("destroy {many} snapshots {name}"));
                if let Some(answer) = console.before(&intent)? {
                    return Ok(answer);
                }
                rail.remove()?;
                Answer::new(&GuardJson::of(&rail), format!("{name}: removed\n"))
            }
        }
    }
}

fn table(rails: &[GuardJson]) -> String {
    let mut rows = Rows::new(
        &["GUARD RAIL", "DATASETS>", "SHA", "REVISION>", "REASON"],
        "no guard rails",
    );
    for rail in rails {
        rows.row([
            rail.name.clone(),
            rail.snapshots.len().to_string(),
            or_dash(rail.git_sha.as_ref()),
            or_dash(rail.helm_revision),
            or_dash(rail.reason.as_ref()),
        ]);
    }
    rows.text()
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
            dataset.stat()?;
            intent = intent.change(format!("snapshot {}", dataset.name().snapshot(&self.name)?));
        }
        if let Some(answer) = console.before(&intent)? {
            return Ok(answer);
        }
        let mut change = Change::new();
        change.git_sha = self.git_sha;
        change.helm_revision = self.helm_revision;
        change.reason = self.reason;
        let rail = GuardRail::take(zfs, &datasets, &self.name, &change)?;
        let told = GuardJson::of(&rail);
        let text = format!("{}: {} datasets\n", told.name, told.snapshots.len());
        Answer::new(&told, text)
    }
}

impl Rollback {
    fn run(self, console: &Console, zfs: &Zfs) -> Result<Answer, Failure> {
        let rail = find(zfs, &self.parent, &self.name)?;
        let plan = rail.rollback_plan()?;
        let mut options = RollbackOptions::new();
        if self.destroy_newer {
            options = options.destroy_newer();
        }
        let obstacles = plan.obstacles(&options)?;
        if !obstacles.is_empty() {
            return Err(RollbackError::Obstructed(obstacles).into());
        }
        let mut intent = Intent::new();
        for loss in plan.losses() {
            intent = intent.loses(format!(
                "roll back to {}@{}: {} bytes, {} snapshots",
                loss.dataset,
                plan.point(),
                loss.written,
                loss.newer.len()
            ));
        }
        if let Some(answer) = console.before(&intent)? {
            return Ok(answer);
        }
        let report = plan.carry_out(&options, &mut |_| {})?;
        let mut text = String::new();
        let mut told = Vec::new();
        for one in &report.datasets {
            let error = one.result.as_ref().err().map(ToString::to_string);
            let said = error.as_deref().unwrap_or("rolled back");
            text += &format!("{}: {said}\n", one.dataset);
            let destroyed = report.destroyed.iter();
            told.push(RolledBackJson {
                dataset: one.dataset.to_string(),
                error,
                destroyed: destroyed
                    .filter(|snapshot| snapshot.dataset() == one.dataset)
                    .map(ToString::to_string)
                    .collect(),
            });
        }
        if let Some(advice) = report.advice() {
            text += &format!("{advice}\n");
        }
        let exit = match report.is_complete() {
            true => Exit::Done,
            false => Exit::Partial,
        };
        Ok(Answer::new(&told, text)?.ended(exit))
    }
}
