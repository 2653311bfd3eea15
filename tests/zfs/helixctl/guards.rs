//! `helixctl guard`.

use super::{done, fails, json, texts};
use crate::support::{Mounted, Scratch, run, zfs_get};
use helix_zfs::zfs_core::CreateOptions;

#[test]
fn a_deployment_and_the_way_back() {
    let scratch = Scratch::new("ctl-guard");
    let parent = scratch.name();
    let data = scratch.child("data").unwrap();
    data.create(&CreateOptions::filesystem()).unwrap();
    Mounted::new(&data).write("file", "before");

    let take = [
        "guard",
        "take",
        "deploy-1",
        parent,
        "-r",
        "--git-sha=4be1f2c",
        "--helm-revision=7",
        "--actor=anna",
        "--reason=try",
        "--tag=a",
        "--tag=b",
    ];
    let (_, told) = json(&[&take[..], &["--dry-run"]].concat());
    assert_eq!(texts(&told["changes"]).len(), 2);
    assert_eq!(done(&["guard", "list", parent]), "no guard rails\n");
    let (_, first) = json(&take);
    assert_eq!(texts(&first["snapshots"]).len(), 2);
    assert_eq!(texts(&first["tags"]), ["a", "b"].into());
    // Again: the same one.
    let (_, again) = json(&take);
    assert_eq!(first, again);
    fails(3, &["guard", "take", "deploy-1", parent, "--actor=bert"]);
    // It is held.
    let snapshot = format!("{}@deploy-1", data.name());
    assert_eq!(zfs_get("userrefs", &snapshot), "1");

    let (_, found) = json(&[
        "guard",
        "find",
        parent,
        "--git-sha=4be",
        "--tag=b",
        "--since=1h",
    ]);
    assert_eq!(found[0], first);
    for filter in [
        "--git-sha=5",
        "--helm-revision=8",
        "--tag=c",
        "--name=x",
        "--until=1h",
    ] {
        fails(4, &["guard", "find", parent, filter]);
    }

    Mounted::new(&data).write("file", "after");
    let newer = format!("{}@hourly", data.name());
    run("zfs", &["snapshot", &newer]);
    let rollback = ["guard", "rollback", parent, "deploy-1"];
    for arguments in [&[&rollback[..], &["--dry-run"]].concat(), &rollback[..]] {
        let (status, told) = json(arguments);
        assert_eq!(status, 3);
        assert!(
            told["obstacles"][0].as_str().unwrap().contains(&newer),
            "{told}"
        );
        let losses = told["losses"].as_array().unwrap();
        let loss = losses
            .iter()
            .find(|loss| loss["dataset"] == data.name().as_str());
        assert_eq!(
            texts(&loss.unwrap()["newer_snapshots"]),
            [newer.as_str()].into()
        );
    }
    let destroy = format!("--destroy={newer}");
    let allowed = [&rollback[..], &[&destroy]].concat();
    let (_, told) = json(&[&allowed[..], &["--dry-run"]].concat());
    assert_eq!(texts(&told["loses"]).len(), 1, "{told}");
    // Nobody said yes.
    let told = fails(3, &allowed);
    assert!(told.contains("--yes"), "{told}");
    assert_eq!(Mounted::new(&data).read("file"), b"after");
    let (_, told) = json(&[&allowed[..], &["--keep=failed", "--yes"]].concat());
    assert_eq!(told["atomic"], true);
    assert!(texts(&told["destroyed_snapshots"]).contains(newer.as_str()));
    assert_eq!(texts(&told["kept"]).len(), 2, "{told}");
    assert_eq!(Mounted::new(&data).read("file"), b"before");
    let kept = scratch.child("data/failed").unwrap();
    assert_eq!(Mounted::new(&kept).read("file"), b"after");
    assert!(done(&["guard", "resume", parent]).contains("no rollback is unfinished"));
    let (_, told) = json(&["guard", "resume", parent]);
    assert_eq!(told["unfinished"], 0);
    // The clones that were kept keep it.
    fails(3, &["guard", "remove", parent, "deploy-1", "--yes"]);
}

#[test]
fn one_that_is_not_needed_goes() {
    let scratch = Scratch::new("ctl-guard-go");
    done(&["guard", "take", "g", scratch.name()]);
    let (_, told) = json(&["guard", "remove", scratch.name(), "g", "--dry-run"]);
    assert_eq!(texts(&told["loses"]).len(), 1);
    fails(3, &["guard", "remove", scratch.name(), "g"]);
    done(&["guard", "remove", scratch.name(), "g", "--yes"]);
    fails(4, &["guard", "remove", scratch.name(), "g", "--yes"]);
}

#[test]
fn a_policy_removes_what_it_does_not_keep() {
    let scratch = Scratch::new("ctl-retain");
    let parent = scratch.name();
    for name in ["a", "b", "c"] {
        done(&["guard", "take", name, parent, "--reason=release"]);
    }
    run("zfs", &["hold", "mine", &format!("{parent}@a")]);
    let retain = ["guard", "retain", parent, "--last=1"];
    let (_, told) = json(&[&retain[..], &["--dry-run"]].concat());
    assert_eq!(texts(&told["loses"]).len(), 2, "{told}");
    fails(3, &retain);
    let (status, told) = json(&[&retain[..], &["--yes"]].concat());
    assert_eq!(status, 5, "{told}");
    assert!(done(&["guard", "find", parent, "--name=a"]).contains("release"));
    fails(4, &["guard", "find", parent, "--name=b"]);
    run("zfs", &["release", "mine", &format!("{parent}@a")]);
    let dir = tempfile::TempDir::new().unwrap();
    let policy = dir.path().join("policy.json");
    let retain = |text: &str, status: i32| {
        std::fs::write(&policy, text).unwrap();
        let policy = format!("--policy={}", policy.display());
        let (ended, told) = json(&["guard", "retain", parent, &policy, "--yes"]);
        assert_eq!(ended, status, "{told}");
        told
    };
    retain("{}", 2);
    let told = retain(
        r#"{ "default": {}, "overrides": [{ "reason": "release", "keep": { "last": 1 } }] }"#,
        0,
    );
    assert_eq!(told["keep"][0]["name"], "c");
    assert_eq!(told["remove"][0]["name"], "a");
    retain(r#"{ "default": { "last": 1 } }"#, 0);
}
