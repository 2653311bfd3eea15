//! The pool that a benchmark works on.

use std::ffi::OsStr;
use std::fs::File;
use std::process::Command;

use helix_zfs::zfs_core::{CreateOptions, Dataset, Zfs};
use tempfile::TempDir;

use super::Result;

/// Runs a command that must succeed and says nothing.
pub(crate) fn run<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> Result<()> {
    let mut command = Command::new(program);
    let status = command.args(arguments).status()?;
    if !status.success() {
        return Err(format!("{command:?}: {status}").into());
    }
    Ok(())
}

/// A pool of the benchmark's own, destroyed when dropped.
pub(crate) struct BenchPool {
    name: String,
    _folder: Option<TempDir>,
}

impl BenchPool {
    /// On a scratch disk of the guest, else on a file in a temporary folder.
    pub(crate) fn new() -> Result<Self> {
        let disks = std::env::var("HELIX_ZFS_DISKS").unwrap_or_default();
        let (vdev, folder) = match disks.split_whitespace().next() {
            Some(disk) => (disk.to_owned(), None),
            None if std::env::var_os("HELIX_ZFS_NATIVE").is_some() => {
                let folder = TempDir::with_prefix("helix-zfs-")?;
                let file = folder.path().join("disk");
                File::create(&file)?.set_len(1 << 30)?;
                let file = file.to_str().ok_or("the temporary folder is not UTF-8")?;
                (file.to_owned(), Some(folder))
            }
            None => {
                return Err(
                    "this needs a guest with a scratch disk (HELIX_ZFS_DISKS), or \
                            HELIX_ZFS_NATIVE=1: run `cargo xtask bench`"
                        .into(),
                );
            }
        };
        Self::create(&[vdev], folder)
    }

    fn create(vdevs: &[String], folder: Option<TempDir>) -> Result<Self> {
        let name = format!("hz-bench-{}", std::process::id());
        let options = "-f -o cachefile=none -O mountpoint=none";
        let mut arguments = vec!["create"];
        arguments.extend(options.split(' '));
        arguments.push(&name);
        arguments.extend(vdevs.iter().map(String::as_str));
        run("zpool", &arguments)?;
        Ok(Self {
            name,
            _folder: folder,
        })
    }

    /// Its root filesystem.
    pub(crate) fn root(&self, zfs: &Zfs) -> Result<Dataset> {
        Ok(zfs.dataset(&self.name)?)
    }

    /// Mirrors of two files each, in a temporary folder.
    pub(crate) fn mirrors(count: usize) -> Result<Self> {
        let folder = TempDir::with_prefix("helix-zfs-")?;
        let mut vdevs = Vec::new();
        for n in 0..2 * count {
            if n % 2 == 0 {
                vdevs.push(String::from("mirror"));
            }
            let file = folder.path().join(format!("disk{n}"));
            File::create(&file)?.set_len(64 << 20)?;
            let file = file.to_str().ok_or("the temporary folder is not UTF-8")?;
            vdevs.push(file.to_owned());
        }
        Self::create(&vdevs, Some(folder))
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// New filesystems in this pool.
    pub(crate) fn filesystems(&self, zfs: &Zfs, count: usize) -> Result<Vec<Dataset>> {
        (0..count)
            .map(|n| {
                let dataset = zfs.dataset(&format!("{}/fs{n:03}", self.name))?;
                dataset.create(&CreateOptions::filesystem())?;
                Ok(dataset)
            })
            .collect()
    }
}

impl Drop for BenchPool {
    fn drop(&mut self) {
        if let Err(error) = run("zpool", &["destroy", "-f", &self.name]) {
            eprintln!("{error}");
        }
    }
}
