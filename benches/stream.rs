//! Streams as data: reading and verifying them, and their digests.
//!
//! On a host without ZFS, in memory and with a stream of our own making: what verifying and both
//! digests cost against plain BLAKE3 and plain Fletcher-4 of the same bytes, and reading a file
//! against `zstream dump`, where there is one (`HELIX_ZFS_BENCH_ZSTREAM` has its command). In a
//! guest: our reader against `zfs send` into a pipe, and what verifying on the way adds to a send.
#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "a program that reports to its user, and may end as it likes"
)]

#[allow(dead_code, reason = "another benchmark uses it")]
mod support;

use std::fs::File;
use std::io::{self, Read, Write};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use helix_zfs::zfs_core::digest::Digester;
use helix_zfs::zfs_core::props::UserProps;
use helix_zfs::zfs_core::send::SendOptions;
use helix_zfs::zfs_core::stream::{Fletcher4, HEADER_LEN, Observer, PassThrough, StreamReader};
use helix_zfs::zfs_core::{Snapshot, Zfs};
use tempfile::NamedTempFile;

use support::pool::{BenchPool, run};
use support::{Pair, Report, Result, Rounds, Side, Unit, compare};

/// Rounds of a comparison, and the time after which it has enough.
const ROUNDS: usize = 20;
const ENOUGH: Duration = Duration::from_secs(30);
/// The length of the streams that are made here.
const LENGTH: usize = 256 << 20;
/// How much is sent in a guest.
const SENT: usize = 64 << 20;
const ZSTREAM: &str = "HELIX_ZFS_BENCH_ZSTREAM";

/// The ratios that we want to stay under.
mod goal {
    pub(crate) const TIME_OF_ZSTREAM: Option<f64> = Some(1.0 / 4.0);
    /// Of the slower of BLAKE3 and Fletcher-4.
    pub(crate) const TIME_OF_SLOWER: Option<f64> = Some(2.0);
    pub(crate) const TIME_WITH_PASSING: Option<f64> = Some(1.05);
}

fn main() -> ExitCode {
    let has_zfs = |name| std::env::var_os(name).is_some();
    let measured = match has_zfs("HELIX_ZFS_GUEST") || has_zfs("HELIX_ZFS_NATIVE") {
        true => measure_sending(),
        false => measure_reading(),
    };
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure_reading() -> Result<()> {
    let rounds = Rounds::new(ROUNDS, ENOUGH)?;
    let mut report = Report::default();
    let large = stream(LENGTH, 128 << 10);
    against_sums(
        &mut report,
        rounds,
        &large,
        "verify and digest, blocks of 128 KiB",
        "verify, blocks of 128 KiB",
    )?;
    match std::env::var(ZSTREAM) {
        Ok(command) => {
            let mut file = NamedTempFile::new()?;
            file.write_all(&large)?;
            let pairs = against_zstream(rounds, file.path(), &command)?;
            let name = "read a file and verify";
            report.add(
                name,
                "zstream dump",
                Unit::Cpu,
                goal::TIME_OF_ZSTREAM,
                &pairs,
            );
        }
        Err(_) => println!("no comparison with zstream dump: {ZSTREAM} is not set"),
    }
    drop(large);
    let small = stream(LENGTH / 4, 8 << 10);
    against_sums(
        &mut report,
        rounds,
        &small,
        "verify and digest, blocks of 8 KiB",
        "verify, blocks of 8 KiB",
    )?;
    report.finish()
}

/// A stream of `length` bytes with files of 64 MiB in blocks of `block` bytes that do not compress.
fn stream(length: usize, block: usize) -> Vec<u8> {
    const BLOCKS_AT: u64 = 64 << 20;
    let mut bytes = Vec::with_capacity(length + (1 << 20));
    let mut sum = Fletcher4::new();
    let mut header = [0; HEADER_LEN];
    put(&mut header, 8, 0x2_f5ba_cbac);
    put(&mut header, 16, 1);
    put(&mut header, 32, 2);
    put(&mut header, 40, GUID);
    record(&mut bytes, &mut sum, 0, header, &[]);
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut object = 0;
    while bytes.len() < length {
        object += 1;
        let mut header = [0; HEADER_LEN];
        put(&mut header, 8, object);
        put(&mut header, 16, 19 | 44 << 32);
        put(&mut header, 24, block as u64 | 168 << 32);
        put(&mut header, 40, GUID);
        record(&mut bytes, &mut sum, 1, header, &[7; 168]);
        for offset in (0..BLOCKS_AT).step_by(block) {
            let mut header = [0; HEADER_LEN];
            put(&mut header, 8, object);
            put(&mut header, 16, 19);
            put(&mut header, 24, offset);
            put(&mut header, 32, block as u64);
            put(&mut header, 40, GUID);
            let noise = std::iter::repeat_with(|| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()
            });
            let payload: Vec<u8> = noise.take(block / 8).flatten().collect();
            record(&mut bytes, &mut sum, 3, header, &payload);
            if bytes.len() >= length {
                break;
            }
        }
    }
    let mut header = [0; HEADER_LEN];
    for (n, word) in sum.words().into_iter().enumerate() {
        put(&mut header, 8 + 8 * n, word);
    }
    put(&mut header, 40, GUID);
    record(&mut bytes, &mut sum, 5, header, &[]);
    bytes
}

