//! Makes a pool that is a mirror of two or more devices, and shows what became of it.
//!
//! ```text
//! cargo run --example zpool_create_mirror -- tank /dev/disk/by-id/a /dev/disk/by-id/b
//! cargo run --example zpool_create_mirror -- --overwrite tank /dev/disk/by-id/a /dev/disk/by-id/b
//! ```
//!
//! The devices are block devices or files. Those that hold something are refused; with
//! `--overwrite` they are taken, unless they are in use. Nothing is mounted: filesystems that are
//! made in the pool have no mount points until they are given some. It needs root.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use std::error::Error;
use std::process::ExitCode;

use helix_zfs::zfs_core::Zfs;
use helix_zfs::zfs_core::pool::{CreatePool, Layout, PoolPropertySet, VdevSpec};
use helix_zfs::zfs_core::props::{Atime, Compression, Mountpoint};

const USAGE: &str = "usage: zpool_create_mirror [--overwrite] POOL DEVICE DEVICE...";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zpool_create_mirror: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (overwrite, arguments) = match arguments.split_first() {
        Some((first, rest)) if first == "--overwrite" => (true, rest),
        _ => (false, arguments.as_slice()),
    };
    let [name, devices @ ..] = arguments else {
        return Err(USAGE.into());
    };
    if devices.len() < 2 {
        return Err(USAGE.into());
    }

    let layout = Layout::from(VdevSpec::mirror(devices)).ashift(12);
    let mut options = CreatePool::new(layout)
        .properties(PoolPropertySet::new().autotrim(true))
        .set(Compression::Lz4)
        .set(Atime(false))
        .set(Mountpoint::new("none")?);
    if overwrite {
        options = options.overwrite();
    }
    let pool = Zfs::open()?.create_pool(name, &options)?;

    let status = pool.status()?;
    println!("{}: {}", pool.name(), status.health);
    for vdev in status.root.walk().skip(1) {
        println!("  {vdev} {}", vdev.health());
    }
    if let Some(free) = pool.properties()?.free() {
        println!("  {} MiB free", free >> 20);
    }
    Ok(())
}
