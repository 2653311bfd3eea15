//! How much can be written, and which limit binds.

use crate::support::{Mounted, Scratch, TENANT, TestPool, as_user, noise, run, zfs, zfs_get};
use helix_zfs::quota::{Fit, Forecast, Limit, Room, Thresholds, WatchEvent, Watcher};
use helix_zfs::zfs_core::props::{
    DefaultUserQuota, FilesystemLimit, Prop, Quota, RefQuota, RefReservation, Reservation,
    SnapshotLimit, UserProps,
};
use helix_zfs::zfs_core::{CreateOptions, Dataset, ErrorKind, Owner, SyncMode};
use helix_zfs::{QuotaState, Tenant};
use std::os::unix::fs::chown;
use std::path::Path;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

fn sync(dataset: &Dataset) {
    let pool = zfs().pool(dataset.name().pool()).unwrap();
    pool.sync(SyncMode::Pending).unwrap();
}

fn made(dataset: Dataset) -> Dataset {
    dataset.create(&CreateOptions::filesystem()).unwrap();
    dataset
}

fn quota_of(dataset: &Dataset) -> Limit {
    let dataset = dataset.name().clone();
    Limit::Quota { dataset }
}

/// The room of a quiet dataset, which is what the command prints.
fn room(dataset: &Dataset) -> Room {
    let room = Room::of(dataset).unwrap();
    let available = zfs_get("available", dataset.name());
    assert_eq!(room.available().to_string(), available, "{room:#?}");
    room
}

/// The shared pool's own figure changes with what other tests do.
fn pool_of_its_own() -> TestPool {
    TestPool::new("room")
}

#[test]
fn every_limit_of_the_path_counts() {
    let pool = pool_of_its_own();
    let root = pool.root();
    let above = made(root.child("above").unwrap());
    let dataset = made(above.child("dataset").unwrap());
    let beside = made(above.child("beside").unwrap());
    sync(&root);
    let of_pool = room(&dataset);
    assert_eq!(of_pool.limit(), &Limit::Pool);
    assert_eq!(of_pool.used().to_string(), zfs_get("used", root.name()));
    let path: Vec<_> = of_pool.path().iter().map(|level| &level.dataset).collect();
    assert_eq!(path, [dataset.name(), above.name(), root.name()]);
    assert_eq!(room(&root).limit(), &Limit::Pool);

    // What others reserve is not there for this one, and what it reserves is.
    root.child("other")
        .map(made)
        .unwrap()
        .set(Reservation(8 * MIB))
        .unwrap();
    sync(&root);
    let less = room(&dataset);
    assert_eq!(less.limit(), &Limit::Pool);
    assert!(less.available() < of_pool.available() - 7 * MIB);

    root.set(Quota(32 * MIB)).unwrap();
    assert_eq!(room(&dataset).limit(), &quota_of(&root));
    assert_eq!(room(&root).limit(), &quota_of(&root));
    above.set(Quota(16 * MIB)).unwrap();
    assert_eq!(room(&dataset).limit(), &quota_of(&above));
    beside.set(Reservation(6 * MIB)).unwrap();
    sync(&root);
    let squeezed = room(&dataset);
    assert_eq!(squeezed.limit(), &quota_of(&above));
    assert!(squeezed.available() <= 10 * MIB);
    // The sibling can have what it reserved, and the rest of the quota.
    assert!(room(&beside).available() > squeezed.available());
    dataset.set(Quota(4 * MIB)).unwrap();
    assert_eq!(room(&dataset).limit(), &quota_of(&dataset));
    dataset.set(RefQuota(3 * MIB)).unwrap();
    assert_eq!(room(&dataset).limit(), &Limit::RefQuota);
    let all: Vec<_> = room(&dataset)
        .bounds()
        .iter()
        .map(|b| b.limit.clone())
        .collect();
    assert_eq!(all.len(), 5);
    assert_eq!(all.last(), Some(&Limit::Pool));

    // Reservations of its own, which are there whatever the path above has left.
    dataset.set(Quota::NONE).unwrap();
    dataset.set(RefQuota::NONE).unwrap();
    dataset.set(Reservation(9 * MIB)).unwrap();
    sync(&root);
    room(&dataset);
    above.set(Quota::NONE).unwrap();
    root.set(RefReservation(2 * MIB)).unwrap();
    dataset.set(RefReservation(5 * MIB)).unwrap();
    sync(&root);
    room(&dataset);
    room(&root);
    room(&beside);
    root.set(RefQuota(3 * MIB)).unwrap();
    assert_eq!(room(&root).limit(), &Limit::RefQuota);
    room(&dataset);
    let volume = format!("{}/volume", above.name());
    run("zfs", &["create", "-V", "1M", &volume]);
    sync(&root);
    room(&zfs().dataset(&volume).unwrap());

    let missing = root.child("missing").unwrap();
    let error = Room::of(&missing).unwrap_err();
    assert_eq!(
        (error.kind(), error.object()),
        (ErrorKind::NotFound, missing.name().as_str())
    );
}

