//! `helixctl clone`.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use helix_zfs::ephemeral::{
    Ephemeral, EphemeralClone, EphemeralMount, EphemeralSpec, Ignored, Reaped, Reaper,
};
use helix_zfs::gate::{Operation, Scope};
use helix_zfs::zfs_core::props::{PropertySet, RefQuota};
use helix_zfs::zfs_core::{DatasetName, Snapshot, Zfs};
use serde::Serialize;
use serde_json::json;

use crate::answer::{Answer, Rows, or_dash};
use crate::console::{Console, Intent, user};
use crate::failure::{Exit, Failure};
use crate::progress::Bar;
use crate::quantity::{self, show_bytes, show_moment};

/// `helixctl clone`.
#[derive(Debug, Subcommand)]
pub(crate) enum Clone {
    /// Clones a snapshot, and leaves the clone until it expires and is reaped.
    Create {
        #[command(flatten)]
        spec: Spec,
        /// Mounts it on this folder, which must exist.
        #[arg(long, value_name = "FOLDER")]
        mount_at: Option<PathBuf>,
    },
    /// Clones a snapshot, runs a program that alone sees the clone, and removes it.
    Run {
        #[command(flatten)]
        spec: Spec,
        /// The folder where the program finds the clone. It must exist.
        #[arg(long, value_name = "FOLDER")]
        mount_at: PathBuf,
        /// The program and its arguments.
        #[arg(last = true, required = true)]
        program: Vec<String>,
    },
    /// The clones of an area, those that expire first first.
    List {
        /// The area.
        area: String,
    },
    /// Gives a clone another time to expire.
    Extend {
        /// The clone.
        clone: String,
        /// How long from now it lives.
        #[arg(long, value_name = "TIME", value_parser = quantity::duration)]
        expires_in: Duration,
    },
    /// Removes the clones of an area that have expired, and nothing else.
    Reap {
        /// The area.
        area: String,
    },
    /// Removes a clone, expired or not.
    Destroy {
        /// The clone.
        clone: String,
    },
}

/// What a clone shall be like.
#[derive(Debug, Args)]
pub(crate) struct Spec {
    /// The snapshot.
    snapshot: String,
    /// The filesystem that the clone is made below. Nothing but ephemeral clones is in it.
    #[arg(long, value_name = "DATASET")]
    area: String,
    /// Its name below the area, rather than one made up.
    #[arg(long)]
    name: Option<String>,
    /// Who it is for, rather than whoever runs this.
    #[arg(long)]
    owner: Option<String>,
    /// What it is for.
    #[arg(long)]
    purpose: String,
    /// How long it lives: 90m, 2h, 7d.
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = quantity::duration)]
    expires_in: Duration,
    /// Lets it be written to.
    #[arg(long)]
    writable: bool,
    /// The most bytes that it may reference.
    #[arg(long, value_name = "SIZE", value_parser = quantity::bytes)]
    refquota: Option<u64>,
}

impl Spec {
    fn make(
        self,
        console: &Console,
        zfs: &Zfs,
        mount: EphemeralMount,
    ) -> Result<Result<(Snapshot, EphemeralSpec), Answer>, Failure> {
        let snapshot = zfs.snapshot(&self.snapshot)?;
        let area = zfs.dataset(&self.area)?;
        snapshot.stat()?;
        area.stat()?;
        let intent = Intent::new().change(format!("clone {} below {}", self.snapshot, self.area));
        if let Some(answer) = console.before(&intent)? {
            return Ok(Err(answer));
        }
        let owner = self.owner.unwrap_or_else(user);
        let mut spec = EphemeralSpec::new(&area, owner, self.purpose, self.expires_in).mount(mount);
        if let Some(name) = self.name {
            spec = spec.name(name);
        }
        if self.writable {
            spec = spec.writable();
        }
        if let Some(bytes) = self.refquota {
            spec = spec.properties(&PropertySet::new().set(RefQuota(bytes)));
        }
        Ok(Ok((snapshot, spec)))
    }
}

