//! The audit log of a [`Gate`](super::Gate).
//!
//! It is a file of JSON objects, one a line. Each has the hash of the one before and its own, so that
//! none can be changed, left out or put in between without all that follow being written anew. That
//! somebody did so, or cut off the end, is seen from outside of the file: the gate writes the number
//! and the hash of each record into the history of the pool, where nothing can be changed
//! ([`AuditAnchor`]).
//!
//! A record is on disk before [`AuditLog::append`] returns. Callers that append at the same time share
//! one wait for the disk. Several processes may append to one log: each locks the file while it does.
//!
//! A process that is killed, or a machine that loses its power, may leave the beginning of a record.
//! It stays where it is, and a record of the kind [`Torn`](AuditKind::Torn) follows it, which says how
//! long it is and what its hash is. It is the record of something that was not done yet.

mod anchor;
mod append;
mod error;
mod hash;
mod record;
mod tail;
mod verify;

pub use anchor::AuditAnchor;
pub use error::AuditError;
pub use hash::{AuditHash, InvalidAuditHash};
pub use record::{AuditEvent, AuditKind, AuditRecord};
pub use verify::{AuditBreak, AuditRecords, AuditReport};

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};

use rustix::fs::{FlockOperation, OFlags};
use serde::Serialize;

/// Where a record is in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AuditMark {
    /// Its number.
    pub seq: u64,
    /// Its hash.
    pub hash: AuditHash,
}

impl AuditMark {
    /// Before the first record.
    const NONE: Self = Self {
        seq: 0,
        hash: AuditHash::NONE,
    };
}

impl AuditRecord {
    /// Where it is in its log.
    #[must_use]
    pub fn mark(&self) -> AuditMark {
        AuditMark {
            seq: self.seq,
            hash: self.hash,
        }
    }
}

/// How much was written through an [`AuditLog`] since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AuditStats {
    /// Records that were appended.
    pub records: u64,
    /// Waits for the disk.
    pub syncs: u64,
}

/// An audit log that is open. Clones share it; any number of threads may use it at once.
#[derive(Clone, Debug)]
pub struct AuditLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    file: File,
    /// The hash of the first record, which tells this log from others.
    id: AuditHash,
    state: Mutex<append::State>,
    /// Told when a leader is done.
    done: Condvar,
}

impl AuditLog {
    /// Opens the log `path`, and makes it if it is not there: with the mode 0600, in a folder that is
    /// there. What a process that died has left at its end is put on record.
    ///
    /// The end of the log is looked at, and not all of it: that is [`verify`](Self::verify)'s.
    ///
    /// # Errors
    ///
    /// `Unsafe` when the log is no regular file, belongs to another user, or others may read or write
    /// it; `Damaged` when its end is not what a log ends with; `Io`.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, AuditError> {
        let path = path.into();
        let (file, new) = open_or_make(&path)?;
        check_access(&path, &file)?;
        if new {
            // The name has to be on disk as well.
            let folder = match path.parent() {
                Some(folder) if folder != Path::new("") => folder,
                _ => Path::new("."),
            };
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(io_error("make", &path))?;
        }
        let (tail, id) = append::begin(&path, &file)?;
        Ok(Self {
            shared: Arc::new(Shared {
                path,
                file,
                id,
                state: Mutex::new(append::State::new(tail)),
                done: Condvar::new(),
            }),
        })
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// The hash of its first record, which tells it from other logs.
    #[must_use]
    pub fn id(&self) -> AuditHash {
        self.shared.id
    }
}

fn io_error(what: &'static str, path: &Path) -> impl Fn(io::Error) -> AuditError {
    let path = path.to_owned();
    move |source| AuditError::Io {
        what,
        path: path.clone(),
        source: Arc::new(source),
    }
}

/// The file, and whether it was made.
fn open_or_make(path: &Path) -> Result<(File, bool), AuditError> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .append(true)
        .mode(0o600)
        .custom_flags(i32::from_ne_bytes(OFlags::NOFOLLOW.bits().to_ne_bytes()));
    match options.open(path) {
        Ok(file) => Ok((file, false)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            match options.create_new(true).open(path) {
                Ok(file) => Ok((file, true)),
                // Another process was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options
                    .create_new(false)
                    .open(path)
                    .map(|file| (file, false))
                    .map_err(io_error("open", path)),
                Err(error) => Err(io_error("make", path)(error)),
            }
        }
        Err(error) => Err(io_error("open", path)(error)),
    }
}

fn check_access(path: &Path, file: &File) -> Result<(), AuditError> {
    let refuse = |why: String| {
        Err(AuditError::Unsafe {
            path: path.to_owned(),
            why,
        })
    };
    let metadata = file.metadata().map_err(io_error("open", path))?;
    if !metadata.is_file() {
        return refuse("it is no regular file".to_owned());
    }
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user {
        return refuse(format!("it belongs to user {}, not {user}", metadata.uid()));
    }
    match metadata.mode() & 0o7777 {
        mode if mode & 0o077 != 0 => refuse(format!("its mode is {mode:04o}, not 0600")),
        _ => Ok(()),
    }
}

/// The lock that keeps other processes, and other logs of this one, from the file.
#[derive(Debug)]
struct Locked<'a>(&'a File);

impl<'a> Locked<'a> {
    fn new(path: &Path, file: &'a File, how: FlockOperation) -> Result<Self, AuditError> {
        loop {
            match rustix::fs::flock(file, how) {
                Ok(()) => return Ok(Self(file)),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(io_error("lock", path)(errno.into())),
            }
        }
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // There is nothing that could be done about it.
        let _ = rustix::fs::flock(self.0, FlockOperation::Unlock);
    }
}
