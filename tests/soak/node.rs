//! A node: the state machine, and what does its actions.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use helix_zfs::Tenant;
use helix_zfs::gate::Operation;
use helix_zfs::key::{KeyProvider, RotationOptions, rotate};
use helix_zfs::replica::{
    Action, Candidate, Command, Event, FenceError, FencingStore, Follower, Lag, Machine, NodeName,
    Promotion, ReplicaError, Role, SiteRole, SnapshotMark, Standing, State,
};
use helix_zfs::replicate::{Problem, Replicator, Source};
use helix_zfs::zfs_core::ErrorKind;
use helix_zfs::zfs_core::mount::{MountOptions, UnmountMode};

use crate::Dice;
use crate::place::{NODES, Place, data_of, group, job, key_id, policy, ports};

/// How long one node waits for the other's answer.
const PATIENCE: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(250);
/// How many files are written to, over and over.
const FILES: u64 = 32;

/// Says something to the process that started this one, in one write.
fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    // It may be gone.
    let _ = out.write_all(format!("{line}\n").as_bytes());
    let _ = out.flush();
}

fn count(what: &str) {
    tell(&format!("count {what}"));
}

pub(crate) fn run(name: &str, folder: &Path) -> ! {
    let place = Place::new(name, folder);
    let (events, heard) = channel();
    listen(&place, events.clone());
    commands(events);
    let machine = Machine::new(&place.name, NODES.len() - 1, &policy());
    let mut node = Node {
        machine,
        state: State::default(),
        dice: Dice(u64::from(std::process::id())),
        place,
        written: false,
        snapshotted: Instant::now(),
        rotated: Instant::now(),
    };
    node.live(&heard)
}

/// Serves the data, and takes reports.
fn listen(place: &Place, events: Sender<Event>) {
    let (data_port, report_port) = ports(place.name.as_str());
    let local = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let source = Source::new(&place.zfs).offer(place.site.data());
    let (gate, pool) = (place.gate.clone(), place.pool.clone());
    let listener = local(data_port);
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let source = source.clone();
            let (gate, pool) = (gate.clone(), pool.clone());
            std::thread::spawn(move || {
                let _ = connection.set_read_timeout(Some(PATIENCE * 3));
                let _ = connection.set_write_timeout(Some(PATIENCE * 3));
                // The other node says what went wrong.
                let _ = job(&gate, &pool, Operation::Send, |capability| {
                    source.serve(capability, connection)
                });
            });
        }
    });
    let listener = local(report_port);
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            for line in BufReader::new(connection).lines().map_while(Result::ok) {
                let words: Vec<&str> = line.split(' ').collect();
                let [node, epoch, guid, name] = words[..] else {
                    continue;
                };
                let event = Event::Held {
                    node: NodeName::new(node).unwrap(),
                    epoch: epoch.parse().unwrap(),
                    mark: SnapshotMark {
                        guid: guid.parse().unwrap(),
                        name: name.to_owned(),
                    },
                };
                if events.send(event).is_err() {
                    return;
                }
            }
        }
    });
}

/// What the process that started this one asks for.
fn commands(events: Sender<Event>) {
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let command = match line.as_str() {
                "promote" => Command::Promote { accept_lag: true },
                "hand-over" => Command::HandOver,
                other => panic!("{other:?}"),
            };
            if events.send(Event::Command(command)).is_err() {
                return;
            }
        }
        // Nobody is there any more.
        std::process::exit(0);
    });
}

struct Node {
    machine: Machine,
    state: State,
    dice: Dice,
    place: Place,
    /// Whether this process wrote since the node took over.
    written: bool,
    snapshotted: Instant,
    rotated: Instant,
}

impl Node {
    fn live(&mut self, heard: &Receiver<Event>) -> ! {
        let standing = loop {
            match self.place.site.state() {
                Ok(state) => break state.standing().expect("it has a part in the group"),
                Err(error) => tell(&format!("note state: {error}")),
            }
            std::thread::sleep(TICK);
        };
        self.hears(Event::Started(standing));
        if let Some(newest) = self.held().unwrap_or_default().pop() {
            self.hears(Event::Snapshot(newest));
        }
        loop {
            while let Ok(event) = heard.try_recv() {
                self.hears(event);
            }
            self.hears(Event::Tick);
            if self.may_write() {
                self.works();
            }
            std::thread::sleep(TICK);
        }
    }

