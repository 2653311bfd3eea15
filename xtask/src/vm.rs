//! `cargo xtask vm`: a program in a fresh guest.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lexopt::prelude::*;

use crate::cache::RunDir;
use crate::guest::Version;
use crate::payload::Payload;
use crate::qemu::{self, Machine, Outcome};
use crate::{kvm, setup};

const TIMED_OUT: u8 = 124;
const GUEST_FAILED: u8 = 125;

#[derive(Debug)]
struct Options {
    version: Version,
    memory_mib: u32,
    cpus: u32,
    disks: Vec<u64>,
    files: Vec<(PathBuf, String)>,
    environment: Vec<(String, OsString)>,
    out: Option<PathBuf>,
    timeout: Duration,
    /// `None` for a shell.
    command: Option<Vec<OsString>>,
}

pub(crate) fn run(arguments: lexopt::Parser) -> Result<ExitCode> {
    let options = Options::parse(arguments)?;
    let guest = setup::ready_one(options.version)?;
    let accelerator = kvm::accelerator(&guest)?;
    let run = RunDir::new()?;
    let mut payload = Payload::new(&guest, &run.path().join("payload.tar"))?;
    for (path, name) in &options.files {
        payload.file(path, name)?;
    }
    for (name, value) in &options.environment {
        payload.env(name, value)?;
    }
    let machine = Machine {
        guest: &guest,
        accelerator,
        cpus: options.cpus,
        memory_mib: options.memory_mib,
        disks: &options.disks,
        out: options.out.is_some(),
        timeout: Some(options.timeout),
    };
    let Some((program, arguments)) = options.command.as_deref().and_then(<[_]>::split_first) else {
        payload.shell()?;
        qemu::run_shell(run.path(), &machine)?;
        eprintln!(
            "vm: the shell in guest {} has ended",
            options.version.name()
        );
        return Ok(ExitCode::SUCCESS);
    };
    payload.command(program, arguments)?;
    let start = Instant::now();
    let outcome = qemu::run(
        run.path(),
        &machine,
        &mut |bytes| pass_on(&mut std::io::stdout(), bytes),
        &mut |bytes| pass_on(&mut std::io::stderr(), bytes),
    )?;
    let seconds = start.elapsed().as_secs_f64();
    let name = options.version.name();
    let status = match outcome {
        Outcome::Exited(status) => {
            if let Some(out) = &options.out {
                unpack(&run.path().join("out.tar"), out)?;
            }
            eprintln!("vm: exit status {status} in guest {name} ({seconds:.1} s)");
            status
        }
        Outcome::TimedOut => {
            eprintln!(
                "the end of the guest's console:\n{}\nvm: time-out in guest {name} after \
                 {seconds:.1} s",
                qemu::last_words(run.path())
            );
            TIMED_OUT
        }
        Outcome::Died => {
            eprintln!(
                "the end of the guest's console:\n{}\nvm: guest {name} failed after {seconds:.1} s",
                qemu::last_words(run.path())
            );
            GUEST_FAILED
        }
    };
    Ok(ExitCode::from(status))
}

/// A reader that went away is no reason to end the guest early.
fn pass_on(to: &mut impl Write, bytes: &[u8]) {
    let _ = to.write_all(bytes).and_then(|()| to.flush());
}

/// Unpacks what the guest left in /out into a folder.
pub(crate) fn unpack(tar: &Path, into: &Path) -> Result<()> {
    std::fs::create_dir_all(into).with_context(|| format!("cannot create {}", into.display()))?;
    tar::Archive::new(File::open(tar)?)
        .unpack(into)
        .with_context(|| format!("cannot unpack the guest's /out into {}", into.display()))
}

impl Options {
    fn parse(mut arguments: lexopt::Parser) -> Result<Self> {
        let mut options = Self {
            version: Version::V2_1,
            memory_mib: 2048,
            cpus: 1,
            disks: Vec::new(),
            files: Vec::new(),
            environment: Vec::new(),
            out: None,
            timeout: Duration::from_secs(1800),
            command: None,
        };
        let mut shell = false;
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("zfs") => match Version::parse(&arguments.value()?.string()?)?.as_slice() {
                    [version] => options.version = *version,
                    _ => bail!("vm runs one version"),
                },
                Long("mem") => options.memory_mib = arguments.value()?.parse()?,
                Long("cpus") => options.cpus = arguments.value()?.parse()?,
                Long("disk") => options.disks.push(size(&arguments.value()?.string()?)?),
                Long("file") => options.files.push(file(&arguments.value()?.string()?)?),
                Long("env") => {
                    let text = arguments.value()?.string()?;
                    let (name, value) = text.split_once('=').context("--env takes NAME=VALUE")?;
                    options.environment.push((name.to_owned(), value.into()));
                }
                Long("out") => options.out = Some(arguments.value()?.into()),
                Long("timeout") => {
                    options.timeout = Duration::from_secs(arguments.value()?.parse()?);
                }
                Long("shell") => shell = true,
                Value(program) => {
                    let mut command = vec![program];
                    command.extend(arguments.raw_args()?);
                    options.command = Some(command);
                }
                other => return Err(other.unexpected().into()),
            }
        }
        ensure!(
            shell != options.command.is_some(),
            "vm takes either --shell or `-- PROGRAM [ARGS]...`"
        );
        Ok(options)
    }
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
    use super::{Options, file, size};

    fn parse(arguments: &[&str]) -> anyhow::Result<Options> {
        Options::parse(lexopt::Parser::from_args(arguments))
    }

    #[test]
    fn the_program_keeps_its_own_options() {
        let options = parse(&[
            "--zfs",
            "2.4",
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
        assert_eq!(options.version.name(), "2.4");
        assert_eq!(options.disks, [1 << 30, 64 << 20]);
        assert_eq!(options.environment, [("A".to_owned(), "b=c".into())]);
        assert_eq!(options.timeout.as_secs(), 9);
        assert_eq!(options.command.unwrap(), ["./x", "--zfs", "--", "-v"]);
        assert_eq!(
            parse(&["zfs", "list", "-H"]).unwrap().command.unwrap(),
            ["zfs", "list", "-H"]
        );
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
