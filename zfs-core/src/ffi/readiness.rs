//! Descriptors that tokio watches.

use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};
use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

/// A descriptor that becomes readable.
#[derive(Debug)]
pub(crate) struct Readiness(AsyncFd<OwnedFd>);

impl Readiness {
    /// Panics outside a tokio runtime with I/O enabled.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        // SAFETY: the value owns its descriptor, which stays the same and open for as long as it is
        // registered: nothing in this type replaces it or lends it mutably.
        let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
        Ok(Self(registered?))
    }

    pub(crate) fn poll<'r>(
        &'r self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<AsyncFdReadyGuard<'r, OwnedFd>>> {
        self.0.poll_read_ready(cx)
    }
}
