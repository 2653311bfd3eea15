//! Receiving, in every mode, what the `zfs` command sends.

mod compound;
mod encrypted;
mod input;
mod partial;
mod properties;
mod refused;

use crate::support::{Mounted, Scratch, TestPool, noise, output, run, unmount, zfs, zfs_get};
use helix_zfs::zfs_core::props::UserProps;
use helix_zfs::zfs_core::receive::{ReceiveOptions, Received};
use helix_zfs::zfs_core::{CreateOptions, Dataset, ErrorKind, Result, SnapshotFilter};
use rustix::mount::{MountFlags, mount};
use std::os::unix::fs::FileExt;
use std::process::Command;

/// The stream that `zfs send` writes.
pub(crate) fn zfs_send(args: &[&str]) -> Vec<u8> {
    let output = Command::new("zfs").arg("send").args(args).output().unwrap();
    assert!(
        output.status.success(),
        "zfs send {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.expect_err("an error").kind()
}

fn options() -> ReceiveOptions {
    ReceiveOptions::new()
}

fn child(of: &Dataset, name: &str) -> Dataset {
    of.child(name).unwrap()
}

fn snap(dataset: &Dataset, short: &str) -> String {
    let snapshot = dataset.snapshot(short).unwrap();
    snapshot.create(&UserProps::new()).unwrap();
    snapshot.name().to_string()
}

/// The names of the snapshots of a dataset, without it, oldest first.
fn snapshots(dataset: &Dataset) -> Vec<String> {
    let mut all = dataset.snapshots(&SnapshotFilter::new()).unwrap();
    all.sort_by_key(|entry| entry.create_txg);
    all.iter()
        .map(|entry| entry.name.short().to_owned())
        .collect()
}

/// A filesystem with two snapshots: `one`, and `two`, in which one file is changed, one gone and
/// one new.
struct Source {
    dataset: Dataset,
}

impl Source {
    fn new(scratch: &Scratch) -> Self {
        let dataset = child(scratch, "source");
        dataset.create(&CreateOptions::filesystem()).unwrap();
        let source = Self { dataset };
        source.fill();
        source
    }

    /// Fills a filesystem that exists, whatever its properties.
    fn fill(&self) {
        let mounted = Mounted::new(&self.dataset);
        mounted.write("text", "compresses ".repeat(10_000));
        mounted.write("noise", noise(400_000, 1));
        mounted.write("small", "embedded ".repeat(8));
        mounted.write("gone", noise(1000, 2));
        snap(&self.dataset, "one");
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(mounted.path("noise"))
            .unwrap();
        file.write_at(&noise(20_000, 3), 200_000).unwrap();
        file.set_len(350_000).unwrap();
        std::fs::remove_file(mounted.path("gone")).unwrap();
        mounted.write("new", noise(50_000, 4));
        snap(&self.dataset, "two");
    }

    fn name(&self, short: &str) -> String {
        self.dataset.snapshot(short).unwrap().name().to_string()
    }

    fn full(&self, short: &str) -> Vec<u8> {
        zfs_send(&[&self.name(short)])
    }

    fn incremental(&self) -> Vec<u8> {
        zfs_send(&["-i", "@one", &self.name("two")])
    }
}

/// The files of a snapshot and their contents.
fn files(snapshot: &str) -> Vec<(String, Vec<u8>)> {
    let dir = tempfile::TempDir::with_prefix("helix-zfs-").unwrap();
    mount(snapshot, dir.path(), "zfs", MountFlags::RDONLY, None).unwrap();
    let mut files: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect();
    unmount(dir.path()).unwrap();
    files.sort();
    files
}

fn guid(snapshot: &str) -> u64 {
    zfs().snapshot(snapshot).unwrap().stat().unwrap().guid
}

fn assert_same(sent: &str, received: &str) {
    assert_eq!(guid(sent), guid(received));
    let (sent, received) = (files(sent), files(received));
    assert!(!sent.is_empty());
    assert!(sent == received, "the files differ");
}

fn assert_received(received: &Received, stream: &[u8], snapshot: &str) {
    assert_eq!(received.snapshot.name().as_str(), snapshot);
    assert_eq!(received.bytes, stream.len() as u64);
    assert_eq!(received.to_guid, guid(snapshot));
    assert_eq!(received.begin.to_guid, received.to_guid);
    assert!(received.property_errors.is_empty());
    assert!(!received.kept_properties);
}

#[test]
fn full_and_incremental_with_every_flag() {
    let scratch = Scratch::new("recv-modes");
    let source = Source::new(&scratch);
    let modes = [&[][..], &["-c"], &["-e"], &["-L"], &["-Lce"], &["-w"]];
    for (n, flags) in modes.into_iter().enumerate() {
        let target = child(&scratch, &format!("target{n}"));
        let receive = |short: &str, base: &[&str]| {
            let sent = source.name(short);
            let stream = zfs_send(&[flags, base, &[&sent]].concat());
            let received = target.receive(&stream[..], &options()).unwrap();
            let name = format!("{}@{short}", target.name());
            assert_received(&received, &stream, &name);
            assert_eq!(received.begin.to_name, sent);
            assert_eq!(received.begin.is_incremental(), !base.is_empty());
        };
        receive("one", &[]);
        // Each flag alone and then all together; to go on with all of them would take long.
        if n == 0 || n + 1 == modes.len() {
            receive("two", &["-i", "@one"]);
            let name = format!("{}@two", target.name());
            assert_same(&source.name("two"), &name);
        }
    }
    // It is not mounted, keeps its time, and leads on: the command takes what is sent from here.
    let target = child(&scratch, "target0");
    assert_eq!(zfs_get("mounted", target.name()), "no");
    assert_eq!(
        zfs_get("creation", source.name("one")),
        zfs_get("creation", format!("{}@one", target.name()))
    );
    let again = format!("{}/again", scratch.name());
    let script = format!("zfs send {}@two | zfs receive -u {again}", target.name());
    run("sh", &["-ec", &script]);
    assert_same(&source.name("two"), &format!("{again}@two"));
}

#[test]
fn volumes() {
    let scratch = Scratch::new("recv-volume");
    let volume = child(&scratch, "volume");
    volume.create(&CreateOptions::volume(1 << 20)).unwrap();
    let stream = zfs_send(&[&snap(&volume, "one")]);
    let target = child(&scratch, "target");
    let received = target.receive(&stream[..], &options()).unwrap();
    assert_eq!(zfs_get("volsize", target.name()), "1048576");
    let sent = volume.snapshot("one").unwrap();
    assert_eq!(received.to_guid, guid(sent.name().as_str()));
    // A filesystem is not received below a volume, and a volume does not replace a filesystem.
    let below = child(&target, "below");
    assert_eq!(
        kind(below.receive(&stream[..], &options())),
        ErrorKind::WrongKind
    );
    let filesystem = child(&scratch, "filesystem");
    filesystem.create(&CreateOptions::filesystem()).unwrap();
    assert_eq!(
        kind(filesystem.receive(&stream[..], &options().force())),
        ErrorKind::WrongKind
    );
}

#[test]
fn from_a_bookmark_and_redacted() {
    let scratch = Scratch::new("recv-bookmark");
    let source = Source::new(&scratch);
    let target = child(&scratch, "target");
    target.receive(&source.full("one")[..], &options()).unwrap();
    source
        .dataset
        .snapshot("one")
        .unwrap()
        .bookmark("mark")
        .unwrap();
    let stream = zfs_send(&["-i", "#mark", &source.name("two")]);
    let received = target.receive(&stream[..], &options()).unwrap();
    assert_eq!(received.begin.from_guid, guid(&source.name("one")));
    assert_same(&source.name("two"), &format!("{}@two", target.name()));

    // What a clone has changed is left out.
    let clone = child(&scratch, "clone");
    run(
        "zfs",
        &["clone", &source.name("one"), clone.name().as_str()],
    );
    let mounted = Mounted::new(&clone);
    mounted.write("noise", b"redacted");
    drop(mounted);
    let redaction = snap(&clone, "redaction");
    run("zfs", &["redact", &source.name("one"), "book", &redaction]);
    let stream = zfs_send(&["--redact", "book", &source.name("one")]);
    let redacted = child(&scratch, "redacted");
    redacted.receive(&stream[..], &options()).unwrap();
    assert!(redacted.stat().unwrap().redacted);
}

#[test]
fn a_modified_target_is_only_overwritten_by_force() {
    let scratch = Scratch::new("recv-force");
    let source = Source::new(&scratch);
    let target = child(&scratch, "target");
    target.receive(&source.full("one")[..], &options()).unwrap();
    let mounted = Mounted::new(&target);
    mounted.write("local", "change");
    run("sync", &[]);
    let stream = source.incremental();
    assert_eq!(
        kind(target.receive(&stream[..], &options())),
        ErrorKind::Modified
    );
    assert_eq!(mounted.read("local"), b"change");
    snap(&target, "newer");
    assert_eq!(
        kind(target.receive(&stream[..], &options())),
        ErrorKind::Modified
    );
    assert_eq!(snapshots(&target), ["one", "newer"]);
    // It stays mounted all the while, and shows what was received.
    target.receive(&stream[..], &options().force()).unwrap();
    assert_eq!(snapshots(&target), ["one", "two"]);
    assert!(!mounted.path("local").exists());
    assert_eq!(mounted.read("new"), noise(50_000, 4));
    assert_same(&source.name("two"), &format!("{}@two", target.name()));
}

#[test]
fn a_full_stream_replaces_only_what_has_no_snapshots() {
    let scratch = Scratch::new("recv-replace");
    let source = Source::new(&scratch);
    let stream = source.full("one");
    let target = child(&scratch, "target");
    target.create(&CreateOptions::filesystem()).unwrap();
    let mounted = Mounted::new(&target);
    mounted.write("local", "change");
    drop(mounted);
    assert_eq!(
        kind(target.receive(&stream[..], &options())),
        ErrorKind::AlreadyExists
    );
    snap(&target, "precious");
    let error = target.receive(&stream[..], &options().force()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(error.errno(), None);
    assert_eq!(snapshots(&target), ["precious"]);
    target.snapshot("precious").unwrap().destroy().unwrap();
    target.receive(&stream[..], &options().force()).unwrap();
    assert_same(&source.name("one"), &format!("{}@one", target.name()));

    // A mounted one shows nothing of it until it is mounted anew.
    let target = child(&scratch, "mounted");
    target.create(&CreateOptions::filesystem()).unwrap();
    let mounted = Mounted::new(&target);
    mounted.write("local", "change");
    run("sync", &[]);
    target.receive(&stream[..], &options().force()).unwrap();
    drop(mounted);
    let mounted = Mounted::new(&target);
    assert_eq!(mounted.read("noise"), noise(400_000, 1));
    assert!(!mounted.path("local").exists());
}

#[test]
fn clones() {
    let scratch = Scratch::new("recv-clone");
    let source = Source::new(&scratch);
    let clone = child(&scratch, "clone");
    run(
        "zfs",
        &["clone", &source.name("one"), clone.name().as_str()],
    );
    let mounted = Mounted::new(&clone);
    mounted.write("own", noise(10_000, 5));
    drop(mounted);
    let sent = snap(&clone, "c");
    let stream = zfs_send(&["-i", &source.name("one"), &sent]);

    let base = child(&scratch, "base");
    base.receive(&source.full("one")[..], &options()).unwrap();
    let other = child(&scratch, "other");
    other.receive(&source.full("two")[..], &options()).unwrap();
    let target = child(&scratch, "target");
    let error = target.receive(&stream[..], &options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("origin"), "{error}");
    let wrong = other.snapshot("two").unwrap();
    assert_eq!(
        kind(target.receive(&stream[..], &options().origin(wrong.name()))),
        ErrorKind::NoBase
    );
    let missing = other.snapshot("missing").unwrap();
    assert_eq!(
        kind(target.receive(&stream[..], &options().origin(missing.name()))),
        ErrorKind::NotFound
    );
    assert!(!target.exists().unwrap());
    let origin = base.snapshot("one").unwrap();
    target
        .receive(&stream[..], &options().origin(origin.name()))
        .unwrap();
    assert_eq!(zfs_get("origin", target.name()), origin.name().as_str());
    assert_same(&sent, &format!("{}@c", target.name()));

    // A full stream as a clone of what it has much in common with.
    let full = child(&scratch, "full");
    let stream = source.full("two");
    full.receive(&stream[..], &options().origin(origin.name()))
        .unwrap();
    assert_eq!(zfs_get("origin", full.name()), origin.name().as_str());
    assert_same(&source.name("two"), &format!("{}@two", full.name()));
}

#[test]
fn the_snapshot_can_be_named_otherwise() {
    let scratch = Scratch::new("recv-name");
    let source = Source::new(&scratch);
    let target = child(&scratch, "target");
    let stream = source.full("one");
    let received = target
        .receive(&stream[..], &options().snapshot_name("other"))
        .unwrap();
    assert_eq!(received.snapshot.name().short(), "other");
    assert_eq!(snapshots(&target), ["other"]);
    assert_eq!(
        kind(target.receive(&stream[..], &options().snapshot_name("not/valid"))),
        ErrorKind::InvalidName
    );
}

#[test]
fn healing() {
    let pool = TestPool::new("recv-heal");
    let root = pool.root();
    let source = child(&root, "data");
    source.create(&CreateOptions::filesystem()).unwrap();
    run("zfs", &["set", "compression=off", pool.name()]);
    let contents = noise(1 << 20, 6);
    let mounted = Mounted::new(&source);
    mounted.write("file", &contents);
    drop(mounted);
    let name = snap(&source, "one");
    let stream = zfs_send(&[&name]);
    let heal = options().heal();

    if run("zfs", &["version"]).contains("zfs-kmod-2.1") {
        assert_eq!(
            kind(source.receive(&stream[..], &heal)),
            ErrorKind::Unsupported
        );
        return;
    }
    // Where a block of the file is on the disk, its contents tell.
    run("zpool", &["export", pool.name()]);
    let disk = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(pool.file(0))
        .unwrap();
    let needle = &contents[512 * 1024..512 * 1024 + 4096];
    let mut at = None;
    let mut sector = [0; 4096];
    for offset in (0..crate::support::DISK_SIZE).step_by(512) {
        if disk.read_at(&mut sector[..512], offset).unwrap() == 512
            && sector[..512] == needle[..512]
        {
            at = Some(offset);
            break;
        }
    }
    disk.write_at(&[0x5a; 8192], at.expect("the block"))
        .unwrap();
    let dir = pool.dir().to_str().unwrap();
    run(
        "zpool",
        &["import", "-o", "cachefile=none", "-d", dir, pool.name()],
    );
    let damaged = || {
        let mounted = Mounted::new(&source);
        std::fs::read(mounted.path("file"))
    };
    assert!(damaged().is_err(), "the damage is seen");

    // Another snapshot's stream heals nothing.
    let other = child(&root, "other");
    other.create(&CreateOptions::filesystem()).unwrap();
    let wrong = zfs_send(&[&snap(&other, "one")]);
    assert_eq!(
        kind(source.receive(&wrong[..], &heal)),
        ErrorKind::Unsupported
    );
    assert_eq!(
        kind(source.receive(&stream[..], &heal.snapshot_name("missing"))),
        ErrorKind::NotFound
    );
    let received = source.receive(&stream[..], &options().heal()).unwrap();
    assert_eq!(received.snapshot.name().as_str(), name);
    assert!(damaged().unwrap() == contents);
    let scrub = output("zpool", &["scrub", "-w", pool.name()]);
    assert!(scrub.status.success());
    assert!(run("zpool", &["status", pool.name()]).contains("No known data errors"));
}
