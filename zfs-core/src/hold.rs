//! Holds: what keeps a snapshot from being destroyed.

use crate::batch::{build_list, check_batch, finish_partial, names};
use crate::error::{Error, ErrorKind, Operation, Outcome, Result, c_string, describe_batch};
use crate::ffi::device::Device;
use crate::ffi::nvlist::NvList;
use crate::history::Line;
use crate::name::SnapshotName;
use crate::snapshot::Snapshot;
use crate::zfs::Zfs;
use std::ffi::CString;
use std::time::{Duration, SystemTime};

/// A hold of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hold {
    /// Its tag.
    pub tag: CString,
    /// When it was placed.
    pub created: SystemTime,
}

/// Holds that end with this value, or with the process, however that ends.
///
/// The kernel ties them to a descriptor of `/dev/zfs` that only this value has, and releases them
/// when the descriptor's last copy is closed: when the value is dropped, when the process exits,
/// when it is killed. A child process has a copy until its `exec`, so that one which another
/// thread is just starting delays the release by moments, and one that is forked without `exec`
/// keeps the holds until it ends too. [`release`](Self::release) does not depend on that. If the machine goes down, they end when the pool is next imported.
#[derive(Debug)]
#[must_use = "the holds end as soon as this is dropped"]
pub struct HoldGuard {
    zfs: Zfs,
    snapshots: Vec<SnapshotName>,
    tag: String,
    // Dropped last: closing it releases what is still held.
    _cleanup: Device,
}

impl HoldGuard {
    /// The snapshots that are held.
    #[must_use]
    pub fn snapshots(&self) -> &[SnapshotName] {
        &self.snapshots
    }

    /// The tag.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Releases the holds now and tells whether that worked. Dropping the guard releases them as
    /// well, without a word.
    ///
    /// The kernel does not forget that the descriptor's end releases them. While a child process that
    /// is being started has a copy of it, a hold with the same tag that is placed on one of the
    /// snapshots after this is released when that copy closes. Where a tag is used as a lock, drop the
    /// guard instead.
    ///
    /// # Errors
    ///
    /// As [`Zfs::release`]; `Partial` when a hold was gone already.
    pub fn release(self) -> Result<()> {
        self.zfs.release(&self.snapshots, &self.tag)?.complete()
    }
}

impl Zfs {
    /// Places a hold with the tag `tag` on snapshots of one pool. It stays until it is released.
    ///
    /// Snapshots that do not exist are reported in the [`Outcome`], and the others are held.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for an empty batch or tag; `CrossPool`; `AlreadyExists` when a snapshot
    /// has a hold of that tag (none is held then); `TooBig` for a tag over 255 bytes;
    /// `PermissionDenied`; `ReadOnlyPool`, `PoolSuspended`. [`Error::failures`] names the
    /// snapshots at fault.
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permission `hold` on each dataset.
    ///
    /// `lzc_hold`, `zfs-hold(8)`.
    #[doc(alias = "lzc_hold")]
    pub fn hold<S: AsRef<SnapshotName>>(&self, snapshots: &[S], tag: &str) -> Result<Outcome> {
        self.hold_with(&names(snapshots), tag, None)
    }

    /// Places a hold that ends with the returned guard, or with this process, however it ends.
    ///
    /// All snapshots are held, or none.
    ///
    /// # Errors
    ///
    /// As [`hold`](Self::hold), and `NotFound` or `Partial` when a snapshot does not exist.
    ///
    /// # Privileges
    ///
    /// As [`hold`](Self::hold).
    ///
    /// `lzc_hold` with a `cleanup_fd`.
    #[doc(alias = "lzc_hold")]
    #[doc(alias = "cleanup_fd")]
    pub fn hold_until_drop<S: AsRef<SnapshotName>>(
        &self,
        snapshots: &[S],
        tag: &str,
    ) -> Result<HoldGuard> {
        let names = names(snapshots);
        let cleanup = Device::open()
            .map_err(|errno| Error::new(Operation::Hold, describe_batch(&names), errno))?;
        // On a partial success the descriptor is closed on the way out, and with it the holds go.
        self.hold_with(&names, tag, Some(&cleanup))?.complete()?;
        Ok(HoldGuard {
            zfs: self.clone(),
            snapshots: names.into_iter().cloned().collect(),
            tag: tag.to_owned(),
            _cleanup: cleanup,
        })
    }

