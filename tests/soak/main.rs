//! An hour in the life of a source and its replica: `cargo xtask soak` runs it in a guest.
//!
//! Two nodes, each a process with a pool of its own, write, take snapshots, replicate, rotate keys and
//! take over from each other, as the state machine says. This process kills them at random moments
//! and starts them again, asks for promotions, and stays away long enough that they happen by
//! themselves. It notes each snapshot that a node tells it is acknowledged, with its content digest;
//! at the end every one of them must be there, with that digest.

#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a soak that cannot go on fails"
)]

mod control;
mod node;
mod notes;
mod place;

use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [role, name, folder] = arguments.as_slice() {
        if role == "--node" {
            node::run(name, folder.as_ref());
        }
    }
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    let minutes = value("--minutes").unwrap_or(60);
    let seed = value("--seed").unwrap_or(6);
    println!("soak: {minutes} minutes, seed {seed}");
    if control::run(Duration::from_secs(60 * minutes), seed) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Numbers that look random and are the same for the same seed (SplitMix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of `0..sides`.
    pub(crate) fn of(&mut self, sides: u64) -> u64 {
        self.throw() % sides
    }
}
