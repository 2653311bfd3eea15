use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use zfs_core::props::Properties;
use zfs_core::{Dataset, ErrorKind, Result, Snapshot, SnapshotFilter, Zfs};

use super::change::{Change, own_property};
use super::{GUARD_RAIL, GuardRail, MEMBERS, TAKEN};

/// Which guard rails are looked for. Each thing that is said has to be so; without any, all are
/// found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RailFilter {
    name: Option<String>,
    git_sha: Option<String>,
    helm_revision: Option<u64>,
    actor: Option<String>,
    tags: Vec<String>,
    since: Option<SystemTime>,
    until: Option<SystemTime>,
}

impl RailFilter {
    /// All of them.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Those of this name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Those of a commit whose hash begins like this. Upper and lower case are the same, and an
    /// abbreviated hash on the guard rail is found by a longer one.
    #[must_use]
    pub fn git_sha(mut self, prefix: impl Into<String>) -> Self {
        self.git_sha = Some(prefix.into().to_ascii_lowercase());
        self
    }

    /// Those of this revision of the Helm release.
    #[must_use]
    pub fn helm_revision(mut self, revision: u64) -> Self {
        self.helm_revision = Some(revision);
        self
    }

    /// Those that this actor took.
    #[must_use]
    pub fn actor(mut self, actor: impl Into<String>) -> Self {
        self.actor = Some(actor.into());
        self
    }

    /// Those that have this tag. Said more than once, those that have all of them.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Those that were taken at this time or later.
    #[must_use]
    pub fn since(mut self, time: SystemTime) -> Self {
        self.since = Some(time);
        self
    }

    /// Those that were taken before this time.
    #[must_use]
    pub fn until(mut self, time: SystemTime) -> Self {
        self.until = Some(time);
        self
    }

    /// Whether a guard rail of this name, change and time is one of them. Does not call the kernel.
    #[must_use]
    pub fn matches(&self, name: &str, change: &Change, taken: SystemTime) -> bool {
        let sha = |prefix: &str| {
            change.git_sha.as_deref().is_some_and(|sha| {
                let sha = sha.to_ascii_lowercase();
                sha.starts_with(prefix) || (sha.len() >= 7 && prefix.starts_with(&sha))
            })
        };
        self.name.as_deref().is_none_or(|wanted| wanted == name)
            && self.git_sha.as_deref().is_none_or(sha)
            && (self.helm_revision.is_none() || self.helm_revision == change.helm_revision)
            && (self.actor.is_none() || self.actor == change.actor)
            && self.tags.iter().all(|tag| change.tags.contains(tag))
            && self.since.is_none_or(|since| taken >= since)
            && self.until.is_none_or(|until| taken < until)
    }
}

impl GuardRail {
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
        Self::matching(parent, &RailFilter::new())
    }

    /// The guard rails of `parent` and the datasets below it that the filter describes, oldest
    /// first.
    ///
    /// # Errors
    ///
    /// `NotFound` when `parent` does not exist; `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// None.
    pub fn matching(parent: &Dataset, filter: &RailFilter) -> Result<Vec<Self>> {
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
        let mut rails = found.into_guard_rails(parent.zfs());
        rails.retain(|rail| filter.matches(&rail.name, &rail.change, rail.taken));
        Ok(rails)
    }
}

pub(super) fn with_descendants(parent: &Dataset) -> Result<Vec<Dataset>> {
    let mut datasets = vec![parent.clone()];
    for entry in parent.descendants()? {
        datasets.push(parent.zfs().dataset(entry.name.as_str())?);
    }
    Ok(datasets)
}

/// What is written on a guard rail's snapshot beside the change.
pub(super) struct Written {
    pub(super) change: Change,
    pub(super) taken: SystemTime,
    pub(super) members: Option<usize>,
}

impl Written {
    /// What is written on the snapshot with this short name, if it is one of a guard rail. One that
    /// was renamed is no longer what the mark says.
    pub(super) fn read(short: &str, props: &Properties) -> Option<Self> {
        if own_property(props, GUARD_RAIL) != Some(short) {
            return None;
        }
        let created = || SystemTime::UNIX_EPOCH + Duration::from_secs(props.creation());
        Some(Self {
            change: Change::read(props),
            taken: own_property(props, TAKEN)
                .and_then(|text| humantime::parse_rfc3339(text).ok())
                .unwrap_or_else(created),
            members: own_property(props, MEMBERS).and_then(|text| text.parse().ok()),
        })
    }
}

/// Snapshots with the mark, by what makes them one guard rail: transaction group and name.
#[derive(Default)]
struct Found(BTreeMap<(u64, String), (Written, Vec<Snapshot>)>);

impl Found {
    fn add(&mut self, snapshot: Snapshot, props: &Properties) {
        let Some(written) = Written::read(snapshot.name().short(), props) else {
            return;
        };
        let key = (props.create_txg(), snapshot.name().short().to_owned());
        let (_, snapshots) = self.0.entry(key).or_insert_with(|| (written, Vec::new()));
        snapshots.push(snapshot);
    }

    fn into_guard_rails(self, zfs: &Zfs) -> Vec<GuardRail> {
        self.0
            .into_iter()
            .map(|((txg, name), (written, snapshots))| {
                GuardRail::new(zfs, name, txg, written, snapshots)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_wants_all_that_it_says() {
        let time = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let change = Change::new()
            .git_sha("4be1f2c")
            .helm_revision(17)
            .actor("ci")
            .tag("nightly")
            .tag("eu");
        let matches = |filter: RailFilter| filter.matches("deploy-42", &change, time(100));
        let all = RailFilter::new;
        assert!(matches(all()));
        assert!(matches(
            all()
                .name("deploy-42")
                .git_sha("4BE1")
                .helm_revision(17)
                .actor("ci")
                .tag("eu")
                .tag("nightly")
                .since(time(100))
                .until(time(101))
        ));
        // What is written on it is the abbreviation of what is looked for.
        assert!(matches(
            all().git_sha("4be1f2c0d3c1a0a9f6b0f8a1e0c6f6b6a5d4c3b2")
        ));
        for filter in [
            all().name("deploy"),
            all().git_sha("5"),
            all().helm_revision(1),
            all().actor("me"),
            all().tag("us"),
            all().since(time(101)),
            all().until(time(100)),
        ] {
            assert!(!matches(filter.clone()), "{filter:?}");
        }
        // What is not known is not found by it.
        let nothing = Change::new();
        assert!(!all().git_sha("").matches("a", &nothing, time(0)));
        assert!(!all().helm_revision(0).matches("a", &nothing, time(0)));
        let short = Change::new().git_sha("4");
        assert!(!all().git_sha("4be1").matches("a", &short, time(0)));
    }
}
