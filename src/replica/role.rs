//! What a site is at this moment, as its datasets say.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use zfs_core::props::{Properties, Source};

/// On the data: what it is. It goes where the dataset is renamed to.
pub(crate) const ROLE: &str = "helix:replica_role";
/// On the data: the newest epoch that it has seen.
pub(crate) const EPOCH: &str = "helix:replica_epoch";
/// On the data: the GUID of the snapshot that it was promoted at, or is rebuilt from.
pub(crate) const BASE: &str = "helix:replica_base";
/// On a target: where its chain was taken to. Nothing is received into it.
pub(crate) const PROMOTED: &str = "helix:replica_promoted";
/// On what was kept of a former source: since when.
pub(crate) const DIVERGED: &str = "helix:replica_diverged";

/// What the copy of the data at a [`Site`](super::Site) is.
///
/// All but [`Absent`](Self::Absent) and [`Unmarked`](Self::Unmarked) is the user property
/// `helix:replica_role` of the dataset itself. Only a [`Source`](Self::Source) and
/// what was [`Promoted`](Self::Promoted) can be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SiteRole {
    /// There is no data.
    Absent,
    /// There is data that was never part of a group.
    Unmarked,
    /// It follows a source.
    Replica,
    /// It is being made the source.
    Promoting,
    /// It was made the source, and nobody is known to have written to it.
    Promoted,
    /// It is the source.
    Source,
    /// A promotion is being taken back.
    Undoing,
    /// It was the source, and may not be written to any more.
    Fenced,
    /// It is being made a replica of the new source.
    Rebuilding,
    /// It is what a former source had that the new one has not, kept for whoever wants it.
    Diverged,
}

impl SiteRole {
    /// Its name in the user property, and for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Unmarked => "unmarked",
            Self::Replica => "replica",
            Self::Promoting => "promoting",
            Self::Promoted => "promoted",
            Self::Source => "source",
            Self::Undoing => "undoing",
            Self::Fenced => "fenced",
            Self::Rebuilding => "rebuilding",
            Self::Diverged => "diverged",
        }
    }
}

impl fmt::Display for SiteRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for SiteRole {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        [
            Self::Replica,
            Self::Promoting,
            Self::Promoted,
            Self::Source,
            Self::Undoing,
            Self::Fenced,
            Self::Rebuilding,
            Self::Diverged,
        ]
        .into_iter()
        .find(|role| role.name() == name)
        .ok_or(())
    }
}

/// A user property of the dataset itself, set here: neither what it inherits nor what a stream
/// brought says what it is.
pub(crate) fn own<'p>(props: &'p Properties, name: &str) -> Option<&'p str> {
    match props.source(name) {
        Some(Source::Local) => props.user(name),
        _ => None,
    }
}
