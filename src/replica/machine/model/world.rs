//! A small world: a store, two or three nodes with their data, clocks that differ, and all that can
//! go wrong.
//!
//! Every operation with the store or the source may fail, before or after it took effect, as often as
//! it likes: that covers partitions of any length. Reports are delivered late, many times, or never.
//! What is bounded are time, snapshots, crashes and commands.

use std::time::{Duration, SystemTime};

use super::super::super::fence::{Fence, NodeName, SnapshotMark};
use super::super::super::policy::{Lag, Policy};
use super::super::guard::Guard;
use super::super::types::{Action, Candidate, Command, Event, Role, Standing};
use super::super::{Machine, State};

const SECOND: Duration = Duration::from_secs(1);

/// The present, at all times: a world is the same a second later if all times in it have moved. So
/// there is no end of time, and still an end of states.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1000)
}

/// What is the same in all states of a search.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) machines: Vec<Machine>,
    /// By how much each node's clock is ahead.
    pub(super) ahead: Vec<u64>,
    pub(super) policy: Policy,
    /// Whether the store compares revisions.
    pub(super) compares: bool,
    /// The node that is down all the time.
    pub(super) down: Option<usize>,
    /// Whether sources may turn out unhealthy.
    pub(super) sickness: bool,
}

/// What may still go wrong, or be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    pub(super) snapshots: u8,
    pub(super) crashes: u8,
    pub(super) promotions: u8,
    pub(super) undos: u8,
    pub(super) hand_overs: u8,
    pub(super) rebuilds: u8,
    pub(super) bad_transfers: u8,
    pub(super) prunes: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) fence: Fence,
    pub(super) nodes: Vec<Node>,
    /// Of each snapshot, itself and all that it comes after.
    pub(super) lineages: Vec<u16>,
    /// What was ever acknowledged.
    pub(super) acknowledged: u16,
    pub(super) reports: Vec<Report>,
    pub(super) budget: Budget,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) state: State,
    /// The change that it is about to make.
    pub(super) doing: Option<Action>,
    pub(super) standing: Standing,
    pub(super) writable: bool,
    /// The snapshots that it has, and whether each was verified.
    pub(super) chain: Vec<(u8, bool)>,
    /// The snapshots that it has destroyed. There are bookmarks of them, if a replica had them.
    pub(super) gone: u16,
    /// Whether it was written to since the newest snapshot.
    pub(super) dirty: bool,
    /// Whether it was written to since it took over.
    pub(super) written: bool,
    /// In how many seconds the last write that was let through has landed.
    pub(super) landing: Option<u64>,
    pub(super) sick: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Report {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) epoch: u64,
    pub(super) snapshot: u8,
}

/// What must never be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Wrong {
    /// Two nodes are written to.
    TwoWriters,
    /// A node without a verified snapshot took over.
    Unverified,
    /// What can be written to does not come after a snapshot that was acknowledged.
    LostAcknowledged,
    /// A snapshot was acknowledged that too few replicas have.
    TooFew,
    /// An undo has thrown away what was written.
    LostByUndo,
    /// A node has destroyed what it needs to take over, or to go on from.
    Pruned,
}

/// A change of the world, for the way to a violation.
#[allow(dead_code, reason = "what is in them is printed")]
#[derive(Clone, Debug)]
pub(super) enum Change {
    Time,
    Tick(usize),
    Does(usize, Action),
    DoesAndDies(usize, Action),
    Fails(usize, Action),
    AnswerLost(usize, Action),
    Dies(usize),
    Starts(usize),
    Writes(usize),
    Snapshot(usize),
    Prunes(usize),
    Command(usize, Command),
    Report(Report),
    Sick(usize),
}

pub(super) fn name(node: usize) -> NodeName {
    NodeName::new(["a", "b", "c"][node]).unwrap()
}

pub(super) fn mark(snapshot: u8) -> SnapshotMark {
    SnapshotMark {
        guid: u64::from(snapshot),
        name: String::new(),
    }
}

pub(super) fn snapshot(mark: &SnapshotMark) -> u8 {
    u8::try_from(mark.guid).unwrap()
}

