//! Every call of the control plane that changes something, with a capability for something else: it is
//! refused, and the kernel saw nothing.

mod midway;

use crate::support::{Scratch, allowed, open_gate, zfs};
use helix_zfs::ephemeral::{Ephemeral, EphemeralClone, EphemeralError, EphemeralSpec, Reaper};
use helix_zfs::gate::{Capability, Operation, Refusal, RefusalReason, Scope};
use helix_zfs::group_commit::{GroupCommit, GroupCommitOptions};
use helix_zfs::layout::{ApplyOptions, DatasetLayout, LayoutError, Plan};
use helix_zfs::quota::{set_owner_object_quota, set_owner_quota, set_properties};
use helix_zfs::replicate::{Job, ReplicateError, Replicator, Source};
use helix_zfs::scope::{ScopeError, TenantSnapshot};
use helix_zfs::zfs_core::history::HistoryEvent;
use helix_zfs::zfs_core::key::{Encryption, WrappingKey};
use helix_zfs::zfs_core::listing::{Listed, Listing};
use helix_zfs::zfs_core::props::{Prop, PropertySet, UserProps};
use helix_zfs::zfs_core::{CreateOptions, Dataset, Owner, Zfs};
use helix_zfs::{
    Change, GuardRail, RailInfo, Retention, RetentionOptions, RollbackError, RollbackOptions,
    Tenant, TenantSpec,
};
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;
use std::time::{Duration, SystemTime};

const KEY: [u8; 32] = [0x47; 32];
const HOUR: Duration = Duration::from_secs(3600);
/// Time enough to be granted, and not more than the other refusals take.
const SHORT: Duration = Duration::from_secs(4);

fn key() -> WrappingKey {
    WrappingKey::raw(&KEY)
}

fn spec(name: &str) -> TenantSpec {
    TenantSpec::new(name, Encryption::aes_256_gcm(&key()).unwrap())
}

/// One of everything that a call can be about, and a neighbour.
struct Place {
    scratch: Scratch,
    acme: Tenant,
    before: TenantSnapshot,
    rail: GuardRail,
    /// Without one that is newer, it would be kept.
    newest: GuardRail,
    area: Dataset,
    expired: EphemeralClone,
    plain: Dataset,
    /// Where what is sent may go.
    elsewhere: Scratch,
}

impl Place {
    fn new() -> Self {
        let scratch = Scratch::new("gate-calls");
        let make = |dataset: Dataset| {
            dataset.create(&CreateOptions::filesystem()).unwrap();
            dataset
        };
        let acme = spec("acme").create(allowed(Operation::CreateTenant), &scratch);
        let acme = acme.unwrap();
        make(acme.at("db").unwrap().dataset().clone());
        let none = PropertySet::new();
        let before = acme.snapshot(allowed(Operation::Snapshot), "before", &UserProps::new());
        let before = before.unwrap();
        let next = acme.staging("next").unwrap();
        next.create(allowed(Operation::Clone), &before, &none, &mut |_| {})
            .unwrap();
        let take = allowed(Operation::TakeGuardRail);
        let rail = GuardRail::take(take, &zfs(), &[&acme], "rail", &Change::new()).unwrap();
        let plain = make(scratch.child("plain").unwrap());
        plain
            .snapshot("s")
            .unwrap()
            .create(&UserProps::new())
            .unwrap();
        let newest = GuardRail::take(take, &zfs(), &[&plain], "newest", &Change::new());
        let newest = newest.unwrap();
        let area = make(scratch.child("area").unwrap());
        make(scratch.child("neighbour").unwrap());
        let spec = EphemeralSpec::new(&area, "me", "a test", HOUR).name("gone");
        let snapshot = plain.snapshot("s").unwrap();
        let made = Ephemeral::create(allowed(Operation::CloneEphemeral), &snapshot, &spec);
        let expired = made.unwrap().keep();
        Self {
            scratch,
            acme,
            before,
            rail,
            newest,
            area,
            expired,
            plain,
            elsewhere: Scratch::new("gate-calls-to"),
        }
    }

