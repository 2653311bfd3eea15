//! Plans over a world that is made up: whatever there is and whatever is wanted.

use std::collections::BTreeMap;

use proptest::prelude::*;
use zfs_core::pool::VdevClass;
use zfs_core::props::{EncryptionAlgorithm, Prop};

use crate::Tenant;
use crate::layout::check::{parent, pool_of};
use crate::layout::observed::{
    Dependents, ObservedDataset, ObservedDevice, ObservedEncryption, ObservedPool,
    ObservedProperty, ObservedVdev,
};
use crate::layout::{
    Action, Allow, DatasetLayout, DeviceMap, Layout, Observed, Plan, PoolLayout, PropertyValue,
    VdevLayout,
};

/// A ZFS of the simplest kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct World {
    pools: BTreeMap<String, ObservedPool>,
    datasets: BTreeMap<String, Made>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Made {
    volume: Option<u64>,
    /// The cipher, if it has a key of its own.
    cipher: Option<EncryptionAlgorithm>,
    unlocked: bool,
    /// What is set on it.
    own: BTreeMap<String, String>,
}

const PROPERTIES: [&str; 5] = ["sync", "compression", "recordsize", "quota", "helix:tier"];

fn default_of(property: &str) -> Option<&'static str> {
    Some(match property {
        "sync" => "standard",
        "compression" => "on",
        "recordsize" => "131072",
        "quota" => "0",
        _ => return None,
    })
}

fn is_inherited(property: &str) -> bool {
    Prop::from_name(property).is_none_or(Prop::is_inheritable)
}

impl World {
    fn property(&self, name: &str, property: &str) -> Option<ObservedProperty> {
        if let Some(value) = self.datasets.get(name)?.own.get(property) {
            let value = value.clone();
            return Some(ObservedProperty { value, own: true });
        }
        let above = parent(name).filter(|_| is_inherited(property));
        let value = match above.and_then(|above| self.property(above, property)) {
            Some(above) => above.value,
            None => default_of(property)?.to_owned(),
        };
        Some(ObservedProperty { value, own: false })
    }

    fn encryption(&self, name: &str) -> Option<ObservedEncryption> {
        let made = self.datasets.get(name)?;
        match made.cipher {
            Some(cipher) => Some(ObservedEncryption {
                root: name.to_owned(),
                cipher: Some(cipher),
                unlocked: made.unlocked,
            }),
            None => self.encryption(parent(name)?),
        }
    }

    fn observe(&self) -> Observed {
        let properties = PROPERTIES.into_iter().chain([Tenant::PROPERTY]);
        let datasets = self.datasets.iter().map(|(name, made)| {
            let observed = ObservedDataset {
                volume: made.volume,
                encryption: self.encryption(name),
                properties: properties
                    .clone()
                    .filter_map(|property| {
                        Some((property.to_owned(), self.property(name, property)?))
                    })
                    .collect(),
                dependents: Some(Dependents::default()),
                ..ObservedDataset::default()
            };
            (name.clone(), observed)
        });
        Observed {
            pools: self.pools.clone(),
            datasets: datasets.collect(),
        }
    }

