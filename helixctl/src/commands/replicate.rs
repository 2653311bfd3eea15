//! `helixctl replicate`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::num::NonZeroU64;
use std::os::fd::AsFd;
use std::time::Duration;

use clap::{Args, Subcommand};
use helix_zfs::gate::{Operation, Scope};
use helix_zfs::replica::Channel;
use helix_zfs::replicate::{
    Job, Outcome, Phase, Progress, ReplicaStatus, Replicator, Served, Source,
};
use helix_zfs::zfs_core::{DatasetName, Zfs};
use serde::Serialize;
use serde_json::json;

use crate::answer::{Answer, Rows};
use crate::channel::{self, Program};
use crate::console::{Console, Intent};
use crate::failure::Failure;
use crate::progress::Bar;
use crate::quantity::{self, show_bytes};

/// `helixctl replicate`.
#[derive(Debug, Subcommand)]
pub(crate) enum Replicate {
    /// Serves datasets to those who pull. Asks nobody who they are: give it an address that only a
    /// tunnel reaches, or --stdio below ssh.
    Serve(Serve),
    /// Brings the newest snapshot of a dataset here, verifies it, and lets readers see it.
    Pull(Pull),
    /// Finishes what an interrupted pull left, without the source.
    Recover {
        /// The target.
        target: String,
    },
    /// What a target has, and what its readers see.
    Status {
        /// The target.
        target: String,
    },
}

/// `helixctl replicate serve`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The datasets to offer, each with all below it.
    #[arg(required = true)]
    datasets: Vec<String>,
    /// Where to listen: HOST:PORT, or the path of a Unix socket.
    #[arg(long, value_name = "ADDRESS", required_unless_present = "stdio")]
    listen: Option<String>,
    /// Serves one connection, on standard input and output.
    #[arg(long, conflicts_with = "listen")]
    stdio: bool,
    /// Ends after this many connections.
    #[arg(long, value_name = "NUMBER", conflicts_with = "stdio")]
    connections: Option<u64>,
    /// The most bytes a second, over all connections.
    #[arg(long, value_name = "SIZE", value_parser = quantity::bytes)]
    bandwidth: Option<u64>,
}

/// `helixctl replicate pull`.
#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// The dataset at the source.
    source: String,
    /// The dataset here. It is made if need be, and readers find `current` below it.
    target: String,
    /// Where the source listens: HOST:PORT, or the path of a Unix socket.
    #[arg(long, value_name = "ADDRESS", required_unless_present = "command")]
    from: Option<String>,
    /// A program whose standard input and output lead to the source, run by `sh -c`: `ssh host
    /// helixctl replicate serve --stdio tank`.
    #[arg(long, value_name = "COMMAND", conflicts_with = "from")]
    command: Option<String>,
    /// This snapshot rather than the newest.
    #[arg(long, value_name = "NAME")]
    snapshot: Option<String>,
}

/// Two streams as one channel.
struct Duplex<R, W>(R, W);

impl<R: Read, W> Read for Duplex<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R, W: Write> Write for Duplex<R, W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.1.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.1.flush()
    }
}

impl Replicate {
    pub(crate) fn run(self, console: &Console) -> Result<Answer, Failure> {
        match self {
            Self::Serve(serve) => serve.run(console),
            Self::Pull(pull) => pull.run(console),
            Self::Recover { target } => recover(console, &DatasetName::new(&target)?),
            Self::Status { target } => status(console, &DatasetName::new(&target)?),
        }
    }
}

#[derive(Debug, Serialize)]
struct ServedJson {
    snapshots: Vec<String>,
    bytes: u64,
    error: Option<Failure>,
}

impl ServedJson {
    fn of(result: Result<Served, Failure>) -> Self {
        match result {
            Ok(served) => Self {
                snapshots: served.snapshots.iter().map(ToString::to_string).collect(),
                bytes: served.bytes,
                error: None,
            },
            Err(error) => Self {
                snapshots: Vec::new(),
                bytes: 0,
                error: Some(error),
            },
        }
    }

    fn text(&self) -> String {
        match &self.error {
            Some(failure) => failure.to_string(),
            None if self.snapshots.is_empty() => String::from("a target was up to date"),
            None => format!(
                "{}: replicated, {}",
                self.snapshots.join(", "),
                show_bytes(self.bytes)
            ),
        }
    }
}

