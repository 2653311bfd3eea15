//! A pool that is suspended: it answers at once, and nothing hangs.

use crate::support::{DISK_SIZE, Mounted, TestPool, noise, output, run, zfs};
use helix_zfs::zfs_core::key::WrappingKey;
use helix_zfs::zfs_core::pool::SuspendReason;
use helix_zfs::zfs_core::props::{Prop, PropertySet, Quota, UserProps};
use helix_zfs::zfs_core::{
    CreateOptions, Dataset, ErrorKind, Health, Pool, Result, SnapshotFilter, SyncMode,
};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

fn pool(of: &TestPool) -> Pool {
    zfs().pool(of.name()).unwrap()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A filesystem too small for the sparse file of a disk that is in it.
struct Thin(TempDir);

impl Thin {
    fn new() -> Self {
        let thin = Self(TempDir::with_prefix("helix-zfs-").unwrap());
        let dir = path(thin.0.path());
        run("mount", &["-t", "tmpfs", "-o", "size=48m", "none", dir]);
        File::create(thin.disk())
            .unwrap()
            .set_len(DISK_SIZE)
            .unwrap();
        thin
    }

    fn disk(&self) -> PathBuf {
        self.0.path().join("disk")
    }

    fn ballast(&self) -> PathBuf {
        self.0.path().join("ballast")
    }

    fn fill(&self) {
        let mut ballast = File::create(self.ballast()).unwrap();
        let full = std::io::copy(&mut std::io::repeat(0), &mut ballast).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    }
}

impl Drop for Thin {
    fn drop(&mut self) {
        let _ = output("umount", &[path(self.0.path())]);
    }
}

/// A pool that was suspended, and comes back when dropped so that it can be destroyed.
struct Suspended<'a> {
    pool: &'a TestPool,
    thin: &'a Thin,
    writer: Child,
}

impl<'a> Suspended<'a> {
    /// Leaves no room below the pool's disk and copies `data` into it. The copy waits until the
    /// pool goes on, and so is done by a process of its own.
    fn new(of: &'a TestPool, thin: &'a Thin, data: &Path, to: &Path) -> Self {
        thin.fill();
        let script = r#"cp "$0" "$1" && zpool sync "$2""#;
        let mut command = Command::new("sh");
        command.args(["-c", script, path(data), path(to), of.name()]);
        // With `failmode=continue` it can fail, and says so.
        let writer = command.stderr(Stdio::null()).spawn().unwrap();
        let suspended = Self {
            pool: of,
            thin,
            writer,
        };
        while pool(of).status().unwrap().suspended.is_none() {
            std::thread::sleep(Duration::from_millis(50));
        }
        suspended
    }
}

impl Drop for Suspended<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.thin.ballast());
        let _ = output("zpool", &["clear", self.pool.name()]);
        let _ = self.writer.wait();
    }
}

/// What reads as what writes: none of it waits for the pool.
fn refuse_everything(of: &TestPool, child: &Dataset) {
    let zfs = zfs();
    let new = child.child("new").unwrap();
    let snap = child.snapshot("s").unwrap();
    let next = child.snapshot("t").unwrap();
    let key = WrappingKey::raw(&[1; 32]);
    let refused = |what: &str, result: Result<()>| {
        let error = result.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::PoolSuspended, "{what}: {error}");
    };
    refused("stat", child.stat().map(drop));
    refused("exists", child.exists().map(drop));
    refused("properties", child.properties().map(drop));
    refused("children", child.children().map(drop));
    refused(
        "snapshots",
        child.snapshots(&SnapshotFilter::new()).map(drop),
    );
    refused("bookmarks", child.bookmarks().map(drop));
    refused("holds", snap.holds().map(drop));
    refused("space", snap.space_to(&snap).map(drop));
    refused("create", new.create(&CreateOptions::filesystem()));
    refused("destroy", child.destroy());
    refused("rename", child.rename(new.name()).map(drop));
    refused(
        "clone",
        snap.clone_to(new.name(), &PropertySet::new()).map(drop),
    );
    refused("promote", child.promote());
    refused("rollback", child.rollback().map(drop));
    refused("rollback to", child.rollback_to("s"));
    refused("snapshot", next.create(&UserProps::new()));
    refused("destroy snapshot", snap.destroy());
    refused("destroy snapshots", zfs.destroy_snapshots(&[snap.name()]));
    refused("rename snapshot", snap.rename("t").map(drop));
    refused("rename snapshots", snap.rename_recursive("t").map(drop));
    refused("bookmark", snap.bookmark("m").map(drop));
    refused("hold", snap.hold("h"));
    refused(
        "hold until drop",
        zfs.hold_until_drop(&[snap.name()], "h").map(drop),
    );
    refused("release", snap.release("h"));
    refused("set", child.set(Quota(1 << 20)));
    refused("inherit", child.inherit(Prop::Compression));
    refused("load key", child.load_key(&key));
    refused("unload key", child.unload_key());
    refused("change key", child.change_key(&key));
    refused("sync", pool(of).sync(SyncMode::Pending));
    for (what, result) in crate::activity::refused::everything(&pool(of)) {
        refused(what, result);
    }
}

#[test]
fn a_suspended_pool_answers_and_refuses() {
    for failmode in ["wait", "continue"] {
        let thin = Thin::new();
        let of = TestPool::files("suspended", 0);
        of.create(&[path(&thin.disk())]);
        run(
            "zpool",
            &["set", &format!("failmode={failmode}"), of.name()],
        );
        let child = of.root().child("child").unwrap();
        child.create(&CreateOptions::filesystem()).unwrap();
        child
            .snapshot("s")
            .unwrap()
            .create(&UserProps::new())
            .unwrap();
        let mounted = Mounted::new(&of.root());
        let (data, copy) = (of.dir().join("data"), mounted.path("data"));
        std::fs::write(&data, noise(8 << 20, 6)).unwrap();
        let suspended = Suspended::new(&of, &thin, &data, &copy);
        let status = pool(&of).status().unwrap();
        assert_eq!(status.suspended, Some(SuspendReason::IoError));
        assert_eq!((status.health, status.fault), (Health::Suspended, None));
        assert!(pool(&of).exists().unwrap());
        if failmode == "wait" {
            let health = run("zpool", &["list", "-Ho", "health", of.name()]);
            assert_eq!(health.trim_end(), "SUSPENDED");
        }

        refuse_everything(&of, &child);

        drop(suspended);
        let status = pool(&of).status().unwrap();
        assert_eq!((status.health, status.suspended), (Health::Online, None));
        child
            .snapshot("t")
            .unwrap()
            .create(&UserProps::new())
            .unwrap();
        if failmode == "wait" {
            // The writer waited. Else it was told of an error.
            assert!(std::fs::read(copy).unwrap() == std::fs::read(data).unwrap());
        }
    }
}
