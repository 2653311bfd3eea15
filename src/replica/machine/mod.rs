//! What a node of a group does next: a pure function of what it knows and what happened.
//!
//! [`Machine::step`] takes an [`Event`] and the time, and gives the next [`State`] and the
//! [`Action`]s. It reads no clock and changes nothing itself. A node does the actions and gives their
//! outcomes back as events; the model check does the same with a small world of its own, so what it
//! finds out about the machine is true of the machine that runs.
//!
//! A node waits for at most one outcome at a time. What it does next is decided anew after each
//! event, from all that it knows: there is no plan that a lost answer or a crash could leave half
//! done. After a crash it knows what its dataset says ([`Standing`]), and the fence.
//!
//! | role | does | until |
//! |---|---|---|
//! | [`Source`](Role::Source) | renews its lease, acknowledges what enough replicas have; is read-only without a lease | another holds the fence: `Fenced` |
//! | [`Replica`](Role::Replica) | follows the fence's holder | it is to take over and the lease is over: `Promoting` |
//! | [`Promoting`](Role::Promoting) | follows nobody, looks for what was acknowledged, writes the fence | it holds the fence: `Promoted`; anything else: `Replica` |
//! | [`Promoted`](Role::Promoted) | as `Source` | it was written to: `Source`; it is undone: `Replica` |
//! | [`Fenced`](Role::Fenced) | nothing, read-only | it is to be rebuilt: `Rebuilding`; an undo gave the fence back: `Source` |
//! | [`Rebuilding`](Role::Rebuilding) | makes its data a replica of the holder's | that is done: `Replica` |

mod absorb;
mod decide;
mod guard;
#[cfg(test)]
mod model;
mod retention;
mod types;

use std::time::{Duration, SystemTime};

use super::fence::{Fence, NodeName, SnapshotMark};
use super::policy::{Lag, Policy};
use guard::Guard;
pub use types::{Action, Candidate, Command, Declined, Event, Role, Standing, UnknownRole};

/// How a node behaves: its name, its group's size and policy.
#[derive(Clone, Debug)]
pub struct Machine {
    node: NodeName,
    replicas: usize,
    policy: Policy,
    /// The guard that the model check takes away, to see that it would notice.
    #[cfg(test)]
    without: Option<Guard>,
}

/// What a node knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    standing: Option<Standing>,
    writable: bool,
    fence: Option<Fence>,
    awaiting: Option<Awaiting>,
    /// Nothing is done before the next tick, because something failed.
    paused: bool,
    /// The fence was read, or could not be, since the last tick.
    fresh: bool,
    /// The source was asked since the last tick.
    followed: bool,
    wish: Option<Command>,
    unhealthy: bool,
    source: Contact,
    candidate: Option<(Option<SnapshotMark>, Candidate)>,
    /// Whether somebody wrote since this node took over, once it is known.
    written: Option<bool>,
    diverged: bool,
    rebuilt: bool,
    pending: Vec<Pending>,
    declined: Option<Declined>,
}

/// What a replica knows of its source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Contact {
    unhealthy: bool,
    unreachable_since: Option<SystemTime>,
    /// When it was last reached, and how far behind the replica was then.
    seen: Option<(SystemTime, Lag)>,
}

/// A snapshot that is not acknowledged yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Pending {
    mark: SnapshotMark,
    held_by: Vec<NodeName>,
}

/// The outcome that a node waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Awaiting {
    Read,
    Write,
    Become,
    Verify,
    Follow,
    Look,
    Rebuild,
}

