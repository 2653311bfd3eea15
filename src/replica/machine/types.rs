use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::super::fence::{Fence, NodeName, SnapshotMark};
use super::super::policy::Lag;

/// What a node is, as its dataset says in `helix:replica_role`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Role {
    /// It is written to, while its lease lasts.
    Source,
    /// It follows a source.
    Replica,
    /// It is about to take over, and follows nobody.
    Promoting,
    /// It took over, and may be written to. Nobody has: that can be undone.
    Promoted,
    /// It was the source, and another node is. It is read-only, with all that it had.
    Fenced,
    /// It is becoming a replica of the new source.
    Rebuilding,
}

impl Role {
    const ALL: [Self; 6] = [
        Self::Source,
        Self::Replica,
        Self::Promoting,
        Self::Promoted,
        Self::Fenced,
        Self::Rebuilding,
    ];

    /// Its name, as in the property.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Replica => "replica",
            Self::Promoting => "promoting",
            Self::Promoted => "promoted",
            Self::Fenced => "fenced",
            Self::Rebuilding => "rebuilding",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// No node has this role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no role of a node")]
pub struct UnknownRole(String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(name: &str) -> Result<Self, UnknownRole> {
        Self::ALL
            .into_iter()
            .find(|role| role.name() == name)
            .ok_or_else(|| UnknownRole(name.to_owned()))
    }
}

/// What a node's dataset keeps about it, written in one change of properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Standing {
    /// What it is (`helix:replica_role`).
    pub role: Role,
    /// Since which epoch of the fence (`helix:replica_epoch`).
    pub epoch: u64,
}

/// What a node found when it looked whether it could take over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Its newest snapshot whose content digest was verified.
    pub verified: Option<SnapshotMark>,
    /// Whether that is, or comes after, the acknowledged snapshot that it was asked for.
    pub has_acknowledged: bool,
}

/// What an operator asks of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Command {
    /// Take over from the source, as soon as its lease is over. A source that was to hand over
    /// stays what it is.
    Promote {
        /// However far behind it is. An acknowledged snapshot is never given up.
        accept_lag: bool,
    },
    /// Give the place back to the source before, if nobody has written.
    Undo,
    /// Become a replica of the new source.
    Rebuild,
    /// Stop writing, and let a replica take over at once.
    HandOver,
}

