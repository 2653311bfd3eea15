//! One object in two snapshots.

use super::OPERATION;
use super::change::{Change, ChangeKind, FileKind, ObjectPath, changed};
use crate::error::{Errno, Error, ErrorKind, Result};
use crate::ffi::device::{Request, read_bytes};
use crate::name::SnapshotName;
use crate::zfs::Zfs;
use std::collections::VecDeque;
use zfs_core_sys::ioctl::{ZFS_IOC_NEXT_OBJ, ZFS_IOC_OBJ_TO_STATS, zfs_stat};

/// Two snapshots.
#[derive(Debug)]
pub(super) struct Comparison {
    zfs: Zfs,
    from: SnapshotName,
    to: SnapshotName,
}

/// What one snapshot tells of an object. The kernel can know what it is without knowing where.
struct Side {
    stat: zfs_stat,
    path: Result<ObjectPath, Errno>,
}

impl Side {
    fn read(request: &mut Request<'_>, object: u64) -> Self {
        request.cmd().zc_obj = object;
        request.cmd().zc_stat = zfs_stat::default();
        let outcome = request.read();
        Self {
            stat: request.cmd().zc_stat,
            path: match outcome {
                Ok(()) => Ok(ObjectPath::new(
                    read_bytes(&request.cmd().zc_value).into_bytes(),
                )),
                Err(Errno::ESTALE) => Ok(ObjectPath::Unlinked),
                Err(errno) => Err(errno),
            },
        }
    }

    /// Why nothing is known, if that is more than that there is no such file.
    fn problem(&self) -> Option<Errno> {
        match self.path {
            // ENOTSUP is an object that is no file, but holds what the filesystem needs.
            Ok(_) | Err(Errno::ENOENT | Errno::ENOTSUP) => None,
            Err(errno) => Some(errno),
        }
    }

    fn is_directory(&self) -> bool {
        FileKind::of(&self.stat) == FileKind::Directory
    }
}

impl Comparison {
    pub(super) fn new(zfs: &Zfs, from: &SnapshotName, to: &SnapshotName) -> Self {
        Self {
            zfs: zfs.clone(),
            from: from.clone(),
            to: to.clone(),
        }
    }

    pub(super) fn from(&self) -> &SnapshotName {
        &self.from
    }

    pub(super) fn to(&self) -> &SnapshotName {
        &self.to
    }

    pub(super) fn object(&self) -> String {
        format!("{} to {}", self.from, self.to)
    }

    /// Looks up to `most` objects of a range up, and returns where it goes on, if it does.
    pub(super) fn look_up(
        &self,
        first: u64,
        last: u64,
        in_use: bool,
        most: usize,
        changes: &mut VecDeque<Result<Change>>,
    ) -> Result<Option<u64>> {
        match in_use {
            true => self.look_up_used(first, last, most, changes),
            false => self.look_up_free(first, last, most, changes),
        }
    }

    fn look_up_used(
        &self,
        first: u64,
        last: u64,
        most: usize,
        changes: &mut VecDeque<Result<Change>>,
    ) -> Result<Option<u64>> {
        let mut earlier = self.zfs.request(ZFS_IOC_OBJ_TO_STATS, self.from.as_c_str());
        let mut later = self.zfs.request(ZFS_IOC_OBJ_TO_STATS, self.to.as_c_str());
        let mut objects = first..=last;
        for object in objects.by_ref().take(most) {
            let from = Side::read(&mut earlier, object);
            let to = Side::read(&mut later, object);
            self.compare(object, from, to, changes)?;
        }
        Ok(objects.next())
    }

    fn compare(
        &self,
        object: u64,
        from: Side,
        to: Side,
        changes: &mut VecDeque<Result<Change>>,
    ) -> Result<()> {
        match differences(object, from, to) {
            Ok(found) => changes.extend(found.into_iter().flatten().map(Ok)),
            Err(Unread::Earlier(errno)) => {
                changes.push_back(Err(self.object_error(&self.from, object, errno)?));
            }
            Err(Unread::Later(errno)) => {
                changes.push_back(Err(self.object_error(&self.to, object, errno)?));
            }
        }
        Ok(())
    }

