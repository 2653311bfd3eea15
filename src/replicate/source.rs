//! The source's half: it sends what is asked for, and keeps what the next increment needs.

use std::io::{Read, Write};
use std::num::NonZeroU64;
use std::sync::Arc;

use zfs_core::digest::{Digester, Manifest};
use zfs_core::send::{SendBase, SendOptions, SendStream};
use zfs_core::stream::{PassThrough, ResumeToken};
use zfs_core::{
    BookmarkName, Dataset, DatasetKind, DatasetName, NewBookmark, Snapshot, SnapshotFilter,
    SnapshotName, Zfs,
};

use super::error::{Problem, ReplicateError, Side};
use super::frame::{self, FrameError, MAX_DATA, Wire};
use super::message::{Encrypted, Message, PROTOCOL, Sent, Transfer, Want};
use super::pace::Pace;
use super::plan::{Base, Partial, Plan, Point, SourceState};
use super::survey::Survey;
use super::verify;
use super::window::SendWindow;
use crate::gate::{Capability, Operation};

/// The source of replications: it serves the datasets that it offers.
///
/// A snapshot is held (`zfs holds`) while it is being sent, and until the target has verified it;
/// then a bookmark takes its place, so that the source may destroy it. Both carry the GUID of the
/// target: the tag is `helix-replicate-GUID`, the bookmark `helix-replicate-GUID-SNAPSHOT`, with
/// both GUIDs in hexadecimal digits. What a target that is no more has left behind is to be released
/// and destroyed by hand.
///
/// # Privileges
///
/// Root, or the delegated permissions `send`, `hold`, `release`, `bookmark` and `destroy` on each
/// dataset.
#[derive(Clone, Debug)]
pub struct Source {
    zfs: Zfs,
    offered: Vec<DatasetName>,
    pace: Option<Arc<Pace>>,
}

/// What a connection was served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Served {
    /// The snapshots whose data was sent, and the targets' verification waited for, in order.
    pub snapshots: Vec<zfs_core::SnapshotName>,
    /// The bytes of their streams.
    pub bytes: u64,
    /// The GUID of the newest snapshot that the target has verified, as it says.
    pub held: Option<u64>,
}

fn zfs_error(error: zfs_core::Error) -> ReplicateError {
    ReplicateError::zfs(Side::Source, error)
}

fn wire_error(error: FrameError) -> ReplicateError {
    ReplicateError::frame(Side::Source, error)
}

fn out_of_turn(message: &Message) -> ReplicateError {
    verify::out_of_turn(Side::Source, message)
}

impl Source {
    /// A source that offers nothing yet.
    #[must_use]
    pub fn new(zfs: &Zfs) -> Self {
        Self {
            zfs: zfs.clone(),
            offered: Vec::new(),
            pace: None,
        }
    }

    /// Offers `dataset`, and all below it.
    #[must_use]
    pub fn offer(mut self, dataset: &DatasetName) -> Self {
        self.offered.push(dataset.clone());
        self
    }

    /// Sends no more than so many bytes a second, over all connections of this source and its
    /// clones together.
    #[must_use]
    pub fn bandwidth(mut self, bytes_per_second: NonZeroU64) -> Self {
        self.pace = Some(Arc::new(Pace::new(bytes_per_second)));
        self
    }

    /// The dataset of this name, if it is offered.
    fn offered(&self, name: &str) -> Result<Dataset, ReplicateError> {
        let refused =
            |detail: String| ReplicateError::new(Problem::NotOffered, Side::Source, detail);
        let dataset = self
            .zfs
            .dataset(name)
            .map_err(|error| refused(error.to_string()))?;
        let wanted = dataset.name();
        let covers = |offer: &DatasetName| offer == wanted || offer.is_ancestor_of(wanted);
        match self.offered.iter().any(covers) {
            true => Ok(dataset),
            false => Err(refused(name.to_owned())),
        }
    }