/// The worlds that one event leads to.
pub(super) type Worlds = Vec<Result<World, Wrong>>;

impl World {
    /// All nodes have snapshot 0, but the last, which has what was not verified.
    pub(super) fn new(rules: &Rules, budget: Budget) -> Self {
        let count = rules.machines.len();
        let lease = rules.policy.lease.as_secs();
        let nodes = (0..count).map(|at| Node {
            state: State::default(),
            doing: None,
            standing: Standing {
                role: if at == 0 { Role::Source } else { Role::Replica },
                epoch: 1,
            },
            writable: at == 0,
            chain: vec![(0, at == 0 || at + 1 < count || count == 2)],
            gone: 0,
            dirty: false,
            written: false,
            landing: None,
            sick: false,
        });
        let until = SystemTime::UNIX_EPOCH + Duration::from_secs(lease);
        let mut fence = Fence::first(&name(0), until);
        // Before something is acknowledged, nothing is destroyed.
        if budget.prunes > 0 {
            fence.acknowledged = Some(mark(0));
        }
        Self {
            acknowledged: u16::from(fence.acknowledged.is_some()),
            fence,
            nodes: nodes.collect(),
            lineages: vec![1],
            reports: Vec::new(),
            budget,
        }
    }

    /// The first node is the source again, after an undo, and just started. What one replica had, and
    /// told, before all that, it has no longer: that came late.
    pub(super) fn with_an_old_report(rules: &Rules) -> Self {
        let mut world = Self::new(rules, super::NOTHING);
        world.fence.epoch = 3;
        for node in &mut world.nodes {
            node.standing.epoch = 3;
        }
        world.lineages.push(0b11);
        world.nodes[0].chain.push((1, true));
        world.reports.push(Report {
            from: 2,
            to: 0,
            epoch: 1,
            snapshot: 1,
        });
        world
    }

    /// The lease is over, and one replica has, and tells, what the other does not have.
    pub(super) fn with_a_report_on_its_way(rules: &Rules, budget: Budget) -> Self {
        let mut world = Self::new(rules, budget);
        world.fence.until = now() - 4 * rules.policy.clock_margin;
        world.lineages.push(0b11);
        world.nodes[0].chain.push((1, true));
        world.nodes[2].chain = vec![(0, true), (1, true)];
        world.reports.push(Report {
            from: 2,
            to: 0,
            epoch: 1,
            snapshot: 1,
        });
        world
    }

    /// A process dies. Another starts some time later.
    pub(super) fn dies(&mut self, at: usize) {
        self.budget.crashes -= 1;
        self.nodes[at].state = State::default();
        self.nodes[at].doing = None;
    }

    pub(super) fn clock(rules: &Rules, at: usize) -> SystemTime {
        now() + Duration::from_secs(rules.ahead[at])
    }

    /// One event, without what follows from it.
    fn hears(&mut self, rules: &Rules, at: usize, event: Event) {
        let now = Self::clock(rules, at);
        let (state, actions) = rules.machines[at].step(&self.nodes[at].state, now, event);
        self.nodes[at].state = state;
        self.forget(rules, at);
        self.lets_through(rules, at);
        for action in actions {
            match action {
                Action::Report {
                    source,
                    epoch,
                    mark,
                } => {
                    let to = (0..self.nodes.len()).find(|to| name(*to) == source);
                    let report = Report {
                        from: at,
                        to: to.unwrap(),
                        epoch,
                        snapshot: snapshot(&mark),
                    };
                    if let Err(place) = self.reports.binary_search(&report) {
                        self.reports.insert(place, report);
                    }
                }
                Action::Announce(_) | Action::Decline(_) => {}
                other => {
                    assert!(self.nodes[at].doing.is_none(), "one at a time");
                    self.nodes[at].doing = Some(other);
                }
            }
        }
    }

