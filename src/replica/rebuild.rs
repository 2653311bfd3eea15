use std::time::SystemTime;

use zfs_core::props::UserProps;
use zfs_core::{Dataset, DatasetName};

use crate::Step;
use crate::gate::{Capability, Operation};
use crate::replicate::target::{Permit, Target};

use super::change::Steps;
use super::role::{BASE, DIVERGED, EPOCH, ROLE};
use super::site::{KEPT, by_guid};
use super::{ReplicaChange, ReplicaError, Site, SiteRole, written};

/// The snapshot of all that a former source had when it was made a replica.
const LAST: &str = "helix-replica-diverged";

/// What a rebuild did.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Rebuilt {
    /// The dataset with what the new source does not have; `None` when there was nothing of that.
    pub diverged: Option<DatasetName>,
}

impl Site {
    /// Makes a former source a replica of the new one, from the newest snapshot that both have: the
    /// next replication sends only what came after it. A replica whose newest snapshots the new
    /// source does not have is rebuilt in the same way.
    ///
    /// `common` is the GUID of that snapshot, as the new source tells it
    /// ([`Replicator::survey`](crate::replicate::Replicator::survey)), and `epoch` that of the new
    /// source. With `None` nothing is in common, and the next replication sends everything.
    ///
    /// The data is made read-only before anything else. If it has anything that is not in the common
    /// snapshot, all of it is kept, as a dataset `diverged-GUID` below the target, with all newer
    /// snapshots and one of the last state, `helix-replica-diverged`: the data is renamed to that,
    /// and the common snapshot and all older ones go over to a clone of it, the new chain.
    /// [`diverged`](Self::diverged) lists what was kept; nothing of this crate destroys it. Bookmarks
    /// stay with it.
    ///
    /// A run that dies leaves the data read-only, and the next call finishes. An encryption key that
    /// was loaded has to be loaded again.
    ///
    /// # Errors
    ///
    /// | error | when |
    /// |---|---|
    /// | [`Superseded`](ReplicaError::Superseded) | the data has seen a later epoch |
    /// | [`Role`](ReplicaError::Role) | it is the source of that epoch, or being promoted, or there is no data |
    /// | [`NoCommonBase`](ReplicaError::NoCommonBase) | it does not have the snapshot `common` |
    /// | `Busy` of replication | a run is at work |
    ///
    /// # Privileges
    ///
    /// Those of [`Replicator::pull`](crate::replicate::Replicator::pull), and `promote`; to find that
    /// nothing is to be kept of a filesystem that was mounted, root.
    pub fn rebuild(
        &self,
        capability: &Capability,
        common: Option<u64>,
        epoch: u64,
        observe: &mut dyn FnMut(Step<'_, ReplicaChange>),
    ) -> Result<Rebuilt, ReplicaError> {
        let state = self.state()?;
        state.not_after(epoch)?;
        match state.role {
            SiteRole::Fenced | SiteRole::Rebuilding | SiteRole::Unmarked | SiteRole::Replica => {}
            SiteRole::Source | SiteRole::Promoted if state.epoch < epoch => {}
            _ => return Err(state.cannot("rebuilt")),
        }
        let mut steps = Steps {
            capability,
            operation: Operation::RebuildReplica,
            observe,
        };
        capability.allow(Operation::RebuildReplica, self.target())?;
        capability.allow(Operation::RebuildReplica, self.data())?;
        // The snapshot of an earlier run stays the one: half of what it does may be done.
        let common = match state.role {
            SiteRole::Rebuilding => state.base.or(common),
            _ => common,
        };
        let dataset = self.zfs.dataset(state.dataset.as_str())?;
        let begun =
            state.role == SiteRole::Rebuilding && (state.base.is_some() || common.is_none());
        if !begun {
            if let Some(guid) = common {
                if by_guid(&dataset, guid)?.is_none() {
                    return Err(ReplicaError::NoCommonBase {
                        dataset: state.dataset,
                    });
                }
            }
            let mut more = UserProps::new().set(EPOCH, &epoch.to_string())?;
            if common.is_none() && state.base.is_some() {
                // The next run must not go back to what this one does not.
                let note = ReplicaChange::Note {
                    dataset: dataset.name().clone(),
                    role: state.role,
                };
                steps.take(note, || dataset.inherit(BASE))?;
            }
            if let Some(guid) = common {
                more = more.set(BASE, &guid.to_string())?;
            }
            self.close(&mut steps, dataset.name(), SiteRole::Rebuilding, more)?;
        }
        let permit = Permit {
            capability,
            operation: Operation::RebuildReplica,
        };
        let target = Target::open_barred(permit, &self.zfs, self.target())?;
        let kept = match self.unfinished()? {
            Some(kept) => Some(self.zfs.dataset(kept.dataset.as_str())?),
            None => self.put_aside(&mut steps, &target, &dataset, common)?,
        };
        if let Some(kept) = &kept {
            self.go_on_from(&mut steps, kept, common, epoch)?;
        }
        if let Some(guid) = common {
            self.begin_chain(&mut steps, &target, guid)?;
        }
        self.bar(&mut steps, false)?;
        if common.is_some() {
            let note = ReplicaChange::Note {
                dataset: self.chain.name().clone(),
                role: SiteRole::Replica,
            };
            steps.take(note, || {
                UserProps::new()
                    .set(ROLE, SiteRole::Replica.name())?
                    .set(EPOCH, &epoch.to_string())
                    .and_then(|props| self.chain.set_user(&props))
            })?;
        }
        Ok(Rebuilt {
            diverged: kept.map(|kept| kept.name().clone()),
        })
    }

    /// Renames the data away if it has what the new source has not; otherwise it becomes the chain
    /// as it is. Returns what it was renamed to.
    fn put_aside(
        &self,
        steps: &mut Steps<'_>,
        target: &Target<'_>,
        dataset: &Dataset,
        common: Option<u64>,
    ) -> Result<Option<Dataset>, ReplicaError> {
        let base = common.map(|guid| by_guid(dataset, guid)).transpose()?;
        if let Some(base) = base.flatten() {
            let (_, change) = written::since(steps, dataset, &base, LAST)?;
            if change.is_none() {
                self.roll_back(steps, dataset, &base)?;
                self.rename(steps, dataset, self.chain.name())?;
                return Ok(None);
            }
        } else {
            written::take(steps, dataset, LAST)?;
        }
        // What readers see may be of a snapshot that does not stay in the chain.
        let retire = ReplicaChange::Settle {
            target: self.target().clone(),
        };
        steps.take(retire, || target.retire_current())?;
        let guid = dataset.snapshot(LAST)?.stat()?.guid;
        let kept = self.target.child(&format!("{KEPT}{guid:016x}"))?;
        self.rename(steps, dataset, kept.name())?;
        Ok(Some(kept))
    }

    /// Makes the new chain from what was put aside.
    fn go_on_from(
        &self,
        steps: &mut Steps<'_>,
        kept: &Dataset,
        common: Option<u64>,
        epoch: u64,
    ) -> Result<(), ReplicaError> {
        if let Some(guid) = common {
            if !self.chain.exists()? {
                let base = by_guid(kept, guid)?.ok_or_else(|| ReplicaError::NoCommonBase {
                    dataset: kept.name().clone(),
                })?;
                let change = ReplicaChange::Clone {
                    snapshot: base.name().clone(),
                    to: self.chain.name().clone(),
                };
                steps.take(change, || {
                    let props = Target::chain_properties(kept.kind()?)
                        .user(ROLE, SiteRole::Rebuilding.name())?
                        .user(EPOCH, &epoch.to_string())?
                        .user(BASE, &guid.to_string())?;
                    base.clone_to(self.chain.name(), &props).map(drop)
                })?;
            }
            let origin = self.chain.stat()?.origin;
            if origin.is_some_and(|origin| origin.dataset() == *kept.name()) {
                let change = ReplicaChange::Promote {
                    dataset: self.chain.name().clone(),
                };
                steps.take(change, || self.chain.promote())?;
            }
        }
        let note = ReplicaChange::Note {
            dataset: kept.name().clone(),
            role: SiteRole::Diverged,
        };
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        steps.take(note, || {
            Target::let_go(kept)?;
            UserProps::new()
                .set(ROLE, SiteRole::Diverged.name())?
                .set(DIVERGED, &now)
                .and_then(|props| kept.set_user(&props))
        })
    }

    /// Makes the chain what a replication goes on from.
    fn begin_chain(
        &self,
        steps: &mut Steps<'_>,
        target: &Target<'_>,
        guid: u64,
    ) -> Result<(), ReplicaError> {
        let change = ReplicaChange::Adapt {
            dataset: self.chain.name().clone(),
        };
        steps.take(change, || Target::make_chain(&self.chain))?;
        let missing = || ReplicaError::NoCommonBase {
            dataset: self.chain.name().clone(),
        };
        let base = by_guid(&self.chain, guid)?.ok_or_else(missing)?;
        let observed = target.observe()?;
        if observed.verified().is_some_and(|kept| kept.guid == guid) {
            return Ok(());
        }
        let change = ReplicaChange::Verified {
            snapshot: base.name().clone(),
        };
        // It is the very snapshot: this was its source, or verified it when it came.
        steps.take(change, || target.mark_verified(&base, guid, "common"))
    }
}
