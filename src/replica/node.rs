use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use zfs_core::DatasetName;
use zfs_core::key::WrappingKey;

use crate::Keep;
use crate::gate::Capability;
use crate::replicate::{Problem, Replicator, Source};

use super::retention;
use super::site::by_guid;
use super::{
    Action, Command, Declined, Event, Fence, FenceError, FencingStore, Follow, Followed, Follower,
    Grants, GroupName, Machine, NodeName, ReplicaError, Role, Site, SiteRole, SnapshotMark, State,
    Stop,
};

/// How often a node looks what it may destroy, though nothing was acknowledged meanwhile.
const PRUNES: Duration = Duration::from_secs(60);

/// A way to another node.
pub trait Channel: Read + Write + Send {}

impl<C: Read + Write + Send> Channel for C {}

type Connect = dyn Fn() -> io::Result<Box<dyn Channel>> + Send + Sync;
type Keys = dyn Fn() -> Result<WrappingKey, String> + Send + Sync;

/// Another node of the group.
struct Peer {
    data: DatasetName,
    follower: Follower,
    connect: Box<Connect>,
}

/// A node of a group: it does what its [`Machine`] decides, with a [`Site`] and the fence of the
/// group.
///
/// It has no thread of its own: [`run`](Self::run) is called by one. Others serve its data to the
/// other nodes ([`NodeServer`]), and tell it what they learn ([`Inbox`]).
pub struct Node {
    site: Site,
    machine: Machine,
    state: State,
    group: GroupName,
    fences: Arc<dyn FencingStore>,
    peers: BTreeMap<NodeName, Peer>,
    key: Option<Box<Keys>>,
    inbox: Inbox,
    followed: Option<(Instant, Followed)>,
    snapshot: Option<Instant>,
    /// When there was nothing to destroy, and what was acknowledged then.
    pruned: Option<(Instant, Option<SnapshotMark>)>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("node", self.machine.node())
            .field("group", &self.group)
            .field("site", &self.site)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// What a [`Node`] tells whoever runs it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Notice {
    /// What it is has changed: its role, and whether it can be written to.
    Became(super::Standing, bool),
    /// Enough replicas have the snapshot: whoever takes over has it.
    Acknowledged(SnapshotMark),
    /// It took a snapshot.
    Snapshot(SnapshotMark),
    /// It received what is new.
    Followed(Followed),
    /// It destroyed snapshots that its policy does not keep.
    Pruned(Vec<SnapshotMark>),
    /// It did not do what was asked for.
    Declined(Declined),
    /// Something failed; it is tried again.
    Failed(ReplicaError),
    /// The fencing store failed; it is tried again.
    Store(FenceError),
    /// The lease is not renewed: the capability that the node would stop writing with ends before.
    NotRenewed {
        /// When it ends.
        expires: SystemTime,
    },
    /// The key of the data could not be had; it is tried again.
    Key(String),
}

/// Where other threads put what a [`Node`] is to know.
#[derive(Clone, Debug, Default)]
pub struct Inbox(Arc<Mutex<VecDeque<Event>>>);

impl Inbox {
    /// Tells the node what an operator wants. It does it at its next turn.
    pub fn command(&self, command: Command) {
        self.put(Event::Command(command));
    }

    /// Tells the node that a replica has a snapshot, verified.
    pub fn held(&self, node: &NodeName, epoch: u64, mark: SnapshotMark) {
        self.put(Event::Held {
            node: node.clone(),
            epoch,
            mark,
        });
    }

    fn put(&self, event: Event) {
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        events.push_back(event);
    }

    fn take(&self) -> Option<Event> {
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        events.pop_front()
    }
}

/// Serves a node's data to the others, from any thread.
#[derive(Clone, Debug)]
pub struct NodeServer {
    site: Site,
    inbox: Inbox,
}

impl NodeServer {
    /// Serves one connection of the node `by`, and tells the node what that one has now.
    ///
    /// Who is at the other end of the channel is for the caller to know: what `by` says that it has
    /// counts towards acknowledging.
    ///
    /// # Errors
    ///
    /// As [`Source::serve`].
    pub fn serve<C: Read + Write>(
        &self,
        capability: &Capability,
        by: &NodeName,
        channel: C,
    ) -> Result<(), ReplicaError> {
        let before = self.site.state()?;
        let source = Source::new(&self.site.zfs).offer(self.site.data());
        let served = source.serve(capability, channel)?;
        if let Some(guid) = served.held {
            let dataset = self.site.zfs.dataset(before.dataset.as_str())?;
            if let Some(snapshot) = by_guid(&dataset, guid)? {
                let name = snapshot.name().short().to_owned();
                self.inbox
                    .held(by, before.epoch, SnapshotMark { guid, name });
            }
        }
        Ok(())
    }
}

