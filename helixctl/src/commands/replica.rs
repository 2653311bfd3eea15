//! `helixctl replica`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use helix_zfs::gate::Operation;
use helix_zfs::replica::{Command, Fence, Site, SiteRole, SiteState};
use helix_zfs::replicate::ReplicaStatus;
use helix_zfs::zfs_core::{Error, ErrorKind, Zfs};
use serde::Serialize;
use serde_json::json;

use crate::answer::{Answer, or_dash};
use crate::console::{Console, Intent};
use crate::failure::{Exit, Failure};
use crate::quantity::{self, show_moment};
use crate::replica::control::{Client, Live, Reply, Request};
use crate::replica::file::NodeFile;
use crate::replica::{behind, process};

/// How much longer than a command a node has to answer at all: it may be at something else.
const ANSWERS: Duration = Duration::from_secs(10);

/// `helixctl replica`.
#[derive(Debug, Subcommand)]
pub(crate) enum Replica {
    /// Runs a node until it is told to end: it follows the source, or is it. A source that ends stops
    /// writing.
    Run {
        /// The file that describes the node.
        file: PathBuf,
        /// Ends after that time.
        #[arg(long = "for", value_name = "TIME", value_parser = quantity::duration)]
        time: Option<Duration>,
    },
    /// What a node is, what it has, and who may write. The node need not run.
    Status {
        /// The file that describes the node.
        file: PathBuf,
    },
    /// Has a node take over from the source, as soon as that one's lease is over.
    Promote {
        #[command(flatten)]
        to: To,
        /// However far behind it is. What was acknowledged is never given up.
        #[arg(long)]
        accept_lag: bool,
    },
    /// Has a node give its place back to the source before, if nobody has written since.
    Undo {
        #[command(flatten)]
        to: To,
    },
    /// Makes a former source a replica of the new one. What only it has is kept beside.
    Rebuild {
        #[command(flatten)]
        to: To,
    },
    /// Has the source stop writing, so that a replica can take over at once.
    HandOver {
        #[command(flatten)]
        to: To,
    },
}

/// Which node, and how long it has.
#[derive(Debug, Args)]
pub(crate) struct To {
    /// The file that describes the node, which runs.
    file: PathBuf,
    /// How long to wait until it is done. The node goes on afterwards.
    #[arg(long, default_value = "2m", value_name = "TIME", value_parser = quantity::duration)]
    wait: Duration,
}

impl Replica {
    pub(crate) fn run(self, console: &Console) -> Result<Answer, Failure> {
        match self {
            Self::Run { file, time } => run(console, &NodeFile::load(&file)?, time),
            Self::Status { file } => status(&console.zfs()?, &NodeFile::load(&file)?),
            Self::Promote { to, accept_lag } => to.tell(console, Command::Promote { accept_lag }),
            Self::Undo { to } => to.tell(console, Command::Undo),
            Self::Rebuild { to } => to.tell(console, Command::Rebuild),
            Self::HandOver { to } => to.tell(console, Command::HandOver),
        }
    }
}

fn run(console: &Console, file: &NodeFile, time: Option<Duration>) -> Result<Answer, Failure> {
    let (node, group) = (&file.node, &file.group);
    let intent = Intent::new().change(format!("run the node {node} of {group}"));
    if let Some(answer) = console.before(&intent)? {
        return Ok(answer);
    }
    let live = process::run(console, file, time)?;
    let text = format!("{node} of {group} has ended as {}\n", or_dash(live.role));
    Answer::new(
        &json!({ "node": node, "group": group, "running": live }),
        text,
    )
}

impl To {
    fn tell(&self, console: &Console, command: Command) -> Result<Answer, Failure> {
        let file = NodeFile::load(&self.file)?;
        let (node, group) = (&file.node, &file.group);
        let client = Client::connect(file.control())?.ok_or_else(|| {
            let start = format!("start it: helixctl replica run {}", self.file.display());
            Failure::refused(format!("no process runs the node {node} of {group}")).advice(start)
        })?;
        let intent = match command {
            Command::Promote { .. } => format!("make {node} the source of {group}"),
            Command::Undo => format!("give {group} back to the source before {node}"),
            Command::Rebuild => format!("make {node} a replica of what is the source of {group}"),
            _ => format!("stop writing to {group} at {node}"),
        };
        if let Some(answer) = console.before(&Intent::new().loses(intent))? {
            return Ok(answer);
        }
        let operation = match command {
            Command::Promote { .. } | Command::Undo => Operation::PromoteReplica,
            _ => Operation::RebuildReplica,
        };
        let request = Request::Do {
            command,
            wait: self.wait,
        };
        // The node does it under its own grants. Who wanted it, and whether they may, is a job too.
        let reply = console.job(&console.zfs()?, operation, file.scope(), |capability| {
            capability.allow(operation, &file.data)?;
            client
                .ask(&request, self.wait.saturating_add(ANSWERS))
                .map_err(|error| Failure::io(&format!("the node {node} of {group}"), &error))
        })?;
        let live = match reply {
            Reply::Done(live) | Reply::State(live) => live,
            Reply::Declined(why) => {
                return Err(Failure::refused(format!(
                    "{node} does not {command}: {why}"
                )));
            }
            Reply::NotYet(live) => {
                let trouble = live.trouble.map(|why| format!(": {why}"));
                let message = format!(
                    "{node} has not done it within {}{}",
                    humantime::format_duration(self.wait),
                    trouble.unwrap_or_default()
                );
                let advice = "it goes on trying: see `helixctl replica status`";
                return Err(Failure::new(Exit::Busy, message).advice(advice));
            }
        };
        let text = format!(
            "{node} of {group} is {}, epoch {}, {}\n",
            or_dash(live.role),
            or_dash(live.epoch),
            writable(live.may_write)
        );
        Answer::new(
            &json!({ "node": node, "group": group, "running": live }),
            text,
        )
    }
}

