use super::{Data, Way, filesystems, sync};
use crate::support::{Mounted, Scratch, allowed, device_of_size, noise, run, zfs, zfs_get};
use helix_zfs::gate::Operation;
use helix_zfs::zfs_core::key::{Encryption, WrappingKey};
use helix_zfs::zfs_core::props::{Quota, UserProps};
use helix_zfs::zfs_core::{CreateOptions, Dataset, ErrorKind};
use helix_zfs::{Change, GuardRail, Obstacle, RollbackError, RollbackOptions, UnfinishedRollback};
use helix_zfs::{Tenant, TenantSpec};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};

const KEY: [u8; 32] = [0x21; 32];

fn tenant(scratch: &Scratch, name: &str) -> Tenant {
    let encryption = Encryption::aes_256_gcm(&WrappingKey::raw(&KEY)).unwrap();
    TenantSpec::new(name, encryption)
        .create(allowed(Operation::CreateTenant), scratch)
        .unwrap()
}

#[test]
fn the_discarded_state_is_kept_as_a_clone() {
    for way in [Way::Mounted, Way::Unmounted] {
        let scratch = Scratch::new("back-keep");
        let made = filesystems(&scratch, &["acme", "acme/db"]);
        let before = Data::write(&made, 1);
        let rail = GuardRail::take(
            allowed(Operation::TakeGuardRail),
            &zfs(),
            &made,
            "r",
            &Change::new(),
        )
        .unwrap();
        let after = Data::write(&made, 2);
        let mounts = way.mount(&made);
        let options = RollbackOptions::new().keep("lost");
        let plan = rail.rollback_plan().unwrap();
        let report = plan
            .carry_out(allowed(Operation::RollBack), &options, &mut |_| {})
            .unwrap();
        assert!(report.is_complete());
        assert_eq!(report.atomic, way == Way::Unmounted);
        drop(mounts);
        before.is_in(&made);
        let kept: Vec<Dataset> = report
            .kept
            .iter()
            .map(|name| zfs().dataset(name.as_str()).unwrap())
            .collect();
        assert_eq!(kept[0].name(), made[0].child("lost").unwrap().name());
        assert_eq!(kept[1].name(), made[1].child("lost").unwrap().name());
        after.is_in(&kept);
        for (kept, dataset) in kept.iter().zip(&made) {
            for (property, value) in [
                ("origin", format!("{}@r", dataset.name())),
                ("readonly", "on".to_owned()),
                ("canmount", "noauto".to_owned()),
                ("helix:kept", format!("{}@r", rail.txg())),
            ] {
                assert_eq!(zfs_get(property, kept.name()), value, "{property}");
            }
        }

        // The name is taken now, whatever it is that is kept there.
        Data::write(&made, 3);
        let plan = rail.rollback_plan().unwrap();
        let error = plan
            .carry_out(allowed(Operation::RollBack), &options, &mut |_| {})
            .unwrap_err();
        let RollbackError::Obstructed(obstacles) = error else {
            panic!("{error:?}")
        };
        let taken = |name: &Dataset| Obstacle::NameTaken {
            name: name.name().to_string(),
        };
        assert_eq!(obstacles, [taken(&kept[0]), taken(&kept[1])]);
        after.is_in(&kept);
        // As long as it is there, so is what it is a clone of.
        assert_eq!(
            rail.remove(allowed(Operation::RemoveGuardRail))
                .unwrap_err()
                .kind(),
            ErrorKind::HasClones
        );
        // Another one can be kept beside it.
        let options = RollbackOptions::new().keep("lost-2");
        let report = plan
            .carry_out(allowed(Operation::RollBack), &options, &mut |_| {})
            .unwrap();
        assert!(report.is_complete());
        before.is_in(&made);
    }
}

#[test]
fn encrypted_states_are_kept_without_their_key() {
    let scratch = Scratch::new("back-crypt");
    let tenants = [tenant(&scratch, "acme"), tenant(&scratch, "birch")];
    let child = tenants[0].dataset().child("db").unwrap();
    child.create(&CreateOptions::filesystem()).unwrap();
    let made = [
        tenants[0].dataset().clone(),
        child,
        tenants[1].dataset().clone(),
    ];
    let before = Data::write(&made, 1);
    let rail = GuardRail::take(
        allowed(Operation::TakeGuardRail),
        &zfs(),
        &made,
        "r",
        &Change::new(),
    )
    .unwrap();
    let after = Data::write(&made, 2);
    for tenant in &tenants {
        tenant.lock(allowed(Operation::UnloadKey)).unwrap();
    }
    let options = RollbackOptions::new().keep("lost");
    let report = rail
        .rollback_plan()
        .unwrap()
        .carry_out(allowed(Operation::RollBack), &options, &mut |_| {})
        .unwrap();
    assert!(report.is_complete() && report.atomic, "{report:?}");
    for tenant in &tenants {
        tenant
            .unlock(allowed(Operation::LoadKey), &WrappingKey::raw(&KEY))
            .unwrap();
    }
    before.is_in(&made);
    let kept: Vec<Dataset> = report
        .kept
        .iter()
        .map(|name| zfs().dataset(name.as_str()).unwrap())
        .collect();
    assert_eq!(
        zfs_get("encryptionroot", kept[1].name()),
        zfs_get("encryptionroot", made[1].name())
    );
    after.is_in(&kept);

    // With the key loaded and mounted, too.
    let later = Data::write(&made, 3);
    let mounts = Way::Mounted.mount(&made);
    let options = RollbackOptions::new().keep("lost-2");
    let plan = rail.rollback_plan().unwrap();
    let report = plan
        .carry_out(allowed(Operation::RollBack), &options, &mut |_| {})
        .unwrap();
    assert!(report.is_complete() && !report.atomic);
    drop(mounts);
    before.is_in(&made);
    later.is_in(&[made[2].child("lost-2").unwrap()]);
}

