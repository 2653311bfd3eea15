//! Events, as readers get them.

mod classes;
mod readers;

use crate::support::zfs;
use helix_zfs::zfs_core::events::{Event, EventClass, EventsFrom, EventsStop};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Once, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Held by those who read events, and alone by those who have the kernel drop them.
static QUEUE: RwLock<()> = RwLock::new(());

const LENGTH: &str = "/sys/module/zfs/parameters/zfs_zevent_len_max";

/// The kernel keeps enough events while this is held: tests beside this one post thousands at once.
pub(crate) fn queue() -> RwLockReadGuard<'static, ()> {
    static LONGER: Once = Once::new();
    let queue = QUEUE.read().unwrap_or_else(PoisonError::into_inner);
    if std::env::var_os("HELIX_ZFS_NATIVE").is_none() {
        // The guest goes when the tests are done.
        LONGER.call_once(|| std::fs::write(LENGTH, "16384").unwrap());
    }
    queue
}

/// The kernel keeps few events, and nobody else reads any while this lives.
struct Short {
    was: String,
    _alone: RwLockWriteGuard<'static, ()>,
}

impl Short {
    fn new(length: usize) -> Self {
        let alone = QUEUE.write().unwrap_or_else(PoisonError::into_inner);
        let was = std::fs::read_to_string(LENGTH).unwrap();
        std::fs::write(LENGTH, length.to_string()).unwrap();
        Self { was, _alone: alone }
    }
}

impl Drop for Short {
    fn drop(&mut self) {
        let _ = std::fs::write(LENGTH, self.was.trim_end());
    }
}

/// Everything that happens to one pool while this exists, read by a thread as it happens.
pub(crate) struct Watch {
    pool: String,
    events: Receiver<Event>,
    stop: EventsStop,
    thread: Option<JoinHandle<()>>,
    _queue: RwLockReadGuard<'static, ()>,
}

impl Watch {
    pub(crate) fn new(pool: &str) -> Self {
        let queue = queue();
        let reader = zfs().events(EventsFrom::Now).unwrap();
        let stop = reader.stop_handle();
        let (sender, events) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            for event in reader {
                let event = event.unwrap();
                // A number can be missing that is another pool's: of its own pool's events, each
                // is waited for by its class.
                if sender.send(event).is_err() {
                    break;
                }
            }
        });
        Self {
            pool: pool.to_owned(),
            events,
            stop,
            thread: Some(thread),
            _queue: queue,
        }
    }

    /// The next event of the pool that `wanted` wants; others of the pool before it are passed over.
    pub(crate) fn until(&self, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        let mut passed = Vec::new();
        // Other pools' events keep coming.
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(event) => {
                    if event.pool().is_none_or(|pool| pool.name != self.pool) {
                        continue;
                    }
                    if wanted(&event) {
                        return event;
                    }
                    passed.push(event.to_string());
                }
                Err(RecvTimeoutError::Timeout) => panic!("no {what} after {passed:#?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("the reader died"),
            }
        }
    }

    /// The next event of the class.
    pub(crate) fn class(&self, class: EventClass) -> Event {
        self.until(class.as_str(), |event| event.class == class)
    }

    /// The next event of each of these classes, in any order.
    pub(crate) fn all(&self, classes: &[EventClass]) -> Vec<Event> {
        let mut missing = classes.to_vec();
        let mut events = Vec::new();
        while !missing.is_empty() {
            let event = self.until(&format!("{missing:?}"), |event| {
                missing.contains(&event.class)
            });
            missing.retain(|class| *class != event.class);
            events.push(event);
        }
        events
    }

    /// The next events of these classes, in this order.
    pub(crate) fn classes(&self, classes: &[EventClass]) -> Vec<Event> {
        let mut last = 0;
        let mut events = Vec::new();
        for class in classes {
            let event = self.class(class.clone());
            assert!(event.eid > last, "{event} after {last}");
            last = event.eid;
            events.push(event);
        }
        events
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.expect("the reader ended well");
            }
        }
    }
}
