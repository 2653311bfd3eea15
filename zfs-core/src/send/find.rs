//! Finding by GUID what a resume token speaks of.

use super::options::SendBase;
use crate::dataset::Dataset;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::list::SnapshotFilter;
use crate::name::BookmarkName;
use crate::nv::{NvMap, Value};
use crate::snapshot::Snapshot;
use crate::stream::ResumeToken;
use zfs_core_sys::ioctl::ZFS_IOC_GET_BOOKMARKS;

const OPERATION: Operation = Operation::Send;

/// A bookmark, and what it was redacted with respect to.
struct Mark {
    name: BookmarkName,
    guid: Option<u64>,
    redact_snaps: Option<Vec<u64>>,
}

impl Dataset {
    /// The snapshot of this dataset that has the GUID `guid`. It keeps that when it is renamed,
    /// sent or received.
    ///
    /// # Errors
    ///
    /// `NotFound` when the dataset does not exist; `PoolSuspended`.
    pub fn snapshot_by_guid(&self, guid: u64) -> Result<Option<Snapshot>> {
        let entries = self.snapshots(&SnapshotFilter::new())?;
        let entry = entries.into_iter().find(|entry| entry.guid == guid);
        Ok(entry.map(|entry| Snapshot {
            zfs: self.zfs.clone(),
            name: entry.name,
        }))
    }

    pub(super) fn snapshot_of_token(&self, token: &ResumeToken) -> Result<Snapshot> {
        self.snapshot_by_guid(token.to_guid)
            .map_err(|error| error.during(OPERATION))?
            .ok_or_else(|| {
                Error::refused(
                    OPERATION,
                    self.name.as_str(),
                    ErrorKind::NotFound,
                    format!(
                        "no snapshot has the GUID {} of the interrupted stream of {}",
                        token.to_guid, token.to_name
                    ),
                )
            })
    }

    /// What a token's stream builds on: in this dataset, or in those that it is a clone of.
    pub(super) fn base_of_token(&self, token: &ResumeToken) -> Result<Option<SendBase>> {
        let Some(guid) = token.from_guid else {
            return Ok(None);
        };
        let mut dataset = self.clone();
        loop {
            if let Some(base) = dataset.base(guid, token.book_redact_snaps.as_deref())? {
                return Ok(Some(base));
            }
            let Some(origin) = dataset.stat()?.origin else {
                return Err(Error::refused(
                    OPERATION,
                    self.name.as_str(),
                    ErrorKind::NotFound,
                    format!("no snapshot or bookmark has the GUID {guid} of the stream's base"),
                ));
            };
            dataset.name = origin.dataset();
        }
    }

    fn base(&self, guid: u64, redacted: Option<&[u64]>) -> Result<Option<SendBase>> {
        if redacted.is_none() {
            if let Some(snapshot) = self.snapshot_by_guid(guid)? {
                return Ok(Some(SendBase::from(&snapshot)));
            }
        }
        let mark = self.marks()?.into_iter().find(|mark| {
            mark.guid == Some(guid) && same_guids(mark.redact_snaps.as_deref(), redacted)
        });
        Ok(mark.map(|mark| SendBase::Bookmark(mark.name)))
    }

    /// The redaction bookmark that a token's stream was redacted with.
    pub(super) fn redaction_of_token(&self, token: &ResumeToken) -> Result<Option<BookmarkName>> {
        let Some(guids) = token.redact_snaps.as_deref() else {
            return Ok(None);
        };
        let mark = self
            .marks()?
            .into_iter()
            .find(|mark| same_guids(mark.redact_snaps.as_deref(), Some(guids)));
        match mark {
            Some(mark) => Ok(Some(mark.name)),
            None => Err(Error::refused(
                OPERATION,
                self.name.as_str(),
                ErrorKind::NotFound,
                "no redaction bookmark fits the stream's",
            )),
        }
    }

    fn marks(&self) -> Result<Vec<Mark>> {
        let object = self.name.as_str();
        let wanted: NvMap = [(c"guid", Value::Boolean), (c"redact_snaps", Value::Boolean)]
            .into_iter()
            .collect();
        let mut request = self
            .zfs
            .request(ZFS_IOC_GET_BOOKMARKS, self.name.as_c_str())
            .input(&wanted)
            .map_err(|refusal| refusal.into_error(OPERATION, object))?
            .answered();
        request
            .read()
            .map_err(|errno| Error::new(OPERATION, object, errno))?;
        let list = request
            .answer()
            .map_err(|refusal| refusal.into_error(OPERATION, object))?;
        let mut marks = Vec::with_capacity(list.len());
        for (short, props) in &list {
            let props = props.as_list();
            let value = |key| props?.list(key)?.get("value");
            marks.push(Mark {
                name: self.name.bookmark(&short.to_string_lossy())?,
                guid: value("guid").and_then(Value::as_u64),
                redact_snaps: value("redact_snaps")
                    .and_then(Value::as_u64s)
                    .map(<[u64]>::to_vec),
            });
        }
        Ok(marks)
    }
}

/// Whether two lists name the same snapshots, in whatever order.
fn same_guids(a: Option<&[u64]>, b: Option<&[u64]>) -> bool {
    let sorted = |guids: Option<&[u64]>| {
        guids.map(|guids| {
            let mut guids = guids.to_vec();
            guids.sort_unstable();
            guids
        })
    };
    sorted(a) == sorted(b)
}