impl Node {
    /// A node with its data at `site`, in the group of that name.
    #[must_use]
    pub fn new(
        site: &Site,
        machine: Machine,
        group: &GroupName,
        fences: Arc<dyn FencingStore>,
    ) -> Self {
        Self {
            site: site.clone(),
            machine,
            state: State::default(),
            group: group.clone(),
            fences,
            peers: BTreeMap::new(),
            key: None,
            inbox: Inbox::default(),
            followed: None,
            snapshot: None,
            pruned: None,
        }
    }

    /// Another node, which has its data at `data` while it is the source, and how to reach it.
    #[must_use]
    pub fn peer(
        mut self,
        node: &NodeName,
        data: &DatasetName,
        connect: impl Fn() -> io::Result<Box<dyn Channel>> + Send + Sync + 'static,
    ) -> Self {
        let peer = Peer {
            data: data.clone(),
            follower: Follower::new(&self.site, data),
            connect: Box::new(connect),
        };
        self.peers.insert(node.clone(), peer);
        self
    }

    /// Where the key of the data comes from when it is promoted.
    #[must_use]
    pub fn key(
        mut self,
        key: impl Fn() -> Result<WrappingKey, String> + Send + Sync + 'static,
    ) -> Self {
        self.key = Some(Box::new(key));
        self
    }

    /// Where other threads put what the node is to know.
    #[must_use]
    pub fn inbox(&self) -> Inbox {
        self.inbox.clone()
    }

    /// What serves its data.
    #[must_use]
    pub fn server(&self) -> NodeServer {
        NodeServer {
            site: self.site.clone(),
            inbox: self.inbox.clone(),
        }
    }

    /// What the node knows.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether its data may be written to now: see [`Machine::may_write`].
    #[must_use]
    pub fn may_write(&self) -> bool {
        self.machine.may_write(&self.state, SystemTime::now())
    }

    /// Begins: data that never had a part in a group becomes that of its source, with a new fence,
    /// if the group has none.
    ///
    /// # Errors
    ///
    /// [`Role`](ReplicaError::Role) when there is data that has no part in the group, and the group
    /// has a source.
    pub fn start(
        &mut self,
        grants: Grants<'_>,
        notice: &mut dyn FnMut(Notice),
    ) -> Result<(), ReplicaError> {
        let mut state = self.site.state()?;
        if state.role == SiteRole::Unmarked {
            // Its lease is over at once: the first turn renews it.
            let now = SystemTime::now();
            let epoch = match self.fences.create(&self.group, self.machine.node(), now) {
                Ok(fence) => fence.epoch,
                Err(FenceError::Moved { now, .. }) if now.holder == *self.machine.node() => {
                    now.epoch
                }
                Err(FenceError::Moved { .. }) => return Err(state.cannot("a node of the group")),
                Err(error) => {
                    notice(Notice::Store(error));
                    return Ok(());
                }
            };
            self.site.open(grants.promote, epoch, &mut |_| {})?;
            state = self.site.state()?;
        }
        let Some(standing) = state.standing() else {
            return Err(state.cannot("a node of the group"));
        };
        self.handle(grants, Event::Started(standing), notice);
        if matches!(standing.role, Role::Source | Role::Promoted) {
            if let Some(newest) = self.site.snapshots()?.pop() {
                self.handle(grants, Event::Snapshot(newest), notice);
            }
        }
        Ok(())
    }

    /// One turn: what others have told it, the health of its pool, a snapshot if it is time for one
    /// and there is something new, and whatever the machine decides then. A source that hands over
    /// takes a last one, once nobody can write. Then what the policy does not keep is destroyed.
    pub fn turn(&mut self, grants: Grants<'_>, notice: &mut dyn FnMut(Notice)) {
        if self.state.standing().is_none() {
            if let Err(error) = self.start(grants, notice) {
                notice(Notice::Failed(error));
                return;
            }
        }
        while let Some(event) = self.inbox.take() {
            self.handle(grants, event, notice);
        }
        match self.site.is_healthy() {
            Ok(healthy) => self.handle(grants, Event::PoolHealth { healthy }, notice),
            Err(error) => notice(Notice::Failed(error)),
        }
        self.handle(grants, Event::Tick, notice);
        let due = self.may_write() && self.is_due(self.snapshot);
        if due || self.has_handed_over() {
            let short = retention::short_name(SystemTime::now());
            match self.site.snapshot_if_changed(grants.snapshot, &short) {
                Ok(None) => {}
                Ok(Some(mark)) => {
                    self.snapshot = Some(Instant::now());
                    notice(Notice::Snapshot(mark.clone()));
                    self.handle(grants, Event::Snapshot(mark), notice);
                }
                Err(error) => notice(Notice::Failed(error)),
            }
        }
        self.prune(grants, notice);
    }