    fn hold_with(
        &self,
        names: &[&SnapshotName],
        tag: &str,
        cleanup: Option<&Device>,
    ) -> Result<Outcome> {
        const OPERATION: Operation = Operation::Hold;
        check_batch(OPERATION, names, |name| name.pool())?;
        let tag = check_tag(OPERATION, tag)?;
        let list = build_list(OPERATION, names, names, |list, name| {
            list.add_str(name.as_c_str(), &tag)
        })?;
        let batch = self.lzc().hold(&list, cleanup.map_or(-1, Device::number));
        let outcome = finish_partial(OPERATION, names, batch)?;
        self.record(|| Line::new("zfs hold").arg(tag.to_string_lossy()).args(names));
        Ok(outcome)
    }

    /// Releases the holds with the tag `tag` of snapshots of one pool.
    ///
    /// Snapshots that do not exist, and those without such a hold, are reported in the
    /// [`Outcome`] (the latter as `snapshot#tag`), and the others are released. A snapshot that
    /// waits for its last hold to be destroyed is destroyed.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for an empty batch or tag; `CrossPool`; `PermissionDenied`;
    /// `ReadOnlyPool`, `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permission `release` on each dataset.
    ///
    /// `lzc_release`, `zfs-release(8)`.
    #[doc(alias = "lzc_release")]
    pub fn release<S: AsRef<SnapshotName>>(&self, snapshots: &[S], tag: &str) -> Result<Outcome> {
        const OPERATION: Operation = Operation::Release;
        let names = names(snapshots);
        check_batch(OPERATION, &names, |name| name.pool())?;
        let tag = check_tag(OPERATION, tag)?;
        let tags = NvList::new()
            .and_then(|mut tags| tags.add_flag(&tag).map(|()| tags))
            .map_err(|error| Error::protocol(OPERATION, describe_batch(&names), error))?;
        let list = build_list(OPERATION, &names, &names, |list, name| {
            list.add_list(name.as_c_str(), &tags)
        })?;
        let batch = self.lzc().release(&list);
        let outcome = finish_partial(OPERATION, &names, batch)?;
        self.record(|| {
            Line::new("zfs release")
                .arg(tag.to_string_lossy())
                .args(&names)
        });
        Ok(outcome)
    }
}

impl Snapshot {
    /// Places a hold that stays until it is released: a batch of one.
    ///
    /// # Errors
    ///
    /// As [`Zfs::hold`], and `NotFound`.
    #[doc(alias = "lzc_hold")]
    pub fn hold(&self, tag: &str) -> Result<()> {
        self.zfs.hold(std::slice::from_ref(self), tag)?.complete()
    }

    /// Releases a hold.
    ///
    /// # Errors
    ///
    /// As [`Zfs::release`], and `NotFound` when the snapshot or the hold does not exist.
    #[doc(alias = "lzc_release")]
    pub fn release(&self, tag: &str) -> Result<()> {
        self.zfs
            .release(std::slice::from_ref(self), tag)?
            .complete()
    }

    /// The holds of this snapshot, by tag.
    ///
    /// # Errors
    ///
    /// `NotFound`, `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// None.
    ///
    /// `lzc_get_holds`, `zfs-holds(8)`.
    #[doc(alias = "lzc_get_holds")]
    pub fn holds(&self) -> Result<Vec<Hold>> {
        const OPERATION: Operation = Operation::ListHolds;
        let list = self
            .zfs
            .lzc()
            .get_holds(self.name.as_c_str())
            .map_err(|errno| Error::new(OPERATION, self.name.as_str(), errno))?;
        let Some(list) = list else {
            return Ok(Vec::new());
        };
        let map = list
            .to_map()
            .map_err(|error| Error::protocol(OPERATION, self.name.as_str(), error))?;
        let mut holds = Vec::with_capacity(map.len());
        for (tag, time) in map.iter() {
            let created = time
                .as_u64()
                .and_then(|seconds| {
                    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
                })
                .ok_or_else(|| Error::protocol(OPERATION, self.name.as_str(), "not a time"))?;
            holds.push(Hold {
                tag: tag.to_owned(),
                created,
            });
        }
        holds.sort_by(|a, b| a.tag.cmp(&b.tag));
        Ok(holds)
    }
}

/// The longest tag, in bytes.
const MAX_TAG_LEN: usize = 255;

fn check_tag(operation: Operation, tag: &str) -> Result<CString> {
    let refused = |kind, detail| Err(Error::refused(operation, tag, kind, detail));
    if tag.is_empty() {
        return refused(ErrorKind::InvalidArgument, "the tag is empty");
    }
    // The kernel's own check lets a tag of 256 bytes through, and the machine panics when the
    // transaction group is written.
    if tag.len() > MAX_TAG_LEN {
        return refused(ErrorKind::TooBig, "a tag has at most 255 bytes");
    }
    c_string(operation, "the tag", tag)
}
