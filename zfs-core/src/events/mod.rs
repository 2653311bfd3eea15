//! What happens to pools and devices, as the kernel tells it.
//!
//! [`Zfs::events`] opens a reader of its own, which starts where it is told and gives every event
//! once, in the order of their numbers:
//!
//! ```no_run
//! use zfs_core::Zfs;
//! use zfs_core::events::{EventClass, EventsFrom};
//!
//! for event in Zfs::open()?.events(EventsFrom::Start)? {
//!     let event = event?;
//!     if event.missed > 0 {
//!         eprintln!("{} events were lost", event.missed);
//!     }
//!     if event.class == EventClass::StateChange {
//!         println!("{event}");
//!     }
//! }
//! # Ok::<(), zfs_core::Error>(())
//! ```
//!
//! # What the kernel keeps
//!
//! The newest 512 events (the module's parameter `zfs_zevent_len_max`), until the module is
//! unloaded. A reader that is slower than that loses the oldest: [`Event::missed`] says how many.
//! The kernel does not post an event when the same one was posted in the last 15 minutes, and of
//! slow I/Os and checksum errors only 20 a second each for a device: the [counters of
//! reports](crate::Zfs::report_stats) tell of those.
//!
//! A program that is started again goes on with [`EventsFrom::After`], and the number of the last
//! event that it saw.
//!
//! # How it waits
//!
//! The kernel has no file to poll for events, and its own wait misses one that is posted between
//! looking and waiting, until the next one is posted. So a reader looks: at once, then in growing
//! steps up to every [100 ms](Events::set_interval), each time with one request of some microseconds.
//! That way no thread is started, no signal is needed to stop, and a wait can have an end.

mod class;
mod event;
mod order;
mod payload;
mod stop;
#[cfg(feature = "tokio")]
mod stream;

pub use class::EventClass;
pub use event::Event;
pub use payload::{
    ChecksumDamage, DamagedRange, EventBlock, EventHistory, EventIo, EventPool, EventVdev,
};
pub use stop::EventsStop;
#[cfg(feature = "tokio")]
pub use stream::EventStream;

use crate::error::{Errno, Error, ErrorKind, Operation, Result};
use crate::ffi::device::{Device, Refusal, Request};
use crate::zfs::Zfs;
use order::{Due, Order};
use std::time::{Duration, Instant};
use zfs_core_sys::ioctl::{ZFS_IOC_EVENTS_CLEAR, ZFS_IOC_EVENTS_NEXT, ZFS_IOC_EVENTS_SEEK};

const OPERATION: Operation = Operation::ReadEvents;
const OBJECT: &str = "";

/// The shortest and the longest time between two looks.
const SHORTEST: Duration = Duration::from_millis(2);
const LONGEST: Duration = Duration::from_millis(100);

/// Room for an event. The kernel posts none that is larger than 6 KiB, and says if it does.
const EVENT_LEN: usize = 8 * 1024;

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[doc(alias = "ZEVENT_SEEK_START")]
#[doc(alias = "ZEVENT_SEEK_END")]
pub enum EventsFrom {
    /// With the oldest event that the kernel has.
    Start,
    /// With what is posted from now on.
    Now,
    /// With the event after the one of this number. What the kernel has dropped since is counted as
    /// [missed](Event::missed). When the module was loaded anew and has counted less far, with the
    /// oldest event that it has.
    After(u64),
}

/// A reader of events.
///
/// It has a place of its own in the kernel's queue: any number of readers get every event each. The
/// iterator blocks until there is an event, and ends only when it is [stopped](EventsStop::stop) or
/// after an error that the kernel gave. [`try_next`](Self::try_next) and
/// [`next_timeout`](Self::next_timeout) do not end.
///
/// A child process that is forked without `exec` shares the place.
#[derive(Debug)]
pub struct Events {
    cursor: Cursor,
    order: Order<Event>,
    stop: EventsStop,
    interval: Duration,
    missed: u64,
    ended: bool,
}

impl Zfs {
    /// Opens a reader of events that begins at `from`.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `PermissionDenied` | not root |
    /// | `ModuleMissing` | the device cannot be opened any longer |
    ///
    /// # Privileges
    ///
    /// Root. `zpool-events(8)`, requests `ZFS_IOC_EVENTS_SEEK` and `ZFS_IOC_EVENTS_NEXT`.
    #[doc(alias = "ZFS_IOC_EVENTS_NEXT")]
    #[doc(alias = "ZFS_IOC_EVENTS_SEEK")]
    #[doc(alias = "zpool_events_next")]
    #[doc(alias = "zpool_events_seek")]
    pub fn events(&self, from: EventsFrom) -> Result<Events> {
        let device =
            Device::open().map_err(|errno| Error::new(Operation::Open, "/dev/zfs", errno))?;
        let cursor = Cursor(device);
        Ok(Events {
            order: cursor.start(from)?,
            cursor,
            stop: EventsStop::new(),
            interval: LONGEST,
            missed: 0,
            ended: false,
        })
    }

    /// Drops all events that the kernel has, and returns how many there were. Readers that had not
    /// read them count them as [missed](Event::missed).
    ///
    /// # Errors
    ///
    /// `PermissionDenied`.
    ///
    /// # Privileges
    ///
    /// Root. `zpool-events(8)` with `-c`, request `ZFS_IOC_EVENTS_CLEAR`.
    #[doc(alias = "ZFS_IOC_EVENTS_CLEAR")]
    #[doc(alias = "zpool_events_clear")]
    pub fn clear_events(&self) -> Result<u64> {
        let mut request = self.request(ZFS_IOC_EVENTS_CLEAR, c"");
        request
            .run()
            .map_err(|errno| Error::new(Operation::ClearEvents, OBJECT, errno))?;
        Ok(request.cookie())
    }
}

