//! 64 callers who want a snapshot at the same moment, each of its own filesystem: through one
//! [`GroupCommit`], by 64 single calls from 64 threads, and by 64 `zfs snapshot` processes.
//!
//! In each round the sides take turns, and so does a single call with nobody beside it, which is what
//! a caller would wait for alone. So does one call for all 64, which is what the kernel itself takes
//! for them: nobody can be faster. A caller's latency is from the moment that lets all of them go to
//! its answer; that of a process is until it has ended.
#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that reports to its user"
)]

#[path = "../examples/gate/mod.rs"]
mod gate;
#[allow(dead_code, reason = "another benchmark uses it")]
mod support;

use std::process::{Command, ExitCode, Stdio};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use helix_zfs::gate::{Capability, Operation};
use helix_zfs::group_commit::{GroupCommit, GroupCommitOptions};
use helix_zfs::zfs_core::props::UserProps;
use helix_zfs::zfs_core::{Dataset, SnapshotName, Zfs};

use gate::OwnGate;
use support::clock::ClockCheck;
use support::pool::BenchPool;
use support::{Cost, Pair, Report, Result, Rounds, Unit};

const CALLERS: usize = 64;
const ROUNDS: usize = 30;
const ENOUGH: Duration = Duration::from_secs(120);

const ALONE: &str = "single call, alone";
const ONE_CALL: &str = "one call for all 64";
const THREADS: &str = "64 single calls";
const COMMAND: &str = "64 zfs commands";

/// The ratios that we want to stay under.
mod goal {
    pub(crate) const P99_OF_ALONE: Option<f64> = Some(2.0);
    /// Ten times the throughput.
    pub(crate) const ALL_OF_COMMAND: Option<f64> = Some(0.1);
}

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What one side took in one round.
#[derive(Clone, Copy)]
struct Took {
    p50: Duration,
    p99: Duration,
    /// Until the last of all had its answer.
    all: Duration,
}

struct Round {
    alone: Duration,
    one_call: Duration,
    same: Took,
    differ: Took,
    threads: Took,
    command: Took,
}

fn measure() -> Result<()> {
    let zfs = Zfs::open()?;
    let rounds = Rounds::new(ROUNDS, ENOUGH)?;
    let pool = BenchPool::new()?;
    let datasets = pool.filesystems(&zfs, CALLERS)?;
    let gate = OwnGate::open(&zfs).map_err(|error| error.to_string())?;
    let callers = Callers {
        zfs: &zfs,
        commits: GroupCommit::new(&zfs, GroupCommitOptions::new()),
        capability: gate
            .capability(Operation::Snapshot, pool.root(&zfs)?.name())
            .map_err(|error| error.to_string())?,
        datasets: &datasets,
    };
    let clock = ClockCheck::start()?;
    // The first one warms up.
    let measured = rounds.measure(|round| callers.round(round))?;
    let mut report = Report::default();
    let mut add = |name,
                   baseline,
                   unit,
                   goal,
                   subject: &dyn Fn(&Round) -> Duration,
                   other: &dyn Fn(&Round) -> Duration| {
        let cost = |wall| Cost {
            wall,
            cpu: Duration::ZERO,
        };
        let pairs: Vec<Pair> = measured
            .iter()
            .map(|round| Pair {
                subject: cost(subject(round)),
                baseline: cost(other(round)),
            })
            .collect();
        report.add(name, baseline, unit, goal, &pairs);
    };
    for (name, of) in [
        ("64 callers", (|round| round.same) as fn(&Round) -> Took),
        ("64 callers, own props", |round| round.differ),
    ] {
        add(name, ALONE, Unit::P50, None, &|r| of(r).p50, &|r| r.alone);
        add(
            name,
            ALONE,
            Unit::P99,
            goal::P99_OF_ALONE,
            &|r| of(r).p99,
            &|r| r.alone,
        );
        add(name, ONE_CALL, Unit::P99, None, &|r| of(r).p99, &|r| {
            r.one_call
        });
        add(name, THREADS, Unit::P50, None, &|r| of(r).p50, &|r| {
            r.threads.p50
        });
        add(name, THREADS, Unit::P99, None, &|r| of(r).p99, &|r| {
            r.threads.p99
        });
        add(name, THREADS, Unit::All, None, &|r| of(r).all, &|r| {
            r.threads.all
        });
        add(name, COMMAND, Unit::P50, None, &|r| of(r).p50, &|r| {
            r.command.p50
        });
        add(name, COMMAND, Unit::P99, None, &|r| of(r).p99, &|r| {
            r.command.p99
        });
        add(
            name,
            COMMAND,
            Unit::All,
            goal::ALL_OF_COMMAND,
            &|r| of(r).all,
            &|r| r.command.all,
        );
    }
    let clock = clock.finish();
    report.finish()?;
    println!("{}", clock?);
    Ok(())
}

