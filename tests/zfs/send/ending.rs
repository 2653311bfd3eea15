//! How streams end that do not end well.

use super::{pipe, read, snapshot};
use crate::support::{Mounted, Scratch, TestPool, noise, run, zfs};
use helix_zfs::zfs_core::send::SendOptions;
use helix_zfs::zfs_core::stream::PassThrough;
use helix_zfs::zfs_core::{CreateOptions, Dataset, Error, ErrorKind, Snapshot};
use signal_hook::consts::SIGPIPE;
use signal_hook::flag::register_conditional_default;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::io::AsyncReadExt;

/// The crate's own error inside one that a reader got.
fn inner(error: &io::Error) -> &Error {
    error.get_ref().unwrap().downcast_ref().expect("ours")
}

/// A snapshot of one file that does not compress and does not fit a pipe.
fn large(dataset: &Dataset) -> Snapshot {
    let files = Mounted::new(dataset);
    files.write("a", noise(4 << 20, 1));
    snapshot(dataset, "s")
}

/// Makes a block in the middle of a pool's only file unreadable.
fn damage(pool: &TestPool, needle: &[u8]) {
    run("zpool", &["export", pool.name()]);
    let path = pool.file(0);
    let disk = std::fs::read(&path).unwrap();
    let at = disk
        .chunks(512)
        .position(|sector| sector == needle)
        .expect("the data is on the disk as it is");
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(&[0; 512], at as u64 * 512).unwrap();
    let dir = pool.dir().to_str().unwrap();
    run(
        "zpool",
        &["import", "-o", "cachefile=none", "-d", dir, pool.name()],
    );
}

#[test]
fn a_damaged_block_ends_the_stream_with_an_error() {
    let pool = TestPool::new("send-damaged");
    let dataset = pool.root().child("a").unwrap();
    dataset.create(&CreateOptions::filesystem()).unwrap();
    let of = large(&dataset);
    let whole = read(of.send(&SendOptions::full()).unwrap());
    damage(&pool, &noise(4 << 20, 1)[3 << 20..][..512]);

    // By reading.
    let mut stream = of.send(&SendOptions::full()).unwrap();
    let mut bytes = Vec::new();
    let error = stream.read_to_end(&mut bytes).unwrap_err();
    assert_eq!(inner(&error).kind(), ErrorKind::Io, "{error}");
    assert!(bytes.len() > 2 << 20 && bytes.len() < whole.len());
    assert!(whole.starts_with(&bytes), "what came is right");
    let again = stream.read(&mut [0]).unwrap_err();
    assert_eq!(inner(&again).kind(), ErrorKind::Io, "it stays an error");
    assert_eq!(stream.finish().unwrap_err().kind(), ErrorKind::Io);

    // By the descriptor: an end of file, and then the truth.
    let stream = of.send(&SendOptions::full()).unwrap();
    let mut copy = File::from(stream.as_fd().try_clone_to_owned().unwrap());
    let mut bytes = Vec::new();
    copy.read_to_end(&mut bytes).unwrap();
    assert!(whole.starts_with(&bytes) && bytes.len() < whole.len());
    assert_eq!(stream.finish().unwrap_err().kind(), ErrorKind::Io);

    // Into a descriptor.
    let file = tempfile::tempfile().unwrap();
    let error = of.send_to(&file, &SendOptions::full()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    assert!(file.metadata().unwrap().len() < whole.len() as u64);

    // For tokio.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .unwrap();
    runtime.block_on(async {
        let stream = of.send(&SendOptions::full()).unwrap();
        let mut stream = stream.into_async().unwrap();
        let error = stream.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(inner(&error).kind(), ErrorKind::Io, "{error}");
        assert_eq!(stream.finish().unwrap_err().kind(), ErrorKind::Io);
    });
}

#[test]
fn a_dropped_stream_lets_go() {
    let scratch = Scratch::new("send-drop");
    let dataset = scratch.child("a").unwrap();
    dataset.create(&CreateOptions::filesystem()).unwrap();
    let of = large(&dataset);
    let begin = || {
        let mut stream = of.send(&SendOptions::full()).unwrap();
        stream.read_exact(&mut [0; 5000]).unwrap();
        stream
    };
    let busy = begin();
    assert_eq!(of.destroy().unwrap_err().kind(), ErrorKind::Busy);
    drop(busy);
    drop(of.send(&SendOptions::full()).unwrap());

    // Somebody else has a copy of the end that is read, and does not read.
    let lent = begin();
    let copy = lent.as_fd().try_clone_to_owned().unwrap();
    drop(lent);
    drop(copy);

    let error = begin().finish().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
    assert!(error.to_string().contains("not read to its end"), "{error}");
    of.destroy().unwrap();
}

/// A child process that another thread has forked meanwhile has the pipe's writing end too.
#[test]
fn the_end_is_seen_whoever_has_the_writing_end() {
    let scratch = Scratch::new("send-copy");
    let dataset = scratch.child("a").unwrap();
    dataset.create(&CreateOptions::filesystem()).unwrap();
    let of = large(&dataset);
    let begin = || {
        let stream = of.send(&SendOptions::full()).unwrap();
        let path = format!("/proc/self/fd/{}", stream.as_fd().as_raw_fd());
        let copy = File::options().write(true).open(path).unwrap();
        (stream, copy)
    };
    let (stream, _copy) = begin();
    let whole = read(stream);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (stream, _copy) = begin();
        let mut bytes = Vec::new();
        let mut stream = stream.into_async().unwrap();
        stream.read_to_end(&mut bytes).await.unwrap();
        assert!(bytes == whole);
        stream.finish().unwrap();
    });
}

