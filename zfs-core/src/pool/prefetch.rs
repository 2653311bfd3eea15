use super::Pool;
use crate::error::{Errno, Error, ErrorKind, Operation, Result};
use crate::history::Line;
use crate::nv::NvMap;
use std::ffi::{c_uint, c_ulong};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use zfs_core_sys::ioctl::{ZFS_IOC_DDT_PRUNE, ZFS_IOC_POOL_PREFETCH};
use zfs_core_sys::newer::{since_2_3, since_2_4};

/// A table that can be loaded into memory ahead of need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PoolTable {
    /// The deduplication tables. Since 2.3.
    #[doc(alias = "ZPOOL_PREFETCH_DDT")]
    Dedup,
    /// The tables of cloned blocks. Since 2.4.
    #[doc(alias = "ZPOOL_PREFETCH_BRT")]
    ClonedBlocks,
}

/// Which entries of the deduplication tables to remove, of those for blocks that exist once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DdtPrune {
    /// Those that are older than this, to the second.
    OlderThan(Duration),
    /// The oldest, this many percent of them: 1 to 100.
    Percent(u8),
}

impl Pool {
    /// Loads a table into memory, and returns when it is there.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `Unsupported` | the module cannot load this table |
    /// | `NotFound` | no pool of that name is imported |
    /// | `PermissionDenied` | not root |
    /// | `PoolSuspended` | as it says |
    ///
    /// # Privileges
    ///
    /// Root.
    ///
    /// `zpool-prefetch(8)`, request of `lzc_pool_prefetch`.
    #[doc(alias = "lzc_pool_prefetch")]
    pub fn prefetch(&self, table: PoolTable) -> Result<()> {
        const OPERATION: Operation = Operation::Prefetch;
        let (number, word) = match table {
            PoolTable::Dedup => (since_2_3::ZPOOL_PREFETCH_DDT, "ddt"),
            PoolTable::ClonedBlocks => (since_2_4::ZPOOL_PREFETCH_BRT, "brt"),
        };
        let mut input = NvMap::new();
        input.insert(since_2_3::ZPOOL_PREFETCH_TYPE, to_i32(number));
        self.simple(OPERATION, ZFS_IOC_POOL_PREFETCH, &input)
            .map_err(|error| match error.errno() {
                // The argument is right: a table that the module does not know.
                Some(Errno::EINVAL) => error.with_kind(ErrorKind::Unsupported),
                _ => error,
            })?;
        self.zfs.record(|| {
            Line::new("zpool prefetch")
                .arg("-t")
                .arg(word)
                .arg(&self.name)
        });
        Ok(())
    }

    /// Removes entries from the deduplication tables, to make them smaller. Their blocks stay;
    /// copies of them that are written later are not found to be copies. A pool without such tables
    /// has nothing to remove.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `InvalidArgument` | not 1 to 100 percent; an age below a second, or older than 1970 |
    /// | `Unsupported` | the module cannot, or the feature `fast_dedup` is not enabled |
    /// | `InProgress` | such a removal is running |
    /// | `NotFound` | no pool of that name is imported |
    /// | `PermissionDenied` | not root |
    /// | `ReadOnlyPool`, `PoolSuspended` | as they say |
    ///
    /// # Privileges
    ///
    /// Root.
    ///
    /// Since 2.3. `zpool-ddtprune(8)`, request of `lzc_ddt_prune`.
    #[doc(alias = "lzc_ddt_prune")]
    pub fn prune_ddt(&self, which: DdtPrune) -> Result<()> {
        const OPERATION: Operation = Operation::PruneDdt;
        let refused = |what| {
            let name = self.name.as_str();
            Err(Error::refused(
                OPERATION,
                name,
                ErrorKind::InvalidArgument,
                what,
            ))
        };
        let (unit, amount, flag) = match which {
            DdtPrune::OlderThan(age) if age.as_secs() == 0 => return refused("an age of nothing"),
            // The module would take that removal to run for ever after.
            DdtPrune::OlderThan(age) if age >= now() => return refused("older than 1970"),
            DdtPrune::OlderThan(age) => (since_2_3::ZPOOL_DDT_PRUNE_AGE, age.as_secs(), "-s"),
            DdtPrune::Percent(percent @ 1..=100) => {
                (since_2_3::ZPOOL_DDT_PRUNE_PERCENTAGE, percent.into(), "-p")
            }
            DdtPrune::Percent(_) => return refused("it is 1 to 100 percent"),
        };
        let mut input = NvMap::new();
        input.insert(since_2_3::DDT_PRUNE_UNIT, to_i32(unit));
        input.insert(since_2_3::DDT_PRUNE_AMOUNT, amount);
        self.simple(OPERATION, ZFS_IOC_DDT_PRUNE, &input)?;
        self.zfs.record(|| {
            Line::new("zpool ddtprune")
                .arg(flag)
                .arg(amount)
                .arg(&self.name)
        });
        Ok(())
    }

    fn simple(&self, operation: Operation, number: c_ulong, input: &NvMap) -> Result<()> {
        self.zfs
            .request(number, self.name.as_c_str())
            .input(input)
            .map_err(|refusal| refusal.into_error(operation, self.name.as_str()))?
            .run()
            .map_err(|errno| Error::new(operation, self.name.as_str(), errno))
    }
}

fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// The constants are small.
fn to_i32(constant: c_uint) -> i32 {
    i32::try_from(constant).unwrap_or(i32::MAX)
}
