//! Events in the order of their numbers, with what is missing counted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a missing event is waited for. The kernel numbers an event a moment before it queues it,
/// and another that was numbered later can be queued in between.
const LATE: Duration = Duration::from_millis(20);

/// How many events are kept back for a missing one.
const KEPT: usize = 256;

/// Events that were read and not given out yet.
#[derive(Debug)]
pub(super) struct Order<T> {
    /// The number of the last one given out.
    last: Option<u64>,
    /// A number from elsewhere, which may be of another life of the module.
    unproven: Option<u64>,
    kept: BTreeMap<u64, T>,
    gap_since: Option<Instant>,
}

/// What there is to give out.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due<T> {
    /// The next event, and how many before it were missed.
    Event(T, u64),
    /// Nothing, until more is read.
    Nothing,
    /// One is missing. It is not waited for any longer when this time has passed.
    Later(Duration),
}

impl<T> Order<T> {
    /// From the first event that is read.
    pub(super) fn from_first() -> Self {
        Self {
            last: None,
            unproven: None,
            kept: BTreeMap::new(),
            gap_since: None,
        }
    }

    /// From the one after `eid`, which was seen in the kernel's queue.
    pub(super) fn after(eid: u64) -> Self {
        Self {
            last: Some(eid),
            ..Self::from_first()
        }
    }

    /// From the one after `eid`, of which the kernel does not know. When all that it has is older,
    /// its count began anew and `eid` means nothing.
    pub(super) fn after_unproven(eid: u64) -> Self {
        Self {
            unproven: Some(eid),
            ..Self::from_first()
        }
    }

    pub(super) fn insert(&mut self, eid: u64, event: T) {
        self.kept.insert(eid, event);
    }

    /// What can be given out without reading more.
    pub(super) fn ready(&mut self) -> Option<(T, u64)> {
        if self.unproven.is_some() {
            return None;
        }
        let (&eid, _) = self.kept.first_key_value()?;
        let follows = match self.last {
            None => true,
            Some(last) => eid <= last.saturating_add(1),
        };
        if !follows && self.kept.len() < KEPT {
            return None;
        }
        self.give()
    }

    /// What is to be given out when there is no more to read, at the time `now`.
    pub(super) fn due(&mut self, now: Instant) -> Due<T> {
        self.prove();
        if let Some((event, missed)) = self.ready() {
            return Due::Event(event, missed);
        }
        if self.kept.is_empty() {
            return Due::Nothing;
        }
        let since = *self.gap_since.get_or_insert(now);
        let left = LATE.saturating_sub(now.saturating_duration_since(since));
        if !left.is_zero() {
            return Due::Later(left);
        }
        match self.give() {
            Some((event, missed)) => Due::Event(event, missed),
            None => Due::Nothing,
        }
    }

    /// Decides about an unproven number when all that the kernel has was read.
    fn prove(&mut self) {
        let (Some(eid), Some((&newest, _))) = (self.unproven, self.kept.last_key_value()) else {
            return;
        };
        self.unproven = None;
        if newest > eid {
            self.kept.retain(|&kept, _| kept > eid);
            self.last = Some(eid);
        }
    }

    fn give(&mut self) -> Option<(T, u64)> {
        let (eid, event) = self.kept.pop_first()?;
        self.gap_since = None;
        let missed = match self.last {
            // One that comes later than it was waited for was counted as missed before.
            Some(last) => eid.saturating_sub(last).saturating_sub(1),
            None => 0,
        };
        self.last = Some(self.last.map_or(eid, |last| last.max(eid)));
        Some((event, missed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(mut order: Order<u64>, eids: &[u64]) -> Order<u64> {
        for &eid in eids {
            order.insert(eid, eid);
        }
        order
    }

    /// Everything that is given out once nothing is waited for.
    fn all(mut order: Order<u64>) -> Vec<(u64, u64)> {
        let mut given = Vec::new();
        let mut now = Instant::now();
        loop {
            match order.due(now) {
                Due::Event(event, missed) => given.push((event, missed)),
                Due::Later(left) => now += left,
                Due::Nothing => return given,
            }
        }
    }

    #[test]
    fn two_that_changed_places_are_put_right() {
        let order = order(Order::after(4), &[6, 5, 7]);
        assert_eq!(all(order), [(5, 0), (6, 0), (7, 0)]);
    }

    #[test]
    fn a_missing_one_is_waited_for_and_then_counted() {
        let mut order = order(Order::after(4), &[5, 8]);
        let now = Instant::now();
        assert_eq!(order.ready(), Some((5, 0)));
        assert_eq!(order.ready(), None);
        assert_eq!(order.due(now), Due::Later(LATE));
        let half = now + LATE / 2;
        assert_eq!(order.due(half), Due::Later(LATE / 2));
        order.insert(6, 6);
        assert_eq!(order.due(half), Due::Event(6, 0));
        assert_eq!(order.due(half), Due::Later(LATE));
        assert_eq!(order.due(half + LATE), Due::Event(8, 1));
        // Later than it was waited for: given out all the same.
        order.insert(7, 7);
        assert_eq!(order.ready(), Some((7, 0)));
        order.insert(9, 9);
        assert_eq!(order.ready(), Some((9, 0)));
        assert_eq!(order.due(half), Due::Nothing);
    }

    #[test]
    fn no_more_are_kept_than_told() {
        let many: Vec<u64> = (6..6 + KEPT as u64).collect();
        let mut order = order(Order::after(4), &many);
        assert_eq!(order.ready(), Some((6, 1)));
        assert_eq!(order.ready(), Some((7, 0)));
    }

    #[test]
    fn a_number_of_another_life_means_nothing() {
        let with = |eids| order(Order::after_unproven(10), eids);
        assert_eq!(all(with(&[1, 2])), [(1, 0), (2, 0)]);
        assert_eq!(all(with(&[9, 10, 11])), [(11, 0)]);
        assert_eq!(all(with(&[13, 14])), [(13, 2), (14, 0)]);
        assert_eq!(all(with(&[])), []);
        let mut waiting = with(&[1]);
        assert_eq!(waiting.ready(), None);
    }

    #[test]
    fn the_first_one_follows_nothing() {
        assert_eq!(all(order(Order::from_first(), &[3, 5])), [(3, 0), (5, 1)]);
        assert_eq!(
            all(order(Order::from_first(), &[u64::MAX])),
            [(u64::MAX, 0)]
        );
    }
}