struct Callers<'a> {
    zfs: &'a Zfs,
    commits: GroupCommit,
    capability: Capability,
    datasets: &'a [Dataset],
}

impl Callers<'_> {
    fn round(&self, round: usize) -> Result<Round> {
        let alone = self.alone(round)?;
        let same = || self.group(round, false);
        let differ = || self.group(round, true);
        // In turns first and last, for what one leaves to the next.
        let (same, differ, threads, command) = if round % 2 == 0 {
            (
                same()?,
                differ()?,
                self.threads(round)?,
                self.command(round)?,
            )
        } else {
            let (command, threads) = (self.command(round)?, self.threads(round)?);
            (same()?, differ()?, threads, command)
        };
        Ok(Round {
            alone: (alone + self.alone(round + 10_000)?) / 2,
            one_call: self.one_call(round)?,
            same,
            differ,
            threads,
            command,
        })
    }

    fn name(dataset: &Dataset, tag: &str, round: usize) -> Result<SnapshotName> {
        Ok(dataset.name().snapshot(&format!("{tag}-{round:05}"))?)
    }

    fn alone(&self, round: usize) -> Result<Duration> {
        let dataset = self.datasets.first().ok_or("no filesystem")?;
        let name = Self::name(dataset, "alone", round)?;
        let start = Instant::now();
        self.zfs.create_snapshots(&[name], &UserProps::new())?;
        Ok(start.elapsed())
    }

    fn one_call(&self, round: usize) -> Result<Duration> {
        let names = self.datasets.iter();
        let names = names.map(|dataset| Self::name(dataset, "call", round));
        let names: Vec<SnapshotName> = names.collect::<Result<_>>()?;
        let props = UserProps::new().set("helix:caller", "0")?;
        let start = Instant::now();
        self.zfs.create_snapshots(&names, &props)?;
        Ok(start.elapsed())
    }

    fn group(&self, round: usize, differ: bool) -> Result<Took> {
        at_once(self.datasets, |n, dataset| {
            let (tag, value) = if differ { ("own", n) } else { ("same", 0) };
            let name = Self::name(dataset, tag, round)?;
            let props = UserProps::new().set("helix:caller", &value.to_string())?;
            Ok(|| {
                self.commits.snapshot(&self.capability, name, props)?;
                Ok(())
            })
        })
    }

    fn threads(&self, round: usize) -> Result<Took> {
        at_once(self.datasets, |_, dataset| {
            let name = Self::name(dataset, "single", round)?;
            let props = UserProps::new().set("helix:caller", "0")?;
            Ok(move || Ok(self.zfs.create_snapshots(&[name], &props)?))
        })
    }

    fn command(&self, round: usize) -> Result<Took> {
        at_once(self.datasets, |_, dataset| {
            let name = Self::name(dataset, "command", round)?;
            let mut command = Command::new("zfs");
            let arguments = ["snapshot", "-o", "helix:caller=0", name.as_str()];
            command.args(arguments).stdin(Stdio::null());
            Ok(move || {
                let status = command.status()?;
                match status.success() {
                    true => Ok(()),
                    false => Err(format!("{command:?}: {status}").into()),
                }
            })
        })
    }
}

/// Lets one caller for each dataset go at the same moment.
fn at_once<C: FnOnce() -> Result<()> + Send>(
    datasets: &[Dataset],
    prepare: impl Fn(usize, &Dataset) -> Result<C>,
) -> Result<Took> {
    let calls: Vec<C> = datasets
        .iter()
        .enumerate()
        .map(|(n, dataset)| prepare(n, dataset))
        .collect::<Result<_>>()?;
    let start = Barrier::new(calls.len() + 1);
    let mut took = thread::scope(|scope| {
        let start = &start;
        let threads: Vec<_> = calls
            .into_iter()
            .map(|call| {
                scope.spawn(move || {
                    // Once when all are there, and once to go.
                    start.wait();
                    start.wait();
                    call()?;
                    Ok(Instant::now())
                })
            })
            .collect();
        start.wait();
        let began = Instant::now();
        start.wait();
        let took = threads.into_iter().map(|thread| match thread.join() {
            Ok(ended) => ended.map(|ended: Instant| ended.duration_since(began)),
            Err(panic) => std::panic::resume_unwind(panic),
        });
        took.collect::<Result<Vec<Duration>>>()
    })?;
    took.sort_unstable();
    let rank = |percent: usize| {
        let nearest = (took.len() * percent).div_ceil(100).saturating_sub(1);
        took.get(nearest).copied().ok_or("no callers")
    };
    Ok(Took {
        p50: rank(50)?,
        p99: rank(99)?,
        all: rank(100)?,
    })
}
