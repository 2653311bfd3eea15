//! Stagings: made, promoted, destroyed, and finished after a kill.

use super::{Neighbours, has_program_clones, keep, make, snapshot, staging, tenant, told};
use crate::support::killed::{self, Ended};
use crate::support::{Mounted, TENANT, allowed, as_user, may, noise, zfs_get};
use helix_zfs::gate::Operation;
use helix_zfs::scope::ScopeError;
use helix_zfs::zfs_core::ErrorKind;
use helix_zfs::zfs_core::props::{Compression, PropertySet, UserProps};

fn kind(error: &ScopeError) -> ErrorKind {
    match error {
        ScopeError::Zfs(error) => error.kind(),
        _ => panic!("{error}"),
    }
}

#[test]
fn a_staging_is_a_copy_that_can_be_promoted() {
    let both = Neighbours::new("staging");
    let acme = &both.acme;
    let db = acme.at("db").unwrap();
    let data = noise(100_000, 5);
    {
        let mounted = Mounted::new(db.dataset());
        mounted.write("rows", &data);
    }
    let before = snapshot(acme, "before");
    let next = acme.staging("next").unwrap();
    assert!(matches!(next.status(), Err(ScopeError::NoStaging { .. })));
    let mut changes = Vec::new();
    let none = PropertySet::new();
    let made = next
        .create(
            allowed(Operation::Clone),
            &before,
            &none,
            &mut keep(&mut changes),
        )
        .unwrap();
    let paths: Vec<_> = made.iter().filter_map(|dataset| dataset.path()).collect();
    let expected = ["staging/next", "staging/next/db", "staging/next/db/wal"];
    assert_eq!(paths, expected);
    if has_program_clones() {
        assert_eq!(told(&changes).len(), 2, "{changes:?}");
        let txgs: Vec<_> = made
            .iter()
            .map(|one| zfs_get("createtxg", one.name()))
            .collect();
        assert!(txgs.iter().all(|txg| *txg == txgs[0]), "{txgs:?}");
    } else {
        assert_eq!(told(&changes)[1..4].len(), 3, "{changes:?}");
    }
    let status = next.status().unwrap();
    assert_eq!((status.snapshot.as_str(), status.ready), ("before", true));
    assert_eq!(status.datasets.len(), 3);
    let names: Vec<_> = acme.stagings().unwrap();
    assert_eq!(
        names.iter().map(|one| one.name()).collect::<Vec<_>>(),
        ["next"]
    );
    assert!(both.birch.stagings().unwrap().is_empty());
    // The tenant's key is the staging's.
    let copy = next.at("db").unwrap();
    assert_eq!(
        zfs_get("encryptionroot", copy.name()),
        acme.dataset().name().as_str()
    );
    {
        let mounted = Mounted::new(copy.dataset());
        assert!(mounted.read("rows") == data);
        mounted.write("rows", b"migrated");
    }
    // It is whole: nothing is to be done.
    let mut changes = Vec::new();
    next.create(
        allowed(Operation::Clone),
        &before,
        &none,
        &mut keep(&mut changes),
    )
    .unwrap();
    assert!(changes.is_empty());
    let later = snapshot(acme, "later");
    let other = next
        .create(allowed(Operation::Clone), &later, &none, &mut |_| {})
        .unwrap_err();
    assert!(matches!(other, ScopeError::InTheWay { .. }), "{other}");

    // What is promoted already is left as it is.
    next.at("db/wal")
        .unwrap()
        .promote(allowed(Operation::Promote))
        .unwrap();
    let promoted = next.promote(allowed(Operation::Promote)).unwrap();
    let paths: Vec<_> = promoted.iter().filter_map(|one| one.path()).collect();
    assert_eq!(paths, ["staging/next/db"]);
    assert_eq!(
        zfs_get("origin", db.name()),
        format!("{}@before", copy.name())
    );
    assert_eq!(zfs_get("origin", copy.name()), "-");
    assert!(
        next.promote(allowed(Operation::Promote))
            .unwrap()
            .is_empty()
    );
    next.create(allowed(Operation::Clone), &before, &none, &mut |_| {})
        .unwrap();
    let refused = both
        .untouched(|| next.destroy(allowed(Operation::Destroy)))
        .unwrap_err();
    let ScopeError::HasClones { clones, .. } = &refused else {
        panic!("{refused}")
    };
    assert!(clones[0] == *db.name() || clones[0].as_str().ends_with("db/wal"));

    // And back.
    db.promote(allowed(Operation::Promote)).unwrap();
    acme.at("db/wal")
        .unwrap()
        .promote(allowed(Operation::Promote))
        .unwrap();
    assert_eq!(
        zfs_get("origin", copy.name()),
        format!("{}@before", db.name())
    );
    // Its own snapshots go with it, those of the tenant stay.
    snapshot(acme, "last");
    let gone = next.destroy(allowed(Operation::Destroy)).unwrap();
    assert_eq!(gone.len(), 3);
    assert!(!next.root().dataset().exists().unwrap());
    assert!(matches!(
        next.destroy(allowed(Operation::Destroy)),
        Err(ScopeError::NoStaging { .. })
    ));
    for name in ["before", "later", "last"] {
        assert!(
            db.dataset().snapshot(name).unwrap().exists().unwrap(),
            "{name}"
        );
    }
    let mounted = Mounted::new(db.dataset());
    assert!(mounted.read("rows") == data);
}

