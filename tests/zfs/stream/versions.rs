//! Streams that another version of ZFS made, received by the one that runs here.

use std::fs;
use std::io::{Read, Seek, Write};
use std::path::Path;

use helix_zfs::zfs_core::digest::Manifest;
use helix_zfs::zfs_core::key::WrappingKey;
use helix_zfs::zfs_core::receive::ReceiveOptions;
use helix_zfs::zfs_core::send::SendOptions;
use helix_zfs::zfs_core::stream::ResumeToken;
use helix_zfs::zfs_core::{Dataset, ErrorKind, Result, Snapshot, SnapshotName};
use rustix::mount::{MountFlags, mount};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::corpus::{self, Stream};
use super::digests;
use crate::support::{Scratch, unmount, zfs};

/// How much of `compressed` had come when it was cut, which made `resumed` and `saved`.
const CUT: usize = 30_000;

/// What is received of each version, in this order: a stream comes after the one that it builds on.
const STREAMS: [&str; 17] = [
    "full",
    "incremental",
    "clone",
    "compressed-zstd",
    "compressed-embedded",
    "large-blocks",
    "raw",
    "raw-incremental",
    "replicate-raw",
    "redacted",
    "large-dnodes",
    "spill",
    "case-insensitive",
    "volume",
    "raw-volume",
    "longname",
    "large-microzap",
];

/// The two versions that are not the one that runs here.
fn others() -> [&'static str; 2] {
    let here = zfs().capabilities().unwrap().module.to_string();
    match here.as_str() {
        here if here.starts_with("2.1.") => ["2.3", "2.4"],
        here if here.starts_with("2.3.") => ["2.1", "2.4"],
        here if here.starts_with("2.4.") => ["2.1", "2.3"],
        here => panic!("there are no streams for version {here}"),
    }
}

fn receive(stream: &Stream, dataset: &Dataset) -> Result<()> {
    let bytes = stream.bytes();
    if stream.is_compound() {
        let received = dataset.receive_compound(bytes.as_slice(), &ReceiveOptions::new())?;
        assert_eq!(received.received.len(), stream.begins.len() - 1);
        return Ok(());
    }
    let mut options = ReceiveOptions::new();
    if stream.begins[0].flags & 1 != 0 {
        let parent = dataset
            .name()
            .as_str()
            .rsplit_once('/')
            .expect("a parent")
            .0;
        let origin = format!("{parent}/{}@a", stream.base.expect("an origin"));
        options = options.origin(&SnapshotName::new(&origin).unwrap());
    }
    let received = dataset.receive(bytes.as_slice(), &options)?;
    assert_eq!(received.to_guid, stream.begins[0].to_guid);
    assert_eq!(received.bytes, stream.length);
    assert!(received.property_errors.is_empty());
    Ok(())
}

fn streams_of(version: &'static str) {
    let scratch = Scratch::new("versions");
    let features = zfs().capabilities().expect("they can be read");
    for name in STREAMS {
        let newer = matches!(name, "longname" | "large-microzap");
        if newer && version == "2.1" {
            continue;
        }
        let stream = corpus::stream(version, name);
        let into = match (name, stream.base) {
            ("clone", _) | (_, None) => name,
            (_, Some(base)) => base,
        };
        let dataset = scratch.child(into).expect("a valid name");
        let result = receive(stream, &dataset);
        if newer && !features.has_pool_feature(&name.replace('-', "_")) {
            let error = result.expect_err("an unknown feature");
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{name}: {error}");
            assert!(!dataset.exists().unwrap(), "{name}");
            continue;
        }
        if let Err(error) = result {
            panic!("{version} {name}: {error}");
        }
        check(stream, &dataset);
        send_on(stream, &dataset);
    }
}

/// Whether the dataset has the snapshot, and in it the files that were sent.
fn check(stream: &Stream, dataset: &Dataset) {
    let Some(short) = stream.snapshot else { return };
    let snapshot = dataset.snapshot(short).expect("a valid name");
    let what = format!("{} {}", stream.version, stream.name);
    let guid = snapshot.stat().expect("it exists").guid;
    assert!(
        stream.begins.iter().any(|begin| begin.to_guid == guid),
        "{what}"
    );
    if let Some(contents) = stream.contents {
        if dataset.encryption().expect("a dataset").is_some() {
            // Passphrases take seconds here, so that one has to do.
            if stream.name != "raw-incremental" {
                return;
            }
            dataset
                .load_key(&WrappingKey::passphrase(corpus::PASSPHRASE).unwrap())
                .expect("the key is the source's");
        }
        assert_eq!(hash(&snapshot), contents, "{what}");
    }
}

/// The hash of a snapshot's files that the corpus has.
fn hash(snapshot: &Snapshot) -> String {
    let dir = TempDir::with_prefix("helix-zfs-").expect("a temporary folder");
    let name = snapshot.name().as_str();
    mount(name, dir.path(), "zfs", MountFlags::RDONLY, None)
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut tree = Tree::default();
    tree.walk(dir.path(), ".");
    unmount(dir.path()).expect("unmounted");
    for list in [&mut tree.files, &mut tree.links, &mut tree.folders] {
        list.sort();
    }
    let mut text = String::new();
    for (path, digest) in tree.files {
        text += &format!("{digest}  {path}\n");
    }
    for (path, target) in tree.links {
        text += &format!("{path} {target}\n");
    }
    for path in tree.folders {
        text += &format!("{}\n", path.0);
    }
    hex(&Sha256::digest(text))
}

