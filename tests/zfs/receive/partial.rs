//! Receives that are interrupted, resumed and aborted.

use super::{Source, assert_same, child, kind, options, snap, snapshots, zfs_send};
use crate::support::{Mounted, Scratch, noise, output, run, zfs, zfs_get};
use helix_zfs::zfs_core::stream::StreamFeatures;
use helix_zfs::zfs_core::{CreateOptions, Dataset, ErrorKind};

/// A source whose streams are long enough to be interrupted in the middle: the kernel keeps what it
/// has written, and it writes in batches of a megabyte.
fn long(scratch: &Scratch) -> Source {
    let dataset = child(scratch, "source");
    dataset.create(&CreateOptions::filesystem()).unwrap();
    let mounted = Mounted::new(&dataset);
    mounted.write("first", noise(3 << 20, 1));
    snap(&dataset, "one");
    mounted.write("second", noise(3 << 20, 2));
    snap(&dataset, "two");
    Source { dataset }
}

fn token(dataset: &Dataset) -> String {
    let properties = dataset.properties().unwrap();
    properties
        .receive_resume_token()
        .expect("a token")
        .to_owned()
}

#[test]
fn interrupted_and_resumed() {
    let scratch = Scratch::new("recv-resume");
    let source = long(&scratch);
    let target = child(&scratch, "target");
    let resumable = options().resumable(true);
    for (short, stream) in [("one", source.full("one")), ("two", source.incremental())] {
        // Twice, and the second time in a stream that itself resumes.
        let cut = &stream[..stream.len() / 3];
        let error = target.receive(cut, &resumable).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Truncated, "{error}");
        let first = token(&target);
        let rest = zfs_send(&["-t", &first]);
        assert!(rest.len() < stream.len());
        let cut = &rest[..rest.len() / 2];
        // A stream that resumes keeps what it brings, asked or not.
        let error = target.receive(cut, &options()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Truncated, "{error}");
        let second = token(&target);
        assert_ne!(first, second);
        // Nothing else is taken meanwhile.
        let error = target.receive(&stream[..], &options()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PartialReceive, "{error}");
        // Nor what resumes at another place.
        let error = target.receive(&rest[..], &resumable).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        assert!(error.to_string().contains("resumes"), "{error}");
        assert_eq!(token(&target), second);

        let rest = zfs_send(&["-t", &second]);
        let received = target.receive(&rest[..], &resumable).unwrap();
        assert!(received.begin.features.contains(StreamFeatures::RESUMING));
        assert_eq!(received.bytes, rest.len() as u64);
        assert_same(&source.name(short), &format!("{}@{short}", target.name()));
        let properties = target.properties().unwrap();
        assert_eq!(properties.receive_resume_token(), None);
    }
    // What resumes has nothing to go on with.
    let other = child(&scratch, "other");
    let rest = {
        let cut = source.full("one");
        let third = child(&scratch, "third");
        third
            .receive(&cut[..cut.len() / 2], &resumable)
            .unwrap_err();
        zfs_send(&["-t", &token(&third)])
    };
    assert_eq!(
        kind(other.receive(&rest[..], &resumable)),
        ErrorKind::NotFound
    );
}

#[test]
fn not_resumable_leaves_nothing() {
    let scratch = Scratch::new("recv-nothing");
    let source = long(&scratch);
    let target = child(&scratch, "target");
    let stream = source.full("one");
    let cut = &stream[..stream.len() / 2];
    assert_eq!(kind(target.receive(cut, &options())), ErrorKind::Truncated);
    assert!(!target.exists().unwrap());
    target.receive(&stream[..], &options()).unwrap();
    let stream = source.incremental();
    let cut = &stream[..stream.len() / 2];
    assert_eq!(kind(target.receive(cut, &options())), ErrorKind::Truncated);
    let properties = target.properties().unwrap();
    assert_eq!(properties.receive_resume_token(), None);
    target.receive(&stream[..], &options()).unwrap();
}

