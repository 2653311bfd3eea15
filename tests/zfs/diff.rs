//! Differences of snapshots, against what `zfs diff` prints.

use crate::support::{Mounted, Scratch, TENANT, as_user, noise, output, run, zfs};
use helix_zfs::zfs_core::diff::{Change, ChangeKind, Diff, FileKind, ObjectPath};
use helix_zfs::zfs_core::key::{Encryption, WrappingKey};
use helix_zfs::zfs_core::props::{PropertySet, UserProps};
use helix_zfs::zfs_core::{CreateOptions, Dataset, ErrorKind, SnapshotFilter};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::time::UNIX_EPOCH;

/// A change as `zfs diff -FHt` has it.
fn line(change: &Change, mounted: &Path) -> String {
    let shown = |path: &ObjectPath| {
        let bytes = match path {
            ObjectPath::Path(path) => path.as_os_str().as_bytes().to_vec(),
            ObjectPath::Unlinked => b"(on_delete_queue)".to_vec(),
        };
        let mut text = String::new();
        for byte in mounted.as_os_str().as_bytes().iter().chain(&bytes) {
            match byte {
                b'!'..=b'~' if *byte != b'\\' => text.push(char::from(*byte)),
                other => text.push_str(&format!("\\{other:04o}")),
            }
        }
        text
    };
    let time = change.changed.duration_since(UNIX_EPOCH).unwrap();
    let rest = match &change.kind {
        ChangeKind::Added(path) | ChangeKind::Removed(path) | ChangeKind::Modified(path) => {
            shown(path)
        }
        ChangeKind::Renamed { from, to } => format!("{}\t{}", shown(from), shown(to)),
        ChangeKind::Links { path, by } => format!("{}\t({by:+})", shown(path)),
        other => panic!("{other:?}"),
    };
    format!(
        "{:>10}.{:09}\t{}\t{}\t{rest}",
        time.as_secs(),
        time.subsec_nanos(),
        change.kind.letter(),
        change.file.letter()
    )
}

fn changes(diff: Diff) -> Vec<Change> {
    diff.collect::<Result<_, _>>().unwrap()
}

fn ours(diff: Diff, mounted: &Path) -> Vec<String> {
    changes(diff)
        .iter()
        .map(|change| line(change, mounted))
        .collect()
}

fn told(from: &str, to: &str) -> Vec<String> {
    let told = run("zfs", &["diff", "-FHt", from, to]);
    told.lines().map(str::to_owned).collect()
}

fn snapshot(dataset: &Dataset, short: &str) -> helix_zfs::zfs_core::Snapshot {
    let snapshot = dataset.snapshot(short).unwrap();
    snapshot.create(&UserProps::new()).unwrap();
    snapshot
}

