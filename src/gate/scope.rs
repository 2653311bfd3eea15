use std::fmt;

use serde::{Deserialize, Serialize};
use zfs_core::DatasetName;

/// Which datasets a [`Capability`](super::Capability) covers: some, with all that lies below them,
/// their snapshots and bookmarks included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scope(Vec<DatasetName>);

impl Scope {
    /// The dataset `top` and all below it.
    #[must_use]
    pub fn below(top: &DatasetName) -> Self {
        Self(vec![top.clone()])
    }

    /// Several datasets and all below each.
    #[must_use]
    pub fn of<D: AsRef<DatasetName>>(tops: &[D]) -> Self {
        Self(tops.iter().map(|top| top.as_ref().clone()).collect())
    }

    /// Whether `name` is one of its datasets, or lies below one.
    #[must_use]
    pub fn covers(&self, name: &DatasetName) -> bool {
        self.0
            .iter()
            .any(|top| top == name || top.is_ancestor_of(name))
    }

    /// Whether all that `other` covers is covered by this.
    #[must_use]
    pub fn covers_all_of(&self, other: &Self) -> bool {
        other.0.iter().all(|name| self.covers(name))
    }

    /// The datasets at its top.
    #[must_use]
    pub fn tops(&self) -> &[DatasetName] {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, top) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{top}")?;
        }
        Ok(())
    }
}
