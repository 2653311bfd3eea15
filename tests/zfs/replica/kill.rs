//! Processes that die between any two changes.

use super::sites::{cap, dataset, files, follow, key, names, open, promote, rebuild, site, undo};
use super::{Sites, quiet};
use crate::support::killed::{self, Ended};
use crate::support::{Mounted, Scratch, run};
use helix_zfs::Step;
use helix_zfs::gate::Operation;
use helix_zfs::replica::{Promotion, ReplicaChange, SiteRole};
use helix_zfs::zfs_core::props::UserProps;

/// An observer that counts before each change: after one is before the next.
fn counting(countdown: &mut killed::Countdown) -> impl FnMut(Step<'_, ReplicaChange>) + '_ {
    |step| {
        if matches!(step, Step::Starting(_)) {
            countdown.tick();
        }
    }
}

#[test]
fn a_promotion_and_its_undo_go_on_after_a_kill() {
    if let Some(mut countdown) = killed::in_the_process() {
        let b = site(&killed::argument());
        let capability = cap(&b, Operation::PromoteReplica);
        let key = key();
        let state = b.state().unwrap();
        let mut observe = counting(&mut countdown);
        if state.role == SiteRole::Replica {
            let promotion = Promotion::new(state.epoch + 1).key(&key);
            b.promote(capability, &promotion, &mut observe).unwrap();
        } else {
            b.undo(capability, state.epoch, &mut observe).unwrap();
        }
        return;
    }
    let sites = Sites::plain("rp-kill");
    let Sites { a, b, .. } = &sites;
    let mark = sites.one_behind_the_other();
    let above = b.data().parent().unwrap();
    let child = |step| {
        let name = "replica::kill::a_promotion_and_its_undo_go_on_after_a_kill";
        killed::run(name, step, above.as_str())
    };
    // What it is while nobody has finished it: never writable, unless it is done.
    let is_safe = || {
        let state = b.state().unwrap();
        let writable = matches!(state.role, SiteRole::Promoted) && state.epoch > 1;
        assert!(state.read_only || writable, "{state:?}");
    };
    let mut ended = Ended::Killed;
    for step in 0.. {
        if ended == Ended::Finished {
            break;
        }
        ended = child(step);
        is_safe();
        // A node that starts again looks at what it could take over with.
        let candidate = b.candidate(Some(&mark)).unwrap();
        assert_eq!(candidate.verified.as_ref(), Some(&mark));
        assert!(candidate.has_acknowledged);
        if b.state().unwrap().role == SiteRole::Promoting && step % 2 == 1 {
            // Taken back rather than finished, and made again.
            let capability = cap(b, Operation::PromoteReplica);
            b.withdraw(capability, &mut quiet).unwrap();
            assert_eq!(b.state().unwrap().role, SiteRole::Replica);
            assert!(follow(b, a).is_ok() || b.state().unwrap().epoch > 1);
        }
        let epoch = b.state().unwrap().epoch + 1;
        match b.state().unwrap().role {
            SiteRole::Promoted => {}
            _ => assert_eq!(promote(b, epoch).unwrap(), mark),
        }
        let state = b.state().unwrap();
        assert_eq!((state.role, state.read_only), (SiteRole::Promoted, false));
        if child(step) == Ended::Killed {
            is_safe();
        }
        let state = b.state().unwrap();
        if state.role != SiteRole::Replica {
            undo(b, state.epoch).unwrap();
        }
        let state = b.state().unwrap();
        assert_eq!((state.role, state.read_only), (SiteRole::Replica, true));
        assert!(!dataset(b.data()).exists().unwrap());
    }
    // It is a replica as it was.
    open(a, b.state().unwrap().epoch + 1);
    let mark = Sites::write(a, "second", "second");
    assert_eq!(follow(b, a).unwrap().snapshot, Some(mark));
    assert_eq!(names(&super::sites::seen(b)), ["first", "second"]);
}

#[test]
fn a_rebuild_goes_on_after_a_kill_and_loses_nothing() {
    if let Some(mut countdown) = killed::in_the_process() {
        let argument = killed::argument();
        let (above, common) = argument.split_once(' ').unwrap();
        let a = site(above);
        let capability = cap(&a, Operation::RebuildReplica);
        let common = common.parse().unwrap();
        a.rebuild(capability, Some(common), 2, &mut counting(&mut countdown))
            .unwrap();
        return;
    }
    // Former sources that each have what the new one has not.
    let sites = Sites::plain("rp-kill-rebuild");
    let Sites { a, b, .. } = &sites;
    let mark = sites.one_behind_the_other();
    promote(b, 2).unwrap();
    let newer = Sites::write(b, "newer", "newer");
    for step in 0.. {
        let above = Scratch::new("rp-kill-former");
        let former = site(above.name());
        let copy = format!(
            "zfs send {}@first | zfs receive -u {}",
            a.data(),
            former.data()
        );
        run("sh", &["-c", &copy]);
        open(&former, 1);
        let data = dataset(former.data());
        Mounted::new(&data).write("only-here", "kept");
        let snapshot = data.snapshot("mine").unwrap();
        snapshot.create(&UserProps::new()).unwrap();

        let argument = format!("{} {}", above.name(), mark.guid);
        let name = "replica::kill::a_rebuild_goes_on_after_a_kill_and_loses_nothing";
        let ended = killed::run(name, step, &argument);
        let state = former.state().unwrap();
        let begun = state.role != SiteRole::Source;
        assert!(state.read_only || !begun, "{state:?}");
        if ended == Ended::Killed {
            rebuild(&former, b, 2).unwrap();
        }
        let kept = former.diverged().unwrap();
        assert_eq!(kept.len(), 1, "after step {step}");
        assert!(
            dataset(&kept[0])
                .snapshot("mine")
                .unwrap()
                .exists()
                .unwrap()
        );
        assert_eq!(former.snapshots().unwrap(), std::slice::from_ref(&mark));
        let state = former.state().unwrap();
        assert_eq!((state.role, state.epoch), (SiteRole::Replica, 2));
        if ended == Ended::Finished {
            assert_eq!(names(&files(&kept[0])), ["first", "only-here"]);
            assert_eq!(follow(&former, b).unwrap().snapshot, Some(newer));
            assert_eq!(names(&super::sites::seen(&former)), ["first", "newer"]);
            break;
        }
    }
}
