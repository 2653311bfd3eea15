//! Fewer vdevs.

use super::{
    assert_recorded, assert_shown, made, more, path, pool, refused_early, refused_late, settle,
    shown,
};
use crate::support::{Mounted, Parameter, TestPool, noise, run};
use helix_zfs::zfs_core::ErrorKind::{
    InProgress, InvalidArgument, LastCopy, NoSpace, NotFound, NotInProgress, Unsupported, WrongKind,
};
use helix_zfs::zfs_core::SyncMode;
use helix_zfs::zfs_core::pool::{AddOptions, AttachOptions, Layout, ScanState, VdevKind, VdevSpec};
use std::fs::OpenOptions;

#[test]
fn data_move_to_the_other_vdevs() {
    let of = TestPool::files("remove", 5);
    // What is removed has to fit into what is left.
    let first = OpenOptions::new().write(true).open(of.file(0)).unwrap();
    first.set_len(1 << 30).unwrap();
    let files: Vec<_> = (0..5).map(|n| of.file(n)).collect();
    let arg = |n: usize| path(&files[n]);
    of.create(&[
        arg(0),
        arg(1),
        "log",
        arg(2),
        "cache",
        arg(3),
        "spare",
        arg(4),
    ]);
    let pool = pool(&of);
    let name = of.name();
    let mounted = Mounted::new(&of.root());
    let data = noise(16 << 20, 5);
    mounted.write("data", &data);
    pool.sync(SyncMode::Pending).unwrap();

    for n in [2, 3, 4] {
        pool.remove(&files[n]).unwrap();
        assert_eq!(shown(&of, arg(n)), None);
        assert_recorded(&of, &format!("zpool remove {name} {}", arg(n)));
    }
    refused_early(pool.remove("/hz-missing"), NotFound, "/hz-missing");
    refused_late(pool.cancel_removal(), NotInProgress, name);

    run("zpool", &["checkpoint", name]);
    refused_late(pool.remove(&files[1]), InProgress, "disk1");
    run("zpool", &["checkpoint", "-dw", name]);

    // While nothing is copied, there is time to look.
    let standstill = Parameter::set("zfs_removal_suspend_progress", "1");
    pool.remove(&files[1]).unwrap();
    let removal = || pool.status().unwrap().removal.unwrap().state;
    while removal() != ScanState::Scanning {
        std::thread::yield_now();
    }
    refused_early(pool.remove(&files[1]), InProgress, "disk1");
    let new = more(&of, "new", 96);
    let options = AttachOptions::new();
    refused_early(pool.attach(&files[1], &new, &options), InProgress, "disk1");
    refused_early(pool.replace(&files[0], &new, &options), InProgress, "disk0");
    pool.cancel_removal().unwrap();
    drop(standstill);
    assert_recorded(&of, &format!("zpool remove -s {name}"));
    assert_eq!(removal(), ScanState::Canceled);
    assert_shown(&of, arg(1), "ONLINE");

    pool.remove(&files[1]).unwrap();
    settle(&of);
    let status = pool.status().unwrap();
    assert_eq!(status.root.children[1].kind, VdevKind::Indirect);
    assert_eq!(mounted.read("data"), data);
    refused_early(pool.remove(&files[0]), LastCopy, "disk0");
    refused_early(pool.remove("indirect-1"), WrongKind, "indirect-1");
    let raidz = Layout::from(VdevSpec::raidz(1, [more(&of, "a", 96), more(&of, "b", 96)]));
    let refused = pool.add(&raidz.allow_mixed(), &AddOptions::new());
    refused_late(refused, InvalidArgument, name);
}

#[test]
fn what_cannot_be_moved_stays() {
    let of = made("stay", "mirror 0 1 mirror 2 3 log mirror 4 5");
    let pool = pool(&of);
    refused_early(pool.remove(of.file(0)), WrongKind, "disk0");
    refused_early(pool.remove(of.file(4)), WrongKind, "disk4");
    refused_late(pool.remove("mirror-1"), NoSpace, "mirror-1");
    pool.remove("mirror-2").unwrap();
    assert_eq!(shown(&of, "mirror-2"), None);
    drop(of);

    let of = made("raidz-stay", "raidz 0 1 2 raidz 3 4 5");
    let pool = super::pool(&of);
    let refused = pool.remove("raidz1-0").unwrap_err();
    assert!(matches!(refused.kind(), Unsupported | NoSpace), "{refused}");
    assert!(refused.errno().is_some());
}
