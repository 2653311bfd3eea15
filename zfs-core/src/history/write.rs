use crate::nv::NvMap;
use crate::zfs::Zfs;
use std::ffi::CString;
use zfs_core_sys::ioctl::ZFS_IOC_LOG_HISTORY;

impl Zfs {
    /// Writes a line into the history of the pool that this thread has just changed.
    ///
    /// The kernel remembers for each thread which pool its last successful request changed, so
    /// this is called immediately after that request, from the same thread. That a line could not
    /// be written is no reason to call the change a failure.
    pub(crate) fn record(&self, line: impl FnOnce() -> String) {
        let Ok(line) = CString::new(line()) else {
            return;
        };
        let mut message = NvMap::new();
        message.insert(c"message", line);
        if let Ok(mut request) = self.request(ZFS_IOC_LOG_HISTORY, c"").input(&message) {
            let _ = request.run();
        }
    }
}
