//! A plan, carried out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use zfs_core::key::{Encryption, WrappingKey};
use zfs_core::pool::{
    AddOptions, CreatePool, Layout as PoolVdevs, PoolPropertySet, VdevClass, VdevSpec,
};
use zfs_core::props::{EncryptionAlgorithm, PropertySet};
use zfs_core::{CreateOptions, Dataset, DatasetName, ErrorKind, Snapshot, Zfs};

use super::check::{Wanted, WantedDataset, parent, pool_of, pool_property};
use super::{Action, Change, Danger, DeviceMap, KeySource, LayoutError, NoKeys, Plan, VdevLayout};
use crate::gate::{Capability, Operation};
use crate::{Step, TenantSpec};

/// How a plan is applied.
#[derive(Clone, Copy)]
pub struct ApplyOptions<'a> {
    keys: &'a dyn KeySource,
    accepted: Danger,
    despite_conflicts: bool,
}

impl fmt::Debug for ApplyOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApplyOptions")
            .field("accepted", &self.accepted)
            .field("despite_conflicts", &self.despite_conflicts)
            .finish_non_exhaustive()
    }
}

impl Default for ApplyOptions<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> ApplyOptions<'a> {
    /// Only safe changes, without conflicts, and without keys.
    #[must_use]
    pub fn new() -> Self {
        Self {
            keys: &NoKeys,
            accepted: Danger::Safe,
            despite_conflicts: false,
        }
    }

    /// Takes keys from here.
    #[must_use]
    pub fn keys(mut self, keys: &'a dyn KeySource) -> Self {
        self.keys = keys;
        self
    }

    /// Accepts changes up to this danger. What is destroyed has to be named besides, by an
    /// [`Allow`](super::Allow) when the plan is made.
    #[must_use]
    pub fn accept(mut self, danger: Danger) -> Self {
        self.accepted = danger;
        self
    }

    /// Makes the changes although there are conflicts, which stay as they are.
    #[must_use]
    pub fn despite_conflicts(mut self) -> Self {
        self.despite_conflicts = true;
        self
    }
}

/// What became of a change.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// It was made.
    Done,
    /// It could not be made.
    /// Mostly because ZFS refused: [`LayoutError::Zfs`].
    Failed(LayoutError),
    /// It was not tried, because another failed that comes before it.
    Skipped,
}

/// What became of the changes of a plan, in their order.
#[derive(Debug, Default)]
#[must_use = "changes can have failed"]
pub struct Applied(Vec<(Change, Outcome)>);

impl Applied {
    /// Whether all changes were made. Then what is there is as the layout says, but for conflicts.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.0
            .iter()
            .all(|(_, outcome)| matches!(outcome, Outcome::Done))
    }

    /// Each change and what became of it.
    pub fn iter(&self) -> impl Iterator<Item = (&Change, &Outcome)> {
        self.0.iter().map(|(change, outcome)| (change, outcome))
    }

    /// The changes that could not be made, and why.
    pub fn failures(&self) -> impl Iterator<Item = (&Change, &LayoutError)> {
        self.0.iter().filter_map(|(change, outcome)| match outcome {
            Outcome::Failed(error) => Some((change, error)),
            _ => None,
        })
    }
}

