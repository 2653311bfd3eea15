//! Pools and datasets for tests, and how tests look at them from outside.
//!
//! Only pools that were made here are ever touched: on scratch disks of the guest, or on files in
//! a temporary folder.

mod gate;
pub(crate) mod killed;

pub(crate) use gate::{allowed, grant, may, may_in, open_gate};

use helix_zfs::zfs_core::{CreateOptions, Dataset, PoolName, Zfs};
use rustix::mount::{MountFlags, UnmountFlags, mount};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tempfile::TempDir;

/// The size of a file that stands in for a disk; ZFS takes none under 64 MiB.
pub(crate) const DISK_SIZE: u64 = 96 << 20;

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A number that no other name of this process has.
pub(crate) fn unique() -> u32 {
    COUNTER.fetch_add(1, Ordering::Relaxed)
}

pub(crate) fn zfs() -> Zfs {
    Zfs::open().expect("ZFS is loaded where these tests run")
}

/// The version of the loaded module, such as 2.1.
pub(crate) fn module() -> (u32, u32) {
    let text = std::fs::read_to_string("/sys/module/zfs/version").expect("a module");
    let mut numbers = text
        .split('.')
        .map(|number| number.parse().expect("a number"));
    let mut next = || numbers.next().expect("two numbers");
    (next(), next())
}

/// Runs a command that must succeed, and returns what it printed.
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let output = output(program, args);
    assert!(
        output.status.success(),
        "{program} {args:?}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Runs a command whatever its outcome.
pub(crate) fn output(program: &str, args: &[&str]) -> Output {
    Command::new(program)
        .args(args)
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}"))
}

/// A property as the `zfs` command sees it.
pub(crate) fn zfs_get(property: &str, name: impl AsRef<str>) -> String {
    run("zfs", &["get", "-Hpo", "value", property, name.as_ref()])
        .trim_end()
        .to_owned()
}

/// A pool of a test's own, destroyed when dropped.
pub(crate) struct TestPool {
    name: String,
    dir: TempDir,
}

impl TestPool {
    /// A pool on one file.
    pub(crate) fn new(topic: &str) -> Self {
        Self::with_layout(topic, 1, &[])
    }

    /// A pool on `disks` files, with `layout` before them: `["mirror"]`, for example.
    pub(crate) fn with_layout(topic: &str, disks: usize, layout: &[&str]) -> Self {
        let pool = Self::files(topic, disks);
        let files: Vec<String> = (0..disks)
            .map(|n| pool.file(n).to_str().expect("UTF-8").to_owned())
            .collect();
        let mut vdevs: Vec<&str> = layout.to_vec();
        vdevs.extend(files.iter().map(String::as_str));
        pool.create(&vdevs);
        pool
    }

    /// Files for a pool that is yet to be [created](Self::create).
    pub(crate) fn files(topic: &str, disks: usize) -> Self {
        let dir = TempDir::with_prefix("helix-zfs-").expect("a temporary folder");
        let name = format!("hz-{topic}-{}-{}", std::process::id(), unique());
        let pool = Self { name, dir };
        for n in 0..disks {
            let file = std::fs::File::create(pool.file(n)).expect("a file");
            file.set_len(DISK_SIZE).expect("a sparse file");
        }
        pool
    }

