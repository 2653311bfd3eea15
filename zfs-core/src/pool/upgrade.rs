use super::compatibility::Compatibility;
use super::{Pool, PoolPropertySet};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::history::Line;
use std::num::NonZeroU64;
use zfs_core_sys::ioctl::{ZFS_IOC_POOL_PREFETCH, ZFS_IOC_POOL_REGUID, ZFS_IOC_POOL_UPGRADE};

/// Features that are only enabled by name: what they change is not for every pool. The module does
/// not tell which they are.
const BY_NAME_ONLY: [&str; 1] = ["dynamic_gang_header"];

/// The version of the format that has features, and the last one.
const VERSION_FEATURES: u64 = 5000;

impl Pool {
    /// Enables all features that the module knows, as far as the pool's property `compatibility`
    /// allows, and returns those that were not enabled before. A pool of an old version is raised
    /// to the one with features first.
    ///
    /// Older modules may then not import the pool any more, and there is no way back but a
    /// checkpoint that was taken before. One feature alone is enabled by
    /// [`PoolPropertySet::feature`].
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `InvalidProperty` | a file that `compatibility` names cannot be read |
    /// | `NotFound` | no pool of that name is imported |
    /// | `NoSpace` | the pool is full |
    /// | `PermissionDenied` | not root |
    /// | `ReadOnlyPool`, `PoolSuspended` | as they say |
    ///
    /// # Privileges
    ///
    /// Root.
    ///
    /// `zpool-upgrade(8)`, requests `ZFS_IOC_POOL_UPGRADE` and `ZFS_IOC_POOL_SET_PROPS`.
    #[doc(alias = "ZFS_IOC_POOL_UPGRADE")]
    #[doc(alias = "zpool_upgrade")]
    pub fn upgrade(&self) -> Result<Vec<String>> {
        const OPERATION: Operation = Operation::UpgradePool;
        let status = self.status().map_err(|error| error.during(OPERATION))?;
        let properties = self.properties().map_err(|error| error.during(OPERATION))?;
        let allowed = Compatibility::read(properties.compatibility()).map_err(|what| {
            Error::refused(
                OPERATION,
                self.name.as_str(),
                ErrorKind::InvalidProperty,
                what,
            )
        })?;
        let known = self.zfs.capabilities()?.pool_features;
        let missing: Vec<String> = known
            .iter()
            .filter_map(|guid| guid.rsplit_once(':'))
            .map(|(_, short)| short)
            .filter(|short| allowed.allows(short) && !BY_NAME_ONLY.contains(short))
            .filter(|short| status.feature(short).is_none())
            .map(str::to_owned)
            .collect();
        if properties
            .version()
            .is_some_and(|version| version < VERSION_FEATURES)
        {
            let mut request = self.zfs.request(ZFS_IOC_POOL_UPGRADE, self.name.as_c_str());
            request.cmd().zc_cookie = VERSION_FEATURES;
            request
                .run()
                .map_err(|errno| Error::new(OPERATION, self.name.as_str(), errno))?;
            self.record_upgrade();
        }
        if missing.is_empty() {
            return Ok(missing);
        }
        let mut set = PoolPropertySet::new();
        for feature in &missing {
            set = set.feature(feature)?;
        }
        self.request_properties(OPERATION, &set)?;
        self.record_upgrade();
        Ok(missing)
    }

    fn record_upgrade(&self) {
        self.zfs
            .record(|| Line::new("zpool upgrade").arg(&self.name));
    }

    /// Gives the pool a new identity: a certain one (since 2.3), or one that the kernel makes up.
    /// Afterwards it can be imported beside a copy of its devices.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `Unhealthy` | not all of its devices are online and healthy |
    /// | `AlreadyExists` | another pool has the identity |
    /// | `InProgress` | it has a checkpoint, or is discarding one |
    /// | `Unsupported` | a certain identity on a module that makes one up; nothing is changed |
    /// | `NotFound` | no pool of that name is imported |
    /// | `PermissionDenied` | not root |
    /// | `ReadOnlyPool`, `PoolSuspended` | as they say |
    ///
    /// # Privileges
    ///
    /// Root.
    ///
    /// `zpool-reguid(8)`, request `ZFS_IOC_POOL_REGUID`.
    #[doc(alias = "ZFS_IOC_POOL_REGUID")]
    #[doc(alias = "zpool_reguid")]
    pub fn reguid(&self, guid: Option<NonZeroU64>) -> Result<()> {
        const OPERATION: Operation = Operation::ReguidPool;
        let name = self.name.as_str();
        let mut request = self.zfs.request(ZFS_IOC_POOL_REGUID, self.name.as_c_str());
        if let Some(guid) = guid {
            // Older modules do not look at the input, and change to any identity. They are known by
            // a request that they lack, for the wish came with it.
            if !self.zfs.answers(ZFS_IOC_POOL_PREFETCH)? {
                return Err(Error::refused(
                    OPERATION,
                    name,
                    ErrorKind::Unsupported,
                    "the module makes up the identity itself",
                ));
            }
            let mut input = crate::nv::NvMap::new();
            input.insert(
                zfs_core_sys::newer::since_2_3::ZPOOL_REGUID_GUID,
                guid.get(),
            );
            request = request
                .input(&input)
                .map_err(|refusal| refusal.into_error(OPERATION, name))?;
        }
        request
            .run()
            .map_err(|errno| Error::new(OPERATION, name, errno))?;
        self.zfs.record(|| {
            let line = Line::new("zpool reguid");
            match guid {
                Some(guid) => line.arg("-g").arg(guid),
                None => line,
            }
            .arg(name)
        });
        Ok(())
    }
}
