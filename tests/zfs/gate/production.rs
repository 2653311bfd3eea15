//! What is never done with production data.

use super::Place;
use crate::support::{Mounted, allowed, noise, zfs_get};
use helix_zfs::Tenant;
use helix_zfs::gate::audit::AuditKind;
use helix_zfs::gate::{Operation, ProductionRules, Rules};
use helix_zfs::scope::ScopeError;
use helix_zfs::zfs_core::key::{Encryption, WrappingKey};
use helix_zfs::zfs_core::mount::MountOptions;
use helix_zfs::zfs_core::props::{PropertySet, UserProps};
use helix_zfs::zfs_core::receive::ReceiveOptions;
use helix_zfs::zfs_core::send::SendOptions;
use helix_zfs::zfs_core::{CreateOptions, Dataset, ErrorKind, Result, Snapshot};
use std::io;

const MARK: &str = "helix:production";

fn forbidden<T>(result: Result<T>) {
    let error = result.map(|_| "allowed").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden, "{error}");
}

fn encrypted() -> CreateOptions {
    let key = WrappingKey::raw(&[0x17; 32]);
    CreateOptions::filesystem().encryption(Encryption::aes_256_gcm(&key).unwrap())
}

/// A place with `plain`, `secret` (which is encrypted) and `secret/below`, all production, each with a
/// snapshot `s`, and the ephemeral area `area`.
fn place(topic: &str, rules: fn(ProductionRules) -> ProductionRules) -> Place {
    let place = Place::new(topic, |top| {
        let area = helix_zfs::zfs_core::DatasetName::new(&format!("{top}/area")).unwrap();
        let production = ProductionRules::new().ephemeral_below(area);
        Rules::allow_all().with_production(rules(production))
    });
    place.make("area", &CreateOptions::filesystem());
    let plain = CreateOptions::filesystem().user(MARK, "on").unwrap();
    place.make("plain", &plain);
    place.make("secret", &encrypted().user(MARK, "on").unwrap());
    place.make("secret/below", &CreateOptions::filesystem());
    for name in ["plain", "secret", "secret/below"] {
        let dataset = place.scratch.child(name).unwrap();
        Mounted::new(&dataset).write("orders", noise(10_000, 5));
        dataset
            .snapshot("s")
            .unwrap()
            .create(&UserProps::new())
            .unwrap();
    }
    place
}

fn snapshot(place: &Place, name: &str) -> Snapshot {
    let dataset = place.scratch.child(name).unwrap();
    place.behind(&dataset).snapshot("s").unwrap()
}

fn dataset(place: &Place, name: &str) -> Dataset {
    place.behind(&place.scratch.child(name).unwrap())
}

#[test]
fn production_is_never_mounted_nor_cloned_elsewhere_nor_sent_in_the_clear() {
    let place = place("gate-production", |rules| rules);
    let folder = tempfile::tempdir().unwrap();
    let at = MountOptions::new().at(folder.path());
    let clear = SendOptions::full();
    let before = place.history();
    let mut refusals = 0;
    for name in ["plain", "secret", "secret/below"] {
        let snapshot = snapshot(&place, name);
        let production = dataset(&place, name);
        forbidden(production.mount(&at));
        forbidden(snapshot.mount(folder.path()));
        forbidden(production.destroy_unmounting());
        for target in ["elsewhere", "area", "area-2", &format!("{name}/clone")] {
            let target = place.name(target);
            forbidden(snapshot.clone_to(&target, &PropertySet::new()));
            forbidden(snapshot.check_clone_to(&target));
        }
        forbidden(snapshot.send(&clear));
        forbidden(snapshot.send(&clear.clone().compressed().large_blocks()));
        refusals += 3 + 8 + 2;
    }
    // There is no other stream of what is not encrypted.
    forbidden(snapshot(&place, "plain").send(&SendOptions::full().raw()));
    refusals += 1;
    assert_eq!(place.history(), before, "the kernel saw something");
    let kinds = place.kinds();
    assert_eq!(kinds.len(), 1 + refusals);
    assert!(kinds[1..].iter().all(|kind| *kind == AuditKind::Refusal));
    // What is left: encrypted blocks.
    let mut stream = snapshot(&place, "secret")
        .send(&SendOptions::full().raw())
        .unwrap();
    io::copy(&mut stream, &mut io::sink()).unwrap();
    stream.finish().unwrap();
    // What is not production is as it was.
    let free = place.make("free", &CreateOptions::filesystem());
    let free = place.behind(&free);
    let free = free.snapshot("s").unwrap();
    free.create(&UserProps::new()).unwrap();
    free.clone_to(&place.name("free-clone"), &PropertySet::new())
        .unwrap();
    free.mount(folder.path()).unwrap();
    crate::support::unmount(folder.path()).unwrap();
}

#[test]
fn a_clone_in_the_ephemeral_area_is_production_too() {
    let place = place("gate-area", |rules| rules);
    let folder = tempfile::tempdir().unwrap();
    let at = MountOptions::new().at(folder.path());
    let none = PropertySet::new();
    let clone = snapshot(&place, "secret")
        .clone_to(&place.name("area/load-test"), &none)
        .unwrap();
    forbidden(clone.mount(&at));
    let of_clone = clone.snapshot("s").unwrap();
    of_clone.create(&UserProps::new()).unwrap();
    forbidden(of_clone.clone_to(&place.name("out"), &none));
    let second = of_clone
        .clone_to(&place.name("area/second"), &none)
        .unwrap();
    forbidden(second.mount(&at));
    forbidden(of_clone.send(&SendOptions::full()));
    // Nor is it made something else by another way.
    forbidden(clone.promote());
    assert_eq!(
        zfs_get("origin", clone.name()),
        format!("{}@s", place.name("secret"))
    );
    let out = place.name("out");
    let mut stream = of_clone
        .send(&SendOptions::incremental(&snapshot(&place, "secret")).raw())
        .unwrap();
    let origin = snapshot(&place, "secret");
    let out = place.gate.zfs().dataset(out.as_str()).unwrap();
    forbidden(out.receive(&mut stream, &ReceiveOptions::new().origin(origin.name())));
    drop(stream);
    assert!(!out.exists().unwrap());
}

