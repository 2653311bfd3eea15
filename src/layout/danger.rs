//! How dangerous it is to set a property.

use zfs_core::props::Prop;

use super::observed::ObservedDataset;
use super::{Action, Change, Danger};

/// What is said of a change.
pub(super) struct Verdict(Option<String>);

impl Verdict {
    const SAFE: Self = Self(None);

    fn disruptive(reason: impl Into<String>) -> Self {
        Self(Some(reason.into()))
    }

    pub(super) fn change(self, action: Action) -> Change {
        match self.0 {
            Some(reason) => Change::dangerous(action, Danger::Disruptive, reason),
            None => Change::safe(action),
        }
    }
}

/// Of setting a property of a pool.
pub(super) fn of_pool_property(property: &str, value: &str) -> Verdict {
    match (property, value) {
        ("failmode", "panic") => Verdict::disruptive("the machine stops when I/O fails for good"),
        ("failmode", "continue") => Verdict::disruptive("writes fail when I/O fails for good"),
        ("multihost", "off") => Verdict::disruptive("another host can import the pool meanwhile"),
        ("delegation", "off") => Verdict::disruptive("delegated permissions are void"),
        _ => Verdict::SAFE,
    }
}

/// Of inheriting a property again, whatever it will be.
pub(super) fn of_inheriting(property: &str) -> Verdict {
    match Prop::from_name(property) {
        Some(
            Prop::Sync
            | Prop::Mountpoint
            | Prop::ReadOnly
            | Prop::Checksum
            | Prop::Exec
            | Prop::Devices
            | Prop::Setuid,
        ) => Verdict::disruptive("it becomes what it is above"),
        _ => Verdict::SAFE,
    }
}

/// Of setting a property of a dataset; an error when the kernel would refuse it.
pub(super) fn of_property(
    property: &str,
    from: Option<&str>,
    to: &str,
    there: &ObservedDataset,
) -> Result<Verdict, String> {
    let number = to.parse::<u64>().unwrap_or_default();
    let before = from.and_then(|from| from.parse::<u64>().ok());
    Ok(match (Prop::from_name(property), to) {
        (Some(prop @ (Prop::Quota | Prop::RefQuota)), _) if number > 0 => {
            let used = match prop {
                Prop::Quota => there.used,
                _ => there.referenced,
            };
            let Some(left) = number.checked_sub(used) else {
                return Err(format!(
                    "a {property} of {number} bytes is less than the {used} bytes in use"
                ));
            };
            let is_smaller = before.is_none_or(|before| before == 0 || number < before);
            match is_smaller && left < number / 10 {
                true => Verdict::disruptive(format!("only {left} bytes are left then")),
                false => Verdict::SAFE,
            }
        }
        (Some(Prop::FilesystemLimit), _) => limit(there.filesystems, number, "filesystems"),
        (Some(Prop::SnapshotLimit), _) => limit(there.snapshots, number, "snapshots"),
        (Some(Prop::Sync), "disabled") => {
            Verdict::disruptive("synchronous writes can be lost after they were acknowledged")
        }
        (Some(Prop::Sync), "standard") if from == Some("always") => {
            Verdict::disruptive("only writes that ask for it are on stable storage at once")
        }
        (Some(Prop::ReadOnly), "on") => Verdict::disruptive("writes fail"),
        (Some(Prop::Checksum), "off") => Verdict::disruptive("damage to data is not noticed"),
        (Some(Prop::Exec), "off") => Verdict::disruptive("programs on it do not run any more"),
        (Some(Prop::Devices), "off") => Verdict::disruptive("device nodes do not work any more"),
        (Some(Prop::Setuid), "off") => Verdict::disruptive("set-user-ID has no effect any more"),
        (Some(Prop::Mountpoint | Prop::CanMount | Prop::Overlay), _) => {
            Verdict::disruptive("where it is mounted changes with the next mount")
        }
        (Some(Prop::VolMode), _) => Verdict::disruptive("the volume's device may disappear"),
        _ => Verdict::SAFE,
    })
}

fn limit(count: Option<u64>, limit: u64, what: &str) -> Verdict {
    match count {
        Some(count) if count >= limit => {
            Verdict::disruptive(format!("there are {count} {what}: no more can be made"))
        }
        _ => Verdict::SAFE,
    }
}
