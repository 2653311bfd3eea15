//! How readers begin, wait and stop, and what they miss.

use super::{Short, queue};
use crate::support::{Scratch, TENANT, as_user, run, zfs};
use helix_zfs::zfs_core::events::{Event, EventClass, Events, EventsFrom};
use helix_zfs::zfs_core::nv::Value;
use helix_zfs::zfs_core::props::UserProps;
use helix_zfs::zfs_core::{Dataset, ErrorKind, SyncMode};
use std::collections::BTreeMap;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// Posts `count` events: the kernel writes each property into the history.
fn post(dataset: &Dataset, count: usize) {
    let mut props = UserProps::new();
    for n in 0..count {
        props = props.set(&format!("helix:p{n}"), "x").unwrap();
    }
    dataset.set_user(&props).unwrap();
    let pool = dataset.zfs().pool(dataset.name().pool()).unwrap();
    pool.sync(SyncMode::Pending).unwrap();
}

/// Which of the properties of [`post`] the event is about.
fn posted(event: &Event, dataset: &Dataset) -> Option<usize> {
    let record = event.history()?;
    if record.dataset.as_deref() != Some(dataset.name().as_str()) {
        return None;
    }
    record
        .message
        .strip_prefix("helix:p")?
        .split('=')
        .next()?
        .parse()
        .ok()
}

/// The next `count` events of [`post`], each in its turn.
fn read(events: &mut Events, dataset: &Dataset, count: usize) -> Vec<Event> {
    let mut found = Vec::new();
    while found.len() < count {
        let event = events.next_timeout(LONG).unwrap().expect("an event");
        if posted(&event, dataset).is_some() {
            found.push(event);
        }
    }
    found
}

fn eids(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.eid).collect()
}

#[test]
fn readers_have_a_place_each() {
    let _queue = queue();
    let scratch = Scratch::new("readers");
    let mut now = zfs().events(EventsFrom::Now).unwrap();
    post(&scratch, 5);
    let first = read(&mut now, &scratch, 5);
    assert!(first.windows(2).all(|pair| pair[0].eid < pair[1].eid));
    assert_eq!(now.missed(), 0);

    // From the oldest, from now, after one that is there: each finds the same ones.
    let mut start = zfs().events(EventsFrom::Start).unwrap();
    assert_eq!(eids(&read(&mut start, &scratch, 5)), eids(&first));
    let mut after = zfs().events(EventsFrom::After(first[1].eid)).unwrap();
    assert_eq!(eids(&read(&mut after, &scratch, 3)), eids(&first[2..]));
    let mut late = zfs().events(EventsFrom::Now).unwrap();
    post(&scratch, 2);
    let second = eids(&read(&mut late, &scratch, 2));
    assert!(second[0] > first[4].eid);
    for reader in [&mut now, &mut start, &mut after] {
        assert_eq!(eids(&read(reader, &scratch, 2)), second);
    }
    // One reader goes back and forth.
    now.seek(EventsFrom::After(first[2].eid)).unwrap();
    assert_eq!(read(&mut now, &scratch, 1)[0].eid, first[3].eid);
    now.seek(EventsFrom::Start).unwrap();
    assert_eq!(read(&mut now, &scratch, 1)[0].eid, first[0].eid);
    now.seek(EventsFrom::Now).unwrap();
    while let Some(event) = now.try_next().unwrap() {
        assert!(posted(&event, &scratch).is_none(), "{event}");
    }

    // Numbers that no event has: of the time to come, of another life of the module, and those that
    // mean something else to the kernel.
    let newest = *second.last().unwrap();
    for eid in [0, newest + 1_000_000, u64::MAX] {
        let mut reader = zfs().events(EventsFrom::After(eid)).unwrap();
        assert_eq!(read(&mut reader, &scratch, 1)[0].eid, first[0].eid, "{eid}");
    }
}

#[test]
fn events_are_those_of_the_command() {
    let _queue = queue();
    let scratch = Scratch::new("compared");
    post(&scratch, 3);
    let theirs = run("zpool", &["events", "-vH"]);
    let mut reader = zfs().events(EventsFrom::Start).unwrap();
    let mut ours = BTreeMap::new();
    // One that is missing is waited for.
    while let Some(event) = reader.next_timeout(Duration::from_millis(50)).unwrap() {
        ours.insert(event.eid, event);
    }
    let mut compared = 0;
    for text in theirs.split("\n\n") {
        let pairs: BTreeMap<&str, &str> = text
            .lines()
            .filter_map(|line| line.trim().split_once(" = "))
            .collect();
        let Some(eid) = pairs.get("eid") else {
            continue;
        };
        let eid = u64::from_str_radix(eid.strip_prefix("0x").unwrap(), 16).unwrap();
        // One that was dropped in between.
        let Some(event) = ours.get(&eid) else {
            continue;
        };
        compared += 1;
        assert_eq!(pairs["class"], format!("\"{}\"", event.class));
        for (key, value) in &event.payload {
            let key = key.to_str().unwrap();
            // Lists in lists, and what the command has words or another form for.
            let text = match value {
                Value::Uint64(n) if !key.ends_with("state") => format!("{n:#x}"),
                Value::Int64(n) => format!("{n:#x}"),
                Value::String(text) => format!("\"{}\"", text.to_str().unwrap()),
                _ => continue,
            };
            let told = pairs.get(key).unwrap_or_else(|| panic!("{key} of {text}"));
            // 2.4 adds the names of flags.
            let number = told.starts_with("0x");
            let told = told.split(" [").next().filter(|_| number).unwrap_or(told);
            assert_eq!(told.trim_end(), text, "{key} of {event}");
        }
        // The command shows what is in a nested list beside what is not.
        for key in pairs.keys().filter(|_| !text.contains("detector")) {
            assert!(event.payload.get(key).is_some(), "{key} of {event}");
        }
    }
    assert!(compared > 3, "{theirs}");
}

