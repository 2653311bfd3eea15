//! What is reaped, and what is left alone.

use super::{HOUR, Place, patiently};
use crate::support::killed::{self, Ended};
use crate::support::{Mounted, allowed, may, zfs, zfs_get};
use helix_zfs::Step;
use helix_zfs::ephemeral::{
    EphemeralError, EphemeralMount, InUse, NotEphemeral, Reap, ReapPlan, Reaper,
};
use helix_zfs::gate::Operation;
use helix_zfs::zfs_core::props::{PropertySet, UserProps};
use helix_zfs::zfs_core::receive::ReceiveOptions;
use helix_zfs::zfs_core::send::SendOptions;
use helix_zfs::zfs_core::{CreateOptions, Dataset, DatasetName};
use std::time::SystemTime;

fn later() -> SystemTime {
    SystemTime::now() + 2 * HOUR
}

fn plan(area: &Dataset) -> ReapPlan {
    Reaper::new(area).plan_at(later()).unwrap()
}

/// Why those that stay do, by name.
fn carry_out(plan: &ReapPlan) -> Vec<(String, String)> {
    let reaped = plan.carry_out(allowed(Operation::Reap), &mut |_| {});
    let mut stay: Vec<(String, String)> = reaped
        .into_iter()
        .filter_map(|reaped| {
            let error = reaped.result.err()?;
            let why = match error {
                EphemeralError::InUse { by, .. } => by.to_string(),
                other => other.to_string(),
            };
            Some((reaped.clone.dataset.base().to_owned(), why))
        })
        .collect();
    stay.sort();
    stay
}

#[test]
fn nothing_is_reaped_that_is_not_an_expired_clone_of_ours() {
    let place = Place::new("reap-forged");
    let (area, data) = (place.area(), place.scratch.child("data").unwrap());
    let real = place.make(&place.spec().name("real")).keep();
    let mark = UserProps::new()
        .set("helix:ephemeral", &real.origin_guid.to_string())
        .unwrap()
        .set("helix:owner", "mallory")
        .unwrap()
        .set("helix:purpose", "none")
        .unwrap()
        .set("helix:expires", "2001-01-01T00:00:00Z")
        .unwrap();
    let child = |name: &str| area.child(name).unwrap();
    let clone = |name: &str| {
        let none = PropertySet::new();
        place
            .snapshot()
            .clone_to(child(name).name(), &none)
            .unwrap()
    };

    // No clone, with the mark; a clone without; of another snapshot; with a time that is none; and
    // with a mark that is inherited.
    child("dataset")
        .create(&CreateOptions::filesystem())
        .unwrap();
    child("dataset").set_user(&mark).unwrap();
    clone("unmarked");
    data.snapshot("other")
        .unwrap()
        .create(&UserProps::new())
        .unwrap();
    let other = data.snapshot("other").unwrap();
    let other = other
        .clone_to(child("other").name(), &PropertySet::new())
        .unwrap();
    other.set_user(&mark).unwrap();
    let malformed = clone("malformed");
    malformed.set_user(&mark).unwrap();
    malformed
        .set_user(&UserProps::new().set("helix:expires", "soon").unwrap())
        .unwrap();
    let promoted = place.make(&place.spec().name("promoted")).keep();
    // All that is without a mark of its own inherits one.
    area.set_user(&mark).unwrap();
    let plan = self::plan(&area);
    let names = |plan: &ReapPlan| -> Vec<String> {
        let expired = plan.expired.iter();
        let mut names: Vec<String> = expired
            .map(|clone| clone.dataset.base().to_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&plan), ["promoted", "real"]);
    let ignored: Vec<_> = plan
        .ignored
        .iter()
        .map(|ignored| (ignored.dataset.base(), ignored.reason))
        .collect();
    assert_eq!(
        ignored,
        [
            ("dataset", NotEphemeral::NoClone),
            ("malformed", NotEphemeral::Malformed),
            ("other", NotEphemeral::OtherOrigin),
            ("unmarked", NotEphemeral::Unmarked),
        ]
    );
    let json = serde_json::to_value(&plan.ignored[0]).unwrap();
    assert_eq!(json["reason"], "no_clone");

    // One that is promoted after the plan was made has the data now.
    zfs()
        .dataset(promoted.dataset.as_str())
        .unwrap()
        .promote()
        .unwrap();
    let stay = carry_out(&plan);
    assert_eq!(stay.len(), 1, "{stay:?}");
    assert!(
        stay[0].0 == "promoted" && stay[0].1.contains("promoted"),
        "{stay:?}"
    );
    let left = ["dataset", "malformed", "other", "promoted", "unmarked"];
    assert_eq!(place.names(), left);
    // And a second look sees it.
    assert_eq!(names(&self::plan(&area)), [""; 0]);
    data.promote().unwrap();
}

