use super::{ActivityState, Pool, Vdev, VdevId};
use crate::batch::repeated;
use crate::error::{
    Errno, Error, ErrorKind, Failure, FailureList, Operation, Outcome, Result, describe_batch,
};
use crate::ffi::lzc::Batch;
use crate::ffi::nvlist::{NvError, NvList};
use crate::nv::NvMap;
use std::ffi::{CStr, CString};

/// The devices that a trim or an initialisation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Targets<'a> {
    /// Every device of the pool that it can be done to at the moment; spares and caches are not.
    All,
    /// These.
    These(&'a [VdevId]),
}

/// What is done to devices.
pub(super) struct Command {
    pub(super) operation: Operation,
    /// Under which name the kernel lists the devices that it was not done to.
    pub(super) failures: &'static CStr,
    /// The kind of error when it can be done to none.
    pub(super) otherwise: ErrorKind,
    /// The command that would do the same, up to the name of the pool.
    pub(super) line: String,
}

impl Pool {
    /// Does something to devices, each for itself.
    pub(super) fn command(
        &self,
        targets: Targets<'_>,
        command: &Command,
        applies: impl Fn(&Vdev) -> bool,
        call: impl FnOnce(&NvList) -> Batch,
    ) -> Result<Outcome> {
        let operation = command.operation;
        let name = self.name.as_str();
        let refused = |kind, detail: String| Err(Error::refused(operation, name, kind, detail));
        let guids: Vec<u64> = match targets {
            Targets::These([]) => {
                return refused(ErrorKind::InvalidArgument, "nothing to do".into());
            }
            Targets::These(vdevs) => vdevs
                .iter()
                .map(|vdev| self.vdev_guid(operation, vdev))
                .collect::<Result<_>>()?,
            Targets::All => {
                let status = self.status().map_err(|error| error.during(operation))?;
                let device = |vdev: &&Vdev| vdev.kind.is_device() && applies(vdev);
                let devices = status.root.walk().filter(device);
                devices.map(|vdev| vdev.guid).collect()
            }
        };
        if guids.is_empty() {
            return refused(command.otherwise, "of none of its devices".into());
        }
        if let Some(guid) = repeated(guids.iter()) {
            return refused(ErrorKind::InvalidArgument, format!("{guid} is named twice"));
        }
        let batch = call(&list(&guids).map_err(|error| Error::protocol(operation, name, error))?);
        let mut failures = read_failures(operation, command.failures, batch.failures.as_ref())
            .map_err(|what| Error::protocol(operation, name, what))?;
        match batch.status {
            Ok(()) => self.zfs.record(|| {
                let mut line = format!("{} {name}", command.line);
                if let Targets::These(vdevs) = targets {
                    for vdev in vdevs {
                        line.push_str(&format!(" {vdev}"));
                    }
                }
                line
            }),
            // Those that it named failed, and the others did not.
            Err(Errno::EINVAL) if !failures.failures.is_empty() => self.name_paths(&mut failures),
            Err(errno) => {
                let object = match targets {
                    Targets::All => name.to_owned(),
                    Targets::These(vdevs) => format!("{} of {name}", describe_batch(vdevs)),
                };
                return Err(Error::new(operation, object, errno));
            }
        }
        Ok(Outcome::new(operation, guids.len(), failures))
    }

    /// The identity of a vdev. Whether there is one of it, the kernel tells.
    pub(crate) fn vdev_guid(&self, operation: Operation, vdev: &VdevId) -> Result<u64> {
        if let VdevId::Guid(guid) = vdev {
            return Ok(*guid);
        }
        match self.survey_any(operation)?.find(vdev) {
            Some(vdev) => Ok(vdev.guid),
            None => Err(Error::refused(
                operation,
                format!("{vdev} of {}", self.name),
                ErrorKind::NotFound,
                "the pool has no such vdev",
            )),
        }
    }

