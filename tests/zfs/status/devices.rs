//! Devices that do not work as they should.

use super::agreement::agrees;
use super::{disk, pool};
use crate::support::{DISK_SIZE, Mounted, TestPool, noise, output, run};
use helix_zfs::zfs_core::pool::{StatusCode, VdevAux};
use helix_zfs::zfs_core::{Health, SyncMode};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

/// A file as a block device.
struct Loop(String);

impl Loop {
    fn new(file: &str) -> Self {
        run("losetup", &["-f", file]);
        let all = run("losetup", &["-a"]);
        let line = all.lines().find(|line| line.contains(file)).unwrap();
        Self(line.split_once(':').unwrap().0.to_owned())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = output("losetup", &["-d", &self.0]);
    }
}

#[test]
fn offline_faulted_failing_and_replaced_by_a_spare() {
    let of = TestPool::files("st-devices", 3);
    let (name, disks) = (of.name(), [0, 1, 2].map(|n| disk(&of, n)));
    // `zpool replace` of 2.1 does not see that a spare in a file is one of this pool.
    let spare = Loop::new(&disks[2]);
    of.create(&["mirror", &disks[0], &disks[1], "spare", &spare.0]);
    let mounted = Mounted::new(&of.root());
    mounted.write("data", noise(2 << 20, 1));
    pool(&of).sync(SyncMode::Pending).unwrap();

    run("zpool", &["offline", name, &disks[1]]);
    let offline = agrees(&of);
    assert_eq!(offline.advice.code, StatusCode::OfflineDevice);
    assert_eq!(offline.advice.code.message_id(), None);

    run("zpool", &["replace", "-w", name, &disks[1], &spare.0]);
    let spared = agrees(&of);
    assert_eq!(spared.status.spares[0].health(), Health::InUse);
    assert_eq!(spared.advice.code, StatusCode::OfflineDevice);
    run("zpool", &["detach", name, &spare.0]);
    assert_eq!(agrees(&of).status.spares[0].health(), Health::Available);

    run("zpool", &["online", name, &disks[1]]);
    run("zpool", &["wait", "-t", "resilver", name]);
    run("zpool", &["offline", "-f", name, &disks[1]]);
    let faulted = agrees(&of);
    assert_eq!(faulted.advice.code, StatusCode::FaultedDevice);
    let vdev = faulted.status.vdevs().with_path(of.file(1)).unwrap();
    assert_eq!(vdev.aux, VdevAux::External);
    run("zpool", &["clear", name]);
    run("zpool", &["wait", "-t", "resilver", name]);

    let file = OpenOptions::new().write(true).open(of.file(1)).unwrap();
    let damage = noise(1 << 20, 2);
    for mib in 5..(DISK_SIZE >> 20) - 1 {
        file.write_all_at(&damage, mib << 20).unwrap();
    }
    file.sync_all().unwrap();
    // The resilver that `clear` asks for may begin only now.
    while !output("zpool", &["scrub", "-w", name]).status.success() {
        run("zpool", &["wait", "-t", "resilver", name]);
    }
    let failing = agrees(&of);
    assert_eq!(failing.advice.code, StatusCode::FailingDevice);
    assert_eq!(failing.advice.code.message_id(), Some("ZFS-8000-9P"));
    assert!(failing.status.scan.as_ref().unwrap().processed > 0);
    assert_eq!(failing.error_log, Some(Vec::new()));
    run("zpool", &["clear", name]);
    assert_eq!(agrees(&of).advice.code, StatusCode::Ok);
    run("zpool", &["destroy", name]);
}
