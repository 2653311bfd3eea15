//! The JSON of a pool's state, field by field: [`super`] describes it to users.

use super::advice::Advice;
use super::errors::DamagedObject;
use super::status::PoolStatus;
use super::vdev::{Vdev, VdevKind};
use serde::ser::{Serialize, SerializeStruct, Serializer};

/// Grows when a field changes its meaning or goes. New fields and words are no change.
const SCHEMA: u32 = 1;

impl Serialize for PoolStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut json = serializer.serialize_struct("PoolStatus", 23)?;
        json.serialize_field("schema", &SCHEMA)?;
        json.serialize_field("name", &self.name)?;
        json.serialize_field("guid", &self.guid.to_string())?;
        json.serialize_field("state", &self.state)?;
        json.serialize_field("health", &self.health)?;
        json.serialize_field("fault", &self.fault.map(|errno| errno.to_string()))?;
        json.serialize_field("suspended", &self.suspended)?;
        json.serialize_field("version", &self.version)?;
        json.serialize_field("txg", &self.txg)?;
        json.serialize_field("hostid", &self.hostid)?;
        json.serialize_field("hostname", &self.hostname)?;
        json.serialize_field("altroot", &self.altroot.as_deref().map(text))?;
        json.serialize_field("error_count", &self.error_count)?;
        json.serialize_field("scan", &self.scan)?;
        json.serialize_field("checkpoint", &self.checkpoint)?;
        json.serialize_field("removal", &self.removal)?;
        json.serialize_field("expansion", &self.expansion)?;
        json.serialize_field("unsupported_features", &self.unsupported_features)?;
        json.serialize_field("read_at", &self.read_at)?;
        json.serialize_field("features", &self.features)?;
        json.serialize_field("root", &self.root)?;
        json.serialize_field("spares", &self.spares)?;
        json.serialize_field("caches", &self.caches)?;
        json.end()
    }
}

impl Serialize for Vdev {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut json = serializer.serialize_struct("Vdev", 23)?;
        json.serialize_field("name", &self.to_string())?;
        json.serialize_field("kind", self.kind.as_str())?;
        match self.kind {
            VdevKind::Raidz { parity } => json.serialize_field("parity", &parity)?,
            VdevKind::Draid {
                parity,
                data,
                spares,
            } => {
                json.serialize_field("parity", &parity)?;
                json.serialize_field("data", &data)?;
                json.serialize_field("spares", &spares)?;
            }
            _ => {}
        }
        json.serialize_field("class", &self.class)?;
        json.serialize_field("id", &self.id)?;
        json.serialize_field("guid", &self.guid.to_string())?;
        json.serialize_field("path", &self.path.as_deref().map(text))?;
        json.serialize_field("devid", &self.devid)?;
        json.serialize_field("phys_path", &self.phys_path)?;
        json.serialize_field("whole_disk", &self.whole_disk)?;
        json.serialize_field("not_present", &self.not_present)?;
        json.serialize_field("ashift", &self.ashift)?;
        json.serialize_field("asize", &self.asize)?;
        json.serialize_field("health", &self.health())?;
        json.serialize_field("state", &self.state)?;
        json.serialize_field("aux", &self.aux)?;
        json.serialize_field("stats", &self.stats)?;
        json.serialize_field("rebuild", &self.rebuild)?;
        json.serialize_field("expanding", &self.expanding)?;
        json.serialize_field("repair", &self.repair)?;
        json.serialize_field("children", &self.children)?;
        json.end()
    }
}

impl Serialize for Advice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut json = serializer.serialize_struct("Advice", 7)?;
        json.serialize_field("code", &self.code)?;
        json.serialize_field("problem", &self.code.is_problem())?;
        json.serialize_field("message_id", &self.code.message_id())?;
        json.serialize_field("status", self.code.status())?;
        json.serialize_field("action", self.code.action())?;
        json.serialize_field("errata", &self.errata)?;
        json.serialize_field("features", &self.features)?;
        json.end()
    }
}

impl Serialize for DamagedObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut json = serializer.serialize_struct("DamagedObject", 5)?;
        json.serialize_field("dataset_id", &self.dataset_id)?;
        json.serialize_field("dataset", &self.dataset)?;
        json.serialize_field("object", &self.object)?;
        json.serialize_field("path", &self.path.as_deref().map(text))?;
        json.serialize_field("blocks", &self.blocks)?;
        json.end()
    }
}

