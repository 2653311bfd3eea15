use proptest::prelude::*;
use zfs_core::DatasetName;

use super::Scope;
use crate::scope::{Escape, ScopeError};

fn name(name: &str) -> DatasetName {
    DatasetName::new(name).unwrap()
}

fn escape(path: &str) -> Option<Escape> {
    let tenant = name("tank/tenants/acme");
    match (Scope { tenant: &tenant }).child(&tenant, path) {
        Ok(_) => None,
        Err(ScopeError::Outside { name, escape, .. }) => {
            assert_eq!(name, path);
            Some(escape)
        }
        Err(error) => unreachable!("{error}"),
    }
}

#[test]
fn escapes_are_told_apart() {
    assert_eq!(escape("db/wal"), None);
    assert_eq!(escape("/db"), Some(Escape::Absolute));
    for path in ["..", "../beta", "db/../../beta", ".", "db/."] {
        assert_eq!(escape(path), Some(Escape::Relative), "{path}");
    }
    for path in ["@s", "db@s", "db#b", "../beta@s"] {
        assert_eq!(escape(path), Some(Escape::NoDataset), "{path}");
    }
    assert_eq!(escape("db/%recv"), Some(Escape::Hidden));
    for path in ["", "db//wal", "db/", "db\0", "d*b"] {
        assert_eq!(escape(path), Some(Escape::Invalid), "{path:?}");
    }
    assert_eq!(escape(&"x".repeat(256)), Some(Escape::Invalid));
}

#[test]
fn a_neighbour_with_a_longer_name_is_elsewhere() {
    let tenant = name("tank/tenants/acme");
    let scope = Scope { tenant: &tenant };
    for other in [
        "tank/tenants/acme2",
        "tank/tenants",
        "tank",
        "tank2/tenants/acme",
    ] {
        assert!(!scope.contains(&name(other)), "{other}");
        let error = scope.path(&name(other)).unwrap_err();
        let elsewhere = Escape::Elsewhere;
        assert!(
            matches!(error, ScopeError::Outside { escape, .. } if escape == elsewhere),
            "{other}"
        );
    }
    assert_eq!(scope.path(&tenant).unwrap(), None);
    let below = name("tank/tenants/acme/db/wal");
    assert_eq!(scope.path(&below).unwrap(), Some("db/wal"));
}

fn component() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9][a-zA-Z0-9_.:-]{0,8}",
        Just("..".to_owned()),
        Just(".".to_owned()),
        Just(String::new()),
        "[ -~]{0,6}",
    ]
}

proptest! {
    /// Whatever is asked for: what is got lies below the tenant, and is what was asked for.
    #[test]
    fn no_path_leaves_the_tenant(path in prop_oneof![
        prop::collection::vec(component(), 0..6).prop_map(|parts| parts.join("/")),
        any::<String>(),
    ]) {
        let tenant = name("tank/tenants/acme");
        let scope = Scope { tenant: &tenant };
        if let Ok(child) = scope.child(&tenant, &path) {
            prop_assert!(tenant.is_ancestor_of(&child));
            prop_assert!(scope.contains(&child));
            prop_assert_eq!(scope.path(&child).unwrap(), Some(path.as_str()));
            let odd = |part: &str| matches!(part, "" | "." | "..");
            prop_assert!(!path.split('/').any(odd));
            prop_assert!(!path.contains(['@', '#', '%', '\0']));
        }
    }

    /// A path and the full name lead to the same dataset, and names of others to none.
    #[test]
    fn names_and_paths_agree(
        tenant in "[a-z]{1,3}(/[a-z]{1,3}){0,3}",
        other in "[a-z]{1,3}(/[a-z]{1,3}){0,5}",
    ) {
        prop_assume!(DatasetName::new(&tenant).is_ok() && DatasetName::new(&other).is_ok());
        let (tenant, other) = (name(&tenant), name(&other));
        let scope = Scope { tenant: &tenant };
        match scope.path(&other) {
            Ok(None) => prop_assert_eq!(&tenant, &other),
            Ok(Some(path)) => {
                prop_assert_eq!(scope.child(&tenant, path).unwrap(), other.clone());
                prop_assert!(scope.contains(&other));
            }
            Err(_) => {
                prop_assert!(!scope.contains(&other));
                let parts: Vec<&str> = tenant.as_str().split('/').collect();
                let others: Vec<&str> = other.as_str().split('/').collect();
                prop_assert!(!others.starts_with(&parts));
            }
        }
    }
}
