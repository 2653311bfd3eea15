//! What can keep a replication from its end, each a problem of its own.

use super::Pair;
use crate::support::{allowed, noise, run, zfs};
use helix_zfs::gate::Operation;
use helix_zfs::replicate::{Job, Problem, ReplicateError, Replicator, Side, Source};
use helix_zfs::zfs_core::key::{Encryption, WrappingKey};
use helix_zfs::zfs_core::{CreateOptions, ErrorKind};
use std::io::Write;
use std::os::unix::net::UnixStream;

#[test]
fn snapshots_that_the_source_does_not_know() {
    let pair = Pair::plain("rep-diverged");
    pair.write("a", "first");
    let (first, _) = pair.snapshot("first");
    pair.replicate();
    pair.change(2);
    let (second, _) = pair.snapshot("second");
    pair.replicate();
    // The source goes back to the first snapshot, and on from there.
    run("zfs", &["rollback", "-r", first.name().as_str()]);
    pair.change(3);
    let (third, newer) = pair.snapshot("third");
    let error = pair.fail();
    assert_eq!(error.problem(), Problem::Diverged, "{error}");
    assert_eq!(error.side(), Side::Source);
    assert!(error.detail().contains("first"), "{error}");
    assert!(!second.exists().unwrap());

    // As the advice says.
    assert!(error.advice().contains("roll its `chain` back"));
    let chain = pair.of_target("chain");
    run(
        "zfs",
        &["destroy", pair.of_target("current").name().as_str()],
    );
    chain
        .snapshot("second")
        .unwrap()
        .release("helix-replicate")
        .unwrap();
    chain.rollback_to_discarding_newer("first").unwrap();
    let outcome = pair.replicate();
    assert_eq!(outcome.replicated[0].name, "third");
    assert_eq!(pair.readers().files(), newer);

    // Nothing in common.
    run("zfs", &["destroy", third.name().as_str()]);
    run("zfs", &["destroy", first.name().as_str()]);
    for bookmark in pair.data.bookmarks().unwrap() {
        run("zfs", &["destroy", bookmark.name.as_str()]);
    }
    pair.snapshot("fourth");
    let error = pair.fail();
    assert_eq!(error.problem(), Problem::NoCommonBase, "{error}");
    assert_eq!(pair.readers().files(), newer);
}

#[test]
fn a_target_that_somebody_changed() {
    let pair = Pair::plain("rep-modified");
    pair.write("a", "first");
    pair.snapshot("first");
    pair.replicate();
    let chain = pair.of_target("chain");
    run("zfs", &["set", "readonly=off", chain.name().as_str()]);
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().to_str().unwrap();
    run(
        "mount",
        &["-t", "zfs", "-o", "zfsutil", chain.name().as_str(), path],
    );
    std::fs::write(dir.path().join("intruder"), "here").unwrap();
    run("umount", &[path]);
    pair.change(2);
    let (_, files) = pair.snapshot("second");
    let error = pair.fail();
    assert_eq!(error.problem(), Problem::TargetModified, "{error}");
    assert_eq!(error.zfs_error().unwrap().kind(), ErrorKind::Modified);
    chain.rollback_to("first").unwrap();
    pair.replicate();
    assert_eq!(pair.readers().files(), files);

    // Something of another origin in the place of what readers see.
    let current = pair.of_target("current");
    run("zfs", &["destroy", current.name().as_str()]);
    current.create(&CreateOptions::filesystem()).unwrap();
    let error = pair.fail();
    assert_eq!(error.problem(), Problem::TargetModified, "{error}");
    // A dataset that was never a target.
    let other = zfs().dataset(pair.target.as_str()).unwrap();
    run("zfs", &["inherit", "helix:replica", other.name().as_str()]);
    let error = pair.fail();
    assert_eq!(error.problem(), Problem::TargetModified, "{error}");
    assert!(error.detail().contains("chain is not ours"), "{error}");
}

#[test]
fn a_target_that_is_full() {
    let pair = Pair::encrypted("rep-full");
    pair.write("a", noise(100_000, 1));
    let (_, files) = pair.snapshot("first");
    pair.replicate();
    run("zfs", &["set", "quota=3M", pair.target.as_str()]);
    pair.write("b", noise(8_000_000, 2));
    let (_, newer) = pair.snapshot("second");
    let error = pair.fail();
    assert_eq!(error.problem(), Problem::TargetFull, "{error}");
    assert_eq!(pair.readers().files(), files);
    run("zfs", &["set", "quota=none", pair.target.as_str()]);
    let outcome = pair.replicate();
    assert!(outcome.replicated[0].resumed);
    assert_eq!(pair.readers().files(), newer);
}

