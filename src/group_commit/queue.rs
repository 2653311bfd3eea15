//! Who waits, and what goes to the kernel next. Nothing here asks the kernel or the clock.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use zfs_core::SnapshotName;
use zfs_core::props::UserProps;

use super::GroupCommitOptions;
use super::waiter::Waiter;

/// A snapshot that somebody waits for.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) name: SnapshotName,
    pub(super) props: UserProps,
    pub(super) arrived: Instant,
    pub(super) waiter: Arc<Waiter>,
}

/// Requests that can go to the kernel in one call: of one pool, and of the same properties where
/// that has to be.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) pool: String,
    /// `None` takes all.
    pub(super) props: Option<UserProps>,
    pub(super) waiting: VecDeque<Request>,
    /// How many batches of this lane are in the kernel.
    pub(super) in_flight: usize,
}

/// What a caller does next about its request.
#[derive(Debug)]
pub(super) enum Turn {
    /// It takes this batch to the kernel. Its own request is in it.
    Lead(Vec<Request>),
    /// It waits to be woken, but not beyond this moment.
    WaitUntil(Instant),
    /// It waits to be woken: somebody has taken its request to the kernel.
    Wait,
}

impl Lane {
    pub(super) fn new(pool: String, props: Option<UserProps>) -> Self {
        Self {
            pool,
            props,
            waiting: VecDeque::new(),
            in_flight: 0,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.in_flight == 0
    }

    /// What the caller of this waiter does at the moment `now`.
    pub(super) fn turn(
        &mut self,
        waiter: &Arc<Waiter>,
        options: &GroupCommitOptions,
        now: Instant,
    ) -> Turn {
        let mut waiting = self.waiting.iter();
        let Some(own) = waiting.position(|request| Arc::ptr_eq(&request.waiter, waiter)) else {
            return Turn::Wait;
        };
        let until = match self.waiting.get(own) {
            _ if self.waiting.len() >= options.max_batch => now,
            // The first goes when nobody came for a while, and takes the others along. They trust in
            // that no longer than for the bound.
            Some(request) if own == 0 && self.in_flight == 0 => {
                let last = self.waiting.back().unwrap_or(request);
                later(last.arrived, options.gather).min(later(request.arrived, options.max_wait))
            }
            Some(request) => later(request.arrived, options.max_wait),
            None => now,
        };
        match until > now {
            true => Turn::WaitUntil(until),
            false => Turn::Lead(self.take(own, options.max_batch)),
        }
    }

    /// A batch with the request at `own` in it, and otherwise with those that wait longest. Of two
    /// snapshots of one dataset one stays: the kernel takes one in a transaction group.
    fn take(&mut self, own: usize, most: usize) -> Vec<Request> {
        let mut batch: Vec<Request> = self.waiting.remove(own).into_iter().collect();
        let mut datasets: HashSet<String> = batch
            .iter()
            .map(|request| request.name.dataset_str().to_owned())
            .collect();
        let mut left = VecDeque::with_capacity(self.waiting.len());
        for request in self.waiting.drain(..) {
            let room = batch.len() < most.max(1);
            if room && datasets.insert(request.name.dataset_str().to_owned()) {
                batch.push(request);
            } else {
                left.push_back(request);
            }
        }
        self.waiting = left;
        self.in_flight += 1;
        batch
    }

    /// Puts requests back that were taken and not answered.
    pub(super) fn put_back(&mut self, requests: Vec<Request>) {
        for request in requests.into_iter().rev() {
            // It waits to be answered, and has to look after itself again.
            request.waiter.wake();
            self.waiting.push_front(request);
        }
    }

    /// Wakes the one who waits longest: what it waits for has changed.
    pub(super) fn wake_first(&self) {
        if let Some(request) = self.waiting.front() {
            request.waiter.wake();
        }
    }

    /// Takes a request out that nobody waits for any more. Whether it was there.
    pub(super) fn withdraw(&mut self, waiter: &Arc<Waiter>) -> bool {
        let before = self.waiting.len();
        self.waiting
            .retain(|request| !Arc::ptr_eq(&request.waiter, waiter));
        self.waiting.len() < before
    }
}

fn later(moment: Instant, by: Duration) -> Instant {
    // A bound beyond the clock's end is none.
    moment
        .checked_add(by)
        .unwrap_or_else(|| moment + Duration::from_secs(1 << 30))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(name: &str, arrived: Instant) -> Request {
        Request {
            name: SnapshotName::new(name).unwrap(),
            props: UserProps::new(),
            arrived,
            waiter: Arc::default(),
        }
    }

    fn lane(names: &[&str], arrived: Instant) -> Lane {
        let mut lane = Lane::new(String::from("tank"), None);
        let requests = names.iter().map(|name| request(name, arrived));
        lane.waiting.extend(requests);
        lane
    }

    fn waiter(lane: &Lane, n: usize) -> Arc<Waiter> {
        Arc::clone(&lane.waiting[n].waiter)
    }

    fn names(batch: &[Request]) -> Vec<&str> {
        batch.iter().map(|request| request.name.as_str()).collect()
    }

    const MS: Duration = Duration::from_millis(1);

    fn options() -> GroupCommitOptions {
        GroupCommitOptions::new()
            .gather(2 * MS)
            .max_wait(50 * MS)
            .max_batch(3)
    }

    #[test]
    fn the_first_gathers_and_takes_the_others_along() {
        let now = Instant::now();
        let mut lane = lane(&["tank/a@1", "tank/b@1"], now);
        let (first, second) = (waiter(&lane, 0), waiter(&lane, 1));
        let turn = lane.turn(&first, &options(), now);
        assert!(matches!(turn, Turn::WaitUntil(until) if until == now + 2 * MS));
        let turn = lane.turn(&second, &options(), now);
        assert!(matches!(turn, Turn::WaitUntil(until) if until == now + 50 * MS));
        let Turn::Lead(batch) = lane.turn(&first, &options(), now + 2 * MS) else {
            panic!("it is time");
        };
        assert_eq!(names(&batch), ["tank/a@1", "tank/b@1"]);
        let turn = lane.turn(&second, &options(), now + 99 * MS);
        assert!(matches!(turn, Turn::Wait));
        assert_eq!(lane.in_flight, 1);
    }

    #[test]
    fn gathering_ends_when_nobody_comes_or_at_the_bound() {
        let now = Instant::now();
        let mut lane = lane(&["tank/a@1"], now);
        let first = waiter(&lane, 0);
        lane.waiting.push_back(request("tank/b@1", now + MS));
        let turn = lane.turn(&first, &options(), now + 2 * MS);
        assert!(matches!(turn, Turn::WaitUntil(until) if until == now + 3 * MS));
        lane.waiting.pop_back();
        lane.waiting.push_back(request("tank/b@1", now + 49 * MS));
        let turn = lane.turn(&first, &options(), now + 49 * MS);
        assert!(matches!(turn, Turn::WaitUntil(until) if until == now + 50 * MS));
    }

    #[test]
    fn while_a_batch_is_in_the_kernel_the_next_gathers_up_to_the_bound() {
        let now = Instant::now();
        let mut lane = lane(&["tank/a@1"], now);
        lane.in_flight = 1;
        let first = waiter(&lane, 0);
        let turn = lane.turn(&first, &options(), now + 49 * MS);
        assert!(matches!(turn, Turn::WaitUntil(until) if until == now + 50 * MS));
        let turn = lane.turn(&first, &options(), now + 50 * MS);
        assert!(matches!(turn, Turn::Lead(batch) if batch.len() == 1));
        assert_eq!(lane.in_flight, 2);
    }

    #[test]
    fn a_full_batch_does_not_wait() {
        let now = Instant::now();
        let mut lane = lane(&["tank/a@1", "tank/b@1", "tank/c@1", "tank/d@1"], now);
        lane.in_flight = 1;
        let last = waiter(&lane, 3);
        let Turn::Lead(batch) = lane.turn(&last, &options(), now) else {
            panic!("it is full");
        };
        // Who takes it is in it.
        assert_eq!(names(&batch), ["tank/d@1", "tank/a@1", "tank/b@1"]);
        assert_eq!(lane.waiting.len(), 1);
        lane.put_back(batch);
        assert_eq!(lane.waiting.len(), 4);
        assert!(lane.withdraw(&last) && !lane.withdraw(&last));
    }

    #[test]
    fn one_snapshot_of_a_dataset_is_in_a_batch() {
        let now = Instant::now();
        let mut lane = lane(&["tank/a@1", "tank/a@2", "tank/a@1", "tank/b@1"], now);
        let first = waiter(&lane, 0);
        let Turn::Lead(batch) = lane.turn(&first, &options(), now) else {
            panic!("it is full");
        };
        assert_eq!(names(&batch), ["tank/a@1", "tank/b@1"]);
        assert_eq!(lane.waiting.len(), 2);
    }

    proptest! {
        /// Callers that arrive at any time, look when they are told to, and batches that take any
        /// time in the kernel.
        #[test]
        fn nobody_waits_beyond_the_bound(
            arrivals in proptest::collection::vec((0u64..100, 0u8..6), 1..40),
            kernel in proptest::collection::vec(1u64..300, 40),
            max_batch in 1usize..8,
            gather in 0u64..80,
        ) {
            let options = options().max_batch(max_batch).gather(Duration::from_millis(gather));
            let start = Instant::now();
            let mut lane = lane(&[], start);
            let mut arrivals = arrivals;
            arrivals.sort_unstable();
            let mut alive: Vec<(Arc<Waiter>, Instant)> = Vec::new();
            let mut in_kernel: Vec<(u64, Vec<Request>)> = Vec::new();
            let mut kernel = kernel.into_iter().cycle();
            let mut done = 0;
            for ms in 0..20_000u64 {
                let now = start + Duration::from_millis(ms);
                for (n, (_, dataset)) in arrivals.iter().enumerate().filter(|(_, a)| a.0 == ms) {
                    let request = request(&format!("tank/{dataset}@{n}"), now);
                    alive.push((Arc::clone(&request.waiter), now));
                    lane.waiting.push_back(request);
                }
                let (over, still): (Vec<_>, Vec<_>) =
                    in_kernel.into_iter().partition(|(until, _)| *until <= ms);
                in_kernel = still;
                for (_, batch) in over {
                    lane.in_flight -= 1;
                    done += batch.len();
                }
                for (waiter, arrived) in &alive {
                    match lane.turn(waiter, &options, now) {
                        Turn::Lead(batch) => {
                            prop_assert!(batch.len() <= max_batch);
                            prop_assert!(batch.iter().any(|r| Arc::ptr_eq(&r.waiter, waiter)));
                            let datasets: HashSet<_> =
                                batch.iter().map(|r| r.name.dataset_str().to_owned()).collect();
                            prop_assert_eq!(datasets.len(), batch.len());
                            let until = ms + kernel.next().unwrap_or(1);
                            in_kernel.push((until, batch));
                        }
                        Turn::WaitUntil(until) => {
                            prop_assert!(until > now && until <= *arrived + options.max_wait);
                        }
                        Turn::Wait => {}
                    }
                }
                if done == arrivals.len() {
                    prop_assert!(lane.is_idle());
                    return Ok(());
                }
            }
            prop_assert!(false, "{} of {} were never done", arrivals.len() - done, arrivals.len());
        }
    }
}
