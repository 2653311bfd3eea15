//! Unprivileged users, and what can be delegated to them.

use crate::support::{Scratch, TENANT, as_user, run, zfs};
use helix_zfs::zfs_core::key::{Encryption, WrappingKey};
use helix_zfs::zfs_core::props::{PropertySet, Quota, UserProps};
use helix_zfs::zfs_core::{CreateOptions, Error, ErrorKind, Result, SnapshotFilter, Zfs};

fn denied<T>(what: &str, result: Result<T>) {
    match result {
        Ok(_) => panic!("{what}: allowed"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{what}: {error}"),
    }
}

#[test]
fn everything_that_changes_is_denied() {
    let scratch = Scratch::new("denied");
    let child = scratch.child("child").unwrap();
    child.create(&CreateOptions::filesystem()).unwrap();
    let snap = scratch.snapshot("s").unwrap();
    snap.create(&UserProps::new()).unwrap();
    let clone = snap
        .clone_to(scratch.child("clone").unwrap().name(), &PropertySet::new())
        .unwrap();
    snap.bookmark("m").unwrap();
    snap.hold("h").unwrap();
    let key = WrappingKey::raw(&[1; 32]);
    let secret = scratch.child("secret").unwrap();
    let encryption = Encryption::aes_256_gcm(&key).unwrap();
    secret
        .create(&CreateOptions::filesystem().encryption(encryption))
        .unwrap();
    as_user(TENANT, || {
        let zfs = Zfs::open().unwrap();
        let new = scratch.child("new").unwrap();
        denied("create", new.create(&CreateOptions::filesystem()));
        denied("destroy", child.destroy());
        denied("rename", child.rename(new.name()));
        denied("clone", snap.clone_to(new.name(), &PropertySet::new()));
        denied("promote", clone.promote());
        denied("rollback", scratch.rollback());
        denied("rollback to", scratch.rollback_to("s"));
        denied(
            "snapshot",
            zfs.create_snapshots(&[scratch.snapshot("t").unwrap()], &UserProps::new()),
        );
        denied("destroy snapshots", zfs.destroy_snapshots(&[&snap.name()]));
        denied("destroy snapshot", snap.destroy());
        denied("rename snapshot", snap.rename("t"));
        denied("rename snapshots", snap.rename_recursive("t"));
        denied("bookmark", snap.bookmark("n"));
        denied("destroy bookmark", scratch.bookmark("m").unwrap().destroy());
        denied("hold", snap.hold("t"));
        denied("release", snap.release("h"));
        denied("set", child.set(Quota(1 << 20)));
        denied("unload key", secret.unload_key());
        denied("verify key", secret.verify_key(&key));
        denied("change key", secret.change_key(&key));
    });
    assert!(child.exists().unwrap() && snap.exists().unwrap());
}

#[test]
fn everyone_may_look() {
    let scratch = Scratch::new("look");
    let snap = scratch.snapshot("s").unwrap();
    snap.create(&UserProps::new()).unwrap();
    snap.bookmark("m").unwrap();
    snap.hold("h").unwrap();
    as_user(TENANT, || {
        let dataset = Zfs::open().unwrap().dataset(scratch.name()).unwrap();
        assert!(dataset.exists().unwrap());
        assert!(dataset.properties().unwrap().used() > 0);
        assert!(dataset.children().unwrap().is_empty());
        assert_eq!(dataset.snapshots(&SnapshotFilter::new()).unwrap().len(), 1);
        assert_eq!(dataset.bookmarks().unwrap().len(), 1);
        assert_eq!(snap.holds().unwrap().len(), 1);
        assert!(snap.space_to(&snap).is_ok());
    });
}

#[test]
fn delegation() {
    let scratch = Scratch::new("allow");
    run(
        "zfs",
        &[
            "allow",
            "-u",
            &TENANT.to_string(),
            "create,mount,destroy,snapshot,rollback,clone,promote,rename,hold,release,bookmark,\
             quota,userprop,load-key,change-key",
            scratch.name(),
        ],
    );
    let steps = || -> Result<(), Error> {
        let child = scratch.child("mine")?;
        child.create(&CreateOptions::filesystem())?;
        child.set(Quota(32 << 20))?;
        let snap = child.snapshot("s")?;
        snap.create(&UserProps::new().set("helix:by", "tenant")?)?;
        snap.hold("h")?;
        assert_eq!(snap.destroy().unwrap_err().kind(), ErrorKind::Held);
        snap.release("h")?;
        snap.bookmark("m")?.destroy()?;
        child.rollback_to("s")?;
        let snap = snap.rename("t")?;
        let clone = snap.clone_to(scratch.child("clone")?.name(), &PropertySet::new())?;
        clone.promote()?;
        child.destroy()?;
        let clone = clone.rename(scratch.child("renamed")?.name())?;
        clone.snapshot("t")?.destroy()?;
        clone.destroy()?;
        // What was not delegated stays denied.
        denied(
            "reservation",
            scratch.set(helix_zfs::zfs_core::props::Reservation(1 << 20)),
        );
        Ok(())
    };
    as_user(TENANT, steps).unwrap();
    let other = TENANT + 1;
    as_user(other, || {
        let new = scratch.child("new").unwrap();
        denied("another user", new.create(&CreateOptions::filesystem()));
    });
    assert!(scratch.children().unwrap().is_empty());
    drop(zfs());
}

const CHILD: &str = "HELIX_ZFS_TEST_DEVICE";

/// The other process of the next test, in which `/dev/zfs` belongs to root alone.
fn behind_a_closed_device(snapshot: &str) {
    let early = zfs();
    as_user(TENANT, || {
        denied("open", Zfs::open());
        // What is open stays open, but a guard needs a descriptor of its own.
        let snapshot = early.snapshot(snapshot).unwrap();
        assert!(snapshot.exists().unwrap());
        denied("guard", early.hold_until_drop(&[snapshot], "h"));
    });
}

#[test]
fn a_device_that_may_not_be_opened() {
    if let Ok(snapshot) = std::env::var(CHILD) {
        return behind_a_closed_device(&snapshot);
    }
    let scratch = Scratch::new("device");
    let snap = scratch.snapshot("s").unwrap();
    snap.create(&UserProps::new()).unwrap();
    let dir = tempfile::TempDir::with_prefix("helix-zfs-").unwrap();
    // A private mount namespace: the device of the other tests stays as it is.
    let script = r#"
        node="$1/zfs"
        mknod "$node" c $(stat -c '0x%t 0x%T' /dev/zfs | while read -r a b; do echo $((a)) $((b)); done) &&
        chmod 600 "$node" && mount --bind "$node" /dev/zfs &&
        exec "$0" --exact privilege::a_device_that_may_not_be_opened --nocapture"#;
    let output = std::process::Command::new("unshare")
        .args(["-m", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .arg(dir.path())
        .env(CHILD, snap.name().as_str())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
