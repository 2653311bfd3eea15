//! More vdevs.

use crate::error::{Errno, Error, ErrorKind, Operation, Result};
use crate::history::Line;
use crate::pool::Pool;
use crate::pool::layout::{Checked, Layout, Redundancy};
use crate::pool::vdev::{Vdev, VdevClass};
use zfs_core_sys::ioctl::ZFS_IOC_VDEV_ADD;

/// How vdevs are added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddOptions {
    allow_sector_mismatch: bool,
    overwrite: bool,
}

/// The kernel is to compare the sector sizes. Ignored before 2.2.8.
const CHECK_ASHIFT: u32 = 1;

impl AddOptions {
    /// Vdevs like those of the pool, on devices that nobody uses.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes vdevs of another sector size. Then no vdev can be
    /// [removed](super::super::Pool::remove) from the pool any more.
    #[must_use]
    pub fn allow_sector_mismatch(mut self) -> Self {
        self.allow_sector_mismatch = true;
        self
    }

    /// Takes devices that belong to an exported pool, or have something else on them. Those that
    /// are in use are refused all the same.
    #[must_use]
    pub fn overwrite(mut self) -> Self {
        self.overwrite = true;
        self
    }
}

impl Pool {
    /// Adds vdevs: for data, for the log, special or dedup, hot spares, caches.
    ///
    /// What was added for data can only be removed again from a pool without raidz and draid, and a
    /// raidz or draid never. So what differs from the pool's vdevs in redundancy is refused unless
    /// [`Layout::allow_mixed`] is set; so is another sector size unless
    /// [`AddOptions::allow_sector_mismatch`] is. Devices get the sector size that
    /// [`Device::ashift`](super::super::Device::ashift), [`Layout::ashift`] or the pool's property
    /// `ashift` asks for, in this order, or else their own, which 2.1 does not compare.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `NotFound` | no pool of that name is imported, or there is no such device |
    /// | `InvalidArgument` | there is nothing to add, or the layout breaks a rule ([`Layout`] has them), or it has a raidz or draid and a vdev was removed from the pool before |
    /// | `RedundancyMismatch` | the vdevs differ from those of the pool in what they can lose |
    /// | `SectorSizeMismatch` | they differ in the size of their sectors |
    /// | `DeviceTooSmall` | a device is smaller than 64 MiB |
    /// | `DeviceInUse` | a device is in use, or has something on it, an exported pool for one, and `overwrite` is not set |
    /// | `Unsupported` | the pool lacks the feature for a vdev of that kind |
    /// | `ReadOnlyPool`, `PoolSuspended` | as they say |
    ///
    /// # Privileges
    ///
    /// root. `zpool-add(8)`, request `ZFS_IOC_VDEV_ADD`.
    #[doc(alias = "ZFS_IOC_VDEV_ADD")]
    #[doc(alias = "zpool_add")]
    pub fn add(&self, layout: &Layout, options: &AddOptions) -> Result<()> {
        const OPERATION: Operation = Operation::AddVdevs;
        let name = self.name.as_str();
        let survey = self.survey(OPERATION)?;
        let mut layout = layout.clone();
        if layout.ashift.is_none() {
            let property = self.properties().map_err(|error| error.during(OPERATION))?;
            layout.ashift = property.ashift().and_then(|ashift| ashift.try_into().ok());
        }
        let layout = &layout;
        let checked = layout.check(OPERATION, name)?;
        if checked.is_empty() {
            return Err(self.refuse(OPERATION, ErrorKind::InvalidArgument, "nothing to add"));
        }
        checked.refuse_in_use(&self.zfs, OPERATION, name, options.overwrite)?;
        let root = &survey.status.root;
        if !layout.allow_mixed {
            if let Some(why) = redundancy_differs(root, &checked) {
                return Err(self.refuse(OPERATION, ErrorKind::RedundancyMismatch, why));
            }
        }
        if !options.allow_sector_mismatch {
            if let Some(why) = sectors_differ(root, layout) {
                return Err(self.refuse(OPERATION, ErrorKind::SectorSizeMismatch, why));
            }
        }
        let mut request = self
            .zfs
            .request(ZFS_IOC_VDEV_ADD, self.name.as_c_str())
            .configuration(&checked.to_nvmap())
            .map_err(|refusal| refusal.into_error(OPERATION, name))?;
        if !options.allow_sector_mismatch {
            request.cmd().zc_tail.fields.zc_flags = CHECK_ASHIFT;
        }
        request.run().map_err(|errno| {
            let error = Error::new(OPERATION, name, errno);
            match errno {
                Errno::EINVAL => error.with_detail(
                    "a raidz or draid cannot be added to a pool from which a vdev was removed, \
                     or the module does not know the kind of vdev",
                ),
                _ => error,
            }
        })?;
        self.zfs
            .record(|| Line::new("zpool add").arg(name).args(layout.words()));
        Ok(())
    }
}

fn redundancy_differs(root: &Vdev, new: &Checked) -> Option<String> {
    let pool = Redundancy::of_pool(root)?;
    // Within the layout it is uniform, which was looked at.
    let new = new.redundancy().ok()??;
    pool.difference(&new)
}

/// What the layout asks for, compared with the vdevs of the pool when those agree.
fn sectors_differ(root: &Vdev, layout: &Layout) -> Option<String> {
    let mut sizes = root
        .children
        .iter()
        .filter(|top| top.class == VdevClass::Data)
        .filter_map(|top| top.ashift);
    let pool = sizes.next()?;
    if sizes.any(|size| size != pool) {
        return None;
    }
    let mut devices = layout.vdevs.iter().flat_map(|vdev| &vdev.devices);
    devices
        .find_map(|device| {
            let ashift = device.ashift.or(layout.ashift)?;
            (u64::from(ashift) != pool).then_some(ashift)
        })
        .map(|new| format!("the pool has an ashift of {pool}, and the new vdev of {new}"))
}