fn forbidden_of<T: std::fmt::Debug>(result: std::result::Result<T, ScopeError>) {
    match result.unwrap_err() {
        ScopeError::Zfs(error) => assert_eq!(error.kind(), ErrorKind::Forbidden, "{error}"),
        other => panic!("{other}"),
    }
}

/// Cloned and promoted by programs in the kernel, which ask nobody themselves.
#[test]
fn a_tenants_production_data_is_staged_only_where_rules_say_and_not_promoted() {
    let place = Place::new("gate-staging", |top| {
        let area = helix_zfs::zfs_core::DatasetName::new(&format!("{top}/birch/staging")).unwrap();
        let production = ProductionRules::new().ephemeral_below(area);
        Rules::allow_all().with_production(production)
    });
    let [acme, birch] = ["acme", "birch"].map(|name| {
        place.make(name, &CreateOptions::filesystem());
        let marked = CreateOptions::filesystem().user(MARK, "on").unwrap();
        place.make(&format!("{name}/db"), &marked);
        Tenant::from(dataset(&place, name))
    });
    let none = PropertySet::new();
    let staged = |tenant: &Tenant| {
        let taken = allowed(Operation::Snapshot);
        let before = tenant.snapshot(taken, "s", &UserProps::new()).unwrap();
        let staging = tenant.staging("next").unwrap();
        let history = place.history();
        let made = staging.create(allowed(Operation::Clone), &before, &none, &mut |_| {});
        (staging, made, history)
    };

    let (staging, made, before) = staged(&acme);
    forbidden_of(made);
    assert_eq!(place.history(), before, "the kernel saw something");
    assert!(!acme.at("staging").unwrap().dataset().exists().unwrap());
    forbidden_of(
        staging.create(
            allowed(Operation::Clone),
            &acme
                .snapshot(allowed(Operation::Snapshot), "t", &UserProps::new())
                .unwrap(),
            &PropertySet::new().user("helix:purpose", "test").unwrap(),
            &mut |_| {},
        ),
    );

    let (staging, made, _) = staged(&birch);
    assert_eq!(made.unwrap().len(), 2);
    let db = staging.at("db").unwrap();
    assert_eq!(zfs_get(MARK, db.name()), "-");
    forbidden(db.dataset().mount(&MountOptions::new().at("/")));
    let before = place.history();
    forbidden_of(staging.promote(allowed(Operation::Promote)));
    forbidden_of(db.promote(allowed(Operation::Promote)));
    assert_eq!(place.history(), before, "the kernel saw something");
    let kinds = place.kinds();
    assert_eq!(kinds.len(), 1 + 5);
    assert!(kinds[1..].iter().all(|kind| *kind == AuditKind::Refusal));
}

#[test]
fn rules_can_let_clones_be_mounted_in_the_ephemeral_area_and_nothing_else() {
    let place = place("gate-load-test", ProductionRules::mount_ephemeral);
    let folder = tempfile::tempdir().unwrap();
    let at = MountOptions::new().at(folder.path());
    let clone = snapshot(&place, "plain")
        .clone_to(&place.name("area/load-test"), &PropertySet::new())
        .unwrap();
    clone.mount(&at).unwrap();
    assert_eq!(
        std::fs::read(folder.path().join("orders")).unwrap(),
        noise(10_000, 5)
    );
    crate::support::unmount(folder.path()).unwrap();
    forbidden(dataset(&place, "plain").mount(&at));
    // A mark is stronger than where it lies.
    clone
        .set_user(&UserProps::new().set(MARK, "on").unwrap())
        .unwrap();
    forbidden(clone.mount(&at));
}

#[test]
fn the_mark_is_not_taken_off() {
    let place = place("gate-mark", |rules| rules);
    let below = dataset(&place, "secret/below");
    let plain = dataset(&place, "plain");
    let mark = |value: &str| UserProps::new().set(MARK, value).unwrap();
    let before = place.history();
    forbidden(plain.set_user(&mark("off")));
    forbidden(plain.set_user(&mark("")));
    forbidden(below.set_user(&mark("off")));
    forbidden(plain.inherit(MARK));
    forbidden(plain.set_all(&PropertySet::new().user(MARK, "off").unwrap()));
    // By its mark it goes with it; by its parent's it stays.
    forbidden(below.rename(&place.name("out")));
    assert_eq!(place.history(), before, "the kernel saw something");
    let moved = plain.rename(&place.name("moved")).unwrap();
    forbidden(moved.mount(&MountOptions::new().at("/")));
    // Whatever else it is set to, it is production.
    let odd = place.make(
        "odd",
        &CreateOptions::filesystem().user(MARK, "ON").unwrap(),
    );
    forbidden(place.behind(&odd).mount(&MountOptions::new().at("/")));
    let free = place.make(
        "free",
        &CreateOptions::filesystem().user(MARK, "off").unwrap(),
    );
    let free = place.behind(&free);
    free.set_user(&mark("on")).unwrap();
    forbidden(free.mount(&MountOptions::new().at("/")));
    // What does not exist is the kernel's to tell.
    let nothing = dataset(&place, "nothing");
    let error = nothing.mount(&MountOptions::new().at("/")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}
