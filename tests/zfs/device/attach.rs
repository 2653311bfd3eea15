//! Attaching, replacing, detaching.

use super::{
    assert_recorded, assert_shown, disk, made, more, path, pool, refused_early, refused_late,
    settle, shown,
};
use crate::support::{Mounted, Parameter, TENANT, TestPool, as_user, noise, run};
use helix_zfs::zfs_core::ErrorKind::{
    Busy, DeviceInUse, DeviceTooSmall, DeviceUnavailable, InProgress, InvalidArgument, LastCopy,
    NotFound, PermissionDenied, SectorSizeMismatch, Unsupported, WrongKind,
};
use helix_zfs::zfs_core::SyncMode;
use helix_zfs::zfs_core::pool::{
    AttachOptions, Device, OfflineMode, OnlineMode, Resilver, ScanState, SplitOptions,
};

fn is_resilvering(of: &TestPool) -> bool {
    let scan = pool(of).status().unwrap().scan;
    scan.is_some_and(|scan| scan.state == ScanState::Scanning)
}

fn sequential() -> AttachOptions {
    AttachOptions::new().resilver(Resilver::Sequential)
}

#[test]
fn a_device_becomes_a_mirror_and_another() {
    let of = made("attach", "0");
    let pool = pool(&of);
    let options = AttachOptions::new();
    let mounted = Mounted::new(&of.root());
    let data = noise(8 << 20, 1);
    mounted.write("data", &data);
    let (old, new, third) = (of.file(0), more(&of, "new", 128), more(&of, "third", 128));
    refused_early(pool.detach(&old), WrongKind, "disk0");

    let standstill = Parameter::scans_stand_still();
    pool.attach(&old, &new, &options).unwrap();
    let line = format!("zpool attach {} {} {}", of.name(), path(&old), path(&new));
    assert_recorded(&of, &line);
    // It has not got everything yet.
    let temporary = OfflineMode::Temporary;
    refused_early(pool.detach(&old), LastCopy, "disk0");
    refused_early(pool.offline(&old, temporary), LastCopy, "disk0");
    refused_early(pool.fault(&old, temporary), LastCopy, "disk0");
    let split = pool.split("hz-part", &SplitOptions::new());
    refused_early(split, Busy, "new");
    while !is_resilvering(&of) {
        std::thread::yield_now();
    }
    refused_late(
        pool.attach(&old, &third, &sequential()),
        InProgress,
        "disk0",
    );
    drop(standstill);
    settle(&of);
    assert_shown(&of, "mirror-0", "ONLINE");
    pool.detach(&old).unwrap();
    assert_recorded(&of, &format!("zpool detach {} {}", of.name(), path(&old)));
    assert_eq!(shown(&of, "mirror-0"), None);
    assert_shown(&of, path(&new), "ONLINE");

    // What was detached is free.
    pool.replace(&new, &third, &sequential()).unwrap();
    let line = format!(
        "zpool replace -s {} {} {}",
        of.name(),
        path(&new),
        path(&third)
    );
    assert_recorded(&of, &line);
    settle(&of);
    assert_eq!(shown(&of, path(&new)), None);
    assert_shown(&of, path(&third), "ONLINE");
    assert_eq!(mounted.read("data"), data);
}

#[test]
fn a_new_disk_in_the_old_place() {
    let of = made("place", "mirror 0 1");
    let pool = pool(&of);
    let mounted = Mounted::new(&of.root());
    mounted.write("data", noise(4 << 20, 2));
    pool.sync(SyncMode::Pending).unwrap();
    let place = of.file(1);
    // The one that is there is in use.
    refused_early(
        pool.replace(&place, &place, &AttachOptions::new()),
        DeviceInUse,
        "disk1",
    );
    std::fs::remove_file(&place).unwrap();
    more(&of, "disk1", 96);
    pool.replace(&place, &place, &AttachOptions::new()).unwrap();
    settle(&of);
    assert_shown(&of, path(&place), "ONLINE");
    run("zpool", &["scrub", "-w", of.name()]);
    assert_eq!(mounted.read("data"), noise(4 << 20, 2));
    // To end a replacement, the new device is detached.
    let new = more(&of, "new", 96);
    pool.offline(&place, Default::default()).unwrap();
    let standstill = Parameter::scans_stand_still();
    pool.replace(&place, &new, &AttachOptions::new()).unwrap();
    pool.detach(&new).unwrap();
    drop(standstill);
    assert_eq!(shown(&of, path(&new)), None);
    assert_shown(&of, path(&place), "OFFLINE");
}