#[derive(Debug, Serialize)]
struct CloneJson {
    dataset: String,
    origin: String,
    owner: String,
    purpose: String,
    created: String,
    expires: String,
    expired: bool,
    read_only: bool,
    mounted_at: Option<PathBuf>,
    used: u64,
}

impl CloneJson {
    fn of(clone: &EphemeralClone) -> Self {
        Self {
            dataset: clone.dataset.to_string(),
            origin: clone.origin.to_string(),
            owner: clone.owner.clone(),
            purpose: clone.purpose.clone(),
            created: show_moment(clone.created),
            expires: show_moment(clone.expires),
            expired: clone.is_expired(SystemTime::now()),
            read_only: clone.read_only,
            mounted_at: clone.mounted_at.clone(),
            used: clone.used,
        }
    }
}

#[derive(Debug, Serialize)]
struct IgnoredJson {
    dataset: String,
    reason: String,
}

#[derive(Debug, Serialize)]
struct ReapedJson {
    dataset: String,
    error: Option<String>,
}

impl Clone {
    pub(crate) fn run(self, console: &Console) -> Result<Answer, Failure> {
        let zfs = console.zfs()?;
        match self {
            Self::Create { spec, mount_at } => {
                let area = spec.area.clone();
                let mount = mount_at.map_or(EphemeralMount::No, EphemeralMount::At);
                match spec.make(console, &zfs, mount)? {
                    Err(answer) => Ok(answer),
                    Ok((snapshot, spec)) => {
                        let made = create(console, &zfs, &snapshot, &spec, &area)?;
                        let clone = made.keep();
                        let told = CloneJson::of(&clone);
                        let text = format!("{}: until {}\n", told.dataset, told.expires);
                        Answer::new(&told, text)
                    }
                }
            }
            Self::Run {
                spec,
                mount_at,
                program,
            } => {
                let area = spec.area.clone();
                match spec.make(console, &zfs, EphemeralMount::Private(mount_at))? {
                    Err(answer) => Ok(answer),
                    Ok((snapshot, spec)) => {
                        let clone = create(console, &zfs, &snapshot, &spec, &area)?;
                        run_in(console, clone, &program)
                    }
                }
            }
            Self::List { area } => list(&zfs, &area),
            Self::Extend { clone, expires_in } => {
                let mut found = EphemeralClone::of(&zfs.dataset(&clone)?)?;
                let intent = Intent::new().change(format!("give {clone} another time to expire"));
                if let Some(answer) = console.before(&intent)? {
                    return Ok(answer);
                }
                let scope = Scope::below(&found.dataset);
                let until = console.job(&zfs, Operation::ChangeEphemeral, scope, |capability| {
                    found.extend(capability, &zfs, expires_in)
                })?;
                let text = format!("{clone}: until {}\n", show_moment(until));
                Answer::new(&CloneJson::of(&found), text)
            }
            Self::Reap { area } => reap(console, &zfs, &area),
            Self::Destroy { clone } => {
                let found = EphemeralClone::of(&zfs.dataset(&clone)?)?;
                let intent = Intent::new().loses(format!(
                    "destroy {clone}, which {} has for {}",
                    found.owner, found.purpose
                ));
                if let Some(answer) = console.before(&intent)? {
                    return Ok(answer);
                }
                let scope = Scope::below(&found.dataset);
                console.job(&zfs, Operation::ChangeEphemeral, scope, |capability| {
                    found.remove(capability, &zfs)
                })?;
                Answer::new(&json!({ "dataset": clone }), format!("{clone}: removed\n"))
            }
        }
    }
}

fn create(
    console: &Console,
    zfs: &Zfs,
    snapshot: &Snapshot,
    spec: &EphemeralSpec,
    area: &str,
) -> Result<Ephemeral, Failure> {
    let scope = Scope::of(&[snapshot.name().dataset(), DatasetName::new(area)?]);
    console.job(zfs, Operation::CloneEphemeral, scope, |capability| {
        Ephemeral::create(capability, snapshot, spec)
    })
}

