//! `cargo xtask bench`: benchmarks in one guest, and on the host what needs no ZFS. Absolute times of
//! an emulated guest mean nothing, so what counts are the ratios within one run.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use lexopt::prelude::*;
use serde_json::Value as Json;

use crate::cache::RunDir;
use crate::cargo;
use crate::guest::{Guest, Version};
use crate::job::Job;
use crate::qemu::Outcome;
use crate::{host, native, progress, setup};

/// Where a benchmark writes its table as JSON.
const JSON: &str = "HELIX_ZFS_BENCH_JSON";
/// How long a benchmark measures, in rounds of its longest part.
const ROUNDS: &str = "HELIX_ZFS_BENCH_ROUNDS";

/// The command of the host part's `zstream`.
const ZSTREAM: &str = "HELIX_ZFS_BENCH_ZSTREAM";

/// Benchmarks with a part that needs no ZFS: it runs on the host, whose processor is not emulated.
const ON_HOST: &[&str] = &["stream"];

/// Compiles the C code that the benchmarks compare with.
const FEATURE: &str = "bench-baseline";

#[derive(Debug)]
struct Options {
    version: Version,
    name: Option<String>,
    json: Option<PathBuf>,
    place: Place,
}

/// Where benchmarks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In a guest, and on the host what needs no ZFS.
    Guest,
    /// On a host that has ZFS.
    Native,
    /// On the host, and only what needs no ZFS.
    Host,
}

pub(crate) fn run(arguments: lexopt::Parser) -> Result<ExitCode> {
    let options = Options::parse(arguments)?;
    let guest = match options.place {
        Place::Guest => {
            println!("benchmarks in guest {}", options.version.name());
            Some(setup::ready_one(options.version)?)
        }
        Place::Native => {
            println!(
                "benchmarks on this host's ZFS {}",
                native::module_version()?
            );
            host::install_packages()?;
            None
        }
        Place::Host => {
            println!("benchmarks on this host, without ZFS");
            host::install_packages()?;
            None
        }
    };
    let known = match options.place {
        Place::Host => ON_HOST.iter().map(|name| String::from(*name)).collect(),
        Place::Guest | Place::Native => cargo::benchmarks()?,
    };
    let names = match &options.name {
        Some(name) if !known.contains(name) => {
            bail!("there is no benchmark {name:?}, only: {}", known.join(", "))
        }
        Some(name) => vec![name.clone()],
        None => known,
    };
    ensure!(!names.is_empty(), "there are no benchmarks");

    let mut table = Vec::new();
    for name in &names {
        let program = cargo::build_one(
            &[
                "bench",
                "-p",
                cargo::PACKAGE,
                "--features",
                FEATURE,
                "--bench",
                name,
                "--no-run",
            ],
            name,
        )?;
        if ON_HOST.contains(&name.as_str()) {
            let run = RunDir::new()?;
            run_on_host(guest.as_ref(), name, &program, run.path())?;
            table.extend(rows(name, run.path())?);
        }
        let run = RunDir::new()?;
        match (&guest, options.place) {
            (Some(guest), _) => run_in_guest(guest, name, program, run.path())?,
            (None, Place::Host) => continue,
            (None, _) => run_native(name, &program, run.path())?,
        }
        table.extend(rows(name, run.path())?);
    }
    let rows = table.len();
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&Json::Array(table))?;
        fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
        println!("results: {}", path.display());
    }
    println!("bench: {} done, {rows} results", names.join(", "));
    Ok(ExitCode::SUCCESS)
}

/// The results that a benchmark left in a folder.
fn rows(name: &str, folder: &Path) -> Result<Vec<Json>> {
    let rows = fs::read_to_string(folder.join(format!("{name}.json")))
        .with_context(|| format!("benchmark {name} left no JSON"))?;
    match serde_json::from_str(&rows) {
        Ok(Json::Array(rows)) if !rows.is_empty() => Ok(rows),
        _ => bail!("benchmark {name} wrote no list of results: {rows}"),
    }
}