    /// What is free now and was there before is gone.
    ///
    /// The kernel may call objects free that are there: when only the block of the objset was written
    /// anew, as a rollback does, it calls all of them so.
    fn look_up_free(
        &self,
        first: u64,
        last: u64,
        most: usize,
        changes: &mut VecDeque<Result<Change>>,
    ) -> Result<Option<u64>> {
        let mut next = self.zfs.request(ZFS_IOC_NEXT_OBJ, self.from.as_c_str());
        let mut earlier = self.zfs.request(ZFS_IOC_OBJ_TO_STATS, self.from.as_c_str());
        let mut later = self.zfs.request(ZFS_IOC_OBJ_TO_STATS, self.to.as_c_str());
        let mut before = first.saturating_sub(1);
        for _ in 0..most {
            next.cmd().zc_obj = before;
            match next.read() {
                Ok(()) => {}
                Err(Errno::ESRCH) => return Ok(None),
                Err(errno) => return Err(Error::new(OPERATION, self.object(), errno)),
            }
            let object = next.cmd().zc_obj;
            if object > last || object <= before {
                return Ok(None);
            }
            let from = Side::read(&mut earlier, object);
            let to = Side::read(&mut later, object);
            // What was removed and still open is no news.
            if !(matches!(from.path, Ok(ObjectPath::Unlinked)) && to.path.is_err()) {
                self.compare(object, from, to, changes)?;
            }
            before = object;
        }
        Ok(before.checked_add(1).filter(|first| *first <= last))
    }

    /// The error about one object, unless it is about all.
    fn object_error(&self, snapshot: &SnapshotName, object: u64, errno: Errno) -> Result<Error> {
        let error = Error::new(OPERATION, self.object(), errno);
        match error.kind() {
            ErrorKind::PermissionDenied
            | ErrorKind::KeyNotLoaded
            | ErrorKind::PoolSuspended
            | ErrorKind::OutOfMemory => Err(error),
            _ => Ok(error.with_detail(format!("object {object} of {snapshot}"))),
        }
    }
}

fn change(object: u64, stat: &zfs_stat, kind: ChangeKind) -> Change {
    Change {
        kind,
        file: FileKind::of(stat),
        object,
        changed: changed(stat),
    }
}

/// Which snapshot tells nothing of an object, and why. It may be there and may not.
#[derive(Debug, PartialEq, Eq)]
enum Unread {
    Earlier(Errno),
    Later(Errno),
}