#[test]
fn every_kind_of_change() {
    let scratch = Scratch::new("diff");
    let mounted = Mounted::new(&scratch);
    let at = |name: &str| mounted.path(name);
    for name in [
        "same", "changed", "gone", "moved", "linked", "unlinked", "turned", "open",
    ] {
        mounted.write(name, name);
    }
    std::fs::hard_link(at("unlinked"), at("unlinked-2")).unwrap();
    for name in ["folder", "folder/deep", "old-folder", "moved-folder"] {
        std::fs::create_dir(at(name)).unwrap();
    }
    mounted.write("moved-folder/in", b"x");
    mounted.write("old-folder/in", b"x");
    let first = snapshot(&scratch, "first");

    mounted.write("changed", b"other contents");
    std::fs::remove_file(at("gone")).unwrap();
    std::fs::rename(at("moved"), at("folder/deep/moved here")).unwrap();
    std::fs::rename(at("moved-folder"), at("renamed-folder")).unwrap();
    std::fs::hard_link(at("linked"), at("linked-2")).unwrap();
    std::fs::hard_link(at("linked"), at("linked-3")).unwrap();
    std::fs::remove_file(at("unlinked-2")).unwrap();
    std::fs::remove_dir_all(at("old-folder")).unwrap();
    std::fs::remove_file(at("turned")).unwrap();
    std::fs::create_dir(at("turned")).unwrap();
    mounted.write("new", noise(5000, 1));
    let odd = std::ffi::OsStr::from_bytes(b"not \xff utf\\8\t");
    std::fs::write(at("folder").join(odd), b"x").unwrap();
    symlink("target", at("link")).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    let mode = rustix::fs::Mode::from(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), fifo, mode, 0).unwrap();
    let character = rustix::fs::FileType::CharacterDevice;
    let device = rustix::fs::makedev(1, 3);
    rustix::fs::mknodat(rustix::fs::CWD, at("null"), character, mode, device).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    // Removed, and still there for who has it open.
    let open = std::fs::File::open(at("open")).unwrap();
    std::fs::remove_file(at("open")).unwrap();
    let second = snapshot(&scratch, "second");

    let name = scratch.name();
    let place = mounted.path("");
    let place = Path::new(place.to_str().unwrap().trim_end_matches('/'));
    let expected = told(first.name().as_str(), second.name().as_str());
    assert!(expected.len() >= 19, "{expected:#?}");
    assert_eq!(ours(first.diff(&second).unwrap(), place), expected);

    // Typed, with the inode's number.
    let all = changes(first.diff(&second).unwrap());
    let new = all
        .iter()
        .find(|change| change.kind == ChangeKind::Added(ObjectPath::Path("/new".into())))
        .unwrap();
    let inode = std::fs::metadata(at("new")).unwrap().ino();
    assert_eq!((new.file, new.object), (FileKind::File, inode));
    assert!(all.iter().any(|change| matches!(
        &change.kind,
        ChangeKind::Links { by: 2, path: ObjectPath::Path(path) } if path.ends_with("linked")
    )));

    // Against the filesystem as it is, which needs a snapshot for the occasion.
    drop(open);
    std::fs::write(at("after"), b"x").unwrap();
    std::fs::remove_file(at("new")).unwrap();
    let expected = told(second.name().as_str(), name);
    assert!(expected.len() >= 3, "{expected:#?}");
    let live = second.diff_to_live(&scratch).unwrap();
    assert_eq!(scratch.snapshots(&SnapshotFilter::new()).unwrap().len(), 3);
    assert_eq!(ours(live, place), expected);
    let shorts: Vec<String> = scratch
        .snapshots(&SnapshotFilter::new())
        .unwrap()
        .iter()
        .map(|entry| entry.name.short().to_owned())
        .collect();
    assert_eq!(shorts, ["first", "second"], "the occasion is over");
}

#[test]
fn many_changes_and_a_reader_that_goes() {
    let scratch = Scratch::new("diff-many");
    let mounted = Mounted::new(&scratch);
    let first = snapshot(&scratch, "first");
    std::fs::create_dir(mounted.path("d")).unwrap();
    for n in 0..200 {
        mounted.write(&format!("d/f{n}"), b"x");
    }
    let second = snapshot(&scratch, "second");
    for n in (0..200).step_by(3) {
        std::fs::remove_file(mounted.path(&format!("d/f{n}"))).unwrap();
    }
    let third = snapshot(&scratch, "third");
    let place = mounted.path("");
    let place = Path::new(place.to_str().unwrap().trim_end_matches('/'));
    let added = ours(first.diff(&second).unwrap(), place);
    assert_eq!(added, told(first.name().as_str(), second.name().as_str()));
    assert_eq!(added.len(), 202);
    let removed = ours(second.diff(&third).unwrap(), place);
    assert_eq!(removed, told(second.name().as_str(), third.name().as_str()));
    // Nothing is left of one that is dropped on the way: its snapshots can go.
    let mut part = first.diff(&third).unwrap();
    assert!(part.by_ref().take(3).all(|change| change.is_ok()));
    drop(part);
    let mut live = third.diff_to_live(&scratch).unwrap();
    assert!(live.next().is_none());
    drop(live);
    zfs().destroy_snapshots(&[first, second, third]).unwrap();
    assert!(
        scratch
            .snapshots(&SnapshotFilter::new())
            .unwrap()
            .is_empty()
    );

    // A clone's past goes back to its origin's.
    let base = snapshot(&scratch, "base");
    let clone = base
        .clone_to(scratch.child("clone").unwrap().name(), &PropertySet::new())
        .unwrap();
    let of_clone = Mounted::new(&clone);
    of_clone.write("new in the clone", b"x");
    let found = changes(base.diff_to_live(&clone).unwrap());
    let path = ObjectPath::Path("/new in the clone".into());
    assert!(
        found
            .iter()
            .any(|change| change.kind == ChangeKind::Added(path.clone()))
    );
    let later = snapshot(&clone, "later");
    assert_eq!(changes(base.diff(&later).unwrap()), found);
}

