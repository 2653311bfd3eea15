//! What `zpool status` says about a pool in its lines `status`, `action` and `see`.

mod code;
mod compatibility;

pub use code::StatusCode;

use super::health::{VdevAux, VdevState};
use super::progress::RebuildState;
use super::scan::{ScanFunction, ScanState};
use super::status::{PoolState, PoolStatus, SuspendReason};
use super::vdev::{Vdev, VdevKind};
use super::{Pool, PoolProperties};
use crate::capabilities::pool_features;
use crate::error::Result;
use compatibility::{Compatibility, compatible, short};
use std::collections::BTreeSet;

/// What is the matter with a pool, and what to do: [`Pool::advice`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Advice {
    /// What matters most.
    pub code: StatusCode,
    /// Which defect of older software, for [`StatusCode::Errata`]: a `zpool_errata_t`.
    pub errata: Option<u64>,
    /// Which features are disabled, superfluous or missing, for the codes that are about features.
    pub features: Vec<String>,
}

impl From<StatusCode> for Advice {
    fn from(code: StatusCode) -> Self {
        Self {
            code,
            errata: None,
            features: Vec::new(),
        }
    }
}

impl Pool {
    /// What `zpool status` says about the pool: what is the matter, what to do, and the message
    /// that explains it.
    ///
    /// `status` is the pool's own, read [just before](Self::status). Of all that is the matter the
    /// most severe is told. When nothing is, the pool's properties, the module's features and the
    /// files that the property `compatibility` names are looked at.
    ///
    /// Two things that the command of some versions does are not done here: a property `ashift`
    /// that was set on purpose keeps [`NonNativeAshift`](StatusCode::NonNativeAshift) away, as
    /// since 2.2, and no environment variable changes anything.
    ///
    /// # Errors
    ///
    /// As [`properties`](Self::properties), and `Unsupported` when `/sys` does not describe the
    /// module. None for a pool that has a problem.
    ///
    /// # Privileges
    ///
    /// None. `zpool-status(8)`.
    #[doc(alias = "zpool_get_status")]
    pub fn advice(&self, status: &PoolStatus) -> Result<Advice> {
        if let Some(problem) = status.problem(host_id) {
            return Ok(problem);
        }
        // The properties of a pool that cannot be opened are not to be had.
        let properties = match status.fault {
            Some(_) => None,
            None => Some(self.properties()?),
        };
        let property = |name| {
            properties
                .as_ref()
                .and_then(|all| PoolProperties::number(all, name))
        };
        let wanted = property("ashift").unwrap_or_default();
        if let Some(reservation) = status.reservation(wanted) {
            return Ok(reservation);
        }
        let compatibility = properties
            .as_ref()
            .and_then(|all| all.text("compatibility"));
        let known = pool_features()?;
        Ok(status.features(
            &compatible(compatibility.unwrap_or_default(), &known),
            &known,
        ))
    }
}

