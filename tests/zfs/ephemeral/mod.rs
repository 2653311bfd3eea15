//! Clones that live for a while, and the reaper.

mod private;
mod reaper;

use crate::support::{Mounted, Scratch, TENANT, allowed, as_user, noise, run, zfs, zfs_get};
use helix_zfs::MountPolicy;
use helix_zfs::ephemeral::{
    Ephemeral, EphemeralClone, EphemeralError, EphemeralMount, EphemeralSpec, Expiry, InUse,
};
use helix_zfs::gate::Operation;
use helix_zfs::zfs_core::key::{Encryption, WrappingKey};
use helix_zfs::zfs_core::props::{PropertySet, RefQuota, UserProps};
use helix_zfs::zfs_core::{CreateOptions, Dataset, ErrorKind, Snapshot, SyncMode};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

const HOUR: Duration = Duration::from_secs(3600);

/// A filesystem with data and a snapshot, an area for clones, and a folder for mounts.
struct Place {
    scratch: Scratch,
    dir: TempDir,
}

impl Place {
    fn new(topic: &str) -> Self {
        let scratch = Scratch::new(topic);
        let data = scratch.child("data").unwrap();
        data.create(&CreateOptions::filesystem()).unwrap();
        Mounted::new(&data).write("file", "before");
        data.snapshot("s")
            .unwrap()
            .create(&UserProps::new())
            .unwrap();
        let area = scratch.child("area").unwrap();
        area.create(&CreateOptions::filesystem()).unwrap();
        Self {
            scratch,
            dir: TempDir::with_prefix("helix-zfs-").unwrap(),
        }
    }

    fn snapshot(&self) -> Snapshot {
        self.scratch.child("data").unwrap().snapshot("s").unwrap()
    }

    fn area(&self) -> Dataset {
        self.scratch.child("area").unwrap()
    }

