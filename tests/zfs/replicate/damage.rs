//! Cuts, flips, and forgeries.

#![allow(clippy::indexing_slicing, reason = "a test that cannot go on fails")]

use super::{Disturbance, Disturbed, Forged, MESSAGE, Pair};
use crate::support::noise;
use helix_zfs::replicate::{Problem, Side};
use helix_zfs::zfs_core::digest::{Digester, Manifest};
use helix_zfs::zfs_core::stream::{Fletcher4, HEADER_LEN, Observer, SliceReader};
use serde_json::Value;

#[test]
fn a_cut_run_is_resumed() {
    let pair = Pair::encrypted("rep-cut");
    pair.write("a", noise(3_000_000, 1));
    let (first, files) = pair.snapshot("first");
    // In the middle of the first full stream, and of the increment that follows.
    let cut = Disturbance::Cut(2_500_000);
    let (outcome, served) = pair.run_over(|channel| Disturbed::new(channel, cut));
    let error = outcome.unwrap_err();
    assert_eq!(error.problem(), Problem::Connection, "{error}");
    assert_eq!(served.unwrap_err().problem(), Problem::Connection);
    assert!(!pair.of_target("current").exists().unwrap());
    assert!(pair.of_target("chain").resume_token().unwrap().is_some());
    // What is being sent is kept for the next run.
    assert_eq!(pair.tags(&first).len(), 1);
    assert!(first.destroy().is_err());

    // There is something newer by then: both arrive.
    pair.write("b", noise(3_000_000, 2));
    let (_, newer) = pair.snapshot("second");
    let cut = Disturbance::Cut(3_500_000);
    let (outcome, _) = pair.run_over(|channel| Disturbed::new(channel, cut));
    assert_eq!(outcome.unwrap_err().problem(), Problem::Connection);
    assert_eq!(pair.readers().files(), files);

    let outcome = pair.replicate();
    assert_eq!(outcome.replicated.len(), 1);
    let replicated = &outcome.replicated[0];
    assert_eq!(replicated.name, "second");
    assert!(replicated.resumed);
    assert!(replicated.bytes < 3_000_000, "{replicated:?}");
    assert_eq!(pair.readers().files(), newer);
    assert!(pair.tags(&first).is_empty());
}

#[test]
fn a_cut_run_whose_snapshot_is_gone_starts_anew() {
    let pair = Pair::encrypted("rep-gone");
    pair.write("a", noise(3_000_000, 1));
    let (first, _) = pair.snapshot("first");
    let cut = Disturbance::Cut(2_500_000);
    let (outcome, _) = pair.run_over(|channel| Disturbed::new(channel, cut));
    assert_eq!(outcome.unwrap_err().problem(), Problem::Connection);
    for tag in pair.tags(&first) {
        first.release(&tag).unwrap();
    }
    first.destroy().unwrap();
    let (_, files) = pair.snapshot("second");
    let outcome = pair.replicate();
    assert_eq!(outcome.replicated.len(), 1);
    assert!(!outcome.replicated[0].resumed);
    assert_eq!(pair.readers().files(), files);
}

#[test]
fn a_flipped_bit_costs_one_frame() {
    let pair = Pair::plain("rep-flip");
    pair.write("a", noise(3_000_000, 1));
    let (_, files) = pair.snapshot("first");
    let flip = Disturbance::Flip {
        byte: 1_500_000,
        bit: 3,
    };
    let (outcome, _) = pair.run_over(|channel| Disturbed::new(channel, flip));
    let outcome = outcome.unwrap();
    assert_eq!(outcome.replicated[0].repeated, 1);
    assert_eq!(pair.readers().files(), files);

    // In a message there is no telling what it was.
    pair.change(2);
    let (_, newer) = pair.snapshot("second");
    let flip = Disturbance::Flip { byte: 80, bit: 0 };
    let (outcome, _) = pair.run_over(|channel| Disturbed::new(channel, flip));
    assert_eq!(outcome.unwrap_err().problem(), Problem::Connection);
    assert_eq!(pair.readers().files(), files);
    pair.replicate();
    assert_eq!(pair.readers().files(), newer);
}

/// Changes what the source says at the end of its data, as JSON.
fn forge_manifest(body: &mut Vec<u8>, change: impl FnOnce(&mut Value)) -> bool {
    let mut message: Value = serde_json::from_slice(body).unwrap();
    let Some(sent) = message.get_mut("sent") else {
        return false;
    };
    change(sent);
    *body = serde_json::to_vec(&message).unwrap();
    true
}