/// What became of an object, by the rules of `zfs diff`.
fn differences(object: u64, from: Side, to: Side) -> Result<[Option<Change>; 2], Unread> {
    if let Some(errno) = from.problem() {
        return Err(Unread::Earlier(errno));
    }
    if let Some(errno) = to.problem() {
        return Err(Unread::Later(errno));
    }
    let counted = !from.is_directory() && !to.is_directory();
    let by = match (from.stat.zs_links, to.stat.zs_links) {
        (0, _) | (_, 0) => 0,
        (old, new) if counted => i64::try_from(i128::from(new) - i128::from(old)).unwrap_or(0),
        _ => 0,
    };
    let one = |stat, kind| Ok([Some(change(object, stat, kind)), None]);
    let (old, new) = match (from.path, to.path) {
        (Err(_), Err(_)) => return Ok([None, None]),
        // There was no such path, although there was the file: it had another link.
        (Err(_), Ok(path)) if by != 0 => return one(&to.stat, ChangeKind::Links { path, by }),
        (Err(_), Ok(path)) => return one(&to.stat, ChangeKind::Added(path)),
        (Ok(path), Err(_)) if by != 0 => return one(&from.stat, ChangeKind::Links { path, by }),
        (Ok(path), Err(_)) => return one(&from.stat, ChangeKind::Removed(path)),
        (Ok(old), Ok(new)) => (old, new),
    };
    let is_same =
        from.stat.zs_gen == to.stat.zs_gen && FileKind::of(&from.stat) == FileKind::of(&to.stat);
    if !is_same {
        return Ok([
            Some(change(object, &from.stat, ChangeKind::Removed(old))),
            Some(change(object, &to.stat, ChangeKind::Added(new))),
        ]);
    }
    if from.stat.zs_ctime == to.stat.zs_ctime {
        return Ok([None, None]);
    }
    let kind = match by {
        1.. => ChangeKind::Links { path: old, by },
        ..0 => ChangeKind::Links { path: new, by },
        0 if old == new => ChangeKind::Modified(old),
        0 => ChangeKind::Renamed { from: old, to: new },
    };
    one(&to.stat, kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(path: &str, links: u64, generation: u64, time: u64) -> Side {
        Side {
            stat: zfs_stat {
                zs_gen: generation,
                zs_mode: u64::from(libc::S_IFREG) | 0o644,
                zs_links: links,
                zs_ctime: [time, 0],
            },
            path: Ok(ObjectPath::new(path.into())),
        }
    }

    fn absent() -> Side {
        Side {
            stat: zfs_stat::default(),
            path: Err(Errno::ENOENT),
        }
    }

    fn kinds(from: Side, to: Side) -> Vec<String> {
        let text = |change: Change| match change.kind {
            ChangeKind::Renamed { from, to } => format!("R {from} {to}"),
            ChangeKind::Links { path, by } => format!("M {path} {by:+}"),
            ref kind @ (ChangeKind::Added(ref path)
            | ChangeKind::Removed(ref path)
            | ChangeKind::Modified(ref path)) => format!("{} {path}", kind.letter()),
        };
        let changes = differences(9, from, to).unwrap();
        changes.into_iter().flatten().map(text).collect()
    }

    #[test]
    fn what_cannot_be_read_was_neither_added_nor_removed() {
        let there = || side("/a", 1, 5, 10);
        let unread = |errno| Side {
            path: Err(errno),
            ..absent()
        };
        let told = |from, to| differences(9, from, to).err();
        let errno = Errno::EIO;
        assert_eq!(told(unread(errno), there()), Some(Unread::Earlier(errno)));
        assert_eq!(told(there(), unread(errno)), Some(Unread::Later(errno)));
        // An object that is no file is as good as none.
        assert_eq!(told(there(), unread(Errno::ENOTSUP)), None);
    }

    #[test]
    fn rules() {
        let old = || side("/a", 1, 5, 10);
        assert_eq!(kinds(absent(), absent()), [""; 0]);
        assert_eq!(kinds(absent(), old()), ["+ /a"]);
        assert_eq!(kinds(old(), absent()), ["- /a"]);
        assert_eq!(kinds(old(), old()), [""; 0]);
        assert_eq!(kinds(old(), side("/a", 1, 5, 11)), ["M /a"]);
        assert_eq!(kinds(old(), side("/b", 1, 5, 11)), ["R /a /b"]);
        assert_eq!(kinds(old(), side("/b", 1, 6, 11)), ["- /a", "+ /b"]);
        assert_eq!(kinds(old(), side("/b", 3, 5, 11)), ["M /a +2"]);
        assert_eq!(kinds(side("/b", 3, 5, 9), old()), ["M /a -2"]);
        let mut folder = side("/a", 2, 5, 11);
        folder.stat.zs_mode = u64::from(libc::S_IFDIR);
        assert_eq!(kinds(old(), folder), ["- /a", "+ /a"]);
        let mut lost = side("/a", 2, 5, 11);
        lost.path = Err(Errno::ENOENT);
        assert_eq!(kinds(lost, old()), ["M /a -1"]);
        let mut unlinked = side("/a", 0, 5, 11);
        unlinked.path = Ok(ObjectPath::Unlinked);
        assert_eq!(kinds(old(), unlinked), ["R /a (on_delete_queue)"]);
    }
}
