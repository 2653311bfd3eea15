//! The target's half: it asks, receives, verifies, and only then lets readers see.

use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use zfs_core::digest::{Digester, Manifest, Mismatch};
use zfs_core::send::SendOptions;
use zfs_core::stream::PassThrough;
use zfs_core::{DatasetName, Snapshot, Zfs};

use super::error::{Problem, ReplicateError, Side};
use super::frame::{Frame, FrameError, Wire};
use super::message::{Held, Message, PROTOCOL, Sent, Transfer, Want};
use super::progress::{Meter, Observer, Phase, Progress};
use super::recovery::{Chain, Observed};
use super::target::{Permit, Target};
use super::verify;
use super::window::ReceiveWindow;
use crate::gate::{Capability, Operation};

/// What is to be replicated to where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    source: String,
    target: DatasetName,
    snapshot: Option<String>,
}

impl Job {
    /// The newest snapshot of `source`, a dataset of the other side, into `target`, a dataset of
    /// this one.
    #[must_use]
    pub fn new(source: &DatasetName, target: &DatasetName) -> Self {
        Self {
            source: source.as_str().to_owned(),
            target: target.clone(),
            snapshot: None,
        }
    }

    /// The snapshot with this short name rather than the newest one. If the target has it, or a
    /// newer one, it is up to date.
    #[must_use]
    pub fn snapshot(mut self, short: impl Into<String>) -> Self {
        self.snapshot = Some(short.into());
        self
    }

    /// Where it is replicated to.
    #[must_use]
    pub fn target(&self) -> &DatasetName {
        &self.target
    }
}

/// What a replication did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// The snapshot that readers see now: of the target's chain.
    pub snapshot: Snapshot,
    /// What was received and promoted to get there, in order. Empty when the target was up to date.
    pub replicated: Vec<Replicated>,
    /// Datasets that readers saw before and that are still in use, mounted for example: a later run
    /// destroys them.
    pub in_use: Vec<DatasetName>,
}

/// A snapshot that was replicated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replicated {
    /// Its GUID.
    pub guid: u64,
    /// Its short name at the source.
    pub name: String,
    /// The bytes of the stream that were received. Zero when an earlier run had received it, and
    /// only its verification was left.
    pub bytes: u64,
    /// Whether it went on where a cut run had ended.
    pub resumed: bool,
    /// The data frames that arrived damaged and were sent again.
    pub repeated: u64,
}

/// Replicates datasets from a [`Source`](super::Source) into targets of this machine.
#[derive(Clone, Debug)]
pub struct Replicator {
    zfs: Zfs,
    observer: Option<Observer>,
}

fn zfs_error(error: zfs_core::Error) -> ReplicateError {
    ReplicateError::zfs(Side::Target, error)
}

fn receive(capability: &Capability) -> Permit<'_> {
    Permit {
        capability,
        operation: Operation::Receive,
    }
}

impl Replicator {
    /// A replicator that reports to nobody.
    #[must_use]
    pub fn new(zfs: &Zfs) -> Self {
        Self {
            zfs: zfs.clone(),
            observer: None,
        }
    }

    /// Calls `report` at most once in every `interval`, and at the end of each phase. It is called
    /// by the thread that replicates, which waits for it.
    #[must_use]
    pub fn on_progress(
        mut self,
        interval: Duration,
        report: impl Fn(&Progress) + Send + Sync + 'static,
    ) -> Self {
        self.observer = Some(Observer {
            interval,
            report: Arc::new(report),
        });
        self
    }

    /// Replicates one dataset over `channel`, which a [`Source`](super::Source) serves at its other
    /// end. Which of the two opened it does not matter.
    ///
    /// An earlier run's unfinished work is finished first. A receive that was cut goes on where it
    /// ended, and then the newest snapshot is received, if that is another.
    ///
    /// The source may read for hours to verify: a time-out for reading must be longer than that.
    ///
    /// The capability has to be for [`Receive`](crate::gate::Operation::Receive) of the target. It is
    /// asked before each change: one that ends on the way ends the run there.
    ///
    /// # Errors
    ///
    /// See [`Problem`]. Whatever it is, readers see the last verified snapshot, and another run
    /// takes up from here.
    ///
    /// # Privileges
    ///
    /// Root, or on the target's parent the delegated permissions `create`, `mount`, `receive`,
    /// `clone`, `rename`, `destroy`, `rollback`, `snapshot`, `hold`, `release`, `send`, `userprop`,
    /// `readonly` and `canmount`.
    pub fn pull<C: Read + Write>(
        &self,
        capability: &Capability,
        channel: C,
        job: &Job,
    ) -> Result<Outcome, ReplicateError> {
        let target = Target::open(receive(capability), &self.zfs, &job.target)?;
        let mut session = Session {
            replicator: self,
            wire: Wire::new(channel),
            job,
            target: &target,
            done: Vec::new(),
        };
        let result = session.run();
        if let Some(error) = result.as_ref().err().filter(|e| e.side() == Side::Target) {
            // The connection may be what failed.
            let _ = session.wire.send(&Message::Failed {
                problem: error.problem(),
                detail: error.detail().to_owned(),
            });
        }
        result
    }