    /// What the kernel would do, and what it would refuse.
    fn make(&mut self, action: &Action, layout: &Layout) {
        match action {
            Action::CreatePool { pool, .. } => {
                let wanted = layout.wanted().unwrap();
                let root = &wanted.datasets[pool.as_str()];
                let vdevs = wanted.pools[pool.as_str()].vdevs.iter();
                let made = ObservedPool {
                    vdevs: vdevs.map(|(class, vdev)| made(*class, vdev)).collect(),
                    properties: wanted.pools[pool.as_str()]
                        .properties
                        .iter()
                        .map(|(name, value)| ((*name).to_owned(), value.clone()))
                        .collect(),
                };
                assert!(self.pools.insert(pool.clone(), made).is_none(), "{pool}");
                let root = Made {
                    volume: None,
                    cipher: root.encryption.map(|(_, cipher)| cipher),
                    unlocked: true,
                    own: root.values(),
                };
                self.datasets.insert(pool.clone(), root);
            }
            Action::AddVdev { pool, class, vdev } => {
                let pool = self.pools.get_mut(pool).unwrap();
                for device in vdev.devices() {
                    assert!(pool.vdevs.iter().all(|vdev| !vdev.has(device)), "{device}");
                }
                pool.vdevs.push(made(*class, vdev));
            }
            Action::SetPoolProperty {
                pool, property, to, ..
            } => {
                let pool = self.pools.get_mut(pool).unwrap();
                pool.properties.insert(property.clone(), to.clone());
            }
            Action::LoadKey { dataset, .. } => {
                let made = self.datasets.get_mut(dataset).unwrap();
                assert!(made.cipher.is_some() && !made.unlocked, "{dataset}");
                made.unlocked = true;
            }
            Action::CreateDataset {
                dataset,
                volume,
                key,
                tenant,
                properties,
            } => {
                let above = parent(dataset).unwrap();
                assert!(self.datasets[above].volume.is_none(), "{dataset}");
                if key.is_none() {
                    let encryption = self.encryption(above);
                    assert!(encryption.is_none_or(|above| above.unlocked), "{dataset}");
                }
                assert_eq!(properties.contains_key(Tenant::PROPERTY), *tenant);
                let wanted = layout.wanted().unwrap();
                let cipher = wanted.datasets[dataset.as_str()].encryption;
                let new = Made {
                    volume: *volume,
                    cipher: cipher.map(|(_, cipher)| cipher),
                    unlocked: true,
                    own: properties.clone(),
                };
                assert!(self.datasets.insert(dataset.clone(), new).is_none());
            }
            Action::SetProperty {
                dataset,
                property,
                from,
                to,
            } => {
                let is = match property.as_str() {
                    "volsize" => self.datasets[dataset].volume.map(|size| size.to_string()),
                    property => self.property(dataset, property).map(|is| is.value),
                };
                // Of what is inherited, another change may have been before.
                if !is_inherited(property) {
                    assert_eq!(is, *from, "{dataset} {property}");
                }
                let made = self.datasets.get_mut(dataset).unwrap();
                match property.as_str() {
                    "volsize" => made.volume = to.parse().ok(),
                    _ => drop(made.own.insert(property.clone(), to.clone())),
                }
            }
            Action::InheritProperty {
                dataset, property, ..
            } => {
                let made = self.datasets.get_mut(dataset).unwrap();
                assert!(made.own.remove(property).is_some(), "{dataset} {property}");
            }
            Action::DestroyDataset { dataset, .. } => {
                let below = format!("{dataset}/");
                assert!(self.datasets.keys().all(|name| !name.starts_with(&below)));
                assert!(self.datasets.remove(dataset).is_some(), "{dataset}");
            }
            Action::RemoveVdev { pool, guid, .. } => {
                let pool = self.pools.get_mut(pool).unwrap();
                pool.vdevs.retain(|vdev| vdev.guid != *guid);
            }
        }
    }
}

fn made(class: VdevClass, vdev: &VdevLayout) -> ObservedVdev {
    let devices = vdev.devices();
    ObservedVdev {
        class,
        kind: vdev.kind().to_owned(),
        guid: devices[0].bytes().map(u64::from).sum(),
        ashift: Some(12),
        devices: devices.iter().cloned().map(ObservedDevice::Named).collect(),
    }
}

fn devices() -> DeviceMap {
    ('a'..='z').fold(DeviceMap::new(), |map, name| {
        map.device(name, format!("/dev/{name}"))
    })
}

/// One of the pools that there may be. Some devices are used differently by several of them.
fn pool() -> impl Strategy<Value = PoolLayout> {
    let mirror = |a: &str, b: &str| VdevLayout::Mirror(vec![a.to_owned(), b.to_owned()]);
    let data = vec![mirror("a", "b"), mirror("c", "d"), mirror("c", "e")];
    let root = prop_oneof![Just(None), Just(Some(String::from("k")))];
    (
        proptest::sample::subsequence(data, 1..=2),
        proptest::sample::subsequence(vec![String::from("f"), String::from("g")], 0..=2),
        any::<bool>(),
        any::<bool>(),
        root,
        properties(),
    )
        .prop_filter_map("devices occur once", move |parts| {
            let (data, spares, log, autotrim, key, properties) = parts;
            let pool = PoolLayout {
                ashift: Some(12),
                data,
                log: log.then(|| mirror("l", "m")).into_iter().collect(),
                spares,
                properties: [(String::from("autotrim"), PropertyValue::from(autotrim))].into(),
                root: DatasetLayout {
                    key,
                    properties,
                    ..DatasetLayout::default()
                },
                ..PoolLayout::default()
            };
            let mut names: Vec<&String> = pool.data.iter().flat_map(VdevLayout::devices).collect();
            let count = names.len();
            names.sort();
            names.dedup();
            (names.len() == count).then_some(pool)
        })
}

