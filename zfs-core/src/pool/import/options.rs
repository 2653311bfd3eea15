use crate::error::{Operation, Result};
use crate::history::Line;
use crate::name::PoolName;
use crate::nv::NvMap;
use crate::pool::create::absolute;
use crate::pool::set_properties::PoolPropertySet;
use std::path::PathBuf;

/// `ZFS_IMPORT_*`, and what the kernel does for each.
const ANY_HOST: u64 = 0x2;
const MISSING_LOG: u64 = 0x4;
const TEMPORARY_NAME: u64 = 0x10;
const CHECKPOINT: u64 = 0x80;

/// How to import a pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImportOptions {
    name: Option<String>,
    temporary: bool,
    flags: u64,
    read_only: bool,
    altroot: Option<PathBuf>,
    properties: PoolPropertySet,
}

impl ImportOptions {
    /// Under its own name, writable, and where its devices were found.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Renames it.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self.temporary = false;
        self
    }

    /// Imports it under another name that is not written to its devices. The pool is then in no
    /// [`CacheFile`](crate::pool::CacheFile) unless one is given.
    #[must_use]
    pub fn temporary_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self.temporary = true;
        self
    }

    /// Writes nothing to it, not even what the intent log has.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// What is put before its mount points, as long as it is imported. The pool is then in no
    /// [`CacheFile`](crate::pool::CacheFile) unless one is given.
    #[must_use]
    pub fn altroot(mut self, path: impl Into<PathBuf>) -> Self {
        self.altroot = Some(path.into());
        self
    }

    /// Sets these properties of the pool.
    #[must_use]
    pub fn properties(mut self, properties: PoolPropertySet) -> Self {
        self.properties = properties;
        self
    }

    /// Imports it although another host used it last and did not export it. A pool that two hosts
    /// write to is lost.
    ///
    /// A pool that guards itself (the property `multihost`) is refused while another host is seen
    /// to use it.
    #[must_use]
    pub fn any_host(mut self) -> Self {
        self.flags |= ANY_HOST;
        self
    }

    /// Imports it although log devices are missing. What was written synchronously last is lost.
    #[must_use]
    pub fn without_log(mut self) -> Self {
        self.flags |= MISSING_LOG;
        self
    }

    /// Imports it as it was when its checkpoint was taken, and makes that its present. What was
    /// written since is lost, unless it is imported [read-only](Self::read_only): then it is only
    /// looked at.
    #[must_use]
    #[doc(alias = "ZFS_IMPORT_CHECKPOINT")]
    pub fn rewind_to_checkpoint(mut self) -> Self {
        self.flags |= CHECKPOINT;
        self
    }

    pub(super) fn takes_any_host(&self) -> bool {
        self.flags & ANY_HOST != 0
    }

    pub(super) fn name_for<'a>(&'a self, own: &'a str) -> &'a str {
        self.name.as_deref().unwrap_or(own)
    }

    /// The name that a pool gets whose own is `own`.
    pub(super) fn pool_name(&self, own: &str) -> Result<PoolName> {
        Ok(match &self.name {
            Some(name) => PoolName::of_new_pool(name)?,
            None => PoolName::new(own)?,
        })
    }

    pub(super) fn flags(&self) -> u64 {
        match self.temporary {
            true => self.flags | TEMPORARY_NAME,
            false => self.flags,
        }
    }

    pub(super) fn to_nvmap(&self, pool: &str) -> Result<NvMap> {
        const OPERATION: Operation = Operation::ImportPool;
        let mut props = self.properties.to_nvmap();
        if self.read_only {
            props.insert(c"readonly", 1_u64);
        }
        if let Some(altroot) = &self.altroot {
            props.insert(c"altroot", absolute(OPERATION, pool, altroot)?);
        }
        let is_unlisted = self.altroot.is_some() || self.temporary;
        if is_unlisted && props.get("cachefile").is_none() {
            props.insert(c"cachefile", c"none");
        }
        Ok(props)
    }

    /// The line for the history.
    pub(super) fn line(&self, own: &str, guid: u64) -> Line {
        let words = self.properties.words();
        let mut line = Line::new("zpool import")
            .flag("-f", self.flags & ANY_HOST != 0)
            .flag("-m", self.flags & MISSING_LOG != 0)
            .flag("--rewind-to-checkpoint", self.flags & CHECKPOINT != 0)
            .args(
                words
                    .into_iter()
                    .flat_map(|word| [String::from("-o"), word]),
            );
        if let Some(altroot) = &self.altroot {
            line = line.arg("-R").arg(altroot.display());
        }
        line.flag("-t", self.temporary)
            .arg(guid)
            .arg(self.name_for(own))
    }
}
