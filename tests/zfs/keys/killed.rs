//! A rotation that dies at each of its steps.

use super::{One, is_right, quiet};
use crate::support::killed::{self, Ended};
use crate::support::may;
use crate::support::{zfs, zfs_get};
use helix_zfs::Tenant;
use helix_zfs::gate::Operation;
use helix_zfs::key::{FileKeys, KeyProvider, KeyVersion, RotationOptions, rotate};

#[test]
fn a_rotation_that_dies_is_finished_by_the_next() {
    let options = RotationOptions::new();
    if let Some(mut countdown) = killed::in_the_process() {
        let argument = killed::argument();
        let (name, folder) = argument.split_once(' ').unwrap();
        let tenant = Tenant::from(zfs().dataset(name).unwrap());
        let keys = FileKeys::new(folder);
        let capability = may(Operation::RotateKey, &tenant);
        rotate(capability, &tenant, &keys, &options, &mut |_| {
            countdown.tick()
        })
        .unwrap();
        return;
    }
    let one = One::new("rotate-killed");
    let neighbour = One::new("rotate-neighbour");
    let name = one.tenant.dataset().name();
    let argument = format!("{name} {}", one.folder.path().display());
    let capability = may(Operation::RotateKey, &one.tenant);
    let mut before = KeyVersion(1);
    for step in 0.. {
        let test = "keys::killed::a_rotation_that_dies_is_finished_by_the_next";
        let ended = killed::run(test, step, &argument);
        // Whenever it died, the store has the key.
        let after = is_right(&one.tenant, &one.keys);
        assert!(
            after == before || after.0 == before.0 + 1,
            "{step}: {after}"
        );
        if ended == Ended::Finished {
            assert_eq!(step, 8);
            break;
        }
        let pending = one.record().pending();
        let rotated = rotate(capability, &one.tenant, &one.keys, &options, &mut quiet).unwrap();
        assert_eq!(rotated.was_pending, pending.is_some(), "{step}");
        before = is_right(&one.tenant, &one.keys);
        assert_eq!(before, rotated.to);
        assert_eq!(zfs_get("helix:key_version", name), rotated.to.to_string());
        assert_eq!(one.record().pending(), None);
        // Nothing was stored in vain.
        let versions = one.keys.versions(&one.id()).unwrap();
        assert_eq!(versions.len() as u64, rotated.to.0, "{step}");
    }
    one.version();
    assert_eq!(neighbour.version().0, 1);
    assert_eq!(
        zfs_get("helix:key_version", neighbour.tenant.dataset().name()),
        "-"
    );
}
