//! Receives the stream in a file, or on the standard input, as `zfs send` or the example
//! `send_to_file` wrote it: of one snapshot, or of several.
//!
//! ```text
//! cargo run --example receive_file -- tank/copy acme.zstream
//! cargo run --example receive_file -- --resumable tank/copy < acme.zstream
//! cargo run --example receive_file -- --abort tank/copy
//! ```
//!
//! `--force` discards what the dataset has beyond the snapshot that the stream builds on. With
//! `--resumable`, what has arrived of a stream that breaks off is kept, and the token is printed that
//! `zfs send -t` goes on with; `--abort` discards it. It needs root, or the delegated permissions
//! `receive`, `create` and `mount`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use std::error::Error;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::process::ExitCode;

use helix_zfs::zfs_core::receive::ReceiveOptions;
use helix_zfs::zfs_core::{Dataset, Zfs};

const USAGE: &str = "usage: receive_file [--force] [--resumable] DATASET [FILE], or \
                     receive_file --abort DATASET";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("receive_file: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut options = ReceiveOptions::new();
    let mut abort = false;
    let mut names = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--force" => options = options.force(),
            "--resumable" => options = options.resumable(true),
            "--abort" => abort = true,
            option if option.starts_with("--") => return Err(USAGE.into()),
            _ => names.push(argument),
        }
    }
    let (dataset, file) = match names.as_slice() {
        [dataset] => (dataset, None),
        [dataset, file] if !abort => (dataset, Some(file)),
        _ => return Err(USAGE.into()),
    };
    let dataset = Zfs::open()?.dataset(dataset)?;
    if abort {
        return Ok(dataset.abort_receive()?);
    }
    match file {
        Some(path) => {
            let file = File::open(path).map_err(|error| format!("{path}: {error}"))?;
            receive(&dataset, file, &options)
        }
        None => receive(&dataset, io::stdin().lock(), &options),
    }
}

fn receive(
    dataset: &Dataset,
    stream: impl Read,
    options: &ReceiveOptions,
) -> Result<(), Box<dyn Error>> {
    // Nothing follows the stream, so it does not matter that more of it is read at once.
    let result = dataset.receive_compound(BufReader::with_capacity(1 << 20, stream), options);
    let all = match result {
        Ok(all) => all,
        Err(error) => {
            if let Some(token) = dataset
                .properties()
                .ok()
                .and_then(|properties| properties.receive_resume_token().map(str::to_owned))
            {
                println!("to resume: zfs send -t {token}");
            }
            return Err(error.into());
        }
    };
    for snapshot in &all.skipped {
        println!("{}: is here already", snapshot.name());
    }
    for one in &all.received {
        let from = match one.begin.is_incremental() {
            true => format!(", incremental from {:#x}", one.begin.from_guid),
            false => String::new(),
        };
        println!(
            "{}: {} bytes of {} ({:#x}){from}",
            one.snapshot.name(),
            one.bytes,
            one.begin.to_name,
            one.to_guid,
        );
        for failure in &one.property_errors {
            println!("  not set: {failure}");
        }
    }
    Ok(())
}