    /// Puts what people call the devices in place of their identities, where the pool knows them.
    fn name_paths(&self, list: &mut FailureList) {
        let Ok(status) = self.status() else {
            return;
        };
        for failure in &mut list.failures {
            let vdev = failure
                .name
                .parse()
                .ok()
                .and_then(|guid| status.vdevs().with_guid(guid));
            if let Some(vdev) = vdev {
                failure.name = vdev.to_string();
            }
        }
    }
}

/// Whether there is something to be stopped.
pub(super) fn can_be_stopped(state: ActivityState) -> bool {
    matches!(state, ActivityState::Active | ActivityState::Suspended)
}

fn list(guids: &[u64]) -> Result<NvList, NvError> {
    let mut list = NvList::new()?;
    for guid in guids {
        // Digits have no NUL.
        let name = CString::new(guid.to_string()).unwrap_or_default();
        list.add_u64(&name, *guid)?;
    }
    Ok(list)
}

/// Reads `{key: {"guid": int64 errno}}`, where each level can be missing.
fn read_failures(
    operation: Operation,
    key: &CStr,
    list: Option<&NvList>,
) -> Result<FailureList, String> {
    let mut failures = FailureList::default();
    let Some(list) = list else {
        return Ok(failures);
    };
    let map: NvMap = list.to_map().map_err(|error| error.to_string())?;
    let Some(vdevs) = key.to_str().ok().and_then(|key| map.list(key)) else {
        return Ok(failures);
    };
    for (name, value) in vdevs.iter() {
        let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
        let Some(number) = number else {
            failures.suppressed = failures.suppressed.saturating_add(1);
            continue;
        };
        let errno = Errno::from_raw(number);
        failures.failures.push(Failure {
            name: name.to_string_lossy().into_owned(),
            errno,
            // Of one device these mean something else than of a pool.
            kind: match errno {
                Errno::EINVAL => ErrorKind::WrongKind,
                Errno::EROFS => ErrorKind::DeviceUnavailable,
                errno => ErrorKind::of(operation, errno),
            },
        });
    }
    Ok(failures)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nv::Value;
    use zfs_core_sys::ZPOOL_TRIM_VDEVS;

    fn read(list: &NvMap) -> Result<FailureList, String> {
        let list = NvList::try_from(list).unwrap();
        read_failures(Operation::Trim, ZPOOL_TRIM_VDEVS, Some(&list))
    }

    #[test]
    fn numbers_mean_something_else_of_a_device() {
        let mut vdevs = NvMap::new();
        vdevs.insert(c"1", i64::from(libc::EROFS));
        vdevs.insert(c"2", i64::from(libc::EINVAL));
        vdevs.insert(c"3", i64::from(libc::ESRCH));
        let mut list = NvMap::new();
        list.insert(ZPOOL_TRIM_VDEVS, Value::List(vdevs));
        let list = read(&list).unwrap();
        let kinds: Vec<_> = list.failures.iter().map(|failure| failure.kind).collect();
        assert_eq!(
            kinds,
            [
                ErrorKind::DeviceUnavailable,
                ErrorKind::WrongKind,
                ErrorKind::NotInProgress
            ]
        );
        assert_eq!(list.suppressed, 0);
    }

    #[test]
    fn what_cannot_be_read_is_counted() {
        let mut vdevs = NvMap::new();
        vdevs.insert(c"1", c"text");
        vdevs.insert(c"2", i64::MAX);
        let mut list = NvMap::new();
        list.insert(ZPOOL_TRIM_VDEVS, Value::List(vdevs));
        let list = read(&list).unwrap();
        assert_eq!((list.failures.len(), list.suppressed), (0, 2));

        assert!(read(&NvMap::new()).unwrap().failures.is_empty());
        let none = read_failures(Operation::Trim, ZPOOL_TRIM_VDEVS, None);
        assert!(none.unwrap().failures.is_empty());
    }
}
