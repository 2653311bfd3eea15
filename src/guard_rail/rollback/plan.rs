use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use zfs_core::props::Prop;
use zfs_core::{
    BookmarkName, Dataset, DatasetKind, DatasetName, ErrorKind, Snapshot, SnapshotFilter,
    SnapshotName, Zfs,
};

use super::intent::Intent;
use super::keep;
use super::{Obstacle, RollbackError, RollbackOptions};
use crate::guard_rail::HOLD_TAG;
use crate::guard_rail::find::Written;

/// A snapshot that is newer than the point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NewerSnapshot {
    /// Its name.
    pub name: SnapshotName,
    /// Its GUID.
    pub guid: u64,
    /// The guard rail that it belongs to.
    pub guard_rail: Option<String>,
    /// The tags of its holds, that of its guard rail among them.
    pub holds: Vec<String>,
    /// Its clones.
    pub clones: Vec<DatasetName>,
}

/// What one dataset would lose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Loss {
    /// The dataset.
    pub dataset: DatasetName,
    /// The GUID of the snapshot that it is rolled back to.
    pub guid: u64,
    /// What it references that was written since, in bytes.
    pub written: u64,
    /// What only newer snapshots reference, in bytes.
    pub snapshots_used: u64,
    /// The newer snapshots, oldest first.
    pub newer: Vec<NewerSnapshot>,
    /// The newer bookmarks.
    pub bookmarks: Vec<BookmarkName>,
    /// Whether it is mounted, in the mount namespace of the calling thread.
    pub mounted: bool,
    /// Whether it is marked as being rolled back to this point by a run that did not end.
    pub unfinished: bool,
    #[serde(skip)]
    pub(super) kind: DatasetKind,
    #[serde(skip)]
    pub(super) encrypted: bool,
    #[serde(skip)]
    pub(super) intent: Option<Intent>,
    /// Another snapshot has the transaction group of the point: which is newer, only the kernel can
    /// tell.
    #[serde(skip)]
    pub(super) twin: bool,
}

/// What rolling a set of datasets back to one moment would lose, found before anything is lost.
#[derive(Clone, Debug)]
pub struct RollbackPlan {
    pub(super) zfs: Zfs,
    pub(super) point: String,
    pub(super) txg: u64,
    pub(super) losses: Vec<Loss>,
}