    /// Serves one replica, until it has what it wants.
    ///
    /// Which of the two sides opened the channel does not matter. The replica verifies what it
    /// received before it answers: a time-out for reading must be longer than that takes.
    ///
    /// The capability has to be for [`Send`](Operation::Send) of the dataset that the replica wants. It
    /// is asked for each snapshot, and before each hold and bookmark that is made or goes; what is
    /// refused ends the connection with [`Refused`](Problem::Refused).
    ///
    /// # Errors
    ///
    /// What kept the replication from its end, on either side. The replica learns of errors of this
    /// side as far as the channel allows.
    pub fn serve<C: Read + Write>(
        &self,
        capability: &Capability,
        channel: C,
    ) -> Result<Served, ReplicateError> {
        let mut session = Session {
            capability,
            source: self,
            wire: Wire::new(channel),
            served: Served::default(),
        };
        match session.run() {
            Ok(()) => Ok(session.served),
            Err(error) => {
                if error.side() == Side::Source {
                    // The connection may be what failed.
                    let _ = session.wire.send(&Message::Failed {
                        problem: error.problem(),
                        detail: error.detail().to_owned(),
                    });
                }
                Err(error)
            }
        }
    }
}

struct Session<'s, C> {
    capability: &'s Capability,
    source: &'s Source,
    wire: Wire<C>,
    served: Served,
}

