//! Replicates a dataset into another pool, over TCP or a Unix socket, and shows how far it is.
//!
//! ```text
//! cargo run --example replicate -- serve 10.0.0.1:7000 tank/tenants
//! cargo run --example replicate -- pull 10.0.0.1:7000 tank/tenants/acme backup/acme
//! ```
//!
//! An address with a `/` is that of a Unix socket. `pull` brings the newest snapshot, verifies it,
//! and lets readers of `backup/acme/current` see it; run it again after whatever happened to it.
//! `serve` serves every connection until it is killed. Give it an address that only the tunnel
//! between the two machines reaches: it asks nobody who they are. Both need root.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

#[path = "gate/mod.rs"]
mod gate;

use std::error::Error;
use std::io::{self, IsTerminal, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use helix_zfs::gate::Operation;
use helix_zfs::replicate::{Job, Phase, Progress, ReplicateError, Replicator, Source};
use helix_zfs::zfs_core::{DatasetName, Zfs};

const USAGE: &str = "usage: replicate serve ADDRESS DATASET | replicate pull ADDRESS SOURCE TARGET";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("replicate: {error}");
            if let Some(error) = error.downcast_ref::<ReplicateError>() {
                println!("{}", error.advice());
            }
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["serve", address, dataset] => serve(address, &DatasetName::new(dataset)?),
        ["pull", address, source, target] => {
            let job = Job::new(&DatasetName::new(source)?, &DatasetName::new(target)?);
            pull(address, &job)
        }
        _ => Err(USAGE.into()),
    }
}

trait Channel: Read + Write + Send {}

impl<C: Read + Write + Send> Channel for C {}

fn serve(address: &str, dataset: &DatasetName) -> Result<(), Box<dyn Error>> {
    let zfs = Zfs::open()?;
    let source = Source::new(&zfs).offer(dataset);
    let gate = gate::OwnGate::open(&zfs)?;
    let send = Arc::new(gate.capability(Operation::Send, dataset)?);
    let accept: Box<dyn Fn() -> io::Result<Box<dyn Channel>>> = match address.contains('/') {
        true => {
            let listener = UnixListener::bind(address)?;
            Box::new(move || Ok(Box::new(listener.accept()?.0)))
        }
        false => {
            let listener = TcpListener::bind(address)?;
            Box::new(move || Ok(Box::new(listener.accept()?.0)))
        }
    };
    println!("{dataset} at {address}");
    loop {
        let channel = accept()?;
        let (source, send) = (source.clone(), Arc::clone(&send));
        std::thread::spawn(move || match source.serve(&send, channel) {
            Ok(served) => {
                for snapshot in served.snapshots {
                    println!("{snapshot} is replicated");
                }
            }
            Err(error) => println!("{error}"),
        });
    }
}

fn pull(address: &str, job: &Job) -> Result<(), Box<dyn Error>> {
    let zfs = Zfs::open()?;
    let gate = gate::OwnGate::open(&zfs)?;
    let receive = gate.capability(Operation::Receive, job.target())?;
    let replicator = Replicator::new(&zfs);
    let replicator = replicator.on_progress(Duration::from_millis(500), show);
    let channel: Box<dyn Channel> = match address.contains('/') {
        true => Box::new(UnixStream::connect(address)?),
        false => Box::new(TcpStream::connect(address)?),
    };
    let outcome = replicator.pull(&receive, channel, job)?;
    if io::stdout().is_terminal() {
        println!();
    }
    for replicated in &outcome.replicated {
        println!(
            "{}: {} bytes{}",
            replicated.name,
            replicated.bytes,
            if replicated.resumed { ", resumed" } else { "" }
        );
    }
    println!(
        "readers of {}/current see {}",
        job.target(),
        outcome.snapshot.name().short()
    );
    for dataset in outcome.in_use {
        println!("{dataset} is still in use");
    }
    Ok(())
}

/// One line, which the next one takes the place of on a terminal.
fn show(progress: &Progress) {
    const MIB: f64 = (1 << 20) as f64;
    let mut line = String::from(match progress.phase {
        Phase::Receiving => "receiving",
        Phase::Verifying => "verifying",
        _ => "working on",
    });
    line += &format!(" {}", progress.snapshot);
    if let Some(total) = progress.total.filter(|&total| total > 0) {
        line += &format!(" {:3}%", (progress.bytes * 100 / total).min(100));
    }
    line += &format!("  {:.1} MiB/s", progress.rate() / MIB);
    if let Some(remaining) = progress.remaining() {
        line += &format!("  {} s left", remaining.as_secs());
    }
    match io::stdout().is_terminal() {
        true => {
            print!("\r{line:60}");
            let _ = io::stdout().flush();
        }
        false => println!("{line}"),
    }
}
