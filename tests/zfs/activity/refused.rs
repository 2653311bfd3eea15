//! Pools that nothing can be done to: missing, read-only, without features.

use super::pool;
use crate::support::{TestPool, module, run, zfs};
use helix_zfs::zfs_core::pool::{Scrub, Targets, TrimOptions};
use helix_zfs::zfs_core::{DeviceActivity, ErrorKind, Pool, PoolActivity, Result};

const SPAN: Scrub = Scrub::Written {
    from: Some(1),
    until: None,
};

/// Every call of this part, and what came of it.
pub(crate) fn everything(pool: &Pool) -> Vec<(&'static str, Result<()>)> {
    let one = [1.into()];
    let one = Targets::These(&one);
    vec![
        ("take checkpoint", pool.take_checkpoint()),
        ("discard checkpoint", pool.discard_checkpoint()),
        ("scrub", pool.scrub(Scrub::Everything)),
        ("scrub known errors", pool.scrub(Scrub::KnownErrors)),
        ("scrub since last", pool.scrub(Scrub::SinceLast)),
        ("scrub span", pool.scrub(SPAN)),
        ("pause scrub", pool.pause_scrub()),
        ("stop scrub", pool.stop_scrub()),
        ("restart resilver", pool.restart_resilver()),
        ("trim", pool.trim(one, &TrimOptions::new()).map(drop)),
        ("suspend trim", pool.suspend_trim(one).map(drop)),
        ("cancel trim", pool.cancel_trim(one).map(drop)),
        ("initialize", pool.initialize(one).map(drop)),
        ("suspend initialize", pool.suspend_initialize(one).map(drop)),
        ("cancel initialize", pool.cancel_initialize(one).map(drop)),
        ("uninitialize", pool.uninitialize(one).map(drop)),
        ("wait", pool.wait_for(PoolActivity::Scrub).map(drop)),
        (
            "wait for device",
            pool.wait_for_device(DeviceActivity::Trim, 1).map(drop),
        ),
        (
            "delete queue",
            pool.root().wait_for_delete_queue().map(drop),
        ),
    ]
}

#[test]
fn a_missing_pool() {
    let pool = zfs().pool("hz-no-such-pool").unwrap();
    for (what, result) in everything(&pool) {
        let error = result.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::NotFound, "{what}: {error}");
    }
    let error = pool.resume_scrub().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn a_read_only_pool() {
    let of = TestPool::new("activity-ro");
    run("zpool", &["export", of.name()]);
    let dir = of.dir().to_str().unwrap();
    let import = ["import", "-N", "-d", dir, "-o", "readonly=on", of.name()];
    run("zpool", &import);
    for (what, result) in everything(&pool(&of)) {
        let error = result.expect_err(what);
        let expected = match what {
            // An argument that the kernel does not know is told before the pool is looked at, and
            // a request that it does not know before all.
            "scrub span" if module() < (2, 4) => continue,
            _ => ErrorKind::ReadOnlyPool,
        };
        assert_eq!(error.kind(), expected, "{what}: {error}");
    }
}

#[test]
fn a_pool_without_features() {
    let of = TestPool::files("activity-old", 1);
    let file = of.file(0);
    let file = file.to_str().unwrap();
    run(
        "zpool",
        &[
            "create",
            "-d",
            "-o",
            "cachefile=none",
            "-O",
            "mountpoint=none",
            of.name(),
            file,
        ],
    );
    let pool = pool(&of);
    let results = [
        ("checkpoint", pool.take_checkpoint()),
        ("known errors", pool.scrub(Scrub::KnownErrors)),
        ("resilver", pool.restart_resilver()),
    ];
    for (what, result) in results {
        let error = result.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{what}: {error}");
    }
    // What needs none.
    pool.scrub(Scrub::Everything).unwrap();
    pool.wait_for(PoolActivity::Scrub).unwrap();
}
