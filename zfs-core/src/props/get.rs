//! The properties of one dataset or snapshot.

use super::compression::Compression;
use super::index::{EncryptionAlgorithm, KeyFormat, KeyStatus, Sync};
use super::is_user_property;
use super::setting::{ReadOnly, RecordSize, Setting};
use super::table::{Form, Kinds, Prop};
use super::value::{PropValue, Ratio, Source};
use crate::error::{Error, Operation, Result};
use crate::list::DatasetKind;
use crate::name::{DatasetName, SnapshotName};
use crate::nv::{self, NvMap, Value};
use std::borrow::Cow;
use std::ffi::CStr;

/// The key of a value in a property's list.
const VALUE: &str = "value";
const SOURCE: &str = "source";

/// All properties of a dataset or a snapshot, as they were in one moment.
///
/// Sizes are bytes. A property that does not apply to this kind of dataset has no value; one that
/// was never set has its default, which is that of the loaded module where versions differ.
///
/// What belongs to the files rather than to the dataset is not here: see
/// [`Dataset::file_properties`](crate::Dataset::file_properties). Neither is whether it is mounted,
/// nor mount options that override a property for the time being: the kernel keeps those with the
/// mount.
#[derive(Clone, Debug, PartialEq)]
pub struct Properties {
    name: String,
    kind: DatasetKind,
    used: u64,
    referenced: u64,
    compress_ratio: Ratio,
    creation: u64,
    guid: u64,
    create_txg: u64,
    list: NvMap,
}

/// One user property.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserProperty<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its value.
    pub value: &'a str,
    /// Where the value comes from.
    pub source: Source,
}

impl Properties {
    /// Reads the answer about `name`, the full name of a dataset or a snapshot.
    pub(crate) fn from_nvmap(name: &str, list: NvMap) -> Result<Self> {
        let number = |prop: Prop| {
            list.list(prop.name())
                .and_then(|entry| entry.u64(VALUE))
                .ok_or_else(|| {
                    Error::protocol(
                        Operation::GetProperties,
                        name,
                        format!("no property {prop}"),
                    )
                })
        };
        let kind = u32::try_from(number(Prop::Type)?).unwrap_or(u32::MAX);
        Ok(Self {
            name: name.to_owned(),
            kind: DatasetKind::from_raw(kind),
            used: number(Prop::Used)?,
            referenced: number(Prop::Referenced)?,
            compress_ratio: Ratio::new(number(Prop::CompressRatio)?),
            creation: number(Prop::Creation)?,
            guid: number(Prop::Guid)?,
            create_txg: number(Prop::CreateTxg)?,
            list,
        })
    }

    /// Of a packed answer, the properties that `keep` wants by name; the others are as if they had
    /// never been set.
    pub(crate) fn some_of(name: &str, packed: &[u8], keep: impl Fn(&CStr) -> bool) -> Result<Self> {
        const BASICS: [Prop; 7] = [
            Prop::Type,
            Prop::Used,
            Prop::Referenced,
            Prop::CompressRatio,
            Prop::Creation,
            Prop::Guid,
            Prop::CreateTxg,
        ];
        let is_basic = |name: &CStr| BASICS.iter().any(|prop| prop.entry().name == name);
        let list = nv::decode_some(packed, |name| is_basic(name) || keep(name))
            .map_err(|error| Error::protocol(Operation::GetProperties, name, error))?;
        let mut properties = Self::from_nvmap(name, list)?;
        properties.list.retain(keep);
        Ok(properties)
    }

    /// The full name of the dataset or snapshot.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Filesystem or volume; for a snapshot, that of its dataset.
    #[must_use]
    pub fn kind(&self) -> DatasetKind {
        self.kind
    }

    /// Whether these are the properties of a snapshot.
    #[must_use]
    pub fn is_snapshot(&self) -> bool {
        self.name.contains('@')
    }

    fn applies(&self, prop: Prop) -> bool {
        let head = match self.kind {
            DatasetKind::Filesystem => Kinds::FILESYSTEM,
            DatasetKind::Volume => Kinds::VOLUME,
            DatasetKind::Unknown(_) => return true,
        };
        let kinds = prop.kinds();
        if self.is_snapshot() {
            return kinds.meets(Kinds::SNAPSHOT) && (kinds.meets(head) || kinds == Kinds::SNAPSHOT);
        }
        kinds.meets(head)
    }

