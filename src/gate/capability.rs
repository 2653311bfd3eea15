use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use zfs_core::DatasetName;

use super::audit::AuditKind;
use super::ledger::{Entry, Ledger};
use super::{Operation, Refusal, RefusalReason, Scope};

/// The right to do one operation with some datasets, for one job, until a moment.
///
/// Only a [`Gate`](super::Gate) makes one, and every operation of this crate that changes something
/// takes one. Nothing can be done without:
///
/// ```compile_fail,E0061
/// use helix_zfs::{Change, GuardRail};
/// use helix_zfs::zfs_core::{Dataset, Zfs};
///
/// fn forgets(zfs: &Zfs, datasets: &[Dataset]) {
///     let _ = GuardRail::take(zfs, datasets, "deploy-42", &Change::new());
/// }
/// ```
///
/// Nor can one be made by hand, or given another operation, scope or end:
///
/// ```compile_fail,E0451
/// use helix_zfs::gate::Capability;
///
/// fn widens(capability: Capability) -> Capability {
///     Capability { ..capability }
/// }
/// ```
///
/// Clones share its end: when the job's lease is renewed all last longer, and when the job ends all
/// end.
#[derive(Clone, Debug)]
pub struct Capability {
    grant: Arc<Grant>,
}

#[derive(Debug)]
struct Grant {
    operation: Operation,
    scope: Scope,
    job: String,
    actor: String,
    life: Mutex<Life>,
    ledger: Ledger,
}

/// How long a capability lasts.
#[derive(Clone, Debug)]
struct Life {
    expires: SystemTime,
    /// The same moment by a clock that nobody sets.
    ends: Instant,
    revoked: Option<String>,
}

impl Life {
    /// Until `expires`, which is in `expires - now` from `instant` on.
    fn until(expires: SystemTime, now: SystemTime, instant: Instant) -> Self {
        let left = expires.duration_since(now).unwrap_or_default();
        Self {
            expires,
            // What is too far away to be counted is as good as over.
            ends: instant.checked_add(left).unwrap_or(instant),
            revoked: None,
        }
    }

    fn is_over(&self, now: SystemTime, instant: Instant) -> Option<RefusalReason> {
        if let Some(why) = &self.revoked {
            return Some(RefusalReason::Revoked { why: why.clone() });
        }
        (now >= self.expires || instant >= self.ends)
            .then_some(RefusalReason::Expired { at: self.expires })
    }
}

impl Capability {
    pub(super) fn new(
        operation: Operation,
        scope: Scope,
        job: String,
        actor: String,
        expires: SystemTime,
        ledger: Ledger,
    ) -> Self {
        let life = Life::until(expires, SystemTime::now(), Instant::now());
        Self {
            grant: Arc::new(Grant {
                operation,
                scope,
                job,
                actor,
                life: Mutex::new(life),
                ledger,
            }),
        }
    }

    /// What it is for.
    #[must_use]
    pub fn operation(&self) -> Operation {
        self.grant.operation
    }

    /// With which datasets.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.grant.scope
    }

    /// For which job.
    #[must_use]
    pub fn job(&self) -> &str {
        &self.grant.job
    }

    /// By whom.
    #[must_use]
    pub fn actor(&self) -> &str {
        &self.grant.actor
    }

    /// When it ends.
    #[must_use]
    pub fn expires(&self) -> SystemTime {
        self.life().expires
    }

    /// Lets `operation` be done with `object`, and puts that on record.
    ///
    /// The operations of this crate call it themselves, before each change of theirs. When it
    /// returns, the record is on disk, and a line is in the history of the object's pool.
    ///
    /// # Errors
    ///
    /// The refusal, which is on record too, if anything can be.
    pub fn allow(&self, operation: Operation, object: &DatasetName) -> Result<(), Refusal> {
        self.allow_all(operation, [object])
    }

    /// As [`allow`](Self::allow), of several objects: all, or none. All share one wait for the disk.
    ///
    /// # Errors
    ///
    /// As [`allow`](Self::allow), of the first that is refused.
    pub fn allow_all<'a>(
        &self,
        operation: Operation,
        objects: impl IntoIterator<Item = &'a DatasetName>,
    ) -> Result<(), Refusal> {
        let objects: Vec<&DatasetName> = objects.into_iter().collect();
        let (now, instant) = (SystemTime::now(), Instant::now());
        for object in &objects {
            if let Some(reason) = self.reason_against(operation, object, now, instant) {
                let refusal = self.refusal(operation, object, reason);
                let why = refusal.reason.to_string();
                // It is refused whether or not that can be written.
                let _ = self.record(AuditKind::Refusal, operation, Some(&why), &[object]);
                return Err(refusal);
            }
        }
        let Some(first) = objects.first() else {
            return Ok(());
        };
        self.record(AuditKind::Use, operation, None, &objects)
            .map_err(|why| self.refusal(operation, first, RefusalReason::Audit { why }))
    }

    fn record(
        &self,
        kind: AuditKind,
        operation: Operation,
        reason: Option<&str>,
        objects: &[&DatasetName],
    ) -> Result<(), String> {
        let entry = Entry {
            kind,
            operation,
            actor: Some(&self.grant.actor),
            job: Some(&self.grant.job),
            reason,
        };
        self.grant.ledger.record(entry, objects)
    }

    fn refusal(
        &self,
        operation: Operation,
        object: &DatasetName,
        reason: RefusalReason,
    ) -> Refusal {
        Refusal {
            operation,
            object: object.clone(),
            actor: self.grant.actor.clone(),
            job: self.grant.job.clone(),
            reason,
        }
    }

    /// Ends it, and all clones of it.
    pub fn revoke(&self, why: &str) {
        let mut life = self.life();
        life.revoked.get_or_insert_with(|| why.to_owned());
    }

    /// Lets it last until another moment, if it has not ended.
    pub(super) fn renew(&self, expires: SystemTime) {
        let (now, instant) = (SystemTime::now(), Instant::now());
        let mut life = self.life();
        if life.is_over(now, instant).is_none() {
            *life = Life::until(expires, now, instant);
        }
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        // It is whole between any two statements.
        self.grant
            .life
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn reason_against(
        &self,
        operation: Operation,
        object: &DatasetName,
        now: SystemTime,
        instant: Instant,
    ) -> Option<RefusalReason> {
        if operation != self.grant.operation {
            return Some(RefusalReason::Operation {
                granted: self.grant.operation,
            });
        }
        if !self.grant.scope.covers(object) {
            return Some(RefusalReason::Scope);
        }
        self.life().is_over(now, instant)
    }
}
