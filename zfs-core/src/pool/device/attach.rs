//! Copies of what a device has: attaching, replacing, detaching.

use super::VdevId;
use super::survey::{Survey, Target};
use crate::error::{Errno, ErrorKind, Operation, Result};
use crate::nv::{NvMap, Value};
use crate::pool::Pool;
use crate::pool::health::{Health, VdevState};
use crate::pool::layout::{Checked, Device, Layout, VdevSpec};
use crate::pool::vdev::{Vdev, VdevClass, VdevKind};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use zfs_core_sys::ioctl::{ZFS_IOC_VDEV_ATTACH, ZFS_IOC_VDEV_DETACH};

/// How a new device gets its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Resilver {
    /// In the order of the data, each block checked.
    #[default]
    Healing,
    /// In the order of the disk, which is faster. Nothing is checked on the way, so that a scrub
    /// follows of itself. For mirrors and draid only.
    Sequential,
}

/// How a device is attached, or takes the place of another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttachOptions {
    resilver: Resilver,
    overwrite: bool,
}

impl AttachOptions {
    /// A healing resilver, and a device that nobody uses.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How the device gets its data.
    #[must_use]
    pub fn resilver(mut self, resilver: Resilver) -> Self {
        self.resilver = resilver;
        self
    }

    /// Takes a device that belongs to an exported pool, or has something else on it. One that is in
    /// use is refused all the same.
    #[must_use]
    pub fn overwrite(mut self) -> Self {
        self.overwrite = true;
        self
    }
}

/// A request of the two that add a device beside another.
struct Joining<'a> {
    target: &'a Target,
    options: &'a AttachOptions,
    replacing: bool,
}

impl Pool {
    /// Attaches a new device: to a device of the top or of a mirror, which makes a mirror or one
    /// device more of it, or to a raidz, which becomes wider by one (since 2.3).
    ///
    /// The resilver, or the expansion of the raidz, goes on when the call is over. The new device
    /// counts as a copy when it has ended.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `NotFound` | no pool of that name is imported, or it has no such vdev, or there is no new device |
    /// | `WrongKind` | the vdev is a spare or a cache, or inside of a raidz or draid, or is being replaced, or does not go with a sequential resilver |
    /// | `DeviceUnavailable` | a device of the raidz does not work, or is being replaced |
    /// | `DeviceTooSmall` | the new device is smaller than the data need |
    /// | `SectorSizeMismatch` | the new device has larger sectors than the vdev is made for |
    /// | `DeviceInUse` | the new device is in use, or has something on it, an exported pool for one, and `overwrite` is not set |
    /// | `InProgress` | a device is being removed, or a resilver of the other sort is under way, or the raidz is expanding, or the pool has a checkpoint |
    /// | `Unsupported` | the pool does not have the feature `device_rebuild` for a sequential resilver, or `raidz_expansion` |
    /// | `InvalidArgument` | the new device is none, or its path is not absolute |
    /// | `ReadOnlyPool`, `PoolSuspended` | as they say |
    ///
    /// # Privileges
    ///
    /// root. `zpool-attach(8)`, request `ZFS_IOC_VDEV_ATTACH`.
    #[doc(alias = "ZFS_IOC_VDEV_ATTACH")]
    #[doc(alias = "zpool_vdev_attach")]
    pub fn attach(
        &self,
        vdev: impl Into<VdevId>,
        new: impl Into<Device>,
        options: &AttachOptions,
    ) -> Result<()> {
        let (survey, target) = self.target(Operation::AttachVdev, &vdev.into())?;
        target.outside_of_aux()?;
        let wrong = |why: &str| Err(target.refuse(ErrorKind::WrongKind, why));
        match target.kind {
            VdevKind::Raidz { .. } => {
                if options.resilver == Resilver::Sequential {
                    return wrong("a raidz is not resilvered but expands");
                }
                target.need_feature(&survey, "raidz_expansion")?;
                let top = survey.top(target.guid);
                let works =
                    |child: &Vdev| child.kind.is_device() && child.state == VdevState::Healthy;
                if !top.is_some_and(|top| top.children.iter().all(works)) {
                    return Err(target.refuse(
                        ErrorKind::DeviceUnavailable,
                        "a raidz can expand when all its devices work",
                    ));
                }
            }
            VdevKind::Disk | VdevKind::File => {
                let parent = survey.parent(target.guid).map(|parent| &parent.kind);
                if !matches!(parent, Some(VdevKind::Root | VdevKind::Mirror)) {
                    return wrong("only a device of the top or of a mirror can be attached to");
                }
            }
            _ => return wrong("only a device or a raidz can be attached to"),
        }
        self.join(
            &survey,
            &new.into(),
            &Joining {
                target: &target,
                options,
                replacing: false,
            },
        )
    }

