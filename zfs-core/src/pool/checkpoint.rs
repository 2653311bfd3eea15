use super::Pool;
use crate::error::{Error, Operation, Result};

impl Pool {
    /// Takes a checkpoint: a state of the whole pool to which an import can go back.
    ///
    /// A pool has one checkpoint at most. While it has one, space that is freed stays in use, and
    /// vdevs cannot be removed, split off or given another sector size.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `AlreadyExists` | the pool has a checkpoint |
    /// | `InProgress` | a checkpoint is being discarded, a vdev removed or a raidz expanded |
    /// | `Unsupported` | the feature `zpool_checkpoint` is not enabled |
    /// | `TooBig` | a vdev is too large to be kept track of |
    /// | `NoSpace` | the pool is full |
    /// | `NotFound` | no pool of that name is imported |
    /// | `PermissionDenied` | not root |
    /// | `ReadOnlyPool`, `PoolSuspended` | as they say |
    ///
    /// # Privileges
    ///
    /// Root. `lzc_pool_checkpoint`, `zpool-checkpoint(8)`.
    #[doc(alias = "lzc_pool_checkpoint")]
    pub fn take_checkpoint(&self) -> Result<()> {
        const OPERATION: Operation = Operation::TakeCheckpoint;
        self.zfs
            .lzc()
            .checkpoint(self.name.as_c_str())
            .map_err(|errno| Error::new(OPERATION, self.name.as_str(), errno))?;
        self.zfs
            .record(|| format!("zpool checkpoint {}", self.name));
        Ok(())
    }

    /// Discards the checkpoint.
    ///
    /// This returns when the pool cannot go back any more. The space is freed afterwards:
    /// [`wait_for`](Self::wait_for)([`CheckpointDiscard`](crate::PoolActivity::CheckpointDiscard))
    /// waits for it.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `NotFound` | the pool has no checkpoint (`ZFS_ERR_NO_CHECKPOINT`), or no pool of that name is imported (`ENOENT`) |
    /// | `InProgress` | it is being discarded already |
    /// | `PermissionDenied` | not root |
    /// | `ReadOnlyPool`, `PoolSuspended` | as they say |
    ///
    /// # Privileges
    ///
    /// Root. `lzc_pool_checkpoint_discard`, `zpool-checkpoint(8)` with `-d`.
    #[doc(alias = "lzc_pool_checkpoint_discard")]
    pub fn discard_checkpoint(&self) -> Result<()> {
        const OPERATION: Operation = Operation::DiscardCheckpoint;
        self.zfs
            .lzc()
            .discard_checkpoint(self.name.as_c_str())
            .map_err(|errno| Error::new(OPERATION, self.name.as_str(), errno))?;
        self.zfs
            .record(|| format!("zpool checkpoint -d {}", self.name));
        Ok(())
    }
}
