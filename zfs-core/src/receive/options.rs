//! How a stream is received.

use crate::error::{Operation, Result};
use crate::key::{Encryption, KEY_LEN};
use crate::name::SnapshotName;
use crate::nv::{NvMap, Value};
use crate::props::{Prop, PropertySet, Setting};

/// How a stream is received.
///
/// Unless told otherwise a receive is not forced, and leaves nothing behind when it fails.
#[derive(Debug, Default)]
pub struct ReceiveOptions {
    pub(super) force: bool,
    pub(super) resumable: bool,
    pub(super) heal: bool,
    pub(super) origin: Option<SnapshotName>,
    pub(super) snapshot_name: Option<String>,
    pub(super) expect_guid: Option<u64>,
    pub(super) expect_from: Option<u64>,
    received: PropertySet,
    local: PropertySet,
    excluded: Vec<String>,
    encryption: Option<Encryption>,
}

/// What of the options applies to one of several datasets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    /// It is the topmost dataset.
    pub(super) top: bool,
    /// It is made by this stream, and is encrypted with the key of the options.
    pub(super) encrypt: bool,
}

impl ReceiveOptions {
    /// Not forced, not resumable, the snapshot named as in the stream, no properties.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Discards what stands in the way: modifications since the snapshot that an incremental stream
    /// builds on and **snapshots newer than it**; for a full stream, **the whole contents** of a
    /// dataset of the same kind that has no snapshots and is no clone. `zfs receive -F`, except that
    /// no dataset is destroyed.
    ///
    /// Nothing is unmounted, either. A filesystem that is mounted while a full stream replaces its
    /// contents shows nothing but I/O errors until it is mounted anew. Encrypted datasets are not
    /// replaced by a full stream.
    #[must_use]
    pub fn force(mut self) -> Self {
        self.force = true;
        self
    }

    /// Whether a receive that is interrupted keeps what has arrived, so that it can be resumed:
    /// `zfs receive -s`. The default is no.
    ///
    /// The dataset then has a
    /// [`receive_resume_token`](crate::props::Properties::receive_resume_token), and takes no other
    /// stream until the receive is resumed or [aborted](crate::Dataset::abort_receive). A stream
    /// that resumes is received resumably whatever is said here.
    #[must_use]
    pub fn resumable(mut self, resumable: bool) -> Self {
        self.resumable = resumable;
        self
    }

    /// Repairs damaged blocks of the snapshot, which must exist, with those of the stream, and
    /// changes nothing else: `zfs receive -c`. Needs ZFS 2.2.
    #[must_use]
    pub fn heal(mut self) -> Self {
        self.heal = true;
        self
    }

    /// Makes the new dataset a clone of `origin`: `zfs receive -o origin=`. Required for the
    /// incremental stream of a clone from its origin, possible for a full stream of ZFS 0.8 or
    /// later.
    #[must_use]
    pub fn origin(mut self, origin: &SnapshotName) -> Self {
        self.origin = Some(origin.clone());
        self
    }

    /// The snapshot's name, without the dataset and the `@`, instead of the one in the stream.
    #[must_use]
    pub fn snapshot_name(mut self, short: impl Into<String>) -> Self {
        self.snapshot_name = Some(short.into());
        self
    }

    /// Refuses any stream but that of the snapshot with this GUID.
    #[must_use]
    pub fn expect_guid(mut self, guid: u64) -> Self {
        self.expect_guid = Some(guid);
        self
    }

    /// Refuses any stream that is not incremental from the snapshot or bookmark with this GUID; 0
    /// stands for a full stream.
    #[must_use]
    pub fn expect_from(mut self, guid: u64) -> Self {
        self.expect_from = Some(guid);
        self
    }

    /// Sets a property on the dataset, whatever the stream says: `zfs receive -o`.
    #[must_use]
    pub fn set(mut self, setting: impl Setting) -> Self {
        self.local = self.local.set(setting);
        self
    }

    /// Sets a user property, whose name has a colon.
    ///
    /// # Errors
    ///
    /// [`InvalidProperty`](crate::ErrorKind::InvalidProperty) for a name or a value that ZFS does not
    /// allow.
    pub fn user(mut self, name: &str, value: &str) -> Result<Self> {
        self.local = self.local.user(name, value)?;
        Ok(self)
    }

    /// Sets all of `props` as well, as [`set`](Self::set) does.
    #[must_use]
    pub fn properties(mut self, props: &PropertySet) -> Self {
        self.local = self.local.merge(props);
        self
    }

    /// Keeps a received property, native or the user's, from taking effect: `zfs receive -x`. The
    /// dataset inherits it instead, or has the default if it is one that is not inherited.
    #[must_use]
    pub fn exclude(mut self, property: impl AsRef<str>) -> Self {
        self.excluded.push(property.as_ref().to_owned());
        self
    }

