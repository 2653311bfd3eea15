use super::{CacheFile, FailMode, Pool};
use crate::error::{Errno, Error, ErrorKind, Operation, Result, c_string};
use crate::history::Line;
use crate::name::DatasetName;
use crate::nv::{NvMap, Value};
use crate::props::check_user;
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use zfs_core_sys::ioctl::ZFS_IOC_POOL_SET_PROPS;

const OPERATION: Operation = Operation::SetPoolProperties;

/// The kernel keeps a comment in every label, and only a short one.
const MAX_COMMENT: usize = 32;
const MIN_ASHIFT: u64 = 9;
const MAX_ASHIFT: u64 = 16;

/// How large a pool's deduplication tables may grow; what would be added after that is not
/// deduplicated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DedupTableQuota {
    /// As large as the dedup vdevs, if there are any.
    #[default]
    Auto,
    /// Without limit.
    Unlimited,
    /// This many bytes.
    Bytes(u64),
}

/// Properties to be set on a pool, or to create or import one with.
///
/// Values are checked here: the kernel takes much that it was not made for, and some versions stop
/// the machine when a value is of the wrong type.
///
/// ```
/// use zfs_core::pool::PoolPropertySet;
///
/// let set = PoolPropertySet::new().autotrim(true).comment("rack 7")?.user("helix:tier", "gold")?;
/// # assert_eq!(set.len(), 3);
/// # Ok::<(), zfs_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoolPropertySet(Vec<Entry>);

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    name: CString,
    value: Value,
    /// The value as the command takes it.
    word: String,
    /// Whether a module can be too old to know it, and nothing else can be wrong with it.
    may_be_unknown: bool,
}

fn refuse<T>(name: &str, kind: ErrorKind, detail: impl Into<String>) -> Result<T> {
    Err(Error::refused(OPERATION, name, kind, detail))
}

fn on_off(on: bool) -> String {
    if on { "on" } else { "off" }.to_owned()
}

impl PoolPropertySet {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    fn put(&mut self, entry: Entry) {
        self.0.retain(|known| known.name != entry.name);
        self.0.push(entry);
    }

    fn number(mut self, name: impl Into<CString>, value: u64, word: impl Into<String>) -> Self {
        self.put(Entry {
            name: name.into(),
            value: value.into(),
            word: word.into(),
            may_be_unknown: false,
        });
        self
    }

    fn flag(self, name: &CStr, on: bool) -> Self {
        self.number(name, on.into(), on_off(on))
    }

    fn text(mut self, name: &CStr, value: CString) -> Self {
        self.put(Entry {
            name: name.into(),
            word: value.to_string_lossy().into_owned(),
            value: value.into(),
            may_be_unknown: false,
        });
        self
    }

    fn may_be_unknown(mut self) -> Self {
        if let Some(last) = self.0.last_mut() {
            last.may_be_unknown = true;
        }
        self
    }

    /// `autotrim`: whether what is freed is trimmed.
    #[must_use]
    pub fn autotrim(self, on: bool) -> Self {
        self.flag(c"autotrim", on)
    }

    /// `autoexpand`: whether the pool grows with its devices.
    #[must_use]
    pub fn autoexpand(self, on: bool) -> Self {
        self.flag(c"autoexpand", on)
    }

    /// `autoreplace`: whether a new device in the place of an old one replaces it.
    #[must_use]
    pub fn autoreplace(self, on: bool) -> Self {
        self.flag(c"autoreplace", on)
    }

    /// `delegation`: whether permissions can be delegated (`zfs allow`).
    #[must_use]
    pub fn delegation(self, on: bool) -> Self {
        self.flag(c"delegation", on)
    }

    /// `listsnapshots`: whether `zfs list` shows snapshots.
    #[must_use]
    pub fn listsnapshots(self, on: bool) -> Self {
        self.flag(c"listsnapshots", on)
    }

    /// `multihost`: whether the pool guards itself against an import by another host. The kernel
    /// does not support it where the host has no id (`/etc/hostid`).
    #[must_use]
    pub fn multihost(self, on: bool) -> Self {
        self.flag(c"multihost", on)
    }

    /// `failmode`: what the pool does when I/O fails for good.
    ///
    /// # Errors
    ///
    /// `InvalidProperty` for [`FailMode::Unknown`].
    pub fn failmode(self, mode: FailMode) -> Result<Self> {
        match mode {
            FailMode::Wait => Ok(self.number(c"failmode", 0, "wait")),
            FailMode::Continue => Ok(self.number(c"failmode", 1, "continue")),
            FailMode::Panic => Ok(self.number(c"failmode", 2, "panic")),
            FailMode::Unknown(_) => {
                refuse("failmode", ErrorKind::InvalidProperty, "an unknown mode")
            }
        }
    }

