//! `cargo xtask demo`: the tour of Helix's storage operations on real ZFS.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use lexopt::prelude::*;

use crate::cache::RunDir;
use crate::cargo;
use crate::guest::Version;
use crate::job::Job;
use crate::qemu::Outcome;
use crate::{host, native, progress, setup};

pub(crate) fn run(mut arguments: lexopt::Parser) -> Result<ExitCode> {
    let mut version = Version::V2_1;
    let mut on_host = false;
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("zfs") => version = Version::parse_one(&arguments.value()?.string()?)?,
            Long("native") => on_host = true,
            other => return Err(other.unexpected().into()),
        }
    }
    let (place, works) = if on_host {
        run_native()?
    } else {
        run_in_guest(version)?
    };
    if works {
        println!("demo: every step held on {place}");
        Ok(ExitCode::SUCCESS)
    } else {
        println!("demo: FAILED on {place}");
        Ok(ExitCode::FAILURE)
    }
}

fn build() -> Result<std::path::PathBuf> {
    cargo::build_one(
        &["build", "-p", cargo::PACKAGE, "--example", "tour"],
        "tour",
    )
}

fn run_native() -> Result<(String, bool)> {
    let place = format!("this host's ZFS {}", native::module_version()?);
    host::install_packages()?;
    let tour = build()?;
    let run = RunDir::new()?;
    let status = native::command(&tour, run.path())
        .status()
        .context("cannot run the tour")?;
    Ok((place, status.success()))
}

fn run_in_guest(version: Version) -> Result<(String, bool)> {
    let guest = setup::ready_one(version)?;
    let tour = build()?;
    let mut job = Job::new(vec![tour.into()]);
    job.env("RUST_BACKTRACE", "1");
    eprintln!("starting guest {} ...", version.name());
    let report = job.run(
        &guest,
        &mut |bytes| progress::pass_on(&mut std::io::stdout(), bytes),
        &mut |bytes| progress::pass_on(&mut std::io::stderr(), bytes),
    )?;
    let place = format!("OpenZFS {}", version.name());
    match report.outcome {
        Outcome::Exited(status) => Ok((place, status == 0)),
        Outcome::TimedOut => bail!(
            "the demo timed out; the guest's console:\n{}",
            report.console
        ),
        Outcome::Died => bail!("the guest failed; its console:\n{}", report.console),
    }
}