    /// Replaces a device by a new one. The old one leaves the pool when the new one has all its
    /// data, and stays in use until then as far as it works.
    ///
    /// The new device may have the path of the old one: then another disk is in its place. For a
    /// hot spare there is [`use_spare`](Self::use_spare).
    ///
    /// [Detaching](Self::detach) the new device before it has all data ends the replacement.
    ///
    /// # Errors
    ///
    /// As of [`attach`](Self::attach), except that every device can be replaced but spares that
    /// wait, caches and distributed spares: `WrongKind`. A hot spare in use can only be replaced by
    /// another.
    ///
    /// # Privileges
    ///
    /// root. `zpool-replace(8)`, request `ZFS_IOC_VDEV_ATTACH`.
    pub fn replace(
        &self,
        old: impl Into<VdevId>,
        new: impl Into<Device>,
        options: &AttachOptions,
    ) -> Result<()> {
        let (survey, target) = self.target(Operation::ReplaceVdev, &old.into())?;
        target.outside_of_aux()?;
        target.with_file()?;
        if survey.spare(target.guid).is_some() {
            return Err(target.refuse(
                ErrorKind::WrongKind,
                "only a hot spare can replace a hot spare",
            ));
        }
        self.join(
            &survey,
            &new.into(),
            &Joining {
                target: &target,
                options,
                replacing: true,
            },
        )
    }

    /// Lets a hot spare of the pool stand in for a device.
    ///
    /// The spare goes back to waiting when it is [detached](Self::detach), or of itself after the
    /// device was brought back with [`Unspare`](super::super::OnlineMode::Unspare) or by
    /// [`clear_vdev`](Self::clear_vdev) and has all its data. When the device is detached instead,
    /// the spare takes its place for good.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `NotFound` | no pool of that name is imported, or it has no such vdev or spare |
    /// | `WrongKind` | the vdev is no single device, or for the log, special or dedup; or the spare is none, or a distributed spare of another draid |
    /// | `Busy` | the spare is in use, here or in another pool |
    /// | `DeviceTooSmall`, `SectorSizeMismatch`, `InProgress`, `Unsupported`, `ReadOnlyPool`, `PoolSuspended` | as of [`attach`](Self::attach) |
    ///
    /// # Privileges
    ///
    /// root. `zpool-replace(8)`, request `ZFS_IOC_VDEV_ATTACH`.
    pub fn use_spare(
        &self,
        old: impl Into<VdevId>,
        spare: impl Into<VdevId>,
        options: &AttachOptions,
    ) -> Result<()> {
        const OPERATION: Operation = Operation::ReplaceVdev;
        let (survey, target) = self.target(OPERATION, &old.into())?;
        target.outside_of_aux()?;
        target.device_in_use()?;
        let chosen = self.target_in(&survey, OPERATION, &spare.into())?;
        let Some(spare) = survey.spare(chosen.guid) else {
            return Err(chosen.refuse(ErrorKind::WrongKind, "it is not a hot spare"));
        };
        if spare.health() != Health::Available {
            return Err(chosen.refuse(ErrorKind::Busy, format!("it is {}", spare.health())));
        }
        if target.class != VdevClass::Data {
            return Err(target.refuse(
                ErrorKind::WrongKind,
                "a hot spare cannot stand in for a device of the log, special or dedup",
            ));
        }
        let Some(leaf) = spare_leaf(spare) else {
            return Err(chosen.refuse(ErrorKind::WrongKind, "it is not one device"));
        };
        let mut root = NvMap::new();
        root.insert(c"type", c"root");
        root.insert(c"children", Value::ListArray(vec![leaf]));
        let joining = Joining {
            target: &target,
            options,
            replacing: true,
        };
        joining.check(&survey)?;
        self.request_joining(&joining, &root, &chosen.name)
            .map_err(|error| match error.errno() {
                Some(Errno::ENOTSUP) if spare.kind == VdevKind::DraidSpare => error
                    .with_kind(ErrorKind::WrongKind)
                    .with_detail(format!("{} is a spare of its own draid only", chosen.name)),
                _ => error,
            })
    }