#[test]
fn a_copy_that_was_received_is_nobodys_to_reap() {
    let place = Place::new("reap-copy");
    let made = place.make(&place.spec().name("real"));
    let snapshot = made.dataset().snapshot("copy").unwrap();
    snapshot.create(&UserProps::new()).unwrap();
    let copy = place.area().child("copy").unwrap();
    // Received with its properties, as a clone of the same snapshot.
    let mut stream = snapshot
        .send(&SendOptions::incremental(&place.snapshot()))
        .unwrap();
    let options = ReceiveOptions::new().origin(place.snapshot().name());
    copy.receive(&mut stream, &options).unwrap();
    assert_eq!(
        zfs_get("origin", copy.name()),
        place.snapshot().name().as_str()
    );
    crate::support::run(
        "sh",
        &[
            "-c",
            &format!(
                "zfs send -p {} | zfs receive -u -o origin={} {}/command",
                snapshot.name(),
                place.snapshot().name(),
                place.area().name()
            ),
        ],
    );
    let plan = plan(&place.area());
    assert_eq!(plan.expired.len(), 1);
    assert_eq!(plan.expired[0].dataset.base(), "real");
    // The real one has a snapshot now, which is for nobody here to destroy.
    assert_eq!(
        carry_out(&plan),
        [("real".into(), InUse::Snapshots.to_string())]
    );
    assert_eq!(place.names(), ["command", "copy", "real"]);
    snapshot.destroy().unwrap();
    made.remove().unwrap();
    assert_eq!(place.names(), ["command", "copy"]);
}

#[test]
fn what_is_in_use_stays_and_is_told() {
    let place = Place::new("reap-busy");
    let area = place.area();
    let make = |name: &str| place.make(&place.spec().name(name));
    let child = make("child").keep();
    let below = area.child("child/below").unwrap();
    below.create(&CreateOptions::filesystem()).unwrap();
    make("snapshot").keep();
    area.child("snapshot")
        .unwrap()
        .snapshot("s")
        .unwrap()
        .create(&UserProps::new())
        .unwrap();
    // Mounted by somebody who is not us.
    make("elsewhere").keep();
    let elsewhere = Mounted::new(&area.child("elsewhere").unwrap());
    let folder = place.folder("at");
    let open = place.make(
        &place
            .spec()
            .name("open")
            .mount(EphemeralMount::At(folder.clone())),
    );
    let file = std::fs::File::open(folder.join("file")).unwrap();
    make("extended").keep();
    make("replaced").keep();
    make("gone").keep();
    make("free").keep();

    let plan = plan(&area);
    assert_eq!(plan.expired.len(), 8);
    let replaced = area.child("replaced").unwrap();
    replaced.destroy().unwrap();
    place.make(&place.spec().name("replaced")).keep();
    area.child("gone").unwrap().destroy().unwrap();
    let mut extended = helix_zfs::ephemeral::EphemeralClone::of(&area.child("extended").unwrap());
    extended
        .as_mut()
        .unwrap()
        .extend(allowed(Operation::ChangeEphemeral), &zfs(), 5 * HOUR)
        .unwrap();

    let stay = carry_out(&plan);
    let reasons: Vec<(&str, &str)> = stay.iter().map(|(a, b)| (&**a, &**b)).collect();
    let at = format!("mounted on {}", elsewhere.path("").display());
    let changed =
        |name: &str, was: &str| format!("{}/{name} has changed: it was {was}", area.name());
    assert_eq!(
        reasons,
        [
            ("child", "there are datasets below it"),
            ("elsewhere", at.trim_end_matches('/')),
            (
                "extended",
                &changed("extended", "given another time to expire")
            ),
            ("open", "somebody has it open or mounted"),
            (
                "replaced",
                &changed("replaced", "replaced, promoted, or marked anew")
            ),
            ("snapshot", "it has snapshots"),
        ]
    );
    let left = [
        "child",
        "elsewhere",
        "extended",
        "open",
        "replaced",
        "snapshot",
    ];
    assert_eq!(place.names(), left);
    assert_eq!(std::fs::read(folder.join("file")).unwrap(), b"before");
    drop((file, elsewhere));
    below.destroy().unwrap();
    patiently(|| {
        open.as_clone()
            .remove(allowed(Operation::ChangeEphemeral), &zfs())
    })
    .unwrap();
    patiently(|| child.remove(allowed(Operation::ChangeEphemeral), &zfs())).unwrap();
}

