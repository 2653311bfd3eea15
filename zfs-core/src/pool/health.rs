use std::fmt;

/// Whether a vdev works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum VdevState {
    /// Not open.
    Closed,
    /// Taken offline by an administrator.
    Offline,
    /// Removed from the machine.
    Removed,
    /// Could not be opened: [`Vdev::aux`](super::Vdev::aux) says why.
    CantOpen,
    /// Taken out of use after too many errors, or by an administrator.
    Faulted,
    /// Works, with children that do not.
    Degraded,
    /// Works.
    Healthy,
    /// A number that this crate does not know, or 0 for one that the kernel does not know either.
    Unknown(u64),
}

impl VdevState {
    /// Gives the kernel's number its meaning.
    #[must_use]
    #[doc(alias = "vdev_state_t")]
    pub const fn from_raw(raw: u64) -> Self {
        match raw {
            1 => Self::Closed,
            2 => Self::Offline,
            3 => Self::Removed,
            4 => Self::CantOpen,
            5 => Self::Faulted,
            6 => Self::Degraded,
            7 => Self::Healthy,
            _ => Self::Unknown(raw),
        }
    }
}

/// Why a vdev does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum VdevAux {
    /// No reason.
    None,
    /// Opening it failed.
    OpenFailed,
    /// Its label or its content is damaged.
    CorruptData,
    /// Too many of its children are missing.
    NoReplicas,
    /// The sum of the pool's identities is wrong: a vdev is missing.
    BadGuidSum,
    /// Too small.
    TooSmall,
    /// The label is of another device or pool.
    BadLabel,
    /// Of a version that is too new.
    VersionNewer,
    /// Of a version that is too old.
    VersionOlder,
    /// The pool has features that the module lacks.
    UnsupportedFeature,
    /// A hot spare that is in use.
    Spared,
    /// Too many errors.
    TooManyErrors,
    /// I/O failed.
    IoFailure,
    /// The intent log cannot be read.
    BadLog,
    /// Faulted from outside.
    External,
    /// Split off into another pool.
    SplitPool,
    /// The sector size on the label is not valid.
    BadAshift,
    /// Faulted from outside, until it is cleared.
    ExternalPersist,
    /// In use by another host.
    Active,
    /// All its children are offline.
    ChildrenOffline,
    /// The sectors are larger than ZFS supports.
    AshiftTooBig,
    /// A number that this crate does not know.
    Unknown(u64),
}

impl VdevAux {
    /// Gives the kernel's number its meaning.
    #[must_use]
    #[doc(alias = "vdev_aux_t")]
    pub const fn from_raw(raw: u64) -> Self {
        match raw {
            0 => Self::None,
            1 => Self::OpenFailed,
            2 => Self::CorruptData,
            3 => Self::NoReplicas,
            4 => Self::BadGuidSum,
            5 => Self::TooSmall,
            6 => Self::BadLabel,
            7 => Self::VersionNewer,
            8 => Self::VersionOlder,
            9 => Self::UnsupportedFeature,
            10 => Self::Spared,
            11 => Self::TooManyErrors,
            12 => Self::IoFailure,
            13 => Self::BadLog,
            14 => Self::External,
            15 => Self::SplitPool,
            16 => Self::BadAshift,
            17 => Self::ExternalPersist,
            18 => Self::Active,
            19 => Self::ChildrenOffline,
            20 => Self::AshiftTooBig,
            _ => Self::Unknown(raw),
        }
    }

    /// The reason in a few words; none for [`None`](Self::None).
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::None => "",
            Self::OpenFailed => "cannot be opened",
            Self::CorruptData => "damaged data",
            Self::NoReplicas => "too few children left",
            Self::BadGuidSum => "a device is missing",
            Self::TooSmall => "too small",
            Self::BadLabel => "damaged label",
            Self::VersionNewer => "version too new",
            Self::VersionOlder => "version too old",
            Self::UnsupportedFeature => "unsupported features",
            Self::Spared => "in use",
            Self::TooManyErrors => "too many errors",
            Self::IoFailure => "I/O failed",
            Self::BadLog => "damaged intent log",
            Self::External | Self::ExternalPersist => "faulted from outside",
            Self::SplitPool => "split off into another pool",
            Self::BadAshift => "invalid sector size",
            Self::Active => "in use by another host",
            Self::ChildrenOffline => "all children offline",
            Self::AshiftTooBig => "sectors too large",
            Self::Unknown(_) => "unknown reason",
        }
    }
}

/// The state of a pool or a vdev in the words of the `zpool` command, in which it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "UPPERCASE"))]
#[non_exhaustive]
pub enum Health {
    /// Works.
    Online,
    /// Works, but something below does not.
    Degraded,
    /// Out of use, or its data are damaged.
    Faulted,
    /// Taken offline.
    Offline,
    /// Removed from the machine.
    Removed,
    /// Cannot be opened.
    Unavail,
    /// Split off into another pool.
    Split,
    /// A pool whose I/O is stopped until it is cleared.
    Suspended,
    /// A hot spare that waits.
    #[cfg_attr(feature = "serde", serde(rename = "AVAIL"))]
    Available,
    /// A hot spare that is in use.
    InUse,
    /// A state that this crate does not know.
    Unknown,
}

impl Health {
    pub(super) fn of(state: VdevState, aux: VdevAux) -> Self {
        match (state, aux) {
            (VdevState::Closed | VdevState::Offline, _) => Self::Offline,
            (VdevState::Removed, _) => Self::Removed,
            (VdevState::CantOpen, VdevAux::CorruptData | VdevAux::BadLog)
            | (VdevState::Faulted, _) => Self::Faulted,
            (VdevState::CantOpen, VdevAux::SplitPool) => Self::Split,
            (VdevState::CantOpen, _) => Self::Unavail,
            (VdevState::Degraded, _) => Self::Degraded,
            (VdevState::Healthy, _) => Self::Online,
            (VdevState::Unknown(_), _) => Self::Unknown,
        }
    }

    /// The word that `zpool` prints.
    #[must_use]
    #[doc(alias = "zpool_state_to_name")]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Online => "ONLINE",
            Self::Degraded => "DEGRADED",
            Self::Faulted => "FAULTED",
            Self::Offline => "OFFLINE",
            Self::Removed => "REMOVED",
            Self::Unavail => "UNAVAIL",
            Self::Split => "SPLIT",
            Self::Suspended => "SUSPENDED",
            Self::Available => "AVAIL",
            Self::InUse => "INUSE",
            Self::Unknown => "UNKNOWN",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
