//! Tells the story, keeps the checks and times the steps.

use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

use helix_zfs::zfs_core::ErrorKind;

pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

pub(crate) struct Story {
    begun: Instant,
    steps: Vec<Step>,
    checks: usize,
}

struct Step {
    title: &'static str,
    took: Duration,
    figures: String,
}

impl Story {
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            steps: Vec::new(),
            checks: 0,
        }
    }

    /// Tells one step. `action` returns its figures for the table.
    pub(crate) fn step<T>(
        &mut self,
        title: &'static str,
        action: impl FnOnce(&mut Self) -> Result<(T, String)>,
    ) -> Result<T> {
        println!("\n{}. {title}", self.steps.len() + 1);
        let begun = Instant::now();
        let outcome = action(self);
        let took = begun.elapsed();
        let (outcome, figures) = match outcome {
            Ok((value, figures)) => (Ok(value), figures),
            Err(error) => (Err(error), String::from("did not hold")),
        };
        self.steps.push(Step {
            title,
            took,
            figures,
        });
        outcome.map_err(|error| format!("{title}: {error}").into())
    }

    pub(crate) fn say(&self, text: impl fmt::Display) {
        println!("   {text}");
    }

    /// Checks something against the kernel's answer.
    pub(crate) fn check(&mut self, holds: bool, what: impl fmt::Display) -> Result {
        if !holds {
            return Err(format!("this should hold and does not: {what}").into());
        }
        self.checks += 1;
        println!("   [ok] {what}");
        Ok(())
    }

    /// Checks that two things are the same.
    pub(crate) fn same<T: PartialEq + fmt::Debug>(
        &mut self,
        what: impl fmt::Display,
        found: T,
        expected: T,
    ) -> Result {
        if found != expected {
            return Err(format!("{what}: {found:?} instead of {expected:?}").into());
        }
        self.check(true, what)
    }

    /// Checks that ZFS refused something, and for this reason.
    pub(crate) fn refused<T>(
        &mut self,
        what: &str,
        result: std::result::Result<T, impl Into<helix_zfs::Error>>,
        kind: ErrorKind,
    ) -> Result {
        match result.map_err(Into::into) {
            Ok(_) => Err(format!("{what} was not refused").into()),
            Err(error) if error.kind() == kind => {
                self.check(true, format_args!("{what} is refused: {kind}"))
            }
            Err(error) => Err(format!("{what}: another error than expected: {error}").into()),
        }
    }

    pub(crate) fn table(&self) {
        if self.steps.is_empty() {
            return;
        }
        println!("\n  # {:<42} {:>7}   FIGURES", "STEP", "TIME");
        for (number, step) in (1..).zip(&self.steps) {
            let Step {
                title,
                took,
                figures,
            } = step;
            println!(
                "{number:>3} {title:<42} {:>5.1} s   {figures}",
                took.as_secs_f64()
            );
        }
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} steps and {} checks in {:.0} s",
            self.steps.len(),
            self.checks,
            self.begun.elapsed().as_secs_f64()
        )
    }
}

/// A number of bytes for people.
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes @ 0..1024 => write!(f, "{bytes} B"),
            bytes @ 1024..0x10_0000 => write!(f, "{} KiB", bytes >> 10),
            bytes => {
                let tenths = (bytes >> 10) * 10 / 1024;
                write!(f, "{}.{} MiB", tenths / 10, tenths % 10)
            }
        }
    }
}