#[test]
fn a_device_that_does_not_fit_is_refused() {
    let of = made("unfit", "mirror 0 1 raidz 2 3 4 cache 5 spare 6");
    let pool = pool(&of);
    let (old, options) = (of.file(0), AttachOptions::new());
    let new = more(&of, "new", 96);

    let small = more(&of, "small", 64);
    refused_early(pool.attach(&old, &small, &options), DeviceTooSmall, "disk0");
    refused_early(
        pool.replace(&old, &small, &options),
        DeviceTooSmall,
        "disk0",
    );
    refused_late(
        pool.attach(&old, "/hz-missing", &options),
        NotFound,
        "disk0",
    );
    refused_early(
        pool.attach(&old, of.dir(), &options),
        InvalidArgument,
        "disk0",
    );
    refused_early(
        pool.attach(&old, "disk0", &options),
        InvalidArgument,
        "disk0",
    );
    let coarse = Device::new(&new).ashift(14);
    refused_early(
        pool.attach(&old, coarse, &options),
        SectorSizeMismatch,
        "disk0",
    );

    for used in [1, 3, 5, 6] {
        let used = of.file(used);
        let overwrite = options.overwrite();
        refused_early(pool.attach(&old, &used, &overwrite), DeviceInUse, "disk0");
        refused_early(pool.replace(&old, &used, &overwrite), DeviceInUse, "disk0");
    }

    for aux in [5, 6] {
        let (aux, name) = (of.file(aux), format!("disk{aux}"));
        refused_early(pool.attach(&aux, &new, &options), WrongKind, &name);
        refused_early(pool.replace(&aux, &new, &options), WrongKind, &name);
        refused_early(pool.detach(&aux), WrongKind, &name);
    }
    refused_early(
        pool.attach("mirror-0", &new, &options),
        WrongKind,
        "mirror-0",
    );
    refused_early(pool.attach(of.file(2), &new, &options), WrongKind, "disk2");
    refused_early(pool.detach(of.file(2)), WrongKind, "disk2");
    refused_early(
        pool.replace(of.file(2), &new, &sequential()),
        WrongKind,
        "disk2",
    );
    refused_early(
        pool.attach("/hz-missing", &new, &options),
        NotFound,
        "/hz-missing",
    );
    refused_early(
        pool.replace("/hz-missing", &new, &options),
        NotFound,
        "/hz-missing",
    );
    refused_early(pool.detach("/hz-missing"), NotFound, "/hz-missing");
    as_user(TENANT, || {
        // Who may not read the file cannot say whether it is in use.
        refused_late(pool.attach(&old, &new, &options), PermissionDenied, "");
    });

    run("zpool", &["checkpoint", of.name()]);
    refused_late(pool.attach(&old, &new, &options), InProgress, "disk0");
    refused_late(pool.detach(&old), InProgress, "disk0");
    run("zpool", &["checkpoint", "-dw", of.name()]);

    let expand = || pool.attach("raidz1-1", &new, &options);
    if pool.status().unwrap().feature("raidz_expansion").is_some() {
        pool.offline(of.file(2), OfflineMode::Temporary).unwrap();
        refused_early(expand(), DeviceUnavailable, "raidz1-1");
        pool.online(of.file(2), OnlineMode::Plain).unwrap();
        settle(&of);
        expand().unwrap();
        run("zpool", &["wait", "-t", "raidz_expand", of.name()]);
        let status = pool.status().unwrap();
        assert_eq!(status.root.children[1].children.len(), 4);
    } else {
        refused_early(expand(), Unsupported, "raidz1-1");
    }
}

#[test]
fn a_device_of_another_pool_is_refused() {
    let of = made("one", "0");
    let other = TestPool::new("other");
    let pool = pool(&of);
    let (old, used) = (of.file(0), other.file(0));
    let (options, overwrite) = (AttachOptions::new(), AttachOptions::new().overwrite());
    refused_early(pool.attach(&old, &used, &options), DeviceInUse, "disk0");
    refused_early(pool.attach(&old, &used, &overwrite), DeviceInUse, "disk0");
    run("zpool", &["export", other.name()]);
    refused_early(pool.attach(&old, &used, &options), DeviceInUse, "disk0");
    refused_early(pool.replace(&old, &used, &options), DeviceInUse, "disk0");
    pool.attach(&old, &used, &overwrite).unwrap();
    settle(&of);
    assert_shown(&of, path(&used), "ONLINE");
    assert_shown(&of, &disk(&of, 0), "ONLINE");
}
