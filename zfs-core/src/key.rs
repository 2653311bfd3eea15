//! Wrapping keys of encrypted datasets.
//!
//! ZFS encrypts a dataset with a master key that it keeps wrapped by the user's. The kernel takes
//! the 32 bytes of the wrapping key; making them of hexadecimal digits or of a passphrase is the
//! caller's work, which [`WrappingKey`] does as the `zfs` command does it.

use crate::dataset::Dataset;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::ffi::device::{Refusal, Request};
use crate::name::DatasetName;
use crate::nv::{NvMap, Value};
use std::fmt;
use zeroize::{Zeroize, Zeroizing};
use zfs_core_sys::ioctl::{ZFS_IOC_CHANGE_KEY, ZFS_IOC_LOAD_KEY, ZFS_IOC_UNLOAD_KEY};

/// The length of a wrapping key, in bytes, whatever the cipher.
pub const KEY_LEN: usize = 32;

/// The shortest passphrase, in bytes.
pub const MIN_PASSPHRASE_LEN: usize = 8;

/// The longest passphrase, in bytes.
pub const MAX_PASSPHRASE_LEN: usize = 512;

/// The fewest iterations of PBKDF2 that ZFS accepts.
pub const MIN_PBKDF2_ITERATIONS: u32 = 100_000;

/// How many iterations of PBKDF2 are used unless told otherwise.
pub const DEFAULT_PBKDF2_ITERATIONS: u32 = 350_000;

/// Key material: it is wiped when dropped, and cannot be printed.
pub struct WrappingKey(Material);

enum Material {
    Raw(Zeroizing<[u8; KEY_LEN]>),
    Hex(Zeroizing<[u8; KEY_LEN]>),
    Passphrase(Zeroizing<Vec<u8>>),
}

impl fmt::Debug for WrappingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WrappingKey({})", self.format())
    }
}

/// In which form the user keeps a key: the property `keyformat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyFormat {
    /// 32 bytes.
    Raw,
    /// 64 hexadecimal digits.
    Hex,
    /// A passphrase of 8 to 512 bytes.
    Passphrase,
}

impl KeyFormat {
    fn index(self) -> u64 {
        match self {
            Self::Raw => 1,
            Self::Hex => 2,
            Self::Passphrase => 3,
        }
    }
}

impl fmt::Display for KeyFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw",
            Self::Hex => "hex",
            Self::Passphrase => "passphrase",
        })
    }
}

fn key_error(detail: impl Into<String>) -> Error {
    Error::refused(Operation::MakeKey, "", ErrorKind::InvalidArgument, detail)
}

impl WrappingKey {
    /// A key of 32 bytes. The caller's copy is the caller's to wipe.
    #[must_use]
    pub fn raw(key: &[u8; KEY_LEN]) -> Self {
        Self(Material::Raw(Zeroizing::new(*key)))
    }

    /// A key of 64 hexadecimal digits.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for anything else; the error does not quote it.
    pub fn hex(digits: &str) -> Result<Self> {
        let digits = digits.as_bytes();
        if digits.len() != 2 * KEY_LEN {
            return Err(key_error("a hexadecimal key has 64 digits"));
        }
        let mut key = Zeroizing::new([0; KEY_LEN]);
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            let nibble = |at: usize| {
                pair.get(at)
                    .and_then(|&digit| char::from(digit).to_digit(16))
            };
            *byte = match (nibble(0), nibble(1)) {
                (Some(high), Some(low)) => u8::try_from(high * 16 + low).unwrap_or_default(),
                _ => {
                    return Err(key_error(
                        "a hexadecimal key has only digits and the letters a to f",
                    ));
                }
            };
        }
        Ok(Self(Material::Hex(key)))
    }

    /// A passphrase of 8 to 512 bytes.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for another length; the error does not quote it.
    pub fn passphrase(passphrase: &str) -> Result<Self> {
        if !(MIN_PASSPHRASE_LEN..=MAX_PASSPHRASE_LEN).contains(&passphrase.len()) {
            return Err(key_error("a passphrase has 8 to 512 bytes"));
        }
        Ok(Self(Material::Passphrase(Zeroizing::new(
            passphrase.as_bytes().to_vec(),
        ))))
    }

    /// Its format.
    #[must_use]
    pub fn format(&self) -> KeyFormat {
        match self.0 {
            Material::Raw(_) => KeyFormat::Raw,
            Material::Hex(_) => KeyFormat::Hex,
            Material::Passphrase(_) => KeyFormat::Passphrase,
        }
    }

    /// The bytes for the kernel.
    fn derive(&self, salt: u64, iterations: u32) -> Zeroizing<[u8; KEY_LEN]> {
        match &self.0 {
            Material::Raw(key) | Material::Hex(key) => key.clone(),
            Material::Passphrase(passphrase) => {
                let mut key = Zeroizing::new([0; KEY_LEN]);
                pbkdf2::pbkdf2_hmac::<sha1::Sha1>(
                    passphrase,
                    &salt.to_le_bytes(),
                    iterations,
                    &mut *key,
                );
                key
            }
        }
    }
}

