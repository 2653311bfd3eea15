//! Offline, online, faulted, cleared; paths.

use super::{
    assert_recorded, assert_shown, disk, made, path, pool, refused, refused_early, refused_late,
    settle,
};
use crate::support::{Mounted, Parameter, TENANT, TestPool, as_user, noise, run, zfs};
use helix_zfs::zfs_core::ErrorKind::{
    InvalidArgument, LastCopy, NameTooLong, NotFound, PermissionDenied, ReadOnlyPool, WrongKind,
};
use helix_zfs::zfs_core::SyncMode;
use helix_zfs::zfs_core::pool::{OfflineMode, OnlineMode, VdevId, VdevState};
use std::fs::OpenOptions;
use std::path::Path;

fn reimport(of: &TestPool, options: &[&str]) {
    run("zpool", &["export", of.name()]);
    let mut import = vec!["import", "-o", "cachefile=none", "-d", path(of.dir())];
    import.extend(options);
    import.push(of.name());
    run("zpool", &import);
}

#[test]
fn devices_go_offline_and_come_back() {
    use OfflineMode::{Persistent, Temporary};
    let of = made("off", "mirror 0 1 log 2 cache 3 spare 4");
    let (pool, disk) = (pool(&of), |n| disk(&of, n));
    let name = of.name();

    pool.offline(disk(1), Temporary).unwrap();
    assert_shown(&of, &disk(1), "OFFLINE");
    assert_recorded(&of, &format!("zpool offline -t {name} {}", disk(1)));
    refused_early(pool.offline(disk(0), Persistent), LastCopy, &disk(0));
    refused_early(pool.fault(disk(0), Persistent), LastCopy, &disk(0));
    refused_early(pool.detach(disk(0)), LastCopy, &disk(0));
    assert_shown(&of, &disk(0), "ONLINE");
    pool.offline(disk(1), Temporary).unwrap();

    // The log is written to the pool before its only device goes.
    pool.offline(disk(2), Persistent).unwrap();
    assert_shown(&of, &disk(2), "OFFLINE");
    pool.offline(disk(3), Persistent).unwrap();
    reimport(&of, &[]);
    assert_shown(&of, &disk(1), "ONLINE");
    assert_shown(&of, &disk(2), "OFFLINE");

    let status = pool.status().unwrap();
    let log = status.vdevs().with_path(of.file(2)).unwrap();
    assert_eq!(
        pool.online(log, OnlineMode::Plain).unwrap(),
        VdevState::Healthy
    );
    assert_shown(&of, &disk(2), "ONLINE");
    assert_recorded(&of, &format!("zpool online {name} {}", disk(2)));

    for result in [
        pool.offline(disk(4), Persistent),
        pool.fault(disk(4), Persistent),
        pool.online(disk(4), OnlineMode::Plain).map(drop),
        pool.clear_vdev(disk(4)),
    ] {
        refused_early(result, WrongKind, &disk(4));
    }
    refused_early(pool.offline("mirror-0", Persistent), WrongKind, "mirror-0");
    refused_early(
        pool.online(disk(3), OnlineMode::Expand),
        WrongKind,
        &disk(3),
    );
    for missing in [VdevId::from("/dev/hz-missing"), VdevId::from(7)] {
        refused_early(pool.offline(&missing, Persistent), NotFound, "of hz-off");
        refused_early(pool.clear_vdev(&missing), NotFound, "of hz-off");
    }
    let nowhere = zfs().pool("hz-missing").unwrap();
    refused_late(
        nowhere.offline("/dev/a", Persistent),
        NotFound,
        "hz-missing",
    );
    refused_late(nowhere.clear(), NotFound, "hz-missing");

    as_user(TENANT, || {
        refused_late(pool.offline(disk(1), Temporary), PermissionDenied, &disk(1));
        refused_late(
            pool.online(disk(1), OnlineMode::Plain),
            PermissionDenied,
            &disk(1),
        );
        refused_late(pool.fault(disk(1), Temporary), PermissionDenied, &disk(1));
        refused_late(pool.clear(), PermissionDenied, name);
        refused_late(pool.detach(disk(1)), PermissionDenied, &disk(1));
        refused_late(pool.remove(disk(3)), PermissionDenied, &disk(3));
        refused_late(
            pool.set_vdev_path(disk(1), "/a"),
            PermissionDenied,
            &disk(1),
        );
    });

    reimport(&of, &["-o", "readonly=on", "-N"]);
    refused_late(pool.offline(disk(1), Temporary), ReadOnlyPool, &disk(1));
    refused_late(pool.clear(), ReadOnlyPool, name);
    refused_late(pool.remove(disk(2)), ReadOnlyPool, &disk(2));
}

