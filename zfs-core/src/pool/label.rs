//! What the devices of a pool say about it.

use super::status::PoolState;
use crate::error::{Errno, Error, ErrorKind, Operation, Result};
use crate::nv::{self, NvMap, Value};
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// The size of a label. There are two at the beginning of a device and two at its end.
const LABEL_LEN: u64 = 256 * 1024;
/// Where in a label the list begins, and how much room it has.
const LIST_OFFSET: u64 = 16 * 1024;
const LIST_LEN: usize = 112 * 1024;
/// What of that room is its checksum.
const CHECKSUM_LEN: usize = 40;
/// The alignment that reading past the page cache wants.
const ALIGNMENT: usize = 4096;

/// What the label of a device says the device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LabelState {
    /// Part of a pool that is imported, or was when its machine stopped.
    Active,
    /// Part of an exported pool.
    Exported,
    /// Part of a destroyed pool.
    Destroyed,
    /// A hot spare, perhaps of several pools.
    Spare,
    /// A read cache.
    Cache,
}

impl LabelState {
    fn from_raw(raw: u64) -> Option<Self> {
        Some(match raw {
            0 => Self::Active,
            1 => Self::Exported,
            2 => Self::Destroyed,
            3 => Self::Spare,
            4 => Self::Cache,
            _ => return None,
        })
    }

    /// The state of the pool, of a device that holds its data.
    pub(crate) fn pool_state(self) -> Option<PoolState> {
        match self {
            Self::Active => Some(PoolState::Active),
            Self::Exported => Some(PoolState::Exported),
            Self::Destroyed => Some(PoolState::Destroyed),
            Self::Spare | Self::Cache => None,
        }
    }
}

/// The label of a device: what it is, and of which pool.
///
/// It is read without the kernel's help, and may be from anybody: nothing in it is believed
/// further than that it is a list. Reading takes less than 1 MiB of memory and of the device.
#[derive(Clone, Debug, PartialEq)]
#[doc(alias = "vdev_label_t")]
pub struct Label {
    state: LabelState,
    guid: u64,
    copies: u8,
    config: NvMap,
}

impl Label {
    /// Reads the labels of a device or a file. `None` when it has no valid one.
    ///
    /// Of the four, the newest is taken. A device that is in use can be read too; the disks' cache
    /// is not looked at, which ZFS writes past.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `NotFound`, `PermissionDenied` | the device cannot be opened |
    /// | `InvalidArgument` | it is neither a file nor a block device |
    /// | `Io` | it cannot be read |
    ///
    /// # Privileges
    ///
    /// Those of reading the device. `zdb -l`.
    #[doc(alias = "zpool_read_label")]
    pub fn read(device: impl AsRef<Path>) -> Result<Option<Self>> {
        let device = device.as_ref();
        let shown = || device.display().to_string();
        let failed =
            |error: io::Error| Error::new(Operation::ReadLabel, shown(), Errno::from_io(&error));
        let kind = std::fs::metadata(device).map_err(failed)?.file_type();
        // What is neither may wait for ever when it is opened.
        if !kind.is_file() && !kind.is_block_device() {
            return Err(Error::refused(
                Operation::ReadLabel,
                shown(),
                ErrorKind::InvalidArgument,
                "neither a file nor a block device",
            ));
        }
        let (file, size) = open(device, kind.is_block_device()).map_err(failed)?;
        read_newest(size, |offset, buffer| file.read_exact_at(buffer, offset)).map_err(failed)
    }

    /// Reads the list of one label.
    fn parse(list: &[u8]) -> Option<Self> {
        let config = nv::decode(list).ok()?;
        let state = LabelState::from_raw(config.u64("state")?)?;
        let guid = config.u64("guid").filter(|&guid| guid != 0)?;
        let label = Self {
            state,
            guid,
            copies: 1,
            config,
        };
        // A device that was being added when the machine stopped is of transaction group 0.
        let complete = state.pool_state().is_none()
            || (label.txg() != 0 && label.pool_guid().is_some() && label.top_guid().is_some());
        complete.then_some(label)
    }