impl PoolStatus {
    /// What is wrong, worst first. `host_id` is asked for only when it matters.
    pub(super) fn problem(&self, host_id: impl FnOnce() -> u64) -> Option<Advice> {
        use StatusCode as Code;
        let (state, aux) = (self.root.state, self.root.aux);
        let closed_for = |reason| state == VdevState::CantOpen && aux == reason;
        if let Some(code) = self.resilver() {
            return Some(code.into());
        }
        if closed_for(VdevAux::Active) {
            let code = match self.circumstances.multihost {
                Some(0) => Code::HostIdActive,
                Some(2) => Code::HostIdRequired,
                _ => Code::HostIdMismatch,
            };
            return Some(code.into());
        }
        if self.state == PoolState::Active
            && self.hostid.is_some_and(|id| id != 0 && id != host_id())
        {
            return Some(Code::HostIdMismatch.into());
        }
        if closed_for(VdevAux::UnsupportedFeature) {
            let code = match self.circumstances.can_read {
                true => Code::UnsupportedFeatureWrite,
                false => Code::UnsupportedFeatureRead,
            };
            return Some(Advice {
                features: self.unsupported_features.clone(),
                ..code.into()
            });
        }
        let device = |wrong: fn(&Vdev) -> bool| self.any_device(true, &wrong);
        let fatal = state == VdevState::CantOpen;
        let tests: [(Code, &dyn Fn() -> bool); 14] = [
            (Code::VersionNewer, &|| closed_for(VdevAux::VersionNewer)),
            (Code::BadGuidSum, &|| closed_for(VdevAux::BadGuidSum)),
            (Code::IoFailureMultihost, &|| {
                self.suspended == Some(SuspendReason::Multihost)
            }),
            (Code::IoFailureContinue, &|| {
                self.suspended.is_some() && self.circumstances.continues
            }),
            (Code::IoFailureWait, &|| self.suspended.is_some()),
            (Code::BadLog, &|| closed_for(VdevAux::BadLog)),
            (Code::FaultedDeviceFatal, &|| fatal && device(is_faulted)),
            (Code::MissingDeviceFatal, &|| fatal && device(is_missing)),
            (Code::CorruptLabelFatal, &|| fatal && device(is_closed)),
            (Code::CorruptPool, &|| closed_for(VdevAux::CorruptData)),
            (Code::CorruptData, &|| {
                self.error_count.is_some_and(|count| count > 0)
            }),
            (Code::FaultedDevice, &|| device(is_faulted)),
            (Code::MissingDevice, &|| device(is_missing)),
            (Code::CorruptLabel, &|| device(is_closed)),
        ];
        let milder: [(Code, &dyn Fn() -> bool); 3] = [
            (Code::FailingDevice, &|| device(had_errors)),
            (Code::OfflineDevice, &|| {
                device(|vdev| vdev.state == VdevState::Offline)
            }),
            (Code::RemovedDevice, &|| {
                device(|vdev| vdev.state == VdevState::Removed)
            }),
        ];
        tests
            .iter()
            .chain(&milder)
            .find(|(_, holds)| holds())
            .map(|(code, _)| (*code).into())
    }

    /// A resilver that is under way, or a sequential one that no scrub has followed.
    fn resilver(&self) -> Option<StatusCode> {
        let scan = self.scan.as_ref();
        if scan.is_some_and(|scan| {
            (scan.function, scan.state) == (ScanFunction::Resilver, ScanState::Scanning)
        }) {
            return Some(StatusCode::Resilvering);
        }
        let rebuilds = || {
            self.root
                .children
                .iter()
                .filter_map(|top| top.rebuild.as_ref())
        };
        if rebuilds().any(|rebuild| rebuild.state == RebuildState::Active) {
            return Some(StatusCode::Rebuilding);
        }
        let last = rebuilds()
            .filter(|rebuild| rebuild.state == RebuildState::Complete)
            .filter_map(|rebuild| rebuild.end)
            .max()?;
        let verified = scan.is_some_and(|scan| match (scan.function, scan.state) {
            (_, ScanState::None) => false,
            (ScanFunction::Scrub, ScanState::Finished) => scan.end >= Some(last),
            _ => true,
        });
        (!verified).then_some(StatusCode::RebuildScrub)
    }

    /// What is not as it could be. `ashift` is the pool's property, 0 when it is not set.
    fn reservation(&self, ashift: u64) -> Option<Advice> {
        let slow = |vdev: &Vdev| {
            vdev.stats.as_ref().is_some_and(|stats| {
                let configured = stats.configured_ashift;
                (ashift == 0 || configured < ashift) && configured < stats.physical_ashift
            })
        };
        if self.any_device(false, &slow) {
            return Some(StatusCode::NonNativeAshift.into());
        }
        self.errata.map(|errata| Advice {
            errata: Some(errata),
            ..StatusCode::Errata.into()
        })
    }

