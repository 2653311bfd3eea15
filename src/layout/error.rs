//! Why a layout cannot be read, planned or applied.

use std::fmt;

use zfs_core::Health;

use super::{Change, Conflict, KeyError};
use crate::gate::Refusal;

/// One thing that is wrong in a layout or a device map.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// Where: `pools.tank.data[1]`.
    pub path: String,
    /// What.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// What is found to be wrong, one after the other.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem {
            path: path.into(),
            message: message.into(),
        });
    }

    pub(super) fn into_result(self) -> Result<(), LayoutError> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(LayoutError::Invalid(self.0)),
        }
    }
}

/// Why a layout cannot be read, planned or applied.
///
/// What ZFS says of single changes is in [`Applied`](super::Applied).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The capability does not cover it. The kernel was not called for it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The text is not JSON or TOML, or has another structure, an unknown field for one.
    #[error("{0}")]
    Syntax(String),
    /// The file is of another version than [`Layout::VERSION`](super::Layout::VERSION), or says
    /// none.
    #[error("{}", version(*found))]
    Version {
        /// What it says.
        found: Option<u32>,
    },
    /// The layout or the device map contradicts itself or ZFS's rules: all that was found.
    #[error("{}", first(.0))]
    Invalid(Vec<Problem>),
    /// The device map has no path for a device of the layout.
    #[error("pool {pool}: the device map has no device {device}")]
    NoDevice {
        /// The pool that the device is for.
        pool: String,
        /// The logical name.
        device: String,
    },
    /// A pool cannot be compared with its layout: it is suspended, or cannot be opened.
    #[error("pool {pool} is {health}")]
    Unusable {
        /// The pool.
        pool: String,
        /// Its state.
        health: Health,
    },
    /// Something is in the way of the plan that no change takes away. Nothing was changed.
    #[error("{}", first(.0))]
    Conflicts(Vec<Conflict>),
    /// The plan has a change that is more dangerous than was accepted. Nothing was changed.
    #[error("{} was not accepted: {change}: {}", change.danger(), change.reason().unwrap_or("-"))]
    NotAccepted {
        /// The change.
        change: Box<Change>,
    },
    /// What is there has changed since the plan was made. Nothing was changed.
    #[error("the plan is out of date: {0} changes would be made now, and not those that it has")]
    Stale(usize),
    /// A key could not be had. Nothing was changed.
    #[error("the key {key} of {dataset}: {source}")]
    Key {
        /// The key's name.
        key: String,
        /// The dataset that needs it.
        dataset: String,
        /// Why.
        source: KeyError,
    },
    /// A dataset that is to be destroyed is not the one that the plan was made with. Nothing of it
    /// was changed.
    #[error("{dataset} is not the dataset any more that the plan was made with")]
    Replaced {
        /// Its name.
        dataset: String,
    },
    /// ZFS refused something, or could not be asked.
    #[error(transparent)]
    Zfs(#[from] zfs_core::Error),
}

fn version(found: Option<u32>) -> String {
    match found {
        Some(found) => format!("version {found} of layouts is not known here, only 1"),
        None => String::from("no `version`: this library reads version 1"),
    }
}

fn first(items: &[impl fmt::Display]) -> String {
    match items {
        [] => String::from("nothing"),
        [one] => one.to_string(),
        [one, rest @ ..] => format!("{one} (and {} more)", rest.len()),
    }
}
