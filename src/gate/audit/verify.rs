use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Take};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde::Serialize;

use super::record::{self, MAX_LINE};
use super::{AuditAnchor, AuditError, AuditHash, AuditKind, AuditLog, AuditMark, AuditRecord};
use super::{Locked, io_error};

/// Where a log is broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AuditBreak {
    /// The line of the file, from 1; none when it is what the log ends with that is wrong.
    pub line: Option<u64>,
    /// The last record before that.
    pub after: u64,
    /// What is wrong.
    pub why: String,
}

/// What [`AuditLog::verify`] found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AuditReport {
    /// The log's [`id`](AuditLog::id). None of an empty file.
    pub log: Option<AuditHash>,
    /// How many records are in order.
    pub records: u64,
    /// The last of them.
    pub last: Option<AuditMark>,
    /// How often the log was continued after something that was not written to its end.
    pub torn: u64,
    /// Whether its end was not written to the end. The next process that opens it continues it.
    pub open_end: bool,
    /// How many anchors agree with their records.
    pub anchors: u64,
    /// Other logs that anchors of the same user are of. If the user has never had another log, then
    /// somebody has put this one in its place.
    pub others: Vec<AuditHash>,
    /// Where the log is broken, if it is. What comes after was not looked at.
    pub broken: Option<AuditBreak>,
}

impl AuditReport {
    /// Whether nothing is wrong with the log.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.broken.is_none()
    }
}

/// What is in a log up to where it ended when it was opened.
#[derive(Debug)]
struct Lines {
    path: PathBuf,
    reader: BufReader<Take<File>>,
    /// How many lines were read.
    line: u64,
}

/// A line, and whether it ends with a newline.
type Line = (Vec<u8>, bool);

impl Lines {
    fn open(path: &Path) -> Result<Self, AuditError> {
        let file = File::open(path).map_err(io_error("open", path))?;
        // Between the writes of others.
        let len = {
            let _locked = Locked::new(path, &file, FlockOperation::LockShared)?;
            file.metadata().map_err(io_error("read", path))?.len()
        };
        Ok(Self {
            path: path.to_owned(),
            reader: BufReader::new(file.take(len)),
            line: 0,
        })
    }

    /// The next line, or as much of it as a line may have.
    fn next(&mut self) -> Result<Option<Line>, AuditError> {
        let mut line = Vec::new();
        self.reader
            .by_ref()
            .take(MAX_LINE as u64 + 1)
            .read_until(b'\n', &mut line)
            .map_err(io_error("read", &self.path))?;
        if line.is_empty() {
            return Ok(None);
        }
        self.line += 1;
        let ended = line.last() == Some(&b'\n');
        if ended {
            line.pop();
        }
        Ok(Some((line, ended)))
    }
}

/// Bytes that belong to no record, until a record says that they were torn.
#[derive(Default)]
struct Stray {
    len: u64,
    hasher: blake3::Hasher,
    first_line: Option<u64>,
    /// Whether a newline that is not known to belong to them comes next.
    newline: bool,
    /// Whether there are zeros among them, of blocks that never came to the disk.
    zeros: bool,
}

impl Stray {
    fn add(&mut self, number: u64, (line, ended): &Line) {
        let mut add = |bytes: &[u8]| {
            self.len += bytes.len() as u64;
            self.hasher.update(bytes);
        };
        if self.newline {
            add(b"\n");
        }
        add(line);
        self.newline = *ended;
        self.zeros |= line.contains(&0);
        self.first_line.get_or_insert(number);
    }

    /// Whether `record` says that they were torn.
    fn is_told_by(&self, record: &AuditRecord) -> bool {
        let hash = AuditHash::finished(&self.hasher);
        record.kind == AuditKind::Torn
            && record.reason.as_deref() == Some(&record::torn_reason(self.len, hash))
    }
}