    fn reported(&self, name: &str) -> Option<&Value> {
        self.list.list(name)?.get(VALUE)
    }

    /// The kernel's value, or the default.
    fn raw_value(&self, prop: Prop) -> Option<Cow<'_, Value>> {
        if !self.applies(prop) || prop.is_of_files() {
            return None;
        }
        match self.reported(prop.name()) {
            // Never.
            Some(Value::Uint64(0)) if prop == Prop::SnapshotsChanged => None,
            Some(value) => Some(Cow::Borrowed(value)),
            None => prop.default_value().map(Cow::Owned),
        }
    }

    /// The value of a native property, if it applies and has one.
    #[must_use]
    pub fn get(&self, prop: Prop) -> Option<PropValue> {
        if prop == Prop::Type {
            return Some(PropValue::Text(match self.is_snapshot() {
                true => String::from("snapshot"),
                false => self.kind.to_string(),
            }));
        }
        let value = self.raw_value(prop)?;
        Some(match (prop.entry().form, value.as_ref()) {
            (Form::Number(_), Value::Uint64(number)) => PropValue::Number(*number),
            (Form::Ratio, Value::Uint64(number)) => PropValue::Ratio(Ratio::new(*number)),
            (Form::Index(..), Value::Uint64(raw)) => PropValue::Index { prop, raw: *raw },
            (Form::Text(_), Value::String(_)) if prop == Prop::Mountpoint => {
                PropValue::Text(self.mountpoint()?)
            }
            (Form::Text(_), Value::String(text)) => {
                PropValue::Text(text.to_string_lossy().into_owned())
            }
            (Form::List, Value::List(names)) => PropValue::Names(
                names
                    .iter()
                    .map(|(name, _)| name.to_string_lossy().into_owned())
                    .collect(),
            ),
            (Form::List, Value::Uint64Array(guids)) => PropValue::Guids(guids.clone()),
            (_, other) => PropValue::Other(other.clone()),
        })
    }

    /// The value of a native property as its type: `properties.value::<Atime>()`. It is the value
    /// as it was set, so that an inherited mountpoint is that of the dataset it comes from.
    #[must_use]
    pub fn value<S: Setting>(&self) -> Option<S> {
        S::from_value(self.raw_value(S::PROP)?.as_ref())
    }

    /// Where the value of a property comes from: a [`Prop`], or the name of a user property.
    ///
    /// `None` when it has no value here.
    #[must_use]
    pub fn source(&self, property: impl AsRef<str>) -> Option<Source> {
        let name = property.as_ref();
        let native = Prop::from_name(name);
        if let Some(prop) = native {
            if prop != Prop::Type {
                self.raw_value(prop)?;
            }
        }
        let Some(entry) = self.list.list(name) else {
            return native.map(|_| Source::Default);
        };
        if let Some(source) = entry.str(SOURCE) {
            return Some(Source::read(source, &self.name));
        }
        // Of those that are not inherited, the kernel only says when the value is the default one.
        let is_set = native.is_some_and(|prop| {
            !prop.is_read_only() && !prop.is_set_once() && !prop.is_inheritable()
        });
        Some(if is_set { Source::Local } else { Source::None })
    }

    fn number(&self, prop: Prop) -> Option<u64> {
        self.raw_value(prop)?.as_u64()
    }

    /// A number that `none` stands for the absence of.
    fn limit(&self, prop: Prop, none: u64) -> Option<u64> {
        self.number(prop).filter(|&number| number != none)
    }

    fn text(&self, prop: Prop) -> Option<&str> {
        if self.applies(prop) {
            self.reported(prop.name())?.as_str()
        } else {
            None
        }
    }

    /// The space that it and all below it take.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used
    }

    /// The space that it and all below it can still take. A snapshot has none.
    #[must_use]
    pub fn available(&self) -> Option<u64> {
        self.number(Prop::Available)
    }

    /// The space of the data that it gives access to, shared or not.
    #[must_use]
    pub fn referenced(&self) -> u64 {
        self.referenced
    }

    /// The space referenced that was written since the previous snapshot.
    ///
    /// `None` for what has no previous snapshot by construction: the pool's origin.
    #[must_use]
    pub fn written(&self) -> Option<u64> {
        self.number(Prop::Written)
    }

    /// What [`used`](Self::used) would be without compression. A snapshot has none.
    #[must_use]
    pub fn logical_used(&self) -> Option<u64> {
        self.number(Prop::LogicalUsed)
    }

    /// What [`referenced`](Self::referenced) would be without compression.
    #[must_use]
    pub fn logical_referenced(&self) -> Option<u64> {
        self.number(Prop::LogicalReferenced)
    }

    /// How far compression shrank what it and all below it use.
    #[must_use]
    pub fn compress_ratio(&self) -> Ratio {
        self.compress_ratio
    }

    /// When it was created, in seconds since 1970.
    #[must_use]
    pub fn creation(&self) -> u64 {
        self.creation
    }

    /// A number that no other dataset has, and that a rename does not change.
    #[must_use]
    pub fn guid(&self) -> u64 {
        self.guid
    }

    /// The transaction group that it was created in.
    #[must_use]
    pub fn create_txg(&self) -> u64 {
        self.create_txg
    }

    /// The limit of what it and all below it may use.
    #[must_use]
    pub fn quota(&self) -> Option<u64> {
        self.limit(Prop::Quota, 0)
    }

    /// The limit of what it may reference, without what is below it.
    #[must_use]
    pub fn ref_quota(&self) -> Option<u64> {
        self.limit(Prop::RefQuota, 0)
    }

    /// The space that it and all below it are sure to get.
    #[must_use]
    pub fn reservation(&self) -> Option<u64> {
        self.limit(Prop::Reservation, 0)
    }

    /// The space that it is sure to get, without what is below it.
    #[must_use]
    pub fn ref_reservation(&self) -> Option<u64> {
        self.limit(Prop::RefReservation, 0)
    }

    /// The most filesystems and volumes below it.
    #[must_use]
    pub fn filesystem_limit(&self) -> Option<u64> {
        self.limit(Prop::FilesystemLimit, u64::MAX)
    }

    /// The most snapshots of it and of all below it.
    #[must_use]
    pub fn snapshot_limit(&self) -> Option<u64> {
        self.limit(Prop::SnapshotLimit, u64::MAX)
    }

    /// How many filesystems and volumes are below it, if it or one above it has a limit.
    #[must_use]
    pub fn filesystem_count(&self) -> Option<u64> {
        self.limit(Prop::FilesystemCount, u64::MAX)
    }

    /// How many snapshots it and all below it have, if it or one above it has a limit.
    #[must_use]
    pub fn snapshot_count(&self) -> Option<u64> {
        self.limit(Prop::SnapshotCount, u64::MAX)
    }

    /// The snapshot that it is a clone of.
    #[must_use]
    pub fn origin(&self) -> Option<SnapshotName> {
        SnapshotName::new(self.text(Prop::Origin)?).ok()
    }

    /// The clones of a snapshot.
    #[must_use]
    pub fn clones(&self) -> Vec<DatasetName> {
        let Some(Value::List(names)) = self.reported(Prop::Clones.name()) else {
            return Vec::new();
        };
        names
            .iter()
            .filter_map(|(name, _)| DatasetName::new(name.to_str().ok()?).ok())
            .collect()
    }

    /// How many user holds a snapshot has.
    #[must_use]
    pub fn user_refs(&self) -> Option<u64> {
        self.number(Prop::UserRefs)
    }

    /// Whether a snapshot goes as soon as its last hold or clone is gone.
    #[must_use]
    pub fn defer_destroy(&self) -> bool {
        self.number(Prop::DeferDestroy) == Some(1)
    }

    /// How it is encrypted, if it is.
    #[must_use]
    pub fn encryption(&self) -> Option<EncryptionAlgorithm> {
        let algorithm = self
            .number(Prop::Encryption)
            .map(EncryptionAlgorithm::from_raw)?;
        Some(algorithm).filter(|&algorithm| algorithm != EncryptionAlgorithm::Off)
    }

    /// Whether its key is loaded, if it is encrypted.
    #[must_use]
    pub fn key_status(&self) -> Option<KeyStatus> {
        self.number(Prop::KeyStatus).map(KeyStatus::from_raw)
    }

    /// The dataset whose key it is encrypted with, if it is.
    #[must_use]
    pub fn encryption_root(&self) -> Option<DatasetName> {
        DatasetName::new(self.text(Prop::EncryptionRoot)?).ok()
    }

    /// What its key is made from, if it is encrypted.
    #[must_use]
    pub fn key_format(&self) -> Option<KeyFormat> {
        self.limit(Prop::KeyFormat, KeyFormat::None.raw())
            .map(KeyFormat::from_raw)
    }

    /// Where the `zfs` command finds its key, if it is an encryption root.
    #[must_use]
    pub fn key_location(&self) -> Option<&str> {
        self.text(Prop::KeyLocation)
            .filter(|&location| location != "none")
    }

    /// The salt of a key made from a passphrase.
    #[must_use]
    pub fn pbkdf2_salt(&self) -> Option<u64> {
        self.limit(Prop::Pbkdf2Salt, 0)
    }

    /// The rounds of a key made from a passphrase.
    #[must_use]
    pub fn pbkdf2_iters(&self) -> Option<u64> {
        self.limit(Prop::Pbkdf2Iters, 0)
    }

    /// Whether it cannot be modified because somebody said so. A snapshot never can.
    #[must_use]
    pub fn read_only(&self) -> bool {
        self.is_snapshot() || self.value::<ReadOnly>().is_some_and(|value| value.0)
    }

    /// What becomes of synchronous writes. A snapshot has none.
    #[must_use]
    pub fn sync(&self) -> Option<Sync> {
        self.value()
    }

    /// How what is written is compressed. A snapshot has none.
    #[must_use]
    pub fn compression(&self) -> Option<Compression> {
        self.value()
    }

    /// The largest block of a filesystem's files.
    #[must_use]
    pub fn record_size(&self) -> Option<u64> {
        self.value::<RecordSize>().map(RecordSize::bytes)
    }

    /// A volume's size, or that of the volume when the snapshot was taken.
    #[must_use]
    pub fn vol_size(&self) -> Option<u64> {
        self.limit(Prop::VolSize, 0)
    }

    /// A volume's block size.
    #[must_use]
    pub fn vol_block_size(&self) -> Option<u64> {
        self.limit(Prop::VolBlockSize, 0)
    }

    /// What continues an interrupted receive into it.
    #[must_use]
    pub fn receive_resume_token(&self) -> Option<&str> {
        self.text(Prop::ReceiveResumeToken)
    }

    /// Where a filesystem is to be mounted: a path, `legacy` or `none`.
    ///
    /// An inherited path continues with the name below the dataset it comes from. The pool's
    /// `altroot`, if it has one, comes before it and is not in it.
    #[must_use]
    pub fn mountpoint(&self) -> Option<String> {
        let value = self.raw_value(Prop::Mountpoint)?;
        let path = value.as_str()?;
        let below = match self.source(Prop::Mountpoint)? {
            Source::Default => self.name.as_str(),
            Source::Inherited(from) => self.name.strip_prefix(from.as_str()).unwrap_or_default(),
            _ => "",
        };
        let below = below.trim_start_matches('/');
        if !path.starts_with('/') || below.is_empty() {
            return Some(path.to_owned());
        }
        let path = if path == "/" { "" } else { path };
        Some(format!("{path}/{below}"))
    }

    /// The value of a user property, its own or inherited. `None` also when it is not UTF-8.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&str> {
        if is_user_property(name) {
            self.reported(name)?.as_str()
        } else {
            None
        }
    }

    /// All user properties, its own and inherited, but for those that are not UTF-8.
    pub fn user_properties(&self) -> impl Iterator<Item = UserProperty<'_>> {
        self.list.iter().filter_map(|(name, entry)| {
            let name = name.to_str().ok().filter(|name| is_user_property(name))?;
            let value = entry.as_list()?.str(VALUE)?;
            Some(UserProperty {
                name,
                value,
                source: self.source(name)?,
            })
        })
    }

    /// Everything that the kernel told, as it told it: `{name: {value, source}}`.
    #[must_use]
    pub fn raw(&self) -> &NvMap {
        &self.list
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Atime, Mountpoint};
    use super::*;

    fn entry(value: impl Into<Value>, source: Option<&str>) -> Value {
        let mut entry = NvMap::new();
        entry.insert(c"value", value);
        if let Some(source) = source {
            entry
                .try_insert("source", Value::string(source).unwrap())
                .unwrap();
        }
        Value::List(entry)
    }

    fn answer(kind: u64) -> NvMap {
        let mut list = NvMap::new();
        list.insert(c"type", entry(kind, None));
        for name in [
            c"used",
            c"referenced",
            c"compressratio",
            c"creation",
            c"guid",
            c"createtxg",
        ] {
            list.insert(name, entry(100u64, None));
        }
        list
    }

    #[test]
    fn an_answer_without_the_basics_is_an_error() {
        let mut list = answer(2);
        list.remove("guid");
        let error = Properties::from_nvmap("tank", list).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Protocol);
        assert!(error.to_string().contains("no property guid"), "{error}");
    }

    #[test]
    fn what_was_never_set_has_its_default() {
        let fs = Properties::from_nvmap("tank/a", answer(2)).unwrap();
        assert_eq!(fs.sync(), Some(Sync::Standard));
        assert_eq!(fs.source(Prop::Sync), Some(Source::Default));
        assert_eq!(fs.mountpoint().as_deref(), Some("/tank/a"));
        assert_eq!(fs.value::<Atime>(), Some(Atime(true)));
        assert_eq!((fs.quota(), fs.available()), (None, None));
        assert_eq!(fs.source(Prop::Available), None);
        let volume = Properties::from_nvmap("tank/v", answer(3)).unwrap();
        assert_eq!((volume.mountpoint(), volume.value::<Atime>()), (None, None));
        let snapshot = Properties::from_nvmap("tank/a@s", answer(2)).unwrap();
        assert_eq!((snapshot.sync(), snapshot.source(Prop::Sync)), (None, None));
        assert_eq!(
            snapshot.get(Prop::Type),
            Some(PropValue::Text("snapshot".into()))
        );
    }

    #[test]
    fn mountpoints_continue_with_the_name() {
        let mountpoint = |path: &str, source: &str| {
            let mut list = answer(2);
            list.insert(
                c"mountpoint",
                entry(Value::string(path).unwrap(), Some(source)),
            );
            Properties::from_nvmap("tank/a/b", list)
                .unwrap()
                .mountpoint()
                .unwrap()
        };
        assert_eq!(mountpoint("/srv", "tank/a/b"), "/srv");
        assert_eq!(mountpoint("/srv", "$recvd"), "/srv");
        assert_eq!(mountpoint("/srv", "tank/a"), "/srv/b");
        assert_eq!(mountpoint("/srv", "tank"), "/srv/a/b");
        assert_eq!(mountpoint("/", "tank"), "/a/b");
        assert_eq!(mountpoint("/", "tank/a/b"), "/");
        assert_eq!(mountpoint("none", "tank"), "none");
    }

    #[test]
    fn sources_of_what_is_not_inherited() {
        let mut list = answer(2);
        list.insert(c"quota", entry(5u64, None));
        list.insert(c"refquota", entry(0u64, Some("")));
        let fs = Properties::from_nvmap("tank/a", list).unwrap();
        assert_eq!(
            (fs.quota(), fs.source(Prop::Quota)),
            (Some(5), Some(Source::Local))
        );
        assert_eq!(fs.source(Prop::RefQuota), Some(Source::Default));
        assert_eq!(fs.source(Prop::Used), Some(Source::None));
    }

    #[test]
    fn what_is_not_understood_stays_visible() {
        let mut list = answer(2);
        list.insert(c"sync", entry(77u64, Some("tank/a")));
        list.insert(c"atime", entry(c"odd".to_owned(), Some("tank/a")));
        list.insert(c"of_the_future", entry(1u64, Some("tank/a")));
        let fs = Properties::from_nvmap("tank/a", list).unwrap();
        assert_eq!(fs.sync(), Some(Sync::Unknown(77)));
        assert_eq!(fs.get(Prop::Sync).unwrap().to_string(), "77");
        assert_eq!(fs.value::<Atime>(), None);
        assert!(matches!(fs.get(Prop::Atime), Some(PropValue::Other(_))));
        assert_eq!(fs.value::<Mountpoint>().unwrap().as_c_str(), c"/");
        assert_eq!(fs.source("of_the_future"), Some(Source::Local));
        assert_eq!(
            fs.raw().list("of_the_future").unwrap().u64("value"),
            Some(1)
        );
        assert_eq!(fs.user("of_the_future"), None);
    }
}
