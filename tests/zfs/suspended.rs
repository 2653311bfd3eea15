//! A pool that is suspended: it answers at once, and nothing hangs.

mod everything;

use crate::events::Watch;
use crate::support::{DISK_SIZE, Mounted, TestPool, noise, output, run, zfs};
use everything::Caller;
use helix_zfs::zfs_core::events::EventClass;
use helix_zfs::zfs_core::pool::{StatusCode, SuspendReason};
use helix_zfs::zfs_core::props::UserProps;
use helix_zfs::zfs_core::send::SendOptions;
use helix_zfs::zfs_core::{CreateOptions, Dataset, Error, Health, Pool};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
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
        if pool(self.pool).clear().is_err() {
            let _ = output("zpool", &["clear", self.pool.name()]);
        }
        let _ = self.writer.wait();
    }
}

/// Every call, done one after the other on a thread of its own. That none waits for the pool, only
/// a limit can tell, which is far from what they take.
fn refuse_everything(of: &TestPool, child: &Dataset, stream: &[u8]) {
    const LIMIT: Duration = Duration::from_secs(120);
    let (sender, answers) = mpsc::channel();
    let caller = Caller {
        pool: pool(of),
        child: child.clone(),
        disk: pool(of).status().unwrap().root.children[0].guid,
        new_disk: of.dir().join("new"),
        stream: stream.to_vec(),
        sender,
    };
    File::create(&caller.new_disk)
        .unwrap()
        .set_len(DISK_SIZE)
        .unwrap();
    let thread = std::thread::spawn(move || caller.call_everything());
    let mut last = "the first call";
    loop {
        match answers.recv_timeout(LIMIT) {
            Ok((what, expected, result)) => {
                last = what;
                let refused = result.as_ref().copied().map_err(Error::kind);
                assert_eq!(refused, expected, "{what}: {result:?}");
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => panic!("what follows {last} waits"),
        }
    }
    thread.join().unwrap();
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
        let mut stream = Vec::new();
        let snapshot = child.snapshot("s").unwrap();
        let mut sent = snapshot.send(&SendOptions::full()).unwrap();
        std::io::copy(&mut sent, &mut stream).unwrap();
        let mounted = Mounted::new(&of.root());
        let (data, copy) = (of.dir().join("data"), mounted.path("data"));
        std::fs::write(&data, noise(8 << 20, 6)).unwrap();
        let watch = Watch::new(of.name());
        let suspended = Suspended::new(&of, &thin, &data, &copy);
        watch.class(EventClass::IoFailure);
        drop(watch);
        let status = pool(&of).status().unwrap();
        assert_eq!(status.suspended, Some(SuspendReason::IoError));
        assert_eq!((status.health, status.fault), (Health::Suspended, None));
        assert!(pool(&of).exists().unwrap());
        if failmode == "wait" {
            let health = run("zpool", &["list", "-Ho", "health", of.name()]);
            assert_eq!(health.trim_end(), "SUSPENDED");
            let advice = crate::status::agrees(&of).advice;
            assert_eq!(advice.code, StatusCode::IoFailureWait);
            assert_eq!(advice.code.message_id(), Some("ZFS-8000-HC"));
        } else {
            let advice = pool(&of).report().unwrap().advice;
            assert_eq!(advice.code, StatusCode::IoFailureContinue);
        }

        crate::layout::is_not_planned(of.name());
        refuse_everything(&of, &child, &stream);

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