impl AuditLog {
    /// Verifies all of the log `path`: that each record's hash is right, that each follows the one
    /// before, and that the records that `anchors` name are there and have the hashes that they say.
    ///
    /// Without anchors it is not seen when the end was cut off, or all written anew. Anchors of users
    /// that the log does not belong to are passed over: see [`AuditAnchor::read`].
    ///
    /// # Errors
    ///
    /// `Io`. That the log is broken is [`AuditReport::broken`], and no error.
    pub fn verify(
        path: impl AsRef<Path>,
        anchors: &[AuditAnchor],
    ) -> Result<AuditReport, AuditError> {
        Verification::new(path.as_ref(), anchors)?.run()
    }

    /// The records of the log `path`, oldest first, as they are: only the hash of each is checked, and
    /// what is no record is passed over. [`verify`](Self::verify) says whether something is missing.
    ///
    /// Memory is bounded by the longest line.
    ///
    /// # Errors
    ///
    /// `Io`; the iterator ends after the first error.
    pub fn read(path: impl AsRef<Path>) -> Result<AuditRecords, AuditError> {
        Ok(AuditRecords {
            lines: Some(Lines::open(path.as_ref())?),
        })
    }
}

/// The records of a log: see [`AuditLog::read`].
#[derive(Debug)]
pub struct AuditRecords {
    lines: Option<Lines>,
}

impl Iterator for AuditRecords {
    type Item = Result<AuditRecord, AuditError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.lines.as_mut()?.next() {
                Ok(Some((line, _))) => {
                    if let Some(record) = record::read(&line) {
                        return Some(Ok(record));
                    }
                }
                Ok(None) => self.lines = None,
                Err(error) => {
                    self.lines = None;
                    return Some(Err(error));
                }
            }
        }
    }
}

struct Verification<'a> {
    lines: Lines,
    owner: u64,
    all: &'a [AuditAnchor],
    /// Those of this log, by the record's number, which were not met yet.
    anchors: BTreeMap<u64, Vec<AuditHash>>,
    last: AuditMark,
    report: AuditReport,
}

impl<'a> Verification<'a> {
    fn new(path: &Path, anchors: &'a [AuditAnchor]) -> Result<Self, AuditError> {
        let lines = Lines::open(path)?;
        let metadata = lines
            .reader
            .get_ref()
            .get_ref()
            .metadata()
            .map_err(io_error("read", path))?;
        Ok(Self {
            lines,
            owner: u64::from(std::os::unix::fs::MetadataExt::uid(&metadata)),
            all: anchors,
            anchors: BTreeMap::new(),
            last: AuditMark::NONE,
            report: AuditReport {
                log: None,
                records: 0,
                last: None,
                torn: 0,
                open_end: false,
                anchors: 0,
                others: Vec::new(),
                broken: None,
            },
        })
    }

    fn run(mut self) -> Result<AuditReport, AuditError> {
        let mut stray = Stray::default();
        while let Some(line) = self.lines.next()? {
            let number = self.lines.line;
            let Some(record) = record::read(&line.0) else {
                stray.add(number, &line);
                continue;
            };
            let told = stray.is_told_by(&record);
            if let (Some(first), false) = (stray.first_line, told) {
                return Ok(self.broken(Some(first), "it is no record".to_owned()));
            }
            if record.kind == AuditKind::Torn && stray.first_line.is_none() {
                return Ok(self.broken(Some(number), "what it says is torn is missing".to_owned()));
            }
            if let Err(why) = self.take(&record) {
                return Ok(self.broken(Some(number), why));
            }
            if told {
                self.report.torn += 1;
            }
            stray = Stray::default();
        }
        if let Some(first) = stray.first_line {
            if stray.newline && !stray.zeros {
                return Ok(self.broken(Some(first), "it is no record".to_owned()));
            }
            self.report.open_end = true;
        }
        match self.anchors.keys().next_back() {
            Some(seq) => {
                let why = format!("the pool's history has record {seq}, which is missing here");
                Ok(self.broken(None, why))
            }
            None => Ok(self.report),
        }
    }

