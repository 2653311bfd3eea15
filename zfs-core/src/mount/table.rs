//! What is mounted.

use super::options::{AccessTime, Flags};
use crate::error::{Error, Operation, Result};
use crate::name::{DatasetName, SnapshotName};
use crate::snapshot::Snapshot;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

const TABLE: &str = "/proc/thread-self/mountinfo";

/// A place where a filesystem or a snapshot is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Mount {
    /// The filesystem, or that of the snapshot.
    pub dataset: DatasetName,
    /// The short name of the snapshot, if it is one.
    pub snapshot: Option<String>,
    /// Where it is mounted.
    pub path: PathBuf,
    /// The folder of the filesystem that is mounted there; `None` for all of it.
    pub part: Option<PathBuf>,
    /// Whether nothing can be written there.
    pub read_only: bool,
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(super) flags: Flags,
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(super) id: u64,
}

impl Mount {
    /// The full name of the filesystem or snapshot.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.snapshot {
            Some(short) => format!("{}@{short}", self.dataset),
            None => self.dataset.to_string(),
        }
    }

    pub(super) fn is_of(&self, snapshot: &Snapshot) -> bool {
        self.snapshot.as_deref() == Some(snapshot.name().short())
            && self.dataset.as_str() == snapshot.name().dataset_str()
    }
}

/// All mounts of the calling thread's namespace.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) zfs: Vec<Mount>,
    /// Which mount is mounted on the root of which.
    covering: Vec<(u64, PathBuf)>,
}

impl Table {
    pub(super) fn read(operation: Operation) -> Result<Self> {
        let text =
            std::fs::read(TABLE).map_err(|error| Error::transport(operation, TABLE, error))?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &[u8]) -> Self {
        let mut table = Self::default();
        for line in text.split(|&byte| byte == b'\n') {
            if let Some(entry) = Entry::parse(line) {
                table.covering.push((entry.parent, entry.path.clone()));
                table.zfs.extend(entry.into_mount());
            }
        }
        table
    }

    /// Whether something is mounted over `mount`, so that its path leads to that.
    pub(super) fn covers(&self, mount: &Mount) -> bool {
        self.covering
            .iter()
            .any(|(parent, path)| *parent == mount.id && *path == mount.path)
    }
}

/// A line of the table.
struct Entry<'a> {
    id: u64,
    parent: u64,
    root: PathBuf,
    path: PathBuf,
    options: &'a [u8],
    kind: &'a [u8],
    source: Vec<u8>,
    all_options: &'a [u8],
}

impl<'a> Entry<'a> {
    /// `ID PARENT DEVICE ROOT PATH OPTIONS [FIELD…] - KIND SOURCE OPTIONS`
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.split(|&byte| byte == b' ');
        let mut number = || std::str::from_utf8(fields.next()?).ok()?.parse().ok();
        let (id, parent) = (number()?, number()?);
        let _device = fields.next()?;
        let path = |field| PathBuf::from(OsString::from_vec(unescape(field)));
        let root = path(fields.next()?);
        let target = path(fields.next()?);
        let options = fields.next()?;
        fields.find(|field| *field == b"-")?;
        Some(Self {
            id,
            parent,
            root,
            path: target,
            options,
            kind: fields.next()?,
            source: unescape(fields.next()?),
            all_options: fields.next()?,
        })
    }

    /// `None` when it is not of ZFS.
    fn into_mount(self) -> Option<Mount> {
        if self.kind != b"zfs" {
            return None;
        }
        let name = std::str::from_utf8(&self.source).ok()?;
        let (dataset, snapshot) = match SnapshotName::new(name) {
            Ok(name) => (name.dataset(), Some(name.short().to_owned())),
            Err(_) => (DatasetName::new(name).ok()?, None),
        };
        let here = |word: &[u8]| has(self.options, word);
        let read_only = here(b"ro") || has(self.all_options, b"ro");
        Some(Mount {
            dataset,
            snapshot,
            path: self.path,
            part: Some(self.root).filter(|root| root != Path::new("/")),
            read_only,
            flags: Flags {
                read_only,
                devices: !here(b"nodev"),
                exec: !here(b"noexec"),
                setuid: !here(b"nosuid"),
                access_time: match (here(b"noatime"), here(b"relatime")) {
                    (true, _) => AccessTime::Never,
                    (_, true) => AccessTime::Relative,
                    _ => AccessTime::Always,
                },
                contexts: Vec::new(),
            },
            id: self.id,
        })
    }
}

fn has(options: &[u8], word: &[u8]) -> bool {
    options
        .split(|&byte| byte == b',')
        .any(|option| option == word)
}

/// Blanks, tabs, newlines, backslashes and more are there as `\040`.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let escaped = match (first, after.get(..3)) {
            (b'\\', Some(digits)) => std::str::from_utf8(digits)
                .ok()
                .and_then(|digits| u8::from_str_radix(digits, 8).ok()),
            _ => None,
        };
        text.push(escaped.unwrap_or(first));
        rest = match escaped {
            Some(_) => after.get(3..).unwrap_or_default(),
            None => after,
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
        40 22 0:40 / /srv/with\\040blank rw,nosuid,nodev,noatime shared:5 master:1 - zfs tank/a rw,xattr\n\
        41 22 0:41 / /snap ro,relatime - zfs tank/a@s ro,xattr\n\
        42 22 0:40 /folder /part rw - zfs tank/a rw\n\
        43 40 0:43 / /srv/with\\040blank rw - tmpfs none rw\n\
        44 22 0:44 / /x rw - zfs no_such:name|x rw\n\
        garbage\n\n45 22 0:45 / /y rw";

    #[test]
    fn lines_are_read() {
        let table = Table::parse(TEXT);
        let [a, snapshot, part] = table.zfs.as_slice() else {
            panic!("{:?}", table.zfs);
        };
        assert_eq!(a.path, Path::new("/srv/with blank"));
        assert_eq!((a.name().as_str(), a.read_only), ("tank/a", false));
        let flags = &a.flags;
        assert_eq!(
            (flags.devices, flags.exec, flags.setuid),
            (false, true, false)
        );
        assert_eq!(flags.access_time, AccessTime::Never);
        assert!(table.covers(a) && !table.covers(snapshot) && !table.covers(part));
        assert_eq!(snapshot.name(), "tank/a@s");
        assert!(snapshot.read_only);
        assert_eq!(part.part.as_deref(), Some(Path::new("/folder")));
    }

    #[test]
    fn escapes() {
        assert_eq!(unescape(br"a\040b\134c\1"), br"a b\c\1");
        assert_eq!(unescape(br"\\999\777"), br"\\999\777");
    }
}