const GUID: u64 = 0x1234_5678;

fn put(header: &mut [u8; HEADER_LEN], at: usize, value: u64) {
    header[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

fn record(
    bytes: &mut Vec<u8>,
    sum: &mut Fletcher4,
    record_type: u64,
    mut header: [u8; HEADER_LEN],
    payload: &[u8],
) {
    put(&mut header, 0, record_type);
    sum.update(&header[..HEADER_LEN - 32]);
    if record_type != 0 {
        for (n, word) in sum.words().into_iter().enumerate() {
            put(&mut header, HEADER_LEN - 32 + 8 * n, word);
        }
    }
    sum.update(&header[HEADER_LEN - 32..]);
    sum.update(payload);
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(payload);
}

/// Reads a stream to its end.
fn read(input: impl Read, mut observer: impl Observer) -> Result<u64> {
    let mut reader = StreamReader::new(input);
    while let Some(record) = reader.next_record()? {
        observer.record(&record);
    }
    Ok(reader.offset())
}

fn verify_and_digest(input: impl Read) -> Result<()> {
    let mut digester = Digester::new();
    let mut reader = StreamReader::new(input);
    while let Some(record) = reader.next_record()? {
        digester.record(&record);
    }
    digester.finish()?;
    Ok(())
}

fn against_sums(
    report: &mut Report,
    rounds: Rounds,
    bytes: &Vec<u8>,
    digest: &'static str,
    verify: &'static str,
) -> Result<()> {
    let ours = || Side {
        prepare: |_| Ok(()),
        call: |(): &()| verify_and_digest(bytes.as_slice()),
    };
    let blake3 = Side {
        prepare: |_| Ok(()),
        call: |(): &()| {
            std::hint::black_box(blake3::hash(bytes));
            Ok(())
        },
    };
    let fletcher4 = || Side {
        prepare: |_| Ok(()),
        call: |(): &()| {
            let mut sum = Fletcher4::new();
            sum.update(bytes);
            std::hint::black_box(sum.words());
            Ok(())
        },
    };
    let with_blake3 = compare(rounds, 1, &ours(), &blake3)?;
    let with_fletcher4 = compare(rounds, 1, &ours(), &fletcher4())?;
    let total = |pairs: &[Pair]| {
        let baseline: Duration = pairs.iter().map(|pair| pair.baseline.wall).sum();
        baseline.as_secs_f64() / pairs.len() as f64
    };
    let blake3_is_slower = total(&with_blake3) > total(&with_fletcher4);
    for (name, pairs, is_slower) in [
        ("BLAKE3", with_blake3, blake3_is_slower),
        ("Fletcher-4", with_fletcher4, !blake3_is_slower),
    ] {
        let goal = goal::TIME_OF_SLOWER.filter(|_| is_slower);
        report.add(digest, name, Unit::Cpu, goal, &pairs);
    }
    let verifying = Side {
        prepare: |_| Ok(()),
        call: |(): &()| read(bytes.as_slice(), ()).map(drop),
    };
    let pairs = compare(rounds, 1, &verifying, &fletcher4())?;
    report.add(verify, "Fletcher-4", Unit::Cpu, None, &pairs);
    Ok(())
}

fn against_zstream(rounds: Rounds, file: &std::path::Path, command: &str) -> Result<Vec<Pair>> {
    let ours = Side {
        prepare: |_| Ok(File::open(file)?),
        call: |input: &File| read(input, ()).map(drop),
    };
    // It ends well where it does not know a stream, too: what it says tells whether it read all.
    let length = file.metadata()?.len();
    let read_all = format!("Total stream length = {length} ");
    let theirs = Side {
        prepare: |_| Ok(File::open(file)?),
        call: |input: &File| {
            let output = Command::new("sh")
                .args(["-c", &format!("exec {command} dump")])
                .stdin(input.try_clone()?)
                .stderr(Stdio::inherit())
                .output()?;
            match String::from_utf8_lossy(&output.stdout).contains(&read_all) {
                true => Ok(()),
                false => Err(format!("{command} dump has not read all: {}", output.status).into()),
            }
        },
    };
    compare(rounds.fewer(3), 1, &ours, &theirs)
}

fn measure_sending() -> Result<()> {
    let zfs = Zfs::open()?;
    let rounds = Rounds::new(ROUNDS, ENOUGH)?;
    let pool = BenchPool::new()?;
    let snapshot = fill(&zfs, &pool)?;
    let mut report = Report::default();

    let plain = || Side {
        prepare: |_| Ok(()),
        call: |(): &()| {
            let mut stream = snapshot.send(&SendOptions::full())?;
            io::copy(&mut stream, &mut io::sink())?;
            stream.finish()?;
            Ok(())
        },
    };
    let name = snapshot.name().to_string();
    let command = Side {
        prepare: |_| Ok(()),
        call: |(): &()| {
            let mut child = Command::new("zfs")
                .args(["send", &name])
                .stdout(Stdio::piped())
                .spawn()?;
            let mut output = child.stdout.take().ok_or("no pipe")?;
            io::copy(&mut output, &mut io::sink())?;
            match child.wait()?.success() {
                true => Ok(()),
                false => Err("zfs send failed".into()),
            }
        },
    };
    let pairs = compare(rounds, 1, &plain(), &command)?;
    report.add("send", "zfs send", Unit::Wall, None, &pairs);

    let verified = Side {
        prepare: |_| Ok(()),
        call: |(): &()| send_through(&snapshot, ()).map(drop),
    };
    let pairs = compare(rounds, 1, &verified, &plain())?;
    report.add(
        "send, verified on the way",
        "send",
        Unit::Wall,
        goal::TIME_WITH_PASSING,
        &pairs,
    );
    let digested = Side {
        prepare: |_| Ok(()),
        call: |(): &()| {
            send_through(&snapshot, Digester::new())?.finish()?;
            Ok(())
        },
    };
    let pairs = compare(rounds, 1, &digested, &plain())?;
    report.add(
        "send, verified and digested",
        "send",
        Unit::Wall,
        None,
        &pairs,
    );

    let mut file = NamedTempFile::new()?;
    io::copy(&mut snapshot.send(&SendOptions::full())?, &mut file)?;
    let pairs = against_zstream(rounds, file.path(), "zstream")?;
    report.add(
        "read a file and verify",
        "zstream dump",
        Unit::Cpu,
        goal::TIME_OF_ZSTREAM,
        &pairs,
    );
    report.finish()
}

fn send_through<O: Observer>(snapshot: &Snapshot, observer: O) -> Result<O> {
    let mut pass = PassThrough::new(snapshot.send(&SendOptions::full())?, observer);
    io::copy(&mut pass, &mut io::sink())?;
    let (mut stream, observer) = pass.into_parts();
    io::copy(&mut stream, &mut io::sink())?;
    stream.finish()?;
    Ok(observer)
}

/// A snapshot of a volume, which needs no mount, with data that does not compress.
fn fill(zfs: &Zfs, pool: &BenchPool) -> Result<Snapshot> {
    let dataset = pool.filesystems(zfs, 1)?.remove(0);
    let name = dataset.name().as_str();
    let folder = tempfile::tempdir()?;
    let place = folder.path().to_str().ok_or("not UTF-8")?;
    run("zfs", &["set", "mountpoint=legacy", name])?;
    run("mount", &["-t", "zfs", name, place])?;
    let noise = stream(SENT, 128 << 10);
    for (n, part) in noise.chunks(16 << 20).enumerate() {
        std::fs::write(folder.path().join(n.to_string()), part)?;
    }
    run("umount", &[place])?;
    let snapshot = dataset.snapshot("a")?;
    zfs.create_snapshots(std::slice::from_ref(&snapshot), &UserProps::new())?;
    Ok(snapshot)
}