    /// `ashift`: the base-2 logarithm of the sector size for devices that are added: 9 to 16, or
    /// `None` for what each device tells.
    ///
    /// # Errors
    ///
    /// `InvalidProperty` for another number.
    pub fn ashift(self, ashift: Option<u64>) -> Result<Self> {
        match ashift {
            Some(shift) if !(MIN_ASHIFT..=MAX_ASHIFT).contains(&shift) => {
                refuse("ashift", ErrorKind::InvalidProperty, "it is 9 to 16")
            }
            _ => {
                let shift = ashift.unwrap_or(0);
                Ok(self.number(c"ashift", shift, shift.to_string()))
            }
        }
    }

    /// `comment`: up to 32 printable ASCII characters; none takes it away.
    ///
    /// # Errors
    ///
    /// `TooBig` for a longer one, `InvalidProperty` for other characters.
    pub fn comment(self, comment: &str) -> Result<Self> {
        if comment.len() > MAX_COMMENT {
            return refuse("comment", ErrorKind::TooBig, "32 bytes is the longest");
        }
        if !comment.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return refuse(
                "comment",
                ErrorKind::InvalidProperty,
                "not all is printable ASCII",
            );
        }
        Ok(self.text(c"comment", c_string(OPERATION, "the comment", comment)?))
    }

    /// `bootfs`: the filesystem to boot from, or none.
    #[must_use]
    pub fn bootfs(self, dataset: Option<&DatasetName>) -> Self {
        self.text(c"bootfs", dataset.map_or(c"", DatasetName::as_c_str).into())
    }

    /// `cachefile`: where the configuration is kept for the next boot. It lasts until the pool is
    /// exported.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a path that is not absolute, or does not end with a file's name.
    pub fn cachefile(self, file: &CacheFile) -> Result<Self> {
        if let CacheFile::At(path) = file {
            // A last component `.` is not seen by `file_name`.
            let last = path.as_os_str().as_bytes().rsplit(|&b| b == b'/').next();
            if matches!(last, None | Some(b"" | b"." | b"..")) {
                return refuse(
                    "cachefile",
                    ErrorKind::InvalidArgument,
                    "not the path of a file",
                );
            }
        }
        Ok(self.text(c"cachefile", file.value(OPERATION, "cachefile")?))
    }

    /// `compatibility`: the files, separated by commas, that say which features may be enabled;
    /// `off` for all features, `legacy` for none. Files are looked for in
    /// `/etc/zfs/compatibility.d`, then in `/usr/share/zfs/compatibility.d`.
    ///
    /// # Errors
    ///
    /// `InvalidProperty` when a file cannot be read.
    pub fn compatibility(self, files: &str) -> Result<Self> {
        if let Err(what) = super::compatibility::Compatibility::read(Some(files)) {
            return refuse("compatibility", ErrorKind::InvalidProperty, what);
        }
        let files = c_string(OPERATION, "the list of files", files)?;
        Ok(self.text(c"compatibility", files))
    }

    /// `dedup_table_quota`: how large the deduplication tables may grow. Since 2.3.
    #[must_use]
    pub fn dedup_table_quota(self, quota: DedupTableQuota) -> Self {
        let (bytes, word) = match quota {
            DedupTableQuota::Auto => (u64::MAX, "auto".to_owned()),
            DedupTableQuota::Unlimited => (0, "none".to_owned()),
            DedupTableQuota::Bytes(bytes) => (bytes, bytes.to_string()),
        };
        self.number(c"dedup_table_quota", bytes, word)
            .may_be_unknown()
    }

    /// Enables the feature with this short name: `zstd_compress`. It cannot be disabled again.
    ///
    /// # Errors
    ///
    /// `InvalidProperty` for what cannot be a feature's name.
    pub fn feature(self, name: &str) -> Result<Self> {
        let allowed = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
        if name.is_empty() || name.len() > 128 || !name.bytes().all(allowed) {
            return refuse(name, ErrorKind::InvalidProperty, "no name of a feature");
        }
        let name = c_string(OPERATION, "the name", &format!("feature@{name}"))?;
        Ok(self.number(name, 0, "enabled").may_be_unknown())
    }

    /// A user property; an empty value takes it away. Since 2.2.
    ///
    /// # Errors
    ///
    /// As [`UserProps::set`](crate::props::UserProps::set).
    pub fn user(mut self, name: &str, value: &str) -> Result<Self> {
        let word = value.to_owned();
        let (name, value) = check_user(name, value).map_err(|error| error.during(OPERATION))?;
        self.put(Entry {
            name,
            value: value.into(),
            word,
            may_be_unknown: true,
        });
        Ok(self)
    }

    pub(crate) fn to_nvmap(&self) -> NvMap {
        self.0
            .iter()
            .map(|entry| (entry.name.clone(), entry.value.clone()))
            .collect()
    }

    /// As arguments of the command: `autotrim=on comment=…`.
    pub(crate) fn words(&self) -> Vec<String> {
        self.0
            .iter()
            .map(|entry| format!("{}={}", entry.name.to_string_lossy(), entry.word))
            .collect()
    }

    /// What the kernel's refusal of it all means, where that is more exact than the number.
    fn refine(&self, error: Error) -> Error {
        // All else was checked here.
        if error.errno() == Some(Errno::EINVAL) && self.0.iter().all(|entry| entry.may_be_unknown) {
            return error.with_kind(ErrorKind::Unsupported).with_detail(format!(
                "the module does not know {}",
                self.words().join(" ")
            ));
        }
        error.with_detail(self.words().join(" "))
    }
}

