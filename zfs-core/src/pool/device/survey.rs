//! A pool's vdevs as they are before something is done to one of them.

use super::VdevId;
use crate::error::{Errno, Error, ErrorKind, Operation, Result};
use crate::nv::NvMap;
use crate::pool::scan::ScanState;
use crate::pool::status::PoolStatus;
use crate::pool::vdev::{Repair, Vdev, VdevClass, VdevKind};
use crate::pool::{Pool, Stats};
use std::path::Path;

/// The state of a pool, with what the kernel's answer tells of missing data.
pub(in crate::pool) struct Survey {
    pub(super) status: PoolStatus,
    /// The answer itself.
    pub(super) config: NvMap,
    /// The devices that a resilver has yet to finish with.
    incomplete: Vec<u64>,
}

/// The vdev that something is done to, and the operation, for errors.
pub(super) struct Target {
    operation: Operation,
    object: String,
    pub(super) guid: u64,
    /// As it is called in the history.
    pub(super) name: String,
    pub(super) kind: VdevKind,
    pub(super) class: VdevClass,
}

impl Target {
    fn new(operation: Operation, pool: &Pool, vdev: &Vdev) -> Self {
        let name = vdev.to_string();
        Self {
            operation,
            object: format!("{name} of {}", pool.name.as_str()),
            guid: vdev.guid,
            name,
            kind: vdev.kind.clone(),
            class: vdev.class,
        }
    }

    pub(super) fn operation(&self) -> Operation {
        self.operation
    }

    /// It, and its pool.
    pub(super) fn object(&self) -> &str {
        &self.object
    }

    /// The error of the request about it.
    pub(super) fn failed(&self, errno: Errno) -> Error {
        Error::new(self.operation, self.object.as_str(), errno)
    }

    /// An error found before the kernel was asked.
    pub(super) fn refuse(&self, kind: ErrorKind, why: impl Into<String>) -> Error {
        Error::refused(self.operation, self.object.as_str(), kind, why)
    }

    /// Refuses what is not one device, and a hot spare that waits.
    pub(super) fn device_in_use(&self) -> Result<()> {
        if !self.kind.is_device() {
            return Err(self.refuse(ErrorKind::WrongKind, "it is not one device"));
        }
        if self.class == VdevClass::Spare {
            return Err(self.refuse(ErrorKind::WrongKind, "it is a hot spare that waits"));
        }
        Ok(())
    }

    /// Refuses what has no file or block device of its own.
    pub(super) fn with_file(&self) -> Result<()> {
        match self.kind {
            VdevKind::Disk | VdevKind::File => Ok(()),
            _ => Err(self.refuse(ErrorKind::WrongKind, "it is not a disk or a file")),
        }
    }
}

impl Pool {
    /// Looks at a pool whose devices are about to be changed: one that is open.
    pub(super) fn survey(&self, operation: Operation) -> Result<Survey> {
        let survey = self.survey_any(operation)?;
        let name = self.name.as_str();
        if let Some(fault) = survey.status.fault {
            return Err(Error::new(operation, name, fault)
                .with_kind(ErrorKind::Io)
                .with_detail("the pool cannot be opened"));
        }
        if survey.status.suspended.is_some() {
            // As the kernel says of nearly every request, and more to the point than what the
            // devices look like.
            return Err(Error::new(operation, name, Errno::EAGAIN));
        }
        Ok(survey)
    }

    /// Looks at a pool, whatever its state.
    pub(in crate::pool) fn survey_any(&self, operation: Operation) -> Result<Survey> {
        Survey::read(self.stats(operation)?)
            .map_err(|what| Error::protocol(operation, self.name.as_str(), what))
    }

    /// The vdev that `id` means, in a pool that is open.
    pub(super) fn target(&self, operation: Operation, id: &VdevId) -> Result<(Survey, Target)> {
        let survey = self.survey(operation)?;
        let target = self.target_in(&survey, operation, id)?;
        Ok((survey, target))
    }

