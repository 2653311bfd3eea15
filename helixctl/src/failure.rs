//! Why a command did not do what it was asked to, and the exit status that says so.

use std::fmt;
use std::process::ExitCode;

use helix_zfs::RollbackError;
use helix_zfs::ephemeral::EphemeralError;
use helix_zfs::replicate::{Problem, ReplicateError};
use helix_zfs::scope::ScopeError;
use helix_zfs::zfs_core::name::NameError;
use helix_zfs::zfs_core::{Error, ErrorKind};
use serde::Serialize;

/// How a command ended. The numbers are documented, and stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Exit {
    /// All was done, or there was nothing to do.
    Done,
    /// It failed. What was done before is as the message says.
    Failed,
    /// The command line is wrong.
    Usage,
    /// Refused: a precondition is not met, or nobody said yes. Nothing was changed.
    Refused,
    /// It does not exist.
    NotFound,
    /// A part was done. The answer says which.
    Partial,
    /// Neither root nor delegated.
    Denied,
    /// In use. The same command may work later.
    Busy,
    /// No space, or a quota or limit is reached.
    Full,
    /// Done, and what was looked at needs attention.
    Attention,
}

impl Exit {
    /// All of them, with what the manual says.
    pub(crate) const ALL: [(Self, &'static str); 10] = [
        (Self::Done, "Done, or there was nothing to do."),
        (
            Self::Failed,
            "Failed: an I/O error, a broken connection, no ZFS on this machine.",
        ),
        (
            Self::Usage,
            "The command line, a name or a file's content is wrong. Nothing was changed.",
        ),
        (
            Self::Refused,
            "Refused, and nothing was changed: a precondition is not met, or it would destroy \
             something and nobody said yes.",
        ),
        (
            Self::NotFound,
            "The dataset, snapshot, pool or file does not exist.",
        ),
        (
            Self::Partial,
            "Some of it was done. The answer says what was not, and how to go on.",
        ),
        (
            Self::Denied,
            "Neither root nor delegated, or a policy or the gate forbids it.",
        ),
        (
            Self::Busy,
            "In use: mounted, being sent or received. The same command may work later.",
        ),
        (Self::Full, "No space, or a quota or limit is reached."),
        (
            Self::Attention,
            "Done, and what was looked at needs attention: a pool that is not healthy, a threshold \
             that was passed, bytes that do not fit, a plan with changes under --check, an \
             audit log that is broken.",
        ),
    ];

    /// The number.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::NotFound => 4,
            Self::Partial => 5,
            Self::Denied => 6,
            Self::Busy => 7,
            Self::Full => 8,
            Self::Attention => 9,
        }
    }

    /// The word for it in JSON.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Refused => "refused",
            Self::NotFound => "not_found",
            Self::Partial => "partial",
            Self::Denied => "denied",
            Self::Busy => "busy",
            Self::Full => "full",
            Self::Attention => "attention",
        }
    }

    /// What an error of ZFS means to whoever typed the command.
    pub(crate) fn of(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::InvalidName
            | ErrorKind::NameTooLong
            | ErrorKind::InvalidArgument
            | ErrorKind::InvalidProperty
            | ErrorKind::TooBig => Self::Usage,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::AlreadyExists
            | ErrorKind::WrongKind
            | ErrorKind::Held
            | ErrorKind::HasClones
            | ErrorKind::HasChildren
            | ErrorKind::HasSnapshots
            | ErrorKind::NewerSnapshotsExist
            | ErrorKind::CrossPool
            | ErrorKind::KeyNotLoaded
            | ErrorKind::KeyLoaded
            | ErrorKind::WrongKey
            | ErrorKind::ReadOnlyPool
            | ErrorKind::Unsupported
            | ErrorKind::NotInProgress
            | ErrorKind::DeviceTooSmall
            | ErrorKind::DeviceInUse
            | ErrorKind::OtherHost
            | ErrorKind::LastCopy
            | ErrorKind::SectorSizeMismatch
            | ErrorKind::RedundancyMismatch
            | ErrorKind::Modified => Self::Refused,
            ErrorKind::Partial => Self::Partial,
            ErrorKind::PermissionDenied | ErrorKind::Forbidden => Self::Denied,
            ErrorKind::Busy | ErrorKind::InProgress => Self::Busy,
            ErrorKind::NoSpace | ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Failure {
    #[serde(skip)]
    pub(crate) exit: Exit,
    /// One line.
    pub(crate) message: String,
    /// What an operator can do.
    pub(crate) advice: Option<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            advice: None,
        }
    }

    /// The command line, a name, or what a file says is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A precondition is not met.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(Exit::Refused, message)
    }

    /// What was named is not there.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, message)
    }

    /// A file or a connection.
    pub(crate) fn io(what: &str, error: &std::io::Error) -> Self {
        let exit = match error.kind() {
            std::io::ErrorKind::NotFound => Exit::NotFound,
            std::io::ErrorKind::PermissionDenied => Exit::Denied,
            _ => Exit::Failed,
        };
        Self::new(exit, format!("{what}: {error}"))
    }

    pub(crate) fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(Exit::of(error.kind()), error.to_string())
    }
}

