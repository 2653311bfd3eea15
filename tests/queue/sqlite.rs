use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use helix_zfs::gate::{JobQueue, JobState, QueueError, SqliteQueue};
use proptest::prelude::*;

use crate::contract::{self, LONG, Open, spec};

fn on_disk(test: fn(Open<'_>)) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs");
    test(&|| Box::new(SqliteQueue::open(&path).unwrap()));
}

contract::for_each_test!(on_disk);

#[test]
fn a_queue_in_memory_does_the_same() {
    let queue = SqliteQueue::in_memory().unwrap();
    let id = queue.submit(&spec()).unwrap();
    let lease = queue.lease("worker", LONG, &[]).unwrap().unwrap();
    queue.complete(&lease, "").unwrap();
    assert_eq!(queue.job(&id).unwrap().state, JobState::Done);
    assert!(SqliteQueue::in_memory().unwrap().job(&id).is_err());
}

#[test]
fn the_file_is_its_owners() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs");
    let queue = SqliteQueue::open(&path).unwrap();
    queue.submit(&spec()).unwrap();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.path());
    }
    drop(queue);
    for mode in [0o620, 0o602, 0o666] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = SqliteQueue::open(&path).unwrap_err();
        assert!(matches!(error, QueueError::Permissions { .. }), "{error:?}");
        assert!(error.to_string().contains(&format!("{mode:04o}")));
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    SqliteQueue::open(&path).unwrap();
}

/// Whether this process has a lock on a file.
fn has_lock(path: &Path) -> bool {
    let (process, inode) = (std::process::id(), fs::metadata(path).unwrap().ino());
    let own = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        matches!(fields[..], [_, "POSIX", _, _, pid, of, ..]
            if pid == process.to_string() && of.ends_with(&format!(":{inode}")))
    };
    // A line may be missed while other locks come and go.
    (0..100).any(|_| {
        let table = fs::read_to_string("/proc/locks").unwrap();
        table.lines().any(own)
    })
}

/// A process that closes any descriptor of a file loses its locks on it. Without its locks another
/// process that closes the queue takes itself for the last one, and takes away the log.
#[test]
fn opening_it_again_leaves_the_locks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs");
    let queue = SqliteQueue::open(&path).unwrap();
    queue.submit(&spec()).unwrap();
    assert!(has_lock(&path));
    let second = SqliteQueue::open(&path).unwrap();
    assert!(has_lock(&path));
    drop(second);
    assert!(has_lock(&path));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    SqliteQueue::open(&path).unwrap_err();
    assert!(has_lock(&path));
    drop(queue);
    assert!(!has_lock(&path));
}

#[test]
fn what_is_no_queue_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(
        path("text"),
        "no database, but long enough to be looked at as one".repeat(40),
    )
    .unwrap();
    fs::set_permissions(path("text"), fs::Permissions::from_mode(0o600)).unwrap();
    let error = SqliteQueue::open(path("text")).unwrap_err();
    assert!(matches!(error, QueueError::Corrupt { .. }), "{error:?}");

    let error = SqliteQueue::open(path("missing/jobs")).unwrap_err();
    assert!(matches!(error, QueueError::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("missing/jobs"), "{error}");

    let error = SqliteQueue::open(folder.path()).unwrap_err();
    assert!(matches!(error, QueueError::Unavailable { .. }), "{error:?}");

    // Another program's, and a newer version's.
    let version = |path: &Path| match SqliteQueue::open(path).unwrap_err() {
        QueueError::Version { found, known, .. } => (found, known),
        other => panic!("{other:?}"),
    };
    let connection = private(&path("other"));
    connection.execute_batch("CREATE TABLE t (a)").unwrap();
    assert_eq!(version(&path("other")), (0, 1));
    SqliteQueue::open(path("newer")).unwrap();
    let connection = private(&path("newer"));
    connection.pragma_update(None, "user_version", 2).unwrap();
    assert_eq!(version(&path("newer")), (2, 1));
}

fn private(path: &Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    connection
}

#[test]
fn a_job_that_cannot_be_read_is_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs");
    let queue = SqliteQueue::open(&path).unwrap();
    let ids: Vec<_> = (0..4).map(|_| queue.submit(&spec()).unwrap()).collect();
    let connection = private(&path);
    let set = |assignment: &str, id: usize| {
        let statement = format!("UPDATE helix_jobs SET {assignment} WHERE id = ?1");
        connection.execute(&statement, [ids[id].as_str()]).unwrap();
    };
    set("spec = 'not JSON'", 0);
    set("spec = x'00ff'", 1);
    // A newer program's: it is left alone.
    set("operation = 'unheard-of'", 2);
    let lease = queue.lease("worker", LONG, &[]).unwrap().unwrap();
    assert_eq!(lease.id(), &ids[3]);
    assert!(queue.lease("worker", LONG, &[]).unwrap().is_none());
    let state = |id: usize| -> String {
        connection
            .query_row(
                "SELECT state FROM helix_jobs WHERE id = ?1",
                [ids[id].as_str()],
                |row| row.get(0),
            )
            .unwrap()
    };
    assert_eq!([state(0), state(1), state(2)], ["dead", "dead", "queued"]);
    let error = queue.job(&ids[0]).unwrap_err();
    assert!(matches!(error, QueueError::Corrupt { .. }), "{error:?}");
    assert!(error.to_string().contains(ids[0].as_str()), "{error}");
    queue.cancel(&ids[0]).unwrap();
    assert_eq!(state(0), "cancelled");
}

/// A queue with a few jobs, as its file's bytes.
fn filled() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs");
    let queue = SqliteQueue::open(&path).unwrap();
    for _ in 0..5 {
        queue.submit(&spec()).unwrap();
    }
    queue.lease("worker", LONG, &[]).unwrap().unwrap();
    drop(queue);
    fs::read(&path).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Damage is an error, or is not noticed; it is no panic, and no other file's end.
    #[test]
    fn damage_is_an_error(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
        length: prop::sample::Index,
        cut: bool,
    ) {
        let mut bytes = filled();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if cut {
            bytes.truncate(length.index(bytes.len()));
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs");
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        if let Ok(queue) = SqliteQueue::open(&path) {
            let _ = queue.list(&helix_zfs::gate::JobFilter::new());
            let _ = queue.submit(&spec());
            if let Ok(Some(lease)) = queue.lease("worker", LONG, &[]) {
                let _ = queue.complete(&lease, "");
            }
        }
    }
}
