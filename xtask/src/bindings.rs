//! `cargo xtask bindings`: zfs-core-sys/src/bindings.rs, generated from the headers of the oldest
//! supported version by that crate's own build script.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{abi, guest, host};

const COMMITTED: &str = "zfs-core-sys/src/bindings.rs";

/// Writes the bindings, or with `check` only says whether the committed ones are right.
pub(crate) fn run(check: bool) -> Result<()> {
    host::install_packages()?;
    let mut build = abi::cargo_check();
    build.args(["--features", "bindgen", "--message-format=json"]);
    if host_version().is_some_and(|version| version.starts_with("2.1.")) {
        println!("bindings: generating from this host's headers");
        generate(build, check)
    } else {
        println!("bindings: generating from the headers of guest 2.1");
        let guest = guest::ensure(guest::Version::V2_1, guest::Check::Quick)?;
        build.env(abi::INCLUDE_DIR, guest.headers());
        generate(build, check)
    }
}

fn generate(build: Command, check: bool) -> Result<()> {
    let generated = out_dir(build)?.join("bindings.rs");
    let generated = fs::read_to_string(&generated)
        .with_context(|| format!("cannot read {}", generated.display()))?;
    let committed_path = abi::workspace().join(COMMITTED);
    // A missing file is one that differs.
    let committed = fs::read_to_string(&committed_path).unwrap_or_default();
    if generated == committed {
        println!("bindings: {COMMITTED} is what the headers give");
        return Ok(());
    }
    if check {
        let line = committed
            .lines()
            .zip(generated.lines())
            .position(|(old, new)| old != new)
            .unwrap_or_else(|| committed.lines().count().min(generated.lines().count()));
        bail!(
            "{COMMITTED} is not what the headers give; line {} is the first to differ.\n  \
             committed: {}\n  generated: {}\nTo renew it: cargo xtask bindings",
            line + 1,
            committed.lines().nth(line).unwrap_or("(no line)"),
            generated.lines().nth(line).unwrap_or("(no line)"),
        );
    }
    fs::write(&committed_path, generated)
        .with_context(|| format!("cannot write {}", committed_path.display()))?;
    println!("bindings: wrote {COMMITTED}");
    Ok(())
}

/// Runs the build and returns where zfs-core-sys's build script wrote its files.
fn out_dir(mut build: Command) -> Result<PathBuf> {
    let output = build
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!("generating the bindings failed");
    }
    String::from_utf8(output.stdout)?
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| {
            let text = |key| message.get(key).and_then(Value::as_str);
            let ours = text("reason") == Some("build-script-executed")
                && text("package_id").is_some_and(|id| id.contains("zfs-core-sys"));
            text("out_dir").filter(|_| ours).map(PathBuf::from)
        })
        .context("cargo did not say where zfs-core-sys was built")
}

/// The version of the library that is installed on this host.
fn host_version() -> Option<String> {
    let output = Command::new("pkg-config")
        .args(["--modversion", "libzfs_core"])
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
