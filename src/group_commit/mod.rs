//! Snapshots of many callers in one transaction group.
//!
//! Each snapshot waits until a transaction group is on disk, which takes milliseconds to seconds,
//! whether it is one or a hundred. [`GroupCommit`] gathers what many callers ask for at the same
//! moment, and takes it to the kernel as one batch for each pool. Every caller has its own answer: a
//! snapshot that cannot be taken fails alone.
//!
//! ```no_run
//! use helix_zfs::group_commit::{GroupCommit, GroupCommitOptions};
//! use helix_zfs::zfs_core::props::UserProps;
//! use helix_zfs::zfs_core::{SnapshotName, Zfs};
//!
//! # fn jobs(capability: &helix_zfs::gate::Capability) -> Result<(), helix_zfs::Error> {
//! let commits = GroupCommit::new(&Zfs::open()?, GroupCommitOptions::new());
//! std::thread::scope(|scope| {
//!     for tenant in ["acme", "beta", "cedar"] {
//!         let commits = &commits;
//!         scope.spawn(move || -> Result<_, helix_zfs::Error> {
//!             let name = format!("tank/tenants/{tenant}@before-job");
//!             let name = SnapshotName::new(&name).map_err(helix_zfs::zfs_core::Error::from)?;
//!             let props = UserProps::new().set("helix:reason", "nightly job")?;
//!             commits.snapshot(capability, name, props)
//!         });
//!     }
//! });
//! # Ok(())
//! # }
//! ```
//!
//! # Who does it
//!
//! There is no thread in the background. The caller who has waited longest leads: it takes the
//! requests of all to the kernel, while the next batch gathers. When its pool is idle, it goes as soon
//! as nobody came for the time [`gather`](GroupCommitOptions::gather). Nobody waits longer than for
//! [`max_wait`](GroupCommitOptions::max_wait) before a request goes to the kernel, whatever a batch
//! before it does there. How long the kernel then takes is the kernel's: on a suspended pool, until
//! that goes on.
//!
//! The kernel looks at the privileges of the thread that leads. Callers of different identities need
//! a [`GroupCommit`] each.
//!
//! # What is one batch
//!
//! Requests for one pool. The kernel takes one snapshot of a dataset in a transaction group, so that
//! the second of two goes with the next batch. Requests with the same properties are one call of
//! `lzc_snapshot`. Others are one channel program, for which the caller must be root; without, there
//! is one batch for each set of properties.
//!
//! What keeps one request from being carried out never fails another. Where the kernel refuses the
//! batch, it names the snapshots at fault, and the others go again without them; where it does not
//! (a snapshot limit, a permission), the batch is halved until it is known. So a bad request costs
//! its neighbours time: mostly one transaction group more.

mod batch;
mod queue;
mod waiter;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use zfs_core::program::ChannelProgram;
use zfs_core::props::UserProps;
use zfs_core::{SnapshotName, Zfs};

use queue::{Lane, Request, Turn};
use waiter::Waiter;

use crate::Result;
use crate::gate::{Capability, Operation};

/// How long requests are gathered, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupCommitOptions {
    gather: Duration,
    max_wait: Duration,
    max_batch: usize,
    memory: usize,
}

impl Default for GroupCommitOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl GroupCommitOptions {
    /// Gathers until nobody came for 2 ms, lets nobody wait for more than 20 ms, and takes up to 512
    /// snapshots at once.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            gather: Duration::from_millis(2),
            max_wait: Duration::from_millis(20),
            max_batch: 512,
            memory: ChannelProgram::DEFAULT_MEMORY,
        }
    }

    /// How long a request for an idle pool waits for another one to come, and that one for the next.
    /// It is what a caller who is alone pays. 0 goes to the kernel at once, and lets the others have the next batch.
    #[must_use]
    pub const fn gather(mut self, time: Duration) -> Self {
        self.gather = time;
        self
    }

    /// How long any request waits at most before it goes to the kernel, also while a batch of others
    /// is there.
    #[must_use]
    pub const fn max_wait(mut self, time: Duration) -> Self {
        self.max_wait = time;
        self
    }

    /// How many snapshots are taken at once. A batch that is full does not wait. 0 is as 1.
    #[must_use]
    pub const fn max_batch(mut self, snapshots: usize) -> Self {
        self.max_batch = if snapshots == 0 { 1 } else { snapshots };
        self
    }

    /// How many bytes of kernel memory the channel program of a batch may use, in which snapshots
    /// have properties of their own. One that needs more ends early: the snapshots that are there
    /// then fail as `MemoryLimit`, since it is not known who took them, and the others are taken
    /// without a program.
    #[must_use]
    pub const fn program_memory(mut self, bytes: usize) -> Self {
        self.memory = bytes;
        self
    }
}

