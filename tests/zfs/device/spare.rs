//! Hot spares that stand in.

use super::{
    assert_recorded, assert_shown, made, more, path, pool, refused_early, refused_late, settle,
    shown,
};
use helix_zfs::zfs_core::ErrorKind::{Busy, LastCopy, NotFound, WrongKind};
use helix_zfs::zfs_core::SyncMode;
use helix_zfs::zfs_core::pool::{AttachOptions, OfflineMode, OnlineMode, VdevState};

#[test]
fn a_spare_stands_in_and_stays() {
    let of = made("spare", "mirror 0 1 log 2 spare 3 4");
    let pool = pool(&of);
    let options = AttachOptions::new();
    let (old, spare, other) = (of.file(0), of.file(3), of.file(4));

    refused_early(
        pool.use_spare(of.file(2), &spare, &options),
        WrongKind,
        "disk2",
    );
    refused_early(pool.use_spare(&spare, &other, &options), WrongKind, "disk3");
    refused_early(
        pool.use_spare("mirror-0", &spare, &options),
        WrongKind,
        "mirror-0",
    );
    refused_early(
        pool.use_spare(&old, of.file(1), &options),
        WrongKind,
        "disk1",
    );
    refused_early(
        pool.use_spare(&old, "/hz-missing", &options),
        NotFound,
        "/hz-missing",
    );

    pool.offline(&old, OfflineMode::Temporary).unwrap();
    pool.use_spare(&old, &spare, &options).unwrap();
    let line = format!(
        "zpool replace {} {} {}",
        of.name(),
        path(&old),
        path(&spare)
    );
    assert_recorded(&of, &line);
    settle(&of);
    assert_shown(&of, "spare-0", "DEGRADED");
    let status = pool.status().unwrap();
    assert_eq!(status.spares[0].health().as_str(), "INUSE");
    refused_early(pool.remove(&spare), Busy, "disk3");
    refused_early(pool.use_spare(of.file(1), &spare, &options), Busy, "disk3");
    let new = more(&of, "new", 96);
    refused_early(pool.replace(&spare, &new, &options), WrongKind, "disk3");

    // With the spare in place of the other, this one can go.
    pool.offline(of.file(1), OfflineMode::Temporary).unwrap();
    refused_early(pool.detach(&spare), LastCopy, "disk3");
    pool.online(of.file(1), Default::default()).unwrap();
    // What is back counts when it has been resilvered, and that begins some time later.
    let mut detached = pool.detach(&spare);
    for _ in 0..500 {
        match &detached {
            Err(error) if error.kind() == LastCopy => pool.sync(SyncMode::Force).unwrap(),
            _ => break,
        }
        settle(&of);
        detached = pool.detach(&spare);
    }
    detached.unwrap();
    assert_shown(&of, path(&spare), "AVAIL");
    assert_eq!(shown(&of, "spare-0"), None);

    pool.use_spare(&old, &spare, &options).unwrap();
    settle(&of);
    let state = pool.online(&old, OnlineMode::Unspare).unwrap();
    assert_eq!(state, VdevState::Healthy);
    while shown(&of, path(&spare)).as_deref() != Some("AVAIL") {
        pool.sync(SyncMode::Force).unwrap();
    }
    assert_shown(&of, path(&old), "ONLINE");

    pool.use_spare(&old, &spare, &options).unwrap();
    settle(&of);
    pool.detach(&old).unwrap();
    assert_shown(&of, path(&spare), "ONLINE");
    let spares = pool.status().unwrap().spares;
    assert_eq!(spares.len(), 1);
    assert_eq!(spares[0].path.as_deref(), Some(other.as_path()));
}

#[test]
fn a_distributed_spare_stands_in_its_draid() {
    let of = made("dspare", "draid1:2d:4c:1s 0 1 2 3 draid1:2d:4c:1s 4 5 6 7");
    let pool = pool(&of);
    let options = AttachOptions::new();
    let (mine, other) = ("draid1-0-0", "draid1-1-0");
    refused_early(pool.remove(mine), WrongKind, mine);
    pool.offline(of.file(0), OfflineMode::Temporary).unwrap();
    refused_early(
        pool.offline(of.file(1), OfflineMode::Temporary),
        LastCopy,
        "disk1",
    );
    refused_late(
        pool.use_spare(of.file(0), other, &options),
        WrongKind,
        "disk0",
    );
    pool.use_spare(of.file(0), mine, &options).unwrap();
    settle(&of);
    assert_shown(&of, mine, "ONLINE");
    refused_early(pool.offline(mine, OfflineMode::Temporary), WrongKind, mine);
    refused_early(pool.set_vdev_path(mine, "/a"), WrongKind, mine);
    // The draid has its redundancy again.
    pool.offline(of.file(1), OfflineMode::Temporary).unwrap();
    assert_shown(&of, path(&of.file(1)), "OFFLINE");
}
