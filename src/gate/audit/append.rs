use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::{MutexGuard, PoisonError};
use std::time::SystemTime;

use rustix::fs::FlockOperation;

use super::record::{self, MAX_LINE};
use super::tail::{self, Rest, Tail};
use super::{AuditError, AuditEvent, AuditHash, AuditKind, AuditLog, AuditMark, AuditStats};
use super::{Locked, io_error};

type Outcome = Result<Vec<AuditMark>, AuditError>;

/// What those that append have in common.
#[derive(Debug)]
pub(super) struct State {
    /// How the file ended when it was written last. Other processes may have written since.
    tail: Tail,
    /// Events that wait for somebody to write them, each caller's behind its ticket.
    waiting: Vec<(u64, Vec<AuditEvent>)>,
    /// Of those whose events were written, until they have seen it.
    finished: BTreeMap<u64, Outcome>,
    next_ticket: u64,
    /// Somebody writes.
    led: bool,
    failed: Option<String>,
    stats: AuditStats,
}

impl State {
    pub(super) fn new(tail: Tail) -> Self {
        Self {
            tail,
            waiting: Vec::new(),
            finished: BTreeMap::new(),
            next_ticket: 0,
            led: false,
            failed: None,
            stats: AuditStats::default(),
        }
    }
}

impl AuditLog {
    /// Appends records of `events`, one after the other, and returns when they are on disk.
    ///
    /// Callers that append at the same time share one wait for the disk.
    ///
    /// # Errors
    ///
    /// `Gone` when the file was moved, removed or shortened; `Damaged` when another process left
    /// something else than records; `Io`, and from then on `Failed` if the disk did not take what was
    /// written.
    pub fn append(&self, events: Vec<AuditEvent>) -> Result<Vec<AuditMark>, AuditError> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let mut state = self.lock();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.waiting.push((ticket, events));
        loop {
            if let Some(outcome) = state.finished.remove(&ticket) {
                return outcome;
            }
            if state.led {
                state = self
                    .shared
                    .done
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.led = true;
            let batch = std::mem::take(&mut state.waiting);
            let before = state.tail;
            let failed = state.failed.clone();
            drop(state);
            let written = match failed {
                Some(why) => Err((self.failed(why), false)),
                None => self.write(before, &batch),
            };
            state = self.lock();
            self.finish(&mut state, batch, written);
        }
    }

    /// How much was written through this log, by all threads of this process, since it was opened.
    #[must_use]
    pub fn stats(&self) -> AuditStats {
        self.lock().stats
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What is in there is whole between any two statements.
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, why: String) -> AuditError {
        AuditError::Failed {
            path: self.shared.path.clone(),
            why,
        }
    }

    fn finish(
        &self,
        state: &mut State,
        batch: Vec<(u64, Vec<AuditEvent>)>,
        written: Result<(Tail, Vec<AuditMark>), (AuditError, bool)>,
    ) {
        state.led = false;
        match written {
            Ok((tail, marks)) => {
                state.tail = tail;
                state.stats.syncs += 1;
                state.stats.records += marks.len() as u64;
                let mut marks = marks.into_iter();
                for (ticket, events) in batch {
                    let own = marks.by_ref().take(events.len()).collect();
                    state.finished.insert(ticket, Ok(own));
                }
            }
            Err((error, for_good)) => {
                if for_good {
                    state.failed = Some(error.to_string());
                }
                for (ticket, _) in batch {
                    state.finished.insert(ticket, Err(error.clone()));
                }
            }
        }
        self.shared.done.notify_all();
    }

    /// Writes a batch. An error comes with whether it is not known what is on disk.
    fn write(
        &self,
        before: Tail,
        batch: &[(u64, Vec<AuditEvent>)],
    ) -> Result<(Tail, Vec<AuditMark>), (AuditError, bool)> {
        let (path, file) = (&self.shared.path, &self.shared.file);
        let known = |error| (error, false);
        let _locked = Locked::new(path, file, FlockOperation::LockExclusive).map_err(known)?;
        let tail = current(path, file, before).map_err(known)?;
        let events = batch.iter().flat_map(|(_, events)| events);
        add(path, file, tail, events)
    }
}

/// How the file ends now. It must be locked.
fn current(path: &Path, file: &File, before: Tail) -> Result<Tail, AuditError> {
    let gone = |why| AuditError::Gone {
        path: path.to_owned(),
        why,
    };
    let here = file.metadata().map_err(io_error("read", path))?;
    let there = std::fs::symlink_metadata(path).map_err(|_| gone("it was moved or removed"))?;
    if (here.dev(), here.ino()) != (there.dev(), there.ino()) {
        return Err(gone("another file is in its place"));
    }
    match here.len() {
        len if len == before.len => Ok(before),
        len if len < before.len => Err(gone("it was shortened")),
        len => tail_of(path, file, len),
    }
}

