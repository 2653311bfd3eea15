//! Tenants as scopes: what can be done within one, and that nothing reaches another.

mod refused;
mod rollback;
mod staging;

use crate::support::{Scratch, allowed, zfs, zfs_get};
use helix_zfs::gate::Operation;
use helix_zfs::scope::{CountLimit, ScopeError, Staging, StagingChange, TenantSnapshot};
use helix_zfs::zfs_core::history::HistoryEvent;
use helix_zfs::zfs_core::key::{Encryption, WrappingKey};
use helix_zfs::zfs_core::listing::{Listed, Listing};
use helix_zfs::zfs_core::props::{Prop, PropertySet, UserProps};
use helix_zfs::zfs_core::{CreateOptions, DatasetKind, ErrorKind};
use helix_zfs::{Step, Tenant, TenantSpec};

const KEY: [u8; 32] = [0x35; 32];

/// Two tenants side by side.
struct Neighbours {
    scratch: Scratch,
    acme: Tenant,
    birch: Tenant,
}

impl Neighbours {
    /// Both with `db` and `db/wal`.
    fn new(topic: &str) -> Self {
        let scratch = Scratch::new(topic);
        let tenant = |name: &str| {
            let tenant = spec(name)
                .create(allowed(Operation::CreateTenant), &scratch)
                .unwrap();
            for path in ["db", "db/wal"] {
                make(&tenant, path);
            }
            tenant
        };
        let (acme, birch) = (tenant("acme"), tenant("birch"));
        Self {
            scratch,
            acme,
            birch,
        }
    }

    /// What there is, and what it is: nothing that is done to it leaves this the same.
    fn everything(&self) -> Vec<String> {
        let columns = [
            Prop::Guid,
            Prop::CreateTxg,
            Prop::Origin,
            Prop::UserRefs,
            Prop::Clones,
        ];
        let all = Listing::new(Listed::all()).properties(columns);
        let all = all.user_property("helix:staging");
        let rows = self.scratch.list(&all).unwrap();
        rows.map(|row| {
            let row = row.unwrap();
            let values = columns.map(|prop| row.get(prop));
            format!("{} {values:?} {:?}", row.name(), row.user("helix:staging"))
        })
        .collect()
    }

    /// What the pool's history has of these two: requests with their arguments, what they changed, and
    /// the lines of programs.
    fn history(&self) -> Vec<HistoryEvent> {
        let scratch = self.scratch.name();
        let is_about = |event: &HistoryEvent| match event {
            HistoryEvent::Command(line) => line.contains(scratch),
            HistoryEvent::Internal {
                dataset: Some((name, _)),
                ..
            } => name.starts_with(scratch),
            HistoryEvent::Request { input, .. } => format!("{input:?}").contains(scratch),
            _ => false,
        };
        let pool = zfs().pool(self.acme.dataset().name().pool()).unwrap();
        let events = pool.history().map(|record| record.unwrap().event);
        events.filter(is_about).collect()
    }

    /// The kernel was asked to change nothing by `action`.
    fn untouched<T>(&self, action: impl FnOnce() -> T) -> T {
        let before = self.history();
        let result = self.unchanged(action);
        assert_eq!(before, self.history());
        result
    }

    /// `action` changed nothing, although the kernel may have been asked.
    fn unchanged<T>(&self, action: impl FnOnce() -> T) -> T {
        let before = self.everything();
        let result = action();
        assert_eq!(before, self.everything());
        result
    }
}

fn spec(name: &str) -> TenantSpec {
    let key = Encryption::aes_256_gcm(&WrappingKey::raw(&KEY)).unwrap();
    TenantSpec::new(name, key)
}

fn make(tenant: &Tenant, path: &str) {
    let options = CreateOptions::filesystem();
    tenant.at(path).unwrap().dataset().create(&options).unwrap();
}

fn snapshot(tenant: &Tenant, name: &str) -> TenantSnapshot {
    tenant
        .snapshot(allowed(Operation::Snapshot), name, &UserProps::new())
        .unwrap()
}

fn staging(tenant: &Tenant, name: &str, of: &TenantSnapshot) -> Staging {
    let staging = tenant.staging(name).unwrap();
    let props = PropertySet::new();
    staging
        .create(allowed(Operation::Clone), of, &props, &mut |_| {})
        .unwrap();
    staging
}

