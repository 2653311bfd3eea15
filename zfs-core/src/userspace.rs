//! Space, objects and quotas by owner: by user, by group and by project.
//!
//! ZFS counts what each owner has in a filesystem as transaction groups are written, so that the
//! figures lag behind by some seconds, and a quota may be passed by as much. Quotas are of one
//! filesystem; nothing is inherited, nor summed up over descendants.

use crate::dataset::Dataset;
use crate::error::{Errno, Error, ErrorKind, Operation, Result};
use crate::ffi::device::Request;
use crate::history::Line;
use crate::list::DatasetKind;
use crate::nv::NvMap;
use crate::snapshot::Snapshot;
use crate::zfs::Zfs;
use std::ffi::{CStr, CString, c_ulong};
use std::fmt;
use zfs_core_sys::ioctl::{
    ZFS_IOC_OBJSET_STATS, ZFS_IOC_SET_PROP, ZFS_IOC_USERSPACE_MANY, ZFS_IOC_USERSPACE_ONE,
    zfs_useracct,
};

/// Who owns files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Owner {
    /// The user of this id.
    User(u32),
    /// The group of this id.
    Group(u32),
    /// The project of this id, which `chattr -p` gives to files.
    Project(u32),
    /// A user that is known by a Windows security identifier.
    UserSid(Sid),
    /// A group that is known by a Windows security identifier.
    GroupSid(Sid),
}

/// A Windows security identifier: a domain and a number in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sid {
    domain: CString,
    rid: u32,
}

/// The room that the kernel has for a domain, with its terminator.
const MAX_DOMAIN_LEN: usize = 256;

impl Sid {
    /// The number `rid` in `domain`, such as `S-1-5-21-1-2-3`.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when the domain is empty, longer than 255 bytes, or contains a NUL
    /// character.
    pub fn new(domain: &str, rid: u32) -> Result<Self> {
        match CString::new(domain) {
            Ok(c_domain) if !domain.is_empty() && domain.len() < MAX_DOMAIN_LEN => Ok(Self {
                domain: c_domain,
                rid,
            }),
            _ => Err(Error::refused(
                Operation::CheckName,
                domain,
                ErrorKind::InvalidArgument,
                "a domain has 1 to 255 bytes",
            )),
        }
    }

    /// The domain.
    #[must_use]
    pub fn domain(&self) -> &CStr {
        &self.domain
    }

    /// The number in the domain.
    #[must_use]
    pub fn rid(&self) -> u32 {
        self.rid
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.domain.to_string_lossy(), self.rid)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user {id}"),
            Self::Group(id) => write!(f, "group {id}"),
            Self::Project(id) => write!(f, "project {id}"),
            Self::UserSid(sid) => write!(f, "user {sid}"),
            Self::GroupSid(sid) => write!(f, "group {sid}"),
        }
    }
}

/// The three kinds of owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OwnerKind {
    /// Users.
    User,
    /// Groups.
    Group,
    /// Projects. They need the pool's feature `project_quota`.
    Project,
}

/// What there is to know of an owner. With the three kinds of owners this makes the twelve
/// properties `userused`, `userquota`, … `projectobjquota` of `zfsprops(7)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[doc(alias = "zfs_userquota_prop_t")]
pub enum Measure {
    /// The space in use, in bytes.
    Used,
    /// The limit of the space, in bytes.
    Quota,
    /// The number of objects: files, directories and the like.
    Objects,
    /// The limit of the number of objects.
    ObjectQuota,
}

impl OwnerKind {
    /// The kernel's number for a measure of this kind of owners, and its name.
    const fn property(self, measure: Measure) -> (u64, &'static str) {
        match (self, measure) {
            (Self::User, Measure::Used) => (0, "userused"),
            (Self::User, Measure::Quota) => (1, "userquota"),
            (Self::Group, Measure::Used) => (2, "groupused"),
            (Self::Group, Measure::Quota) => (3, "groupquota"),
            (Self::User, Measure::Objects) => (4, "userobjused"),
            (Self::User, Measure::ObjectQuota) => (5, "userobjquota"),
            (Self::Group, Measure::Objects) => (6, "groupobjused"),
            (Self::Group, Measure::ObjectQuota) => (7, "groupobjquota"),
            (Self::Project, Measure::Used) => (8, "projectused"),
            (Self::Project, Measure::Quota) => (9, "projectquota"),
            (Self::Project, Measure::Objects) => (10, "projectobjused"),
            (Self::Project, Measure::ObjectQuota) => (11, "projectobjquota"),
        }
    }

    fn owner(self, domain: CString, id: u32) -> Owner {
        let plain = domain.is_empty();
        let sid = Sid { domain, rid: id };
        match self {
            Self::User if plain => Owner::User(id),
            Self::User => Owner::UserSid(sid),
            Self::Group if plain => Owner::Group(id),
            Self::Group => Owner::GroupSid(sid),
            Self::Project => Owner::Project(id),
        }
    }
}

