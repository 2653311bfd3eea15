use super::filesystems;
use crate::support::killed::{self, Ended};
use crate::support::{Scratch, TENANT, allowed, as_user, grant, may, zfs, zfs_get};
use helix_zfs::gate::{Operation, Scope};
use helix_zfs::zfs_core::props::UserProps;
use helix_zfs::zfs_core::{Dataset, ErrorKind, Snapshot};
use helix_zfs::{Change, GuardRail, RailFilter, Step};
use std::time::{Duration, SystemTime};

fn names(rail: &GuardRail) -> Vec<String> {
    let snapshots = rail.snapshots().iter();
    snapshots
        .map(|snapshot| snapshot.name().to_string())
        .collect()
}

fn is_held(snapshot: &Snapshot) -> bool {
    let holds = snapshot.holds().unwrap();
    holds
        .iter()
        .any(|hold| hold.tag.as_c_str() == c"helix-guard-rail")
}

#[test]
fn a_guard_rail_is_found_again() {
    let scratch = Scratch::new("rail-find");
    let made = filesystems(&scratch, &["acme", "birch", "cedar"]);
    // What is set on a dataset says nothing of its snapshots.
    let misleading = UserProps::new()
        .set("helix:guard_rail", "deploy-42")
        .and_then(|props| props.set("helix:reason", "not this"))
        .unwrap();
    scratch.set_user(&misleading).unwrap();
    let change = Change::new()
        .git_sha("4be1f2c")
        .helm_revision(17)
        .actor("ci@helix")
        .tag("eu")
        .tag("a, b");
    let before = SystemTime::now();
    let rail = GuardRail::take(
        allowed(Operation::TakeGuardRail),
        &zfs(),
        &made,
        "deploy-42",
        &change,
    )
    .unwrap();
    scratch
        .snapshot("deploy-42")
        .unwrap()
        .create(&UserProps::new())
        .unwrap();
    assert!(rail.is_whole());
    for snapshot in rail.snapshots() {
        for (property, value) in [
            ("createtxg", rail.txg().to_string()),
            ("helix:git_sha", "4be1f2c".to_owned()),
            ("helix:helm_revision", "17".to_owned()),
            ("helix:actor", "ci@helix".to_owned()),
            ("helix:tags", "a%2c b,eu".to_owned()),
            ("helix:reason", "not this".to_owned()),
            ("userrefs", "1".to_owned()),
        ] {
            assert_eq!(zfs_get(property, snapshot.name()), value, "{property}");
        }
        assert!(is_held(snapshot));
    }

    let found = GuardRail::find(&scratch, "deploy-42").unwrap().unwrap();
    assert_eq!(names(&found), names(&rail));
    assert_eq!(
        (found.name(), found.txg(), found.change(), found.is_whole()),
        ("deploy-42", rail.txg(), &change, true)
    );
    let apart = found
        .taken()
        .duration_since(rail.taken())
        .unwrap_or_else(|error| error.duration());
    assert!(apart < Duration::from_millis(1), "{apart:?}");
    assert!(GuardRail::find(&scratch, "deploy-43").unwrap().is_none());

    // One of the same name, taken later, is another one.
    let late = filesystems(&scratch, &["dogwood"]);
    let reason = Change::new().reason("again").git_sha("4be0aaaa");
    let later = GuardRail::take(
        allowed(Operation::TakeGuardRail),
        &zfs(),
        &late,
        "deploy-42",
        &reason,
    )
    .unwrap();
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

    let matching = |filter: RailFilter| -> Vec<u64> {
        let rails = GuardRail::matching(&scratch, &filter).unwrap();
        rails.iter().map(GuardRail::txg).collect()
    };
    let filter = RailFilter::new;
    let (first, second) = (rail.txg(), later.txg());
    assert_eq!(matching(filter().git_sha("4be")), [first, second]);
    assert_eq!(matching(filter().git_sha("4BE1")), [first]);
    assert_eq!(matching(filter().helm_revision(17)), [first]);
    assert_eq!(matching(filter().tag("a, b").tag("eu")), [first]);
    assert_eq!(matching(filter().actor("ci@helix")), [first]);
    assert_eq!(matching(filter().name("deploy-42")), [first, second]);
    assert!(matching(filter().tag("a")).is_empty());
    let slack = Duration::from_millis(1);
    assert_eq!(matching(filter().since(before - slack)), [first, second]);
    assert!(matching(filter().until(before - slack)).is_empty());

    // A renamed snapshot is no part of it any more, and a revision that is no number is none.
    rail.snapshots()[0].rename("kept").unwrap();
    let odd = UserProps::new().set("helix:helm_revision", "x").unwrap();
    for snapshot in &rail.snapshots()[1..] {
        snapshot.set_user(&odd).unwrap();
    }
    let all = GuardRail::list(&scratch).unwrap();
    assert_eq!(names(&all[0]), names(&rail)[1..]);
    assert_eq!(all[0].change().helm_revision, None);
    assert!(!all[0].is_whole());
}

