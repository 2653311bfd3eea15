//! Guests: one per OpenZFS version, built from Debian's packages into the cache.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::cache::{self, Lock, RunDir};
use crate::{host, progress};

/// Takes the kernel, the programs and the headers out of a build root.
const PACK: &str = include_str!("guest/pack.sh");

const INCLUDE: &str = "linux-image-cloud-amd64,linux-headers-cloud-amd64,zfs-dkms,\
                       zfsutils-linux,gcc,make,busybox-static,kmod";

/// zfs-dkms shows a note about licences and stops: this is its answer.
const DEBCONF: &str = "zfs-dkms zfs-dkms/note-incompatible-licenses note
zfs-dkms zfs-dkms/stop-build-for-unknown-kernel boolean false
";

/// Debian's own keys, so that a guest can be built on hosts that trust others.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A version of OpenZFS that a guest exists for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V2_1,
    V2_3,
    V2_4,
}

impl Version {
    pub(crate) const ALL: [Self; 3] = [Self::V2_1, Self::V2_3, Self::V2_4];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::V2_1 => "2.1",
            Self::V2_3 => "2.3",
            Self::V2_4 => "2.4",
        }
    }

    /// What the argument of `--zfs` means: one version, or `all`.
    pub(crate) fn parse(text: &str) -> Result<Vec<Self>> {
        if text == "all" {
            return Ok(Self::ALL.to_vec());
        }
        match Self::ALL.into_iter().find(|version| version.name() == text) {
            Some(version) => Ok(vec![version]),
            None => bail!("--zfs takes 2.1, 2.3, 2.4 or all, and not {text:?}"),
        }
    }

    /// What the argument of `--zfs` means to a command that takes one version.
    pub(crate) fn parse_one(text: &str) -> Result<Self> {
        match Self::parse(text)?.as_slice() {
            [version] => Ok(*version),
            _ => bail!("--zfs takes one version here"),
        }
    }

    /// The Debian release, and the release that OpenZFS alone is taken from.
    const fn suites(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::V2_1 => ("bookworm", None),
            Self::V2_3 => ("trixie", None),
            Self::V2_4 => ("trixie", Some("trixie-backports")),
        }
    }
}

/// A finished guest in the cache. It stays as it is while this value lives.
#[derive(Debug)]
pub(crate) struct Guest {
    version: Version,
    dir: PathBuf,
    _lock: Lock,
}

impl Guest {
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// The kernel, an ELF file.
    pub(crate) fn kernel(&self) -> PathBuf {
        self.dir.join("vmlinux")
    }

    pub(crate) fn initramfs(&self) -> PathBuf {
        self.dir.join("initramfs")
    }

    /// The folder that holds `libzfs/` and `libspl/`, the installed headers of this version.
    pub(crate) fn headers(&self) -> PathBuf {
        self.dir.join("headers")
    }

    /// The `include/` folder of this version's module source (`sys/zfs_ioctl.h` and so on).
    pub(crate) fn module_include(&self) -> PathBuf {
        self.dir.join("module-include")
    }

    /// Whether the guest has a program of this name on its PATH.
    pub(crate) fn has_command(&self, name: &str) -> Result<bool> {
        let commands = fs::read_to_string(self.dir.join("commands"))?;
        Ok(commands.lines().any(|line| line == name))
    }

    /// The exact package versions, such as `zfs-dkms 2.1.11-1+deb12u1`.
    pub(crate) fn packages(&self) -> Result<String> {
        let packages = fs::read_to_string(self.dir.join("packages"))?;
        Ok(packages.trim().replace('\t', " ").replace('\n', ", "))
    }
}

/// How much of a finished guest is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// Sizes and times: for every use.
    Quick,
    /// Contents too: for set-up.
    Full,
}

/// The guest of a version, built when the cache has none or a damaged one.
pub(crate) fn ensure(version: Version, check: Check) -> Result<Guest> {
    let guests = cache::root()?.join("guests");
    fs::create_dir_all(&guests)?;
    let name = format!("{}-{:08x}", version.name(), recipe(version));
    let dir = guests.join(&name);
    let lock_path = guests.join(format!("{name}.lock"));

    let lock = Lock::shared(&lock_path)?;
    if inspect(&dir, check)?.is_none() {
        return Ok(Guest {
            version,
            dir,
            _lock: lock,
        });
    }
    drop(lock);
    let what = format!("guest {}", version.name());
    let lock = Lock::exclusive(&lock_path, &what)?;
    // Another run may have built it in the meantime.
    if let Some(problem) = inspect(&dir, check)? {
        if dir.exists() {
            eprintln!("{what} in the cache is damaged ({problem}): building it again");
        }
        build(version, &dir)?;
        remove_older(&guests, version, &name)?;
    }
    lock.share()?;
    Ok(Guest {
        version,
        dir,
        _lock: lock,
    })
}