#[test]
fn a_staging_goes_whole_or_not_at_all() {
    let both = Neighbours::new("staging-destroy");
    let (acme, birch) = (&both.acme, &both.birch);
    let before = snapshot(acme, "before");
    let next = staging(acme, "next", &before);
    let (db, wal) = (next.at("db").unwrap(), next.at("db/wal").unwrap());
    let inner = wal.dataset().snapshot("inner").unwrap();
    inner.create(&UserProps::new()).unwrap();

    let mounted = Mounted::new(db.dataset());
    assert_eq!(
        kind(
            &both
                .unchanged(|| next.destroy(allowed(Operation::Destroy)))
                .unwrap_err()
        ),
        ErrorKind::Busy
    );
    drop(mounted);
    // One with a snapshot of its own is busy in another way.
    let mounted = Mounted::new(wal.dataset());
    assert_eq!(
        kind(
            &both
                .unchanged(|| next.destroy(allowed(Operation::Destroy)))
                .unwrap_err()
        ),
        ErrorKind::Busy
    );
    drop(mounted);
    inner.hold("backup").unwrap();
    assert_eq!(
        kind(
            &both
                .unchanged(|| next.destroy(allowed(Operation::Destroy)))
                .unwrap_err()
        ),
        ErrorKind::Busy
    );
    inner.release("backup").unwrap();

    // Somebody else's clone.
    let foreign = birch.at("stolen").unwrap();
    inner.clone_to(foreign.name(), &PropertySet::new()).unwrap();
    let refused = both
        .untouched(|| next.destroy(allowed(Operation::Destroy)))
        .unwrap_err();
    let ScopeError::ForeignClones {
        snapshot, clones, ..
    } = &refused
    else {
        panic!("{refused}")
    };
    assert_eq!(
        (snapshot, &clones[..]),
        (inner.name(), &[foreign.name().clone()][..])
    );
    foreign.dataset().destroy().unwrap();

    as_user(TENANT, || {
        let refused = next.destroy(allowed(Operation::Destroy)).unwrap_err();
        assert_eq!(kind(&refused), ErrorKind::PermissionDenied);
        let refused = next.promote(allowed(Operation::Promote)).unwrap_err();
        assert_eq!(kind(&refused), ErrorKind::PermissionDenied);
    });

    // Clones within it go along, whatever their order.
    next.at("a")
        .unwrap()
        .clone_from(allowed(Operation::Clone), inner.name(), &PropertySet::new())
        .unwrap();
    next.at("z")
        .unwrap()
        .clone_from(allowed(Operation::Clone), inner.name(), &PropertySet::new())
        .unwrap();
    assert_eq!(next.destroy(allowed(Operation::Destroy)).unwrap().len(), 5);
    assert!(acme.stagings().unwrap().is_empty());

    // A program that was stopped after its first step.
    let half = acme.staging("half").unwrap();
    let props = PropertySet::new();
    half.root()
        .clone_from(
            allowed(Operation::Clone),
            before.snapshots().unwrap()[0].name(),
            &props,
        )
        .unwrap();
    assert!(matches!(
        half.destroy(allowed(Operation::Destroy)),
        Err(ScopeError::NoStaging { .. })
    ));
    half.create(allowed(Operation::Clone), &before, &props, &mut |_| {})
        .unwrap();
    assert!(half.status().unwrap().ready);
    assert_eq!(half.destroy(allowed(Operation::Destroy)).unwrap().len(), 3);

    // What is there and is no staging is not destroyed.
    make(acme, "staging/mine");
    let mine = acme.staging("mine").unwrap();
    both.untouched(|| {
        assert!(matches!(
            mine.destroy(allowed(Operation::Destroy)),
            Err(ScopeError::NoStaging { .. })
        ));
        let created = mine.create(
            allowed(Operation::Clone),
            &before,
            &PropertySet::new(),
            &mut |_| {},
        );
        assert!(matches!(created, Err(ScopeError::InTheWay { .. })));
        assert!(acme.stagings().unwrap().is_empty());
    });
}

