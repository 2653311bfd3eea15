//! What the loaded library and module can do, compared with what their commands say.

use crate::support::{TENANT, TestPool, as_user, run, zfs};
use helix_zfs::zfs_core::{LibraryLevel, Requests};

/// The versions of the commands, which come with the library, and of the module.
fn versions() -> (String, String) {
    let text = run("zfs", &["version"]);
    let of = |prefix: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(prefix))
            .unwrap()
            .to_owned()
    };
    (of("zfs-"), of("zfs-kmod-"))
}

fn level(version: &str) -> LibraryLevel {
    match version.get(..3) {
        Some("2.1") => LibraryLevel::V2_1,
        Some("2.2") => LibraryLevel::V2_2,
        Some("2.3" | "2.4") => LibraryLevel::V2_3,
        other => panic!("{other:?}"),
    }
}

#[test]
fn versions_are_as_the_command_tells_them() {
    let capabilities = zfs().capabilities().unwrap();
    let (library, module) = versions();
    assert_eq!(capabilities.library, level(&library));
    assert_eq!(capabilities.module.text, module);
    let (major, minor, patch) = capabilities.module.numbers.unwrap();
    assert!(
        module.starts_with(&format!("{major}.{minor}.{patch}")),
        "{module}"
    );
}

#[test]
fn requests_are_those_of_the_version() {
    let found = zfs().capabilities().unwrap().requests;
    let (_, minor, _) = zfs().capabilities().unwrap().module.numbers.unwrap();
    let since_2_2 = Requests::VDEV_PROPERTIES | Requests::POOL_SCRUB | Requests::USER_NAMESPACES;
    let expected = match minor {
        1 => Requests::empty(),
        2 => since_2_2,
        _ => Requests::all(),
    };
    assert_eq!(found, expected);
}

#[test]
fn features_and_properties_are_those_of_the_module() {
    let capabilities = zfs().capabilities().unwrap();
    let pool = TestPool::new("features");
    let listed = run("zpool", &["get", "-Hpo", "property", "all", pool.name()]);
    let mut features = 0;
    for property in listed.lines() {
        match property.strip_prefix("feature@") {
            Some(feature) => {
                assert!(capabilities.has_pool_feature(feature), "{feature}");
                features += 1;
            }
            None => assert!(
                capabilities.pool_properties.contains(property),
                "{property}"
            ),
        }
    }
    assert_eq!(capabilities.pool_features.len(), features);
    assert!(!capabilities.has_pool_feature("no_such_feature"));
    for property in ["quota", "recordsize", "encryption", "keystatus"] {
        assert!(
            capabilities.dataset_properties.contains(property),
            "{property}"
        );
    }
    assert!(
        capabilities
            .kernel_features
            .contains("org.zfsonlinux:vdev_trim")
    );
    let vdev_properties = !capabilities.vdev_properties.is_empty();
    assert_eq!(
        vdev_properties,
        capabilities.requests.contains(Requests::VDEV_PROPERTIES)
    );
}

#[test]
fn a_user_may_ask() {
    let zfs = zfs();
    let asked = as_user(TENANT, || zfs.capabilities().unwrap());
    assert_eq!(asked, zfs.capabilities().unwrap());
}