    /// Lets go of what this policy never asks a state for, so that fewer states differ.
    fn forget(&mut self, rules: &Rules, at: usize) {
        let state = &mut self.nodes[at].state;
        state.declined = None;
        if let Some((seen, _)) = &mut state.source.seen {
            *seen = SystemTime::UNIX_EPOCH;
        }
        let automatic = rules.policy.automatic;
        if automatic.is_none_or(|automatic| automatic.unreachable_for.is_none()) {
            state.source.unreachable_since = None;
        }
    }

    /// Numbers the revisions anew, in their order: nothing depends on more than that.
    pub(super) fn renumber(&mut self) {
        fn visit(world: &mut World, see: &mut impl FnMut(&mut u64)) {
            see(&mut world.fence.revision);
            for node in &mut world.nodes {
                if let Some(fence) = &mut node.state.fence {
                    see(&mut fence.revision);
                }
                if let Some(Action::WriteFence { expected, new }) = &mut node.doing {
                    see(expected);
                    see(&mut new.revision);
                }
            }
        }
        let mut all = Vec::new();
        visit(self, &mut |revision| all.push(*revision));
        all.sort_unstable();
        all.dedup();
        visit(self, &mut |revision| {
            *revision = all.binary_search(revision).unwrap() as u64 + 1;
        });
    }

    /// An event, and all that only looks and follows from it at once: what is left to do are changes.
    pub(super) fn tell(mut self, rules: &Rules, at: usize, event: Event, out: &mut Worlds) {
        self.hears(rules, at, event);
        let Some(action) = self.nodes[at].doing.clone() else {
            // Whatever comes next, a tick comes before it.
            let state = &mut self.nodes[at].state;
            state.paused = false;
            state.fresh = false;
            state.followed = false;
            return out.push(Ok(self));
        };
        match action {
            Action::WriteFence { .. } | Action::Become { .. } => out.push(Ok(self)),
            Action::ReadFence => {
                self.nodes[at].doing = None;
                let fence = self.fence.clone();
                self.clone().tell(rules, at, Event::StoreFailed, out);
                self.tell(rules, at, Event::Fence(fence), out);
            }
            Action::Verify { acknowledged } => {
                self.nodes[at].doing = None;
                let candidate = self.nodes[at].candidate(acknowledged.as_ref());
                self.tell(rules, at, Event::Verified(candidate), out);
            }
            Action::LookForWrites => {
                self.nodes[at].doing = None;
                let event = if self.nodes[at].written {
                    Event::Written
                } else {
                    Event::Unwritten
                };
                self.tell(rules, at, event, out);
            }
            Action::Follow { source } => {
                self.nodes[at].doing = None;
                let source = (0..self.nodes.len()).find(|at| name(*at) == source);
                self.follows(rules, at, source.unwrap(), out);
            }
            Action::Rebuild { source } => {
                self.nodes[at].doing = None;
                let source = (0..self.nodes.len()).find(|at| name(*at) == source);
                self.rebuilds(rules, at, source.unwrap(), out);
            }
            Action::Report { .. } | Action::Announce(_) | Action::Decline(_) => unreachable!(),
        }
    }

    pub(super) fn serves(&self, source: usize) -> bool {
        matches!(
            self.nodes[source].standing.role,
            Role::Source | Role::Promoted
        )
    }

    fn follows(self, rules: &Rules, at: usize, source: usize, out: &mut Worlds) {
        self.clone().tell(rules, at, Event::SourceUnreachable, out);
        if !self.serves(source) {
            return;
        }
        let lag = Lag::default();
        let epoch = self.nodes[source].standing.epoch;
        let newest = self.nodes[source].chain.last().unwrap().0;
        let mut received = self;
        if received.nodes[at].chain.last().is_none_or(|last| last.1) {
            let chain = &received.nodes[at].chain;
            let base = chain.last().map(|last| last.0);
            let known = |id: u8| {
                let node = &received.nodes[source];
                node.gone & (1 << id) != 0 || node.chain.iter().any(|had| had.0 == id)
            };
            if base == Some(newest) {
                let healthy = !received.nodes[source].sick;
                let event = Event::SourceSeen { healthy, lag };
                return received.tell(rules, at, event, out);
            }
            if base.is_some_and(|base| !known(base)) {
                return received.tell(rules, at, Event::Diverged, out);
            }
            received.nodes[at].chain.push((newest, false));
        }
        // It dies before it has verified that.
        if received.budget.crashes > 0 {
            let mut died = received.clone();
            died.dies(at);
            out.push(Ok(died));
        }
        // What arrived is not what was sent.
        if received.budget.bad_transfers > 0 {
            let mut rejected = received.clone();
            rejected.budget.bad_transfers -= 1;
            rejected.nodes[at].chain.pop();
            rejected.tell(rules, at, Event::ActionFailed, out);
        }
        let last = received.nodes[at].chain.last_mut().unwrap();
        last.1 = true;
        let mark = mark(last.0);
        received.tell(rules, at, Event::Pulled { mark, epoch, lag }, out);
    }

