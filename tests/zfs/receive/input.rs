//! Where streams come from: readers, files, pipes, sockets.

use super::{Source, assert_received, assert_same, child, kind, options};
use crate::support::{Mounted, Scratch, noise, run, zfs};
use helix_zfs::zfs_core::{CreateOptions, Dataset, ErrorKind};
use signal_hook::consts::SIGPIPE;
use signal_hook::flag::register_conditional_default;
use std::error::Error as _;
use std::io::{self, Cursor, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Gives out a few bytes at a time, as a connection may, and fails at the end.
struct Fails<'a> {
    stream: &'a [u8],
}

impl Read for Fails<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.stream.is_empty() {
            return Err(io::Error::new(io::ErrorKind::ConnectionReset, "cut off"));
        }
        let len = out.len().min(777);
        self.stream.read(&mut out[..len])
    }
}

#[test]
fn a_reader_that_fails() {
    let scratch = Scratch::new("recv-reader");
    let source = Source::new(&scratch);
    let stream = source.full("one");
    let target = child(&scratch, "target");
    let fails = |len: usize| {
        let stream = Fails {
            stream: &stream[..len],
        };
        let error = target.receive(stream, &options()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
        let cause = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
        assert_eq!(cause.kind(), io::ErrorKind::ConnectionReset);
        assert!(error.to_string().contains("cut off"), "{error}");
        assert!(!target.exists().unwrap());
    };
    fails(100);
    fails(stream.len() / 2);
    // One that panics does so, and nothing waits for the rest.
    struct Panics<'a>(&'a [u8]);
    impl Read for Panics<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            assert!(!self.0.is_empty(), "a reader panics");
            self.0.read(out)
        }
    }
    let panics = std::panic::AssertUnwindSafe(|| {
        let half = Panics(&stream[..stream.len() / 2]);
        target.receive(half, &options())
    });
    assert!(std::panic::catch_unwind(panics).is_err());
    assert!(!target.exists().unwrap());
    // Behind the end nothing is read.
    let whole = Fails { stream: &stream };
    target.receive(whole, &options()).unwrap();
}

