use std::time::SystemTime;

use super::super::fence::{Fence, SnapshotMark};
use super::super::policy::LagLimit;
use super::guard::Guard;
use super::types::{Action, Command, Declined, Role, Standing};
use super::{Machine, State, later};

impl Machine {
    /// What is to be done now, if anything.
    pub(super) fn decide(
        &self,
        state: &mut State,
        now: SystemTime,
        actions: &mut Vec<Action>,
    ) -> Option<Action> {
        let standing = state.standing?;
        match standing.role {
            Role::Source | Role::Promoted => self.as_holder(state, standing, now, actions),
            Role::Replica => self.as_replica(state, standing, now, actions),
            Role::Promoting => self.as_promoting(state, standing, now, actions),
            Role::Fenced => self.as_fenced(state, actions),
            Role::Rebuilding => self.as_rebuilding(state, standing),
        }
    }

    fn as_holder(
        &self,
        state: &mut State,
        standing: Standing,
        now: SystemTime,
        actions: &mut Vec<Action>,
    ) -> Option<Action> {
        let rests = self.rests(state);
        if state.writable && (rests || !self.has_lease(state, standing, now)) {
            return Some(becomes(standing, false));
        }
        let Some(fence) = state.fence.clone() else {
            return (!state.fresh).then_some(Action::ReadFence);
        };
        if !self.holds(&fence, standing) {
            return Some(replaced(state, standing));
        }
        if standing.role == Role::Promoted {
            if state.written == Some(true) {
                if state.wish == Some(Command::Undo) {
                    state.decline(Declined::Written, actions);
                }
                let role = Role::Source;
                return Some(becomes(Standing { role, ..standing }, state.writable));
            }
            if state.wish == Some(Command::Undo) {
                return self.undo(state, &fence, now, actions);
            }
        }
        if rests {
            // A lease that nobody needs is given back.
            if fence.until > now {
                return Some(write(&fence, fence.renewed(now)));
            }
            // Who renews nothing learns only so that another has taken over.
            return (!state.fresh).then_some(Action::ReadFence);
        }
        if later(now, self.policy.lease / 2) >= fence.until {
            let until = later(now, self.policy.lease);
            return Some(write(&fence, fence.renewed(until)));
        }
        if let Some(mark) = self.to_acknowledge(state) {
            return Some(write(&fence, fence.acknowledging(mark)));
        }
        (!state.writable && self.has_lease(state, standing, now)).then(|| becomes(standing, true))
    }

    /// Whether a holder is not to write, though it could.
    fn rests(&self, state: &State) -> bool {
        let unhealthy = self
            .policy
            .automatic
            .is_some_and(|automatic| automatic.unhealthy)
            && state.unhealthy;
        let wished = match state.wish {
            Some(Command::HandOver) => true,
            Some(Command::Undo) => self.enforces(Guard::ReadOnlyLook),
            _ => false,
        };
        unhealthy || wished
    }

    fn undo(
        &self,
        state: &mut State,
        fence: &Fence,
        now: SystemTime,
        actions: &mut Vec<Action>,
    ) -> Option<Action> {
        let Some(previous) = &fence.previous else {
            state.decline(Declined::NoPrevious, actions);
            return None;
        };
        if state.written.is_none() && self.enforces(Guard::Unwritten) {
            return Some(Action::LookForWrites);
        }
        Some(write(fence, fence.advanced(previous, now)))
    }

