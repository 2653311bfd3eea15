//! Runs a load test on a read-only clone of production data, and removes the clone.
//!
//! ```text
//! cargo run --example clone_for_test -- tank/tenants/acme@deploy-42 tank/load/acme \
//!     sh -c 'mount -t zfs "$HELIX_CLONE" /mnt && ./load-test /mnt; umount /mnt'
//! ```
//!
//! The command finds the clone's name in `HELIX_CLONE`, and its exit status is that of this
//! program. The clone shares all its blocks with the snapshot: making it takes no space and next to
//! no time, however much data there is. It needs root, or the delegated permissions `clone`,
//! `create`, `mount`, `readonly`, `mountpoint` and `destroy`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use std::error::Error;
use std::process::{Command, ExitCode};

use helix_zfs::zfs_core::Zfs;
use helix_zfs::zfs_core::props::{Mountpoint, PropertySet, ReadOnly};

const USAGE: &str = "usage: clone_for_test SNAPSHOT CLONE COMMAND [ARGUMENTS]";

fn main() -> ExitCode {
    match run() {
        Ok(status) => status,
        Err(error) => {
            eprintln!("clone_for_test: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [snapshot, clone, command, arguments @ ..] = arguments.as_slice() else {
        return Err(USAGE.into());
    };
    let zfs = Zfs::open()?;
    let snapshot = zfs.snapshot(snapshot)?;
    let clone = zfs.dataset(clone)?;
    let props = PropertySet::new()
        .set(ReadOnly(true))
        .set(Mountpoint::new("legacy")?);
    let clone = snapshot.clone_to(clone.name(), &props)?;
    let before = clone.properties()?;
    println!(
        "{}: {} KiB of data in a clone of {} KiB",
        clone.name(),
        before.referenced() >> 10,
        before.used() >> 10
    );

    let status = Command::new(command)
        .args(arguments)
        .env("HELIX_CLONE", clone.name().as_str())
        .status();
    // Whatever came of the command, the clone goes.
    clone.destroy()?;
    println!("{}: removed", clone.name());

    let status = status.map_err(|error| format!("{command}: {error}"))?;
    // A command that a signal ended has no status.
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