    /// What the device is.
    #[must_use]
    pub fn state(&self) -> LabelState {
        self.state
    }

    /// The identity of the device.
    #[must_use]
    pub fn guid(&self) -> u64 {
        self.guid
    }

    /// How many of the four labels are valid and of this device.
    #[must_use]
    pub fn copies(&self) -> u8 {
        self.copies
    }

    /// The identity of its pool. Spares and caches do not know theirs.
    #[must_use]
    pub fn pool_guid(&self) -> Option<u64> {
        self.config.u64("pool_guid")
    }

    /// The name of its pool.
    #[must_use]
    pub fn pool_name(&self) -> Option<String> {
        self.text("name")
    }

    /// The transaction group in which it was written: 0 for spares and caches.
    #[must_use]
    pub fn txg(&self) -> u64 {
        self.config.u64("txg").unwrap_or_default()
    }

    /// The identity of the vdev of the top that it is part of.
    #[must_use]
    pub fn top_guid(&self) -> Option<u64> {
        self.config.u64("top_guid")
    }

    /// The host that had the pool imported last.
    #[must_use]
    pub fn hostid(&self) -> Option<u64> {
        self.config.u64("hostid")
    }

    /// The name of that host.
    #[must_use]
    pub fn hostname(&self) -> Option<String> {
        self.text("hostname")
    }

    /// All that it says.
    #[must_use]
    pub fn config(&self) -> &NvMap {
        &self.config
    }

    fn text(&self, key: &str) -> Option<String> {
        let text = self.config.get(key).and_then(Value::as_cstr)?;
        Some(text.to_string_lossy().into_owned())
    }
}

/// Opens a device, and tells its size.
fn open(device: &Path, is_disk: bool) -> io::Result<(File, u64)> {
    let mut options = File::options();
    options.read(true);
    let mut file = if is_disk {
        match options.clone().custom_flags(libc::O_DIRECT).open(device) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => options.open(device)?,
            file => file?,
        }
    } else {
        options.open(device)?
    };
    let size = file.seek(SeekFrom::End(0))?;
    Ok((file, size))
}

/// Where the four labels of a device of `size` bytes are.
fn offsets(size: u64) -> Option<[u64; 4]> {
    let size = size / LABEL_LEN * LABEL_LEN;
    let end = size.checked_sub(2 * LABEL_LEN)?;
    (end >= 2 * LABEL_LEN).then_some([0, LABEL_LEN, end, end + LABEL_LEN])
}

/// Reads all labels through `read_at` and returns the newest.
fn read_newest(
    size: u64,
    mut read_at: impl FnMut(u64, &mut [u8]) -> io::Result<()>,
) -> io::Result<Option<Label>> {
    let Some(offsets) = offsets(size) else {
        return Ok(None);
    };
    let mut memory = vec![0_u8; LIST_LEN + ALIGNMENT];
    let start = memory.as_ptr().align_offset(ALIGNMENT);
    let Some(buffer) = memory.get_mut(start..start.saturating_add(LIST_LEN)) else {
        return Err(io::ErrorKind::OutOfMemory.into());
    };
    let mut labels = Vec::new();
    let mut failure = None;
    for offset in offsets {
        match read_at(offset + LIST_OFFSET, buffer) {
            Ok(()) => labels.extend(buffer.get(..LIST_LEN - CHECKSUM_LEN).and_then(Label::parse)),
            Err(error) => failure = Some(error),
        }
    }
    // What another pool left elsewhere on the device is not of this one.
    let guid = labels.first().map(Label::guid);
    labels.retain(|label: &Label| Some(label.guid) == guid);
    let copies = u8::try_from(labels.len()).unwrap_or(u8::MAX);
    match labels
        .into_iter()
        .reduce(|one, next| match next.txg() > one.txg() {
            true => next,
            false => one,
        }) {
        Some(newest) => Ok(Some(Label { copies, ..newest })),
        // A disk that cannot be read may well have labels.
        None => failure.map_or(Ok(None), Err),
    }
}
