//! Disks that go while the pool is in use, and come back.

use super::{agreed, pool};
use crate::support::{DISK_SIZE, Loop, Mounted, TestPool, noise, output, run};
use helix_zfs::zfs_core::pool::{OnlineMode, Scrub};
use helix_zfs::zfs_core::{Health, Pool, PoolActivity, PoolStatus, SyncMode, Vdev};
use std::fs::File;
use std::path::Path;

fn scrub(pool: &Pool) {
    pool.scrub(Scrub::Everything).unwrap();
    pool.wait_for(PoolActivity::Scrub).unwrap();
}

fn device<'a>(status: &'a PoolStatus, path: &Path) -> &'a Vdev {
    status.vdevs().with_path(path).unwrap()
}

/// A way to take a disk away and to bring it back.
struct Yank<'a> {
    what: &'a str,
    /// As the pool knows it.
    disk: &'a Path,
    yank: &'a dyn Fn(),
    plug: &'a dyn Fn(),
}

/// The pool goes on without the disk, and all is well when it is back.
fn survives(of: &TestPool, mounted: &Mounted, yank: &Yank<'_>) {
    let Yank { what, disk, .. } = yank;
    let pool = pool(of);
    let data = noise(512 << 10, 7);
    (yank.yank)();
    mounted.write("data", &data);
    pool.sync(SyncMode::Force).unwrap();
    scrub(&pool);
    let status = agreed(of);
    let gone = device(&status, disk);
    let stats = gone.stats.as_ref().unwrap();
    assert!(
        gone.health() != Health::Online || stats.checksum_errors + stats.read_errors > 0,
        "{what}: {gone:?}"
    );
    assert_eq!(status.error_count, Some(0), "{what}");

    (yank.plug)();
    pool.clear_vdev(*disk).unwrap();
    pool.online(*disk, OnlineMode::Plain).unwrap();
    pool.wait_for(PoolActivity::Resilver).unwrap();
    scrub(&pool);
    pool.clear().unwrap();
    let status = agreed(of);
    let back = device(&status, disk);
    assert_eq!(
        (status.health, back.health()),
        (Health::Online, Health::Online),
        "{what}"
    );
    let stats = back.stats.as_ref().unwrap();
    assert_eq!(
        stats.checksum_errors + stats.read_errors + stats.write_errors,
        0,
        "{what}"
    );
    assert!(mounted.read("data") == data, "{what}");
}

#[test]
fn a_disk_goes_and_comes_back() {
    let of = TestPool::files("yanked", 3);
    let files = [of.file(0), of.file(1)];
    let back = of.file(2);
    let block = Loop::new(&back);
    let paths = files.each_ref().map(|file| file.to_str().unwrap());
    of.create(&["mirror", paths[0], paths[1], block.path()]);
    let mounted = Mounted::new(&of.root());
    mounted.write("before", noise(1 << 20, 8));

    // Every request fails.
    let inject = || {
        run("zinject", &["-d", paths[1], "-e", "nxio", of.name()]);
    };
    let yank = Yank {
        what: "injected",
        disk: &files[1],
        yank: &inject,
        plug: &|| uninject(&of),
    };
    survives(&of, &mounted, &yank);

    let truncate = |file: &Path| {
        std::fs::copy(file, file.with_extension("kept")).unwrap();
        File::options()
            .write(true)
            .open(file)
            .unwrap()
            .set_len(0)
            .unwrap();
    };
    // In place, for the pool has it open.
    let restore = |file: &Path| {
        let mut kept = File::open(file.with_extension("kept")).unwrap();
        let mut disk = File::options().write(true).open(file).unwrap();
        std::io::copy(&mut kept, &mut disk).unwrap();
        disk.set_len(DISK_SIZE).unwrap();
    };
    let yank = Yank {
        what: "truncated",
        disk: &files[1],
        yank: &|| truncate(&files[1]),
        plug: &|| restore(&files[1]),
    };
    survives(&of, &mounted, &yank);

    // A block device that has no blocks any more.
    let resize = || {
        run("losetup", &["-c", block.path()]);
    };
    let yank = Yank {
        what: "block device",
        disk: Path::new(block.path()),
        yank: &|| {
            truncate(&back);
            resize();
        },
        plug: &|| {
            restore(&back);
            resize();
        },
    };
    survives(&of, &mounted, &yank);
    drop(mounted);
    run("zpool", &["destroy", of.name()]);
}

/// Takes back what was injected into this pool; other tests have faults of their own.
fn uninject(of: &TestPool) {
    let list = run("zinject", &[]);
    for line in list.lines().filter(|line| line.contains(of.name())) {
        let id = line.split_whitespace().next().unwrap();
        assert!(output("zinject", &["-c", id]).status.success());
    }
}
