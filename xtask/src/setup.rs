//! `cargo xtask setup`: the host's packages, the guests, and the servers that tests need.

use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, Result};
use lexopt::prelude::*;

use crate::guest::{self, Check, Guest, Version};
use crate::host;

/// A guest's build is mostly a parallel compilation; more at once gain nothing.
const BUILDS_AT_ONCE: usize = 2;

pub(crate) fn run(mut arguments: lexopt::Parser) -> Result<ExitCode> {
    let mut versions = Vec::new();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("zfs") => versions.extend(Version::parse(&arguments.value()?.string()?)?),
            other => return Err(other.unexpected().into()),
        }
    }
    if versions.is_empty() {
        versions.push(Version::V2_1);
    }
    let start = Instant::now();
    for guest in ready(&versions, Check::Full)? {
        println!(
            "guest {} is ready: {}",
            guest.version().name(),
            guest.packages()?
        );
    }
    let bao = servers::bao::install()?;
    println!(
        "OpenBao {} is ready: {}",
        servers::bao::VERSION,
        bao.display()
    );
    println!("setup: all is ready ({} s)", start.elapsed().as_secs());
    Ok(ExitCode::SUCCESS)
}

/// Makes the host and the guests of these versions ready; the guests come back in that order.
pub(crate) fn ready(versions: &[Version], check: Check) -> Result<Vec<Guest>> {
    host::install_packages()?;
    let mut wanted: Vec<Version> = Vec::new();
    for version in versions {
        if !wanted.contains(version) {
            wanted.push(*version);
        }
    }
    let next = Mutex::new(wanted.iter().copied().enumerate());
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..BUILDS_AT_ONCE.min(wanted.len()) {
            scope.spawn(|| {
                loop {
                    let item = lock(&next).next();
                    let Some((at, version)) = item else { break };
                    let guest = guest::ensure(version, check)
                        .with_context(|| format!("guest {} is not ready", version.name()));
                    lock(&done).push((at, guest));
                }
            });
        }
    });
    let mut done = done
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, guest)| guest).collect()
}

/// Makes the host and one guest ready.
pub(crate) fn ready_one(version: Version) -> Result<Guest> {
    ready(&[version], Check::Quick)?
        .pop()
        .context("there is no guest")
}

/// What a panicking thread left behind is still good here: it only counts and lists.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
