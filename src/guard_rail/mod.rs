mod retention;

pub use retention::{Keep, KeepOverride, Kept, KeptBecause, RailInfo, Retention, RetentionPlan};
use std::collections::BTreeMap;

use zfs_core::props::{Properties, Source, UserProps};
use zfs_core::{
    Dataset, DatasetName, ErrorKind, Failure, Result, Snapshot, SnapshotFilter, SnapshotName, Zfs,
};

/// The user property that marks a guard rail's snapshots. Its value is the guard rail's name.
const GUARD_RAIL: &str = "helix:guard_rail";
const GIT_SHA: &str = "helix:git_sha";
const HELM_REVISION: &str = "helix:helm_revision";
const REASON: &str = "helix:reason";

/// The tag of a guard rail's holds.
const HOLD_TAG: &str = "helix-guard-rail";

/// The change that a guard rail is taken before. It is written on each snapshot, as the user
/// properties `helix:git_sha`, `helix:helm_revision` and `helix:reason`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The commit that is deployed.
    pub git_sha: Option<String>,
    /// The revision of the Helm release that is replaced. `None` also when what is written on the
    /// snapshot is no number.
    pub helm_revision: Option<u64>,
    /// Why, in words.
    pub reason: Option<String>,
}

impl Change {
    /// One that nothing is known of.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the commit that is deployed.
    #[must_use]
    pub fn git_sha(mut self, sha: impl Into<String>) -> Self {
        self.git_sha = Some(sha.into());
        self
    }

    /// Sets the revision of the Helm release that is replaced.
    #[must_use]
    pub fn helm_revision(mut self, revision: u64) -> Self {
        self.helm_revision = Some(revision);
        self
    }

    /// Says why, in words.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    fn to_props(&self) -> Result<UserProps> {
        let revision = self.helm_revision.map(|revision| revision.to_string());
        [
            (GIT_SHA, &self.git_sha),
            (HELM_REVISION, &revision),
            (REASON, &self.reason),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_deref()?)))
        .try_fold(UserProps::new(), |props, (name, value)| {
            props.set(name, value)
        })
    }

    fn read(props: &Properties) -> Self {
        let text = |name| own_property(props, name).map(str::to_owned);
        Self {
            git_sha: text(GIT_SHA),
            helm_revision: own_property(props, HELM_REVISION).and_then(|text| text.parse().ok()),
            reason: text(REASON),
        }
    }
}

/// A user property of the snapshot itself: one of its dataset says nothing about it.
fn own_property<'p>(props: &'p Properties, name: &str) -> Option<&'p str> {
    match props.source(name) {
        Some(Source::Local | Source::Received) => props.user(name),
        _ => None,
    }
}

/// What a rollback does with snapshots and bookmarks that were made after the guard rail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NewerSnapshots {
    /// A dataset that has some is not rolled back: `NewerSnapshotsExist`.
    Keep,
    /// They are destroyed, as `zfs rollback -r` does.
    Destroy,
}

/// How the rollback of one dataset ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct Rollback {
    /// The dataset.
    pub dataset: DatasetName,
    /// The newer snapshots that were destroyed on the way, or why the dataset was not rolled back.
    pub result: Result<Vec<SnapshotName>>,
}

/// Snapshots of many datasets, taken in one transaction before a change, and the way back.
///
/// A guard rail is kept nowhere but in ZFS: it is the snapshots of one name and one transaction
/// group that carry its mark, and [`find`](Self::find) and [`list`](Self::list) read it back.
/// Copies that were sent elsewhere belong to no transaction of their source: on the pool that
/// received them, each is a guard rail of its own.
#[derive(Clone, Debug)]
pub struct GuardRail {
    zfs: Zfs,
    name: String,
    txg: u64,
    change: Change,
    snapshots: Vec<Snapshot>,
}

impl GuardRail {
    /// Takes the guard rail `name`: a snapshot of that name of each of `datasets`, all in one
    /// transaction group or none, with `change` written on them.
    ///
    /// # Errors
    ///
    /// As [`Zfs::create_snapshots`]; `InvalidProperty` and `TooBig` for a text in `change` that ZFS
    /// does not take. An error of the operation [`Stat`](zfs_core::Operation::Stat) comes after the
    /// snapshots were taken: [`find`](Self::find) finds them.
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permissions `snapshot` and `userprop` on each dataset.
    ///
    /// `lzc_snapshot`, `zfs-snapshot(8)`.
    pub fn take<D: AsRef<DatasetName>>(
        zfs: &Zfs,
        datasets: &[D],
        name: &str,
        change: &Change,
    ) -> Result<Self> {
        let snapshots = datasets
            .iter()
            .map(|dataset| {
                let snapshot = dataset.as_ref().snapshot(name)?;
                zfs.snapshot(snapshot.as_str())
            })
            .collect::<Result<Vec<_>>>()?;
        zfs.create_snapshots(&snapshots, &change.to_props()?.set(GUARD_RAIL, name)?)?;
        // The kernel takes no empty batch, so there is a first one.
        let txg = match snapshots.first() {
            Some(snapshot) => snapshot.stat()?.create_txg,
            None => 0,
        };
        Ok(Self {
            zfs: zfs.clone(),
            name: name.to_owned(),
            txg,
            change: change.clone(),
            snapshots,
        })
    }

