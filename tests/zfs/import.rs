//! Pools that are found and imported, made here or by the `zpool` command.

mod labels;
mod obstacles;

use crate::create::{files, in_no_file, quiet};
use crate::support::{Loop, Mounted, TENANT, TestPool, as_user, output, run, zfs, zfs_get};
use helix_zfs::zfs_core::key::{Encryption, WrappingKey};
use helix_zfs::zfs_core::pool::{
    ExportOptions, FoundPool, ImportOptions, Layout, PoolState, Search, VdevClass, VdevSpec,
};
use helix_zfs::zfs_core::{CreateOptions, Errno, ErrorKind, Health, Pool};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The search in the folder of a pool's files.
fn search(of: &TestPool) -> Search {
    Search::new().dir(of.dir())
}

/// The only pool in the folder.
fn find(of: &TestPool) -> FoundPool {
    let mut found = zfs().find_pools(&search(of)).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// Options that leave nothing behind on the host.
fn unlisted() -> ImportOptions {
    ImportOptions::new().properties(in_no_file())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn pool(of: &TestPool) -> Pool {
    zfs().pool(of.name()).unwrap()
}

fn get(property: &str, pool: &str) -> String {
    run("zpool", &["get", "-Hpo", "value", property, pool])
        .trim_end()
        .to_owned()
}

/// What `zpool import` says of the pools in the folder: names, identities and states.
fn listed(of: &TestPool, destroyed: bool) -> Vec<(String, u64, String)> {
    let mut args = vec!["import", "-d", text(of.dir())];
    if destroyed {
        args.push("-D");
    }
    let printed = output("zpool", &args);
    let printed = String::from_utf8(printed.stdout).unwrap();
    let field = |line: &str, name: &str| {
        line.trim_start()
            .strip_prefix(name)
            .map(|value| value.trim().to_owned())
    };
    let all = |name: &str| -> Vec<String> {
        printed
            .lines()
            .filter_map(|line| field(line, name))
            .collect()
    };
    let states = all("state:");
    all("pool:")
        .into_iter()
        .zip(all("id:"))
        .zip(states)
        .map(|((pool, id), state)| (pool, id.parse().unwrap(), state))
        .collect()
}

#[test]
fn from_the_command_and_back() {
    let of = TestPool::files("import", 10);
    let n = |n: usize| text(&of.file(n)).to_owned();
    of.create(&[
        "raidz1",
        &n(0),
        &n(1),
        &n(2),
        "special",
        "mirror",
        &n(3),
        &n(4),
        "log",
        "mirror",
        &n(5),
        &n(6),
        &n(7),
        "cache",
        &n(8),
        "spare",
        &n(9),
    ]);
    run("zpool", &["set", "comment=from afar", of.name()]);
    let mounted = Mounted::new(&of.root());
    mounted.write("f", "kept");
    drop(mounted);
    assert_eq!(zfs().find_pools(&search(&of)).unwrap().len(), 0);
    run("zpool", &["export", of.name()]);

    // In another folder now, so that every path has to be found anew.
    let moved = of.dir().join("moved");
    std::fs::create_dir(&moved).unwrap();
    let place = |n: usize| moved.join(format!("part{n}"));
    for n in 0..10 {
        std::fs::rename(of.file(n), place(n)).unwrap();
    }
    // Neither of these is of any pool.
    std::fs::write(moved.join("text"), "text").unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        moved.join("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    let search = Search::new().dir(&moved);
    let found = zfs().find_pools(&search).unwrap();
    let [found] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert!(found.is_importable(), "{found:?}");
    assert_eq!(
        (found.name.as_str(), found.state, found.health),
        (of.name(), PoolState::Exported, Health::Online)
    );
    assert_eq!(found.comment.as_deref(), Some("from afar"));
    let devices: BTreeSet<PathBuf> = found.devices().map(Path::to_owned).collect();
    assert_eq!(devices, (0..10).map(place).collect());
    let class = |n: usize| found.vdevs().with_path(place(n)).unwrap().class;
    assert_eq!(
        [0, 3, 5, 8, 9].map(class),
        [
            VdevClass::Data,
            VdevClass::Special,
            VdevClass::Log,
            VdevClass::Cache,
            VdevClass::Spare
        ]
    );

    let json = serde_json::to_value(found).unwrap();
    assert_eq!(json["guid"], found.guid.to_string());
    assert_eq!(json["state"], "exported");
    assert_eq!(json["root"]["children"][0]["kind"], "raidz");
    assert_eq!(json["obstacles"], serde_json::json!([]));

    let imported = found.import(&unlisted()).unwrap();
    assert_eq!(imported.name().as_str(), of.name());
    let status = imported.status().unwrap();
    assert_eq!((status.health, status.guid), (Health::Online, found.guid));
    assert!((0..10).all(|n| status.vdevs().with_path(place(n)).is_some()));
    assert_eq!(zfs_get("mounted", of.name()), "no");
    assert_eq!(Mounted::new(&of.root()).read("f"), b"kept");
    let history = run("zpool", &["history", of.name()]);
    let line = format!(
        "zpool import -o cachefile=none {} {}",
        found.guid,
        of.name()
    );
    assert!(history.contains(&line), "{history}");
    let again = found.import(&unlisted()).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists, "{again}");
    let again = zfs().import_pool(of.name(), &search, &unlisted());
    assert_eq!(again.unwrap_err().kind(), ErrorKind::AlreadyExists);

    // And back to the command.
    imported.export(ExportOptions::new()).unwrap();
    run("zpool", &["import", "-N", "-d", text(&moved), of.name()]);
    assert_eq!(imported.status().unwrap().health, Health::Online);
}

#[test]
fn under_other_names_and_terms() {
    let of = TestPool::files("import-as", 2);
    let layout = VdevSpec::mirror(files(&of, 0..2));
    let made = zfs().create_pool(of.name(), &quiet(layout)).unwrap();
    let guid = made.status().unwrap().guid;
    made.root()
        .child("old")
        .unwrap()
        .create(&CreateOptions::filesystem())
        .unwrap();
    made.take_checkpoint().unwrap();
    made.root()
        .child("new")
        .unwrap()
        .create(&CreateOptions::filesystem())
        .unwrap();
    made.export(ExportOptions::new()).unwrap();
    let import = |options: &ImportOptions| zfs().import_pool(guid, &search(&of), options).unwrap();
    let exists = |pool: &Pool, name: &str| pool.root().child(name).unwrap().exists().unwrap();

    // Only looked at, at its checkpoint.
    let altroot = of.dir().join("root");
    let pool = import(
        &ImportOptions::new()
            .rewind_to_checkpoint()
            .read_only()
            .altroot(&altroot),
    );
    assert!(exists(&pool, "old") && !exists(&pool, "new"));
    assert_eq!(get("readonly", of.name()), "on");
    assert_eq!(get("altroot", of.name()), text(&altroot));
    assert_eq!(get("cachefile", of.name()), "none");
    let child = pool.root().child("x").unwrap();
    let error = child.create(&CreateOptions::filesystem()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnlyPool);
    pool.export(ExportOptions::new()).unwrap();

    // Under a name for the time being.
    let temporary = format!("{}-t", of.name());
    let pool = import(&ImportOptions::new().temporary_name(&temporary));
    assert_eq!(pool.name().as_str(), temporary);
    assert!(exists(&pool, "new"));
    assert_eq!(get("cachefile", &temporary), "none");
    pool.export(ExportOptions::new()).unwrap();
    assert_eq!(find(&of).name, of.name());

    // For good, and back in the past.
    let renamed = format!("{}-r", of.name());
    let pool = import(
        &unlisted()
            .name(&renamed)
            .rewind_to_checkpoint()
            .properties(in_no_file().comment("renamed").unwrap()),
    );
    assert!(exists(&pool, "old") && !exists(&pool, "new"));
    assert_eq!(get("comment", &renamed), "renamed");
    pool.export(ExportOptions::new()).unwrap();
    assert_eq!(find(&of).name, renamed);
    let options = unlisted().name(of.name());
    let error = zfs().import_pool(guid, &search(&of), &options.clone().rewind_to_checkpoint());
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    import(&options);

    // What is wrong is said before the kernel is asked, or by it.
    zfs()
        .pool(of.name())
        .unwrap()
        .export(ExportOptions::new())
        .unwrap();
    let found = find(&of);
    let refused = |options: ImportOptions| found.import(&options).unwrap_err().kind();
    assert_eq!(refused(unlisted().name("a/b")), ErrorKind::InvalidName);
    assert_eq!(
        refused(unlisted().altroot("here")),
        ErrorKind::InvalidArgument
    );
    let unknown = unlisted().properties(in_no_file().feature("time_travel").unwrap());
    assert_eq!(refused(unknown), ErrorKind::InvalidArgument);
    assert!(!zfs().pool(of.name()).unwrap().exists().unwrap());
    found.import(&unlisted()).unwrap();
}

#[test]
fn names_that_several_pools_have() {
    let of = TestPool::files("import-twice", 2);
    let make = |n: usize| {
        let made = zfs()
            .create_pool(of.name(), &quiet(VdevSpec::device(of.file(n))))
            .unwrap();
        let guid = made.status().unwrap().guid;
        made.export(ExportOptions::new()).unwrap();
        guid
    };
    let guids = [make(0), make(1)];
    let error = zfs()
        .import_pool(of.name(), &search(&of), &unlisted())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    for guid in guids {
        assert!(error.to_string().contains(&guid.to_string()), "{error}");
    }
    let first = zfs()
        .import_pool(guids[0], &search(&of), &unlisted())
        .unwrap();
    assert_eq!(first.status().unwrap().guid, guids[0]);
    // The other one finds its name taken, and gets another.
    let second = find(&of);
    assert_eq!(second.guid, guids[1]);
    assert_eq!(
        second.obstacles,
        [helix_zfs::zfs_core::pool::ImportObstacle::NameTaken]
    );
    let json = serde_json::to_value(&second.obstacles).unwrap();
    assert_eq!(json, serde_json::json!([{"kind": "name_taken"}]));
    let error = second.import(&unlisted()).unwrap_err();
    assert_eq!(
        (error.kind(), error.errno()),
        (ErrorKind::AlreadyExists, Some(Errno::EEXIST))
    );
    let other = second
        .import(&unlisted().name(format!("{}-b", of.name())))
        .unwrap();
    assert_eq!(other.status().unwrap().guid, guids[1]);
    other.destroy().unwrap();
    let error = zfs().import_pool("hz-no-such-pool", &search(&of), &unlisted());
    assert_eq!(error.unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn destroyed_and_encrypted_on_a_disk() {
    let of = TestPool::files("import-disk", 2);
    let devices = [0, 1].map(|n| Loop::new(&of.file(n)));
    let key = WrappingKey::raw(&[9; 32]);
    let layout = Layout::new()
        .vdev(VdevSpec::device(devices[0].path()))
        .cache(devices[1].path());
    let options = quiet(layout).encryption(Encryption::aes_256_gcm(&key).unwrap());
    let made = zfs().create_pool(of.name(), &options).unwrap();
    made.destroy().unwrap();

    let on = || {
        Search::new()
            .device(devices[0].path())
            .device(devices[1].path())
    };
    assert_eq!(zfs().find_pools(&on()).unwrap().len(), 0);
    let [found] = zfs()
        .find_pools(&on().destroyed())
        .unwrap()
        .try_into()
        .unwrap();
    assert_eq!(found.state, PoolState::Destroyed);
    assert!(found.is_importable(), "{:?}", found.obstacles);
    let mut paths: Vec<&Path> = found.devices().collect();
    paths.sort_unstable();
    let mut expected = [devices[0].path(), devices[1].path()].map(Path::new);
    expected.sort_unstable();
    assert_eq!(paths, expected);
    // Among all devices of the machine.
    let import = |search: &Search| zfs().import_pool(of.name(), search, &unlisted());
    let error = import(&Search::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let pool = import(&Search::new().destroyed()).unwrap();
    assert_eq!(pool.status().unwrap().caches[0].health(), Health::Online);

    // The key is the caller's to load.
    let root = pool.root();
    assert_eq!(zfs_get("keystatus", of.name()), "unavailable");
    root.load_key(&key).unwrap();
    assert_eq!(zfs_get("keystatus", of.name()), "available");
    pool.export(ExportOptions::new()).unwrap();

    // By its device alone; its own name for it wins over one found first.
    let link = of.dir().join("link");
    std::os::unix::fs::symlink(devices[0].path(), &link).unwrap();
    let search = Search::new().device(&link).device(devices[0].path());
    let [found] = zfs().find_pools(&search).unwrap().try_into().unwrap();
    assert_eq!(
        found.root.children[0].path.as_deref(),
        Some(Path::new(devices[0].path()))
    );
    let [found] = zfs()
        .find_pools(&Search::new().device(&link))
        .unwrap()
        .try_into()
        .unwrap();
    assert_eq!(found.root.children[0].path.as_deref(), Some(&*link));
    let pool = found.import(&unlisted()).unwrap();
    pool.destroy().unwrap();
}

#[test]
fn places_that_cannot_be_searched() {
    let of = TestPool::new("import-denied");
    run("zpool", &["export", of.name()]);
    let kind = |search: &Search| zfs().find_pools(search).unwrap_err().kind();
    let nowhere = Path::new("/nonexistent/dir");
    assert_eq!(kind(&Search::new().dir(nowhere)), ErrorKind::NotFound);
    assert_eq!(kind(&Search::new().device(nowhere)), ErrorKind::NotFound);
    assert_eq!(
        kind(&Search::new().device(of.dir())),
        ErrorKind::InvalidArgument
    );
    assert_eq!(
        kind(&Search::new().device("/dev/null")),
        ErrorKind::InvalidArgument
    );
    // Whoever may not read the devices, or may read them and no more.
    let denied = || as_user(TENANT, || kind(&search(&of)));
    assert_eq!(denied(), ErrorKind::PermissionDenied);
    let mode = std::os::unix::fs::PermissionsExt::from_mode;
    std::fs::set_permissions(of.dir(), mode(0o755)).unwrap();
    std::fs::set_permissions(of.file(0), mode(0o644)).unwrap();
    assert_eq!(denied(), ErrorKind::PermissionDenied);
    let found = find(&of);
    as_user(TENANT, || {
        let error = found.import(&unlisted()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    });
    found.import(&unlisted()).unwrap();
}
