//! Replications that are cut at a random byte, get a bit flipped, or lose one side to SIGKILL at a
//! random moment: readers never see anything but a snapshot of the source, and a run that nothing
//! disturbs always completes.

#![allow(clippy::indexing_slicing, reason = "a test that cannot go on fails")]

use super::pair::{Files, Pair};
use crate::support::{may, noise, unique, zfs};
use helix_zfs::gate::Operation;
use helix_zfs::replicate::{Job, Outcome, Replicator, Source};
use helix_zfs::zfs_core::DatasetName;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How many disturbed runs there are. Two hundred take several minutes in an emulated guest.
const RUNS: &str = "HELIX_ZFS_CHAOS_RUNS";
const DEFAULT_RUNS: usize = 16;
/// As many datasets are replicated side by side.
const LANES: usize = 4;

/// Tells this program to be one side of a run: its role, and the names of source and target. The
/// channel is its standard input.
const ROLE: &str = "HELIX_ZFS_TEST_CHAOS";
const TEST: &str = "replicate::chaos::readers_never_see_what_the_source_did_not_have";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    Cut,
    Flip,
    KillSource,
    KillTarget,
}

const TROUBLES: [Trouble; 4] = [
    Trouble::Cut,
    Trouble::Flip,
    Trouble::KillSource,
    Trouble::KillTarget,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    There,
    Back,
}

/// Numbers that are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }
}

/// One side of a run, and what it says at its end.
fn side(role: &str, channel: UnixStream) -> String {
    let words: Vec<&str> = role.split(' ').collect();
    let [role, source, target] = words[..] else {
        panic!("{role}")
    };
    let source = DatasetName::new(source).unwrap();
    match role {
        "source" => match Source::new(&zfs())
            .offer(&source)
            .serve(may(Operation::Send, &source), channel)
        {
            Ok(_) => String::from("complete"),
            Err(error) => format!("{:?}", error.problem()),
        },
        _ => {
            let job = Job::new(&source, &DatasetName::new(target).unwrap());
            let receive = may(Operation::Receive, job.target());
            match Replicator::new(&zfs()).pull(receive, channel, &job) {
                Ok(Outcome { replicated, .. }) => {
                    let mut said = String::from("complete");
                    if replicated.iter().any(|step| step.repeated > 0) {
                        said += ", a frame sent again";
                    }
                    if replicated.iter().any(|step| step.resumed) {
                        said += ", resumed";
                    }
                    said
                }
                Err(error) => format!("{:?}", error.problem()),
            }
        }
    }
}

/// One side of a run, in a process of its own.
fn play(role: &str) -> ! {
    let channel = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    let said = side(role, UnixStream::from(channel));
    let mut stdout = std::io::stdout();
    writeln!(stdout, "\nsaid: {said}").unwrap();
    std::process::exit(0);
}