    fn rebuilds(self, rules: &Rules, at: usize, source: usize, out: &mut Worlds) {
        self.clone().tell(rules, at, Event::ActionFailed, out);
        if !self.serves(source) {
            return;
        }
        let mut cut = self;
        let theirs = cut.nodes[source].chain.clone();
        let node = &mut cut.nodes[at];
        let common = node
            .chain
            .iter()
            .rposition(|(id, verified)| *verified && theirs.iter().any(|had| had.0 == *id));
        node.chain.truncate(common.map_or(0, |at| at + 1));
        node.dirty = false;
        node.written = false;
        if cut.budget.crashes > 0 {
            let mut died = cut.clone();
            died.dies(at);
            out.push(Ok(died));
        }
        let newest = theirs.last().unwrap().0;
        if cut.nodes[at]
            .chain
            .last()
            .is_none_or(|last| last.0 != newest)
        {
            cut.nodes[at].chain.push((newest, true));
        }
        cut.tell(rules, at, Event::Rebuilt, out);
    }

    /// Whether the newest snapshot of a node comes after all that were acknowledged.
    fn has_all(&self, at: usize) -> bool {
        let newest = self.nodes[at].chain.last();
        let lineage = newest.map_or(0, |last| self.lineages[usize::from(last.0)]);
        lineage & self.acknowledged == self.acknowledged
    }

    /// Makes the change that a node is about to make; `None` when the store refuses it.
    pub(super) fn does(&mut self, rules: &Rules, at: usize) -> Result<Event, Wrong> {
        match self.nodes[at].doing.take().unwrap() {
            Action::WriteFence { expected, new } => {
                if rules.compares && self.fence.revision != expected {
                    let now = self.fence.clone();
                    return Ok(if now == new {
                        Event::Fence(now)
                    } else {
                        Event::FenceMoved(now)
                    });
                }
                let gives_back = new.epoch > self.fence.epoch && new.holder != name(at);
                if gives_back && self.nodes[at].written {
                    return Err(Wrong::LostByUndo);
                }
                if new.acknowledged != self.fence.acknowledged {
                    self.acknowledges(rules, at, &new)?;
                }
                self.fence = new.clone();
                Ok(Event::Fence(new))
            }
            Action::Become { standing, writable } => {
                self.becomes(at, standing, writable)?;
                Ok(Event::Became { standing, writable })
            }
            _ => unreachable!(),
        }
    }

    fn acknowledges(&mut self, rules: &Rules, at: usize, new: &Fence) -> Result<(), Wrong> {
        let id = snapshot(new.acknowledged.as_ref().unwrap());
        let has = |node: &Node| {
            let newest = node.chain.iter().rev().find(|had| had.1);
            newest.is_some_and(|had| self.lineages[usize::from(had.0)] & (1 << id) != 0)
        };
        let others = self.nodes.iter().enumerate().filter(|(of, _)| *of != at);
        let count = others.filter(|(_, node)| has(node)).count();
        let needed = rules.policy.acknowledge.needed(self.nodes.len() - 1);
        self.acknowledged |= 1 << id;
        if count < needed {
            return Err(Wrong::TooFew);
        }
        match self.nodes[at].chain.iter().any(|had| had.0 == id) {
            true => Ok(()),
            false => Err(Wrong::Pruned),
        }
    }