    /// What there is, and what it is.
    fn everything(&self) -> Vec<String> {
        let columns = [
            Prop::Guid,
            Prop::CreateTxg,
            Prop::Origin,
            Prop::UserRefs,
            Prop::Clones,
            Prop::KeyStatus,
            Prop::Quota,
        ];
        let all = Listing::new(Listed::all()).properties(columns);
        let rows = self.scratch.list(&all).unwrap();
        rows.map(|row| {
            let row = row.unwrap();
            format!("{} {:?}", row.name(), columns.map(|prop| row.get(prop)))
        })
        .collect()
    }

    /// What the pool's history has of it, but for what the gate wrote.
    fn history(&self) -> Vec<String> {
        let pool = zfs().pool(self.scratch.name().split('/').next().unwrap());
        let pool = pool.unwrap();
        let events = pool.history().map(|record| record.unwrap().event);
        events
            .filter(|event| !matches!(event, HistoryEvent::Command(line) if line.contains("gate:")))
            .map(|event| format!("{event:?}"))
            .filter(|text| text.contains(self.scratch.name()))
            .collect()
    }
}

/// A call, and what it has to be allowed.
struct Call<'p> {
    name: &'static str,
    operation: Operation,
    /// What it gives back when it is refused.
    refused: Box<dyn Fn(&Capability) -> Refusal + 'p>,
}