fn run_in(console: &Console, clone: Ephemeral, program: &[String]) -> Result<Answer, Failure> {
    let name = clone.dataset().name().to_string();
    let Some((program, arguments)) = program.split_first() else {
        return Err(Failure::usage("a program is needed"));
    };
    let mut command = Command::new(program);
    command.args(arguments);
    if let Some(output) = console.output_of_programs()? {
        command.stdout(output);
    }
    let ended = clone
        .spawn(command)?
        .wait()
        .map_err(|error| Failure::io(program, &error))?;
    clone.remove()?;
    let data = json!({ "dataset": name, "removed": true, "program_exit": ended.code() });
    let answer = Answer::new(&data, format!("{name}: removed\n"))?;
    Ok(match ended.success() {
        true => answer,
        false => answer.failed(Failure::new(Exit::Failed, format!("{program}: {ended}"))),
    })
}

fn list(zfs: &Zfs, area: &str) -> Result<Answer, Failure> {
    let clones = EphemeralClone::list(&zfs.dataset(area)?)?;
    let told: Vec<_> = clones.iter().map(CloneJson::of).collect();
    let mut rows = Rows::new(
        &[
            "CLONE",
            "OF",
            "OWNER",
            "PURPOSE",
            "EXPIRES",
            "USED>",
            "MOUNTED AT",
        ],
        "no clones",
    );
    for clone in &told {
        let expires = match clone.expired {
            true => String::from("expired"),
            false => clone.expires.clone(),
        };
        rows.row([
            clone.dataset.clone(),
            clone.origin.clone(),
            clone.owner.clone(),
            clone.purpose.clone(),
            expires,
            show_bytes(clone.used),
            or_dash(clone.mounted_at.as_ref().map(|path| path.display())),
        ]);
    }
    Answer::new(&told, rows.text())
}

fn reap(console: &Console, zfs: &Zfs, area: &str) -> Result<Answer, Failure> {
    let plan = Reaper::new(&zfs.dataset(area)?).plan()?;
    let ignored: Vec<_> = plan.ignored.iter().map(ignored).collect();
    let mut intent = Intent::new();
    for clone in &plan.expired {
        // That it expires was said when it was made, so that nobody is asked again.
        intent = intent.change(format!("destroy {}, which has expired", clone.dataset));
    }
    intent = intent.details(&json!({ "ignored": ignored }), "")?;
    if let Some(answer) = console.before(&intent)? {
        return Ok(answer);
    }
    let bar = Bar::new(console);
    let scope = Scope::below(&DatasetName::new(area)?);
    let reaped = console.job(zfs, Operation::Reap, scope, |capability| {
        Ok::<_, Failure>(plan.carry_out(capability, &mut |step| bar.step(&step)))
    })?;
    drop(bar);
    let mut text = String::new();
    let mut told = Vec::new();
    for Reaped { clone, result, .. } in &reaped {
        let error = result.as_ref().err().map(ToString::to_string);
        let said = error.as_deref().unwrap_or("removed");
        text += &format!("{}: {said}\n", clone.dataset);
        told.push(ReapedJson {
            dataset: clone.dataset.to_string(),
            error,
        });
    }
    for one in &ignored {
        text += &format!("{}: left alone: {}\n", one.dataset, one.reason);
    }
    text += &match plan.next_expiry() {
        Some(next) => format!("the next one expires at {}\n", show_moment(next)),
        None => String::from("no other expires\n"),
    };
    let data = json!({
        "reaped": told,
        "ignored": ignored,
        "next_expiry": plan.next_expiry().map(show_moment),
    });
    let failed = told.iter().filter(|one| one.error.is_some()).count();
    let answer = Answer::new(&data, text)?;
    Ok(match failed {
        0 => answer,
        _ => answer.failed(
            Failure::new(
                Exit::Partial,
                format!("{failed} of {} clones are there still", told.len()),
            )
            .advice("end what uses them, and reap again"),
        ),
    })
}

fn ignored(one: &Ignored) -> IgnoredJson {
    IgnoredJson {
        dataset: one.dataset.to_string(),
        reason: one.reason.to_string(),
    }
}