#[test]
fn headroom_is_what_the_kernel_leaves() {
    let scratch = Scratch::new("headroom");
    let dataset = made(scratch.child("acme").unwrap());
    dataset.set(Quota(4 * MIB)).unwrap();
    let tenant = Tenant::from(dataset.clone());
    let mounted = Mounted::new(&dataset);
    mounted.write("a", noise(1536 << 10, 1));
    sync(&dataset);
    let headroom = tenant.headroom().unwrap();
    // The pool's own figures change with what other tests do.
    let again = room(&dataset);
    assert_eq!(
        (headroom.limit(), headroom.used(), headroom.available()),
        (again.limit(), again.used(), again.available())
    );
    assert_eq!(headroom.limit(), &quota_of(&dataset));
    assert_eq!(headroom.used().to_string(), zfs_get("used", dataset.name()));
    assert_eq!(headroom.state(80), QuotaState::Ok);
    assert_eq!(headroom.state(headroom.percent()), QuotaState::Near);

    dataset.set(RefQuota(2 * MIB)).unwrap();
    let headroom = room(&dataset);
    assert_eq!(headroom.limit(), &Limit::RefQuota);
    assert_eq!(headroom.state(75), QuotaState::Near);
}

/// Writes until the kernel says that there is no room, in files of one record.
fn fill(dataset: &Dataset, mounted: &Mounted, owner: Option<u32>) -> (u64, std::io::Error) {
    const CHUNK: usize = 128 << 10;
    let mut written = 0;
    for n in 0.. {
        let chunk = noise(CHUNK, n + 1);
        let path = mounted.path("filling");
        if let Err(error) = append(&path, &chunk, owner) {
            return (written, error);
        }
        written += CHUNK as u64;
        // Every record is weighed by what the ones before it came to.
        sync(dataset);
        assert!(written < 64 * MIB, "never full");
    }
    unreachable!("a range without end")
}

fn append(path: &Path, bytes: &[u8], owner: Option<u32>) -> std::io::Result<()> {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)?;
    if owner.is_some() {
        chown(path, owner, owner)?;
    }
    file.write_all(bytes)?;
    Ok(())
}

/// What fits by our answer fits, and little more than what there is room for is ever written.
fn agrees(room: &Room, written: u64) {
    let surely = (0..).map(|n| n * 128 * KIB);
    let surely = surely
        .take_while(|&bytes| room.would_fit(bytes) == Fit::Yes)
        .last()
        .unwrap();
    let said = format!(
        "{}: room for {} bytes, {surely} surely, {written} written, {}",
        room.dataset(),
        room.available(),
        room.limit()
    );
    assert!(written >= surely, "{said}");
    assert!(written <= room.available() + 256 * KIB, "{said}");
}

#[test]
fn what_fits_is_what_can_be_written() {
    let scratch = Scratch::new("fits");
    // Its own quota, that of the one above, and the data alone.
    for (n, limit) in ["quota", "above", "refquota"].into_iter().enumerate() {
        let above = made(scratch.child(&format!("above{n}")).unwrap());
        let dataset = made(above.child("dataset").unwrap());
        match limit {
            "quota" => dataset.set(Quota(3 * MIB)).unwrap(),
            "above" => above.set(Quota(3 * MIB)).unwrap(),
            _ => dataset.set(RefQuota(3 * MIB)).unwrap(),
        }
        let mounted = Mounted::new(&dataset);
        sync(&dataset);
        let room = room(&dataset);
        assert_eq!(
            room.would_fit(7 * MIB),
            Fit::No {
                limit: room.limit().clone(),
                missing: 7 * MIB - room.available(),
            }
        );
        let tight = room.would_fit(room.available());
        assert_eq!(
            tight,
            Fit::Tight {
                limit: room.limit().clone()
            }
        );
        let refused = room.require(3 * MIB).unwrap_err();
        assert_eq!(&refused.limit, room.limit());
        room.require(MIB).unwrap();
        let (written, error) = fill(&dataset, &mounted, None);
        assert_eq!(error.kind(), std::io::ErrorKind::QuotaExceeded);
        agrees(&room, written);
        let full = Room::of(&dataset).unwrap();
        assert_eq!((full.available(), full.percent()), (0, 100));
        assert_eq!(full.state(100), QuotaState::Exceeded);
        assert_eq!(full.limit(), room.limit());
    }
}

