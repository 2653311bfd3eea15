//! All that can happen in a world.

use super::super::super::fence::SnapshotMark;
use super::super::State;
use super::super::types::{Action, Command, Event, Role};
use super::world::{Budget, Change, Node, Rules, World, Wrong, mark, name, snapshot};

impl World {
    /// All that can happen next.
    pub(super) fn next(&self, rules: &Rules, visit: &mut impl FnMut(Change, Result<Self, Wrong>)) {
        let writing = |node: &Node| matches!(node.doing, Some(Action::WriteFence { .. }));
        if !self.nodes.iter().any(writing) {
            let mut world = self.clone();
            world.passes(rules);
            visit(Change::Time, Ok(world));
        }
        for at in (0..self.nodes.len()).filter(|at| rules.down != Some(*at)) {
            if self.nodes[at].doing.is_some() {
                self.changes(rules, at, visit);
            } else {
                self.events(rules, at, visit);
            }
            self.writes(rules, at, visit);
            if self.budget.prunes > 0 && self.nodes[at].doing.is_none() {
                self.prunes(rules, at, visit);
            }
            if self.budget.crashes > 0 && self.nodes[at].state.standing().is_some() {
                let mut world = self.clone();
                world.dies(at);
                visit(Change::Dies(at), Ok(world));
            }
        }
    }

    fn changes(
        &self,
        rules: &Rules,
        at: usize,
        visit: &mut impl FnMut(Change, Result<Self, Wrong>),
    ) {
        let action = self.nodes[at].doing.clone().unwrap();
        let mut done = self.clone();
        let event = match done.does(rules, at) {
            Ok(event) => event,
            Err(wrong) => return visit(Change::Does(at, action), Err(wrong)),
        };
        let failure = match action {
            Action::WriteFence { .. } => Event::StoreFailed,
            _ => Event::ActionFailed,
        };
        let tell = |world: Self, event: Event| {
            let mut out = Vec::new();
            world.tell(rules, at, event, &mut out);
            out
        };
        if done.budget.crashes > 0 {
            let mut died = done.clone();
            died.dies(at);
            visit(Change::DoesAndDies(at, action.clone()), Ok(died));
        }
        if matches!(action, Action::WriteFence { .. }) {
            for world in tell(done.clone(), failure.clone()) {
                visit(Change::AnswerLost(at, action.clone()), world);
            }
        }
        for world in tell(done, event) {
            visit(Change::Does(at, action.clone()), world);
        }
        let mut failed = self.clone();
        failed.nodes[at].doing = None;
        for world in tell(failed, failure) {
            visit(Change::Fails(at, action.clone()), world);
        }
    }

    fn events(
        &self,
        rules: &Rules,
        at: usize,
        visit: &mut impl FnMut(Change, Result<Self, Wrong>),
    ) {
        let mut hear = |change: Change, world: Self, event: Event| {
            let mut out = Vec::new();
            world.tell(rules, at, event, &mut out);
            for world in out {
                visit(change.clone(), world);
            }
        };
        if self.nodes[at].state.standing().is_none() {
            let mut world = self.clone();
            let event = Event::Started(self.nodes[at].standing);
            if self.serves(at) {
                // The change that follows from the start waits until the node knows its snapshot.
                let now = Self::clock(rules, at);
                let (state, actions) = rules.machines[at].step(&State::default(), now, event);
                world.nodes[at].doing = actions.into_iter().next();
                world.nodes[at].state = state;
                let newest = self.nodes[at].chain.last().unwrap().0;
                return hear(Change::Starts(at), world, Event::Snapshot(mark(newest)));
            }
            return hear(Change::Starts(at), world, event);
        }
        hear(Change::Tick(at), self.clone(), Event::Tick);
        for report in self.reports.iter().filter(|report| report.to == at) {
            let event = Event::Held {
                node: name(report.from),
                epoch: report.epoch,
                mark: mark(report.snapshot),
            };
            hear(Change::Report(*report), self.clone(), event);
        }
        if rules.sickness && self.serves(at) && !self.nodes[at].sick {
            let mut world = self.clone();
            world.nodes[at].sick = true;
            let event = Event::PoolHealth { healthy: false };
            hear(Change::Sick(at), world, event);
        }
        let mut command = |world: Self, command: Command| {
            hear(Change::Command(at, command), world, Event::Command(command));
        };
        let spent = |change: fn(&mut Budget)| {
            let mut world = self.clone();
            change(&mut world.budget);
            world
        };
        let budget = &self.budget;
        let role = self.nodes[at].standing.role;
        if budget.promotions > 0 && role == Role::Replica {
            let wish = Command::Promote { accept_lag: true };
            command(spent(|budget| budget.promotions -= 1), wish);
        }
        if budget.undos > 0 && role == Role::Promoted {
            command(spent(|budget| budget.undos -= 1), Command::Undo);
        }
        if budget.hand_overs > 0 && self.serves(at) {
            command(spent(|budget| budget.hand_overs -= 1), Command::HandOver);
        }
        if budget.rebuilds > 0 && (role == Role::Fenced || self.nodes[at].state.diverged) {
            command(spent(|budget| budget.rebuilds -= 1), Command::Rebuild);
        }
    }

