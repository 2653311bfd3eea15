use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use zfs_core::Result;

use super::Committed;

/// Where one caller waits, and finds its answer.
#[derive(Debug, Default)]
pub(super) struct Waiter {
    cell: Mutex<Cell>,
    changed: Condvar,
    #[cfg(feature = "tokio")]
    notify: tokio::sync::Notify,
}

#[derive(Debug, Default)]
struct Cell {
    answer: Option<Result<Committed>>,
    /// Woken since it last looked.
    woken: bool,
}

impl Waiter {
    fn cell(&self) -> MutexGuard<'_, Cell> {
        self.cell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn answer(&self, answer: Result<Committed>) {
        self.cell().answer = Some(answer);
        self.wake();
    }

    pub(super) fn take_answer(&self) -> Option<Result<Committed>> {
        self.cell().answer.take()
    }

    /// Lets the caller look again.
    pub(super) fn wake(&self) {
        self.cell().woken = true;
        self.changed.notify_one();
        #[cfg(feature = "tokio")]
        self.notify.notify_one();
    }

    /// Waits to be woken, for so long at most.
    pub(super) fn wait(&self, longest: Option<Duration>) {
        let mut cell = self.cell();
        if !cell.woken {
            cell = match longest {
                Some(longest) => {
                    let waited = self.changed.wait_timeout(cell, longest);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let waited = self.changed.wait(cell);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
        cell.woken = false;
    }

    /// As [`wait`](Self::wait), for a future.
    #[cfg(feature = "tokio")]
    pub(super) async fn wait_async(&self, until: Option<std::time::Instant>) {
        let woken = self.notify.notified();
        match until {
            Some(until) => {
                // Either way it looks again.
                let _in_time = tokio::time::timeout_at(until.into(), woken).await;
            }
            None => woken.await,
        }
    }
}
