//! The cache folder: finished guests, locks, and the folders of runs under way.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// The cache folder, created when missing.
pub(crate) fn root() -> Result<PathBuf> {
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
pub(crate) struct Lock(File);

impl Lock {
    /// Takes the lock alone. When another process has it for long, `what` tells the user what is
    /// being waited for.
    pub(crate) fn exclusive(path: &Path, what: &str) -> Result<Self> {
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
    pub(crate) fn shared(path: &Path) -> Result<Self> {
        let file = open_lock(path)?;
        flock(file.as_fd(), FlockOperation::LockShared)?;
        Ok(Self(file))
    }

    /// Takes the lock alone, or returns `None` when anybody has it.
    pub(crate) fn try_exclusive(path: &Path) -> Result<Option<Self>> {
        let file = open_lock(path)?;
        match flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Lets other readers in.
    pub(crate) fn share(&self) -> Result<()> {
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

/// A folder for the files of one run; removed with everything in it when it is dropped, on a
/// signal, or by a later run when this process was killed.
#[derive(Debug)]
pub(crate) struct RunDir {
    path: PathBuf,
    _lock: Lock,
}

impl RunDir {
    pub(crate) fn new() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let runs = root()?.join("run");
        fs::create_dir_all(&runs)?;
        let _all = Lock::exclusive(&runs.join("lock"), "run folder")?;
        for entry in fs::read_dir(&runs)? {
            let path = entry?.path();
            if path.is_dir() && Lock::try_exclusive(&path.join("lock"))?.is_some() {
                if let Err(error) = fs::remove_dir_all(&path) {
                    eprintln!("left by an earlier run: {}: {error}", path.display());
                }
            }
        }
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = runs.join(format!("{}-{count}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        let lock = Lock::exclusive(&path.join("lock"), "run folder")?;
        Ok(Self { path, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next run.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Makes SIGINT, SIGTERM and SIGHUP remove this process's run folders before they end it. The
/// processes it started end with it by themselves.
pub(crate) fn clean_up_on_signals() -> Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let runs = root()?.join("run");
    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            let prefix = format!("{}-", std::process::id());
            for entry in fs::read_dir(&runs).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().starts_with(&prefix) {
                    let _ = fs::remove_dir_all(entry.path());
                }
            }
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}
