//! Destroying and renaming what is mounted.

use super::{Place, filesystem, kind, paths, patiently, shown_options};
use crate::support::zfs;
use helix_zfs::zfs_core::mount::{Mount, MountOptions};
use helix_zfs::zfs_core::props::{Devices, Exec, Mountpoint, UserProps};
use helix_zfs::zfs_core::{CreateOptions, Dataset, ErrorKind, Operation};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A process that has a filesystem mounted in a mount namespace of its own, until it is dropped.
struct Elsewhere(Child);

impl Elsewhere {
    fn new(dataset: &Dataset, path: &Path) -> Self {
        let script = r#"mount -t zfs "$0" "$1" && echo mounted && read line"#;
        let mut child = Command::new("unshare")
            .args(["-m", "--propagation", "private", "sh", "-c", script])
            .args([dataset.name().as_str(), path.to_str().unwrap()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "mounted\n");
        Self(child)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
fn destroying_what_is_mounted() {
    let place = Place::new("mount-destroy");
    let dataset = place.child("data", &filesystem().set(Exec(false)));
    let first = dataset.mount(&MountOptions::new()).unwrap();
    let second = place.folder("second");
    dataset.mount(&MountOptions::new().at(&second)).unwrap();
    let both = [first.clone(), second.clone()];
    let options = shown_options(&second);
    // What is seen beforehand is refused before anything is unmounted.
    let child = dataset.child("child").unwrap();
    child.create(&filesystem()).unwrap();
    assert_eq!(kind(dataset.destroy_unmounting()), ErrorKind::HasChildren);
    child.destroy().unwrap();
    let snapshot = dataset.snapshot("s").unwrap();
    snapshot.create(&UserProps::new()).unwrap();
    assert_eq!(kind(dataset.destroy_unmounting()), ErrorKind::HasSnapshots);
    snapshot.destroy().unwrap();
    assert_eq!(paths(&dataset), both);
    // Somebody uses one of the two.
    let open = File::create(first.join("file")).unwrap();
    assert_eq!(kind(dataset.destroy_unmounting()), ErrorKind::Busy);
    assert_eq!(paths(&dataset), both);
    drop(open);
    // It is mounted where we do not see it.
    let elsewhere = Elsewhere::new(&dataset, &place.folder("elsewhere"));
    let error = dataset.destroy_unmounting().unwrap_err();
    assert_eq!(
        (error.kind(), error.detail()),
        (ErrorKind::Busy, None),
        "{error}"
    );
    assert_eq!(paths(&dataset), both);
    assert_eq!(shown_options(&second), options);
    std::fs::write(second.join("file"), "still there").unwrap();
    drop(elsewhere);
    patiently(|| dataset.destroy_unmounting()).unwrap();
    assert!(!dataset.exists().unwrap());
    assert!(paths(&dataset).is_empty());
    // What is not mounted is destroyed all the same.
    let volume = place.child("volume", &CreateOptions::volume(1 << 20));
    patiently(|| volume.destroy_unmounting()).unwrap();
    assert_eq!(kind(volume.destroy_unmounting()), ErrorKind::NotFound);
}

#[test]
fn renaming_moves_what_inherits_its_mountpoint() {
    let place = Place::new("mount-rename");
    let a = place.child("a", &filesystem().set(Devices(false)));
    let inner = place.child("a/inner", &filesystem());
    let own = place.path("own");
    let own = Mountpoint::new(own.to_str().unwrap()).unwrap();
    let fixed = place.child("a/fixed", &filesystem().set(own));
    let below = place.child("a/fixed/below", &filesystem());
    let idle = place.child("a/idle", &filesystem());
    let extra = place.folder("extra");
    for dataset in [&a, &inner, &fixed, &below] {
        dataset.mount(&MountOptions::new()).unwrap();
    }
    inner.mount(&MountOptions::new().at(&extra)).unwrap();
    std::fs::write(place.path("root/a/inner/file"), "text").unwrap();
    let options = shown_options(&place.path("root/a"));

    // Nothing changes when it cannot be.
    let taken = place.child("taken", &filesystem());
    let before = zfs().mounts().unwrap();
    let ours = |mounts: Vec<Mount>| {
        let mut mounts: Vec<(String, PathBuf)> = mounts
            .into_iter()
            .filter(|mount| mount.path.starts_with(place.dir.path()))
            .map(|mount| (mount.name(), mount.path))
            .collect();
        mounts.sort();
        mounts
    };
    let before = ours(before);
    let to_taken = || a.rename_remounting(taken.name());
    assert_eq!(kind(patiently(to_taken)), ErrorKind::AlreadyExists);
    assert_eq!(ours(zfs().mounts().unwrap()), before);
    let open = File::open(place.path("root/a/inner/file")).unwrap();
    let b = place.scratch.child("b").unwrap();
    let error = a.rename_remounting(b.name()).unwrap_err();
    assert_eq!(
        (error.kind(), error.operation()),
        (ErrorKind::Busy, Operation::Unmount)
    );
    assert_eq!(ours(zfs().mounts().unwrap()), before);
    drop(open);

    let b = patiently(|| a.rename_remounting(b.name())).unwrap();
    let at = |name: &str| place.path("root/b").join(name);
    assert_eq!(paths(&b), [at("").components().collect::<PathBuf>()]);
    let inner = b.child("inner").unwrap();
    assert_eq!(paths(&inner), [extra, at("inner")]);
    assert_eq!(std::fs::read_to_string(at("inner/file")).unwrap(), "text");
    assert_eq!(paths(&b.child("fixed").unwrap()), [place.path("own")]);
    assert_eq!(
        paths(&b.child("fixed/below").unwrap()),
        [place.path("own/below")]
    );
    assert!(paths(&b.child("idle").unwrap()).is_empty());
    assert!(!idle.exists().unwrap());
    assert_eq!(shown_options(&place.path("root/b")), options);
    // Below what is not mounted anywhere, it is not either.
    let nowhere = place.child(
        "nowhere",
        &filesystem().set(Mountpoint::new("none").unwrap()),
    );
    let c = nowhere.child("c").unwrap();
    let c = patiently(|| b.rename_remounting(c.name())).unwrap();
    assert!(paths(&c).is_empty());
    assert_eq!(paths(&c.child("fixed").unwrap()), [place.path("own")]);
}
