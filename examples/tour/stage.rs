//! The pool that the tour plays on.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use helix_zfs::Step;
use helix_zfs::gate::{Capability, Operation};
use helix_zfs::layout::{ApplyOptions, DeviceMap, Layout};
use helix_zfs::zfs_core::pool::{VdevClass, VdevKind};
use helix_zfs::zfs_core::props::Sync;
use helix_zfs::zfs_core::{Dataset, Health, Pool, SyncMode, Vdev, Zfs};
use tempfile::TempDir;

use crate::gate::OwnGate;
use crate::story::{Bytes, Result, Story};

/// By the names that the layout has for them.
const DEVICES: [&str; 3] = ["data-1", "data-2", "log"];
const DEVICE_SIZE: u64 = 160 << 20;

/// A mirrored pool of the tour's own, which goes with this value.
pub(crate) struct Stage {
    pub(crate) pool: Pool,
    /// The dataset that tenants live below.
    pub(crate) tenants: Dataset,
    imported: bool,
    loops: Vec<Loop>,
    folder: TempDir,
    gate: OwnGate,
}

impl Stage {
    pub(crate) fn build(story: &mut Story, zfs: &Zfs) -> Result<Self> {
        story.step("A layout becomes a pool", |story| {
            let name = format!("helix-tour-{}", std::process::id());
            let pool = zfs.pool(&name)?;
            let mut stage = Self {
                tenants: pool.root().child("tenants")?,
                pool,
                imported: false,
                loops: Vec::new(),
                folder: TempDir::with_prefix("helix-tour-")?,
                gate: OwnGate::open(zfs)?,
            };
            let devices = stage.make_devices(story)?;
            let layout = layout(&name)?;
            let plan = layout.plan(zfs, &devices)?;
            story.same(
                "nothing of it contradicts what is there",
                plan.conflicts(),
                &[],
            )?;
            stage.imported = true;
            let apply = stage.may(Operation::ApplyLayout)?;
            let applied = plan.apply(&apply, zfs, &ApplyOptions::new(), &mut |step| {
                if let Step::Done(change) = step {
                    println!("   {change}");
                }
            })?;
            if let Some((change, error)) = applied.failures().next() {
                return Err(format!("{change}: {error}").into());
            }
            story.same(
                "planned again, there is nothing left to do",
                layout.plan(zfs, &devices)?.changes(),
                &[],
            )?;

            let status = stage.pool.status()?;
            story.say(format_args!("{} is {}:", stage.pool.name(), status.health));
            for vdev in &status.root.children {
                print(story, vdev, 1);
            }
            let [mirror, log] = status.root.children.as_slice() else {
                let found = status.root.children.len();
                return Err(format!("{found} top-level vdevs").into());
            };
            story.same(
                "it is a mirror of two devices, with a log device",
                (&mirror.kind, mirror.children.len(), log.class),
                (&VdevKind::Mirror, 2, VdevClass::Log),
            )?;
            story.check(
                status.vdevs().all(|vdev| vdev.health() == Health::Online),
                "and all of it is online",
            )?;
            story.same(
                "metadata is written through, logs may wait for the log device",
                [
                    stage.pool.root().child("metadata")?.properties()?.sync(),
                    stage.pool.root().child("logs")?.properties()?.sync(),
                ],
                [Some(Sync::Always), Some(Sync::Standard)],
            )?;
            let size = stage.pool.properties()?.size().unwrap_or_default();
            let figures = format!("{} changes, {} usable", plan.changes().len(), Bytes(size));
            Ok((stage, figures))
        })
    }

    fn make_devices(&mut self, story: &Story) -> Result<DeviceMap> {
        let native = std::env::var_os("HELIX_ZFS_NATIVE").is_some();
        let mut devices = Vec::new();
        for name in DEVICES {
            let path = self.folder.path().join(name);
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
            "{} files of {} stand in for disks: {}",
            DEVICES.len(),
            Bytes(DEVICE_SIZE),
            devices.join(", ")
        ));
        Ok(DEVICES
            .into_iter()
            .zip(devices)
            .fold(DeviceMap::new(), |map, (name, path)| map.device(name, path)))
    }

    /// What the gate lets the tour do, with all of its pool.
    pub(crate) fn may(&self, operation: Operation) -> Result<Capability> {
        self.gate.capability(operation, self.pool.root().name())
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
            self.pool.destroy()?;
            self.imported = false;
            story.check(
                !self.pool.exists()?,
                "the kernel knows no such pool any more",
            )?;
            for device in &mut self.loops {
                device.detach()?;
            }
            Ok(((), format!("{} devices free again", DEVICES.len())))
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

/// What the pool is to be like. The same text on other devices is another machine's.
fn layout(pool: &str) -> Result<Layout> {
    let text = serde_json::json!({
        "version": 1,
        "pools": { pool: {
            "data": [{ "mirror": ["data-1", "data-2"] }],
            "log": [{ "device": "log" }],
            "root": { "properties": { "mountpoint": "legacy", "atime": false } },
        } },
        "datasets": {
            format!("{pool}/tenants"): {},
            format!("{pool}/metadata"): {
                "policy": "transactional",
                "properties": { "recordsize": "16K" },
            },
            format!("{pool}/logs"): { "policy": "log" },
            format!("{pool}/ephemeral"): {},
        },
    });
    Ok(Layout::from_json(&text.to_string())?)
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
