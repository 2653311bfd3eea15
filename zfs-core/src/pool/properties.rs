use crate::nv::{NvMap, Value};
use std::path::Path;

/// What a pool does when I/O fails beyond what its redundancy makes up for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailMode {
    /// All I/O waits until the pool is cleared.
    #[default]
    Wait,
    /// New writes fail with `EIO`, and reads go on as far as they can.
    Continue,
    /// The kernel panics.
    Panic,
    /// A number that this crate does not know.
    Unknown(u64),
}

/// Where the value of a pool property comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[doc(alias = "zprop_source_t")]
#[non_exhaustive]
pub enum PoolPropertySource {
    /// Measured, or fixed: nobody set it.
    Computed,
    /// The default.
    Default,
    /// Set on the pool.
    Local,
    /// A number that this crate does not know.
    Unknown(u64),
}

/// The value of a pool property as the kernel reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolPropertyValue {
    /// Bytes, a count, a percentage, or the number that stands for a word.
    Number(u64),
    /// Text.
    Text(String),
}

/// A pool property.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolProperty {
    /// Its value.
    pub value: PoolPropertyValue,
    /// Where that comes from.
    pub source: PoolPropertySource,
}

/// The properties of a pool at one moment.
///
/// The kernel leaves out those that are not set; their methods then return the default. The
/// properties `feature@…` are in [`PoolStatus::features`](field@super::PoolStatus::features).
#[derive(Clone, Debug, PartialEq, Eq)]
#[doc(alias = "zpool_prop_t")]
pub struct PoolProperties(Vec<(String, PoolProperty)>);

impl PoolProperties {
    pub(super) fn read(list: &NvMap) -> Result<Self, String> {
        list.iter()
            .map(|(name, value)| {
                let name = name.to_string_lossy().into_owned();
                let property = read_one(value).ok_or_else(|| format!("a strange {name}"))?;
                Ok((name, property))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// A property by the name that `zpool get` has for it, if the kernel reports it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&PoolProperty> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, property)| property)
    }

    /// Where the value of a property comes from. One that the kernel does not report has its
    /// default.
    #[must_use]
    pub fn source(&self, name: &str) -> PoolPropertySource {
        self.get(name)
            .map_or(PoolPropertySource::Default, |property| property.source)
    }

    /// All that the kernel reports, user properties (since 2.2) among them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &PoolProperty)> {
        self.0
            .iter()
            .map(|(name, property)| (name.as_str(), property))
    }

    /// A property that is a number, if the kernel reports it.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.get(name)?.value {
            PoolPropertyValue::Number(number) => Some(number),
            PoolPropertyValue::Text(_) => None,
        }
    }

    /// A property that is text, if the kernel reports it.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match &self.get(name)?.value {
            PoolPropertyValue::Text(text) => Some(text),
            PoolPropertyValue::Number(_) => None,
        }
    }

    fn flag(&self, name: &str, default: bool) -> bool {
        self.number(name).map_or(default, |number| number != 0)
    }

    /// `size`: bytes that the pool can hold, parity included. `None` when it cannot be opened, as
    /// with the other figures below.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.number("size")
    }

    /// `allocated`: bytes in use.
    #[must_use]
    pub fn allocated(&self) -> Option<u64> {
        self.number("allocated")
    }

    /// `free`: bytes not in use.
    #[must_use]
    pub fn free(&self) -> Option<u64> {
        self.number("free")
    }

    /// `freeing`: bytes of destroyed datasets that are yet to be freed.
    #[must_use]
    pub fn freeing(&self) -> Option<u64> {
        self.number("freeing")
    }

    /// `leaked`: bytes that could not be freed because of damage.
    #[must_use]
    pub fn leaked(&self) -> Option<u64> {
        self.number("leaked")
    }

    /// `capacity`: the part that is in use, in percent.
    #[must_use]
    pub fn capacity(&self) -> Option<u64> {
        self.number("capacity")
    }

    /// `fragmentation`: how broken up the free space is, in percent. `None` also when the kernel
    /// does not know.
    #[must_use]
    pub fn fragmentation(&self) -> Option<u64> {
        self.number("fragmentation")
            .filter(|&percent| percent != u64::MAX)
    }

    /// `expandsize`: bytes that the devices have grown by and that the pool does not use yet.
    #[must_use]
    pub fn expandsize(&self) -> u64 {
        self.number("expandsize").unwrap_or_default()
    }

    /// `dedupratio`, in hundredths: 100 when nothing is deduplicated, 250 for 2.50x.
    #[must_use]
    pub fn dedupratio(&self) -> Option<u64> {
        self.number("dedupratio")
    }

    /// `checkpoint`: bytes that only the checkpoint uses; 0 also when there is none.
    #[must_use]
    pub fn checkpoint(&self) -> u64 {
        self.number("checkpoint").unwrap_or_default()
    }

    /// `guid`: the pool's identity.
    #[must_use]
    pub fn guid(&self) -> Option<u64> {
        self.number("guid")
    }

    /// `load_guid`: an identity that is new with each import.
    #[must_use]
    pub fn load_guid(&self) -> Option<u64> {
        self.number("load_guid")
    }

    /// `version`: that of the format, 5000 for pools with features.
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        self.number("version")
    }

    /// `readonly`: whether the pool was imported read-only.
    #[must_use]
    pub fn readonly(&self) -> bool {
        self.flag("readonly", false)
    }

    /// `ashift`: the base-2 logarithm of the sector size for new devices. `None` when each device
    /// tells its own.
    #[must_use]
    pub fn ashift(&self) -> Option<u64> {
        self.number("ashift").filter(|&ashift| ashift != 0)
    }

    /// `autotrim`: whether what is freed is trimmed.
    #[must_use]
    pub fn autotrim(&self) -> bool {
        self.flag("autotrim", false)
    }

    /// `autoexpand`: whether the pool grows with its devices.
    #[must_use]
    pub fn autoexpand(&self) -> bool {
        self.flag("autoexpand", false)
    }

    /// `autoreplace`: whether a new device in the place of an old one replaces it.
    #[must_use]
    pub fn autoreplace(&self) -> bool {
        self.flag("autoreplace", false)
    }

    /// `delegation`: whether permissions can be delegated (`zfs allow`).
    #[must_use]
    pub fn delegation(&self) -> bool {
        self.flag("delegation", true)
    }

    /// `listsnapshots`: whether `zfs list` shows snapshots.
    #[must_use]
    pub fn listsnapshots(&self) -> bool {
        self.flag("listsnapshots", false)
    }

    /// `multihost`: whether the pool guards itself against an import by another host.
    #[must_use]
    pub fn multihost(&self) -> bool {
        self.flag("multihost", false)
    }

    /// `failmode`: what the pool does when I/O fails for good.
    #[must_use]
    pub fn failmode(&self) -> FailMode {
        match self.number("failmode") {
            None | Some(0) => FailMode::Wait,
            Some(1) => FailMode::Continue,
            Some(2) => FailMode::Panic,
            Some(raw) => FailMode::Unknown(raw),
        }
    }

    /// `comment`.
    #[must_use]
    pub fn comment(&self) -> Option<&str> {
        self.text("comment")
    }

    /// `compatibility`: the files that say which features may be enabled, `legacy`, or `None` for
    /// all of them.
    #[must_use]
    pub fn compatibility(&self) -> Option<&str> {
        self.text("compatibility").filter(|&files| files != "off")
    }

    /// `cachefile`: where the configuration is kept for the next boot, `none`, or `None` for the
    /// usual place.
    #[must_use]
    pub fn cachefile(&self) -> Option<&str> {
        self.text("cachefile")
    }

    /// `bootfs`: the filesystem to boot from.
    #[must_use]
    pub fn bootfs(&self) -> Option<&str> {
        self.text("bootfs")
    }

    /// `altroot`: what is put before its mount points, for this import only.
    #[must_use]
    pub fn altroot(&self) -> Option<&Path> {
        self.text("altroot").map(Path::new)
    }
}

