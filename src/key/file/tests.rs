use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use super::*;

fn id() -> KeyId {
    KeyId::new("acme").unwrap()
}

fn key(byte: u8) -> KeyMaterial {
    KeyMaterial::from_bytes(&[byte; 32]).unwrap()
}

/// A folder with version 1 of a key.
fn with_one() -> (TempDir, FileKeys) {
    let (folder, keys) = empty();
    keys.store(&id(), KeyVersion::NONE, &key(1)).unwrap();
    (folder, keys)
}

fn empty() -> (TempDir, FileKeys) {
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
    let keys = FileKeys::new(folder.path());
    (folder, keys)
}

fn problem<T: std::fmt::Debug>(outcome: Result<T, KeyError>) -> KeyProblem {
    outcome.unwrap_err().problem()
}

#[test]
fn what_is_stored_is_there() {
    let (folder, keys) = empty();
    assert_eq!(problem(keys.current(&id())), KeyProblem::NotFound);
    assert_eq!(keys.versions(&id()).unwrap(), []);
    for number in 1..=3 {
        let stored = keys.store(&id(), KeyVersion(u64::from(number) - 1), &key(number));
        assert_eq!(stored.unwrap(), KeyVersion(number.into()));
        let current = keys.current(&id()).unwrap();
        assert_eq!(current.version, KeyVersion(number.into()));
        assert!(current.key.is_same(&key(number)));
    }
    assert!(keys.version(&id(), KeyVersion(2)).unwrap().is_same(&key(2)));
    assert_eq!(
        problem(keys.version(&id(), KeyVersion(4))),
        KeyProblem::NotFound
    );
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.path().join("acme")), 0o700);
    assert_eq!(mode(&folder.path().join("acme/3")), 0o600);
}

#[test]
fn only_what_follows_the_newest_is_stored() {
    let (_folder, keys) = with_one();
    for after in [0, 2, u64::MAX] {
        assert_eq!(
            problem(keys.store(&id(), KeyVersion(after), &key(2))),
            KeyProblem::Conflict
        );
    }
    assert_eq!(keys.versions(&id()).unwrap(), [KeyVersion(1)]);
}

#[test]
fn of_many_that_store_at_once_one_does() {
    let (_folder, keys) = with_one();
    let stored = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (keys, stored) = (&keys, &stored);
            scope.spawn(
                move || match keys.store(&id(), KeyVersion(1), &key(number)) {
                    Ok(version) => {
                        assert_eq!(version, KeyVersion(2));
                        stored.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(error) => assert_eq!(error.problem(), KeyProblem::Conflict),
                },
            );
        }
    });
    assert_eq!(stored.into_inner(), 1);
    assert_eq!(keys.versions(&id()).unwrap().len(), 2);
}

#[test]
fn a_retired_version_is_gone_and_its_number_too() {
    let (_folder, keys) = with_one();
    keys.store(&id(), KeyVersion(1), &key(2)).unwrap();
    assert_eq!(
        problem(keys.retire(&id(), KeyVersion(2))),
        KeyProblem::Conflict
    );
    for _ in 0..2 {
        keys.retire(&id(), KeyVersion(1)).unwrap();
        assert_eq!(keys.versions(&id()).unwrap(), [KeyVersion(2)]);
    }
    keys.retire(&id(), KeyVersion::NONE).unwrap();
    assert_eq!(
        keys.store(&id(), KeyVersion(2), &key(3)).unwrap(),
        KeyVersion(3)
    );
    let other = KeyId::new("other").unwrap();
    keys.retire(&other, KeyVersion(1)).unwrap();
}

