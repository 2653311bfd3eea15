use std::fmt;
use std::time::SystemTime;

use serde::Serialize;
use zfs_core::DatasetName;

use super::Operation;

/// Why the gate did not let an operation be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RefusalReason {
    /// The capability is for another operation.
    Operation {
        /// What it is for.
        granted: Operation,
    },
    /// The object does not lie in the capability's scope.
    Scope,
    /// The capability's time is over.
    Expired {
        /// When it ended.
        #[serde(with = "super::rfc3339")]
        at: SystemTime,
    },
    /// The capability was taken back, or its job has ended.
    Revoked {
        /// Why.
        why: String,
    },
    /// The rules do not let this actor do it.
    Rules,
    /// It is production data, and this must not be done with it.
    Production {
        /// The rule, in words.
        rule: &'static str,
    },
    /// It could not be written into the audit log, and what is not on record is not done.
    Audit {
        /// What kept it from being written.
        why: String,
    },
    /// Whether the rules allow it could not be found out.
    Unknown {
        /// What kept it from being found out.
        why: String,
    },
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operation { granted } => write!(f, "the capability is for {granted}"),
            Self::Scope => f.write_str("it is outside the capability's scope"),
            Self::Expired { at } => write!(
                f,
                "the capability ended at {}",
                humantime::format_rfc3339_seconds(*at)
            ),
            Self::Revoked { why } => write!(f, "the capability was taken back: {why}"),
            Self::Rules => f.write_str("the rules do not allow it"),
            Self::Production { rule } => write!(f, "it is production data: {rule}"),
            Self::Audit { why } => write!(f, "it cannot be put on record: {why}"),
            Self::Unknown { why } => write!(f, "whether it is allowed is not known: {why}"),
        }
    }
}

/// The gate did not let an operation be done. The kernel was not called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{operation} of {object} by {actor} (job {job}) was refused: {reason}")]
#[non_exhaustive]
pub struct Refusal {
    /// What was to be done.
    pub operation: Operation,
    /// With what.
    pub object: DatasetName,
    /// By whom.
    pub actor: String,
    /// For which job.
    pub job: String,
    /// Why not.
    pub reason: RefusalReason,
}