#[test]
fn a_guard_rail_is_taken_whole_or_not_at_all() {
    let scratch = Scratch::new("rail-take");
    let made = filesystems(&scratch, &["acme", "birch"]);
    made[1]
        .snapshot("r")
        .unwrap()
        .create(&UserProps::new())
        .unwrap();
    let elsewhere = zfs().dataset("hz-elsewhere/a").unwrap();
    let both = [made[0].clone(), elsewhere];
    let wide = Scope::of(&[made.as_slice(), &both].concat());
    let may = grant(Operation::TakeGuardRail, wide, Duration::from_secs(3600));
    let take = |datasets: &[Dataset], name, change: &Change| {
        GuardRail::take(&may, &zfs(), datasets, name, change)
            .unwrap_err()
            .kind()
    };
    assert_eq!(take(&made, "r", &Change::new()), ErrorKind::AlreadyExists);
    assert!(!made[0].snapshot("r").unwrap().exists().unwrap());
    assert_eq!(take(&[], "r", &Change::new()), ErrorKind::InvalidArgument);
    assert_eq!(take(&made, "r/s", &Change::new()), ErrorKind::InvalidName);
    let long = Change::new().reason("x".repeat(8192));
    assert_eq!(take(&made, "s", &long), ErrorKind::TooBig);
    assert_eq!(take(&both, "s", &Change::new()), ErrorKind::CrossPool);
    assert!(GuardRail::list(&scratch).unwrap().is_empty());
}

#[test]
fn the_same_guard_rail_can_be_taken_again() {
    let scratch = Scratch::new("rail-again");
    let made = filesystems(&scratch, &["acme", "birch"]);
    let change = Change::new().git_sha("4be1f2c");
    let rail = GuardRail::take(
        allowed(Operation::TakeGuardRail),
        &zfs(),
        &made,
        "r",
        &change,
    )
    .unwrap();
    // One of its holds was lost.
    rail.snapshots()[1].release("helix-guard-rail").unwrap();
    let again = GuardRail::take(
        allowed(Operation::TakeGuardRail),
        &zfs(),
        &made,
        "r",
        &change,
    )
    .unwrap();
    assert_eq!((again.txg(), names(&again)), (rail.txg(), names(&rail)));
    assert!(rail.snapshots().iter().all(is_held));

    // Another one of that name is refused, and nothing of it is there.
    let refused = |datasets: &[Dataset], change: &Change| {
        let error = GuardRail::take(
            allowed(Operation::TakeGuardRail),
            &zfs(),
            datasets,
            "r",
            change,
        )
        .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    };
    refused(&made, &Change::new().git_sha("4be1f2d"));
    refused(&made[..1], &change);
    let more = [&made[..], &filesystems(&scratch, &["cedar"])].concat();
    refused(&more, &change);
    assert!(!more[2].snapshot("r").unwrap().exists().unwrap());
    // A snapshot of the name that is no guard rail's.
    rail.snapshots()[0].release("helix-guard-rail").unwrap();
    rail.snapshots()[0].destroy().unwrap();
    let plain = rail.snapshots()[0].clone();
    plain.create(&UserProps::new()).unwrap();
    refused(&made, &change);
    assert!(!is_held(&plain));
}

