//! More vdevs.

use super::{assert_recorded, assert_shown, made, more, path, pool, refused_early, refused_late};
use crate::support::{TENANT, TestPool, as_user, run, zfs};
use helix_zfs::zfs_core::ErrorKind::{
    DeviceInUse, DeviceTooSmall, InvalidArgument, NotFound, PermissionDenied, RedundancyMismatch,
    SectorSizeMismatch,
};
use helix_zfs::zfs_core::pool::{AddOptions, Layout, VdevClass, VdevKind, VdevSpec};
use std::path::Path;

#[test]
fn vdevs_of_every_class_are_added() {
    let of = made("add", "mirror 0 1");
    let pool = pool(&of);
    let files: Vec<_> = (0..9).map(|n| more(&of, &format!("new{n}"), 96)).collect();
    let options = AddOptions::new();
    let layout = Layout::new()
        .vdev(VdevSpec::mirror([&files[0], &files[1]]))
        .vdev(VdevSpec::mirror([&files[2], &files[3]]).special())
        .vdev(VdevSpec::device(&files[4]).log())
        .spare(&files[5])
        .cache(&files[6]);
    pool.add(&layout, &options).unwrap();
    for file in &files[..5] {
        assert_shown(&of, path(file), "ONLINE");
    }
    assert_shown(&of, path(&files[5]), "AVAIL");
    assert_shown(&of, path(&files[6]), "ONLINE");
    let arg = |n: usize| path(&files[n]);
    assert_recorded(
        &of,
        &format!(
            "zpool add {} mirror {} {} log {} special mirror {} {} spare {} cache {}",
            of.name(),
            arg(0),
            arg(1),
            arg(4),
            arg(2),
            arg(3),
            arg(5),
            arg(6)
        ),
    );
    let status = pool.status().unwrap();
    let classes: Vec<_> = status.root.children.iter().map(|top| top.class).collect();
    use VdevClass::{Data, Log, Special};
    assert_eq!(classes.iter().filter(|class| **class == Data).count(), 2);
    assert_eq!(classes.iter().filter(|class| **class == Log).count(), 1);
    assert_eq!(classes.iter().filter(|class| **class == Special).count(), 1);

    let name = of.name();
    let add = |layout: Layout| pool.add(&layout, &options);
    let single = |file: &Path| Layout::from(VdevSpec::device(file));
    refused_early(add(Layout::new()), InvalidArgument, name);
    refused_early(add(single(&files[7])), RedundancyMismatch, name);
    refused_early(add(single(&files[0])), DeviceInUse, name);
    refused_late(add(single(&of.dir().join("missing"))), NotFound, name);
    refused_early(add(single(&more(&of, "small", 32))), DeviceTooSmall, name);
    as_user(TENANT, || {
        refused_late(add(Layout::new().cache(&files[7])), PermissionDenied, "");
    });
    pool.add(&single(&files[7]).allow_mixed(), &options)
        .unwrap();
    assert_shown(&of, path(&files[7]), "ONLINE");
    let missing = zfs().pool("hz-missing").unwrap();
    refused_late(
        missing.add(&single(&files[8]), &options),
        NotFound,
        "hz-missing",
    );
}

#[test]
fn other_sectors_and_other_pools_are_refused() {
    let of = made("sectors", "0");
    let other = TestPool::new("foreign");
    let pool = pool(&of);
    let name = of.name();
    let options = AddOptions::new();
    let coarse = Layout::from(VdevSpec::device(more(&of, "coarse", 96))).ashift(14);
    refused_early(pool.add(&coarse, &options), SectorSizeMismatch, name);

    let theirs = Layout::from(VdevSpec::device(other.file(0)));
    refused_early(pool.add(&theirs, &options.overwrite()), DeviceInUse, name);
    run("zpool", &["export", other.name()]);
    refused_early(pool.add(&theirs, &options), DeviceInUse, name);
    pool.add(&theirs, &options.overwrite()).unwrap();
    pool.add(&coarse, &options.allow_sector_mismatch()).unwrap();
    let status = pool.status().unwrap();
    let tops = &status.root.children;
    assert_eq!(tops.len(), 3);
    assert_eq!(tops[2].ashift, Some(14));
    assert!(tops.iter().all(|top| top.kind == VdevKind::File));
}