fn tail_of(path: &Path, file: &File, len: u64) -> Result<Tail, AuditError> {
    tail::read(file, len)
        .map_err(io_error("read", path))?
        .map_err(|why| AuditError::Damaged {
            path: path.to_owned(),
            why,
        })
}

/// Appends records of `events`, behind what is needed to go on from how the file ends.
fn add<'a>(
    path: &Path,
    mut file: &File,
    tail: Tail,
    events: impl IntoIterator<Item = &'a AuditEvent>,
) -> Result<(Tail, Vec<AuditMark>), (AuditError, bool)> {
    let record_error = |error: serde_json::Error| {
        let error = AuditError::Record {
            path: path.to_owned(),
            why: error.to_string(),
        };
        (error, false)
    };
    let now = SystemTime::now();
    let mut bytes = Vec::new();
    let mut last = tail.last;
    if tail.rest != Rest::Nothing {
        bytes.push(b'\n');
    }
    if let Rest::Torn { len, hash } = tail.rest {
        let mut torn = AuditEvent::new(AuditKind::Torn);
        torn.reason = Some(record::torn_reason(len, hash));
        last = record::write(&torn, last, now, &mut bytes).map_err(record_error)?;
    }
    let mut marks = Vec::new();
    for event in events {
        last = record::write(event, last, now, &mut bytes).map_err(record_error)?;
        marks.push(last);
    }
    if let Err(error) = file.write_all(&bytes) {
        // Nobody was told that any of it is there.
        let undone = file.set_len(tail.len);
        return Err((io_error("write", path)(error), undone.is_err()));
    }
    file.sync_data()
        .map_err(|error| (io_error("sync", path)(error), true))?;
    let tail = Tail {
        len: tail.len + bytes.len() as u64,
        last,
        rest: Rest::Nothing,
    };
    Ok((tail, marks))
}

/// Makes an end of the file that can be appended to: how it ends then, and the log's identity.
pub(super) fn begin(path: &Path, file: &File) -> Result<(Tail, AuditHash), AuditError> {
    let _locked = Locked::new(path, file, FlockOperation::LockExclusive)?;
    let len = file.metadata().map_err(io_error("read", path))?.len();
    let tail = tail_of(path, file, len)?;
    let first = match tail.last.seq {
        0 => vec![beginning(path)?],
        _ => Vec::new(),
    };
    let tail = match (tail.rest, first.is_empty()) {
        (Rest::Nothing, true) => tail,
        _ => add(path, file, tail, &first).map_err(|(error, _)| error)?.0,
    };
    Ok((tail, first_hash(path, file)?))
}

/// What a log begins with: a number that no other log has.
fn beginning(path: &Path) -> Result<AuditEvent, AuditError> {
    let mut number = [0; 16];
    getrandom::fill(&mut number)
        .map_err(|error| io_error("make", path)(std::io::Error::other(error)))?;
    let mut event = AuditEvent::new(AuditKind::Begin);
    event.reason = Some(format!("{:032x}", u128::from_be_bytes(number)));
    Ok(event)
}

/// The hash of the record at the beginning.
fn first_hash(path: &Path, file: &File) -> Result<AuditHash, AuditError> {
    let mut bytes = vec![0; MAX_LINE];
    let mut len = 0;
    while let Some(room) = bytes.get_mut(len..).filter(|room| !room.is_empty()) {
        match file
            .read_at(room, len as u64)
            .map_err(io_error("read", path))?
        {
            0 => break,
            read => len += read,
        }
    }
    // Behind what was torn before the log had a beginning.
    bytes
        .split(|byte| *byte == b'\n')
        .find_map(record::read)
        .map(|record| record.hash)
        .ok_or_else(|| AuditError::Damaged {
            path: path.to_owned(),
            why: "it has no beginning".to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_append_at_the_same_time_share_a_wait_for_the_disk() {
        const CALLERS: u64 = 64;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let log = AuditLog::open(&path).unwrap();
        // Another process, as far as the lock can tell.
        let other = File::open(&path).unwrap();
        let locked = Locked::new(&path, &other, FlockOperation::LockExclusive).unwrap();
        std::thread::scope(|scope| {
            let callers: Vec<_> = (0..CALLERS)
                .map(|_| scope.spawn(|| log.append(vec![AuditEvent::new(AuditKind::Use)])))
                .collect();
            // The first writes already, and the others wait to be written.
            loop {
                let state = log.lock();
                if state.led && state.next_ticket == CALLERS {
                    break;
                }
                drop(state);
                std::thread::yield_now();
            }
            drop(locked);
            let mut numbers: Vec<u64> = callers
                .into_iter()
                .map(|caller| caller.join().unwrap().unwrap()[0].seq)
                .collect();
            numbers.sort_unstable();
            // The log's beginning is the first.
            assert_eq!(numbers, (2..=CALLERS + 1).collect::<Vec<_>>());
        });
        let stats = log.stats();
        assert_eq!(stats.records, CALLERS);
        assert_eq!(stats.syncs, 2);
    }
}