/// A path as text: JSON has no bytes, and what is not UTF-8 is replaced.
fn text(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use crate::nv::{NvMap, Value};
    use crate::pool::{DamagedBlock, DamagedObject, PoolReport, PoolStatus, StatusCode};

    fn report() -> serde_json::Value {
        let mut words = vec![0_u64; 48];
        words[zfs_core_sys::ioctl::VS_STATE] = 99;
        let mut raidz = NvMap::new();
        raidz.insert(c"type", c"raidz");
        raidz.insert(c"id", 0_u64);
        raidz.insert(c"nparity", 2_u64);
        raidz.insert(c"guid", u64::MAX);
        raidz.insert(c"vdev_stats", words);
        let mut root = NvMap::new();
        root.insert(c"type", c"root");
        root.insert(c"guid", 1_u64);
        root.insert(c"children", Value::ListArray(vec![raidz]));
        let mut config = NvMap::new();
        config.insert(c"version", 5000_u64);
        config.insert(c"name", c"tank");
        config.insert(c"state", 0_u64);
        config.insert(c"txg", 4_u64);
        config.insert(c"pool_guid", 1_u64);
        config.insert(c"vdev_tree", root);
        let fault = Some(crate::Errno::ENXIO);
        let report = PoolReport {
            status: PoolStatus::read(&config, "/mnt".into(), fault).unwrap(),
            advice: StatusCode::MissingDevice.into(),
            error_log: Some(vec![DamagedObject {
                dataset_id: 271,
                dataset: Some("tank/home".into()),
                object: 42,
                path: Some("/file".into()),
                blocks: vec![DamagedBlock { level: -1, id: 3 }],
            }]),
        };
        serde_json::to_value(report).unwrap()
    }

    #[test]
    fn the_form_stays() {
        let json = report();
        let at = |path: &str| json.pointer(path).unwrap().clone();
        for (path, expected) in [
            ("/schema", "1"),
            ("/name", r#""tank""#),
            ("/guid", r#""1""#),
            ("/state", r#""active""#),
            ("/health", r#""FAULTED""#),
            ("/fault", r#""ENXIO""#),
            ("/suspended", "null"),
            ("/altroot", r#""/mnt""#),
            ("/scan", "null"),
            ("/root/name", r#""root""#),
            ("/root/children/0/name", r#""raidz2-0""#),
            ("/root/children/0/kind", r#""raidz""#),
            ("/root/children/0/parity", "2"),
            ("/root/children/0/class", r#""data""#),
            ("/root/children/0/guid", r#""18446744073709551615""#),
            ("/root/children/0/state", r#"{"unknown":99}"#),
            ("/root/children/0/health", r#""UNKNOWN""#),
            ("/root/children/0/aux", r#""none""#),
            ("/root/children/0/stats/ops/read", "0"),
            ("/root/children/0/stats/trim/state", r#""none""#),
            ("/root/children/0/repair", "null"),
            ("/advice/code", r#""missing_device""#),
            ("/advice/problem", "true"),
            ("/advice/message_id", r#""ZFS-8000-2Q""#),
            ("/error_log/0/dataset", r#""tank/home""#),
            ("/error_log/0/path", r#""/file""#),
            ("/error_log/0/blocks/0/level", "-1"),
        ] {
            assert_eq!(at(path).to_string(), expected, "{path}");
        }
    }

    #[test]
    fn a_status_has_no_other_keys_than_these() {
        let json = report();
        let keys = |path: &str| -> Vec<String> {
            let object = json.pointer(path).unwrap().as_object().unwrap();
            object.keys().cloned().collect()
        };
        let mut expected = vec![
            "schema",
            "name",
            "guid",
            "state",
            "health",
            "fault",
            "suspended",
            "version",
            "txg",
            "hostid",
            "hostname",
            "altroot",
            "error_count",
            "scan",
            "checkpoint",
            "removal",
            "expansion",
            "unsupported_features",
            "read_at",
            "features",
            "root",
            "spares",
            "caches",
            "advice",
            "error_log",
        ];
        expected.sort_unstable();
        assert_eq!(keys(""), expected);
        let mut expected = vec![
            "name",
            "kind",
            "parity",
            "class",
            "id",
            "guid",
            "path",
            "devid",
            "phys_path",
            "whole_disk",
            "not_present",
            "ashift",
            "asize",
            "health",
            "state",
            "aux",
            "stats",
            "rebuild",
            "expanding",
            "repair",
            "children",
        ];
        expected.sort_unstable();
        assert_eq!(keys("/root/children/0"), expected);
    }
}
