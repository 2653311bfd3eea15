//! Capabilities, who gets them, what is on record of them, and what nobody may do.

mod grants;
mod production;
mod records;

use crate::support::{Scratch, zfs};
use helix_zfs::gate::audit::{AuditKind, AuditLog, AuditRecord};
use helix_zfs::gate::{
    Capability, Gate, GateError, GateRunError, JobQueue, JobSpec, Lease, Operation, Refusal, Rules,
    Scope, SqliteQueue,
};
use helix_zfs::zfs_core::{CreateOptions, Dataset, DatasetName};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

const HOUR: Duration = Duration::from_secs(3600);

/// A gate, and datasets behind it.
struct Place {
    gate: Gate,
    queue: Arc<SqliteQueue>,
    scratch: Scratch,
    dir: TempDir,
}

impl Place {
    fn new(topic: &str, rules: impl FnOnce(&DatasetName) -> Rules) -> Self {
        let scratch = Scratch::new(topic);
        let dir = TempDir::with_prefix("helix-zfs-").unwrap();
        let queue = Arc::new(SqliteQueue::in_memory().unwrap());
        let audit = AuditLog::open(dir.path().join("audit.log")).unwrap();
        let jobs: Arc<dyn JobQueue> = queue.clone();
        let gate = Gate::open(&zfs(), jobs, audit, rules(Dataset::name(&scratch))).unwrap();
        Self {
            gate,
            queue,
            scratch,
            dir,
        }
    }

    fn open(topic: &str) -> Self {
        Self::new(topic, |_| Rules::allow_all())
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("audit.log")
    }

    fn name(&self, below: &str) -> DatasetName {
        self.scratch.child(below).unwrap().name().clone()
    }

    /// Made by somebody whom the gate does not bind.
    fn make(&self, below: &str, options: &CreateOptions) -> Dataset {
        let dataset = self.scratch.child(below).unwrap();
        dataset.create(options).unwrap();
        dataset
    }

    /// As the gate has it.
    fn behind(&self, dataset: &Dataset) -> Dataset {
        self.gate.zfs().dataset(dataset.name().as_str()).unwrap()
    }

    fn job(&self, operation: Operation) -> JobSpec {
        let scope = Scope::below(Dataset::name(&self.scratch));
        JobSpec::new(operation, scope, "alice").max_attempts(1)
    }

    fn lease(&self, job: &JobSpec, time: Duration) -> Lease {
        let id = self.queue.submit(job).unwrap();
        self.queue.lease_job(&id, "w", time).unwrap().unwrap()
    }

    fn grant(&self, job: &JobSpec) -> Capability {
        self.gate.grant(&self.lease(job, HOUR)).unwrap()
    }

    fn records(&self) -> Vec<AuditRecord> {
        AuditLog::read(self.log())
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }

    fn kinds(&self) -> Vec<AuditKind> {
        self.records().iter().map(|record| record.kind).collect()
    }

    /// What the pool's history has of these datasets, but for the gate's own lines.
    fn history(&self) -> Vec<String> {
        let name = Dataset::name(&self.scratch);
        let pool = zfs().pool(name.pool()).unwrap();
        pool.history()
            .map(|record| format!("{:?}", record.unwrap().event))
            .filter(|event| event.contains(name.as_str()) && !event.contains("gate: audit-log="))
            .collect()
    }
}

fn refused<T>(result: Result<T, GateError>) -> Refusal {
    match result.map(|_| "granted") {
        Err(GateError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

fn not_run<T, E: std::fmt::Debug>(result: Result<T, GateRunError<E>>) -> GateError {
    match result.map(|_| "it ran") {
        Err(GateRunError::Gate(error)) => error,
        other => panic!("{other:?}"),
    }
}
