//! The cache folder, which `cargo xtask` and the tests share, and locks on its files.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// The cache folder, created when missing: `$HELIX_ZFS_CACHE`, else `helix-zfs` in
/// `$XDG_CACHE_HOME` or `~/.cache`.
///
/// # Errors
///
/// When none of the variables is set, or the folder cannot be created.
pub fn root() -> Result<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let root = if let Some(path) = variable("HELIX_ZFS_CACHE") {
        std::path::absolute(path)?
    } else if let Some(path) = variable("XDG_CACHE_HOME") {
        Path::new(&path).join("helix-zfs")
    } else {
        let home = variable("HOME").context("neither HELIX_ZFS_CACHE nor HOME is set")?;
        Path::new(&home).join(".cache/helix-zfs")
    };
    fs::create_dir_all(&root).with_context(|| format!("cannot create {}", root.display()))?;
    Ok(root)
}

/// A lock on a file of the cache, held until it is dropped or the process ends.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Takes the lock alone. When another process has it for long, `what` tells the user what is
    /// being waited for.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened or locked.
    #[allow(
        clippy::print_stderr,
        reason = "whoever waits for minutes wants to know for what"
    )]
    pub fn exclusive(path: &Path, what: &str) -> Result<Self> {
        for _ in 0..20 {
            if let Some(lock) = Self::try_exclusive(path)? {
                return Ok(lock);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        eprintln!("{what}: waiting for another run that does the same");
        let file = open_lock(path)?;
        flock(file.as_fd(), FlockOperation::LockExclusive)?;
        Ok(Self(file))
    }

    /// Takes the lock together with other readers.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened or locked.
    pub fn shared(path: &Path) -> Result<Self> {
        let file = open_lock(path)?;
        flock(file.as_fd(), FlockOperation::LockShared)?;
        Ok(Self(file))
    }

    /// Takes the lock alone, or returns `None` when anybody has it.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened or locked.
    pub fn try_exclusive(path: &Path) -> Result<Option<Self>> {
        let file = open_lock(path)?;
        match flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Lets other readers in.
    ///
    /// # Errors
    ///
    /// When the file cannot be locked.
    pub fn share(&self) -> Result<()> {
        Ok(flock(self.0.as_fd(), FlockOperation::LockShared)?)
    }
}

fn open_lock(path: &Path) -> Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))
}
