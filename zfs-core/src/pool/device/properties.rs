use super::VdevId;
use crate::error::{Errno, Error, ErrorKind, Failure, FailureList, Operation, Result};
use crate::nv::{NvMap, Value};
use crate::pool::properties::read_one;
use crate::pool::{Pool, PoolProperty, PoolPropertySource, PoolPropertyValue, VdevClass, answer};
use crate::props::check_user;
use std::ffi::{CStr, CString};
use zfs_core_sys::ioctl::{ZFS_IOC_VDEV_GET_PROPS, ZFS_IOC_VDEV_SET_PROPS};
use zfs_core_sys::newer::since_2_2::{
    ZPOOL_VDEV_PROPS_GET_PROPS, ZPOOL_VDEV_PROPS_GET_VDEV, ZPOOL_VDEV_PROPS_SET_PROPS,
    ZPOOL_VDEV_PROPS_SET_VDEV,
};

/// The native properties of all versions, the oldest first. `comment` is told with the user
/// properties, and `bootsize` by no module.
const NAMES: &[&CStr] = &[
    c"name",
    c"capacity",
    c"state",
    c"asize",
    c"psize",
    c"ashift",
    c"size",
    c"free",
    c"allocated",
    c"expandsize",
    c"fragmentation",
    c"parity",
    c"path",
    c"devid",
    c"physpath",
    c"encpath",
    c"fru",
    c"parent",
    c"children",
    c"numchildren",
    c"read_errors",
    c"write_errors",
    c"checksum_errors",
    c"initialize_errors",
    c"null_ops",
    c"read_ops",
    c"write_ops",
    c"free_ops",
    c"claim_ops",
    c"trim_ops",
    c"null_bytes",
    c"read_bytes",
    c"write_bytes",
    c"free_bytes",
    c"claim_bytes",
    c"trim_bytes",
    c"removing",
    c"allocating",
    c"failfast",
    c"checksum_n",
    c"checksum_t",
    c"io_n",
    c"io_t",
    c"trim_errors",
    c"slow_ios",
    c"slow_io_n",
    c"slow_io_t",
    c"raidz_expanding",
    c"trim_support",
    c"sit_out",
    c"autosit",
    c"slow_io_events",
    LAST,
];
/// Every vdev has it, so that an answer without it was broken off.
const LAST: &CStr = c"guid";

/// The properties of a vdev at one moment.
///
/// What has a default has it where nothing was set. What does not apply to the vdev, or came with
/// a newer module, is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[doc(alias = "vdev_prop_t")]
pub struct VdevProperties(Vec<(String, PoolProperty)>);

impl VdevProperties {
    /// A property by the name that `zpool get` has for it, if the vdev has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&PoolProperty> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, property)| property)
    }

    /// All of them, user properties among them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &PoolProperty)> {
        self.0
            .iter()
            .map(|(name, property)| (name.as_str(), property))
    }

    /// A property that is a number, if the vdev has it. Those that are on or off are 1 or 0.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.get(name)?.value {
            PoolPropertyValue::Number(number) => Some(number),
            PoolPropertyValue::Text(_) => None,
        }
    }

    /// A property that is text, if the vdev has it.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match &self.get(name)?.value {
            PoolPropertyValue::Text(text) => Some(text),
            PoolPropertyValue::Number(_) => None,
        }
    }

    fn flag(&self, name: &str) -> Option<bool> {
        // 2 stands for a vdev that it means nothing to.
        match self.number(name)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// A threshold, or `None` where the default of the daemon that watches holds.
    fn threshold(&self, name: &str) -> Option<u64> {
        self.number(name).filter(|&number| number != u64::MAX)
    }

    /// `name`: `root-0`, `mirror-1`, or the last part of a device's path.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.text("name")
    }

    /// `comment`.
    #[must_use]
    pub fn comment(&self) -> Option<&str> {
        self.text("comment")
    }

    /// `allocating`: whether new data is written to it. Only groups of the top have this.
    #[must_use]
    pub fn allocating(&self) -> Option<bool> {
        self.flag("allocating")
    }

    /// `failfast`: whether errors are reported at once rather than tried again.
    #[must_use]
    pub fn failfast(&self) -> Option<bool> {
        self.flag("failfast")
    }

    /// `removing`: whether it is being removed.
    #[must_use]
    pub fn removing(&self) -> Option<bool> {
        self.flag("removing")
    }

    /// `trim_support`: whether the device can be trimmed. Since 2.3.
    #[must_use]
    pub fn trim_support(&self) -> Option<bool> {
        self.flag("trim_support")
    }

    /// `raidz_expanding`: whether a device is being added to the raidz. Since 2.3.
    #[must_use]
    pub fn raidz_expanding(&self) -> Option<bool> {
        self.flag("raidz_expanding")
    }

    /// `sit_out`: whether a device of a raidz or draid is spared reads because it is slow. Since 2.4.
    #[must_use]
    pub fn sit_out(&self) -> Option<bool> {
        self.flag("sit_out")
    }

    /// `autosit`: whether slow devices of a raidz or draid sit out by themselves. Since 2.4.
    #[must_use]
    pub fn autosit(&self) -> Option<bool> {
        self.flag("autosit")
    }

    /// `slow_io_events`: whether slow I/O is posted as an event. Since 2.4.
    #[must_use]
    pub fn slow_io_events(&self) -> Option<bool> {
        self.flag("slow_io_events")
    }

    /// `checksum_n`: how many checksum errors within [`checksum_t`](Self::checksum_t) make `zed`
    /// degrade the device. `None` where it has its default.
    #[must_use]
    pub fn checksum_n(&self) -> Option<u64> {
        self.threshold("checksum_n")
    }

    /// `checksum_t`, in seconds.
    #[must_use]
    pub fn checksum_t(&self) -> Option<u64> {
        self.threshold("checksum_t")
    }

    /// `io_n`: how many I/O errors within [`io_t`](Self::io_t) make `zed` fault the device. `None`
    /// where it has its default.
    #[must_use]
    pub fn io_n(&self) -> Option<u64> {
        self.threshold("io_n")
    }

    /// `io_t`, in seconds.
    #[must_use]
    pub fn io_t(&self) -> Option<u64> {
        self.threshold("io_t")
    }

    /// `slow_io_n`: how many slow I/Os within [`slow_io_t`](Self::slow_io_t) make `zed` degrade the
    /// device. `None` where it does not. Since 2.3.
    #[must_use]
    pub fn slow_io_n(&self) -> Option<u64> {
        self.threshold("slow_io_n")
    }

    /// `slow_io_t`, in seconds. Since 2.3.
    #[must_use]
    pub fn slow_io_t(&self) -> Option<u64> {
        self.threshold("slow_io_t")
    }
}

