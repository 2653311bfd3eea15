//! What the host needs installed, and how a command gets root's rights.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{cache, progress};

/// Packages of Debian and Ubuntu. libzfslinux-dev is in Debian's contrib.
const PACKAGES: &[&str] = &[
    "binutils",
    "cpio",
    "debian-archive-keyring",
    "gcc",
    "libc6-dev",
    "libclang-dev",
    "libzfslinux-dev",
    "lz4",
    "mmdebstrap",
    "mount",
    "pkg-config",
    "postgresql",
    "python3-venv",
    "qemu-system-x86",
    "xz-utils",
    "zstd",
];

/// Installs what is missing on the host; does nothing when all is there.
pub(crate) fn install_packages() -> Result<()> {
    if !runs_apt()? {
        return check_tools();
    }
    if missing()?.is_empty() {
        return Ok(());
    }
    let _lock = cache::Lock::exclusive(&cache::root()?.join("host.lock"), "host packages")?;
    let missing = missing()?;
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("host packages to install: {}", missing.join(" "));
    let run = cache::RunDir::new()?;
    let log = run.path().join("apt.log");
    let update = || {
        let mut command = apt_get();
        command.arg("update");
        progress::run_logged("apt-get update", &mut command, &log)
    };
    update()?;
    if missing.contains(&"libzfslinux-dev") && !has_candidate("libzfslinux-dev")? {
        enable_contrib()?;
        update()?;
    }
    let mut install = apt_get();
    install
        .args(["install", "--yes", "--no-install-recommends"])
        .args(&missing);
    progress::run_logged("apt-get install", &mut install, &log)
}

/// A command that runs as root: itself for root, through sudo for others.
pub(crate) fn as_root(program: impl AsRef<OsStr>) -> Command {
    if rustix::process::geteuid().is_root() {
        Command::new(program)
    } else {
        let mut command = Command::new("sudo");
        command.arg(program);
        command
    }
}

/// The Debian mirror that the host itself uses.
pub(crate) fn debian_mirror() -> Result<String> {
    if let Ok(mirror) = std::env::var("HELIX_ZFS_MIRROR") {
        return Ok(mirror);
    }
    index_targets("$(SITE)", &["Origin: Debian", "Label: Debian"])?
        .into_iter()
        .next()
        .context(
            "the host's apt configuration names no Debian mirror: set HELIX_ZFS_MIRROR to the \
             URL of one",
        )
}

fn runs_apt() -> Result<bool> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let is_debian = release.lines().any(|line| {
        (line.starts_with("ID=") || line.starts_with("ID_LIKE="))
            && (line.contains("debian") || line.contains("ubuntu"))
    });
    if is_debian && std::env::consts::ARCH != "x86_64" {
        bail!(
            "guests are built for x86_64 only, and this is {}",
            std::env::consts::ARCH
        );
    }
    Ok(is_debian)
}

/// On another system nothing is installed: it is only said what is missing.
fn check_tools() -> Result<()> {
    let tools = [
        "qemu-system-x86_64",
        "mmdebstrap",
        "apt-get",
        "dpkg-deb",
        "objcopy",
        "cpio",
        "xz",
        "zstd",
        "lz4",
        "setpriv",
        "cc",
        "pkg-config",
        "python3",
    ];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let missing: Vec<_> = tools
        .into_iter()
        .filter(|tool| !std::env::split_paths(&path).any(|folder| folder.join(tool).exists()))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "this system is neither Debian nor Ubuntu: install what provides {}, PostgreSQL, libclang, \
         and the development files of libzfs_core and libnvpair, and set HELIX_ZFS_MIRROR to the URL of \
         a Debian mirror",
        missing.join(", ")
    )
}

fn missing() -> Result<Vec<&'static str>> {
    let output = Command::new("dpkg-query")
        .args(["-W", "-f", "${db:Status-Abbrev} ${Package}\n"])
        .args(PACKAGES)
        .stderr(Stdio::null())
        .output()
        .context("cannot run dpkg-query")?;
    let output = String::from_utf8_lossy(&output.stdout);
    let installed: Vec<&str> = output
        .lines()
        .filter(|line| line.starts_with("ii"))
        .filter_map(|line| line.split_whitespace().last())
        .collect();
    Ok(PACKAGES
        .iter()
        .copied()
        .filter(|package| !installed.contains(package))
        .collect())
}

fn apt_get() -> Command {
    let mut command = as_root("env");
    command.args([
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "--quiet",
        "-o",
        "DPkg::Lock::Timeout=600",
        "-o",
        "Acquire::Retries=5",
        "-o",
        "Dpkg::Options::=--force-confold",
    ]);
    command
}

