//! Lists a dataset, all below it and all snapshots of that, with the properties that are named.
//!
//! ```text
//! cargo run --release --example fast_list -- tank creation used referenced
//! cargo run --release --example fast_list -- --any --threads 4 tank > names
//! ```
//!
//! `--any` takes the kernel's order, in which memory does not grow with the list. It needs no
//! privileges.

#![allow(clippy::print_stderr, reason = "a program for people")]

use std::error::Error;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use helix_zfs::zfs_core::Zfs;
use helix_zfs::zfs_core::listing::{Listed, Listing, Order};
use helix_zfs::zfs_core::props::Prop;

const USAGE: &str = "usage: fast_list [--any] [--threads N] DATASET [PROPERTY]...";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fast_list: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A column, by the name that the user gave.
enum Column {
    Native(Prop),
    User(String),
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut listing = Listing::new(Listed::DATASETS | Listed::SNAPSHOTS);
    let mut arguments = std::env::args().skip(1);
    let dataset = loop {
        match arguments.next().ok_or(USAGE)?.as_str() {
            "--any" => listing = listing.order(Order::Any),
            "--threads" => listing = listing.threads(arguments.next().ok_or(USAGE)?.parse()?),
            option if option.starts_with('-') => return Err(USAGE.into()),
            name => break name.to_owned(),
        }
    };
    let mut columns = Vec::new();
    for name in arguments {
        let column = match Prop::from_name(&name) {
            Some(prop) => Column::Native(prop),
            None if name.contains(':') => Column::User(name),
            None => return Err(format!("there is no property {name}").into()),
        };
        listing = match &column {
            Column::Native(prop) => listing.property(*prop),
            Column::User(name) => listing.user_property(name),
        };
        columns.push(column);
    }

    let mut out = BufWriter::new(io::stdout().lock());
    for row in Zfs::open()?.dataset(&dataset)?.list(&listing)? {
        let row = row?;
        write!(out, "{}", row.name())?;
        for column in &columns {
            match column {
                Column::Native(prop) => match row.get(*prop) {
                    Some(value) => write!(out, "\t{value}")?,
                    None => write!(out, "\t-")?,
                },
                Column::User(name) => write!(out, "\t{}", row.user(name).unwrap_or("-"))?,
            }
        }
        writeln!(out)?;
    }
    out.flush()?;
    Ok(())
}