/// A wrapping key made ready for a new encryption root, and the properties that describe it.
struct Prepared {
    key: Zeroizing<[u8; KEY_LEN]>,
    format: KeyFormat,
    /// Salt and iterations of a passphrase.
    pbkdf2: Option<(u64, u32)>,
}

impl Prepared {
    fn new(key: &WrappingKey, iterations: u32) -> Result<Self> {
        let pbkdf2 = match key.format() {
            KeyFormat::Passphrase => Some((random_salt()?, iterations)),
            KeyFormat::Raw | KeyFormat::Hex => None,
        };
        let (salt, iterations) = pbkdf2.unwrap_or_default();
        Ok(Self {
            key: key.derive(salt, iterations),
            format: key.format(),
            pbkdf2,
        })
    }

    fn add_to(&self, props: &mut NvMap) {
        props.insert(c"keyformat", self.format.index());
        if let Some((salt, iterations)) = self.pbkdf2 {
            props.insert(c"pbkdf2salt", salt);
            props.insert(c"pbkdf2iters", u64::from(iterations));
        }
    }
}

fn random_salt() -> Result<u64> {
    let mut salt = [0; 8];
    getrandom::fill(&mut salt).map_err(|error| {
        Error::refused(
            Operation::MakeKey,
            "",
            ErrorKind::Io,
            format!("no random salt: {error}"),
        )
    })?;
    // ZFS takes a salt of 0 for none.
    Ok(u64::from_ne_bytes(salt).max(1))
}

/// An encryption suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cipher {
    /// AES-128 in CCM mode.
    Aes128Ccm,
    /// AES-192 in CCM mode.
    Aes192Ccm,
    /// AES-256 in CCM mode.
    Aes256Ccm,
    /// AES-128 in GCM mode.
    Aes128Gcm,
    /// AES-192 in GCM mode.
    Aes192Gcm,
    /// AES-256 in GCM mode: ZFS's default.
    Aes256Gcm,
}

impl Cipher {
    fn index(self) -> u64 {
        match self {
            Self::Aes128Ccm => 3,
            Self::Aes192Ccm => 4,
            Self::Aes256Ccm => 5,
            Self::Aes128Gcm => 6,
            Self::Aes192Gcm => 7,
            Self::Aes256Gcm => 8,
        }
    }
}

/// How a new encryption root is encrypted, and with which key.
pub struct Encryption {
    cipher: Cipher,
    prepared: Prepared,
    location: String,
}

impl fmt::Debug for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encryption")
            .field("cipher", &self.cipher)
            .field("format", &self.prepared.format)
            .field("location", &self.location)
            .finish_non_exhaustive()
    }
}

impl Encryption {
    /// AES-256-GCM with `key`.
    ///
    /// A passphrase is stretched here, with 350,000 iterations and a new salt, which takes a good
    /// part of a second.
    ///
    /// # Errors
    ///
    /// `Io` when the system has no random bytes for the salt.
    pub fn aes_256_gcm(key: &WrappingKey) -> Result<Self> {
        Self::new(Cipher::Aes256Gcm, key, DEFAULT_PBKDF2_ITERATIONS)
    }

    /// `cipher` with `key`, and `iterations` of PBKDF2 for a passphrase (other keys ignore it).
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for fewer than [`MIN_PBKDF2_ITERATIONS`] with a passphrase; `Io` when the
    /// system has no random bytes for the salt.
    pub fn new(cipher: Cipher, key: &WrappingKey, iterations: u32) -> Result<Self> {
        check_iterations(key, iterations)?;
        let prepared = Prepared::new(key, iterations)?;
        Ok(Self {
            cipher,
            prepared,
            location: String::from("prompt"),
        })
    }

    /// Where the `zfs` command finds the key later: `prompt`, which is the default, or a
    /// `file:///` address. This crate never reads it.
    #[must_use]
    pub fn key_location(mut self, location: impl Into<String>) -> Self {
        self.location = location.into();
        self
    }

    pub(crate) fn add_to(&self, props: &mut NvMap) -> Result<()> {
        props.insert(c"encryption", self.cipher.index());
        let location = crate::error::c_string(
            Operation::CreateDataset,
            "the key's location",
            &self.location,
        )?;
        props.insert(c"keylocation", Value::String(location));
        self.prepared.add_to(props);
        Ok(())
    }

    pub(crate) fn wrapping_key(&self) -> &[u8; KEY_LEN] {
        &self.prepared.key
    }
}

fn check_iterations(key: &WrappingKey, iterations: u32) -> Result<()> {
    if key.format() == KeyFormat::Passphrase && iterations < MIN_PBKDF2_ITERATIONS {
        return Err(key_error(format!(
            "at least {MIN_PBKDF2_ITERATIONS} iterations of PBKDF2"
        )));
    }
    Ok(())
}

