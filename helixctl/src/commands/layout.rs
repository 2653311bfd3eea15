//! `helixctl layout`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use helix_zfs::gate::{Operation, Scope};
use helix_zfs::layout::{
    Allow, ApplyOptions, Change, Danger, DeviceMap, KeyError, Layout as Wanted, LayoutError,
    Outcome, Plan,
};
use helix_zfs::zfs_core::key::WrappingKey;
use helix_zfs::zfs_core::{DatasetName, Zfs};
use serde::Serialize;
use serde_json::json;

use crate::answer::{Answer, Rows};
use crate::console::{Console, Intent};
use crate::failure::{Exit, Failure};
use crate::keys;
use crate::progress::Bar;

/// `helixctl layout`.
#[derive(Debug, Subcommand)]
pub(crate) enum Layout {
    /// Compares what is there with a layout, and lists the changes, the dangerous ones marked.
    Plan {
        #[command(flatten)]
        files: Files,
        /// Ends with exit status 9 when something is to be done.
        #[arg(long)]
        check: bool,
    },
    /// Makes what is there as a layout says. Run it again after whatever happened to it.
    Apply {
        #[command(flatten)]
        files: Files,
        /// The folder with the keys: a file for each, with the name that the layout has for it.
        #[arg(long, value_name = "FOLDER")]
        keys: Option<PathBuf>,
        /// Makes the changes although there are conflicts, which stay as they are.
        #[arg(long)]
        despite_conflicts: bool,
    },
}

/// What a plan is made from.
#[derive(Debug, Args)]
pub(crate) struct Files {
    /// The layout, in JSON (`.json`) or TOML.
    layout: PathBuf,
    /// The paths of the layout's devices on this machine, in JSON (`.json`) or TOML.
    #[arg(long, value_name = "FILE")]
    devices: PathBuf,
    /// Destroys this dataset if the layout does not have it. It can be said several times.
    #[arg(long, value_name = "DATASET")]
    allow_destroy: Vec<String>,
    /// Removes this device from its pool if the layout does not have it.
    #[arg(long, value_name = "POOL:DEVICE", value_parser = pool_and_device)]
    allow_remove: Vec<(String, String)>,
    /// Takes this device although something is on it: its name in the layout.
    #[arg(long, value_name = "DEVICE")]
    allow_overwrite: Vec<String>,
}

fn pool_and_device(text: &str) -> Result<(String, String), String> {
    let (pool, device) = text
        .split_once(':')
        .ok_or_else(|| format!("{text:?}: say POOL:DEVICE"))?;
    Ok((pool.to_owned(), device.to_owned()))
}

impl From<LayoutError> for Failure {
    fn from(error: LayoutError) -> Self {
        let exit = match &error {
            LayoutError::Zfs(error) => Exit::of(error.kind()),
            LayoutError::Syntax(_)
            | LayoutError::Version { .. }
            | LayoutError::Invalid(_)
            | LayoutError::NoDevice { .. } => Exit::Usage,
            // All others are refusals.
            _ => Exit::Refused,
        };
        let failure = Self::new(exit, error.to_string());
        match &error {
            LayoutError::Invalid(problems) if problems.len() > 1 => {
                let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
                failure.advice(format!("all that is wrong: {}", all.join("; ")))
            }
            LayoutError::Stale(_) => failure.advice("look at the plan again"),
            _ => failure,
        }
    }
}

/// Reads a file, and says which one is wrong.
fn read<T>(
    path: &Path,
    json: fn(&str) -> Result<T, LayoutError>,
    toml: fn(&str) -> Result<T, LayoutError>,
) -> Result<T, Failure> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| Failure::io(&name, &error))?;
    let parse = match path
        .extension()
        .is_some_and(|extension| extension == "json")
    {
        true => json,
        false => toml,
    };
    parse(&text).map_err(|error| {
        let failure = Failure::from(error);
        let message = format!("{name}: {}", failure.message);
        Failure { message, ..failure }
    })
}

impl Files {
    fn plan(self, zfs: &Zfs) -> Result<Plan, Failure> {
        let layout = read(&self.layout, Wanted::from_json, Wanted::from_toml)?;
        let devices = read(&self.devices, DeviceMap::from_json, DeviceMap::from_toml)?;
        let mut allow = Allow::nothing();
        for dataset in self.allow_destroy {
            allow = allow.destroy(dataset);
        }
        for (pool, device) in self.allow_remove {
            allow = allow.remove(pool, device);
        }
        for device in self.allow_overwrite {
            allow = allow.overwrite(device);
        }
        Ok(layout.plan_allowing(zfs, &devices, &allow)?)
    }
}