impl Owner {
    /// The kind of owner.
    #[must_use]
    pub fn kind(&self) -> OwnerKind {
        match self {
            Self::User(_) | Self::UserSid(_) => OwnerKind::User,
            Self::Group(_) | Self::GroupSid(_) => OwnerKind::Group,
            Self::Project(_) => OwnerKind::Project,
        }
    }

    fn id(&self) -> u32 {
        match self {
            Self::User(id) | Self::Group(id) | Self::Project(id) => *id,
            Self::UserSid(sid) | Self::GroupSid(sid) => sid.rid,
        }
    }

    fn domain(&self) -> &CStr {
        match self {
            Self::User(_) | Self::Group(_) | Self::Project(_) => c"",
            Self::UserSid(sid) | Self::GroupSid(sid) => &sid.domain,
        }
    }
}

/// What an owner has in a filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnerSpace {
    /// The space in use, in bytes.
    pub used: u64,
    /// The owner's own quota in bytes. Without one, the filesystem's
    /// [`DefaultUserQuota`](crate::props::DefaultUserQuota) or its like applies (since ZFS 2.4).
    pub quota: Option<u64>,
    /// The number of objects; `None` when the filesystem does not count them.
    pub objects: Option<u64>,
    /// The owner's own limit of objects.
    pub object_quota: Option<u64>,
}

/// A filesystem or a snapshot of one.
struct Target<'a> {
    zfs: &'a Zfs,
    name: &'a CStr,
}

impl<'a> Target<'a> {
    fn request(&self, number: c_ulong, kind: OwnerKind, measure: Measure) -> Request<'a> {
        let mut request = self.zfs.request(number, self.name);
        request.cmd().zc_objset_type = kind.property(measure).0;
        request
    }

    /// What there is of this name, if anything.
    fn kind(&self) -> Option<DatasetKind> {
        let mut request = self.zfs.request(ZFS_IOC_OBJSET_STATS, self.name);
        request.read().ok()?;
        Some(DatasetKind::from_raw(request.stats().dds_type))
    }

    fn error(&self, operation: Operation, errno: Errno) -> Error {
        let error = Error::new(operation, self.name.to_string_lossy(), errno);
        match self.kind() {
            Some(DatasetKind::Volume) => error.with_kind(ErrorKind::WrongKind),
            _ => error,
        }
    }

    fn value(&self, owner: &Owner, measure: Measure) -> Result<u64, Errno> {
        let mut request = self.request(ZFS_IOC_USERSPACE_ONE, owner.kind(), measure);
        request.cmd().zc_guid = owner.id().into();
        // A domain is far shorter than the field.
        let _fits = request.set_value(owner.domain());
        match request.read() {
            Ok(()) => Ok(request.cookie()),
            // The filesystem has no file of anyone in the domain, or there is no filesystem.
            Err(Errno::ENOENT) if !owner.domain().is_empty() && self.kind().is_some() => Ok(0),
            Err(errno) => Err(errno),
        }
    }

    fn checked_value(&self, owner: &Owner, measure: Measure) -> Result<u64> {
        self.value(owner, measure)
            .map_err(|errno| self.error(Operation::GetUserSpace, errno))
    }

    fn space(&self, owner: &Owner) -> Result<OwnerSpace> {
        let limit = |value| Some(value).filter(|&value| value != 0);
        let used = self.checked_value(owner, Measure::Used)?;
        let quota = limit(self.checked_value(owner, Measure::Quota)?);
        let (objects, object_quota) = match self.value(owner, Measure::Objects) {
            Ok(objects) => (
                Some(objects),
                limit(self.checked_value(owner, Measure::ObjectQuota)?),
            ),
            Err(Errno::ENOTSUP) => (None, None),
            Err(errno) => return Err(self.error(Operation::GetUserSpace, errno)),
        };
        Ok(OwnerSpace {
            used,
            quota,
            objects,
            object_quota,
        })
    }

    fn list(&self, kind: OwnerKind, measure: Measure) -> Result<Vec<(Owner, u64)>> {
        let mut request = self
            .request(ZFS_IOC_USERSPACE_MANY, kind, measure)
            .answered();
        let mut owners = Vec::new();
        loop {
            request
                .read()
                .map_err(|errno| self.error(Operation::GetUserSpace, errno))?;
            let entries = request.answer_bytes();
            if entries.is_empty() {
                return Ok(owners);
            }
            for entry in entries.chunks(ENTRY_LEN) {
                owners.push(read_entry(kind, entry).ok_or_else(|| {
                    let object = self.name.to_string_lossy();
                    Error::protocol(Operation::GetUserSpace, object, "a broken entry")
                })?);
            }
        }
    }
}

