//! Looks after the key of an encrypted dataset.
//!
//! ```text
//! cargo run --example keys -- status tank/tenants/acme
//! cargo run --example keys -- unload tank/tenants/acme
//! cargo run --example keys -- verify tank/tenants/acme acme.key
//! cargo run --example keys -- load tank/tenants/acme acme.key
//! cargo run --example keys -- change tank/tenants/acme new.key
//! ```
//!
//! A key file is one as `zfs` takes it: 32 bytes, or a line of 64 hexadecimal digits, or a line
//! with a passphrase. It needs root, or the delegated permissions `load-key` and `change-key`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use std::error::Error;
use std::process::ExitCode;

use helix_zfs::zfs_core::key::{KEY_LEN, WrappingKey};
use helix_zfs::zfs_core::{Dataset, Zfs};

const USAGE: &str =
    "usage: keys status|unload DATASET, or keys verify|load|change DATASET KEY_FILE";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("keys: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let zfs = Zfs::open()?;
    let dataset = |name| zfs.dataset(name);
    match arguments.as_slice() {
        ["status", name] => print_status(&dataset(name)?)?,
        ["unload", name] => dataset(name)?.unload_key()?,
        ["verify", name, file] => dataset(name)?.verify_key(&read_key(file)?)?,
        ["load", name, file] => dataset(name)?.load_key(&read_key(file)?)?,
        ["change", name, file] => dataset(name)?.change_key(&read_key(file)?)?,
        _ => return Err(USAGE.into()),
    }
    if let [action @ ("unload" | "verify" | "load" | "change"), name, ..] = arguments.as_slice() {
        println!("{name}: {action}: done");
    }
    Ok(())
}

fn print_status(dataset: &Dataset) -> Result<(), Box<dyn Error>> {
    let props = dataset.properties()?;
    match (
        props.encryption(),
        props.encryption_root(),
        props.key_status(),
    ) {
        (Some(encryption), Some(root), Some(status)) => {
            println!("{}: {encryption}, key {status}", dataset.name());
            if root != *dataset.name() {
                println!("  the key is that of {root}");
            } else if let Some(format) = props.key_format() {
                println!("  the key is its own, kept as {format}");
            }
        }
        _ => println!("{}: not encrypted", dataset.name()),
    }
    Ok(())
}

/// Tells the formats apart by what only one of them can be.
fn read_key(file: &str) -> Result<WrappingKey, Box<dyn Error>> {
    let bytes = std::fs::read(file).map_err(|error| format!("{file}: {error}"))?;
    if let Ok(key) = <&[u8; KEY_LEN]>::try_from(bytes.as_slice()) {
        return Ok(WrappingKey::raw(key));
    }
    // The error would quote the key.
    let text = String::from_utf8(bytes).map_err(|_| format!("{file}: not a key"))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    if line.len() == 2 * KEY_LEN && line.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(WrappingKey::hex(line)?);
    }
    Ok(WrappingKey::passphrase(line)?)
}
