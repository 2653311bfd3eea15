//! Helix's storage operations on OpenZFS, for people and scripts.
//!
//! Each module below `commands` is one subcommand, and thin: what it does is the library's
//! `helix_zfs`. A command returns an [`Answer`](answer::Answer) or a [`Failure`],
//! and only [`Console`] writes.

#![forbid(unsafe_code)]

mod answer;
mod arguments;
mod channel;
mod commands;
mod console;
mod failure;
mod gate;
mod keys;
mod pages;
mod progress;
mod provider;
mod quantity;
mod replica;

use std::alloc::System;
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches};
use zeroizing_alloc::ZeroAlloc;

use arguments::Arguments;
use console::Console;
use failure::{Exit, Failure};

/// Wipes what is freed: keys and tokens pass through buffers of libraries that do not.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    let matches = match Arguments::command().try_get_matches() {
        Ok(matches) => matches,
        Err(told) => {
            // Help and the version are no mistakes.
            let exit = if told.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
            let written = told.print();
            return written.map_or(Exit::Failed, |()| exit).into();
        }
    };
    let name = command_name(&matches);
    let console = Console::new(&matches, name);
    let result = Arguments::from_arg_matches(&matches)
        .map_err(|error| Failure::usage(error.to_string()))
        .and_then(|arguments| arguments.command.run(&console));
    console.finish(result).into()
}

/// The words of the command: `tenant create`.
fn command_name(matches: &ArgMatches) -> String {
    let mut words = Vec::new();
    let mut level = matches;
    while let Some((word, below)) = level.subcommand() {
        words.push(word);
        level = below;
    }
    words.join(" ")
}
