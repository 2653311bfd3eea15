//! Tells which tenants are about to run out of space, before their writes fail.
//!
//! ```text
//! cargo run --example quota_watch -- tank/tenants 80
//! ```
//!
//! It looks at every dataset below the given one, and is meant for a timer or a probe: the exit
//! status is 0 when all have room, 2 when one has used more than the given part of its limit (in
//! percent, 80 unless told otherwise), 3 when one is at its limit, and 1 on an error. It needs no
//! privileges.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use std::error::Error;
use std::process::ExitCode;

use helix_zfs::zfs_core::Zfs;
use helix_zfs::{QuotaState, Room};

const USAGE: &str = "usage: quota_watch PARENT [PERCENT]";

fn main() -> ExitCode {
    match run() {
        Ok(QuotaState::Ok) => ExitCode::SUCCESS,
        Ok(QuotaState::Near) => ExitCode::from(2),
        Ok(QuotaState::Exceeded) => ExitCode::from(3),
        Err(error) => {
            eprintln!("quota_watch: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<QuotaState, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (parent, threshold) = match arguments.as_slice() {
        [parent] => (parent, 80),
        [parent, percent] => (parent, percent.parse()?),
        _ => return Err(USAGE.into()),
    };
    let zfs = Zfs::open()?;
    let mut worst = QuotaState::Ok;
    println!(
        "{:<40} {:>5} {:>12}  STATE",
        "DATASET", "USED", "LEFT (KiB)"
    );
    for entry in zfs.dataset(parent)?.descendants()? {
        let room = Room::of(&zfs.dataset(entry.name.as_str())?)?;
        let state = room.state(threshold);
        worst = worst.max(state);
        println!(
            "{:<40} {:>4}% {:>12}  {state} ({})",
            entry.name.as_str(),
            room.percent(),
            room.available() >> 10,
            room.limit()
        );
    }
    Ok(worst)
}