const ENTRY_LEN: usize = size_of::<zfs_useracct>();

/// Reads one `zfs_useracct`.
fn read_entry(kind: OwnerKind, entry: &[u8]) -> Option<(Owner, u64)> {
    let field = |offset: usize, len: usize| entry.get(offset..)?.get(..len);
    let domain = field(
        std::mem::offset_of!(zfs_useracct, zu_domain),
        MAX_DOMAIN_LEN,
    )?;
    let domain = CStr::from_bytes_until_nul(domain).ok()?;
    let id = field(std::mem::offset_of!(zfs_useracct, zu_rid), size_of::<u32>())?;
    let value = field(
        std::mem::offset_of!(zfs_useracct, zu_space),
        size_of::<u64>(),
    )?;
    let owner = kind.owner(domain.to_owned(), u32::from_ne_bytes(id.try_into().ok()?));
    Some((owner, u64::from_ne_bytes(value.try_into().ok()?)))
}

/// The name under which a quota is set: the id in hexadecimal, a dash, the domain.
fn quota_name(owner: &Owner, measure: Measure) -> CString {
    let (_, property) = owner.kind().property(measure);
    let mut name = format!("{property}@{:x}-", owner.id()).into_bytes();
    name.extend_from_slice(owner.domain().to_bytes());
    // Neither part has a NUL.
    CString::new(name).unwrap_or_default()
}

/// As the `zfs` command has it: `userquota@1000`.
fn command_name(owner: &Owner, measure: Measure) -> String {
    let (_, property) = owner.kind().property(measure);
    match owner {
        Owner::UserSid(sid) | Owner::GroupSid(sid) => format!("{property}@{sid}"),
        plain => format!("{property}@{}", plain.id()),
    }
}

impl Dataset {
    fn userspace(&self) -> Target<'_> {
        Target {
            zfs: self.zfs(),
            name: self.name().as_c_str(),
        }
    }

    /// What an owner has in this filesystem, and the owner's quotas: four requests.
    ///
    /// # Errors
    ///
    /// `NotFound`; `WrongKind` for a volume; `Unsupported` for a filesystem or a pool of a version
    /// that does not count by owner, or by project; `InvalidArgument` for the project `u32::MAX`;
    /// `KeyNotLoaded`; `Busy` when it is not mounted and somebody else uses it just then;
    /// `PermissionDenied`; `PoolSuspended`.
    ///
    /// # Privileges
    ///
    /// None for one's own user and groups; otherwise root, or the delegated permissions `userused`,
    /// `userquota` and so on.
    ///
    /// `ZFS_IOC_USERSPACE_ONE`, `zfs-userspace(8)`.
    #[doc(alias = "ZFS_IOC_USERSPACE_ONE")]
    pub fn owner_space(&self, owner: &Owner) -> Result<OwnerSpace> {
        self.userspace().space(owner)
    }

    /// One figure of an owner. 0 when there is nothing: no file, or no quota.
    ///
    /// # Errors
    ///
    /// As [`owner_space`](Self::owner_space); `Unsupported` also when objects are not counted.
    ///
    /// # Privileges
    ///
    /// As [`owner_space`](Self::owner_space).
    ///
    /// `ZFS_IOC_USERSPACE_ONE`, the property `userused@` and its like.
    #[doc(alias = "ZFS_IOC_USERSPACE_ONE")]
    pub fn owner_value(&self, owner: &Owner, measure: Measure) -> Result<u64> {
        self.userspace().checked_value(owner, measure)
    }

    /// One figure of all owners of a kind, for those that it is not 0 for. They come in no order.
    ///
    /// # Errors
    ///
    /// As [`owner_value`](Self::owner_value).
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permission of the property's name.
    ///
    /// `ZFS_IOC_USERSPACE_MANY`, `zfs-userspace(8)`.
    #[doc(alias = "ZFS_IOC_USERSPACE_MANY")]
    pub fn owners(&self, kind: OwnerKind, measure: Measure) -> Result<Vec<(Owner, u64)>> {
        self.userspace().list(kind, measure)
    }

    /// Limits the space of an owner in this filesystem to so many bytes, or no longer limits it. It
    /// may be less than what is in use.
    ///
    /// # Errors
    ///
    /// As [`owner_space`](Self::owner_space); `ReadOnlyPool`.
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permission `userquota`, `groupquota` or `projectquota`.
    ///
    /// `ZFS_IOC_SET_PROP`, `zfs-set(8)`.
    #[doc(alias = "userquota")]
    pub fn set_owner_quota(&self, owner: &Owner, bytes: Option<u64>) -> Result<()> {
        self.set_owner_limit(owner, Measure::Quota, bytes)
    }

    /// Limits the number of objects of an owner in this filesystem, or no longer limits it.
    ///
    /// # Errors
    ///
    /// As [`set_owner_quota`](Self::set_owner_quota).
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permission `userobjquota`, `groupobjquota` or `projectobjquota`.
    ///
    /// `ZFS_IOC_SET_PROP`, `zfs-set(8)`.
    #[doc(alias = "userobjquota")]
    pub fn set_owner_object_quota(&self, owner: &Owner, objects: Option<u64>) -> Result<()> {
        self.set_owner_limit(owner, Measure::ObjectQuota, objects)
    }

    fn set_owner_limit(&self, owner: &Owner, measure: Measure, limit: Option<u64>) -> Result<()> {
        const OPERATION: Operation = Operation::SetUserQuota;
        let (number, _) = owner.kind().property(measure);
        let mut quota = NvMap::new();
        quota.insert(
            quota_name(owner, measure),
            vec![number, owner.id().into(), limit.unwrap_or_default()],
        );
        let object = || format!("{} for {owner}", self.name());
        let mut request = self
            .zfs()
            .request(ZFS_IOC_SET_PROP, self.name().as_c_str())
            .input(&quota)
            .map_err(|refusal| refusal.into_error(OPERATION, object()))?;
        request
            .run()
            .map_err(|errno| self.userspace().error(OPERATION, errno))?;
        self.zfs().record(|| {
            let limit = limit.map_or_else(|| String::from("none"), |limit| limit.to_string());
            let property = command_name(owner, measure);
            Line::new("zfs set")
                .arg(format_args!("{property}={limit}"))
                .arg(self.name())
        });
        Ok(())
    }
}

