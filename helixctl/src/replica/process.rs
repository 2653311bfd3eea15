//! The process that runs a node.

use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use helix_zfs::gate::{Capability, Operation};
use helix_zfs::replica::{
    Channel, Command, Grants, Machine, Node, NodeName, NodeServer, Notice, Role, State,
};
use helix_zfs::zfs_core::key::WrappingKey;
use helix_zfs::zfs_core::{DatasetName, ErrorKind, Zfs};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::control::{Hold, Live, Reply};
use super::file::{NodeFile, PeerFile};
use super::notice::{EventJson, is_refused};
use crate::channel::{self, Accept, Program};
use crate::console::Console;
use crate::failure::{Exit, Failure};
use crate::gate::GateFolder;
use crate::quantity::show_moment;

/// How long another node may be silent. One that computes a digest is, too.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a node looks around at least, however long its lease is.
const TURN: Duration = Duration::from_secs(5);

/// What the other threads tell the one of the node.
#[derive(Debug)]
pub(crate) enum Told {
    /// An operator wants something.
    Asked {
        command: Command,
        answer: Sender<Reply>,
    },
    /// Something happened.
    Happened(EventJson),
    /// It is to end.
    End,
}

/// Runs the node until it is told to end. Returns what it was then.
pub(crate) fn run(
    console: &Console,
    file: &NodeFile,
    time: Option<Duration>,
) -> Result<Live, Failure> {
    let ends = time.and_then(|time| Instant::now().checked_add(time));
    let mut hold = Hold::take(file.control())?;
    let (tell, told) = mpsc::channel();
    // What is made from it is bound by the rules for production.
    let gate = GateFolder::of(console.global()).open(&console.zfs()?)?;
    let node = node(gate.zfs(), file, &tell)?;
    let mut listeners = Vec::new();
    for peer in &file.peers {
        listeners.push((peer.node.clone(), listen(&mut hold, peer)?));
    }
    let live = Arc::new(Mutex::new(Live {
        pid: std::process::id(),
        ..Live::default()
    }));
    hold.serve(file.control(), &live, &tell)?;
    end_on_signals(&tell)?;
    let mut process = Process {
        console,
        node,
        live,
        told,
        interval: (file.policy.lease / 8).min(TURN),
        ends,
        asked: None,
        turns: 0,
        trouble: None,
        refused: None,
    };
    console.remark(&format!("{} of {}: runs\n", file.node, file.group));
    let job = |operation, work: &mut dyn FnMut(&Capability) -> Result<(), Failure>| {
        console.job_of(&gate, operation, file.scope(), work)
    };
    // Jobs that last as long as the process. Their leases are renewed meanwhile.
    job(Operation::Send, &mut |send| {
        serve(&process.node, send, std::mem::take(&mut listeners), &tell)?;
        job(Operation::Receive, &mut |receive| {
            job(Operation::PromoteReplica, &mut |promote| {
                job(Operation::RebuildReplica, &mut |rebuild| {
                    job(Operation::Snapshot, &mut |snapshot| {
                        let mut live = |retain: Option<&Capability>| {
                            process.live(Grants {
                                receive,
                                promote,
                                rebuild,
                                snapshot,
                                retain,
                            })
                        };
                        match file.policy.keep {
                            None => live(None),
                            Some(_) => job(Operation::Retain, &mut |retain| live(Some(retain))),
                        }
                    })
                })
            })
        })
    })?;
    let live = process.live.lock();
    Ok(live.unwrap_or_else(PoisonError::into_inner).clone())
}

