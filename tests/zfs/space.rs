//! What snapshots take, against what the `zfs` command would reclaim.

use crate::support::{Mounted, Scratch, noise, run, zfs};
use helix_zfs::zfs_core::props::UserProps;
use helix_zfs::zfs_core::{CreateOptions, ErrorKind, Snapshot, SpaceRange, SyncMode};

/// What `zfs destroy` would free of `dataset@spec`.
fn reclaimed(arguments: &str, of: &str) -> u64 {
    let told = run("zfs", &["destroy", arguments, of]);
    let line = told.lines().find_map(|line| line.strip_prefix("reclaim\t"));
    line.expect("a reclaim line").parse().unwrap()
}

#[test]
fn what_destroying_a_set_would_free() {
    let scratch = Scratch::new("space");
    let zfs = zfs();
    let child = scratch.child("child").unwrap();
    child.create(&CreateOptions::filesystem()).unwrap();
    let mounts = [Mounted::new(&scratch), Mounted::new(&child)];
    // Each snapshot has data of its own, and some that it shares with one neighbour.
    for n in 0..6u64 {
        for (mount, more) in mounts.iter().zip([0, 1000]) {
            let len = 300_000 + n * 10_000 + more;
            mount.write("own", noise(usize::try_from(len).unwrap(), n));
            if n % 2 == 0 {
                mount.write("shared", noise(200_000, 100 + n));
            }
        }
        let pair = [&*scratch, &child].map(|of| of.snapshot(&format!("s{n}")).unwrap());
        zfs.create_snapshots(&pair, &UserProps::new()).unwrap();
    }
    zfs.pool(scratch.name().split('/').next().unwrap())
        .unwrap()
        .sync(SyncMode::Force)
        .unwrap();
    let pick = |numbers: &[usize]| -> Vec<Snapshot> {
        let short = |n: &usize| scratch.snapshot(&format!("s{n}")).unwrap();
        numbers.iter().map(short).collect()
    };
    let ours = |numbers: &[usize]| {
        let freed = zfs.space_freed_by_destroying(&pick(numbers)).unwrap();
        assert!(freed.compressed <= freed.uncompressed, "{freed:?}");
        freed.used
    };
    let name = scratch.name();
    for (numbers, spec) in [
        (&[2][..], "s2"),
        (&[0, 1, 2], "%s2"),
        (&[1, 2, 3], "s1%s3"),
        (&[4, 0, 1], "s0%s1,s4"),
        (&[0, 2, 4], "s0,s2,s4"),
        (&[0, 1, 2, 3, 4, 5], "%"),
    ] {
        assert_eq!(
            ours(numbers),
            reclaimed("-nvp", &format!("{name}@{spec}")),
            "{spec}"
        );
    }
    // Together they free more than the sum of each.
    assert!(ours(&[0, 1]) > ours(&[0]) + ours(&[1]));
    // The same of the child too, at once and in any order.
    let both: Vec<Snapshot> = [3, 1]
        .iter()
        .flat_map(|n| {
            let short = format!("s{n}");
            [
                child.snapshot(&short).unwrap(),
                scratch.snapshot(&short).unwrap(),
            ]
        })
        .collect();
    let freed = zfs.space_freed_by_destroying(&both).unwrap();
    assert_eq!(freed.used, reclaimed("-nvpr", &format!("{name}@s1,s3")));
    let twice: Vec<&Snapshot> = both.iter().chain(&both).collect();
    let names: Vec<_> = twice.iter().map(|snapshot| snapshot.name()).collect();
    assert_eq!(zfs.space_freed_by_destroying(&names).unwrap(), freed);
    assert_eq!(
        zfs.space_freed_by_destroying::<Snapshot>(&[]).unwrap(),
        SpaceRange::default()
    );
    // One that is not there spoils it.
    let mut missing = pick(&[0]);
    missing.push(scratch.snapshot("none").unwrap());
    let error = zfs.space_freed_by_destroying(&missing).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("@none"), "{error}");
    let elsewhere = [scratch.child("none").unwrap().snapshot("s").unwrap()];
    let error = zfs.space_freed_by_destroying(&elsewhere).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");

    // What it said comes true.
    let promised = ours(&[1, 2, 3]);
    let used = || {
        let properties = scratch.properties().unwrap();
        properties
            .get(helix_zfs::zfs_core::props::Prop::UsedBySnapshots)
            .and_then(|value| value.as_u64())
            .unwrap()
    };
    let before = used();
    zfs.destroy_snapshots(&pick(&[1, 2, 3])).unwrap();
    assert_eq!(before - used(), promised);
}
