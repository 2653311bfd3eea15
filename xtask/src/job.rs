//! One program in one fresh guest: what vm, test, demo and bench have in common.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::cache::RunDir;
use crate::guest::Guest;
use crate::kvm;
use crate::link::{self, Link};
use crate::payload::Payload;
use crate::qemu::{self, Machine, Outcome, Sink};

/// A program, its surroundings, and the machine it wants.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// The program and its arguments; a shell on this terminal when empty.
    pub(crate) command: Vec<OsString>,
    /// Files of the host and their names below the guest's working directory.
    pub(crate) files: Vec<(PathBuf, String)>,
    pub(crate) environment: Vec<(String, OsString)>,
    /// Where the guest's /out is unpacked.
    pub(crate) out: Option<PathBuf>,
    /// Sizes of scratch disks in bytes.
    pub(crate) disks: Vec<u64>,
    /// Its network cards.
    pub(crate) links: Vec<Link>,
    pub(crate) cpus: u32,
    pub(crate) memory_mib: u32,
    pub(crate) timeout: Duration,
}

/// How a job ended.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) outcome: Outcome,
    pub(crate) seconds: f64,
    /// The end of the guest's console; empty when the program told its own status.
    pub(crate) console: String,
}

impl Job {
    pub(crate) fn new(command: Vec<OsString>) -> Self {
        Self {
            command,
            files: Vec::new(),
            environment: Vec::new(),
            out: None,
            disks: Vec::new(),
            links: Vec::new(),
            cpus: 1,
            memory_mib: 2048,
            timeout: Duration::from_secs(1800),
        }
    }

    pub(crate) fn env(&mut self, name: &str, value: impl Into<OsString>) {
        self.environment.push((name.to_owned(), value.into()));
    }

    /// Runs the job; its output goes to the sinks as it comes.
    pub(crate) fn run(&self, guest: &Guest, stdout: Sink<'_>, stderr: Sink<'_>) -> Result<Report> {
        let accelerator = kvm::accelerator(guest)?;
        let run = RunDir::new()?;
        let mut payload = Payload::new(guest, &run.path().join("payload.tar"))?;
        for (path, name) in &self.files {
            payload.file(path, name)?;
        }
        for (name, value) in &self.environment {
            payload.env(name, value)?;
        }
        payload.env(link::ADDRESSES, link::addresses(&self.links).as_ref())?;
        let interactive = match self.command.split_first() {
            Some((program, arguments)) => {
                payload.command(program, arguments)?;
                false
            }
            None => {
                payload.shell()?;
                true
            }
        };
        let machine = Machine {
            guest,
            accelerator,
            cpus: self.cpus,
            memory_mib: self.memory_mib,
            disks: self.disks.len(),
            links: &self.links,
            out: self.out.is_some(),
            boot_timeout: qemu::BOOT_TIMEOUT,
            timeout: self.timeout,
        };
        qemu::make_disks(run.path(), &self.disks)?;
        let start = Instant::now();
        let outcome = if interactive {
            qemu::run_shell(run.path(), &machine)?
        } else {
            qemu::run(run.path(), &machine, stdout, stderr)?
        };
        let seconds = start.elapsed().as_secs_f64();
        let console = match outcome {
            Outcome::Exited(_) => String::new(),
            Outcome::TimedOut | Outcome::Died => qemu::last_words(run.path()),
        };
        if let (Some(out), Outcome::Exited(_)) = (&self.out, &outcome) {
            unpack(&run.path().join("out.tar"), out)?;
        }
        Ok(Report {
            outcome,
            seconds,
            console,
        })
    }
}

fn unpack(tar: &Path, into: &Path) -> Result<()> {
    std::fs::create_dir_all(into).with_context(|| format!("cannot create {}", into.display()))?;
    tar::Archive::new(File::open(tar)?)
        .unpack(into)
        .with_context(|| format!("cannot unpack the guest's /out into {}", into.display()))
}