    fn becomes(&mut self, at: usize, standing: Standing, writable: bool) -> Result<(), Wrong> {
        let node = &mut self.nodes[at];
        let before = node.standing.role;
        node.standing = standing;
        node.writable = writable;
        if !writable {
            node.landing = None;
        }
        if standing.role == Role::Promoted && before == Role::Promoting {
            while node.chain.last().is_some_and(|last| !last.1) {
                node.chain.pop();
            }
            if node.chain.is_empty() {
                return Err(Wrong::Unverified);
            }
            node.dirty = false;
            node.written = false;
            if !self.has_all(at) {
                return Err(Wrong::LostAcknowledged);
            }
        } else if standing.role == Role::Replica && before == Role::Promoted && node.written {
            return Err(Wrong::LostByUndo);
        }
        Ok(())
    }

    /// What must hold in each state.
    pub(super) fn check(&self, rules: &Rules) -> Result<(), Wrong> {
        let writes = |node: &&Node| node.landing.is_some();
        if self.nodes.iter().filter(writes).count() > 1 {
            return Err(Wrong::TwoWriters);
        }
        for at in 0..self.nodes.len() {
            if self.may_write(rules, at) && !self.has_all(at) {
                return Err(Wrong::LostAcknowledged);
            }
        }
        Ok(())
    }

    pub(super) fn may_write(&self, rules: &Rules, at: usize) -> bool {
        rules.machines[at].may_write(&self.nodes[at].state, Self::clock(rules, at))
            && self.nodes[at].writable
    }

    /// Whoever may write does: a write is let through now, and lands within the margin.
    fn lets_through(&mut self, rules: &Rules, at: usize) {
        if self.may_write(rules, at) {
            self.nodes[at].landing = Some(rules.policy.clock_margin.as_secs());
        }
    }

    /// A second passes: all times come nearer by one. What has passed for all nodes has passed.
    pub(super) fn passes(&mut self, rules: &Rules) {
        let passed = now() - 2 * rules.policy.clock_margin - SECOND;
        let nearer = |fence: &mut Fence| fence.until = (fence.until - SECOND).max(passed);
        nearer(&mut self.fence);
        for node in &mut self.nodes {
            node.state.fence.as_mut().map(nearer);
            if let Some(Action::WriteFence { new, .. }) = &mut node.doing {
                nearer(new);
            }
            if let Some(since) = &mut node.state.source.unreachable_since {
                let limit = rules.policy.automatic.unwrap().unreachable_for.unwrap();
                *since = (*since - SECOND).max(now() - limit);
            }
            node.landing = node.landing.and_then(|landing| landing.checked_sub(1));
        }
        for at in 0..self.nodes.len() {
            self.lets_through(rules, at);
        }
    }
}

impl Node {
    pub(super) fn candidate(&self, acknowledged: Option<&SnapshotMark>) -> Candidate {
        let newest = self.chain.iter().rposition(|(_, verified)| *verified);
        let has = |mark: &SnapshotMark| {
            newest.is_some_and(|newest| {
                self.chain[..=newest]
                    .iter()
                    .any(|(id, _)| *id == snapshot(mark))
            })
        };
        Candidate {
            verified: newest.map(|newest| mark(self.chain[newest].0)),
            has_acknowledged: acknowledged.is_none_or(has),
        }
    }
}

impl Rules {
    /// Rules for so many nodes, of which the last one's clock is ahead by all that the margin allows.
    pub(super) fn new(nodes: usize, policy: Policy, without: Option<Guard>) -> Self {
        let machine = |at| {
            let mut machine = Machine::new(&name(at), nodes - 1, &policy);
            machine.without = without;
            machine
        };
        let margin = policy.clock_margin.as_secs();
        Self {
            machines: (0..nodes).map(machine).collect(),
            ahead: (0..nodes)
                .map(|at| if at == 0 { 0 } else { margin })
                .collect(),
            policy,
            compares: true,
            down: None,
            sickness: false,
        }
    }
}
