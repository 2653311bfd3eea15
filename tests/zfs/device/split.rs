//! Pools split in two.

use super::{
    assert_recorded, assert_shown, disk, made, path, pool, refused_early, refused_late, shown,
};
use crate::support::{Mounted, TENANT, TestPool, as_user, noise, output, run};
use helix_zfs::zfs_core::ErrorKind::{
    AlreadyExists, Busy, InProgress, InvalidArgument, InvalidName, LastCopy, NotFound,
    PermissionDenied, WrongKind,
};
use helix_zfs::zfs_core::Health;
use helix_zfs::zfs_core::SyncMode;
use helix_zfs::zfs_core::pool::{OfflineMode, SplitOptions};
use std::path::Path;

/// A pool that was split off, destroyed when dropped.
struct Part<'a>(&'a str);

impl Drop for Part<'_> {
    fn drop(&mut self) {
        let _ = output("zpool", &["destroy", "-f", self.0]);
    }
}

#[test]
fn half_of_each_mirror_makes_a_pool() {
    // The log in the middle leaves a place in the new pool.
    let of = made("split", "mirror 0 1");
    let more = TestPool::files("split-more", 3);
    run("zpool", &["add", of.name(), "log", &disk(&more, 0)]);
    run(
        "zpool",
        &["add", of.name(), "mirror", &disk(&more, 1), &disk(&more, 2)],
    );
    let pool = pool(&of);
    let mounted = Mounted::new(&of.root());
    let data = noise(4 << 20, 6);
    mounted.write("data", &data);
    pool.sync(SyncMode::Pending).unwrap();

    let new = format!("{}-new", of.name());
    let _part = Part(&new);
    let options = SplitOptions::new().take(of.file(0));
    let half = pool.split(&new, &options).unwrap();
    assert_eq!(half.name().as_str(), new);
    assert!(!half.exists().unwrap());
    let (old, name) = (of.name(), &new);
    assert_recorded(
        &of,
        &format!(
            "zpool split {old} {name} {} {}",
            disk(&of, 0),
            disk(&more, 2)
        ),
    );
    assert_eq!(shown(&of, "mirror-0"), None);
    assert_shown(&of, &disk(&of, 1), "ONLINE");
    assert_shown(&of, &disk(&more, 1), "ONLINE");
    let (one, two) = (path(of.dir()), path(more.dir()));
    run(
        "zpool",
        &[
            "import",
            "-N",
            "-o",
            "cachefile=none",
            "-d",
            one,
            "-d",
            two,
            &new,
        ],
    );
    let status = half.status().unwrap();
    assert_eq!(status.health, Health::Online);
    for file in [of.file(0), more.file(2)] {
        assert!(status.vdevs().with_path(file).is_some());
    }
    let copy = Mounted::new(&half.root());
    assert_eq!(copy.read("data"), data);
    drop((mounted, copy));
    // More than singles cannot be split.
    refused_early(
        pool.split("hz-again", &SplitOptions::new()),
        WrongKind,
        "disk1",
    );
    run("zpool", &["destroy", of.name()]);
}

#[test]
fn the_new_pool_stays_imported_if_asked() {
    let of = made("split-in", "mirror 0 1 2");
    let pool = pool(&of);
    let (one, two) = (format!("{}-1", of.name()), format!("{}-2", of.name()));
    let (_one, _two) = (Part(&one), Part(&two));
    let half = pool
        .split(&one, &SplitOptions::new().altroot("/mnt"))
        .unwrap();
    let status = half.status().unwrap();
    assert_eq!(status.altroot.as_deref(), Some(Path::new("/mnt")));
    assert!(status.vdevs().with_path(of.file(2)).is_some());
    let half = pool.split(&two, &SplitOptions::new().import()).unwrap();
    let status = half.status().unwrap();
    assert_eq!((status.health, status.altroot), (Health::Online, None));
    let cachefile = half
        .properties()
        .unwrap()
        .cachefile()
        .map(ToOwned::to_owned);
    assert_eq!(cachefile.as_deref(), Some("none"));
    assert_shown(&of, &disk(&of, 0), "ONLINE");
}

#[test]
fn what_cannot_be_split_stays_whole() {
    let of = made("whole", "mirror 0 1 2 log 3");
    let pool = pool(&of);
    let plain = SplitOptions::new();
    let name = of.name();
    refused_late(pool.split(name, &plain), AlreadyExists, name);
    refused_early(pool.split("hz/part", &plain), InvalidName, "hz/part");
    let take = |n: usize| SplitOptions::new().take(of.file(n));
    let both = take(0).take(of.file(1));
    refused_early(pool.split("hz-part", &both), InvalidArgument, "disk1");
    refused_early(pool.split("hz-part", &take(3)), WrongKind, "disk3");
    let missing = SplitOptions::new().take("/hz-missing");
    refused_early(pool.split("hz-part", &missing), NotFound, "/hz-missing");
    let relative = SplitOptions::new().altroot("mnt");
    refused_early(pool.split("hz-part", &relative), InvalidArgument, name);
    as_user(TENANT, || {
        refused_late(pool.split("hz-part", &plain), PermissionDenied, name);
    });
    run("zpool", &["checkpoint", name]);
    refused_late(pool.split("hz-part", &plain), InProgress, name);
    run("zpool", &["checkpoint", "-dw", name]);

    pool.offline(of.file(0), OfflineMode::Temporary).unwrap();
    refused_early(pool.split("hz-part", &take(0)), Busy, "disk0");
    pool.offline(of.file(1), OfflineMode::Temporary).unwrap();
    refused_early(pool.split("hz-part", &take(2)), LastCopy, "disk2");
    assert_shown(&of, "mirror-0", "DEGRADED");
}