/// Who knows where a stream ends does not read on to see that it does.
#[test]
fn the_last_byte_is_enough() {
    let scratch = Scratch::new("send-last");
    let stream = snapshot(&scratch, "s").send(&SendOptions::full()).unwrap();
    let mut verified = PassThrough::new(stream, ());
    let bytes = std::io::copy(&mut verified, &mut std::io::sink()).unwrap();
    let (stream, ()) = verified.into_parts();
    assert_eq!(stream.finish().unwrap().bytes, bytes);
}

#[test]
fn a_program_that_reads_the_descriptor() {
    let scratch = Scratch::new("send-lent");
    let dataset = scratch.child("a").unwrap();
    dataset.create(&CreateOptions::filesystem()).unwrap();
    let of = large(&dataset);
    let target = scratch.child("to").unwrap();
    let start = |program: &str, args: &[&str]| {
        let stream = of.send(&SendOptions::full()).unwrap();
        let input = stream.as_fd().try_clone_to_owned().unwrap();
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::from(input))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        (stream, child)
    };
    let (stream, mut child) = start("zfs", &["receive", "-u", target.name().as_str()]);
    stream.finish().unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(
        target.snapshot("s").unwrap().stat().unwrap().guid,
        of.stat().unwrap().guid
    );
    // One that reads only the beginning.
    let (stream, mut child) = start("head", &["-c", "1000"]);
    let error = stream.finish().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
    assert!(child.wait().unwrap().success());
}

/// What the test below is in its child processes: the action, and the snapshot's name.
const ACTION: &str = "HELIX_ZFS_SEND_ACTION";
const SNAPSHOT: &str = "HELIX_ZFS_SEND_SNAPSHOT";

/// Starts this program again as a host whose `SIGPIPE` kills.
fn host(action: &str, of: &Snapshot) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "send::ending::in_a_host", "--nocapture"])
        .env(ACTION, action)
        .env(SNAPSHOT, of.name().as_str())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Whether this process has a thread that sends.
fn is_sending() -> bool {
    std::fs::read_dir("/proc/self/task").unwrap().any(|task| {
        let name = std::fs::read_to_string(task.unwrap().path().join("comm"));
        name.is_ok_and(|name| name.trim_end() == "zfs-send")
    })
}

fn act(action: &str, of: &Snapshot) {
    register_conditional_default(SIGPIPE, Arc::new(AtomicBool::new(true))).unwrap();
    let options = SendOptions::full();
    match action {
        "killed" => {
            let (_, writer) = pipe();
            let _ = (&writer).write(b"x");
        }
        "dropped" => {
            let mut stream = of.send(&options).unwrap();
            stream.read_exact(&mut [0; 5000]).unwrap();
            assert!(is_sending());
            drop(stream);
            // A thread is listed for a moment after it was joined.
            while is_sending() {
                std::thread::yield_now();
            }
        }
        "closed" => {
            let (_, writer) = pipe();
            let error = of.send_to(&writer, &options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
            let source = std::error::Error::source(&error).unwrap();
            let source = source.downcast_ref::<io::Error>().unwrap();
            assert_eq!(source.kind(), io::ErrorKind::BrokenPipe);
        }
        "stopped" => {
            let mut stream = of.send(&options).unwrap();
            let mut stdout = io::stdout();
            writeln!(stdout, "begun").unwrap();
            io::stdin().read_line(&mut String::new()).unwrap();
            let mut bytes = Vec::new();
            let error = stream.read_to_end(&mut bytes).unwrap_err();
            assert_eq!(inner(&error).kind(), ErrorKind::Interrupted, "{error}");
            assert_eq!(stream.finish().unwrap_err().kind(), ErrorKind::Interrupted);
            let whole = read(of.send(&options).unwrap());
            assert!(whole.starts_with(&bytes), "what came is right");
        }
        other => panic!("{other}"),
    }
}

/// Not a test of its own, but what the tests below start.
#[test]
fn in_a_host() {
    if let Ok(action) = std::env::var(ACTION) {
        act(
            &action,
            &zfs().snapshot(&std::env::var(SNAPSHOT).unwrap()).unwrap(),
        );
    }
}

#[test]
fn a_reader_that_goes_away_kills_nobody() {
    let scratch = Scratch::new("send-sigpipe");
    let dataset = scratch.child("a").unwrap();
    dataset.create(&CreateOptions::filesystem()).unwrap();
    let of = large(&dataset);
    // The signal does kill where nothing is done about it.
    let killed = host("killed", &of).wait_with_output().unwrap();
    assert_eq!(killed.status.signal(), Some(SIGPIPE));
    for action in ["dropped", "closed"] {
        let ended = host(action, &of).wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{action}: {}: {text}", ended.status);
    }
    of.destroy().unwrap();
}

/// In the middle of a stream the kernel's call returns as interrupted.
#[test]
fn a_stopped_process_has_an_interrupted_stream() {
    let scratch = Scratch::new("send-stop");
    let dataset = scratch.child("a").unwrap();
    dataset.create(&CreateOptions::filesystem()).unwrap();
    let of = large(&dataset);
    let mut child = host("stopped", &of);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("begun")));
    // The kernel waits for the full pipe to be read.
    let pid = child.id().to_string();
    let state = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let (_, rest) = stat.rsplit_once(") ").unwrap();
        rest.chars().next().unwrap()
    };
    run("kill", &["-STOP", &pid]);
    while state() != 'T' {
        std::thread::yield_now();
    }
    run("kill", &["-CONT", &pid]);
    child.stdin.take().unwrap().write_all(b"go on\n").unwrap();
    let ended = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{text}");
}
