//! What holds for all commands.

use super::{command, done, ended, fails, json};
use crate::support::{Scratch, TENANT, TestPool, run};
use std::os::unix::process::CommandExt;

const MISSING: &str = "hz-no-such-pool/a";

#[test]
fn what_is_not_there_is_status_4() {
    let snapshot = format!("{MISSING}@s");
    let area = format!("--area={MISSING}");
    for arguments in [
        &["status", "hz-no-such-pool"][..],
        &["tenant", "list", MISSING],
        &["tenant", "snapshot", MISSING, "s"],
        &["tenant", "rollback", MISSING, "s"],
        &["tenant", "clone", MISSING, "s", "a"],
        &["tenant", "lock", MISSING],
        &["guard", "take", "g", MISSING],
        &["guard", "list", MISSING],
        &["guard", "rollback", MISSING, "g"],
        &["guard", "resume", MISSING],
        &["guard", "remove", MISSING, "g"],
        &["clone", "create", &snapshot, &area, "--purpose=test"],
        &["clone", "list", MISSING],
        &["clone", "reap", MISSING],
        &["clone", "destroy", MISSING],
        &["clone", "extend", MISSING, "--expires-in=1h"],
        &["quota", "show", MISSING],
        &["quota", "set", MISSING, "--quota=1G"],
        &["quota", "watch", MISSING, "--looks=1"],
        &["quota", "forecast", MISSING],
        &["replicate", "status", MISSING],
        &["key", "status", MISSING],
        &["key", "unload", MISSING],
        &[
            "layout",
            "plan",
            "/nonexistent.toml",
            "--devices=/nonexistent.toml",
        ],
    ] {
        let message = fails(4, arguments);
        let (status, data) = json(arguments);
        assert_eq!((status, data.is_null()), (4, true), "{arguments:?}");
        assert!(
            message.contains("does not exist") || message.contains("No such file"),
            "{arguments:?}: {message}"
        );
    }
}

#[test]
fn what_is_typed_wrongly_is_status_2() {
    for arguments in [
        &[][..],
        &["tenants"],
        &["quota", "set", "p/a"],
        &["quota", "set", "p/a", "--quota=much"],
        &["quota", "owner", "p/a", "--bytes=1G"],
        &["guard", "find", "p"],
        &[
            "clone",
            "run",
            "p/a@s",
            "--area=p",
            "--purpose=x",
            "--mount-at=/mnt",
        ],
        &["replicate", "serve", "p/a"],
    ] {
        let ended = ended(command(arguments));
        assert_eq!(ended.status, 2, "{arguments:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, "", "{arguments:?}");
        assert!(ended.stderr.contains("--help"), "{}", ended.stderr);
    }
    for arguments in [
        &["quota", "show", "no//name"][..],
        &["quota", "watch", "p/a", "--thresholds=101", "--looks=1"],
        &["guard", "take", "no/name", "p/a"],
        &["replicate", "pull", "p/a", "p/@", "--from=/nonexistent"],
    ] {
        fails(2, arguments);
    }
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["guard", "take", "--help"],
    ] {
        assert!(done(arguments).contains("helixctl"), "{arguments:?}");
    }
}

#[test]
fn shells_and_manuals_need_no_zfs() {
    assert!(done(&["completion", "bash"]).contains("_helixctl"));
    assert!(done(&["man"]).contains("EXIT STATUS"));
    let (_, text) = json(&["completion", "fish"]);
    assert!(text.as_str().unwrap().contains("helixctl"));
}

#[test]
fn who_has_no_privileges_is_told_so() {
    let scratch = Scratch::new("ctl-denied");
    for arguments in [
        &["quota", "set", scratch.name(), "--quota=1G"][..],
        &["guard", "take", "g", scratch.name()],
        &["guard", "take", "g", scratch.name(), "--json"],
    ] {
        let mut command = command(arguments);
        command.uid(TENANT).gid(TENANT);
        let ended = ended(command);
        assert_eq!(ended.status, 6, "{}", ended.stderr);
    }
    // Looking needs none.
    let mut command = command(&["quota", "show", scratch.name()]);
    command.uid(TENANT).gid(TENANT);
    assert_eq!(ended(command).status, 0);
}

#[test]
fn without_a_terminal_nobody_is_asked() {
    let scratch = Scratch::new("ctl-asked");
    done(&["guard", "take", "g", scratch.name(), "--actor=anna"]);
    let remove = ["guard", "remove", scratch.name(), "g"];
    for arguments in [&remove[..], &[&remove[..], &["--json"]].concat()] {
        let ended = ended(command(arguments));
        assert_eq!(ended.status, 3, "{}", ended.stdout);
        assert!(ended.stderr.contains("nobody said yes"), "{}", ended.stderr);
    }
    assert!(done(&["guard", "list", scratch.name()]).contains("anna"));
    done(&[&remove[..], &["-y"]].concat());
    assert_eq!(done(&["guard", "list", scratch.name()]), "no guard rails\n");
}

#[test]
fn pools_are_shown() {
    let pool = TestPool::with_layout("ctl-status", 2, &["mirror"]);
    let name = pool.name();
    let told = done(&["status", name]);
    assert!(told.starts_with("POOL"), "{told}");
    for word in ["mirror-0", pool.file(1).to_str().unwrap(), "ONLINE"] {
        assert!(told.contains(word), "{told}");
    }
    let (status, data) = json(&["status", name]);
    assert_eq!(status, 0);
    assert_eq!(data[0]["name"], name);
    assert_eq!(data[0]["report"]["name"], name);
    assert_eq!(data[0]["healthy"], true);
    let (status, data) = json(&["status", name, "--full-at=1"]);
    assert_eq!(data[0]["nearly_full"], status == 9, "{data}");

    run("zpool", &["offline", name, pool.file(1).to_str().unwrap()]);
    let ended = ended(command(&["status", name]));
    assert_eq!(ended.status, 9, "{}", ended.stdout);
    assert!(ended.stdout.contains("DEGRADED"), "{}", ended.stdout);
    assert!(ended.stdout.contains("action: "), "{}", ended.stdout);
}
