//! `helixctl gate`, and that changes go through it.

use super::{ended, json};
use crate::support::Scratch;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// A gate of its own.
struct Gate(TempDir);

impl Gate {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join("gate").join(name)
    }

    fn arguments<'a>(&'a self, arguments: &[&'a str]) -> Vec<String> {
        let folder = self.file("");
        let own = ["--gate", folder.to_str().unwrap(), "--as", "ada"];
        let all = arguments.iter().chain(&own);
        all.map(|word| (*word).to_owned()).collect()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let all = self.arguments(arguments);
        super::command(&all.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Runs what must end with `status`, and returns all that it printed.
    fn ends(&self, status: i32, arguments: &[&str]) -> String {
        let ended = ended(self.command(arguments));
        let text = ended.stdout + &ended.stderr;
        assert_eq!(ended.status, status, "{arguments:?}: {text}");
        text
    }

    fn json(&self, arguments: &[&str]) -> (i32, serde_json::Value) {
        let all = self.arguments(arguments);
        json(&all.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

#[test]
fn jobs_are_submitted_shown_cancelled_and_revived() {
    let gate = Gate::new();
    gate.ends(4, &["gate", "jobs"]);
    gate.ends(4, &["gate", "audit"]);
    gate.ends(0, &["gate", "submit", "snapshot", "t/a", "--dry-run"]);
    gate.ends(4, &["gate", "jobs"]);
    let (_, data) = gate.json(&[
        "gate",
        "submit",
        "snapshot",
        "t/a",
        "t/b",
        "--key=once",
        "--payload={\"snapshot\":\"s\"}",
        "--within=1h",
        "--attempts=3",
    ]);
    let id = data["id"].as_str().unwrap();
    let (_, again) = gate.json(&[
        "gate",
        "submit",
        "snapshot",
        "t/a",
        "t/b",
        "--key=once",
        "--payload={\"snapshot\":\"s\"}",
    ]);
    assert_eq!(again["id"], id);
    gate.ends(3, &["gate", "submit", "destroy", "t/a", "--key=once"]);
    let (_, job) = gate.json(&["gate", "show", id]);
    assert_eq!(job["state"], "queued");
    assert_eq!(job["spec"]["payload"]["snapshot"], "s");
    assert_eq!(job["spec"]["actor"], "ada");
    // It is asked about.
    gate.ends(3, &["gate", "cancel", id]);
    gate.ends(0, &["gate", "cancel", id, "--yes"]);
    let (_, jobs) = gate.json(&["gate", "jobs", "--state=cancelled"]);
    assert_eq!(jobs[0]["id"], id);
    let (_, jobs) = gate.json(&["gate", "jobs", "--state=queued"]);
    assert!(jobs.as_array().unwrap().is_empty());
    gate.ends(0, &["gate", "revive", id]);
    gate.ends(3, &["gate", "revive", id]);
    gate.ends(0, &["gate", "cancel", id, "--yes"]);
    let (_, data) = gate.json(&["gate", "forget", "--older-than=1h", "--yes"]);
    assert_eq!(data["forgotten"], 0);
    gate.ends(0, &["gate", "show", id]);
    gate.ends(4, &["gate", "show", "0-1"]);
    for wrong in [
        &["gate", "show", "Ü"][..],
        &["gate", "submit", "explode", "t/a"],
        &["gate", "submit", "snapshot", "t/a", "--payload={"],
        &["gate", "submit", "snapshot", "t//a"],
        &["gate", "submit", "snapshot", "t/a", "--attempts=0"],
    ] {
        gate.ends(2, wrong);
    }
}

#[test]
fn the_audit_log_tells_what_was_done_and_is_verified() {
    let scratch = Scratch::new("ctl-gate");
    let name = scratch.name();
    let gate = Gate::new();
    gate.ends(0, &["quota", "set", name, "--quota=1G"]);
    let (_, records) = gate.json(&["gate", "audit", "--object", name, "--actor=ada"]);
    let kinds: Vec<&str> = records
        .as_array()
        .unwrap()
        .iter()
        .map(|record| record["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds.first(), Some(&"grant"), "{kinds:?}");
    assert!(kinds.contains(&"use"), "{kinds:?}");
    assert_eq!(kinds.last(), Some(&"end"), "{kinds:?}");
    let job = records[0]["job"].as_str().unwrap();
    let (_, job) = gate.json(&["gate", "show", job]);
    assert_eq!(job["state"], "done");
    assert_eq!(job["spec"]["reason"], "helixctl quota set");

    // What no rule allows is refused, and on record.
    let rules = "[[rule]]\nactors = [\"bob\"]\noperations = \"all\"\nbelow = \"all\"\n";
    fs::write(gate.file("rules.toml"), rules).unwrap();
    let (_, told) = gate.json(&["gate", "rules"]);
    assert_eq!(told["rule"][0]["actors"][0], "bob");
    assert_eq!(told["rule"][0]["operations"], "all");
    gate.ends(6, &["gate", "may", "set-properties", name]);
    gate.ends(6, &["gate", "submit", "set-properties", name]);
    gate.ends(6, &["quota", "set", name, "--quota=2G"]);
    let (_, refused) = gate.json(&["gate", "audit", "--kind=refusal", "--last=1"]);
    assert_eq!(refused[0]["actor"], "ada");
    assert_eq!(refused[0]["object"], name);

    let pool = name.split('/').next().unwrap();
    let verify = ["gate", "audit", "--verify", "--pool", pool];
    let alone = ["gate", "audit", "--verify", "--without-pools"];
    let (status, report) = gate.json(&verify);
    assert_eq!(status, 0, "{report}");
    assert!(report["anchors"].as_u64().unwrap() > 0, "{report}");

    // The end is cut off: only the pool's history shows it.
    let log = gate.file("audit.log");
    let whole = fs::read(&log).unwrap();
    let text = String::from_utf8(whole.clone()).unwrap();
    let keep = text.trim_end().rfind('\n').unwrap() + 1;
    fs::write(&log, &whole[..keep]).unwrap();
    gate.ends(0, &alone);
    let (status, report) = gate.json(&verify);
    assert_eq!(status, 9, "{report}");
    assert!(!report["broken"].is_null(), "{report}");

    // Somebody else is said to have done it.
    fs::write(&log, text.replacen("ada", "eve", 1)).unwrap();
    let told = gate.ends(9, &alone);
    assert!(told.contains("broken at line"), "{told}");
    fs::write(&log, whole).unwrap();
    gate.ends(0, &verify);
}
