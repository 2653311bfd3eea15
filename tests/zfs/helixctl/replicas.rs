//! `helixctl replicate`.

use super::{command, done, fails, json};
use crate::support::{Mounted, Scratch, noise};
use helix_zfs::zfs_core::CreateOptions;
use helix_zfs::zfs_core::props::UserProps;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;

#[test]
fn a_dataset_is_served_and_pulled() {
    let scratch = Scratch::new("ctl-replica");
    let data = scratch.child("data").unwrap();
    data.create(&CreateOptions::filesystem()).unwrap();
    Mounted::new(&data).write("file", noise(1 << 20, 1));
    let snapshot = |short| {
        data.snapshot(short)
            .unwrap()
            .create(&UserProps::new())
            .unwrap()
    };
    snapshot("s1");
    let (from, to) = (data.name().as_str(), format!("{}/copy", scratch.name()));

    // Over standard input and output, as ssh has them.
    let program = command(&[]).get_program().to_string_lossy().into_owned();
    let serve = format!("--command={program} replicate serve --stdio {from}");
    done(&["replicate", "pull", from, &to, &serve, "--dry-run"]);
    fails(4, &["replicate", "status", &to]);
    let (_, told) = json(&["replicate", "pull", from, &to, &serve]);
    assert_eq!(told["snapshot"], "s1");
    assert_eq!(told["replicated"].as_array().unwrap().len(), 1);
    let (_, told) = json(&["replicate", "status", &to]);
    assert_eq!(told["readers_see"], "s1");
    assert_eq!(told["running"], false);
    assert_eq!(told["snapshots"][0]["verified"], true);
    let (_, told) = json(&["replicate", "recover", &to]);
    assert_eq!(told["readers_see"], "s1");
    fails(3, &["replicate", "status", from]);

    // Over a socket.
    snapshot("s2");
    let dir = TempDir::new().unwrap();
    let socket = dir.path().join("socket");
    let address = socket.to_str().unwrap();
    let mut server = command(&[
        "--json",
        "replicate",
        "serve",
        from,
        "--listen",
        address,
        "--connections=2",
    ]);
    let server = server.stdout(Stdio::piped()).spawn().unwrap();
    while !socket.exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let address = format!("--from={address}");
    let told = fails(3, &["replicate", "pull", scratch.name(), &to, &address]);
    assert!(told.contains("does not offer"), "{told}");
    let told = done(&["replicate", "pull", from, &to, &address]);
    assert!(
        told.ends_with(&format!("readers of {to}/current see s2\n")),
        "{told}"
    );
    let output = server.wait_with_output().unwrap();
    assert!(output.status.success());
    let told = String::from_utf8(output.stdout).unwrap();
    for line in told.lines().take(2) {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["command"], "replicate serve");
        super::is_documented(&event);
    }
    assert!(told.contains(&format!("{from}@s2")), "{told}");
    // Nobody listens.
    fails(1, &["replicate", "pull", from, &to, &address]);
}
