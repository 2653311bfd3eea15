//! Cargo, called on this workspace.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// The package that the demo, the guest tests and the benchmarks belong to.
pub(crate) const PACKAGE: &str = "helix-zfs";

/// The workspace's folder.
pub(crate) fn workspace() -> PathBuf {
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    xtask
        .parent()
        .map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// Cargo in the workspace, of the toolchain that runs this.
pub(crate) fn command() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(workspace()).stdin(Stdio::null());
    // What cargo tells this program of itself: some build scripts look at it, and what they built
    // would be built again when cargo is called without.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// An executable that cargo has built.
#[derive(Debug)]
pub(crate) struct Executable {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// Builds with these arguments and returns the executables, also those that were there already.
pub(crate) fn build(arguments: &[&str]) -> Result<Vec<Executable>> {
    eprintln!("cargo {}", arguments.join(" "));
    let output = command()
        .args(arguments)
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(
        output.status.success(),
        "cargo {} failed",
        arguments.join(" ")
    );
    Ok(executables(&String::from_utf8(output.stdout)?))
}

/// Builds one executable.
pub(crate) fn build_one(arguments: &[&str], name: &str) -> Result<PathBuf> {
    build(arguments)?
        .into_iter()
        .find(|executable| executable.name == name)
        .map(|executable| executable.path)
        .with_context(|| format!("cargo built no {name}"))
}

/// Copies a program without its debug data: most of its size, and it is unpacked in the guest.
pub(crate) fn strip(program: &Path, to: &Path) -> Result<()> {
    let status = Command::new("objcopy")
        .arg("--strip-debug")
        .args([program, to])
        .status()
        .context("cannot run objcopy")?;
    if !status.success() {
        bail!("objcopy failed on {}", program.display());
    }
    Ok(())
}

/// The names of the package's benchmarks.
pub(crate) fn benchmarks() -> Result<Vec<String>> {
    let output = command()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(output.status.success(), "cargo metadata failed");
    Ok(bench_targets(&serde_json::from_slice(&output.stdout)?))
}

fn executables(messages: &str) -> Vec<Executable> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| {
            Some(Executable {
                path: message.get("executable")?.as_str()?.into(),
                name: message.get("target")?.get("name")?.as_str()?.to_owned(),
            })
        })
        .collect()
}

fn bench_targets(metadata: &Value) -> Vec<String> {
    let list = |value: &Value, key| {
        value
            .get(key)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    list(metadata, "packages")
        .iter()
        .filter(|package| package.get("name").and_then(Value::as_str) == Some(PACKAGE))
        .flat_map(|package| list(package, "targets"))
        .filter(|target| list(target, "kind").contains(&Value::from("bench")))
        .filter_map(|target| Some(target.get("name")?.as_str()?.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{bench_targets, executables};

    #[test]
    fn executables_are_found_among_the_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"libc"},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"zfs"},"executable":"/t/zfs-1"}"#,
            "\nnot json\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        let found = executables(messages);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].name, "zfs");
        assert_eq!(found[0].path.to_str(), Some("/t/zfs-1"));
    }

    #[test]
    fn only_the_packages_benchmarks_count() {
        let metadata = serde_json::json!({"packages": [
            {"name": "other", "targets": [{"name": "x", "kind": ["bench"]}]},
            {"name": "helix-zfs", "targets": [
                {"name": "helix_zfs", "kind": ["lib"]},
                {"name": "snapshot", "kind": ["bench"]},
            ]},
        ]});
        assert_eq!(bench_targets(&metadata), ["snapshot"]);
    }
}
