//! Prints what happens to pools and devices, and goes on until it is interrupted.
//!
//! ```text
//! cargo run --example events_tail                  what happens from now on
//! cargo run --example events_tail -- --all         what the kernel still knows first
//! cargo run --example events_tail -- --after 4711  what came after that event first
//! cargo run --example events_tail -- --once --all  without waiting for more
//! cargo run --example events_tail -- tank          of one pool
//! ```
//!
//! A line is the time in seconds since 1970, the event's number and class, and what it is about. At
//! the end it says from where to go on. It needs root.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use helix_zfs::zfs_core::Zfs;
use helix_zfs::zfs_core::events::{Event, EventsFrom};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

const USAGE: &str = "usage: events_tail [--all | --after EID] [--once] [POOL]";

struct Options {
    from: EventsFrom,
    once: bool,
    pool: Option<String>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("events_tail: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        from: EventsFrom::Now,
        once: false,
        pool: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--all" => options.from = EventsFrom::Start,
            "--after" => {
                let eid = arguments.next().ok_or(USAGE)?;
                options.from = EventsFrom::After(eid.parse()?);
            }
            "--once" => options.once = true,
            name if !name.starts_with('-') && options.pool.is_none() => {
                options.pool = Some(name.to_owned());
            }
            _ => return Err(USAGE.into()),
        }
    }
    Ok(options)
}

fn run() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    let mut events = Zfs::open()?.events(options.from)?;

    // An interrupt ends the wait, and with it the loop.
    let stop = events.stop_handle();
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            stop.stop();
        }
    });

    let mut last = None;
    loop {
        let event = if options.once {
            // Enough for an event whose predecessor is missing.
            events.next_timeout(Duration::from_millis(50))?
        } else {
            events.next().transpose()?
        };
        let Some(event) = event else { break };
        last = Some(event.eid);
        if event.missed > 0 {
            println!("({} events were lost here)", event.missed);
        }
        let of = event.pool().map(|pool| pool.name);
        if options.pool.is_none() || options.pool == of {
            print(&event)?;
        }
    }
    if let Some(eid) = last {
        println!("to go on from here: --after {eid}");
    }
    Ok(())
}

fn print(event: &Event) -> io::Result<()> {
    let time = event.time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut out = io::stdout().lock();
    write!(
        out,
        "{}.{:03} {event}",
        time.as_secs(),
        time.subsec_millis()
    )?;
    if let Some(error) = event.io().and_then(|io| io.error) {
        write!(out, " ({error})")?;
    }
    writeln!(out)?;
    out.flush()
}
