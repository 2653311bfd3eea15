//! What a plan consists of.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use zfs_core::pool::VdevClass;

use super::model::VdevLayout;

/// How dangerous a change is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Danger {
    /// Nothing is lost, nobody notices, and most of it can be taken back.
    #[default]
    Safe,
    /// Programs may notice, a guarantee is weakened, or it can hardly be taken back.
    Disruptive,
    /// Data is lost.
    Destructive,
}

impl fmt::Display for Danger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Safe => "safe",
            Self::Disruptive => "disruptive",
            Self::Destructive => "destructive",
        })
    }
}

/// What is done by a [`Change`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// A pool is created, with all its devices and the properties of its root filesystem.
    CreatePool {
        /// Its name.
        pool: String,
        /// Its vdevs, in words: `mirror a b`, `log mirror c d`.
        vdevs: Vec<String>,
    },
    /// A vdev is added to a pool.
    AddVdev {
        /// The pool.
        pool: String,
        /// What the vdev is for.
        class: VdevClass,
        /// The vdev. Caches and spares are devices.
        vdev: VdevLayout,
    },
    /// A property of a pool is set.
    SetPoolProperty {
        /// The pool.
        pool: String,
        /// The property.
        property: String,
        /// Its value.
        from: String,
        /// Its new value.
        to: String,
    },
    /// A key is loaded, because something is to be created below that uses it.
    LoadKey {
        /// The encryption root.
        dataset: String,
        /// The key's name.
        key: String,
    },
    /// A filesystem or a volume is created with its properties.
    CreateDataset {
        /// Its name.
        dataset: String,
        /// The size of a volume.
        volume: Option<u64>,
        /// Whether it is a tenant.
        tenant: bool,
        /// The name of its key, if it has its own.
        key: Option<String>,
        /// Its properties.
        properties: BTreeMap<String, String>,
    },
    /// A property of a dataset is set.
    SetProperty {
        /// The dataset.
        dataset: String,
        /// The property.
        property: String,
        /// Its value, inherited or not.
        from: Option<String>,
        /// Its new value.
        to: String,
    },
    /// A property of a dataset is inherited again.
    InheritProperty {
        /// The dataset.
        dataset: String,
        /// The property.
        property: String,
        /// Its value.
        from: String,
    },
    /// A dataset is destroyed with its snapshots.
    DestroyDataset {
        /// The dataset.
        dataset: String,
        /// Its identity.
        guid: u64,
        /// Its snapshots, without what comes before the `@`.
        snapshots: Vec<String>,
    },
    /// A vdev, a cache or a spare is removed from a pool.
    RemoveVdev {
        /// The pool.
        pool: String,
        /// What it is for.
        class: VdevClass,
        /// Its identity.
        guid: u64,
        /// Its kind and devices, in words.
        vdev: String,
    },
}

