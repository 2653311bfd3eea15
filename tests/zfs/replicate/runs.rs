//! Runs that nothing disturbs.

use super::{Pair, Readers};
use crate::support::{Mounted, Scratch, TestPool, allowed, may, noise, run, zfs, zfs_get};
use helix_zfs::gate::Operation;
use helix_zfs::replicate::{Job, Phase, Replicator, Source};
use helix_zfs::zfs_core::CreateOptions;
use helix_zfs::zfs_core::props::UserProps;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[test]
fn an_encrypted_dataset_without_its_key() {
    let pair = Pair::encrypted("rep-raw");
    pair.write("a", noise(300_000, 1));
    pair.write("b", "small");
    let (first, files) = pair.snapshot("first");
    let outcome = pair.replicate();
    assert_eq!(outcome.replicated.len(), 1);
    assert_eq!(outcome.replicated[0].name, "first");
    assert!(outcome.replicated[0].bytes > 300_000);
    assert!(!outcome.replicated[0].resumed);
    assert_eq!(outcome.snapshot.name().short(), "first");
    assert_eq!(
        zfs_get("keystatus", pair.of_target("chain").name()),
        "unavailable"
    );
    assert_eq!(pair.readers().files(), files);

    // The source keeps a bookmark, and nothing else.
    let guid = first.stat().unwrap().guid;
    assert!(pair.tags(&first).is_empty());
    assert_eq!(pair.bookmarks(), [guid]);
    assert_eq!(pair.tags(&outcome.snapshot), ["helix-replicate"]);
    let again = pair.replicate();
    assert!(again.replicated.is_empty());
    assert_eq!(again.snapshot.name(), outcome.snapshot.name());

    // So that it may destroy the snapshot.
    first.destroy().unwrap();
    pair.write("a", noise(200_000, 2));
    pair.write("c", noise(10_000, 3));
    let (second, files) = pair.snapshot("second");
    let outcome = pair.replicate();
    assert_eq!(outcome.replicated[0].name, "second");
    assert!(outcome.in_use.is_empty());
    assert_eq!(pair.readers().files(), files);
    assert_eq!(pair.bookmarks(), [second.stat().unwrap().guid]);
    assert_eq!(pair.chain(), ["first", "second"]);
    let older = pair.of_target("chain").snapshot("first").unwrap();
    assert!(pair.tags(&older).is_empty());
}

/// What is stored as it came, compressed or not, can be sent again as it came.
#[test]
fn an_unencrypted_dataset_however_it_is_compressed() {
    let pair = Pair::plain("rep-plain");
    let name = pair.data.name().as_str();
    run("zfs", &["set", "recordsize=1M", name]);
    for (n, compression) in ["off", "lz4", "zstd"].into_iter().enumerate() {
        run("zfs", &["set", &format!("compression={compression}"), name]);
        pair.change(n as u64);
        let text = format!("{compression} ").repeat(20_000);
        pair.write(compression, &text);
        pair.write(&format!("tiny-{compression}"), &text[..60]);
        pair.write(&format!("zeros-{compression}"), [0; 200_000]);
        // Its target is in a spill block that compresses well: 2.3 and 2.4 would lose it raw.
        let link = pair.mount().path(&format!("link-{compression}"));
        std::os::unix::fs::symlink("to/".repeat(250), link).unwrap();
        let (_, files) = pair.snapshot(compression);
        assert_eq!(pair.replicate().replicated[0].name, compression);
        assert_eq!(pair.readers().files(), files);
    }
    std::fs::remove_file(pair.mount().path("off")).unwrap();
    std::fs::remove_file(pair.mount().path("changing")).unwrap();
    let (_, files) = pair.snapshot("removed");
    pair.replicate();
    assert_eq!(pair.readers().files(), files);
}

#[test]
fn a_volume() {
    // A size that no other volume has: the guest has no names for them but that.
    const SIZE: u64 = (9 << 20) + 5 * 16384;
    let pair = Pair::new("rep-volume", &CreateOptions::volume(SIZE));
    let written = noise(500_000, 7);
    wait_for(|| devices(SIZE).len() == 1);
    std::fs::write(&devices(SIZE)[0], &written).unwrap();
    for short in ["first", "second"] {
        pair.snapshot(short);
        let outcome = pair.replicate();
        let current = pair.of_target("current");
        let origin = zfs_get("origin", current.name());
        assert_eq!(origin, outcome.snapshot.name().as_str());
    }
    // The source, the chain, and what readers see.
    wait_for(|| devices(SIZE).len() == 3);
    for device in devices(SIZE) {
        let mut read = vec![0; written.len()];
        let mut file = std::fs::File::open(&device).unwrap();
        file.read_exact(&mut read).unwrap();
        assert!(read == written, "{device:?}");
    }
}

