use std::time::SystemTime;

use zfs_core::DatasetName;

use super::{Operation, Refusal, RefusalReason, Scope};

/// The right to do one operation with some datasets, for one job, until a moment.
///
/// Only a gate makes one, and every operation of this crate that changes something takes one.
/// Nothing can be done without:
///
/// ```compile_fail,E0061
/// use helix_zfs::{Change, GuardRail};
/// use helix_zfs::zfs_core::{Dataset, Zfs};
///
/// fn forgets(zfs: &Zfs, datasets: &[Dataset]) {
///     let _ = GuardRail::take(zfs, datasets, "deploy-42", &Change::new());
/// }
/// ```
#[derive(Debug)]
pub struct Capability {
    pub(super) operation: Operation,
    pub(super) scope: Scope,
    pub(super) job: String,
    pub(super) actor: String,
    pub(super) expires: SystemTime,
}

impl Capability {
    /// What it is for.
    #[must_use]
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// With which datasets.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// For which job.
    #[must_use]
    pub fn job(&self) -> &str {
        &self.job
    }

    /// By whom.
    #[must_use]
    pub fn actor(&self) -> &str {
        &self.actor
    }

    /// When it ends.
    #[must_use]
    pub fn expires(&self) -> SystemTime {
        self.expires
    }

    /// Lets `operation` be done with `object`, and puts that on record.
    ///
    /// The operations of this crate call it themselves, before each change of theirs.
    ///
    /// # Errors
    ///
    /// The refusal, which is on record too.
    pub fn allow(&self, operation: Operation, object: &DatasetName) -> Result<(), Refusal> {
        self.reason_against(operation, object, SystemTime::now())
            .map_or(Ok(()), |reason| {
                Err(Refusal {
                    operation,
                    object: object.clone(),
                    actor: self.actor.clone(),
                    job: self.job.clone(),
                    reason,
                })
            })
    }

    /// As [`allow`](Self::allow), of several objects: all, or none.
    ///
    /// # Errors
    ///
    /// As [`allow`](Self::allow), of the first that is refused.
    pub fn allow_all<'a>(
        &self,
        operation: Operation,
        objects: impl IntoIterator<Item = &'a DatasetName>,
    ) -> Result<(), Refusal> {
        objects
            .into_iter()
            .try_for_each(|object| self.allow(operation, object))
    }

    fn reason_against(
        &self,
        operation: Operation,
        object: &DatasetName,
        now: SystemTime,
    ) -> Option<RefusalReason> {
        if operation != self.operation {
            return Some(RefusalReason::Operation {
                granted: self.operation,
            });
        }
        if !self.scope.covers(object) {
            return Some(RefusalReason::Scope);
        }
        (now >= self.expires).then_some(RefusalReason::Expired { at: self.expires })
    }
}