fn page(plan: &Plan) -> String {
    let mut rows = Rows::new(&["DANGER", "CHANGE"], "nothing to do");
    for change in plan.changes() {
        rows.row([change.danger().to_string(), change.to_string()]);
    }
    let mut text = rows.text();
    for change in plan.changes() {
        if let Some(reason) = change.reason() {
            text += &format!("{}: {change}: {reason}\n", change.danger());
        }
    }
    for conflict in plan.conflicts() {
        text += &format!("conflict: {conflict}\n");
    }
    for unmanaged in plan.unmanaged() {
        text += &format!("left alone: {unmanaged}\n");
    }
    text
}

impl Layout {
    pub(crate) fn run(self, console: &Console) -> Result<Answer, Failure> {
        let zfs = console.zfs()?;
        match self {
            Self::Plan { files, check } => {
                let plan = files.plan(&zfs)?;
                let asks = check && !(plan.is_empty() && plan.conflicts().is_empty());
                let exit = if asks { Exit::Attention } else { Exit::Done };
                Ok(Answer::new(&plan, page(&plan))?.ended(exit))
            }
            Self::Apply {
                files,
                keys,
                despite_conflicts,
            } => apply(console, &zfs, &files.plan(&zfs)?, keys, despite_conflicts),
        }
    }
}

#[derive(Debug, Serialize)]
struct AppliedJson<'a> {
    #[serde(flatten)]
    change: &'a Change,
    outcome: &'static str,
    error: Option<String>,
}

fn apply(
    console: &Console,
    zfs: &Zfs,
    plan: &Plan,
    folder: Option<PathBuf>,
    despite_conflicts: bool,
) -> Result<Answer, Failure> {
    let conflicts = plan.conflicts().len();
    if conflicts > 0 && !despite_conflicts {
        let failure = Failure::refused(format!("{conflicts} conflicts that no change takes away"))
            .advice("decide about each, or say --despite-conflicts to leave them as they are");
        return Ok(Answer::new(plan, page(plan))?.failed(failure));
    }
    let mut intent = Intent::new().details(plan, page(plan))?;
    for change in plan.changes() {
        intent = match change.danger() {
            Danger::Safe => intent.change(change.to_string()),
            _ => intent.loses(change.to_string()),
        };
    }
    if let Some(answer) = console.before(&intent)? {
        return Ok(answer);
    }
    let source = |name: &str| {
        key(folder.as_deref(), name).map_err(|failure| KeyError::from(failure.message))
    };
    let options = ApplyOptions::new().keys(&source).accept(plan.danger());
    let options = match despite_conflicts {
        true => options.despite_conflicts(),
        false => options,
    };
    let bar = Bar::new(console);
    let scope = Scope::of(&pools(plan));
    let applied = console.job(zfs, Operation::ApplyLayout, scope, |capability| {
        plan.apply(capability, zfs, &options, &mut |step| bar.step(&step))
    })?;
    drop(bar);
    let mut text = String::new();
    let mut told = Vec::new();
    for (change, outcome) in applied.iter() {
        let (word, error) = match outcome {
            Outcome::Done => ("done", None),
            Outcome::Failed(error) => ("failed", Some(error.to_string())),
            _ => ("skipped", None),
        };
        let why = error.as_ref().map(|error| format!(": {error}"));
        text += &format!("{change}: {word}{}\n", why.unwrap_or_default());
        told.push(AppliedJson {
            change,
            outcome: word,
            error,
        });
    }
    if told.is_empty() {
        text += "nothing to do\n";
    }
    let data =
        json!({ "applied": told, "conflicts": plan.conflicts(), "unmanaged": plan.unmanaged() });
    let answer = Answer::new(&data, text)?;
    let failed = told.iter().filter(|one| one.outcome != "done").count();
    Ok(match failed {
        0 => answer,
        _ => answer.failed(
            Failure::new(
                Exit::Partial,
                format!("{failed} of {} changes were not made", told.len()),
            )
            .advice(
                "remove the cause, and apply the layout again: it makes those that are missing",
            ),
        ),
    })
}

/// What the changes of a plan are of.
fn pools(plan: &Plan) -> Vec<DatasetName> {
    let objects = plan.changes().iter().map(|change| change.action().object());
    let names: BTreeSet<DatasetName> = objects
        .filter_map(|object| DatasetName::new(object).ok())
        .collect();
    names.into_iter().collect()
}

/// The key of a name: from its file, or typed.
fn key(folder: Option<&Path>, name: &str) -> Result<WrappingKey, Failure> {
    match folder {
        // A name is no path.
        Some(_) if name.contains('/') || name.starts_with('.') => {
            Err(Failure::usage(format!("{name:?} is no name of a file")))
        }
        Some(folder) => keys::from_file(&folder.join(name)),
        None => keys::from_terminal(name, true),
    }
}