    /// Properties that come with the stream: they are set as received ones, which
    /// [`set`](Self::set) and [`exclude`](Self::exclude) override, and replace all that an existing
    /// dataset received before.
    #[must_use]
    pub fn received_properties(mut self, props: &PropertySet) -> Self {
        self.received = self.received.merge(props);
        self
    }

    /// Makes the new dataset an encryption root with a key of its own. Only for a full stream that
    /// is not raw: a raw one brings its encryption along, and under an encrypted dataset a new one
    /// is encrypted anyway.
    #[must_use]
    pub fn encryption(mut self, encryption: Encryption) -> Self {
        self.encryption = Some(encryption);
        self
    }

    /// Whether they make no sense for a stream of several snapshots.
    pub(super) fn is_about_one_snapshot(&self) -> bool {
        self.heal
            || self.snapshot_name.is_some()
            || self.expect_guid.is_some()
            || self.expect_from.is_some()
    }

    pub(super) fn key(&self) -> Option<&[u8; KEY_LEN]> {
        self.encryption.as_ref().map(Encryption::wrapping_key)
    }

    /// The properties for one dataset of those that a stream brings: those that come with the
    /// stream, and those that are set or excluded here.
    ///
    /// What is set is set on the topmost of them only, unless the others cannot inherit it.
    pub(super) fn lists(&self, with_stream: &NvMap, reach: Reach) -> Result<(NvMap, NvMap)> {
        let mut received = with_stream.clone();
        for (name, value) in &self.received.to_nvmap() {
            received.insert(name.to_owned(), value.clone());
        }
        let mut local = NvMap::new();
        for (name, value) in &self.local.to_nvmap() {
            if reach.top || !is_inherited(&name.to_string_lossy()) {
                local.insert(name.to_owned(), value.clone());
            } else {
                local.insert(name.to_owned(), Value::Boolean);
            }
        }
        for name in &self.excluded {
            if is_inherited(name) {
                let c_name = crate::error::c_string(Operation::Receive, "a property's name", name)?;
                local.insert(c_name, Value::Boolean);
            } else {
                // The kernel cannot exclude what is not inherited.
                received.remove(name);
            }
        }
        if let Some(encryption) = self.encryption.as_ref().filter(|_| reach.encrypt) {
            encryption
                .add_to(&mut local)
                .map_err(|error| error.during(Operation::Receive))?;
        }
        Ok((received, local))
    }
}

/// Whether a dataset without a value of its own takes that of the dataset above. User properties
/// are inherited, and the kernel says what it thinks of names that are neither.
fn is_inherited(property: &str) -> bool {
    Prop::from_name(property).is_none_or(Prop::is_inheritable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::props::{Compression, Quota};

    const TOP: Reach = Reach {
        top: true,
        encrypt: false,
    };
    const BELOW: Reach = Reach {
        top: false,
        encrypt: false,
    };

    #[test]
    fn what_is_set_is_inherited_below_where_it_can_be() {
        let options = ReceiveOptions::new()
            .set(Compression::Lz4)
            .set(Quota(1 << 20))
            .user("helix:a", "b")
            .unwrap();
        let (received, local) = options.lists(&NvMap::new(), TOP).unwrap();
        assert!(received.is_empty());
        assert!(local.u64("compression").is_some());
        assert_eq!(local.str("helix:a"), Some("b"));
        let (_, local) = options.lists(&NvMap::new(), BELOW).unwrap();
        assert_eq!(local.get("compression"), Some(&Value::Boolean));
        assert_eq!(local.get("helix:a"), Some(&Value::Boolean));
        assert_eq!(local.u64("quota"), Some(1 << 20));
    }

    #[test]
    fn what_is_excluded_is_inherited_or_not_received() {
        let mut with_stream = NvMap::new();
        with_stream.insert(c"quota", 1_u64);
        with_stream.insert(c"compression", 2_u64);
        let options = ReceiveOptions::new()
            .received_properties(&PropertySet::new().set(Quota(7)))
            .exclude(Prop::Quota)
            .exclude(Prop::Compression);
        let (received, local) = options.lists(&with_stream, TOP).unwrap();
        assert_eq!(received.get("quota"), None);
        assert_eq!(received.u64("compression"), Some(2));
        assert_eq!(local.len(), 1);
        assert_eq!(local.get("compression"), Some(&Value::Boolean));
        assert!(
            ReceiveOptions::new()
                .exclude("a\0b:c")
                .lists(&with_stream, TOP)
                .is_err()
        );
    }
}