#[test]
fn a_guard_rail_is_completed_after_a_kill() {
    let change = Change::new().git_sha("4be1f2c").reason("kill");
    let take = |parent: &Dataset, tick: &mut dyn FnMut()| {
        let made = ["acme", "birch"].map(|name| parent.child(name).unwrap());
        GuardRail::take_observed(
            may(Operation::TakeGuardRail, parent),
            &zfs(),
            &made,
            "r",
            &change,
            &mut |step| {
                if matches!(step, Step::Starting(_)) {
                    tick();
                }
            },
        )
    };
    if let Some(mut countdown) = killed::in_the_process() {
        let parent = zfs().dataset(&killed::argument()).unwrap();
        take(&parent, &mut || countdown.tick()).unwrap();
        countdown.tick();
        return;
    }
    let mut kills = 0;
    for step in 0.. {
        let scratch = Scratch::new("rail-kill");
        filesystems(&scratch, &["acme", "birch", "neighbour"]);
        let test = "guard_rail::take::a_guard_rail_is_completed_after_a_kill";
        let ended = killed::run(test, step, scratch.name());
        // All of its snapshots are there, or none.
        let left = GuardRail::find(&scratch, "r").unwrap();
        assert!(left.as_ref().is_none_or(GuardRail::is_whole));
        let rail = take(&scratch, &mut || {}).unwrap();
        assert!(left.is_none_or(|left| left.txg() == rail.txg()));
        assert!(rail.is_whole() && rail.snapshots().iter().all(is_held));
        assert_eq!(GuardRail::list(&scratch).unwrap().len(), 1);
        let neighbour = scratch.child("neighbour").unwrap();
        assert!(!neighbour.snapshot("r").unwrap().exists().unwrap());
        if ended == Ended::Finished {
            break;
        }
        kills += 1;
    }
    assert_eq!(kills, 3);
}

#[test]
fn a_guard_rail_goes_only_by_removal() {
    let scratch = Scratch::new("rail-hold");
    let made = filesystems(&scratch, &["acme", "birch"]);
    let rail = GuardRail::take(
        allowed(Operation::TakeGuardRail),
        &zfs(),
        &made,
        "r",
        &Change::new(),
    )
    .unwrap();
    rail.hold(allowed(Operation::TakeGuardRail)).unwrap();
    let refused = zfs().destroy_snapshots(rail.snapshots()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Held);

    // Somebody else's hold keeps all of them.
    rail.snapshots()[1].hold("backup").unwrap();
    assert_eq!(
        rail.remove(allowed(Operation::RemoveGuardRail))
            .unwrap_err()
            .kind(),
        ErrorKind::Held
    );
    let there = |snapshot: &Snapshot| snapshot.exists().unwrap();
    assert!(rail.snapshots().iter().all(there));
    // What could not be removed is held as before.
    let holds = rail
        .snapshots()
        .iter()
        .map(|snapshot| snapshot.holds().unwrap().len());
    assert_eq!(holds.collect::<Vec<_>>(), [1, 2]);
    rail.snapshots()[1].release("backup").unwrap();
    // One of them is gone.
    rail.snapshots()[1].release("helix-guard-rail").unwrap();
    rail.snapshots()[1].destroy().unwrap();
    assert_eq!(
        rail.hold(allowed(Operation::TakeGuardRail))
            .unwrap_err()
            .kind(),
        ErrorKind::NotFound
    );
    rail.remove(allowed(Operation::RemoveGuardRail)).unwrap();
    assert!(GuardRail::list(&scratch).unwrap().is_empty());
    rail.remove(allowed(Operation::RemoveGuardRail)).unwrap();

    let rail = GuardRail::take(
        allowed(Operation::TakeGuardRail),
        &zfs(),
        &made,
        "r",
        &Change::new(),
    )
    .unwrap();
    let first = &rail.snapshots()[0];
    first.release("helix-guard-rail").unwrap();
    as_user(TENANT, || {
        assert_eq!(
            rail.hold(allowed(Operation::TakeGuardRail))
                .unwrap_err()
                .kind(),
            ErrorKind::PermissionDenied
        );
        assert_eq!(
            rail.remove(allowed(Operation::RemoveGuardRail))
                .unwrap_err()
                .kind(),
            ErrorKind::PermissionDenied
        );
    });
    assert!(rail.snapshots().iter().all(there));
}
