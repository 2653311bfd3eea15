//! What needs two machines: `cargo xtask test` runs this program in two guests that are joined by
//! a wire, in both at once, and `cargo xtask pair` runs it by itself.
//!
//! It prints what Rust's test programs print, so that its tests are counted as theirs are. They run
//! one after the other, the same one on both machines, and the first that fails is the last.

#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

#[path = "../../examples/gate/mod.rs"]
mod gate;
mod machine;
mod replication;
mod takeover;

use machine::Machine;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

type Test = (&'static str, fn(&mut Machine));

const TESTS: &[Test] = &[
    (
        "replication::an_increment_over_the_wire",
        replication::an_increment_over_the_wire,
    ),
    (
        "replication::a_target_that_loses_its_power_goes_on",
        replication::a_target_that_loses_its_power_goes_on,
    ),
    (
        "takeover::a_source_that_loses_its_power_returns_as_a_replica",
        takeover::a_source_that_loses_its_power_returns_as_a_replica,
    ),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let chosen = TESTS.iter().filter(|(name, _)| match filter {
        Some(filter) => name.contains(filter.as_str()),
        None => true,
    });
    if arguments.iter().any(|argument| argument == "--list") {
        for (name, _) in chosen {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }

    let mut machine = Machine::new();
    let mut passed = 0;
    let mut failed = None;
    // After a power cut, the tests before the one that was cut have passed: see above.
    let mut resume = std::env::var("HELIX_PAIR_RESUME").unwrap_or_default();
    for (name, test) in chosen {
        if resume.is_empty() || resume == *name {
            resume.clear();
            machine.begin(name);
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                machine.meet();
                test(&mut machine);
                machine.meet();
            }));
            if outcome.is_err() {
                println!("test {name} ... FAILED");
                failed = Some(name);
                break;
            }
            println!("test {name} ... ok");
        }
        passed += 1;
    }

    let verdict = match failed {
        Some(name) => {
            println!("\nfailures:\n    {name}\n");
            "FAILED"
        }
        None => "ok",
    };
    let failures = usize::from(failed.is_some());
    println!("test result: {verdict}. {passed} passed; {failures} failed; 0 ignored");
    match failed {
        Some(_) => ExitCode::FAILURE,
        None => ExitCode::SUCCESS,
    }
}
