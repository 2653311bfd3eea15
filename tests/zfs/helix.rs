//! Tenants and guard rails.

use crate::support::{Mounted, Scratch, TENANT, as_user, noise, zfs, zfs_get};
use helix_zfs::zfs_core::key::{Encryption, WrappingKey};
use helix_zfs::zfs_core::props::{Compression, PropertySet, Sync, UserProps};
use helix_zfs::zfs_core::{CreateOptions, Dataset, ErrorKind};
use helix_zfs::{Change, GuardRail, NewerSnapshots};
use helix_zfs::{Tenant, TenantSpec};

const KEY: [u8; 32] = [0x21; 32];

fn spec(name: &str) -> TenantSpec {
    TenantSpec::new(
        name,
        Encryption::aes_256_gcm(&WrappingKey::raw(&KEY)).unwrap(),
    )
}

fn tenants(scratch: &Scratch, names: &[&str]) -> Vec<Tenant> {
    names
        .iter()
        .map(|name| spec(name).create(scratch).unwrap())
        .collect()
}

#[test]
fn a_tenant_is_as_specified() {
    let scratch = Scratch::new("tenant");
    let tenant = spec("acme")
        .quota(64 << 20)
        .sync(Sync::Always)
        .properties(&PropertySet::new().set(Compression::Lz4))
        .create(&scratch)
        .unwrap();
    let name = format!("{}/acme", scratch.name());
    assert_eq!(tenant.dataset().name().as_str(), name);
    for (property, value) in [
        ("quota", "67108864"),
        ("sync", "always"),
        ("compression", "lz4"),
        ("encryptionroot", name.as_str()),
        ("keyformat", "raw"),
        ("helix:tenant", "acme"),
    ] {
        assert_eq!(zfs_get(property, &name), value, "{property}");
    }
    let again = spec("acme").create(&scratch).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    let bad = spec("a/../b").create(&scratch).unwrap_err();
    assert_eq!(bad.kind(), ErrorKind::InvalidName);
    let orphan = zfs().dataset("hz-no-such-pool/a").unwrap();
    let orphan = spec("acme").create(&orphan).unwrap_err();
    assert_eq!(orphan.kind(), ErrorKind::NotFound);
}