impl Command {
    /// Its name, as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Promote { .. } => "promote",
            Self::Undo => "undo",
            Self::Rebuild => "rebuild",
            Self::HandOver => "hand-over",
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Something that happened at a node. Most are the outcome of an [`Action`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event {
    /// The process started, and the dataset says this. It may be writable: the first action makes
    /// that of a source read-only, until its lease is renewed.
    Started(Standing),
    /// Time passed.
    Tick,
    /// An operator wants something.
    Command(Command),
    /// The fence, as it was read, or as it was written.
    Fence(Fence),
    /// The group has no fence.
    NoFence,
    /// The fence was not written, because it had become this one.
    FenceMoved(Fence),
    /// The fencing store could not be used. What was to be written may have been.
    StoreFailed,
    /// The dataset says this now.
    Became {
        /// What it is.
        standing: Standing,
        /// Whether it can be written to.
        writable: bool,
    },
    /// That could not be done. The node tries again.
    ActionFailed,
    /// What a look for a takeover found.
    Verified(Candidate),
    /// A pull from the source ended well: this is the newest verified snapshot.
    Pulled {
        /// Which one it is.
        mark: SnapshotMark,
        /// The source's epoch, as the source said when it served it.
        epoch: u64,
        /// How far behind the replica is with it.
        lag: Lag,
    },
    /// The source was reached, and had nothing new.
    SourceSeen {
        /// Whether its pool says of itself that it is healthy.
        healthy: bool,
        /// How far behind the replica is.
        lag: Lag,
    },
    /// The source could not be reached.
    SourceUnreachable,
    /// The source does not have what this replica has.
    Diverged,
    /// This node's own pool says of itself whether it is healthy.
    PoolHealth {
        /// Whether it is.
        healthy: bool,
    },
    /// A snapshot was taken here, the newest. After a start, the newest that there is.
    Snapshot(SnapshotMark),
    /// A replica says that it has a snapshot, verified.
    Held {
        /// The replica.
        node: NodeName,
        /// The epoch of the source that it has it from.
        epoch: u64,
        /// The snapshot.
        mark: SnapshotMark,
    },
    /// These snapshots of this node were [dispensable](super::Machine::dispensable), and are gone.
    Pruned(Vec<SnapshotMark>),
    /// Somebody wrote here.
    Written,
    /// Nobody has written here since this node took over.
    Unwritten,
    /// The node's data now are those of a replica of the source: what else it had is kept beside.
    Rebuilt,
}

/// Why a node did not do what an operator, or its policy, asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Declined {
    /// It is further behind than the policy allows.
    #[error("it is {} bytes and {} behind", .0.bytes, humantime::format_duration(.0.time))]
    Lag(Lag),
    /// It never reached the source, so it cannot tell how far behind it is.
    #[error("it does not know how far behind it is")]
    LagUnknown,
    /// It has no verified snapshot.
    #[error("it has no verified snapshot")]
    Unverified,
    /// It does not have a snapshot that was acknowledged.
    #[error("it does not have {0}, which was acknowledged")]
    Acknowledged(SnapshotMark),
    /// The group has no fence.
    #[error("the group has no fence")]
    NoFence,
    /// In its role it cannot.
    #[error("its role is {0}")]
    Role(Role),
    /// It was written to since it took over, so that cannot be undone.
    #[error("it was written to since it took over")]
    Written,
    /// It did not take over from another node, so there is none to give the place back to.
    #[error("there was no source before")]
    NoPrevious,
}

/// What a node is to do. The outcome of each is an [`Event`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// Read the fence: [`Event::Fence`], [`Event::NoFence`] or [`Event::StoreFailed`].
    ReadFence,
    /// Write the fence by [`FencingStore::swap`](super::super::FencingStore::swap):
    /// [`Event::Fence`] with the new one, [`Event::FenceMoved`] or [`Event::StoreFailed`].
    WriteFence {
        /// The revision that is expected.
        expected: u64,
        /// What is to be written.
        new: Fence,
    },
    /// Make the dataset one of this standing, and then note it there: [`Event::Became`] or
    /// [`Event::ActionFailed`].
    ///
    /// For [`Role::Promoted`] the chain becomes the dataset, without what was not verified. For
    /// [`Role::Replica`] after [`Role::Promoted`] it is a chain again.
    Become {
        /// What it is to be.
        standing: Standing,
        /// Whether it can be written to: `readonly=off`. Otherwise it is read-only before anything
        /// else is done.
        writable: bool,
    },
    /// Look whether this node could take over: [`Event::Verified`] or [`Event::ActionFailed`].
    Verify {
        /// What it must have.
        acknowledged: Option<SnapshotMark>,
    },
    /// Pull the newest snapshot from the source if it is time for that: [`Event::Pulled`],
    /// [`Event::SourceSeen`], [`Event::SourceUnreachable`], [`Event::Diverged`] or
    /// [`Event::ActionFailed`].
    Follow {
        /// The source.
        source: NodeName,
    },
    /// Tell the source what this replica has: [`Event::Held`] there. It has no outcome here, and may
    /// get lost.
    Report {
        /// The source.
        source: NodeName,
        /// The epoch that the source had when it served it.
        epoch: u64,
        /// What it has, verified.
        mark: SnapshotMark,
    },
    /// Tell whoever waits for it that the snapshot was acknowledged. It has no outcome.
    Announce(SnapshotMark),
    /// Tell the operator why it was not done. It has no outcome.
    Decline(Declined),
    /// Find out whether anybody has written since this node took over: [`Event::Written`],
    /// [`Event::Unwritten`] or [`Event::ActionFailed`]. The dataset is read-only.
    LookForWrites,
    /// Keep what only this node has beside, and make the rest a replica of the source:
    /// [`Event::Rebuilt`] or [`Event::ActionFailed`].
    Rebuild {
        /// The source.
        source: NodeName,
    },
}
