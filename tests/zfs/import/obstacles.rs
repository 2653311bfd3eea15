//! What is in the way of an import.

use super::{ExportOptions, find, listed, pool, search, text, unlisted};
use crate::create::{files, in_no_file, quiet};
use crate::support::{TestPool, output, run, zfs};
use helix_zfs::zfs_core::pool::{ImportObstacle, ImportOptions, Layout, VdevSpec};
use helix_zfs::zfs_core::{ErrorKind, Health, Pool, Requests};
use std::sync::{Mutex, PoisonError};

#[test]
fn devices_that_are_missing() {
    let of = TestPool::files("import-missing", 4);
    let layout = Layout::new()
        .vdev(VdevSpec::raidz(1, files(&of, 0..3)))
        .vdev(VdevSpec::device(of.file(3)).log());
    let made = zfs().create_pool(of.name(), &quiet(layout)).unwrap();
    made.export(ExportOptions::new()).unwrap();
    let away = of.dir().join("away");
    std::fs::create_dir(&away).unwrap();
    let put_away = |n: usize| std::fs::rename(of.file(n), away.join("file")).unwrap();
    let put_back = |n: usize| std::fs::rename(away.join("file"), of.file(n)).unwrap();
    let as_listed = |health: Health| {
        let [(name, _, state)] = listed(&of, false).try_into().unwrap();
        assert_eq!(
            (name.as_str(), state.as_str()),
            (of.name(), health.as_str())
        );
    };

    // One of a raidz1 may be.
    put_away(0);
    let found = find(&of);
    assert_eq!(found.health, Health::Degraded);
    assert!(found.is_importable(), "{:?}", found.obstacles);
    as_listed(found.health);
    put_back(0);

    // A log may not, unless it is said.
    put_away(3);
    let found = find(&of);
    as_listed(found.health);
    // Before 2.3, which brought this request, the kernel cannot tell what it is that is missing.
    let requests = zfs().capabilities().unwrap().requests;
    let expected = match requests.contains(Requests::POOL_PREFETCH) {
        true => ImportObstacle::MissingLog,
        false => ImportObstacle::MissingDevices,
    };
    assert_eq!(found.obstacles, [expected]);
    let error = found.import(&unlisted()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeviceUnavailable, "{error}");
    let imported = found.import(&unlisted().without_log()).unwrap();
    imported.export(ExportOptions::new()).unwrap();
    put_back(3);

    // Two may not.
    put_away(1);
    std::fs::rename(of.file(2), away.join("second")).unwrap();
    let found = find(&of);
    assert_eq!(found.obstacles, [ImportObstacle::MissingDevices]);
    as_listed(found.health);
    let error = found.import(&unlisted()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeviceUnavailable, "{error}");
    assert!(!pool(&of).exists().unwrap());
    put_back(1);
    std::fs::rename(away.join("second"), of.file(2)).unwrap();
    find(&of).import(&unlisted()).unwrap();
}

#[test]
fn features_that_the_module_lacks() {
    let of = TestPool::files("import-features", 1);
    let made = zfs()
        .create_pool(of.name(), &quiet(VdevSpec::device(of.file(0))))
        .unwrap();
    made.export(ExportOptions::new()).unwrap();
    let dir = text(of.dir());
    let zhack = |args: &[&str]| {
        let mut all = vec!["-d", dir, "feature"];
        all.extend(args);
        run("zhack", &all);
    };
    zhack(&["enable", "-r", of.name(), "org.example:writes_only"]);
    zhack(&["ref", of.name(), "org.example:writes_only"]);
    let found = find(&of);
    assert_eq!(
        found.obstacles,
        [ImportObstacle::UnsupportedFeatures {
            features: vec!["org.example:writes_only".into()],
            read_only: true,
        }]
    );
    let error = found.import(&unlisted()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("writes_only"), "{error}");
    let imported = found.import(&unlisted().read_only()).unwrap();
    imported.export(ExportOptions::new()).unwrap();
    zhack(&["enable", of.name(), "org.example:all"]);
    zhack(&["ref", "-m", of.name(), "org.example:all"]);
    let found = find(&of);
    assert!(
        matches!(
            found.obstacles.as_slice(),
            [ImportObstacle::UnsupportedFeatures {
                read_only: false,
                ..
            }]
        ),
        "{:?}",
        found.obstacles
    );
    let error = found.import(&unlisted().read_only()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

const HOSTID: &str = "/sys/module/spl/parameters/spl_hostid";

/// The machine as another host, until it is dropped.
struct Host {
    own: String,
    _alone: std::sync::MutexGuard<'static, ()>,
}

impl Host {
    fn other(id: u32) -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let own = std::fs::read_to_string(HOSTID).unwrap();
        std::fs::write(HOSTID, id.to_string()).unwrap();
        Self { own, _alone: alone }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = std::fs::write(HOSTID, &self.own);
    }
}

#[test]
fn other_hosts() {
    let of = TestPool::files("import-host", 2);
    let hard = ExportOptions::new().hard();
    // Let go of without an export, by a host with another number.
    let other = Host::other(0xbeef);
    let make = |n: usize, name: &str, multihost: bool| -> Pool {
        let options =
            quiet(VdevSpec::device(of.file(n))).properties(in_no_file().multihost(multihost));
        zfs().create_pool(name, &options).unwrap()
    };
    let pool = make(0, of.name(), false);
    pool.export(hard).unwrap();
    assert!(find(&of).is_importable());
    drop(other);
    let found = find(&of);
    assert_eq!(
        found.obstacles,
        [ImportObstacle::OtherHost {
            hostid: 0xbeef,
            hostname: found.hostname.clone(),
        }]
    );
    assert!(found.hostname.is_some());
    let error = found.import(&unlisted()).unwrap_err();
    assert_eq!((error.kind(), error.errno()), (ErrorKind::OtherHost, None));
    let command = output("zpool", &["import", "-N", "-d", text(of.dir()), of.name()]);
    assert!(!command.status.success());
    let pool = found.import(&unlisted().any_host()).unwrap();
    pool.export(ExportOptions::new()).unwrap();
    assert!(find(&of).is_importable());
    find(&of).import(&unlisted()).unwrap().destroy().unwrap();
}

#[test]
fn pools_that_guard_themselves() {
    let of = TestPool::files("import-mmp", 1);
    // A host without a number cannot have such a pool.
    let other = Host::other(0xcafe);
    let options = quiet(VdevSpec::device(of.file(0))).properties(in_no_file().multihost(true));
    let pool = zfs().create_pool(of.name(), &options).unwrap();
    pool.export(ExportOptions::new()).unwrap();
    // `zgenhostid` has nothing to do with it: the parameter comes first, and then the file.
    let none = std::fs::read("/etc/hostid").unwrap_or_default();
    let _ = std::fs::remove_file("/etc/hostid");
    std::fs::write(HOSTID, "0").unwrap();
    let found = zfs().find_pools(&search(&of));
    let imported = found
        .as_ref()
        .ok()
        .and_then(|found| found.first())
        .map(|found| found.import(&ImportOptions::new().any_host()));
    if !none.is_empty() {
        std::fs::write("/etc/hostid", &none).unwrap();
    }
    drop(other);
    let found = found.unwrap();
    assert_eq!(found[0].obstacles, [ImportObstacle::NoHostId]);
    assert_eq!(imported.unwrap().unwrap_err().kind(), ErrorKind::OtherHost);
    let _other = Host::other(0xcafe);
    find(&of).import(&unlisted()).unwrap().destroy().unwrap();
}