fn properties() -> impl Strategy<Value = BTreeMap<String, PropertyValue>> {
    let one = prop_oneof![
        (
            Just("sync"),
            prop_oneof![Just("always"), Just("standard"), Just("inherit")]
        ),
        (
            Just("compression"),
            prop_oneof![Just("lz4"), Just("zstd"), Just("inherit")]
        ),
        (
            Just("helix:tier"),
            prop_oneof![Just("gold"), Just("tin"), Just("inherit")]
        ),
        (
            Just("quota"),
            prop_oneof![Just("none"), Just("1G"), Just("2G")]
        ),
        (Just("recordsize"), prop_oneof![Just("16K"), Just("1M")]),
    ];
    prop::collection::btree_map(
        one.clone().prop_map(|(name, _)| name.to_owned()),
        Just(()),
        0..4,
    )
    .prop_flat_map(move |names| {
        let values = prop::collection::vec(one.clone(), 12);
        values.prop_map(move |values| {
            values
                .into_iter()
                .filter(|(name, _)| names.contains_key(*name))
                .map(|(name, value)| (name.to_owned(), PropertyValue::from(value)))
                .collect()
        })
    })
}

/// Datasets with all that is above them. Volumes have no quota, and nothing below them.
fn layout() -> impl Strategy<Value = Layout> {
    let names = vec![
        "p/a", "p/a/b", "p/a/b/c", "p/a-b", "p/v", "p/t", "p/t/x", "p/u",
    ];
    let datasets = proptest::sample::subsequence(names, 0..=8).prop_flat_map(|names| {
        let one = (properties(), any::<bool>(), 1_u64..4);
        prop::collection::vec(one, names.len()).prop_map(move |all| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .zip(all)
                .collect::<BTreeMap<_, _>>()
        })
    });
    (pool(), datasets).prop_map(|(pool, datasets)| {
        let mut layout = Layout::new();
        for (name, (properties, own_key, size)) in &datasets {
            let above = parent(name).unwrap();
            let has =
                |name| layout.datasets.contains_key(name) || layout.tenants.contains_key(name);
            if above != "p" && !has(above) {
                continue;
            }
            let mut dataset = DatasetLayout {
                properties: properties.clone(),
                key: own_key.then(|| String::from("k")),
                ..DatasetLayout::default()
            };
            if name == "p/v" {
                dataset.volume = Some(PropertyValue::from(size << 20));
                dataset.properties.remove("quota");
                dataset.properties.remove("recordsize");
            }
            if matches!(name.as_str(), "p/t" | "p/u") {
                dataset.key = Some(String::from("k"));
                layout.tenants.insert(name.clone(), dataset);
            } else {
                layout.datasets.insert(name.clone(), dataset);
            }
        }
        layout.pools.insert(String::from("p"), pool);
        layout
    })
}

fn plan(layout: &Layout, world: &World, allow: &Allow) -> Plan {
    Plan::compute(layout, &devices(), &world.observe(), allow).unwrap()
}

/// Makes the first `count` changes of a plan.
fn apply(world: &mut World, plan: &Plan, count: usize) {
    for change in plan.changes().iter().take(count) {
        world.make(change.action(), &plan.layout);
    }
}

