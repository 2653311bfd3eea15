//! What would leave the tenant, or touch another: refused, and the kernel is not asked.

use super::{Neighbours, make, snapshot, staging};
use crate::support::allowed;
use helix_zfs::gate::Operation;
use helix_zfs::scope::{Escape, ScopeError};
use helix_zfs::zfs_core::DatasetName;
use helix_zfs::zfs_core::props::{PropertySet, UserProps};

fn escape(error: &ScopeError) -> Escape {
    match error {
        ScopeError::Outside { escape, .. } => *escape,
        _ => panic!("{error}"),
    }
}

#[test]
fn no_name_leaves_the_tenant() {
    let both = Neighbours::new("scope-names");
    let (acme, birch) = (&both.acme, &both.birch);
    let theirs = snapshot(birch, "theirs");
    let ours = snapshot(acme, "ours");
    both.untouched(|| {
        for (path, how) in [
            ("../birch/db", Escape::Relative),
            ("db/../../birch", Escape::Relative),
            ("/tank", Escape::Absolute),
            ("db@ours", Escape::NoDataset),
            ("../birch@theirs", Escape::NoDataset),
            ("db/%recv", Escape::Hidden),
            ("", Escape::Invalid),
        ] {
            assert_eq!(escape(&acme.at(path).unwrap_err()), how, "{path}");
            let staging = acme.staging(path).unwrap_err();
            escape(&staging);
        }
        escape(&acme.staging("a/b").unwrap_err());
        let above: &DatasetName = (*both.scratch).as_ref();
        for name in [birch.dataset().name(), above] {
            let error = acme.resolve(name).unwrap_err();
            assert_eq!(escape(&error), Escape::Elsewhere);
            assert!(!acme.contains(name));
        }
        // A clone whose origin lies elsewhere.
        let target = acme.at("stolen").unwrap();
        for snapshot in theirs.snapshots().unwrap() {
            let cloned = target.clone_from(
                allowed(Operation::Clone),
                snapshot.name(),
                &PropertySet::new(),
            );
            assert_eq!(escape(&cloned.unwrap_err()), Escape::Elsewhere);
        }
        let next = acme.staging("next").unwrap();
        let created = next.create(
            allowed(Operation::Clone),
            &theirs,
            &PropertySet::new(),
            &mut |_| {},
        );
        assert_eq!(escape(&created.unwrap_err()), Escape::Elsewhere);
    });
    // A clone of its own is as good as any.
    let target = acme.at("copy").unwrap();
    let origin = ours.snapshots().unwrap()[1].name().clone();
    target
        .clone_from(allowed(Operation::Clone), &origin, &PropertySet::new())
        .unwrap();
    assert_eq!(target.dataset().stat().unwrap().origin, Some(origin));
}

#[test]
fn no_promotion_takes_what_is_not_the_tenants() {
    let both = Neighbours::new("scope-promote");
    let (acme, birch) = (&both.acme, &both.birch);
    let old = snapshot(acme, "old");
    let before = snapshot(acme, "before");
    let theirs = snapshot(birch, "theirs");
    let none = PropertySet::new();
    // A clone of the neighbour's, made by somebody who looked at nothing.
    let stolen = acme.at("stolen").unwrap();
    let origin = &theirs.snapshots().unwrap()[1];
    origin.clone_to(stolen.name(), &none).unwrap();
    let next = staging(acme, "next", &before);
    let copy = next.at("db").unwrap();

    both.untouched(|| {
        let refused = stolen.promote(allowed(Operation::Promote)).unwrap_err();
        let ScopeError::ForeignOrigin {
            dataset, origin: o, ..
        } = &refused
        else {
            panic!("{refused}")
        };
        assert_eq!((dataset, o), (stolen.name(), origin.name()));
        let refused = acme
            .at("db")
            .unwrap()
            .promote(allowed(Operation::Promote))
            .unwrap_err();
        assert!(matches!(refused, ScopeError::NoClone { .. }), "{refused}");
        // The root's clone would become the encryption root.
        let refused = next
            .root()
            .promote(allowed(Operation::Promote))
            .unwrap_err();
        let ScopeError::TakesKey { root, .. } = &refused else {
            panic!("{refused}")
        };
        assert_eq!(root, acme.dataset().name());
    });

    // The neighbour has a clone of a snapshot that would move along.
    let taken = birch.at("taken").unwrap();
    let older = &old.snapshots().unwrap()[1];
    older.clone_to(taken.name(), &none).unwrap();
    both.untouched(|| {
        let refused = [
            copy.promote(allowed(Operation::Promote)).unwrap_err(),
            next.promote(allowed(Operation::Promote)).unwrap_err(),
        ];
        for refused in refused {
            let ScopeError::ForeignClones {
                snapshot, clones, ..
            } = &refused
            else {
                panic!("{refused}")
            };
            assert_eq!(snapshot, older.name());
            assert_eq!(clones[..], [taken.name().clone()]);
        }
    });
    taken.dataset().destroy().unwrap();

    // A name that both have.
    let own = copy.dataset().snapshot("old").unwrap();
    own.create(&UserProps::new()).unwrap();
    both.untouched(|| {
        let refused = next.promote(allowed(Operation::Promote)).unwrap_err();
        let ScopeError::NameTaken { dataset, snapshot } = &refused else {
            panic!("{refused}")
        };
        assert_eq!((dataset, snapshot.as_str()), (copy.name(), "old"));
    });
    own.destroy().unwrap();

    // A snapshot that is newer than the origin does not move: its clones are no matter.
    make(birch, "area");
    let later = acme.at("db").unwrap().dataset().snapshot("later").unwrap();
    later.create(&UserProps::new()).unwrap();
    let other = birch.at("area/other").unwrap();
    later.clone_to(other.name(), &none).unwrap();
    let neighbour = birch.datasets().unwrap().len();
    assert_eq!(next.promote(allowed(Operation::Promote)).unwrap().len(), 2);
    assert_eq!(birch.datasets().unwrap().len(), neighbour);
    assert_eq!(
        other.dataset().stat().unwrap().origin.as_ref(),
        Some(later.name())
    );
}