    /// A node destroys all that it can do without.
    fn prunes(
        &self,
        rules: &Rules,
        at: usize,
        visit: &mut impl FnMut(Change, Result<Self, Wrong>),
    ) {
        let node = &self.nodes[at];
        let have: Vec<SnapshotMark> = node.chain.iter().map(|(id, _)| mark(*id)).collect();
        let gone = rules.machines[at].dispensable(&node.state, &have);
        if gone.is_empty() {
            return;
        }
        let mut world = self.clone();
        world.budget.prunes -= 1;
        for mark in &gone {
            world.nodes[at].gone |= 1 << snapshot(mark);
        }
        let bits = world.nodes[at].gone;
        world.nodes[at]
            .chain
            .retain(|(id, _)| bits & (1 << id) == 0);
        let acknowledged = self.fence.acknowledged.as_ref();
        let could = |world: &Self| world.nodes[at].candidate(acknowledged).has_acknowledged;
        let others = (0..self.nodes.len()).filter(|other| *other != at);
        let parted = |other| self.have_in_common(at, other) && !world.have_in_common(at, other);
        // Of three, one may have been away for too long.
        let parts = self.nodes.len() == 2 && others.into_iter().any(parted);
        if parts || (could(self) && !could(&world)) {
            return visit(Change::Prunes(at), Err(Wrong::Pruned));
        }
        let mut out = Vec::new();
        world.tell(rules, at, Event::Pruned(gone), &mut out);
        for world in out {
            visit(Change::Prunes(at), world);
        }
    }

    /// Whether two nodes have a snapshot from which one can go on with the other.
    fn have_in_common(&self, one: usize, other: usize) -> bool {
        let mut snapshots = self.nodes[one].chain.iter();
        snapshots.any(|(id, _)| self.nodes[other].chain.iter().any(|had| had.0 == *id))
    }

    fn writes(
        &self,
        rules: &Rules,
        at: usize,
        visit: &mut impl FnMut(Change, Result<Self, Wrong>),
    ) {
        let node = &self.nodes[at];
        if self.may_write(rules, at) && !(node.dirty && node.written) {
            let mut world = self.clone();
            let node = &mut world.nodes[at];
            node.dirty = true;
            node.written = true;
            visit(Change::Writes(at), Ok(world));
        }
        if self.budget.snapshots > 0 && node.dirty && node.doing.is_none() && self.serves(at) {
            let mut world = self.clone();
            world.budget.snapshots -= 1;
            let id = u8::try_from(world.lineages.len()).unwrap();
            let parent = world.nodes[at].chain.last().unwrap().0;
            let lineage = world.lineages[usize::from(parent)] | (1 << id);
            world.lineages.push(lineage);
            world.nodes[at].chain.push((id, true));
            world.nodes[at].dirty = false;
            let mut out = Vec::new();
            world.tell(rules, at, Event::Snapshot(mark(id)), &mut out);
            for world in out {
                visit(Change::Snapshot(at), world);
            }
        }
    }
}
