//! Finding pools that are not imported, and importing them.

mod assemble;
mod found;
mod options;
mod search;

pub use found::{FoundPool, ImportObstacle};
pub use options::ImportOptions;
pub use search::Search;

use super::Pool;
use super::status::PoolState;
use crate::error::{Errno, Error, ErrorKind, Operation, Result};
use crate::ffi::device::Refusal;
use crate::nv::{NvMap, Value, encoded_len};
use crate::zfs::Zfs;
use assemble::{Assembled, Places, assemble};
use std::fmt;
use zfs_core_sys::ioctl::{ZFS_IOC_POOL_IMPORT, ZFS_IOC_POOL_TRYIMPORT};

/// Which of the pools that are found is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PoolId {
    /// The one of this name on its devices.
    Name(String),
    /// The one of this identity, for when several have one name.
    Guid(u64),
}

impl From<&str> for PoolId {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl From<u64> for PoolId {
    fn from(guid: u64) -> Self {
        Self::Guid(guid)
    }
}

impl fmt::Display for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Guid(guid) => write!(f, "{guid}"),
        }
    }
}

impl Zfs {
    /// The pools that are not imported, in the order of their identities.
    ///
    /// Labels are read here, and the kernel then tries each pool without importing it. That takes
    /// time: up to some seconds a pool, and longer for one that another host may be using and that
    /// guards itself against that (the property `multihost`). Other imports and exports wait
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `NotFound` | a folder or a device of the search does not exist |
    /// | `PermissionDenied` | the caller may not read the devices |
    /// | `Io` | a device that the search names cannot be read |
    ///
    /// A pool that cannot be imported is no error: see [`FoundPool::obstacles`].
    ///
    /// # Privileges
    ///
    /// Root. `zpool-import(8)`, request `ZFS_IOC_POOL_TRYIMPORT`.
    #[doc(alias = "ZFS_IOC_POOL_TRYIMPORT")]
    #[doc(alias = "zpool_search_import")]
    #[doc(alias = "zpool_find_import")]
    pub fn find_pools(&self, search: &Search) -> Result<Vec<FoundPool>> {
        self.find(search, Operation::FindPools, |_| true)
    }

    /// Finds a pool and imports it: [`find_pools`](Self::find_pools) for one alone, and
    /// [`FoundPool::import`].
    ///
    /// # Errors
    ///
    /// Those of both, and
    ///
    /// | kind | when |
    /// |---|---|
    /// | `NotFound` | no such pool is found |
    /// | `AlreadyExists` | it is imported already |
    /// | `InvalidArgument` | several pools of the name are found; the error has their identities |
    ///
    /// # Privileges
    ///
    /// Root. `zpool-import(8)`.
    #[doc(alias = "zpool_import")]
    pub fn import_pool(
        &self,
        pool: impl Into<PoolId>,
        search: &Search,
        options: &ImportOptions,
    ) -> Result<Pool> {
        const OPERATION: Operation = Operation::ImportPool;
        let id = pool.into();
        let refuse = |kind, detail: String| Error::refused(OPERATION, id.to_string(), kind, detail);
        let is_it = |name: &str, guid: u64| match &id {
            PoolId::Name(wanted) => wanted == name,
            PoolId::Guid(wanted) => *wanted == guid,
        };
        let mut found = self.find(search, OPERATION, |pool| is_it(&pool.name, pool.guid))?;
        let Some(pool) = found.pop() else {
            let imported = self.pools()?;
            let is_imported = imported
                .iter()
                .any(|entry| is_it(entry.pool.name().as_str(), entry.guid));
            return Err(match is_imported {
                true => refuse(ErrorKind::AlreadyExists, "it is imported already".into()),
                false => refuse(ErrorKind::NotFound, "no such pool was found".into()),
            });
        };
        if !found.is_empty() {
            found.push(pool);
            let guids: Vec<String> = found.iter().map(|pool| pool.guid.to_string()).collect();
            return Err(refuse(
                ErrorKind::InvalidArgument,
                format!("several pools have that name: {}", guids.join(", ")),
            ));
        }
        pool.import(options)
    }

    fn find(
        &self,
        search: &Search,
        operation: Operation,
        wanted: impl Fn(&Assembled) -> bool,
    ) -> Result<Vec<FoundPool>> {
        let seen = search.run().map_err(|error| error.during(operation))?;
        let places = Places::new(&seen);
        let imported = self.pools()?;
        let own_hostid = own_hostid();
        assemble(&seen)
            .into_iter()
            .filter(|pool| {
                let destroyed = pool.label.state().pool_state() == Some(PoolState::Destroyed);
                destroyed == search.wants_destroyed()
                    && wanted(pool)
                    && imported.iter().all(|entry| entry.guid != pool.guid)
            })
            .map(|pool| {
                let name = pool.name.clone();
                let name_taken = imported
                    .iter()
                    .any(|entry| entry.pool.name().as_str() == name);
                let (config, refused) = match self.try_import(&pool.config) {
                    Ok(mut config) => {
                        if let Some(Value::List(tree)) = config.get_mut("vdev_tree") {
                            // Spares and caches are known only now.
                            places.fix(tree);
                        }
                        (config, None)
                    }
                    // What keeps one pool from being tried keeps all of them.
                    Err(Refusal::Errno(errno)) if errno != Errno::EPERM => {
                        (pool.config.clone(), Some(errno))
                    }
                    Err(refusal) => return Err(refusal.into_error(operation, name)),
                };
                FoundPool::read(self, pool, config, refused, own_hostid, name_taken)
                    .map_err(|what| Error::protocol(operation, name, what))
            })
            .collect()
    }

