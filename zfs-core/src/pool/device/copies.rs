//! Whether the data of a pool could be read without one of its devices.
//!
//! The kernel knows for each device which transaction groups it lacks, and does not tell. What can
//! be seen are the states of the devices and which of them a resilver has not finished with. So
//! what is refused here would be refused by the kernel, and the kernel refuses somewhat more: while
//! a resilver has been called for and not begun, for example.

use super::survey::{Survey, Target};
use crate::error::{ErrorKind, Result};
use crate::pool::health::VdevState;
use crate::pool::vdev::{Vdev, VdevClass, VdevKind};

impl Target {
    /// Refuses to do without the device when others do not have all that it has.
    pub(super) fn keep_last_copy(&self, survey: &Survey) -> Result<()> {
        match survey.top(self.guid) {
            Some(top)
                if self.class != VdevClass::Cache && !survey.can_do_without(top, self.guid) =>
            {
                Err(self.refuse(ErrorKind::LastCopy, why(top, self.guid)))
            }
            _ => Ok(()),
        }
    }
}

fn why(top: &Vdev, guid: u64) -> String {
    if top.guid == guid {
        String::from("it has no redundancy")
    } else {
        format!("the rest of {top} does not have all the data")
    }
}

impl Survey {
    /// Whether all data of `vdev`, one of the top, can be read without its device `guid`.
    pub(super) fn can_do_without(&self, vdev: &Vdev, guid: u64) -> bool {
        let lost = || {
            let children = vdev.children.iter();
            children
                .filter(|child| !self.can_do_without(child, guid))
                .count() as u64
        };
        match vdev.kind {
            VdevKind::Disk | VdevKind::File | VdevKind::DraidSpare => {
                let works = matches!(vdev.state, VdevState::Healthy | VdevState::Degraded);
                vdev.guid != guid && works && !self.is_incomplete(vdev)
            }
            VdevKind::Mirror | VdevKind::Replacing | VdevKind::Spare => {
                lost() < vdev.children.len() as u64
            }
            VdevKind::Raidz { parity } | VdevKind::Draid { parity, .. } => lost() <= parity,
            // These hold nothing, or nobody here knows what: the kernel decides.
            VdevKind::Root
            | VdevKind::Hole
            | VdevKind::Missing
            | VdevKind::Indirect
            | VdevKind::Unknown(_) => true,
        }
    }
}
