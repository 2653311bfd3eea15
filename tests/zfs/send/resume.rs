//! Interrupted receives, their tokens, and what goes on from there.

use super::{command, commands_estimate, kinds, read, receive, snapshot, story};
use crate::support::{Mounted, Scratch, noise, run, zfs, zfs_get};
use helix_zfs::zfs_core::props::PropertySet;
use helix_zfs::zfs_core::send::SendOptions;
use helix_zfs::zfs_core::stream::ResumeToken;
use helix_zfs::zfs_core::{Dataset, ErrorKind, Snapshot};

/// Receives the first `len` bytes of a stream, resumably.
fn interrupted(bytes: &[u8], len: usize, into: &Dataset) -> ResumeToken {
    let name = into.name().as_str();
    let output = receive(&bytes[..len], &["-s", "-u", name]);
    assert!(!output.status.success(), "{name} has all of it");
    let token = into.resume_token().unwrap().expect("a token");
    assert_eq!(
        token,
        zfs_get("receive_resume_token", name).parse().unwrap()
    );
    token
}

/// Receives the rest.
fn completed(bytes: &[u8], of: &Snapshot, into: &Dataset) {
    super::received(bytes, of, into);
    assert_eq!(into.resume_token().unwrap(), None);
}

#[test]
fn a_token_goes_there_and_back() {
    let scratch = Scratch::new("resume");
    let (first, second) = story(&scratch, "a", &[]);
    let steps = [
        (&first, SendOptions::full()),
        (&second, SendOptions::incremental(&first)),
    ];
    for (n, (kind, _)) in kinds().into_iter().enumerate().skip(4) {
        let target = scratch.child(&format!("to{n}")).unwrap();
        for (of, options) in &steps {
            let options = kind(options.clone());
            let whole = read(of.send(&options).unwrap());
            let token = interrupted(&whole, whole.len() * 3 / 4, &target);
            assert_eq!(token.to_guid, of.stat().unwrap().guid);
            assert_eq!(&token.to_name, of.name());
            assert_eq!(
                token.from_guid,
                (std::ptr::eq(*of, &second)).then(|| first.stat().unwrap().guid)
            );
            // None at all, if the kernel had applied nothing when it ran out of input.
            assert!(token.bytes < whole.len() as u64);

            // The command takes what we write, and makes the same of it.
            let text = token.to_string();
            let rest = read(zfs().resume_send(&token).unwrap());
            assert!(rest == command(&["send", "-t", &text]), "{token:?}");
            let resume = SendOptions::resume(token.clone());
            assert!(rest == read(of.send(&resume).unwrap()));
            assert_eq!(
                of.send_size(&resume).unwrap(),
                commands_estimate(&["-t", &text])
            );
            completed(&rest, of, &target);
        }
    }
}

#[test]
fn names_may_change_and_bases_go() {
    let scratch = Scratch::new("resume-names");
    let (first, second) = story(&scratch, "a", &[]);
    let target = scratch.child("to").unwrap();
    let full = read(first.send(&SendOptions::full()).unwrap());
    super::received(&full, &first, &target);
    let step = SendOptions::incremental(&first).raw();
    let whole = read(second.send(&step).unwrap());
    let token = interrupted(&whole, whole.len() / 2, &target);
    let expected = read(zfs().resume_send(&token).unwrap());

    // A bookmark does as well, and new names do no harm.
    first.bookmark("mark").unwrap();
    first.destroy().unwrap();
    let renamed = second.rename("renamed").unwrap();
    let moved = renamed
        .dataset()
        .rename(scratch.child("b").unwrap().name())
        .unwrap();
    let error = zfs().resume_send(&token).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let rest = read(moved.resume_send(&token).unwrap());
    assert_eq!(rest.len(), expected.len());

    // Another snapshot that has the name is not sent.
    let other = snapshot(&moved, "second");
    let options = SendOptions::resume(token.clone());
    let error = other.send(&options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedStream, "{error}");
    // Nor is a stream without its base.
    moved.bookmark("mark").unwrap().destroy().unwrap();
    let error = moved.resume_send(&token).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    // Nor from a point that there is not.
    let mut astray = token.clone();
    astray.from_guid = None;
    astray.object = 1 << 40;
    assert!(moved.resume_send(&astray).is_err());

    // The receiver has the names of before.
    let output = receive(&rest, &["-u", target.name().as_str()]);
    assert!(output.status.success());
    assert!(target.snapshot_by_guid(token.to_guid).unwrap().is_some());
}

#[test]
fn a_redacted_stream_is_resumed_as_such() {
    let scratch = Scratch::new("resume-redact");
    let (_, second) = story(&scratch, "a", &[]);
    let clone = scratch.child("clone").unwrap();
    second.clone_to(clone.name(), &PropertySet::new()).unwrap();
    let files = Mounted::new(&clone);
    files.write("embedded", noise(5000, 9));
    drop(files);
    let cleaned = snapshot(&clone, "cleaned");
    run(
        "zfs",
        &[
            "redact",
            second.name().as_str(),
            "book",
            cleaned.name().as_str(),
        ],
    );
    let book = second.dataset().name().bookmark("book").unwrap();
    let whole = read(second.send(&SendOptions::full().redacted(&book)).unwrap());
    let target = scratch.child("to").unwrap();
    let token = interrupted(&whole, whole.len() / 2, &target);
    assert!(
        token
            .redact_snaps
            .as_ref()
            .is_some_and(|snaps| snaps.len() == 1)
    );
    let rest = read(zfs().resume_send(&token).unwrap());
    assert!(rest == command(&["send", "-t", &token.to_string()]));
    completed(&rest, &second, &target);
}

#[test]
fn partial_state_is_passed_on() {
    let scratch = Scratch::new("resume-saved");
    let (first, second) = story(&scratch, "a", &[]);
    let (near, far) = (
        scratch.child("near").unwrap(),
        scratch.child("far").unwrap(),
    );
    for (of, options) in [
        (&first, SendOptions::full()),
        (&second, SendOptions::incremental(&first)),
    ] {
        let whole = read(of.send(&options).unwrap());
        let token = interrupted(&whole, whole.len() * 3 / 4, &near);
        let saved = read(near.send_saved().unwrap());
        assert!(saved == command(&["send", "-S", near.name().as_str()]));
        let file = tempfile::tempfile().unwrap();
        near.send_saved_to(&file).unwrap();
        assert_eq!(file.metadata().unwrap().len(), saved.len() as u64);
        let estimate = near.send_saved_size().unwrap();
        assert!(
            estimate > 0 && estimate < 2 * whole.len() as u64,
            "{estimate}"
        );

        // A third machine goes on from there.
        let passed = interrupted(&saved, saved.len(), &far);
        assert_eq!(passed.to_guid, token.to_guid);
        completed(&read(zfs().resume_send(&passed).unwrap()), of, &far);
        completed(&read(zfs().resume_send(&token).unwrap()), of, &near);
    }
}