impl Pool {
    /// Sets properties, all in one transaction group or none.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `InvalidProperty` | the kernel refuses a value |
    /// | `Unsupported` | the module does not know the feature or the property; `multihost` without a host id; `bootfs` on vdevs that nothing boots from |
    /// | `NotFound` | no pool of that name is imported; `bootfs` names no dataset |
    /// | `NoSpace` | the pool is full |
    /// | `PermissionDenied` | not root |
    /// | `ReadOnlyPool`, `PoolSuspended` | as they say |
    ///
    /// The kernel does not say which property it refuses: set one at a time to know.
    ///
    /// # Privileges
    ///
    /// Root.
    ///
    /// `zpool-set(8)`, `zpoolprops(7)`, request `ZFS_IOC_POOL_SET_PROPS`.
    #[doc(alias = "ZFS_IOC_POOL_SET_PROPS")]
    #[doc(alias = "zpool_set_prop")]
    pub fn set_properties(&self, properties: &PoolPropertySet) -> Result<()> {
        if properties.is_empty() {
            return Ok(());
        }
        self.request_properties(OPERATION, properties)?;
        self.zfs.record(|| {
            Line::new("zpool set")
                .args(properties.words())
                .arg(&self.name)
        });
        Ok(())
    }

    pub(super) fn request_properties(
        &self,
        operation: Operation,
        properties: &PoolPropertySet,
    ) -> Result<()> {
        self.zfs
            .request(ZFS_IOC_POOL_SET_PROPS, self.name.as_c_str())
            .input(&properties.to_nvmap())
            .map_err(|refusal| refusal.into_error(operation, self.name.as_str()))?
            .run()
            .map_err(|errno| properties.refine(Error::new(operation, self.name.as_str(), errno)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_typed_as_the_kernel_wants_them() {
        let set = PoolPropertySet::new()
            .autotrim(false)
            .autotrim(true)
            .comment("rack 7")
            .unwrap()
            .failmode(FailMode::Continue)
            .unwrap()
            .ashift(None)
            .unwrap()
            .feature("zstd_compress")
            .unwrap()
            .user("helix:tier", "gold")
            .unwrap();
        let list = set.to_nvmap();
        assert_eq!((set.len(), list.len()), (6, 6));
        assert_eq!(list.u64("autotrim"), Some(1));
        assert_eq!(list.str("comment"), Some("rack 7"));
        assert_eq!(list.u64("failmode"), Some(1));
        assert_eq!(list.u64("feature@zstd_compress"), Some(0));
        assert_eq!(list.str("helix:tier"), Some("gold"));
        assert_eq!(
            set.words().join(" "),
            "autotrim=on comment=rack 7 failmode=continue ashift=0 feature@zstd_compress=enabled \
             helix:tier=gold"
        );
    }

    #[test]
    fn what_the_kernel_would_not_check_is_checked() {
        let new = PoolPropertySet::new;
        let kind = |result: Result<PoolPropertySet>| result.unwrap_err().kind();
        assert_eq!(kind(new().comment(&"x".repeat(33))), ErrorKind::TooBig);
        assert_eq!(kind(new().comment("a\nb")), ErrorKind::InvalidProperty);
        assert_eq!(kind(new().comment("Grüße")), ErrorKind::InvalidProperty);
        assert_eq!(kind(new().ashift(Some(8))), ErrorKind::InvalidProperty);
        assert_eq!(kind(new().ashift(Some(17))), ErrorKind::InvalidProperty);
        let unknown = FailMode::Unknown(9);
        assert_eq!(kind(new().failmode(unknown)), ErrorKind::InvalidProperty);
        for path in ["relative", "/", "/etc/", "/etc/.", "/etc/..", "/a\0b"] {
            let file = CacheFile::At(path.into());
            assert_eq!(
                kind(new().cachefile(&file)),
                ErrorKind::InvalidArgument,
                "{path:?}"
            );
        }
        for feature in ["", "a@b", "com.x:y", "a\0"] {
            assert_eq!(
                kind(new().feature(feature)),
                ErrorKind::InvalidProperty,
                "{feature:?}"
            );
        }
        assert_eq!(kind(new().user("nocolon", "x")), ErrorKind::InvalidProperty);
        assert_eq!(
            kind(new().user("a:b", &"x".repeat(8192))),
            ErrorKind::TooBig
        );
        assert_eq!(
            kind(new().user(&"a:".repeat(128), "x")),
            ErrorKind::NameTooLong
        );
    }
}