#[test]
fn a_wait_ends() {
    let mut events = zfs().events(EventsFrom::Now).unwrap();
    events.set_interval(Duration::ZERO);
    // Others post events: all there is to see is that it comes back.
    let _ = events.next_timeout(Duration::from_millis(1)).unwrap();
    let stop = events.stop_handle();
    let scratch = Scratch::new("stopped");
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut last = None;
            for event in &mut events {
                last = Some(event.unwrap());
            }
            last
        });
        post(&scratch, 1);
        std::thread::sleep(Duration::from_millis(50));
        assert!(!reader.is_finished());
        stop.stop();
        reader.join().unwrap();
    });
    assert!(stop.is_stopped());
    assert!(events.next().is_none());
    assert!(events.next_timeout(LONG).unwrap().is_none());
}

#[test]
fn a_program_is_told_within_tokio() {
    let _queue = queue();
    let scratch = Scratch::new("tokio");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let found = runtime.block_on(async {
        let mut events = zfs().events(EventsFrom::Now).unwrap().into_stream();
        let stop = events.stop_handle();
        let poster = tokio::task::spawn_blocking({
            let dataset = scratch.clone();
            move || post(&dataset, 3)
        });
        let mut found = 0;
        while let Some(event) = next(&mut events).await {
            found += usize::from(posted(&event.unwrap(), &scratch).is_some());
            if found == 3 {
                stop.stop();
            }
        }
        poster.await.unwrap();
        assert_eq!(events.missed(), 0);
        found
    });
    assert_eq!(found, 3);
}

/// What `StreamExt::next` of other crates does.
async fn next<S: futures_core::Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    std::future::poll_fn(|cx| std::pin::Pin::new(&mut *stream).poll_next(cx)).await
}

#[test]
fn what_is_dropped_is_counted() {
    const KEPT: usize = 64;
    let _short = Short::new(KEPT);
    let scratch = Scratch::new("dropped");
    // So that no more are there than are to be kept.
    zfs().clear_events().unwrap();
    let mut reader = zfs().events(EventsFrom::Now).unwrap();
    let mut late = zfs().events(EventsFrom::Now).unwrap();
    post(&scratch, 2);
    let seen = read(&mut reader, &scratch, 1).remove(0);
    let seen_at = late.next_timeout(LONG).unwrap().unwrap().eid;

    // More than the kernel keeps. Every number is there or counted.
    let many = KEPT + 100;
    post(&scratch, many);
    let mut expected = seen.eid;
    loop {
        let event = reader.next_timeout(LONG).unwrap().unwrap();
        expected += event.missed + 1;
        assert_eq!(event.eid, expected, "{event} with {} missed", event.missed);
        if posted(&event, &scratch) == Some(many - 1) {
            break;
        }
    }
    assert!(reader.missed() >= 100, "{}", reader.missed());
    assert!(expected > seen.eid + many as u64);
    // A program that was away for so long learns as much.
    let mut again = zfs().events(EventsFrom::After(seen.eid)).unwrap();
    let first = again.next_timeout(LONG).unwrap().unwrap();
    assert_eq!(first.eid, seen.eid + first.missed + 1);
    assert!(first.missed >= 100);

    let cleared = zfs().clear_events().unwrap();
    assert!(cleared > 0);
    post(&scratch, 1);
    let after = late.next_timeout(LONG).unwrap().unwrap();
    assert!(after.missed > many as u64 && after.eid == seen_at + after.missed + 1);
    assert!(after.dropped >= 1, "the reader lost its place: {after}");
    let mut all = zfs().events(EventsFrom::Start).unwrap();
    let oldest = all.next_timeout(LONG).unwrap().unwrap();
    assert!(oldest.eid > expected, "{oldest}");
}

#[test]
fn only_root_reads_events() {
    let scratch = Scratch::new("unprivileged");
    as_user(TENANT, || {
        for from in [EventsFrom::Start, EventsFrom::Now, EventsFrom::After(1)] {
            let error = zfs().events(from).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
            assert!(error.to_string().starts_with("cannot read events: "));
        }
        let error = zfs().clear_events().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    });
    // A reader that loses its privileges is told once, and the iterator ends.
    let mut events = zfs().events(EventsFrom::Now).unwrap();
    post(&scratch, 1);
    as_user(TENANT, || {
        assert!(events.next().unwrap().is_err());
        assert!(events.next().is_none());
        assert!(events.try_next().is_err());
    });
    assert!(events.try_next().is_ok());
}

#[test]
fn the_example_tells_what_happens() {
    let _queue = queue();
    let scratch = Scratch::new("tail");
    let mut events = zfs().events(EventsFrom::Now).unwrap();
    post(&scratch, 2);
    let first = read(&mut events, &scratch, 1).remove(0);
    let arguments = [
        "--once",
        "--after",
        &first.eid.to_string(),
        scratch.name().split('/').next().unwrap(),
    ];
    let printed = crate::examples::works("events_tail", &arguments);
    let line = printed
        .lines()
        .find(|line| line.contains(&format!("{} helix:p1=x", scratch.name())))
        .unwrap_or_else(|| panic!("{printed}"));
    assert!(line.contains(EventClass::History.as_str()), "{line}");
    let before = format!("{} helix:p0=x", scratch.name());
    assert!(!printed.contains(&before), "{printed}");
    assert!(
        printed.contains("to go on from here: --after "),
        "{printed}"
    );
    crate::examples::fails("events_tail", &["--never"]);
}
