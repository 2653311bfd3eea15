//! Which old versions a rotation removes.

use std::collections::BTreeSet;

use zfs_core::listing::{Listed, Listing};
use zfs_core::{DatasetName, ErrorKind, Zfs};

use crate::Tenant;
use crate::key::record::{ID, NEXT, VERSION};
use crate::key::{KeyId, KeyVersion};

/// What other datasets of this machine need of a key.
#[derive(Debug, Default)]
pub(super) struct Needed {
    /// One of them does not say which version opens it.
    all: bool,
    versions: BTreeSet<KeyVersion>,
}

impl Needed {
    /// Of all datasets but `dataset` and those below it.
    pub(super) fn elsewhere(
        zfs: &Zfs,
        id: &KeyId,
        dataset: &DatasetName,
    ) -> zfs_core::Result<Self> {
        let listing = [ID, VERSION, NEXT, Tenant::PROPERTY]
            .into_iter()
            .fold(Listing::new(Listed::DATASETS), Listing::user_property);
        let mut needed = Self::default();
        for entry in zfs.pools()? {
            let rows = match zfs.dataset(entry.pool.name().as_str())?.list(&listing) {
                // It was exported in the meantime.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                rows => rows?,
            };
            for row in rows {
                let row = row?;
                let name = row.user(ID).or_else(|| row.user(Tenant::PROPERTY));
                let is_here = |name: &str| {
                    DatasetName::new(name)
                        .is_ok_and(|name| name == *dataset || dataset.is_ancestor_of(&name))
                };
                if name != Some(id.as_str()) || is_here(row.name().as_str()) {
                    continue;
                }
                let version = |property| row.user(property).and_then(|text| text.parse().ok());
                match version(VERSION) {
                    Some(version) => drop(needed.versions.insert(version)),
                    None => needed.all = true,
                }
                needed.versions.extend(version(NEXT));
            }
        }
        Ok(needed)
    }

    fn has(&self, version: KeyVersion) -> bool {
        self.all || self.versions.contains(&version)
    }
}

/// Of `versions` those before `current` that nobody needs, but for the newest `keep` of them.
pub(super) fn old(
    mut versions: Vec<KeyVersion>,
    current: KeyVersion,
    keep: usize,
    needed: &Needed,
) -> Vec<KeyVersion> {
    versions.retain(|version| *version < current);
    versions.sort_unstable();
    versions.truncate(versions.len().saturating_sub(keep));
    versions.retain(|version| !needed.has(*version));
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_and_the_needed_stay() {
        let versions = |numbers: &[u64]| numbers.iter().copied().map(KeyVersion).collect();
        let all: Vec<KeyVersion> = versions(&[1, 2, 3, 4, 5, 6]);
        let old = |keep, needed: &Needed| old(all.clone(), KeyVersion(5), keep, needed);
        let nobody = Needed::default();
        assert_eq!(old(0, &nobody), versions(&[1, 2, 3, 4]));
        assert_eq!(old(3, &nobody), versions(&[1]));
        assert_eq!(old(9, &nobody), versions(&[]));
        let some = Needed {
            all: false,
            versions: BTreeSet::from([KeyVersion(2), KeyVersion(9)]),
        };
        assert_eq!(old(1, &some), versions(&[1, 3]));
        let unknown = Needed {
            all: true,
            ..Needed::default()
        };
        assert_eq!(old(0, &unknown), versions(&[]));
    }
}
