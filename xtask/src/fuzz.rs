//! `cargo xtask fuzz`: the decoders on bytes that libFuzzer thinks of, from real ones on.

use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use lexopt::prelude::*;

use crate::cargo;

/// The programs of fuzz/fuzz_targets, each with the longest input it is worth to try.
const TARGETS: [(&str, u32); 4] = [
    ("nvlist_native", 4096),
    ("nvlist_xdr", 4096),
    ("resume_token", 4096),
    ("stream", 65536),
];

/// How long one target runs when nothing else is said.
const SECONDS: u64 = 600;

/// No input may make a decoder ask for more memory at once, in MiB.
const ALLOCATION: u32 = 64;

pub(crate) fn run(mut arguments: lexopt::Parser) -> Result<ExitCode> {
    let mut seconds = SECONDS;
    let mut wanted = None;
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("seconds") => seconds = arguments.value()?.parse()?,
            Value(name) if wanted.is_none() => wanted = Some(name.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let targets: Vec<_> = TARGETS
        .into_iter()
        .filter(|(name, _)| wanted.as_deref().is_none_or(|wanted| wanted == *name))
        .collect();
    if targets.is_empty() {
        let known = TARGETS.map(|(name, _)| name).join(", ");
        bail!("the targets are {known}");
    }

    let folder = cargo::workspace().join("fuzz");
    let seeds = cargo::command()
        .current_dir(&folder)
        .args(["run", "--quiet", "--example", "seeds"])
        .status()
        .context("cannot run cargo")?;
    ensure!(seeds.success(), "there are no seeds");
    let present = cargo::command()
        .args(["fuzz", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("cannot run cargo")?;
    ensure!(
        present.success(),
        "cargo-fuzz is not installed: cargo install cargo-fuzz --locked"
    );

    for (name, length) in targets {
        let status = cargo::command()
            .current_dir(&folder)
            // The coverage flags are called unstable. There is nothing here for a sanitizer of
            // memory to find: the decoders are safe Rust.
            .env("RUSTC_BOOTSTRAP", "1")
            .args(["fuzz", "run", "--sanitizer", "none", name, "--"])
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-max_len={length}"))
            .arg(format!("-malloc_limit_mb={ALLOCATION}"))
            .args(["-rss_limit_mb=1024", "-timeout=10", "-print_final_stats=1"])
            .status()
            .context("cannot run cargo")?;
        ensure!(
            status.success(),
            "{name} has a finding, see fuzz/artifacts/{name}"
        );
        println!("fuzz: {name} ran {seconds} s without a finding");
    }
    Ok(ExitCode::SUCCESS)
}
