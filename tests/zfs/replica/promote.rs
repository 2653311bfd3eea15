use super::sites::{
    self, cap, dataset, fence, files, follow, key, names, open, promote, rebuild, seen,
};
use super::{Sites, quiet};
use crate::support::{Mounted, TestPool, zfs_get};
use helix_zfs::gate::Operation;
use helix_zfs::replica::{Promotion, ReplicaError, SiteRole};
use helix_zfs::zfs_core::key::WrappingKey;
use helix_zfs::zfs_core::{CreateOptions, ErrorKind};

#[test]
fn a_replica_takes_over_in_another_pool_and_the_place_goes_back() {
    let (first, second) = (TestPool::new("rp-over-a"), TestPool::new("rp-over-b"));
    let sites = Sites::below(first.name(), second.name());
    sites.begin(&CreateOptions::filesystem());
    there_and_back(&sites);
}

#[test]
fn an_encrypted_replica_takes_over_and_the_place_goes_back() {
    there_and_back(&Sites::encrypted("rp-over"));
}

/// One that was the source once has its key loaded, and the next source changes it.
#[test]
fn a_key_that_the_source_has_changed_is_loaded_in_place_of_the_old_one() {
    let sites = Sites::encrypted("rp-rekeyed");
    let Sites { a, b, .. } = &sites;
    sites.one_behind_the_other();
    dataset(&b.state().unwrap().dataset)
        .load_key(&key())
        .unwrap();
    let changed = WrappingKey::raw(&[0x51; 32]);
    dataset(a.data()).change_key(&changed).unwrap();
    let second = Sites::write(a, "second", "second");
    assert_eq!(follow(b, a).unwrap().snapshot, Some(second.clone()));
    fence(a);
    match promote(b, 2).unwrap_err() {
        ReplicaError::Zfs(error) => assert_eq!(error.kind(), ErrorKind::WrongKey),
        other => panic!("{other}"),
    }
    assert_eq!(b.state().unwrap().role, SiteRole::Replica);
    let capability = cap(b, Operation::PromoteReplica);
    let promotion = Promotion::new(2).key(&changed);
    assert_eq!(
        b.promote(capability, &promotion, &mut quiet).unwrap(),
        second
    );
    Sites::write(b, "third", "third");
}

/// The replica takes over while the source has more; that comes back as a replica, and takes over.
fn there_and_back(sites: &Sites) {
    let Sites { a, b, .. } = sites;
    let mark = sites.one_behind_the_other();
    let lost = Sites::write(a, "never-arrived", "lost");
    Mounted::new(&dataset(a.data())).write("nor-this", "live");

    assert_eq!(promote(b, 2).unwrap(), mark);
    let state = b.state().unwrap();
    assert_eq!((state.role, state.epoch), (SiteRole::Promoted, 2));
    assert_eq!((state.base, state.read_only), (Some(mark.guid), false));
    assert_eq!(state.dataset, *b.data());
    // Again is the same.
    assert_eq!(promote(b, 2).unwrap(), mark);
    // Readers keep what they have.
    assert_eq!(names(&seen(b)), ["first"]);
    let newer = Sites::write(b, "written-after", "after");

    // The old source returns. What is open there is read-only from now on.
    let mounted = Mounted::new(&dataset(a.data()));
    let file = std::fs::File::options()
        .write(true)
        .open(mounted.path("first"))
        .unwrap();
    fence(a);
    let error = std::os::unix::fs::FileExt::write_at(&file, b"x", 0).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    let error = std::fs::write(mounted.path("new"), "x").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    drop(file);
    drop(mounted);
    assert_eq!(a.state().unwrap().role, SiteRole::Fenced);

    let rebuilt = rebuild(a, b, 2).unwrap();
    let kept = rebuilt.diverged.unwrap();
    assert_eq!(a.diverged().unwrap(), std::slice::from_ref(&kept));
    let state = a.state().unwrap();
    assert_eq!((state.role, state.epoch), (SiteRole::Replica, 2));
    assert_eq!(a.snapshots().unwrap(), std::slice::from_ref(&mark));
    // All that only it had is there, with its snapshots.
    let found = files(&kept);
    assert_eq!(names(&found), ["first", "never-arrived", "nor-this"]);
    assert_eq!(zfs_get("readonly", kept.as_str()), "on");
    let snapshot = dataset(&kept).snapshot("lost").unwrap().stat().unwrap();
    assert_eq!(snapshot.guid, lost.guid);

    // Only what is new comes.
    let turn = follow(a, b).unwrap();
    assert_eq!(turn.snapshot, Some(newer.clone()));
    assert_eq!(turn.outcome.unwrap().replicated.len(), 1);
    assert_eq!(names(&seen(a)), ["first", "written-after"]);

    // And back.
    fence(b);
    assert_eq!(promote(a, 3).unwrap(), newer);
    assert_eq!(names(&files(a.data())), ["first", "written-after"]);
    let last = Sites::write(a, "home", "home");
    // Nothing was written since, so that nothing is to be kept.
    assert_eq!(rebuild(b, a, 3).unwrap().diverged, None);
    assert_eq!(follow(b, a).unwrap().snapshot, Some(last));
    assert_eq!(seen(b), files(a.data()));
    assert_eq!(names(&seen(b)), ["first", "home", "written-after"]);
    assert_eq!(files(&kept), found);
}

#[test]
fn what_is_not_verified_is_not_promoted() {
    let sites = Sites::encrypted("rp-tail");
    let Sites { a, b, .. } = &sites;
    let mark = sites.one_behind_the_other();
    let second = Sites::write(a, "second", "second");
    let chain = b.target().child("chain").unwrap();
    // Received, and not verified.
    let by_hand = format!(
        "zfs send -w -i {0}@first {0}@second | zfs receive -u {chain}",
        a.data()
    );
    crate::support::run("sh", &["-c", &by_hand]);
    // Not even when it is the one that must not be lost.
    let key = key();
    let promotion = Promotion::new(2).key(&key).acknowledged(second.guid);
    let capability = cap(b, Operation::PromoteReplica);
    let error = b.promote(capability, &promotion, &mut quiet).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{chain}@second was acknowledged, and is not verified")
    );
    assert_eq!(b.state().unwrap().role, SiteRole::Replica);
    assert_eq!(promote(b, 2).unwrap(), mark);
    assert_eq!(names(&files(b.data())), ["first"]);
    assert!(
        !dataset(b.data())
            .snapshot("second")
            .unwrap()
            .exists()
            .unwrap()
    );
}

#[test]
fn a_source_is_opened_again_and_noted() {
    let sites = Sites::plain("rp-open");
    let a = &sites.a;
    assert_eq!(a.state().unwrap().role, SiteRole::Source);
    fence(a);
    fence(a);
    assert_eq!(zfs_get("readonly", a.data().as_str()), "on");
    assert!(sites::survey(&sites.b, a).role.as_deref() == Some("fenced"));
    open(a, 2);
    let state = a.state().unwrap();
    assert_eq!((state.role, state.epoch), (SiteRole::Source, 2));
    assert_eq!(zfs_get("readonly", a.data().as_str()), "off");
    Sites::write(a, "again", "again");
}
