use super::Sites;
use super::sites::{dataset, fence, files, follow, names, promote, rebuild, seen, site, survey};
use crate::support::{Scratch, allowed};
use helix_zfs::gate::Operation;
use helix_zfs::replica::{Grants, ReplicaError, Role, SiteRole, Standing};
use helix_zfs::replicate::Problem;

/// A third replica was ahead of the one that took over.
#[test]
fn a_replica_that_is_ahead_of_the_new_source_goes_back_to_what_both_have() {
    let sites = Sites::encrypted("rp-ahead");
    let Sites { a, b, .. } = &sites;
    let third = Scratch::new("rp-ahead-c");
    let c = site(third.name());
    let mark = sites.one_behind_the_other();
    follow(&c, a).unwrap();
    Sites::write(a, "second", "second");
    follow(&c, a).unwrap();
    fence(a);
    promote(b, 2).unwrap();
    let newer = Sites::write(b, "other", "other");
    let error = follow(&c, b).unwrap_err();
    let diverged = matches!(
        &error,
        ReplicaError::Replicate(error) if error.problem() == Problem::Diverged
    );
    assert!(diverged, "{error}");
    assert_eq!(names(&seen(&c)), ["first", "second"]);
    assert_eq!(survey(&c, b).common, Some(mark.guid));

    let kept = rebuild(&c, b, 2).unwrap().diverged.unwrap();
    assert_eq!(follow(&c, b).unwrap().snapshot, Some(newer));
    assert_eq!(names(&seen(&c)), ["first", "other"]);
    assert_eq!(names(&files(&kept)), ["first", "second"]);
    assert_eq!(c.state().unwrap().role, SiteRole::Replica);
    // What was kept is nobody's but the operator's: it can be destroyed.
    let kept = dataset(&kept);
    crate::support::run("zfs", &["destroy", "-r", kept.name().as_str()]);
    assert_eq!(c.diverged().unwrap(), []);
}

/// A promotion leaves the snapshot that it began with. That is not what a later rebuild goes back to.
#[test]
fn a_former_source_that_took_over_once_goes_back_to_the_newest_that_both_have() {
    let sites = Sites::encrypted("rp-again");
    let Sites { a, b, .. } = &sites;
    sites.one_behind_the_other();
    fence(a);
    promote(b, 2).unwrap();
    Sites::write(b, "second", "second");
    rebuild(a, b, 2).unwrap();
    let second = follow(a, b).unwrap().snapshot;
    fence(b);
    promote(a, 3).unwrap();
    let third = Sites::write(a, "third", "third");

    // As a node does it.
    let rebuilding = Standing {
        role: Role::Rebuilding,
        epoch: 3,
    };
    let grants = Grants {
        receive: allowed(Operation::Receive),
        promote: allowed(Operation::PromoteReplica),
        rebuild: allowed(Operation::RebuildReplica),
        snapshot: allowed(Operation::Snapshot),
        retain: None,
    };
    b.assume(grants, rebuilding, false, None, &mut |_| {})
        .unwrap();
    let common = survey(b, a).common;
    assert_eq!(common, second.map(|mark| mark.guid));
    assert_eq!(rebuild(b, a, 3).unwrap().diverged, None);
    assert_eq!(follow(b, a).unwrap().snapshot, Some(third));
    assert_eq!(names(&seen(b)), ["first", "second", "third"]);
}