impl Plan {
    /// Makes the changes, one after the other, and tells `observer` before and after each.
    ///
    /// What is there is compared with the layout again first: a plan that would be another one by
    /// now is refused. When a change fails, those that need it are skipped, as is all that
    /// destroys or removes, and the others are made. Nothing is taken back: a process that dies in
    /// between leaves what it has made, each change is made as a whole or not at all (a dataset
    /// that is destroyed loses its snapshots before), and the next plan has the rest.
    ///
    /// Nothing is mounted or unmounted.
    ///
    /// The capability has to be for [`ApplyLayout`](Operation::ApplyLayout) of the pool or dataset that
    /// a change is of. It is asked before each change: one that it refuses, because it has ended
    /// meanwhile for example, is [`Failed`](Outcome::Failed).
    ///
    /// # Errors
    ///
    /// | error | when |
    /// |---|---|
    /// | [`Conflicts`](LayoutError::Conflicts) | there are conflicts, and [`despite_conflicts`](ApplyOptions::despite_conflicts) is not set |
    /// | [`NotAccepted`](LayoutError::NotAccepted) | a change is more dangerous than is [accepted](ApplyOptions::accept) |
    /// | [`Stale`](LayoutError::Stale) | what is there has changed since the plan was made |
    /// | [`Key`](LayoutError::Key) | a key that is needed cannot be had |
    /// | as [`Layout::plan`](super::Layout::plan) | it cannot be compared again |
    ///
    /// Nothing was changed then. What ZFS refuses is in [`Applied`].
    ///
    /// # Privileges
    ///
    /// Root, for pools. For datasets, those of [`Dataset::create`], [`Dataset::set`],
    /// [`Dataset::load_key`] and [`Dataset::destroy`].
    pub fn apply(
        &self,
        capability: &Capability,
        zfs: &Zfs,
        options: &ApplyOptions<'_>,
        observer: &mut dyn FnMut(Step<'_, Change>),
    ) -> Result<Applied, LayoutError> {
        if !self.conflicts.is_empty() && !options.despite_conflicts {
            return Err(LayoutError::Conflicts(self.conflicts.clone()));
        }
        let dangerous = |change: &&Change| change.danger() > options.accepted;
        if let Some(change) = self.changes.iter().find(dangerous) {
            return Err(LayoutError::NotAccepted {
                change: Box::new(change.clone()),
            });
        }
        let now = self.layout.plan_allowing(zfs, &self.devices, &self.allow)?;
        // Of a conflict only the object: there are figures in the reason, which never stand still.
        let conflicts = |plan: &Self| -> Vec<String> {
            let objects = plan.conflicts.iter().map(|conflict| &conflict.object);
            objects.cloned().collect()
        };
        let is_same = now.changes.len() == self.changes.len()
            && conflicts(&now) == conflicts(self)
            && self
                .changes
                .iter()
                .zip(&now.changes)
                .all(|(one, other)| one.is_like(other));
        if !is_same {
            return Err(LayoutError::Stale(now.changes.len()));
        }
        let wanted = self.layout.wanted()?;
        let mut run = Run {
            capability,
            zfs,
            plan: self,
            keys: keys(&self.changes, &wanted, options.keys)?,
            wanted,
            failed: BTreeSet::new(),
        };
        let mut applied = Applied::default();
        for change in &self.changes {
            let outcome = run.make(change, observer);
            applied.0.push((change.clone(), outcome));
        }
        Ok(applied)
    }
}

/// The keys that the changes need, by the datasets that they are of.
fn keys(
    changes: &[Change],
    wanted: &Wanted<'_>,
    source: &dyn KeySource,
) -> Result<BTreeMap<String, WrappingKey>, LayoutError> {
    let mut keys = BTreeMap::new();
    for change in changes {
        let (dataset, key) = match change.action() {
            Action::CreateDataset {
                dataset,
                key: Some(key),
                ..
            }
            | Action::LoadKey { dataset, key } => (dataset.as_str(), key.as_str()),
            Action::CreatePool { pool, .. } => {
                let root = wanted.datasets.get(pool.as_str());
                match root.and_then(|root| root.encryption) {
                    Some((key, _)) => (pool.as_str(), key),
                    None => continue,
                }
            }
            _ => continue,
        };
        let material = source.key(key).map_err(|source| LayoutError::Key {
            key: key.to_owned(),
            dataset: dataset.to_owned(),
            source,
        })?;
        keys.insert(dataset.to_owned(), material);
    }
    Ok(keys)
}

struct Run<'a> {
    capability: &'a Capability,
    zfs: &'a Zfs,
    plan: &'a Plan,
    wanted: Wanted<'a>,
    keys: BTreeMap<String, WrappingKey>,
    /// Pools and datasets that are not as they should be, so that what is below cannot be.
    failed: BTreeSet<String>,
}

