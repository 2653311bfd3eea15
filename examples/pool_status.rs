//! Shows the pools of this machine, or one of them, with their devices.
//!
//! ```text
//! cargo run --example pool_status -- tank
//! ```
//!
//! The exit status is 0 when every pool shown is healthy, 2 when one is not, and 1 on an error. It
//! needs no privileges.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use std::error::Error;
use std::process::ExitCode;

use helix_zfs::zfs_core::{Health, Pool, Vdev, Zfs};

const USAGE: &str = "usage: pool_status [POOL]";

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            eprintln!("pool_status: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let zfs = Zfs::open()?;
    let pools = match arguments.as_slice() {
        [] => zfs.pools()?.into_iter().map(|entry| entry.pool).collect(),
        [name] => vec![zfs.pool(name)?],
        _ => return Err(USAGE.into()),
    };
    let mut healthy = true;
    for pool in &pools {
        healthy &= show(pool)? == Health::Online;
    }
    Ok(healthy)
}

fn show(pool: &Pool) -> Result<Health, Box<dyn Error>> {
    let status = pool.status()?;
    let props = pool.properties()?;
    println!("{}: {}", pool.name(), status.health);
    if let (Some(size), Some(free)) = (props.size(), props.free()) {
        println!("  {} MiB free of {} MiB", free >> 20, size >> 20);
    }
    if let Some(errors) = status.error_count.filter(|&errors| errors > 0) {
        println!("  {errors} damaged blocks: see zpool status -v");
    }
    for vdev in &status.root.children {
        show_vdev(vdev, 1);
    }
    Ok(status.health)
}

fn show_vdev(vdev: &Vdev, depth: usize) {
    println!("{:indent$}{vdev} {}", "", vdev.health(), indent = 2 * depth);
    for child in &vdev.children {
        show_vdev(child, depth + 1);
    }
}
