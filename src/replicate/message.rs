//! What the two sides say to each other.

use serde::{Deserialize, Serialize};
use zfs_core::digest::Manifest;

use super::error::Problem;
use super::survey::{Ask, Survey};

/// The version of the protocol: the state of both sides has to be the same.
pub(crate) const PROTOCOL: u32 = 2;

/// A message. The replica speaks first; every message but [`Again`](Self::Again),
/// [`Ack`](Self::Ack) and [`Failed`](Self::Failed) has its turn.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Message {
    /// The first message of either side.
    Hello { protocol: u32 },
    /// The replica asks for the next step, and says where it stands.
    Want(Want),
    /// The source: there is nothing newer.
    UpToDate { guid: u64 },
    /// The source: data follows, then [`Sent`](Self::Sent).
    Data(Transfer),
    /// The source: the newest snapshot of the target needs no data, only what
    /// [`Sent`](Self::Sent) says, which follows.
    Verify(Transfer),
    /// The source: this is what the target's snapshot has to be.
    Sent(Box<Sent>),
    /// The replica: every data frame before `next` arrived.
    Ack { next: u64 },
    /// The replica: the data frame `number` arrived damaged.
    Again { number: u64 },
    /// The replica asks how the source stands to it, instead of for data.
    Survey(Ask),
    /// The source: this is how.
    Surveyed(Survey),
    /// The replica has what it wanted.
    Bye,
    /// Either side gives up.
    Failed { problem: Problem, detail: String },
}

/// What a replica wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Want {
    /// The source's dataset.
    pub(crate) dataset: String,
    /// The short name of the snapshot; the newest one if there is none.
    pub(crate) snapshot: Option<String>,
    /// The GUID of the target: whose holds and bookmarks the source keeps.
    pub(crate) replica: u64,
    /// Whether what is there is encrypted: the chain, or else the target, whose encryption a new
    /// chain would inherit.
    pub(crate) encrypted: Encrypted,
    /// The target's snapshots, oldest first.
    pub(crate) snapshots: Vec<Held>,
    /// The token of a receive that was cut.
    pub(crate) token: Option<String>,
}

/// What of a target is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Encrypted {
    /// There is a chain, and whether it is.
    Chain(bool),
    /// There is none, and whether the dataset above it is.
    Target(bool),
}

/// A snapshot of the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Held {
    pub(crate) guid: u64,
    pub(crate) verified: bool,
}

/// What follows: the snapshot, and what the target needs to have for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Transfer {
    /// The snapshot's GUID.
    pub(crate) to: u64,
    /// Its short name.
    pub(crate) name: String,
    /// The GUID of the snapshot that it is an increment to.
    pub(crate) from: Option<u64>,
    /// Whether it is one of a volume.
    pub(crate) volume: bool,
    /// Whether the data goes on where a cut receive ended.
    pub(crate) resumed: bool,
    /// How much data that is, in bytes: an estimate.
    pub(crate) bytes: Option<u64>,
}

/// What the source sent, and what the snapshot is.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Sent {
    /// Of the stream as it went over the channel; none when none did.
    pub(crate) stream: Option<Manifest>,
    /// Of the whole increment.
    pub(crate) whole: Manifest,
}
