//! The gate that every command goes through before it changes anything.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use helix_zfs::gate::audit::{AuditError, AuditLog};
use helix_zfs::gate::{
    Capability, Gate, GateError, GateRunError, JobSpec, Operation, QueueError, Refusal, Rules,
    RulesError, Scope, SqliteQueue,
};
use helix_zfs::zfs_core::Zfs;

use crate::arguments::Global;
use crate::console::{Console, user};
use crate::failure::{Exit, Failure};

/// The folder unless something else is said.
const FOLDER: &str = "/var/lib/helixctl";
const VARIABLE: &str = "HELIXCTL_GATE";

/// Where the gate keeps what it knows.
#[derive(Debug)]
pub(crate) struct GateFolder(PathBuf);

impl GateFolder {
    pub(crate) fn of(global: &Global) -> Self {
        let named = global.gate.clone();
        let named = named.or_else(|| std::env::var_os(VARIABLE).map(PathBuf::from));
        Self(named.unwrap_or_else(|| PathBuf::from(FOLDER)))
    }

    /// The queue of jobs.
    fn jobs(&self) -> PathBuf {
        self.0.join("jobs.db")
    }

    /// The audit log.
    pub(crate) fn audit(&self) -> PathBuf {
        self.0.join("audit.log")
    }

    /// The rules, which need not be there.
    fn rules_file(&self) -> PathBuf {
        self.0.join("rules.toml")
    }

    /// The rules: those of the file, or if there is none, that everybody may do everything.
    pub(crate) fn rules(&self) -> Result<Rules, Failure> {
        let path = self.rules_file();
        let shown = path.display().to_string();
        match std::fs::read_to_string(&path) {
            Ok(text) => Rules::from_toml(&text).map_err(|error| wrong_rules(&path, &error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Rules::allow_all()),
            Err(error) => Err(Failure::io(&shown, &error)),
        }
    }

    /// Opens the queue, which must be there.
    pub(crate) fn queue(&self) -> Result<SqliteQueue, Failure> {
        let path = self.jobs();
        match path.metadata() {
            Ok(_) => Ok(SqliteQueue::open(path)?),
            Err(error) => Err(Failure::io(&path.display().to_string(), &error)),
        }
    }

    /// Opens the queue. A folder that is not there yet is made, for its owner alone.
    pub(crate) fn make_queue(&self) -> Result<SqliteQueue, Failure> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .map_err(|error| Failure::io(&self.0.display().to_string(), &error))?;
        Ok(SqliteQueue::open(self.jobs())?)
    }

    /// Opens the gate, and makes what is not there yet.
    pub(crate) fn open(&self, zfs: &Zfs) -> Result<Gate, Failure> {
        let queue = self.make_queue()?;
        let audit = AuditLog::open(self.audit()).map_err(GateError::from)?;
        Ok(Gate::open(zfs, Arc::new(queue), audit, self.rules()?)?)
    }
}

fn wrong_rules(path: &Path, error: &RulesError) -> Failure {
    Failure::usage(format!("{}: {error}", path.display()))
}

impl Console {
    /// Under whose name a change is put on record.
    pub(crate) fn actor(&self) -> String {
        self.global().actor.clone().unwrap_or_else(user)
    }

    /// Does `work` as a job: it is submitted, leased and granted by the gate, and put on record.
    ///
    /// Nobody else could do it, so that it is not tried again when it fails.
    pub(crate) fn job<T, E: Into<Failure>>(
        &self,
        zfs: &Zfs,
        operation: Operation,
        scope: Scope,
        work: impl FnOnce(&Capability) -> Result<T, E>,
    ) -> Result<T, Failure> {
        let gate = GateFolder::of(self.global()).open(zfs)?;
        self.job_of(&gate, operation, scope, work)
    }

    /// As [`job`](Self::job), of a gate that is open.
    pub(crate) fn job_of<T, E: Into<Failure>>(
        &self,
        gate: &Gate,
        operation: Operation,
        scope: Scope,
        work: impl FnOnce(&Capability) -> Result<T, E>,
    ) -> Result<T, Failure> {
        let job = JobSpec::new(operation, scope, self.actor())
            .reason(format!("helixctl {}", self.command()))
            .max_attempts(1);
        let work = |capability: &Capability| work(capability).map_err(Into::into);
        gate.run(&job, work).map_err(|error| match error {
            GateRunError::Work(failure) => failure,
            GateRunError::Gate(error) => error.into(),
            error => Failure::new(Exit::Failed, error.to_string()),
        })
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::new(Exit::Denied, refusal.to_string()).advice("see `helixctl gate rules`")
    }
}

impl From<GateError> for Failure {
    fn from(error: GateError) -> Self {
        match error {
            GateError::Refused(refusal) => refusal.into(),
            GateError::Queue(error) => error.into(),
            GateError::Audit(error) => error.into(),
            GateError::NotDue { .. } | GateError::NotLeased { .. } | GateError::TooLate { .. } => {
                Self::refused(error.to_string())
            }
            _ => Self::new(Exit::Failed, error.to_string()),
        }
    }
}

impl From<QueueError> for Failure {
    fn from(error: QueueError) -> Self {
        let exit = match &error {
            QueueError::NotFound { .. } => Exit::NotFound,
            QueueError::LeaseLost { .. }
            | QueueError::State { .. }
            | QueueError::KeyTaken { .. } => Exit::Refused,
            QueueError::Invalid { .. } => Exit::Usage,
            QueueError::Permissions { .. } => Exit::Denied,
            // All others are the store's.
            _ => Exit::Failed,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        let exit = match &error {
            AuditError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Exit::NotFound
            }
            AuditError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Exit::Denied
            }
            AuditError::Unsafe { .. } => Exit::Denied,
            AuditError::Zfs(error) => Exit::of(error.kind()),
            _ => Exit::Failed,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<helix_zfs::Error> for Failure {
    fn from(error: helix_zfs::Error) -> Self {
        match error {
            helix_zfs::Error::Refused(refusal) => refusal.into(),
            helix_zfs::Error::Zfs(error) => error.into(),
            _ => Self::new(Exit::Failed, error.to_string()),
        }
    }
}
