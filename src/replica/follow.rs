use std::io::{self, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use zfs_core::props::UserProps;
use zfs_core::{DatasetName, ErrorKind, SnapshotFilter};

use crate::gate::{Capability, Operation};
use crate::replicate::{Job, Outcome, ReplicaStatus, Replicator, Survey};

use super::fence::SnapshotMark;
use super::policy::{Follow, Lag};
use super::role::EPOCH;
use super::{ReplicaError, Site, SiteRole, SiteState};

/// How often a follower asks that follows on change.
const ASKS: Duration = Duration::from_secs(1);

/// Follows a source: brings each new snapshot of it to a [`Site`], through
/// [`replicate`](crate::replicate), so that readers see nothing that was not verified.
///
/// Several replicas of one source follow it independently: the source keeps for each what the next
/// increment of that one needs.
#[derive(Clone, Debug)]
pub struct Follower {
    site: Site,
    source: DatasetName,
    replicator: Replicator,
    /// What was verified when it was looked at last. The kernel takes long to tell where there are many,
    /// and a source that has nothing new is asked every second.
    known: Arc<Mutex<Vec<SnapshotMark>>>,
}

/// What one turn of a [`Follower`] did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Followed {
    /// The newest snapshot that readers see; `None` when the source has none.
    pub snapshot: Option<SnapshotMark>,
    /// What was replicated, if there was anything new.
    pub outcome: Option<Outcome>,
    /// How far behind the replica is now.
    pub lag: Lag,
    /// The epoch of the source, if it has a part in a group.
    pub epoch: Option<u64>,
    /// Whether the source's pool says of itself that it works.
    pub healthy: bool,
}

/// Ends a [`Follower::run`], from any thread.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<(Mutex<bool>, Condvar)>);

