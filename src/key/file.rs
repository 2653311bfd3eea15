use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags, Stat, flock, fstat, fsync};
use rustix::fs::{mkdirat, open, openat, renameat, unlinkat};
use rustix::io::Errno;
use rustix::process::geteuid;
use zeroize::Zeroizing;
use zfs_core::key::KEY_LEN;

use super::ProvidedKey;
use super::{KeyError, KeyId, KeyMaterial, KeyProblem, KeyProvider, KeyStore, KeyVersion};

/// The permission bits of others than the owner. Those of the group cover what an ACL grants.
const OF_OTHERS: u32 = 0o077;
/// What is stored and not yet there. No version is called that.
const NEW: &str = ".new";
/// 64 hexadecimal digits, an end of line, and one byte that shows that there is more.
const LONGEST: usize = 2 * KEY_LEN + 2;

/// Keys in files: `FOLDER/KEY/VERSION`, with a folder for each key and a file for each version of it,
/// whose name is its number.
///
/// A file has 32 bytes, or a line of 64 hexadecimal digits. The folder, the folders of the keys and
/// the files must belong to root or to the process's own user, and nobody else may have any
/// permission; no symbolic link is followed below the folder's own path, and none for its last
/// component. All that is checked on what was opened, each time. The folders above are the
/// operator's.
///
/// A stored key is on disk, file and folder, before its name appears. Several processes can store at
/// the same time: they lock the key's folder. A process that is killed leaves at most a file `.new`,
/// which is nobody's key, and which the next one replaces.
///
/// A version that is [retired](KeyStore::retire) is unlinked. What the disk keeps of it is the
/// filesystem's and the disk's: let the folder be in memory or encrypted if that matters.
///
/// ```no_run
/// use helix_zfs::key::{FileKeys, KeyId, KeyMaterial, KeyProvider, KeyStore, KeyVersion};
///
/// let keys = FileKeys::new("/etc/helix/keys");
/// let id = KeyId::new("acme")?;
/// let version = keys.store(&id, KeyVersion::NONE, &KeyMaterial::generate()?)?;
/// assert_eq!(keys.current(&id)?.version, version);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct FileKeys {
    folder: PathBuf,
}

/// What is opened of a key's folder.
struct Folder<'a> {
    id: &'a KeyId,
    fd: OwnedFd,
}

impl FileKeys {
    /// The keys in `folder`. It is looked at when a key is asked for.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder itself, checked.
    fn top(&self, id: &KeyId) -> Result<OwnedFd, KeyError> {
        let what = self.folder.display().to_string();
        let fd =
            open(&self.folder, folder_flags(), Mode::empty()).map_err(|errno| match errno {
                // It says nothing about the key.
                Errno::NOENT => io_error(id, &what, errno),
                errno => open_error(id, &what, errno),
            })?;
        check_folder(id, &what, fd.as_fd())?;
        Ok(fd)
    }

    fn folder_of<'a>(&self, id: &'a KeyId) -> Result<Folder<'a>, KeyError> {
        let top = self.top(id)?;
        Folder::open(&top, id)
    }
}

fn folder_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn io_error(id: &KeyId, what: &str, error: impl Into<io::Error>) -> KeyError {
    KeyError::new(id, KeyProblem::Io, format!("{what}: {}", error.into()))
}

fn open_error(id: &KeyId, what: &str, errno: Errno) -> KeyError {
    let problem = match errno {
        Errno::NOENT => KeyProblem::NotFound,
        // What is a symbolic link, or no folder where there must be one.
        Errno::LOOP | Errno::NOTDIR => KeyProblem::Permissions,
        Errno::ACCESS | Errno::PERM => KeyProblem::Denied,
        _ => KeyProblem::Io,
    };
    KeyError::new(id, problem, format!("{what}: {}", io::Error::from(errno)))
}

fn check_owner(id: &KeyId, what: &str, stat: &Stat) -> Result<(), KeyError> {
    let wrong = |detail: String| {
        Err(KeyError::new(
            id,
            KeyProblem::Permissions,
            format!("{what}: {detail}"),
        ))
    };
    if stat.st_uid != 0 && stat.st_uid != geteuid().as_raw() {
        return wrong(format!("it belongs to user {}", stat.st_uid));
    }
    let mode = stat.st_mode & 0o7777;
    if mode & OF_OTHERS != 0 {
        return wrong(format!("its mode is {mode:04o}, not 0600 or 0700"));
    }
    Ok(())
}

fn check_folder(id: &KeyId, what: &str, fd: impl AsFd) -> Result<(), KeyError> {
    let stat = fstat(fd).map_err(|errno| io_error(id, what, errno))?;
    check_owner(id, what, &stat)
}

impl<'a> Folder<'a> {
    fn open(top: &OwnedFd, id: &'a KeyId) -> Result<Self, KeyError> {
        let fd = openat(top, id.as_str(), folder_flags(), Mode::empty())
            .map_err(|errno| open_error(id, id.as_str(), errno))?;
        check_folder(id, id.as_str(), fd.as_fd())?;
        Ok(Self { id, fd })
    }

    fn create(top: &OwnedFd, id: &'a KeyId) -> Result<Self, KeyError> {
        match mkdirat(top, id.as_str(), Mode::RWXU) {
            Ok(()) => fsync(top).map_err(|errno| io_error(id, id.as_str(), errno))?,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(open_error(id, id.as_str(), errno)),
        }
        Self::open(top, id)
    }

    fn error(&self, what: &str, error: impl Into<io::Error>) -> KeyError {
        io_error(self.id, &format!("{}/{what}", self.id), error)
    }

