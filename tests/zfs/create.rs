//! Pools that are created, destroyed and exported here, as the `zpool` command sees them.

mod refused;

use crate::support::{Loop, Mounted, TestPool, output, run, zfs, zfs_get};
use helix_zfs::zfs_core::key::{Encryption, WrappingKey};
use helix_zfs::zfs_core::pool::{
    CacheFile, CreatePool, ExportOptions, Layout, PoolFeatures, PoolPropertySet, VdevSpec,
};
use helix_zfs::zfs_core::props::{Compression, Mountpoint};
use helix_zfs::zfs_core::{ErrorKind, Health, Pool};
use std::path::PathBuf;

/// The files of a range of disks.
pub(crate) fn files(of: &TestPool, disks: std::ops::Range<usize>) -> Vec<PathBuf> {
    disks.map(|n| of.file(n)).collect()
}

/// What is created in these tests has no mount point, and is in no cache file.
pub(crate) fn quiet(layout: impl Into<Layout>) -> CreatePool {
    CreatePool::new(layout)
        .set(Mountpoint::new("none").unwrap())
        .properties(in_no_file())
}

/// What is created in these tests is in no cache file.
pub(crate) fn in_no_file() -> PoolPropertySet {
    PoolPropertySet::new().cachefile(&CacheFile::None).unwrap()
}

fn get(property: &str, pool: &str) -> String {
    run("zpool", &["get", "-Hpo", "value", property, pool])
        .trim_end()
        .to_owned()
}