fn of_zfs<T: std::fmt::Debug>(result: helix_zfs::Result<T>) -> Refusal {
    match result {
        Err(helix_zfs::Error::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

fn of_scope<T: std::fmt::Debug>(result: Result<T, ScopeError>) -> Refusal {
    match result {
        Err(ScopeError::Refused(refusal))
        | Err(ScopeError::Rollback(RollbackError::Refused(refusal))) => refusal,
        other => panic!("{other:?}"),
    }
}

fn of_ephemeral<T>(result: Result<T, EphemeralError>) -> Refusal {
    match result {
        Err(EphemeralError::Refused(refusal)) => refusal,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was done"),
    }
}

fn of_replication<T: std::fmt::Debug>(result: Result<T, ReplicateError>) -> Refusal {
    match &result {
        Err(error) => error.refusal().unwrap_or_else(|| panic!("{error}")).clone(),
        other => panic!("{other:?}"),
    }
}

/// Pulls `plain` with `receive`, served with `send`, and returns what both came to.
fn replicate(
    place: &Place,
    send: &Capability,
    receive: &Capability,
) -> (Result<(), ReplicateError>, Result<(), ReplicateError>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let target = place.elsewhere.child("copy").unwrap();
    let job = Job::new(place.plain.name(), target.name());
    let source = Source::new(&zfs()).offer(place.plain.name());
    std::thread::scope(|scope| {
        let served = scope.spawn(move || source.serve(send, theirs).map(drop));
        let pulled = Replicator::new(&zfs()).pull(receive, ours, &job).map(drop);
        (pulled, served.join().unwrap())
    })
}

fn calls<'p>(place: &'p Place, zfs: &'p Zfs) -> Vec<Call<'p>> {
    let mut calls = Vec::new();
    let mut call = |name, operation, refused: Box<dyn Fn(&Capability) -> Refusal + 'p>| {
        calls.push(Call {
            name,
            operation,
            refused,
        });
    };
    let Place {
        scratch,
        acme,
        before,
        rail,
        newest,
        area,
        expired,
        plain,
        ..
    } = place;
    let none = PropertySet::new;
    let db = || acme.at("db").unwrap();
    let next = || acme.staging("next").unwrap();
    let copy = || scratch.child("copy").unwrap().name().clone();

    call(
        "create a tenant",
        Operation::CreateTenant,
        Box::new(move |may| of_zfs(spec("new").create(may, scratch))),
    );
    call(
        "unlock",
        Operation::LoadKey,
        Box::new(move |may| of_zfs(acme.unlock(may, &key()))),
    );
    call(
        "lock",
        Operation::UnloadKey,
        Box::new(move |may| of_zfs(acme.lock(may))),
    );
    call(
        "snapshot a tenant",
        Operation::Snapshot,
        Box::new(move |may| of_scope(acme.snapshot(may, "new", &UserProps::new()))),
    );
    call(
        "snapshot a dataset",
        Operation::Snapshot,
        Box::new(move |may| of_scope(db().snapshot(may, "new", &UserProps::new()))),
    );
    call(
        "snapshot with others",
        Operation::Snapshot,
        Box::new(move |may| {
            let commits = GroupCommit::new(zfs, GroupCommitOptions::new());
            let name = plain.name().snapshot("new").unwrap();
            of_zfs(commits.snapshot(may, name, UserProps::new()))
        }),
    );
    call(
        "a future's snapshot",
        Operation::Snapshot,
        Box::new(move |may| {
            let commits = GroupCommit::new(zfs, GroupCommitOptions::new());
            let name = plain.name().snapshot("new").unwrap();
            let mut builder = tokio::runtime::Builder::new_current_thread();
            let runtime = builder.enable_time().build().unwrap();
            of_zfs(runtime.block_on(commits.snapshot_async(may, name, UserProps::new())))
        }),
    );
    call(
        "clone",
        Operation::Clone,
        Box::new(move |may| {
            let origin = db().dataset().snapshot("before").unwrap();
            let copy = acme.at("copy").unwrap();
            of_scope(copy.clone_from(may, origin.name(), &none()))
        }),
    );
    call(
        "make a staging",
        Operation::Clone,
        Box::new(move |may| {
            let other = acme.staging("other").unwrap();
            of_scope(other.create(may, before, &none(), &mut |_| {}))
        }),
    );
    call(
        "promote a clone",
        Operation::Promote,
        Box::new(move |may| of_scope(next().at("db").unwrap().promote(may))),
    );
    call(
        "promote a staging",
        Operation::Promote,
        Box::new(move |may| of_scope(next().promote(may))),
    );
    call(
        "destroy a staging",
        Operation::Destroy,
        Box::new(move |may| of_scope(next().destroy(may))),
    );
    call(
        "roll a dataset of a tenant back",
        Operation::RollBack,
        Box::new(move |may| {
            let plan = db().rollback_plan("before").unwrap();
            of_scope(plan.carry_out(may, &RollbackOptions::new(), &mut |_| {}))
        }),
    );
    call(
        "roll back to a guard rail",
        Operation::RollBack,
        Box::new(move |may| {
            let plan = rail.rollback_plan().unwrap();
            match plan.carry_out(may, &RollbackOptions::new().keep("kept"), &mut |_| {}) {
                Err(RollbackError::Refused(refusal)) => refusal,
                other => panic!("{other:?}"),
            }
        }),
    );
    call(
        "take a guard rail",
        Operation::TakeGuardRail,
        Box::new(move |may| of_zfs(GuardRail::take(may, zfs, &[plain], "new", &Change::new()))),
    );
    call(
        "hold a guard rail",
        Operation::TakeGuardRail,
        Box::new(move |may| of_zfs(rail.hold(may))),
    );
    call(
        "remove a guard rail",
        Operation::RemoveGuardRail,
        Box::new(move |may| of_zfs(rail.remove(may))),
    );
    call(
        "retain",
        Operation::Retain,
        Box::new(move |may| {
            let rails: Vec<RailInfo> = [rail, newest].into_iter().map(RailInfo::from).collect();
            let later = SystemTime::now() + HOUR;
            let plan = Retention::default().plan(&rails, later);
            assert_eq!(plan.remove.len(), 1, "{plan:?}");
            let report = plan.carry_out(may, scratch, &RetentionOptions::new(), &mut |_| {});
            let report = report.unwrap();
            assert!(report.removed.is_empty());
            of_zfs(Err::<(), _>(report.stopped.unwrap()))
        }),
    );
    call(
        "an ephemeral clone",
        Operation::CloneEphemeral,
        Box::new(move |may| {
            let spec = EphemeralSpec::new(area, "me", "a test", HOUR).name("new");
            of_ephemeral(Ephemeral::create(may, &plain.snapshot("s").unwrap(), &spec))
        }),
    );
    call(
        "extend a clone",
        Operation::ChangeEphemeral,
        Box::new(move |may| of_ephemeral(expired.clone().extend(may, zfs, HOUR))),
    );
    call(
        "remove a clone",
        Operation::ChangeEphemeral,
        Box::new(move |may| of_ephemeral(expired.remove(may, zfs))),
    );
    call(
        "reap",
        Operation::Reap,
        Box::new(move |may| {
            let plan = Reaper::new(area)
                .plan_at(SystemTime::now() + 2 * HOUR)
                .unwrap();
            let mut reaped = plan.carry_out(may, &mut |_| {});
            of_ephemeral(reaped.pop().expect("an expired clone").result)
        }),
    );
    call(
        "apply a layout",
        Operation::ApplyLayout,
        Box::new(move |may| {
            let applied = laid_out(scratch, zfs).apply(may, zfs, &ApplyOptions::new(), &mut |_| {});
            let applied = applied.unwrap();
            let (_, error) = applied.failures().next().expect("a failure");
            match error {
                LayoutError::Refused(refusal) => refusal.clone(),
                other => panic!("{other}"),
            }
        }),
    );
    call(
        "set properties",
        Operation::SetProperties,
        Box::new(move |may| {
            let quota = PropertySet::new().parse("quota", "1G").unwrap();
            of_zfs(set_properties(may, plain, &quota))
        }),
    );
    call(
        "an owner's quota",
        Operation::SetProperties,
        Box::new(move |may| of_zfs(set_owner_quota(may, plain, &Owner::User(7), Some(1 << 20)))),
    );
    call(
        "an owner's files",
        Operation::SetProperties,
        Box::new(move |may| of_zfs(set_owner_object_quota(may, plain, &Owner::User(7), Some(3)))),
    );
    call(
        "send",
        Operation::Send,
        Box::new(move |may| of_replication(replicate(place, may, allowed(Operation::Receive)).1)),
    );
    call(
        "receive",
        Operation::Receive,
        Box::new(move |may| of_replication(replicate(place, allowed(Operation::Send), may).0)),
    );
    call(
        "receive many",
        Operation::Receive,
        Box::new(move |may| {
            let job = Job::new(plain.name(), &copy());
            let one = NonZeroUsize::MIN;
            let pair = |_: &Job| UnixStream::pair().map(|(ours, _)| ours);
            let mut pulled = Replicator::new(zfs).pull_all(may, &[job], one, pair);
            of_replication(pulled.pop().expect("one result"))
        }),
    );
    call(
        "recover a target",
        Operation::Receive,
        Box::new(move |may| of_replication(Replicator::new(zfs).recover(may, &copy()))),
    );
    calls
}

fn elsewhere_covers(refusal: &Refusal, dataset: &Dataset) -> bool {
    Scope::below(dataset.name()).covers(&refusal.object)
}

/// One more dataset.
fn laid_out(scratch: &Scratch, zfs: &Zfs) -> Plan {
    let (mut layout, devices) = crate::layout::shared(scratch);
    for name in ["laid-out", "laid-out/below"] {
        let name = format!("{}/{name}", scratch.name());
        layout.datasets.insert(name, DatasetLayout::default());
    }
    layout.plan(zfs, &devices).unwrap()
}

#[test]
fn what_a_capability_does_not_cover_is_refused_before_the_kernel_is_asked() {
    let place = Place::new();
    let zfs = zfs();
    let calls = calls(&place, &zfs);
    let gate = open_gate();
    let whole = || {
        Scope::of(&[
            Dataset::name(&place.scratch),
            Dataset::name(&place.elsewhere),
        ])
    };
    // These end while the others are refused.
    let ending: Vec<Capability> = calls
        .iter()
        .map(|call| gate.grant(call.operation, whole(), SHORT))
        .collect();
    let (things, history) = (place.everything(), place.history());

    let neighbour = place.scratch.child("neighbour").unwrap();
    for call in &calls {
        let other = match call.operation {
            Operation::Mount => Operation::Snapshot,
            _ => Operation::Mount,
        };
        let refusal = (call.refused)(&gate.grant(other, whole(), HOUR));
        let expected = RefusalReason::Operation { granted: other };
        assert_eq!(refusal.reason, expected, "{}", call.name);
        assert_eq!(refusal.operation, call.operation, "{}", call.name);

        let elsewhere = Scope::below(neighbour.name());
        let refusal = (call.refused)(&gate.grant(call.operation, elsewhere, HOUR));
        assert_eq!(refusal.reason, RefusalReason::Scope, "{}", call.name);
        assert!(!elsewhere_covers(&refusal, &neighbour), "{}", call.name);
    }
    for (call, ended) in calls.iter().zip(&ending) {
        while SystemTime::now() < ended.expires() {
            std::thread::sleep(Duration::from_millis(50));
        }
        let refusal = (call.refused)(ended);
        let expired = RefusalReason::Expired {
            at: ended.expires(),
        };
        assert_eq!(refusal.reason, expired, "{}", call.name);
    }
    assert_eq!(place.everything(), things);
    assert_eq!(place.history(), history);
}
