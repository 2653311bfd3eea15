use std::sync::Arc;

use zfs_core::props::UserProps;
use zfs_core::{Dataset, DatasetName, Error, Guard, Result, Zfs};

/// The user property by which a dataset, and all below it, says who may mount it.
const AUTOMOUNT: &str = "helix:automount";
/// No program of ours.
const NEVER: &str = "never";

/// What Helix's automation must not mount: production data.
///
/// A policy is put on a [`Zfs`], and binds everything that is made from it: the tenants, guard rails
/// and datasets of it can do everything but mount what the policy forbids. Where the policy cannot
/// find out, because the pool is suspended for example, it forbids.
///
/// It looks when something is to be mounted. A dataset that was renamed, or whose property was
/// changed, is what it is then.
///
/// ```no_run
/// use helix_zfs::MountPolicy;
/// use helix_zfs::zfs_core::mount::MountOptions;
/// use helix_zfs::zfs_core::{DatasetName, ErrorKind, Zfs};
///
/// let policy = MountPolicy::new()
///     .forbid_marked()
///     .forbid_below(DatasetName::new("tank/production")?);
/// let zfs = policy.apply(Zfs::open()?);
/// let orders = zfs.dataset("tank/production/orders")?;
/// let refused = orders.mount(&MountOptions::new()).unwrap_err();
/// assert_eq!(refused.kind(), ErrorKind::Forbidden);
/// # Ok::<(), zfs_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountPolicy {
    below: Vec<DatasetName>,
    properties: Vec<(String, String)>,
    clones: bool,
}

impl MountPolicy {
    /// One that forbids nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forbids to mount the dataset `name` and all below it.
    #[must_use]
    pub fn forbid_below(mut self, name: DatasetName) -> Self {
        self.below.push(name);
        self
    }

    /// Forbids to mount datasets whose user property `helix:automount` is `never`, be it their own
    /// or inherited.
    #[must_use]
    pub fn forbid_marked(mut self) -> Self {
        self.properties.push((AUTOMOUNT.into(), NEVER.into()));
        self
    }

    /// Forbids to mount datasets whose user property `name`, their own or inherited, is `value`.
    ///
    /// # Errors
    ///
    /// `InvalidProperty`, `NameTooLong`, `TooBig` for what no user property can be.
    pub fn forbid_property(mut self, name: &str, value: &str) -> Result<Self> {
        UserProps::new().set(name, value)?;
        self.properties.push((name.into(), value.into()));
        Ok(self)
    }

    /// Forbids to mount clones of forbidden datasets too, and clones of these. They are elsewhere
    /// and inherit from elsewhere, but have the same data.
    #[must_use]
    pub fn forbid_clones(mut self) -> Self {
        self.clones = true;
        self
    }

    /// The same ZFS, bound by this policy and by those that it was bound by before.
    #[must_use]
    pub fn apply(self, zfs: Zfs) -> Zfs {
        zfs.with_guard(Arc::new(self))
    }

    fn check_one(&self, dataset: &Dataset, name: &DatasetName) -> Result<(), String> {
        let is_or_is_below = |top: &&DatasetName| *top == name || top.is_ancestor_of(name);
        if let Some(top) = self.below.iter().find(is_or_is_below) {
            return Err(format!(
                "the policy forbids to mount {top} and all below it"
            ));
        }
        if self.properties.is_empty() {
            return Ok(());
        }
        let properties = dataset.properties().map_err(|error| unknown(&error))?;
        match self
            .properties
            .iter()
            .find(|(property, value)| properties.user(property) == Some(value))
        {
            Some((property, value)) => Err(format!(
                "the policy forbids to mount what has {property}={value}"
            )),
            None => Ok(()),
        }
    }
}

fn unknown(error: &Error) -> String {
    format!("whether the policy lets it be mounted is not known: {error}")
}

impl Guard for MountPolicy {
    fn mount(&self, dataset: &Dataset, name: &DatasetName) -> Result<(), String> {
        self.check_one(dataset, name)?;
        if !self.clones {
            return Ok(());
        }
        let mut clone = dataset.clone();
        while let Some(origin) = clone.stat().map_err(|error| unknown(&error))?.origin {
            let source = origin.dataset();
            clone = clone
                .zfs()
                .dataset(source.as_str())
                .map_err(|error| unknown(&error))?;
            self.check_one(&clone, &source)
                .map_err(|why| format!("it is a clone of {origin}: {why}"))?;
        }
        Ok(())
    }
}