#[test]
fn what_is_not_what_the_source_says_is_never_seen() {
    let pair = Pair::encrypted("rep-reject");
    pair.write("a", noise(100_000, 1));
    let (first, files) = pair.snapshot("first");
    let other = Value::from("0".repeat(64));
    let forge = |part: &'static str| {
        let other = other.clone();
        pair.run_over(move |channel| {
            Forged::new(channel, move |kind, body| {
                if kind == MESSAGE {
                    forge_manifest(body, |sent| match part {
                        "content" => sent["whole"]["snapshots"][0][part] = other.clone(),
                        _ => {
                            sent["stream"][part] = other.clone();
                            sent["stream"]["chunks"] = Value::Null;
                        }
                    });
                }
            })
        })
    };
    // The source says that the snapshot, or the stream, has another digest than it has.
    for part in ["content", "transport"] {
        let (outcome, served) = forge(part);
        let error = outcome.unwrap_err();
        assert_eq!(error.problem(), Problem::Rejected, "{error}");
        assert_eq!(error.side(), Side::Target);
        let told = served.unwrap_err();
        assert_eq!(
            (told.problem(), told.side()),
            (Problem::Rejected, Side::Target)
        );
        assert!(!pair.of_target("current").exists().unwrap());
        assert!(!pair.of_target("chain").exists().unwrap());
    }
    pair.replicate();
    assert_eq!(pair.readers().files(), files);

    // What readers saw stays.
    pair.change(2);
    let (second, newer) = pair.snapshot("second");
    let (outcome, _) = forge("content");
    assert_eq!(outcome.unwrap_err().problem(), Problem::Rejected);
    assert_eq!(pair.chain(), ["first"]);
    assert_eq!(pair.readers().files(), files);
    assert_eq!(pair.tags(&second).len(), 1);
    pair.replicate();
    assert_eq!(pair.readers().files(), newer);
    assert!(pair.tags(&first).is_empty() && pair.tags(&second).is_empty());
}

/// Flips a bit in the longest payload of a stream, and makes all checksums of the stream anew.
fn forge_stream(stream: &mut [u8]) {
    const SUM: std::ops::Range<usize> = 280..312;
    let mut places = Vec::new();
    let mut reader = SliceReader::new(stream);
    let mut at = 0;
    while let Some(record) = reader.next_record().unwrap() {
        let len = HEADER_LEN + record.payload.len();
        places.push((at, len));
        at += len;
    }
    let longest = places.iter().max_by_key(|(_, len)| *len).unwrap();
    stream[longest.0 + HEADER_LEN + 1000] ^= 4;
    let mut sum = Fletcher4::new();
    let words = |sum: &Fletcher4| sum.words().map(u64::to_le_bytes).concat();
    for (at, len) in places {
        let record = &mut stream[at..at + len];
        match record[0] {
            0 => {}
            kind => {
                if kind == 5 {
                    record[8..40].copy_from_slice(&words(&sum));
                }
                let mut until = sum;
                until.update(&record[..SUM.start]);
                record[SUM].copy_from_slice(&words(&until));
            }
        }
        sum.update(record);
    }
}

#[test]
fn a_stream_forged_with_all_its_checksums_is_rejected() {
    let pair = Pair::plain("rep-forge");
    pair.write("a", noise(100_000, 1));
    pair.snapshot("first");
    pair.replicate();
    pair.write("a", noise(100_000, 2));
    let (_, newer) = pair.snapshot("second");
    // With the manifest of the true stream, and with one of the forged stream: then only what is on
    // the disks tells.
    for also_manifest in [false, true] {
        let mut forged = None;
        let (outcome, _) = pair.run_over(|channel| {
            Forged::new(channel, move |kind, body| match (kind, &forged) {
                (MESSAGE, Some(manifest)) if also_manifest => {
                    forge_manifest(body, |sent| sent["stream"] = Value::clone(manifest));
                }
                (MESSAGE, _) => {}
                _ => {
                    forge_stream(body);
                    let mut digester = Digester::new();
                    let mut reader = SliceReader::new(body);
                    while let Some(record) = reader.next_record().unwrap() {
                        digester.record(&record);
                    }
                    let manifest = Manifest::new(&digester.finish().unwrap()).unwrap();
                    forged = Some(serde_json::to_value(manifest).unwrap());
                }
            })
        });
        let error = outcome.unwrap_err();
        assert_eq!(error.problem(), Problem::Rejected, "{error}");
        let detail = error.detail();
        assert_eq!(
            detail.contains("the bytes differ"),
            !also_manifest,
            "{detail}"
        );
        assert_eq!(pair.chain(), ["first"]);
    }
    pair.replicate();
    assert_eq!(pair.readers().files(), newer);
}