/// Adds `key` to the arguments and packs them. The only copies are in the argument list, which is
/// wiped here, and in the request's buffer, which wipes itself.
pub(crate) fn input_with_key<'d>(
    request: Request<'d>,
    mut args: NvMap,
    key: &[u8; KEY_LEN],
) -> Result<Request<'d>, Refusal> {
    let mut hidden = NvMap::new();
    hidden.insert(c"wkeydata", Value::Uint8Array(key.to_vec()));
    args.insert(c"hidden_args", hidden);
    let request = request.input(&args);
    if let Some(Value::List(mut hidden)) = args.remove("hidden_args") {
        if let Some(Value::Uint8Array(copy)) = hidden.get_mut("wkeydata") {
            copy.zeroize();
        }
    }
    request
}

/// Whether the key of a dataset is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyStatus {
    /// It is not: the data is unreachable.
    Unavailable,
    /// It is.
    Available,
    /// A status that this crate does not know.
    Unknown(u64),
}

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
        let raw = properties.raw();
        let Some(root) = raw
            .list("encryptionroot")
            .and_then(|entry| entry.str("value"))
        else {
            return Ok(None);
        };
        let root = DatasetName::new(root).map_err(|error| {
            Error::protocol(Operation::GetProperties, self.name.as_str(), error)
        })?;
        let key = match raw.list("keystatus").and_then(|entry| entry.u64("value")) {
            Some(1) => KeyStatus::Unavailable,
            Some(2) => KeyStatus::Available,
            other => KeyStatus::Unknown(other.unwrap_or_default()),
        };
        Ok(Some(EncryptionStatus { root, key }))
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
            KeyFormat::Raw | KeyFormat::Hex => (0, 0),
        };
        let key = key.derive(salt, iterations);
        let mut args = NvMap::new();
        if operation == Operation::VerifyKey {
            args.insert(c"noop", Value::Boolean);
        }
        let request = self.zfs.request(ZFS_IOC_LOAD_KEY, self.name.as_c_str());
        input_with_key(request, args, &key)
            .and_then(|mut request| request.run().map_err(Refusal::from))
            .map_err(|refusal| self.key_error(operation, refusal))
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
        let value = |name| {
            properties
                .raw()
                .list(name)
                .and_then(|entry: &NvMap| entry.u64("value"))
        };
        match (value("pbkdf2salt"), value("pbkdf2iters").map(u32::try_from)) {
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
            .map_err(|errno| self.key_error(Operation::UnloadKey, Refusal::Errno(errno)))
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
    /// [`MIN_PBKDF2_ITERATIONS`].
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
        let mut args = NvMap::new();
        args.insert(c"crypt_cmd", NEW_KEY);
        args.insert(c"props", props);
        let request = self.zfs.request(ZFS_IOC_CHANGE_KEY, self.name.as_c_str());
        input_with_key(request, args, &prepared.key)
            .and_then(|mut request| request.run().map_err(Refusal::from))
            .map_err(|refusal| self.change_error(OPERATION, refusal))
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
        const OPERATION: Operation = Operation::InheritKey;
        const INHERIT: u64 = 3;
        let mut args = NvMap::new();
        args.insert(c"crypt_cmd", INHERIT);
        self.zfs
            .request(ZFS_IOC_CHANGE_KEY, self.name.as_c_str())
            .input(&args)
            .and_then(|mut request| request.run().map_err(Refusal::from))
            .map_err(|refusal| self.change_error(OPERATION, refusal))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_checked() {
        assert_eq!(
            WrappingKey::hex(&"0aF".repeat(21)).unwrap_err().kind(),
            ErrorKind::InvalidArgument
        );
        assert!(WrappingKey::hex(&"0g".repeat(32)).is_err());
        assert!(WrappingKey::hex(&"é".repeat(32)).is_err());
        assert!(WrappingKey::passphrase("1234567").is_err());
        assert!(WrappingKey::passphrase(&"x".repeat(513)).is_err());
        assert!(WrappingKey::passphrase("12345678").is_ok());
        let key = WrappingKey::hex(&"0aF0".repeat(16)).unwrap();
        assert_eq!(key.derive(0, 0).get(..2), Some(&[0x0a, 0xf0][..]));
    }

    #[test]
    fn keys_do_not_print() {
        let key = WrappingKey::passphrase("correct horse").unwrap();
        assert_eq!(format!("{key:?}"), "WrappingKey(passphrase)");
        let encryption =
            Encryption::new(Cipher::Aes256Gcm, &WrappingKey::raw(&[0x5a; KEY_LEN]), 0).unwrap();
        let text = format!("{encryption:?}");
        assert!(
            !text.contains("90") && !text.to_lowercase().contains("5a"),
            "{text}"
        );
        let error = WrappingKey::hex("secretsecret").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"));
    }

    #[test]
    fn passphrases_are_stretched_by_pbkdf2_with_hmac_sha1() {
        // The expected value is what Python's hashlib gives.
        let key = WrappingKey::passphrase("password").unwrap();
        let salt = u64::from_le_bytes(*b"saltsalt");
        let derived = key.derive(salt, 4096);
        let digits: String = derived.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            digits,
            "baf9a7b042dcdce2c91418a3ec63f8aa2819f8e265016e0380ac207d933a12c7"
        );
    }
}
