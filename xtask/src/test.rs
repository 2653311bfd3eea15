//! `cargo xtask test`: the tests that need no ZFS on the host, then those on real ZFS in guests.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lexopt::prelude::*;

use crate::cache::RunDir;
use crate::cargo;
use crate::cargo::strip;
use crate::guest::{Check, Guest, Version};
use crate::job::Job;
use crate::libtest::{Counts, Program, Results};
use crate::lines::{LineSplitter, print_line};
use crate::qemu::Outcome;
use crate::{bao, host, native, pair, setup};

/// The test program that runs in guests, a target of the root package.
const TARGET: &str = "zfs";

/// The one that runs in two guests at once.
const PAIR: &str = "pair";

/// This program, of which guests have no need.
const TASKS: &str = "xtask";

/// The first's name in the guest, where `zfs` is the command.
const PROGRAM: &str = "zfs-tests";

/// How long the test of many threads runs, and how many replications are disturbed, for more on
/// demand.
const LENGTHS: [&str; 2] = ["HELIX_ZFS_THREAD_SECONDS", "HELIX_ZFS_CHAOS_RUNS"];

/// Tells the tests where the built programs are: the examples and helixctl.
const PROGRAMS: &str = "HELIX_ZFS_PROGRAMS";

/// Guests have one processor each, and as many run side by side as the host has: a second one would
/// cost a third of what both could do, since emulation makes every atomic operation and every
/// interrupt between them expensive.
fn guests_at_once() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The tests of a version run in so many guests, which keeps two processors busy to the end.
const PARTS: usize = 2;

/// Fewer tests than these are not worth a second guest.
const ONE_GUEST: usize = 60;

/// A part takes a quarter of an hour on an emulated processor; what takes this long hangs.
const TIMEOUT: Duration = Duration::from_secs(1700);

#[derive(Debug)]
struct Options {
    versions: Vec<Version>,
    host_only: bool,
    native: bool,
    filter: Option<String>,
}

