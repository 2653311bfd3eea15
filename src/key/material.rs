use std::fmt;

use zeroize::{Zeroize, Zeroizing};
use zfs_core::key::{KEY_LEN, WrappingKey};

/// 32 bytes of key material.
///
/// They lie in one place of the heap, from which they do not move, are wiped when dropped, and cannot
/// be printed.
pub struct KeyMaterial(Box<Zeroizing<[u8; KEY_LEN]>>);

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyMaterial")
    }
}

impl KeyMaterial {
    /// A new key, of the kernel's randomness.
    ///
    /// # Errors
    ///
    /// When the kernel has none to give.
    #[doc(alias = "getrandom")]
    pub fn generate() -> std::io::Result<Self> {
        let mut key = Self::zero();
        getrandom::fill(&mut **key.0).map_err(std::io::Error::from)?;
        Ok(key)
    }

    /// A copy of these bytes, or `None` when they are not 32. The caller's are the caller's to wipe.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != KEY_LEN {
            return None;
        }
        let mut key = Self::zero();
        key.0.copy_from_slice(bytes);
        Some(key)
    }

    /// The key of 64 hexadecimal digits, or `None` when they are not that. The caller's are the
    /// caller's to wipe.
    #[must_use]
    pub fn from_hex(digits: &[u8]) -> Option<Self> {
        if digits.len() != 2 * KEY_LEN {
            return None;
        }
        let nibble = |digit: u8| char::from(digit).to_digit(16);
        let mut key = Self::zero();
        for (byte, pair) in key.0.iter_mut().zip(digits.chunks_exact(2)) {
            let &[high, low] = pair else { return None };
            *byte = u8::try_from(nibble(high)? * 16 + nibble(low)?).ok()?;
        }
        Some(key)
    }

    /// As 64 hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> Zeroizing<String> {
        let mut digits = Zeroizing::new(String::with_capacity(2 * KEY_LEN));
        for byte in self.0.iter() {
            for nibble in [byte >> 4, byte & 15] {
                digits.extend(char::from_digit(nibble.into(), 16));
            }
        }
        digits
    }

    /// The bytes, for whoever stores them. A copy is the caller's to wipe.
    #[must_use]
    pub fn bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// As ZFS wants it.
    #[must_use]
    pub fn wrapping_key(&self) -> WrappingKey {
        WrappingKey::raw(&self.0)
    }

    /// Whether `other` is the same key, in a time that does not tell how much of it is.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let mut differs = 0_u8;
        for (a, b) in self.0.iter().zip(other.0.iter()) {
            differs |= a ^ b;
        }
        let is_same = differs == 0;
        differs.zeroize();
        is_same
    }

    fn zero() -> Self {
        Self(Box::new(Zeroizing::new([0; KEY_LEN])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_is_none() {
        assert!(KeyMaterial::from_bytes(&[1; 31]).is_none());
        assert!(KeyMaterial::from_bytes(&[1; 33]).is_none());
        assert!(KeyMaterial::from_hex(&[b'0'; 63]).is_none());
        assert!(KeyMaterial::from_hex(&[b'g'; 64]).is_none());
        assert!(KeyMaterial::from_hex("é".repeat(32).as_bytes()).is_none());
    }

    #[test]
    fn hexadecimal_digits_there_and_back() {
        let key = KeyMaterial::generate().unwrap();
        let digits = key.to_hex();
        assert_eq!(digits.len(), 64);
        assert!(
            KeyMaterial::from_hex(digits.as_bytes())
                .unwrap()
                .is_same(&key)
        );
        assert!(
            KeyMaterial::from_hex(digits.to_uppercase().as_bytes())
                .unwrap()
                .is_same(&key)
        );
        assert!(!KeyMaterial::generate().unwrap().is_same(&key));
    }

    #[test]
    fn a_key_does_not_print() {
        let key = KeyMaterial::from_bytes(&[0x5a; 32]).unwrap();
        assert_eq!(format!("{key:?} {key:#?}"), "KeyMaterial KeyMaterial");
    }
}
