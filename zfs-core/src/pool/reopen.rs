use super::Pool;
use crate::error::{Error, Operation, Result};
use crate::history::Line;
use crate::nv::NvMap;
use zfs_core_sys::ioctl::ZFS_IOC_POOL_REOPEN;

/// What becomes of a scrub when a pool's devices are opened again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReopenScrub {
    /// It begins anew, for a resilver, if a device came back that lacks data.
    #[default]
    Restart,
    /// It goes on.
    Continue,
}

impl Pool {
    /// Opens all devices of the pool again: those that came back are used, those that grew show
    /// it, those that are gone are found to be.
    ///
    /// # Errors
    ///
    /// `NotFound` when no pool of that name is imported; `PermissionDenied`; `PoolSuspended`. What
    /// cannot be opened is no error: [`status`](Self::status) tells.
    ///
    /// # Privileges
    ///
    /// Root.
    ///
    /// `zpool-reopen(8)`, request of `lzc_reopen`.
    #[doc(alias = "lzc_reopen")]
    pub fn reopen(&self, scrub: ReopenScrub) -> Result<()> {
        const OPERATION: Operation = Operation::ReopenPool;
        let mut input = NvMap::new();
        input.insert(c"scrub_restart", scrub == ReopenScrub::Restart);
        self.zfs
            .request(ZFS_IOC_POOL_REOPEN, self.name.as_c_str())
            .input(&input)
            .map_err(|refusal| refusal.into_error(OPERATION, self.name.as_str()))?
            .run()
            .map_err(|errno| Error::new(OPERATION, self.name.as_str(), errno))?;
        self.zfs.record(|| {
            Line::new("zpool reopen")
                .flag("-n", scrub == ReopenScrub::Continue)
                .arg(&self.name)
        });
        Ok(())
    }
}