/// A snapshot that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Committed {
    /// Its name.
    pub snapshot: SnapshotName,
    /// The transaction group it was taken in, which is on disk. `None` when all snapshots of the
    /// batch were destroyed again before it could be asked for.
    pub txg: Option<u64>,
    /// How many requests went to the kernel together with this one, which counts.
    pub batch: usize,
}

/// Takes snapshots for many callers at once. Clones share the batches.
#[derive(Clone, Debug)]
pub struct GroupCommit(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    zfs: Zfs,
    options: GroupCommitOptions,
    lanes: Mutex<Vec<Lane>>,
    /// Whether the kernel lets the callers run programs, as far as is known.
    programs: AtomicBool,
}

/// A request that waits; it is withdrawn when nobody waits for it any more.
struct Ticket {
    shared: Arc<Shared>,
    pool: String,
    waiter: Arc<Waiter>,
}

/// A batch that a caller takes to the kernel.
struct Batch {
    shared: Arc<Shared>,
    pool: String,
    props: Option<UserProps>,
    requests: Vec<Request>,
}

impl GroupCommit {
    /// Batches of their own, shared by nobody yet.
    #[must_use]
    pub fn new(zfs: &Zfs, options: GroupCommitOptions) -> Self {
        Self(Arc::new(Shared {
            zfs: zfs.clone(),
            options,
            lanes: Mutex::new(Vec::new()),
            programs: AtomicBool::new(true),
        }))
    }

    /// Creates a snapshot with user properties, and returns when it is on disk.
    ///
    /// The capability has to be for [`Snapshot`](Operation::Snapshot) of the dataset. It is asked by the
    /// caller, before the request joins the others: what is refused costs them nothing.
    ///
    /// # Errors
    ///
    /// [`Refused`](crate::Error::Refused); otherwise as [`Zfs::create_snapshots`] for this snapshot alone: the error names it, and what the kernel
    /// said of it. `Interrupted`, `InstructionLimit`, `MemoryLimit` and `ProgramFailed` are those of
    /// a channel program that ended before its end: whether the snapshot was taken must be looked
    /// at.
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permission `snapshot`, and `userprop` for properties.
    ///
    /// `lzc_snapshot`, `lzc_channel_program`.
    #[doc(alias = "lzc_snapshot")]
    pub fn snapshot(
        &self,
        capability: &Capability,
        name: SnapshotName,
        props: UserProps,
    ) -> Result<Committed> {
        capability.allow(Operation::Snapshot, &name.dataset())?;
        let ticket = self.ask(name, props);
        loop {
            if let Some(answer) = ticket.waiter.take_answer() {
                return Ok(answer?);
            }
            match ticket.turn() {
                Next::Lead(batch) => batch.carry_out(),
                Next::WaitUntil(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    ticket.waiter.wait(Some(left));
                }
                Next::Wait => ticket.waiter.wait(None),
            }
        }
    }

