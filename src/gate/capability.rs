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
    terms: Terms,
    job: String,
    actor: String,
    life: Mutex<Life>,
    ledger: Ledger,
}

/// What a capability is for.
#[derive(Clone, Debug)]
struct Terms {
    operation: Operation,
    scope: Scope,
}

impl Terms {
    fn reason_against(
        &self,
        life: &Life,
        operation: Operation,
        object: &DatasetName,
        (now, instant): (SystemTime, Instant),
    ) -> Option<RefusalReason> {
        if operation != self.operation {
            return Some(RefusalReason::Operation {
                granted: self.operation,
            });
        }
        if !self.scope.covers(object) {
            return Some(RefusalReason::Scope);
        }
        life.is_over(now, instant)
    }
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

    fn renew(&mut self, expires: SystemTime, now: SystemTime, instant: Instant) {
        if self.is_over(now, instant).is_none() {
            *self = Self::until(expires, now, instant);
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
                terms: Terms { operation, scope },
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
        self.grant.terms.operation
    }

    /// With which datasets.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.grant.terms.scope
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
        let now = (SystemTime::now(), Instant::now());
        let life = self.life().clone();
        for object in &objects {
            let reason = self
                .grant
                .terms
                .reason_against(&life, operation, object, now);
            if let Some(reason) = reason {
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
        self.life().renew(expires, now, instant);
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        // It is whole between any two statements.
        self.grant
            .life
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    const START: Duration = Duration::from_secs(1 << 30);

    fn name() -> impl Strategy<Value = DatasetName> {
        prop::collection::vec("[ab]{1,2}", 1..5)
            .prop_map(|parts| DatasetName::new(&parts.join("/")).unwrap())
    }

    fn operation() -> impl Strategy<Value = Operation> {
        prop::sample::select(Operation::ALL.to_vec())
    }

    fn is_below(name: &DatasetName, top: &DatasetName) -> bool {
        let (name, top) = (name.as_str(), top.as_str());
        name == top
            || name
                .strip_prefix(top)
                .is_some_and(|rest| rest.starts_with('/'))
    }

    proptest! {
        #[test]
        fn nothing_is_allowed_outside_of_operation_scope_and_time(
            granted in operation(),
            used in operation(),
            same in any::<bool>(),
            tops in prop::collection::vec(name(), 0..4),
            object in name(),
            lasts in 0_u64..100,
            by_wall in 0_u64..120,
            by_clock in 0_u64..120,
            revoked in prop::option::weighted(0.2, Just("over".to_owned())),
        ) {
            let used = if same { granted } else { used };
            let terms = Terms { operation: granted, scope: Scope::of(&tops) };
            let (start, instant) = (SystemTime::UNIX_EPOCH + START, Instant::now());
            let second = Duration::from_secs;
            let mut life = Life::until(start + second(lasts), start, instant);
            life.revoked = revoked.clone();
            let now = (start + second(by_wall), instant + second(by_clock));
            let reason = terms.reason_against(&life, used, &object, now);
            let allowed = used == granted
                && tops.iter().any(|top| is_below(&object, top))
                && by_wall < lasts
                && by_clock < lasts
                && revoked.is_none();
            prop_assert_eq!(reason.is_none(), allowed, "{:?}", reason);
        }

        #[test]
        fn what_has_ended_is_not_renewed(lasts in 0_u64..10, at in 0_u64..20) {
            let (start, instant) = (SystemTime::UNIX_EPOCH + START, Instant::now());
            let second = Duration::from_secs;
            let mut life = Life::until(start + second(lasts), start, instant);
            let (now, then) = (start + second(at), instant + second(at));
            life.renew(now + second(1), now, then);
            prop_assert_eq!(life.is_over(now, then).is_none(), at < lasts);
        }
    }
}