    /// Keeps other processes from changing the versions, until the folder is closed.
    fn lock(&self) -> Result<(), KeyError> {
        loop {
            match flock(&self.fd, FlockOperation::LockExclusive) {
                Err(Errno::INTR) => {}
                outcome => return outcome.map_err(|errno| self.error("lock", errno)),
            }
        }
    }

    /// The numbers among the names, in order.
    fn versions(&self) -> Result<Vec<KeyVersion>, KeyError> {
        let mut versions = Vec::new();
        for entry in Dir::read_from(&self.fd).map_err(|errno| self.error("", errno))? {
            let entry = entry.map_err(|errno| self.error("", errno))?;
            let name = entry.file_name().to_str().unwrap_or_default();
            match name.parse() {
                Ok(number @ 1..) if u64::to_string(&number) == name => {
                    versions.push(KeyVersion(number));
                }
                _ => {}
            }
        }
        versions.sort_unstable();
        Ok(versions)
    }

    fn newest(&self) -> Result<KeyVersion, KeyError> {
        Ok(self.versions()?.pop().unwrap_or(KeyVersion::NONE))
    }

    fn read(&self, version: KeyVersion) -> Result<KeyMaterial, KeyError> {
        let name = version.to_string();
        let what = format!("{}/{name}", self.id);
        // Nobody can keep us waiting by a pipe.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = openat(&self.fd, name, flags, Mode::empty())
            .map_err(|errno| open_error(self.id, &what, errno).with_version(version))?;
        let wrong = |problem, detail: &str| {
            KeyError::new(self.id, problem, format!("{what}: {detail}")).with_version(version)
        };
        let stat = fstat(&fd).map_err(|errno| io_error(self.id, &what, errno))?;
        if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::RegularFile {
            return Err(wrong(KeyProblem::Permissions, "it is no regular file"));
        }
        check_owner(self.id, &what, &stat).map_err(|error| error.with_version(version))?;
        let mut contents = Zeroizing::new(vec![0; LONGEST]);
        let len = read_all(&mut File::from(fd), &mut contents)
            .map_err(|error| io_error(self.id, &what, error))?;
        let contents = contents.get(..len).unwrap_or_default();
        let line = contents.strip_suffix(b"\n").unwrap_or(contents);
        KeyMaterial::from_bytes(contents)
            .or_else(|| KeyMaterial::from_hex(line))
            .ok_or_else(|| {
                wrong(
                    KeyProblem::Malformed,
                    "neither 32 bytes nor a line of 64 hexadecimal digits",
                )
            })
    }

    /// Writes the key under a name that is no version's, and gives it that of `version`.
    fn write(&self, version: KeyVersion, key: &KeyMaterial) -> Result<(), KeyError> {
        match unlinkat(&self.fd, NEW, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(self.error(NEW, errno)),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let fd = openat(&self.fd, NEW, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| self.error(NEW, errno))?;
        let mut file = File::from(fd);
        file.write_all(key.bytes())
            .and_then(|()| file.sync_all())
            .map_err(|error| self.error(NEW, error))?;
        let name = version.to_string();
        renameat(&self.fd, NEW, &self.fd, name.as_str())
            .and_then(|()| fsync(&self.fd))
            .map_err(|errno| self.error(&name, errno))
    }
}

/// Reads into `buffer` until it is full or the file ends, without another buffer.
fn read_all(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while let Some(rest) = buffer.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

impl KeyProvider for FileKeys {
    fn current(&self, id: &KeyId) -> Result<ProvidedKey, KeyError> {
        let folder = self.folder_of(id)?;
        match folder.newest()? {
            KeyVersion::NONE => Err(KeyError::new(id, KeyProblem::NotFound, "no version")),
            version => Ok(ProvidedKey::new(folder.read(version)?, version)),
        }
    }

    fn version(&self, id: &KeyId, version: KeyVersion) -> Result<KeyMaterial, KeyError> {
        self.folder_of(id)?.read(version)
    }

    fn versions(&self, id: &KeyId) -> Result<Vec<KeyVersion>, KeyError> {
        let top = self.top(id)?;
        match Folder::open(&top, id) {
            Err(error) if error.problem() == KeyProblem::NotFound => Ok(Vec::new()),
            folder => folder?.versions(),
        }
    }
}

impl KeyStore for FileKeys {
    fn store(
        &self,
        id: &KeyId,
        after: KeyVersion,
        key: &KeyMaterial,
    ) -> Result<KeyVersion, KeyError> {
        let folder = Folder::create(&self.top(id)?, id)?;
        folder.lock()?;
        let newest = folder.newest()?;
        let next = newest.0.checked_add(1).map(KeyVersion);
        match next {
            Some(next) if newest == after => {
                folder.write(next, key)?;
                Ok(next)
            }
            _ => Err(KeyError::new(
                id,
                KeyProblem::Conflict,
                format!("the newest version is {newest}, not {after}"),
            )),
        }
    }

    fn retire(&self, id: &KeyId, version: KeyVersion) -> Result<(), KeyError> {
        let folder = match self.folder_of(id) {
            Err(error) if error.problem() == KeyProblem::NotFound => return Ok(()),
            folder => folder?,
        };
        folder.lock()?;
        if folder.newest()? == version && version != KeyVersion::NONE {
            return Err(
                KeyError::new(id, KeyProblem::Conflict, "it is the current version")
                    .with_version(version),
            );
        }
        match unlinkat(&folder.fd, version.to_string(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(folder.error(&version.to_string(), errno)),
        }
        fsync(&folder.fd).map_err(|errno| folder.error("", errno))
    }
}

#[cfg(test)]
mod tests;