impl From<NameError> for Failure {
    fn from(error: NameError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<EphemeralError> for Failure {
    fn from(error: EphemeralError) -> Self {
        let exit = match &error {
            EphemeralError::Zfs(error) => Exit::of(error.kind()),
            EphemeralError::Refused(_) => Exit::Denied,
            EphemeralError::Name { .. }
            | EphemeralError::Expiry { .. }
            | EphemeralError::Volume { .. }
            | EphemeralError::Folder { .. } => Exit::Usage,
            EphemeralError::InUse { .. } => Exit::Busy,
            EphemeralError::NotEphemeral { .. }
            | EphemeralError::Changed { .. }
            | EphemeralError::Expired { .. } => Exit::Refused,
            _ => Exit::Failed,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<ScopeError> for Failure {
    fn from(error: ScopeError) -> Self {
        let exit = match error {
            ScopeError::Rollback(error) => return error.into(),
            ScopeError::Refused(_) => Exit::Denied,
            ScopeError::Zfs(ref error) => Exit::of(error.kind()),
            ScopeError::NoSnapshot { .. } | ScopeError::NoStaging { .. } => Exit::NotFound,
            ScopeError::LimitReached { .. } => Exit::Full,
            // All others are refusals.
            _ => Exit::Refused,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<RollbackError> for Failure {
    fn from(error: RollbackError) -> Self {
        let exit = match &error {
            RollbackError::Zfs(error) => Exit::of(error.kind()),
            RollbackError::Refused(_) => Exit::Denied,
            RollbackError::Empty | RollbackError::Repeated(_) | RollbackError::SeveralPools(..) => {
                Exit::Usage
            }
            RollbackError::NoSuchPoint(_) => Exit::NotFound,
            // All others are refusals.
            _ => Exit::Refused,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<ReplicateError> for Failure {
    fn from(error: ReplicateError) -> Self {
        let exit = match error.problem() {
            Problem::Diverged | Problem::NoCommonBase | Problem::KeyMismatch => Exit::Refused,
            Problem::TargetModified | Problem::NotOffered | Problem::Unsupported => Exit::Refused,
            Problem::TargetFull => Exit::Full,
            Problem::Busy => Exit::Busy,
            Problem::NoSnapshot => Exit::NotFound,
            Problem::PermissionDenied | Problem::Refused => Exit::Denied,
            _ => error
                .zfs_error()
                .map_or(Exit::Failed, |error| Exit::of(error.kind())),
        };
        Self::new(exit, error.to_string()).advice(error.advice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_exit_has_a_number_of_its_own_in_order() {
        for (number, (exit, text)) in Exit::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(exit.code()), number);
            assert!(text.ends_with('.'), "{text}");
            assert_eq!(
                Exit::ALL
                    .iter()
                    .filter(|(it, _)| it.word() == exit.word())
                    .count(),
                1
            );
        }
    }
}
