//! Creating snapshots, of one dataset and of 100 in one transaction group: our call against the same
//! in C and against the `zfs` command.
//!
//! Most of a call's time passes in the kernel, which writes a transaction group. What our code adds
//! is seen best where the kernel does nothing: on a thread whose snapshot requests are answered at
//! the kernel's door, both sides run all of their code outside the kernel, from the names to the
//! freed lists, and its CPU time is *our share*. libzfs_core's own code is on both sides. Only the
//! empty list of failures is missing, which libzfs_core unpacks and both sides free without a look.
//!
//! Each side starts from its own form of names that exist: handles, C strings, arguments.
#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that reports to its user"
)]

#[allow(dead_code, reason = "another benchmark uses it")]
mod support;

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use helix_zfs::zfs_core::props::UserProps;
use helix_zfs::zfs_core::{Dataset, Snapshot, Zfs};

use support::baseline::{Baseline, Names, answer_snapshots};
use support::clock::ClockCheck;
use support::pool::{BenchPool, run};
use support::{Pair, Report, Result, Rounds, Side, Turn, Unit, compare};

/// Rounds of the comparison that needs most of them, and the time after which it has enough.
const ROUNDS: usize = 120;
const ENOUGH: Duration = Duration::from_secs(30);
const BATCH: usize = 100;
const IN_C: &str = "libzfs_core in C";
const COMMAND: &str = "zfs command";

/// The ratios that we want to stay under.
mod goal {
    pub(crate) const TIME_OF_C: Option<f64> = Some(1.02);
    pub(crate) const OWN_CPU_OF_C: Option<f64> = Some(1.10);
    pub(crate) const TIME_OF_COMMAND: Option<f64> = Some(1.0 / 2.5);
    pub(crate) const CPU_OF_COMMAND: Option<f64> = Some(0.10);
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

fn measure() -> Result<()> {
    let zfs = Zfs::open()?;
    let rounds = Rounds::new(ROUNDS, ENOUGH)?;
    let pool = BenchPool::new()?;
    let datasets = pool.filesystems(&zfs, BATCH)?;
    let subjects = |size| Subjects {
        zfs: &zfs,
        datasets: &datasets,
        size,
    };
    let one = subjects(1);
    let all = subjects(BATCH);

    let clock = ClockCheck::start()?;
    let mut report = Report::default();

    let name = "1 snapshot";
    let pairs = one.outside_kernel(rounds, 300)?;
    report.add(name, IN_C, Unit::OwnCpu, goal::OWN_CPU_OF_C, &pairs);
    let pairs = one.against_c(rounds)?;
    report.add(name, IN_C, Unit::Wall, goal::TIME_OF_C, &pairs);
    report.add(name, IN_C, Unit::Cpu, None, &pairs);
    let pairs = one.against_command(rounds.fewer(8))?;
    report.add(name, COMMAND, Unit::Wall, goal::TIME_OF_COMMAND, &pairs);
    report.add(name, COMMAND, Unit::Cpu, goal::CPU_OF_COMMAND, &pairs);

    let name = "100 snapshots";
    let pairs = all.outside_kernel(rounds, 4)?;
    report.add(name, IN_C, Unit::OwnCpu, goal::OWN_CPU_OF_C, &pairs);
    let pairs = all.against_c(rounds.fewer(8))?;
    report.add(name, IN_C, Unit::Wall, goal::TIME_OF_C, &pairs);
    report.add(name, IN_C, Unit::Cpu, None, &pairs);
    let pairs = all.against_command(rounds.fewer(24))?;
    report.add(name, COMMAND, Unit::Wall, None, &pairs);
    report.add(name, COMMAND, Unit::Cpu, None, &pairs);

    let clock = clock.finish();
    report.finish()?;
    println!("{}", clock?);
    Ok(())
}

/// What a comparison creates snapshots of.
struct Subjects<'a> {
    zfs: &'a Zfs,
    datasets: &'a [Dataset],
    /// How many datasets get a snapshot in one call.
    size: usize,
}

impl Subjects<'_> {
    /// What a turn creates. It stays until the pool goes: destroying takes longer than creating,
    /// and leaves the kernel with work in the background. Turns go round the datasets, because the
    /// more snapshots a dataset has, the more the kernel has to write for the next one.
    ///
    /// All names of a comparison are equally long: libnvpair's hash function gives many names of a
    /// batch the same value or few of them, depending on their length.
    fn snapshots(&self, tag: &str, turn: usize) -> Result<Vec<Snapshot>> {
        let size = self.size;
        let places = self.datasets.len() / size;
        let datasets = self.datasets.chunks_exact(size).nth(turn % places);
        let names = datasets.into_iter().flatten().map(|dataset| {
            let dataset = dataset.name();
            format!("{dataset}@{tag}{size}-{turn:05}")
        });
        Ok(self.zfs.snapshots(names)?)
    }

    /// Our side.
    fn ours(&self, tag: &str) -> impl Turn {
        Side {
            prepare: move |turn| self.snapshots(tag, turn),
            call: |snapshots: &Vec<Snapshot>| {
                Ok(self.zfs.create_snapshots(snapshots, &UserProps::new())?)
            },
        }
    }

    fn compare_with_c(&self, tag: &str, rounds: Rounds, calls: u32) -> Result<Vec<Pair>> {
        let baseline = Baseline::new()?;
        let theirs = Side {
            prepare: |turn| {
                let snapshots = self.snapshots(tag, turn)?;
                let names = snapshots.iter().map(|s| s.name().as_c_str().to_owned());
                Ok(Names::from(names.collect::<Vec<_>>()))
            },
            call: |names: &Names| Ok(baseline.snapshot(names)?),
        };
        compare(rounds, calls, &self.ours(tag), &theirs)
    }

    fn against_c(&self, rounds: Rounds) -> Result<Vec<Pair>> {
        self.compare_with_c("c", rounds, 1)
    }

    fn against_command(&self, rounds: Rounds) -> Result<Vec<Pair>> {
        let tag = "command";
        let theirs = Side {
            prepare: |turn| {
                let snapshots = self.snapshots(tag, turn)?;
                let names = snapshots.iter().map(|s| s.name().to_string());
                let command = std::iter::once(String::from("snapshot"));
                Ok(command.chain(names).collect())
            },
            call: |arguments: &Vec<String>| run("zfs", arguments),
        };
        compare(rounds, 1, &self.ours(tag), &theirs)
    }

    /// Both sides without the kernel's work.
    fn outside_kernel(&self, rounds: Rounds, calls: u32) -> Result<Vec<Pair>> {
        let tag = "none";
        let measure = || {
            answer_snapshots()?;
            self.compare_with_c(tag, rounds, calls)
        };
        let pairs = thread::scope(|scope| match scope.spawn(measure).join() {
            Ok(pairs) => pairs,
            Err(panic) => std::panic::resume_unwind(panic),
        })?;
        for turn in 0..4 {
            for snapshot in self.snapshots(tag, turn)? {
                if snapshot.exists()? {
                    return Err(format!("the kernel has created {snapshot:?}").into());
                }
            }
        }
        Ok(pairs)
    }
}