    /// The vdev that `id` means.
    pub(super) fn target_in(
        &self,
        survey: &Survey,
        operation: Operation,
        id: &VdevId,
    ) -> Result<Target> {
        match survey.find(id) {
            Some(vdev) => Ok(Target::new(operation, self, vdev)),
            None => Err(Error::refused(
                operation,
                format!("{id} of {}", self.name.as_str()),
                ErrorKind::NotFound,
                "the pool has no such vdev",
            )),
        }
    }
}

/// Collects the devices that are marked as being resilvered since they were attached.
fn collect_resilvered(vdev: &NvMap, guids: &mut Vec<u64>) {
    let marked = |key: &str| vdev.u64(key).is_some_and(|txg| txg != 0);
    if marked("resilver_txg") || marked("rebuild_txg") {
        guids.extend(vdev.u64("guid"));
    }
    for child in vdev.lists("children").unwrap_or_default() {
        collect_resilvered(child, guids);
    }
}

impl Survey {
    pub(super) fn read(stats: Stats) -> Result<Self, String> {
        let Stats {
            config,
            altroot,
            fault,
        } = stats;
        let status = PoolStatus::read(&config, altroot, fault)?;
        let mut incomplete = Vec::new();
        if let Some(tree) = config.list("vdev_tree") {
            collect_resilvered(tree, &mut incomplete);
        }
        Ok(Self {
            status,
            config,
            incomplete,
        })
    }

    /// The vdev that `id` means. Of a hot spare in use it is the place in the tree.
    pub(in crate::pool) fn find(&self, id: &VdevId) -> Option<&Vdev> {
        let path = match id {
            VdevId::Guid(guid) => return self.vdevs().find(|vdev| vdev.guid == *guid),
            VdevId::Path(path) => path.as_path(),
        };
        self.vdevs()
            .find(|vdev| vdev.path.as_deref() == Some(path))
            .or_else(|| self.vdevs().find(|vdev| is_named(vdev, path)))
            .or_else(|| {
                let file = std::fs::canonicalize(path).ok()?;
                self.vdevs().find(|vdev| leads_to(vdev, &file))
            })
    }

    fn vdevs(&self) -> impl Iterator<Item = &Vdev> {
        self.status
            .vdevs()
            .filter(|vdev| vdev.kind != VdevKind::Root)
    }

    /// The vdev right above that of `guid`: `None` for spares that wait and caches.
    pub(super) fn parent(&self, guid: u64) -> Option<&Vdev> {
        self.status
            .root
            .walk()
            .find(|vdev| vdev.children.iter().any(|child| child.guid == guid))
    }

    /// The vdev of the top that has the vdev `guid` in it, or is it.
    pub(super) fn top(&self, guid: u64) -> Option<&Vdev> {
        self.status
            .root
            .children
            .iter()
            .find(|top| top.walk().any(|vdev| vdev.guid == guid))
    }

    /// The hot spare `guid`, in use or not.
    pub(super) fn spare(&self, guid: u64) -> Option<&Vdev> {
        self.status.spares.iter().find(|spare| spare.guid == guid)
    }

    /// Whether a device still lacks data that a resilver is to bring, as far as can be seen.
    pub(super) fn is_incomplete(&self, device: &Vdev) -> bool {
        self.incomplete.contains(&device.guid)
            || matches!(
                device.repair,
                Some(Repair::Resilvering | Repair::AwaitingResilver)
            )
    }

    /// Whether the data of a device are being moved to others.
    pub(super) fn is_removing(&self) -> bool {
        let removal = self.status.removal.as_ref();
        removal.is_some_and(|removal| removal.state == ScanState::Scanning)
    }

    /// Whether a feature is enabled in the pool.
    pub(super) fn has_feature(&self, name: &str) -> bool {
        self.status.feature(name).is_some()
    }
}

/// Whether `name` is how a group, a distributed spare or a missing device is printed.
fn is_named(vdev: &Vdev, name: &Path) -> bool {
    (vdev.path.is_none() || vdev.not_present) && Path::new(&vdev.to_string()) == name
}

/// Whether the path of a device leads to `file`.
fn leads_to(vdev: &Vdev, file: &Path) -> bool {
    let path = vdev.path.as_ref().filter(|path| path.is_absolute());
    path.is_some_and(|path| std::fs::canonicalize(path).is_ok_and(|path| path == file))
}
