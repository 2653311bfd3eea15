use std::fmt::Display;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, SystemTime};

use zfs_core::{DatasetName, Zfs};

use super::audit::{AuditKind, AuditLog};
use super::ledger::{Entry, Ledger};
use super::production::ProductionGuard;
use super::{AfterFailure, Capability, JobQueue, JobSpec, JobState, Lease, QueueError};
use super::{GateError, GateRunError, Refusal, RefusalReason, Rules};

/// How long [`Gate::run`] leases a job, and then again and again while the work lasts.
const LEASE: Duration = Duration::from_secs(300);

/// What gives out capabilities: for jobs that a worker has leased, by rules, and on record.
///
/// ```no_run
/// # #[cfg(feature = "sqlite")] {
/// use std::sync::Arc;
///
/// use helix_zfs::gate::audit::AuditLog;
/// use helix_zfs::gate::{Gate, GateRunError, JobSpec, Operation, Rules, Scope, SqliteQueue};
/// use helix_zfs::zfs_core::{DatasetName, Zfs};
///
/// let zfs = Zfs::open()?;
/// let queue = Arc::new(SqliteQueue::open("/var/lib/helix/jobs.db")?);
/// let audit = AuditLog::open("/var/lib/helix/audit.log")?;
/// let rules = Rules::from_json(&std::fs::read_to_string("/etc/helix/rules.json")?)?;
/// let gate = Gate::open(&zfs, queue, audit, rules)?;
///
/// let acme = DatasetName::new("tank/tenants/acme")?;
/// let job = JobSpec::new(Operation::Snapshot, Scope::below(&acme), "alice");
/// let result = gate.run(&job, |capability| capability.allow(Operation::Snapshot, &acme));
/// if let Err(GateRunError::Gate(refused)) = result {
///     println!("{refused}");
/// }
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The gate keeps programs from doing by mistake what they were not told to do, and says afterwards who
/// did what. It does not ask who the actor is: whoever can open the queue and `/dev/zfs` can say
/// anything.
#[derive(Clone, Debug)]
pub struct Gate {
    zfs: Zfs,
    queue: Arc<dyn JobQueue>,
    ledger: Ledger,
    rules: Arc<Rules>,
}

impl Gate {
    /// Opens the gate.
    ///
    /// # Errors
    ///
    /// None so far: what it opens is open already.
    pub fn open(
        zfs: &Zfs,
        queue: Arc<dyn JobQueue>,
        audit: AuditLog,
        rules: Rules,
    ) -> Result<Self, GateError> {
        let ledger = Ledger {
            zfs: zfs.clone(),
            audit,
        };
        let guard = ProductionGuard {
            rules: rules.production().clone(),
            ledger: ledger.clone(),
        };
        Ok(Self {
            zfs: zfs.clone().with_guard(Arc::new(guard)),
            queue,
            ledger,
            rules: Arc::new(rules),
        })
    }

    /// The ZFS that is behind the gate, bound by the [rules for production](super::ProductionRules).
    /// Everything that is done with a capability of this gate should be made from it.
    #[must_use]
    pub fn zfs(&self) -> &Zfs {
        &self.zfs
    }

    /// The jobs.
    #[must_use]
    pub fn queue(&self) -> &dyn JobQueue {
        &*self.queue
    }