/// The nodes of the volumes of this size.
fn devices(size: u64) -> Vec<PathBuf> {
    let sectors = (size / 512).to_string();
    let volumes = std::fs::read_dir("/sys/block")
        .unwrap()
        .map(|entry| entry.unwrap());
    volumes
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("zd"))
        .filter(|entry| {
            std::fs::read_to_string(entry.path().join("size"))
                .is_ok_and(|size| size.trim() == sectors)
        })
        .map(|entry| PathBuf::from("/dev").join(entry.file_name()))
        .collect()
}

/// Nodes appear a moment after the volume is there, and go a moment after it is gone.
fn wait_for(mut there: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if there() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the nodes are not as expected");
}

#[test]
fn readers_keep_what_they_have_open() {
    let pair = Pair::encrypted("rep-open");
    pair.write("a", "first");
    let (_, first) = pair.snapshot("first");
    pair.replicate();
    let readers = pair.readers();
    pair.change(1);
    let (_, second) = pair.snapshot("second");
    let outcome = pair.replicate();
    assert_eq!(outcome.in_use.len(), 1, "{outcome:?}");
    assert_eq!(readers.files(), first);
    let newer = pair.readers();
    assert_eq!(newer.files(), second);
    // Again, with two that are in use.
    pair.change(2);
    let (_, third) = pair.snapshot("third");
    let outcome = pair.replicate();
    assert_eq!(outcome.in_use.len(), 2, "{outcome:?}");
    assert_eq!(readers.files(), first);
    assert_eq!(newer.files(), second);
    assert_eq!(pair.readers().files(), third);
    drop(readers);
    drop(newer);
    let outcome = pair.replicate();
    assert!(outcome.in_use.is_empty(), "{outcome:?}");
    let children = zfs().dataset(pair.target.as_str()).unwrap().children();
    let children: Vec<_> = children.unwrap().into_iter().map(|c| c.name).collect();
    let expected = ["chain", "current"].map(|name| pair.of_target(name).name().clone());
    assert_eq!(children, expected);
}

/// Two pools, TCP, several datasets at once, and a limit.
#[test]
fn many_datasets_over_tcp_into_another_pool() {
    let pool = TestPool::new("rep");
    let scratch = Scratch::new("rep-many");
    let targets = pool.root();
    let jobs: Vec<Job> = (0..5)
        .map(|n| {
            let data = scratch.child(&format!("tenant-{n}")).unwrap();
            data.create(&CreateOptions::filesystem()).unwrap();
            Mounted::new(&data).write("a", noise(100_000, n));
            data.snapshot("s")
                .unwrap()
                .create(&UserProps::new())
                .unwrap();
            let target = targets.child(&format!("copy-{n}")).unwrap();
            Job::new(data.name(), target.name())
        })
        .collect();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let source = Source::new(&zfs())
        .offer((*scratch).name())
        .bandwidth(NonZeroU64::new(8 << 20).unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let replicator =
        Replicator::new(&zfs()).on_progress(Duration::from_secs(3600), move |progress| {
            sink.lock().unwrap().push(progress.clone());
        });
    let parallel = NonZeroUsize::new(3).unwrap();
    let receive = may(Operation::Receive, &targets);
    let results = std::thread::scope(|scope| {
        for _ in &jobs {
            scope.spawn(|| {
                let (connection, _) = listener.accept().unwrap();
                source.serve(allowed(Operation::Send), connection).unwrap();
            });
        }
        replicator.pull_all(receive, &jobs, parallel, |_| TcpStream::connect(address))
    });
    assert_eq!(results.len(), jobs.len());
    for (n, (job, result)) in jobs.iter().zip(results).enumerate() {
        let outcome = result.unwrap();
        assert!(
            job.target()
                .is_ancestor_of(&outcome.snapshot.name().dataset())
        );
        let current = zfs()
            .dataset(&format!("{}/current", job.target().as_str()))
            .unwrap();
        let files = Readers::new(&current).files();
        assert!(files["a"] == noise(100_000, n as u64));
    }
    let seen = seen.lock().unwrap();
    for job in &jobs {
        for phase in [Phase::Receiving, Phase::Verifying] {
            let mut of = seen
                .iter()
                .filter(|p| p.target == *job.target() && p.phase == phase);
            let last = of.next_back().expect("a report");
            assert_eq!(last.snapshot, "s");
            assert!(
                last.bytes > 100_000 && last.total.unwrap() > 100_000,
                "{last:?}"
            );
            assert!(last.remaining().is_some());
        }
    }
}
