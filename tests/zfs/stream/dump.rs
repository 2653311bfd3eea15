//! The example `stream_dump`, which shows what our reader sees, beside `zstream dump`.

use super::corpus;
use crate::examples::{fails, works};
use crate::support::run;
use std::path::Path;
use tempfile::TempDir;

#[allow(dead_code, reason = "no test needs all of it")]
#[path = "../../../zfs-core/tests/stream/build.rs"]
mod build;
#[path = "../../../zfs-core/tests/stream/swap.rs"]
mod swap;

/// Streams that have every type of record that kernels send.
const STREAMS: [(&str, &str); 7] = [
    ("2.1", "raw-incremental"),
    ("2.1", "replicate"),
    ("2.1", "spill"),
    ("2.3", "redacted"),
    ("2.3", "volume"),
    ("2.4", "compressed-embedded"),
    ("2.4", "large-dnodes"),
];

/// The lines of `zstream dump -v` for records other than BEGIN and END, in our spelling.
fn theirs(dump: &str) -> Vec<String> {
    let mut records: Vec<String> = Vec::new();
    for line in dump.lines() {
        if let Some(checksum) = line.strip_prefix("    checksum = ") {
            if let Some(record) = records.last_mut() {
                record.push_str(&format!(" checksum={checksum}"));
            }
            continue;
        }
        let name = line.split(' ').next().unwrap_or_default();
        let is_record = matches!(
            name,
            "OBJECT"
                | "FREEOBJECTS"
                | "WRITE"
                | "FREE"
                | "SPILL"
                | "WRITE_EMBEDDED"
                | "OBJECT_RANGE"
                | "REDACT"
        );
        if is_record {
            let mut line = line
                .replace(" = ", "=")
                .replace("SPILL block for ", "SPILL ")
                .replace("checksum type", "checksumtype")
                .replace("compression type", "compressiontype");
            // It shows no more than the names of these.
            for rest in [" props=", " salt="] {
                line.truncate(line.find(rest).unwrap_or(line.len()));
            }
            if let (Some(from), Some(to)) = (line.find(" toguid="), line.find(" comp=")) {
                line.replace_range(from..to, "");
            }
            // It shows the length of a range as a signed number.
            records.push(line.replace("length=-1", &format!("length={}", u64::MAX)));
        } else if line.starts_with("END ") {
            records.push("END".to_owned());
        }
    }
    records
        .into_iter()
        .filter(|record| !record.starts_with("END"))
        .collect()
}

/// The same of ours.
fn ours(dump: &str) -> Vec<String> {
    let columns = |line: &str| {
        let mut columns = line.trim_start().splitn(2, ' ');
        let number = columns.next()?.parse::<u64>().ok();
        let rest = columns.next()?.trim_start().split_once("  ")?.1;
        (number.is_some() && !rest.starts_with("END")).then(|| rest.to_owned())
    };
    dump.lines().filter_map(columns).collect()
}

fn write(folder: &Path, bytes: &[u8]) -> String {
    let path = folder.join("stream");
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn it_shows_what_zstream_shows() {
    let dir = TempDir::new().unwrap();
    for (version, name) in STREAMS {
        let stream = corpus::stream(version, name);
        let bytes = stream.bytes();
        let file = write(dir.path(), &bytes);
        let shown = works("stream_dump", &["-vv", &file]);
        let expected = theirs(&run("zstream", &["dump", "-vv", &file]));
        let records: u64 = stream.records.iter().sum();
        assert_eq!(
            expected.len() as u64,
            records - stream.records[0] - stream.records[5]
        );
        assert_eq!(ours(&shown), expected, "{version} {name}");
        assert!(shown.contains("transport digest "), "{shown}");

        // It does not know how to compare the checksums of these, and we do.
        let file = write(dir.path(), &swap::swap(&bytes));
        let shown = works("stream_dump", &["-v", &file]);
        let expected = theirs(&run("zstream", &["dump", "-C", "-v", &file]));
        assert_eq!(ours(&shown), expected, "{version} {name}, swapped");
    }
}

#[test]
fn it_tells_where_a_stream_is_bad() {
    let dir = TempDir::new().unwrap();
    let mut bytes = corpus::stream("2.1", "spill").bytes();
    let file = write(dir.path(), &bytes[..1000]);
    let message = fails("stream_dump", &[&file]);
    assert!(message.contains("the stream ends after "), "{message}");
    bytes[320] ^= 1;
    let file = write(dir.path(), &bytes);
    let message = fails("stream_dump", &[&file]);
    assert!(
        message.starts_with("record 0 (BEGIN at byte 0): checksum mismatch"),
        "{message}"
    );

    let file = write(dir.path(), &corpus::stream("2.1", "saved").bytes());
    fails("stream_dump", &[&file]);
    let shown = works("stream_dump", &["--saved", &file]);
    assert!(shown.contains("no END"), "{shown}");
}