fn start(role: &str, channel: UnixStream) -> Child {
    // The command keeps the channel open as long as it lives.
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", TEST, "--nocapture"])
        .env(ROLE, role)
        .stdin(OwnedFd::from(channel))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// What a process said at its end, or that it was killed.
fn ending(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().find_map(|line| line.strip_prefix("said: ")) {
        Some(said) => said.to_owned(),
        None if output.status.code().is_none() => String::from("killed"),
        None => panic!(
            "{}: {text}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ),
    }
}

/// How long a run may take. One takes seconds.
const PATIENCE: Duration = Duration::from_secs(180);

/// Ends the program, and tells where each thread of each side waits, when a run does not end.
fn watch(ended: &mpsc::Receiver<()>) {
    if ended.recv_timeout(PATIENCE) != Err(mpsc::RecvTimeoutError::Timeout) {
        return;
    }
    let mut text = String::from("\na replication does not end:\n");
    let ours = std::fs::read_to_string("/proc/self/comm").unwrap_or_default();
    for process in list("/proc") {
        let read = |path: String| std::fs::read(path).unwrap_or_default();
        if read(format!("{process}/comm")) != ours.as_bytes() {
            continue;
        }
        let role = read(format!("{process}/environ"));
        let role = role.split(|byte| *byte == 0);
        let role = role.filter_map(|var| std::str::from_utf8(var).ok());
        let role: Vec<&str> = role.filter(|var| var.starts_with(ROLE)).collect();
        writeln!(text, "{process} {role:?}").unwrap();
        for task in list(&format!("{process}/task")) {
            for file in ["comm", "syscall", "stack"] {
                let contents = read(format!("{task}/{file}"));
                text += &String::from_utf8_lossy(&contents);
            }
        }
    }
    std::io::stderr().write_all(text.as_bytes()).unwrap();
    std::process::abort();
}

fn list(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path().display().to_string())
        .collect()
}

/// Passes on what comes, counts it, and does what is to be done at a byte.
fn pump(
    mut from: &UnixStream,
    mut to: &UnixStream,
    count: &AtomicU64,
    at: Option<(Trouble, Way, u64)>,
) {
    let mut buffer = vec![0; 64 << 10];
    let mut passed = 0;
    while let Ok(mut len @ 1..) = from.read(&mut buffer) {
        let now = at.and_then(|(trouble, _, at)| {
            let index = usize::try_from(at.checked_sub(passed)?).ok()?;
            (index < len).then_some((trouble, index))
        });
        match now {
            Some((Trouble::Cut, index)) => len = index,
            Some((_, index)) => buffer[index] ^= 1 << (index % 8),
            None => {}
        }
        passed += len as u64;
        count.store(passed, Ordering::Relaxed);
        if to.write_all(&buffer[..len]).is_err() || matches!(now, Some((Trouble::Cut, _))) {
            break;
        }
    }
    // Neither side waits for the other when one is gone.
    for end in [from, to] {
        let _ = end.shutdown(Shutdown::Both);
    }
}

/// One dataset and what happens to it.
struct Lane {
    pair: Pair,
    dice: Dice,
    /// The files of each snapshot, by its GUID.
    snapshots: HashMap<u64, Files>,
    newest: u64,
    /// The GUID of the dataset that readers saw last.
    checked: u64,
    /// How many bytes went from the source to the target, and how long it took, when nothing
    /// disturbed a run.
    traffic: u64,
    time: Duration,
    table: BTreeMap<(Trouble, String), usize>,
    cut: usize,
    resumed: usize,
}

impl Lane {
    fn new(number: usize) -> Self {
        let topic = format!("chaos-{number}");
        Self {
            pair: match number % 2 {
                0 => Pair::encrypted(&topic),
                _ => Pair::plain(&topic),
            },
            dice: Dice((number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)),
            snapshots: HashMap::new(),
            newest: 0,
            checked: 0,
            traffic: 0,
            time: Duration::ZERO,
            table: BTreeMap::new(),
            cut: 0,
            resumed: 0,
        }
    }

    /// A new snapshot of files that changed.
    fn change(&mut self) {
        let seed = u64::from(unique());
        for _ in 0..3 {
            let file = format!("file-{}", self.dice.below(4));
            self.pair.write(&file, noise(700_000, seed ^ self.dice.0));
        }
        let small = self.pair.mount().path("small");
        match self.dice.below(3) {
            0 => drop(std::fs::remove_file(small)),
            _ => self.pair.write("small", format!("{seed}")),
        }
        let (snapshot, files) = self.pair.snapshot(&format!("s{seed}"));
        self.newest = snapshot.stat().unwrap().guid;
        self.snapshots.insert(self.newest, files);
    }

    /// A run, in two processes if one of them is to be killed.
    fn run(&mut self, trouble: Option<Trouble>) -> (String, String) {
        let (source_end, source) = UnixStream::pair().unwrap();
        let (target_end, target) = UnixStream::pair().unwrap();
        let (data, copy) = (self.pair.data.name(), &self.pair.target);
        let roles = ["source", "target"].map(|role| format!("{role} {data} {copy}"));
        let at = match trouble {
            // Most of the bytes go one way, and each way is disturbed.
            Some(trouble @ (Trouble::Cut | Trouble::Flip)) => Some(match self.dice.below(5) {
                0 => (trouble, Way::Back, self.dice.below(1000)),
                _ => (trouble, Way::There, self.dice.below(self.traffic)),
            }),
            _ => None,
        };
        let moment = self.time.mul_f64(self.dice.below(1100) as f64 / 1000.0);
        let counted = AtomicU64::new(0);
        let begun = Instant::now();
        let (running, ended) = mpsc::channel();
        let endings = std::thread::scope(|scope| {
            let _running = running;
            scope.spawn(move || watch(&ended));
            let (source_end, target_end, counted) = (&source_end, &target_end, &counted);
            let on = |way| move |at: &(Trouble, Way, u64)| at.1 == way;
            let (there, back) = (at.filter(on(Way::There)), at.filter(on(Way::Back)));
            scope.spawn(move || pump(source_end, target_end, counted, there));
            scope.spawn(move || pump(target_end, source_end, &AtomicU64::new(0), back));
            if at.is_some() {
                let served = scope.spawn(|| side(&roles[0], source));
                let pulled = side(&roles[1], target);
                return (served.join().unwrap(), pulled);
            }
            let mut source = start(&roles[0], source);
            let mut target = start(&roles[1], target);
            if let Some(trouble) = trouble {
                std::thread::sleep(moment);
                let victim = match trouble {
                    Trouble::KillSource => &mut source,
                    _ => &mut target,
                };
                victim.kill().unwrap();
            }
            let source = ending(source);
            (source, ending(target))
        });
        if trouble.is_none() {
            self.traffic = counted.load(Ordering::Relaxed);
            self.time = begun.elapsed();
        }
        endings
    }

    /// What readers see is a snapshot of the source, and nothing but that.
    fn check(&mut self) -> Option<u64> {
        let current = self.pair.of_target("current");
        if !current.exists().unwrap() {
            return None;
        }
        let current = current.stat().unwrap();
        let origin = zfs().snapshot(current.origin.unwrap().as_str()).unwrap();
        let guid = origin.stat().unwrap().guid;
        // It is read-only: the same dataset has the same files.
        if current.guid != self.checked {
            let files = self.snapshots.get(&guid).expect("a snapshot of the source");
            let same = self.pair.readers().files() == *files;
            assert!(same, "{origin:?} differs from its source");
            self.checked = current.guid;
        }
        Some(guid)
    }

    /// Whether a receive can be resumed.
    fn is_cut(&self) -> bool {
        let chain = self.pair.of_target("chain");
        chain.exists().unwrap() && chain.resume_token().unwrap().is_some()
    }

    fn undisturbed(&mut self) {
        let outcome = self.pair.replicate();
        self.resumed += outcome
            .replicated
            .iter()
            .filter(|step| step.resumed)
            .count();
        assert_eq!(self.check(), Some(self.newest));
    }

    fn live(&mut self, runs: usize) {
        // All of it, and then an increment, which is what most runs transfer.
        for _ in 0..2 {
            self.change();
            let (source, target) = self.run(None);
            assert_eq!((&*source, &*target), ("complete", "complete"));
            assert_eq!(self.check(), Some(self.newest));
        }
        for _ in 0..runs {
            // Sometimes what was disturbed is disturbed again.
            if self.dice.below(3) > 0 {
                self.change();
            }
            let trouble = TROUBLES[usize::try_from(self.dice.below(4)).unwrap()];
            let (source, target) = self.run(Some(trouble));
            let ended = match trouble {
                Trouble::KillTarget => format!("target {target}, source {source}"),
                _ => format!("target {target}"),
            };
            *self.table.entry((trouble, ended)).or_default() += 1;
            self.cut += usize::from(self.is_cut());
            self.check();
            if self.dice.below(2) == 0 {
                self.undisturbed();
            }
        }
        self.undisturbed();
    }
}

#[test]
fn readers_never_see_what_the_source_did_not_have() {
    if let Ok(role) = std::env::var(ROLE) {
        play(&role);
    }
    let runs = match std::env::var(RUNS) {
        Ok(runs) => runs.parse().expect("a number of runs"),
        Err(_) => DEFAULT_RUNS,
    };
    let lanes: Vec<Lane> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES)
            .map(|number| {
                scope.spawn(move || {
                    let mut lane = Lane::new(number);
                    lane.live((runs + number) / LANES);
                    lane
                })
            })
            .collect();
        lanes
            .into_iter()
            .map(|lane| {
                lane.join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    });
    let mut table: BTreeMap<(Trouble, String), usize> = BTreeMap::new();
    for (key, count) in lanes.iter().flat_map(|lane| &lane.table) {
        *table.entry(key.clone()).or_default() += count;
    }
    let cut: usize = lanes.iter().map(|lane| lane.cut).sum();
    let resumed: usize = lanes.iter().map(|lane| lane.resumed).sum();
    let snapshots: usize = lanes.iter().map(|lane| lane.snapshots.len()).sum();
    let mut text = format!("\n{runs} disturbed replications of {snapshots} snapshots:\n");
    for ((trouble, ended), count) in &table {
        writeln!(text, "{count:5}  {trouble:?}: {ended}").unwrap();
    }
    writeln!(text, "{cut:5}  left a receive that can be resumed").unwrap();
    writeln!(
        text,
        "{resumed:5}  of these were, by a run that nothing disturbed"
    )
    .unwrap();
    // Not kept back as what tests print is.
    std::io::stderr().write_all(text.as_bytes()).unwrap();
    assert_eq!(table.values().sum::<usize>(), runs);
    for trouble in TROUBLES {
        let met = table.keys().any(|(kind, _)| *kind == trouble);
        assert!(met || runs < 50, "no {trouble:?} among {runs} runs");
    }
    assert!(resumed > 0 || runs < 50);
}
