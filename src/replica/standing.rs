//! A site made what the state machine wants it to be.

use zfs_core::key::WrappingKey;
use zfs_core::props::UserProps;

use crate::Step;
use crate::gate::{Capability, Operation};
use crate::replicate::survey::is_healthy;

use super::change::Steps;
use super::fence::SnapshotMark;
use super::promote::PROBE;
use super::role::{EPOCH, ROLE};
use super::site::by_guid;
use super::{
    Candidate, Promotion, ReplicaChange, ReplicaError, Role, Site, SiteRole, Standing, written,
};

/// What a node may do.
#[derive(Clone, Copy, Debug)]
pub struct Grants<'g> {
    /// For [`Operation::Receive`].
    pub receive: &'g Capability,
    /// For [`Operation::PromoteReplica`].
    pub promote: &'g Capability,
    /// For [`Operation::RebuildReplica`]: to stop writing, among others. A node renews no lease that
    /// outlasts it.
    pub rebuild: &'g Capability,
    /// For [`Operation::Snapshot`].
    pub snapshot: &'g Capability,
    /// For [`Operation::Retain`], if the policy says which snapshots to [keep](super::Policy::keep).
    /// Without it, all stay.
    pub retain: Option<&'g Capability>,
}

type Observer<'o> = &'o mut dyn FnMut(Step<'_, ReplicaChange>);

impl Site {
    /// Makes the site one of the standing `to`, writable or not. What it is already stays.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open), [`fence`](Self::fence), [`promote`](Self::promote),
    /// [`withdraw`](Self::withdraw) and [`undo`](Self::undo), which this does.
    pub fn assume(
        &self,
        grants: Grants<'_>,
        to: Standing,
        writable: bool,
        key: Option<&WrappingKey>,
        observe: Observer<'_>,
    ) -> Result<(), ReplicaError> {
        let state = self.state()?;
        let mut steps = Steps {
            capability: grants.rebuild,
            operation: Operation::RebuildReplica,
            observe,
        };
        let epoch = UserProps::new().set(EPOCH, &to.epoch.to_string())?;
        match (to.role, state.role) {
            (Role::Replica, SiteRole::Absent) => return Ok(()),
            (Role::Replica, SiteRole::Replica) => {}
            (Role::Replica, SiteRole::Promoting) => {
                self.withdraw(grants.promote, steps.observe)?;
            }
            (Role::Replica, SiteRole::Promoted | SiteRole::Undoing) => {
                self.undo(grants.promote, to.epoch.max(state.epoch), steps.observe)?;
            }
            (Role::Promoting, SiteRole::Promoting) => return Ok(()),
            (Role::Promoting, SiteRole::Replica) => {
                let note = ReplicaChange::Note {
                    dataset: state.dataset.clone(),
                    role: SiteRole::Promoting,
                };
                steps.capability = grants.promote;
                steps.operation = Operation::PromoteReplica;
                return steps.take(note, || {
                    UserProps::new()
                        .set(ROLE, SiteRole::Promoting.name())
                        .and_then(|role| self.chain.set_user(&role))
                });
            }
            (Role::Promoted, SiteRole::Promoting | SiteRole::Replica) => {
                let mut promotion = Promotion::new(to.epoch).read_only();
                if let Some(key) = key {
                    promotion = promotion.key(key);
                }
                self.promote(grants.promote, &promotion, steps.observe)?;
                if writable {
                    self.open(grants.promote, to.epoch, steps.observe)?;
                }
                return Ok(());
            }
            (Role::Promoted, SiteRole::Promoted) | (Role::Source, SiteRole::Source) if writable => {
                return self.open(grants.promote, to.epoch, steps.observe);
            }
            (Role::Source, SiteRole::Promoted | SiteRole::Fenced) if writable => {
                steps.capability = grants.promote;
                steps.operation = Operation::PromoteReplica;
                state.not_after(to.epoch)?;
                return self.open_for_writing(
                    &mut steps,
                    &state.dataset,
                    SiteRole::Source,
                    to.epoch,
                );
            }
            (Role::Promoted, SiteRole::Promoted | SiteRole::Undoing) => {
                return self.close(&mut steps, &state.dataset, SiteRole::Promoted, epoch);
            }
            (Role::Source, SiteRole::Source | SiteRole::Promoted | SiteRole::Fenced) => {
                return self.close(&mut steps, &state.dataset, SiteRole::Source, epoch);
            }
            (
                Role::Fenced,
                SiteRole::Source | SiteRole::Promoted | SiteRole::Undoing | SiteRole::Fenced,
            ) => return self.close(&mut steps, &state.dataset, SiteRole::Fenced, epoch),
            (Role::Rebuilding, SiteRole::Rebuilding) => return Ok(()),
            // The rebuild says so itself, together with the snapshot that it goes back to: one that an
            // earlier rebuild or promotion has left there must not be taken for that.
            (Role::Rebuilding, SiteRole::Fenced | SiteRole::Replica) => return Ok(()),
            _ => return Err(state.cannot(to.role.name())),
        }
        if to.epoch > self.state()?.epoch {
            self.see(grants.rebuild, Operation::RebuildReplica, to.epoch)?;
        }
        Ok(())
    }

    /// What this site could take over with, and whether it has a snapshot. Of a former source, every
    /// snapshot counts as verified.
    ///
    /// # Errors
    ///
    /// As [`snapshots`](Self::snapshots).
    pub fn candidate(
        &self,
        acknowledged: Option<&SnapshotMark>,
    ) -> Result<Candidate, ReplicaError> {
        let state = self.state()?;
        let all = self.all_snapshots(&state)?;
        // A promotion that died on its way may have renamed the chain already. What it began with is
        // the newest then: nothing was received or written since.
        let renamed = self.is_renamed() && state.dataset == *self.data();
        let verified = match state.role {
            SiteRole::Promoting if renamed => all
                .iter()
                .find(|mark| Some(mark.guid) == state.base)
                .cloned(),
            SiteRole::Replica | SiteRole::Promoting => self.verified()?.pop(),
            _ => all.last().cloned(),
        };
        // One that the replica had before it was one, or that came with a later one, was never
        // verified by itself. What comes after it was.
        let newest = verified
            .as_ref()
            .and_then(|mark| all.iter().position(|have| have.guid == mark.guid));
        let has = |mark: &SnapshotMark| {
            let place = all.iter().position(|have| have.guid == mark.guid);
            place.is_some() && place <= newest
        };
        Ok(Candidate {
            has_acknowledged: acknowledged.is_none_or(has),
            verified,
        })
    }

    /// Looks whether anybody has written since the promotion: the first change that is found. The data
    /// is read-only; nothing of it is changed. See [`undo`](Self::undo) for what counts.
    ///
    /// # Errors
    ///
    /// [`Role`](ReplicaError::Role) when it was not promoted, or is not read-only; what ZFS says.
    pub fn first_write(
        &self,
        capability: &Capability,
        observe: &mut dyn FnMut(Step<'_, ReplicaChange>),
    ) -> Result<Option<String>, ReplicaError> {
        let state = self.state()?;
        let (Some(guid), true) = (state.base, state.read_only) else {
            return Err(state.cannot("compared with what was promoted"));
        };
        let mut steps = Steps {
            capability,
            operation: Operation::PromoteReplica,
            observe,
        };
        let dataset = self.zfs.dataset(state.dataset.as_str())?;
        let Some(base) = by_guid(&dataset, guid)? else {
            return Ok(Some(format!("the snapshot {guid} was destroyed")));
        };
        let (probe, change) = written::since(&mut steps, &dataset, &base, PROBE)?;
        let destroy = ReplicaChange::DestroySnapshot {
            snapshot: probe.name().clone(),
        };
        steps.take(destroy, || probe.destroy())?;
        Ok(change)
    }

    /// Whether the pool of the site says of itself that it works: it is open, degraded at most, does
    /// its I/O, and has no damaged block on record.
    ///
    /// # Errors
    ///
    /// As [`Pool::status`](zfs_core::pool::Pool::status).
    pub fn is_healthy(&self) -> Result<bool, ReplicaError> {
        Ok(is_healthy(&self.zfs, self.data())?)
    }
}