/// What identifies the way a guest is built; a changed way gives a guest of its own.
fn recipe(version: Version) -> u32 {
    let mut recipe = format!("{DEBCONF}\n{PACK}\n");
    for argument in bootstrap_arguments(version, "mirror", Path::new("run")) {
        recipe.push_str(&argument.to_string_lossy());
        recipe.push('\n');
    }
    // FNV-1a: the value must be the same on every machine and with every compiler.
    recipe.bytes().fold(0x811c_9dc5, |hash: u32, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// What is wrong with a guest in the cache, or `None`.
fn inspect(dir: &Path, check: Check) -> Result<Option<String>> {
    let Ok(stamp) = fs::read_to_string(dir.join("stamp.json")) else {
        return Ok(Some("it is not complete".to_owned()));
    };
    let Ok(stamp) = serde_json::from_str::<Value>(&stamp) else {
        return Ok(Some("its stamp cannot be read".to_owned()));
    };
    let measured = measure(dir)?;
    if stamp.get("measure") != Some(&measured) {
        return Ok(Some("files are missing or have changed".to_owned()));
    }
    if check == Check::Full && stamp.get("sha256") != Some(&digest(dir)?) {
        return Ok(Some("the content of a file has changed".to_owned()));
    }
    Ok(None)
}

/// Size and time of the large files, number and total size of all others.
fn measure(dir: &Path) -> Result<Value> {
    let mut large = serde_json::Map::new();
    for name in LARGE {
        let Ok(metadata) = fs::metadata(dir.join(name)) else {
            continue;
        };
        let time = metadata.modified()?.duration_since(UNIX_EPOCH)?.as_nanos();
        large.insert(
            (*name).to_owned(),
            json!([metadata.len(), time.to_string()]),
        );
    }
    let (mut files, mut bytes) = (0_u64, 0_u64);
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if entry.file_name() != "stamp.json" {
                files += 1;
                bytes += entry.metadata()?.len();
            }
        }
    }
    Ok(json!({"large": large, "files": files, "bytes": bytes}))
}

const LARGE: &[&str] = &["vmlinux", "initramfs"];

fn digest(dir: &Path) -> Result<Value> {
    let output = Command::new("sha256sum")
        .args(LARGE)
        .current_dir(dir)
        .output()
        .context("cannot run sha256sum")?;
    ensure!(output.status.success(), "sha256sum failed");
    Ok(String::from_utf8(output.stdout)?.into())
}

fn build(version: Version, dir: &Path) -> Result<()> {
    let what = format!("building guest {}", version.name());
    let run = RunDir::new()?;
    let script = run.path().join("pack.sh");
    fs::write(&script, PACK)?;
    let mut permissions = fs::metadata(&script)?.permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    fs::set_permissions(&script, permissions)?;
    let debconf = run.path().join("debconf");
    fs::write(&debconf, DEBCONF)?;
    let out = run.path().join("guest");
    fs::create_dir(&out)?;
    let log = run.path().join("build.log");
    progress::run_logged(&what, &mut bootstrap(version, run.path())?, &log)?;

    let status = host::as_root("chown")
        .arg("-R")
        .arg(format!(
            "{}:{}",
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw()
        ))
        .arg(&out)
        .status()?;
    ensure!(status.success(), "cannot take over {}", out.display());
    let stamp = json!({"measure": measure(&out)?, "sha256": digest(&out)?});
    fs::write(out.join("stamp.json"), format!("{stamp:#}\n"))?;
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    fs::rename(&out, dir).with_context(|| format!("cannot create {}", dir.display()))
}

/// The mmdebstrap command that makes a build root below `run`, packs it and removes it.
fn bootstrap(version: Version, run: &Path) -> Result<Command> {
    let mut command = host::as_root("env");
    command.args(bootstrap_arguments(version, &host::debian_mirror()?, run));
    for option in ["Acquire::Check-Valid-Until", "Acquire::Check-Date"] {
        if let Some(value) = apt_option(option)? {
            command.arg(format!("--aptopt={option} \"{value}\""));
        }
    }
    Ok(command)
}

