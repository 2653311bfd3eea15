macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $c:literal, $word:literal, $message:expr, $status:literal, $action:literal;)*) => {
        /// The one thing about a pool that matters most, as `zpool status` chooses it.
        ///
        /// The names are those of the constants `ZPOOL_STATUS_…` of libzfs, spelled out. Where
        /// a device is concerned there are two of most: the pool goes on without the device, or
        /// it cannot.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[doc(alias = "zpool_status_t")]
        #[non_exhaustive]
        pub enum StatusCode {
            $($(#[$doc])* #[doc(alias = $c)] $name,)*
        }

        impl StatusCode {
            /// The code in one word, which is also its form in JSON: `missing_device`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// The message that OpenZFS explains the code in, where there is one: `ZFS-8000-2Q`.
            #[must_use]
            pub const fn message_id(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => $message,)*
                }
            }

            /// What is the matter, in a sentence or two. Empty for [`Ok`](Self::Ok).
            #[must_use]
            pub const fn status(self) -> &'static str {
                match self {
                    $(Self::$name => $status,)*
                }
            }

            /// What to do about it. Empty for [`Ok`](Self::Ok).
            #[must_use]
            pub const fn action(self) -> &'static str {
                match self {
                    $(Self::$name => $action,)*
                }
            }
        }

        #[cfg(test)]
        const CODES: &[StatusCode] = &[$(StatusCode::$name,)*];
    };
}

