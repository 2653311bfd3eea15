use std::fmt;

use serde::Serialize;
use zfs_core::props::{
    DefaultGroupObjQuota, DefaultGroupQuota, DefaultProjectObjQuota, DefaultProjectQuota,
    DefaultUserObjQuota, DefaultUserQuota, FileProperties,
};
use zfs_core::{Dataset, DatasetName, Owner, OwnerKind, Result};

use super::level::{Count, Level};
use super::limit::{Bound, Limit};

/// How a dataset stands to its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotaState {
    /// There is room.
    Ok,
    /// The threshold is passed: writes will fail soon.
    Near,
    /// The limit is reached: writes fail, or will within a few transaction groups.
    Exceeded,
}

impl fmt::Display for QuotaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Near => "near its limit",
            Self::Exceeded => "at its limit",
        })
    }
}

/// What one owner has in a filesystem, and may have.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Share {
    owner: Owner,
    used: u64,
    quota: Option<u64>,
    objects: u64,
    object_quota: Option<u64>,
}

/// How much can be written into a dataset, and what will stop it.
///
/// Nothing is reserved by asking: what others write meanwhile takes from the same room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Room {
    dataset: DatasetName,
    tightest: Bound,
    bounds: Vec<Bound>,
    path: Vec<Level>,
    files_left: Option<u64>,
}

impl Room {
    /// Asks the kernel about a dataset and all above it: one request for each.
    ///
    /// # Errors
    ///
    /// `NotFound`, `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// None.
    ///
    /// The properties `used`, `referenced`, `available`, `usedbyrefreservation`, quotas,
    /// reservations, limits and counts, `zfsprops(7)`.
    pub fn of(dataset: &Dataset) -> Result<Self> {
        Self::for_owners(dataset, &[])
    }

    /// As [`of`](Self::of), for files that belong to these owners: to a user, to a group, and to a
    /// project, say. Each one's quota in this filesystem is a limit too, or from ZFS 2.4 on the
    /// filesystem's default quota when it has none of its own.
    ///
    /// ZFS looks at the quotas of owners only after a transaction group, so that an owner can write
    /// for some seconds over a quota.
    ///
    /// # Errors
    ///
    /// As [`of`](Self::of); `WrongKind` for a volume, and otherwise as
    /// [`Dataset::owner_space`].
    ///
    /// # Privileges
    ///
    /// None for one's own user and groups; otherwise root, or the delegated permissions `userused`,
    /// `userquota` and so on.
    pub fn for_owners(dataset: &Dataset, owners: &[Owner]) -> Result<Self> {
        let zfs = dataset.zfs();
        let mut path = vec![Level::new(dataset.name().clone(), &dataset.properties()?)];
        let mut above = dataset.name().parent();
        while let Some(name) = above {
            let props = zfs.dataset(name.as_str())?.properties()?;
            above = name.parent();
            path.push(Level::new(name, &props));
        }
        Ok(Self::new(path, &shares(dataset, owners)?, dataset.name()))
    }

    /// The answer from the levels of a path, the dataset first, and the shares of owners.
    fn new(path: Vec<Level>, shares: &[Share], dataset: &DatasetName) -> Self {
        // What the dataset can write when what is above it has nothing left.
        let mut reserved = 0u64;
        let mut bounds = Vec::new();
        if let Some(own) = path.first() {
            reserved = own.used_by_ref_reservation;
            if let Some(quota) = own.ref_quota {
                bounds.push(Bound {
                    limit: Limit::RefQuota,
                    used: own.referenced,
                    available: quota.saturating_sub(own.referenced),
                });
            }
        }
        for (n, level) in path.iter().enumerate() {
            if let Some(quota) = level.quota {
                let rest = quota.saturating_sub(level.used);
                bounds.push(Bound {
                    limit: Limit::Quota {
                        dataset: level.dataset.clone(),
                    },
                    used: level.used,
                    available: rest.saturating_add(reserved),
                });
            }
            // What the root reserves it reserves from nobody.
            if n + 1 < path.len() {
                reserved = reserved.saturating_add(level.unused_reservation());
            }
        }
        bounds.extend(shares.iter().filter_map(|share| {
            Some(Bound {
                limit: Limit::Owner {
                    owner: share.owner.clone(),
                },
                used: share.used,
                available: share.quota?.saturating_sub(share.used),
            })
        }));
        let pool = pool(&path, reserved);
        bounds.push(pool.clone());
        // Of equals, the nearest explains most: the order is kept.
        bounds.sort_by_key(|bound| bound.available);
        let files_left = shares
            .iter()
            .filter_map(|share| Some(share.object_quota?.saturating_sub(share.objects)))
            .min();
        Self {
            dataset: dataset.clone(),
            tightest: bounds.first().cloned().unwrap_or(pool),
            bounds,
            path,
            files_left,
        }
    }

