//! `helixctl key`, and that keys stay where they belong.

use super::{command, done, ended, fails, json};
use crate::support::{Mounted, Scratch};
use std::io::Write;
use std::process::Stdio;
use tempfile::TempDir;

const SECRET: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
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