#[test]
fn a_full_pool_is_told_before() {
    let pool = pool_of_its_own();
    let dataset = made(pool.root().child("dataset").unwrap());
    // What the pool keeps for itself is more than a small pool's data.
    let left = Room::of(&dataset).unwrap().available();
    let other = made(pool.root().child("other").unwrap());
    other.set(Reservation(left - 3 * MIB)).unwrap();
    let mounted = Mounted::new(&dataset);
    sync(&dataset);
    let room = room(&dataset);
    assert_eq!(room.limit(), &Limit::Pool);
    let (written, error) = fill(&dataset, &mounted, None);
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    agrees(&room, written);
    assert_eq!(Room::of(&dataset).unwrap().state(99), QuotaState::Exceeded);
}

#[test]
fn owners_have_limits_too() {
    let scratch = Scratch::new("owners");
    let mounted = Mounted::new(&scratch);
    let user = Owner::User(TENANT);
    let group = Owner::Group(TENANT);
    append(
        &mounted.path("filling"),
        &noise(512 << 10, 99),
        Some(TENANT),
    )
    .unwrap();
    sync(&scratch);
    let unlimited = Room::for_owners(&scratch, &[user.clone(), group.clone()]).unwrap();
    assert_eq!(unlimited.limit(), &Limit::Pool);
    assert_eq!(unlimited.bounds().len(), 1);
    assert_eq!(unlimited.files_left(), None);

    scratch.set_owner_quota(&user, Some(2 * MIB)).unwrap();
    scratch.set_owner_quota(&group, Some(8 * MIB)).unwrap();
    scratch.set_owner_object_quota(&user, Some(10)).unwrap();
    let room = Room::for_owners(&scratch, &[group.clone(), user.clone()]).unwrap();
    let owner = user.clone();
    assert_eq!(room.limit(), &Limit::Owner { owner });
    assert_eq!(
        room.used().to_string(),
        zfs_get("userused@1000", scratch.name())
    );
    assert_eq!(room.available(), 2 * MIB - room.used());
    assert_eq!(room.bounds()[1].limit, Limit::Owner { owner: group });
    assert_eq!(room.files_left(), Some(9));
    assert_eq!(Room::of(&scratch).unwrap().limit(), &Limit::Pool);

    let (written, error) = fill(&scratch, &mounted, Some(TENANT));
    assert_eq!(error.kind(), std::io::ErrorKind::QuotaExceeded);
    agrees(&room, written);
    let full = Room::for_owners(&scratch, std::slice::from_ref(&user)).unwrap();
    assert_eq!(full.state(100), QuotaState::Exceeded);

    // Anybody is told of himself, and of nobody else.
    let others = [Owner::User(2000)];
    as_user(TENANT, || {
        let own = Room::for_owners(&scratch, std::slice::from_ref(&user)).unwrap();
        assert_eq!(own.limit(), full.limit());
        let error = Room::for_owners(&scratch, &others).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    });

    let volume = format!("{}/volume", scratch.name());
    run("zfs", &["create", "-V", "1M", &volume]);
    let volume = zfs().dataset(&volume).unwrap();
    assert_eq!(Room::of(&volume).unwrap().state(80), QuotaState::Ok);
    let error = Room::for_owners(&volume, &others).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongKind);
}

#[test]
fn default_quotas_are_for_who_has_none() {
    let scratch = Scratch::new("defaults");
    let files = scratch.file_properties().unwrap();
    let knows = files.get(Prop::DefaultUserQuota).is_some();
    let user = [Owner::User(TENANT)];
    if !knows {
        // Before ZFS 2.4 there are none, and nothing is made up.
        let error = scratch.set(DefaultUserQuota(MIB)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidProperty);
        let room = Room::for_owners(&scratch, &user).unwrap();
        assert_eq!(room.limit(), &Limit::Pool);
        return;
    }
    scratch.set(DefaultUserQuota(2 * MIB)).unwrap();
    let [owner] = user.clone();
    let room = Room::for_owners(&scratch, &user).unwrap();
    assert_eq!(
        room.limit(),
        &Limit::Owner {
            owner: owner.clone()
        }
    );
    assert_eq!(room.available(), 2 * MIB);
    scratch.set_owner_quota(&owner, Some(3 * MIB)).unwrap();
    let room = Room::for_owners(&scratch, &user).unwrap();
    assert_eq!(room.available(), 3 * MIB);
}

