//! Wrapping keys of encrypted datasets.
//!
//! ZFS encrypts a dataset with a master key that it keeps wrapped by the user's. The kernel takes
//! the 32 bytes of the wrapping key; making them of hexadecimal digits or of a passphrase is the
//! caller's work, which [`WrappingKey`] does as the `zfs` command does it.

mod access;

pub use access::EncryptionStatus;

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::ffi::device::{Refusal, Request};
use crate::nv::{NvMap, Value};
use crate::props::{EncryptionAlgorithm, KeyFormat};
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

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

/// Key material: it is wiped when dropped, does not move in memory, and cannot be printed.
pub struct WrappingKey(Material);

enum Material {
    Raw(Bytes),
    Hex(Bytes),
    Passphrase(Zeroizing<Vec<u8>>),
}

/// The bytes of a key, in one place of the heap: what moves leaves copies behind on the stack.
struct Bytes(Box<Zeroizing<[u8; KEY_LEN]>>);

impl Bytes {
    fn zero() -> Self {
        Self(Box::new(Zeroizing::new([0; KEY_LEN])))
    }

    fn copy_of(bytes: &[u8; KEY_LEN]) -> Self {
        let mut copy = Self::zero();
        copy.0.copy_from_slice(bytes);
        copy
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8; KEY_LEN];

    fn deref(&self) -> &[u8; KEY_LEN] {
        &self.0
    }
}

impl fmt::Debug for WrappingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WrappingKey({})", self.format())
    }
}

fn key_error(detail: impl Into<String>) -> Error {
    Error::refused(Operation::MakeKey, "", ErrorKind::InvalidArgument, detail)
}

impl WrappingKey {
    /// A key of 32 bytes. The caller's copy is the caller's to wipe.
    #[must_use]
    pub fn raw(key: &[u8; KEY_LEN]) -> Self {
        Self(Material::Raw(Bytes::copy_of(key)))
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
        let mut key = Bytes::zero();
        for (byte, pair) in key.0.iter_mut().zip(digits.chunks_exact(2)) {
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
    fn derive(&self, salt: u64, iterations: u32) -> Bytes {
        match &self.0 {
            Material::Raw(key) | Material::Hex(key) => Bytes::copy_of(key),
            Material::Passphrase(passphrase) => {
                let mut key = Bytes::zero();
                stretch(passphrase, salt, iterations, &mut key.0);
                wipe_stack();
                key
            }
        }
    }
}

#[inline(never)]
fn stretch(passphrase: &[u8], salt: u64, iterations: u32, key: &mut [u8; KEY_LEN]) {
    pbkdf2::pbkdf2_hmac::<sha1::Sha1>(passphrase, &salt.to_le_bytes(), iterations, key);
}

/// Overwrites what functions that have returned left on the stack. Those that stretch passphrases do
/// not wipe their copies.
#[inline(never)]
fn wipe_stack() {
    let mut stack = [0_u8; 16 << 10];
    stack.zeroize();
    std::hint::black_box(&stack);
}

/// A wrapping key made ready for a new encryption root, and the properties that describe it.
struct Prepared {
    key: Bytes,
    format: KeyFormat,
    /// Salt and iterations of a passphrase.
    pbkdf2: Option<(u64, u32)>,
}

impl Prepared {
    fn new(key: &WrappingKey, iterations: u32) -> Result<Self> {
        let pbkdf2 = match key.format() {
            KeyFormat::Passphrase => Some((random_salt()?, iterations)),
            _ => None,
        };
        let (salt, iterations) = pbkdf2.unwrap_or_default();
        Ok(Self {
            key: key.derive(salt, iterations),
            format: key.format(),
            pbkdf2,
        })
    }

    fn add_to(&self, props: &mut NvMap) {
        props.insert(c"keyformat", self.format.raw());
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

/// How a new encryption root is encrypted, and with which key.
pub struct Encryption {
    cipher: EncryptionAlgorithm,
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
        Self::new(
            EncryptionAlgorithm::Aes256Gcm,
            key,
            DEFAULT_PBKDF2_ITERATIONS,
        )
    }

    /// `cipher` with `key`, and `iterations` of PBKDF2 for a passphrase (other keys ignore it).
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for `Off`, or fewer than [`MIN_PBKDF2_ITERATIONS`] with a passphrase; `Io`
    /// when the system has no random bytes for the salt.
    pub fn new(cipher: EncryptionAlgorithm, key: &WrappingKey, iterations: u32) -> Result<Self> {
        if cipher == EncryptionAlgorithm::Off {
            return Err(key_error("a key goes with an encryption"));
        }
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
        props.insert(c"encryption", self.cipher.raw());
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
        let encryption = Encryption::new(
            EncryptionAlgorithm::Aes256Gcm,
            &WrappingKey::raw(&[0x5a; KEY_LEN]),
            0,
        )
        .unwrap();
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
