//! Properties whose value is one of a few words. ZFS passes them as numbers.

use super::setting::Setting;
use super::table::Prop;
use crate::nv::Value;
use std::borrow::Cow;
use std::fmt;

/// What the table of properties needs of a type of index values.
pub(super) trait IndexValue {
    /// The name of a number.
    fn raw_name(raw: u64) -> Option<Cow<'static, str>>;
    /// The number of a name, or of one of its old spellings.
    fn raw_from_name(name: &str) -> Option<u64>;
}

macro_rules! index {
    ($(
        $(#[$doc:meta])*
        $name:ident $(= $prop:ident)? {
            $($(#[$value_doc:meta])* $value:ident = $raw:literal $text:literal $(| $alias:literal)*,)*
        }
    )*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$value_doc])* $value,)*
            /// A value that this crate does not know.
            Unknown(u64),
        }

        impl $name {
            /// The meaning of the kernel's number.
            #[must_use]
            pub const fn from_raw(raw: u64) -> Self {
                match raw {
                    $($raw => Self::$value,)*
                    other => Self::Unknown(other),
                }
            }

            /// The kernel's number for it.
            #[must_use]
            pub const fn raw(self) -> u64 {
                match self {
                    $(Self::$value => $raw,)*
                    Self::Unknown(raw) => raw,
                }
            }

            /// Its name, as the `zfs` command has it.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$value => Some($text),)*
                    Self::Unknown(_) => None,
                }
            }

            /// The value of this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($text $(| $alias)* => Some(Self::$value),)*
                    _ => None,
                }
            }
        }

        impl IndexValue for $name {
            fn raw_name(raw: u64) -> Option<Cow<'static, str>> {
                Self::from_raw(raw).name().map(Cow::Borrowed)
            }

            fn raw_from_name(name: &str) -> Option<u64> {
                Self::from_name(name).map(Self::raw)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{}", self.raw()),
                }
            }
        }

        $(
            impl Setting for $name {
                const PROP: Prop = Prop::$prop;

                fn to_value(&self) -> Value {
                    Value::Uint64(self.raw())
                }

                fn from_value(value: &Value) -> Option<Self> {
                    value.as_u64().map(Self::from_raw)
                }
            }
        )?
    )*};
}

