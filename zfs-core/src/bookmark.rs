use crate::batch::{build_list, check_batch, finish_atomic};
use crate::dataset::Dataset;
use crate::error::{Error, ErrorKind, Operation, Result, describe_batch};
use crate::history::Line;
use crate::name::{BookmarkName, SnapshotName};
use crate::nv::NvMap;
use crate::zfs::Zfs;
use std::ffi::CStr;
use std::fmt;
use zfs_core_sys::ioctl::ZFS_IOC_GET_BOOKMARK_PROPS;

/// A bookmark, by name: what is left of a snapshot for incremental sends to start from.
///
/// The handle is a checked name and a [`Zfs`]: it promises nothing about whether the bookmark
/// exists.
#[derive(Clone)]
pub struct Bookmark {
    pub(crate) zfs: Zfs,
    pub(crate) name: BookmarkName,
}

impl fmt::Debug for Bookmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bookmark({:?})", self.name.as_str())
    }
}

impl AsRef<BookmarkName> for Bookmark {
    fn as_ref(&self) -> &BookmarkName {
        &self.name
    }
}

/// What a bookmark is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BookmarkSource {
    /// A snapshot.
    Snapshot(SnapshotName),
    /// Another bookmark of the same dataset.
    Bookmark(BookmarkName),
}

impl BookmarkSource {
    fn as_c_str(&self) -> &CStr {
        match self {
            Self::Snapshot(name) => name.as_c_str(),
            Self::Bookmark(name) => name.as_c_str(),
        }
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Snapshot(name) => name.as_str(),
            Self::Bookmark(name) => name.as_str(),
        }
    }

    fn pool(&self) -> &str {
        match self {
            Self::Snapshot(name) => name.pool(),
            Self::Bookmark(name) => name.pool(),
        }
    }
}

impl From<SnapshotName> for BookmarkSource {
    fn from(name: SnapshotName) -> Self {
        Self::Snapshot(name)
    }
}

impl From<BookmarkName> for BookmarkSource {
    fn from(name: BookmarkName) -> Self {
        Self::Bookmark(name)
    }
}

/// A bookmark to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBookmark {
    name: BookmarkName,
    source: BookmarkSource,
}

impl NewBookmark {
    /// The bookmark `name`, from `source`.
    pub fn new(name: BookmarkName, source: impl Into<BookmarkSource>) -> Self {
        Self {
            name,
            source: source.into(),
        }
    }
}

/// A bookmark, as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BookmarkEntry {
    /// Its full name.
    pub name: BookmarkName,
    /// The GUID of the snapshot it was made from.
    pub guid: u64,
    /// The transaction group of that snapshot.
    pub create_txg: u64,
    /// When that snapshot was made, in seconds since 1970.
    pub creation: u64,
    /// Of an encrypted snapshot: the GUID of its set of initialization vectors, which a raw
    /// incremental send needs to match.
    pub ivset_guid: Option<u64>,
    /// How many bytes the snapshot referenced, if the bookmark keeps that (pool feature
    /// `bookmark_written`).
    pub referenced: Option<u64>,
    /// The same before compression.
    pub logical_referenced: Option<u64>,
}

impl BookmarkEntry {
    fn read(name: BookmarkName, props: &NvMap) -> Result<Self> {
        let value = |key: &str| props.list(key).and_then(|entry| entry.u64("value"));
        let needed = |key: &str| {
            value(key).ok_or_else(|| {
                Error::protocol(Operation::ListBookmarks, name.as_str(), format!("no {key}"))
            })
        };
        Ok(Self {
            guid: needed("guid")?,
            create_txg: needed("createtxg")?,
            creation: needed("creation")?,
            // The kernel gives 0 for what an unencrypted bookmark does not have.
            ivset_guid: value("ivsetguid").filter(|&guid| guid != 0),
            referenced: value("referenced"),
            logical_referenced: value("logicalreferenced"),
            name,
        })
    }
}

impl Zfs {
    /// A handle of the bookmark with the full name `name`. Does not call the kernel.
    ///
    /// # Errors
    ///
    /// [`InvalidName`](ErrorKind::InvalidName), [`NameTooLong`](ErrorKind::NameTooLong).
    pub fn bookmark(&self, name: &str) -> Result<Bookmark> {
        Ok(Bookmark {
            zfs: self.clone(),
            name: BookmarkName::new(name)?,
        })
    }

    /// Creates bookmarks in one pool, all in one transaction group or none.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for an empty batch, a name used twice, or a source of another dataset;
    /// `CrossPool` when the batch spans pools, or a source is not in the bookmark's dataset's
    /// past; `NotFound`; `AlreadyExists`; `Unsupported` without the pool feature `bookmarks`
    /// (or, for encrypted datasets, `bookmark_v2`); `PermissionDenied`; `ReadOnlyPool`,
    /// `PoolSuspended`. [`Error::failures`] names the bookmarks at fault.
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permission `bookmark` on each dataset.
    ///
    /// `lzc_bookmark`, `zfs-bookmark(8)`. Bookmarks of bookmarks since 2.0.
    #[doc(alias = "lzc_bookmark")]
    pub fn create_bookmarks(&self, bookmarks: &[NewBookmark]) -> Result<()> {
        const OPERATION: Operation = Operation::CreateBookmarks;
        let names: Vec<&BookmarkName> = bookmarks.iter().map(|new| &new.name).collect();
        check_batch(OPERATION, &names, |name| name.pool())?;
        if let Some(stray) = bookmarks
            .iter()
            .find(|new| new.name.pool() != new.source.pool())
        {
            return Err(Error::refused(
                OPERATION,
                describe_batch(&names),
                ErrorKind::CrossPool,
                format!("the source of {} is in another pool", stray.name),
            ));
        }
        let list = build_list(OPERATION, &names, bookmarks, |list, new| {
            list.add_str(new.name.as_c_str(), new.source.as_c_str())
        })?;
        finish_atomic(OPERATION, &names, self.lzc().bookmark(&list))?;
        self.record(|| {
            let pairs = bookmarks
                .iter()
                .flat_map(|new| [new.source.as_str(), new.name.as_str()]);
            Line::new("zfs bookmark").args(pairs)
        });
        Ok(())
    }

