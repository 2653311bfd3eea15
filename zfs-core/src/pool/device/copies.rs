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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nv::{NvMap, Value};
    use crate::pool::Stats;
    use std::path::PathBuf;
    use zfs_core_sys::ioctl::{VS_RESILVER_DEFERRED, VS_SCAN_PROCESSED, VS_STATE};

    const ONLINE: u64 = 7;
    const OFFLINE: u64 = 2;

    fn vdev(kind: &str, guid: u64, state: u64) -> NvMap {
        let mut words = vec![0_u64; 46];
        words[VS_STATE] = state;
        let mut vdev = NvMap::new();
        vdev.insert(c"type", Value::string(kind).unwrap());
        vdev.insert(c"id", guid % 10);
        vdev.insert(c"guid", guid);
        vdev.insert(c"vdev_stats", words);
        vdev
    }

    fn file(guid: u64) -> NvMap {
        vdev("file", guid, ONLINE)
    }

    fn offline(guid: u64) -> NvMap {
        vdev("file", guid, OFFLINE)
    }

    /// One that was attached a moment ago.
    fn fresh(guid: u64) -> NvMap {
        let mut file = file(guid);
        file.insert(c"resilver_txg", 9_u64);
        file
    }

    /// One of which a word of the statistics is set.
    fn with(guid: u64, word: usize) -> NvMap {
        let mut words = vec![0_u64; 46];
        (words[VS_STATE], words[word]) = (ONLINE, 1);
        let mut file = file(guid);
        file.insert(c"vdev_stats", words);
        file
    }

    fn group(kind: &str, guid: u64, children: Vec<NvMap>) -> NvMap {
        let mut group = vdev(kind, guid, ONLINE);
        group.insert(c"nparity", 2_u64);
        group.insert(c"draid_ndata", 1_u64);
        group.insert(c"draid_nspares", 0_u64);
        group.insert(c"children", Value::ListArray(children));
        group
    }

    /// A pool of one vdev; `resilvering` is whether a resilver goes through it.
    fn pool(top: NvMap, resilvering: bool) -> Survey {
        let mut root = group("root", 1, vec![top]);
        let mut scan = vec![0_u64; 15];
        (scan[0], scan[1]) = (2, if resilvering { 1 } else { 2 });
        root.insert(c"scan_stats", scan);
        let mut config = NvMap::new();
        config.insert(c"version", 5000_u64);
        config.insert(c"name", c"tank");
        config.insert(c"state", 0_u64);
        config.insert(c"txg", 4_u64);
        config.insert(c"pool_guid", 1_u64);
        config.insert(c"vdev_tree", root);
        Survey::read(Stats {
            config,
            altroot: PathBuf::new(),
            fault: None,
        })
        .unwrap()
    }

    fn required(top: NvMap) -> Vec<u64> {
        required_during(top, false)
    }

    /// The devices that the pool cannot do without.
    fn required_during(top: NvMap, resilvering: bool) -> Vec<u64> {
        let survey = pool(top, resilvering);
        let top = &survey.status.root.children[0];
        top.walk()
            .filter(|vdev| vdev.children.is_empty())
            .map(|vdev| vdev.guid)
            .filter(|guid| !survey.can_do_without(top, *guid))
            .collect()
    }

    #[test]
    fn a_device_without_redundancy_is_required() {
        assert_eq!(required(file(20)), [20]);
    }

    #[test]
    fn the_last_that_works_of_a_mirror_is_required() {
        let mirror = |children| required(group("mirror", 20, children));
        assert!(mirror(vec![file(21), file(22)]).is_empty());
        assert_eq!(mirror(vec![file(21), offline(22)]), [21]);
        assert!(mirror(vec![file(21), offline(22), file(23)]).is_empty());
    }

    #[test]
    fn what_is_resilvered_does_not_count() {
        let mirror = |other| group("mirror", 20, vec![file(21), other]);
        assert_eq!(required(mirror(fresh(22))), [21]);
        assert_eq!(
            required_during(mirror(with(22, VS_RESILVER_DEFERRED)), true),
            [21]
        );
        assert_eq!(
            required_during(mirror(with(22, VS_SCAN_PROCESSED)), true),
            [21]
        );
        assert!(required(mirror(with(22, VS_SCAN_PROCESSED))).is_empty());
    }

    #[test]
    fn a_raidz_can_lose_its_parity() {
        let raidz = |children| required(group("raidz", 20, children));
        let three = [file(21), file(22), file(23)];
        assert!(raidz([&three[..], &[file(24)]].concat()).is_empty());
        assert!(raidz([&three[..], &[offline(24)]].concat()).is_empty());
        assert_eq!(
            raidz(vec![file(21), file(22), offline(23), offline(24)]),
            [21, 22]
        );
        assert_eq!(
            required(group(
                "draid",
                20,
                vec![file(21), file(22), fresh(23), offline(24)]
            )),
            [21, 22]
        );
    }

    #[test]
    fn what_replaces_counts_when_it_is_complete() {
        let mirror = |new| {
            let replacing = group("replacing", 22, vec![offline(23), new]);
            required(group("mirror", 20, vec![file(21), replacing]))
        };
        assert_eq!(mirror(fresh(24)), [21]);
        assert!(mirror(file(24)).is_empty());
        let spare = group("spare", 22, vec![offline(23), file(24)]);
        assert_eq!(
            required(group("mirror", 20, vec![offline(21), spare])),
            [24]
        );
    }

    #[test]
    fn what_nobody_knows_is_left_to_the_kernel() {
        assert!(required(group("cloud", 20, vec![file(21), offline(22)])).is_empty());
    }
}