/// Both ends of the stream are read exactly: what follows is left.
#[test]
fn several_streams_from_one_source() {
    let scratch = Scratch::new("recv-several");
    let source = Source::new(&scratch);
    let (full, incremental) = (source.full("one"), source.incremental());
    let all = [&full[..], &incremental, b"rest"].concat();
    let check = |target: &Dataset,
                 mut receive: Box<dyn FnMut(&Dataset) -> super::Received + '_>| {
        let first = receive(target);
        assert_received(&first, &full, &format!("{}@one", target.name()));
        let second = receive(target);
        assert_received(&second, &incremental, &format!("{}@two", target.name()));
    };
    let mut rest = String::new();

    let mut reader = Cursor::new(&all);
    check(
        &child(&scratch, "reader"),
        Box::new(|target| target.receive(&mut reader, &options()).unwrap()),
    );
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "rest");

    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&all).unwrap();
    file.rewind().unwrap();
    check(
        &child(&scratch, "file"),
        Box::new(|target| target.receive_from(&file, &options()).unwrap()),
    );
    rest.clear();
    file.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "rest");

    let (ours, mut theirs) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            theirs.write_all(&all).unwrap();
            theirs.shutdown(std::net::Shutdown::Write).unwrap();
        });
        check(
            &child(&scratch, "socket"),
            Box::new(|target| target.receive_from(&ours, &options()).unwrap()),
        );
        rest.clear();
        (&ours).read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "rest");
    });

    let script = format!(
        "zfs send {}; zfs send -i @one {}",
        source.name("one"),
        source.name("two")
    );
    let mut command = Command::new("sh")
        .args(["-ec", &script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pipe = command.stdout.take().unwrap();
    check(
        &child(&scratch, "pipe"),
        Box::new(|target| target.receive_from(&pipe, &options()).unwrap()),
    );
    assert!(command.wait().unwrap().success());
    assert_same(&source.name("two"), &format!("{}/pipe@two", scratch.name()));
}

#[test]
fn descriptors_that_cannot_be_read() {
    let scratch = Scratch::new("recv-descriptor");
    let target = child(&scratch, "target");
    let (ours, _theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    assert_eq!(
        kind(target.receive_from(&ours, &options())),
        ErrorKind::InvalidArgument
    );
    let dir = tempfile::TempDir::new().unwrap();
    let write_only = std::fs::File::create(dir.path().join("file")).unwrap();
    let folder = std::fs::File::open(dir.path()).unwrap();
    let null = std::fs::File::open("/dev/null").unwrap();
    for (fd, expected) in [
        (write_only.as_fd(), ErrorKind::Transport),
        (folder.as_fd(), ErrorKind::Transport),
        (null.as_fd(), ErrorKind::Truncated),
    ] {
        let error = target.receive_from(fd, &options()).unwrap_err();
        assert_eq!(error.kind(), expected, "{error}");
    }
}

/// The kernel stops reading long before the stream ends.
#[test]
fn a_refusal_in_the_middle_of_a_long_stream() {
    let scratch = Scratch::new("recv-early");
    let big = child(&scratch, "big");
    big.create(&CreateOptions::filesystem()).unwrap();
    let mounted = Mounted::new(&big);
    // Much more than fits a pipe.
    mounted.write("noise", noise(4 << 20, 1));
    drop(mounted);
    let stream = super::zfs_send(&[&super::snap(&big, "big")]);
    let error = big.receive(&stream[..], &options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    let mut reader = Cursor::new(&stream);
    let error = big.receive(&mut reader, &options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert!(reader.position() < stream.len() as u64);
    // A command that writes into a pipe which the kernel has left is not left waiting.
    let mut command = Command::new("zfs")
        .args(["send", &format!("{}@big", big.name())])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pipe = command.stdout.take().unwrap();
    assert_eq!(
        kind(big.receive_from(&pipe, &options())),
        ErrorKind::AlreadyExists
    );
    drop(pipe);
    assert!(!command.wait().unwrap().success());
}

const REFUSED: &str = "HELIX_ZFS_TEST_REFUSED";

/// A host program in which `SIGPIPE` ends the process, which Rust's own programs ignore.
#[test]
fn a_refusal_kills_nobody() {
    if let Ok(name) = std::env::var(REFUSED) {
        register_conditional_default(SIGPIPE, Arc::new(AtomicBool::new(true))).unwrap();
        let target = zfs().dataset(&name).unwrap();
        let mut sending = Command::new("zfs")
            .args(["send", &format!("{name}@big")])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let error = target
            .receive(sending.stdout.take().unwrap(), &options())
            .unwrap_err();
        sending.wait().unwrap();
        let mut stderr = io::stderr();
        writeln!(stderr, "ended with {:?}", error.kind()).unwrap();
        return;
    }
    let scratch = Scratch::new("recv-sigpipe");
    let big = child(&scratch, "big");
    big.create(&CreateOptions::filesystem()).unwrap();
    let mounted = Mounted::new(&big);
    mounted.write("noise", noise(4 << 20, 1));
    drop(mounted);
    super::snap(&big, "big");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "receive::input::a_refusal_kills_nobody"])
        .arg("--nocapture")
        .env(REFUSED, big.name().as_str())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {told}", output.status);
    assert!(told.contains("ended with AlreadyExists"), "{told}");
}

const CHILD: &str = "HELIX_ZFS_TEST_RECEIVE";

/// The other process of the next test: this same program, told by its environment to receive from
/// its standard input.
fn receive_and_tell(name: &str) {
    let target = zfs().dataset(name).unwrap();
    let error = target.receive_from(io::stdin(), &options()).unwrap_err();
    let mut stderr = io::stderr();
    writeln!(stderr, "ended with {:?}", error.kind()).unwrap();
}

/// When a stopped process goes on, the kernel restarts the system call that it was in: another
/// receive, from the middle of the stream.
#[test]
fn a_stopped_process_does_not_receive_twice() {
    if let Ok(name) = std::env::var(CHILD) {
        return receive_and_tell(&name);
    }
    let scratch = Scratch::new("recv-stop");
    let source = Source::new(&scratch);
    let target = child(&scratch, "target");
    let stream = source.full("one");
    let mut command = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "receive::input::a_stopped_process_does_not_receive_twice",
        ])
        .arg("--nocapture")
        .env(CHILD, target.name().as_str())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = command.stdin.take().unwrap();
    let (most, end) = stream.split_at(stream.len() - 312);
    stdin.write_all(most).unwrap();
    // The dataset appears when the kernel has begun.
    while !target.exists().unwrap() {
        assert!(command.try_wait().unwrap().is_none());
        std::thread::yield_now();
    }
    let signal = |name: &str| run("kill", &[name, &command.id().to_string()]);
    signal("-STOP");
    signal("-CONT");
    // Who it is that reads no more is not told.
    let _ = stdin.write_all(end);
    drop(stdin);
    let output = command.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("ended with Interrupted"), "{told}");
    assert!(!target.exists().unwrap());
}