/// Runs what needs no ZFS. The guest, where there is one, lends its `zstream`.
fn run_on_host(guest: Option<&Guest>, name: &str, program: &Path, folder: &Path) -> Result<()> {
    println!("benchmark {name} on this host ...");
    let mut command = Command::new(program);
    command
        .arg("--bench")
        .current_dir(folder)
        .env(JSON, folder.join(format!("{name}.json")));
    if let Some(guest) = guest {
        command.env(ZSTREAM, zstream(guest, folder)?);
    }
    let status = command
        .status()
        .with_context(|| format!("cannot run {}", program.display()))?;
    ensure!(status.success(), "benchmark {name} failed ({status})");
    Ok(())
}

/// Takes `zstream` out of a guest, with all that it needs; returns the command that runs it.
fn zstream(guest: &Guest, folder: &Path) -> Result<String> {
    const COPY: &str = "cp /usr/sbin/zstream /out && cp -L /usr/lib/x86_64-linux-gnu/*.so* /out && \
                        cp -L /usr/lib64/ld-linux-x86-64.so.2 /out";
    let mut job = Job::new(["sh", "-c", COPY].map(OsString::from).to_vec());
    job.out = Some(folder.to_owned());
    let mut said = Vec::new();
    let report = job.run(guest, &mut |_| {}, &mut |bytes| {
        said.extend_from_slice(bytes)
    })?;
    ensure!(
        matches!(report.outcome, Outcome::Exited(0)),
        "cannot copy zstream out of the guest: {}",
        String::from_utf8_lossy(&said)
    );
    let folder = folder.to_str().context("the cache folder is not UTF-8")?;
    Ok(format!(
        "'{folder}/ld-linux-x86-64.so.2' --library-path '{folder}' '{folder}/zstream'"
    ))
}

fn run_in_guest(guest: &Guest, name: &str, program: PathBuf, out: &Path) -> Result<()> {
    let mut job = Job::new(vec![program.into(), OsString::from("--bench")]);
    job.env(JSON, format!("/out/{name}.json"));
    if let Some(rounds) = std::env::var_os(ROUNDS) {
        job.env(ROUNDS, rounds);
    }
    job.disks = vec![4 << 30];
    job.out = Some(out.to_owned());
    eprintln!("benchmark {name} in guest {} ...", guest.version().name());
    let report = job.run(
        guest,
        &mut |bytes| progress::pass_on(&mut std::io::stdout(), bytes),
        &mut |bytes| progress::pass_on(&mut std::io::stderr(), bytes),
    )?;
    match report.outcome {
        Outcome::Exited(0) => Ok(()),
        Outcome::Exited(status) => bail!("benchmark {name} ended with status {status}"),
        Outcome::TimedOut => bail!(
            "benchmark {name} timed out; the console:\n{}",
            report.console
        ),
        Outcome::Died => bail!("the guest failed; its console:\n{}", report.console),
    }
}

fn run_native(name: &str, program: &Path, folder: &Path) -> Result<()> {
    let status = native::command(program, folder)
        .arg("--bench")
        .env(JSON, folder.join(format!("{name}.json")))
        .status()
        .with_context(|| format!("cannot run {}", program.display()))?;
    ensure!(status.success(), "benchmark {name} failed ({status})");
    Ok(())
}

impl Options {
    fn parse(mut arguments: lexopt::Parser) -> Result<Self> {
        let mut options = Self {
            version: Version::V2_1,
            name: None,
            json: None,
            place: Place::Guest,
        };
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("zfs") => {
                    options.version = Version::parse_one(&arguments.value()?.string()?)?;
                }
                Long("json") => options.json = Some(std::path::absolute(arguments.value()?)?),
                Long("native") => options.place = Place::Native,
                Long("host") => options.place = Place::Host,
                Value(name) if options.name.is_none() => {
                    // Cargo's names of targets are words joined by `_`; `-` is as good here.
                    options.name = Some(name.string()?.replace('-', "_"));
                }
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::Options;

    #[test]
    fn a_name_and_a_file_are_taken() {
        let options =
            Options::parse(lexopt::Parser::from_args(["snapshot", "--json", "/x.json"])).unwrap();
        assert_eq!(options.name.as_deref(), Some("snapshot"));
        assert_eq!(options.json.unwrap().to_str(), Some("/x.json"));
        let options = Options::parse(lexopt::Parser::from_args(["group-commit"])).unwrap();
        assert_eq!(options.name.as_deref(), Some("group_commit"));
        assert!(Options::parse(lexopt::Parser::from_args(["a", "b"])).is_err());
    }
}
