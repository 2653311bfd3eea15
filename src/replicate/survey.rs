//! What a source says about itself, without sending anything.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use zfs_core::pool::Health;
use zfs_core::{BookmarkEntry, Dataset, DatasetName, SnapshotFilter, Zfs};

use crate::replica::role::{EPOCH, ROLE, own};

use super::error::{ReplicateError, Side};
use super::frame::Wire;
use super::message::{Message, PROTOCOL};
use super::replicator::Replicator;
use super::verify;

/// What a replica asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Ask {
    /// The source's dataset.
    pub(crate) dataset: String,
    /// The GUIDs of the snapshots that the replica has, in any order.
    pub(crate) snapshots: Vec<u64>,
}

/// How a source stands to a replica of it: the answer to [`Replicator::survey`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub struct Survey {
    /// The GUID of the newest snapshot that both have; at the source a bookmark of it is enough.
    pub common: Option<u64>,
    /// The source's newest snapshot: its GUID and its short name.
    pub newest: Option<(u64, String)>,
    /// How many bytes of the source's data were written since the common snapshot; all it references
    /// if there is none.
    pub written: u64,
    /// How long ago the common snapshot was taken, by the clock of the source.
    pub age: Option<Duration>,
    /// Whether the pool of the source says of itself that it works.
    pub healthy: bool,
    /// The epoch of the source, if it has a part in a group.
    pub epoch: Option<u64>,
    /// Its [`Role`](crate::replica::SiteRole), if it has one.
    pub role: Option<String>,
}

impl Survey {
    /// Looks at `dataset` for a replica that has `snapshots`.
    pub(super) fn take(dataset: &Dataset, snapshots: &[u64]) -> zfs_core::Result<Self> {
        let props = dataset.properties()?;
        let known: HashSet<u64> = snapshots.iter().copied().collect();
        let theirs = dataset.snapshots(&SnapshotFilter::new())?;
        let bookmarks = dataset.bookmarks()?;
        let newest = theirs.iter().max_by_key(|entry| entry.create_txg);
        let snapshot = theirs
            .iter()
            .filter(|entry| known.contains(&entry.guid))
            .max_by_key(|entry| entry.create_txg);
        let bookmark = bookmarks
            .iter()
            .filter(|mark| known.contains(&mark.guid))
            .max_by_key(|mark| mark.create_txg);
        // Of both, rather the snapshot.
        let later = |mark: &&BookmarkEntry| {
            snapshot.is_none_or(|snapshot| mark.create_txg > snapshot.create_txg)
        };
        let (common, written, created) = match (bookmark.filter(later), snapshot) {
            (Some(mark), _) => {
                let written = dataset.written_since_bookmark(&mark.name)?;
                (Some(mark.guid), written.used, Some(mark.creation))
            }
            (None, Some(entry)) => {
                let props = dataset.snapshot(entry.name.short())?.properties()?;
                let written = dataset.written_since(&entry.name)?;
                (Some(entry.guid), written.used, Some(props.creation()))
            }
            (None, None) => (None, props.referenced(), None),
        };
        let healthy = is_healthy(dataset.zfs(), dataset.name())?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let age = |created| {
            let now = now.as_ref().ok()?;
            Some(now.saturating_sub(Duration::from_secs(created)))
        };
        Ok(Self {
            common,
            newest: newest.map(|entry| (entry.guid, entry.name.short().to_owned())),
            written,
            age: created.and_then(age),
            healthy,
            epoch: own(&props, EPOCH).and_then(|epoch| epoch.parse().ok()),
            role: own(&props, ROLE).map(str::to_owned),
        })
    }
}

/// Whether the pool of `name` is open, degraded at most, does its I/O, and has no damaged block on
/// record.
pub(crate) fn is_healthy(zfs: &Zfs, name: &DatasetName) -> zfs_core::Result<bool> {
    let status = zfs.pool(name.pool())?.status()?;
    let works = matches!(status.health, Health::Online | Health::Degraded);
    Ok(works && status.error_count.unwrap_or(0) == 0)
}

impl Replicator {
    /// Asks the source at the other end of `channel` how it stands to a replica that has the snapshots
    /// with these GUIDs. Nothing is sent, and nothing changes on either side.
    ///
    /// # Errors
    ///
    /// [`NotOffered`](super::Problem::NotOffered), [`Connection`](super::Problem::Connection),
    /// [`Protocol`](super::Problem::Protocol), and what ZFS says at the source.
    pub fn survey<C: Read + Write>(
        channel: C,
        source: &DatasetName,
        snapshots: &[u64],
    ) -> Result<Survey, ReplicateError> {
        let wire_error = |error| ReplicateError::frame(Side::Target, error);
        let mut wire = Wire::new(channel);
        let say = |wire: &mut Wire<C>, message: &Message| wire.send(message).map_err(wire_error);
        say(&mut wire, &Message::Hello { protocol: PROTOCOL })?;
        let hear =
            |wire: &mut Wire<C>| verify::message(Side::Target, wire.receive().map_err(wire_error)?);
        match hear(&mut wire)? {
            Message::Hello { protocol: PROTOCOL } => {}
            Message::Hello { protocol } => return Err(verify::version(Side::Target, protocol)),
            other => return Err(verify::out_of_turn(Side::Target, &other)),
        }
        say(
            &mut wire,
            &Message::Survey(Ask {
                dataset: source.as_str().to_owned(),
                snapshots: snapshots.to_vec(),
            }),
        )?;
        match hear(&mut wire)? {
            Message::Surveyed(survey) => {
                // It is answered, whether the source hears that or not.
                let _ = say(&mut wire, &Message::Bye);
                Ok(survey)
            }
            other => Err(verify::out_of_turn(Side::Target, &other)),
        }
    }
}