    /// What the kernel makes of a configuration.
    fn try_import(&self, config: &NvMap) -> Result<NvMap, Refusal> {
        let mut request = self
            .request(ZFS_IOC_POOL_TRYIMPORT, c"")
            .configuration(config)?
            .answered();
        request.read()?;
        request.answer()
    }
}

impl FoundPool {
    /// Imports it.
    ///
    /// Nothing is mounted, and no keys are loaded: [`Dataset::load_key`](crate::Dataset::load_key)
    /// does that. The handle that is returned has the name that the pool is imported under.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `AlreadyExists` | a pool of that name, or this pool, is imported |
    /// | `OtherHost` | another host uses it, or used it last without exporting it |
    /// | `DeviceUnavailable` | devices are missing, log devices among them |
    /// | `Unsupported` | the module lacks features of the pool, or does not know its version |
    /// | `InvalidArgument` | the kernel cannot make anything of its labels, or a property is wrong |
    /// | `Corrupt`, `Io` | it is damaged |
    /// | `NotFound` | it has no checkpoint to rewind to |
    ///
    /// The error's detail says which devices are missing, or which features.
    ///
    /// # Privileges
    ///
    /// Root. `zpool-import(8)`, request `ZFS_IOC_POOL_IMPORT`.
    #[doc(alias = "ZFS_IOC_POOL_IMPORT")]
    #[doc(alias = "zpool_import_props")]
    pub fn import(&self, options: &ImportOptions) -> Result<Pool> {
        const OPERATION: Operation = Operation::ImportPool;
        let props = options.to_nvmap(&self.name)?;
        let pool = Pool {
            zfs: self.zfs.clone(),
            name: options.pool_name(&self.name)?,
        };
        for obstacle in &self.obstacles {
            let kind = match obstacle {
                // The kernel does not look at the host unless the pool guards itself.
                ImportObstacle::OtherHost { .. } if !options.takes_any_host() => {
                    ErrorKind::OtherHost
                }
                ImportObstacle::InUse { .. } | ImportObstacle::NoHostId => ErrorKind::OtherHost,
                _ => continue,
            };
            return Err(Error::refused(
                OPERATION,
                &*self.name,
                kind,
                obstacle.to_string(),
            ));
        }
        // The answer is the configuration, and what was learned. When it does not fit, the kernel
        // calls the request failed, though it is not, and takes no line for the history.
        let room = encoded_len(&self.config).unwrap_or_default() * 2 + (256 << 10);
        let mut request = self
            .zfs
            .request(ZFS_IOC_POOL_IMPORT, pool.name.as_c_str())
            .configuration(&self.config)
            .and_then(|request| request.input(&props))
            .map_err(|refusal| refusal.into_error(OPERATION, &*self.name))?
            .answered_raw(room);
        request.cmd().zc_guid = self.guid;
        request.cmd().zc_cookie = options.flags();
        match request.run() {
            Ok(()) => {}
            // The pool is imported; only the answer did not fit.
            Err(Errno::ENOMEM) if pool.exists()? => {}
            Err(errno) => {
                let mut error = Error::new(OPERATION, &*self.name, errno);
                // What does not exist then is not the pool.
                if errno == Errno::ENOENT
                    && self.obstacles.contains(&ImportObstacle::MissingDevices)
                {
                    error = error.with_kind(ErrorKind::DeviceUnavailable);
                }
                return Err(match self.detail(request.answer().ok().as_ref()) {
                    Some(detail) => error.with_detail(detail),
                    None => error,
                });
            }
        }
        self.zfs.record(|| options.line(&self.name, self.guid));
        Ok(pool)
    }

    /// What the kernel learned while it failed.
    fn detail(&self, answer: Option<&NvMap>) -> Option<String> {
        let info = answer?.list("load_info")?;
        if let Some(missing) = info.list("missing_vdevs") {
            let vdev = super::Vdev::read(missing, super::VdevClass::Data).ok()?;
            let names: Vec<String> = vdev
                .walk()
                .filter(|vdev| vdev.children.is_empty())
                .map(ToString::to_string)
                .collect();
            return Some(format!("missing: {}", names.join(", ")));
        }
        let features = info.list("unsup_feat")?;
        let names: Vec<_> = features
            .iter()
            .map(|(name, _)| name.to_string_lossy())
            .collect();
        Some(format!("the module lacks {}", names.join(", ")))
    }
}

/// The number of this host as the module has it, or 0.
fn own_hostid() -> u64 {
    const MASK: u64 = 0xffff_ffff;
    let set = std::fs::read_to_string("/sys/module/spl/parameters/spl_hostid")
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok())
        .filter(|&id| id != 0);
    set.or_else(|| {
        let file = std::fs::read("/etc/hostid").ok()?;
        let bytes = file.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*bytes).into())
    })
    .unwrap_or_default()
        & MASK
}