impl Serve {
    fn run(self, console: &Console) -> Result<Answer, Failure> {
        let zfs = console.zfs()?;
        let mut source = Source::new(&zfs);
        let mut offered = Vec::new();
        for name in &self.datasets {
            let name = DatasetName::new(name)?;
            source = source.offer(&name);
            offered.push(name);
        }
        let scope = Scope::of(&offered);
        if let Some(rate) = self.bandwidth {
            let rate = NonZeroU64::new(rate)
                .ok_or_else(|| Failure::usage("a bandwidth of 0 sends nothing"))?;
            source = source.bandwidth(rate);
        }
        let Some(address) = self.listen else {
            let stdio = |descriptor: io::Result<_>| {
                descriptor
                    .map(File::from)
                    .map_err(|error| Failure::io("standard input and output", &error))
            };
            let input = stdio(io::stdin().as_fd().try_clone_to_owned())?;
            let output = stdio(io::stdout().as_fd().try_clone_to_owned())?;
            console.job(&zfs, Operation::Send, scope, |capability| {
                source.serve(capability, Duplex(input, output))
            })?;
            // Standard output is the channel.
            return Ok(Answer::raw(""));
        };
        let failed = |error: io::Error| Failure::io(&address, &error);
        let accept = channel::listen(&address, None).map_err(failed)?;
        console.remark(&format!("{}: at {address}\n", self.datasets.join(", ")));
        let mut left = self.connections;
        std::thread::scope(|scope| {
            while left != Some(0) {
                let channel = accept().map_err(failed)?;
                let (source, zfs) = (source.clone(), zfs.clone());
                let offered = Scope::of(&offered);
                scope.spawn(move || {
                    // Each connection is a job of its own: its lease ends with it.
                    let served = console.job(&zfs, Operation::Send, offered, |capability| {
                        source.serve(capability, channel)
                    });
                    let served = ServedJson::of(served);
                    // Who no longer reads what happens is served nonetheless.
                    let _ = console.event(&served, &served.text());
                });
                left = left.map(|left| left - 1);
            }
            Ok::<(), Failure>(())
        })?;
        Answer::new(&json!({ "connections": self.connections }), "")
    }
}

impl Pull {
    fn run(self, console: &Console) -> Result<Answer, Failure> {
        let source = DatasetName::new(&self.source)?;
        let target = DatasetName::new(&self.target)?;
        let mut job = Job::new(&source, &target);
        if let Some(snapshot) = &self.snapshot {
            job = job.snapshot(snapshot);
        }
        let zfs = console.zfs()?;
        let which = self.snapshot.as_deref().unwrap_or("the newest snapshot");
        let intent = Intent::new().change(format!("replicate {which} of {source} into {target}"));
        if let Some(answer) = console.before(&intent)? {
            return Ok(answer);
        }
        let bar = Bar::new(console);
        let shown = bar.clone();
        let replicator = Replicator::new(&zfs)
            .on_progress(Duration::from_millis(250), move |progress| {
                show(&shown, progress)
            });
        let scope = Scope::below(&target);
        let pull = |channel: &mut dyn Channel| {
            console.job(&zfs, Operation::Receive, scope, |capability| {
                replicator.pull(capability, channel, &job)
            })
        };
        let outcome = match (&self.from, &self.command) {
            (Some(address), _) => {
                let failed = |error: io::Error| Failure::io(address, &error);
                let mut channel = channel::connect(address, None).map_err(failed)?;
                pull(&mut channel)?
            }
            (None, Some(command)) => {
                let failed = |error: io::Error| Failure::io(command, &error);
                let mut program = Program::start(command, None).map_err(failed)?;
                let result = pull(&mut program);
                let ended = program.end().map_err(failed)?;
                result.map_err(|failure| match ended.success() {
                    true => failure,
                    false => Failure {
                        message: format!("{} ({command}: {ended})", failure.message),
                        ..failure
                    },
                })?
            }
            (None, None) => return Err(Failure::usage("say --from or --command")),
        };
        drop(bar);
        pulled(&outcome, &target)
    }
}

