use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Ends an [`Events`](super::Events) from another thread.
///
/// Clones stop the same reader. Dropping it does nothing.
#[derive(Clone, Debug)]
pub struct EventsStop(Arc<(Mutex<bool>, Condvar)>);

impl EventsStop {
    pub(super) fn new() -> Self {
        Self(Arc::new((Mutex::new(false), Condvar::new())))
    }

    /// Ends a wait that is under way, and every one that is begun later. The iterator gives no more
    /// events; [`Events::try_next`](super::Events::try_next) still does.
    pub fn stop(&self) {
        let (stopped, changed) = &*self.0;
        *stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
    }

    /// Whether the reader was stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        let (stopped, _) = &*self.0;
        *stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the reader is stopped, for `most` at most.
    pub(super) fn wait(&self, most: Duration) {
        let (stopped, changed) = &*self.0;
        let stopped = stopped.lock().unwrap_or_else(PoisonError::into_inner);
        drop(changed.wait_timeout_while(stopped, most, |stopped| !*stopped));
    }
}