#[test]
fn reaping_is_finished_after_a_kill() {
    if let Some(mut countdown) = killed::in_the_process() {
        let area = zfs().dataset(&killed::argument()).unwrap();
        let reaped = plan(&area).carry_out(may(Operation::Reap, &area), &mut |step| {
            // What is there after a change is what is there before the next.
            if matches!(step, Step::Starting(_)) {
                countdown.tick();
            }
        });
        for reaped in reaped {
            reaped.result.unwrap();
        }
        return;
    }
    let place = Place::new("reap-killed");
    let neighbour = place.scratch.child("neighbour").unwrap();
    let none = PropertySet::new();
    place.snapshot().clone_to(neighbour.name(), &none).unwrap();
    let folder = place.folder("at");
    let at = EphemeralMount::At(folder.clone());
    for step in 0.. {
        let names = ["a", "b"];
        place.make(&place.spec().name("a").mount(at.clone())).keep();
        place.make(&place.spec().name("b")).keep();
        let argument = place.area().name().to_string();
        let ended = killed::run(
            "ephemeral::reaper::reaping_is_finished_after_a_kill",
            step,
            &argument,
        );
        // One after the other, each whole or gone.
        let left = place.names();
        assert!(
            names.ends_with(&left.iter().map(String::as_str).collect::<Vec<_>>()),
            "{left:?}"
        );
        assert_eq!(left.is_empty(), ended == Ended::Finished, "step {step}");

        let mut steps = Vec::new();
        patiently(|| {
            let plan = plan(&place.area());
            plan.carry_out(allowed(Operation::Reap), &mut |step| {
                steps.push(step.to_string())
            })
            .into_iter()
            .try_for_each(|reaped| reaped.result)
        })
        .unwrap();
        assert_eq!(place.names(), [""; 0]);
        assert!(neighbour.exists().unwrap() && place.snapshot().exists().unwrap());
        assert!(std::fs::read_dir(&folder).unwrap().next().is_none());
        if ended == Ended::Finished {
            assert_eq!((step, steps.len()), (3, 0));
            break;
        }
    }
}

#[test]
fn an_observer_is_told_of_each_change() {
    let place = Place::new("reap-told");
    let at = EphemeralMount::At(place.folder("at"));
    let name = place.make(&place.spec().name("a").mount(at)).keep().dataset;
    let mut told = Vec::new();
    patiently(|| {
        told.clear();
        let reaped = plan(&place.area()).carry_out(allowed(Operation::Reap), &mut |step| {
            let change = match step {
                Step::Starting(change) | Step::Done(change) | Step::Failed(change) => change,
                _ => unreachable!("a new kind of step"),
            };
            told.push((matches!(step, Step::Done(_)), change.clone()));
        });
        reaped.into_iter().try_for_each(|reaped| reaped.result)
    })
    .unwrap();
    let changes = |name: DatasetName| {
        let (unmount, destroy) = (Reap::Unmount(name.clone()), Reap::Destroy(name));
        [
            (false, unmount.clone()),
            (true, unmount),
            (false, destroy.clone()),
            (true, destroy),
        ]
    };
    assert_eq!(told, changes(name));
}
