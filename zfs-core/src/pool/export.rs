use super::Pool;
use crate::error::{Error, Operation, Result};
use zfs_core_sys::ioctl::ZFS_IOC_POOL_EXPORT;

/// How to export a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ExportOptions {
    force: bool,
    hard: bool,
}

impl ExportOptions {
    /// Nothing out of the ordinary.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Exports it although one of its hot spares is in use, and shared with another pool, which
    /// could then come to use it too. Unlike `zpool export -f`, unmounts nothing.
    #[must_use]
    pub fn force(mut self) -> Self {
        self.force = true;
        self
    }

    /// Lets go of the devices without marking them as exported, so that another host takes the
    /// pool for one in use: it needs [`any_host`](super::ImportOptions::any_host) to import it.
    #[must_use]
    pub fn hard(mut self) -> Self {
        self.hard = true;
        self
    }
}

impl Pool {
    /// Exports it: writes all that is pending, marks its devices as exported, and lets go of them.
    ///
    /// Nothing is unmounted.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `NotFound` | no pool of that name is imported |
    /// | `Busy` | a dataset of it is mounted or open |
    /// | `CrossPool` | a hot spare in use is shared with another pool |
    /// | `PoolSuspended` | as it says |
    /// | `InProgress` | it is being exported |
    ///
    /// # Privileges
    ///
    /// Root. `zpool-export(8)`, request `ZFS_IOC_POOL_EXPORT`.
    #[doc(alias = "ZFS_IOC_POOL_EXPORT")]
    #[doc(alias = "zpool_export")]
    pub fn export(&self, options: ExportOptions) -> Result<()> {
        const OPERATION: Operation = Operation::ExportPool;
        let name = self.name.as_str();
        let mut request = self.zfs.request(ZFS_IOC_POOL_EXPORT, self.name.as_c_str());
        if let Some(line) = self.zfs.signed(|| format!("zpool export {name}")) {
            request = request.history_line(&line);
        }
        request.cmd().zc_cookie = options.force.into();
        request.cmd().zc_guid = options.hard.into();
        request
            .run()
            .map_err(|errno| Error::new(OPERATION, name, errno))
    }
}
