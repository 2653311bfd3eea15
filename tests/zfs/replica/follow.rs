use super::sites::{self, cap, channel, dataset, follow, names, open, seen, survey};
use super::{Sites, quiet};
use crate::support::{Mounted, Scratch, noise, zfs_get};
use helix_zfs::gate::Operation;
use helix_zfs::replica::{Follow, Follower, Lag, Promotion, ReplicaError, SiteRole, Stop};
use std::time::Duration;

#[test]
fn lag_is_what_was_written_since_and_for_how_long() {
    let sites = Sites::encrypted("rp-lag");
    let first = sites.one_behind_the_other();
    let turn = follow(&sites.b, &sites.a).unwrap();
    assert_eq!(turn.lag, Lag::default());
    assert_eq!(turn.epoch, Some(1));
    assert!(turn.outcome.is_none());
    assert_eq!(sites.b.state().unwrap().epoch, 1);

    // What no snapshot has is behind as well.
    let data = Mounted::new(&dataset(sites.a.data()));
    data.write("more", noise(200_000, 3));
    rustix::fs::sync();
    let follower = Follower::new(&sites.b, sites.a.data());
    let lag = follower.lag(channel(&sites.a).unwrap()).unwrap();
    assert!((200_000..2_000_000).contains(&lag.bytes), "{lag:?}");
    assert!(survey(&sites.b, &sites.a).age.is_some());
    drop(data);
    let second = Sites::write(&sites.a, "third", "second");
    let turn = follow(&sites.b, &sites.a).unwrap();
    assert_eq!(turn.snapshot, Some(second.clone()));
    assert_eq!(turn.lag, Lag::default());
    assert_eq!(sites.b.snapshots().unwrap(), [first, second]);
    assert_eq!(names(&seen(&sites.b)), ["first", "more", "third"]);
    // Nothing new, and no snapshot for it.
    let again = sites
        .a
        .snapshot_if_changed(cap(&sites.a, Operation::Snapshot), "none");
    assert_eq!(again.unwrap(), None);
}

#[test]
fn several_replicas_follow_each_from_its_own_base() {
    let sites = Sites::plain("rp-several");
    let third = Scratch::new("rp-several-c");
    let c = sites::site(third.name());
    let first = sites.one_behind_the_other();
    // One is one ahead of the other.
    assert_eq!(follow(&c, &sites.a).unwrap().snapshot, Some(first));
    Sites::write(&sites.a, "second", "second");
    follow(&sites.b, &sites.a).unwrap();
    let data = dataset(sites.a.data());
    for short in ["first", "second"] {
        data.snapshot(short).unwrap().destroy().unwrap();
    }
    let last = Sites::write(&sites.a, "third", "third");
    for site in [&sites.b, &c] {
        let turn = follow(site, &sites.a).unwrap();
        assert_eq!(turn.snapshot, Some(last.clone()));
        assert_eq!(names(&seen(site)), ["first", "second", "third"]);
    }
    assert_eq!(c.snapshots().unwrap().len(), 2);
    assert_eq!(sites.b.snapshots().unwrap().len(), 3);
    // Each has a bookmark of its own, and of the newest snapshot only.
    let bookmarks = data.bookmarks().unwrap();
    let guids: Vec<u64> = bookmarks.iter().map(|mark| mark.guid).collect();
    assert_eq!(guids, [last.guid; 2]);
}

#[test]
fn following_goes_on_until_it_is_stopped() {
    let sites = Sites::plain("rp-run");
    let stop = Stop::new();
    let (sender, turns) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let (b, stop_it) = (sites.b.clone(), stop.clone());
        let source = &sites.a;
        let following = scope.spawn(move || {
            let follower = Follower::new(&b, source.data());
            let capability = cap(&b, Operation::Receive);
            let mut failures = 2;
            follower.run(
                capability,
                Follow::OnChange(Duration::from_millis(20)),
                &stop_it,
                move || {
                    // A source that cannot be reached is tried again.
                    if failures > 0 {
                        failures -= 1;
                        return Err(std::io::ErrorKind::ConnectionRefused.into());
                    }
                    channel(source)
                },
                move |turn| sender.send(turn).unwrap(),
            )
        });
        for _ in 0..2 {
            let error = turns.recv().unwrap().unwrap_err();
            assert!(matches!(error, ReplicaError::Connect { .. }), "{error}");
        }
        for short in ["first", "second", "third"] {
            let mark = Sites::write(&sites.a, short, short);
            let caught_up = turns.iter().find(|turn| {
                let turn = turn.as_ref().unwrap();
                turn.snapshot.as_ref() == Some(&mark)
            });
            assert!(caught_up.is_some());
        }
        stop.stop();
        following.join().unwrap().unwrap();
    });
    assert_eq!(names(&seen(&sites.b)), ["first", "second", "third"]);
}

#[test]
fn a_replica_does_not_follow_who_was_replaced_nor_a_source_follow_anybody() {
    let sites = Sites::plain("rp-stale");
    sites.one_behind_the_other();
    // It has seen a newer source meanwhile.
    let chain = dataset(&sites.b.target().child("chain").unwrap());
    open(&sites.a, 3);
    Sites::write(&sites.a, "second", "second");
    follow(&sites.b, &sites.a).unwrap();
    assert_eq!(zfs_get("helix:replica_epoch", chain.name().as_str()), "3");
    let old = helix_zfs::zfs_core::props::UserProps::new()
        .set("helix:replica_epoch", "2")
        .unwrap();
    dataset(sites.a.data()).set_user(&old).unwrap();
    Sites::write(&sites.a, "third", "third");
    let error = follow(&sites.b, &sites.a).unwrap_err();
    assert!(
        matches!(
            error,
            ReplicaError::StaleSource {
                theirs: 2,
                ours: 3,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(names(&seen(&sites.b)), ["first", "second"]);

    let promotion = Promotion::new(4);
    let capability = cap(&sites.b, Operation::PromoteReplica);
    sites.b.promote(capability, &promotion, &mut quiet).unwrap();
    let error = follow(&sites.b, &sites.a).unwrap_err();
    assert!(
        matches!(
            error,
            ReplicaError::Role {
                role: SiteRole::Promoted,
                ..
            }
        ),
        "{error}"
    );
}
