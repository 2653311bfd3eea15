//! Every example, run as a user would run it.

use crate::support::{Mounted, Parameter, Scratch, TestPool, noise, run, zfs, zfs_get};
use helix_zfs::zfs_core::SyncMode;
use helix_zfs::zfs_core::pool::Scrub;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// How an example ended.
struct Ended {
    status: i32,
    stdout: String,
    stderr: String,
}

/// Runs an example from the folder that `cargo xtask test` puts them in.
fn example(name: &str, arguments: &[&str]) -> Ended {
    let folder = std::env::var_os("HELIX_ZFS_PROGRAMS")
        .expect("HELIX_ZFS_PROGRAMS names the folder of the built programs");
    let output = Command::new(PathBuf::from(folder).join(name))
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ended {
        status: output.status.code().expect("no signal"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// Runs an example that must succeed, and returns what it printed.
pub(crate) fn works(name: &str, arguments: &[&str]) -> String {
    let ended = example(name, arguments);
    assert_eq!(ended.status, 0, "{name} {arguments:?}: {}", ended.stderr);
    assert_eq!(ended.stderr, "", "{name} {arguments:?}");
    ended.stdout
}

/// Runs an example that must fail, and returns its message: one line.
pub(crate) fn fails(name: &str, arguments: &[&str]) -> String {
    let ended = example(name, arguments);
    assert_eq!(ended.status, 1, "{name} {arguments:?}: {}", ended.stdout);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    let message = ended.stderr.strip_prefix(&format!("{name}: "));
    message.expect("the program's name first").to_owned()
}

fn key_file(folder: &Path, name: &str, contents: &[u8]) -> String {
    let path = folder.join(name);
    std::fs::write(&path, contents).unwrap();
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn all_of_them_tell_what_is_missing() {
    let dir = TempDir::new().unwrap();
    let key = key_file(dir.path(), "raw", &[1; 32]);
    let missing = "hz-no-such-pool/a";
    let snapshot = format!("{missing}@s");
    let clone = format!("{missing}/clone");
    for (name, arguments) in [
        ("snapshot_tagged", &[missing, "deploy-42", "4be1f2c"][..]),
        ("tenant_create", &[missing, "acme", "64", &key]),
        ("clone_for_test", &[&snapshot, &clone, "true"]),
        ("keys", &["status", missing]),
        ("keys", &["load", missing, &key]),
        ("quota_watch", &[missing]),
        ("list", &[missing]),
        ("fast_list", &[missing]),
        ("pool_status", &["hz-no-such-pool"]),
        ("scrub_watch", &["hz-no-such-pool"]),
        ("send_to_file", &[&snapshot, "/nonexistent/file"]),
    ] {
        let message = fails(name, arguments);
        assert!(message.contains("hz-no-such-pool"), "{name}: {message}");
        assert!(message.contains("does not exist"), "{name}: {message}");
    }
    for name in [
        "snapshot_tagged",
        "tenant_create",
        "clone_for_test",
        "keys",
        "quota_watch",
        "list",
        "fast_list",
        "scrub_watch",
        "send_to_file",
        "replicate",
    ] {
        assert!(fails(name, &[]).starts_with("usage: "), "{name}");
    }
    assert!(fails("pool_status", &["a", "b"]).starts_with("usage: "));
}

#[test]
fn a_tenant_and_its_guard_rail() {
    let scratch = Scratch::new("ex-tenant");
    let parent = scratch.name();
    let dir = TempDir::new().unwrap();
    let key = key_file(dir.path(), "raw", &[7; 32]);
    let empty = fails("snapshot_tagged", &[parent, "deploy-42", "4be1f2c"]);
    assert_eq!(empty.trim(), format!("{parent} has no tenants"));
    for name in ["acme", "birch"] {
        let told = works("tenant_create", &[parent, name, "64", &key]);
        assert!(told.starts_with(&format!("{parent}/{name}\n")), "{told}");
        for line in ["quota       64 MiB", "encryption  aes-256-gcm, raw key"] {
            assert!(told.contains(line), "{told}");
        }
    }
    let acme = format!("{parent}/acme");
    assert_eq!(zfs_get("quota", &acme), (64 << 20).to_string());
    assert_eq!(zfs_get("sync", &acme), "always");
    let again = fails("tenant_create", &[parent, "acme", "64", &key]);
    assert!(
        again.contains(&acme) && again.contains("already exists"),
        "{again}"
    );
    let short = key_file(dir.path(), "short", &[7; 31]);
    let refused = fails("tenant_create", &[parent, "cedar", "64", &short]);
    assert!(refused.contains("32 bytes"), "{refused}");

    let told = works("snapshot_tagged", &[parent, "deploy-42", "4be1f2c", "17"]);
    let (one, two) = (
        format!("{acme}@deploy-42"),
        format!("{parent}/birch@deploy-42"),
    );
    let txg = zfs_get("createtxg", &one);
    assert_eq!(
        told,
        format!("{one}\n{two}\n2 snapshots in transaction group {txg}\n")
    );
    assert_eq!(zfs_get("createtxg", &two), txg);
    assert_eq!(zfs_get("helix:git_sha", &two), "4be1f2c");
    assert_eq!(zfs_get("helix:helm_revision", &two), "17");
    assert_eq!(zfs_get("userrefs", &two), "1");

    let told = works("list", &[parent]);
    for name in [parent, &acme, &one, &two] {
        assert!(
            told.lines()
                .any(|line| line.starts_with(&format!("{name} "))),
            "{told}"
        );
    }
    let rail =
        format!("guard rail deploy-42: 2 snapshots in transaction group {txg}, before 4be1f2c");
    assert_eq!(told.lines().last(), Some(rail.as_str()));
}

#[test]
fn keys_of_all_formats() {
    let scratch = Scratch::new("ex-keys");
    let name = scratch.name().to_owned() + "/acme";
    let dir = TempDir::new().unwrap();
    let raw = key_file(dir.path(), "raw", &[7; 32]);
    let hex = key_file(
        dir.path(),
        "hex",
        format!("{}\n", "a7".repeat(32)).as_bytes(),
    );
    let passphrase = key_file(dir.path(), "passphrase", b"correct horse battery\n");
    works("tenant_create", &[scratch.name(), "acme", "64", &raw]);

    let told = works("keys", &["status", &name]);
    assert_eq!(
        told,
        format!("{name}: aes-256-gcm, key available\n  the key is its own, kept as raw\n")
    );
    assert_eq!(
        works("keys", &["status", scratch.name()]),
        format!("{}: not encrypted\n", scratch.name())
    );
    // Each derivation of a passphrase takes a while in an emulated guest.
    for (file, format) in [(&hex, "hex"), (&passphrase, "passphrase")] {
        works(
            "keys",
            &["verify", &name, if format == "hex" { &raw } else { &hex }],
        );
        works("keys", &["change", &name, file]);
        assert_eq!(zfs_get("keyformat", &name), format);
    }
    works("keys", &["unload", &name]);
    assert_eq!(zfs_get("keystatus", &name), "unavailable");
    // What the command takes from the same file opens it, too.
    run(
        "zfs",
        &["load-key", "-L", &format!("file://{passphrase}"), &name],
    );
    works("keys", &["unload", &name]);
    let other = key_file(dir.path(), "other", b"incorrect horse\n");
    let wrong = fails("keys", &["load", &name, &other]);
    assert!(
        wrong.contains(&name) && wrong.contains("wrong encryption key"),
        "{wrong}"
    );
    assert!(!wrong.contains("horse"), "{wrong}");
    let garbage = key_file(dir.path(), "garbage", &[0xff; 40]);
    let refused = fails("keys", &["load", &name, &garbage]);
    assert_eq!(refused.trim(), format!("{garbage}: not a key"));
    works("keys", &["load", &name, &passphrase]);
    assert_eq!(zfs_get("keystatus", &name), "available");
}

#[test]
fn a_load_test_on_a_clone() {
    let scratch = Scratch::new("ex-clone");
    let data = noise(300_000, 9);
    let mounted = Mounted::new(&scratch);
    mounted.write("data", &data);
    drop(mounted);
    let dir = TempDir::new().unwrap();
    let copy = dir.path().join("copy");
    let (snapshot, clone) = (
        format!("{}@s", scratch.name()),
        format!("{}/load", scratch.name()),
    );
    run("zfs", &["snapshot", &snapshot]);
    let script = format!(
        "set -e; mkdir {0}/mnt; mount -t zfs \"$HELIX_CLONE\" {0}/mnt; \
         zfs get -Ho value readonly,origin \"$HELIX_CLONE\"; \
         cp {0}/mnt/data {0}/copy; umount {0}/mnt; exit 7",
        dir.path().display()
    );
    let ended = example("clone_for_test", &[&snapshot, &clone, "sh", "-c", &script]);
    assert_eq!(
        (ended.status, ended.stderr.as_str()),
        (7, ""),
        "{}",
        ended.stdout
    );
    assert!(
        ended.stdout.contains(&format!("on\n{snapshot}\n")),
        "{}",
        ended.stdout
    );
    assert!(
        ended.stdout.ends_with(&format!("{clone}: removed\n")),
        "{}",
        ended.stdout
    );
    assert!(std::fs::read(copy).unwrap() == data);
    assert!(!zfs().dataset(&clone).unwrap().exists().unwrap());

    let refused = fails("clone_for_test", &[&snapshot, &clone, "/no/such/program"]);
    assert!(refused.contains("/no/such/program"), "{refused}");
    assert!(!zfs().dataset(&clone).unwrap().exists().unwrap());
}

#[test]
fn quotas_are_watched() {
    let scratch = Scratch::new("ex-quota");
    let tenant = scratch.name().to_owned() + "/acme";
    run("zfs", &["create", "-o", "quota=4M", &tenant]);
    let dataset = scratch.child("acme").unwrap();
    let mounted = Mounted::new(&dataset);
    let sync = || {
        zfs()
            .pool(dataset.name().pool())
            .unwrap()
            .sync(SyncMode::Pending)
            .unwrap()
    };
    let line = |told: &str| {
        let line = told.lines().find(|line| line.starts_with(&tenant));
        line.expect("the tenant's line").to_owned()
    };

    let told = works("quota_watch", &[scratch.name()]);
    assert!(
        line(&told).ends_with(&format!("ok (quota of {tenant})")),
        "{told}"
    );
    mounted.write("a", noise(2 << 20, 1));
    sync();
    works("quota_watch", &[scratch.name()]);
    let ended = example("quota_watch", &[scratch.name(), "50"]);
    assert_eq!(ended.status, 2, "{}", ended.stdout);
    assert!(
        line(&ended.stdout).ends_with(&format!("near its limit (quota of {tenant})")),
        "{}",
        ended.stdout
    );
    let full = (0..16).find_map(|n| {
        let written = std::fs::write(mounted.path(&n.to_string()), noise(1 << 20, n));
        sync();
        written.err()
    });
    assert_eq!(full.unwrap().kind(), std::io::ErrorKind::QuotaExceeded);
    let ended = example("quota_watch", &[scratch.name()]);
    assert_eq!(ended.status, 3, "{}", ended.stdout);
    assert!(line(&ended.stdout).contains(" 100% "), "{}", ended.stdout);
    assert!(
        line(&ended.stdout).ends_with(&format!("at its limit (quota of {tenant})")),
        "{}",
        ended.stdout
    );
}

#[test]
fn a_pools_devices() {
    let pool = TestPool::with_layout("ex-pool", 2, &["mirror"]);
    let told = works("pool_status", &[pool.name()]);
    assert!(
        told.starts_with(&format!("{}: ONLINE\n", pool.name())),
        "{told}"
    );
    // Not a terminal.
    assert!(!told.contains('\x1b'), "{told}");
    let line = |told: &str, start: &str| {
        let found = told.lines().find(|line| line.starts_with(start));
        let line = found.unwrap_or_else(|| panic!("no {start:?} in {told}"));
        line.split_whitespace()
            .map(String::from)
            .collect::<Vec<_>>()
    };
    assert_eq!(line(&told, "  └─ mirror-0")[2], "ONLINE");
    let [first, second] = [0, 1].map(|n| pool.file(n));
    for (branch, file) in [("├─", &first), ("└─", &second)] {
        let words = line(&told, &format!("     {branch} {}", file.display()));
        assert_eq!(words[2..], ["ONLINE", "0", "0", "0", "0"], "{told}");
    }
    run(
        "zpool",
        &["offline", pool.name(), second.to_str().expect("UTF-8")],
    );
    let ended = example("pool_status", &[pool.name()]);
    assert_eq!(ended.status, 2, "{}", ended.stdout);
    let words = line(&ended.stdout, &format!("     └─ {}", second.display()));
    assert_eq!(words[2], "OFFLINE");
    assert!(
        line(&ended.stdout, "  status:").contains(&"offline.".into()),
        "{}",
        ended.stdout
    );
    let ended = example("pool_status", &["--json", pool.name()]);
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["name"], pool.name());
    assert_eq!(json["advice"]["code"], "offline_device");
    // All pools are not all healthy then.
    let ended = example("pool_status", &[]);
    assert_eq!(ended.status, 2, "{}", ended.stdout);
    assert!(
        ended
            .stdout
            .contains(&format!("{}: DEGRADED\n", pool.name())),
        "{}",
        ended.stdout
    );
}

#[test]
fn a_scrub_is_watched() {
    let pool = TestPool::with_layout("ex-scrub", 2, &["mirror"]);
    let name = pool.name();
    let handle = zfs().pool(name).unwrap();
    let still = Parameter::scans_stand_still();
    handle.scrub(Scrub::Everything).unwrap();
    handle.pause_scrub().unwrap();
    drop(still);
    let told = works("scrub_watch", &[name]);
    assert!(
        told.starts_with(&format!("{name}: scrub resumed\n")),
        "{told}"
    );
    assert!(told.ends_with("0 KiB repaired, 0 errors left\n"), "{told}");

    // A block whose copies are both gone.
    let data = noise(128 << 10, 7);
    let mounted = Mounted::new(&pool.root());
    mounted.write("data", &data);
    handle.sync(SyncMode::Pending).unwrap();
    for n in 0..2 {
        let disk = std::fs::read(pool.file(n)).unwrap();
        let mut sectors = disk.chunks_exact(512);
        let at = sectors.position(|sector| sector == &data[..512]).unwrap();
        let file = File::options().write(true).open(pool.file(n)).unwrap();
        file.write_all_at(&[0; 512], at as u64 * 512).unwrap();
        file.sync_all().unwrap();
    }
    let ended = example("scrub_watch", &[name]);
    assert_eq!(ended.status, 2, "{}{}", ended.stdout, ended.stderr);
    assert!(
        ended
            .stdout
            .starts_with(&format!("{name}: scrub started\n")),
        "{}",
        ended.stdout
    );
    assert!(
        ended.stdout.ends_with(", 1 errors left\n"),
        "{}",
        ended.stdout
    );
}

#[test]
fn a_mirror_is_made() {
    let pool = TestPool::files("ex-mirror", 2);
    let files = [0, 1].map(|n| pool.file(n).to_str().expect("UTF-8").to_owned());
    let [name, one, other] = [pool.name(), &files[0], &files[1]];
    let refused = fails("zpool_create_mirror", &[name, one, one]);
    assert!(refused.contains("one device"), "{refused}");
    assert!(fails("zpool_create_mirror", &[name, one]).starts_with("usage: "));
    let told = works("zpool_create_mirror", &[name, one, other]);
    let tree = format!("{name}: ONLINE\n  mirror-0 ONLINE\n  {one} ONLINE\n  {other} ONLINE\n");
    assert!(told.starts_with(&tree), "{told}");
    assert_eq!(zfs_get("mountpoint", name), "none");
    let again = format!("{name}-b");
    let refused = fails("zpool_create_mirror", &["--overwrite", &again, one, other]);
    assert!(refused.contains("is part of the pool"), "{refused}");
}

#[test]
fn the_tour() {
    let told = works("tour", &[]);
    let verdict = told.lines().last().unwrap_or_default();
    assert!(
        verdict.starts_with("The tour held: 14 steps and "),
        "{told}"
    );
    assert!(!run("zpool", &["list", "-H", "-o", "name"]).contains("helix-tour-"));
    // No tool to make loop devices with: it says so, and leaves nothing.
    let folder = std::env::var_os("HELIX_ZFS_PROGRAMS").expect("checked above");
    let folder = PathBuf::from(folder);
    let output = Command::new(folder.join("tour"))
        .env("PATH", "/nowhere")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.starts_with("tour: A layout becomes a pool: losetup: "),
        "{message}"
    );
}

#[test]
fn a_stream_in_a_file_is_received() {
    let scratch = Scratch::new("ex-receive");
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("stream");
    let path = file.to_str().unwrap();
    let source = format!("{}/source", scratch.name());
    let target = format!("{}/target", scratch.name());
    run("zfs", &["create", &source]);
    let mounted = Mounted::new(&scratch.child("source").unwrap());
    mounted.write("noise", noise(2 << 20, 1));
    run("zfs", &["snapshot", &format!("{source}@one")]);
    run("sh", &["-c", &format!("zfs send {source}@one > {path}")]);
    let stream = std::fs::read(&file).unwrap();

    std::fs::write(&file, &stream[..stream.len() / 4 * 3]).unwrap();
    let message = fails("receive_file", &["--resumable", &target, path]);
    assert!(message.contains("the stream ends early"), "{message}");
    let kept = example("receive_file", &["--resumable", &target, path]);
    assert!(
        kept.stdout.starts_with("to resume: zfs send -t 1-"),
        "{}",
        kept.stdout
    );
    works("receive_file", &["--abort", &target]);

    std::fs::write(&file, &stream).unwrap();
    let told = works("receive_file", &[&target, path]);
    let line = format!("{target}@one: {} bytes of {source}@one (", stream.len());
    assert!(told.starts_with(&line), "{told}");
    assert_eq!(
        zfs_get("guid", format!("{target}@one")),
        zfs_get("guid", format!("{source}@one"))
    );
    let message = fails("receive_file", &[&target, path]);
    assert!(message.contains("already exists"), "{message}");
}

#[test]
fn a_snapshot_goes_into_a_file() {
    let scratch = Scratch::new("ex-send");
    let dir = TempDir::new().unwrap();
    let files = Mounted::new(&scratch);
    let take = |short: &str, seed| {
        files.write("data", noise(300_000, seed));
        let name = format!("{}@{short}", scratch.name());
        run("zfs", &["snapshot", &name]);
        name
    };
    let (first, second) = (take("first", 1), take("second", 2));
    let path = |name: &str| dir.path().join(name).to_str().expect("UTF-8").to_owned();
    let (full, step) = (path("full"), path("step"));
    let told = works("send_to_file", &[&first, &full]);
    let len = std::fs::metadata(&full).unwrap().len();
    assert_eq!(told, format!("{first}: {len} bytes in {full}\n"));
    works("send_to_file", &[&second, &step, &first]);
    let target = format!("{}/copy", scratch.name());
    for file in [&full, &step] {
        run(
            "sh",
            &["-c", &format!("zfs receive -u '{target}' < '{file}'")],
        );
    }
    let guid = |dataset: &str| zfs_get("guid", format!("{dataset}@second"));
    assert_eq!(guid(&target), guid(scratch.name()));

    // Nothing is left where there is no complete stream.
    let wrong = path("wrong");
    let message = fails("send_to_file", &[&first, &wrong, &second]);
    assert!(message.contains("not in the snapshot's past"), "{message}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn a_dataset_is_replicated() {
    let scratch = Scratch::new("ex-replicate");
    let pool = TestPool::new("ex-replicate");
    let source = format!("{}/acme", scratch.name());
    run("zfs", &["create", &source]);
    Mounted::new(&scratch.child("acme").unwrap()).write("noise", noise(100_000, 1));
    run("zfs", &["snapshot", &format!("{source}@one")]);
    let target = format!("{}/acme", pool.name());
    let dir = TempDir::new().unwrap();
    let socket = dir.path().join("socket");
    let socket = socket.to_str().unwrap();
    let missing = fails("replicate", &["pull", socket, &source, &target]);
    assert!(missing.contains("No such file"), "{missing}");

    let folder = PathBuf::from(std::env::var_os("HELIX_ZFS_PROGRAMS").expect("checked above"));
    let mut serving = Command::new(folder.join("replicate"))
        .args(["serve", socket, scratch.name()])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = std::io::BufReader::new(serving.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut told, &mut line).unwrap();
    assert_eq!(line, format!("{} at {socket}\n", scratch.name()));
    let told = works("replicate", &["pull", socket, &source, &target]);
    let last = format!("readers of {target}/current see one\n");
    assert!(told.ends_with(&last), "{told}");
    assert!(told.contains("receiving one"), "{told}");
    assert!(told.contains("verifying one"), "{told}");
    let again = works("replicate", &["pull", socket, &source, &target]);
    assert_eq!(again, last);
    let orphan = format!("{}/no/parent", pool.name());
    let message = fails("replicate", &["pull", socket, &source, &orphan]);
    assert!(message.contains("does not exist"), "{message}");
    serving.kill().unwrap();
    serving.wait().unwrap();
}