fn bootstrap_arguments(version: Version, mirror: &str, run: &Path) -> Vec<OsString> {
    let (suite, backports) = version.suites();
    let mut arguments: Vec<OsString> = vec![
        assignment("TMPDIR", run),
        assignment("HELIX_GUEST_OUT", &run.join("guest")),
        assignment("HELIX_GUEST_DEBCONF", &run.join("debconf")),
    ];
    let mut add = |argument: &str| arguments.push(argument.into());
    // No initramfs of the distribution's own is wanted, and no debug data in the modules.
    add("INITRD=No");
    add("MAKEFLAGS=KCFLAGS=-g0 CONFIG_DEBUG_INFO_BTF_MODULES=");
    // With name spaces of its own, nothing of a build outlives it: neither a process nor a mount
    // below the folder that is then removed.
    for argument in [
        "setpriv",
        "--pdeathsig",
        "KILL",
        "unshare",
        "--mount",
        "--pid",
    ] {
        add(argument);
    }
    for argument in [
        "--fork",
        "--kill-child",
        "--mount-proc",
        "mmdebstrap",
        "--verbose",
    ] {
        add(argument);
    }
    for argument in ["--mode=root", "--variant=apt", "--format=null"] {
        add(argument);
    }
    add(&format!("--include={INCLUDE}"));
    add(r#"--aptopt=Acquire::Retries "5""#);
    for folder in ["man", "locale", "doc"] {
        add(&format!("--dpkgopt=path-exclude=/usr/share/{folder}/*"));
    }
    add("--dpkgopt=force-unsafe-io");
    if let Some(backports) = backports {
        add(&format!(
            r#"--setup-hook=mkdir -p "$1/etc/apt/preferences.d" && printf 'Package: src:zfs-linux\nPin: release n={backports}\nPin-Priority: 990\n' >"$1/etc/apt/preferences.d/zfs""#
        ));
    }
    add(r#"--essential-hook=chroot "$1" debconf-set-selections <"$HELIX_GUEST_DEBCONF""#);
    add(
        r#"--customize-hook=cd "$1/root" && APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get download zfs-test libzfslinux-dev"#,
    );
    arguments.push(with_value("--customize-hook=", &run.join("pack.sh")));
    for argument in [suite, "/dev/null"] {
        arguments.push(argument.into());
    }
    for suite in std::iter::once(suite).chain(backports) {
        arguments.push(format!("deb [signed-by={KEYRING}] {mirror} {suite} main contrib").into());
    }
    arguments
}

fn assignment(name: &str, path: &Path) -> OsString {
    with_value(&format!("{name}="), path)
}

fn with_value(prefix: &str, path: &Path) -> OsString {
    let mut text = OsString::from(prefix);
    text.push(path);
    text
}

/// What the host's apt has for an option that mmdebstrap does not hand on by itself: a host that
/// works from a dated mirror needs it in the build root too.
fn apt_option(name: &str) -> Result<Option<String>> {
    let output = Command::new("apt-config")
        .args(["dump", "--format", "%v\n", name])
        .output()
        .context("cannot run apt-config")?;
    let value = String::from_utf8(output.stdout)?.trim().to_owned();
    Ok(Some(value).filter(|value| !value.is_empty()))
}

/// Removes guests of the same version that another recipe made, if nobody uses them.
fn remove_older(guests: &Path, version: Version, current: &str) -> Result<()> {
    let prefix = format!("{}-", version.name());
    for entry in fs::read_dir(guests)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && name.starts_with(&prefix) && name != current {
            let lock = guests.join(format!("{name}.lock"));
            if Lock::try_exclusive(&lock)?.is_some() {
                fs::remove_dir_all(&path)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Version, recipe};

    #[test]
    fn versions_are_parsed() {
        assert_eq!(Version::parse("2.3").unwrap(), [Version::V2_3]);
        assert_eq!(Version::parse("all").unwrap(), Version::ALL);
        assert!(Version::parse("2.2").is_err());
        assert!(Version::parse("").is_err());
    }

    #[test]
    fn each_version_has_its_own_recipe() {
        let [one, two, three] = Version::ALL.map(recipe);
        assert!(one != two && two != three && one != three);
    }
}