impl RollbackPlan {
    /// Finds out what rolling `datasets`, all of one pool, back to their snapshots `point` (a short
    /// name, without the `@`) would lose. The snapshots have to be of one transaction group.
    /// Datasets below those that are named stay as they are.
    ///
    /// The figures are those of the last transaction group that was synced.
    ///
    /// # Errors
    ///
    /// [`NoSuchPoint`](RollbackError::NoSuchPoint) names every dataset without the snapshot;
    /// [`SeveralMoments`](RollbackError::SeveralMoments),
    /// [`SeveralPools`](RollbackError::SeveralPools), [`Empty`](RollbackError::Empty),
    /// [`Repeated`](RollbackError::Repeated) as they say; `NotFound` when a snapshot goes while it
    /// is looked at; `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// None.
    pub fn of<D: AsRef<DatasetName>>(
        zfs: &Zfs,
        datasets: &[D],
        point: &str,
    ) -> Result<Self, RollbackError> {
        let names: Vec<&DatasetName> = datasets.iter().map(AsRef::as_ref).collect();
        let first = *names.first().ok_or(RollbackError::Empty)?;
        let mut seen = BTreeSet::new();
        for &name in &names {
            if name.pool() != first.pool() {
                return Err(RollbackError::SeveralPools(first.clone(), name.clone()));
            }
            if !seen.insert(name) {
                return Err(RollbackError::Repeated(name.clone()));
            }
        }
        let mounted: BTreeSet<DatasetName> = zfs
            .mounts()?
            .into_iter()
            .filter(|mount| mount.snapshot.is_none())
            .map(|mount| mount.dataset)
            .collect();
        let mut missing = Vec::new();
        let mut moment: Option<(u64, SnapshotName)> = None;
        let mut losses = Vec::new();
        for &name in &names {
            let target = zfs.dataset(name.as_str())?.snapshot(point)?;
            let entry = match target.stat() {
                Ok(entry) => entry,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    missing.push(target.name().clone());
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            match &moment {
                Some((txg, other)) if *txg != entry.create_txg => {
                    return Err(RollbackError::SeveralMoments(
                        other.clone(),
                        target.name().clone(),
                    ));
                }
                _ => moment = Some((entry.create_txg, target.name().clone())),
            }
            let loss = Loss::find(&target, entry.guid, entry.create_txg);
            losses.push(Loss {
                mounted: mounted.contains(name),
                ..loss?
            });
        }
        match moment {
            Some((txg, _)) if missing.is_empty() => Ok(Self {
                zfs: zfs.clone(),
                point: point.to_owned(),
                txg,
                losses,
            }),
            _ => Err(RollbackError::NoSuchPoint(missing)),
        }
    }

    /// The short name of the snapshots that are rolled back to.
    #[must_use]
    pub fn point(&self) -> &str {
        &self.point
    }

    /// The transaction group of the snapshots.
    #[must_use]
    pub fn txg(&self) -> u64 {
        self.txg
    }

    /// What each dataset would lose.
    #[must_use]
    pub fn losses(&self) -> &[Loss] {
        &self.losses
    }

    /// What the datasets reference that was written since, in bytes.
    #[must_use]
    pub fn written(&self) -> u64 {
        let written = self.losses.iter().map(|loss| loss.written);
        written.fold(0, u64::saturating_add)
    }

    /// The names of the newer guard rails that have snapshots of the datasets.
    #[must_use]
    pub fn newer_guard_rails(&self) -> BTreeSet<&str> {
        self.newer()
            .filter_map(|newer| newer.guard_rail.as_deref())
            .collect()
    }

    /// Whether all of them can be rolled back in one transaction group: none is mounted, as far as
    /// the calling thread sees. Where one is in use otherwise the kernel says so, and they are
    /// rolled back one by one.
    #[must_use]
    pub fn is_atomic(&self) -> bool {
        !self.losses.iter().any(|loss| loss.mounted || loss.twin)
    }

    /// Everything that stands in the way with these options, as far as it can be seen now.
    ///
    /// # Errors
    ///
    /// `InvalidName`, `NameTooLong` for the name that the discarded state is kept as;
    /// `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// None.
    pub fn obstacles(&self, options: &RollbackOptions) -> Result<Vec<Obstacle>, RollbackError> {
        let mut obstacles = Vec::new();
        let mut rails: BTreeMap<&str, Vec<SnapshotName>> = BTreeMap::new();
        for loss in &self.losses {
            if let Some(intent) = &loss.intent {
                if !loss.unfinished || !may_go_on(intent, options) {
                    obstacles.push(Obstacle::Unfinished {
                        dataset: loss.dataset.clone(),
                        point: intent.point.clone(),
                    });
                }
            }
            for newer in &loss.newer {
                let named = newer.guard_rail.as_deref();
                match named {
                    Some(rail) if !options.guard_rails.contains(rail) => {
                        rails.entry(rail).or_default().push(newer.name.clone());
                    }
                    Some(_) => {}
                    None if options.allows(newer.name.as_str())
                        || self.is_leftover(loss, newer, options) => {}
                    None => obstacles.push(Obstacle::NewerSnapshot {
                        snapshot: newer.name.clone(),
                    }),
                }
                let others = |tag: &&String| named.is_none() || *tag != HOLD_TAG;
                let tags: Vec<String> = newer.holds.iter().filter(others).cloned().collect();
                if !tags.is_empty() {
                    obstacles.push(Obstacle::Held {
                        snapshot: newer.name.clone(),
                        tags,
                    });
                }
                if !newer.clones.is_empty() {
                    obstacles.push(Obstacle::Cloned {
                        snapshot: newer.name.clone(),
                        clones: newer.clones.clone(),
                    });
                }
            }
            for bookmark in &loss.bookmarks {
                if !options.allows(bookmark.as_str()) {
                    obstacles.push(Obstacle::NewerBookmark {
                        bookmark: bookmark.clone(),
                    });
                }
            }
        }
        let rail = |(name, snapshots): (&str, _)| Obstacle::GuardRail {
            name: name.to_owned(),
            snapshots,
        };
        obstacles.extend(rails.into_iter().map(rail));
        if let Some(keep) = &options.keep {
            if !self.is_kept() {
                obstacles.extend(keep::names_taken(self, keep)?);
            }
        }
        Ok(obstacles)
    }

    /// Whether an earlier run kept the discarded states, and died later.
    pub(super) fn is_kept(&self) -> bool {
        let kept = |loss: &Loss| matches!(&loss.intent, Some(intent) if intent.keep.is_some());
        self.losses.iter().all(kept)
    }

    /// Whether a newer snapshot is one that an earlier run made, to keep the present state.
    fn is_leftover(&self, loss: &Loss, newer: &NewerSnapshot, options: &RollbackOptions) -> bool {
        let keep = match &loss.intent {
            Some(intent) => &intent.keep,
            None => &options.keep,
        };
        keep.as_deref() == Some(newer.name.short())
            && keep::is_marked(&self.zfs, &newer.name, self.txg, &self.point)
    }

    pub(super) fn datasets(&self) -> Vec<&DatasetName> {
        self.losses.iter().map(|loss| &loss.dataset).collect()
    }

    pub(super) fn newer(&self) -> impl Iterator<Item = &NewerSnapshot> {
        self.losses.iter().flat_map(|loss| &loss.newer)
    }

    pub(super) fn bookmarks(&self) -> impl Iterator<Item = &BookmarkName> {
        self.losses.iter().flat_map(|loss| &loss.bookmarks)
    }
}

/// Whether a run with these options goes on with what was begun.
fn may_go_on(intent: &Intent, options: &RollbackOptions) -> bool {
    options.keep.is_none() || options.keep == intent.keep
}

impl Loss {
    fn find(target: &Snapshot, guid: u64, txg: u64) -> Result<Self, RollbackError> {
        let dataset = target.dataset();
        let props = dataset.properties()?;
        let intent = Intent::read(&props);
        let mut newer = Vec::new();
        let mut twin = false;
        let later = SnapshotFilter::new().min_txg(txg);
        for (entry, props) in dataset.snapshots_with_properties(&later)? {
            if entry.name == *target.name() {
                continue;
            }
            if entry.create_txg == txg {
                twin = true;
                continue;
            }
            let holds = match props.user_refs() {
                Some(0) => Vec::new(),
                _ => holds(&dataset, &entry.name)?,
            };
            newer.push(NewerSnapshot {
                guid: entry.guid,
                guard_rail: Written::read(entry.name.short(), &props)
                    .map(|_| entry.name.short().to_owned()),
                holds,
                clones: props.clones(),
                name: entry.name,
            });
        }
        let bookmarks = dataset
            .bookmarks()?
            .into_iter()
            .filter(|mark| mark.create_txg > txg)
            .map(|mark| mark.name)
            .collect();
        let snapshots_used = match newer.is_empty() {
            true => 0,
            false => {
                let names: Vec<&SnapshotName> = newer.iter().map(|newer| &newer.name).collect();
                dataset.zfs().space_freed_by_destroying(&names)?.used
            }
        };
        Ok(Self {
            guid,
            written: dataset.written_since(target.name())?.used,
            snapshots_used,
            newer,
            bookmarks,
            mounted: false,
            unfinished: intent
                .as_ref()
                .is_some_and(|intent| intent.txg == txg && intent.point == target.name().short()),
            kind: props.kind(),
            encrypted: props.encryption_root().is_some() || props.get(Prop::KeyStatus).is_some(),
            intent,
            twin,
            dataset: dataset.name().clone(),
        })
    }

    /// Whether what it would destroy is the same as that of another look at the dataset.
    pub(super) fn destroys_as(&self, other: &Self) -> bool {
        let of = |loss: &Self| -> Vec<(SnapshotName, u64)> {
            let newer = loss.newer.iter();
            newer
                .map(|newer| (newer.name.clone(), newer.guid))
                .collect()
        };
        self.dataset == other.dataset
            && self.guid == other.guid
            && self.intent == other.intent
            && self.bookmarks == other.bookmarks
            && of(self) == of(other)
    }
}

fn holds(dataset: &Dataset, name: &SnapshotName) -> Result<Vec<String>, RollbackError> {
    let holds = dataset.snapshot(name.short())?.holds()?;
    let tag = |hold: zfs_core::Hold| hold.tag.to_string_lossy().into_owned();
    Ok(holds.into_iter().map(tag).collect())
}
