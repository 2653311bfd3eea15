//! Listing the snapshots of 100 datasets: against a loop in C that asks the kernel the same, and
//! against the `zfs` command with the same columns. A loop that does not look at the kernel's answers
//! shows what the kernel itself takes, which nobody can be faster than by asking for each snapshot.
//!
//! Our lists come in the order of the kernel where they are compared with C, which does not sort, and
//! in that of the command where they are compared with it.
#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that reports to its user"
)]

#[allow(dead_code, reason = "another benchmark uses it")]
mod support;

use std::fs;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use helix_zfs::zfs_core::listing::{Listed, Listing, Order};
use helix_zfs::zfs_core::props::{Prop, UserProps};
use helix_zfs::zfs_core::{CreateOptions, Dataset, Snapshot, Zfs};

use support::baseline::{self, Wanted};
use support::clock::ClockCheck;
use support::pool::BenchPool;
use support::{Pair, Report, Result, Rounds, Side, Turn, Unit, compare};

const DATASETS: usize = 100;
/// Of each dataset; fewer where making them takes longer than this.
const SNAPSHOTS: usize = 100;
const MAKING: Duration = Duration::from_secs(20);
const ROUNDS: usize = 20;
const ENOUGH: Duration = Duration::from_secs(30);
/// How much more memory a list of everything may take than one of a dataset.
const FLAT: u64 = 1 << 20;

const IN_C: &str = "loop in C";
const FLOOR: &str = "the kernel alone";
const COMMAND: &str = "zfs command";

/// The ratios that we want to stay under.
mod goal {
    pub(crate) const TIME_OF_C: Option<f64> = Some(1.05);
    pub(crate) const TIME_OF_COMMAND: Option<f64> = Some(0.2);
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
    let root = pool.root(&zfs)?;
    let count = fill(&zfs, &root)?;
    println!("{count} snapshots of {DATASETS} datasets");
    let memory = check_flat(&root)?;

    let clock = ClockCheck::start()?;
    let mut report = Report::default();
    for (name, wanted, columns) in [
        ("names", Wanted::Names, "list -t snapshot -o name -s name"),
        (
            "creation, used, referenced",
            Wanted::Figures,
            "list -t snapshot -o name,creation,used,referenced",
        ),
        (
            "all properties",
            Wanted::AllProperties,
            "get -t snapshot all",
        ),
    ] {
        let tree = Tree {
            root: &root,
            wanted,
            count,
        };
        let pairs = compare(rounds, 1, &tree.ours(Order::Any, 1), &tree.in_c(wanted))?;
        report.add(name, IN_C, Unit::Wall, goal::TIME_OF_C, &pairs);
        report.add(name, IN_C, Unit::Cpu, None, &pairs);
        if wanted != Wanted::Names {
            let floor = tree.in_c(Wanted::Unread);
            let pairs = compare(rounds.fewer(2), 1, &tree.ours(Order::Any, 1), &floor)?;
            report.add(name, FLOOR, Unit::Wall, None, &pairs);
        }
        let order = match wanted {
            Wanted::Names => Order::Name,
            _ => Order::Age,
        };
        let pairs = tree.against_command(rounds.fewer(4), order, 1, columns)?;
        report.add(name, COMMAND, Unit::Wall, goal::TIME_OF_COMMAND, &pairs);
        report.add(name, COMMAND, Unit::Cpu, None, &pairs);
        let threads = thread::available_parallelism()?.get();
        if threads > 1 {
            let pairs = compare(
                rounds.fewer(4),
                1,
                &tree.ours(order, threads),
                &tree.ours(order, 1),
            )?;
            report.add(name, "one thread", Unit::Wall, None, &pairs);
        }
    }
    let clock = clock.finish();
    report.finish()?;
    println!("{memory}");
    println!("{}", clock?);
    Ok(())
}

