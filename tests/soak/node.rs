//! A node's process: the node itself, what serves its data, and a writer that asks it first.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use helix_zfs::Tenant;
use helix_zfs::gate::Operation;
use helix_zfs::key::{FileKeys, KeyProvider, RotationOptions, rotate};
use helix_zfs::replica::{
    Channel, Command, Grants, Inbox, Machine, Node, NodeName, NodeServer, Notice, Standing,
};
use helix_zfs::zfs_core::key::WrappingKey;
use helix_zfs::zfs_core::mount::{MountOptions, UnmountMode};
use helix_zfs::zfs_core::props::UserProps;
use helix_zfs::zfs_core::{DatasetName, ErrorKind, Zfs};

use crate::Dice;
use crate::place::{NODES, Place, data_of, group, job, key_id, policy, pool, port};

/// How long one node waits for the other's answer.
const PATIENCE: Duration = Duration::from_secs(60);
const TURN: Duration = Duration::from_millis(250);
/// How many files are written to, over and over.
const FILES: u64 = 32;
const ROTATES: Duration = Duration::from_secs(15);

/// Says something to the process that started this one, in one write.
fn tell(line: &str) {
    let mut out = io::stdout().lock();
    // It may be gone.
    let _ = out.write_all(format!("{line}\n").as_bytes());
    let _ = out.flush();
}

fn count(what: &str) {
    tell(&format!("count {what}"));
}

pub(crate) fn run(name: &str, folder: &Path) -> ! {
    let place = Place::new(name, folder);
    let machine = Machine::new(&place.name, NODES.len() - 1, &policy());
    let mut node = Node::new(&place.site, machine, &group(), place.fences.clone());
    let me = place.name.clone();
    for other in NODES.iter().filter(|other| **other != name) {
        let (me, other) = (me.clone(), NodeName::new(*other).unwrap());
        let data = data_of(other.as_str());
        let to = port(other.as_str());
        node = node.peer(&other, &data, move || connect(&me, to));
    }
    let (zfs, keys) = (place.zfs.clone(), place.keys.clone());
    let places = ["copy/chain", "live"]
        .map(|below| DatasetName::new(&format!("{}/{below}", pool(name))).unwrap());
    let node = node.key(move || key(&zfs, &keys, &places));
    listen(&place, node.server());
    commands(node.inbox());
    let writer = Writer {
        dice: Dice(u64::from(std::process::id())),
        place,
        rotated: Instant::now(),
        standing: None,
    };
    let outcome = live(node, writer);
    panic!("{outcome:?}");
}

/// The newest key that opens the data, which is in one of these places.
fn key(zfs: &Zfs, keys: &FileKeys, places: &[DatasetName]) -> Result<WrappingKey, String> {
    let versions = keys.versions(&key_id()).map_err(|e| e.to_string())?;
    for version in versions.into_iter().rev() {
        let key = keys
            .version(&key_id(), version)
            .map_err(|error| error.to_string())?
            .wrapping_key();
        for place in places {
            let dataset = zfs.dataset(place.as_str()).map_err(|e| e.to_string())?;
            match dataset.verify_key(&key) {
                Ok(()) => return Ok(key),
                Err(error) if matches!(error.kind(), ErrorKind::WrongKey | ErrorKind::NotFound) => {
                }
                Err(error) => return Err(error.to_string()),
            }
        }
    }
    Err("no key opens the data".to_owned())
}

/// A connection to the node that listens there. It says first who it is.
fn connect(me: &NodeName, to: u16) -> io::Result<Box<dyn Channel>> {
    let mut channel = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, to).into(), PATIENCE)?;
    channel.set_read_timeout(Some(PATIENCE))?;
    channel.set_write_timeout(Some(PATIENCE))?;
    channel.set_nodelay(true)?;
    writeln!(channel, "{me}")?;
    Ok(Box::new(channel))
}

/// Serves the data.
fn listen(place: &Place, server: NodeServer) {
    let (gate, pool) = (place.gate.clone(), place.pool.clone());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port(place.name.as_str()))).unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let (server, gate, pool) = (server.clone(), gate.clone(), pool.clone());
            std::thread::spawn(move || {
                let served = job(&gate, &pool, Operation::Send, |capability| {
                    serve(&server, capability, connection)
                });
                if let Err(why) = served {
                    tell(&format!("note serving: {why}"));
                }
            });
        }
    });
}

fn serve(
    server: &NodeServer,
    capability: &helix_zfs::gate::Capability,
    connection: TcpStream,
) -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    connection.set_read_timeout(Some(PATIENCE)).map_err(text)?;
    connection.set_write_timeout(Some(PATIENCE)).map_err(text)?;
    connection.set_nodelay(true).map_err(text)?;
    // One byte at a time: what follows the line belongs to the replication.
    let mut one_by_one = BufReader::with_capacity(1, &connection);
    let mut name = String::new();
    one_by_one.read_line(&mut name).map_err(text)?;
    let by = NodeName::new(name.trim_end()).map_err(|error| error.to_string())?;
    let served = server.serve(capability, &by, &connection);
    served.map_err(|error| error.to_string())
}