    /// Destroys bookmarks of one pool, all in one transaction group or none. Those that do not
    /// exist count as destroyed; an empty batch is done at once.
    ///
    /// # Errors
    ///
    /// `CrossPool`; `Busy` when a redacted send uses one; `PermissionDenied`; `ReadOnlyPool`,
    /// `PoolSuspended`. [`Error::failures`] names the bookmarks at fault.
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permission `destroy` on each dataset.
    ///
    /// `lzc_destroy_bookmarks`, `zfs-destroy(8)`.
    #[doc(alias = "lzc_destroy_bookmarks")]
    pub fn destroy_bookmarks<B: AsRef<BookmarkName>>(&self, bookmarks: &[B]) -> Result<()> {
        const OPERATION: Operation = Operation::DestroyBookmarks;
        let names: Vec<&BookmarkName> = bookmarks.iter().map(AsRef::as_ref).collect();
        if names.is_empty() {
            return Ok(());
        }
        check_batch(OPERATION, &names, |name| name.pool())?;
        let list = build_list(OPERATION, &names, &names, |list, name| {
            list.add_flag(name.as_c_str())
        })?;
        finish_atomic(OPERATION, &names, self.lzc().destroy_bookmarks(&list))?;
        self.record(|| Line::new("zfs destroy").args(&names));
        Ok(())
    }
}

impl Dataset {
    /// The bookmarks of this dataset, oldest first.
    ///
    /// # Errors
    ///
    /// `NotFound`, `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// None.
    ///
    /// `lzc_get_bookmarks`, `zfs-list(8)`.
    #[doc(alias = "lzc_get_bookmarks")]
    pub fn bookmarks(&self) -> Result<Vec<BookmarkEntry>> {
        const OPERATION: Operation = Operation::ListBookmarks;
        let protocol =
            |error: &dyn fmt::Display| Error::protocol(OPERATION, self.name.as_str(), error);
        let list = self
            .zfs
            .lzc()
            .get_bookmarks(self.name.as_c_str(), None)
            .map_err(|errno| Error::new(OPERATION, self.name.as_str(), errno))?;
        let Some(list) = list else {
            return Ok(Vec::new());
        };
        let map = list.to_map().map_err(|error| protocol(&error))?;
        let mut found = Vec::with_capacity(map.len());
        for (short, props) in map.iter() {
            let name = self
                .name
                .bookmark(&short.to_string_lossy())
                .map_err(|error| protocol(&error))?;
            let props = props.as_list().ok_or_else(|| protocol(&"not a list"))?;
            found.push(BookmarkEntry::read(name, props)?);
        }
        found.sort_by(|a, b| (a.create_txg, &a.name).cmp(&(b.create_txg, &b.name)));
        Ok(found)
    }
}

impl Bookmark {
    /// Its full name.
    #[must_use]
    pub fn name(&self) -> &BookmarkName {
        &self.name
    }

    /// The ZFS it belongs to.
    #[must_use]
    pub fn zfs(&self) -> &Zfs {
        &self.zfs
    }

    /// What the bookmark is: its GUID, transaction group and age.
    ///
    /// # Errors
    ///
    /// `NotFound`, `PoolSuspended`.
    ///
    /// `lzc_get_bookmark_props`, since 2.1.
    #[doc(alias = "lzc_get_bookmark_props")]
    pub fn stat(&self) -> Result<BookmarkEntry> {
        const OPERATION: Operation = Operation::ListBookmarks;
        let object = self.name.as_str();
        let mut request = self
            .zfs
            .request(ZFS_IOC_GET_BOOKMARK_PROPS, self.name.as_c_str())
            .answered();
        request
            .read()
            .map_err(|errno| Error::new(OPERATION, object, errno))?;
        let props = request
            .answer()
            .map_err(|refusal| refusal.into_error(OPERATION, object))?;
        BookmarkEntry::read(self.name.clone(), &props)
    }

    /// Whether the bookmark exists.
    ///
    /// # Errors
    ///
    /// `PoolSuspended`, and whatever else keeps the kernel from knowing.
    pub fn exists(&self) -> Result<bool> {
        match self.stat() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Destroys the bookmark.
    ///
    /// # Errors
    ///
    /// `NotFound`, unlike the batch; otherwise as [`Zfs::destroy_bookmarks`].
    #[doc(alias = "lzc_destroy_bookmarks")]
    pub fn destroy(&self) -> Result<()> {
        self.stat()
            .map_err(|error| error.during(Operation::DestroyBookmarks))?;
        self.zfs.destroy_bookmarks(std::slice::from_ref(self))
    }
}