    /// Replicates many datasets, as many as `parallel` at a time, each over a channel of its own that
    /// `connect` opens. The results are in the order of `jobs`. The capability has to cover all targets:
    /// what it refuses of one keeps no other from being replicated.
    pub fn pull_all<C: Read + Write>(
        &self,
        capability: &Capability,
        jobs: &[Job],
        parallel: NonZeroUsize,
        connect: impl Fn(&Job) -> io::Result<C> + Sync,
    ) -> Vec<Result<Outcome, ReplicateError>> {
        let next = AtomicUsize::new(0);
        let results = Mutex::new(Vec::with_capacity(jobs.len()));
        std::thread::scope(|scope| {
            for _ in 0..parallel.get().min(jobs.len()) {
                scope.spawn(|| {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(job) = jobs.get(index) else { break };
                        let result = connect(job)
                            .map_err(|error| ReplicateError::io(Side::Target, error))
                            .and_then(|channel| self.pull(capability, channel, job));
                        let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                        results.push((index, result));
                    }
                });
            }
        });
        let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        results.sort_by_key(|(index, _)| *index);
        results.into_iter().map(|(_, result)| result).collect()
    }

    /// Finishes what a run that died left undone, as far as that goes without the source: a
    /// promotion, or the destruction of what was rejected. Every [`pull`](Self::pull) begins with
    /// this.
    ///
    /// The capability has to be for [`Receive`](crate::gate::Operation::Receive) of the target.
    ///
    /// # Errors
    ///
    /// [`Refused`](Problem::Refused); [`Busy`](Problem::Busy) while a run is at work; [`TargetModified`](Problem::TargetModified)
    /// when the target has what is not ours; and what ZFS says.
    pub fn recover(
        &self,
        capability: &Capability,
        target: &DatasetName,
    ) -> Result<(), ReplicateError> {
        let target = Target::open(receive(capability), &self.zfs, target)?;
        let mut observed = target.observe()?;
        target.settle(&mut observed).map(drop)
    }
}

struct Session<'r, C> {
    replicator: &'r Replicator,
    wire: Wire<C>,
    job: &'r Job,
    target: &'r Target<'r>,
    done: Vec<Replicated>,
}

impl<'r, C: Read + Write> Session<'r, C> {
    fn run(&mut self) -> Result<Outcome, ReplicateError> {
        self.say(&Message::Hello { protocol: PROTOCOL })?;
        match self.hear()? {
            Message::Hello { protocol: PROTOCOL } => {}
            Message::Hello { protocol } => return Err(verify::version(Side::Target, protocol)),
            other => return Err(verify::out_of_turn(Side::Target, &other)),
        }
        let mut observed = self.target.observe()?;
        let mut in_use = Vec::new();
        loop {
            in_use.extend(self.target.settle(&mut observed)?);
            let want = self.want(&observed);
            self.say(&Message::Want(want))?;
            match self.hear()? {
                Message::UpToDate { guid } => {
                    let newest = observed.verified().filter(|kept| kept.guid == guid);
                    let snapshot = newest
                        .map(|kept| self.target.chain.snapshot(&kept.short))
                        .ok_or_else(|| protocol("up to date, with a snapshot that is not here"))?
                        .map_err(zfs_error)?;
                    // The target is what it is to be, whether the source hears that or not.
                    let _ = self.say(&Message::Bye);
                    return Ok(Outcome {
                        snapshot,
                        replicated: std::mem::take(&mut self.done),
                        in_use,
                    });
                }
                Message::Verify(transfer) => self.verify_received(&mut observed, &transfer)?,
                Message::Data(transfer) => self.receive(&mut observed, &transfer)?,
                other => return Err(verify::out_of_turn(Side::Target, &other)),
            }
        }
    }

    fn hear(&mut self) -> Result<Message, ReplicateError> {
        let frame = self.wire.receive();
        verify::message(Side::Target, frame.map_err(wire_error)?)
    }

    fn say(&mut self, message: &Message) -> Result<(), ReplicateError> {
        self.wire.send(message).map_err(wire_error)
    }

