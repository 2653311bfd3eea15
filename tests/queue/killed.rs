//! Workers that die by SIGKILL at random moments, many times.
//!
//! Each worker is this program again. It writes down what it was told by the queue, after it was
//! told, and that it has a lease before it does anything with it. At the end the queue must agree
//! with what all of them wrote down.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use helix_zfs::gate::{
    JobFilter, JobId, JobQueue, JobState, Lease, PostgresQueue, QueueError, SqliteQueue,
};
use servers::Postgres;

use crate::contract::{LONG, spec};

const STORE: &str = "HELIX_QUEUE_STORE";
const RECORDS: &str = "HELIX_QUEUE_RECORDS";
const SEED: &str = "HELIX_QUEUE_SEED";

/// Numbers that look random, the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn open(store: &str) -> Result<Box<dyn JobQueue>, QueueError> {
    match store.split_once('=').unwrap() {
        ("sqlite", path) => Ok(Box::new(SqliteQueue::open(path)?)),
        ("postgres", url) => Ok(Box::new(PostgresQueue::connect(url)?)),
        other => panic!("{other:?}"),
    }
}

struct Worker {
    queue: Box<dyn JobQueue>,
    records: File,
    name: String,
    random: Random,
}

/// In a process that [`start`] made: works until it is killed.
fn work_if_a_worker() {
    let Ok(store) = std::env::var(STORE) else {
        return;
    };
    let path = PathBuf::from(std::env::var_os(RECORDS).unwrap());
    let records = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .unwrap();
    let queue = loop {
        match open(&store) {
            Ok(queue) => break queue,
            Err(QueueError::Unavailable { .. }) => thread::sleep(Duration::from_millis(20)),
            Err(other) => panic!("{other:?}"),
        }
    };
    let mut worker = Worker {
        queue,
        records,
        name: path.file_name().unwrap().to_string_lossy().into_owned(),
        random: Random(std::env::var(SEED).unwrap().parse().unwrap()),
    };
    // Should nobody be there any more to kill it.
    let end = Instant::now() + Duration::from_secs(120);
    while Instant::now() < end {
        match worker.step() {
            // It was somebody else's by then, or the server was away.
            Ok(()) | Err(QueueError::LeaseLost { .. }) => {}
            Err(QueueError::Unavailable { .. }) => thread::sleep(Duration::from_millis(20)),
            Err(other) => {
                worker.record(&format!("wrong {other:?}"));
                panic!("{other:?}");
            }
        }
    }
    panic!("nobody killed this process");
}

impl Worker {
    /// One line, in one write: a process that dies wrote all of it or nothing.
    fn record(&mut self, line: &str) {
        self.records
            .write_all(format!("{line}\n").as_bytes())
            .unwrap();
    }

    fn step(&mut self) -> Result<(), QueueError> {
        if self.random.below(3) == 0 {
            let attempts = if self.random.below(2) == 0 {
                3
            } else {
                u32::MAX
            };
            let id = self.queue.submit(&spec().max_attempts(attempts))?;
            self.record(&format!("submitted {id}"));
            return Ok(());
        }
        let duration = Duration::from_millis(1 + self.random.below(200));
        let Some(mut lease) = self.queue.lease(&self.name, duration, &[])? else {
            return Ok(());
        };
        let (id, token) = (lease.id().clone(), lease.token());
        self.record(&format!("leased {id} {token}"));
        match self.random.below(8) {
            0 => {
                self.queue.fail(&lease, "it happens")?;
                self.record(&format!("failed {id} {token}"));
            }
            1 => {}
            2 => self.outlive(&lease)?,
            choice => {
                if choice == 3 {
                    lease = self.queue.renew(&lease, Duration::from_millis(200))?;
                }
                self.queue.complete(&lease, &self.name)?;
                self.record(&format!("completed {id} {token}"));
            }
        }
        Ok(())
    }

