//! What starts the nodes, kills them, and looks at what they leave.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use helix_zfs::Tenant;
use helix_zfs::gate::Operation;
use helix_zfs::gate::audit::AuditLog;
use helix_zfs::key::{KeyMaterial, KeyStore, KeyVersion};
use helix_zfs::replica::{FencingStore, NodeName};
use helix_zfs::zfs_core::key::Encryption;
use helix_zfs::zfs_core::{CreateOptions, Zfs};

use crate::Dice;
use crate::notes::{Note, Verdict, look, note};
use crate::place::{NODES, Place, group, key_id, policy, pool};

/// How long the nodes may take to agree after the last kill.
const SETTLING: Duration = Duration::from_secs(600);
const ASKS_AGAIN: Duration = Duration::from_secs(60);

struct Running {
    child: Child,
    input: ChildStdin,
}

#[derive(Default)]
struct Counters(BTreeMap<String, u64>);

impl Counters {
    fn add(&mut self, what: &str, count: u64) {
        *self.0.entry(what.to_owned()).or_default() += count;
    }

    fn print(&self, start: Instant) {
        let all: Vec<String> = self
            .0
            .iter()
            .map(|(what, count)| format!("{what} {count}"))
            .collect();
        println!("soak: {} s: {}", start.elapsed().as_secs(), all.join(", "));
    }
}

struct Control<'a> {
    folder: &'a Path,
    place: Place,
    running: [Option<Running>; 2],
    down_until: [Option<Instant>; 2],
    lines: Receiver<(usize, String)>,
    sender: Sender<(usize, String)>,
    counters: Counters,
    /// Of each epoch, when the first write began and the last one ended.
    writes: BTreeMap<u64, (u64, u64)>,
    notes: Vec<Note>,
    wrong: Vec<String>,
    start: Instant,
    acknowledged: Sender<(u64, String)>,
    noted: Receiver<Result<Note, String>>,
    waiting: usize,
    said: BTreeMap<String, u64>,
}

pub(crate) fn run(length: Duration, seed: u64) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let place = prepare(folder.path());
    let (sender, lines) = channel();
    let (acknowledged, to_note) = channel::<(u64, String)>();
    let (from_note, noted) = channel();
    std::thread::spawn(move || {
        let zfs = Zfs::open().unwrap();
        for (guid, name) in to_note {
            let _ = from_note.send(note(&zfs, guid, &name));
        }
    });
    let mut control = Control {
        folder: folder.path(),
        place,
        running: [None, None],
        down_until: [None, None],
        lines,
        sender,
        counters: Counters::default(),
        writes: BTreeMap::new(),
        notes: Vec::new(),
        wrong: Vec::new(),
        start: Instant::now(),
        acknowledged,
        noted,
        waiting: 0,
        said: BTreeMap::new(),
    };
    control.soak(length, Dice(seed));
    control.end()
}

/// The pools, the key, the first source and its fence.
fn prepare(folder: &Path) -> Place {
    let disks = std::env::var("HELIX_ZFS_DISKS").expect("disks for two pools");
    for (node, disk) in NODES.iter().zip(disks.split(' ')) {
        let status = Command::new("zpool")
            .args(["create", "-f", "-m", "none", &pool(node), disk])
            .status()
            .unwrap();
        assert!(status.success(), "zpool create: {status}");
        std::fs::create_dir(folder.join(format!("mount-{node}"))).unwrap();
    }
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(folder.join("keys"))
        .unwrap();
    let place = Place::new("a", folder);
    let key = KeyMaterial::generate().unwrap();
    place.keys.store(&key_id(), KeyVersion(0), &key).unwrap();
    let data = place.zfs.dataset(place.site.data().as_str()).unwrap();
    let options = CreateOptions::filesystem()
        .user(Tenant::PROPERTY, key_id().as_str())
        .unwrap()
        .encryption(Encryption::aes_256_gcm(&key.wrapping_key()).unwrap());
    data.create(&options).unwrap();
    let until = SystemTime::now() + policy().lease;
    let first = NodeName::new("a").unwrap();
    place.fences.create(&group(), &first, until).unwrap();
    place
        .job(Operation::PromoteReplica, |capability| {
            place.site.open(capability, 1, &mut |_| {})
        })
        .unwrap();
    place
        .job(Operation::Snapshot, |capability| {
            place.site.snapshot_if_changed(capability, "first")
        })
        .unwrap();
    let other = Place::new("b", folder);
    // What a node of a group says that it is, before it has anything.
    assert!(other.site.state().unwrap().standing().is_some());
    place
}

