//! `cargo xtask vm`: a program in a fresh guest.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lexopt::prelude::*;

use crate::guest::Version;
use crate::job::Job;
use crate::qemu::Outcome;
use crate::{bao, progress, setup};

const TIMED_OUT: u8 = 124;
const GUEST_FAILED: u8 = 125;

pub(crate) fn run(arguments: lexopt::Parser) -> Result<ExitCode> {
    let Request {
        version,
        mut job,
        bao,
    } = parse(arguments)?;
    let guest = setup::ready_one(version)?;
    let _bao = if bao {
        Some(bao::give(&mut job)?)
    } else {
        None
    };
    let report = job.run(
        &guest,
        &mut |bytes| progress::pass_on(&mut std::io::stdout(), bytes),
        &mut |bytes| progress::pass_on(&mut std::io::stderr(), bytes),
    )?;
    let (name, seconds) = (version.name(), report.seconds);
    if !report.console.is_empty() {
        eprintln!("the end of the guest's console:\n{}", report.console);
    }
    Ok(ExitCode::from(match report.outcome {
        Outcome::Exited(status) => {
            eprintln!("vm: exit status {status} in guest {name} ({seconds:.1} s)");
            status
        }
        Outcome::TimedOut => {
            eprintln!("vm: time-out in guest {name} after {seconds:.1} s");
            TIMED_OUT
        }
        Outcome::Died => {
            eprintln!("vm: guest {name} failed after {seconds:.1} s");
            GUEST_FAILED
        }
    }))
}

struct Request {
    version: Version,
    job: Job,
    /// Whether the guest can reach an OpenBao server.
    bao: bool,
}

fn parse(mut arguments: lexopt::Parser) -> Result<Request> {
    let mut version = Version::V2_1;
    let mut bao = false;
    let mut job = Job::new(Vec::new());
    let mut shell = false;
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("zfs") => version = Version::parse_one(&arguments.value()?.string()?)?,
            Long("mem") => job.memory_mib = arguments.value()?.parse()?,
            Long("cpus") => job.cpus = arguments.value()?.parse()?,
            Long("disk") => job.disks.push(size(&arguments.value()?.string()?)?),
            Long("file") => job.files.push(file(&arguments.value()?.string()?)?),
            Long("env") => {
                let text = arguments.value()?.string()?;
                let (name, value) = text.split_once('=').context("--env takes NAME=VALUE")?;
                job.env(name, value);
            }
            Long("out") => job.out = Some(arguments.value()?.into()),
            Long("timeout") => job.timeout = Duration::from_secs(arguments.value()?.parse()?),
            Long("bao") => bao = true,
            Long("shell") => shell = true,
            Value(program) => {
                job.command.push(program);
                job.command.extend(arguments.raw_args()?);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    ensure!(
        shell == job.command.is_empty(),
        "vm takes either --shell or `-- PROGRAM [ARGS]...`"
    );
    Ok(Request { version, job, bao })
}

/// A size in bytes, or with the suffix K, M, G or T.
fn size(text: &str) -> Result<u64> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match text.get(digits.len()..).unwrap_or_default() {
        "" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        "T" | "TiB" => 40,
        _ => bail!("a size is a number with K, M, G or T, and not {text:?}"),
    };
    let number: u64 = digits
        .parse()
        .with_context(|| format!("{text:?} is no size"))?;
    number
        .checked_mul(1 << shift)
        .filter(|size| *size >= 1 << 20)
        .with_context(|| format!("{text:?} is no size of a disk: at least 1M"))
}

/// `PATH[:NAME]`; without a name, the last part of the path.
fn file(text: &str) -> Result<(PathBuf, String)> {
    // A file whose own name has a colon is meant as it is.
    if !Path::new(text).exists() {
        if let Some((path, name)) = text.rsplit_once(':') {
            return Ok((path.into(), name.to_owned()));
        }
    }
    let path = PathBuf::from(text);
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .with_context(|| format!("{text:?} names no file"))?
        .to_owned();
    Ok((path, name))
}

#[cfg(test)]
mod tests {
    use super::{Request, file, size};

    fn parse(arguments: &[&str]) -> anyhow::Result<Request> {
        super::parse(lexopt::Parser::from_args(arguments))
    }

    #[test]
    fn the_program_keeps_its_own_options() {
        let Request { version, job, bao } = parse(&[
            "--zfs",
            "2.4",
            "--bao",
            "--disk",
            "1G",
            "--disk=64M",
            "--env",
            "A=b=c",
            "--timeout",
            "9",
            "--",
            "./x",
            "--zfs",
            "--",
            "-v",
        ])
        .unwrap();
        assert!(bao);
        assert_eq!(version.name(), "2.4");
        assert_eq!(job.disks, [1 << 30, 64 << 20]);
        assert_eq!(job.environment, [("A".to_owned(), "b=c".into())]);
        assert_eq!(job.timeout.as_secs(), 9);
        assert_eq!(job.command, ["./x", "--zfs", "--", "-v"]);
        let plain = parse(&["zfs", "list", "-H"]).unwrap();
        assert_eq!(plain.job.command, ["zfs", "list", "-H"]);
        assert!(!plain.bao);
    }

    #[test]
    fn wrong_arguments_are_refused() {
        for arguments in [
            &[][..],
            &["--zfs", "all", "--", "true"],
            &["--zfs", "2.2", "--", "true"],
            &["--shell", "--", "true"],
            &["--env", "A", "--", "true"],
            &["--cpus", "x", "--", "true"],
            &["--unknown", "--", "true"],
        ] {
            assert!(parse(arguments).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn sizes_have_suffixes() {
        assert_eq!(size("512M").unwrap(), 512 << 20);
        assert_eq!(size("2GiB").unwrap(), 2 << 30);
        assert_eq!(size("1048576").unwrap(), 1 << 20);
        for text in ["", "M", "1X", "-1G", "1.5G", "100", "99999999T"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn files_have_names() {
        assert_eq!(file("/a/b").unwrap(), ("/a/b".into(), "b".to_owned()));
        assert_eq!(file("/a/b:c/d").unwrap(), ("/a/b".into(), "c/d".to_owned()));
        assert!(file("/").is_err());
    }
}
