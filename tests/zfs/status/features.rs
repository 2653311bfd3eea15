//! What is not wrong, but not the newest either.

use super::agreement::{agrees, well};
use super::disk;
use crate::support::{TestPool, run};
use helix_zfs::zfs_core::pool::StatusCode;

fn created(topic: &str, options: &[&str]) -> TestPool {
    let of = TestPool::files(topic, 1);
    let disk = disk(&of, 0);
    let mut arguments = vec![
        "create",
        "-f",
        "-o",
        "cachefile=none",
        "-O",
        "mountpoint=none",
    ];
    arguments.extend_from_slice(options);
    arguments.extend_from_slice(&[of.name(), &disk]);
    run("zpool", &arguments);
    of
}

fn set(of: &TestPool, property: &str) {
    run("zpool", &["set", property, of.name()]);
}

#[test]
fn an_old_format_and_features() {
    let of = created("st-version", &["-o", "version=28"]);
    assert_eq!(agrees(&of).advice.code, StatusCode::VersionOlder);
    assert!(!agrees(&of).advice.code.is_problem());
    set(&of, "compatibility=legacy");
    well(&agrees(&of));
    drop(of);

    let of = created("st-features", &["-d"]);
    let report = agrees(&of);
    assert_eq!(report.advice.code, StatusCode::FeatureDisabled);
    let disabled = String::from("com.delphix:async_destroy");
    assert!(report.advice.features.contains(&disabled));
    set(&of, "compatibility=legacy");
    well(&agrees(&of));
    set(&of, "compatibility=off");
    run("zpool", &["upgrade", of.name()]);
    well(&agrees(&of));
    set(&of, "compatibility=openzfs-2.0-linux,zol-0.8");
    let report = agrees(&of);
    assert_eq!(report.advice.code, StatusCode::IncompatibleFeature);
    let superfluous = String::from("org.openzfs:draid");
    assert!(report.advice.features.contains(&superfluous), "{report:?}");
    assert_eq!(report.advice.code.message_id(), None);
}
