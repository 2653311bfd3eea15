//! `cargo xtask soak`: continuous writes, replication, rotation and promotion with random kills.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use lexopt::prelude::*;

use crate::cache::RunDir;
use crate::cargo::{self, strip};
use crate::guest::Version;
use crate::job::Job;
use crate::qemu::Outcome;
use crate::{progress, setup};

/// The program, a target of the root package.
const TARGET: &str = "soak";

/// What it may take longer than it was told to: it looks at everything at its end.
const AFTER: Duration = Duration::from_secs(15 * 60);

pub(crate) fn run(mut arguments: lexopt::Parser) -> Result<ExitCode> {
    // 2.1 may panic in a mount under this load: openzfs/zfs issue 11679.
    let mut version = Version::V2_4;
    let mut minutes: u32 = 60;
    let mut seed = None;
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("zfs") => version = Version::parse_one(&arguments.value()?.string()?)?,
            Long("minutes") => minutes = arguments.value()?.parse()?,
            Long("seed") => seed = Some(arguments.value()?.parse::<u64>()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let guest = setup::ready_one(version)?;
    let program = cargo::build_one(
        &["test", "--workspace", "--test", TARGET, "--no-run"],
        TARGET,
    )?;
    // It has an hour: whoever works on this machine comes first.
    rustix::process::nice(19).context("cannot be nice")?;
    let run = RunDir::new()?;
    let stripped = run.path().join(TARGET);
    strip(&program, &stripped)?;
    let mut job = Job::new(vec![
        stripped.into(),
        "--minutes".into(),
        minutes.to_string().into(),
    ]);
    if let Some(seed) = seed {
        job.command
            .extend(["--seed".into(), seed.to_string().into()]);
    }
    job.env("RUST_BACKTRACE", "1");
    job.memory_mib = 3072;
    job.disks = vec![4 << 30; 4];
    job.timeout = Duration::from_secs(u64::from(minutes) * 60) + AFTER;
    let name = version.name();
    eprintln!("soak: {minutes} minutes in guest {name} ...");
    let report = job.run(
        &guest,
        &mut |bytes| progress::pass_on(&mut std::io::stdout(), bytes),
        &mut |bytes| progress::pass_on(&mut std::io::stderr(), bytes),
    )?;
    let seconds = report.seconds;
    let fine = matches!(report.outcome, Outcome::Exited(0));
    let verdict = match report.outcome {
        Outcome::Exited(0) => "passed".to_owned(),
        Outcome::Exited(status) => format!("FAILED with status {status}"),
        Outcome::TimedOut => "FAILED: it did not end".to_owned(),
        Outcome::Died => format!("FAILED: the guest died:\n{}", report.console),
    };
    println!("soak: {verdict} (guest {name}, {seconds:.0} s)");
    Ok(if fine {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
