//! The cache folder and the folders of runs under way.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

pub(crate) use servers::cache::{Lock, root};

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
