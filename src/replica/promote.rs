use zfs_core::key::WrappingKey;
use zfs_core::props::{KeyStatus, Prop, UserProps};
use zfs_core::{Dataset, ErrorKind, Snapshot};

use crate::Step;
use crate::gate::{Capability, Operation};
use crate::replicate::target::{Permit, Target};

use super::change::Steps;
use super::fence::SnapshotMark;
use super::role::{BASE, EPOCH, ROLE};
use super::site::{by_guid, newest};
use super::{ReplicaChange, ReplicaError, Site, SiteRole, written};

/// The snapshot that shows whether something was written before an undo.
pub(super) const PROBE: &str = "helix-replica-undo";

/// What a promotion needs.
pub struct Promotion<'p> {
    epoch: u64,
    acknowledged: Option<u64>,
    key: Option<&'p WrappingKey>,
    confirm: Option<&'p dyn Fn() -> bool>,
    read_only: bool,
}

impl<'p> Promotion<'p> {
    /// A promotion in `epoch`, in which the caller holds the fence of the group.
    #[must_use]
    pub fn new(epoch: u64) -> Self {
        Self {
            epoch,
            acknowledged: None,
            key: None,
            confirm: None,
            read_only: false,
        }
    }

    /// Leaves the data read-only: [`Site::open`] opens it, when the caller has a lease.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// Refuses unless the replica has the snapshot with this GUID, and it or a later one is verified.
    #[must_use]
    pub fn acknowledged(mut self, guid: u64) -> Self {
        self.acknowledged = Some(guid);
        self
    }

    /// The key of the data. It is loaded, in place of an older one if need be; while readers have the
    /// target's `current` open with that one, it stays, and the data cannot be mounted before they
    /// let go and the key is loaded anew.
    #[must_use]
    pub fn key(mut self, key: &'p WrappingKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Asks, immediately before the data can be written to, whether the fence is still the caller's.
    /// If not, the promotion is taken back.
    #[must_use]
    pub fn confirm(mut self, still_ours: &'p dyn Fn() -> bool) -> Self {
        self.confirm = Some(still_ours);
        self
    }
}

impl std::fmt::Debug for Promotion<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Promotion")
            .field("epoch", &self.epoch)
            .field("acknowledged", &self.acknowledged)
            .finish_non_exhaustive()
    }
}

