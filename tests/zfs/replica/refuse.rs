use super::sites::{cap, dataset, follow, key, open, promote, rebuild, site, survey};
use super::{Sites, quiet};
use crate::support::{Scratch, zfs_get};
use helix_zfs::gate::Operation;
use helix_zfs::replica::{Promotion, ReplicaError, SiteRole};
use helix_zfs::replicate::Problem;
use helix_zfs::zfs_core::ErrorKind;
use helix_zfs::zfs_core::props::ReadOnly;

/// Promotes, and expects that it does not go.
fn refused(sites: &Sites, promotion: &Promotion<'_>) -> ReplicaError {
    let b = &sites.b;
    let before = b.state().unwrap();
    let capability = cap(b, Operation::PromoteReplica);
    let error = b.promote(capability, promotion, &mut quiet).unwrap_err();
    assert_eq!(b.state().unwrap(), before, "{error}");
    error
}

#[test]
fn no_promotion_without_what_it_needs() {
    let sites = Sites::encrypted("rp-needs");
    let b = &sites.b;
    let error = refused(&sites, &Promotion::new(2));
    assert!(
        matches!(
            error,
            ReplicaError::Role {
                role: SiteRole::Absent,
                ..
            }
        ),
        "{error}"
    );
    let mark = sites.one_behind_the_other();

    let error = refused(&sites, &Promotion::new(0));
    assert!(
        matches!(
            error,
            ReplicaError::Superseded {
                seen: 1,
                epoch: 0,
                ..
            }
        ),
        "{error}"
    );
    let missing = Promotion::new(2).acknowledged(mark.guid ^ 1);
    let error = refused(&sites, &missing);
    assert!(
        matches!(error, ReplicaError::MissesAcknowledged { .. }),
        "{error}"
    );
    let error = refused(&sites, &Promotion::new(2).acknowledged(mark.guid));
    assert!(matches!(error, ReplicaError::KeyNeeded { .. }), "{error}");
    let wrong = helix_zfs::zfs_core::key::WrappingKey::raw(&[1; 32]);
    let error = refused(&sites, &Promotion::new(2).key(&wrong));
    assert!(
        matches!(&error, ReplicaError::Zfs(error) if error.kind() == ErrorKind::WrongKey),
        "{error}"
    );
    // Somebody's dataset is where the data is to be.
    let other = dataset(b.data());
    other
        .create(&helix_zfs::zfs_core::CreateOptions::filesystem())
        .unwrap();
    let key = key();
    let error = refused(&sites, &Promotion::new(2).key(&key));
    assert!(matches!(error, ReplicaError::Ambiguous { .. }), "{error}");
    other.destroy().unwrap();

    // Somebody took the mark of verification away: nothing is verified.
    let chain = dataset(&b.target().child("chain").unwrap());
    let verified = zfs_get("helix:verified", format!("{}@first", chain.name()));
    crate::support::run(
        "zfs",
        &[
            "inherit",
            "helix:verified",
            &format!("{}@first", chain.name()),
        ],
    );
    let error = refused(&sites, &Promotion::new(2).key(&key));
    assert!(
        matches!(error, ReplicaError::NothingVerified { .. }),
        "{error}"
    );
    let mark_again = format!("helix:verified={verified}");
    crate::support::run(
        "zfs",
        &["set", &mark_again, &format!("{}@first", chain.name())],
    );

    // The fence went to somebody else at the last moment.
    let gone = || false;
    let lost = Promotion::new(2).key(&key).confirm(&gone);
    let capability = cap(b, Operation::PromoteReplica);
    let error = b.promote(capability, &lost, &mut quiet).unwrap_err();
    assert!(matches!(error, ReplicaError::FenceLost { .. }), "{error}");
    let state = b.state().unwrap();
    assert_eq!((state.role, state.read_only), (SiteRole::Replica, true));
    Sites::write(&sites.a, "second", "second");
    open(&sites.a, 3);
    assert!(follow(b, &sites.a).is_ok());
}

#[test]
fn what_somebody_wrote_into_a_chain_is_not_promoted() {
    let sites = Sites::plain("rp-tampered");
    let b = &sites.b;
    sites.one_behind_the_other();
    let chain = dataset(&b.target().child("chain").unwrap());
    chain.set(ReadOnly(false)).unwrap();
    crate::support::Mounted::new(&chain).write("planted", "x");
    rustix::fs::sync();
    let error = refused(&sites, &Promotion::new(2));
    assert!(matches!(error, ReplicaError::Written { .. }), "{error}");
}

#[test]
fn a_target_that_was_promoted_takes_nothing() {
    let sites = Sites::plain("rp-barred");
    let Sites { a, b, .. } = &sites;
    sites.one_behind_the_other();
    promote(b, 2).unwrap();
    let job = helix_zfs::replicate::Job::new(a.data(), b.target());
    let replicator = helix_zfs::replicate::Replicator::new(&crate::support::zfs());
    let capability = cap(b, Operation::Receive);
    let channel = super::sites::channel(a).unwrap();
    let error = replicator.pull(capability, channel, &job).unwrap_err();
    assert_eq!(error.problem(), Problem::TargetModified);
    assert!(error.detail().contains("promoted"), "{error}");
    // Nor is the source of an epoch rebuilt from anybody in it.
    let error = rebuild(b, a, 2).unwrap_err();
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

#[test]
fn without_a_common_snapshot_nothing_is_changed_and_all_can_come_anew() {
    let sites = Sites::plain("rp-nothing-common");
    let Sites { a, b, .. } = &sites;
    sites.one_behind_the_other();
    let other = Scratch::new("rp-nothing-common-c");
    let c = site(other.name());
    dataset(c.data())
        .create(&helix_zfs::zfs_core::CreateOptions::filesystem())
        .unwrap();
    open(&c, 2);
    let mark = Sites::write(&c, "theirs", "theirs");
    assert_eq!(survey(b, &c).common, None);
    let before = b.state().unwrap();
    let capability = cap(b, Operation::RebuildReplica);
    let error = b.rebuild(capability, Some(7), 2, &mut quiet).unwrap_err();
    assert!(
        matches!(error, ReplicaError::NoCommonBase { .. }),
        "{error}"
    );
    assert_eq!(b.state().unwrap(), before);
    let kept = b.rebuild(capability, None, 2, &mut quiet).unwrap();
    let kept = kept.diverged.unwrap();
    assert_eq!(follow(b, &c).unwrap().snapshot, Some(mark));
    assert_eq!(super::sites::names(&super::sites::files(&kept)), ["first"]);
    assert_eq!(super::sites::names(&super::sites::seen(b)), ["theirs"]);
    let _ = a;
}