impl Events {
    /// The next event if there is one now. Does not block.
    ///
    /// An event whose predecessor is missing is kept back for up to 20 ms, in which that may still
    /// come.
    ///
    /// # Errors
    ///
    /// `PermissionDenied` when the thread gave up its privileges; `Protocol` for an event that this
    /// crate does not understand, after which the one behind it is the next.
    pub fn try_next(&mut self) -> Result<Option<Event>> {
        Ok(self.look()?.ok())
    }

    /// The next event, or `None` when there is none for as long as `timeout` or the reader is
    /// [stopped](EventsStop::stop).
    ///
    /// # Errors
    ///
    /// As [`try_next`](Self::try_next).
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Event>> {
        // A time that is too far away to be told is never reached.
        self.wait(Instant::now().checked_add(timeout))
    }

    /// What ends the iterator and a wait from another thread, now or later.
    #[must_use]
    pub fn stop_handle(&self) -> EventsStop {
        self.stop.clone()
    }

    /// Sets the longest time between two looks, which is how late an event can be told: 100 ms
    /// unless it is set, at least 2 ms. Each look costs some microseconds.
    pub fn set_interval(&mut self, interval: Duration) {
        self.interval = interval.max(SHORTEST);
    }

    /// How many events this reader has missed so far: the sum of [`Event::missed`].
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// Goes on from elsewhere. Events that were read and not given out yet are forgotten.
    ///
    /// # Errors
    ///
    /// As [`Zfs::events`].
    pub fn seek(&mut self, from: EventsFrom) -> Result<()> {
        self.order = self.cursor.start(from)?;
        Ok(())
    }

    /// The next event, or how long it should be waited before the next look at most.
    fn look(&mut self) -> Result<Result<Event, Option<Duration>>> {
        loop {
            let (mut event, missed) = match self.order.ready() {
                Some(ready) => ready,
                None => match self.cursor.next()? {
                    Some(event) => {
                        self.order.insert(event.eid, event);
                        continue;
                    }
                    None => match self.order.due(Instant::now()) {
                        Due::Event(event, missed) => (event, missed),
                        Due::Later(wait) => return Ok(Err(Some(wait))),
                        Due::Nothing => return Ok(Err(None)),
                    },
                },
            };
            event.missed = missed;
            self.missed = self.missed.saturating_add(missed);
            return Ok(Ok(event));
        }
    }

    fn wait(&mut self, end: Option<Instant>) -> Result<Option<Event>> {
        let mut step = SHORTEST;
        while !self.stop.is_stopped() {
            let most = match self.look()? {
                Ok(event) => return Ok(Some(event)),
                Err(most) => most.unwrap_or(step),
            };
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                break;
            }
            self.stop.wait(left.map_or(most, |left| left.min(most)));
            step = (step * 2).min(self.interval);
        }
        Ok(None)
    }
}

impl Iterator for Events {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let event = self.wait(None).transpose();
        // What the kernel refused once it would refuse for ever.
        self.ended = match &event {
            None => true,
            Some(Ok(_)) => false,
            Some(Err(error)) => error.kind() != ErrorKind::Protocol,
        };
        event
    }
}

/// A place in the kernel's queue, which belongs to an open file.
#[derive(Debug)]
struct Cursor(Device);

impl Cursor {
    fn start(&self, from: EventsFrom) -> Result<Order<Event>> {
        const START: u64 = 0;
        let error = |errno| Error::new(OPERATION, OBJECT, errno);
        match from {
            EventsFrom::Start => {
                self.seek(START).map_err(error)?;
                Ok(Order::from_first())
            }
            EventsFrom::Now => {
                self.seek(START).map_err(error)?;
                self.skip()
            }
            EventsFrom::After(eid) => match self.seek(eid) {
                // The two numbers that mean something else are those of no event.
                Ok(()) if eid != START && eid != u64::MAX => Ok(Order::after(eid)),
                Ok(()) | Err(Errno::ENOENT) => {
                    self.seek(START).map_err(error)?;
                    Ok(Order::after_unproven(eid))
                }
                Err(errno) => Err(error(errno)),
            },
        }
    }

    fn seek(&self, eid: u64) -> Result<(), Errno> {
        let mut request = Request::new(&self.0, ZFS_IOC_EVENTS_SEEK, c"");
        request.cmd().zc_cleanup_fd = self.0.number();
        request.cmd().zc_guid = eid;
        request.run()
    }

    /// Goes past what there is. The kernel can do that at once, but does not tell how far it got:
    /// then a gap before the first event could not be seen.
    fn skip(&self) -> Result<Order<Event>> {
        let mut last = None;
        loop {
            match self.next() {
                Ok(Some(event)) => last = last.max(Some(event.eid)),
                Ok(None) => return Ok(last.map_or_else(Order::from_first, Order::after)),
                Err(error) if error.kind() == ErrorKind::Protocol => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The next event in the queue; none at its end.
    fn next(&self) -> Result<Option<Event>> {
        const NONBLOCKING: u64 = 1;
        let mut request = Request::new(&self.0, ZFS_IOC_EVENTS_NEXT, c"").answered_raw(EVENT_LEN);
        request.cmd().zc_cleanup_fd = self.0.number();
        request.cmd().zc_guid = NONBLOCKING;
        let event = match request.read() {
            Ok(()) => request.answer().and_then(|payload| {
                Event::read(payload, request.cookie()).map_err(Refusal::Answer)
            }),
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => Err(Refusal::Errno(errno)),
        };
        event
            .map(Some)
            .map_err(|refusal| refusal.into_error(OPERATION, OBJECT))
    }
}
