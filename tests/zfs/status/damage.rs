//! The record of damaged blocks.

use super::agreement::agrees;
use super::{pool, report};
use crate::support::{Mounted, TENANT, TestPool, as_user, noise, run};
use helix_zfs::zfs_core::pool::StatusCode;
use helix_zfs::zfs_core::props::UserProps;
use helix_zfs::zfs_core::{CreateOptions, Dataset, ErrorKind, Health, SyncMode};
use std::collections::HashSet;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Makes 4 KiB of each block wrong that has this at its beginning.
fn damage(of: &TestPool, contents: &[&[u8]]) {
    let disk = std::fs::read(of.file(0)).unwrap();
    let file = OpenOptions::new().write(true).open(of.file(0)).unwrap();
    for start in contents {
        let sector = disk
            .chunks_exact(512)
            .position(|sector| sector == &start[..512]);
        let at = sector.expect("on the disk") as u64 * 512;
        file.write_all_at(&[0; 4096], at).unwrap();
    }
    file.sync_all().unwrap();
}

fn child(of: &TestPool, name: &str) -> Dataset {
    let child = of.root().child(name).unwrap();
    child.create(&CreateOptions::filesystem()).unwrap();
    child
}

#[test]
fn files_that_are_damaged() {
    let of = TestPool::new("st-damage");
    let (name, pool) = (of.name(), pool(&of));
    let (home, gone) = (child(&of, "home"), child(&of, "gone"));
    let contents: Vec<Vec<u8>> = (1..=5).map(|seed| noise(256 << 10, seed)).collect();
    let mounted = Mounted::new(&home);
    std::fs::create_dir(mounted.path("a folder")).unwrap();
    mounted.write("a folder/b", &contents[0]);
    mounted.write("unlinked", &contents[1]);
    mounted.write("only-in-snapshot", &contents[2]);
    {
        let mounted = Mounted::new(&gone);
        mounted.write("lost", &contents[3]);
        mounted.write("lost-too", &contents[4]);
        pool.sync(SyncMode::Pending).unwrap();
    }
    home.snapshot("kept")
        .unwrap()
        .create(&UserProps::new())
        .unwrap();
    std::fs::remove_file(mounted.path("only-in-snapshot")).unwrap();
    pool.sync(SyncMode::Pending).unwrap();
    assert_eq!(report(&of).error_log, Some(Vec::new()));
    assert_eq!(pool.error_log().unwrap(), []);

    let starts: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
    // Two blocks of one file, and one of each other.
    damage(
        &of,
        &[
            starts[0],
            &starts[0][128 << 10..],
            starts[1],
            starts[2],
            starts[3],
            starts[4],
        ],
    );
    run("zpool", &["scrub", "-w", name]);
    let damaged = agrees(&of);
    assert_eq!(damaged.advice.code, StatusCode::CorruptData);
    assert_eq!(damaged.advice.code.message_id(), Some("ZFS-8000-8A"));
    assert_eq!(damaged.status.health, Health::Online);
    let log = damaged.error_log.unwrap();
    let at = |dataset: &str, path: &str| {
        let dataset = Some(format!("{name}/{dataset}"));
        let is_it = |object: &&helix_zfs::zfs_core::pool::DamagedObject| {
            object.dataset == dataset && object.path.as_deref() == Some(Path::new(path))
        };
        log.iter().find(is_it)
    };
    let file = at("home", "/a folder/b")
        .or_else(|| at("home@kept", "/a folder/b"))
        .unwrap();
    let blocks: Vec<(i64, u64)> = file
        .blocks
        .iter()
        .map(|block| (block.level, block.id))
        .collect();
    assert_eq!(blocks, [(0, 0), (0, 1)]);
    assert!(at("home@kept", "/only-in-snapshot").is_some(), "{log:?}");
    let lost = at("gone", "/lost").unwrap();
    assert_eq!(lost.to_string(), format!("{name}/gone:/lost"));
    assert!(at("gone", "/lost-too").is_some());
    assert!(log.is_sorted_by_key(|object| (object.dataset_id, object.object)));

    // Without its name an object is a number, and so is a dataset.
    run("zfs", &["destroy", &format!("{name}/gone")]);
    let later = agrees(&of).error_log.unwrap();
    let still = later
        .iter()
        .filter(|object| object.dataset_id == lost.dataset_id);
    for object in still {
        assert_eq!((&object.dataset, &object.path), (&None, &None));
        let numbers = format!("<{:#x}>:<{:#x}>", object.dataset_id, object.object);
        assert_eq!(object.to_string(), numbers);
    }

    // The list is for root; the number of errors is for everybody.
    as_user(TENANT, || {
        let report = pool.report().unwrap();
        assert!(report.status.error_count > Some(0));
        assert_eq!(report.error_log, None);
        assert_eq!(report.advice.code, StatusCode::CorruptData);
        let refused = pool.error_log().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    });
}

#[test]
fn a_long_list_of_damage() {
    let of = TestPool::new("st-many");
    run("zfs", &["set", "recordsize=512", of.name()]);
    let mounted = Mounted::new(&of.root());
    // More blocks than there is room for at first.
    let contents = noise(800 << 10, 1);
    mounted.write("data", &contents);
    pool(&of).sync(SyncMode::Pending).unwrap();
    let disk = std::fs::read(of.file(0)).unwrap();
    let file = OpenOptions::new().write(true).open(of.file(0)).unwrap();
    // Eight bytes of noise tell a sector of it from all others.
    let start = |sector: &[u8]| -> [u8; 8] { sector[..8].try_into().unwrap() };
    let sectors: HashSet<[u8; 8]> = contents.chunks_exact(512).map(start).collect();
    for (index, sector) in disk.chunks_exact(512).enumerate() {
        if sectors.contains(&start(sector)) {
            file.write_all_at(&[0; 512], index as u64 * 512).unwrap();
        }
    }
    file.sync_all().unwrap();
    run("zpool", &["scrub", "-w", of.name()]);
    let log = pool(&of).error_log().unwrap();
    assert_eq!(log.len(), 1, "{log:?}");
    assert!(log[0].blocks.len() > 1024, "{}", log[0].blocks.len());
    assert!(log[0].blocks.is_sorted());
    assert_eq!(log[0].path.as_deref(), Some(Path::new("/data")));
    assert_eq!(agrees(&of).error_log.unwrap(), log);
}

#[test]
fn nothing_to_tell_of() {
    let missing = crate::support::zfs().pool("hz-missing").unwrap();
    for error in [
        missing.error_log().unwrap_err(),
        missing.report().unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert_eq!(error.object(), "hz-missing");
    }
}