#[test]
fn encryption_that_does_not_fit() {
    let mut pair = Pair::plain("rep-key");
    pair.write("a", "first");
    pair.snapshot("first");
    let parent = zfs().dataset(pair.target.as_str()).unwrap();
    let key = WrappingKey::raw(&[7; 32]);
    let encryption = Encryption::aes_256_gcm(&key).unwrap();
    parent
        .create(&CreateOptions::filesystem().encryption(encryption))
        .unwrap();
    pair.target = parent.name().child("inner").unwrap();
    let error = pair.fail();
    assert_eq!(error.problem(), Problem::KeyMismatch, "{error}");

    // The base was decrypted on its way to the target: a raw increment does not fit.
    let pair = Pair::encrypted("rep-ivset");
    pair.write("a", "first");
    let (first, _) = pair.snapshot("first");
    pair.replicate();
    let chain = pair.of_target("chain");
    run(
        "zfs",
        &["destroy", pair.of_target("current").name().as_str()],
    );
    let verified =
        crate::support::zfs_get("helix:verified", chain.snapshot("first").unwrap().name());
    chain
        .snapshot("first")
        .unwrap()
        .release("helix-replicate")
        .unwrap();
    run("zfs", &["destroy", "-r", chain.name().as_str()]);
    let plainly = format!(
        "zfs send {} | zfs receive -u {}",
        first.name(),
        chain.name()
    );
    run("sh", &["-c", &plainly]);
    let mark = format!("helix:verified={verified}");
    run(
        "zfs",
        &[
            "set",
            &mark,
            chain.snapshot("first").unwrap().name().as_str(),
        ],
    );
    pair.change(2);
    pair.snapshot("second");
    let error = pair.fail();
    assert_eq!(error.problem(), Problem::KeyMismatch, "{error}");
}

#[test]
fn what_is_not_offered_or_does_not_exist() {
    let pair = Pair::plain("rep-offer");
    let error = pair.fail();
    assert_eq!(error.problem(), Problem::NoSnapshot, "{error}");
    pair.write("a", "first");
    pair.snapshot("first");
    let run = |source: Source, job: Job| -> ReplicateError {
        let (ours, theirs) = UnixStream::pair().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || source.serve(allowed(Operation::Send), theirs));
            Replicator::new(&zfs())
                .pull(allowed(Operation::Receive), ours, &job)
                .expect_err("no success")
        })
    };
    let error = run(Source::new(&zfs()), pair.job());
    assert_eq!(
        (error.problem(), error.side()),
        (Problem::NotOffered, Side::Source)
    );
    let error = run(pair.source(), pair.job().snapshot("other"));
    assert_eq!(error.problem(), Problem::NoSnapshot, "{error}");
    let missing = pair.data.child("missing").unwrap();
    let error = run(pair.source(), Job::new(missing.name(), &pair.target));
    assert_eq!(
        (error.problem(), error.side()),
        (Problem::Zfs, Side::Source)
    );
    assert!(error.detail().contains("missing"), "{error}");
    let orphan = pair.target.child("no/parent").unwrap();
    let error = run(pair.source(), Job::new(pair.data.name(), &orphan));
    assert_eq!(
        (error.problem(), error.side()),
        (Problem::Zfs, Side::Target)
    );
    assert_eq!(error.zfs_error().unwrap().kind(), ErrorKind::NotFound);
}

#[test]
fn one_run_at_a_time() {
    let pair = Pair::plain("rep-busy");
    pair.write("a", "first");
    pair.snapshot("first");
    pair.replicate();
    let lock = zfs()
        .snapshot(&format!("{}@helix-replicate", pair.target))
        .unwrap();
    // The hold of the run before ends when a program that another test starts has begun.
    let guard = (0..500)
        .find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            zfs().hold_until_drop(&[&lock], "helix-replicate").ok()
        })
        .expect("the run before has ended");
    let error = pair.fail();
    assert_eq!(
        (error.problem(), error.side()),
        (Problem::Busy, Side::Target)
    );
    drop(guard);
    pair.replicate();
}

#[test]
fn who_speaks_something_else() {
    let pair = Pair::plain("rep-babel");
    let answer = |words: &'static [u8]| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(words).unwrap();
        drop(theirs);
        let replicator = Replicator::new(&zfs());
        let receive = allowed(Operation::Receive);
        replicator.pull(receive, ours, &pair.job()).unwrap_err()
    };
    // It may hang up before it is told hello.
    for words in [
        &b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\nthis is no frame of ours, is it"[..],
        b"hzr1",
    ] {
        let error = answer(words);
        let expected = [Problem::Protocol, Problem::Connection];
        assert!(expected.contains(&error.problem()), "{error}");
        assert!(!pair.of_target("chain").exists().unwrap());
    }
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.write_all(&[b'x'; 100]).unwrap();
    let send = allowed(Operation::Send);
    let error = pair.source().serve(send, theirs).unwrap_err();
    assert_eq!(error.problem(), Problem::Protocol, "{error}");
}