codes! {
    /// Nothing is the matter.
    Ok = "ZPOOL_STATUS_OK", "ok", None, "", "";
    /// A device cannot be opened; the others have its data.
    MissingDevice = "ZPOOL_STATUS_MISSING_DEV_R", "missing_device", Some("ZFS-8000-2Q"),
        "A device cannot be opened. Enough copies are left, and the pool works without it.",
        "Connect the device and take it online, or replace it.";
    /// Devices cannot be opened whose data nobody else has.
    MissingDeviceFatal = "ZPOOL_STATUS_MISSING_DEV_NR", "missing_device_fatal", Some("ZFS-8000-3C"),
        "Devices cannot be opened, and too few copies are left for the pool to work.",
        "Connect the devices and take them online.";
    /// A device's label is damaged; the others have its data.
    CorruptLabel = "ZPOOL_STATUS_CORRUPT_LABEL_R", "corrupt_label", Some("ZFS-8000-4J"),
        "A device has no valid label. Enough copies are left, and the pool works without it.",
        "Replace the device.";
    /// Devices' labels are damaged, and nobody else has their data.
    CorruptLabelFatal = "ZPOOL_STATUS_CORRUPT_LABEL_NR", "corrupt_label_fatal", Some("ZFS-8000-5E"),
        "Devices have no valid label, and too few copies are left for the pool to work.",
        "Import the pool with a rewind, or restore it from a backup.";
    /// The identities of the devices do not add up.
    BadGuidSum = "ZPOOL_STATUS_BAD_GUID_SUM", "bad_guid_sum", Some("ZFS-8000-6X"),
        "The pool's devices are not all there.",
        "Connect the missing devices and import the pool anew.";
    /// The pool's own metadata are damaged.
    CorruptPool = "ZPOOL_STATUS_CORRUPT_POOL", "corrupt_pool", Some("ZFS-8000-72"),
        "The pool's metadata are damaged, and it cannot be opened.",
        "Import the pool with a rewind, or restore it from a backup.";
    /// There are damaged blocks on record.
    CorruptData = "ZPOOL_STATUS_CORRUPT_DATA", "corrupt_data", Some("ZFS-8000-8A"),
        "Data are damaged, and no copy is left to repair them from.",
        "Restore the files in the error log, or the whole pool, from a backup.";
    /// A device had errors, which were made up for.
    FailingDevice = "ZPOOL_STATUS_FAILING_DEV", "failing_device", Some("ZFS-8000-9P"),
        "A device had errors. They were made up for, and no data are lost.",
        "Find out whether the device fails: replace it, or clear its errors.";
    /// The format is newer than the module.
    VersionNewer = "ZPOOL_STATUS_VERSION_NEWER", "version_newer", Some("ZFS-8000-A5"),
        "The pool has a newer format than this system knows.",
        "Use a system with newer software, or restore the pool from a backup.";
    /// The pool was imported by another host.
    HostIdMismatch = "ZPOOL_STATUS_HOSTID_MISMATCH", "host_id_mismatch", Some("ZFS-8000-EY"),
        "The pool bears the identity of another host.",
        "Export the pool wherever it is imported, and import it here again.";
    /// Another host has the pool imported right now.
    HostIdActive = "ZPOOL_STATUS_HOSTID_ACTIVE", "host_id_active", Some("ZFS-8000-EY"),
        "Another host has the pool imported.",
        "Export the pool on that host first.";
    /// The pool wants to know which host this is, and this host has no identity.
    HostIdRequired = "ZPOOL_STATUS_HOSTID_REQUIRED", "host_id_required", Some("ZFS-8000-EY"),
        "The pool is for several hosts, and this one has no identity.",
        "Give this host an identity with zgenhostid.";
    /// I/O failed, and all I/O waits.
    IoFailureWait = "ZPOOL_STATUS_IO_FAILURE_WAIT", "io_failure_wait", Some("ZFS-8000-HC"),
        "I/O failed, and the pool is suspended. All I/O waits.",
        "Connect the devices, and clear the pool.";
    /// I/O failed, and new writes fail.
    IoFailureContinue =
        "ZPOOL_STATUS_IO_FAILURE_CONTINUE", "io_failure_continue", Some("ZFS-8000-JQ"),
        "I/O failed, and the pool is suspended. New writes fail.",
        "Connect the devices, and clear the pool.";
    /// It could not be shown in time that no other host uses the pool.
    IoFailureMultihost = "ZPOOL_STATUS_IO_FAILURE_MMP", "io_failure_multihost", Some("ZFS-8000-MM"),
        "The pool is suspended: the writes that show other hosts that it is in use failed or came \
         late.",
        "Connect the devices. Then restart this host and import the pool, or clear the pool if no \
         other host has imported it.";
    /// The intent log cannot be read.
    BadLog = "ZPOOL_STATUS_BAD_LOG", "bad_log", Some("ZFS-8000-K4"),
        "The intent log cannot be read. The pool waits for a decision.",
        "Connect the log devices and take them online, or clear the pool and lose the last writes.";
    /// The pool shows a defect of older software: [`Advice::errata`](super::Advice::errata).
    Errata = "ZPOOL_STATUS_ERRATA", "errata", Some("ZFS-8000-ER"),
        "The pool shows a known defect of older software.",
        "See the message for what to do.";
    /// The pool has features in use that are needed to read it.
    UnsupportedFeatureRead = "ZPOOL_STATUS_UNSUP_FEAT_READ", "unsupported_feature_read", None,
        "The pool needs features that this system lacks.",
        "Use a system with these features, or restore the pool from a backup.";
    /// The pool has features in use that are needed to write to it.
    UnsupportedFeatureWrite = "ZPOOL_STATUS_UNSUP_FEAT_WRITE", "unsupported_feature_write", None,
        "Writing to the pool needs features that this system lacks.",
        "Import the pool read-only, or use a system with these features.";
    /// A device was taken out of use after errors; the others have its data.
    FaultedDevice = "ZPOOL_STATUS_FAULTED_DEV_R", "faulted_device", None,
        "A device is faulted after errors. Enough copies are left, and the pool works without it.",
        "Replace the device, or clear it if it was repaired.";
    /// Devices were taken out of use after errors, and nobody else has their data.
    FaultedDeviceFatal = "ZPOOL_STATUS_FAULTED_DEV_NR", "faulted_device_fatal", None,
        "Devices are faulted after errors, and too few copies are left for the pool to work.",
        "Clear the devices, which may bring some data back, or restore the pool from a backup.";
    /// The format is older than features.
    VersionOlder = "ZPOOL_STATUS_VERSION_OLDER", "version_older", None,
        "The pool has an old format, and lacks what newer ones can do.",
        "Upgrade the pool. Software without feature flags cannot open it then.";
    /// Features are disabled that the module has: [`Advice::features`](super::Advice::features).
    FeatureDisabled = "ZPOOL_STATUS_FEAT_DISABLED", "feature_disabled", None,
        "Features are disabled that this system has.",
        "Upgrade the pool. Software without these features may be unable to open it then.";
    /// What a device has missed is being written to it.
    Resilvering = "ZPOOL_STATUS_RESILVERING", "resilvering", None,
        "A device is being resilvered. Until it is done, the pool may lack redundancy.",
        "Wait for the resilver to end.";
    /// A device is offline; the others have its data.
    OfflineDevice = "ZPOOL_STATUS_OFFLINE_DEV", "offline_device", None,
        "A device was taken offline. Enough copies are left, and the pool works without it.",
        "Take the device online, or replace it.";
    /// A device was removed from the machine; the others have its data.
    RemovedDevice = "ZPOOL_STATUS_REMOVED_DEV", "removed_device", None,
        "A device was removed. Enough copies are left, and the pool works without it.",
        "Connect the device and take it online, or replace it.";
    /// A device is being rebuilt by a sequential resilver.
    Rebuilding = "ZPOOL_STATUS_REBUILDING", "rebuilding", None,
        "A device is being resilvered. Until it is done, the pool may lack redundancy.",
        "Wait for the resilver to end.";
    /// A device was rebuilt, and its checksums were never looked at.
    RebuildScrub = "ZPOOL_STATUS_REBUILD_SCRUB", "rebuild_scrub", None,
        "A device was resilvered sequentially, which does not verify checksums.",
        "Scrub the pool.";
    /// A device has larger sectors than it is used with.
    NonNativeAshift = "ZPOOL_STATUS_NON_NATIVE_ASHIFT", "non_native_ashift", None,
        "A device is used with smaller sectors than it has, and is slower for that.",
        "Replace the device, or move the data to a pool with the right sector size.";
    /// The list of features in the property `compatibility` cannot be read.
    CompatibilityError = "ZPOOL_STATUS_COMPATIBILITY_ERR", "compatibility_error", None,
        "The pool's list of compatible features cannot be read.",
        "Look at the property compatibility and the files that it names.";
    /// Features are enabled that the property `compatibility` does not ask for:
    /// [`Advice::features`](super::Advice::features).
    IncompatibleFeature = "ZPOOL_STATUS_INCOMPATIBLE_FEAT", "incompatible_feature", None,
        "Features are enabled that the pool's list of compatible features does not have.",
        "Set the property compatibility to a list that has them.";
}

