//! Helix's storage operations on OpenZFS, for people and scripts.

use clap::Parser;

/// Helix's storage operations on OpenZFS.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {}

fn main() {
    let Arguments {} = Arguments::parse();
}
