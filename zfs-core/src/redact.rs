use crate::bookmark::Bookmark;
use crate::error::{Errno, Error, ErrorKind, Operation, Result};
use crate::history::Line;
use crate::name::BookmarkName;
use crate::nv::{NvMap, Value};
use crate::snapshot::Snapshot;
use zfs_core_sys::ioctl::{ZFS_IOC_GET_BOOKMARKS, ZFS_IOC_REDACT};

/// What a redaction bookmark leaves out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Redaction {
    /// The GUIDs of the snapshots that it was made with.
    pub snapshots: Vec<u64>,
    /// Whether it was made to its end. A redaction that was interrupted is gone on with by asking
    /// for the same again.
    pub is_complete: bool,
}

impl Snapshot {
    /// Makes a redaction bookmark: a list of the blocks of this snapshot that any of `snapshots`
    /// has changed or freed. These are snapshots of clones of this one, in which what must not be
    /// seen was overwritten.
    ///
    /// [`SendOptions::redacted`](crate::send::SendOptions::redacted) with the bookmark then sends
    /// this snapshot without those blocks. A redaction that was interrupted goes on when the same is
    /// asked for again.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `InvalidArgument` | `snapshots` is empty, or one is not of a clone of this; the bookmark is of another dataset |
    /// | `AlreadyExists` | the bookmark exists, or was begun with other snapshots |
    /// | `NotFound` | one of the snapshots does not exist |
    /// | `CrossPool` | one is in another pool |
    /// | `WrongKind` | this snapshot, or another, is itself redacted |
    /// | `KeyNotLoaded` | a dataset is encrypted and its key not loaded |
    /// | `TooBig` | too many snapshots: more than some thirty without the feature `redaction_list_spill` (2.3) |
    /// | `Unsupported` | the feature `redaction_bookmarks` is not enabled |
    /// | `Interrupted` | a signal stopped it |
    /// | `PermissionDenied` | not root |
    /// | `ReadOnlyPool`, `PoolSuspended` | as they say |
    ///
    /// # Privileges
    ///
    /// Root.
    ///
    /// `zfs-redact(8)`, request of `lzc_redact`.
    #[doc(alias = "lzc_redact")]
    pub fn redact<S: AsRef<crate::SnapshotName>>(
        &self,
        bookmark: &BookmarkName,
        snapshots: &[S],
    ) -> Result<Bookmark> {
        const OPERATION: Operation = Operation::Redact;
        let object = self.name.as_str();
        let refused = |what: String| {
            Err(Error::refused(
                OPERATION,
                object,
                ErrorKind::InvalidArgument,
                what,
            ))
        };
        if snapshots.is_empty() {
            return refused("no snapshots to redact with".to_owned());
        }
        // The kernel takes a name without its dataset. It would not let go of the snapshot again
        // if the whole name was too long; this one is not.
        if bookmark.dataset_str() != self.name.dataset_str() {
            return refused(format!("{bookmark} is of another dataset"));
        }
        let short = crate::error::c_string(OPERATION, "the bookmark's name", bookmark.short())?;
        let with: NvMap = snapshots
            .iter()
            .map(|snapshot| (snapshot.as_ref().as_c_str(), Value::Boolean))
            .collect();
        let mut input = NvMap::new();
        input.insert(c"bookname", short);
        input.insert(c"snapnv", with);
        self.zfs
            .request(ZFS_IOC_REDACT, self.name.as_c_str())
            .input(&input)
            .map_err(|refusal| refusal.into_error(OPERATION, object))?
            .run()
            .map_err(|errno| Error::new(OPERATION, object, errno))?;
        self.zfs.record(|| {
            Line::new("zfs redact")
                .arg(&self.name)
                .arg(bookmark.short())
                .args(snapshots.iter().map(AsRef::as_ref))
        });
        Ok(Bookmark {
            zfs: self.zfs.clone(),
            name: bookmark.clone(),
        })
    }
}

impl Bookmark {
    /// What it leaves out, if it is a redaction bookmark.
    ///
    /// # Errors
    ///
    /// `NotFound`, `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// None.
    ///
    /// `zfsprops(7)` under `redact_snaps`, request of `lzc_get_bookmarks`.
    #[doc(alias = "redact_snaps")]
    pub fn redaction(&self) -> Result<Option<Redaction>> {
        const OPERATION: Operation = Operation::ListBookmarks;
        let object = self.name.as_str();
        let wanted: NvMap = [c"redact_snaps", c"redact_complete"]
            .map(|name| (name, Value::Boolean))
            .into_iter()
            .collect();
        let mut request = self
            .zfs
            .request(ZFS_IOC_GET_BOOKMARKS, self.name.dataset().as_c_str())
            .input(&wanted)
            .map_err(|refusal| refusal.into_error(OPERATION, object))?
            .answered();
        request
            .read()
            .map_err(|errno| Error::new(OPERATION, object, errno))?;
        let marks = request
            .answer()
            .map_err(|refusal| refusal.into_error(OPERATION, object))?;
        let Some(props) = marks.list(self.name.short()) else {
            return Err(Error::new(OPERATION, object, Errno::ENOENT));
        };
        let value = |key| props.list(key)?.get("value");
        let Some(snapshots) = value("redact_snaps") else {
            return Ok(None);
        };
        let protocol = |what| Error::protocol(OPERATION, object, what);
        Ok(Some(Redaction {
            snapshots: snapshots
                .as_u64s()
                .ok_or_else(|| protocol("strange redact_snaps"))?
                .to_vec(),
            is_complete: value("redact_complete")
                .and_then(Value::as_bool)
                .ok_or_else(|| protocol("strange redact_complete"))?,
        }))
    }
}
