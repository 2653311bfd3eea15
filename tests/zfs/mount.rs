//! Mounting on purpose, and never by accident.

mod combined;
mod policy;

use crate::support::{Scratch, TENANT, TestPool, as_user, run, zfs};
use helix_zfs::zfs_core::key::{Encryption, WrappingKey};
use helix_zfs::zfs_core::mount::{MountOptions, UnmountMode};
use helix_zfs::zfs_core::props::{
    Atime, CanMount, Devices, Exec, Mountpoint, Overlay, PropertySet, ReadOnly, Relatime, Setuid,
    UserProps,
};
use helix_zfs::zfs_core::receive::ReceiveOptions;
use helix_zfs::zfs_core::send::SendOptions;
use helix_zfs::zfs_core::{CreateOptions, Dataset, ErrorKind, Operation, Result};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// A filesystem whose mountpoint is in a folder of its own, which goes with it.
struct Place {
    dir: TempDir,
    scratch: Scratch,
}

impl Place {
    fn new(topic: &str) -> Self {
        let dir = TempDir::with_prefix("helix-zfs-").unwrap();
        let scratch = Scratch::new(topic);
        let path = dir.path().join("root");
        scratch
            .set(Mountpoint::new(path.to_str().unwrap()).unwrap())
            .unwrap();
        Self { dir, scratch }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn folder(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    fn child(&self, name: &str, options: &CreateOptions) -> Dataset {
        let child = self.scratch.child(name).unwrap();
        child.create(options).unwrap();
        child
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The command unmounts what is left of the filesystems, and the folder's removal must not
        // reach into one.
        for mount in self.scratch.zfs().mounts().unwrap().iter().rev() {
            if mount.path.starts_with(self.dir.path()) {
                let _ = rustix::mount::unmount(&mount.path, rustix::mount::UnmountFlags::DETACH);
            }
        }
    }
}

fn filesystem() -> CreateOptions {
    CreateOptions::filesystem()
}

fn kind<T>(result: Result<T>) -> ErrorKind {
    result.map(|_| "it worked").unwrap_err().kind()
}

/// Descriptors of this process are copied into processes that other tests just start, for moments.
fn patiently<T>(mut action: impl FnMut() -> Result<T>) -> Result<T> {
    for _ in 0..500 {
        match action() {
            Err(error) if error.kind() == ErrorKind::Busy => {
                std::thread::sleep(Duration::from_millis(10));
            }
            outcome => return outcome,
        }
    }
    action()
}

/// The paths at which a dataset is mounted.
fn paths(dataset: &Dataset) -> Vec<PathBuf> {
    let mounts = dataset.mounts().unwrap();
    mounts.into_iter().map(|mount| mount.path).collect()
}

/// The options that the system shows for the mount at `path`.
fn shown_options(path: &Path) -> String {
    let table = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let path = path.to_str().unwrap();
    let line = table
        .lines()
        .rev()
        .find(|line| line.split(' ').nth(1) == Some(path))
        .expect("mounted");
    line.split(' ').nth(3).unwrap().to_owned()
}

#[test]
fn properties_hold_as_for_the_command() {
    let place = Place::new("mount-props");
    let same = |name: &str, options: CreateOptions| {
        let dataset = place.child(name, &options);
        let expected = place.path("root").join(name);
        assert_eq!(dataset.mount(&MountOptions::new()).unwrap(), expected);
        assert_eq!(paths(&dataset), std::slice::from_ref(&expected));
        let ours = shown_options(&expected);
        assert_eq!(
            patiently(|| dataset.unmount(UnmountMode::Unused)).unwrap(),
            std::slice::from_ref(&expected)
        );
        assert_eq!(paths(&dataset), [""; 0].map(PathBuf::from));
        run("zfs", &["mount", dataset.name().as_str()]);
        assert_eq!(ours, shown_options(&expected), "{name}");
        let [theirs] = &dataset.mounts().unwrap()[..] else {
            panic!("mounted once");
        };
        assert_eq!((&theirs.path, &theirs.part), (&expected, &None));
        patiently(|| dataset.unmount(UnmountMode::Unused)).unwrap();
        ours
    };
    same("plain", filesystem());
    let options = same(
        "strict",
        filesystem()
            .set(Devices(false))
            .set(Exec(false))
            .set(Setuid(false))
            .set(Relatime(false))
            .set(ReadOnly(true)),
    );
    for word in ["ro", "nodev", "noexec", "nosuid"] {
        assert!(options.split(',').any(|option| option == word), "{options}");
    }
    same("noatime", filesystem().set(Atime(false)));
    same("relatime", filesystem().set(Relatime(true)));
}

#[test]
fn at_a_path_and_read_only() {
    let place = Place::new("mount-at");
    let dataset = place.child("data", &filesystem().set(CanMount::Off));
    // On purpose, whatever `canmount` says.
    let writable = place.folder("with blank\\and\ttab");
    dataset.mount(&MountOptions::new().at(&writable)).unwrap();
    std::fs::write(writable.join("file"), "text").unwrap();
    let [mount] = &dataset.mounts().unwrap()[..] else {
        panic!("mounted once");
    };
    assert_eq!((&mount.path, mount.read_only), (&writable, false));
    assert_eq!(mount.name(), dataset.name().as_str());
    // It is either one or the other.
    let other = place.folder("other");
    let read_only = MountOptions::new().at(&other).read_only();
    assert_eq!(kind(dataset.mount(&read_only)), ErrorKind::Busy);
    patiently(|| dataset.unmount(UnmountMode::Unused)).unwrap();
    dataset.mount(&read_only).unwrap();
    assert!(dataset.mounts().unwrap()[0].read_only);
    let refused = std::fs::write(other.join("file"), "x").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    assert_eq!(std::fs::read_to_string(other.join("file")).unwrap(), "text");

    // In two places, and a folder of it in a third.
    let second = place.folder("second");
    let options = MountOptions::new().at(&second).read_only();
    dataset.mount(&options).unwrap();
    assert_eq!(kind(dataset.mount(&options)), ErrorKind::Busy);
    assert_eq!(paths(&dataset), [other.clone(), second.clone()]);
    // What a path leads to must be what is unmounted.
    run("mount", &["-t", "tmpfs", "none", second.to_str().unwrap()]);
    let error = dataset.unmount(UnmountMode::Unused).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    assert_eq!(paths(&dataset).len(), 2, "nothing was unmounted");
    run("umount", &[second.to_str().unwrap()]);
    // In the reverse order.
    let open = File::open(other.join("file")).unwrap();
    let error = dataset.unmount(UnmountMode::Unused).unwrap_err();
    assert_eq!(
        (error.kind(), error.operation()),
        (ErrorKind::Busy, Operation::Unmount)
    );
    assert!(error.to_string().contains("other"), "{error}");
    assert_eq!(paths(&dataset), std::slice::from_ref(&other));
    assert_eq!(
        dataset.unmount(UnmountMode::Lazy).unwrap(),
        std::slice::from_ref(&other)
    );
    assert!(paths(&dataset).is_empty());
    assert_eq!(kind(dataset.destroy()), ErrorKind::Busy);
    drop(open);
    patiently(|| dataset.destroy()).unwrap();
    // Nowhere is no error.
    assert!(
        place
            .scratch
            .unmount(UnmountMode::Unused)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn folders_that_are_mounted_elsewhere_stay() {
    let place = Place::new("mount-bind");
    let dataset = place.child("data", &filesystem());
    let path = dataset.mount(&MountOptions::new()).unwrap();
    std::fs::create_dir(path.join("sub")).unwrap();
    let elsewhere = place.folder("elsewhere");
    rustix::mount::mount_bind(path.join("sub"), &elsewhere).unwrap();
    let mounts = dataset.mounts().unwrap();
    assert_eq!(mounts.len(), 2);
    assert_eq!(mounts[1].part.as_deref(), Some(Path::new("/sub")));
    assert_eq!(
        patiently(|| dataset.unmount(UnmountMode::Unused)).unwrap(),
        std::slice::from_ref(&path)
    );
    // It is busy for that, and mounted again as it was.
    dataset.mount(&MountOptions::new()).unwrap();
    assert_eq!(kind(dataset.destroy_unmounting()), ErrorKind::Busy);
    assert_eq!(paths(&dataset), [elsewhere.clone(), path]);
    crate::support::unmount(&elsewhere).unwrap();
    patiently(|| dataset.destroy_unmounting()).unwrap();
}

#[test]
fn snapshots_are_mounted_read_only() {
    let place = Place::new("mount-snapshot");
    let dataset = place.child("data", &filesystem());
    let path = dataset.mount(&MountOptions::new()).unwrap();
    std::fs::write(path.join("file"), "then").unwrap();
    let snapshot = dataset.snapshot("s").unwrap();
    snapshot.create(&UserProps::new()).unwrap();
    std::fs::write(path.join("file"), "now").unwrap();
    let at = place.folder("snapshot");
    snapshot.mount(&at).unwrap();
    assert_eq!(std::fs::read_to_string(at.join("file")).unwrap(), "then");
    assert!(std::fs::write(at.join("file"), "x").is_err());
    let [mount] = &snapshot.mounts().unwrap()[..] else {
        panic!("mounted once");
    };
    assert_eq!((&mount.path, mount.read_only), (&at, true));
    assert_eq!(mount.name(), snapshot.name().as_str());
    assert_eq!(
        dataset.mounts().unwrap().len(),
        1,
        "a snapshot is not its dataset"
    );
    assert_eq!(
        patiently(|| snapshot.unmount(UnmountMode::Unused)).unwrap(),
        [at]
    );
    // The kernel does it by itself when somebody looks.
    let hidden = path.join(".zfs/snapshot/s/file");
    assert_eq!(std::fs::read_to_string(hidden).unwrap(), "then");
    assert_eq!(snapshot.mounts().unwrap().len(), 1);
    assert_eq!(kind(snapshot.mount("relative")), ErrorKind::InvalidArgument);
    let missing = dataset.snapshot("missing").unwrap();
    assert_eq!(kind(missing.mount(place.folder("m"))), ErrorKind::NotFound);
    snapshot.destroy().unwrap();
    patiently(|| dataset.destroy_unmounting()).unwrap();
}

#[test]
fn what_cannot_be_mounted() {
    let place = Place::new("mount-not");
    let here = MountOptions::new;
    let mount = |dataset: &Dataset, options: MountOptions| kind(dataset.mount(&options));
    let missing = place.scratch.child("missing").unwrap();
    assert_eq!(mount(&missing, here()), ErrorKind::NotFound);
    let volume = place.child("volume", &CreateOptions::volume(1 << 20));
    assert_eq!(mount(&volume, here()), ErrorKind::WrongKind);
    let file = place.path("file");
    File::create(&file).unwrap();
    let dataset = place.child("data", &filesystem());
    for (path, expected) in [
        (place.path("no/such/folder"), ErrorKind::NotFound),
        (file, ErrorKind::InvalidArgument),
        ("relative".into(), ErrorKind::InvalidArgument),
    ] {
        assert_eq!(mount(&dataset, here().at(path)), expected);
    }
    for text in ["none", "legacy"] {
        dataset.set(Mountpoint::new(text).unwrap()).unwrap();
        assert_eq!(mount(&dataset, here()), ErrorKind::InvalidArgument);
    }
    dataset.inherit("mountpoint").unwrap();
    dataset.set(CanMount::Off).unwrap();
    assert_eq!(mount(&dataset, here()), ErrorKind::InvalidArgument);
    dataset.set(CanMount::NoAuto).unwrap();
    // With `overlay=off` a folder must be empty.
    dataset.set(Overlay(false)).unwrap();
    let full = place.folder("root/data");
    File::create(full.join("file")).unwrap();
    assert_eq!(mount(&dataset, here()), ErrorKind::Busy);
    dataset.set(Overlay(true)).unwrap();
    dataset.mount(&here()).unwrap();
    assert_eq!(mount(&dataset, here()), ErrorKind::Busy);
    patiently(|| dataset.unmount(UnmountMode::Unused)).unwrap();

    let key = WrappingKey::raw(&[3; 32]);
    let encryption = Encryption::aes_256_gcm(&key).unwrap();
    let secret = place.child("secret", &filesystem().encryption(encryption));
    secret.unload_key().unwrap();
    assert_eq!(mount(&secret, here()), ErrorKind::KeyNotLoaded);
    assert!(!place.path("root/secret").exists(), "no folder was made");
    secret.load_key(&key).unwrap();
    secret.mount(&here()).unwrap();
    assert_eq!(kind(secret.unload_key()), ErrorKind::Busy);

    as_user(TENANT, || {
        let at = here().at(place.path("root/data"));
        assert_eq!(mount(&dataset, at), ErrorKind::PermissionDenied);
        let unmount = secret.unmount(UnmountMode::Unused);
        assert_eq!(kind(unmount), ErrorKind::PermissionDenied);
        assert_eq!(secret.mounts().unwrap().len(), 1, "everyone may look");
    });
}

#[test]
fn a_thread_mounts_in_its_own_namespace() {
    let place = Place::new("mount-namespace");
    let dataset = place.child("data", &filesystem());
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                #[expect(
                    deprecated,
                    reason = "its replacement is unsafe for a flag not used here"
                )]
                rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNS).unwrap();
                use rustix::mount::MountPropagationFlags as Propagation;
                rustix::mount::mount_change("/", Propagation::PRIVATE | Propagation::REC).unwrap();
                let path = dataset.mount(&MountOptions::new()).unwrap();
                assert_eq!(paths(&dataset), [path]);
                std::thread::scope(|inner| {
                    // A thread that is made by this one is where this one is.
                    let seen = inner.spawn(|| paths(&dataset).len()).join().unwrap();
                    assert_eq!(seen, 1);
                });
                let table = std::fs::read_to_string("/proc/self/mounts").unwrap();
                assert!(!table.contains(dataset.name().as_str()), "{table}");
            })
            .join()
            .unwrap();
    });
    // The namespace went with its thread.
    assert!(paths(&dataset).is_empty());
    patiently(|| dataset.destroy()).unwrap();
}

