//! Checkpoints.

use super::{assert_history, pool};
use crate::support::{TENANT, TestPool, as_user, run};
use helix_zfs::zfs_core::{Errno, ErrorKind, PoolActivity, Waited};

fn shown(of: &TestPool) -> String {
    run("zpool", &["list", "-Hpo", "checkpoint", of.name()])
        .trim_end()
        .to_owned()
}

#[test]
fn a_checkpoint_is_taken_and_discarded() {
    let of = TestPool::new("checkpoint");
    let pool = pool(&of);
    let missing = pool.discard_checkpoint().unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert_eq!(missing.errno(), Some(Errno::ZFS_ERR_NO_CHECKPOINT));
    let denied = as_user(TENANT, || pool.take_checkpoint()).unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::PermissionDenied);
    assert_eq!(shown(&of), "-");

    pool.take_checkpoint().unwrap();
    assert_ne!(shown(&of), "-");
    let exists = pool.take_checkpoint().unwrap_err();
    assert_eq!(exists.kind(), ErrorKind::AlreadyExists);
    let denied = as_user(TENANT, || pool.discard_checkpoint()).unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::PermissionDenied);

    pool.discard_checkpoint().unwrap();
    let waited = pool.wait_for(PoolActivity::CheckpointDiscard).unwrap();
    assert_ne!(waited, Waited::Paused);
    assert_eq!(shown(&of), "-");
    pool.take_checkpoint().unwrap();
    assert_history(
        &of,
        &[
            "zpool checkpoint",
            "zpool checkpoint -d",
            "zpool checkpoint",
        ],
    );
}