impl Machine {
    /// The machine of `node`, in a group with so many replicas beside the source.
    #[must_use]
    pub fn new(node: &NodeName, replicas: usize, policy: &Policy) -> Self {
        Self {
            node: node.clone(),
            replicas,
            policy: policy.clone(),
            #[cfg(test)]
            without: None,
        }
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> &NodeName {
        &self.node
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What `event` comes to, at `now` by this node's clock.
    ///
    /// The actions are to be done in their order. The first event of a process is
    /// [`Event::Started`], with a new [`State`].
    #[must_use]
    pub fn step(&self, state: &State, now: SystemTime, event: Event) -> (State, Vec<Action>) {
        let mut next = state.clone();
        let mut actions = Vec::new();
        self.absorb(&mut next, now, event, &mut actions);
        if next.awaiting.is_none() && !next.paused {
            if let Some(action) = self.decide(&mut next, now, &mut actions) {
                next.awaiting = Awaiting::of(&action);
                actions.push(action);
            }
        }
        (next, actions)
    }

    /// Whether this node's data may be written to at `now`. Who writes asks before each write, and
    /// has written when another clock margin has passed.
    #[must_use]
    pub fn may_write(&self, state: &State, now: SystemTime) -> bool {
        state.writable
            && state.standing.is_some_and(|standing| {
                matches!(standing.role, Role::Source | Role::Promoted)
                    && self.has_lease(state, standing, now)
            })
    }

    /// Whether the fence is this node's, in the epoch of its standing, and lasts.
    fn has_lease(&self, state: &State, standing: Standing, now: SystemTime) -> bool {
        state.fence.as_ref().is_some_and(|fence| {
            self.holds(fence, standing)
                && (later(now, self.policy.clock_margin) <= fence.until
                    || !self.enforces(Guard::OwnLease))
        })
    }

    fn holds(&self, fence: &Fence, standing: Standing) -> bool {
        fence.holder == self.node && fence.epoch == standing.epoch
    }

    /// Whether nobody may write under this fence any more, by any node's clock.
    fn is_over(&self, fence: &Fence, now: SystemTime) -> bool {
        let margin = if self.enforces(Guard::ClockMargin) {
            self.policy.clock_margin
        } else {
            Duration::ZERO
        };
        now > later(fence.until, margin) || !self.enforces(Guard::LeaseOver)
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self, reason = "a test's machine may lack a guard")]
    fn enforces(&self, _: Guard) -> bool {
        true
    }

    #[cfg(test)]
    fn enforces(&self, guard: Guard) -> bool {
        self.without != Some(guard)
    }
}

impl State {
    /// What the dataset says, once the process has started.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        self.standing
    }

    /// Whether the data can be written to, as far as ZFS goes: it is not read-only. Whether it may be
    /// is [`Machine::may_write`].
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// The fence, as it was last seen.
    #[must_use]
    pub fn fence(&self) -> Option<&Fence> {
        self.fence.as_ref()
    }

    /// What an operator asked for and was not done yet.
    #[must_use]
    pub fn wish(&self) -> Option<Command> {
        self.wish
    }

    /// Why the last wish was not done; `None` when it was, or is not yet.
    #[must_use]
    pub fn declined(&self) -> Option<&Declined> {
        self.declined.as_ref()
    }

    /// When the source was last reached, and how far behind this replica was then.
    #[must_use]
    pub fn seen(&self) -> Option<(SystemTime, Lag)> {
        self.source.seen
    }

    /// Whether this replica has what its source does not have, and must be rebuilt.
    #[must_use]
    pub fn diverged(&self) -> bool {
        self.diverged
    }
}

impl Awaiting {
    /// The outcome of `action`, if it has one.
    fn of(action: &Action) -> Option<Self> {
        match action {
            Action::ReadFence => Some(Self::Read),
            Action::WriteFence { .. } => Some(Self::Write),
            Action::Become { .. } => Some(Self::Become),
            Action::Verify { .. } => Some(Self::Verify),
            Action::Follow { .. } => Some(Self::Follow),
            Action::LookForWrites => Some(Self::Look),
            Action::Rebuild { .. } => Some(Self::Rebuild),
            Action::Report { .. } | Action::Announce(_) | Action::Decline(_) => None,
        }
    }
}

/// `time` and `length`, as far as the clock goes.
fn later(time: SystemTime, length: Duration) -> SystemTime {
    time.checked_add(length).unwrap_or(time)
}
