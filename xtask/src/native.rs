//! `--native`: on the host's own ZFS, without a guest.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Tells a program that it runs on a machine whose other pools are not its own.
pub(crate) const VARIABLE: &str = "HELIX_ZFS_NATIVE";

/// The version of the host's module; an error when the host cannot run ZFS.
pub(crate) fn module_version() -> Result<String> {
    let version = fs::read_to_string("/sys/module/zfs/version").context(
        "--native needs a host with ZFS, and this one has no zfs module loaded: without --native \
         the same runs in a guest",
    )?;
    ensure!(
        Path::new("/dev/zfs").exists(),
        "--native needs /dev/zfs, which this host lacks though its zfs module is loaded"
    );
    ensure!(
        rustix::process::geteuid().is_root(),
        "--native makes pools, which needs root"
    );
    Ok(version.trim().to_owned())
}

/// A program to run on the host, in a temporary folder for its files.
pub(crate) fn command(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .env(VARIABLE, "1")
        .env("TMPDIR", folder);
    command
}
