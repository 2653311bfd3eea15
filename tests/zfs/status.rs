//! The state of pools in some thirty situations, compared with what the `zpool` command says of
//! them at the same moment: its text, and the JSON that it has since 2.3.

mod agreement;
mod damage;
mod devices;
mod features;
mod layouts;
mod printed;
mod scans;

pub(crate) use agreement::agrees;

use crate::support::{TestPool, output, run, zfs};
use helix_zfs::zfs_core::Pool;
use helix_zfs::zfs_core::pool::PoolReport;
use std::path::Path;
use std::time::Duration;

fn pool(of: &TestPool) -> Pool {
    zfs().pool(of.name()).unwrap()
}

fn report(of: &TestPool) -> PoolReport {
    pool(of).report().unwrap()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The file of a disk, as an argument.
fn disk(pool: &TestPool, n: usize) -> String {
    path(&pool.file(n)).to_owned()
}

/// A pool on files, where `layout` has a number for each file.
fn made(topic: &str, layout: &[&str]) -> TestPool {
    let number = |word: &&str| word.parse::<usize>().ok();
    let pool = TestPool::files(topic, layout.iter().filter_map(number).count());
    let words: Vec<String> = layout
        .iter()
        .map(|word| number(word).map_or_else(|| (*word).to_owned(), |n| disk(&pool, n)))
        .collect();
    pool.create(&words.iter().map(String::as_str).collect::<Vec<_>>());
    pool
}

/// Waits until a report is so.
fn until(of: &TestPool, is_so: impl Fn(&PoolReport) -> bool) -> PoolReport {
    let mut last = None;
    for _ in 0..2000 {
        let report = report(of);
        if is_so(&report) {
            return report;
        }
        last = Some(report);
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("it never came to this: {last:#?}")
}

/// Exports the pool, does something to its devices, and imports it.
fn reimported(of: &TestPool, meanwhile: impl FnOnce()) {
    run("zpool", &["export", of.name()]);
    meanwhile();
    let dir = path(of.dir());
    run(
        "zpool",
        &["import", "-o", "cachefile=none", "-d", dir, of.name()],
    );
}

/// A fault of a device that `zinject` makes, gone when dropped.
struct Fault(String);

impl Fault {
    fn new(of: &TestPool, n: usize, fault: &[&str]) -> Self {
        let device = disk(of, n);
        let mut arguments = vec!["-d", &device];
        arguments.extend_from_slice(fault);
        arguments.push(of.name());
        let text = run("zinject", &arguments);
        let (_, rest) = text.split_once("handler ").unwrap();
        Self(rest.split_whitespace().next().unwrap().to_owned())
    }

    /// A device that takes its time, so that what goes through the pool can be watched.
    fn slow(of: &TestPool, n: usize) -> Self {
        Self::new(of, n, &["-D", "50:1"])
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        let _ = output("zinject", &["-c", &self.0]);
    }
}
