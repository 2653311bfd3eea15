//! The state of a pool with 60 devices: our call against the `zpool status` command.
//!
//! `zpool status -v` asks the kernel for the same configuration, and for the pool's properties as
//! [`Pool::report`] does. Most of both sides' time is the kernel's, which packs some 4 KiB of
//! histograms for each vdev that neither side shows.
#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that reports to its user"
)]

#[allow(dead_code, reason = "another benchmark uses it")]
mod support;

use std::hint::black_box;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use helix_zfs::zfs_core::{Pool, Zfs};

use support::clock::ClockCheck;
use support::pool::BenchPool;
use support::{Report, Result, Rounds, Side, Turn, Unit, compare};

const ROUNDS: usize = 40;
const ENOUGH: Duration = Duration::from_secs(60);
const DEVICES: usize = 60;
const COMMAND: &str = "zpool command";

/// The ratio of CPU time that we want to stay under.
const GOAL: Option<f64> = Some(0.10);

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
    let rounds = Rounds::new(ROUNDS, ENOUGH)?;
    let made = BenchPool::mirrors(DEVICES / 2)?;
    let pool = Zfs::open()?.pool(made.name())?;
    if pool
        .status()?
        .vdevs()
        .filter(|vdev| vdev.kind.is_device())
        .count()
        != DEVICES
    {
        return Err("the pool has another number of devices".into());
    }

    let clock = ClockCheck::start()?;
    let mut report = Report::default();
    let command = command(&pool);

    let ours = Side {
        prepare: |_| Ok(()),
        call: |(): &()| {
            black_box(pool.status()?);
            Ok(())
        },
    };
    let pairs = compare(rounds, 4, &ours, &command)?;
    report.add("status, 60 devices", COMMAND, Unit::Cpu, GOAL, &pairs);
    report.add("status, 60 devices", COMMAND, Unit::Wall, None, &pairs);

    let ours = Side {
        prepare: |_| Ok(()),
        call: |(): &()| {
            black_box(serde_json::to_string(&pool.report()?)?);
            Ok(())
        },
    };
    let pairs = compare(rounds, 4, &ours, &command)?;
    let name = "report as JSON, 60 devices";
    report.add(name, COMMAND, Unit::Cpu, GOAL, &pairs);
    report.add(name, COMMAND, Unit::Wall, None, &pairs);

    let clock = clock.finish();
    report.finish()?;
    println!("{}", clock?);
    Ok(())
}

/// The command, which prints to nowhere.
fn command(pool: &Pool) -> impl Turn {
    Side {
        prepare: |_| Ok(()),
        call: |(): &()| {
            let status = Command::new("zpool")
                .args(["status", "-v", pool.name().as_str()])
                .stdout(Stdio::null())
                .status()?;
            match status.success() {
                true => Ok(()),
                false => Err(format!("zpool status: {status}").into()),
            }
        },
    }
}
