use std::time::SystemTime;

use super::super::fence::{Fence, NodeName, SnapshotMark};
use super::super::policy::Lag;
use super::guard::Guard;
use super::types::{Action, Command, Declined, Event, Role, Standing};
use super::{Awaiting, Machine, Pending, State};

/// How many snapshots wait to be acknowledged. Of more, the oldest are not: a newer one covers them.
const MOST_PENDING: usize = 1024;

impl Machine {
    /// Learns from an event.
    pub(super) fn absorb(
        &self,
        state: &mut State,
        now: SystemTime,
        event: Event,
        actions: &mut Vec<Action>,
    ) {
        if state.awaiting.is_some_and(|awaited| awaited.is(&event)) {
            state.awaiting = None;
        }
        match event {
            Event::Started(standing) => {
                *state = State {
                    standing: Some(standing),
                    writable: matches!(standing.role, Role::Source | Role::Promoted),
                    ..State::default()
                };
            }
            Event::Tick => {
                state.paused = false;
                state.fresh = false;
                state.followed = false;
            }
            Event::Command(command) => {
                state.paused = false;
                state.ask(command, actions);
            }
            Event::Fence(fence) => {
                state.fresh = true;
                self.learn(state, fence, actions);
            }
            Event::FenceMoved(fence) => self.learn(state, fence, actions),
            Event::NoFence => {
                state.fresh = true;
                state.fence = None;
            }
            Event::StoreFailed => {
                state.fresh = true;
                state.paused = state
                    .standing
                    .is_some_and(|standing| !matches!(standing.role, Role::Replica));
            }
            Event::Became { standing, writable } => state.became(standing, writable),
            Event::ActionFailed => state.paused = true,
            Event::Verified(candidate) => {
                let asked = state.fence.as_ref().and_then(|f| f.acknowledged.clone());
                state.candidate = Some((asked, candidate));
            }
            Event::Pulled { mark, epoch, lag } => {
                state.reached(now, lag);
                self.report(state, epoch, mark, actions);
            }
            Event::SourceSeen { healthy, lag } => {
                state.reached(now, lag);
                state.source.unhealthy = !healthy;
            }
            Event::SourceUnreachable => {
                state.source.unreachable_since.get_or_insert(now);
            }
            Event::Diverged => {
                state.source.unreachable_since = None;
                state.diverged = true;
            }
            Event::PoolHealth { healthy } => state.unhealthy = !healthy,
            Event::Snapshot(mark) => state.taken(mark),
            Event::Held { node, epoch, mark } => self.held(state, node, epoch, &mark),
            Event::Pruned(gone) => {
                let is_gone = |pending: &Pending| gone.contains(&pending.mark);
                if self.enforces(Guard::ForgetsPruned) {
                    state.pending.retain(|pending| !is_gone(pending));
                }
            }
            Event::Written => state.written = Some(true),
            Event::Unwritten => state.written = Some(false),
            Event::Rebuilt => state.rebuilt = true,
        }
    }

    /// Takes note of the fence, and tells who waits for it what was acknowledged.
    fn learn(&self, state: &mut State, fence: Fence, actions: &mut Vec<Action>) {
        let older = state
            .fence
            .as_ref()
            .is_some_and(|known| known.revision > fence.revision);
        if older {
            return;
        }
        let position = fence.acknowledged.as_ref().and_then(|mark| {
            let is_it = |pending: &Pending| pending.mark == *mark;
            state.pending.iter().position(is_it)
        });
        if let Some(position) = position {
            let mut acknowledged = state.pending.drain(..=position);
            if fence.holder == self.node {
                actions.extend(
                    acknowledged
                        .next_back()
                        .map(|last| Action::Announce(last.mark)),
                );
            }
        }
        if state
            .fence
            .as_ref()
            .is_some_and(|known| known.epoch < fence.epoch)
        {
            state.source = super::Contact::default();
        }
        state.fence = Some(fence);
    }

    /// Tells the source what this replica has from it. What it has from one that is no longer the
    /// source does not count.
    fn report(&self, state: &State, epoch: u64, mark: SnapshotMark, actions: &mut Vec<Action>) {
        if let Some(fence) = state.fence.as_ref().filter(|fence| fence.epoch == epoch) {
            actions.push(Action::Report {
                source: fence.holder.clone(),
                epoch,
                mark,
            });
        }
    }