fn writable(may_write: bool) -> &'static str {
    if may_write { "writable" } else { "read-only" }
}

#[derive(Debug, Serialize)]
struct StatusJson {
    node: String,
    group: String,
    site: SiteState,
    readers_see: Option<String>,
    diverged: Vec<String>,
    fence: Option<Fence>,
    running: Option<Live>,
    attention: Vec<String>,
}

impl StatusJson {
    fn look(zfs: &Zfs, file: &NodeFile) -> Result<Self, Failure> {
        let site = file.site(zfs)?;
        let mut status = Self {
            node: file.node.to_string(),
            group: file.group.to_string(),
            site: site.state()?,
            readers_see: None,
            diverged: site.diverged()?.iter().map(ToString::to_string).collect(),
            fence: None,
            running: None,
            attention: Vec::new(),
        };
        let mut attention = Vec::new();
        if status.site.role == SiteRole::Replica {
            match seen(zfs, &site) {
                Ok(seen) => status.readers_see = seen,
                Err(failure) => attention.push(failure.message),
            }
        }
        match file.fence() {
            Ok(Some(fence)) if fence.until < SystemTime::now() => {
                attention.push(format!(
                    "nobody may write: the lease of {} is over",
                    fence.holder
                ));
                status.fence = Some(fence);
            }
            Ok(None) => attention.push(String::from("the group has no source yet")),
            Ok(fence) => status.fence = fence,
            Err(failure) => attention.push(failure.message),
        }
        status.running = ask(file)?;
        match &status.running {
            None => attention.push(String::from("no process runs the node")),
            Some(live) => {
                attention.extend(live.trouble.clone());
                let lag = live.lag.filter(|_| status.site.role == SiteRole::Replica);
                if let Some(lag) = lag.filter(|lag| !file.policy.lag.allows(lag)) {
                    attention.push(format!(
                        "it is {}, more than the policy allows",
                        behind(&lag)
                    ));
                }
                let holds = matches!(status.site.role, SiteRole::Source | SiteRole::Promoted);
                if holds && !live.may_write {
                    attention.push(String::from("it is the source, and may not write"));
                }
                if live.is_ahead {
                    attention.push(String::from("it has what the source has not: rebuild it"));
                }
            }
        }
        match status.site.role {
            SiteRole::Fenced => {
                attention.push(String::from("another node is the source: rebuild it"))
            }
            SiteRole::Unmarked => attention.push(String::from("it has no part in the group yet")),
            SiteRole::Rebuilding => attention.push(String::from("its rebuild is not done")),
            _ => {}
        }
        status.attention = attention;
        Ok(status)
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| text += &format!("{name:<14}{value}\n");
        let site = &self.site;
        let state =
            writable(!site.read_only && matches!(site.role, SiteRole::Source | SiteRole::Promoted));
        line("node", format!("{} of {}", self.node, self.group));
        line(
            "role",
            format!("{}, epoch {}, {state}", site.role, site.epoch),
        );
        line("data", site.dataset.to_string());
        line("readers see", or_dash(self.readers_see.as_ref()));
        let lag = self.running.as_ref().and_then(|live| {
            let (lag, at) = (live.lag.as_ref()?, live.reached.as_ref()?);
            Some(format!("{} at {at}", behind(lag)))
        });
        line(
            "lag",
            or_dash(lag.filter(|_| site.role == SiteRole::Replica)),
        );
        line(
            "kept beside",
            or_dash(Some(self.diverged.join(", ")).filter(|it| !it.is_empty())),
        );
        let fence = self.fence.as_ref();
        let holds = fence.map(|fence| {
            let until = show_moment(fence.until);
            format!("{}, epoch {}, until {until}", fence.holder, fence.epoch)
        });
        line("fence", or_dash(holds));
        let acknowledged = fence.and_then(|fence| fence.acknowledged.as_ref());
        line("acknowledged", or_dash(acknowledged.map(|mark| &mark.name)));
        line(
            "process",
            or_dash(self.running.as_ref().map(|live| live.pid)),
        );
        let wish = self.running.as_ref().and_then(|live| live.wish);
        line("to do", or_dash(wish));
        for one in &self.attention {
            line("attention", one.clone());
        }
        text
    }
}

/// The name of the snapshot that readers of a replica see.
fn seen(zfs: &Zfs, site: &Site) -> Result<Option<String>, Failure> {
    match ReplicaStatus::of(zfs, site.target()) {
        Ok(status) => Ok(status.and_then(|status| status.readers_see().map(str::to_owned))),
        Err(error) if error.zfs_error().map(Error::kind) == Some(ErrorKind::NotFound) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What the process of a node knows, if there is one.
fn ask(file: &NodeFile) -> Result<Option<Live>, Failure> {
    let Some(client) = Client::connect(file.control())? else {
        return Ok(None);
    };
    match client.ask(&Request::State, ANSWERS) {
        Ok(Reply::State(live)) => Ok(Some(live)),
        // It is ending.
        _ => Ok(None),
    }
}

fn status(zfs: &Zfs, file: &NodeFile) -> Result<Answer, Failure> {
    let status = StatusJson::look(zfs, file)?;
    let answer = Answer::new(&status, status.text())?;
    Ok(match status.attention.is_empty() {
        true => answer,
        false => answer.ended(Exit::Attention),
    })
}