    /// The dataset.
    #[must_use]
    pub fn dataset(&self) -> &DatasetName {
        &self.dataset
    }

    /// What can still be written, in bytes.
    #[must_use]
    pub fn available(&self) -> u64 {
        self.tightest.available
    }

    /// The limit that binds: the one that is reached first.
    #[must_use]
    pub fn limit(&self) -> &Limit {
        &self.tightest.limit
    }

    /// What is used of the limit that binds, in bytes.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.tightest.used
    }

    /// How full the limit that binds is, in percent, rounded down: 100 when nothing is available.
    #[must_use]
    pub fn percent(&self) -> u8 {
        self.tightest.percent()
    }

    /// Its state, which is [`Near`](QuotaState::Near) from `threshold` percent on.
    #[must_use]
    pub fn state(&self, threshold: u8) -> QuotaState {
        if self.available() == 0 {
            QuotaState::Exceeded
        } else if self.percent() >= threshold {
            QuotaState::Near
        } else {
            QuotaState::Ok
        }
    }

    /// All limits of what is written here, the one that binds first.
    #[must_use]
    pub fn bounds(&self) -> &[Bound] {
        &self.bounds
    }

    /// The dataset and all above it, up to the pool.
    #[must_use]
    pub fn path(&self) -> &[Level] {
        &self.path
    }

    /// The tightest limit of snapshots, if any dataset of the path has one. It does not bind root.
    #[must_use]
    pub fn snapshots(&self) -> Option<&Count> {
        let limits = self
            .path
            .iter()
            .filter_map(|level| level.snapshots.as_ref());
        limits.min_by_key(|count| count.left())
    }

    /// The tightest limit of filesystems and volumes, if any dataset of the path has one. It does
    /// not bind root.
    #[must_use]
    pub fn filesystems(&self) -> Option<&Count> {
        let limits = self
            .path
            .iter()
            .filter_map(|level| level.filesystems.as_ref());
        limits.min_by_key(|count| count.left())
    }

    /// How many more files and directories the owners that were asked for can have, if one has a
    /// limit of objects.
    #[must_use]
    pub fn files_left(&self) -> Option<u64> {
        self.files_left
    }
}

/// What the pool has left for a dataset. `reserved` is what those below the root have unused
/// reservations for.
fn pool(path: &[Level], reserved: u64) -> Bound {
    let (used, left) = path.last().map_or((0, 0), |root| {
        // For the root itself the kernel adds what only the root can use.
        let own = root.used_by_ref_reservation;
        (root.used, root.available.saturating_sub(own))
    });
    let available = left.saturating_add(reserved);
    // A refquota of the root hides what the pool has for others.
    let known = path.first().map_or(0, |own| own.available);
    Bound {
        limit: Limit::Pool,
        used,
        available: available.max(known),
    }
}

fn shares(dataset: &Dataset, owners: &[Owner]) -> Result<Vec<Share>> {
    if owners.is_empty() {
        return Ok(Vec::new());
    }
    let files = dataset.file_properties()?;
    owners
        .iter()
        .map(|owner| {
            let space = dataset.owner_space(owner)?;
            let (default, default_objects) = default_quotas(&files, owner.kind());
            Ok(Share {
                owner: owner.clone(),
                used: space.used,
                quota: space.quota.or(default),
                objects: space.objects.unwrap_or_default(),
                object_quota: space.object_quota.or(default_objects),
            })
        })
        .collect()
}

/// The quotas of bytes and of objects that apply to owners who have none of their own.
fn default_quotas(props: &FileProperties, kind: OwnerKind) -> (Option<u64>, Option<u64>) {
    let (bytes, objects) = match kind {
        OwnerKind::User => (
            props.value::<DefaultUserQuota>().map(|quota| quota.0),
            props.value::<DefaultUserObjQuota>().map(|quota| quota.0),
        ),
        OwnerKind::Group => (
            props.value::<DefaultGroupQuota>().map(|quota| quota.0),
            props.value::<DefaultGroupObjQuota>().map(|quota| quota.0),
        ),
        OwnerKind::Project => (
            props.value::<DefaultProjectQuota>().map(|quota| quota.0),
            props.value::<DefaultProjectObjQuota>().map(|quota| quota.0),
        ),
    };
    let limit = |quota: Option<u64>| quota.filter(|&quota| quota != 0);
    (limit(bytes), limit(objects))
}