impl Snapshot {
    fn userspace(&self) -> Target<'_> {
        Target {
            zfs: self.zfs(),
            name: self.name().as_c_str(),
        }
    }

    /// What an owner had, and the owner's quotas, when the snapshot was taken.
    ///
    /// # Errors
    ///
    /// As [`Dataset::owner_space`].
    ///
    /// # Privileges
    ///
    /// As [`Dataset::owner_space`].
    #[doc(alias = "ZFS_IOC_USERSPACE_ONE")]
    pub fn owner_space(&self, owner: &Owner) -> Result<OwnerSpace> {
        self.userspace().space(owner)
    }

    /// One figure of all owners of a kind when the snapshot was taken.
    ///
    /// # Errors
    ///
    /// As [`Dataset::owners`].
    ///
    /// # Privileges
    ///
    /// As [`Dataset::owners`].
    #[doc(alias = "ZFS_IOC_USERSPACE_MANY")]
    pub fn owners(&self, kind: OwnerKind, measure: Measure) -> Result<Vec<(Owner, u64)>> {
        self.userspace().list(kind, measure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_named_as_the_kernel_reads_them() {
        assert_eq!(
            quota_name(&Owner::User(1000), Measure::Quota).as_c_str(),
            c"userquota@3e8-"
        );
        let sid = Sid::new("S-1-5-21", 500).unwrap();
        assert_eq!(
            quota_name(&Owner::GroupSid(sid), Measure::ObjectQuota).as_c_str(),
            c"groupobjquota@1f4-S-1-5-21"
        );
    }

    #[test]
    fn the_twelve_numbers_are_all_there() {
        let mut numbers = Vec::new();
        for kind in [OwnerKind::User, OwnerKind::Group, OwnerKind::Project] {
            for measure in [
                Measure::Used,
                Measure::Quota,
                Measure::Objects,
                Measure::ObjectQuota,
            ] {
                numbers.push(kind.property(measure).0);
            }
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (0..12).collect::<Vec<_>>());
    }

    #[test]
    fn entries_of_the_kernels_array() {
        let mut entry = [0; ENTRY_LEN];
        entry[256..260].copy_from_slice(&1000u32.to_ne_bytes());
        entry[264..].copy_from_slice(&4096u64.to_ne_bytes());
        assert_eq!(
            read_entry(OwnerKind::User, &entry),
            Some((Owner::User(1000), 4096))
        );
        entry[..5].copy_from_slice(b"S-1-5");
        let sid = Owner::GroupSid(Sid::new("S-1-5", 1000).unwrap());
        assert_eq!(read_entry(OwnerKind::Group, &entry), Some((sid, 4096)));
        entry[..256].fill(b'x');
        assert_eq!(read_entry(OwnerKind::Group, &entry), None);
    }

    #[test]
    fn domains() {
        for domain in ["", "a\0b", &"x".repeat(256)] {
            assert_eq!(
                Sid::new(domain, 1).unwrap_err().kind(),
                ErrorKind::InvalidArgument
            );
        }
        assert_eq!(Sid::new("S-1-5-21", 7).unwrap().to_string(), "S-1-5-21-7");
    }
}