    fn want(&self, observed: &Observed) -> Want {
        let chain = observed.chain.as_ref();
        Want {
            dataset: self.job.source.clone(),
            snapshot: self.job.snapshot.clone(),
            replica: self.target.replica,
            encrypted: self.target.encrypted(observed),
            snapshots: chain
                .into_iter()
                .flat_map(|chain| &chain.snapshots)
                .map(|kept| Held {
                    guid: kept.guid,
                    verified: kept.verified,
                })
                .collect(),
            token: chain.and_then(|chain| chain.token.clone()),
        }
    }

    fn meter(&self, transfer: &Transfer, phase: Phase, total: Option<u64>) -> Meter<'r> {
        let observer = self.replicator.observer.as_ref();
        Meter::new(observer, &self.job.target, &transfer.name, phase, total)
    }

    /// An earlier run had received a snapshot and did not come to verify it.
    fn verify_received(
        &mut self,
        observed: &mut Observed,
        transfer: &Transfer,
    ) -> Result<(), ReplicateError> {
        let Message::Sent(sent) = self.hear()? else {
            return Err(protocol("no manifest came"));
        };
        let chain = observed.chain.as_ref();
        let newest = chain.and_then(|chain| chain.snapshots.last());
        let newest = newest
            .filter(|kept| kept.guid == transfer.to && !kept.verified)
            .ok_or_else(|| protocol("asks to verify what is not here"))?;
        let snapshot = self
            .target
            .chain
            .snapshot(&newest.short)
            .map_err(zfs_error)?;
        self.promote(observed, transfer, &snapshot, &sent.whole)?;
        self.done.push(Replicated {
            guid: transfer.to,
            name: transfer.name.clone(),
            bytes: 0,
            resumed: false,
            repeated: 0,
        });
        Ok(())
    }

    fn receive(
        &mut self,
        observed: &mut Observed,
        transfer: &Transfer,
    ) -> Result<(), ReplicateError> {
        let base = observed.verified().map(|kept| kept.guid);
        if transfer.from != base {
            return Err(protocol("sends an increment to what is not here"));
        }
        let chain = observed.chain.as_ref();
        let token = chain.and_then(|chain| chain.token.as_ref());
        match (token, transfer.resumed) {
            (None, true) => return Err(protocol("resumes what was not cut")),
            (Some(_), false) => {
                self.target.allow()?;
                self.target.chain.abort_receive().map_err(zfs_error)?;
            }
            _ => {}
        }
        let new = chain.is_none_or(|chain| chain.snapshots.is_empty());
        let options = self
            .target
            .receive_options(transfer.volume, new && !transfer.resumed)
            .snapshot_name(short_name(chain, transfer))
            .expect_guid(transfer.to)
            .expect_from(base.unwrap_or(0));

        self.target.allow()?;
        let meter = self.meter(transfer, Phase::Receiving, transfer.bytes);
        let mut incoming = Incoming {
            wire: &mut self.wire,
            meter,
            window: ReceiveWindow::default(),
            current: io::Cursor::default(),
            failure: None,
            sent: None,
            repeated: 0,
        };
        let mut stream = PassThrough::new(&mut incoming, Digester::new());
        let received = self.target.chain.receive(&mut stream, &options);
        let digester = stream.into_parts().1;
        let received = match (received, incoming.failure.take()) {
            (_, Some(failure)) => return Err(failure),
            (Err(error), None) => return Err(zfs_error(error)),
            (Ok(received), None) => received,
        };
        let sent = incoming.finish()?;
        let (bytes, repeated) = (incoming.meter.end(), incoming.repeated);

        let arrived = verify::finish(Side::Target, digester)?;
        let stream = sent
            .stream
            .as_ref()
            .ok_or_else(|| protocol("sends no manifest of the stream"))?;
        if let Err(mismatch) = stream.verify(&arrived) {
            return self.reject(transfer, &mismatch);
        }
        self.promote(observed, transfer, &received.snapshot, &sent.whole)?;
        self.done.push(Replicated {
            guid: transfer.to,
            name: transfer.name.clone(),
            bytes,
            resumed: transfer.resumed,
            repeated,
        });
        Ok(())
    }

    /// Reads back what was received, compares it with what the source has, and lets readers see it
    /// if it is the same.
    fn promote(
        &mut self,
        observed: &mut Observed,
        transfer: &Transfer,
        snapshot: &Snapshot,
        expected: &Manifest,
    ) -> Result<(), ReplicateError> {
        let base = observed.verified();
        if transfer.from != base.map(|kept| kept.guid) {
            return Err(protocol("compares an increment to what is not here"));
        }
        let options = match base {
            None => SendOptions::full(),
            Some(kept) => {
                let base = self.target.chain.snapshot(&kept.short).map_err(zfs_error)?;
                SendOptions::incremental(base.name().clone())
            }
        };
        let encrypted = self.target.chain.encryption().map_err(zfs_error)?.is_some();
        let options = verify::as_stored(options, encrypted);
        let stream = snapshot.send(&options).map_err(zfs_error)?;
        let mut meter = self.meter(transfer, Phase::Verifying, Some(expected.bytes));
        let found = verify::digest(Side::Target, stream, |bytes| meter.add(bytes))?;
        meter.end();
        if let Err(mismatch) = expected.verify_content(&found) {
            return self.reject(transfer, &mismatch);
        }
        let root = found.content().map(|content| content.root().to_string());
        self.target
            .mark_verified(snapshot, transfer.to, &root.unwrap_or_default())?;
        // What follows from the mark is done at the beginning of the next step, or the next run.
        match &mut observed.chain {
            Some(chain) => chain.has_verified(transfer.to, snapshot.name().short()),
            None => *observed = self.target.observe()?,
        }
        Ok(())
    }

    fn reject(&mut self, transfer: &Transfer, mismatch: &Mismatch) -> Result<(), ReplicateError> {
        self.target.give_up_unverified()?;
        Err(ReplicateError::new(
            Problem::Rejected,
            Side::Target,
            format!("{} ({}): {mismatch}", transfer.name, transfer.to),
        ))
    }
}