impl Site {
    /// Makes the replica the writable source of its group.
    ///
    /// 1. What an earlier replication left is finished, and what is not verified is destroyed.
    /// 2. The key is loaded, if there is one.
    /// 3. That the chain is being promoted is written down, and the target takes no more
    ///    replications.
    /// 4. The chain is renamed to where the data of a source is.
    /// 5. The fence is confirmed, and the data is made writable: one change, with its role and epoch.
    ///
    /// Nothing is mounted, and `canmount` stays `noauto`. What is written from then on is compressed
    /// as the pool says. Readers of the target's `current` keep what they have.
    ///
    /// A run that dies leaves the data read-only until the last step: the next call finishes, and
    /// [`withdraw`](Self::withdraw) takes it back. Who has done it already is told so again.
    ///
    /// Returns the snapshot that the source begins with.
    ///
    /// # Errors
    ///
    /// | error | when |
    /// |---|---|
    /// | [`Superseded`](ReplicaError::Superseded) | the data has seen a later epoch |
    /// | [`Role`](ReplicaError::Role) | it is no replica |
    /// | [`NothingVerified`](ReplicaError::NothingVerified) | nothing was ever verified |
    /// | [`MissesAcknowledged`](ReplicaError::MissesAcknowledged) | as it says |
    /// | [`Unverified`](ReplicaError::Unverified) | it has the acknowledged snapshot, but nothing from there on is verified |
    /// | [`Written`](ReplicaError::Written) | somebody wrote to the chain |
    /// | [`KeyNeeded`](ReplicaError::KeyNeeded), `WrongKey` | as they say |
    /// | [`FenceLost`](ReplicaError::FenceLost) | the fence went to somebody else; the promotion is taken back |
    /// | `AlreadyExists`, `NotFound` | there is a dataset where the data is to be, or no parent |
    /// | `Busy` of replication | a run is at work |
    ///
    /// # Privileges
    ///
    /// Those of [`Replicator::pull`](crate::replicate::Replicator::pull), and `load-key`.
    pub fn promote(
        &self,
        capability: &Capability,
        promotion: &Promotion<'_>,
        observe: &mut dyn FnMut(Step<'_, ReplicaChange>),
    ) -> Result<SnapshotMark, ReplicaError> {
        let epoch = promotion.epoch;
        let state = self.state()?;
        state.not_after(epoch)?;
        let mut steps = Steps {
            capability,
            operation: Operation::PromoteReplica,
            observe,
        };
        match state.role {
            SiteRole::Source | SiteRole::Promoted if state.epoch == epoch => {
                return self.promoted_at(&self.data, state.base);
            }
            SiteRole::Replica | SiteRole::Promoting => {}
            _ => return Err(state.cannot("promoted")),
        }
        capability.allow(Operation::PromoteReplica, self.target())?;
        capability.allow(Operation::PromoteReplica, self.data())?;
        // Kept until the end: no replication comes in between.
        let permit = Permit {
            capability,
            operation: Operation::PromoteReplica,
        };
        let target = Target::open_barred(permit, &self.zfs, self.target())?;
        let renamed =
            state.role == SiteRole::Promoting && self.is_renamed() && state.dataset == *self.data();
        let dataset = match renamed {
            true => &self.data,
            false => &self.chain,
        };
        let base = match renamed {
            true => self.promoted_at(dataset, state.base)?,
            false => {
                self.no_data_yet()?;
                self.settle(&mut steps, &target, promotion.acknowledged)?
            }
        };
        self.unlock(&mut steps, dataset, promotion.key)?;
        if !renamed {
            let change = ReplicaChange::Note {
                dataset: dataset.name().clone(),
                role: SiteRole::Promoting,
            };
            steps.take(change, || {
                UserProps::new()
                    .set(ROLE, SiteRole::Promoting.name())?
                    .set(EPOCH, &epoch.to_string())?
                    .set(BASE, &base.guid.to_string())
                    .and_then(|props| dataset.set_user(&props))
            })?;
        }
        self.bar(&mut steps, true)?;
        self.rename(&mut steps, dataset, self.data())?;
        if promotion.confirm.is_some_and(|still_ours| !still_ours()) {
            self.back(&mut steps, &self.data)?;
            return Err(ReplicaError::FenceLost {
                dataset: self.chain.name().clone(),
            });
        }
        let change = ReplicaChange::Adapt {
            dataset: self.data().clone(),
        };
        steps.take(change, || self.data.inherit(Prop::Compression))?;
        match promotion.read_only {
            true => {
                let more = UserProps::new().set(EPOCH, &epoch.to_string())?;
                self.close(&mut steps, self.data(), SiteRole::Promoted, more)?;
            }
            false => self.open_for_writing(&mut steps, self.data(), SiteRole::Promoted, epoch)?,
        }
        Ok(base)
    }

    /// Takes a promotion back that was not done to its end: nothing could be written.
    ///
    /// # Errors
    ///
    /// [`Role`](ReplicaError::Role) when none is under way; what ZFS says.
    pub fn withdraw(
        &self,
        capability: &Capability,
        observe: &mut dyn FnMut(Step<'_, ReplicaChange>),
    ) -> Result<(), ReplicaError> {
        let state = self.state()?;
        if state.role != SiteRole::Promoting {
            return Err(state.cannot("withdrawn"));
        }
        let mut steps = Steps {
            capability,
            operation: Operation::PromoteReplica,
            observe,
        };
        let dataset = self.zfs.dataset(state.dataset.as_str())?;
        self.back(&mut steps, &dataset)
    }

    /// Takes a promotion back, as long as nothing was written since: the source becomes a replica
    /// again, and what it follows is the former source.
    ///
    /// The data is made read-only first. Then a snapshot is compared with the one that was promoted,
    /// by the kernel's list of changed files ([`Snapshot::diff`]); of a volume, any written block
    /// counts. Reading and mounting are no writing. If something was written, or a snapshot was
    /// taken, the data is made writable again if it was, and nothing else has changed.
    ///
    /// A run that dies leaves the data read-only: the next call finishes it.
    ///
    /// # Errors
    ///
    /// [`Written`](ReplicaError::Written) with the first change; [`Role`](ReplicaError::Role) when it
    /// is no promoted source; [`Superseded`](ReplicaError::Superseded); what ZFS says.
    ///
    /// # Privileges
    ///
    /// Root: only root can compare.
    pub fn undo(
        &self,
        capability: &Capability,
        epoch: u64,
        observe: &mut dyn FnMut(Step<'_, ReplicaChange>),
    ) -> Result<(), ReplicaError> {
        let state = self.state()?;
        state.not_after(epoch)?;
        let guid = match (state.role, state.base) {
            (
                SiteRole::Promoted | SiteRole::Source | SiteRole::Undoing | SiteRole::Fenced,
                Some(guid),
            ) => guid,
            _ => return Err(state.cannot("taken back")),
        };
        let mut steps = Steps {
            capability,
            operation: Operation::PromoteReplica,
            observe,
        };
        let dataset = self.zfs.dataset(state.dataset.as_str())?;
        if state.role == SiteRole::Undoing && self.is_renamed() && dataset.name() != self.data() {
            return self.back(&mut steps, &dataset);
        }
        if !(state.role == SiteRole::Undoing && state.read_only) {
            self.close(
                &mut steps,
                dataset.name(),
                SiteRole::Undoing,
                UserProps::new(),
            )?;
        }
        let base = by_guid(&dataset, guid)?;
        let found = match &base {
            Some(base) => {
                let (probe, change) = written::since(&mut steps, &dataset, base, PROBE)?;
                change.map(|change| (Some(probe), change))
            }
            None => Some((None, format!("the snapshot {guid} was destroyed"))),
        };
        if let Some((probe, change)) = found {
            if let Some(probe) = probe {
                let destroy = ReplicaChange::DestroySnapshot {
                    snapshot: probe.name().clone(),
                };
                steps.take(destroy, || probe.destroy())?;
            }
            match state.role {
                SiteRole::Promoted if state.read_only => {
                    self.close(
                        &mut steps,
                        dataset.name(),
                        SiteRole::Promoted,
                        UserProps::new(),
                    )?;
                }
                SiteRole::Fenced => {
                    self.close(
                        &mut steps,
                        dataset.name(),
                        SiteRole::Fenced,
                        UserProps::new(),
                    )?;
                }
                _ => self.open_for_writing(&mut steps, dataset.name(), SiteRole::Source, epoch)?,
            }
            return Err(ReplicaError::Written {
                dataset: dataset.name().clone(),
                change,
            });
        }
        if let Some(base) = base {
            self.roll_back(&mut steps, &dataset, &base)?;
        }
        self.back(&mut steps, &dataset)
    }

    /// Finds the snapshot that the replica is promoted at, and destroys what is newer and not
    /// verified.
    fn settle(
        &self,
        steps: &mut Steps<'_>,
        target: &Target<'_>,
        acknowledged: Option<u64>,
    ) -> Result<SnapshotMark, ReplicaError> {
        let observed = target.observe()?;
        let verified = observed.verified().map(|kept| SnapshotMark {
            guid: kept.guid,
            name: kept.short.clone(),
        });
        let base = verified.ok_or_else(|| ReplicaError::NothingVerified {
            target: self.target().clone(),
        })?;
        let chain = observed.chain.as_ref();
        if let Some(guid) = acknowledged {
            let snapshots = chain.map_or(&[][..], |chain| &chain.snapshots);
            let place = |guid: u64| snapshots.iter().position(|kept| kept.guid == guid);
            let Some(kept) = snapshots.iter().find(|kept| kept.guid == guid) else {
                return Err(ReplicaError::MissesAcknowledged {
                    target: self.target().clone(),
                    guid,
                });
            };
            // What comes before a verified one is part of that.
            if place(guid) > place(base.guid) {
                return Err(ReplicaError::Unverified {
                    snapshot: self.chain.snapshot(&kept.short)?.name().clone(),
                });
            }
        }
        let tail = chain
            .and_then(|chain| chain.snapshots.last())
            .is_some_and(|last| last.guid != base.guid);
        let cut = chain.is_some_and(|chain| chain.token.is_some());
        let settle = ReplicaChange::Settle {
            target: self.target().clone(),
        };
        steps.take(settle, || -> Result<(), ReplicaError> {
            if cut {
                self.chain.abort_receive()?;
            }
            if tail {
                target.give_up_unverified()?;
            } else {
                target.settle(&mut target.observe()?)?;
            }
            Ok(())
        })?;
        let snapshot = self.chain.snapshot(&base.name)?;
        let written = self.chain.written_since(snapshot.name())?;
        if !written::is_nothing(&written) {
            return Err(ReplicaError::Written {
                dataset: self.chain.name().clone(),
                change: format!("{} bytes", written.used),
            });
        }
        Ok(base)
    }

    /// Where the data of the source is to be, there is nothing yet.
    fn no_data_yet(&self) -> Result<(), ReplicaError> {
        if self.is_renamed() && self.data.exists()? {
            return Err(ReplicaError::Ambiguous {
                data: self.data().clone(),
                chain: self.chain.name().clone(),
            });
        }
        if let Some(parent) = self.data().parent() {
            self.zfs.dataset(parent.as_str())?.stat()?;
        }
        Ok(())
    }

    /// What a promotion that has begun began with.
    fn promoted_at(&self, data: &Dataset, base: Option<u64>) -> Result<SnapshotMark, ReplicaError> {
        let found = base.map(|guid| by_guid(data, guid)).transpose()?.flatten();
        let name = match found {
            Some(snapshot) => snapshot.name().short().to_owned(),
            // A source that was never a replica, or whose snapshot was destroyed since.
            None => newest(data)?.map_or_else(String::new, |entry| entry.name.short().to_owned()),
        };
        Ok(SnapshotMark {
            guid: base.unwrap_or(0),
            name,
        })
    }

    /// Loads the key. One that is loaded may be of a time before the source changed it: the new one
    /// came with a snapshot, and the kernel goes on with the old one, which opens nothing.
    fn unlock(
        &self,
        steps: &mut Steps<'_>,
        dataset: &Dataset,
        key: Option<&WrappingKey>,
    ) -> Result<(), ReplicaError> {
        let Some(encryption) = dataset.encryption()? else {
            return Ok(());
        };
        let loaded = encryption.key == KeyStatus::Available;
        let Some(key) = key else {
            if loaded {
                return Ok(());
            }
            return Err(ReplicaError::KeyNeeded {
                root: encryption.root,
            });
        };
        let root = self.zfs.dataset(encryption.root.as_str())?;
        let change = ReplicaChange::LoadKey {
            root: encryption.root,
        };
        steps.take(change, || {
            if loaded {
                root.verify_key(key)?;
                match root.unload_key() {
                    // Readers have it open.
                    Err(error) if error.kind() == ErrorKind::Busy => return Ok(()),
                    outcome => outcome?,
                }
            }
            match root.load_key(key) {
                Err(error) if error.kind() == ErrorKind::KeyLoaded => Ok(()),
                outcome => outcome,
            }
        })
    }

    pub(super) fn roll_back(
        &self,
        steps: &mut Steps<'_>,
        dataset: &Dataset,
        base: &Snapshot,
    ) -> Result<(), ReplicaError> {
        let change = ReplicaChange::RollBack {
            snapshot: base.name().clone(),
        };
        steps.take(change, || {
            dataset
                .rollback_to_discarding_newer(base.name().short())
                .map(drop)
        })
    }

    /// Makes the data, which is read-only, the chain of a replica again.
    pub(super) fn back(
        &self,
        steps: &mut Steps<'_>,
        dataset: &Dataset,
    ) -> Result<(), ReplicaError> {
        let change = ReplicaChange::Adapt {
            dataset: dataset.name().clone(),
        };
        steps.take(change, || Target::make_chain(dataset))?;
        self.rename(steps, dataset, self.chain.name())?;
        // The role keeps replications away until the last step.
        self.bar(steps, false)?;
        let change = ReplicaChange::Note {
            dataset: self.chain.name().clone(),
            role: SiteRole::Replica,
        };
        steps.take(change, || {
            UserProps::new()
                .set(ROLE, SiteRole::Replica.name())
                .and_then(|props| self.chain.set_user(&props))
        })
    }
}