fn paths(snapshot: &TenantSnapshot) -> Vec<&str> {
    let datasets = snapshot.datasets().iter();
    datasets
        .map(|dataset| dataset.path().unwrap_or(""))
        .collect()
}

#[test]
fn everything_is_snapshotted_at_one_moment() {
    let both = Neighbours::new("scope-snapshot");
    let acme = &both.acme;
    let first = snapshot(acme, "first");
    assert_eq!(paths(&first), ["", "db", "db/wal"]);
    staging(acme, "next", &first);

    let props = UserProps::new().set("helix:reason", "a test").unwrap();
    let second = acme
        .snapshot(allowed(Operation::Snapshot), "second", &props)
        .unwrap();
    let everywhere = [
        "",
        "db",
        "db/wal",
        "staging",
        "staging/next",
        "staging/next/db",
        "staging/next/db/wal",
    ];
    assert_eq!(paths(&second), everywhere);
    for snapshot in second.snapshots().unwrap() {
        let name = snapshot.name();
        assert_eq!(zfs_get("createtxg", name), second.txg().to_string());
        assert_eq!(zfs_get("helix:reason", name), "a test");
    }
    let neighbour = both.birch.dataset().snapshot("second").unwrap();
    assert!(!neighbour.exists().unwrap());

    let listed = acme.snapshots().unwrap();
    let names: Vec<_> = listed.iter().map(TenantSnapshot::name).collect();
    assert_eq!(names, ["first", "second"]);
    assert_eq!(paths(&listed[1]), everywhere);
    let found = acme.find_snapshot("first").unwrap();
    assert_eq!((found.txg(), paths(&found)), (first.txg(), paths(&first)));

    let again = acme
        .snapshot(allowed(Operation::Snapshot), "second", &UserProps::new())
        .unwrap_err();
    assert!(matches!(again, ScopeError::Zfs(error) if error.kind() == ErrorKind::AlreadyExists));
    let missing = acme.find_snapshot("third").unwrap_err();
    assert!(matches!(missing, ScopeError::NoSnapshot { .. }));
    let invalid = acme.find_snapshot("a/b").unwrap_err();
    assert!(matches!(invalid, ScopeError::Zfs(error) if error.kind() == ErrorKind::InvalidName));
    // The same name, and not the same moment.
    let late = acme.at("db").unwrap().dataset().snapshot("third").unwrap();
    late.create(&UserProps::new()).unwrap();
    let wal = acme.at("db/wal").unwrap().dataset().snapshot("third");
    wal.unwrap().create(&UserProps::new()).unwrap();
    let apart = acme.find_snapshot("third").unwrap_err();
    assert!(
        matches!(&apart, ScopeError::NotTogether { a, .. } if a == late.name()),
        "{apart}"
    );
}

#[test]
fn a_tenant_within_a_tenant_is_another_one() {
    let both = Neighbours::new("scope-nested");
    let acme = &both.acme;
    let before = snapshot(acme, "before");
    let inner = spec("inner")
        .create(
            allowed(Operation::CreateTenant),
            acme.at("db").unwrap().dataset(),
        )
        .unwrap();
    make(&inner, "deep");
    let inner_snapshot = snapshot(&inner, "inner");
    let is_inner = |error: ScopeError| match &error {
        ScopeError::AnotherTenant { dataset, .. } => dataset == inner.dataset().name(),
        _ => panic!("{error}"),
    };
    both.untouched(|| {
        assert!(is_inner(acme.datasets().unwrap_err()));
        assert!(is_inner(acme.snapshots().unwrap_err()));
        assert!(is_inner(acme.find_snapshot("before").unwrap_err()));
        assert!(is_inner(
            acme.snapshot(allowed(Operation::Snapshot), "s", &UserProps::new())
                .unwrap_err()
        ));
        let staging = acme.staging("s").unwrap();
        let created = staging.create(
            allowed(Operation::Clone),
            &before,
            &PropertySet::new(),
            &mut |_| {},
        );
        assert!(is_inner(created.unwrap_err()));
        // Neither from it nor into it.
        let into = acme.at("db/inner/deep/x").unwrap();
        let origin = before.snapshots().unwrap()[1].name().clone();
        let props = PropertySet::new();
        assert!(is_inner(
            into.clone_from(allowed(Operation::Clone), &origin, &props)
                .unwrap_err()
        ));
        let origin = inner_snapshot.snapshots().unwrap()[1].name().clone();
        let out = acme.at("x").unwrap();
        assert!(is_inner(
            out.clone_from(allowed(Operation::Clone), &origin, &props)
                .unwrap_err()
        ));
        assert!(is_inner(
            acme.at("db/inner/deep")
                .unwrap()
                .promote(allowed(Operation::Promote))
                .unwrap_err()
        ));
    });
    // The inner one is a tenant like any other.
    assert_eq!(inner.datasets().unwrap().len(), 2);
}