impl<C: Read + Write> Session<'_, C> {
    fn run(&mut self) -> Result<(), ReplicateError> {
        match self.hear()? {
            Message::Hello { protocol: PROTOCOL } => {}
            Message::Hello { protocol } => {
                return Err(verify::version(Side::Source, protocol));
            }
            other => return Err(out_of_turn(&other)),
        }
        self.say(&Message::Hello { protocol: PROTOCOL })?;
        loop {
            match self.hear()? {
                Message::Want(want) => self.step(&want)?,
                Message::Survey(ask) => {
                    let dataset = self.source.offered(&ask.dataset)?;
                    let survey = Survey::take(&dataset, &ask.snapshots).map_err(zfs_error)?;
                    self.say(&Message::Surveyed(survey))?;
                }
                Message::Bye => return Ok(()),
                other => return Err(out_of_turn(&other)),
            }
        }
    }

    fn hear(&mut self) -> Result<Message, ReplicateError> {
        verify::message(Side::Source, self.wire.receive().map_err(wire_error)?)
    }

    fn say(&mut self, message: &Message) -> Result<(), ReplicateError> {
        self.wire.send(message).map_err(wire_error)
    }

    /// Answers what a replica wants.
    fn step(&mut self, want: &Want) -> Result<(), ReplicateError> {
        let kept = Kept::new(self.capability, self.source, want)?;
        let held = want.snapshots.iter().rev().find(|held| held.verified);
        self.served.held = held.map(|held| held.guid);
        let state = kept.state()?;
        let token = want.token.as_deref().map(ResumeToken::parse).transpose();
        // A token that cannot be read is as good as none: the replica gives its partial state up.
        let token = token.unwrap_or(None);
        let partial = token.as_ref().map(|token| Partial {
            to: token.to_guid,
            from: token.from_guid,
        });
        let plan = state
            .plan(want.snapshot.as_deref(), &want.snapshots, partial)
            .map_err(|(problem, detail)| {
                ReplicateError::new(problem, Side::Source, format!("{}: {detail}", want.dataset))
            })?;
        kept.settle(&state, want, &plan)?;
        match plan {
            Plan::UpToDate { guid } => self.say(&Message::UpToDate { guid }),
            Plan::Verify { to, from } => {
                let options = kept.options(from.as_ref())?;
                let snapshot = kept.snapshot(&to)?;
                let transfer = kept.transfer(&to, from.as_ref(), false, None)?;
                self.say(&Message::Verify(transfer))?;
                kept.allow()?;
                let whole = whole(&snapshot, &options)?;
                self.say(&Message::Sent(Box::new(Sent {
                    stream: None,
                    whole,
                })))
            }
            Plan::Send { to, from, resume } => {
                let token = token.filter(|_| resume);
                self.transfer(&kept, &to, from.as_ref(), token)
            }
        }
    }

    /// Sends a snapshot.
    fn transfer(
        &mut self,
        kept: &Kept<'_>,
        to: &Point,
        from: Option<&Base>,
        token: Option<ResumeToken>,
    ) -> Result<(), ReplicateError> {
        let snapshot = kept.snapshot(to)?;
        let whole_options = kept.options(from)?;
        let resumed = token.is_some();
        let options = match token {
            Some(token) => SendOptions::resume(token),
            None => whole_options.clone(),
        };
        kept.allow()?;
        // The estimate is a courtesy.
        let bytes = snapshot.send_size(&options).ok();
        let stream = snapshot.send(&options).map_err(zfs_error)?;
        let transfer = kept.transfer(to, from, resumed, bytes)?;
        self.say(&Message::Data(transfer))?;
        let stream = self.pump(stream)?;
        self.served.bytes = self.served.bytes.saturating_add(stream.bytes);
        self.served.snapshots.push(snapshot.name().clone());
        let whole = match resumed {
            true => {
                kept.allow()?;
                whole(&snapshot, &whole_options)?
            }
            false => stream.clone(),
        };
        self.say(&Message::Sent(Box::new(Sent {
            stream: Some(stream),
            whole,
        })))
    }

    /// Sends the stream in frames, and again those that arrive damaged.
    fn pump(&mut self, stream: SendStream) -> Result<Manifest, ReplicateError> {
        let mut stream = PassThrough::new(stream, Digester::new());
        let mut window = SendWindow::default();
        loop {
            let mut bytes = Vec::with_capacity(MAX_DATA);
            let limit = u64::try_from(MAX_DATA).unwrap_or(u64::MAX);
            let read = (&mut stream).take(limit).read_to_end(&mut bytes);
            read.map_err(|error| verify::stream(Side::Source, error))?;
            if bytes.is_empty() {
                break;
            }
            while window.is_full() {
                self.listen(&mut window)?;
            }
            let frame = frame::data(window.next(), &bytes);
            self.write(&frame)?;
            window.push(frame);
        }
        while !window.is_empty() {
            self.listen(&mut window)?;
        }
        let digests = verify::finish(Side::Source, stream.into_parts().1)?;
        verify::manifest(Side::Source, &digests)
    }

    fn write(&mut self, frame: &[u8]) -> Result<(), ReplicateError> {
        if let Some(pace) = &self.source.pace {
            pace.wait(frame.len());
        }
        self.wire.write(frame).map_err(wire_error)
    }

    /// Waits for a word about the frames that were sent.
    fn listen(&mut self, window: &mut SendWindow) -> Result<(), ReplicateError> {
        let window_error = |error| ReplicateError::window(Side::Source, &error);
        match self.hear()? {
            Message::Ack { next } => window.acknowledge(next).map_err(window_error),
            Message::Again { number } => {
                let frame = window.frame(number).map_err(window_error)?;
                self.write(frame)
            }
            other => Err(out_of_turn(&other)),
        }
    }
}

/// The manifest of a whole increment, from a stream that goes nowhere.
fn whole(snapshot: &Snapshot, options: &SendOptions) -> Result<Manifest, ReplicateError> {
    let stream = snapshot.send(options).map_err(zfs_error)?;
    let digests = verify::digest(Side::Source, stream, |_| {})?;
    verify::manifest(Side::Source, &digests)
}

/// A dataset that is sent, and what is kept of it for one replica.
struct Kept<'s> {
    capability: &'s Capability,
    zfs: &'s Zfs,
    dataset: Dataset,
    volume: bool,
    encrypted: bool,
    /// The tag of holds, and the beginning of bookmarks' names.
    tag: String,
}

