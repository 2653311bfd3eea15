//! Loading, unloading and changing the keys of datasets.

use super::{DEFAULT_PBKDF2_ITERATIONS, Prepared, WrappingKey, check_iterations, input_with_key};
use crate::dataset::Dataset;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::ffi::device::Refusal;
use crate::history::Line;
use crate::name::DatasetName;
use crate::nv::{NvMap, Value};
use crate::props::{KeyFormat, KeyStatus};
use zfs_core_sys::ioctl::{ZFS_IOC_CHANGE_KEY, ZFS_IOC_LOAD_KEY, ZFS_IOC_UNLOAD_KEY};

/// How a dataset is encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EncryptionStatus {
    /// The dataset whose key it uses, itself if it is an encryption root.
    pub root: DatasetName,
    /// Whether that key is loaded.
    pub key: KeyStatus,
}

impl Dataset {
    /// How the dataset is encrypted; `None` when it is not.
    ///
    /// # Errors
    ///
    /// `NotFound`, `PoolSuspended`.
    ///
    /// The properties `encryptionroot` and `keystatus`, `zfsprops(7)`.
    #[doc(alias = "encryptionroot")]
    #[doc(alias = "keystatus")]
    pub fn encryption(&self) -> Result<Option<EncryptionStatus>> {
        let properties = self.properties()?;
        Ok(properties.encryption_root().map(|root| EncryptionStatus {
            root,
            key: properties.key_status().unwrap_or(KeyStatus::None),
        }))
    }

    /// Loads the key of this encryption root, for it and all datasets that inherit it.
    ///
    /// A passphrase is stretched first, with the dataset's own salt and iterations.
    ///
    /// # Errors
    ///
    /// `WrongKey`; `KeyLoaded`; `WrongKind` when the dataset is no encryption root, or takes no
    /// passphrase; `NotFound`; `PermissionDenied`; `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permission `load-key`.
    ///
    /// `zfs-load-key(8)`. Uses the request behind `lzc_load_key` itself, for that function leaves
    /// copies of the key in memory.
    #[doc(alias = "lzc_load_key")]
    pub fn load_key(&self, key: &WrappingKey) -> Result<()> {
        self.load_key_with(Operation::LoadKey, key)
    }

    /// Checks a key without loading it, whether or not one is loaded.
    ///
    /// # Errors
    ///
    /// As [`load_key`](Self::load_key), without `KeyLoaded`.
    ///
    /// # Privileges
    ///
    /// As [`load_key`](Self::load_key).
    ///
    /// `zfs-load-key(8)` with `-n`.
    #[doc(alias = "lzc_load_key")]
    pub fn verify_key(&self, key: &WrappingKey) -> Result<()> {
        self.load_key_with(Operation::VerifyKey, key)
    }

    fn load_key_with(&self, operation: Operation, key: &WrappingKey) -> Result<()> {
        let (salt, iterations) = match key.format() {
            KeyFormat::Passphrase => self.pbkdf2_of(operation)?,
            _ => (0, 0),
        };
        let key = key.derive(salt, iterations);
        let mut args = NvMap::new();
        if operation == Operation::VerifyKey {
            args.insert(c"noop", Value::Boolean);
        }
        let request = self.zfs.request(ZFS_IOC_LOAD_KEY, self.name.as_c_str());
        input_with_key(request, args, &key)
            .and_then(|mut request| request.run().map_err(Refusal::from))
            .map_err(|refusal| self.key_error(operation, refusal))?;
        // Nothing is changed by looking whether a key is right.
        if operation == Operation::LoadKey {
            self.zfs
                .record(|| Line::new("zfs load-key").arg(&self.name));
        }
        Ok(())
    }

    /// Of a dataset that has no key of its own the kernel says that the argument is invalid, or that
    /// the key is not loaded.
    fn key_error(&self, operation: Operation, refusal: Refusal) -> Error {
        let error = refusal.into_error(operation, self.name.as_str());
        if matches!(
            error.kind(),
            ErrorKind::InvalidArgument | ErrorKind::KeyNotLoaded
        ) {
            let is_root = self.encryption().is_ok_and(|encryption| {
                encryption.is_some_and(|encryption| encryption.root == self.name)
            });
            if !is_root {
                return error
                    .with_kind(ErrorKind::WrongKind)
                    .with_detail("the dataset is not an encryption root");
            }
        }
        error
    }

    fn pbkdf2_of(&self, operation: Operation) -> Result<(u64, u32)> {
        let properties = self.properties().map_err(|error| error.during(operation))?;
        let iterations = properties.pbkdf2_iters().map(u32::try_from);
        match (properties.pbkdf2_salt(), iterations) {
            (Some(salt), Some(Ok(iterations))) if iterations > 0 => Ok((salt, iterations)),
            _ => Err(Error::refused(
                operation,
                self.name.as_str(),
                ErrorKind::WrongKind,
                "the dataset's key is not a passphrase, or not its own",
            )),
        }
    }