fn node(zfs: &Zfs, file: &NodeFile, tell: &Sender<Told>) -> Result<Node, Failure> {
    let machine = Machine::new(&file.node, file.peers.len(), &file.policy);
    let site = file.site(zfs)?;
    let mut node = Node::new(&site, machine, &file.group, file.store()?);
    for peer in &file.peers {
        let (way, tell) = (peer.clone(), tell.clone());
        node = node.peer(&peer.node, &peer.data, move || {
            reach(&way).inspect_err(|error| {
                let event = EventJson::with_peer("unreachable", &way.node, error);
                // A node that has ended asks nobody any more.
                let _ = tell.send(Told::Happened(event));
            })
        });
    }
    if let Some((id, keys)) = file.key()? {
        let zfs = zfs.clone();
        let chain = site.target().child("chain")?;
        let places = [chain, site.data().clone()];
        node = node.key(move || {
            let text = |error: helix_zfs::key::KeyError| error.to_string();
            // The kernel knows the right one.
            for version in keys.versions(&id).map_err(text)?.into_iter().rev() {
                let key = keys.version(&id, version).map_err(text)?.wrapping_key();
                if opens(&zfs, &places, &key).map_err(|error| error.to_string())? {
                    return Ok(key);
                }
            }
            Err(format!("no key {id} opens the data"))
        });
    }
    Ok(node)
}