    fn broken(mut self, line: Option<u64>, why: String) -> AuditReport {
        self.report.broken = Some(AuditBreak {
            line,
            after: self.last.seq,
            why,
        });
        self.report
    }

    fn take(&mut self, record: &AuditRecord) -> Result<(), String> {
        let expected = self.last.seq + 1;
        if record.seq != expected {
            return Err(format!("record {expected} is missing"));
        }
        if record.previous != self.last.hash {
            return Err("it does not follow the record before".to_owned());
        }
        if record.seq == 1 {
            self.begin(record.hash);
        }
        for hash in self.anchors.remove(&record.seq).unwrap_or_default() {
            if hash != record.hash {
                return Err(format!("the pool's history has another hash of it: {hash}"));
            }
            self.report.anchors += 1;
        }
        self.last = record.mark();
        self.report.last = Some(self.last);
        self.report.records += 1;
        Ok(())
    }

    /// Now that the log's identity is known, so are the anchors that are its own.
    fn begin(&mut self, log: AuditHash) {
        self.report.log = Some(log);
        for anchor in self.all {
            if anchor.user != Some(self.owner) {
                continue;
            }
            if anchor.log == log {
                self.anchors
                    .entry(anchor.mark.seq)
                    .or_default()
                    .push(anchor.mark.hash);
            } else if !self.report.others.contains(&anchor.log) {
                self.report.others.push(anchor.log);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::audit::AuditEvent;
    use std::path::PathBuf;

    struct Place {
        folder: tempfile::TempDir,
        path: PathBuf,
        anchors: Vec<AuditAnchor>,
        bytes: Vec<u8>,
    }

    /// A log of five records after its beginning, with their anchors.
    fn place() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let log = AuditLog::open(&path).unwrap();
        let mut anchors = Vec::new();
        for n in 0..5 {
            let mut event = AuditEvent::new(AuditKind::Use);
            event.object = Some(format!("tank/{n}"));
            let marks = log.append(vec![event]).unwrap();
            anchors.extend(marks.into_iter().map(|mark| AuditAnchor {
                log: log.id(),
                mark,
                user: Some(u64::from(rustix::process::geteuid().as_raw())),
            }));
        }
        let bytes = std::fs::read(&path).unwrap();
        Place {
            folder,
            path,
            anchors,
            bytes,
        }
    }

    impl Place {
        fn verify(&self, bytes: &[u8], anchors: &[AuditAnchor]) -> AuditReport {
            let copy = self.folder.path().join("copy");
            std::fs::write(&copy, bytes).unwrap();
            AuditLog::verify(&copy, anchors).unwrap()
        }

        fn lines(&self) -> Vec<&[u8]> {
            self.bytes.split_inclusive(|byte| *byte == b'\n').collect()
        }
    }

    #[test]
    fn a_log_is_whole() {
        let place = place();
        let report = AuditLog::verify(&place.path, &place.anchors).unwrap();
        assert!(report.is_whole(), "{report:?}");
        assert_eq!((report.records, report.anchors), (6, 5));
        assert_eq!(report.last, place.anchors.last().map(|anchor| anchor.mark));
        let records: Vec<_> = AuditLog::read(&place.path)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(records.len(), 6);
        assert_eq!(records[5].object.as_deref(), Some("tank/4"));
    }

    #[test]
    fn every_changed_byte_is_seen() {
        let place = place();
        for at in 0..place.bytes.len() {
            let mut bytes = place.bytes.clone();
            // The case of a letter among others.
            bytes[at] ^= [0x20, 1, 0x80][at % 3];
            let report = place.verify(&bytes, &place.anchors);
            assert!(!report.is_whole(), "{at}: {report:?}");
        }
    }

    #[test]
    fn lines_that_are_missing_doubled_or_in_another_order_are_seen() {
        let place = place();
        let lines = place.lines();
        for n in 0..lines.len() {
            let mut missing = lines.clone();
            missing.remove(n);
            // Of the last one only the pool's history knows.
            let report = place.verify(&missing.concat(), &[]);
            assert_eq!(report.is_whole(), n == lines.len() - 1, "{n}");
            assert!(!place.verify(&missing.concat(), &place.anchors).is_whole());
            let mut doubled = lines.clone();
            doubled.insert(n, lines[n]);
            assert!(!place.verify(&doubled.concat(), &[]).is_whole());
            if n > 0 {
                let mut swapped = lines.clone();
                swapped.swap(n - 1, n);
                assert!(!place.verify(&swapped.concat(), &[]).is_whole());
            }
        }
    }

    #[test]
    fn a_log_that_is_written_anew_from_some_record_on_is_seen_by_the_anchors() {
        let place = place();
        let lines = place.lines();
        for from in 1..lines.len() {
            let mut bytes = lines[..from].concat();
            let mut mark = record::read(lines[from - 1].trim_ascii_end())
                .unwrap()
                .mark();
            for line in &lines[from..] {
                let was = record::read(line.trim_ascii_end()).unwrap();
                let mut event = AuditEvent::new(was.kind);
                event.object = Some("tank/innocent".to_owned());
                mark = record::write(&event, mark, was.time, &mut bytes).unwrap();
            }
            assert!(place.verify(&bytes, &[]).is_whole());
            let report = place.verify(&bytes, &place.anchors);
            assert_eq!(report.broken.unwrap().line, Some(from as u64 + 1));
        }
        // All of it, in another log's name.
        let other = self::place();
        let report = place.verify(&other.bytes, &place.anchors);
        assert_eq!(report.others, [place.anchors[0].log]);
    }

    #[test]
    fn anchors_of_other_users_are_not_believed() {
        let place = place();
        let mut forged = place.anchors[0];
        forged.mark.seq = 1000;
        assert!(!place.verify(&place.bytes, &[forged]).is_whole());
        forged.user = forged.user.map(|user| user + 1);
        assert!(place.verify(&place.bytes, &[forged]).is_whole());
    }

    #[test]
    fn a_log_that_was_cut_anywhere_is_continued() {
        let place = place();
        let acknowledged = place.anchors.len() as u64;
        for cut in (0..=place.bytes.len()).rev().step_by(7) {
            let mut bytes = place.bytes[..cut].to_vec();
            for zeros in [0, 100] {
                bytes.resize(cut + zeros, 0);
                let path = place.folder.path().join("cut");
                // Mode and owner are those of a log.
                std::fs::copy(&place.path, &path).unwrap();
                std::fs::write(&path, &bytes).unwrap();
                let before = AuditLog::verify(&path, &[]).unwrap();
                assert!(before.is_whole(), "{cut} {zeros}: {before:?}");
                let log = AuditLog::open(&path).unwrap();
                log.append(vec![AuditEvent::new(AuditKind::End)]).unwrap();
                let after = AuditLog::verify(&path, &[]).unwrap();
                assert!(after.is_whole(), "{cut} {zeros}: {after:?}");
                assert_eq!(after.torn, u64::from(before.open_end), "{cut} {zeros}");
                assert!(!after.open_end && after.records > before.records);
                assert!(before.records <= acknowledged + 1);
                let kept = std::fs::read(&path).unwrap();
                assert_eq!(kept[..bytes.len()], bytes, "what was torn is kept");
                if after.torn > 0 {
                    // What a record says was torn cannot be taken away, nor put in.
                    let whole = std::fs::read(&path).unwrap();
                    let mut less = whole.clone();
                    less.remove(bytes.len() - 1);
                    assert!(!place.verify(&less, &[]).is_whole());
                }
            }
        }
    }
}
