use super::node::{Pair, policy};
use super::sites::{Sites, cap, dataset, fence, files, follow, names, promote, quiet, seen, site};
use crate::support::{Mounted, Scratch, noise, run, zfs_get};
use helix_zfs::Keep;
use helix_zfs::gate::Operation;
use helix_zfs::replica::{Policy, ReplicaError, Role, Site, SnapshotMark};
use helix_zfs::zfs_core::props::PropertySet;
use helix_zfs::zfs_core::send::SendOptions;
use helix_zfs::zfs_core::{CreateOptions, ErrorKind};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The snapshots of a site's data, as the command lists them, oldest first.
fn snapshots(site: &Site) -> Vec<String> {
    let dataset = site.state().unwrap().dataset;
    let list = ["list", "-Hd1", "-tsnapshot", "-oname", "-screatetxg"];
    let list = run("zfs", &[&list[..], &[dataset.as_str()]].concat());
    let shorts = list.lines().map(|line| line.split('@').nth(1).unwrap());
    shorts.map(str::to_owned).collect()
}

/// The node `a` writes and takes a snapshot, which `b` has then. Returns its name.
fn one_more(pair: &mut Pair, file: &str) -> String {
    let before = snapshots(&pair.a.site).pop();
    Mounted::new(&dataset(pair.a.site.data())).write(file, noise(20_000, file.len() as u64));
    pair.until("b has it", |pair| {
        let newest = snapshots(&pair.a.site).pop();
        let fence = pair.a.node.state().fence();
        let acknowledged = fence.and_then(|fence| fence.acknowledged.as_ref());
        newest != before && pair.is_even() && acknowledged.map(|mark| &mark.name) == newest.as_ref()
    });
    snapshots(&pair.a.site).pop().unwrap()
}

