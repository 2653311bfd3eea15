//! `helixctl clone`.

use super::{command, done, ended, fails, json, texts};
use crate::support::{Mounted, Scratch, output};
use helix_zfs::zfs_core::CreateOptions;
use helix_zfs::zfs_core::props::UserProps;
use tempfile::TempDir;

#[test]
fn clones_are_made_listed_and_reaped() {
    let scratch = Scratch::new("ctl-clone");
    let [data, area] = ["data", "area"].map(|name| {
        let dataset = scratch.child(name).unwrap();
        dataset.create(&CreateOptions::filesystem()).unwrap();
        dataset
    });
    Mounted::new(&data).write("file", "production");
    let snapshot = data.snapshot("s").unwrap();
    snapshot.create(&UserProps::new()).unwrap();
    let dir = TempDir::new().unwrap();
    let folder = dir.path().to_str().unwrap();
    let snapshot = snapshot.name().as_str();
    let area = area.name().as_str();
    let in_area = format!("--area={area}");
    let mount = format!("--mount-at={folder}");

    // Only the program sees it.
    let file = format!("{folder}/file");
    let run = [
        "clone",
        "run",
        snapshot,
        &in_area,
        "--purpose=test",
        &mount,
        "--",
    ];
    let told = done(&[&run[..], &["cat", &file]].concat());
    assert!(told.starts_with("production"), "{told}");
    assert_eq!(done(&["clone", "list", area]), "no clones\n");
    let (status, told) = json(&[&run[..], &["sh", "-c", "exit 3"]].concat());
    assert_eq!((status, &told["program_exit"]), (1, &3.into()));
    assert_eq!(done(&["clone", "list", area]), "no clones\n");
    let (status, _) = json(&[&run[..], &["/no/such/program"]].concat());
    assert_eq!(status, 1);
    assert_eq!(done(&["clone", "list", area]), "no clones\n");

    let create = [
        "clone",
        "create",
        snapshot,
        &in_area,
        "--name=one",
        "--owner=anna",
        "--purpose=load test",
    ];
    done(&[&create[..], &["--dry-run"]].concat());
    let (_, made) = json(&[&create[..], &["--writable", "--expires-in=1h", &mount]].concat());
    assert_eq!(
        (&made["owner"], &made["read_only"]),
        (&"anna".into(), &false.into())
    );
    fails(3, &create);
    std::fs::write(dir.path().join("new"), "test").unwrap();
    let (_, listed) = json(&["clone", "list", area]);
    assert_eq!(listed[0]["dataset"], made["dataset"]);
    let name = made["dataset"].as_str().unwrap();
    // It has not expired.
    let (_, told) = json(&["clone", "reap", area]);
    assert_eq!(told["reaped"].as_array().unwrap().len(), 0);
    assert!(told["next_expiry"].is_string());
    done(&["clone", "extend", name, "--expires-in=0s"]);
    assert!(done(&["clone", "list", area]).contains("expired"));
    // Somebody has a file open.
    let open = std::fs::File::open(dir.path().join("new")).unwrap();
    let busy = ended(command(&["clone", "reap", area]));
    assert_eq!(busy.status, 5, "{}", busy.stdout);
    drop(open);
    let (_, told) = json(&["clone", "reap", area, "--dry-run"]);
    assert_eq!(texts(&told["changes"]).len(), 1);
    // What is no clone of ours is left alone, and told.
    scratch
        .child("area/precious")
        .unwrap()
        .create(&CreateOptions::filesystem())
        .unwrap();
    let (status, told) = json(&["clone", "reap", area]);
    assert_eq!(status, 0, "{told}");
    assert_eq!(told["reaped"][0]["dataset"], name);
    assert_eq!(told["ignored"].as_array().unwrap().len(), 1);
    fails(
        3,
        &["clone", "destroy", &format!("{area}/precious"), "--yes"],
    );
    done(&create);
    fails(3, &["clone", "destroy", name]);
    done(&["clone", "destroy", name, "--yes"]);
    assert!(!output("zfs", &["list", name]).status.success());
}
