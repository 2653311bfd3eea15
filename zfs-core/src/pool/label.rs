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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIZE: u64 = 5 * LABEL_LEN + 4096;

    /// The list of a label.
    pub(in crate::pool) fn list(guid: u64, txg: u64) -> NvMap {
        let mut tree = NvMap::new();
        tree.insert(c"type", c"file");
        tree.insert(c"id", 0_u64);
        tree.insert(c"guid", guid);
        tree.insert(c"path", c"/old");
        let mut list = NvMap::new();
        list.insert(c"version", 5000_u64);
        list.insert(c"name", c"tank");
        list.insert(c"state", 1_u64);
        list.insert(c"txg", txg);
        list.insert(c"pool_guid", 9_u64);
        list.insert(c"guid", guid);
        list.insert(c"top_guid", guid);
        list.insert(c"vdev_children", 1_u64);
        list.insert(c"vdev_tree", tree);
        list
    }

    pub(in crate::pool) fn label(list: &NvMap) -> Option<Label> {
        Label::parse(&nv::encode_native(list).unwrap())
    }

    fn image(labels: [Option<NvMap>; 4]) -> Vec<u8> {
        let mut image = vec![0x5a; usize::try_from(SIZE).unwrap()];
        for (offset, label) in offsets(SIZE).unwrap().into_iter().zip(labels) {
            let at = usize::try_from(offset + LIST_OFFSET).unwrap();
            let packed = label.map(|label| nv::encode_native(&label).unwrap());
            for (to, from) in image[at..].iter_mut().zip(packed.unwrap_or_default()) {
                *to = from;
            }
        }
        image
    }

    fn read(image: &[u8]) -> io::Result<Option<Label>> {
        read_newest(image.len() as u64, |offset, buffer| {
            let at = usize::try_from(offset).unwrap();
            buffer.copy_from_slice(&image[at..at + buffer.len()]);
            Ok(())
        })
    }

    #[test]
    fn labels_are_at_both_ends() {
        assert_eq!(offsets(0), None);
        assert_eq!(offsets(4 * LABEL_LEN - 1), None);
        assert_eq!(
            offsets(4 * LABEL_LEN),
            Some([0, 1, 2, 3].map(|n| n * LABEL_LEN))
        );
        assert_eq!(offsets(SIZE), Some([0, 1, 3, 4].map(|n| n * LABEL_LEN)));
        assert!(offsets(u64::MAX).is_some());
    }

    #[test]
    fn the_newest_of_one_device_is_taken() {
        let labels = [Some(list(1, 5)), None, Some(list(1, 7)), Some(list(2, 9))];
        let label = read(&image(labels)).unwrap().unwrap();
        assert_eq!((label.guid(), label.txg(), label.copies()), (1, 7, 2));
        assert_eq!(label.state(), LabelState::Exported);
        assert_eq!(label.pool_name().as_deref(), Some("tank"));
        assert_eq!(read(&image([const { None }; 4])).unwrap(), None);
    }

    #[test]
    fn what_is_not_complete_is_no_label() {
        let without = |key: &str| {
            let mut list = list(1, 5);
            list.remove(key);
            label(&list)
        };
        assert!(label(&list(1, 5)).is_some());
        for key in ["state", "guid", "txg", "pool_guid", "top_guid"] {
            assert_eq!(without(key), None, "{key}");
        }
        assert_eq!(label(&list(0, 5)), None);
        assert_eq!(label(&list(1, 0)), None);
        let mut strange = list(1, 5);
        strange.insert(c"state", 5_u64);
        assert_eq!(label(&strange), None);
        // A spare knows of no pool.
        let mut spare = NvMap::new();
        spare.insert(c"state", 3_u64);
        spare.insert(c"guid", 4_u64);
        assert_eq!(label(&spare).unwrap().state(), LabelState::Spare);
    }

    #[test]
    fn a_device_that_cannot_be_read_is_not_one_without_a_label() {
        let broken = || io::Error::from_raw_os_error(libc::EIO);
        assert!(read_newest(SIZE, |_, _| Err(broken())).is_err());
        let good = image([None, None, None, Some(list(1, 5))]);
        let last = offsets(SIZE).unwrap()[3];
        let label = read_newest(SIZE, |offset, buffer| {
            if offset < last {
                return Err(broken());
            }
            let at = usize::try_from(offset).unwrap();
            buffer.copy_from_slice(&good[at..at + buffer.len()]);
            Ok(())
        });
        assert_eq!(label.unwrap().unwrap().copies(), 1);
    }

    proptest! {
        #[test]
        fn damage_is_no_panic(flips in prop::collection::vec((0..2048_usize, any::<u8>()), 1..64)) {
            let mut bytes = nv::encode_native(&list(1, 5)).unwrap();
            let len = bytes.len();
            for (at, byte) in flips {
                bytes[at % len] = byte;
            }
            let _ = Label::parse(&bytes);
        }

        #[test]
        fn garbage_is_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
            let _ = Label::parse(&bytes);
        }
    }
}