    /// Creates the pool from vdevs as the `zpool` command takes them.
    pub(crate) fn create(&self, vdevs: &[&str]) {
        create_pool(&self.name, vdevs);
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The file behind the disk `n`.
    pub(crate) fn file(&self, n: usize) -> PathBuf {
        self.dir.path().join(format!("disk{n}"))
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn root(&self) -> Dataset {
        zfs().dataset(&self.name).expect("a valid name")
    }
}

impl Drop for TestPool {
    fn drop(&mut self) {
        // A test that panics leaves what it leaves; `-f` unmounts. A pool that was exported or
        // never made is no reason to fail.
        let _ = output("zpool", &["destroy", "-f", &self.name]);
    }
}

fn create_pool(name: &str, vdevs: &[&str]) {
    PoolName::new(name).expect("a valid name");
    let mut args = vec![
        "create",
        "-f",
        "-o",
        "cachefile=none",
        "-O",
        "mountpoint=none",
        name,
    ];
    args.extend_from_slice(vdevs);
    run("zpool", &args);
}

/// The pool that tests share when they need no pool of their own.
struct SharedPool {
    name: String,
    _files: Option<TestPool>,
}

static SHARED: Mutex<Weak<SharedPool>> = Mutex::new(Weak::new());

fn shared_pool() -> Arc<SharedPool> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pool) = shared.upgrade() {
        return pool;
    }
    let pool = Arc::new(match std::env::var("HELIX_ZFS_DISKS") {
        // A scratch disk is several times faster than a file.
        Ok(disks) if !disks.trim().is_empty() => {
            let disk = disks.split_whitespace().next().unwrap_or_default();
            let name = String::from("hz-shared");
            create_pool(&name, &[disk]);
            SharedPool { name, _files: None }
        }
        _ => {
            let files = TestPool::files("shared", 1);
            std::fs::OpenOptions::new()
                .write(true)
                .open(files.file(0))
                .and_then(|file| file.set_len(2 << 30))
                .expect("a sparse file");
            files.create(&[files.file(0).to_str().expect("UTF-8")]);
            SharedPool {
                name: files.name.clone(),
                _files: Some(files),
            }
        }
    });
    if std::env::var_os("HELIX_ZFS_NATIVE").is_none() {
        // The guest goes when the tests are done, and making a pool anew for each test is slow.
        std::mem::forget(Arc::clone(&pool));
    }
    *shared = Arc::downgrade(&pool);
    pool
}

/// A filesystem of a test's own in the shared pool, destroyed with all below it when dropped.
pub(crate) struct Scratch {
    dataset: Dataset,
    _pool: Arc<SharedPool>,
}

impl Scratch {
    pub(crate) fn new(topic: &str) -> Self {
        let pool = shared_pool();
        let name = format!("{}/{topic}-{}", pool.name, unique());
        let dataset = zfs().dataset(&name).expect("a valid name");
        dataset
            .create(&CreateOptions::filesystem())
            .expect("a new dataset");
        Self {
            dataset,
            _pool: pool,
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.dataset.name().as_str()
    }
}

impl std::ops::Deref for Scratch {
    type Target = Dataset;

    fn deref(&self) -> &Dataset {
        &self.dataset
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let destroy = || output("zfs", &["destroy", "-Rf", self.name()]);
        if destroy().status.success() {
            return;
        }
        // Holds keep snapshots from going.
        let list = output(
            "zfs",
            &[
                "list",
                "-Hrt",
                "snapshot",
                "-o",
                "name,userrefs",
                self.name(),
            ],
        );
        for line in String::from_utf8_lossy(&list.stdout).lines() {
            let Some((snapshot, refs)) = line.split_once('\t') else {
                continue;
            };
            if refs == "0" {
                continue;
            }
            let holds = output("zfs", &["holds", "-H", snapshot]);
            for hold in String::from_utf8_lossy(&holds.stdout).lines() {
                if let Some(tag) = hold.split('\t').nth(1) {
                    let _ = output("zfs", &["release", tag, snapshot]);
                }
            }
        }
        let _ = destroy();
    }
}

/// A filesystem mounted in a temporary folder, unmounted when dropped.
pub(crate) struct Mounted(TempDir);

impl Mounted {
    pub(crate) fn new(dataset: &Dataset) -> Self {
        let dir = TempDir::with_prefix("helix-zfs-").expect("a temporary folder");
        let name = dataset.name().as_str();
        // Where it belongs is of interest to the commands only, which take their time.
        for _ in 0..1000 {
            match mount(name, dir.path(), "zfs", MountFlags::empty(), None) {
                // A mount namespace that another test has just made, or a process that it starts,
                // still has a copy of the mount before.
                Err(rustix::io::Errno::BUSY) => std::thread::sleep(Duration::from_millis(10)),
                outcome => {
                    outcome.expect("mounted");
                    return Self(dir);
                }
            }
        }
        panic!("{name} stays busy");
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    pub(crate) fn write(&self, file: &str, contents: impl AsRef<[u8]>) {
        std::fs::write(self.path(file), contents).expect("written");
    }

    pub(crate) fn read(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.path(file)).expect("read")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = unmount(self.0.path());
    }
}

/// A file as a block device, until it is dropped.
pub(crate) struct Loop(String);

impl Loop {
    pub(crate) fn new(file: &Path) -> Self {
        let file = file.to_str().expect("UTF-8");
        run("losetup", &["-f", file]);
        let all = run("losetup", &["-a"]);
        let line = all.lines().find(|line| line.contains(file));
        let (device, _) = line.and_then(|line| line.split_once(':')).expect("listed");
        Self(device.to_owned())
    }