#[test]
fn refusals() {
    let scratch = Scratch::new("diff-no");
    let mounted = Mounted::new(&scratch);
    let first = snapshot(&scratch, "first");
    mounted.write("f", b"x");
    let second = snapshot(&scratch, "second");
    let kind = |outcome: Result<Diff, helix_zfs::zfs_core::Error>| outcome.unwrap_err().kind();
    let missing = scratch.snapshot("none").unwrap();
    assert_eq!(kind(first.diff(&missing)), ErrorKind::NotFound);
    assert_eq!(kind(missing.diff(&first)), ErrorKind::NotFound);
    assert_eq!(kind(missing.diff_to_live(&scratch)), ErrorKind::NotFound);
    let nowhere = scratch.child("none").unwrap();
    assert_eq!(kind(first.diff_to_live(&nowhere)), ErrorKind::NotFound);
    // Nor is one in its own past.
    assert_eq!(kind(first.diff(&first)), ErrorKind::NotAncestor);
    let error = second.diff(&first).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotAncestor, "{error}");
    assert!(error.to_string().contains("@second"), "{error}");
    assert_eq!(scratch.snapshots(&SnapshotFilter::new()).unwrap().len(), 2);

    let volume = scratch.child("vol").unwrap();
    volume.create(&CreateOptions::volume(1 << 20)).unwrap();
    let of_volume = snapshot(&volume, "s");
    assert_eq!(kind(of_volume.diff(&of_volume)), ErrorKind::WrongKind);
    assert_eq!(kind(of_volume.diff_to_live(&volume)), ErrorKind::WrongKind);

    // Who may.
    let refused = as_user(TENANT, || kind(first.diff(&second)));
    assert_eq!(refused, ErrorKind::PermissionDenied);
    let refused = as_user(TENANT, || kind(second.diff_to_live(&scratch)));
    assert_eq!(refused, ErrorKind::PermissionDenied);
    run("zfs", &["allow", "tenant", "diff", scratch.name()]);
    let seen = as_user(TENANT, || changes(first.diff(&second).unwrap()).len());
    assert_eq!(seen, 2);
    let seen = as_user(TENANT, || {
        changes(first.diff_to_live(&scratch).unwrap()).len()
    });
    assert_eq!(seen, 2);

    // Paths are encrypted, and the table of objects is not.
    let secret = scratch.child("secret").unwrap();
    let encryption = Encryption::aes_256_gcm(&WrappingKey::raw(&[7; 32])).unwrap();
    let options = CreateOptions::filesystem().encryption(encryption);
    secret.create(&options).unwrap();
    let before = snapshot(&secret, "before");
    Mounted::new(&secret).write("f", b"x");
    let after = snapshot(&secret, "after");
    assert_eq!(changes(before.diff(&after).unwrap()).len(), 2);
    secret.unload_key().unwrap();
    let mut items = before.diff(&after).unwrap();
    let error = items.next().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::KeyNotLoaded, "{error}");
    assert!(items.next().is_none());
    let told = output(
        "zfs",
        &["diff", before.name().as_str(), after.name().as_str()],
    );
    assert!(!told.status.success());
}

/// A rollback may write the objset's block anew, and the kernel then calls every object free.
#[test]
fn a_rollback_removes_nothing() {
    let scratch = Scratch::new("diff-rollback");
    let dataset = scratch.child("data").unwrap();
    dataset.create(&CreateOptions::filesystem()).unwrap();
    Mounted::new(&dataset).write("first", "1");
    run("zfs", &["set", "readonly=on", dataset.name().as_str()]);
    let snapshot = |short| {
        let snapshot = dataset.snapshot(short).unwrap();
        snapshot.create(&UserProps::new()).unwrap();
        snapshot
    };
    let before = snapshot("before");
    run("zpool", &["sync", dataset.name().pool()]);
    run("zfs", &["rollback", before.name().as_str()]);
    let after = snapshot("after");
    assert_ne!(after.written_since(before.name()).unwrap().used, 0);
    assert_eq!(changes(before.diff(&after).unwrap()), []);
    assert_eq!(changes(before.diff_to_live(&dataset).unwrap()), []);
    // What is free indeed is told nonetheless.
    run("zfs", &["set", "readonly=off", dataset.name().as_str()]);
    let mounted = Mounted::new(&dataset);
    std::fs::remove_file(mounted.path("first")).unwrap();
    let letters: Vec<_> = changes(before.diff_to_live(&dataset).unwrap())
        .iter()
        .map(|change| change.kind.letter())
        .collect();
    assert_eq!(letters, ['-', 'M']);
}
