//! Sends a snapshot into a file, with a progress bar.
//!
//! ```text
//! cargo run --example send_to_file -- tank/tenants/acme@deploy-42 acme.zstream
//! cargo run --example send_to_file -- tank/tenants/acme@deploy-43 step.zstream tank/tenants/acme@deploy-42
//! ```
//!
//! The third argument is what an incremental stream builds on, a snapshot or a bookmark. The stream
//! is raw: of an encrypted dataset it can be made and kept without the key.
//!
//! The file gets its name when the stream is complete and on disk: there is never a file of that
//! name which ends early. It needs the permission `send`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use std::error::Error;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use helix_zfs::zfs_core::Zfs;
use helix_zfs::zfs_core::send::{SendOptions, SendProgress, SendStream};

const USAGE: &str = "usage: send_to_file SNAPSHOT FILE [BASE]";

/// How often the bar moves.
const STEP: Duration = Duration::from_millis(200);

const WIDTH: usize = 40;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("send_to_file: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (snapshot, path, base) = match arguments.as_slice() {
        [snapshot, path] => (snapshot, path, None),
        [snapshot, path, base] => (snapshot, path, Some(base)),
        _ => return Err(USAGE.into()),
    };
    let zfs = Zfs::open()?;
    let options = match base {
        None => SendOptions::full(),
        Some(base) if base.contains('#') => SendOptions::incremental(&zfs.bookmark(base)?),
        Some(base) => SendOptions::incremental(&zfs.snapshot(base)?),
    };
    let stream = zfs.snapshot(snapshot)?.send(&options.raw().estimated())?;

    let partial = format!("{path}.partial");
    let bytes = match write(stream, &partial) {
        Ok(bytes) => bytes,
        Err(error) => {
            let _ = std::fs::remove_file(&partial);
            return Err(error);
        }
    };
    std::fs::rename(&partial, path)?;
    println!("{snapshot}: {bytes} bytes in {path}");
    Ok(())
}

fn write(mut stream: SendStream, path: &str) -> Result<u64, Box<dyn Error>> {
    let mut file = File::create(path)?;
    let mut buffer = vec![0; 1 << 20];
    let mut next = Instant::now();
    loop {
        // What is no complete stream ends here, with the kernel's error.
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        file.write_all(buffer.get(..read).unwrap_or_default())?;
        if Instant::now() >= next {
            show(stream.progress()?)?;
            next = Instant::now() + STEP;
        }
    }
    show(stream.progress()?)?;
    if io::stdout().is_terminal() {
        println!();
    }
    file.sync_all()?;
    Ok(stream.finish()?.bytes)
}

fn show(progress: SendProgress) -> io::Result<()> {
    if !io::stdout().is_terminal() {
        return Ok(());
    }
    // The size is an estimate: it may turn out to be a little more.
    let size = progress.estimate.unwrap_or(0).max(progress.bytes).max(1);
    let percent = progress.bytes.saturating_mul(100) / size;
    let full = usize::try_from(percent).map_or(WIDTH, |percent| percent * WIDTH / 100);
    print!(
        "\r[{:<WIDTH$}] {percent:>3}% {:>6} of {} MiB",
        "#".repeat(full),
        progress.bytes >> 20,
        size >> 20
    );
    io::stdout().flush()
}
