use super::super::fence::SnapshotMark;
use super::guard::Guard;
use super::types::Role;
use super::{Machine, State};

impl Machine {
    /// Those of a node's snapshots, all of which are in `have`, oldest first, that the group does not
    /// need. Whether one of them goes is for [`Policy::keep`](super::super::Policy::keep) to say.
    ///
    /// What was acknowledged last stays, for whoever takes over must have it. A replica may learn late
    /// what that is, so all that is newer stays there too. A source keeps what a replica has and is
    /// about to be acknowledged. While nothing is acknowledged, or this node does not have that, or it
    /// is neither a source nor a replica, everything stays.
    #[must_use]
    pub fn dispensable(&self, state: &State, have: &[SnapshotMark]) -> Vec<SnapshotMark> {
        let (Some(standing), Some(fence)) = (state.standing, &state.fence) else {
            return Vec::new();
        };
        let acknowledged = fence.acknowledged.as_ref();
        let place = have
            .iter()
            .position(|mark| Some(mark.guid) == acknowledged.map(|mark| mark.guid));
        let (Some(place), Some((_, before))) = (place, have.split_last()) else {
            return Vec::new();
        };
        let reported = |mark: &SnapshotMark| {
            let mut pending = state.pending.iter();
            pending.any(|pending| pending.mark == *mark && !pending.held_by.is_empty())
        };
        let is_free = |(at, mark): &(usize, &SnapshotMark)| match standing.role {
            Role::Source | Role::Promoted => {
                *at != place && !(reported(mark) && self.enforces(Guard::KeepsReported))
            }
            Role::Replica => *at < place || (*at > place && !self.enforces(Guard::KeepsNewer)),
            Role::Promoting | Role::Fenced | Role::Rebuilding => false,
        };
        let free = before.iter().enumerate().filter(is_free);
        free.map(|(_, mark)| mark.clone()).collect()
    }
}