/// Properties to be set on a vdev.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VdevPropertySet {
    list: NvMap,
}

impl VdevPropertySet {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    fn put(mut self, name: CString, value: impl Into<Value>) -> Self {
        self.list.insert(name, value);
        self
    }

    fn flag(self, name: &CStr, on: bool) -> Self {
        self.put(name.into(), u64::from(on))
    }

    fn threshold(self, name: &CStr, value: Option<u64>) -> Self {
        self.put(name.into(), value.unwrap_or(u64::MAX))
    }

    /// `allocating`: whether new data is written to it. One group for data must allocate. Nothing
    /// is moved away.
    #[must_use]
    pub fn allocating(self, on: bool) -> Self {
        self.flag(c"allocating", on)
    }

    /// `failfast`: whether errors are reported at once rather than tried again.
    #[must_use]
    pub fn failfast(self, on: bool) -> Self {
        self.flag(c"failfast", on)
    }

    /// `sit_out`: whether a device of a raidz or draid is spared reads. Since 2.4.
    #[must_use]
    pub fn sit_out(self, on: bool) -> Self {
        self.flag(c"sit_out", on)
    }

    /// `autosit`: whether slow devices of this raidz or draid sit out by themselves. Since 2.4.
    #[must_use]
    pub fn autosit(self, on: bool) -> Self {
        self.flag(c"autosit", on)
    }

    /// `slow_io_events`: whether slow I/O is posted as an event. Since 2.4.
    #[must_use]
    pub fn slow_io_events(self, on: bool) -> Self {
        self.flag(c"slow_io_events", on)
    }

    /// `checksum_n`, or the default: see [`VdevProperties::checksum_n`].
    #[must_use]
    pub fn checksum_n(self, events: Option<u64>) -> Self {
        self.threshold(c"checksum_n", events)
    }

    /// `checksum_t`, in seconds, or the default.
    #[must_use]
    pub fn checksum_t(self, seconds: Option<u64>) -> Self {
        self.threshold(c"checksum_t", seconds)
    }

    /// `io_n`, or the default: see [`VdevProperties::io_n`].
    #[must_use]
    pub fn io_n(self, events: Option<u64>) -> Self {
        self.threshold(c"io_n", events)
    }

    /// `io_t`, in seconds, or the default.
    #[must_use]
    pub fn io_t(self, seconds: Option<u64>) -> Self {
        self.threshold(c"io_t", seconds)
    }

    /// `slow_io_n`, or the default: see [`VdevProperties::slow_io_n`]. Since 2.3.
    #[must_use]
    pub fn slow_io_n(self, events: Option<u64>) -> Self {
        self.threshold(c"slow_io_n", events)
    }