    pub(crate) fn path(&self) -> &str {
        &self.0
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = output("losetup", &["-d", &self.0]);
    }
}

/// The device of the volume of that size, which the kernel makes some time after the volume. No other
/// test's volume has it.
pub(crate) fn device_of_size(bytes: u64) -> PathBuf {
    for _ in 0..3000 {
        for entry in std::fs::read_dir("/sys/block").expect("read") {
            let entry = entry.expect("an entry");
            let sectors = std::fs::read_to_string(entry.path().join("size")).unwrap_or_default();
            let device = Path::new("/dev").join(entry.file_name());
            if sectors.trim().parse() == Ok(bytes / 512) && device.exists() {
                return device;
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("no device of {bytes} bytes appeared");
}

/// Unmounts what is mounted at `path`.
pub(crate) fn unmount(path: &Path) -> rustix::io::Result<()> {
    for _ in 0..1000 {
        match rustix::mount::unmount(path, UnmountFlags::empty()) {
            // A process that another test is just starting still has a copy of each of our
            // descriptors.
            Err(rustix::io::Errno::BUSY) => std::thread::sleep(Duration::from_millis(10)),
            outcome => return outcome,
        }
    }
    Err(rustix::io::Errno::BUSY)
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    // A loop of our own takes a third of some tests: this program is not optimised.
    let mut bytes = vec![0; len];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

/// A parameter of the module that has another value while this lives. It is that of all pools, so
/// that one test at a time changes any, and for a moment only.
pub(crate) struct Parameter {
    path: PathBuf,
    was: String,
    _alone: MutexGuard<'static, ()>,
}

static PARAMETERS: Mutex<()> = Mutex::new(());

impl Parameter {
    pub(crate) fn set(name: &str, value: &str) -> Self {
        let alone = PARAMETERS.lock().unwrap_or_else(PoisonError::into_inner);
        let path = Path::new("/sys/module/zfs/parameters").join(name);
        let was = std::fs::read_to_string(&path).expect("a parameter");
        std::fs::write(&path, value).expect("a parameter that can be set");
        Self {
            path,
            was,
            _alone: alone,
        }
    }

    /// Scrubs and resilvers stay where they are.
    pub(crate) fn scans_stand_still() -> Self {
        Self::set("zfs_scan_suspend_progress", "1")
    }
}

impl Drop for Parameter {
    fn drop(&mut self) {
        let _ = std::fs::write(&self.path, self.was.trim_end());
    }
}

/// A user without privileges, whom the guest knows as `tenant`.
pub(crate) const TENANT: u32 = 1000;

/// Runs `action` on a thread of its own that belongs to the user `uid` and has no privileges.
pub(crate) fn as_user<T: Send>(uid: u32, action: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let gid = rustix::process::Gid::from_raw(uid);
            let id = rustix::process::Uid::from_raw(uid);
            rustix::thread::set_thread_groups(&[]).expect("groups dropped");
            rustix::thread::set_thread_res_gid(gid, gid, gid).expect("group changed");
            rustix::thread::set_thread_res_uid(id, id, id).expect("user changed");
            action()
        });
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
