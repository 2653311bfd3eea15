//! What is done to the devices of a pool, looked at with the `zpool` command.

mod add;
mod attach;
mod remove;
mod spare;
mod split;
mod state;

use crate::support::{TestPool, zfs};
use helix_zfs::zfs_core::history::HistoryEvent;
use helix_zfs::zfs_core::{Error, ErrorKind, Pool, PoolActivity, Result, SyncMode};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

fn pool(of: &TestPool) -> Pool {
    zfs().pool(of.name()).unwrap()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn disk(of: &TestPool, n: usize) -> String {
    path(&of.file(n)).to_owned()
}

/// Another file for a pool, of `mib` MiB.
fn more(of: &TestPool, name: &str, mib: u64) -> PathBuf {
    let path = of.dir().join(name);
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(mib << 20).unwrap();
    path
}

/// A pool on files, where `layout` has a number for each file.
fn made(topic: &str, layout: &str) -> TestPool {
    let words = layout.split_whitespace();
    let count = words.clone().filter(|word| word.parse::<usize>().is_ok());
    let of = TestPool::files(topic, count.count());
    let vdevs: Vec<String> = words
        .map(|word| match word.parse() {
            Ok(n) => disk(&of, n),
            Err(_) => word.to_owned(),
        })
        .collect();
    of.create(&vdevs.iter().map(String::as_str).collect::<Vec<_>>());
    of
}

/// How well a vdev is, in the word that `zpool status` prints.
fn shown(of: &TestPool, vdev: &str) -> Option<String> {
    let status = pool(of).status().unwrap();
    let vdev = status.vdevs().find(|found| found.to_string() == vdev);
    vdev.map(|vdev| vdev.health().to_string())
}

#[track_caller]
fn assert_shown(of: &TestPool, vdev: &str, state: &str) {
    assert_eq!(shown(of, vdev).as_deref(), Some(state), "{vdev}");
}

/// Waits for resilvers, replacements and removals to end.
fn settle(of: &TestPool) {
    use PoolActivity::{Remove, Replace, Resilver};
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // They go on with each transaction group, which takes seconds to come of itself.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                pool(of).sync(SyncMode::Force).unwrap();
            }
        });
        let waited = [Resilver, Replace, Remove].map(|activity| pool(of).wait_for(activity));
        done.store(true, Ordering::Relaxed);
        for outcome in waited {
            outcome.unwrap();
        }
    });
    // The names of the vdevs change a moment later.
    pool(of).sync(SyncMode::Force).unwrap();
}

/// That something is refused as `kind`, by a message that names the object; before the kernel is
/// asked if `early` is set.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind, object: &str) -> Error {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.object().contains(object), "{error}");
    error
}

/// That something is refused before the kernel is asked.
#[track_caller]
fn refused_early<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind, object: &str) {
    let error = refused(result, kind, object);
    assert_eq!(error.errno(), None, "{error}");
}

/// That something is refused by the kernel.
#[track_caller]
fn refused_late<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind, object: &str) {
    let error = refused(result, kind, object);
    assert!(error.errno().is_some(), "{error}");
}

/// That the last line of the pool's history ends in `line`.
#[track_caller]
fn assert_recorded(of: &TestPool, line: &str) {
    let lines = pool(of)
        .history()
        .filter_map(|record| match record.unwrap().event {
            HistoryEvent::Command(line) => Some(line),
            _ => None,
        });
    let last = lines.last().unwrap();
    assert!(last.ends_with(line), "{last}");
}