impl Stop {
    /// One that was not stopped.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends it after the turn that it is at.
    pub fn stop(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Waits for so long, or until it is stopped. Returns whether it is.
    pub fn wait(&self, at_most: Duration) -> bool {
        let stopped = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .0
            .1
            .wait_timeout_while(stopped, at_most, |stopped| !*stopped);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Follower {
    /// A follower of `source`, a dataset of the other side.
    #[must_use]
    pub fn new(site: &Site, source: &DatasetName) -> Self {
        Self {
            site: site.clone(),
            source: source.clone(),
            replicator: Replicator::new(&site.zfs),
            known: Arc::default(),
        }
    }

    /// Follows with this replicator, which may report progress.
    #[must_use]
    pub fn with(mut self, replicator: Replicator) -> Self {
        self.replicator = replicator;
        self
    }

    /// One turn: asks the source what is new, and replicates it. `connect` opens a channel to a
    /// [`Source`](crate::replicate::Source); it is called up to three times.
    ///
    /// # Errors
    ///
    /// | error | when |
    /// |---|---|
    /// | [`Role`](ReplicaError::Role) | the site is no replica |
    /// | [`StaleSource`](ReplicaError::StaleSource) | the other side is a source of an earlier epoch |
    /// | [`Connect`](ReplicaError::Connect) | there is no connection |
    /// | [`Replicate`](ReplicaError::Replicate) | see [`Problem`](crate::replicate::Problem); of `Diverged`, see [`Site::rebuild`] |
    ///
    /// # Privileges
    ///
    /// Those of [`Replicator::pull`].
    pub fn once<C: Read + Write>(
        &self,
        capability: &Capability,
        mut connect: impl FnMut() -> io::Result<C>,
    ) -> Result<Followed, ReplicaError> {
        self.turn(capability, &mut connect, true)
    }

    /// Follows until it is stopped, in the calling thread. `report` learns of each turn that brought
    /// something, and of each that failed; one that failed is tried again with the next.
    ///
    /// # Errors
    ///
    /// What another turn cannot mend: a refusal, as when the capability ends; [`Role`](ReplicaError::Role) and [`StaleSource`](ReplicaError::StaleSource).
    pub fn run<C: Read + Write>(
        &self,
        capability: &Capability,
        follow: Follow,
        stop: &Stop,
        mut connect: impl FnMut() -> io::Result<C>,
        mut report: impl FnMut(Result<Followed, ReplicaError>),
    ) -> Result<(), ReplicaError> {
        let mut pulled: Option<Instant> = None;
        loop {
            let (wait, due) = match follow {
                Follow::Every(interval) => (interval, true),
                Follow::OnChange(least) => (
                    least.min(ASKS),
                    pulled.is_none_or(|pulled| pulled.elapsed() >= least),
                ),
            };
            match self.turn(capability, &mut connect, due) {
                Err(
                    error @ (ReplicaError::Refused(_)
                    | ReplicaError::Role { .. }
                    | ReplicaError::StaleSource { .. }),
                ) => return Err(error),
                Err(ReplicaError::Replicate(error)) if error.refusal().is_some() => {
                    return Err(error.into());
                }
                outcome => {
                    if outcome.as_ref().is_ok_and(|turn| turn.outcome.is_some()) {
                        pulled = Some(Instant::now());
                    }
                    report(outcome);
                }
            }
            if stop.wait(wait) {
                return Ok(());
            }
        }
    }

    /// How far behind the replica is. Nothing changes.
    ///
    /// # Errors
    ///
    /// As [`once`](Self::once).
    pub fn lag<C: Read + Write>(&self, channel: C) -> Result<Lag, ReplicaError> {
        let held = self.held()?;
        let survey = Replicator::survey(channel, &self.source, &guids(&held))?;
        Ok(lag(&survey))
    }

    pub(super) fn turn<C: Read + Write>(
        &self,
        capability: &Capability,
        connect: &mut impl FnMut() -> io::Result<C>,
        due: bool,
    ) -> Result<Followed, ReplicaError> {
        let state = self.site.state()?;
        if !matches!(state.role, SiteRole::Replica | SiteRole::Absent) {
            return Err(state.cannot("a replica that follows"));
        }
        let mut connect = || {
            connect().map_err(|error| ReplicaError::Connect {
                target: self.site.target().clone(),
                error,
            })
        };
        let held = self.held_before()?;
        let survey = Replicator::survey(connect()?, &self.source, &guids(&held))?;
        if let Some(theirs) = survey.epoch.filter(|theirs| *theirs < state.epoch) {
            return Err(ReplicaError::StaleSource {
                source_dataset: self.source.clone(),
                target: self.site.target().clone(),
                theirs,
                ours: state.epoch,
            });
        }
        let newest = survey.newest.as_ref().map(|(guid, _)| *guid);
        let have = held.last().map(|mark| mark.guid);
        if newest.is_none() || newest == have || !due {
            return Ok(Followed {
                snapshot: held.last().cloned(),
                outcome: None,
                lag: lag(&survey),
                epoch: survey.epoch,
                healthy: survey.healthy,
            });
        }
        let job = Job::new(&self.source, self.site.target());
        let outcome = self.replicator.pull(capability, connect()?, &job)?;
        if let Some(epoch) = survey.epoch.filter(|epoch| *epoch > state.epoch) {
            self.site.see(capability, Operation::Receive, epoch)?;
        }
        let held = self.held()?;
        let after = Replicator::survey(connect()?, &self.source, &guids(&held))?;
        Ok(Followed {
            snapshot: held.last().cloned(),
            outcome: Some(outcome),
            lag: lag(&after),
            epoch: survey.epoch,
            healthy: after.healthy,
        })
    }

    /// The verified snapshots, oldest first.
    fn held(&self) -> Result<Vec<SnapshotMark>, ReplicaError> {
        let verified = self.site.verified()?;
        self.remembered().clone_from(&verified);
        Ok(verified)
    }

    fn remembered(&self) -> MutexGuard<'_, Vec<SnapshotMark>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, but only the newest is sure to be there still. If there are newer ones, a pull will
    /// find that there is nothing to do.
    fn held_before(&self) -> Result<Vec<SnapshotMark>, ReplicaError> {
        let known = self.remembered().clone();
        let Some(newest) = known.last() else {
            return self.held();
        };
        match self.site.chain.snapshot(&newest.name)?.stat() {
            Ok(entry) if entry.guid == newest.guid => Ok(known),
            Ok(_) => self.held(),
            Err(error) if error.kind() == ErrorKind::NotFound => self.held(),
            Err(error) => Err(error.into()),
        }
    }
}

impl Site {
    /// The snapshots that a new source is [asked](Replicator::survey) about: of a replica those that
    /// were verified, otherwise all. Oldest first.
    ///
    /// # Errors
    ///
    /// As [`state`](Self::state), and [`ReplicaStatus::of`].
    pub fn snapshots(&self) -> Result<Vec<SnapshotMark>, ReplicaError> {
        let state = self.state()?;
        match state.role {
            SiteRole::Replica => self.verified(),
            _ => self.all_snapshots(&state),
        }
    }

    /// All snapshots of the data, oldest first.
    pub(super) fn all_snapshots(
        &self,
        state: &SiteState,
    ) -> Result<Vec<SnapshotMark>, ReplicaError> {
        if state.role == SiteRole::Absent {
            return Ok(Vec::new());
        }
        let dataset = self.zfs.dataset(state.dataset.as_str())?;
        let mut snapshots = dataset.snapshots(&SnapshotFilter::new())?;
        snapshots.sort_by_key(|entry| entry.create_txg);
        Ok(snapshots
            .into_iter()
            .map(|entry| SnapshotMark {
                guid: entry.guid,
                name: entry.name.short().to_owned(),
            })
            .collect())
    }

    /// Notes that the replica has seen an epoch.
    pub(super) fn see(
        &self,
        capability: &Capability,
        operation: Operation,
        epoch: u64,
    ) -> Result<(), ReplicaError> {
        capability.allow(operation, self.target())?;
        let epoch = UserProps::new().set(EPOCH, &epoch.to_string())?;
        Ok(self.chain.set_user(&epoch)?)
    }

    /// The verified snapshots of the replica, oldest first; none before the first replication.
    pub(super) fn verified(&self) -> Result<Vec<SnapshotMark>, ReplicaError> {
        let status = match ReplicaStatus::of(&self.zfs, self.target()) {
            Err(error) => {
                let kind = error.zfs_error().map(zfs_core::Error::kind);
                match kind {
                    Some(ErrorKind::NotFound) => None,
                    _ => return Err(error.into()),
                }
            }
            Ok(status) => status,
        };
        let snapshots = status.map(|status| status.snapshots).unwrap_or_default();
        Ok(snapshots
            .into_iter()
            .filter(|snapshot| snapshot.verified)
            .map(|snapshot| SnapshotMark {
                guid: snapshot.guid,
                name: snapshot.name,
            })
            .collect())
    }
}

fn guids(held: &[SnapshotMark]) -> Vec<u64> {
    held.iter().map(|mark| mark.guid).collect()
}

/// What a survey says about a replica whose snapshots were asked about.
fn lag(survey: &Survey) -> Lag {
    Lag {
        bytes: survey.written,
        // A replica without what was written since has been so since the common snapshot, at most.
        time: match survey.written {
            0 => Duration::ZERO,
            _ => survey.age.unwrap_or(Duration::MAX),
        },
    }
}
