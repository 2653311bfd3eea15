//! What Rust's test programs print.

use std::fmt;
use std::ops::AddAssign;

/// The numbers of a `test result:` line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(
            formatter,
            "{passed} passed, {failed} failed, {skipped} skipped"
        )
    }
}

/// A test program that came to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) counts: Counts,
    /// The names of the tests that failed.
    pub(crate) failures: Vec<String>,
    /// Its `test result:` line.
    pub(crate) line: String,
}

/// Reads the output of test programs line by line.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) programs: Vec<Program>,
    /// The names under the latest `failures:`; there are two such headings, and the second is
    /// followed by the names alone.
    listed: Option<Vec<String>>,
}

impl Results {
    pub(crate) fn read(&mut self, line: &str) {
        if let Some(counts) = result_line(line) {
            self.programs.push(Program {
                counts,
                failures: self.listed.take().unwrap_or_default(),
                line: line.to_owned(),
            });
        } else if line == "failures:" {
            self.listed = Some(Vec::new());
        } else if let (Some(listed), Some(name)) = (&mut self.listed, line.strip_prefix("    ")) {
            listed.push(name.to_owned());
        } else if !line.is_empty() {
            self.listed = None;
        }
    }
}

/// The counts of `test result: ok. 5 passed; 0 failed; 1 ignored; …`.
pub(crate) fn result_line(line: &str) -> Option<Counts> {
    let (_, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut counts = Counts::default();
    for part in numbers.split("; ") {
        match part.split_once(' ')? {
            (number, "passed") => counts.passed = number.parse().ok()?,
            (number, "failed") => counts.failed = number.parse().ok()?,
            (number, "ignored") => counts.skipped = number.parse().ok()?,
            _ => {}
        }
    }
    Some(counts)
}

#[cfg(test)]
mod tests {
    use super::{Counts, Results, result_line};

    #[test]
    fn result_lines_are_read() {
        let line = "test result: FAILED. 5 passed; 2 failed; 1 ignored; 0 measured; \
                    3 filtered out; finished in 0.05s";
        assert_eq!(
            result_line(line),
            Some(Counts {
                passed: 5,
                failed: 2,
                skipped: 1
            })
        );
        assert_eq!(result_line("test result: nothing of the kind"), None);
        assert_eq!(result_line("a test result: ok. 1 passed; 0 failed"), None);
        assert_eq!(
            result_line(line).unwrap().to_string(),
            "5 passed, 2 failed, 1 skipped"
        );
    }

    #[test]
    fn programs_have_counts_and_named_failures() {
        let output = "\nrunning 3 tests\ntest a::one ... ok\ntest a::two ... FAILED\n\
                      test three ... FAILED\n\nfailures:\n\n---- a::two stdout ----\n\n\
                      thread 'a::two' panicked at tests/x.rs:1:1:\n    not a name\n\
                      failures:\n    not the last list\nother\n\n\
                      failures:\n    a::two\n    three\n\n\
                      test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered \
                      out; finished in 0.00s\n\nrunning 1 test\ntest b ... ok\n\n\
                      test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n";
        let mut results = Results::default();
        for line in output.lines() {
            results.read(line);
        }
        let [first, second] = results.programs.try_into().unwrap();
        assert_eq!(first.failures, ["a::two", "three"]);
        assert_eq!(first.counts.to_string(), "1 passed, 2 failed, 0 skipped");
        assert!(first.line.starts_with("test result: FAILED. 1 passed"));
        assert!(second.failures.is_empty());
        assert_eq!(second.counts.to_string(), "1 passed, 0 failed, 1 skipped");
    }
}