#[test]
fn a_key_that_others_can_reach_is_not_used() {
    let (folder, keys) = with_one();
    for path in ["", "acme", "acme/1"] {
        let path = folder.path().join(path);
        let right = fs::metadata(&path).unwrap().permissions();
        for bit in [0o001, 0o002, 0o004, 0o010, 0o020, 0o040] {
            fs::set_permissions(&path, Permissions::from_mode(right.mode() | bit)).unwrap();
            let error = keys.current(&id()).unwrap_err();
            assert_eq!(error.problem(), KeyProblem::Permissions, "{error}");
            assert_eq!(
                problem(keys.version(&id(), KeyVersion(1))),
                KeyProblem::Permissions
            );
        }
        fs::set_permissions(&path, right).unwrap();
    }
    assert!(keys.current(&id()).is_ok());
}

#[test]
fn symbolic_links_are_not_followed() {
    let (folder, keys) = with_one();
    let (elsewhere, _) = with_one();
    fs::remove_file(folder.path().join("acme/1")).unwrap();
    symlink(
        elsewhere.path().join("acme/1"),
        folder.path().join("acme/1"),
    )
    .unwrap();
    assert_eq!(problem(keys.current(&id())), KeyProblem::Permissions);

    fs::remove_dir_all(folder.path().join("acme")).unwrap();
    symlink(elsewhere.path().join("acme"), folder.path().join("acme")).unwrap();
    assert_eq!(problem(keys.current(&id())), KeyProblem::Permissions);
    assert_eq!(
        problem(keys.store(&id(), KeyVersion(1), &key(2))),
        KeyProblem::Permissions
    );

    let link = folder.path().join("link");
    symlink(elsewhere.path(), &link).unwrap();
    assert_eq!(
        problem(FileKeys::new(&link).current(&id())),
        KeyProblem::Permissions
    );
}

#[test]
fn what_is_no_key_is_malformed() {
    let (folder, keys) = with_one();
    let path = folder.path().join("acme/1");
    let hex = "0aF1".repeat(16);
    for bad in [
        "",
        "x",
        &"x".repeat(31),
        &"x".repeat(33),
        &"x".repeat(64),
        &format!("{hex}\n\n"),
        &format!("{hex} "),
        &"0".repeat(100_000),
    ] {
        fs::write(&path, bad).unwrap();
        let error = keys.current(&id()).unwrap_err();
        assert_eq!(error.problem(), KeyProblem::Malformed, "{bad:?}");
        assert!(!error.to_string().contains("xx"), "{error}");
    }
    for good in [hex.clone(), format!("{hex}\n")] {
        fs::write(&path, good).unwrap();
        let expected = KeyMaterial::from_hex(hex.as_bytes()).unwrap();
        assert!(keys.current(&id()).unwrap().key.is_same(&expected));
    }
}

#[test]
fn only_regular_files_are_keys() {
    let (folder, keys) = with_one();
    let path = folder.path().join("acme/2");
    let as_file = |kind, mode| {
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
    };
    as_file(rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR);
    assert_eq!(problem(keys.current(&id())), KeyProblem::Permissions);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
    assert_eq!(problem(keys.current(&id())), KeyProblem::Permissions);
}

#[test]
fn names_that_are_no_versions_are_none() {
    let (folder, keys) = with_one();
    for name in [
        ".new",
        "0",
        "01",
        "+2",
        "-1",
        "2x",
        "9999999999999999999999",
    ] {
        fs::write(folder.path().join("acme").join(name), [2; 32]).unwrap();
    }
    assert_eq!(keys.versions(&id()).unwrap(), [KeyVersion(1)]);
    // What a process that was killed left is replaced.
    keys.store(&id(), KeyVersion(1), &key(2)).unwrap();
    assert!(keys.current(&id()).unwrap().key.is_same(&key(2)));
    assert!(!folder.path().join("acme/.new").exists());
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    let (folder, _) = empty();
    let keys = FileKeys::new(folder.path().join("none"));
    assert_eq!(problem(keys.current(&id())), KeyProblem::Io);
    assert_eq!(problem(keys.versions(&id())), KeyProblem::Io);
    assert_eq!(
        problem(keys.store(&id(), KeyVersion::NONE, &key(1))),
        KeyProblem::Io
    );
}