#[test]
fn a_volume_is_kept_beside_itself() {
    let scratch = Scratch::new("back-volume");
    let name = format!("{}/disk", scratch.name());
    // No other test's volume has this size, by which the device is found.
    let size = 281 * 16_384;
    let bytes = size.to_string();
    run("zfs", &["create", "-s", "-V", &bytes, "-b", "16k", &name]);
    let volume = zfs().dataset(&name).unwrap();
    let device = device_of_size(size);
    let write = |seed| {
        let data = noise(100_000, seed);
        let mut device = OpenOptions::new().write(true).open(&device).unwrap();
        device.write_all(&data).unwrap();
        device.sync_all().unwrap();
        data
    };
    let before = write(1);
    let rail = GuardRail::take(
        allowed(Operation::TakeGuardRail),
        &zfs(),
        std::slice::from_ref(&volume),
        "r",
        &Change::new(),
    )
    .unwrap();
    write(2);
    let options = RollbackOptions::new().keep("lost");
    let plan = rail.rollback_plan().unwrap();
    let report = plan
        .carry_out(allowed(Operation::RollBack), &options, &mut |_| {})
        .unwrap();
    assert!(report.is_complete());
    assert_eq!(report.kept[0].as_str(), format!("{name}-lost"));
    assert_eq!(zfs_get("origin", &report.kept[0]), format!("{name}@r"));
    let mut data = vec![0; before.len()];
    let mut opened = File::open(&device).unwrap();
    opened.read_exact(&mut data).unwrap();
    assert!(data == before);

    // While it is open no program can roll it back, and it goes on its own.
    drop(opened);
    write(3);
    let _opened = File::open(&device).unwrap();
    let plan = rail.rollback_plan().unwrap();
    assert!(plan.is_atomic());
    let report = plan
        .carry_out(
            allowed(Operation::RollBack),
            &RollbackOptions::new(),
            &mut |_| {},
        )
        .unwrap();
    assert!(report.is_complete() && !report.atomic, "{report:?}");
}

#[test]
fn what_cannot_be_kept_is_not_rolled_back() {
    let scratch = Scratch::new("back-full");
    let made = filesystems(&scratch, &["acme", "birch"]);
    let rail = GuardRail::take(
        allowed(Operation::TakeGuardRail),
        &zfs(),
        &made,
        "r",
        &Change::new(),
    )
    .unwrap();
    let mounted = Mounted::new(&made[1]);
    let data = noise(3 << 20, 1);
    mounted.write("data", &data);
    sync(&scratch);
    let used = made[1].properties().unwrap().used();
    made[1].set(Quota(used + (1 << 20))).unwrap();
    let options = RollbackOptions::new().keep("lost");
    let plan = rail.rollback_plan().unwrap();
    let error = plan
        .carry_out(allowed(Operation::RollBack), &options, &mut |_| {})
        .unwrap_err();
    let RollbackError::Zfs(error) = error else {
        panic!("{error:?}")
    };
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{error}");
    assert!(mounted.read("data") == data);
    // Nothing is left of the attempt.
    for dataset in &made {
        assert!(!dataset.child("lost").unwrap().exists().unwrap());
        assert!(!dataset.snapshot("lost").unwrap().exists().unwrap());
    }
    assert!(UnfinishedRollback::list(&scratch).unwrap().is_empty());

    // A name that somebody else uses is not touched.
    made[1].set(Quota::NONE).unwrap();
    let theirs = made[0].snapshot("lost").unwrap();
    theirs.create(&UserProps::new()).unwrap();
    let options = options.destroy_newer();
    let plan = rail.rollback_plan().unwrap();
    let error = plan
        .carry_out(allowed(Operation::RollBack), &options, &mut |_| {})
        .unwrap_err();
    assert!(
        matches!(&error, RollbackError::Obstructed(all) if matches!(&all[..], [Obstacle::NameTaken { .. }])),
        "{error:?}"
    );
    assert!(theirs.exists().unwrap());
}
