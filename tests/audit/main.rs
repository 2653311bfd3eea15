//! An audit log whose writers are killed at any moment.

#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]
#![allow(clippy::print_stdout, reason = "a process tells its parent")]

use helix_zfs::gate::audit::{AuditEvent, AuditKind, AuditLog};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const LOG: &str = "HELIX_ZFS_AUDIT_LOG";
const WRITERS: usize = 3;
const ROUNDS: u64 = 25;

/// Appends for as long as it lives, and tells what it was told is on disk.
fn write_for_ever(path: &str) {
    let log = AuditLog::open(path).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let mut event = AuditEvent::new(AuditKind::Use);
                    event.reason = Some("x".repeat(1000));
                    let marks = log.append(vec![event; 3]).unwrap();
                    let mut out = std::io::stdout().lock();
                    for mark in marks {
                        writeln!(out, "ack {} {}", mark.seq, mark.hash).unwrap();
                    }
                }
            });
        }
    });
}

fn writer(path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writers_are_killed_at_any_moment", "--nocapture"])
        .env(LOG, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn writers_are_killed_at_any_moment() {
    if let Ok(path) = std::env::var(LOG) {
        return write_for_ever(&path);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let mut acknowledged = BTreeMap::new();
    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    for round in 0..ROUNDS {
        let mut writers: Vec<Child> = (0..WRITERS).map(|_| writer(&path)).collect();
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let enough = 1 + seed % 40;
        // Each lives until it has told so much, and a moment longer.
        for (n, writer) in (1..).zip(&mut writers) {
            let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
            let mut take = |line: String| {
                let Some(ack) = line.strip_prefix("ack ") else {
                    return 0;
                };
                let (seq, hash) = ack.split_once(' ').unwrap_or_default();
                // The last line may have been cut by the kill.
                if hash.len() != 64 {
                    return 0;
                }
                let before = acknowledged.insert(seq.parse::<u64>().unwrap(), hash.to_owned());
                assert_eq!(before, None, "two records {seq}");
                1
            };
            let mut told = 0;
            while told < enough {
                let line = lines.next().expect("a writer that writes");
                told += take(line.unwrap());
            }
            std::thread::sleep(Duration::from_micros(seed % 2000 * n));
            writer.kill().unwrap();
            for line in lines {
                take(line.unwrap());
            }
            writer.wait().unwrap();
        }
        let report = AuditLog::verify(&path, &[]).unwrap();
        assert!(report.is_whole(), "round {round}: {report:?}");
        let records: BTreeMap<u64, String> = AuditLog::read(&path)
            .unwrap()
            .map(Result::unwrap)
            .map(|record| (record.seq, record.hash.to_string()))
            .collect();
        for (seq, hash) in &acknowledged {
            assert_eq!(records.get(seq), Some(hash), "round {round}");
        }
    }
}