    fn held(&self, state: &mut State, node: NodeName, epoch: u64, mark: &SnapshotMark) {
        let current = state
            .standing
            .is_some_and(|standing| standing.epoch == epoch);
        if !current && self.enforces(Guard::ReportEpoch) {
            return;
        }
        let known = state.pending.iter_mut().find(|known| known.mark == *mark);
        if let Some(pending) = known {
            if node != self.node && !pending.held_by.contains(&node) {
                pending.held_by.push(node);
                pending.held_by.sort_unstable();
            }
        }
    }
}

impl State {
    fn reached(&mut self, now: SystemTime, lag: Lag) {
        self.source.unreachable_since = None;
        self.source.seen = Some((now, lag));
    }

    fn taken(&mut self, mark: SnapshotMark) {
        if self.pending.iter().any(|pending| pending.mark == mark) {
            return;
        }
        if self.pending.len() >= MOST_PENDING {
            self.pending.remove(0);
        }
        self.pending.push(Pending {
            mark,
            held_by: Vec::new(),
        });
    }

    fn became(&mut self, standing: Standing, writable: bool) {
        let changed = self.standing != Some(standing);
        self.standing = Some(standing);
        self.writable = writable;
        if writable {
            // What was found out about it while nobody could write is no longer so.
            self.written = self.written.filter(|written| *written);
        }
        if !changed {
            return;
        }
        self.candidate = None;
        self.written = None;
        self.rebuilt = false;
        self.diverged = false;
        if !matches!(standing.role, Role::Source | Role::Promoted) {
            self.pending.clear();
        }
        let goes_on = matches!(standing.role, Role::Replica | Role::Promoting)
            && matches!(self.wish, Some(Command::Promote { .. }));
        if !goes_on {
            self.wish = None;
        }
    }

    /// Takes a command that makes sense in this role, and declines another.
    fn ask(&mut self, command: Command, actions: &mut Vec<Action>) {
        let Some(Standing { role, .. }) = self.standing else {
            return;
        };
        let holder = matches!(role, Role::Source | Role::Promoted);
        let fits = match command {
            Command::Promote { .. } => !matches!(role, Role::Fenced | Role::Rebuilding),
            Command::Undo => role == Role::Promoted,
            Command::Rebuild => role == Role::Fenced || (role == Role::Replica && self.diverged),
            Command::HandOver => holder,
        };
        if !fits {
            self.decline(Declined::Role(role), actions);
        } else {
            let is_so = holder && matches!(command, Command::Promote { .. });
            self.wish = (!is_so).then_some(command);
            self.declined = None;
        }
    }

    /// Gives up what was wished for, and says why unless it was the same before.
    pub(super) fn decline(&mut self, why: Declined, actions: &mut Vec<Action>) {
        self.wish = None;
        if self.declined.as_ref() != Some(&why) {
            actions.push(Action::Decline(why.clone()));
            self.declined = Some(why);
        }
    }
}

impl Awaiting {
    /// Whether `event` can be the awaited outcome.
    fn is(self, event: &Event) -> bool {
        match event {
            Event::Fence(_) | Event::StoreFailed => matches!(self, Self::Read | Self::Write),
            Event::FenceMoved(_) => self == Self::Write,
            Event::NoFence => matches!(self, Self::Read | Self::Write),
            Event::Became { .. } => self == Self::Become,
            Event::Verified(_) => self == Self::Verify,
            Event::Pulled { .. }
            | Event::SourceSeen { .. }
            | Event::SourceUnreachable
            | Event::Diverged => self == Self::Follow,
            Event::Written | Event::Unwritten => self == Self::Look,
            Event::Rebuilt => self == Self::Rebuild,
            Event::ActionFailed => !matches!(self, Self::Read | Self::Write),
            Event::Started(_)
            | Event::Tick
            | Event::Command(_)
            | Event::PoolHealth { .. }
            | Event::Snapshot(_)
            | Event::Held { .. }
            | Event::Pruned(_) => false,
        }
    }
}