#[test]
fn a_faulted_device_comes_back_when_it_is_cleared() {
    use OfflineMode::{Persistent, Temporary};
    let of = made("fault", "mirror 0 1 log 2 cache 3");
    let (pool, disk) = (pool(&of), |n| disk(&of, n));
    let name = of.name();
    pool.fault(disk(1), Temporary).unwrap();
    assert_shown(&of, &disk(1), "FAULTED");
    assert_recorded(&of, &format!("zpool offline -ft {name} {}", disk(1)));
    refused_early(pool.fault(disk(0), Temporary), LastCopy, &disk(0));
    // Bringing it online is not enough.
    let state = pool.online(disk(1), OnlineMode::Plain).unwrap();
    assert_eq!(state, VdevState::Faulted);
    pool.clear_vdev(disk(1)).unwrap();
    assert_shown(&of, &disk(1), "ONLINE");
    assert_recorded(&of, &format!("zpool clear {name} {}", disk(1)));
    settle(&of);

    pool.fault(disk(1), Persistent).unwrap();
    reimport(&of, &[]);
    assert_shown(&of, &disk(1), "FAULTED");
    pool.clear().unwrap();
    assert_shown(&of, &disk(1), "ONLINE");
    assert_recorded(&of, &format!("zpool clear {name}"));
    settle(&of);

    refused_early(pool.fault(disk(2), Temporary), LastCopy, &disk(2));
    pool.fault(disk(3), Temporary).unwrap();
    assert_shown(&of, &disk(3), "FAULTED");
    // A group is cleared with all in it.
    pool.fault(disk(0), Temporary).unwrap();
    pool.clear_vdev("mirror-0").unwrap();
    assert_shown(&of, &disk(0), "ONLINE");
}

/// What a device has missed is known to the kernel before anything of it can be seen.
#[test]
fn a_device_that_is_back_does_not_count_before_it_has_all() {
    let of = made("behind", "mirror 0 1");
    let (pool, disk) = (pool(&of), |n| disk(&of, n));
    let mounted = Mounted::new(&of.root());
    // A resilver begins a moment later, so that it cannot be waited for.
    let offline_in_the_end = |n| loop {
        match pool.offline(disk(n), OfflineMode::Temporary) {
            Ok(()) => break,
            Err(error) => assert_eq!(error.kind(), LastCopy, "{error}"),
        }
        pool.sync(SyncMode::Force).unwrap();
    };
    for round in 0..2 {
        offline_in_the_end(1);
        mounted.write("data", noise(8 << 20, round));
        pool.sync(SyncMode::Pending).unwrap();
        let standstill = Parameter::scans_stand_still();
        pool.online(disk(1), OnlineMode::Plain).unwrap();
        if round == 0 {
            refused(
                pool.offline(disk(0), OfflineMode::Temporary),
                LastCopy,
                &disk(0),
            );
        } else {
            refused(
                pool.fault(disk(0), OfflineMode::Temporary),
                LastCopy,
                &disk(0),
            );
        }
        assert_shown(&of, &disk(0), "ONLINE");
        drop(standstill);
        offline_in_the_end(0);
        assert_eq!(mounted.read("data"), noise(8 << 20, round));
        pool.online(disk(0), OnlineMode::Plain).unwrap();
    }
}

#[test]
fn a_device_that_has_grown_is_used_to_its_end() {
    let of = made("grow", "0 raidz 1 2 3");
    let pool = pool(&of);
    let size = || {
        let text = run("zpool", &["get", "-Hpo", "value", "size", of.name()]);
        text.trim_end().parse::<u64>().unwrap()
    };
    let before = size();
    let file = OpenOptions::new().write(true).open(of.file(0)).unwrap();
    file.set_len(512 << 20).unwrap();
    pool.online(of.file(0), OnlineMode::Plain).unwrap();
    assert_eq!(size(), before);
    pool.online(of.file(0), OnlineMode::Expand).unwrap();
    assert!(size() > before + (256 << 20));
    assert_recorded(
        &of,
        &format!("zpool online -e {} {}", of.name(), disk(&of, 0)),
    );

    // Of a raidz one device can go, and not two.
    pool.offline(of.file(1), OfflineMode::Temporary).unwrap();
    refused_early(
        pool.offline(of.file(2), OfflineMode::Temporary),
        LastCopy,
        "disk2",
    );
    refused_early(
        pool.offline(of.file(0), OfflineMode::Temporary),
        LastCopy,
        "disk0",
    );

    // A device is found by every path that leads to it, and called by the one that it is given.
    let link = of.dir().join("link");
    std::os::unix::fs::symlink(of.file(3), &link).unwrap();
    pool.set_vdev_path(&link, &link).unwrap();
    assert_shown(&of, path(&link), "ONLINE");
    assert_recorded(
        &of,
        &format!(
            "zpool set path={} {} {}",
            path(&link),
            of.name(),
            disk(&of, 3)
        ),
    );
    let status = pool.status().unwrap();
    assert!(status.vdevs().with_path(of.file(3)).is_none());
    let id = VdevId::from(of.file(3));
    refused_early(pool.set_vdev_path(&id, "disk"), InvalidArgument, "link");
    refused_early(
        pool.set_vdev_path(&id, Path::new("/a\0b")),
        InvalidArgument,
        "link",
    );
    refused_early(
        pool.set_vdev_path(&id, "/a".repeat(5000)),
        NameTooLong,
        "link",
    );
    refused_early(pool.set_vdev_path("raidz1-1", "/a"), WrongKind, "raidz1-1");
    run("zpool", &["export", of.name()]);
    run(
        "zpool",
        &[
            "import",
            "-o",
            "cachefile=none",
            "-d",
            path(of.dir()),
            of.name(),
        ],
    );
}