pub(crate) fn run(arguments: lexopt::Parser) -> Result<ExitCode> {
    let options = Options::parse(arguments)?;
    let mut total = Total::default();
    if options.native {
        native::module_version()?;
    }
    host::install_packages()?;
    host_tests(&options, &mut total)?;
    if options.native {
        let programs = Programs::build()?;
        native_tests(&programs, &options, &mut total)?;
    } else if !options.host_only {
        let guests = setup::ready(&options.versions, Check::Quick)?;
        let programs = Programs::build()?;
        guest_tests(&guests, &programs, &options, &mut total)?;
        pair_tests(&guests, &programs, &options, &mut total)?;
    }
    if total.counts.passed + total.counts.failed == 0 {
        total.fail("no test has a name like that".to_owned());
    }

    for failure in &total.failures {
        println!("FAILED: {failure}");
    }
    let fine = total.counts.failed == 0;
    println!("test: {}", if fine { "passed" } else { "FAILED" });
    println!("{}", total.counts);
    Ok(if fine {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What all parts together came to.
#[derive(Debug, Default)]
struct Total {
    counts: Counts,
    failures: Vec<String>,
}

impl Total {
    fn add(&mut self, place: &str, program: &Program) {
        self.counts += program.counts;
        for name in &program.failures {
            self.failures.push(format!("{name} ({place})"));
        }
    }

    /// Counts a failure that no test reported.
    fn fail(&mut self, message: String) {
        self.counts.failed += 1;
        self.failures.push(message);
    }
}

fn host_tests(options: &Options, total: &mut Total) -> Result<()> {
    let mut command = cargo::command();
    command.args(["test", "--workspace", "--no-fail-fast"]);
    command.args(&options.filter);
    eprintln!("tests on the host: cargo test --workspace");
    run_here("host", &mut command, options, total)
}

fn native_tests(programs: &Programs, options: &Options, total: &mut Total) -> Result<()> {
    eprintln!("tests on this host's ZFS {}", native::module_version()?);
    let run = RunDir::new()?;
    let folder = run.path().join("programs");
    std::fs::create_dir(&folder)?;
    for (path, name) in &programs.others {
        std::fs::copy(path, folder.join(name))?;
    }
    let mut command = native::command(&programs.tests, run.path());
    command
        .arg(threads())
        .args(&options.filter)
        .env(PROGRAMS, folder)
        .stdin(Stdio::null());
    run_here("native", &mut command, options, total)
}

/// Runs a test command on the host, passes its output on and counts.
fn run_here(
    place: &str,
    command: &mut Command,
    options: &Options,
    total: &mut Total,
) -> Result<()> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run the tests")?;
    let mut results = Results::default();
    if let Some(pipe) = child.stdout.take() {
        for line in lines(pipe) {
            results.read(&line);
            println!("{line}");
        }
    }
    let status = child.wait()?;
    let mut counts = Counts::default();
    for program in &results.programs {
        counts += program.counts;
        total.add(place, program);
    }
    if !status.success() && counts.failed == 0 {
        total.fail(format!(
            "the tests could not be built or died ({place}, {status})"
        ));
    } else if counts.passed + counts.failed == 0 && options.filter.is_none() {
        total.fail(format!("no test was run ({place})"));
    }
    Ok(())
}

fn lines(pipe: impl Read) -> impl Iterator<Item = String> {
    BufReader::new(pipe)
        .split(b'\n')
        .map_while(Result::ok)
        .map(|line| {
            String::from_utf8_lossy(&line)
                .trim_end_matches('\r')
                .to_owned()
        })
}

/// What goes into a guest.
#[derive(Debug)]
struct Programs {
    tests: PathBuf,
    /// The tests that need two guests.
    pair: PathBuf,
    /// What the tests run as a user would.
    others: Vec<(PathBuf, String)>,
}

impl Programs {
    /// As members of the workspace, like the tests on the host: for a package alone fewer features
    /// are asked for, and cargo builds anew what they share.
    fn build() -> Result<Self> {
        let targets = ["--test", TARGET, "--test", PAIR, "--no-run"];
        let built = cargo::build(&[&["test", "--workspace"][..], &targets].concat())?;
        let find = |name| {
            let found = built.iter().find(|it| it.name == name);
            found
                .map(|it| it.path.clone())
                .with_context(|| format!("cargo built no {name}"))
        };
        let (tests, pair) = (find(TARGET)?, find(PAIR)?);
        let others = cargo::build(&["build", "--workspace", "--examples", "--bins"])?;
        let others = others
            .into_iter()
            .filter(|it| it.name != TASKS)
            .map(|it| (it.path, it.name))
            .collect();
        Ok(Self {
            tests,
            pair,
            others,
        })
    }
}

/// The names of a program's tests, of those that the filter leaves.
fn names(program: &Path, options: &Options) -> Result<Vec<String>> {
    let output = Command::new(program)
        .arg("--list")
        .args(&options.filter)
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    ensure!(
        output.status.success(),
        "{} does not list its tests: {}",
        program.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    let names = String::from_utf8(output.stdout)?;
    let names = names.lines().filter_map(|line| line.strip_suffix(": test"));
    Ok(names.map(str::to_owned).collect())
}

/// Some of the tests of a version, in a guest of their own.
struct Part<'g> {
    guest: &'g Guest,
    /// What the lines of its output begin with.
    name: String,
    tests: Vec<String>,
}

impl<'g> Part<'g> {
    /// Neighbours in the list take about as long as each other, so they are dealt out like cards.
    fn all(guests: &'g [Guest], tests: &[String]) -> Vec<Self> {
        let parts = if tests.len() < ONE_GUEST { 1 } else { PARTS };
        let mut all = Vec::new();
        for guest in guests {
            for part in 0..parts {
                let version = guest.version().name();
                let tests = tests.iter().skip(part).step_by(parts);
                all.push(Self {
                    guest,
                    name: match parts {
                        1 => version.to_owned(),
                        _ => format!("{version}, {} of {parts}", part + 1),
                    },
                    tests: tests.cloned().collect(),
                });
            }
        }
        all
    }

    fn place(&self) -> String {
        format!("OpenZFS {}", self.guest.version().name())
    }
}

/// Tests often wait for the pool, so more of them at once than there are processors pay.
fn threads() -> OsString {
    let threads = std::env::var("HELIX_ZFS_TEST_THREADS").unwrap_or_else(|_| "3".to_owned());
    format!("--test-threads={threads}").into()
}

fn guest_tests(
    guests: &[Guest],
    programs: &Programs,
    options: &Options,
    total: &mut Total,
) -> Result<()> {
    let tests = names(&programs.tests, options)?;
    if tests.is_empty() && options.filter.is_some() {
        return Ok(());
    }
    let parts = Part::all(guests, &tests);
    let next = Mutex::new(parts.iter());
    let total = Mutex::new(total);
    std::thread::scope(|scope| {
        for _ in 0..guests_at_once().min(parts.len()) {
            scope.spawn(|| {
                loop {
                    let part = setup::lock(&next).next();
                    let Some(part) = part else { break };
                    let mut sum = Total::default();
                    if let Err(error) = guest_suite(part, programs, &mut sum) {
                        sum.fail(format!("{error:#} ({})", part.name));
                    }
                    let mut total = setup::lock(&total);
                    total.counts += sum.counts;
                    total.failures.append(&mut sum.failures);
                }
            });
        }
    });
    Ok(())
}

/// Runs the tests of two guests, each version with the next one.
fn pair_tests(
    guests: &[Guest],
    programs: &Programs,
    options: &Options,
    total: &mut Total,
) -> Result<()> {
    if names(&programs.pair, options)?.is_empty() && options.filter.is_some() {
        return Ok(());
    }
    let run = RunDir::new()?;
    let program = run.path().join(PAIR);
    strip(&programs.pair, &program)?;
    let mut command = vec![program.into()];
    command.extend(options.filter.as_ref().map(OsString::from));
    for (first, second) in guests.iter().zip(guests.iter().cycle().skip(1)) {
        let verdict = pair::test([first, second], &command)?;
        total.add(&verdict.place, &verdict.program);
        for problem in verdict.problems {
            total.fail(problem);
        }
    }
    Ok(())
}

/// How many failed tests of a guest are run again. More than these are no accident of timing.
const AGAIN: usize = 8;

/// Runs the tests in a guest. A few that failed are run again, one by one in a guest of their own:
/// the clocks of an emulated guest stand still and jump when its host is busy. What fails again has
/// failed; what passes then is told, and counts as passed.
fn guest_suite(part: &Part<'_>, programs: &Programs, total: &mut Total) -> Result<()> {
    let place = part.place();
    let run = RunDir::new()?;
    let mut suite = guest_run(part, programs, &run, threads(), &part.tests)?;
    let first_failed = suite.program.counts.failed;
    let failed = suite.program.failures.clone();
    if !failed.is_empty() && failed.len() <= AGAIN && suite.counted_all() {
        let again = guest_run(part, programs, &run, "--test-threads=1".into(), &failed)?;
        if again.counted_all() && again.program.counts.passed > 0 {
            for name in failed
                .iter()
                .filter(|name| !again.program.failures.contains(name))
            {
                println!("UNSTEADY: {name} ({place}) failed, and passed when run again alone");
            }
            suite.program.counts.passed += again.program.counts.passed;
            suite.program.counts.failed = again.program.counts.failed;
            suite.program.failures = again.program.failures;
        }
    }
    total.add(&place, &suite.program);
    let counts = suite.program.counts;
    let name = &part.name;
    match suite.outcome {
        Outcome::Exited(status) if status != 0 && first_failed == 0 => {
            total.fail(format!("the tests died with status {status} ({name})"));
        }
        Outcome::Exited(_) => {
            let ran = counts.passed + counts.failed + counts.skipped;
            let meant = part.tests.len();
            if ran != meant as u64 {
                total.fail(format!("{ran} of {meant} tests were run ({name})"));
            }
        }
        Outcome::TimedOut => total.fail(format!("the tests timed out ({name})")),
        Outcome::Died => total.fail(format!("the guest failed ({name})")),
    }
    Ok(())
}

/// How a run of the tests in a guest ended.
struct Suite {
    program: Program,
    outcome: Outcome,
}

impl Suite {
    /// Whether the program came to its end, so that no test is missing from its counts.
    fn counted_all(&self) -> bool {
        matches!(self.outcome, Outcome::Exited(_)) && !self.program.line.is_empty()
    }
}

fn guest_run(
    part: &Part<'_>,
    programs: &Programs,
    run: &RunDir,
    threads: OsString,
    tests: &[String],
) -> Result<Suite> {
    let name = &part.name;
    let program = run.path().join(PROGRAM);
    strip(&programs.tests, &program)?;
    let mut command = vec![program.into(), threads, "--exact".into()];
    command.extend(tests.iter().map(OsString::from));
    let mut job = Job::new(command);
    for (path, other) in &programs.others {
        let stripped = run.path().join(other);
        strip(path, &stripped)?;
        job.files.push((stripped, format!("programs/{other}")));
    }
    job.env(PROGRAMS, "/helix/files/programs");
    job.env("RUST_BACKTRACE", "1");
    for name in LENGTHS {
        if let Some(length) = std::env::var_os(name) {
            job.env(name, length);
        }
    }
    job.memory_mib = 3072;
    job.disks = vec![4 << 30; 4];
    job.timeout = TIMEOUT;
    let _bao = bao::give(&mut job)?;

    eprintln!("tests on real ZFS: guest {name} ...");
    let results = Mutex::new(Results::default());
    let mut stdout = LineSplitter::default();
    let mut stderr = LineSplitter::default();
    let report = job.run(
        part.guest,
        &mut |bytes| {
            stdout.feed(bytes, &mut |line| {
                setup::lock(&results).read(line);
                print_line(name, line);
            });
        },
        &mut |bytes| stderr.feed(bytes, &mut |line| print_line(name, line)),
    )?;
    stdout.finish(&mut |line| print_line(name, line));
    stderr.finish(&mut |line| print_line(name, line));
    for line in report.console.lines() {
        print_line(name, &format!("console: {line}"));
    }
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    // Tests may start this program again for processes of their own: the last result is the whole.
    let program = results.programs.last().cloned().unwrap_or_default();
    if !program.line.is_empty() {
        println!("[{name}] the result:\n{}", program.line);
    }
    eprintln!(
        "guest {name}: {} in {:.0} s",
        program.counts, report.seconds
    );
    Ok(Suite {
        program,
        outcome: report.outcome,
    })
}

impl Options {
    fn parse(mut arguments: lexopt::Parser) -> Result<Self> {
        let mut options = Self {
            versions: Vec::new(),
            host_only: false,
            native: false,
            filter: None,
        };
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("zfs") => {
                    let text = arguments.value()?.string()?;
                    options.versions.extend(Version::parse(&text)?);
                }
                Long("host") => options.host_only = true,
                Long("native") => options.native = true,
                Value(filter) if options.filter.is_none() => {
                    options.filter = Some(filter.string()?);
                }
                other => return Err(other.unexpected().into()),
            }
        }
        if options.versions.is_empty() {
            options.versions.push(Version::V2_1);
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::Options;

    #[test]
    fn options_are_read() {
        let parse = |arguments: &[&str]| Options::parse(lexopt::Parser::from_args(arguments));
        let options = parse(&["--zfs", "all", "snapshot"]).unwrap();
        assert_eq!(options.versions.len(), 3);
        assert_eq!(options.filter.as_deref(), Some("snapshot"));
        assert_eq!(parse(&[]).unwrap().versions.len(), 1);
        assert!(parse(&["a", "b"]).is_err());
    }
}
