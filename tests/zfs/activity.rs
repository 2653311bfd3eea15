//! Scrubs, trims, initialisations, checkpoints, and waiting for them.

mod checkpoint;
pub(crate) mod refused;
mod scrub;
mod targets;
mod wait;

use crate::support::{DISK_SIZE, TestPool, run, zfs};
use helix_zfs::zfs_core::Pool;
use std::fs::File;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

fn pool(of: &TestPool) -> Pool {
    zfs().pool(of.name()).unwrap()
}

/// A disk that is in no pool.
fn new_disk(of: &TestPool) -> PathBuf {
    let path = of.dir().join("new");
    File::create(&path).unwrap().set_len(DISK_SIZE).unwrap();
    path
}

/// Does `release` when `wait`, on a thread of its own, waits in the kernel.
fn while_waiting<T: Send>(wait: impl FnOnce() -> T + Send, release: impl FnOnce()) -> T {
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        let waiter = scope.spawn(move || {
            sender.send(rustix::thread::gettid()).unwrap();
            wait()
        });
        let stack = format!("/proc/self/task/{}/stack", receiver.recv().unwrap());
        while !std::fs::read_to_string(&stack).is_ok_and(|calls| calls.contains("cv_wait")) {
            assert!(!waiter.is_finished(), "there was nothing to wait for");
            std::thread::sleep(Duration::from_millis(5));
        }
        release();
        waiter.join().unwrap()
    })
}

/// Whether the pool's history has each of these commands, in this order.
fn assert_history(of: &TestPool, commands: &[&str]) {
    let text = run("zpool", &["history", of.name()]);
    let mut lines = text.lines();
    for command in commands {
        assert!(
            lines.any(|line| line.ends_with(&format!("{command} {}", of.name()))),
            "{command}: {text}"
        );
    }
}
