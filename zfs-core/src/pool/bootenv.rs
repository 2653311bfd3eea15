use super::Pool;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::history::Line;
use crate::nv::{NvMap, Value};
use std::ffi::CString;
use zfs_core_sys::ioctl::{ZFS_IOC_GET_BOOTENV, ZFS_IOC_SET_BOOTENV};

const OPERATION: Operation = Operation::BootEnvironment;
const VERSION: &str = "version";
const ENVMAP: &str = "grub:envmap";
const RAW: u64 = 0;
const LIST: u64 = 1;

/// What a pool keeps for boot loaders, in every label of its devices: less than 8 KiB.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum BootEnvironment {
    /// A text as GRUB keeps its own environment. A new pool has an empty one.
    Text(CString),
    /// Pairs of a name and a value, such as `freebsd:bootonce`.
    Pairs(NvMap),
}

impl Pool {
    /// What the pool keeps for boot loaders.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `Io` | no device could be read |
    /// | `NotFound` | no pool of that name is imported |
    /// | `PoolSuspended` | as it says |
    ///
    /// # Privileges
    ///
    /// None.
    ///
    /// Request of `lzc_get_bootenv`.
    #[doc(alias = "lzc_get_bootenv")]
    pub fn boot_environment(&self) -> Result<BootEnvironment> {
        let name = self.name.as_str();
        let mut request = self
            .zfs
            .request(ZFS_IOC_GET_BOOTENV, self.name.as_c_str())
            .answered();
        let mut answer = super::answer(&mut request, OPERATION, name)?;
        match answer.remove(VERSION) {
            Some(Value::Uint64(RAW)) => match answer.remove(ENVMAP) {
                Some(Value::String(text)) => Ok(BootEnvironment::Text(text)),
                None => Ok(BootEnvironment::Text(CString::default())),
                Some(_) => Err(Error::protocol(OPERATION, name, "grub:envmap is no text")),
            },
            // FreeBSD's old form has none.
            None | Some(Value::Uint64(LIST)) => Ok(BootEnvironment::Pairs(answer)),
            Some(other) => {
                let what = format!("a strange version: {other:?}");
                Err(Error::protocol(OPERATION, name, what))
            }
        }
    }

    /// Replaces what the pool keeps for boot loaders. It succeeds when one device could be written.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `InvalidArgument` | a pair is named `version`, which is the kernel's |
    /// | `TooBig` | it has 8 KiB or more |
    /// | `Io` | no device could be written |
    /// | `NotFound` | no pool of that name is imported |
    /// | `PermissionDenied` | not root |
    /// | `ReadOnlyPool`, `PoolSuspended` | as they say |
    ///
    /// # Privileges
    ///
    /// Root.
    ///
    /// Request of `lzc_set_bootenv`.
    #[doc(alias = "lzc_set_bootenv")]
    pub fn set_boot_environment(&self, environment: &BootEnvironment) -> Result<()> {
        let name = self.name.as_str();
        let mut input = match environment {
            BootEnvironment::Text(text) => {
                let mut input = NvMap::new();
                input.insert(c"grub:envmap", text.clone());
                input
            }
            BootEnvironment::Pairs(pairs) => {
                if pairs.get(VERSION).is_some() {
                    return Err(Error::refused(
                        OPERATION,
                        name,
                        ErrorKind::InvalidArgument,
                        "no pair can have the name version",
                    ));
                }
                pairs.clone()
            }
        };
        let version = match environment {
            BootEnvironment::Text(_) => RAW,
            BootEnvironment::Pairs(_) => LIST,
        };
        input.insert(c"version", version);
        self.zfs
            .request(ZFS_IOC_SET_BOOTENV, self.name.as_c_str())
            .input(&input)
            .map_err(|refusal| refusal.into_error(OPERATION, name))?
            .run()
            .map_err(|errno| Error::new(OPERATION, name, errno))?;
        self.zfs
            .record(|| Line::new("zfsbootcfg").arg("-z").arg(name));
        Ok(())
    }
}