/// What the policy does not keep goes, at both nodes; what somebody holds, has cloned or has taken
/// himself stays. One node takes over with the rest, and the other returns by it.
#[test]
fn what_the_policy_does_not_keep_goes_and_the_nodes_still_take_over() {
    let above = ["a", "b"].map(|side| Scratch::new(&format!("rp-keep-{side}")));
    let sites = [site(above[0].name()), site(above[1].name())];
    let folder = tempfile::TempDir::with_prefix("helix-zfs-").unwrap();
    let policy = Policy {
        keep: Some(Keep::new().last(2)),
        ..policy()
    };
    let mut pair = Pair::new(&sites, folder.path(), &policy);
    let data = dataset(sites[0].data());
    data.create(&CreateOptions::filesystem()).unwrap();
    let by_hand = data.snapshot("by-hand").unwrap();
    run("zfs", &["snapshot", by_hand.name().as_str()]);
    pair.until("a begins", |pair| pair.a.node.may_write());
    pair.until("b follows", Pair::is_even);

    let held = one_more(&mut pair, "1");
    let held = data.snapshot(&held).unwrap();
    held.hold("somebody").unwrap();
    let cloned = one_more(&mut pair, "2");
    let cloned = data.snapshot(&cloned).unwrap();
    let clone = above[0].child("clone").unwrap();
    cloned.clone_to(clone.name(), &PropertySet::new()).unwrap();
    let mut taken = Vec::new();
    for file in ["3", "4", "5", "6"] {
        taken.push(one_more(&mut pair, file));
    }
    let expected = |more: &[&str]| -> Vec<String> {
        let newest = taken[2..].iter().map(String::as_str);
        more.iter()
            .copied()
            .chain(newest)
            .map(str::to_owned)
            .collect()
    };
    let at_a = expected(&["by-hand", held.name().short(), cloned.name().short()]);
    let at_b = expected(&["by-hand"]);
    pair.until("the others are gone", |pair| {
        snapshots(&pair.a.site) == at_a && snapshots(&pair.b.site) == at_b
    });
    held.release("somebody").unwrap();
    clone.destroy().unwrap();
    taken.push(one_more(&mut pair, "7"));
    let at_both = ["by-hand", &taken[3], &taken[4]].map(str::to_owned);
    pair.until("these too", |pair| {
        [&pair.a, &pair.b]
            .iter()
            .all(|one| snapshots(&one.site) == at_both)
    });
    pair.cut.store(true, Ordering::Relaxed);
    pair.b_takes_over();
    let base = pair.b.site.state().unwrap().base;
    for file in ["8", "9", "x"] {
        let before = snapshots(&sites[1]).pop();
        Mounted::new(&dataset(sites[1].data())).write(file, noise(20_000, 8));
        for _ in 0..3000 {
            pair.b.turn();
            if snapshots(&sites[1]).pop() != before {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    for _ in 0..3000 {
        pair.b.turn();
        if snapshots(&sites[1]).len() == 4 {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    // The last two, what was acknowledged, and what it was promoted at, which here is the same.
    let guids = pair.b.site.snapshots().unwrap();
    assert!(
        guids.iter().any(|mark| Some(mark.guid) == base),
        "{guids:?}"
    );
    assert_eq!(guids.len(), 4, "{guids:?}");

    pair.cut.store(false, Ordering::Relaxed);
    pair.until("a is a replica", |pair| {
        pair.a.role() == Some(Role::Replica) && pair.is_even()
    });
    assert_eq!(pair.a.site.diverged().unwrap(), []);
    let mut all: Vec<String> = (1..=9).map(|file| file.to_string()).collect();
    all.push("x".to_owned());
    assert_eq!(names(&seen(&sites[0])), all);
    assert_eq!(names(&files(sites[1].data())), all);
}

/// Of all that is said to be dispensable: the newest stays, the snapshot that was promoted, those of
/// other names; and nothing goes without the capability for it, or while the data is nobody's.
#[test]
fn a_site_keeps_what_it_needs_itself() {
    let sites = Sites::plain("rp-prune");
    let (a, b) = (&sites.a, &sites.b);
    let name = |second: u32| format!("helix-replica-2026-01-01T00-00-{second:02}-000Z");
    for second in [1, 2] {
        Sites::write(a, &second.to_string(), &name(second));
        follow(b, a).unwrap();
    }
    let prune = |site: &Site, operation: Operation| {
        let state = site.state().unwrap();
        let list = run(
            "zfs",
            &[
                "list",
                "-Hpd1",
                "-tsnapshot",
                "-oguid,name",
                state.dataset.as_str(),
            ],
        );
        let all: Vec<SnapshotMark> = list
            .lines()
            .map(|line| {
                let (guid, name) = line.split_once('\t').unwrap();
                SnapshotMark {
                    guid: guid.parse().unwrap(),
                    name: name.split_once('@').unwrap().1.to_owned(),
                }
            })
            .collect();
        site.prune(cap(site, operation), &Keep::new(), &all, &mut quiet)
    };
    assert!(matches!(
        prune(b, Operation::Receive),
        Err(ReplicaError::Refused(_))
    ));
    assert_eq!(snapshots(b), [name(1), name(2)]);
    let gone = prune(b, Operation::Retain).unwrap();
    assert_eq!(gone.len(), 1);
    assert_eq!(snapshots(b), [name(2)]);
    assert_eq!(snapshots(a), [name(1), name(2)]);
    // The rest of the chain is what it was.
    assert_eq!(names(&seen(b)), ["1", "2"]);

    fence(a);
    assert!(matches!(
        prune(a, Operation::Retain),
        Err(ReplicaError::Role { .. })
    ));
    promote(b, 2).unwrap();
    // More than a pipe takes.
    Mounted::new(&dataset(b.data())).write("big", noise(1 << 20, 3));
    for (second, short) in [
        (3, name(3)),
        (4, "by-hand".to_owned()),
        (5, name(5)),
        (6, name(6)),
    ] {
        Sites::write(b, &second.to_string(), &short);
    }
    // One that is being sent keeps no other, and is told when there is no other.
    let sent = dataset(b.data()).snapshot(&name(3)).unwrap();
    let sending = sent.send(&SendOptions::full()).unwrap();
    let gone = prune(b, Operation::Retain).unwrap();
    assert_eq!(gone.len(), 1, "{gone:?}");
    let left = [name(2), name(3), "by-hand".to_owned(), name(6)];
    assert_eq!(snapshots(b), left);
    match prune(b, Operation::Retain) {
        Err(ReplicaError::Zfs(error)) => assert_eq!(error.kind(), ErrorKind::Busy),
        other => panic!("{other:?}"),
    }
    drop(sending);
    let gone = prune(b, Operation::Retain).unwrap();
    assert_eq!(gone.len(), 1, "{gone:?}");
    assert_eq!(snapshots(b), [name(2), "by-hand".to_owned(), name(6)]);
    assert_eq!(zfs_get("readonly", b.data().as_str()), "off");
}