    /// Detaches a device from a mirror, or from what replaces it or is replaced by it, or from the
    /// hot spare that stands in for it. Its labels are wiped.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `NotFound` | no pool of that name is imported, or it has no such vdev |
    /// | `LastCopy` | the rest of the pool does not have all that the device has |
    /// | `WrongKind` | the vdev is no single device, or in none of these groups |
    /// | `InProgress` | the pool has a checkpoint |
    /// | `ReadOnlyPool`, `PoolSuspended` | as they say |
    ///
    /// # Privileges
    ///
    /// root. `zpool-detach(8)`, request `ZFS_IOC_VDEV_DETACH`.
    #[doc(alias = "ZFS_IOC_VDEV_DETACH")]
    #[doc(alias = "zpool_vdev_detach")]
    pub fn detach(&self, vdev: impl Into<VdevId>) -> Result<()> {
        let (survey, target) = self.target(Operation::DetachVdev, &vdev.into())?;
        target.outside_of_aux()?;
        target.device_in_use()?;
        let parent = survey.parent(target.guid).map(|parent| &parent.kind);
        if !matches!(
            parent,
            Some(VdevKind::Mirror | VdevKind::Replacing | VdevKind::Spare)
        ) {
            return Err(target.refuse(
                ErrorKind::WrongKind,
                "only a device of a mirror, or one that is replaced, can be detached",
            ));
        }
        target.keep_last_copy(&survey)?;
        self.vdev_request(ZFS_IOC_VDEV_DETACH, target.guid)
            .run()
            .map_err(|errno| target.failed(errno))?;
        self.record_vdev("detach", "", &target);
        Ok(())
    }

    /// Attaches a device, or replaces one by it.
    fn join(&self, survey: &Survey, new: &Device, joining: &Joining<'_>) -> Result<()> {
        let target = joining.target;
        joining.check(survey)?;
        let layout = Layout::from(VdevSpec::device(new.clone()));
        let checked = layout.check(target.operation(), target.object())?;
        checked.refuse_in_use(
            &self.zfs,
            target.operation(),
            target.object(),
            joining.options.overwrite,
        )?;
        joining.check_fit(survey, new, &checked)?;
        let name = new.path().display().to_string();
        self.request_joining(joining, &checked.to_nvmap(), &name)
            .map_err(|error| match error.errno() {
                // All else that 2.1 has this number for is refused before.
                Some(Errno::ENOTSUP) if target.kind.is_device() => {
                    error.with_kind(ErrorKind::SectorSizeMismatch)
                }
                _ => error,
            })
    }