impl StatusCode {
    /// Where OpenZFS explains the message.
    #[must_use]
    pub fn url(self) -> Option<String> {
        let id = self.message_id()?;
        Some(format!("https://openzfs.github.io/openzfs-docs/msg/{id}"))
    }

    /// Whether `zpool status -x` shows the pool: something is wrong, rather than merely not the
    /// newest.
    #[must_use]
    pub const fn is_problem(self) -> bool {
        !matches!(
            self,
            Self::Ok
                | Self::VersionOlder
                | Self::FeatureDisabled
                | Self::CompatibilityError
                | Self::IncompatibleFeature
        )
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for StatusCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_a_text_and_a_name_each() {
        for &code in CODES {
            let ok = code == StatusCode::Ok;
            assert_eq!(code.status().is_empty(), ok, "{code:?}");
            assert_eq!(code.action().is_empty(), ok, "{code:?}");
            let same = |other: &&StatusCode| other.as_str() == code.as_str();
            assert_eq!(CODES.iter().filter(same).count(), 1, "{code:?}");
            assert_eq!(code.url().is_some(), code.message_id().is_some());
        }
        assert_eq!(
            StatusCode::FailingDevice.url().unwrap(),
            "https://openzfs.github.io/openzfs-docs/msg/ZFS-8000-9P"
        );
    }
}