fn show(bar: &Bar, progress: &Progress) {
    let what = match progress.phase {
        Phase::Receiving => "receiving",
        Phase::Verifying => "verifying",
        _ => "working on",
    };
    bar.bytes(
        &format!("{what} {}", progress.snapshot),
        progress.bytes,
        progress.total,
    );
}

#[derive(Debug, Serialize)]
struct PulledJson {
    target: String,
    snapshot: String,
    replicated: Vec<ReplicatedJson>,
    in_use: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ReplicatedJson {
    name: String,
    guid: u64,
    bytes: u64,
    resumed: bool,
    repeated: u64,
}

fn pulled(outcome: &Outcome, target: &DatasetName) -> Result<Answer, Failure> {
    let replicated = outcome.replicated.iter().map(|one| ReplicatedJson {
        name: one.name.clone(),
        guid: one.guid,
        bytes: one.bytes,
        resumed: one.resumed,
        repeated: one.repeated,
    });
    let data = PulledJson {
        target: target.to_string(),
        snapshot: outcome.snapshot.name().short().to_owned(),
        replicated: replicated.collect(),
        in_use: outcome.in_use.iter().map(ToString::to_string).collect(),
    };
    let mut text = String::new();
    for one in &data.replicated {
        let resumed = if one.resumed { ", resumed" } else { "" };
        text += &format!(
            "{}: {}{resumed}, verified\n",
            one.name,
            show_bytes(one.bytes)
        );
    }
    text += &format!("readers of {target}/current see {}\n", data.snapshot);
    for dataset in &data.in_use {
        text += &format!("{dataset} is still in use; a later run destroys it\n");
    }
    Answer::new(&data, text)
}

fn recover(console: &Console, target: &DatasetName) -> Result<Answer, Failure> {
    let zfs: Zfs = console.zfs()?;
    look(&zfs, target)?;
    let intent = Intent::new().change(format!("finish what a run left in {target}"));
    if let Some(answer) = console.before(&intent)? {
        return Ok(answer);
    }
    console.job(
        &zfs,
        Operation::Receive,
        Scope::below(target),
        |capability| Replicator::new(&zfs).recover(capability, target),
    )?;
    let status = look(&zfs, target)?;
    Answer::new(&StatusJson::of(&status), page(&status))
}

fn look(zfs: &Zfs, target: &DatasetName) -> Result<ReplicaStatus, Failure> {
    ReplicaStatus::of(zfs, target)?
        .ok_or_else(|| Failure::refused(format!("{target}: not a target of replication")))
}

fn status(console: &Console, target: &DatasetName) -> Result<Answer, Failure> {
    let status = look(&console.zfs()?, target)?;
    Answer::new(&StatusJson::of(&status), page(&status))
}

#[derive(Debug, Serialize)]
struct StatusJson {
    target: String,
    current: Option<String>,
    readers_see: Option<String>,
    snapshots: Vec<SnapshotJson>,
    partial: bool,
    running: bool,
    retired: usize,
}

#[derive(Debug, Serialize)]
struct SnapshotJson {
    name: String,
    guid: u64,
    verified: bool,
}

impl StatusJson {
    fn of(status: &ReplicaStatus) -> Self {
        let snapshots = status.snapshots.iter().map(|one| SnapshotJson {
            name: one.name.clone(),
            guid: one.guid,
            verified: one.verified,
        });
        Self {
            target: status.target.to_string(),
            current: status.current.as_ref().map(|(name, _)| name.to_string()),
            readers_see: status.readers_see().map(str::to_owned),
            snapshots: snapshots.collect(),
            partial: status.partial,
            running: status.running,
            retired: status.retired,
        }
    }
}

fn page(status: &ReplicaStatus) -> String {
    let mut rows = Rows::new(&["SNAPSHOT", "VERIFIED", "READERS"], "no snapshots");
    for one in &status.snapshots {
        let yes = |is: bool| if is { "yes" } else { "no" };
        let is_seen = status.readers_see() == Some(&one.name);
        rows.row([one.name.as_str(), yes(one.verified), yes(is_seen)]);
    }
    let mut text = rows.text();
    if status.running {
        text += "a run is at work\n";
    }
    if status.partial {
        text += "a receive is cut, or under way: the next run goes on from there\n";
    }
    if status.retired > 0 {
        text += &format!("{} older datasets are still there\n", status.retired);
    }
    text
}
