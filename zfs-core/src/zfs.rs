use crate::error::{Error, Operation, Result};
use crate::ffi::device::{Device, Request};
use crate::ffi::lzc::Lzc;
use crate::guard::Guards;
use crate::history::Recorder;
use std::ffi::{CStr, c_ulong};
use std::sync::Arc;

/// An open ZFS.
///
/// It holds one descriptor of `/dev/zfs` for itself, and keeps libzfs_core initialised for the
/// rest of the process's life. Clones share it; any number of threads may use it at once.
///
/// Everything that is changed through it is written into the pool's [history](crate::history),
/// unless [`without_history`](Self::without_history) says otherwise.
///
/// A child process that is forked without `exec` shares the descriptor. The calls of this crate
/// keep no state in it, so that this does no harm; [holds until drop](Zfs::hold_until_drop), which
/// do, say what it means for them.
#[derive(Clone, Debug)]
pub struct Zfs {
    lzc: Lzc,
    device: Arc<Device>,
    pub(crate) recorder: Recorder,
    pub(crate) guards: Guards,
}

impl Zfs {
    /// Opens `/dev/zfs`.
    ///
    /// # Errors
    ///
    /// [`ModuleMissing`](crate::ErrorKind::ModuleMissing) when the module is not loaded,
    /// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) when the caller may not open the
    /// device. Both may pass: another call tries again.
    ///
    /// # Privileges
    ///
    /// Read and write permission on `/dev/zfs`, which most distributions give to everyone.
    #[doc(alias = "libzfs_core_init")]
    pub fn open() -> Result<Self> {
        let error = |errno| Error::new(Operation::Open, "/dev/zfs", errno);
        let device = Device::open().map_err(error)?;
        let lzc = Lzc::get().map_err(error)?;
        Ok(Self {
            lzc,
            device: Arc::new(device),
            recorder: Recorder::new(),
            guards: Guards::default(),
        })
    }

    pub(crate) fn lzc(&self) -> Lzc {
        self.lzc
    }

    pub(crate) fn request(&self, number: c_ulong, name: &CStr) -> Request<'_> {
        Request::new(&self.device, number, name)
    }
}
