//! A mount namespace of a thread's own.

use crate::error::Errno;

/// Gives the calling thread a copy of its mount namespace, and a working folder of its own.
pub(crate) fn unshare_mounts() -> Result<(), Errno> {
    // SAFETY: the call takes an integer. The flag concerns mounts and what comes with them, the
    // thread's root and working folder: no memory and no table of descriptors, so that nothing that
    // Rust knows of is no longer shared where it was.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } == 0 {
        return Ok(());
    }
    let error = std::io::Error::last_os_error();
    Err(Errno::from_raw(error.raw_os_error().unwrap_or_default()))
}
