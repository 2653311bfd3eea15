//! The gate of one program: its jobs are in memory, and its audit log is the file that
//! `HELIX_AUDIT_LOG` names, or one that goes with the program. Every record is in the pool's history
//! too.
//!
//! A service has one gate for all that it does, a queue in a file or in PostgreSQL, and rules:
//! `helixctl` does it so.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use helix_zfs::gate::audit::AuditLog;
use helix_zfs::gate::{Capability, Gate, JobQueue, JobSpec, Operation, Rules, Scope, SqliteQueue};
use helix_zfs::zfs_core::{DatasetName, Zfs};
use tempfile::TempDir;

const ACTOR: &str = "example";
/// Longer than the program runs.
const LEASE: Duration = Duration::from_secs(24 * 3600);

pub(crate) struct OwnGate {
    gate: Gate,
    _folder: Option<TempDir>,
}

impl OwnGate {
    pub(crate) fn open(zfs: &Zfs) -> Result<Self, Box<dyn Error>> {
        let (path, folder) = match std::env::var_os("HELIX_AUDIT_LOG") {
            Some(path) => (PathBuf::from(path), None),
            None => {
                let folder = TempDir::with_prefix("helix-gate-")?;
                (folder.path().join("audit.log"), Some(folder))
            }
        };
        let queue: Arc<dyn JobQueue> = Arc::new(SqliteQueue::in_memory()?);
        let gate = Gate::open(zfs, queue, AuditLog::open(path)?, Rules::allow_all())?;
        Ok(Self {
            gate,
            _folder: folder,
        })
    }

    /// Submits a job, leases it, and returns the capability for it.
    pub(crate) fn capability(
        &self,
        operation: Operation,
        scope: &DatasetName,
    ) -> Result<Capability, Box<dyn Error>> {
        let queue = self.gate.queue();
        let job = queue.submit(&JobSpec::new(operation, Scope::below(scope), ACTOR))?;
        let lease = queue.lease_job(&job, ACTOR, LEASE)?;
        Ok(self
            .gate
            .grant(&lease.ok_or("the job is somebody else's")?)?)
    }
}
