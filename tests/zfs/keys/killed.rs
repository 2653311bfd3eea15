//! A rotation that dies at each of its steps.

use super::vault::Server;
use super::{One, is_right, name, opens, quiet, tenant};
use crate::support::killed::{self, Ended};
use crate::support::{Scratch, may, zfs, zfs_get};
use helix_zfs::Tenant;
use helix_zfs::gate::Operation;
use helix_zfs::key::{FileKeys, KeyRecord, KeyStore, KeyVersion, RotationOptions, rotate};
use serde_json::json;

/// What the process that dies does: its argument is the tenant, and where its keys are.
fn in_the_process(keys: impl FnOnce(&str) -> Box<dyn KeyStore>) -> bool {
    let Some(mut countdown) = killed::in_the_process() else {
        return false;
    };
    let argument = killed::argument();
    let (name, place) = argument.split_once(' ').unwrap();
    let tenant = Tenant::from(zfs().dataset(name).unwrap());
    let capability = may(Operation::RotateKey, &tenant);
    let options = RotationOptions::new();
    rotate(capability, &tenant, &*keys(place), &options, &mut |_| {
        countdown.tick()
    })
    .unwrap();
    true
}

/// Has `test` die at each step of a rotation of this tenant, and finishes that.
fn dies_at_each_step(test: &str, place: &str, tenant: &Tenant, keys: &dyn KeyStore) {
    let name = tenant.dataset().name();
    let argument = format!("{name} {place}");
    let capability = may(Operation::RotateKey, tenant);
    let options = RotationOptions::new();
    let mut before = KeyVersion(1);
    for step in 0.. {
        let ended = killed::run(test, step, &argument);
        // Whenever it died, the store has the key.
        let after = is_right(tenant, keys);
        assert!(
            after == before || after.0 == before.0 + 1,
            "{step}: {after}"
        );
        if ended == Ended::Finished {
            assert_eq!(step, 8);
            break;
        }
        let record = KeyRecord::of(tenant).unwrap();
        let rotated = rotate(capability, tenant, keys, &options, &mut quiet).unwrap();
        assert_eq!(rotated.was_pending, record.pending().is_some(), "{step}");
        before = is_right(tenant, keys);
        assert_eq!(before, rotated.to);
        assert_eq!(zfs_get("helix:key_version", name), rotated.to.to_string());
        assert_eq!(KeyRecord::of(tenant).unwrap().pending(), None);
        // Nothing was stored in vain.
        let versions = keys.versions(&record.id).unwrap();
        assert_eq!(versions.len() as u64, rotated.to.0, "{step}");
    }
    opens(tenant, keys);
}

#[test]
fn a_rotation_that_dies_is_finished_by_the_next() {
    if in_the_process(|folder| Box::new(FileKeys::new(folder))) {
        return;
    }
    let one = One::new("rotate-killed");
    let neighbour = One::new("rotate-neighbour");
    let test = "keys::killed::a_rotation_that_dies_is_finished_by_the_next";
    let folder = one.folder.path().to_str().unwrap();
    dies_at_each_step(test, folder, &one.tenant, &one.keys);
    assert_eq!(neighbour.version().0, 1);
    assert_eq!(
        zfs_get("helix:key_version", neighbour.tenant.dataset().name()),
        "-"
    );
}

#[test]
fn a_rotation_with_keys_of_a_server_that_dies_is_finished_by_the_next() {
    let of = |server: &Server| server.keys(&server.vault());
    if in_the_process(|mount| Box::new(of(&Server::with_mount(mount)))) {
        return;
    }
    let server = Server::new();
    let many = json!({ "max_versions": 100 });
    server.ask("POST", &format!("{}/config", server.mount), &many);
    let keys = of(&server);
    let scratch = Scratch::new("bao-killed");
    let tenant = tenant(&scratch, &name("bao-killed"), &keys);
    let test = "keys::killed::a_rotation_with_keys_of_a_server_that_dies_is_finished_by_the_next";
    dies_at_each_step(test, &server.mount, &tenant, &keys);
}