#[test]
fn a_staging_is_finished_or_undone_after_a_kill() {
    if let Some(mut countdown) = killed::in_the_process() {
        let acme = tenant(&killed::argument());
        let before = acme.find_snapshot("before").unwrap();
        let next = acme.staging("next").unwrap();
        let clone = may(Operation::Clone, &acme);
        next.create(clone, &before, &kill_props(), &mut |_| countdown.tick())
            .unwrap();
        return;
    }
    let both = Neighbours::new("staging-killed");
    let acme = &both.acme;
    let before = snapshot(acme, "before");
    // The clones of a snapshot are told with the snapshot.
    let others = |mut lines: Vec<String>| {
        let own = format!("{}/staging", acme.dataset().name());
        lines.retain(|line| !line.starts_with(&own) && !line.contains("@before"));
        lines
    };
    let untouched = others(both.everything());
    let next = acme.staging("next").unwrap();
    // At once where the kernel can, and one by one elsewhere.
    for step in 0.. {
        let name = "scope::staging::a_staging_is_finished_or_undone_after_a_kill";
        let ended = killed::run(name, step, acme.dataset().name().as_str());
        assert_eq!(others(both.everything()), untouched, "{step}");
        match next.status() {
            // It died before, or after, the last change.
            Ok(status) => {
                let whole = status.ready && status.datasets.len() == 3;
                assert!(whole || ended == Ended::Killed && !status.ready);
            }
            Err(ScopeError::NoStaging { .. }) => assert_eq!(ended, Ended::Killed),
            Err(error) => panic!("{error}"),
        }
        if step % 2 == 0 {
            next.create(
                allowed(Operation::Clone),
                &before,
                &kill_props(),
                &mut |_| {},
            )
            .unwrap();
        }
        match next.status() {
            Ok(status) => {
                assert!(status.ready || step % 2 == 1);
                next.destroy(allowed(Operation::Destroy)).unwrap();
            }
            Err(_) => assert!(step % 2 == 1),
        }
        // The area stays, without anything in it, or was not made yet.
        let area = acme.at("staging").unwrap();
        if area.dataset().exists().unwrap() {
            assert!(area.dataset().descendants().unwrap().is_empty());
            area.dataset().destroy().unwrap();
        }
        if ended == Ended::Finished {
            assert!(step > 3, "{step} steps");
            break;
        }
    }
}

/// With properties the clones are made one by one everywhere.
fn kill_props() -> PropertySet {
    match has_program_clones() {
        true => PropertySet::new(),
        false => PropertySet::new().set(Compression::Lz4),
    }
}
