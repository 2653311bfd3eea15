//! Rotates the snapshots of a whole tree in one transaction: takes one of every dataset below a
//! dataset, and destroys the oldest of the same prefix so that a number of them stays. A program in
//! Lua does it inside the kernel, so that nobody sees a state in between.
//!
//! ```text
//! cargo run --example channel_program -- tank/tenants nightly- 2024-05-17 7
//! ```
//!
//! It needs root. With a fifth argument, `--dry-run`, it only tells what would be done.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;

use helix_zfs::zfs_core::Zfs;
use helix_zfs::zfs_core::program::ChannelProgram;
use serde::{Deserialize, Serialize};

const USAGE: &str = "usage: channel_program PARENT PREFIX NAME KEEP [--dry-run]";

/// The functions of `act` are those of `zfs.sync`, or those of `zfs.check` that only tell what
/// would happen. Each returns 0 or an error number.
const ROTATE: &str = r"
local args = ...
local act = args.dry_run and zfs.check or zfs.sync
local result = { taken = 0, destroyed = 0, failed = {} }

local function rotate(dataset)
    local name = dataset .. '@' .. args.prefix .. args.name
    local err = act.snapshot(name)
    if err ~= 0 then
        result.failed[name] = err
        return
    end
    result.taken = result.taken + 1

    local old = {}
    for snapshot in zfs.list.snapshots(dataset) do
        local short = string.sub(snapshot, #dataset + 2)
        if string.sub(short, 1, #args.prefix) == args.prefix and snapshot ~= name then
            local txg = zfs.get_prop(snapshot, 'createtxg')
            table.insert(old, { name = snapshot, txg = txg })
        end
    end
    table.sort(old, function(a, b) return a.txg > b.txg end)
    for i = args.keep, #old do
        err = act.destroy(old[i].name)
        if err == 0 then
            result.destroyed = result.destroyed + 1
        else
            result.failed[old[i].name] = err
        end
    end
end

local function walk(dataset)
    for child in zfs.list.children(dataset) do
        walk(child)
        rotate(child)
    end
end

walk(args.parent)
return result
";

#[derive(Serialize)]
struct Wish<'a> {
    parent: &'a str,
    prefix: &'a str,
    name: &'a str,
    keep: u32,
    dry_run: bool,
}

#[derive(Deserialize)]
struct Outcome {
    taken: u32,
    destroyed: u32,
    /// Snapshots, and the error numbers of what could not be done to them.
    failed: BTreeMap<String, i32>,
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("channel_program: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (parent, prefix, name, keep, dry_run) = match arguments.as_slice() {
        [parent, prefix, name, keep] => (parent, prefix, name, keep, false),
        [parent, prefix, name, keep, flag] if flag == "--dry-run" => {
            (parent, prefix, name, keep, true)
        }
        _ => return Err(USAGE.into()),
    };
    let wish = Wish {
        parent,
        prefix,
        name,
        keep: keep.parse()?,
        dry_run,
    };
    if wish.keep == 0 {
        return Err("at least the new snapshot is kept".into());
    }

    let zfs = Zfs::open()?;
    let dataset = zfs.dataset(parent)?;
    let pool = zfs.pool(dataset.name().pool())?;
    let program = ChannelProgram::new(ROTATE).arguments(&wish)?;
    let result = if dry_run {
        pool.run_program_read_only(&program)?
    } else {
        pool.run_program(&program)?
    };

    let outcome: Outcome = result.get()?;
    let verb = if dry_run { "would be " } else { "" };
    println!("{verb}taken: {}", outcome.taken);
    println!("{verb}destroyed: {}", outcome.destroyed);
    for (snapshot, errno) in &outcome.failed {
        println!("failed: {snapshot}: error {errno}");
    }
    Ok(outcome.failed.is_empty())
}