    /// `slow_io_t`, in seconds, or the default. Since 2.3.
    #[must_use]
    pub fn slow_io_t(self, seconds: Option<u64>) -> Self {
        self.threshold(c"slow_io_t", seconds)
    }

    /// `comment`: up to 8191 bytes.
    ///
    /// # Errors
    ///
    /// `TooBig`; `InvalidProperty` for a NUL.
    pub fn comment(self, comment: &str) -> Result<Self> {
        // The rules are those of a user property, but for the name.
        let (_, value) = checked("a:comment", comment)?;
        Ok(self.put(c"comment".into(), value))
    }

    /// A user property; an empty value takes it away.
    ///
    /// # Errors
    ///
    /// As [`UserProps::set`](crate::props::UserProps::set).
    pub fn user(self, name: &str, value: &str) -> Result<Self> {
        let (name, text) = checked(name, value)?;
        Ok(self.put(name, text))
    }
}

/// Too long a name or a value would stop the machine when it is written down.
fn checked(name: &str, value: &str) -> Result<(CString, CString)> {
    check_user(name, value).map_err(|error| error.during(Operation::SetVdevProperties))
}

impl Pool {
    /// The properties of a vdev: of a device, a group, or, since 2.3, the root.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `Unsupported` | the module is older than 2.2; the vdev is a hot spare or a cache, or the root of a pool without the feature `vdev_zaps_v2`, and has none |
    /// | `NotFound` | no pool of that name is imported, or it has no such vdev |
    ///
    /// # Privileges
    ///
    /// None.
    ///
    /// Since 2.2. `vdevprops(7)`, request of `lzc_get_vdev_prop`.
    #[doc(alias = "lzc_get_vdev_prop")]
    pub fn vdev_properties(&self, vdev: impl Into<VdevId>) -> Result<VdevProperties> {
        let guid = match vdev.into() {
            VdevId::Guid(guid) => guid,
            path => self.target(Operation::GetVdevProperties, &path)?.1.guid,
        };
        let mut found: Vec<(String, PoolProperty)> = Vec::with_capacity(NAMES.len());
        let mut wanted = NAMES;
        // A module breaks off before the first name that it does not know, and, without a word,
        // after one that was not set.
        while !wanted.is_empty() {
            let answer = self.ask_vdev(guid, wanted)?;
            for (name, value) in &answer {
                found.push((name.to_string_lossy().into_owned(), self.one(name, value)?));
            }
            if answer.get(&LAST.to_string_lossy()).is_some() {
                break;
            }
            let answered = |name: &&CStr| answer.get(&name.to_string_lossy()).is_some();
            let last = wanted.iter().rposition(answered).unwrap_or(0);
            wanted = wanted.get(last + 1..).unwrap_or_default();
        }
        for (name, value) in &self.ask_vdev(guid, &[])? {
            let name_text = name.to_string_lossy().into_owned();
            if found.iter().all(|(known, _)| *known != name_text) {
                let mut property = self.one(name, value)?;
                // The kernel says "default" of what somebody has set.
                property.source = PoolPropertySource::Local;
                found.push((name_text, property));
            }
        }
        Ok(VdevProperties(found))
    }

    /// Some properties, or without names all that is text and was set.
    fn ask_vdev(&self, guid: u64, names: &[&CStr]) -> Result<NvMap> {
        const OPERATION: Operation = Operation::GetVdevProperties;
        let mut input = NvMap::new();
        input.insert(ZPOOL_VDEV_PROPS_GET_VDEV, guid);
        if !names.is_empty() {
            let names: NvMap = names.iter().map(|name| (*name, Value::Boolean)).collect();
            input.insert(ZPOOL_VDEV_PROPS_GET_PROPS, names);
        }
        let mut request = self
            .zfs
            .request(ZFS_IOC_VDEV_GET_PROPS, self.name.as_c_str())
            .input(&input)
            .map_err(|refusal| refusal.into_error(OPERATION, self.vdev(guid)))?
            .answered();
        answer(&mut request, OPERATION, &self.vdev(guid)).map_err(|error| match error.errno() {
            Some(Errno::EINVAL) => without_properties(error),
            _ => error,
        })
    }

    fn one(&self, name: &CStr, value: &Value) -> Result<PoolProperty> {
        read_one(value).ok_or_else(|| {
            let what = format!("a strange {}", name.to_string_lossy());
            Error::protocol(Operation::GetVdevProperties, self.name.as_str(), what)
        })
    }

    fn vdev(&self, guid: u64) -> String {
        format!("{guid} of {}", self.name)
    }