fn wire_error(error: FrameError) -> ReplicateError {
    ReplicateError::frame(Side::Target, error)
}

fn protocol(detail: &str) -> ReplicateError {
    ReplicateError::new(
        Problem::Protocol,
        Side::Target,
        format!("the source {detail}"),
    )
}

/// The snapshot's name at the source, unless another one of the chain has it.
fn short_name(chain: Option<&Chain>, transfer: &Transfer) -> String {
    let mut snapshots = chain.into_iter().flat_map(|chain| &chain.snapshots);
    match snapshots.any(|kept| kept.short == transfer.name) {
        true => format!("{}-{:016x}", transfer.name, transfer.to),
        false => transfer.name.clone(),
    }
}

/// The stream that arrives: only what is proven by its frame's checksum.
struct Incoming<'w, C> {
    wire: &'w mut Wire<C>,
    meter: Meter<'w>,
    window: ReceiveWindow,
    current: io::Cursor<Vec<u8>>,
    /// Why there is no more, which the reader's error would not tell.
    failure: Option<ReplicateError>,
    sent: Option<Box<Sent>>,
    repeated: u64,
}

impl<C: Read + Write> Incoming<'_, C> {
    /// Gets the next data frame. `false` at the end of the data.
    fn advance(&mut self) -> Result<bool, ReplicateError> {
        let window_error = |error| ReplicateError::window(Side::Target, &error);
        loop {
            if let Some(bytes) = self.window.take() {
                self.meter.add(bytes.len());
                self.current = io::Cursor::new(bytes);
                return Ok(true);
            }
            if self.sent.is_some() {
                return Ok(false);
            }
            let answer = match self.wire.receive().map_err(wire_error)? {
                Frame::Data { number, bytes } => {
                    self.window.accept(number, bytes).map_err(window_error)?;
                    Message::Ack {
                        next: self.window.acknowledged(),
                    }
                }
                Frame::Damaged { number } => {
                    self.window.reject(number).map_err(window_error)?;
                    self.repeated += 1;
                    Message::Again { number }
                }
                frame => match verify::message(Side::Target, frame)? {
                    Message::Sent(sent) => {
                        self.sent = Some(sent);
                        continue;
                    }
                    other => return Err(verify::out_of_turn(Side::Target, &other)),
                },
            };
            self.wire.send(&answer).map_err(wire_error)?;
        }
    }

    /// After the stream's end: there is no more data, and the manifest is here.
    fn finish(&mut self) -> Result<Box<Sent>, ReplicateError> {
        if self.advance()? {
            return Err(protocol("sends data behind the end of the stream"));
        }
        self.sent
            .take()
            .ok_or_else(|| protocol("sends no manifest"))
    }
}

impl<C: Read + Write> Read for Incoming<'_, C> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.current.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            match self.advance() {
                Ok(true) => {}
                Ok(false) => return Ok(0),
                Err(failure) => {
                    let text = failure.to_string();
                    self.failure = Some(failure);
                    return Err(io::Error::other(text));
                }
            }
        }
    }
}