    /// As [`snapshot`](Self::snapshot), as a future. It has to be polled within a runtime of tokio's
    /// that has its timer enabled. The kernel is called on a thread for blocking calls. The capability is
    /// asked on the thread that polls, which waits for the record to be on disk.
    ///
    /// A future that is dropped while its request waits takes it back. After that the snapshot is
    /// taken, and nobody is told; a batch that the future leads is carried out for the others.
    ///
    /// # Errors
    ///
    /// As [`snapshot`](Self::snapshot).
    ///
    /// # Privileges
    ///
    /// As [`snapshot`](Self::snapshot), of the runtime's threads.
    #[cfg(feature = "tokio")]
    pub async fn snapshot_async(
        &self,
        capability: &Capability,
        name: SnapshotName,
        props: UserProps,
    ) -> Result<Committed> {
        capability.allow(Operation::Snapshot, &name.dataset())?;
        let ticket = self.ask(name, props);
        loop {
            if let Some(answer) = ticket.waiter.take_answer() {
                return Ok(answer?);
            }
            match ticket.turn() {
                Next::Lead(batch) => {
                    // If the runtime ends before it begins, the batch goes back to those who wait.
                    let _detached = tokio::task::spawn_blocking(move || batch.carry_out());
                }
                Next::WaitUntil(until) => ticket.waiter.wait_async(Some(until)).await,
                Next::Wait => ticket.waiter.wait_async(None).await,
            }
        }
    }

    fn ask(&self, name: SnapshotName, props: UserProps) -> Ticket {
        let shared = &self.0;
        let waiter: Arc<Waiter> = Arc::default();
        let pool = name.pool().to_owned();
        let apart = (!shared.programs.load(Ordering::Relaxed)).then(|| props.clone());
        let request = Request {
            name,
            props,
            arrived: Instant::now(),
            waiter: Arc::clone(&waiter),
        };
        let mut lanes = shared.lanes();
        let known = lanes
            .iter_mut()
            .find(|lane| lane.pool == pool && lane.props == apart);
        match known {
            Some(lane) => lane.waiting.push_back(request),
            None => {
                let mut lane = Lane::new(pool.clone(), apart);
                lane.waiting.push_back(request);
                lanes.push(lane);
            }
        }
        drop(lanes);
        Ticket {
            shared: Arc::clone(shared),
            pool,
            waiter,
        }
    }
}

enum Next {
    Lead(Batch),
    WaitUntil(Instant),
    Wait,
}

impl Shared {
    fn lanes(&self) -> MutexGuard<'_, Vec<Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    fn turn(&self) -> Next {
        let now = Instant::now();
        let mut lanes = self.shared.lanes();
        for lane in lanes.iter_mut().filter(|lane| lane.pool == self.pool) {
            match lane.turn(&self.waiter, &self.shared.options, now) {
                Turn::Lead(requests) => {
                    lane.wake_first();
                    return Next::Lead(Batch {
                        shared: Arc::clone(&self.shared),
                        pool: lane.pool.clone(),
                        props: lane.props.clone(),
                        requests,
                    });
                }
                Turn::WaitUntil(until) => return Next::WaitUntil(until),
                // It is not in this lane.
                Turn::Wait => {}
            }
        }
        Next::Wait
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut lanes = self.shared.lanes();
        for lane in lanes.iter_mut().filter(|lane| lane.pool == self.pool) {
            if lane.withdraw(&self.waiter) {
                // It may have been the one on whom the others rely.
                lane.wake_first();
            }
        }
        lanes.retain(|lane| !lane.is_idle());
    }
}

impl Batch {
    fn carry_out(mut self) {
        let shared = Arc::clone(&self.shared);
        let requests = std::mem::take(&mut self.requests);
        let size = requests.len();
        let programs = batch::take(
            &shared.zfs,
            requests,
            shared.options.memory,
            &mut |request, taken| {
                request.waiter.answer(taken.map(|txg| Committed {
                    snapshot: request.name,
                    txg,
                    batch: size,
                }));
            },
        );
        if !programs {
            shared.programs.store(false, Ordering::Relaxed);
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let mut lanes = self.shared.lanes();
        let own = |lane: &&mut Lane| lane.pool == self.pool && lane.props == self.props;
        if let Some(lane) = lanes.iter_mut().find(own) {
            lane.in_flight = lane.in_flight.saturating_sub(1);
            lane.put_back(std::mem::take(&mut self.requests));
            lane.wake_first();
        }
        lanes.retain(|lane| !lane.is_idle());
    }
}
