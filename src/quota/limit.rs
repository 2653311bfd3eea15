use std::fmt;

use serde::{Serialize, Serializer};
use zfs_core::{DatasetName, Owner};

/// What can keep a dataset from being written to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Limit {
    /// The `quota` of the dataset itself or of one above it: for that one, its snapshots and all
    /// below it.
    Quota {
        /// Whose quota it is.
        dataset: DatasetName,
    },
    /// The dataset's own `refquota`: for what it references itself.
    RefQuota,
    /// The quota of a user, a group or a project in this filesystem.
    Owner {
        /// Who it is for.
        #[serde(serialize_with = "as_text")]
        owner: Owner,
    },
    /// The pool's size, less what others have reserved and what ZFS keeps for itself.
    Pool,
}

pub(super) fn as_text<T: fmt::Display, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Quota { dataset } => format!("quota of {dataset}"),
            Self::Owner { owner } => format!("quota of {owner}"),
            Self::RefQuota => String::from("refquota"),
            Self::Pool => String::from("pool"),
        };
        f.pad(&text)
    }
}

/// A limit, and how far away it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Bound {
    /// What it is.
    pub limit: Limit,
    /// What is used of it, in bytes. Of the pool, it is what all datasets use.
    pub used: u64,
    /// What this dataset can still write before it is reached, in bytes. It can be more than the
    /// rest of a quota, for what is reserved further down is already counted there as used.
    pub available: u64,
}

impl Bound {
    /// How full it is, in percent, rounded down: 100 when nothing is available.
    #[must_use]
    pub fn percent(&self) -> u8 {
        if self.available == 0 {
            return 100;
        }
        let (used, available) = (u128::from(self.used), u128::from(self.available));
        u8::try_from(used * 100 / (used + available)).unwrap_or(100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_are_of_the_whole_and_never_100_while_there_is_room() {
        let percent = |used, available| {
            let limit = Limit::Pool;
            let bound = Bound {
                limit,
                used,
                available,
            };
            bound.percent()
        };
        assert_eq!(percent(80, 20), 80);
        assert_eq!(percent(80, 0), 100);
        assert_eq!(percent(0, 0), 100);
        assert_eq!(percent(80, u64::MAX), 0);
        assert_eq!(percent(u64::MAX, 1), 99);
    }

    #[test]
    fn limits_are_named() {
        let quota = Limit::Quota {
            dataset: DatasetName::new("tank/a").unwrap(),
        };
        assert_eq!(quota.to_string(), "quota of tank/a");
        let owner = Limit::Owner {
            owner: Owner::Group(7),
        };
        assert_eq!(owner.to_string(), "quota of group 7");
        let json = |limit| serde_json::to_string(&limit).unwrap();
        assert_eq!(json(owner), r#"{"kind":"owner","owner":"group 7"}"#);
        assert_eq!(json(quota), r#"{"kind":"quota","dataset":"tank/a"}"#);
        assert_eq!(json(Limit::Pool), r#"{"kind":"pool"}"#);
    }
}
