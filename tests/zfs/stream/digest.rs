//! What digests prove, on real pools: above all, that a target which sends again what it received
//! sends the same content.

use crate::examples::{fails, works};
use crate::support::{Mounted, Scratch, device_of_size, noise, run, unique, zfs};
use helix_zfs::zfs_core::digest::{
    ContentDifference, ContentTree, Difference, DigestProblem, Digester, Digests, Manifest,
};
use helix_zfs::zfs_core::send::SendOptions;
use helix_zfs::zfs_core::stream::{Body, Observer, PassThrough, SliceReader};
use helix_zfs::zfs_core::{Dataset, Snapshot, SnapshotName};
use rustix::fs::{FallocateFlags, XattrFlags};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// How a snapshot is sent.
#[derive(Clone, Copy, Default)]
struct Flags {
    raw: bool,
    compressed: bool,
    embedded: bool,
}

const PLAIN: Flags = Flags {
    raw: false,
    compressed: false,
    embedded: false,
};
const RAW: Flags = Flags { raw: true, ..PLAIN };
const COMPRESSED: Flags = Flags {
    compressed: true,
    ..PLAIN
};
const EMBEDDED: Flags = Flags {
    embedded: true,
    ..PLAIN
};
impl Flags {
    fn options(self, from: Option<&SnapshotName>) -> SendOptions {
        let mut options = match from {
            Some(from) => SendOptions::incremental(from.clone()),
            None => SendOptions::full(),
        };
        if self.raw {
            options = options.raw();
        }
        if self.compressed {
            options = options.compressed();
        }
        if self.embedded {
            options = options.embedded();
        }
        options
    }
}

fn snapshot(dataset: &Dataset, name: &str) -> Snapshot {
    dataset.snapshot(name).expect("a valid name")
}

/// Sends and digests; the bytes go to `target`.
fn digest(
    dataset: &Dataset,
    step: (Option<&str>, &str),
    flags: Flags,
    mut target: impl Write,
) -> Digests {
    let from = step.0.map(|from| snapshot(dataset, from).name().clone());
    let stream = snapshot(dataset, step.1)
        .send(&flags.options(from.as_ref()))
        .expect("sent");
    let mut pass = PassThrough::new(stream, Digester::new());
    std::io::copy(&mut pass, &mut target).expect("a whole stream");
    let (mut stream, digester) = pass.into_parts();
    assert_eq!(stream.read(&mut [0]).expect("sent"), 0);
    stream.finish().expect("sent");
    digester.finish().expect("in order")
}

/// Sends to the `zfs` command, which receives it.
fn transfer(
    source: &Dataset,
    target: &Dataset,
    step: (Option<&str>, &str),
    flags: Flags,
    set: &[&str],
) -> Digests {
    let mut command = Command::new("zfs");
    command.args(["receive", "-u"]);
    if step.0.is_none() {
        command.args(set);
    }
    let mut child = command
        .arg(target.name().as_str())
        .stdin(Stdio::piped())
        .spawn()
        .expect("zfs runs");
    let input = child.stdin.take().expect("a pipe");
    let digests = digest(source, step, flags, input);
    assert!(child.wait().expect("waited for").success());
    digests
}

fn change(path: &Path, offset: u64, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(path).expect("opened");
    file.seek(SeekFrom::Start(offset)).expect("a place");
    file.write_all(bytes).expect("written");
}

fn punch(path: &Path, offset: u64, len: u64) {
    let file = OpenOptions::new().write(true).open(path).expect("opened");
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(file, flags, offset, len).expect("punched");
}

fn attribute(path: &Path, value: &[u8]) {
    rustix::fs::setxattr(path, "user.big", value, XattrFlags::empty()).expect("set");
}

