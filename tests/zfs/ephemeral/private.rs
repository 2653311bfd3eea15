//! Clones that only their own thread and its processes see.

use super::{HOUR, Place, patiently, refused};
use crate::support::{Mounted, TENANT, allowed, as_user, killed, may, zfs};
use helix_zfs::ephemeral::{
    Ephemeral, EphemeralClone, EphemeralError, EphemeralMount, EphemeralSpec, InUse, Reaper,
};
use helix_zfs::gate::Operation;
use helix_zfs::zfs_core::{CreateOptions, ErrorKind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

#[test]
fn only_what_runs_in_it_sees_a_private_clone() {
    let place = Place::new("eph-private");
    let folder = place.folder("at");
    let production = place.scratch.child("data").unwrap();
    let elsewhere = Mounted::new(&production);
    let spec = place.spec().writable();
    let spec = spec.mount(EphemeralMount::Private(folder.clone()));
    let made = place.make(&spec.name("one"));
    assert_eq!(made.as_clone().mounted_at, None);

    // Here there is nothing.
    assert!(made.dataset().mounts().unwrap().is_empty());
    assert!(std::fs::read_dir(&folder).unwrap().next().is_none());
    // There it is, and nothing else of what is mounted out here.
    let all = format!("{}/", place.scratch.name());
    let seen = made
        .run(move |folder| {
            std::fs::write(folder.unwrap().join("new"), "inside").unwrap();
            let mut names: Vec<String> = zfs().mounts().unwrap().iter().map(|m| m.name()).collect();
            names.retain(|name| name.starts_with(&all));
            (names, std::thread::current().id())
        })
        .unwrap();
    assert_eq!(seen.0, [made.dataset().name().as_str()]);
    assert_ne!(seen.1, std::thread::current().id());
    assert_eq!(elsewhere.read("file"), b"before", "still mounted out here");

    // What it starts is there too.
    let mut cat = Command::new("cat");
    cat.arg(folder.join("file")).arg(folder.join("new"));
    cat.stdout(Stdio::piped());
    let output = made.spawn(cat).unwrap().wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "beforeinside");
    let error = refused(made.spawn(Command::new("/no/such/program")));
    assert!(matches!(error, EphemeralError::Spawn { .. }), "{error}");

    // A filesystem that is mounted out here is not kept busy by a copy of its mount in there.
    drop(elsewhere);
    production
        .child("below")
        .unwrap()
        .create(&CreateOptions::filesystem())
        .unwrap();
    production.child("below").unwrap().destroy().unwrap();

    // A panic is the caller's.
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        made.run(|_| std::panic::resume_unwind(Box::new("of the test")))
    }));
    assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"of the test"));
    assert!(
        made.run(|folder| folder.unwrap().join("new").exists())
            .unwrap()
    );

    made.remove().unwrap();
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn a_namespace_of_ones_own_is_for_root() {
    let error = as_user(TENANT, || {
        zfs().enter_private_namespace(Path::new("/")).unwrap_err()
    });
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
}

#[test]
fn a_filesystem_is_not_busy_because_of_a_private_clone() {
    let place = Place::new("eph-others");
    let other = place.scratch.child("other").unwrap();
    other.create(&CreateOptions::filesystem()).unwrap();
    let mounted = Mounted::new(&other);
    let made = place.make(
        &place
            .spec()
            .mount(EphemeralMount::Private(place.folder("at"))),
    );
    drop(mounted);
    // Other tests start processes, which have copies of descriptors for moments.
    let mut tries = 0;
    while let Err(error) = other.destroy() {
        assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
        tries += 1;
        assert!(tries < 500, "{error}");
        std::thread::sleep(Duration::from_millis(10));
    }
    made.remove().unwrap();
}

