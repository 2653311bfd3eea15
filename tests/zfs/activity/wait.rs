//! Waiting.

use super::{new_disk, pool, while_waiting};
use crate::support::{
    DISK_SIZE, Mounted, Parameter, Scratch, TENANT, TestPool, as_user, module, noise, output, run,
    zfs,
};
use helix_zfs::zfs_core::pool::{Scrub, VdevKind};
use helix_zfs::zfs_core::props::RecordSize;
use helix_zfs::zfs_core::{CreateOptions, ErrorKind, PoolActivity, SyncMode, Waited};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

#[test]
fn a_removal_and_what_is_freed() {
    // What is removed needs a multiple of it elsewhere.
    let of = TestPool::files("remove", 2);
    let large = File::options().write(true).open(of.file(0)).unwrap();
    large.set_len(8 * DISK_SIZE).unwrap();
    of.create(&[of.file(0).to_str().unwrap(), of.file(1).to_str().unwrap()]);
    let pool = pool(&of);
    let child = of.root().child("child").unwrap();
    let many_blocks = RecordSize::new(4096).unwrap();
    child
        .create(&CreateOptions::filesystem().set(many_blocks))
        .unwrap();
    Mounted::new(&child).write("data", noise(2 << 20, 2));
    pool.sync(SyncMode::Pending).unwrap();
    let file = of.file(1);
    let stop = Parameter::set("zfs_removal_suspend_progress", "1");
    run("zpool", &["remove", of.name(), file.to_str().unwrap()]);
    let waited = while_waiting(|| pool.wait_for(PoolActivity::Remove), || drop(stop));
    assert_eq!(waited.unwrap(), Waited::Over);
    let status = pool.status().unwrap();
    assert!(status.vdevs().any(|vdev| vdev.kind == VdevKind::Indirect));

    // One block in each transaction group.
    let slow = Parameter::set("zfs_async_block_max_blocks", "1");
    child.destroy().unwrap();
    let waited = while_waiting(|| pool.wait_for(PoolActivity::Free), || drop(slow));
    assert_eq!(waited.unwrap(), Waited::Over);
    assert_eq!(run("zpool", &["list", "-Hpo", "freeing", of.name()]), "0\n");
}

#[test]
fn a_raidz_expansion() {
    if module() < (2, 3) {
        let scratch = Scratch::new("expand");
        let pool = zfs()
            .pool(scratch.name().split('/').next().unwrap())
            .unwrap();
        let error = pool.wait_for(PoolActivity::RaidzExpansion).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        return;
    }
    let of = TestPool::with_layout("expand", 3, &["raidz1"]);
    let pool = pool(&of);
    Mounted::new(&of.root()).write("data", noise(1 << 20, 3));
    pool.sync(SyncMode::Pending).unwrap();
    let new = new_disk(&of);
    let stop = Parameter::set("raidz_expand_max_reflow_bytes", "1");
    run(
        "zpool",
        &["attach", of.name(), "raidz1-0", new.to_str().unwrap()],
    );
    let waited = while_waiting(
        || pool.wait_for(PoolActivity::RaidzExpansion),
        || drop(stop),
    );
    assert_eq!(waited.unwrap(), Waited::Over);
    let shown = run("zpool", &["status", of.name()]);
    assert!(shown.contains("expanded raidz1-0"), "{shown}");
}

#[test]
fn an_export_is_no_end() {
    let of = TestPool::new("wait-export");
    let pool = pool(&of);
    let still = Parameter::scans_stand_still();
    pool.scrub(Scrub::Everything).unwrap();
    let waited = while_waiting(
        || pool.wait_for(PoolActivity::Scrub),
        || {
            run("zpool", &["export", of.name()]);
        },
    );
    assert_eq!(waited.unwrap_err().kind(), ErrorKind::NotFound);
    drop(still);
    run(
        "zpool",
        &["import", "-N", "-d", of.dir().to_str().unwrap(), of.name()],
    );
}

const CHILD: &str = "HELIX_ZFS_WAIT_POOL";

#[test]
fn a_signal_is_no_end() {
    if let Ok(name) = std::env::var(CHILD) {
        let waited = zfs().pool(&name).unwrap().wait_for(PoolActivity::Scrub);
        writeln!(std::io::stderr(), "waited {waited:?}").unwrap();
        return;
    }
    let of = TestPool::new("wait-signal");
    let still = Parameter::scans_stand_still();
    pool(&of).scrub(Scrub::Everything).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "activity::wait::a_signal_is_no_end",
            "--nocapture",
        ])
        .args(["--test-threads", "1"])
        .env(CHILD, of.name())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let waits = || {
        std::fs::read_dir(format!("/proc/{}/task", child.id()))
            .unwrap()
            .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stack")).ok())
            .any(|stack| stack.contains("cv_wait"))
    };
    let until = |ready: &dyn Fn() -> bool| {
        while !ready() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    };
    until(&waits);
    for _ in 0..3 {
        // A stop ends what waits in the kernel with an error, whether it is handled or not.
        for signal in ["-STOP", "-CONT"] {
            run("kill", &[signal, &child.id().to_string()]);
        }
        until(&waits);
    }
    assert!(child.try_wait().unwrap().is_none());
    drop(still);
    let said: Vec<String> = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .collect::<Result<_, _>>()
        .unwrap();
    assert!(child.wait().unwrap().success());
    assert!(
        said.iter().any(|line| line == "waited Ok(Over)"),
        "{said:?}"
    );
}

#[test]
fn deleted_files() {
    let scratch = Scratch::new("deleted");
    let volume = scratch.child("volume").unwrap();
    volume.create(&CreateOptions::volume(1 << 20)).unwrap();
    assert!(!volume.wait_for_delete_queue().unwrap());
    // Not mounted.
    assert!(!scratch.wait_for_delete_queue().unwrap());
    let missing = scratch.child("missing").unwrap().wait_for_delete_queue();
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);

    let mounted = Mounted::new(&scratch);
    assert!(!scratch.wait_for_delete_queue().unwrap());
    mounted.write("data", noise(1 << 20, 4));
    let open = std::fs::File::open(mounted.path("data")).unwrap();
    std::fs::remove_file(mounted.path("data")).unwrap();
    let waited = while_waiting(|| scratch.wait_for_delete_queue(), || drop(open));
    assert!(waited.unwrap());
    // Nobody needs privileges to wait.
    assert!(!as_user(TENANT, || scratch.wait_for_delete_queue()).unwrap());
    assert!(output("zfs", &["wait", scratch.name()]).status.success());
}