impl Run<'_> {
    fn make(&mut self, change: &Change, observer: &mut dyn FnMut(Step<'_, Change>)) -> Outcome {
        if self.is_hopeless(change.action()) {
            return Outcome::Skipped;
        }
        observer(Step::Starting(change));
        match self.carry_out(change.action()) {
            Ok(()) => {
                observer(Step::Done(change));
                Outcome::Done
            }
            Err(error) => {
                self.failed.insert(change.action().object().to_owned());
                observer(Step::Failed(change));
                Outcome::Failed(error)
            }
        }
    }

    /// Whether something failed that this change needs.
    fn is_hopeless(&self, action: &Action) -> bool {
        let mut at = match action {
            Action::DestroyDataset { .. } | Action::RemoveVdev { .. } => {
                return !self.failed.is_empty();
            }
            // A property that could not be set keeps no other from being set.
            Action::SetProperty { dataset, .. } | Action::InheritProperty { dataset, .. } => {
                Some(pool_of(dataset)).filter(|pool| self.is_new_pool(pool))
            }
            Action::CreateDataset { dataset, .. } => Some(dataset.as_str()),
            _ => None,
        };
        while let Some(name) = at {
            if self.failed.contains(name) {
                return true;
            }
            at = parent(name);
        }
        false
    }

    fn is_new_pool(&self, pool: &str) -> bool {
        self.plan.changes.iter().any(
            |change| matches!(change.action(), Action::CreatePool { pool: new, .. } if new == pool),
        )
    }

    fn carry_out(&mut self, action: &Action) -> Result<(), LayoutError> {
        let zfs = self.zfs;
        let object = DatasetName::new(action.object()).map_err(zfs_core::Error::from)?;
        self.capability.allow(Operation::ApplyLayout, &object)?;
        match action {
            Action::CreatePool { pool, .. } => self.create_pool(pool)?,
            Action::AddVdev { pool, class, vdev } => {
                let layout = self.vdevs(pool, std::iter::once((*class, vdev)));
                let mut options = AddOptions::new();
                if self.overwrites(vdev.devices()) {
                    options = options.overwrite();
                }
                zfs.pool(pool)?.add(&layout, &options)?;
            }
            Action::SetPoolProperty {
                pool, property, to, ..
            } => {
                let set = pool_set(std::iter::once((property.as_str(), to.as_str())));
                zfs.pool(pool)?.set_properties(&set)?;
            }
            Action::LoadKey { dataset, .. } => {
                if let Some(key) = self.keys.get(dataset) {
                    match zfs.dataset(dataset)?.load_key(key) {
                        Err(error) if error.kind() == ErrorKind::KeyLoaded => {}
                        result => result?,
                    }
                }
            }
            Action::CreateDataset { dataset, .. } => self.create_dataset(dataset)?,
            Action::SetProperty {
                dataset,
                property,
                to,
                ..
            } => {
                let set = PropertySet::new().parse(property, to)?;
                zfs.dataset(dataset)?.set_all(&set)?;
            }
            Action::InheritProperty {
                dataset, property, ..
            } => zfs.dataset(dataset)?.inherit(property)?,
            Action::DestroyDataset {
                dataset,
                guid,
                snapshots,
            } => destroy(&zfs.dataset(dataset)?, *guid, snapshots)?,
            Action::RemoveVdev { pool, guid, .. } => zfs.pool(pool)?.remove(*guid)?,
        }
        Ok(())
    }

    fn overwrites(&self, devices: &[String]) -> bool {
        let mut devices = devices.iter().map(String::as_str);
        self.plan.allow.overwrites(&mut devices)
    }

    /// The vdevs of a pool with the paths of their devices.
    fn vdevs<'v>(
        &self,
        pool: &str,
        vdevs: impl Iterator<Item = (VdevClass, &'v VdevLayout)>,
    ) -> PoolVdevs {
        let mut layout = PoolVdevs::new();
        let wanted = self.wanted.pools.get(pool);
        if let Some(ashift) = wanted.and_then(|wanted| wanted.ashift) {
            layout = layout.ashift(ashift);
        }
        for (class, vdev) in vdevs {
            layout = add(layout, class, vdev, &self.plan.devices);
        }
        layout
    }

    fn create_pool(&mut self, name: &str) -> zfs_core::Result<()> {
        let (Some(pool), Some(root)) =
            (self.wanted.pools.get(name), self.wanted.datasets.get(name))
        else {
            return Ok(());
        };
        let vdevs = pool.vdevs.iter().map(|(class, vdev)| (*class, vdev));
        let mut options = CreatePool::new(self.vdevs(name, vdevs))
            .properties(pool_set(
                pool.properties
                    .iter()
                    .map(|(name, value)| (*name, value.as_str())),
            ))
            .root_properties(&property_set(root)?);
        let mut all = pool.vdevs.iter().map(|(_, vdev)| vdev.devices());
        if all.all(|devices| self.overwrites(devices)) {
            options = options.overwrite();
        }
        if let Some(encryption) = encryption(root, self.keys.remove(name))? {
            options = options.encryption(encryption);
        }
        self.zfs.create_pool(name, &options).map(drop)
    }

    fn create_dataset(&mut self, name: &str) -> zfs_core::Result<()> {
        let (Some(wanted), dataset) = (self.wanted.datasets.get(name), self.zfs.dataset(name)?)
        else {
            return Ok(());
        };
        let properties = property_set(wanted)?;
        let encryption = encryption(wanted, self.keys.remove(name))?;
        if let (true, Some(parent)) = (wanted.tenant, parent(name)) {
            if let Some(encryption) = encryption {
                let base = dataset.name().base();
                return TenantSpec::new(base, encryption)
                    .properties(&properties)
                    .create_allowed(&self.zfs.dataset(parent)?)
                    .map(drop);
            }
        }
        let mut options = match wanted.volume {
            Some(size) => CreateOptions::volume(size),
            None => CreateOptions::filesystem(),
        }
        .properties(&properties);
        if let Some(encryption) = encryption {
            options = options.encryption(encryption);
        }
        dataset.create(&options)
    }
}

