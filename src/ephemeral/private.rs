//! The thread that a private mount namespace is on.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use zfs_core::mount::{MountOptions, UnmountMode};
use zfs_core::{Dataset, Zfs};

use super::{EphemeralClone, EphemeralError};

type Job = Box<dyn FnOnce() + Send>;

/// How often the thread looks whether the clone has expired: its time may be changed, the clock be
/// set, and a clone that is in use come free.
const LOOK: Duration = Duration::from_secs(5);

/// A thread in a mount namespace of its own, in which the clone is mounted.
#[derive(Debug)]
pub(super) struct Private {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Private {
    /// Starts the thread and waits until the clone is mounted.
    pub(super) fn start(
        clone: &EphemeralClone,
        dataset: &Dataset,
        folder: &Path,
    ) -> Result<Self, EphemeralError> {
        let (jobs, todo) = mpsc::channel::<Job>();
        let (mounted, outcome) = mpsc::channel();
        let (clone, dataset, folder) = (clone.clone(), dataset.clone(), folder.to_owned());
        let thread = std::thread::Builder::new()
            .name(String::from("zfs-private"))
            .spawn(move || {
                let entered = dataset
                    .zfs()
                    .enter_private_namespace(&folder)
                    .and_then(|()| mount(&dataset, &folder));
                let is_mounted = entered.is_ok();
                let _ = mounted.send(entered);
                if is_mounted {
                    work(clone, dataset.zfs(), &todo);
                }
            })
            .map_err(|source| EphemeralError::Thread { source })?;
        // A thread that ended without a word did so by a panic, which it printed.
        let outcome = outcome.recv().map_err(|_| EphemeralError::Thread {
            source: std::io::ErrorKind::Other.into(),
        })?;
        outcome?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Runs `action` on the thread. `None` when that is gone, because the clone expired.
    pub(super) fn run<T: Send + 'static>(
        &self,
        action: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (done, outcome) = mpsc::channel();
        let job = move || {
            let _ = done.send(catch_unwind(AssertUnwindSafe(action)));
        };
        self.jobs.as_ref()?.send(Box::new(job)).ok()?;
        match outcome.recv().ok()? {
            Ok(value) => Some(value),
            // It is the caller's own.
            Err(panic) => resume_unwind(panic),
        }
    }
}

impl Drop for Private {
    /// Unmounts the clone, if nobody uses it, and ends the thread. The namespace ends with it, or with
    /// the last process in it.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn mount(dataset: &Dataset, folder: &Path) -> zfs_core::Result<PathBuf> {
    dataset.mount(&MountOptions::new().at(folder))
}

/// Does what it is given until there is nobody to give it, or until the clone expired and is removed.
fn work(mut clone: EphemeralClone, zfs: &Zfs, todo: &Receiver<Job>) {
    loop {
        let left = clone.expires.duration_since(SystemTime::now());
        match todo.recv_timeout(left.unwrap_or(LOOK).min(LOOK)) {
            Ok(job) => job(),
            Err(RecvTimeoutError::Timeout) if expire(&mut clone, zfs).is_ok_and(|gone| gone) => {
                return;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                // Whoever removes it finds out if it is in use.
                let _ = unmount(&clone, zfs);
                return;
            }
        }
    }
}

/// Removes the clone if it has expired; whether it is gone. Its time can be changed from elsewhere.
fn expire(clone: &mut EphemeralClone, zfs: &Zfs) -> Result<bool, EphemeralError> {
    clone.expires = EphemeralClone::of(&zfs.dataset(clone.dataset.as_str())?)?.expires;
    if !clone.is_expired(SystemTime::now()) {
        return Ok(false);
    }
    unmount(clone, zfs)?;
    clone.remove_allowed(zfs)?;
    Ok(true)
}

fn unmount(clone: &EphemeralClone, zfs: &Zfs) -> zfs_core::Result<Vec<PathBuf>> {
    zfs.dataset(clone.dataset.as_str())?
        .unmount(UnmountMode::Unused)
}