    /// Destroys what the policy does not keep and the group does not need, whenever something was
    /// acknowledged, and now and then.
    fn prune(&mut self, grants: Grants<'_>, notice: &mut dyn FnMut(Notice)) {
        let (Some(keep), Some(retain)) = (&self.machine.policy().keep, grants.retain) else {
            return;
        };
        let fence = self.state.fence();
        let acknowledged = fence.and_then(|fence| fence.acknowledged.clone());
        let is_due = self
            .pruned
            .as_ref()
            .is_none_or(|(at, before)| *before != acknowledged || at.elapsed() >= PRUNES);
        if !is_due {
            return;
        }
        match self.destroy(retain, keep) {
            // There may be more.
            Ok(gone) if !gone.is_empty() => {
                notice(Notice::Pruned(gone.clone()));
                self.handle(grants, Event::Pruned(gone), notice);
            }
            outcome => {
                self.pruned = Some((Instant::now(), acknowledged));
                if let Err(error) = outcome {
                    notice(Notice::Failed(error));
                }
            }
        }
    }

    fn destroy(&self, retain: &Capability, keep: &Keep) -> Result<Vec<SnapshotMark>, ReplicaError> {
        let have = self.site.all_snapshots(&self.site.state()?)?;
        let dispensable = self.machine.dispensable(&self.state, &have);
        match dispensable.is_empty() {
            true => Ok(dispensable),
            false => self.site.prune(retain, keep, &dispensable, &mut |_| {}),
        }
    }

    /// Turns until it is stopped. A lease is renewed in time if `interval` is well below a quarter
    /// of it.
    ///
    /// A node that ends keeps what it is. A source that is to stop writing at its end is told to
    /// [hand over](Command::HandOver) first.
    pub fn run(
        &mut self,
        grants: Grants<'_>,
        interval: Duration,
        stop: &Stop,
        mut notice: impl FnMut(Notice),
    ) {
        loop {
            self.turn(grants, &mut notice);
            if stop.wait(interval) {
                return;
            }
        }
    }

