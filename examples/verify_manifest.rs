//! Writes the manifest of a send stream, or verifies a stream against one.
//!
//! ```text
//! zfs send -w tank/acme@monday >monday.zstream
//! cargo run --example verify_manifest -- write monday.zstream >monday.json
//! cargo run --example verify_manifest -- verify monday.json monday.zstream
//! zfs send -w backup/acme@monday | cargo run --example verify_manifest -- content monday.json -
//! ```
//!
//! `verify` wants the very bytes and names the ranges that differ. `content` wants the same
//! snapshot: what a target sends again after it has received it, with the same flags. `-` is the
//! standard input. It needs no ZFS and no privileges.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::process::ExitCode;

use helix_zfs::zfs_core::digest::{Digester, Digests, Manifest};
use helix_zfs::zfs_core::stream::{Observer, StreamReader};

const USAGE: &str =
    "usage: verify_manifest write STREAM | verify MANIFEST STREAM | content MANIFEST STREAM";

/// Enough to name a MiB of a stream of 4 GiB; the manifest takes 400 KB then.
const CHUNKS: usize = 4096;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("verify_manifest: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["write", stream] => {
            let digests = digest(stream)?;
            let manifest = Manifest::new(&digests)?.with_chunks(&digests, CHUNKS);
            println!("{}", serde_json::to_string_pretty(&manifest)?);
        }
        ["verify", manifest, stream] => {
            let manifest = read(manifest)?;
            manifest.verify(&digest(stream)?)?;
            println!("{} bytes, every one as it should be", manifest.bytes);
        }
        ["content", manifest, stream] => {
            let manifest = read(manifest)?;
            manifest.verify_content(&digest(stream)?)?;
            for snapshot in &manifest.snapshots {
                let (name, counts) = (&snapshot.name, snapshot.counts);
                let (objects, blocks) = (counts.objects, counts.blocks);
                println!("{name}: {objects} objects and {blocks} blocks, all as they should be");
            }
        }
        _ => return Err(USAGE.into()),
    }
    Ok(())
}

fn read(path: &str) -> Result<Manifest, Box<dyn Error>> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("{path}: {error}").into())
}

fn digest(path: &str) -> Result<Digests, Box<dyn Error>> {
    let input: Box<dyn Read> = match path {
        "-" => Box::new(io::stdin().lock()),
        path => Box::new(File::open(path).map_err(|error| format!("{path}: {error}"))?),
    };
    let mut reader = StreamReader::new(input);
    let mut digester = Digester::new();
    while let Some(record) = reader.next_record()? {
        digester.record(&record);
    }
    Ok(digester.finish()?)
}
