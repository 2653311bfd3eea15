//! Setting the properties of pools.

use super::{capabilities, last_line, pool, zpool_get};
use crate::support::{TENANT, TestPool, as_user, zfs};
use helix_zfs::zfs_core::ErrorKind;
use helix_zfs::zfs_core::pool::{
    CacheFile, DedupTableQuota, FailMode, PoolPropertySet, PoolPropertySource,
};

#[test]
fn every_property_of_a_pool_is_set_as_the_command_sets_it() {
    let of = TestPool::new("setprops");
    let pool = pool(&of);
    let set = PoolPropertySet::new()
        .autotrim(true)
        .autoexpand(true)
        .autoreplace(true)
        .delegation(false)
        .listsnapshots(true)
        .failmode(FailMode::Continue)
        .unwrap()
        .ashift(Some(12))
        .unwrap()
        .comment("rack 7, it's full")
        .unwrap()
        .bootfs(Some(of.root().name()))
        .compatibility("legacy")
        .unwrap();
    pool.set_properties(&set).unwrap();
    let expected = [
        ("autotrim", "on"),
        ("autoexpand", "on"),
        ("autoreplace", "on"),
        ("delegation", "off"),
        ("listsnapshots", "on"),
        ("failmode", "continue"),
        ("ashift", "12"),
        ("comment", "rack 7, it's full"),
        ("bootfs", of.name()),
        ("compatibility", "legacy"),
    ];
    for (property, value) in expected {
        assert_eq!(zpool_get(property, of.name()), value, "{property}");
    }
    let line = last_line(&pool);
    assert!(
        line.starts_with("zpool set autotrim=on autoexpand=on "),
        "{line}"
    );
    assert!(
        line.ends_with(&format!(" compatibility=legacy {}", of.name())),
        "{line}"
    );
    let properties = pool.properties().unwrap();
    assert_eq!(properties.source("comment"), PoolPropertySource::Local);

    let back = PoolPropertySet::new()
        .autotrim(false)
        .delegation(true)
        .ashift(None)
        .unwrap()
        .comment("")
        .unwrap()
        .bootfs(None)
        .failmode(FailMode::Wait)
        .unwrap()
        .cachefile(&CacheFile::None)
        .unwrap()
        .compatibility("off")
        .unwrap();
    pool.set_properties(&back).unwrap();
    for (property, value) in [
        ("autotrim", "off"),
        ("delegation", "on"),
        ("ashift", "0"),
        ("bootfs", "-"),
        ("failmode", "wait"),
        ("cachefile", "none"),
        ("compatibility", "off"),
    ] {
        assert_eq!(zpool_get(property, of.name()), value, "{property}");
    }
    pool.set_properties(&PoolPropertySet::new()).unwrap();

    // Since 2.2, and since 2.3.
    let known = capabilities();
    let user = PoolPropertySet::new().user("helix:tier", "gold").unwrap();
    let quota = PoolPropertySet::new().dedup_table_quota(DedupTableQuota::Bytes(1 << 30));
    let set_user = pool.set_properties(&user);
    if known.vdev_properties.is_empty() {
        assert_eq!(set_user.unwrap_err().kind(), ErrorKind::Unsupported);
    } else {
        set_user.unwrap();
        assert_eq!(zpool_get("helix:tier", of.name()), "gold");
        assert_eq!(pool.properties().unwrap().text("helix:tier"), Some("gold"));
        let away = PoolPropertySet::new().user("helix:tier", "").unwrap();
        pool.set_properties(&away).unwrap();
        assert_eq!(pool.properties().unwrap().text("helix:tier"), None);
        let long = PoolPropertySet::new()
            .user(&format!("helix:{}", "n".repeat(249)), &"v".repeat(8191))
            .unwrap();
        pool.set_properties(&long).unwrap();
    }
    let set_quota = pool.set_properties(&quota);
    if known.pool_properties.contains("dedup_table_quota") {
        set_quota.unwrap();
        assert_eq!(
            zpool_get("dedup_table_quota", of.name()),
            (1 << 30).to_string()
        );
        for quota in [DedupTableQuota::Unlimited, DedupTableQuota::Auto] {
            let set = PoolPropertySet::new().dedup_table_quota(quota);
            pool.set_properties(&set).unwrap();
        }
        assert_eq!(zpool_get("dedup_table_quota", of.name()), "auto");
    } else {
        assert_eq!(set_quota.unwrap_err().kind(), ErrorKind::Unsupported);
    }

    // What is refused changes nothing.
    let absent = format!("{}/absent", of.name());
    let absent = zfs().dataset(&absent).unwrap();
    let wrong = PoolPropertySet::new()
        .comment("never")
        .unwrap()
        .bootfs(Some(absent.name()));
    let error = pool.set_properties(&wrong).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(["", "-"].contains(&&*zpool_get("comment", of.name())));
    let error = as_user(TENANT, || pool.set_properties(&back).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    let nowhere = zfs().pool("hz-no-such-pool").unwrap();
    let error = nowhere.set_properties(&back).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let multihost = PoolPropertySet::new().multihost(true);
    // Guests have no host id.
    match pool.set_properties(&multihost) {
        Ok(()) => assert_eq!(zpool_get("multihost", of.name()), "on"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}"),
    }
}