    /// The latest guard rail `name` of `parent` and all datasets below it; `None` when there is
    /// none.
    ///
    /// # Errors
    ///
    /// `NotFound` when `parent` does not exist; `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// None.
    pub fn find(parent: &Dataset, name: &str) -> Result<Option<Self>> {
        let mut found = Found::default();
        for dataset in with_descendants(parent)? {
            let snapshot = dataset.snapshot(name)?;
            match snapshot.properties() {
                Ok(props) => found.add(snapshot, &props),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found.into_guard_rails(parent.zfs()).pop())
    }

    /// All guard rails of `parent` and the datasets below it, oldest first.
    ///
    /// # Errors
    ///
    /// `NotFound` when `parent` does not exist; `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// None.
    pub fn list(parent: &Dataset) -> Result<Vec<Self>> {
        let mut found = Found::default();
        for dataset in with_descendants(parent)? {
            let snapshots = match dataset.snapshots_with_properties(&SnapshotFilter::new()) {
                Ok(snapshots) => snapshots,
                // It was destroyed meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for (entry, props) in snapshots {
                found.add(dataset.snapshot(entry.name.short())?, &props);
            }
        }
        Ok(found.into_guard_rails(parent.zfs()))
    }

    /// Its name, which is that of its snapshots.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The transaction group that all its snapshots were taken in.
    #[must_use]
    pub fn txg(&self) -> u64 {
        self.txg
    }

    /// The change that it was taken before.
    #[must_use]
    pub fn change(&self) -> &Change {
        &self.change
    }

    /// Its snapshots.
    #[must_use]
    pub fn snapshots(&self) -> &[Snapshot] {
        &self.snapshots
    }

    /// Holds its snapshots, so that nothing destroys them before [`remove`](Self::remove) does.
    /// The hold outlives the process and the machine's next start.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` when one is held by this already; otherwise as [`Zfs::hold`] and
    /// [`Outcome::complete`](zfs_core::Outcome::complete).
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permission `hold` on each dataset.
    pub fn hold(&self) -> Result<()> {
        self.zfs.hold(&self.snapshots, HOLD_TAG)?.complete()
    }

    /// Rolls every dataset back to the guard rail, one after the other, and tells how each ended.
    /// What was written since is lost.
    ///
    /// **Not atomic**: ZFS rolls back one dataset at a time. A failure stops none of the others,
    /// and the call can be repeated for those that failed.
    ///
    /// The errors are those of [`Dataset::rollback_to`] and
    /// [`Dataset::rollback_to_discarding_newer`].
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permissions `rollback` and `mount` on each dataset, and `destroy`
    /// for [`NewerSnapshots::Destroy`].
    #[must_use = "some datasets may not have been rolled back"]
    pub fn roll_back(&self, newer: NewerSnapshots) -> Vec<Rollback> {
        self.snapshots
            .iter()
            .map(|snapshot| {
                let dataset = snapshot.dataset();
                let result = match newer {
                    NewerSnapshots::Keep => dataset.rollback_to(&self.name).map(|()| Vec::new()),
                    NewerSnapshots::Destroy => dataset.rollback_to_discarding_newer(&self.name),
                };
                Rollback {
                    dataset: dataset.name().clone(),
                    result,
                }
            })
            .collect()
    }

    /// Releases the guard rail's own hold, if it has one, and destroys its snapshots, all in one
    /// transaction group or none. Those that are gone already count as destroyed.
    ///
    /// When they cannot be destroyed the hold is gone nonetheless.
    ///
    /// # Errors
    ///
    /// `Held` when somebody else holds one, and otherwise as [`Zfs::destroy_snapshots`]; as
    /// [`Zfs::release`].
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permissions `release`, `destroy` and `mount` on each dataset.
    pub fn remove(&self) -> Result<()> {
        let not_held =
            |failures: &[Failure]| failures.iter().all(|f| f.kind == ErrorKind::NotFound);
        match self.zfs.release(&self.snapshots, HOLD_TAG) {
            Ok(outcome) if not_held(outcome.failures()) => {}
            Ok(outcome) => outcome.complete()?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        self.zfs.destroy_snapshots(&self.snapshots)
    }
}

fn with_descendants(parent: &Dataset) -> Result<Vec<Dataset>> {
    let mut datasets = vec![parent.clone()];
    for entry in parent.descendants()? {
        datasets.push(parent.zfs().dataset(entry.name.as_str())?);
    }
    Ok(datasets)
}

/// Snapshots with the mark, by what makes them one guard rail: transaction group and name.
#[derive(Default)]
struct Found(BTreeMap<(u64, String), (Change, Vec<Snapshot>)>);

impl Found {
    fn add(&mut self, snapshot: Snapshot, props: &Properties) {
        // A snapshot that was renamed is no longer what the mark says.
        if own_property(props, GUARD_RAIL) == Some(snapshot.name().short()) {
            let key = (props.create_txg(), snapshot.name().short().to_owned());
            let (_, snapshots) = self
                .0
                .entry(key)
                .or_insert_with(|| (Change::read(props), Vec::new()));
            snapshots.push(snapshot);
        }
    }

    fn into_guard_rails(self, zfs: &Zfs) -> Vec<GuardRail> {
        self.0
            .into_iter()
            .map(|((txg, name), (change, snapshots))| GuardRail {
                zfs: zfs.clone(),
                name,
                txg,
                change,
                snapshots,
            })
            .collect()
    }
}
