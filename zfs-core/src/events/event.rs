use super::class::EventClass;
use super::payload::{ChecksumDamage, EventHistory, EventIo, EventPool, EventVdev, unsigned};
use crate::nv::NvMap;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Something that happened to a pool or a device.
///
/// What all events have are fields; what some have is read by the methods that return `Option`.
/// Everything the kernel told is in [`payload`](Self::payload).
///
/// With the feature `serde` it is written as `eid`, `seconds` and `nanoseconds` since 1970, `class`
/// in the kernel's words, `missed`, `dropped`, and `payload` with the kernel's names.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// Its number. The kernel counts from 1 when the module is loaded.
    pub eid: u64,
    /// When it was posted.
    pub time: SystemTime,
    /// What it is about.
    pub class: EventClass,
    /// How many events were posted between the one before and this one that this reader did not
    /// get: it was too slow and the kernel dropped them, or somebody
    /// [cleared](crate::Zfs::clear_events) them.
    pub missed: u64,
    /// What the kernel says it dropped: events that it did not post because there were too many of
    /// their class (each such event is told to one reader only, whichever is first), and one more
    /// when this reader's place was lost.
    pub dropped: u64,
    /// All that the kernel told, under its names.
    pub payload: NvMap,
}

impl Event {
    pub(super) fn read(payload: NvMap, dropped: u64) -> Result<Self, String> {
        let eid = payload.u64("eid").ok_or("an event without eid")?;
        let class = payload
            .get("class")
            .and_then(|value| value.as_cstr())
            .ok_or("an event without class")?;
        let class = EventClass::from_name(&class.to_string_lossy());
        let time = match payload.get("time") {
            Some(crate::nv::Value::Int64Array(time)) => match time.as_slice() {
                &[seconds, nanoseconds] => point_in_time(seconds, nanoseconds),
                _ => None,
            },
            _ => None,
        };
        Ok(Self {
            eid,
            time: time.ok_or("an event without time")?,
            class,
            missed: 0,
            dropped,
            payload,
        })
    }

    /// The pool that it is about. Every event of the supported versions has one.
    #[must_use]
    pub fn pool(&self) -> Option<EventPool> {
        EventPool::read(&self.payload)
    }

    /// The vdev that it is about.
    #[must_use]
    pub fn vdev(&self) -> Option<EventVdev> {
        EventVdev::read(&self.payload)
    }

    /// The I/O that failed or was slow.
    #[must_use]
    pub fn io(&self) -> Option<EventIo> {
        EventIo::read(&self.payload)
    }

    /// What is wrong with a block that does not have its checksum.
    #[must_use]
    pub fn damage(&self) -> Option<ChecksumDamage> {
        ChecksumDamage::read(&self.payload)
    }

    /// What the kernel did, as it wrote it into the pool's history.
    #[must_use]
    pub fn history(&self) -> Option<EventHistory> {
        EventHistory::read(&self.payload)
    }

    /// `healing` or `sequential`: how a resilver that began or ended works.
    #[must_use]
    pub fn resilver_type(&self) -> Option<&str> {
        self.payload.str("resilver_type")
    }

    /// The number under `key`, whatever integer type the kernel gave it.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<u64> {
        self.payload.get(key).and_then(unsigned)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Event {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let time = self.time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut event = serializer.serialize_struct("Event", 7)?;
        event.serialize_field("eid", &self.eid)?;
        event.serialize_field("seconds", &time.as_secs())?;
        event.serialize_field("nanoseconds", &time.subsec_nanos())?;
        event.serialize_field("class", &self.class)?;
        event.serialize_field("missed", &self.missed)?;
        event.serialize_field("dropped", &self.dropped)?;
        event.serialize_field("payload", &self.payload)?;
        event.end()
    }
}

/// A time since 1970; none before.
fn point_in_time(seconds: i64, nanoseconds: i64) -> Option<SystemTime> {
    let since = Duration::new(
        u64::try_from(seconds).ok()?,
        u32::try_from(nanoseconds)
            .ok()
            .filter(|ns| *ns < 1_000_000_000)?,
    );
    UNIX_EPOCH.checked_add(since)
}

/// The number, the class, and what it is about.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.eid, self.class)?;
        if let Some(pool) = self.pool() {
            write!(f, " {}", pool.name)?;
        }
        if let Some(vdev) = self.vdev() {
            match &vdev.path {
                Some(path) => write!(f, " {}", path.display())?,
                None => write!(f, " vdev {}", vdev.guid)?,
            }
            if let (Some(from), Some(to)) = (vdev.last_state, vdev.state) {
                write!(f, " {from:?} to {to:?}")?;
            }
        }
        if let Some(history) = self.history() {
            write!(f, " {history}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nv::Value;

    fn event(time: Vec<i64>) -> NvMap {
        NvMap::from_iter([
            (c"class", Value::from(c"sysevent.fs.zfs.pool_create")),
            (c"eid", Value::from(7_u64)),
            (c"time", Value::from(time)),
        ])
    }

    #[cfg(feature = "serde")]
    #[test]
    fn an_event_is_written_with_all_that_was_told() {
        let mut payload = event(vec![1, 2]);
        payload.insert(c"pool", c"tank");
        let event = Event::read(payload, 0).unwrap();
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json["eid"], 7);
        assert_eq!(
            (&json["seconds"], &json["nanoseconds"]),
            (&1.into(), &2.into())
        );
        assert_eq!(json["class"], "sysevent.fs.zfs.pool_create");
        assert_eq!(json["payload"]["pool"], "tank");
    }

    #[test]
    fn what_is_no_event_is_an_error() {
        let good = Event::read(event(vec![1, 999_999_999]), 3).unwrap();
        assert_eq!(good.time, UNIX_EPOCH + Duration::new(1, 999_999_999));
        assert_eq!((good.eid, good.dropped, good.missed), (7, 3, 0));
        assert!(good.pool().is_none() && good.vdev().is_none() && good.io().is_none());
        for time in [
            vec![],
            vec![1],
            vec![1, 2, 3],
            vec![-1, 0],
            vec![1, -1],
            vec![1, 1_000_000_000],
            vec![1, i64::MAX],
        ] {
            assert!(Event::read(event(time.clone()), 0).is_err(), "{time:?}");
        }
        // Whether the latest time can be told is the platform's affair; asking does not panic.
        let _ = Event::read(event(vec![i64::MAX, 0]), 0);
        for key in ["class", "eid", "time"] {
            let mut map = event(vec![1, 2]);
            map.remove(key);
            assert!(Event::read(map, 0).is_err(), "{key}");
        }
    }
}
