//! `cargo xtask pair`: one program in two guests that are joined by a wire.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lexopt::prelude::*;

use crate::guest::{Check, Guest, Version};
use crate::job::{Job, Report};
use crate::libtest::{Program, Results};
use crate::lines::{LineSplitter, print_line};
use crate::link::{Link, PAIR};
use crate::qemu::Outcome;
use crate::setup;

/// What the two programs are told that they are.
const ROLES: [&str; 2] = ["first", "second"];

/// A test of two guests takes a minute or two; what takes this long hangs.
const TIMEOUT: Duration = Duration::from_secs(600);

pub(crate) fn run(mut arguments: lexopt::Parser) -> Result<ExitCode> {
    let mut versions = [Version::V2_1; 2];
    let mut command: Vec<OsString> = Vec::new();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("zfs") => versions = parse_two(&arguments.value()?.string()?)?,
            Value(program) => {
                command.push(program);
                command.extend(arguments.raw_args()?);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    ensure!(
        !command.is_empty(),
        "pair takes `-- PROGRAM [ARGS]...` to run in both guests"
    );
    let guests = setup::ready(&versions, Check::Quick)?;
    let find = |version| guests.iter().find(|guest| guest.version() == version);
    let [Some(first), Some(second)] = versions.map(find) else {
        bail!("there is no guest");
    };
    let ends = together([first, second], &command)?;
    let mut code = ExitCode::SUCCESS;
    for end in ends {
        eprintln!("pair: {}: {}", end.name, end.verdict());
        if !end.is_fine() {
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

/// `A,B`, or one for both.
fn parse_two(text: &str) -> Result<[Version; 2]> {
    let (first, second) = text.split_once(',').unwrap_or((text, text));
    Ok([Version::parse_one(first)?, Version::parse_one(second)?])
}

/// What the tests of two guests came to.
pub(crate) struct Verdict {
    pub(crate) place: String,
    pub(crate) program: Program,
    /// What is wrong besides failed tests.
    pub(crate) problems: Vec<String>,
}

/// Runs a test program in two guests, and once more when it fails, for the reason that
/// `cargo xtask test` has for tests of one guest.
pub(crate) fn test(guests: [&Guest; 2], command: &[OsString]) -> Result<Verdict> {
    let place = guests.map(|guest| guest.version().name()).join(" with ");
    eprintln!("tests on real ZFS: guests {place} ...");
    let first = judge(&place, together(guests, command)?);
    if first.problems.is_empty() && first.program.counts.failed == 0 {
        return Ok(first);
    }
    let again = judge(&place, together(guests, command)?);
    if again.problems.is_empty() && again.program.counts.failed == 0 {
        for name in first.program.failures.iter().chain(&first.problems) {
            println!("UNSTEADY: {name} ({place}) failed, and passed when run again");
        }
    }
    Ok(again)
}

/// Both run the same tests, so that the first one's count; but the second one's end counts too.
fn judge(place: &str, ends: Vec<End>) -> Verdict {
    let mut problems = Vec::new();
    let mut program = Program::default();
    for end in ends.into_iter().rev() {
        println!("[{}] {}", end.name, end.verdict());
        let told = end.program.counts.failed > 0;
        if !told && (!end.is_fine() || end.program.counts.passed == 0) {
            problems.push(format!("{}: {}", end.name, end.verdict()));
        }
        for name in &end.program.failures {
            if !program.failures.contains(name) {
                program.failures.push(name.clone());
            }
        }
        program.counts = end.program.counts;
    }
    // A test that failed on one machine is one that failed.
    program.counts.failed = program.failures.len() as u64;
    Verdict {
        place: format!("OpenZFS {place}"),
        program,
        problems,
    }
}

/// How it ended in one of the two guests.
struct End {
    /// Such as `2.1 first`.
    name: String,
    report: Report,
    /// What the tests of the program came to, if it is one.
    program: Program,
}

impl End {
    fn is_fine(&self) -> bool {
        matches!(self.report.outcome, Outcome::Exited(0))
    }

    fn verdict(&self) -> String {
        let seconds = self.report.seconds;
        match self.report.outcome {
            Outcome::Exited(status) => format!("exit status {status} ({seconds:.0} s)"),
            Outcome::TimedOut => format!("time-out after {seconds:.0} s"),
            Outcome::Died => format!("the guest failed after {seconds:.0} s"),
        }
    }
}

/// Runs a program in two guests. When it fails in one, the other is cut off.
fn together(guests: [&Guest; 2], command: &[OsString]) -> Result<Vec<End>> {
    // Each guest sends to a port that the other one's machine listens on.
    let ports = [
        servers::port::free_datagram()?,
        servers::port::free_datagram()?,
    ];
    let stop = Arc::new(AtomicBool::new(false));
    std::thread::scope(|scope| {
        let mut running = Vec::new();
        for (at, (guest, role)) in guests.into_iter().zip(ROLES).enumerate() {
            let mut job = Job::new(command.to_vec());
            job.links.extend(Link::to_guest(at, ports));
            job.env("HELIX_PAIR", role);
            let peer = PAIR.iter().rev().nth(at).context("there are two guests")?;
            job.env("HELIX_PAIR_PEER", peer.to_string());
            job.env("RUST_BACKTRACE", "1");
            job.disks = vec![2 << 30; 2];
            job.timeout = TIMEOUT;
            job.power_cuts = true;
            job.stop = Arc::clone(&stop);
            running.push(scope.spawn(move || one(guest, role, &job)));
        }
        running
            .into_iter()
            .map(|thread| match thread.join() {
                Ok(end) => end,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    })
}

fn one(guest: &Guest, role: &str, job: &Job) -> Result<End> {
    let name = format!("{} {role}", guest.version().name());
    let mut results = Results::default();
    let mut stdout = LineSplitter::default();
    let mut stderr = LineSplitter::default();
    let report = job.run(
        guest,
        &mut |bytes| {
            stdout.feed(bytes, &mut |line| {
                results.read(line);
                print_line(&name, line);
            });
        },
        &mut |bytes| stderr.feed(bytes, &mut |line| print_line(&name, line)),
    );
    // An error here is one there as well: the other would wait for this guest.
    if !matches!(&report, Ok(report) if matches!(report.outcome, Outcome::Exited(0))) {
        job.stop.store(true, Ordering::Relaxed);
    }
    let report = report?;
    for line in report.console.lines() {
        print_line(&name, &format!("console: {line}"));
    }
    Ok(End {
        name,
        report,
        program: results.programs.pop().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::parse_two;
    use crate::guest::Version;

    #[test]
    fn versions_come_in_twos() {
        assert_eq!(
            parse_two("2.1,2.3").unwrap(),
            [Version::V2_1, Version::V2_3]
        );
        assert_eq!(parse_two("2.4").unwrap(), [Version::V2_4; 2]);
        for wrong in ["", "2.1,", "2.1,all", "2.1,2.3,2.4"] {
            assert!(parse_two(wrong).is_err(), "{wrong}");
        }
    }
}