    fn may_write(&self) -> bool {
        self.machine.may_write(&self.state, SystemTime::now())
    }

    /// An event, and all that follows from it.
    fn hears(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let before = self.state.standing();
            let (state, actions) = self.machine.step(&self.state, SystemTime::now(), event);
            self.state = state;
            if let (Some(before), Some(now)) = (before, self.state.standing()) {
                if before != now {
                    tell(&format!("role {} {} {}", now.role, now.epoch, before.role));
                }
            }
            for action in actions {
                events.extend(self.does(action));
            }
        }
    }

    /// Does an action, and says what came of it.
    fn does(&mut self, action: Action) -> Option<Event> {
        let done = match action {
            Action::ReadFence => Ok(match self.place.fences.read(&group()) {
                Ok(Some(fence)) => Event::Fence(fence),
                Ok(None) => Event::NoFence,
                Err(_) => Event::StoreFailed,
            }),
            Action::WriteFence { expected, new } => {
                let store = &self.place.fences;
                Ok(match store.swap(&group(), Some(expected), &new) {
                    Ok(()) => Event::Fence(new),
                    Err(FenceError::Moved { now, .. }) => Event::FenceMoved(*now),
                    Err(_) => Event::StoreFailed,
                })
            }
            Action::Become { standing, writable } => self.becomes(standing, writable),
            Action::Verify { acknowledged } => self.verifies(acknowledged.as_ref()),
            Action::Follow { source } => Ok(self.follows(&source)),
            Action::Report {
                source,
                epoch,
                mark,
            } => {
                self.reports(&source, epoch, &mark);
                return None;
            }
            Action::Announce(mark) => {
                tell(&format!("acknowledged {} {}", mark.guid, mark.name));
                return None;
            }
            Action::Decline(why) => {
                tell(&format!("note declined: {why}"));
                count("declined");
                return None;
            }
            // Nobody undoes here, so what took over stays what it is, or was replaced.
            Action::LookForWrites => Ok(Event::Written),
            Action::Rebuild { source } => self.rebuilds(&source),
            other => panic!("{other:?}"),
        };
        Some(done.unwrap_or_else(|why| {
            tell(&format!("note {why}"));
            count("failed-actions");
            Event::ActionFailed
        }))
    }

    fn becomes(&mut self, standing: Standing, writable: bool) -> Result<Event, String> {
        let site = &self.place.site;
        let now = site.state().map_err(|error| error.to_string())?;
        let promote = Operation::PromoteReplica;
        let failed = |why: String| format!("becoming {} {}: {why}", standing.role, standing.epoch);
        let mut became = Event::Became { standing, writable };
        match standing.role {
            Role::Source | Role::Promoted if writable => self
                .place
                .job(promote, |capability| {
                    site.open(capability, standing.epoch, &mut |_| {})
                })
                .map_err(failed)?,
            Role::Promoted if matches!(now.role, SiteRole::Replica | SiteRole::Promoting) => {
                self.promotes(standing.epoch).map_err(failed)?;
                count("promotions");
                became = Event::Became {
                    standing,
                    writable: true,
                };
            }
            Role::Source | Role::Promoted | Role::Fenced => {
                self.place
                    .job(Operation::RebuildReplica, |capability| {
                        site.fence(capability, &mut |_| {})
                    })
                    .map_err(failed)?;
                self.unmount();
                count("fences");
            }
            Role::Replica if now.role == SiteRole::Promoting => self
                .place
                .job(promote, |capability| site.withdraw(capability, &mut |_| {}))
                .map_err(failed)?,
            _ => {}
        }
        Ok(became)
    }

    /// Takes over, with the newest key that opens the data, while the fence is ours.
    fn promotes(&mut self, epoch: u64) -> Result<(), String> {
        let place = &self.place;
        let fence = self.state.fence().expect("it was read").clone();
        let still_ours = || match place.fences.read(&group()) {
            Ok(Some(now)) => {
                now.epoch == fence.epoch
                    && now.holder == place.name
                    && SystemTime::now() + policy().clock_margin <= now.until
            }
            _ => false,
        };
        let versions = place.keys.versions(&key_id()).map_err(|e| e.to_string())?;
        let mut last = "there is no key".to_owned();
        for version in versions.into_iter().rev() {
            let key = place
                .keys
                .version(&key_id(), version)
                .map_err(|error| error.to_string())?
                .wrapping_key();
            let mut promotion = Promotion::new(epoch).key(&key).confirm(&still_ours);
            if let Some(mark) = &fence.acknowledged {
                promotion = promotion.acknowledged(mark.guid);
            }
            let mut wrong_key = false;
            let outcome = place.job(Operation::PromoteReplica, |capability| {
                let outcome = place.site.promote(capability, &promotion, &mut |_| {});
                if let Err(ReplicaError::Zfs(error)) = &outcome {
                    wrong_key = error.kind() == ErrorKind::WrongKey;
                }
                outcome
            });
            match outcome {
                Ok(_) => {
                    self.written = false;
                    return Ok(());
                }
                Err(why) => last = why,
            }
            if !wrong_key {
                break;
            }
        }
        Err(last)
    }

    fn verifies(&self, acknowledged: Option<&SnapshotMark>) -> Result<Event, String> {
        let all = self.held()?;
        let has = |mark: &SnapshotMark| all.iter().any(|held| held.guid == mark.guid);
        Ok(Event::Verified(Candidate {
            has_acknowledged: acknowledged.is_none_or(has),
            verified: all.last().cloned(),
        }))
    }

    /// The snapshots that count: of a replica those that were verified, otherwise all.
    fn held(&self) -> Result<Vec<SnapshotMark>, String> {
        let held = self.place.site.snapshots();
        held.map_err(|error| error.to_string())
    }

    fn connect(node: &NodeName) -> std::io::Result<TcpStream> {
        let address = (Ipv4Addr::LOCALHOST, ports(node.as_str()).0).into();
        let channel = TcpStream::connect_timeout(&address, PATIENCE)?;
        channel.set_read_timeout(Some(PATIENCE))?;
        channel.set_write_timeout(Some(PATIENCE))?;
        Ok(channel)
    }

    fn follower(&self, source: &NodeName) -> Follower {
        Follower::new(&self.place.site, &data_of(source.as_str()))
    }

    fn follows(&self, source: &NodeName) -> Event {
        let follower = self.follower(source);
        let mut unreachable = false;
        let mut diverged = false;
        let outcome = self.place.job(Operation::Receive, |capability| {
            let outcome = follower.once(capability, || Self::connect(source));
            match &outcome {
                Err(ReplicaError::Connect { .. }) => unreachable = true,
                Err(ReplicaError::Replicate(error)) => match error.problem() {
                    Problem::Connection | Problem::NotOffered => unreachable = true,
                    Problem::Diverged | Problem::NoCommonBase => diverged = true,
                    _ => {}
                },
                _ => {}
            }
            outcome
        });
        match outcome {
            Ok(turn) => {
                if turn.outcome.is_some() {
                    count("replications");
                }
                match (turn.snapshot, turn.epoch) {
                    (Some(mark), Some(epoch)) => Event::Pulled {
                        mark,
                        epoch,
                        lag: turn.lag,
                    },
                    _ => Event::SourceSeen {
                        healthy: true,
                        lag: Lag::default(),
                    },
                }
            }
            Err(_) if unreachable => Event::SourceUnreachable,
            Err(_) if diverged => Event::Diverged,
            Err(why) => {
                tell(&format!("note following: {why}"));
                count("failed-replications");
                Event::ActionFailed
            }
        }
    }

    fn reports(&self, source: &NodeName, epoch: u64, mark: &SnapshotMark) {
        let address = (Ipv4Addr::LOCALHOST, ports(source.as_str()).1).into();
        if let Ok(mut channel) = TcpStream::connect_timeout(&address, PATIENCE) {
            let name = &self.place.name;
            // What gets lost is said again with the next one.
            let _ = writeln!(channel, "{name} {epoch} {} {}", mark.guid, mark.name);
        }
    }

    fn rebuilds(&self, source: &NodeName) -> Result<Event, String> {
        let site = &self.place.site;
        let text = |error: ReplicaError| error.to_string();
        let state = site.state().map_err(text)?;
        if !matches!(state.role, SiteRole::Replica) || self.state.diverged() {
            let held = self.held()?;
            let guids: Vec<u64> = held.iter().map(|mark| mark.guid).collect();
            let data = data_of(source.as_str());
            let channel = Self::connect(source).map_err(|error| error.to_string())?;
            let survey =
                Replicator::survey(channel, &data, &guids).map_err(|error| error.to_string())?;
            let fence = self.state.fence().ok_or("no fence")?;
            if survey.epoch != Some(fence.epoch) {
                return Err(format!("the source is at {:?}", survey.epoch));
            }
            let rebuilt = self.place.job(Operation::RebuildReplica, |capability| {
                site.rebuild(capability, survey.common, fence.epoch, &mut |_| {})
            })?;
            count("rebuilds");
            if rebuilt.diverged.is_some() {
                count("kept-diverged");
            }
        }
        Ok(Event::Rebuilt)
    }

    /// Writes, takes snapshots, rotates the key.
    fn works(&mut self) {
        if let Err(why) = self.mount() {
            return tell(&format!("note mounting: {why}"));
        }
        let epoch = self.state.standing().map_or(0, |standing| standing.epoch);
        for _ in 0..4 {
            if !self.may_write() {
                return;
            }
            let file = self
                .place
                .mountpoint
                .join(format!("{}", self.dice.of(FILES)));
            let length = 1024 + self.dice.of(48 * 1024) as usize;
            let bytes: Vec<u8> = std::iter::repeat_with(|| self.dice.throw() as u8)
                .take(length)
                .collect();
            let start = monotonic();
            match std::fs::write(&file, &bytes) {
                Ok(()) => tell(&format!("wrote {epoch} {start} {} {length}", monotonic())),
                Err(error) => return tell(&format!("note writing: {error}")),
            }
            self.written = true;
        }
        if self.written && self.state.standing().map(|s| s.role) == Some(Role::Promoted) {
            self.hears(Event::Written);
        }
        if self.snapshotted.elapsed() > Duration::from_secs(4) {
            self.snapshotted = Instant::now();
            let short = format!("s{epoch}-{}", monotonic());
            let place = &self.place;
            let taken = place.job(Operation::Snapshot, |capability| {
                place.site.snapshot_if_changed(capability, &short)
            });
            match taken {
                Ok(Some(mark)) => {
                    count("snapshots");
                    self.hears(Event::Snapshot(mark));
                }
                Ok(None) => {}
                Err(why) => tell(&format!("note snapshot: {why}")),
            }
        }
        if self.rotated.elapsed() > Duration::from_secs(15) && self.may_write() {
            self.rotated = Instant::now();
            if let Err(why) = self.rotates() {
                tell(&format!("note rotation: {why}"));
                count("failed-rotations");
            }
        }
    }

    fn rotates(&self) -> Result<(), String> {
        let place = &self.place;
        let dataset = place
            .zfs
            .dataset(place.site.data().as_str())
            .map_err(|error| error.to_string())?;
        let name = helix_zfs::zfs_core::props::UserProps::new()
            .set(Tenant::PROPERTY, key_id().as_str())
            .map_err(|error| error.to_string())?;
        dataset.set_user(&name).map_err(|error| error.to_string())?;
        let tenant = Tenant::from(dataset);
        count("rotations-begun");
        place.job(Operation::RotateKey, |capability| {
            let options = RotationOptions::new();
            rotate(capability, &tenant, &place.keys, &options, &mut |_| {})
        })?;
        count("rotations");
        Ok(())
    }

    fn mount(&self) -> Result<(), String> {
        let dataset = self
            .place
            .zfs
            .dataset(self.place.site.data().as_str())
            .map_err(|error| error.to_string())?;
        if dataset.mounts().map_err(|e| e.to_string())?.is_empty() {
            let options = MountOptions::new().at(&self.place.mountpoint);
            dataset.mount(&options).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn unmount(&self) {
        if let Ok(dataset) = self.place.zfs.dataset(self.place.site.data().as_str()) {
            if let Err(error) = dataset.unmount(UnmountMode::Unused) {
                tell(&format!("note unmounting: {error}"));
            }
        }
    }
}

/// Nanoseconds of a clock that both nodes have.
fn monotonic() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}