index! {
    /// On or off: the values of the properties that have no type of their own here.
    Toggle {
        /// Off.
        Off = 0 "off",
        /// On.
        On = 1 "on",
    }

    /// What becomes of synchronous writes.
    Sync = Sync {
        /// They are on stable storage when they return, as POSIX has it.
        Standard = 0 "standard",
        /// Every write is a synchronous one.
        Always = 1 "always",
        /// They are treated as ordinary writes: fast, and lost when the machine fails.
        Disabled = 2 "disabled",
    }

    /// The checksum of blocks.
    Checksum = Checksum {
        /// The one that ZFS recommends.
        On = 1 "on",
        /// None for data. Metadata always has checksums.
        Off = 2 "off",
        /// Fletcher's second-order checksum: outdated.
        Fletcher2 = 6 "fletcher2",
        /// Fletcher's fourth-order checksum.
        Fletcher4 = 7 "fletcher4",
        /// SHA-256.
        Sha256 = 8 "sha256",
        /// None, and no parity either; not for general use.
        NoParity = 10 "noparity",
        /// SHA-512/256.
        Sha512 = 11 "sha512",
        /// Skein.
        Skein = 12 "skein",
        /// Edon-R.
        EdonR = 13 "edonr",
        /// BLAKE3. Since ZFS 2.2.
        Blake3 = 14 "blake3",
    }

    /// Whether equal blocks are stored once, and how they are recognised.
    ///
    /// Bit 8 of the number stands for comparing the blocks byte by byte too.
    Dedup = Dedup {
        /// By the checksum that ZFS recommends.
        On = 1 "on",
        /// Not at all.
        Off = 2 "off",
        /// By the recommended checksum, then byte by byte.
        Verify = 257 "verify",
        /// By SHA-256.
        Sha256 = 8 "sha256",
        /// By SHA-256, then byte by byte.
        Sha256Verify = 264 "sha256,verify",
        /// By SHA-512/256.
        Sha512 = 11 "sha512",
        /// By SHA-512/256, then byte by byte.
        Sha512Verify = 267 "sha512,verify",
        /// By Skein.
        Skein = 12 "skein",
        /// By Skein, then byte by byte.
        SkeinVerify = 268 "skein,verify",
        /// By Edon-R, then byte by byte.
        EdonRVerify = 269 "edonr,verify",
        /// By BLAKE3. Since ZFS 2.2.
        Blake3 = 14 "blake3",
        /// By BLAKE3, then byte by byte. Since ZFS 2.2.
        Blake3Verify = 270 "blake3,verify",
    }

    /// Whether `.zfs` is hidden in the root directory.
    SnapDir = SnapDir {
        /// It can be entered but is not listed.
        Hidden = 0 "hidden",
        /// It is listed.
        Visible = 1 "visible",
        /// There is none. Since ZFS 2.3.
        Disabled = 2 "disabled",
    }

    /// Whether the device nodes of a volume's snapshots are shown.
    SnapDev = SnapDev {
        /// They are not.
        Hidden = 0 "hidden",
        /// They are.
        Visible = 1 "visible",
    }

    /// What `chmod` does to an ACL.
    AclMode = AclMode {
        /// Deletes all but what the mode says.
        Discard = 0 "discard",
        /// Reduces what it grants to what the mode grants the group.
        GroupMask = 2 "groupmask",
        /// Changes no more than it must.
        Passthrough = 3 "passthrough",
        /// Fails when there is an ACL.
        Restricted = 4 "restricted",
    }

    /// The kind of ACLs.
    AclType = AclType {
        /// None.
        Off = 0 "off" | "disabled" | "noacl",
        /// POSIX ACLs.
        Posix = 1 "posix" | "posixacl",
        /// NFSv4 ACLs: not on Linux.
        Nfsv4 = 2 "nfsv4",
    }

    /// What files inherit of their directory's ACL.
    AclInherit = AclInherit {
        /// Nothing.
        Discard = 0 "discard",
        /// What denies.
        NoAllow = 1 "noallow",
        /// All but the right to change owner and ACL.
        Restricted = 4 "restricted" | "secure",
        /// All.
        Passthrough = 3 "passthrough",
        /// All, but the right to execute only when the mode asks for it.
        PassthroughX = 5 "passthrough-x",
    }

    /// How many copies of each block there are.
    Copies = Copies {
        /// One.
        One = 1 "1",
        /// Two.
        Two = 2 "2",
        /// Three.
        Three = 3 "3",
    }

    /// What a cache keeps.
    CacheMode {
        /// Nothing.
        None = 0 "none",
        /// Metadata.
        Metadata = 1 "metadata",
        /// Data and metadata.
        All = 2 "all",
    }

    /// What is read ahead. Since ZFS 2.2.4.
    Prefetch = Prefetch {
        /// Nothing.
        None = 0 "none",
        /// Metadata.
        Metadata = 1 "metadata",
        /// Data and metadata.
        All = 2 "all",
    }

    /// What synchronous writes are optimised for.
    LogBias = LogBias {
        /// Quick returns: log devices are used.
        Latency = 0 "latency",
        /// Throughput of the whole: log devices are left alone.
        Throughput = 1 "throughput",
    }

    /// How extended attributes are stored.
    Xattr = Xattr {
        /// Not at all.
        Off = 0 "off",
        /// In hidden directories: any number and size, each at the price of some I/O. Up to ZFS
        /// 2.2, `on` means this.
        Dir = 1 "dir",
        /// In the file's own metadata, as long as they fit. From ZFS 2.3 on, `on` means this.
        Sa = 2 "sa",
    }

    /// The size of the on-disk descriptors of files.
    DnodeSize = DnodeSize {
        /// 512 bytes, which every version reads.
        Legacy = 0 "legacy",
        /// What ZFS thinks best.
        Auto = 1 "auto",
        /// 1 KiB.
        K1 = 1024 "1k",
        /// 2 KiB.
        K2 = 2048 "2k",
        /// 4 KiB.
        K4 = 4096 "4k",
        /// 8 KiB.
        K8 = 8192 "8k",
        /// 16 KiB.
        K16 = 16384 "16k",
    }

    /// How many extra copies of metadata there are.
    RedundantMetadata = RedundantMetadata {
        /// One of all metadata: damage to one block costs one block of one file.
        All = 0 "all",
        /// One of most metadata: damage to one block may cost the rest of a file.
        Most = 1 "most",
        /// One of what whole datasets depend on. Since ZFS 2.2.
        Some = 2 "some",
        /// None at all. Since ZFS 2.2.
        None = 3 "none",
    }

    /// What a volume shows of itself to the system.
    ///
    /// The kernel takes the device away some time after the property is set. ZFS 2.4 crashes when
    /// [`ReadOnly`](super::ReadOnly) is set just then; it does not when both are set together by
    /// [`Dataset::set_all`](crate::Dataset::set_all).
    VolMode = VolMode {
        /// What the module's parameter `zvol_volmode` says.
        Default = 0 "default",
        /// A block device with partitions.
        Full = 1 "full" | "geom",
        /// A block device without partitions.
        Dev = 2 "dev",
        /// Nothing: it can be snapshotted, cloned, sent and received.
        None = 3 "none",
    }

    /// Whether direct I/O passes by the cache. Since ZFS 2.3.
    Direct = Direct {
        /// It does not: a request for it is ignored.
        Disabled = 0 "disabled",
        /// It does when asked for.
        Standard = 1 "standard",
        /// It does even when not asked for, wherever it can.
        Always = 2 "always",
    }

    /// Whether a filesystem can be mounted, and is by itself.
    CanMount = CanMount {
        /// It cannot: it only hands its mountpoint down.
        Off = 0 "off",
        /// It is, with all others.
        On = 1 "on",
        /// Only when asked for by name.
        NoAuto = 2 "noauto",
    }

    /// The Unicode normalization by which file names are compared.
    Normalization = Normalization {
        /// None: byte by byte.
        None = 0 "none",
        /// NFD.
        FormD = 0x10 "formD",
        /// NFKC.
        FormKc = 0x60 "formKC",
        /// NFC.
        FormC = 0x50 "formC",
        /// NFKD.
        FormKd = 0x20 "formKD",
    }

    /// Whether file names that differ in case are different.
    CaseSensitivity = CaseSensitivity {
        /// They are.
        Sensitive = 0 "sensitive",
        /// They are not.
        Insensitive = 1 "insensitive",
        /// Only for those who ask that way; not useful on Linux.
        Mixed = 2 "mixed",
    }

    /// The encryption of blocks.
    ///
    /// There is no setting for it: a dataset is encrypted as it is created, by
    /// [`CreateOptions::encryption`](crate::CreateOptions::encryption).
    EncryptionAlgorithm {
        /// The one that ZFS recommends; never a value that it reports.
        On = 1 "on",
        /// None.
        Off = 2 "off",
        /// AES-128 in CCM.
        Aes128Ccm = 3 "aes-128-ccm",
        /// AES-192 in CCM.
        Aes192Ccm = 4 "aes-192-ccm",
        /// AES-256 in CCM.
        Aes256Ccm = 5 "aes-256-ccm",
        /// AES-128 in GCM.
        Aes128Gcm = 6 "aes-128-gcm",
        /// AES-192 in GCM.
        Aes192Gcm = 7 "aes-192-gcm",
        /// AES-256 in GCM.
        Aes256Gcm = 8 "aes-256-gcm",
    }

    /// What a wrapping key is made from.
    KeyFormat {
        /// There is none, for it is inherited or nothing is encrypted.
        None = 0 "none",
        /// 32 bytes.
        Raw = 1 "raw",
        /// 64 hexadecimal digits.
        Hex = 2 "hex",
        /// A passphrase.
        Passphrase = 3 "passphrase",
    }

    /// Whether a key is loaded.
    KeyStatus {
        /// The dataset is not encrypted.
        None = 0 "none",
        /// It is not, so that the data cannot be read.
        Unavailable = 1 "unavailable",
        /// It is.
        Available = 2 "available",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_lead_back() {
        for raw in 0..0x200 {
            assert_eq!(Checksum::from_raw(raw).raw(), raw);
            assert_eq!(Dedup::from_raw(raw).raw(), raw);
            assert_eq!(Normalization::from_raw(raw).raw(), raw);
            for (name, number) in [
                (
                    Checksum::raw_name(raw),
                    Checksum::raw_from_name as fn(&str) -> Option<u64>,
                ),
                (Dedup::raw_name(raw), Dedup::raw_from_name),
                (AclInherit::raw_name(raw), AclInherit::raw_from_name),
                (Sync::raw_name(raw), Sync::raw_from_name),
                (Xattr::raw_name(raw), Xattr::raw_from_name),
                (VolMode::raw_name(raw), VolMode::raw_from_name),
            ] {
                assert!(name.is_none_or(|name| number(&name) == Some(raw)));
            }
        }
    }

    #[test]
    fn unknown_numbers_are_kept() {
        let sync = Sync::from_value(&Value::Uint64(99)).unwrap();
        assert_eq!(sync, Sync::Unknown(99));
        assert_eq!(sync.to_value(), Value::Uint64(99));
        assert_eq!(sync.to_string(), "99");
        assert_eq!(Sync::Always.to_string(), "always");
    }

    #[test]
    fn old_spellings() {
        assert_eq!(AclType::from_name("posixacl"), Some(AclType::Posix));
        assert_eq!(
            AclInherit::from_name("secure"),
            Some(AclInherit::Restricted)
        );
    }
}
