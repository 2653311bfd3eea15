//! What is not applied, and what is left when a part of it fails.

use super::{apply, apply_all, dataset, key, lines, on_files, planned, shared, tenant};
use crate::support::{Scratch, TENANT, TestPool, allowed, as_user, run, zfs, zfs_get};
use helix_zfs::gate::Operation;
use helix_zfs::layout::{
    Allow, ApplyOptions, Danger, KeyError, LayoutError, Outcome, PoolLayout, VdevLayout,
};
use helix_zfs::zfs_core::ErrorKind;
use helix_zfs::zfs_core::key::WrappingKey;

/// What became of each change, in one letter.
fn outcomes(applied: &helix_zfs::layout::Applied) -> String {
    applied
        .iter()
        .map(|(_, outcome)| match outcome {
            Outcome::Done => 'd',
            Outcome::Failed(_) => 'f',
            _ => 's',
        })
        .collect()
}

#[test]
fn nothing_is_done_without_consent_keys_or_an_up_to_date_plan() {
    let scratch = Scratch::new("layout-refused");
    let name = |child: &str| format!("{}/{child}", scratch.name());
    let (mut layout, map) = shared(&scratch);
    run("zfs", &["create", "-o", "sync=always", &name("a")]);
    layout
        .datasets
        .insert(name("a"), dataset(&[("sync", "disabled")]));
    layout.tenants.insert(name("t"), tenant("t", &[]));
    let plan = planned(&layout, &map);
    assert_eq!(plan.danger(), Danger::Disruptive);
    let nothing_was_done = || {
        assert_eq!(zfs_get("sync", name("a")), "always");
        assert!(!zfs().dataset(&name("t")).unwrap().exists().unwrap());
    };
    let refused = |options: &ApplyOptions<'_>| {
        let mut steps = 0;
        let refused = plan.apply(
            allowed(Operation::ApplyLayout),
            &zfs(),
            options,
            &mut |_| steps += 1,
        );
        assert_eq!(steps, 0);
        nothing_was_done();
        refused.unwrap_err()
    };

    let error = refused(&ApplyOptions::new().keys(&key));
    assert!(matches!(error, LayoutError::NotAccepted { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        format!(
            "disruptive was not accepted: set sync=disabled on {} (is always): synchronous writes \
             can be lost after they were acknowledged",
            name("a")
        )
    );
    let all = ApplyOptions::new().accept(Danger::Destructive);
    let error = refused(&all);
    assert_eq!(
        error.to_string(),
        format!("the key t of {}: no source of keys was given", name("t"))
    );
    let locked = |_: &str| -> Result<WrappingKey, KeyError> { Err("the safe is locked".into()) };
    let error = refused(&all.keys(&locked));
    assert!(matches!(error, LayoutError::Key { .. }), "{error}");

    // Another has done a part of it.
    run("zfs", &["create", &name("t")]);
    let plan = planned(&layout, &map);
    assert_eq!(
        plan.conflicts()[0].to_string(),
        format!(
            "{0}: it is not encrypted, but should be as {0} is",
            name("t")
        )
    );
    let all = all.keys(&key);
    let error = plan
        .apply(allowed(Operation::ApplyLayout), &zfs(), &all, &mut |_| {})
        .unwrap_err();
    assert!(matches!(error, LayoutError::Conflicts(_)), "{error}");
    assert_eq!(zfs_get("sync", name("a")), "always");
    run("zfs", &["destroy", &name("t")]);
    let error = plan.apply(
        allowed(Operation::ApplyLayout),
        &zfs(),
        &all.despite_conflicts(),
        &mut |_| {},
    );
    assert!(matches!(error, Err(LayoutError::Stale(2))));
    nothing_was_done();

    apply_all(&layout, &map);
    assert_eq!(zfs_get("sync", name("a")), "disabled");
}

#[test]
fn what_fails_keeps_only_what_needs_it_from_being_made() {
    let scratch = Scratch::new("layout-partly");
    let name = |child: &str| format!("{}/{child}", scratch.name());
    let (mut layout, map) = shared(&scratch);
    run("zfs", &["create", &name("old")]);
    run("zfs", &["create", &name("z")]);
    // More than there is.
    let much = dataset(&[("reservation", "1P")]);
    layout.datasets.insert(name("b"), much.clone());
    layout.datasets.insert(name("b/below"), dataset(&[]));
    layout.datasets.insert(name("c"), dataset(&[]));
    layout.datasets.insert(name("z"), much);
    let allow = Allow::nothing().destroy(name("old"));
    let applied = apply(&layout, &map, &allow);
    let told: Vec<String> = applied
        .iter()
        .map(|(change, _)| change.to_string())
        .collect();
    assert_eq!(
        told,
        [
            format!("create filesystem {}", name("b")),
            format!("create filesystem {}", name("b/below")),
            format!("create filesystem {}", name("c")),
            format!("set reservation=1125899906842624 on {} (is 0)", name("z")),
            format!("destroy {}", name("old")),
        ]
    );
    assert_eq!(outcomes(&applied), "fsdfs");
    for (change, error) in applied.failures() {
        let LayoutError::Zfs(error) = error else {
            panic!("{error}");
        };
        assert_eq!(error.kind(), ErrorKind::NoSpace, "{change}");
        assert!(error.object().contains(change.action().object()), "{error}");
    }
    // With less it goes on from there.
    layout
        .datasets
        .insert(name("b"), dataset(&[("reservation", "1M")]));
    layout
        .datasets
        .insert(name("z"), dataset(&[("reservation", "1M")]));
    let applied = apply(&layout, &map, &allow);
    assert_eq!(outcomes(&applied), "dddd");
    assert!(!zfs().dataset(&name("old")).unwrap().exists().unwrap());
    assert!(planned(&layout, &map).is_empty());
}

#[test]
fn devices_of_others_are_taken_only_when_they_are_named() {
    let of = TestPool::files("layout-taken", 1);
    let other = format!("{}-other", of.name());
    let file = of.file(0);
    let device = file.to_str().unwrap();
    run(
        "zpool",
        &[
            "create",
            "-o",
            "cachefile=none",
            "-O",
            "mountpoint=none",
            &other,
            device,
        ],
    );
    let pool = PoolLayout {
        data: vec![VdevLayout::Device("0".into())],
        root: tenant("root", &[("mountpoint", "none")]),
        ..PoolLayout::default()
    };
    let (mut layout, map) = on_files(&of, 1, pool);
    layout
        .datasets
        .insert(format!("{}/x", of.name()), dataset(&[]));
    let refused = |allow: &Allow, what: &str| {
        let applied = apply(&layout, &map, allow);
        // What is in the pool needs the pool.
        assert_eq!(outcomes(&applied), "fs");
        let (_, error) = applied.failures().next().unwrap();
        let LayoutError::Zfs(error) = error else {
            panic!("{error}");
        };
        assert_eq!(error.kind(), ErrorKind::DeviceInUse);
        assert!(error.to_string().contains(what), "{error}");
    };
    let named = Allow::nothing().overwrite("0");
    refused(&named, "is part of the pool");
    run("zpool", &["export", &other]);
    refused(&Allow::nothing(), "is part of the exported pool");
    let plan = layout.plan_allowing(&zfs(), &map, &named).unwrap();
    assert_eq!(plan.danger(), Danger::Destructive);
    assert!(apply(&layout, &map, &named).is_complete());
    assert!(planned(&layout, &map).is_empty());
    assert_eq!(lines(&plan).len(), 2);
    // All of the pool is encrypted, for its root has a key.
    let child = format!("{}/x", of.name());
    assert_eq!(zfs_get("encryptionroot", child), of.name());
}

#[test]
fn users_may_look_and_not_touch() {
    let scratch = Scratch::new("layout-user");
    let (mut layout, map) = shared(&scratch);
    let child = format!("{}/a", scratch.name());
    layout
        .datasets
        .insert(child.clone(), dataset(&[("sync", "always")]));
    let applied = as_user(TENANT, || apply(&layout, &map, &Allow::nothing()));
    assert_eq!(outcomes(&applied), "f");
    let (_, error) = applied.failures().next().unwrap();
    assert!(
        matches!(error, LayoutError::Zfs(error) if error.kind() == ErrorKind::PermissionDenied),
        "{error}"
    );
    run(
        "zfs",
        &["allow", "-u", "tenant", "create,mount,sync", scratch.name()],
    );
    let applied = as_user(TENANT, || apply(&layout, &map, &Allow::nothing()));
    assert!(applied.is_complete(), "{applied:?}");
    assert_eq!(zfs_get("sync", child), "always");
}