#[test]
fn nothing_is_mounted_but_on_purpose() {
    let pool = TestPool::files("mount-none", 1);
    let root = pool.dir().join("root");
    let altroot = root.to_str().unwrap();
    let disk = pool.file(0);
    run(
        "zpool",
        &[
            "create",
            "-f",
            "-o",
            "cachefile=none",
            "-R",
            altroot,
            "-O",
            "canmount=off",
            pool.name(),
            disk.to_str().unwrap(),
        ],
    );
    let zfs = zfs();
    let check = |what: &str| {
        let mounts = zfs.mounts().unwrap();
        let ours: Vec<_> = mounts
            .iter()
            .filter(|mount| mount.dataset.pool() == pool.name())
            .collect();
        assert!(ours.is_empty(), "{what}: {ours:?}");
        assert!(
            !root.exists() || std::fs::read_dir(&root).unwrap().next().is_none(),
            "{what}"
        );
    };
    let top = pool.root();
    top.set(Mountpoint::new("/srv").unwrap()).unwrap();
    top.set(CanMount::On).unwrap();
    check("set");
    let a = top.child("a").unwrap();
    let key = WrappingKey::raw(&[9; 32]);
    a.create(&filesystem().encryption(Encryption::aes_256_gcm(&key).unwrap()))
        .unwrap();
    check("create");
    a.unload_key().unwrap();
    a.load_key(&key).unwrap();
    check("load key");
    let snapshot = a.snapshot("s").unwrap();
    snapshot.create(&UserProps::new()).unwrap();
    let clone = snapshot
        .clone_to(top.child("clone").unwrap().name(), &PropertySet::new())
        .unwrap();
    check("clone");
    clone.promote().unwrap();
    check("promote");
    let clone = clone.rename(top.child("renamed").unwrap().name()).unwrap();
    check("rename");
    let moved = clone
        .rename_remounting(top.child("moved").unwrap().name())
        .unwrap();
    check("rename of what was not mounted");
    moved.rollback().unwrap();
    check("rollback");
    let mut stream = Vec::new();
    let raw = SendOptions::full().raw();
    let snapshot = moved.snapshot("s").unwrap();
    snapshot
        .send(&raw)
        .unwrap()
        .read_to_end(&mut stream)
        .unwrap();
    let received = top.child("received").unwrap();
    received
        .receive(stream.as_slice(), &ReceiveOptions::new())
        .unwrap();
    check("receive");
    a.set(Mountpoint::new("/elsewhere").unwrap()).unwrap();
    a.inherit("mountpoint").unwrap();
    check("inherit");

    // On purpose it is mounted behind the altroot.
    let b = top.child("b").unwrap();
    b.create(&filesystem()).unwrap();
    assert_eq!(b.mount(&MountOptions::new()).unwrap(), root.join("srv/b"));
    patiently(|| b.unmount(UnmountMode::Unused)).unwrap();
    // A pool that is read-only has filesystems that are.
    run("zpool", &["export", pool.name()]);
    let dir = pool.dir().to_str().unwrap();
    run(
        "zpool",
        &[
            "import",
            "-N",
            "-d",
            dir,
            "-o",
            "readonly=on",
            "-o",
            "cachefile=none",
            "-R",
            altroot,
            pool.name(),
        ],
    );
    let path = b.mount(&MountOptions::new()).unwrap();
    assert!(b.mounts().unwrap()[0].read_only);
    assert!(std::fs::write(path.join("x"), "x").is_err());
    assert_eq!(kind(b.destroy_unmounting()), ErrorKind::ReadOnlyPool);
    assert_eq!(paths(&b), [path], "mounted again");
    patiently(|| b.unmount(UnmountMode::Unused)).unwrap();
}
