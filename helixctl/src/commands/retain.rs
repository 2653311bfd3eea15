//! `helixctl guard retain`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;
use helix_zfs::gate::{Operation, Scope};
use helix_zfs::zfs_core::Zfs;
use helix_zfs::{GuardRail, Keep, RailInfo, Retention, RetentionOptions, RetentionPlan};
use serde_json::{Value, json};

use crate::answer::{Answer, Rows};
use crate::console::{Console, Intent};
use crate::failure::{Exit, Failure};
use crate::progress::Bar;
use crate::quantity::{self, show_moment};

/// `helixctl guard retain`.
#[derive(Debug, Args)]
pub(crate) struct Retain {
    /// The dataset that the guard rails are of, with all below it.
    parent: String,
    #[command(flatten)]
    policy: Policy,
}

/// What stays. The newest guard rail always does.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Policy {
    /// A policy in JSON, which can have rules of their own for reasons and tags.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["last", "hourly", "daily", "weekly", "within"])]
    policy: Option<PathBuf>,
    /// The newest, so many of them.
    #[arg(long, value_name = "NUMBER")]
    last: Option<u32>,
    /// One an hour, of so many hours.
    #[arg(long, value_name = "NUMBER")]
    hourly: Option<u32>,
    /// One a day, of so many days.
    #[arg(long, value_name = "NUMBER")]
    daily: Option<u32>,
    /// One a week, of so many weeks.
    #[arg(long, value_name = "NUMBER")]
    weekly: Option<u32>,
    /// All that are not older than this: 36h, 7d.
    #[arg(long = "for", value_name = "TIME", value_parser = quantity::duration)]
    within: Option<Duration>,
}

impl Policy {
    fn read(&self) -> Result<Retention, Failure> {
        if let Some(path) = &self.policy {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path).map_err(|error| Failure::io(&name, &error))?;
            return serde_json::from_str(&text)
                .map_err(|error| Failure::usage(format!("{name}: {error}")));
        }
        let mut keep = Keep::new()
            .last(self.last.unwrap_or_default())
            .hourly(self.hourly.unwrap_or_default())
            .daily(self.daily.unwrap_or_default())
            .weekly(self.weekly.unwrap_or_default());
        if let Some(length) = self.within {
            keep = keep.within(length);
        }
        Ok(Retention::new(keep))
    }
}

fn page(plan: &RetentionPlan) -> String {
    let mut rows = Rows::new(&["GUARD RAIL", "TAKEN", "STAYS"], "no guard rails");
    for kept in &plan.keep {
        let because: Vec<String> = kept.because.iter().map(ToString::to_string).collect();
        let taken = show_moment(kept.rail.taken);
        rows.row([kept.rail.name.clone(), taken, because.join(", ")]);
    }
    for rail in &plan.remove {
        rows.row([
            rail.name.clone(),
            show_moment(rail.taken),
            String::from("no"),
        ]);
    }
    rows.text()
}

fn kept(plan: &RetentionPlan) -> Vec<Value> {
    let told = plan.keep.iter().map(|kept| {
        json!({
            "name": kept.rail.name,
            "taken": show_moment(kept.rail.taken),
            "because": kept.because,
        })
    });
    told.collect()
}

fn gone(rail: &RailInfo, error: Option<String>) -> Value {
    json!({ "name": rail.name, "taken": show_moment(rail.taken), "error": error })
}

impl Retain {
    pub(crate) fn run(self, console: &Console, zfs: &Zfs) -> Result<Answer, Failure> {
        let policy = self.policy.read()?;
        let parent = zfs.dataset(&self.parent)?;
        let rails: Vec<RailInfo> = GuardRail::list(&parent)?
            .iter()
            .map(RailInfo::from)
            .collect();
        let plan = policy.plan(&rails, SystemTime::now());
        let told = json!({
            "keep": kept(&plan),
            "remove": plan.remove.iter().map(|rail| gone(rail, None)).collect::<Vec<_>>(),
        });
        let mut intent = Intent::new().details(&told, page(&plan))?;
        for rail in &plan.remove {
            intent = intent.loses(format!("remove the guard rail {}", rail.name));
        }
        if let Some(answer) = console.before(&intent)? {
            return Ok(answer);
        }
        let bar = Bar::new(console);
        let scope = Scope::below(parent.name());
        let report = console.job(zfs, Operation::Retain, scope, |capability| {
            let options = RetentionOptions::new();
            plan.carry_out(capability, &parent, &options, &mut |step| bar.step(&step))
        })?;
        drop(bar);
        let mut text = String::new();
        let mut removed = Vec::new();
        for rail in &report.removed {
            text += &format!("{}: removed\n", rail.name);
            removed.push(gone(rail, None));
        }
        for (rail, spared) in &report.spared {
            text += &format!("{}: stays: {spared}\n", rail.name);
            removed.push(gone(rail, Some(spared.to_string())));
        }
        text += &format!("{} guard rails are kept\n", plan.keep.len());
        let answer = Answer::new(&json!({ "keep": kept(&plan), "remove": removed }), text)?;
        if let Some(error) = report.stopped {
            let failure = Failure::from(error).advice("run it again: it goes on from there");
            return Ok(answer.failed(failure));
        }
        Ok(match report.spared.len() {
            0 => answer,
            many => answer.failed(
                Failure::new(Exit::Partial, format!("{many} guard rails stay for now"))
                    .advice("release holds, destroy clones, and run it again"),
            ),
        })
    }
}
