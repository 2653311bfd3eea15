//! How something is mounted.

use crate::props::{
    Atime, Devices, Exec, Properties, Relatime, SelinuxContext, SelinuxDefContext,
    SelinuxFsContext, SelinuxRootContext, Setuid,
};
use rustix::mount::MountFlags;
use std::ffi::{CStr, CString};
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How a filesystem is mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountOptions {
    pub(super) path: Option<PathBuf>,
    pub(super) read_only: bool,
}

impl MountOptions {
    /// Where and how the filesystem's properties say.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// On the folder `path`, which must exist, whatever the properties `mountpoint` and `canmount`
    /// say.
    #[must_use]
    pub fn at(mut self, path: impl Into<PathBuf>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Read-only, whatever the property `readonly` says.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }
}

/// When the time of the last access is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AccessTime {
    Never,
    Relative,
    Always,
}

/// What holds for a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flags {
    pub(super) read_only: bool,
    pub(super) devices: bool,
    pub(super) exec: bool,
    pub(super) setuid: bool,
    pub(super) access_time: AccessTime,
    /// `name="value"` of each context of SELinux that is set.
    pub(super) contexts: Vec<String>,
}

impl Flags {
    pub(super) fn from_properties(properties: &Properties) -> Self {
        let access_time = match (properties.value::<Atime>(), properties.value::<Relatime>()) {
            (Some(Atime(false)), _) => AccessTime::Never,
            (_, Some(Relatime(false))) => AccessTime::Always,
            _ => AccessTime::Relative,
        };
        Self {
            read_only: properties.read_only(),
            devices: properties.value::<Devices>().is_none_or(|value| value.0),
            exec: properties.value::<Exec>().is_none_or(|value| value.0),
            setuid: properties.value::<Setuid>().is_none_or(|value| value.0),
            access_time,
            contexts: contexts(properties),
        }
    }

    /// Those of a mount that was there before, but for the contexts of SELinux.
    pub(super) fn continue_as(&mut self, before: &Self) {
        let contexts = std::mem::take(&mut self.contexts);
        *self = Self {
            contexts,
            ..before.clone()
        };
    }

    pub(super) fn bits(&self) -> MountFlags {
        let mut bits = match self.access_time {
            AccessTime::Never => MountFlags::NOATIME,
            AccessTime::Relative => MountFlags::RELATIME,
            AccessTime::Always => MountFlags::STRICTATIME,
        };
        bits.set(MountFlags::RDONLY, self.read_only);
        bits.set(MountFlags::NODEV, !self.devices);
        bits.set(MountFlags::NOEXEC, !self.exec);
        bits.set(MountFlags::NOSUID, !self.setuid);
        bits
    }

    /// The same in words, which ZFS itself wants, and the path: snapshots in `.zfs` are mounted
    /// behind it from whichever namespace they are looked at.
    pub(super) fn data(&self, path: &Path) -> CString {
        let word = |is, yes: &'static str, no: &'static str| if is { yes } else { no };
        let mut data = [
            word(self.read_only, "ro", "rw"),
            match self.access_time {
                AccessTime::Never => "noatime",
                AccessTime::Relative => "atime,relatime",
                AccessTime::Always => "atime,strictatime",
            },
            word(self.devices, "dev", "nodev"),
            word(self.exec, "exec", "noexec"),
            word(self.setuid, "suid", "nosuid"),
            "zfsutil",
        ]
        .join(",")
        .into_bytes();
        for context in &self.contexts {
            data.push(b',');
            data.extend_from_slice(context.as_bytes());
        }
        let path = path.as_os_str().as_bytes();
        // The kernel cuts the words at commas.
        if !path.contains(&b',') {
            data.extend_from_slice(b",mntpoint=");
            data.extend_from_slice(path);
        }
        // A path with a NUL is refused before this is looked at.
        CString::new(data).unwrap_or_default()
    }
}

/// One context for all, or one each.
fn contexts(properties: &Properties) -> Vec<String> {
    let word = |name: &str, value: Option<&CStr>| {
        let value = value?.to_str().ok().filter(|value| *value != "none")?;
        let mut word = String::new();
        write!(word, "{name}=\"{value}\"").ok()?;
        Some(word)
    };
    let all = properties.value::<SelinuxContext>();
    if let Some(all) = word("context", all.as_ref().map(SelinuxContext::as_c_str)) {
        return vec![all];
    }
    let fs = properties.value::<SelinuxFsContext>();
    let default = properties.value::<SelinuxDefContext>();
    let root = properties.value::<SelinuxRootContext>();
    [
        word("fscontext", fs.as_ref().map(SelinuxFsContext::as_c_str)),
        word(
            "defcontext",
            default.as_ref().map(SelinuxDefContext::as_c_str),
        ),
        word(
            "rootcontext",
            root.as_ref().map(SelinuxRootContext::as_c_str),
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_bits_say_the_same() {
        let flags = Flags {
            read_only: true,
            devices: false,
            exec: true,
            setuid: false,
            access_time: AccessTime::Never,
            contexts: vec![String::from("context=\"a:b\"")],
        };
        assert_eq!(
            flags.bits(),
            MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOATIME
        );
        assert_eq!(
            flags.data(Path::new("/srv/a")).to_str().unwrap(),
            "ro,noatime,nodev,exec,nosuid,zfsutil,context=\"a:b\",mntpoint=/srv/a"
        );
        assert!(
            !flags
                .data(Path::new("/a,b"))
                .to_str()
                .unwrap()
                .contains("mntpoint")
        );
    }
}