    fn folder(&self, name: &str) -> PathBuf {
        let path = self.dir.path().canonicalize().unwrap().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    fn spec(&self) -> EphemeralSpec {
        EphemeralSpec::new(self.area(), "anna", "load test of #1180", HOUR)
    }

    fn make(&self, spec: &EphemeralSpec) -> Ephemeral {
        Ephemeral::create(allowed(Operation::CloneEphemeral), &self.snapshot(), spec).unwrap()
    }

    /// What is in the area, as the command has it.
    fn names(&self) -> Vec<String> {
        let area = self.area();
        let list = run(
            "zfs",
            &["list", "-Hrd1", "-o", "name", area.name().as_str()],
        );
        let below = list.lines().skip(1);
        below
            .map(|name| name.rsplit('/').next().unwrap().to_owned())
            .collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What a test left mounted when it failed must not be removed with the folder.
        let folder = self.dir.path().canonicalize().unwrap();
        for mount in zfs().mounts().unwrap().iter().rev() {
            if mount.path.starts_with(&folder) {
                let _ = rustix::mount::unmount(&mount.path, rustix::mount::UnmountFlags::DETACH);
            }
        }
    }
}

fn refused<T: std::fmt::Debug>(result: Result<T, EphemeralError>) -> EphemeralError {
    result.unwrap_err()
}

#[test]
fn a_clone_is_what_was_asked_for_and_goes_with_its_value() {
    let place = Place::new("eph");
    let before = SystemTime::now();
    let made = place.make(&place.spec().name("one"));
    let name = made.dataset().name().to_string();
    assert_eq!(name, format!("{}/one", place.area().name()));
    for (property, value) in [
        ("origin", place.snapshot().name().as_str()),
        ("readonly", "on"),
        ("canmount", "noauto"),
        ("mountpoint", "none"),
        ("mounted", "no"),
        ("helix:owner", "anna"),
        ("helix:purpose", "load test of #1180"),
        ("helix:mounted_at", "-"),
    ] {
        assert_eq!(zfs_get(property, &name), value, "{property}");
    }
    let guid = place.snapshot().stat().unwrap().guid;
    assert_eq!(zfs_get("helix:ephemeral", &name), guid.to_string());
    let expires = humantime::parse_rfc3339(&zfs_get("helix:expires", &name)).unwrap();
    assert!(expires + Duration::from_secs(1) > before + HOUR);
    assert!(expires <= SystemTime::now() + HOUR);

    let found = EphemeralClone::list(&place.area()).unwrap();
    assert_eq!(found, [made.as_clone().clone()]);
    assert_eq!(found[0], EphemeralClone::of(made.dataset()).unwrap());
    assert_eq!((found[0].expires, found[0].origin_guid), (expires, guid));
    assert!(found[0].read_only && !found[0].is_expired(SystemTime::now()));
    let json = serde_json::to_value(&found[0]).unwrap();
    assert_eq!(json["dataset"], name);
    assert_eq!(json["expires"], zfs_get("helix:expires", &name));

    // Without a name it gets one of its own.
    let other = place.make(&place.spec());
    assert!(other.dataset().name().base().starts_with("data-"));
    assert_eq!(place.names().len(), 2);
    other.remove().unwrap();
    drop(made);
    assert_eq!(place.names(), [""; 0]);

    // What is left to the reaper stays.
    let kept = place.make(&place.spec().name("kept")).keep();
    assert_eq!(place.names(), ["kept"]);
    kept.remove(allowed(Operation::ChangeEphemeral), &zfs())
        .unwrap();
    kept.remove(allowed(Operation::ChangeEphemeral), &zfs())
        .unwrap();
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn a_mounted_clone_is_written_to_and_leaves_the_original_alone() {
    let place = Place::new("eph-mount");
    let folder = place.folder("at");
    let spec = place.spec().mount(EphemeralMount::At(folder.clone()));
    let reader = place.make(&spec.clone().name("reader"));
    assert_eq!(reader.folder(), Some(&*folder));
    assert_eq!(std::fs::read(folder.join("file")).unwrap(), b"before");
    let error = std::fs::write(folder.join("file"), "after").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    assert_eq!(
        zfs_get("helix:mounted_at", reader.dataset().name()),
        folder.to_str().unwrap()
    );
    // While a file of it is open it stays.
    let open = std::fs::File::open(folder.join("file")).unwrap();
    let error = refused(
        reader
            .as_clone()
            .remove(allowed(Operation::ChangeEphemeral), &zfs()),
    );
    assert!(
        matches!(
            error,
            EphemeralError::InUse {
                by: InUse::Busy,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(reader.dataset().mounts().unwrap().len(), 1);
    drop(open);
    patiently(|| {
        reader
            .as_clone()
            .remove(allowed(Operation::ChangeEphemeral), &zfs())
    })
    .unwrap();
    assert_eq!(place.names(), [""; 0]);
    drop(reader);

    let quota = PropertySet::new()
        .set(RefQuota(4 << 20))
        .user("helix:owner", "somebody else")
        .unwrap();
    let writer = place.make(&spec.name("writer").writable().properties(&quota));
    assert_eq!(writer.as_clone().owner, "anna");
    let inside = writer
        .run(|folder| {
            let folder = folder.unwrap();
            std::fs::write(folder.join("file"), "after").unwrap();
            std::fs::read(folder.join("file")).unwrap()
        })
        .unwrap();
    assert_eq!(inside, b"after");
    let full = (0..16).find_map(|n| {
        let written = std::fs::write(folder.join(n.to_string()), noise(512 << 10, n));
        zfs()
            .pool(place.area().name().pool())
            .unwrap()
            .sync(SyncMode::Force)
            .unwrap();
        written.err()
    });
    assert_eq!(full.unwrap().kind(), std::io::ErrorKind::QuotaExceeded);
    assert_eq!(
        Mounted::new(&place.scratch.child("data").unwrap()).read("file"),
        b"before"
    );
    patiently(|| {
        writer
            .as_clone()
            .remove(allowed(Operation::ChangeEphemeral), &zfs())
    })
    .unwrap();
    assert_eq!(place.names(), [""; 0]);
    assert!(std::fs::read_dir(&folder).unwrap().next().is_none());
}

/// Descriptors of this process are copied into processes that other tests just start, for moments.
fn patiently<T>(
    mut action: impl FnMut() -> Result<T, EphemeralError>,
) -> Result<T, EphemeralError> {
    for _ in 0..500 {
        match action() {
            Err(EphemeralError::InUse {
                by: InUse::Busy, ..
            }) => {
                std::thread::sleep(Duration::from_millis(10));
            }
            result => return result,
        }
    }
    action()
}

#[test]
fn the_mount_policy_binds_clones() {
    let place = Place::new("eph-policy");
    let production = place.scratch.child("data").unwrap();
    let policy = MountPolicy::new()
        .forbid_below(production.name().clone())
        .forbid_clones();
    let bound = policy.apply(zfs());
    let snapshot = bound.snapshot(place.snapshot().name().as_str()).unwrap();
    for mount in [
        EphemeralMount::At(place.folder("at")),
        EphemeralMount::Private(place.folder("at")),
    ] {
        let error = refused(Ephemeral::create(
            allowed(Operation::CloneEphemeral),
            &snapshot,
            &place.spec().mount(mount),
        ));
        assert_eq!(error.kind(), Some(ErrorKind::Forbidden), "{error}");
        // What could not be mounted is not left behind.
        assert_eq!(place.names(), [""; 0]);
    }
    Ephemeral::create(allowed(Operation::CloneEphemeral), &snapshot, &place.spec())
        .unwrap()
        .remove()
        .unwrap();
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_made() {
    let place = Place::new("eph-refused");
    let file = place.folder("").join("a file");
    std::fs::write(&file, "").unwrap();
    let create = |spec: &EphemeralSpec| {
        Ephemeral::create(allowed(Operation::CloneEphemeral), &place.snapshot(), spec)
    };
    for name in ["a/b", "../data", "..", "", "a@b", "a#b"] {
        let error = refused(create(&place.spec().name(name)));
        let is_name = matches!(error, EphemeralError::Name { .. })
            || error.kind() == Some(ErrorKind::InvalidName);
        assert!(is_name, "{name}: {error}");
    }
    for path in [Path::new("relative"), Path::new("/nowhere/at/all"), &file] {
        let error = refused(create(&place.spec().mount(EphemeralMount::At(path.into()))));
        assert!(matches!(error, EphemeralError::Folder { .. }), "{error}");
    }
    for expiry in [
        Expiry::At(SystemTime::now() - HOUR),
        Expiry::In(Duration::MAX),
        Expiry::In(Duration::from_secs(1 << 40)),
    ] {
        let error = refused(create(&EphemeralSpec::new(place.area(), "a", "b", expiry)));
        assert!(matches!(error, EphemeralError::Expiry { .. }), "{error}");
    }
    let long = "x".repeat(10_000);
    let error = refused(create(&EphemeralSpec::new(place.area(), long, "b", HOUR)));
    assert_eq!(error.kind(), Some(ErrorKind::TooBig));

    let missing = place
        .scratch
        .child("data")
        .unwrap()
        .snapshot("missing")
        .unwrap();
    let error = refused(Ephemeral::create(
        allowed(Operation::CloneEphemeral),
        &missing,
        &place.spec(),
    ));
    assert_eq!(error.kind(), Some(ErrorKind::NotFound));
    let nowhere = place.scratch.child("nowhere").unwrap();
    let error = refused(create(&EphemeralSpec::new(nowhere, "a", "b", HOUR)));
    assert_eq!(error.kind(), Some(ErrorKind::NotFound));
    let made = place.make(&place.spec().name("one"));
    let error = refused(create(&place.spec().name("one")));
    assert_eq!(error.kind(), Some(ErrorKind::AlreadyExists));
    assert_eq!(place.names(), ["one"]);
    as_user(TENANT, || {
        let error = refused(create(&place.spec().name("two")));
        assert_eq!(error.kind(), Some(ErrorKind::PermissionDenied));
        let error = refused(
            made.as_clone()
                .remove(allowed(Operation::ChangeEphemeral), &zfs()),
        );
        assert_eq!(error.kind(), Some(ErrorKind::PermissionDenied));
    });
    assert_eq!(place.names(), ["one"]);
    made.remove().unwrap();
    let error = refused(EphemeralClone::of(&place.scratch.child("data").unwrap()));
    assert!(error.to_string().contains("no mark"), "{error}");
}

#[test]
fn volumes_and_encrypted_filesystems_have_clones_too() {
    let place = Place::new("eph-kinds");
    let volume = place.scratch.child("volume").unwrap();
    // A size for which space is neither there nor taken.
    run(
        "zfs",
        &["create", "-s", "-V", "64G", volume.name().as_str()],
    );
    let snapshot = volume.snapshot("s").unwrap();
    snapshot.create(&UserProps::new()).unwrap();
    let folder = place.folder("at");
    let mounted = place.spec().mount(EphemeralMount::At(folder.clone()));
    let error = refused(Ephemeral::create(
        allowed(Operation::CloneEphemeral),
        &snapshot,
        &mounted,
    ));
    assert!(matches!(error, EphemeralError::Volume { .. }), "{error}");
    let made = Ephemeral::create(
        allowed(Operation::CloneEphemeral),
        &snapshot,
        &place.spec().name("volume"),
    )
    .unwrap();
    assert_eq!(
        zfs_get("volsize", made.dataset().name()),
        (64_u64 << 30).to_string()
    );
    assert_eq!(zfs_get("readonly", made.dataset().name()), "on");
    made.remove().unwrap();

    let encryption = Encryption::aes_256_gcm(&WrappingKey::raw(&[7; 32])).unwrap();
    let secret = place.scratch.child("secret").unwrap();
    let options = CreateOptions::filesystem().encryption(encryption);
    secret.create(&options).unwrap();
    let snapshot = secret.snapshot("s").unwrap();
    snapshot.create(&UserProps::new()).unwrap();
    let made = Ephemeral::create(
        allowed(Operation::CloneEphemeral),
        &snapshot,
        &mounted.clone().name("secret"),
    )
    .unwrap();
    assert_eq!(
        zfs_get("encryptionroot", made.dataset().name()),
        secret.name().as_str()
    );
    made.remove().unwrap();
    secret.unload_key().unwrap();
    let error = refused(Ephemeral::create(
        allowed(Operation::CloneEphemeral),
        &snapshot,
        &mounted,
    ));
    assert_eq!(error.kind(), Some(ErrorKind::KeyNotLoaded), "{error}");
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn a_clone_takes_the_same_space_whatever_the_data() {
    let place = Place::new("eph-space");
    let large = place.scratch.child("large").unwrap();
    large.create(&CreateOptions::filesystem()).unwrap();
    let mounted = Mounted::new(&large);
    let file = std::fs::File::create(mounted.path("sparse")).unwrap();
    file.set_len(64 << 30).unwrap();
    // Data all over it, and many files.
    for part in 0..64_u64 {
        use std::os::unix::fs::FileExt;
        file.write_all_at(&noise(64 << 10, part), part << 30)
            .unwrap();
        mounted.write(&format!("file {part}"), noise(4 << 10, part));
    }
    drop(file);
    drop(mounted);
    let snapshot = large.snapshot("s").unwrap();
    snapshot.create(&UserProps::new()).unwrap();
    let synced = || {
        zfs()
            .pool(large.name().pool())
            .unwrap()
            .sync(SyncMode::Force)
            .unwrap()
    };
    synced();
    assert!(
        large.properties().unwrap().used() > 4 << 20,
        "there is data"
    );
    let used = || place.area().properties().unwrap().used();
    let empty = used();

    let small = place.make(&place.spec().name("small"));
    synced();
    let of_small = used() - empty;
    let of_large = {
        let folder = place.folder("at");
        let spec = place.spec().mount(EphemeralMount::At(folder.clone()));
        let clone = Ephemeral::create(
            allowed(Operation::CloneEphemeral),
            &snapshot,
            &spec.name("large"),
        )
        .unwrap();
        assert_eq!(
            std::fs::metadata(folder.join("sparse")).unwrap().len(),
            64 << 30
        );
        synced();
        assert!(clone.dataset().properties().unwrap().referenced() > 4 << 20);
        let used = used() - empty - of_small;
        patiently(|| {
            clone
                .as_clone()
                .remove(allowed(Operation::ChangeEphemeral), &zfs())
        })
        .unwrap();
        used
    };
    // Its own metadata: some blocks, the same for 64 GiB as for a few bytes.
    assert!(of_large < 256 << 10, "{of_large} bytes");
    assert!(
        of_large.abs_diff(of_small) < 64 << 10,
        "{of_large} and {of_small} bytes"
    );
    small.remove().unwrap();
}

#[test]
fn a_clone_is_given_more_time() {
    let place = Place::new("eph-extend");
    let mut made = place.make(&place.spec().name("one"));
    let first = made.as_clone().clone();
    let expires = made
        .extend(allowed(Operation::CloneEphemeral), 2 * HOUR)
        .unwrap();
    assert!(expires > first.expires);
    assert_eq!(EphemeralClone::of(made.dataset()).unwrap().expires, expires);
    // Whoever looked at it before does not remove it.
    let error = refused(first.remove(allowed(Operation::ChangeEphemeral), &zfs()));
    assert!(matches!(error, EphemeralError::Changed { .. }), "{error}");
    assert!(matches!(
        refused(made.extend(allowed(Operation::CloneEphemeral), SystemTime::UNIX_EPOCH)),
        EphemeralError::Expiry { .. }
    ));
    // Its own value does.
    let mut elsewhere = EphemeralClone::of(made.dataset()).unwrap();
    elsewhere
        .extend(allowed(Operation::ChangeEphemeral), &zfs(), 3 * HOUR)
        .unwrap();
    made.remove().unwrap();
    assert_eq!(place.names(), [""; 0]);
    let error = refused(elsewhere.extend(allowed(Operation::ChangeEphemeral), &zfs(), HOUR));
    assert_eq!(error.kind(), Some(ErrorKind::NotFound));
}