#[derive(Default)]
struct Tree {
    files: Vec<(String, String)>,
    links: Vec<(String, String)>,
    folders: Vec<(String, String)>,
}

impl Tree {
    fn walk(&mut self, folder: &Path, name: &str) {
        self.folders.push((name.to_owned(), String::new()));
        for entry in fs::read_dir(folder).expect("a folder") {
            let entry = entry.expect("an entry");
            let name = format!("{name}/{}", entry.file_name().to_str().expect("UTF-8"));
            let kind = entry.file_type().expect("a type");
            if kind.is_dir() {
                self.walk(&entry.path(), &name);
            } else if kind.is_symlink() {
                let target = fs::read_link(entry.path()).expect("a link");
                self.links
                    .push((name, target.to_str().expect("UTF-8").to_owned()));
            } else {
                let bytes = fs::read(entry.path()).expect("readable");
                self.files.push((name, hex(&Sha256::digest(bytes))));
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn streams_of_another_version_are_received() {
    streams_of(others()[0]);
}

#[test]
fn streams_of_the_third_version_are_received() {
    streams_of(others()[1]);
}

/// Receives a stream that ends early until as much of it is kept as elsewhere: what the kernel had
/// applied when its input ended is a matter of time.
fn kept_as_much(
    dataset: &Dataset,
    theirs: &ResumeToken,
    receive: impl Fn() -> zfs_core::Result<()>,
) -> ResumeToken {
    for _ in 0..100 {
        let error = receive().expect_err("it was cut");
        assert_eq!(error.kind(), ErrorKind::Truncated, "{error}");
        let token = dataset.resume_token().unwrap().expect("a token");
        if (token.object, token.offset) == (theirs.object, theirs.offset) {
            return token;
        }
        dataset.abort_receive().unwrap();
    }
    panic!("never as much as {theirs:?}");
}

/// Interrupted by one version, gone on by another: the token that another version's receiver had is
/// the one that this one's has of the same bytes, and the rest that another version sent fits.
#[test]
fn a_receive_goes_on_with_what_another_version_sends() {
    let scratch = Scratch::new("versions-resume");
    for version in others() {
        let whole = corpus::stream(version, "compressed");
        let rest = corpus::stream(version, "resumed");
        let dataset = scratch.child(version).unwrap();
        let options = || ReceiveOptions::new().resumable(true);
        // The kernel reads for itself: a reader of ours keeps back the last record, which nothing
        // proves.
        let mut part = tempfile::tempfile().unwrap();
        part.write_all(&whole.bytes()[..CUT]).unwrap();
        let theirs = ResumeToken::parse(rest.token.expect("a token")).unwrap();
        let token = kept_as_much(&dataset, &theirs, || {
            (&part).rewind().unwrap();
            dataset.receive_from(&part, &options()).map(drop)
        });
        assert_eq!(token, theirs, "{version}");

        dataset
            .receive(rest.bytes().as_slice(), &options())
            .unwrap_or_else(|error| panic!("{version}: {error}"));
        check(whole, &dataset);
        assert_eq!(dataset.resume_token().unwrap(), None);
    }
}

/// What an interrupted receive has got has no END, and is no more than that elsewhere.
#[test]
fn a_saved_stream_stays_partial() {
    let scratch = Scratch::new("versions-saved");
    for version in others() {
        let saved = corpus::stream(version, "saved");
        let dataset = scratch.child(version).unwrap();
        let options = ReceiveOptions::new().resumable(true);
        let theirs = ResumeToken::parse(saved.token.expect("a token")).unwrap();
        let bytes = saved.bytes();
        let token = kept_as_much(&dataset, &theirs, || {
            dataset.receive(bytes.as_slice(), &options).map(drop)
        });
        assert_eq!(token.to_guid, theirs.to_guid, "{version}");
        dataset.abort_receive().unwrap();
        assert!(!dataset.exists().unwrap());
    }
}

/// What this version sends of a snapshot that another version made has the content that the other
/// version sent.
fn send_on(stream: &Stream, dataset: &Dataset) {
    let options = match stream.name {
        "full" | "spill" | "case-insensitive" | "volume" => SendOptions::full(),
        "incremental" => SendOptions::incremental(&dataset.snapshot("a").unwrap()),
        "large-blocks" | "large-dnodes" => SendOptions::full().large_blocks(),
        "raw" | "raw-volume" => SendOptions::full().raw(),
        "raw-incremental" => SendOptions::incremental(&dataset.snapshot("a").unwrap()).raw(),
        _ => return,
    };
    let snapshot = dataset.snapshot(stream.snapshot.unwrap()).unwrap();
    let mut again = Vec::new();
    let mut sent = snapshot.send(&options).unwrap();
    sent.read_to_end(&mut again).unwrap();
    Manifest::new(&digests(&stream.bytes()))
        .unwrap()
        .verify_content(&digests(&again))
        .unwrap_or_else(|error| panic!("{} {}: {error}", stream.version, stream.name));
}
