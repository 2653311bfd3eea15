//! Disks that lie and disks that go: what happens is told as it happens.

mod damage;
mod yanked;

use crate::pool::{seen, shown};
use crate::support::{TestPool, zfs};
use helix_zfs::zfs_core::events::{Event, EventClass, Events};
use helix_zfs::zfs_core::{Pool, PoolStatus, Vdev};
use std::time::Duration;

fn pool(of: &TestPool) -> Pool {
    zfs().pool(of.name()).unwrap()
}

/// The states and errors of all vdevs as we and the command see them at the same moment.
fn agreed(of: &TestPool) -> PoolStatus {
    loop {
        let before = shown(of, "-P");
        let status = pool(of).status().unwrap();
        // Something changed in between otherwise.
        if shown(of, "-P") == before {
            assert_eq!(seen(&status, Vdev::to_string), before);
            return status;
        }
    }
}

/// Reads the events of a pool until there is one of the class `last`. `None` when some were lost:
/// the queue is that of all tests, one of which clears it.
fn events_until(events: &mut Events, of: &TestPool, last: &EventClass) -> Option<Vec<Event>> {
    let mut read = Vec::new();
    loop {
        let event = events.next_timeout(Duration::from_secs(60)).unwrap()?;
        if event.missed > 0 {
            return None;
        }
        if event.pool().is_some_and(|pool| pool.name == of.name()) {
            let end = event.class == *last;
            read.push(event);
            if end {
                return Some(read);
            }
        }
    }
}