    /// Sets properties of a vdev: of a device, a group, or, since 2.3, the root.
    ///
    /// What takes effect at once does so one after the other, until one is refused; all are
    /// written down at the end, or none.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `InvalidProperty` | the vdev is the last that allocates; or the kernel refuses a value otherwise |
    /// | `Unsupported` | the module is older than 2.2, or does not know the property; the property is not for such a vdev; the vdev has no properties, as spares and caches |
    /// | `NotFound` | no pool of that name is imported, or it has no such vdev |
    /// | `Busy` | as many devices of the raidz sit out as may |
    /// | `PermissionDenied` | not root |
    /// | `ReadOnlyPool`, `PoolSuspended` | as they say |
    ///
    /// [`Error::failures`] names the property.
    ///
    /// # Privileges
    ///
    /// Root.
    ///
    /// Since 2.2. `zpool-set(8)`, `vdevprops(7)`, request of `lzc_set_vdev_prop`.
    #[doc(alias = "lzc_set_vdev_prop")]
    pub fn set_vdev_properties(
        &self,
        vdev: impl Into<VdevId>,
        properties: &VdevPropertySet,
    ) -> Result<()> {
        const OPERATION: Operation = Operation::SetVdevProperties;
        if properties.is_empty() {
            return Ok(());
        }
        let guid = match vdev.into() {
            VdevId::Guid(guid) => guid,
            path => self.target(OPERATION, &path)?.1.guid,
        };
        let refused = |kind, what| Err(Error::refused(OPERATION, self.vdev(guid), kind, what));
        let status = self.status().map_err(|error| error.during(OPERATION))?;
        let Some(target) = status.vdevs().find(|vdev| vdev.guid == guid) else {
            return refused(ErrorKind::NotFound, "the pool has no such vdev");
        };
        if target.class == VdevClass::Log && properties.list.get("allocating").is_some() {
            // The module would follow a null pointer.
            return refused(ErrorKind::Unsupported, "a log device always allocates");
        }
        let mut input = NvMap::new();
        input.insert(ZPOOL_VDEV_PROPS_SET_VDEV, guid);
        input.insert(ZPOOL_VDEV_PROPS_SET_PROPS, properties.list.clone());
        let mut request = self
            .zfs
            .request(ZFS_IOC_VDEV_SET_PROPS, self.name.as_c_str())
            .input(&input)
            .map_err(|refusal| refusal.into_error(OPERATION, self.vdev(guid)))?
            .answered();
        request.run().map_err(|errno| {
            let error = Error::new(OPERATION, self.vdev(guid), errno);
            let failures = request.answer().unwrap_or_default();
            match failures.iter().next() {
                Some((name, _)) => refine(error, name),
                // Refused before the properties were looked at.
                None if errno == Errno::EINVAL => without_properties(error),
                None => error,
            }
        })?;
        // The kernel takes no line after this request.
        Ok(())
    }
}

fn without_properties(error: Error) -> Error {
    error
        .with_kind(ErrorKind::Unsupported)
        .with_detail("the vdev has no properties")
}

/// The kernel names one property, with the number that it returns.
fn refine(error: Error, name: &CStr) -> Error {
    let name = name.to_string_lossy().into_owned();
    let kind = match error.errno() {
        // All values were checked, so that the name is not known; but the last vdev that allocates
        // must go on.
        Some(Errno::EINVAL) if name != "allocating" => ErrorKind::Unsupported,
        _ => error.kind(),
    };
    let failures = error.errno().map(|errno| Failure { name, errno, kind });
    error.with_failures(FailureList {
        failures: failures.into_iter().collect(),
        suppressed: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_that_the_kernel_takes() {
        let set = VdevPropertySet::new()
            .allocating(true)
            .allocating(false)
            .checksum_n(None)
            .io_t(Some(60))
            .comment("slot 7")
            .unwrap()
            .user("helix:slot", "7")
            .unwrap();
        assert_eq!(set.len(), 5);
        assert_eq!(set.list.u64("allocating"), Some(0));
        assert_eq!(set.list.u64("checksum_n"), Some(u64::MAX));
        assert_eq!(set.list.u64("io_t"), Some(60));
        assert_eq!(set.list.str("helix:slot"), Some("7"));
    }

    #[test]
    fn what_would_stop_the_machine_is_refused() {
        let kind = |result: Result<VdevPropertySet>| result.unwrap_err().kind();
        let long = "x".repeat(8192);
        assert_eq!(
            kind(VdevPropertySet::new().comment(&long)),
            ErrorKind::TooBig
        );
        assert_eq!(
            kind(VdevPropertySet::new().user("a:b", &long)),
            ErrorKind::TooBig
        );
        let name = "a:".repeat(128);
        assert_eq!(
            kind(VdevPropertySet::new().user(&name, "")),
            ErrorKind::NameTooLong
        );
        assert_eq!(
            kind(VdevPropertySet::new().user("comment", "")),
            ErrorKind::InvalidProperty
        );
    }

    #[test]
    fn the_last_name_is_last() {
        assert_eq!(NAMES.last(), Some(&LAST));
    }
}