pub(super) fn read_one(value: &Value) -> Option<PoolProperty> {
    let property = value.as_list()?;
    let value = match property.get("value")? {
        Value::Uint64(number) => PoolPropertyValue::Number(*number),
        Value::String(text) => PoolPropertyValue::Text(text.to_string_lossy().into_owned()),
        _ => return None,
    };
    let source = match property.u64("source")? {
        1 => PoolPropertySource::Computed,
        2 => PoolPropertySource::Default,
        8 => PoolPropertySource::Local,
        raw => PoolPropertySource::Unknown(raw),
    };
    Some(PoolProperty { value, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn property(value: impl Into<Value>, source: u64) -> NvMap {
        let mut property = NvMap::new();
        property.insert(c"source", source);
        property.insert(c"value", value);
        property
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let props = PoolProperties::read(&NvMap::new()).unwrap();
        assert_eq!(
            (props.size(), props.ashift(), props.cachefile()),
            (None, None, None)
        );
        assert_eq!((props.delegation(), props.autotrim()), (true, false));
        assert_eq!(props.failmode(), FailMode::Wait);
        assert_eq!(props.source("autotrim"), PoolPropertySource::Default);
        assert_eq!(props.iter().count(), 0);
    }

    #[test]
    fn values_and_sources_are_typed() {
        let mut list = NvMap::new();
        list.insert(c"size", property(1_u64 << 30, 1));
        list.insert(c"failmode", property(1_u64, 8));
        list.insert(c"fragmentation", property(u64::MAX, 1));
        list.insert(c"comment", property(c"db", 8));
        list.insert(c"helix:tier", property(c"gold", 64));
        let props = PoolProperties::read(&list).unwrap();
        assert_eq!(props.size(), Some(1 << 30));
        assert_eq!(props.source("size"), PoolPropertySource::Computed);
        assert_eq!(props.failmode(), FailMode::Continue);
        assert_eq!(props.source("failmode"), PoolPropertySource::Local);
        assert_eq!(props.fragmentation(), None);
        assert_eq!(
            (props.comment(), props.number("comment")),
            (Some("db"), None)
        );
        assert_eq!(props.text("helix:tier"), Some("gold"));
        assert_eq!(props.source("helix:tier"), PoolPropertySource::Unknown(64));
    }

    #[test]
    fn absurd_answers_are_errors() {
        let mut list = NvMap::new();
        list.insert(c"size", 1_u64);
        assert!(PoolProperties::read(&list).is_err());
        list.insert(c"size", NvMap::new());
        assert!(PoolProperties::read(&list).is_err());
        list.insert(c"size", property(Value::Boolean, 1));
        assert!(PoolProperties::read(&list).is_err());
    }
}
