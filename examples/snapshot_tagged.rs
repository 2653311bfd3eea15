//! Takes a guard rail: a snapshot of every tenant below a dataset, in one transaction, tagged with
//! the commit that is about to be deployed.
//!
//! ```text
//! cargo run --example snapshot_tagged -- tank/tenants deploy-42 4be1f2c 17
//! ```
//!
//! The last argument, the revision of the Helm release that is replaced, may be left out. The
//! snapshots are held until the guard rail is removed. It needs root, or the delegated permissions
//! `snapshot`, `userprop` and `hold`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

#[path = "gate/mod.rs"]
mod gate;

use std::error::Error;
use std::process::ExitCode;

use helix_zfs::gate::Operation;
use helix_zfs::zfs_core::Zfs;
use helix_zfs::{Change, GuardRail, Tenant};

const USAGE: &str = "usage: snapshot_tagged PARENT NAME GIT_SHA [HELM_REVISION]";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("snapshot_tagged: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (parent, name, sha, revision) = match arguments.as_slice() {
        [parent, name, sha] => (parent, name, sha, None),
        [parent, name, sha, revision] => (parent, name, sha, Some(revision)),
        _ => return Err(USAGE.into()),
    };
    let mut change = Change::new().git_sha(sha);
    if let Some(revision) = revision {
        change = change.helm_revision(revision.parse()?);
    }

    let zfs = Zfs::open()?;
    let tenants = zfs.dataset(parent)?;
    let gate = gate::OwnGate::open(&zfs)?;
    let take = gate.capability(Operation::TakeGuardRail, tenants.name())?;
    let tenants = Tenant::list(&tenants)?;
    if tenants.is_empty() {
        return Err(format!("{parent} has no tenants").into());
    }
    let guard_rail = GuardRail::take(&take, &zfs, &tenants, name, &change)?;
    for snapshot in guard_rail.snapshots() {
        println!("{}", snapshot.name());
    }
    println!(
        "{} snapshots in transaction group {}",
        guard_rail.snapshots().len(),
        guard_rail.txg()
    );
    Ok(())
}