    /// Unloads the key of this encryption root: its data, and that of all datasets that inherit the
    /// key, becomes unreachable.
    ///
    /// # Errors
    ///
    /// `Busy` while one of them is mounted or open; `KeyNotLoaded`; `WrongKind` when the dataset
    /// is no encryption root; `NotFound`; `PermissionDenied`; `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permission `load-key`.
    ///
    /// `lzc_unload_key`, `zfs-unload-key(8)`.
    #[doc(alias = "lzc_unload_key")]
    pub fn unload_key(&self) -> Result<()> {
        self.zfs
            .request(ZFS_IOC_UNLOAD_KEY, self.name.as_c_str())
            .run()
            .map_err(|errno| self.key_error(Operation::UnloadKey, Refusal::Errno(errno)))?;
        self.zfs
            .record(|| Line::new("zfs unload-key").arg(&self.name));
        Ok(())
    }

    /// Gives the dataset the new wrapping key `key`; a dataset that inherited its key becomes an
    /// encryption root. The data is not encrypted anew.
    ///
    /// # Errors
    ///
    /// `KeyNotLoaded` when the present key is not loaded; `WrongKind` when the dataset is not
    /// encrypted; `InvalidArgument` for a clone; `NotFound`; `PermissionDenied`; `ReadOnlyPool`,
    /// `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permission `change-key`.
    ///
    /// `zfs-change-key(8)`. Uses the request behind `lzc_change_key` itself, for that function
    /// leaves copies of the key in memory.
    #[doc(alias = "lzc_change_key")]
    pub fn change_key(&self, key: &WrappingKey) -> Result<()> {
        self.change_key_with(key, DEFAULT_PBKDF2_ITERATIONS)
    }

    /// As [`change_key`](Self::change_key), with a number of iterations of PBKDF2 for a passphrase.
    ///
    /// # Errors
    ///
    /// As [`change_key`](Self::change_key); `InvalidArgument` for fewer than
    /// [`MIN_PBKDF2_ITERATIONS`](super::MIN_PBKDF2_ITERATIONS).
    #[doc(alias = "lzc_change_key")]
    pub fn change_key_with(&self, key: &WrappingKey, iterations: u32) -> Result<()> {
        const OPERATION: Operation = Operation::ChangeKey;
        const NEW_KEY: u64 = 2;
        check_iterations(key, iterations)?;
        let prepared = Prepared::new(key, iterations)?;
        let mut props = NvMap::new();
        prepared.add_to(&mut props);
        let is_root = self
            .encryption()
            .map_err(|error| error.during(OPERATION))?
            .is_some_and(|encryption| encryption.root == self.name);
        if !is_root {
            // A new root needs to say where its key is kept; an old one keeps what it said.
            props.insert(c"keylocation", Value::from(c"prompt"));
        }
        let line = Line::new("zfs change-key").properties(Some("-o"), &props);
        let mut args = NvMap::new();
        args.insert(c"crypt_cmd", NEW_KEY);
        args.insert(c"props", props);
        let request = self.zfs.request(ZFS_IOC_CHANGE_KEY, self.name.as_c_str());
        input_with_key(request, args, &prepared.key)
            .and_then(|mut request| request.run().map_err(Refusal::from))
            .map_err(|refusal| self.change_error(OPERATION, refusal))?;
        self.zfs.record(|| line.arg(&self.name));
        Ok(())
    }

    /// Makes the dataset use its parent's key instead of its own.
    ///
    /// # Errors
    ///
    /// `KeyNotLoaded` when this or the parent's key is not loaded; `WrongKind` when the dataset is
    /// not encrypted; `InvalidArgument` when its parent is not, when it uses its parent's key
    /// already, or for a clone; `NotFound`; `PermissionDenied`; `ReadOnlyPool`,
    /// `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permission `change-key`.
    ///
    /// `zfs-change-key(8)` with `-i`.
    #[doc(alias = "lzc_change_key")]
    pub fn inherit_key(&self) -> Result<()> {
        const INHERIT: u64 = 3;
        self.change_key_root(INHERIT)
    }

    /// As [`inherit_key`](Self::inherit_key) without the key having to be loaded, for a dataset that
    /// was received raw from one that inherits.
    pub(crate) fn force_inherit_key(&self) -> Result<()> {
        const FORCE_INHERIT: u64 = 5;
        self.change_key_root(FORCE_INHERIT)
    }

    fn change_key_root(&self, command: u64) -> Result<()> {
        let mut args = NvMap::new();
        args.insert(c"crypt_cmd", command);
        self.zfs
            .request(ZFS_IOC_CHANGE_KEY, self.name.as_c_str())
            .input(&args)
            .and_then(|mut request| request.run().map_err(Refusal::from))
            .map_err(|refusal| self.change_error(Operation::InheritKey, refusal))?;
        self.zfs
            .record(|| Line::new("zfs change-key").arg("-i").arg(&self.name));
        Ok(())
    }

    fn change_error(&self, operation: Operation, refusal: Refusal) -> Error {
        let error = refusal.into_error(operation, self.name.as_str());
        let unencrypted = || {
            self.encryption()
                .is_ok_and(|encryption| encryption.is_none())
        };
        if error.kind() == ErrorKind::InvalidArgument && unencrypted() {
            return error
                .with_kind(ErrorKind::WrongKind)
                .with_detail("the dataset is not encrypted");
        }
        error
    }
}