/// Of what class a vdev is, as the `zpool` command says it before the vdev.
pub(super) fn class_word(class: VdevClass) -> &'static str {
    match class {
        VdevClass::Data => "data",
        VdevClass::Log => "log",
        VdevClass::Special => "special",
        VdevClass::Dedup => "dedup",
        VdevClass::Spare => "spare",
        VdevClass::Cache => "cache",
        _ => "unknown",
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreatePool { pool, vdevs } => {
                write!(f, "create pool {pool}: {}", vdevs.join(", "))
            }
            Self::AddVdev { pool, class, vdev } => {
                write!(f, "add to pool {pool}: {} {vdev}", class_word(*class))
            }
            Self::SetPoolProperty {
                pool,
                property,
                from,
                to,
            } => write!(f, "set {property}={to} on pool {pool} (is {from})"),
            Self::LoadKey { dataset, key } => write!(f, "load key {key} of {dataset}"),
            Self::CreateDataset {
                dataset,
                volume,
                tenant,
                key,
                ..
            } => {
                let what = match (volume, tenant) {
                    (Some(_), _) => "volume",
                    (None, true) => "tenant",
                    (None, false) => "filesystem",
                };
                write!(f, "create {what} {dataset}")?;
                match key {
                    Some(key) => write!(f, " with key {key}"),
                    None => Ok(()),
                }
            }
            Self::SetProperty {
                dataset,
                property,
                from,
                to,
            } => {
                write!(f, "set {property}={to} on {dataset}")?;
                match from {
                    Some(from) if from == to => f.write_str(" (inherited so far)"),
                    Some(from) => write!(f, " (is {from})"),
                    None => Ok(()),
                }
            }
            Self::InheritProperty {
                dataset,
                property,
                from,
            } => write!(f, "inherit {property} on {dataset} (is {from})"),
            Self::DestroyDataset {
                dataset, snapshots, ..
            } => {
                write!(f, "destroy {dataset}")?;
                match snapshots.len() {
                    0 => Ok(()),
                    count => write!(f, " with {count} snapshots"),
                }
            }
            Self::RemoveVdev {
                pool, class, vdev, ..
            } => write!(f, "remove from pool {pool}: {} {vdev}", class_word(*class)),
        }
    }
}

impl Action {
    /// The pool or the dataset that it changes.
    #[must_use]
    pub fn object(&self) -> &str {
        match self {
            Self::CreatePool { pool, .. }
            | Self::AddVdev { pool, .. }
            | Self::SetPoolProperty { pool, .. }
            | Self::RemoveVdev { pool, .. } => pool,
            Self::LoadKey { dataset, .. }
            | Self::CreateDataset { dataset, .. }
            | Self::SetProperty { dataset, .. }
            | Self::InheritProperty { dataset, .. }
            | Self::DestroyDataset { dataset, .. } => dataset,
        }
    }
}

/// One change of a plan. Its `Display` is one line; in JSON the fields of the [`Action`] stand beside
/// `danger` and `reason`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    #[serde(flatten)]
    action: Action,
    danger: Danger,
    reason: Option<String>,
}

impl Change {
    pub(super) fn safe(action: Action) -> Self {
        Self {
            action,
            danger: Danger::Safe,
            reason: None,
        }
    }

    pub(super) fn dangerous(action: Action, danger: Danger, reason: impl Into<String>) -> Self {
        Self {
            action,
            danger,
            reason: Some(reason.into()),
        }
    }

    /// What is done.
    #[must_use]
    pub fn action(&self) -> &Action {
        &self.action
    }

    /// How dangerous it is.
    #[must_use]
    pub fn danger(&self) -> Danger {
        self.danger
    }

    /// Why it is dangerous, if it is.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Whether both do the same, with the same danger.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        // The reasons have figures in them, which never stand still.
        self.action == other.action && self.danger == other.danger
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.action.fmt(f)
    }
}

/// A difference between a layout and what is there that no change takes away: somebody has to
/// decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Conflict {
    /// The pool or the dataset.
    pub object: String,
    /// What the difference is.
    pub reason: String,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.reason)
    }
}

/// Something in a pool of the layout that the layout does not name. It is left alone unless an
/// [`Allow`](super::Allow) names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unmanaged {
    /// A filesystem or a volume.
    Dataset {
        /// Its name.
        dataset: String,
        /// The bytes that it and all below it use.
        used: u64,
    },
    /// A vdev, a cache or a spare.
    Vdev {
        /// The pool.
        pool: String,
        /// What it is for.
        class: VdevClass,
        /// Its identity.
        guid: u64,
        /// Its kind and devices, in words.
        vdev: String,
    },
}

impl fmt::Display for Unmanaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dataset { dataset, used } => {
                write!(f, "{dataset}: not in the layout, {used} bytes")
            }
            Self::Vdev {
                pool, class, vdev, ..
            } => write!(
                f,
                "{pool}: {} {vdev} is not in the layout",
                class_word(*class)
            ),
        }
    }
}
