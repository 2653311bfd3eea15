//! Where everything is.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use helix_zfs::gate::audit::AuditLog;
use helix_zfs::gate::{Capability, Gate, JobSpec, Operation, Rules, Scope, SqliteQueue};
use helix_zfs::key::{FileKeys, KeyId};
use helix_zfs::replica::{Automatic, Follow, GroupName, NodeName, Policy, Site, SqliteFences};
use helix_zfs::zfs_core::{DatasetName, Zfs};

pub(crate) const NODES: [&str; 2] = ["a", "b"];

pub(crate) fn group() -> GroupName {
    GroupName::new("soak").unwrap()
}

pub(crate) fn key_id() -> KeyId {
    KeyId::new("soak").unwrap()
}

pub(crate) fn policy() -> Policy {
    Policy {
        follow: Follow::OnChange(Duration::from_secs(4)),
        automatic: Some(Automatic {
            unreachable_for: Some(Duration::from_secs(5)),
            unhealthy: true,
        }),
        lease: Duration::from_secs(12),
        clock_margin: Duration::from_secs(1),
        rebuild: true,
        ..Policy::default()
    }
}

/// What one node has.
pub(crate) struct Place {
    pub(crate) name: NodeName,
    pub(crate) pool: DatasetName,
    pub(crate) site: Site,
    pub(crate) keys: FileKeys,
    pub(crate) fences: Arc<SqliteFences>,
    pub(crate) mountpoint: PathBuf,
    pub(crate) gate: Gate,
    pub(crate) zfs: Zfs,
}

pub(crate) fn pool(node: &str) -> String {
    format!("soak-{node}")
}

/// Where a node's data is while it is the source.
pub(crate) fn data_of(node: &str) -> DatasetName {
    DatasetName::new(&format!("{}/live", pool(node))).unwrap()
}

/// The loopback port of a node.
pub(crate) fn port(node: &str) -> u16 {
    if node == "a" { 7001 } else { 7002 }
}

impl Place {
    pub(crate) fn new(node: &str, folder: &Path) -> Self {
        let bare = Zfs::open().unwrap();
        let queue = Arc::new(SqliteQueue::open(folder.join("jobs")).unwrap());
        let audit = AuditLog::open(folder.join("audit.log")).unwrap();
        let gate = Gate::open(&bare, queue, audit, Rules::allow_all()).unwrap();
        let zfs = gate.zfs().clone();
        let name = |text: String| DatasetName::new(&text).unwrap();
        let pool = pool(node);
        let data = data_of(node);
        let target = name(format!("{pool}/copy"));
        Self {
            name: NodeName::new(node).unwrap(),
            site: Site::new(&zfs, &data, &target).unwrap(),
            keys: FileKeys::new(folder.join("keys")),
            fences: Arc::new(SqliteFences::open(folder.join("fences")).unwrap()),
            mountpoint: folder.join(format!("mount-{node}")),
            pool: name(pool),
            gate,
            zfs,
        }
    }

    /// A job of its own, for all of this node's pool.
    pub(crate) fn job<T, E: std::fmt::Display>(
        &self,
        operation: Operation,
        work: impl FnOnce(&Capability) -> Result<T, E>,
    ) -> Result<T, String> {
        job(&self.gate, &self.pool, operation, work)
    }
}

pub(crate) fn job<T, E: std::fmt::Display>(
    gate: &Gate,
    pool: &DatasetName,
    operation: Operation,
    work: impl FnOnce(&Capability) -> Result<T, E>,
) -> Result<T, String> {
    let spec = JobSpec::new(operation, Scope::below(pool), "soak").max_attempts(1);
    gate.run(&spec, work).map_err(|error| error.to_string())
}
