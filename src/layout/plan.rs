//! From what is wanted and what is there to what is to be done.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use zfs_core::Zfs;
use zfs_core::pool::VdevClass;
use zfs_core::props::Prop;

use super::change::class_word;
use super::check::{Want, Wanted, WantedDataset, WantedPool, parent, pool_of};
use super::danger;
use super::observed::{ObservedDataset, ObservedPool, ObservedVdev};
use super::{
    Action, Allow, Change, Conflict, Danger, DeviceMap, Layout, LayoutError, Observed, Unmanaged,
    VdevLayout,
};

/// What is to be done so that what is there is as a layout says, in the order in which it is done.
///
/// It is serialized for people and programs to look at. To be [applied](Self::apply) it has to be
/// made anew from its layout: what it was made from is not serialized with it.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// What is to be done. Nothing, if all is as it should be.
    pub(super) changes: Vec<Change>,
    pub(super) conflicts: Vec<Conflict>,
    pub(super) unmanaged: Vec<Unmanaged>,
    #[serde(skip)]
    pub(super) layout: Layout,
    #[serde(skip)]
    pub(super) devices: DeviceMap,
    #[serde(skip)]
    pub(super) allow: Allow,
}

impl Layout {
    /// Compares what is there with the layout. Changes nothing.
    ///
    /// # Errors
    ///
    /// As [`Observed::read`] and [`Plan::compute`].
    ///
    /// # Privileges
    ///
    /// As [`Observed::read`].
    pub fn plan(&self, zfs: &Zfs, devices: &DeviceMap) -> Result<Plan, LayoutError> {
        self.plan_allowing(zfs, devices, &Allow::nothing())
    }

    /// As [`plan`](Self::plan), where what `allow` names is destroyed or removed if the layout does
    /// not have it.
    ///
    /// # Errors
    ///
    /// As [`plan`](Self::plan).
    pub fn plan_allowing(
        &self,
        zfs: &Zfs,
        devices: &DeviceMap,
        allow: &Allow,
    ) -> Result<Plan, LayoutError> {
        let observed = Observed::read(zfs, self, devices, allow)?;
        Plan::compute(self, devices, &observed, allow)
    }
}

impl Plan {
    /// Compares a layout with what was observed. A pure function: the same plan for the same
    /// arguments.
    ///
    /// # Errors
    ///
    /// [`Invalid`](LayoutError::Invalid) or [`Version`](LayoutError::Version) for a layout that makes
    /// no sense; [`NoDevice`](LayoutError::NoDevice) when a device of a layout is not in the map.
    pub fn compute(
        layout: &Layout,
        devices: &DeviceMap,
        observed: &Observed,
        allow: &Allow,
    ) -> Result<Self, LayoutError> {
        let wanted = layout.wanted()?;
        let mut planner = Planner {
            wanted: &wanted,
            observed,
            allow,
            changes: Vec::new(),
            conflicts: Vec::new(),
            unmanaged: Vec::new(),
            unlocked: BTreeSet::new(),
        };
        for (name, pool) in &wanted.pools {
            for (_, vdev) in &pool.vdevs {
                for device in vdev.devices() {
                    if devices.path(device).is_none() {
                        return Err(LayoutError::NoDevice {
                            pool: (*name).to_owned(),
                            device: device.clone(),
                        });
                    }
                }
            }
            planner.pool(name, pool);
        }
        for (name, dataset) in &wanted.datasets {
            planner.dataset(name, dataset);
        }
        planner.others();
        let Planner {
            mut changes,
            conflicts,
            unmanaged,
            ..
        } = planner;
        // The sort is stable: within a phase they stay in the order of their names.
        changes.sort_by_key(|(phase, _)| *phase);
        Ok(Self {
            changes: changes.into_iter().map(|(_, change)| change).collect(),
            conflicts,
            unmanaged,
            layout: layout.clone(),
            devices: devices.clone(),
            allow: allow.clone(),
        })
    }

    /// What is to be done, in this order.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Differences that no change takes away.
    #[must_use]
    pub fn conflicts(&self) -> &[Conflict] {
        &self.conflicts
    }

    /// What is there beside what the layout names.
    #[must_use]
    pub fn unmanaged(&self) -> &[Unmanaged] {
        &self.unmanaged
    }

    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The greatest danger among the changes.
    #[must_use]
    pub fn danger(&self) -> Danger {
        self.changes
            .iter()
            .map(Change::danger)
            .max()
            .unwrap_or_default()
    }
}

/// The order in which changes are made. What gives room or takes limits away comes before what
/// needs the room, and what takes something away comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Pools,
    Vdevs,
    PoolProperties,
    Keys,
    /// Quotas and limits grow, reservations shrink.
    Looser,
    Datasets,
    Properties,
    /// Reservations grow, quotas and limits shrink.
    Tighter,
    Destroyed,
    Removed,
}

