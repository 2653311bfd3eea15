//! `cargo xtask`: everything that the project does beside compiling. It sets up the host, builds
//! guests with real OpenZFS kernels, and runs programs, tests, benchmarks and the demo in them.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line program talks to its user"
)]

mod abi;
mod bao;
mod bench;
mod bindings;
mod cache;
mod cargo;
mod corpus;
mod demo;
mod fuzz;
mod guest;
mod host;
mod job;
mod kvm;
mod libtest;
mod lines;
mod link;
mod native;
mod pair;
mod payload;
mod progress;
mod qemu;
mod setup;
mod soak;
mod surface;
mod test;
mod vm;

use std::process::ExitCode;

use lexopt::prelude::*;

const USAGE: &str = "\
cargo xtask COMMAND

  setup [--zfs V]...   installs host packages and builds guests (default 2.1)
  demo [--zfs V] [--native]
                       the tour of Helix's storage operations on real ZFS
  test [--zfs V] [--host] [--native] [FILTER]
                       unit, doc and host tests, then the tests on real ZFS
                       in a fresh guest of each version; --host: without these
  bench [--zfs V] [--native | --host] [NAME] [--json FILE]
                       benchmarks in one guest, as a table and as JSON;
                       --host: only what needs no ZFS
  vm [--zfs V] [--mem MiB] [--cpus N] [--disk SIZE]... [--file PATH[:NAME]]...
     [--env K=V]... [--bao] [--out DIR] [--timeout S] -- PROGRAM [ARGS]...
                       runs a program in a fresh guest as root with ZFS loaded:
                       a path is a file of the host, a bare name a command of
                       the guest (zfs, zpool, sh ...) or else of the host;
                       --bao: with a real OpenBao that the guest can reach
  pair [--zfs V[,V]] -- PROGRAM [ARGS]...
                       runs a program in two guests that are joined by a wire
  soak [--minutes N] [--zfs V] [--seed N]
                       writes, replication, rotation and promotion with random
                       kills in one guest (default 60 minutes)
  vm [--zfs V] --shell an interactive shell in a fresh guest

  bindings [--check]   generates zfs-core-sys/src/bindings.rs from the headers of
                       2.1, or checks that it is what they give
  surface [--check]    generates zfs-core/src/functions.md, the table of what stands
                       for each function of libzfs_core, or checks that it is
                       what the headers, the sources and the tests give
  corpus [--zfs V]...  makes the real streams of zfs-core/tests/corpus anew
                       (default all)
  fuzz [TARGET] [--seconds N]
                       fuzzes the decoders (needs cargo-fuzz; 600 s each)
  abi                  compares zfs-core-sys with the headers and the module
                       source of each version

V is 2.1, 2.3, 2.4 or all. --native runs on this host's own ZFS instead of a
guest. Guests are kept in $HELIX_ZFS_CACHE, else in
$XDG_CACHE_HOME/helix-zfs or ~/.cache/helix-zfs. HELIX_ZFS_ACCEL=kvm|tcg
decides what is otherwise probed; HELIX_ZFS_TEST_THREADS is the number of
tests at once in a guest (default 3); HELIX_ZFS_THREAD_SECONDS how long the
test of many threads runs (default 20); HELIX_ZFS_CHAOS_RUNS how many
replications are disturbed (default 16); HELIX_ZFS_BENCH_ROUNDS the number of
rounds of a benchmark; HELIX_ZFS_MIRROR names a Debian mirror on hosts whose
apt configuration has none.";

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<ExitCode> {
    let mut arguments = lexopt::Parser::from_env();
    let command = match arguments.next()? {
        Some(Value(command)) => command.string()?,
        Some(Long("help") | Short('h')) | None => {
            println!("{USAGE}");
            return Ok(ExitCode::SUCCESS);
        }
        Some(other) => return Err(other.unexpected().into()),
    };
    if command == link::RELAY {
        return link::relay(arguments);
    }
    cache::clean_up_on_signals()?;
    match command.as_str() {
        "setup" => setup::run(arguments),
        "demo" => demo::run(arguments),
        "test" => test::run(arguments),
        "pair" => pair::run(arguments),
        "soak" => soak::run(arguments),
        "bench" => bench::run(arguments),
        "vm" => vm::run(arguments),
        "bindings" => bindings::run(only_check(arguments)?).map(|()| ExitCode::SUCCESS),
        "surface" => surface::run(only_check(arguments)?).map(|()| ExitCode::SUCCESS),
        "corpus" => corpus::run(arguments),
        "fuzz" => fuzz::run(arguments),
        "abi" => match arguments.next()? {
            None => abi::run().map(|()| ExitCode::SUCCESS),
            Some(other) => Err(other.unexpected().into()),
        },
        "help" => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        other => anyhow::bail!("there is no command {other:?}\n\n{USAGE}"),
    }
}

/// Whether `--check` is given, which is all that may be.
fn only_check(mut arguments: lexopt::Parser) -> anyhow::Result<bool> {
    let mut check = false;
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("check") => check = true,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(check)
}