#[test]
fn limits_bind_who_may_change_them() {
    let scratch = Scratch::new("scope-limits");
    let acme = spec("acme")
        .quota(64 << 20)
        .reservation(1 << 20)
        .filesystem_limit(5)
        .snapshot_limit(4)
        .create(allowed(Operation::CreateTenant), &scratch)
        .unwrap();
    let name = acme.dataset().name();
    for (property, value) in [
        ("reservation", "1048576"),
        ("filesystem_limit", "5"),
        ("snapshot_limit", "4"),
    ] {
        assert_eq!(zfs_get(property, name), value, "{property}");
    }
    make(&acme, "db");
    let first = snapshot(&acme, "1");
    let alone =
        acme.at("db")
            .unwrap()
            .snapshot(allowed(Operation::Snapshot), "2", &UserProps::new());
    assert_eq!(alone.unwrap().stat().unwrap().kind, DatasetKind::Filesystem);
    acme.root()
        .snapshot(allowed(Operation::Snapshot), "2", &UserProps::new())
        .unwrap();
    let refused = acme
        .snapshot(allowed(Operation::Snapshot), "3", &UserProps::new())
        .unwrap_err();
    let ScopeError::LimitReached {
        dataset,
        limit,
        most,
        wanted,
    } = &refused
    else {
        panic!("{refused}")
    };
    assert_eq!((dataset, *limit), (name, CountLimit::Snapshots));
    assert_eq!((*most, *wanted), (4, 6));
    let db = acme.at("db").unwrap();
    db.snapshot(allowed(Operation::Snapshot), "3", &UserProps::new())
        .unwrap_err();
    // The kernel lets root pass.
    let raw = acme.dataset().snapshot("3").unwrap();
    raw.create(&UserProps::new()).unwrap();
    raw.destroy().unwrap();

    // The area, the root and `db`: four with `db` itself, and two more are too many.
    staging(&acme, "a", &first);
    let refused = acme.staging("b").unwrap();
    let refused = refused.create(
        allowed(Operation::Clone),
        &first,
        &PropertySet::new(),
        &mut |_| {},
    );
    let refused = refused.unwrap_err();
    let filesystems = CountLimit::Filesystems;
    assert!(
        matches!(&refused, ScopeError::LimitReached { limit, wanted: 6, .. } if *limit == filesystems),
        "{refused}"
    );
    let one = acme.at("one").unwrap();
    let origin = first.snapshots().unwrap()[1].name().clone();
    one.clone_from(allowed(Operation::Clone), &origin, &PropertySet::new())
        .unwrap();
    let two = acme.at("two").unwrap();
    let refused = two
        .clone_from(allowed(Operation::Clone), &origin, &PropertySet::new())
        .unwrap_err();
    assert!(
        matches!(refused, ScopeError::LimitReached { .. }),
        "{refused}"
    );
    assert!(!two.dataset().exists().unwrap());
}

/// The names of the changes that were made, in their order.
fn told(changes: &[(bool, StagingChange)]) -> Vec<String> {
    let done = changes.iter().filter(|(done, _)| *done);
    done.map(|(_, change)| change.to_string()).collect()
}

fn keep<'k>(
    changes: &'k mut Vec<(bool, StagingChange)>,
) -> impl FnMut(Step<'_, StagingChange>) + 'k {
    |step| match step {
        Step::Starting(change) => changes.push((false, change.clone())),
        Step::Done(change) => changes.push((true, change.clone())),
        step => panic!("{step}"),
    }
}

fn has_program_clones() -> bool {
    // `zfs.sync.clone` came with 2.4.
    let version = std::fs::read_to_string("/sys/module/zfs/version").unwrap();
    !version.starts_with("2.1") && !version.starts_with("2.3")
}

fn tenant(name: &str) -> Tenant {
    Tenant::from(zfs().dataset(name).unwrap())
}