impl Control<'_> {
    fn soak(&mut self, length: Duration, mut dice: Dice) {
        for node in 0..NODES.len() {
            self.starts(node);
        }
        let mut next = Instant::now() + Duration::from_secs(20);
        let mut minute = 1;
        let mut hand_over: Option<(usize, Instant)> = None;
        while self.start.elapsed() < length {
            self.listens(Duration::from_millis(200));
            if self.start.elapsed() >= Duration::from_secs(60 * minute) {
                minute += 1;
                self.counters.print(self.start);
            }
            for node in 0..NODES.len() {
                if self.down_until[node].is_some_and(|until| Instant::now() >= until) {
                    self.starts(node);
                }
            }
            if let Some((replica, at)) = hand_over {
                if Instant::now() >= at {
                    self.asks(replica, "promote");
                    hand_over = None;
                }
            }
            if Instant::now() < next {
                continue;
            }
            next = Instant::now() + Duration::from_millis(3000 + dice.of(25_000));
            let source = self.source();
            match dice.of(20) {
                // By hand, with the source's leave.
                0 | 1 if hand_over.is_none() => {
                    self.counters.add("hand-overs", 1);
                    self.asks(source, "hand-over");
                    let later = Duration::from_secs(2 + dice.of(4));
                    hand_over = Some((1 - source, Instant::now() + later));
                }
                // By itself: the source stays away.
                2 => {
                    self.counters.add("absences", 1);
                    self.kills(source, Duration::from_secs(40 + dice.of(40)));
                }
                3..=9 => {
                    let down = Duration::from_millis(dice.of(3000));
                    self.kills(dice.of(2) as usize, down);
                }
                _ => {}
            }
        }
    }

    /// The node that holds the fence.
    fn source(&self) -> usize {
        let fence = self.place.fences.read(&group()).unwrap().unwrap();
        usize::from(fence.holder.as_str() == NODES[1])
    }

    fn starts(&mut self, node: usize) {
        self.down_until[node] = None;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--node", NODES[node]])
            .arg(self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.stdout.take().unwrap();
        let sender = self.sender.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send((node, line)).is_err() {
                    return;
                }
            }
        });
        let input = child.stdin.take().unwrap();
        self.running[node] = Some(Running { child, input });
        self.counters.add("starts", 1);
    }

    fn kills(&mut self, node: usize, down: Duration) {
        let Some(mut running) = self.running[node].take() else {
            return;
        };
        running.child.kill().unwrap();
        running.child.wait().unwrap();
        self.counters.add("kills", 1);
        self.down_until[node] = Some(Instant::now() + down);
    }

    fn asks(&mut self, node: usize, command: &str) {
        if let Some(running) = &mut self.running[node] {
            // It may die at this moment.
            let _ = writeln!(running.input, "{command}");
        }
    }

    /// Takes what the nodes say, for so long.
    fn listens(&mut self, length: Duration) {
        let end = Instant::now() + length;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok((node, line)) => self.hears(node, &line),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => unreachable!("this has a sender"),
            }
        }
        while let Ok(noted) = self.noted.try_recv() {
            self.takes(noted);
        }
        for (node, name) in NODES.iter().enumerate() {
            let running = self.running[node].as_mut();
            let ended = running.and_then(|running| running.child.try_wait().unwrap());
            if let Some(status) = ended {
                self.wrong.push(format!("{name} ended by itself: {status}"));
                self.starts(node);
            }
        }
    }

    fn takes(&mut self, noted: Result<Note, String>) {
        self.waiting -= 1;
        match noted {
            Ok(note) => {
                self.counters.add("noted", 1);
                self.notes.push(note);
            }
            Err(why) => self.wrong.push(why),
        }
    }

    fn hears(&mut self, node: usize, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["acknowledged", guid, name] => {
                self.counters.add("acknowledged", 1);
                self.waiting += 1;
                let guid = guid.parse().unwrap();
                self.acknowledged.send((guid, name.to_owned())).unwrap();
            }
            ["wrote", epoch, start, end, bytes] => {
                let number = |word: &str| word.parse::<u64>().unwrap();
                let (start, end) = (number(start), number(end));
                self.counters.add("writes", 1);
                self.counters.add("written-bytes", number(bytes));
                let times = self.writes.entry(number(epoch)).or_insert((start, end));
                times.0 = times.0.min(start);
                times.1 = times.1.max(end);
            }
            ["count", what] => self.counters.add(what, 1),
            ["role", role, epoch] => {
                self.counters.add(&format!("became-{role}"), 1);
                let seconds = self.start.elapsed().as_secs();
                println!(
                    "soak: {seconds} s: {} is {role}, epoch {epoch}",
                    NODES[node]
                );
            }
            _ => {
                let times = self.said.entry(line.to_owned()).or_default();
                *times += 1;
                if *times <= 3 {
                    let seconds = self.start.elapsed().as_secs();
                    println!("soak: {seconds} s: {}: {line}", NODES[node]);
                }
            }
        }
    }

    /// Lets the nodes agree once more, stops them, and looks at everything.
    fn end(mut self) -> bool {
        println!("soak: the kills are over");
        // Whatever keeps them from it is to be seen, however often it was said before.
        self.said.clear();
        for node in 0..NODES.len() {
            if self.running[node].is_none() {
                self.starts(node);
            }
        }
        let before = self.count("acknowledged");
        let settling = Instant::now();
        let mut asked = settling;
        while self.count("acknowledged") < before + 2 && settling.elapsed() < SETTLING {
            self.listens(Duration::from_millis(200));
            // A source that has handed over waits for its successor, who may have refused to follow
            // because it was not ready. Whoever asked for it has to ask again.
            if asked.elapsed() > ASKS_AGAIN {
                asked = Instant::now();
                let replica = 1 - self.source();
                self.asks(replica, "promote");
            }
        }
        if self.count("acknowledged") < before + 2 {
            self.wrong.push("the nodes did not agree again".to_owned());
        }
        let source = self.source();
        for node in 0..NODES.len() {
            self.kills(node, Duration::ZERO);
        }
        self.listens(Duration::from_secs(1));
        while self.waiting > 0 {
            let noted = self.noted.recv().unwrap();
            self.takes(noted);
        }
        self.overlaps();
        let Verdict {
            equal,
            different,
            lost,
        } = look(&self.place.zfs, NODES[source], &self.notes);
        let replica = look(&self.place.zfs, NODES[1 - source], &self.notes);
        println!("soak: at the source: {equal} equal, {different} different, {lost} lost");
        println!("soak: at the replica: {replica:?}");
        if different + lost + replica.different > 0 || equal == 0 {
            self.wrong
                .push("acknowledged snapshots are not what they were".to_owned());
        }
        match AuditLog::verify(self.folder.join("audit.log"), &[]) {
            Ok(report) if report.is_whole() => println!("soak: the audit log is whole"),
            other => self.wrong.push(format!("the audit log: {other:?}")),
        }
        self.counters.print(self.start);
        for what in [
            "acknowledged",
            "kills",
            "replications",
            "rotations",
            "became-promoted",
            "became-rebuilding",
        ] {
            if self.count(what) == 0 {
                self.wrong.push(format!("no {what}"));
            }
        }
        for why in &self.wrong {
            println!("soak: WRONG: {why}");
        }
        self.wrong.is_empty()
    }

    fn count(&self, what: &str) -> u64 {
        self.counters.0.get(what).copied().unwrap_or(0)
    }

    /// A write of one epoch ends before the first of the next begins.
    fn overlaps(&mut self) {
        let mut last: Option<(u64, u64)> = None;
        for (epoch, (start, end)) in &self.writes {
            if let Some((before, ended)) = last.filter(|(_, ended)| ended > start) {
                let why = format!(
                    "a write of epoch {before} ended at {ended}, and one of epoch {epoch} began at {start}"
                );
                self.wrong.push(why);
            }
            last = Some((*epoch, *end));
        }
    }
}
