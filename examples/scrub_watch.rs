//! Scrubs a pool and shows how far it is, or watches the scrub that is running.
//!
//! ```text
//! cargo run --example scrub_watch -- tank
//! ```
//!
//! On a terminal there is a bar, elsewhere a line for each tenth. Interrupted, it leaves the scrub
//! to itself. A paused scrub is resumed. The exit status is 0 when everything is readable, 2 when
//! there is damage that could not be repaired, and 1 on an error, which a scrub that somebody
//! stops is too. Starting and resuming needs root, watching nothing.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use helix_zfs::zfs_core::pool::{ScanFunction, ScanState, ScanStatus, Scrub};
use helix_zfs::zfs_core::{ErrorKind, Pool, Zfs};

const USAGE: &str = "usage: scrub_watch POOL";

/// How long the bar is, in characters.
const WIDTH: usize = 40;

fn main() -> ExitCode {
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(2),
        Err(error) => {
            eprintln!("scrub_watch: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns how many errors are left.
fn run() -> Result<u64, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name] = arguments.as_slice() else {
        return Err(USAGE.into());
    };
    let pool = Zfs::open()?.pool(name)?;
    match pool.scrub(Scrub::Everything) {
        Ok(()) => println!("{name}: scrub started"),
        Err(error) if error.kind() == ErrorKind::InProgress => match running(&pool)? {
            Some(scan) if scan.paused.is_some() => {
                pool.resume_scrub()?;
                println!("{name}: scrub resumed");
            }
            Some(_) => println!("{name}: a scrub is running"),
            None => return Err(error.into()),
        },
        Err(error) => return Err(error.into()),
    }
    let mut bar = Bar::new();
    while let Some(scan) = running(&pool)? {
        bar.show(&scan)?;
        std::thread::sleep(Duration::from_millis(500));
    }
    bar.clear()?;

    let scan = pool.status()?.scan.ok_or("there is no scrub any more")?;
    if scan.state != ScanState::Finished {
        return Err(format!("{name}: the scrub was stopped").into());
    }
    println!(
        "{name}: {} MiB read, {} KiB repaired, {} errors left",
        scan.issued >> 20,
        scan.processed >> 10,
        scan.errors
    );
    Ok(scan.errors)
}

/// The scrub that is under way.
fn running(pool: &Pool) -> Result<Option<ScanStatus>, Box<dyn Error>> {
    Ok(pool
        .status()?
        .scan
        .filter(|scan| scan.function == ScanFunction::Scrub && scan.state == ScanState::Scanning))
}

struct Bar {
    terminal: bool,
    /// The last tenth that was told of.
    tenth: Option<u64>,
}

impl Bar {
    fn new() -> Self {
        Self {
            terminal: std::io::stdout().is_terminal(),
            tenth: None,
        }
    }

    fn show(&mut self, scan: &ScanStatus) -> std::io::Result<()> {
        let Some(progress) = scan.progress else {
            return Ok(());
        };
        let part = |of: u64| progress.done.min(progress.total) * of / progress.total.max(1);
        if !self.terminal {
            if self.tenth.replace(part(10)) != Some(part(10)) {
                println!("{:>3} %", part(100));
            }
            return Ok(());
        }
        let filled = usize::try_from(part(WIDTH as u64)).unwrap_or(WIDTH);
        let rate = progress.rate.unwrap_or(0) >> 20;
        let left = match (scan.paused, progress.time_left) {
            (Some(_), _) => String::from("paused"),
            (None, Some(seconds)) => {
                format!(
                    "{}:{:02}:{:02} left",
                    seconds / 3600,
                    seconds / 60 % 60,
                    seconds % 60
                )
            }
            (None, None) => String::new(),
        };
        let mut out = std::io::stdout();
        write!(
            out,
            "\r\x1b[K[{:<WIDTH$}] {:>3} % {rate} MiB/s {left}",
            "#".repeat(filled),
            part(100)
        )?;
        out.flush()
    }

    /// Makes room for what follows.
    fn clear(&self) -> std::io::Result<()> {
        if self.terminal {
            let mut out = std::io::stdout();
            write!(out, "\r\x1b[K")?;
            out.flush()?;
        }
        Ok(())
    }
}
