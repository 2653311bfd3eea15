//! Events for tokio.

use super::{Event, Events, EventsStop, SHORTEST};
use crate::error::{ErrorKind, Result};
use futures_core::Stream;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// [`Events`] as a [`Stream`].
///
/// It looks for events as that does: between two looks the task sleeps, and a look is a request of
/// some microseconds that does not block. No thread is started. It ends as the iterator does.
#[derive(Debug)]
pub struct EventStream {
    events: Events,
    sleep: Pin<Box<Sleep>>,
    step: Duration,
}

impl Events {
    /// Turns the reader into a stream for tokio.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with time enabled, as everything that sleeps there does.
    #[must_use]
    pub fn into_stream(self) -> EventStream {
        EventStream {
            events: self,
            sleep: Box::pin(sleep(Duration::ZERO)),
            step: Duration::ZERO,
        }
    }
}

impl EventStream {
    /// As [`Events::missed`].
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.events.missed()
    }

    /// As [`Events::stop_handle`]. The stream ends at its next look.
    #[must_use]
    pub fn stop_handle(&self) -> EventsStop {
        self.events.stop_handle()
    }
}

impl Stream for EventStream {
    type Item = Result<Event>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if this.events.ended || this.events.stop.is_stopped() {
                return Poll::Ready(None);
            }
            // The time of the last step: without it a task that is woken often would look as often.
            if !this.step.is_zero() && this.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            match this.events.look() {
                Ok(Ok(event)) => {
                    this.step = Duration::ZERO;
                    return Poll::Ready(Some(Ok(event)));
                }
                Ok(Err(most)) => {
                    this.step = (this.step * 2).max(SHORTEST).min(this.events.interval);
                    let wait = most.unwrap_or(this.step);
                    this.sleep.as_mut().reset(Instant::now() + wait);
                }
                Err(error) => {
                    this.step = Duration::ZERO;
                    this.events.ended = error.kind() != ErrorKind::Protocol;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}
