//! An exhaustive search of all that can happen to a group, within bounds.

mod changes;
mod world;

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use super::super::policy::{Automatic, Policy};
use super::guard::Guard;
use world::{Budget, Change, Rules, World, Wrong};

/// What a search came to.
struct Found {
    states: usize,
    /// How many changes the longest way has.
    changes: usize,
    wrong: Option<(Wrong, Vec<Change>)>,
}

/// A world as one number. Of some million states, two have the same one with a chance of 1 in 10²⁵.
fn fingerprint(world: &World) -> u128 {
    let half = |salt: u64| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        world.hash(&mut hasher);
        u128::from(hasher.finish())
    };
    (half(1) << 64) | half(2)
}

/// Visits every state that can be reached in so many changes, nearest first.
fn search(rules: &Rules, first: World, most: usize) -> Found {
    let mut seen = HashSet::from([fingerprint(&first)]);
    let mut ways: Vec<(usize, Change)> = vec![(0, Change::Time)];
    let mut layer = vec![(0, first)];
    let mut changes = 0;
    while !layer.is_empty() && changes < most {
        changes += 1;
        let mut next = Vec::new();
        for (at, world) in layer {
            let mut wrong = None;
            world.next(rules, &mut |change, result| {
                let result = result.and_then(|world| world.check(rules).map(|()| world));
                match result {
                    Err(found) => {
                        wrong.get_or_insert((found, change));
                    }
                    Ok(mut world) => {
                        world.renumber();
                        if seen.insert(fingerprint(&world)) {
                            ways.push((at, change));
                            next.push((ways.len() - 1, world));
                        }
                    }
                }
            });
            if let Some((found, change)) = wrong {
                let mut way = vec![change];
                let mut at = at;
                while at != 0 {
                    way.push(ways[at].1.clone());
                    at = ways[at].0;
                }
                way.reverse();
                return Found {
                    states: seen.len(),
                    changes,
                    wrong: Some((found, way)),
                };
            }
        }
        layer = next;
    }
    Found {
        states: seen.len(),
        changes,
        wrong: None,
    }
}

fn policy() -> Policy {
    Policy {
        lease: Duration::from_secs(4),
        clock_margin: Duration::from_secs(1),
        ..Policy::default()
    }
}

const NOTHING: Budget = Budget {
    snapshots: 0,
    crashes: 0,
    promotions: 0,
    undos: 0,
    hand_overs: 0,
    rebuilds: 0,
    bad_transfers: 0,
    prunes: 0,
};

/// Nothing goes wrong in so many changes, and the number of states is printed.
fn holds(title: &str, rules: &Rules, budget: Budget, most: usize) {
    let start = Instant::now();
    let found = search(rules, World::new(rules, budget), most);
    println!(
        "{title}: {} states, {} changes, in {:?}",
        found.states,
        found.changes,
        start.elapsed()
    );
    if let Some((wrong, way)) = found.wrong {
        for change in way {
            println!("  {change:?}");
        }
        panic!("{title}: {wrong:?}");
    }
}

/// Without `guard`, the search finds `wrong`.
fn finds(wrong: Wrong, guard: Guard, nodes: usize, budget: Budget) {
    let rules = Rules::new(nodes, policy(), Some(guard));
    let found = search(&rules, World::new(&rules, budget), usize::MAX);
    found.is(wrong, &format!("without {guard:?}"));
}

/// The same where one replica is about to have something acknowledged that the other does not have.
fn loses_what_was_acknowledged(guard: Guard) {
    let mut rules = Rules::new(3, policy(), Some(guard));
    rules.down = Some(2);
    let world = World::with_a_report_on_its_way(&rules, PROMOTED);
    let found = search(&rules, world, usize::MAX);
    found.is(Wrong::LostAcknowledged, &format!("without {guard:?}"));
}

impl Found {
    fn is(self, expected: Wrong, title: &str) {
        let (wrong, way) = self.wrong.expect(title);
        println!(
            "{title}: {wrong:?} after {} changes, {} states",
            way.len(),
            self.states
        );
        assert_eq!(wrong, expected, "{title}: {way:#?}");
    }
}

const PROMOTED: Budget = Budget {
    promotions: 1,
    ..NOTHING
};

const ACKNOWLEDGED: Budget = Budget {
    snapshots: 1,
    ..PROMOTED
};

const PRUNED: Budget = Budget {
    snapshots: 2,
    prunes: 1,
    ..NOTHING
};

const UNDONE: Budget = Budget {
    undos: 1,
    ..PROMOTED
};

