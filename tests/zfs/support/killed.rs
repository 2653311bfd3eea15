//! Processes that die by SIGKILL at a chosen step.
//!
//! A test starts itself again for each step, and the new process does the work:
//!
//! ```ignore
//! #[test]
//! fn apply_is_finished_after_a_kill() {
//!     if let Some(mut countdown) = killed::in_the_process() {
//!         let pool = killed::argument();
//!         apply(&pool, &mut |_step| countdown.tick());
//!         return;
//!     }
//!     for step in 0.. {
//!         let ended = killed::run("layout::apply_is_finished_after_a_kill", step, pool.name());
//!         // … what must hold now, and then the next run in this process …
//!         if ended == Ended::Finished { break }
//!     }
//! }
//! ```

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

const STEP: &str = "HELIX_ZFS_DIES_AT";
const ARGUMENT: &str = "HELIX_ZFS_DIES_WITH";

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was killed at its step.
    Killed,
    /// It had fewer steps than that.
    Finished,
}

/// Counts the steps of a process that is to die.
#[derive(Debug)]
pub(crate) struct Countdown(u32);

impl Countdown {
    /// Another step: the process dies here if it is the one.
    pub(crate) fn tick(&mut self) {
        match self.0.checked_sub(1) {
            Some(left) => self.0 = left,
            None => {
                let this = rustix::process::getpid();
                rustix::process::kill_process(this, rustix::process::Signal::KILL)
                    .expect("a signal to this process");
            }
        }
    }
}

/// The countdown, in a process that [`run`] started.
pub(crate) fn in_the_process() -> Option<Countdown> {
    let step = std::env::var(STEP).ok()?;
    Some(Countdown(step.parse().expect("a number")))
}

/// What [`run`] gave the process to work on.
pub(crate) fn argument() -> String {
    std::env::var(ARGUMENT).expect("set by the parent")
}

/// Runs the test `name`, a full path within this program, as a process that dies at `step`.
pub(crate) fn run(name: &str, step: u32, argument: &str) -> Ended {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", name, "--test-threads=1", "--nocapture"])
        .env(STEP, step.to_string())
        .env(ARGUMENT, argument)
        .output()
        .expect("a process");
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.signal() == Some(9) {
        return Ended::Killed;
    }
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{name} at step {step}: {}\n{text}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ended::Finished
}