#[test]
fn a_process_in_it_keeps_a_private_clone() {
    let place = Place::new("eph-process");
    let private = EphemeralMount::Private(place.folder("at"));
    let made = place.make(&place.spec().name("one").mount(private.clone()));
    let mut sleep = Command::new("sleep");
    sleep.arg("1000").current_dir("/");
    let mut process = made.spawn(sleep).unwrap();
    let clone = made.as_clone().clone();
    // It is not in use by that alone: the process is in the namespace, and not in the folder.
    let path = place.folder("at");
    let mut inside = Command::new("sleep");
    inside.arg("1000").current_dir(&path);
    let mut other = made.spawn(inside).unwrap();
    let error = refused(made.remove());
    assert!(
        matches!(
            error,
            EphemeralError::InUse {
                by: InUse::Busy,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(place.names(), ["one"]);

    // The reaper does not touch it either, until nobody is there any more.
    let plan = Reaper::new(&place.area())
        .plan_at(SystemTime::now() + 2 * HOUR)
        .unwrap();
    let reaped = plan.carry_out(allowed(Operation::Reap), &mut |_| {});
    assert!(matches!(
        reaped[0].result,
        Err(EphemeralError::InUse {
            by: InUse::Busy,
            ..
        })
    ));
    for process in [&mut process, &mut other] {
        process.kill().unwrap();
        process.wait().unwrap();
    }
    patiently(|| clone.remove(allowed(Operation::ChangeEphemeral), &zfs())).unwrap();
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn a_private_clone_goes_when_it_expires() {
    let place = Place::new("eph-expiry");
    let private = EphemeralMount::Private(place.folder("at"));
    let spec = place.spec().name("one").mount(private);
    let mut made = place.make(&spec);
    made.extend(allowed(Operation::CloneEphemeral), Duration::from_secs(1))
        .unwrap();
    while !place.names().is_empty() {
        std::thread::sleep(Duration::from_millis(50));
    }
    let error = loop {
        match made.run(|_| ()) {
            // The thread has destroyed it, and is about to end.
            Ok(()) => std::thread::yield_now(),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, EphemeralError::Expired { .. }), "{error}");
    made.remove().unwrap();
}

#[test]
fn what_a_killed_process_left_is_reaped_when_it_expires() {
    const NAME: &str = "ephemeral::private::what_a_killed_process_left_is_reaped_when_it_expires";
    if let Some(mut countdown) = killed::in_the_process() {
        let argument = killed::argument();
        let (root, folder) = argument.split_once(' ').unwrap();
        let root = zfs().dataset(root).unwrap();
        let snapshot = root.child("data").unwrap().snapshot("s").unwrap();
        let area = root.child("area").unwrap();
        let spec = EphemeralSpec::new(&area, "anna", "to die", HOUR);
        let make = |name: &str, mount| {
            let spec = spec.clone().name(name).mount(mount);
            let create = may(Operation::CloneEphemeral, &area);
            Ephemeral::create(create, &snapshot, &spec).unwrap()
        };
        let _unmounted = make("no", EphemeralMount::No);
        let _mounted = make("at", EphemeralMount::At(folder.into()));
        let _private = make("private", EphemeralMount::Private(folder.into()));
        countdown.tick();
        return;
    }
    let place = Place::new("eph-killed");
    let folder = place.folder("at");
    let argument = format!("{} {}", place.scratch.name(), folder.display());
    assert_eq!(killed::run(NAME, 0, &argument), killed::Ended::Killed);
    assert_eq!(place.names(), ["at", "no", "private"]);

    // Nothing has expired yet.
    let now = Reaper::new(&place.area()).plan().unwrap();
    assert!(
        now.expired.is_empty()
            && now
                .carry_out(allowed(Operation::Reap), &mut |_| {})
                .is_empty()
    );
    assert_eq!(
        (now.later.len(), now.next_expiry()),
        (3, Some(now.later[0].expires))
    );
    let later = SystemTime::now() + 2 * HOUR;
    patiently(|| {
        let plan = Reaper::new(&place.area()).plan_at(later)?;
        // The namespace of the dead process may take a moment to go.
        plan.carry_out(allowed(Operation::Reap), &mut |_| {})
            .into_iter()
            .try_for_each(|reaped| reaped.result)
    })
    .unwrap();
    assert!(std::fs::read_dir(&folder).unwrap().next().is_none());
    assert!(EphemeralClone::list(&place.area()).unwrap().is_empty());

    // Where a value ends in order, nothing is left.
    assert_eq!(killed::run(NAME, 1, &argument), killed::Ended::Finished);
    assert_eq!(place.names(), [""; 0]);
}