fn has_candidate(package: &str) -> Result<bool> {
    let output = Command::new("apt-cache")
        .args(["policy", package])
        .env("LC_ALL", "C")
        .output()
        .context("cannot run apt-cache")?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .any(|line| line.trim().starts_with("Candidate:") && !line.contains("(none)")))
}

/// The package indexes of component main that the host's apt knows, in its own order.
fn index_targets(format: &str, filters: &[&str]) -> Result<Vec<String>> {
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", format])
        .args(["Created-By: Packages", "Component: main"])
        .args(filters)
        .output()
        .context("cannot run apt-get")?;
    anyhow::ensure!(
        output.status.success(),
        "apt-get indextargets failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?
        .lines()
        .map(str::to_owned)
        .collect())
}

/// Adds contrib of the release that the host's main comes from, in a file of our own that copies
/// the host's entry, so that mirror, keyring and options are the same.
fn enable_contrib() -> Result<()> {
    let entry = index_targets("$(SOURCESENTRY)", &["Origin: Debian", "Label: Debian"])?
        .into_iter()
        .next()
        .context("apt knows neither libzfslinux-dev nor a Debian mirror to take contrib from")?;
    let (file, number) = entry
        .rsplit_once(':')
        .and_then(|(file, number)| Some((file, number.parse::<usize>().ok()?)))
        .with_context(|| format!("apt names its source as {entry:?}"))?;
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
    let (extension, contrib) = if file.ends_with(".sources") {
        ("sources", contrib_stanza(&text, number))
    } else {
        ("list", contrib_line(&text, number))
    };
    let contrib = contrib.with_context(|| format!("no entry {number} in {file}"))?;
    let target = format!("/etc/apt/sources.list.d/helix-zfs-contrib.{extension}");
    eprintln!("enabling contrib: {target}");
    let run = cache::RunDir::new()?;
    let file = run.path().join("contrib");
    fs::write(&file, contrib)?;
    install(&file, Path::new(&target))
}

fn install(file: &Path, target: &Path) -> Result<()> {
    let status = as_root("install")
        .args(["-m", "644"])
        .arg(file)
        .arg(target)
        .status()
        .context("cannot run install")?;
    anyhow::ensure!(status.success(), "cannot write {}", target.display());
    Ok(())
}

/// The stanza with that number of a deb822 file, for contrib.
fn contrib_stanza(text: &str, number: usize) -> Option<String> {
    let mut stanzas = vec![String::new()];
    for line in text.lines() {
        if line.trim().is_empty() {
            stanzas.push(String::new());
        } else if let Some(stanza) = stanzas.last_mut() {
            let line = if line.to_ascii_lowercase().starts_with("components:") {
                "Components: contrib"
            } else {
                line
            };
            if !line.starts_with('#') {
                stanza.push_str(line);
                stanza.push('\n');
            }
        }
    }
    stanzas.retain(|stanza| !stanza.is_empty());
    stanzas.into_iter().nth(number.checked_sub(1)?)
}

/// The line with that number of a one-line-style file, for contrib.
fn contrib_line(text: &str, number: usize) -> Option<String> {
    let line = text.lines().nth(number.checked_sub(1)?)?;
    // Options in brackets may hold spaces; the URL and the suite come after them.
    let after = line.find(']').map_or(0, |at| at + 1);
    let (options, rest) = line.split_at_checked(after)?;
    let mut words = rest.split_whitespace();
    let words: Vec<&str> = if options.is_empty() {
        words.by_ref().take(3).collect()
    } else {
        words.by_ref().take(2).collect()
    };
    Some(
        format!("{options} {} contrib\n", words.join(" "))
            .trim_start()
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::{contrib_line, contrib_stanza};

    #[test]
    fn contrib_keeps_mirror_and_keyring_of_the_stanza() {
        let text = "Types: deb\n# a comment\nURIs: http://one/debian\nSuites: a a-updates\n\
                    Components: main\nSigned-By: /k.gpg\n\n\nTypes: deb\nURIs: http://two\n\
                    Suites: b\nComponents: main\n";
        assert_eq!(
            contrib_stanza(text, 1).unwrap(),
            "Types: deb\nURIs: http://one/debian\nSuites: a a-updates\nComponents: contrib\n\
             Signed-By: /k.gpg\n"
        );
        assert!(contrib_stanza(text, 2).unwrap().contains("http://two"));
        assert_eq!(contrib_stanza(text, 3), None);
    }

    #[test]
    fn contrib_keeps_options_of_the_line() {
        let text = "# first\ndeb [signed-by=/k.gpg arch=amd64] http://one/debian a main extra\n\
                    deb http://two/debian b main\n";
        assert_eq!(
            contrib_line(text, 2).unwrap(),
            "deb [signed-by=/k.gpg arch=amd64] http://one/debian a contrib\n"
        );
        assert_eq!(
            contrib_line(text, 3).unwrap(),
            "deb http://two/debian b contrib\n"
        );
    }
}
