//! The tour: a day of Helix's storage on a pool of the tour's own, told as a story with figures.
//!
//! ```text
//! cargo xtask demo                  # in a guest with real ZFS, on any machine
//! cargo run --example tour          # as root, on a machine that has ZFS
//! ```
//!
//! It makes a pool on files in the temporary folder (`TMPDIR`), through loopback devices unless
//! `HELIX_ZFS_NATIVE` is set, and touches nothing else. Every step checks what it did against what
//! the kernel says. When one does not hold, the tour says which, removes its pool and ends with the
//! exit status 1.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

mod files;
#[path = "../gate/mod.rs"]
mod gate;
mod jobs;
mod keys;
mod limits;
mod load_test;
mod release;
mod stage;
mod staging;
mod story;
mod tenants;

use std::process::ExitCode;

use helix_zfs::zfs_core::Zfs;

use crate::release::Release;
use crate::stage::Stage;
use crate::story::{Result, Story};
use crate::tenants::Fleet;

fn main() -> ExitCode {
    let mut story = Story::new();
    match tell(&mut story) {
        Ok(place) => {
            story.table();
            println!("\nThe tour held: {story}, on OpenZFS {place}.");
            ExitCode::SUCCESS
        }
        Err(error) => {
            story.table();
            println!("\nThe tour did NOT hold: {error}");
            eprintln!("tour: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What is made here removes itself when a step fails, the last one first.
fn tell(story: &mut Story) -> Result<String> {
    let zfs = Zfs::open()?;
    let place = zfs.capabilities()?.module.text;
    println!("A tour of Helix's storage, on OpenZFS {place}.");

    let stage = Stage::build(story, &zfs)?;
    let mut fleet = Fleet::create(story, &stage)?;
    fleet.fill(story, &stage)?;
    jobs::ask_at_once(story, &stage, &fleet)?;
    let release = Release::protect(story, &stage, &fleet)?;
    release.hold_while_it_runs(story, &zfs)?;
    release.migrate_and_roll_back(story, &stage, &fleet)?;
    limits::reach_the_quota(story, &stage, &fleet)?;
    load_test::run(story, &stage, &fleet)?;
    keys::lock_and_unlock(story, &stage, &mut fleet)?;
    staging::promote(story, &stage, &mut fleet)?;
    release.retire(story, &stage)?;
    drop(fleet);
    stage.remove(story)?;
    Ok(place)
}