    fn request_joining(&self, joining: &Joining<'_>, tree: &NvMap, new: &str) -> Result<()> {
        let Joining {
            target,
            options,
            replacing,
        } = joining;
        let mut request = self
            .vdev_request(ZFS_IOC_VDEV_ATTACH, target.guid)
            .configuration(tree)
            .map_err(|refusal| refusal.into_error(target.operation(), target.object()))?;
        let sequential = options.resilver == Resilver::Sequential;
        request.cmd().zc_cookie = u64::from(*replacing);
        request.cmd().zc_simple = u8::from(sequential);
        request.run().map_err(|errno| target.failed(errno))?;
        self.zfs.record(|| {
            let command = if *replacing { "replace" } else { "attach" };
            let option = if sequential { "-s " } else { "" };
            let (pool, old) = (self.name.as_str(), &target.name);
            format!("zpool {command} {option}{pool} {old} {new}")
        });
        Ok(())
    }
}

/// A hot spare, as the kernel wants it in place of a new device.
fn spare_leaf(spare: &Vdev) -> Option<NvMap> {
    let kind = match spare.kind {
        VdevKind::Disk => c"disk",
        VdevKind::File => c"file",
        VdevKind::DraidSpare => c"dspare",
        _ => return None,
    };
    let path = CString::new(spare.path.as_ref()?.as_os_str().as_bytes()).ok()?;
    let mut leaf = NvMap::new();
    leaf.insert(c"type", kind);
    leaf.insert(c"path", path);
    leaf.insert(c"whole_disk", u64::from(spare.whole_disk));
    Some(leaf)
}

impl Target {
    /// Refuses hot spares that wait, and caches.
    fn outside_of_aux(&self) -> Result<()> {
        let why = match self.class {
            VdevClass::Spare => "it is a hot spare that waits",
            VdevClass::Cache => "it is a cache",
            _ => return Ok(()),
        };
        Err(self.refuse(ErrorKind::WrongKind, why))
    }

    fn need_feature(&self, survey: &Survey, feature: &str) -> Result<()> {
        if survey.has_feature(feature) {
            return Ok(());
        }
        Err(self.refuse(
            ErrorKind::Unsupported,
            format!("the feature {feature} is not enabled in the pool"),
        ))
    }
}

impl Joining<'_> {
    /// Refuses what depends on the pool alone.
    fn check(&self, survey: &Survey) -> Result<()> {
        let target = self.target;
        if survey.is_removing() {
            return Err(target.refuse(ErrorKind::InProgress, "a device is being removed"));
        }
        if self.options.resilver == Resilver::Sequential {
            target.need_feature(survey, "device_rebuild")?;
            let top = survey.top(target.guid).map(|top| &top.kind);
            if matches!(top, Some(VdevKind::Raidz { .. })) {
                return Err(target.refuse(
                    ErrorKind::WrongKind,
                    "a sequential resilver is for mirrors and draid",
                ));
            }
        }
        Ok(())
    }

    /// Refuses a new device that cannot hold what the old one does.
    fn check_fit(&self, survey: &Survey, new: &Device, checked: &Checked) -> Result<()> {
        let target = self.target;
        let top = survey.top(target.guid);
        if let (Some(new), Some(old)) = (new.ashift, top.and_then(|top| top.ashift)) {
            if u64::from(new) > old {
                return Err(target.refuse(
                    ErrorKind::SectorSizeMismatch,
                    format!("an ashift of {new} is more than that of the vdev, {old}"),
                ));
            }
        }
        let old = survey.find(&VdevId::Guid(target.guid));
        let old = match target.kind {
            VdevKind::Raidz { .. } => old.and_then(|raidz| raidz.children.first()),
            _ => old,
        };
        let needed = old
            .and_then(|old| old.stats.as_ref())
            .map(|stats| stats.replaceable_size);
        let size = checked.leaves().map(|leaf| leaf.size()).next();
        match (size, needed) {
            (Some(size), Some(needed)) if size < needed => Err(target.refuse(
                ErrorKind::DeviceTooSmall,
                format!("{size} bytes where {needed} are needed"),
            )),
            _ => Ok(()),
        }
    }
}
