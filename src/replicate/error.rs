//! Why a replication did not get there, and what to do about it.

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};
use zfs_core::ErrorKind;

use super::frame::FrameError;
use super::window::WindowError;
use crate::gate::Refusal;

/// What kept a replication from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Problem {
    /// The target's newest snapshot is unknown to the source, and an older one is not.
    Diverged,
    /// The source has none of the target's snapshots any more, not even as a bookmark.
    NoCommonBase,
    /// The encryption of the source and of the target do not fit.
    KeyMismatch,
    /// The target's pool is full, or a quota or limit is reached.
    TargetFull,
    /// The target was changed by somebody else.
    TargetModified,
    /// What arrived is not what the source has. It was destroyed.
    Rejected,
    /// The connection failed. The next run goes on from there.
    Connection,
    /// The other side does not keep to this protocol, or to this version of it.
    Protocol,
    /// Another replication into the same target is running.
    Busy,
    /// The source does not offer that dataset.
    NotOffered,
    /// The source does not have the snapshot, or none at all.
    NoSnapshot,
    /// The source's stream has something that the target's ZFS does not know.
    Unsupported,
    /// The capability does not cover it.
    Refused,
    /// The caller lacks the privilege, or the delegated permission.
    PermissionDenied,
    /// ZFS failed in another way.
    #[serde(other)]
    Zfs,
}

impl Problem {
    /// Which one a failure of ZFS is.
    fn of(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::NoSpace | ErrorKind::QuotaExceeded => Self::TargetFull,
            ErrorKind::Modified | ErrorKind::NoBase => Self::TargetModified,
            ErrorKind::IvsetMismatch | ErrorKind::WrongKey | ErrorKind::KeyNotLoaded => {
                Self::KeyMismatch
            }
            ErrorKind::Unsupported => Self::Unsupported,
            ErrorKind::PermissionDenied => Self::PermissionDenied,
            _ => Self::Zfs,
        }
    }

    /// A short description, as [`ReplicateError`]'s `Display` uses it.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::Diverged => "the target has a snapshot that the source does not know",
            Self::NoCommonBase => "source and target have no snapshot in common",
            Self::KeyMismatch => "the encryption of source and target do not fit",
            Self::TargetFull => "the target is full",
            Self::TargetModified => "the target was changed by somebody else",
            Self::Rejected => "what arrived is not what the source has, and was destroyed",
            Self::Connection => "the connection failed",
            Self::Protocol => "the other side does not keep to the protocol",
            Self::Busy => "another replication into this target is running",
            Self::NotOffered => "the source does not offer that dataset",
            Self::NoSnapshot => "the source has no such snapshot",
            Self::Unsupported => "not supported by the target",
            Self::Refused => "the gate refused it",
            Self::PermissionDenied => "permission denied",
            Self::Zfs => "ZFS failed",
        }
    }

    /// What an operator can do about it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Diverged => {
                "find out where the target's newer snapshots come from; to give them up, destroy the \
                 target's `current` and roll its `chain` back to the newest common snapshot, then \
                 run again"
            }
            Self::NoCommonBase => {
                "replicate into a new target, or rename the old one away; keep it until the new one \
                 is complete"
            }
            Self::KeyMismatch => {
                "put the target of an unencrypted source below an unencrypted dataset; if the \
                 source was encrypted anew, replicate into a new target"
            }
            Self::TargetFull => "free space on the target, or raise its quota, then run again",
            Self::TargetModified => {
                "find out who changed it; to give the changes up, roll the target's `chain` back to \
                 its newest snapshot, then run again"
            }
            Self::Rejected => {
                "run again; if it happens again, scrub both pools and test the memory of both \
                 machines"
            }
            Self::Connection => "run again: what has arrived is kept",
            Self::Protocol => "run the same version of this software on both sides",
            Self::Busy => "wait until it is done",
            Self::NotOffered => "offer the dataset at the source, or correct its name",
            Self::NoSnapshot => "take a snapshot at the source",
            Self::Unsupported => {
                "update ZFS on the target, or enable the features of its pool that are missing"
            }
            Self::Refused => "ask the gate for a capability that covers it",
            Self::PermissionDenied => "run as root, or delegate the permission that is missing",
            Self::Zfs => "see what ZFS says",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description())
    }
}

/// One of the two sides of a replication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Where the data is sent from.
    Source,
    /// Where it is received.
    Target,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Target => "target",
        })
    }
}

/// Why a replication did not get to its end.
///
/// Whatever it is, what readers see was verified, and the next run takes up from here.
#[derive(Debug)]
pub struct ReplicateError {
    problem: Problem,
    side: Side,
    detail: String,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ReplicateError {
    pub(crate) fn new(problem: Problem, side: Side, detail: impl Into<String>) -> Self {
        Self {
            problem,
            side,
            detail: detail.into(),
            cause: None,
        }
    }

    pub(crate) fn zfs(side: Side, error: zfs_core::Error) -> Self {
        let told = Self::told(side, &error);
        Self {
            cause: Some(Box::new(error)),
            ..told
        }
    }

    pub(crate) fn refused(side: Side, refusal: Refusal) -> Self {
        Self {
            problem: Problem::Refused,
            side,
            detail: refusal.to_string(),
            cause: Some(Box::new(refusal)),
        }
    }

    /// As [`zfs`](Self::zfs), of an error that belongs to another one.
    pub(crate) fn told(side: Side, error: &zfs_core::Error) -> Self {
        let problem = match (Problem::of(error.kind()), side) {
            // What is full or changed is a matter of the target alone.
            (Problem::TargetFull | Problem::TargetModified, Side::Source) => Problem::Zfs,
            (problem, _) => problem,
        };
        Self::new(problem, side, error.to_string())
    }

    pub(crate) fn frame(side: Side, error: FrameError) -> Self {
        let problem = match error {
            FrameError::Io(_) | FrameError::Header | FrameError::Message => Problem::Connection,
            FrameError::Foreign | FrameError::TooLong(_) | FrameError::Unintelligible(_) => {
                Problem::Protocol
            }
        };
        Self {
            problem,
            side,
            detail: error.to_string(),
            cause: Some(Box::new(error)),
        }
    }

    pub(crate) fn window(side: Side, error: &WindowError) -> Self {
        let problem = match error {
            WindowError::OutOfTurn(_) => Problem::Protocol,
            WindowError::Hopeless(_) => Problem::Connection,
        };
        Self::new(problem, side, error.to_string())
    }

    pub(crate) fn io(side: Side, error: io::Error) -> Self {
        Self {
            problem: Problem::Connection,
            side,
            detail: error.to_string(),
            cause: Some(Box::new(error)),
        }
    }

    /// What it is, for a program to act on.
    #[must_use]
    pub fn problem(&self) -> Problem {
        self.problem
    }

    /// Which side found it.
    #[must_use]
    pub fn side(&self) -> Side {
        self.side
    }

    /// More about it.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// What an operator can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        self.problem.advice()
    }

    /// What the gate refused, when it is this side's.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        self.cause.as_deref()?.downcast_ref()
    }

    /// The error of ZFS, when it is one of this side's.
    #[must_use]
    pub fn zfs_error(&self) -> Option<&zfs_core::Error> {
        self.cause.as_deref()?.downcast_ref()
    }
}

impl fmt::Display for ReplicateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.side, self.problem)?;
        match self.detail.is_empty() {
            true => Ok(()),
            false => write!(f, ": {}", self.detail),
        }
    }
}

impl std::error::Error for ReplicateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}