    /// Whether the pool's features are those that it is to have, of those that are `known`.
    fn features(&self, wanted: &Compatibility, known: &BTreeSet<String>) -> Advice {
        const WITH_FEATURES: u64 = 5000;
        /// Never enabled by an upgrade, for the pool must be new: not told of either.
        const NOT_BY_UPGRADE: &str = "com.klarasystems:dynamic_gang_header";
        if self.version < WITH_FEATURES {
            return match wanted {
                Compatibility::Legacy => StatusCode::Ok.into(),
                _ => StatusCode::VersionOlder.into(),
            };
        }
        let is_wanted = |guid: &str| match wanted {
            Compatibility::All => true,
            Compatibility::Listed(names) => names.contains(short(guid)),
            Compatibility::Legacy | Compatibility::Unreadable => false,
        };
        if *wanted == Compatibility::Unreadable {
            return StatusCode::CompatibilityError.into();
        }
        let is_enabled = |guid: &str| self.features.iter().any(|feature| feature.guid == guid);
        let of = |enabled: bool| -> Vec<String> {
            known
                .iter()
                .filter(|guid| *guid != NOT_BY_UPGRADE)
                .filter(|guid| is_enabled(guid) == enabled && is_wanted(guid) != enabled)
                .cloned()
                .collect()
        };
        let (disabled, superfluous) = (of(false), of(true));
        match (disabled.as_slice(), superfluous.as_slice()) {
            ([], []) => StatusCode::Ok.into(),
            ([], _) => Advice {
                features: superfluous,
                ..StatusCode::IncompatibleFeature.into()
            },
            _ => Advice {
                features: disabled,
                ..StatusCode::FeatureDisabled.into()
            },
        }
    }

    /// Whether `wrong` holds for a device of the tree or of the caches. Errors of a device that is
    /// being replaced are being dealt with, and left out if `settled` says so.
    fn any_device(&self, settled: bool, wrong: &impl Fn(&Vdev) -> bool) -> bool {
        fn any(vdev: &Vdev, settled: bool, wrong: &impl Fn(&Vdev) -> bool) -> bool {
            if settled && vdev.kind == VdevKind::Replacing {
                return false;
            }
            match vdev.children.as_slice() {
                [] => wrong(vdev),
                children => children.iter().any(|child| any(child, settled, wrong)),
            }
        }
        any(&self.root, settled, wrong)
            || self.caches.iter().any(|cache| any(cache, settled, wrong))
    }
}

fn is_faulted(vdev: &Vdev) -> bool {
    vdev.state == VdevState::Faulted
}

fn is_closed(vdev: &Vdev) -> bool {
    vdev.state == VdevState::CantOpen
}

fn is_missing(vdev: &Vdev) -> bool {
    is_closed(vdev) && vdev.aux == VdevAux::OpenFailed
}

fn had_errors(vdev: &Vdev) -> bool {
    let counted = vdev.stats.as_ref().is_some_and(|stats| {
        [stats.read_errors, stats.write_errors, stats.checksum_errors] != [0; 3]
    });
    vdev.state == VdevState::Degraded || counted
}

