//! `helixctl key`, and that keys stay where they belong.

use super::{command, done, ended, fails, json};
use crate::support::{Mounted, Scratch};
use std::io::Write;
use std::process::Stdio;
use tempfile::TempDir;

pub(super) const SECRET: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const OTHER: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";

struct Keys(TempDir);

impl Keys {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        for (name, text) in [("right", SECRET), ("wrong", OTHER)] {
            std::fs::write(dir.path().join(name), format!("{text}\n")).unwrap();
        }
        Self(dir)
    }

    fn argument(&self, name: &str) -> String {
        format!("--key-file={}", self.0.path().join(name).display())
    }
}

#[test]
fn keys_are_loaded_changed_and_never_told() {
    let scratch = Scratch::new("ctl-keys");
    let keys = Keys::new();
    let [right, wrong] = ["right", "wrong"].map(|name| keys.argument(name));
    let acme = format!("{}/acme", scratch.name());
    let mut all = String::new();
    let mut step = |status: i32, arguments: &[&str]| {
        let ended = ended(command(arguments));
        assert_eq!(ended.status, status, "{arguments:?}: {}", ended.stderr);
        all += &ended.stdout;
        all += &ended.stderr;
        ended.stdout + &ended.stderr
    };
    step(0, &["tenant", "create", scratch.name(), "acme", &right]);
    step(3, &["tenant", "create", scratch.name(), "acme", &right]);
    let told = step(0, &["key", "status", "-r", scratch.name()]);
    assert!(told.contains("hex") && told.contains(" loaded"), "{told}");
    step(0, &["key", "verify", &acme, &right]);
    let told = step(3, &["key", "verify", &acme, &wrong]);
    assert!(told.contains("wrong"), "{told}");
    let mounted = Mounted::new(&scratch.child("acme").unwrap());
    step(7, &["key", "unload", &acme]);
    drop(mounted);
    step(0, &["key", "unload", &acme]);
    step(0, &["key", "unload", &acme]);
    step(3, &["key", "load", &acme, &wrong]);
    step(0, &["key", "load", &acme, &right, "--dry-run"]);
    let (_, data) = json(&["key", "status", &acme]);
    assert_eq!(data[0]["loaded"], false);
    assert_eq!(data[0]["root"], acme.as_str());
    step(0, &["key", "load", &acme, &right]);
    // Again, with the same key.
    step(0, &["key", "load", &acme, &right]);
    step(3, &["key", "load", &acme, &wrong]);
    // The old key opens it no more: that is asked about.
    step(3, &["key", "change", &acme, &wrong]);
    step(0, &["key", "change", &acme, &wrong, "--yes"]);
    step(0, &["key", "verify", &acme, &wrong]);
    step(0, &["--json", "key", "verify", &acme, &wrong]);
    // A script without a file.
    let told = step(2, &["key", "load", &acme]);
    assert!(told.contains("--key-file"), "{told}");
    let raw = keys.0.path().join("short");
    std::fs::write(&raw, "hunter2").unwrap();
    let told = step(2, &["key", "load", &acme, &keys.argument("short")]);
    assert!(told.contains("not a key"), "{told}");
    for secret in [SECRET, OTHER, "hunter2"] {
        assert!(!all.contains(secret), "{all}");
    }
}

#[test]
fn a_key_can_come_from_standard_input() {
    let scratch = Scratch::new("ctl-stdin");
    let mut command = command(&["tenant", "create", scratch.name(), "acme", "--key-file=-"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&[7; 32]).unwrap();
    assert!(child.wait().unwrap().success());
    let acme = format!("{}/acme", scratch.name());
    let (_, data) = json(&["key", "status", &acme]);
    assert_eq!(data[0]["format"], "raw");
    fails(4, &["key", "load", &acme, "--key-file=/nonexistent"]);
    assert!(done(&["key", "status", scratch.name()]).contains("off"));
}

#[test]
fn tenants_are_unlocked_parked_and_rotated_with_keys_that_are_kept() {
    let scratch = Scratch::new("ctl-stored");
    let folder = TempDir::new().unwrap();
    let only_ours = |path: &std::path::Path, mode| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    only_ours(folder.path(), 0o700);
    let kept = format!("--key-folder={}", folder.path().display());
    let [acme, beta] = ["acme", "beta"].map(|name| {
        let name = format!("{name}-{}", crate::support::unique());
        let key = folder.path().join(&name);
        std::fs::create_dir(&key).unwrap();
        std::fs::write(key.join("1"), SECRET).unwrap();
        only_ours(&key, 0o700);
        only_ours(&key.join("1"), 0o600);
        let file = format!("--key-file={}", key.join("1").display());
        done(&["tenant", "create", scratch.name(), &name, &file]);
        name
    });
    let dataset = |name: &str| format!("{}/{name}", scratch.name());
    done(&["key", "park", "--all", scratch.name()]);
    let (_, data) = json(&["key", "unlock", "--all", scratch.name(), &kept]);
    assert_eq!(data.as_array().unwrap().len(), 2, "{data}");
    assert_eq!(data[0]["version"], 1);
    assert_eq!(data[0]["was_loaded"], false);

    let (_, data) = json(&["key", "rotate", &dataset(&acme), &kept]);
    assert_eq!(data["to"], 2);
    let (_, data) = json(&["key", "status", &dataset(&acme)]);
    assert_eq!(data[0]["stored"]["id"], acme.as_str());
    assert_eq!(data[0]["stored"]["version"], 2);
    done(&["key", "park", &dataset(&acme), &dataset(&beta)]);

    // One has no key any more: the other is unlocked, and which is not is said.
    std::fs::remove_file(folder.path().join(&beta).join("1")).unwrap();
    let told = fails(5, &["key", "unlock", "--all", scratch.name(), &kept]);
    assert!(!told.contains(SECRET), "{told}");
    assert_eq!(
        json(&["key", "status", &dataset(&acme)]).1[0]["loaded"],
        true
    );
    assert_eq!(
        json(&["key", "status", &dataset(&beta)]).1[0]["loaded"],
        false
    );
    fails(4, &["key", "unlock", &dataset(&beta), &kept]);
    // The environment takes no keys, and some place has to be named.
    fails(2, &["key", "rotate", &dataset(&acme), "--key-environment"]);
    fails(2, &["key", "unlock", &dataset(&acme)]);
}