    /// The newest snapshot that enough replicas have.
    fn to_acknowledge<'a>(&self, state: &'a State) -> Option<&'a SnapshotMark> {
        let needed = self.policy.acknowledge.needed(self.replicas);
        state
            .pending
            .iter()
            .rev()
            .find(|pending| pending.held_by.len() >= needed || !self.enforces(Guard::Enough))
            .map(|pending| &pending.mark)
    }

    fn as_replica(
        &self,
        state: &mut State,
        standing: Standing,
        now: SystemTime,
        actions: &mut Vec<Action>,
    ) -> Option<Action> {
        if !state.fresh {
            return Some(Action::ReadFence);
        }
        let Some(fence) = state.fence.clone() else {
            if state.wish.is_some() {
                state.decline(Declined::NoFence, actions);
            }
            return None;
        };
        let promoting = Standing {
            role: Role::Promoting,
            ..standing
        };
        if fence.holder == self.node {
            // An undo gave it the fence, or it took over and died before it knew.
            let asked = matches!(state.wish, Some(Command::Promote { .. }));
            return (fence.epoch > standing.epoch || asked).then(|| becomes(promoting, false));
        }
        if fence.epoch > standing.epoch {
            let epoch = fence.epoch;
            return Some(becomes(Standing { epoch, ..standing }, false));
        }
        if state.diverged && (self.policy.rebuild || state.wish == Some(Command::Rebuild)) {
            let role = Role::Rebuilding;
            return Some(becomes(Standing { role, ..standing }, false));
        }
        if !state.followed {
            state.followed = true;
            return Some(Action::Follow {
                source: fence.holder,
            });
        }
        if self.wants_to_promote(state, now) && self.is_over(&fence, now) {
            if let Some(why) = self.too_far_behind(state, &fence) {
                state.decline(why, actions);
                return None;
            }
            return Some(becomes(promoting, false));
        }
        None
    }

    fn wants_to_promote(&self, state: &State, now: SystemTime) -> bool {
        let Some(automatic) = self.policy.automatic else {
            return matches!(state.wish, Some(Command::Promote { .. }));
        };
        let unreachable = match (automatic.unreachable_for, state.source.unreachable_since) {
            (Some(limit), Some(since)) => now >= later(since, limit),
            _ => false,
        };
        unreachable
            || (automatic.unhealthy && state.source.unhealthy)
            || matches!(state.wish, Some(Command::Promote { .. }))
    }

    fn too_far_behind(&self, state: &State, fence: &Fence) -> Option<Declined> {
        let any = self.policy.lag == LagLimit::default();
        if any || state.wish == Some(Command::Promote { accept_lag: true }) {
            return None;
        }
        let Some((seen, mut lag)) = state.source.seen else {
            return Some(Declined::LagUnknown);
        };
        // Since it was last reached it may have been written to until its lease was over.
        let unseen = fence.until.duration_since(seen).unwrap_or_default();
        lag.time = lag.time.saturating_add(unseen);
        (!self.policy.lag.allows(&lag)).then_some(Declined::Lag(lag))
    }

    fn as_promoting(
        &self,
        state: &mut State,
        standing: Standing,
        now: SystemTime,
        actions: &mut Vec<Action>,
    ) -> Option<Action> {
        let Some(fence) = state.fence.clone() else {
            return (!state.fresh).then_some(Action::ReadFence);
        };
        let mine = fence.holder == self.node;
        let replica = Standing {
            role: Role::Replica,
            ..standing
        };
        // The holder lives after all, or the process that was to take over died.
        let may_take = self.is_over(&fence, now) && self.wants_to_promote(state, now);
        if !mine && !may_take {
            return Some(becomes(replica, false));
        }
        let Some(found) = self.found(state, &fence) else {
            return Some(verify(&fence));
        };
        if let Err(why) = found {
            state.decline(why, actions);
            state.paused = true;
            let epoch = if mine { fence.epoch } else { standing.epoch };
            return Some(becomes(Standing { epoch, ..replica }, false));
        }
        if mine {
            let promoted = Standing {
                role: Role::Promoted,
                epoch: fence.epoch,
            };
            return Some(becomes(promoted, false));
        }
        let until = later(now, self.policy.lease);
        Some(write(&fence, fence.advanced(&self.node, until)))
    }

    /// Whether this node has what the holder of `fence` must have, once it has looked.
    fn found(&self, state: &State, fence: &Fence) -> Option<Result<(), Declined>> {
        let (asked, candidate) = state.candidate.as_ref()?;
        if *asked != fence.acknowledged && self.enforces(Guard::SameAcknowledged) {
            return None;
        }
        if candidate.verified.is_none() && self.enforces(Guard::Verified) {
            return Some(Err(Declined::Unverified));
        }
        Some(match &fence.acknowledged {
            Some(mark) if !candidate.has_acknowledged && self.enforces(Guard::Acknowledged) => {
                Err(Declined::Acknowledged(mark.clone()))
            }
            _ => Ok(()),
        })
    }

    fn as_fenced(&self, state: &mut State, actions: &mut Vec<Action>) -> Option<Action> {
        if !state.fresh {
            return Some(Action::ReadFence);
        }
        let fence = state.fence.clone()?;
        if fence.holder != self.node {
            let asked = self.policy.rebuild || state.wish == Some(Command::Rebuild);
            let rebuilding = Standing {
                role: Role::Rebuilding,
                epoch: fence.epoch,
            };
            return asked.then(|| becomes(rebuilding, false));
        }
        // Who had taken over gave it back, and nobody had written there.
        match self.found(state, &fence) {
            None => Some(verify(&fence)),
            Some(Ok(())) => {
                let source = Standing {
                    role: Role::Source,
                    epoch: fence.epoch,
                };
                Some(becomes(source, false))
            }
            Some(Err(why)) => {
                state.decline(why, actions);
                None
            }
        }
    }

    fn as_rebuilding(&self, state: &State, standing: Standing) -> Option<Action> {
        if state.rebuilt {
            let role = Role::Replica;
            return Some(becomes(Standing { role, ..standing }, false));
        }
        if !state.fresh {
            return Some(Action::ReadFence);
        }
        let holder = &state.fence.as_ref()?.holder;
        (*holder != self.node).then(|| Action::Rebuild {
            source: holder.clone(),
        })
    }
}

/// What a holder does whose fence another node has.
fn replaced(state: &State, standing: Standing) -> Action {
    let role = match (standing.role, state.written) {
        (Role::Promoted, None) => return Action::LookForWrites,
        (Role::Promoted, Some(false)) => Role::Replica,
        _ => Role::Fenced,
    };
    becomes(Standing { role, ..standing }, false)
}

fn becomes(standing: Standing, writable: bool) -> Action {
    Action::Become { standing, writable }
}

fn verify(fence: &Fence) -> Action {
    Action::Verify {
        acknowledged: fence.acknowledged.clone(),
    }
}

fn write(fence: &Fence, new: Fence) -> Action {
    Action::WriteFence {
        expected: fence.revision,
        new,
    }
}