/// A world in which other layouts were applied, and somebody has made changes by hand.
fn world() -> impl Strategy<Value = World> {
    let by_hand = prop::collection::vec(
        (
            any::<prop::sample::Index>(),
            prop::sample::select(&PROPERTIES[..]),
            any::<bool>(),
        ),
        0..6,
    );
    (prop::collection::vec(layout(), 0..3), by_hand).prop_map(|(layouts, by_hand)| {
        let mut world = World::default();
        for layout in layouts {
            let plan = plan(&layout, &world, &Allow::nothing());
            // What a conflict makes impossible is nothing that the kernel would do.
            if plan.conflicts().is_empty() {
                apply(&mut world, &plan, usize::MAX);
            }
        }
        let names: Vec<String> = world.datasets.keys().cloned().collect();
        for (index, property, set) in by_hand {
            if names.is_empty() {
                break;
            }
            let made = world.datasets.get_mut(index.get(&names)).unwrap();
            made.unlocked = set;
            match (set, property) {
                (true, "recordsize" | "quota") if made.volume.is_some() => {}
                (true, "sync") => drop(made.own.insert(property.into(), "disabled".into())),
                (true, "compression") => drop(made.own.insert(property.into(), "off".into())),
                (true, "helix:tier") => drop(made.own.insert(property.into(), "lead".into())),
                (true, _) => drop(made.own.insert(property.into(), (5_u64 << 30).to_string())),
                (false, _) => drop(made.own.remove(property)),
            }
        }
        world
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_applied_is_not_planned_again(layout in layout(), mut world in world()) {
        let first = plan(&layout, &world, &Allow::nothing());
        prop_assume!(first.conflicts().is_empty());
        apply(&mut world, &first, usize::MAX);
        let second = plan(&layout, &world, &Allow::nothing());
        prop_assert!(second.is_empty(), "{:?}", second.changes());
        prop_assert_eq!(second.conflicts(), &[]);
    }

    #[test]
    fn what_died_half_way_ends_the_same(
        layout in layout(), world in world(), at in any::<prop::sample::Index>(),
    ) {
        let whole = plan(&layout, &world, &Allow::nothing());
        prop_assume!(whole.conflicts().is_empty() && !whole.is_empty());
        let mut finished = world.clone();
        apply(&mut finished, &whole, usize::MAX);
        let mut killed = world;
        apply(&mut killed, &whole, at.index(whole.changes().len()));
        let rest = plan(&layout, &killed, &Allow::nothing());
        apply(&mut killed, &rest, usize::MAX);
        prop_assert_eq!(killed, finished);
    }

    #[test]
    fn nothing_is_lost_that_was_not_named(layout in layout(), before in world()) {
        let plan = plan(&layout, &before, &Allow::nothing());
        let mut after = before.clone();
        if plan.conflicts().is_empty() {
            apply(&mut after, &plan, usize::MAX);
        }
        for (name, made) in &before.datasets {
            let now = &after.datasets[name];
            prop_assert_eq!((made.cipher, made.volume <= now.volume), (now.cipher, true));
            let named = layout.wanted().unwrap();
            let named = named.datasets.get(name.as_str());
            for (property, value) in &made.own {
                if named.is_none_or(|named| !named.properties.contains_key(property.as_str())) {
                    prop_assert_eq!(now.own.get(property), Some(value));
                }
            }
        }
        for (name, pool) in &before.pools {
            for vdev in &pool.vdevs {
                prop_assert!(after.pools[name].vdevs.contains(vdev));
            }
        }
        for change in plan.changes() {
            let action = change.action();
            let takes = matches!(action, Action::DestroyDataset { .. } | Action::RemoveVdev { .. });
            prop_assert!(!takes, "{:?}", action);
        }
    }

    #[test]
    fn only_what_is_named_and_not_wanted_is_destroyed(
        layout in layout(), mut world in world(), named in any::<u8>(),
    ) {
        let names: Vec<String> = world.datasets.keys().cloned().collect();
        let is_named = |at: usize| named & (1 << (at % 8)) != 0;
        let allow = names
            .iter()
            .enumerate()
            .filter(|(at, _)| is_named(*at))
            .fold(Allow::nothing(), |allow, (_, name)| allow.destroy(name));
        let plan = plan(&layout, &world, &allow);
        let wanted = layout.wanted().unwrap();
        for change in plan.changes() {
            if let Action::DestroyDataset { dataset, .. } = change.action() {
                prop_assert!(allow.destroys(dataset));
                prop_assert!(!wanted.datasets.contains_key(dataset.as_str()));
                prop_assert_eq!(change.danger(), crate::layout::Danger::Destructive);
            }
        }
        // The model checks that children go before their parents.
        if plan.conflicts().is_empty() {
            apply(&mut world, &plan, usize::MAX);
            for name in names.iter().enumerate().filter(|(at, _)| is_named(*at)).map(|(_, name)| name) {
                prop_assert!(!world.datasets.contains_key(name));
            }
        }
    }

    #[test]
    fn all_that_is_there_is_named_or_told(layout in layout(), world in world()) {
        let plan = plan(&layout, &world, &Allow::nothing());
        let wanted = layout.wanted().unwrap();
        for name in world.datasets.keys() {
            let told = plan.unmanaged().iter().any(|unmanaged| matches!(
                unmanaged,
                crate::layout::Unmanaged::Dataset { dataset, .. } if dataset == name
            ));
            prop_assert_eq!(told, !wanted.datasets.contains_key(name.as_str()));
            prop_assert_eq!(pool_of(name), "p");
        }
    }

    #[test]
    fn the_same_plan_for_the_same_world(layout in layout(), world in world()) {
        let one = plan(&layout, &world, &Allow::nothing());
        let other = plan(&layout, &world, &Allow::nothing());
        prop_assert_eq!(one.changes(), other.changes());
        prop_assert_eq!(one.conflicts(), other.conflicts());
        let json = serde_json::to_value(&one).unwrap();
        prop_assert_eq!(json["changes"].as_array().unwrap().len(), one.changes().len());
    }
}