/// Makes datasets and snapshots of all of them, until there are enough or it takes too long.
fn fill(zfs: &Zfs, root: &Dataset) -> Result<u64> {
    let names = (0..DATASETS).map(|n| root.child(&format!("fs{n:03}")));
    let datasets: Vec<Dataset> = names.collect::<std::result::Result<_, _>>()?;
    // Together they wait for the same transaction groups.
    for some in datasets.chunks(20) {
        thread::scope(|scope| {
            let create = |dataset: &Dataset| dataset.create(&CreateOptions::filesystem());
            let threads: Vec<_> = some
                .iter()
                .map(|dataset| scope.spawn(move || create(dataset)))
                .collect();
            threads.into_iter().try_for_each(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })?;
    }
    let start = Instant::now();
    let mut count = 0;
    for n in 0..SNAPSHOTS {
        let batch = datasets
            .iter()
            .map(|dataset| dataset.snapshot(&format!("hourly-2026-11-{n:03}")));
        let batch: Vec<Snapshot> = batch.collect::<std::result::Result<_, _>>()?;
        zfs.create_snapshots(&batch, &UserProps::new())?;
        count += batch.len() as u64;
        if start.elapsed() > MAKING {
            break;
        }
    }
    Ok(count)
}

fn listing(wanted: Wanted, order: Order, threads: usize) -> Listing {
    let listing = Listing::new(Listed::SNAPSHOTS)
        .order(order)
        .threads(threads);
    match wanted {
        Wanted::Names => listing,
        Wanted::Figures => listing.properties([Prop::Creation, Prop::Used, Prop::Referenced]),
        Wanted::AllProperties | Wanted::Unread => listing.all_properties(),
    }
}

/// What is listed, and how many there must be.
struct Tree<'a> {
    root: &'a Dataset,
    wanted: Wanted,
    count: u64,
}

impl Tree<'_> {
    fn check(&self, count: u64) -> Result<()> {
        match count == self.count {
            true => Ok(()),
            false => Err(format!("{count} snapshots were listed of {}", self.count).into()),
        }
    }

    fn list(&self, listing: &Listing) -> Result<()> {
        let (mut count, mut sum) = (0, 0);
        for row in self.root.list(listing)? {
            let row = row?;
            count += 1;
            sum += match self.wanted {
                Wanted::Names => row.name().as_str().len() as u64,
                Wanted::Figures => [Prop::Creation, Prop::Used, Prop::Referenced]
                    .into_iter()
                    .filter_map(|prop| row.number(prop))
                    .sum(),
                Wanted::AllProperties | Wanted::Unread => 0,
            };
        }
        std::hint::black_box(sum);
        self.check(count)
    }

    fn ours(&self, order: Order, threads: usize) -> impl Turn {
        Side {
            prepare: move |_| Ok(listing(self.wanted, order, threads)),
            call: |listing: &Listing| self.list(listing),
        }
    }

    fn in_c(&self, wanted: Wanted) -> impl Turn {
        Side {
            prepare: |_| Ok(()),
            call: move |(): &()| {
                let listed = baseline::list(self.root.name(), wanted)?;
                std::hint::black_box(listed.sum);
                self.check(listed.count)
            },
        }
    }

    fn against_command(
        &self,
        rounds: Rounds,
        order: Order,
        threads: usize,
        arguments: &str,
    ) -> Result<Vec<Pair>> {
        let (verb, rest) = arguments.split_once(' ').unwrap_or((arguments, ""));
        let theirs = Side {
            prepare: |_| Ok(()),
            call: |(): &()| {
                let mut command = Command::new("zfs");
                command.args([verb, "-Hpr"]).args(rest.split(' '));
                command.arg(self.root.name().as_str()).stdout(Stdio::null());
                let status = command.status()?;
                match status.success() {
                    true => Ok(()),
                    false => Err(format!("{command:?}: {status}").into()),
                }
            },
        };
        compare(rounds, 1, &self.ours(order, threads), &theirs)
    }
}

/// The most memory that this process ever had, in bytes.
fn peak() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: u64 = kib.ok_or("no VmHWM in /proc/self/status")?.trim().parse()?;
    Ok(kib << 10)
}

/// A list of everything takes no more memory than one of a single dataset.
fn check_flat(root: &Dataset) -> Result<String> {
    let listing = listing(Wanted::AllProperties, Order::Any, 1);
    let all = |dataset: &Dataset| -> Result<u64> {
        for row in dataset.list(&listing)? {
            row?;
        }
        peak()
    };
    let one = all(&root.child("fs000")?)?;
    let more = all(root)?.saturating_sub(one);
    match more <= FLAT {
        true => Ok(format!(
            "memory: {} KiB more for all than for the snapshots of one dataset",
            more >> 10
        )),
        false => Err(format!("a list of everything takes {more} bytes more").into()),
    }
}