/// Whether a key opens the data, which is in one of these places.
fn opens(
    zfs: &Zfs,
    places: &[DatasetName],
    key: &WrappingKey,
) -> Result<bool, helix_zfs::zfs_core::Error> {
    for place in places {
        match zfs.dataset(place.as_str())?.verify_key(key) {
            Ok(()) => return Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::WrongKey | ErrorKind::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

fn reach(peer: &PeerFile) -> std::io::Result<Box<dyn Channel>> {
    match (&peer.from, &peer.command) {
        (Some(address), _) => channel::connect(address, Some(PATIENCE)),
        (None, Some(command)) => Ok(Box::new(Program::start(command, Some(PATIENCE))?)),
        (None, None) => Err(std::io::ErrorKind::NotFound.into()),
    }
}

fn listen(hold: &mut Hold, peer: &PeerFile) -> Result<Accept, Failure> {
    let address = peer.listen.as_str();
    let listen = || channel::listen(address, Some(PATIENCE));
    match channel::is_path(address) {
        true => hold.bind(Path::new(address), listen),
        false => listen().map_err(|error| Failure::io(address, &error)),
    }
}

/// Serves the data to the other nodes. Who comes to whose listener is that one.
fn serve(
    node: &Node,
    capability: &Capability,
    listeners: Vec<(NodeName, Accept)>,
    tell: &Sender<Told>,
) -> Result<(), Failure> {
    for (by, accept) in listeners {
        let (server, capability, tell) = (node.server(), capability.clone(), tell.clone());
        let serve = move || loop {
            let failed = |why: &dyn ToString| {
                let event = EventJson::with_peer("not_served", &by, why.to_string());
                let _ = tell.send(Told::Happened(event));
            };
            match accept() {
                Ok(channel) => {
                    let (server, capability) = (server.clone(), capability.clone());
                    let (by, tell) = (by.clone(), tell.clone());
                    let thread = std::thread::Builder::new()
                        .spawn(move || serve_one(&server, &capability, &by, channel, &tell));
                    if let Err(error) = thread {
                        failed(&error);
                    }
                }
                Err(error) => {
                    failed(&error);
                    std::thread::sleep(Duration::from_secs(1));
                }
            }
        };
        std::thread::Builder::new()
            .spawn(serve)
            .map_err(|error| Failure::io("a thread", &error))?;
    }
    Ok(())
}

fn serve_one(
    server: &NodeServer,
    capability: &Capability,
    by: &NodeName,
    channel: Box<dyn Channel>,
    tell: &Sender<Told>,
) {
    if let Err(error) = server.serve(capability, by, channel) {
        let event = EventJson::with_peer("not_served", by, error);
        // A node that has ended serves nobody any more.
        let _ = tell.send(Told::Happened(event));
    }
}

fn end_on_signals(tell: &Sender<Told>) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::io("signals", &error);
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
    let tell = tell.clone();
    let wait = move || {
        let mut signals = signals.forever();
        if signals.next().is_some() {
            let _ = tell.send(Told::End);
        }
        // Whoever does not want to wait for the end of a turn says so again. It is as safe as any
        // other death of the process.
        if let Some(signal) = signals.next() {
            std::process::exit(128 + signal);
        }
    };
    let thread = std::thread::Builder::new().spawn(wait);
    thread.map(drop).map_err(failed)
}

struct Process<'c> {
    console: &'c Console,
    node: Node,
    live: Arc<Mutex<Live>>,
    told: Receiver<Told>,
    interval: Duration,
    ends: Option<Instant>,
    /// What an operator waits for.
    asked: Option<(Command, Sender<Reply>)>,
    turns: u64,
    /// What went wrong in this turn or the one before, and in which of them.
    trouble: Option<(u64, String)>,
    /// Why it may not go on.
    refused: Option<Failure>,
}

impl Process<'_> {
    /// Turns until it is to end.
    fn live(&mut self, grants: Grants<'_>) -> Result<(), Failure> {
        let mut notices = Vec::new();
        let begun = self.node.start(grants, &mut |notice| notices.push(notice));
        self.hear(notices);
        begun?;
        loop {
            self.turn(grants);
            if let Some(failure) = self.refused.take() {
                return Err(failure.advice("start it again: it begins with new jobs"));
            }
            if self.wait() {
                break;
            }
        }
        let role = self.node.state().standing().map(|standing| standing.role);
        if matches!(role, Some(Role::Source | Role::Promoted)) {
            // Nobody watches the lease any more.
            self.node.inbox().command(Command::HandOver);
            self.turn(grants);
        }
        Ok(())
    }

    fn turn(&mut self, grants: Grants<'_>) {
        self.turns += 1;
        let mut notices = Vec::new();
        self.node.turn(grants, &mut |notice| notices.push(notice));
        self.hear(notices);
        self.trouble.take_if(|(turn, _)| *turn + 1 < self.turns);
        let state = self.node.state();
        let standing = state.standing();
        let live = Live {
            pid: std::process::id(),
            role: standing.map(|standing| standing.role),
            epoch: standing.map(|standing| standing.epoch),
            may_write: self.node.may_write(),
            lag: state.seen().map(|(_, lag)| lag),
            reached: state.seen().map(|(at, _)| show_moment(at)),
            is_ahead: state.diverged(),
            wish: state.wish(),
            declined: state.declined().map(ToString::to_string),
            trouble: self.trouble.as_ref().map(|(_, why)| why.clone()),
        };
        *self.live.lock().unwrap_or_else(PoisonError::into_inner) = live.clone();
        if let Some((command, answer)) = self.asked.take() {
            match verdict(command, state, live.may_write) {
                None => self.asked = Some((command, answer)),
                // Whoever asked may have gone.
                Some(Ok(())) => drop(answer.send(Reply::Done(live))),
                Some(Err(why)) => drop(answer.send(Reply::Declined(why))),
            }
        }
    }

    /// Waits until it is time for the next turn. Returns whether it is to end instead.
    fn wait(&mut self) -> bool {
        let next = Instant::now() + self.interval;
        loop {
            let now = Instant::now();
            if self.ends.is_some_and(|ends| ends <= now) {
                return true;
            }
            let until = self.ends.map_or(next, |ends| ends.min(next));
            match self.told.recv_timeout(until.saturating_duration_since(now)) {
                Ok(Told::Asked { command, answer }) => {
                    self.node.inbox().command(command);
                    if let Some((_, before)) = self.asked.replace((command, answer)) {
                        let why = format!("it was told to {command} instead");
                        let _ = before.send(Reply::Declined(why));
                    }
                    return false;
                }
                Ok(Told::Happened(event)) => self.tell(event),
                Ok(Told::End) | Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) if next <= Instant::now() => return false,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn hear(&mut self, notices: Vec<Notice>) {
        for notice in notices {
            let event = EventJson::of(&notice);
            if is_refused(&notice) {
                let why = event.error.clone().unwrap_or_default();
                self.refused = Some(Failure::new(Exit::Denied, why));
            }
            self.tell(event);
        }
    }

    /// Tells what happened, but not again and again what goes wrong again and again.
    fn tell(&mut self, event: EventJson) {
        let trouble = event.error.clone().map(|why| (self.turns, why));
        let why = |trouble: &Option<(u64, String)>| trouble.as_ref().map(|(_, why)| why.clone());
        let is_new = trouble.is_none() || why(&trouble) != why(&self.trouble);
        if trouble.is_some() {
            self.trouble = trouble;
        }
        if is_new {
            // Who no longer reads what happens has a node nonetheless.
            let _ = self.console.event(&event, &event.text());
        }
    }
}

/// Whether what an operator wants is done, or why it will not be. `None` while it is not known.
fn verdict(command: Command, state: &State, may_write: bool) -> Option<Result<(), String>> {
    let role = state.standing()?.role;
    let holds = matches!(role, Role::Source | Role::Promoted);
    if let Some(wish) = state.wish() {
        // A source that has handed over keeps the wish until there is another.
        let fence = state.fence()?;
        let over = fence.until <= SystemTime::now();
        let is_done = wish == Command::HandOver && holds && !state.is_writable() && over;
        return is_done.then_some(Ok(()));
    }
    if let Some(why) = state.declined() {
        return Some(Err(why.to_string()));
    }
    match (command, role) {
        (Command::Promote { .. }, Role::Source | Role::Promoted) => may_write.then_some(Ok(())),
        (Command::Undo, Role::Replica) => Some(Ok(())),
        (Command::Rebuild, Role::Rebuilding) => None,
        (Command::Rebuild, Role::Replica) => (!state.diverged()).then_some(Ok(())),
        (Command::HandOver, Role::Fenced | Role::Rebuilding | Role::Replica) => Some(Ok(())),
        _ => Some(Err(format!("its role is {role}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use helix_zfs::replica::{Event, Fence, Policy, Standing};

    /// What a machine with this role knows after these events, and what it says to a command then.
    fn told(role: Role, events: Vec<Event>, command: Command) -> Option<Result<(), String>> {
        let node = NodeName::new("a").unwrap();
        let machine = Machine::new(&node, 1, &Policy::default());
        let started = Event::Started(Standing { role, epoch: 1 });
        let mut state = State::default();
        let all = [started].into_iter().chain(events);
        for event in all.chain([Event::Command(command)]) {
            (state, _) = machine.step(&state, SystemTime::now(), event);
        }
        verdict(
            command,
            &state,
            machine.may_write(&state, SystemTime::now()),
        )
    }

    fn fence(holder: &str) -> Event {
        let holder = NodeName::new(holder).unwrap();
        Event::Fence(Fence::first(&holder, SystemTime::now()))
    }

    #[test]
    fn a_command_is_judged_by_what_the_node_is() {
        let promote = Command::Promote { accept_lag: true };
        let no = |role| Some(Err(format!("its role is {role}")));
        for (role, command) in [
            (Role::Fenced, promote),
            (Role::Source, Command::Undo),
            (Role::Replica, Command::Undo),
            (Role::Replica, Command::Rebuild),
            (Role::Source, Command::Rebuild),
            (Role::Fenced, Command::HandOver),
        ] {
            assert_eq!(
                told(role, Vec::new(), command),
                no(role),
                "{role} {command}"
            );
        }
        // The lease of the other is not over, that of its own is not renewed yet.
        assert_eq!(told(Role::Replica, vec![fence("b")], promote), None);
        assert_eq!(told(Role::Source, vec![fence("a")], promote), None);
        // It is read-only from then on, and the lease is given back.
        let standing = Standing {
            role: Role::Source,
            epoch: 1,
        };
        let closed = Event::Became {
            standing,
            writable: false,
        };
        let before = told(Role::Source, vec![fence("a")], Command::HandOver);
        assert_eq!(before, None);
        let after = told(Role::Source, vec![closed, fence("a")], Command::HandOver);
        assert_eq!(after, Some(Ok(())));
    }
}