#[test]
fn aborted() {
    let scratch = Scratch::new("recv-abort");
    let source = long(&scratch);
    let resumable = options().resumable(true);
    let target = child(&scratch, "target");
    assert_eq!(kind(target.abort_receive()), ErrorKind::NotFound);
    let stream = source.full("one");
    target
        .receive(&stream[..stream.len() / 2], &resumable)
        .unwrap_err();
    assert!(target.exists().unwrap());
    target.abort_receive().unwrap();
    assert!(!target.exists().unwrap());

    target.receive(&stream[..], &options()).unwrap();
    // A dataset in which no receive was interrupted is left alone.
    assert_eq!(kind(target.abort_receive()), ErrorKind::NotFound);
    let stream = source.incremental();
    target
        .receive(&stream[..stream.len() / 2], &resumable)
        .unwrap_err();
    token(&target);
    target.abort_receive().unwrap();
    assert_eq!(kind(target.abort_receive()), ErrorKind::NotFound);
    assert_eq!(snapshots(&target), ["one"]);
    let properties = target.properties().unwrap();
    assert_eq!(properties.receive_resume_token(), None);
    target.receive(&stream[..], &options()).unwrap();
    assert_eq!(snapshots(&target), ["one", "two"]);

    // The command's interrupted receives, and ours for the command.
    let other = child(&scratch, "other");
    let stream = source.full("one");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &stream[..stream.len() / 2]).unwrap();
    let script = format!(
        "zfs receive -su {} < {}",
        other.name(),
        file.path().display()
    );
    assert!(!output("sh", &["-c", &script]).status.success());
    token(&other);
    other.abort_receive().unwrap();
    assert!(!other.exists().unwrap());
    other
        .receive(&stream[..stream.len() / 2], &resumable)
        .unwrap_err();
    assert_eq!(zfs_get("receive_resume_token", other.name()), token(&other));
    run("zfs", &["receive", "-A", other.name().as_str()]);
    assert!(!other.exists().unwrap());
}

#[test]
fn a_receive_that_runs_cannot_be_aborted() {
    let scratch = Scratch::new("recv-running");
    let source = long(&scratch);
    let target = child(&scratch, "target");
    let stream = source.full("one");
    let (theirs, mut ours) = std::os::unix::net::UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        let running = {
            let target = target.clone();
            let resumable = options().resumable(true);
            scope.spawn(move || target.receive_from(&theirs, &resumable))
        };
        use std::io::Write;
        // All but the end: it waits for that.
        let (most, end) = stream.split_at(stream.len() - 312);
        ours.write_all(most).unwrap();
        let state = || zfs().dataset(target.name().as_str())?.properties();
        while !state().is_ok_and(|properties| properties.receive_resume_token().is_some()) {
            std::thread::yield_now();
        }
        assert_eq!(kind(target.abort_receive()), ErrorKind::Busy);
        // Another receive is not let in.
        assert_eq!(
            kind(target.receive(&stream[..], &options())),
            ErrorKind::PartialReceive
        );
        ours.write_all(end).unwrap();
        running.join().unwrap().unwrap();
    });
    assert_same(&source.name("one"), &format!("{}@one", target.name()));
}

#[test]
fn what_has_no_end_can_be_kept() {
    let scratch = Scratch::new("recv-saved");
    let source = long(&scratch);
    let resumable = options().resumable(true);
    let middle = child(&scratch, "middle");
    let stream = source.full("one");
    middle
        .receive(&stream[..stream.len() / 2], &resumable)
        .unwrap_err();
    // What has arrived is sent on, and the rest comes from the source.
    let saved = zfs_send(&["-S", middle.name().as_str()]);
    let target = child(&scratch, "target");
    let error = target.receive(&saved[..], &resumable).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Truncated, "{error}");
    let rest = zfs_send(&["-t", &token(&target)]);
    target.receive(&rest[..], &options()).unwrap();
    assert_same(&source.name("one"), &format!("{}@one", target.name()));
}
