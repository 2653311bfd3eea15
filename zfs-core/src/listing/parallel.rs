//! A listing by several threads.

use super::row::Row;
use super::source::Plan;
use super::walk::{Found, Todo};
use crate::error::{Errno, Error, ErrorKind, Operation, Result};
use crate::ffi::signal::AllBlocked;
use crate::name::DatasetName;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// How many rows may wait to be taken before the threads wait too.
const AHEAD: usize = 4096;

/// They call the kernel and build rows.
const STACK_SIZE: usize = 256 << 10;

/// A dataset's place in the list: after the one above it, beside others by name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place(DatasetName);

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (self.0.as_str(), other.0.as_str());
        a.split('/').cmp(b.split('/'))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[derive(Default)]
struct State {
    waiting: BTreeMap<Place, Todo>,
    running: BTreeSet<Place>,
    done: BTreeMap<Place, Vec<Result<Row>>>,
    /// How many rows are done.
    buffered: usize,
    /// Threads that have not ended.
    alive: usize,
    stop: bool,
}

impl State {
    /// Whether nothing that is before `place` in the list is still to come.
    fn is_next(&self, place: &Place) -> bool {
        self.waiting
            .keys()
            .next()
            .is_none_or(|first| place <= first)
            && self
                .running
                .iter()
                .next()
                .is_none_or(|first| place <= first)
    }

    /// What a thread is to do, if it may run ahead so far.
    fn choose(&mut self) -> Option<(Place, Todo)> {
        let first = self.waiting.keys().next()?;
        let is_awaited =
            self.is_next(first) && self.done.keys().next().is_none_or(|done| first < done);
        if self.buffered >= AHEAD && !is_awaited {
            return None;
        }
        let (place, todo) = self.waiting.pop_first()?;
        self.running.insert(place.clone());
        Some((place, todo))
    }
}

struct Shared {
    plan: Plan,
    state: Mutex<State>,
    /// There may be something to do, or reason to stop.
    work: Condvar,
    /// There may be rows to take, or no more to come.
    rows: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let _alive = Alive(self);
        let mut state = self.lock();
        loop {
            if state.stop || state.waiting.is_empty() && state.running.is_empty() {
                return;
            }
            let Some((place, todo)) = state.choose() else {
                state = self
                    .work
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            let outcome = self.carry_out(todo);
            state = self.lock();
            state.running.remove(&place);
            let done = match outcome {
                Ok(found) => {
                    for todo in found.rest.into_iter().chain(found.below) {
                        state.waiting.insert(Place(todo.name.clone()), todo);
                    }
                    found.rows.into_iter().map(Ok).collect()
                }
                Err(error) => {
                    state.waiting.clear();
                    vec![Err(error)]
                }
            };
            state.buffered += done.len();
            if !done.is_empty() {
                state.done.entry(place).or_default().extend(done);
            }
            self.rows.notify_one();
            self.work.notify_all();
        }
    }

    /// In order, all steps about one dataset; else one.
    fn carry_out(&self, todo: Todo) -> Result<Found> {
        let mut found = todo.step(&self.plan)?;
        while self.plan.is_ordered() {
            let Some(rest) = found.rest.take() else { break };
            let more = rest.step(&self.plan)?;
            found.rows.extend(more.rows);
            found.below.extend(more.below);
            found.rest = more.rest;
        }
        Ok(found)
    }
}

/// A thread, until it ends in whatever way.
struct Alive<'s>(&'s Shared);

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.alive -= 1;
        // What it was about is never done.
        state.stop |= thread::panicking();
        drop(state);
        self.0.rows.notify_one();
        self.0.work.notify_all();
    }
}

/// The side that takes the rows.
pub(super) struct Parallel {
    shared: Arc<Shared>,
    root: DatasetName,
}

impl Parallel {
    pub(super) fn start(plan: Plan, first: Todo, threads: usize) -> Result<Self> {
        let root = first.name.clone();
        let shared = Arc::new(Shared {
            plan,
            state: Mutex::new(State {
                waiting: BTreeMap::from([(Place(root.clone()), first)]),
                alive: threads,
                ..State::default()
            }),
            work: Condvar::new(),
            rows: Condvar::new(),
        });
        let parallel = Self { shared, root };
        let _blocked = AllBlocked::new();
        for started in 0..threads {
            let shared = Arc::clone(&parallel.shared);
            let spawned = thread::Builder::new()
                .name(String::from("zfs-list"))
                .stack_size(STACK_SIZE)
                .spawn(move || shared.work());
            match spawned {
                Ok(_) => {}
                Err(cause) if started == 0 => {
                    let errno = Errno::from_io(&cause);
                    return Err(
                        Error::new(Operation::ListDatasets, parallel.root.as_str(), errno)
                            .with_kind(ErrorKind::OutOfMemory),
                    );
                }
                // Fewer do it as well.
                Err(_) => {
                    parallel.shared.lock().alive -= threads - started;
                    break;
                }
            }
        }
        Ok(parallel)
    }

    /// Waits for rows and takes some; false at the end.
    pub(super) fn take(&mut self, ready: &mut VecDeque<Result<Row>>) -> bool {
        let shared = &self.shared;
        let mut state = shared.lock();
        loop {
            let first = state.done.keys().next();
            let takes =
                first.is_some_and(|place| !shared.plan.is_ordered() || state.is_next(place));
            if takes {
                if let Some((_, rows)) = state.done.pop_first() {
                    state.buffered -= rows.len();
                    ready.extend(rows);
                }
                shared.work.notify_all();
                return true;
            }
            if state.waiting.is_empty() && state.running.is_empty() {
                return !state.done.is_empty();
            }
            if state.alive == 0 {
                let detail = "the listing threads ended without a result";
                ready.push_back(Err(Error::protocol(
                    Operation::ListDatasets,
                    self.root.as_str(),
                    detail,
                )));
                return true;
            }
            state = shared
                .rows
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Parallel {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.work.notify_all();
    }
}