/// Bytes that compress.
fn text(len: usize, seed: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    for n in 0.. {
        if bytes.len() >= len {
            break;
        }
        let line = format!("line {} of the text\n", (n * seed) % 97);
        bytes.extend_from_slice(line.as_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Three snapshots, `a`, `b` and `c`, with all that a stream can say about files.
fn write_history(dataset: &Dataset) {
    let files = Mounted::new(dataset);
    let name = dataset.name().as_str();
    let path = |file: &str| files.path(file);
    files.write("tiny", "tiny");
    files.write("noise", noise(400_000, 1));
    files.write("text", text(600_000, 2));
    files.write("zeros", vec![0; 300_000]);
    let mixed = [noise(131_072, 9), vec![0; 262_144], text(131_072, 4)];
    files.write("mixed", mixed.concat());
    let sparse = File::create(path("sparse")).expect("created");
    sparse.set_len(10 << 20).expect("longer");
    change(&path("sparse"), 3 << 20, &noise(100_000, 5));
    files.write("same", noise(200_000, 6));
    files.write("grows", noise(3000, 7));
    files.write("shrinks", noise(300_000, 8));
    files.write("punched", noise(524_288, 10));
    fs::create_dir(path("many")).expect("created");
    fs::create_dir(path("gone")).expect("created");
    for n in 0..34 {
        files.write(
            &format!("many/a file with a longer name {n}"),
            noise(200 + n * 13, 100 + n as u64),
        );
        files.write(&format!("gone/{n}"), noise(600, 900 + n as u64));
    }
    for n in 1..4 {
        files.write(&format!("attributes{n}"), noise(4000, n));
        attribute(&path(&format!("attributes{n}")), &noise(3000, 3));
    }
    // Too long for the dnode.
    let letter = |byte: u8| char::from(b'a' + byte % 26);
    let long: String = noise(1000, 11).into_iter().map(letter).collect();
    std::os::unix::fs::symlink(long, path("link")).expect("linked");
    run("zfs", &["snapshot", &format!("{name}@a")]);

    change(&path("noise"), 200_000, &noise(1000, 50));
    files.write("same", noise(200_000, 6));
    files.write("grows", noise(300_000, 51));
    let shrinks = OpenOptions::new().write(true).open(path("shrinks"));
    shrinks.expect("opened").set_len(100_000).expect("shorter");
    punch(&path("punched"), 131_072, 262_144);
    punch(&path("text"), 131_072, 131_072);
    change(&path("mixed"), 0, &vec![0; 131_072]);
    fs::remove_dir_all(path("gone")).expect("removed");
    for n in (0..34).step_by(3) {
        fs::remove_file(path(&format!("many/a file with a longer name {n}"))).expect("removed");
    }
    attribute(&path("attributes1"), &noise(6000, 8));
    attribute(&path("attributes2"), b"small now");
    change(&path("attributes3"), 0, b"changed");
    files.write("new", text(260_000, 60));
    for n in 0..34 {
        files.write(&format!("passing{n}"), noise(100, n));
    }
    let pool = name.split('/').next().expect("a pool");
    run("zpool", &["sync", pool]);
    for n in 0..34 {
        fs::remove_file(path(&format!("passing{n}"))).expect("removed");
    }
    run("zfs", &["snapshot", &format!("{name}@b")]);

    files.write("tiny", "TINY!");
    fs::remove_file(path("punched")).expect("removed");
    fs::remove_file(path("attributes1")).expect("removed");
    for n in 0..34 {
        files.write(&format!("again{n}"), noise(100 * n, n as u64));
    }
    change(&path("sparse"), 9 << 20, b"end");
    files.write("text", "");
    run("zfs", &["snapshot", &format!("{name}@c")]);
}

/// A dataset with that history, next to which others find a place.
struct History {
    root: Scratch,
    source: Dataset,
}

impl History {
    fn new(topic: &str, options: &[&str]) -> Self {
        let root = Scratch::new(topic);
        let name = format!("{}/source", root.name());
        let mut args = vec![
            "create",
            "-o",
            "mountpoint=none",
            "-o",
            "xattr=sa",
            "-o",
            "dnodesize=auto",
        ];
        args.extend(options);
        args.push(&name);
        run("zfs", &args);
        let source = zfs().dataset(&name).expect("a valid name");
        write_history(&source);
        Self { root, source }
    }

    fn target(&self) -> Dataset {
        let name = format!("{}/target{}", self.root.name(), unique());
        zfs().dataset(&name).expect("a valid name")
    }
}

const STEPS: [(Option<&str>, &str); 3] = [(None, "a"), (Some("a"), "b"), (Some("b"), "c")];
/// The first of them.
const SHORT: &[(Option<&str>, &str)] = &[(None, "a"), (Some("a"), "b")];

/// Sends each step to a new target, which sends it again; and lets both send the last snapshot as a
/// full stream.
#[track_caller]
fn assert_same_again(
    history: &History,
    steps: &[(Option<&str>, &str)],
    flags: Flags,
    set: &[&str],
) {
    let target = history.target();
    for step in steps {
        let sent = transfer(&history.source, &target, *step, flags, set);
        let again = digest(&target, *step, flags, std::io::sink());
        assert_same(&sent, &again);
    }
    let whole = (None, steps.last().expect("steps").1);
    let sent = digest(&history.source, whole, flags, std::io::sink());
    assert_same(&sent, &digest(&target, whole, flags, std::io::sink()));
}

#[track_caller]
fn assert_same(sent: &Digests, again: &Digests) {
    let (ours, theirs) = (sent.content().expect("one"), again.content().expect("one"));
    assert_eq!(ours.differences(theirs), []);
    assert_eq!(ours.root(), theirs.root());
    assert_eq!(ours.counts(), theirs.counts());
    assert!(
        ours.counts().objects > 20 && ours.counts().blocks > 5,
        "{:?}",
        ours.counts()
    );
    let manifest = Manifest::new(sent).expect("complete");
    manifest.verify(sent).expect("itself");
    manifest.verify_content(again).expect("the same content");
    // The bytes are others: the name of the dataset, at least, is in them.
    assert_ne!(sent.transport().root(), again.transport().root());
    assert!(manifest.verify(again).is_err());
}

#[test]
fn a_raw_stream_has_the_same_content_again() {
    let key = "-o encryption=on -o keyformat=hex -o keylocation=file://";
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key");
    fs::write(&file, "07".repeat(32)).expect("written");
    let key = format!("{key}{}", file.to_str().expect("UTF-8"));
    let options: Vec<&str> = key.split(' ').collect();
    let history = History::new("digest-raw", &options);
    assert_same_again(&history, &STEPS, RAW, &[]);
    // Decrypted it is a stream as any other.
    assert_same_again(&history, SHORT, PLAIN, &["-o", "compression=off"]);
    // Neither side needs the key.
    let target = history.target();
    run("zfs", &["unload-key", history.source.name().as_str()]);
    let sent = transfer(&history.source, &target, (None, "c"), RAW, &[]);
    assert_same(&sent, &digest(&target, (None, "c"), RAW, std::io::sink()));
}

#[test]
fn a_stream_that_is_not_encrypted_has_the_same_content_again() {
    let history = History::new("digest-plain", &["-o", "compression=lz4"]);
    for flags in [COMPRESSED, EMBEDDED] {
        assert_same_again(&history, SHORT, flags, &["-o", "compression=off"]);
    }
}

#[test]
fn large_blocks_have_the_same_content_again_when_they_are_sent_whole() {
    let options = ["-o", "compression=lz4", "-o", "recordsize=1M"];
    let history = History::new("digest-large", &options);
    // Raw is the same as `-Lce`, for what is not encrypted.
    assert_same_again(&history, SHORT, RAW, &["-o", "compression=off"]);
    // Cut by the kernel, the last piece of a file is shorter, and the target pads it.
    let target = history.target();
    let sent = transfer(&history.source, &target, (None, "a"), PLAIN, &[]);
    let again = digest(&target, (None, "a"), PLAIN, std::io::sink());
    let differences = sent
        .content()
        .expect("one")
        .differences(again.content().expect("one"));
    assert!(!differences.is_empty());
    assert!(
        differences
            .iter()
            .all(|d| matches!(d, ContentDifference::Blocks { .. }))
    );
}

#[test]
fn what_the_source_stores_plainly_must_be_stored_plainly_by_the_target() {
    let history = History::new("digest-off", &["-o", "compression=off"]);
    assert_same_again(&history, SHORT, COMPRESSED, &["-o", "compression=off"]);
    // Blocks of zeros become holes, and a plain stream is the same all the same.
    assert_same_again(&history, SHORT, PLAIN, &["-o", "compression=lz4"]);
    let target = history.target();
    let set = ["-o", "compression=lz4"];
    let sent = transfer(&history.source, &target, (None, "a"), COMPRESSED, &set);
    let again = digest(&target, (None, "a"), COMPRESSED, std::io::sink());
    let error = Manifest::new(&sent)
        .expect("complete")
        .verify_content(&again);
    let error = error.expect_err("the target compresses");
    assert!(
        matches!(error.differences(), [Difference::Content { .. }]),
        "{error}"
    );
}

#[test]
fn a_volume_has_the_same_content_again() {
    let root = Scratch::new("digest-volume");
    let name = |part: &str| format!("{}/{part}", root.name());
    // No other test's volume has this size, by which the device is found.
    let size = 293 * 16_384;
    run(
        "zfs",
        &[
            "create",
            "-s",
            "-V",
            &size.to_string(),
            "-b",
            "16k",
            &name("source"),
        ],
    );
    let source = zfs().dataset(&name("source")).expect("a valid name");
    let device = device_of_size(size);
    change(&device, 0, &noise(300_000, 1));
    let device = File::open(&device).expect("opened");
    device.sync_all().expect("synced");
    drop(device);
    run("zfs", &["snapshot", &name("source@a")]);
    let target = zfs().dataset(&name("target")).expect("a valid name");
    let sent = transfer(&source, &target, (None, "a"), COMPRESSED, &[]);
    let again = digest(&target, (None, "a"), COMPRESSED, std::io::sink());
    let (ours, theirs) = (sent.content().expect("one"), again.content().expect("one"));
    assert_eq!(ours.differences(theirs), []);
    assert!(ours.counts().blocks > 10, "{:?}", ours.counts());
}

#[test]
fn a_difference_names_the_file_and_the_place() {
    let dataset = Scratch::new("digest-names");
    let files = Mounted::new(&dataset);
    for n in 0..34 {
        files.write(&format!("file{n}"), noise(300_000, n));
    }
    run("zfs", &["snapshot", &format!("{}@a", dataset.name())]);
    change(&files.path("file17"), 140_000, b"x");
    let object = fs::metadata(files.path("file17")).expect("there").ino();
    run("zfs", &["snapshot", &format!("{}@b", dataset.name())]);
    let a = digest(&dataset, (None, "a"), PLAIN, std::io::sink());
    let b = digest(&dataset, (None, "b"), PLAIN, std::io::sink());
    let (a, b) = (a.content().expect("one"), b.content().expect("one"));
    let differences = a.differences(b);
    let place = (object, 131_072);
    let block = ContentDifference::Blocks {
        first: place,
        last: place,
    };
    let file = ContentDifference::Objects {
        first: object,
        last: object,
    };
    assert_eq!(differences, [ContentDifference::Snapshot, file, block]);
}

#[test]
fn a_snapshot_is_itself_however_it_is_asked_for() {
    let source = Scratch::new("digest-self");
    let name = source.name();
    let files = Mounted::new(&source);
    files.write("a", noise(300_000, 1));
    run("zfs", &["snapshot", &format!("{name}@a")]);
    files.write("b", noise(300_000, 2));
    run("zfs", &["snapshot", &format!("{name}@b")]);
    let by_snapshot = digest(&source, STEPS[1], PLAIN, std::io::sink());
    // Another name, and a bookmark as the base.
    run(
        "zfs",
        &["bookmark", &format!("{name}@a"), &format!("{name}#base")],
    );
    run(
        "zfs",
        &["rename", &format!("{name}@b"), &format!("{name}@other")],
    );
    let other = run_bytes(&[
        "send",
        "-i",
        &format!("{name}#base"),
        &format!("{name}@other"),
    ]);
    let mut pass = PassThrough::new(other.as_slice(), Digester::new());
    std::io::copy(&mut pass, &mut std::io::sink()).expect("a whole stream");
    let by_bookmark = pass.into_parts().1.finish().expect("in order");
    let root = |digests: &Digests| digests.content().map(ContentTree::root);
    assert_eq!(root(&by_snapshot), root(&by_bookmark));
    // From nothing it is another stream, of the same snapshot.
    let full = digest(&source, (None, "other"), PLAIN, std::io::sink());
    let mismatch = Manifest::new(&by_snapshot)
        .expect("complete")
        .verify_content(&full);
    let mismatch = mismatch.expect_err("another base");
    assert!(
        matches!(mismatch.differences(), [Difference::Snapshot { .. }]),
        "{mismatch}"
    );
}

fn run_bytes(args: &[&str]) -> Vec<u8> {
    let output = Command::new("zfs").args(args).output().expect("zfs runs");
    assert!(output.status.success(), "{args:?}");
    output.stdout
}

/// A fault of the kernels of 2.3 and 2.4, see
/// [`DigestProblem::SpillAsData`](helix_zfs::zfs_core::digest::DigestProblem::SpillAsData).
#[test]
fn attributes_that_were_sent_as_data_are_noticed() {
    let root = Scratch::new("digest-spill");
    run("zfs", &["set", "xattr=sa", "compression=lz4", root.name()]);
    let files = Mounted::new(&root);
    files.write("file", noise(5000, 1));
    // So long that they have a block of their own, and so dull that its pointer has room for it.
    attribute(&files.path("file"), &[b'a'; 3000]);
    run("zfs", &["snapshot", &format!("{}@a", root.name())]);

    let bytes = run_bytes(&["send", "-e", &format!("{}@a", root.name())]);
    let mut reader = SliceReader::new(&bytes);
    let mut digester = Digester::new();
    let (mut as_spill, mut as_data) = (0, 0);
    while let Some(record) = reader.next_record().expect("right checksums") {
        match &record.body {
            Body::Spill(_) => as_spill += 1,
            Body::WriteEmbedded(write) if write.offset > 1 << 62 => as_data += 1,
            _ => {}
        }
        digester.record(&record);
    }
    assert_eq!(as_spill + as_data, 1);
    match digester.finish() {
        Ok(_) => assert_eq!(as_spill, 1),
        Err(error) => {
            assert_eq!(as_data, 1);
            let object = fs::metadata(files.path("file")).expect("there").ino();
            assert_eq!(error.problem(), DigestProblem::SpillAsData { object });
        }
    }
    // Not so without `-e`.
    let plain = digest(&root, (None, "a"), PLAIN, std::io::sink());
    assert!(plain.is_complete());
}

#[test]
fn the_example_verifies_what_a_target_has() {
    let root = Scratch::new("digest-example");
    let name = |part: &str| format!("{}/{part}", root.name());
    run("zfs", &["create", "-o", "mountpoint=none", &name("source")]);
    let source = zfs().dataset(&name("source")).expect("a valid name");
    let files = Mounted::new(&source);
    files.write("file", noise(500_000, 1));
    run("zfs", &["snapshot", &name("source@a")]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    };
    let sent = file("sent", &run_bytes(&["send", &name("source@a")]));
    let manifest = works("verify_manifest", &["write", &sent]);
    let manifest = file("manifest", manifest.as_bytes());
    let told = works("verify_manifest", &["verify", &manifest, &sent]);
    let length = fs::metadata(&sent).expect("there").len();
    assert_eq!(told, format!("{length} bytes, every one as it should be\n"));

    let target = zfs().dataset(&name("target")).expect("a valid name");
    transfer(&source, &target, (None, "a"), PLAIN, &[]);
    let again = file("again", &run_bytes(&["send", &name("target@a")]));
    let told = works("verify_manifest", &["content", &manifest, &again]);
    assert!(told.starts_with(&name("source@a: ")), "{told}");
    let message = fails("verify_manifest", &["verify", &manifest, &again]);
    assert!(message.contains(", in 0.."), "{message}");

    files.write("file", noise(500_000, 2));
    run("zfs", &["snapshot", &name("source@b")]);
    let other = file("other", &run_bytes(&["send", &name("source@b")]));
    let message = fails("verify_manifest", &["content", &manifest, &other]);
    assert!(message.contains(" and not "), "{message}");
    let message = fails("verify_manifest", &["content", &sent, &other]);
    assert!(message.starts_with(&sent), "{message}");
    assert!(fails("verify_manifest", &[]).starts_with("usage: "));
}
