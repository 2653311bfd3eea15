//! Blocks that change on their disk.

use super::{agreed, events_until, pool};
use crate::support::{Mounted, TestPool, noise, run, zfs};
use helix_zfs::zfs_core::events::{Event, EventClass, EventsFrom};
use helix_zfs::zfs_core::pool::{ScanState, Scrub};
use helix_zfs::zfs_core::{CreateOptions, Health, PoolActivity, SyncMode};
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const LEN: usize = 128 << 10;

/// Where on a disk a block begins with these data.
fn find(disk: &Path, data: &[u8]) -> u64 {
    let disk = std::fs::read(disk).unwrap();
    let start = &data[..512];
    let sector = disk.chunks_exact(512).position(|sector| sector == start);
    sector.unwrap() as u64 * 512
}

fn overwrite(disk: &Path, at: u64) {
    let file = File::options().write(true).open(disk).unwrap();
    file.write_all_at(&[0x5a; 4096], at).unwrap();
    file.sync_all().unwrap();
}

/// Writes and removes files until it is told to stop.
fn load(mounted: &Mounted, stop: &AtomicBool) {
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        mounted.write(&format!("load-{}", n % 4), noise(4 * LEN, 1000 + n));
        n += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The disk, the inode and the class of what was reported about checksums and data.
fn reports(events: &[Event]) -> Vec<(EventClass, Option<u64>, u64)> {
    let mut reports: Vec<_> = events
        .iter()
        .filter(|event| [EventClass::Checksum, EventClass::Data].contains(&event.class))
        .map(|event| {
            let block = event.io().unwrap().block.unwrap();
            let vdev = event.vdev().map(|vdev| vdev.guid);
            (event.class.clone(), vdev, block.object)
        })
        .collect();
    reports.sort_by_key(|(class, vdev, object)| (class.to_string(), *vdev, *object));
    reports
}

#[test]
fn damage_under_load_is_found_healed_and_told() {
    // A second try when another test has cleared the events.
    assert!((0..3).any(|_| damaged_under_load()));
}

fn damaged_under_load() -> bool {
    let of = TestPool::with_layout("damaged", 2, &["mirror"]);
    let pool = pool(&of);
    let files = of.root().child("files").unwrap();
    files.create(&CreateOptions::filesystem()).unwrap();
    let mounted = Mounted::new(&files);
    std::fs::create_dir(mounted.path("sub")).unwrap();
    let (healed, lost) = (noise(LEN, 1), noise(LEN, 2));
    mounted.write("sub/healed", &healed);
    mounted.write("sub/lost", &lost);
    pool.sync(SyncMode::Pending).unwrap();
    let inode = |file| std::fs::metadata(mounted.path(file)).unwrap().ino();
    let (healed_inode, lost_inode) = (inode("sub/healed"), inode("sub/lost"));
    let status = pool.status().unwrap();
    let guid = |n| status.vdevs().with_path(of.file(n)).unwrap().guid;
    let (good, bad) = (guid(0), guid(1));

    let mut events = zfs().events(EventsFrom::Now).unwrap();
    let stop = AtomicBool::new(false);
    let (told, at) = std::thread::scope(|scope| {
        scope.spawn(|| load(&mounted, &stop));
        // One copy of the one file, and both of the other.
        let at = find(&of.file(1), &healed);
        overwrite(&of.file(1), at);
        for disk in [of.file(0), of.file(1)] {
            overwrite(&disk, find(&disk, &lost));
        }
        pool.scrub(Scrub::Everything).unwrap();
        let told = events_until(&mut events, &of, &EventClass::ScrubFinish);
        stop.store(true, Ordering::Relaxed);
        (told, at)
    });
    let Some(told) = told else {
        return false;
    };
    pool.wait_for(PoolActivity::Scrub).unwrap();

    // In order: that it began, what was found, that it ended.
    assert!(told.windows(2).all(|pair| pair[0].eid < pair[1].eid));
    let position = |class| told.iter().position(|event| event.class == class).unwrap();
    let (begun, found) = (
        position(EventClass::ScrubStart),
        position(EventClass::Checksum),
    );
    assert!(begun < found && found < told.len() - 1, "{told:?}");
    let (checksum, data) = (EventClass::Checksum, EventClass::Data);
    let mut expected = vec![
        (checksum.clone(), Some(good), lost_inode),
        (checksum.clone(), Some(bad), healed_inode),
        (checksum, Some(bad), lost_inode),
        (data, None, lost_inode),
    ];
    expected.sort_by_key(|(class, vdev, object)| (class.to_string(), *vdev, *object));
    assert_eq!(reports(&told), expected);

    // The file with a good copy is whole again on its disk, and not on record.
    let mut on_disk = vec![0; LEN];
    let disk = File::open(of.file(1)).unwrap();
    disk.read_exact_at(&mut on_disk, at).unwrap();
    assert!(on_disk == healed);
    let status = agreed(&of);
    let scan = status.scan.as_ref().unwrap();
    assert_eq!((scan.state, scan.errors), (ScanState::Finished, 1));
    assert!(scan.processed >= LEN as u64, "{scan:?}");
    assert_eq!(
        (status.health, status.error_count),
        (Health::Online, Some(1))
    );
    let errors = |guid| {
        let stats = status.vdevs().with_guid(guid).unwrap().stats.as_ref();
        stats.unwrap().checksum_errors
    };
    assert!(errors(bad) > errors(good) && errors(good) > 0);
    let log = pool.error_log().unwrap();
    let [damaged] = log.as_slice() else {
        panic!("{log:?}");
    };
    assert_eq!(damaged.to_string(), format!("{}:/sub/lost", files.name()));
    assert_eq!(damaged.object, lost_inode);
    let command = run("zpool", &["status", "-v", of.name()]);
    assert!(
        command.contains("sub/lost") && !command.contains("healed"),
        "{command}"
    );
    true
}