fn encryption(
    wanted: &WantedDataset<'_>,
    key: Option<WrappingKey>,
) -> zfs_core::Result<Option<Encryption>> {
    let (Some((_, cipher)), Some(key)) = (wanted.encryption, key) else {
        return Ok(None);
    };
    match cipher {
        EncryptionAlgorithm::Aes256Gcm => Encryption::aes_256_gcm(&key),
        cipher => Encryption::new(cipher, &key, zfs_core::key::DEFAULT_PBKDF2_ITERATIONS),
    }
    .map(Some)
}

fn property_set(wanted: &WantedDataset<'_>) -> zfs_core::Result<PropertySet> {
    wanted
        .values()
        .iter()
        .try_fold(PropertySet::new(), |set, (name, value)| {
            set.parse(name, value)
        })
}

/// Properties that were checked with the layout.
fn pool_set<'p>(properties: impl Iterator<Item = (&'p str, &'p str)>) -> PoolPropertySet {
    properties.fold(PoolPropertySet::new(), |set, (name, value)| {
        pool_property(set.clone(), name, value).unwrap_or(set)
    })
}

/// Adds a vdev with the paths of its devices, all of which the map has: the plan was made with it.
fn add(layout: PoolVdevs, class: VdevClass, vdev: &VdevLayout, map: &DeviceMap) -> PoolVdevs {
    let paths: Vec<_> = vdev
        .devices()
        .iter()
        .filter_map(|device| map.path(device))
        .collect();
    let spec = match (vdev, paths.as_slice()) {
        (VdevLayout::Device(_), [path]) => match class {
            VdevClass::Spare => return layout.spare(path),
            VdevClass::Cache => return layout.cache(path),
            _ => VdevSpec::device(path),
        },
        (VdevLayout::Raidz1(_), _) => VdevSpec::raidz(1, paths),
        (VdevLayout::Raidz2(_), _) => VdevSpec::raidz(2, paths),
        (VdevLayout::Raidz3(_), _) => VdevSpec::raidz(3, paths),
        _ => VdevSpec::mirror(paths),
    };
    layout.vdev(match class {
        VdevClass::Log => spec.log(),
        VdevClass::Special => spec.special(),
        VdevClass::Dedup => spec.dedup(),
        _ => spec,
    })
}

/// Destroys a dataset and its snapshots, if it is still the one that was looked at. A snapshot that
/// was taken meanwhile keeps it from being destroyed.
fn destroy(dataset: &Dataset, guid: u64, snapshots: &[String]) -> Result<(), LayoutError> {
    if dataset.stat()?.guid != guid {
        return Err(LayoutError::Replaced {
            dataset: dataset.name().to_string(),
        });
    }
    let snapshots: Vec<Snapshot> = snapshots
        .iter()
        .map(|short| dataset.snapshot(short))
        .collect::<zfs_core::Result<_>>()?;
    dataset.zfs().destroy_snapshots(&snapshots)?;
    dataset.destroy()?;
    Ok(())
}