/// What the process that started this one asks for.
fn commands(inbox: Inbox) {
    std::thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            match line.as_str() {
                "promote" => inbox.command(Command::Promote { accept_lag: true }),
                "hand-over" => inbox.command(Command::HandOver),
                other => panic!("{other:?}"),
            }
        }
        // Nobody is there any more.
        std::process::exit(0);
    });
}

/// Turns for ever, under four jobs that last as long as the process.
fn live(mut node: Node, mut writer: Writer) -> Result<(), String> {
    let (gate, pool) = (writer.place.gate.clone(), writer.place.pool.clone());
    job(&gate, &pool, Operation::Receive, |receive| {
        job(&gate, &pool, Operation::PromoteReplica, |promote| {
            job(&gate, &pool, Operation::RebuildReplica, |rebuild| {
                job(&gate, &pool, Operation::Snapshot, |snapshot| {
                    let grants = Grants {
                        receive,
                        promote,
                        rebuild,
                        snapshot,
                        retain: None,
                    };
                    loop {
                        node.turn(grants, &mut |notice| writer.hears(&notice));
                        writer.works(&node);
                        std::thread::sleep(TURN);
                    }
                    #[allow(unreachable_code, reason = "the type of a job's outcome")]
                    Ok::<(), String>(())
                })
            })
        })
    })
}

struct Writer {
    dice: Dice,
    place: Place,
    rotated: Instant,
    standing: Option<Standing>,
}

impl Writer {
    fn hears(&mut self, notice: &Notice) {
        match notice {
            Notice::Became(standing, writable) => {
                if self.standing.map(|before| before.role) != Some(standing.role) {
                    tell(&format!("role {} {}", standing.role, standing.epoch));
                }
                self.standing = Some(*standing);
                if !writable {
                    self.unmount();
                }
            }
            Notice::Acknowledged(mark) => {
                tell(&format!("acknowledged {} {}", mark.guid, mark.name));
            }
            Notice::Snapshot(_) => count("snapshots"),
            Notice::Followed(_) => count("replications"),
            Notice::Declined(why) => {
                count("declined");
                tell(&format!("note declined: {why}"));
            }
            other => {
                count("failures");
                tell(&format!("note {other:?}"));
            }
        }
    }

    /// Writes while the node may, and rotates the key.
    fn works(&mut self, node: &Node) {
        for _ in 0..4 {
            if !node.may_write() {
                return;
            }
            if let Err(why) = self.mount() {
                return tell(&format!("note mounting: {why}"));
            }
            let epoch = node.state().fence().map_or(0, |fence| fence.epoch);
            let file = self
                .place
                .mountpoint
                .join(format!("{}", self.dice.of(FILES)));
            let length = 1024 + self.dice.of(48 * 1024) as usize;
            let bytes: Vec<u8> = std::iter::repeat_with(|| self.dice.throw() as u8)
                .take(length)
                .collect();
            if !node.may_write() {
                return;
            }
            let start = monotonic();
            match std::fs::write(&file, &bytes) {
                Ok(()) => tell(&format!("wrote {epoch} {start} {} {length}", monotonic())),
                Err(error) => return tell(&format!("note writing: {error}")),
            }
        }
        if self.rotated.elapsed() > ROTATES && node.may_write() {
            self.rotated = Instant::now();
            if let Err(why) = self.rotates() {
                count("failed-rotations");
                tell(&format!("note rotation: {why}"));
            }
        }
    }

    fn rotates(&self) -> Result<(), String> {
        let place = &self.place;
        let data = place.site.data().as_str();
        let dataset = place.zfs.dataset(data).map_err(|e| e.to_string())?;
        // What a raw replication does not bring.
        UserProps::new()
            .set(Tenant::PROPERTY, key_id().as_str())
            .and_then(|name| dataset.set_user(&name))
            .map_err(|error| error.to_string())?;
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
        let data = self.place.site.data().as_str();
        let dataset = self.place.zfs.dataset(data).map_err(|e| e.to_string())?;
        if dataset.mounts().map_err(|e| e.to_string())?.is_empty() {
            let options = MountOptions::new().at(&self.place.mountpoint);
            dataset.mount(&options).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn unmount(&self) {
        let data = self.place.site.data().as_str();
        let dataset = self.place.zfs.dataset(data).unwrap();
        if let Err(error) = dataset.unmount(UnmountMode::Unused) {
            tell(&format!("note unmounting: {error}"));
        }
    }
}

/// Nanoseconds of a clock that both nodes have.
fn monotonic() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}
