//! Rows as serde's maps.

use super::row::{Row, RowName};
use crate::props::{Prop, PropValue};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::collections::BTreeMap;

/// A property's value: numbers stay numbers, everything else is text as `zfs get -p` has it.
struct Shown(PropValue);

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            PropValue::Number(number) => serializer.serialize_u64(*number),
            PropValue::Names(names) => names.serialize(serializer),
            PropValue::Guids(guids) => guids.serialize(serializer),
            other => serializer.collect_str(other),
        }
    }
}

/// `{"name", "type", "kind", "guid", "createtxg", "properties", "user"}`: `type` is `dataset`,
/// `snapshot` or `bookmark`, and `kind` is `filesystem` or `volume`. `guid` and `createtxg` are there
/// if the kernel told them, the other two have what was asked for and has a value.
impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let columns = self.columns();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", self.name().as_str())?;
        let kind = match self.name() {
            RowName::Dataset(_) => "dataset",
            RowName::Snapshot(_) => "snapshot",
            RowName::Bookmark(_) => "bookmark",
        };
        map.serialize_entry("type", kind)?;
        map.serialize_entry("kind", &self.kind().to_string())?;
        if let Some(stats) = self.stats() {
            map.serialize_entry("guid", &stats.guid)?;
            map.serialize_entry("createtxg", &stats.create_txg)?;
        }
        let value = |prop: Prop| Some((prop.name(), Shown(self.get(prop)?)));
        let native: BTreeMap<&str, Shown> = columns.native().filter_map(value).collect();
        map.serialize_entry("properties", &native)?;
        let user: BTreeMap<&str, &str> = match self.properties() {
            Some(properties) => properties
                .user_properties()
                .map(|property| (property.name, property.value))
                .collect(),
            None => columns
                .user
                .iter()
                .filter_map(|name| Some((name.as_str(), self.user(name)?)))
                .collect(),
        };
        map.serialize_entry("user", &user)?;
        map.end()
    }
}