#[test]
fn snapshots_and_filesystems_are_counted() {
    let scratch = Scratch::new("counts");
    let above = made(scratch.child("above").unwrap());
    let dataset = made(above.child("dataset").unwrap());
    let room = Room::of(&dataset).unwrap();
    assert_eq!((room.snapshots(), room.filesystems()), (None, None));
    above.set(SnapshotLimit(5)).unwrap();
    dataset.set(SnapshotLimit(4)).unwrap();
    above.set(FilesystemLimit(3)).unwrap();
    for (dataset, name) in [(&dataset, "a"), (&above, "a"), (&above, "b")] {
        let snapshot = dataset.snapshot(name).unwrap();
        snapshot.create(&UserProps::new()).unwrap();
    }
    let room = Room::of(&dataset).unwrap();
    let count = room.snapshots().unwrap();
    assert_eq!(
        (&count.dataset, count.limit, count.count, count.left()),
        (above.name(), 5, 3, 2)
    );
    let count = room.filesystems().unwrap();
    assert_eq!(
        (&count.dataset, count.limit, count.count, count.left()),
        (above.name(), 3, 1, 2)
    );
}

#[test]
fn a_watcher_tells_what_changes() {
    let scratch = Scratch::new("watch");
    let dataset = made(scratch.child("dataset").unwrap());
    let gone = scratch.child("gone").unwrap();
    dataset.set(Quota(4 * MIB)).unwrap();
    let mounted = Mounted::new(&dataset);
    sync(&dataset);
    let mut watcher = Watcher::new(Thresholds::new(&[40, 75]).unwrap());
    watcher.watch(dataset.clone());
    watcher.watch(dataset.clone());
    assert_eq!(watcher.poll().count(), 0);
    watcher.watch(gone.clone());
    let told: Vec<_> = watcher.poll().collect();
    let [
        WatchEvent::Lost {
            dataset: lost,
            error,
        },
    ] = &told[..]
    else {
        panic!("{told:?}");
    };
    assert_eq!((lost, error.kind()), (gone.name(), ErrorKind::NotFound));
    assert_eq!(watcher.poll().count(), 0);
    made(gone);
    let told: Vec<_> = watcher.poll().collect();
    assert!(matches!(&told[..], [WatchEvent::Found { .. }]), "{told:?}");
    watcher.forget(&scratch.name().parse().unwrap());

    let mut crossed = Vec::new();
    for n in 0..4 {
        mounted.write(&n.to_string(), noise(1 << 20, n));
        sync(&dataset);
        for event in watcher.poll() {
            let WatchEvent::Crossed { crossing, room } = event else {
                panic!("{event:?}");
            };
            assert_eq!(room.limit(), &quota_of(&dataset));
            assert!(crossing.is_worse() && Some(room.percent()) >= crossing.to);
            crossed.push(crossing.to);
        }
    }
    assert!(crossed.starts_with(&[Some(40), Some(75)]), "{crossed:?}");
    let forecast = watcher.forecast(dataset.name()).unwrap();
    assert!(forecast.rate > 0.0, "{forecast:?}");
    assert!(forecast.fills_at.is_some() && forecast.earliest <= forecast.fills_at);

    dataset.set(Quota(64 * MIB)).unwrap();
    let told: Vec<_> = watcher.poll().collect();
    let [WatchEvent::Crossed { crossing, .. }] = &told[..] else {
        panic!("{told:?}");
    };
    assert!(crossing.to.is_none() && !crossing.is_worse());
}

#[test]
fn snapshots_foretell_growth() {
    let scratch = Scratch::new("forecast");
    scratch.set(Quota(64 * MIB)).unwrap();
    let mounted = Mounted::new(&scratch);
    assert_eq!(Forecast::from_snapshots(&scratch).unwrap(), None);
    for n in 0..3 {
        mounted.write(&n.to_string(), noise(1 << 20, n));
        let snapshot = scratch.snapshot(&n.to_string()).unwrap();
        snapshot.create(&UserProps::new()).unwrap();
        // The times of snapshots are whole seconds.
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
    let forecast = Forecast::from_snapshots(&scratch).unwrap().unwrap();
    assert_eq!(forecast.samples, 4);
    assert!(
        forecast.rate > 0.0 && forecast.fills_at.is_some(),
        "{forecast:?}"
    );
}