impl<'s> Kept<'s> {
    fn new(
        capability: &'s Capability,
        source: &'s Source,
        want: &Want,
    ) -> Result<Self, ReplicateError> {
        let dataset = source.offered(&want.dataset)?;
        let name = dataset.name();
        let encrypted = dataset.encryption().map_err(zfs_error)?.is_some();
        let detail = match (encrypted, want.encrypted) {
            (false, Encrypted::Target(true)) => {
                "is not encrypted, and the target would encrypt it with a key of its own"
            }
            (false, Encrypted::Chain(true)) => "is not encrypted, and the target's chain is",
            (true, Encrypted::Chain(false)) => "is encrypted, and the target's chain is not",
            _ => "",
        };
        if !detail.is_empty() {
            return Err(ReplicateError::new(
                Problem::KeyMismatch,
                Side::Source,
                format!("{name} {detail}"),
            ));
        }
        let kept = Self {
            capability,
            zfs: &source.zfs,
            encrypted,
            volume: dataset.kind().map_err(zfs_error)? == DatasetKind::Volume,
            dataset,
            tag: format!("helix-replicate-{:016x}", want.replica),
        };
        // Before anything of it is told.
        kept.allow()?;
        Ok(kept)
    }

    fn allow(&self) -> Result<(), ReplicateError> {
        self.capability
            .allow(Operation::Send, self.dataset.name())
            .map_err(|refusal| ReplicateError::refused(Side::Source, refusal))
    }

    fn state(&self) -> Result<SourceState, ReplicateError> {
        let snapshots = self.dataset.snapshots(&SnapshotFilter::new());
        let bookmarks = self.dataset.bookmarks();
        Ok(SourceState {
            snapshots: snapshots
                .map_err(zfs_error)?
                .into_iter()
                .map(|entry| Point {
                    guid: entry.guid,
                    txg: entry.create_txg,
                    short: entry.name.short().to_owned(),
                })
                .collect(),
            bookmarks: bookmarks
                .map_err(zfs_error)?
                .into_iter()
                .map(|entry| Point {
                    guid: entry.guid,
                    txg: entry.create_txg,
                    short: entry.name.short().to_owned(),
                })
                .collect(),
        })
    }

    fn snapshot(&self, point: &Point) -> Result<Snapshot, ReplicateError> {
        self.dataset.snapshot(&point.short).map_err(zfs_error)
    }

    /// The whole increment, as it is stored.
    fn options(&self, from: Option<&Base>) -> Result<SendOptions, ReplicateError> {
        let name = self.dataset.name();
        let base = match from {
            None => return Ok(verify::as_stored(SendOptions::full(), self.encrypted)),
            Some(Base::Snapshot(point)) => name.snapshot(&point.short).map(SendBase::Snapshot),
            Some(Base::Bookmark(point)) => name.bookmark(&point.short).map(SendBase::Bookmark),
        };
        let base = base.map_err(|error| zfs_error(error.into()))?;
        Ok(verify::as_stored(
            SendOptions::incremental(base),
            self.encrypted,
        ))
    }

    fn transfer(
        &self,
        to: &Point,
        from: Option<&Base>,
        resumed: bool,
        bytes: Option<u64>,
    ) -> Result<Transfer, ReplicateError> {
        Ok(Transfer {
            to: to.guid,
            name: to.short.clone(),
            from: from.map(|base| base.point().guid),
            volume: self.volume,
            resumed,
            bytes,
        })
    }

