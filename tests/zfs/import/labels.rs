//! What the labels of real devices say.

use super::{ExportOptions, find, listed, search, unlisted};
use crate::create::quiet;
use crate::support::{DISK_SIZE, TestPool, noise, run, zfs};
use helix_zfs::zfs_core::ErrorKind;
use helix_zfs::zfs_core::pool::{Label, LabelState, Layout, PoolState, VdevSpec};
use std::fs::File;
use std::os::unix::fs::FileExt;

const LABEL_LEN: u64 = 256 << 10;

/// Where the four labels are.
fn offsets() -> [u64; 4] {
    let end = DISK_SIZE / LABEL_LEN * LABEL_LEN;
    [0, LABEL_LEN, end - 2 * LABEL_LEN, end - LABEL_LEN]
}

#[test]
fn labels_are_those_of_zdb() {
    let of = TestPool::files("labels", 4);
    let layout = Layout::new()
        .vdev(VdevSpec::mirror([of.file(0), of.file(1)]))
        .cache(of.file(2))
        .spare(of.file(3));
    let pool = zfs().create_pool(of.name(), &quiet(layout)).unwrap();
    let read = |n: usize| Label::read(of.file(n)).unwrap().unwrap();
    let status = pool.status().unwrap();
    let guid = |n: usize| status.vdevs().with_path(of.file(n)).unwrap().guid;
    for (n, state) in [
        (0, LabelState::Active),
        (1, LabelState::Active),
        (2, LabelState::Cache),
        (3, LabelState::Spare),
    ] {
        let label = read(n);
        assert_eq!((label.state(), label.guid()), (state, guid(n)));
        assert_eq!(label.copies(), 4);
    }
    let label = read(0);
    assert_eq!(label.pool_guid(), Some(status.guid));
    assert_eq!(label.top_guid(), Some(status.root.children[0].guid));
    assert_eq!(label.pool_name().as_deref(), Some(of.name()));
    assert_eq!(label.hostid(), status.hostid);
    assert_eq!(label.hostname(), status.hostname);
    pool.export(ExportOptions::new()).unwrap();
    let label = read(0);
    assert_eq!(label.state(), LabelState::Exported);
    let path = of.file(0);
    let zdb = run("zdb", &["-l", path.to_str().unwrap()]);
    let shown = |key: &str| {
        let line = zdb.lines().find_map(|line| {
            let (name, value) = line.trim().split_once(": ")?;
            (name == key).then_some(value)
        });
        line.unwrap().to_owned()
    };
    assert_eq!(shown("txg"), label.txg().to_string());
    assert_eq!(shown("guid"), guid(0).to_string());
    assert_eq!(shown("pool_guid"), status.guid.to_string());
    assert_eq!(shown("name"), format!("'{}'", of.name()));

    // One label is enough, wherever it is.
    let file = File::options().write(true).open(of.file(0)).unwrap();
    let len = usize::try_from(LABEL_LEN).unwrap();
    let garbage = noise(len, 7);
    let mut whole = vec![0; len];
    let source = File::open(of.file(0)).unwrap();
    for keep in 0..4 {
        source.read_exact_at(&mut whole, offsets()[keep]).unwrap();
        for other in (0..4).filter(|&other| other != keep) {
            file.write_all_at(&garbage, offsets()[other]).unwrap();
        }
        let label = read(0);
        assert_eq!((label.guid(), label.copies()), (guid(0), 1));
        for other in 0..4 {
            file.write_all_at(&whole, offsets()[other]).unwrap();
        }
    }
    assert_eq!(read(0).copies(), 4);
    assert!(find(&of).is_importable());
    for offset in offsets() {
        file.write_all_at(&garbage, offset).unwrap();
    }
    assert_eq!(Label::read(of.file(0)).unwrap(), None);
    // The mirror's other half is found, and enough.
    let found = find(&of);
    assert!(found.is_importable(), "{:?}", found.obstacles);
    let pool = found.import(&unlisted()).unwrap();
    pool.destroy().unwrap();

    let empty = of.dir().join("empty");
    File::create(&empty).unwrap();
    assert_eq!(Label::read(&empty).unwrap(), None);
    for (path, kind) in [
        (of.dir().to_owned(), ErrorKind::InvalidArgument),
        ("/dev/zero".into(), ErrorKind::InvalidArgument),
        ("/nonexistent".into(), ErrorKind::NotFound),
    ] {
        assert_eq!(Label::read(&path).unwrap_err().kind(), kind, "{path:?}");
    }
}

#[test]
fn the_newest_disk_knows_the_pool() {
    let of = TestPool::files("labels-old", 4);
    let n = |n: usize| of.file(n).to_str().unwrap().to_owned();
    of.create(&["mirror", &n(0), &n(1)]);
    let guid = zfs().pool(of.name()).unwrap().status().unwrap().guid;
    // A copy of a disk as it was, beside the disk.
    run("zpool", &["export", of.name()]);
    std::fs::copy(of.file(0), of.dir().join("copy")).unwrap();
    let dir = of.dir().to_str().unwrap();
    run("zpool", &["import", "-N", "-d", dir, of.name()]);
    run("zpool", &["add", "-f", of.name(), &n(2), "log", &n(3)]);
    run("zpool", &["remove", of.name(), &n(3)]);
    run("zpool", &["export", of.name()]);
    let found = find(&of);
    assert!(found.is_importable(), "{:?}", found.obstacles);
    assert_eq!(found.vdevs().with_path(of.dir().join("copy")), None);
    assert!(found.vdevs().with_path(of.file(0)).is_some());
    let pool = found.import(&unlisted()).unwrap();
    assert_eq!(pool.status().unwrap().guid, guid);
    pool.destroy().unwrap();
    assert_eq!(zfs().find_pools(&search(&of)).unwrap().len(), 0);
    let destroyed = zfs().find_pools(&search(&of).destroyed()).unwrap();
    let [destroyed] = destroyed.as_slice() else {
        panic!("{destroyed:?}")
    };
    let [(name, id, state)] = listed(&of, true).try_into().unwrap();
    assert_eq!(
        (destroyed.name.clone(), destroyed.guid, destroyed.state),
        (name, id, PoolState::Destroyed)
    );
    assert!(state.starts_with(destroyed.health.as_str()), "{state}");
}