/// What is searched: a title, how many nodes, whether they take over by themselves and fall ill, what
/// may happen, and how many changes the quick search makes.
type Search = (&'static str, usize, bool, Budget, usize);

const SEARCHES: [Search; 9] = [
    ("a promotion", 2, false, PROMOTED, 18),
    (
        "a promotion, an acknowledged snapshot and a crash",
        2,
        false,
        Budget {
            crashes: 1,
            ..ACKNOWLEDGED
        },
        13,
    ),
    (
        "a promotion and an undo",
        2,
        false,
        Budget {
            undos: 1,
            rebuilds: 1,
            ..ACKNOWLEDGED
        },
        14,
    ),
    (
        "a hand-over and a crash",
        2,
        false,
        Budget {
            crashes: 1,
            hand_overs: 1,
            ..PROMOTED
        },
        13,
    ),
    (
        "snapshots that are not kept, and a crash",
        2,
        false,
        Budget {
            crashes: 1,
            ..PRUNED
        },
        16,
    ),
    (
        "snapshots that are not kept, and a promotion that is undone",
        2,
        false,
        Budget {
            promotions: 1,
            undos: 1,
            prunes: 2,
            ..PRUNED
        },
        16,
    ),
    (
        "two replicas, of which one takes over",
        3,
        false,
        Budget {
            bad_transfers: 1,
            ..ACKNOWLEDGED
        },
        9,
    ),
    (
        "two replicas that both take over",
        3,
        false,
        Budget {
            promotions: 2,
            ..NOTHING
        },
        10,
    ),
    (
        "a replica that takes over by itself from a source that falls ill, and rebuilds",
        2,
        true,
        Budget {
            snapshots: 1,
            ..NOTHING
        },
        12,
    ),
];

fn all_hold(most: impl Fn(bool, usize) -> usize) {
    for (title, nodes, automatic, budget, changes) in SEARCHES {
        let mut policy = policy();
        if automatic {
            policy.rebuild = true;
            policy.automatic = Some(Automatic {
                unreachable_for: Some(Duration::from_secs(2)),
                unhealthy: true,
            });
        }
        let mut rules = Rules::new(nodes, policy, None);
        rules.sickness = automatic;
        holds(
            title,
            &rules,
            budget,
            most(nodes == 2 && !automatic, changes),
        );
    }
}

/// Lets the search go further: two nodes to the end of all that can happen to them; the others, of
/// which there is no end, half as far again. It takes long: `HELIX_ZFS_MODEL_FURTHER=1 cargo test
/// --release -p helix-zfs --lib model -- --nocapture`.
const FURTHER: &str = "HELIX_ZFS_MODEL_FURTHER";

#[test]
fn nothing_goes_wrong() {
    match std::env::var_os(FURTHER) {
        None => all_hold(|_, changes| changes),
        Some(_) => all_hold(|ends, changes| if ends { usize::MAX } else { changes * 3 / 2 }),
    }
}

#[test]
fn without_its_own_lease_a_source_writes_on() {
    finds(Wrong::TwoWriters, Guard::OwnLease, 2, PROMOTED);
}

#[test]
fn without_waiting_for_the_lease_a_replica_writes_too_soon() {
    finds(Wrong::TwoWriters, Guard::LeaseOver, 2, PROMOTED);
}

#[test]
fn without_the_clock_margin_a_replica_writes_too_soon() {
    finds(Wrong::TwoWriters, Guard::ClockMargin, 2, PROMOTED);
}

#[test]
fn without_a_verified_snapshot_a_replica_takes_over_with_another() {
    finds(Wrong::Unverified, Guard::Verified, 3, PROMOTED);
}

#[test]
fn without_looking_for_what_was_acknowledged_it_is_lost() {
    loses_what_was_acknowledged(Guard::Acknowledged);
}

#[test]
fn without_looking_again_what_was_acknowledged_meanwhile_is_lost() {
    loses_what_was_acknowledged(Guard::SameAcknowledged);
}

#[test]
fn without_counting_replicas_too_few_have_it() {
    finds(Wrong::TooFew, Guard::Enough, 2, ACKNOWLEDGED);
}

#[test]
fn without_the_epoch_of_a_report_too_few_have_it() {
    let rules = Rules::new(3, policy(), Some(Guard::ReportEpoch));
    let found = search(&rules, World::with_an_old_report(&rules), usize::MAX);
    found.is(Wrong::TooFew, "without ReportEpoch");
    let rules = Rules::new(3, policy(), None);
    let found = search(&rules, World::with_an_old_report(&rules), 12);
    assert!(found.wrong.is_none(), "{:?}", found.wrong);
}

#[test]
fn without_looking_for_writes_an_undo_loses_them() {
    finds(Wrong::LostByUndo, Guard::Unwritten, 2, UNDONE);
}

#[test]
fn without_being_read_only_writes_come_after_the_look() {
    finds(Wrong::LostByUndo, Guard::ReadOnlyLook, 2, UNDONE);
}

#[test]
fn without_keeping_newer_ones_a_replica_destroys_what_is_acknowledged() {
    finds(Wrong::Pruned, Guard::KeepsNewer, 2, PRUNED);
}

#[test]
fn without_keeping_reported_ones_a_source_destroys_what_is_acknowledged() {
    finds(Wrong::Pruned, Guard::KeepsReported, 2, PRUNED);
}

#[test]
fn without_forgetting_what_is_gone_a_source_has_it_acknowledged() {
    finds(Wrong::Pruned, Guard::ForgetsPruned, 2, PRUNED);
}

#[test]
fn a_store_that_does_not_compare_makes_two_writers() {
    let mut rules = Rules::new(2, policy(), None);
    rules.compares = false;
    let found = search(&rules, World::new(&rules, PROMOTED), usize::MAX);
    found.is(Wrong::TwoWriters, "a store that does not compare");
}