/// This host's identity as the module and the `zpool` command find it; 0 for none.
fn host_id() -> u64 {
    let of_module = std::fs::read_to_string("/proc/sys/kernel/spl/hostid")
        .ok()
        .and_then(|text| u64::from_str_radix(text.trim(), 16).ok())
        .unwrap_or_default();
    if of_module != 0 {
        return of_module & u64::from(u32::MAX);
    }
    std::fs::read("/etc/hostid")
        .ok()
        .and_then(|bytes| bytes.first_chunk().copied())
        .map_or(0, |bytes| u64::from(u32::from_ne_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nv::NvMap;
    use zfs_core_sys::ioctl as word;

    /// A vdev with a state and a reason, and below it others.
    fn vdev(kind: &str, state: u64, aux: u64, children: Vec<NvMap>) -> NvMap {
        let mut words = vec![0_u64; 48];
        (words[word::VS_STATE], words[word::VS_AUX]) = (state, aux);
        let mut vdev = NvMap::new();
        vdev.insert(c"type", crate::nv::Value::string(kind).unwrap());
        vdev.insert(c"guid", 7_u64);
        vdev.insert(c"vdev_stats", words);
        if !children.is_empty() {
            vdev.insert(c"children", crate::nv::Value::ListArray(children));
        }
        vdev
    }

    fn config(root: NvMap) -> NvMap {
        let mut config = NvMap::new();
        config.insert(c"version", 5000_u64);
        config.insert(c"name", c"tank");
        config.insert(c"state", 0_u64);
        config.insert(c"txg", 4_u64);
        config.insert(c"pool_guid", 1_u64);
        config.insert(c"vdev_tree", root);
        config
    }

    fn status(config: &NvMap) -> PoolStatus {
        PoolStatus::read(config, "".into(), None).unwrap()
    }

    fn problem(config: &NvMap) -> Option<StatusCode> {
        status(config).problem(|| 0).map(|advice| advice.code)
    }

    /// A pool whose one device is in this state.
    fn with_device(state: u64, aux: u64) -> NvMap {
        config(vdev("root", 6, 0, vec![vdev("file", state, aux, vec![])]))
    }

    #[test]
    fn devices_are_told_apart() {
        use StatusCode::*;
        for (state, aux, code) in [
            (7, 0, None),
            (6, 0, Some(FailingDevice)),
            (5, 0, Some(FaultedDevice)),
            (4, 1, Some(MissingDevice)),
            (4, 6, Some(CorruptLabel)),
            (3, 0, Some(RemovedDevice)),
            (2, 0, Some(OfflineDevice)),
        ] {
            assert_eq!(problem(&with_device(state, aux)), code, "{state} {aux}");
        }
        // What is being replaced is on its way to be well.
        let replaced = vdev("replacing", 6, 0, vec![vdev("file", 4, 1, vec![])]);
        assert_eq!(problem(&config(vdev("root", 6, 0, vec![replaced]))), None);
        let mut root = vdev("root", 7, 0, vec![vdev("file", 7, 0, vec![])]);
        root.insert(
            c"l2cache",
            crate::nv::Value::ListArray(vec![vdev("disk", 4, 1, vec![])]),
        );
        assert_eq!(problem(&config(root)), Some(MissingDevice));
    }

    #[test]
    fn a_pool_that_is_closed_says_why() {
        use StatusCode::*;
        let closed = |aux, device: (u64, u64)| {
            let device = vdev("file", device.0, device.1, vec![]);
            config(vdev("root", 4, aux, vec![device]))
        };
        for (aux, device, code) in [
            (3, (5, 0), FaultedDeviceFatal),
            (3, (4, 1), MissingDeviceFatal),
            (3, (4, 6), CorruptLabelFatal),
            (2, (7, 0), CorruptPool),
            (4, (7, 0), BadGuidSum),
            (7, (7, 0), VersionNewer),
            (9, (7, 0), UnsupportedFeatureRead),
            (13, (7, 0), BadLog),
            (18, (7, 0), HostIdMismatch),
        ] {
            assert_eq!(problem(&closed(aux, device)), Some(code), "{aux}");
        }

        let mut load = NvMap::new();
        let mut missing = NvMap::new();
        missing.insert(c"com.example:new", c"A new feature");
        load.insert(c"unsup_feat", crate::nv::Value::List(missing));
        load.insert(c"can_rdonly", crate::nv::Value::Boolean);
        load.insert(c"mmp_state", 2_u64);
        let mut config = closed(9, (7, 0));
        config.insert(c"load_info", crate::nv::Value::List(load.clone()));
        let advice = status(&config).problem(|| 0).unwrap();
        assert_eq!(advice.code, UnsupportedFeatureWrite);
        assert_eq!(advice.features, ["com.example:new"]);
        let mut config = closed(18, (7, 0));
        config.insert(c"load_info", crate::nv::Value::List(load.clone()));
        assert_eq!(problem(&config), Some(HostIdRequired));
        load.insert(c"mmp_state", 0_u64);
        config.insert(c"load_info", crate::nv::Value::List(load));
        assert_eq!(problem(&config), Some(HostIdActive));
    }

    #[test]
    fn the_worst_comes_first() {
        use StatusCode::*;
        let mut config = with_device(5, 0);
        config.insert(c"error_count", 1_u64);
        assert_eq!(problem(&config), Some(CorruptData));
        config.insert(c"suspended", 0_u64);
        assert_eq!(problem(&config), Some(IoFailureWait));
        config.insert(c"suspended", 1_u64);
        assert_eq!(problem(&config), Some(IoFailureContinue));
        config.insert(c"suspended_reason", 2_u64);
        assert_eq!(problem(&config), Some(IoFailureMultihost));
        config.insert(c"hostid", 9_u64);
        assert_eq!(problem(&config), Some(HostIdMismatch));
        assert_eq!(
            status(&config).problem(|| 9).unwrap().code,
            IoFailureMultihost
        );
        let mut root = vdev("root", 7, 0, vec![vdev("file", 5, 0, vec![])]);
        let mut scan = vec![0_u64; 22];
        (scan[word::PSS_FUNC], scan[word::PSS_STATE]) = (2, 1);
        root.insert(c"scan_stats", scan);
        config.insert(c"vdev_tree", root);
        assert_eq!(problem(&config), Some(Resilvering));
    }

    #[test]
    fn a_rebuild_wants_a_scrub() {
        let of = |state: u64, scan: Option<(u64, u64, u64)>| {
            let mut top = vdev("mirror", 7, 0, vec![vdev("file", 7, 0, vec![])]);
            let mut rebuild = vec![0_u64; 13];
            (rebuild[word::VRS_STATE], rebuild[word::VRS_END_TIME]) = (state, 100);
            top.insert(c"org.openzfs:rebuild_stats", rebuild);
            let mut root = vdev("root", 7, 0, vec![top]);
            if let Some((function, state, end)) = scan {
                let mut scan = vec![0_u64; 22];
                scan[word::PSS_FUNC] = function;
                scan[word::PSS_STATE] = state;
                scan[word::PSS_END_TIME] = end;
                root.insert(c"scan_stats", scan);
            }
            problem(&config(root))
        };
        assert_eq!(of(1, None), Some(StatusCode::Rebuilding));
        assert_eq!(of(2, None), None);
        let wanted = Some(StatusCode::RebuildScrub);
        assert_eq!(of(3, None), wanted);
        assert_eq!(of(3, Some((0, 0, 0))), wanted);
        assert_eq!(of(3, Some((1, 2, 99))), wanted);
        assert_eq!(of(3, Some((1, 2, 100))), None);
        assert_eq!(of(3, Some((2, 2, 99))), None);
    }

    #[test]
    fn sectors_and_errata_are_told_when_nothing_is_wrong() {
        let mut device = vdev("file", 7, 0, vec![]);
        let mut words = vec![0_u64; 48];
        words[word::VS_STATE] = 7;
        words[word::VS_CONFIGURED_ASHIFT] = 9;
        words[word::VS_PHYSICAL_ASHIFT] = 12;
        device.insert(c"vdev_stats", words);
        let mut config = config(vdev("root", 7, 0, vec![device]));
        config.insert(c"errata", 4_u64);
        let code = |ashift| status(&config).reservation(ashift).unwrap().code;
        assert_eq!(code(0), StatusCode::NonNativeAshift);
        assert_eq!(code(12), StatusCode::NonNativeAshift);
        assert_eq!(code(9), StatusCode::Errata);
        assert_eq!(status(&config).reservation(9).unwrap().errata, Some(4));
    }

    #[test]
    fn features_are_those_that_are_wanted() {
        let known: BTreeSet<String> = ["a:old", "a:new", "com.klarasystems:dynamic_gang_header"]
            .map(String::from)
            .into();
        let mut enabled = NvMap::new();
        enabled.insert(c"a:old", 1_u64);
        let mut config = with_device(7, 0);
        config.insert(c"feature_stats", enabled);
        let status = status(&config);
        let advice = |wanted: &Compatibility| status.features(wanted, &known);
        let all = advice(&Compatibility::All);
        assert_eq!(all.code, StatusCode::FeatureDisabled);
        assert_eq!(all.features, ["a:new"]);
        let listed = |names: &[&str]| {
            Compatibility::Listed(names.iter().map(|name| (*name).into()).collect())
        };
        assert_eq!(advice(&listed(&["old"])).code, StatusCode::Ok);
        let both = advice(&listed(&["new"]));
        assert_eq!(both.code, StatusCode::FeatureDisabled);
        let none = advice(&Compatibility::Legacy);
        assert_eq!(none.code, StatusCode::IncompatibleFeature);
        assert_eq!(none.features, ["a:old"]);
        let unreadable = advice(&Compatibility::Unreadable);
        assert_eq!(unreadable.code, StatusCode::CompatibilityError);

        config.insert(c"version", 28_u64);
        let old = self::status(&config);
        let code = |wanted: &Compatibility| old.features(wanted, &known).code;
        assert_eq!(code(&Compatibility::All), StatusCode::VersionOlder);
        assert_eq!(code(&Compatibility::Legacy), StatusCode::Ok);
    }
}
