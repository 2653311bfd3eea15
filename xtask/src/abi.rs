//! `cargo xtask abi`: what zfs-core-sys assumes of the C side, compared with every supported
//! version: functions and constants with its packaged headers, and the structures and requests of
//! /dev/zfs, which no package's headers have, with the source of its kernel module. And the classes
//! of events that zfs-core names.

mod classes;
mod tables;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::guest::{self, Guest, Version};
use crate::host;

/// The variable that names zfs-core-sys's build script a folder of headers.
pub(crate) const INCLUDE_DIR: &str = "ZFS_CORE_INCLUDE_DIR";

/// Compares with every version; fails when any of them differs.
pub(crate) fn run() -> Result<()> {
    host::install_packages()?;
    let mut failed = Vec::new();
    for version in Version::ALL {
        let guest = guest::ensure(version, guest::Check::Quick)?;
        match compare(&guest) {
            Ok(assertions) => println!(
                "abi {}: headers agree; {assertions} assertions on the module's source hold",
                version.name()
            ),
            Err(error) => {
                println!("abi {}: {error:#}", version.name());
                failed.push(version.name());
            }
        }
    }
    if !failed.is_empty() {
        bail!("zfs-core-sys differs from {}", failed.join(", "));
    }
    println!("abi: zfs-core-sys agrees with every supported version");
    Ok(())
}

/// A `cargo check` of zfs-core-sys, apart from other builds so that those need not be redone.
pub(crate) fn cargo_check() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(workspace())
        .args(["check", "--quiet", "--package", "zfs-core-sys"])
        .arg("--target-dir")
        .arg(target_dir());
    cargo
}

/// The top of the checkout.
pub(crate) fn workspace() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}

fn target_dir() -> PathBuf {
    workspace().join("target/abi")
}

/// Compares with one version, and returns how many assertions the module's source was held to.
fn compare(guest: &Guest) -> Result<usize> {
    let status = cargo_check()
        .env(INCLUDE_DIR, guest.headers())
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("the packaged headers differ");
    }

    let path = workspace().join("zfs-core/src/events/class.rs");
    let table =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    classes::compare(
        &table,
        &guest.headers().join("libzfs"),
        guest.version().name(),
    )?;

    let sources = workspace().join("zfs-core-sys/src/ioctl");
    let mut assertions = Vec::new();
    for name in ["cmd.rs", "inject.rs", "numbers.rs", "replay.rs", "stats.rs"] {
        let path = sources.join(name);
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let found = tables::assertions(&text, guest.version().name())
            .with_context(|| format!("cannot read the tables of {name}"))?;
        if found.is_empty() {
            bail!("{name} has no table");
        }
        assertions.extend(found);
    }
    let program = target_dir().join(format!("module-{}.c", guest.version().name()));
    let mut c = String::from("#include <stddef.h>\n#include <sys/zfs_ioctl.h>\n");
    c.push_str(&assertions.join("\n"));
    c.push('\n');
    fs::write(&program, c).with_context(|| format!("cannot write {}", program.display()))?;

    let mut compiler = Command::new(env::var_os("CC").unwrap_or_else(|| "cc".into()));
    compiler.args(["-std=gnu11", "-fsyntax-only", "-D_GNU_SOURCE"]);
    // The packaged headers first: the module's folder has others of the same names, and is wanted
    // only for what the package lacks.
    for dir in [
        guest.headers().join("libzfs"),
        guest.headers().join("libspl"),
        guest.module_include(),
    ] {
        compiler.arg("-isystem").arg(dir);
    }
    let output = compiler
        .arg(&program)
        .output()
        .with_context(|| format!("cannot run {compiler:?}"))?;
    if !output.status.success() {
        bail!(
            "the module's source differs:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(assertions.len())
}