/// The vdevs in `zpool status`: how deep each is, and its name, with the number of the file in
/// place of its path.
fn tree(of: &TestPool) -> String {
    let status = run("zpool", &["status", "-P", of.name()]);
    let (_, table) = status.split_once("NAME ").unwrap();
    let (table, _) = table.split_once("\nerrors:").unwrap();
    let dir = of.dir().join("disk");
    table
        .lines()
        .skip(2)
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let line = line.strip_prefix('\t').unwrap();
            let depth = line.len() - line.trim_start().len();
            let name = line.split_whitespace().next().unwrap();
            let name = name.strip_prefix(dir.to_str().unwrap()).unwrap_or(name);
            format!("{}{name}", " ".repeat(depth / 2))
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_pool_of_all_there_is() {
    let of = TestPool::files("create-all", 12);
    let layout = Layout::new()
        .vdev(VdevSpec::raidz(1, files(&of, 0..3)))
        .vdev(VdevSpec::mirror(files(&of, 3..5)).special())
        .vdev(VdevSpec::mirror(files(&of, 5..7)).dedup())
        .vdev(VdevSpec::mirror(files(&of, 7..9)).log())
        .vdev(VdevSpec::device(of.file(9)).log())
        .spare(of.file(10))
        .cache(of.file(11))
        .ashift(12);
    let options = quiet(layout).set(Compression::Lz4).properties(
        in_no_file()
            .autotrim(true)
            .comment("of all there is")
            .unwrap(),
    );
    let pool = zfs().create_pool(of.name(), &options).unwrap();
    assert_eq!(pool.name().as_str(), of.name());
    assert_eq!(pool.status().unwrap().health, Health::Online);
    assert_eq!(
        tree(&of),
        [
            " raidz1-0",
            "  0",
            "  1",
            "  2",
            "dedup",
            " mirror-2",
            "  5",
            "  6",
            "special",
            " mirror-1",
            "  3",
            "  4",
            "logs",
            " mirror-3",
            "  7",
            "  8",
            " 9",
            "cache",
            " 11",
            "spares",
            " 10",
        ]
        .join("\n")
    );
    for (property, value) in [
        ("comment", "of all there is"),
        ("autotrim", "on"),
        ("ashift", "12"),
        ("cachefile", "none"),
        ("health", "ONLINE"),
    ] {
        assert_eq!(get(property, of.name()), value, "{property}");
    }
    assert_eq!(zfs_get("compression", of.name()), "lz4");
    assert_eq!(zfs_get("mountpoint", of.name()), "none");
    assert_eq!(zfs_get("mounted", of.name()), "no");
    // All features, as the command has it.
    let all = run("zpool", &["get", "-Ho", "property,value", "all", of.name()]);
    let features: Vec<&str> = all.lines().filter(|l| l.starts_with("feature@")).collect();
    assert!(features.len() > 30);
    assert!(
        features.iter().all(|line| !line.ends_with("disabled")),
        "{features:?}"
    );
    let status = pool.status().unwrap();
    assert_eq!(status.features.len(), features.len());
    let history = run("zpool", &["history", of.name()]);
    let line = history.lines().find(|line| line.contains("zpool create"));
    let line = line.expect(&history);
    for words in [
        " -o autotrim=on -o 'comment=of all there is' ",
        " -O compression=lz4 ",
        &format!(" {} raidz1 /", of.name()),
        " log mirror /",
        " spare /",
    ] {
        assert!(line.contains(words), "{words}: {line}");
    }

    // What was free is in use now, and free again when the pool is gone.
    let again = || {
        zfs().create_pool(
            &format!("{}-b", of.name()),
            &quiet(VdevSpec::device(of.file(9))),
        )
    };
    assert_eq!(again().unwrap_err().kind(), ErrorKind::DeviceInUse);
    pool.destroy().unwrap();
    assert!(!pool.exists().unwrap());
    assert!(!output("zpool", &["list", of.name()]).status.success());
    again().unwrap().destroy().unwrap();
    let error = pool.destroy().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn a_draid_with_chosen_features() {
    let of = TestPool::files("create-draid", 5);
    let layout = VdevSpec::draid(1, Some(2), 1, files(&of, 0..5));
    let with = |features: &[&str]| {
        let features = features.iter().map(|&name| name.to_owned()).collect();
        quiet(layout.clone()).features(PoolFeatures::These(features))
    };
    let create = |options: &CreatePool| zfs().create_pool(of.name(), options);
    let error = create(&with(&["draid", "time_travel"])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("time_travel"), "{error}");
    // A layout that needs a feature.
    let error = create(&with(&["async_destroy"])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let pool = create(&with(&["draid", "async_destroy"])).unwrap();
    assert_eq!(tree(&of).lines().next(), Some(" draid1:2d:5c:1s-0"));
    assert_eq!(get("feature@draid", of.name()), "active");
    assert_eq!(get("feature@async_destroy", of.name()), "enabled");
    assert_eq!(get("feature@bookmarks", of.name()), "disabled");
    assert_eq!(get("version", of.name()), "-");
    pool.destroy().unwrap();
    // Without a number of data devices, as the command chooses it.
    let layout = VdevSpec::draid(2, None, 0, files(&of, 0..5));
    zfs().create_pool(of.name(), &quiet(layout)).unwrap();
    assert_eq!(tree(&of).lines().next(), Some(" draid2:3d:5c:0s-0"));
}

/// A pool under another name than its own, gone with the test.
struct Renamed(Pool);

impl Drop for Renamed {
    fn drop(&mut self) {
        let _ = output("zpool", &["destroy", "-f", self.0.name().as_str()]);
    }
}

#[test]
fn encrypted_under_a_temporary_name() {
    let of = TestPool::files("create-tmp", 1);
    let device = Loop::new(&of.file(0));
    let altroot = of.dir().join("root");
    let temporary = format!("{}-t", of.name());
    let key = WrappingKey::raw(&[7; 32]);
    let options = CreatePool::new(VdevSpec::device(device.path()))
        .set(Mountpoint::new("none").unwrap())
        .altroot(&altroot)
        .temporary_name(&temporary)
        .encryption(Encryption::aes_256_gcm(&key).unwrap());
    let pool = zfs().create_pool(of.name(), &options).unwrap();
    let _gone = Renamed(pool.clone());
    assert_eq!(pool.name().as_str(), temporary);
    assert_eq!(get("altroot", &temporary), altroot.to_str().unwrap());
    assert_eq!(get("cachefile", &temporary), "none");
    assert_eq!(zfs_get("encryption", &temporary), "aes-256-gcm");
    assert_eq!(zfs_get("keystatus", &temporary), "available");
    // The kernel holds the device now: what can be seen from outside is its label.
    let label = helix_zfs::zfs_core::pool::Label::read(device.path()).unwrap();
    assert_eq!(label.unwrap().pool_name().as_deref(), Some(of.name()));
    let config = pool.config().unwrap();
    let vdevs = config.list("vdev_tree").unwrap().lists("children").unwrap();
    assert_eq!(vdevs[0].str("type"), Some("disk"));
    // The name is its own again after an export.
    pool.export(ExportOptions::new()).unwrap();
    assert!(!pool.exists().unwrap());
    run("zpool", &["import", "-N", "-d", device.path(), of.name()]);
    assert_eq!(zfs_get("keystatus", of.name()), "unavailable");
    run("zpool", &["destroy", of.name()]);
}

#[test]
fn what_is_in_use_stays() {
    let of = TestPool::files("export", 1);
    let layout = VdevSpec::device(of.file(0));
    let pool = zfs().create_pool(of.name(), &quiet(layout)).unwrap();
    let mounted = Mounted::new(&pool.root());
    mounted.write("f", "x");
    for refused in [pool.destroy(), pool.export(ExportOptions::new())] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Busy);
    }
    assert_eq!(mounted.read("f"), b"x");
    drop(mounted);
    pool.export(ExportOptions::new().force()).unwrap();
    let error = pool.export(ExportOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let dir = of.dir().to_str().unwrap();
    run("zpool", &["import", "-N", "-d", dir, of.name()]);
    let history = run("zpool", &["history", of.name()]);
    assert!(history.contains(&format!("zpool export {}", of.name())));
    // The line of the destruction is the last that is written.
    pool.destroy().unwrap();
    run("zpool", &["import", "-NDf", "-d", dir, of.name()]);
    let history = run("zpool", &["history", of.name()]);
    assert!(history.contains(&format!("zpool destroy {}", of.name())));
}
