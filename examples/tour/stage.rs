//! The pool that the tour plays on.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use helix_zfs::zfs_core::pool::VdevKind;
use helix_zfs::zfs_core::{CreateOptions, Dataset, Health, Pool, SyncMode, Vdev, Zfs};
use tempfile::TempDir;

use crate::story::{Bytes, Result, Story};

const DEVICES: usize = 2;
const DEVICE_SIZE: u64 = 160 << 20;

/// A mirrored pool of the tour's own, which goes with this value.
pub(crate) struct Stage {
    pub(crate) pool: Pool,
    /// The dataset that tenants live below.
    pub(crate) tenants: Dataset,
    imported: bool,
    loops: Vec<Loop>,
    folder: TempDir,
}

impl Stage {
    pub(crate) fn build(story: &mut Story, zfs: &Zfs) -> Result<Self> {
        story.step("A mirrored pool", |story| {
            let name = format!("helix-tour-{}", std::process::id());
            let pool = zfs.pool(&name)?;
            let mut stage = Self {
                tenants: pool.root().child("tenants")?,
                pool,
                imported: false,
                loops: Vec::new(),
                folder: TempDir::with_prefix("helix-tour-")?,
            };
            let devices = stage.make_devices(story)?;
            story.say(
                "Pools are made by the zpool command for now: this library opens and inspects them.",
            );
            let mut arguments = vec!["create", "-o", "cachefile=none", "-O", "mountpoint=legacy"];
            arguments.extend(["-O", "atime=off", name.as_str(), "mirror"]);
            arguments.extend(devices.iter().map(String::as_str));
            run("zpool", &arguments)?;
            stage.imported = true;

            let status = stage.pool.status()?;
            story.say(format_args!("{} is {}:", stage.pool.name(), status.health));
            for vdev in &status.root.children {
                print(story, vdev, 1);
            }
            let mirror = match status.root.children.as_slice() {
                [mirror] => mirror,
                other => return Err(format!("{} top-level vdevs", other.len()).into()),
            };
            story.same("it is a mirror", &mirror.kind, &VdevKind::Mirror)?;
            story.same("of two devices", mirror.children.len(), DEVICES)?;
            story.check(
                status.vdevs().all(|vdev| vdev.health() == Health::Online),
                "and all of it is online",
            )?;
            stage.tenants.create(&CreateOptions::filesystem())?;
            let size = stage.pool.properties()?.size().unwrap_or_default();
            let figures = format!("{DEVICES} devices, {} usable", Bytes(size));
            Ok((stage, figures))
        })
    }

    fn make_devices(&mut self, story: &Story) -> Result<Vec<String>> {
        let native = std::env::var_os("HELIX_ZFS_NATIVE").is_some();
        let mut devices = Vec::new();
        for number in 0..DEVICES {
            let path = self.folder.path().join(format!("disk{number}"));
            File::create(&path)?.set_len(DEVICE_SIZE)?;
            // On somebody's machine the tour stays within its files.
            devices.push(if native {
                text(&path)?.to_owned()
            } else {
                let device = Loop::attach(&path)?;
                let name = device.name.clone();
                self.loops.push(device);
                name
            });
        }
        story.say(format_args!(
            "{DEVICES} files of {} stand in for disks: {}",
            Bytes(DEVICE_SIZE),
            devices.join(", ")
        ));
        Ok(devices)
    }

    /// A place to mount something.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// Waits until everything is written, so that the kernel's figures have it.
    pub(crate) fn sync(&self) -> Result {
        Ok(self.pool.sync(SyncMode::Pending)?)
    }

    /// Takes the pool and its devices away.
    pub(crate) fn remove(mut self, story: &mut Story) -> Result {
        story.step("The pool removed", |story| {
            run("zpool", &["destroy", self.pool.name().as_str()])?;
            self.imported = false;
            story.check(
                !self.pool.exists()?,
                "the kernel knows no such pool any more",
            )?;
            for device in &mut self.loops {
                device.detach()?;
            }
            Ok(((), format!("{DEVICES} devices free again")))
        })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if self.imported {
            // After a failure something may still be mounted.
            if let Err(error) = run("zpool", &["destroy", "-f", self.pool.name().as_str()]) {
                eprintln!("tour: {error}");
            }
        }
    }
}

fn print(story: &Story, vdev: &Vdev, depth: usize) {
    let indent = 2 * depth;
    story.say(format_args!("{:indent$}{vdev} {}", "", vdev.health()));
    for child in &vdev.children {
        print(story, child, depth + 1);
    }
}

/// A loopback device, detached with this value.
struct Loop {
    name: String,
    attached: bool,
}

impl Loop {
    fn attach(file: &Path) -> Result<Self> {
        const ATTEMPTS: u32 = 10;
        let mut attempt = 0;
        loop {
            attempt += 1;
            // Not every losetup finds a device and attaches it in one go, and between the two
            // somebody else may take it.
            let free = run("losetup", &["-f"])?.trim().to_owned();
            match run("losetup", &[&free, text(file)?]) {
                Ok(_) => {
                    return Ok(Self {
                        name: free,
                        attached: true,
                    });
                }
                Err(error) if attempt == ATTEMPTS => return Err(error),
                Err(_) => {}
            }
        }
    }

    fn detach(&mut self) -> Result {
        run("losetup", &["-d", &self.name])?;
        self.attached = false;
        Ok(())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        if self.attached {
            if let Err(error) = self.detach() {
                eprintln!("tour: {error}");
            }
        }
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str()
        .ok_or_else(|| format!("{} is not UTF-8", path.display()).into())
}

/// Runs a command and returns what it printed.
fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program} {}: {}", arguments.join(" "), message.trim()).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