struct Planner<'a> {
    wanted: &'a Wanted<'a>,
    observed: &'a Observed,
    allow: &'a Allow,
    changes: Vec<(Phase, Change)>,
    conflicts: Vec<Conflict>,
    unmanaged: Vec<Unmanaged>,
    /// The encryption roots whose keys are loaded by then.
    unlocked: BTreeSet<String>,
}

impl Planner<'_> {
    fn conflict(&mut self, object: &str, reason: impl Into<String>) {
        self.conflicts.push(Conflict {
            object: object.to_owned(),
            reason: reason.into(),
        });
    }

    fn pool(&mut self, name: &str, wanted: &WantedPool<'_>) {
        let Some(there) = self.observed.pools.get(name) else {
            let vdevs = wanted.vdevs.iter().map(|(class, vdev)| match class {
                VdevClass::Data => vdev.to_string(),
                class => format!("{} {vdev}", class_word(*class)),
            });
            let action = Action::CreatePool {
                pool: name.to_owned(),
                vdevs: vdevs.collect(),
            };
            let devices = wanted.vdevs.iter().flat_map(|(_, vdev)| vdev.devices());
            let change = self.taking(action, devices, Danger::Safe, None);
            self.changes.push((Phase::Pools, change));
            return;
        };
        for (class, vdev) in &wanted.vdevs {
            self.vdev(name, wanted, there, *class, vdev);
        }
        for vdev in &there.vdevs {
            self.vdev_there(name, wanted, vdev);
        }
        for (property, value) in &wanted.properties {
            let from = there.properties.get(*property);
            if from != Some(value) {
                let action = Action::SetPoolProperty {
                    pool: name.to_owned(),
                    property: (*property).to_owned(),
                    from: from.cloned().unwrap_or_default(),
                    to: value.clone(),
                };
                let change = danger::of_pool_property(property, value).change(action);
                self.changes.push((Phase::PoolProperties, change));
            }
        }
    }

    /// The change that takes devices, which is destructive if they may be overwritten.
    fn taking<'d>(
        &self,
        action: Action,
        devices: impl Iterator<Item = &'d String>,
        danger: Danger,
        reason: Option<&str>,
    ) -> Change {
        if self.allow.overwrites(devices.map(String::as_str)) {
            let reason = "what is on the devices is overwritten";
            return Change::dangerous(action, Danger::Destructive, reason);
        }
        match reason {
            Some(reason) => Change::dangerous(action, danger, reason),
            None => Change::safe(action),
        }
    }

    fn vdev(
        &mut self,
        pool: &str,
        wanted: &WantedPool<'_>,
        there: &ObservedPool,
        class: VdevClass,
        vdev: &VdevLayout,
    ) {
        let same = |found: &&ObservedVdev| {
            found.class == class
                && found.kind == vdev.kind()
                && found.devices.len() == vdev.devices().len()
                && vdev.devices().iter().all(|device| found.has(device))
        };
        if let Some(found) = there.vdevs.iter().find(same) {
            if let (Some(ashift), Some(is)) = (wanted.ashift, found.ashift) {
                if u64::from(ashift) != is {
                    let reason = format!("{vdev} has an ashift of {is} for good, not {ashift}");
                    self.conflict(pool, reason);
                }
            }
            return;
        }
        let used_by = |device: &String| there.vdevs.iter().find(|found| found.has(device));
        if let Some(found) = vdev.devices().iter().find_map(used_by) {
            let reason = format!(
                "there is {} {found} instead of {} {vdev}: attach, detach or replace devices by hand",
                class_word(found.class),
                class_word(class),
            );
            return self.conflict(pool, reason);
        }
        let (danger, reason) = match class {
            VdevClass::Log | VdevClass::Cache | VdevClass::Spare => (Danger::Safe, None),
            _ => (
                Danger::Disruptive,
                Some("it can hardly be taken out of the pool again"),
            ),
        };
        let action = Action::AddVdev {
            pool: pool.to_owned(),
            class,
            vdev: vdev.clone(),
        };
        let change = self.taking(action, vdev.devices().iter(), danger, reason);
        self.changes.push((Phase::Vdevs, change));
    }

    /// A vdev that is there, which may be one that nobody wants.
    fn vdev_there(&mut self, pool: &str, wanted: &WantedPool<'_>, vdev: &ObservedVdev) {
        let mut devices = wanted.vdevs.iter().flat_map(|(_, vdev)| vdev.devices());
        if devices.any(|device| vdev.has(device)) {
            return;
        }
        if !self.allow.removes(pool, vdev) {
            self.unmanaged.push(Unmanaged::Vdev {
                pool: pool.to_owned(),
                class: vdev.class,
                guid: vdev.guid,
                vdev: vdev.to_string(),
            });
            return;
        }
        let action = Action::RemoveVdev {
            pool: pool.to_owned(),
            class: vdev.class,
            guid: vdev.guid,
            vdev: vdev.to_string(),
        };
        let change = match vdev.class {
            VdevClass::Cache | VdevClass::Spare => Change::safe(action),
            VdevClass::Log => Change::dangerous(
                action,
                Danger::Disruptive,
                "synchronous writes become slower",
            ),
            _ => Change::dangerous(
                action,
                Danger::Disruptive,
                "its data is moved to the other vdevs",
            ),
        };
        self.changes.push((Phase::Removed, change));
    }

    fn dataset(&mut self, name: &str, wanted: &WantedDataset<'_>) {
        match self.observed.datasets.get(name) {
            Some(there) => self.existing(name, wanted, there),
            // The root is created with its pool.
            None if self.wanted.pools.contains_key(name) => {}
            None => self.new_dataset(name, wanted),
        }
        if self.allow.destroys(name) {
            self.conflict(name, "it is to be destroyed, but the layout names it");
        }
    }

    /// The dataset at or above `name` that the layout gives a key.
    fn wanted_root(&self, name: &str) -> Option<&str> {
        let mut at = Some(name);
        while let Some(name) = at {
            let (found, wanted) = self.wanted.datasets.get_key_value(name)?;
            if wanted.encryption.is_some() {
                return Some(found);
            }
            at = parent(name);
        }
        None
    }

    fn new_dataset(&mut self, name: &str, wanted: &WantedDataset<'_>) {
        if wanted.encryption.is_none() {
            self.unlock_above(name);
        }
        let action = Action::CreateDataset {
            dataset: name.to_owned(),
            volume: wanted.volume,
            tenant: wanted.tenant,
            key: wanted.encryption.map(|(key, _)| key.to_owned()),
            properties: wanted.values(),
        };
        self.changes.push((Phase::Datasets, Change::safe(action)));
    }

    /// What is created below an encryption root needs its key.
    fn unlock_above(&mut self, name: &str) {
        let mut above = parent(name);
        let there = loop {
            match above {
                None => return,
                Some(name) => match self.observed.datasets.get(name) {
                    Some(there) => break there,
                    None => above = parent(name),
                },
            }
        };
        let Some(encryption) = &there.encryption else {
            return;
        };
        // One in between that is yet to be created brings its own key.
        let own = self.wanted_root(name);
        let comes_later = own.is_some_and(|own| !self.observed.datasets.contains_key(own));
        if encryption.unlocked || comes_later || !self.unlocked.insert(encryption.root.clone()) {
            return;
        }
        let root = encryption.root.as_str();
        let wanted = self.wanted.datasets.get(root);
        match wanted.and_then(|wanted| wanted.encryption) {
            Some((key, _)) => {
                let action = Action::LoadKey {
                    dataset: root.to_owned(),
                    key: key.to_owned(),
                };
                self.changes.push((Phase::Keys, Change::safe(action)));
            }
            None => {
                let reason = format!("the key of {root} is not loaded, and the layout names none");
                self.conflict(name, reason);
            }
        }
    }

    fn existing(&mut self, name: &str, wanted: &WantedDataset<'_>, there: &ObservedDataset) {
        match (wanted.volume, there.volume) {
            (None, Some(_)) => return self.conflict(name, "it is a volume, not a filesystem"),
            (Some(_), None) => return self.conflict(name, "it is a filesystem, not a volume"),
            (Some(wanted), Some(is)) if wanted < is => {
                let reason = format!("a volume of {is} bytes is not made smaller: {wanted} bytes");
                self.conflict(name, reason);
            }
            (Some(wanted), Some(is)) if wanted > is => {
                let action = Action::SetProperty {
                    dataset: name.to_owned(),
                    property: Prop::VolSize.name().to_owned(),
                    from: Some(is.to_string()),
                    to: wanted.to_string(),
                };
                self.changes.push((Phase::Properties, Change::safe(action)));
            }
            _ => {}
        }
        self.encryption(name, wanted, there);
        for (property, want) in &wanted.properties {
            self.property(name, property, want, there);
        }
    }

    fn encryption(&mut self, name: &str, wanted: &WantedDataset<'_>, there: &ObservedDataset) {
        let root = self.wanted_root(name).map(str::to_owned);
        let is = there.encryption.as_ref();
        let conflict = match (root, is) {
            (None, None) => None,
            (Some(root), None) => Some(format!("it is not encrypted, but should be as {root} is")),
            (None, Some(is)) => Some(format!("it is encrypted as {} is", is.root)),
            (Some(root), Some(is)) if root != is.root => Some(format!(
                "it is encrypted with the key of {}, not of {root}",
                is.root
            )),
            (Some(_), Some(is)) => match (wanted.encryption, is.cipher) {
                (Some((_, wanted)), Some(cipher)) if wanted != cipher => {
                    Some(format!("its cipher is {cipher} for good, not {wanted}"))
                }
                _ => None,
            },
        };
        if let Some(reason) = conflict {
            self.conflict(name, reason);
        }
    }

    fn property(&mut self, name: &str, property: &str, want: &Want, there: &ObservedDataset) {
        let is = there.properties.get(property);
        let prop = Prop::from_name(property);
        let to = match want {
            Want::Inherit => {
                if let Some(is) = is.filter(|is| is.own) {
                    let action = Action::InheritProperty {
                        dataset: name.to_owned(),
                        property: property.to_owned(),
                        from: is.value.clone(),
                    };
                    let change = danger::of_inheriting(property).change(action);
                    self.changes.push((Phase::Properties, change));
                }
                return;
            }
            Want::Value(value) => value,
        };
        let is_inherited = prop.is_none_or(Prop::is_inheritable);
        if is.is_some_and(|is| is.value == *to && (is.own || !is_inherited)) {
            return;
        }
        let from = is.map(|is| is.value.clone());
        if prop.is_some_and(Prop::is_set_once) {
            let is = from.as_deref().unwrap_or("-");
            let reason = format!("{property} is {is} for good, not {to}");
            return self.conflict(name, reason);
        }
        let action = Action::SetProperty {
            dataset: name.to_owned(),
            property: property.to_owned(),
            from: from.clone(),
            to: to.clone(),
        };
        match danger::of_property(property, from.as_deref(), to, there) {
            Ok(verdict) => {
                let phase = phase(prop, from.as_deref(), to);
                self.changes.push((phase, verdict.change(action)));
            }
            Err(reason) => self.conflict(name, reason),
        }
    }

    /// What the layout does not name.
    fn others(&mut self) {
        let pools = &self.wanted.pools;
        let others: BTreeMap<&str, &ObservedDataset> = self
            .observed
            .datasets
            .iter()
            .map(|(name, there)| (name.as_str(), there))
            .filter(|(name, _)| pools.contains_key(pool_of(name)))
            .filter(|(name, _)| !self.wanted.datasets.contains_key(name))
            .collect();
        // What is below comes first.
        for (name, there) in others.into_iter().rev() {
            if self.allow.destroys(name) {
                match self.destroyable(name, there) {
                    Ok(change) => self.changes.push((Phase::Destroyed, change)),
                    Err(reason) => self.conflict(name, reason),
                }
            } else {
                self.unmanaged.push(Unmanaged::Dataset {
                    dataset: name.to_owned(),
                    used: there.used,
                });
            }
        }
    }

    fn destroyable(&self, name: &str, there: &ObservedDataset) -> Result<Change, String> {
        let below = format!("{name}/");
        let mut children = self.observed.datasets.keys();
        let is_kept = |child: &&String| child.starts_with(&below) && !self.allow.destroys(child);
        if let Some(child) = children.find(is_kept) {
            return Err(format!("{child} is below it and not to be destroyed"));
        }
        let wanted = self.wanted.datasets.keys();
        if let Some(child) = wanted.into_iter().find(|child| child.starts_with(&below)) {
            return Err(format!("{child} of the layout is below it"));
        }
        let Some(dependents) = &there.dependents else {
            return Err(String::from("nobody looked at what depends on it"));
        };
        if let Some(snapshot) = dependents.held.first() {
            return Err(format!("its snapshot {snapshot} is held"));
        }
        if let Some(snapshot) = dependents.cloned.first() {
            return Err(format!("its snapshot {snapshot} has a clone"));
        }
        if dependents.mounted {
            return Err(String::from("it is mounted"));
        }
        let action = Action::DestroyDataset {
            dataset: name.to_owned(),
            guid: there.guid,
            snapshots: dependents.snapshots.clone(),
        };
        let reason = format!("{} bytes in use are lost", there.used);
        Ok(Change::dangerous(action, Danger::Destructive, reason))
    }
}

/// When a property is set.
fn phase(prop: Option<Prop>, from: Option<&str>, to: &str) -> Phase {
    let number = |text: &str| text.parse::<u64>().unwrap_or_default();
    let (from, to) = (from.map_or(0, number), number(to));
    match prop {
        // 0 is no quota.
        Some(Prop::Quota | Prop::RefQuota) => match to.wrapping_sub(1) >= from.wrapping_sub(1) {
            true => Phase::Looser,
            false => Phase::Tighter,
        },
        Some(Prop::FilesystemLimit | Prop::SnapshotLimit) => match to >= from {
            true => Phase::Looser,
            false => Phase::Tighter,
        },
        Some(Prop::Reservation | Prop::RefReservation) => match to <= from {
            true => Phase::Looser,
            false => Phase::Tighter,
        },
        _ => Phase::Properties,
    }
}
