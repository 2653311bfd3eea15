//! One program in one fresh guest: what vm, test, demo and bench have in common.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::cache::RunDir;
use crate::guest::Guest;
use crate::kvm;
use crate::lines::LineSplitter;
use crate::link::{self, Link};
use crate::payload::Payload;
use crate::qemu::{self, Machine, Outcome, Sink};
use crate::setup;

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
    /// Whether a line of the program that begins with [`POWER_CUT`] cuts the machine off, which
    /// then boots again with the same disks.
    pub(crate) power_cuts: bool,
    /// Set when the machine is to be cut off for good.
    pub(crate) stop: Arc<AtomicBool>,
}

/// What a program says to have its machine cut off; what follows is told to the next boot in
/// [`RESUME`].
const POWER_CUT: &str = "POWER CUT";
const RESUME: &str = "HELIX_PAIR_RESUME";

/// The number of this boot, from 1.
const BOOT: &str = "HELIX_PAIR_BOOT";

/// More power cuts than these are a program that does nothing else.
const BOOTS: u32 = 16;

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
            power_cuts: false,
            stop: Arc::new(AtomicBool::new(false)),
        }
    }

    pub(crate) fn env(&mut self, name: &str, value: impl Into<OsString>) {
        self.environment.push((name.to_owned(), value.into()));
    }

    /// Runs the job; its output goes to the sinks as it comes.
    pub(crate) fn run(&self, guest: &Guest, stdout: Sink<'_>, stderr: Sink<'_>) -> Result<Report> {
        let run = RunDir::new()?;
        qemu::make_disks(run.path(), &self.disks)?;
        let start = Instant::now();
        let mut resume = String::new();
        let mut boot = 1;
        let outcome = loop {
            self.pack(guest, run.path(), boot, &resume)?;
            match self.boot(guest, run.path(), &mut *stdout, &mut *stderr)? {
                (Outcome::Died, Some(after)) if boot < BOOTS => resume = after,
                (outcome, _) => break outcome,
            }
            boot += 1;
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

    fn pack(&self, guest: &Guest, dir: &Path, boot: u32, resume: &str) -> Result<()> {
        let mut payload = Payload::new(guest, &dir.join("payload.tar"))?;
        for (path, name) in &self.files {
            payload.file(path, name)?;
        }
        for (name, value) in &self.environment {
            payload.env(name, value)?;
        }
        payload.env(link::ADDRESSES, &link::addresses(&self.links))?;
        if self.power_cuts {
            payload.env(BOOT, boot.to_string().as_ref())?;
            payload.env(RESUME, resume.as_ref())?;
        }
        match self.command.split_first() {
            Some((program, arguments)) => payload.command(program, arguments),
            None => payload.shell(),
        }
    }

    /// One boot, and what came after [`POWER_CUT`] when the program asked for one.
    fn boot(
        &self,
        guest: &Guest,
        dir: &Path,
        stdout: Sink<'_>,
        stderr: Sink<'_>,
    ) -> Result<(Outcome, Option<String>)> {
        let asked = Mutex::new(None);
        let off = || self.stop.load(Ordering::Relaxed) || setup::lock(&asked).is_some();
        let machine = Machine {
            guest,
            accelerator: kvm::accelerator(guest)?,
            cpus: self.cpus,
            memory_mib: self.memory_mib,
            disks: self.disks.len(),
            links: &self.links,
            out: self.out.is_some(),
            boot_timeout: qemu::BOOT_TIMEOUT,
            timeout: self.timeout,
            off: &off,
        };
        if self.command.is_empty() {
            return Ok((qemu::run_shell(dir, &machine)?, None));
        }
        let mut lines = LineSplitter::default();
        let mut stdout = |bytes: &[u8]| {
            if self.power_cuts {
                lines.feed(bytes, &mut |line| {
                    if let Some(after) = line.strip_prefix(POWER_CUT) {
                        *setup::lock(&asked) = Some(after.trim().to_owned());
                    }
                });
            }
            stdout(bytes);
        };
        let outcome = qemu::run(dir, &machine, &mut stdout, stderr)?;
        Ok((outcome, setup::lock(&asked).take()))
    }
}

fn unpack(tar: &Path, into: &Path) -> Result<()> {
    std::fs::create_dir_all(into).with_context(|| format!("cannot create {}", into.display()))?;
    tar::Archive::new(File::open(tar)?)
        .unpack(into)
        .with_context(|| format!("cannot unpack the guest's /out into {}", into.display()))
}