    /// Holds what the plan needs, keeps a bookmark of what the target has, and lets go of the rest.
    /// What an earlier run left when it died is found and used, or let go of, here.
    fn settle(&self, state: &SourceState, want: &Want, plan: &Plan) -> Result<(), ReplicateError> {
        let needed: Vec<&Point> = match plan {
            Plan::UpToDate { .. } => Vec::new(),
            Plan::Verify { to, from } | Plan::Send { to, from, .. } => {
                let base = from.as_ref().and_then(|base| match base {
                    Base::Snapshot(point) => Some(point),
                    Base::Bookmark(_) => None,
                });
                base.into_iter().chain([to]).collect()
            }
        };
        let held = self.held()?;
        let names = |points: &mut dyn Iterator<Item = &Point>| {
            points
                .map(|point| self.dataset.name().snapshot(&point.short))
                .collect::<Result<Vec<SnapshotName>, _>>()
                .map_err(|error| zfs_error(error.into()))
        };
        let hold = names(
            &mut needed
                .iter()
                .copied()
                .filter(|point| !held.contains(&point.guid)),
        )?;
        if !hold.is_empty() {
            self.allow()?;
            let outcome = self.zfs.hold(&hold, &self.tag);
            let complete = outcome.and_then(zfs_core::Outcome::complete);
            complete.map_err(zfs_error)?;
        }
        let verified = want.snapshots.iter().rev().find(|held| held.verified);
        if let Some(verified) = verified {
            self.bookmark(state, verified.guid)?;
        }
        let release = names(
            &mut state
                .snapshots
                .iter()
                .filter(|point| held.contains(&point.guid) && !needed.contains(point)),
        )?;
        if !release.is_empty() {
            self.allow()?;
            // Whoever released one meanwhile did what was to be done.
            let outcome = self.zfs.release(&release, &self.tag);
            let _ = outcome.map_err(zfs_error)?;
        }
        Ok(())
    }

    /// The GUIDs of the snapshots that have our hold.
    fn held(&self) -> Result<Vec<u64>, ReplicateError> {
        let snapshots = self
            .dataset
            .snapshots_with_properties(&SnapshotFilter::new())
            .map_err(zfs_error)?;
        let mut held = Vec::new();
        for (entry, props) in snapshots {
            if props.user_refs().unwrap_or(0) == 0 {
                continue;
            }
            let snapshot = self
                .dataset
                .snapshot(entry.name.short())
                .map_err(zfs_error)?;
            let holds = snapshot.holds().map_err(zfs_error)?;
            if holds
                .iter()
                .any(|hold| hold.tag.to_bytes() == self.tag.as_bytes())
            {
                held.push(entry.guid);
            }
        }
        Ok(held)
    }

    /// Keeps a bookmark of the snapshot that the target has, and destroys those of older ones.
    fn bookmark(&self, state: &SourceState, guid: u64) -> Result<(), ReplicateError> {
        let name = |guid: u64| format!("{}-{guid:016x}", self.tag);
        let wanted = name(guid);
        let exists = |short: &str| state.bookmarks.iter().any(|point| point.short == short);
        if !exists(&wanted) {
            let Some(snapshot) = state.snapshots.iter().find(|point| point.guid == guid) else {
                // Whatever bookmark of it there is, it is somebody else's; it has served so far.
                return Ok(());
            };
            let dataset = self.dataset.name();
            let bookmark = dataset
                .bookmark(&wanted)
                .and_then(|to| Ok(NewBookmark::new(to, dataset.snapshot(&snapshot.short)?)))
                .map_err(|error| zfs_error(error.into()))?;
            self.allow()?;
            self.zfs.create_bookmarks(&[bookmark]).map_err(zfs_error)?;
        }
        let superseded = state
            .bookmarks
            .iter()
            .filter(|point| point.short == name(point.guid) && point.guid != guid)
            .map(|point| self.dataset.name().bookmark(&point.short))
            .collect::<Result<Vec<BookmarkName>, _>>()
            .map_err(|error| zfs_error(error.into()))?;
        if superseded.is_empty() {
            return Ok(());
        }
        self.allow()?;
        self.zfs.destroy_bookmarks(&superseded).map_err(zfs_error)
    }
}