#[test]
fn only_tenants_are_listed() {
    let scratch = Scratch::new("tenant-list");
    assert!(Tenant::list(&scratch).unwrap().is_empty());
    let made = tenants(&scratch, &["birch", "acme"]);
    let plain = CreateOptions::filesystem();
    scratch.child("infra").unwrap().create(&plain).unwrap();
    made[0]
        .dataset()
        .child("inner")
        .unwrap()
        .create(&plain)
        .unwrap();
    let names = |parent: &Dataset| -> Vec<String> {
        let tenants = Tenant::list(parent).unwrap();
        let name = |tenant: &Tenant| tenant.dataset().name().base().to_owned();
        tenants.iter().map(name).collect()
    };
    assert_eq!(names(&scratch), ["acme", "birch"]);
    assert!(
        names(made[0].dataset()).is_empty(),
        "inherited marks do not count"
    );
    let missing = scratch.child("missing").unwrap();
    assert_eq!(
        Tenant::list(&missing).unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn locking_and_unlocking_can_be_repeated() {
    let scratch = Scratch::new("tenant-lock");
    let tenant = &tenants(&scratch, &["acme"])[0];
    let (key, wrong) = (WrappingKey::raw(&KEY), WrappingKey::raw(&[0; 32]));
    assert!(tenant.is_unlocked().unwrap());
    tenant.unlock(&key).unwrap();
    assert_eq!(
        tenant.unlock(&wrong).unwrap_err().kind(),
        ErrorKind::WrongKey
    );
    let mounted = Mounted::new(tenant.dataset());
    assert_eq!(tenant.lock().unwrap_err().kind(), ErrorKind::Busy);
    drop(mounted);
    tenant.lock().unwrap();
    tenant.lock().unwrap();
    assert!(!tenant.is_unlocked().unwrap());
    assert_eq!(zfs_get("keystatus", tenant.dataset().name()), "unavailable");
    assert_eq!(
        tenant.unlock(&wrong).unwrap_err().kind(),
        ErrorKind::WrongKey
    );
    tenant.unlock(&key).unwrap();
    assert!(tenant.is_unlocked().unwrap());

    let plain = Tenant::from(scratch.clone());
    assert!(
        plain.is_unlocked().unwrap(),
        "what is not encrypted is open"
    );
    assert_eq!(plain.lock().unwrap_err().kind(), ErrorKind::WrongKind);
}

#[test]
fn a_guard_rail_is_found_again() {
    let scratch = Scratch::new("rail-find");
    let made = tenants(&scratch, &["acme", "birch", "cedar"]);
    // What is set on a dataset says nothing of its snapshots.
    let misleading = UserProps::new()
        .set("helix:guard_rail", "deploy-42")
        .and_then(|props| props.set("helix:reason", "not this"))
        .unwrap();
    scratch.set_user(&misleading).unwrap();
    let change = Change::new().git_sha("4be1f2c").helm_revision(17);
    let rail = GuardRail::take(&zfs(), &made, "deploy-42", &change).unwrap();
    scratch
        .snapshot("deploy-42")
        .unwrap()
        .create(&UserProps::new())
        .unwrap();
    for snapshot in rail.snapshots() {
        assert_eq!(
            zfs_get("createtxg", snapshot.name()),
            rail.txg().to_string()
        );
        assert_eq!(zfs_get("helix:git_sha", snapshot.name()), "4be1f2c");
        assert_eq!(zfs_get("helix:helm_revision", snapshot.name()), "17");
    }
    assert_eq!(
        zfs_get("helix:reason", rail.snapshots()[0].name()),
        "not this"
    );

    let names = |rail: &GuardRail| -> Vec<String> {
        rail.snapshots()
            .iter()
            .map(|snapshot| snapshot.name().to_string())
            .collect()
    };
    let found = GuardRail::find(&scratch, "deploy-42").unwrap().unwrap();
    assert_eq!(names(&found), names(&rail));
    assert_eq!(
        (found.name(), found.txg(), found.change()),
        ("deploy-42", rail.txg(), &change)
    );
    assert!(GuardRail::find(&scratch, "deploy-43").unwrap().is_none());

    // One of the same name, taken later, is another one.
    let late = tenants(&scratch, &["dogwood"]);
    let reason = Change::new().reason("again");
    let later = GuardRail::take(&zfs(), &late, "deploy-42", &reason).unwrap();
    assert_eq!(
        names(&GuardRail::find(&scratch, "deploy-42").unwrap().unwrap()),
        names(&later)
    );
    let all = GuardRail::list(&scratch).unwrap();
    assert_eq!(
        all.iter().map(names).collect::<Vec<_>>(),
        [names(&rail), names(&later)]
    );
    assert_eq!(all[1].change(), &reason);

    // A renamed snapshot is no part of it any more, and a revision that is no number is none.
    rail.snapshots()[0].rename("kept").unwrap();
    let odd = UserProps::new().set("helix:helm_revision", "x").unwrap();
    for snapshot in &rail.snapshots()[1..] {
        snapshot.set_user(&odd).unwrap();
    }
    let all = GuardRail::list(&scratch).unwrap();
    assert_eq!(names(&all[0]), names(&rail)[1..]);
    assert_eq!(all[0].change(), &Change::new().git_sha("4be1f2c"));
}

#[test]
fn a_guard_rail_is_taken_whole_or_not_at_all() {
    let scratch = Scratch::new("rail-take");
    let made = tenants(&scratch, &["acme", "birch"]);
    made[1]
        .dataset()
        .snapshot("r")
        .unwrap()
        .create(&UserProps::new())
        .unwrap();
    let take = |datasets: &[Tenant], name, change: &Change| {
        GuardRail::take(&zfs(), datasets, name, change)
            .unwrap_err()
            .kind()
    };
    assert_eq!(take(&made, "r", &Change::new()), ErrorKind::AlreadyExists);
    assert!(!made[0].dataset().snapshot("r").unwrap().exists().unwrap());
    assert_eq!(take(&[], "r", &Change::new()), ErrorKind::InvalidArgument);
    assert_eq!(take(&made, "r/s", &Change::new()), ErrorKind::InvalidName);
    let long = Change::new().reason("x".repeat(8192));
    assert_eq!(take(&made, "s", &long), ErrorKind::TooBig);
    assert!(GuardRail::list(&scratch).unwrap().is_empty());
}

#[test]
fn a_rollback_tells_of_each_dataset() {
    let scratch = Scratch::new("rail-back");
    let made = tenants(&scratch, &["acme", "birch", "cedar"]);
    let data = noise(200_000, 3);
    let mounts: Vec<Mounted> = made
        .iter()
        .map(|tenant| Mounted::new(tenant.dataset()))
        .collect();
    for mount in &mounts {
        mount.write("data", &data);
    }
    let rail = GuardRail::take(&zfs(), &made, "r", &Change::new()).unwrap();
    for mount in &mounts {
        mount.write("data", b"gone");
    }
    let newer = made[1].dataset().snapshot("newer").unwrap();
    newer.create(&UserProps::new()).unwrap();

    let kinds = |newer| -> Vec<Result<usize, ErrorKind>> {
        let rollbacks = rail.roll_back(newer);
        for (rollback, tenant) in rollbacks.iter().zip(&made) {
            assert_eq!(&rollback.dataset, tenant.dataset().name());
        }
        let ends = rollbacks.into_iter().map(|rollback| rollback.result);
        ends.map(|end| end.map(|gone| gone.len()).map_err(|error| error.kind()))
            .collect()
    };
    assert_eq!(
        kinds(NewerSnapshots::Keep),
        [Ok(0), Err(ErrorKind::NewerSnapshotsExist), Ok(0)]
    );
    assert!(mounts[0].read("data") == data && mounts[2].read("data") == data);
    assert_eq!(mounts[1].read("data"), b"gone");

    newer.hold("backup").unwrap();
    assert_eq!(
        kinds(NewerSnapshots::Destroy),
        [Ok(0), Err(ErrorKind::Held), Ok(0)]
    );
    assert_eq!(mounts[1].read("data"), b"gone");
    newer.release("backup").unwrap();
    assert_eq!(kinds(NewerSnapshots::Destroy), [Ok(0), Ok(1), Ok(0)]);
    assert!(mounts[1].read("data") == data);
    assert!(!newer.exists().unwrap());

    rail.snapshots()[0].destroy().unwrap();
    assert_eq!(
        kinds(NewerSnapshots::Destroy),
        [Err(ErrorKind::NotFound), Ok(0), Ok(0)]
    );
}

#[test]
fn a_held_guard_rail_goes_only_by_removal() {
    let scratch = Scratch::new("rail-hold");
    let made = tenants(&scratch, &["acme", "birch"]);
    let rail = GuardRail::take(&zfs(), &made, "r", &Change::new()).unwrap();
    rail.hold().unwrap();
    assert_eq!(rail.hold().unwrap_err().kind(), ErrorKind::AlreadyExists);
    let refused = zfs().destroy_snapshots(rail.snapshots()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Held);

    // Somebody else's hold keeps all of them.
    rail.snapshots()[1].hold("backup").unwrap();
    assert_eq!(rail.remove().unwrap_err().kind(), ErrorKind::Held);
    assert!(
        rail.snapshots()
            .iter()
            .all(|snapshot| snapshot.exists().unwrap())
    );
    rail.snapshots()[1].release("backup").unwrap();
    // One of them has its hold again, one is gone.
    rail.snapshots()[0].hold("helix-guard-rail").unwrap();
    rail.snapshots()[1].destroy().unwrap();
    rail.remove().unwrap();
    assert!(GuardRail::list(&scratch).unwrap().is_empty());
    rail.remove().unwrap();

    let rail = GuardRail::take(&zfs(), &made, "r", &Change::new()).unwrap();
    rail.remove().unwrap();
    assert!(!rail.snapshots()[0].exists().unwrap(), "without a hold");

    let rail = GuardRail::take(&zfs(), &made, "r", &Change::new()).unwrap();
    as_user(TENANT, || {
        assert_eq!(rail.hold().unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert_eq!(
            rail.remove().unwrap_err().kind(),
            ErrorKind::PermissionDenied
        );
    });
}