    /// Comes too late with what it did.
    fn outlive(&mut self, lease: &Lease) -> Result<(), QueueError> {
        loop {
            let job = self.queue.job(lease.id())?;
            let over = job.leased_until.is_none_or(|it| it < SystemTime::now());
            if over || job.token != lease.token() {
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
        match self.queue.complete(lease, "late") {
            Err(QueueError::LeaseLost { .. }) => {
                self.record("refused");
                Ok(())
            }
            Err(other) => Err(other),
            Ok(()) => {
                self.record(&format!("wrong: a late end of {} was taken", lease.id()));
                panic!("a late end was taken");
            }
        }
    }
}

fn start(test: &str, store: &str, records: &Path, seed: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--test-threads=1", "--nocapture"])
        .env(STORE, store)
        .env(RECORDS, records)
        .env(SEED, seed.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn must_run(child: &mut Child) {
    if let Some(status) = child.try_wait().unwrap() {
        let mut told = String::new();
        let mut stderr = child.stderr.take().unwrap();
        stderr.read_to_string(&mut told).unwrap();
        panic!("a worker ended ({status}): {told}");
    }
}

/// Waits until it has written down more than `from` bytes.
fn wait_for_more(child: &mut Child, records: &Path, from: u64) {
    while fs::metadata(records).map_or(0, |it| it.len()) <= from {
        must_run(child);
        thread::sleep(Duration::from_millis(2));
    }
}

fn kill(mut child: Child) {
    must_run(&mut child);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Starts and kills workers, `rounds` times three, and calls `between` after each round.
fn kill_many(test: &str, store: &str, records: &Path, rounds: u64, mut between: impl FnMut(u64)) {
    let mut random = Random(0x5eed);
    for round in 0..rounds {
        let children: Vec<Child> = (0..3)
            .map(|it| {
                let path = records.join(format!("worker-{round}-{it}"));
                let child = start(test, store, &path, 1 + random.below(u64::MAX - 1));
                (child, path)
            })
            .map(|(mut child, path)| {
                // A kill before it has begun shows nothing.
                wait_for_more(&mut child, &path, 0);
                child
            })
            .collect();
        for child in children {
            thread::sleep(Duration::from_micros(random.below(30_000)));
            kill(child);
        }
        between(round);
    }
}

#[derive(Debug, Default)]
struct Told {
    submitted: BTreeSet<JobId>,
    /// Each lease, and its worker.
    leased: BTreeMap<(JobId, u64), String>,
    completed: BTreeMap<JobId, u64>,
    refused: usize,
}

fn read(records: &Path) -> Told {
    let mut told = Told::default();
    for entry in fs::read_dir(records).unwrap() {
        let path = entry.unwrap().path();
        let worker = path.file_name().unwrap().to_string_lossy().into_owned();
        for line in fs::read_to_string(&path).unwrap().lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["submitted", id] => assert!(told.submitted.insert(id.parse().unwrap())),
                ["leased", id, token] => {
                    let lease = (id.parse().unwrap(), token.parse().unwrap());
                    let before = told.leased.insert(lease, worker.clone());
                    assert_eq!(before, None, "{line}: two have it");
                }
                ["completed", id, token] => {
                    let before = told
                        .completed
                        .insert(id.parse().unwrap(), token.parse().unwrap());
                    assert_eq!(before, None, "{line}: it was done before");
                }
                ["failed", _, _] => {}
                ["refused"] => told.refused += 1,
                _ => panic!("{worker}: {line}"),
            }
        }
    }
    told
}

/// The queue agrees with what its workers were told, and does all that is left.
fn check(queue: &dyn JobQueue, told: &Told) -> String {
    let jobs: BTreeMap<JobId, _> = queue
        .list(&JobFilter::new())
        .unwrap()
        .into_iter()
        .map(|job| (job.id.clone(), job))
        .collect();
    for id in &told.submitted {
        assert!(jobs.contains_key(id), "{id} was acknowledged, and is lost");
    }
    for (id, token) in &told.completed {
        let job = &jobs[id];
        // A later lease would have made the token greater.
        assert_eq!((job.state, job.token), (JobState::Done, *token), "{job:?}");
    }
    for job in jobs.values() {
        match job.state {
            JobState::Done => {
                let worker = told.leased.get(&(job.id.clone(), job.token));
                assert_eq!(worker, job.worker.as_ref(), "done by another: {job:?}");
                assert_eq!(job.result, job.worker);
            }
            JobState::Dead => assert_eq!((job.attempts, job.spec.attempts()), (3, 3), "{job:?}"),
            JobState::Queued | JobState::Leased => {}
            other => panic!("{other}: {job:?}"),
        }
    }
    // Nothing is stuck.
    let left = JobFilter::new()
        .state(JobState::Queued)
        .state(JobState::Leased);
    while !queue.list(&left).unwrap().is_empty() {
        match queue.lease("last", LONG, &[]).unwrap() {
            Some(lease) => {
                assert!(!told.completed.contains_key(lease.id()), "{lease:?}");
                assert!(
                    !told
                        .leased
                        .contains_key(&(lease.id().clone(), lease.token()))
                );
                queue.complete(&lease, "last").unwrap();
            }
            None => thread::sleep(Duration::from_millis(10)),
        }
    }
    let mut text = String::new();
    for state in JobState::ALL {
        let count = queue.list(&JobFilter::new().state(state)).unwrap().len();
        write!(text, "{count} {state}, ").unwrap();
    }
    write!(
        text,
        "{} submits and {} ends acknowledged, {} leases, {} late ends refused",
        told.submitted.len(),
        told.completed.len(),
        told.leased.len(),
        told.refused
    )
    .unwrap();
    text
}

#[test]
fn sqlite_keeps_its_word_when_workers_are_killed() {
    work_if_a_worker();
    const ROUNDS: u64 = 30;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs");
    let records = folder.path().join("records");
    fs::create_dir(&records).unwrap();
    let store = format!("sqlite={}", path.display());
    let test = "killed::sqlite_keeps_its_word_when_workers_are_killed";
    kill_many(test, &store, &records, ROUNDS, |_| {});
    let told = read(&records);
    assert!(!told.completed.is_empty() && told.refused > 0, "{told:?}");
    let counts = check(&SqliteQueue::open(&path).unwrap(), &told);
    println!("{} kills: {counts}", 3 * ROUNDS);
    let sound: String = rusqlite::Connection::open(&path)
        .unwrap()
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(sound, "ok");
}

#[test]
fn postgres_keeps_its_word_when_workers_and_the_server_are_killed() {
    work_if_a_worker();
    const ROUNDS: u64 = 15;
    let server = Postgres::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let records = folder.path();
    let store = format!("postgres={}", server.url());
    let test = "killed::postgres_keeps_its_word_when_workers_and_the_server_are_killed";
    let mut servers = 0;
    kill_many(test, &store, records, ROUNDS, |round| {
        if round % 5 == 4 {
            // In the middle of this worker's work, which goes on with the next server.
            let path = records.join(format!("survivor-{round}"));
            let mut child = start(test, &store, &path, round + 1);
            wait_for_more(&mut child, &path, 500);
            server.kill().unwrap();
            let before = fs::metadata(&path).unwrap().len();
            server.restart().unwrap();
            wait_for_more(&mut child, &path, before);
            kill(child);
            servers += 1;
        }
    });
    let told = read(records);
    assert!(!told.completed.is_empty() && told.refused > 0, "{told:?}");
    let counts = check(&PostgresQueue::connect(&server.url()).unwrap(), &told);
    println!("{} kills, {servers} of the server: {counts}", 3 * ROUNDS);
}