    /// Gives an event to the machine, does what it decides, and so on until it has decided all.
    fn handle(&mut self, grants: Grants<'_>, event: Event, notice: &mut dyn FnMut(Notice)) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let (state, actions) = self.machine.step(&self.state, SystemTime::now(), event);
            self.state = state;
            for action in actions {
                events.extend(self.act(grants, action, notice));
            }
        }
    }

    fn act(
        &mut self,
        grants: Grants<'_>,
        action: Action,
        notice: &mut dyn FnMut(Notice),
    ) -> Option<Event> {
        Some(match action {
            Action::ReadFence => match self.fences.read(&self.group) {
                Ok(Some(fence)) => Event::Fence(fence),
                Ok(None) => Event::NoFence,
                Err(error) => {
                    notice(Notice::Store(error));
                    Event::StoreFailed
                }
            },
            Action::WriteFence { expected, new } => self.write_fence(grants, expected, new, notice),
            Action::Become { standing, writable } => {
                let key = match (standing.role, &self.key) {
                    (Role::Promoted, Some(key)) => match key() {
                        Ok(key) => Some(key),
                        Err(why) => {
                            notice(Notice::Key(why));
                            None
                        }
                    },
                    _ => None,
                };
                let key = key.as_ref();
                match self
                    .site
                    .assume(grants, standing, writable, key, &mut |_| {})
                {
                    Ok(()) => {
                        notice(Notice::Became(standing, writable));
                        Event::Became { standing, writable }
                    }
                    Err(error) => failed(error, notice),
                }
            }
            Action::Verify { acknowledged } => match self.site.candidate(acknowledged.as_ref()) {
                Ok(candidate) => Event::Verified(candidate),
                Err(error) => failed(error, notice),
            },
            Action::Follow { source } => self.follow(grants, &source, notice),
            Action::Report { .. } => return None,
            Action::Announce(mark) => {
                notice(Notice::Acknowledged(mark));
                return None;
            }
            Action::Decline(why) => {
                notice(Notice::Declined(why));
                return None;
            }
            Action::LookForWrites => match self.site.first_write(grants.promote, &mut |_| {}) {
                Ok(Some(_)) => Event::Written,
                Ok(None) => Event::Unwritten,
                Err(error) => failed(error, notice),
            },
            Action::Rebuild { source } => match self.rebuild(grants, &source) {
                Ok(()) => Event::Rebuilt,
                Err(error) => failed(error, notice),
            },
        })
    }

    fn write_fence(
        &self,
        grants: Grants<'_>,
        expected: u64,
        new: Fence,
        notice: &mut dyn FnMut(Notice),
    ) -> Event {
        // Without that capability it could not stop writing when the lease is over.
        let ours = new.holder == *self.machine.node();
        if ours && new.until > grants.rebuild.expires() && new.until > SystemTime::now() {
            notice(Notice::NotRenewed {
                expires: grants.rebuild.expires(),
            });
            return Event::StoreFailed;
        }
        match self.fences.swap(&self.group, Some(expected), &new) {
            Ok(()) => Event::Fence(new),
            Err(FenceError::Moved { now, .. }) => Event::FenceMoved(*now),
            Err(FenceError::NotFound(_)) => Event::NoFence,
            Err(error) => {
                notice(Notice::Store(error));
                Event::StoreFailed
            }
        }
    }

    fn follow(
        &mut self,
        grants: Grants<'_>,
        source: &NodeName,
        notice: &mut dyn FnMut(Notice),
    ) -> Event {
        let Some(peer) = self.peers.get(source) else {
            return Event::SourceUnreachable;
        };
        let due = self.is_due(self.followed.as_ref().map(|(at, _)| *at));
        let turn = peer
            .follower
            .turn(grants.receive, &mut || (peer.connect)(), due);
        match turn {
            Ok(turn) => {
                let seen = Event::SourceSeen {
                    healthy: turn.healthy,
                    lag: turn.lag,
                };
                let event = match (&turn.outcome, &turn.snapshot, turn.epoch) {
                    (Some(_), Some(mark), Some(epoch)) => Event::Pulled {
                        mark: mark.clone(),
                        epoch,
                        lag: turn.lag,
                    },
                    _ => seen,
                };
                if turn.outcome.is_some() {
                    notice(Notice::Followed(turn.clone()));
                    self.followed = Some((Instant::now(), turn));
                }
                event
            }
            Err(ReplicaError::Connect { .. }) => Event::SourceUnreachable,
            Err(ReplicaError::Replicate(error)) => match error.problem() {
                Problem::Connection => Event::SourceUnreachable,
                Problem::Diverged | Problem::NoCommonBase => Event::Diverged,
                _ => {
                    notice(Notice::Failed(error.into()));
                    Event::ActionFailed
                }
            },
            Err(error) => {
                notice(Notice::Failed(error));
                Event::ActionFailed
            }
        }
    }

    fn rebuild(&self, grants: Grants<'_>, source: &NodeName) -> Result<(), ReplicaError> {
        let epoch = self.state.standing().map_or(0, |standing| standing.epoch);
        let Some(peer) = self.peers.get(source) else {
            return Err(ReplicaError::Connect {
                target: self.site.target().clone(),
                error: io::ErrorKind::NotFound.into(),
            });
        };
        let channel = (peer.connect)().map_err(|error| ReplicaError::Connect {
            target: self.site.target().clone(),
            error,
        })?;
        let guids: Vec<u64> = self
            .site
            .snapshots()?
            .iter()
            .map(|mark| mark.guid)
            .collect();
        let survey = Replicator::survey(channel, &peer.data, &guids)?;
        self.site
            .rebuild(grants.rebuild, survey.common, epoch, &mut |_| {})
            .map(drop)
    }

    /// Whether it is a source that was told to stop, and has.
    fn has_handed_over(&self) -> bool {
        let role = self.state.standing().map(|standing| standing.role);
        matches!(role, Some(Role::Source | Role::Promoted))
            && self.state.wish() == Some(Command::HandOver)
            && !self.state.is_writable()
    }

    /// Whether it is time again, after the last time.
    fn is_due(&self, last: Option<Instant>) -> bool {
        let (Follow::Every(least) | Follow::OnChange(least)) = self.machine.policy().follow;
        last.is_none_or(|last| last.elapsed() >= least)
    }
}

fn failed(error: ReplicaError, notice: &mut dyn FnMut(Notice)) -> Event {
    notice(Notice::Failed(error));
    Event::ActionFailed
}