    /// The audit log.
    #[must_use]
    pub fn audit(&self) -> &AuditLog {
        &self.ledger.audit
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Gives out the capability for a job that is leased, if the rules allow it: for the job's
    /// operation, scope and actor, until the lease ends or the job's deadline.
    ///
    /// # Errors
    ///
    /// `Refused` by the rules; `NotLeased`; `TooLate`; `Queue`; `Record` when the grant cannot be
    /// written into the audit log. Nothing is given out then.
    pub fn grant(&self, lease: &Lease) -> Result<Capability, GateError> {
        // What the lease says is what somebody handed in; what the queue says is what was submitted.
        let job = self.queue.job(lease.id())?;
        let held = job.state == JobState::Leased
            && job.token == lease.token()
            && job.worker.as_deref() == Some(lease.worker());
        if !held {
            return Err(GateError::NotLeased {
                job: job.id,
                worker: lease.worker().to_owned(),
            });
        }
        let spec = &job.spec;
        let (operation, scope, actor) = (spec.operation(), spec.scope(), spec.actor());
        let id = job.id.as_str();
        if let Some(object) = self.rules.refused(actor, operation, scope) {
            let refusal = Refusal {
                operation,
                object: object.clone(),
                actor: actor.to_owned(),
                job: id.to_owned(),
                reason: RefusalReason::Rules,
            };
            let why = refusal.reason.to_string();
            // It is refused whether or not that can be written.
            let _ = self.record(AuditKind::Refusal, spec, id, &why, &[object]);
            return Err(refusal.into());
        }
        let until = end(lease.until(), spec);
        if SystemTime::now() >= until {
            return Err(GateError::TooLate { job: job.id, until });
        }
        let tops: Vec<&DatasetName> = scope.tops().iter().collect();
        self.record(AuditKind::Grant, spec, id, spec.why(), &tops)
            .map_err(GateError::Record)?;
        Ok(Capability::new(
            operation,
            scope.clone(),
            id.to_owned(),
            actor.to_owned(),
            until,
            self.ledger.clone(),
        ))
    }

    /// Makes the lease, and the capability that was granted for it, last `duration` from now on, but
    /// not beyond the job's deadline. A capability that has ended stays so.
    ///
    /// # Errors
    ///
    /// `Queue`. If the lease is lost, the capability has ended.
    pub fn renew(
        &self,
        lease: &Lease,
        capability: &Capability,
        duration: Duration,
    ) -> Result<Lease, GateError> {
        match self.queue.renew(lease, duration) {
            Ok(lease) => {
                capability.renew(end(lease.until(), lease.spec()));
                Ok(lease)
            }
            Err(error) => {
                if is_lost(&error) {
                    capability.revoke(&error.to_string());
                }
                Err(error.into())
            }
        }
    }

    /// Ends the capability, and notes in the queue that the job is done.
    ///
    /// # Errors
    ///
    /// `Queue`, `Record`.
    pub fn complete(
        &self,
        lease: &Lease,
        capability: &Capability,
        result: &str,
    ) -> Result<(), GateError> {
        capability.revoke("its job is done");
        self.queue.complete(lease, result)?;
        self.end(lease, "done")
    }

    /// Ends the capability, and notes in the queue that this attempt failed.
    ///
    /// # Errors
    ///
    /// `Queue`, `Record`.
    pub fn fail(
        &self,
        lease: &Lease,
        capability: &Capability,
        why: &str,
    ) -> Result<AfterFailure, GateError> {
        capability.revoke("its job has failed");
        let after = self.queue.fail(lease, why)?;
        self.end(lease, &format!("failed: {why}"))?;
        Ok(after)
    }

    /// Submits a job and does it: leases it, gives `work` the capability, renews the lease while `work`
    /// lasts, and notes how it ended.
    ///
    /// A job that fails is tried again later by whoever leases jobs of its operation; if nobody but the
    /// caller can do it, submit it with [`max_attempts(1)`](JobSpec::max_attempts).
    ///
    /// # Errors
    ///
    /// [`GateRunError`] says which part failed.
    pub fn run<T, E: Display>(
        &self,
        spec: &JobSpec,
        work: impl FnOnce(&Capability) -> Result<T, E>,
    ) -> Result<T, GateRunError<E>> {
        let gate = GateRunError::Gate;
        let job = self
            .queue
            .submit(spec)
            .map_err(|error| gate(error.into()))?;
        let worker = format!("process {}", std::process::id());
        let lease = self
            .queue
            .lease_job(&job, &worker, LEASE)
            .map_err(|error| gate(error.into()))?
            .ok_or(gate(GateError::NotDue { job }))?;
        let capability = match self.grant(&lease) {
            Ok(capability) => capability,
            Err(error) => {
                // That it was not granted is what the caller has to hear.
                let _ = self.queue.fail(&lease, &error.to_string());
                return Err(gate(error));
            }
        };
        let (lease, worked) = self.renewing(lease, &capability, || work(&capability));
        match worked {
            Ok(value) => match self.complete(&lease, &capability, "done") {
                Ok(()) => Ok(value),
                Err(error) => Err(GateRunError::NotNoted(error)),
            },
            Err(error) => {
                // What failed is what the caller has to hear. The lease ends by itself.
                let _ = self.fail(&lease, &capability, &error.to_string());
                Err(GateRunError::Work(error))
            }
        }
    }

    /// Renews the lease until `work` returns.
    fn renewing<R>(
        &self,
        lease: Lease,
        capability: &Capability,
        work: impl FnOnce() -> R,
    ) -> (Lease, R) {
        std::thread::scope(|scope| {
            // Dropped at the end, be it by a panic, which is what ends the thread.
            let (working, over) = mpsc::channel::<()>();
            let first = lease.clone();
            let renewer = scope.spawn(move || {
                let mut lease = first;
                while over.recv_timeout(LEASE / 3) == Err(RecvTimeoutError::Timeout) {
                    match self.renew(&lease, capability, LEASE) {
                        Ok(renewed) => lease = renewed,
                        Err(GateError::Queue(error)) if is_lost(&error) => break,
                        // The next attempt may find the queue there again.
                        Err(_) => {}
                    }
                }
                lease
            });
            let result = work();
            drop(working);
            (renewer.join().unwrap_or(lease), result)
        })
    }

    fn end(&self, lease: &Lease, how: &str) -> Result<(), GateError> {
        let spec = lease.spec();
        let tops: Vec<&DatasetName> = spec.scope().tops().iter().collect();
        self.record(AuditKind::End, spec, lease.id().as_str(), how, &tops)
            .map_err(GateError::Record)
    }

    fn record(
        &self,
        kind: AuditKind,
        spec: &JobSpec,
        job: &str,
        reason: &str,
        objects: &[&DatasetName],
    ) -> Result<(), String> {
        let entry = Entry {
            kind,
            operation: spec.operation(),
            actor: Some(spec.actor()),
            job: Some(job),
            reason: (!reason.is_empty()).then_some(reason),
        };
        self.ledger.record(entry, objects)
    }
}

/// When a capability ends.
fn end(lease: SystemTime, spec: &JobSpec) -> SystemTime {
    spec.ends().map_or(lease, |deadline| deadline.min(lease))
}

fn is_lost(error: &QueueError) -> bool {
    matches!(
        error,
        QueueError::LeaseLost { .. } | QueueError::NotFound { .. }
    )
}
