//! Lists a dataset and what is below it, with its snapshots and guard rails.
//!
//! ```text
//! cargo run --example list -- tank/tenants
//! ```
//!
//! It needs no privileges.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use std::error::Error;
use std::process::ExitCode;

use helix_zfs::GuardRail;
use helix_zfs::zfs_core::{Dataset, SnapshotFilter, Zfs};

const USAGE: &str = "usage: list DATASET";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("list: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name] = arguments.as_slice() else {
        return Err(USAGE.into());
    };
    let zfs = Zfs::open()?;
    let top = zfs.dataset(name)?;
    println!(
        "{:<44} {:>12} {:>12}  KIND",
        "NAME", "USED (KiB)", "REFER (KiB)"
    );
    print(&top)?;
    for entry in top.descendants()? {
        print(&zfs.dataset(entry.name.as_str())?)?;
    }
    for guard_rail in GuardRail::list(&top)? {
        println!(
            "guard rail {}: {} snapshots in transaction group {}, before {}",
            guard_rail.name(),
            guard_rail.snapshots().len(),
            guard_rail.txg(),
            guard_rail
                .change()
                .git_sha
                .as_deref()
                .unwrap_or("an unnamed commit")
        );
    }
    Ok(())
}

fn print(dataset: &Dataset) -> Result<(), Box<dyn Error>> {
    let line = |name: &str, used: u64, referenced: u64, kind: &str| {
        println!(
            "{name:<44} {:>12} {:>12}  {kind}",
            used >> 10,
            referenced >> 10
        );
    };
    let props = dataset.properties()?;
    let kind = match props.origin() {
        Some(origin) => format!("clone of {origin}"),
        None => props.kind().to_string(),
    };
    line(
        dataset.name().as_str(),
        props.used(),
        props.referenced(),
        &kind,
    );
    for (entry, props) in dataset.snapshots_with_properties(&SnapshotFilter::new())? {
        line(
            entry.name.as_str(),
            props.used(),
            props.referenced(),
            "snapshot",
        );
    }
    Ok(())
}
