//! Manifests, and how they are written down.

use crate::edit::{parts, stream};
use crate::{corpus, digest};
use serde_json::{Value, json};
use zfs_core::digest::{Difference, Manifest};

fn manifest(name: &str) -> Manifest {
    Manifest::new(&digest(&corpus::stream("2.1", name).bytes())).expect("complete")
}

fn read(json: &Value) -> Result<Manifest, String> {
    serde_json::from_value(json.clone()).map_err(|error| error.to_string())
}

#[test]
fn json_is_as_documented_and_comes_back() {
    let real = corpus::stream("2.1", "incremental");
    let begin = &real.begins[0];
    let digests = digest(&real.bytes());
    let manifest = Manifest::new(&digests).expect("complete");
    let counts = digests.content().expect("one").counts();
    let json = serde_json::to_value(&manifest).expect("written");
    let expected = json!({
        "version": 1,
        "bytes": real.length,
        "records": real.records.iter().sum::<u64>(),
        "transport": digests.transport().root().to_string(),
        "snapshots": [{
            "name": begin.to_name,
            "guid": begin.to_guid.to_string(),
            "from_guid": begin.from_guid.to_string(),
            "features": begin.features,
            "flags": begin.flags,
            "partial": false,
            "objects": real.records[1],
            "blocks": counts.blocks,
            "payload": counts.payload,
            "content": digests.content().expect("one").root().to_string(),
        }],
    });
    assert_eq!(json, expected);
    assert_eq!(read(&json), Ok(manifest.clone()));
    let text = serde_json::to_string(&manifest).expect("written");
    assert_eq!(
        serde_json::from_str::<Manifest>(&text).expect("read"),
        manifest
    );

    let full = serde_json::to_value(self::manifest("full")).expect("written");
    assert_eq!(full["snapshots"][0]["from_guid"], Value::Null);
    assert_eq!(read(&full), Ok(self::manifest("full")));
}

#[test]
fn chunks_come_back_and_must_be_right() {
    let digests = digest(&corpus::stream("2.1", "raw").bytes());
    let manifest = Manifest::new(&digests)
        .expect("complete")
        .with_chunks(&digests, 100);
    let json = serde_json::to_value(&manifest).expect("written");
    assert_eq!(read(&json), Ok(manifest));
    let mut other = json.clone();
    other["chunks"]["nodes"][0][1] = json["snapshots"][0]["content"].clone();
    assert!(read(&other).unwrap_err().contains("chunks"));
    let mut other = json.clone();
    other["chunks"]["nodes"][0][0] = json!(u64::MAX);
    assert!(read(&other).unwrap_err().contains("chunks"));
}

#[test]
fn what_is_no_manifest_is_refused() {
    let json = serde_json::to_value(manifest("full")).expect("written");
    let with = |field: &str, value: Value| {
        let mut json = json.clone();
        json[field] = value;
        read(&json).unwrap_err()
    };
    assert!(with("version", json!(2)).contains("version 2"));
    assert!(with("transport", json!("abc")).contains("64 hexadecimal digits"));
    assert!(with("snapshots", json!([{}])).contains("name"));
    assert!(!with("bytes", json!(-1)).is_empty());
}

#[test]
fn a_stream_is_verified() {
    let bytes = corpus::stream("2.1", "full").bytes();
    let digests = digest(&bytes);
    let manifest = Manifest::new(&digests)
        .expect("complete")
        .with_chunks(&digests, 1000);
    assert_eq!(manifest.verify(&digests), Ok(()));
    assert_eq!(manifest.verify_content(&digests), Ok(()));

    // Another name: the same content in other bytes.
    let mut edited = parts(&bytes);
    edited[0].header[60] ^= 1;
    let renamed = digest(&stream(&edited));
    assert_eq!(manifest.verify_content(&renamed), Ok(()));
    let error = manifest.verify(&renamed).expect_err("other bytes");
    let [
        Difference::Transport {
            expected,
            found,
            ranges,
        },
    ] = error.differences()
    else {
        panic!("{error}");
    };
    assert_eq!(
        (expected, found),
        (&(bytes.len() as u64), &(bytes.len() as u64))
    );
    assert_eq!(
        ranges.as_slice(),
        std::slice::from_ref(&(0..bytes.len() as u64))
    );
    assert!(
        error.to_string().contains("the bytes differ, in 0.."),
        "{error}"
    );

    // Another snapshot.
    let other = digest(&corpus::stream("2.1", "spill").bytes());
    let error = manifest
        .verify_content(&other)
        .expect_err("another snapshot");
    assert!(
        matches!(error.differences(), [Difference::Snapshot { .. }]),
        "{error}"
    );
    // Several.
    let several = digest(&corpus::stream("2.1", "replicate").bytes());
    let error = manifest.verify_content(&several).expect_err("several");
    assert!(
        matches!(
            error.differences()[0],
            Difference::SnapshotCount { expected: 1, .. }
        ),
        "{error}"
    );
}

#[test]
fn a_stream_without_an_end_has_no_manifest() {
    let bytes = corpus::stream("2.1", "full").bytes();
    let whole = Manifest::new(&digest(&bytes)).expect("complete");
    let mut records = parts(&bytes);
    records.pop();
    let cut = digest(&stream(&records));
    assert!(!cut.is_complete());
    let error = Manifest::new(&cut).expect_err("cut");
    assert_eq!(error.differences(), [Difference::Incomplete]);
    let error = whole.verify_content(&cut).expect_err("cut");
    assert_eq!(error.differences(), [Difference::Incomplete]);
}
