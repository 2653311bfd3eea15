//! Capabilities for tests.

use super::{shared_pool, zfs};
use helix_zfs::gate::audit::AuditLog;
use helix_zfs::gate::{Capability, Gate, JobQueue, JobSpec, Operation, Rules, Scope, SqliteQueue};
use helix_zfs::zfs_core::DatasetName;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

/// Longer than any test runs.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The gate of this process, which lets everybody do everything.
pub(crate) struct OpenGate {
    queue: Arc<SqliteQueue>,
    gate: Gate,
    dir: TempDir,
}

pub(crate) fn open_gate() -> OpenGate {
    let dir = TempDir::with_prefix("helix-zfs-").expect("a temporary folder");
    let queue = Arc::new(SqliteQueue::in_memory().expect("a queue"));
    let audit = AuditLog::open(dir.path().join("audit.log")).expect("an audit log");
    let jobs: Arc<dyn JobQueue> = queue.clone();
    let gate = Gate::open(&zfs(), jobs, audit, Rules::allow_all()).expect("a gate");
    OpenGate { queue, gate, dir }
}

impl OpenGate {
    pub(crate) fn audit_file(&self) -> std::path::PathBuf {
        self.dir.path().join("audit.log")
    }

    /// A capability for `operation` in `scope`, which lasts for `time`.
    pub(crate) fn grant(&self, operation: Operation, scope: Scope, time: Duration) -> Capability {
        let job = JobSpec::new(operation, scope, "a test");
        let job = self.queue.submit(&job).expect("a job");
        let lease = self.queue.lease_job(&job, "a test", time);
        let lease = lease.expect("a queue").expect("a lease");
        self.gate.grant(&lease).expect("a capability")
    }
}

static GATE: LazyLock<OpenGate> = LazyLock::new(open_gate);

/// A capability of this process's gate.
pub(crate) fn grant(operation: Operation, scope: Scope, time: Duration) -> Capability {
    GATE.grant(operation, scope, time)
}

/// A capability for `operation` in the whole pool that `name` is in, for tests that are about something
/// else. It ends with the process.
pub(crate) fn may(operation: Operation, name: &impl AsRef<DatasetName>) -> &'static Capability {
    may_in(operation, name.as_ref().pool())
}

/// As [`may`], in the pool that tests share.
pub(crate) fn allowed(operation: Operation) -> &'static Capability {
    may_in(operation, &shared_pool().name)
}

/// As [`may`], in the pool of that name.
pub(crate) fn may_in(operation: Operation, pool: &str) -> &'static Capability {
    type Granted = BTreeMap<(Operation, String), &'static Capability>;
    static GRANTED: Mutex<Granted> = Mutex::new(BTreeMap::new());
    let key = (operation, pool.to_owned());
    let mut granted = GRANTED.lock().unwrap_or_else(PoisonError::into_inner);
    granted.entry(key).or_insert_with(|| {
        let scope = Scope::below(&DatasetName::new(pool).expect("a pool's name"));
        Box::leak(Box::new(GATE.grant(operation, scope, DAY)))
    })
}
