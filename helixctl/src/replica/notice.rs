//! What a node tells, as a line of JSON and as one of text.

use std::time::SystemTime;

use helix_zfs::replica::{Lag, NodeName, Notice, ReplicaError, Role, SnapshotMark};
use serde::Serialize;

use crate::quantity::{show_bytes, show_moment};

/// An event of `replica run`. What does not apply is null.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct EventJson {
    pub(crate) event: &'static str,
    at: String,
    role: Option<Role>,
    epoch: Option<u64>,
    writable: Option<bool>,
    snapshot: Option<SnapshotMark>,
    snapshots: Vec<SnapshotMark>,
    lag: Option<Lag>,
    peer: Option<NodeName>,
    pub(crate) error: Option<String>,
}

impl EventJson {
    fn new(event: &'static str) -> Self {
        Self {
            event,
            at: show_moment(SystemTime::now()),
            ..Self::default()
        }
    }

    /// Something that was not done, and why.
    fn not_done(event: &'static str, why: impl ToString) -> Self {
        Self {
            error: Some(why.to_string()),
            ..Self::new(event)
        }
    }

    /// What went wrong between this node and another.
    pub(crate) fn with_peer(event: &'static str, peer: &NodeName, why: impl ToString) -> Self {
        Self {
            peer: Some(peer.clone()),
            ..Self::not_done(event, why)
        }
    }

    pub(crate) fn of(notice: &Notice) -> Self {
        match notice {
            Notice::Became(standing, writable) => Self {
                role: Some(standing.role),
                epoch: Some(standing.epoch),
                writable: Some(*writable),
                ..Self::new("became")
            },
            Notice::Acknowledged(mark) => Self {
                snapshot: Some(mark.clone()),
                ..Self::new("acknowledged")
            },
            Notice::Snapshot(mark) => Self {
                snapshot: Some(mark.clone()),
                ..Self::new("snapshot")
            },
            Notice::Followed(turn) => Self {
                snapshot: turn.snapshot.clone(),
                lag: Some(turn.lag),
                epoch: turn.epoch,
                ..Self::new("followed")
            },
            Notice::Pruned(gone) => Self {
                snapshots: gone.clone(),
                ..Self::new("pruned")
            },
            Notice::Declined(why) => Self::not_done("declined", why),
            Notice::Failed(error) => Self::not_done("failed", error),
            Notice::Store(error) => Self::not_done("failed", error),
            Notice::NotRenewed { expires } => Self::not_done(
                "failed",
                format!(
                    "the lease is not renewed: the capability ends at {}",
                    show_moment(*expires)
                ),
            ),
            Notice::Key(why) => Self::not_done("failed", format!("no key: {why}")),
            // One that this program does not know yet.
            other => Self::not_done("failed", format!("{other:?}")),
        }
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!("{} {}", self.at, self.event);
        if let Some(peer) = &self.peer {
            text += &format!(" {peer}");
        }
        if let (Some(role), Some(epoch), Some(writable)) = (self.role, self.epoch, self.writable) {
            let writable = if writable { "writable" } else { "read-only" };
            text += &format!(" {role}, epoch {epoch}, {writable}");
        }
        if let Some(mark) = &self.snapshot {
            text += &format!(" {}", mark.name);
        }
        for mark in &self.snapshots {
            text += &format!(" {}", mark.name);
        }
        if let Some(lag) = &self.lag {
            text += &format!(", {}", behind(lag));
        }
        if let Some(error) = &self.error {
            text += &format!(": {error}");
        }
        text
    }
}

/// How far behind a replica is, in words.
pub(crate) fn behind(lag: &Lag) -> String {
    let seconds = std::time::Duration::from_secs(lag.time.as_secs());
    format!(
        "{} and {} behind",
        show_bytes(lag.bytes),
        humantime::format_duration(seconds)
    )
}

/// Whether the node may do no more what it was granted. Nothing but another grant mends that.
pub(crate) fn is_refused(notice: &Notice) -> bool {
    match notice {
        Notice::Failed(ReplicaError::Refused(_)) => true,
        Notice::Failed(ReplicaError::Replicate(error)) => error.refusal().is_some(),
        _ => false,
    }
}
